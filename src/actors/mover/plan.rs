//! The shards to be moved by a layout: the recorded placement compared with the one that the ring wants. Pure.

use crate::storage::meta::record::BlobRef;
use crate::storage::ring::{Partition, Ring, ShardMove, moves};
use crate::types::{Epoch, Geometry, NodeId, ShardId, ShardIndex};
use std::collections::HashMap;
use std::sync::Arc;

/// Answers of the ring that are remembered; there are as many as partitions for each geometry in use.
const WANTED_MAX: usize = 1 << 16;

/// A shard that is to be moved.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) blob: BlobRef,
    pub(super) shard: ShardIndex,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// The copy on `from` cannot be had any more: the shard is moved without it, to be repaired.
    pub(super) lost: bool,
}

impl Planned {
    pub(super) fn new(blob: &BlobRef, step: ShardMove) -> Self {
        Self { blob: blob.clone(), shard: step.shard, from: step.from, to: step.to, lost: false }
    }

    pub(super) fn id(&self) -> ShardId {
        ShardId { blob: self.blob.id, shard: self.shard }
    }
}

/// Compares by one ring.
#[derive(Debug)]
pub(super) struct Planner {
    ring: Arc<Ring>,
    wanted: HashMap<(Partition, Geometry), Option<Vec<NodeId>>>,
}

impl Planner {
    pub(super) fn new(ring: Arc<Ring>) -> Self {
        Self { ring, wanted: HashMap::new() }
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.ring.epoch()
    }

    pub(super) fn moves_of(&mut self, blob: &BlobRef) -> Vec<ShardMove> {
        if self.wanted.len() >= WANTED_MAX {
            self.wanted.clear();
        }
        let partition = self.ring.partition_of(blob.id);
        let asked = || self.ring.wanted(partition, blob.geometry);
        match self.wanted.entry((partition, blob.geometry)).or_insert_with(asked) {
            Some(wanted) => moves(&blob.placement, wanted),
            None => Vec::new(),
        }
    }

    /// Returns whether this shard is to be moved to this node.
    pub(super) fn wants(&mut self, blob: &BlobRef, shard: ShardIndex, to: NodeId) -> bool {
        self.moves_of(blob).iter().any(|step| step.shard == shard && step.to == to)
    }
}
