//! The write-ahead log of a drive: segment files of fixed size with checksummed records, and their recovery.
//! `FORMAT.md` beside this file describes the bytes. All code here is synchronous and has no threads of its own; the
//! actors that run a log are in `actors::log::{wal_writer, syncer, segment_allocator}`.

mod batch;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
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
pub use format::{RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};
pub use open::{OpenedLog, Resumption, open_log, set_aside_after_damage};
pub use options::{Durability, LogIdentity, LogKind, LogOptions, ReplayRule};
pub use read::{SegmentCheck, SegmentScan, check_segment, read_many, read_record, scan_segment};
pub use recovery::{CorruptSpot, LostRecord};
pub use segment::{Segment, SegmentTable, WritableSegment, prepare_segment, retire_segment, segment_name};
pub use survey::{BadSpots, survey_log};

use crate::limits::RECORD_BODY_BYTES_MAX;
use crate::storage::disk::host_lacks_resources;
use crate::types::{Lsn, SegmentId};
use bytes::Bytes;

/// The kind of a record; the number is stored on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// A chunk of a shard. Key: blob id, shard, chunk.
    Chunk = 1,
    /// The drop of a shard. Key: blob id, shard, 0.
    Tombstone = 2,
    /// An entry of the Raft log. Key: the log index.
    RaftEntry = 3,
    /// A change of the Raft state: vote, committed position, truncation or purge. Replayed in order.
    RaftState = 4,
}

/// The key of a record. It is stored in the record and compared on each read.
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

/// The location of a record: the position of its header, and the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub lsn: Lsn,
    pub body_bytes: u32,
}

/// A record that recovery or a scan has read and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedRecord {
    pub kind: RecordKind,
    pub key: RecordKey,
    pub origin: Lsn,
    pub at: Location,
    /// The bytes that the record occupies, including padding.
    pub footprint_bytes: u32,
    /// The position through which the log was known to be synced when the record was written.
    pub durable_through: Lsn,
    pub body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// Refusal: the free space of the drive is below its watermark, or the drive is full. Try another drive.
    #[error("drive is out of space")]
    OutOfSpace,
    /// Refusal: the process or its host lacks file descriptors or memory, which says nothing of the drive. Nothing was
    /// read or appended; try later, or another drive.
    #[error("the host lacks resources: {operation} {path}: {cause}")]
    NoResources { operation: &'static str, path: String, cause: String },
    /// Refusal: too many bytes wait to be written. Nothing was appended; try later, or another drive.
    #[error("too many bytes wait to be written to the log; try again later")]
    Busy,
    /// Refusal: the body is larger than a record may have. Nothing was appended.
    #[error("a record's body of {bytes} bytes is larger than the {RECORD_BODY_BYTES_MAX} that are allowed")]
    TooLarge { bytes: usize },
    /// The append was not answered in time. It is unknown whether the records are in the log.
    #[error("log did not answer in time")]
    TimedOut,
    /// Refusal: the log is closed, or its drive was taken out of service after a failure.
    #[error("log is out of service: {why}")]
    OutOfService { why: String },
    /// Refusal: the log does not have this segment, or no longer has it after a relocation. Look the location up again.
    #[error("no segment holds position {at}")]
    NotFound { at: Lsn },
    /// Refusal: the open segment cannot be released. Rotate first.
    #[error("segment {} cannot be released: it is open for appends", .segment.0)]
    SegmentOpen { segment: SegmentId },
    #[error("corrupt data in {file} at {offset}: expected {expected}, found {found}")]
    Corrupt { file: String, offset: u64, expected: String, found: String },
    #[error("{operation} {path}: {cause}")]
    Io { operation: &'static str, path: String, cause: String },
}

impl WalError {
    pub(crate) fn io(operation: &'static str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        if matches!(cause.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            return Self::OutOfSpace;
        }
        let (path, lacks, cause) = (path.display().to_string(), host_lacks_resources(cause), cause.to_string());
        if lacks { Self::NoResources { operation, path, cause } } else { Self::Io { operation, path, cause } }
    }

    /// Returns whether an append was refused because no segment could be made for it, for want of space or of the host's
    /// resources. The log goes on as soon as it can make one.
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::OutOfSpace | Self::NoResources { .. })
    }
}

#[cfg(test)]
mod tests;
