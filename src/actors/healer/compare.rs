//! The comparison of one node with the metadata, a page at a time and in two passes: shards that should be there and are not
//! whole, then shards that are there and that nothing knows.

use super::HealingOptions;
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
    /// A page was compared: shards that are to be repaired and not queued yet, and the number of orphans dropped.
    Page { missing: Vec<(BlobRef, ShardIndex)>, orphans: usize },
    /// The comparison is done. This number of unknown shards are left, since a write under way may still name them.
    Done { orphans_left: u64 },
}

#[derive(Debug)]
enum Pass {
    /// The pass over all blobs.
    Missing {
        cursor: Option<Vec<u8>>,
    },
    /// The pass over the inventory.
    Orphans {
        after: Option<ShardId>,
    },
    Over,
}

#[derive(Debug)]
pub(super) struct Comparison {
    node: NodeId,
    orphan_counted_age: Duration,
    is_whole: bool,
    pass: Pass,
    orphans_left: u64,
}

impl Comparison {
    /// Makes a comparison of both passes.
    pub(super) fn whole(node: NodeId, options: &HealingOptions) -> Self {
        Self::new(node, options, true, Pass::Missing { cursor: None })
    }

    /// The second pass only.
    pub(super) fn of_orphans(node: NodeId, options: &HealingOptions) -> Self {
        Self::new(node, options, false, Pass::Orphans { after: None })
    }

    fn new(node: NodeId, options: &HealingOptions, is_whole: bool, pass: Pass) -> Self {
        let orphan_counted_age = options.orphan_counted_age;
        Self { node, orphan_counted_age, is_whole, pass, orphans_left: 0 }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(super) fn seeks_missing(&self) -> bool {
        matches!(self.pass, Pass::Missing { .. })
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
                let Orphans { dropped: orphans, left, next } = self.drop_orphans(context, *after).await?;
                self.orphans_left += left;
                self.pass = match next {
                    Some(after) => Pass::Orphans { after: Some(after) },
                    None => Pass::Over,
                };
                Ok(Compared::Page { missing: Vec::new(), orphans })
            }
            Pass::Over => Ok(Compared::Done { orphans_left: self.orphans_left }),
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
        let missing: Vec<(BlobRef, ShardIndex)> = missing.collect();
        if missing.is_empty() {
            return Ok((missing, next));
        }
        let look_up = context.look_up(move |view| {
            let mut unqueued = Vec::new();
            for (blob, shard) in missing {
                if !view.is_repair_queued(ShardId { blob: blob.id, shard })? {
                    unqueued.push((blob, shard));
                }
            }
            Ok(unqueued)
        });
        Ok((look_up.await?, next))
    }

    /// Drops shards of unknown blobs of one page that lie below the fence of the very view by which they are unknown: no write
    /// makes them known any more, whenever it began and whatever clocks say. After a recovery they are kept until an operator gives
    /// them up: they may be of objects that only the metadata has lost.
    async fn drop_orphans(&self, context: &ClusterContext, after: Option<ShardId>) -> Result<Orphans, UpkeepError> {
        let peer = context.peer(self.node).await?;
        let page = peer.inventory(self.node, after, PAGE as u32).await?;
        let next = page.shards.last().map(|(shard, _)| *shard).filter(|_| page.more);
        let shards: Vec<ShardId> = page.shards.into_iter().map(|(shard, _)| shard).collect();
        let (fence, keeps_unknown, unknown) = context
            .look_up(move |view| {
                let mut unknown = Vec::new();
                for shard in shards {
                    if !view.blob_is_known(shard.blob)? {
                        unknown.push(shard);
                    }
                }
                let keeps_unknown = view.recovery()?.is_some_and(|recovery| recovery.keeps_unknown);
                Ok((view.fence()?, keeps_unknown, unknown))
            })
            .await?;
        let is_orphan = |shard: &ShardId| shard.blob < fence && !keeps_unknown;
        let (orphans, others): (Vec<ShardId>, Vec<ShardId>) = unknown.into_iter().partition(is_orphan);
        let dropped = orphans.len();
        if dropped > 0 {
            tracing::info!(node = %self.node, count = dropped, "shards of unknown blobs dropped");
            peer.drop_shards(self.node, orphans).await?;
            metrics::ORPHANS_DROPPED.with_label_values(&[&self.node.to_string()]).inc_by(dropped as u64);
        }
        let now = context.ambient.clock.unix_ms();
        let apart_ms = |shard: &&ShardId| u128::from(shard.blob.time().0.abs_diff(now.0));
        let counted =
            others.iter().filter(|shard| keeps_unknown || apart_ms(shard) >= self.orphan_counted_age.as_millis());
        Ok(Orphans { dropped, left: counted.count() as u64, next })
    }
}

/// The unknown shards of a page of the inventory.
struct Orphans {
    dropped: usize,
    left: u64,
    next: Option<ShardId>,
}
