//! Tests of moves to drives with relaxed durability: no move is proposed before its copy is on stable storage.

use super::cluster::Cluster;
use crate::actors::consensus::MetaError;
use crate::actors::drives::Drive;
use crate::actors::drives::test_host::{CHUNK_BYTES, TableMetadata};
use crate::actors::mover::{Moving, MovingOptions};
use crate::actors::request::Metadata;
use crate::actors::upkeep::{ClusterContext, Pace};
use crate::net::{AppendChunks, NodeService, ReadChunks};
use crate::storage::meta::command::{Change, LogTime, Reply};
use crate::storage::meta::record::NodeState;
use crate::storage::meta::view::MetaView;
use crate::storage::wal::Durability;
use crate::types::{ChunkIndex, HostId, NodeId, ShardId, ShardNumber};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The number of chunks of each shard.
const CHUNKS: u32 = 10;

/// Metadata that panics if a move is proposed whose copy a power cut would undo.
#[derive(Debug)]
struct ChecksMoves {
    tables: Arc<TableMetadata>,
    drives: BTreeMap<NodeId, Drive>,
    /// The number of chunks of the moves proposed so far.
    chunks: AtomicUsize,
}

#[async_trait::async_trait]
impl Metadata for ChecksMoves {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        if let Change::MoveShards { moves, .. } = &change {
            for step in moves {
                let drive = &self.drives[&step.to];
                let synced = drive.log.status().synced;
                let entries = drive.index.lookup(step.shard, ChunkIndex(0), CHUNKS).expect("looked up");
                assert!(entries.iter().flatten().all(|entry| entry.at.lsn < synced), "{step:?} is not synced");
                self.chunks.fetch_add(entries.iter().flatten().count(), Ordering::Relaxed);
            }
        }
        self.tables.propose(change).await
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        self.tables.read().await
    }

    fn time(&self) -> LogTime {
        self.tables.time()
    }
}

/// Moves a shard to a host whose logs sync by themselves only after an hour. If `is_there`, the target has its chunks
/// already, and has not synced them.
async fn move_to_a_relaxed_host(is_there: bool) {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let content = cluster.random.bytes((2 * CHUNKS * CHUNK_BYTES) as usize);
    cluster.put("key", &content).await;
    let blob = cluster.blobs().await.remove(0);
    let (from, shard) = (blob.placement[0], ShardId { blob: blob.id, shard: ShardNumber(0) });
    let host = u64::from(from.0 / 64);
    cluster.durability = Durability::Relaxed { flush_delay_max: Duration::from_secs(3600) };
    cluster.join(4).await;
    cluster.set_state(host, NodeState::Draining).await;
    cluster.publish().await;
    let ring = cluster.ring().current();
    let wanted = ring.wanted(ring.partition_of(blob.id), blob.geometry).expect("nodes");
    let to = wanted.into_iter().find(|node| node.0 / 64 == 4).expect("a drive of the new host");
    if is_there {
        let read = ReadChunks { node: from, shard, first: ChunkIndex(0), count: CHUNKS, trace: None };
        let chunks = cluster.services[&HostId(host)].read_chunks(read).await.expect("read").chunks;
        let chunks = chunks.into_iter().map(|chunk| chunk.expect("a chunk")).collect();
        let append = AppendChunks { node: to, shard, first: ChunkIndex(0), chunks, trace: None };
        cluster.services[&HostId(4)].append_chunks(append).await.expect("appended");
        let status = cluster.drives[&to].log.status();
        assert!(status.synced < status.written, "{status:?}");
    }
    let (tables, drives) = (cluster.metadata.clone(), cluster.drives.clone());
    let metadata = Arc::new(ChecksMoves { tables, drives, chunks: AtomicUsize::new(0) });
    let context = ClusterContext { metadata: metadata.clone(), ..cluster.context.clone() };
    let options = MovingOptions { window_bytes: 20_000, pace: Pace::UNLIMITED, ..MovingOptions::default() };
    let hosts = cluster.services.keys();
    let mut moving: Vec<Moving> = hosts.map(|host| Moving::new(context.clone(), *host, options).0).collect();
    cluster.clock.forward(Duration::from_secs(10));
    let (bytes, shards) = cluster.settle(&mut moving).await;
    assert_eq!((bytes == 0, shards), (is_there, 1));
    assert_eq!(metadata.chunks.load(Ordering::Relaxed), CHUNKS as usize);
    assert_eq!(cluster.blobs().await[0].placement[0], to);
    cluster.close().await;
}

#[actix::test]
async fn with_relaxed_durability_a_copy_is_synced_before_its_move_is_decided() {
    move_to_a_relaxed_host(false).await;
}

#[actix::test]
async fn with_relaxed_durability_a_copy_found_on_the_target_is_synced_before_its_move_is_decided() {
    move_to_a_relaxed_host(true).await;
}
