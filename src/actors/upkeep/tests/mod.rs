//! Tests of compaction and reclamation on real logs and indexes: dead records free their space, and live ones are never
//! lost.

mod fencing;
mod grace;
mod hanging;
mod late_publications;
mod power_cuts;
mod reindexing;
mod releases;
mod unread;

use super::{
    Background, Chore, ClusterContext, Compaction, CompactionContext, CompactionOptions, LastFailure, Pace, Reclaimed,
    Reclamation, ReclamationOptions, Step, Stop, Wake,
};
use crate::actors::consensus::MetaError;
use crate::actors::drives::Drive;
use crate::actors::drives::test_host::{
    SEGMENT_BYTES, Seeded, TableMetadata, TestHost, blob_of, flip_byte_of, open_host,
};
use crate::actors::request::Metadata;
use crate::net::{AppendChunks, NodeService, ReadChunks};
use crate::storage::meta::command::{Change, LogTime, Reply};
use crate::storage::meta::record::{NodeRecord, NodeState};
use crate::storage::meta::samples;
use crate::storage::meta::view::MetaView;
use crate::types::{BlobId, ChunkIndex, HostId, Incarnation, NodeId, ShardId, ShardNumber, UnixMs};
use actix::Actor;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

const STEPS_MAX: usize = 10_000;

fn context(host: &TestHost) -> CompactionContext {
    CompactionContext {
        threads: host.upkeep.threads.clone(),
        health: host.upkeep.health.clone(),
        faults: host.node_context.faults.clone(),
        load: host.upkeep.load.clone(),
        ambient: host.upkeep.ambient.clone(),
    }
}

fn compaction(host: &TestHost, drive: &Drive) -> Compaction {
    let options = CompactionOptions {
        seal_dead_bytes_min: 4096,
        pace: Pace::UNLIMITED,
        ..CompactionOptions::for_segments_of(SEGMENT_BYTES.into())
    };
    Compaction::new(drive.clone(), context(host), options)
}

/// Steps until there is nothing to compact, and returns the steps.
async fn compact(compaction: &mut Compaction) -> Vec<Step> {
    let mut done = Vec::new();
    for _ in 0..STEPS_MAX {
        match compaction.advance().await.expect("a step") {
            Step::Nothing => return done,
            step => done.push(step),
        }
    }
    panic!("compaction does not come to an end");
}

/// Reclaims all garbage after its grace period, and returns the number of shards dropped.
async fn reclaim(host: &TestHost) -> usize {
    let options = ReclamationOptions { page: 3, ..ReclamationOptions::default() };
    let mut reclamation = Reclamation::new(host.upkeep.clone(), options);
    assert_eq!(reclaim_by(&mut reclamation).await, 0, "too young");
    host.clock.forward(Duration::from_secs(120));
    reclaim_by(&mut reclamation).await
}

async fn reclaim_by(reclamation: &mut Reclamation) -> usize {
    let mut total = 0;
    for _ in 0..STEPS_MAX {
        match reclamation.advance().await.expect("a step") {
            Reclaimed::Waiting => panic!("nobody reads"),
            Reclaimed::Page { shards } => total += shards,
            Reclaimed::End { shards } => return total + shards,
        }
    }
    panic!("reclamation does not come to an end");
}

fn segments(host: &TestHost) -> usize {
    host.drives.iter().map(|drive| drive.log.segments().len()).sum()
}

fn shard(blob: u128) -> ShardId {
    ShardId { blob: BlobId(blob), shard: ShardNumber(0) }
}

/// Returns the chunk of a blob; each blob has another content.
fn chunk_of(blob: u128) -> Bytes {
    Seeded::new(blob as u64).bytes(200 << 10)
}

async fn append(host: &TestHost, node: NodeId, blob: u128) {
    let chunks = vec![chunk_of(blob)];
    let request = AppendChunks { node, shard: shard(blob), first: ChunkIndex(0), chunks, trace: None };
    host.service.append_chunks(request).await.expect("appended");
}

async fn read(host: &TestHost, node: NodeId, blob: u128) -> Option<Bytes> {
    let request = ReadChunks { node, shard: shard(blob), first: ChunkIndex(0), count: 1, trace: None };
    host.service.read_chunks(request).await.expect("read").chunks.remove(0).ok()
}

