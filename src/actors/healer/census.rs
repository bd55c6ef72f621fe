//! `RedundancyScanner`: counts how much redundancy is left, blob by blob. A pass goes through all blobs and the repair
//! queue side by side, a page at a time. It publishes how many blobs lack shards, how many have none to spare, and what
//! more may be lost. A shard counts as missing if its repair is queued, if its node does not serve, or if its node is a
//! new drive that was not compared with the metadata yet. The scanner changes nothing.
//!
//! A pass starts over as soon as the set of absent nodes or the layout changes; the counts of an unfinished pass are
//! lower bounds. If the repair queue or the placements have changed since the last pass began, its counts are outdated,
//! and the next pass begins sooner. The scanner also refreshes the metadata's own counters, which need no pass.

use super::status::Rate;
use crate::actors::drives::health::{Contents, NodeHealth};
use crate::actors::peers::{Doubts, Trust};
use crate::actors::upkeep::{Background, Chore, ClusterContext, UpkeepError};
use crate::storage::kv::KvResult;
use crate::storage::meta::record::{BlobRef, Counts, HeldRecord, RepairRow};
use crate::storage::meta::view::MetaView;
use crate::storage::ring::{Losses, most_within};
use crate::types::{BlobId, Epoch, HostId, NodeId, ShardNumber};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The actor that counts each blob's remaining redundancy.
pub type RedundancyScanner = Background<Census>;

/// The number of blobs read per page.
const PAGE: usize = 512;
/// The greatest number of rows of the repair queue that are read for one page of blobs.
const ROWS_MAX: usize = PAGE * 256;
/// The interval between lookups of the metadata's counters.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The rest after a pass, as a multiple of its duration: `REST_FACTOR_BUSY` while shards are missing or the counts are
/// outdated, else `REST_FACTOR`.
const REST_FACTOR_BUSY: u32 = 2;
const REST_FACTOR: u32 = 10;
/// The rest while the counts are outdated ends when nothing has changed for this time, or for the `SETTLED_PART`th part
/// of the duration of a pass if that is longer: repairs and moves may be over.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
const SETTLED_PART: u32 = 8;

/// A number of blobs, and the bytes of their content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub blobs: u64,
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, blob: &BlobRef) {
        self.blobs += 1;
        self.bytes += blob.size_bytes;
    }
}

/// The repair queue and the placements at one moment. If and only if those of two moments are equal, the queue had the
/// same rows at both, and no shard was moved in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    pub length: u64,
    /// The number of rows ever added.
    pub added: u64,
    /// The number of shards ever moved.
    pub moved: u64,
}

impl QueueState {
    pub fn of(counts: &Counts) -> Self {
        Self { length: counts.repairs, added: counts.repairs_ever, moved: counts.moves_ever }
    }
}

/// The counts of a pass over all blobs. Pure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The nodes whose shards the pass counted as missing.
    pub absent: BTreeSet<NodeId>,
    /// The layout that the pass used.
    pub epoch: Epoch,
    /// The repair queue and the placements when the pass began.
    pub queue: QueueState,
    /// True if every blob was counted.
    pub is_complete: bool,
    pub all: Amount,
    pub missing_shards: u64,
    /// The most shards that any one blob lacks.
    pub missing_most: u64,
    /// The blobs that lack at least one shard.
    pub reduced: Amount,
    /// The part of `reduced` that can be read and have no shard to spare.
    pub without_spare: Amount,
    /// The part of `reduced` that cannot be read.
    pub unreadable: Amount,
    /// The further losses that every blob survives; `Losses::NONE` if some blob cannot be read now.
    pub losses: Losses,
    /// The losses that every blob would survive if no shard were missing.
    pub losses_when_whole: Losses,
    /// For each host, the number of blobs that can be read now and could not be without the host.
    pub lost_without: BTreeMap<HostId, u64>,
}

impl Tally {
    pub fn new(absent: BTreeSet<NodeId>, epoch: Epoch, queue: QueueState) -> Self {
        Self {
            absent,
            epoch,
            queue,
            is_complete: false,
            all: Amount::default(),
            missing_shards: 0,
            missing_most: 0,
            reduced: Amount::default(),
            without_spare: Amount::default(),
            unreadable: Amount::default(),
            losses: Losses::ANY,
            losses_when_whole: Losses::ANY,
            lost_without: BTreeMap::new(),
        }
    }

