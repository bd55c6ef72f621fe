//! The losses that the metadata survives. An acknowledged entry is on a majority of the voters, so a majority of the
//! voters must each keep at least one copy of its log.

use super::{Facts, ReplicaState};
use crate::storage::ring::{Losses, most_within};
use crate::types::HostId;
use std::collections::BTreeMap;

/// Returns the losses that the metadata survives now, with the voters that work and the copies that exist.
pub(super) fn losses_now(facts: &Facts<'_>) -> Losses {
    let takes_part = |host: &&HostId| takes_part(facts, **host);
    let copies = facts.voters.keys().filter(takes_part).map(|host| (*host, facts.voters[host].copies));
    losses(facts, copies.collect())
}

/// Returns the losses that the metadata survives once every voter works and has all its wanted copies.
pub(super) fn losses_when_whole(facts: &Facts<'_>) -> Losses {
    losses(facts, facts.voters.iter().map(|(host, replica)| (*host, replica.copies_wanted.max(1))).collect())
}

pub(super) fn majority(facts: &Facts<'_>) -> usize {
    facts.voters.len() / 2 + 1
}

/// Returns true if the host is a voter that is up, in service, not behind, and has a copy of the log.
pub(super) fn takes_part(facts: &Facts<'_>, host: HostId) -> bool {
    let is_sound =
        |replica: &ReplicaState| replica.out_of_service.is_none() && replica.copies > 0 && !is_behind(facts, replica);
    facts.is_up(host) && facts.voters.get(&host).is_some_and(is_sound)
}

/// Returns whether a replica lacks entries that it should have applied by now.
pub(super) fn is_behind(facts: &Facts<'_>, replica: &ReplicaState) -> bool {
    replica.applied < facts.applied_before
}

/// Returns the losses that the metadata survives if these voters work, given each one's number of copies. A voter is
/// lost with its last copy.
fn losses(facts: &Facts<'_>, copies: BTreeMap<HostId, usize>) -> Losses {
    let Some(spare) = copies.len().checked_sub(majority(facts)) else { return Losses::NONE };
    let voters_of_domains = facts.hosts_of_domains(copies.keys().copied());
    let mut copies: Vec<usize> = copies.into_values().collect();
    copies.sort_unstable();
    let fatal: usize = copies.iter().take(spare + 1).sum();
    Losses { domains: most_within(voters_of_domains, spare), hosts: spare, drives: fatal.saturating_sub(1) }
}
