//! `Healer`: rebuilds what is missing or corrupt on this host's nodes from the other shards, wherever they are, and compares
//! what its nodes hold with what the metadata says they should. Owns the faults that reads reported, the repairs at hand, and
//! the comparisons to be done.
//!
//! The queue of repairs is in the metadata, so that a repair that is due is never forgotten; a fault or a missing shard is
//! queued there first, by whichever host found it. Who repairs is the host of the shard's node: no two hosts do the same
//! work, and one that is gone holds up nobody. One step does one small thing, the most urgent: take up faults, rebuild a few
//! stripes of each of the repairs at hand, compare one page of one node. A comparison that has begun takes turns with repairs
//! until it knows all that is missing. It gives way to users by its pace.

mod census;
mod compare;
mod metadata_scrub;
mod queue;
mod repair;
mod scrub;
mod status;
#[cfg(test)]
mod tests;

pub use census::{Amount, Census, CensusHandle, RedundancyScanner, Snapshot, Tally, absent};
pub use metadata_scrub::{MetadataScrub, MetadataScrubOptions, MetadataScrubber};
pub use scrub::{Scrub, ScrubHandle, ScrubOptions, ScrubStatus, Scrubbed, Scrubber};
pub use status::{HealStatus, HealerHandle};

use super::drives::health::Contents;
use super::drives::{FaultSource, ShardFault};
use super::upkeep::{Background, Chore, ClusterContext, LastFailure, Pace, UpkeepError};
use crate::metrics;
use crate::net::ChunkFault;
use crate::storage::erasure::Codecs;
use crate::storage::meta::command::{Change, FinishedRepair};
use crate::storage::meta::record::BlobRef;
use crate::types::{Epoch, Incarnation, NodeId, ShardId, ShardIndex};
use compare::{Compared, Comparison};
use futures::future::join_all;
use queue::{Looked, RepairQueue, node_of, shard_bytes, shard_of};
use repair::{Repair, Repaired};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The actor that heals.
pub type Healer = Background<Healing>;

/// Faults taken up in one step.
const FAULTS_PAGE: usize = 64;
/// Repairs put off that are remembered; more than that are tried again sooner.
const PUT_OFF_MAX: usize = 16_384;

#[derive(Clone, Copy, Debug)]
pub struct HealingOptions {
    /// Pause when there is nothing to do.
    pub idle: Duration,
    /// The delay of a repair that cannot be done now (its node is down, too few sources).
    pub put_off: Duration,
    /// Repairs under way at once.
    pub repairs_max: usize,
    /// The interval between comparisons of this host's nodes with the metadata.
    pub compare_every: Duration,
    /// A shard of an unknown blob above the fence counts as an orphan when the time in the blob's id is so far from now: few PUTs are
    /// so long under way. It is a matter of what is shown, not of what is dropped.
    pub orphan_counted_age: Duration,
    /// The interval until a node with such shards is searched again.
    pub orphans_again: Duration,
    pub pace: Pace,
}

impl Default for HealingOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(1),
            put_off: Duration::from_secs(10),
            repairs_max: 4,
            compare_every: Duration::from_secs(6 * 3600),
            orphan_counted_age: Duration::from_secs(3600),
            orphans_again: Duration::from_secs(3600),
            pace: Pace { idle_bytes_per_second: 200 << 20, busy_bytes_per_second: 40 << 20 },
        }
    }
}

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healed {
    Nothing,
    /// Faults were queued as repairs.
    Queued {
        shards: usize,
    },
    /// A page of the queue was looked at, and there was nothing in it for this host.
    Looked,
    /// Stripes of some shards were checked, and so many bytes read and written for it.
    Worked {
        bytes: u64,
        /// Whole again.
        repaired: Vec<ShardId>,
        /// Cannot be rebuilt now.
        put_off: Vec<ShardId>,
    },
    /// A page of a node was compared with the metadata.
    Compared {
        missing: usize,
        orphans: usize,
    },
}

