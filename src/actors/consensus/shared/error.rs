//! The errors of proposals and reads.

use crate::storage::meta::command::TooLarge;

/// The reason why a change was not made, or the metadata not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The metadata cannot be reached now. Nothing was changed; try again later.
    #[error("metadata is unavailable: {why}")]
    Unavailable { why: String },
    /// The request cannot be carried out as it is, or not now; `why` says which. Nothing was changed.
    #[error("{why}")]
    Refused { why: String },
    /// The outcome of the change is not known.
    #[error("the change was not decided in time; whether it takes effect is not known")]
    TimedOut,
    /// The change was not proposed, and never can be.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Returns the error of metadata that cannot be reached now.
pub fn unavailable(why: impl ToString) -> MetaError {
    MetaError::Unavailable { why: why.to_string() }
}
