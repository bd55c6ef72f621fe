//! The state that the parts of one replica share: the index of the log, the drives, the tables. Each lock is held for a
//! few memory operations and never across an await.

mod absence;
mod entries;
mod error;
mod others;

pub use absence::Absence;
pub use entries::{is_damaged_entry, read_entries};
pub use error::{MetaError, unavailable};
pub use others::{Agreement, DurableState, Others, lost};

use super::raft_types::LogId;
use crate::actors::log::{LogHandle, Threads};
use crate::ambient::Ambient;
use crate::metrics::{MIRROR_COPIES, MIRROR_FAILED};
use crate::storage::buffer::BufferPool;
use crate::storage::disk::Disk;
use crate::storage::kv::KvError;
use crate::storage::meta::MetaTables;
use crate::storage::meta::snapshot::TablesDigest;
use crate::storage::raft_log::{AppliedAt, Ballot, History, LogIndex, MirrorSet, Point, Position};
use crate::storage::wal::{Durability, ReplayRule};
use crate::types::{ClusterId, NodeId};
use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The longest time for which a drive that is out of service may hold up work.
const LOST_DRIVE_PATIENCE: Duration = Duration::from_secs(10);
/// The interval between checks whether a drive that holds up work is out of service.
const LOSS_LOOKUP_PERIOD: Duration = Duration::from_secs(1);

/// Options for opening log copies.
#[derive(Clone, Debug)]
pub struct CopyOpener {
    pub cluster: ClusterId,
    pub ambient: Ambient,
    pub pool: BufferPool,
    pub durability: Durability,
    pub segment_bytes: u32,
    pub threads: Threads,
    /// The replay rule for copies already on a drive.
    pub replay: ReplayRule,
}

/// Where blocking work is done: on other threads, so that the replica's thread stays responsive, or on the replica's
/// own thread, in a simulation that must run in one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    Threads,
    InPlace,
}

impl Offload {
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        match self {
            Self::InPlace => Ok(work()),
            Self::Threads => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
        }
    }
}

/// The role of a drive for the mirrored log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveRole {
    /// The drive is present and holds no copy of the log that is in use.
    Idle,
    /// A copy of the log is being written to the drive.
    Filling,
    /// The drive's copy is complete and receives every operation on the log.
    Live,
    /// Failed or gone.
    Lost,
}

/// One drive of this host.
#[derive(Clone, Debug)]
pub struct Drive {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub log: Option<LogHandle>,
    pub role: DriveRole,
    /// True if the host has reported the drive out of service: it may never answer again.
    pub is_out: bool,
}

impl Drive {
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("meta").join("log")
    }

    pub fn snapshot_dir(&self) -> PathBuf {
        self.dir.join("meta").join("snapshot")
    }

    /// Returns the path of a snapshot that is received from another host.
    pub fn incoming_file(&self) -> PathBuf {
        self.dir.join("meta").join("incoming").join("snapshot")
    }

    pub fn mirror_file(&self) -> PathBuf {
        mirror_file(&self.dir)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }
}

pub fn mirror_file(dir: &Path) -> PathBuf {
    dir.join("meta").join("mirror")
}

/// A drive of this host that is present.
#[derive(Clone, Debug)]
pub struct ReplicaDrive {
    pub node: NodeId,
    pub disk: Arc<dyn Disk>,
    /// The drive's own directory; the replica uses `meta/` and `state/` in it.
    pub dir: PathBuf,
}

impl ReplicaDrive {
    pub fn into_idle(self) -> Drive {
        Drive { disk: self.disk, dir: self.dir, log: None, role: DriveRole::Idle, is_out: false }
    }
}

/// The drives of this host, and which of them hold the current snapshot. The mirror task changes the roles, the
/// snapshot store changes the snapshot.
#[derive(Debug)]
pub struct Drives {
    pub by_node: BTreeMap<NodeId, Drive>,
    pub set: MirrorSet,
    /// The current snapshot, and the drives that hold it.
    pub snapshot: Option<CurrentSnapshot>,
    /// The drives whose copies could not be used at the start, with their open logs. The mirror takes them out.
    pub lost_at_start: BTreeMap<NodeId, (Absence, Option<LogHandle>)>,
}

/// Returns the error of work on a drive that was removed or replaced meanwhile.
pub fn no_longer_here(node: NodeId) -> String {
    format!("drive {node} is no longer one of this host's drives")
}

/// Work was given up because a drive that it used went out of service.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the work was given up, as its drive is out of service")]
pub struct LostDrive;

impl From<LostDrive> for KvError {
    fn from(lost: LostDrive) -> Self {
        Self::new("wait for their drive", lost.to_string())
    }
}

impl From<LostDrive> for io::Error {
    fn from(lost: LostDrive) -> Self {
        Self::other(lost)
    }
}

