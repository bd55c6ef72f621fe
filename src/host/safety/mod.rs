//! The assessment of safety: which losses the store survives now, how much lacks redundancy, what the store does about
//! it and what an operator has to do. Pure: a function of the layout, the states of drives and hosts, and the counts of
//! the census.
//!
//! The number of shards on drives out of service is exact at once: the metadata counts the shards placed on each drive.
//! The repair queue may name some of the same shards, so the sum of both is an upper bound. Numbers of blobs are exact
//! once the census has gone through all of them with the drives in their present states, until shards are queued,
//! repaired or moved.

mod metadata;
mod read_check;
mod stop;
#[cfg(test)]
mod tests;
mod words;

use crate::actors::drives::health::{Contents, HostState, NodeHealth, ReplicaState};
use crate::actors::healer::{Amount, QueueState, Snapshot, Tally};
use crate::api::{BlobsJson, Bounds, LossesJson, RepairsJson, Safety};
use crate::storage::meta::record::BlobRef;
use crate::storage::ring::{Availability, Guarantee, Losses, Ring};
use crate::types::{BlobId, Geometry, HostId, NodeId, ShardNumber};
use std::collections::{BTreeMap, BTreeSet};

/// The facts of the assessment.
pub(super) struct Facts<'a> {
    pub own: HostId,
    pub ring: &'a Ring,
    pub geometry: Geometry,
    pub health: &'a NodeHealth,
    /// Nodes whose shards are missing: they are out of service, or new and not filled yet.
    pub absent: BTreeSet<NodeId>,
    /// The availability of each node for new shards.
    pub availability: &'a dyn Fn(NodeId) -> Availability,
    /// The voters of the metadata with the states of their replicas, as they last reported.
    pub voters: BTreeMap<HostId, ReplicaState>,
    /// True while the voters change: then majorities of the former and of the future ones are needed.
    pub voters_change: bool,
    /// The index of a log entry that every replica which follows the log has applied.
    pub applied_before: u64,
    pub snapshot: Snapshot,
    /// True if the snapshot of the census was taken after this host was last held up (stopped or cut off).
    pub is_current: bool,
    /// Shards that are to be moved to this host.
    pub to_move: u64,
}

