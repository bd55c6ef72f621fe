//! `Mover`: the actor that moves shards to the nodes of this host after the layout has changed: those that the ring
//! wants here and that are still on other nodes. Each host does so for its own nodes, so that hosts move shards in
//! parallel and each limits its own rate. Owns the pass under way, the copies in progress, and the round over
//! leftovers.
//!
//! There is no queue: a pass compares the recorded placement of every blob with the placement that the ring wants. An
//! interrupted pass begins again. A copy is on stable storage here before a change of the metadata makes it the current
//! one, whatever the durability of the store. The host of the old copy drops it after a grace period, for reads that
//! began before. Each step is small, and the pause after it limits the rate, to a lower one while users are served.

mod copy;
mod leftovers;
mod pass;
mod plan;
mod status;
#[cfg(test)]
mod tests;

pub use status::{MoveStatus, MoverHandle};

use super::upkeep::{Background, Chore, ClusterContext, LastFailure, Pace, Ripening, UpkeepError};
use crate::limits::{LEFTOVER_GRACE, READ_WAIT_MAX, UPKEEP_WAIT_MAX};
use crate::metrics;
use crate::net::Peer;
use crate::storage::meta::command::{Change, MovedShard, Reply};
use crate::types::{Epoch, HostId, NodeId, ShardId};
use copy::ShardCopy;
use futures::future::join_all;
use leftovers::{LateDrops, Leftovers, Sweep, Swept};
use pass::Pass;
use plan::Planner;
use std::collections::BTreeSet;
use std::time::Duration;

pub type Mover = Background<Moving>;

const _: () = assert!(LEFTOVER_GRACE.as_millis() > 2 * READ_WAIT_MAX.as_millis());

#[derive(Clone, Copy, Debug)]
pub struct MovingOptions {
    /// The number of blobs that one step compares.
    pub page: usize,
    /// The number of shards that are copied at once.
    pub copies_max: usize,
    /// The bytes of each copy that one step reads and writes.
    pub window_bytes: usize,
    /// The delay between a change of the layout and the pass: a host that joins changes the layout several times.
    pub settle: Duration,
    /// The least interval between passes while shards are to be moved or a node is draining.
    pub recheck: Duration,
    /// The interval between passes otherwise. They find shards that were written by an older layout.
    pub pass_every: Duration,
    /// The time for which an old copy stays after this host applied the move. Reads look placements up again within it.
    pub grace: Duration,
    /// The interval between rounds over leftovers.
    pub leftovers_every: Duration,
    /// The time after which a draining node that is down is given up: its shards are rebuilt from the others.
    pub lost_after: Duration,
    /// The pause when there is nothing to do.
    pub idle: Duration,
    pub pace: Pace,
}

impl Default for MovingOptions {
    fn default() -> Self {
        Self {
            page: 512,
            copies_max: 8,
            window_bytes: 1 << 20,
            settle: Duration::from_secs(5),
            recheck: Duration::from_secs(30),
            pass_every: Duration::from_secs(3600),
            grace: LEFTOVER_GRACE,
            leftovers_every: Duration::from_secs(15),
            lost_after: Duration::from_secs(300),
            idle: Duration::from_secs(1),
            pace: Pace { idle_bytes_per_second: 100 << 20, busy_bytes_per_second: 20 << 20 },
        }
    }
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    Nothing,
    /// A page of blobs was compared with the layout.
    Compared,
    /// A window of each copy in progress was processed.
    Copied {
        /// Bytes that were copied.
        bytes: u64,
        /// Bytes that an interrupted copy had left on the target.
        checked: u64,
        /// Shards whose move is now decided.
        shards: usize,
    },
    /// A page of leftovers or of an inventory was processed.
    Dropped {
        shards: usize,
    },
}

#[derive(Debug)]
pub struct Moving {
    context: ClusterContext,
    host: HostId,
    options: MovingOptions,
    handle: MoverHandle,
    /// Plans by the current ring.
    planner: Planner,
    pass: Option<Pass>,
    next_pass: Duration,
    copies: Vec<ShardCopy>,
    leftovers: Option<Leftovers>,
    late_drops: LateDrops,
    ripening: Ripening,
    next_leftovers: Duration,
    /// True if the next step copies rather than drops leftovers: the two take turns.
    copies_first: bool,
    sweep: Option<Sweep>,
    /// The epoch of the layout for which a sweep last began. `None` makes a sweep due after the next pass.
    swept: Option<Epoch>,
    /// The nodes that this sweep passed over.
    unswept: Vec<NodeId>,
    down: pass::DownTimes,
    last_failure: LastFailure,
}

impl Moving {
    /// Makes the mover of this host's nodes.
    pub fn new(context: ClusterContext, host: HostId, options: MovingOptions) -> (Self, MoverHandle) {
        let handle = MoverHandle::default();
        let planner = Planner::new(context.ring.current());
        let now = context.ambient.clock.monotonic();
        handle.update(|status| status.epoch = planner.epoch());
        let moving = Self {
            last_failure: LastFailure::default(),
            host,
            options,
            handle: handle.clone(),
            planner,
            pass: None,
            next_pass: now + options.settle,
            copies: Vec::new(),
            leftovers: None,
            late_drops: LateDrops::default(),
            ripening: Ripening::new(options.grace),
            next_leftovers: now,
            copies_first: false,
            sweep: None,
            swept: None,
            unswept: Vec::new(),
            down: pass::DownTimes::default(),
            context,
        };
        (moving, handle)
    }

