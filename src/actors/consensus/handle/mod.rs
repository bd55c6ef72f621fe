//! The handle by which the rest of the host uses the metadata: it proposes changes, reads, answers other hosts' calls,
//! and reports drives that are lost or come back.

mod compare;
mod forward;
mod inner;
mod lease;
mod members;
mod reads;
mod shared_calls;

pub use compare::keep_comparing;
pub use forward::{forward_permits, proposal_permits};
pub use inner::{GroupId, Inner, Membership};
pub use lease::LeaseTrust;
pub use members::lead_with_tables;
pub use reads::answer_reads;
pub use shared_calls::shared_calls;

use super::apply::{MoveTables, Stop, make_snapshot};
use super::clock::ClusterClock;
use super::network::Kind;
use super::raft_types::LogId;
use super::shared::{Agreement, ReplicaDrive, locked};
use super::to_mirror::ToMirror;
use crate::actors::drives::health::{NodeHealth, ReplicaState};
use crate::limits::GROUP_CALL_BYTES_MAX;
use crate::net::{GroupCall, GroupError};
use crate::storage::meta::configuration::ConfigurationVersion;
use crate::storage::meta::view::MetaView;
use crate::types::{HostId, NodeId};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The handle to the metadata. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct MetaHandle {
    pub(super) inner: Arc<Inner>,
}

impl fmt::Debug for MetaHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaHandle").field("group", &self.inner.group).finish_non_exhaustive()
    }
}

/// The state of this host's replica, for metrics, health and the admin API.
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
    /// The drives of this host whose copy of the log failed. Other drives may have taken their place.
    pub failed_copies: Vec<String>,
    /// The comparison of the other members' replicas with this one.
    pub replicas: BTreeMap<HostId, Agreement>,
}

impl MetaHandle {
    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub fn group(&self) -> GroupId {
        self.inner.group
    }

    /// The cluster's clock, as this host knows it.
    pub fn clock(&self) -> &ClusterClock {
        &self.inner.clock
    }

    /// Returns a view of this host's tables as they are; they may lack changes that are already acknowledged. `None`
    /// while the tables are being rebuilt.
    pub fn local_view(&self) -> Option<MetaView> {
        self.inner.shared.tables.load().as_ref().map(|tables| tables.view())
    }

    /// Returns the last entry that may have changed the configuration in this host's tables; `None` while they are
    /// being rebuilt.
    pub fn local_configuration(&self) -> Option<ConfigurationVersion> {
        self.inner.shared.tables.load().as_ref()?.configuration()
    }

    /// Hands the lead to another voter, if this host leads and there is another voter.
    pub async fn leave_the_lead(&self) {
        if let Err(why) = members::leave_the_lead(&self.inner).await {
            tracing::warn!(why, "this host could not hand over the lead; an election follows");
        }
    }

    /// Answers a call of another host's replica of this group. The transport must have verified that the caller is a
    /// host of the cluster.
    pub async fn serve(&self, call: GroupCall) -> Result<Bytes, GroupError> {
        let inner = &self.inner;
        let refused = |why: String| Err(GroupError::Refused { why });
        if call.group != inner.group.0 {
            return refused(format!("this host has no Raft group {}", call.group));
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
            Kind::Compare => compare::serve(inner, &call.body),
        }
    }

    pub fn membership(&self) -> Membership {
        members::membership(&self.inner)
    }

    /// Reports that a drive of this host is out of service: its copy of the log counts no more, and the tables are
    /// moved to another drive if they are on it.
    pub fn drive_lost(&self, node: NodeId) {
        if let Some(drive) = self.inner.shared.drives().by_node.get_mut(&node) {
            drive.is_out = true;
        }
        let _ = self.inner.mirror.send(ToMirror::DriveLost(node));
        self.inner.actor.do_send(MoveTables(node));
    }

    /// Prepares for the removal of a drive from this host: its copy of the log is made on another drive and then given
    /// up. That is done when `MetaStatus::mirror_members` no longer names the drive.
    pub fn drive_leaves(&self, node: NodeId) {
        let _ = self.inner.mirror.send(ToMirror::DriveLeaves(node));
    }

    /// Reports that a drive, whose copy of the log was given up, is removed from the host. Tables on it stay there: the
    /// drive works, and rebuilding them elsewhere would keep readers waiting. The next start without it rebuilds them
    /// on another drive.
    pub fn drive_retired(&self, node: NodeId) {
        let _ = self.inner.mirror.send(ToMirror::DriveLost(node));
    }

    /// Sets the wanted number of copies of the log, which follows the number of drives. Existing copies are kept.
    pub fn want_copies(&self, copies: usize) {
        let _ = self.inner.mirror.send(ToMirror::WantCopies(copies));
    }

    /// Reports that a drive is new, or present again, emptied or not. It is given a copy of the log if copies are
    /// missing.
    pub fn drive_back(&self, drive: ReplicaDrive) {
        let _ = self.inner.mirror.send(ToMirror::DriveBack(Box::new(drive)));
    }

    /// Writes a snapshot now, whether it is due or not, and drops the log below it. Returns whether it was written.
    pub async fn snapshot_now(&self) -> bool {
        let inner = &self.inner;
        make_snapshot(inner.raft.clone(), Arc::clone(&inner.shared), inner.snapshots.clone()).await
    }

    /// Waits until this host has to rejoin as another member, and returns the reason: it lost entries, a vote or its
    /// tables, or its tables are wrong, while the other hosts have all that it had. The replica has stopped then.
    pub async fn wait_until_superseded(&self) -> String {
        let mut known = self.inner.shared.superseded.subscribe();
        match known.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            _ => std::future::pending().await,
        }
    }

    pub fn status(&self) -> MetaStatus {
        let metrics = self.inner.metrics();
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
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

    /// Returns the state of this host's replica for health. A copy of the log on a drive that takes no writes is not
    /// counted, since it misses new entries.
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

    /// Stops the replica in order: hands the lead to another voter if there is one, refuses further proposals, makes
    /// the tables durable, and closes the copies of the log. Later calls are refused.
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
