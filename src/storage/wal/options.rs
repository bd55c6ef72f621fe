//! Options for opening a log: its identity, directory, segment size and durability.

use crate::ambient::Ambient;
use crate::limits::{LOG_OPEN_SEGMENTS, META_SEGMENT_BYTES, SHARD_SEGMENT_BYTES, SPACE_REFUSE_PERCENT};
use crate::storage::buffer::BufferPool;
use crate::storage::disk::OpenFiles;
use crate::types::{ClusterId, NodeId};
use std::path::PathBuf;
use std::time::Duration;

/// The kind of a drive's log; the number is stored on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LogKind {
    Shards = 1,
    Meta = 2,
}

impl LogKind {
    /// The value of the label `log` of the log's metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Shards => "shards",
            Self::Meta => "meta",
        }
    }
}

/// The identity of a log. Each segment header contains it, and each record a hash of it, so that a file of another
/// drive is never accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogIdentity {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub kind: LogKind,
}

/// The moment at which an append is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledges after the sync that covers the append.
    Strict,
    /// Acknowledges after the write. A power cut loses at most the appends acknowledged in the last `flush_delay_max`.
    Relaxed { flush_delay_max: Duration },
}

/// The treatment of records after a bad spot during a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayRule {
    /// Delivers records up to the first rotten or torn spot, and none after it: for a log whose entries are meaningful
    /// only in order.
    Prefix,
    /// Like `Prefix`, but treats rot like a torn write: the log is cut there for good. An operator decides this.
    Salvage,
    /// Like `Prefix`, but continues after rot: for copies that are merged with others.
    PastRot,
    /// Delivers every valid record: for records that are independent of each other.
    EveryValid,
}

#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The directory of the log, created on demand.
    pub dir: PathBuf,
    pub identity: LogIdentity,
    /// The size of a segment file: a multiple of the block size, large enough for the largest record.
    pub segment_bytes: u32,
    /// True if a new segment file is filled with zeros. This costs one write of its size, and makes each later sync
    /// cheaper, as no sync has to record newly allocated blocks.
    pub zeroed: bool,
    pub durability: Durability,
    pub replay: ReplayRule,
    /// The free space, in percent of the file system, below which new chunks are refused; 0 never refuses. Tombstones,
    /// relocations and Raft records are accepted until the drive is full.
    pub space_refuse_percent: u64,
    /// The files of segments that stay open between reads. Those that are appended to stay open besides.
    pub open_files: OpenFiles,
    pub ambient: Ambient,
    pub pool: BufferPool,
}

impl LogOptions {
    /// Returns whether the log marks its end (`Mark::Synced`), as nothing else would reveal that a record is missing
    /// there.
    pub fn marks_its_end(&self) -> bool {
        self.replay != ReplayRule::EveryValid
    }

    /// Returns whether segments are retired oldest first, each only after the one before it: as the log's records are
    /// meaningful only in order, none may be missing between two that a replay finds.
    pub fn retires_in_order(&self) -> bool {
        self.replay != ReplayRule::EveryValid
    }

    /// Returns the options of a log of shards.
    pub fn shards(dir: PathBuf, cluster: ClusterId, node: NodeId, ambient: Ambient, pool: BufferPool) -> Self {
        Self {
            dir,
            identity: LogIdentity { cluster, node, kind: LogKind::Shards },
            segment_bytes: SHARD_SEGMENT_BYTES,
            zeroed: false,
            durability: Durability::Strict,
            replay: ReplayRule::EveryValid,
            space_refuse_percent: SPACE_REFUSE_PERCENT,
            open_files: OpenFiles::new(LOG_OPEN_SEGMENTS),
            ambient,
            pool,
        }
    }

    /// Returns the options of a copy of the Raft log.
    pub fn meta(dir: PathBuf, cluster: ClusterId, node: NodeId, ambient: Ambient, pool: BufferPool) -> Self {
        Self {
            identity: LogIdentity { cluster, node, kind: LogKind::Meta },
            segment_bytes: META_SEGMENT_BYTES,
            zeroed: true,
            replay: ReplayRule::Prefix,
            ..Self::shards(dir, cluster, node, ambient, pool)
        }
    }
}
