//! Decides whether a leader may send heartbeats. A leader that hears no majority must be silent, since its heartbeats
//! would keep those that hear it from electing another.

use crate::actors::consensus::candidacy::is_one_of_two;
use crate::actors::consensus::raft_types::MetaGroup;
use crate::actors::consensus::shared::locked;
use crate::ambient::Ambient;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// The number of leases without a majority's answers after which a leader is no longer reported as leading.
const LEASES_UNTIL_ALONE: u32 = 3;

/// The durations by which a leader that hears no majority is silent and speaks again. A follower stays with its leader
/// for a lease after it last heard it, and then waits for at most another lease before it stands for election.
/// `probe_every` is long enough for both, and for one election without a winner.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The time after a majority was heard in which no other host can lead.
    pub lease: Duration,
    /// The interval in which a silent leader speaks again, for `probe`, to learn whether a majority hears it.
    pub probe_every: Duration,
    pub probe: Duration,
}

/// The time of the last answer of each other replica, to whatever request. Answers to requests for votes count, too, so
/// a replica that has just been elected has heard a majority.
pub struct Hearing {
    own: u64,
    patience: Patience,
    ambient: Ambient,
    heard: Mutex<BTreeMap<u64, Duration>>,
    /// The source of the present voters; unset while the replica is being started.
    metrics: OnceLock<WatchReceiverOf<MetaGroup, RaftMetrics<MetaGroup>>>,
}

impl fmt::Debug for Hearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hearing").field("own", &self.own).field("heard", &self.heard).finish_non_exhaustive()
    }
}

impl Hearing {
    pub fn new(own: u64, patience: Patience, ambient: Ambient) -> Self {
        Self { own, patience, ambient, heard: Mutex::default(), metrics: OnceLock::new() }
    }

    pub fn follow(&self, metrics: WatchReceiverOf<MetaGroup, RaftMetrics<MetaGroup>>) {
        let _ = self.metrics.set(metrics);
    }

    pub fn note_answer(&self, from: u64) {
        let now = self.ambient.clock.monotonic();
        locked(&self.heard).insert(from, now);
    }

    /// Returns whether this replica may, as the leader, send messages that renew the followers' lease.
    pub fn may_speak(&self) -> bool {
        self.silence().is_none_or(|age| speaks(self.patience, age))
    }

    /// Returns whether this replica has, as the leader, heard a majority lately: without one it commits nothing.
    pub fn is_followed(&self) -> bool {
        self.silence().is_none_or(|age| age < LEASES_UNTIL_ALONE * self.patience.lease)
    }

    /// Returns whether a replica answered lately. This one counts as one that did.
    pub fn has_heard(&self, host: u64) -> bool {
        let now = self.ambient.clock.monotonic();
        let heard_at = if host == self.own { Some(now) } else { locked(&self.heard).get(&host).copied() };
        heard_at.is_some_and(|at| now.saturating_sub(at) < LEASES_UNTIL_ALONE * self.patience.lease)
    }

    /// Returns whether this host is known to be one of two voters.
    pub fn is_one_of_two(&self) -> bool {
        self.metrics.get().is_some_and(|metrics| is_one_of_two(self.own, metrics))
    }

    /// Returns the time since a majority was last heard; `None` while the voters are not known.
    fn silence(&self) -> Option<Duration> {
        let metrics = self.metrics.get()?;
        let membership = metrics.borrow_watched().membership_config.clone();
        let now = self.ambient.clock.monotonic();
        let heard = locked(&self.heard);
        let configs = membership.membership().get_joint_config().iter();
        let oldest = configs.map(|voters| majority_heard_at(self.own, now, voters, &heard)).min();
        oldest.map(|heard_at| now.saturating_sub(heard_at))
    }
}

/// Returns the latest moment such that a majority of the voters has answered since. This replica has always just
/// answered.
fn majority_heard_at(own: u64, now: Duration, voters: &BTreeSet<u64>, heard: &BTreeMap<u64, Duration>) -> Duration {
    let heard_at = |voter: &u64| if *voter == own { now } else { heard.get(voter).copied().unwrap_or_default() };
    let mut moments: Vec<Duration> = voters.iter().map(heard_at).collect();
    moments.sort_unstable_by(|a, b| b.cmp(a));
    moments.get(voters.len() / 2).copied().unwrap_or(now)
}

/// Returns whether a leader may speak that last heard a majority `age` ago.
fn speaks(patience: Patience, age: Duration) -> bool {
    let Some(silent) = age.checked_sub(patience.lease) else {
        return true;
    };
    let into = silent.as_nanos() % patience.probe_every.as_nanos().max(1);
    into >= patience.probe_every.saturating_sub(patience.probe).as_nanos()
}

#[cfg(test)]
mod tests {
    use super::{Patience, majority_heard_at, speaks};
    use std::collections::BTreeMap;
    use std::time::Duration;

    const PATIENCE: Patience = Patience {
        lease: Duration::from_secs(1),
        probe_every: Duration::from_secs(5),
        probe: Duration::from_millis(500),
    };

    fn seconds(of: f64) -> Duration {
        Duration::from_secs_f64(of)
    }

    #[test]
    fn a_leader_that_hears_no_majority_is_silent_except_for_short_probes() {
        for (age, expected) in
            [(0.0, true), (0.99, true), (1.01, false), (5.4, false), (5.6, true), (6.1, false), (10.6, true)]
        {
            assert_eq!(speaks(PATIENCE, seconds(age)), expected, "{age}");
        }
    }

    #[test]
    fn a_majority_was_heard_when_its_oldest_needed_answer_came() {
        let heard = BTreeMap::from([(2, seconds(7.0)), (3, seconds(4.0)), (4, seconds(1.0))]);
        let at = |voters: &[u64]| majority_heard_at(1, seconds(9.0), &voters.iter().copied().collect(), &heard);
        assert_eq!(at(&[1]), seconds(9.0));
        assert_eq!(at(&[1, 2]), seconds(7.0));
        assert_eq!(at(&[1, 2, 3]), seconds(7.0));
        assert_eq!(at(&[1, 2, 3, 4]), seconds(4.0));
        assert_eq!(at(&[1, 3, 4, 5]), seconds(1.0));
        assert_eq!(at(&[1, 5, 6]), Duration::ZERO, "never heard");
        assert_eq!(at(&[2, 3, 4]), seconds(4.0), "this replica is not a voter");
        assert_eq!(at(&[]), seconds(9.0));
    }
}
