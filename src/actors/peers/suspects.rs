//! Nodes that were met in trouble: late, failing, unreachable or full. Whoever meets one says so here, so that a drive or a
//! host in trouble costs one request its patience and not all; it is probed in the background and trusted again once it
//! answers. Other requests read a snapshot and never wait.
//!
//! ```text
//! trusted ──late, doubted──► suspect ──probe fails──► gone ──probe answers──► trusted
//!    │                         └──probe answers, and its time is over──► trusted
//!    └──unreachable──► gone
//! ```
//!
//! A node that was late stays suspect for a while even where it answers probes, longer each time: a drive may answer what
//! asks little of it and stall on syncs. Where it does not answer them either, it was late for no more than that it was
//! gone, and is trusted again with its first answer.

use crate::metrics::NODES_IN_TROUBLE;
use crate::storage::ring::Ring;
use crate::types::{HostId, NodeId};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The time for which a node stays suspect after it was late, at first and at most.
const LATE_FOR: Duration = Duration::from_secs(5);
const LATE_FOR_MAX: Duration = Duration::from_secs(60);
/// A node that was in order for so long is as good as any.
const FORGIVEN_AFTER: Duration = Duration::from_secs(120);
/// A node without room is not written to for so long at first, and twice as long each time that it has none again.
const FULL_FOR: Duration = Duration::from_secs(1);
const FULL_FOR_MAX: Duration = Duration::from_secs(16);
/// The interval between probes of a node in trouble.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The trust in a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    #[default]
    Trusted,
    /// Used where there is no other way, and not waited for long.
    Suspect,
    /// The node does not answer.
    Gone,
}

/// The record against one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Case {
    trust: Trust,
    why: String,
    /// The time before which it is not trusted, whatever a probe says.
    until: Duration,
    /// The time of the next probe.
    probe: Duration,
    /// Times in a row that it was late, and when it was trusted again after the last.
    lates: u32,
    cleared: Duration,
    full_until: Duration,
    /// The length of the last period without writes to it.
    full_for: Duration,
    slow_until: Duration,
}

