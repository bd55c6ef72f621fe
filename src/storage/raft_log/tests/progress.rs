//! The acknowledgement of operations, by example and in random histories.

use crate::storage::raft_log::{Effect, Event, MirrorProgress, MirrorSet};
use crate::types::{HostId, NodeId};
use proptest::prelude::{any, prop_assert, proptest};
use std::collections::{BTreeMap, BTreeSet};

fn set(generation: u64, members: &[u32]) -> MirrorSet {
    MirrorSet {
        host: HostId(1),
        generation,
        members: members.iter().copied().map(NodeId).collect(),
        formed: true,
        start: 0,
        history: Vec::new(),
        in_force: generation,
    }
}

fn held(node: u32, sequence: u64) -> Event {
    Event::Held { node: NodeId(node), sequence }
}

#[test]
fn an_operation_is_answered_when_every_member_holds_it() {
    let mut progress = MirrorProgress::new(set(1, &[1, 2]), 0);
    assert_eq!(progress.on(Event::Asked { sequence: 1 }), []);
    assert_eq!(progress.on(held(2, 1)), []);
    assert_eq!(progress.on(held(1, 1)), [Effect::Answer { through: 1 }]);
}

#[test]
fn answers_come_in_order_though_a_copy_answers_out_of_order() {
    let mut progress = MirrorProgress::new(set(1, &[1]), 0);
    progress.on(Event::Asked { sequence: 1 });
    progress.on(Event::Asked { sequence: 2 });
    assert_eq!(progress.on(held(1, 2)), []);
    assert_eq!(progress.on(held(1, 1)), [Effect::Answer { through: 2 }]);
}

#[test]
fn a_failed_copy_blocks_answers_until_a_set_without_it_is_durable() {
    let mut progress = MirrorProgress::new(set(1, &[1, 2]), 0);
    progress.on(Event::Asked { sequence: 1 });
    progress.on(held(1, 1));
    assert_eq!(
        progress.on(Event::Failed { node: NodeId(2) }),
        [Effect::WriteSet(set(1, &[1, 2]).next([NodeId(1)].into(), true))]
    );
    progress.on(Event::Asked { sequence: 2 });
    assert_eq!(progress.on(held(1, 2)), []);
    assert_eq!(progress.on(Event::SetDurable { generation: 2, is_in_force: true }), [Effect::Answer { through: 2 }]);
}

#[test]
fn the_last_copy_never_leaves_the_set() {
    let mut progress = MirrorProgress::new(set(1, &[1]), 0);
    progress.on(Event::Asked { sequence: 1 });
    assert_eq!(progress.on(Event::Failed { node: NodeId(1) }), [Effect::AllLost]);
    assert_eq!(progress.set(), &set(1, &[1]));
    assert_eq!(progress.on(Event::Failed { node: NodeId(1) }), []);
}

#[test]
fn a_copy_can_be_spared_once_another_holds_all_that_was_answered() {
    let mut progress = MirrorProgress::new(set(1, &[1]), 5);
    assert!(!progress.can_spare(NodeId(1)), "it is the last");
    progress.on(Event::Joined { node: NodeId(3), through: 5 });
    assert!(!progress.can_spare(NodeId(1)), "the other is not filled");
    progress.on(held(3, 5));
    assert!(progress.can_spare(NodeId(1)));
}

#[test]
fn a_refilled_copy_counts_once_it_holds_all_that_was_answered() {
    let mut progress = MirrorProgress::new(set(1, &[1]), 5);
    assert_eq!(progress.on(Event::Joined { node: NodeId(3), through: 5 }), []);
    progress.on(Event::Asked { sequence: 6 });
    assert_eq!(progress.on(held(1, 6)), [Effect::Answer { through: 6 }]);
    assert_eq!(progress.on(held(3, 5)), []);
    assert_eq!(progress.on(held(3, 6)), [Effect::WriteSet(set(1, &[1]).next([NodeId(1), NodeId(3)].into(), true))]);
    progress.on(Event::Asked { sequence: 7 });
    assert_eq!(progress.on(held(1, 7)), []);
    assert_eq!(progress.on(held(3, 7)), [Effect::Answer { through: 7 }]);
    assert_eq!(progress.on(Event::SetDurable { generation: 2, is_in_force: true }), []);
}

