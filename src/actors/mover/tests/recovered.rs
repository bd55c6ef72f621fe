//! Tests of the mover after a recovery of the metadata, which may place shards on drives that they have left.

use super::cluster::Cluster;
use super::troubles::move_first_shard;
use crate::actors::drives::test_host::CHUNK_BYTES;
use crate::net::{AppendChunks, NodeService, ReadChunks};
use crate::storage::meta::command::Change;
use crate::storage::meta::record::{BlobRef, NodeState, RecoveryRecord};
use crate::storage::stripe::BlobLayout;
use crate::types::{ChunkIndex, HostId, NodeId, RecoveryEpoch, ShardId, ShardNumber, UnixMs};
use bytes::Bytes;
use std::time::Duration;

/// Records a recovery, since which shards are kept or given up.
async fn recovered(cluster: &Cluster, keeps_unknown: bool) {
    let epoch = RecoveryEpoch { number: 1, id: 7, former: [0; 8] };
    let recovery = RecoveryRecord { epoch, at: UnixMs(0), host: HostId(1), exported: None, keeps_unknown };
    cluster.change(Change::NoteRecovery(recovery)).await;
}

async fn put_one(cluster: &Cluster) -> (BlobRef, u32) {
    let content = cluster.random.bytes(20 * CHUNK_BYTES as usize);
    cluster.put("key", &content).await;
    let blob = cluster.blobs().await.remove(0);
    let stripes = BlobLayout::new(blob.geometry, blob.size_bytes).expect("a layout").stripes();
    (blob, stripes)
}

fn host_of(node: NodeId) -> HostId {
    HostId(u64::from(node.0 / 64))
}

#[actix::test]
async fn a_copy_on_another_drive_than_recovered_metadata_says_is_kept_until_given_up() {
    let cluster = Cluster::new(3, 2, 1).await;
    let (blob, stripes) = put_one(&cluster).await;
    let (absent, shard) = (blob.placement[0], ShardId { blob: blob.id, shard: ShardNumber(0) });
    let other = *cluster.drives.keys().find(|node| !blob.placement.contains(node)).expect("there are six drives");
    let read = ReadChunks { node: absent, shard, first: ChunkIndex(0), count: stripes, trace: None };
    let chunks = cluster.services[&host_of(absent)].read_chunks(read).await.expect("read").chunks;
    let chunks: Vec<Bytes> = chunks.into_iter().map(|chunk| chunk.expect("a chunk")).collect();
    let append = AppendChunks { node: other, shard, first: ChunkIndex(0), chunks, trace: None };
    cluster.services[&host_of(other)].append_chunks(append).await.expect("appended");
    cluster.context.health.take_out(absent, "removed since the metadata was exported");
    let index = cluster.drives[&other].index.clone();
    let mut moving = cluster.all_moving();
    for (keeps_unknown, left) in [(true, stripes), (false, 0)] {
        recovered(&cluster, keeps_unknown).await;
        for _ in 0..2 {
            // A pass and a sweep.
            cluster.clock.forward(Duration::from_secs(2 * 3600));
            cluster.settle(&mut moving).await;
        }
        assert_eq!(index.count(shard).expect("counted"), left, "keeps_unknown: {keeps_unknown}");
    }
    cluster.close().await;
}

#[actix::test]
async fn old_copies_are_kept_after_a_recovery_and_become_current_again() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let (_, stripes) = put_one(&cluster).await;
    let (before, mut moving) = move_first_shard(&mut cluster).await;
    let (old, shard) = (before.placement[0], ShardId { blob: before.id, shard: ShardNumber(0) });
    let index = cluster.drives[&old].index.clone();
    recovered(&cluster, true).await;
    for _ in 0..2 {
        cluster.clock.forward(Duration::from_secs(400));
        cluster.settle(&mut moving).await;
    }
    assert!(cluster.view().await.is_leftover(old, shard).expect("asked"));
    assert_eq!(index.count(shard).expect("counted"), stripes, "its grace period is over");
    cluster.set_state(host_of(old).0, NodeState::Active).await;
    cluster.set_state(4, NodeState::Draining).await;
    cluster.publish().await;
    assert_eq!(cluster.settle(&mut moving).await, (0, 1), "the old copy is whole, so nothing is copied");
    assert_eq!(cluster.blobs().await.remove(0).placement, before.placement);
    assert!(!cluster.view().await.is_leftover(old, shard).expect("asked"));
    recovered(&cluster, false).await;
    for _ in 0..2 {
        cluster.clock.forward(Duration::from_secs(400));
        cluster.settle(&mut moving).await;
    }
    cluster.check_inventories().await;
    cluster.close().await;
}

#[actix::test]
async fn an_old_copy_with_a_rotten_chunk_is_mended_before_it_becomes_current_again() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let (_, stripes) = put_one(&cluster).await;
    let (before, mut moving) = move_first_shard(&mut cluster).await;
    let (old, shard) = (before.placement[0], ShardId { blob: before.id, shard: ShardNumber(0) });
    recovered(&cluster, true).await;
    cluster.settle(&mut moving).await;
    cluster.flip_byte_of(old, shard, ChunkIndex(1));
    cluster.set_state(host_of(old).0, NodeState::Active).await;
    cluster.set_state(4, NodeState::Draining).await;
    cluster.publish().await;
    assert_eq!(cluster.settle(&mut moving).await, (u64::from(CHUNK_BYTES), 1), "one chunk is copied");
    assert_eq!(cluster.blobs().await.remove(0).placement, before.placement);
    assert_eq!(cluster.view().await.counts().expect("counts").repairs, 0);
    let read = ReadChunks { node: old, shard, first: ChunkIndex(0), count: stripes, trace: None };
    let chunks = cluster.services[&host_of(old)].read_chunks(read).await.expect("read").chunks;
    assert!(chunks.iter().all(Result::is_ok), "the current copy is whole");
    cluster.close().await;
}
