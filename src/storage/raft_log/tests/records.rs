//! Tests of the encodings: round trips, damage, and the bytes of version 1.

use super::{at, commands};
use crate::storage::raft_log::{
    AppliedAt, Ballot, Chain, DurableAt, LogEntry, LogRecord, Members, MirrorSet, MirrorSetFault, Payload, Position,
    RecordFault, Standing, StateChange, TablesAt,
};
use crate::storage::wal::RecordKind;
use crate::types::{HostId, NodeId};
use bytes::Bytes;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use std::collections::{BTreeMap, BTreeSet};

fn positions() -> impl Strategy<Value = Position> {
    any::<(u64, u64, u64)>().prop_map(|(term, node, index)| Position { term, node, index })
}

fn members() -> impl Strategy<Value = Members> {
    let nodes = proptest::collection::btree_map(any::<u64>(), ".{0,12}", 0..4);
    let configs = proptest::collection::vec(proptest::collection::btree_set(any::<u64>(), 0..4), 0..3);
    (configs, nodes).prop_map(|(configs, nodes)| Members { configs, nodes })
}

fn standings() -> impl Strategy<Value = Standing> {
    let ballot = any::<(u64, u64, bool)>().prop_map(|(term, node, committed)| Ballot { term, node, committed });
    (proptest::option::of(ballot), proptest::option::of(positions()), proptest::option::of(positions()))
        .prop_map(|(ballot, committed, purged)| Standing { ballot, committed, purged })
}

fn records() -> impl Strategy<Value = LogRecord> {
    let payload = prop_oneof![
        Just(Payload::Blank),
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| Payload::Commands(bytes.into())),
        members().prop_map(Payload::Members),
    ];
    let entry = (any::<u64>(), proptest::option::of(positions()), positions(), payload).prop_map(
        |(sequence, committed, at, payload)| LogRecord::Entry { sequence, committed, entry: LogEntry { at, payload } },
    );
    let change = prop_oneof![
        standings().prop_map(StateChange::Standing),
        any::<Option<u64>>().prop_map(|after| StateChange::Truncated { after }),
        (any::<Option<u64>>(), standings())
            .prop_map(|(keep_through, standing)| StateChange::Resumed { keep_through, standing }),
        standings().prop_map(StateChange::Restating),
        Just(StateChange::Restated),
    ];
    let state = (any::<u64>(), change).prop_map(|(sequence, change)| LogRecord::State { sequence, change });
    prop_oneof![entry, state]
}

proptest! {
    #[test]
    fn a_record_is_read_back_as_it_was_written(record in records()) {
        let wal = record.to_wal();
        prop_assert_eq!(LogRecord::decode(wal.kind, &wal.body), Ok(record));
    }

    #[test]
    fn a_record_cut_short_is_refused_unless_only_its_commands_are_shorter(record in records(), cut in any::<proptest::sample::Index>()) {
        let wal = record.to_wal();
        let cut = wal.body.slice(..cut.index(wal.body.len()));
        // Commands reach to the end of their record, whose length the WAL checks. Every other record is refused when
        // cut.
        let shorter = matches!(LogRecord::decode(wal.kind, &cut), Ok(LogRecord::Entry { entry, .. })
            if matches!(entry.payload, Payload::Commands(_)));
        prop_assert!(shorter || LogRecord::decode(wal.kind, &cut).is_err());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..200), entry in any::<bool>()) {
        let kind = if entry { RecordKind::RaftEntry } else { RecordKind::RaftState };
        let mut known = body.clone();
        if let Some(version) = known.first_mut() {
            *version = 1;
        }
        let _ = LogRecord::decode(kind, &Bytes::from(body.clone()));
        let _ = LogRecord::decode(kind, &Bytes::from(known));
        let _ = MirrorSet::decode(&body);
        let _ = AppliedAt::decode(&body);
        prop_assert!(true);
    }

    #[test]
    fn a_flipped_bit_in_a_mirror_file_is_noticed(generation in any::<u64>(), nodes in proptest::collection::btree_set(any::<u32>(), 1..5), bit in any::<proptest::sample::Index>()) {
        let set = MirrorSet { host: HostId(7), generation, members: nodes.into_iter().map(NodeId).collect(), formed: true, start: 0, history: Vec::new(), in_force: 2 };
        let mut bytes = set.encode();
        prop_assert_eq!(MirrorSet::decode(&bytes), Ok(set));
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(MirrorSet::decode(&bytes).is_err());
    }

    #[test]
    fn a_mirror_file_cut_anywhere_is_refused(cut in 0_usize..20) {
        let bytes = MirrorSet { host: HostId(7), generation: 3, members: BTreeSet::from([NodeId(1)]), formed: true, start: 0, history: Vec::new(), in_force: 2 }.encode();
        prop_assert!(MirrorSet::decode(&bytes[..cut.min(bytes.len() - 1)]).is_err());
    }

    #[test]
    fn an_applied_position_is_read_back_as_it_was_written(at in proptest::option::of(positions()), members in members(), members_at in proptest::option::of(positions()), chain: u128) {
        let applied = AppliedAt { at, members, members_at, chain: Chain(chain) };
        prop_assert_eq!(AppliedAt::decode(&applied.encode()), Ok(applied.clone()));
        let durable = at.map(|at| DurableAt { host: 7, at });
        let tables = TablesAt { applied, durable };
        prop_assert_eq!(TablesAt::decode(&tables.encode()), Ok(tables));
    }

    #[test]
    fn a_position_of_tables_decoded_from_any_bytes_round_trips(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), flag in 0_u8..3) {
        for (at, byte) in [1, flag].into_iter().enumerate().take(bytes.len()) {
            bytes[at] = byte;
        }
        if let Ok(tables) = TablesAt::decode(&bytes) {
            prop_assert_eq!(TablesAt::decode(&tables.encode()), Ok(tables));
        }
    }
}

