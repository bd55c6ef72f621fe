//! The log of a drive: fixed-size segment files of checksummed records, and their recovery. The bytes are described in
//! `FORMAT.md` beside this file. Everything here is synchronous and has no threads of its own; the actors that run a
//! log are in `actors::log::{wal_writer, syncer, segment_allocator}`.

mod batch;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod lookahead;
mod open;
mod options;
pub mod progress;
mod read;
mod recovery;
mod segment;
mod segment_reader;
mod survey;

pub use batch::{Batch, BatchPlan, CheckedRecord, Mark};
pub use format::{RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, WAL_FORMAT_VERSION};
pub use open::{CorruptSpot, LostRecord, OpenedLog, Resumption, open_log};
pub use options::{Durability, LogIdentity, LogKind, LogOptions, ReplayRule};
pub use read::{SegmentCheck, SegmentScan, check_segment, read_many, read_record, scan_segment};
pub use segment::{Segment, SegmentTable, prepare_segment, retire_segment};
pub use survey::{BadSpots, survey_log};

use crate::limits::RECORD_BODY_BYTES_MAX;
use crate::types::{Lsn, SegmentId};
use bytes::Bytes;

/// The kind of a record; the number is stored on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// A chunk of a shard. Key: blob id, shard, chunk.
    Chunk = 1,
    /// A shard was dropped. Key: blob id, shard, 0.
    Tombstone = 2,
    /// Raft log records; their key is the log index.
    RaftEntry = 3,
    /// Vote, committed position, truncation, purge position: replayed in order.
    RaftState = 4,
}

/// The subject of a record; repeated in the record and compared on each read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    pub id: u128,
    pub shard: u8,
    pub part: u32,
}

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    pub kind: RecordKind,
    pub key: RecordKey,
    /// The position of the first copy of this record, if this is a relocation.
    pub origin: Option<Lsn>,
    pub body: Bytes,
}

/// The location of a record: the position of its header, and its body's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub lsn: Lsn,
    pub body_bytes: u32,
}

/// A record met by recovery or a scan, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedRecord {
    pub kind: RecordKind,
    pub key: RecordKey,
    pub origin: Lsn,
    pub at: Location,
    /// Bytes that the record occupies, padding included.
    pub footprint_bytes: u32,
    /// The position through which the log was known to be synced when the record was written.
    pub durable_through: Lsn,
    pub body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// Refusal: the drive is below its free-space watermark. Try another drive.
    #[error("drive is out of space")]
    OutOfSpace,
    /// Refusal: too much is waiting to be written. Try later or another drive; nothing was appended.
    #[error("log has too much waiting to be written")]
    Busy,
    /// Refusal: no record can have such a body; nothing was appended.
    #[error("a record's body of {bytes} bytes is larger than the {RECORD_BODY_BYTES_MAX} that are allowed")]
    TooLarge { bytes: usize },
    /// The append was not answered in time. Whether the records are in the log is not known.
    #[error("log did not answer in time")]
    TimedOut,
    /// Refusal: the log is closed or its drive was taken out of service after a failure.
    #[error("log is out of service: {why}")]
    OutOfService { why: String },
    /// Refusal: the log has no such segment (any more): a location from before a relocation. Look it up again.
    #[error("no segment holds position {at}")]
    NotFound { at: Lsn },
    /// Refusal: the open segment is not released; rotate first.
    #[error("segment {} is open for appends", .segment.0)]
    SegmentOpen { segment: SegmentId },
    #[error("corrupt record in {file} at {offset}: expected {expected}, found {found}")]
    Corrupt { file: String, offset: u64, expected: String, found: String },
    #[error("{operation} {path}: {cause}")]
    Io { operation: &'static str, path: String, cause: String },
}

impl WalError {
    pub(crate) fn io(operation: &'static str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        if matches!(cause.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            return Self::OutOfSpace;
        }
        Self::Io { operation, path: path.display().to_string(), cause: cause.to_string() }
    }
}

#[cfg(test)]
mod tests;
