//! What the cluster is made of, as far as placing shards goes.

use crate::types::{Epoch, HostId, NodeId};

/// One drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutNode {
    pub id: NodeId,
    /// The failure domain above the drive.
    pub host: HostId,
    /// Its share relative to the others; a drive of weight 0 takes no new shards while others can.
    pub weight: u32,
}

/// The drives in service by intention, whether or not each is up. Sorted by id, each id once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    epoch: Epoch,
    nodes: Vec<LayoutNode>,
}

impl Layout {
    /// Of several entries with one id the last counts. At most 65,536 nodes are kept.
    pub fn new(epoch: Epoch, nodes: impl IntoIterator<Item = LayoutNode>) -> Self {
        let by_id: std::collections::BTreeMap<NodeId, LayoutNode> =
            nodes.into_iter().map(|node| (node.id, node)).collect();
        Self { epoch, nodes: by_id.into_values().take(1 << 16).collect() }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn nodes(&self) -> &[LayoutNode] {
        &self.nodes
    }
}