#[actix::test]
async fn w12_space_of_deleted_and_overwritten_objects_is_freed() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 2, 2).await;
    let content = Seeded::new(1).bytes(3 << 20);
    for round in 0..16 {
        host.put(&format!("key-{}", round % 2), &content).await.expect("stored");
    }
    host.delete("key-0").await;
    assert_eq!(reclaim(&host).await, 15 * 4);
    assert_eq!(reclaim(&host).await, 0);
    assert_eq!(host.view().await.counts().expect("counts").garbage, 0);
    let before = segments(&host);
    for drive in &host.drives {
        compact(&mut compaction(&host, drive)).await;
    }
    assert!(segments(&host) <= 4 * 2 && segments(&host) < before, "{} segments are left of {before}", segments(&host));
    assert_eq!(host.get("key-1").await.expect("read"), Some(content));
    host.delete("key-1").await;
    reclaim(&host).await;
    for drive in &host.drives {
        compact(&mut compaction(&host, drive)).await;
        drive.index.check_invariants();
        assert_eq!(drive.index.total().chunks, 0);
        assert!(drive.log.segments().len() <= 2, "the mostly dead last segment goes too");
    }
    host.close().await;
}

#[actix::test]
async fn garbage_is_kept_until_reads_that_began_before_have_ended() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    let content = Seeded::new(2).bytes(100_000);
    host.put("key", &content).await.expect("stored");
    let read = host.upkeep.reads.begin();
    host.delete("key").await;
    let mut reclamation = Reclamation::new(host.upkeep.clone(), ReclamationOptions::default());
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    host.clock.forward(Duration::from_secs(120));
    for _ in 0..3 {
        assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    }
    drop(read);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 1 });
    host.close().await;
}

/// Steps to the end of the garbage while reads are under way, and returns the number of shards dropped.
async fn pass(reclamation: &mut Reclamation) -> usize {
    let mut total = 0;
    for _ in 0..STEPS_MAX {
        match reclamation.advance().await.expect("a step") {
            Reclaimed::Waiting => {}
            Reclaimed::Page { shards } => total += shards,
            Reclaimed::End { shards } => return total + shards,
        }
    }
    panic!("reclamation does not come to an end");
}

#[actix::test]
async fn garbage_is_reclaimed_while_reads_that_began_later_are_always_under_way() {
    const OBJECTS: usize = 5;
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    for object in 0..OBJECTS {
        host.put(&format!("key-{object}"), &Seeded::new(4).bytes(100_000)).await.expect("stored");
    }
    let early = host.upkeep.reads.begin();
    for object in 0..OBJECTS {
        host.delete(&format!("key-{object}")).await;
    }
    let options = ReclamationOptions { page: 1, ..ReclamationOptions::default() };
    let mut reclamation = Reclamation::new(host.upkeep.clone(), options);
    assert_eq!(pass(&mut reclamation).await, 0, "too young");
    host.clock.forward(Duration::from_secs(120));
    assert_eq!(pass(&mut reclamation).await, 0, "a read that began before the deletes is under way");
    let mut later = host.upkeep.reads.begin();
    drop(early);
    for _ in 0..OBJECTS {
        assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Page { shards: 1 });
        // The next read begins before this one ends.
        drop(std::mem::replace(&mut later, host.upkeep.reads.begin()));
    }
    assert_eq!(host.view().await.counts().expect("counts").garbage, 0);
    drop(later);
    host.close().await;
}

#[actix::test]
async fn a_read_holds_only_what_was_deleted_after_it_began() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    host.put("first", &Seeded::new(5).bytes(100_000)).await.expect("stored");
    let second = host.put("second", &Seeded::new(6).bytes(100_000)).await.expect("stored");
    let mut reclamation = Reclamation::new(host.upkeep.clone(), ReclamationOptions::default());
    let early = host.upkeep.reads.begin();
    host.delete("first").await;
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    host.clock.forward(Duration::from_secs(120));
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    let between = host.upkeep.reads.begin();
    host.delete("second").await;
    for seconds in [10, 120] {
        host.clock.forward(Duration::from_secs(seconds));
        assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    }
    drop(early);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 1 });
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    let garbage = host.view().await.garbage(None, 10).expect("garbage");
    assert_eq!(garbage.iter().map(|row| row.blob.id).collect::<Vec<_>>(), [blob_of(&second).id]);
    drop(between);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 1 });
    host.close().await;
}

/// Metadata of a host that leads in `term` while `leads` is set.
#[derive(Debug)]
struct Leader {
    tables: Arc<TableMetadata>,
    leads: AtomicBool,
    term: AtomicU64,
}

