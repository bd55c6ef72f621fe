//! `Candidacy`: whether this host takes part in elections. It stands for election unless it abstains, once the silence
//! after its start is over.
//!
//! With `relaxed` durability a host may lose the end of its log. It abstains while it lacks what a *witness* remembers,
//! another host to which it once reported that it had more. Otherwise it could help to elect a leader without these
//! entries, or lead without them. One of two voters votes all the same for the other one if that has what every witness
//! remembers: neither could be elected without the other's vote, and the other one has whatever both have decided. With
//! more voters that does not follow, as a witness may remember less than this host had.
//!
//! Owns the witnesses and openraft's switch for elections (`enable_elect`), which nothing else sets.

use super::raft_types::MetaGroup;
use super::shared::{DurableState, locked};
use super::state::MetaRaft;
use crate::storage::raft_log::{Ballot, Position};
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

/// The time after which a witness that does not answer counts as lost: without this host's vote the others might never
/// elect a leader again.
const WITNESS_SILENCE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Candidacy {
    raft: MetaRaft,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// True once any lease that this host may have granted before its start is over.
    silence_is_over: bool,
    /// The hosts that remember what this host lacks.
    witnesses: BTreeMap<u64, Witness>,
}

#[derive(Clone, Copy, Debug)]
struct Witness {
    remembers: DurableState,
    /// The moment of its last answer.
    heard_at: Duration,
}

/// Returns whether this host is one of two voters, and the voters do not change now.
pub fn is_one_of_two(host: u64, metrics: &WatchReceiverOf<MetaGroup, RaftMetrics<MetaGroup>>) -> bool {
    let membership = metrics.borrow_watched().membership_config.clone();
    let configs = membership.membership().get_joint_config();
    matches!(configs.as_slice(), [voters] if voters.len() == 2 && voters.contains(&host))
}

impl Candidacy {
    /// Creates the candidacy of a host that has just started: it votes, and does not stand for election yet.
    pub fn new(raft: MetaRaft) -> Self {
        Self { raft, state: Mutex::default() }
    }

    /// Ends the silence after the start.
    pub fn end_silence(&self) {
        self.update(|state| state.silence_is_over = true);
    }

    /// Takes what the hosts that answered a comparison remember of this one; `members` are the other members. `lacks`:
    /// whether this host lacks what another one remembers. `now` is of the monotonic clock.
    pub fn compare(
        &self,
        now: Duration,
        members: &BTreeSet<u64>,
        answers: impl IntoIterator<Item = (u64, Option<DurableState>)>,
        lacks: impl Fn(DurableState) -> bool,
    ) {
        self.update(|state| state.compare(now, members, answers, lacks));
    }

    /// Returns whether this host lacks entries or votes that others may count on.
    pub fn abstains(&self) -> bool {
        locked(&self.state).abstains()
    }

    /// Returns whether this host may vote for a candidate with this ballot, whose log ends at `last`.
    pub fn may_vote(&self, ballot: Ballot, last: Option<Position>) -> bool {
        let state = locked(&self.state);
        !state.abstains() || (is_one_of_two(ballot.node, &self.raft.metrics()) && state.has_all(ballot, last))
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = locked(&self.state);
        change(&mut state);
        // Under the lock, so that openraft has the switch of the last change.
        self.raft.runtime_config().elect(state.may_stand());
    }
}

impl State {
    fn compare(
        &mut self,
        now: Duration,
        members: &BTreeSet<u64>,
        answers: impl IntoIterator<Item = (u64, Option<DurableState>)>,
        lacks: impl Fn(DurableState) -> bool,
    ) {
        for (host, remembered) in answers {
            if let Some(remembers) = remembered {
                self.witnesses.insert(host, Witness { remembers, heard_at: now });
            } else {
                self.witnesses.remove(&host);
            }
        }
        // A witness that does not answer still counts: it has forgotten nothing.
        self.witnesses.retain(|host, witness| {
            let is_there = now.saturating_sub(witness.heard_at) < WITNESS_SILENCE_MAX;
            is_there && members.contains(host) && lacks(witness.remembers)
        });
    }

    fn abstains(&self) -> bool {
        !self.witnesses.is_empty()
    }

    /// Returns whether the candidate's log ends no earlier than what any witness remembers, and its ballot ranks after
    /// the votes that they remember.
    fn has_all(&self, ballot: Ballot, last: Option<Position>) -> bool {
        self.witnesses.values().all(|witness| witness.remembers.allows(ballot, last))
    }

    fn may_stand(&self) -> bool {
        self.silence_is_over && !self.abstains()
    }
}

