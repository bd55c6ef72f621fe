//! Tests of the cost of changes and lookups, in reads and writes.

use super::create_bucket;
use crate::limits::DROPPED_ROWS_AT_ONCE;
use crate::storage::kv::memory::MemoryKv;
use crate::storage::kv::{Batch, Kv, KvRead, KvResult, PairIter, Table};
use crate::storage::meta::apply::{ApplyEntry, MetaTables};
use crate::storage::meta::command::{Change, Command, Reply};
use crate::storage::meta::listing::ListQuery;
use crate::storage::meta::record::PartRow;
use crate::storage::meta::samples::{self, BUCKET, MIB, complete, create_upload, part, put_blob, put_inline, put_part};
use crate::storage::meta::tables::TABLES;
use crate::storage::meta::view::MetaView;
use crate::types::{ManifestId, UnixMs};
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
