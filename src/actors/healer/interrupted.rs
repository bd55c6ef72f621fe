//! `Interrupted`: the comparisons that an error of their node interrupted. They go on after those of other nodes.

use super::compare::Comparison;
use crate::actors::upkeep::LastFailure;
use crate::net::PeerError;
use crate::types::NodeId;
use std::collections::VecDeque;
use std::time::Duration;

/// A failing attempt takes at most one part in so many of the healer's time.
const REST_TIMES: u32 = 10;

#[derive(Debug, Default)]
pub(super) struct Interrupted {
    /// The one that was interrupted the longest ago is the first.
    comparisons: VecDeque<Comparison>,
    /// The time of the last interruption, and how long the attempt had taken until then.
    last: Duration,
    took: Duration,
    last_failure: LastFailure,
}

impl Interrupted {
    /// Adds one whose last step began and ended at these times.
    pub(super) fn add(&mut self, comparison: Option<Comparison>, (began, ended): (Duration, Duration)) {
        self.comparisons.extend(comparison);
        (self.last, self.took) = (ended, ended.saturating_sub(began));
    }

    /// Takes the one that was interrupted the longest ago.
    pub(super) fn take(&mut self) -> Option<Comparison> {
        self.comparisons.pop_front()
    }

    pub(super) fn has(&self, node: NodeId) -> bool {
        self.comparisons.iter().any(|comparison| comparison.node() == node)
    }

    pub(super) fn retain(&mut self, goes_on: impl Fn(&Comparison) -> bool) {
        self.comparisons.retain(goes_on);
    }

    /// Returns all of them once this time, and a multiple of the last attempt's own, has passed since the last
    /// interruption, and none before: each attempt may fail as the last one did.
    pub(super) fn rested(&self, now: Duration, rest: Duration) -> impl Iterator<Item = &Comparison> {
        let has_rested = now.saturating_sub(self.last) >= rest.max(self.took * REST_TIMES);
        self.comparisons.iter().filter(move |_| has_rested)
    }

    /// Logs an interruption while repairs are under way, unless its error is that of the last one.
    pub(super) fn note(&mut self, error: &PeerError) {
        if self.last_failure.is_news(error) {
            tracing::warn!(%error, "a comparison failed; it is tried again while repairs go on");
        }
    }

    /// Notes that a comparison came to its end: the same failure counts as new after it.
    pub(super) fn one_is_done(&mut self) {
        self.last_failure.is_over();
    }
}
