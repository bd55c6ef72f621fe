//! The checker of linearizability: searches for an order of the operations, consistent with the order of their calls
//! and answers, in which a sequential store would have given the same answers.
//!
//! The algorithm is that of Wing and Gong (1993) in Lowe's just-in-time form (2017). A configuration is a state, and
//! the set of open operations that have taken effect. At each answer, every configuration is extended to all those in
//! which the answered operation has taken effect; the history is linearizable while a configuration is left. Two
//! reductions lose no order: an operation that changes nothing takes effect as soon as it can, and of configurations
//! that differ only in operations of unknown outcome, those that used fewer of them are kept. Linearizability is local
//! (Herlihy and Wing 1990), so keys are checked separately, with a listing as a read of each key; then all keys
//! together, with a listing as one read of all.

use super::history::{Event, History};
use super::model::{ABSENT, Operation, Outcome, State, Step};
use std::collections::{HashMap, HashSet};

/// The most operations that are open at once, including those of unknown outcome.
const OPEN_MAX: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// Each key is linearizable, and so is each pair of keys with the listings. The search over all keys reached its
    /// bound.
    LinearizableByPairs,
    /// No order explains the history; with its last events.
    Violation(String),
    /// The search reached its bound.
    Undecided,
}

/// Checks a history: each key alone, then all keys together, and if that takes too long, each pair of keys. `steps_max`
/// bounds each search.
pub fn check(history: &History, keys: usize, steps_max: usize) -> Verdict {
    let keys: Vec<usize> = (0..keys).collect();
    let of_each = check_parts(history, keys.iter().map(|&key| vec![key]), steps_max);
    if of_each != Verdict::Linearizable || !history.has_lists() || keys.len() < 2 {
        return of_each;
    }
    match check_parts(history, std::iter::once(keys.clone()), steps_max) {
        Verdict::Undecided => {
            let pairs = keys.iter().flat_map(|&one| keys[one + 1..].iter().map(move |&other| vec![one, other]));
            match check_parts(history, pairs, steps_max) {
                Verdict::Linearizable => Verdict::LinearizableByPairs,
                other => other,
            }
        }
        decided => decided,
    }
}

/// Checks the history restricted to each of these sets of keys; returns the first violation, else whether all were
/// decided.
fn check_parts(history: &History, parts: impl Iterator<Item = Vec<usize>>, steps_max: usize) -> Verdict {
    let mut verdict = Verdict::Linearizable;
    for keys in parts {
        match Search::new(&history.of_keys(&keys), keys.len(), steps_max).run() {
            Verdict::Violation(why) => return Verdict::Violation(format!("keys {keys:?}: {why}")),
            Verdict::Undecided => verdict = Verdict::Undecided,
            Verdict::Linearizable | Verdict::LinearizableByPairs => {}
        }
    }
    verdict
}

/// The key of the operation of unknown outcome that took effect last, while no operation has observed it.
type Unseen = Option<usize>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Configuration {
    state: State,
    /// The bit set of the slots whose open operations have taken effect.
    taken: u128,
}

struct Search<'a> {
    history: &'a History,
    /// The open operation in each slot; its bit in `taken` is that of the slot.
    slots: Vec<Option<usize>>,
    slot_of: Vec<usize>,
    configurations: HashSet<Configuration>,
    steps_left: usize,
}

impl<'a> Search<'a> {
    fn new(history: &'a History, keys: usize, steps_max: usize) -> Self {
        let start = Configuration { state: vec![ABSENT; keys].into(), taken: 0 };
        Self {
            history,
            slots: vec![None; OPEN_MAX],
            slot_of: vec![usize::MAX; history.operations.len()],
            configurations: HashSet::from([start]),
            steps_left: steps_max,
        }
    }

    fn run(mut self) -> Verdict {
        for (at, event) in self.history.events.iter().enumerate() {
            let is_decided = match *event {
                Event::Call(operation) => self.open(operation),
                Event::Return(operation) => self.close(operation),
            };
            if !is_decided {
                return Verdict::Undecided;
            }
            if self.configurations.is_empty() {
                return Verdict::Violation(format!("no order explains\n{}", self.history.words_before(at, 40)));
            }
        }
        Verdict::Linearizable
    }

    fn is_unknown(&self, operation: usize) -> bool {
        self.history.operations[operation].outcome == Outcome::Unknown
    }

