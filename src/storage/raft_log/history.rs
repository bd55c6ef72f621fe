//! The last applied entries of a replica, each with its chain, which replicas compare with each other. A chain covers
//! all entries before it, so that one index that both replicas remember is enough.

use super::applied::{AppliedAt, Point};
use std::collections::VecDeque;

/// The number of points that a history keeps.
const POINTS_MAX: usize = 4096;

/// The last points of one replica, with consecutive indexes.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<Point>);

impl History {
    /// Creates a history that begins at the replica's present position.
    pub fn new(applied: &AppliedAt) -> Self {
        Self(applied.point().into_iter().collect())
    }

    pub fn push(&mut self, point: Point) {
        assert!(self.0.back().is_none_or(|last| last.at.index + 1 == point.at.index), "points are consecutive");
        if self.0.len() == POINTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    /// Returns the point of the last entry applied.
    pub fn last(&self) -> Option<Point> {
        self.0.back().copied()
    }

    pub fn point(&self, index: u64) -> Option<Point> {
        let first = self.0.front()?.at.index;
        self.0.get(usize::try_from(index.checked_sub(first)?).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{History, POINTS_MAX};
    use crate::storage::raft_log::{AppliedAt, LogEntry, Payload, Position};

    fn entry(term: u64, index: u64, payload: &'static [u8]) -> LogEntry {
        LogEntry { at: Position { term, node: 1, index }, payload: Payload::Commands(payload.into()) }
    }

    #[test]
    fn a_history_finds_only_its_last_points_by_index() {
        let mut applied = AppliedAt::default();
        let mut history = History::new(&applied);
        assert_eq!((history.last(), history.point(0)), (None, None));
        let end = POINTS_MAX as u64 + 10;
        for index in 0..end {
            applied.follow(&entry(1, index, b"x")).expect("in order");
            history.push(applied.point().expect("an entry was applied"));
        }
        assert_eq!(history.last(), applied.point());
        for index in [0, 9, 10, 11, end - 1, end, u64::MAX] {
            let expected = (10..end).contains(&index).then_some(index);
            assert_eq!(history.point(index).map(|point| point.at.index), expected, "{index}");
        }
    }

    #[test]
    fn different_histories_have_different_chains_from_then_on() {
        let chain_of = |entries: &[LogEntry]| {
            let mut applied = AppliedAt::default();
            entries.iter().for_each(|entry| applied.follow(entry).expect("in order"));
            applied.chain
        };
        let same = [entry(1, 0, b"a"), entry(1, 1, b"b"), entry(1, 2, b"c")];
        let other_payload = [entry(1, 0, b"z"), entry(1, 1, b"b"), entry(1, 2, b"c")];
        let other_term = [entry(1, 0, b"a"), entry(2, 1, b"b"), entry(2, 2, b"c")];
        let shifted = [entry(1, 0, b"ab"), entry(1, 1, b""), entry(1, 2, b"c")];
        assert_eq!(chain_of(&same), chain_of(&same));
        assert_ne!(chain_of(&same), chain_of(&[]));
        for other in [&other_payload, &other_term, &shifted] {
            assert_ne!(chain_of(&same), chain_of(other));
        }
    }

    #[test]
    fn only_the_next_entry_of_the_same_leader_or_a_later_one_follows() {
        let mut applied = AppliedAt::default();
        applied.follow(&entry(2, 0, b"a")).expect("the first");
        applied.follow(&entry(2, 1, b"b")).expect("the next");
        let before = applied.clone();
        for wrong in [entry(2, 1, b"b"), entry(2, 0, b"a"), entry(2, 3, b"d"), entry(1, 2, b"c"), entry(3, 1, b"b")] {
            assert!(applied.follow(&wrong).is_err(), "{:?}", wrong.at);
            assert_eq!(applied, before);
        }
        applied.follow(&entry(3, 2, b"c")).expect("the next, of a later leader");
    }
}
