//! Tests of the healer over real logs and indexes, the metadata's state machine, and the real request tasks.

use super::compare::Comparison;
use super::queue::{Looked, RepairQueue};
use super::{Healed, HealerHandle, Healing, HealingOptions, ShardFault};
use crate::actors::consensus::MetaError;
use crate::actors::drives::health::Contents;
use crate::actors::drives::test_host::{
    CHUNK_BYTES, Seeded, SetClock, TableMetadata, TestHost, blob_of, drive_options, flip_byte_of, open_drives,
    open_host, set_clock,
};
use crate::actors::drives::{DriveOptions, open_drive};
use crate::actors::log::Threads;
use crate::actors::peers::{HashRing, LayoutChanged};
use crate::actors::request::Metadata;
use crate::actors::upkeep::{Fenced, Fencing, FencingOptions, Pace, UpkeepError};
use crate::net::{AppendChunks, ChunkFault, NodeService};
use crate::storage::meta::command::{Change, LogTime, MovedShard, Reply};
use crate::storage::meta::record::{BlobRef, NodeRecord, NodeState};
use crate::storage::meta::samples;
use crate::storage::meta::view::MetaView;
use crate::storage::ring::{Layout, LayoutNode};
use crate::storage::stripe::BlobLayout;
use crate::storage::wal::{Durability, LogOptions};
use crate::types::{ChunkIndex, Epoch, HostId, Incarnation, NodeId, ShardId, ShardNumber, UnixMs};
use actix::Actor;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod census;
mod cluster;
mod fence;
mod pacing;
mod scrub;
mod turns;

const STEPS_MAX: usize = 10_000;

fn healing(host: &mut TestHost) -> (Healing, HealerHandle) {
    let options = HealingOptions { pace: Pace::UNLIMITED, ..HealingOptions::default() };
    let faults = host.faults.take().expect("one healer");
    Healing::new(host.upkeep.clone(), faults, options)
}

/// Runs the healer until nothing is left to do. Returns the outcomes of its steps.
async fn heal(healing: &mut Healing) -> Vec<Healed> {
    let mut done = Vec::new();
    for _ in 0..STEPS_MAX {
        match healing.advance().await.expect("a step") {
            Healed::Nothing => return done,
            step => done.push(step),
        }
    }
    panic!("healing does not come to an end");
}

fn repaired(done: &[Healed], shard: ShardId) -> bool {
    done.iter().any(|step| matches!(step, Healed::Worked { repaired, .. } if repaired.contains(&shard)))
}

fn put_off(done: &[Healed], shard: ShardId) -> bool {
    done.iter().any(|step| matches!(step, Healed::Worked { put_off, .. } if put_off.contains(&shard)))
}

fn shard_of(blob: &BlobRef, shard: usize) -> (NodeId, ShardId) {
    (blob.placement[shard], ShardId { blob: blob.id, shard: ShardNumber(shard as u8) })
}

async fn count(host: &TestHost, node: NodeId, shard: ShardId) -> u32 {
    host.service.count_chunks(node, vec![shard]).await.expect("counted")[0]
}

async fn lose(host: &TestHost, blob: &BlobRef, shard: usize) {
    let (node, id) = shard_of(blob, shard);
    host.service.drop_shards(node, vec![id]).await.expect("dropped");
    assert_eq!(count(host, node, id).await, 0);
}

fn stripes(blob: &BlobRef) -> u32 {
    BlobLayout::new(blob.geometry, blob.size_bytes).expect("a layout").stripes()
}

#[actix::test]
async fn a_replaced_drive_is_refilled_and_its_shards_are_readable() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let content = Seeded::new(1).bytes(9 * 2 * CHUNK_BYTES as usize + 777);
    let manifest = host.put("key", &content).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 1).await;
    let (mut healing, handle) = healing(&mut host);
    handle.reconcile(blob.placement[1]);
    heal(&mut healing).await;
    assert!(handle.reconciling().is_empty());
    let (node, id) = shard_of(&blob, 1);
    assert_eq!(count(&host, node, id).await, stripes(&blob));
    assert_eq!(host.view().await.counts().expect("counts").repairs, 0);
    for other in [0, 2] {
        host.upkeep.health.take_out(blob.placement[other], "pulled");
    }
    assert_eq!(
        host.get("key").await.expect("read"),
        Some(content),
        "the rebuilt shard is one of the two that are left"
    );
    host.close().await;
}

