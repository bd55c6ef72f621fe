//! `Reclaimer`: the chore that drops the shards of garbage blobs from their nodes and then removes the garbage rows.
//! Owns a cursor over the garbage and the moments of its lookups. Frees no bytes: it has the nodes write tombstones, and
//! the `Compactor` of each drive empties segments whose records are dead.
//!
//! Only the leader's host reclaims. It drops the shards of a blob only when:
//!
//! - a grace period has passed since this host applied the entry that made the blob garbage (`Ripening`). It covers
//!   reads that have looked the blob up and are not registered yet.
//! - every read that began before a lookup at the end of that period, or later, has ended, on this host and on all
//!   others. A host that has not answered for `silence_max` is not waited for until it answers again.
//!
//! No page waits: garbage that reads may need is passed over, and looked at again in the next pass.
//!
//! Shards on a node that is out of service, or whose trial writes fail, stay pending. Shards and leftovers on a removed
//! node count as dropped.

use super::background::{Background, Chore};
use super::context::{ClusterContext, UpkeepError};
use super::oldest_under_way::{OtherHosts, oldest_read, other_hosts};
use super::ripening::Ripening;
use crate::actors::request::ReadMark;
use crate::defects::{Defect, has};
use crate::limits::{READ_HOLD_MAX, RECLAIM_GRACE};
use crate::metrics;
use crate::net::Peer;
use crate::storage::meta::command::Change;
use crate::storage::meta::record::GarbageRow;
use crate::types::{BlobId, HostId, NodeId, ShardId};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The longest wait for a node to drop the shards of a page.
const DROP_WAIT_MAX: Duration = Duration::from_secs(15);
/// Hosts tell the ages of their reads in this unit, rounded down.
const AGE_UNIT: Duration = Duration::from_millis(1);

pub type Reclaimer = Background<Reclamation>;

#[derive(Clone, Copy, Debug)]
pub struct ReclamationOptions {
    /// The number of garbage rows in a page.
    pub page: usize,
    /// The time for which a blob stays after this host applied the entry that made it garbage.
    pub grace: Duration,
    /// The pause after the end of the garbage was reached.
    pub idle: Duration,
    /// The pause between pages. It is ten times as long after a page of which reads held everything.
    pub pause: Duration,
    /// The time after which a host that does not answer is no longer waited for.
    pub silence_max: Duration,
    /// The time between lookups that are remembered; it bounds their number.
    pub lookups_apart: Duration,
}

impl Default for ReclamationOptions {
    fn default() -> Self {
        Self {
            page: 256,
            grace: RECLAIM_GRACE,
            idle: Duration::from_secs(5),
            pause: Duration::from_millis(20),
            silence_max: RECLAIM_GRACE,
            lookups_apart: Duration::from_secs(5),
        }
    }
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaimed {
    /// Nothing of this page was dropped, and reads are under way that may need some of it.
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
    lookups: Lookups,
    safe: Safe,
    others: OtherHosts,
    ripening: Ripening,
    /// The nodes that were removed, as of the current page.
    removed: Vec<NodeId>,
}

/// A page of garbage: the shards that can be dropped as far as their nodes are concerned.
#[derive(Debug)]
struct Page {
    rows: Vec<GarbageRow>,
    more: bool,
    /// All other hosts of the cluster; hosts without nodes serve reads, too.
    others: BTreeSet<HostId>,
    has_dropped_lists: bool,
}

/// The moment after a lookup of garbage. A read that begins after it needs nothing that was `ripe` then: such a blob is
/// not found any more, and who had found it before has registered by then.
#[derive(Clone, Copy, Debug)]
struct Lookup {
    at: Duration,
    mark: ReadMark,
    /// The index of the last entry that had been applied here for a grace period.
    ripe: Option<u64>,
}

/// The lookups of the last `READ_HOLD_MAX`, oldest first. All but the last are at least `lookups_apart`.
#[derive(Debug, Default)]
struct Lookups(VecDeque<Lookup>);

/// What is proven to be needed by no read. It stays true: reads that begin later do not need it either.
#[derive(Debug, Default)]
struct Safe {
    /// The index of the last entry whose garbage is safe to drop.
    through: Option<u64>,
    /// The other hosts whose answers prove it.
    proven_by: BTreeSet<HostId>,
}

impl Lookups {
    fn note(&mut self, lookup: Lookup, apart: Duration) {
        let mut newest = self.0.iter().rev().map(|earlier| earlier.at);
        if let (Some(last), Some(before)) = (newest.next(), newest.next())
            && last.saturating_sub(before) < apart
        {
            self.0.pop_back();
        }
        self.0.push_back(lookup);
        while self.0.get(1).is_some_and(|second| lookup.at.saturating_sub(second.at) >= READ_HOLD_MAX) {
            self.0.pop_front();
        }
    }
}

impl Reclamation {
    pub fn new(context: ClusterContext, options: ReclamationOptions) -> Self {
        Self {
            context,
            options,
            cursor: None,
            lookups: Lookups::default(),
            safe: Safe::default(),
            others: OtherHosts::default(),
            ripening: Ripening::new(options.grace),
            removed: Vec::new(),
        }
    }

