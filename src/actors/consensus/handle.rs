//! What others hold of the metadata: proposals, lookups, and word of drives that come and go.

use super::apply::{ConsensusApply, MetaRaft, MoveTables, PROPOSAL_PATIENCE, Propose, Stop, Waiter};
use super::mirror::ToMirror;
use super::shared::Shared;
use super::start::ReplicaDrive;
use super::state::SnapshotStore;
use crate::ambient::Ambient;
use crate::storage::meta::command::{Change, Reply};
use crate::storage::meta::view::MetaView;
use crate::types::NodeId;
use actix::Addr;
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// Bytes that proposals may hold in all.
const PROPOSALS_BYTES_MAX: u32 = 64 << 20;
/// What a proposal holds besides its inline bytes, about.
const PROPOSAL_BYTES: u32 = 1024;
/// A read waits this long for a leader, or for tables that are being rebuilt.
const READ_PATIENCE: Duration = Duration::from_secs(10);
const READ_RETRY_PAUSE: Duration = Duration::from_millis(5);
/// The caller's own bound lies after the actor's, which knows more.
const ANSWER_GRACE: Duration = Duration::from_secs(2);
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Which Raft group of a host; there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupId(pub u32);

/// What others hold of the metadata. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct MetaHandle {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub group: GroupId,
    pub actor: Addr<ConsensusApply>,
    pub raft: MetaRaft,
    pub shared: Arc<Shared>,
    pub snapshots: SnapshotStore,
    pub mirror: mpsc::UnboundedSender<ToMirror>,
    /// Bytes that proposals may still hold.
    pub permits: Arc<Semaphore>,
    pub ambient: Ambient,
}

impl fmt::Debug for MetaHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaHandle").field("group", &self.inner.group).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// Nothing was changed; try again later.
    #[error("metadata is unavailable: {why}")]
    Unavailable { why: String },
    /// Whether the change happens is not known.
    #[error("the change was not decided in time")]
    TimedOut,
}

/// Positions and counters, for metrics and health.
#[derive(Clone, Debug, Default)]
pub struct MetaStatus {
    pub is_leader: bool,
    pub term: u64,
    pub last_log_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    pub snapshot_index: u64,
    pub purged_index: u64,
    pub mirror_generation: u64,
    pub mirror_members: Vec<NodeId>,
    pub out_of_service: Option<String>,
}

impl MetaHandle {
    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub fn group(&self) -> GroupId {
        self.inner.group
    }

