//! The input of a write: its body, the checks of the body, and its destination.

use super::StoreError;
use crate::storage::meta::command::WriteConditions;
use crate::storage::meta::record::{Checksum, ChecksumAlgorithm, EventDraft, ObjectHeaders, PartRow, Traits};
use crate::storage::sealing::DataKey;
use crate::types::{BucketId, UploadId};
use bytes::Bytes;
use futures::Stream;
use std::pin::Pin;

/// A body, in chunks as they come; an error ends it.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// The checks of the content, and the values kept of it.
#[derive(Clone, Debug, Default)]
pub struct BodyChecks {
    pub length_bytes: Option<u64>,
    pub md5: Option<[u8; 16]>,
    /// The checksum to compute and store; the client's value where it is known before the body.
    pub checksum: Option<(ChecksumAlgorithm, Option<Bytes>)>,
    pub kept: Kept,
}

/// The values to store of the content if they differ from those that it is checked against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The algorithm of the checksum.
    pub checksum: Option<ChecksumAlgorithm>,
    /// The entity tag says nothing of the content to who has not the key that seals it.
    pub hides_tag: bool,
}

/// A part as it was stored.
#[derive(Clone, Debug)]
pub struct StoredPart {
    pub row: PartRow,
    /// The checksum that the content was checked against.
    pub checksum: Option<Checksum>,
}

/// Resolved when the body has been read to its end: what the trailer said.
pub type TrailerChecksum = Box<dyn FnOnce() -> Option<Result<Checksum, StoreError>> + Send>;

/// The bytes of one PUT, and how they are checked.
pub struct Upload {
    pub body: BodyStream,
    pub checks: BodyChecks,
    /// Called once after the body's end; its checksum, if any, is compared with what was computed. Its algorithm is the one
    /// that `checks` asks for.
    pub trailer: Option<TrailerChecksum>,
}

pub struct PutObjectRequest {
    pub bucket: BucketId,
    pub key: String,
    pub headers: ObjectHeaders,
    pub conditions: WriteConditions,
    pub traits: Traits,
    /// The key that seals the bytes, as `traits` say.
    pub data_key: Option<DataKey>,
    /// The event for the targets, once the object exists.
    pub event: Option<EventDraft>,
    pub upload: Upload,
}

pub struct PutPartRequest {
    pub bucket: BucketId,
    pub key: String,
    pub id: UploadId,
    pub number: u16,
    /// The key that seals the bytes, if the upload is sealed.
    pub data_key: Option<DataKey>,
    pub upload: Upload,
}

/// Bytes `start..end` of an object, `end` exclusive and at most its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    pub start: u64,
    pub end: u64,
}
