//! Tests of the recovery of a copy from its records.

use super::{at, commands, scanned};
use crate::storage::raft_log::{
    Ballot, DurableAt, LogEntry, LogRecord, Payload, RecoveredCopy, Recovery, Standing, StateChange,
};

fn recover(records: &[LogRecord]) -> Result<RecoveredCopy, String> {
    let mut recovery = Recovery::default();
    scanned(records).iter().for_each(|record| recovery.push(record));
    recovery.finish()
}

fn entry(sequence: u64, term: u64, index: u64) -> LogRecord {
    LogRecord::Entry {
        sequence,
        committed: index.checked_sub(1).map(|index| at(term, index)),
        entry: commands(term, index),
    }
}

fn state(sequence: u64, change: StateChange) -> LogRecord {
    LogRecord::State { sequence, change }
}

fn indexes(copy: &RecoveredCopy) -> Vec<u64> {
    copy.entries.iter().map(|entry| entry.at.index).collect()
}

#[test]
fn an_empty_copy_is_recovered_as_an_empty_log() {
    let copy = recover(&[]).expect("an empty copy is sound");
    assert_eq!((copy.sequence, copy.last()), (None, None));
}

#[test]
fn a_log_that_lacks_its_durable_entry_has_lost_it_unless_it_was_purged() {
    let is_lost = |copy: &RecoveredCopy, term, index| DurableAt { host: 7, at: at(term, index) }.is_lost(7, copy);
    let copy = recover(&[entry(1, 1, 0), entry(2, 1, 1), entry(3, 2, 2)]).expect("the copy is sound");
    assert!(!is_lost(&copy, 2, 2) && !is_lost(&copy, 1, 0));
    assert!(is_lost(&copy, 2, 3), "it ends before");
    assert!(is_lost(&copy, 1, 2), "it has another entry there");
    assert!(is_lost(&RecoveredCopy::default(), 1, 0));
    assert!(!DurableAt { host: 8, at: at(2, 3) }.is_lost(7, &copy), "another host's log held it");
    let purged = Standing { purged: Some(at(1, 1)), ..Standing::default() };
    let copy = recover(&[entry(1, 1, 0), entry(2, 1, 1), state(3, StateChange::Standing(purged))]);
    let copy = copy.expect("the copy is sound");
    assert!(!is_lost(&copy, 1, 0) && !is_lost(&copy, 1, 1) && is_lost(&copy, 1, 2));
}

#[test]
fn recovery_takes_the_last_vote_and_the_committed_position_of_entries() {
    let vote = |term| Standing { ballot: Some(Ballot { term, node: 7, committed: false }), ..Standing::default() };
    let copy = recover(&[
        state(1, StateChange::Standing(vote(1))),
        entry(2, 1, 0),
        state(3, StateChange::Standing(vote(2))),
        entry(4, 2, 1),
    ])
    .expect("the copy is sound");
    assert_eq!(copy.standing.ballot.map(|ballot| ballot.term), Some(2));
    assert_eq!(copy.standing.committed, Some(at(2, 0)));
    assert_eq!((copy.sequence, indexes(&copy)), (Some(4), vec![0, 1]));
}

#[test]
fn a_copy_continues_another_one_if_it_has_its_end_its_operations_and_its_vote() {
    let vote = |term| Standing { ballot: Some(Ballot { term, node: 7, committed: false }), ..Standing::default() };
    let copy = |records: &[LogRecord]| recover(records).expect("the copy is sound");
    let short = copy(&[entry(1, 1, 0), entry(2, 1, 1)]);
    let long = copy(&[entry(1, 1, 0), entry(2, 1, 1), entry(3, 1, 2)]);
    assert!(long.continues(&short) && short.continues(&short) && !short.continues(&long));
    let voted = copy(&[entry(1, 1, 0), entry(2, 1, 1), state(3, StateChange::Standing(vote(2)))]);
    assert!(voted.continues(&short) && !long.continues(&voted), "a later vote is not given up");
    let other = copy(&[entry(1, 1, 0), entry(2, 2, 1), entry(3, 2, 2)]);
    assert!(!other.continues(&short), "it has another entry there");
    let truncated = StateChange::Truncated { after: Some(1) };
    let cut = copy(&[entry(1, 1, 0), entry(2, 1, 1), entry(3, 1, 2), state(4, truncated)]);
    assert!(!long.continues(&cut) && !cut.continues(&long), "a truncated entry does not come back");
}

