//! Where new blobs go: a layout of hosts and drives, cut into virtual partitions, each with its own order of the nodes.
//!
//! A blob's id names its partition; its shards go to the first nodes of the partition's order that its failure domains
//! allow, hosts first, then drives. The order is by weighted rendezvous hashing, so a node that joins takes its share
//! from all others and nothing else moves. What the ring says is recorded with each blob and never asked again for it.

mod geometry;
mod layout;
mod place;

pub use geometry::{auto_geometry, write_quorum};
pub use layout::{Layout, LayoutNode};
pub use place::{PlaceRefusal, Placement, Standing};

use crate::types::{BlobId, Epoch, HostId, NodeId};

#[cfg(test)]
mod tests;

/// Virtual partitions: enough that drives' shares differ little, few enough that all orders are held in memory.
const PARTITIONS: usize = 1024;

/// A layout made ready for placing. Immutable; a change of the layout makes another.
#[derive(Debug)]
pub struct Ring {
    epoch: Epoch,
    nodes: Vec<LayoutNode>,
    hosts: Vec<HostId>,
    /// `host_of[n]`: index into `hosts` of node `n` of `nodes`.
    host_of: Vec<usize>,
    /// `orders[p]`: indices into `nodes`, the most wanted first.
    orders: Vec<Box<[u16]>>,
}

impl Ring {
    pub fn new(layout: &Layout) -> Self {
        let nodes = layout.nodes().to_vec();
        let mut hosts: Vec<HostId> = nodes.iter().map(|node| node.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let host_of = nodes.iter().map(|node| hosts.partition_point(|&host| host < node.host)).collect();
        let orders = (0..PARTITIONS as u64).map(|partition| order(partition, &nodes)).collect();
        Self { epoch: layout.epoch(), nodes, hosts, host_of, orders }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn nodes(&self) -> &[LayoutNode] {
        &self.nodes
    }

    /// The host whose drive this node is.
    pub fn host_of(&self, node: NodeId) -> Option<HostId> {
        self.nodes.iter().find(|known| known.id == node).map(|known| known.host)
    }

    /// The partition's order, as indices of `nodes`.
    fn order_of(&self, blob: BlobId) -> &[u16] {
        let folded = (blob.0 >> 64) as u64 ^ blob.0 as u64;
        &self.orders[(mix(folded) % PARTITIONS as u64) as usize]
    }
}

/// Weighted rendezvous: each node draws `-weight / ln(u)` with `u` from the hash of partition and node; the greatest wins.
/// (Schindelhauer and Schomaker, Weighted Distributed Hash Tables, 2005.)
fn order(partition: u64, nodes: &[LayoutNode]) -> Box<[u16]> {
    let draw = |node: &LayoutNode| {
        let hash = mix(mix(partition.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ u64::from(node.id.0));
        let unit = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -f64::from(node.weight) / unit.ln()
    };
    let mut drawn: Vec<(f64, u16)> = nodes.iter().enumerate().map(|(at, node)| (draw(node), at as u16)).collect();
    drawn.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    drawn.into_iter().map(|(_, at)| at).collect()
}

/// The finaliser of SplitMix64: every bit of the input changes half of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
