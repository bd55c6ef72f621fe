//! Tests of the messages about membership: their stored bytes stay valid, and other bytes are refused.

use super::messages::{
    FoundingAnswer, FoundingAsk, JoinAnswer, JoinAsk, JoinAskWithRoles, Kind, NodeStatus, RejoinAsk, RemovalAnswer,
    RemovalAsk, StatusAnswer, StatusAsk,
};
use crate::actors::consensus::ClockReport;
use crate::actors::drives::health::{Contents, ReplicaState, SpaceLevel};
use crate::net::{decode_body, encode_body};
use crate::storage::identity::Founder;
use crate::types::{ClusterId, HostId, NodeId, RecoveryEpoch, Roles, UnixMs};
use proptest::prelude::{any, proptest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;

fn founder() -> Founder {
    Founder {
        name: "a".to_owned(),
        host: HostId(0x0102_0304_0506_0708),
        address: "10.0.0.1:9100".to_owned(),
        drives: 4,
        geometry: Some((4, 2)),
        root_key: Some("0011223344556677".to_owned()),
    }
}

fn hosts() -> BTreeMap<String, String> {
    [("a", "10.0.0.1:9100"), ("b", "10.0.0.2:9100")].map(|(name, at)| (name.to_owned(), at.to_owned())).into()
}

/// Checks a message against its stored bytes of version 1. With `WRITE_FIXTURES` set, its bytes are stored first: look
/// at the difference.
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, message: &T) {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/membership").join(format!("{name}.v1.hex"));
    let bytes = encode_body(message);
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("fixtures can be written");
        let hex = hex_simd::encode_to_string(&bytes, hex_simd::AsciiCase::Lower) + "\n";
        std::fs::write(&path, hex).expect("fixtures can be written");
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let stored = hex_simd::decode_to_vec(text.trim()).expect("a fixture is hex");
    assert_eq!(bytes, stored, "{name}: the encoding is no longer that of version 1");
    assert_eq!(&decode_body::<T>(&stored).expect(name), message, "{name}: version 1 is no longer decoded");
    for end in 0..stored.len() {
        assert!(decode_body::<T>(&stored[..end]).is_err(), "{name}: a truncated message was decoded");
    }
    assert!(
        decode_body::<T>(&[&stored[..], &[0]].concat()).is_err(),
        "{name}: a message with a byte after it was decoded"
    );
}

#[test]
fn messages_of_version_1_are_read_and_written_as_they_were() {
    golden("founding_ask", &FoundingAsk { own: founder() });
    golden("founding_gathering", &FoundingAnswer::Gathering { own: founder(), hosts: hosts(), sees: vec![founder()] });
    golden("founding_agreed", &FoundingAnswer::Agreed(vec![founder()]));
    golden("founding_formed", &FoundingAnswer::Formed(ClusterId(7)));
    let ask = JoinAsk { own: founder(), domain: Some("rack 1".to_owned()) };
    golden("join_ask", &ask);
    let roles = Roles { gateway: true, ..Roles::NONE };
    golden("join_ask_with_roles", &JoinAskWithRoles { ask: ask.clone(), roles });
    golden("rejoin_ask", &RejoinAsk { ask, roles, was: vec![HostId(300)] });
    golden("removal_ask", &RemovalAsk { host: HostId(300), name: "a".to_owned() });
    let namesake = Some((HostId(301), "10.0.0.1:9100".to_owned()));
    golden("removal_answer", &RemovalAnswer { removed: true, namesake });
    let hosts = vec![(HostId(5), "10.0.0.5:9100".to_owned())];
    let (cluster, first_node) = (ClusterId(7), NodeId(192));
    let recovery = RecoveryEpoch { number: 1, id: 300, former: [0; 8] };
    golden("join_welcome", &JoinAnswer::Welcome { cluster, first_node, data: 4, parity: 2, hosts, recovery });
    golden("join_refused", &JoinAnswer::Refused("a host of this name is running".to_owned()));
    golden("join_not_now", &JoinAnswer::NotNow("there is no leader".to_owned()));
    let node = NodeStatus {
        node: NodeId(65),
        out_of_service: Some("sync failed".to_owned()),
        unwritable: Some("read-only".to_owned()),
        free_bytes: 1 << 40,
        total_bytes: 2 << 40,
        file_system: 300,
        level: SpaceLevel::Low,
        contents: Contents::Empty,
        compared_at: 300,
        dir: "/data/1".to_owned(),
    };
    let (version, started) = ("1.2.3".to_owned(), UnixMs(1_700_000_000_000));
    let why = Some("no copy of the log is left".to_owned());
    let replica = ReplicaState { copies: 1, copies_wanted: 2, applied: 300, is_stuck: false, out_of_service: why };
    let clock = ClockReport {
        wall: UnixMs(1_700_000_000_000),
        followed_wall: UnixMs(1_600_000_000_000),
        confirmed: Some(UnixMs(300)),
        era: 300,
        gapless: true,
        wall_untouched: false,
    };
    let hears = BTreeSet::from([HostId(300), HostId(7)]);
    let nodes = vec![node];
    golden("status_answer", &StatusAnswer { nodes, clock, replica, stopping: true, version, started, hears });
    assert!(encode_body(&StatusAsk {}).is_empty());
}

#[test]
fn membership_message_kinds_keep_their_numbers() {
    let kinds = [Kind::Founding, Kind::Join, Kind::JoinWithRoles, Kind::Status, Kind::Rejoin, Kind::Removal];
    assert_eq!(kinds.map(|kind| kind as u8), [1, 2, 4, 9, 6, 7]);
    assert_eq!((0..=255).filter_map(Kind::from_byte).count(), 6);
}

proptest! {
    #[test]
    fn decoding_any_bytes_as_a_membership_message_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_body::<FoundingAsk>(&bytes);
        let _ = decode_body::<FoundingAnswer>(&bytes);
        let _ = decode_body::<JoinAsk>(&bytes);
        let _ = decode_body::<JoinAskWithRoles>(&bytes);
        let _ = decode_body::<RejoinAsk>(&bytes);
        let _ = decode_body::<RemovalAsk>(&bytes);
        let _ = decode_body::<RemovalAnswer>(&bytes);
        let _ = decode_body::<JoinAnswer>(&bytes);
        let _ = decode_body::<StatusAnswer>(&bytes);
    }
}
