//! The messages of the assessment: problems, work under way, and what the operator has to do; one sentence each.

use super::{Facts, metadata};
use crate::actors::drives::health::Contents;
use crate::api::{BlobsJson, Safety};
use crate::types::{HostId, NodeId};
use std::collections::BTreeMap;

fn numbers(nodes: &[NodeId]) -> String {
    let all: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
    format!("{} {}", if nodes.len() == 1 { "drive" } else { "drives" }, all.join(", "))
}

fn shards_are(count: u64) -> &'static str {
    if count == 1 { "shard is" } else { "shards are" }
}

pub(super) fn reasons(facts: &Facts<'_>, safety: &Safety) -> Vec<String> {
    let all = facts.ring.nodes().len();
    let (filling, silent): (Vec<NodeId>, Vec<NodeId>) =
        facts.absent.iter().copied().partition(|node| is_new(facts, *node));
    let mut reasons = Vec::new();
    if let Some(why) = facts.unknown() {
        reasons.push(format!("the safety of the data is not known yet: {why}"));
        return reasons;
    }
    if safety.is_stale {
        reasons.push("the set of missing shards has changed, and is being counted".to_owned());
    }
    reasons.extend(facts.stuck_leader().map(|leader| {
        let name = facts.host_name(leader);
        let why = match facts.voters.len() {
            1 => "its own drives or tables do not take what is to be decided",
            _ => "too few voters keep what it sends, or its own drives or tables do not take it",
        };
        format!("no change of the metadata is decided: host {name} leads, and {why}")
    }));
    reasons.extend(facts.out_of_touch(None).map(|(one, other)| {
        let (one, other) = (facts.host_name(one), facts.host_name(other));
        format!("host {one} does not hear host {other}: check the network between them; stop no host before")
    }));
    reasons.extend(facts.snapshot.hosts.keys().filter_map(|host| of_host(facts, *host)));
    if !silent.is_empty() {
        let held: u64 = silent.iter().map(|node| facts.placed(*node)).sum();
        let be = if silent.len() == 1 { "is" } else { "are" };
        reasons.push(format!("{} of {all} drives {be} out of service, with {held} shards", silent.len()));
    }
    if !filling.is_empty() {
        let (held, what) = (filling.iter().map(|node| facts.placed(*node)).sum::<u64>(), numbers(&filling));
        reasons.push(format!("{what} took the place of others that held {held} shards, and may lack all of them"));
    }
    reasons.extend(facts.unwritable().map(|(node, why)| format!("{} takes no writes: {why}", numbers(&[node]))));
    let full = facts.full();
    if !full.is_empty() {
        let take = if full.len() == 1 { "is full and takes" } else { "are full and take" };
        reasons.push(format!("{} {take} no new shards", numbers(&full)));
    }
    let missing = safety.missing_shards;
    if missing.at_most > 0 {
        reasons.push(format!("{missing} {} missing", shards_are(missing.at_most)));
    }
    let lacking = |amount: BlobsJson, what: &str| {
        (amount.blobs.at_least > 0).then(|| format!("{} objects or parts of objects {what}", amount.blobs))
    };
    reasons.extend(lacking(safety.unreadable, "cannot be read"));
    reasons.extend(lacking(safety.without_spare, "have no shard to spare"));
    if !safety.uncompared_drives.is_empty() {
        let (drives, shards) = (safety.uncompared_drives.len(), safety.uncompared_shards);
        let were = if drives == 1 { "was" } else { "were" };
        reasons.push(format!(
            "{drives} of {all} drives {were} not compared with the metadata yet, which names {shards} shards there"
        ));
    }
    if safety.at_risk && safety.unreadable.blobs.at_least == 0 {
        reasons.push(match safety.survives_now.drives {
            0 => "the loss of one more drive loses data".to_owned(),
            _ => "some objects do not survive the losses that the layout promises to survive".to_owned(),
        });
    }
    reasons
}

