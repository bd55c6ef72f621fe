//! `Healer`: rebuilds what is missing or corrupt from the other shards, and compares what nodes hold with what the metadata
//! says they should. Owns the faults that reads reported, the repair at hand, and the comparisons to be done.
//!
//! The queue of repairs is in the metadata, so that a repair that is due is never forgotten; a fault or a missing shard is
//! queued there first. One step does one small thing, the most urgent: take up faults, rebuild a few stripes of the repair at
//! hand, compare one page of one node. It gives way to users by its pace.

mod compare;
mod faults;
mod repair;
#[cfg(test)]
mod tests;

pub use faults::{FaultSink, FaultSource, ShardFault, fault_channel};

use super::upkeep::{Background, Chore, ClusterContext, Pace, UpkeepError};
use crate::metrics;
use crate::storage::erasure::Codecs;
use crate::storage::meta::command::Change;
use crate::storage::meta::record::{BlobRef, RepairRow};
use crate::types::{BlobId, NodeId, ShardId, ShardIndex};
use compare::{Compared, Comparison};
use repair::{Repair, Repaired};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The actor that heals.
pub type Healer = Background<Healing>;

/// Repairs looked up together.
const REPAIRS_PAGE: usize = 64;
/// Faults taken up in one step.
const FAULTS_PAGE: usize = 64;
/// Repairs put off that are remembered; more than that are tried again sooner.
const PUT_OFF_MAX: usize = 16_384;

#[derive(Clone, Copy, Debug)]
pub struct HealingOptions {
    /// Pause when there is nothing to do.
    pub idle: Duration,
    /// How long a repair that cannot be done now (its node is down, too few sources) is put off.
    pub put_off: Duration,
    /// How often every node is compared with the metadata.
    pub compare_every: Duration,
    /// A shard of an unknown blob is dropped when the blob's id is older than this: older than any PUT can be under way.
    pub orphan_age: Duration,
    pub pace: Pace,
}

impl Default for HealingOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(1),
            put_off: Duration::from_secs(30),
            compare_every: Duration::from_secs(6 * 3600),
            orphan_age: Duration::from_secs(24 * 3600),
            pace: Pace { idle_bytes_per_second: 200 << 20, busy_bytes_per_second: 40 << 20 },
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Healed {
    Nothing,
    /// Faults were queued as repairs.
    Queued {
        shards: usize,
    },
    /// Stripes of a shard were checked, and so many bytes read and written for it.
    Checked {
        bytes: u64,
    },
    /// A shard is whole again.
    Repaired(ShardId),
    /// A shard cannot be rebuilt now.
    PutOff(ShardId),
    /// A page of a node was compared with the metadata.
    Compared {
        missing: usize,
        orphans: usize,
    },
}

/// What others hold of the healer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct HealerHandle {
    wanted: Arc<Mutex<BTreeSet<NodeId>>>,
}

impl HealerHandle {
    /// Asks for a comparison of everything that should be on this node with what is: after the drive came back, or was
    /// replaced. It is forgotten at a restart, which compares all nodes anyway.
    pub fn reconcile(&self, node: NodeId) {
        self.change(|wanted| wanted.insert(node));
    }

    /// Nodes whose comparison is not finished.
    pub fn reconciling(&self) -> Vec<NodeId> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn finished(&self, node: NodeId) {
        self.change(|wanted| wanted.remove(&node));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<NodeId>) -> bool) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut wanted);
        metrics::COMPARISONS_DUE.with_label_values::<&str>(&[]).set(as_gauge(wanted.len() as u64));
    }
}

#[derive(Debug)]
pub struct Healing {
    context: ClusterContext,
    codecs: Arc<Codecs>,
    faults: FaultSource,
    handle: HealerHandle,
    options: HealingOptions,
    /// Repairs looked up and not begun.
    queue: VecDeque<RepairRow>,
    cursor: Option<(BlobId, ShardIndex)>,
    repair: Option<Repair>,
    /// Until when repairs are put off.
    put_off: BTreeMap<ShardId, Duration>,
    comparison: Option<Comparison>,
    /// When all nodes are to be compared next.
    compare_next: Duration,
}

impl Healing {
    pub fn new(context: ClusterContext, faults: FaultSource, options: HealingOptions) -> (Self, HealerHandle) {
        let handle = HealerHandle::default();
        context.ring.current().nodes().iter().for_each(|node| handle.reconcile(node.id));
        let compare_next = context.ambient.clock.monotonic() + options.compare_every;
        let healing = Self {
            context,
            codecs: Arc::default(),
            faults,
            handle: handle.clone(),
            options,
            queue: VecDeque::new(),
            cursor: None,
            repair: None,
            put_off: BTreeMap::new(),
            comparison: None,
            compare_next,
        };
        (healing, handle)
    }

    /// Does the next small thing.
    pub async fn advance(&mut self) -> Result<Healed, UpkeepError> {
        let queued = self.take_up_faults().await?;
        if queued > 0 {
            return Ok(Healed::Queued { shards: queued });
        }
        if self.repair.is_none() {
            self.repair = self.next_repair().await?;
        }
        if let Some(repair) = self.repair.take() {
            return self.continue_repair(repair).await;
        }
        self.continue_comparison().await
    }