    /// Processes one page of garbage: drops what no read needs, and passes over the rest.
    pub async fn advance(&mut self) -> Result<Reclaimed, UpkeepError> {
        let Page { mut rows, more, others, has_dropped_lists } = self.look_up().await?;
        let (safe, is_held) = self.safe_through(&rows, others).await;
        rows.retain(|row| Some(row.entry) <= safe);
        let gone = self.drop_shards(&rows).await;
        let shards = gone.len();
        self.forget_removed().await?;
        // Even without shards, the change makes garbage of the parts of dropped part lists.
        if shards > 0 || has_dropped_lists {
            self.context.metadata.propose(Change::ReclaimGarbage { gone }).await?;
        }
        Ok(if is_held && shards == 0 {
            Reclaimed::Waiting
        } else if more {
            Reclaimed::Page { shards }
        } else {
            Reclaimed::End { shards }
        })
    }

    /// Looks the next page up, and remembers the moment.
    async fn look_up(&mut self) -> Result<Page, UpkeepError> {
        let (after, page) = (self.cursor, self.options.page);
        let look_up = self.context.look_up(move |view| {
            let found = (view.garbage(after, page)?, view.hosts()?, view.removed_nodes()?);
            Ok((found, view.counts()?, view.applied()?))
        });
        let ((mut rows, hosts, removed), counts, applied) = look_up.await?;
        let at = self.context.ambient.clock.monotonic();
        let mark = self.context.reads.mark();
        if let Some(applied) = applied {
            self.ripening.note(at, applied.index);
        }
        self.lookups.note(Lookup { at, mark, ripe: self.ripening.ripe(at) }, self.options.lookups_apart);
        show_garbage(counts.garbage);
        let more = rows.len() >= page;
        self.cursor = rows.last().map(|row| row.blob.id).filter(|_| more);
        let (health, doubts) = (self.context.health.current(), self.context.suspects.current());
        let can_drop =
            |node: NodeId| removed.contains(&node) || (health.accepts_upkeep(node) && doubts.is_trusted(node));
        for row in &mut rows {
            let placement = &row.blob.placement;
            row.pending.retain(|shard| placement.get(usize::from(shard.0)).is_some_and(|&node| can_drop(node)));
        }
        rows.retain(|row| !row.pending.is_empty());
        self.removed = removed;
        let others = other_hosts(&self.context, &hosts);
        Ok(Page { rows, more, others, has_dropped_lists: counts.dropped_lists > 0 })
    }

