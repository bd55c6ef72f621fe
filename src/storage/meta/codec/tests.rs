//! Tests of the encodings: fixtures, round trips and refusals.

use super::{
    CodecError, Record, decode, decode_command, decode_entry, encode, encode_command, encode_entry, encode_forwarded,
    from_postcard,
};
use crate::storage::meta::command::{
    Adopting, Adoption, Change, ChangeTraits, Command, CreateUpload, DeleteConditions, DeleteEvents, DeleteVersion,
    ETagCondition, FinishedRepair, LogTime, MovedShard, Origin, PutObject, PutPart, TraitsChange, VersionRank,
    WriteConditions,
};
use crate::storage::meta::record::{
    BlobRef, Body, BucketDocument, BucketRow, Checksum, ChecksumAlgorithm, ChecksumKind, Counts, DocumentKey,
    DocumentRow, DocumentWrite, ETag, EventRow, Expect, FenceRecord, GarbageRow, HeldRecord, HostRecord, IdentityKind,
    LayoutRecord, Manifest, NodeRecord, NodeState, NullVersionRow, ObjectHeaders, ObjectVersion, OwnerRow, PartRow,
    RecoveryRecord, RegisteredRecord, RemovedRecord, RepairRow, RolesRecord, SharedRow, UploadRow, Usage, VersionRow,
    Versioning,
};
use crate::storage::meta::samples;
use crate::types::{
    BlobId, BucketId, Epoch, Geometry, HostId, Incarnation, ManifestId, NodeId, RecoveryEpoch, Roles, ShardId,
    ShardNumber, UnixMs, UploadId,
};
use bytes::Bytes;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use std::fmt::Debug;
use std::path::PathBuf;

/// Returns the bytes of a fixture, which version 1 wrote. With `WRITE_FIXTURES` set, writes the fixture anew first; the
/// difference must then be reviewed.
fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/meta").join(format!("{name}.v1.hex"));
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("fixtures can be written");
        std::fs::write(&path, hex_simd::encode_to_string(bytes, hex_simd::AsciiCase::Lower) + "\n")
            .expect("fixtures can be written");
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    hex_simd::decode_to_vec(text.trim()).expect("a fixture is hex")
}

fn check_record<R: Record + PartialEq + Debug>(name: &str, record: &R) {
    let stored = golden(name, &encode(record));
    assert_eq!(decode::<R>(&stored).as_ref(), Ok(record), "{name}: version 1 is no longer read");
    assert_eq!(encode(record), stored, "{name}: what is written is no longer version 1");
    for end in 0..stored.len() {
        assert!(decode::<R>(&stored[..end]).is_err(), "{name}: read from a part of it");
    }
    let longer = [&stored[..], &[0]].concat();
    assert!(
        matches!(decode::<R>(&longer), Err(CodecError::Trailing { count: 1, .. })),
        "{name}: read with more after it"
    );
    let other = [&[9], &stored[1..]].concat();
    assert!(
        matches!(decode::<R>(&other), Err(CodecError::UnknownVersion { found: 9, .. })),
        "{name}: version 9 is read"
    );
}

fn note_recovery() -> RecoveryRecord {
    let epoch = RecoveryEpoch { number: 2, id: 300, former: [0; 8] };
    let (at, exported) = (UnixMs(1_700_000_000_000), Some(UnixMs(1_600_000_000_000)));
    RecoveryRecord { epoch, at, host: HostId(300), exported, keeps_unknown: true }
}