#[derive(Debug)]
pub struct Healing {
    context: ClusterContext,
    codecs: Arc<Codecs>,
    faults: FaultSource,
    /// The reported faults that are not known to be queued yet: their reporter may not repeat them for long.
    reported: Vec<ShardFault>,
    handle: HealerHandle,
    options: HealingOptions,
    queue: RepairQueue,
    /// The repairs under way, at most `repairs_max`.
    repairs: Vec<Repair>,
    /// Whole again, which the metadata does not know yet.
    whole: Vec<FinishedRepair>,
    /// The time until which repairs are put off.
    put_off: BTreeMap<ShardId, Duration>,
    /// Nodes that could be asked at the last look.
    serving: BTreeSet<NodeId>,
    comparison: Option<Comparison>,
    /// True if it is the comparison's turn.
    compare_first: bool,
    /// The next comparison of all nodes, and the next search of some for orphans.
    compare_next: Duration,
    orphans_next: BTreeMap<NodeId, Duration>,
    last_failure: LastFailure,
}

impl Healing {
    /// Compares all nodes of this host at once, as far as the ring knows them. Who knows the host's drives tells the
    /// handle of the others; they wait until the ring knows them too.
    pub fn new(context: ClusterContext, faults: FaultSource, options: HealingOptions) -> (Self, HealerHandle) {
        let handle = HealerHandle::default();
        context.local_nodes().into_iter().for_each(|node| handle.reconcile(node));
        let compare_next = context.ambient.clock.monotonic() + options.compare_every;
        let healing = Self {
            last_failure: LastFailure::default(),
            context,
            codecs: Arc::default(),
            faults,
            reported: Vec::new(),
            handle: handle.clone(),
            options,
            queue: RepairQueue::default(),
            repairs: Vec::new(),
            whole: Vec::new(),
            put_off: BTreeMap::new(),
            serving: BTreeSet::new(),
            comparison: None,
            compare_first: false,
            compare_next,
            orphans_next: BTreeMap::new(),
        };
        (healing, handle)
    }

    /// Does the next small thing.
    pub async fn advance(&mut self) -> Result<Healed, UpkeepError> {
        self.note_serving();
        self.tell_whole().await?;
        let queued = self.take_up_faults().await?;
        if queued > 0 {
            return Ok(Healed::Queued { shards: queued });
        }
        let looked = self.take_up_repairs().await?;
        if !self.repairs.is_empty() {
            if std::mem::take(&mut self.compare_first) && self.seeks_missing() {
                return self.continue_comparison().await;
            }
            self.compare_first = true;
            return self.continue_repairs().await;
        }
        if looked {
            return Ok(Healed::Looked);
        }
        self.continue_comparison().await
    }

    /// Looks which nodes can be asked. Before all that may fail, so that no put-off outlives its cause.
    fn note_serving(&mut self) {
        let ring = self.context.ring.current();
        let nodes = ring.nodes().iter().map(|node| node.id);
        let serving: BTreeSet<NodeId> = nodes.filter(|node| self.context.serves(*node)).collect();
        if !serving.is_subset(&self.serving) {
            // One is back: what waited for it need not wait on, and is to be looked up again.
            self.put_off.clear();
            self.queue.hurry();
        }
        self.serving = serving;
    }

    /// Returns whether more missing shards may be found: comparison then goes on beside the repairs.
    fn seeks_missing(&self) -> bool {
        let comparison = self.comparison.as_ref().filter(|comparison| comparison.seeks_missing());
        comparison.is_some_and(|comparison| self.context.serves(comparison.node()))
    }

    /// The shards of some reports, which stay at hand until they are dealt with.
    fn take_reports(&mut self) -> BTreeSet<ShardId> {
        let mut shards: BTreeSet<ShardId> = self.reported.iter().map(|fault| fault.shard).collect();
        if !self.reported.is_empty() {
            return shards;
        }
        while shards.len() < FAULTS_PAGE
            && let Some(fault) = self.faults.take()
        {
            shards.insert(fault.shard);
            self.reported.push(fault);
        }
        shards
    }

