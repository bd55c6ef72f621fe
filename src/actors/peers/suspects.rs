//! `Suspects`: the nodes that are late, failing, unreachable or full. A request that meets such a node reports it here,
//! so that later requests do not wait for it as well. The node is probed in the background and trusted again once it
//! answers. Requests read a published snapshot and never wait for a lock.
//!
//! ```text
//! trusted ──late, failed──► suspect ──probe fails──► gone ──probe succeeds──► trusted
//!    │                        └──probe succeeds, after the penalty──► trusted
//!    └──unreachable──► gone
//! ```
//!
//! A node that was late stays suspect for a penalty time even if it answers probes, and longer each time, because a
//! drive may answer small requests and still stall on syncs. If a late node does not answer probes either, the outage
//! explains its lateness, and it is trusted again with its first answer.
//!
//! A node that was slow to read is suspect until it answers a probe, and reads prefer other nodes for the penalty time.

use crate::metrics::NODES_IN_TROUBLE;
use crate::storage::ring::Ring;
use crate::types::{HostId, NodeId};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The time for which a node stays suspect after it was late for the first time. It doubles each time.
const LATE_FOR: Duration = Duration::from_secs(5);
const LATE_FOR_MAX: Duration = Duration::from_secs(60);
/// The time without trouble after which a node's earlier trouble no longer counts.
const FORGIVEN_AFTER: Duration = Duration::from_secs(120);
/// The time for which a full node is not written to at first. It doubles each time that the node is still full.
const FULL_FOR: Duration = Duration::from_secs(1);
const FULL_FOR_MAX: Duration = Duration::from_secs(16);
/// The interval between probes of a node in trouble.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The trust in a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    #[default]
    Trusted,
    /// The node was late or failed. It is used only if the other nodes are too few, and not waited for long.
    Suspect,
    /// The node does not answer probes or cannot be reached.
    Gone,
}

/// The record of one node's trouble.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Case {
    trust: Trust,
    why: String,
    /// The end of the penalty: before it, a successful probe does not restore trust.
    until: Duration,
    /// The time of the next probe.
    probe: Duration,
    /// The number of times in succession that the node was late.
    late_count: u32,
    /// The time at which the node was last trusted again.
    trusted_since: Duration,
    /// The end of the period in which the node is not written to because it is full.
    full_until: Duration,
    /// The length of the last such period.
    full_for: Duration,
    /// The end of the period in which reads prefer other nodes.
    slow_until: Duration,
}

/// A snapshot of the trust in all nodes.
#[derive(Clone, Debug, Default)]
pub struct Doubts {
    cases: BTreeMap<NodeId, Case>,
}

impl Doubts {
    pub fn trust(&self, node: NodeId) -> Trust {
        self.cases.get(&node).map(|case| case.trust).unwrap_or_default()
    }

    pub fn is_trusted(&self, node: NodeId) -> bool {
        self.trust(node) == Trust::Trusted
    }

    /// Returns whether the node reported recently that it has no space.
    pub fn is_full(&self, node: NodeId, now: Duration) -> bool {
        self.cases.get(&node).is_some_and(|case| case.full_until > now)
    }

    /// Returns whether reads had to wait for the node recently.
    pub fn is_slow(&self, node: NodeId, now: Duration) -> bool {
        self.cases.get(&node).is_some_and(|case| case.slow_until > now)
    }

    /// Returns the nodes that are not trusted, with the reasons.
    pub fn suspects(&self) -> impl Iterator<Item = (NodeId, Trust, &str)> {
        let doubted = self.cases.iter().filter(|(_, case)| case.trust != Trust::Trusted);
        doubted.map(|(&node, case)| (node, case.trust, case.why.as_str()))
    }

    /// Records that a request waited too long for the node. Changes nothing for a node that is gone.
    fn late(&mut self, node: NodeId, why: &str, now: Duration) {
        let case = self.cases.entry(node).or_default();
        match case.trust {
            Trust::Trusted => {
                case.late_count =
                    if now.saturating_sub(case.trusted_since) < FORGIVEN_AFTER { case.late_count + 1 } else { 1 };
                let longer = LATE_FOR.saturating_mul(1 << (case.late_count - 1).min(8));
                case.doubt(why, now, now + longer.min(LATE_FOR_MAX));
            }
            Trust::Suspect => case.until = case.until.max(now + LATE_FOR),
            Trust::Gone => {}
        }
    }

