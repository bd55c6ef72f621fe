//! Tests of the protocol: messages encoded and decoded, arbitrary bytes decoded, and the golden bytes of version 1.

use super::{Answer, Request};
use crate::limits::NET_SHARDS_MAX;
use crate::net::frame::{FrameError, FrameKind, HEAD_BYTES, Head, VersionRange, WireVersion, encode};
use crate::net::greeting::{Greeting, Refusal};
use crate::net::service::{AppendChunks, ChunkFault, ChunksRead, GroupCall, InventoryPage, PeerError, ReadChunks};
use crate::traces::{SpanId, TraceContext, TraceId};
use crate::types::{BlobId, ChunkIndex, ClusterId, HostId, NodeId, RecoveryEpoch, ShardId, ShardNumber};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

const V1: WireVersion = WireVersion(1);

/// Returns the bytes of a message as a peer receives them.
fn flat(message: &super::Outgoing) -> Vec<u8> {
    message.body.iter().fold(message.frame.to_vec(), |bytes, part| [bytes.as_slice(), part].concat())
}

fn split(bytes: &[u8]) -> Result<(Head, &[u8], &[u8]), FrameError> {
    let short = FrameError::Header(FrameKind::Failed, "short");
    let head = bytes.first_chunk::<HEAD_BYTES>().ok_or(short.clone())?;
    let head = Head::decode(head, V1..=V1)?;
    let header = bytes[HEAD_BYTES..].get(..head.header_bytes).ok_or(short.clone())?;
    head.check_header(header)?;
    let body = bytes[HEAD_BYTES + head.header_bytes..].get(..head.body_bytes).ok_or(short)?;
    Ok((head, header, body))
}

fn pieces(mut body: &[u8], pieces: &[super::Piece]) -> Vec<Bytes> {
    let piece = |piece: &super::Piece| {
        let (taken, rest) = body.split_at(piece.bytes as usize);
        body = rest;
        Bytes::copy_from_slice(taken)
    };
    pieces.iter().map(piece).collect()
}

fn decode_request(bytes: &[u8]) -> Result<Request, FrameError> {
    let (head, header, body) = split(bytes)?;
    let incoming = Request::decode(&head, header)?;
    let bodies = pieces(body, &incoming.pieces);
    incoming.complete(bodies)
}

fn decode_answer(bytes: &[u8], request: &Request, asked: u32) -> Result<Answer, FrameError> {
    let (head, header, body) = split(bytes)?;
    let incoming = Answer::decode(&head, header, request, asked)?;
    let bodies = pieces(body, &incoming.pieces);
    incoming.complete(bodies)
}

fn shard(blob: u128, shard: u8) -> ShardId {
    ShardId { blob: BlobId(blob), shard: ShardNumber(shard) }
}

/// A request with its answers, each with a name.
type Conversation = (&'static str, Request, Vec<(&'static str, Answer)>);

