//! The conformance tests of the table stores, run on each implementation.

use super::fjall::{Damage, FjallKv, FjallOpener, TableMemory};
use super::memory::MemoryKv;
use super::reviving::{CommitRow, RevivingKv};
use super::{Batch, Kv, KvRead, Pair, Table};
use crate::ambient::Ambient;
use proptest::prelude::{any, prop_assert_eq};
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};

const FIRST: Table = Table("first");
const SECOND: Table = Table("second");
const TABLES: &[Table] = &[FIRST, SECOND];
const NUMBERS: CommitRow = CommitRow { table: Table("numbers"), key: b"commits" };
const MEMORY: TableMemory = TableMemory { cache_bytes: 1 << 20, memtable_bytes: 4 << 20 };
const NUMBERED: &[Table] = &[FIRST, SECOND, NUMBERS.table];

fn check_on_each(check: impl Fn(&dyn Kv)) {
    check(&MemoryKv::new(TABLES));
    let directory = tempfile::tempdir().expect("a directory");
    check(&FjallKv::open(&directory.path().join("plain"), TABLES, MEMORY).expect("opens"));
    let (path, tables) = (directory.path().join("reviving"), NUMBERED);
    let opener = FjallOpener { path, tables, memory: MEMORY, damage: Damage::default() };
    check(&RevivingKv::open(Box::new(opener), NUMBERS, Ambient::system().clock).expect("opens"));
}

type Row<'a> = (Table, &'a [u8], Option<&'a [u8]>);

fn batch(changes: &[Row<'_>]) -> Batch {
    let mut batch = Batch::default();
    for &(table, key, value) in changes {
        match value {
            Some(value) => batch.put(table, key.to_vec(), value.to_vec()),
            None => batch.remove(table, key.to_vec()),
        }
    }
    batch
}

fn all(kv: &(impl KvRead + ?Sized), table: Table) -> Vec<Pair> {
    kv.range(table, Bound::Unbounded, Bound::Unbounded).collect::<Result<_, _>>().expect("reads")
}

#[test]
fn a_commit_is_seen_whole_and_at_once() {
    check_on_each(|kv| {
        kv.commit(batch(&[(FIRST, b"a", Some(b"1")), (SECOND, b"a", Some(b"2"))])).expect("commits");
        assert_eq!(kv.get(FIRST, b"a").expect("reads").as_deref(), Some(&b"1"[..]));
        assert_eq!(kv.get(SECOND, b"a").expect("reads").as_deref(), Some(&b"2"[..]));
        assert_eq!(kv.get(FIRST, b"b").expect("reads"), None);
        kv.commit(batch(&[(FIRST, b"a", None), (SECOND, b"empty", Some(b""))])).expect("commits");
        assert_eq!(kv.get(SECOND, b"empty").expect("reads").as_deref(), Some(&b""[..]));
        assert_eq!(kv.get(FIRST, b"a").expect("reads"), None);
        assert!(all(kv, FIRST).is_empty());
        kv.persist().expect("persists");
    });
}

#[test]
fn the_last_change_of_a_key_in_a_batch_wins() {
    check_on_each(|kv| {
        kv.commit(batch(&[
            (FIRST, b"a", Some(b"1")),
            (FIRST, b"a", Some(b"2")),
            (FIRST, b"b", Some(b"1")),
            (FIRST, b"b", None),
            (FIRST, b"c", None),
            (FIRST, b"c", Some(b"3")),
        ]))
        .expect("commits");
        let rows: Vec<_> = all(kv, FIRST).into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        assert_eq!(rows, [(b"a".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"3".to_vec())]);
    });
}

#[test]
fn a_snapshot_does_not_show_later_commits() {
    check_on_each(|kv| {
        kv.commit(batch(&[(FIRST, b"a", Some(b"1")), (FIRST, b"b", Some(b"1"))])).expect("commits");
        let snapshot = kv.snapshot();
        kv.commit(batch(&[(FIRST, b"a", Some(b"2")), (FIRST, b"b", None), (FIRST, b"c", Some(b"2"))]))
            .expect("commits");
        assert_eq!(snapshot.get(FIRST, b"a").expect("reads").as_deref(), Some(&b"1"[..]));
        let keys: Vec<_> = all(&*snapshot, FIRST).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(all(kv, FIRST).len(), 2);
    });
}

#[test]
fn an_unknown_table_is_an_error_and_commits_nothing() {
    check_on_each(|kv| {
        let unknown = Table("unknown");
        assert!(kv.get(unknown, b"a").is_err());
        assert!(kv.range(unknown, Bound::Unbounded, Bound::Unbounded).next().is_some_and(|pair| pair.is_err()));
        assert!(kv.commit(batch(&[(FIRST, b"a", Some(b"1")), (unknown, b"a", Some(b"1"))])).is_err());
        assert_eq!(kv.get(FIRST, b"a").expect("reads"), None);
    });
}

#[test]
fn ranges_over_binary_keys_agree_with_a_model_c9() {
    type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;
    type Bounds = Vec<(Bound<Vec<u8>>, Bound<Vec<u8>>, bool)>;
    fn keys() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        proptest::collection::vec(proptest::sample::select(vec![0x00, 0x01, b'/', 0x7f, 0xff]), 1..4)
    }
    fn bounds() -> impl proptest::strategy::Strategy<Value = Bound<Vec<u8>>> {
        use proptest::strategy::{Just, Strategy};
        let key = || proptest::collection::vec(proptest::sample::select(vec![0x00, 0x01, b'/', 0x7f, 0xff]), 0..4);
        proptest::prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded)]
    }
    let changes = proptest::collection::vec((keys(), any::<Option<Vec<u8>>>()), 0..40);
    let ranges = proptest::collection::vec((bounds(), bounds(), any::<bool>()), 1..20);
    check_on_each(|kv| {
        let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
        let check = |(changes, ranges): (Changes, Bounds)| {
            let stale = all(kv, FIRST);
            let mut clear = Batch::default();
            stale.into_iter().for_each(|(key, _)| clear.remove(FIRST, key));
            kv.commit(clear)?;
            let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for (key, value) in changes {
                kv.commit(batch(&[(FIRST, &key, value.as_deref())]))?;
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
            }
            for (from, to, backward) in ranges {
                let within = |key: &Vec<u8>| {
                    let above = match &from {
                        Bound::Unbounded => true,
                        Bound::Included(from) => key >= from,
                        Bound::Excluded(from) => key > from,
                    };
                    let below = match &to {
                        Bound::Unbounded => true,
                        Bound::Included(to) => key <= to,
                        Bound::Excluded(to) => key < to,
                    };
                    above && below
                };
                let mut expected: Vec<_> =
                    model.iter().filter(|(key, _)| within(key)).map(|(a, b)| (a.clone(), b.clone())).collect();
                let found = kv.range(FIRST, from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
                let found: Vec<_> = if backward { found.rev().collect() } else { found.collect() };
                let found: Vec<_> = found.into_iter().collect::<Result<Vec<_>, _>>()?;
                if backward {
                    expected.reverse();
                }
                let found: Vec<_> = found.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
                prop_assert_eq!(found, expected);
            }
            Ok(())
        };
        runner.run(&(&changes, &ranges), check).expect("agrees with the model");
    });
}