#[test]
fn records_of_an_unknown_version_or_foreign_kind_are_refused_by_name() {
    for kind in [RecordKind::RaftEntry, RecordKind::RaftState] {
        assert_eq!(LogRecord::decode(kind, &Bytes::from_static(&[9; 80])), Err(RecordFault::UnknownVersion(9)));
    }
    assert_eq!(
        LogRecord::decode(RecordKind::Chunk, &Bytes::from_static(&[1])),
        Err(RecordFault::ForeignKind(RecordKind::Chunk))
    );
    assert_eq!(MirrorSet::decode(b"SHRDMIR9\0\0\0\0"), Err(MirrorSetFault::Foreign));
    assert_eq!(AppliedAt::decode(&[3, 0]), Err(RecordFault::UnknownVersion(3)));
    assert_eq!(TablesAt::decode(&[3, 0]), Err(RecordFault::UnknownVersion(3)));
}

/// Compares the encodings with bytes that are on existing drives, which never change within a version.
#[test]
fn encodings_of_the_raft_log_keep_the_bytes_of_version_1() {
    let entry = LogRecord::Entry { sequence: 5, committed: Some(at(2, 3)), entry: commands(2, 4) };
    let blank =
        LogRecord::Entry { sequence: 1, committed: None, entry: LogEntry { at: at(1, 0), payload: Payload::Blank } };
    let voters = Members { configs: vec![BTreeSet::from([7])], nodes: BTreeMap::from([(7, "h:1".to_owned())]) };
    let members = LogRecord::Entry {
        sequence: 2,
        committed: None,
        entry: LogEntry { at: at(1, 1), payload: Payload::Members(voters.clone()) },
    };
    let standing = Standing {
        ballot: Some(Ballot { term: 2, node: 7, committed: true }),
        committed: Some(at(2, 3)),
        purged: None,
    };
    let stands = LogRecord::State { sequence: 300, change: StateChange::Standing(standing) };
    let truncated = LogRecord::State { sequence: 6, change: StateChange::Truncated { after: Some(9) } };
    let resumed = LogRecord::State { sequence: 7, change: StateChange::Resumed { keep_through: None, standing } };
    let written: Vec<String> = [entry, blank, members, stands, truncated, resumed]
        .iter()
        .map(|record| hex_simd::encode_to_string(record.to_wal().body, hex_simd::AsciiCase::Lower))
        .chain([
            hex_simd::encode_to_string(
                MirrorSet {
                    host: HostId(7),
                    generation: 4,
                    members: BTreeSet::from([NodeId(1), NodeId(3)]),
                    formed: true,
                    start: 5,
                    history: vec![7],
                    in_force: 3,
                }
                .encode(),
                hex_simd::AsciiCase::Lower,
            ),
            hex_simd::encode_to_string(applied_at_four(voters).encode(), hex_simd::AsciiCase::Lower),
        ])
        .chain([StateChange::Restating(standing), StateChange::Restated].map(|change| {
            let record = LogRecord::State { sequence: 8, change };
            hex_simd::encode_to_string(record.to_wal().body, hex_simd::AsciiCase::Lower)
        }))
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/raft_log/version_1.hex");
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        std::fs::write(path, written.join("\n") + "\n").expect("fixtures can be written");
    }
    let fixture = std::fs::read_to_string(path).expect("a fixture");
    assert_eq!(written, fixture.lines().collect::<Vec<_>>());
}

fn applied_at_four(members: Members) -> AppliedAt {
    AppliedAt { at: Some(at(2, 4)), members, members_at: Some(at(1, 1)), chain: Chain(7) }
}

#[test]
fn a_learner_is_no_other_voter() {
    let nodes = BTreeMap::from([(7, "h:1".to_owned()), (8, "i:1".to_owned())]);
    let of = |configs: &[&[u64]]| {
        let configs = configs.iter().map(|voters| voters.iter().copied().collect()).collect();
        Members { configs, nodes: nodes.clone() }
    };
    assert!(!of(&[&[7]]).has_other_voter(7), "host 8 only learns");
    assert!(of(&[&[7]]).has_other_voter(8));
    assert!(of(&[&[7], &[7, 8]]).has_other_voter(7));
    assert!(!of(&[]).has_other_voter(7));
}
