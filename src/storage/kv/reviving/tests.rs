//! Tests of tables that fail and are reopened: in memory, and with fjall while it cannot write a table out.

use super::{CommitRow, Opens, OwnedRanges, RevivingKv};
use crate::ambient::Clock;
use crate::storage::kv::fjall::{Damage, FjallOpener, TableMemory};
use crate::storage::kv::memory::{MemoryKv, Writes};
use crate::storage::kv::{Batch, Kv, KvError, KvRead, KvResult, PairIter, Table};
use crate::types::UnixMs;
use bytes::Bytes;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ROWS: Table = Table("rows");
const STATE: Table = Table("state");
const TABLES: &[Table] = &[ROWS, STATE];
const ROW: CommitRow = CommitRow { table: STATE, key: b"commits" };
const SECOND: Duration = Duration::from_secs(1);

/// A clock that stands still until it is set forward.
#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl SetClock {
    fn forward(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// One opening of the tables on a drive, which takes no commit after a failed one.
#[derive(Debug)]
struct Opening {
    kept: Arc<MemoryKv>,
    poisoned: AtomicBool,
    counts: Arc<Counts>,
}

impl Opening {
    fn of(kept: Arc<MemoryKv>, counts: &Arc<Counts>) -> Self {
        Self { kept, poisoned: AtomicBool::new(false), counts: Arc::clone(counts) }
    }

    fn judge(&self, done: KvResult<()>) -> KvResult<()> {
        if done.is_err() {
            self.poisoned.store(true, Ordering::Relaxed);
        }
        done
    }

    fn check(&self) -> KvResult<()> {
        match self.poisoned.load(Ordering::Relaxed) {
            true => Err(KvError::new("write", "poisoned")),
            false => Ok(()),
        }
    }
}

impl KvRead for Opening {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.kept.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        self.kept.range(table, from, to)
    }
}

impl OwnedRanges for Opening {
    fn owned_range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'static> {
        self.counts.ranges.fetch_add(1, Ordering::Relaxed);
        self.kept.owned_range(table, from, to)
    }
}

impl Kv for Opening {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        self.kept.snapshot()
    }

    fn commit(&self, batch: Batch) -> KvResult<()> {
        self.check()?;
        self.judge(self.kept.commit(batch))
    }

    fn persist(&self) -> KvResult<()> {
        self.check()?;
        self.judge(self.kept.persist())
    }

    fn disk_bytes(&self) -> u64 {
        self.kept.disk_bytes()
    }
}

#[derive(Debug, Default)]
struct Counts {
    has_room: AtomicBool,
    looks: AtomicUsize,
    openings: AtomicUsize,
    ranges: AtomicUsize,
}

#[derive(Debug)]
struct Drive {
    kept: Arc<Mutex<Arc<MemoryKv>>>,
    successor: Mutex<Option<Arc<MemoryKv>>>,
    counts: Arc<Counts>,
}

impl Drive {
    fn over(kept: &Arc<Mutex<Arc<MemoryKv>>>, counts: &Arc<Counts>) -> Self {
        Self { kept: Arc::clone(kept), successor: Mutex::default(), counts: Arc::clone(counts) }
    }
}

impl Opens for Drive {
    fn check_room(&self) -> KvResult<()> {
        self.counts.looks.fetch_add(1, Ordering::Relaxed);
        match self.counts.has_room.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(KvError::new("look for room", "there is none")),
        }
    }

    fn open(&self) -> KvResult<Arc<dyn OwnedRanges>> {
        self.counts.openings.fetch_add(1, Ordering::Relaxed);
        let kept = Arc::clone(&self.kept.lock().expect("held by no one"));
        Ok(Arc::new(Opening::of(kept, &self.counts)))
    }

    fn tables(&self) -> &[Table] {
        TABLES
    }

    fn open_successor(&self) -> KvResult<Arc<dyn Kv>> {
        let kept = Arc::new(MemoryKv::new(TABLES));
        *self.successor.lock().expect("held by no one") = Some(Arc::clone(&kept));
        Ok(Arc::new(Opening::of(kept, &self.counts)))
    }

    fn put_successor(&self) -> KvResult<()> {
        let kept = self.successor.lock().expect("held by no one").take().expect("it was made");
        *self.kept.lock().expect("held by no one") = kept;
        Ok(())
    }
}

