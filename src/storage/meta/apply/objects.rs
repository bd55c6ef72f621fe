//! Objects: put under conditions, the replaced version's bytes becoming garbage in the same entry where it is not kept.

mod copies;
mod deletes;
mod traits;
mod versions;

use super::{Applying, Decided, answered};
use crate::limits::KEY_BYTES_MAX;
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{ETagCondition, PutObject, PutVersion, Refusal, Reply, WriteConditions};
use crate::storage::meta::record::RepairRow;
use crate::storage::meta::record::{BlobRef, Body, BucketRow, ETag, Manifest, ObjectVersion, Traits};
use crate::storage::meta::tables::{BLOBS, GARBAGE, INLINE, OBJECTS, REPAIRS, object_key, repair_key};
use crate::storage::ring::write_quorum;
use crate::types::{BucketId, ShardIndex};
use bytes::Bytes;
use std::collections::BTreeSet;

impl Applying<'_> {
    /// As a version without traits.
    pub(super) fn put_object(&mut self, put: PutObject) -> KvResult<Reply> {
        Ok(match self.put_version(PutVersion { put, traits: Traits::default(), event: None })? {
            Reply::VersionPut { object } => Reply::ObjectPut { manifest: Box::new(object.manifest) },
            other => other,
        })
    }

    pub(super) fn put_version(&mut self, version: PutVersion) -> KvResult<Reply> {
        let blob = blob_of(&version.put.manifest.body).cloned();
        let (bucket, old) = match self.may_put(&version.put, &version.traits) {
            Ok(may) => may,
            Err(stop) => {
                self.discard_fresh(blob)?;
                return answered(Err(stop));
            }
        };
        let PutVersion { put: PutObject { key, mut manifest, inline, missing, .. }, traits, event } = version;
        if let Some(standing) = old.as_ref().filter(|old| old.manifest.id == manifest.id) {
            return Ok(Reply::VersionPut { object: Box::new(standing.clone()) });
        }
        if let Some(blob) = &blob {
            self.adopt_blob(blob, &missing)?;
        }
        if let Some(bytes) = inline {
            self.rows.put(INLINE, &manifest.id.to_be_bytes(), bytes);
        }
        manifest.modified = self.now;
        let object = self.place(&bucket, &key, manifest, traits, old)?;
        self.queue_put(&bucket, &key, &object, event)?;
        Ok(Reply::VersionPut { object: Box::new(object) })
    }

    /// The bucket, and the version that would be replaced as the current one.
    fn may_put(&mut self, put: &PutObject, traits: &Traits) -> Decided<(BucketRow, Option<ObjectVersion>)> {
        let bucket = self.bucket(put.bucket)?;
        require_key(&put.key)?;
        require_sizes(&put.manifest, put.inline.as_ref(), traits.sealing.is_some())?;
        let old = self.object(put.bucket, &put.key)?;
        if old.as_ref().is_some_and(|old| old.manifest.id == put.manifest.id) {
            return Ok((bucket, old));
        }
        if let Body::Blob(blob) = &put.manifest.body {
            self.require_fresh(blob, &put.missing)?;
        }
        require_lock(&bucket, traits)?;
        require_conditions(&put.conditions, old.as_ref())?;
        self.require_room(&bucket, put.manifest.size_bytes, old.as_ref())?;
        Ok((bucket, old))
    }

    /// The object that stands under a key.
    pub(super) fn object(&self, bucket: BucketId, key: &str) -> KvResult<Option<ObjectVersion>> {
        self.rows.row(OBJECTS, &object_key(bucket, key))
    }

    /// That a blob is well formed and nobody's yet, and not lost before it is somebody's. One that is somebody's already is not
    /// this change's to refer to.
    pub(super) fn require_fresh(&mut self, blob: &BlobRef, missing: &[ShardIndex]) -> Decided<()> {
        let shards = blob.geometry.shards();
        let well_formed = blob.placement.len() == shards && missing.iter().all(|shard| usize::from(shard.0) < shards);
        if !well_formed || self.is_known(blob)? {
            return Err(Refusal::InvalidRequest.into());
        }
        let gone = self.on_removed_drives(blob, missing)?;
        if !gone.is_empty() {
            let lacking: BTreeSet<&ShardIndex> = missing.iter().chain(&gone).collect();
            if shards - lacking.len() < write_quorum(blob.geometry) {
                return Err(Refusal::NoSuchNode.into());
            }
        }
        Ok(())
    }

    /// Shards of a fresh blob that are not known to be missing, and are on drives that were removed after they were written.
    fn on_removed_drives(&mut self, blob: &BlobRef, missing: &[ShardIndex]) -> KvResult<Vec<ShardIndex>> {
        let mut gone = Vec::new();
        for (shard, node) in (0..=u8::MAX).map(ShardIndex).zip(&blob.placement) {
            if !missing.contains(&shard) && self.was_removed(*node)? {
                gone.push(shard);
            }
        }
        Ok(gone)
    }

    pub(super) fn is_known(&self, blob: &BlobRef) -> KvResult<bool> {
        let key = blob.id.to_be_bytes();
        Ok(self.rows.has(BLOBS, &key)? || self.rows.has(GARBAGE, &key)?)
    }

    /// A fresh blob becomes somebody's; its missing shards are queued for repair. Those on drives that were removed meanwhile
    /// are moved to others, to be repaired there.
    pub(super) fn adopt_blob(&mut self, blob: &BlobRef, missing: &[ShardIndex]) -> KvResult<()> {
        let gone = self.on_removed_drives(blob, missing)?;
        self.rows.put_row(BLOBS, &blob.id.to_be_bytes(), blob);
        self.counts.blobs += 1;
        let mut missing = [missing, gone.as_slice()].concat();
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
        Body::Empty | Body::Inline | Body::Parts { .. } | Body::PartsOf { .. } => None,
    }
}

/// That a manifest's size is its bytes'. Encrypted bytes are more than the client's.
fn require_sizes(manifest: &Manifest, inline: Option<&Bytes>, sealed: bool) -> Result<(), Refusal> {
    let stored_bytes = match (&manifest.body, inline) {
        (Body::Empty, None) => 0,
        (Body::Inline, Some(bytes)) => bytes.len() as u64,
        (Body::Blob(blob), None) => blob.size_bytes,
        _ => return Err(Refusal::InvalidRequest),
    };
    let fits = if sealed { stored_bytes >= manifest.size_bytes } else { stored_bytes == manifest.size_bytes };
    if fits { Ok(()) } else { Err(Refusal::InvalidRequest) }
}

/// That versions which are to be locked can be.
pub(super) fn require_lock(bucket: &BucketRow, traits: &Traits) -> Result<(), Refusal> {
    let locks = traits.retention.is_some() || traits.legal_hold.is_some();
    if locks && !bucket.settings.lock { Err(Refusal::LockNotEnabled) } else { Ok(()) }
}

pub(super) fn require_key(key: &str) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX { Err(Refusal::InvalidRequest) } else { Ok(()) }
}

/// S3's conditional writes: `If-Match` on a key that is not there is 404, any other failure 412.
pub(super) fn require_conditions(conditions: &WriteConditions, current: Option<&ObjectVersion>) -> Result<(), Refusal> {
    let current = current.map(|current| &current.manifest.etag);
    if let Some(condition) = &conditions.if_match {
        let current = current.ok_or(Refusal::NoSuchKey)?;
        if !matches(condition, current) {
            return Err(Refusal::PreconditionFailed);
        }
    }
    match (&conditions.if_none_match, current) {
        (Some(condition), Some(current)) if matches(condition, current) => Err(Refusal::PreconditionFailed),
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
