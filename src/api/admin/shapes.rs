//! The answers of the admin API, as JSON. `sherd admin` reads the same types. Ids that are wider than JSON's numbers
//! are text in hexadecimal; a field is only ever added, and a reader ignores those that it does not know.

use super::jobs::{MovesOfHost, MovesShown};
use crate::api::{DriveHealth, Safety, Verdict};
use serde::{Deserialize, Deserializer, Serialize};

/// The error that answers a refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminFault {
    /// A word for programs.
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
    pub geometry: GeometryShown,
    pub guarantee: Guarantee,
    #[serde(default)]
    pub health: Verdict,
    /// The safety of the cluster's data now.
    #[serde(default)]
    pub safety: Safety,
    pub hosts: Vec<HostShown>,
    pub drives: Vec<DriveHealth>,
    #[serde(default)]
    pub capacity: CapacityShown,
    #[serde(default)]
    pub forecast: ForecastShown,
    pub counts: CountsShown,
    /// The last entry of the metadata log that the host has applied.
    pub applied: u64,
    /// The comparison of other hosts' replicas of the metadata with this one's.
    pub replicas: Vec<ReplicaShown>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaShown {
    pub host: String,
    /// The last entry up to which both are known to be the same.
    pub same_through: Option<u64>,
    /// An entry at which they are known not to be.
    pub differs_at: Option<u64>,
    /// The entry after which the rows of both were last compared, if they differed.
    pub tables_differ_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeometryShown {
    pub data: u8,
    pub parity: u8,
}

/// The losses at once that a cluster in which nothing is missing survives without losing an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    /// `None` where each host is a failure domain of its own.
    pub domains: Option<usize>,
    pub hosts: usize,
    pub drives: usize,
    /// The number of hosts that may be down while new objects are still written.
    pub hosts_down_for_writes: usize,
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostShown {
    pub id: String,
    /// The id where the host is not registered.
    pub name: String,
    /// The address at which other hosts reach it.
    pub address: Option<String>,
    pub domain: Option<String>,
    /// The roles that it reports: any of `gateway`, `meta` and `storage`.
    pub roles: Vec<String>,
    pub metadata: MetadataRole,
    pub nodes: Vec<u32>,
    #[serde(default)]
    pub state: HostStateShown,
    /// The version of its program, as it last reported.
    #[serde(default)]
    pub version: Option<String>,
    /// The time since its start; `None` if it does not answer.
    #[serde(default)]
    pub uptime_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostStateShown {
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
pub struct CapacityShown {
    pub total_bytes: u64,
    pub free_bytes: u64,
    /// The bytes of new objects that fit, after redundancy and what is kept free.
    pub usable_bytes: u64,
}

/// The forecast when new objects find no space any more, if the store goes on growing as in the last week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastShown {
    /// The period that was measured, a week at most.
    pub measured_seconds: u64,
    /// Bytes of all versions of all objects, as last measured; `None` before the first time.
    pub stored_bytes: Option<u64>,
    /// `None` while too little was measured to say; below 0 where more goes than comes.
    pub bytes_per_day: Option<i64>,
    /// `None` where that is not known, or where the store does not grow.
    pub full_in_seconds: Option<u64>,
}

/// A bucket with what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketUsageShown {
    pub bucket: String,
    /// The account that owns it.
    pub account: String,
    /// Current objects.
    pub objects: u64,
    /// The number of other versions, delete markers included.
    pub versions: u64,
    /// The bytes of all versions.
    pub bytes: u64,
    pub bytes_max: Option<u64>,
    pub objects_max: Option<u64>,
    /// The growth of the last week; `null` where that is not known.
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
pub struct CountsShown {
    pub buckets: u64,
    pub objects: u64,
    pub uploads: u64,
    pub blobs: u64,
}

/// The layout: the drives of the cluster. The epoch grows with each change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutShown {
    pub epoch: u64,
    pub nodes: Vec<NodeShown>,
    /// The registered hosts, including those without nodes.
    #[serde(default)]
    pub hosts: Vec<HostRolesShown>,
    /// The moves of all hosts that answer.
    pub moving: MovesShown,
    #[serde(default)]
    pub moves: Vec<MovesOfHost>,
}

/// The roles of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRolesShown {
    pub host: String,
    pub name: String,
    pub domain: Option<String>,
    pub roles: Vec<String>,
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
    /// The reason, as the host that answers knows it; `None` while it serves.
    pub out_of_service: Option<String>,
    /// Changes when the drive in this place is replaced.
    pub incarnation: String,
    /// The shards placed on it.
    pub shards: u64,
    /// The shards, of these, that are not yet known to be gone.
    pub garbage: u64,
    /// Old copies of what was moved off it, still to be dropped.
    #[serde(default)]
    pub leftovers: u64,
}

/// A change of the layout. `of` is a node's number, or a host's name or id for all of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase", deny_unknown_fields)]
pub enum ChangeLayout {
    /// Shards are moved off, and no new ones are taken.
    Drain { of: String },
    /// Takes shards again.
    Restore { of: String },
    /// The share of a node relative to the others.
    Weight { node: u32, weight: u32 },
    /// Forgets what is drained and holds nothing; with a host, the host too.
    Remove {
        of: String,
        /// Its drive is gone for good: what was still to be dropped there is not waited for.
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

/// Replaces a drive of the host that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceDrive {
    pub node: u32,
}

/// A drive that took the place of another, and is still to be filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveReplaced {
    pub node: u32,
    /// Its directory.
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
    /// Its name or id.
    pub host: String,
}

/// Moves the leadership to this host.
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

/// The quota of a bucket, unlimited if `None`, and its usage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaShown {
    pub bucket: String,
    /// The bytes of all versions, as clients count them.
    pub bytes_max: Option<u64>,
    /// Current objects.
    pub objects_max: Option<u64>,
    pub bytes: u64,
    pub objects: u64,
    /// Versions that are not current, delete markers among them.
    pub versions: u64,
}

/// A limit that is not there stays as it is; `null` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetQuota {
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub objects_max: Option<Option<u64>>,
}

/// Called for what is there, be it `null`.
pub(super) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A shard that the metadata says must exist: one line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardShown {
    pub blob: String,
    pub shard: u8,
    pub node: u32,
    pub chunks: u32,
}

/// The time, as the host that answers knows it. All times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockShown {
    /// The time of its own clock.
    pub clock_ms: u64,
    /// The date that new objects get.
    pub date_ms: u64,
    /// The confirmed time, by which locks end and objects expire; `None` where none is known yet.
    pub confirmed_ms: Option<u64>,
    /// The lead of its clock over the confirmed time.
    pub ahead_ms: i64,
    /// The last setting of the confirmed time.
    pub set: Option<ClockSettingShown>,
    /// The clocks of the hosts that answer.
    pub hosts: Vec<HostClockShown>,
    /// The problems, in words.
    pub troubles: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSettingShown {
    pub from_ms: u64,
    pub to_ms: u64,
    /// `hosts` or `operator`.
    pub by: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostClockShown {
    pub host: String,
    pub name: String,
    /// The lead of its clock over the median of the hosts' clocks.
    pub ahead_ms: i64,
}

/// Declares that this host's clock is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptClock {
    /// The time that it reported when an operator looked.
    pub time_ms: u64,
}

/// Shards that a recovery left without metadata are given up from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownDropped {
    /// When the metadata group was formed anew.
    pub recovered_ms: u64,
}