/// Tables over a drive in memory that may fill up.
struct World {
    kept: Arc<Mutex<Arc<MemoryKv>>>,
    counts: Arc<Counts>,
    clock: Arc<SetClock>,
    kv: RevivingKv,
}

impl World {
    fn new() -> Self {
        let kept = Arc::new(Mutex::new(Arc::new(MemoryKv::new(TABLES))));
        let (counts, clock) = (Arc::new(Counts::default()), Arc::new(SetClock::default()));
        counts.has_room.store(true, Ordering::Relaxed);
        let drive = Drive::over(&kept, &counts);
        let kv = RevivingKv::open(Box::new(drive), ROW, clock.clone()).expect("opens");
        kv.arm();
        Self { kept, counts, clock, kv }
    }

    fn fill(&self, writes: Writes) {
        self.counts.has_room.store(false, Ordering::Relaxed);
        self.kept.lock().expect("held by no one").set_writes(writes);
    }

    fn make_room(&self) {
        self.counts.has_room.store(true, Ordering::Relaxed);
        self.kept.lock().expect("held by no one").set_writes(Writes::Kept);
    }

    /// Commits one row, and waits for the attempt that this may have begun.
    fn put(&self, key: u8) -> KvResult<()> {
        let done = self.kv.commit(row(key));
        settle(&self.kv);
        done
    }

    /// Commits one row a minute later, when an attempt is due.
    fn put_later(&self, key: u8) -> KvResult<()> {
        self.clock.forward(60 * SECOND);
        self.put(key)
    }

    fn openings(&self) -> usize {
        self.counts.openings.load(Ordering::Relaxed)
    }

    fn looks(&self) -> usize {
        self.counts.looks.load(Ordering::Relaxed)
    }

    fn ranges(&self) -> usize {
        self.counts.ranges.load(Ordering::Relaxed)
    }

    /// Fails once, and is reopened a minute later.
    fn reopen(&self, key: u8) {
        self.fill(Writes::Refused);
        self.put(key).expect_err("there is no room");
        self.make_room();
        self.put_later(key).expect_err("it failed before; this begins the attempt");
    }
}

fn row(key: u8) -> Batch {
    let mut batch = Batch::default();
    batch.put(ROWS, vec![key], vec![key]);
    batch
}

