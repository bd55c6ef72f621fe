//! Changes of buckets: creation under a number that is never used again, settings, and deletion when empty.

use super::{Applying, Decided, Overlay};
use crate::limits::BUCKETS_OF_ACCOUNT_MAX;
use crate::storage::kv::{KvError, KvResult};
use crate::storage::meta::command::{CreateBucket, Refusal, Reply};
use crate::storage::meta::record::{
    BucketRecord, BucketRow, DocumentKey, ObjectLock, OwnerRow, QuotaChange, Usage, Versioning,
};
use crate::storage::meta::tables::{
    BUCKET_IDS, BUCKETS, DOCUMENTS, DroppedList, OBJECTS, OWNER_BUCKETS, OWNERS, USAGE, VERSIONS, bucket_documents,
    bucket_prefix, owner_bucket_key, owner_key,
};
use crate::types::BucketId;
use bytes::Bytes;
use std::collections::BTreeMap;

impl Applying<'_> {
    pub(super) fn create_bucket(&mut self, create: CreateBucket) -> Decided<Reply> {
        let CreateBucket { name, region, owner, settings, documents } = create;
        if name.is_empty() || owner.contains('\0') {
            return Err(Refusal::InvalidRequest.into());
        }
        if let Some(row) = self.rows.row::<BucketRow>(BUCKETS, name.as_bytes())? {
            let same = row.bucket.owner == owner;
            return Err(if same { Refusal::BucketOwnedByCaller } else { Refusal::BucketOwnedByOther }.into());
        }
        self.add_to_owner(&owner, &name)?;
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
    /// time. A bucket that is not empty is refused by its counters. For an empty one the rows are looked for as well,
    /// which may pass over many that were deleted lately; but only once, since the bucket is gone then.
    pub(super) fn delete_bucket(&mut self, id: BucketId) -> Decided<Reply> {
        let BucketRecord { name, owner, .. } = self.bucket(id)?.bucket;
        if self.usages.of(&self.rows, id)?.has_versions() {
            return Err(Refusal::BucketNotEmpty.into());
        }
        for table in [OBJECTS, VERSIONS] {
            if !self.rows.first(table, &bucket_prefix(id), 1)?.is_empty() {
                return Err(Refusal::BucketNotEmpty.into());
            }
        }
        self.rows.remove(BUCKETS, name.as_bytes());
        self.rows.remove(BUCKET_IDS, &bucket_prefix(id));
        self.remove_from_owner(&owner, &name)?;
        self.counts.buckets -= 1;
        self.usages.forget(id);
        for key in self.rows.first_keys(DOCUMENTS, &bucket_documents(id), usize::MAX)? {
            self.rows.remove(DOCUMENTS, &key);
            self.counts.documents -= 1;
        }
        self.drop_list(DroppedList::BucketUploads(id))?;
        Ok(Reply::Done)
    }

    /// Adds a bucket to those of its account. Refused if the account has as many as an account may have.
    fn add_to_owner(&mut self, owner: &str, name: &str) -> Decided<()> {
        let key = owner_key(owner);
        let OwnerRow { buckets } = self.rows.row::<OwnerRow>(OWNERS, &key)?.unwrap_or_default();
        if buckets >= BUCKETS_OF_ACCOUNT_MAX {
            return Err(Refusal::TooManyBuckets.into());
        }
        self.rows.put_row(OWNERS, &key, &OwnerRow { buckets: buckets + 1 });
        self.rows.put(OWNER_BUCKETS, &owner_bucket_key(owner, name), Bytes::new());
        Ok(())
    }

    fn remove_from_owner(&mut self, owner: &str, name: &str) -> KvResult<()> {
        let key = owner_key(owner);
        let OwnerRow { buckets } = self.rows.row::<OwnerRow>(OWNERS, &key)?.unwrap_or_default();
        match buckets.saturating_sub(1) {
            0 => self.rows.remove(OWNERS, &key),
            buckets => self.rows.put_row(OWNERS, &key, &OwnerRow { buckets }),
        }
        self.rows.remove(OWNER_BUCKETS, &owner_bucket_key(owner, name));
        Ok(())
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
