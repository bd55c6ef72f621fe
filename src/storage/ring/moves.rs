//! The shards of a blob that must move to match a layout.

use super::Ring;
use crate::types::{NodeId, ShardNumber};

/// The move of one shard from a node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardMove {
    pub shard: ShardNumber,
    pub from: NodeId,
    pub to: NodeId,
}

impl Ring {
    /// Returns the fewest moves after which the shards are on the `wanted` nodes, in any arrangement; a node may be
    /// wanted several times. `recorded[i]` is the current node of shard `i`. Deterministic, and in order of shards.
    ///
    /// A shard stays on its host if that host still wants one, else in its failure domain. Beside moves within it, a
    /// host or domain therefore either loses shards or takes some. So the moves may be made in any order: at no time
    /// does a host or domain have more shards of the blob than both before all moves and after them. A move that was
    /// made changes no other pair, so that hosts which plan at different moments plan the same moves.
    pub fn moves(&self, recorded: &[NodeId], wanted: &[NodeId]) -> Vec<ShardMove> {
        let mut free = wanted.to_vec();
        // Equal nodes are adjacent, so that it makes no difference which of them a move takes.
        free.sort_unstable();
        let mut leaving = Vec::new();
        for (shard, &from) in recorded.iter().enumerate() {
            match free.iter().position(|place| *place == from) {
                Some(at) => {
                    free.remove(at);
                }
                None => leaving.push((ShardNumber(shard as u8), from)),
            }
        }
        let mut moves: Vec<ShardMove> = Vec::with_capacity(leaving.len());
        let mut pair = |are_near: &dyn Fn(NodeId, NodeId) -> bool| {
            leaving.retain(|&(shard, from)| {
                let place = free.iter().position(|&to| are_near(from, to));
                moves.extend(place.map(|at| ShardMove { shard, from, to: free.remove(at) }));
                place.is_none()
            });
        };
        pair(&|from, to| self.host_at(from).is_some_and(|host| self.host_at(to) == Some(host)));
        pair(&|from, to| self.domain_at(from).is_some_and(|domain| self.domain_at(to) == Some(domain)));
        pair(&|_, _| true);
        moves.sort_unstable_by_key(|step| step.shard);
        moves
    }

    /// Returns the host of a node as an index into `hosts`; `None` if the layout does not have the node.
    fn host_at(&self, node: NodeId) -> Option<usize> {
        let at = self.nodes.binary_search_by_key(&node, |known| known.id).ok()?;
        Some(self.host_of[at])
    }

    /// Returns the number of the failure domain of a node, likewise.
    fn domain_at(&self, node: NodeId) -> Option<usize> {
        Some(self.domain_of[self.host_at(node)?])
    }
}
