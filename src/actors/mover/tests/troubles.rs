//! Tests of the mover while drives fail, layouts change and objects are deleted.

use super::cluster::{Cluster, node_of};
use crate::actors::consensus::MetaError;
use crate::actors::drives::fault_channel;
use crate::actors::drives::health::Contents;
use crate::actors::drives::test_host::{CHUNK_BYTES, TableMetadata};
use crate::actors::healer::{Healed, Healing, HealingOptions};
use crate::actors::mover::leftovers::{LateDrops, Leftovers, Sweep, Swept};
use crate::actors::mover::plan::Planner;
use crate::actors::mover::{Moved, Moving, MovingOptions};
use crate::actors::request::Metadata;
use crate::actors::upkeep::{ClusterContext, Pace, Reclaimed, Reclamation, ReclamationOptions};
use crate::ambient::Clock;
use crate::net::NodeService;
use crate::storage::meta::command::{Change, LogTime, Reply};
use crate::storage::meta::record::{BlobRef, NodeState};
use crate::storage::meta::view::MetaView;
use crate::storage::stripe::BlobLayout;
use crate::types::{HostId, NodeId, ShardId, ShardNumber};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Reclaims all garbage after its grace period.
pub(super) async fn reclaim(cluster: &Cluster) {
    let mut reclamation = Reclamation::new(cluster.context.clone(), ReclamationOptions::default());
    for _ in 0..2 {
        let mut ended = false;
        for _ in 0..10_000 {
            ended |= matches!(reclamation.advance().await.expect("a step"), Reclaimed::End { .. });
            if ended {
                break;
            }
        }
        assert!(ended, "reclaiming does not come to an end");
        cluster.clock.forward(Duration::from_secs(120));
    }
}

async fn heal(cluster: &mut Cluster) {
    let mut source = cluster.faults.take();
    let hosts: Vec<HostId> = cluster.services.keys().copied().collect();
    let healer = |host: HostId| {
        let options = HealingOptions { pace: Pace::UNLIMITED, ..HealingOptions::default() };
        let faults = source.take().unwrap_or_else(|| fault_channel().1);
        Healing::new(ClusterContext { host, ..cluster.context.clone() }, faults, options).0
    };
    let mut healers: Vec<Healing> = hosts.into_iter().map(healer).collect();
    for _ in 0..100_000 {
        let mut is_quiet = true;
        for healing in &mut healers {
            is_quiet &= healing.advance().await.expect("a step") == Healed::Nothing;
        }
        if is_quiet {
            return;
        }
    }
    panic!("healing does not come to an end");
}

/// P7: a dead drive can be drained: its shards are rebuilt on other drives.
#[actix::test]
async fn p7_shards_of_a_dead_draining_node_are_rebuilt_elsewhere() {
    let mut cluster = Cluster::new(4, 2, 2).await;
    let contents = cluster.fill(20).await;
    let dead = node_of(2, 0);
    cluster.context.health.take_out(dead, "pulled");
    cluster.change(drain(dead)).await;
    cluster.publish().await;
    let mut moving = cluster.all_moving();
    cluster.clock.forward(Duration::from_secs(10));
    for _ in 0..200 {
        for one in &mut moving {
            one.advance().await.expect("a step");
        }
    }
    assert!(held(&cluster, dead).await.0 > 0, "it may come back yet");
    for _ in 0..4 {
        cluster.clock.forward(Duration::from_secs(100));
        cluster.settle(&mut moving).await;
    }
    assert_eq!(held(&cluster, dead).await.0, 0, "the metadata places nothing on it any more");
    assert!(cluster.view().await.counts().expect("counts").repairs > 0);
    cluster.check_contents(&contents).await;
    heal(&mut cluster).await;
    assert_eq!(cluster.view().await.counts().expect("counts").repairs, 0);
    cluster.check_places().await;
    cluster.check_contents(&contents).await;
    assert!(moving.iter().any(|one| one.down.contains_key(&dead)));
    cluster.change(Change::RemoveNode { node: dead, lost: true }).await;
    cluster.publish().await;
    cluster.settle(&mut moving).await;
    assert!(moving.iter().all(|one| one.down.is_empty()), "a removed node is forgotten");
    cluster.close().await;
}

