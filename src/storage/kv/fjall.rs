//! Tables on a drive, by fjall: one database, a keyspace for each table. Commits go to its journal unsynced; `persist`
//! syncs it. fjall also syncs the journal before it writes any table's rows elsewhere, so that what a power cut leaves is
//! the state after a prefix of the commits, in all tables alike.
//!
//! After the first write that fails, of a commit or of its threads, fjall takes no more (`Poisoned`), and goes on to read.
//! Such a database can only be dropped and opened again, which finds every commit that succeeded: each is with the system
//! before it is answered. `RevivingKv` does that.

mod opening;

use super::reviving::{Opens, OwnedRanges};
use super::{Batch, Kv, KvError, KvRead, KvResult, PairIter, Table, bounds};
use bytes::Bytes;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use opening::{Opening, wait_until_closed};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Journals kept in all; a table that holds an old one back is written out.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
/// One to write tables out and one to compact, so that a long compaction does not stall commits.
const WORKER_THREADS: usize = 2;
/// Files of tables kept open.
const FILES_OPEN_MAX: usize = 256;
/// About one useless block read in a hundred lookups of a key that is not there (each first PUT of a key is one).
const BLOOM_BITS_PER_KEY: f32 = 10.0;
/// A table with so many memtables that wait to be written out takes no commit until there are fewer.
const WAITING_MEMTABLES_MAX: usize = 2;
const WAITING_MEMTABLES_POLL: Duration = Duration::from_millis(5);
/// What a drive must take before a database on it is closed to be opened again: less, and it would fail at once.
const ROOM_BYTES: usize = 1 << 20;

/// The memory of one database.
#[derive(Clone, Copy, Debug)]
pub struct TableMemory {
    /// Bound of the cache of blocks read.
    pub cache_bytes: u64,
    /// Rows of one table that are kept before they are written out.
    pub memtable_bytes: u64,
}

/// A set of tables in one directory.
pub struct FjallKv {
    tables: Arc<Keyspaces>,
    database: Database,
}

#[derive(Clone)]
struct FjallSnapshot {
    tables: Arc<Keyspaces>,
    snapshot: Snapshot,
}

type Keyspaces = BTreeMap<Table, Keyspace>;

impl FjallKv {
    /// Removes the database of this directory, if there is one. It is renamed first: a half-removed one is never taken for one.
    pub fn remove(path: &Path) -> KvResult<()> {
        let removed = path.with_extension("removed");
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(KvError { doing: "remove tables", cause: error.to_string() })
            }
            _ => Ok(()),
        };
        gone(std::fs::remove_dir_all(&removed))?;
        gone(std::fs::rename(path, &removed))?;
        gone(std::fs::remove_dir_all(&removed))
    }

    /// The numbers that are names of databases in this directory, ascending.
    pub fn numbered(dir: &Path) -> Vec<u32> {
        let Ok(found) = std::fs::read_dir(dir) else { return Vec::new() };
        let mut numbers: Vec<u32> =
            found.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Opens the database in this directory, made where there is none, with at least these tables.
    pub fn open(path: &Path, tables: &[Table], memory: TableMemory) -> KvResult<Self> {
        let made = std::fs::create_dir_all(path);
        made.map_err(|error| KvError { doing: "make the directory", cause: error.to_string() })?;
        wait_until_closed(path)?;
        let opening = Opening::begin(path)?;
        let database = Database::builder(path)
            .cache_size(memory.cache_bytes)
            .worker_threads(WORKER_THREADS)
            .max_cached_files(Some(FILES_OPEN_MAX))
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .manual_journal_persist(true)
            .open()
            .map_err(|error| failed("open", error))?;
        let mut keyspaces = Keyspaces::new();
        for &table in tables {
            let options = || table_options(memory.memtable_bytes);
            let keyspace = database.keyspace(table.0, options).map_err(|error| failed("open a table", error))?;
            keyspaces.insert(table, keyspace);
        }
        drop(opening);
        Ok(Self { tables: Arc::new(keyspaces), database })
    }

    /// fjall holds a commit back for ever where four memtables wait to be written out and its threads have given up on that.
    /// Held back here before it comes to so many, it fails instead.
    fn wait_for_memtables(&self, table: &Keyspace) -> KvResult<()> {
        while table.sealed_memtable_count() >= WAITING_MEMTABLES_MAX {
            self.database.persist(PersistMode::Buffer).map_err(|error| failed("commit", error))?;
            std::thread::sleep(WAITING_MEMTABLES_POLL);
        }
        Ok(())
    }
}

