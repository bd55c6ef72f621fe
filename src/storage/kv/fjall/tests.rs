//! Tests of databases that have lost something: they are refused, made anew, or in the state after a prefix of their
//! commits.

use super::opening::wait_until_closed;
use super::{Damage, FjallKv, FjallOpener, TableMemory};
use crate::storage::kv::reviving::Opens;
use crate::storage::kv::{Batch, Kv, KvRead, KvResult, Table};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROWS: Table = Table("rows");
const LAST: Table = Table("last");
const INLINE: Table = Table("inline");
const TABLES: &[Table] = &[ROWS, LAST];
const MEMORY: TableMemory = TableMemory { cache_bytes: 1 << 20, memtable_bytes: 4 << 20 };
/// The longest wait for fjall's threads, on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

fn open(path: &Path) -> FjallKv {
    FjallKv::open(path, TABLES, MEMORY).expect("opens")
}

fn refusal(path: &Path) -> String {
    FjallKv::open(path, TABLES, MEMORY).expect_err("refused").to_string()
}

fn commit(kv: &FjallKv, number: u32, value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(ROWS, number.to_be_bytes().to_vec(), value.to_vec());
    batch.put(LAST, b"last".to_vec(), number.to_be_bytes().to_vec());
    kv.commit(batch).expect("commits");
}

fn count(kv: &FjallKv, table: Table) -> usize {
    let rows: KvResult<Vec<_>> = kv.range(table, Bound::Unbounded, Bound::Unbounded).collect();
    rows.expect("reads").len()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes a directory");
    for entry in fs::read_dir(from).expect("lists") {
        let path = entry.expect("lists").path();
        let copy = to.join(path.file_name().expect("has a name"));
        if path.is_dir() {
            copy_dir(&path, &copy);
        } else {
            fs::copy(&path, &copy).expect("copies");
        }
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WAIT_MAX, "{what} does not appear");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Makes a database of ten rows, closes it and returns its directory.
fn database(dir: &Path) -> PathBuf {
    let path = dir.join("state").join("1");
    let kv = open(&path);
    (1..=10).for_each(|number| commit(&kv, number, b"value"));
    kv.persist().expect("persists");
    path
}

#[test]
fn databases_that_cannot_be_listed_are_not_taken_for_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state");
    assert!(FjallKv::numbered(&state).expect("there is no directory").is_empty());
    for name in ["2", "10", "3.removed", "other"] {
        fs::create_dir_all(state.join(name)).expect("makes a directory");
    }
    assert_eq!(FjallKv::numbered(&state).expect("listed"), [2, 10]);
    fs::remove_dir_all(&state).expect("removed");
    fs::write(&state, b"a file").expect("writes");
    assert!(FjallKv::numbered(&state).is_err(), "a file cannot be listed");
}

#[test]
fn a_removal_that_was_cut_short_is_finished() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state");
    FjallKv::finish_removals(&state).expect("nothing is there");
    for name in ["2", "3.removed/keyspaces", "10.removed", "other.removed"] {
        fs::create_dir_all(state.join(name)).expect("makes a directory");
    }
    FjallKv::finish_removals(&state).expect("removed");
    let left = ["2", "3.removed", "10.removed", "other.removed"].map(|name| state.join(name).exists());
    assert_eq!(left, [true, false, false, true]);
}

#[test]
fn a_database_that_lacks_one_of_its_tables_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let whole = database(dir.path());
    let tables: Vec<_> = fs::read_dir(whole.join("keyspaces")).expect("lists").flatten().collect();
    assert_eq!(tables.len(), 3, "one for each table, and fjall's own");
    for table in tables {
        for lost in [PathBuf::new(), PathBuf::from("current")] {
            let copy = dir.path().join("copy");
            copy_dir(&whole, &copy);
            let lost = copy.join("keyspaces").join(table.file_name()).join(lost);
            if lost.is_dir() { fs::remove_dir_all(&lost) } else { fs::remove_file(&lost) }.expect("removed");
            let why = refusal(&copy);
            assert!(why.contains("is gone") || !lost.ends_with(table.file_name()), "{}: {why}", lost.display());
            FjallKv::remove(&copy).expect("removed");
            assert_eq!(count(&open(&copy), ROWS), 0, "it is made anew");
            FjallKv::remove(&copy).expect("removed");
        }
    }
    assert_eq!(count(&open(&whole), ROWS), 10);
}

