//! Changes that make an object of bytes that are there already: copies by reference, renames, appends.

use super::super::{Applying, Decided, answered};
use super::{require_conditions, require_key, require_lock};
use crate::limits::{OBJECT_BYTES_MAX, PARTS_MAX, PUT_BYTES_MAX};
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{AppendObject, CopyVersion, Refusal, RenameObject, Reply};
use crate::storage::meta::record::{
    BlobRef, Body, ETag, Manifest, ObjectVersion, PartRow, SharedRow, VersionRow, Versioning,
};
use crate::storage::meta::tables::{INLINE, PARTS, SHARED, Shared, part_key};
use crate::types::{ManifestId, UnixMs};

impl Applying<'_> {
    pub(in super::super) fn copy_version(&mut self, copy: CopyVersion) -> Decided<Reply> {
        let bucket = self.bucket(copy.bucket)?;
        require_key(&copy.key)?;
        self.bucket(copy.source_bucket)?;
        let Some((VersionRow::Object(source), _)) = self.picked(copy.source_bucket, &copy.source_key, copy.source)?
        else {
            return Err(Refusal::SourceChanged.into());
        };
        if source.manifest.id != copy.source_manifest || source.traits.sealing != copy.source_sealing {
            return Err(Refusal::SourceChanged.into());
        }
        // The bytes stay as they are: sealed where they were.
        if copy.source_sealing.is_some() != copy.traits.sealing.is_some() {
            return Err(Refusal::InvalidRequest.into());
        }
        let old = self.object(copy.bucket, &copy.key)?;
        if let Some(standing) = old.as_ref().filter(|old| old.manifest.id == copy.id) {
            return Ok(Reply::VersionPut { object: Box::new(standing.clone()) });
        }
        require_lock(&bucket, &copy.traits)?;
        require_conditions(&copy.conditions, old.as_ref())?;
        self.require_room(&bucket, source.manifest.size_bytes, old.as_ref())?;
        let body = self.refer_again(&source.manifest, copy.id)?;
        let etag = source.manifest.etag;
        let manifest = Manifest {
            id: copy.id,
            size_bytes: source.manifest.size_bytes,
            etag,
            modified: self.now,
            headers: copy.headers,
            checksum: copy.checksum.or(source.manifest.checksum),
            body,
        };
        let object = self.place(&bucket, &copy.key, manifest, copy.traits, old)?;
        self.queue_put(&bucket, &copy.key, &object, copy.event)?;
        Ok(Reply::VersionPut { object: Box::new(object) })
    }

    /// A body with the same bytes for another manifest. Comes before the old version goes: a copy may be onto its source.
    fn refer_again(&mut self, source: &Manifest, id: ManifestId) -> KvResult<Body> {
        if let Some((list, count)) = source.parts() {
            self.share(Shared::Parts(list))?;
            return Ok(Body::PartsOf { list, count });
        }
        match &source.body {
            Body::Inline => {
                if let Some(bytes) = self.rows.get(INLINE, &source.id.to_be_bytes())? {
                    self.rows.put(INLINE, &id.to_be_bytes(), bytes);
                }
                Ok(Body::Inline)
            }
            Body::Blob(blob) => {
                self.share(Shared::Blob(blob.id))?;
                Ok(Body::Blob(blob.clone()))
            }
            other => Ok(other.clone()),
        }
    }

    fn share(&mut self, shared: Shared) -> KvResult<()> {
        let references = match self.rows.row::<SharedRow>(SHARED, &shared.key())? {
            Some(row) => row.references + 1,
            None => {
                self.counts.shared += 1;
                2
            }
        };
        self.rows.put_row(SHARED, &shared.key(), &SharedRow { references });
        Ok(())
    }

    /// One reference less; whether it was the last.
    pub(in super::super) fn release(&mut self, shared: Shared) -> KvResult<bool> {
        if self.counts.shared == 0 {
            return Ok(true);
        }
        let Some(row) = self.rows.row::<SharedRow>(SHARED, &shared.key())? else { return Ok(true) };
        let references = row.references - 1;
        if references > 1 {
            self.rows.put_row(SHARED, &shared.key(), &SharedRow { references });
        } else {
            self.rows.remove(SHARED, &shared.key());
            self.counts.shared -= 1;
        }
        Ok(false)
    }

    pub(in super::super) fn rename_object(&mut self, rename: RenameObject) -> Decided<Reply> {
        let RenameObject { bucket, source_key, source_conditions, key, conditions } = rename;
        let bucket = self.bucket(bucket)?;
        let id = bucket.bucket.id;
        require_key(&key)?;
        if bucket.settings.versioning != Versioning::Never {
            return Err(Refusal::Versioned.into());
        }
        let source = self.object(id, &source_key)?;
        require_conditions(&source_conditions, source.as_ref())?;
        let source = source.ok_or(Refusal::NoSuchKey)?;
        let old = self.object(id, &key)?;
        require_conditions(&conditions, old.as_ref())?;
        if source_key == key {
            return Err(Refusal::InvalidRequest.into());
        }
        if let Some(old) = old {
            self.clear_current(id, &key)?;
            self.discard_object(id, &old)?;
        }
        self.clear_current(id, &source_key)?;
        self.set_current(id, &key, &source)?;
        Ok(Reply::Done)
    }

    pub(in super::super) fn append_object(&mut self, append: AppendObject) -> KvResult<Reply> {
        let blob = append.blob.clone();
        let decided = self.append(append);
        if decided.is_err() {
            self.discard_fresh(Some(blob))?;
        }
        answered(decided)
    }

    fn append(&mut self, append: AppendObject) -> Decided<Reply> {
        let bucket = self.bucket(append.bucket)?;
        if bucket.settings.versioning != Versioning::Never {
            return Err(Refusal::Versioned.into());
        }
        let old = self.object(append.bucket, &append.key)?.ok_or(Refusal::NoSuchKey)?;
        if old.manifest.id == append.id {
            return Ok(Reply::VersionPut { object: Box::new(old) });
        }
        let size_bytes = old.manifest.size_bytes.saturating_add(append.blob.size_bytes);
        if append.blob.size_bytes > PUT_BYTES_MAX || size_bytes > OBJECT_BYTES_MAX {
            return Err(Refusal::EntityTooLarge.into());
        }
        if old.manifest.id != append.manifest {
            return Err(Refusal::PreconditionFailed.into());
        }
        let shared = match old.manifest.parts() {
            Some((list, _)) => self.rows.has(SHARED, &Shared::Parts(list).key())?,
            None => false,
        };
        let plain = old.traits.sealing.is_none() && !shared;
        let standing = parts_of(&old).filter(|_| plain).ok_or(Refusal::NotAppendable)?;
        if standing >= PARTS_MAX {
            return Err(Refusal::TooManyParts.into());
        }
        self.require_fresh(&append.blob, &append.missing)?;
        self.require_room(&bucket, size_bytes, Some(&old))?;
        self.adopt_blob(&append.blob, &append.missing)?;
        let list = self.list_of_parts(&old.manifest)?;
        let number = standing + 1;
        let part = PartRow {
            number,
            offset_bytes: old.manifest.size_bytes,
            size_bytes: append.blob.size_bytes,
            md5: append.md5,
            modified: self.now,
            checksum: None,
            blob: Some(append.blob.without_placement()),
        };
        self.rows.put_row(PARTS, &part_key(list, part.offset_bytes), &part);
        let manifest = Manifest {
            id: append.id,
            size_bytes,
            etag: append.etag,
            modified: self.now,
            checksum: append.checksum,
            body: Body::PartsOf { list, count: number },
            headers: old.manifest.headers,
        };
        let object = ObjectVersion { manifest, ..old };
        self.rewrite(append.bucket, &append.key, &object, true);
        self.count_usage(append.bucket, |usage| usage.bytes += part.size_bytes)?;
        Ok(Reply::VersionPut { object: Box::new(object) })
    }

    /// The list of an object's parts, which is made where it has one blob; nobody else refers to it.
    fn list_of_parts(&mut self, manifest: &Manifest) -> KvResult<ManifestId> {
        if let Some((list, _)) = manifest.parts() {
            return Ok(list);
        }
        if let Body::Blob(blob) = &manifest.body {
            let part = first_part(blob, &manifest.etag, manifest.modified);
            self.rows.put_row(PARTS, &part_key(manifest.id, 0), &part);
        }
        Ok(manifest.id)
    }
}

/// How many parts an object has, or has with its one blob as one; `None` where its bytes are none that a list can have.
fn parts_of(object: &ObjectVersion) -> Option<u16> {
    match (&object.manifest.body, object.manifest.parts()) {
        (_, Some((_, count))) => Some(count),
        (Body::Blob(_), None) => Some(1),
        (Body::Empty, None) => Some(0),
        _ => None,
    }
}

fn first_part(blob: &BlobRef, etag: &ETag, modified: UnixMs) -> PartRow {
    PartRow {
        number: 1,
        offset_bytes: 0,
        size_bytes: blob.size_bytes,
        md5: etag.md5,
        modified,
        checksum: None,
        blob: Some(blob.clone().without_placement()),
    }
}
