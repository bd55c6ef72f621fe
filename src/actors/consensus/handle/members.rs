//! Changes of the group's members, voters and leader. A follower passes them on to the leader. Each change is
//! idempotent, so it is repeated until it is done or its time is over.

use super::MetaHandle;
use super::inner::{Inner, Leader, Membership};
use crate::actors::consensus::network::{Kind, Steer, Steered, decode_plain, encode_plain};
use crate::actors::consensus::raft_types::{MetaGroup, StoredMembership, raft_id};
use crate::actors::consensus::shared::{MetaError, unavailable};
use crate::net::GroupError;
use crate::types::HostId;
use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers, RaftMetrics};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;
use tokio::time::timeout;

/// The longest time that a change of the membership may take.
const STEER_PATIENCE: Duration = Duration::from_secs(20);
const SEND_PATIENCE: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The greatest lag of a host that may become a voter, in entries.
const VOTER_LAG_MAX: u64 = 1000;
/// The longest wait for the next leader to take over.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(5);
const LEAVE_PATIENCE: Duration = Duration::from_secs(3);
/// The interval in which a leader looks whether it has tables, and for how many looks it may have none.
const TABLES_LOOK_EVERY: Duration = Duration::from_millis(250);
const TABLES_LOOKS_MAX: u32 = 4;

impl MetaHandle {
    /// Adds a host as a learner: it keeps the metadata and does not vote. It catches up in the background. A host that
    /// is a member already keeps its role and gets this address.
    pub async fn add_learner(&self, host: HostId, address: &str) -> Result<(), MetaError> {
        steer(&self.inner, Steer::AddLearner { host: raft_id(host), address: address.to_owned() }).await
    }

    /// Makes exactly these members the voters; former voters stay as learners. Refused while one of them lags far
    /// behind.
    pub async fn change_voters(&self, voters: BTreeSet<HostId>) -> Result<(), MetaError> {
        steer(&self.inner, Steer::ChangeVoters { voters: voters.into_iter().map(raft_id).collect() }).await
    }

    /// Takes a host out of the group, whether it voted or not.
    pub async fn remove(&self, host: HostId) -> Result<(), MetaError> {
        steer(&self.inner, Steer::Remove { host: raft_id(host) }).await
    }

    /// Makes another voter the leader; returns once this host sees it lead.
    pub async fn transfer_leadership(&self, to: HostId) -> Result<(), MetaError> {
        steer(&self.inner, Steer::TransferLeadership { to: raft_id(to) }).await?;
        let wait = self.inner.raft.wait(Some(TRANSFER_PATIENCE));
        let led = wait.current_leader(raft_id(to), "the lead is taken over").await;
        led.map(|_| ()).map_err(|_| unavailable("the lead was handed over, but the new leader was not heard from yet"))
    }
}

pub fn membership(inner: &Inner) -> Membership {
    let metrics = inner.raft.server_metrics();
    let metrics = openraft::async_runtime::WatchReceiver::borrow_watched(&metrics).clone();
    let leader = metrics.current_leader.map(HostId);
    membership_between(&metrics.committed_membership_config, &metrics.membership_config, leader)
}

/// Describes the membership. `effective` is the last one in the log, committed or not.
fn membership_between(
    committed: &StoredMembership,
    effective: &StoredMembership,
    leader: Option<HostId>,
) -> Membership {
    let hosts = |ids: &mut dyn Iterator<Item = u64>| ids.map(HostId).collect::<BTreeSet<_>>();
    let is_committed = effective.log_id() == committed.log_id();
    let effective = effective.membership();
    let unfinished = match effective.get_joint_config().as_slice() {
        [_, .., target] if is_committed => Some(hosts(&mut target.iter().copied())),
        _ => None,
    };
    Membership {
        voters: hosts(&mut effective.voter_ids()),
        learners: hosts(&mut effective.learner_ids()),
        addresses: effective.nodes().map(|(id, node)| (HostId(*id), node.addr.clone())).collect(),
        leader,
        settled: effective.get_joint_config().len() == 1 && is_committed,
        unfinished,
    }
}