#[test]
fn a_database_without_a_journal_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = database(dir.path());
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "jnl");
    let journals = fs::read_dir(&path).expect("lists").flatten().map(|entry| entry.path()).filter(is_journal);
    journals.for_each(|journal| fs::remove_file(journal).expect("removed"));
    assert!(refusal(&path).contains("has no journal"));
}

/// Flips a bit within the first block of each file of a table.
fn flip_first_blocks(database: &Path) {
    let tables = fs::read_dir(database.join("keyspaces")).expect("lists").flatten().map(|entry| entry.path());
    for dir in tables.filter(|path| !path.ends_with("0")).map(|path| path.join("tables")) {
        for entry in fs::read_dir(dir).expect("lists").flatten() {
            let file = fs::File::options().read(true).write(true).open(entry.path()).expect("opens");
            let mut byte = [0];
            file.read_exact_at(&mut byte, 40).expect("reads");
            file.write_all_at(&[byte[0] ^ 1], 40).expect("writes");
        }
    }
}

#[test]
fn a_read_of_a_damaged_block_notes_the_damage_until_the_database_is_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("index");
    let (key, absent) = (1_u32.to_be_bytes(), 11_u32.to_be_bytes());
    let kv = open(&path);
    (1..=10).for_each(|number| commit(&kv, number, b"value"));
    kv.persist().expect("persists");
    let rows = &kv.tables[&ROWS];
    assert!(rows.rotate_memtable().expect("seals"));
    wait_until("a table's file", || rows.sealed_memtable_count() == 0 && rows.table_count() > 0);
    drop(kv);
    flip_first_blocks(&path);
    let opener = FjallOpener { path: path.clone(), tables: TABLES, memory: MEMORY, damage: Damage::default() };
    let kv = opener.open().expect("opens");
    assert!(kv.get(LAST, b"last").expect("reads").is_some() && opener.damage().is_none());
    assert!(kv.get(ROWS, &key).is_err());
    assert!(opener.damage().is_some_and(|damage| damage.contains("look up a key")));
    assert!(kv.range(ROWS, Bound::Unbounded, Bound::Unbounded).next().is_some_and(|pair| pair.is_err()));
    drop(kv);

    let successor = opener.open_successor().expect("opens");
    let mut batch = Batch::default();
    batch.put(ROWS, absent.to_vec(), b"value".to_vec());
    successor.commit(batch).expect("commits");
    successor.persist().expect("persists");
    drop(successor);
    opener.put_successor().expect("replaced");
    assert_eq!(opener.damage(), None);
    assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1, "nothing is left of the damaged one");
    let kv = opener.open().expect("opens");
    assert_eq!(kv.get(ROWS, &key).expect("reads"), None);
    assert_eq!(kv.get(ROWS, &absent).expect("reads").as_deref(), Some(&b"value"[..]));
    drop(kv);
    drop(opener.open_successor().expect("opens"));
    opener.discard_successor().expect("removed");
    assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1);
}

#[test]
fn a_replacement_that_ended_between_its_two_renames_is_finished_before_the_next_opening() {
    let key = 1_u32.to_be_bytes();
    for discards_first in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("index");
        let opener = FjallOpener { path: path.clone(), tables: TABLES, memory: MEMORY, damage: Damage::default() };
        drop(opener.open().expect("opens"));
        let successor = opener.open_successor().expect("opens");
        let mut batch = Batch::default();
        batch.put(ROWS, key.to_vec(), b"value".to_vec());
        successor.commit(batch).expect("commits");
        successor.persist().expect("persists");
        drop(successor);
        wait_until_closed(&path).expect("closed");
        wait_until_closed(&opener.successor()).expect("closed");
        fs::rename(&path, dir.path().join("index.removed")).expect("renamed");
        if discards_first {
            opener.discard_successor().expect("nothing is left to discard");
        }
        let kv = opener.open().expect("opens");
        assert_eq!(kv.get(ROWS, &key).expect("reads").as_deref(), Some(&b"value"[..]));
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1, "nothing is left of the replaced one");
    }
}

#[test]
fn a_database_that_was_never_finished_is_made_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = database(dir.path());
    fs::remove_file(path.join("tables")).expect("removed");
    assert_eq!(count(&open(&path), ROWS), 0);
    assert_eq!(count(&open(&path), ROWS), 0, "and is finished then");
    fs::write(path.join("tables"), b"SHRDTBL1 and rot").expect("written");
    assert!(refusal(&path).contains("damaged"));
}

