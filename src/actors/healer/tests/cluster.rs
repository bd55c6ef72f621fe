//! Tests of several hosts that heal from one repair queue: each repairs its own nodes, none waits for another, and all
//! counts return to 0.

use super::{heal, healing, lose, repaired, shard_of, stripes};
use crate::actors::drives::test_host::{
    CHUNK_BYTES, Seeded, TestCluster, TestHost, blob_of, flip_byte_of, open_cluster,
};
use crate::actors::healer::{Healed, HealerHandle, Healing, HealingOptions};
use crate::actors::request::test_hosts::HostState;
use crate::actors::request::{ActiveReads, ActiveWrites, Metadata};
use crate::actors::upkeep::{
    Fenced, Fencing, FencingOptions, Reclaimed, Reclamation, ReclamationOptions, UnderWayService, UpkeepError,
};
use crate::limits::UPKEEP_WAIT_MAX;
use crate::net::{AppendChunks, GroupCall, GroupService, NoGroups, NodeService, PeerError};
use crate::storage::meta::command::Change;
use crate::storage::meta::record::{BlobRef, HostRecord};
use crate::types::{ChunkIndex, HostId, NodeId, ShardId, ShardNumber, UnixMs};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SECOND: usize = 1;

/// Opens three hosts of two drives at 3+3: each drive holds one shard of each blob.
async fn cluster(root: &Path) -> TestCluster {
    open_cluster(root, (3, 3), 3, 2).await
}

fn healers(cluster: &mut TestCluster) -> Vec<(Healing, HealerHandle)> {
    cluster.hosts.iter_mut().map(healing).collect()
}

pub(super) async fn put(cluster: &TestCluster, seed: u64, stripes: usize) -> (BlobRef, Bytes) {
    let content = Seeded::new(seed).bytes(stripes * 3 * CHUNK_BYTES as usize - 100);
    let manifest = cluster.hosts[0].put(&format!("key{seed}"), &content).await.expect("stored");
    (blob_of(&manifest).clone(), content)
}

/// Returns the index of a node's host.
fn home(node: NodeId) -> usize {
    (node.0 / 64) as usize
}

/// Returns the first shard of the blob on this host.
fn shard_on(blob: &BlobRef, host: usize) -> usize {
    blob.placement.iter().position(|&node| home(node) == host).expect("two a host")
}

async fn count(cluster: &TestCluster, blob: &BlobRef, shard: usize) -> u32 {
    let (node, id) = shard_of(blob, shard);
    cluster.hosts[home(node)].service.count_chunks(node, vec![id]).await.expect("counted")[0]
}

async fn queue(host: &TestHost, blob: &BlobRef, shards: &[usize]) {
    let missing = shards.iter().map(|&shard| (blob.clone(), ShardNumber(shard as u8))).collect();
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
}

async fn close(cluster: TestCluster) {
    for host in cluster.hosts {
        host.close().await;
    }
}

#[actix::test]
async fn each_host_repairs_its_own_nodes_and_all_counts_return_to_zero() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    let (blob, content) = put(&cluster, 1, 5).await;
    let (first, second) = (shard_on(&blob, 0), shard_on(&blob, SECOND));
    lose(&cluster.hosts[0], &blob, first).await;
    lose(&cluster.hosts[SECOND], &blob, second).await;
    queue(&cluster.hosts[2], &blob, &[first, second]).await;
    let mut healers = healers(&mut cluster);
    let done = heal(&mut healers[0].0).await;
    assert!(repaired(&done, shard_of(&blob, first).1) && !repaired(&done, shard_of(&blob, second).1), "{done:?}");
    assert_eq!((count(&cluster, &blob, first).await, count(&cluster, &blob, second).await), (stripes(&blob), 0));
    let status = healers[0].1.status();
    assert_eq!((status.missing_shards, status.under_replicated_objects, status.to_repair_shards), (1, 1, 0));
    let done = heal(&mut healers[SECOND].0).await;
    assert!(repaired(&done, shard_of(&blob, second).1), "{done:?}");
    assert_eq!(count(&cluster, &blob, second).await, stripes(&blob));
    for (healing, handle) in &mut healers {
        cluster.hosts[0].clock.forward(Duration::from_secs(2));
        heal(healing).await;
        let status = handle.status();
        assert_eq!((status.missing_shards, status.under_replicated_objects), (0, 0));
        assert_eq!((status.eta, status.comparing), (Some(Duration::ZERO), vec![]));
    }
    assert_eq!(healers[SECOND].1.status().repaired_shards, 1);
    assert_eq!(cluster.hosts[2].get("key1").await.expect("read"), Some(content));
    close(cluster).await;
}

