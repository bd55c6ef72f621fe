//! The decision whether a host may be stopped now: whether the other hosts can read and write everything without it.

use super::{Facts, metadata};
use crate::actors::drives::health::Contents;
use crate::storage::ring::Availability;
use crate::types::{HostId, NodeId};

/// The decision whether a host may be stopped, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StopJudgement {
    pub safe: bool,
    pub why: String,
}

/// Decides whether a host may be stopped. The first reason against it is returned; whatever is uncertain is a reason.
pub(crate) fn judge_stop(facts: &Facts<'_>, host: HostId) -> StopJudgement {
    let name = facts.host_name(host);
    let reason = not_known(facts)
        .or_else(|| only_one(facts, host))
        .or_else(|| others_stopping(facts, host))
        .or_else(|| out_of_touch(facts, host))
        .or_else(|| too_few_voters(facts, host))
        .or_else(|| not_certain(facts, host))
        .or_else(|| not_writable(facts, host))
        .or_else(|| not_readable(facts, host));
    match reason {
        Some(why) => StopJudgement { safe: false, why: format!("host {name} must not be stopped now: {why}") },
        None => StopJudgement {
            safe: true,
            why: format!("host {name} may be stopped now: the others read and write everything without it"),
        },
    }
}

fn not_known(facts: &Facts<'_>) -> Option<String> {
    let why = match (facts.unknown(), facts.is_stale(), facts.stuck_leader()) {
        (Some(why), ..) => why,
        (_, true, _) => "the set of missing shards has changed, and is being counted",
        (.., Some(_)) => "no change of the metadata is decided at present",
        _ => return None,
    };
    Some(why.to_owned())
}

/// Returns a reason if another host is stopping, even if that host still serves for a moment.
fn others_stopping(facts: &Facts<'_>, host: HostId) -> Option<String> {
    let is_stopping = |other: &&HostId| facts.health.host(**other).is_some_and(|state| state.stopping);
    let stopping = facts.snapshot.hosts.keys().filter(|other| **other != host).find(is_stopping)?;
    Some(format!("host {} is stopping", facts.host_name(*stopping)))
}

fn only_one(facts: &Facts<'_>, host: HostId) -> Option<String> {
    let is_other = |other: &HostId| *other != host && facts.is_up(*other);
    if !facts.snapshot.hosts.keys().any(is_other) {
        return Some("no other host is there".to_owned());
    }
    let gateways = &facts.snapshot.gateways;
    (gateways.contains(&host) && !gateways.iter().any(is_other)).then(|| "no other host serves S3".to_owned())
}

/// Returns a reason if the hosts that would be left do not all hear each other: the one that is to be stopped may be the
/// only one through which they agree, and the drives of one may be out of reach for another.
fn out_of_touch(facts: &Facts<'_>, host: HostId) -> Option<String> {
    let (one, other) = facts.out_of_touch(Some(host))?;
    Some(format!("host {} does not hear host {}", facts.host_name(one), facts.host_name(other)))
}

fn too_few_voters(facts: &Facts<'_>, host: HostId) -> Option<String> {
    if facts.voters_change {
        return Some("the voters for the metadata are being changed".to_owned());
    }
    let (majority, all) = (metadata::majority(facts), facts.voters.len());
    let is_left = |voter: &&HostId| **voter != host && metadata::takes_part(facts, **voter);
    let left = facts.voters.keys().filter(is_left).count();
    (left < majority)
        .then(|| format!("{left} of {all} voters for the metadata would be left, and {majority} are needed"))
}

/// Returns a reason if the redundancy on the other hosts' drives is uncertain. The drives of the host itself need not
/// be compared with the metadata: nobody reads them while the host is stopped.
fn not_certain(facts: &Facts<'_>, host: HostId) -> Option<String> {
    let is_others = |node: &NodeId| facts.ring.host_of(*node) != Some(host);
    let nodes = facts.ring.nodes().iter().map(|node| node.id).filter(is_others);
    let unsure = nodes.filter(|node| facts.contents(*node) != Contents::Compared && facts.placed(*node) > 0);
    let unsure: Vec<String> = unsure.map(|node| node.to_string()).collect();
    if !unsure.is_empty() {
        return Some(format!("not compared with the metadata yet: drives {}", unsure.join(", ")));
    }
    if facts.exact().is_some() {
        return None;
    }
    if facts.has_moved_since_count() {
        let why = "shards were moved since the redundancy of all objects was counted; wait until none is left to move \
                   (sherd admin layout show) and all objects are counted again";
        return Some(why.to_owned());
    }
    let queued = facts.repairs();
    Some(format!("the redundancy of all objects is still being counted ({queued} shards are queued for repair)"))
}

fn not_writable(facts: &Facts<'_>, host: HostId) -> Option<String> {
    let without = |node: NodeId| match facts.ring.host_of(node) {
        Some(of) if of == host => Availability::Down,
        _ => (facts.availability)(node),
    };
    let refusal = facts.ring.check_writable(facts.geometry, without).err()?;
    Some(format!("writes would be refused: {refusal}"))
}

fn not_readable(facts: &Facts<'_>, host: HostId) -> Option<String> {
    let tally = facts.exact()?;
    let (lost, unreadable) = (tally.lost_without.get(&host).copied().unwrap_or(0), tally.unreadable.blobs);
    match (lost, unreadable) {
        (0, 0) => None,
        (0, unreadable) => Some(format!("{unreadable} objects or parts cannot be read as it is")),
        (lost, _) => Some(format!("{lost} objects or parts could not be read without its drives")),
    }
}
