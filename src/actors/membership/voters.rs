//! Chooses the voters of the metadata group. The leader's host keeps the group in order: the number of voters depends
//! on the number of hosts with the role `meta`, voters are spread over failure domains, all other hosts are learners,
//! and removed hosts leave the group.

use super::host_watch::HostWatch;
use crate::actors::consensus::{Membership, MetaHandle};
use crate::actors::drives::health::HealthBoard;
use crate::ambient::Ambient;
use crate::storage::meta::record::HostRecord;
use crate::types::{HostId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The time without an answer after which a voter is replaced by a host that answers, if there is one.
const ABSENT_FOR: Duration = Duration::from_secs(60);

/// A host that may vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub host: HostId,
    pub domain: Option<String>,
    /// False if the host has not answered for `ABSENT_FOR`.
    pub answers: bool,
}

/// Returns the number of voters for this number of hosts. With one or two voters, decisions need all of them; two are
/// better, since the metadata survives the loss of either.
fn voters_wanted(hosts: usize) -> usize {
    match hosts {
        0..=2 => hosts,
        3 | 4 => 3,
        _ => 5,
    }
}

/// Chooses the future voters. Present voters stay if they answer and spread over failure domains; further voters come
/// from domains that have none yet. A host that neither votes nor answers is never chosen: it cannot catch up, and the
/// change of voters would be put off until it is back.
pub fn choose_voters(candidates: &[Candidate], voting: &BTreeSet<HostId>) -> BTreeSet<HostId> {
    let wanted = voters_wanted(candidates.len());
    let may_vote = |candidate: &&Candidate| candidate.answers || voting.contains(&candidate.host);
    let mut ranked: Vec<&Candidate> = candidates.iter().filter(may_vote).collect();
    // Hosts that answer come first; of hosts alike in that, present voters.
    ranked.sort_by_key(|candidate| (!candidate.answers, !voting.contains(&candidate.host), candidate.host));
    let mut chosen = BTreeSet::new();
    let mut domains = BTreeSet::new();
    for spread in [true, false] {
        for candidate in &ranked {
            let is_alone = candidate.domain.as_ref().is_none_or(|domain| !domains.contains(domain));
            if chosen.len() < wanted && !chosen.contains(&candidate.host) && (is_alone || !spread) {
                chosen.insert(candidate.host);
                domains.extend(candidate.domain.clone());
            }
        }
    }
    chosen
}

/// A change of the membership. One is made at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Finishes a change of voters that was interrupted when both the former and the future voters counted.
    Finish(BTreeSet<HostId>),
    Add(HostId, String),
    /// Hands the lead to a future voter, since the present leader is not among the future voters.
    HandOver(HostId),
    Vote(BTreeSet<HostId>),
    Remove(HostId),
}

fn next_step(hosts: &[HostRecord], candidates: &[Candidate], known: &Membership) -> Option<Step> {
    if !known.settled {
        return known.unfinished.clone().map(Step::Finish);
    }
    // All founders are registered in one change. Before that, the metadata does not tell which hosts are removed.
    if hosts.is_empty() {
        return None;
    }
    let is_host = |id: &HostId| hosts.iter().any(|host| host.id == *id);
    let moved = |host: &&HostRecord| known.addresses.get(&host.id) != Some(&host.address);
    if let Some(host) = hosts.iter().find(moved) {
        return Some(Step::Add(host.id, host.address.clone()));
    }
    let voters = choose_voters(candidates, &known.voters);
    if !voters.is_empty() && voters != known.voters {
        let next = successor(candidates, &voters, known);
        return Some(next.map_or(Step::Vote(voters), Step::HandOver));
    }
    known.learners.iter().find(|id| !is_host(id)).map(|id| Step::Remove(*id))
}

/// Returns the host that should lead before the voters change, if the present leader will not be among them.
fn successor(candidates: &[Candidate], voters: &BTreeSet<HostId>, known: &Membership) -> Option<HostId> {
    known.leader.filter(|leader| !voters.contains(leader))?;
    let can_lead = |host: &HostId| voters.contains(host) && known.voters.contains(host);
    candidates.iter().find(|candidate| candidate.answers && can_lead(&candidate.host)).map(|candidate| candidate.host)
}

/// Makes the changes of the membership that are due, while this host leads.
#[derive(Debug)]
pub struct VoterKeeper {
    metadata: MetaHandle,
    health: HealthBoard,
    watch: HostWatch,
    ambient: Ambient,
    own: HostId,
    /// The time since which hosts have not answered, by the monotonic clock.
    absent: BTreeMap<HostId, Duration>,
    complained: bool,
}

impl VoterKeeper {
    pub fn new(metadata: MetaHandle, health: HealthBoard, watch: HostWatch, ambient: Ambient, own: HostId) -> Self {
        Self { metadata, health, watch, ambient, own, absent: BTreeMap::new(), complained: false }
    }

