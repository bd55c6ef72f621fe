//! Model checking of the log's progress: explores every interleaving of a few writers, one drive, and one sync at a
//! time.

use super::super::progress::{Ack, Effect, Event, Progress, Waiter};
use crate::types::Lsn;
use std::collections::{BTreeMap, HashSet};

/// The environment of the pure state: the content of the drive, and the answers to writers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    progress: Progress<u8>,
    /// The writers that have not appended yet, each with the condition of its answer.
    idle: Vec<(u8, Ack)>,
    /// Those that wait for a sync of what is written, and have not asked for it yet.
    wanting: Vec<u8>,
    acks: BTreeMap<u8, Ack>,
    /// Position of each append, by writer; of a wanted sync, what was written by then.
    appended: BTreeMap<u8, Lsn>,
    accepted: Lsn,
    written: Lsn,
    /// The position that the sync in flight covers, and who waits for it.
    syncing: Option<(Lsn, Vec<u8>)>,
    durable: Lsn,
    answered: BTreeMap<u8, bool>,
    flush_armed: bool,
    /// The position up to which everything was synced when the mark delay was armed.
    mark_armed: Option<Lsn>,
    /// The position that a durable mark proves synced.
    marking: Lsn,
    proven_synced: Lsn,
    marks_end: bool,
    failures_left: u8,
    closing: bool,
    drained: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append(usize),
    WantSync(usize),
    Write,
    SyncEnds,
    SyncFails,
    FlushDelayPasses,
    MarkDelayPasses,
    Close,
}

impl World {
    fn new(idle: Vec<(u8, Ack)>, failures_left: u8) -> Self {
        Self {
            progress: Progress::new(Lsn(0)),
            acks: idle.iter().copied().collect(),
            idle,
            wanting: Vec::new(),
            appended: BTreeMap::new(),
            accepted: Lsn(0),
            written: Lsn(0),
            syncing: None,
            durable: Lsn(0),
            answered: BTreeMap::new(),
            flush_armed: false,
            mark_armed: None,
            marking: Lsn(0),
            proven_synced: Lsn(0),
            marks_end: false,
            failures_left,
            closing: false,
            drained: false,
        }
    }

    fn with_end_marks(idle: Vec<(u8, Ack)>, failures_left: u8) -> Self {
        Self { progress: Progress::with_end_marks(Lsn(0)), marks_end: true, ..Self::new(idle, failures_left) }
    }

    fn with_wanted_syncs(idle: Vec<(u8, Ack)>, wanting: Vec<u8>, failures_left: u8) -> Self {
        let mut world = Self::new(idle, failures_left);
        world.acks.extend(wanting.iter().map(|writer| (*writer, Ack::Synced)));
        Self { wanting, ..world }
    }

    fn steps(&self) -> Vec<Step> {
        let failed = self.progress.has_failed();
        let mut steps = Vec::new();
        if !self.closing {
            steps.extend((0..self.idle.len()).map(Step::Append));
            steps.extend((0..self.wanting.len()).map(Step::WantSync));
        }
        if self.accepted > self.written && !failed {
            steps.push(Step::Write);
        }
        if self.syncing.is_some() {
            steps.push(Step::SyncEnds);
            if self.failures_left > 0 {
                steps.push(Step::SyncFails);
            }
        }
        if self.flush_armed {
            steps.push(Step::FlushDelayPasses);
        }
        if self.mark_armed.is_some() {
            steps.push(Step::MarkDelayPasses);
        }
        if self.idle.is_empty() && self.wanting.is_empty() && !self.closing {
            steps.push(Step::Close);
        }
        steps
    }

    fn take(&mut self, step: Step) {
        let event = match step {
            Step::Append(index) => {
                let (writer, ack) = self.idle.remove(index);
                self.accepted = Lsn(self.accepted.0 + 10);
                self.appended.insert(writer, self.accepted);
                Event::Accepted {
                    through: self.accepted,
                    waiters: vec![Waiter { through: self.accepted, ack, token: writer }],
                }
            }
            Step::WantSync(index) => {
                let token = self.wanting.remove(index);
                self.appended.insert(token, self.written);
                Event::SyncWanted { token }
            }
            Step::Write => {
                self.written = self.accepted;
                Event::Written { through: self.written }
            }
            Step::SyncEnds => {
                let (through, waiters) = self.syncing.take().expect("a sync in flight");
                self.durable = through.max(self.durable);
                self.answer(waiters);
                self.proven_synced = if self.durable > self.marking { self.marking } else { self.proven_synced };
                Event::SyncDone
            }
            Step::SyncFails => {
                let (_, waiters) = self.syncing.take().expect("a sync in flight");
                self.refuse(waiters);
                self.failures_left -= 1;
                Event::Failed
            }
            Step::FlushDelayPasses => {
                self.flush_armed = false;
                Event::FlushDue
            }
            Step::MarkDelayPasses => Event::MarkDue { at: self.mark_armed.take().expect("armed") },
            Step::Close => {
                self.closing = true;
                Event::Closing
            }
        };
        let effects = self.progress.on(event);
        for effect in effects {
            self.perform(effect);
        }
        self.progress.check_invariants();
    }

