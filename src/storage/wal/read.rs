//! Reading records by their location, and scanning whole segments. Every byte that is returned was verified in the same
//! read.

use super::format::{BLOCK, EntryKind, Fault, RecordHeader, SEGMENT_HEADER_BYTES, body_offset, log_tag};
use super::recovery::scanned;
use super::segment::{Segment, SegmentTable};
use super::segment_reader::{Found, SegmentReader};
use super::{Location, LogOptions, RecordKey, ScannedRecord, WalError};
use crate::limits::{LOG_READ_BYTES_MAX, LOG_READ_GAP_BYTES_MAX};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The result of scanning one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentScan {
    pub records: u64,
    /// Positions at which a record was expected and none was valid. At the end of an unsealed segment, one bad spot is
    /// counted although no record is missing.
    pub bad_spots: u64,
}

/// The result of verifying a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentCheck {
    /// The offset at which to continue; `None` at the end.
    pub next: Option<u32>,
    pub bytes: u64,
    /// Bad spots, as in `SegmentScan`.
    pub bad_spots: u64,
}

/// Reads the body of one record. Blocks on the disk.
pub fn read_record(segment: &Segment, options: &LogOptions, key: RecordKey, at: Location) -> Result<Bytes, WalError> {
    if segment.id() != at.lsn.segment() {
        return Err(WalError::NotFound { at: at.lsn });
    }
    let range = covering(at);
    let bytes = read_range(segment, options, range.clone())?;
    pick(segment, options, key, at, &bytes, range.start)
}

/// Reads the bodies of many records; result `i` is for request `i`. Records that lie close together are read in one
/// call. Blocks on the disk.
pub fn read_many(
    table: &SegmentTable,
    options: &LogOptions,
    wanted: &[(RecordKey, Location)],
) -> Vec<Result<Bytes, WalError>> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|&index| wanted[index].1.lsn);
    let mut results: Vec<Result<Bytes, WalError>> =
        wanted.iter().map(|(_, at)| Err(WalError::NotFound { at: at.lsn })).collect();
    let mut left = order.as_slice();
    while let Some(&first) = left.first() {
        let (run, range) = adjacent_run(left, wanted);
        left = &left[run.len()..];
        let Some(segment) = table.get(wanted[first].1.lsn.segment()) else {
            continue;
        };
        match read_range(&segment, options, range.clone()) {
            Ok(bytes) => {
                for &index in run {
                    let (key, at) = wanted[index];
                    results[index] = pick(&segment, options, key, at, &bytes, range.start);
                }
            }
            // The records are read one by one, so that an unreadable block fails only its own record.
            Err(_) if run.len() > 1 => {
                for &index in run {
                    let (key, at) = wanted[index];
                    results[index] = read_record(&segment, options, key, at);
                }
            }
            Err(error) => results[first] = Err(error),
        }
    }
    results
}

/// Returns the first requests of `order` that can be read in one call, and the blocks that cover them.
fn adjacent_run<'a>(order: &'a [usize], wanted: &[(RecordKey, Location)]) -> (&'a [usize], Range<u32>) {
    let mut blocks = 0..0;
    let mut count = 0;
    for &index in order {
        let at = wanted[index].1;
        let next = covering(at);
        if count == 0 {
            blocks = next;
        } else {
            let end = blocks.end.max(next.end);
            let near = next.start <= blocks.end.saturating_add(LOG_READ_GAP_BYTES_MAX);
            let small = (end - blocks.start) as usize <= LOG_READ_BYTES_MAX;
            if at.lsn.segment() != wanted[order[0]].1.lsn.segment() || !near || !small {
                break;
            }
            blocks.end = end;
        }
        count += 1;
    }
    (&order[..count], blocks)
}

/// Returns the blocks that contain a record, with header and body.
fn covering(at: Location) -> Range<u32> {
    let start = at.lsn.offset() - at.lsn.offset() % BLOCK;
    let end = body_offset(at.lsn.offset(), at.body_bytes).saturating_add(at.body_bytes);
    start..end.checked_next_multiple_of(BLOCK).unwrap_or(u32::MAX)
}

