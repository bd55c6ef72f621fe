//! Hosts for the tests: services in memory behind real endpoints on free ports.

use crate::net::quic::{ConnectError, QuicClient, QuicOptions, QuicServer, RemoteHost};
use crate::net::{
    AppendChunks, ChunkFault, ChunksRead, GroupCall, GroupService, HostIdentity, HostService, InventoryPage,
    NodeService, PeerError, ReadChunks, VersionRange, WireVersion,
};
use crate::types::{BlobId, ChunkIndex, ClusterId, HostId, NodeId, ShardId, ShardNumber};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;

pub(super) const SECRET: &[u8] = b"the secret of the cluster under test";
pub(super) const CLUSTER: ClusterId = ClusterId(0xC1);
pub(super) const NODE: NodeId = NodeId(3);
pub(super) const CALLER: HostId = HostId(1);
pub(super) const CALLED: HostId = HostId(2);
pub(super) const CHUNK: usize = 200_000;

pub(super) fn shard(blob: u128) -> ShardId {
    ShardId { blob: BlobId(blob), shard: ShardNumber(4) }
}

pub(super) fn chunk(seed: u32) -> Bytes {
    (0..CHUNK as u32).map(|at| (at.wrapping_mul(seed | 1) >> 3) as u8).collect()
}

pub(super) fn read(blob: u128, first: u32, count: u32) -> ReadChunks {
    ReadChunks { node: NODE, shard: shard(blob), first: ChunkIndex(first), count, trace: None }
}

pub(super) fn append(blob: u128, first: u32, chunks: Vec<Bytes>) -> AppendChunks {
    AppendChunks { node: NODE, shard: shard(blob), first: ChunkIndex(first), chunks, trace: None }
}

/// One node in memory, and a group that echoes.
#[derive(Debug, Default)]
pub(super) struct Memory {
    chunks: Mutex<BTreeMap<(ShardId, ChunkIndex), Bytes>>,
    pub(super) calls: AtomicUsize,
    /// The delay of each request.
    pub(super) delay: Mutex<Duration>,
}

impl Memory {
    async fn enter(&self, node: NodeId) -> Result<(), PeerError> {
        let delay = *self.delay.lock().expect("unpoisoned");
        // Counted after its delay was read, so that a test that waits for the count may change the delay of later
        // requests.
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if node == NODE { Ok(()) } else { Err(PeerError::NoSuchNode(node)) }
    }

    fn count(&self, shard: ShardId) -> u32 {
        self.chunks.lock().expect("unpoisoned").keys().filter(|(of, _)| *of == shard).count() as u32
    }
}

impl HostService for Memory {}

#[async_trait::async_trait]
impl GroupService for Memory {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        self.enter(NODE).await?;
        match call.kind {
            0 => Err(PeerError::Refused { why: "not a member".repeat(1000) }),
            _ => Ok(call.body),
        }
    }
}

#[async_trait::async_trait]
impl NodeService for Memory {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        self.enter(request.node).await?;
        let mut chunks = self.chunks.lock().expect("unpoisoned");
        for (at, body) in (request.first.0..).zip(request.chunks) {
            chunks.insert((request.shard, ChunkIndex(at)), body);
        }
        Ok(())
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        self.enter(request.node).await?;
        let chunks = self.chunks.lock().expect("unpoisoned");
        let range = request.first.0..request.first.0 + request.count;
        let chunk = |at| chunks.get(&(request.shard, ChunkIndex(at))).cloned().ok_or(ChunkFault::Missing);
        Ok(ChunksRead { chunks: range.map(chunk).collect() })
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        self.enter(node).await?;
        self.chunks.lock().expect("unpoisoned").retain(|(of, _), _| !shards.contains(of));
        Ok(())
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        self.enter(node).await?;
        Ok(shards.into_iter().map(|shard| self.count(shard)).collect())
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        self.enter(node).await?;
        let mut shards: Vec<ShardId> =
            self.chunks.lock().expect("unpoisoned").keys().map(|(of, _)| *of).filter(|of| Some(*of) > after).collect();
        shards.dedup();
        let more = shards.len() > limit as usize;
        shards.truncate(limit as usize);
        Ok(InventoryPage { shards: shards.into_iter().map(|shard| (shard, self.count(shard))).collect(), more })
    }
}

pub(super) fn options() -> QuicOptions {
    QuicOptions::listening(SocketAddr::from(([127, 0, 0, 1], 0)))
}

pub(super) fn identity(host: HostId, cluster: Option<ClusterId>) -> Arc<HostIdentity> {
    HostIdentity::new(host, cluster, SECRET).expect("the secret is long enough")
}

pub(super) fn speaking(host: HostId, oldest: u16, newest: u16) -> Arc<HostIdentity> {
    let versions = VersionRange { oldest: WireVersion(oldest), newest: WireVersion(newest) };
    HostIdentity::speaking(host, Some(CLUSTER), SECRET, versions).expect("the secret is long enough")
}

pub(super) fn serve(identity: Arc<HostIdentity>, options: QuicOptions, service: &Arc<impl HostService>) -> QuicServer {
    QuicServer::start(identity, options, Arc::clone(service) as Arc<dyn HostService>, Handle::current())
        .expect("a loopback port is free")
}

pub(super) fn caller(identity: Arc<HostIdentity>, options: QuicOptions) -> QuicClient {
    QuicClient::start(identity, options).expect("a loopback port is free")
}

pub(super) async fn connect(client: &QuicClient, address: SocketAddr) -> Result<RemoteHost, ConnectError> {
    client.connect(&address.to_string(), Some(CALLED)).await
}

/// A host that serves from memory, and a caller with a connection to it.
pub(super) struct Pair {
    pub(super) memory: Arc<Memory>,
    pub(super) server: QuicServer,
    pub(super) client: QuicClient,
    pub(super) remote: RemoteHost,
}

pub(super) async fn pair(options: QuicOptions) -> Pair {
    let memory = Arc::new(Memory::default());
    let server = serve(identity(CALLED, Some(CLUSTER)), options, &memory);
    let client = caller(identity(CALLER, Some(CLUSTER)), options);
    let remote = connect(&client, server.local_addr()).await.expect("both are of the cluster");
    Pair { memory, server, client, remote }
}
