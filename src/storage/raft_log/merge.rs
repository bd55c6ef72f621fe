//! The merge of damaged copies into one whole log. A copy consists of runs of records with gaps between them. Where a
//! run ends, the merge continues with a run of another copy that has the same operation and the next one. So every
//! operation of the result is whole on some copy, and none is left out. A gap that no run bridges does no harm if the
//! records after it contain all that still counts: the log's state (`Standing`), and every entry since the last purged
//! one.

use super::record::{Position, Standing, StateChange};
use super::recovery::RecoveredCopy;
use super::tape::{Gap, RecordContent, Run, Tape, TapeRecord};
use crate::storage::wal::RecordKind;
use std::collections::BTreeMap;

/// The greatest number of runs of all copies. More would take too long, since each may be the start.
const RUNS_MAX: usize = 256;

/// The reason why copies cannot be merged into one whole log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    #[error("every copy is damaged after operation {sequence} of the log")]
    Gap { sequence: u64 },
    #[error("every copy is damaged at its end")]
    NoEnd,
    #[error("two copies have different entries at index {index} (operation {sequence})")]
    Different { sequence: u64, index: u64 },
    #[error("the copies are damaged in more than {RUNS_MAX} places")]
    TooManyGaps,
}

/// Returns the whole log that the damaged copies contain together.
pub fn merge(tapes: &[Tape]) -> Result<RecoveredCopy, MergeError> {
    let runs: Vec<Place<'_>> = tapes.iter().flat_map(places).collect();
    if runs.len() > RUNS_MAX {
        return Err(MergeError::TooManyGaps);
    }
    if !tapes.iter().any(|tape| tape.is_end_whole) {
        return Err(MergeError::NoEnd);
    }
    let mut reached = 0;
    for start in &runs {
        let Some(mut reading) = read(Reading::default(), &start.run.records, start.is_end) else { continue };
        while let Some(further) = runs.iter().find_map(|place| carry_on(&reading, place)) {
            reading = further;
        }
        let has_all = tapes.iter().flat_map(Tape::records).all(|record| reading.has(record));
        if has_all && reading.is_whole() {
            tapes.iter().flat_map(Tape::records).try_for_each(|record| reading.compare(record))?;
            return Ok(reading.copy);
        }
        if reading.is_whole() {
            reached = reached.max(reading.sequence());
        }
    }
    Err(MergeError::Gap { sequence: reached })
}

/// A run, with its position in its copy.
struct Place<'a> {
    run: &'a Run,
    /// The run before the gap that precedes this run.
    previous: Option<&'a Run>,
    /// True if the run has the last operation in it to its end: the copy ends there, or the lost record after the run
    /// belongs to a later operation.
    is_end: bool,
}

fn places(tape: &Tape) -> impl Iterator<Item = Place<'_>> {
    tape.runs.iter().enumerate().map(move |(nth, run)| {
        let previous = nth.checked_sub(1).and_then(|nth| tape.runs.get(nth));
        let sequence = run.records.last().map(|record| u128::from(record.sequence));
        let is_end = match tape.runs.get(nth + 1).map(|next| next.before) {
            Some(Gap::Record { kind: RecordKind::RaftState, id }) => Some(id) > sequence,
            Some(_) => false,
            None => tape.is_end_whole,
        };
        Place { run, previous, is_end }
    })
}

/// Continues a reading with a run. Returns `None` if the run does not follow what was read, or has nothing further.
fn carry_on(from: &Reading, place: &Place<'_>) -> Option<Reading> {
    let records = &place.run.records;
    let behind = records.iter().take_while(|record| from.has(record)).count();
    let next = records.get(behind)?;
    if behind == 0 && !from.is_followed_by(next) && !from.has_gap(place) {
        return None;
    }
    read(from.clone(), &records[behind..], place.is_end)
}

/// Reads records as long as each follows the previous one, and returns the reading up to the last record after which
/// the log's entries are completely known. That is not so within the entries of a `Resumed`.
fn read(start: Reading, records: &[TapeRecord], is_end: bool) -> Option<Reading> {
    let mut reading = start.clone();
    let mut settled = 0;
    for (count, record) in (1..).zip(records) {
        if reading.take(record).is_err() {
            break;
        }
        let is_last = is_end && count == records.len();
        if reading.resuming.is_none() || is_last {
            settled = count;
        }
    }
    let mut reading = start;
    records[..settled].iter().try_for_each(|record| reading.take(record)).ok()?;
    reading.resuming = None;
    (settled > 0).then_some(reading)
}

/// The log as read so far: up to the end of an operation, or up to one of the entries that an operation appends.
#[derive(Clone, Debug, Default)]
struct Reading {
    copy: RecoveredCopy,
    /// Checksums of payloads, by index.
    checksums: BTreeMap<u64, u32>,
    /// All entries from this index on are known; `None` if no entry is.
    known_from: Option<u64>,
    knows_standing: bool,
    /// True if the last record read was a change of the log's state.
    after_state: bool,
    /// The sequence number of a `Resumed` whose entries may not all have been read.
    resuming: Option<u64>,
}

