//! Tests of compaction while records are in the log and not yet in the index: none is lost, and none is copied twice.

use super::super::{Compaction, CompactionContext, CompactionError, CompactionOptions, Pace, Step};
use super::{append, compact, compaction, read, shard};
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::test_host::{SEGMENT_BYTES, Seeded, open_host, set_clock, sim_log_options};
use crate::actors::drives::{Drive, Inline, LocalNode, NodeContext, UserLoad, fault_channel, open_over};
use crate::actors::log::Threads;
use crate::ambient::Ambient;
use crate::net::{AppendChunks, NodeService, PeerError, ReadChunks};
use crate::storage::disk::sim::{Held, SimDisk};
use crate::storage::kv::memory::{MemoryKv, Writes};
use crate::storage::shard_index::TABLES;
use crate::types::{ChunkIndex, NodeId, ShardId};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

const NODE: NodeId = NodeId(0);
const LAST: u128 = 24;

fn content(blob: u128) -> Bytes {
    Seeded::new(blob as u64).bytes(33_000)
}

/// Makes a drive on a simulated disk, of which two thirds of the shards are dropped, with its compaction.
async fn filled(kv: &Arc<MemoryKv>, threads_of_log: Threads) -> (SimDisk, Drive, LocalNode, Compaction) {
    let (disk, clock) = (SimDisk::new(64 << 20), set_clock());
    let options = sim_log_options(128 << 10, &clock);
    let opened = open_over(NODE, &disk.handle(), &options, kv.clone()).expect("the drive opens");
    let drive = opened.start(threads_of_log);
    let (faults, health, load) = (fault_channel().0, HealthBoard::new([NODE]), UserLoad::default());
    let threads = Arc::new(Inline);
    let node =
        NodeContext { threads: threads.clone(), health: health.clone(), faults: faults.clone(), load: load.clone() };
    let service = LocalNode::new([drive.clone()].into_iter().collect(), node);
    for blob in 1..=LAST {
        let request = AppendChunks {
            node: NODE,
            shard: shard(blob),
            first: ChunkIndex(0),
            chunks: vec![content(blob)],
            trace: None,
        };
        service.append_chunks(request).await.expect("appended");
    }
    let dead: Vec<ShardId> = (1..=LAST).filter(|blob| blob % 3 != 0).map(shard).collect();
    service.drop_shards(NODE, dead).await.expect("dropped");
    let ambient = Ambient { clock, entropy: Arc::new(Seeded::new(0)) };
    let context = CompactionContext { threads, health, faults, load, ambient };
    let options = CompactionOptions { pace: Pace::UNLIMITED, ..CompactionOptions::for_segments_of(128 << 10) };
    let compaction = Compaction::new(drive.clone(), context, options);
    (disk, drive, service, compaction)
}

/// Checks that the index is published up to its head, and that all shards that were not dropped can be read.
async fn check(drive: &Drive, service: &LocalNode) {
    assert_eq!(drive.index.watermark().expect("read"), drive.index.head());
    drive.index.check_invariants();
    for blob in (3..=LAST).step_by(3) {
        let request = ReadChunks { node: NODE, shard: shard(blob), first: ChunkIndex(0), count: 1, trace: None };
        let read = service.read_chunks(request).await.expect("the drive serves").chunks.remove(0);
        assert_eq!(read, Ok(content(blob)));
    }
}

#[actix::test]
async fn copies_that_the_log_answers_too_late_are_published_before_more_is_copied() {
    let kv = Arc::new(MemoryKv::new(TABLES));
    let (disk, drive, service, mut compaction) = filled(&kv, Threads::Own).await;
    let hold = disk.hold(Held::Sync);
    tokio::time::pause();
    let late = compaction.advance().await;
    tokio::time::resume();
    assert!(matches!(late, Err(CompactionError::Node(PeerError::TimedOut(_)))), "{late:?}");
    for _ in 0..3 {
        assert_eq!(compaction.advance().await.expect("a step"), Step::Waiting);
    }
    drop(hold);
    let mut done = Vec::new();
    // The log's own threads take real time.
    for _ in 0..3000 {
        match compaction.advance().await.expect("a step") {
            Step::Nothing => break,
            Step::Waiting => tokio::time::sleep(Duration::from_millis(20)).await,
            step => done.push(step),
        }
    }
    assert!(matches!(done[0], Step::Moved(moved) if moved.records > 0), "{done:?}");
    assert!(done.iter().any(|step| matches!(step, Step::Released(_))), "{done:?}");
    assert!(!drive.index.awaits_any_of(0..drive.index.tickets_begun()), "no ticket is left");
    check(&drive, &service).await;
    drive.log.close().await.expect("closed");
}

#[actix::test]
async fn copies_that_the_index_refused_are_published_before_more_is_copied() {
    for writes in [Writes::Refused, Writes::KeptAndFailed] {
        let kv = Arc::new(MemoryKv::new(TABLES));
        let (_disk, drive, service, mut compaction) = filled(&kv, Threads::Current).await;
        let before = drive.log.status().appends;
        kv.set_writes(writes);
        for _ in 0..5 {
            compaction.advance().await.expect_err("the index fails");
        }
        assert_eq!(drive.log.status().appends, before + 1, "it copies once");
        kv.set_writes(Writes::Kept);
        let done = compact(&mut compaction).await;
        assert!(done.iter().any(|step| matches!(step, Step::Released(_))), "{done:?}");
        check(&drive, &service).await;
        drive.log.close().await.expect("closed");
    }
}

#[actix::test]
async fn a_segment_with_records_not_yet_in_the_index_is_not_released() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    let index = host.drives[0].index.clone();
    let ticket = index.begin();
    let last = 4 * u128::from(SEGMENT_BYTES / (210 << 10));
    for blob in 1..=last {
        append(&host, NODE, blob).await;
    }
    host.service.drop_shards(NODE, (2..=last).map(shard).collect()).await.expect("dropped");
    let mut compaction = compaction(&host, &host.drives[0].clone());
    let mut waited = 0;
    for _ in 0..50 {
        match compaction.advance().await.expect("a step") {
            Step::Released(segment) => panic!("{segment:?} is released"),
            step => waited += u64::from(step == Step::Waiting),
        }
    }
    assert!(waited > 0);
    index.end(ticket);
    let done = compact(&mut compaction).await;
    assert!(done.iter().any(|step| matches!(step, Step::Released(_))), "{done:?}");
    assert!(read(&host, NODE, 1).await.is_some());
    host.close().await;
}
