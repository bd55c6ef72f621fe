//! Detects a stuck leader: one whose followers answer its heartbeats but never acknowledge its entries, so that it
//! keeps its lease and serves reads while no write is ever committed.

use std::time::Duration;

/// The longest time for which a healthy leader applies none of the waiting entries: a drive's sync may take seconds.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// The progress of this host as the leader, between observations.
#[derive(Debug, Default)]
pub struct StuckLeader {
    applied: Option<u64>,
    /// The last moment at which the applied index changed, or no entry waited.
    moved_at: Duration,
}

impl StuckLeader {
    /// Takes the indexes of the last entry in the log and of the last applied entry. Returns whether entries have
    /// waited for `STUCK_AFTER` while none of them was applied.
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
    fn a_leader_is_stuck_if_entries_wait_and_none_is_applied() {
        let mut leader = StuckLeader::default();
        let mut look = |seconds, last, applied| leader.is_stuck(Duration::from_secs(seconds), last, applied);
        assert!(!look(99, 1, 0) && !look(100, 7, 7));
        assert!(!look(101, 9, 7), "the entries may have been appended just now");
        assert!(!look(201, 9, 8) && !look(205, 12, 8), "entries are applied, though slowly");
        assert!(look(206, 12, 8) && look(300, 12, 8));
        assert!(!look(301, 12, 9), "an entry was applied again");
        assert!(!look(302, 9, 9) && !look(400, 9, 9), "no entry waits");
    }
}
