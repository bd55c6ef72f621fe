//! Tests of the checker: good and bad histories made by hand, and a store in memory that is correct or breaks one
//! promise.

use super::checker::{Verdict, check};
use super::driver::{Plan, Store, drive};
use super::history::{History, Recorder};
use super::model::{ABSENT, Operation, Outcome, State, Step, Value};
use crate::harness::data::Random;
use std::sync::Mutex;

const STEPS_MAX: usize = 2_000_000;

const fn put(value: Value) -> Operation {
    Operation::Put { key: 0, value }
}

const GET: Operation = Operation::Get { key: 0 };
const DELETE: Operation = Operation::Delete { key: 0 };

/// Builds a history from an order of events: `+0` calls operation 0, `-0` answers it.
fn history(operations: &[(Operation, Outcome)], order: &str) -> History {
    let recorder = Recorder::default();
    let mut places = vec![None; operations.len()];
    for word in order.split_whitespace() {
        let at: usize = word[1..].parse().unwrap();
        let (operation, outcome) = &operations[at];
        match word.starts_with('+') {
            true => places[at] = Some(recorder.called(at, operation.clone())),
            false => recorder.answered(places[at].unwrap(), outcome.clone()),
        }
    }
    recorder.finish()
}

#[track_caller]
fn good(operations: &[(Operation, Outcome)], order: &str) {
    assert_eq!(check(&history(operations, order), 2, STEPS_MAX), Verdict::Linearizable);
}

#[track_caller]
fn bad(operations: &[(Operation, Outcome)], order: &str) {
    let verdict = check(&history(operations, order), 2, STEPS_MAX);
    assert!(matches!(verdict, Verdict::Violation(_)), "{verdict:?}");
}

use Outcome::{Done, Found, Listed, Missing, Refused, Unknown};

#[test]
fn without_overlap_a_read_must_return_the_last_write() {
    good(&[(put(1), Done), (GET, Found(1)), (DELETE, Done), (GET, Found(ABSENT))], "+0 -0 +1 -1 +2 -2 +3 -3");
    bad(&[(put(1), Done), (GET, Found(ABSENT))], "+0 -0 +1 -1");
    bad(&[(put(1), Done), (put(2), Done), (GET, Found(1))], "+0 -0 +1 -1 +2 -2");
    bad(&[(GET, Found(1)), (put(1), Done)], "+0 -0 +1 -1");
}

#[test]
fn a_deleted_object_does_not_come_back() {
    bad(&[(put(1), Done), (DELETE, Done), (GET, Found(1))], "+0 -0 +1 -1 +2 -2");
    // While the delete is under way, reads may see the object or not, but must not see it again after it was gone.
    let reads =
        |first, second| [(put(1), Done), (DELETE, Done), (GET, Found(first)), (GET, Found(second)), (GET, Found(0))];
    good(&reads(1, ABSENT), "+0 -0 +1 +2 -2 +3 -3 -1 +4 -4");
    bad(&reads(ABSENT, 1), "+0 -0 +1 +2 -2 +3 -3 -1 +4 -4");
}

#[test]
fn overlapping_operations_may_have_any_order_that_all_reads_agree_on() {
    let reads = |first, second| [(put(1), Done), (put(2), Done), (GET, Found(first)), (GET, Found(second))];
    good(&reads(1, 2), "+0 +1 +2 -2 +3 -3 -0 -1");
    good(&reads(2, 1), "+0 +1 +2 -2 +3 -3 -0 -1");
    good(&reads(2, 2), "+0 +1 -1 -0 +2 -2 +3 -3");
    bad(&reads(1, 2), "+0 +1 -1 -0 +2 -2 +3 -3");
}

#[test]
fn a_delete_that_overlaps_a_put_may_be_before_or_after_it() {
    good(&[(put(1), Done), (DELETE, Done), (GET, Found(ABSENT))], "+1 +0 -0 -1 +2 -2");
    good(&[(put(1), Done), (DELETE, Done), (GET, Found(1))], "+1 +0 -0 -1 +2 -2");
}

#[test]
fn a_write_of_unknown_outcome_takes_effect_at_most_once_at_any_time() {
    let reads = |first, second, third| {
        [(put(1), Unknown), (put(2), Done), (GET, Found(first)), (GET, Found(second)), (GET, Found(third))]
    };
    let order = "+0 +1 -1 +2 -2 +3 -3 +4 -4";
    good(&reads(2, 2, 2), order);
    good(&reads(2, 2, 1), order);
    good(&reads(1, 1, 1), order);
    bad(&reads(1, 2, 1), order);
    bad(&reads(2, 1, 2), order);
    bad(&[(GET, Found(1)), (put(1), Unknown)], "+0 -0 +1");
    good(&[(put(1), Done), (DELETE, Unknown), (GET, Found(1)), (GET, Found(ABSENT))], "+0 -0 +1 +2 -2 +3 -3");
}

