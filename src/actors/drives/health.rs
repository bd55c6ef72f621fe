//! The health of all nodes and hosts that this host knows, with reasons. The drive monitor, failed logs, the healer and
//! the watch over other hosts publish it; every request reads it. Readers take a snapshot and never wait.

use crate::storage::disk::Space;
use crate::types::{HostId, NodeId, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// The free space of a drive in levels, by `SPACE_WARN_PERCENT` and `SPACE_REFUSE_PERCENT`. Sent between hosts:
/// append only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SpaceLevel {
    #[default]
    Ample,
    /// Below the warning level: compaction runs more eagerly.
    Low,
    /// Below the refusal level: no new shards are written to the drive.
    Exhausted,
}

/// Whether a node was compared with the metadata, so that it holds the shards that the metadata places on it. Sent
/// between hosts: append only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contents {
    /// Compared with the metadata since its host started; the shards that it lacks are queued for repair.
    #[default]
    Compared,
    /// Not compared yet since its host started.
    Uncompared,
    /// A new drive in the place of another, not compared yet: it lacks all shards of the former one.
    Empty,
}

/// A mark on a drive that was closed so that another can take its place. Cheap to clone; all clones are one mark.
#[derive(Clone, Debug, Default)]
pub struct Retired(Arc<AtomicBool>);

impl Retired {
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The state of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// The reason why the node is out of service; `None` while it serves.
    pub out_of_service: Option<String>,
    /// The reason why the node takes no writes although it serves reads.
    pub unwritable: Option<String>,
    /// The error of the last trial write; `None` if that succeeded. Known for this host's nodes only.
    pub trial_write_failed: Option<String>,
    /// The state of the node's index while that is damaged; `None` while it is whole. Known for this host's nodes only.
    pub index_damaged: Option<String>,
    /// True if the node went out of service because its drive did not answer, and the drive answers now: it can be used
    /// again after a restart of its host.
    pub answers_again: bool,
    pub space: Option<Space>,
    pub level: SpaceLevel,
    pub contents: Contents,
    /// The index of the metadata entry by which all repairs of its missing shards are queued; valid if `contents` is
    /// `Compared`.
    pub compared_at: u64,
    /// The directory of the drive; empty if not known.
    pub dir: String,
}

/// The state of another host, from its last answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    /// True if the host answered the last probe.
    pub answers: bool,
    /// True if its process is about to end.
    pub stopping: bool,
    /// The version of its binary and the start of its process by its own clock, from its last answer; empty and zero
    /// before the first.
    pub version: String,
    pub started: UnixMs,
    /// The state of its metadata replica, from its last answer.
    pub replica: ReplicaState,
    /// The hosts that it hears, from its last answer.
    pub hears: BTreeSet<HostId>,
}

impl HostState {
    pub fn is_up(&self) -> bool {
        self.answers && !self.stopping
    }
}

/// The state of a host's replica of the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaState {
    /// The number of drives with a whole copy of its Raft log.
    pub copies: usize,
    /// The number of copies of the Raft log that it should have.
    pub copies_wanted: usize,
    /// The index of the last entry that it has applied.
    pub applied: u64,
    /// True if it leads and has committed nothing for seconds although changes wait.
    pub is_stuck: bool,
    /// The reason why the replica takes no part in the group; `None` while it does.
    pub out_of_service: Option<String>,
}

impl ReplicaState {
    /// Limits `copies_wanted` to the number of the host's drives. `drives` includes lost drives but not removed ones.
    pub fn on(self, drives: usize) -> Self {
        Self { copies_wanted: self.copies_wanted.min(drives), ..self }
    }
}

/// The state of the nodes of all hosts, and of the other hosts, at one moment. A node that is not listed counts as
/// healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeHealth {
    nodes: BTreeMap<NodeId, NodeState>,
    /// Drives that this host had at its start and that were removed since.
    dismissed: BTreeSet<NodeId>,
    /// The other hosts that were probed at least once.
    hosts: BTreeMap<HostId, HostState>,
}

impl NodeHealth {
    /// Returns the state of another host; `None` if it was not probed yet.
    pub fn host(&self, host: HostId) -> Option<&HostState> {
        self.hosts.get(&host)
    }