#[test]
fn a_database_reopens_at_once_with_all_persisted_commits_w14() {
    let directory = tempfile::tempdir().expect("a directory");
    for round in 0u32..5 {
        let kv = FjallKv::open(directory.path(), TABLES, MEMORY).expect("opens right after it was closed");
        assert_eq!(all(&kv, FIRST).len(), round as usize);
        kv.commit(batch(&[(FIRST, &round.to_be_bytes(), Some(b"x"))])).expect("commits");
        kv.persist().expect("persists");
        assert!(kv.disk_bytes() > 0);
    }
}

#[test]
fn a_table_added_later_is_empty_and_the_others_keep_their_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let kv = FjallKv::open(directory.path(), &[FIRST], MEMORY).expect("opens");
    kv.commit(batch(&[(FIRST, b"a", Some(b"1"))])).expect("commits");
    kv.persist().expect("persists");
    drop(kv);
    let kv = FjallKv::open(directory.path(), TABLES, MEMORY).expect("opens");
    assert_eq!(all(&kv, FIRST).len(), 1);
    assert!(all(&kv, SECOND).is_empty());
}

#[test]
fn a_file_in_the_place_of_the_database_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    std::fs::write(&path, b"not a database").expect("writes");
    assert!(FjallKv::open(&path, TABLES, MEMORY).is_err());
}

#[test]
fn a_database_whose_opening_was_killed_however_often_is_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    drop(FjallKv::open(&path, TABLES, MEMORY).expect("opens"));
    let note = path.join("opening");
    assert!(!note.exists(), "a note stays only where the process ended");
    for marks in [".", "..", "....."] {
        std::fs::write(&note, marks).expect("writes");
        drop(FjallKv::open(&path, TABLES, MEMORY).expect("opens"));
        assert!(!note.exists(), "the opening has ended");
    }
}

