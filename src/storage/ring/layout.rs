//! The layout of a cluster, the input of placement: failure domains, hosts and drives.

use crate::types::{Epoch, HostId, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// One drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutNode {
    pub id: NodeId,
    pub host: HostId,
    /// The drive's share of shards, relative to the weights of others. A drive of weight 0 takes shards only if no
    /// other can.
    pub weight: u32,
}

/// The registered drives of a cluster, whether or not each is up. Sorted by id, each id once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    epoch: Epoch,
    nodes: Vec<LayoutNode>,
    draining: BTreeSet<NodeId>,
    domains: BTreeMap<HostId, String>,
}

impl Layout {
    /// Makes a layout of these nodes. The last of several entries with one id counts; at most 65,536 nodes are kept.
    /// Every node takes shards, and every host is a failure domain of its own.
    pub fn new(epoch: Epoch, nodes: impl IntoIterator<Item = LayoutNode>) -> Self {
        let by_id: BTreeMap<NodeId, LayoutNode> = nodes.into_iter().map(|node| (node.id, node)).collect();
        Self { epoch, nodes: by_id.into_values().take(1 << 16).collect(), ..Self::default() }
    }

    /// Marks these nodes as draining: they are read from and take no new shards.
    pub fn with_draining(self, draining: impl IntoIterator<Item = NodeId>) -> Self {
        Self { draining: draining.into_iter().collect(), ..self }
    }

    /// Sets the failure domains of hosts: hosts with the same label form one.
    pub fn with_domains(self, domains: impl IntoIterator<Item = (HostId, String)>) -> Self {
        Self { domains: domains.into_iter().collect(), ..self }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn nodes(&self) -> &[LayoutNode] {
        &self.nodes
    }

    pub fn is_draining(&self, node: NodeId) -> bool {
        self.draining.contains(&node)
    }

    /// The label of a host's failure domain; `None` if the host is a domain of its own.
    pub fn domain_of(&self, host: HostId) -> Option<&str> {
        self.domains.get(&host).map(String::as_str)
    }
}

/// Returns the weight of a drive of this capacity: one unit for each gibibyte, at least one.
pub fn weight_of_capacity(capacity_bytes: u64) -> u32 {
    u32::try_from(capacity_bytes >> 30).unwrap_or(u32::MAX).max(1)
}
