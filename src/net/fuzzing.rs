//! Fuzz targets for frames from other hosts. Their checksums are made valid, so that the decoding of their content is
//! reached.

use super::frame::{FrameKind, HEAD_BYTES, Head, WireVersion, encode};
use super::greeting::Greeting;
use super::protocol::{Answer, Request};
use super::service::{AppendChunks, GroupCall, ReadChunks};
use crate::types::{BlobId, ChunkIndex, NodeId, ShardId, ShardNumber};
use bytes::Bytes;

pub use super::post::fuzzing::webhook_answers;

const VERSION: WireVersion = WireVersion(1);
/// The longest header that is tried.
const HEADER_BYTES_MAX: usize = 4096;
const BODY_BYTES_MAX: usize = 64;

/// Decodes a frame as each kind of message. `data` has the kind, the length of the body, and the header. A valid
/// request must come back unchanged from encoding and decoding it again.
pub fn frames(data: &[u8]) {
    let spoken = WireVersion(0)..=WireVersion(u16::MAX);
    if let Some(head) = data.first_chunk::<HEAD_BYTES>() {
        let _ = Head::decode(head, spoken.clone());
    }
    let &[kind, body_bytes, ref header @ ..] = data else { return };
    let header = &header[..header.len().min(HEADER_BYTES_MAX)];
    let kind = FrameKind::ALL[usize::from(kind) % FrameKind::ALL.len()];
    let (header_max, body_max) = kind.caps();
    let (header, body_bytes) = (&header[..header.len().min(header_max)], usize::from(body_bytes).min(body_max));
    let frame = encode(VERSION, kind, header, body_bytes);
    let (head, rest) = frame.split_first_chunk::<HEAD_BYTES>().expect("a whole frame");
    let head = Head::decode(head, spoken).expect("a head of ours");
    assert!(head.check_header(rest) == Ok(()) && rest == header);
    if let Ok(greeting) = Greeting::decode(&head, header) {
        let _ = Greeting::judge(&greeting, &greeting);
        let _ = greeting.encode_answer(Greeting::judge(&greeting, &greeting).err().as_ref());
    }
    let _ = Greeting::decode_answer(&head, header);
    if let Ok(incoming) = Request::decode(&head, header) {
        let request = incoming.message().clone();
        let _ = (request.node(), request.shard(), request.answer_bytes_max());
        let bodies = incoming.pieces.iter().map(|piece| Bytes::from(vec![0; body_of(piece.bytes)])).collect();
        if let Ok(whole) = incoming.complete(bodies) {
            encoded_again(&whole);
        }
    }
    for request in asked() {
        if let Ok(incoming) = Answer::decode(&head, header, &request, 0) {
            let bodies = incoming.pieces.iter().map(|piece| Bytes::from(vec![0; body_of(piece.bytes)])).collect();
            if let Ok(answer) = incoming.complete(bodies) {
                let _ = answer.encode(VERSION, &request, 0);
            }
        }
    }
}

fn body_of(bytes: u32) -> usize {
    (bytes as usize).min(BODY_BYTES_MAX)
}

fn encoded_again(request: &Request) {
    let (outgoing, _) = request.encode(VERSION).expect("what was taken can be sent");
    let (head, header) = outgoing.frame.split_first_chunk::<HEAD_BYTES>().expect("a whole frame");
    let head = Head::decode(head, VERSION..=VERSION).expect("a head of ours");
    let again = Request::decode(&head, header).and_then(|incoming| incoming.complete(outgoing.body));
    assert_eq!(format!("{:?}", again.expect("a request of ours")), format!("{request:?}"));
}

/// Returns one request of each kind, to which a frame is decoded as an answer.
fn asked() -> [Request; 6] {
    let node = NodeId(1);
    let shard = |blob| ShardId { blob: BlobId(blob), shard: ShardNumber(0) };
    [
        Request::Append(AppendChunks { node, shard: shard(7), first: ChunkIndex(0), chunks: vec![], trace: None }),
        Request::Read(ReadChunks { node, shard: shard(7), first: ChunkIndex(0), count: 2, trace: None }),
        Request::Drop { node, shards: vec![shard(7)] },
        Request::Count { node, shards: vec![shard(7), shard(8)] },
        Request::Inventory { node, after: Some(shard(7)), limit: 2 },
        Request::Group(GroupCall { group: 1, kind: 1, body: Bytes::new() }),
    ]
}