/// A draining drive that is late at moments far apart is not lost: its shards wait until it is trusted, and stay whole.
#[actix::test]
async fn a_draining_node_that_is_only_slow_at_times_keeps_its_shards() {
    let cluster = Cluster::new(4, 2, 2).await;
    let contents = cluster.fill(20).await;
    let slow = node_of(2, 0);
    let placed = held(&cluster, slow).await.0;
    cluster.change(drain(slow)).await;
    cluster.publish().await;
    let mut moving = cluster.all_moving();
    cluster.clock.forward(Duration::from_secs(10));
    let suspects = cluster.context.suspects.clone();
    for _ in 0..2 {
        suspects.late(slow, &[], "slow", cluster.clock.monotonic());
        step_all(&mut moving, 300).await;
        assert_eq!(held(&cluster, slow).await.0, placed, "its shards wait");
        cluster.clock.forward(Duration::from_secs(20));
        suspects.probed(slow, Ok(()), cluster.clock.monotonic());
        assert!(suspects.current().is_trusted(slow));
        step_all(&mut moving, 1).await;
        cluster.clock.forward(Duration::from_secs(400));
    }
    // It does not answer at two moments, and does between them.
    for _ in 0..2 {
        suspects.gone(&[slow], "no route", cluster.clock.monotonic());
        step_all(&mut moving, 300).await;
        assert_eq!(held(&cluster, slow).await.0, placed, "its shards wait");
        suspects.probed(slow, Ok(()), cluster.clock.monotonic());
        step_all(&mut moving, 1).await;
        assert!(moving.iter().all(|one| one.down.is_empty()));
        cluster.clock.forward(Duration::from_secs(400));
    }
    assert_eq!(cluster.view().await.counts().expect("counts").repairs, 0, "every shard is whole");
    suspects.gone(&[slow], "no route", cluster.clock.monotonic());
    step_all(&mut moving, 300).await;
    cluster.clock.forward(Duration::from_secs(400));
    step_all(&mut moving, 300).await;
    assert_eq!(held(&cluster, slow).await.0, placed, "two looks do not show that it was down all the time");
    for _ in 0..3 {
        cluster.clock.forward(Duration::from_secs(100));
        cluster.settle(&mut moving).await;
    }
    assert_eq!(held(&cluster, slow).await.0, 0, "it was silent for five minutes");
    assert!(cluster.view().await.counts().expect("counts").repairs > 0);
    cluster.check_contents(&contents).await;
    cluster.close().await;
}

async fn step_all(moving: &mut [Moving], steps: usize) {
    for _ in 0..steps {
        for one in moving.iter_mut() {
            one.advance().await.expect("a step");
        }
    }
}

/// A shard that lacks chunks is moved, and its new copy is completed from parity. The old copy is kept until then.
#[actix::test]
async fn p6_a_shard_with_missing_chunks_is_moved_and_then_repaired() {
    let mut cluster = Cluster::new(3, 2, 2).await;
    let content = cluster.random.bytes(20 * CHUNK_BYTES as usize);
    cluster.put("key", &content).await;
    let blob = cluster.blobs().await.remove(0);
    let from = blob.placement[0];
    let shard = ShardId { blob: blob.id, shard: ShardNumber(0) };
    let host = HostId(u64::from(from.0 / 64));
    // Only the first chunks of the shard are left.
    let request =
        crate::net::ReadChunks { node: from, shard, first: crate::types::ChunkIndex(0), count: 4, trace: None };
    let chunks = cluster.services[&host].read_chunks(request).await.expect("read").chunks;
    let chunks = chunks.into_iter().map(|chunk| chunk.expect("a chunk")).collect();
    cluster.services[&host].drop_shards(from, vec![shard]).await.expect("dropped");
    let request =
        crate::net::AppendChunks { node: from, shard, first: crate::types::ChunkIndex(0), chunks, trace: None };
    cluster.services[&host].append_chunks(request).await.expect("appended");

    cluster.change(drain(from)).await;
    cluster.publish().await;
    let mut moving = cluster.all_moving();
    cluster.settle(&mut moving).await;
    cluster.clock.forward(Duration::from_secs(400));
    cluster.settle(&mut moving).await;
    let placed = cluster.blobs().await.remove(0).placement;
    assert_ne!(placed[0], from);
    assert_eq!(cluster.view().await.repairs(None, 9).expect("repairs").len(), 1);
    assert!(cluster.view().await.is_leftover(from, shard).expect("asked"), "it may be the only copy");
    heal(&mut cluster).await;
    cluster.clock.forward(Duration::from_secs(60));
    cluster.settle(&mut moving).await;
    assert!(!cluster.view().await.is_leftover(from, shard).expect("asked"));
    cluster.check_inventories().await;
    cluster.close().await;
}

