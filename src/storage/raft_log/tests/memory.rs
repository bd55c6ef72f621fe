//! Tests of the log's index in memory: the bound of its cache, the release of segments, the sequence numbers.

use super::{at, commands, location};
use crate::storage::raft_log::{EntryPlace, LogEntry, LogIndex, LogRecord, Payload, RecoveredCopy};
use crate::types::{NodeId, SegmentId};
use bytes::Bytes;

const NODE: NodeId = NodeId(1);

fn empty(cached_bytes_max: u64) -> LogIndex {
    LogIndex::new(NODE, &RecoveredCopy::default(), cached_bytes_max)
}

/// Appends entries one by one, each placed and durable on one copy.
fn fill(index: &mut LogIndex, term: u64, count: u64) {
    for _ in 0..count {
        let next = index.next_index();
        let records = index.append(vec![commands(term, next)]);
        for record in &records {
            index.place(NODE, record.sequence(), record.index(), location(next));
        }
        index.note_durable(index.sequence());
    }
}

fn held(index: &LogIndex, from: u64, to: u64) -> Vec<(u64, bool)> {
    let place_of = |place| match place {
        EntryPlace::Here(entry) => (LogEntry::clone(&entry).at.index, true),
        EntryPlace::Stored { at, copies } => {
            assert_eq!(copies, [(NODE, location(at.index))]);
            (at.index, false)
        }
    };
    index.entries(from, to).into_iter().map(place_of).collect()
}

#[test]
fn the_durable_position_is_the_last_entry_that_every_copy_holds() {
    let mut index = empty(1000);
    assert_eq!(index.durable_up_to(5), None);
    fill(&mut index, 1, 3);
    index.append(vec![commands(1, 3), commands(1, 4)]);
    let through = index.sequence();
    index.append(vec![commands(1, 5)]);
    assert_eq!(index.durable_up_to(5), Some(at(1, 2)));
    assert_eq!(index.durable_up_to(1), Some(at(1, 1)));
    index.note_durable(through);
    assert_eq!(index.durable_up_to(5), Some(at(1, 4)));
    index.purge(at(1, 4));
    assert_eq!(index.durable_up_to(5), None, "the purge is not known to be durable either");
}

#[test]
fn entries_leave_the_full_cache_only_once_they_are_durable() {
    let mut index = empty(1000);
    let big = LogEntry { at: at(1, 0), payload: Payload::Commands(Bytes::from(vec![0; 2000])) };
    let records = index.append(vec![big]);
    assert!(
        matches!(index.entries(0, 9).as_slice(), [EntryPlace::Here(_)]),
        "an entry that is not durable stays in memory"
    );
    index.place(NODE, records[0].sequence(), Some(0), location(0));
    index.note_durable(records[0].sequence());
    assert_eq!(held(&index, 0, 9), [(0, false)]);
    fill(&mut index, 1, 2);
    assert_eq!(held(&index, 0, 9), [(0, false), (1, true), (2, true)]);
}

#[test]
fn purging_releases_the_oldest_whole_segments_but_never_the_one_that_says_what_is_purged() {
    let mut index = empty(u64::MAX);
    fill(&mut index, 1, 12);
    let purge = |index: &mut LogIndex, upto, number| {
        let record = index.purge(at(1, upto));
        index.place(NODE, record.sequence(), None, location(number));
    };
    purge(&mut index, 3, 3);
    assert_eq!(index.take_releasable(NODE), []);
    purge(&mut index, 6, 7);
    assert_eq!(index.take_releasable(NODE), [SegmentId(1)]);
    assert_eq!(index.take_releasable(NODE), []);
    purge(&mut index, 11, 11);
    assert_eq!(index.take_releasable(NODE), [SegmentId(2)]);
    assert_eq!((index.first_index(), index.next_index(), index.retained_bytes()), (12, 12, 0));
    assert_eq!(index.last(), Some(at(1, 11)));
}

#[test]
fn the_record_of_a_truncation_or_of_the_end_of_a_restatement_does_not_say_what_is_purged() {
    let mut index = empty(u64::MAX);
    fill(&mut index, 1, 12);
    let purge = index.purge(at(1, 7));
    index.place(NODE, purge.sequence(), None, location(7));
    let truncation = index.truncate(Some(11));
    index.place(NODE, truncation.sequence(), None, location(12));
    assert_eq!(index.take_releasable(NODE), [SegmentId(1)], "the second segment says what is purged");
    index.note_durable(index.sequence());
    index.begin();
    for (record, number) in [(index.restating(), 13), (index.restated(), 17)] {
        index.place(NODE, record.sequence(), None, location(number));
    }
    // The record of this purge is not written yet.
    index.purge(at(1, 11));
    assert_eq!(index.take_releasable(NODE), [SegmentId(2), SegmentId(3)], "the fourth segment says what is purged");
}

#[test]
fn a_late_write_of_a_truncated_entry_does_not_replace_its_successor() {
    let mut index = empty(u64::MAX);
    fill(&mut index, 1, 1);
    let late = index.append(vec![commands(1, 1)]);
    index.truncate(Some(0));
    let records = index.append(vec![commands(2, 1)]);
    index.place(NODE, late[0].sequence(), Some(1), location(50));
    index.place(NODE, records[0].sequence(), Some(1), location(51));
    index.place(NODE, late[0].sequence(), Some(1), location(50));
    index.note_durable(index.sequence());
    let mut small = index;
    small.truncate(Some(1));
    assert_eq!(small.position_of(1), Some(at(2, 1)));
}

#[test]
fn each_operation_takes_the_next_sequence_number() {
    let mut index = empty(u64::MAX);
    let first = index.append(vec![commands(1, 0), commands(1, 1)]);
    assert_eq!(first.iter().map(LogRecord::sequence).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(index.stand().sequence(), 2);
    assert_eq!(index.truncate(Some(0)).sequence(), 3);
    assert_eq!(index.purge(at(1, 0)).sequence(), 4);
    assert_eq!(index.resume(None).sequence(), 4);
}

#[test]
fn a_run_of_entries_is_bounded_in_bytes_and_has_at_least_one_entry() {
    let mut index = empty(u64::MAX);
    fill(&mut index, 1, 10);
    assert_eq!(index.run_end(2, 10, 1), 3);
    assert_eq!(index.run_end(2, 10, u64::MAX), 10);
    assert_eq!(index.run_end(2, 5, u64::MAX), 5);
    assert_eq!(index.run_end(10, 20, u64::MAX), 10);
}
