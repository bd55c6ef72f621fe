//! `Healer`: rebuilds missing and corrupt chunks on this host's nodes from the other shards, wherever these are, and
//! compares the inventory of its nodes with the metadata. Owns the reported faults, the repairs under way, and the
//! comparisons to be done.
//!
//! The repair queue is in the metadata, so that no repair is forgotten: any host that finds a fault or a missing shard
//! queues it there. The host of the shard's node repairs it. So no two hosts do the same work, and a host that is gone
//! holds up no other.
//!
//! It is a chore (`upkeep::Background`). One step does one small thing, the most urgent: queue reported faults, rebuild
//! a few stripes of each repair under way, or compare one page of one node. The comparisons take turns with repairs,
//! one after another, until each has found all missing shards (`selection`). One that its node interrupts goes on after
//! those of other nodes, and seldom while repairs are under way. Pauses between steps leave room for user requests
//! (`Pace`).

mod census;
mod compare;
mod interrupted;
mod metadata_scrub;
mod options;
mod put_offs;
mod queue;
mod repair;
mod scrub;
mod selection;
mod status;
#[cfg(test)]
mod tests;

pub use census::{Amount, Census, CensusHandle, QueueState, RedundancyScanner, Snapshot, Tally, absent};
pub use metadata_scrub::{MetadataScrub, MetadataScrubOptions, MetadataScrubber};
pub use options::HealingOptions;
pub use scrub::{Scrub, ScrubHandle, ScrubOptions, ScrubStatus, Scrubbed, Scrubber};
pub use status::{HealStatus, HealerHandle};

use super::drives::health::Contents;
use super::drives::{FaultSource, ShardFault};
use super::upkeep::{Background, Chore, ClusterContext, LastFailure, UpkeepError};
use crate::limits::PROBE_WAIT_MAX;
use crate::metrics;
use crate::net::{ChunkFault, Peer};
use crate::storage::erasure::Codecs;
use crate::storage::meta::command::{Change, FinishedRepair};
use crate::storage::meta::record::BlobRef;
use crate::storage::stripe::BlobLayout;
use crate::types::{NodeId, ShardId, ShardNumber};
use compare::{Compared, Comparison};
use futures::future::join_all;
use interrupted::Interrupted;
use put_offs::PutOffs;
use queue::{Looked, RepairQueue, node_of, shard_bytes, shard_of};
use repair::{Repair, Repaired};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The actor that runs `Healing` as a chore.
pub type Healer = Background<Healing>;

/// The number of shards whose faults are taken up in one step.
const FAULTS_PAGE: usize = 64;

/// The outcome of a step of the healer (`Healing::advance`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healed {
    Nothing,
    /// Faults were queued as repairs.
    Queued {
        shards: usize,
    },
    /// A page of the queue was read and more follow, and no repair is under way.
    Looked,
    /// Stripes of some shards were checked, and rebuilt if necessary.
    Worked {
        /// The shards that are whole again.
        repaired: Vec<ShardId>,
        /// The shards that cannot be rebuilt now.
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
    /// The reported faults that may not be queued yet. They are kept, since their reporter may not repeat them for
    /// long.
    reported: Vec<ShardFault>,
    handle: HealerHandle,
    options: HealingOptions,
    queue: RepairQueue,
    /// The repairs under way, at most `repairs_max`.
    repairs: Vec<Repair>,
    /// The finished repairs that the metadata does not know of yet.
    whole: Vec<FinishedRepair>,
    put_offs: PutOffs,
    /// The bytes that repairs read and wrote since the last pause.
    unpaced_bytes: u64,
    /// The nodes that served at the last look.
    serving: BTreeSet<NodeId>,
    /// The nodes of this host that accepted writes at the last look.
    writable: BTreeSet<NodeId>,
    comparison: Option<Comparison>,
    interrupted: Interrupted,
    /// True if the next step is the comparison's turn.
    compare_first: bool,
    /// The time of the next comparison of all nodes.
    compare_next: Duration,
    /// The time of the next search for orphans, for nodes with orphans left.
    orphans_next: BTreeMap<NodeId, Duration>,
    last_failure: LastFailure,
}

