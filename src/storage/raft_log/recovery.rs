//! Recovery of one copy of the log at start: its records replayed in order. `merge` handles damaged copies.

use super::record::{LogRecord, Position, Standing, StateChange};
use crate::defects::{Defect, has};
use crate::storage::wal::{Location, ScannedRecord};
use crate::types::SegmentId;
use std::collections::{BTreeMap, VecDeque};

/// An entry that a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredEntry {
    pub at: Position,
    pub sequence: u64,
    pub location: Location,
    pub footprint_bytes: u32,
}

/// The content of an undamaged copy.
#[derive(Clone, Debug, Default)]
pub struct RecoveredCopy {
    /// The sequence number of the last operation; `None` if the copy is empty.
    pub sequence: Option<u64>,
    pub standing: Standing,
    /// Consecutive, the first right after `standing.purged`.
    pub entries: VecDeque<RecoveredEntry>,
    /// For each segment, the greatest index of an entry that it ever held; `None` if it held none.
    pub segments: BTreeMap<SegmentId, Option<u64>>,
}

impl RecoveredCopy {
    /// Returns the position of the last entry, or of the last purged one.
    pub fn last(&self) -> Option<Position> {
        self.entries.back().map(|entry| entry.at).or(self.standing.purged)
    }

    /// Returns the position of the entry with this index, if the copy still has it or purged it last.
    pub fn position_of(&self, index: u64) -> Option<Position> {
        let first = self.entries.front().map(|entry| entry.at.index);
        match first {
            Some(first) if index >= first => {
                usize::try_from(index - first).ok().and_then(|slot| self.entries.get(slot)).map(|entry| entry.at)
            }
            _ => self.standing.purged.filter(|purged| purged.index == index),
        }
    }

    /// Returns whether this copy holds all that another one does: it has that one's last entry, no fewer operations and
    /// no lower vote.
    pub fn continues(&self, other: &Self) -> bool {
        let vote = |copy: &Self| copy.standing.ballot.map(|ballot| (ballot.term, ballot.node, ballot.committed));
        let has_its_end = other.last().is_none_or(|last| self.position_of(last.index) == Some(last));
        has_its_end && self.sequence >= other.sequence && vote(self) >= vote(other)
    }

    /// Notes which segments the copy has. Those without a whole record, as one that was torn from its first record on,
    /// are released by a purge like all others.
    pub fn note_segments(&mut self, segments: impl IntoIterator<Item = SegmentId>) {
        for segment in segments {
            self.segments.entry(segment).or_default();
        }
    }
}

/// Replays the records of one copy. The first fault ends the replay: later records are ignored, and the copy is
/// damaged.
#[derive(Debug, Default)]
pub struct Recovery {
    copy: RecoveredCopy,
    /// The content restated so far, until the restatement ends.
    restating: Option<Box<RecoveredCopy>>,
    fault: Option<String>,
}

impl Recovery {
    pub fn push(&mut self, record: &ScannedRecord) {
        if self.fault.is_some() {
            return;
        }
        if let Err(why) = self.replay(record) {
            self.fault = Some(format!("at {}: {why}", record.at.lsn));
        }
    }

    /// Marks the copy as damaged because of a fault that the scan found.
    pub fn note_damage(&mut self, why: String) {
        self.fault.get_or_insert(why);
    }

    /// Returns the copy, or the reason why it cannot be used.
    pub fn finish(mut self) -> Result<RecoveredCopy, String> {
        if let Some(why) = self.fault {
            return Err(why);
        }
        self.copy.drop_purged();
        if has(Defect::LoseLastEntry) {
            self.copy.entries.pop_back();
        }
        let expected = self.copy.standing.purged.map_or(0, |purged| purged.index + 1);
        match self.copy.entries.front() {
            Some(first) if first.at.index != expected => {
                Err(format!("the first entry is {}, expected {expected}", first.at.index))
            }
            _ => Ok(self.copy),
        }
    }

    fn replay(&mut self, scanned: &ScannedRecord) -> Result<(), String> {
        let record = LogRecord::decode(scanned.kind, &scanned.body).map_err(|fault| fault.to_string())?;
        if record.key() != scanned.key {
            return Err(format!("record with key {:?} is stored under key {:?}", record.key(), scanned.key));
        }
        let sequence = record.sequence();
        let resumes =
            matches!(&record, LogRecord::State { change: StateChange::Resumed { .. } | StateChange::Restating(_), .. });
        match self.restating.as_deref().unwrap_or(&self.copy).sequence {
            Some(last) if sequence < last => return Err(format!("operation {sequence} follows operation {last}")),
            Some(last) if sequence > last + 1 && !resumes => {
                return Err(format!("the operations between {last} and {sequence} are missing"));
            }
            _ => {}
        }
        let held = self.copy.segments.entry(scanned.at.lsn.segment()).or_default();
        *held = (*held).max(record.index());
        match record {
            LogRecord::Entry { committed, entry, .. } => {
                let entry = RecoveredEntry {
                    at: entry.at,
                    sequence,
                    location: scanned.at,
                    footprint_bytes: scanned.footprint_bytes,
                };
                let copy = self.restating.as_deref_mut().unwrap_or(&mut self.copy);
                copy.push_entry(entry, committed)?;
                copy.sequence = Some(sequence);
            }
            LogRecord::State { change: StateChange::Restating(standing), .. } => {
                let begun = RecoveredCopy { sequence: Some(sequence), standing, ..RecoveredCopy::default() };
                self.restating = Some(Box::new(begun));
            }
            LogRecord::State { change: StateChange::Restated, .. } => {
                let restated = self.restating.take().ok_or("a restatement ends that never began")?;
                let segments = std::mem::take(&mut self.copy.segments);
                self.copy = RecoveredCopy { segments, ..*restated };
            }
            LogRecord::State { change, .. } => {
                self.restating = None;
                self.copy.change(&change);
                self.copy.sequence = Some(sequence);
            }
        }
        Ok(())
    }
}

impl RecoveredCopy {
    pub(super) fn push_entry(&mut self, entry: RecoveredEntry, committed: Option<Position>) -> Result<(), String> {
        if let Some(last) = self.entries.back()
            && entry.at.index != last.at.index + 1
        {
            return Err(format!("entry {} follows entry {}", entry.at.index, last.at.index));
        }
        self.standing.committed = self.standing.committed.max(committed);
        self.entries.push_back(entry);
        Ok(())
    }

    pub(super) fn change(&mut self, change: &StateChange) {
        match change {
            StateChange::Standing(standing) => self.set_standing(standing),
            StateChange::Truncated { after } => self.truncate(*after),
            StateChange::Resumed { keep_through, standing } => {
                self.truncate(*keep_through);
                self.set_standing(standing);
            }
            StateChange::Restating(standing) => {
                self.entries.clear();
                self.set_standing(standing);
            }
            StateChange::Restated => {}
        }
    }

    fn set_standing(&mut self, standing: &Standing) {
        self.standing = Standing { committed: self.standing.committed.max(standing.committed), ..*standing };
        self.drop_purged();
    }

    fn truncate(&mut self, after: Option<u64>) {
        while self.entries.back().is_some_and(|last| after.is_none_or(|after| last.at.index > after)) {
            self.entries.pop_back();
        }
    }

    pub(super) fn drop_purged(&mut self) {
        let Some(purged) = self.standing.purged else { return };
        while self.entries.front().is_some_and(|first| first.at.index <= purged.index) {
            self.entries.pop_front();
        }
    }
}