    /// Returns the other hosts that are up, as far as this host knows.
    pub fn hosts_up(&self) -> BTreeSet<HostId> {
        self.hosts.iter().filter(|(_, state)| state.is_up()).map(|(host, _)| *host).collect()
    }

    pub fn state(&self, node: NodeId) -> Option<&NodeState> {
        self.nodes.get(&node)
    }

    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeState)> {
        self.nodes.iter().map(|(&id, state)| (id, state))
    }

    /// Returns whether shards can be read from the node.
    pub fn in_service(&self, node: NodeId) -> bool {
        self.why_not(node).is_none()
    }

    /// Returns whether new shards can be written to the node.
    pub fn accepts_writes(&self, node: NodeId) -> bool {
        let accepts = |state: &NodeState| {
            state.out_of_service.is_none() && state.unwritable.is_none() && state.level < SpaceLevel::Exhausted
        };
        self.nodes.get(&node).is_none_or(accepts)
    }

    /// Returns the reason why the node takes no writes although it serves reads.
    pub fn unwritable(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node)?.unwritable.as_deref()
    }

    /// Returns whether background jobs may append to the node's log. An append that fails takes the node out of
    /// service, and with it all shards that it still serves. A full node accepts upkeep, which frees its space.
    pub fn accepts_upkeep(&self, node: NodeId) -> bool {
        self.in_service(node) && self.trial_write_failed(node).is_none()
    }

    /// Returns the error of the node's last trial write; `None` if that succeeded, and for nodes of other hosts.
    pub fn trial_write_failed(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node)?.trial_write_failed.as_deref()
    }

    /// Returns whether the node was removed from this host; it has no state then.
    pub fn is_dismissed(&self, node: NodeId) -> bool {
        self.dismissed.contains(&node)
    }

    /// Returns the reason why the node is out of service; `None` while it serves.
    pub fn why_not(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node)?.out_of_service.as_deref()
    }
}

/// The board on which health is published. Cheap to clone; all clones are one board.
#[derive(Clone, Debug)]
pub struct HealthBoard {
    current: Arc<watch::Sender<Arc<NodeHealth>>>,
}

