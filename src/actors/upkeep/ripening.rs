//! `Ripening`: tells which entries of the Raft log this host applied at least a grace period ago. The shards that such
//! an entry made garbage may be dropped. Time is that of the monotonic clock; wall clocks and the times in the log do
//! not count.
//!
//! It owns a few marks, each a moment and the index of the last entry applied by then. It starts without marks, so that
//! a whole grace period passes after a start before any entry is ripe.

use std::collections::VecDeque;
use std::time::Duration;

/// The number of marks in a grace period. Entries ripen late by up to this fraction of the period.
const MARKS: u32 = 32;

#[derive(Debug)]
pub struct Ripening {
    grace: Duration,
    /// Moments and the last entries applied by then, oldest first.
    marks: VecDeque<(Duration, u64)>,
}

impl Ripening {
    pub fn new(grace: Duration) -> Self {
        Self { grace, marks: VecDeque::new() }
    }

    /// Records the last applied entry. Read the monotonic clock (`now`) after the tables.
    pub fn note(&mut self, now: Duration, applied: u64) {
        let due = self.marks.back().is_none_or(|(last, _)| now.saturating_sub(*last) >= self.grace / MARKS);
        if due {
            self.marks.push_back((now, applied));
        }
        while self.marks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= self.grace) {
            self.marks.pop_front();
        }
    }

    /// Returns the index of the last entry that is known to have been applied here a grace period ago.
    pub fn ripe(&self, now: Duration) -> Option<u64> {
        let old = self.marks.iter().take_while(|(at, _)| now.saturating_sub(*at) >= self.grace);
        old.map(|(_, applied)| *applied).max()
    }
}

#[cfg(test)]
mod tests {
    use super::{MARKS, Ripening};
    use std::time::Duration;

    const GRACE: Duration = Duration::from_secs(60);

    #[test]
    fn no_entry_is_ripe_before_its_grace_period_ends() {
        let mut ripening = Ripening::new(GRACE);
        let mut applied = Vec::new();
        for step in 0..4_000_u64 {
            // The intervals are uneven, and some are longer than a grace period.
            let pause = [10, 700, 3, 90_000, 250, 1][step as usize % 6];
            let now = applied.last().map_or(Duration::ZERO, |(at, _)| *at) + Duration::from_millis(pause);
            ripening.note(now, 3 * step);
            applied.push((now, 3 * step));
            let young = applied.iter().rev().take_while(|(at, _)| now - *at < GRACE);
            let first_young = young.last().map_or(u64::MAX, |(_, entry)| *entry);
            assert!(ripening.ripe(now).is_none_or(|ripe| ripe < first_young), "step {step}");
        }
        assert!(ripening.marks.len() <= MARKS as usize + 2);
    }

    #[test]
    fn an_entry_is_ripe_soon_after_its_grace_period() {
        let mut ripening = Ripening::new(GRACE);
        for second in 0..600_u64 {
            let now = Duration::from_secs(second);
            ripening.note(now, second);
            let expected = second.checked_sub(GRACE.as_secs() + 2 * GRACE.as_secs() / u64::from(MARKS));
            assert!(ripening.ripe(now) >= expected, "second {second}");
        }
    }
}
