//! Tests of the compactor of a drive some rows of whose index cannot be read, or whose index is made anew.

use super::{STEPS_MAX, append, chunk_of, compaction, read, shard};
use crate::actors::drives::open_over;
use crate::actors::drives::test_host::{SEGMENT_BYTES, TestHost, drive_options, set_clock};
use crate::actors::log::Threads;
use crate::actors::upkeep::{Chore, CompactionError, Step};
use crate::net::NodeService;
use crate::storage::kv::memory::MemoryKv;
use crate::storage::kv::{Batch, Kv, KvError, KvRead, KvResult, PairIter, Table};
use crate::storage::shard_index::TABLES;
use crate::types::{NodeId, ShardId};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const NODE: NodeId = NodeId(0);

/// Tables in which the places of one segment cannot be read; those of none while the number is 0.
#[derive(Debug)]
struct Unread {
    kv: MemoryKv,
    segment: Arc<AtomicU32>,
}

#[derive(Debug)]
struct UnreadView {
    rows: Arc<dyn KvRead>,
    segment: Arc<AtomicU32>,
}

fn range_of<'a>(
    rows: &'a dyn KvRead,
    unread: &AtomicU32,
    table: Table,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
) -> PairIter<'a> {
    let segment = unread.load(Ordering::Relaxed).to_be_bytes();
    match from {
        Bound::Included(key) | Bound::Excluded(key) if table == Table("places") && key.starts_with(&segment) => {
            let error = KvError::new("read a range", "a block's checksum differs");
            Box::new(std::iter::once(Err(error)))
        }
        _ => rows.range(table, from, to),
    }
}

impl KvRead for Unread {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.kv.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        range_of(&self.kv, &self.segment, table, from, to)
    }
}

impl KvRead for UnreadView {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.rows.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        range_of(&*self.rows, &self.segment, table, from, to)
    }
}

impl Kv for Unread {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        Arc::new(UnreadView { rows: self.kv.snapshot(), segment: Arc::clone(&self.segment) })
    }

    fn commit(&self, batch: Batch) -> KvResult<()> {
        self.kv.commit(batch)
    }

    fn persist(&self) -> KvResult<()> {
        self.kv.persist()
    }

    fn disk_bytes(&self) -> u64 {
        self.kv.disk_bytes()
    }

    fn successor(&self) -> KvResult<Arc<dyn Kv>> {
        Ok(Arc::new(MemoryKv::new(TABLES)))
    }
}

#[actix::test]
async fn a_segment_whose_rows_cannot_be_read_is_held_while_others_are_compacted() {
    let (root, clock) = (tempfile::tempdir().expect("a directory"), set_clock());
    let unread = Arc::new(AtomicU32::new(0));
    let kv = Arc::new(Unread { kv: MemoryKv::new(TABLES), segment: Arc::clone(&unread) });
    let options = drive_options(root.path(), NODE, &clock);
    let drive = open_over(NODE, &options.disk, &options.log, kv).expect("a drive").start(Threads::Current);
    let host = TestHost::new(vec![drive.clone()], 1, 0, clock, None).await;
    let last = 4 * u128::from(SEGMENT_BYTES / (210 << 10));
    for blob in 1..=last {
        append(&host, NODE, blob).await;
    }
    let dead: Vec<ShardId> = (1..=last).filter(|blob| blob % 4 != 0).map(shard).collect();
    host.service.drop_shards(NODE, dead).await.expect("dropped");
    unread.store(1, Ordering::Relaxed);
    let mut compaction = compaction(&host, &drive);
    let (mut failed, mut released) = (0, 0);
    for _ in 0..STEPS_MAX {
        match compaction.advance().await {
            Ok(Step::Nothing) => break,
            Ok(step) => released += usize::from(matches!(step, Step::Released(_))),
            Err(error) => {
                assert!(matches!(error, CompactionError::Index(_)), "{error}");
                failed += 1;
            }
        }
    }
    assert_eq!(failed, 1, "it is not chosen again at once");
    assert!(released >= 2, "{released} segments are emptied");
    unread.store(0, Ordering::Relaxed);
    host.clock.forward(Duration::from_secs(60));
    let before = drive.log.segments().len();
    super::compact(&mut compaction).await;
    assert!(drive.log.segments().len() < before);
    for blob in (4..=last).step_by(4) {
        assert_eq!(read(&host, NODE, blob).await, Some(chunk_of(blob)));
    }
    host.close().await;
}

#[actix::test]
async fn an_index_is_made_durable_while_another_is_made_for_its_place() {
    let (root, clock) = (tempfile::tempdir().expect("a directory"), set_clock());
    let tables = Arc::new(Unread { kv: MemoryKv::new(TABLES), segment: Arc::default() });
    let options = drive_options(root.path(), NODE, &clock);
    let kv: Arc<dyn Kv> = tables.clone();
    let drive = open_over(NODE, &options.disk, &options.log, kv).expect("a drive").start(Threads::Current);
    let host = TestHost::new(vec![drive.clone()], 1, 0, clock, None).await;
    let mut compaction = compaction(&host, &drive);
    append(&host, NODE, 1).await;
    drive.index.begin_remake().expect("begun");
    append(&host, NODE, 2).await;
    assert!(tables.kv.unsynced_commits() > 0);
    host.clock.forward(Duration::from_secs(60));
    compaction.step().await;
    assert!(drive.index.is_being_remade());
    assert_eq!(tables.kv.unsynced_commits(), 0);
    host.close().await;
}
