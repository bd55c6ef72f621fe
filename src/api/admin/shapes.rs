//! The JSON types of the admin API, which `sherd admin` uses too. Ids that are wider than JSON's numbers are
//! hexadecimal text. Fields are only ever added, and readers ignore unknown fields.

use super::jobs::{MovesJson, MovesOfHost};
use crate::api::{DriveHealth, Safety, Verdict};
use serde::{Deserialize, Deserializer, Serialize};

/// The response to a refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminFault {
    /// The error code, for programs.
    pub code: String,
    pub message: String,
}

/// The cluster, as one host sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    pub version: String,
    pub cluster: String,
    /// The host that answers.
    pub host: String,
    pub leader: Option<String>,
    pub term: u64,
    pub geometry: GeometryJson,
    pub guarantee: Guarantee,
    #[serde(default)]
    pub health: Verdict,
    /// The safety of the cluster's data now.
    #[serde(default)]
    pub safety: Safety,
    pub hosts: Vec<HostJson>,
    pub drives: Vec<DriveHealth>,
    #[serde(default)]
    pub capacity: CapacityJson,
    #[serde(default)]
    pub forecast: ForecastJson,
    pub counts: CountsJson,
    /// The last entry of the metadata log that the host has applied.
    pub applied: u64,
    /// Comparisons of other hosts' replicas of the metadata with this host's.
    pub replicas: Vec<ReplicaJson>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaJson {
    pub host: String,
    /// The last entry of the log up to which both replicas are known to be equal.
    pub same_through: Option<u64>,
    /// An entry at which the replicas are known to differ.
    pub differs_at: Option<u64>,
    /// The entry after which the rows of both replicas were last compared, if they differed.
    pub tables_differ_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeometryJson {
    pub data: u8,
    pub parity: u8,
}

/// The largest simultaneous losses that the cluster survives without losing an object while no shard is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    /// `None` if each host is a failure domain of its own.
    pub domains: Option<usize>,
    pub hosts: usize,
    pub drives: usize,
    /// The number of hosts that may be down while new objects are still written.
    pub hosts_down_for_writes: usize,
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostJson {
    pub id: String,
    /// The host's name; its id if the host is not registered.
    pub name: String,
    /// The address at which other hosts reach this host.
    pub address: Option<String>,
    pub domain: Option<String>,
    /// The roles that the host reports: any of `gateway`, `meta` and `storage`.
    pub roles: Vec<String>,
    pub metadata: MetadataRole,
    pub nodes: Vec<u32>,
    #[serde(default)]
    pub state: HostStateJson,
    /// The program version that the host last reported.
    #[serde(default)]
    pub version: Option<String>,
    /// The time since the host's start; `None` if the host does not answer.
    #[serde(default)]
    pub uptime_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostStateJson {
    Up,
    /// The host is about to stop.
    Stopping,
    /// The host does not answer.
    Down,
    /// The host was not asked yet.
    #[default]
    Unknown,
}

/// The capacity of all drives that are in service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityJson {
    pub total_bytes: u64,
    pub free_bytes: u64,
    /// The bytes of new objects that fit, after redundancy and reserved space.
    pub usable_bytes: u64,
}

/// The forecast of when the store is full, if it goes on growing as in the measured period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastJson {
    /// The measured period: at most the last week.
    pub measured_seconds: u64,
    /// The bytes of all versions of all objects, as last measured; `None` before the first measurement.
    pub stored_bytes: Option<u64>,
    /// The growth; negative if the store shrinks, `None` if the measured period is too short.
    pub bytes_per_day: Option<i64>,
    /// `None` if the growth is unknown or the store does not grow.
    pub full_in_seconds: Option<u64>,
}

/// A bucket with its usage and its quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketUsageJson {
    pub bucket: String,
    /// The 12-digit id of the account that owns the bucket; its canonical id if there is no such account any more.
    pub account: String,
    /// The number of current objects.
    pub objects: u64,
    /// The number of other versions, delete markers included.
    pub versions: u64,
    /// The bytes of all versions.
    pub bytes: u64,
    /// The bytes of the parts of unfinished uploads.
    pub parts_bytes: u64,
    pub bytes_max: Option<u64>,
    pub objects_max: Option<u64>,
    /// The growth over the last week; `null` if it is unknown.
    #[serde(default)]
    pub bytes_per_day: Option<i64>,
    #[serde(default)]
    pub objects_per_day: Option<i64>,
}

/// The role of a host in the Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetadataRole {
    Leader,
    Voter,
    Learner,
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsJson {
    pub buckets: u64,
    pub objects: u64,
    pub uploads: u64,
    pub blobs: u64,
}

/// The layout: the drives of the cluster. The epoch grows with each change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutJson {
    pub epoch: u64,
    pub nodes: Vec<NodeJson>,
    /// The registered hosts, including those without nodes.
    #[serde(default)]
    pub hosts: Vec<HostRolesJson>,
    /// The sum of the moves of all hosts that answer.
    pub moving: MovesJson,
    #[serde(default)]
    pub moves: Vec<MovesOfHost>,
}

