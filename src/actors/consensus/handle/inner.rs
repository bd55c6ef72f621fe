//! The parts of the replica that its handle and the answers to other hosts work on.

use super::lease::LeaseTrust;
use super::shared_calls::SharedCalls;
use crate::actors::consensus::apply::ConsensusApply;
use crate::actors::consensus::candidacy::Candidacy;
use crate::actors::consensus::clock::ClusterClock;
use crate::actors::consensus::network::{Hearing, Link, Server};
use crate::actors::consensus::raft_types::MetaGroup;
use crate::actors::consensus::shared::{Others, Shared};
use crate::actors::consensus::state::{MetaRaft, SnapshotStore};
use crate::actors::consensus::to_mirror::ToMirror;
use crate::ambient::Ambient;
use crate::types::HostId;
use actix::Addr;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, mpsc};

/// The number of a Raft group of a host; there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupId(pub u32);

pub struct Inner {
    pub group: GroupId,
    pub actor: Addr<ConsensusApply>,
    pub raft: MetaRaft,
    pub shared: Arc<Shared>,
    pub snapshots: SnapshotStore,
    pub mirror: mpsc::UnboundedSender<ToMirror>,
    /// The bytes of memory that further proposals may take.
    pub permits: Arc<Semaphore>,
    /// The number of further changes that may be sent to another host at once.
    pub forwards: Semaphore,
    /// The calls for read indexes that are sent to a leader on another host.
    pub read_indexes: SharedCalls<Option<u64>>,
    pub lease_trust: Mutex<LeaseTrust>,
    pub link: Link,
    pub hearing: Arc<Hearing>,
    pub server: Server,
    pub others: Arc<Others>,
    pub candidacy: Arc<Candidacy>,
    /// The greatest index that some host is known to have applied.
    pub known_applied: AtomicU64,
    pub clock: ClusterClock,
    pub ambient: Ambient,
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
    /// The future voters, if the joint membership of a change of voters is committed and its final membership is not in
    /// the log yet. Until that is committed, decisions need a majority of both the former and the future voters. The
    /// leader that began the change ends it at once, unless it stops.
    pub unfinished: Option<BTreeSet<HostId>>,
}

/// The host that leads the group, as far as this host knows: where changes and linearizable reads go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    Here,
    There(HostId),
    Unknown,
}

impl Inner {
    pub fn metrics(&self) -> RaftMetrics<MetaGroup> {
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

    /// Returns once this host no longer takes `host` for the leader.
    pub async fn leader_is_other_than(&self, host: HostId) {
        let mut watched = self.raft.server_metrics();
        while self.leader() == Leader::There(host) {
            if WatchReceiver::changed(&mut watched).await.is_err() {
                return;
            }
        }
    }
}
