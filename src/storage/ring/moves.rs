//! The shards of a blob that must move to match a layout.

use crate::types::{NodeId, ShardNumber};

/// The move of one shard from a node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardMove {
    pub shard: ShardNumber,
    pub from: NodeId,
    pub to: NodeId,
}

/// Returns the fewest moves after which the shards are on the `wanted` nodes, in any arrangement; a node may be wanted
/// several times. `recorded[i]` is the current node of shard `i`. Deterministic, so that every host computes the same
/// moves.
pub fn moves(recorded: &[NodeId], wanted: &[NodeId]) -> Vec<ShardMove> {
    let mut free: Vec<Option<NodeId>> = wanted.iter().copied().map(Some).collect();
    let mut leaving = Vec::new();
    for (shard, &from) in recorded.iter().enumerate() {
        match free.iter_mut().find(|place| **place == Some(from)) {
            Some(place) => *place = None,
            None => leaving.push((ShardNumber(shard as u8), from)),
        }
    }
    let places = free.into_iter().flatten();
    leaving.into_iter().zip(places).map(|((shard, from), to)| ShardMove { shard, from, to }).collect()
}
