//! The layout of records in one write (a batch). A batch begins on a block. Small records are packed one after the
//! other. A large body gets blocks of its own, and is written directly from the caller's buffer if that is aligned.

use super::format::{BLOCK, EntryKind, RECORD_ALIGN, RECORD_HEADER_BYTES, RecordHeader, body_offset};
use super::{Location, NewRecord, RecordKey};
use crate::limits::{
    BLOCK_BYTES, LOG_BATCH_BYTES_MAX, LOG_BATCH_DIRECT_BODIES_MAX, RECORD_BODY_BYTES_MAX, RECORD_PACKED_BYTES_MAX,
};
use crate::storage::buffer::{AlignedBuffer, BufferPool, is_block_aligned};
use crate::storage::disk::Caching;
use crate::types::Lsn;
use bytes::Bytes;
use std::io::IoSlice;
use std::ops::Range;

/// A record with the checksum of its body.
#[derive(Clone, Debug)]
pub struct CheckedRecord {
    record: NewRecord,
    body_crc: u32,
}

impl CheckedRecord {
    pub fn new(record: NewRecord) -> Self {
        assert!(record.body.len() <= RECORD_BODY_BYTES_MAX, "a record's body is at most {RECORD_BODY_BYTES_MAX} bytes");
        let body_crc = crc32c::crc32c(&record.body);
        Self { record, body_crc }
    }

    pub fn record(&self) -> &NewRecord {
        &self.record
    }
}

/// A record that the log writes for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Recovery cut the log at `cut`, and the log continues at this record.
    Resume { cut: Lsn },
    /// The last record of a segment. `cut` is set if recovery cut the log and no `Resume` was written since.
    Seal { cut: Option<Lsn> },
    /// Everything before this record is synced. While nothing follows, it proves where the log ends.
    Synced,
}

/// A batch under construction.
#[derive(Debug)]
pub struct BatchPlan {
    start: Lsn,
    /// The offset at which the batch must end at the latest.
    limit: u32,
    caching: Caching,
    end: u32,
    direct_bodies: usize,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    kind: EntryKind,
    key: RecordKey,
    lsn: Lsn,
    origin: Lsn,
    body: Bytes,
    body_crc: u32,
    /// The number of bytes of the body that are written directly from its own buffer; the rest is copied.
    direct_bytes: u32,
}

impl BatchPlan {
    /// Begins a batch at `start`, which must be the beginning of a block, with room up to the offset `limit` of the
    /// segment.
    pub fn new(start: Lsn, limit: u32, caching: Caching) -> Self {
        assert!(start.offset().is_multiple_of(BLOCK), "a batch begins on a block");
        Self { start, limit, caching, end: start.offset(), direct_bodies: 0, entries: Vec::new() }
    }

    /// Adds a record and returns its location; `None` if the batch or the segment has no room for it.
    pub fn push(&mut self, checked: &CheckedRecord) -> Option<Location> {
        let record = &checked.record;
        let body_bytes = record.body.len() as u32;
        let lsn = self.place(body_bytes)?;
        let direct = record.body.len() >= RECORD_PACKED_BYTES_MAX
            && (self.caching == Caching::Cached || is_block_aligned(&record.body));
        let direct_bytes = if direct { body_bytes - body_bytes % BLOCK } else { 0 };
        self.direct_bodies += usize::from(direct);
        self.entries.push(Entry {
            kind: EntryKind::User(record.kind),
            key: record.key,
            lsn,
            origin: record.origin.unwrap_or(lsn),
            body: record.body.clone(),
            body_crc: checked.body_crc,
            direct_bytes,
        });
        Some(Location { lsn, body_bytes })
    }

    /// Adds a mark, as `push` does a record.
    pub fn push_mark(&mut self, mark: Mark) -> Option<Location> {
        let lsn = self.place(0)?;
        let (kind, origin) = match mark {
            Mark::Resume { cut } => (EntryKind::Resume, cut),
            Mark::Seal { cut } => (EntryKind::Seal, cut.unwrap_or(lsn)),
            Mark::Synced => (EntryKind::Synced, lsn),
        };
        let key = RecordKey { id: 0, shard: 0, part: 0 };
        self.entries.push(Entry {
            kind,
            key,
            lsn,
            origin,
            body: Bytes::new(),
            body_crc: crc32c::crc32c(&[]),
            direct_bytes: 0,
        });
        Some(Location { lsn, body_bytes: 0 })
    }

