//! Sealing and opening as bytes come: one chunk is held at a time, each byte is copied once, and a chunk's plain bytes
//! are given out only after all of it was found to be what was sealed.

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
    /// Bytes that are still expected; only for how much memory is taken at once.
    expected_bytes: u64,
}

impl Sealer {
    /// `expected_bytes`: of the whole run, where it is known; nothing depends on it but how much memory is taken at
    /// once.
    pub fn new(key: RunKey, expected_bytes: Option<u64>) -> Self {
        Self { key, index: 0, chunk: BytesMut::new(), expected_bytes: expected_bytes.unwrap_or(u64::MAX) }
    }

    /// Takes bytes off the front, and gives a sealed chunk as soon as it is known not to be the last. To be called
    /// until it gives none; all bytes are taken then.
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

    /// The last chunk; `None` where there were no bytes at all.
    pub fn finish(mut self) -> Option<Bytes> {
        (!self.chunk.is_empty()).then(|| self.seal(true))
    }

    /// Room for the rest of the chunk and its tags, once for each chunk unless more comes than was expected.
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

/// The reason for which sealed bytes do not open. Bytes given out before are authentic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("chunk {chunk} is not what was sealed, or was sealed under another key")]
    Corrupt { chunk: u64 },
    #[error("{missing_bytes} sealed bytes are missing at the end")]
    Truncated { missing_bytes: u64 },
    #[error("{excess_bytes} bytes come after the last that was asked for")]
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
    /// Sealed bytes that are still to come.
    sealed_left: u64,
    /// Plain bytes that are still to be given out.
    plain_left: u64,
}

impl Opener {
    /// `run_bytes`: how many plain bytes the whole run has. `range`: which of them are wanted.
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

    /// Returns the range of the run's sealed bytes that it must be given.
    pub fn sealed_range(&self) -> Range<u64> {
        self.span.sealed.clone()
    }

    /// Takes sealed bytes off the front, and gives plain ones as soon as a chunk is whole. To be called until it gives
    /// none; all bytes are taken then. After an error nothing more can be had.
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

    /// Checks that all bytes came.
    pub fn finish(self) -> Result<(), OpenError> {
        match self.sealed_left {
            0 => Ok(()),
            missing_bytes => Err(OpenError::Truncated { missing_bytes }),
        }
    }

    /// Sealed bytes that the current chunk still lacks: of the span's last one, all that are left.
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