/// Chooses the next event of a random history by a number.
fn choose(progress: &MirrorProgress, world: &World, number: u32) -> Option<Event> {
    let pending: Vec<Event> = world
        .under_way
        .iter()
        .map(|(node, sequence)| Event::Held { node: *node, sequence: *sequence })
        .chain(world.writing.iter().map(|set| Event::SetDurable { generation: set.generation, is_in_force: true }))
        .chain([Event::Asked { sequence: world.asked + 1 }])
        .chain(progress.live().filter(|_| progress.live().count() > 1).map(|node| Event::Failed { node }))
        .chain(
            (1..=4)
                .map(NodeId)
                .filter(|node| !progress.is_live(*node))
                .map(|node| Event::Joined { node, through: world.asked }),
        )
        .collect();
    pending.get(number as usize % pending.len()).copied()
}

#[derive(Default)]
struct World {
    asked: u64,
    under_way: BTreeSet<(NodeId, u64)>,
    /// The operations that each copy holds.
    holds: BTreeMap<NodeId, BTreeSet<u64>>,
    writing: Option<MirrorSet>,
    /// For each drive that is refilled, the operation after which its copy is complete.
    joined_with: BTreeMap<NodeId, u64>,
    /// The set on the drives. While `writing` is being written, a start may find either.
    durable: Option<MirrorSet>,
}

impl World {
    fn apply(&mut self, event: Event, progress: &mut MirrorProgress) -> Vec<Effect> {
        match event {
            Event::Asked { sequence } => {
                self.asked = sequence;
                let effects = progress.on(event);
                self.under_way.extend(progress.live().map(|node| (node, sequence)));
                return effects;
            }
            Event::Held { node, sequence } => {
                self.under_way.remove(&(node, sequence));
                let first = if self.joined_with.get(&node) == Some(&sequence) { 1 } else { sequence };
                self.holds.entry(node).or_default().extend(first..=sequence);
            }
            Event::Failed { node } => {
                self.under_way.retain(|(held, _)| *held != node);
                self.holds.remove(&node);
                self.joined_with.remove(&node);
            }
            Event::Joined { node, through } => {
                self.under_way.insert((node, through));
                self.joined_with.insert(node, through);
            }
            Event::SetDurable { .. } => self.durable = self.writing.take(),
        }
        progress.on(event)
    }

    /// Returns whether every copy that a start could select holds everything up to `through`.
    fn is_safe(&self, through: u64) -> bool {
        let sets = self.durable.iter().chain(&self.writing);
        sets.flat_map(|set| &set.members)
            .all(|node| self.holds.get(node).is_some_and(|held| (1..=through).all(|sequence| held.contains(&sequence))))
    }
}

proptest! {
    /// Whatever fails and joins, and in whatever order copies answer: what was acknowledged is on every copy that a
    /// start may select.
    #[test]
    fn no_entry_is_acknowledged_that_a_selectable_copy_lacks(numbers in proptest::collection::vec(any::<u32>(), 1..120)) {
        let start = set(1, &[1, 2]);
        let mut progress = MirrorProgress::new(start.clone(), 1);
        let holds = [1, 2].map(|node| (NodeId(node), BTreeSet::from([1]))).into();
        let mut world = World { asked: 1, holds, durable: Some(start), ..World::default() };
        for number in numbers {
            let Some(event) = choose(&progress, &world, number) else { continue };
            for effect in world.apply(event, &mut progress) {
                match effect {
                    Effect::WriteSet(set) => world.writing = Some(set),
                    Effect::Answer { through } => prop_assert!(world.is_safe(through), "{event:?} answers {through}"),
                    Effect::AllLost => prop_assert!(false, "the last copy does not fail here"),
                }
            }
        }
    }
}