#[actix::test]
async fn with_relaxed_durability_a_rebuilt_shard_is_synced_before_its_repair_ends() {
    let (root, clock) = (tempfile::tempdir().expect("a directory"), set_clock());
    let durability = Durability::Relaxed { flush_delay_max: Duration::from_secs(3600) };
    let open = |node| {
        let options = drive_options(root.path(), NodeId(node), &clock);
        let log = LogOptions { durability, ..options.log };
        open_drive(&DriveOptions { log, ..options }).expect("a drive").start(Threads::Current)
    };
    let mut host = TestHost::new((0..4).map(open).collect(), 2, 2, clock.clone(), None).await;
    let manifest = host.put("key", &Seeded::new(12).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    let (node, id) = shard_of(&blob, 1);
    lose(&host, &blob, 1).await;
    let (mut healing, handle) = healing(&mut host);
    handle.reconcile(node);
    assert!(repaired(&heal(&mut healing).await, id));
    let drive = host.drives.iter().find(|drive| drive.node == node).expect("a drive");
    let entries = drive.index.lookup(id, ChunkIndex(0), stripes(&blob)).expect("looked up");
    let synced = drive.log.status().synced;
    assert!(entries.iter().all(|entry| entry.is_some_and(|entry| entry.at.lsn < synced)), "{entries:?}");
    host.close().await;
}

#[actix::test]
async fn a_drive_replaced_while_its_comparison_rests_is_compared_from_the_beginning() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let manifest = host.put("key", &Seeded::new(11).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    let (node, id) = shard_of(&blob, 1);
    let (mut healing, handle) = healing(&mut host);
    let has_passed_all = |comparison: &Comparison| comparison.node() == node && !comparison.seeks_missing();
    while !healing.comparison.as_ref().is_some_and(has_passed_all) {
        healing.advance().await.expect("compares");
    }
    // Repairs of other nodes may take up all steps from here until the new drive serves.
    lose(&host, &blob, 1).await;
    host.upkeep.health.take_out(node, "pulled");
    handle.reconcile(node);
    host.upkeep.health.put_in(node, Contents::Empty);
    assert!(repaired(&heal(&mut healing).await, id));
    assert_eq!(count(&host, node, id).await, stripes(&blob));
    let health = host.upkeep.health.current();
    assert_eq!(health.state(node).map(|state| state.contents), Some(Contents::Compared));
    assert_eq!(handle.status().comparing, []);
    host.close().await;
}

#[actix::test]
async fn a_comparison_that_is_ordered_again_goes_on() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    host.put("key", &Seeded::new(12).bytes(50_000)).await.expect("stored");
    let (mut healing, handle) = healing(&mut host);
    for _ in 0..STEPS_MAX {
        if handle.reconciling().is_empty() {
            break;
        }
        healing.advance().await.expect("compares");
        handle.reconciling().into_keys().for_each(|node| handle.reconcile_unless_wanted(node));
    }
    assert_eq!(handle.status().comparing, []);
    host.close().await;
}

#[actix::test]
async fn a_node_that_fails_its_comparison_does_not_hold_up_those_of_others() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    host.put("key", &Seeded::new(17).bytes(50_000)).await.expect("stored");
    host.drives[0].index.close().expect("nobody uses it");
    let (mut healing, handle) = healing(&mut host);
    let mut failed = 0;
    for _ in 0..STEPS_MAX {
        if handle.status().comparing == [NodeId(0)] {
            break;
        }
        failed += usize::from(matches!(healing.advance().await, Err(UpkeepError::Node(_))));
    }
    assert_eq!((handle.status().comparing, failed), (vec![NodeId(0)], 1), "the others are compared first");
    for _ in 0..2 {
        assert!(matches!(healing.advance().await, Err(UpkeepError::Node(_))), "it is tried again");
    }
    host.close().await;
}