    /// Counts a blob. `queued` are its shards in the repair queue; `places` has the host and the failure domain of each
    /// node.
    pub fn count(&mut self, blob: &BlobRef, queued: &[ShardNumber], places: &BTreeMap<NodeId, (HostId, usize)>) {
        let needed = usize::from(blob.geometry.data);
        let (mut whole, mut left) = (Spread::default(), Spread::default());
        let mut missing = 0;
        for (node, shard) in blob.placement.iter().zip(0u8..) {
            let place = places.get(node);
            place.iter().for_each(|&&(host, domain)| whole.add(*node, host, domain));
            match place {
                Some(&(host, domain)) if !self.absent.contains(node) && !queued.contains(&ShardNumber(shard)) => {
                    left.add(*node, host, domain);
                }
                _ => missing += 1,
            }
        }
        self.all.add(blob);
        self.losses_when_whole = self.losses_when_whole.min(whole.losses(needed));
        self.missing_shards += missing;
        self.missing_most = self.missing_most.max(missing);
        if missing > 0 {
            self.reduced.add(blob);
        }
        if left.shards < needed {
            self.unreadable.add(blob);
            self.losses = Losses::NONE;
            return;
        }
        if missing > 0 && left.shards == needed {
            self.without_spare.add(blob);
        }
        self.losses = self.losses.min(left.losses(needed));
        for (host, _) in left.hosts.iter().filter(|(_, held)| left.shards - **held < needed) {
            *self.lost_without.entry(*host).or_default() += 1;
        }
    }
}

/// The spread of one blob's shards over domains, hosts and drives.
#[derive(Default)]
struct Spread {
    shards: usize,
    nodes: BTreeMap<NodeId, usize>,
    hosts: BTreeMap<HostId, usize>,
    domains: BTreeMap<usize, usize>,
}

impl Spread {
    fn add(&mut self, node: NodeId, host: HostId, domain: usize) {
        self.shards += 1;
        *self.nodes.entry(node).or_default() += 1;
        *self.hosts.entry(host).or_default() += 1;
        *self.domains.entry(domain).or_default() += 1;
    }

    /// Returns the losses after which at least `needed` shards are left.
    fn losses(&self, needed: usize) -> Losses {
        let spare = self.shards.saturating_sub(needed);
        let within = |held: Vec<usize>| most_within(held, spare);
        Losses {
            domains: within(self.domains.values().copied().collect()),
            hosts: within(self.hosts.values().copied().collect()),
            drives: within(self.nodes.values().copied().collect()),
        }
    }
}

/// Returns the nodes whose shards count as missing: nodes that do not serve, and new drives that were not compared yet.
pub fn absent(nodes: impl IntoIterator<Item = NodeId>, health: &NodeHealth, doubts: &Doubts) -> BTreeSet<NodeId> {
    let is_absent = |node: &NodeId| {
        let is_empty = health.state(*node).is_some_and(|state| state.contents == Contents::Empty);
        !health.in_service(*node) || doubts.trust(*node) == Trust::Gone || is_empty
    };
    nodes.into_iter().filter(is_absent).collect()
}

/// The state of redundancy at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The index of the last metadata entry that `counts` include.
    pub as_of: u64,
    /// The metadata's counters; `None` before the first lookup.
    pub counts: Option<Counts>,
    pub held: HeldRecord,
    /// The names of the registered hosts.
    pub hosts: BTreeMap<HostId, String>,
    /// The registered hosts that serve S3.
    pub gateways: BTreeSet<HostId>,
    /// True if this host was removed from its cluster, as far as its tables show.
    pub is_removed: bool,
    /// The counts of the last complete pass, or those of the pass under way if no complete one had the same nodes
    /// absent and the same layout.
    pub tally: Option<Arc<Tally>>,
    /// The counts of the last complete pass, whatever nodes were absent.
    pub earlier: Option<Arc<Tally>>,
    /// The speed at which the cluster's repair queue has shrunk over about the last minute, in shards per 1,000
    /// seconds.
    pub repaired_per_1000_seconds: u64,
}

/// The handle through which other parts read the snapshot. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CensusHandle {
    snapshot: Arc<Mutex<Snapshot>>,
}

impl CensusHandle {
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub struct Census {
    context: ClusterContext,
    handle: CensusHandle,
    pass: Option<Pass>,
    rest: Rest,
    looked_at: Option<Duration>,
    rate: Rate,
}

#[derive(Debug)]
struct Pass {
    tally: Tally,
    places: Arc<BTreeMap<NodeId, (HostId, usize)>>,
    after: Option<BlobId>,
    began: Duration,
}

/// The rest after a pass.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// The end of the last pass.
    since: Duration,
    /// The duration of the last pass.
    pass: Duration,
    /// The time at which the repair queue or the placements were last found changed.
    changed: Duration,
}

