//! A recorded history: operations, and the order in which they were called and answered.

use super::model::{Operation, Outcome};
use std::sync::Mutex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Call(usize),
    Return(usize),
}

#[derive(Clone, Debug)]
pub struct Recorded {
    pub client: usize,
    pub operation: Operation,
    pub outcome: Outcome,
}

/// Events name operations by index. An operation without a return has an unknown outcome.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub operations: Vec<Recorded>,
    pub events: Vec<Event>,
}

impl History {
    /// Returns the history restricted to these keys, which are renumbered from 0 in their order.
    pub fn of_keys(&self, keys: &[usize]) -> Self {
        let mut part = Self::default();
        let mut places = vec![None; self.operations.len()];
        for event in &self.events {
            match *event {
                Event::Call(at) => {
                    let whole = &self.operations[at];
                    let Some(operation) = whole.operation.projected(keys) else { continue };
                    places[at] = Some(part.operations.len());
                    part.events.push(Event::Call(part.operations.len()));
                    let outcome = whole.outcome.projected(keys);
                    part.operations.push(Recorded { client: whole.client, operation, outcome });
                }
                Event::Return(at) => part.events.extend(places[at].map(Event::Return)),
            }
        }
        part
    }

    pub fn has_lists(&self) -> bool {
        self.operations.iter().any(|recorded| recorded.operation == Operation::List)
    }

    /// Returns the number of called operations, without forgotten ones, and the number of those with an unknown
    /// outcome.
    pub fn counts(&self) -> (usize, usize) {
        let calls = self.events.iter().filter_map(|event| match event {
            Event::Call(at) => Some(&self.operations[*at]),
            Event::Return(_) => None,
        });
        calls.fold((0, 0), |(all, unknown), recorded| {
            (all + 1, unknown + usize::from(recorded.outcome == Outcome::Unknown))
        })
    }

    /// Formats the last events up to this one, the latest first, for the analysis of a failure.
    pub fn words_before(&self, event: usize, count: usize) -> String {
        let first = event.saturating_sub(count);
        let words = self.events[first..=event].iter().rev().map(|event| match *event {
            Event::Call(at) => format!("{at:>6} called   {:?}\n", self.operations[at]),
            Event::Return(at) => format!("{at:>6} answered {:?}\n", self.operations[at]),
        });
        words.collect()
    }
}

/// Records the operations of several threads. An operation that is called before another one is answered overlaps with
/// it.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<History>);

impl Recorder {
    /// Records a call. Must be called before the request is sent.
    pub fn called(&self, client: usize, operation: Operation) -> usize {
        let mut history = self.0.lock().expect("no one panics with it");
        let at = history.operations.len();
        history.operations.push(Recorded { client, operation, outcome: Outcome::Unknown });
        history.events.push(Event::Call(at));
        at
    }

    /// Records an answer. Must be called once the whole answer has arrived; an unknown outcome is not recorded as a
    /// return.
    pub fn answered(&self, at: usize, outcome: Outcome) {
        let mut history = self.0.lock().expect("no one panics with it");
        if outcome != Outcome::Unknown {
            history.operations[at].outcome = outcome;
            history.events.push(Event::Return(at));
        }
    }

    /// Removes an operation that surely had no effect.
    pub fn forget(&self, at: usize) {
        let mut history = self.0.lock().expect("no one panics with it");
        history.events.retain(|event| *event != Event::Call(at));
    }

    pub fn finish(self) -> History {
        self.0.into_inner().expect("no one panics with it")
    }
}
