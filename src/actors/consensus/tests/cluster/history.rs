//! Histories of what clients did to one key, and whether they could have happened one after the other: each operation at
//! some moment between its begin and its end. One whose outcome is unknown happened at any moment after its begin, or never.

use std::collections::BTreeSet;

/// The action of a client; the value under a key is an id, or none.
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
    /// A put if there is nothing; whether it was made is known or not.
    PutIfAbsent {
        id: u128,
        made: Option<bool>,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub action: Action,
    pub begin: u64,
    /// `None` where the outcome is not known.
    pub end: Option<u64>,
}

impl Action {
    /// Returns the value after the action, if it is possible with `value`.
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

/// Searches an order, one operation after the other, never the same situation twice (Wing and Gong; Lowe).
pub fn is_linearizable(history: &[Operation]) -> bool {
    let count = history.len();
    let mut order: Vec<&Operation> = history.iter().collect();
    order.sort_by_key(|operation| operation.begin);
    let mut seen: BTreeSet<(Vec<u64>, Option<u128>)> = BTreeSet::new();
    let mut open = vec![(vec![0_u64; count.div_ceil(64)], None)];
    while let Some((done, value)) = open.pop() {
        let is_done = |nth: usize| done[nth / 64] & (1 << (nth % 64)) != 0;
        let left = || (0..count).filter(|nth| !is_done(*nth));
        // Whoever begins after the first of the others has ended cannot be next.
        let Some(first_end) = left().filter_map(|nth| order[nth].end).min() else { return true };
        // What is known to have happened is tried first, the earliest before all: most histories are in order.
        let mut candidates: Vec<usize> = left().take_while(|nth| order[*nth].begin <= first_end).collect();
        candidates.sort_by_key(|nth| (order[*nth].end.is_some(), std::cmp::Reverse(order[*nth].end)));
        for nth in candidates {
            let Some(after) = order[nth].action.step(value) else { continue };
            let mut next = done.clone();
            next[nth / 64] |= 1 << (nth % 64);
            if seen.insert((next.clone(), after)) {
                open.push((next, after));
            }
        }
    }
    false
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
fn histories_that_could_have_happened_pass() {
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
fn planted_violations_are_found() {
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
