//! Tests of releases that fail after the log has taken the segment out: for want of file descriptors, the directory is
//! not synced.

use super::{STEPS_MAX, append, chunk_of, compact, compaction, read, shard};
use crate::actors::drives::test_host::{SEGMENT_BYTES, TestHost, set_clock, sim_log_options};
use crate::actors::drives::{Drive, open_over};
use crate::actors::log::Threads;
use crate::actors::upkeep::{Compaction, CompactionError, Step};
use crate::net::{NodeService, PeerError};
use crate::storage::disk::sim::{Shortage, SimDisk};
use crate::storage::kv::memory::MemoryKv;
use crate::storage::shard_index::TABLES;
use crate::types::{NodeId, SegmentId};
use std::sync::Arc;

const NODE: NodeId = NodeId(0);
const FIRST: SegmentId = SegmentId(1);

async fn open(disk: &SimDisk) -> (TestHost, Drive) {
    let clock = set_clock();
    let options = sim_log_options(SEGMENT_BYTES, &clock);
    let opened = open_over(NODE, &disk.handle(), &options, Arc::new(MemoryKv::new(TABLES))).expect("a drive");
    let drive = opened.start(Threads::Current);
    (TestHost::new(vec![drive.clone()], 1, 0, clock, None).await, drive)
}

/// Steps without file descriptors until a release fails.
async fn fail_release(compaction: &mut Compaction, disk: &SimDisk) {
    disk.set_shortage(Some(Shortage::Descriptors));
    for _ in 0..STEPS_MAX {
        match compaction.advance().await {
            Ok(Step::Nothing) => panic!("nothing is released"),
            Ok(_) => {}
            Err(CompactionError::Node(PeerError::Unavailable { .. })) => return disk.set_shortage(None),
            Err(error) => panic!("another step fails: {error}"),
        }
    }
    panic!("compaction does not come to an end");
}

#[actix::test]
async fn a_segment_whose_release_failed_is_removed_from_the_index_by_the_next_step() {
    let disk = SimDisk::new(256 << 20);
    let (host, drive) = open(&disk).await;
    append(&host, NODE, 1).await;
    host.service.drop_shards(NODE, vec![shard(1)]).await.expect("dropped");
    drive.log.rotate().await.expect("rotated");
    append(&host, NODE, 2).await;
    let tombstones = || drive.index.uses().get(&FIRST).map(|used| used.tombstones);
    assert_eq!(tombstones(), Some(1), "of a chunk in the same segment");
    let mut compaction = compaction(&host, &drive);
    fail_release(&mut compaction, &disk).await;
    assert!(drive.log.segments().iter().all(|segment| segment.id != FIRST));
    assert_eq!(drive.log.retiring(), [FIRST]);
    compact(&mut compaction).await;
    assert_eq!(tombstones(), None);
    drive.index.check_invariants();
    assert_eq!(read(&host, NODE, 2).await, Some(chunk_of(2)));
    host.close().await;
}

/// The file may be found again by a start, which may make the index anew.
#[actix::test]
async fn a_tombstone_is_copied_as_long_as_a_file_with_what_it_deletes_is_not_retired() {
    let disk = SimDisk::new(256 << 20);
    let (host, drive) = open(&disk).await;
    append(&host, NODE, 1).await;
    drive.log.rotate().await.expect("rotated");
    host.service.drop_shards(NODE, vec![shard(1)]).await.expect("dropped");
    drive.log.rotate().await.expect("rotated");
    append(&host, NODE, 3).await;
    let mut compaction = compaction(&host, &drive);
    fail_release(&mut compaction, &disk).await;
    assert_eq!(drive.log.retiring(), [FIRST]);
    let done = compact(&mut compaction).await;
    assert!(done.contains(&Step::Released(SegmentId(2))), "{done:?}");
    assert!(drive.log.retiring().is_empty());
    assert_eq!(drive.index.total().tombstones, 1, "its copy");
    assert_eq!(read(&host, NODE, 1).await, None);
    assert_eq!(read(&host, NODE, 3).await, Some(chunk_of(3)));
    host.close().await;
}