/// On a full drive, for example, the note cannot be written.
#[test]
fn tables_open_even_if_the_note_of_the_opening_cannot_be_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    std::fs::create_dir_all(path.join("opening")).expect("a directory in the place of the note");
    for _ in 0..3 {
        drop(FjallKv::open(&path, TABLES, MEMORY).expect("opens"));
    }
}

#[test]
fn a_power_cut_leaves_a_prefix_of_the_commits_that_holds_every_persisted_one_c4() {
    let kv = MemoryKv::new(TABLES);
    for number in 0u8..10 {
        kv.commit(batch(&[(FIRST, &[number + 1], Some(b"x")), (SECOND, b"last", Some(&[number]))])).expect("commits");
        if number == 4 {
            kv.persist().expect("persists");
        }
    }
    assert_eq!(kv.unsynced_commits(), 5);
    for kept in 0..=5 {
        let after = kv.power_cut_after(kept);
        assert_eq!(all(&after, FIRST).len(), 5 + kept);
        assert_eq!(after.get(SECOND, b"last").expect("reads").as_deref(), Some(&[4 + kept as u8][..]));
        assert_eq!(after.unsynced_commits(), 0);
    }
    let drawn = kv.power_cut(&*Ambient::system().entropy);
    assert!((5..=10).contains(&all(&drawn, FIRST).len()));
}

/// Returns the path of a small database's only journal, and its content up to the last byte that is not zero.
fn journal(directory: &Path) -> (PathBuf, Vec<u8>) {
    let files = std::fs::read_dir(directory).expect("lists").map(|entry| entry.expect("lists").path());
    let mut journals: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "jnl")).collect();
    assert_eq!(journals.len(), 1);
    let path = journals.remove(0);
    let mut written = std::fs::read(&path).expect("reads");
    written.truncate(written.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
    (path, written)
}

fn copy_files(from: &Path, to: &Path, skipped: &Path) {
    std::fs::create_dir_all(to).expect("makes a directory");
    for entry in std::fs::read_dir(from).expect("lists") {
        let path = entry.expect("lists").path();
        let copy = to.join(path.file_name().expect("has a name"));
        if path.is_dir() {
            copy_files(&path, &copy, skipped);
        } else if path != skipped {
            std::fs::copy(&path, &copy).expect("copies");
        }
    }
}

#[test]
fn a_journal_cut_after_the_last_persist_opens_as_a_prefix_of_commits_c4() {
    let directory = tempfile::tempdir().expect("a directory");
    let kv = FjallKv::open(directory.path(), TABLES, MEMORY).expect("opens");
    let mut persisted_bytes = 0;
    for number in 0u8..40 {
        let value = [number; 300];
        let rows: [Row<'_>; 2] = [(FIRST, &[number + 1], Some(&value)), (SECOND, b"last", Some(&[number]))];
        kv.commit(batch(&rows)).expect("commits");
        if number == 19 || number == 39 {
            kv.persist().expect("persists");
            let written = journal(directory.path()).1.len();
            persisted_bytes = if number == 19 { written } else { persisted_bytes };
        }
    }
    let (path, written) = journal(directory.path());
    let length = std::fs::metadata(&path).expect("reads").len();
    assert!(written.len() > persisted_bytes + 20 * 300);
    for cut in [
        persisted_bytes,
        persisted_bytes + 1,
        persisted_bytes + 1000,
        written.len() - 700,
        written.len() - 1,
        written.len(),
    ] {
        let copy = tempfile::tempdir().expect("a directory");
        copy_files(directory.path(), copy.path(), &path);
        let journal = copy.path().join(path.file_name().expect("has a name"));
        std::fs::write(&journal, &written[..cut]).expect("writes");
        std::fs::File::options().write(true).open(&journal).and_then(|file| file.set_len(length)).expect("extends");
        let found = FjallKv::open(copy.path(), TABLES, MEMORY).expect("opens");
        let last = found.get(SECOND, b"last").expect("reads").expect("persisted")[0];
        assert!(last >= 19, "cut at {cut}: what was persisted is gone");
        assert_eq!(all(&found, FIRST).len(), usize::from(last) + 1, "cut at {cut}: not the state after a prefix");
        assert_eq!(last == 39, cut == written.len());
    }
}
