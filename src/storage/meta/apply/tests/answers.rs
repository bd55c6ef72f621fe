//! Tests of forwarded changes: each is made once, the number of remembered answers is bounded, and they are the same on
//! every replica.

use super::super::{ApplyEntry, MetaTables};
use super::{create_bucket, position, put};
use crate::limits::{ANSWERS_FORGOTTEN_AT_ONCE, ANSWERS_MAX};
use crate::storage::kv::memory::MemoryKv;
use crate::storage::kv::{KvRead, Pair};
use crate::storage::meta::command::{
    Change, Command, ETagCondition, Origin, PutObject, Refusal, Reply, WriteConditions,
};
use crate::storage::meta::samples;
use crate::storage::meta::tables::{ANSWERS, TABLES};
use crate::types::UnixMs;
use std::ops::Bound;
use std::sync::Arc;

struct Forwarding {
    kv: Arc<MemoryKv>,
    tables: MetaTables,
    index: u64,
}

impl Forwarding {
    fn begin() -> Self {
        let kv = Arc::new(MemoryKv::new(TABLES));
        let tables = MetaTables::open(kv.clone()).expect("opens");
        let mut made = Self { kv, tables, index: 0 };
        made.apply(Command::new(UnixMs(1), create_bucket("photos", "someone")));
        made
    }

    fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        let entry = ApplyEntry { index: self.index, commands: vec![command] };
        let mut replies = self.tables.apply([entry], position(self.index)).expect("applies");
        replies.pop().expect("an entry has replies").pop().expect("a command has a reply")
    }

    fn answers(&self) -> u64 {
        self.kv.range(ANSWERS, Bound::Unbounded, Bound::Unbounded).count() as u64
    }
}

fn forwarded(since: u64, id: u128, change: Change) -> Command {
    Command { origin: Some(Origin { since, id }), ..Command::new(UnixMs(1), change) }
}

fn put_if_absent(key: &str, id: u128) -> Change {
    let conditions = WriteConditions { if_none_match: Some(ETagCondition::Any), ..WriteConditions::default() };
    put(PutObject { conditions, ..samples::put_empty(key, id) })
}

fn delete(key: &str) -> Change {
    samples::delete(samples::BUCKET, key)
}

#[test]
fn a_repeated_forwarded_change_gets_the_first_answer_and_changes_nothing() {
    let mut machine = Forwarding::begin();
    let winner = forwarded(1, 10, put_if_absent("key", 1));
    let loser = forwarded(1, 11, put_if_absent("key", 2));
    let won = machine.apply(winner.clone());
    assert!(matches!(won, Reply::ObjectPut { .. }));
    let lost = machine.apply(loser.clone());
    assert_eq!(lost, Reply::Refused(Refusal::PreconditionFailed));
    let gone = forwarded(2, 12, delete("key"));
    assert_eq!(machine.apply(gone.clone()), samples::deleted(true));
    assert!(matches!(machine.apply(forwarded(3, 13, put_if_absent("key", 3))), Reply::ObjectPut { .. }));
    for (command, reply) in [(winner, won), (loser, lost), (gone, samples::deleted(true))] {
        assert_eq!(machine.apply(command), reply);
    }
    let standing = machine.tables.view().object(samples::BUCKET, "key").expect("reads").expect("it stands");
    assert_eq!(standing.manifest.id.0, 3);
}

#[test]
fn a_forwarded_change_whose_answer_may_be_forgotten_is_refused() {
    let mut machine = Forwarding::begin();
    let many = ANSWERS_MAX + 2 * ANSWERS_FORGOTTEN_AT_ONCE as u64;
    machine.apply(forwarded(5, 1, delete("a key")));
    for nth in 0..many {
        machine.apply(forwarded(10 + nth, 2, delete("a key")));
        if nth % 500 == 0 || nth + 1 == many {
            assert!(machine.answers() <= ANSWERS_MAX);
        }
    }
    // A copy of a forgotten change and a change that arrives for the first time cannot be distinguished.
    for id in [1, 99] {
        let reply = machine.apply(forwarded(5, id, put_if_absent("key", id)));
        assert_eq!(reply, Reply::Refused(Refusal::Forgotten));
    }
    assert!(machine.tables.view().object(samples::BUCKET, "key").expect("reads").is_none());
    let remembered = forwarded(10 + many - 1, 2, put_if_absent("key", 7));
    assert_eq!(machine.apply(remembered), samples::deleted(false), "the answer to the change with this origin");
    assert!(matches!(machine.apply(forwarded(10 + many, 3, put_if_absent("key", 8))), Reply::ObjectPut { .. }));
}

fn rows(kv: &MemoryKv) -> Vec<Vec<Pair>> {
    let of = |&table| kv.range(table, Bound::Unbounded, Bound::Unbounded).collect::<Result<_, _>>().expect("reads");
    TABLES.iter().map(of).collect()
}

#[test]
fn forgotten_answers_do_not_depend_on_how_entries_are_batched_c6() {
    let many = ANSWERS_MAX + 700;
    let entry = |index: u64| {
        // Not in order of `since`, and some origins come twice.
        let since = index ^ 0x55;
        let id = u128::from(index / 3);
        ApplyEntry { index, commands: vec![forwarded(since, id, put_if_absent(&format!("key-{}", index % 7), id))] }
    };
    let applied = |batch: u64| {
        let kv = Arc::new(MemoryKv::new(TABLES));
        let tables = MetaTables::open(kv.clone()).expect("opens");
        let bucket = Command::new(UnixMs(1), create_bucket("photos", "someone"));
        tables.apply([ApplyEntry { index: 1, commands: vec![bucket] }], position(1)).expect("applies");
        let mut first = 2;
        while first < many {
            let end = (first + batch).min(many);
            tables.apply((first..end).map(entry), position(end)).expect("applies");
            first = end;
        }
        rows(&kv)
    };
    let (one, other) = (applied(64), applied(997));
    assert!(one == other, "replicas differ");
}
