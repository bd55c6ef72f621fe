//! Tests of changes of existing objects: renames, which are made once for each token, and appends.

use super::{Machine, put};
use crate::storage::meta::command::{
    AppendObject, Change, CopyVersion, ETagCondition, PutObject, Refusal, RenameObject, RenameSource, RenameToken,
    Reply, WriteConditions,
};
use crate::storage::meta::record::{ETag, ObjectVersion, Pick, QuotaChange, Traits, VersionRow, Versioning};
use crate::storage::meta::samples::{
    BUCKET, blob, copy_version, event, md5_of, put_blob, put_empty, put_inline, traits,
};
use crate::storage::meta::view::MetaView;
use crate::types::{BucketId, ManifestId, ShardNumber};
use bytes::Bytes;

fn renaming(from: &str, to: &str) -> RenameObject {
    RenameObject {
        bucket: BUCKET,
        source_key: from.to_owned(),
        source: None,
        key: to.to_owned(),
        conditions: WriteConditions::default(),
        standing: None,
        token: None,
        created: None,
        removed: None,
    }
}

fn rename(rename: RenameObject) -> Change {
    Change::RenameObject(Box::new(rename))
}

pub(super) fn appending(standing: u128, id: u128) -> AppendObject {
    AppendObject {
        bucket: BUCKET,
        key: "key".to_owned(),
        manifest: ManifestId(standing),
        id: ManifestId(id),
        etag: ETag { md5: md5_of(id), parts: Some(2) },
        checksum: None,
        head: None,
        number: 2,
        blob: blob(id, 7),
        size_bytes: 7,
        md5: md5_of(id),
        missing: Vec::new(),
        event: None,
    }
}

fn append(append: AppendObject) -> Change {
    Change::AppendObject(Box::new(append))
}

fn object(machine: &Machine, key: &str) -> Option<ObjectVersion> {
    machine.view().object(BUCKET, key).expect("reads")
}

fn appended(reply: Reply) -> ObjectVersion {
    match reply {
        Reply::ObjectPut { object } => *object,
        other => panic!("not appended: {other:?}"),
    }
}

fn sizes(machine: &Machine, object: &ObjectVersion) -> Vec<(u16, u64, u64)> {
    let (list, _) = object.manifest.parts().expect("parts");
    let parts = machine.view().parts_from(list, 0, 100).expect("reads");
    parts.iter().map(|part| (part.number, part.offset_bytes, part.size_bytes)).collect()
}

#[test]
fn a_rename_changes_only_the_key_and_makes_the_replaced_object_garbage() {
    let mut machine = Machine::with_bucket();
    let traits = Traits { retention: None, legal_hold: None, ..traits() };
    machine.put(PutObject { traits, ..put_blob("a", 10) });
    machine.put(put_inline("b", 11, b"old"));
    machine.put(put_blob("c", 12));
    let before = object(&machine, "a");
    for to in ["b", "c"] {
        let from = if to == "b" { "a" } else { "b" };
        assert_eq!(machine.apply(rename(renaming(from, to))), Reply::Done);
        assert_eq!((object(&machine, from), object(&machine, to)), (None, before.clone()));
    }
    assert_eq!((machine.blobs(), machine.garbage()), (vec![10], vec![12]));
    let usage = machine.view().usage(BUCKET).expect("reads");
    assert_eq!((usage.objects, usage.bytes), (1, before.expect("it stands").manifest.size_bytes));
}

