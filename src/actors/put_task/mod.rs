//! The PUT of an object or a part: receives the body, computes its digests, stores its shards, and makes the one
//! proposal that creates it.
//!
//! A task, not an actor. The shards are durable on a quorum of nodes before the proposal, which names the missing ones.
//! Until the proposal is decided nothing is visible. A failure before it leaves only shards without a reference. They
//! are dropped in the background, or else the comparison with the metadata finds them as orphans.

mod append;
mod extend;
mod group;
mod intake;
mod pipeline;
mod sealed;
mod shard_outcomes;
mod verify;

#[cfg(test)]
mod tests;

pub use extend::{AppendObjectRequest, append_object};
pub use group::{object_held_bytes_max, part_held_bytes_max};
pub use sealed::held_bytes_max;

use super::events::{PendingEvent, draft_now};
use super::frontend::Permit;
use super::request::{PutPartRequest, RequestContext, StoreError, StoredPart, Upload};
use crate::limits::INLINE_BYTES_MAX;
use crate::metrics::PUT_STAGE_SECONDS;
use crate::storage::checksum::BodyHasher;
use crate::storage::meta::command::{Change, PutObject, PutPart, Refusal, Reply, WriteConditions};
use crate::storage::meta::record::{
    BlobRef, Body, Checksum, ETag, Manifest, ObjectHeaders, ObjectVersion, PartRow, Traits,
};
use crate::storage::sealing::DataKey;
use crate::types::{BucketId, Epoch, ManifestId, ShardNumber, UnixMs};
use bytes::Bytes;
use intake::{Head, Intake};
use pipeline::WrittenShards;
use sealed::Seal;
use std::sync::Arc;
use std::time::Duration;

/// The error of a request that has a sealing record without a data key, or the reverse.
const SEALING_MISMATCH: &str = "an object needs both a sealing record and a data key, or neither";

/// An object to be created, with its body.
pub struct PutObjectRequest {
    pub bucket: BucketId,
    pub key: String,
    pub headers: ObjectHeaders,
    pub conditions: WriteConditions,
    pub traits: Traits,
    /// The key that seals the bytes; present if and only if `traits` has a sealing record.
    pub data_key: Option<DataKey>,
    /// The event to send once the object is created. `None` if there are no webhooks.
    pub event: Option<PendingEvent>,
    pub upload: Upload,
}

/// A body that was received, checked, and stored on the nodes, but not proposed yet.
struct Received {
    content: Content,
    staged: Staged,
    size_bytes: u64,
    /// The MD5 of the content, or the entity tag that is kept in its place.
    tag: [u8; 16],
    /// The checksum to store.
    checksum: Option<Checksum>,
    /// The checksum that the content was checked against.
    compared: Option<Checksum>,
}

enum Content {
    Empty,
    /// Small enough to travel in the proposal.
    Small(Bytes),
    Blob {
        blob: BlobRef,
        missing: Vec<ShardNumber>,
    },
}

/// The resources that a received body holds until its proposal is decided.
enum Staged {
    Nothing,
    /// Bytes that travel in the proposal.
    Bytes {
        _permit: Arc<Permit>,
    },
    Shards {
        written: WrittenShards,
        /// The layout that the shards were written by.
        layout: Epoch,
    },
}

impl Staged {
    fn layout(&self) -> Option<Epoch> {
        match self {
            Self::Nothing | Self::Bytes { .. } => None,
            Self::Shards { layout, .. } => Some(*layout),
        }
    }
}

/// Stores the body of an object and proposes the object. Returns the object as it was created.
pub async fn put_object(
    context: &Arc<RequestContext>,
    permit: Permit,
    request: PutObjectRequest,
) -> Result<ObjectVersion, StoreError> {
    let _under_way = context.load.enter();
    if request.traits.sealing.is_some() != request.data_key.is_some() {
        return Err(StoreError::Internal { why: SEALING_MISMATCH.to_owned() });
    }
    let seal = request.data_key.map(Seal::of_object);
    let received = receive(context, Arc::new(permit), request.upload, Inline::Allowed, seal).await?;
    let (body, inline, missing) = match received.content {
        Content::Empty => (Body::Empty, None, Vec::new()),
        Content::Small(bytes) => (Body::Inline, Some(bytes), Vec::new()),
        Content::Blob { blob, missing } => (Body::Blob(blob), None, missing),
    };
    let manifest = Manifest {
        id: ManifestId(context.ambient.fresh_id()),
        size_bytes: received.size_bytes,
        etag: ETag { md5: received.tag, parts: None },
        modified: UnixMs(0),
        headers: request.headers,
        checksum: received.checksum,
        body,
    };
    let event = draft_now(request.event, &*context.metadata, request.bucket, &request.key).await?;
    let put = PutObject {
        bucket: request.bucket,
        key: request.key,
        manifest,
        inline,
        conditions: request.conditions,
        missing,
        traits: request.traits,
        event,
    };
    match propose(context, Change::PutObject(Box::new(put)), [received.staged]).await? {
        Reply::ObjectPut { object } => Ok(*object),
        other => Err(unexpected(&other)),
    }
}