    /// Records that the node failed a request. It is suspect until a probe succeeds.
    fn doubt(&mut self, node: NodeId, why: &str, now: Duration) {
        let case = self.cases.entry(node).or_default();
        if case.trust == Trust::Trusted {
            case.doubt(why, now, now);
        }
    }

    /// Records that the node cannot be reached.
    fn gone(&mut self, node: NodeId, why: &str, now: Duration) {
        let case = self.cases.entry(node).or_default();
        if case.trust != Trust::Gone {
            case.doubt(why, now, now);
            case.trust = Trust::Gone;
            case.probe = now + PROBE_EVERY;
        }
    }

    /// Applies the result of a probe.
    fn probed(&mut self, node: NodeId, found: Result<(), String>, now: Duration) {
        let Some(case) = self.cases.get_mut(&node).filter(|case| case.trust != Trust::Trusted) else { return };
        match found {
            Ok(()) if case.until <= now => {
                case.trust = Trust::Trusted;
                case.trusted_since = now;
            }
            Ok(()) => {
                case.trust = Trust::Suspect;
                case.probe = case.until;
            }
            Err(why) => {
                case.trust = Trust::Gone;
                case.why = why;
                case.until = now;
                case.probe = now + PROBE_EVERY;
            }
        }
    }

    /// Records that the node has no space. Reports during the current period without writes do not extend it.
    fn full(&mut self, node: NodeId, now: Duration) {
        let case = self.cases.entry(node).or_default();
        if case.full_until > now {
            return;
        }
        let again = now.saturating_sub(case.full_until) < FULL_FOR_MAX;
        case.full_for = if again { (case.full_for * 2).clamp(FULL_FOR, FULL_FOR_MAX) } else { FULL_FOR };
        case.full_until = now + case.full_for;
    }

    fn due(&self, now: Duration) -> Vec<NodeId> {
        let due = self.cases.iter().filter(|(_, case)| case.trust != Trust::Trusted && case.probe <= now);
        due.map(|(&node, _)| node).collect()
    }

    /// Forgets nodes that were removed, which no probe would ever clear.
    fn forget(&mut self, nodes: &[NodeId]) {
        self.cases.retain(|node, _| !nodes.contains(node));
    }

    /// Removes the records of nodes without recent trouble.
    fn forgive(&mut self, now: Duration) {
        let is_old = |case: &Case| {
            now.saturating_sub(case.trusted_since.max(case.full_until).max(case.slow_until)) >= FORGIVEN_AFTER
        };
        self.cases.retain(|_, case| case.trust != Trust::Trusted || !is_old(case));
    }
}

impl Case {
    fn doubt(&mut self, why: &str, now: Duration, until: Duration) {
        (self.trust, self.why, self.until, self.probe) = (Trust::Suspect, why.to_owned(), until, now);
    }
}

/// Returns the nodes that may share a node's trouble: all nodes of its host. For a node of `own`, this host, returns
/// only the node itself, because each own drive is monitored separately.
pub fn nodes_beside(ring: &Ring, own: HostId, node: NodeId) -> Vec<NodeId> {
    match ring.host_of(node) {
        Some(host) if host != own => {
            ring.nodes().iter().filter(|known| known.host == host).map(|known| known.id).collect()
        }
        _ => vec![node],
    }
}

/// The shared record of nodes in trouble. Cheap to clone; clones share the record. Times are those of the monotonic
/// clock.
#[derive(Clone, Debug, Default)]
pub struct Suspects {
    published: Arc<ArcSwap<Doubts>>,
    writing: Arc<Mutex<()>>,
}

impl Suspects {
    pub fn current(&self) -> Arc<Doubts> {
        self.published.load_full()
    }

    /// Records that a write waited too long for this node. The nodes `beside` it are suspect until a probe succeeds.
    pub fn late(&self, node: NodeId, beside: &[NodeId], why: &str, now: Duration) {
        self.change(now, |doubts| {
            doubts.late(node, why, now);
            beside.iter().for_each(|&other| doubts.doubt(other, why, now));
        });
    }

    /// Records that reads waited too long for this node. For a while reads prefer other nodes. Writes avoid it, and the
    /// nodes `beside` it, only until it answers a probe: otherwise a node that is slow to read under load would cause
    /// repairs as well.
    pub fn slow(&self, node: NodeId, beside: &[NodeId], why: &str, now: Duration) {
        self.change(now, |doubts| {
            doubts.doubt(node, why, now);
            beside.iter().for_each(|&other| doubts.doubt(other, why, now));
            doubts.cases.entry(node).or_default().slow_until = now + LATE_FOR;
        });
    }

