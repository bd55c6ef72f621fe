//! Tests of comparisons beside repairs: they begin there, and take turns with the repairs until they have found what is
//! missing, however long the queue is.

use super::{STEPS_MAX, count, heal, healing, lose, queue, repaired, shard_of};
use crate::actors::drives::health::{Contents, SpaceLevel};
use crate::actors::drives::test_host::{CHUNK_BYTES, Seeded, TestHost, blob_of, open_host};
use crate::actors::healer::{Healed, Healing, HealingOptions};
use crate::actors::request::Metadata;
use crate::actors::upkeep::{Fenced, Fencing, FencingOptions};
use crate::net::{AppendChunks, NodeService};
use crate::storage::meta::command::{Change, PutObject};
use crate::storage::meta::record::BlobRef;
use crate::storage::meta::samples;
use crate::types::{ChunkIndex, NodeId, ShardId, ShardNumber};
use bytes::Bytes;
use std::time::Duration;

/// The number of stripes of a blob whose repair takes many steps.
const LONG: usize = 40;
const NODES: [NodeId; 4] = [NodeId(0), NodeId(1), NodeId(2), NodeId(3)];

async fn put(host: &TestHost, seed: u64, stripes: usize) -> BlobRef {
    let content = Seeded::new(seed).bytes(stripes * 2 * CHUNK_BYTES as usize);
    blob_of(&host.put(&format!("key{seed}"), &content).await.expect("stored")).clone()
}

/// Has a node lose its shard of the blob. Returns the shard.
async fn lose_on(host: &TestHost, blob: &BlobRef, node: NodeId) -> ShardId {
    let shard = blob.placement.iter().position(|placed| *placed == node).expect("each node has a shard");
    lose(host, blob, shard).await;
    shard_of(blob, shard).1
}

/// Has a node lose its shard of a long blob, and queues the repair of that shard. Returns the shard.
async fn lose_long(host: &TestHost, blob: &BlobRef, node: NodeId) -> ShardId {
    let id = lose_on(host, blob, node).await;
    queue(host, blob, usize::from(id.shard.0)).await;
    // The rest of the queue ends.
    host.clock.forward(2 * HealingOptions::default().idle);
    id
}

/// Makes an orphan on the first node. Returns its shard, which is below the fence.
async fn make_orphan(host: &TestHost) -> ShardId {
    let orphan = ShardId { blob: host.upkeep.writes.begin(&host.upkeep.ambient).blob(), shard: ShardNumber(0) };
    let chunks = vec![Bytes::from_static(b"orphan")];
    let append = AppendChunks { node: NodeId(0), shard: orphan, first: ChunkIndex(0), chunks, trace: None };
    host.service.append_chunks(append).await.expect("appended");
    host.clock.forward(Duration::from_secs(2 * 3600));
    let mut fencing = Fencing::new(host.upkeep.clone(), FencingOptions::default());
    assert!(matches!(fencing.advance().await, Ok(Fenced::Below(fence)) if fence > orphan.blob));
    orphan
}

/// Runs the healer until this shard is queued for repair. Returns the outcomes of its steps.
async fn advance_until_queued(host: &TestHost, healing: &mut Healing, shard: ShardId) -> Vec<Healed> {
    let mut done = Vec::new();
    while !host.view().await.is_repair_queued(shard).expect("looked up") {
        assert!(done.len() < STEPS_MAX, "the shard is not queued");
        done.push(healing.advance().await.expect("a step"));
    }
    done
}

fn is_comparison(step: &Healed) -> bool {
    matches!(step, Healed::Compared { .. })
}

fn comparisons(done: &[Healed]) -> usize {
    done.iter().filter(|step| is_comparison(step)).count()
}

fn contents(host: &TestHost) -> Vec<Option<Contents>> {
    let health = host.upkeep.health.current();
    NODES.iter().map(|node| health.state(*node).map(|state| state.contents)).collect()
}

#[actix::test]
async fn a_comparison_requested_during_a_repair_finds_what_is_missing_before_the_repair_ends() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let (long, other) = (put(&host, 1, LONG).await, put(&host, 2, 3).await);
    let (mut healing, handle) = healing(&mut host);
    heal(&mut healing).await;
    let repairing = lose_long(&host, &long, NodeId(0)).await;
    assert!(matches!(healing.advance().await.expect("a step"), Healed::Worked { .. }), "the repair is under way");
    let lost = lose_on(&host, &other, NodeId(1)).await;
    handle.reconcile(NodeId(1));
    let done = advance_until_queued(&host, &mut healing, lost).await;
    assert!(!repaired(&done, repairing), "{done:?}");
    let done = heal(&mut healing).await;
    assert!(repaired(&done, repairing) && repaired(&done, lost), "{done:?}");
    assert_eq!(handle.status().comparing, []);
    host.close().await;
}

