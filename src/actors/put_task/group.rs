//! `Group`: the stripes that are appended together. It is filled from the body, hashed and encoded in place, and then
//! cut into chunks for the nodes.
//!
//! The body's bytes are copied once, into the buffer of a stripe; chunks are slices of that buffer. Each buffer holds
//! the request's permit, so that the permit is released only when the last slice is dropped.

use crate::actors::frontend::Permit;
use crate::actors::request::{Md5Update, Work};
use crate::limits::{APPEND_STRIPES, INLINE_BYTES_MAX, PUT_APPENDS_IN_FLIGHT};
use crate::storage::buffer::{AlignedBuffer, BufferPool};
use crate::storage::checksum::BodyHasher;
use crate::storage::erasure::{Codec, ErasureError};
use crate::storage::stripe::{chunk_bytes, stripe_data_bytes};
use crate::types::{ChunkIndex, Geometry};
use bytes::Bytes;
use std::sync::Arc;

/// One group is filled while the others are encoded or appended.
const GROUPS_HELD_MAX: usize = PUT_APPENDS_IN_FLIGHT + 1;

/// Returns the bytes that a PUT of an object holds at most at any moment. A declared length can only lower the result,
/// and is enforced: a longer body is refused before it needs another buffer.
pub fn object_held_bytes_max(geometry: Geometry, declared: Option<u64>) -> u64 {
    match declared {
        Some(declared) if declared <= INLINE_BYTES_MAX as u64 => 2 * INLINE_BYTES_MAX as u64,
        _ => part_held_bytes_max(geometry, declared),
    }
}

/// Like `object_held_bytes_max`, for a part. A part is stored in stripes even if it is small.
pub fn part_held_bytes_max(geometry: Geometry, declared: Option<u64>) -> u64 {
    let most = (GROUPS_HELD_MAX * APPEND_STRIPES) as u64;
    let held = |geometry: Geometry| {
        let stripes = declared.map_or(most, |declared| declared.div_ceil(stripe_data_bytes(geometry) as u64).min(most));
        stripes * stripe_bytes(geometry) as u64
    };
    // With one parity shard the blob may be placed on fewer nodes, as k'+1, which takes more bytes for the same data.
    let narrowest = if geometry.parity == 1 { 1 } else { geometry.data };
    (narrowest..=geometry.data).map(|data| held(Geometry { data, ..geometry })).max().unwrap_or(0)
}

/// Returns the size of a full stripe's buffer, parity included.
fn stripe_bytes(geometry: Geometry) -> usize {
    geometry.shards() * geometry.chunk_size_bytes as usize
}

/// A stripe that is being filled: its buffer `[k+m][chunk_size]`, of which the first `filled` bytes are data.
struct Filling {
    buffer: AlignedBuffer,
    filled: usize,
}

/// Stripes that are filled one after another and appended together.
pub(super) struct Group {
    first: ChunkIndex,
    geometry: Geometry,
    stripes: Vec<Filling>,
}

/// A group with its parity, ready for the nodes.
pub(super) struct EncodedGroup {
    pub(super) first: ChunkIndex,
    stripes: Vec<EncodedStripe>,
}

struct EncodedStripe {
    /// Data and parity, `[k+m][chunk_bytes]`.
    bytes: Bytes,
    chunk_bytes: usize,
}

/// A filled buffer, with the permit that covers it.
struct Held {
    buffer: AlignedBuffer,
    _permit: Arc<Permit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Group {
    pub(super) fn new(first: ChunkIndex, geometry: Geometry) -> Self {
        Self { first, geometry, stripes: Vec::with_capacity(APPEND_STRIPES) }
    }

    /// Returns the index of the first stripe of the next group.
    pub(super) fn next_first(&self) -> ChunkIndex {
        ChunkIndex(self.first.0 + APPEND_STRIPES as u32)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stripes.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.stripes.len() == APPEND_STRIPES && self.last_room() == 0
    }

    fn last_room(&self) -> usize {
        self.stripes.last().map_or(0, |stripe| stripe_data_bytes(self.geometry) - stripe.filled)
    }

    /// Copies bytes into the stripes until the group is full; the rest stays in `bytes`.
    pub(super) fn fill(&mut self, bytes: &mut Bytes, pool: &BufferPool) {
        while !bytes.is_empty() && !self.is_full() {
            if self.last_room() == 0 {
                let buffer = pool.take(stripe_bytes(self.geometry));
                self.stripes.push(Filling { buffer, filled: 0 });
            }
            let room = self.last_room();
            if let Some(stripe) = self.stripes.last_mut() {
                let piece = bytes.split_to(room.min(bytes.len()));
                stripe.buffer[stripe.filled..stripe.filled + piece.len()].copy_from_slice(&piece);
                stripe.filled += piece.len();
            }
        }
    }

    /// Returns the data of all stripes, in order.
    fn data(&self) -> Vec<&[u8]> {
        self.stripes.iter().map(|stripe| &stripe.buffer[..stripe.filled]).collect()
    }

    /// Computes the parity and, with a hasher, updates the body's checksums.
    fn encode(
        self,
        codec: &Codec,
        mut hasher: Option<&mut BodyHasher>,
        permit: &Arc<Permit>,
    ) -> Result<EncodedGroup, ErasureError> {
        let data_shards = usize::from(self.geometry.data);
        let mut stripes = Vec::with_capacity(self.stripes.len());
        for Filling { mut buffer, filled } in self.stripes {
            if let Some(hasher) = &mut hasher {
                hasher.update_checksums(&buffer[..filled]);
            }
            let chunk_bytes = chunk_bytes(self.geometry, filled);
            let whole = self.geometry.shards() * chunk_bytes;
            buffer[filled..data_shards * chunk_bytes].fill(0);
            codec.encode(&mut buffer[..whole], chunk_bytes)?;
            let held = Held { buffer, _permit: Arc::clone(permit) };
            stripes.push(EncodedStripe { bytes: Bytes::from_owner(held).slice(..whole), chunk_bytes });
        }
        Ok(EncodedGroup { first: self.first, stripes })
    }
}

/// The work of hashing and encoding a group on a compute thread.
pub(super) struct Encoding {
    pub(super) group: Group,
    pub(super) codec: Arc<Codec>,
    /// `None` for a sealed body, which was hashed before.
    pub(super) hasher: Option<BodyHasher>,
    pub(super) permit: Arc<Permit>,
}

impl Work for Encoding {
    type Output = Result<(Option<BodyHasher>, EncodedGroup), ErasureError>;

    fn md5_update(&mut self) -> Option<Md5Update<'_>> {
        Some((self.hasher.as_mut()?.md5(), self.group.data()))
    }

    fn finish(mut self) -> Self::Output {
        let encoded = self.group.encode(&self.codec, self.hasher.as_mut(), &self.permit)?;
        Ok((self.hasher, encoded))
    }
}

impl EncodedGroup {
    /// Returns the chunks of one shard, as slices of the stripes' buffers.
    pub(super) fn chunks(&self, shard: usize) -> Vec<Bytes> {
        let chunk =
            |stripe: &EncodedStripe| stripe.bytes.slice(shard * stripe.chunk_bytes..(shard + 1) * stripe.chunk_bytes);
        self.stripes.iter().map(chunk).collect()
    }
}