#[test]
fn records_of_version_1_are_read_and_written_as_they_were() {
    check_record("part", &samples::full_part());
    check_record("completed", &samples::completed());
    check_record("blob", &samples::blob(7, samples::MIB));
    check_record("repair", &samples::repair());
    check_record("node", &samples::node());
    check_record("answer", &samples::answer());
    check_record("answers", &samples::answers());
    check_record("node_draining", &NodeRecord { state: NodeState::Draining, ..samples::node() });
    check_record("host", &samples::host());
    check_record("layout", &samples::layout());
    check_record("held", &samples::held());
    check_record("roles", &samples::roles());
    check_record("removed", &samples::removed());
    let nodes = [(NodeId(2), Epoch(300)), (NodeId(300), Epoch(1))].into();
    check_record("registered", &RegisteredRecord { nodes });
    check_record("recovery", &note_recovery());
    check_record("fence", &FenceRecord { below: BlobId::first_of(UnixMs(1_700_000_000_000)) });
    check_record("clock", &samples::clock());
    check_record("bucket", &samples::bucket_row());
    check_record("owner", &OwnerRow { buckets: 300 });
    check_record("object", &samples::object_version());
    check_record("upload", &samples::upload_row());
    check_record("counts", &samples::counts());
    check_record("garbage", &samples::garbage());
    check_record("leftover", &samples::leftover());
}

/// A record whose second version has a field that the first lacks.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Second {
    first: u64,
    added: u64,
}

impl Record for Second {
    const NAME: &'static str = "second";
    const VERSION: u8 = 2;

    fn earlier(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        match version {
            1 => Ok(Self { first: from_postcard(Self::NAME, body)?, added: 0 }),
            found => Err(CodecError::UnknownVersion { what: Self::NAME, found }),
        }
    }
}

#[test]
fn a_record_is_also_decoded_from_the_bytes_of_an_earlier_version() {
    let second = Second { first: 300, added: 5 };
    assert_eq!(decode::<Second>(&encode(&second)), Ok(second));
    let earlier = [&[1][..], &postcard::to_stdvec(&300u64).expect("plain data")].concat();
    assert_eq!(decode::<Second>(&earlier), Ok(Second { first: 300, added: 0 }));
    for end in 0..earlier.len() {
        assert!(decode::<Second>(&earlier[..end]).is_err());
    }
    assert_eq!(decode::<Second>(&[3, 1, 1]), Err(CodecError::UnknownVersion { what: "second", found: 3 }));
}

#[test]
fn records_about_versions_documents_and_events_keep_their_bytes() {
    check_record("version_object", &VersionRow::Object(samples::object_version()));
    check_record("version_delete_marker", &VersionRow::DeleteMarker(samples::delete_marker()));
    check_record("null_version", &NullVersionRow { version: samples::version() });
    check_record("shared", &SharedRow { references: 300 });
    check_record("usage", &Usage { objects: 1, versions: 300, bytes: 1 << 40, parts_bytes: 1 << 20 });
    check_record("document", &DocumentRow { revision: 300, value: Bytes::from_static(b"{}") });
    check_record("event", &samples::event());
}

#[test]
fn every_kind_of_body_condition_and_algorithm_keeps_its_bytes() {
    let shared = Body::PartsOf { list: ManifestId(5), count: 300 };
    let appended = Body::Appended { list: ManifestId(5), count: 300 };
    let of_parts = [Body::Parts { count: 10_000 }, shared, appended];
    let bodies = [Body::Empty, Body::Inline, Body::Blob(samples::blob(7, 1))].into_iter().chain(of_parts);
    for (index, body) in bodies.enumerate() {
        let manifest = Manifest { body, ..samples::full_manifest() };
        check_record(&format!("object_body_{index}"), &ObjectVersion::from(manifest));
    }
    use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256, Sha512, XxHash3, XxHash64, XxHash128};
    let stored = [Crc32, Crc32c, Crc64Nvme, Sha1, Sha256, Sha512, Md5, XxHash64, XxHash3, XxHash128];
    for (index, algorithm) in stored.into_iter().enumerate() {
        let kind = if index % 2 == 0 { ChecksumKind::FullObject } else { ChecksumKind::Composite };
        let checksum = Some(Checksum { algorithm, kind, value: Bytes::from_static(b"1234") });
        check_record(&format!("part_checksum_{index}"), &PartRow { checksum, ..samples::full_part() });
    }
}

