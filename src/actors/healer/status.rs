//! `HealStatus` and `HealerHandle`: the state of healing for metrics and the admin API (counts that return to 0 once
//! everything is repaired, progress, remaining time), and the requests for comparisons.

use crate::actors::upkeep::Compares;
use crate::metrics;
use crate::types::{ChunkIndex, NodeId, ShardId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The number of corrupt chunks that are remembered; further ones are not counted until some of these are repaired.
const CORRUPT_MAX: usize = 65_536;
/// The time constant over which speeds are averaged.
const RATE_OVER: Duration = Duration::from_secs(60);

/// The state of healing as this host knows it. Part of messages between hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealStatus {
    /// The number of shards of the whole cluster that are queued for repair, since they are missing or have missing or
    /// corrupt chunks.
    pub missing_shards: u64,
    /// The number of blobs (objects, and parts of objects) of the whole cluster with at least one such shard.
    pub under_replicated_objects: u64,
    /// The number of chunks on this host's drives that failed their checksum and are not rewritten yet.
    pub corrupt_chunks: u64,
    /// The number of orphans on this host's drives that the last comparisons counted and did not drop.
    pub orphaned_shards: u64,
    /// The number of shards on this host's nodes that are queued for repair, which this host repairs.
    pub to_repair_shards: u64,
    /// An upper bound of the bytes of these shards.
    pub to_repair_bytes: u64,
    /// The number of repairs under way.
    pub repairing: u64,
    /// The number of repairs that are put off, since they cannot be done now.
    pub put_off: u64,
    /// The number of shards that were repaired since the start of the process.
    pub repaired_shards: u64,
    /// The approximate bytes of these shards.
    pub repaired_bytes: u64,
    /// The speed of repair over about the last minute.
    pub bytes_per_second: u64,
    /// The time until this host's nodes are whole, at that speed; `None` while nothing is repaired.
    pub eta: Option<Duration>,
    /// The nodes of this host whose comparison with the metadata is not finished.
    pub comparing: Vec<NodeId>,
}

/// The handle to the healer of this host. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct HealerHandle {
    board: Arc<Mutex<Board>>,
}

#[derive(Debug, Default)]
struct Board {
    status: HealStatus,
    /// The nodes whose comparison is requested and not finished, with the number of the last request.
    wanted: BTreeMap<NodeId, u64>,
    requests: u64,
    orphans: BTreeMap<NodeId, u64>,
    corrupt: CorruptChunks,
    rate: Rate,
}

impl Compares for HealerHandle {
    fn compare(&self, node: NodeId) {
        self.reconcile(node);
    }
}

impl HealerHandle {
    /// Requests a comparison of a node of this host with the metadata, after its drive came back or was replaced. The
    /// comparison waits until the ring assigns the node to this host. The request does not survive a restart, which
    /// compares all nodes anyway. A comparison that began before the request does not answer it: what it has passed may
    /// be of the former drive. Request it before the drive is put into service.
    pub fn reconcile(&self, node: NodeId) {
        self.want(|board| {
            board.requests += 1;
            board.wanted.insert(node, board.requests);
        });
    }

    /// Requests a comparison of a node, unless one is requested or under way: asked for again and again, it still ends.
    pub fn reconcile_unless_wanted(&self, node: NodeId) {
        self.want(|board| {
            board.requests += 1;
            board.wanted.entry(node).or_insert(board.requests);
        });
    }

    /// Returns the nodes whose comparison is not finished, with the number of the request.
    pub fn reconciling(&self) -> BTreeMap<NodeId, u64> {
        self.lock().wanted.clone()
    }

    /// Returns whether this is the last request of a comparison of the node, and is not finished.
    pub(super) fn is_wanted(&self, node: NodeId, request: u64) -> bool {
        self.lock().wanted.get(&node) == Some(&request)
    }