#[actix::test]
async fn a_comparison_that_keeps_failing_does_not_pause_repairs() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let manifest = host.put("key", &Seeded::new(18).bytes(20 * 2 * CHUNK_BYTES as usize)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    host.drives[0].index.close().expect("nobody uses it");
    let (mut healing, handle) = healing(&mut host);
    for _ in 0..STEPS_MAX {
        if handle.status().comparing == [NodeId(0)] {
            break;
        }
        drop(healing.advance().await);
    }
    assert!(matches!(healing.advance().await, Err(UpkeepError::Node(_))), "nothing is repaired");
    let lost = blob.placement.iter().position(|node| *node != NodeId(0)).expect("another node");
    lose(&host, &blob, lost).await;
    let missing = vec![(blob.clone(), ShardNumber(lost as u8))];
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
    let (_, id) = shard_of(&blob, lost);
    let mut done = Vec::new();
    while !repaired(&done, id) {
        assert!(done.len() < STEPS_MAX, "the repair does not come to an end");
        host.clock.forward(2 * HealingOptions::default().idle);
        done.push(healing.advance().await.expect("repairs go on"));
    }
    assert!(done.len() > 2, "the comparison had its turn");
    assert!(matches!(healing.advance().await, Err(UpkeepError::Node(_))), "it goes on");
    host.close().await;
}

#[actix::test]
async fn an_interrupted_comparison_of_orphans_gives_way_to_a_whole_one() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let (mut healing, handle) = healing(&mut host);
    heal(&mut healing).await;
    let interrupted = Comparison::of_orphans(NodeId(0), &HealingOptions::default());
    healing.interrupted.add(Some(interrupted), (Duration::ZERO, Duration::ZERO));
    handle.reconcile(NodeId(0));
    healing.advance().await.expect("compares");
    assert!(healing.comparison.as_ref().is_some_and(|comparison| comparison.request().is_some()));
    assert!(!healing.interrupted.has(NodeId(0)));
    heal(&mut healing).await;
    assert_eq!(handle.status().comparing, []);
    host.close().await;
}

#[actix::test]
async fn a_comparison_of_orphans_under_way_gives_way_to_a_whole_one_of_its_node() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let (mut healing, handle) = healing(&mut host);
    heal(&mut healing).await;
    healing.comparison = Some(Comparison::of_orphans(NodeId(0), &HealingOptions::default()));
    handle.reconcile(NodeId(0));
    healing.advance().await.expect("compares");
    assert!(healing.comparison.as_ref().is_some_and(|comparison| comparison.request().is_some()));
    heal(&mut healing).await;
    assert_eq!(handle.status().comparing, []);
    host.close().await;
}

#[actix::test]
async fn p6_a_corrupt_chunk_is_repaired_while_another_nodes_shards_are_missing() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let content = Seeded::new(2).bytes(6 * 2 * CHUNK_BYTES as usize);
    let manifest = host.put("key", &content).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    let (mut healing, _) = healing(&mut host);
    heal(&mut healing).await;
    lose(&host, &blob, 3).await;
    let (node, id) = shard_of(&blob, 0);
    flip_byte_of(&host, root.path(), node, id, ChunkIndex(2));
    assert_eq!(host.get("key").await.expect("read"), Some(content.clone()), "reads go on meanwhile");
    // The read reported the corrupt chunk. Nobody has noticed the lost shard yet.
    let done = heal(&mut healing).await;
    assert!(repaired(&done, id), "{done:?}");
    host.upkeep.health.take_out(blob.placement[1], "pulled");
    assert_eq!(host.get("key").await.expect("read"), Some(content), "shards 0 and 2 are whole");
    host.close().await;
}