#[actix::test]
async fn after_a_start_during_a_repair_all_nodes_are_compared_beside_it_and_orphans_are_dropped_later() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let (long, other) = (put(&host, 1, LONG).await, put(&host, 2, 3).await);
    let orphan = make_orphan(&host).await;
    let repairing = lose_long(&host, &long, NodeId(0)).await;
    let lost = lose_on(&host, &other, NodeId(3)).await;
    for node in NODES {
        host.upkeep.health.update(node, |state| state.contents = Contents::Uncompared);
    }
    let (mut healing, handle) = healing(&mut host);
    let done = advance_until_queued(&host, &mut healing, lost).await;
    assert!(!repaired(&done, repairing), "{done:?}");
    assert!(!done.windows(2).any(|pair| pair.iter().all(is_comparison)), "repairs keep every other step: {done:?}");
    assert_eq!(contents(&host), [Some(Contents::Compared); 4]);
    // The first three are parked, and the last one has its turn.
    assert_eq!(NODES.map(|node| healing.interrupted.has(node)), [true, true, true, false]);
    assert_eq!(handle.status().comparing, NODES);
    let done = heal(&mut healing).await;
    assert!(repaired(&done, repairing) && repaired(&done, lost), "{done:?}");
    let end = done.iter().rposition(|step| matches!(step, Healed::Worked { .. })).expect("repairs");
    assert_eq!(comparisons(&done[..end]), 0, "no search for orphans takes turns with repairs: {done:?}");
    assert_eq!((handle.status().comparing, count(&host, NodeId(0), orphan).await), (vec![], 0));
    host.close().await;
}

#[actix::test]
async fn orphans_on_a_drive_whose_trial_writes_fail_are_kept_and_its_comparison_ends() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let orphan = make_orphan(&host).await;
    host.upkeep.health.update(NodeId(0), |state| state.trial_write_failed = Some("read-only".to_owned()));
    let (mut healing, handle) = healing(&mut host);
    heal(&mut healing).await;
    assert_eq!((handle.status().comparing, count(&host, NodeId(0), orphan).await), (vec![], 1));
    host.upkeep.health.update(NodeId(0), |state| state.trial_write_failed = None);
    handle.reconcile(NodeId(0));
    heal(&mut healing).await;
    assert_eq!((handle.status().comparing, count(&host, NodeId(0), orphan).await), (vec![], 0));
    host.close().await;
}

#[actix::test]
async fn during_a_long_repair_all_nodes_are_searched_for_missing_shards_every_six_hours() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let (long, other) = (put(&host, 1, LONG).await, put(&host, 2, 3).await);
    let repairing = lose_long(&host, &long, NodeId(0)).await;
    let (mut healing, handle) = healing(&mut host);
    let mut done = Vec::new();
    while comparisons(&done) < NODES.len() {
        assert!(done.len() < STEPS_MAX, "the nodes are not compared");
        done.push(healing.advance().await.expect("a step"));
    }
    let lost = lose_on(&host, &other, NodeId(1)).await;
    for _ in 0..4 {
        done.push(healing.advance().await.expect("a step"));
    }
    assert_eq!(comparisons(&done), NODES.len(), "each was searched once: {done:?}");
    host.clock.forward(HealingOptions::default().compare_every);
    done.extend(advance_until_queued(&host, &mut healing, lost).await);
    assert!(!repaired(&done, repairing), "{done:?}");
    let done = heal(&mut healing).await;
    assert!(repaired(&done, repairing) && repaired(&done, lost), "{done:?}");
    assert_eq!(handle.status().comparing, []);
    host.close().await;
}

#[actix::test]
async fn beside_a_repair_no_comparison_begins_right_after_another_has_failed() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let long = put(&host, 1, LONG).await;
    let repairing = lose_long(&host, &long, NodeId(1)).await;
    host.drives[0].index.close().expect("nobody uses it");
    let (mut healing, handle) = healing(&mut host);
    let mut done = Vec::new();
    for _ in 0..6 {
        done.push(healing.advance().await.expect("repairs go on"));
    }
    assert_eq!(comparisons(&done), 0, "{done:?}");
    assert!(healing.interrupted.has(NodeId(0)), "it has failed");
    host.clock.forward(HealingOptions::default().idle);
    for _ in 0..8 {
        done.push(healing.advance().await.expect("repairs go on"));
    }
    assert_eq!(comparisons(&done), 3, "those of the other nodes go on: {done:?}");
    assert!(healing.interrupted.has(NodeId(0)) && !repaired(&done, repairing), "{done:?}");
    assert_eq!(handle.status().comparing, NODES);
    host.close().await;
}

#[actix::test]
async fn a_comparison_takes_turns_with_reading_a_long_queue_of_repairs_that_cannot_be_done() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    // Three pages of the queue.
    for id in 1..=150 {
        let missing = (0..4).map(ShardNumber).collect();
        let put = PutObject { bucket: host.bucket, missing, ..samples::put_blob(&format!("key{id}"), id) };
        host.metadata.propose(Change::PutObject(Box::new(put))).await.expect("decided");
    }
    assert_eq!(host.view().await.counts().expect("counts").repairs, 600);
    for node in NODES {
        host.upkeep.health.update(node, |state| state.level = SpaceLevel::Exhausted);
    }
    let (mut healing, _) = healing(&mut host);
    assert_eq!(healing.advance().await.expect("a step"), Healed::Looked);
    assert_eq!(healing.advance().await.expect("a step"), Healed::Compared { missing: 0, orphans: 0 });
    host.close().await;
}