impl Healing {
    /// Returns the healer and its handle. A comparison of all nodes that the ring assigns to this host is due at once.
    /// The caller requests the comparison of the host's other drives through the handle; these wait until the ring has
    /// them.
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
            put_offs: PutOffs::default(),
            unpaced_bytes: 0,
            serving: BTreeSet::new(),
            writable: BTreeSet::new(),
            comparison: None,
            interrupted: Interrupted::default(),
            compare_first: false,
            compare_next,
            orphans_next: BTreeMap::new(),
        };
        (healing, handle)
    }

    /// Does the most urgent piece of work.
    pub async fn advance(&mut self) -> Result<Healed, UpkeepError> {
        self.note_usable();
        self.tell_whole().await?;
        let queued = self.take_up_faults().await?;
        if queued > 0 {
            return Ok(Healed::Queued { shards: queued });
        }
        let looked = self.take_up_repairs().await?;
        if self.repairs.is_empty() && !looked {
            self.select_comparison().await?;
            return self.continue_comparison().await;
        }
        if std::mem::take(&mut self.compare_first) && self.select_beside_repairs() {
            match self.continue_comparison().await {
                Err(UpkeepError::Node(error)) => self.interrupted.note(&error),
                compared => return compared,
            }
        }
        self.compare_first = true;
        if self.repairs.is_empty() {
            return Ok(Healed::Looked);
        }
        self.continue_repairs().await
    }

    /// Notes which nodes serve, and which of this host's accept writes. If a node has come back, or accepts writes
    /// again, ends all put-offs. Called in each step before anything that may fail, so that no return of a node is
    /// missed.
    fn note_usable(&mut self) {
        let (ring, health) = (self.context.ring.current(), self.context.health.current());
        let nodes = ring.nodes().iter().map(|node| node.id);
        let serving: BTreeSet<NodeId> = nodes.filter(|node| self.context.serves(*node)).collect();
        let local = self.context.local_nodes().into_iter();
        let is_writable = |node: &NodeId| health.accepts_writes(*node) && health.accepts_upkeep(*node);
        let writable: BTreeSet<NodeId> = local.filter(is_writable).collect();
        if !serving.is_subset(&self.serving) || !writable.is_subset(&self.writable) {
            // Repairs that waited for the node are tried again, and read from the queue again.
            self.put_offs.end_all(self.context.ambient.clock.monotonic());
            self.queue.hurry();
        }
        (self.serving, self.writable) = (serving, writable);
    }

    /// Returns the shards of some reported faults. The reports stay in `reported` until they are dealt with.
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

    /// Queues repairs for reported faults. Returns the number of shards that were queued.
    async fn take_up_faults(&mut self) -> Result<usize, UpkeepError> {
        let mut shards = self.take_reports();
        // Faults of a shard under repair are left to that repair.
        for repair in &mut self.repairs {
            let shard = repair.shard();
            shards.remove(&shard);
            for fault in self.reported.iter().filter(|fault| fault.shard == shard) {
                repair.note_fault(fault.node, fault.chunk);
            }
        }
        if shards.is_empty() {
            self.settle_reports();
            return Ok(0);
        }
        let found = self.reported_shards(shards).await?;
        let known: BTreeSet<ShardId> = found.iter().map(|(_, shard, _)| *shard).collect();
        let missing: Vec<(BlobRef, ShardId)> =
            found.into_iter().filter(|(_, _, is_queued)| !is_queued).map(|(blob, shard, _)| (blob, shard)).collect();
        for (node, lost) in self.lost(&missing).await {
            metrics::CHUNK_FAULTS.with_label_values(&[&node.to_string(), "missing"]).inc_by(lost);
        }
        let queued = self.queue_repairs(missing.into_iter().map(|(blob, shard)| (blob, shard.shard)).collect()).await?;
        let reported = self.settle_reports().into_iter();
        let corrupt = reported.filter(|fault| {
            fault.fault == ChunkFault::Corrupt && known.contains(&fault.shard) && self.context.is_local(fault.node)
        });
        self.handle.found_corrupt(corrupt.map(|fault| (fault.shard, fault.chunk)));
        Ok(queued)
    }

    /// Takes the reports, which are dealt with: their repairs are queued in the metadata, as far as they need one.
    fn settle_reports(&mut self) -> Vec<ShardFault> {
        let reported = std::mem::take(&mut self.reported);
        self.faults.settle(reported.len());
        reported
    }

    /// Returns the shards that still belong to a blob, and whether each is queued for repair: readers report a missing
    /// shard again and again until it is repaired.
    async fn reported_shards(&self, shards: BTreeSet<ShardId>) -> Result<Vec<(BlobRef, ShardId, bool)>, UpkeepError> {
        let look_up = self.context.look_up(move |view| {
            let mut found = Vec::new();
            for shard in shards {
                if let Some(blob) = view.blob(shard.blob)? {
                    found.push((blob, shard, view.is_repair_queued(shard)?));
                }
            }
            Ok(found)
        });
        look_up.await
    }

    /// Returns how many of these shards, which are not queued for repair, readers missed and a drive lacks: not those
    /// that were repaired since.
    async fn lost(&self, unqueued: &[(BlobRef, ShardId)]) -> BTreeMap<NodeId, u64> {
        let missed = self.reported.iter().filter(|fault| fault.fault == ChunkFault::Missing);
        let missed: BTreeMap<ShardId, NodeId> = missed.map(|fault| (fault.shard, fault.node)).collect();
        let mut by_node: BTreeMap<NodeId, Vec<(ShardId, u32)>> = BTreeMap::new();
        for (blob, shard) in unqueued {
            let Ok(layout) = BlobLayout::new(blob.geometry, blob.size_bytes) else { continue };
            let node = missed.get(shard).into_iter();
            node.for_each(|node| by_node.entry(*node).or_default().push((*shard, layout.stripes())));
        }
        let mut lost = BTreeMap::new();
        for (node, expected) in by_node {
            let shards = expected.iter().map(|(shard, _)| *shard).collect();
            let ask = |peer: Peer| async move { peer.count_chunks(node, shards).await };
            let Ok(counts) = self.context.ask(node, PROBE_WAIT_MAX, ask).await else { continue };
            let short = counts.iter().zip(expected).filter(|(count, (_, stripes))| *count < stripes).count();
            lost.insert(node, short as u64);
        }
        lost
    }

    async fn queue_repairs(&mut self, missing: Vec<(BlobRef, ShardNumber)>) -> Result<usize, UpkeepError> {
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

    /// Starts repairs from the queue that are not put off. Reads at most one page of the queue. Returns whether a page
    /// was read and more follow.
    async fn take_up_repairs(&mut self) -> Result<bool, UpkeepError> {
        let now = self.context.ambient.clock.monotonic();
        self.put_offs.forget_old(now, self.options.put_off_max);
        let mut looked = false;
        if self.queue.is_empty() && self.repairs.len() < self.options.repairs_max {
            looked = self.look_at_queue().await?;
        }
        while self.repairs.len() < self.options.repairs_max
            && let Some(row) = self.queue.take()
        {
            let (shard, Some(node)) = (shard_of(&row), node_of(&row)) else { continue };
            if self.put_offs.is_put_off(shard, now) || self.repairs.iter().any(|repair| repair.shard() == shard) {
                continue;
            }
            let health = self.context.health.current();
            if self.context.serves(node) && health.accepts_writes(node) && health.accepts_upkeep(node) {
                self.repairs.push(Repair::new(row, node)?);
            } else {
                // All repairs under way would wait for this node, or it would refuse what was read and rebuilt for it.
                metrics::REPAIRS_DONE.with_label_values(&["put_off"]).inc();
                self.put_offs.put_off(shard, now + self.options.put_off);
            }
        }
        let (repairing, put_off) = (self.repairs.len() as u64, self.put_offs.count(now) as u64);
        self.handle.show(|status| (status.repairing, status.put_off) = (repairing, put_off));
        Ok(looked)
    }

    async fn look_at_queue(&mut self) -> Result<bool, UpkeepError> {
        match self.queue.look(&self.context, self.options.idle).await? {
            Looked::Resting => Ok(false),
            Looked::Page { rows, tally } => {
                self.handle.still_queued(rows.iter().map(shard_of));
                // The pass has found at least these.
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

    /// Advances each repair under way by a few stripes.
    async fn continue_repairs(&mut self) -> Result<Healed, UpkeepError> {
        let (context, codecs) = (&self.context, &self.codecs);
        let advances = self.repairs.iter_mut().map(|repair| repair.advance(context, codecs));
        let advanced = join_all(advances).await;
        let (mut repaired, mut put_off, mut failure) = (Vec::new(), Vec::new(), None);
        for (mut repair, advanced) in std::mem::take(&mut self.repairs).into_iter().zip(advanced) {
            let shard = repair.shard();
            self.unpaced_bytes += repair.take_bytes();
            match advanced {
                Ok(Repaired::Stripes) => self.repairs.push(repair),
                Ok(Repaired::Whole) => {
                    self.put_offs.ended(shard);
                    repaired.push((repair.finished(), repair.shard_bytes()));
                }
                Ok(Repaired::Moved) => {
                    self.put_offs.ended(shard);
                    tracing::debug!(
                        blob = %shard.blob, shard = shard.shard.0,
                        "a repair is given up: its shard was moved"
                    );
                }
                Ok(Repaired::TooFewSources) => {
                    tracing::debug!(
                        blob = %shard.blob, shard = shard.shard.0,
                        "a repair is put off: too few of the blob's shards can be read"
                    );
                    put_off.push(shard);
                }
                Err(UpkeepError::Node(error)) => {
                    tracing::debug!(
                        blob = %shard.blob, shard = shard.shard.0, %error,
                        "a repair is put off: a node failed"
                    );
                    put_off.push(shard);
                }
                Err(error) => {
                    self.repairs.push(repair);
                    failure = Some(error);
                }
            }
        }
        let now = self.context.ambient.clock.monotonic();
        for shard in &put_off {
            metrics::REPAIRS_DONE.with_label_values(&["put_off"]).inc();
            self.put_offs.failed(*shard, now, self.options.put_off, self.options.put_off_max);
        }
        let repaired_bytes = repaired.iter().map(|(_, bytes)| bytes).sum();
        self.handle.repaired(repaired_bytes, repaired.len() as u64, now);
        self.queue.repaired(repaired_bytes, repaired.len() as u64);
        self.whole.extend(repaired.iter().map(|(finished, _)| finished));
        let repaired: Vec<ShardId> = repaired.into_iter().map(|(finished, _)| finished.shard).collect();
        self.tell_whole().await?;
        failure.map_or(Ok(Healed::Worked { repaired, put_off }), Err)
    }

    /// Removes finished repairs from the queue in the metadata. If that fails, the next step begins with it.
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

    /// Marks the node under comparison as `Compared` on the health board, once all its missing shards are queued. Not
    /// while its index is damaged: shards that were counted may not be readable, and another comparison is requested
    /// once the index was made anew.
    async fn note_compared(&self) -> Result<(), UpkeepError> {
        let Some(comparison) = self.comparison.as_ref().filter(|it| !it.seeks_missing()) else { return Ok(()) };
        let (node, Some(request)) = (comparison.node(), comparison.request()) else { return Ok(()) };
        let applied = self.context.look_up(|view| view.applied()).await?;
        self.context.health.update(node, |state| {
            let may_be = state.contents != Contents::Compared && state.index_damaged.is_none();
            if may_be && self.handle.is_wanted(node, request) {
                state.contents = Contents::Compared;
                state.compared_at = applied.map_or(0, |applied| applied.index);
            }
        });
        Ok(())
    }

    /// Advances the selected comparison by a page.
    async fn continue_comparison(&mut self) -> Result<Healed, UpkeepError> {
        let now = self.context.ambient.clock.monotonic();
        let Some(comparison) = &mut self.comparison else { return Ok(Healed::Nothing) };
        match comparison.advance(&self.context).await {
            Ok(Compared::Page { missing, orphans }) => {
                let bytes: u64 = missing.iter().map(|(blob, _)| shard_bytes(blob)).sum();
                let queued = self.queue_repairs(missing).await;
                if queued.is_err() {
                    // The comparison has passed this page, whose shards are not queued: start over.
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
                // Repeated, since it may have failed after the last page.
                self.note_compared().await?;
                let Some(comparison) = &self.comparison else { return Ok(Healed::Nothing) };
                if let Some(request) = comparison.request() {
                    self.handle.finished(node, request);
                    tracing::info!(%node, "a node was compared with the metadata");
                }
                self.interrupted.one_is_done();
                self.handle.orphans(node, orphans_left);
                self.orphans_next.remove(&node);
                if orphans_left > 0 {
                    self.orphans_next.insert(node, now + self.options.orphans_again);
                }
                self.comparison = None;
                Ok(Healed::Compared { missing: 0, orphans: 0 })
            }
            Err(error) => {
                if matches!(error, UpkeepError::Node(_)) {
                    let ended = self.context.ambient.clock.monotonic();
                    self.interrupted.add(self.comparison.take(), (now, ended));
                }
                Err(error)
            }
        }
    }
}

impl Chore for Healing {
    async fn step(&mut self) -> Duration {
        let advanced = self.advance().await;
        if advanced.is_ok() {
            self.last_failure.is_over();
        }
        let pause = match advanced {
            Ok(Healed::Nothing) => self.options.idle,
            Ok(Healed::Compared { .. } | Healed::Looked) => {
                Duration::from_millis(if self.context.load.is_busy() { 50 } else { 5 })
            }
            Ok(Healed::Queued { .. } | Healed::Worked { .. }) => Duration::ZERO,
            Err(error) => {
                if self.last_failure.is_news(&error) {
                    tracing::warn!(%error, "healing failed; trying again");
                }
                self.options.idle
            }
        };
        // A step that failed may have read as much as any other.
        let bytes = std::mem::take(&mut self.unpaced_bytes);
        pause.max(self.options.pace.pause_after(bytes, &self.context.load))
    }
}
