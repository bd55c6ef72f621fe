//! The bound on rebuilding the tables for entries that cannot be applied. Pure.
//!
//! Tables that fail are rebuilt, and the entries are applied again. An entry that fails on rebuilt tables, too,
//! although the store beneath them works, would fail for ever: it shows a defect of the program.

/// The attempts to apply one batch of entries.
#[derive(Debug, Default)]
pub struct Attempts {
    failures: u32,
    /// The entry that failed last; `None` while it is only known that one of several failed.
    failed_at: Option<u64>,
}

impl Attempts {
    /// Returns how many of the remaining entries to apply together. After a failure they are applied one by one, so
    /// that those before the failing entry are applied and the failing one is identified.
    pub fn together(&self, left: usize) -> usize {
        if self.failures == 0 { left } else { left.min(1) }
    }

    /// Notes that `count` entries from `first` on could not be applied. Returns whether to give up, since the same
    /// single entry failed before.
    pub fn is_enough(&mut self, first: u64, count: usize) -> bool {
        let failed_at = (count == 1).then_some(first);
        let is_same = failed_at.is_some() && self.failed_at == failed_at;
        self.failed_at = failed_at;
        is_same
    }

    /// Notes a failure of any kind. Returns whether there was one before, so that the tables were already rebuilt for
    /// this batch.
    pub fn is_repeated(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures > 1
    }
}

#[cfg(test)]
mod tests {
    use super::Attempts;

    #[test]
    fn an_entry_is_given_up_when_it_fails_a_second_time() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.together(1), 1);
        assert!(!attempts.is_enough(7, 1) && !attempts.is_repeated());
        assert!(attempts.is_enough(7, 1));
    }

    #[test]
    fn entries_are_applied_one_by_one_after_a_failure() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.together(9), 9);
        assert!(!attempts.is_enough(7, 9) && !attempts.is_repeated());
        assert_eq!(attempts.together(9), 1);
        // Entry 7 was applied, and entry 8 fails.
        assert!(!attempts.is_enough(8, 1) && attempts.is_repeated());
        assert!(attempts.is_enough(8, 1));
    }

    #[test]
    fn the_failure_of_a_different_entry_does_not_count_as_a_second_failure() {
        let mut attempts = Attempts::default();
        assert!(!attempts.is_enough(7, 1));
        assert!(!attempts.is_enough(9, 1));
    }
}