fn read_range(segment: &Segment, options: &LogOptions, range: Range<u32>) -> Result<Bytes, WalError> {
    if range.end > segment.file_bytes() {
        let fault =
            Fault::new(format!("a record up to {}", range.end), format!("a segment of {} bytes", segment.file_bytes()));
        return Err(corrupt(segment, range.start, fault));
    }
    let mut buffer = options.pool.take((range.end - range.start) as usize);
    let file = segment.readable()?;
    file.read_exact_at(&mut buffer, u64::from(range.start))
        .map_err(|cause| WalError::io("read", segment.path(), &cause))?;
    Ok(buffer.freeze())
}

/// Verifies one record in `bytes`, which were read from the offset `start` on, and returns its body.
fn pick(
    segment: &Segment,
    options: &LogOptions,
    key: RecordKey,
    at: Location,
    bytes: &Bytes,
    start: u32,
) -> Result<Bytes, WalError> {
    let offset = at.lsn.offset();
    let wrong = |fault| corrupt(segment, offset, fault);
    let head = bytes.get((offset - start) as usize..).unwrap_or_default();
    let header = RecordHeader::decode(head, log_tag(&options.identity), at.lsn).map_err(wrong)?;
    if header.key != key || header.body_bytes != at.body_bytes || !matches!(header.kind, EntryKind::User(_)) {
        let fault = Fault::new(
            format!("{key:?} of {} bytes", at.body_bytes),
            format!("{:?} of {} bytes", header.key, header.body_bytes),
        );
        return Err(wrong(fault));
    }
    let from = (header.body_offset() - start) as usize;
    let range = from..from + header.body_bytes as usize;
    let whole =
        bytes.get(range.clone()).ok_or_else(|| wrong(Fault::new("a whole body", "the end of what was read")))?;
    header.check_body(whole).map_err(wrong)?;
    Ok(bytes.slice(range))
}

fn corrupt(segment: &Segment, offset: u32, fault: Fault) -> WalError {
    WalError::Corrupt {
        file: segment.path().display().to_string(),
        offset: u64::from(offset),
        expected: fault.expected,
        found: fault.found,
    }
}

/// Visits every valid record of a segment in order, and continues after bad spots. Blocks on the disk.
pub fn scan_segment(
    segment: &Arc<Segment>,
    options: &LogOptions,
    visit: &mut dyn FnMut(ScannedRecord),
) -> Result<SegmentScan, WalError> {
    let mut reader = SegmentReader::new(Arc::clone(segment), log_tag(&options.identity), options);
    let mut scan = SegmentScan::default();
    let mut offset = SEGMENT_HEADER_BYTES as u32;
    while reader.has_room_at(offset) {
        let after = match reader.record_at(offset)? {
            Found::Record(header, body) => {
                offset = header.next_offset();
                match header.kind {
                    EntryKind::User(kind) => {
                        scan.records += 1;
                        visit(scanned(kind, &header, body));
                    }
                    EntryKind::Resume | EntryKind::Synced => {}
                    EntryKind::Seal => break,
                }
                continue;
            }
            Found::BadBody(header, _) => header.next_offset(),
            Found::Nothing(_) => offset + 1,
        };
        scan.bad_spots += 1;
        match reader.next_header(after)? {
            Some(header) => offset = header.lsn.offset(),
            None => break,
        }
    }
    Ok(scan)
}

/// Verifies the records of a segment that begin at the offset `from` or later and before `until`. Stops after about
/// `bytes_max` bytes. Blocks on the disk.
pub fn check_segment(
    segment: &Arc<Segment>,
    options: &LogOptions,
    from: u32,
    until: u32,
    bytes_max: u32,
) -> Result<SegmentCheck, WalError> {
    let mut reader = SegmentReader::new(Arc::clone(segment), log_tag(&options.identity), options);
    let from = from.max(SEGMENT_HEADER_BYTES as u32);
    let mut offset = from;
    let mut bad_spots = 0;
    let next = loop {
        if offset >= until || !reader.has_room_at(offset) {
            break None;
        }
        if offset - from >= bytes_max {
            break Some(offset);
        }
        let after = match reader.record_at(offset)? {
            Found::Record(header, _) if header.kind == EntryKind::Seal => break None,
            Found::Record(header, _) => {
                offset = header.next_offset();
                continue;
            }
            Found::BadBody(header, _) => header.next_offset(),
            Found::Nothing(_) => offset + 1,
        };
        bad_spots += 1;
        match reader.next_header(after)? {
            Some(header) => offset = header.lsn.offset(),
            None => break None,
        }
    };
    Ok(SegmentCheck { next, bytes: u64::from(offset.saturating_sub(from)), bad_spots })
}