/// The current snapshot: its last entry, its size, and the drives that hold it.
#[derive(Clone, Debug)]
pub struct CurrentSnapshot {
    pub at: LogId,
    pub bytes: u64,
    pub holders: BTreeSet<NodeId>,
}

impl Drives {
    pub fn with_role(&self, role: DriveRole) -> impl Iterator<Item = (NodeId, &Drive)> + '_ {
        self.by_node.iter().filter(move |(_, drive)| drive.role == role).map(|(node, drive)| (*node, drive))
    }

    pub fn live(&self) -> BTreeSet<NodeId> {
        self.with_role(DriveRole::Live).map(|(node, _)| node).collect()
    }

    pub fn is_lost(&self, node: NodeId) -> bool {
        self.by_node.get(&node).is_none_or(|drive| drive.role == DriveRole::Lost)
    }

    pub fn set_role(&mut self, node: NodeId, role: DriveRole) {
        if let Some(drive) = self.by_node.get_mut(&node) {
            drive.role = role;
            if role != DriveRole::Live {
                drive.log = None;
            }
        }
        if let Some(snapshot) = &mut self.snapshot
            && role == DriveRole::Lost
        {
            snapshot.holders.remove(&node);
        }
    }

    /// Returns whether the current snapshot, if any, is on this drive.
    pub fn holds_snapshot(&self, node: NodeId) -> bool {
        self.snapshot.as_ref().is_none_or(|snapshot| snapshot.holders.contains(&node))
    }
}

/// Knows whether this host is the only voter. If so, its own tables show every acknowledged change, and reads need no
/// barrier.
///
/// Proof: a leader acknowledges a change after its own state machine has applied it. While this host is the only voter,
/// it is the only possible leader, and its state machine fills these tables. Changes acknowledged before this process
/// began are applied once a read barrier has been passed. Another voter needs a membership entry, which this host
/// appends to its own log first; `note_members` is called before that entry is sent to any drive or host.
#[derive(Debug, Default)]
pub struct SoleVoter {
    /// Counts the events after which another host may be a voter or lead: membership entries, votes for other hosts,
    /// truncations and installed snapshots.
    epoch: AtomicU64,
    /// The epoch (plus one) in which this host was confirmed as the only voter; 0 if it never was.
    confirmed: AtomicU64,
}

impl SoleVoter {
    pub fn note_members(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Notes that this host is the only voter in `epoch`: the caller has read the epoch, then passed the barrier, and
    /// then seen a membership with this host as the only voter.
    pub fn confirm(&self, epoch: u64) {
        self.confirmed.store(epoch + 1, Ordering::SeqCst);
    }

    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::SeqCst) == self.epoch() + 1
    }
}

/// A copy of the metadata log or of the snapshot, by the drive that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CopyPart {
    Log(NodeId),
    Snapshot(NodeId),
}

/// The digest of a replica's tables as they are after the entries up to `point`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestAt {
    pub point: Point,
    pub digest: TablesDigest,
}

/// The point whose digest is being computed, and the last digest that was computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Digests {
    pub wanted: Option<Point>,
    pub last: Option<DigestAt>,
}

#[derive(Debug)]
pub struct Shared {
    /// The id of this host, as openraft names it.
    pub host: u64,
    pub index: Mutex<LogIndex>,
    /// The last vote that is on stable storage.
    pub durable_ballot: Mutex<Option<Ballot>>,
    /// The history of entries in the tables; the state machine adds to it after each commit.
    pub history: Mutex<History>,
    pub drives: Mutex<Drives>,
    /// `None` while the tables are being rebuilt; the state machine sets it.
    pub tables: ArcSwapOption<MetaTables>,
    pub tables_changed: Notify,
    pub sole_voter: SoleVoter,
    /// The reason for which the replica cannot continue.
    pub fault: Mutex<Option<String>>,
    /// The reason for which this host has to rejoin as another member: it lost entries, a vote or its tables, or its
    /// tables are wrong, while the other hosts have all that it had.
    pub superseded: watch::Sender<Option<String>>,
    /// True if other hosts vote, by what the tables have applied.
    pub has_others: AtomicBool,
    /// The reason for which there are no tables at present.
    pub trouble: Mutex<Option<String>>,
    /// True while this host leads and commits none of the waiting entries.
    pub is_stuck: AtomicBool,
    /// True if a snapshot is to be made although none is due: the current one is whole on no drive.
    pub wants_snapshot: AtomicBool,
    /// The number of attempts to write or copy a snapshot so far.
    pub snapshot_attempts: AtomicU64,
    /// The damage that scrub has found and that is not repaired yet.
    pub damage: Mutex<BTreeMap<CopyPart, String>>,
    pub digests: Mutex<Digests>,
    /// The drives whose copy of the log failed, and why. A drive is removed when it may hold a copy again, or is out of
    /// service or retired.
    pub failed_copies: Mutex<BTreeMap<NodeId, String>>,
    pub opener: CopyOpener,
    pub offload: Offload,
    /// The number of copies of the log that this host keeps; the mirror sets it.
    pub copies_wanted: AtomicUsize,
}