    fn place(&mut self, body_bytes: u32) -> Option<Lsn> {
        let header = self.end.next_multiple_of(RECORD_ALIGN);
        let end = body_offset(header, body_bytes).checked_add(body_bytes)?;
        let padded = end.checked_next_multiple_of(BLOCK)?;
        let too_many = self.direct_bodies >= LOG_BATCH_DIRECT_BODIES_MAX;
        let too_long = (padded - self.start.offset()) as usize > LOG_BATCH_BYTES_MAX;
        if padded > self.limit || (!self.entries.is_empty() && (too_many || too_long)) {
            return None;
        }
        self.end = end;
        Some(Lsn::new(self.start.segment(), header))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn records(&self) -> usize {
        self.entries.len()
    }

    /// Encodes the batch. `durable_through` is the position through which the log is known to be synced; each record
    /// contains it.
    pub fn encode(self, tag: u64, durable_through: Lsn, pool: &BufferPool) -> Batch {
        let base = self.start.offset();
        let total = (self.end.next_multiple_of(BLOCK) - base) as usize;
        let direct: usize = self.entries.iter().map(|entry| entry.direct_bytes as usize).sum();
        let mut staging = Staging { buffer: pool.take(total - direct), filled: 0, skipped: 0 };
        let mut pieces = Vec::new();
        let mut piece_start = 0;
        let last = self.entries.len().saturating_sub(1);
        for (index, entry) in self.entries.into_iter().enumerate() {
            let body_bytes = entry.body.len() as u32;
            let header = RecordHeader {
                kind: entry.kind,
                last_in_batch: index == last,
                key: entry.key,
                body_bytes,
                body_crc: entry.body_crc,
                lsn: entry.lsn,
                origin: entry.origin,
                durable_through,
            };
            staging.put((entry.lsn.offset() - base) as usize, &header.encode(tag));
            let (front, rest) = entry.body.split_at(entry.direct_bytes as usize);
            let body_at = (header.body_offset() - base) as usize;
            staging.pad_to(body_at);
            if !front.is_empty() {
                pieces.push(Piece::Staged(piece_start..staging.filled));
                piece_start = staging.filled;
                pieces.push(Piece::Direct(entry.body.slice(..front.len())));
                staging.skipped += front.len();
            }
            staging.put(body_at + front.len(), rest);
        }
        staging.pad_to(total);
        if piece_start < staging.filled {
            pieces.push(Piece::Staged(piece_start..staging.filled));
        }
        Batch {
            start: self.start,
            end: Lsn::new(self.start.segment(), base + total as u32),
            staging: staging.buffer,
            pieces,
        }
    }
}

/// The copied part of a batch: everything except the bodies that are written directly.
struct Staging {
    buffer: AlignedBuffer,
    filled: usize,
    /// The bytes of the batch so far that are written directly, and so are not in the buffer.
    skipped: usize,
}

impl Staging {
    /// Puts bytes at the offset `at` of the batch, and zeros before them. Offsets must ascend.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.pad_to(at);
        self.buffer[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    fn pad_to(&mut self, at: usize) {
        let at = at - self.skipped;
        self.buffer[self.filled..at].fill(0);
        self.filled = at;
    }
}

#[derive(Debug)]
enum Piece {
    Staged(Range<usize>),
    Direct(Bytes),
}

/// An encoded batch: one write of whole blocks of a segment, from `start` to `end`.
#[derive(Debug)]
pub struct Batch {
    start: Lsn,
    end: Lsn,
    staging: AlignedBuffer,
    pieces: Vec<Piece>,
}

impl Batch {
    pub fn start(&self) -> Lsn {
        self.start
    }

    pub fn end(&self) -> Lsn {
        self.end
    }

    /// The length of the write, including headers and padding.
    pub fn bytes(&self) -> u64 {
        u64::from(self.end.offset() - self.start.offset())
    }

    /// The bytes to write, as slices of whole blocks.
    pub fn slices(&self) -> Vec<IoSlice<'_>> {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Staged(range) => IoSlice::new(&self.staging[range.clone()]),
                Piece::Direct(bytes) => IoSlice::new(bytes),
            })
            .collect()
    }
}

const _: () = assert!(RECORD_HEADER_BYTES.is_multiple_of(RECORD_ALIGN as usize));
const _: () = assert!(RECORD_PACKED_BYTES_MAX >= BLOCK_BYTES);
