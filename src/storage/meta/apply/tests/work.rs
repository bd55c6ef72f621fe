//! Tests of the cost of changes and lookups, in reads and writes.

use super::create_bucket;
use super::existing::appending;
use crate::limits::{
    CONFIGURATIONS_OF_A_KIND_MAX, DROPPED_ROWS_AT_ONCE, DROPPED_ROWS_PER_RECLAIM, PARTS_MAX, SHARED_PARTS_COPIED_MAX,
};
use crate::storage::kv::memory::MemoryKv;
use crate::storage::kv::{Batch, Kv, KvRead, KvResult, PairIter, Table};
use crate::storage::meta::apply::{ApplyEntry, MetaTables};
use crate::storage::meta::command::{
    AppendObject, Change, Command, CopyVersion, DeleteConditions, DeleteVersion, Refusal, Reply, VersionRank,
};
use crate::storage::meta::listing::ListQuery;
use crate::storage::meta::record::{
    BucketDocument, DocumentKey, DocumentWrite, Expect, PartRow, Pick, QuotaChange, Traits, Versioning,
};
use crate::storage::meta::samples::{
    self, BUCKET, MIB, complete, create_upload, part, put_blob, put_empty, put_inline, put_part,
};
use crate::storage::meta::tables::TABLES;
use crate::storage::meta::view::MetaView;
use crate::types::{ManifestId, UnixMs, UploadId};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A store that counts lookups, seeks and rows read, and keeps the committed batches.
#[derive(Debug)]
struct CountingKv {
    inner: MemoryKv,
    reads: AtomicUsize,
    batches: Mutex<Vec<Batch>>,
}

impl CountingKv {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryKv::new(TABLES), reads: AtomicUsize::new(0), batches: Mutex::default() })
    }

    fn reads_during<T>(&self, work: impl FnOnce() -> T) -> (usize, T) {
        let before = self.reads.load(Ordering::Relaxed);
        let made = work();
        (self.reads.load(Ordering::Relaxed) - before, made)
    }

    fn last_batch(&self) -> Batch {
        self.batches.lock().expect("held by no one").last().cloned().expect("committed")
    }
}

impl KvRead for CountingKv {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Box::new(self.inner.range(table, from, to).inspect(|_| {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }))
    }
}

impl Kv for CountingKv {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        self.inner.snapshot()
    }

    fn commit(&self, batch: Batch) -> KvResult<()> {
        self.batches.lock().expect("held by no one").push(batch.clone());
        self.inner.commit(batch)
    }

    fn persist(&self) -> KvResult<()> {
        self.inner.persist()
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }
}

struct Counted {
    kv: Arc<CountingKv>,
    tables: MetaTables,
    index: u64,
}

impl Counted {
    fn with_bucket() -> Self {
        let kv = CountingKv::new();
        let tables = MetaTables::open(kv.clone()).expect("opens");
        let mut counted = Self { kv, tables, index: 0 };
        counted.apply(vec![create_bucket("photos", "someone")]);
        counted
    }

    /// Applies all changes in one entry. Returns the number of reads, and the replies.
    fn apply(&mut self, changes: Vec<Change>) -> (usize, Vec<Reply>) {
        self.index += 1;
        let commands = changes.into_iter().map(|change| Command::new(UnixMs(1), change)).collect();
        let entry = ApplyEntry { index: self.index, commands };
        let (reads, replies) = self.kv.reads_during(|| self.tables.apply([entry], Bytes::new()).expect("applies"));
        (reads, replies.into_iter().flatten().collect())
    }

    fn upload_of(&mut self, parts: u16) -> Vec<PartRow> {
        let parts: Vec<_> = (1..=parts).map(|number| part(number, 100_000 + u128::from(number), 8 * MIB)).collect();
        let mut changes = vec![Change::CreateUpload(Box::new(create_upload("key", 9)))];
        changes.extend(parts.iter().map(|row| Change::PutPart(Box::new(put_part("key", 9, row.clone())))));
        self.apply(changes);
        parts
    }

    /// Makes an object of parts under this key, with ids of its own.
    fn object_of(&mut self, key: &str, number: u128, parts: u16) {
        let rows: Vec<_> = (1..=parts).map(|at| part(at, number * 100_000 + u128::from(at), 8 * MIB)).collect();
        let mut changes = vec![Change::CreateUpload(Box::new(create_upload(key, number)))];
        changes.extend(rows.iter().map(|row| Change::PutPart(Box::new(put_part(key, number, row.clone())))));
        changes.push(Change::CompleteUpload(Box::new(complete(key, number, number, &rows))));
        self.apply(changes);
    }