impl Rest {
    /// Returns whether the next pass is due. `last` are the counts of the last one, and `queue` is the present state of
    /// the repair queue and the placements.
    fn is_over(&self, last: &Tally, queue: QueueState, now: Duration) -> bool {
        let is_outdated = last.queue != queue;
        let factor = if is_outdated || last.reduced.blobs > 0 { REST_FACTOR_BUSY } else { REST_FACTOR };
        let settled_after = SETTLED_AFTER.max(self.pass / SETTLED_PART);
        let is_rested = now >= self.since + self.pass.saturating_mul(factor).max(LOOK_EVERY);
        let has_emptied_or_filled = (queue.length == 0) != (last.queue.length == 0);
        is_rested || has_emptied_or_filled || (is_outdated && now >= self.changed + settled_after)
    }
}

impl Census {
    pub fn new(context: ClusterContext) -> (Self, CensusHandle) {
        let handle = CensusHandle::default();
        let census = Self {
            context,
            handle: handle.clone(),
            pass: None,
            rest: Rest::default(),
            looked_at: None,
            rate: Rate::default(),
        };
        (census, handle)
    }

    /// Refreshes the counters if that is due, and counts the next page of blobs. Returns whether further pages follow
    /// at once.
    pub async fn advance(&mut self) -> Result<bool, UpkeepError> {
        let view = match self.context.metadata.local() {
            Some(view) => view,
            None => self.context.metadata.read().await?,
        };
        let now = self.context.ambient.clock.monotonic();
        if self.looked_at.is_none_or(|at| now.saturating_sub(at) >= LOOK_EVERY) {
            self.look(view.clone(), now).await?;
            self.looked_at = Some(now);
        }
        self.begin_anew(now);
        let Some(pass) = &self.pass else { return Ok(false) };
        let after = pass.after;
        let page = self.context.off_thread(move || page(&view, after)).await??;
        let Some(pass) = &mut self.pass else { return Ok(false) };
        let mut rows = page.rows.iter().peekable();
        for blob in &page.blobs {
            let mut queued = Vec::new();
            while let Some(row) = rows.next_if(|row| row.blob.id <= blob.id) {
                queued.extend((row.blob.id == blob.id).then_some(row.shard));
            }
            pass.tally.count(blob, &queued, &pass.places);
        }
        pass.after = page.blobs.last().map(|blob| blob.id).or(pass.after);
        pass.tally.is_complete = !page.has_more;
        self.publish(now);
        Ok(page.has_more)
    }

    async fn look(&mut self, view: MetaView, now: Duration) -> Result<(), UpkeepError> {
        let own = self.context.host;
        let look = move || -> KvResult<_> {
            let is_removed = view.removed()?.hosts.contains(&own);
            let as_of = view.applied()?.map_or(0, |applied| applied.index);
            Ok((as_of, view.counts()?, view.held()?, view.hosts()?, view.roles()?, is_removed))
        };
        let (as_of, counts, held, hosts, roles, is_removed) = self.context.off_thread(look).await??;
        let mut snapshot = self.handle.lock();
        if snapshot.counts.as_ref().map(QueueState::of) != Some(QueueState::of(&counts)) {
            self.rest.changed = now;
        }
        let before = snapshot.counts.map_or(0, |counts| counts.repairs);
        self.rate.moved(before.saturating_sub(counts.repairs).saturating_mul(1000), now);
        snapshot.repaired_per_1000_seconds = self.rate.per_second(now);
        (snapshot.as_of, snapshot.counts, snapshot.held) = (as_of, Some(counts), held);
        if is_removed && !snapshot.is_removed {
            tracing::error!("this host was removed from its cluster and serves nothing; stop it");
        }
        snapshot.is_removed = is_removed;
        let gateways = hosts.iter().filter(|host| roles.of(host.id).gateway);
        snapshot.gateways = gateways.map(|host| host.id).collect();
        snapshot.hosts = hosts.into_iter().map(|host| (host.id, host.name)).collect();
        Ok(())
    }