impl Shared {
    pub fn index(&self) -> MutexGuard<'_, LogIndex> {
        locked(&self.index)
    }

    pub fn drives(&self) -> MutexGuard<'_, Drives> {
        locked(&self.drives)
    }

    /// Sets and publishes the number of copies of the log that this host keeps.
    pub fn want_copies(&self, copies: usize) {
        self.copies_wanted.store(copies.max(1), Ordering::Relaxed);
        MIRROR_COPIES.with_label_values(&["wanted"]).set(i64::try_from(copies).unwrap_or(i64::MAX));
    }

    pub fn copies_wanted(&self) -> usize {
        self.copies_wanted.load(Ordering::Relaxed)
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        locked(&self.history)
    }

    /// Returns the last entry that is applied here or known to be committed. Entries up to it must never change.
    pub fn settled(&self) -> Option<Position> {
        let applied = self.history().last().map(|point| point.at);
        let committed = self.index().standing().committed;
        applied.into_iter().chain(committed).max_by_key(|at| at.index)
    }

    /// Runs `work`, and gives it up if one of these drives is out of service and may never answer. The work may go on
    /// in its thread all the same, so it must do no harm later: tables and drafts of snapshots have names that are
    /// never reused.
    pub async fn unless_lost<T>(&self, nodes: &[NodeId], work: impl Future<Output = T>) -> Result<T, LostDrive> {
        let is_out = |node: &NodeId| self.drives().by_node.get(node).is_none_or(|drive| drive.is_out);
        let is_lost = async {
            tokio::time::sleep(LOST_DRIVE_PATIENCE).await;
            while !nodes.iter().any(is_out) {
                tokio::time::sleep(LOSS_LOOKUP_PERIOD).await;
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = is_lost => Err(LostDrive),
        }
    }

    /// Reports a drive whose copy of the log failed, in the log, the metrics and the status. Another drive may take its
    /// place, and then nothing else shows that this one failed.
    pub fn note_failed_copy(&self, node: NodeId, why: &str) {
        let dir = self.drives().by_node.get(&node).map(|drive| drive.dir.display().to_string()).unwrap_or_default();
        tracing::warn!(%node, dir, why, "the copy of the metadata log on a drive failed");
        MIRROR_FAILED.with_label_values(&[&node.to_string()]).set(1);
        let words = format!("the copy of the metadata log on drive {node} ({dir}) failed: {why}");
        locked(&self.failed_copies).insert(node, words);
    }

    /// Withdraws the report of `note_failed_copy`: the drive has a copy again, may be given one, is out of service or
    /// is retired.
    pub fn forget_failed_copy(&self, node: NodeId) {
        if locked(&self.failed_copies).remove(&node).is_some() {
            MIRROR_FAILED.with_label_values(&[&node.to_string()]).set(0);
        }
    }

    /// Sets the reason for which the replica cannot continue; the first one stays.
    pub fn set_fault(&self, why: String) {
        tracing::error!(%why, "the metadata replica is out of service");
        locked(&self.fault).get_or_insert(why);
    }

    /// Stops the replica because its log is damaged on every drive where it is needed. A host of several rejoins as
    /// another member: other hosts have what it had.
    pub fn give_up(&self, why: String) {
        self.set_fault(why.clone());
        if self.has_others.load(Ordering::Relaxed) {
            self.superseded.send_replace(Some(why));
        }
    }

    /// Notes whether other hosts vote, after entries were applied.
    pub fn note_group(&self, applied: &AppliedAt) {
        self.has_others.store(applied.members.has_other_voter(self.host), Ordering::Relaxed);
    }

    pub fn fault(&self) -> Option<String> {
        locked(&self.fault).clone()
    }

    pub fn set_trouble(&self, why: String) {
        let news = locked(&self.trouble).replace(why.clone()).is_none();
        if news {
            tracing::error!(%why, "the metadata replica has no tables for now");
        }
    }

    /// Has a snapshot of the tables made soon, in place of the current one, which is damaged.
    pub fn want_snapshot(&self) {
        self.wants_snapshot.store(true, Ordering::Relaxed);
    }

    pub fn publish(&self, tables: Option<MetaTables>) {
        if tables.is_some() {
            *locked(&self.trouble) = None;
        }
        self.tables.store(tables.map(Arc::new));
        self.tables_changed.notify_waiters();
    }
}

/// Locks a mutex, even if a thread has panicked while it held the lock: every change under these locks is one step, so
/// no panic leaves it half done.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