async fn steer(inner: &Inner, wish: Steer) -> Result<(), MetaError> {
    let mut steering = Steering::default();
    let result = timeout(STEER_PATIENCE, async {
        loop {
            match steering.attempt(inner, &wish).await {
                Steered::Done => return Ok(()),
                Steered::Refused(why) => return Err(MetaError::Refused { why }),
                Steered::NotLeader(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    });
    let result = result.await;
    result.unwrap_or_else(|_| Err(steering.out_of_time()))
}

/// What is known of the attempts to make a change of the membership.
#[derive(Debug, Default)]
struct Steering {
    /// True if a leader may have the change, so that it may still take effect.
    adrift: bool,
    /// The reason for which a leader refused the last call that it answered so. It may be about to stop, or run another
    /// version: another leader may take the change.
    refusal: Option<String>,
}

impl Steering {
    async fn attempt(&mut self, inner: &Inner, wish: &Steer) -> Steered {
        let before = self.adrift;
        match inner.leader() {
            Leader::Here => {
                self.adrift = true;
                let steered = steer_here(inner, wish).await;
                self.adrift = before;
                steered
            }
            Leader::There(leader) => {
                self.adrift = true;
                let answer = inner.link.ask(leader, Kind::Steer, encode_plain(wish), SEND_PATIENCE).await;
                self.adrift = before || answer.as_ref().is_err_and(|error| !error.has_no_effect());
                answer.unwrap_or_else(|error| {
                    self.refusal = error.refusal().map(|why| format!("host {:016x} refuses it: {why}", leader.0));
                    Steered::NotLeader(None)
                })
            }
            Leader::Unknown => Steered::NotLeader(None),
        }
    }

    fn out_of_time(self) -> MetaError {
        match self.refusal {
            Some(why) if !self.adrift => MetaError::Refused { why },
            _ => MetaError::TimedOut,
        }
    }
}

/// Answers another host that asks for a change of the membership or of the leader.
pub async fn serve(inner: &Inner, body: &Bytes) -> Result<Bytes, GroupError> {
    let wish: Steer = decode_plain(body)?;
    let steered = if inner.leader() == Leader::Here {
        steer_here(inner, &wish).await
    } else {
        Steered::NotLeader(inner.metrics().current_leader)
    };
    Ok(encode_plain(&steered))
}

type Changed = Result<(), RaftError<MetaGroup, ClientWriteError<MetaGroup>>>;

async fn steer_here(inner: &Inner, wish: &Steer) -> Steered {
    let raft = &inner.raft;
    let known = membership(inner);
    let changed: Changed = match wish {
        Steer::AddLearner { host, address } => {
            if known.addresses.get(&HostId(*host)) == Some(address) {
                return Steered::Done;
            }
            let node = BasicNode { addr: address.clone() };
            let nodes = BTreeMap::from([(*host, node)]);
            // A member with another address keeps its role and gets this address.
            raft.change_membership(ChangeMembers::SetNodes(nodes), true).await.map(|_| ())
        }
        Steer::ChangeVoters { voters } => {
            if voters.iter().map(|id| HostId(*id)).eq(known.voters.iter().copied()) && known.settled {
                return Steered::Done;
            }
            if let Some(why) = why_not_voters(inner, &known, voters) {
                return Steered::Refused(why);
            }
            raft.change_membership(ChangeMembers::ReplaceAllVoters(voters.clone()), true).await.map(|_| ())
        }
        Steer::Remove { host } if known.voters.contains(&HostId(*host)) => {
            raft.change_membership(ChangeMembers::RemoveVoters(BTreeSet::from([*host])), false).await.map(|_| ())
        }
        Steer::Remove { host } if known.learners.contains(&HostId(*host)) => {
            raft.change_membership(ChangeMembers::RemoveNodes(BTreeSet::from([*host])), false).await.map(|_| ())
        }
        Steer::Remove { .. } => return Steered::Done,
        Steer::TransferLeadership { to } => return hand_over(inner, &known, *to, TRANSFER_PATIENCE).await,
    };
    match changed {
        Ok(()) => Steered::Done,
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to) | ClientWriteError::LogEntryDiscarded(to))) => {
            Steered::NotLeader(to.leader_id)
        }
        Err(error) => Steered::Refused(error.to_string()),
    }
}