fn commands() -> Vec<(&'static str, Change)> {
    let conditions =
        WriteConditions { if_match: Some(ETagCondition::Any), if_none_match: Some(ETagCondition::Unknown) };
    let etag = ETag { md5: samples::md5_of(1), parts: Some(3) };
    let only_if = WriteConditions { if_match: Some(ETagCondition::Is(etag)), if_none_match: None };
    let shard = ShardId { blob: BlobId(7), shard: ShardNumber(2) };
    let (from, to) = (NodeId(1), NodeId(300));
    let moved = MovedShard { shard, from, to, incarnation: Incarnation(u128::MAX), whole: true };
    let inline = samples::put_inline("key", 5, b"the object's bytes");
    let missing = vec![ShardNumber(1), ShardNumber(3)];
    let manifest = samples::full_manifest();
    let put = PutObject { conditions, missing: missing.clone(), manifest, ..samples::full_put() };
    let create = CreateUpload { traits: samples::traits(), ..samples::create_upload("key", 9) };
    let finished = [Some(Incarnation(u128::MAX)), None]
        .map(|incarnation| FinishedRepair { shard, node: NodeId(300), incarnation })
        .to_vec();
    let part = PutPart { missing, ..samples::put_part("key", 9, samples::full_part()) };
    let mut complete = samples::complete("key", 9, 10, [&samples::full_part(), &samples::part(10, 3, 5)]);
    complete.expected_checksum = Some(samples::checksum());
    complete.expected_size_bytes = Some(1);
    complete.parts[0].checksum = Some(samples::checksum());
    complete.event = Some(samples::event().draft);
    let second_host = HostRecord {
        id: HostId(2),
        name: "b".to_owned(),
        domain: None,
        first_node: Some(NodeId(0)),
        ..samples::host()
    };
    vec![
        ("create_bucket", Change::CreateBucket(Box::new(samples::create_bucket()))),
        ("delete_bucket", Change::DeleteBucket { bucket: BucketId(300) }),
        ("put_object", Change::PutObject(Box::new(put))),
        ("put_object_inline", Change::PutObject(Box::new(inline))),
        ("delete_versions_if", samples::delete_if(BucketId(1), "key", only_if)),
        ("create_upload", Change::CreateUpload(Box::new(create))),
        ("put_part", Change::PutPart(Box::new(part))),
        ("complete_upload", Change::CompleteUpload(Box::new(complete))),
        ("abort_upload", Change::AbortUpload { bucket: BucketId(1), key: "key".into(), upload: UploadId(9) }),
        ("reclaim_garbage", Change::ReclaimGarbage { gone: vec![shard] }),
        ("queue_repairs", Change::QueueRepairs { missing: vec![(samples::blob(7, 1), ShardNumber(2))] }),
        ("finish_repairs", Change::FinishRepairs { done: finished }),
        ("register_nodes", samples::register(samples::node())),
        ("register_host", Change::RegisterHost(samples::host())),
        ("remove_host", Change::RemoveHost { host: HostId(1) }),
        ("set_node", Change::SetNode { node: NodeId(2), weight: Some(300), state: Some(NodeState::Draining) }),
        ("move_shards", Change::MoveShards { epoch: Epoch(300), moves: vec![moved] }),
        ("forget_leftovers", Change::ForgetLeftovers { gone: vec![(NodeId(300), shard)] }),
        ("remove_node", Change::RemoveNode { node: NodeId(2), lost: true }),
        ("found_hosts", Change::FoundHosts(vec![samples::host(), second_host])),
        ("advance_clock", Change::AdvanceClock(samples::advance_clock())),
        ("compute_digest", Change::ComputeDigest),
        ("set_host_roles", Change::SetHostRoles { host: HostId(300), roles: Roles { meta: false, ..Roles::ALL } }),
    ]
    .into_iter()
    .chain(commands_of_versions())
    .collect()
}

