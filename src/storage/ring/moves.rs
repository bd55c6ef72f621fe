//! The shards of a blob that must move to match a layout.

use crate::types::{NodeId, ShardIndex};

/// One shard's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardMove {
    pub shard: ShardIndex,
    pub from: NodeId,
    pub to: NodeId,
}

/// The fewest moves from `recorded[i]`, the node of shard `i`, to any arrangement of the shards on the `wanted` nodes (a node
/// may be wanted several times). The same for every host that asks.
pub fn moves(recorded: &[NodeId], wanted: &[NodeId]) -> Vec<ShardMove> {
    let mut free: Vec<Option<NodeId>> = wanted.iter().copied().map(Some).collect();
    let mut leaving = Vec::new();
    for (shard, &from) in recorded.iter().enumerate() {
        match free.iter_mut().find(|place| **place == Some(from)) {
            Some(place) => *place = None,
            None => leaving.push((ShardIndex(shard as u8), from)),
        }
    }
    let places = free.into_iter().flatten();
    leaving.into_iter().zip(places).map(|((shard, from), to)| ShardMove { shard, from, to }).collect()
}