    fn view(&self) -> MetaView {
        MetaView::new(self.kv.clone())
    }

    fn complete(&mut self, parts: &[PartRow]) -> usize {
        let (reads, replies) = self.apply(vec![Change::CompleteUpload(Box::new(complete("key", 9, 500, parts)))]);
        assert!(matches!(replies[0], Reply::ObjectPut { .. }));
        reads
    }
}

#[test]
fn a_completion_costs_the_same_for_each_of_75_or_10_000_parts_m1() {
    for parts in [75, 10_000] {
        let mut counted = Counted::with_bucket();
        let rows = counted.upload_of(parts);
        let reads = counted.complete(&rows);
        // Each row is read twice: as a listed part, and in the search for parts that were not listed.
        assert!(reads <= 2 * usize::from(parts) + 30, "{reads} reads for {parts} parts");
        let changes = counted.kv.last_batch().changes.len();
        assert!(changes <= 2 * usize::from(parts) + 10, "{changes} changes for {parts} parts");
    }
}

#[test]
fn an_object_of_10_000_parts_costs_no_more_than_a_small_one_m4() {
    let mut counted = Counted::with_bucket();
    let rows = counted.upload_of(10_000);
    counted.complete(&rows);
    let view = MetaView::new(counted.kv.clone());
    let id = ManifestId(500);
    let size_bytes = 10_000 * 8 * MIB;

    let (reads, _) =
        counted.kv.reads_during(|| view.list_objects(BUCKET, &ListQuery { limit: 1, ..Default::default() }));
    assert!(reads <= 3, "{reads} reads to list it");
    for offset in [0, 8 * MIB - 1, 8 * MIB, size_bytes / 2 + 5, size_bytes - 1] {
        let (reads, found) = counted.kv.reads_during(|| view.part_at(id, offset).expect("reads"));
        assert_eq!(found.map(|part| u64::from(part.number) - 1), Some(offset / (8 * MIB)));
        assert!(reads <= 2, "{reads} reads to find the part at {offset}");
        let (reads, found) = counted.kv.reads_during(|| view.parts_from(id, offset, 3).expect("reads"));
        assert!(found.len() == 3 || offset == size_bytes - 1);
        assert!(reads <= 7, "{reads} reads for three parts at {offset}");
    }
    assert_eq!(view.part_at(id, size_bytes).expect("reads"), None);
    for number in [1, 2, 4999, 5000, 9999, 10_000] {
        let (reads, found) = counted.kv.reads_during(|| view.part_numbered(id, size_bytes, number).expect("reads"));
        assert_eq!(found.map(|part| part.number), Some(number));
        assert!(reads <= 60, "{reads} reads to find part {number}");
    }
    assert_eq!(view.part_numbered(id, size_bytes, 10_001).expect("reads"), None);

    let (reads, replies) = counted.apply(vec![samples::delete(BUCKET, "key")]);
    assert_eq!(replies, [samples::deleted(true)]);
    let changes = counted.kv.last_batch().changes.len();
    assert!(reads <= 2 * DROPPED_ROWS_AT_ONCE + 20, "{reads} reads to delete it");
    assert!(changes <= 3 * DROPPED_ROWS_AT_ONCE + 10, "{changes} changes to delete it");
}

#[test]
fn buckets_of_other_accounts_cost_nothing_in_a_list_or_a_creation() {
    let mut counted = Counted::with_bucket();
    counted.apply((0..500).map(|number| create_bucket(&format!("p{number}"), "another")).collect());
    let view = MetaView::new(counted.kv.clone());
    let (reads, (buckets, more)) =
        counted.kv.reads_during(|| view.buckets_of("someone", "", None, 100).expect("reads"));
    assert_eq!((buckets.len(), buckets[0].bucket.name.as_str(), more), (1, "photos", false));
    assert!(reads <= 3, "{reads} reads to list one bucket among 501");
    let (reads, _) = counted.apply(vec![create_bucket("more", "another")]);
    assert!(reads <= 6, "{reads} reads to create a bucket of an account with 500");
}

