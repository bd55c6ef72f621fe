//! The requests of one host to another, and the traits through which `net` calls the host's services. The same requests
//! are used within the process and over the network. Each request about data names its node, and each shard its index.

use crate::traces::TraceContext;
use crate::types::{ChunkIndex, HostId, NodeId, ShardId};
use bytes::Bytes;
use std::fmt::Debug;

/// A request to append consecutive chunks of one shard. They are durable when it is answered, or only written if the
/// durability of the store is relaxed.
#[derive(Clone, Debug)]
pub struct AppendChunks {
    pub node: NodeId,
    pub shard: ShardId,
    pub first: ChunkIndex,
    /// The bodies of the chunks, if possible slices of the caller's buffer.
    pub chunks: Vec<Bytes>,
    /// The span of the caller, if its request is traced.
    pub trace: Option<TraceContext>,
}

/// A request to read `count` consecutive chunks of one shard.
#[derive(Clone, Copy, Debug)]
pub struct ReadChunks {
    pub node: NodeId,
    pub shard: ShardId,
    pub first: ChunkIndex,
    pub count: u32,
    /// The span of the caller, if its request is traced.
    pub trace: Option<TraceContext>,
}

/// The requested chunks: each verified, or with its fault. A bad chunk does not affect the others.
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
    #[error("drive {0} is not served here")]
    NoSuchNode(NodeId),
    /// The node is down, out of service, or shutting down; it may be tried again later.
    #[error("drive {node} is unavailable: {why}")]
    Unavailable { node: NodeId, why: String },
    #[error("drive {0} is out of space")]
    OutOfSpace(NodeId),
    #[error("drive {0} did not answer in time")]
    TimedOut(NodeId),
    /// The connection to the host failed. If `sent`, the request may have been executed all the same.
    #[error("host {:016x} cannot be reached: {why}", host.0)]
    Unreachable { host: HostId, why: String, sent: bool },
    /// The host's answer is malformed or does not match the request. None of it is used.
    #[error("host {:016x} sent an invalid answer: {why}", host.0)]
    Garbled { host: HostId, why: String },
    /// The host refuses the request: it is out of bounds, not allowed for the caller, or there is no room for it.
    #[error("refused: {why}")]
    Refused { why: String },
}

impl PeerError {
    /// Returns the name of the error's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoSuchNode(_) => "no_such_node",
            Self::Unavailable { .. } => "unavailable",
            Self::OutOfSpace(_) => "out_of_space",
            Self::TimedOut(_) => "timed_out",
            Self::Unreachable { .. } => "unreachable",
            Self::Garbled { .. } => "garbled",
            Self::Refused { .. } => "refused",
        }
    }
}

/// A message of a consensus group to its member on a host. Its content is opaque to `net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCall {
    pub group: u32,
    pub kind: u8,
    /// The body, of at most `NET_BODY_BYTES_MAX` bytes, as is the answer's. Larger contents are split into several
    /// calls.
    pub body: Bytes,
}

/// A page of a node's shards, in order of `(blob, shard)`.
#[derive(Clone, Debug, Default)]
pub struct InventoryPage {
    /// The shards of the page, each with the number of its chunks on the node.
    pub shards: Vec<(ShardId, u32)>,
    /// True if more shards follow.
    pub more: bool,
}

/// The drives of a host, which the host itself and its peers call.
#[async_trait::async_trait]
pub trait NodeService: Send + Sync + Debug + 'static {
    /// Appends chunks. `Ok` means that they are durable (only written, if durability is relaxed) and readable.
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError>;
    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError>;
    /// Drops shards. `Ok` means that they are durably gone, or were never there.
    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError>;
    /// Returns the number of chunks that the node holds of each shard.
    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError>;
    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError>;
}

/// The consensus groups of a host. The future of a call may be dropped before it is ready, if its caller gives up.
#[async_trait::async_trait]
pub trait GroupService: Send + Sync + Debug + 'static {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError>;
}

/// The services of a host for others: its drives and its groups.
pub trait HostService: NodeService + GroupService {
    /// Returns whether the connection to the host is known to be lost.
    fn is_lost(&self) -> bool {
        false
    }

    /// Returns whether it is another host, which is called over the network.
    fn is_remote(&self) -> bool {
        false
    }
}
