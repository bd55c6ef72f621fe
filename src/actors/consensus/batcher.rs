//! Groups proposed commands into batches, one for each log entry, and keeps who waits for each command. Pure: commands
//! and waiters in, batches and finished or expired waiters out.
//!
//! A batch is formed whenever a proposal waits and fewer than `BATCHES_IN_FLIGHT_MAX` batches are in flight. So a lone
//! proposal leaves at once, and under load the next batch gathers while others are being decided.

use crate::limits::{RAFT_BATCH_BYTES_MAX, RAFT_BATCH_COMMANDS_MAX};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The maximum number of batches that are proposed and not yet decided.
pub const BATCHES_IN_FLIGHT_MAX: usize = 3;

#[derive(Debug)]
struct Proposal<W> {
    command: Bytes,
    deadline: Duration,
    waiter: W,
}

/// A batch of commands for one entry, in order.
#[derive(Debug)]
pub struct Batch {
    pub id: u64,
    pub commands: Vec<Bytes>,
}

/// Waiters whose time is over.
#[derive(Debug)]
pub struct Expired<W> {
    /// Their commands will never be proposed.
    pub unproposed: Vec<W>,
    /// Their commands were proposed; whether they take effect is not known.
    pub undecided: Vec<W>,
}

#[derive(Debug)]
pub struct Batcher<W> {
    waiting: VecDeque<Proposal<W>>,
    /// The proposals of each batch in flight, by the batch's id. `None` stands for a proposal whose waiter has expired.
    in_flight: BTreeMap<u64, Vec<Option<Proposal<W>>>>,
    next_id: u64,
}

impl<W> Default for Batcher<W> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), in_flight: BTreeMap::new(), next_id: 0 }
    }
}

impl<W> Batcher<W> {
    pub fn propose(&mut self, command: Bytes, deadline: Duration, waiter: W) {
        self.waiting.push_back(Proposal { command, deadline, waiter });
    }

    /// Returns the next batch to propose; `None` if no proposal waits or the maximum number of batches is in flight.
    pub fn next_batch(&mut self) -> Option<Batch> {
        if self.waiting.is_empty() || self.in_flight.len() >= BATCHES_IN_FLIGHT_MAX {
            return None;
        }
        let mut bytes = 0;
        let mut taken = Vec::new();
        while let Some(next) = self.waiting.front()
            && (taken.is_empty()
                || (taken.len() < RAFT_BATCH_COMMANDS_MAX && bytes + next.command.len() <= RAFT_BATCH_BYTES_MAX))
        {
            bytes += next.command.len();
            taken.extend(self.waiting.pop_front().map(Some));
        }
        let id = self.next_id;
        self.next_id += 1;
        let commands = taken.iter().flatten().map(|proposal| proposal.command.clone()).collect();
        self.in_flight.insert(id, taken);
        self.check_invariants();
        Some(Batch { id, commands })
    }

    /// Removes a batch that is decided. Returns its waiters in the order of its commands; `None` stands for an expired
    /// one.
    pub fn finish(&mut self, id: u64) -> Vec<Option<W>> {
        let batch = self.in_flight.remove(&id).unwrap_or_default();
        batch.into_iter().map(|proposal| proposal.map(|proposal| proposal.waiter)).collect()
    }

    /// Queues a batch again that was refused before it was proposed: its proposals wait again, first in line. A proposal
    /// whose waiter has expired is dropped.
    pub fn requeue(&mut self, id: u64) {
        for proposal in self.in_flight.remove(&id).unwrap_or_default().into_iter().flatten().rev() {
            self.waiting.push_front(proposal);
        }
    }

    /// Removes a batch that was refused before it was proposed and is to be proposed on another host. Returns its
    /// commands, each with its waiter; expired ones are left out.
    pub fn take_back(&mut self, id: u64) -> Vec<(Bytes, W)> {
        let batch = self.in_flight.remove(&id).unwrap_or_default();
        batch.into_iter().flatten().map(|proposal| (proposal.command, proposal.waiter)).collect()
    }

    /// Removes and returns the waiters whose deadline has come.
    pub fn expire(&mut self, now: Duration) -> Expired<W> {
        let mut expired = Expired { unproposed: Vec::new(), undecided: Vec::new() };
        for proposal in std::mem::take(&mut self.waiting) {
            if proposal.deadline <= now {
                expired.unproposed.push(proposal.waiter);
            } else {
                self.waiting.push_back(proposal);
            }
        }
        for slot in self.in_flight.values_mut().flatten() {
            let late = slot.take_if(|proposal| proposal.deadline <= now);
            expired.undecided.extend(late.map(|proposal| proposal.waiter));
        }
        expired
    }