#[actix::test]
async fn a_wiped_node_is_found_by_its_own_host_and_filled_from_the_others() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    let mut blobs = Vec::new();
    for seed in 10..20 {
        blobs.push(put(&cluster, seed, 3).await.0);
    }
    let wiped = NodeId(64);
    let mut lost = 0;
    for blob in &blobs {
        for shard in (0..6).filter(|&shard| blob.placement[shard] == wiped) {
            lose(&cluster.hosts[SECOND], blob, shard).await;
            lost += 1;
        }
    }
    let mut healers = healers(&mut cluster);
    for other in [0, 2] {
        heal(&mut healers[other].0).await;
        assert_eq!(healers[other].1.status().missing_shards, 0, "other hosts do not compare this node");
    }
    let (mut order, mut most) = (Vec::new(), 0);
    loop {
        match healers[SECOND].0.advance().await.expect("a step") {
            Healed::Nothing => break,
            Healed::Worked { repaired, .. } => order.extend(repaired),
            _ => {}
        }
        most = most.max(healers[SECOND].1.status().repairing);
    }
    assert_eq!(most, HealingOptions::default().repairs_max as u64, "several at once, and no more");
    assert!(order.is_sorted(), "it is filled in order: {order:?}");
    let status = healers[SECOND].1.status();
    assert_eq!((status.repaired_shards, status.missing_shards, status.to_repair_shards), (lost, 0, 0));
    for blob in &blobs {
        for shard in 0..6 {
            assert_eq!(count(&cluster, blob, shard).await, stripes(blob));
        }
    }
    close(cluster).await;
}

#[actix::test]
async fn a_corrupt_chunk_read_by_another_host_is_repaired_on_its_node() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    let (blob, content) = put(&cluster, 3, 6).await;
    let data = (0..3).find(|&shard| home(blob.placement[shard]) != 0).expect("no host has three");
    let (node, id) = shard_of(&blob, data);
    let mut healers = healers(&mut cluster);
    for (healing, _) in &mut healers {
        heal(healing).await;
    }
    flip_byte_of(&cluster.hosts[home(node)], root.path(), node, id, ChunkIndex(1));
    assert_eq!(cluster.hosts[0].get("key3").await.expect("read"), Some(content));
    // The reader's host queues the repair too, and leaves it to the node's host.
    assert!(matches!(healers[0].0.advance().await, Ok(Healed::Queued { shards: 1 })));
    heal(&mut healers[0].0).await;
    assert_eq!((healers[0].1.status().corrupt_chunks, healers[0].1.status().missing_shards), (0, 1));
    cluster.hosts[0].clock.forward(Duration::from_secs(2));
    let (healing, handle) = &mut healers[home(node)];
    assert!(matches!(healing.advance().await, Ok(Healed::Worked { .. })), "it is queued already");
    let status = handle.status();
    assert_eq!((status.corrupt_chunks, status.missing_shards), (1, 1));
    assert!(repaired(&heal(healing).await, id));
    cluster.hosts[0].clock.forward(Duration::from_secs(2));
    heal(healing).await;
    cluster.hosts[0].clock.forward(Duration::from_secs(2));
    heal(healing).await;
    let status = handle.status();
    assert_eq!((status.corrupt_chunks, status.missing_shards, status.under_replicated_objects), (0, 0, 0));
    let read = crate::net::ReadChunks { node, shard: id, first: ChunkIndex(0), count: stripes(&blob), trace: None };
    let chunks = cluster.hosts[home(node)].service.read_chunks(read).await.expect("read").chunks;
    assert!(chunks.iter().all(Result::is_ok));
    close(cluster).await;
}

