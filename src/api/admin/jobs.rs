//! The JSON of the admin API for the background jobs of all hosts: repairs, scrub, and moves of shards. Each response
//! has a sum and a row for each host. The row of a host that does not answer has the reason, and the host is not in the
//! sum.

use crate::api::Safety;
use serde::{Deserialize, Serialize};

/// The missing and corrupt shards, and the progress of their repair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealStatus {
    /// The shards of the whole cluster that are missing or have missing or corrupt chunks: those queued for repair, and
    /// those on drives that are out of service. An upper bound until all blobs are counted; `safety` has both bounds.
    pub missing_shards: u64,
    /// The objects and parts of the whole cluster with at least one such shard; also an upper bound.
    pub under_replicated_objects: u64,
    /// Deleted blobs whose shards are still to be dropped.
    pub garbage_blobs: u64,
    /// The sum over all hosts that answer.
    #[serde(flatten)]
    pub sum: HealCounts,
    /// The safety of the cluster's data now.
    #[serde(default)]
    pub safety: Safety,
    #[serde(default)]
    pub hosts: Vec<HealOfHost>,
}

/// Counts of one host, or the sum of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealCounts {
    /// Chunks on the host's drives that failed their checksum and were not rewritten yet.
    pub corrupt_chunks: u64,
    /// Shards on the host's drives that no object refers to and that were not dropped yet.
    pub orphaned_shards: u64,
    /// The shards to repair on the host's own drives; the bytes are an upper bound.
    pub to_repair_shards: u64,
    pub to_repair_bytes: u64,
    /// Repairs under way (`repairing`), and repairs that cannot be done now (`put_off`).
    pub repairing: u64,
    pub put_off: u64,
    /// The shards repaired since the host's process began.
    pub repaired_shards: u64,
    pub repaired_bytes: u64,
    pub bytes_per_second: u64,
    /// The time until all repairs are done at this rate; `None` while nothing is repaired. For several hosts, the
    /// longest.
    pub eta_seconds: Option<u64>,
    /// Nodes that are still to be compared with the metadata.
    pub comparisons_due: Vec<u32>,
}

impl HealCounts {
    /// Returns the sum over these hosts; zero if there is none.
    pub fn sum<'a>(hosts: impl IntoIterator<Item = &'a Self>) -> Self {
        hosts.into_iter().fold(Self { eta_seconds: Some(0), ..Self::default() }, |sum, host| Self {
            corrupt_chunks: sum.corrupt_chunks + host.corrupt_chunks,
            orphaned_shards: sum.orphaned_shards + host.orphaned_shards,
            to_repair_shards: sum.to_repair_shards + host.to_repair_shards,
            to_repair_bytes: sum.to_repair_bytes + host.to_repair_bytes,
            repairing: sum.repairing + host.repairing,
            put_off: sum.put_off + host.put_off,
            repaired_shards: sum.repaired_shards + host.repaired_shards,
            repaired_bytes: sum.repaired_bytes + host.repaired_bytes,
            bytes_per_second: sum.bytes_per_second + host.bytes_per_second,
            eta_seconds: sum.eta_seconds.zip(host.eta_seconds).map(|(one, other)| one.max(other)),
            comparisons_due: [sum.comparisons_due, host.comparisons_due.clone()].concat(),
        })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealOfHost {
    #[serde(flatten)]
    pub host: HostAnswer,
    /// `None` if the host did not answer.
    #[serde(flatten)]
    pub counts: Option<HealCounts>,
}

/// A host, and the reason why it did not answer, if it did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAnswer {
    pub host: String,
    pub name: String,
    /// `None` if the host answered.
    pub why: Option<String>,
}

/// The state of scrub on the drives of the hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// The sum over all hosts that answer.
    #[serde(flatten)]
    pub sum: ScrubCounts,
    pub hosts: Vec<ScrubOfHost>,
}

