//! Sequential reading of a segment's records, by large reads. Blocks that the drive cannot read are remembered: the
//! records around them are still found, and such a block is never taken for one that was not written.

use super::format::{BLOCK, Fault, RECORD_ALIGN, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader};
use super::segment::Segment;
use super::{LogOptions, WalError};
use crate::limits::LOG_SCAN_BYTES;
use crate::storage::buffer::{AlignedBuffer, BufferPool};
use crate::storage::disk::host_lacks_resources;
use crate::types::Lsn;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The number of unreadable blocks of one segment above which reading fails.
const UNREADABLE_BLOCKS_MAX: usize = 64;

/// A block of zeros, for skipping the unwritten space after the end of a log.
const ZERO_BLOCK: &[u8] = &[0; BLOCK as usize];

/// The result of reading a record at an offset.
pub(super) enum Found {
    Record(RecordHeader, Bytes),
    /// The header is valid, but the body is not.
    BadBody(RecordHeader, Fault),
    /// There is no valid header.
    Nothing(Fault),
}

pub(super) struct SegmentReader {
    segment: Arc<Segment>,
    tag: u64,
    pool: BufferPool,
    window: Bytes,
    window_at: u32,
    /// The read errors of blocks, by offset.
    unreadable: BTreeMap<u32, String>,
}

impl SegmentReader {
    pub(super) fn new(segment: Arc<Segment>, tag: u64, options: &LogOptions) -> Self {
        Self {
            segment,
            tag,
            pool: options.pool.clone(),
            window: Bytes::new(),
            window_at: 0,
            unreadable: BTreeMap::new(),
        }
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) fn lsn(&self, offset: u32) -> Lsn {
        Lsn::new(self.segment.id(), offset)
    }

    /// Returns whether a record may begin at `offset`, so that its header fits into the file.
    pub(super) fn has_room_at(&self, offset: u32) -> bool {
        offset as usize + RECORD_HEADER_BYTES <= self.segment.file_bytes() as usize
    }

    pub(super) fn record_at(&mut self, offset: u32) -> Result<Found, WalError> {
        let head = self.bytes(offset, RECORD_HEADER_BYTES as u32)?;
        if let Some(fault) = self.unreadable_in(offset, RECORD_HEADER_BYTES as u32) {
            return Ok(Found::Nothing(fault));
        }
        let header = match RecordHeader::decode(&head, self.tag, self.lsn(offset)) {
            Ok(header) => header,
            Err(fault) => return Ok(Found::Nothing(fault)),
        };
        let body = self.bytes(header.body_offset(), header.body_bytes)?;
        if let Some(fault) = self.unreadable_in(header.body_offset(), header.body_bytes) {
            return Ok(Found::BadBody(header, fault));
        }
        if body.len() < header.body_bytes as usize {
            return Ok(Found::BadBody(header, Fault::new("a whole body", "the end of the file")));
        }
        Ok(match header.check_body(&body) {
            Ok(()) => Found::Record(header, body),
            Err(fault) => Found::BadBody(header, fault),
        })
    }

    /// Returns the fault of the first unreadable block in a range, if there is one.
    fn unreadable_in(&self, offset: u32, len: u32) -> Option<Fault> {
        let end = offset.saturating_add(len);
        let first = self.unreadable.range(offset - offset % BLOCK..end.max(offset)).next();
        first.map(|(_, cause)| Fault::unreadable(cause))
    }

    /// Returns whether any block read so far is unreadable.
    pub(super) fn has_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Returns whether the bytes from `offset` to the end of its block are readable and zero.
    pub(super) fn is_blank(&mut self, offset: u32) -> Result<bool, WalError> {
        let len = BLOCK - offset % BLOCK;
        let rest = self.bytes(offset, len)?;
        Ok(rest.iter().all(|byte| *byte == 0) && self.unreadable_in(offset, len).is_none())
    }

    /// Returns the first valid record header at `offset` or after it. The record's body may be invalid.
    pub(super) fn next_header(&mut self, offset: u32) -> Result<Option<RecordHeader>, WalError> {
        let mut at = offset.next_multiple_of(RECORD_ALIGN);
        while self.has_room_at(at) {
            // The rest of the window; at least a header.
            let held = self.bytes_held(at)?;
            if at.is_multiple_of(BLOCK) && held.starts_with(ZERO_BLOCK) {
                at += BLOCK;
                continue;
            }
            let mut within = 0;
            while within + RECORD_HEADER_BYTES <= held.len() {
                if held[within..within + RECORD_MAGIC.len()] == RECORD_MAGIC {
                    let found = RecordHeader::decode(&held[within..], self.tag, self.lsn(at + within as u32));
                    if let Ok(header) = found {
                        return Ok(Some(header));
                    }
                }
                within += RECORD_ALIGN as usize;
                if (at + within as u32).is_multiple_of(BLOCK) {
                    break;
                }
            }
            if within == 0 {
                break;
            }
            at += within as u32;
        }
        Ok(None)
    }

    /// Returns `len` bytes from `offset` on, or fewer at the end of the file.
    pub(super) fn bytes(&mut self, offset: u32, len: u32) -> Result<Bytes, WalError> {
        let end = offset.saturating_add(len).min(self.segment.file_bytes());
        if offset >= end {
            return Ok(Bytes::new());
        }
        if offset < self.window_at || end > self.window_at + self.window.len() as u32 {
            self.load(offset, end)?;
        }
        let from = (offset - self.window_at) as usize;
        Ok(self.window.slice(from..from + (end - offset) as usize))
    }

    /// Returns the bytes of the window from `offset` on: at least a header, unless the file ends before.
    fn bytes_held(&mut self, offset: u32) -> Result<Bytes, WalError> {
        self.bytes(offset, RECORD_HEADER_BYTES as u32)?;
        let from = offset.checked_sub(self.window_at).map_or(0, |from| from as usize);
        Ok(self.window.slice(from.min(self.window.len())..))
    }

    fn load(&mut self, offset: u32, end: u32) -> Result<(), WalError> {
        let from = offset - offset % BLOCK;
        let wanted = (end - from).next_multiple_of(BLOCK);
        let len = wanted.max(LOG_SCAN_BYTES as u32).min(self.segment.file_bytes() - from);
        // Dropped first, so that the pool can reuse its buffer.
        self.window = Bytes::new();
        let mut buffer = self.pool.take(len as usize);
        let file = self.segment.readable()?;
        if file.read_exact_at(&mut buffer, u64::from(from)).is_err() {
            self.load_by_blocks(&mut buffer, from)?;
        }
        self.window = buffer.freeze();
        self.window_at = from;
        Ok(())
    }

    fn load_by_blocks(&mut self, buffer: &mut AlignedBuffer, from: u32) -> Result<(), WalError> {
        let file = self.segment.readable()?;
        let mut at = from;
        for block in buffer.chunks_mut(BLOCK as usize) {
            if let Err(cause) = file.read_exact_at(block, u64::from(at)) {
                if host_lacks_resources(&cause) {
                    return Err(WalError::io("read", self.segment.path(), &cause));
                }
                self.unreadable.insert(at, cause.to_string());
                if self.unreadable.len() > UNREADABLE_BLOCKS_MAX {
                    return Err(WalError::io("read", self.segment.path(), &cause));
                }
                block.fill(0);
            }
            at += block.len() as u32;
        }
        Ok(())
    }
}