/// The error for a record that cannot be the next one.
struct NotNext;

impl Reading {
    fn sequence(&self) -> u64 {
        self.copy.sequence.unwrap_or(0)
    }

    fn last_index(&self) -> Option<u64> {
        self.copy.last().map(|last| last.index)
    }

    fn first_needed(&self) -> u64 {
        self.copy.standing.purged.map_or(0, |purged| purged.index + 1)
    }

    /// Returns whether the log's state and all entries since the last purged one are known.
    fn is_whole(&self) -> bool {
        self.knows_standing && self.known_from.is_some_and(|from| from <= self.first_needed())
    }

    /// Returns whether this record was read already.
    fn has(&self, record: &TapeRecord) -> bool {
        let Some(sequence) = self.copy.sequence else { return false };
        match &record.content {
            _ if record.sequence != sequence => record.sequence < sequence,
            RecordContent::State(_) => true,
            RecordContent::Entry { entry, .. } => self.last_index().is_some_and(|last| entry.at.index <= last),
        }
    }

    /// Returns whether this record directly follows the last one read, so that none is missing between them.
    fn is_followed_by(&self, next: &TapeRecord) -> bool {
        let Some(sequence) = self.copy.sequence else { return false };
        let last = self.last_index();
        let is_near = next.sequence == sequence || next.sequence == sequence + 1;
        is_near
            && match &next.content {
                RecordContent::Entry { entry, .. } if last.is_some_and(|last| entry.at.index == last + 1) => true,
                RecordContent::State(StateChange::Resumed { keep_through: Some(kept), .. }) => {
                    last.is_some_and(|last| *kept <= last)
                }
                _ => self.after_state && next.sequence == sequence + 1,
            }
    }

    /// Returns whether the reading includes the gap before a run: the gap is exactly one record, and that record and
    /// those before it were read, from this copy or others.
    fn has_gap(&self, place: &Place<'_>) -> bool {
        let is_known = place.previous.and_then(|run| run.records.last()).is_some_and(|before| self.has(before));
        is_known
            && match place.run.before {
                Gap::Record { kind: RecordKind::RaftState, id } => id <= u128::from(self.sequence()),
                Gap::Record { kind: RecordKind::RaftEntry, id } => {
                    !self.after_state && self.last_index().map(u128::from) == Some(id)
                }
                _ => false,
            }
    }

    fn take(&mut self, record: &TapeRecord) -> Result<(), NotNext> {
        let sequence = record.sequence;
        let may_leap =
            matches!(&record.content, RecordContent::State(StateChange::Resumed { .. } | StateChange::Restating(_)));
        match self.copy.sequence {
            Some(last) if sequence < last || (sequence > last + 1 && !may_leap) => return Err(NotNext),
            _ => {}
        }
        self.resuming = self.resuming.filter(|resumed| *resumed == sequence);
        match &record.content {
            RecordContent::Entry { entry, committed, checksum } => {
                let index = entry.at.index;
                let known_from = *self.known_from.get_or_insert(index);
                if self.copy.entries.is_empty() && index != known_from.max(self.first_needed()) {
                    return Err(NotNext);
                }
                self.copy.push_entry(*entry, *committed).map_err(|_| NotNext)?;
                self.checksums.insert(index, *checksum);
            }
            RecordContent::State(change) => self.change(sequence, change),
        }
        self.after_state = !record.is_entry();
        self.copy.sequence = Some(sequence);
        Ok(())
    }

    fn change(&mut self, sequence: u64, change: &StateChange) {
        self.copy.change(change);
        let ends_at = |last: Option<u64>, standing: &Standing| {
            last.map_or(standing.purged.map_or(0, |purged| purged.index + 1), |last| last + 1)
        };
        let known_from = match change {
            StateChange::Standing(_) => {
                self.knows_standing = true;
                None
            }
            StateChange::Truncated { after } => Some(after.map_or(0, |after| after + 1)),
            StateChange::Resumed { keep_through, standing } => {
                self.knows_standing = true;
                self.resuming = Some(sequence);
                Some(ends_at(*keep_through, standing))
            }
            StateChange::Restating(standing) => {
                self.knows_standing = true;
                Some(ends_at(None, standing))
            }
            StateChange::Restated => None,
        };
        self.known_from = self.known_from.into_iter().chain(known_from).min();
    }

    /// Refuses a record that contradicts the merged log.
    fn compare(&self, record: &TapeRecord) -> Result<(), MergeError> {
        let RecordContent::Entry { entry, checksum, .. } = &record.content else { return Ok(()) };
        let Position { index, .. } = entry.at;
        let first = self.copy.entries.front().map_or(0, |first| first.at.index);
        let slot = index.checked_sub(first).and_then(|slot| usize::try_from(slot).ok());
        let Some(own) = slot.and_then(|slot| self.copy.entries.get(slot)) else { return Ok(()) };
        let differs = if own.at == entry.at {
            self.checksums.get(&index) != Some(checksum)
        } else {
            own.sequence == entry.sequence
        };
        if differs { Err(MergeError::Different { sequence: entry.sequence, index }) } else { Ok(()) }
    }
}