#[actix::test]
async fn a_chunk_that_rots_behind_the_repair_of_its_shard_is_repaired_before_it_ends() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let content = Seeded::new(11).bytes(20 * 2 * CHUNK_BYTES as usize);
    let manifest = host.put("key", &content).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 0).await;
    let missing = vec![(blob.clone(), ShardNumber(0))];
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
    let (mut healing, _) = healing(&mut host);
    assert!(matches!(healing.advance().await.expect("a step"), Healed::Worked { .. }), "some stripes were rebuilt");
    let (node, id) = shard_of(&blob, 0);
    assert!((1..stripes(&blob)).contains(&count(&host, node, id).await));
    flip_byte_of(&host, root.path(), node, id, ChunkIndex(0));
    assert_eq!(host.get("key").await.expect("read"), Some(content.clone()), "the read reports the chunk");
    let done = heal(&mut healing).await;
    assert!(repaired(&done, id), "{done:?}");
    for other in [1, 3] {
        host.upkeep.health.take_out(blob.placement[other], "pulled");
    }
    assert_eq!(host.get("key").await.expect("read"), Some(content), "all chunks of the shard are good");
    host.close().await;
}

#[actix::test]
async fn a_shard_missed_by_a_put_is_repaired_from_the_durable_queue() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let content = Seeded::new(3).bytes(50_000);
    let manifest = host.put("key", &content).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 2).await;
    let missing = vec![(blob.clone(), ShardNumber(2))];
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
    let (mut healing, _) = healing(&mut host);
    let (node, id) = shard_of(&blob, 2);
    assert!(repaired(&heal(&mut healing).await, id));
    assert_eq!(count(&host, node, id).await, stripes(&blob));
    host.close().await;
}

#[actix::test]
async fn a_repair_without_enough_sources_is_put_off_and_writes_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 1).await;
    let content = Seeded::new(4).bytes(50_000);
    let manifest = host.put("key", &content).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 0).await;
    let missing = vec![(blob.clone(), ShardNumber(0))];
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
    // The other data shard is lost too, although its node is in service.
    lose(&host, &blob, 1).await;
    let (mut healing, _) = healing(&mut host);
    let (node, id) = shard_of(&blob, 0);
    let done = heal(&mut healing).await;
    assert!(put_off(&done, id), "{done:?}");
    assert_eq!(count(&host, node, id).await, 0);
    assert_eq!(host.view().await.counts().expect("counts").repairs, 2, "both stay queued");
    host.clock.forward(Duration::from_secs(60));
    assert!(put_off(&heal(&mut healing).await, id), "it is tried again");
    host.close().await;
}

#[actix::test]
async fn a_short_last_stripe_is_rebuilt_from_one_chunk_and_padding() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    // In the last stripe the first data chunk holds all bytes, and the second is padding.
    let content = Seeded::new(6).bytes(2 * 2 * CHUNK_BYTES as usize + 10);
    let manifest = host.put("key", &content).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    let damaged = [1, 2, 3].map(|shard| shard_of(&blob, shard));
    for (node, id) in damaged {
        flip_byte_of(&host, root.path(), node, id, ChunkIndex(2));
    }
    assert_eq!(host.get("key").await.expect("read"), Some(content.clone()));
    let missing = damaged.iter().map(|(_, id)| (blob.clone(), id.shard)).collect();
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
    let (mut healing, _) = healing(&mut host);
    let done = heal(&mut healing).await;
    assert!(damaged.iter().all(|(_, id)| repaired(&done, *id)), "{done:?}");
    for lost in [0, 1] {
        host.upkeep.health.take_out(blob.placement[lost], "pulled");
    }
    assert_eq!(host.get("key").await.expect("read"), Some(content), "the parity is whole");
    host.close().await;
}

#[actix::test]
async fn a_repair_of_a_deleted_object_leaves_nothing_behind() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let manifest = host.put("key", &Seeded::new(5).bytes(20 * CHUNK_BYTES as usize)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 2).await;
    let missing = vec![(blob.clone(), ShardNumber(2))];
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
    let (mut healing, _) = healing(&mut host);
    assert!(matches!(healing.advance().await.expect("a step"), Healed::Worked { .. }), "some stripes were rebuilt");
    let (node, id) = shard_of(&blob, 2);
    assert!(count(&host, node, id).await > 0);
    host.delete("key").await;
    heal(&mut healing).await;
    assert_eq!(count(&host, node, id).await, 0);
    assert_eq!(host.view().await.counts().expect("counts").repairs, 0);
    host.close().await;
}

