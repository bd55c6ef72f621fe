//! Tests that a repair which cannot be done costs little: it is put off before anything is read, or paced by what it
//! read and put off for longer each time.

use super::{heal, healing, lose, put_off, queue, repaired, shard_of};
use crate::actors::drives::LocalNode;
use crate::actors::drives::health::SpaceLevel;
use crate::actors::drives::test_host::{CHUNK_BYTES, Seeded, TestHost, blob_of, open_host};
use crate::actors::healer::{Healing, HealingOptions};
use crate::actors::peers::ConnectionPool;
use crate::actors::request::test_hosts::Hosts;
use crate::actors::upkeep::{Chore, Pace};
use crate::net::{AppendChunks, ChunksRead, InventoryPage, NoGroups, NodeService, PeerError, ReadChunks};
use crate::types::{NodeId, ShardId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The service of a host's drives, which counts the reads of chunks.
#[derive(Debug)]
struct Counted {
    service: Arc<LocalNode>,
    reads: AtomicUsize,
}

#[async_trait::async_trait]
impl NodeService for Counted {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        self.service.append_chunks(request).await
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.service.read_chunks(request).await
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        self.service.drop_shards(node, shards).await
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        self.service.count_chunks(node, shards).await
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        self.service.inventory(node, after, limit).await
    }
}

/// Has the chores of a host call its drives through a service that counts reads, and returns that service.
fn count_reads(host: &mut TestHost) -> Arc<Counted> {
    let counted = Arc::new(Counted { service: host.service.clone(), reads: AtomicUsize::new(0) });
    let ways: Arc<Hosts> = Arc::default();
    ways.add(host.upkeep.host, counted.clone(), Arc::new(NoGroups));
    host.upkeep.peers = ConnectionPool::start_with(ways, &host.upkeep.ambient);
    counted
}

#[actix::test]
async fn a_repair_on_a_full_drive_reads_nothing_and_begins_once_there_is_room() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let manifest = host.put("key", &Seeded::new(20).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 0).await;
    queue(&host, &blob, 0).await;
    let (node, id) = shard_of(&blob, 0);
    let counted = count_reads(&mut host);
    host.upkeep.health.update(node, |state| state.level = SpaceLevel::Exhausted);
    let (mut healing, handle) = healing(&mut host);
    heal(&mut healing).await;
    assert_eq!((counted.reads.load(Ordering::Relaxed), handle.status().put_off), (0, 1));
    host.upkeep.health.update(node, |state| state.level = SpaceLevel::Ample);
    assert!(repaired(&heal(&mut healing).await, id), "no time has passed");
    assert!(counted.reads.load(Ordering::Relaxed) > 0);
    host.close().await;
}

#[actix::test]
async fn a_repair_that_fails_is_paced_by_what_it_read_and_put_off_for_longer_each_time() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 1).await;
    let manifest = host.put("key", &Seeded::new(21).bytes(50_000)).await.expect("stored");
    let blob = blob_of(&manifest).clone();
    lose(&host, &blob, 0).await;
    lose(&host, &blob, 1).await;
    queue(&host, &blob, 0).await;
    let (_, id) = shard_of(&blob, 0);
    let pace = Pace { idle_bytes_per_second: 1024, busy_bytes_per_second: 1024 };
    let faults = host.faults.take().expect("one healer");
    let options = HealingOptions { pace, ..HealingOptions::default() };
    let (mut healing, handle) = Healing::new(host.upkeep.clone(), faults, options);
    // Two chunks of the only other shard that is left.
    assert_eq!(healing.step().await, Duration::from_secs(2 * u64::from(CHUNK_BYTES) / 1024));
    for (seconds, is_tried) in [(10, true), (10, false), (10, true), (20, false), (20, true)] {
        host.clock.forward(Duration::from_secs(seconds));
        assert_eq!(put_off(&heal(&mut healing).await, id), is_tried, "after {seconds} seconds more");
        assert!(handle.status().put_off > 0);
    }
    host.close().await;
}
