//! `ReadLatencies`: the recent latencies of chunk reads, by node. They determine how long a read waits for a node
//! before it requests parity as well (hedging).

use crate::limits::{READ_HEDGE_MAX, READ_HEDGE_MIN};
use crate::types::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The number of last reads of each node that are remembered.
const REMEMBERED: usize = 128;
/// The number of reads from which on a node's delay is computed from its latencies.
const KNOWN_FROM: usize = 16;
/// The number of reads after which the percentile is computed again.
const COMPUTED_EVERY: usize = 8;
/// A node is suspect once late reads have waited this long for it in total, without an answer in between.
const SILENCE_MAX: Duration = READ_HEDGE_MAX;

/// The last reads of one node, and the delay that follows from them. Pure.
#[derive(Clone, Debug)]
struct Recent {
    /// The latencies in microseconds; `[at]` is overwritten next.
    took_us: Vec<u32>,
    at: usize,
    since_computed: usize,
    delay: Duration,
    /// The total time that late reads waited for the node since it last answered.
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

    /// Returns one and a half times the 95th percentile, within the bounds of a delay.
    fn compute(&self) -> Duration {
        let mut sorted = self.took_us.clone();
        sorted.sort_unstable();
        let p95_us = sorted.get(sorted.len() * 95 / 100).or(sorted.last()).copied().unwrap_or(u32::MAX);
        (Duration::from_micros(u64::from(p95_us)) * 3 / 2).clamp(READ_HEDGE_MIN, READ_HEDGE_MAX)
    }
}

/// The recent read latencies of all nodes. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ReadLatencies {
    nodes: Arc<Mutex<BTreeMap<NodeId, Recent>>>,
}

impl ReadLatencies {
    /// Returns the time after which a read of this node is late.
    pub fn delay(&self, node: NodeId) -> Duration {
        self.lock().get(&node).map_or(READ_HEDGE_MAX, |recent| recent.delay)
    }

    /// Records the latency of an answered read.
    pub fn answered(&self, node: NodeId, took: Duration) {
        let mut nodes = self.lock();
        let recent = nodes.entry(node).or_default();
        recent.silence = Duration::ZERO;
        recent.observe(took);
    }

    /// Records a read that was given up after `waited`. It counts as a latency, although the answer would have taken
    /// longer: otherwise the delay of a node that has become slower would never rise.
    pub fn given_up(&self, node: NodeId, waited: Duration) {
        self.lock().entry(node).or_default().observe(waited);
    }

    /// Records that a read is late after `waited`. Returns whether the node has now been silent long enough to be
    /// suspect.
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

    /// Forgets all nodes but these.
    pub fn retain(&self, nodes: &BTreeSet<NodeId>) {
        self.lock().retain(|node, _| nodes.contains(node));
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
    fn a_node_with_few_measured_reads_has_the_longest_delay() {
        let latencies = ReadLatencies::default();
        assert_eq!(latencies.delay(NODE), READ_HEDGE_MAX);
        answer(&latencies, KNOWN_FROM - 1, ms(10));
        assert_eq!(latencies.delay(NODE), READ_HEDGE_MAX);
        answer(&latencies, 1, ms(10));
        assert_eq!(latencies.delay(NODE), ms(15));
        assert_eq!(latencies.delay(NodeId(2)), READ_HEDGE_MAX, "each node has its own delay");
    }

    #[test]
    fn the_read_delay_follows_the_tail_and_not_single_stragglers() {
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
    fn abandoned_reads_raise_the_delay_of_a_slow_node() {
        let latencies = ReadLatencies::default();
        answer(&latencies, REMEMBERED, ms(4));
        for _ in 0..REMEMBERED {
            latencies.given_up(NODE, latencies.delay(NODE) * 2);
        }
        assert_eq!(latencies.delay(NODE), READ_HEDGE_MAX);
    }

    #[test]
    fn a_node_is_suspect_when_its_unanswered_waits_add_up() {
        let latencies = ReadLatencies::default();
        assert!(latencies.late(NODE, SILENCE_MAX), "one long wait");
        for _ in 0..3 {
            assert!((0..7).all(|_| !latencies.late(NODE, SILENCE_MAX / 8)));
            latencies.answered(NODE, ms(1));
        }
        assert!((0..7).all(|_| !latencies.late(NODE, SILENCE_MAX / 8)));
        assert!(latencies.late(NODE, SILENCE_MAX / 8), "or many short ones");
    }

    #[test]
    fn the_latencies_of_removed_nodes_are_forgotten() {
        let latencies = ReadLatencies::default();
        answer(&latencies, KNOWN_FROM, ms(10));
        latencies.retain(&[NODE, NodeId(2)].into());
        assert_eq!(latencies.delay(NODE), ms(15));
        latencies.retain(&[NodeId(2)].into());
        assert_eq!(latencies.delay(NODE), READ_HEDGE_MAX);
    }

    proptest! {
        #[test]
        fn the_read_delay_is_always_within_its_bounds(took in vec(0u64..u64::MAX / 2, 0..300)) {
            let latencies = ReadLatencies::default();
            for us in took {
                latencies.answered(NODE, Duration::from_micros(us));
                let delay = latencies.delay(NODE);
                prop_assert!((READ_HEDGE_MIN..=READ_HEDGE_MAX).contains(&delay));
            }
        }
    }
}
