//! The state that the parts of one replica share: the log's index, the drives, the place of the tables. Each lock is
//! held for a few memory operations and never across an await; each field says who changes it.

use super::mirror::CopyOpener;
use super::raft_types::LogId;
use crate::actors::log::LogHandle;
use crate::metrics::{MIRROR_COPIES, MIRROR_FAILED};
use crate::storage::disk::Disk;
use crate::storage::kv::KvError;
use crate::storage::meta::MetaTables;
use crate::storage::meta::snapshot::TablesDigest;
use crate::storage::raft_log::{Ballot, History, LogIndex, MirrorSet, Point, Position};
use crate::types::NodeId;
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
/// The interval between checks whether it is.
const LOSS_LOOKUP_PERIOD: Duration = Duration::from_secs(1);

/// The place where blocking work is done: on other threads, so that the replica's thread stays responsive, or inline,
/// where all must run in one thread (the simulation).
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
    /// Present, holds no copy that counts.
    Idle,
    /// Being filled.
    Filling,
    /// Its copy is handed every operation.
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
    /// True if it is out of service for longer than a copy of the log is late: it may never answer.
    pub is_out: bool,
}

impl Drive {
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("meta").join("log")
    }

    pub fn snapshot_dir(&self) -> PathBuf {
        self.dir.join("meta").join("snapshot")
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

/// The drives, and which of them hold the snapshot. The mirror changes roles, the snapshot store what it holds.
#[derive(Debug)]
pub struct Drives {
    pub by_node: BTreeMap<NodeId, Drive>,
    pub set: MirrorSet,
    /// The snapshot that stands, and where it is.
    pub snapshot: Option<StandingSnapshot>,
}

/// Work that waited for a drive was given up.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the drive that is waited for is out of service")]
pub struct LostDrive;

impl From<LostDrive> for KvError {
    fn from(lost: LostDrive) -> Self {
        Self { doing: "wait for their drive", cause: lost.to_string() }
    }
}

impl From<LostDrive> for io::Error {
    fn from(lost: LostDrive) -> Self {
        Self::other(lost)
    }
}

#[derive(Clone, Debug)]
pub struct StandingSnapshot {
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

/// The state in which this host is the only voter, so that its own tables show everything that was ever acknowledged.
///
/// Proof: every acknowledgement comes from the state machine of a leader after it applied the entry; while the only voter is
/// this host, the only leader is, too, and its state machine is these tables. What was acknowledged before this process
/// began is applied when a read barrier has been passed once. Another voter can only come by an entry of membership that
/// is appended to this log first: `note_members` is called before that entry leaves for any drive or host.
#[derive(Debug, Default)]
pub struct SoleVoter {
    /// Counts entries of membership.
    epoch: AtomicU64,
    /// The epoch (plus one) in which the barrier was passed with this host as the only voter.
    confirmed: AtomicU64,
}

impl SoleVoter {
    pub fn note_members(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Notes that the barrier was passed, and that this host alone is the membership that took effect in this epoch,
    /// read before.
    pub fn confirm(&self, epoch: u64) {
        self.confirmed.store(epoch + 1, Ordering::SeqCst);
    }

    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::SeqCst) == self.epoch() + 1
    }
}

/// A part of the metadata on a drive besides the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CopyPart {
    Log(NodeId),
    Snapshot(NodeId),
}

/// The digest of the tables of a replica that has applied the entries up to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestAt {
    pub point: Point,
    pub digest: TablesDigest,
}

/// The digest that is computed at present, and the last one that was.
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
    /// The reason for which this host has to rejoin as another member: another host showed that it lost entries or a
    /// vote.
    pub superseded: watch::Sender<Option<String>>,
    /// The reason for which there are no tables at present.
    pub trouble: Mutex<Option<String>>,
    /// True while this host leads and commits none of the waiting entries.
    pub is_stuck: AtomicBool,
    /// The number of snapshots whose writing began.
    pub snapshot_attempts: AtomicU64,
    /// The damage that scrub found last, and that is not repaired yet.
    pub damage: Mutex<BTreeMap<CopyPart, String>>,
    pub digests: Mutex<Digests>,
    /// Drives whose copy of the log failed, and why, until they may have one again.
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

    /// The last entry that is applied here or known to be decided: up to it nothing may ever change.
    pub fn settled(&self) -> Option<Position> {
        let applied = self.history().last().map(|point| point.at);
        let committed = self.index().standing().committed;
        applied.into_iter().chain(committed).max_by_key(|at| at.index)
    }

    /// Gives work up that is held up by a drive, one of these, which went out of service: it may never answer. What the work
    /// still does there must do no harm: tables and drafts of snapshots have a name each that no other takes.
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

    /// Names a drive whose copy of the log failed: another may take its place, and only this tells of the drive.
    pub fn note_failed_copy(&self, node: NodeId, why: &str) {
        let dir = self.drives().by_node.get(&node).map(|drive| drive.dir.display().to_string()).unwrap_or_default();
        tracing::warn!(%node, dir, why, "the copy of the metadata log on a drive failed");
        MIRROR_FAILED.with_label_values(&[&node.to_string()]).set(1);
        let words = format!("the copy of the metadata log on drive {node} ({dir}) failed: {why}");
        locked(&self.failed_copies).insert(node, words);
    }

    /// The drive has a copy again, or may have one.
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

    pub fn fault(&self) -> Option<String> {
        locked(&self.fault).clone()
    }

    pub fn set_trouble(&self, why: String) {
        let news = locked(&self.trouble).replace(why.clone()).is_none();
        if news {
            tracing::error!(%why, "the metadata replica has no tables for now");
        }
    }

    pub fn publish(&self, tables: Option<MetaTables>) {
        if tables.is_some() {
            *locked(&self.trouble) = None;
        }
        self.tables.store(tables.map(Arc::new));
        self.tables_changed.notify_waiters();
    }
}

/// Locks a mutex. A panic elsewhere does not make what the lock protects wrong: it is changed in one step everywhere.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