    /// Queues the shards of reported faults.
    async fn take_up_faults(&mut self) -> Result<usize, UpkeepError> {
        let mut shards = self.take_reports();
        // A repair at hand looks at every chunk of its shard anyway.
        for repair in &self.repairs {
            shards.remove(&repair.shard());
        }
        if shards.is_empty() {
            self.reported.clear();
            return Ok(0);
        }
        let look_up = self.context.look_up(move |view| {
            let mut found = Vec::new();
            for shard in shards {
                // Readers meet a missing shard again and again until it is repaired.
                if let Some(blob) = view.blob(shard.blob)? {
                    found.push((blob, shard, view.is_repair_queued(shard)?));
                }
            }
            Ok(found)
        });
        let found: Vec<(BlobRef, ShardId, bool)> = look_up.await?;
        let known: BTreeSet<ShardId> = found.iter().map(|(_, shard, _)| *shard).collect();
        let missing = found.into_iter().filter(|(_, _, is_queued)| !is_queued);
        let queued = self.queue_repairs(missing.map(|(blob, shard, _)| (blob, shard.shard)).collect()).await?;
        let reported = std::mem::take(&mut self.reported).into_iter();
        let corrupt = reported.filter(|fault| {
            fault.fault == ChunkFault::Corrupt && known.contains(&fault.shard) && self.context.is_local(fault.node)
        });
        self.handle.found_corrupt(corrupt.map(|fault| (fault.shard, fault.chunk)));
        Ok(queued)
    }

    async fn queue_repairs(&mut self, missing: Vec<(BlobRef, ShardIndex)>) -> Result<usize, UpkeepError> {
        let count = missing.len();
        if count > 0 {
            self.context.metadata.propose(Change::QueueRepairs { missing }).await?;
            self.queue.hurry();
            self.count().await?;
        }
        Ok(count)
    }

    async fn count(&self) -> Result<(), UpkeepError> {
        let counts = self.context.look_up(|view| view.counts()).await?;
        self.handle.show(|status| status.missing_shards = counts.repairs);
        Ok(())
    }

    /// Takes repairs that are not put off from the queue, looking at one page of it at most. Says whether a page was looked at.
    async fn take_up_repairs(&mut self) -> Result<bool, UpkeepError> {
        let now = self.context.ambient.clock.monotonic();
        self.put_off.retain(|_, until| *until > now);
        let mut looked = false;
        if self.queue.is_empty() && self.repairs.len() < self.options.repairs_max {
            looked = self.look_at_queue().await?;
        }
        while self.repairs.len() < self.options.repairs_max
            && let Some(row) = self.queue.take()
        {
            let (shard, Some(node)) = (shard_of(&row), node_of(&row)) else { continue };
            if self.put_off.contains_key(&shard) || self.repairs.iter().any(|repair| repair.shard() == shard) {
                continue;
            }
            if self.context.serves(node) {
                self.repairs.push(Repair::new(row, node)?);
            } else {
                // All repairs at hand would wait for it.
                self.put_off(shard);
            }
        }
        let (repairing, put_off) = (self.repairs.len() as u64, self.put_off.len() as u64);
        self.handle.show(|status| (status.repairing, status.put_off) = (repairing, put_off));
        Ok(looked)
    }

    async fn look_at_queue(&mut self) -> Result<bool, UpkeepError> {
        match self.queue.look(&self.context, self.options.idle).await? {
            Looked::Resting => Ok(false),
            Looked::Page { rows, tally } => {
                self.handle.still_queued(rows.iter().map(shard_of));
                // There is at least what this pass has met so far.
                self.handle.show(|status| {
                    status.to_repair_shards = status.to_repair_shards.max(tally.local_shards);
                    status.to_repair_bytes = status.to_repair_bytes.max(tally.local_bytes);
                });
                Ok(true)
            }
            Looked::End { rows, tally } => {
                self.handle.still_queued(rows.iter().map(shard_of));
                self.handle.queue_seen();
                self.count().await?;
                self.handle.show(|status| {
                    status.under_replicated_objects = tally.blobs;
                    (status.to_repair_shards, status.to_repair_bytes) = (tally.local_shards, tally.local_bytes);
                });
                Ok(false)
            }
        }
    }

