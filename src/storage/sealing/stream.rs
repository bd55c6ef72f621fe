//! Streaming encryption and decryption of a run. One chunk is held at a time, each byte is copied once, and the plain
//! bytes of a chunk are returned only after the whole chunk was authenticated.

use super::layout::{CHUNK_BYTES, Span};
use super::run::RunKey;
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// Seals one run, from its first byte to its last.
#[derive(Debug)]
pub struct Sealer {
    key: RunKey,
    /// The index of the chunk that is being filled.
    index: u64,
    chunk: BytesMut,
    /// The bytes that are still expected: a hint for the allocation of memory.
    expected_bytes: u64,
}

impl Sealer {
    /// `expected_bytes` is the length of the run, if known. It is only a hint for the allocation of memory.
    pub fn new(key: RunKey, expected_bytes: Option<u64>) -> Self {
        Self { key, index: 0, chunk: BytesMut::new(), expected_bytes: expected_bytes.unwrap_or(u64::MAX) }
    }

    /// Takes bytes from the front of `plain`. Returns a sealed chunk once it is full and further bytes follow, so that
    /// it is not the last. Must be called until it returns `None`; all bytes are taken then.
    pub fn push(&mut self, plain: &mut Bytes) -> Option<Bytes> {
        while !plain.is_empty() {
            if self.chunk.len() == CHUNK_BYTES {
                return Some(self.seal(false));
            }
            let taken = plain.split_to(plain.len().min(CHUNK_BYTES - self.chunk.len()));
            self.reserve(taken.len());
            self.chunk.extend_from_slice(&taken);
            self.expected_bytes = self.expected_bytes.saturating_sub(taken.len() as u64);
        }
        None
    }

    /// Returns the last chunk; `None` if the run is empty.
    pub fn finish(mut self) -> Option<Bytes> {
        (!self.chunk.is_empty()).then(|| self.seal(true))
    }

    /// Reserves room for the rest of the chunk and its tags: once for each chunk, unless more bytes come than were
    /// expected.
    fn reserve(&mut self, taken: usize) {
        let tags = self.key.layout().overhead_bytes();
        if self.chunk.capacity() - self.chunk.len() < taken + tags {
            let expected = usize::try_from(self.expected_bytes).unwrap_or(usize::MAX).max(taken);
            self.chunk.reserve(expected.min(CHUNK_BYTES - self.chunk.len()) + tags);
        }
    }

    fn seal(&mut self, is_final: bool) -> Bytes {
        let mut chunk = std::mem::take(&mut self.chunk);
        self.key.seal(self.index, is_final, &mut chunk);
        self.index += 1;
        chunk.freeze()
    }
}

/// The reason for which sealed bytes do not open. Bytes that were returned before the error are authentic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("chunk {chunk} of the encrypted bytes was changed, or was encrypted under another key")]
    Corrupt { chunk: u64 },
    #[error("{missing_bytes} encrypted bytes are missing at the end")]
    Truncated { missing_bytes: u64 },
    #[error("{excess_bytes} excess bytes follow the encrypted bytes of the range")]
    Excess { excess_bytes: usize },
}

/// Opens a range of one run.
#[derive(Debug)]
pub struct Opener {
    key: RunKey,
    span: Span,
    /// The index of the chunk that is being filled.
    index: u64,
    chunk: BytesMut,
    /// The sealed bytes that have not been pushed yet.
    sealed_left: u64,
    /// The plain bytes of the range that have not been returned yet.
    plain_left: u64,
}

impl Opener {
    /// `run_bytes` is the plain length of the whole run, `range` the plain bytes that are wanted.
    pub fn new(key: RunKey, run_bytes: u64, range: Range<u64>) -> Self {
        let span = key.layout().span(run_bytes, range);
        Self {
            index: span.first_chunk,
            chunk: BytesMut::new(),
            sealed_left: span.sealed.end - span.sealed.start,
            plain_left: span.plain_bytes,
            key,
            span,
        }
    }

    /// Returns the range of the run's sealed bytes that must be pushed.
    pub fn sealed_range(&self) -> Range<u64> {
        self.span.sealed.clone()
    }

    /// Takes bytes from the front of `sealed`, and returns plain bytes as soon as a chunk is complete. Must be called
    /// until it returns `None`; all bytes are taken then. Must not be called after an error.
    pub fn push(&mut self, sealed: &mut Bytes) -> Result<Option<Bytes>, OpenError> {
        while !sealed.is_empty() {
            if self.sealed_left == 0 {
                return Err(OpenError::Excess { excess_bytes: sealed.len() });
            }
            let wanted = self.chunk_left();
            if self.chunk.is_empty() {
                self.chunk.reserve(wanted);
            }
            let taken = sealed.split_to(sealed.len().min(wanted));
            self.chunk.extend_from_slice(&taken);
            self.sealed_left -= taken.len() as u64;
            if taken.len() == wanted {
                return self.open().map(Some);
            }
        }
        Ok(None)
    }

    /// Checks that all sealed bytes of the range were pushed.
    pub fn finish(self) -> Result<(), OpenError> {
        match self.sealed_left {
            0 => Ok(()),
            missing_bytes => Err(OpenError::Truncated { missing_bytes }),
        }
    }

    /// Returns the sealed bytes that the current chunk still lacks. The span's last chunk may be shorter than others.
    fn chunk_left(&self) -> usize {
        let whole = self.key.layout().sealed_chunk_bytes() - self.chunk.len();
        usize::try_from(self.sealed_left).map_or(whole, |left| left.min(whole))
    }

    fn open(&mut self) -> Result<Bytes, OpenError> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let (index, is_final) = (self.index, self.index == self.span.final_chunk);
        let plain = self.key.open(index, is_final, &mut chunk).map_err(|_| OpenError::Corrupt { chunk: index })?;
        let plain_bytes = plain.len();
        chunk.truncate(plain_bytes);
        let start = if index == self.span.first_chunk { self.span.skip.min(plain_bytes) } else { 0 };
        let wanted = usize::try_from(self.plain_left).unwrap_or(usize::MAX).min(plain_bytes - start);
        self.index += 1;
        self.plain_left -= wanted as u64;
        Ok(chunk.freeze().slice(start..start + wanted))
    }
}
