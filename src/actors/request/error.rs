//! The errors of the store. The API maps these to S3's codes, in one place of its own.

use crate::actors::consensus::MetaError;
use crate::storage::kv::KvError;
use crate::storage::meta::command::Refusal;
use crate::storage::meta::record::ChecksumAlgorithm;

#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Try again later: too many requests, or too few drives; never a sign that an object is absent.
    #[error("unavailable: {why}")]
    Unavailable { why: String },
    /// As `Unavailable`, because of load: the client should slow down.
    #[error("too much in progress: {why}")]
    Busy { why: String },
    /// The request is larger than the store can hold.
    #[error("too large: {why}")]
    TooLarge { why: String },
    #[error("out of space")]
    OutOfSpace,
    #[error("the change was not decided in time; its outcome is unknown")]
    OutcomeUnknown,
    /// The client's body ended early, or its stream failed.
    #[error("the request's body ended early: {why}")]
    BodyIncomplete { why: String },
    #[error("the request's body is larger than allowed")]
    BodyTooLarge,
    /// The content does not have the MD5 that the client gave.
    #[error("the content's MD5 differs from the one given")]
    Md5Mismatch,
    #[error("the content's {0:?} checksum differs from the one given")]
    ChecksumMismatch(ChecksumAlgorithm),
    /// A signature or framing fault that the body's reader found; the API's own error travels in it.
    #[error("the request's body is malformed: {why}")]
    BodyMalformed { code: String, why: String },
    /// More of an object is lost than its redundancy covers.
    #[error("data is unavailable: {why}")]
    DataUnavailable { why: String },
    #[error("internal: {why}")]
    Internal { why: String },
}

impl From<MetaError> for StoreError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Unavailable { why } | MetaError::Refused { why } => Self::Unavailable { why },
            MetaError::TimedOut => Self::OutcomeUnknown,
            MetaError::TooLarge(error) => Self::TooLarge { why: error.to_string() },
        }
    }
}

impl From<KvError> for StoreError {
    fn from(error: KvError) -> Self {
        Self::Unavailable { why: error.to_string() }
    }
}
