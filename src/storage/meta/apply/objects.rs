//! Objects: put and deleted under conditions, the replaced version's bytes becoming garbage in the same entry.

use super::{Applying, Decided, Stop, answered};
use crate::limits::KEY_BYTES_MAX;
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{ETagCondition, PutObject, Refusal, Reply, WriteConditions};
use crate::storage::meta::record::RepairRow;
use crate::storage::meta::record::{BlobRef, Body, ETag, Manifest};
use crate::storage::meta::tables::{BLOBS, GARBAGE, INLINE, OBJECTS, REPAIRS, object_key, repair_key};
use crate::types::{BucketId, ShardIndex};
use bytes::Bytes;

impl Applying<'_> {
    pub(super) fn put_object(&mut self, put: PutObject) -> KvResult<Reply> {
        let PutObject { bucket, key, mut manifest, inline, conditions, missing } = put;
        let blob = blob_of(&manifest.body).cloned();
        let old = match self.may_put(bucket, &key, &manifest, inline.as_ref(), &conditions, &missing) {
            Ok(old) => old,
            Err(stop) => {
                self.discard_fresh(blob)?;
                return answered(Err(stop));
            }
        };
        if let Some(standing) = old.as_ref().filter(|old| old.id == manifest.id) {
            return Ok(Reply::ObjectPut { manifest: Box::new(standing.clone()) });
        }
        if let Some(blob) = &blob {
            self.adopt_blob(blob, &missing)?;
        }
        if let Some(bytes) = inline {
            self.rows.put(INLINE, &manifest.id.to_be_bytes(), bytes);
        }
        manifest.modified = self.now;
        self.replace_object(bucket, &key, &manifest, old.as_ref())?;
        Ok(Reply::ObjectPut { manifest: Box::new(manifest) })
    }

    /// The version that would be replaced.
    fn may_put(
        &self,
        bucket: BucketId,
        key: &str,
        manifest: &Manifest,
        inline: Option<&Bytes>,
        conditions: &WriteConditions,
        missing: &[ShardIndex],
    ) -> Decided<Option<Manifest>> {
        self.require_bucket(bucket)?;
        require_key(key)?;
        let size_bytes = match (&manifest.body, inline) {
            (Body::Empty, None) => 0,
            (Body::Inline, Some(bytes)) => bytes.len() as u64,
            (Body::Blob(blob), None) => blob.size_bytes,
            _ => return Err(Refusal::InvalidRequest.into()),
        };
        if size_bytes != manifest.size_bytes {
            return Err(Refusal::InvalidRequest.into());
        }
        let old = self.object(bucket, key)?;
        if old.as_ref().is_some_and(|old| old.id == manifest.id) {
            return Ok(old);
        }
        if let Body::Blob(blob) = &manifest.body {
            self.require_fresh(blob, missing)?;
        }
        require_conditions(conditions, old.as_ref())?;
        Ok(old)
    }

    /// Whether there was anything to delete.
    pub(super) fn delete_object(&mut self, bucket: BucketId, key: &str, conditions: &WriteConditions) -> Decided<bool> {
        self.require_bucket(bucket)?;
        let old = self.object(bucket, key)?;
        require_conditions(conditions, old.as_ref())?;
        let Some(old) = old else { return Ok(false) };
        self.rows.remove(OBJECTS, &object_key(bucket, key));
        self.counts.objects -= 1;
        self.discard_version(&old)?;
        Ok(true)
    }

    pub(super) fn delete_objects(&mut self, bucket: BucketId, keys: &[(String, WriteConditions)]) -> KvResult<Reply> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for (key, conditions) in keys {
            outcomes.push(match self.delete_object(bucket, key, conditions) {
                Ok(existed) => Ok(existed),
                Err(Stop::Refused(refusal)) => Err(refusal),
                Err(Stop::Lost(error)) => return Err(error),
            });
        }
        Ok(Reply::DeletedMany(outcomes))
    }

    pub(super) fn object(&self, bucket: BucketId, key: &str) -> KvResult<Option<Manifest>> {
        self.rows.row(OBJECTS, &object_key(bucket, key))
    }

    pub(super) fn replace_object(
        &mut self,
        bucket: BucketId,
        key: &str,
        new: &Manifest,
        old: Option<&Manifest>,
    ) -> KvResult<()> {
        let mut stored = new.clone();
        if let Body::Blob(blob) = stored.body {
            stored.body = Body::Blob(blob.without_placement());
        }
        self.rows.put_row(OBJECTS, &object_key(bucket, key), &stored);
        match old {
            Some(old) => self.discard_version(old),
            None => {
                self.counts.objects += 1;
                Ok(())
            }
        }
    }

    /// That a blob is well formed and nobody's yet. One that is somebody's already is not this change's to refer to.
    pub(super) fn require_fresh(&self, blob: &BlobRef, missing: &[ShardIndex]) -> Decided<()> {
        let shards = blob.geometry.shards();
        let well_formed = blob.placement.len() == shards && missing.iter().all(|shard| usize::from(shard.0) < shards);
        if !well_formed || self.is_known(blob)? {
            return Err(Refusal::InvalidRequest.into());
        }
        Ok(())
    }

    pub(super) fn is_known(&self, blob: &BlobRef) -> KvResult<bool> {
        let key = blob.id.to_be_bytes();
        Ok(self.rows.has(BLOBS, &key)? || self.rows.has(GARBAGE, &key)?)
    }

    /// A fresh blob becomes somebody's; its missing shards are queued for repair.
    pub(super) fn adopt_blob(&mut self, blob: &BlobRef, missing: &[ShardIndex]) -> KvResult<()> {
        self.rows.put_row(BLOBS, &blob.id.to_be_bytes(), blob);
        self.counts.blobs += 1;
        let mut missing = missing.to_vec();
        missing.sort_unstable();
        missing.dedup();
        for shard in missing {
            self.rows.put_row(
                REPAIRS,
                &repair_key(blob.id, shard),
                &RepairRow { blob: blob.clone(), shard, since: self.now },
            );
            self.counts.repairs += 1;
        }
        self.count_held(blob.placement.iter().copied(), |held| held.placed += 1)
    }
}

pub(super) fn blob_of(body: &Body) -> Option<&BlobRef> {
    match body {
        Body::Blob(blob) => Some(blob),
        Body::Empty | Body::Inline | Body::Parts { .. } => None,
    }
}

pub(super) fn require_key(key: &str) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX { Err(Refusal::InvalidRequest) } else { Ok(()) }
}

/// S3's conditional writes: `If-Match` on a key that is not there is 404, any other failure 412.
pub(super) fn require_conditions(conditions: &WriteConditions, current: Option<&Manifest>) -> Result<(), Refusal> {
    if let Some(condition) = &conditions.if_match {
        let current = current.ok_or(Refusal::NoSuchKey)?;
        if !matches(condition, &current.etag) {
            return Err(Refusal::PreconditionFailed);
        }
    }
    match (&conditions.if_none_match, current) {
        (Some(condition), Some(current)) if matches(condition, &current.etag) => Err(Refusal::PreconditionFailed),
        _ => Ok(()),
    }
}

fn matches(condition: &ETagCondition, etag: &ETag) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::Is(wanted) => wanted == etag,
        ETagCondition::Unknown => false,
    }
}
