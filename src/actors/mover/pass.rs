//! A pass of the mover over all blobs: first it counts the shards to move to this host, then, if there are any, it
//! moves them.

use super::copy::ShardCopy;
use super::leftovers::Sweep;
use super::plan::Planned;
use super::{Moved, Moving};
use crate::actors::drives::health::NodeHealth;
use crate::actors::peers::Trust;
use crate::actors::upkeep::UpkeepError;
use crate::storage::kv::KvResult;
use crate::storage::meta::record::BlobRef;
use crate::storage::meta::view::MetaView;
use crate::storage::stripe::BlobLayout;
use crate::types::{Incarnation, NodeId, ShardId, ShardNumber};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::take;
use std::time::Duration;

/// The greatest time between two looks at a node that counts as time in which it was down.
const OBSERVED_AT_ONCE: Duration = Duration::from_secs(60);

/// The draining nodes that are down.
pub(super) type DownTimes = BTreeMap<NodeId, DownTime>;

/// How long a node has been down at every look.
#[derive(Clone, Copy, Debug)]
pub(super) struct DownTime {
    lasted: Duration,
    /// The time of the last look.
    seen: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Counting,
    Moving,
    Ended,
}

#[derive(Debug)]
pub(super) struct Pass {
    phase: Phase,
    cursor: Option<Vec<u8>>,
    began: Duration,
    counted_in: Duration,
    found: u64,
    found_bytes: u64,
    /// The number of shards that wait for the next pass.
    pub(super) waiting: u64,
    /// The moves that were planned and not begun, each with the incarnation of the target drive.
    planned: VecDeque<(Planned, Incarnation)>,
}

impl Pass {
    pub(super) fn new(began: Duration) -> Self {
        let (cursor, planned) = (None, VecDeque::new());
        let counted_in = Duration::ZERO;
        Self { phase: Phase::Counting, cursor, began, counted_in, found: 0, found_bytes: 0, waiting: 0, planned }
    }

    pub(super) fn has_planned(&self) -> bool {
        !self.planned.is_empty()
    }

    /// Returns the moves that were planned and not begun.
    pub(super) fn planned(&self) -> impl Iterator<Item = &Planned> {
        self.planned.iter().map(|(planned, _)| planned)
    }

    fn take_planned(&mut self) -> Option<(Planned, Incarnation)> {
        self.planned.pop_front()
    }
}

impl Moving {
    /// Compares the next page of blobs with the layout.
    pub(super) async fn compare(&mut self) -> Result<Moved, UpkeepError> {
        let Some(pass) = &self.pass else { return Ok(Moved::Nothing) };
        let (phase, cursor, page) = (pass.phase, pass.cursor.clone(), self.options.page);
        if phase == Phase::Ended {
            self.end_pass();
            return Ok(Moved::Compared);
        }
        let (blobs, next) = self.context.look_up(move |view| view.blobs(cursor, page)).await?;
        let found = self.found_in(&blobs);
        let (mut count, mut bytes) = (0, 0);
        for planned in &found {
            count += 1;
            let layout = BlobLayout::new(planned.blob.geometry, planned.blob.size_bytes);
            bytes += layout.map_or(0, |layout| layout.shard_bytes());
        }
        let planned = if phase == Phase::Moving { self.movable(found).await? } else { VecDeque::new() };
        let now = self.now();
        let Some(pass) = &mut self.pass else { return Ok(Moved::Nothing) };
        pass.planned = planned;
        if phase == Phase::Counting {
            pass.found += count;
            pass.found_bytes += bytes;
        }
        pass.cursor = next;
        if pass.cursor.is_none() {
            pass.phase = if phase == Phase::Counting && pass.found > 0 { Phase::Moving } else { Phase::Ended };
            if phase == Phase::Counting {
                pass.counted_in = now.saturating_sub(pass.began);
                let (shards, bytes) = (pass.found, pass.found_bytes);
                self.handle.update(|status| {
                    (status.shards_left, status.bytes_left, status.shards_waiting) = (shards, bytes, 0);
                    status.settled = shards == 0;
                });
            }
        }
        Ok(Moved::Compared)
    }

    /// Returns the shards of these blobs that are to be moved to nodes of this host.
    fn found_in(&mut self, blobs: &[BlobRef]) -> Vec<Planned> {
        let mut found = Vec::new();
        for blob in blobs {
            for step in self.planner.moves_of(blob) {
                if self.planner.ring().host_of(step.to) == Some(self.host) {
                    found.push(Planned::new(blob, step));
                }
            }
        }
        found
    }

    /// Returns the moves that can be done now; the others wait for the next pass.
    async fn movable(&mut self, found: Vec<Planned>) -> Result<VecDeque<(Planned, Incarnation)>, UpkeepError> {
        let found_count = found.len();
        let with_source = |planned: Planned| Some(Planned { lost: self.is_lost(&planned)?, ..planned });
        let ready: Vec<Planned> = found.into_iter().filter_map(with_source).collect();
        let health = self.context.health.current();
        let late_drops = self.late_drops.pending(&self.context);
        let look_up = self.context.look_up(move |view| {
            let mut movable = VecDeque::new();
            let is_whole = view.counts()?.repairs == 0;
            let are_kept = view.keeps_unknown()?;
            for planned in ready {
                // An old copy of the shard on the target must be dropped first. But if the current copy is lost, or old
                // ones are kept since a recovery, the old one becomes the current one again, unless a drop may still
                // remove it.
                let is_in_the_way = view.is_leftover(planned.to, planned.id())?
                    && (!(planned.lost || are_kept) || late_drops.contains(&planned.to));
                if !is_in_the_way
                    && (is_whole || !endangers(view, &planned)?)
                    && (!planned.lost || can_be_rebuilt(view, &health, &planned)?)
                    && let Some(node) = view.node(planned.to)?
                {
                    movable.push_back((planned, node.incarnation));
                }
            }
            Ok(movable)
        });
        let movable = look_up.await?;
        (movable.len()..found_count).for_each(|_| self.wait_for_next_pass());
        Ok(movable)
    }