#[test]
fn conditional_writes_must_fit_the_state() {
    let create = |value| Operation::Create { key: 0, value };
    let replace = |expected, value| Operation::Replace { key: 0, expected, value };
    good(&[(create(1), Done), (create(2), Refused), (replace(1, 3), Done)], "+0 +1 -1 -0 +2 -2");
    bad(&[(create(1), Done), (create(2), Done)], "+0 +1 -1 -0");
    bad(&[(create(1), Refused), (GET, Found(ABSENT))], "+0 -0 +1 -1");
    bad(&[(put(1), Done), (replace(1, 2), Done), (replace(1, 3), Done)], "+0 -0 +1 +2 -1 -2");
    good(&[(put(1), Done), (replace(1, 2), Done), (replace(1, 3), Refused)], "+0 -0 +1 +2 -1 -2");
    bad(&[(put(1), Done), (replace(1, 2), Refused)], "+0 -0 +1 -1");
    bad(&[(put(1), Done), (replace(1, 2), Missing)], "+0 -0 +1 -1");
    good(&[(replace(1, 2), Missing)], "+0 -0");
    good(&[(create(1), Unknown), (create(2), Refused), (GET, Found(1))], "+0 +1 -1 +2 -2");
}

#[test]
fn a_listing_must_be_one_atomic_read_of_all_keys() {
    let other = |value| Operation::Put { key: 1, value };
    let list = |a, b| (Operation::List, Listed(vec![a, b]));
    good(&[(put(1), Done), (other(2), Done), list(1, 0), list(1, 2)], "+0 +1 +2 -2 +3 -3 -0 -1");
    // Each key alone is linearizable; both listings together are not.
    bad(&[(put(1), Done), (other(2), Done), list(1, 0), list(0, 2)], "+0 +1 +2 +3 -2 -3 -0 -1");
    bad(&[(put(1), Done), list(0, 0)], "+0 -0 +1 -1");
}

#[test]
fn a_search_that_reaches_its_bound_is_undecided() {
    let operations: Vec<_> = (1..30).map(|value| (put(value), Done)).collect();
    let calls: String = (0..29).map(|at| format!("+{at} ")).collect();
    let answers: String = (0..29).map(|at| format!("-{at} ")).collect();
    assert_eq!(check(&history(&operations, &(calls + &answers)), 1, 1000), Verdict::Undecided);
}