#[test]
fn truncated_entries_are_void_and_their_indexes_are_reused() {
    let truncated = StateChange::Truncated { after: Some(0) };
    let copy = recover(&[entry(1, 1, 0), entry(2, 1, 1), entry(2, 1, 2), state(3, truncated), entry(4, 2, 1)]);
    let copy = copy.expect("the copy is sound");
    assert_eq!((indexes(&copy), copy.last()), (vec![0, 1], Some(at(2, 1))));
}

#[test]
fn purged_entries_are_dropped_even_if_their_segments_remain() {
    let purged = Standing { purged: Some(at(1, 1)), ..Standing::default() };
    let copy = recover(&[entry(1, 1, 0), entry(2, 1, 1), entry(3, 1, 2), state(4, StateChange::Standing(purged))]);
    let copy = copy.expect("the copy is sound");
    assert_eq!(indexes(&copy), [2]);
    assert_eq!(copy.position_of(1), Some(at(1, 1)));
    assert_eq!(copy.position_of(0), None);
}

#[test]
fn a_copy_is_recovered_without_its_released_first_segments() {
    let purged = Standing { purged: Some(at(1, 6)), ..Standing::default() };
    let copy = recover(&[entry(50, 1, 5), entry(51, 1, 6), state(52, StateChange::Standing(purged)), entry(53, 1, 7)]);
    assert_eq!(indexes(&copy.expect("the copy is sound")), [7]);
}

#[test]
fn a_lost_operation_makes_a_copy_damaged() {
    assert!(recover(&[entry(1, 1, 0), entry(3, 1, 1)]).is_err());
    assert!(recover(&[entry(1, 1, 0), entry(2, 1, 2)]).is_err());
    assert!(recover(&[entry(2, 1, 0), entry(1, 1, 1)]).is_err());
    assert!(recover(&[entry(1, 1, 1)]).is_err(), "the first entry of a log that was never purged is missing");
}

#[test]
fn a_resumed_copy_may_skip_sequence_numbers() {
    let standing = Standing::default();
    let resumed = StateChange::Resumed { keep_through: Some(0), standing };
    let copy = recover(&[entry(1, 1, 0), entry(2, 1, 1), state(9, resumed), entry(9, 2, 1), entry(10, 2, 2)]);
    let copy = copy.expect("the copy is sound");
    assert_eq!((indexes(&copy), copy.sequence), (vec![0, 1, 2], Some(10)));
    assert_eq!(copy.position_of(1), Some(at(2, 1)));
}

#[test]
fn a_refilled_copy_begins_after_the_last_purged_entry() {
    let standing = Standing { purged: Some(at(3, 99)), ..Standing::default() };
    let resumed = StateChange::Resumed { keep_through: None, standing };
    let copy = recover(&[state(70, resumed), entry(70, 3, 100)]).expect("the copy is sound");
    assert_eq!(indexes(&copy), [100]);
}

#[test]
fn recovery_finds_the_greatest_index_that_each_segment_held() {
    let records: Vec<LogRecord> = (0..9).map(|index| entry(index + 1, 1, index)).collect();
    let copy = recover(&records).expect("the copy is sound");
    assert_eq!(copy.segments.values().copied().collect::<Vec<_>>(), [Some(3), Some(7), Some(8)]);
}

#[test]
fn a_record_under_a_wrong_key_makes_a_copy_damaged() {
    let mut met = scanned(&[LogRecord::Entry {
        sequence: 1,
        committed: None,
        entry: LogEntry { at: at(1, 0), payload: Payload::Blank },
    }]);
    met[0].key.id = 1;
    let mut recovery = Recovery::default();
    recovery.push(&met[0]);
    assert!(recovery.finish().is_err());
}
