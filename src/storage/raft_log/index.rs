//! The index of the Raft log in memory: the location of each entry on each copy, and a cache of the last entries,
//! bounded in bytes.

use super::record::{LogEntry, LogRecord, Payload, Position, Standing, StateChange};
use super::recovery::RecoveredCopy;
use crate::storage::wal::Location;
use crate::types::{NodeId, SegmentId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The approximate size of an entry's record on a drive, without the payload.
const RECORD_OVERHEAD_BYTES: u64 = 128;

/// An entry from memory, or the locations from which it can be read.
#[derive(Clone, Debug)]
pub enum EntryPlace {
    Here(LogEntry),
    Stored { at: Position, copies: Vec<(NodeId, Location)> },
}

#[derive(Debug)]
struct Slot {
    at: Position,
    /// The operation that appended the entry. It distinguishes the entry from a truncated one with the same index.
    sequence: u64,
    cost_bytes: u64,
    payload: Option<Payload>,
}

/// The locations of one copy's records.
#[derive(Debug, Default)]
struct CopyMap {
    places: BTreeMap<u64, Location>,
    /// For each segment, the greatest index of an entry that it ever held; `None` if it held none.
    segments: BTreeMap<SegmentId, Option<u64>>,
    /// The first record of the newest operation that says what is purged: its sequence number and its segment. Each
    /// start writes one to each copy.
    state: Option<(u64, SegmentId)>,
}

/// The state of the log, its entries, and the locations of their records on each copy.
#[derive(Debug)]
pub struct LogIndex {
    standing: Standing,
    sequence: u64,
    /// The index of the first entry, or of the next one if the log is empty. After a purge it follows the last purged
    /// entry; openraft may begin an empty log at a greater index.
    first: u64,
    /// Consecutive.
    slots: VecDeque<Slot>,
    copies: BTreeMap<NodeId, CopyMap>,
    retained_bytes: u64,
    cached_bytes: u64,
    cached_bytes_max: u64,
    /// The number of slots at the front whose payloads are not cached.
    uncached: usize,
    /// Every live copy holds the operations up to this one, so that their payloads may be evicted.
    durable_sequence: u64,
    /// The number of truncations so far. A reader that works in several steps compares it, to notice a truncation.
    truncations: u64,
    /// The operations that are truncations and may not be on every live copy yet. Their records do not say what is
    /// purged.
    truncating: BTreeSet<u64>,
}

impl LogIndex {
    /// Creates the index of a log from one copy, the one that holds most.
    pub fn new(node: NodeId, copy: &RecoveredCopy, cached_bytes_max: u64) -> Self {
        let mut index = Self::unplaced(copy, cached_bytes_max);
        index.adopt_copy(node, copy);
        index
    }

    /// Creates the index of a log that was merged from damaged copies. `copies` are the readable entries of each.
    pub fn merged(log: &RecoveredCopy, copies: &BTreeMap<NodeId, RecoveredCopy>, cached_bytes_max: u64) -> Self {
        let mut index = Self::unplaced(log, cached_bytes_max);
        copies.iter().for_each(|(node, copy)| index.adopt_copy(*node, copy));
        index
    }

    fn unplaced(copy: &RecoveredCopy, cached_bytes_max: u64) -> Self {
        let mut index = Self {
            standing: copy.standing,
            sequence: copy.sequence.unwrap_or(0),
            first: copy.standing.purged.map_or(0, |purged| purged.index + 1),
            slots: VecDeque::new(),
            copies: BTreeMap::new(),
            retained_bytes: 0,
            cached_bytes: 0,
            cached_bytes_max,
            uncached: copy.entries.len(),
            durable_sequence: copy.sequence.unwrap_or(0),
            truncations: 0,
            truncating: BTreeSet::new(),
        };
        for entry in &copy.entries {
            let cost_bytes = u64::from(entry.footprint_bytes);
            index.retained_bytes += cost_bytes;
            index.slots.push_back(Slot { at: entry.at, sequence: entry.sequence, cost_bytes, payload: None });
        }
        index
    }

    /// Returns the record that begins a restatement of the log on a copy. The entries follow, and then `restated`.
    pub fn restating(&self) -> LogRecord {
        LogRecord::State { sequence: self.sequence, change: StateChange::Restating(self.standing) }
    }

    pub fn restated(&self) -> LogRecord {
        LogRecord::State { sequence: self.sequence, change: StateChange::Restated }
    }

    /// Removes the segments before this one from a copy's index, because the log was restated behind them. The caller
    /// releases them.
    pub fn forget_segments_before(&mut self, node: NodeId, segment: SegmentId) {
        let Some(copy) = self.copies.get_mut(&node) else { return };
        copy.segments = copy.segments.split_off(&segment);
        copy.places.retain(|_, place| place.lsn.segment() >= segment);
    }

    /// Adds another copy that was found. Those of its entries count that agree with this log.
    pub fn adopt_copy(&mut self, node: NodeId, copy: &RecoveredCopy) {
        let agreeing = copy.entries.iter().filter(|entry| self.position_of(entry.at.index) == Some(entry.at));
        let places = agreeing.map(|entry| (entry.at.index, entry.location)).collect();
        self.copies.insert(node, CopyMap { places, segments: copy.segments.clone(), state: None });
    }

    pub fn forget_copy(&mut self, node: NodeId) {
        self.copies.remove(&node);
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub fn truncations(&self) -> u64 {
        self.truncations
    }

    /// Returns the approximate bytes that the entries take on each copy.
    pub fn retained_bytes(&self) -> u64 {
        self.retained_bytes
    }

    pub fn first_index(&self) -> u64 {
        self.first
    }

    pub fn next_index(&self) -> u64 {
        self.first_index() + self.slots.len() as u64
    }

    /// Returns the position of the last entry, or of the last purged one if the log is empty.
    pub fn last(&self) -> Option<Position> {
        self.slots.back().map(|slot| slot.at).or(self.standing.purged)
    }

    pub fn position_of(&self, index: u64) -> Option<Position> {
        if let Some(purged) = self.standing.purged
            && purged.index == index
        {
            return Some(purged);
        }
        self.slot(index).map(|slot| slot.at)
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        index.checked_sub(self.first_index()).and_then(|slot| self.slots.get(usize::try_from(slot).ok()?))
    }

    /// Appends entries as one operation, and returns its records. The entries must follow the last one, which openraft
    /// guarantees.
    pub fn append(&mut self, entries: Vec<LogEntry>) -> Vec<LogRecord> {
        let sequence = self.begin();
        let committed = self.standing.committed;
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            if self.slots.is_empty() && entry.at.index >= self.first {
                self.first = entry.at.index;
            }
            assert!(entry.at.index == self.next_index(), "entries are consecutive");
            let cost_bytes = payload_bytes(&entry.payload) + RECORD_OVERHEAD_BYTES;
            self.retained_bytes += cost_bytes;
            self.cached_bytes += cost_bytes;
            let payload = Some(entry.payload.clone());
            self.slots.push_back(Slot { at: entry.at, sequence, cost_bytes, payload });
            records.push(LogRecord::Entry { sequence, committed, entry });
        }
        self.evict();
        records
    }

    pub fn set_ballot(&mut self, ballot: super::record::Ballot) -> LogRecord {
        self.standing.ballot = Some(ballot);
        self.stand()
    }

    /// Sets the committed position, which is written with the next append.
    pub fn set_committed(&mut self, committed: Option<Position>) {
        self.standing.committed = committed;
    }

    /// Removes the entries after this index (all of them, if `None`), and returns the record of the truncation.
    pub fn truncate(&mut self, after: Option<u64>) -> LogRecord {
        while self.slots.back().is_some_and(|slot| after.is_none_or(|after| slot.at.index > after)) {
            if let Some(slot) = self.slots.pop_back() {
                self.drop_slot(&slot);
            }
        }
        self.uncached = self.uncached.min(self.slots.len());
        self.truncations += 1;
        let next = self.next_index();
        for copy in self.copies.values_mut() {
            copy.places.split_off(&next);
        }
        let sequence = self.begin();
        self.truncating.insert(sequence);
        LogRecord::State { sequence, change: StateChange::Truncated { after } }
    }

    /// Removes the entries up to and including this one, and returns the record of the purge.
    pub fn purge(&mut self, upto: Position) -> LogRecord {
        while self.slots.front().is_some_and(|slot| slot.at.index <= upto.index) {
            if let Some(slot) = self.slots.pop_front() {
                self.drop_slot(&slot);
            }
            self.uncached = self.uncached.saturating_sub(1);
        }
        self.standing.purged = self.standing.purged.max(Some(upto));
        self.first = self.first.max(upto.index + 1);
        for copy in self.copies.values_mut() {
            copy.places = copy.places.split_off(&(upto.index + 1));
        }
        self.stand()
    }

    /// Starts an operation that writes the state of the log again, and returns its record. It precedes the release of
    /// segments that hold older records of the state.
    pub fn stand(&mut self) -> LogRecord {
        let sequence = self.begin();
        LogRecord::State { sequence, change: StateChange::Standing(self.standing) }
    }

    /// Returns the record with which a copy that has entries through `keep_through` continues.
    pub fn resume(&self, keep_through: Option<u64>) -> LogRecord {
        let change = StateChange::Resumed { keep_through, standing: self.standing };
        LogRecord::State { sequence: self.sequence, change }
    }

    /// Starts an operation whose records the caller makes (`resume`, `restating`), and returns its sequence number.
    pub fn begin(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Notes that a copy holds a record of an operation at a location.
    pub fn place(&mut self, node: NodeId, sequence: u64, index: Option<u64>, location: Location) {
        let current = index.filter(|index| self.slot(*index).is_some_and(|slot| slot.sequence <= sequence));
        let is_state = index.is_none() && !self.truncating.contains(&sequence);
        let copy = self.copies.entry(node).or_default();
        let held = copy.segments.entry(location.lsn.segment()).or_default();
        *held = (*held).max(index);
        // A restatement ends with a record of its own under the same number; what it says stands at its beginning.
        if is_state && copy.state.is_none_or(|(newest, _)| newest < sequence) {
            copy.state = Some((sequence, location.lsn.segment()));
        }
        if let Some(index) = current {
            copy.places.insert(index, location);
        }
    }

    /// Notes that every live copy holds the operations up to this one.
    pub fn note_durable(&mut self, sequence: u64) {
        self.durable_sequence = self.durable_sequence.max(sequence);
        self.truncating = self.truncating.split_off(&(self.durable_sequence + 1));
        self.evict();
    }

    /// Returns the last entry that every live copy holds, or the last purged one if there is none.
    pub fn durable(&self) -> Option<Position> {
        let held = self.slots.iter().rev().find(|slot| slot.sequence <= self.durable_sequence);
        held.map(|slot| slot.at).or(self.standing.purged)
    }

    /// Returns the last entry up to `index` that every live copy holds; `None` if the log has no such entry any more.
    pub fn durable_up_to(&self, index: u64) -> Option<Position> {
        let mut slots = (self.first_index()..=index).rev().map_while(|index| self.slot(index));
        slots.find(|slot| slot.sequence <= self.durable_sequence).map(|slot| slot.at)
    }

    /// Returns the entries of `from..to` that the log has.
    pub fn entries(&self, from: u64, to: u64) -> Vec<EntryPlace> {
        let from = from.max(self.first_index());
        let to = to.min(self.next_index());
        (from..to).filter_map(|index| self.entry(index)).collect()
    }

    fn entry(&self, index: u64) -> Option<EntryPlace> {
        let slot = self.slot(index)?;
        Some(match &slot.payload {
            Some(payload) => EntryPlace::Here(LogEntry { at: slot.at, payload: payload.clone() }),
            None => {
                let held = |(node, copy): (&NodeId, &CopyMap)| copy.places.get(&index).map(|at| (*node, *at));
                EntryPlace::Stored { at: slot.at, copies: self.copies.iter().filter_map(held).collect() }
            }
        })
    }

    /// Returns the end (exclusive) of the longest run of entries from `from` on, and before `to`, that costs at most
    /// `bytes_max`. The run has at least one entry, if there is one.
    pub fn run_end(&self, from: u64, to: u64, bytes_max: u64) -> u64 {
        let mut bytes = 0;
        let mut end = from;
        while end < to.min(self.next_index()) {
            bytes += self.slot(end).map_or(0, |slot| slot.cost_bytes);
            if bytes > bytes_max && end > from {
                break;
            }
            end += 1;
        }
        end
    }

    /// Removes the oldest segments of a copy that hold no entry of the log any more, and returns them, oldest first. It
    /// stops at the first segment that is needed, so that a copy's records stay contiguous. The one with the newest
    /// record of what is purged is, though its entries are purged.
    pub fn take_releasable(&mut self, node: NodeId) -> Vec<SegmentId> {
        let first_index = self.first_index();
        let Some(copy) = self.copies.get_mut(&node) else { return Vec::new() };
        let mut released = Vec::new();
        while let Some(oldest) = copy.segments.first_entry()
            && copy.state.is_some_and(|(_, state)| *oldest.key() < state)
            && oldest.get().is_none_or(|index| index < first_index)
        {
            released.push(oldest.remove_entry().0);
        }
        released
    }

    fn evict(&mut self) {
        while self.cached_bytes > self.cached_bytes_max
            && let Some(slot) = self.slots.get_mut(self.uncached)
            && slot.sequence <= self.durable_sequence
        {
            if slot.payload.take().is_some() {
                self.cached_bytes = self.cached_bytes.saturating_sub(slot.cost_bytes);
            }
            self.uncached += 1;
        }
    }

    fn drop_slot(&mut self, slot: &Slot) {
        self.retained_bytes = self.retained_bytes.saturating_sub(slot.cost_bytes);
        if slot.payload.is_some() {
            self.cached_bytes = self.cached_bytes.saturating_sub(slot.cost_bytes);
        }
    }
}

fn payload_bytes(payload: &Payload) -> u64 {
    match payload {
        Payload::Blank => 0,
        Payload::Commands(bytes) => bytes.len() as u64,
        Payload::Members(members) => 64 * members.nodes.len() as u64,
    }
}
