//! The handle to the metadata for the rest of the host: proposals, lookups, calls of other hosts, and drives that come
//! and go.

use super::apply::{ConsensusApply, MetaRaft, MoveTables, Stop};
use super::clock::ClusterClock;
use super::mirror::ToMirror;
use super::network::{Hearing, Kind, Link, Server};
use super::replicas::{Agreement, Others};
use super::shared::{Shared, locked};
use super::start::ReplicaDrive;
use super::state::SnapshotStore;
use super::{forward, members, reads, replicas};
use crate::actors::drives::health::{NodeHealth, ReplicaState};
use crate::ambient::Ambient;
use crate::limits::GROUP_CALL_BYTES_MAX;
use crate::net::{GroupCall, GroupError};
use crate::storage::meta::command::{Change, Reply, TooLarge};
use crate::storage::meta::configuration::ConfigurationAt;
use crate::storage::meta::view::MetaView;
use crate::types::{HostId, NodeId};
use actix::Addr;
use bytes::Bytes;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The number of a Raft group of a host; there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupId(pub u32);

/// The handle to the metadata. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct MetaHandle {
    pub(super) inner: Arc<Inner>,
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
    /// Changes that may still go to another host.
    pub forwards: Semaphore,
    pub link: Link,
    pub hearing: Arc<Hearing>,
    pub server: Server,
    pub others: Arc<Others>,
    /// The greatest index that some host is known to have applied.
    pub known_applied: AtomicU64,
    pub clock: ClusterClock,
    pub ambient: Ambient,
}

impl fmt::Debug for MetaHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaHandle").field("group", &self.inner.group).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The metadata cannot be reached now. Nothing was changed; try again later.
    #[error("metadata is unavailable: {why}")]
    Unavailable { why: String },
    /// The request cannot be done as it was put, or not now: the reason says which. Nothing was changed.
    #[error("{why}")]
    Refused { why: String },
    /// The outcome of the change is not known.
    #[error("the change was not decided in time; whether it takes effect is not known")]
    TimedOut,
    /// The change was not proposed, and never can be.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Positions and counters, for metrics and health.
#[derive(Clone, Debug, Default)]
pub struct MetaStatus {
    pub is_leader: bool,
    /// The leader, as far as this host knows.
    pub leader: Option<HostId>,
    pub term: u64,
    pub last_log_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    pub snapshot_index: u64,
    pub purged_index: u64,
    pub mirror_generation: u64,
    pub mirror_members: Vec<NodeId>,
    pub out_of_service: Option<String>,
    /// Copies of the log and of snapshots in which scrub found damage that is not repaired yet.
    pub damage: Vec<String>,
    /// Drives of this host whose copy of the log failed. Others may have taken their place.
    pub failed_copies: Vec<String>,
    /// The comparison of the other members' replicas with this one.
    pub replicas: BTreeMap<HostId, Agreement>,
}

/// The members of the group, as this host knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The voters; of both configurations while the voters change.
    pub voters: BTreeSet<HostId>,
    pub learners: BTreeSet<HostId>,
    /// The address of each member.
    pub addresses: BTreeMap<HostId, String>,
    pub leader: Option<HostId>,
    /// True if no change of the membership is under way.
    pub settled: bool,
    /// The voters to be, where a change of the voters is decided, but not yet its end: both sides count until that is decided,
    /// too. Who asked for the change decides its end at once, unless its host has stopped.
    pub unfinished: Option<BTreeSet<HostId>>,
}

/// The destination of a change or of a linearizable read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leader {
    Here,
    There(HostId),
    Unknown,
}

impl Inner {
    pub fn metrics(&self) -> RaftMetrics<super::raft_types::MetaGroup> {
        self.raft.metrics().borrow_watched().clone()
    }

    pub fn leader(&self) -> Leader {
        let own = *self.raft.node_id();
        let watched = self.raft.server_metrics();
        let metrics = watched.borrow_watched();
        match metrics.current_leader {
            _ if metrics.state.is_leader() => Leader::Here,
            Some(leader) if leader != own => Leader::There(HostId(leader)),
            _ if metrics.membership_config.voter_ids().eq(std::iter::once(own)) => Leader::Here,
            _ => Leader::Unknown,
        }
    }

    /// Returns when this host no longer thinks that this one leads.
    pub async fn leader_is_other_than(&self, host: HostId) {
        let mut watched = self.raft.server_metrics();
        while self.leader() == Leader::There(host) {
            if WatchReceiver::changed(&mut watched).await.is_err() {
                return;
            }
        }
    }
}