impl Facts<'_> {
    fn placed(&self, node: NodeId) -> u64 {
        self.snapshot.held.nodes.get(&node).map_or(0, |held| held.placed)
    }

    fn contents(&self, node: NodeId) -> Contents {
        match self.health.state(node) {
            Some(_) if self.is_before_comparison(node) => Contents::Uncompared,
            Some(state) => state.contents,
            None => Contents::Compared,
        }
    }

    /// Returns true if the counts are older than the node's comparison, so that they lack the repairs which it queued.
    fn is_before_comparison(&self, node: NodeId) -> bool {
        let state = self.health.state(node);
        state.is_some_and(|s| s.contents == Contents::Compared && s.compared_at > self.snapshot.as_of)
    }

    fn is_stale(&self) -> bool {
        let is_behind = |node: NodeId| self.is_before_comparison(node) && self.placed(node) > 0;
        !self.is_current || self.ring.nodes().iter().any(|node| is_behind(node.id))
    }

    fn repairs(&self) -> u64 {
        self.snapshot.counts.map_or(0, |counts| counts.repairs)
    }

    /// Returns the tally of the census, if it was taken with the present absent drives and layout.
    fn tally(&self) -> Option<&Tally> {
        let tally = self.snapshot.tally.as_deref()?;
        (tally.absent == self.absent && tally.epoch == self.ring.epoch()).then_some(tally)
    }

    /// Returns the former tally, if it was taken with at least all drives absent that are absent now: drives that came
    /// back make nothing worse.
    fn earlier(&self) -> Option<&Tally> {
        let earlier = self.snapshot.earlier.as_deref()?;
        (earlier.epoch == self.ring.epoch() && self.absent.is_subset(&earlier.absent)).then_some(earlier)
    }

    /// The repair queue and the placements, as the metadata's counters show them.
    fn queue(&self) -> QueueState {
        self.snapshot.counts.as_ref().map(QueueState::of).unwrap_or_default()
    }

    /// Returns the tally if it is complete, and no shard was queued, repaired or moved since.
    fn exact(&self) -> Option<&Tally> {
        let queue = self.queue();
        self.tally().filter(|tally| tally.is_complete && tally.queue == queue)
    }

    /// Returns true if all blobs were counted with the present absent drives and layout, and shards were moved since.
    fn has_moved_since_count(&self) -> bool {
        let moved = self.queue().moved;
        self.tally().is_some_and(|tally| tally.is_complete && tally.queue.moved != moved)
    }

    /// Returns the losses that the blobs of a tally survive now. If shards were moved since, each blob is on its way to
    /// a placement by the present layout, and lacks as many shards as before.
    fn losses_since(&self, tally: &Tally) -> Losses {
        if tally.queue.moved == self.queue().moved {
            return tally.losses;
        }
        let parity = usize::from(self.geometry.parity);
        let missing = usize::try_from(tally.missing_most).unwrap_or(parity);
        tally.losses.min(self.ring.losses_with(self.geometry, parity.saturating_sub(missing)))
    }

    /// Returns the losses that every blob survives while no shard is missing, as far as known: blobs that were placed by
    /// a former layout may survive less than those of the present one.
    fn losses_when_whole(&self) -> Losses {
        let by_layout = self.ring.losses_with(self.geometry, usize::from(self.geometry.parity));
        let now = self.snapshot.tally.as_deref().filter(|tally| tally.epoch == self.ring.epoch());
        // Until all blobs were counted with this layout, those that the last pass found count as well.
        let before = self.snapshot.earlier.as_deref().filter(|_| !now.is_some_and(|tally| tally.is_complete));
        now.into_iter().chain(before).fold(by_layout, |losses, tally| losses.min(tally.losses_when_whole))
    }

    /// Returns the drives in service that hold shards and were not compared with the metadata yet.
    fn uncompared(&self) -> Vec<NodeId> {
        let nodes = self.ring.nodes().iter().map(|node| node.id);
        let is_uncompared = |node: &NodeId| {
            self.contents(*node) == Contents::Uncompared && !self.absent.contains(node) && self.placed(*node) > 0
        };
        nodes.filter(is_uncompared).collect()
    }

    fn is_up(&self, host: HostId) -> bool {
        host == self.own || self.health.host(host).is_some_and(HostState::is_up)
    }

    /// Returns true if the metadata's counters were read and every host was asked for its state, at least once.
    fn is_known(&self) -> bool {
        self.unknown().is_none()
    }

    /// Returns the reason if the safety of the data cannot be assessed yet.
    fn unknown(&self) -> Option<&'static str> {
        let is_asked = |host: &HostId| *host == self.own || self.health.host(*host).is_some();
        match (self.snapshot.counts, self.snapshot.hosts.keys().all(is_asked)) {
            (None, _) => Some("the metadata's counters have not been read yet"),
            (_, false) => Some("not all other hosts have reported their state yet"),
            _ => None,
        }
    }

    /// Returns a pair of hosts, other than `without`, that are both up although the first does not hear the second.
    fn out_of_touch(&self, without: Option<HostId>) -> Option<(HostId, HostId)> {
        let up: Vec<HostId> =
            self.snapshot.hosts.keys().copied().filter(|host| Some(*host) != without && self.is_up(*host)).collect();
        let hears = |host: HostId, other: HostId| {
            host == self.own || self.health.host(host).is_some_and(|state| state.hears.contains(&other))
        };
        let pairs = up.iter().flat_map(|&host| up.iter().map(move |&other| (host, other)));
        pairs.into_iter().find(|&(host, other)| host != other && !hears(host, other))
    }

    /// Returns the leader of the metadata group, if it is up but no change that it sends is decided.
    pub fn stuck_leader(&self) -> Option<HostId> {
        let is_stuck = |(host, replica): &(&HostId, &ReplicaState)| replica.is_stuck && self.is_up(**host);
        self.voters.iter().find(is_stuck).map(|(host, _)| *host)
    }

    /// Returns the number of these hosts in each failure domain. A host without drives is a domain of its own.
    fn hosts_of_domains(&self, hosts: impl Iterator<Item = HostId>) -> Vec<usize> {
        let domain_of: BTreeMap<HostId, usize> = self.ring.places().values().copied().collect();
        let mut domains: BTreeMap<Result<usize, HostId>, usize> = BTreeMap::new();
        for host in hosts {
            *domains.entry(domain_of.get(&host).copied().ok_or(host)).or_default() += 1;
        }
        domains.into_values().collect()
    }

    /// Returns the drives that take no new shards because they are full.
    fn full(&self) -> Vec<NodeId> {
        let nodes = self.ring.nodes().iter().map(|node| node.id);
        let is_full =
            |node: &NodeId| (self.availability)(*node) == Availability::Full && self.health.unwritable(*node).is_none();
        nodes.filter(is_full).collect()
    }

    /// Returns the drives that serve reads and take no writes, each with the reason.
    fn unwritable(&self) -> impl Iterator<Item = (NodeId, &str)> {
        let nodes = self.ring.nodes().iter().map(|node| node.id).filter(|node| self.health.in_service(*node));
        nodes.filter_map(|node| Some((node, self.health.unwritable(node)?)))
    }

    fn host_name(&self, host: HostId) -> String {
        self.snapshot.hosts.get(&host).cloned().unwrap_or_else(|| format!("{:016x}", host.0))
    }
}

