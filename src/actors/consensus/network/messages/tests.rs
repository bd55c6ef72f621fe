//! Golden bytes, round trips and refusals.

use super::{
    Append, Appended, AskVote, Compare, Compared, EntryContent, EntryHead, Forward, ForwardOutcome, Forwarded,
    InstallSnapshot, Installing, Kind, MessageFault, PieceTaken, ReadAt, ReadIndex, ReplicaState, SnapshotPiece, Steer,
    Steered, Transfer, Transferred, Voted, decode, decode_append, decode_plain, encode, encode_append, encode_plain,
};
use crate::actors::consensus::shared::{DigestAt, DurableState};
use crate::limits::ENTRY_BYTES_MAX;
use crate::storage::meta::command::{Origin, Refusal, Reply};
use crate::storage::meta::snapshot::TablesDigest;
use crate::storage::raft_log::{Ballot, Chain, Members, Point, Position};
use bytes::Bytes;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;

const BALLOT: Ballot = Ballot { term: 300, node: 2, committed: true };
const AT: Position = Position { term: 299, node: 3, index: 70_000 };

/// Returns the stored bytes of a message of version 1. With `WRITE_FIXTURES` set, `bytes` is stored first: look at the
/// difference.
fn golden(name: &str, bytes: &[u8]) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/group").join(format!("{name}.v1.hex"));
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("fixtures can be written");
        std::fs::write(&path, hex_simd::encode_to_string(bytes, hex_simd::AsciiCase::Lower) + "\n")
            .expect("fixtures can be written");
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    hex_simd::decode_to_vec(text.trim()).expect("a fixture is hex").into()
}

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, message: &T) {
    let stored = golden(name, &encode_plain(message));
    assert_eq!(decode_plain::<T>(&stored).as_ref(), Ok(message), "{name}: version 1 is no longer decoded");
    assert_eq!(encode_plain(message), stored, "{name}: the encoding is no longer that of version 1");
    for end in 0..stored.len() {
        assert!(decode_plain::<T>(&stored.slice(..end)).is_err(), "{name}: a truncated message was decoded");
    }
    let longer = Bytes::from([&stored[..], &[0]].concat());
    assert!(decode_plain::<T>(&longer).is_err(), "{name}: a message with a byte after it was decoded");
    let other = Bytes::from([&[9], &stored[1..]].concat());
    assert_eq!(decode_plain::<T>(&other), Err(MessageFault::UnknownVersion(9)), "{name}");
}

#[test]
fn messages_of_version_1_are_read_and_written_as_they_were() {
    check("append_all", &Appended::All);
    check("append_through", &Appended::Through(Some(AT)));
    check("append_conflict", &Appended::Conflict);
    check("append_higher_vote", &Appended::HigherVote(BALLOT));
    check("ask_vote", &AskVote { ballot: BALLOT, last: Some(AT), transfer: true });
    check("voted", &Voted { ballot: BALLOT, granted: true, last: None });
    check("transfer", &Transfer { ballot: BALLOT, to: 3, last: Some(AT) });
    check("transfer_accepted", &Transferred::Accepted);
    check("transfer_vote_changed", &Transferred::VoteChanged { expected: BALLOT, actual: BALLOT });
    check("transfer_not_flushed", &Transferred::NotFlushed { expected: Some(AT), actual: None });
    check("piece_next", &PieceTaken::Next(1 << 20));
    check("piece_higher_vote", &PieceTaken::HigherVote(BALLOT));
    check("install", &InstallSnapshot { ballot: BALLOT, transfer: u128::MAX });
    check("install_busy", &Installing::Busy);
    check("install_done", &Installing::Done(BALLOT));
    check("install_failed", &Installing::Failed("a checksum differs".to_owned()));
    let decided = ForwardOutcome::Decided(Reply::Refused(Refusal::PreconditionFailed));
    check("forward_decided", &Forwarded { applied: 9, outcome: decided });
    check("forward_not_leader", &Forwarded { applied: 9, outcome: ForwardOutcome::NotLeader(Some(3)) });
    check("forward_refused", &Forwarded { applied: 9, outcome: ForwardOutcome::Refused("stopping".to_owned()) });
    check("forward_unknown", &Forwarded { applied: 9, outcome: ForwardOutcome::Unknown });
    check("read_index", &ReadIndex {});
    check("read_at", &ReadAt::Index(70_000));
    check("read_not_leader", &ReadAt::NotLeader(None));
    let had = DurableState { ballot: Some(BALLOT), entry: Some(AT) };
    let point = Some(Point { at: AT, chain: Chain(u128::MAX) });
    let digest = point.map(|point| DigestAt { point, digest: TablesDigest(300) });
    let replica = ReplicaState { had, applied: point, digest };
    check("compare", &Compare { host: 2, replica });
    let nothing = ReplicaState { had: DurableState::default(), applied: None, digest: None };
    check("compared", &Compared { replica, point, remembered: Some(had) });
    check("compared_nothing", &Compared { replica: nothing, point: None, remembered: None });
    check("steer_add", &Steer::AddLearner { host: 4, address: "host-4:9100".to_owned() });
    check("steer_voters", &Steer::ChangeVoters { voters: BTreeSet::from([1, 2, 4]) });
    check("steer_remove", &Steer::Remove { host: 3 });
    check("steer_transfer", &Steer::TransferLeadership { to: 2 });
    check("steered_done", &Steered::Done);
    check("steered_not_leader", &Steered::NotLeader(Some(1)));
    check("steered_refused", &Steered::Refused("not a voter".to_owned()));
}