    /// Looks for a change that is due, again and again, until it is dropped.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.metadata.status().is_leader {
                self.look().await;
            } else {
                self.absent.clear();
            }
        }
    }

    async fn look(&mut self) {
        // The membership is read before the tables: a joining host is in the tables before it is a member, and so never
        // looks like a removed one.
        let known = self.metadata.membership();
        let Ok(view) = self.metadata.read().await else { return };
        let (Ok(hosts), Ok(nodes), Ok(roles)) = (view.hosts(), view.nodes(), view.roles()) else { return };
        let mut of_host: BTreeMap<HostId, Vec<NodeId>> = BTreeMap::new();
        nodes.iter().for_each(|node| of_host.entry(node.host).or_default().push(node.id));
        self.absent.retain(|absent, _| hosts.iter().any(|host| host.id == *absent));
        let may_vote = hosts.iter().filter(|host| roles.of(host.id).meta);
        let candidates: Vec<Candidate> = may_vote.map(|host| self.candidate(host, &of_host)).collect();
        let Some(step) = next_step(&hosts, &candidates, &known) else {
            self.complained = false;
            return;
        };
        let done = match &step {
            Step::Add(host, address) => self.metadata.add_learner(*host, address).await,
            Step::HandOver(host) => self.metadata.transfer_leadership(*host).await,
            Step::Finish(voters) | Step::Vote(voters) => self.metadata.change_voters(voters.clone()).await,
            Step::Remove(host) => self.metadata.remove(*host).await,
        };
        match done {
            Ok(()) => tracing::info!(?step, "the membership of the metadata group was changed"),
            Err(error) if !std::mem::replace(&mut self.complained, true) => {
                tracing::info!(?step, %error, "the membership of the metadata group could not be changed; it is tried again");
            }
            Err(_) => {}
        }
    }

    /// Describes a host as a candidate. A host that has drives, none of them in service, counts as one that does not
    /// answer: if it answers all the same, all its drives are lost, and it is of no use as a voter.
    fn candidate(&mut self, host: &HostRecord, of_host: &BTreeMap<HostId, Vec<NodeId>>) -> Candidate {
        let health = self.health.current();
        let nodes = of_host.get(&host.id).map(Vec::as_slice).unwrap_or_default();
        let here = match nodes {
            _ if host.id == self.own => true,
            [] => self.watch.answers(host.id),
            nodes => nodes.iter().any(|node| health.in_service(*node)),
        };
        let now = self.ambient.clock.monotonic();
        let answers = if here {
            self.absent.remove(&host.id);
            true
        } else {
            now.saturating_sub(*self.absent.entry(host.id).or_insert(now)) < ABSENT_FOR
        };
        Candidate { host: host.id, domain: host.domain.clone(), answers }
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Step, choose_voters, next_step};
    use crate::actors::consensus::Membership;
    use crate::storage::meta::record::HostRecord;
    use crate::types::{HostId, UnixMs};
    use std::collections::BTreeSet;

    fn candidate(host: u64, domain: Option<&str>, answers: bool) -> Candidate {
        Candidate { host: HostId(host), domain: domain.map(str::to_owned), answers }
    }

    fn ids(hosts: &[u64]) -> BTreeSet<HostId> {
        hosts.iter().copied().map(HostId).collect()
    }

    #[test]
    fn three_of_four_hosts_vote_and_five_of_more() {
        let hosts: Vec<_> = (1..=7).map(|host| candidate(host, None, true)).collect();
        assert_eq!(choose_voters(&hosts[..1], &ids(&[1])), ids(&[1]));
        assert_eq!(choose_voters(&hosts[..3], &ids(&[1])), ids(&[1, 2, 3]));
        assert_eq!(choose_voters(&hosts[..4], &ids(&[2, 3, 4])), ids(&[2, 3, 4]));
        assert_eq!(choose_voters(&hosts, &ids(&[3, 5, 7])), ids(&[1, 2, 3, 5, 7]));
    }

    #[test]
    fn voters_are_spread_over_as_many_domains_as_possible() {
        let hosts = [
            candidate(1, Some("left"), true),
            candidate(2, Some("left"), true),
            candidate(3, Some("middle"), true),
            candidate(4, Some("right"), true),
        ];
        assert_eq!(choose_voters(&hosts, &ids(&[1])), ids(&[1, 3, 4]));
        assert_eq!(choose_voters(&hosts[..3], &ids(&[])), ids(&[1, 2, 3]));
    }

    #[test]
    fn a_voter_that_is_long_absent_is_replaced_by_a_host_that_answers() {
        let hosts =
            [candidate(1, None, true), candidate(2, None, false), candidate(3, None, true), candidate(4, None, true)];
        assert_eq!(choose_voters(&hosts, &ids(&[1, 2, 3])), ids(&[1, 3, 4]));
        assert_eq!(choose_voters(&hosts[..3], &ids(&[1, 2, 3])), ids(&[1, 2, 3]), "there is no other host");
    }

    /// The situation after a recovery, when the records of lost hosts are still there.
    #[test]
    fn absent_hosts_without_a_vote_are_not_chosen_as_voters() {
        let hosts =
            [candidate(1, None, true), candidate(2, None, false), candidate(3, None, false), candidate(4, None, true)];
        assert_eq!(choose_voters(&hosts[..3], &ids(&[1])), ids(&[1]));
        assert_eq!(choose_voters(&hosts, &ids(&[1])), ids(&[1, 4]));
    }

    fn record(host: u64) -> HostRecord {
        HostRecord {
            id: HostId(host),
            name: format!("h{host}"),
            address: format!("h{host}:9100"),
            domain: None,
            joined: UnixMs(0),
            first_node: None,
        }
    }

    fn three_voters() -> Membership {
        Membership {
            voters: ids(&[1, 2, 3]),
            addresses: [1, 2, 3].map(|host| (HostId(host), format!("h{host}:9100"))).into(),
            settled: true,
            ..Membership::default()
        }
    }

    #[test]
    fn absent_founders_remain_voters_before_and_after_their_registration() {
        let known = three_voters();
        let joining = Membership { learners: ids(&[4]), ..known.clone() };
        assert_eq!(next_step(&[], &[], &joining), None, "no host is registered, so none is taken for removed");
        let hosts = [record(1), record(2), record(3)];
        let candidates = [candidate(1, None, true), candidate(2, None, true), candidate(3, None, false)];
        assert_eq!(next_step(&hosts, &candidates, &known), None);
    }

    /// Hosts without the role `meta` are no candidates.
    #[test]
    fn hosts_without_the_role_meta_only_learn_and_hand_over_the_lead() {
        let hosts = [record(1), record(2), record(3), record(4), record(5)];
        let candidates = [1, 2, 3].map(|host| candidate(host, None, true));
        let mut known = three_voters();
        known.addresses.extend([4, 5].map(|host| (HostId(host), format!("h{host}:9100"))));
        known.learners = ids(&[4, 5]);
        assert_eq!(next_step(&hosts, &candidates, &known), None, "five hosts, of which three may vote");
        known.leader = Some(HostId(1));
        let others = [candidate(2, None, false), candidate(3, None, true)];
        assert_eq!(next_step(&hosts, &others, &known), Some(Step::HandOver(HostId(3))), "the leader must not vote");
        known.leader = Some(HostId(3));
        assert_eq!(next_step(&hosts, &others, &known), Some(Step::Vote(ids(&[2, 3]))));
        known.leader = Some(HostId(1));
        let fresh = [candidate(4, None, true), candidate(5, None, true)];
        assert_eq!(next_step(&hosts, &fresh, &known), Some(Step::Vote(ids(&[4, 5]))), "none of them votes yet");
    }

    #[test]
    fn an_interrupted_change_of_voters_is_finished_before_any_other_step() {
        let hosts = [record(1), record(2), record(4)];
        let candidates = [1, 2, 4].map(|host| candidate(host, None, true));
        let mut known = Membership { voters: ids(&[1, 2, 3, 4]), settled: false, ..three_voters() };
        assert_eq!(next_step(&hosts, &candidates, &known), None, "the joint membership is not committed yet");
        known.unfinished = Some(ids(&[1, 2, 4]));
        assert_eq!(next_step(&hosts, &candidates, &known), Some(Step::Finish(ids(&[1, 2, 4]))));
        assert_eq!(next_step(&[], &[], &known), Some(Step::Finish(ids(&[1, 2, 4]))));
    }

    #[test]
    fn a_replacing_host_becomes_a_voter_before_the_replaced_one_is_removed() {
        let hosts = [record(1), record(2), record(4)];
        let candidates: Vec<_> = [1, 2, 4].map(|host| candidate(host, None, true)).to_vec();
        let mut known = three_voters();
        assert_eq!(next_step(&hosts, &candidates, &known), Some(Step::Add(HostId(4), "h4:9100".into())));
        known.learners = ids(&[4]);
        known.addresses.insert(HostId(4), "h4:9100".into());
        assert_eq!(next_step(&hosts, &candidates, &known), Some(Step::Vote(ids(&[1, 2, 4]))));
        (known.voters, known.learners) = (ids(&[1, 2, 4]), ids(&[3]));
        assert_eq!(next_step(&hosts, &candidates, &known), Some(Step::Remove(HostId(3))));
        known.learners.clear();
        assert_eq!(next_step(&hosts, &candidates, &known), None);
    }
}
