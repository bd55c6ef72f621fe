//! The driver of several concurrent clients on few keys of a store, which records their history.

use super::history::{History, Recorder};
use super::model::{ABSENT, Operation, Outcome, Value};
use crate::harness::data::Random;
use std::sync::atomic::{AtomicU32, Ordering};

/// A store as the checker sees it. Shared by all clients.
pub trait Store: Sync {
    /// Performs an operation. Returns `None` if it surely had no effect and never will.
    fn perform(&self, client: usize, operation: &Operation) -> Option<Outcome>;
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub clients: usize,
    pub keys: usize,
    /// The most operations of each client.
    pub operations_max: usize,
    pub seed: u64,
}

/// Runs the clients until all have done their operations, or `is_over` returns true; returns the history.
pub fn drive(store: &dyn Store, plan: &Plan, is_over: &(dyn Fn() -> bool + Sync)) -> History {
    let recorder = Recorder::default();
    let values = AtomicU32::new(ABSENT + 1);
    std::thread::scope(|scope| {
        for client in 0..plan.clients {
            let (recorder, values) = (&recorder, &values);
            let random = Random::new(plan.seed.wrapping_mul(1_000_003).wrapping_add(client as u64));
            let mut one = Client { client, plan, recorder, values, random, seen: vec![ABSENT; plan.keys] };
            scope.spawn(move || {
                for _ in 0..plan.operations_max {
                    if is_over() {
                        break;
                    }
                    one.act(store);
                }
            });
        }
    });
    recorder.finish()
}

struct Client<'a> {
    client: usize,
    plan: &'a Plan,
    recorder: &'a Recorder,
    values: &'a AtomicU32,
    random: Random,
    /// The last known value of each key, for its conditions.
    seen: Vec<Value>,
}

impl Client<'_> {
    fn act(&mut self, store: &dyn Store) {
        let operation = self.choose();
        let at = self.recorder.called(self.client, operation.clone());
        match store.perform(self.client, &operation) {
            Some(outcome) => {
                self.learn(&operation, &outcome);
                self.recorder.answered(at, outcome);
            }
            None => self.recorder.forget(at),
        }
    }

    fn choose(&mut self) -> Operation {
        let key = usize::try_from(self.random.below(self.plan.keys as u64)).expect("keys are few");
        let value = self.values.fetch_add(1, Ordering::Relaxed);
        match self.random.below(20) {
            0..=4 => Operation::Put { key, value },
            5..=6 => Operation::Create { key, value },
            7..=9 if self.seen[key] != ABSENT => Operation::Replace { key, expected: self.seen[key], value },
            7..=11 => Operation::Delete { key },
            12..=17 => Operation::Get { key },
            _ => Operation::List,
        }
    }

    fn learn(&mut self, operation: &Operation, outcome: &Outcome) {
        match (operation, outcome) {
            (
                Operation::Put { key, value }
                | Operation::Create { key, value }
                | Operation::Replace { key, value, .. },
                Outcome::Done,
            ) => self.seen[*key] = *value,
            (Operation::Delete { key }, Outcome::Done) | (Operation::Replace { key, .. }, Outcome::Missing) => {
                self.seen[*key] = ABSENT;
            }
            (Operation::Get { key }, Outcome::Found(value)) => self.seen[*key] = *value,
            (Operation::List, Outcome::Listed(values)) => self.seen.clone_from(values),
            _ => {}
        }
    }
}
