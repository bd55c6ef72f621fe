//! The services of this host, as other hosts call them: a call that comes with the context of a trace has a span, as a
//! child of the caller's.

use crate::net::{
    AppendChunks, ChunksRead, GroupCall, GroupService, HostService, InventoryPage, NodeService, PeerError, ReadChunks,
};
use crate::traces::{TraceContext, Tracer};
use crate::types::{NodeId, ShardId};
use bytes::Bytes;
use std::future::Future;
use std::sync::Arc;

#[derive(Debug)]
pub struct TracedService {
    inner: Arc<dyn HostService>,
    tracer: Tracer,
}

impl TracedService {
    pub fn new(inner: Arc<dyn HostService>, tracer: Tracer) -> Self {
        Self { inner, tracer }
    }

    async fn traced<T>(
        &self,
        name: &'static str,
        caller: Option<TraceContext>,
        (node, shard): (NodeId, ShardId),
        call: impl Future<Output = Result<T, PeerError>>,
    ) -> Result<T, PeerError> {
        let Some(caller) = caller else { return call.await };
        let spans = self.tracer.call(name, caller);
        let answered = call.await;
        spans.finish(|span| {
            span.set("rpc.system", "sherd");
            span.set("sherd.node", u64::from(node.0));
            span.set("sherd.blob", shard.blob.to_string());
            span.set("sherd.shard", u64::from(shard.shard.0));
            if let Err(error) = &answered {
                span.set("error.type", error.kind());
                span.is_failed = true;
            }
        });
        answered
    }
}

impl HostService for TracedService {
    fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }
}

#[async_trait::async_trait]
impl GroupService for TracedService {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        self.inner.group_call(call).await
    }
}

#[async_trait::async_trait]
impl NodeService for TracedService {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        let (caller, of) = (request.trace, (request.node, request.shard));
        self.traced("NodeService/append_chunks", caller, of, self.inner.append_chunks(request)).await
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        let (caller, of) = (request.trace, (request.node, request.shard));
        self.traced("NodeService/read_chunks", caller, of, self.inner.read_chunks(request)).await
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        self.inner.drop_shards(node, shards).await
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        self.inner.count_chunks(node, shards).await
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        self.inner.inventory(node, after, limit).await
    }
}