/// Returns the problem of a host as such, or of its replica of the metadata.
fn of_host(facts: &Facts<'_>, host: HostId) -> Option<String> {
    let name = facts.host_name(host);
    if !facts.is_up(host) {
        let is_stopping = facts.health.host(host).is_some_and(|state| state.stopping);
        return Some(format!("host {name} {}", if is_stopping { "is stopping" } else { "does not answer" }));
    }
    let replica = facts.voters.get(&host)?;
    if let Some(why) = &replica.out_of_service {
        // Health of this host reports its own metadata as another reason.
        return (host != facts.own).then(|| format!("the metadata of host {name} is out of service: {why}"));
    }
    if metadata::is_behind(facts, replica) {
        let (has, wanted) = (replica.applied, facts.applied_before);
        return Some(format!("the metadata of host {name} is behind: it has {has} of {wanted} entries"));
    }
    let (copies, wanted) = (replica.copies, replica.copies_wanted);
    (copies < wanted).then(|| format!("host {name} has {copies} of {wanted} copies of the metadata log"))
}

fn is_new(facts: &Facts<'_>, node: NodeId) -> bool {
    facts.contents(node) == Contents::Empty && facts.health.in_service(node)
}

pub(super) fn doing(facts: &Facts<'_>, safety: &Safety) -> Vec<String> {
    let mut doing = Vec::new();
    let repairs = safety.repairs;
    if repairs.queued > 0 {
        let speed = match repairs.eta_seconds {
            None => "none was repaired in the last minute".to_owned(),
            Some(seconds) => format!("{} a minute, about {seconds} s left", repairs.repaired_per_minute),
        };
        doing.push(format!("{} {} queued for repair: {speed}", repairs.queued, shards_are(repairs.queued)));
    }
    let compared: Vec<NodeId> = safety
        .uncompared_drives
        .iter()
        .map(|&node| NodeId(node))
        .chain(facts.absent.iter().copied().filter(|node| is_new(facts, *node)))
        .collect();
    if !compared.is_empty() {
        doing.push(format!("compared with the metadata: {}", numbers(&compared)));
    }
    if facts.to_move > 0 {
        doing.push(format!("{} shards are to be moved to this host", facts.to_move));
    }
    if !safety.is_counted && facts.snapshot.counts.is_some() {
        doing.push("the redundancy of all objects is being counted".to_owned());
    }
    doing
}

pub(super) fn to_do(facts: &Facts<'_>, safety: &Safety) -> Vec<String> {
    let mut by_host: BTreeMap<HostId, Vec<NodeId>> = BTreeMap::new();
    for &node in facts.absent.iter().filter(|node| !is_new(facts, **node)) {
        if let Some(host) = facts.ring.host_of(node) {
            by_host.entry(host).or_default().push(node);
        }
    }
    let loses = safety.unreadable.blobs.at_least > 0;
    let sentence = |(host, nodes): (HostId, Vec<NodeId>)| {
        let (name, what) = (facts.host_name(host), numbers(&nodes));
        if facts.is_up(host) && loses {
            format!("bring back {what} of host {name}, and do not replace it: objects cannot be read without it")
        } else if facts.is_up(host) {
            format!("bring back or replace {what} of host {name}")
        } else if loses {
            format!("start host {name} again, and do not replace it: objects cannot be read without {what}")
        } else {
            format!("start host {name} again, or replace it: it has {what}")
        }
    };
    let mut to_do: Vec<String> = by_host.into_iter().map(sentence).collect();
    to_do.extend(facts.unwritable().map(|(node, _)| {
        let host = facts.ring.host_of(node).map(|host| facts.host_name(host)).unwrap_or_default();
        format!("mend {} of host {host} so that it takes writes, and restart the host", numbers(&[node]))
    }));
    let full = facts.full();
    if !full.is_empty() {
        to_do.push(format!(
            "add drives or delete objects: {} of {} drives have no room",
            full.len(),
            facts.ring.nodes().len()
        ));
    }
    if safety.unreadable.blobs.at_least > 0 && to_do.is_empty() {
        to_do.push(
            "bring back the drives that the unreadable objects' shards were on: the repair queue cannot rebuild them. If \
             every drive is there, the shards are lost: overwrite or delete these objects"
                .to_owned(),
        );
    }
    to_do
}
