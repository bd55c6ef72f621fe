//! `StoreError`: the errors of reads and writes. `api/errors` maps them to S3's error codes.

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
    /// A temporary failure, such as too few drives or no leader: the client should try again later. Never means that an
    /// object is absent.
    #[error("unavailable: {why}")]
    Unavailable { why: String },
    /// The host is overloaded: the client should slow down.
    #[error("too much in progress: {why}")]
    Busy { why: String },
    /// The request is larger than the store can hold.
    #[error("too large: {why}")]
    TooLarge { why: String },
    #[error("out of space")]
    OutOfSpace,
    #[error("the change was not decided in time; its outcome is unknown")]
    OutcomeUnknown,
    /// The client's body did not have its declared length, stalled, or broke off.
    #[error("the request's body could not be received: {why}")]
    BodyIncomplete { why: String },
    #[error("the request's body is larger than allowed")]
    BodyTooLarge,
    /// The content does not have the MD5 that the client gave.
    #[error("the content's MD5 differs from the one given")]
    Md5Mismatch,
    #[error("the content's {0:?} checksum differs from the one given")]
    ChecksumMismatch(ChecksumAlgorithm),
    /// The reader of the body found a fault in it.
    #[error("the request's body is refused: {0}")]
    BodyRefused(BodyFault),
    #[error("the trailer has a {0:?} checksum that was not announced")]
    TrailerUnannounced(ChecksumAlgorithm),
    /// More shards are unavailable than parity can replace.
    #[error("data is unavailable: {why}")]
    DataUnavailable { why: String },
    #[error("internal: {why}")]
    Internal { why: String },
}

/// The error of a body's reader, which the API supplied. The store returns it to the API unchanged.
#[derive(Clone, Debug)]
pub struct BodyFault(Arc<dyn Error + Send + Sync>);

impl BodyFault {
    pub fn new(fault: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(fault))
    }

    /// Returns the reader's error, if it is of this type.
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
