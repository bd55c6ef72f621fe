//! Waiting for repairs, and for scrubs of drives.

use super::layout::silent;
use crate::admin::AdminFailure;
use crate::admin::client::{Client, with_host};
use crate::admin::progress::{Job, Look, wait};
use crate::api::admin::{HealStatus, ScrubJson, ScrubStatus};
use crate::config::Waiting;
use std::collections::BTreeMap;
use std::io::Write;

const HEALING: Job = Job {
    name: "repair",
    unit: "shards",
    count: |shards| shards.to_string(),
    afterwards: "it goes on, and `sherd admin heal status` shows it",
};
/// The job scrub, counted in thousandths of drives.
const SCRUBBING: Job = Job {
    name: "scrub",
    unit: "drives",
    count: |permille| format!("{}.{:03}", permille / 1000, permille % 1000),
    afterwards: "it goes on, and `sherd admin scrub status` shows it",
};

/// Waits until no shard of the cluster is missing, and the drives of this host, or of all hosts, are compared with the
/// metadata.
pub fn heal(client: &Client, host: Option<&str>, waiting: Waiting, out: &mut impl Write) -> Result<u8, AdminFailure> {
    out.flush()?;
    let path = with_host("/heal", host);
    wait(&HEALING, waiting, &*client.ambient.clock, || Ok(healed(&client.get(&path)?)))
}

fn healed(status: &HealStatus) -> Look {
    if let Some(silent) = silent(status.hosts.iter().map(|row| &row.host)) {
        return silent;
    }
    let left = status.missing_shards.max(status.sum.to_repair_shards);
    match (left, status.sum.comparisons_due.len(), status.sum.put_off) {
        (0, 0, _) => Look::done(),
        (left, 0, 0) => Look::Left { left, note: String::new() },
        (left, 0, put_off) => Look::Left { left, note: format!(", {put_off} put off") },
        (left, due, _) => Look::Left { left, note: format!(", {due} drives to be compared with the metadata") },
    }
}

/// The scrubs that are waited for.
pub struct Passes {
    /// For each drive, the time at which its last scrub had ended before.
    drives: BTreeMap<u32, Option<u64>>,
}

impl Passes {
    pub fn under_way(status: &ScrubStatus) -> Self {
        let is_meant = |drive: &&ScrubJson| drive.wanted || drive.began.is_some();
        Self { drives: all(status).filter(is_meant).map(|drive| (drive.node, drive.finished)).collect() }
    }

    /// Makes the scrubs of these drives; `before` is the status from before they were ordered.
    pub fn ordered(before: &ScrubStatus, nodes: &[u32]) -> Self {
        let finished = |node: &u32| all(before).find(|drive| drive.node == *node).and_then(|drive| drive.finished);
        Self { drives: nodes.iter().map(|node| (*node, finished(node))).collect() }
    }

    /// Waits until each drive has been scrubbed to its end.
    pub fn wait(&self, client: &Client, waiting: Waiting, out: &mut impl Write) -> Result<u8, AdminFailure> {
        out.flush()?;
        wait(&SCRUBBING, waiting, &*client.ambient.clock, || Ok(self.judge(&client.get("/scrub")?)))
    }

    fn judge(&self, status: &ScrubStatus) -> Look {
        let mut left = 0;
        for (node, before) in &self.drives {
            let Some(drive) = drive(status, *node) else {
                let silent = silent(status.hosts.iter().map(|row| &row.host));
                return silent.unwrap_or_else(|| Look::Failed(format!("drive {node} is not there any more")));
            };
            match (drive.began, drive.wanted, drive.finished == *before) {
                (None, false, false) => {}
                (None, false, true) => {
                    return Look::Failed(format!("the pass over drive {node} was ended before it was over"));
                }
                (Some(_), ..) => left += 1000 - drive.done_permille.min(1000),
                (None, true, _) => left += 1000,
            }
        }
        if left == 0 && self.drives.keys().all(|node| is_over(status, *node)) {
            let corrupt: u64 =
                self.drives.keys().filter_map(|node| drive(status, *node)).map(|drive| drive.corrupt).sum();
            let note = if corrupt == 0 { String::new() } else { format!("; {corrupt} corrupt chunks were found") };
            return Look::Done { note };
        }
        Look::Left { left, note: String::new() }
    }
}