#[test]
fn messages_with_a_tail_keep_their_bytes_in_version_1() {
    let forward = Forward { origin: Origin { since: 70_000, id: u128::MAX - 1 } };
    let stored = golden("forward", &encode(&forward, &[b"a command"]));
    assert_eq!(decode::<Forward>(&stored), Ok((forward, Bytes::from_static(b"a command"))));
    assert_eq!(encode(&forward, &[b"a command"]), stored);
    let piece = SnapshotPiece { ballot: BALLOT, transfer: 7, total_bytes: 1 << 40, offset: 1 << 20 };
    let stored = golden("piece", &encode(&piece, &[b"bytes"]));
    assert_eq!(decode::<SnapshotPiece>(&stored), Ok((piece, Bytes::from_static(b"bytes"))));
    assert_eq!(encode(&piece, &[b"bytes"]), stored);
}

fn position(index: u64) -> Position {
    Position { index, ..AT }
}

fn append(entries: Vec<EntryHead>) -> Append {
    Append { ballot: BALLOT, previous: Some(AT), committed: Some(AT), entries }
}

fn every_kind_of_entry() -> Append {
    let members = Members {
        configs: vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])],
        nodes: BTreeMap::from([(1, "a:1".to_owned()), (2, "b:1".to_owned()), (3, String::new())]),
    };
    append(vec![
        EntryHead { at: position(70_001), content: EntryContent::Blank },
        EntryHead { at: position(70_002), content: EntryContent::Commands { bytes: 5 } },
        EntryHead { at: position(70_003), content: EntryContent::Members(members) },
        EntryHead { at: position(70_004), content: EntryContent::Commands { bytes: 0 } },
        EntryHead { at: position(70_005), content: EntryContent::Commands { bytes: 3 } },
    ])
}

#[test]
fn an_append_carries_encoded_commands_without_copying_them_c3() {
    let head = every_kind_of_entry();
    let stored = golden("append", &encode(&head, &[b"first", b"two"]));
    let decoded = decode_append(&stored).expect("version 1 is read");
    assert_eq!(decoded.entries.len(), 5);
    assert_eq!(encode_append(decoded), stored);
    for end in 0..stored.len() {
        assert!(decode_append(&stored.slice(..end)).is_err(), "a truncated append was decoded");
    }
    let commands = stored.slice(stored.len() - 8..);
    let again = decode_append(&stored).expect("version 1 is read");
    let openraft::EntryPayload::Normal(first) = &again.entries[1].payload else { panic!("commands") };
    assert_eq!(first.0.as_ptr(), commands.as_ptr(), "the commands were copied");
}

