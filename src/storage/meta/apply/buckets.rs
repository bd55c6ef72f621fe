//! Buckets: made under a number that is never used again, deleted when empty.

use super::{Applying, Decided};
use crate::storage::meta::command::{Refusal, Reply};
use crate::storage::meta::record::BucketRecord;
use crate::storage::meta::tables::{BUCKET_IDS, BUCKETS, DroppedList, OBJECTS, bucket_prefix};
use crate::types::BucketId;

impl Applying<'_> {
    pub(super) fn create_bucket(&mut self, name: String, region: String, owner: String) -> Decided<Reply> {
        if name.is_empty() {
            return Err(Refusal::InvalidRequest.into());
        }
        if let Some(bucket) = self.rows.row::<BucketRecord>(BUCKETS, name.as_bytes())? {
            let same = bucket.owner == owner;
            return Err(if same { Refusal::BucketOwnedByCaller } else { Refusal::BucketOwnedByOther }.into());
        }
        self.counts.buckets_ever += 1;
        self.counts.buckets += 1;
        let id = BucketId(self.counts.buckets_ever);
        let bucket = BucketRecord { id, name, region, owner, created: self.now };
        self.rows.put_row(BUCKETS, bucket.name.as_bytes(), &bucket);
        self.rows.put(BUCKET_IDS, &bucket_prefix(id), bucket.name.into_bytes());
        Ok(Reply::BucketCreated { id })
    }

    /// Its uploads can no longer be reached once the bucket's number is gone; they become garbage a page at a time.
    pub(super) fn delete_bucket(&mut self, name: &str) -> Decided<Reply> {
        if name.is_empty() {
            return Err(Refusal::NoSuchBucket.into());
        }
        let bucket: BucketRecord = self.rows.row(BUCKETS, name.as_bytes())?.ok_or(Refusal::NoSuchBucket)?;
        if !self.rows.first(OBJECTS, &bucket_prefix(bucket.id), 1)?.is_empty() {
            return Err(Refusal::BucketNotEmpty.into());
        }
        self.rows.remove(BUCKETS, name.as_bytes());
        self.rows.remove(BUCKET_IDS, &bucket_prefix(bucket.id));
        self.counts.buckets -= 1;
        self.drop_list(DroppedList::BucketUploads(bucket.id))?;
        Ok(Reply::Done)
    }

    pub(super) fn require_bucket(&self, id: BucketId) -> Decided<()> {
        let known = self.rows.has(BUCKET_IDS, &bucket_prefix(id))?;
        if known { Ok(()) } else { Err(Refusal::NoSuchBucket.into()) }
    }
}