    /// Looks which draining nodes are down: out of service or gone. One that is only late is not. This is done at each
    /// step, so that a node that answers in between begins anew.
    pub(super) fn observe_draining(&mut self) {
        let (ring, now) = (self.context.ring.current(), self.now());
        let (health, doubts) = (self.context.health.current(), self.context.suspects.current());
        let is_down = |node: &NodeId| !health.in_service(*node) || doubts.trust(*node) == Trust::Gone;
        let draining = ring.nodes().iter().map(|node| node.id).filter(|node| !ring.is_active(*node));
        let down: BTreeSet<NodeId> = draining.filter(is_down).collect();
        self.down.retain(|node, _| down.contains(node));
        for node in down {
            let time = self.down.entry(node).or_insert(DownTime { lasted: Duration::ZERO, seen: now });
            time.lasted += now.saturating_sub(time.seen).min(OBSERVED_AT_ONCE);
            time.seen = now;
        }
    }

    /// Begins planned moves, up to `copies_max` at once. Those that are not possible any more as they were planned wait
    /// for the next pass: a source that stalls would hold up all copies in progress at each step.
    pub(super) fn begin_copies(&mut self) -> Result<(), UpkeepError> {
        while self.copies.len() < self.options.copies_max
            && let Some((planned, incarnation)) = self.pass.as_mut().and_then(Pass::take_planned)
        {
            if self.is_lost(&planned) == Some(planned.lost) {
                self.copies.push(ShardCopy::new(planned, incarnation)?);
            } else {
                self.wait_for_next_pass();
            }
        }
        Ok(())
    }

    /// Returns whether the source of a move is lost: it was removed, or is draining and was down for `lost_after`.
    /// `None` if the move is not possible now: the target accepts no writes, or the source is not trusted.
    fn is_lost(&self, planned: &Planned) -> Option<bool> {
        let health = self.context.health.current();
        let (from, to, ring) = (planned.from, planned.to, self.planner.ring());
        if !health.accepts_writes(to) || !health.accepts_upkeep(to) {
            return None;
        }
        if self.context.serves(from) && ring.host_of(from).is_some() {
            return Some(false);
        }
        if ring.is_active(from) {
            return None;
        }
        let was_down = || self.down.get(&from).is_some_and(|time| time.lasted >= self.options.lost_after);
        let lost = ring.host_of(from).is_none() || was_down();
        lost.then_some(true)
    }

    /// Takes those of the nodes that the last sweep passed over which take drops again.
    fn take_swept_again(&mut self) -> Vec<NodeId> {
        let health = self.context.health.current();
        let (again, not_yet) = take(&mut self.unswept).into_iter().partition(|node| health.accepts_upkeep(*node));
        self.unswept = not_yet;
        again
    }

    fn end_pass(&mut self) {
        let Some(pass) = self.pass.take() else { return };
        let now = self.now();
        // Writes that began under an older layout may still place shards on a draining node.
        let drains = self.planner.ring().nodes().iter().any(|node| !self.planner.ring().is_active(node.id));
        // The pause grows with the length of a pass, so that a large store is not read continuously while shards wait.
        let soon = self.options.recheck.max(16 * pass.counted_in);
        self.next_pass = now + if pass.found > 0 || drains { soon } else { self.options.pass_every };
        let epoch = self.planner.epoch();
        let nodes = if self.swept == Some(epoch) { self.take_swept_again() } else { self.own_nodes() };
        if self.swept.replace(epoch) != Some(epoch) {
            self.unswept.clear();
        }
        self.sweep = Some(nodes).filter(|nodes| !nodes.is_empty()).map(Sweep::of);
        if pass.found > 0 {
            tracing::info!(
                epoch = epoch.0,
                shards = pass.found,
                waiting = pass.waiting,
                "a pass of the mover has ended"
            );
        }
    }
}

/// Returns whether the metadata would refuse the move: while other shards of the blob are missing, a move must not make
/// the blob depend on a single node or host.
fn endangers(view: &MetaView, planned: &Planned) -> KvResult<bool> {
    if planned.lost {
        return Ok(false);
    }
    let mut missing = Vec::new();
    for shard in (0..=u8::MAX).map(ShardNumber).take(planned.blob.placement.len()) {
        if view.is_repair_queued(ShardId { blob: planned.blob.id, shard })? {
            missing.push(shard);
        }
    }
    if missing.is_empty() || missing.contains(&planned.shard) {
        return Ok(false);
    }
    let mut hosts = BTreeMap::new();
    for &node in planned.blob.placement.iter().chain([&planned.to]) {
        hosts.insert(node, view.node(node)?.map(|record| record.host));
    }
    let is_missing = |shard| missing.contains(&shard);
    let host_of = |node: NodeId| hosts.get(&node).copied().flatten();
    Ok(planned.blob.is_endangered_by((planned.shard, planned.to), is_missing, host_of))
}

/// Returns whether enough other shards are available to rebuild this one.
fn can_be_rebuilt(view: &MetaView, health: &NodeHealth, planned: &Planned) -> KvResult<bool> {
    let mut sources = 0;
    for (at, node) in planned.blob.placement.iter().enumerate() {
        let shard = ShardId { blob: planned.blob.id, shard: ShardNumber(at as u8) };
        if shard.shard != planned.shard && health.in_service(*node) && !view.is_repair_queued(shard)? {
            sources += 1;
        }
    }
    Ok(sources >= usize::from(planned.blob.geometry.data))
}