    pub fn status(&self) -> HealStatus {
        let board = self.lock();
        let comparing = board.wanted.keys().copied().collect();
        HealStatus { comparing, ..board.status.clone() }
    }

    /// Notes that the comparison of this request is finished. A later request of the node stays.
    pub(super) fn finished(&self, node: NodeId, request: u64) {
        self.want(|board| board.wanted.retain(|wanted, last| (*wanted, *last) != (node, request)));
    }

    fn want(&self, change: impl FnOnce(&mut Board)) {
        let mut board = self.lock();
        change(&mut board);
        metrics::COMPARISONS_DUE.with_label_values::<&str>(&[]).set(as_gauge(board.wanted.len() as u64));
    }

    /// Changes the status and publishes it as metrics.
    pub(super) fn show(&self, change: impl FnOnce(&mut HealStatus)) {
        let mut board = self.lock();
        change(&mut board.status);
        board.publish();
    }

    pub(super) fn orphans(&self, node: NodeId, count: u64) {
        let mut board = self.lock();
        board.orphans.insert(node, count);
        board.publish();
    }

    /// Forgets the counts of the nodes for which the predicate is false.
    pub(super) fn retain_orphans(&self, nodes: impl Fn(NodeId) -> bool) {
        let mut board = self.lock();
        board.orphans.retain(|node, _| nodes(*node));
        board.publish();
    }

    pub(super) fn repaired(&self, bytes: u64, shards: u64, now: Duration) {
        let mut board = self.lock();
        board.status.repaired_shards += shards;
        board.status.repaired_bytes += bytes;
        board.rate.moved(bytes, now);
        board.status.bytes_per_second = board.rate.per_second(now);
        board.status.to_repair_shards = board.status.to_repair_shards.saturating_sub(shards);
        board.status.to_repair_bytes = board.status.to_repair_bytes.saturating_sub(bytes);
        board.publish();
    }

    /// Adds corrupt chunks of this host's drives, whose repair is queued.
    pub(super) fn found_corrupt(&self, chunks: impl IntoIterator<Item = (ShardId, ChunkIndex)>) {
        let mut board = self.lock();
        chunks.into_iter().for_each(|(shard, chunk)| board.corrupt.add(shard, chunk));
        board.publish();
    }

    /// Notes that these shards are in the repair queue.
    pub(super) fn still_queued(&self, shards: impl IntoIterator<Item = ShardId>) {
        let mut board = self.lock();
        shards.into_iter().for_each(|shard| board.corrupt.seen(shard));
    }

    /// Notes the end of a pass over the queue: corrupt chunks of shards that it did not meet are repaired or became
    /// garbage.
    pub(super) fn queue_seen(&self) {
        let mut board = self.lock();
        board.corrupt.pass_over();
        board.publish();
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn publish(&mut self) {
        let status = &mut self.status;
        status.corrupt_chunks = self.corrupt.count as u64;
        status.orphaned_shards = self.orphans.values().sum();
        let is_moving = status.bytes_per_second > 0 && status.to_repair_shards > 0;
        status.eta = match status.to_repair_shards {
            0 => Some(Duration::ZERO),
            _ => is_moving.then(|| Duration::from_secs(status.to_repair_bytes / status.bytes_per_second)),
        };
        let gauges = [
            (&metrics::CORRUPT_CHUNKS, status.corrupt_chunks),
            (&metrics::ORPHANED_SHARDS, status.orphaned_shards),
            (&metrics::REPAIRS_LOCAL, status.to_repair_shards),
            (&metrics::REPAIRS_ACTIVE, status.repairing),
        ];
        for (gauge, value) in gauges {
            gauge.with_label_values::<&str>(&[]).set(as_gauge(value));
        }
        let left = status.eta.map_or(-1, |eta| as_gauge(eta.as_secs()));
        metrics::REPAIR_SECONDS_LEFT.with_label_values::<&str>(&[]).set(left);
    }
}

/// The known corrupt chunks, by shard. They are removed when a whole pass over the queue did not meet their shard.
/// Pure.
#[derive(Debug, Default)]
struct CorruptChunks {
    shards: BTreeMap<ShardId, Corrupt>,
    count: usize,
}

#[derive(Debug)]
struct Corrupt {
    chunks: BTreeSet<ChunkIndex>,
    /// True if the shard was met in the pass under way, or added since that began.
    seen: bool,
}

impl CorruptChunks {
    fn add(&mut self, shard: ShardId, chunk: ChunkIndex) {
        if self.count >= CORRUPT_MAX {
            return;
        }
        let corrupt = self.shards.entry(shard).or_insert_with(|| Corrupt { chunks: BTreeSet::new(), seen: true });
        corrupt.seen = true;
        self.count += usize::from(corrupt.chunks.insert(chunk));
    }

