//! Faults of request bodies that show while the body is read.

/// A fault of the framing `aws-chunked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    #[error("a chunk of the body is malformed")]
    Malformed,
    /// A signed chunk is too small for one that is not the last. `next` is the number of the chunk after it.
    #[error("a signed chunk of {size} bytes is too small for one that is not the last")]
    TooSmall { next: u64, size: u64 },
    #[error("the signature of a chunk or of the trailer does not match")]
    SignatureDiffers,
    #[error("the body ended before its last chunk")]
    Unfinished,
}

/// The SHA-256 of the body differs from `x-amz-content-sha256`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has another SHA-256")]
pub struct Sha256Mismatch {
    pub computed: String,
}

/// The client sent its body too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client sent its body too slowly")]
pub struct Stalled;
