//! The inputs of PUTs and GETs: bodies with their declared sizes and digests, destinations, and ranges.

use super::StoreError;
use crate::storage::meta::record::{Checksum, ChecksumAlgorithm, PartRow};
use crate::storage::sealing::DataKey;
use crate::types::{BucketId, UploadId};
use bytes::Bytes;
use futures::Stream;
use std::pin::Pin;

/// A body as a stream of pieces of any size. An error ends it.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// The values that a body is compared with, and those that are stored of it.
#[derive(Clone, Debug, Default)]
pub struct BodyChecks {
    pub length_bytes: Option<u64>,
    pub md5: Option<[u8; 16]>,
    /// The algorithm of the checksum to compute and store, and the client's value if it came before the body.
    pub checksum: Option<(ChecksumAlgorithm, Option<Bytes>)>,
    pub kept: Kept,
}

/// How the stored checksum and ETag differ from what the body is compared with: another checksum algorithm, or an ETag
/// that hides the MD5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The algorithm of the stored checksum.
    pub checksum: Option<ChecksumAlgorithm>,
    /// True if the stored entity tag is derived with the data key, so that it does not reveal the MD5 of the content.
    pub hides_tag: bool,
}

/// A part as it was stored.
#[derive(Clone, Debug)]
pub struct StoredPart {
    pub row: PartRow,
    /// The checksum that the content was compared with.
    pub checksum: Option<Checksum>,
}

/// Returns the checksum in the trailer, if it has one. To be called after the end of the body.
pub type TrailerChecksum = Box<dyn FnOnce() -> Option<Result<Checksum, StoreError>> + Send>;

/// The body of one PUT, and the values that it is compared with.
pub struct Upload {
    pub body: BodyStream,
    pub checks: BodyChecks,
    /// The source of the trailer's checksum, which is compared with the computed one. Its algorithm must be that of
    /// `checks`.
    pub trailer: Option<TrailerChecksum>,
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