    /// A few stripes of each repair at hand.
    async fn continue_repairs(&mut self) -> Result<Healed, UpkeepError> {
        let (context, codecs) = (&self.context, &self.codecs);
        let advances = self.repairs.iter_mut().map(|repair| repair.advance(context, codecs));
        let advanced = join_all(advances).await;
        let (mut bytes, mut repaired, mut put_off, mut failure) = (0, Vec::new(), Vec::new(), None);
        for (repair, advanced) in std::mem::take(&mut self.repairs).into_iter().zip(advanced) {
            let shard = repair.shard();
            match advanced {
                Ok(Repaired::Stripes { bytes: some }) => {
                    bytes += some;
                    self.repairs.push(repair);
                }
                Ok(Repaired::Whole) => repaired.push((repair.finished(), repair.shard_bytes())),
                Ok(Repaired::Moved) => {
                    tracing::debug!(blob = %shard.blob, shard = shard.shard.0, "repair given up: the shard was moved");
                }
                Ok(Repaired::TooFewSources) => {
                    tracing::debug!(blob = %shard.blob, shard = shard.shard.0, "too few shards are left to rebuild one now");
                    put_off.push(shard);
                }
                Err(UpkeepError::Node(error)) => {
                    tracing::debug!(blob = %shard.blob, shard = shard.shard.0, %error, "repair put off");
                    put_off.push(shard);
                }
                Err(error) => {
                    self.repairs.push(repair);
                    failure = Some(error);
                }
            }
        }
        put_off.iter().for_each(|&shard| self.put_off(shard));
        let now = self.context.ambient.clock.monotonic();
        let repaired_bytes = repaired.iter().map(|(_, bytes)| bytes).sum();
        self.handle.repaired(repaired_bytes, repaired.len() as u64, now);
        self.queue.repaired(repaired_bytes, repaired.len() as u64);
        self.whole.extend(repaired.iter().map(|(finished, _)| finished));
        let repaired: Vec<ShardId> = repaired.into_iter().map(|(finished, _)| finished.shard).collect();
        self.tell_whole().await?;
        failure.map_or(Ok(Healed::Worked { bytes, repaired, put_off }), Err)
    }

    /// Tells the metadata of shards that are whole again; what cannot be told now is told first thing next time.
    async fn tell_whole(&mut self) -> Result<(), UpkeepError> {
        if self.whole.is_empty() {
            return Ok(());
        }
        self.context.metadata.propose(Change::FinishRepairs { done: self.whole.clone() }).await?;
        metrics::REPAIRS_DONE.with_label_values(&["repaired"]).inc_by(self.whole.len() as u64);
        self.whole.clear();
        self.queue.hurry();
        self.count().await
    }

    fn put_off(&mut self, shard: ShardId) {
        metrics::REPAIRS_DONE.with_label_values(&["put_off"]).inc();
        if self.put_off.len() < PUT_OFF_MAX {
            self.put_off.insert(shard, self.context.ambient.clock.monotonic() + self.options.put_off);
        }
    }

    /// The node to be compared next, and how. A node that the ring does not call this host's yet is waited for.
    async fn next_comparison(&mut self, now: Duration) -> Result<Option<Comparison>, UpkeepError> {
        if now >= self.compare_next {
            self.compare_next = now + self.options.compare_every;
            self.context.local_nodes().into_iter().for_each(|node| self.handle.reconcile(node));
        }
        let health = self.context.health.current();
        let wanted = self.handle.reconciling().into_iter();
        let (local, others): (Vec<NodeId>, Vec<NodeId>) = wanted.partition(|&node| self.context.is_local(node));
        if let Some(&node) = local.iter().find(|&&node| health.in_service(node)) {
            return Ok(Some(Comparison::whole(node, &self.options)));
        }
        self.forget_removed(others).await?;
        let is_due = |node: NodeId, at: Duration| at <= now && health.in_service(node) && self.context.is_local(node);
        let due = self.orphans_next.iter().find(|&(&node, &at)| is_due(node, at));
        Ok(due.map(|(&node, _)| Comparison::of_orphans(node, &self.options)))
    }