pub(super) fn assess(facts: &Facts<'_>) -> Safety {
    let missing = missing_shards(facts);
    let parity = u64::from(facts.geometry.parity);
    let amount = |of: fn(&Tally) -> Amount, shards_each: u64| blobs(facts, missing, of, shards_each);
    let without_spare = match parity {
        0 => BlobsJson::default(),
        parity => amount(|tally| tally.without_spare, parity),
    };
    let promised = guarantee(facts);
    let (now, at_best) = match (facts.is_known(), facts.is_stale()) {
        (false, _) => (Losses::NONE, Losses::NONE),
        // The comparison may have found that the drive lacks all shards that are placed on it.
        (true, true) => (Losses::NONE, survives(facts, missing, 1)),
        (true, false) => {
            let parity = usize::from(facts.geometry.parity);
            (survives(facts, missing, parity), survives(facts, missing, 1))
        }
    };
    let is_disturbed = facts.stuck_leader().is_some() || facts.out_of_touch(None).is_some();
    let serving = match is_disturbed {
        true => Losses::NONE,
        false => now.min(facts.ring.losses_for_writes(facts.geometry, facts.availability)).min(gateways(facts)),
    };
    let shown = |losses: Losses| LossesJson {
        domains: promised.has_domains.then_some(losses.domains),
        hosts: losses.hosts,
        drives: losses.drives,
    };
    let uncompared = facts.uncompared();
    let mut safety = Safety {
        at_risk: without_spare.blobs.at_least > 0 || (facts.is_known() && promised.drives > 0 && at_best.drives == 0),
        survives_now: shown(now),
        serves_without: shown(serving),
        missing_shards: missing,
        reduced: amount(|tally| tally.reduced, 1),
        without_spare,
        unreadable: amount(|tally| tally.unreadable, parity + 1),
        is_counted: facts.exact().is_some(),
        is_stale: facts.is_known() && facts.is_stale(),
        absent_drives: facts.absent.iter().map(|node| node.0).collect(),
        uncompared_shards: uncompared.iter().map(|node| facts.placed(*node)).sum(),
        uncompared_drives: uncompared.into_iter().map(|node| node.0).collect(),
        repairs: repairs(facts),
        doing: Vec::new(),
        to_do: Vec::new(),
    };
    (safety.doing, safety.to_do) = (words::doing(facts, &safety), words::to_do(facts, &safety));
    safety
}

/// Returns the losses that this cluster survives while nothing is missing.
pub(super) fn guarantee(facts: &Facts<'_>) -> Guarantee {
    facts.ring.guarantee(facts.geometry).at_most(facts.losses_when_whole()).at_most(metadata::losses_when_whole(facts))
}

/// Returns the problems, in words.
pub(super) fn reasons(facts: &Facts<'_>, safety: &Safety) -> Vec<String> {
    words::reasons(facts, safety)
}

pub(super) use read_check::ReadCheck;
pub(super) use stop::{StopJudgement, judge_stop};