    fn perform(&mut self, effect: Effect<u8>) {
        match effect {
            Effect::StartSync { through, waiters } => {
                assert!(self.syncing.is_none(), "W2: one sync in flight at most");
                assert!(!self.progress.has_failed(), "W11: nothing is synced after a failure");
                assert_eq!(through, self.written, "a sync covers all that is written");
                self.syncing = Some((through, waiters));
            }
            Effect::Answer { tokens } => {
                assert!(!self.progress.has_failed(), "W11: nothing is acknowledged after a failure");
                self.answer(tokens);
            }
            Effect::Refuse { tokens } => self.refuse(tokens),
            Effect::ArmFlushDelay => self.flush_armed = true,
            Effect::ArmMarkDelay { at } => {
                assert!(self.marks_end && at == self.durable && self.mark_armed.is_none());
                self.mark_armed = Some(at);
            }
            Effect::WriteMark => {
                assert!(self.marks_end && self.accepted == self.durable, "a mark proves only what is synced");
                self.marking = self.durable;
                (self.accepted, self.written) = (Lsn(self.accepted.0 + 1), Lsn(self.written.0 + 1));
                for effect in self.progress.on(Event::Marked { through: self.written }) {
                    self.perform(effect);
                }
            }
            Effect::Drained => {
                assert!(!self.drained);
                assert!(self.progress.has_failed() || self.durable == self.accepted, "drained before all was synced");
                self.drained = true;
            }
        }
    }

    fn answer(&mut self, writers: Vec<u8>) {
        for writer in writers {
            let position = self.appended[&writer];
            assert!(position <= self.written, "answered before it was written");
            assert!(self.acks[&writer] == Ack::Written || position <= self.durable, "answered before it was synced");
            assert!(self.answered.insert(writer, true).is_none(), "answered twice");
        }
    }

    fn refuse(&mut self, writers: Vec<u8>) {
        for writer in writers {
            assert!(self.answered.insert(writer, false).is_none(), "answered twice");
        }
    }

    fn check_end(&self, writers: usize) {
        assert_eq!(self.answered.len(), writers, "W3: everyone is answered in the end: {self:?}");
        assert!(self.drained);
        assert!(self.progress.has_failed() || self.durable == self.accepted);
        let appended = self.appended.values().max().copied().unwrap_or_default();
        let needed = self.marks_end && !self.progress.has_failed();
        assert!(!needed || self.proven_synced >= appended, "a log that was closed in order has all of it proven");
    }
}

/// Explores all states that are reachable from `world`. Returns their number.
fn explore(world: World) -> usize {
    let writers = world.idle.len() + world.wanting.len();
    let mut seen = HashSet::new();
    let mut left = vec![world];
    while let Some(world) = left.pop() {
        let steps = world.steps();
        if steps.is_empty() {
            world.check_end(writers);
        }
        // W1: a sync in flight never keeps the writer from writing.
        let may_write = world.accepted > world.written && !world.progress.has_failed();
        assert_eq!(may_write, steps.iter().any(|step| matches!(step, Step::Write)));
        for step in steps {
            let mut next = world.clone();
            next.take(step);
            if seen.insert(next.clone()) {
                left.push(next);
            }
        }
    }
    seen.len()
}

/// W1, W2, W3, W11: every interleaving of four writers with syncs that end or fail.
#[test]
fn every_writer_is_answered_once_and_never_too_early() {
    let strict = (0..4).map(|writer| (writer, Ack::Synced)).collect();
    assert!(explore(World::new(strict, 1)) > 500);
}

/// W16: some writers wait only for the write. Their records are still synced in the end.
#[test]
fn relaxed_writers_are_answered_after_the_write_and_synced_in_the_end() {
    let mixed = vec![(0, Ack::Written), (1, Ack::Synced), (2, Ack::Written), (3, Ack::Written)];
    assert!(explore(World::new(mixed, 1)) > 500);
}