#[actix::test]
async fn shards_of_unknown_blobs_are_dropped_below_the_fence_and_not_above_it() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let node = NodeId(0);
    let orphan = |host: &TestHost| {
        let write = host.upkeep.writes.begin(&host.upkeep.ambient);
        ShardId { blob: write.blob(), shard: ShardNumber(0) }
    };
    let append = |shard| AppendChunks {
        node,
        shard,
        first: ChunkIndex(0),
        chunks: vec![Bytes::from_static(b"orphan")],
        trace: None,
    };
    let old = orphan(&host);
    host.service.append_chunks(append(old)).await.expect("appended");
    let kept = host.put("key", &Seeded::new(6).bytes(50_000)).await.expect("stored");
    host.clock.forward(Duration::from_secs(25 * 3600));
    let young = orphan(&host);
    host.service.append_chunks(append(young)).await.expect("appended");
    let (mut healing, handle) = healing(&mut host);
    heal(&mut healing).await;
    assert_eq!(count(&host, node, old).await, 1, "age alone does not make an orphan");
    let mut fencing = Fencing::new(host.upkeep.clone(), FencingOptions::default());
    assert!(matches!(fencing.advance().await, Ok(Fenced::Below(fence)) if fence > old.blob && fence < young.blob));
    handle.reconcile(node);
    heal(&mut healing).await;
    assert_eq!(count(&host, node, old).await, 0);
    assert_eq!(count(&host, node, young).await, 1, "its PUT may still be under way");
    let blob = blob_of(&kept);
    for shard in 0..4 {
        let (node, id) = shard_of(blob, shard);
        assert_eq!(count(&host, node, id).await, stripes(blob));
    }
    host.close().await;
}

#[actix::test]
async fn a_returning_node_gets_the_shards_that_it_missed() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 2, 2).await;
    let before = Seeded::new(7).bytes(60_000);
    let deleted = host.put("deleted", &before).await.expect("stored");
    let metadata = host.metadata.clone();
    host.upkeep.health.take_out(NodeId(2), "pulled");
    let missed = Seeded::new(8).bytes(60_000);
    let manifest = host.put("missed", &missed).await.expect("stored without the node");
    host.delete("deleted").await;
    let clock = host.clock.clone();
    host.close().await;

    let drives = open_drives(root.path(), 4, &clock);
    let mut host = TestHost::new(drives, 2, 2, clock, Some(metadata)).await;
    let (mut healing, handle) = healing(&mut host);
    handle.reconcile(NodeId(2));
    heal(&mut healing).await;
    let blob = blob_of(&manifest);
    if let Some(at) = blob.placement.iter().position(|&node| node == NodeId(2)) {
        let (node, id) = shard_of(blob, at);
        assert_eq!(count(&host, node, id).await, stripes(blob));
    }
    assert_eq!(host.view().await.counts().expect("counts").repairs, 0);
    assert_eq!(host.get("missed").await.expect("read"), Some(missed));
    // The deleted blob is left to the reclaimer: it is known until every node has dropped it.
    assert!(host.view().await.blob_is_known(blob_of(&deleted).id).expect("asked"));
    host.close().await;
}

/// Returns the record of a node of another host.
fn elsewhere() -> NodeRecord {
    let (id, incarnation, state) = (NodeId(64), Incarnation(65), NodeState::Active);
    NodeRecord { id, host: HostId(2), incarnation, weight: 1, state, joined: UnixMs(0) }
}