/// The counts of the drives of one host, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubCounts {
    pub drives_count: u64,
    /// Passes under way, and passes that were ordered and have not begun yet (`wanted`).
    pub under_way: u64,
    pub wanted: u64,
    /// The average progress of the passes under way; 1000 if there is none.
    pub done_permille: u64,
    /// The time until the last of them ends, at the speed so far; `None` if unknown.
    pub eta_seconds: Option<u64>,
    /// Corrupt chunks that the pass under way on each drive, or else its last pass, has found.
    pub corrupt: u64,
}

impl ScrubCounts {
    pub fn of<'a>(drives: impl Iterator<Item = &'a ScrubJson>) -> Self {
        let (mut sum, mut done, mut eta) = (Self::default(), 0, Some(0));
        for drive in drives {
            sum.drives_count += 1;
            sum.wanted += u64::from(drive.wanted);
            sum.corrupt += drive.corrupt;
            if drive.began.is_some() {
                sum.under_way += 1;
                done += drive.done_permille;
                eta = eta.zip(drive.eta_seconds).map(|(one, other): (u64, u64)| one.max(other));
            }
        }
        Self { done_permille: done.checked_div(sum.under_way).unwrap_or(1000), eta_seconds: eta, ..sum }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubOfHost {
    #[serde(flatten)]
    pub host: HostAnswer,
    #[serde(flatten)]
    pub counts: Option<ScrubCounts>,
    /// The drives; empty if the host does not answer.
    pub drives: Vec<ScrubJson>,
}

/// The state of scrub on one drive. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubJson {
    pub node: u32,
    /// The start of the pass under way.
    pub began: Option<u64>,
    /// True if a pass was ordered and has not begun yet.
    pub wanted: bool,
    pub done_permille: u64,
    /// The time until the end of the pass, at the speed so far.
    pub eta_seconds: Option<u64>,
    /// Corrupt chunks that the pass under way, or else the last pass, has found.
    pub corrupt: u64,
    pub finished: Option<u64>,
    /// The start of the next automatic pass.
    pub due: u64,
}

/// Orders one host, or all, to compare its drives with the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartHeal {
    #[serde(default)]
    pub host: Option<String>,
}

/// The drives whose scrub passes are to begin or to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChooseScrub {
    /// The drive; `None` for all.
    #[serde(default)]
    pub node: Option<u32>,
    /// The host, by name or id; `None` for all.
    #[serde(default)]
    pub host: Option<String>,
}

/// The hosts and drives that an order concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    pub nodes: Vec<u32>,
    #[serde(default)]
    pub hosts: Vec<OrderedOfHost>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedOfHost {
    #[serde(flatten)]
    pub host: HostAnswer,
    pub nodes: Vec<u32>,
}

/// The shards to be moved to the drives of a host, or of all hosts that answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovesJson {
    /// The epoch of the layout towards which the host moves shards; for several hosts, the oldest.
    pub epoch: u64,
    /// True if all shards were compared with that layout and none is left to be moved; for several hosts, if all of
    /// them answer and report this.
    pub settled: bool,
    /// The shards that are still to be moved, as far as known.
    pub shards_left: u64,
    pub bytes_left: u64,
    /// The shards among `shards_left` that cannot be moved now: a drive is down or full, or has an older copy to drop
    /// first.
    pub shards_waiting: u64,
    /// The shards moved since the host's process began.
    pub shards_moved: u64,
}

