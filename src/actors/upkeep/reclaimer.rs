//! `Reclaimer`: the chore that drops the shards of garbage blobs from their nodes and then removes the garbage rows.
//! Owns a cursor over the garbage and the current page. Frees no bytes: it has the nodes write tombstones, and the
//! `Compactor` of each drive empties segments whose records are dead.
//!
//! Only the leader's host reclaims. It drops the shards of a page of garbage only when:
//!
//! - every read that began before the end of the page's lookup has ended, on this host and on all others. A host that
//!   does not answer for `silence_max` is no longer waited for.
//! - a grace period has passed since this host applied the entry that made the blob garbage (`Ripening`). It covers
//!   reads that have looked the blob up and are not registered yet.
//!
//! Shards on a node that is out of service stay pending. Shards and leftovers on a removed node count as dropped.

use super::background::{Background, Chore};
use super::context::{ClusterContext, UpkeepError};
use super::oldest_under_way::{OtherHosts, oldest_read, other_hosts};
use super::ripening::Ripening;
use crate::actors::request::ReadMark;
use crate::defects::{Defect, has};
use crate::limits::RECLAIM_GRACE;
use crate::metrics;
use crate::net::Peer;
use crate::storage::meta::command::Change;
use crate::storage::meta::record::{GarbageRow, HostRecord};
use crate::types::{BlobId, HostId, NodeId, ShardId};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest wait for a node to drop the shards of a page.
const DROP_WAIT_MAX: Duration = Duration::from_secs(15);

pub type Reclaimer = Background<Reclamation>;

#[derive(Clone, Copy, Debug)]
pub struct ReclamationOptions {
    /// The number of garbage rows in a page.
    pub page: usize,
    /// The time for which a blob stays after this host applied the entry that made it garbage.
    pub grace: Duration,
    /// The pause after the end of the garbage was reached.
    pub idle: Duration,
    /// The pause between pages. It is ten times as long while reads are waited for.
    pub pause: Duration,
    /// The time after which a host that does not answer is no longer waited for.
    pub silence_max: Duration,
}

impl Default for ReclamationOptions {
    fn default() -> Self {
        Self {
            page: 256,
            grace: RECLAIM_GRACE,
            idle: Duration::from_secs(5),
            pause: Duration::from_millis(20),
            silence_max: RECLAIM_GRACE,
        }
    }
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaimed {
    /// Reads are under way that may need shards of this page.
    Waiting,
    /// A page was processed, this number of shards is gone, and more garbage follows.
    Page { shards: usize },
    /// The last page was processed, and this number of its shards is gone.
    End { shards: usize },
}

#[derive(Debug)]
pub struct Reclamation {
    context: ClusterContext,
    options: ReclamationOptions,
    cursor: Option<BlobId>,
    waiting: Option<Waiting>,
    others: OtherHosts,
    ripening: Ripening,
    /// The nodes that were removed, as of the current page.
    removed: Vec<NodeId>,
}

/// A page of garbage, with the moment after its lookup. A read that begins after that moment does not find these blobs.
#[derive(Debug)]
struct Waiting {
    mark: ReadMark,
    since: Duration,
    rows: Vec<GarbageRow>,
    /// All hosts of the cluster; hosts without nodes serve reads, too.
    hosts: Vec<HostRecord>,
    /// The other hosts on which no read from before that moment is under way.
    past: BTreeSet<HostId>,
}

impl Reclamation {
    pub fn new(context: ClusterContext, options: ReclamationOptions) -> Self {
        Self {
            context,
            options,
            cursor: None,
            waiting: None,
            others: OtherHosts::default(),
            ripening: Ripening::new(options.grace),
            removed: Vec::new(),
        }
    }

    /// Processes one page of garbage, or returns that it has to wait for reads.
    pub async fn advance(&mut self) -> Result<Reclaimed, UpkeepError> {
        let mut waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => self.look_up().await?,
        };
        let may_act = has(Defect::IgnoreReaders)
            || waiting.rows.is_empty()
            || (self.context.reads.is_past(waiting.mark) && self.is_past_elsewhere(&mut waiting).await);
        if !may_act {
            self.waiting = Some(waiting);
            return Ok(Reclaimed::Waiting);
        }
        let rows = waiting.rows;
        let more = rows.len() >= self.options.page;
        self.cursor = rows.last().map(|row| row.blob.id).filter(|_| more);
        let (counts, removed) = self.context.look_up(|view| Ok((view.counts()?, view.removed_nodes()?))).await?;
        self.removed = removed;
        let gone = self.drop_shards(&rows).await;
        let shards = gone.len();
        self.forget_removed().await?;
        show_garbage(counts.garbage);
        // Even without shards, the change makes garbage of the parts of dropped part lists.
        if shards > 0 || counts.dropped_lists > 0 {
            self.context.metadata.propose(Change::ReclaimGarbage { gone }).await?;
        }
        Ok(if more { Reclaimed::Page { shards } } else { Reclaimed::End { shards } })
    }

