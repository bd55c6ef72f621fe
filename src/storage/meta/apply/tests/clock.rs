//! Tests of the confirmed time: how it advances, and that locks end by it alone.

use super::super::{ApplyEntry, MetaTables};
use super::{create_bucket, position};
use crate::storage::kv::memory::MemoryKv;
use crate::storage::meta::command::{
    Change, ChangeTraits, Command, DeleteConditions, DeleteVersion, LogTime, PutObject, Refusal, Reply, TraitsChange,
};
use crate::storage::meta::record::{
    AdvanceClock, ClockRecord, ClockSource, ObjectLock, Pick, QuotaChange, Retention, RetentionMode, Traits, Versioning,
};
use crate::storage::meta::samples::{BUCKET, put_empty};
use crate::storage::meta::tables::TABLES;
use crate::types::UnixMs;
use std::sync::Arc;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
const START: u64 = 1_700_000_000_000;

/// A version that is locked for 30 days from the start.
struct Locked {
    tables: MetaTables,
    index: u64,
    version: Pick,
}

impl Locked {
    fn new() -> Self {
        let tables = MetaTables::open(Arc::new(MemoryKv::new(TABLES))).expect("opens");
        let mut made = Self { tables, index: 0, version: Pick::Current };
        made.advance(START, 0, ClockSource::Hosts);
        made.at(START, START, create_bucket("photos", "someone"));
        let versioning = Some(Versioning::Enabled);
        made.at(
            START,
            START,
            Change::SetBucket {
                bucket: BUCKET,
                versioning,
                lock: Some(ObjectLock::default()),
                quota: QuotaChange::default(),
            },
        );
        let retention = Some(Retention { mode: RetentionMode::Compliance, until: UnixMs(START + 30 * DAY) });
        let traits = Traits { retention, ..Traits::default() };
        let put = PutObject { traits, ..put_empty("key", 1) };
        match made.at(START, START, Change::PutObject(Box::new(put))) {
            Reply::ObjectPut { object } => made.version = object.version.pick(),
            other => panic!("not put: {other:?}"),
        }
        made
    }

    fn at(&mut self, now: u64, confirmed: u64, change: Change) -> Reply {
        self.index += 1;
        let time = LogTime { now: UnixMs(now), confirmed: UnixMs(confirmed) };
        let entry = ApplyEntry { index: self.index, commands: vec![Command::at(time, change)] };
        let mut replies = self.tables.apply([entry], position(self.index)).expect("applies");
        replies.remove(0).remove(0)
    }

    fn advance(&mut self, to: u64, era: u64, by: ClockSource) {
        let advance = AdvanceClock { to: UnixMs(to), era, by };
        assert_eq!(self.at(START, START, Change::AdvanceClock(advance)), Reply::Done);
    }

    fn deletion(&self) -> Change {
        let delete = DeleteVersion {
            key: "key".to_owned(),
            pick: self.version,
            conditions: DeleteConditions::default(),
            owner: String::new(),
            salt: 0,
            bypass_governance: true,
            event: None,
        };
        Change::DeleteVersions { bucket: BUCKET, deletes: vec![delete] }
    }

    fn unlocking(&self) -> Change {
        let to = TraitsChange::Retention { retention: None, bypass_governance: true };
        let key = "key".to_owned();
        let change = ChangeTraits { bucket: BUCKET, key, pick: self.version, manifest: None, to, event: None };
        Change::ChangeTraits(Box::new(change))
    }

    fn is_locked(&mut self, now: u64, confirmed: u64) -> bool {
        let unlocked = self.at(now, confirmed, self.unlocking());
        let deleted = self.at(now, confirmed, self.deletion());
        let locked = matches!(&deleted, Reply::VersionsDeleted(outcomes) if outcomes[..] == [Err(Refusal::Locked)]);
        assert_eq!(locked, unlocked == Reply::Refused(Refusal::Locked));
        locked
    }

    fn clock(&self) -> ClockRecord {
        self.tables.view().clock().expect("reads").expect("it is there")
    }
}

#[test]
fn a_lock_does_not_end_by_the_date_or_by_unconfirmed_time() {
    let mut store = Locked::new();
    assert!(store.is_locked(START + 60 * DAY, START), "by the date alone");
    assert!(store.is_locked(START + 60 * DAY, START + 60 * DAY), "a command advances the time by an hour at most");
    assert!(store.is_locked(START + 60 * DAY, START + 61 * MINUTE));
    assert_eq!(store.clock().confirmed, UnixMs(START));
    assert!(store.is_locked(START, START + 59 * MINUTE));
    assert_eq!(store.clock().confirmed, UnixMs(START + 59 * MINUTE));
    assert!(store.is_locked(START, START), "it does not go back");
    assert_eq!(store.clock().confirmed, UnixMs(START + 59 * MINUTE));
}

#[test]
fn a_lock_ends_when_the_confirmed_time_reaches_its_end() {
    for by in [ClockSource::Counted, ClockSource::Hosts, ClockSource::Operator] {
        let mut store = Locked::new();
        store.advance(START + 30 * DAY - 1, 0, by);
        assert!(store.is_locked(START + 60 * DAY, START), "{by:?}");
        assert!(!store.is_locked(START, START + 30 * DAY), "{by:?}");
    }
}

#[test]
fn time_counted_before_an_operator_set_the_clock_has_no_effect() {
    let mut store = Locked::new();
    store.advance(START + 10 * DAY, 0, ClockSource::Counted);
    store.advance(START + DAY, 0, ClockSource::Operator);
    for by in [ClockSource::Counted, ClockSource::Hosts] {
        store.advance(START + 40 * DAY, 0, by);
    }
    assert!(store.is_locked(START + 40 * DAY, START + 40 * DAY));
    let clock = store.clock();
    assert_eq!((clock.confirmed, clock.era), (UnixMs(START + DAY), 1));
    assert_eq!((clock.set.from, clock.set.by), (UnixMs(START + 10 * DAY), ClockSource::Operator));
    store.advance(START + 2 * DAY, 1, ClockSource::Counted);
    assert_eq!(store.clock().confirmed, UnixMs(START + 2 * DAY));
}

#[test]
fn a_clock_that_an_operator_set_back_is_not_advanced_by_commands_of_the_era_before() {
    let mut store = Locked::new();
    store.advance(START + DAY, 0, ClockSource::Counted);
    store.advance(START + DAY - 30 * MINUTE, 0, ClockSource::Operator);
    for brought in [START + DAY - MINUTE, START + DAY, START + DAY + MINUTE] {
        assert!(store.is_locked(START, brought));
        assert_eq!(store.clock().confirmed, UnixMs(START + DAY - 30 * MINUTE), "the leader has not learnt of it yet");
    }
    assert!(store.is_locked(START, START + DAY - 20 * MINUTE));
    assert_eq!(store.clock().confirmed, UnixMs(START + DAY - 20 * MINUTE));
    store.advance(START + DAY + MINUTE, 1, ClockSource::Counted);
    assert!(store.is_locked(START, START + DAY + 2 * MINUTE));
    assert_eq!(store.clock().confirmed, UnixMs(START + DAY + 2 * MINUTE));
}