/// Drains the host of the first shard of the only blob, which moves to a host that joins. Returns the blob as it was
/// before, and the movers.
pub(super) async fn move_first_shard(cluster: &mut Cluster) -> (BlobRef, Vec<Moving>) {
    let before = cluster.blobs().await.remove(0);
    cluster.join(4).await;
    cluster.set_state(u64::from(before.placement[0].0 / 64), NodeState::Draining).await;
    cluster.publish().await;
    let mut moving = cluster.all_moving();
    cluster.clock.forward(Duration::from_secs(10));
    for _ in 0..1_000 {
        if cluster.blobs().await[0].placement != before.placement {
            break;
        }
        for one in &mut moving {
            one.advance().await.expect("a step");
        }
    }
    let after = cluster.blobs().await.remove(0).placement;
    assert_eq!((after[0].0 / 64, &after[1..]), (4, &before.placement[1..]));
    (before, moving)
}

/// P7: the old copy of a shard, which a queued repair keeps, becomes the current copy again when the drive that has the
/// shard is lost. That waits for a drop that may still take effect.
#[actix::test]
async fn p7_a_lost_shard_moves_back_to_its_old_copy_that_a_queued_repair_keeps() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let content = cluster.random.bytes(20 * CHUNK_BYTES as usize);
    cluster.put("key", &content).await;
    let (before, mut moving) = move_first_shard(&mut cluster).await;
    let moved = cluster.blobs().await.remove(0);
    let (old, dead) = (before.placement[0], moved.placement[0]);
    let shard = ShardId { blob: before.id, shard: ShardNumber(0) };
    cluster.change(Change::QueueRepairs { missing: vec![(moved, shard.shard)] }).await;
    cluster.context.health.take_out(dead, "pulled");
    cluster.set_state(u64::from(old.0 / 64), NodeState::Active).await;
    cluster.set_state(4, NodeState::Draining).await;
    cluster.publish().await;
    let index = cluster.drives[&old].index.clone();
    let unanswered = index.begin();
    moving.iter_mut().for_each(|one| one.late_drops.note(&cluster.context, old, 0));
    for _ in 0..3 {
        cluster.clock.forward(Duration::from_secs(400));
        cluster.settle(&mut moving).await;
    }
    assert_eq!(held(&cluster, dead).await.0, 1, "the drop may still come");
    assert!(cluster.view().await.is_leftover(old, shard).expect("asked"));
    index.end(unanswered);
    cluster.settle(&mut moving).await;
    assert_eq!(held(&cluster, dead).await.0, 0, "the metadata places nothing on the lost drive any more");
    assert_eq!(cluster.blobs().await.remove(0).placement, before.placement);
    assert!(!cluster.view().await.is_leftover(old, shard).expect("asked"));
    let stripes = BlobLayout::new(before.geometry, before.size_bytes).expect("a layout").stripes();
    assert_eq!(index.count(shard).expect("counted"), stripes, "the old copy is still there");
    let appends = cluster.drives[&old].log.status().appends;
    heal(&mut cluster).await;
    assert_eq!(cluster.view().await.counts().expect("counts").repairs, 0);
    assert_eq!(cluster.drives[&old].log.status().appends, appends, "nothing was rebuilt");
    cluster.check_contents(&BTreeMap::from([("key".to_owned(), content)])).await;
    cluster.close().await;
}

