//! Events: what happened to objects, queued for those who asked to be told, in the order in which it happened.

use super::{ETag, Version};
use crate::types::{BucketId, UnixMs};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a change's proposer knows of the event that it will be. The state machine adds the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDraft {
    /// Such as `ObjectCreated:Put`.
    pub name: String,
    /// Who is told: each has a queue of its own. Never empty names.
    pub targets: Vec<String>,
    /// Of the request, as the deliverer encodes it.
    pub context: Bytes,
}

/// An event in a target's queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// Greater in later events.
    pub seq: u64,
    pub at: UnixMs,
    pub draft: EventDraft,
    pub bucket: BucketId,
    pub key: String,
    /// `None` where there are no versions.
    pub version: Option<Version>,
    pub size_bytes: u64,
    pub etag: Option<ETag>,
}
