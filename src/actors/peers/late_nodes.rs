//! Nodes that let a write wait too long. For a while new blobs avoid them where a quorum does not need them, so that a drive
//! that stalls costs one request its patience and not all.

use crate::types::NodeId;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long a node is avoided after it was late.
const AVOIDED_FOR: Duration = Duration::from_secs(10);

/// Cheap to clone; all clones are one board.
#[derive(Clone, Debug, Default)]
pub struct LateNodes {
    /// Until when each is avoided, by the monotonic clock.
    until: Arc<ArcSwap<BTreeMap<NodeId, Duration>>>,
}

impl LateNodes {
    pub fn report(&self, node: NodeId, now: Duration) {
        self.until.rcu(|current| {
            let mut next: BTreeMap<_, _> =
                current.iter().filter(|&(_, &until)| until > now).map(|(&node, &until)| (node, until)).collect();
            next.insert(node, now + AVOIDED_FOR);
            next
        });
    }

    /// Those to be avoided now.
    pub fn current(&self, now: Duration) -> BTreeSet<NodeId> {
        self.until.load().iter().filter(|&(_, &until)| until > now).map(|(&node, _)| node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{AVOIDED_FOR, LateNodes};
    use crate::types::NodeId;
    use std::time::Duration;

    #[test]
    fn a_late_node_is_avoided_for_a_while_and_then_tried_again() {
        let late = LateNodes::default();
        let start = Duration::from_secs(100);
        late.report(NodeId(3), start);
        assert!(late.current(start).contains(&NodeId(3)));
        assert!(late.current(start + AVOIDED_FOR).is_empty());
        late.report(NodeId(4), start + AVOIDED_FOR);
        assert_eq!(late.current(start + AVOIDED_FOR).into_iter().collect::<Vec<_>>(), vec![NodeId(4)]);
    }
}
