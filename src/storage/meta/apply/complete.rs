//! Completion of a multipart upload, in the metadata only: one pass over the listed parts, whatever their sizes. The
//! rows of the parts move from the upload to the object version, each to its offset.

use super::objects::require_conditions;
use super::{Applying, Decided};
use crate::defects::{Defect, has};
use crate::limits::{OBJECT_BYTES_MAX, PART_BYTES_MIN, PARTS_MAX};
use crate::storage::kv::KvError;
use crate::storage::meta::command::{CompleteUpload, CompletedPart, Refusal, Reply};
use crate::storage::meta::record::{
    Body, Checksum, ChecksumAlgorithm, ChecksumKind, CompletedRecord, ETag, Manifest, PartRow, UploadRecord, UploadRow,
};
use crate::storage::meta::tables::{COMPLETED, PARTS, UPLOAD_PARTS, part_key, upload_part_key};
use crate::storage::meta::{checksum, codec};
use crate::types::UnixMs;
use md5::{Digest, Md5};

/// The checksum that S3 computes for an object if the client requested none.
const DEFAULT_CHECKSUM: (ChecksumAlgorithm, ChecksumKind) = (ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject);

impl Applying<'_> {
    pub(super) fn complete_upload(&mut self, complete: CompleteUpload) -> Decided<Reply> {
        let bucket = self.bucket(complete.bucket)?;
        let Some(row) = self.upload(complete.bucket, &complete.key, complete.upload)? else {
            return self.repeated_completion(&complete);
        };
        let UploadRow { upload, traits, parts_bytes } = row;
        require_order(&complete.parts)?;
        let parts = self.listed_parts(&complete)?;
        let mut manifest = assemble(&complete, upload, &parts)?;
        manifest.modified = self.now;
        let old = self.object(complete.bucket, &complete.key)?;
        require_conditions(&complete.conditions, old.as_ref())?;
        if old.as_ref().is_some_and(|old| old.manifest.id == manifest.id) {
            return Err(Refusal::InvalidRequest.into());
        }
        self.require_room(&bucket, (manifest.size_bytes, parts_bytes), old.as_ref())?;

        let kept = parts.len() - usize::from(has(Defect::CompleteWithoutPart));
        for part in &parts[..kept] {
            self.rows.remove(UPLOAD_PARTS, &upload_part_key(complete.upload, part.number));
            self.rows.put_row(PARTS, &part_key(manifest.id, part.offset_bytes), part);
        }
        let record = CompletedRecord { upload: complete.upload, list_md5: list_md5(&complete.parts) };
        self.rows.put_row(COMPLETED, &manifest.id.to_be_bytes(), &record);
        self.end_upload((complete.bucket, &complete.key, complete.upload), parts_bytes)?;
        let object = self.make_current(&bucket, &complete.key, manifest, traits, old)?;
        self.queue_put(&bucket, &complete.key, &object, complete.event)?;
        Ok(Reply::ObjectPut { object: Box::new(object) })
    }

    /// Answers a client that missed the first answer and asks again: with the same reply, as long as the object is
    /// current.
    fn repeated_completion(&self, complete: &CompleteUpload) -> Decided<Reply> {
        let standing = self.object(complete.bucket, &complete.key)?.ok_or(Refusal::NoSuchUpload)?;
        let made_of: Option<CompletedRecord> = self.rows.row(COMPLETED, &standing.manifest.id.to_be_bytes())?;
        let repeated = CompletedRecord { upload: complete.upload, list_md5: list_md5(&complete.parts) };
        if made_of != Some(repeated) {
            return Err(Refusal::NoSuchUpload.into());
        }
        Ok(Reply::ObjectPut { object: Box::new(standing) })
    }

    /// Returns the rows of the listed parts in their order, each with its offset. However many parts the upload has, it
    /// reads at most twice as many rows as are listed: as many at once, from the first listed part on, which usually
    /// are all of them; then each listed part that is not among those.
    fn listed_parts(&self, complete: &CompleteUpload) -> Decided<Vec<PartRow>> {
        let key = |part: &CompletedPart| upload_part_key(complete.upload, part.number);
        let from = complete.parts.first().map(key).ok_or(Refusal::InvalidRequest)?;
        let prefix = complete.upload.to_be_bytes();
        let first = self.rows.first_from(UPLOAD_PARTS, &prefix, &from, complete.parts.len())?;
        let mut parts = Vec::with_capacity(complete.parts.len());
        let mut offset_bytes = 0u64;
        for listed in &complete.parts {
            let row_key = key(listed);
            let row = match first.binary_search_by(|(read, _)| read[..].cmp(&row_key[..])) {
                Ok(at) => first.get(at).map(|(_, row)| row.clone()),
                Err(_) => self.rows.get(UPLOAD_PARTS, &row_key)?,
            };
            let mut part: PartRow = codec::decode(&row.ok_or(Refusal::InvalidPart)?).map_err(KvError::from)?;
            if !is_same(listed, &part) {
                return Err(Refusal::InvalidPart.into());
            }
            part.offset_bytes = offset_bytes;
            offset_bytes = offset_bytes.saturating_add(part.size_bytes);
            parts.push(part);
        }
        Ok(parts)
    }
}

