//! Options for opening a log: its identity, directory, segment size and durability.

use crate::ambient::Ambient;
use crate::limits::{META_SEGMENT_BYTES, SHARD_SEGMENT_BYTES, SPACE_REFUSE_PERCENT};
use crate::storage::buffer::BufferPool;
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
    /// The `log` label of its metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Shards => "shards",
            Self::Meta => "meta",
        }
    }
}

/// The identity of a log: in each segment's header, and folded into each record's checks, so that a file of another
/// drive is never taken for this one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogIdentity {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub kind: LogKind,
}

/// The time at which an append is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledges after the sync that covers the append.
    Strict,
    /// Acknowledges after the write. A power cut loses what was acknowledged in the last `flush_delay_max`, at most.
    Relaxed { flush_delay_max: Duration },
}

/// The treatment of records after a bad spot in a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayRule {
    /// Delivers a gapless prefix and nothing after a bad spot: for a log whose entries mean something in order only.
    Prefix,
    /// As `Prefix`, and the log is cut at its first bad spot for good, whatever it was: the decision of an operator.
    Salvage,
    /// As `Prefix`, and continues after rot: for copies that are merged with others.
    PastRot,
    /// Delivers every valid record: for records that each stand for themselves.
    EveryValid,
}

#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Created on demand.
    pub dir: PathBuf,
    pub identity: LogIdentity,
    /// Size of a segment's file: a multiple of the block size that holds the largest record.
    pub segment_bytes: u32,
    /// True if a new segment's file is filled with zeros: costs its size once, and makes each later sync cheaper, since
    /// no sync need record newly allocated blocks.
    pub zeroed: bool,
    pub durability: Durability,
    pub replay: ReplayRule,
    /// Free space (in percent of the file system) at which new chunks are refused; 0 never refuses. Tombstones, relocations
    /// and Raft records go on until the drive is full.
    pub space_refuse_percent: u64,
    pub ambient: Ambient,
    pub pool: BufferPool,
}

impl LogOptions {
    /// Returns whether the log marks its end: nobody else notices a record that is missing there.
    pub fn marks_its_end(&self) -> bool {
        self.replay != ReplayRule::EveryValid
    }

    /// The log of shard chunks.
    pub fn shards(dir: PathBuf, cluster: ClusterId, node: NodeId, ambient: Ambient, pool: BufferPool) -> Self {
        Self {
            dir,
            identity: LogIdentity { cluster, node, kind: LogKind::Shards },
            segment_bytes: SHARD_SEGMENT_BYTES,
            zeroed: false,
            durability: Durability::Strict,
            replay: ReplayRule::EveryValid,
            space_refuse_percent: SPACE_REFUSE_PERCENT,
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