#[cfg(test)]
mod tests {
    use super::{State, WITNESS_SILENCE_MAX};
    use crate::actors::consensus::shared::DurableState;
    use crate::storage::raft_log::{Ballot, Position};
    use std::collections::BTreeSet;
    use std::time::Duration;

    const WITNESS: u64 = 2;
    const OTHER: u64 = 3;
    const EVERY: Duration = Duration::from_secs(2);

    /// Returns the state after the witness has answered that this host once had more than it has.
    fn abstaining() -> State {
        let mut state = State::default();
        compare(&mut state, Duration::ZERO, &[(WITNESS, true), (OTHER, false)]);
        assert!(state.abstains());
        state
    }

    /// Compares a host that lacks entries. `answers`: the hosts that answer, and whether they remember these entries.
    fn compare(state: &mut State, now: Duration, answers: &[(u64, bool)]) {
        let remembered = |(host, remembers): &(u64, bool)| (*host, remembers.then(DurableState::default));
        state.compare(now, &BTreeSet::from([WITNESS, OTHER]), answers.iter().map(remembered), |_| true);
    }

    #[test]
    fn a_host_that_lost_entries_does_not_stand_when_the_silence_after_its_start_ends() {
        let mut whole = State::default();
        compare(&mut whole, Duration::ZERO, &[(WITNESS, false), (OTHER, false)]);
        assert!(!whole.abstains() && !whole.may_stand(), "the silence is not over");
        whole.silence_is_over = true;
        assert!(whole.may_stand());
        let mut lacking = abstaining();
        lacking.silence_is_over = true;
        assert!(!lacking.may_stand());
    }

    #[test]
    fn a_witness_that_is_late_keeps_a_host_out_of_elections() {
        let mut state = abstaining();
        state.silence_is_over = true;
        compare(&mut state, EVERY, &[(OTHER, false)]);
        compare(&mut state, 2 * EVERY, &[]);
        assert!(state.abstains() && !state.may_stand());
        compare(&mut state, 3 * EVERY, &[(WITNESS, true)]);
        compare(&mut state, 2 * EVERY + WITNESS_SILENCE_MAX, &[(OTHER, false)]);
        assert!(state.abstains(), "its silence is counted from its last answer");
        compare(&mut state, 3 * EVERY + WITNESS_SILENCE_MAX, &[(OTHER, false)]);
        assert!(!state.abstains() && state.may_stand(), "it is lost");
    }

    #[test]
    fn a_candidate_has_all_that_was_lost_if_it_has_what_every_witness_remembers() {
        let at = |term, index| Some(Position { term, node: 1, index });
        let ballot = |term, node| Ballot { term, node, committed: false };
        let had = |term, index| DurableState { ballot: Some(ballot(term, 5)), entry: at(2, index) };
        let mut state = State::default();
        assert!(state.has_all(ballot(1, 1), None), "this host lacks nothing");
        let answers = [(WITNESS, Some(had(3, 10))), (OTHER, Some(had(4, 8)))];
        state.compare(Duration::ZERO, &BTreeSet::from([WITNESS, OTHER]), answers, |_| true);
        for (asked, last, expected) in [
            (ballot(5, 1), at(2, 10), true),
            (ballot(4, 6), at(2, 11), true),
            (ballot(5, 1), at(3, 4), true),
            (ballot(5, 1), at(2, 9), false),
            (ballot(5, 1), None, false),
            (ballot(4, 5), at(2, 10), false),
            (ballot(4, 4), at(2, 10), false),
            (ballot(3, 9), at(2, 10), false),
        ] {
            assert_eq!(state.has_all(asked, last), expected, "{asked:?} {last:?}");
        }
        assert!(!state.may_stand());
    }

    #[test]
    fn a_host_takes_part_in_elections_again_once_no_member_remembers_what_it_lacks() {
        let mut state = abstaining();
        compare(&mut state, EVERY, &[(WITNESS, false)]);
        assert!(!state.abstains(), "the witness remembers nothing any more");
        let mut state = abstaining();
        state.compare(EVERY, &BTreeSet::from([WITNESS, OTHER]), [], |_| false);
        assert!(!state.abstains(), "the leader has filled this host in, though the witness does not answer");
        let mut state = abstaining();
        state.compare(EVERY, &BTreeSet::from([OTHER]), [], |_| true);
        assert!(!state.abstains(), "the witness was removed");
        let mut state = abstaining();
        compare(&mut state, EVERY, &[(WITNESS, false), (OTHER, true)]);
        assert!(state.abstains(), "another host remembers it");
    }
}
