//! Changes that make an object of existing bytes: copies by reference, renames, appends.

use super::super::{Applying, Decided};
use super::{require_conditions, require_key, require_lock};
use crate::defects::{Defect, has};
use crate::limits::{OBJECT_BYTES_MAX, PARTS_MAX, PUT_BYTES_MAX, SHARED_PARTS_COPIED_MAX};
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{
    AppendObject, CopyVersion, Refusal, RenameObject, RenameSource, RenameToken, Reply,
};
use crate::storage::meta::record::{
    BlobRef, Body, DocumentRow, Manifest, ObjectVersion, PartRow, SharedRow, Traits, VersionRow, Versioning,
};
use crate::storage::meta::tables::{DOCUMENTS, INLINE, PARTS, SHARED, Shared, document_key, part_key};
use crate::storage::meta::{codec, renames};
use crate::types::{BucketId, ManifestId};

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
        // The bytes stay as they are: the copy is encrypted if its source is.
        if copy.source_sealing.is_some() != copy.traits.sealing.is_some() {
            return Err(Refusal::InvalidRequest.into());
        }
        let old = self.object(copy.bucket, &copy.key)?;
        if let Some(standing) = old.as_ref().filter(|old| old.manifest.id == copy.id) {
            return Ok(Reply::ObjectPut { object: Box::new(standing.clone()) });
        }
        require_lock(&bucket, &copy.traits)?;
        require_conditions(&copy.conditions, old.as_ref())?;
        self.require_room(&bucket, (source.manifest.size_bytes, 0), old.as_ref())?;
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
        let object = self.make_current(&bucket, &copy.key, manifest, copy.traits, old)?;
        self.queue_put(&bucket, &copy.key, &object, copy.event)?;
        Ok(Reply::ObjectPut { object: Box::new(object) })
    }

    /// Returns a body with the same bytes for another manifest, and counts the reference. It must precede the removal
    /// of the old version, because an object may be copied onto itself.
    fn refer_again(&mut self, source: &Manifest, id: ManifestId) -> KvResult<Body> {
        if let Some((list, count)) = source.parts() {
            self.share(Shared::Parts(list))?;
            return Ok(match source.body {
                Body::Appended { .. } => Body::Appended { list, count },
                _ => Body::PartsOf { list, count },
            });
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
        if has(Defect::ForgetReference) {
            return Ok(());
        }
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

    /// Removes one reference; returns whether it was the last.
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
        let RenameObject { bucket, source_key, source, key, conditions, standing, token, created, removed } = rename;
        let bucket = self.bucket(bucket)?;
        let id = bucket.bucket.id;
        require_key(&key)?;
        if bucket.settings.versioning != Versioning::Never {
            return Err(Refusal::Versioned.into());
        }
        if token.map(|token| self.was_renamed(id, token)).transpose()?.unwrap_or(false) {
            return Ok(Reply::Done);
        }
        let found = self.object(id, &source_key)?.ok_or(Refusal::NoSuchKey)?;
        let renamed = under_its_name(found, source)?;
        let old = self.object(id, &key)?;
        if standing.is_some_and(|standing| old.as_ref().is_none_or(|old| old.manifest.id != standing)) {
            return Err(Refusal::SourceChanged.into());
        }
        // For a rename, an absent source is the only 404: a condition on an absent destination fails with 412.
        require_conditions(&conditions, old.as_ref()).map_err(|_| Refusal::PreconditionFailed)?;
        if source_key == key {
            return Err(Refusal::InvalidRequest.into());
        }
        if let Some(old) = old {
            self.clear_current(id, &key)?;
            self.discard_object(id, &old)?;
        }
        if !has(Defect::RenameKeepsSource) {
            self.clear_current(id, &source_key)?;
        }
        self.set_current(id, &key, &renamed)?;
        if let Some(token) = token {
            self.remember_rename(id, token)?;
        }
        self.queue_put(&bucket, &key, &renamed, created)?;
        self.queue_delete(&bucket, &source_key, None, removed)?;
        Ok(Reply::Done)
    }

    /// Returns whether the rename was made already. Refuses a token that came with another request before.
    fn was_renamed(&self, bucket: BucketId, token: RenameToken) -> Decided<bool> {
        let key = document_key(&renames::place(bucket, token));
        let document: Option<DocumentRow> = self.rows.row(DOCUMENTS, &key)?;
        match document.and_then(|document| renames::asked(&document.value, token.id)) {
            None => Ok(false),
            Some(asked) if asked == token.asked => Ok(true),
            Some(_) => Err(Refusal::RepeatedOtherwise.into()),
        }
    }

    fn remember_rename(&mut self, bucket: BucketId, token: RenameToken) -> KvResult<()> {
        let place = renames::place(bucket, token);
        let document: Option<DocumentRow> = self.rows.row(DOCUMENTS, &document_key(&place))?;
        let entries = document.map(|document| document.value).unwrap_or_default();
        self.put_document(&place, renames::remember(&entries, token))
    }

    pub(in super::super) fn append_object(&mut self, append: AppendObject) -> Decided<Reply> {
        let bucket = self.bucket(append.bucket)?;
        if bucket.settings.versioning != Versioning::Never {
            return Err(Refusal::Versioned.into());
        }
        let old = self.object(append.bucket, &append.key)?.ok_or(Refusal::NoSuchKey)?;
        if old.manifest.id == append.id {
            return Ok(Reply::ObjectPut { object: Box::new(old) });
        }
        if old.manifest.id != append.manifest && !has(Defect::TrustStaleLength) {
            return Err(Refusal::PreconditionFailed.into());
        }
        let (count, size_bytes) = appended(&old, &append)?;
        self.require_list_to_extend(&old.manifest)?;
        let added = self.require_fresh(&append.blob, &append.missing)?;
        let head = match &append.head {
            Some((head, missing)) => Some(self.require_fresh(head, missing)?),
            None => None,
        };
        self.require_room(&bucket, (size_bytes, 0), Some(&old))?;
        self.adopt_blob(added)?;
        if let Some(head) = head {
            self.adopt_blob(head)?;
        }
        let list = self.own_list_of_parts(&old.manifest, &append)?;
        let part = PartRow {
            number: append.number,
            offset_bytes: old.manifest.size_bytes,
            size_bytes: append.size_bytes,
            md5: append.md5,
            modified: self.now,
            checksum: None,
            blob: Some(append.blob.without_placement()),
        };
        // An empty last part has the same offset as this part, which replaces it.
        let count = count - u16::from(self.rows.has(PARTS, &part_key(list, part.offset_bytes))?);
        self.rows.put_row(PARTS, &part_key(list, part.offset_bytes), &part);
        let manifest = Manifest {
            id: append.id,
            size_bytes,
            etag: append.etag,
            modified: self.now,
            checksum: append.checksum,
            body: Body::Appended { list, count },
            headers: old.manifest.headers,
        };
        let object = ObjectVersion { manifest, ..old };
        self.rewrite(append.bucket, &append.key, &object, true);
        self.count_usage(append.bucket, |usage| usage.bytes += part.size_bytes)?;
        self.queue_put(&bucket, &append.key, &object, append.event)?;
        Ok(Reply::ObjectPut { object: Box::new(object) })
    }

    /// Refuses a long list of parts to which copies refer: it would have to be copied, row by row, on every replica.
    fn require_list_to_extend(&self, standing: &Manifest) -> Decided<()> {
        let Some((list, count)) = standing.parts() else { return Ok(()) };
        if count > SHARED_PARTS_COPIED_MAX && self.rows.has(SHARED, &Shared::Parts(list).key())? {
            return Err(Refusal::PartsShared.into());
        }
        Ok(())
    }

    /// Returns the id of a list of parts that belongs to this object alone: its own; a copy, if other objects share it;
    /// a new one with its present bytes as first part, if it has none.
    fn own_list_of_parts(&mut self, standing: &Manifest, append: &AppendObject) -> KvResult<ManifestId> {
        let first = match (&standing.body, standing.parts(), &append.head) {
            (_, Some((list, _)), _) if self.rows.has(SHARED, &Shared::Parts(list).key())? => {
                return self.list_of_its_own(list, append.id);
            }
            (_, Some((list, _)), _) => return Ok(list),
            (Body::Blob(blob), ..) => Some(blob),
            (Body::Inline, _, Some((head, _))) => {
                self.rows.remove(INLINE, &standing.id.to_be_bytes());
                Some(head)
            }
            _ => None,
        };
        if let Some(blob) = first {
            self.rows.put_row(PARTS, &part_key(standing.id, 0), &first_part(blob, standing));
        }
        Ok(standing.id)
    }

    /// Copies a list to which others refer, so that theirs stays as it is. Its blobs are then in several lists. It is a
    /// short one (`require_list_to_extend`).
    fn list_of_its_own(&mut self, list: ManifestId, id: ManifestId) -> KvResult<ManifestId> {
        for (_, row) in self.rows.first(PARTS, &list.to_be_bytes(), usize::from(PARTS_MAX))? {
            let part: PartRow = codec::decode(&row)?;
            if let Some(blob) = &part.blob {
                self.share(Shared::Blob(blob.id))?;
            }
            self.rows.put_row(PARTS, &part_key(id, part.offset_bytes), &part);
        }
        self.release(Shared::Parts(list))?;
        Ok(id)
    }
}