/// The roles of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRolesJson {
    pub host: String,
    pub name: String,
    pub domain: Option<String>,
    pub roles: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeJson {
    pub node: u32,
    pub host: String,
    pub host_name: String,
    pub domain: Option<String>,
    pub weight: u32,
    /// True if the node's shards are being moved off, and it takes no new ones.
    pub draining: bool,
    /// The reason why the node is out of service, as the answering host knows it; `None` while the node serves.
    pub out_of_service: Option<String>,
    /// The random id of the drive, which changes when the drive is replaced.
    pub incarnation: String,
    /// The shards that are placed on the node.
    pub shards: u64,
    /// The shards of deleted blobs that are not yet known to have been dropped from the node.
    pub garbage: u64,
    /// Old copies of shards that were moved off the node, still to be dropped.
    #[serde(default)]
    pub leftovers: u64,
}

/// A change of the layout. `of` is a node's number, or a host's name or id for all of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase", deny_unknown_fields)]
pub enum ChangeLayout {
    /// Moves all shards off, and places no new ones.
    Drain { of: String },
    /// Ends a drain: the nodes take shards again.
    Restore { of: String },
    /// Sets a node's share of the shards, relative to other nodes.
    Weight { node: u32, weight: u32 },
    /// Removes drained nodes that hold no shards from the layout; by host, removes the host too.
    Remove {
        of: String,
        /// True if the drive is gone for good: its removal is then not refused because shards are still to be dropped
        /// from it.
        #[serde(default)]
        lost: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutChanged {
    /// The epoch of the layout with the change.
    pub epoch: u64,
    pub nodes: Vec<u32>,
}

/// Replaces a drive of the host that receives this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceDrive {
    pub node: u32,
}

/// A new drive that replaced another and is still to be filled with its shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveReplaced {
    pub node: u32,
    /// The drive's directory.
    pub path: String,
    pub incarnation: String,
}

/// Adds a drive to the host that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddDrive {
    /// Its directory on that host, by its whole path.
    pub directory: String,
}

/// A drive that was added, and is still to take its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveAdded {
    pub node: u32,
    /// Its directory.
    pub path: String,
    pub incarnation: String,
    /// The directories of all drives of the host, which its next start must be given.
    pub directories: Vec<String>,
    /// The directories, of these, that are on the file system of the new one.
    pub shares_file_system_with: Vec<String>,
}

/// Asks whether this host may be stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetStopSafety {
    /// The host's name or id.
    pub host: String,
}

/// Moves the leadership to this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveLeader {
    /// A host's name or id; with `None`, another voter is chosen.
    pub to: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderMoved {
    pub leader: String,
    pub name: String,
}

/// The quota of a bucket, unlimited if `None`, and its usage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaJson {
    pub bucket: String,
    /// The largest total size of all versions and of the parts of unfinished uploads, before redundancy.
    pub bytes_max: Option<u64>,
    /// The largest number of current objects.
    pub objects_max: Option<u64>,
    pub bytes: u64,
    /// The bytes of the parts of unfinished uploads.
    pub parts_bytes: u64,
    pub objects: u64,
    /// The number of other versions, delete markers included.
    pub versions: u64,
}

/// A change of a bucket's quota. An absent limit stays as it is; `null` removes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetQuota {
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub objects_max: Option<Option<u64>>,
}

/// Deserialises a field that is present, `null` included: `Some(None)`. An absent field is `None` by its default.
pub(super) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A shard that must exist according to the metadata: one line of the list of shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardJson {
    pub blob: String,
    pub shard: u8,
    pub node: u32,
    pub chunks: u32,
}

/// The time, as the host that answers knows it. All times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockJson {
    /// The time of the answering host's clock.
    pub clock_ms: u64,
    /// The date that new objects get.
    pub date_ms: u64,
    /// The confirmed time, by which locks end and objects expire; `None` if it is not known yet.
    pub confirmed_ms: Option<u64>,
    /// The lead of the answering host's clock over the confirmed time.
    pub ahead_ms: i64,
    /// The last time that the confirmed time was set.
    pub set: Option<ClockSettingJson>,
    /// The clocks of the hosts that answer.
    pub hosts: Vec<HostClockJson>,
    /// The problems, in words.
    pub troubles: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSettingJson {
    pub from_ms: u64,
    pub to_ms: u64,
    /// The source of the new time: `counted`, `hosts` or `operator`.
    pub by: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostClockJson {
    pub host: String,
    pub name: String,
    /// The lead of the host's clock over the median of the clocks of this host and of the hosts heard lately.
    pub ahead_ms: i64,
}

/// Declares that this host's clock is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptClock {
    /// The time that the clock showed to the operator. The call is refused if the clock now differs by much.
    pub time_ms: u64,
}

/// The confirmation that shards which a recovery left without metadata may be dropped from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownDropped {
    /// The time at which the recovery formed the metadata group anew.
    pub recovered_ms: u64,
}