fn is_over(status: &ScrubStatus, node: u32) -> bool {
    drive(status, node).is_some_and(|drive| drive.began.is_none() && !drive.wanted)
}

fn drive(status: &ScrubStatus, node: u32) -> Option<&ScrubJson> {
    all(status).find(|drive| drive.node == node)
}

fn all(status: &ScrubStatus) -> impl Iterator<Item = &ScrubJson> {
    status.hosts.iter().flat_map(|host| &host.drives)
}

#[cfg(test)]
mod tests {
    use super::{Look, Passes, healed};
    use crate::api::admin::{
        HealCounts, HealOfHost, HealStatus, HostAnswer, ScrubCounts, ScrubJson, ScrubOfHost, ScrubStatus,
    };

    fn words(look: &Look) -> String {
        match look {
            Look::Left { left, note } => format!("{left}{note}"),
            Look::Done { note } => format!("done{note}"),
            Look::Failed(why) | Look::Silent(why) => why.clone(),
        }
    }

    fn answer(why: Option<&str>) -> HostAnswer {
        HostAnswer { host: "1".to_owned(), name: "a".to_owned(), why: why.map(str::to_owned) }
    }

    #[test]
    fn repair_is_done_when_all_drives_are_compared_and_no_shard_is_missing() {
        let of = |missing_shards, due: &[u32], why| {
            let sum = HealCounts { comparisons_due: due.to_vec(), ..HealCounts::default() };
            let hosts = vec![HealOfHost { host: answer(why), counts: None }];
            words(&healed(&HealStatus { missing_shards, sum, hosts, ..HealStatus::default() }))
        };
        assert_eq!(of(0, &[], None), "done");
        assert_eq!(of(3, &[], None), "3");
        assert_eq!(of(0, &[7], None), "0, 1 drives to be compared with the metadata");
        assert_eq!(of(0, &[], Some("gone")), "host a does not answer: gone");
    }

    /// The drive's number; when the scrub began; whether one is ordered; its progress (permille); when the last one
    /// ended.
    type Drive = (u32, Option<u64>, bool, u64, Option<u64>);

    fn scrub(drives: &[Drive], why: Option<&str>) -> ScrubStatus {
        let shown = |&(node, began, wanted, done_permille, finished): &Drive| ScrubJson {
            node,
            began,
            wanted,
            done_permille,
            eta_seconds: None,
            corrupt: 0,
            finished,
            due: 0,
        };
        let drives = drives.iter().map(shown).collect();
        ScrubStatus {
            sum: ScrubCounts::default(),
            hosts: vec![ScrubOfHost { host: answer(why), counts: None, drives }],
        }
    }

    #[test]
    fn scrubs_are_done_when_each_drive_has_been_verified_again() {
        let before = scrub(&[(0, None, false, 1000, Some(5)), (1, None, false, 1000, None)], None);
        let passes = Passes::ordered(&before, &[0, 1]);
        let judged = |status: &ScrubStatus| words(&passes.judge(status));
        let begun = scrub(&[(0, Some(6), false, 250, Some(5)), (1, None, true, 1000, None)], None);
        assert_eq!(judged(&begun), "1750");
        let one = scrub(&[(0, None, false, 1000, Some(7)), (1, Some(6), false, 1000, None)], None);
        assert_eq!(judged(&one), "0", "it is at its end, and not over");
        let both = scrub(&[(0, None, false, 1000, Some(7)), (1, None, false, 1000, Some(8))], None);
        assert_eq!(judged(&both), "done");
        let mut found = both.clone();
        found.hosts[0].drives[1].corrupt = 2;
        assert_eq!(judged(&found), "done; 2 corrupt chunks were found");
        assert_eq!(judged(&before), "the pass over drive 0 was ended before it was over");
        assert_eq!(judged(&scrub(&[], None)), "drive 0 is not there any more");
        assert_eq!(judged(&scrub(&[], Some("gone"))), "host a does not answer: gone");
        assert_eq!(words(&Passes::under_way(&before).judge(&before)), "done", "nothing is under way");
        assert_eq!(words(&Passes::under_way(&begun).judge(&both)), "done");
    }
}
