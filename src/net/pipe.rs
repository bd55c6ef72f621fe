//! The transport within one process: a direct call of the host's own service, without a copy or a socket.

use super::service::{
    AppendChunks, ChunksRead, GroupCall, GroupService, HostService, InventoryPage, NodeService, PeerError, ReadChunks,
};
use crate::types::{NodeId, ShardId};
use bytes::Bytes;
use std::sync::Arc;

/// A host as its callers reach it: a connection to another host, or the service of this one.
pub type Peer = Arc<dyn HostService>;

/// Makes a peer of this process that serves drives and no consensus group.
pub fn pipe(nodes: Arc<dyn NodeService>) -> Peer {
    Arc::new(ServedHost { nodes, groups: Arc::new(NoGroups) })
}

/// The services of a host, joined from its drives and its groups. The host itself calls them directly, others over the
/// network.
#[derive(Clone, Debug)]
pub struct ServedHost {
    pub nodes: Arc<dyn NodeService>,
    pub groups: Arc<dyn GroupService>,
}

impl HostService for ServedHost {}

#[async_trait::async_trait]
impl GroupService for ServedHost {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        self.groups.group_call(call).await
    }
}

#[async_trait::async_trait]
impl NodeService for ServedHost {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        self.nodes.append_chunks(request).await
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        self.nodes.read_chunks(request).await
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        self.nodes.drop_shards(node, shards).await
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        self.nodes.count_chunks(node, shards).await
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        self.nodes.inventory(node, after, limit).await
    }
}

/// The group service of a host that takes part in no group: every call is refused.
#[derive(Clone, Copy, Debug)]
pub struct NoGroups;

#[async_trait::async_trait]
impl GroupService for NoGroups {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        Err(PeerError::Refused { why: format!("this host has no member of group {}", call.group) })
    }
}
