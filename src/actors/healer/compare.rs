//! The comparison of one node with the metadata, a page at a time and in two passes: shards that should be there and are not
//! whole, then shards that are there and that nothing knows.

use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::metrics;
use crate::storage::meta::record::BlobRef;
use crate::storage::stripe::BlobLayout;
use crate::types::{NodeId, ShardId, ShardIndex};
use std::time::Duration;

/// Blobs, or shards of the inventory, in one page.
const PAGE: usize = 256;

#[derive(Debug)]
pub(super) enum Compared {
    /// One page: shards that are to be repaired, and how many orphans were dropped.
    Page {
        missing: Vec<(BlobRef, ShardIndex)>,
        orphans: usize,
    },
    Done,
}

#[derive(Debug)]
enum Pass {
    /// Over all blobs.
    Missing {
        cursor: Option<Vec<u8>>,
    },
    /// Over the inventory.
    Orphans {
        after: Option<ShardId>,
    },
    Over,
}

#[derive(Debug)]
pub(super) struct Comparison {
    node: NodeId,
    orphan_age: Duration,
    pass: Pass,
}

impl Comparison {
    pub(super) fn new(node: NodeId, orphan_age: Duration) -> Self {
        Self { node, orphan_age, pass: Pass::Missing { cursor: None } }
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(super) async fn advance(&mut self, context: &ClusterContext) -> Result<Compared, UpkeepError> {
        match &self.pass {
            Pass::Missing { cursor } => {
                let cursor = cursor.clone();
                let (missing, next) = self.find_missing(context, cursor).await?;
                self.pass = match next {
                    Some(cursor) => Pass::Missing { cursor: Some(cursor) },
                    None => Pass::Orphans { after: None },
                };
                Ok(Compared::Page { missing, orphans: 0 })
            }
            Pass::Orphans { after } => {
                let (orphans, next) = self.drop_orphans(context, *after).await?;
                self.pass = match next {
                    Some(after) => Pass::Orphans { after: Some(after) },
                    None => Pass::Over,
                };
                Ok(Compared::Page { missing: Vec::new(), orphans })
            }
            Pass::Over => Ok(Compared::Done),
        }
    }

    /// Blobs of one page whose shard on this node has too few chunks. The node is asked after the metadata: a blob that is
    /// known had its shards appended before, or they are queued already.
    async fn find_missing(
        &self,
        context: &ClusterContext,
        cursor: Option<Vec<u8>>,
    ) -> Result<(Vec<(BlobRef, ShardIndex)>, Option<Vec<u8>>), UpkeepError> {
        let (blobs, next) = context.look_up(move |view| view.blobs(cursor, PAGE)).await?;
        let mut expected: Vec<(BlobRef, ShardIndex, u32)> = Vec::new();
        for blob in blobs {
            let chunks = BlobLayout::new(blob.geometry, blob.size_bytes)?.stripes();
            for (shard, _) in blob.placement.iter().enumerate().filter(|&(_, &node)| node == self.node) {
                expected.push((blob.clone(), ShardIndex(shard as u8), chunks));
            }
        }
        if expected.is_empty() {
            return Ok((Vec::new(), next));
        }
        let shards = expected.iter().map(|(blob, shard, _)| ShardId { blob: blob.id, shard: *shard }).collect();
        let found = context.peer(self.node).await?.count_chunks(self.node, shards).await?;
        metrics::SHARDS_COMPARED.with_label_values(&[&self.node.to_string()]).inc_by(expected.len() as u64);
        let missing = expected.into_iter().zip(found.into_iter().chain(std::iter::repeat(0)));
        let missing =
            missing.filter(|((_, _, chunks), found)| found < chunks).map(|((blob, shard, _), _)| (blob, shard));
        Ok((missing.collect(), next))
    }

    /// Drops old shards of unknown blobs of one page. The metadata is asked after the node: a blob that was committed in
    /// between is known.
    async fn drop_orphans(
        &self,
        context: &ClusterContext,
        after: Option<ShardId>,
    ) -> Result<(usize, Option<ShardId>), UpkeepError> {
        let peer = context.peer(self.node).await?;
        let page = peer.inventory(self.node, after, PAGE as u32).await?;
        let next = page.shards.last().map(|(shard, _)| *shard).filter(|_| page.more);
        let now_ms = context.ambient.clock.unix_ms().0;
        let is_old = |shard: &ShardId| {
            let made_ms = (shard.blob.0 >> 80) as u64;
            u128::from(now_ms.saturating_sub(made_ms)) >= self.orphan_age.as_millis()
        };
        let old: Vec<ShardId> = page.shards.into_iter().map(|(shard, _)| shard).filter(is_old).collect();
        let orphans: Vec<ShardId> = context
            .look_up(move |view| {
                let mut orphans = Vec::new();
                for shard in old {
                    if !view.blob_is_known(shard.blob)? {
                        orphans.push(shard);
                    }
                }
                Ok(orphans)
            })
            .await?;
        let count = orphans.len();
        if count > 0 {
            tracing::info!(node = %self.node, count, "shards of unknown blobs dropped");
            peer.drop_shards(self.node, orphans).await?;
            metrics::ORPHANS_DROPPED.with_label_values(&[&self.node.to_string()]).inc_by(count as u64);
        }
        Ok((count, next))
    }
}
