//! Events of objects, queued for notification targets in the order in which they happened.

use super::{ETag, Version};
use crate::types::{BucketId, UnixMs};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The part of an event that a change's proposer knows. The state machine adds the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDraft {
    /// The event's name, such as `ObjectCreated:Put`.
    pub name: String,
    /// The targets of the event, each with a queue of its own. Names are never empty.
    pub targets: Vec<String>,
    /// The request's context, as the deliverer encodes it.
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
    /// `None` in a bucket without versions.
    pub version: Option<Version>,
    pub size_bytes: u64,
    pub etag: Option<ETag>,
}