fn commands_of_versions() -> Vec<(&'static str, Change)> {
    let (bucket, key) = (BucketId(1), "key".to_owned());
    let (traits, event) = (samples::traits(), Some(samples::event().draft));
    let pick = samples::version().pick();
    let delete = DeleteVersion {
        key: key.clone(),
        pick,
        conditions: DeleteConditions {
            size_bytes: Some(1),
            modified_seconds: Some(2),
            manifest: Some(ManifestId(3)),
            rank: VersionRank::Sole,
            tags: vec![("tag".to_owned(), "value".to_owned())],
            ..DeleteConditions::default()
        },
        owner: "someone".to_owned(),
        salt: u64::MAX,
        bypass_governance: true,
        event: Some(DeleteEvents { deleted: event, marked: None }),
    };
    let retention = TraitsChange::Retention { retention: samples::traits().retention, bypass_governance: true };
    let change =
        |to| ChangeTraits { bucket, key: "key".to_owned(), pick, manifest: Some(ManifestId(7)), to, event: None };
    let sealing = TraitsChange::Sealing { from: Bytes::from_static(b"a"), to: Bytes::from_static(b"b") };
    let document = |key| DocumentWrite { key, expect: Expect::Revision(300), value: Some(Bytes::from_static(b"{}")) };
    let adopt = |change| Change::Adopt(Adoption { layout: Epoch(300), change });
    vec![
        ("copy_version", Change::CopyVersion(Box::new(samples::copy_version()))),
        ("delete_versions", Change::DeleteVersions { bucket, deletes: vec![delete] }),
        ("change_traits_tags", Change::ChangeTraits(Box::new(change(TraitsChange::Tags(traits.tags.clone()))))),
        ("change_traits_acl", Change::ChangeTraits(Box::new(change(TraitsChange::Acl(traits.acl))))),
        ("change_traits_retention", Change::ChangeTraits(Box::new(change(retention)))),
        ("change_traits_hold", Change::ChangeTraits(Box::new(change(TraitsChange::LegalHold(true))))),
        ("change_traits_sealing", Change::ChangeTraits(Box::new(change(sealing)))),
        ("rename_object", Change::RenameObject(Box::new(samples::rename_object()))),
        ("append_object", Change::AppendObject(Box::new(samples::append_object()))),
        (
            "set_bucket",
            Change::SetBucket {
                bucket,
                versioning: Some(Versioning::Suspended),
                lock: Some(samples::object_lock()),
                quota: samples::bucket_row().settings.quota.into(),
            },
        ),
        (
            "write_documents",
            Change::WriteDocuments(vec![
                document(DocumentKey::Bucket(bucket, BucketDocument::Analytics, "name".to_owned())),
                document(DocumentKey::Identity(IdentityKind::SealingKey, "path".to_owned())),
                DocumentWrite { key: DocumentKey::System("x".to_owned()), expect: Expect::Absent, value: None },
            ]),
        ),
        ("adopt_object", adopt(Adopting::PutObject(Box::new(samples::full_put())))),
        ("adopt_part", adopt(Adopting::PutPart(Box::new(samples::put_part("key", 9, samples::full_part()))))),
        ("adopt_append", adopt(Adopting::AppendObject(Box::new(samples::append_object())))),
        ("rejoin_host", Change::RejoinHost { was: HostId(300), host: samples::host() }),
        ("note_recovery", Change::NoteRecovery(note_recovery())),
        ("raise_fence", Change::RaiseFence { below: BlobId::first_of(UnixMs(1_700_000_000_000)) }),
        ("finish_events", Change::FinishEvents { target: "hook".to_owned(), through: 300 }),
    ]
}

#[test]
fn commands_of_version_1_are_read_and_written_as_they_were_c3() {
    for (name, change) in commands() {
        let command = Command::new(UnixMs(1_700_000_000_000), change);
        let stored = Bytes::from(golden(&format!("command_{name}"), &encode_command(&command)));
        assert_eq!(decode_command(&stored), Ok(command.clone()), "{name}: version 1 is no longer read");
        assert_eq!(encode_command(&command), stored, "{name}: what is written is no longer version 1");
        let inline_bytes = command.inline().map_or(0, Bytes::len);
        for end in 0..stored.len() - inline_bytes {
            assert!(decode_command(&stored.slice(..end)).is_err(), "{name}: read from a part of it");
        }
        if command.inline().is_none() {
            let longer = Bytes::from([&stored[..], &[0]].concat());
            assert!(
                matches!(decode_command(&longer), Err(CodecError::Trailing { count: 1, .. })),
                "{name}: read with more after it"
            );
        }
    }
}

