//! The errors of the store. The API maps these to S3's codes, in one place of its own.

use crate::actors::consensus::MetaError;
use crate::storage::kv::KvError;
use crate::storage::meta::command::Refusal;
use crate::storage::meta::record::ChecksumAlgorithm;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

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
    /// A fault of the body that its reader found.
    #[error("the request's body is refused: {0}")]
    BodyRefused(BodyFault),
    #[error("the trailer has a {0:?} checksum that was not announced")]
    TrailerUnannounced(ChecksumAlgorithm),
    /// More of an object is lost than its redundancy covers.
    #[error("data is unavailable: {why}")]
    DataUnavailable { why: String },
    #[error("internal: {why}")]
    Internal { why: String },
}

/// The fault of a body in the form of who reads it: the store only hands it back.
#[derive(Clone, Debug)]
pub struct BodyFault(Arc<dyn Error + Send + Sync>);

impl BodyFault {
    pub fn new(fault: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(fault))
    }

    /// The reader's own fault, if it is of this type.
    pub fn of_reader<T: Error + 'static>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
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