#[test]
fn a_rename_is_refused_if_source_or_destination_changed() {
    let mut machine = Machine::with_bucket();
    machine.put(put_empty("a", 10));
    machine.put(put_empty("b", 11));
    let source = |manifest, sealing| Some(RenameSource { manifest: ManifestId(manifest), sealing });
    let star = Some(ETagCondition::Any);
    let sealed = Some((Bytes::from_static(b"a"), Bytes::from_static(b"b")));
    for (change, expected) in [
        (RenameObject { source: source(9, None), ..renaming("a", "b") }, Refusal::SourceChanged),
        (RenameObject { source: source(10, sealed), ..renaming("a", "b") }, Refusal::SourceChanged),
        (RenameObject { standing: Some(ManifestId(9)), ..renaming("a", "b") }, Refusal::SourceChanged),
        (RenameObject { standing: Some(ManifestId(9)), ..renaming("a", "c") }, Refusal::SourceChanged),
        (renaming("absent", "b"), Refusal::NoSuchKey),
        (renaming("a", "a"), Refusal::InvalidRequest),
        (renaming("a", ""), Refusal::InvalidRequest),
        (
            RenameObject {
                conditions: WriteConditions { if_none_match: star.clone(), if_match: None },
                ..renaming("a", "b")
            },
            Refusal::PreconditionFailed,
        ),
        (
            RenameObject {
                conditions: WriteConditions { if_match: star, if_none_match: None },
                ..renaming("a", "absent")
            },
            Refusal::PreconditionFailed,
        ),
    ] {
        assert_eq!(machine.refusal(rename(change.clone())), expected, "{change:?}");
    }
    assert!(object(&machine, "a").is_some() && object(&machine, "b").is_some());
    let found = RenameObject { source: source(10, None), standing: Some(ManifestId(11)), ..renaming("a", "b") };
    assert_eq!(machine.apply(rename(found)), Reply::Done);
}

#[test]
fn a_renamed_encrypted_object_has_its_data_key_wrapped_for_its_new_key() {
    let mut machine = Machine::with_bucket();
    let (from, to) = (Bytes::from_static(b"for a"), Bytes::from_static(b"for b"));
    let traits = Traits { sealing: Some(from.clone()), ..Traits::default() };
    machine.put(PutObject { traits, ..put_empty("a", 10) });
    let source = Some(RenameSource { manifest: ManifestId(10), sealing: Some((from, to.clone())) });
    assert_eq!(machine.apply(rename(RenameObject { source, ..renaming("a", "b") })), Reply::Done);
    assert_eq!(object(&machine, "b").and_then(|object| object.traits.sealing), Some(to));
}

#[test]
fn a_rename_is_made_once_for_each_token_and_queues_events() {
    let mut machine = Machine::with_bucket();
    machine.put(put_empty("a", 10));
    let token = |asked| Some(RenameToken { id: 7, asked });
    let draft = || Some(event().draft);
    let once = RenameObject { token: token(1), created: draft(), removed: draft(), ..renaming("a", "b") };
    for _ in 0..2 {
        assert_eq!(machine.apply(rename(once.clone())), Reply::Done);
        machine.put(put_empty("a", 11));
    }
    assert_eq!(object(&machine, "b").map(|object| object.manifest.id), Some(ManifestId(10)));
    let other = RenameObject { token: token(2), ..renaming("a", "c") };
    assert_eq!(machine.refusal(rename(other)), Refusal::RepeatedOtherwise);
    let renamed = |asked| machine.view().renamed(BUCKET, RenameToken { id: 7, asked }).expect("reads");
    assert_eq!((renamed(1), renamed(2)), (Some(true), Some(false)));
    let events = machine.view().events("hook", 0, 10).expect("reads");
    let events: Vec<_> = events.iter().map(|event| (event.key.as_str(), event.etag.is_some())).collect();
    assert_eq!(events, [("b", true), ("a", false)]);
}

#[test]
fn an_append_adds_a_part_to_the_existing_object() {
    let mut machine = Machine::with_bucket();
    machine.put(put_inline("key", 10, b"bytes"));
    assert_eq!(machine.refusal(append(appending(10, 20))), Refusal::NotAppendable);
    let head = Some((blob(21, 5), vec![ShardNumber(1)]));
    let short = AppendObject { head: Some((blob(23, 4), Vec::new())), ..appending(10, 24) };
    assert_eq!(machine.refusal(append(short)), Refusal::InvalidRequest);
    assert_eq!(machine.garbage(), [20, 23, 24]);
    let change = AppendObject { head, event: Some(event().draft), ..appending(10, 22) };
    let grown = appended(machine.apply(append(change)));
    assert_eq!(sizes(&machine, &grown), [(1, 0, 5), (2, 5, 7)]);
    assert_eq!((machine.blobs(), machine.repairs()), (vec![21, 22], vec![(21, 1)]));
    assert_eq!(machine.view().inline_bytes(ManifestId(10)).expect("reads"), None);
    assert_eq!(machine.refusal(append(appending(10, 25))), Refusal::PreconditionFailed);
    assert_eq!(machine.refusal(append(appending(22, 26))), Refusal::InvalidRequest, "a part with this number exists");
    let longer = appended(machine.apply(append(AppendObject { number: 9, ..appending(22, 27) })));
    assert_eq!((longer.manifest.size_bytes, sizes(&machine, &longer).len()), (19, 3));
    assert_eq!(machine.view().usage(BUCKET).expect("reads").bytes, 19);
    assert_eq!(machine.view().events("hook", 0, 10).expect("reads").len(), 1);
}

