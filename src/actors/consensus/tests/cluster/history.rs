//! A checker of linearizability for the operations of clients on one key: is there an order in which each operation
//! takes effect at one moment between its begin and its end? An operation of unknown outcome took effect at any moment
//! after its begin, or never.

use std::collections::BTreeSet;

/// The action of a client. The value under a key is an id, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Get {
        found: Option<u128>,
    },
    Put {
        id: u128,
    },
    Delete {
        existed: Option<bool>,
    },
    /// A put that takes effect only if the key has no value; `made` is `None` if the outcome is not known.
    PutIfAbsent {
        id: u128,
        made: Option<bool>,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub action: Action,
    pub begin: u64,
    /// `None` if the outcome is not known.
    pub end: Option<u64>,
}

impl Action {
    /// Returns the value after the action; `None` if the action is impossible with `value` before it.
    fn step(self, value: Option<u128>) -> Option<Option<u128>> {
        match self {
            Self::Get { found } => (found == value).then_some(value),
            Self::Put { id } => Some(Some(id)),
            Self::Delete { existed } => existed.is_none_or(|existed| existed == value.is_some()).then_some(None),
            Self::PutIfAbsent { id, made } => {
                let makes = value.is_none();
                made.is_none_or(|made| made == makes).then_some(if makes { Some(id) } else { value })
            }
        }
    }
}

/// The operations of a history that constrain it, by their begin.
struct Search<'a> {
    order: Vec<&'a Operation>,
    /// The ids that reads found.
    read: BTreeSet<u128>,
}

/// A state of the search: the operations that are done, one bit each, and the value after them.
type Situation = (Vec<u64>, Option<u128>);

fn is_done(done: &[u64], nth: usize) -> bool {
    done[nth / 64] & (1 << (nth % 64)) != 0
}

/// Returns whether a history is linearizable. Tries orders one operation after the other, and no situation twice (the
/// algorithm of Wing and Gong, with Lowe's memoisation).
pub fn is_linearizable(history: &[Operation]) -> bool {
    // A read of unknown outcome constrains nothing.
    let says = |operation: &&Operation| operation.end.is_some() || !matches!(operation.action, Action::Get { .. });
    let mut order: Vec<&Operation> = history.iter().filter(says).collect();
    order.sort_by_key(|operation| operation.begin);
    let found = |operation: &&Operation| match operation.action {
        Action::Get { found } => found,
        _ => None,
    };
    let search = Search { read: order.iter().filter_map(found).collect(), order };
    let mut seen: BTreeSet<Situation> = BTreeSet::new();
    let mut open = vec![(vec![0_u64; search.order.len().div_ceil(64)], None)];
    while let Some(situation) = open.pop() {
        let Some(next) = search.next(&situation) else { return true };
        open.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
    }
    false
}

impl Search<'_> {
    /// Returns the situations that may follow, the most promising last; `None` if every operation of known outcome is
    /// done.
    fn next(&self, (done, value): &Situation) -> Option<Vec<Situation>> {
        let left = || (0..self.order.len()).filter(|nth| !is_done(done, *nth));
        // An operation that begins after another one has ended cannot come before that one.
        let first_end = left().filter_map(|nth| self.order[nth].end).min()?;
        let may_be_next = || left().take_while(|nth| self.order[*nth].begin <= first_end);
        let (mut known, unknown): (Vec<usize>, Vec<usize>) =
            may_be_next().partition(|nth| self.order[*nth].end.is_some());
        let step = |nth: usize| self.order[nth].action.step(*value);
        let after = |chain: &[usize]| {
            let (mut next, mut value) = (done.clone(), *value);
            for &nth in chain {
                next[nth / 64] |= 1 << (nth % 64);
                value = self.order[nth].action.step(value).expect("it is possible here");
            }
            (next, value)
        };
        // An operation that changes nothing may as well be done at once.
        if let Some(&idle) = known.iter().find(|nth| step(**nth) == Some(*value)) {
            return Some(vec![after(&[idle])]);
        }
        // The operation that ends first is tried first: most histories took effect in that order.
        known.sort_by_key(|nth| std::cmp::Reverse(self.order[*nth].end));
        let mut next = Vec::new();
        for nth in known {
            match step(nth) {
                Some(_) => next.push(after(&[nth])),
                None => next.extend(self.enabling(&unknown, *value, nth).into_iter().map(|mut chain| {
                    chain.push(nth);
                    after(&chain)
                })),
            }
        }
        Some(next)
    }

    /// Returns chains of operations of unknown outcome after which the operation `nth`, impossible with this value, is
    /// possible. Operations of unknown outcome are only ever done for that. Of several equivalent chains one is
    /// returned.
    fn enabling(&self, unknown: &[usize], value: Option<u128>, nth: usize) -> Vec<Vec<usize>> {
        let action = |nth: &usize| self.order[*nth].action;
        let deletes = unknown.iter().copied().find(|nth| matches!(action(nth), Action::Delete { .. }));
        let made = |nth: &usize| match action(nth) {
            Action::Put { id } | Action::PutIfAbsent { id, .. } => Some(id),
            Action::Get { .. } | Action::Delete { .. } => None,
        };
        match action(&nth) {
            Action::Get { found: Some(wanted) } => {
                let maker = unknown.iter().copied().find(|nth| made(nth) == Some(wanted));
                let Some(maker) = maker else { return Vec::new() };
                match (action(&maker), value) {
                    (Action::PutIfAbsent { .. }, Some(_)) => {
                        deletes.map(|first| vec![first, maker]).into_iter().collect()
                    }
                    _ => vec![vec![maker]],
                }
            }
            Action::Delete { existed: Some(true) } | Action::PutIfAbsent { made: Some(false), .. } => {
                let makers = || unknown.iter().copied().filter(|nth| made(nth).is_some());
                let is_read = |nth: &usize| made(nth).is_some_and(|id| self.read.contains(&id));
                let spare = makers().find(|nth| !is_read(nth));
                makers().filter(is_read).chain(spare).map(|maker| vec![maker]).collect()
            }
            _ => deletes.map(|first| vec![first]).into_iter().collect(),
        }
    }
}