    /// Removes and returns all waiters, when the actor stops.
    pub fn drain(&mut self) -> Expired<W> {
        self.expire(Duration::MAX)
    }

    fn check_invariants(&self) {
        assert!(self.in_flight.len() <= BATCHES_IN_FLIGHT_MAX, "batches under way are bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCHES_IN_FLIGHT_MAX, Batcher};
    use crate::limits::{RAFT_BATCH_BYTES_MAX, RAFT_BATCH_COMMANDS_MAX};
    use bytes::Bytes;
    use std::time::Duration;

    const LATER: Duration = Duration::from_secs(10);

    fn batcher_with(count: usize) -> Batcher<usize> {
        let mut batcher = Batcher::default();
        for waiter in 0..count {
            batcher.propose(Bytes::from(vec![0; 8]), LATER, waiter);
        }
        batcher
    }

    #[test]
    fn a_lone_proposal_leaves_at_once_c2() {
        let mut batcher = batcher_with(1);
        assert_eq!(batcher.next_batch().map(|batch| batch.commands.len()), Some(1));
        assert!(batcher.next_batch().is_none());
    }

    #[test]
    fn proposals_that_come_while_all_slots_are_taken_gather_into_one_batch_c2() {
        let mut batcher = Batcher::default();
        let mut ids = Vec::new();
        for waiter in 0..BATCHES_IN_FLIGHT_MAX {
            batcher.propose(Bytes::new(), LATER, waiter);
            ids.extend(batcher.next_batch().map(|batch| batch.id));
        }
        for waiter in 100..150 {
            batcher.propose(Bytes::new(), LATER, waiter);
            assert!(batcher.next_batch().is_none());
        }
        assert_eq!(batcher.finish(ids[0]), [Some(0)]);
        assert_eq!(batcher.next_batch().map(|batch| batch.commands.len()), Some(50));
    }

    #[test]
    fn a_batch_is_bounded_by_count_and_by_bytes_c2() {
        let mut batcher = batcher_with(RAFT_BATCH_COMMANDS_MAX + 1);
        assert_eq!(batcher.next_batch().map(|batch| batch.commands.len()), Some(RAFT_BATCH_COMMANDS_MAX));
        let mut batcher = Batcher::default();
        for waiter in 0..4 {
            batcher.propose(Bytes::from(vec![0; RAFT_BATCH_BYTES_MAX / 2]), LATER, waiter);
        }
        assert_eq!(batcher.next_batch().map(|batch| batch.commands.len()), Some(2));
    }

    #[test]
    fn an_expired_waiter_is_removed_from_a_batch_in_flight_c7() {
        let mut batcher = Batcher::default();
        batcher.propose(Bytes::new(), Duration::from_secs(1), 'a');
        batcher.propose(Bytes::new(), Duration::from_secs(3), 'b');
        let batch = batcher.next_batch().expect("two proposals wait");
        batcher.propose(Bytes::new(), Duration::from_secs(1), 'c');
        let expired = batcher.expire(Duration::from_secs(2));
        assert_eq!((expired.unproposed, expired.undecided), (vec!['c'], vec!['a']));
        assert_eq!(batcher.finish(batch.id), [None, Some('b')]);
        assert!(batcher.next_batch().is_none());
    }

    #[test]
    fn a_refused_batch_is_proposed_next_without_its_expired_proposals() {
        let mut batcher = Batcher::default();
        batcher.propose(Bytes::from_static(b"a"), Duration::from_secs(1), 'a');
        batcher.propose(Bytes::from_static(b"b"), LATER, 'b');
        let batch = batcher.next_batch().expect("two proposals wait");
        batcher.propose(Bytes::from_static(b"c"), LATER, 'c');
        batcher.expire(Duration::from_secs(2));
        batcher.requeue(batch.id);
        let again = batcher.next_batch().expect("they wait again");
        assert_eq!(again.commands, [Bytes::from_static(b"b"), Bytes::from_static(b"c")]);
    }

    #[test]
    fn a_batch_for_another_host_is_taken_back_with_all_its_waiters() {
        let mut batcher = Batcher::default();
        batcher.propose(Bytes::from_static(b"a"), LATER, 'a');
        batcher.propose(Bytes::from_static(b"b"), LATER, 'b');
        let batch = batcher.next_batch().expect("two proposals wait");
        assert_eq!(batcher.take_back(batch.id), [(Bytes::from_static(b"a"), 'a'), (Bytes::from_static(b"b"), 'b')]);
        assert!(batcher.finish(batch.id).is_empty());
    }
}