/// P6: a frozen host delays healing once, and prevents no repair that can do without it.
#[actix::test]
async fn p6_a_frozen_host_delays_healing_once_and_prevents_no_repair() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    let mut blobs = Vec::new();
    for seed in 30..36 {
        let (blob, _) = put(&cluster, seed, 9).await;
        let shard = shard_on(&blob, 0);
        lose(&cluster.hosts[0], &blob, shard).await;
        queue(&cluster.hosts[0], &blob, &[shard, shard_on(&blob, 2)]).await;
        blobs.push((blob, shard));
    }
    let (mut healing, handle) = healing(&mut cluster.hosts[0]);
    cluster.ways.set(HostId(3), HostState::Frozen);
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    heal(&mut healing).await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    for (blob, shard) in &blobs {
        assert_eq!(count(&cluster, blob, *shard).await, stripes(blob));
    }
    let status = handle.status();
    assert_eq!((status.missing_shards, status.to_repair_shards), (6, 0), "repairs on the frozen host wait for it");
    tokio::time::resume();
    cluster.ways.set(HostId(3), HostState::Up);
    heal(&mut super::healing(&mut cluster.hosts[2]).0).await;
    assert_eq!(cluster.hosts[0].view().await.counts().expect("counts").repairs, 0);
    close(cluster).await;
}

#[actix::test]
async fn a_comparison_gives_a_call_that_never_returns_up_and_goes_on_later() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    put(&cluster, 60, 3).await;
    let (mut healing, handle) = healing(&mut cluster.hosts[0]);
    cluster.ways.set(HostId(1), HostState::Frozen);
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let compared = healing.advance().await;
    assert!(matches!(compared, Err(UpkeepError::Node(_))), "{compared:?}");
    assert!(start.elapsed() < UPKEEP_WAIT_MAX + Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(!handle.reconciling().is_empty());
    tokio::time::resume();
    cluster.ways.set(HostId(1), HostState::Up);
    heal(&mut healing).await;
    assert!(handle.reconciling().is_empty());
    close(cluster).await;
}

#[actix::test]
async fn orphans_are_counted_until_the_fence_is_above_them() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    let host = &cluster.hosts[SECOND];
    let shard = ShardId { blob: host.upkeep.writes.begin(&host.upkeep.ambient).blob(), shard: ShardNumber(0) };
    let chunks = vec![Bytes::from_static(b"orphan")];
    let append = AppendChunks { node: NodeId(65), shard, first: ChunkIndex(0), chunks, trace: None };
    host.service.append_chunks(append).await.expect("appended");
    let clock = host.clock.clone();
    let mut healers = healers(&mut cluster);
    let mut fencing = Fencing::new(cluster.hosts[0].upkeep.clone(), FencingOptions::default());
    let (healing, handle) = &mut healers[SECOND];
    let mut seen = Vec::new();
    for round in 0..12 {
        clock.forward(Duration::from_secs(3 * 3600 + 60));
        if round == 10 {
            assert!(matches!(fencing.advance().await, Ok(Fenced::Below(fence)) if fence > shard.blob));
        }
        heal(healing).await;
        seen.push(handle.status().orphaned_shards);
    }
    assert_eq!(seen, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    let left = cluster.hosts[SECOND].service.count_chunks(NodeId(65), vec![shard]).await.expect("counted");
    assert_eq!(left, [0]);
    close(cluster).await;
}

#[actix::test]
async fn garbage_is_kept_for_readers_of_other_hosts_unless_these_are_gone() {
    let root = tempfile::tempdir().expect("a directory");
    let cluster = cluster(root.path()).await;
    put(&cluster, 50, 4).await;
    let read = cluster.hosts[SECOND].requests.reads.begin();
    let clock = cluster.hosts[0].clock.clone();
    clock.forward(Duration::from_secs(1));
    cluster.hosts[0].delete("key50").await;
    let mut reclamation = Reclamation::new(cluster.hosts[0].upkeep.clone(), ReclamationOptions::default());
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    clock.forward(Duration::from_secs(120));
    for _ in 0..3 {
        assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
        clock.forward(Duration::from_secs(10));
    }
    let later = cluster.hosts[SECOND].requests.reads.begin();
    drop(read);
    clock.forward(Duration::from_secs(1));
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 6 });
    assert_eq!(cluster.hosts[0].view().await.counts().expect("counts").garbage, 0);
    drop(later);

    put(&cluster, 51, 4).await;
    cluster.hosts[0].delete("key51").await;
    assert_eq!(
        reclamation.advance().await.expect("a step"),
        Reclaimed::End { shards: 0 },
        "the garbage is younger than a minute"
    );
    cluster.ways.set(HostId(3), HostState::Dead);
    clock.forward(Duration::from_secs(120));
    let _dead = cluster.hosts[2].requests.reads.begin();
    assert_eq!(
        reclamation.advance().await.expect("a step"),
        Reclaimed::Waiting,
        "a silent host is waited for at first"
    );
    clock.forward(Duration::from_secs(61));
    assert_eq!(
        reclamation.advance().await.expect("a step"),
        Reclaimed::End { shards: 4 },
        "the other two shards are on the dead host"
    );
    cluster.ways.set(HostId(3), HostState::Up);
    close(cluster).await;
}