fn missing_shards(facts: &Facts<'_>) -> Bounds {
    let repairs = facts.repairs();
    let of = |nodes: &mut dyn Iterator<Item = &NodeId>| nodes.map(|node| facts.placed(*node)).sum::<u64>();
    let at_most = of(&mut facts.absent.iter()) + repairs;
    if let Some(tally) = facts.exact() {
        let counted = tally.missing_shards.min(at_most);
        return Bounds { at_least: counted, at_most: counted };
    }
    // A drive that is being filled has some of its shards by now, so it does not count for the lower bound.
    let is_silent = |node: &&NodeId| facts.contents(**node) != Contents::Empty;
    let silent = of(&mut facts.absent.iter().filter(is_silent));
    Bounds { at_least: silent.max(repairs).min(at_most), at_most }
}

/// Returns bounds of the number of blobs that each lack at least `shards_each` shards. `of` selects their count in the
/// tally.
fn blobs(facts: &Facts<'_>, missing: Bounds, of: fn(&Tally) -> Amount, shards_each: u64) -> BlobsJson {
    let all = facts.snapshot.counts.map_or(0, |counts| counts.blobs);
    let bound = (missing.at_most / shards_each).min(all);
    let counted = facts.tally().map(of).unwrap_or_default();
    let at_least = counted.blobs.min(bound);
    let at_most = if facts.exact().is_some() { at_least } else { bound };
    let bytes_counted = if at_least == 0 { 0 } else { counted.bytes };
    BlobsJson { blobs: Bounds { at_least, at_most }, bytes_counted }
}

/// Returns the losses that the data survives. Until the census has counted, assumes the worst blob: one that has the
/// most possible shards on every absent drive, and lacks `queued_each` more that are in the repair queue.
fn survives(facts: &Facts<'_>, missing: Bounds, queued_each: usize) -> Losses {
    let (ring, geometry) = (facts.ring, facts.geometry);
    let parity = usize::from(geometry.parity);
    let when_whole = facts.losses_when_whole();
    let counted = facts.tally().filter(|tally| tally.is_complete);
    let of_old = match counted {
        _ if missing.at_most == 0 => when_whole,
        Some(tally) => when_whole.min(facts.losses_since(tally)),
        None => match facts.earlier() {
            Some(earlier) => when_whole.min(facts.losses_since(earlier)),
            None => {
                let holding = facts.absent.iter().filter(|node| facts.placed(**node) > 0).count();
                let queued = usize::try_from(facts.repairs()).map_or(queued_each, |queued| queued.min(queued_each));
                let each = holding * ring.shards_of_node_max(geometry) + queued;
                let by_layout = ring.losses_with(geometry, parity.saturating_sub(each));
                // Of a blob that was placed by a former layout, each absent drive and queued shard counts as a loss.
                match facts.snapshot.earlier.as_deref().is_none_or(|earlier| earlier.epoch == ring.epoch()) {
                    true => by_layout,
                    false => by_layout.min(when_whole.less(holding + queued)),
                }
            }
        },
    };
    of_old.min(of_new(facts)).min(metadata::losses_now(facts))
}

/// Returns the losses that a blob would survive that is written now.
fn of_new(facts: &Facts<'_>) -> Losses {
    let Ok(placement) = facts.ring.place(BlobId(0), facts.geometry, facts.availability) else { return Losses::ANY };
    let missing: Vec<ShardNumber> = placement.missing().collect();
    let blob = BlobRef { id: BlobId(0), size_bytes: 0, geometry: placement.geometry, placement: placement.nodes };
    let mut tally = Tally::new(BTreeSet::new(), facts.ring.epoch(), QueueState::default());
    tally.count(&blob, &missing, &facts.ring.places());
    tally.losses
}

/// Returns the losses after which at least one host still serves S3.
fn gateways(facts: &Facts<'_>) -> Losses {
    let up: Vec<HostId> = facts.snapshot.gateways.iter().copied().filter(|host| facts.is_up(*host)).collect();
    let domains = facts.hosts_of_domains(up.iter().copied()).len();
    Losses { domains: domains.saturating_sub(1), hosts: up.len().saturating_sub(1), drives: usize::MAX }
}

fn repairs(facts: &Facts<'_>) -> RepairsJson {
    let (queued, speed) = (facts.repairs(), facts.snapshot.repaired_per_1000_seconds);
    let eta_seconds = match queued {
        0 => Some(0),
        queued => queued.saturating_mul(1000).checked_div(speed),
    };
    RepairsJson { queued, repaired_per_minute: speed.saturating_mul(60) / 1000, eta_seconds }
}