    fn seen(&mut self, shard: ShardId) {
        if let Some(corrupt) = self.shards.get_mut(&shard) {
            corrupt.seen = true;
        }
    }

    fn pass_over(&mut self) {
        self.shards.retain(|_, corrupt| std::mem::take(&mut corrupt.seen));
        self.count = self.shards.values().map(|corrupt| corrupt.chunks.len()).sum();
    }
}

/// A speed in bytes (or other units) per second, as an exponentially weighted average over `RATE_OVER`. Pure.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// The bytes moved until `at`, decayed by their age.
    bytes: f64,
    at: Duration,
}

impl Rate {
    pub(super) fn moved(&mut self, bytes: u64, now: Duration) {
        self.bytes = self.left(now) + bytes as f64;
        self.at = now;
    }

    fn left(&self, now: Duration) -> f64 {
        self.bytes * (-now.saturating_sub(self.at).as_secs_f64() / RATE_OVER.as_secs_f64()).exp()
    }

    pub(super) fn per_second(&self, now: Duration) -> u64 {
        (self.left(now) / RATE_OVER.as_secs_f64()) as u64
    }
}

fn as_gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{CorruptChunks, HealerHandle, Rate};
    use crate::types::{BlobId, ChunkIndex, ShardId, ShardNumber};
    use std::time::Duration;

    fn shard(blob: u128) -> ShardId {
        ShardId { blob: BlobId(blob), shard: ShardNumber(0) }
    }

    #[test]
    fn corrupt_chunks_are_counted_until_their_shard_leaves_the_queue() {
        let mut corrupt = CorruptChunks::default();
        corrupt.add(shard(1), ChunkIndex(3));
        corrupt.add(shard(1), ChunkIndex(3));
        corrupt.add(shard(1), ChunkIndex(4));
        corrupt.add(shard(2), ChunkIndex(0));
        assert_eq!(corrupt.count, 3);
        corrupt.pass_over();
        assert_eq!(corrupt.count, 3, "the pass may have begun before they were queued");
        corrupt.seen(shard(1));
        corrupt.pass_over();
        assert_eq!(corrupt.count, 2, "the pass did not meet shard 2");
        corrupt.pass_over();
        assert_eq!(corrupt.count, 0);
    }

    #[test]
    fn repair_speed_and_time_left_follow_the_repaired_bytes() {
        let mut rate = Rate::default();
        let second = Duration::from_secs(1);
        (0..600).for_each(|at| rate.moved(1000, at * second));
        let steady = rate.per_second(600 * second);
        assert!((950..1050).contains(&steady), "{steady}");
        assert!(rate.per_second(1200 * second) < 10, "nothing was moved for ten minutes");
        let handle = HealerHandle::default();
        handle.show(|status| (status.to_repair_shards, status.to_repair_bytes) = (10, 1_000_000));
        assert_eq!(handle.status().eta, None);
        handle.repaired(600_000, 6, second);
        let status = handle.status();
        assert_eq!((status.to_repair_shards, status.bytes_per_second), (4, 10_000));
        assert_eq!(status.eta, Some(Duration::from_secs(40)));
    }
}
