//! The progress of a log, and the waiters for it: decides when to sync, when to mark the log's end, and whom to answer.
//! Pure: events in, effects out; `actors::log` performs the effects.
//!
//! A log may mark its end: once everything written is synced and nothing followed for a delay, a mark that proves this
//! is written and synced. A busy log needs no mark, as each record contains the position through which the log was
//! synced.
//!
//! The waiters for a sync are handed over with it, so that who syncs can answer them without another message.
//!
//! Invariants: `synced <= submitted <= written <= accepted`; at most one sync is in flight; a waiter is answered once,
//! and never before its condition holds; after a failure no sync starts and no waiter is answered from here.

use crate::defects::{Defect, has};
use crate::types::Lsn;
use std::collections::VecDeque;

/// The condition of a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ack {
    Written,
    Synced,
}

/// A waiter for the write or the sync of everything through the position `through`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Waiter<W> {
    pub through: Lsn,
    pub ack: Ack,
    pub token: W,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event<W> {
    /// Records up to position `through`, inclusive, were accepted. `waiters` wait for some of them, sorted by position.
    Accepted { through: Lsn, waiters: Vec<Waiter<W>> },
    /// Everything accepted through `through` was written.
    Written { through: Lsn },
    /// The sync in flight ended: everything written before it started is durable.
    SyncDone,
    /// A write or a sync failed. The log stays failed.
    Failed,
    /// The flush delay has passed.
    FlushDue,
    /// The mark delay has passed; it was armed when everything through `at` was synced.
    MarkDue { at: Lsn },
    /// The mark was written, through `through`, or could not be written for lack of room.
    Marked { through: Lsn },
    /// `token` waits until everything that is written by now is durable.
    SyncWanted { token: W },
    /// The log accepts no more records.
    Closing,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect<W> {
    /// Sync everything written so far, which is everything through `through`. These waiters wait for this sync: they
    /// are answered as soon as it succeeds, and refused if it fails.
    StartSync { through: Lsn, waiters: Vec<W> },
    /// Answer these waiters: their condition holds.
    Answer { tokens: Vec<W> },
    /// Refuse these waiters: their condition will never hold.
    Refuse { tokens: Vec<W> },
    /// Raise `FlushDue` after the flush delay.
    ArmFlushDelay,
    /// Raise `MarkDue` after the mark delay.
    ArmMarkDelay { at: Lsn },
    /// Write a mark that proves that everything is synced, and raise `Marked`.
    WriteMark,
    /// Close the log: everything accepted is durable, or the log has failed.
    Drained,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress<W> {
    accepted: Lsn,
    written: Lsn,
    submitted: Lsn,
    synced: Lsn,
    /// The waiters for records that are not written yet, in order of position.
    waiting_written: VecDeque<Waiter<W>>,
    /// The waiters that no sync in flight was handed over with: what they wait for is written.
    waiting_synced: Vec<W>,
    flush_delay_armed: bool,
    flush_due: bool,
    failed: bool,
    closing: bool,
    drained: bool,
    /// The position through which no mark is needed; `None` if the log writes no marks.
    marked: Option<Lsn>,
    mark_delay_armed: bool,
    mark_due: bool,
}

impl<W> Progress<W> {
    /// Makes the progress of a log whose content ends at `synced` and is synced.
    pub fn new(synced: Lsn) -> Self {
        Self {
            marked: None,
            mark_delay_armed: false,
            mark_due: false,
            accepted: synced,
            written: synced,
            submitted: synced,
            synced,
            waiting_written: VecDeque::new(),
            waiting_synced: Vec::new(),
            flush_delay_armed: false,
            flush_due: false,
            failed: false,
            closing: false,
            drained: false,
        }
    }

    /// Makes the progress of a log that marks its end.
    pub fn with_end_marks(synced: Lsn) -> Self {
        Self { marked: Some(synced), ..Self::new(synced) }
    }

    pub fn written(&self) -> Lsn {
        self.written
    }

    pub fn synced(&self) -> Lsn {
        self.synced
    }

    pub fn sync_in_flight(&self) -> bool {
        self.submitted > self.synced
    }

    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Counts the waiters that no sync in flight covers.
    pub fn waiters(&self) -> usize {
        self.waiting_written.len() + self.waiting_synced.len()
    }

    /// Handles an event. Returns the effects to perform, in order.
    pub fn on(&mut self, event: Event<W>) -> Vec<Effect<W>> {
        let mut effects = Vec::new();
        match event {
            Event::Accepted { waiters, .. } if self.failed => {
                effects.push(Effect::Refuse { tokens: waiters.into_iter().map(|waiter| waiter.token).collect() });
            }
            Event::Accepted { through, waiters } => {
                assert!(!self.drained, "nothing is accepted after the log was drained");
                assert!(through >= self.accepted, "positions only grow");
                self.accepted = through;
                self.waiting_written.extend(waiters);
            }
            Event::Written { through } => self.on_written(through, &mut effects),
            Event::SyncDone => self.on_sync_done(),
            Event::Failed => self.on_failed(&mut effects),
            Event::FlushDue => {
                self.flush_delay_armed = false;
                self.flush_due = self.synced < self.written;
            }
            Event::MarkDue { at } => {
                self.mark_delay_armed = false;
                self.mark_due = self.written == at;
            }
            Event::Marked { through } => self.on_marked(through),
            Event::SyncWanted { token } if self.failed => effects.push(Effect::Refuse { tokens: vec![token] }),
            Event::SyncWanted { token } => self.waiting_synced.push(token),
            Event::Closing => self.closing = true,
        }
        self.go_on(&mut effects);
        effects
    }

    fn on_written(&mut self, through: Lsn, effects: &mut Vec<Effect<W>>) {
        if self.failed {
            return;
        }
        assert!(self.written <= through && through <= self.accepted, "what is written was accepted");
        self.written = through;
        let mut tokens = Vec::new();
        while let Some(waiter) = self.waiting_written.pop_front_if(|waiter| waiter.through <= through) {
            match waiter.ack {
                Ack::Synced if has(Defect::AnswerBeforeSync) => tokens.push(waiter.token),
                Ack::Written => tokens.push(waiter.token),
                Ack::Synced => self.waiting_synced.push(waiter.token),
            }
        }
        if !tokens.is_empty() {
            effects.push(Effect::Answer { tokens });
        }
    }

    fn on_sync_done(&mut self) {
        if self.failed {
            return;
        }
        assert!(self.sync_in_flight(), "a sync that ends was started");
        self.synced = self.submitted;
    }

    fn on_failed(&mut self, effects: &mut Vec<Effect<W>>) {
        self.failed = true;
        let written = self.waiting_written.drain(..).map(|waiter| waiter.token);
        let tokens: Vec<W> = self.waiting_synced.drain(..).chain(written).collect();
        if !tokens.is_empty() {
            effects.push(Effect::Refuse { tokens });
        }
    }

    fn on_marked(&mut self, through: Lsn) {
        if self.failed {
            return;
        }
        assert!(self.is_settled() && through >= self.written, "a mark is written behind all that is synced");
        (self.accepted, self.written, self.marked) = (through, through, Some(through));
        self.flush_due = self.synced < self.written;
    }

    /// Returns whether everything accepted is durable.
    fn is_settled(&self) -> bool {
        !self.failed && self.accepted == self.written && self.written == self.synced
    }

    /// Decides what follows after any event: a sync, a delay, a mark, or the end.
    fn go_on(&mut self, effects: &mut Vec<Effect<W>>) {
        let (unsynced, may_sync) = (self.written > self.synced, !self.failed && !self.sync_in_flight());
        if may_sync && !unsynced && !self.waiting_synced.is_empty() {
            // What they wait for was synced before they asked, or by the sync that has just ended.
            effects.push(Effect::Answer { tokens: std::mem::take(&mut self.waiting_synced) });
        }
        if may_sync && unsynced {
            if !self.waiting_synced.is_empty() || self.flush_due || self.closing {
                self.submitted = self.written;
                self.flush_due = false;
                let waiters = std::mem::take(&mut self.waiting_synced);
                effects.push(Effect::StartSync { through: self.submitted, waiters });
            } else if !self.flush_delay_armed {
                self.flush_delay_armed = true;
                effects.push(Effect::ArmFlushDelay);
            }
        }
        let mark_due = std::mem::take(&mut self.mark_due) || self.closing;
        if self.is_settled() && self.marked.is_some_and(|marked| marked < self.written) {
            if mark_due {
                // The event `Marked` follows, and continues from there.
                effects.push(Effect::WriteMark);
                return;
            }
            if !self.mark_delay_armed {
                self.mark_delay_armed = true;
                effects.push(Effect::ArmMarkDelay { at: self.written });
            }
        }
        if self.closing && (self.failed || self.is_settled()) && !self.drained {
            self.drained = true;
            effects.push(Effect::Drained);
        }
    }

    /// Checks the invariants that hold between any two events.
    pub fn check_invariants(&self) {
        assert!(self.synced <= self.submitted && self.submitted <= self.written && self.written <= self.accepted);
        assert!(
            self.waiting_written.iter().all(|waiter| waiter.through > self.written && waiter.through <= self.accepted)
        );
        assert!(self.waiting_synced.is_empty() || self.sync_in_flight(), "waiters exist, so a sync is in flight");
        assert!(!self.failed || self.waiters() == 0, "a failed log has no waiters");
    }
}
