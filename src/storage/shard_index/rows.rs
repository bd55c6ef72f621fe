//! The rows of the shard index, byte by byte. All integers are big-endian; every value starts with its version, 1.
//!
//! | table | key | value |
//! |---|---|---|
//! | `chunks` | blob 16, shard 1, chunk 4 | version 1, position 8, origin 8, body bytes 4 |
//! | `places` | position 8 | version 1, kind 1 (1 chunk, 2 tombstone), blob 16, shard 1, chunk 4 |
//! | `tombstones` | blob 16, shard 1 | version 1, position 8, origin 8, body bytes 4, covers 8 |
//! | `segments` | segment 4 | version 1, chunks 8, tombstones 8, live bytes 8 |
//! | `state` | `watermark` | version 1, position 8 |
//! | `state` | `scrub` | version 1, began 8, position 8, until 8, corrupt 8, finished 8, due 8 |
//! | `state` | `commits` | the number of the last commit 8, without a version (`storage::kv::reviving`) |
//! | `state` | `rebuilding` | version 1; present while the tables are being emptied |

use super::{IndexError, IndexResult};
use crate::limits::{BLOCK_BYTES, RECORD_PACKED_BYTES_MAX};
use crate::storage::kv::{KvRead, Pair, PairIter, Table};
use crate::storage::wal::{Location, RECORD_HEADER_BYTES};
use crate::types::{BlobId, ChunkIndex, Lsn, SegmentId, ShardId, ShardNumber, UnixMs};
use std::ops::Bound;

pub(super) const CHUNKS: Table = Table("chunks");
pub(super) const PLACES: Table = Table("places");
pub(super) const TOMBSTONES: Table = Table("tombstones");
pub(super) const SEGMENTS: Table = Table("segments");
pub(super) const STATE: Table = Table("state");

pub(super) const WATERMARK: &[u8] = b"watermark";
pub(super) const REBUILDING: &[u8] = b"rebuilding";
pub(super) const SCRUB: &[u8] = b"scrub";
pub(super) const COMMITS: &[u8] = b"commits";

const VERSION: u8 = 1;
const KIND_CHUNK: u8 = 1;
const KIND_TOMBSTONE: u8 = 2;

pub(super) type ShardKey = [u8; 17];
pub(super) type ChunkKey = [u8; 21];

/// The id of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    pub shard: ShardId,
    pub chunk: ChunkIndex,
}

impl ChunkId {
    pub(super) fn key(self) -> ChunkKey {
        let mut key = [0; 21];
        key[..17].copy_from_slice(&shard_key(self.shard));
        key[17..].copy_from_slice(&self.chunk.0.to_be_bytes());
        key
    }
}

/// The location of a chunk (`at`), and the position of its first copy (`origin`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Location,
    pub origin: Lsn,
}

/// The tombstone of a dropped shard: chunks with an origin before the tombstone's are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    pub at: Location,
    pub origin: Lsn,
    /// The last position at which a record killed by this tombstone may lie.
    pub covers: Lsn,
}

impl Tombstone {
    /// Returns whether one of these segments may contain records that the tombstone kills.
    pub fn is_needed_beside(&self, segments: &[SegmentId]) -> bool {
        segments.iter().any(|&id| id <= self.covers.segment())
    }
}

/// The live records and bytes of a segment. The bytes include those of tombstones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentUse {
    pub chunks: u64,
    pub tombstones: u64,
    pub live_bytes: u64,
}

impl SegmentUse {
    pub(super) fn of_chunk(at: Location) -> Self {
        Self { chunks: 1, tombstones: 0, live_bytes: footprint_bytes(at.body_bytes).into() }
    }

    pub(super) fn of_tombstone(at: Location) -> Self {
        Self { chunks: 0, tombstones: 1, live_bytes: footprint_bytes(at.body_bytes).into() }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            chunks: self.chunks.saturating_add(other.chunks),
            tombstones: self.tombstones.saturating_add(other.tombstones),
            live_bytes: self.live_bytes.saturating_add(other.live_bytes),
        }
    }

    /// Subtracts, saturating: the counters come from the drive, and a wrong one must not cause a panic.
    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            chunks: self.chunks.saturating_sub(other.chunks),
            tombstones: self.tombstones.saturating_sub(other.tombstones),
            live_bytes: self.live_bytes.saturating_sub(other.live_bytes),
        }
    }
}

/// Returns the bytes that a record with a body of this length takes in a segment: with its own padding, but without
/// that at the end of a batch.
pub fn footprint_bytes(body_bytes: u32) -> u32 {
    let (packed_max, block) = (RECORD_PACKED_BYTES_MAX as u32, BLOCK_BYTES as u32);
    if body_bytes < packed_max {
        (RECORD_HEADER_BYTES as u32 + body_bytes).next_multiple_of(8)
    } else {
        block.saturating_add(body_bytes.div_ceil(block).saturating_mul(block))
    }
}

