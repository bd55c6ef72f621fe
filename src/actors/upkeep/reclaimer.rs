//! `Reclaimer`: has the shards of garbage blobs dropped by their nodes, and tells the metadata which are gone. Without it
//! deletes and overwrites never free space. Owns a cursor over the garbage and the page at hand.
//!
//! A page of garbage is acted on only when every read of this host that began before the page was looked up has ended, and
//! each blob only a grace period after it became garbage, for reads that looked it up and have not begun. Shards of a node
//! that is out of service stay pending.

use super::background::{Background, Chore};
use super::context::{ClusterContext, UpkeepError};
use crate::actors::request::ReadMark;
use crate::limits::RECLAIM_GRACE;
use crate::metrics;
use crate::storage::meta::command::Change;
use crate::storage::meta::record::GarbageRow;
use crate::types::{BlobId, NodeId, ShardId};
use futures::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;

/// The actor that reclaims.
pub type Reclaimer = Background<Reclamation>;

#[derive(Clone, Copy, Debug)]
pub struct ReclamationOptions {
    /// Garbage rows looked at together.
    pub page: usize,
    /// How long a blob stays after it became garbage.
    pub grace: Duration,
    /// Pause after the end of the garbage was reached.
    pub idle: Duration,
    /// Pause between pages, and while readers are waited for.
    pub pause: Duration,
}

impl Default for ReclamationOptions {
    fn default() -> Self {
        Self { page: 256, grace: RECLAIM_GRACE, idle: Duration::from_secs(5), pause: Duration::from_millis(20) }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaimed {
    /// Reads are under way that may want what is garbage now.
    Waiting,
    /// A page was dealt with, and more garbage follows.
    Page { shards: usize },
    /// The end of the garbage was reached.
    End { shards: usize },
}

#[derive(Debug)]
pub struct Reclamation {
    context: ClusterContext,
    options: ReclamationOptions,
    cursor: Option<BlobId>,
    /// Garbage looked up, and the moment before that.
    waiting: Option<(ReadMark, Vec<GarbageRow>)>,
}

impl Reclamation {
    pub fn new(context: ClusterContext, options: ReclamationOptions) -> Self {
        Self { context, options, cursor: None, waiting: None }
    }

    /// Deals with one page of garbage, or finds that it has to wait.
    pub async fn advance(&mut self) -> Result<Reclaimed, UpkeepError> {
        let (mark, rows) = match self.waiting.take() {
            Some(waiting) => waiting,
            None => self.look_up().await?,
        };
        if !rows.is_empty() && !self.context.reads.is_past(mark) {
            self.waiting = Some((mark, rows));
            return Ok(Reclaimed::Waiting);
        }
        let more = rows.len() >= self.options.page;
        self.cursor = rows.last().map(|row| row.blob.id).filter(|_| more);
        let gone = self.drop_shards(&rows).await;
        let shards = gone.len();
        let counts = self.context.look_up(|view| view.counts()).await?;
        metrics::GARBAGE_BLOBS.with_label_values::<&str>(&[]).set(i64::try_from(counts.garbage).unwrap_or(i64::MAX));
        // A proposal with nothing gone still takes dropped lists apart.
        if shards > 0 || counts.dropped_lists > 0 {
            self.context.metadata.propose(Change::ReclaimGarbage { gone }).await?;
        }
        Ok(if more { Reclaimed::Page { shards } } else { Reclaimed::End { shards } })
    }

    async fn look_up(&self) -> Result<(ReadMark, Vec<GarbageRow>), UpkeepError> {
        let mark = self.context.reads.mark();
        let (after, page) = (self.cursor, self.options.page);
        let rows = self.context.look_up(move |view| view.garbage(after, page)).await?;
        Ok((mark, rows))
    }

    /// Drops what may go; which shards are gone.
    async fn drop_shards(&self, rows: &[GarbageRow]) -> Vec<ShardId> {
        let health = self.context.health.current();
        let mut by_node: BTreeMap<NodeId, Vec<ShardId>> = BTreeMap::new();
        for row in rows.iter().filter(|row| self.is_ripe(row)) {
            for &shard in &row.pending {
                match row.blob.placement.get(usize::from(shard.0)) {
                    Some(&node) if health.in_service(node) => {
                        by_node.entry(node).or_default().push(ShardId { blob: row.blob.id, shard });
                    }
                    _ => {}
                }
            }
        }
        let drops = by_node.into_iter().map(|(node, shards)| async move {
            let dropped = match self.context.peer(node).await {
                Ok(peer) => peer.drop_shards(node, shards.clone()).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &dropped {
                tracing::debug!(%node, %error, "shards of garbage stay for now");
            }
            dropped.map(|()| shards).unwrap_or_default()
        });
        join_all(drops).await.into_iter().flatten().collect()
    }

    fn is_ripe(&self, row: &GarbageRow) -> bool {
        let age_ms = self.context.ambient.clock.unix_ms().0.saturating_sub(row.since.0);
        u128::from(age_ms) >= self.options.grace.as_millis()
    }
}

impl Chore for Reclamation {
    async fn step(&mut self) -> Duration {
        if !self.context.metadata.is_leader() {
            self.cursor = None;
            self.waiting = None;
            return self.options.idle;
        }
        match self.advance().await {
            Ok(Reclaimed::Waiting | Reclaimed::Page { .. }) => self.options.pause,
            Ok(Reclaimed::End { .. }) => self.options.idle,
            Err(error) => {
                tracing::warn!(%error, "garbage was not reclaimed");
                self.options.idle
            }
        }
    }
}
