//! The arithmetic of plain and sealed offsets. A run of `n` plain bytes is sealed in chunks of `CHUNK_BYTES`, the last
//! of them shorter; each layer of encryption adds a tag to each chunk. No bytes are sealed to no bytes.

use std::ops::Range;

/// Plain bytes of a chunk. A range is read in whole chunks.
pub const CHUNK_BYTES: usize = 64 << 10;
pub const TAG_BYTES: usize = 16;

/// The number of layers of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Encrypted once.
    Single,
    /// Encrypted under one key, and then under another.
    Dual,
}

/// The sealed bytes that a range of plain ones is in, and where in them it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whole chunks; empty where the range is.
    pub sealed: Range<u64>,
    /// The number of the first of these chunks.
    pub first_chunk: u64,
    /// The number of the run's last chunk, in the span or not.
    pub final_chunk: u64,
    /// Plain bytes of the first chunk that come before the range.
    pub skip: usize,
    /// The length of the range.
    pub plain_bytes: u64,
}

impl Layout {
    pub const fn layers(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Dual => 2,
        }
    }

    /// Returns the number of bytes by which a chunk grows.
    pub const fn overhead_bytes(self) -> usize {
        self.layers() * TAG_BYTES
    }

    pub const fn sealed_chunk_bytes(self) -> usize {
        CHUNK_BYTES + self.overhead_bytes()
    }

    /// The length of so many plain bytes once they are sealed.
    pub const fn sealed_bytes(self, plain_bytes: u64) -> u64 {
        let chunks = plain_bytes.div_ceil(CHUNK_BYTES as u64);
        plain_bytes.saturating_add(chunks * self.overhead_bytes() as u64)
    }

    /// Returns the number of plain bytes; `None` if no run has this sealed length.
    pub const fn plain_bytes(self, sealed_bytes: u64) -> Option<u64> {
        let (chunk, overhead) = (self.sealed_chunk_bytes() as u64, self.overhead_bytes() as u64);
        match sealed_bytes % chunk {
            0 => Some(sealed_bytes / chunk * CHUNK_BYTES as u64),
            rest if rest <= overhead => None,
            rest => Some(sealed_bytes / chunk * CHUNK_BYTES as u64 + rest - overhead),
        }
    }

    /// Returns the sealed span of a plain range; the part of the range beyond the run's end is left out.
    pub fn span(self, run_bytes: u64, range: Range<u64>) -> Span {
        let chunk_bytes = CHUNK_BYTES as u64;
        let end = range.end.min(run_bytes);
        let start = range.start.min(end);
        let first_chunk = start / chunk_bytes;
        let final_chunk = run_bytes.div_ceil(chunk_bytes).saturating_sub(1);
        let sealed_start = first_chunk * self.sealed_chunk_bytes() as u64;
        let covered = end.div_ceil(chunk_bytes).saturating_mul(chunk_bytes).min(run_bytes);
        let sealed_end = if start == end { sealed_start } else { self.sealed_bytes(covered) };
        Span {
            sealed: sealed_start..sealed_end,
            first_chunk,
            final_chunk,
            // Less than a chunk.
            skip: (start % chunk_bytes) as usize,
            plain_bytes: end - start,
        }
    }
}
