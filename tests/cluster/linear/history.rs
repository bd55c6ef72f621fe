//! A history: operations with the order in which they were called and answered.

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

/// Events name operations by their place. One without a return is unknown.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub operations: Vec<Recorded>,
    pub events: Vec<Event>,
}

impl History {
    /// The part that concerns these keys, which are then the only ones, numbered in their order.
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

    /// Operations that were called, without those that were forgotten; and how many of them are unknown.
    pub fn counts(&self) -> (usize, usize) {
        let calls = self.events.iter().filter_map(|event| match event {
            Event::Call(at) => Some(&self.operations[*at]),
            Event::Return(_) => None,
        });
        calls.fold((0, 0), |(all, unknown), recorded| {
            (all + 1, unknown + usize::from(recorded.outcome == Outcome::Unknown))
        })
    }

    /// Its events up to and with one, the last first, for who has to understand a failure.
    pub fn words_before(&self, event: usize, count: usize) -> String {
        let first = event.saturating_sub(count);
        let words = self.events[first..=event].iter().rev().map(|event| match *event {
            Event::Call(at) => format!("{at:>6} called   {:?}\n", self.operations[at]),
            Event::Return(at) => format!("{at:>6} answered {:?}\n", self.operations[at]),
        });
        words.collect()
    }
}

/// Records what several threads do. What is called before another is answered overlaps with it.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<History>);

impl Recorder {
    /// To be called before the request is sent.
    pub fn called(&self, client: usize, operation: Operation) -> usize {
        let mut history = self.0.lock().expect("no one panics with it");
        let at = history.operations.len();
        history.operations.push(Recorded { client, operation, outcome: Outcome::Unknown });
        history.events.push(Event::Call(at));
        at
    }

    /// To be called when the whole answer is there; an unknown outcome has no return.
    pub fn answered(&self, at: usize, outcome: Outcome) {
        let mut history = self.0.lock().expect("no one panics with it");
        if outcome != Outcome::Unknown {
            history.operations[at].outcome = outcome;
            history.events.push(Event::Return(at));
        }
    }

    /// The operation surely had no effect: it is as if it had never been called.
    pub fn forget(&self, at: usize) {
        let mut history = self.0.lock().expect("no one panics with it");
        history.events.retain(|event| *event != Event::Call(at));
    }

    pub fn finish(self) -> History {
        self.0.into_inner().expect("no one panics with it")
    }
}