#[actix::test]
async fn an_old_copy_is_not_dropped_while_its_shard_moves_back_to_it() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let content = cluster.random.bytes(20 * CHUNK_BYTES as usize);
    cluster.put("key", &content).await;
    let (before, _) = move_first_shard(&mut cluster).await;
    let (old, shard) = (before.placement[0], ShardId { blob: before.id, shard: ShardNumber(0) });
    let (ripe, mut late_drops) = (Some(u64::MAX), LateDrops::default());
    for (targets, dropped) in [(BTreeSet::from([(old, shard)]), 0), (BTreeSet::new(), 1)] {
        let mut round = Leftovers::of(vec![old]);
        let done = round.advance(&cluster.context, ripe, &targets, &mut late_drops).await.expect("a step");
        assert_eq!(done, Some(dropped));
        assert_eq!(cluster.view().await.is_leftover(old, shard).expect("asked"), dropped == 0);
    }
    cluster.close().await;
}

#[actix::test]
async fn an_old_copy_is_kept_until_the_drive_with_the_current_one_serves_and_was_compared() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let content = cluster.random.bytes(20 * CHUNK_BYTES as usize);
    cluster.put("key", &content).await;
    let (before, _) = move_first_shard(&mut cluster).await;
    let current = cluster.blobs().await.remove(0).placement[0];
    let (old, shard) = (before.placement[0], ShardId { blob: before.id, shard: ShardNumber(0) });
    let states = [
        (Some("pulled"), Contents::Compared),
        (None, Contents::Empty),
        (None, Contents::Uncompared),
        (None, Contents::Compared),
    ];
    for (out_of_service, contents) in states {
        cluster.context.health.update(current, |state| {
            state.out_of_service = out_of_service.map(str::to_owned);
            state.contents = contents;
        });
        let is_there = out_of_service.is_none() && contents == Contents::Compared;
        let mut round = Leftovers::of(vec![old]);
        let done = round.advance(&cluster.context, Some(u64::MAX), &BTreeSet::new(), &mut LateDrops::default()).await;
        assert_eq!(done.expect("a step"), Some(usize::from(is_there)), "{out_of_service:?}, {contents:?}");
        assert_eq!(cluster.view().await.is_leftover(old, shard).expect("asked"), !is_there);
    }
    cluster.close().await;
}

#[actix::test]
async fn old_copies_and_strays_on_a_drive_whose_trial_writes_fail_wait() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let content = cluster.random.bytes(20 * CHUNK_BYTES as usize);
    cluster.put("key", &content).await;
    let (before, _) = move_first_shard(&mut cluster).await;
    let (old, shard) = (before.placement[0], ShardId { blob: before.id, shard: ShardNumber(0) });
    let mut planner = Planner::new(cluster.ring().current());
    for (error, dropped) in [(Some("read-only"), 0), (None, 1)] {
        cluster.context.health.update(old, |state| state.trial_write_failed = error.map(str::to_owned));
        let mut sweep = Sweep::of(vec![old]);
        for expected in [Swept::Page(0), Swept::End] {
            assert_eq!(sweep.advance(&cluster.context, &mut planner).await.expect("a step"), expected);
        }
        assert_eq!(sweep.passed_over().len(), 1 - dropped, "it is swept later");
        let mut round = Leftovers::of(vec![old]);
        let done = round.advance(&cluster.context, Some(u64::MAX), &BTreeSet::new(), &mut LateDrops::default()).await;
        assert_eq!(done.expect("a step"), Some(dropped), "{error:?}");
        assert_eq!(cluster.view().await.is_leftover(old, shard).expect("asked"), dropped == 0);
    }
    cluster.close().await;
}

#[actix::test]
async fn a_failed_drop_is_late_until_the_appends_begun_before_have_ended() {
    let cluster = Cluster::new(1, 1, 0).await;
    let node = node_of(1, 0);
    let index = cluster.drives[&node].index.clone();
    let mut late_drops = LateDrops::default();
    let abandoned = index.begin();
    let before = LateDrops::begun(&cluster.context, node);
    let failed = index.begin();
    late_drops.note(&cluster.context, node, before);
    let later = index.begin();
    assert_eq!(late_drops.pending(&cluster.context), BTreeSet::from([node]));
    index.end(failed);
    assert_eq!(late_drops.pending(&cluster.context), BTreeSet::new(), "what began earlier or later does not count");
    index.end(later);
    index.end(abandoned);
    cluster.close().await;
}

