//! Tables on a drive, by fjall: one database, a keyspace for each table. Commits go to its journal unsynced; `persist`
//! syncs it. fjall also syncs the journal before it writes any table's rows elsewhere, so that what a power cut leaves is
//! the state after a prefix of the commits, in all tables alike.

use super::{Batch, Kv, KvError, KvRead, KvResult, PairIter, Table, bounds};
use bytes::Bytes;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of one table kept in memory before they are written out. A process has a database for each drive and one for the
/// metadata, so this and the cache, not the data, decide how much memory it holds.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// Journals kept in all; a table that holds an old one back is written out.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
/// One to write tables out and one to compact, so that a long compaction does not stall commits.
const WORKER_THREADS: usize = 2;
/// Ends of the process while a database was opened, after which the database is given up. One may be a kill.
const OPENINGS_ENDED_MAX: usize = 2;
/// Files of tables kept open.
const FILES_OPEN_MAX: usize = 256;
/// About one useless block read in a hundred lookups of a key that is not there (each first PUT of a key is one).
const BLOOM_BITS_PER_KEY: f32 = 10.0;

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

    /// Opens the database in this directory, made where there is none, with at least these tables. `cache_bytes` bounds the
    /// cache of blocks read.
    pub fn open(path: &Path, tables: &[Table], cache_bytes: u64) -> KvResult<Self> {
        let made = std::fs::create_dir_all(path);
        made.map_err(|error| KvError { doing: "make the directory", cause: error.to_string() })?;
        let opening = Opening::begin(path)?;
        let database = Database::builder(path)
            .cache_size(cache_bytes)
            .worker_threads(WORKER_THREADS)
            .max_cached_files(Some(FILES_OPEN_MAX))
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .manual_journal_persist(true)
            .open()
            .map_err(|error| failed("open", error))?;
        let mut keyspaces = Keyspaces::new();
        for &table in tables {
            let keyspace = database.keyspace(table.0, table_options).map_err(|error| failed("open a table", error))?;
            keyspaces.insert(table, keyspace);
        }
        drop(opening);
        Ok(Self { tables: Arc::new(keyspaces), database })
    }
}

/// A note in the directory while its database is opened: fjall ends the process where some of its files are damaged. After
/// a few such ends the database is refused, so that it is made anew and the process does not end at every start.
struct Opening {
    note: PathBuf,
}

impl Opening {
    /// A note that cannot be read or written (on a drive without a byte left) is no reason to give up tables that are whole.
    fn begin(path: &Path) -> KvResult<Self> {
        let note = path.join("opening");
        let ended = std::fs::read(&note).map_or(0, |marks| marks.len());
        if ended >= OPENINGS_ENDED_MAX {
            let cause = format!("the process ended {ended} times while it opened {}", path.display());
            return Err(KvError { doing: "open", cause });
        }
        if let Err(error) = std::fs::write(&note, vec![b'.'; ended + 1]) {
            tracing::warn!(%error, note = %note.display(), "that tables are opened cannot be noted");
        }
        Ok(Self { note })
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        match std::fs::remove_file(&self.note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, note = %self.note.display(), "a note stays; these tables may be made anew for nothing");
            }
            _ => {}
        }
    }
}

fn table_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES).manual_journal_persist(true).filter_policy(
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
        let mut write = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), batch.changes.len());
        for change in batch.changes {
            let keyspace = keyspace(&self.tables, change.table)?;
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