#[test]
fn a_batch_writes_every_changed_key_once_c11() {
    let mut counted = Counted::with_bucket();
    let puts =
        (0..200u128).map(|id| Change::PutObject(Box::new(put_blob(if id % 2 == 0 { "a" } else { "b" }, 10 + id))));
    let (_, replies) = counted.apply(puts.collect());
    assert_eq!(replies.len(), 200);
    let batch = counted.kv.last_batch();
    let keys: BTreeSet<_> = batch.changes.iter().map(|change| (change.table, change.key.clone())).collect();
    assert_eq!(keys.len(), batch.changes.len());
    let of = |table| batch.changes.iter().filter(|change| change.table == Table(table)).count();
    assert_eq!((of("objects"), of("system")), (2, 3));
}

#[test]
fn a_put_costs_a_few_lookups_and_one_commit_c1_c12() {
    let mut counted = Counted::with_bucket();
    let commits = counted.kv.inner.unsynced_commits();
    let (reads, _) = counted.apply(vec![Change::PutObject(Box::new(put_inline("small", 10, b"bytes")))]);
    // One of these reads is of the confirmed time, once a batch.
    assert!(reads <= 7, "{reads} reads for an inline put");
    assert_eq!(counted.kv.last_batch().changes.len(), 5);
    let (reads, _) = counted.apply(vec![Change::PutObject(Box::new(put_blob("large", 11)))]);
    // One of these reads is of the confirmed time, one of the removed drives and one of the fence, once a batch.
    assert!(reads <= 12, "{reads} reads for a put of a blob");
    assert_eq!(counted.kv.last_batch().changes.len(), 6);
    assert_eq!(counted.kv.inner.unsynced_commits(), commits + 2);
}

/// Returns a copy of the object of `upload_of` under the key "copy".
fn copy_of_upload(id: u128) -> Change {
    Change::CopyVersion(Box::new(CopyVersion {
        source_bucket: BUCKET,
        source_key: "key".to_owned(),
        source: Pick::Current,
        source_manifest: ManifestId(500),
        source_sealing: None,
        key: "copy".to_owned(),
        id: ManifestId(id),
        traits: Traits::default(),
        event: None,
        ..samples::copy_version()
    }))
}

#[test]
fn an_append_to_a_copy_changes_a_bounded_number_of_rows() {
    let most = usize::from(SHARED_PARTS_COPIED_MAX);
    let append = |standing, id| {
        let append = AppendObject { key: "copy".to_owned(), number: PARTS_MAX, ..appending(standing, id) };
        vec![Change::AppendObject(Box::new(append))]
    };
    for (parts, is_refused) in
        [(SHARED_PARTS_COPIED_MAX, false), (SHARED_PARTS_COPIED_MAX + 1, true), (PARTS_MAX - 1, true)]
    {
        let mut counted = Counted::with_bucket();
        let rows = counted.upload_of(parts);
        counted.complete(&rows);
        counted.apply(vec![copy_of_upload(501)]);
        let (reads, replies) = counted.apply(append(501, 502));
        let changes = counted.kv.last_batch().changes.len();
        assert!(reads <= 2 * most + 30, "{reads} reads for {parts} parts");
        assert!(changes <= 2 * most + 20, "{changes} changes for {parts} parts");
        if is_refused {
            assert_eq!(replies, [Reply::Refused(Refusal::PartsShared)], "{parts} parts");
            counted.apply(vec![samples::delete(BUCKET, "key")]);
            let (reads, replies) = counted.apply(append(501, 503));
            assert!(matches!(replies[0], Reply::ObjectPut { .. }), "nobody else refers to the parts: {replies:?}");
            assert!(reads + counted.kv.last_batch().changes.len() <= 50, "{reads} reads");
        } else {
            assert!(matches!(replies[0], Reply::ObjectPut { .. }), "{replies:?}");
        }
        counted.view().check_invariants();
    }
}

