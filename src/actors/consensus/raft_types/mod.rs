//! openraft's type parameters for the metadata group, and conversions between openraft's types and those of the log.

mod runtime;

use crate::storage::meta::command::Reply;
use crate::storage::raft_log::{Ballot, LogEntry, Members, Payload, Position};
use crate::types::HostId;
use bytes::Bytes;
use openraft::impls::{BasicNode, leader_id_adv};
use openraft::vote::{RaftLeaderId, RaftVote};
use openraft::{EntryPayload, Membership};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io;

pub use runtime::SeededRuntime;

openraft::declare_raft_types!(
    /// The Raft types of the metadata group.
    pub MetaGroup:
        D = Commands,
        R = Replies,
        NodeId = u64,
        Node = BasicNode,
        AsyncRuntime = SeededRuntime,
);

pub type LeaderId = leader_id_adv::LeaderId<u64, u64>;
pub type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
pub type LogId = openraft::LogId<CommittedLeaderId>;
pub type Vote = openraft::Vote<LeaderId>;
pub type Entry = openraft::Entry<CommittedLeaderId, EntryPayload<Commands, u64, BasicNode>>;
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, BasicNode>;

/// The commands of one entry, as their proposers encoded them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands(pub Bytes);

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commands({} bytes)", self.0.len())
    }
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of commands", self.0.len())
    }
}

/// The replies to an entry: one for each command, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replies(pub Vec<Reply>);

pub fn raft_id(host: HostId) -> u64 {
    host.0
}

pub fn position_of(id: LogId) -> Position {
    Position { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub fn log_id_of(at: Position) -> LogId {
    LogId::new(LeaderId::new(at.term, at.node).to_committed(), at.index)
}

pub fn ballot_of(vote: &Vote) -> Ballot {
    Ballot { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

pub fn vote_of(ballot: Ballot) -> Vote {
    Vote::from_leader_id(LeaderId::new(ballot.term, ballot.node), ballot.committed)
}

pub fn members_of(membership: &Membership<u64, BasicNode>) -> Members {
    let nodes = membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect();
    Members { configs: membership.get_joint_config().clone(), nodes }
}

/// Fails if a config names a voter without a node; openraft never writes such a membership.
pub fn membership_of(members: &Members) -> io::Result<Membership<u64, BasicNode>> {
    let nodes: BTreeMap<u64, BasicNode> =
        members.nodes.iter().map(|(id, addr)| (*id, BasicNode { addr: addr.clone() })).collect();
    Membership::new(members.configs.clone(), nodes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

pub fn log_entry_of(entry: Entry) -> LogEntry {
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(commands) => Payload::Commands(commands.0),
        EntryPayload::Membership(membership) => Payload::Members(members_of(&membership)),
    };
    LogEntry { at: position_of(entry.log_id), payload }
}

pub fn entry_of(entry: LogEntry) -> io::Result<Entry> {
    let payload = match entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Commands(bytes) => EntryPayload::Normal(Commands(bytes)),
        Payload::Members(members) => EntryPayload::Membership(membership_of(&members)?),
    };
    Ok(Entry { log_id: log_id_of(entry.at), payload })
}
