//! The bound on making tables anew for entries that cannot be applied to them. Pure.
//!
//! Tables may fail, and are made anew. An entry that fails on those, too, though the store beneath them works, would fail for
//! ever: it is a defect of the program.

/// The tries to apply some entries.
#[derive(Debug, Default)]
pub struct Attempts {
    failures: u32,
    /// The entry that failed last, once it is known.
    failed_at: Option<u64>,
}

impl Attempts {
    /// Returns how many of the entries that are left to apply together: one by one after a failure, so that those before the
    /// entry that fails are applied, and it is known.
    pub fn together(&self, left: usize) -> usize {
        if self.failures == 0 { left } else { left.min(1) }
    }

    /// Notes that `count` entries from this one on could not be applied, and returns whether to give up: the same entry failed
    /// before.
    pub fn is_enough(&mut self, first: u64, count: usize) -> bool {
        let failed_at = (count == 1).then_some(first);
        let is_same = failed_at.is_some() && self.failed_at == failed_at;
        self.failed_at = failed_at;
        is_same
    }

    /// Notes a failure of whatever kind, and returns whether it is not the first: tables were made anew for these entries
    /// already.
    pub fn is_repeated(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures > 1
    }
}

#[cfg(test)]
mod tests {
    use super::Attempts;

    #[test]
    fn one_entry_is_given_up_when_it_fails_the_second_time() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.together(1), 1);
        assert!(!attempts.is_enough(7, 1) && !attempts.is_repeated());
        assert!(attempts.is_enough(7, 1));
    }

    #[test]
    fn of_several_entries_those_before_the_one_that_fails_are_applied_one_by_one() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.together(9), 9);
        assert!(!attempts.is_enough(7, 9) && !attempts.is_repeated());
        assert_eq!(attempts.together(9), 1);
        // 7 was applied, 8 is the one.
        assert!(!attempts.is_enough(8, 1) && attempts.is_repeated());
        assert!(attempts.is_enough(8, 1));
    }

    #[test]
    fn another_entry_that_fails_is_tried_again() {
        let mut attempts = Attempts::default();
        assert!(!attempts.is_enough(7, 1));
        assert!(!attempts.is_enough(9, 1));
    }
}
