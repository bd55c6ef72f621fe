//! Tests of buckets, objects, garbage and repairs, and of the application of entries in general.

use super::{Machine, create_bucket, position, put, shards_of, stored};
use crate::limits::BUCKETS_OF_ACCOUNT_MAX;
use crate::storage::kv::memory::MemoryKv;
use crate::storage::kv::{Batch, Kv};
use crate::storage::meta::apply::{ApplyEntry, MetaTables};
use crate::storage::meta::command::{
    Change, Command, DeleteConditions, DeleteVersion, Deletion, ETagCondition, FinishedRepair, PutObject, Refusal,
    Reply, VersionRank, WriteConditions,
};
use crate::storage::meta::record::{Body, ETag, Pick, Quota, QuotaChange, Versioning};
use crate::storage::meta::samples::{self, BUCKET, delete_if, deleted, md5_of, put_blob, put_empty, put_inline};
use crate::storage::meta::tables::{SYSTEM, SYSTEM_FORMAT, TABLES};
use crate::types::{BlobId, BucketId, ManifestId, NodeId, ShardId, ShardNumber, UnixMs};
use std::sync::Arc;

fn delete(key: &str) -> Change {
    samples::delete(BUCKET, key)
}

fn if_match(condition: ETagCondition) -> WriteConditions {
    WriteConditions { if_match: Some(condition), if_none_match: None }
}

fn if_none_match(condition: ETagCondition) -> WriteConditions {
    WriteConditions { if_match: None, if_none_match: Some(condition) }
}

fn tag(id: u128) -> ETagCondition {
    ETagCondition::Is(ETag { md5: md5_of(id), parts: None })
}

#[test]
fn one_entry_changes_object_blob_repairs_and_garbage_together_c1() {
    let mut machine = Machine::with_bucket();
    machine.put(PutObject { missing: vec![ShardNumber(1)], ..put_blob("key", 10) });
    assert_eq!((machine.blobs(), machine.repairs(), machine.garbage()), (vec![10], vec![(10, 1)], vec![]));
    let manifest =
        machine.put(PutObject { missing: vec![ShardNumber(2), ShardNumber(0), ShardNumber(2)], ..put_blob("key", 11) });
    assert_eq!(manifest.modified, UnixMs(1003));
    assert_eq!((machine.blobs(), machine.repairs(), machine.garbage()), (vec![11], vec![(11, 0), (11, 2)], vec![10]));
    assert_eq!(machine.view().object(BUCKET, "key").expect("reads"), Some(stored(manifest).into()));
    let row = machine.view().garbage(None, 1).expect("reads").remove(0);
    assert_eq!((row.entry, row.pending), (3, (0..4).map(ShardNumber).collect()));
    assert_eq!(machine.apply(delete("key")), deleted(true));
    assert_eq!((machine.blobs(), machine.repairs(), machine.garbage()), (vec![], vec![], vec![10, 11]));
    assert_eq!(machine.apply(delete("key")), deleted(false));
    assert_eq!(machine.view().object(BUCKET, "key").expect("reads"), None);
}

#[test]
fn inline_bytes_are_stored_and_removed_with_their_object() {
    let mut machine = Machine::with_bucket();
    let first = machine.put(put_inline("key", 10, b"one"));
    assert_eq!(machine.view().inline_bytes(first.id).expect("reads").as_deref(), Some(&b"one"[..]));
    let second = machine.put(put_inline("key", 11, b"two"));
    assert_eq!(machine.view().inline_bytes(first.id).expect("reads"), None);
    assert_eq!(machine.view().inline_bytes(second.id).expect("reads").as_deref(), Some(&b"two"[..]));
    machine.put(put_empty("key", 12));
    assert_eq!(machine.view().inline_bytes(second.id).expect("reads"), None);
    assert_eq!((machine.blobs(), machine.garbage()), (vec![], vec![]));
}

