//! The headers of version 1 of the protocol, one for each kind of frame, in postcard. A header has the length and
//! checksum of each piece of the body, and never the body itself.

use crate::net::frame::{FrameError, FrameKind};
use crate::traces::TraceContext;
use crate::types::{ChunkIndex, NodeId, ShardId};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The length and checksum of a piece of a body: of a chunk, or of the message of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::net) struct Piece {
    pub(in crate::net) bytes: u32,
    pub(in crate::net) crc: u32,
}

impl Piece {
    pub(super) fn of(body: &Bytes) -> Self {
        Self { bytes: body.len() as u32, crc: crc32c::crc32c(body) }
    }

    pub(in crate::net) fn check(self, body: &[u8]) -> Result<(), FrameError> {
        match body.len() == self.bytes as usize && crc32c::crc32c(body) == self.crc {
            true => Ok(()),
            false => Err(FrameError::BodyChecksum),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AppendHeader {
    pub(super) node: NodeId,
    pub(super) shard: ShardId,
    pub(super) first: ChunkIndex,
    pub(super) chunks: Vec<Piece>,
    pub(super) trace: Option<TraceContext>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReadHeader {
    pub(super) range: RangeHeader,
    pub(super) trace: Option<TraceContext>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RangeHeader {
    pub(super) node: NodeId,
    pub(super) shard: ShardId,
    pub(super) first: ChunkIndex,
    pub(super) count: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShardsHeader {
    pub(super) node: NodeId,
    pub(super) shards: Vec<ShardId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageHeader {
    pub(super) node: NodeId,
    pub(super) after: Option<ShardId>,
    pub(super) limit: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GroupHeader {
    pub(super) group: u32,
    pub(super) kind: u8,
    pub(super) message: Piece,
}

/// The header of every answer: the checksum of the request's header (`asked`), then the answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answering<T> {
    pub(super) asked: u32,
    pub(super) answer: T,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ChunkState {
    Here(Piece),
    Missing,
    Corrupt,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReadAnswerHeader {
    pub(super) range: RangeHeader,
    pub(super) chunks: Vec<ChunkState>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CountedHeader {
    pub(super) node: NodeId,
    pub(super) counts: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PageAnswerHeader {
    pub(super) page: PageHeader,
    pub(super) shards: Vec<(ShardId, u32)>,
    pub(super) more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FailureHeader {
    NoSuchNode(NodeId),
    Unavailable { node: NodeId, why: String },
    OutOfSpace(NodeId),
    TimedOut(NodeId),
    Refused { why: String },
}

pub(super) fn to_bytes(header: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(header).expect("a header is plain data")
}

/// Decodes a header; fails if bytes are left over.
pub(super) fn from_bytes<T: DeserializeOwned>(kind: FrameKind, bytes: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(bytes) {
        Ok((header, [])) => Ok(header),
        Ok(_) => Err(FrameError::Header(kind, "bytes are left over")),
        Err(_) => Err(FrameError::Header(kind, "it does not decode")),
    }
}
