//! The requests between hosts: one for each method of `NodeService` and `GroupService`.

use super::headers::{
    AppendHeader, GroupHeader, PageHeader, Piece, RangeHeader, ReadHeader, ShardsHeader, from_bytes, to_bytes,
};
use super::{Filled, Incoming, Outgoing, unexpected};
use crate::limits::{CHUNK_BYTES_MAX, CHUNKS_READ_MAX, NET_BODY_BYTES_MAX, NET_SHARDS_MAX};
use crate::net::frame::{FrameError, FrameKind, Head, WireVersion, encode};
use crate::net::service::{AppendChunks, GroupCall, ReadChunks};
use crate::types::{NodeId, ShardId};
use bytes::Bytes;

#[derive(Clone, Debug)]
pub(in crate::net) enum Request {
    Append(AppendChunks),
    Read(ReadChunks),
    Drop { node: NodeId, shards: Vec<ShardId> },
    Count { node: NodeId, shards: Vec<ShardId> },
    Inventory { node: NodeId, after: Option<ShardId>, limit: u32 },
    Group(GroupCall),
}

impl Request {
    pub(in crate::net) fn kind(&self) -> FrameKind {
        match self {
            Self::Append(_) => FrameKind::Append,
            Self::Read(_) => FrameKind::Read,
            Self::Drop { .. } => FrameKind::Drop,
            Self::Count { .. } => FrameKind::Count,
            Self::Inventory { .. } => FrameKind::Inventory,
            Self::Group(_) => FrameKind::Group,
        }
    }