/// A database in a directory, to be opened as often as that is needed.
#[derive(Clone)]
pub struct FjallOpener {
    pub path: PathBuf,
    pub tables: &'static [Table],
    pub memory: TableMemory,
}

impl Opens for FjallOpener {
    fn check_room(&self) -> KvResult<()> {
        let probe = self.path.join("room");
        let written = std::fs::File::create(&probe).and_then(|mut file| {
            file.write_all(&vec![0; ROOM_BYTES])?;
            file.sync_all()
        });
        let removed = std::fs::remove_file(&probe);
        written.and(removed).map_err(|error| KvError { doing: "look for room", cause: error.to_string() })
    }

    fn open(&self) -> KvResult<Arc<dyn OwnedRanges>> {
        Ok(Arc::new(FjallKv::open(&self.path, self.tables, self.memory)?))
    }
}

fn table_options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes).manual_journal_persist(true).filter_policy(
        FilterPolicy::all(FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(BLOOM_BITS_PER_KEY))),
    )
}

fn failed(doing: &'static str, error: fjall::Error) -> KvError {
    KvError { doing, cause: error.to_string() }
}

fn keyspace(tables: &Keyspaces, table: Table) -> KvResult<&Keyspace> {
    tables.get(&table).ok_or_else(|| KvError { doing: "find a table", cause: format!("no table {}", table.0) })
}

fn pairs<'a>(guards: impl DoubleEndedIterator<Item = Guard> + Send + 'a) -> PairIter<'a> {
    Box::new(guards.map(|guard| {
        let (key, value) = guard.into_inner().map_err(|error| failed("read a range", error))?;
        Ok((key.into(), value.into()))
    }))
}

impl fmt::Debug for FjallOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallOpener").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for FjallKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallKv").field("tables", &self.tables.keys()).finish_non_exhaustive()
    }
}

impl fmt::Debug for FjallSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallSnapshot").field("seqno", &self.snapshot.seqno()).finish_non_exhaustive()
    }
}

impl KvRead for FjallKv {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        let found = keyspace(&self.tables, table)?.get(key).map_err(|error| failed("look up a key", error))?;
        Ok(found.map(Bytes::from))
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        self.owned_range(table, from, to)
    }
}

impl OwnedRanges for FjallKv {
    fn owned_range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'static> {
        let Some((from, to)) = bounds(from, to) else { return Box::new(std::iter::empty()) };
        match keyspace(&self.tables, table) {
            Ok(keyspace) => pairs(keyspace.range::<&[u8], _>((from, to))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

impl KvRead for FjallSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        let keyspace = keyspace(&self.tables, table)?;
        let found = self.snapshot.get(keyspace, key).map_err(|error| failed("look up a key", error))?;
        Ok(found.map(Bytes::from))
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        let Some((from, to)) = bounds(from, to) else { return Box::new(std::iter::empty()) };
        match keyspace(&self.tables, table) {
            Ok(keyspace) => pairs(self.snapshot.range::<&[u8], _>(keyspace, (from, to))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

impl Kv for FjallKv {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        Arc::new(FjallSnapshot { tables: self.tables.clone(), snapshot: self.database.snapshot() })
    }

    fn commit(&self, batch: Batch) -> KvResult<()> {
        // Without a sync, and yet not in this process only: a database that is closed after a failure loses what is.
        let write = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), batch.changes.len());
        let mut write = write.durability(Some(PersistMode::Buffer));
        for change in batch.changes {
            let keyspace = keyspace(&self.tables, change.table)?;
            self.wait_for_memtables(keyspace)?;
            match change.value {
                Some(value) => write.insert(keyspace, change.key, value),
                None => write.remove(keyspace, change.key),
            }
        }
        write.commit().map_err(|error| failed("commit", error))
    }

    fn persist(&self) -> KvResult<()> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| failed("persist", error))
    }

    fn disk_bytes(&self) -> u64 {
        let tables: u64 = self.tables.values().map(Keyspace::disk_space).sum();
        tables + self.database.journal_disk_space().unwrap_or_default()
    }
}