/// W2, W3, W11: a sync that is wanted without an append covers all that was written before.
#[test]
fn a_wanted_sync_is_answered_once_all_that_was_written_before_is_synced() {
    let mixed = vec![(0, Ack::Written), (1, Ack::Synced), (2, Ack::Written)];
    assert!(explore(World::with_wanted_syncs(mixed, vec![3, 4], 1)) > 500);
    let mut progress: Progress<u8> = Progress::new(Lsn(0));
    assert_eq!(
        progress.on(Event::SyncWanted { token: 7 }),
        [Effect::Answer { tokens: vec![7] }],
        "nothing is unsynced"
    );
    assert_eq!(progress.on(Event::Accepted { through: Lsn(10), waiters: vec![] }), []);
    assert_eq!(progress.on(Event::Written { through: Lsn(10) }), [Effect::ArmFlushDelay]);
    let sync = Effect::StartSync { through: Lsn(10), waiters: vec![8] };
    assert_eq!(progress.on(Event::SyncWanted { token: 8 }), [sync], "it does not wait for the flush delay");
    assert_eq!(progress.on(Event::SyncWanted { token: 9 }), []);
    assert_eq!(progress.on(Event::SyncDone), [Effect::Answer { tokens: vec![9] }], "no further sync is needed");
}

/// W1, W2, W3, W11, W16: every interleaving for a log that marks its end.
#[test]
fn end_marks_delay_no_answer_and_a_closed_log_has_one() {
    for acks in [[Ack::Synced; 3], [Ack::Written, Ack::Synced, Ack::Written]] {
        let idle = (0..).zip(acks).collect();
        assert!(explore(World::with_end_marks(idle, 1)) > 300);
    }
}

/// A busy log writes no marks: a mark is written only if nothing followed for the whole delay.
#[test]
fn an_end_mark_is_written_once_and_only_after_an_idle_delay() {
    let mut progress: Progress<u8> = Progress::with_end_marks(Lsn(0));
    let append = |progress: &mut Progress<u8>, through: Lsn| {
        let waiters = vec![Waiter { through, ack: Ack::Synced, token: 1 }];
        progress.on(Event::Accepted { through, waiters });
        assert_eq!(progress.on(Event::Written { through }), [Effect::StartSync { through, waiters: vec![1] }]);
        progress.on(Event::SyncDone)
    };
    assert_eq!(append(&mut progress, Lsn(10)), [Effect::ArmMarkDelay { at: Lsn(10) }]);
    assert_eq!(append(&mut progress, Lsn(20)), [], "one delay at a time");
    assert_eq!(progress.on(Event::MarkDue { at: Lsn(10) }), [Effect::ArmMarkDelay { at: Lsn(20) }]);
    assert_eq!(progress.on(Event::MarkDue { at: Lsn(20) }), [Effect::WriteMark]);
    assert_eq!(
        progress.on(Event::Marked { through: Lsn(21) }),
        [Effect::StartSync { through: Lsn(21), waiters: vec![] }]
    );
    assert_eq!(progress.on(Event::SyncDone), [], "a mark needs no mark");
}

/// W2: if writers wait when a sync ends, the next one starts at once and covers all of them.
#[test]
fn appends_that_come_during_a_sync_share_the_next_one() {
    let mut progress: Progress<u8> = Progress::new(Lsn(0));
    let waiter = |writer: u8| Waiter { through: Lsn(u64::from(writer) * 10), ack: Ack::Synced, token: writer };
    progress.on(Event::Accepted { through: Lsn(10), waiters: vec![waiter(1)] });
    let first = Effect::StartSync { through: Lsn(10), waiters: vec![1] };
    assert_eq!(progress.on(Event::Written { through: Lsn(10) }), [first]);
    progress.on(Event::Accepted { through: Lsn(30), waiters: vec![waiter(2), waiter(3)] });
    assert_eq!(progress.on(Event::Written { through: Lsn(30) }), []);
    assert!(progress.sync_in_flight());
    let second = Effect::StartSync { through: Lsn(30), waiters: vec![2, 3] };
    assert_eq!(progress.on(Event::SyncDone), [second]);
    assert_eq!(progress.on(Event::SyncDone), []);
    assert_eq!((progress.waiters(), progress.synced(), progress.written()), (0, Lsn(30), Lsn(30)));
}