    /// Decides one change and waits until it is applied here. The leader's time is put in by the actor.
    pub async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        let since = self.inner.ambient.clock.monotonic();
        let bytes = proposal_bytes(&change);
        let permit = Arc::clone(&self.inner.permits).acquire_many_owned(bytes);
        let permit = match timeout(PROPOSAL_PATIENCE, permit).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(unavailable("the store is stopping")),
            Err(_) => return Err(unavailable("too many changes are waiting")),
        };
        let (reply, answer) = oneshot::channel();
        let waiter = Waiter { reply, _permit: permit, since };
        self.inner.actor.do_send(Propose { change, waiter });
        match timeout(PROPOSAL_PATIENCE + ANSWER_GRACE, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(MetaError::TimedOut),
        }
    }

    /// A view that shows every change acknowledged before this call (at the leader, under its lease).
    pub async fn read(&self) -> Result<MetaView, MetaError> {
        let shared = &self.inner.shared;
        if !shared.sole_voter.is_confirmed() {
            timeout(READ_PATIENCE, self.pass_barrier()).await.map_err(|_| unavailable("there is no leader"))??;
        }
        if let Some(tables) = &*shared.tables.load() {
            return Ok(tables.view());
        }
        timeout(READ_PATIENCE, self.wait_for_tables()).await.map_err(|_| unavailable("the tables are being rebuilt"))
    }

    async fn wait_for_tables(&self) -> MetaView {
        let shared = &self.inner.shared;
        loop {
            let changed = shared.tables_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(tables) = &*shared.tables.load() {
                return tables.view();
            }
            changed.await;
        }
    }

    async fn pass_barrier(&self) -> Result<(), MetaError> {
        loop {
            if let Some(why) = self.inner.shared.fault() {
                return Err(MetaError::Unavailable { why });
            }
            match self.inner.raft.ensure_linearizable(ReadPolicy::LeaseRead).await {
                Ok(_) => return Ok(()),
                Err(error) if error.fatal().is_some() => return Err(unavailable(&error.to_string())),
                Err(_) => tokio::time::sleep(READ_RETRY_PAUSE).await,
            }
        }
    }

    /// A drive of this host is out of service: its copy of the log counts no more, and the tables leave it.
    pub fn drive_lost(&self, node: NodeId) {
        let _ = self.inner.mirror.send(ToMirror::DriveLost(node));
        self.inner.actor.do_send(MoveTables(node));
    }

    /// A drive is present again, emptied or not: its copy is filled anew if copies are missing.
    pub fn drive_back(&self, drive: ReplicaDrive) {
        let _ = self.inner.mirror.send(ToMirror::DriveBack(Box::new(drive)));
    }

    /// Writes a snapshot now, whether it is due or not, and lets the log below it go.
    pub async fn snapshot_now(&self) {
        let inner = &self.inner;
        super::apply::make_snapshot(inner.raft.clone(), Arc::clone(&inner.shared), inner.snapshots.clone()).await;
    }

    pub fn status(&self) -> MetaStatus {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let index = |id: Option<super::raft_types::LogId>| id.map_or(0, |id| id.index);
        let drives = self.inner.shared.drives();
        let stopped = metrics.running_state.as_ref().err().map(ToString::to_string);
        MetaStatus {
            is_leader: metrics.state.is_leader(),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed_index: index(metrics.local_committed),
            applied_index: index(metrics.last_applied),
            snapshot_index: drives.snapshot.as_ref().map_or(0, |snapshot| snapshot.at.index),
            purged_index: index(metrics.purged),
            mirror_generation: drives.set.generation,
            mirror_members: drives.set.members.iter().copied().collect(),
            out_of_service: self.inner.shared.fault().or(stopped),
        }
    }

    /// Takes no more proposals, makes what was decided durable, and releases everything. Calls after it are refused.
    pub async fn shutdown(&self) {
        self.inner.permits.close();
        let _ = self.inner.actor.send(Stop).await;
        let _ = timeout(CLOSE_PATIENCE, self.inner.raft.shutdown()).await;
        let (done, closed) = oneshot::channel();
        if self.inner.mirror.send(ToMirror::Close(done)).is_ok() {
            let _ = timeout(CLOSE_PATIENCE, closed).await;
        }
        let tables = self.inner.shared.tables.load_full();
        self.inner.shared.publish(None);
        if let Some(tables) = tables {
            let persisted = self.inner.shared.offload.run(move || tables.kv().persist()).await;
            if let Ok(Err(error)) = persisted {
                tracing::warn!(%error, "the metadata tables were not made durable; the log will be replayed");
            }
        }
        let logs: Vec<_> =
            self.inner.shared.drives().by_node.values_mut().filter_map(|drive| drive.log.take()).collect();
        for log in logs {
            if let Err(error) = log.close().await {
                tracing::warn!(%error, "a copy of the metadata log did not close in order");
            }
        }
    }
}

fn unavailable(why: &str) -> MetaError {
    MetaError::Unavailable { why: why.to_owned() }
}

fn proposal_bytes(change: &Change) -> u32 {
    let inline = match change {
        Change::PutObject(put) => put.inline.as_ref().map_or(0, bytes::Bytes::len),
        Change::DeleteObjects { keys, .. } => keys.iter().map(|(key, _)| key.len() + 64).sum(),
        Change::CompleteUpload(complete) => complete.parts.len() * 64,
        _ => 0,
    };
    u32::try_from(inline).unwrap_or(u32::MAX).saturating_add(PROPOSAL_BYTES).min(PROPOSALS_BYTES_MAX)
}

/// Notes that this host alone decides, if so: the epoch of membership is taken first, the barrier passed, and the
/// membership looked at last.
pub(super) async fn confirm_sole_voter(raft: &MetaRaft, shared: &Shared) {
    let epoch = shared.sole_voter.epoch();
    if raft.ensure_linearizable(ReadPolicy::LeaseRead).await.is_err() {
        return;
    }
    let own = *raft.node_id();
    let alone = raft.with_raft_state(move |state| {
        let effective = state.membership_state.effective();
        effective.voter_ids().eq(std::iter::once(own))
    });
    if alone.await.unwrap_or(false) {
        shared.sole_voter.confirm(epoch);
    }
}

pub(super) fn proposal_permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(PROPOSALS_BYTES_MAX as usize))
}
