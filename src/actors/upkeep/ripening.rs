//! `Ripening`: which entries of the log were applied on this host a grace period ago, by its monotonic clock. It decides when
//! what an entry took away may be dropped; wall clocks, and the times in the log, have no say in it.
//!
//! It owns a few marks, each a moment and how far the tables had come by then. It starts without any, so that after a
//! start a whole grace period passes before anything is ripe.

use std::collections::VecDeque;
use std::time::Duration;

/// Marks in a grace period: something is dropped later than it might be by one part in so many.
const MARKS: u32 = 32;

#[derive(Debug)]
pub struct Ripening {
    grace: Duration,
    /// Oldest first.
    marks: VecDeque<(Duration, u64)>,
}

impl Ripening {
    pub fn new(grace: Duration) -> Self {
        Self { grace, marks: VecDeque::new() }
    }

    /// Notes how far the tables have come. `now` is read after the tables, by the monotonic clock.
    pub fn note(&mut self, now: Duration, applied: u64) {
        let due = self.marks.back().is_none_or(|(last, _)| now.saturating_sub(*last) >= self.grace / MARKS);
        if due {
            self.marks.push_back((now, applied));
        }
        while self.marks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= self.grace) {
            self.marks.pop_front();
        }
    }

    /// The last entry that was applied here a grace period ago, if that is known.
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
    fn garbage_is_not_ripe_before_a_whole_grace_period_after_it_was_applied_here() {
        let mut ripening = Ripening::new(GRACE);
        let mut applied = Vec::new();
        for step in 0..4_000_u64 {
            // Entries come unevenly, and looks too: now and then there is none for longer than a grace period.
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
    fn everything_is_ripe_soon_after_its_grace_period() {
        let mut ripening = Ripening::new(GRACE);
        for second in 0..600_u64 {
            let now = Duration::from_secs(second);
            ripening.note(now, second);
            let expected = second.checked_sub(GRACE.as_secs() + 2 * GRACE.as_secs() / u64::from(MARKS));
            assert!(ripening.ripe(now) >= expected, "second {second}");
        }
    }
}
