//! `Interrupted`: the comparisons that an error of their node interrupted, and those that are parked because another
//! one takes turns with repairs. They go on after those of other nodes.

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
    /// The time of the last error, and how long the attempt had taken until then.
    last_attempt: Option<(Duration, Duration)>,
    last_failure: LastFailure,
}

impl Interrupted {
    /// Adds one whose last step failed. The step began and ended at these times.
    pub(super) fn add(&mut self, comparison: Option<Comparison>, (began, ended): (Duration, Duration)) {
        self.comparisons.extend(comparison);
        self.last_attempt = Some((ended, ended.saturating_sub(began)));
    }

    /// Adds one that did not fail.
    pub(super) fn park(&mut self, comparison: Option<Comparison>) {
        self.comparisons.extend(comparison);
    }

    /// Takes the one that was interrupted the longest ago.
    pub(super) fn take(&mut self) -> Option<Comparison> {
        self.comparisons.pop_front()
    }

    /// Takes the first one for which the predicate is true.
    pub(super) fn take_first(&mut self, is_taken: impl Fn(&Comparison) -> bool) -> Option<Comparison> {
        let at = self.comparisons.iter().position(is_taken)?;
        self.comparisons.remove(at)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Comparison> {
        self.comparisons.iter_mut()
    }

    pub(super) fn has(&self, node: NodeId) -> bool {
        self.comparisons.iter().any(|comparison| comparison.node() == node)
    }

    pub(super) fn retain(&mut self, goes_on: impl Fn(&Comparison) -> bool) {
        self.comparisons.retain(goes_on);
    }

    /// Returns whether this time, and a multiple of the last failed attempt's own, has passed since that attempt: the
    /// next one, of whatever node, may fail as it did.
    pub(super) fn has_rested(&self, now: Duration, rest: Duration) -> bool {
        let is_over = |(ended, took): (Duration, Duration)| now.saturating_sub(ended) >= rest.max(took * REST_TIMES);
        self.last_attempt.is_none_or(is_over)
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