/// Returns the reason for which these hosts cannot become the voters, if there is one. A new voter must have caught up:
/// one that lacks the log makes the group weaker, not stronger. A majority of them must answer: the change itself needs
/// their decision, and cannot be taken back.
fn why_not_voters(inner: &Inner, known: &Membership, voters: &BTreeSet<u64>) -> Option<String> {
    let metrics = inner.metrics();
    let last = metrics.last_log_index.unwrap_or(0);
    let replication = metrics.replication.unwrap_or_default();
    let fresh = voters.iter().filter(|id| !known.voters.contains(&HostId(**id)));
    for id in fresh {
        if !known.learners.contains(&HostId(*id)) {
            return Some(format!("host {id:016x} is not a member of the metadata group; add it first"));
        }
        let matched = replication.get(id).and_then(|at| at.as_ref()).map(|at| at.index);
        if matched.is_none_or(|matched| matched.saturating_add(VOTER_LAG_MAX) < last) {
            return Some(not_caught_up(*id, matched, last));
        }
    }
    if voters.is_empty() {
        return Some("no voter was named; the metadata needs at least one".to_owned());
    }
    let heard = voters.iter().filter(|id| inner.hearing.has_heard(**id)).count();
    let too_few = || format!("{heard} of the {} voters answer, which is no majority", voters.len());
    (heard * 2 <= voters.len()).then(too_few)
}

fn not_caught_up(host: u64, matched: Option<u64>, last: u64) -> String {
    let has = match matched {
        Some(index) => format!("it has the metadata log through entry {index} of {last}"),
        None => format!("it has none of the {last} entries of the metadata log"),
    };
    format!("host {host:016x} has not caught up: {has}; try again later")
}

async fn hand_over(inner: &Inner, known: &Membership, to: u64, patience: Duration) -> Steered {
    if to == *inner.raft.node_id() {
        return Steered::Done;
    }
    if !known.voters.contains(&HostId(to)) {
        return Steered::Refused(format!("host {to:016x} is not a voter, so it cannot lead"));
    }
    if let Err(error) = inner.raft.trigger().transfer_leader(to).await {
        return Steered::Refused(error.to_string());
    }
    let wait = inner.raft.wait(Some(patience));
    let other = |metrics: &RaftMetrics<MetaGroup>| metrics.current_leader.is_some_and(|leader| leader != metrics.id);
    match wait.metrics(other, "another host leads").await {
        Ok(metrics) if metrics.current_leader == Some(to) => Steered::Done,
        metrics => Steered::Refused(not_led(to, metrics.ok().and_then(|metrics| metrics.current_leader), patience)),
    }
}

fn not_led(to: u64, leader: Option<u64>, patience: Duration) -> String {
    match leader {
        Some(leader) => format!("host {leader:016x} took the lead instead of {to:016x}"),
        None => format!("host {to:016x} did not take the lead in {patience:?}; try again"),
    }
}

