//! The arithmetic of plain and sealed (encrypted) offsets. A run of plain bytes is sealed in chunks of `CHUNK_BYTES`,
//! of which the last may be shorter. Each layer of encryption adds a tag to each chunk. An empty run has no sealed
//! bytes.

use std::ops::Range;

/// The plain bytes of a full chunk. A range is read in whole chunks.
pub const CHUNK_BYTES: usize = 64 << 10;
pub const TAG_BYTES: usize = 16;

/// The number of encryption layers of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Encrypted once.
    Single,
    /// Encrypted under one key, and the result under another.
    Dual,
}

/// The sealed bytes that contain a range of plain bytes, and the position of the range in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The sealed bytes: whole chunks; empty if the range is empty.
    pub sealed: Range<u64>,
    /// The number of the first of these chunks.
    pub first_chunk: u64,
    /// The number of the run's last chunk, which may lie after the span.
    pub final_chunk: u64,
    /// The plain bytes of the first chunk before the range.
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

    /// Returns the number of bytes by which sealing lengthens a chunk.
    pub const fn overhead_bytes(self) -> usize {
        self.layers() * TAG_BYTES
    }

    pub const fn sealed_chunk_bytes(self) -> usize {
        CHUNK_BYTES + self.overhead_bytes()
    }

    /// Returns the sealed length of a run of `plain_bytes`.
    pub const fn sealed_bytes(self, plain_bytes: u64) -> u64 {
        let chunks = plain_bytes.div_ceil(CHUNK_BYTES as u64);
        plain_bytes.saturating_add(chunks * self.overhead_bytes() as u64)
    }

    /// Returns the plain length of a run of `sealed_bytes`; `None` if no run has this sealed length.
    pub const fn plain_bytes(self, sealed_bytes: u64) -> Option<u64> {
        let (chunk, overhead) = (self.sealed_chunk_bytes() as u64, self.overhead_bytes() as u64);
        match sealed_bytes % chunk {
            0 => Some(sealed_bytes / chunk * CHUNK_BYTES as u64),
            rest if rest <= overhead => None,
            rest => Some(sealed_bytes / chunk * CHUNK_BYTES as u64 + rest - overhead),
        }
    }

    /// Returns the sealed span of a plain range in a run of `run_bytes` plain bytes. A range that extends past the
    /// run's end is cut there.
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