/// The layout changes back before the moves are complete. Copies that it no longer wants are dropped.
#[actix::test]
async fn a_reverted_layout_change_leaves_no_copies_behind() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let contents = cluster.fill(30).await;
    cluster.join(4).await;
    cluster.publish().await;
    let mut moving = cluster.all_moving();
    cluster.clock.forward(Duration::from_secs(10));
    let mut copied = 0;
    while copied < 5 {
        for one in &mut moving {
            copied += usize::from(matches!(one.advance().await.expect("a step"), Moved::Copied { .. }));
        }
    }
    cluster.set_state(4, NodeState::Draining).await;
    // The new layout is not published yet, and moves under the old one are refused.
    for _ in 0..50 {
        for one in &mut moving {
            if let Moved::Copied { shards, .. } = one.advance().await.expect("a step") {
                assert_eq!(shards, 0);
            }
        }
    }
    cluster.publish().await;
    cluster.settle(&mut moving).await;
    cluster.clock.forward(Duration::from_secs(400));
    cluster.settle(&mut moving).await;
    cluster.check_places().await;
    cluster.check_inventories().await;
    cluster.check_contents(&contents).await;
    cluster.close().await;
}

#[actix::test]
async fn an_object_deleted_during_its_move_leaves_no_copy() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let content = cluster.random.bytes(3_000_000);
    cluster.put("key", &content).await;
    cluster.join(4).await;
    for host in 1..=3 {
        cluster.change(drain(node_of(host, 0))).await;
    }
    cluster.publish().await;
    let mut moving = cluster.all_moving();
    cluster.clock.forward(Duration::from_secs(10));
    let mut copied = 0;
    while copied == 0 {
        for one in &mut moving {
            copied += usize::from(matches!(one.advance().await.expect("a step"), Moved::Copied { .. }));
        }
    }
    cluster.delete("key").await;
    cluster.settle(&mut moving).await;
    reclaim(&cluster).await;
    cluster.clock.forward(Duration::from_secs(400));
    cluster.settle(&mut moving).await;
    cluster.check_inventories().await;
    cluster.close().await;
}

/// Metadata whose next read times out after it has refused a move.
#[derive(Debug)]
struct SilentOnceRefused {
    tables: Arc<TableMetadata>,
    is_silent: AtomicBool,
}

#[async_trait::async_trait]
impl Metadata for SilentOnceRefused {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        let reply = self.tables.propose(change).await?;
        let is_refused = matches!(&reply, Reply::Moved(moved) if moved.contains(&false));
        self.is_silent.store(is_refused, Ordering::Relaxed);
        Ok(reply)
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        if self.is_silent.swap(false, Ordering::Relaxed) {
            return Err(MetaError::TimedOut);
        }
        self.tables.read().await
    }

    fn time(&self) -> LogTime {
        self.tables.time()
    }
}

#[actix::test]
async fn a_refused_move_ends_even_if_its_copy_cannot_be_dropped() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let content = cluster.random.bytes(300_000);
    cluster.put("key", &content).await;
    cluster.join(4).await;
    for host in 1..=3 {
        cluster.change(drain(node_of(host, 0))).await;
    }
    cluster.publish().await;
    let metadata = Arc::new(SilentOnceRefused { tables: cluster.metadata.clone(), is_silent: AtomicBool::new(false) });
    let context = ClusterContext { metadata, ..cluster.context.clone() };
    let options = MovingOptions { window_bytes: 20_000, pace: Pace::UNLIMITED, ..MovingOptions::default() };
    let hosts = cluster.services.keys();
    let mut moving: Vec<Moving> = hosts.map(|host| Moving::new(context.clone(), *host, options).0).collect();
    cluster.clock.forward(Duration::from_secs(10));
    let mut copied = 0;
    while copied == 0 {
        for one in &mut moving {
            copied += usize::from(matches!(one.advance().await.expect("a step"), Moved::Copied { .. }));
        }
    }
    cluster.delete("key").await;
    let (bytes, shards) = cluster.settle(&mut moving).await;
    assert!(bytes > 0 && shards == 0, "what was under way is refused: {bytes} bytes, {shards} shards");
    reclaim(&cluster).await;
    cluster.check_inventories().await;
    cluster.close().await;
}