#[test]
fn a_history_too_large_for_all_keys_is_judged_by_pairs() {
    let mut operations: Vec<_> =
        (0..12).map(|at| (Operation::Put { key: at / 4, value: at as Value + 1 }, Done)).collect();
    let last = |key, value| (Operation::Put { key, value }, Done);
    let list = |values: [Value; 3]| (Operation::List, Listed(values.to_vec()));
    let calls: String = (0..12).map(|at| format!("+{at} ")).collect();
    let answers: String = (0..12).map(|at| format!("-{at} ")).collect();
    let order = calls + &answers + "+12 +13 +14 +15 -14 -15 -12 -13";
    operations.extend([last(0, 21), last(1, 22), list([21, 5, 9]), list([21, 22, 9])]);
    assert_eq!(check(&history(&operations, &order), 3, 5000), Verdict::LinearizableByPairs);
    operations[15] = list([1, 22, 9]);
    let torn = check(&history(&operations, &order), 3, 5000);
    assert!(matches!(&torn, Verdict::Violation(why) if why.starts_with("keys [0, 1]")), "{torn:?}");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breach {
    None,
    /// Answers may be lost; the operation takes effect at once, later or never. This is allowed.
    LosesAnswers,
    ReadsAreStale,
    WritesAreLost,
    DeletesComeBack,
    ListsAreTorn,
    CreatesAreBlind,
    ReplacesAreBlind,
    /// An answered write takes effect a second time.
    WritesHappenTwice,
}

struct Memory {
    breach: Breach,
    held: Mutex<Held>,
}

struct Held {
    state: State,
    before: State,
    late: Vec<Operation>,
    random: Random,
}

impl Memory {
    fn new(breach: Breach, keys: usize, seed: u64) -> Self {
        let state: State = vec![ABSENT; keys].into();
        let held = Held { before: state.clone(), state, late: Vec::new(), random: Random::new(seed) };
        Self { breach, held: Mutex::new(held) }
    }
}

impl Held {
    fn execute(&mut self, operation: &Operation) -> Outcome {
        let outcomes = [
            Done,
            Refused,
            Missing,
            Listed(self.state.to_vec()),
            Found(operation.key().map_or(ABSENT, |key| self.state[key])),
        ];
        for outcome in outcomes {
            match operation.step(&self.state, &outcome) {
                Step::Impossible => {}
                Step::Read => return outcome,
                Step::Changed(state) => {
                    self.before = std::mem::replace(&mut self.state, state);
                    return outcome;
                }
            }
        }
        panic!("{operation:?} has no outcome");
    }

    /// Executes an operation that was delayed by the breach.
    fn late_effects(&mut self) {
        if !self.late.is_empty() && self.random.below(4) == 0 {
            let late = self.late.remove(0);
            self.execute(&late);
        }
    }

    fn perform(&mut self, breach: Breach, operation: &Operation) -> Outcome {
        self.late_effects();
        let strikes = self.random.below(12) == 0;
        match (breach, operation) {
            (Breach::LosesAnswers, _) if strikes => {
                match self.random.below(3) {
                    0 => drop(self.execute(operation)),
                    1 => self.late.push(operation.clone()),
                    _ => {}
                }
                Unknown
            }
            (Breach::ReadsAreStale, Operation::Get { key }) if strikes => Found(self.before[*key]),
            (Breach::WritesAreLost, Operation::Put { .. }) if strikes => Done,
            (Breach::DeletesComeBack, Operation::Delete { key }) if strikes && self.state[*key] != ABSENT => {
                self.late.push(Operation::Put { key: *key, value: self.state[*key] });
                self.execute(operation)
            }
            (Breach::WritesHappenTwice, Operation::Put { .. }) if strikes => {
                self.late.push(operation.clone());
                self.execute(operation)
            }
            (Breach::CreatesAreBlind, Operation::Create { key, value })
            | (Breach::ReplacesAreBlind, Operation::Replace { key, value, .. }) => {
                self.execute(&Operation::Put { key: *key, value: *value })
            }
            _ => self.execute(operation),
        }
    }
}

impl Store for Memory {
    fn perform(&self, _client: usize, operation: &Operation) -> Option<Outcome> {
        std::thread::yield_now();
        if self.breach == Breach::ListsAreTorn && *operation == Operation::List {
            let first = self.held.lock().unwrap().state.clone();
            std::thread::sleep(std::time::Duration::from_millis(1));
            let mut torn = self.held.lock().unwrap().state.clone();
            let half = torn.len() / 2;
            torn[..half].copy_from_slice(&first[..half]);
            return Some(Listed(torn.to_vec()));
        }
        let outcome = self.held.lock().unwrap().perform(self.breach, operation);
        // Answers are delayed, so that operations overlap.
        std::thread::sleep(std::time::Duration::from_micros(200));
        Some(outcome)
    }
}

fn verdict_of(breach: Breach, seed: u64) -> Verdict {
    let plan = Plan { clients: 5, keys: 3, operations_max: 80, seed };
    let history = drive(&Memory::new(breach, plan.keys, seed), &plan, &|| false);
    assert!(history.operations.len() >= 300);
    check(&history, plan.keys, STEPS_MAX)
}

#[test]
fn an_honest_store_is_accepted() {
    // On a busy machine more operations overlap, and the search of a whole history may take too many steps.
    let is_accepted = |verdict| matches!(verdict, Verdict::Linearizable | Verdict::LinearizableByPairs);
    for seed in 1..=5 {
        assert!(is_accepted(verdict_of(Breach::None, seed)), "seed {seed}");
        assert!(is_accepted(verdict_of(Breach::LosesAnswers, seed)), "seed {seed}");
    }
}

#[test]
fn a_store_that_breaks_a_promise_is_rejected() {
    let breaches = [
        Breach::ReadsAreStale,
        Breach::WritesAreLost,
        Breach::DeletesComeBack,
        Breach::ListsAreTorn,
        Breach::CreatesAreBlind,
        Breach::ReplacesAreBlind,
        Breach::WritesHappenTwice,
    ];
    for breach in breaches {
        let caught = (1..=10).any(|seed| matches!(verdict_of(breach, seed), Verdict::Violation(_)));
        assert!(caught, "{breach:?} was never noticed");
    }
}