#[test]
fn a_forwarded_command_carries_its_origin_and_the_leaders_times() {
    let origin = Origin { since: 70_000, id: u128::MAX - 5 };
    let time = LogTime { now: UnixMs(1_700_000_000_000), confirmed: UnixMs(1_600_000_000_000) };
    for (name, change) in commands().into_iter().filter(|(name, _)| name.starts_with("put_object")) {
        let own = Command::at(time, change.clone());
        let stored = encode_command(&own);
        assert_eq!(decode_command(&stored), Ok(own.clone()), "a command keeps both of its times");
        let other = LogTime { now: UnixMs(9), confirmed: UnixMs(7) };
        let forwarded = encode_forwarded(origin, other, &stored);
        let kept = Bytes::from(golden(&format!("forwarded_{name}"), &forwarded));
        let command = Command { origin: Some(origin), ..Command::at(other, change) };
        assert_eq!((decode_command(&kept), forwarded), (Ok(command.clone()), kept.clone()), "the leader's times count");
        let inline_bytes = own.inline().map_or(0, Bytes::len);
        for whole in [&stored, &kept] {
            for end in 0..whole.len() - inline_bytes {
                assert!(decode_command(&whole.slice(..end)).is_err(), "{name}: read from a part of it");
            }
        }
        let twice = encode_forwarded(origin, time, &kept);
        assert!(matches!(decode_command(&twice), Err(CodecError::Malformed { .. })));
        assert_eq!(decode_entry(&encode_entry(&[stored, kept])), Ok(vec![own, command]));
    }
}

#[test]
fn an_entry_is_the_concatenation_of_its_encoded_commands_c3() {
    let commands: Vec<_> = commands().into_iter().map(|(_, change)| Command::new(UnixMs(3), change)).collect();
    let encoded: Vec<_> = commands.iter().map(encode_command).collect();
    let entry = encode_entry(&encoded);
    assert_eq!(entry.len(), 5 + encoded.iter().map(|bytes| 4 + bytes.len()).sum::<usize>());
    assert_eq!(golden("entry", &entry), entry);
    assert_eq!(decode_entry(&entry), Ok(commands));
    assert_eq!(decode_entry(&encode_entry(&[])), Ok(Vec::new()));
    for end in 0..entry.len() {
        assert!(decode_entry(&entry.slice(..end)).is_err());
    }
    let longer = Bytes::from([&entry[..], &[0]].concat());
    assert!(matches!(decode_entry(&longer), Err(CodecError::Trailing { count: 1, .. })));
}

#[test]
fn inline_bytes_are_sliced_out_of_their_entry_without_a_copy() {
    static LARGE: [u8; 4096] = [7; 4096];
    let command = Command::new(UnixMs(3), Change::PutObject(Box::new(samples::put_inline("key", 5, &LARGE))));
    let entry = encode_entry(&[encode_command(&command)]);
    let decoded = decode_entry(&entry).expect("it was just encoded");
    let inline = decoded[0].inline().expect("it has inline bytes");
    assert_eq!(inline, &LARGE[..]);
    assert!(entry.as_ptr_range().contains(&inline.as_ptr()));
}

#[test]
fn inline_bytes_are_refused_for_any_change_but_a_put() {
    let command = Command::new(UnixMs(3), Change::DeleteBucket { bucket: BucketId(1) });
    let mut bytes = encode_command(&command).to_vec();
    *bytes.last_mut().expect("not empty") = 1;
    assert!(matches!(decode_command(&bytes.clone().into()), Err(CodecError::Malformed { .. })));
    *bytes.last_mut().expect("not empty") = 2;
    assert!(matches!(decode_command(&bytes.into()), Err(CodecError::Malformed { .. })));
}

fn blobs() -> impl Strategy<Value = BlobRef> {
    let nodes = proptest::collection::vec(any::<u32>().prop_map(NodeId), 0..8);
    (any::<u128>(), any::<u64>(), any::<(u8, u8, u32)>(), nodes).prop_map(|(id, size_bytes, cut, placement)| BlobRef {
        id: BlobId(id),
        size_bytes,
        geometry: Geometry { data: cut.0, parity: cut.1, chunk_size_bytes: cut.2 },
        placement,
    })
}

