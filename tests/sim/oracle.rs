//! The invariants of the whole store after each start: those of the metadata, and the agreement of the drives with it.

use super::world::Host;
use bytes::Bytes;
use sherd::net::ReadChunks;
use sherd::storage::erasure::Codecs;
use sherd::storage::stripe::BlobLayout;
use sherd::types::{ChunkIndex, ShardId, ShardNumber};
use std::collections::BTreeSet;

/// Fails if rows of the metadata contradict each other.
pub async fn check_metadata(host: &Host) {
    host.metadata.read().await.expect("the metadata is there").check_invariants();
}

/// Fails unless every shard is whole on its node, or its repair is queued.
pub async fn check_named_missing(host: &Host, context: &str) {
    let view = host.metadata.read().await.expect("the metadata is there");
    let repairs = view.repairs(None, usize::MAX).expect("the tables are in memory");
    let queued: BTreeSet<ShardId> =
        repairs.into_iter().map(|row| ShardId { blob: row.blob.id, shard: row.shard }).collect();
    for blob in host.blobs().await.into_values() {
        let stripes = BlobLayout::new(blob.geometry, blob.size_bytes).expect("a layout").stripes();
        for (&node, shard) in blob.placement.iter().zip((0..).map(ShardNumber)) {
            if !host.in_service(node) {
                continue;
            }
            let shard = ShardId { blob: blob.id, shard };
            let peer = host.cluster.peer(node).await.expect("the node is of this host");
            let counted = peer.count_chunks(node, vec![shard]).await.expect("the node serves");
            let whole = counted == [stripes];
            assert!(whole || queued.contains(&shard), "{context}: {shard:?} is missing on {node}, and nobody knows");
        }
    }
}

/// Fails unless every referenced blob has all its shards, each equal to what the others decode to.
pub async fn check_redundancy(host: &Host, context: &str) {
    for blob in host.blobs().await.into_values() {
        let stripes = BlobLayout::new(blob.geometry, blob.size_bytes).expect("a layout").stripes();
        let mut shards = Vec::new();
        for (shard, &node) in blob.placement.iter().enumerate() {
            let shard = ShardId { blob: blob.id, shard: ShardNumber(shard as u8) };
            let peer = host.cluster.peer(node).await.expect("the node is of this host");
            let read = ReadChunks { node, shard, first: ChunkIndex(0), count: stripes, trace: None };
            let chunks = peer.read_chunks(read).await.expect("the node serves").chunks;
            let chunks: Vec<Bytes> = chunks.into_iter().filter_map(Result::ok).collect();
            assert_eq!(chunks.len(), stripes as usize, "{context}: chunks of shard {shard:?}");
            shards.push(chunks);
        }
        let codec = Codecs::default().codec(blob.geometry).expect("a codec");
        for stripe in 0..stripes as usize {
            for target in 0..shards.len() {
                let others = |at: usize| (at != target).then(|| &shards[at][stripe][..]);
                let present: Vec<Option<&[u8]>> = (0..shards.len()).map(others).collect();
                let rebuilt = codec.rebuild(&present, &[target]).expect("all others are there");
                assert!(rebuilt[0] == shards[target][stripe], "{context}: stripe {stripe} of {} is at odds", blob.id);
            }
        }
    }
}
