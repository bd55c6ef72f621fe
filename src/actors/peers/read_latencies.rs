//! The recent latency of chunk reads, by node; it decides how long a read waits before it asks for parity as well.

use crate::limits::{READ_HEDGE_MAX, READ_HEDGE_MIN};
use crate::types::NodeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Reads that are remembered of each node.
const REMEMBERED: usize = 128;
/// The number of reads from which a node's latency is known well enough to hedge.
const KNOWN_FROM: usize = 16;
/// The percentile is computed again after so many reads.
const COMPUTED_EVERY: usize = 8;
/// Reads that waited so long for a node, all together and without an answer in between, make it suspect.
const SILENCE_MAX: Duration = READ_HEDGE_MAX;

/// The last reads of one node, and the delay that follows from them. Pure.
#[derive(Clone, Debug)]
struct Recent {
    /// The latencies in microseconds; `[at]` is overwritten next.
    took_us: Vec<u32>,
    at: usize,
    since_computed: usize,
    delay: Duration,
    /// Waited for since it last answered.
    silence: Duration,
}

impl Default for Recent {
    fn default() -> Self {
        let took_us = Vec::with_capacity(REMEMBERED);
        Self { took_us, at: 0, since_computed: 0, delay: READ_HEDGE_MAX, silence: Duration::ZERO }
    }
}

impl Recent {
    fn observe(&mut self, took: Duration) {
        let took_us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        match self.took_us.get_mut(self.at) {
            Some(slot) => *slot = took_us,
            None => self.took_us.push(took_us),
        }
        self.at = (self.at + 1) % REMEMBERED;
        self.since_computed += 1;
        if self.since_computed >= COMPUTED_EVERY && self.took_us.len() >= KNOWN_FROM {
            self.since_computed = 0;
            self.delay = self.compute();
        }
    }

    /// Returns half as much again as 95 of 100 reads take.
    fn compute(&self) -> Duration {
        let mut sorted = self.took_us.clone();
        sorted.sort_unstable();
        let p95_us = sorted.get(sorted.len() * 95 / 100).or(sorted.last()).copied().unwrap_or(u32::MAX);
        (Duration::from_micros(u64::from(p95_us)) * 3 / 2).clamp(READ_HEDGE_MIN, READ_HEDGE_MAX)
    }
}

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct ReadLatencies {
    nodes: Arc<Mutex<BTreeMap<NodeId, Recent>>>,
}

impl ReadLatencies {
    /// Returns the time after which a read of this node is late.
    pub fn delay(&self, node: NodeId) -> Duration {
        self.lock().get(&node).map_or(READ_HEDGE_MAX, |recent| recent.delay)
    }

    /// Notes the latency of an answer.
    pub fn answered(&self, node: NodeId, took: Duration) {
        let mut nodes = self.lock();
        let recent = nodes.entry(node).or_default();
        recent.silence = Duration::ZERO;
        recent.observe(took);
    }

    /// Notes a read that was given up after so long: it would have taken longer. It counts all the same, or a node that
    /// has become slower would be late for ever.
    pub fn given_up(&self, node: NodeId, waited: Duration) {
        self.lock().entry(node).or_default().observe(waited);
    }

    /// A read of this node is late after so long. Says whether the node has now been silent for so long that it is suspect.
    pub fn late(&self, node: NodeId, waited: Duration) -> bool {
        let mut nodes = self.lock();
        let recent = nodes.entry(node).or_default();
        recent.silence = recent.silence.saturating_add(waited);
        if recent.silence >= SILENCE_MAX {
            recent.silence = Duration::ZERO;
            return true;
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Recent>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{KNOWN_FROM, REMEMBERED, ReadLatencies, SILENCE_MAX};
    use crate::limits::{READ_HEDGE_MAX, READ_HEDGE_MIN};
    use crate::types::NodeId;
    use proptest::collection::vec;
    use proptest::{prop_assert, proptest};
    use std::time::Duration;

    const NODE: NodeId = NodeId(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn answer(latencies: &ReadLatencies, times: usize, took: Duration) {
        (0..times).for_each(|_| latencies.answered(NODE, took));
    }

    #[test]
    fn a_node_that_is_not_known_is_given_the_longest_delay() {
        let latencies = ReadLatencies::default();
        assert_eq!(latencies.delay(NODE), READ_HEDGE_MAX);
        answer(&latencies, KNOWN_FROM - 1, ms(10));
        assert_eq!(latencies.delay(NODE), READ_HEDGE_MAX);
        answer(&latencies, 1, ms(10));
        assert_eq!(latencies.delay(NODE), ms(15));
        assert_eq!(latencies.delay(NodeId(2)), READ_HEDGE_MAX, "each node by itself");
    }

    #[test]
    fn the_delay_follows_the_tail_and_not_single_stragglers() {
        let latencies = ReadLatencies::default();
        for _ in 0..REMEMBERED / 32 {
            answer(&latencies, 31, ms(20));
            answer(&latencies, 1, ms(5000));
        }
        assert_eq!(latencies.delay(NODE), ms(30), "3 of 100 are stragglers");
        answer(&latencies, REMEMBERED, ms(100));
        assert_eq!(latencies.delay(NODE), ms(150), "the past is forgotten");
    }

    #[test]
    fn a_node_that_has_become_slow_is_waited_for_longer_though_nobody_sees_its_answers() {
        let latencies = ReadLatencies::default();
        answer(&latencies, REMEMBERED, ms(4));
        for _ in 0..REMEMBERED {
            latencies.given_up(NODE, latencies.delay(NODE) * 2);
        }
        assert_eq!(latencies.delay(NODE), READ_HEDGE_MAX);
    }

    #[test]
    fn a_node_that_reads_wait_for_without_an_answer_in_between_is_suspect() {
        let latencies = ReadLatencies::default();
        assert!(latencies.late(NODE, SILENCE_MAX), "one long wait");
        for _ in 0..3 {
            assert!((0..7).all(|_| !latencies.late(NODE, SILENCE_MAX / 8)));
            latencies.answered(NODE, ms(1));
        }
        assert!((0..7).all(|_| !latencies.late(NODE, SILENCE_MAX / 8)));
        assert!(latencies.late(NODE, SILENCE_MAX / 8), "or many short ones");
    }

    proptest! {
        #[test]
        fn the_delay_is_within_its_bounds_whatever_is_seen(took in vec(0u64..u64::MAX / 2, 0..300)) {
            let latencies = ReadLatencies::default();
            for us in took {
                latencies.answered(NODE, Duration::from_micros(us));
                let delay = latencies.delay(NODE);
                prop_assert!((READ_HEDGE_MIN..=READ_HEDGE_MAX).contains(&delay));
            }
        }
    }
}