impl MetaHandle {
    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub fn group(&self) -> GroupId {
        self.inner.group
    }

    /// Decides one change, wherever the leader is, and waits until it is applied there: what is read afterwards on any host
    /// shows it. The time in it is the leader's.
    pub async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        forward::propose(&self.inner, change).await
    }

    /// The time, as this host knows it.
    pub fn clock(&self) -> &ClusterClock {
        &self.inner.clock
    }

    /// A view that shows every change acknowledged before this call, on any host.
    pub async fn read(&self) -> Result<MetaView, MetaError> {
        reads::read(&self.inner).await
    }

    /// The tables here as they are: what others have decided may not be in them yet. `None` while they are being rebuilt.
    pub fn local_view(&self) -> Option<MetaView> {
        self.inner.shared.tables.load().as_ref().map(|tables| tables.view())
    }

    /// The entry that the configuration in the tables here is as of.
    pub fn local_configuration(&self) -> Option<ConfigurationAt> {
        self.inner.shared.tables.load().as_ref()?.configuration()
    }

    /// Gives the lead to another voter, where this host has it and there is one.
    pub async fn leave_the_lead(&self) {
        if let Err(why) = members::leave_the_lead(&self.inner).await {
            tracing::warn!(why, "this host could not hand over the lead; an election follows");
        }
    }

    /// Answers a call of another host's replica of this group. Whoever calls must be known to be a host of the cluster.
    pub async fn serve(&self, call: GroupCall) -> Result<Bytes, GroupError> {
        let inner = &self.inner;
        let refused = |why: String| Err(GroupError::Refused { why });
        if call.group != inner.group.0 {
            return refused(format!("there is no group {} here", call.group));
        }
        if call.body.len() > GROUP_CALL_BYTES_MAX {
            return refused(format!(
                "the call has {} bytes; at most {GROUP_CALL_BYTES_MAX} are taken",
                call.body.len()
            ));
        }
        if let Some(why) = inner.shared.fault() {
            return refused(why);
        }
        let Some(kind) = Kind::from_byte(call.kind) else {
            return refused(format!("call kind {} is not known; does the caller run another version?", call.kind));
        };
        match kind {
            Kind::Append => inner.server.append(&call.body).await,
            Kind::Vote => inner.server.vote(&call.body, false).await,
            Kind::PreVote => inner.server.vote(&call.body, true).await,
            Kind::Transfer => inner.server.transfer(&call.body).await,
            Kind::SnapshotPiece => inner.server.take_piece(&call.body).await,
            Kind::SnapshotInstall => inner.server.install(&call.body),
            Kind::Forward => forward::serve(inner, &call.body).await,
            Kind::ReadIndex => reads::serve(inner, &call.body).await,
            Kind::Steer => members::serve(inner, &call.body).await,
            Kind::Compare => replicas::serve(inner, &call.body),
        }
    }

    /// Adds a host that keeps the metadata and does not vote; it is brought up in the background. Without effect where it
    /// is a member already.
    pub async fn add_learner(&self, host: HostId, address: &str) -> Result<(), MetaError> {
        members::add_learner(&self.inner, host, address).await
    }

    /// Makes exactly these members the voters; former voters stay as learners. Refused while one of them lags far behind.
    pub async fn change_voters(&self, voters: BTreeSet<HostId>) -> Result<(), MetaError> {
        members::change_voters(&self.inner, voters).await
    }

    /// Takes a host out of the group, whether it voted or not.
    pub async fn remove(&self, host: HostId) -> Result<(), MetaError> {
        members::remove(&self.inner, host).await
    }

    pub fn membership(&self) -> Membership {
        members::membership(&self.inner)
    }

    /// Makes another voter the leader; returns when it is, as this host sees it.
    pub async fn transfer_leadership(&self, to: HostId) -> Result<(), MetaError> {
        members::transfer_leadership(&self.inner, to).await
    }

    /// A drive of this host is out of service: its copy of the log counts no more, and the tables leave it.
    pub fn drive_lost(&self, node: NodeId) {
        if let Some(drive) = self.inner.shared.drives().by_node.get_mut(&node) {
            drive.is_out = true;
        }
        let _ = self.inner.mirror.send(ToMirror::DriveLost(node));
        self.inner.actor.do_send(MoveTables(node));
    }

    /// A drive of this host is to be taken out of it: its copy of the log is made on another one, and then given up
    /// (`MetaStatus::mirror_members`).
    pub fn drive_leaves(&self, node: NodeId) {
        let _ = self.inner.mirror.send(ToMirror::DriveLeaves(node));
    }

    /// A drive whose copy of the log was given up is taken out of the host. The tables stay where they are, on it too: it works,
    /// and to make them anew would keep readers waiting. A start without it makes them on another one.
    pub fn drive_retired(&self, node: NodeId) {
        let _ = self.inner.mirror.send(ToMirror::DriveLost(node));
    }

    /// Sets the number of copies of the log that this host keeps: it has more drives than at its start, or fewer. None is given
    /// up for it.
    pub fn want_copies(&self, copies: usize) {
        let _ = self.inner.mirror.send(ToMirror::WantCopies(copies));
    }

    /// Tells the replica of a drive that is new, or present again, emptied or not: it is filled if copies are missing.
    pub fn drive_back(&self, drive: ReplicaDrive) {
        let _ = self.inner.mirror.send(ToMirror::DriveBack(Box::new(drive)));
    }

    /// Writes a snapshot now, whether it is due or not, and lets the log below it go.
    pub async fn snapshot_now(&self) -> bool {
        let inner = &self.inner;
        super::apply::make_snapshot(inner.raft.clone(), Arc::clone(&inner.shared), inner.snapshots.clone()).await
    }

    /// Returns when another host has shown that this one lost what it had, with the reason: it takes no further part as who it
    /// is, and can come back as another member.
    pub async fn superseded(&self) -> String {
        let mut known = self.inner.shared.superseded.subscribe();
        match known.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            _ => std::future::pending().await,
        }
    }

    pub fn status(&self) -> MetaStatus {
        let metrics = self.inner.metrics();
        let index = |id: Option<super::raft_types::LogId>| id.map_or(0, |id| id.index);
        let drives = self.inner.shared.drives();
        let is_followed = self.inner.hearing.is_followed();
        let stopped = metrics.running_state.as_ref().err().map(ToString::to_string);
        MetaStatus {
            is_leader: metrics.state.is_leader() && is_followed,
            leader: metrics.current_leader.filter(|leader| *leader != metrics.id || is_followed).map(HostId),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed_index: index(metrics.local_committed),
            applied_index: index(metrics.last_applied),
            snapshot_index: drives.snapshot.as_ref().map_or(0, |snapshot| snapshot.at.index),
            purged_index: index(metrics.purged),
            mirror_generation: drives.set.generation,
            mirror_members: drives.set.members.iter().copied().collect(),
            out_of_service: self
                .inner
                .shared
                .fault()
                .or(stopped)
                .or_else(|| locked(&self.inner.shared.trouble).clone()),
            damage: locked(&self.inner.shared.damage).values().cloned().collect(),
            failed_copies: locked(&self.inner.shared.failed_copies).values().cloned().collect(),
            replicas: self.inner.others.agreements().into_iter().map(|(id, how)| (HostId(id), how)).collect(),
        }
    }

    /// Returns how much this host's replica can take part. A copy on a drive that takes no writes misses new entries.
    pub fn replica(&self, drives: &NodeHealth) -> ReplicaState {
        let status = self.status();
        ReplicaState {
            copies: status.mirror_members.iter().filter(|node| drives.unwritable(**node).is_none()).count(),
            copies_wanted: self.inner.shared.copies_wanted(),
            applied: status.applied_index,
            is_stuck: self.inner.shared.is_stuck.load(Ordering::Relaxed),
            out_of_service: status.out_of_service,
        }
    }

    /// Gives the lead to another voter where there is one, takes no more proposals, makes what was decided durable, and
    /// releases everything. Calls after it are refused.
    pub async fn shutdown(&self) {
        self.leave_the_lead().await;
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
            let persisting = self.inner.shared.offload.run(move || tables.kv().persist());
            let failed = match timeout(CLOSE_PATIENCE, persisting).await {
                Ok(Ok(Ok(()))) => None,
                Ok(Ok(Err(error))) => Some(error.to_string()),
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("the drive did not answer in {CLOSE_PATIENCE:?}")),
            };
            if let Some(error) = failed {
                tracing::warn!(error, "the metadata tables were not made durable; the log will be replayed");
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

pub(super) fn unavailable(why: impl ToString) -> MetaError {
    MetaError::Unavailable { why: why.to_string() }
}