fn settle(kv: &RevivingKv) {
    for _ in 0..30_000 {
        if !kv.is_being_opened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("an attempt does not end");
}

fn keys(kv: &dyn Kv) -> KvResult<Vec<u8>> {
    kv.range(ROWS, Bound::Unbounded, Bound::Unbounded).map(|pair| pair.map(|(key, _)| key[0])).collect()
}

#[test]
fn failed_tables_stay_readable_and_are_writable_again_when_there_is_room() {
    let world = World::new();
    world.put(1).expect("commits");
    world.fill(Writes::Refused);
    world.put(2).expect_err("there is no room");
    world.put_later(2).expect_err("still");
    assert_eq!((world.openings(), world.looks()), (1, 2), "they stay open while there is no room");
    assert_eq!(keys(&world.kv).expect("reads"), [1]);
    world.make_room();
    world.put_later(2).expect_err("it failed before; this begins the attempt");
    assert_eq!(world.openings(), 2);
    world.put(2).expect("commits");
    assert_eq!(keys(&world.kv).expect("reads"), [1, 2]);
    world.kv.persist().expect("persists");
}

#[test]
fn tables_that_were_closed_for_good_are_not_reopened() {
    let world = World::new();
    world.put(1).expect("commits");
    let view = world.kv.snapshot();
    world.kv.close().expect_err("somebody reads them");
    assert_eq!(keys(&world.kv).expect("reads"), [1]);
    drop(view);
    world.kv.close().expect("nobody uses them");
    for _ in 0..3 {
        world.put_later(2).expect_err("they are closed");
    }
    assert_eq!(world.openings(), 1);
}

#[test]
fn a_failed_sync_begins_an_attempt_to_reopen() {
    let world = World::new();
    world.fill(Writes::Refused);
    world.kv.persist().expect_err("there is no room");
    settle(&world.kv);
    world.make_room();
    world.clock.forward(60 * SECOND);
    world.kv.persist().expect_err("it failed before");
    settle(&world.kv);
    world.kv.persist().expect("persists");
}

#[test]
fn the_pause_between_attempts_doubles_until_a_commit_succeeds() {
    let world = World::new();
    world.fill(Writes::Refused);
    let mut at = Vec::new();
    for second in 0..40 {
        let before = world.looks();
        world.put(1).expect_err("there is no room");
        world.put(1).expect_err("there is no room");
        if world.looks() > before {
            at.push(second);
        }
        world.clock.forward(SECOND);
    }
    assert_eq!(at, [0, 1, 3, 7, 15, 23, 31, 39]);
    world.make_room();
    world.put_later(1).expect_err("it failed before");
    world.put(1).expect("commits");
    world.fill(Writes::Refused);
    world.clock.forward(60 * SECOND);
    let looks = world.looks();
    for _ in 0..2 {
        world.put(2).expect_err("there is no room");
        world.clock.forward(SECOND);
    }
    assert_eq!(world.looks(), looks + 2, "a second apart again");
}

#[test]
fn tables_in_use_stay_open_until_the_next_attempt() {
    let world = World::new();
    world.put(1).expect("commits");
    world.fill(Writes::Refused);
    let (mut reading, moment) = (world.kv.range(ROWS, Bound::Unbounded, Bound::Unbounded), world.kv.snapshot());
    world.put(2).expect_err("there is no room");
    world.make_room();
    world.put_later(2).expect_err("it failed before");
    assert_eq!(world.openings(), 1);
    assert_eq!(keys(&world.kv).expect("reads"), [1]);
    assert_eq!(reading.next_back().expect("a row").expect("reads").0[..], [1]);
    drop(reading);
    world.put_later(2).expect_err("it failed before");
    assert_eq!(world.openings(), 1, "a snapshot keeps them open, too");
    assert!(moment.get(ROWS, &[1]).expect("reads").is_some());
    drop(moment);
    let hold = world.kv.hold().expect("they are open");
    world.put_later(2).expect_err("it failed before");
    assert_eq!(world.openings(), 1, "a hold keeps them open, too");
    drop(hold);
    world.put_later(2).expect_err("it failed before");
    assert_eq!(world.openings(), 2);
    world.put(2).expect("commits");
}

#[test]
fn tables_are_reopened_even_if_they_hold_a_failed_commit() {
    let world = World::new();
    world.put(1).expect("commits");
    world.fill(Writes::KeptAndFailed);
    world.put(2).expect_err("it is not known to be kept");
    world.make_room();
    for key in [3, 4] {
        world.put_later(key).expect_err("it failed before");
        world.put(key).expect("commits");
        assert_eq!(keys(&world.kv).expect("reads"), (1..=key).collect::<Vec<u8>>());
        world.fill(Writes::Refused);
        world.put(9).expect_err("there is no room");
        world.make_room();
    }
}

#[test]
fn reopened_tables_that_lost_a_commit_are_refused_until_they_have_it() {
    let world = World::new();
    world.put(1).expect("commits");
    world.kv.persist().expect("persists");
    world.put(2).expect("commits");
    world.fill(Writes::Refused);
    world.put(3).expect_err("there is no room");
    let whole = Arc::clone(&world.kept.lock().expect("held by no one"));
    *world.kept.lock().expect("held by no one") = Arc::new(whole.power_cut_after(0));
    world.make_room();
    for _ in 0..2 {
        world.put_later(3).expect_err("a commit is lost");
        assert!(keys(&world.kv).is_err() && world.kv.get(ROWS, &[1]).is_err());
        assert!(world.kv.snapshot().get(ROWS, &[1]).is_err());
    }
    *world.kept.lock().expect("held by no one") = whole;
    world.make_room();
    world.clock.forward(60 * SECOND);
    world.kv.get(ROWS, &[1]).expect_err("a read begins an attempt, too");
    settle(&world.kv);
    assert_eq!(keys(&world.kv).expect("reads"), [1, 2]);
}

#[test]
fn failed_tables_are_not_reopened_before_they_are_armed() {
    let kept = Arc::new(Mutex::new(Arc::new(MemoryKv::new(TABLES))));
    let counts = Arc::new(Counts::default());
    let drive = Drive::over(&kept, &counts);
    let kv = RevivingKv::open(Box::new(drive), ROW, Arc::new(SetClock::default())).expect("opens");
    kept.lock().expect("held by no one").set_writes(Writes::Refused);
    kv.commit(row(1)).expect_err("there is no room");
    assert!(!kv.is_being_opened() && counts.looks.load(Ordering::Relaxed) == 0);
}

#[test]
fn tables_that_failed_are_read_through_once_they_are_reopened_but_seldom() {
    let world = World::new();
    world.put(1).expect("commits");
    assert_eq!(world.ranges(), 0);
    world.reopen(2);
    // Each of both tables has rows: they are read, and then their end.
    for _ in 0..30_000 {
        if world.ranges() == 2 * TABLES.len() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((world.openings(), world.ranges()), (2, 2 * TABLES.len()));
    world.put(2).expect("commits");
    world.reopen(3);
    assert_eq!((world.openings(), world.ranges()), (3, 2 * TABLES.len()), "not again after a minute");
}

#[test]
fn tables_are_replaced_by_others_once_reads_under_way_have_ended() {
    let world = World::new();
    world.put(1).expect("commits");
    let (successor, view) = (world.kv.successor().expect("opens"), world.kv.snapshot());
    successor.commit(row(5)).expect("commits");
    std::thread::scope(|threads| {
        let replacing = threads.spawn(|| world.kv.replace_by(successor));
        assert!(view.get(ROWS, &[1]).expect("reads").is_some());
        drop(view);
        replacing.join().expect("no panic").expect("replaced");
    });
    assert_eq!(keys(&world.kv).expect("reads"), [5]);
    world.put(6).expect("commits");
    world.reopen(7);
    world.put(7).expect("commits, as the number of the last commit is there");
    assert_eq!(keys(&world.kv).expect("reads"), [5, 6, 7]);
    let other = world.kv.successor().expect("opens");
    world.kv.close().expect("nobody uses them");
    world.kv.replace_by(other).expect_err("they were closed for good");
}

/// Returns the directories of a database's tables, without fjall's own.
fn table_dirs(database: &Path) -> Vec<PathBuf> {
    let keyspaces =
        std::fs::read_dir(database.join("keyspaces")).expect("lists").map(|entry| entry.expect("lists").path());
    keyspaces.filter(|path| !path.ends_with("0")).map(|path| path.join("tables")).collect()
}

#[test]
fn a_database_that_could_not_write_out_reopens_with_every_commit() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("index");
    let clock = Arc::new(SetClock::default());
    let opener = FjallOpener {
        path: path.clone(),
        tables: TABLES,
        memory: TableMemory { cache_bytes: 1 << 20, memtable_bytes: 4 << 20 },
        damage: Damage::default(),
    };
    let kv = RevivingKv::open(Box::new(opener), ROW, clock.clone()).expect("opens");
    kv.arm();
    for dir in table_dirs(&path) {
        std::fs::rename(&dir, dir.with_extension("away")).expect("renames");
        std::fs::write(&dir, b"not a directory").expect("writes");
    }
    let number = |number: u32| {
        let mut batch = Batch::default();
        batch.put(ROWS, number.to_be_bytes().to_vec(), vec![number as u8; 64 << 10]);
        batch
    };
    let committed = (0u32..10_000).take_while(|&at| kv.commit(number(at)).is_ok()).count();
    assert!((60..10_000).contains(&committed), "{committed} commits fill a table");
    settle(&kv);
    assert!(kv.get(ROWS, &[0; 4]).is_err(), "it cannot be opened either");
    assert!(!path.join("opening").exists(), "the process did not end");
    for dir in table_dirs(&path) {
        std::fs::remove_file(&dir).expect("removes");
        std::fs::rename(dir.with_extension("away"), &dir).expect("renames");
    }
    clock.forward(60 * SECOND);
    kv.get(ROWS, &[0; 4]).expect_err("this begins the attempt");
    settle(&kv);
    let found: Vec<_> = kv.range(ROWS, Bound::Unbounded, Bound::Unbounded).collect::<Result<_, _>>().expect("reads");
    assert_eq!(found.len(), committed);
    for at in committed..committed + 200 {
        kv.commit(number(at as u32)).expect("commits, and its threads write out");
    }
    kv.persist().expect("persists");
}