    /// Drops the comparisons of nodes that were removed. A node that is not registered yet is waited for.
    async fn forget_removed(&self, nodes: Vec<NodeId>) -> Result<(), UpkeepError> {
        if nodes.is_empty() || self.context.ring.current().epoch() == Epoch(0) {
            return Ok(());
        }
        let look_up = self.context.look_up(move |view| {
            let known = view.removed()?.nodes;
            let mut removed = Vec::new();
            for node in nodes {
                let of_number = (node, Incarnation(0))..=(node, Incarnation(u128::MAX));
                if known.range(of_number).next().is_some() && view.node(node)?.is_none() {
                    removed.push(node);
                }
            }
            Ok(removed)
        });
        look_up.await?.into_iter().for_each(|node| self.handle.finished(node));
        Ok(())
    }

    /// Publishes that all that the node at hand lacks is queued, once that is so.
    async fn note_compared(&self) -> Result<(), UpkeepError> {
        let Some(comparison) = self.comparison.as_ref().filter(|it| it.is_whole() && !it.seeks_missing()) else {
            return Ok(());
        };
        let applied = self.context.look_up(|view| view.applied()).await?;
        self.context.health.update(comparison.node(), |state| {
            if state.contents != Contents::Compared {
                state.contents = Contents::Compared;
                state.compared_at = applied.map_or(0, |applied| applied.index);
            }
        });
        Ok(())
    }

    async fn continue_comparison(&mut self) -> Result<Healed, UpkeepError> {
        let (now, health) = (self.context.ambient.clock.monotonic(), self.context.health.current());
        // A node that went out of service meanwhile is begun anew when it is back.
        let is_here =
            |comparison: &Comparison| health.in_service(comparison.node()) && self.context.is_local(comparison.node());
        self.comparison = self.comparison.take().filter(is_here);
        if self.comparison.is_none() {
            self.comparison = self.next_comparison(now).await?;
        }
        let Some(comparison) = &mut self.comparison else { return Ok(Healed::Nothing) };
        match comparison.advance(&self.context).await {
            Ok(Compared::Page { missing, orphans }) => {
                let bytes: u64 = missing.iter().map(|(blob, _)| shard_bytes(blob)).sum();
                let queued = self.queue_repairs(missing).await;
                if queued.is_err() {
                    // The page is behind it and its shards are in no queue: begin anew.
                    self.comparison = None;
                }
                let missing = queued?;
                self.handle.show(|status| {
                    status.to_repair_shards += missing as u64;
                    status.to_repair_bytes += bytes;
                });
                self.note_compared().await?;
                Ok(Healed::Compared { missing, orphans })
            }
            Ok(Compared::Done { orphans_left }) => {
                let node = comparison.node();
                // Before, the metadata may not have been there to be asked.
                self.note_compared().await?;
                let Some(comparison) = &self.comparison else { return Ok(Healed::Nothing) };
                if comparison.is_whole() {
                    self.handle.finished(node);
                    tracing::info!(%node, "node compared with the metadata");
                }
                self.handle.orphans(node, orphans_left);
                self.orphans_next.remove(&node);
                if orphans_left > 0 {
                    self.orphans_next.insert(node, now + self.options.orphans_again);
                }
                self.comparison = None;
                Ok(Healed::Compared { missing: 0, orphans: 0 })
            }
            Err(error) => Err(error),
        }
    }
}

impl Chore for Healing {
    async fn step(&mut self) -> Duration {
        let advanced = self.advance().await;
        if advanced.is_ok() {
            self.last_failure.is_over();
        }
        match advanced {
            Ok(Healed::Nothing) => self.options.idle,
            Ok(Healed::Worked { bytes, .. }) => self.options.pace.pause_after(bytes, &self.context.load),
            Ok(Healed::Compared { .. } | Healed::Looked) => {
                Duration::from_millis(if self.context.load.is_busy() { 50 } else { 5 })
            }
            Ok(Healed::Queued { .. }) => Duration::ZERO,
            Err(error) => {
                if self.last_failure.is_news(&error) {
                    tracing::warn!(%error, "healing step failed");
                }
                self.options.idle
            }
        }
    }
}
