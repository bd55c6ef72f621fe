//! Multipart uploads up to their completion: creation, parts put and replaced, abort.

use super::{Applying, Decided};
use crate::limits::{PARTS_MAX, PUT_BYTES_MAX};
use crate::storage::kv::KvResult;
use crate::storage::meta::checksum;
use crate::storage::meta::command::{CreateUpload, PutPart, Refusal, Reply};
use crate::storage::meta::record::{BlobRef, PartRow, UploadRecord, UploadRow};
use crate::storage::meta::tables::{DroppedList, UPLOAD_PARTS, UPLOADS, upload_key, upload_part_key};
use crate::types::{BucketId, UploadId};

use super::objects::{require_key, require_lock};

impl Applying<'_> {
    pub(super) fn create_upload(&mut self, create: CreateUpload) -> Decided<Reply> {
        let CreateUpload { bucket, key, id, owner, headers, checksum, traits } = create;
        require_lock(&self.bucket(bucket)?, &traits)?;
        require_key(&key)?;
        if checksum.is_some_and(|(algorithm, kind)| !checksum::is_multipart_kind(algorithm, kind)) {
            return Err(Refusal::InvalidRequest.into());
        }
        let row_key = upload_key(bucket, &key, id);
        if !self.rows.has(UPLOADS, &row_key)? {
            let upload = UploadRecord { id, bucket, key, owner, initiated: self.now, headers, checksum };
            self.rows.put_row(UPLOADS, &row_key, &UploadRow { upload, traits, parts_bytes: 0 });
            self.counts.uploads += 1;
        }
        Ok(Reply::Done)
    }

    pub(super) fn put_part(&mut self, put: PutPart) -> Decided<Reply> {
        let PutPart { bucket, key, upload, mut part, missing } = put;
        let bucket_row = self.bucket(bucket)?;
        let mut row = self.upload(bucket, &key, upload)?.ok_or(Refusal::NoSuchUpload)?;
        let UploadRow { upload, traits, .. } = &row;
        if part.size_bytes > PUT_BYTES_MAX {
            return Err(Refusal::EntityTooLarge.into());
        }
        let blob_bytes = part.blob.as_ref().map_or(0, |blob| blob.size_bytes);
        let other_checksum = match (&upload.checksum, &part.checksum) {
            (Some((wanted, _)), Some(given)) => *wanted != given.algorithm,
            _ => false,
        };
        // Encrypted parts are larger than the client's bytes.
        let fits = if traits.sealing.is_some() { blob_bytes >= part.size_bytes } else { blob_bytes == part.size_bytes };
        if part.number == 0 || part.number > PARTS_MAX || !fits || other_checksum {
            return Err(Refusal::InvalidRequest.into());
        }
        let part_key = upload_part_key(upload.id, part.number);
        let old = self.rows.row::<PartRow>(UPLOAD_PARTS, &part_key)?;
        if let (Some(old), Some(blob)) = (&old, &part.blob)
            && old.blob.as_ref().is_some_and(|old| old.id == blob.id)
        {
            return Ok(Reply::PartPut { modified: old.modified });
        }
        let replaced_bytes = old.as_ref().map_or(0, |old| old.size_bytes);
        self.require_room_for_part(&bucket_row, part.size_bytes, replaced_bytes)?;
        if let Some(blob) = &part.blob {
            let fresh = self.require_fresh(blob, &missing)?;
            self.adopt_blob(fresh)?;
        }
        if let Some(old) = old {
            self.discard_part(&old)?;
        }
        let counted = |held: u64| held.saturating_sub(replaced_bytes).saturating_add(part.size_bytes);
        row.parts_bytes = counted(row.parts_bytes);
        self.rows.put_row(UPLOADS, &upload_key(bucket, &key, row.upload.id), &row);
        self.count_usage(bucket, |usage| usage.parts_bytes = counted(usage.parts_bytes))?;
        part.offset_bytes = 0;
        part.blob = part.blob.map(BlobRef::without_placement);
        part.modified = self.now;
        self.rows.put_row(UPLOAD_PARTS, &part_key, &part);
        Ok(Reply::PartPut { modified: part.modified })
    }

    pub(super) fn abort_upload(&mut self, bucket: BucketId, key: &str, id: UploadId) -> Decided<Reply> {
        self.require_bucket(bucket)?;
        let row = self.upload(bucket, key, id)?.ok_or(Refusal::NoSuchUpload)?;
        self.end_upload((bucket, key, id), row.parts_bytes)?;
        Ok(Reply::Done)
    }

    pub(super) fn upload(&self, bucket: BucketId, key: &str, id: UploadId) -> KvResult<Option<UploadRow>> {
        self.rows.row(UPLOADS, &upload_key(bucket, key, id))
    }

    /// Ends an upload, which had parts of `parts_bytes`. Those that it still has become garbage.
    pub(super) fn end_upload(
        &mut self,
        (bucket, key, id): (BucketId, &str, UploadId),
        parts_bytes: u64,
    ) -> KvResult<()> {
        self.count_usage(bucket, |usage| usage.parts_bytes = usage.parts_bytes.saturating_sub(parts_bytes))?;
        self.rows.remove(UPLOADS, &upload_key(bucket, key, id));
        self.counts.uploads -= 1;
        self.drop_list(DroppedList::UploadParts(id))
    }
}