#[actix::test]
async fn a_repair_is_given_up_if_its_shard_is_moved_meanwhile() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let manifest = host.put("key", &Seeded::new(9).bytes(20 * CHUNK_BYTES as usize)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 2).await;
    let missing = vec![(blob.clone(), ShardNumber(2))];
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
    let (mut healing, _) = healing(&mut host);
    assert!(matches!(healing.advance().await.expect("a step"), Healed::Worked { .. }), "some stripes were rebuilt");
    let (from, shard) = shard_of(&blob, 2);
    let NodeRecord { id: to, incarnation, .. } = elsewhere();
    host.metadata.propose(samples::register(elsewhere())).await.expect("registered");
    let moves = vec![MovedShard { shard, from, to, incarnation, whole: false }];
    let moved = host.metadata.propose(Change::MoveShards { epoch: Epoch(1), moves }).await.expect("decided");
    assert_eq!(moved, Reply::Moved(vec![true]));
    let done = heal(&mut healing).await;
    assert!(!repaired(&done, shard), "{done:?}");
    assert_eq!(host.view().await.counts().expect("counts").repairs, 1, "its new host repairs it");
    assert!(count(&host, from, shard).await < stripes(&blob));
    host.close().await;
}

#[actix::test]
async fn a_comparison_waits_until_the_layout_has_its_node_or_it_is_removed() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let manifest = host.put("key", &Seeded::new(10).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 1).await;
    let (node, id) = shard_of(&blob, 1);
    let (ring, reader) = HashRing::new(Layout::new(Epoch(0), []));
    let ring = ring.start();
    host.upkeep.ring = reader;
    let (mut healing, handle) = healing(&mut host);
    handle.reconcile(node);
    assert_eq!(heal(&mut healing).await, []);
    assert_eq!(handle.status().comparing, [node], "no layout is known yet");
    // The first layout does not have the node yet.
    let nodes = || (0..4).map(|id| LayoutNode { id: NodeId(id), host: HostId(1), weight: 1 });
    let others = nodes().filter(|other| other.id != node);
    ring.send(LayoutChanged(Layout::new(Epoch(1), others))).await.expect("running").expect("newer");
    assert_eq!(heal(&mut healing).await, []);
    assert_eq!(handle.status().comparing, [node], "it is still wanted");
    ring.send(LayoutChanged(Layout::new(Epoch(2), nodes()))).await.expect("running").expect("newer");
    assert!(repaired(&heal(&mut healing).await, id));
    assert_eq!(handle.status().comparing, []);

    let removed = elsewhere();
    host.metadata.propose(samples::register(removed.clone())).await.expect("registered");
    handle.reconcile(removed.id);
    heal(&mut healing).await;
    assert_eq!(handle.status().comparing, [removed.id], "the metadata knows it");
    let later = NodeId(removed.id.0 - 1);
    handle.reconcile(later);
    heal(&mut healing).await;
    assert_eq!(
        handle.status().comparing,
        [later, removed.id],
        "it may still register, even after a node with a greater number"
    );
    handle.finished(later, handle.reconciling()[&later]);
    let remove = Change::RemoveNode { node: removed.id, lost: false };
    assert_eq!(host.metadata.propose(remove).await.expect("decided"), Reply::Done);
    heal(&mut healing).await;
    assert_eq!(handle.status().comparing, []);
    host.close().await;
}

/// Metadata that answers only while `is_up` is set.
#[derive(Debug)]
struct Switched {
    tables: Arc<TableMetadata>,
    is_up: AtomicBool,
}

impl Switched {
    fn check(&self) -> Result<(), MetaError> {
        let is_up = self.is_up.load(Ordering::Relaxed);
        is_up.then_some(()).ok_or_else(|| MetaError::Unavailable { why: "it is switched off".to_owned() })
    }
}

#[async_trait::async_trait]
impl Metadata for Switched {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        self.check()?;
        self.tables.propose(change).await
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        self.check()?;
        self.tables.read().await
    }

    fn time(&self) -> LogTime {
        self.tables.time()
    }
}

#[actix::test]
async fn faults_reported_during_a_metadata_outage_are_queued_later() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let manifest = host.put("key", &Seeded::new(11).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    let metadata = Arc::new(Switched { tables: host.metadata.clone(), is_up: AtomicBool::new(true) });
    host.upkeep.metadata = metadata.clone();
    let (mut healing, handle) = healing(&mut host);
    heal(&mut healing).await;
    let (node, shard) = shard_of(&blob, 1);
    let fault = ShardFault { node, shard, chunk: ChunkIndex(0), fault: ChunkFault::Corrupt };
    assert!(host.node_context.faults.report(fault));
    metadata.is_up.store(false, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(matches!(healing.advance().await, Err(UpkeepError::Metadata(_))));
    }
    metadata.is_up.store(true, Ordering::Relaxed);
    assert_eq!(healing.advance().await.expect("a step"), Healed::Queued { shards: 1 });
    assert_eq!(handle.status().corrupt_chunks, 1);
    host.close().await;
}

