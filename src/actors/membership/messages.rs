//! The messages between hosts about membership: bodies of group calls to `MEMBERSHIP_GROUP`, encoded by postcard. From
//! the first release on, the number of a kind and the form of its messages never change: another form gets another
//! kind.

use crate::actors::consensus::ClockReport;
use crate::actors::drives::health::{Contents, ReplicaState, SpaceLevel};
use crate::storage::identity::Founder;
use crate::types::{ClusterId, HostId, NodeId, RecoveryEpoch, Roles, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The group number of calls about membership; the groups of the consensus have other numbers.
pub const MEMBERSHIP_GROUP: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Founding = 1,
    Join = 2,
    JoinWithRoles = 4,
    Rejoin = 6,
    Removal = 7,
    Status = 9,
}

impl Kind {
    pub fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Founding, Self::Join, Self::JoinWithRoles, Self::Status, Self::Rejoin, Self::Removal];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Asks a founding host how far the founding is. Sent by a host that belongs to no cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundingAsk {
    pub own: Founder,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FoundingAnswer {
    /// The host belongs to no cluster yet. `hosts`: the names and addresses of the founding hosts that it was given,
    /// its own among them. `sees`: the founders that it has heard and that have the same settings, itself among them,
    /// sorted by name.
    Gathering { own: Founder, hosts: BTreeMap<String, String>, sees: Vec<Founder> },
    /// The host has agreed to found the cluster with exactly these founders.
    Agreed(Vec<Founder>),
    /// The cluster exists.
    Formed(ClusterId),
}

/// Asks to take a host that belongs to no cluster into this one, with all roles. Answered with `JoinAnswer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAsk {
    pub own: Founder,
    pub domain: Option<String>,
}

/// Like `JoinAsk`, for a host that does not have all roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAskWithRoles {
    pub ask: JoinAsk,
    pub roles: Roles,
}

/// Asks to let a host of this cluster come back as another member, with its drives as they are. Answered with
/// `JoinAnswer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejoinAsk {
    /// The host with its new id.
    pub ask: JoinAsk,
    pub roles: Roles,
    /// The host's former ids, the latest first. Restored metadata may know the host by an earlier one.
    pub was: Vec<HostId>,
}

/// Asks whether a host was removed from the cluster, and which host has its name now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalAsk {
    pub host: HostId,
    pub name: String,
}

/// The answer to `RemovalAsk`, from the answering host's own tables. A removal is final; the tables may lack one that
/// was just decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalAnswer {
    pub removed: bool,
    /// The host that has the name now, and its address.
    pub namesake: Option<(HostId, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    Welcome {
        cluster: ClusterId,
        first_node: NodeId,
        data: u8,
        parity: u8,
        hosts: Vec<(HostId, String)>,
        recovery: RecoveryEpoch,
    },
    /// The host is refused, for this reason. Asking again is of no use until an operator changes something.
    Refused(String),
    /// The host cannot be taken in now, for this reason; it should ask again.
    NotNow(String),
}

/// Asks for the state of the drives, of the replica of the metadata, and for the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAsk {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAnswer {
    pub nodes: Vec<NodeStatus>,
    pub clock: ClockReport,
    pub replica: ReplicaState,
    /// True if the process is about to end.
    pub stopping: bool,
    pub version: String,
    /// The start of the process, by the host's own clock.
    pub started: UnixMs,
    /// The other hosts that answer this one and are not about to stop.
    pub hears: BTreeSet<HostId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub node: NodeId,
    pub out_of_service: Option<String>,
    /// The reason for which the drive takes no writes, though it serves reads.
    pub unwritable: Option<String>,
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// The file system's number, as in `Space`.
    pub file_system: u64,
    pub level: SpaceLevel,
    pub contents: Contents,
    pub compared_at: u64,
    /// The drive's directory.
    pub dir: String,
}
