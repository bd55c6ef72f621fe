//! The answers to requests: one for each kind of request, and failure. An answer is decoded together with its request,
//! and refused if it does not match.

use super::headers::{
    Answering, ChunkState, CountedHeader, FailureHeader, PageAnswerHeader, PageHeader, Piece, RangeHeader,
    ReadAnswerHeader, from_bytes, to_bytes,
};
use super::{Filled, Incoming, Outgoing, Request, unexpected};
use crate::limits::{NET_BODY_BYTES_MAX, NET_SHARDS_MAX, NET_WORDS_BYTES_MAX};
use crate::net::frame::{FrameError, FrameKind, Head, WireVersion, encode};
use crate::net::service::{AppendChunks, ChunkFault, ChunksRead, InventoryPage, PeerError};
use crate::types::NodeId;
use bytes::Bytes;
use serde::Serialize;

#[derive(Debug)]
pub(in crate::net) enum Answer {
    Appended,
    Read(ChunksRead),
    Dropped,
    Counted(Vec<u32>),
    Inventory(InventoryPage),
    Group(Bytes),
    Failed(PeerError),
}

impl Answer {
    /// Encodes the answer to `request`, whose header has the checksum `asked`. An answer of the host's own service that
    /// does not match the request, or exceeds the bounds of the protocol, is replaced by a failure.
    pub(in crate::net) fn encode(&self, version: WireVersion, request: &Request, asked: u32) -> Outgoing {
        match self.parts(request, asked) {
            Ok((kind, header, body)) => {
                let body_bytes = body.iter().map(Bytes::len).sum();
                Outgoing { frame: encode(version, kind, &header, body_bytes).into(), body }
            }
            Err(why) => {
                let header = failure_header(asked, &PeerError::Refused { why: why.to_owned() });
                Outgoing { frame: encode(version, FrameKind::Failed, &header, 0).into(), body: vec![] }
            }
        }
    }

    fn parts(&self, request: &Request, asked: u32) -> Result<(FrameKind, Vec<u8>, Vec<Bytes>), &'static str> {
        fn header(asked: u32, answer: impl Serialize) -> Vec<u8> {
            to_bytes(&Answering { asked, answer })
        }
        Ok(match (self, request) {
            (Self::Failed(error), _) => (FrameKind::Failed, failure_header(asked, error), vec![]),
            (Self::Appended, Request::Append(append)) => (FrameKind::Appended, header(asked, appended(append)), vec![]),
            (Self::Dropped, Request::Drop { node, .. }) => (FrameKind::Dropped, header(asked, *node), vec![]),
            (Self::Read(read), Request::Read(asked_for)) => {
                if read.chunks.len() != asked_for.count as usize {
                    return Err("the host read another number of chunks than was requested");
                }
                let chunks = read.chunks.iter().map(state).collect();
                let answer = ReadAnswerHeader { range: RangeHeader::of(asked_for), chunks };
                let body: Vec<Bytes> = read.chunks.iter().filter_map(|chunk| chunk.as_ref().ok().cloned()).collect();
                (FrameKind::ReadAnswer, header(asked, answer), body)
            }
            (Self::Counted(counts), Request::Count { node, shards }) if counts.len() == shards.len() => {
                (FrameKind::Counted, header(asked, CountedHeader { node: *node, counts: counts.clone() }), vec![])
            }
            (Self::Inventory(found), Request::Inventory { node, after, limit })
                if found.shards.len() <= *limit as usize =>
            {
                let page = PageHeader { node: *node, after: *after, limit: *limit };
                let answer = PageAnswerHeader { page, shards: found.shards.clone(), more: found.more };
                (FrameKind::InventoryAnswer, header(asked, answer), vec![])
            }
            (Self::Group(message), Request::Group(_)) => {
                if message.len() > NET_BODY_BYTES_MAX {
                    return Err("the host's answer is too large for one message");
                }
                (FrameKind::GroupAnswer, header(asked, Piece::of(message)), vec![message.clone()])
            }
            _ => return Err("the host's answer does not match the request"),
        })
    }

    /// Decodes the header of an answer to `request`, whose own header has the checksum `asked`.
    pub(in crate::net) fn decode(
        head: &Head,
        header: &[u8],
        request: &Request,
        asked: u32,
    ) -> Result<Incoming<Self>, FrameError> {
        match (head.kind, request) {
            (FrameKind::Failed, _) => {
                let failure = answer(head, header, asked)?;
                Incoming::new(head, Self::Failed(failure_of(head, failure)?), vec![], false)
            }
            (FrameKind::Appended, Request::Append(append)) => {
                agree(answer::<RangeHeader>(head, header, asked)? == appended(append), "another range")?;
                Incoming::new(head, Self::Appended, vec![], false)
            }
            (FrameKind::ReadAnswer, Request::Read(read)) => {
                let found: ReadAnswerHeader = answer(head, header, asked)?;
                agree(found.range == RangeHeader::of(read), "another shard or range")?;
                agree(found.chunks.len() == read.count as usize, "another number of chunks")?;
                let pieces = found.chunks.iter().filter_map(ChunkState::piece).collect();
                let chunks = found.chunks.into_iter().map(ChunkState::empty).collect();
                Incoming::new(head, Self::Read(ChunksRead { chunks }), pieces, true)
            }
            (FrameKind::Dropped, Request::Drop { node, .. }) => {
                agree(answer::<NodeId>(head, header, asked)? == *node, "another node")?;
                Incoming::new(head, Self::Dropped, vec![], false)
            }
            (FrameKind::Counted, Request::Count { node, shards }) => {
                let found: CountedHeader = answer(head, header, asked)?;
                agree(found.node == *node && found.counts.len() == shards.len(), "other shards")?;
                Incoming::new(head, Self::Counted(found.counts), vec![], false)
            }
            (FrameKind::InventoryAnswer, Request::Inventory { node, after, limit }) => {
                let found: PageAnswerHeader = answer(head, header, asked)?;
                let page = PageHeader { node: *node, after: *after, limit: *limit };
                agree(found.page == page && found.shards.len() <= NET_SHARDS_MAX.min(*limit as usize), "another page")?;
                // The shards must ascend from `after` on, or reading page by page might never end.
                let first_is_later = found.shards.first().zip(*after).is_none_or(|((first, _), after)| *first > after);
                agree(first_is_later && found.shards.is_sorted_by(|a, b| a.0 < b.0), "shards out of order")?;
                agree(!found.more || !found.shards.is_empty(), "an empty page that is not the last")?;
                Incoming::new(
                    head,
                    Self::Inventory(InventoryPage { shards: found.shards, more: found.more }),
                    vec![],
                    false,
                )
            }
            (FrameKind::GroupAnswer, Request::Group(_)) => {
                let message: Piece = answer(head, header, asked)?;
                Incoming::new(head, Self::Group(Bytes::new()), vec![message], false)
            }
            (other, _) => Err(unexpected(other, "the answer to the request")),
        }
    }
}

