//! Decides whether a leader may send heartbeats: one that hears no majority must fall silent, or it holds off the
//! election of another.

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

/// A leader that hears nobody for so many leases is none any more, whatever it may become again.
const LEASES_UNTIL_ALONE: u32 = 3;

/// The times that silence goes by. A follower keeps to a leader that it heard for a lease and then waits for at most another
/// one before it stands for election: `probe_every` leaves room for that, and for an election without a winner.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The majority was heard so lately that nobody else can lead.
    pub lease: Duration,
    /// A silent leader speaks again this often, for `probe`, to learn whether it is heard.
    pub probe_every: Duration,
    pub probe: Duration,
}

/// The time of the last answer of each other replica of the group, whatever it was asked: a replica that has just been
/// elected was heard by its voters.
pub struct Hearing {
    own: u64,
    patience: Patience,
    ambient: Ambient,
    heard: Mutex<BTreeMap<u64, Duration>>,
    /// The voters; not known while the replica is being started.
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

    /// Returns whether this replica, leading, may send messages that renew the followers' lease.
    pub fn may_speak(&self) -> bool {
        self.silence().is_none_or(|age| speaks(self.patience, age))
    }

    /// Returns whether this replica, leading, is followed, as far as it can tell: without followers it commits nothing.
    pub fn is_followed(&self) -> bool {
        self.silence().is_none_or(|age| age < LEASES_UNTIL_ALONE * self.patience.lease)
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

/// The latest moment since which a majority of the voters was heard, this replica always being.
fn majority_heard_at(own: u64, now: Duration, voters: &BTreeSet<u64>, heard: &BTreeMap<u64, Duration>) -> Duration {
    let heard_at = |voter: &u64| if *voter == own { now } else { heard.get(voter).copied().unwrap_or_default() };
    let mut moments: Vec<Duration> = voters.iter().map(heard_at).collect();
    moments.sort_unstable_by(|a, b| b.cmp(a));
    moments.get(voters.len() / 2).copied().unwrap_or(now)
}

/// Returns whether a leader may speak that heard its majority so long ago.
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
    fn a_leader_speaks_while_it_is_heard_and_then_only_to_learn_whether_it_is() {
        for (age, expected) in
            [(0.0, true), (0.99, true), (1.01, false), (5.4, false), (5.6, true), (6.1, false), (10.6, true)]
        {
            assert_eq!(speaks(PATIENCE, seconds(age)), expected, "{age}");
        }
    }

    #[test]
    fn the_majority_is_as_old_as_the_oldest_answer_that_it_needs() {
        let heard = BTreeMap::from([(2, seconds(7.0)), (3, seconds(4.0)), (4, seconds(1.0))]);
        let at = |voters: &[u64]| majority_heard_at(1, seconds(9.0), &voters.iter().copied().collect(), &heard);
        assert_eq!(at(&[1]), seconds(9.0));
        assert_eq!(at(&[1, 2]), seconds(7.0));
        assert_eq!(at(&[1, 2, 3]), seconds(7.0));
        assert_eq!(at(&[1, 2, 3, 4]), seconds(4.0));
        assert_eq!(at(&[1, 3, 4, 5]), seconds(1.0));
        assert_eq!(at(&[1, 5, 6]), Duration::ZERO, "never heard");
        assert_eq!(at(&[2, 3, 4]), seconds(4.0), "it is no voter itself");
        assert_eq!(at(&[]), seconds(9.0));
    }
}
