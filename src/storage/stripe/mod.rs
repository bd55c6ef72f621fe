//! The layout arithmetic of a blob: how its bytes are cut into stripes and chunks, and which chunks hold a byte range.
//!
//! A full stripe holds `k * chunk_size` bytes. The last stripe holds the rest, in chunks as short as possible:
//! `ceil(rest / k)` bytes, rounded up for alignment and padded with zeros. The data of a stripe is contiguous, so a
//! byte has the same offset in the stripe as in its buffer `[k+m][chunk_bytes]`.

use crate::limits::{BLOCK_BYTES, OBJECT_BYTES_MAX, RECORD_BODY_BYTES_MAX, RECORD_PACKED_BYTES_MAX, SHARDS_MAX};
use crate::types::{ChunkIndex, Geometry, ShardNumber};
use std::ops::Range;

#[cfg(test)]
mod tests;

/// The length of a short chunk is a multiple of this, for the vector instructions of the erasure code.
const CHUNK_ALIGN_BYTES: usize = 64;

/// The layout of a blob of one size: its stripes and chunks. Stripe `s` is chunk `s` of every shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobLayout {
    geometry: Geometry,
    size_bytes: u64,
}

/// A run of bytes in one chunk of a data shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkSpan {
    pub shard: ShardNumber,
    /// The range within the chunk.
    pub bytes: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("geometry {0} with chunks of {1} bytes is not a layout")]
    BadGeometry(Geometry, u32),
    #[error("a blob of {0} bytes has more stripes than can be counted")]
    TooLarge(u64),
}

impl BlobLayout {
    /// Fails on a geometry or size that no writer can have recorded.
    pub fn new(geometry: Geometry, size_bytes: u64) -> Result<Self, LayoutError> {
        let chunk = geometry.chunk_size_bytes;
        if geometry.data == 0
            || geometry.shards() > SHARDS_MAX
            || !(1..=RECORD_BODY_BYTES_MAX).contains(&(chunk as usize))
        {
            return Err(LayoutError::BadGeometry(geometry, chunk));
        }
        let layout = Self { geometry, size_bytes };
        if size_bytes > OBJECT_BYTES_MAX || size_bytes.div_ceil(layout.stripe_data_bytes()) > u64::from(u32::MAX) {
            return Err(LayoutError::TooLarge(size_bytes));
        }
        Ok(layout)
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Data bytes of a full stripe.
    pub fn stripe_data_bytes(&self) -> u64 {
        stripe_data_bytes(self.geometry) as u64
    }

    /// Returns the number of stripes, which is the number of chunks of each shard.
    pub fn stripes(&self) -> u32 {
        self.size_bytes.div_ceil(self.stripe_data_bytes()) as u32
    }

    /// Returns the offset of a stripe's first byte in the blob.
    pub fn stripe_start(&self, stripe: ChunkIndex) -> u64 {
        u64::from(stripe.0) * self.stripe_data_bytes()
    }

    /// Data bytes of one stripe, without padding; 0 past the end of the blob.
    pub fn stripe_bytes(&self, stripe: ChunkIndex) -> usize {
        let rest = self.size_bytes.saturating_sub(self.stripe_start(stripe));
        rest.min(self.stripe_data_bytes()) as usize
    }

    /// The length of each chunk of a stripe.
    pub fn chunk_bytes(&self, stripe: ChunkIndex) -> usize {
        chunk_bytes(self.geometry, self.stripe_bytes(stripe))
    }

    /// Returns the data shards whose chunk of this stripe contains only padding, which is zeros.
    pub fn padding_shards(&self, stripe: ChunkIndex) -> Range<usize> {
        let chunk = self.chunk_bytes(stripe).max(1);
        self.stripe_bytes(stripe).div_ceil(chunk)..usize::from(self.geometry.data)
    }

    /// The size of each shard: the length of all its chunks.
    pub fn shard_bytes(&self) -> u64 {
        match self.stripes() {
            0 => 0,
            stripes => {
                let full = u64::from(stripes - 1) * u64::from(self.geometry.chunk_size_bytes);
                full + self.chunk_bytes(ChunkIndex(stripes - 1)) as u64
            }
        }
    }

    /// Returns the stripes that hold a range of the blob. A range that extends past the blob's end is cut there.
    pub fn stripes_of(&self, bytes: Range<u64>) -> Range<u32> {
        let end = bytes.end.min(self.size_bytes);
        if bytes.start >= end {
            return 0..0;
        }
        let stripe = self.stripe_data_bytes();
        (bytes.start / stripe) as u32..end.div_ceil(stripe) as u32
    }

    /// Returns the parts of a byte range of the blob that lie in one stripe, a span for each chunk, in order.
    pub fn spans(&self, stripe: ChunkIndex, bytes: Range<u64>) -> Vec<ChunkSpan> {
        let start = self.stripe_start(stripe);
        let held = self.stripe_bytes(stripe);
        let within = |at: u64| at.saturating_sub(start).min(held as u64) as usize;
        let (from, to) = (within(bytes.start), within(bytes.end));
        if from >= to {
            return Vec::new();
        }
        let chunk = self.chunk_bytes(stripe);
        let span = |shard: usize| ChunkSpan {
            shard: ShardNumber(shard as u8),
            bytes: from.saturating_sub(shard * chunk)..(to - shard * chunk).min(chunk),
        };
        (from / chunk..to.div_ceil(chunk)).map(span).collect()
    }
}

/// Data bytes of a full stripe.
pub fn stripe_data_bytes(geometry: Geometry) -> usize {
    usize::from(geometry.data) * geometry.chunk_size_bytes as usize
}

/// The length of the chunks of a stripe that holds `held` data bytes.
pub fn chunk_bytes(geometry: Geometry, held: usize) -> usize {
    let least = held.div_ceil(usize::from(geometry.data));
    let align = if least >= RECORD_PACKED_BYTES_MAX { BLOCK_BYTES } else { CHUNK_ALIGN_BYTES };
    least.next_multiple_of(align).min(geometry.chunk_size_bytes as usize)
}