#[actix::test]
async fn a_shard_counts_as_lost_by_its_drive_only_if_nobody_knew_that_it_is_missing() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let manifest = host.put("key", &Seeded::new(16).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    let (mut healing, _) = healing(&mut host);
    heal(&mut healing).await;
    let (known, lost, whole) = (0, 1, 2);
    lose(&host, &blob, known).await;
    queue(&host, &blob, known).await;
    lose(&host, &blob, lost).await;
    for (at, is_queued, is_lost) in [(known, true, false), (lost, false, true), (whole, false, false)] {
        let (node, shard) = shard_of(&blob, at);
        healing.reported = vec![ShardFault { node, shard, chunk: ChunkIndex(0), fault: ChunkFault::Missing }];
        let found = healing.reported_shards([shard].into()).await.expect("looked up");
        assert_eq!(found, [(blob.clone(), shard, is_queued)]);
        let unqueued = found.into_iter().filter(|(_, _, is_queued)| !is_queued).map(|(blob, shard, _)| (blob, shard));
        let lost = healing.lost(&unqueued.collect::<Vec<_>>()).await;
        assert_eq!(lost.values().sum::<u64>(), u64::from(is_lost), "shard {at}");
    }
    host.close().await;
}

#[actix::test]
async fn a_repair_on_a_suspect_drive_is_put_off_and_delays_no_other() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let manifest = host.put("key", &Seeded::new(12).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 0).await;
    lose(&host, &blob, 1).await;
    let missing = vec![(blob.clone(), ShardNumber(0)), (blob.clone(), ShardNumber(1))];
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
    let ((suspect, waiting), (_, other)) = (shard_of(&blob, 0), shard_of(&blob, 1));
    host.upkeep.suspects.late(suspect, &[], "it stalls", host.upkeep.ambient.clock.monotonic());
    let (mut healing, handle) = healing(&mut host);
    let done = heal(&mut healing).await;
    assert!(repaired(&done, other) && !repaired(&done, waiting), "{done:?}");
    assert_eq!((count(&host, suspect, waiting).await, handle.status().put_off), (0, 1));
    host.clock.forward(Duration::from_secs(6));
    host.upkeep.suspects.probed(suspect, Ok(()), host.upkeep.ambient.clock.monotonic());
    assert!(repaired(&heal(&mut healing).await, waiting), "the repair begins when the node is trusted again");
    host.close().await;
}

async fn queue(host: &TestHost, blob: &BlobRef, shard: usize) {
    let missing = vec![(blob.clone(), ShardNumber(shard as u8))];
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
}

#[actix::test]
async fn repairs_that_wait_for_a_drive_begin_as_soon_as_it_is_back() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let manifest = host.put("key", &Seeded::new(13).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 0).await;
    queue(&host, &blob, 0).await;
    let (node, id) = shard_of(&blob, 0);
    let now = host.upkeep.ambient.clock.monotonic();
    host.upkeep.suspects.doubt(node, "it failed", now);
    let (mut healing, handle) = healing(&mut host);
    assert!(!repaired(&heal(&mut healing).await, id));
    assert_eq!(handle.status().put_off, 1);
    host.upkeep.suspects.probed(node, Ok(()), now);
    assert!(repaired(&heal(&mut healing).await, id), "no time has passed");
    host.close().await;
}