/// The state of the scrub, which verifies all chunks of the drive in passes. It is lost with the index; the scrub then
/// begins a new pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubRow {
    /// The time at which the current pass began; 0 between passes.
    pub began: UnixMs,
    /// The position up to which the current pass has verified records.
    pub position: Lsn,
    /// The end of the current pass. Records appended after it are left to the next pass.
    pub until: Lsn,
    /// The number of corrupt chunks found by the current pass; between passes, by the last one.
    pub corrupt: u64,
    /// The time at which the last pass ended; 0 before the first.
    pub finished: UnixMs,
    /// The time at which the next pass is due.
    pub due: UnixMs,
}

/// The item whose live record is at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Chunk(ChunkId),
    Tombstone(ShardId),
}

pub(super) fn shard_key(shard: ShardId) -> ShardKey {
    let mut key = [0; 17];
    key[..16].copy_from_slice(&shard.blob.to_be_bytes());
    key[16] = shard.shard.0;
    key
}

/// Returns the least key that is greater than the keys of all chunks of this shard.
pub(super) fn chunk_key_after_shard(shard: ShardId) -> Vec<u8> {
    let mut key = ChunkId { shard, chunk: ChunkIndex(u32::MAX) }.key().to_vec();
    key.push(0);
    key
}

/// Returns all chunk rows of a shard.
pub(super) fn shard_range(kv: &dyn KvRead, shard: ShardId) -> PairIter<'_> {
    let (from, to) = (shard_key(shard), chunk_key_after_shard(shard));
    kv.range(CHUNKS, Bound::Included(&from), Bound::Excluded(&to))
}

/// Returns all place rows of a segment, or those after a position.
pub(super) fn places_range(kv: &dyn KvRead, segment: SegmentId, after: Option<Lsn>) -> PairIter<'_> {
    let start = Lsn::new(segment, 0).0.to_be_bytes();
    let end = Lsn::new(segment, u32::MAX).0.to_be_bytes();
    match after {
        Some(after) => kv.range(PLACES, Bound::Excluded(&after.0.to_be_bytes()), Bound::Included(&end)),
        None => kv.range(PLACES, Bound::Included(&start), Bound::Included(&end)),
    }
}

pub(super) fn corrupt(table: Table, key: &[u8], found: impl Into<String>) -> IndexError {
    IndexError::Corrupt {
        table: table.0,
        key: hex_simd::encode_to_string(key, hex_simd::AsciiCase::Lower),
        found: found.into(),
    }
}

/// A reader of the fields of a row, from its front.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn version(&mut self) -> Option<()> {
        (self.u8()? == VERSION).then_some(())
    }

    fn location(&mut self) -> Option<(Location, Lsn)> {
        let (lsn, origin) = (Lsn(self.u64()?), Lsn(self.u64()?));
        Some((Location { lsn, body_bytes: self.u32()? }, origin))
    }

    fn shard(&mut self) -> Option<ShardId> {
        Some(ShardId { blob: BlobId::from_be_bytes(self.take()?), shard: ShardNumber(self.u8()?) })
    }

    fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// Decodes one row. The error names a corrupt row.
fn decode<T>(table: Table, pair: &Pair, read: impl FnOnce(Fields<'_>, Fields<'_>) -> Option<T>) -> IndexResult<T> {
    let (key, value) = pair;
    read(Fields { rest: key }, Fields { rest: value })
        .ok_or_else(|| corrupt(table, key, format!("a row of {} bytes that cannot be read", value.len())))
}

fn encode_location(value: &mut Vec<u8>, at: Location, origin: Lsn) {
    value.extend_from_slice(&at.lsn.0.to_be_bytes());
    value.extend_from_slice(&origin.0.to_be_bytes());
    value.extend_from_slice(&at.body_bytes.to_be_bytes());
}

pub(super) fn encode_chunk(entry: Entry) -> Vec<u8> {
    let mut value = vec![VERSION];
    encode_location(&mut value, entry.at, entry.origin);
    value
}

pub(super) fn decode_chunk(pair: &Pair) -> IndexResult<(ChunkId, Entry)> {
    decode(CHUNKS, pair, |mut key, mut value| {
        let id = ChunkId { shard: key.shard()?, chunk: ChunkIndex(key.u32()?) };
        value.version()?;
        let (at, origin) = value.location()?;
        key.end().and(value.end())?;
        Some((id, Entry { at, origin }))
    })
}

pub(super) fn get_chunk(kv: &dyn KvRead, id: ChunkId) -> IndexResult<Option<Entry>> {
    let key = id.key();
    let Some(value) = kv.get(CHUNKS, &key)? else { return Ok(None) };
    decode_chunk(&(bytes::Bytes::copy_from_slice(&key), value)).map(|(_, entry)| Some(entry))
}