impl HealthBoard {
    /// Returns a board on which these nodes are in service.
    pub fn new(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node, NodeState::default())).collect();
        Self { current: Arc::new(watch::Sender::new(Arc::new(NodeHealth { nodes, ..NodeHealth::default() }))) }
    }

    pub fn current(&self) -> Arc<NodeHealth> {
        Arc::clone(&self.current.borrow())
    }

    /// Returns a receiver that wakes on each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<NodeHealth>> {
        self.current.subscribe()
    }

    /// Changes the state of a node. Returns whether the state differs afterwards; only then subscribers wake.
    pub fn update(&self, node: NodeId, change: impl FnOnce(&mut NodeState)) -> bool {
        self.current.send_if_modified(|health| {
            if health.dismissed.contains(&node) {
                return false;
            }
            let mut state = health.nodes.get(&node).cloned().unwrap_or_default();
            change(&mut state);
            if health.nodes.get(&node) == Some(&state) {
                return false;
            }
            let mut next = NodeHealth::clone(health);
            next.nodes.insert(node, state);
            *health = Arc::new(next);
            true
        })
    }

    /// Records the state of another host.
    pub fn note_host(&self, host: HostId, state: HostState) {
        self.current.send_if_modified(|health| {
            if health.host(host) == Some(&state) {
                return false;
            }
            let mut next = NodeHealth::clone(health);
            next.hosts.insert(host, state);
            *health = Arc::new(next);
            true
        });
    }

    /// Forgets the hosts for which the predicate is false.
    pub fn retain_hosts(&self, hosts: impl Fn(HostId) -> bool) {
        self.current.send_if_modified(|health| {
            if health.hosts.keys().all(|&host| hosts(host)) {
                return false;
            }
            let mut next = NodeHealth::clone(health);
            next.hosts.retain(|&host, _| hosts(host));
            *health = Arc::new(next);
            true
        });
    }

    /// Removes a node of this host from the board for good: later updates of it are ignored.
    pub fn dismiss(&self, node: NodeId) {
        self.current.send_modify(|health| {
            let mut next = NodeHealth::clone(health);
            next.nodes.remove(&node);
            next.dismissed.insert(node);
            *health = Arc::new(next);
        });
    }

    /// Takes a node out of service until its drive is replaced or its host restarts. If it is out of service already,
    /// the first reason stays. Returns whether it was in service.
    pub fn take_out(&self, node: NodeId, why: &str) -> bool {
        self.update(node, |state| {
            state.out_of_service.get_or_insert_with(|| why.to_owned());
        })
    }

    /// Like `take_out`, for the failure of one drive. Without effect once that drive is retired, since another drive
    /// then has its node id.
    pub fn take_out_drive(&self, node: NodeId, retired: &Retired, why: &str) -> bool {
        self.update(node, |state| {
            if !retired.is_set() {
                state.out_of_service.get_or_insert_with(|| why.to_owned());
            }
        })
    }

    /// Puts a node with a new drive into service. The state of the former drive is forgotten, except for the directory.
    pub fn put_in(&self, node: NodeId, contents: Contents) {
        self.update(node, |state| {
            let dir = std::mem::take(&mut state.dir);
            *state = NodeState { contents, dir, ..NodeState::default() };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Contents, HealthBoard, Retired, SpaceLevel};
    use crate::types::NodeId;

    #[test]
    fn a_node_taken_out_of_service_stays_out_with_its_first_reason() {
        let board = HealthBoard::new([NodeId(1), NodeId(2)]);
        assert!(board.take_out(NodeId(1), "sync failed"));
        assert!(!board.take_out(NodeId(1), "directory is gone"));
        let health = board.current();
        assert_eq!(health.why_not(NodeId(1)), Some("sync failed"));
        assert!(health.in_service(NodeId(2)));
        assert!(health.in_service(NodeId(9)) && health.accepts_writes(NodeId(9)), "an unknown node counts as healthy");
    }

    #[test]
    fn a_late_failure_of_a_replaced_drive_does_not_take_out_its_successor() {
        let board = HealthBoard::new([NodeId(1)]);
        let retired = Retired::default();
        assert!(board.take_out_drive(NodeId(1), &retired, "sync failed"));
        retired.set();
        board.put_in(NodeId(1), Contents::Empty);
        assert!(!board.take_out_drive(NodeId(1), &retired, "write failed"));
        let health = board.current();
        assert!(health.in_service(NodeId(1)));
        assert_eq!(health.state(NodeId(1)).map(|state| state.contents), Some(Contents::Empty));
    }

    #[test]
    fn a_dismissed_node_does_not_return_to_the_health_board() {
        let board = HealthBoard::new([NodeId(1), NodeId(2)]);
        board.take_out(NodeId(1), "its directory is gone");
        board.dismiss(NodeId(1));
        assert!(!board.take_out(NodeId(1), "it does not answer"), "a late failure of a dismissed node changes nothing");
        let health = board.current();
        assert!(health.is_dismissed(NodeId(1)) && !health.is_dismissed(NodeId(2)));
        assert_eq!((health.state(NodeId(1)), health.why_not(NodeId(1))), (None, None));
    }

    #[test]
    fn a_node_whose_trial_write_failed_serves_and_accepts_no_upkeep() {
        let board = HealthBoard::new([NodeId(1)]);
        assert!(board.current().accepts_upkeep(NodeId(1)) && board.current().accepts_upkeep(NodeId(9)));
        board.update(NodeId(1), |state| state.unwritable = Some("its index takes no writes".to_owned()));
        assert!(board.current().accepts_upkeep(NodeId(1)), "a drive whose index is full must be emptied");
        board.update(NodeId(1), |state| state.trial_write_failed = Some("read-only".to_owned()));
        assert!(board.current().in_service(NodeId(1)) && !board.current().accepts_upkeep(NodeId(1)));
        board.put_in(NodeId(1), Contents::Empty);
        assert!(board.current().accepts_upkeep(NodeId(1)), "another drive");
    }

    #[test]
    fn a_node_without_space_is_read_but_not_written() {
        let board = HealthBoard::new([NodeId(1)]);
        let mut changes = board.subscribe();
        assert!(board.update(NodeId(1), |state| state.level = SpaceLevel::Exhausted));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(!board.update(NodeId(1), |state| state.level = SpaceLevel::Exhausted));
        assert!(!changes.has_changed().unwrap(), "nothing differs, so nobody wakes");
        assert!(board.current().in_service(NodeId(1)));
        assert!(!board.current().accepts_writes(NodeId(1)) && board.current().accepts_upkeep(NodeId(1)));
    }
}