impl Filled for Answer {
    fn fill(&mut self, bodies: Vec<Bytes>) {
        let mut bodies = bodies.into_iter();
        match self {
            Self::Read(read) => {
                let here = read.chunks.iter_mut().filter_map(|chunk| chunk.as_mut().ok());
                here.zip(bodies).for_each(|(chunk, body)| *chunk = body);
            }
            Self::Group(message) => *message = bodies.next().unwrap_or_default(),
            _ => {}
        }
    }
}

fn agree(agrees: bool, what: &'static str) -> Result<(), FrameError> {
    if agrees { Ok(()) } else { Err(FrameError::OtherAnswer(what)) }
}

fn answer<T: serde::de::DeserializeOwned>(head: &Head, header: &[u8], asked: u32) -> Result<T, FrameError> {
    let found: Answering<T> = from_bytes(head.kind, header)?;
    agree(found.asked == asked, "it repeats another request's checksum")?;
    Ok(found.answer)
}

/// Returns the range of an append, which its answer repeats.
fn appended(append: &AppendChunks) -> RangeHeader {
    RangeHeader { node: append.node, shard: append.shard, first: append.first, count: append.chunks.len() as u32 }
}

fn state(chunk: &Result<Bytes, ChunkFault>) -> ChunkState {
    match chunk {
        Ok(bytes) => ChunkState::Here(Piece::of(bytes)),
        Err(ChunkFault::Missing) => ChunkState::Missing,
        Err(ChunkFault::Corrupt) => ChunkState::Corrupt,
    }
}

impl ChunkState {
    fn piece(&self) -> Option<Piece> {
        match self {
            Self::Here(piece) => Some(*piece),
            Self::Missing | Self::Corrupt => None,
        }
    }

    /// Returns the chunk with an empty body, to be filled when the body has come.
    fn empty(self) -> Result<Bytes, ChunkFault> {
        match self {
            Self::Here(_) => Ok(Bytes::new()),
            Self::Missing => Err(ChunkFault::Missing),
            Self::Corrupt => Err(ChunkFault::Corrupt),
        }
    }
}

fn failure_header(asked: u32, error: &PeerError) -> Vec<u8> {
    let answer = match error {
        PeerError::NoSuchNode(node) => FailureHeader::NoSuchNode(*node),
        PeerError::Unavailable { node, why } => FailureHeader::Unavailable { node: *node, why: cut(why) },
        PeerError::OutOfSpace(node) => FailureHeader::OutOfSpace(*node),
        PeerError::TimedOut(node) => FailureHeader::TimedOut(*node),
        PeerError::Refused { why } => FailureHeader::Refused { why: cut(why) },
        // These errors concern a connection of the answering host to yet another host.
        PeerError::Unreachable { .. } | PeerError::Garbled { .. } => {
            FailureHeader::Refused { why: cut(&error.to_string()) }
        }
    };
    to_bytes(&Answering { asked, answer })
}

fn failure_of(head: &Head, failure: FailureHeader) -> Result<PeerError, FrameError> {
    Ok(match failure {
        FailureHeader::NoSuchNode(node) => PeerError::NoSuchNode(node),
        FailureHeader::Unavailable { node, why } => PeerError::Unavailable { node, why: bounded(head, why)? },
        FailureHeader::OutOfSpace(node) => PeerError::OutOfSpace(node),
        FailureHeader::TimedOut(node) => PeerError::TimedOut(node),
        FailureHeader::Refused { why } => PeerError::Refused { why: bounded(head, why)? },
    })
}

/// Cuts a text to the length that a header may have.
fn cut(words: &str) -> String {
    words[..words.floor_char_boundary(NET_WORDS_BYTES_MAX)].to_owned()
}

fn bounded(head: &Head, words: String) -> Result<String, FrameError> {
    match words.len() <= NET_WORDS_BYTES_MAX {
        true => Ok(words),
        false => Err(FrameError::Header(head.kind, "a text is too long")),
    }
}