#[test]
fn a_completion_reads_few_more_rows_than_it_lists() {
    let mut counted = Counted::with_bucket();
    let rows = counted.upload_of(10_000);
    let wrong = |at: usize| PartRow { md5: [0; 16], ..rows[at].clone() };
    for listed in [vec![wrong(0)], vec![wrong(9_999)], vec![rows[0].clone(), wrong(9_999)]] {
        let (reads, replies) = counted.apply(vec![Change::CompleteUpload(Box::new(complete("key", 9, 500, &listed)))]);
        assert_eq!(replies, [Reply::Refused(Refusal::InvalidPart)]);
        assert!(reads <= 2 * listed.len() + 15, "{reads} reads for {} parts", listed.len());
        let numbers: Vec<u16> = listed.iter().map(|row| row.number).collect();
        let view = counted.view();
        let (reads, found) = counted.kv.reads_during(|| view.upload_parts_numbered(UploadId(9), &numbers));
        assert_eq!(found.expect("reads").len(), listed.len());
        assert!(reads <= 2 * listed.len() + 1, "{reads} reads to look {numbers:?} up");
    }
    let reads = counted.complete(&[rows[0].clone(), rows[4_999].clone(), rows[9_998].clone()]);
    assert!(reads <= 3 * DROPPED_ROWS_AT_ONCE, "{reads} reads to complete it");
    let parts = counted.view().parts_from(ManifestId(500), 0, 10).expect("reads");
    assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 5_000, 9_999]);
}

#[test]
fn deletes_of_all_versions_of_a_key_cost_the_same_for_each() {
    const COUNT: usize = 1000;
    for are_markers in [false, true] {
        let mut counted = Counted::with_bucket();
        let (versioning, quota) = (Some(Versioning::Enabled), QuotaChange::default());
        counted.apply(vec![Change::SetBucket { bucket: BUCKET, versioning, lock: None, quota }]);
        let put = |id| Change::PutObject(Box::new(put_empty("key", id)));
        let make = |id| if are_markers { samples::delete(BUCKET, "key") } else { put(id) };
        let (_, made) = counted.apply((1..=COUNT as u128).map(make).collect());
        let version = |reply: &Reply| match reply {
            Reply::ObjectPut { object } => object.version,
            Reply::VersionsDeleted(made) => made[0].as_ref().ok().and_then(|made| made.version).expect("a marker"),
            other => panic!("not made: {other:?}"),
        };
        let delete = |reply: &Reply| DeleteVersion {
            key: "key".to_owned(),
            pick: version(reply).pick(),
            ..DeleteVersion::default()
        };
        // The newest is deleted first, so that the next one takes its place each time.
        let deletes = made.iter().rev().map(delete).collect();
        let (reads, replies) = counted.apply(vec![Change::DeleteVersions { bucket: BUCKET, deletes }]);
        let Reply::VersionsDeleted(deleted) = &replies[0] else { panic!("not deleted: {replies:?}") };
        let gone = deleted.iter().filter(|one| one.as_ref().is_ok_and(|one| one.existed)).count();
        assert_eq!((gone, deleted.len()), (COUNT, COUNT));
        assert!(reads <= 10 * COUNT, "{reads} reads");
        counted.view().check_invariants();
    }
}

#[test]
fn deletes_beyond_a_number_of_versions_that_is_kept_read_those_versions_once() {
    const KEPT: usize = 100;
    const COUNT: usize = 301;
    let mut counted = Counted::with_bucket();
    let (versioning, quota) = (Some(Versioning::Enabled), QuotaChange::default());
    counted.apply(vec![Change::SetBucket { bucket: BUCKET, versioning, lock: None, quota }]);
    let put = |id| Change::PutObject(Box::new(put_empty("key", id)));
    let (_, made) = counted.apply((1..=COUNT as u128).map(put).collect());
    let delete = |at: usize, rank| {
        let Reply::ObjectPut { object } = &made[at] else { panic!("not made: {:?}", made[at]) };
        let conditions = DeleteConditions { rank, ..DeleteConditions::default() };
        DeleteVersion { key: "key".to_owned(), pick: object.version.pick(), conditions, ..DeleteVersion::default() }
    };
    let beyond = |at| delete(at, VersionRank::Noncurrent { newer: KEPT as u32 });
    let gone = |reply: &Reply| match reply {
        Reply::VersionsDeleted(deleted) => deleted.iter().map(Result::is_ok).collect::<Vec<bool>>(),
        other => panic!("not deleted: {other:?}"),
    };
    // The last one is the current object; the others are noncurrent, and the newest of them are kept.
    let (newest, first_kept) = (COUNT - 2, COUNT - 1 - KEPT);
    let last_beyond = first_kept - 1;
    let mut deletes: Vec<DeleteVersion> = (0..last_beyond).map(beyond).collect();
    deletes.push(beyond(first_kept));
    deletes.push(delete(newest, VersionRank::Any));
    deletes.push(beyond(last_beyond));
    let (reads, replies) = counted.apply(vec![Change::DeleteVersions { bucket: BUCKET, deletes }]);
    let mut expected = vec![true; last_beyond];
    expected.extend([false, true, false]);
    assert_eq!(gone(&replies[0]), expected);
    assert!(reads <= 10 * COUNT, "{reads} reads");
    counted.view().check_invariants();
    let again = || Change::DeleteVersions { bucket: BUCKET, deletes: vec![beyond(last_beyond)] };
    let (_, replies) = counted.apply(vec![again(), put(1000), again()]);
    assert_eq!((gone(&replies[0]), gone(&replies[2])), (vec![false], vec![true]), "a newer one is there now");
    counted.view().check_invariants();
}

