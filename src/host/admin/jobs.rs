//! The jobs of all hosts for the admin API: selects the hosts that are asked, and merges their answers.

use super::{HostAdmin, Registered, known, shown};
use crate::actors::healer;
use crate::actors::jobs::{Ask, JobAnswer, JobReply, JobStatus, ScrubJob};
use crate::actors::mover::MoveStatus;
use crate::api::HealthSource;
use crate::api::admin::{
    AdminError, ChooseScrub, HealCounts, HealOfHost, HealStatus, HostAnswer, MovesJson, MovesOfHost, Ordered,
    OrderedOfHost, ScrubCounts, ScrubJson, ScrubOfHost, ScrubStatus,
};
use crate::types::{HostId, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// The hosts that a question or an order is for.
pub(super) struct SelectedHosts {
    pub hosts: BTreeSet<HostId>,
    pub names: BTreeMap<HostId, String>,
}

impl SelectedHosts {
    pub fn row(&self, host: HostId, why: Option<String>) -> HostAnswer {
        let name = self.names.get(&host).cloned().unwrap_or_else(|| shown(host));
        HostAnswer { host: shown(host), name, why }
    }
}

impl HostAdmin {
    pub(super) async fn all_healing(&self, host: Option<&str>) -> Result<HealStatus, AdminError> {
        let (known, counts) = self.look_up(|view| Ok((known(view)?, view.counts()?))).await?;
        let meant = self.meant(&known, host, None)?;
        let answers = self.jobs.ask(meant.hosts.iter().copied(), Ask::Status).await;
        let hosts: Vec<HealOfHost> = answers
            .into_iter()
            .map(|answered| {
                let (host, status) = status_of(&meant, answered);
                HealOfHost { host, counts: status.map(|status| heal_counts(&status.healing)) }
            })
            .collect();
        let safety = self.health().safety;
        Ok(HealStatus {
            // The queue may have grown since the assessment was made.
            missing_shards: safety.missing_shards.at_most.max(counts.repairs),
            under_replicated_objects: safety.reduced.blobs.at_most,
            garbage_blobs: counts.garbage,
            sum: HealCounts::sum(hosts.iter().filter_map(|host| host.counts.as_ref())),
            safety,
            hosts,
        })
    }

    pub(super) async fn all_scrub(&self, host: Option<&str>) -> Result<ScrubStatus, AdminError> {
        let meant = self.meant(&self.look_up(known).await?, host, None)?;
        let answers = self.jobs.ask(meant.hosts.iter().copied(), Ask::Status).await;
        let hosts: Vec<ScrubOfHost> = answers
            .into_iter()
            .map(|answered| {
                let (host, status) = status_of(&meant, answered);
                let is_told = status.is_some();
                let drives: Vec<ScrubJson> =
                    status.map(|status| status.scrub.into_iter().map(scrub_shown).collect()).unwrap_or_default();
                ScrubOfHost { host, counts: is_told.then(|| ScrubCounts::of(drives.iter())), drives }
            })
            .collect();
        let sum = ScrubCounts::of(hosts.iter().flat_map(|host| &host.drives));
        Ok(ScrubStatus { sum, hosts })
    }

    /// Returns the moves to each host with nodes, and their sum.
    pub(super) async fn all_moves(&self, known: &Registered, epoch: u64) -> (MovesJson, Vec<MovesOfHost>) {
        let meant = SelectedHosts { hosts: hosts_with_nodes(known), names: self.names(known) };
        let answers = self.jobs.ask(meant.hosts.iter().copied(), Ask::Status).await;
        let rows: Vec<MovesOfHost> = answers
            .into_iter()
            .map(|answered| {
                let (host, status) = status_of(&meant, answered);
                MovesOfHost { host, moving: status.map(|status| moves_shown(status.moving)) }
            })
            .collect();
        (MovesJson::sum(rows.iter().map(|row| row.moving.as_ref()), epoch), rows)
    }

    pub(super) async fn order_heal(&self, host: Option<&str>) -> Result<Ordered, AdminError> {
        let meant = self.meant(&self.look_up(known).await?, host, None)?;
        self.order(&meant, Ask::StartHeal).await
    }

    pub(super) async fn order_scrub(&self, chosen: ChooseScrub, start: bool) -> Result<Ordered, AdminError> {
        let node = chosen.node.map(NodeId);
        let meant = self.meant(&self.look_up(known).await?, chosen.host.as_deref(), node)?;
        let ask = if start { Ask::StartScrub { node } } else { Ask::StopScrub { node } };
        self.order(&meant, ask).await
    }

    async fn order(&self, meant: &SelectedHosts, ask: Ask) -> Result<Ordered, AdminError> {
        let answers = self.jobs.ask(meant.hosts.iter().copied(), ask).await;
        if let [JobReply { answer: Ok(JobAnswer::Refused(why)), .. }] = answers.as_slice() {
            return Err(AdminError::Refused(why.clone()));
        }
        let hosts: Vec<OrderedOfHost> = answers.into_iter().map(|answered| ordered_of(meant, answered)).collect();
        Ok(Ordered { nodes: hosts.iter().flat_map(|host| host.nodes.iter().copied()).collect(), hosts })
    }

    /// Returns the host of this name or id; else the host of this node; else all hosts with nodes.
    fn meant(&self, known: &Registered, host: Option<&str>, node: Option<NodeId>) -> Result<SelectedHosts, AdminError> {
        let names = self.names(known);
        let hosts = meant_hosts(known, &names, host, node)?;
        Ok(SelectedHosts { hosts, names })
    }
}

fn hosts_with_nodes(known: &Registered) -> BTreeSet<HostId> {
    known.nodes.iter().map(|node| node.host).collect()
}

fn meant_hosts(
    known: &Registered,
    names: &BTreeMap<HostId, String>,
    host: Option<&str>,
    node: Option<NodeId>,
) -> Result<BTreeSet<HostId>, AdminError> {
    let refused = |why: String| AdminError::Refused(why);
    if let Some(host) = host {
        let named = names.iter().find(|(id, name)| *name == host || shown(**id) == host).map(|(id, _)| *id);
        let id = named.ok_or_else(|| refused(format!("there is no host {host:?}")))?;
        let has_nodes = hosts_with_nodes(known).contains(&id);
        return has_nodes.then(|| BTreeSet::from([id])).ok_or_else(|| refused(format!("host {host:?} has no drives")));
    }
    match node {
        None => Ok(hosts_with_nodes(known)),
        Some(node) => match known.nodes.iter().find(|known| known.id == node) {
            Some(found) => Ok(BTreeSet::from([found.host])),
            None => Err(refused(format!("there is no drive {node}"))),
        },
    }
}

/// Returns the row of a host, and the status of its jobs if it answered.
fn status_of(meant: &SelectedHosts, JobReply { host, answer }: JobReply) -> (HostAnswer, Option<JobStatus>) {
    match answer {
        Ok(JobAnswer::Status(status)) => (meant.row(host, None), Some(*status)),
        Ok(other) => (meant.row(host, Some(format!("its answer does not fit the question: {other:?}"))), None),
        Err(why) => (meant.row(host, Some(why)), None),
    }
}

fn ordered_of(meant: &SelectedHosts, JobReply { host, answer }: JobReply) -> OrderedOfHost {
    let (why, nodes) = match answer {
        Ok(JobAnswer::Nodes(nodes)) => (None, nodes),
        Ok(JobAnswer::Refused(why)) | Err(why) => (Some(why), Vec::new()),
        Ok(other) => (Some(format!("its answer does not fit the order: {other:?}")), Vec::new()),
    };
    OrderedOfHost { host: meant.row(host, why), nodes: nodes.into_iter().map(|node| node.0).collect() }
}

fn heal_counts(healing: &healer::HealStatus) -> HealCounts {
    HealCounts {
        corrupt_chunks: healing.corrupt_chunks,
        orphaned_shards: healing.orphaned_shards,
        to_repair_shards: healing.to_repair_shards,
        to_repair_bytes: healing.to_repair_bytes,
        repairing: healing.repairing,
        put_off: healing.put_off,
        repaired_shards: healing.repaired_shards,
        repaired_bytes: healing.repaired_bytes,
        bytes_per_second: healing.bytes_per_second,
        eta_seconds: healing.eta.map(|eta| eta.as_secs()),
        comparisons_due: healing.comparing.iter().map(|node| node.0).collect(),
    }
}

fn scrub_shown(ScrubJob { node, wanted, status }: ScrubJob) -> ScrubJson {
    ScrubJson {
        node: node.0,
        began: status.began.map(|began| began.0),
        wanted,
        done_permille: status.done_permille,
        eta_seconds: status.eta.map(|eta| eta.as_secs()),
        corrupt: status.corrupt,
        finished: status.finished.map(|finished| finished.0),
        due: status.due.0,
    }
}

fn moves_shown(moving: MoveStatus) -> MovesJson {
    MovesJson {
        epoch: moving.epoch.0,
        settled: moving.settled,
        shards_left: moving.shards_left,
        bytes_left: moving.bytes_left,
        shards_waiting: moving.shards_waiting,
        shards_moved: moving.shards_moved,
    }
}

#[cfg(test)]
mod tests {
    use super::{Registered, meant_hosts};
    use crate::api::admin::AdminError;
    use crate::storage::meta::record::{NodeRecord, NodeState, RolesRecord};
    use crate::types::{HostId, Incarnation, NodeId, UnixMs};
    use std::collections::{BTreeMap, BTreeSet};

    fn meant(host: Option<&str>, node: Option<u32>) -> Result<BTreeSet<HostId>, AdminError> {
        let record = |id, host| NodeRecord {
            id: NodeId(id),
            host: HostId(host),
            incarnation: Incarnation(1),
            weight: 5,
            state: NodeState::Active,
            joined: UnixMs(1),
        };
        let nodes = vec![record(0, 1), record(1, 1), record(64, 2)];
        let known = Registered { hosts: Vec::new(), nodes, roles: RolesRecord::default() };
        let names: BTreeMap<HostId, String> =
            [(1, "a"), (2, "b"), (3, "gateway")].map(|(id, name)| (HostId(id), name.to_owned())).into();
        meant_hosts(&known, &names, host, node.map(NodeId))
    }

    #[test]
    fn a_job_is_for_all_hosts_with_drives_or_for_the_named_one() {
        assert_eq!(meant(None, None), Ok(BTreeSet::from([HostId(1), HostId(2)])));
        assert_eq!(meant(Some("b"), None), Ok(BTreeSet::from([HostId(2)])));
        assert_eq!(meant(Some("0000000000000001"), Some(64)), Ok(BTreeSet::from([HostId(1)])), "which refuses it");
        assert_eq!(meant(None, Some(64)), Ok(BTreeSet::from([HostId(2)])));
        for (host, node, why) in [
            (Some("x"), None, "there is no host \"x\""),
            (Some("gateway"), None, "has no drives"),
            (None, Some(9), "there is no drive 9"),
        ] {
            let Err(AdminError::Refused(refused)) = meant(host, node) else { panic!("{host:?} {node:?}") };
            assert!(refused.contains(why), "{refused}");
        }
    }
}