/// A host that only serves S3, and that no node belongs to. It answers about its reads while `answers` is set.
#[derive(Debug)]
struct Gateway {
    under_way: UnderWayService,
    answers: AtomicBool,
}

#[async_trait::async_trait]
impl GroupService for Gateway {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        match self.answers.load(Ordering::Relaxed) {
            true => self.under_way.group_call(call).await,
            false => Err(PeerError::Refused { why: "it is cut off".to_owned() }),
        }
    }
}

/// Registers a gateway in the cluster.
async fn add_gateway(cluster: &TestCluster) -> Arc<Gateway> {
    let host = HostId(9);
    let record = HostRecord {
        id: host,
        name: "gateway".to_owned(),
        address: "10.0.0.9:9100".to_owned(),
        domain: None,
        joined: UnixMs(0),
        first_node: None,
    };
    cluster.hosts[0].metadata.propose(Change::RegisterHost(record)).await.expect("registered");
    let reads = ActiveReads::new(cluster.hosts[0].clock.clone());
    let under_way = UnderWayService { reads, writes: ActiveWrites::default(), groups: Arc::new(NoGroups) };
    let gateway = Arc::new(Gateway { under_way, answers: AtomicBool::new(true) });
    cluster.ways.add(host, cluster.hosts[0].service.clone(), gateway.clone());
    gateway
}

#[actix::test]
async fn garbage_is_kept_while_a_host_without_drives_reads_it() {
    let root = tempfile::tempdir().expect("a directory");
    let cluster = cluster(root.path()).await;
    let (gateway, clock) = (add_gateway(&cluster).await, cluster.hosts[0].clock.clone());
    put(&cluster, 52, 4).await;
    let read = gateway.under_way.reads.begin();
    clock.forward(Duration::from_secs(1));
    cluster.hosts[0].delete("key52").await;
    let mut reclamation = Reclamation::new(cluster.hosts[0].upkeep.clone(), ReclamationOptions::default());
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    clock.forward(Duration::from_secs(120));
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    drop(read);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 6 });
    close(cluster).await;
}

/// Stores two objects and deletes them after a second; returns a reclamation with pages of one blob.
async fn two_deleted(cluster: &TestCluster) -> Reclamation {
    for seed in [53, 54] {
        put(cluster, seed, 4).await;
    }
    cluster.hosts[0].clock.forward(Duration::from_secs(1));
    for key in ["key53", "key54"] {
        cluster.hosts[0].delete(key).await;
    }
    let options = ReclamationOptions { page: 1, ..ReclamationOptions::default() };
    Reclamation::new(cluster.hosts[0].upkeep.clone(), options)
}

#[actix::test]
async fn a_host_that_answers_again_is_waited_for_again() {
    let root = tempfile::tempdir().expect("a directory");
    let cluster = cluster(root.path()).await;
    let (gateway, clock) = (add_gateway(&cluster).await, cluster.hosts[0].clock.clone());
    let read = gateway.under_way.reads.begin();
    let mut reclamation = two_deleted(&cluster).await;
    gateway.answers.store(false, Ordering::Relaxed);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting, "it is waited for at first");
    clock.forward(Duration::from_secs(120));
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Page { shards: 6 });
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 0 });
    gateway.answers.store(true, Ordering::Relaxed);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting, "its read began before the deletes");
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 0 });
    drop(read);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Page { shards: 6 });
    close(cluster).await;
}

#[actix::test]
async fn a_host_that_registers_is_asked_before_more_is_reclaimed() {
    let root = tempfile::tempdir().expect("a directory");
    let cluster = cluster(root.path()).await;
    let mut reclamation = two_deleted(&cluster).await;
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Page { shards: 0 }, "too young");
    cluster.hosts[0].clock.forward(Duration::from_secs(120));
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Page { shards: 6 });
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 0 });
    let read = add_gateway(&cluster).await.under_way.reads.begin();
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 0 });
    drop(read);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Page { shards: 6 });
    close(cluster).await;
}
