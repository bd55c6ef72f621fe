//! Tests of the Raft log's records, of recovery, of merging, of the choice among copies, and of acknowledgements.

mod choice;
mod memory;
mod merge;
mod progress;
mod records;
mod recovery;

use super::{LogEntry, LogRecord, Payload, Position};
use crate::storage::wal::{Location, ScannedRecord};
use crate::types::{Lsn, SegmentId};
use bytes::Bytes;

const ENTRIES_PER_SEGMENT: u64 = 4;

fn at(term: u64, index: u64) -> Position {
    Position { term, node: 7, index }
}

fn commands(term: u64, index: u64) -> LogEntry {
    LogEntry { at: at(term, index), payload: Payload::Commands(Bytes::from(format!("{term}/{index}"))) }
}

fn location(number: u64) -> Location {
    let segment = SegmentId(u32::try_from(number / ENTRIES_PER_SEGMENT).unwrap_or(u32::MAX) + 1);
    Location { lsn: Lsn::new(segment, 4096 * u32::try_from(number % ENTRIES_PER_SEGMENT).unwrap_or(0)), body_bytes: 64 }
}

/// Returns the records as a scan of a copy finds them, one after the other.
fn scanned(records: &[LogRecord]) -> Vec<ScannedRecord> {
    let scan = |(number, record): (usize, &LogRecord)| {
        let wal = record.to_wal();
        let at = location(number as u64);
        ScannedRecord {
            kind: wal.kind,
            key: wal.key,
            origin: at.lsn,
            at,
            footprint_bytes: 128,
            durable_through: at.lsn,
            body: wal.body,
        }
    };
    records.iter().enumerate().map(scan).collect()
}