/// One request of each kind with its answers.
fn conversations() -> Vec<Conversation> {
    let node = NodeId(9);
    let of = shard(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10, 5);
    let chunks = vec![Bytes::from_static(b"one chunk"), Bytes::from_static(b"another")];
    let read = vec![Ok(chunks[0].clone()), Err(ChunkFault::Missing), Err(ChunkFault::Corrupt), Ok(chunks[1].clone())];
    let trace = Some(TraceContext { trace: TraceId(0x4bf9_2f35_77b3_4da6), span: SpanId(0x00f0_67aa_0ba9_02b7) });
    let page = InventoryPage { shards: vec![(shard(7, 0), 3), (shard(7, 1), 1)], more: true };
    let failures = vec![
        ("failed_no_such_node", Answer::Failed(PeerError::NoSuchNode(node))),
        ("failed_unavailable", Answer::Failed(PeerError::Unavailable { node, why: "pulled".to_owned() })),
        ("failed_out_of_space", Answer::Failed(PeerError::OutOfSpace(node))),
        ("failed_timed_out", Answer::Failed(PeerError::TimedOut(node))),
        ("failed_refused", Answer::Failed(PeerError::Refused { why: "busy".to_owned() })),
    ];
    vec![
        (
            "append",
            Request::Append(AppendChunks {
                node,
                shard: of,
                first: ChunkIndex(300),
                chunks: chunks.clone(),
                trace: None,
            }),
            vec![("appended", Answer::Appended)],
        ),
        (
            "read",
            Request::Read(ReadChunks { node, shard: of, first: ChunkIndex(1), count: 4, trace: None }),
            vec![("read_answer", Answer::Read(ChunksRead { chunks: read }))],
        ),
        ("drop", Request::Drop { node, shards: vec![of, shard(1, 0)] }, vec![("dropped", Answer::Dropped)]),
        (
            "count",
            Request::Count { node, shards: vec![of, shard(1, 0)] },
            vec![("counted", Answer::Counted(vec![4, 0]))],
        ),
        (
            "inventory",
            Request::Inventory { node, after: Some(of_first()), limit: 2 },
            vec![("inventory_answer", Answer::Inventory(page))],
        ),
        (
            "append_traced",
            Request::Append(AppendChunks { node, shard: of, first: ChunkIndex(301), chunks: chunks.clone(), trace }),
            vec![],
        ),
        ("read_traced", Request::Read(ReadChunks { node, shard: of, first: ChunkIndex(5), count: 1, trace }), vec![]),
        (
            "group",
            Request::Group(GroupCall { group: 2, kind: 7, body: Bytes::from_static(b"vote") }),
            vec![("group_answer", Answer::Group(Bytes::from_static(b"granted")))],
        ),
        ("count_of_none", Request::Count { node, shards: vec![] }, failures),
    ]
}

fn of_first() -> ShardId {
    shard(6, 200)
}

#[test]
fn every_message_is_decoded_as_it_was_encoded() {
    for (name, request, answers) in conversations() {
        let (message, asked) = request.encode(V1).expect("within bounds");
        let back = decode_request(&flat(&message)).expect("whole");
        assert_eq!(format!("{back:?}"), format!("{request:?}"), "{name}");
        for (name, answer) in answers {
            let bytes = flat(&answer.encode(V1, &request, asked));
            let back = decode_answer(&bytes, &request, asked).expect("whole");
            assert_eq!(format!("{back:?}"), format!("{answer:?}"), "{name}");
            assert!(matches!(decode_answer(&bytes, &request, asked ^ 1), Err(FrameError::OtherAnswer(_))), "{name}");
        }
    }
}