#[test]
fn a_put_whose_size_is_not_that_of_its_bytes_is_refused_f2() {
    let mut machine = Machine::with_bucket();
    let mut without = put_inline("key", 10, b"bytes");
    without.inline = None;
    let mut shorter = put_inline("key", 11, b"bytes");
    shorter.manifest.size_bytes = 3;
    let mut of_a_blob = put_blob("key", 12);
    of_a_blob.manifest.size_bytes = 0;
    let mut empty = put_empty("key", 13);
    empty.manifest.size_bytes = 1;
    let mut of_parts = put_empty("key", 14);
    of_parts.manifest.body = Body::Parts { count: 1 };
    for change in [without, shorter, of_a_blob, empty, of_parts] {
        assert_eq!(machine.refusal(put(change)), Refusal::InvalidRequest);
    }
    assert_eq!(machine.garbage(), [12]);
    assert_eq!(machine.view().counts().expect("reads").objects, 0);
}

#[test]
fn a_refused_put_leaves_nothing_but_its_own_blob_as_garbage() {
    let mut machine = Machine::with_bucket();
    machine.put(put_blob("key", 10));
    let elsewhere = PutObject { bucket: BucketId(99), ..put_blob("key", 11) };
    assert_eq!(machine.refusal(put(elsewhere)), Refusal::NoSuchBucket);
    let only_if_absent = PutObject {
        conditions: if_none_match(ETagCondition::Any),
        missing: vec![ShardNumber(0)],
        ..put_blob("key", 12)
    };
    assert_eq!(machine.refusal(put(only_if_absent)), Refusal::PreconditionFailed);
    assert_eq!(machine.refusal(put(put_blob("", 13))), Refusal::InvalidRequest);
    assert_eq!(machine.refusal(put(put_blob(&"k".repeat(1025), 14))), Refusal::InvalidRequest);
    assert_eq!(
        machine.refusal(put(PutObject { missing: vec![ShardNumber(4)], ..put_blob("key", 15) })),
        Refusal::InvalidRequest
    );
    assert_eq!((machine.blobs(), machine.garbage(), machine.repairs()), (vec![10], vec![11, 12, 13, 14, 15], vec![]));
}

#[test]
fn conditions_are_checked_against_the_current_object_at_application() {
    let mut machine = Machine::with_bucket();
    let attempt =
        |machine: &mut Machine, id, conditions| machine.apply(put(PutObject { conditions, ..put_blob("key", id) }));
    let refused = Reply::Refused;
    assert_eq!(attempt(&mut machine, 10, if_match(ETagCondition::Any)), refused(Refusal::NoSuchKey));
    assert_eq!(attempt(&mut machine, 11, if_match(tag(1))), refused(Refusal::NoSuchKey));
    assert!(matches!(attempt(&mut machine, 12, if_none_match(ETagCondition::Any)), Reply::ObjectPut { .. }));
    assert_eq!(attempt(&mut machine, 13, if_none_match(ETagCondition::Any)), refused(Refusal::PreconditionFailed));
    assert_eq!(attempt(&mut machine, 14, if_none_match(tag(12))), refused(Refusal::PreconditionFailed));
    assert_eq!(attempt(&mut machine, 15, if_match(tag(13))), refused(Refusal::PreconditionFailed));
    assert_eq!(attempt(&mut machine, 16, if_match(ETagCondition::Unknown)), refused(Refusal::PreconditionFailed));
    assert!(matches!(attempt(&mut machine, 17, if_match(tag(12))), Reply::ObjectPut { .. }));
    assert!(matches!(attempt(&mut machine, 18, if_match(ETagCondition::Any)), Reply::ObjectPut { .. }));
    assert!(matches!(attempt(&mut machine, 19, if_none_match(ETagCondition::Unknown)), Reply::ObjectPut { .. }));

    let conditional = |conditions| delete_if(BUCKET, "key", conditions);
    let failed = |refusal| Reply::VersionsDeleted(vec![Err(refusal)]);
    assert_eq!(machine.apply(conditional(if_match(tag(1)))), failed(Refusal::PreconditionFailed));
    assert_eq!(machine.apply(conditional(if_match(tag(19)))), deleted(true));
    assert_eq!(machine.apply(conditional(if_match(ETagCondition::Any))), failed(Refusal::NoSuchKey));
}