    pub(in crate::net) fn name(&self) -> &'static str {
        match self {
            Self::Append(_) => "append",
            Self::Read(_) => "read",
            Self::Drop { .. } => "drop",
            Self::Count { .. } => "count",
            Self::Inventory { .. } => "inventory",
            Self::Group(_) => "group",
        }
    }

    /// The node of the request; `None` for a group call.
    pub(in crate::net) fn node(&self) -> Option<NodeId> {
        match self {
            Self::Append(append) => Some(append.node),
            Self::Read(read) => Some(read.node),
            Self::Drop { node, .. } | Self::Count { node, .. } | Self::Inventory { node, .. } => Some(*node),
            Self::Group(_) => None,
        }
    }

    pub(in crate::net) fn shard(&self) -> Option<ShardId> {
        match self {
            Self::Append(append) => Some(append.shard),
            Self::Read(read) => Some(read.shard),
            _ => None,
        }
    }

    /// The memory that serving the request takes in addition to its own body: the largest body of its answer. For a
    /// group call, the usual one.
    pub(in crate::net) fn answer_bytes_max(&self) -> usize {
        match self {
            Self::Read(read) => read.count as usize * CHUNK_BYTES_MAX,
            Self::Group(_) => RAFT_ANSWER_BYTES_USUAL,
            _ => 0,
        }
    }

    /// Returns the bound of the protocol that the request exceeds, if it exceeds one.
    pub(in crate::net) fn excess(&self) -> Option<&'static str> {
        let chunks_max = CHUNKS_READ_MAX as usize;
        match self {
            Self::Append(append) if append.chunks.len() > chunks_max => Some("too many chunks in one append"),
            Self::Append(append) if append.chunks.iter().any(|chunk| chunk.len() > CHUNK_BYTES_MAX) => {
                Some("a chunk is too large")
            }
            Self::Read(read) if read.count > CHUNKS_READ_MAX => Some("too many chunks in one read"),
            Self::Read(read) if read.first.0.checked_add(read.count).is_none() => Some("a chunk's index is too large"),
            Self::Drop { shards, .. } | Self::Count { shards, .. } if shards.len() > NET_SHARDS_MAX => {
                Some("too many shards in one request")
            }
            Self::Inventory { limit, .. } if *limit as usize > NET_SHARDS_MAX => Some("the page is too large"),
            Self::Group(call) if call.body.len() > NET_BODY_BYTES_MAX => Some("the message is too large"),
            _ => None,
        }
    }

    /// Encodes the request. Returns the message, and the checksum of its header, which the answer repeats. Fails with
    /// the bound that the request exceeds.
    pub(in crate::net) fn encode(&self, version: WireVersion) -> Result<(Outgoing, u32), &'static str> {
        if let Some(excess) = self.excess() {
            return Err(excess);
        }
        let (header, body) = match self {
            Self::Append(append) => {
                let chunks = append.chunks.iter().map(Piece::of).collect();
                let AppendChunks { node, shard, first, trace, .. } = *append;
                let header = AppendHeader { node, shard, first, chunks, trace };
                (to_bytes(&header), append.chunks.clone())
            }
            Self::Read(read) => (to_bytes(&ReadHeader { range: RangeHeader::of(read), trace: read.trace }), vec![]),
            Self::Drop { node, shards } | Self::Count { node, shards } => {
                (to_bytes(&ShardsHeader { node: *node, shards: shards.clone() }), vec![])
            }
            Self::Inventory { node, after, limit } => {
                (to_bytes(&PageHeader { node: *node, after: *after, limit: *limit }), vec![])
            }
            Self::Group(call) => {
                let header = GroupHeader { group: call.group, kind: call.kind, message: Piece::of(&call.body) };
                (to_bytes(&header), vec![call.body.clone()])
            }
        };
        let body_bytes = body.iter().map(Bytes::len).sum();
        let frame = encode(version, self.kind(), &header, body_bytes).into();
        Ok((Outgoing { frame, body }, crc32c::crc32c(&header)))
    }

    /// Decodes a header that a peer sent. The caller has verified its checksum.
    pub(in crate::net) fn decode(head: &Head, header: &[u8]) -> Result<Incoming<Self>, FrameError> {
        let (request, pieces) = match head.kind {
            FrameKind::Append => {
                let AppendHeader { node, shard, first, chunks, trace } = from_bytes(head.kind, header)?;
                (Self::Append(AppendChunks { node, shard, first, chunks: vec![], trace }), chunks)
            }
            FrameKind::Read => {
                let ReadHeader { range, trace } = from_bytes(head.kind, header)?;
                let RangeHeader { node, shard, first, count } = range;
                (Self::Read(ReadChunks { node, shard, first, count, trace }), vec![])
            }
            FrameKind::Drop => {
                let ShardsHeader { node, shards } = from_bytes(head.kind, header)?;
                (Self::Drop { node, shards }, vec![])
            }
            FrameKind::Count => {
                let ShardsHeader { node, shards } = from_bytes(head.kind, header)?;
                (Self::Count { node, shards }, vec![])
            }
            FrameKind::Inventory => {
                let PageHeader { node, after, limit } = from_bytes(head.kind, header)?;
                (Self::Inventory { node, after, limit }, vec![])
            }
            FrameKind::Group => {
                let GroupHeader { group, kind, message } = from_bytes(head.kind, header)?;
                (Self::Group(GroupCall { group, kind, body: Bytes::new() }), vec![message])
            }
            other => return Err(unexpected(other, "a request")),
        };
        if let Some(excess) = request.excess() {
            return Err(FrameError::Header(head.kind, excess));
        }
        let chunks = head.kind == FrameKind::Append;
        Incoming::new(head, request, pieces, chunks)
    }
}

/// The memory that is reserved for the answer to a group call; few answers are larger.
const RAFT_ANSWER_BYTES_USUAL: usize = 64 << 10;

impl Filled for Request {
    fn fill(&mut self, mut bodies: Vec<Bytes>) {
        match self {
            Self::Append(append) => append.chunks = bodies,
            Self::Group(call) => call.body = bodies.pop().unwrap_or_default(),
            _ => {}
        }
    }
}

impl RangeHeader {
    pub(super) fn of(read: &ReadChunks) -> Self {
        Self { node: read.node, shard: read.shard, first: read.first, count: read.count }
    }
}