/// N8: every prefix and every flipped bit is an error.
#[test]
fn n8_truncated_and_corrupt_messages_are_refused() {
    for (name, request, answers) in conversations() {
        let (message, asked) = request.encode(V1).expect("within bounds");
        let mut all = vec![(name, flat(&message), None)];
        all.extend(answers.iter().map(|(name, answer)| (*name, flat(&answer.encode(V1, &request, asked)), Some(()))));
        for (name, bytes, is_answer) in all {
            let fails = |bytes: &[u8]| match is_answer {
                None => decode_request(bytes).is_err(),
                Some(()) => decode_answer(bytes, &request, asked).is_err(),
            };
            for end in 0..bytes.len() {
                assert!(fails(&bytes[..end]), "{name} cut at {end}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut bent = bytes.clone();
                bent[bit / 8] ^= 1 << (bit % 8);
                assert!(fails(&bent), "{name} bent at bit {bit}");
            }
        }
    }
}

#[test]
fn an_answer_to_one_request_is_refused_for_another() {
    for (name, request, answers) in conversations() {
        let (_, asked) = request.encode(V1).expect("within bounds");
        for (other_name, other, _) in conversations().iter().filter(|(other, _, _)| *other != name) {
            for (_, answer) in answers.iter().filter(|(_, answer)| !matches!(answer, Answer::Failed(_))) {
                let bytes = flat(&answer.encode(V1, &request, asked));
                // Refused even though it repeats the right checksum.
                assert!(decode_answer(&bytes, other, asked).is_err(), "{name} for {other_name}");
            }
        }
    }
}

/// A wrong answer of the host's own service becomes a failure, not a frame that the peer would refuse.
#[test]
fn an_answer_that_does_not_fit_its_request_becomes_a_failure() {
    let node = NodeId(1);
    let wrong: Vec<(Request, Answer)> = vec![
        (
            Request::Read(ReadChunks { node, shard: shard(1, 1), first: ChunkIndex(0), count: 2, trace: None }),
            Answer::Read(ChunksRead { chunks: vec![Err(ChunkFault::Missing)] }),
        ),
        (Request::Count { node, shards: vec![shard(1, 1)] }, Answer::Counted(vec![])),
        (
            Request::Inventory { node, after: None, limit: 0 },
            Answer::Inventory(InventoryPage { shards: vec![(shard(1, 1), 1)], more: false }),
        ),
        (Request::Drop { node, shards: vec![] }, Answer::Appended),
    ];
    for (request, answer) in wrong {
        let bytes = flat(&answer.encode(V1, &request, 5));
        let back = decode_answer(&bytes, &request, 5).expect("a failure");
        assert!(matches!(back, Answer::Failed(PeerError::Refused { .. })), "{back:?}");
    }
}

#[test]
fn an_inventory_page_that_goes_back_or_never_ends_is_refused() {
    let node = NodeId(1);
    let request = Request::Inventory { node, after: Some(shard(5, 0)), limit: 10 };
    for (shards, more) in
        [(vec![(shard(5, 0), 1)], false), (vec![(shard(7, 0), 1), (shard(6, 0), 1)], false), (vec![], true)]
    {
        let bytes = flat(&Answer::Inventory(InventoryPage { shards, more }).encode(V1, &request, 5));
        assert!(matches!(decode_answer(&bytes, &request, 5), Err(FrameError::OtherAnswer(_))));
    }
}

#[test]
fn the_longest_lists_fit_into_a_header() {
    let node = NodeId(u32::MAX);
    let shards: Vec<ShardId> = (0..NET_SHARDS_MAX as u128).map(|at| shard(u128::MAX - 5000 + at, 255)).collect();
    let request = Request::Count { node, shards: shards.clone() };
    assert!(decode_request(&flat(&request.encode(V1).expect("within bounds").0)).is_ok());
    let request = Request::Inventory { node, after: None, limit: NET_SHARDS_MAX as u32 };
    let page = InventoryPage { shards: shards.into_iter().map(|shard| (shard, u32::MAX)).collect(), more: false };
    let bytes = flat(&Answer::Inventory(page).encode(V1, &request, u32::MAX));
    assert!(matches!(decode_answer(&bytes, &request, u32::MAX), Ok(Answer::Inventory(_))));
}

/// N8: the version is checked before anything else in a frame.
#[test]
fn n8_a_frame_of_another_version_is_refused_by_number() {
    let bytes = encode(WireVersion(9), FrameKind::Read, b"whatever", 0);
    let refused = Head::decode(bytes.first_chunk().expect("whole"), V1..=V1);
    assert_eq!(refused, Err(FrameError::Version { found: 9, spoken: "1 to 1".to_owned() }));
}

#[test]
fn a_greeting_ignores_fields_that_a_later_version_appends() {
    let greeting = Greeting {
        versions: VersionRange::SPOKEN,
        cluster: Some(ClusterId(5)),
        host: HostId(6),
        sought: None,
        recovery: RecoveryEpoch::default(),
    };
    let bytes = greeting.encode();
    let longer = [&bytes[HEAD_BYTES..], b"a field of later"].concat();
    let frame = encode(V1, FrameKind::Hello, &longer, 0);
    let (head, header, _) = split(&frame).expect("whole");
    assert_eq!(Greeting::decode(&head, header).expect("understood"), greeting);
}

fn greetings() -> Vec<(&'static str, Vec<u8>)> {
    let greeting = Greeting {
        versions: VersionRange { oldest: V1, newest: WireVersion(2) },
        cluster: Some(ClusterId(0x1122)),
        host: HostId(0xAB),
        sought: Some(HostId(0xCD)),
        recovery: RecoveryEpoch { number: 1, id: 0x3344, former: [0; 8] },
    };
    let refusal = Refusal::Host { sought: HostId(0xCD), found: HostId(0xAB) };
    vec![
        ("hello", greeting.encode()),
        ("hello_answer", greeting.encode_answer(None)),
        ("hello_refusal", greeting.encode_answer(Some(&refusal))),
    ]
}

/// The fixture has the bytes that hosts of version 1 send, in hex. A change of them needs a new version. With
/// `WRITE_FIXTURES` set, the fixture is rewritten; the difference must then be reviewed.
#[test]
fn the_bytes_of_wire_version_1_do_not_change() {
    let mut now: Vec<(&str, Vec<u8>)> = greetings();
    for (name, request, answers) in conversations() {
        let (message, asked) = request.encode(V1).expect("within bounds");
        now.push((name, flat(&message)));
        now.extend(answers.iter().map(|(name, answer)| (*name, flat(&answer.encode(V1, &request, asked)))));
    }
    now.push(("working", encode(V1, FrameKind::Working, &[], 0)));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let now: String = now.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/net/version_1.hex");
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        std::fs::write(path, &now).expect("the fixture is written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("there is a fixture"), now);
}

fn any_request() -> impl Strategy<Value = Request> {
    let any_shard = || (any::<u128>(), any::<u8>()).prop_map(|(blob, index)| shard(blob, index));
    let any_trace = || {
        let context = |(trace, span)| TraceContext { trace: TraceId(trace), span: SpanId(span) };
        proptest::option::of((any::<u128>(), any::<u64>()).prop_map(context))
    };
    let any_node = || any::<u32>().prop_map(NodeId);
    let body = || vec(any::<u8>(), 0..64).prop_map(Bytes::from);
    prop_oneof![
        (any_node(), any_shard(), any::<u32>(), vec(body(), 0..9), any_trace()).prop_map(
            |(node, shard, first, chunks, trace)| {
                Request::Append(AppendChunks { node, shard, first: ChunkIndex(first), chunks, trace })
            }
        ),
        (any_node(), any_shard(), 0..u32::MAX - 64, 0..=64u32, any_trace()).prop_map(
            |(node, shard, first, count, trace)| {
                Request::Read(ReadChunks { node, shard, first: ChunkIndex(first), count, trace })
            }
        ),
        (any_node(), vec(any_shard(), 0..40)).prop_map(|(node, shards)| Request::Drop { node, shards }),
        (any_node(), vec(any_shard(), 0..40)).prop_map(|(node, shards)| Request::Count { node, shards }),
        (any_node(), proptest::option::of(any_shard()), 0..=NET_SHARDS_MAX as u32)
            .prop_map(|(node, after, limit)| Request::Inventory { node, after, limit }),
        (any::<u32>(), any::<u8>(), body()).prop_map(|(group, kind, body)| Request::Group(GroupCall {
            group,
            kind,
            body
        })),
    ]
}

fn any_kind() -> impl Strategy<Value = FrameKind> {
    proptest::sample::select(FrameKind::ALL.to_vec())
}

proptest! {
    #[test]
    fn any_request_is_decoded_as_it_was_encoded(request in any_request()) {
        let (message, _) = request.encode(V1).expect("within bounds");
        let back = decode_request(&flat(&message)).expect("whole");
        assert_eq!(format!("{back:?}"), format!("{request:?}"));
    }

    /// N8: bytes of a peer never cause a panic.
    #[test]
    fn n8_arbitrary_bytes_are_refused_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        assert!(decode_request(&bytes).is_err());
    }

    /// N8: no header after a valid head causes a panic.
    #[test]
    fn n8_an_arbitrary_header_never_causes_a_panic(
        kind in any_kind(),
        header in vec(any::<u8>(), 0..300),
        request in any_request(),
        asked in prop_oneof![Just(0u32), any::<u32>()],
    ) {
        if kind == FrameKind::Working {
            return Ok(());
        }
        let frame = encode(V1, kind, &header, 0);
        let (head, header, _) = split(&frame).expect("whole");
        let _ = Request::decode(&head, header);
        let _ = Answer::decode(&head, header, &request, asked);
        let _ = Greeting::decode(&head, header);
        let _ = Greeting::decode_answer(&head, header);
    }
}