fn op(begin: u64, end: u64, action: Action) -> Operation {
    Operation { action, begin, end: Some(end) }
}

fn unknown(begin: u64, action: Action) -> Operation {
    Operation { action, begin, end: None }
}

fn get(begin: u64, end: u64, found: Option<u128>) -> Operation {
    op(begin, end, Action::Get { found })
}

#[test]
fn the_history_checker_accepts_linearizable_histories() {
    let put = |begin, end, id| op(begin, end, Action::Put { id });
    assert!(is_linearizable(&[]));
    assert!(is_linearizable(&[put(0, 1, 1), get(2, 3, Some(1))]));
    assert!(is_linearizable(&[put(0, 10, 1), get(1, 2, None), get(3, 4, Some(1))]));
    assert!(is_linearizable(&[unknown(0, Action::Put { id: 1 }), get(1, 2, None), get(5, 6, Some(1))]));
    let delete = |begin, end, existed| op(begin, end, Action::Delete { existed: Some(existed) });
    assert!(is_linearizable(&[put(0, 1, 1), delete(2, 8, true), delete(3, 9, false), get(10, 11, None)]));
    let race = |id, made| op(0, 9, Action::PutIfAbsent { id, made: Some(made) });
    assert!(is_linearizable(&[race(1, true), race(2, false), get(10, 11, Some(1))]));
}

#[test]
fn the_history_checker_rejects_histories_that_are_not_linearizable() {
    let put = |begin, end, id| op(begin, end, Action::Put { id });
    let delete = |begin, end, existed| op(begin, end, Action::Delete { existed: Some(existed) });
    let stale_read = [put(0, 1, 1), put(2, 3, 2), get(4, 5, Some(1))];
    let deleted_key_back = [put(0, 1, 1), delete(2, 3, true), get(4, 5, None), get(6, 7, Some(1))];
    let lost_write = [put(0, 1, 1), get(2, 3, None)];
    let read_back_and_forth = [put(0, 20, 1), get(1, 2, Some(1)), get(3, 4, None)];
    let two_winners = [
        op(0, 9, Action::PutIfAbsent { id: 1, made: Some(true) }),
        op(0, 9, Action::PutIfAbsent { id: 2, made: Some(true) }),
    ];
    let winner_refused = [op(0, 9, Action::PutIfAbsent { id: 1, made: Some(false) }), get(10, 11, Some(1))];
    let deleted_twice = [put(0, 1, 1), delete(2, 3, true), delete(4, 5, true)];
    let from_nowhere = [get(0, 1, Some(7)), unknown(2, Action::Put { id: 7 })];
    let histories: [&[Operation]; 8] = [
        &stale_read,
        &deleted_key_back,
        &lost_write,
        &read_back_and_forth,
        &two_winners,
        &winner_refused,
        &deleted_twice,
        &from_nowhere,
    ];
    for history in histories {
        assert!(!is_linearizable(history), "{history:?}");
    }
}