fn require_order(listed: &[CompletedPart]) -> Result<(), Refusal> {
    if listed.is_empty() || listed.len() > usize::from(PARTS_MAX) {
        return Err(Refusal::InvalidRequest);
    }
    let ascending = listed.windows(2).all(|pair| matches!(pair, [a, b] if a.number < b.number));
    if ascending { Ok(()) } else { Err(Refusal::InvalidPartOrder) }
}

fn is_same(listed: &CompletedPart, part: &PartRow) -> bool {
    let same = |listed: &Checksum| {
        part.checksum.as_ref().is_some_and(|own| own.algorithm == listed.algorithm && own.value == listed.value)
    };
    listed.md5 == part.md5 && listed.checksum.as_ref().is_none_or(same)
}

/// Returns the manifest that these parts make, without its time.
fn assemble(complete: &CompleteUpload, upload: UploadRecord, parts: &[PartRow]) -> Result<Manifest, Refusal> {
    let (last, others) = parts.split_last().ok_or(Refusal::InvalidRequest)?;
    if others.iter().any(|part| part.size_bytes < PART_BYTES_MIN) {
        return Err(Refusal::EntityTooSmall);
    }
    let size_bytes = last.offset_bytes.saturating_add(last.size_bytes);
    if size_bytes > OBJECT_BYTES_MAX {
        return Err(Refusal::EntityTooLarge);
    }
    if complete.expected_size_bytes.is_some_and(|expected| expected != size_bytes) {
        return Err(Refusal::SizeMismatch);
    }
    let count = u16::try_from(parts.len()).map_err(|_| Refusal::InvalidRequest)?;
    Ok(Manifest {
        id: complete.manifest,
        size_bytes,
        etag: ETag { md5: md5_of_md5s(parts), parts: Some(count) },
        modified: UnixMs(0),
        checksum: whole_checksum(complete, &upload, parts)?,
        headers: upload.headers,
        body: Body::Parts { count },
    })
}

fn whole_checksum(
    complete: &CompleteUpload,
    upload: &UploadRecord,
    parts: &[PartRow],
) -> Result<Option<Checksum>, Refusal> {
    let expected = complete.expected_checksum.as_ref();
    let wanted = match (upload.checksum, expected) {
        (Some(begun), Some(expected)) if begun != (expected.algorithm, expected.kind) => {
            return Err(Refusal::InvalidRequest);
        }
        (Some(begun), _) => begun,
        (None, Some(expected)) => (expected.algorithm, expected.kind),
        // If a part has a checksum of another algorithm, the object has none.
        (None, None) => return Ok(checksum::of_parts(DEFAULT_CHECKSUM.0, DEFAULT_CHECKSUM.1, parts)),
    };
    let whole = checksum::of_parts(wanted.0, wanted.1, parts).ok_or(Refusal::InvalidPart)?;
    if expected.is_some_and(|expected| expected.value != whole.value) {
        return Err(Refusal::ChecksumMismatch);
    }
    Ok(Some(whole))
}

fn md5_of_md5s(parts: &[PartRow]) -> [u8; 16] {
    let mut md5 = Md5::new();
    parts.iter().for_each(|part| md5.update(part.md5));
    md5.finalize().into()
}

fn list_md5(listed: &[CompletedPart]) -> [u8; 16] {
    let mut md5 = Md5::new();
    for part in listed {
        md5.update(part.number.to_be_bytes());
        md5.update(part.md5);
    }
    md5.finalize().into()
}