    /// Returns the last entry whose garbage no read needs, and whether reads are under way that may need other `rows`.
    async fn safe_through(&mut self, rows: &[GarbageRow], others: BTreeSet<HostId>) -> (Option<u64>, bool) {
        if has(Defect::IgnoreReaders) {
            return (self.ripening.ripe(self.context.ambient.clock.monotonic()), false);
        }
        // A host that registered since then is asked, too.
        if !others.is_subset(&self.safe.proven_by) {
            self.safe = Safe::default();
        }
        let are_safe = |through: Option<u64>| rows.iter().all(|row| Some(row.entry) <= through);
        if are_safe(self.safe.through) {
            return (self.safe.through, false);
        }
        let (began, all_answered) = self.reads_elsewhere(&others).await;
        let is_past = |lookup: &Lookup| lookup.at < began && self.context.reads.is_past(lookup.mark);
        let past = self.lookups.0.iter().rev().find(|&lookup| is_past(lookup));
        let through = past.and_then(|lookup| lookup.ripe).max(self.safe.through);
        let is_held = !are_safe(through) && !self.lookups.0.back().is_some_and(is_past);
        if all_answered {
            self.safe = Safe { through, proven_by: others };
        }
        (through, is_held)
    }

    /// Returns a moment after which all reads under way on these hosts began, and whether all hosts answered.
    async fn reads_elsewhere(&mut self, hosts: &BTreeSet<HostId>) -> (Duration, bool) {
        let asked_at = self.context.ambient.clock.monotonic();
        let answers = self.others.ask(&self.context, hosts.iter().copied().collect(), oldest_read).await;
        let all_answered = answers.iter().all(|(_, answer)| answer.is_ok());
        let began = answers.into_iter().map(|(_, answer)| match answer {
            Ok(Some(age)) => asked_at.saturating_sub(age.saturating_add(AGE_UNIT)),
            Err(silent) if silent < self.options.silence_max => Duration::ZERO,
            Ok(None) | Err(_) => Duration::MAX,
        });
        (began.min().unwrap_or(Duration::MAX), all_answered)
    }

    /// Drops the shards of these rows, and returns those that are gone.
    async fn drop_shards(&self, rows: &[GarbageRow]) -> Vec<ShardId> {
        let mut by_node: BTreeMap<NodeId, Vec<ShardId>> = BTreeMap::new();
        let mut gone = Vec::new();
        for row in rows {
            for &shard in &row.pending {
                let id = ShardId { blob: row.blob.id, shard };
                match row.blob.placement.get(usize::from(shard.0)) {
                    Some(node) if self.removed.contains(node) => gone.push(id),
                    Some(&node) => by_node.entry(node).or_default().push(id),
                    None => {}
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
            *self = Self::new(self.context.clone(), self.options);
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

#[cfg(test)]
mod tests {
    use super::{Lookup, Lookups, ReclamationOptions};
    use crate::actors::request::ActiveReads;
    use crate::ambient::Ambient;
    use crate::limits::READ_HOLD_MAX;
    use std::time::Duration;

    #[test]
    fn a_few_lookups_are_remembered_for_as_long_as_a_read_may_hold_garbage() {
        let mark = ActiveReads::new(Ambient::system().clock).mark();
        let apart = ReclamationOptions::default().lookups_apart;
        let mut lookups = Lookups::default();
        for step in 0..10_000_u64 {
            let at = Duration::from_millis(700 * step);
            lookups.note(Lookup { at, mark, ripe: None }, apart);
            assert_eq!(lookups.0.back().map(|last| last.at), Some(at));
        }
        let kept: Vec<Duration> = lookups.0.iter().map(|lookup| lookup.at).collect();
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] < 2 * apart), "{kept:?}");
        assert!(kept[kept.len() - 1] - kept[0] >= READ_HOLD_MAX, "{kept:?}");
        assert!(kept.len() as u64 <= READ_HOLD_MAX.as_secs() / apart.as_secs() + 3, "{}", kept.len());
    }
}