    /// Does the next step: drops leftovers, copies a window, compares a page of blobs, or sweeps for stray copies.
    pub async fn advance(&mut self) -> Result<Moved, UpkeepError> {
        self.observe_draining();
        self.follow_layout().await?;
        if !std::mem::take(&mut self.copies_first)
            && let Some(dropped) = self.drop_leftovers().await?
        {
            self.copies_first = true;
            return Ok(dropped);
        }
        if !self.copies.is_empty() || self.pass.as_ref().is_some_and(Pass::has_planned) {
            return self.copy().await;
        }
        if self.pass.is_none() && self.sweep.is_none() && self.now() >= self.next_pass {
            self.pass = Some(Pass::new(self.now()));
        }
        if self.pass.is_some() {
            return self.compare().await;
        }
        self.sweep().await
    }

    fn now(&self) -> Duration {
        self.context.ambient.clock.monotonic()
    }

    fn own_nodes(&self) -> Vec<NodeId> {
        self.planner.ring().nodes().iter().filter(|node| node.host == self.host).map(|node| node.id).collect()
    }

    /// Switches to a changed layout. The pass begins again, and a copy in progress continues if its shard is still
    /// wanted.
    async fn follow_layout(&mut self) -> Result<(), UpkeepError> {
        let ring = self.context.ring.current();
        if ring.epoch() == self.planner.epoch() {
            return Ok(());
        }
        let ids: Vec<_> = self.copies.iter().map(|copy| copy.planned.blob.id).collect();
        let look_up = self.context.look_up(move |view| ids.into_iter().map(|id| view.blob(id)).collect());
        let blobs: Vec<Option<_>> = look_up.await?;
        self.planner = Planner::new(ring);
        let mut blobs = blobs.into_iter();
        let planner = &mut self.planner;
        self.copies.retain(|copy| {
            let planned = &copy.planned;
            blobs.next().flatten().is_some_and(|blob| planner.wants(&blob, planned.shard, planned.to))
        });
        self.pass = None;
        self.sweep = None;
        self.next_pass = self.now() + self.options.settle;
        let epoch = self.planner.epoch();
        self.handle.update(|status| {
            *status = MoveStatus { epoch, shards_moved: status.shards_moved, ..MoveStatus::default() }
        });
        Ok(())
    }

    /// Copies a window of each copy in progress, then proposes the moves of those that are complete.
    async fn copy(&mut self) -> Result<Moved, UpkeepError> {
        self.begin_copies()?;
        let (context, window) = (&self.context, self.options.window_bytes);
        let copied = join_all(self.copies.iter_mut().map(|copy| copy.advance(context, window))).await;
        let (mut bytes, mut checked, mut failed, mut put_off) = (0, 0, None, Vec::new());
        for (at, copied) in copied.into_iter().enumerate() {
            match copied {
                Ok(worked) => {
                    bytes += worked.written;
                    checked += worked.checked;
                }
                Err(UpkeepError::Node(error)) => {
                    tracing::debug!(shard = ?self.copies[at].planned.id(), %error, "a move waits for the next pass");
                    put_off.push(at);
                }
                Err(error) => failed = Some(error),
            }
        }
        for at in put_off.into_iter().rev() {
            self.copies.swap_remove(at);
            self.wait_for_next_pass();
        }
        let shards = self.commit().await?;
        failed.map_or(Ok(Moved::Copied { bytes, checked, shards }), Err)
    }

    fn wait_for_next_pass(&mut self) {
        if let Some(pass) = &mut self.pass {
            pass.waiting += 1;
        }
        self.handle.update(|status| status.shards_waiting += 1);
    }

    /// Proposes the moves of the complete copies and returns the number of accepted ones. If the outcome is unknown,
    /// the copies stay in progress and are proposed again.
    async fn commit(&mut self) -> Result<usize, UpkeepError> {
        let moves: Vec<MovedShard> = self.copies.iter().filter(|copy| copy.is_done()).map(ShardCopy::moved).collect();
        if moves.is_empty() {
            return Ok(0);
        }
        let change = Change::MoveShards { epoch: self.planner.epoch(), moves: moves.clone() };
        let moved = match self.context.metadata.propose(change).await? {
            Reply::Moved(moved) => moved,
            _ => Vec::new(),
        };
        let outcomes: Vec<bool> = moves.iter().enumerate().map(|(at, _)| moved.get(at) == Some(&true)).collect();
        let refused = moves.iter().zip(&outcomes).filter(|(_, moved)| !**moved).map(|(step, _)| *step).collect();
        if let Err(error) = self.drop_useless_copies(refused).await {
            // The copies do not stay in progress, since they would be proposed for ever. The next sweep finds them.
            tracing::debug!(%error, "cannot drop the copies of refused moves; the next sweep drops them");
            self.swept = None;
        }
        let done = self.copies.extract_if(.., |copy| copy.is_done());
        let sizes: Vec<u64> = done.map(|copy| copy.shard_bytes()).collect();
        let mut count = 0;
        for ((step, moved), bytes) in moves.iter().zip(outcomes).zip(sizes) {
            if moved {
                count += 1;
                metrics::SHARDS_MOVED.with_label_values(&[&step.to.to_string()]).inc();
                self.handle.update(|status| {
                    status.shards_moved += 1;
                    status.shards_left = status.shards_left.saturating_sub(1);
                    status.bytes_left = status.bytes_left.saturating_sub(bytes);
                });
            } else {
                self.swept = None;
                self.wait_for_next_pass();
            }
        }
        Ok(count)
    }

