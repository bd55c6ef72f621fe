//! Tests of scrub over real logs: every chunk is verified, corrupt ones are repaired, and a pass survives a restart.

use super::{heal, healing, repaired, shard_of, stripes};
use crate::actors::drives::test_host::{CHUNK_BYTES, Seeded, TestHost, blob_of, flip_byte_of, open_host};
use crate::actors::healer::{Scrub, ScrubHandle, ScrubOptions, Scrubbed};
use crate::actors::upkeep::{Chore, CompactionContext, Pace};
use crate::storage::shard_index::ScrubRow;
use crate::types::{ChunkIndex, Lsn, NodeId, UnixMs};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(30 * 24 * 3600);

fn scrub(host: &TestHost, node: NodeId, handle: &ScrubHandle) -> Scrub {
    let context = CompactionContext {
        threads: host.upkeep.threads.clone(),
        health: host.upkeep.health.clone(),
        faults: host.node_context.faults.clone(),
        load: host.upkeep.load.clone(),
        ambient: host.upkeep.ambient.clone(),
    };
    let options = ScrubOptions { step_bytes_max: 64 << 10, pace: Pace::UNLIMITED, ..ScrubOptions::default() };
    let drive = host.drives.iter().find(|drive| drive.node == node).expect("a drive").clone();
    Scrub::new(drive, context, options, handle.clone())
}

/// Runs scrub until the pass is over. Returns the number of bytes read.
async fn pass(scrub: &mut Scrub) -> u64 {
    let mut read = 0;
    for _ in 0..10_000 {
        match scrub.advance().await.expect("a step") {
            Scrubbed::Checked { bytes, .. } => read += bytes,
            Scrubbed::Finished => return read,
            other => panic!("a pass is under way, not {other:?}"),
        }
    }
    panic!("the pass does not come to an end");
}

#[actix::test]
async fn scrub_verifies_every_chunk_and_has_corrupt_ones_repaired() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let content = Seeded::new(1).bytes(100 * 2 * CHUNK_BYTES as usize);
    let blob = blob_of(&host.put("key", &content).await.expect("stored")).clone();
    let (node, id) = shard_of(&blob, 1);
    let handle = ScrubHandle::default();
    let mut scrub = scrub(&host, node, &handle);
    assert_eq!(scrub.advance().await.expect("a step"), Scrubbed::Nothing, "the first pass is due after the interval");
    host.clock.forward(INTERVAL);
    assert_eq!(pass(&mut scrub).await, u64::from(stripes(&blob)) * u64::from(CHUNK_BYTES));
    let status = handle.status().remove(&node).expect("shown");
    assert_eq!((status.began, status.corrupt, status.done_permille), (None, 0, 1000));
    assert!(status.finished.is_some() && status.due > status.finished.expect("ended"));
    assert_eq!(scrub.advance().await.expect("a step"), Scrubbed::Nothing);
    let (mut healing, healer) = healing(&mut host);
    heal(&mut healing).await;
    for chunk in [3, 70] {
        flip_byte_of(&host, root.path(), node, id, ChunkIndex(chunk));
    }
    handle.start(node);
    pass(&mut scrub).await;
    assert_eq!(handle.status()[&node].corrupt, 2);
    healing.advance().await.expect("a step");
    assert_eq!((healer.status().corrupt_chunks, healer.status().missing_shards), (2, 1));
    assert!(repaired(&heal(&mut healing).await, id));
    for _ in 0..2 {
        host.clock.forward(Duration::from_secs(2));
        heal(&mut healing).await;
    }
    assert_eq!((healer.status().corrupt_chunks, healer.status().missing_shards), (0, 0));
    handle.start(node);
    pass(&mut scrub).await;
    assert_eq!(handle.status()[&node].corrupt, 0);
    host.close().await;
}

#[actix::test]
async fn a_scrub_pass_resumes_at_its_position_after_a_restart() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 2, 2).await;
    let content = Seeded::new(2).bytes(300 * 2 * CHUNK_BYTES as usize);
    host.put("key", &content).await.expect("stored");
    let (node, handle) = (NodeId(1), ScrubHandle::default());
    let mut scrub_before = scrub(&host, node, &handle);
    handle.start(node);
    let mut before = 0;
    while before < 1 << 20 {
        match scrub_before.advance().await.expect("a step") {
            Scrubbed::Checked { bytes, .. } => before += bytes,
            other => panic!("a pass is under way, not {other:?}"),
        }
        host.clock.forward(Duration::from_secs(120));
    }
    let began = handle.status()[&node].began.expect("under way");
    assert!((1..1000).contains(&handle.status()[&node].done_permille) && handle.status()[&node].eta.is_some());
    // After a restart only the row in the drive's index is left.
    drop(scrub_before);
    let handle = ScrubHandle::default();
    let mut scrub_after = scrub(&host, node, &handle);
    let step = scrub_after.advance().await.expect("a step");
    assert_eq!(handle.status()[&node].began, Some(began), "the same pass");
    let Scrubbed::Checked { bytes, .. } = step else { panic!("a pass is under way, not {step:?}") };
    let after = bytes + pass(&mut scrub_after).await;
    let all = 300 * u64::from(CHUNK_BYTES);
    assert!((all..all + (1 << 17)).contains(&(before + after)), "{before} and {after} of {all}");
    host.close().await;
}