#[test]
fn exactly_one_of_many_racing_if_none_match_puts_wins() {
    let machine = Machine::with_bucket();
    let commands =
        (0..100).map(|id| PutObject { conditions: if_none_match(ETagCondition::Any), ..put_blob("key", 10 + id) });
    let commands = commands.map(|change| Command::new(UnixMs(1), put(change))).collect();
    let replies = machine.tables.apply([ApplyEntry { index: 2, commands }], position(2)).expect("applies").remove(0);
    assert_eq!(replies.iter().filter(|reply| matches!(reply, Reply::ObjectPut { .. })).count(), 1);
    assert_eq!((machine.blobs().len(), machine.garbage().len()), (1, 99));
}

#[test]
fn a_put_of_a_blob_in_use_is_refused_and_leaves_the_blob_alone() {
    let mut machine = Machine::with_bucket();
    machine.put(put_blob("key", 10));
    let mut again = put_blob("other", 11);
    again.manifest.body = put_blob("key", 10).manifest.body;
    assert_eq!(machine.refusal(put(again)), Refusal::InvalidRequest);
    assert_eq!((machine.blobs(), machine.garbage()), (vec![10], vec![]));
}

#[test]
fn the_same_put_applied_twice_is_one_put() {
    let mut machine = Machine::with_bucket();
    let change = PutObject { conditions: if_none_match(ETagCondition::Any), ..put_blob("key", 10) };
    let first = stored(machine.put(change.clone()));
    assert_eq!(machine.put(change), first);
    assert_eq!((machine.blobs(), machine.garbage()), (vec![10], vec![]));
}

#[test]
fn a_delete_of_many_keys_answers_for_each_in_order() {
    let mut machine = Machine::with_bucket();
    machine.put(put_blob("a", 10));
    machine.put(put_blob("b", 11));
    let delete_of = |key: &str, write: WriteConditions| {
        let conditions = DeleteConditions { write, ..DeleteConditions::default() };
        DeleteVersion { key: key.to_owned(), conditions, ..DeleteVersion::default() }
    };
    let any = WriteConditions::default;
    let deletes =
        vec![delete_of("a", any()), delete_of("b", if_match(tag(99))), delete_of("c", any()), delete_of("a", any())];
    let done = |existed| Ok(Deletion { existed, ..Deletion::default() });
    let expected = vec![done(true), Err(Refusal::PreconditionFailed), done(false), done(false)];
    assert_eq!(machine.apply(Change::DeleteVersions { bucket: BUCKET, deletes }), Reply::VersionsDeleted(expected));
    let elsewhere = machine.apply(samples::delete(BucketId(9), "a"));
    assert_eq!(elsewhere, Reply::VersionsDeleted(vec![Err(Refusal::NoSuchBucket)]));
    assert_eq!((machine.blobs(), machine.garbage()), (vec![11], vec![10]));
}

#[test]
fn a_buckets_number_is_never_used_again() {
    let mut machine = Machine::with_bucket();
    assert_eq!(machine.refusal(create_bucket("photos", "someone")), Refusal::BucketOwnedByCaller);
    assert_eq!(machine.refusal(create_bucket("photos", "another")), Refusal::BucketOwnedByOther);
    assert_eq!(machine.apply(Change::DeleteBucket { bucket: BUCKET }), Reply::Done);
    assert_eq!(machine.refusal(Change::DeleteBucket { bucket: BUCKET }), Refusal::NoSuchBucket);
    assert_eq!(machine.apply(create_bucket("photos", "another")), Reply::BucketCreated { id: BucketId(2) });
    assert_eq!(machine.refusal(put(put_blob("key", 10))), Refusal::NoSuchBucket);
    let bucket = machine.view().bucket("photos").expect("reads").expect("exists");
    assert_eq!(
        (bucket.bucket.id, bucket.bucket.owner.as_str(), bucket.bucket.created),
        (BucketId(2), "another", UnixMs(1006))
    );
}

