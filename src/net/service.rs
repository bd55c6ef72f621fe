//! The requests of one host to another, and the traits through which `net` calls inward. The same requests go through
//! the in-process pipe and over the network; a request names its node and its shard index, always.

use crate::types::{ChunkIndex, HostId, NodeId, ShardId};
use bytes::Bytes;
use std::fmt::Debug;

/// Consecutive chunks of one shard, to be made durable before the answer.
#[derive(Clone, Debug)]
pub struct AppendChunks {
    pub node: NodeId,
    pub shard: ShardId,
    pub first: ChunkIndex,
    /// The bodies, one a chunk; slices of the caller's buffer where possible.
    pub chunks: Vec<Bytes>,
}

/// Consecutive chunks of one shard, `count` of them.
#[derive(Clone, Copy, Debug)]
pub struct ReadChunks {
    pub node: NodeId,
    pub shard: ShardId,
    pub first: ChunkIndex,
    pub count: u32,
}

/// The requested chunks, verified, or the fault of each; a bad chunk does not affect its neighbours.
#[derive(Debug)]
pub struct ChunksRead {
    pub chunks: Vec<Result<Bytes, ChunkFault>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkFault {
    #[error("chunk is not on this node")]
    Missing,
    #[error("chunk failed its checksum or could not be read")]
    Corrupt,
}

/// The reason for which a node refused or failed a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    #[error("node {0} is not served here")]
    NoSuchNode(NodeId),
    /// Down, taken out of service, or shutting down: not now.
    #[error("node {node} is unavailable: {why}")]
    Unavailable { node: NodeId, why: String },
    #[error("node {0} is out of space")]
    OutOfSpace(NodeId),
    #[error("node {0} did not answer in time")]
    TimedOut(NodeId),
    /// The way to the host failed. `sent`: the request may have been done all the same.
    #[error("host {:016x} cannot be reached: {why}", host.0)]
    Unreachable { host: HostId, why: String, sent: bool },
    /// The host's answer is not one to the request; none of it is used.
    #[error("host {:016x} answered garbage: {why}", host.0)]
    Garbled { host: HostId, why: String },
    /// The host does not do such a thing, or not for who asked.
    #[error("refused: {why}")]
    Refused { why: String },
}

/// A message of a consensus group to its member on a host; what is in it is the group's own affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCall {
    pub group: u32,
    pub kind: u8,
    /// The body, at most `NET_BODY_BYTES_MAX`, as the answer's: larger contents go in several calls.
    pub body: Bytes,
}

/// A page of a node's shards, in order of `(blob, shard)`.
#[derive(Clone, Debug, Default)]
pub struct InventoryPage {
    /// A shard and how many chunks of it are there.
    pub shards: Vec<(ShardId, u32)>,
    pub more: bool,
}

/// The drives of a host, as its peers and itself see them.
#[async_trait::async_trait]
pub trait NodeService: Send + Sync + Debug + 'static {
    /// `Ok` means: on stable storage and readable.
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError>;
    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError>;
    /// `Ok` means: durably gone (or never there).
    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError>;
    /// Returns the number of chunks that the node holds of each shard.
    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError>;
    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError>;
}

/// The consensus groups of a host. A call may be dropped half-way by a caller that gives up.
#[async_trait::async_trait]
pub trait GroupService: Send + Sync + Debug + 'static {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError>;
}

/// The services of a host for others: its drives and its groups.
pub trait HostService: NodeService + GroupService {
    /// Returns whether this connection to the host is known to be of no more use.
    fn is_lost(&self) -> bool {
        false
    }
}