pub(super) fn encode_tombstone(tombstone: Tombstone) -> Vec<u8> {
    let mut value = vec![VERSION];
    encode_location(&mut value, tombstone.at, tombstone.origin);
    value.extend_from_slice(&tombstone.covers.0.to_be_bytes());
    value
}

pub(super) fn decode_tombstone(pair: &Pair) -> IndexResult<(ShardId, Tombstone)> {
    decode(TOMBSTONES, pair, |mut key, mut value| {
        let shard = key.shard()?;
        value.version()?;
        let (at, origin) = value.location()?;
        let covers = Lsn(value.u64()?);
        key.end().and(value.end())?;
        Some((shard, Tombstone { at, origin, covers }))
    })
}

pub(super) fn get_tombstone(kv: &dyn KvRead, shard: ShardId) -> IndexResult<Option<Tombstone>> {
    let key = shard_key(shard);
    let Some(value) = kv.get(TOMBSTONES, &key)? else { return Ok(None) };
    decode_tombstone(&(bytes::Bytes::copy_from_slice(&key), value)).map(|(_, tombstone)| Some(tombstone))
}

pub(super) fn encode_place(place: Place) -> Vec<u8> {
    let (kind, shard, chunk) = match place {
        Place::Chunk(id) => (KIND_CHUNK, id.shard, id.chunk.0),
        Place::Tombstone(shard) => (KIND_TOMBSTONE, shard, 0),
    };
    let mut value = vec![VERSION, kind];
    value.extend_from_slice(&shard_key(shard));
    value.extend_from_slice(&chunk.to_be_bytes());
    value
}

pub(super) fn decode_place(pair: &Pair) -> IndexResult<(Lsn, Place)> {
    decode(PLACES, pair, |mut key, mut value| {
        let lsn = Lsn(key.u64()?);
        value.version()?;
        let (kind, shard, chunk) = (value.u8()?, value.shard()?, ChunkIndex(value.u32()?));
        key.end().and(value.end())?;
        match kind {
            KIND_CHUNK => Some((lsn, Place::Chunk(ChunkId { shard, chunk }))),
            KIND_TOMBSTONE => Some((lsn, Place::Tombstone(shard))),
            _ => None,
        }
    })
}

#[cfg(test)]
pub(super) fn get_place(kv: &dyn KvRead, lsn: Lsn) -> IndexResult<Option<Place>> {
    let key = lsn.0.to_be_bytes();
    let Some(value) = kv.get(PLACES, &key)? else { return Ok(None) };
    decode_place(&(bytes::Bytes::copy_from_slice(&key), value)).map(|(_, place)| Some(place))
}

pub(super) fn encode_use(used: SegmentUse) -> Vec<u8> {
    let mut value = vec![VERSION];
    for count in [used.chunks, used.tombstones, used.live_bytes] {
        value.extend_from_slice(&count.to_be_bytes());
    }
    value
}

pub(super) fn decode_use(pair: &Pair) -> IndexResult<(SegmentId, SegmentUse)> {
    decode(SEGMENTS, pair, |mut key, mut value| {
        let segment = SegmentId(key.u32()?);
        value.version()?;
        let used = SegmentUse { chunks: value.u64()?, tombstones: value.u64()?, live_bytes: value.u64()? };
        key.end().and(value.end())?;
        Some((segment, used))
    })
}

pub(super) fn encode_watermark(watermark: Lsn) -> Vec<u8> {
    let mut value = vec![VERSION];
    value.extend_from_slice(&watermark.0.to_be_bytes());
    value
}

pub(super) fn get_watermark(kv: &dyn KvRead) -> IndexResult<Option<Lsn>> {
    let Some(value) = kv.get(STATE, WATERMARK)? else { return Ok(None) };
    decode(STATE, &(bytes::Bytes::from_static(WATERMARK), value), |_, mut value| {
        value.version()?;
        let watermark = Lsn(value.u64()?);
        value.end()?;
        Some(Some(watermark))
    })
}

pub(super) fn encode_scrub(row: ScrubRow) -> Vec<u8> {
    let mut value = vec![VERSION];
    for field in [row.began.0, row.position.0, row.until.0, row.corrupt, row.finished.0, row.due.0] {
        value.extend_from_slice(&field.to_be_bytes());
    }
    value
}

pub(super) fn get_scrub(kv: &dyn KvRead) -> IndexResult<Option<ScrubRow>> {
    let Some(value) = kv.get(STATE, SCRUB)? else { return Ok(None) };
    decode(STATE, &(bytes::Bytes::from_static(SCRUB), value), |_, mut value| {
        value.version()?;
        let row = ScrubRow {
            began: UnixMs(value.u64()?),
            position: Lsn(value.u64()?),
            until: Lsn(value.u64()?),
            corrupt: value.u64()?,
            finished: UnixMs(value.u64()?),
            due: UnixMs(value.u64()?),
        };
        value.end()?;
        Some(Some(row))
    })
}