#[test]
fn an_account_has_no_more_buckets_than_allowed() {
    let mut machine = Machine::empty();
    let create = |number: u64| Command::new(UnixMs(1), create_bucket(&format!("b{number}"), "full"));
    machine.index = 1;
    let entry = ApplyEntry { index: 1, commands: (0..=BUCKETS_OF_ACCOUNT_MAX).map(create).collect() };
    let mut replies = machine.tables.apply([entry], position(1)).expect("applies").concat();
    assert_eq!(replies.pop(), Some(Reply::Refused(Refusal::TooManyBuckets)));
    assert!(replies.iter().all(|reply| matches!(reply, Reply::BucketCreated { .. })));
    assert_eq!(machine.refusal(create_bucket("more", "full")), Refusal::TooManyBuckets);
    assert_eq!(machine.refusal(create_bucket("b0", "full")), Refusal::BucketOwnedByCaller);
    let created = machine.apply(create_bucket("of-another", "ful"));
    assert!(matches!(created, Reply::BucketCreated { .. }), "{created:?}");
    let first = machine.view().bucket("b0").expect("reads").expect("exists").bucket.id;
    assert_eq!(machine.apply(Change::DeleteBucket { bucket: first }), Reply::Done);
    let created = machine.apply(create_bucket("more", "full"));
    assert!(matches!(created, Reply::BucketCreated { .. }), "{created:?}");
    assert_eq!(machine.refusal(create_bucket("b0", "full")), Refusal::TooManyBuckets);
    machine.view().check_invariants();
}

#[test]
fn the_buckets_of_an_account_are_listed_by_name_with_prefix_and_pages() {
    let mut machine = Machine::empty();
    for (name, owner) in
        [("beta-2", "me"), ("alpha", "me"), ("beta", "me"), ("beta-1", "you"), ("gamma", "me"), ("a", "m")]
    {
        assert!(matches!(machine.apply(create_bucket(name, owner)), Reply::BucketCreated { .. }));
    }
    let list = |machine: &Machine, owner, prefix, after, limit| {
        let (buckets, more) = machine.view().buckets_of(owner, prefix, after, limit).expect("lists");
        (buckets.into_iter().map(|row| row.bucket.name).collect::<Vec<_>>().join(" "), more)
    };
    assert_eq!(list(&machine, "me", "", None, 4), ("alpha beta beta-2 gamma".to_owned(), false));
    assert_eq!(list(&machine, "me", "", Some(""), 2), ("alpha beta".to_owned(), true));
    assert_eq!(list(&machine, "me", "", Some("beta"), 1), ("beta-2".to_owned(), true));
    assert_eq!(list(&machine, "me", "beta", None, 9), ("beta beta-2".to_owned(), false));
    assert_eq!(list(&machine, "me", "beta", Some("alpha"), 1), ("beta".to_owned(), true));
    assert_eq!(list(&machine, "me", "beta", Some("gamma"), 9), (String::new(), false));
    assert_eq!(list(&machine, "you", "", None, 9), ("beta-1".to_owned(), false));
    assert_eq!(list(&machine, "m", "", None, 9), ("a".to_owned(), false));
    assert_eq!(list(&machine, "nobody", "", None, 9), (String::new(), false));
    let beta = machine.view().bucket("beta").expect("reads").expect("exists").bucket.id;
    assert_eq!(machine.apply(Change::DeleteBucket { bucket: beta }), Reply::Done);
    assert_eq!(list(&machine, "me", "beta", None, 9), ("beta-2".to_owned(), false));
    assert_eq!(machine.refusal(create_bucket("name", "zero\0byte")), Refusal::InvalidRequest);
    machine.view().check_invariants();
}

#[test]
fn a_bucket_with_an_object_is_not_deleted() {
    let mut machine = Machine::with_bucket();
    machine.put(put_empty("\0", 10));
    assert_eq!(machine.refusal(Change::DeleteBucket { bucket: BUCKET }), Refusal::BucketNotEmpty);
    machine.apply(delete("\0"));
    assert_eq!(machine.apply(Change::DeleteBucket { bucket: BUCKET }), Reply::Done);
}

#[test]
fn a_garbage_row_is_removed_with_its_last_shard() {
    let mut machine = Machine::with_bucket();
    machine.put(put_blob("key", 10));
    machine.apply(delete("key"));
    let (some, rest): (Vec<_>, Vec<_>) = shards_of(10).into_iter().partition(|shard| shard.shard.0 < 3);
    machine.apply(Change::ReclaimGarbage { gone: some });
    assert_eq!(machine.view().garbage(None, 9).expect("reads")[0].pending, [ShardNumber(3)]);
    assert!(machine.view().blob_is_known(BlobId(10)).expect("reads"));
    machine.apply(Change::ReclaimGarbage { gone: rest });
    assert_eq!(machine.garbage(), []);
    assert!(!machine.view().blob_is_known(BlobId(10)).expect("reads"));
    machine.apply(Change::ReclaimGarbage { gone: shards_of(10) });
    assert_eq!(machine.view().counts().expect("reads").garbage, 0);
}

