//! `Candidacy`: whether this host takes part in elections. It votes unless it abstains. It stands for election if it
//! votes and the silence after its start is over.
//!
//! With `relaxed` durability a host may lose the end of its log. It abstains while it lacks what a *witness* remembers,
//! another host to which it once reported that it had more. Otherwise it could help to elect a leader without these
//! entries, or lead without them.
//!
//! Owns the witnesses and openraft's switch for elections (`enable_elect`), which nothing else sets.

use super::shared::{DurableState, locked};
use super::state::MetaRaft;
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

    /// Returns whether this host must not vote, because it lacks entries or votes that others may count on.
    pub fn abstains(&self) -> bool {
        locked(&self.state).abstains()
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

    fn may_stand(&self) -> bool {
        self.silence_is_over && !self.abstains()
    }
}

#[cfg(test)]
mod tests {
    use super::{State, WITNESS_SILENCE_MAX};
    use crate::actors::consensus::shared::DurableState;
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