/// Cuts the journal to what is durable and leaves everything else as it is: a table's file must hold no row that the
/// journal lacks.
#[test]
fn a_table_is_written_out_only_as_far_as_the_journal_is_durable_c4() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state");
    let memory = TableMemory { memtable_bytes: 64 << 10, ..MEMORY };
    let kv = FjallKv::open(&path, TABLES, memory).expect("opens");
    let journal = path.join("0.jnl");
    let mut durable = (0, Vec::new());
    for number in 1..=100 {
        commit(&kv, number, &[number as u8; 2000]);
        if kv.sealing.synced() > durable.0 {
            assert_eq!(kv.sealing.synced(), u64::from(number), "sealing syncs all commits");
            durable = (kv.sealing.synced(), fs::read(&journal).expect("reads"));
        }
    }
    assert!((30..100).contains(&durable.0), "{} commits are durable", durable.0);
    wait_until("a table's file", || {
        let rows = &kv.tables[&ROWS];
        rows.sealed_memtable_count() == 0 && rows.table_count() > 0
    });
    drop(kv);
    fs::write(&journal, &durable.1).expect("written");
    let found = open(&path);
    let last = found.get(LAST, b"last").expect("reads").expect("is there");
    assert_eq!((last.as_ref(), count(&found, ROWS)), (&(durable.0 as u32).to_be_bytes()[..], durable.0 as usize));
}

/// Otherwise fjall's threads could seal rows after the journal was synced, and write them out.
#[test]
fn the_threads_of_fjall_seal_no_table() {
    let dir = tempfile::tempdir().expect("a directory");
    let kv = open(dir.path());
    let mut batch = fjall::OwnedWriteBatch::with_capacity(kv.database.clone(), 12);
    for number in 0_u32..12 {
        batch.insert(&kv.tables[&ROWS], number.to_be_bytes(), vec![1; 1 << 20]);
    }
    batch.commit().expect("commits");
    let mut small = Batch::default();
    small.put(LAST, b"last".to_vec(), b"small".to_vec());
    kv.commit(small).expect("commits");
    let (rows, last) = (&kv.tables[&ROWS], &kv.tables[&LAST]);
    // fjall's threads take requests in order: earlier ones are done by then.
    assert!(last.rotate_memtable().expect("seals"));
    wait_until("a table's file", || last.table_count() > 0);
    assert_eq!((rows.sealed_memtable_count(), rows.table_count()), (0, 0));
}

#[test]
fn persist_makes_all_commits_durable_and_does_nothing_when_repeated() {
    let dir = tempfile::tempdir().expect("a directory");
    let kv = open(dir.path());
    assert_eq!(kv.sealing.synced(), 0);
    (1..=3).for_each(|number| commit(&kv, number, b"value"));
    assert_eq!(kv.sealing.synced(), 0);
    kv.persist().expect("persists");
    kv.persist().expect("and has nothing to do");
    assert_eq!(kv.sealing.synced(), 3);
}

/// Prints the bytes written to the disk for a byte of 200,000 inline rows, whose keys are in order of time but for some
/// milliseconds.
#[test]
#[ignore = "writes 3 GB"]
fn inline_rows_are_written_less_than_four_times() {
    const ROWS_AT_ONCE: u64 = 10;
    let written = || {
        let counted = fs::read_to_string("/proc/self/io").expect("the kernel counts");
        let field = counted.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("it is there");
        field.parse::<u64>().expect("a number")
    };
    let dir = tempfile::tempdir().expect("a directory");
    let kv = FjallKv::open_ordered(&dir.path().join("tables"), &[INLINE], &[INLINE], MEMORY).expect("opens");
    let mut random = StdRng::seed_from_u64(1);
    let (before, mut bytes) = (written(), 0);
    for number in 0..20_000 {
        let mut batch = Batch::default();
        for _ in 0..ROWS_AT_ONCE {
            let (mut key, mut row) = ([0; 16], vec![0; 4096]);
            random.fill(&mut key[..]);
            random.fill(&mut row[..]);
            let millis: u64 = 1_700_000_000_000 + number + random.random_range(0..20);
            key[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
            bytes += row.len();
            batch.put(INLINE, key.to_vec(), row);
        }
        kv.commit(batch).expect("commits");
        if number % 100 == 0 {
            kv.persist().expect("persists");
        }
    }
    kv.persist().expect("persists");
    // What is still to be merged is written meanwhile.
    std::thread::sleep(Duration::from_secs(5));
    let ratio = (written() - before) as f64 / bytes as f64;
    println!("{ratio:.2} bytes written for a byte of a row, journal included");
    assert!(ratio > 1.0 && ratio < 4.0, "{ratio}");
}
