//! Changes of objects. This file has the conditional put: the bytes of a replaced version that is not kept become
//! garbage in the same entry.

mod copies;
mod deletes;
mod fresh;
mod traits;
mod versions;

use super::{Applying, Decided, answered};
use crate::defects::{Defect, has};
use crate::limits::KEY_BYTES_MAX;
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{ETagCondition, PutObject, Refusal, Reply, WriteConditions};
use crate::storage::meta::record::{Body, BucketRow, ETag, Manifest, ObjectVersion, Traits};
use crate::storage::meta::tables::{INLINE, OBJECTS, object_key};
use crate::types::BucketId;
use bytes::Bytes;
use fresh::FreshBlob;

impl Applying<'_> {
    pub(super) fn put_object(&mut self, put: PutObject) -> KvResult<Reply> {
        let (bucket, old, fresh) = match self.may_put(&put) {
            Ok(may) => may,
            Err(stop) => return answered(Err(stop)),
        };
        let PutObject { key, mut manifest, inline, traits, event, .. } = put;
        if let Some(standing) = old.as_ref().filter(|old| old.manifest.id == manifest.id) {
            return Ok(Reply::ObjectPut { object: Box::new(standing.clone()) });
        }
        if let Some(fresh) = fresh {
            self.adopt_blob(fresh)?;
        }
        if let Some(bytes) = inline {
            self.rows.put(INLINE, &manifest.id.to_be_bytes(), bytes);
        }
        manifest.modified = self.now;
        let object = self.make_current(&bucket, &key, manifest, traits, old)?;
        self.queue_put(&bucket, &key, &object, event)?;
        Ok(Reply::ObjectPut { object: Box::new(object) })
    }

    /// Decides whether a put may be made. Returns the bucket, the current object that it replaces, and the blob that it
    /// adopts.
    fn may_put(&mut self, put: &PutObject) -> Decided<(BucketRow, Option<ObjectVersion>, Option<FreshBlob>)> {
        let bucket = self.bucket(put.bucket)?;
        require_key(&put.key)?;
        require_sizes(&put.manifest, put.inline.as_ref(), put.traits.sealing.is_some())?;
        let old = self.object(put.bucket, &put.key)?;
        if old.as_ref().is_some_and(|old| old.manifest.id == put.manifest.id) {
            return Ok((bucket, old, None));
        }
        let fresh = match put.manifest.body.blob() {
            Some(blob) => Some(self.require_fresh(blob, &put.missing)?),
            None => None,
        };
        require_lock(&bucket, &put.traits)?;
        require_conditions(&put.conditions, old.as_ref())?;
        self.require_room(&bucket, (put.manifest.size_bytes, 0), old.as_ref())?;
        Ok((bucket, old, fresh))
    }

    /// Returns the current object of a key.
    pub(super) fn object(&self, bucket: BucketId, key: &str) -> KvResult<Option<ObjectVersion>> {
        self.rows.row(OBJECTS, &object_key(bucket, key))
    }
}

/// Checks that a manifest has the size of its bytes. Encrypted bytes are larger than the client's.
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

/// Checks that the bucket allows locks, if the version is to have one.
pub(super) fn require_lock(bucket: &BucketRow, traits: &Traits) -> Result<(), Refusal> {
    let locks = traits.retention.is_some() || traits.legal_hold.is_some();
    if locks && bucket.settings.lock.is_none() { Err(Refusal::LockNotEnabled) } else { Ok(()) }
}

pub(super) fn require_key(key: &str) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX { Err(Refusal::InvalidRequest) } else { Ok(()) }
}

/// Checks the conditions of S3's conditional writes: `If-Match` on an absent key is 404, any other failure 412.
pub(super) fn require_conditions(conditions: &WriteConditions, current: Option<&ObjectVersion>) -> Result<(), Refusal> {
    let current = current.map(|current| &current.manifest.etag);
    if has(Defect::IgnoreConditions) {
        return Ok(());
    }
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
