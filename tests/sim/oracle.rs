//! The invariants of the whole store whenever it has started: of its metadata by itself, and of its drives by the
//! metadata.

use super::world::Host;
use sherd::storage::stripe::BlobLayout;
use sherd::types::{ShardId, ShardIndex};
use std::collections::BTreeSet;

/// Fails where rows of the metadata contradict each other.
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
        for (&node, shard) in blob.placement.iter().zip((0..).map(ShardIndex)) {
            let shard = ShardId { blob: blob.id, shard };
            let peer = host.cluster.peer(node).await.expect("the node is of this host");
            let counted = peer.count_chunks(node, vec![shard]).await.expect("the node serves");
            let whole = counted == [stripes];
            assert!(whole || queued.contains(&shard), "{context}: {shard:?} is missing on {node}, and nobody knows");
        }
    }
}
