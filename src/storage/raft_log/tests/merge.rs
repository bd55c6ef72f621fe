//! Merging of damaged copies: those that contain the whole log together, and those that do not.

use super::{at, commands, scanned};
use crate::storage::raft_log::{
    Ballot, LogEntry, LogRecord, MergeError, Payload, RecoveredCopy, Recovery, Standing, StateChange, Tape, TapeReader,
    merge,
};
use crate::storage::wal::{LostRecord, ScannedRecord};
use bytes::Bytes;

fn entry(sequence: u64, term: u64, index: u64) -> LogRecord {
    LogRecord::Entry { sequence, committed: None, entry: commands(term, index) }
}

fn state(sequence: u64, change: StateChange) -> LogRecord {
    LogRecord::State { sequence, change }
}

fn standing(term: u64, purged: Option<u64>) -> Standing {
    let ballot = Some(Ballot { term, node: 7, committed: true });
    Standing { ballot, committed: None, purged: purged.map(|index| at(1, index)) }
}

fn resumed(sequence: u64, keep_through: Option<u64>, purged: Option<u64>) -> LogRecord {
    state(sequence, StateChange::Resumed { keep_through, standing: standing(1, purged) })
}

/// Returns a log with records of all kinds: votes, an operation of several entries, a truncation, a restart.
fn history() -> Vec<LogRecord> {
    vec![
        resumed(1, None, None),
        state(2, StateChange::Standing(standing(1, None))),
        entry(3, 1, 0),
        entry(4, 1, 1),
        entry(4, 1, 2),
        entry(4, 1, 3),
        entry(5, 1, 4),
        state(6, StateChange::Standing(standing(2, None))),
        state(7, StateChange::Truncated { after: Some(2) }),
        entry(8, 2, 3),
        entry(9, 2, 4),
        resumed(10, Some(4), None),
        state(11, StateChange::Standing(standing(3, None))),
        entry(12, 3, 5),
        entry(12, 3, 6),
        entry(13, 3, 7),
    ]
}

fn recovered(records: &[LogRecord]) -> RecoveredCopy {
    let mut recovery = Recovery::default();
    scanned(records).iter().for_each(|record| recovery.push(record));
    recovery.finish().expect("the copy is sound")
}

/// Returns a copy that lost these records. `named`: their headers are whole.
fn without(records: &[LogRecord], lost: &[usize], named: bool) -> Tape {
    let mut reader = TapeReader::default();
    let mut spots = Vec::new();
    for (number, ScannedRecord { kind, key, origin, at, .. }) in scanned(records).into_iter().enumerate() {
        if lost.contains(&number) {
            spots.push((at.lsn, named.then_some(LostRecord { kind, key, origin })));
        } else {
            reader.push(&scanned(records)[number]);
        }
    }
    reader.finish(spots)
}

fn same(merged: &RecoveredCopy, whole: &RecoveredCopy) -> bool {
    let positions = |copy: &RecoveredCopy| copy.entries.iter().map(|entry| entry.at).collect::<Vec<_>>();
    positions(merged) == positions(whole) && merged.standing == whole.standing && merged.sequence == whole.sequence
}

#[test]
fn copies_that_lack_different_records_merge_and_those_that_lack_the_same_do_not() {
    let records = history();
    let whole = recovered(&records);
    for first in 0..records.len() {
        for second in 0..records.len() {
            for (first_named, second_named) in [(true, true), (true, false), (false, true), (false, false)] {
                let tapes = [without(&records, &[first], first_named), without(&records, &[second], second_named)];
                let merged = merge(&tapes);
                let case = format!("{first} {first_named}, {second} {second_named}: {merged:?}");
                match &merged {
                    Ok(merged) => assert!(same(merged, &whole), "{case}"),
                    // Between two adjacent unknown gaps there may have been more records.
                    Err(_) => assert!(first == second || first.abs_diff(second) == 1, "{case}"),
                }
                let has_last = first.max(second) < records.len() - 1 || first != second;
                let named = first_named && second_named;
                assert!(merged.is_ok() || first == second || !named || !has_last, "{case}");
            }
        }
    }
}

#[test]
fn a_merge_switches_between_copies_with_several_gaps() {
    let records = history();
    let whole = recovered(&records);
    let merged = merge(&[without(&records, &[3, 9, 13], false), without(&records, &[1, 6, 11, 15], false)]);
    assert!(same(&merged.expect("they are whole together"), &whole));
    let refused = merge(&[without(&records, &[3, 9, 13], false), without(&records, &[1, 9, 11], false)]);
    assert_eq!(refused.expect_err("both lack one record"), MergeError::Gap { sequence: 7 });
}