#[actix::test]
async fn a_drive_away_during_a_metadata_outage_is_noticed_on_its_return() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 1).await;
    let manifest = host.put("key", &Seeded::new(14).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    let metadata = Arc::new(Switched { tables: host.metadata.clone(), is_up: AtomicBool::new(true) });
    host.upkeep.metadata = metadata.clone();
    lose(&host, &blob, 0).await;
    lose(&host, &blob, 1).await;
    queue(&host, &blob, 0).await;
    let (mut healing, _) = healing(&mut host);
    let ((_, id), (away, whole)) = (shard_of(&blob, 0), shard_of(&blob, 2));
    assert!(put_off(&heal(&mut healing).await, id), "one source is too few");
    assert!(!put_off(&heal(&mut healing).await, id), "the repair is still put off");
    metadata.is_up.store(false, Ordering::Relaxed);
    let fault = ShardFault { node: away, shard: whole, chunk: ChunkIndex(0), fault: ChunkFault::Missing };
    assert!(host.node_context.faults.report(fault));
    host.upkeep.health.take_out(away, "pulled");
    assert!(matches!(healing.advance().await, Err(UpkeepError::Metadata(_))));
    host.upkeep.health.update(away, |state| state.out_of_service = None);
    metadata.is_up.store(true, Ordering::Relaxed);
    assert!(put_off(&heal(&mut healing).await, id), "it is tried again");
    host.close().await;
}

#[actix::test]
async fn repairs_read_suspect_nodes_if_needed_and_gone_nodes_never() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 1).await;
    let manifest = host.put("key", &Seeded::new(15).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    let ((node, id), (source, _)) = (shard_of(&blob, 0), shard_of(&blob, 1));
    let (mut healing, _) = healing(&mut host);
    let now = host.upkeep.ambient.clock.monotonic();
    host.upkeep.suspects.late(source, &[], "it stalls", now);
    lose(&host, &blob, 0).await;
    queue(&host, &blob, 0).await;
    assert!(repaired(&heal(&mut healing).await, id));
    assert_eq!(count(&host, node, id).await, stripes(&blob));
    host.upkeep.suspects.gone(&[source], "no route", now);
    lose(&host, &blob, 0).await;
    queue(&host, &blob, 0).await;
    host.clock.forward(Duration::from_secs(2));
    assert!(put_off(&heal(&mut healing).await, id));
    host.close().await;
}

/// Metadata whose every read first waits three seconds for a leader.
#[derive(Debug)]
struct Hesitant {
    tables: Arc<TableMetadata>,
    clock: Arc<SetClock>,
}

#[async_trait::async_trait]
impl Metadata for Hesitant {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        self.tables.propose(change).await
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        self.clock.forward(Duration::from_secs(3));
        self.tables.read().await
    }

    fn time(&self) -> LogTime {
        self.tables.time()
    }
}

#[actix::test]
async fn waiting_for_a_leader_does_not_lengthen_the_rest_of_the_queue() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 1, 0).await;
    host.upkeep.metadata = Arc::new(Hesitant { tables: host.metadata.clone(), clock: host.clock.clone() });
    let (mut queue, idle) = (RepairQueue::default(), Duration::from_secs(1));
    for _ in 0..2 {
        assert!(matches!(queue.look(&host.upkeep, idle).await, Ok(Looked::End { .. })));
        assert!(matches!(queue.look(&host.upkeep, idle).await, Ok(Looked::Resting)));
        host.clock.forward(idle);
    }
    host.close().await;
}

#[actix::test]
async fn orphans_of_a_removed_drive_are_no_longer_counted() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let nodes = |count| (0..count).map(|id| LayoutNode { id: NodeId(id), host: HostId(1), weight: 1 });
    let (ring, reader) = HashRing::new(Layout::new(Epoch(1), nodes(4)));
    let ring = ring.start();
    host.upkeep.ring = reader;
    let (mut healing, handle) = healing(&mut host);
    heal(&mut healing).await;
    for node in [NodeId(2), NodeId(3)] {
        handle.orphans(node, 5);
        healing.orphans_next.insert(node, Duration::MAX);
    }
    heal(&mut healing).await;
    assert_eq!(handle.status().orphaned_shards, 10);
    ring.send(LayoutChanged(Layout::new(Epoch(2), nodes(3)))).await.expect("running").expect("newer");
    heal(&mut healing).await;
    assert_eq!(handle.status().orphaned_shards, 5);
    assert_eq!(healing.orphans_next.len(), 1);
    host.close().await;
}