#[test]
fn an_append_whose_entries_the_log_cannot_store_is_refused() {
    let blank = |index| EntryHead { at: position(index), content: EntryContent::Blank };
    let refuse = |head: &Append, tail: &[u8]| assert!(decode_append(&encode(head, &[tail])).is_err(), "{head:?}");
    refuse(&append(vec![blank(70_002)]), b"");
    refuse(&append(vec![blank(70_001), blank(70_003)]), b"");
    refuse(&append(vec![blank(70_001), blank(70_001)]), b"");
    refuse(&Append { previous: None, ..append(vec![blank(1)]) }, b"");
    refuse(&append(vec![blank(70_001)]), b"more");
    let commands = EntryContent::Commands { bytes: u32::MAX };
    refuse(&append(vec![EntryHead { at: position(70_001), content: commands }]), b"less");
    refuse(&Append { ballot: Ballot { committed: false, ..BALLOT }, ..append(Vec::new()) }, b"");
    let last = Position { index: u64::MAX, ..AT };
    refuse(&Append { previous: Some(last), ..append(vec![blank(0)]) }, b"");
    let unknown_voter = Members { configs: vec![BTreeSet::from([1])], nodes: BTreeMap::new() };
    refuse(&append(vec![EntryHead { at: position(70_001), content: EntryContent::Members(unknown_voter) }]), b"");
    assert!(decode_append(&encode_plain(&append(Vec::new()))).is_ok(), "a heartbeat");
    for (bytes, fits) in [(ENTRY_BYTES_MAX, true), (ENTRY_BYTES_MAX + 1, false)] {
        let content = EntryContent::Commands { bytes: bytes as u32 };
        let head = append(vec![EntryHead { at: position(70_001), content }]);
        assert_eq!(decode_append(&encode(&head, &[&vec![0; bytes]])).is_ok(), fits, "an entry of {bytes} bytes");
    }
}

#[test]
fn only_the_bytes_of_message_kinds_decode_and_each_to_its_own_kind() {
    for byte in 0..=u8::MAX {
        assert_eq!(Kind::from_byte(byte).map(|kind| kind as u8), (1..=10).contains(&byte).then_some(byte));
    }
}

fn decode_all(bytes: &Bytes) {
    let _ = decode_append(bytes);
    let _ = decode_plain::<Appended>(bytes);
    let _ = decode_plain::<AskVote>(bytes);
    let _ = decode_plain::<Voted>(bytes);
    let _ = decode_plain::<Transfer>(bytes);
    let _ = decode_plain::<Transferred>(bytes);
    let _ = decode::<SnapshotPiece>(bytes);
    let _ = decode_plain::<PieceTaken>(bytes);
    let _ = decode_plain::<InstallSnapshot>(bytes);
    let _ = decode_plain::<Installing>(bytes);
    let _ = decode::<Forward>(bytes);
    let _ = decode_plain::<Forwarded>(bytes);
    let _ = decode_plain::<ReadIndex>(bytes);
    let _ = decode_plain::<ReadAt>(bytes);
    let _ = decode_plain::<Steer>(bytes);
    let _ = decode_plain::<Steered>(bytes);
}

proptest! {
    #[test]
    fn decoding_arbitrary_bytes_never_panics(mut bytes: Vec<u8>, framed: bool) {
        if framed && bytes.len() >= 5 {
            bytes[0] = 1;
            let head = (bytes.len() - 5) as u32;
            bytes[1..5].copy_from_slice(&head.to_le_bytes());
        }
        decode_all(&bytes.into());
    }

    #[test]
    fn an_append_with_a_flipped_bit_never_panics(bit in any::<proptest::sample::Index>()) {
        let mut bytes = encode(&every_kind_of_entry(), &[b"first", b"two"]).to_vec();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        decode_all(&bytes.into());
    }

    #[test]
    fn a_forwarded_command_round_trips(since: u64, id: u128, command: Vec<u8>) {
        let forward = Forward { origin: Origin { since, id } };
        let bytes = encode(&forward, &[&command]);
        let (head, tail): (Forward, Bytes) = decode(&bytes).expect("it was just encoded");
        prop_assert_eq!(head, forward);
        prop_assert!(tail == command);
    }
}