#[test]
fn a_merge_never_skips_a_vote_truncation_or_end_that_every_copy_lost() {
    let records = history();
    for lost in [7, 8, records.len() - 1] {
        for named in [true, false] {
            let refused = merge(&[without(&records, &[lost], named), without(&records, &[lost], named)]);
            assert!(refused.is_err(), "{lost}: {refused:?}");
        }
    }
}

#[test]
fn a_refilled_copy_supplies_what_an_older_copy_lost() {
    let records = history();
    let whole = recovered(&records);
    // This copy was refilled when operation 12 was the last.
    let filled = vec![
        resumed(12, None, None),
        entry(12, 1, 0),
        entry(12, 1, 1),
        entry(12, 1, 2),
        entry(12, 2, 3),
        entry(12, 2, 4),
        entry(12, 3, 5),
        entry(12, 3, 6),
        entry(13, 3, 7),
    ];
    let standing_of = |tape| merge(&[without(&records, &[15], false), tape]);
    for lost in 0..filled.len() - 1 {
        let merged = standing_of(without(&filled, &[lost], lost % 2 == 0)).expect("they are whole together");
        assert!(same(&merged, &whole), "{lost}: {merged:?}");
    }
    assert!(standing_of(without(&filled, &[filled.len() - 1], true)).is_err());
}

#[test]
fn purged_entries_may_be_damaged_on_every_copy() {
    let mut records = history();
    records.push(state(14, StateChange::Standing(standing(3, Some(4)))));
    let needed = records.len();
    records.extend([entry(15, 3, 8), entry(16, 3, 9)]);
    for lost in 0..records.len() {
        let merged = merge(&[without(&records, &[lost], false)]);
        // Entries 5 to 7 come before the purge.
        let matters = lost >= 13;
        assert_eq!(merged.is_ok(), !matters, "{lost}: {merged:?}");
        assert!(merged.is_err() || same(&merged.expect("merged"), &recovered(&records)));
    }
    records.truncate(needed - 1);
    records.push(state(14, StateChange::Standing(standing(3, Some(7)))));
    records.push(entry(15, 3, 8));
    for lost in 0..records.len() - 2 {
        let merged = merge(&[without(&records, &[lost], false), without(&records, &[lost], true)]);
        assert!(same(&merged.expect("all was purged"), &recovered(&records)), "{lost}");
    }
}

#[test]
fn a_restatement_replaces_the_records_before_it_only_if_it_is_complete() {
    let whole = recovered(&history());
    let mut records = history();
    records.push(state(14, StateChange::Restating(whole.standing)));
    records.extend(whole.entries.iter().map(|entry| {
        let (term, index) = (entry.at.term, entry.at.index);
        LogRecord::Entry { sequence: 14, committed: None, entry: commands(term, index) }
    }));
    let lost = 4;
    for end in history().len()..=records.len() {
        let begun = without(&records[..end], &[lost], false);
        assert!(merge(&[begun]).is_err(), "it was not restated to the end");
        let other = without(&history(), &[9], false);
        let merged = merge(&[without(&records[..end], &[lost], false), other]).expect("they are whole together");
        assert!(same(&merged, &whole), "{end}: {merged:?}");
        let sound = recovered(&records[..end]);
        assert!(same(&sound, &whole), "{end}");
    }
    records.push(state(14, StateChange::Restated));
    records.push(entry(15, 4, 8));
    let sound = recovered(&records);
    assert_eq!((sound.sequence, sound.entries.len()), (Some(15), 9));
    let merged = merge(&[without(&records, &[lost, 9], false), without(&history(), &[lost], false)]);
    assert!(same(&merged.expect("it was restated"), &sound));
}

#[test]
fn copies_that_have_different_entries_for_one_operation_are_refused() {
    let records = history();
    let other_leader = |record: &LogRecord| match record {
        LogRecord::Entry { sequence: 9, .. } => entry(9, 1, 4),
        other => other.clone(),
    };
    let other_payload = |record: &LogRecord| match record {
        LogRecord::Entry { sequence: 9, .. } => {
            let entry = LogEntry { at: at(2, 4), payload: Payload::Commands(Bytes::from_static(b"other")) };
            LogRecord::Entry { sequence: 9, committed: None, entry }
        }
        other => other.clone(),
    };
    for other in [records.iter().map(other_leader).collect::<Vec<_>>(), records.iter().map(other_payload).collect()] {
        let refused = merge(&[without(&records, &[3], false), without(&other, &[14], false)]);
        assert_eq!(refused.expect_err("they differ"), MergeError::Different { sequence: 9, index: 4 });
    }
}