#[test]
fn a_version_that_is_made_while_others_are_deleted_becomes_current_after_them() {
    let mut counted = Counted::with_bucket();
    let (versioning, quota) = (Some(Versioning::Enabled), QuotaChange::default());
    counted.apply(vec![Change::SetBucket { bucket: BUCKET, versioning, lock: None, quota }]);
    let put = |id| Change::PutObject(Box::new(put_empty("key", id)));
    let delete = |seq, salt| Change::DeleteVersions {
        bucket: BUCKET,
        deletes: vec![DeleteVersion {
            key: "key".to_owned(),
            pick: Pick::Exact { seq, salt },
            ..DeleteVersion::default()
        }],
    };
    // Once the only version is gone, no version is known to be there. Then two are made and the newer one is deleted.
    counted.apply(vec![put(1), delete(1, 1), put(2), put(3), delete(3, 3), put(4), put(5), delete(5, 5)]);
    let current = || counted.view().object(BUCKET, "key").expect("reads").map(|object| object.manifest.id);
    assert_eq!(current(), Some(ManifestId(4)));
    counted.apply(vec![delete(4, 4)]);
    let current = counted.view().object(BUCKET, "key").expect("reads").map(|object| object.manifest.id);
    assert_eq!(current, Some(ManifestId(2)));
    counted.view().check_invariants();
}

#[test]
fn one_change_takes_apart_a_bounded_number_of_rows_of_all_lists_that_it_drops() {
    let mut counted = Counted::with_bucket();
    let keys: Vec<String> = (1..=40).map(|number| format!("key-{number}")).collect();
    for (key, number) in keys.iter().zip(1..) {
        counted.object_of(key, number, DROPPED_ROWS_AT_ONCE as u16);
    }
    let deletes = keys.iter().map(|key| DeleteVersion { key: key.clone(), ..DeleteVersion::default() }).collect();
    counted.apply(vec![Change::DeleteVersions { bucket: BUCKET, deletes }]);
    let changes = counted.kv.last_batch().changes.len();
    assert!(changes <= 3 * DROPPED_ROWS_PER_RECLAIM + 10 * keys.len(), "{changes} changes to delete them");
    for _ in 0..keys.len() {
        counted.apply(vec![Change::ReclaimGarbage { gone: Vec::new() }]);
    }
    let counts = counted.view().counts().expect("reads");
    let parts = (keys.len() * DROPPED_ROWS_AT_ONCE) as u64;
    assert_eq!((counts.objects, counts.dropped_lists, counts.blobs, counts.garbage), (0, 0, 0, parts));
}

#[test]
fn the_configurations_of_a_bucket_are_counted_once_in_a_batch() {
    let mut counted = Counted::with_bucket();
    let write = |id: usize, is_there: bool| {
        let key = DocumentKey::Bucket(BUCKET, BucketDocument::Inventory, format!("{id:04}"));
        let value = is_there.then(|| Bytes::from_static(b"{}"));
        Change::WriteDocuments(vec![DocumentWrite { key, expect: Expect::Any, value }])
    };
    let most = CONFIGURATIONS_OF_A_KIND_MAX;
    counted.apply((0..most - 2).map(|id| write(id, true)).collect());
    let (reads, replies) = counted.apply((0..100).flat_map(|_| [write(most, true), write(most, false)]).collect());
    assert!(replies.iter().all(|reply| *reply == Reply::Done));
    assert!(reads <= most + 1000, "{reads} reads for 200 changes");
    let ids = [(most, true), (most + 1, true), (most + 2, true), (most, false), (most + 2, true), (most + 3, true)];
    let (_, replies) = counted.apply(ids.into_iter().map(|(id, is_there)| write(id, is_there)).collect());
    let refused: Vec<bool> = replies.iter().map(|reply| matches!(reply, Reply::Refused(_))).collect();
    assert_eq!(refused, [false, false, true, false, false, true]);
}