impl Leader {
    fn of(tables: Arc<TableMetadata>) -> Self {
        Self { tables, leads: AtomicBool::new(true), term: AtomicU64::new(1) }
    }
}

#[async_trait::async_trait]
impl Metadata for Leader {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        self.tables.propose(change).await
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        self.tables.read().await
    }

    fn time(&self) -> LogTime {
        self.tables.time()
    }

    fn is_leader(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    fn lead(&self) -> Option<u64> {
        self.is_leader().then(|| self.term.load(Ordering::Relaxed))
    }
}

#[actix::test]
async fn a_host_that_lost_the_lead_forgets_what_no_read_needs() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    for key in ["one", "two"] {
        host.put(key, &Seeded::new(7).bytes(100_000)).await.expect("stored");
        host.delete(key).await;
    }
    let metadata = Arc::new(Leader::of(host.metadata.clone()));
    let context = ClusterContext { metadata: metadata.clone(), ..host.upkeep.clone() };
    let options = ReclamationOptions { page: 1, ..ReclamationOptions::default() };
    let mut reclamation = Reclamation::new(context, options);
    assert_eq!(pass(&mut reclamation).await, 0, "too young");
    host.clock.forward(Duration::from_secs(120));
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Page { shards: 1 });
    let read = host.upkeep.reads.begin();
    metadata.leads.store(false, Ordering::Relaxed);
    reclamation.step().await;
    metadata.leads.store(true, Ordering::Relaxed);
    assert_eq!(pass(&mut reclamation).await, 0, "a new lead begins a grace period");
    host.clock.forward(Duration::from_secs(120));
    assert_eq!(pass(&mut reclamation).await, 0, "the read began before the first lookup of the new lead");
    drop(read);
    assert_eq!(pass(&mut reclamation).await, 1);
    host.close().await;
}

#[actix::test]
async fn garbage_shards_on_a_node_that_is_down_stay_pending() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 2, 1).await;
    let manifest = host.put("key", &Seeded::new(3).bytes(100_000)).await.expect("stored");
    host.delete("key").await;
    host.upkeep.health.take_out(blob_of(&manifest).placement[1], "pulled");
    assert_eq!(reclaim(&host).await, 2);
    let garbage = host.view().await.garbage(None, 10).expect("garbage");
    assert_eq!(garbage.iter().map(|row| row.pending.clone()).collect::<Vec<_>>(), [vec![ShardNumber(1)]]);
    host.close().await;
}

#[actix::test]
async fn garbage_shards_on_a_node_whose_trial_writes_fail_are_dropped_once_they_succeed() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 2, 1).await;
    let manifest = host.put("key", &Seeded::new(3).bytes(100_000)).await.expect("stored");
    host.delete("key").await;
    let node = blob_of(&manifest).placement[1];
    host.upkeep.health.update(node, |state| state.trial_write_failed = Some("read-only".to_owned()));
    assert_eq!(reclaim(&host).await, 2);
    let garbage = host.view().await.garbage(None, 10).expect("garbage");
    assert_eq!(garbage.iter().map(|row| row.pending.clone()).collect::<Vec<_>>(), [vec![ShardNumber(1)]]);
    host.upkeep.health.update(node, |state| state.trial_write_failed = None);
    assert_eq!(reclaim(&host).await, 1);
    assert_eq!(host.view().await.counts().expect("counts").garbage, 0);
    host.close().await;
}

#[actix::test]
async fn the_compactor_appends_nothing_while_trial_writes_fail() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    let (node, last) = (NodeId(0), 4 * u128::from(SEGMENT_BYTES / (210 << 10)));
    for blob in 1..=last {
        append(&host, node, blob).await;
    }
    host.service.drop_shards(node, (2..=last).map(shard).collect()).await.expect("dropped");
    let state = || (host.drives[0].log.status().appends, segments(&host));
    let (before, mut compaction) = (state(), compaction(&host, &host.drives[0]));
    host.upkeep.health.update(node, |state| state.trial_write_failed = Some("read-only".to_owned()));
    for _ in 0..20 {
        compaction.step().await;
    }
    assert_eq!(state(), before);
    host.upkeep.health.update(node, |state| state.trial_write_failed = None);
    for _ in 0..STEPS_MAX {
        if segments(&host) < before.1 {
            break;
        }
        compaction.step().await;
    }
    assert!(segments(&host) < before.1, "it goes on");
    assert_eq!(read(&host, node, 1).await, Some(chunk_of(1)));
    host.close().await;
}

