//! `Planner`: finds the shards that a layout moves, by comparing a blob's recorded placement with the one that the ring
//! wants. Pure.

use crate::storage::meta::record::BlobRef;
use crate::storage::ring::{Partition, Ring, ShardMove};
use crate::types::{Epoch, Geometry, NodeId, ShardId, ShardNumber};
use std::collections::HashMap;
use std::sync::Arc;

/// The bound on cached placements: one for each partition and geometry in use.
const WANTED_MAX: usize = 1 << 16;

/// A shard that is to be moved.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) blob: BlobRef,
    pub(super) shard: ShardNumber,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// True if the copy on `from` is lost. The shard is then assigned to `to` without a copy, and repaired there from
    /// what `to` may still have of it and from other shards.
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

/// Plans moves by one ring, and caches the placements that the ring wants.
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

    /// Returns the moves that bring the shards of a blob where the ring wants them.
    pub(super) fn moves_of(&mut self, blob: &BlobRef) -> Vec<ShardMove> {
        if self.wanted.len() >= WANTED_MAX {
            self.wanted.clear();
        }
        let partition = self.ring.partition_of(blob.id);
        let compute = || self.ring.wanted(partition, blob.geometry);
        match self.wanted.entry((partition, blob.geometry)).or_insert_with(compute) {
            Some(wanted) => self.ring.moves(&blob.placement, wanted),
            None => Vec::new(),
        }
    }

    /// Returns whether the ring wants this shard moved to this node.
    pub(super) fn wants(&mut self, blob: &BlobRef, shard: ShardNumber, to: NodeId) -> bool {
        self.moves_of(blob).iter().any(|step| step.shard == shard && step.to == to)
    }
}
