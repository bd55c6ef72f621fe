//! Faults of request bodies that are found while they are read.

/// A fault of the framing `aws-chunked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkFault {
    #[error("a chunk of the body does not begin or end as it should")]
    Malformed,
    /// `next` is the number of the chunk that shows that this one is not the last.
    #[error("a signed chunk of {size} bytes is not the last")]
    TooSmall { next: u64, size: u64 },
    #[error("the signature of a chunk, or of the trailer, is another's")]
    SignatureDiffers,
    #[error("the body ended before its last chunk")]
    Unfinished,
}

/// The body has another hash than the request says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has another SHA-256")]
pub struct Sha256Mismatch {
    pub computed: String,
}

/// The client sent its body too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too little came from the client while it was waited for")]
pub struct Stalled;
