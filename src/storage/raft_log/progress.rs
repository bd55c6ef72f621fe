//! The acknowledgement of operations on the mirrored log, and changes of the set of copies. Pure: events in, effects
//! out.
//!
//! The rule: an operation is acknowledged when it and every operation before it is held by every member of the durable
//! set, by every member of the set that is being written, and by every refilled copy. So a copy that fails blocks
//! acknowledgements until a set without it is durable.

use super::mirror_set::MirrorSet;
use crate::types::NodeId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operation was handed to every live copy.
    Asked { sequence: u64 },
    /// A copy has the operation on stable storage.
    Held { node: NodeId, sequence: u64 },
    /// A copy takes no more operations.
    Failed { node: NodeId },
    /// A copy is being refilled: operation `through`, which ends its refill, is under way, and later operations are
    /// handed to it.
    Joined { node: NodeId, through: u64 },
    /// The set of the last `WriteSet` is on every live drive. It is in force unless one of its members failed.
    SetDurable { generation: u64, is_in_force: bool },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Writes this set to every live drive; `SetDurable` follows.
    WriteSet(MirrorSet),
    /// Acknowledges every operation up to this one.
    Answer { through: u64 },
    /// No copy is left: nothing can be answered any more.
    AllLost,
}

#[derive(Debug)]
struct LiveCopy {
    /// Operations handed to the copy that it does not hold yet.
    missing: BTreeSet<u64>,
    /// The last operation handed to the copy.
    asked: u64,
    /// The operation that ends the copy's refill; 0 for a copy that needed none.
    joined_with: u64,
}

impl LiveCopy {
    fn is_filled(&self) -> bool {
        !self.missing.contains(&self.joined_with)
    }

    /// Returns the operation up to which the copy holds every one; 0 until it is refilled.
    fn holds_through(&self) -> u64 {
        match self.missing.first() {
            _ if !self.is_filled() => 0,
            Some(first) => first - 1,
            None => self.asked,
        }
    }
}

#[derive(Debug)]
pub struct MirrorProgress {
    durable: MirrorSet,
    writing: Option<MirrorSet>,
    /// Live copies: members, and copies that are about to become members.
    copies: BTreeMap<NodeId, LiveCopy>,
    asked: u64,
    answered: u64,
    lost: bool,
}

impl MirrorProgress {
    /// Creates the state in which all members hold every operation up to `through`.
    pub fn new(durable: MirrorSet, through: u64) -> Self {
        assert!(!durable.members.is_empty(), "a mirror set has a member");
        let copy = |&node| (node, LiveCopy { missing: BTreeSet::new(), asked: through, joined_with: 0 });
        let copies = durable.members.iter().map(copy).collect();
        Self { durable, writing: None, copies, asked: through, answered: through, lost: false }
    }

    pub fn set(&self) -> &MirrorSet {
        &self.durable
    }

    /// Returns the copies to which operations are handed.
    pub fn live(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.copies.keys().copied()
    }

    pub fn is_live(&self, node: NodeId) -> bool {
        self.copies.contains_key(&node)
    }

    /// Returns whether another copy holds every acknowledged operation. Only then may a copy be given up that is
    /// perhaps just slow.
    pub fn can_spare(&self, node: NodeId) -> bool {
        let others = self.copies.iter().filter(|(other, _)| **other != node);
        others.map(|(_, copy)| copy).any(|copy| copy.is_filled() && copy.holds_through() >= self.answered)
    }

    /// Returns whether this copy was handed this operation already, as part of its refill.
    pub fn was_handed(&self, node: NodeId, sequence: u64) -> bool {
        self.copies.get(&node).is_some_and(|copy| copy.asked >= sequence)
    }

    pub fn on(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Asked { sequence } => self.ask(sequence),
            Event::Held { node, sequence } => {
                if let Some(copy) = self.copies.get_mut(&node) {
                    copy.missing.remove(&sequence);
                }
            }
            Event::Failed { node } => {
                self.copies.remove(&node);
            }
            Event::Joined { node, through } => {
                assert!(through > 0, "operations are numbered from 1");
                let missing = BTreeSet::from([through]);
                self.copies.insert(node, LiveCopy { missing, asked: through, joined_with: through });
            }
            Event::SetDurable { generation, is_in_force } => {
                let written = self.writing.take_if(|set| set.generation == generation);
                assert!(written.is_some(), "a set becomes durable once, and one at a time");
                let durable = written.unwrap_or_else(|| self.durable.clone());
                self.durable = if is_in_force { durable.put_in_force() } else { durable };
            }
        }
        self.check_invariants();
        self.effects()
    }

    fn ask(&mut self, sequence: u64) {
        assert!(sequence > self.asked, "operations are handed out in order");
        self.asked = sequence;
        for copy in self.copies.values_mut().filter(|copy| copy.asked < sequence) {
            copy.asked = sequence;
            copy.missing.insert(sequence);
        }
    }

    fn effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.lost {
            return effects;
        }
        if self.copies.is_empty() {
            self.lost = true;
            effects.push(Effect::AllLost);
            return effects;
        }
        if self.writing.is_none()
            && let Some(next) = self.next_set()
        {
            self.writing = Some(next.clone());
            effects.push(Effect::WriteSet(next));
        }
        let through = self.answerable();
        if through > self.answered {
            self.answered = through;
            effects.push(Effect::Answer { through });
        }
        effects
    }

    /// Returns the set to write, if it differs from the durable one: the live members, and the refilled copies that
    /// hold everything acknowledged. It is never empty.
    fn next_set(&self) -> Option<MirrorSet> {
        let counts = |node: &NodeId, copy: &LiveCopy| {
            copy.is_filled() && (self.durable.members.contains(node) || copy.holds_through() >= self.answered)
        };
        let members: BTreeSet<NodeId> =
            self.copies.iter().filter(|(node, copy)| counts(node, copy)).map(|(node, _)| *node).collect();
        if members.is_empty() || members == self.durable.members {
            return None;
        }
        Some(self.durable.next(members, true))
    }

    /// Returns the last operation that may be acknowledged. Refilled copies are waited for before they are members, so
    /// that they catch up with what is acknowledged.
    fn answerable(&self) -> u64 {
        let filled = self.copies.iter().filter(|(_, copy)| copy.is_filled()).map(|(node, _)| node);
        let waited_for =
            self.durable.members.iter().chain(self.writing.iter().flat_map(|set| &set.members)).chain(filled);
        waited_for
            .map(|node| self.copies.get(node).map_or(self.answered, LiveCopy::holds_through))
            .min()
            .unwrap_or(self.answered)
    }

    fn check_invariants(&self) {
        assert!(self.answered <= self.asked, "only operations that were handed out are acknowledged");
        for copy in self.copies.values() {
            assert!(
                copy.missing.last().is_none_or(|last| *last <= copy.asked),
                "a copy misses only what it was handed"
            );
        }
    }
}