#[test]
fn repairs_are_queued_once_and_only_for_blobs_in_use() {
    let mut machine = Machine::with_bucket();
    machine.put(put_blob("key", 10));
    machine.put(put_blob("gone", 11));
    machine.apply(delete("gone"));
    let of = |id, shard| (samples::blob(id, 1), ShardNumber(shard));
    let missing = vec![of(10, 0), of(10, 0), of(10, 3), of(10, 4), of(11, 0), of(12, 0)];
    machine.apply(Change::QueueRepairs { missing });
    assert_eq!(machine.repairs(), [(10, 0), (10, 3)]);
    assert_eq!(machine.view().repairs(None, 1).expect("reads")[0].blob.size_bytes, samples::MIB);
    let shard = ShardId { blob: BlobId(10), shard: ShardNumber(0) };
    let done = FinishedRepair { shard, node: NodeId(3), incarnation: None };
    machine.apply(Change::FinishRepairs { done: vec![done, done] });
    assert_eq!(machine.repairs(), [(10, 3)]);
    assert_eq!(machine.view().counts().expect("reads").repairs, 1);
}

#[test]
fn the_applied_position_is_committed_with_the_effects_c5() {
    let kv = Arc::new(MemoryKv::new(TABLES));
    let tables = MetaTables::open(kv.clone()).expect("opens");
    assert_eq!(tables.applied().expect("reads"), None);
    let entry = |index, change| ApplyEntry { index, commands: vec![Command::new(UnixMs(1), change)] };
    let entries = [
        entry(0, create_bucket("a", "x")),
        ApplyEntry { index: 3, commands: vec![] },
        entry(4, create_bucket("b", "x")),
    ];
    let replies = tables.apply(entries, position(4)).expect("applies");
    assert_eq!(replies.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(kv.unsynced_commits(), 1);
    let applied = tables.applied().expect("reads").expect("applied");
    assert_eq!((applied.index, applied.position), (4, position(4)));

    assert_eq!(tables.view().applied().expect("reads").expect("applied").position, position(4));
    for kept in 0..=1 {
        let found = MetaTables::open(Arc::new(kv.power_cut_after(kept))).expect("opens");
        assert_eq!(found.applied().expect("reads").is_some(), found.view().bucket("b").expect("reads").is_some());
    }
}

#[test]
#[should_panic(expected = "entry 4 comes after Some(4)")]
fn no_entry_is_applied_twice_c5() {
    let tables = MetaTables::open(Arc::new(MemoryKv::new(TABLES))).expect("opens");
    let entry = || ApplyEntry { index: 4, commands: vec![Command::new(UnixMs(1), create_bucket("b", "x"))] };
    tables.apply([entry()], position(4)).expect("applies");
    let _ = tables.apply([entry()], position(4));
}

#[test]
fn tables_of_an_unknown_layout_are_not_opened() {
    let kv = Arc::new(MemoryKv::new(TABLES));
    let mut batch = Batch::default();
    batch.put(SYSTEM, SYSTEM_FORMAT, vec![9]);
    kv.commit(batch).expect("commits");
    assert!(MetaTables::open(kv).is_err());
}

#[test]
fn an_unreadable_row_is_an_error_and_not_a_refusal() {
    let mut machine = Machine::with_bucket();
    machine.put(put_blob("key", 10));
    let mut batch = Batch::default();
    batch.put(
        crate::storage::meta::tables::OBJECTS,
        crate::storage::meta::tables::object_key(BUCKET, "key"),
        vec![1, 2, 3],
    );
    machine.tables.kv().commit(batch).expect("commits");
    let commands = vec![Command::new(UnixMs(1), delete("key"))];
    assert!(machine.tables.apply([ApplyEntry { index: 9, commands }], position(9)).is_err());
    assert!(machine.view().object(BUCKET, "key").is_err());
    assert_eq!(machine.view().inline_bytes(ManifestId(10)).expect("reads"), None);
}

fn set_versioning(machine: &mut Machine, versioning: Versioning, quota: Option<Quota>) {
    let change = Change::SetBucket {
        bucket: BUCKET,
        versioning: Some(versioning),
        lock: None,
        quota: quota.map(QuotaChange::from).unwrap_or_default(),
    };
    assert_eq!(machine.apply(change), Reply::Done);
}

#[test]
fn a_delete_marker_under_a_newer_object_is_not_the_sole_version_of_its_key() {
    let mut machine = Machine::with_bucket();
    set_versioning(&mut machine, Versioning::Enabled, None);
    let Reply::VersionsDeleted(made) = machine.apply(delete("key")) else { panic!("a delete is answered so") };
    let marker = made[0].as_ref().expect("a marker is made").version.expect("it has a version");
    machine.put(put_empty("key", 10));
    let expire = DeleteVersion {
        key: "key".to_owned(),
        pick: Pick::Exact { seq: marker.seq, salt: marker.salt },
        conditions: DeleteConditions { rank: VersionRank::Sole, ..DeleteConditions::default() },
        ..DeleteVersion::default()
    };
    let change = Change::DeleteVersions { bucket: BUCKET, deletes: vec![expire] };
    assert_eq!(machine.apply(change.clone()), Reply::VersionsDeleted(vec![Err(Refusal::PreconditionFailed)]));
    let version = machine.view().object(BUCKET, "key").expect("reads").expect("the object is current").version;
    let put = DeleteVersion {
        key: "key".to_owned(),
        pick: Pick::Exact { seq: version.seq, salt: version.salt },
        ..DeleteVersion::default()
    };
    machine.apply(Change::DeleteVersions { bucket: BUCKET, deletes: vec![put] });
    let Reply::VersionsDeleted(expired) = machine.apply(change) else { panic!("a delete is answered so") };
    assert!(expired[0].as_ref().is_ok_and(|deletion| deletion.existed && deletion.marker), "{expired:?}");
}

#[test]
fn changes_of_different_limits_of_a_quota_are_both_kept() {
    let mut machine = Machine::with_bucket();
    let bytes = QuotaChange { bytes_max: Some(Some(9)), objects_max: None };
    let objects = QuotaChange { bytes_max: None, objects_max: Some(Some(3)) };
    for quota in [bytes, objects] {
        machine.apply(Change::SetBucket { bucket: BUCKET, versioning: None, lock: None, quota });
    }
    let quota = |machine: &Machine| {
        let (buckets, _) = machine.view().buckets("", None, 9).expect("reads");
        buckets[0].settings.quota
    };
    assert_eq!(quota(&machine), Quota { bytes_max: Some(9), objects_max: Some(3) });
    let unlimited = QuotaChange { bytes_max: Some(None), objects_max: None };
    machine.apply(Change::SetBucket { bucket: BUCKET, versioning: None, lock: None, quota: unlimited });
    assert_eq!(quota(&machine), Quota { bytes_max: None, objects_max: Some(3) });
}

#[test]
fn a_quota_has_room_for_an_object_in_place_of_the_null_version_only() {
    const BYTES: [u8; 100] = [b'x'; 100];
    let sized = |id: u128, size_bytes: usize| put_inline("key", id, &BYTES[..size_bytes]);
    let quota = Quota { bytes_max: Some(100), objects_max: None };
    let mut machine = Machine::with_bucket();
    set_versioning(&mut machine, Versioning::Suspended, Some(quota));
    machine.put(sized(10, 60));
    machine.put(sized(11, 80));
    set_versioning(&mut machine, Versioning::Enabled, Some(quota));
    assert_eq!(machine.refusal(put(sized(12, 30))), Refusal::QuotaExceeded);
    machine.put(sized(13, 20));
    // The current version has an id now, and stays beside what is written.
    set_versioning(&mut machine, Versioning::Suspended, Some(quota));
    assert_eq!(machine.refusal(put(sized(14, 30))), Refusal::QuotaExceeded);
}