/// The doubts about nodes, at one moment.
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

    /// Returns whether it reported lately that it has no space.
    pub fn is_full(&self, node: NodeId, now: Duration) -> bool {
        self.cases.get(&node).is_some_and(|case| case.full_until > now)
    }

    /// Returns whether reads had to wait for it lately.
    pub fn is_slow(&self, node: NodeId, now: Duration) -> bool {
        self.cases.get(&node).is_some_and(|case| case.slow_until > now)
    }

    /// Nodes that are not trusted, and why.
    pub fn suspects(&self) -> impl Iterator<Item = (NodeId, Trust, &str)> {
        let doubted = self.cases.iter().filter(|(_, case)| case.trust != Trust::Trusted);
        doubted.map(|(&node, case)| (node, case.trust, case.why.as_str()))
    }

    /// Notes that the node let a request wait too long; no news for a node that is gone.
    fn late(&mut self, node: NodeId, why: &str, now: Duration) {
        let case = self.cases.entry(node).or_default();
        match case.trust {
            Trust::Trusted => {
                case.lates = if now.saturating_sub(case.cleared) < FORGIVEN_AFTER { case.lates + 1 } else { 1 };
                let longer = LATE_FOR.saturating_mul(1 << (case.lates - 1).min(8));
                case.doubt(why, now, now + longer.min(LATE_FOR_MAX));
            }
            Trust::Suspect => case.until = case.until.max(now + LATE_FOR),
            Trust::Gone => {}
        }
    }

    /// Notes that the node failed a request; a probe decides.
    fn doubt(&mut self, node: NodeId, why: &str, now: Duration) {
        let case = self.cases.entry(node).or_default();
        if case.trust == Trust::Trusted {
            case.doubt(why, now, now);
        }
    }

    /// No way leads there.
    fn gone(&mut self, node: NodeId, why: &str, now: Duration) {
        let case = self.cases.entry(node).or_default();
        if case.trust != Trust::Gone {
            case.doubt(why, now, now);
            case.trust = Trust::Gone;
            case.probe = now + PROBE_EVERY;
        }
    }

    /// Takes what a probe found.
    fn probed(&mut self, node: NodeId, found: Result<(), String>, now: Duration) {
        let Some(case) = self.cases.get_mut(&node).filter(|case| case.trust != Trust::Trusted) else { return };
        match found {
            Ok(()) if case.until <= now => {
                case.trust = Trust::Trusted;
                case.cleared = now;
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

    /// Notes that the node has no space. Further reports of the same moment are no news.
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

    /// Keeps nothing against nodes that are not there any more: no probe would ever clear them.
    fn forget(&mut self, nodes: &[NodeId]) {
        self.cases.retain(|node, _| !nodes.contains(node));
    }

    fn forgive(&mut self, now: Duration) {
        let is_old =
            |case: &Case| now.saturating_sub(case.cleared.max(case.full_until).max(case.slow_until)) >= FORGIVEN_AFTER;
        self.cases.retain(|_, case| case.trust != Trust::Trusted || !is_old(case));
    }
}

impl Case {
    fn doubt(&mut self, why: &str, now: Duration, until: Duration) {
        (self.trust, self.why, self.until, self.probe) = (Trust::Suspect, why.to_owned(), until, now);
    }
}

/// A node with those that may share its trouble: all of its host, unless that is `own`, where each drive is watched by itself.
pub fn nodes_beside(ring: &Ring, own: HostId, node: NodeId) -> Vec<NodeId> {
    match ring.host_of(node) {
        Some(host) if host != own => {
            ring.nodes().iter().filter(|known| known.host == host).map(|known| known.id).collect()
        }
        _ => vec![node],
    }
}

/// The board on which doubts are reported and read. Cheap to clone; all clones are one board. Times are by the
/// monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Suspects {
    published: Arc<ArcSwap<Doubts>>,
    writing: Arc<Mutex<()>>,
}

impl Suspects {
    pub fn current(&self) -> Arc<Doubts> {
        self.published.load_full()
    }

    /// Notes that this node let a request wait too long; a probe decides whether those beside it hang as well.
    pub fn late(&self, node: NodeId, beside: &[NodeId], why: &str, now: Duration) {
        self.change(now, |doubts| {
            doubts.late(node, why, now);
            beside.iter().for_each(|&other| doubts.doubt(other, why, now));
        });
    }

    /// Reads wait for this node: they go to others first for a while. Writes go around it, and those beside it, only until it
    /// answers a probe: what is slow to read under load would otherwise have to be repaired as well.
    pub fn slow(&self, node: NodeId, beside: &[NodeId], why: &str, now: Duration) {
        self.change(now, |doubts| {
            doubts.doubt(node, why, now);
            beside.iter().for_each(|&other| doubts.doubt(other, why, now));
            doubts.cases.entry(node).or_default().slow_until = now + LATE_FOR;
        });
    }

    /// Notes that this node failed a request.
    pub fn doubt(&self, node: NodeId, why: &str, now: Duration) {
        self.change(now, |doubts| doubts.doubt(node, why, now));
    }

    /// Notes that these nodes cannot be reached.
    pub fn gone(&self, nodes: &[NodeId], why: &str, now: Duration) {
        self.change(now, |doubts| nodes.iter().for_each(|&node| doubts.gone(node, why, now)));
    }

    /// Notes that this node has no space.
    pub fn full(&self, node: NodeId, now: Duration) {
        self.change(now, |doubts| doubts.full(node, now));
    }

    /// Nodes that are to be probed now.
    pub fn due(&self, now: Duration) -> Vec<NodeId> {
        self.published.load().due(now)
    }

    /// Notes the result of a probe.
    pub fn probed(&self, node: NodeId, found: Result<(), String>, now: Duration) {
        self.change(now, |doubts| doubts.probed(node, found, now));
    }

    /// Forgets nodes that are no longer part of the store.
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

    fn told() -> Result<(), String> {
        Err("silence".to_owned())
    }

    #[test]
    fn a_late_node_is_probed_at_once_and_trusted_again_after_its_time() {
        let suspects = Suspects::default();
        suspects.late(NODE, &[], "slow", START);
        assert_eq!((trust(&suspects), suspects.due(START)), (Trust::Suspect, vec![NODE]));
        suspects.probed(NODE, Ok(()), START);
        assert_eq!((trust(&suspects), suspects.due(START)), (Trust::Suspect, vec![]), "an answer is not a sync");
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
        assert_eq!(trust(&suspects), Trust::Trusted, "what is long past does not count");
    }

    #[test]
    fn neighbours_of_a_late_node_are_trusted_again_as_soon_as_they_answer() {
        let suspects = Suspects::default();
        let other = NodeId(4);
        suspects.late(NODE, &[NODE, other], "slow", START);
        assert_eq!(suspects.due(START), vec![NODE, other]);
        suspects.probed(NODE, Ok(()), START);
        suspects.probed(other, Ok(()), START);
        assert_eq!((trust(&suspects), suspects.current().trust(other)), (Trust::Suspect, Trust::Trusted));
    }

    #[test]
    fn a_node_that_is_slow_to_read_is_written_to_as_soon_as_it_answers() {
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
        suspects.probed(NODE, told(), START);
        assert_eq!((trust(&suspects), suspects.due(START)), (Trust::Gone, vec![]));
        let again = START + PROBE_EVERY;
        assert_eq!(suspects.due(again), vec![NODE]);
        suspects.late(NODE, &[], "a request that began before", again);
        assert_eq!(trust(&suspects), Trust::Gone);
        suspects.probed(NODE, Ok(()), again);
        assert_eq!(trust(&suspects), Trust::Trusted);
    }

    #[test]
    fn a_node_that_was_late_because_it_was_gone_is_trusted_again_at_its_first_answer() {
        let suspects = Suspects::default();
        suspects.late(NODE, &[], "slow", START);
        suspects.probed(NODE, told(), START + PROBE_EVERY);
        assert_eq!(trust(&suspects), Trust::Gone);
        suspects.probed(NODE, Ok(()), START + 2 * PROBE_EVERY);
        assert_eq!(trust(&suspects), Trust::Trusted, "its silence was all that was held against it");
        suspects.late(NODE, &[], "slow again", START + 2 * PROBE_EVERY);
        suspects.gone(&[NODE], "no route", START + 3 * PROBE_EVERY);
        suspects.probed(NODE, Ok(()), START + 4 * PROBE_EVERY);
        assert_eq!(trust(&suspects), Trust::Trusted);
    }

    #[test]
    fn an_unreachable_node_is_gone_at_once_and_the_first_reason_stands() {
        let suspects = Suspects::default();
        suspects.gone(&[NODE, NodeId(4)], "no route", START);
        suspects.gone(&[NODE], "still none", START);
        let told: Vec<_> =
            suspects.current().suspects().map(|(node, trust, why)| (node, trust, why.to_owned())).collect();
        let gone = |node| (node, Trust::Gone, "no route".to_owned());
        assert_eq!(told, vec![gone(NODE), gone(NodeId(4))]);
        suspects.probed(NODE, Ok(()), START + PROBE_EVERY);
        assert!(suspects.current().is_trusted(NODE));
    }

    #[test]
    fn doubts_about_a_removed_node_are_dropped() {
        let suspects = Suspects::default();
        suspects.gone(&[NODE, NodeId(4)], "no route", START);
        suspects.forget(&[NODE], START);
        let left: Vec<_> = suspects.current().suspects().map(|(node, ..)| node).collect();
        assert_eq!((left, suspects.due(START + PROBE_EVERY)), (vec![NodeId(4)], vec![NodeId(4)]));
    }

    #[test]
    fn a_node_without_room_is_written_to_again_soon_and_later_each_time() {
        let suspects = Suspects::default();
        let mut now = START;
        for seconds in [1, 2, 4, 8, 16, 16] {
            let until = now + Duration::from_secs(seconds);
            // Several requests meet it at once.
            (0..3).for_each(|_| suspects.full(NODE, now));
            assert!(suspects.current().is_full(NODE, until - Duration::from_millis(1)));
            assert!(suspects.current().is_trusted(NODE) && !suspects.current().is_full(NODE, until));
            now = until;
        }
        let later = now + FULL_FOR_MAX;
        suspects.full(NODE, later);
        assert!(!suspects.current().is_full(NODE, later + FULL_FOR), "it had room meanwhile");
    }
}
