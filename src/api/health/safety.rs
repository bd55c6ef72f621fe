//! The safety of the stored data (redundancy, missing shards, repairs), in the form that health and the admin API
//! return.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of the store in one word. Each is worse than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Everything is whole, and nothing is wrong.
    #[default]
    #[serde(rename = "ok")]
    Ok,
    /// Everything can be read and written; redundancy is reduced, or something else is wrong.
    #[serde(rename = "degraded")]
    Degraded,
    /// Some object has no spare shard, or the loss of one more drive loses data.
    #[serde(rename = "at risk")]
    AtRisk,
    /// Reads or writes are refused, or objects cannot be read.
    #[serde(rename = "unavailable")]
    Unavailable,
}

impl Verdict {
    /// Returns the verdict as the value of a metric: 0 is `Ok`, 3 is `Unavailable`.
    pub fn level(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::AtRisk => "at risk",
            Self::Unavailable => "unavailable",
        })
    }
}

/// A lower and an upper bound of a count, which is exact if both are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub at_least: u64,
    pub at_most: u64,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at_least, self.at_most) {
            (least, most) if least == most => write!(f, "{least}"),
            (0, most) => write!(f, "up to {most}"),
            (least, most) => write!(f, "{least} to {most}"),
        }
    }
}

/// A number of blobs (objects or parts of objects), and the bytes of those that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobsJson {
    pub blobs: Bounds,
    pub bytes_counted: u64,
}

/// The largest losses that are survived: any `domains` failure domains, or any `hosts` hosts, or any `drives` drives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossesJson {
    /// `None` if each host is a failure domain of its own.
    pub domains: Option<usize>,
    pub hosts: usize,
    pub drives: usize,
}

impl fmt::Display for LossesJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: usize, what: &str| {
            (count > 0).then(|| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
        };
        let domains = self.domains.and_then(|domains| count(domains, "domain"));
        let kinds: Vec<String> =
            domains.into_iter().chain(count(self.hosts, "host")).chain(count(self.drives, "drive")).collect();
        f.write_str(&if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(" or ") })
    }
}

/// The repair queue of the whole cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairsJson {
    pub queued: u64,
    /// The shards repaired over the last minute.
    pub repaired_per_minute: u64,
    /// The time until the queue is empty at that rate; `None` while nothing is repaired.
    pub eta_seconds: Option<u64>,
}

/// The safety of the whole cluster's data, as the answering host sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safety {
    /// True if some object has no spare shard, or if the loss of one more drive loses data although the layout with all
    /// its drives would survive that loss.
    pub at_risk: bool,
    /// The losses that the data survives now.
    pub survives_now: LossesJson,
    /// The losses after which every request would still be served, as of now.
    pub serves_without: LossesJson,
    /// Shards that are missing now: those of drives that are out of service or being filled, and those in the repair
    /// queue.
    pub missing_shards: Bounds,
    /// The blobs that lack at least one shard.
    pub reduced: BlobsJson,
    /// The blobs among `reduced` that are readable, but have no spare shard.
    pub without_spare: BlobsJson,
    /// The blobs among `reduced` that are not readable.
    pub unreadable: BlobsJson,
    /// True if every blob was counted with the drives as they are now.
    pub is_counted: bool,
    /// True if drives or the metadata changed since the missing shards were counted. Until the next count the cluster
    /// is reported to survive no loss.
    pub is_stale: bool,
    /// Drives that are out of service, or are new and were not compared with the metadata yet.
    pub absent_drives: Vec<u32>,
    /// Drives that hold shards and were not compared with the metadata since their host started.
    pub uncompared_drives: Vec<u32>,
    /// Shards that the metadata places on `uncompared_drives`.
    pub uncompared_shards: u64,
    pub repairs: RepairsJson,
    /// The repairs that run without an operator.
    pub doing: Vec<String>,
    /// The actions that the operator has to take.
    pub to_do: Vec<String>,
}

impl Safety {
    /// Returns the verdict that follows from redundancy alone.
    pub fn verdict(&self) -> Verdict {
        let is_reduced = self.is_stale
            || self.missing_shards.at_most > 0
            || !self.absent_drives.is_empty()
            || !self.uncompared_drives.is_empty();
        match (self.unreadable.blobs.at_least > 0, self.at_risk, is_reduced) {
            (true, ..) => Verdict::Unavailable,
            (_, true, _) => Verdict::AtRisk,
            (_, _, true) => Verdict::Degraded,
            _ => Verdict::Ok,
        }
    }
}

/// Whether a host can be stopped now without refused requests or unreadable objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSafety {
    pub host: String,
    pub safe: bool,
    pub why: String,
}