    async fn look_up(&mut self) -> Result<Waiting, UpkeepError> {
        let (after, page) = (self.cursor, self.options.page);
        let look_up =
            self.context.look_up(move |view| Ok((view.garbage(after, page)?, view.hosts()?, view.applied()?)));
        let (rows, hosts, applied) = look_up.await?;
        let (mark, since) = (self.context.reads.mark(), self.context.ambient.clock.monotonic());
        if let Some(applied) = applied {
            self.ripening.note(since, applied.index);
        }
        Ok(Waiting { mark, since, rows, hosts, past: BTreeSet::new() })
    }

    /// Returns whether all reads on other hosts that began before the end of the page's lookup have ended.
    async fn is_past_elsewhere(&mut self, waiting: &mut Waiting) -> bool {
        let hosts = other_hosts(&self.context, &waiting.hosts);
        let others: Vec<HostId> = hosts.into_iter().filter(|host| !waiting.past.contains(host)).collect();
        let asked_at = self.context.ambient.clock.monotonic();
        for (host, answer) in self.others.ask(&self.context, others.clone(), oldest_read).await {
            let is_past = match answer {
                Ok(age) => age.is_none_or(|age| age < asked_at.saturating_sub(waiting.since)),
                Err(silent) => silent >= self.options.silence_max,
            };
            if is_past {
                waiting.past.insert(host);
            }
        }
        others.iter().all(|host| waiting.past.contains(host))
    }

    /// Drops the shards whose grace period is over, and returns those that are gone.
    async fn drop_shards(&self, rows: &[GarbageRow]) -> Vec<ShardId> {
        let (health, doubts) = (self.context.health.current(), self.context.suspects.current());
        let mut by_node: BTreeMap<NodeId, Vec<ShardId>> = BTreeMap::new();
        let mut gone = Vec::new();
        let ripe = self.ripening.ripe(self.context.ambient.clock.monotonic());
        for row in rows.iter().filter(|row| ripe.is_some_and(|ripe| row.entry <= ripe)) {
            for &shard in &row.pending {
                match row.blob.placement.get(usize::from(shard.0)) {
                    Some(node) if self.removed.contains(node) => gone.push(ShardId { blob: row.blob.id, shard }),
                    Some(&node) if health.in_service(node) && doubts.is_trusted(node) => {
                        by_node.entry(node).or_default().push(ShardId { blob: row.blob.id, shard });
                    }
                    _ => {}
                }
            }
        }
        let drops = by_node.into_iter().map(|(node, shards)| async move {
            let wanted = shards.clone();
            let drop = |peer: Peer| async move { peer.drop_shards(node, wanted).await };
            let dropped = self.context.ask(node, DROP_WAIT_MAX, drop).await;
            if let Err(error) = &dropped {
                tracing::debug!(%node, %error, "cannot drop the shards of garbage; trying again later");
            }
            dropped.map(|()| shards).unwrap_or_default()
        });
        gone.extend(join_all(drops).await.into_iter().flatten());
        gone
    }

    /// Removes the rows of leftovers on nodes that were removed.
    async fn forget_removed(&self) -> Result<(), UpkeepError> {
        for &node in &self.removed {
            let page = self.options.page;
            let left = self.context.look_up(move |view| view.leftovers(node, None, page)).await?;
            if !left.is_empty() {
                let gone = left.into_iter().map(|(shard, _)| (node, shard)).collect();
                self.context.metadata.propose(Change::ForgetLeftovers { gone }).await?;
            }
        }
        Ok(())
    }
}

fn show_garbage(blobs: u64) {
    metrics::GARBAGE_BLOBS.with_label_values::<&str>(&[]).set(i64::try_from(blobs).unwrap_or(i64::MAX));
}

impl Chore for Reclamation {
    async fn step(&mut self) -> Duration {
        if !self.context.metadata.is_leader() {
            show_garbage(0);
            self.cursor = None;
            self.waiting = None;
            return self.options.idle;
        }
        match self.advance().await {
            Ok(Reclaimed::Waiting) => self.options.pause * 10,
            Ok(Reclaimed::Page { .. }) => self.options.pause,
            Ok(Reclaimed::End { .. }) => self.options.idle,
            Err(error) => {
                tracing::warn!(%error, "a step of the reclaimer failed");
                self.options.idle
            }
        }
    }
}
