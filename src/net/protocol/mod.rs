//! The encoding of requests and answers between hosts as frames. Pure: bytes in, messages out. An answer repeats what
//! was requested, and each piece of a body has a checksum, so that the bytes of another shard, or changed bytes, are
//! never accepted.

mod answer;
mod headers;
mod request;

pub(super) use answer::Answer;
pub(super) use headers::Piece;
pub(super) use request::Request;

use super::frame::{FrameError, FrameKind, Head};
use crate::limits::{CHUNK_BYTES_MAX, CHUNKS_READ_MAX};
use bytes::Bytes;

/// An encoded message: head and header, then the body.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: Bytes,
    pub(super) body: Vec<Bytes>,
}

/// A message of which the header was received, and the pieces of its body that follow.
#[derive(Debug)]
pub(super) struct Incoming<M> {
    message: M,
    pub(super) pieces: Vec<Piece>,
}

impl<M: Filled> Incoming<M> {
    /// Checks the pieces against the head. `chunks` is true if each piece is a chunk, and false if it is a group's
    /// message.
    fn new(head: &Head, message: M, pieces: Vec<Piece>, chunks: bool) -> Result<Self, FrameError> {
        let malformed = |why| Err(FrameError::Header(head.kind, why));
        if pieces.len() > CHUNKS_READ_MAX as usize {
            return malformed("too many pieces");
        }
        if chunks && pieces.iter().any(|piece| piece.bytes as usize > CHUNK_BYTES_MAX) {
            return malformed("a chunk is too large");
        }
        if pieces.iter().map(|piece| u64::from(piece.bytes)).sum::<u64>() != head.body_bytes as u64 {
            return malformed("its pieces do not add up to the length of the body");
        }
        Ok(Self { message, pieces })
    }

    /// The message without its body.
    pub(super) fn message(&self) -> &M {
        &self.message
    }

    /// Returns the message with its body, which has one buffer for each piece. Verifies the checksums.
    pub(super) fn complete(mut self, bodies: Vec<Bytes>) -> Result<M, FrameError> {
        if bodies.len() != self.pieces.len() {
            return Err(FrameError::BodyChecksum);
        }
        for (piece, body) in self.pieces.iter().zip(&bodies) {
            piece.check(body)?;
        }
        self.message.fill(bodies);
        Ok(self.message)
    }
}

/// A message that is decoded from its header first, and gets its body later.
pub(super) trait Filled {
    fn fill(&mut self, bodies: Vec<Bytes>);
}

fn unexpected(found: FrameKind, expected: &'static str) -> FrameError {
    FrameError::Unexpected { found, expected }
}

#[cfg(test)]
mod tests;