#[actix::test]
async fn garbage_on_a_removed_node_is_forgotten_with_it() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 2, 1).await;
    let manifest = host.put("key", &Seeded::new(3).bytes(100_000)).await.expect("stored");
    host.delete("key").await;
    let lost = blob_of(&manifest).placement[1];
    host.upkeep.health.take_out(lost, "pulled");
    for id in (0..3).map(NodeId) {
        let node = NodeRecord {
            id,
            host: HostId(1),
            incarnation: Incarnation(1),
            weight: 1,
            state: NodeState::Active,
            joined: UnixMs(0),
        };
        host.metadata.propose(samples::register(node)).await.expect("registered");
    }
    assert_eq!(reclaim(&host).await, 2);
    let removed = host.metadata.propose(Change::RemoveNode { node: lost, lost: true }).await.expect("removed");
    assert_eq!(removed, Reply::Done);
    assert_eq!(reclaim(&host).await, 1);
    let view = host.view().await;
    assert_eq!((view.counts().expect("counts").garbage, view.held().expect("held").nodes.len()), (0, 0));
    host.close().await;
}

#[actix::test]
async fn w12_a_segment_with_a_corrupt_chunk_is_held_while_others_are_compacted() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 1, 0).await;
    let node = NodeId(0);
    let per_segment = u128::from(SEGMENT_BYTES / (210 << 10));
    let last = 4 * per_segment;
    for blob in 1..=last {
        append(&host, node, blob).await;
    }
    let dead: Vec<ShardId> = (1..=last).filter(|blob| blob % 4 != 0).map(shard).collect();
    host.service.drop_shards(node, dead).await.expect("dropped");
    flip_byte_of(&host, root.path(), node, shard(4), ChunkIndex(0));
    let mut compaction = compaction(&host, &host.drives[0].clone());
    let done = compact(&mut compaction).await;
    let held: Vec<_> = done.iter().filter(|step| matches!(step, Step::Held(_))).collect();
    assert_eq!(held.len(), 1, "{done:?}");
    assert!(
        done.iter().filter(|step| matches!(step, Step::Released(_))).count() >= 2,
        "the others are emptied: {done:?}"
    );
    assert_eq!(read(&host, node, 4).await, None, "corrupt, not made up");
    for blob in (8..=last).step_by(4) {
        assert_eq!(read(&host, node, blob).await, Some(chunk_of(blob)));
    }
    let reported = host.faults.as_mut().expect("no healer").take().expect("a report");
    assert_eq!(reported.shard, shard(4));
    // Once a repair has written the chunk elsewhere, the segment can be released.
    append(&host, node, 4).await;
    host.clock.forward(Duration::from_secs(3600));
    let before = segments(&host);
    compact(&mut compaction).await;
    assert!(segments(&host) < before);
    assert_eq!(read(&host, node, 4).await, Some(chunk_of(4)));
    host.close().await;
}

#[test]
fn a_repeated_failure_is_new_only_once_until_it_changes_or_ends() {
    let mut last = LastFailure::default();
    let news = ["full", "full", "gone", "full"].map(|failure| last.is_news(&failure));
    assert_eq!(news, [true, false, true, true]);
    last.is_over();
    assert!(last.is_news(&"full"));
}

/// A chore that counts its steps.
struct Counting {
    steps: Arc<AtomicUsize>,
}

impl Chore for Counting {
    async fn step(&mut self) -> Duration {
        self.steps.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Duration::from_secs(3600)
    }
}

#[actix::test]
async fn a_chore_steps_when_woken_and_never_after_it_was_stopped() {
    let steps = Arc::new(AtomicUsize::new(0));
    let chore = Background::new(Counting { steps: steps.clone() }).start();
    for wanted in 2..5 {
        chore.send(Wake).await.expect("running");
        while steps.load(Ordering::Relaxed) < wanted {
            chore.send(Wake).await.expect("running");
            tokio::task::yield_now().await;
        }
    }
    chore.send(Stop).await.expect("stopped");
    let after = steps.load(Ordering::Relaxed);
    while chore.connected() {
        tokio::task::yield_now().await;
    }
    assert!(chore.send(Wake).await.is_err());
    assert_eq!(steps.load(Ordering::Relaxed), after);
}
