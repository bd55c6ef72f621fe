//! Detects a leader that commits nothing: one that is heard, but whose followers do not keep what it sends, answers reads
//! and commits nothing.

use std::time::Duration;

/// The longest time without a commit while entries wait. A drive's sync may take seconds.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// The progress of this host as the leader, between observations.
#[derive(Debug, Default)]
pub struct StuckLeader {
    applied: Option<u64>,
    /// The last time at which an entry was committed, or none waited.
    moved_at: Duration,
}

impl StuckLeader {
    /// Notes the last entry of the log and the last applied one. Returns whether entries wait and none was committed for
    /// `STUCK_AFTER`.
    pub fn is_stuck(&mut self, now: Duration, last: u64, applied: u64) -> bool {
        if last <= applied || self.applied != Some(applied) {
            (self.applied, self.moved_at) = (Some(applied), now);
        }
        now.saturating_sub(self.moved_at) >= STUCK_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::StuckLeader;
    use std::time::Duration;

    #[test]
    fn a_leader_is_stuck_while_something_waits_and_nothing_is_decided() {
        let mut leader = StuckLeader::default();
        let mut look = |seconds, last, applied| leader.is_stuck(Duration::from_secs(seconds), last, applied);
        assert!(!look(99, 1, 0) && !look(100, 7, 7));
        assert!(!look(101, 9, 7), "it may have come just now");
        assert!(!look(201, 9, 8) && !look(205, 12, 8), "slow, and it moves");
        assert!(look(206, 12, 8) && look(300, 12, 8));
        assert!(!look(301, 12, 9), "it moves again");
        assert!(!look(302, 9, 9) && !look(400, 9, 9), "nothing waits");
    }
}