impl MovesJson {
    /// Returns the sum over these hosts. `None` is a host that did not answer; `epoch` is that of the current layout.
    pub fn sum<'a>(hosts: impl IntoIterator<Item = Option<&'a Self>>, epoch: u64) -> Self {
        let nothing = Self { epoch, settled: true, ..Self::default() };
        hosts.into_iter().fold(nothing, |sum, host| match host {
            None => Self { settled: false, ..sum },
            Some(host) => Self {
                epoch: sum.epoch.min(host.epoch),
                settled: sum.settled && host.settled,
                shards_left: sum.shards_left + host.shards_left,
                bytes_left: sum.bytes_left + host.bytes_left,
                shards_waiting: sum.shards_waiting + host.shards_waiting,
                shards_moved: sum.shards_moved + host.shards_moved,
            },
        })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovesOfHost {
    #[serde(flatten)]
    pub host: HostAnswer,
    /// `None` if the host did not answer.
    #[serde(flatten)]
    pub moving: Option<MovesJson>,
}

#[cfg(test)]
mod tests {
    use super::{HealCounts, HealOfHost, HostAnswer, MovesJson, ScrubCounts, ScrubJson};

    #[test]
    fn the_row_of_a_host_that_does_not_answer_has_no_counts() {
        let answer =
            |why: Option<&str>| HostAnswer { host: "1".to_owned(), name: "a".to_owned(), why: why.map(str::to_owned) };
        let silent = HealOfHost { host: answer(Some("gone")), counts: None };
        let text = serde_json::to_string(&silent).expect("JSON");
        assert_eq!(text, r#"{"host":"1","name":"a","why":"gone"}"#);
        assert_eq!(serde_json::from_str::<HealOfHost>(&text).expect("a row"), silent);
        let whole = HealOfHost { host: answer(None), counts: Some(HealCounts::default()) };
        let text = serde_json::to_string(&whole).expect("JSON");
        assert_eq!(serde_json::from_str::<HealOfHost>(&text).expect("a row"), whole);
    }

    #[test]
    fn the_sum_of_repairs_takes_as_long_as_the_slowest_host() {
        let host = |shards: u64, eta: Option<u64>, due: &[u32]| HealCounts {
            to_repair_shards: shards,
            eta_seconds: eta,
            comparisons_due: due.to_vec(),
            ..HealCounts::default()
        };
        let sum = HealCounts::sum([&host(3, Some(9), &[1]), &host(4, Some(7), &[64])]);
        assert_eq!(sum, host(7, Some(9), &[1, 64]));
        assert_eq!(HealCounts::sum([&host(3, None, &[]), &host(0, Some(0), &[])]).eta_seconds, None);
        assert_eq!(HealCounts::sum([]).eta_seconds, Some(0));
    }

    #[test]
    fn scrub_passes_are_counted_with_their_average_progress() {
        let drive = |node, began, wanted, done_permille, eta_seconds| ScrubJson {
            node,
            began,
            wanted,
            done_permille,
            eta_seconds,
            corrupt: 1,
            finished: None,
            due: 9,
        };
        let drives = [
            drive(0, Some(1), false, 200, Some(8)),
            drive(1, Some(1), false, 600, Some(4)),
            drive(2, None, true, 1000, None),
        ];
        let sum = ScrubCounts::of(drives.iter());
        let wanted = ScrubCounts {
            drives_count: 3,
            under_way: 2,
            wanted: 1,
            done_permille: 400,
            eta_seconds: Some(8),
            corrupt: 3,
        };
        assert_eq!(sum, wanted);
        let none = ScrubCounts { done_permille: 1000, eta_seconds: Some(0), ..ScrubCounts::default() };
        assert_eq!(ScrubCounts::of(std::iter::empty()), none);
    }

    #[test]
    fn moves_are_settled_when_all_hosts_answer_and_are_settled() {
        let host = |epoch, settled, shards_left| MovesJson { epoch, settled, shards_left, ..MovesJson::default() };
        let (done, behind) = (host(9, true, 0), host(8, true, 2));
        assert_eq!(MovesJson::sum([Some(&done), Some(&behind)], 9), host(8, true, 2));
        assert_eq!(MovesJson::sum([Some(&done), None], 9), host(9, false, 0));
        assert_eq!(MovesJson::sum([Some(&host(9, false, 3)), Some(&done)], 9), host(9, false, 3));
        assert_eq!(MovesJson::sum([], 9), host(9, true, 0));
    }
}
