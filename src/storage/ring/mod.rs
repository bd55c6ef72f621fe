//! Placement of blobs: a layout of domains, hosts and drives is turned into virtual partitions, each with its own order
//! of the nodes.
//!
//! A blob's id selects its partition. Its shards go to the first nodes of the partition's order that the bounds of
//! domains, hosts and drives allow. The order is made by weighted rendezvous hashing, so a node that joins takes its
//! share from all others and nothing else moves. The placement is recorded with each blob. When the layout changes, the
//! recorded placement is compared with the wanted one, and shards are moved accordingly.

mod capacity;
mod geometry;
mod guarantee;
mod layout;
mod moves;
mod place;

pub use geometry::{auto_geometry, auto_geometry_of_hosts, pointless_parity, write_quorum};
pub use guarantee::{Guarantee, Losses, most_within};
pub use layout::{Layout, LayoutNode, weight_of_capacity};
pub use moves::ShardMove;
pub use place::{Availability, PlaceRefusal, Placement, most_on_a_node};

use crate::types::{BlobId, Epoch, HostId, NodeId};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// The number of virtual partitions: enough that drives of equal weight get nearly equal shares, and few enough to keep
/// all orders in memory.
const PARTITIONS: usize = 1024;

/// One of the virtual partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u16);

/// A layout prepared for placement. Immutable; each change of the layout makes a new ring.
#[derive(Debug)]
pub struct Ring {
    epoch: Epoch,
    nodes: Vec<LayoutNode>,
    /// `active[n]`: whether node `n` of `nodes` takes new shards.
    active: Vec<bool>,
    hosts: Vec<HostId>,
    /// `host_of[n]`: index into `hosts` of node `n` of `nodes`.
    host_of: Vec<usize>,
    /// `domain_of[h]`: the number of the failure domain of host `h` of `hosts`.
    domain_of: Vec<usize>,
    domains: usize,
    /// `orders[p]`: the active nodes as indices into `nodes`, in the order in which partition `p` prefers them.
    orders: Vec<Box<[u16]>>,
}

impl Ring {
    pub fn new(layout: &Layout) -> Self {
        let nodes = layout.nodes().to_vec();
        let active: Vec<bool> = nodes.iter().map(|node| !layout.is_draining(node.id)).collect();
        let mut hosts: Vec<HostId> = nodes.iter().map(|node| node.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let host_of = nodes.iter().map(|node| hosts.partition_point(|&host| host < node.host)).collect();
        let (domain_of, domains) = number_domains(layout, &hosts);
        let orders = (0..PARTITIONS as u64).map(|partition| order(partition, &nodes, &active)).collect();
        Self { epoch: layout.epoch(), nodes, active, hosts, host_of, domain_of, domains, orders }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns all nodes, including those that are draining.
    pub fn nodes(&self) -> &[LayoutNode] {
        &self.nodes
    }

    /// Returns whether this node exists and takes new shards.
    pub fn is_active(&self, node: NodeId) -> bool {
        self.nodes.iter().zip(&self.active).any(|(known, active)| known.id == node && *active)
    }

    /// The host of a node; `None` if the layout does not have the node.
    pub fn host_of(&self, node: NodeId) -> Option<HostId> {
        self.nodes.iter().find(|known| known.id == node).map(|known| known.host)
    }

    /// The host of each node, and the number of its failure domain.
    pub fn places(&self) -> BTreeMap<NodeId, (HostId, usize)> {
        let place = |at: usize| (self.hosts[self.host_of[at]], self.domain_of[self.host_of[at]]);
        (0..self.nodes.len()).map(|at| (self.nodes[at].id, place(at))).collect()
    }

    /// Returns the partition of a blob. While all nodes are up, blobs of one partition and geometry are placed on the
    /// same nodes.
    pub fn partition_of(&self, blob: BlobId) -> Partition {
        let folded = (blob.0 >> 64) as u64 ^ blob.0 as u64;
        Partition((mix(folded) % PARTITIONS as u64) as u16)
    }

    /// The partition's order of nodes, as indices into `nodes`.
    fn order_of(&self, partition: Partition) -> &[u16] {
        &self.orders[usize::from(partition.0)]
    }

    fn active_count(&self) -> usize {
        self.active.iter().filter(|active| **active).count()
    }
}

/// Numbers the failure domains. Returns the number of each host's domain, and the count of domains.
fn number_domains(layout: &Layout, hosts: &[HostId]) -> (Vec<usize>, usize) {
    let mut labels: Vec<&str> = hosts.iter().filter_map(|&host| layout.domain_of(host)).collect();
    labels.sort_unstable();
    labels.dedup();
    let mut count = labels.len();
    let mut number = |host: &HostId| match layout.domain_of(*host) {
        Some(label) => labels.partition_point(|known| *known < label),
        None => {
            count += 1;
            count - 1
        }
    };
    let numbers = hosts.iter().map(&mut number).collect();
    (numbers, count)
}

/// Returns a partition's order of the active nodes by weighted rendezvous hashing: each node scores `-weight / ln(u)`,
/// where `u` in (0, 1) is the hash of partition and node; the greatest score comes first. (Schindelhauer and Schomaker,
/// Weighted Distributed Hash Tables, 2005.)
fn order(partition: u64, nodes: &[LayoutNode], active: &[bool]) -> Box<[u16]> {
    let draw = |node: &LayoutNode| {
        let hash = mix(mix(partition.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ u64::from(node.id.0));
        let unit = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -f64::from(node.weight) / unit.ln()
    };
    let usable = nodes.iter().enumerate().filter(|(at, _)| active[*at]);
    let mut drawn: Vec<(f64, u16)> = usable.map(|(at, node)| (draw(node), at as u16)).collect();
    drawn.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    drawn.into_iter().map(|(_, at)| at).collect()
}

/// The finaliser of SplitMix64: each bit of the input affects about half of the output bits.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