    /// Queues the shards of reported faults.
    async fn take_up_faults(&mut self) -> Result<usize, UpkeepError> {
        let mut shards = BTreeSet::new();
        while shards.len() < FAULTS_PAGE
            && let Some(fault) = self.faults.take()
        {
            shards.insert(fault.shard);
        }
        // The repair at hand looks at every chunk of its shard anyway.
        if let Some(repair) = &self.repair {
            shards.remove(&repair.shard());
        }
        if shards.is_empty() {
            return Ok(0);
        }
        let missing: Vec<(BlobRef, ShardIndex)> = self
            .context
            .look_up(move |view| {
                let blob_of = |shard: ShardId| Ok(view.blob(shard.blob)?.map(|blob| (blob, shard.shard)));
                shards.into_iter().filter_map(|shard| blob_of(shard).transpose()).collect()
            })
            .await?;
        self.queue_repairs(missing).await
    }

    async fn queue_repairs(&mut self, missing: Vec<(BlobRef, ShardIndex)>) -> Result<usize, UpkeepError> {
        let count = missing.len();
        if count > 0 {
            self.context.metadata.propose(Change::QueueRepairs { missing }).await?;
            // Until the queue is counted again.
            metrics::REPAIRS_QUEUED.with_label_values::<&str>(&[]).add(as_gauge(count as u64));
        }
        Ok(count)
    }

    /// The next repair that is not put off; looks at no more than one page of the queue.
    async fn next_repair(&mut self) -> Result<Option<Repair>, UpkeepError> {
        let now = self.context.ambient.clock.monotonic();
        self.put_off.retain(|_, until| *until > now);
        if self.queue.is_empty() {
            let after = self.cursor;
            let look_up = self.context.look_up(move |view| Ok((view.repairs(after, REPAIRS_PAGE)?, view.counts()?)));
            let (rows, counts) = look_up.await?;
            metrics::REPAIRS_QUEUED.with_label_values::<&str>(&[]).set(as_gauge(counts.repairs));
            self.cursor = rows.last().map(|row| (row.blob.id, row.shard)).filter(|_| rows.len() >= REPAIRS_PAGE);
            self.queue = rows.into();
        }
        while let Some(row) = self.queue.pop_front() {
            if !self.put_off.contains_key(&ShardId { blob: row.blob.id, shard: row.shard }) {
                return Ok(Some(Repair::new(row)?));
            }
        }
        Ok(None)
    }

    async fn continue_repair(&mut self, mut repair: Repair) -> Result<Healed, UpkeepError> {
        let shard = repair.shard();
        match repair.advance(&self.context, &self.codecs).await {
            Ok(Repaired::Stripes { bytes }) => {
                self.repair = Some(repair);
                Ok(Healed::Checked { bytes })
            }
            Ok(Repaired::Whole) => {
                self.context.metadata.propose(Change::FinishRepairs { done: vec![shard] }).await?;
                metrics::REPAIRS_DONE.with_label_values(&["repaired"]).inc();
                Ok(Healed::Repaired(shard))
            }
            Ok(Repaired::TooFewSources) => {
                tracing::warn!(blob = %shard.blob, shard = shard.shard.0, "too few shards are left to rebuild one now");
                Ok(self.put_off(shard))
            }
            Err(UpkeepError::Node(error)) => {
                tracing::debug!(blob = %shard.blob, shard = shard.shard.0, %error, "repair put off");
                Ok(self.put_off(shard))
            }
            Err(error) => Err(error),
        }
    }

    fn put_off(&mut self, shard: ShardId) -> Healed {
        metrics::REPAIRS_DONE.with_label_values(&["put_off"]).inc();
        if self.put_off.len() < PUT_OFF_MAX {
            self.put_off.insert(shard, self.context.ambient.clock.monotonic() + self.options.put_off);
        }
        Healed::PutOff(shard)
    }

    async fn continue_comparison(&mut self) -> Result<Healed, UpkeepError> {
        let now = self.context.ambient.clock.monotonic();
        if now >= self.compare_next {
            self.compare_next = now + self.options.compare_every;
            let nodes = self.context.ring.current();
            nodes.nodes().iter().for_each(|node| self.handle.reconcile(node.id));
        }
        let health = self.context.health.current();
        // A node that went out of service meanwhile is begun anew when it is back.
        self.comparison = self.comparison.take().filter(|comparison| health.in_service(comparison.node()));
        if self.comparison.is_none() {
            let due = self.handle.reconciling().into_iter().find(|&node| health.in_service(node));
            self.comparison = due.map(|node| Comparison::new(node, self.options.orphan_age));
        }
        let Some(comparison) = &mut self.comparison else { return Ok(Healed::Nothing) };
        match comparison.advance(&self.context).await? {
            Compared::Page { missing, orphans } => {
                let queued = self.queue_repairs(missing).await;
                if queued.is_err() {
                    // The page is behind it and its shards are in no queue: begin anew.
                    self.comparison = None;
                }
                Ok(Healed::Compared { missing: queued?, orphans })
            }
            Compared::Done => {
                self.handle.finished(comparison.node());
                tracing::info!(node = %comparison.node(), "node compared with the metadata");
                self.comparison = None;
                Ok(Healed::Compared { missing: 0, orphans: 0 })
            }
        }
    }
}

impl Chore for Healing {
    async fn step(&mut self) -> Duration {
        if !self.context.metadata.is_leader() {
            self.repair = None;
            self.comparison = None;
            return self.options.idle;
        }
        match self.advance().await {
            Ok(Healed::Nothing) => self.options.idle,
            Ok(Healed::Checked { bytes }) => self.options.pace.pause_after(bytes, &self.context.load),
            Ok(Healed::Compared { .. }) => Duration::from_millis(if self.context.load.is_busy() { 50 } else { 5 }),
            Ok(Healed::Queued { .. } | Healed::Repaired(_) | Healed::PutOff(_)) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(%error, "healing step failed");
                self.options.idle
            }
        }
    }
}

fn as_gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
