//! The budget of steps for decisions. A step is about the work of comparing one byte. The authors of policies and
//! requests determine how many steps a decision takes, so the steps are counted, and a decision that exceeds its budget
//! is a denial.

use crate::limits::{DECISION_STEPS_MAX, REQUEST_STEPS_MAX};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The steps that are left to all decisions of one request.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: AtomicU64::new(REQUEST_STEPS_MAX) }
    }
}

impl Budget {
    #[cfg(test)]
    pub fn of(steps: u64) -> Self {
        Self { left: AtomicU64::new(steps) }
    }

    #[cfg(test)]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Returns the steps spent of a full budget.
    #[cfg(test)]
    pub fn spent(&self) -> u64 {
        REQUEST_STEPS_MAX - self.left()
    }
}

/// The steps that are left to one decision. On drop, the steps spent are deducted from the budget of the request.
#[derive(Debug)]
pub struct Meter<'a> {
    budget: &'a Budget,
    given: u64,
    left: Cell<u64>,
    is_exhausted: Cell<bool>,
}

impl<'a> Meter<'a> {
    pub fn of(budget: &'a Budget) -> Self {
        let given = budget.left.load(Ordering::Relaxed).min(DECISION_STEPS_MAX);
        Self { budget, given, left: Cell::new(given), is_exhausted: Cell::new(false) }
    }

    /// Charges steps; returns false if not enough are left. After that nothing matches any more, and the caller must
    /// check `is_exhausted` before it relies on the result.
    pub fn charge(&self, steps: usize) -> bool {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        match self.left.get().checked_sub(steps) {
            Some(left) if !self.is_exhausted.get() => self.left.set(left),
            _ => self.is_exhausted.set(true),
        }
        !self.is_exhausted.get()
    }

    pub fn is_exhausted(&self) -> bool {
        self.is_exhausted.get()
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        let spent = if self.is_exhausted.get() { self.given } else { self.given - self.left.get() };
        let less = |left: u64| Some(left.saturating_sub(spent));
        // The closure always returns a value, so the update cannot fail.
        let _ = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Meter};
    use crate::limits::{DECISION_STEPS_MAX, REQUEST_STEPS_MAX};

    #[test]
    fn steps_are_bounded_for_each_decision_and_for_each_request() {
        let budget = Budget::default();
        let decision = usize::try_from(DECISION_STEPS_MAX).expect("it is small");
        for _ in 0..REQUEST_STEPS_MAX / DECISION_STEPS_MAX {
            let meter = Meter::of(&budget);
            assert!(meter.charge(decision) && !meter.is_exhausted());
            assert!(!meter.charge(1) && meter.is_exhausted() && !meter.charge(0));
        }
        assert_eq!(budget.spent(), REQUEST_STEPS_MAX);
        assert!(!Meter::of(&budget).charge(1));
    }

    #[test]
    fn a_dropped_meter_deducts_its_steps_from_the_budget() {
        let budget = Budget::default();
        assert!(Meter::of(&budget).charge(7));
        assert_eq!(budget.spent(), 7);
    }
}
