//! Changes of buckets: creation under a number that is never used again, settings, and deletion when empty.

use super::{Applying, Decided, Overlay};
use crate::storage::kv::{KvError, KvResult};
use crate::storage::meta::command::{CreateBucket, Refusal, Reply};
use crate::storage::meta::record::{BucketRecord, BucketRow, DocumentKey, ObjectLock, QuotaChange, Usage, Versioning};
use crate::storage::meta::tables::{
    BUCKET_IDS, BUCKETS, DOCUMENTS, DroppedList, OBJECTS, USAGE, VERSIONS, bucket_documents, bucket_prefix,
};
use crate::types::BucketId;
use std::collections::BTreeMap;

impl Applying<'_> {
    pub(super) fn create_bucket(&mut self, create: CreateBucket) -> Decided<Reply> {
        let CreateBucket { name, region, owner, settings, documents } = create;
        if name.is_empty() {
            return Err(Refusal::InvalidRequest.into());
        }
        if let Some(row) = self.rows.row::<BucketRow>(BUCKETS, name.as_bytes())? {
            let same = row.bucket.owner == owner;
            return Err(if same { Refusal::BucketOwnedByCaller } else { Refusal::BucketOwnedByOther }.into());
        }
        self.counts.buckets_ever += 1;
        self.counts.buckets += 1;
        let id = BucketId(self.counts.buckets_ever);
        let bucket = BucketRecord { id, name: name.clone(), region, owner, created: self.now };
        self.rows.put_row(BUCKETS, name.as_bytes(), &BucketRow { bucket, settings });
        self.rows.put(BUCKET_IDS, &bucket_prefix(id), name.into_bytes());
        for (kind, name, value) in documents {
            self.put_document(&DocumentKey::Bucket(id, kind, name), value)?;
        }
        Ok(Reply::BucketCreated { id })
    }

    /// Deletes a bucket. Its uploads cannot be reached without the bucket's number; they become garbage a page at a
    /// time.
    pub(super) fn delete_bucket(&mut self, id: BucketId) -> Decided<Reply> {
        let name = self.bucket(id)?.bucket.name;
        for table in [OBJECTS, VERSIONS] {
            if !self.rows.first(table, &bucket_prefix(id), 1)?.is_empty() {
                return Err(Refusal::BucketNotEmpty.into());
            }
        }
        self.rows.remove(BUCKETS, name.as_bytes());
        self.rows.remove(BUCKET_IDS, &bucket_prefix(id));
        self.counts.buckets -= 1;
        self.usages.forget(id);
        for key in self.rows.first_keys(DOCUMENTS, &bucket_documents(id), usize::MAX)? {
            self.rows.remove(DOCUMENTS, &key);
            self.counts.documents -= 1;
        }
        self.drop_list(DroppedList::BucketUploads(id))?;
        Ok(Reply::Done)
    }

    pub(super) fn set_bucket(
        &mut self,
        id: BucketId,
        versioning: Option<Versioning>,
        lock: Option<ObjectLock>,
        quota: QuotaChange,
    ) -> Decided<Reply> {
        let mut row = self.bucket(id)?;
        let settings = &mut row.settings;
        settings.versioning = versioning.unwrap_or(settings.versioning);
        settings.lock = lock.or(settings.lock);
        settings.quota = quota.apply(settings.quota);
        if settings.lock.is_some() && settings.versioning != Versioning::Enabled {
            return Err(Refusal::LockNeedsVersioning.into());
        }
        self.rows.put_row(BUCKETS, row.bucket.name.as_bytes(), &row);
        Ok(Reply::Done)
    }

    pub(super) fn require_bucket(&self, id: BucketId) -> Decided<()> {
        let known = self.rows.has(BUCKET_IDS, &bucket_prefix(id))?;
        if known { Ok(()) } else { Err(Refusal::NoSuchBucket.into()) }
    }

    pub(super) fn bucket(&self, id: BucketId) -> Decided<BucketRow> {
        let name = self.rows.get(BUCKET_IDS, &bucket_prefix(id))?.ok_or(Refusal::NoSuchBucket)?;
        let nameless = || KvError::new("read a bucket", format!("bucket {} has a number but no row", id.0));
        Ok(self.rows.row(BUCKETS, &name)?.ok_or_else(nameless)?)
    }
}

/// The usage of the buckets that a batch touches, each read once and written once.
#[derive(Default)]
pub(super) struct Usages {
    /// `None` if the bucket was deleted.
    changed: BTreeMap<BucketId, Option<Usage>>,
}

impl Usages {
    pub(super) fn of(&self, rows: &Overlay<'_>, bucket: BucketId) -> KvResult<Usage> {
        match self.changed.get(&bucket) {
            Some(usage) => Ok(usage.unwrap_or_default()),
            None => Ok(rows.row(USAGE, &bucket_prefix(bucket))?.unwrap_or_default()),
        }
    }

    pub(super) fn set(&mut self, bucket: BucketId, usage: Usage) {
        self.changed.insert(bucket, Some(usage));
    }

    fn forget(&mut self, bucket: BucketId) {
        self.changed.insert(bucket, None);
    }

    pub(super) fn write(&self, rows: &mut Overlay<'_>) {
        for (&bucket, usage) in &self.changed {
            match usage {
                Some(usage) => rows.put_row(USAGE, &bucket_prefix(bucket), usage),
                None => rows.remove(USAGE, &bucket_prefix(bucket)),
            }
        }
    }
}
