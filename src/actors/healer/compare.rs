//! `Comparison`: compares one node with the metadata, a page at a time. The first pass finds shards that the metadata
//! places on the node and that are not whole; the second finds shards on the node whose blob the metadata does not know
//! (orphans). The first may be repeated before the second is over.

use super::HealingOptions;
use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::limits::UPKEEP_WAIT_MAX;
use crate::metrics;
use crate::net::Peer;
use crate::storage::meta::record::BlobRef;
use crate::storage::stripe::BlobLayout;
use crate::types::{NodeId, ShardId, ShardNumber};
use std::time::Duration;

/// The number of blobs, or of shards of the inventory, in one page.
const PAGE: usize = 256;

#[derive(Debug)]
pub(super) enum Compared {
    /// A page was compared. `missing` are the shards to repair that are not queued yet; `orphans` is the number of
    /// orphans that were dropped.
    Page { missing: Vec<(BlobRef, ShardNumber)>, orphans: usize },
    /// The comparison is done. `orphans_left` is the number of shards of unknown blobs that were kept and are shown as
    /// orphans: those with an id at least `orphan_counted_age` from now, and after a recovery all of them.
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
    /// The number of the request that a comparison with both passes answers.
    request: Option<u64>,
    pass: Pass,
    /// The place at which the second pass begins: its beginning, or where it was when the first was repeated.
    then: Pass,
    orphans_left: u64,
}

impl Comparison {
    /// Returns a comparison with both passes, which answers this request.
    pub(super) fn whole(node: NodeId, request: u64, options: &HealingOptions) -> Self {
        Self::new(node, options, Some(request), Pass::Missing { cursor: None })
    }

    /// Returns a comparison with the second pass only.
    pub(super) fn of_orphans(node: NodeId, options: &HealingOptions) -> Self {
        Self::new(node, options, None, Pass::Orphans { after: None })
    }

    fn new(node: NodeId, options: &HealingOptions, request: Option<u64>, pass: Pass) -> Self {
        let (orphan_counted_age, then) = (options.orphan_counted_age, Pass::Orphans { after: None });
        Self { node, orphan_counted_age, request, pass, then, orphans_left: 0 }
    }

    pub(super) fn request(&self) -> Option<u64> {
        self.request
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(super) fn seeks_missing(&self) -> bool {
        matches!(self.pass, Pass::Missing { .. })
    }

    /// Repeats the first pass before the second goes on, if the comparison has both and the first is over.
    pub(super) fn seek_missing_again(&mut self) {
        if self.request.is_some() && !self.seeks_missing() {
            self.then = std::mem::replace(&mut self.pass, Pass::Missing { cursor: None });
        }
    }

    pub(super) async fn advance(&mut self, context: &ClusterContext) -> Result<Compared, UpkeepError> {
        match &self.pass {
            Pass::Missing { cursor } => {
                let cursor = cursor.clone();
                let (missing, next) = self.find_missing(context, cursor).await?;
                self.pass = match next {
                    Some(cursor) => Pass::Missing { cursor: Some(cursor) },
                    None => std::mem::replace(&mut self.then, Pass::Over),
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

    /// Returns the shards of a page of blobs that have too few chunks on this node and are not queued for repair, and
    /// the cursor of the next page. The metadata is read before the node is asked: the shards of a known blob are
    /// either on their nodes or queued already.
    async fn find_missing(
        &self,
        context: &ClusterContext,
        cursor: Option<Vec<u8>>,
    ) -> Result<(Vec<(BlobRef, ShardNumber)>, Option<Vec<u8>>), UpkeepError> {
        let (blobs, next) = context.look_up(move |view| view.blobs(cursor, PAGE)).await?;
        let mut expected: Vec<(BlobRef, ShardNumber, u32)> = Vec::new();
        for blob in blobs {
            let chunks = BlobLayout::new(blob.geometry, blob.size_bytes)?.stripes();
            for (shard, _) in blob.placement.iter().enumerate().filter(|&(_, &node)| node == self.node) {
                expected.push((blob.clone(), ShardNumber(shard as u8), chunks));
            }
        }
        if expected.is_empty() {
            return Ok((Vec::new(), next));
        }
        let shards = expected.iter().map(|(blob, shard, _)| ShardId { blob: blob.id, shard: *shard }).collect();
        let node = self.node;
        let count = |peer: Peer| async move { peer.count_chunks(node, shards).await };
        let found = context.ask(node, UPKEEP_WAIT_MAX, count).await?;
        metrics::SHARDS_COMPARED.with_label_values(&[&self.node.to_string()]).inc_by(expected.len() as u64);
        let missing = expected.into_iter().zip(found.into_iter().chain(std::iter::repeat(0)));
        let missing =
            missing.filter(|((_, _, chunks), found)| found < chunks).map(|((blob, shard, _), _)| (blob, shard));
        let missing: Vec<(BlobRef, ShardNumber)> = missing.collect();
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

    /// Drops the shards of a page whose blobs are unknown and below the fence in one and the same view: no write can
    /// make these blobs known any more, whatever the clocks say. After a recovery such shards are kept until an
    /// operator gives them up, since they may belong to objects that only the metadata has lost. A node whose trial
    /// writes fail keeps them, too, until a later search.
    async fn drop_orphans(&self, context: &ClusterContext, after: Option<ShardId>) -> Result<Orphans, UpkeepError> {
        let node = self.node;
        let list = |peer: Peer| async move { peer.inventory(node, after, PAGE as u32).await };
        let page = context.ask(node, UPKEEP_WAIT_MAX, list).await?;
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
        let is_kept = keeps_unknown || !context.health.current().accepts_upkeep(node);
        let is_orphan = |shard: &ShardId| shard.blob < fence && !is_kept;
        let (orphans, others): (Vec<ShardId>, Vec<ShardId>) = unknown.into_iter().partition(is_orphan);
        let dropped = orphans.len();
        if dropped > 0 {
            tracing::info!(node = %self.node, count = dropped, "dropped shards of blobs that the metadata does not know");
            // A drop that ends late is as right as one in time: no write makes these blobs known any more.
            let drop = |peer: Peer| async move { peer.drop_shards(node, orphans).await };
            context.ask(node, UPKEEP_WAIT_MAX, drop).await?;
            metrics::ORPHANS_DROPPED.with_label_values(&[&self.node.to_string()]).inc_by(dropped as u64);
        }
        let now = context.ambient.clock.unix_ms();
        let apart_ms = |shard: &&ShardId| u128::from(shard.blob.time().0.abs_diff(now.0));
        let counted =
            others.iter().filter(|shard| keeps_unknown || apart_ms(shard) >= self.orphan_counted_age.as_millis());
        Ok(Orphans { dropped, left: counted.count() as u64, next })
    }
}

/// The result of `drop_orphans` for a page of the inventory.
struct Orphans {
    dropped: usize,
    left: u64,
    next: Option<ShardId>,
}