fn bodies() -> impl Strategy<Value = Body> {
    let parts = any::<u16>().prop_map(|count| Body::Parts { count });
    prop_oneof![
        proptest::strategy::Just(Body::Empty),
        proptest::strategy::Just(Body::Inline),
        blobs().prop_map(Body::Blob),
        parts
    ]
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let user = proptest::collection::vec(any::<(String, String)>(), 0..4);
    let checksum = proptest::option::of(any::<Vec<u8>>());
    (any::<(u128, u64, u64)>(), any::<([u8; 16], Option<u16>)>(), any::<Option<String>>(), user, checksum, bodies())
        .prop_map(|((id, size_bytes, modified), (md5, parts), content_type, user, checksum, body)| Manifest {
            id: ManifestId(id),
            size_bytes,
            etag: ETag { md5, parts },
            modified: UnixMs(modified),
            headers: ObjectHeaders { content_type, user, ..ObjectHeaders::default() },
            checksum: checksum.map(|value| Checksum { value: value.into(), ..samples::checksum() }),
            body,
        })
}

proptest! {
    #[test]
    fn manifests_round_trip(manifest in manifests()) {
        let object = ObjectVersion::from(manifest);
        prop_assert_eq!(decode::<ObjectVersion>(&encode(&object)), Ok(object));
    }

    #[test]
    fn garbage_round_trips(blob in blobs(), pending in proptest::collection::vec(any::<u8>(), 0..32)) {
        let row = GarbageRow { blob, entry: 1, pending: pending.into_iter().map(ShardNumber).collect() };
        prop_assert_eq!(decode::<GarbageRow>(&encode(&row)), Ok(row));
    }

    #[test]
    fn puts_round_trip(manifest in manifests(), key: String, inline: Option<Vec<u8>>, now: u64) {
        let put = PutObject { manifest, key, inline: inline.map(Bytes::from), ..samples::put_blob("", 1) };
        let command = Command::new(UnixMs(now), Change::PutObject(Box::new(put)));
        let encoded = encode_command(&command);
        prop_assert_eq!(decode_command(&encoded), Ok(command.clone()));
        prop_assert_eq!(decode_entry(&encode_entry(&[encoded.clone(), encoded])), Ok(vec![command.clone(), command]));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic(mut bytes: Vec<u8>, known_version: bool) {
        if let (Some(first), true) = (bytes.first_mut(), known_version) {
            *first = 1;
        }
        let _ = decode::<BucketRow>(&bytes);
        let _ = decode::<OwnerRow>(&bytes);
        let _ = decode::<ObjectVersion>(&bytes);
        let _ = decode::<VersionRow>(&bytes);
        let _ = decode::<EventRow>(&bytes);
        let _ = decode::<PartRow>(&bytes);
        let _ = decode::<UploadRow>(&bytes);
        let _ = decode::<GarbageRow>(&bytes);
        let _ = decode::<RepairRow>(&bytes);
        let _ = decode::<NodeRecord>(&bytes);
        let _ = decode::<HostRecord>(&bytes);
        let _ = decode::<LayoutRecord>(&bytes);
        let _ = decode::<HeldRecord>(&bytes);
        let _ = decode::<RolesRecord>(&bytes);
        let _ = decode::<RemovedRecord>(&bytes);
        let _ = decode::<FenceRecord>(&bytes);
        let _ = decode::<RecoveryRecord>(&bytes);
        let _ = decode::<RegisteredRecord>(&bytes);
        let _ = decode::<Counts>(&bytes);
        let bytes = Bytes::from(bytes);
        let _ = decode_command(&bytes);
        prop_assert!(decode_entry(&bytes).is_err() || bytes[1..5] != [0xff; 4]);
    }

    #[test]
    fn commands_with_a_flipped_bit_never_panic(which in 0..commands().len(), bit in any::<proptest::sample::Index>()) {
        let change = commands().swap_remove(which).1;
        let mut bytes = encode_command(&Command::new(UnixMs(3), change)).to_vec();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _ = decode_command(&bytes.into());
    }
}