    fn open(&mut self, operation: usize) -> bool {
        if self.is_unknown(operation) && self.history.operations[operation].operation.is_read() {
            return true;
        }
        let Some(slot) = self.slots.iter().position(Option::is_none) else { return false };
        self.slots[slot] = Some(operation);
        self.slot_of[operation] = slot;
        let configurations = std::mem::take(&mut self.configurations);
        self.configurations = configurations.into_iter().map(|configuration| self.with_reads(configuration)).collect();
        true
    }

    /// Returns the configuration after all open operations that change nothing and whose outcome fits the state.
    fn with_reads(&self, mut configuration: Configuration) -> Configuration {
        for (bit, operation) in self.open_in(configuration.taken) {
            let recorded = &self.history.operations[operation];
            if let Step::Read = recorded.operation.step(&configuration.state, &recorded.outcome) {
                configuration.taken |= bit;
            }
        }
        configuration
    }

    /// Returns the open operations that have not taken effect, each with its bit.
    fn open_in(&self, taken: u128) -> impl Iterator<Item = (u128, usize)> + '_ {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(move |(slot, held)| held.filter(|_| taken & (1 << slot) == 0).map(|held| (1 << slot, held)))
    }

    fn close(&mut self, operation: usize) -> bool {
        let slot = self.slot_of[operation];
        let own = 1u128 << slot;
        let mut visited = HashSet::new();
        let mut reached = Vec::new();
        let mut stack: Vec<(Configuration, Unseen)> =
            self.configurations.drain().map(|configuration| (configuration, None)).collect();
        while let Some((configuration, unseen)) = stack.pop() {
            if configuration.taken & own != 0 {
                reached.push(Configuration { taken: configuration.taken & !own, ..configuration });
                continue;
            }
            if !visited.insert((configuration.clone(), unseen)) {
                continue;
            }
            let Some(left) = self.steps_left.checked_sub(1) else { return false };
            self.steps_left = left;
            for (bit, next) in self.open_in(configuration.taken) {
                let recorded = &self.history.operations[next];
                if !self.is_worthwhile(next, unseen) {
                    continue;
                }
                if let Step::Changed(state) = recorded.operation.step(&configuration.state, &recorded.outcome) {
                    let taken = configuration.taken | bit;
                    let after = self.with_reads(Configuration { state, taken });
                    let is_seen = after.taken != taken || !self.is_unknown(next);
                    stack.push((after, recorded.operation.key().filter(|_| !is_seen)));
                }
            }
        }
        self.slots[slot] = None;
        self.configurations = self.frugal(reached);
        true
    }

    /// Returns true if `next` may follow. An operation of unknown outcome that nothing observes before the next write
    /// of its key might as well not have happened. So after one that is not observed yet, only operations that depend
    /// on it follow, or another one of unknown outcome on a greater key, for a listing that observes both.
    fn is_worthwhile(&self, next: usize, unseen: Unseen) -> bool {
        let Some(unseen) = unseen else { return true };
        let operation = &self.history.operations[next].operation;
        match operation.key() {
            Some(key) if key == unseen => matches!(operation, Operation::Create { .. } | Operation::Replace { .. }),
            Some(key) => key > unseen && self.is_unknown(next),
            None => false,
        }
    }

    /// Drops each configuration that used more operations of unknown outcome than another one that is equal otherwise.
    fn frugal(&self, reached: Vec<Configuration>) -> HashSet<Configuration> {
        let unknown = self.slots.iter().enumerate().filter(|(_, held)| held.is_some_and(|held| self.is_unknown(held)));
        let unknown = unknown.fold(0u128, |mask, (slot, _)| mask | 1 << slot);
        let mut alike: HashMap<(State, u128), Vec<u128>> = HashMap::new();
        for Configuration { state, taken } in reached {
            let spent = taken & unknown;
            let least = alike.entry((state, taken & !unknown)).or_default();
            if !least.iter().any(|less| less & !spent == 0) {
                least.retain(|more| spent & !more != 0);
                least.push(spent);
            }
        }
        let each = |((state, known), spent): ((State, u128), Vec<u128>)| {
            spent.into_iter().map(move |spent| Configuration { state: state.clone(), taken: known | spent })
        };
        alike.into_iter().flat_map(each).collect()
    }
}