    /// Starts a pass if one is due, or if the absent nodes or the layout are not those of the pass under way or the
    /// last one.
    fn begin_anew(&mut self, now: Duration) {
        let ring = self.context.ring.current();
        let (health, doubts) = (self.context.health.current(), self.context.suspects.current());
        let absent = absent(ring.nodes().iter().map(|node| node.id), &health, &doubts);
        let snapshot = self.handle.lock();
        let queue = snapshot.counts.as_ref().map(QueueState::of).unwrap_or_default();
        let is_same = |tally: &Tally| tally.absent == absent && tally.epoch == ring.epoch();
        let is_due = match (&self.pass, &snapshot.tally) {
            (Some(pass), _) => !is_same(&pass.tally),
            (None, Some(last)) => !is_same(last) || self.rest.is_over(last, queue, now),
            (None, None) => true,
        };
        if is_due {
            let tally = Tally::new(absent, ring.epoch(), queue);
            self.pass = Some(Pass { tally, places: Arc::new(ring.places()), after: None, began: now });
        }
    }

    /// Publishes the counts of the pass under way. An unfinished pass does not replace a complete one with the same
    /// absent nodes and layout.
    fn publish(&mut self, began_step: Duration) {
        let Some(pass) = &self.pass else { return };
        let mut snapshot = self.handle.lock();
        let same = |last: &Arc<Tally>| last.absent == pass.tally.absent && last.epoch == pass.tally.epoch;
        let is_better =
            pass.tally.is_complete || !snapshot.tally.as_ref().is_some_and(|last| same(last) && last.is_complete);
        if is_better {
            snapshot.tally = Some(Arc::new(pass.tally.clone()));
        }
        if pass.tally.is_complete {
            snapshot.earlier = Some(Arc::new(pass.tally.clone()));
        }
        drop(snapshot);
        if pass.tally.is_complete {
            let now = self.context.ambient.clock.monotonic().max(began_step);
            (self.rest.since, self.rest.pass) = (now, now.saturating_sub(pass.began));
            self.pass = None;
        }
    }
}

struct Page {
    blobs: Vec<BlobRef>,
    /// The rows of the repair queue that belong to the page, in order.
    rows: Vec<RepairRow>,
    has_more: bool,
}

fn page(view: &MetaView, after: Option<BlobId>) -> KvResult<Page> {
    let (blobs, next) = view.blobs(after.map(|id| id.to_be_bytes().to_vec()), PAGE)?;
    let has_more = next.is_some();
    let mut rows = Vec::new();
    if let Some(last) = blobs.last().map(|blob| blob.id)
        && view.counts()?.repairs > 0
    {
        rows = view.repairs_through(after.map(|blob| (blob, ShardNumber(u8::MAX))), last, ROWS_MAX)?;
    }
    Ok(Page { blobs, rows, has_more })
}

impl Chore for Census {
    async fn step(&mut self) -> Duration {
        match self.advance().await {
            Ok(true) => Duration::from_millis(if self.context.load.is_busy() { 50 } else { 5 }),
            Ok(false) => LOOK_EVERY,
            Err(error) => {
                tracing::debug!(%error, "cannot count the redundancy; trying again");
                LOOK_EVERY
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, QueueState, Rest, Tally};
    use crate::types::Epoch;
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn a_count_is_repeated_soon_once_it_is_outdated_and_sooner_once_moves_are_over() {
        let at = Duration::from_secs;
        let (counted, moved) = (QueueState::default(), QueueState { moved: 1, ..QueueState::default() });
        let last = Tally::new(BTreeSet::new(), Epoch(1), counted);
        let rest = Rest { since: at(1000), pass: at(160), changed: at(990) };
        let begins = |rest: Rest, last: &Tally, queue: QueueState, second: u64| {
            !rest.is_over(last, queue, at(second - 1)) && rest.is_over(last, queue, at(second))
        };
        assert!(begins(rest, &last, counted, 1000 + 10 * 160), "the count still holds");
        let moving = Rest { changed: at(1310), ..rest };
        assert!(begins(moving, &last, moved, 1000 + 2 * 160), "moves go on");
        let over = Rest { changed: at(1040), ..rest };
        assert!(begins(over, &last, moved, 1040 + 160 / 8), "the last move was a while ago");
        let small = Rest { pass: at(8), changed: at(1003), ..rest };
        assert!(begins(small, &last, moved, 1003 + 10), "a store with a short pass");
        let reduced = Tally { reduced: Amount { blobs: 1, bytes: 1 }, ..last };
        assert!(begins(over, &reduced, counted, 1000 + 2 * 160), "shards are missing");
        let filled = QueueState { length: 1, added: 1, ..counted };
        assert!(rest.is_over(&reduced, filled, at(1001)), "the first repair was queued");
    }
}
