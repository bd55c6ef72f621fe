//! `Reclaimer`: has the shards of garbage blobs dropped by their nodes, and tells the metadata which are gone. Without it
//! deletes and overwrites never free space. Owns a cursor over the garbage and the page at hand.
//!
//! Only the leader's host reclaims. A page of garbage is acted on only when every read that began before its lookup was over
//! has ended, on this host and on the others (one that does not answer is not waited for long), and each blob only a grace
//! period after this host applied the entry that made it garbage (`Ripening`), for reads that looked it up and have not
//! begun. Shards of a node that is out of service stay pending; those of a node that was removed are gone with it, copies left
//! behind by moves included.

use super::background::{Background, Chore};
use super::context::{ClusterContext, UpkeepError};
use super::ripening::Ripening;
use super::under_way::{OtherHosts, oldest_read, other_hosts};
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

/// The actor that reclaims.
pub type Reclaimer = Background<Reclamation>;

#[derive(Clone, Copy, Debug)]
pub struct ReclamationOptions {
    /// Garbage rows looked at together.
    pub page: usize,
    /// The time for which a blob stays after this host applied the entry that made it garbage.
    pub grace: Duration,
    /// Pause after the end of the garbage was reached.
    pub idle: Duration,
    /// Pause between pages; ten times that while readers are waited for.
    pub pause: Duration,
    /// A host that has not answered for so long has no reads.
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
    waiting: Option<Waiting>,
    others: OtherHosts,
    ripening: Ripening,
    /// Nodes that were removed, as of the page at hand.
    removed: Vec<NodeId>,
}

/// Garbage looked up, and the moment after that: a read that begins later finds it to be garbage.
#[derive(Debug)]
struct Waiting {
    mark: ReadMark,
    since: Duration,
    rows: Vec<GarbageRow>,
    /// The hosts of the cluster: one without nodes reads too.
    hosts: Vec<HostRecord>,
    /// The other hosts on which no earlier read is under way.
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

    /// Deals with one page of garbage, or finds that it has to wait.
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
        // A proposal with nothing gone still takes dropped lists apart.
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

    /// Returns whether every read of other hosts that began before the page was looked up has ended.
    async fn is_past_elsewhere(&mut self, waiting: &mut Waiting) -> bool {
        let hosts = other_hosts(&self.context, &waiting.hosts);
        let others: Vec<HostId> = hosts.into_iter().filter(|host| !waiting.past.contains(host)).collect();
        let asked = self.context.ambient.clock.monotonic();
        for (host, answer) in self.others.ask(&self.context, others.clone(), oldest_read).await {
            let is_past = match answer {
                Ok(age) => age.is_none_or(|age| age < asked.saturating_sub(waiting.since)),
                Err(silent) => silent >= self.options.silence_max,
            };
            if is_past {
                waiting.past.insert(host);
            }
        }
        others.iter().all(|host| waiting.past.contains(host))
    }

    /// Drops what may go; which shards are gone.
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
                tracing::debug!(%node, %error, "shards of garbage stay for now");
            }
            dropped.map(|()| shards).unwrap_or_default()
        });
        gone.extend(join_all(drops).await.into_iter().flatten());
        gone
    }

    /// Copies that moves left behind on nodes that were removed since.
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
                tracing::warn!(%error, "garbage was not reclaimed");
                self.options.idle
            }
        }
    }
}