/// Tests a crash at the end of a pass, before and after the healer has queued the repair of a corrupt chunk.
#[actix::test]
async fn a_scrub_position_is_kept_only_once_the_repairs_of_what_was_found_are_queued() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let content = Seeded::new(5).bytes(100 * 2 * CHUNK_BYTES as usize);
    let blob = blob_of(&host.put("key", &content).await.expect("stored")).clone();
    let (node, id) = shard_of(&blob, 1);
    let (mut healing, _healer) = healing(&mut host);
    heal(&mut healing).await;
    flip_byte_of(&host, root.path(), node, id, ChunkIndex(70));
    let index = host.drives.iter().find(|drive| drive.node == node).expect("a drive").index.clone();
    let kept = || index.scrub().expect("looked up").expect("kept");
    let mut read = 0;
    // After each restart only the row in the drive's index is left.
    for restart in [false, true] {
        let handle = ScrubHandle::default();
        let mut scrub = scrub(&host, node, &handle);
        if !restart {
            handle.start(node);
        }
        loop {
            match scrub.advance().await.expect("a step") {
                Scrubbed::Checked { bytes, .. } => read += bytes,
                Scrubbed::Finished => break,
                other => panic!("a pass is under way, not {other:?}"),
            }
            host.clock.forward(Duration::from_secs(120));
        }
        assert_eq!(handle.status()[&node].corrupt, 1, "the chunk is found, and found again by the next start");
        assert_eq!(scrub.advance().await.expect("a step"), Scrubbed::Nothing);
        assert!(kept().began > UnixMs(0), "a restart goes on before the chunk");
        if restart {
            heal(&mut healing).await;
            assert_eq!(scrub.advance().await.expect("a step"), Scrubbed::Nothing);
            assert_eq!((kept().began, kept().corrupt), (UnixMs(0), 1));
        }
    }
    let all = u64::from(stripes(&blob)) * u64::from(CHUNK_BYTES);
    assert!((all..2 * all).contains(&read), "the position before the chunk was kept: {read} of {all}");
    host.close().await;
}

/// Tests that a fault is not skipped when the healer's channel is full.
#[actix::test]
async fn a_scrub_pass_waits_until_the_healer_takes_its_reports() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 1, 0).await;
    let content = Seeded::new(3).bytes(4 * CHUNK_BYTES as usize);
    let blob = blob_of(&host.put("key", &content).await.expect("stored")).clone();
    let (node, id) = shard_of(&blob, 0);
    flip_byte_of(&host, root.path(), node, id, ChunkIndex(0));
    let fault = crate::actors::drives::ShardFault {
        node,
        shard: id,
        chunk: ChunkIndex(9),
        fault: crate::net::ChunkFault::Missing,
    };
    while host.node_context.faults.report(fault) {}
    let handle = ScrubHandle::default();
    let mut scrub = scrub(&host, node, &handle);
    handle.start(node);
    assert_eq!(scrub.advance().await.expect("a step"), Scrubbed::Waiting);
    assert!(scrub.step().await > Duration::ZERO);
    let source = host.faults.as_mut().expect("no healer");
    while source.take().is_some() {}
    pass(&mut scrub).await;
    assert_eq!(host.faults.as_mut().expect("no healer").take().expect("reported").chunk, ChunkIndex(0));
    host.close().await;
}

#[actix::test]
async fn a_scrub_position_reads_back_as_it_was_stored() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    let index = &host.drives[0].index;
    assert_eq!(index.scrub().expect("looked up"), None);
    let [began, finished, due] = [1, 2, u64::MAX].map(UnixMs);
    let row = ScrubRow { began, position: Lsn(3), until: Lsn(4), corrupt: 5, finished, due };
    index.keep_scrub(row).expect("kept");
    assert_eq!(index.scrub().expect("looked up"), Some(row));
    host.close().await;
}

#[actix::test]
async fn a_stopped_scrub_pass_does_not_begin_again_by_itself() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    let content = Seeded::new(4).bytes(8 * CHUNK_BYTES as usize);
    host.put("key", &content).await.expect("stored");
    let (node, handle) = (host.drives[0].node, ScrubHandle::default());
    let mut scrub = scrub(&host, node, &handle);
    assert!(!handle.stop(node), "none is under way");
    handle.start(node);
    assert!(matches!(scrub.advance().await.expect("a step"), Scrubbed::Checked { .. }));
    assert!(handle.status()[&node].began.is_some() && handle.stop(node));
    assert_eq!(scrub.advance().await.expect("a step"), Scrubbed::Stopped);
    let status = handle.status()[&node].clone();
    assert_eq!((status.began, status.finished), (None, None), "it was not finished");
    assert_eq!(scrub.advance().await.expect("a step"), Scrubbed::Nothing);
    handle.start(node);
    let read = pass(&mut scrub).await;
    assert_eq!(read, 8 * u64::from(CHUNK_BYTES), "the next pass starts at the beginning");
    assert!(handle.status()[&node].finished.is_some() && !handle.stop(node));
    host.close().await;
}