/// Returns the version under its new name, with its data key wrapped for that name, if it is the version that the
/// proposer found.
fn under_its_name(found: ObjectVersion, source: Option<RenameSource>) -> Result<ObjectVersion, Refusal> {
    let Some(RenameSource { manifest, sealing }) = source else { return Ok(found) };
    let (from, to) = sealing.unzip();
    if found.manifest.id != manifest || found.traits.sealing != from {
        return Err(Refusal::SourceChanged);
    }
    let traits = Traits { sealing: to, ..found.traits };
    Ok(ObjectVersion { traits, ..found })
}

/// Returns the number of parts and bytes of an object after an append, if the append is possible.
fn appended(old: &ObjectVersion, append: &AppendObject) -> Result<(u16, u64), Refusal> {
    let size_bytes = old.manifest.size_bytes.saturating_add(append.size_bytes);
    if append.size_bytes > PUT_BYTES_MAX || size_bytes > OBJECT_BYTES_MAX {
        return Err(Refusal::EntityTooLarge);
    }
    let sealed = old.traits.sealing.is_some();
    // Encrypted bytes are larger than the client's.
    let holds = |blob: &BlobRef, bytes: u64| if sealed { blob.size_bytes >= bytes } else { blob.size_bytes == bytes };
    let head_fits = match (&old.manifest.body, &append.head) {
        (Body::Inline, Some((head, _))) => head.id != append.blob.id && holds(head, old.manifest.size_bytes),
        (Body::Inline, None) => return Err(Refusal::NotAppendable),
        (_, head) => head.is_none(),
    };
    let standing = parts_of(&old.manifest);
    if append.number <= standing || !head_fits || !holds(&append.blob, append.size_bytes) {
        return Err(Refusal::InvalidRequest);
    }
    if standing >= PARTS_MAX {
        return Err(Refusal::TooManyParts);
    }
    Ok((standing + 1, size_bytes))
}

/// Returns the number of parts of an object; an object of one PUT has one.
fn parts_of(manifest: &Manifest) -> u16 {
    match (&manifest.body, manifest.parts()) {
        (_, Some((_, count))) => count,
        (Body::Blob(_) | Body::Inline, None) => 1,
        _ => 0,
    }
}

fn first_part(blob: &BlobRef, of: &Manifest) -> PartRow {
    PartRow {
        number: 1,
        offset_bytes: 0,
        size_bytes: of.size_bytes,
        md5: of.etag.md5,
        modified: of.modified,
        checksum: None,
        blob: Some(blob.clone().without_placement()),
    }
}
