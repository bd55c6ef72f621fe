//! The readable records of one damaged copy of the log, in runs separated by gaps.

use super::record::{LogRecord, Position, StateChange};
use super::recovery::{RecoveredCopy, RecoveredEntry};
use crate::storage::wal::{Location, LostRecord, RecordKind, ScannedRecord};
use crate::types::{Lsn, SegmentId};
use std::collections::BTreeMap;

/// One record of a copy.
#[derive(Clone, Debug)]
pub(super) struct TapeRecord {
    pub(super) sequence: u64,
    pub(super) content: RecordContent,
}

#[derive(Clone, Debug)]
pub(super) enum RecordContent {
    Entry {
        entry: RecoveredEntry,
        committed: Option<Position>,
        /// The checksum of the payload, for comparing entries of two copies.
        checksum: u32,
    },
    State(StateChange),
}

impl TapeRecord {
    pub(super) fn is_entry(&self) -> bool {
        matches!(self.content, RecordContent::Entry { .. })
    }
}

/// The gap before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// No gap: the log begins with this run.
    Start,
    /// Exactly one record is lost. Its header is whole and names the record.
    Record {
        kind: RecordKind,
        id: u128,
    },
    Unknown,
}

/// Consecutive records.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) before: Gap,
    pub(super) records: Vec<TapeRecord>,
}

/// One damaged copy.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    pub(super) runs: Vec<Run>,
    /// True if the last run ends where the log ends.
    pub(super) is_end_whole: bool,
    /// For each segment, the greatest index of an entry that it ever held; `None` if it held none.
    segments: BTreeMap<SegmentId, Option<u64>>,
}

/// Collects the records of a copy, in order.
#[derive(Debug, Default)]
pub struct TapeReader {
    records: Vec<(Location, Option<TapeRecord>)>,
}

impl TapeReader {
    /// Adds a record. One that cannot be decoded counts as lost.
    pub fn push(&mut self, scanned: &ScannedRecord) {
        let decoded = LogRecord::decode(scanned.kind, &scanned.body).ok();
        let record = decoded.filter(|record| record.key() == scanned.key).map(|record| {
            let sequence = record.sequence();
            let content = match record {
                LogRecord::Entry { committed, entry, .. } => RecordContent::Entry {
                    entry: RecoveredEntry {
                        at: entry.at,
                        sequence,
                        location: scanned.at,
                        footprint_bytes: scanned.footprint_bytes,
                    },
                    committed,
                    checksum: entry.payload.checksum(),
                },
                LogRecord::State { change, .. } => RecordContent::State(change),
            };
            TapeRecord { sequence, content }
        });
        self.records.push((scanned.at, record));
    }

    /// Returns the tape. `lost`: the places of damaged records, each with the record's header if that is whole.
    pub fn finish(self, lost: impl IntoIterator<Item = (Lsn, Option<LostRecord>)>) -> Tape {
        let mut items: Vec<(Lsn, Result<TapeRecord, Gap>)> = lost
            .into_iter()
            .map(|(at, record)| {
                let gap = record.map_or(Gap::Unknown, |lost| Gap::Record { kind: lost.kind, id: lost.key.id });
                (at, Err(gap))
            })
            .collect();
        let mut segments: BTreeMap<SegmentId, Option<u64>> = BTreeMap::new();
        for (location, record) in self.records {
            let held = segments.entry(location.lsn.segment()).or_default();
            if let Some(TapeRecord { content: RecordContent::Entry { entry, .. }, .. }) = &record {
                *held = (*held).max(Some(entry.at.index));
            }
            items.push((location.lsn, record.ok_or(Gap::Unknown)));
        }
        items.sort_by_key(|(at, _)| *at);
        let items: Vec<Result<TapeRecord, Gap>> = items.into_iter().map(|(_, item)| item).collect();
        let is_end_whole = items.last().is_none_or(Result::is_ok);
        Tape { runs: runs(restated(items)), is_end_whole, segments }
    }
}

/// Drops the items that a complete restatement replaces, and incomplete restatements.
fn restated(items: Vec<Result<TapeRecord, Gap>>) -> Vec<Result<TapeRecord, Gap>> {
    let state = |item: &Result<TapeRecord, Gap>| match item {
        Ok(TapeRecord { sequence, content: RecordContent::State(change) }) => Some((*sequence, change.clone())),
        _ => None,
    };
    let mut kept: Vec<Result<TapeRecord, Gap>> = Vec::new();
    // The start in `kept` of the restatement under way, and its sequence number.
    let mut begun: Option<(usize, u64)> = None;
    for item in items {
        let goes_on =
            matches!((&begun, &item), (Some((_, of)), Ok(record)) if record.is_entry() && record.sequence == *of);
        if goes_on {
            kept.push(item);
            continue;
        }
        match (begun.take(), state(&item)) {
            (Some((from, of)), Some((sequence, StateChange::Restated))) if sequence == of => {
                kept.drain(..from);
                kept.push(item);
            }
            (unfinished, next) => {
                kept.truncate(unfinished.map_or(kept.len(), |(from, _)| from));
                if let Some((sequence, StateChange::Restating(_))) = next {
                    begun = Some((kept.len(), sequence));
                }
                kept.push(item);
            }
        }
    }
    kept.truncate(begun.map_or(kept.len(), |(from, _)| from));
    kept
}

fn runs(items: Vec<Result<TapeRecord, Gap>>) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut run = Run { before: Gap::Start, records: Vec::new() };
    for item in items {
        match item {
            Ok(record) => run.records.push(record),
            // Between two gaps in a row any number of records may be lost.
            Err(_) if run.records.is_empty() => run.before = Gap::Unknown,
            Err(gap) => runs.push(std::mem::replace(&mut run, Run { before: gap, records: Vec::new() })),
        }
    }
    runs.push(run);
    runs
}

impl Tape {
    pub(super) fn records(&self) -> impl Iterator<Item = &TapeRecord> + '_ {
        self.runs.iter().flat_map(|run| &run.records)
    }

    /// Returns the approximate number of gaps.
    pub fn gaps(&self) -> usize {
        self.runs.len().saturating_sub(1) + usize::from(!self.is_end_whole)
    }

    /// Returns the readable entries of this copy, for `LogIndex::adopt_copy`.
    pub fn readable(&self) -> RecoveredCopy {
        let entries = self.records().filter_map(|record| match &record.content {
            RecordContent::Entry { entry, .. } => Some(*entry),
            RecordContent::State(_) => None,
        });
        RecoveredCopy { entries: entries.collect(), segments: self.segments.clone(), ..RecoveredCopy::default() }
    }
}