/// Hands the lead to the voter with the longest log, so that no client waits for an election. Called before this host
/// stops, and while it has no tables. Does nothing if this host does not lead or no other voter is known to have
/// entries.
pub async fn leave_the_lead(inner: &Inner) -> Result<(), String> {
    if inner.leader() != Leader::Here {
        return Ok(());
    }
    let metrics = inner.metrics();
    let known = membership(inner);
    let replication = metrics.replication.unwrap_or_default();
    let others = known.voters.iter().map(|host| host.0).filter(|host| *host != metrics.id);
    let matched = |host: u64| replication.get(&host).copied().flatten();
    let Some(next) = others.filter(|host| matched(*host).is_some()).max_by_key(|host| matched(*host)) else {
        return Ok(());
    };
    match timeout(LEAVE_PATIENCE, hand_over(inner, &known, next, LEAVE_PATIENCE)).await {
        Ok(Steered::Done) => Ok(()),
        Ok(Steered::Refused(why)) => Err(why),
        Ok(Steered::NotLeader(_)) => Err("this host does not lead any more".to_owned()),
        Err(_) => Err(not_led(next, None, LEAVE_PATIENCE)),
    }
}

/// Hands the lead to another host if this one leads without tables, since it cannot serve without them. Runs until the
/// replica is dropped.
pub async fn lead_with_tables(inner: Weak<Inner>) {
    let (mut looks_without, mut has_warned): (u32, bool) = (0, false);
    loop {
        tokio::time::sleep(TABLES_LOOK_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        (looks_without, has_warned) =
            if inner.shared.tables.load().is_some() { (0, false) } else { (looks_without + 1, has_warned) };
        if looks_without > TABLES_LOOKS_MAX && inner.leader() == Leader::Here {
            looks_without = 0;
            if !std::mem::replace(&mut has_warned, true) {
                tracing::warn!("this host has no metadata tables; it hands the lead to another host");
            }
            if let Err(why) = leave_the_lead(&inner).await {
                tracing::debug!(why, "this host could not hand over the lead; an election follows");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{membership_between, not_caught_up, not_led};
    use crate::actors::consensus::raft_types::{StoredMembership, log_id_of, membership_of};
    use crate::storage::raft_log::{Members, Position};
    use crate::types::HostId;
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn refusals_of_membership_changes_name_hosts_by_16_hex_digits() {
        let late = not_caught_up(0x1f, Some(5), 9);
        let through = "it has the metadata log through entry 5 of 9; try again later";
        assert_eq!(late, format!("host 000000000000001f has not caught up: {through}"));
        assert!(not_caught_up(1, None, 9).contains("none of the 9 entries"));
        let other = not_led(0x1f, Some(0xc), Duration::from_secs(1));
        assert_eq!(other, "host 000000000000000c took the lead instead of 000000000000001f");
        let nobody = not_led(0x1f, None, Duration::from_secs(10));
        assert_eq!(nobody, "host 000000000000001f did not take the lead in 10s; try again");
    }

    fn stored(index: u64, configs: &[&[u64]]) -> StoredMembership {
        let nodes = configs.iter().copied().flatten().map(|id| (*id, format!("host-{id}:9100"))).collect();
        let configs = configs.iter().map(|voters| voters.iter().copied().collect()).collect();
        let membership = membership_of(&Members { configs, nodes }).expect("each voter has an address");
        StoredMembership::new(Some(log_id_of(Position { term: 1, node: 1, index })), membership)
    }

    #[test]
    fn a_change_of_voters_is_unfinished_while_its_joint_membership_is_committed() {
        let before = stored(1, &[&[1, 2, 3]]);
        let both = stored(5, &[&[1, 2, 3], &[1, 2, 4]]);
        let after = stored(6, &[&[1, 2, 4]]);
        let seen = |committed, effective| {
            let known = membership_between(committed, effective, None);
            (known.voters.len(), known.settled, known.unfinished)
        };
        let target: BTreeSet<HostId> = [1, 2, 4].map(HostId).into();
        assert_eq!(seen(&before, &before), (3, true, None));
        assert_eq!(seen(&before, &both), (4, false, None), "the joint membership is not committed yet");
        assert_eq!(seen(&both, &both), (4, false, Some(target)));
        assert_eq!(seen(&both, &after), (3, false, None), "the final membership is in the log");
        assert_eq!(seen(&after, &after), (3, true, None));
    }
}
