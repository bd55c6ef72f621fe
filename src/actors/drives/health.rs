//! The health of this host's nodes, with reasons: published by the drive monitor and by nodes whose log failed, read by
//! every request. Readers take a snapshot and never wait.

use crate::storage::disk::Space;
use crate::types::{HostId, NodeId, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// The free space of a drive, by the two watermarks of `limits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpaceLevel {
    #[default]
    Ample,
    /// Below the warning: compaction grows eager.
    Low,
    /// Below the refusal: no new shards are written here.
    Exhausted,
}

/// The certainty that a node holds the shards that the metadata places on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contents {
    /// Compared with the metadata since the node's process began; what it lacks is queued for repair.
    #[default]
    Compared,
    /// The node was not compared yet since the process began.
    Uncompared,
    /// A new drive in the place of another, not compared yet: it lacks all that the other held.
    Empty,
}

/// Whether a drive was given up for another in its place. Cheap to clone; all clones are one mark.
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
    /// The reason for which the node is out of service; `None` while it serves.
    pub out_of_service: Option<String>,
    /// The reason for which it takes no writes, though it serves reads.
    pub unwritable: Option<String>,
    /// True if it is out of service because it did not answer, and answers now: it can be used from the next start on.
    pub answers_again: bool,
    pub space: Option<Space>,
    pub level: SpaceLevel,
    pub contents: Contents,
    /// The entry of the metadata log by which the repairs of what it lacked were queued; only where it is compared.
    pub compared_at: u64,
    /// Its directory, where its host has told.
    pub dir: String,
}

/// The state of another host, as far as it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    /// True if it answered when it was asked last.
    pub answers: bool,
    /// True if its process is about to end.
    pub stopping: bool,
    /// Its program's version, and since when it runs by its own clock, as it said last; empty while it never did.
    pub version: String,
    pub started: UnixMs,
    /// Its replica of the metadata, as it said last.
    pub replica: ReplicaState,
}

impl HostState {
    pub fn is_up(&self) -> bool {
        self.answers && !self.stopping
    }
}

/// The state of a host's replica of the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaState {
    /// Drives with a whole copy of its log.
    pub copies: usize,
    /// The number of log copies that it should have.
    pub copies_wanted: usize,
    /// The last entry of the log that it has applied.
    pub applied: u64,
    /// True if it leads, and has committed nothing for seconds although changes wait.
    pub is_stuck: bool,
    /// The reason for which it takes no part; `None` while it does.
    pub out_of_service: Option<String>,
}

impl ReplicaState {
    /// Adds that the host has so many drives, lost ones among them: drives that were taken out need no copy.
    pub fn on(self, drives: usize) -> Self {
        Self { copies_wanted: self.copies_wanted.min(drives), ..self }
    }
}

/// The nodes of this host, at one moment. One that is not listed is another host's, which knows how it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeHealth {
    nodes: BTreeMap<NodeId, NodeState>,
    /// Drives that were this host's when it started, and are not any more.
    dismissed: BTreeSet<NodeId>,
    /// The other hosts, from when they were first asked.
    hosts: BTreeMap<HostId, HostState>,
}

impl NodeHealth {
    /// Another host; `None` where it was not asked yet.
    pub fn host(&self, host: HostId) -> Option<&HostState> {
        self.hosts.get(&host)
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

    /// Returns the reason for which it takes no writes, though it serves reads.
    pub fn unwritable(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node)?.unwritable.as_deref()
    }

    /// Returns whether the node was taken out of this host; its state is then unknown.
    pub fn is_dismissed(&self, node: NodeId) -> bool {
        self.dismissed.contains(&node)
    }

    /// Returns the reason for which the node does not serve; `None` while it does.
    pub fn why_not(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node)?.out_of_service.as_deref()
    }
}

/// The board where health is published. Cheap to clone; all clones are one board.
#[derive(Clone, Debug)]
pub struct HealthBoard {
    current: Arc<watch::Sender<Arc<NodeHealth>>>,
}

impl HealthBoard {
    /// A board on which all these nodes are in service.
    pub fn new(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node, NodeState::default())).collect();
        Self { current: Arc::new(watch::Sender::new(Arc::new(NodeHealth { nodes, ..NodeHealth::default() }))) }
    }

    pub fn current(&self) -> Arc<NodeHealth> {
        Arc::clone(&self.current.borrow())
    }

    /// Wakes on each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<NodeHealth>> {
        self.current.subscribe()
    }

    /// Changes what is known of a node; subscribers wake only where something differs. Says whether it does.
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

    /// Records how another host is.
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

    /// Forgets hosts that are not among these any more.
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

    /// Takes a node off the board: it is none of this host's any more, whatever is found of it later.
    pub fn dismiss(&self, node: NodeId) {
        self.current.send_modify(|health| {
            let mut next = NodeHealth::clone(health);
            next.nodes.remove(&node);
            next.dismissed.insert(node);
            *health = Arc::new(next);
        });
    }

    /// Takes a node out of service until its drive is replaced or its host restarts; the first reason stands. Says whether
    /// it was in service.
    pub fn take_out(&self, node: NodeId, why: &str) -> bool {
        self.update(node, |state| {
            state.out_of_service.get_or_insert_with(|| why.to_owned());
        })
    }

    /// As `take_out`, for a failure of one drive: without effect once the drive is retired, since its node is another
    /// drive then.
    pub fn take_out_drive(&self, node: NodeId, retired: &Retired, why: &str) -> bool {
        self.update(node, |state| {
            if !retired.is_set() {
                state.out_of_service.get_or_insert_with(|| why.to_owned());
            }
        })
    }

    /// Puts a node into service whose drive is a new one; the state of the former drive is forgotten.
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
        assert!(health.in_service(NodeId(9)) && health.accepts_writes(NodeId(9)), "that is for its own host to say");
    }

    #[test]
    fn a_late_failure_of_a_drive_that_was_replaced_does_not_take_out_the_new_one() {
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
    fn a_node_that_was_dismissed_is_on_the_board_no_more() {
        let board = HealthBoard::new([NodeId(1), NodeId(2)]);
        board.take_out(NodeId(1), "its directory is gone");
        board.dismiss(NodeId(1));
        assert!(!board.take_out(NodeId(1), "it does not answer"), "who finds that out late changes nothing");
        let health = board.current();
        assert!(health.is_dismissed(NodeId(1)) && !health.is_dismissed(NodeId(2)));
        assert_eq!((health.state(NodeId(1)), health.why_not(NodeId(1))), (None, None));
    }

    #[test]
    fn a_node_without_room_is_read_but_not_written() {
        let board = HealthBoard::new([NodeId(1)]);
        let mut changes = board.subscribe();
        assert!(board.update(NodeId(1), |state| state.level = SpaceLevel::Exhausted));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(!board.update(NodeId(1), |state| state.level = SpaceLevel::Exhausted));
        assert!(!changes.has_changed().unwrap(), "nothing differs, so nobody wakes");
        assert!(board.current().in_service(NodeId(1)));
        assert!(!board.current().accepts_writes(NodeId(1)));
    }
}
