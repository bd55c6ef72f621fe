//! What the admin API tells, as JSON. `sherd admin` reads the same types. Ids that are wider than JSON's numbers are text in
//! hexadecimal; a field is only ever added, and a reader passes over those that it does not know.

use crate::api::DriveHealth;
use serde::{Deserialize, Serialize};

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminFault {
    /// One word that programs may go by.
    pub code: String,
    pub message: String,
}

/// What the cluster is, as one host sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    pub version: String,
    pub cluster: String,
    /// The host that answers.
    pub host: String,
    pub leader: Option<String>,
    pub term: u64,
    pub geometry: GeometryShown,
    pub guarantee: Guarantee,
    pub hosts: Vec<HostShown>,
    /// Those of the host that answers.
    pub drives: Vec<DriveHealth>,
    pub counts: CountsShown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeometryShown {
    pub data: u8,
    pub parity: u8,
}

/// What may be lost at once from a state where nothing is missing, without losing an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    /// `None` where each host is a failure domain of its own.
    pub domains: Option<usize>,
    pub hosts: usize,
    pub drives: usize,
    /// So many hosts may be down while new objects are still written.
    pub hosts_down_for_writes: usize,
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostShown {
    pub id: String,
    /// The id where the host is not registered.
    pub name: String,
    /// Where other hosts reach it.
    pub address: Option<String>,
    pub domain: Option<String>,
    pub roles: Vec<String>,
    pub metadata: MetadataRole,
    pub nodes: Vec<u32>,
}

/// What a host is to the Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetadataRole {
    Leader,
    Voter,
    Learner,
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsShown {
    pub buckets: u64,
    pub objects: u64,
    pub uploads: u64,
    pub blobs: u64,
}

/// What data is placed on. The epoch grows with each change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutShown {
    pub epoch: u64,
    pub nodes: Vec<NodeShown>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeShown {
    pub node: u32,
    pub host: String,
    pub host_name: String,
    pub domain: Option<String>,
    pub weight: u32,
    /// Its shards are moved off, and it takes no new ones.
    pub draining: bool,
    /// Why, as the host that answers knows it; `None` while it serves.
    pub out_of_service: Option<String>,
    /// Changes when the drive in this place is replaced.
    pub incarnation: String,
    /// That it is named for.
    pub shards: u64,
    /// Of these not yet known to be gone.
    pub garbage: u64,
}

/// What is still to be made whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealStatus {
    /// Shards in the repair queue: known to be missing or corrupt.
    pub repairs_queued: u64,
    /// Blobs whose shards are still to be dropped.
    pub garbage_blobs: u64,
    /// Nodes of which the host that answers does not yet know whether they hold what they should.
    pub comparisons_due: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealStarted {
    pub nodes: Vec<u32>,
}

/// Where the lead should go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveLeader {
    /// A host's name or id; with none, another voter is chosen.
    pub to: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderMoved {
    pub leader: String,
    pub name: String,
}

/// A shard that the metadata says must exist: one line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardShown {
    pub blob: String,
    pub shard: u8,
    pub node: u32,
    pub chunks: u32,
}
