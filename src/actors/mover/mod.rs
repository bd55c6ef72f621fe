//! `Mover`: brings the shards that belong on the nodes of this host by the layout in force, and are elsewhere, here. Every host
//! does so for its own nodes, so that movement is parallel and each host throttles itself. Owns the pass under way, the
//! copies at hand and the round over what moves left behind.
//!
//! There is no queue: a pass compares what is recorded of every blob with what the ring wants, so that one that was
//! interrupted goes on where it was by beginning again. A copy is durable here before one change makes it count; the old
//! copy is dropped by its own host a while later, for reads that began before. One step does one small thing. It gives way to
//! users by its pace.

mod copy;
mod leftovers;
mod pass;
mod plan;
mod status;
#[cfg(test)]
mod tests;

pub use status::{MoveStatus, MoverHandle};

use super::upkeep::{Background, Chore, ClusterContext, LastFailure, Pace, Ripening, UpkeepError};
use crate::limits::{LEFTOVER_GRACE, READ_WAIT_MAX};
use crate::metrics;
use crate::storage::meta::command::{Change, MovedShard, Reply};
use crate::types::{Epoch, HostId, NodeId};
use copy::ShardCopy;
use futures::future::join_all;
use leftovers::{Leftovers, Sweep};
use pass::Pass;
use plan::Planner;
use std::time::Duration;

/// The actor that moves.
pub type Mover = Background<Moving>;

const _: () = assert!(LEFTOVER_GRACE.as_millis() > 2 * READ_WAIT_MAX.as_millis());

#[derive(Clone, Copy, Debug)]
pub struct MovingOptions {
    /// Blobs compared in one step.
    pub page: usize,
    /// Shards copied at once, and bytes of each that are held.
    pub copies_max: usize,
    pub window_bytes: usize,
    /// A layout is acted on when it has stood for this long: a host that joins changes it several times.
    pub settle: Duration,
    /// The intervals between passes: while there is something to move or waiting to be; and else, for writes by an
    /// older layout.
    pub recheck: Duration,
    pub pass_every: Duration,
    /// The time for which the old copy stays after this host applied the move: reads look placements up anew far more
    /// often.
    pub grace: Duration,
    pub leftovers_every: Duration,
    /// A draining node that is down for this long is not waited for: its shards are rebuilt from the others.
    pub lost_after: Duration,
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
    /// Bytes were copied, bytes of an interrupted copy were found to be there, and shards are now here.
    Copied {
        bytes: u64,
        checked: u64,
        shards: usize,
    },
    /// A page of what moves left behind was dealt with.
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
    /// The planner by the ring in force.
    planner: Planner,
    pass: Option<Pass>,
    next_pass: Duration,
    copies: Vec<ShardCopy>,
    leftovers: Option<Leftovers>,
    ripening: Ripening,
    next_leftovers: Duration,
    /// Leftovers and copies take turns.
    copies_first: bool,
    sweep: Option<Sweep>,
    /// The layout that the last sweep was by; `None` makes one due.
    swept: Option<Epoch>,
    down: pass::DownSince,
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
            ripening: Ripening::new(options.grace),
            next_leftovers: now,
            copies_first: false,
            sweep: None,
            swept: None,
            down: pass::DownSince::default(),
            context,
        };
        (moving, handle)
    }

    /// Does the next small thing.
    pub async fn advance(&mut self) -> Result<Moved, UpkeepError> {
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

    /// Takes up another layout: the pass begins anew, and copies at hand go on where they are still wanted.
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

    /// A window of each copy at hand; those that are done are made to count.
    async fn copy(&mut self) -> Result<Moved, UpkeepError> {
        if let Some(pass) = &mut self.pass {
            pass.begin_copies(&mut self.copies, self.options.copies_max)?;
        }
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
                    tracing::debug!(shard = ?self.copies[at].planned.id(), %error, "a move is put off");
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

    /// Makes the copies that are done count. Until it is known whether they do they stay at hand, and it is asked again.
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
        if let Err(error) = self.drop_pointless(refused).await {
            // The next sweep finds them. Copies that stayed at hand would be proposed for ever.
            tracing::debug!(%error, "copies that are of no use stay for now");
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

    /// Copies of shards whose blob is gone meanwhile are of no use to anyone.
    async fn drop_pointless(&self, refused: Vec<MovedShard>) -> Result<(), UpkeepError> {
        if refused.is_empty() {
            return Ok(());
        }
        let look_up = self.context.look_up(move |view| {
            let mut gone = Vec::new();
            for step in refused {
                let is_gone = view.blob(step.shard.blob)?.is_none();
                // What garbage has on its nodes is the reclaimer's to drop.
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
            self.context.peer(step.to).await?.drop_shards(step.to, vec![step.shard]).await?;
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
        let ripe = self.ripening.ripe(self.now());
        let Some(leftovers) = &mut self.leftovers else { return Ok(None) };
        let dropped = leftovers.advance(&self.context, ripe).await;
        if !matches!(dropped, Ok(Some(_))) {
            self.leftovers = None;
            self.next_leftovers = self.now() + self.options.leftovers_every;
        }
        Ok(dropped?.map(|shards| Moved::Dropped { shards }))
    }

    async fn sweep(&mut self) -> Result<Moved, UpkeepError> {
        let Some(sweep) = &mut self.sweep else { return Ok(Moved::Nothing) };
        match sweep.advance(&self.context, &mut self.planner).await {
            Ok(Some(shards)) => Ok(Moved::Dropped { shards }),
            ended => {
                self.sweep = None;
                ended.map(|_| Moved::Nothing)
            }
        }
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
                    tracing::warn!(%error, "a step of moving failed");
                }
                self.options.idle
            }
        }
    }
}