#[actix::test]
async fn old_copies_stay_for_their_grace_period_though_the_wall_clock_jumps_a_day_ahead() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    cluster.fill(5).await;
    cluster.join(4).await;
    cluster.publish().await;
    let mut moving = cluster.all_moving();
    cluster.clock.forward(Duration::from_secs(10));
    let mut moved = 0;
    while moved == 0 {
        for one in &mut moving {
            if let Moved::Copied { shards, .. } = one.advance().await.expect("a step") {
                moved += shards;
            }
        }
    }
    for round in 0..4 {
        cluster.clock.forward(Duration::from_secs(20));
        if round == 1 {
            cluster.clock.set_wall_ahead(Duration::from_secs(24 * 3600));
        }
        for step in 0..50 * moving.len() {
            let at = step % moving.len();
            let done = moving[at].advance().await.expect("a step");
            assert!(!matches!(done, Moved::Dropped { shards: 1.. }), "{done:?}");
        }
    }
    cluster.settle(&mut moving).await;
    cluster.clock.forward(Duration::from_secs(300));
    cluster.settle(&mut moving).await;
    cluster.check_inventories().await;
    cluster.close().await;
}

/// Moves wait for a source node that is down and not draining.
#[actix::test]
async fn a_move_from_a_node_that_is_down_waits_for_it() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let contents = cluster.fill(20).await;
    let down = node_of(1, 0);
    cluster.context.health.update(down, |state| state.out_of_service = Some("restarts".to_owned()));
    cluster.join(4).await;
    cluster.publish().await;
    let (mut moving, handle) = cluster.moving(4);
    cluster.clock.forward(Duration::from_secs(10));
    for _ in 0..500 {
        moving.advance().await.expect("a step");
    }
    let status = handle.status();
    assert!(status.shards_waiting > 0 && status.shards_left == status.shards_waiting, "{status:?}");
    assert!(!status.settled && status.bytes_left > 0, "{status:?}");
    cluster.context.health.update(down, |state| state.out_of_service = None);
    cluster.settle(std::slice::from_mut(&mut moving)).await;
    let status = handle.status();
    assert!(
        status.settled && (status.shards_left, status.bytes_left, status.shards_waiting) == (0, 0, 0),
        "{status:?}"
    );
    cluster.check_places().await;
    cluster.check_contents(&contents).await;
    cluster.close().await;
}

/// The move was planned, with others of its page, while the source was trusted.
#[actix::test]
async fn a_planned_move_whose_source_became_suspect_is_not_begun() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let contents = cluster.fill(20).await;
    cluster.join(4).await;
    cluster.publish().await;
    let (mut moving, handle) = cluster.moving(4);
    cluster.clock.forward(Duration::from_secs(10));
    let mut first = None;
    for _ in 0..1_000 {
        moving.advance().await.expect("a step");
        first = moving.pass.as_ref().and_then(|pass| pass.planned().next()).map(|planned| planned.from);
        if first.is_some() {
            break;
        }
    }
    let slow = first.expect("a move is planned");
    let placed = held(&cluster, slow).await.0;
    let suspects = cluster.context.suspects.clone();
    suspects.late(slow, &[], "slow", cluster.clock.monotonic());
    for _ in 0..300 {
        moving.advance().await.expect("a step");
        assert!(moving.copies.iter().all(|copy| copy.planned.from != slow));
    }
    assert_eq!(held(&cluster, slow).await.0, placed, "its shards wait");
    assert!(handle.status().shards_waiting > 0);
    cluster.clock.forward(Duration::from_secs(20));
    suspects.probed(slow, Ok(()), cluster.clock.monotonic());
    cluster.settle(std::slice::from_mut(&mut moving)).await;
    assert!(handle.status().settled);
    cluster.check_places().await;
    cluster.check_contents(&contents).await;
    cluster.close().await;
}

fn drain(node: NodeId) -> crate::storage::meta::command::Change {
    crate::storage::meta::command::Change::SetNode { node, weight: None, state: Some(NodeState::Draining) }
}

/// Returns the numbers of shards that are placed on a node, and of leftovers on it.
async fn held(cluster: &Cluster, node: NodeId) -> (u64, u64) {
    let held = cluster.view().await.held().expect("held").nodes.get(&node).copied().unwrap_or_default();
    (held.placed, held.leftovers)
}