    /// Records that this node failed a request.
    pub fn doubt(&self, node: NodeId, why: &str, now: Duration) {
        self.change(now, |doubts| doubts.doubt(node, why, now));
    }

    /// Records that these nodes cannot be reached.
    pub fn gone(&self, nodes: &[NodeId], why: &str, now: Duration) {
        self.change(now, |doubts| nodes.iter().for_each(|&node| doubts.gone(node, why, now)));
    }

    /// Records that this node has no space.
    pub fn full(&self, node: NodeId, now: Duration) {
        self.change(now, |doubts| doubts.full(node, now));
    }

    /// Returns the nodes that are to be probed now.
    pub fn due(&self, now: Duration) -> Vec<NodeId> {
        self.published.load().due(now)
    }

    /// Records the result of a probe.
    pub fn probed(&self, node: NodeId, found: Result<(), String>, now: Duration) {
        self.change(now, |doubts| doubts.probed(node, found, now));
    }

    /// Forgets nodes that were removed from the layout.
    pub fn forget(&self, nodes: &[NodeId], now: Duration) {
        if !nodes.is_empty() {
            self.change(now, |doubts| doubts.forget(nodes));
        }
    }

    fn change(&self, now: Duration, change: impl FnOnce(&mut Doubts)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.published.load_full();
        let mut doubts = Doubts::clone(&before);
        change(&mut doubts);
        doubts.forgive(now);
        for (&node, case) in &doubts.cases {
            match (before.trust(node), case.trust) {
                (old, new) if old == new => {}
                (_, Trust::Trusted) => tracing::info!(%node, "a node is trusted again"),
                (_, Trust::Suspect) => tracing::warn!(%node, why = case.why, "a node is suspect"),
                (_, Trust::Gone) => tracing::warn!(%node, why = case.why, "a node does not answer"),
            }
        }
        for (label, trust) in [("suspect", Trust::Suspect), ("gone", Trust::Gone)] {
            let count = doubts.cases.values().filter(|case| case.trust == trust).count();
            NODES_IN_TROUBLE.with_label_values(&[label]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.published.store(Arc::new(doubts));
    }
}

#[cfg(test)]
mod tests {
    use super::{FORGIVEN_AFTER, FULL_FOR, FULL_FOR_MAX, LATE_FOR, PROBE_EVERY, Suspects, Trust};
    use crate::types::NodeId;
    use std::time::Duration;

    const NODE: NodeId = NodeId(3);
    const START: Duration = Duration::from_secs(1000);

    fn trust(suspects: &Suspects) -> Trust {
        suspects.current().trust(NODE)
    }

    fn no_answer() -> Result<(), String> {
        Err("silence".to_owned())
    }

    #[test]
    fn a_late_node_is_probed_at_once_and_trusted_after_its_penalty() {
        let suspects = Suspects::default();
        suspects.late(NODE, &[], "slow", START);
        assert_eq!((trust(&suspects), suspects.due(START)), (Trust::Suspect, vec![NODE]));
        suspects.probed(NODE, Ok(()), START);
        assert_eq!(
            (trust(&suspects), suspects.due(START)),
            (Trust::Suspect, vec![]),
            "an answered probe does not prove that syncs work"
        );
        let over = START + LATE_FOR;
        assert_eq!(suspects.due(over), vec![NODE]);
        suspects.probed(NODE, Ok(()), over);
        assert_eq!(trust(&suspects), Trust::Trusted);
        suspects.late(NODE, &[], "slow again", over);
        suspects.probed(NODE, Ok(()), over + LATE_FOR);
        assert_eq!(trust(&suspects), Trust::Suspect, "longer each time");
        suspects.probed(NODE, Ok(()), over + 2 * LATE_FOR);
        assert_eq!(trust(&suspects), Trust::Trusted);
        let later = over + 2 * LATE_FOR + FORGIVEN_AFTER;
        suspects.late(NODE, &[], "after long", later);
        suspects.probed(NODE, Ok(()), later + LATE_FOR);
        assert_eq!(trust(&suspects), Trust::Trusted, "lateness long ago does not count");
    }

    #[test]
    fn nodes_beside_a_late_one_are_trusted_once_they_answer_a_probe() {
        let suspects = Suspects::default();
        let other = NodeId(4);
        suspects.late(NODE, &[NODE, other], "slow", START);
        assert_eq!(suspects.due(START), vec![NODE, other]);
        suspects.probed(NODE, Ok(()), START);
        suspects.probed(other, Ok(()), START);
        assert_eq!((trust(&suspects), suspects.current().trust(other)), (Trust::Suspect, Trust::Trusted));
    }

    #[test]
    fn a_node_slow_to_read_is_written_to_once_it_answers_a_probe() {
        let suspects = Suspects::default();
        suspects.slow(NODE, &[NODE], "slow", START);
        assert_eq!((trust(&suspects), suspects.current().is_slow(NODE, START)), (Trust::Suspect, true));
        suspects.probed(NODE, Ok(()), START);
        assert_eq!((trust(&suspects), suspects.current().is_slow(NODE, START)), (Trust::Trusted, true));
        assert!(!suspects.current().is_slow(NODE, START + LATE_FOR));
    }

    #[test]
    fn a_node_that_fails_its_probe_is_gone_until_it_answers_one() {
        let suspects = Suspects::default();
        suspects.doubt(NODE, "it failed", START);
        suspects.probed(NODE, no_answer(), START);
        assert_eq!((trust(&suspects), suspects.due(START)), (Trust::Gone, vec![]));
        let again = START + PROBE_EVERY;
        assert_eq!(suspects.due(again), vec![NODE]);
        suspects.late(NODE, &[], "a request that began before", again);
        assert_eq!(trust(&suspects), Trust::Gone);
        suspects.probed(NODE, Ok(()), again);
        assert_eq!(trust(&suspects), Trust::Trusted);
    }

    #[test]
    fn an_outage_clears_the_lateness_penalty_of_a_node() {
        let suspects = Suspects::default();
        suspects.late(NODE, &[], "slow", START);
        suspects.probed(NODE, no_answer(), START + PROBE_EVERY);
        assert_eq!(trust(&suspects), Trust::Gone);
        suspects.probed(NODE, Ok(()), START + 2 * PROBE_EVERY);
        assert_eq!(trust(&suspects), Trust::Trusted, "the outage explains its lateness");
        suspects.late(NODE, &[], "slow again", START + 2 * PROBE_EVERY);
        suspects.gone(&[NODE], "no route", START + 3 * PROBE_EVERY);
        suspects.probed(NODE, Ok(()), START + 4 * PROBE_EVERY);
        assert_eq!(trust(&suspects), Trust::Trusted);
    }

    #[test]
    fn an_unreachable_node_is_gone_at_once_and_keeps_its_first_reason() {
        let suspects = Suspects::default();
        suspects.gone(&[NODE, NodeId(4)], "no route", START);
        suspects.gone(&[NODE], "still none", START);
        let listed: Vec<_> =
            suspects.current().suspects().map(|(node, trust, why)| (node, trust, why.to_owned())).collect();
        let gone = |node| (node, Trust::Gone, "no route".to_owned());
        assert_eq!(listed, vec![gone(NODE), gone(NodeId(4))]);
        suspects.probed(NODE, Ok(()), START + PROBE_EVERY);
        assert!(suspects.current().is_trusted(NODE));
    }

    #[test]
    fn a_removed_node_is_no_longer_suspect() {
        let suspects = Suspects::default();
        suspects.gone(&[NODE, NodeId(4)], "no route", START);
        suspects.forget(&[NODE], START);
        let left: Vec<_> = suspects.current().suspects().map(|(node, ..)| node).collect();
        assert_eq!((left, suspects.due(START + PROBE_EVERY)), (vec![NodeId(4)], vec![NodeId(4)]));
    }

    #[test]
    fn writes_avoid_a_full_node_for_longer_each_time() {
        let suspects = Suspects::default();
        let mut now = START;
        for seconds in [1, 2, 4, 8, 16, 16] {
            let until = now + Duration::from_secs(seconds);
            // Several requests find it full at the same time.
            (0..3).for_each(|_| suspects.full(NODE, now));
            assert!(suspects.current().is_full(NODE, until - Duration::from_millis(1)));
            assert!(suspects.current().is_trusted(NODE) && !suspects.current().is_full(NODE, until));
            now = until;
        }
        let later = now + FULL_FOR_MAX;
        suspects.full(NODE, later);
        assert!(
            !suspects.current().is_full(NODE, later + FULL_FOR),
            "it had space in the meantime, so the period is short again"
        );
    }
}