#[test]
fn an_append_does_not_change_a_copy_that_shares_its_parts() {
    let mut machine = Machine::with_bucket();
    machine.put(put_empty("key", 10));
    let first = appended(machine.apply(append(AppendObject { number: 1, ..appending(10, 20) })));
    let copy = CopyVersion {
        source_bucket: BUCKET,
        source_key: "key".to_owned(),
        source: Pick::Current,
        source_manifest: ManifestId(20),
        source_sealing: None,
        key: "copy".to_owned(),
        id: ManifestId(30),
        traits: Traits::default(),
        event: None,
        ..copy_version()
    };
    let copied = appended(machine.apply(Change::CopyVersion(Box::new(copy))));
    let second = appended(machine.apply(append(appending(20, 21))));
    assert_eq!(sizes(&machine, &second), [(1, 0, 7), (2, 7, 7)]);
    assert_eq!((sizes(&machine, &copied), sizes(&machine, &first)), (vec![(1, 0, 7)], vec![(1, 0, 7)]));
    assert!([&first, &copied, &second].iter().all(|object| object.manifest.is_appended()));
    machine.put(put_empty("key", 11));
    assert_eq!((machine.blobs(), machine.garbage()), (vec![20], vec![21]));
    machine.put(put_empty("copy", 12));
    assert_eq!((machine.blobs(), machine.garbage()), (vec![], vec![20, 21]));
}

#[test]
fn objects_in_a_versioned_bucket_are_neither_renamed_nor_appended_to() {
    let mut machine = Machine::with_bucket();
    machine.apply(put(put_empty("key", 10)));
    machine.apply(Change::SetBucket {
        bucket: BUCKET,
        versioning: Some(Versioning::Suspended),
        lock: None,
        quota: QuotaChange::default(),
    });
    assert_eq!(machine.refusal(rename(renaming("key", "b"))), Refusal::Versioned);
    assert_eq!(machine.refusal(append(appending(10, 20))), Refusal::Versioned);
    assert_eq!(machine.garbage(), [20]);
}

#[test]
fn a_lookup_repeated_in_a_view_finds_the_same_version() {
    let mut machine = Machine::with_bucket();
    machine.put(put_empty("key", 1));
    machine.put(put_empty("other", 2));
    let before = machine.view();
    let id = |view: &MetaView, key: &str, pick| {
        let found = view.version(BUCKET, key, pick).expect("reads");
        found.map(|row| match row {
            VersionRow::Object(object) => object.manifest.id,
            VersionRow::DeleteMarker(marker) => panic!("{marker:?}"),
        })
    };
    assert_eq!(id(&before, "key", Pick::Current), Some(ManifestId(1)));
    machine.put(put_empty("key", 3));
    let after = machine.view();
    for _ in 0..3 {
        assert_eq!(id(&before, "key", Pick::Current), Some(ManifestId(1)));
        assert_eq!(id(&after, "key", Pick::Current), Some(ManifestId(3)));
        let again = after.clone();
        assert_eq!(id(&again, "other", Pick::Current), Some(ManifestId(2)));
        let elsewhere = again.version(BucketId(BUCKET.0 + 1), "other", Pick::Current).expect("reads");
        assert_eq!((id(&again, "none", Pick::Current), elsewhere), (None, None));
    }
    let version = Pick::Exact { seq: u64::MAX, salt: 0 };
    assert_eq!((id(&after, "key", Pick::Current), id(&after, "key", version)), (Some(ManifestId(3)), None));
}