/// Stores the body of a part and proposes the part to its upload.
pub async fn put_part(
    context: &Arc<RequestContext>,
    permit: Permit,
    request: PutPartRequest,
) -> Result<StoredPart, StoreError> {
    let _under_way = context.load.enter();
    let seal = request.data_key.map(|key| Seal::of_part(key, request.number));
    let received = receive(context, Arc::new(permit), request.upload, Inline::Never, seal).await?;
    let (blob, missing) = match received.content {
        Content::Empty | Content::Small(_) => (None, Vec::new()),
        Content::Blob { blob, missing } => (Some(blob), missing),
    };
    let part = PartRow {
        number: request.number,
        offset_bytes: 0,
        size_bytes: received.size_bytes,
        md5: received.tag,
        modified: UnixMs(0),
        checksum: received.checksum,
        blob,
    };
    let put = PutPart { bucket: request.bucket, key: request.key, upload: request.id, part: part.clone(), missing };
    match propose(context, Change::PutPart(Box::new(put)), [received.staged]).await? {
        Reply::PartPut { modified } => {
            Ok(StoredPart { row: PartRow { modified, ..part }, checksum: received.compared })
        }
        other => Err(unexpected(&other)),
    }
}

/// The decision whether a small body travels in the proposal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inline {
    Allowed,
    Never,
}

async fn receive(
    context: &Arc<RequestContext>,
    permit: Arc<Permit>,
    upload: Upload,
    inline: Inline,
    seal: Option<Seal>,
) -> Result<Received, StoreError> {
    let Upload { body, checks, trailer } = upload;
    let algorithm = checks.checksum.as_ref().map(|(algorithm, _)| *algorithm);
    let tag_key = seal.as_ref().filter(|_| checks.kept.hides_tag).map(|seal| seal.key().clone());
    let mut hasher = BodyHasher::new(algorithm).and(checks.kept.checksum);
    let mut intake = Intake::new(body, checks.length_bytes, context);
    let (digests, content, staged) = match intake.head().await? {
        Head::Whole(bytes) if bytes.is_empty() => (hasher.finish(), Content::Empty, Staged::Nothing),
        Head::Whole(bytes) if inline == Inline::Allowed && is_small(bytes.len(), seal.as_ref()) => {
            // So few bytes are hashed faster here than they are handed to a compute thread.
            hasher.update(&bytes);
            let bytes = match &seal {
                Some(seal) => seal.inline(bytes),
                None => bytes,
            };
            (hasher.finish(), Content::Small(bytes), Staged::Bytes { _permit: permit })
        }
        Head::Whole(bytes) | Head::Start(bytes) => {
            intake.give_back(bytes);
            let pipeline::StoredBlob { blob, missing, layout, written, digests } =
                pipeline::store(context, permit, intake, hasher, seal).await?;
            (digests, Content::Blob { blob, missing }, Staged::Shards { written, layout })
        }
    };
    // On a mismatch `staged` is dropped, which drops the shards.
    let compared = verify::verify(&checks, trailer, &digests)?;
    let checksum = digests.second.map(verify::of_content).or_else(|| compared.clone());
    let tag = tag_key.map_or(digests.md5, |key| key.entity_tag(digests.md5));
    Ok(Received { content, staged, size_bytes: digests.size_bytes, tag, checksum, compared })
}

/// Returns whether a body of this size, sealed if it has a seal, is small enough for the proposal.
fn is_small(bytes: usize, seal: Option<&Seal>) -> bool {
    let stored = seal.map_or(bytes as u64, |seal| seal.layout().sealed_bytes(bytes as u64));
    stored <= INLINE_BYTES_MAX as u64
}

/// Proposes the change. From here on the shards are dropped only if it is certain that the metadata does not refer to
/// them: after a refusal, and not if the outcome is unknown.
async fn propose<const BODIES: usize>(
    context: &RequestContext,
    change: Change,
    mut staged: [Staged; BODIES],
) -> Result<Reply, StoreError> {
    for body in &mut staged {
        if let Staged::Shards { written, .. } = body {
            written.commit();
        }
    }
    let change = match staged.iter().filter_map(Staged::layout).min() {
        Some(layout) => change.written_by(layout),
        None => change,
    };
    let start = context.ambient.clock.monotonic();
    let outcome = context.metadata.propose(change).await;
    observe("propose", context.ambient.clock.monotonic().saturating_sub(start));
    let refused = match outcome {
        Ok(Reply::Refused(refusal)) => StoreError::Refused(refusal),
        Ok(reply) => return Ok(reply),
        Err(error) => StoreError::from(error),
    };
    if matches!(refused, StoreError::Refused(Refusal::Fenced)) {
        context.writes.was_fenced_off();
    }
    if matches!(refused, StoreError::OutcomeUnknown) {
        return Err(refused);
    }
    for body in staged {
        if let Staged::Shards { written, .. } = body {
            written.discard();
        }
    }
    Err(refused)
}

fn unexpected(reply: &Reply) -> StoreError {
    StoreError::Internal { why: format!("unexpected answer of the metadata: {reply:?}") }
}

fn observe(stage: &str, took: Duration) {
    PUT_STAGE_SECONDS.with_label_values(&[stage]).observe(took.as_secs_f64());
}