    /// Drops the copies of refused moves whose blob was deleted in the meantime, unless such copies are kept since a
    /// recovery: they may have been there before.
    async fn drop_useless_copies(&self, refused: Vec<MovedShard>) -> Result<(), UpkeepError> {
        if refused.is_empty() {
            return Ok(());
        }
        let look_up = self.context.look_up(move |view| {
            let mut gone = Vec::new();
            if view.keeps_unknown()? {
                return Ok(gone);
            }
            for step in refused {
                let is_gone = view.blob(step.shard.blob)?.is_none();
                // The reclaimer drops the shards on the nodes that a garbage row names.
                let row = view.garbage_of(step.shard.blob)?;
                let places = row.as_ref().map(|row| &row.blob.placement);
                let is_its_place =
                    places.is_some_and(|places| places.get(usize::from(step.shard.shard.0)) == Some(&step.to));
                if is_gone && !is_its_place {
                    gone.push(step);
                }
            }
            Ok(gone)
        });
        for step in look_up.await? {
            let drop = |peer: Peer| async move { peer.drop_shards(step.to, vec![step.shard]).await };
            self.context.ask(step.to, UPKEEP_WAIT_MAX, drop).await?;
        }
        Ok(())
    }

    async fn drop_leftovers(&mut self) -> Result<Option<Moved>, UpkeepError> {
        if self.leftovers.is_none() && self.now() >= self.next_leftovers {
            let (held, applied) = self.context.look_up(|view| Ok((view.held()?, view.applied()?))).await?;
            if let Some(applied) = applied {
                self.ripening.note(self.now(), applied.index);
            }
            let has_some = |node: &NodeId| held.nodes.get(node).is_some_and(|held| held.leftovers > 0);
            self.leftovers = Some(Leftovers::of(self.own_nodes().into_iter().filter(has_some).collect()));
        }
        let (ripe, targets) = (self.ripening.ripe(self.now()), self.targets());
        let Some(leftovers) = &mut self.leftovers else { return Ok(None) };
        let dropped = leftovers.advance(&self.context, ripe, &targets, &mut self.late_drops).await;
        if !matches!(dropped, Ok(Some(_))) {
            self.leftovers = None;
            self.next_leftovers = self.now() + self.options.leftovers_every;
        }
        Ok(dropped?.map(|shards| Moved::Dropped { shards }))
    }

    /// Returns the shards of the moves that are planned or in progress, each with its target. A move whose outcome is
    /// unknown is in progress as long as it may still be decided.
    fn targets(&self) -> BTreeSet<(NodeId, ShardId)> {
        let planned = self.pass.iter().flat_map(Pass::planned);
        let copied = self.copies.iter().map(|copy| &copy.planned);
        planned.chain(copied).map(|planned| (planned.to, planned.id())).collect()
    }

    async fn sweep(&mut self) -> Result<Moved, UpkeepError> {
        let Some(sweep) = &mut self.sweep else { return Ok(Moved::Nothing) };
        let step = sweep.advance(&self.context, &mut self.planner).await;
        if let Ok(Swept::Page(shards)) = step {
            return Ok(Moved::Dropped { shards });
        }
        let passed_over = self.sweep.take().map(Sweep::passed_over);
        match step {
            Ok(Swept::End) => self.unswept.extend(passed_over.unwrap_or_default()),
            // Begins anew after the next pass.
            _ => self.swept = None,
        }
        step.map(|_| Moved::Nothing)
    }
}

impl Chore for Moving {
    async fn step(&mut self) -> Duration {
        let advanced = self.advance().await;
        if advanced.is_ok() {
            self.last_failure.is_over();
        }
        match advanced {
            Ok(Moved::Nothing) => self.options.idle,
            Ok(Moved::Copied { bytes, checked, .. }) => {
                self.options.pace.pause_after(bytes + checked, &self.context.load)
            }
            Ok(Moved::Compared | Moved::Dropped { .. }) => {
                Duration::from_millis(if self.context.load.is_busy() { 50 } else { 5 })
            }
            Err(error) => {
                if self.last_failure.is_news(&error) {
                    tracing::warn!(%error, "a step of the mover failed");
                }
                self.options.idle
            }
        }
    }
}
