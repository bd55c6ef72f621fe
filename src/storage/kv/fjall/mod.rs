//! Tables on a drive, stored by fjall: one database, with a keyspace for each table. Commits go to its journal without
//! a sync. `persist` syncs the journal, and so does whatever has a table's rows written elsewhere (`sealing`), so that
//! after a power cut all tables are in the state after the same prefix of the commits. All directories are synced
//! before the first commit, and the tables are listed (`listing`): a database that lacks a listed table is refused.
//!
//! After its first failed write, in a commit or in one of its threads, fjall takes no other (`Poisoned`), but can still
//! be read. Such a database can only be dropped and opened again. It then has every commit that succeeded, since each
//! is handed to the operating system before it returns. `RevivingKv` reopens it.
//!
//! A damaged block fails the reads that need it, for ever (`damage`). A database can be made anew in a directory beside
//! its own, and then take its place.

mod damage;
mod journals;
mod listing;
mod opening;
mod sealing;
#[cfg(test)]
mod tests;

use super::reviving::{Opens, OwnedRanges};
use super::{Batch, Kv, KvError, KvRead, KvResult, PairIter, Table, bounds};
use crate::storage::buffer::BufferPool;
use crate::storage::disk::{Disk, SystemDisk, create_dir_durably};
use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, Readable, Snapshot};
use opening::{Opening, wait_until_closed};
use sealing::{Bounds, Sealing};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use damage::Damage;

/// The bytes of rows committed after which all tables are written out, so that old journals can be removed. fjall
/// begins another journal once one is about as long.
const UNSEALED_BYTES_MAX: u64 = 64 << 20;
/// One thread that writes tables out, and two that compact. The thread that writes out spins while requests to compact
/// wait and all other threads are busy, because fjall's `worker_tick` puts each request back at once; the two others
/// are seldom busy together. Without them, a long compaction would stall commits.
const WORKER_THREADS: usize = 3;
/// The greatest number of table files that are kept open.
const FILES_OPEN_MAX: usize = 256;
/// With this size, about one lookup of an absent key in a hundred reads a block in vain. The first PUT of a key is such
/// a lookup.
const BLOOM_BITS_PER_KEY: f32 = 10.0;
/// The bounds of merges in a table of large rows in order of time. New files of it overlap with earlier ones by some
/// milliseconds only, so each merge rewrites what it merges, and one file at the end of what was merged before: the more
/// at once, and the smaller that file, the less of it is in vain. With fjall's own bounds (4 at once, files of 64 MiB) a
/// row is written 5.2 times, journal included, and with these 3.3 times.
const MERGED_AT_ONCE: u8 = 8;
const MERGED_FILE_BYTES: u64 = 16 << 20;
/// The approximate size of a change in the journal, without its key and value.
const CHANGE_BYTES: usize = 24;
/// The bytes that a drive must take before a failed database on it is closed and reopened. With less room it would fail
/// again at once.
const ROOM_BYTES: usize = 1 << 20;
/// The file that is written to find out whether there is room.
const ROOM: &str = "room";
/// The extensions of the directories in which a database is made anew, and from which one is removed.
const SUCCESSOR: &str = "new";
const REMOVED: &str = "removed";

/// The memory of one database.
#[derive(Clone, Copy, Debug)]
pub struct TableMemory {
    /// Bound of the cache of blocks read.
    pub cache_bytes: u64,
    /// The bytes of one table's rows that are kept in memory before they are written out.
    pub memtable_bytes: u64,
}

/// A set of tables in one directory.
pub struct FjallKv {
    tables: Arc<Keyspaces>,
    database: Database,
    sealing: Sealing,
    damage: Damage,
}

#[derive(Clone)]
struct FjallSnapshot {
    tables: Arc<Keyspaces>,
    snapshot: Snapshot,
    damage: Damage,
}

type Keyspaces = BTreeMap<Table, Keyspace>;

/// Opens the database in this directory, with all tables that it has, and closes it again: what `OPEN_TABLES_COMMAND`
/// does.
pub fn try_open(path: &Path) -> KvResult<()> {
    const CACHE_BYTES: u64 = 8 << 20;
    let database = open_database(path, CACHE_BYTES).map_err(|error| failed("open", error))?;
    for name in database.list_keyspace_names() {
        database.keyspace(&name, || table_options(false)).map_err(|error| failed("open a table", error))?;
    }
    Ok(())
}

fn open_database(path: &Path, cache_bytes: u64) -> fjall::Result<Database> {
    let builder = Database::builder(path)
        .cache_size(cache_bytes)
        .worker_threads(WORKER_THREADS)
        .max_cached_files(Some(FILES_OPEN_MAX))
        .max_journaling_size(u64::MAX)
        .manual_journal_persist(true);
    builder.open()
}

impl FjallKv {
    /// Removes the database of this directory, if there is one. Renames it first, so that a partly removed one is never
    /// opened.
    pub fn remove(path: &Path) -> KvResult<()> {
        let removed = path.with_extension(REMOVED);
        gone(std::fs::remove_dir_all(&removed))?;
        gone(std::fs::rename(path, &removed))?;
        gone(sync_parent(path))?;
        gone(std::fs::remove_dir_all(&removed))
    }

    /// Puts the database of another directory beside this one in the place of the database of this directory, which is
    /// removed. Both are closed. If the process ends in between, there may be none in this directory:
    /// `finish_replacement`.
    fn replace(path: &Path, successor: &Path) -> KvResult<()> {
        let failed = |error: io::Error| KvError::io("replace tables", &error);
        let removed = path.with_extension(REMOVED);
        gone(std::fs::remove_dir_all(&removed))?;
        gone(std::fs::rename(path, &removed))?;
        if let Err(error) = std::fs::rename(successor, path) {
            // If this fails, too, the next opening finishes the replacement.
            let _ = std::fs::rename(&removed, path);
            return Err(failed(error));
        }
        sync_parent(path).map_err(failed)?;
        remove_replaced(&removed);
        Ok(())
    }

    /// Finishes a replacement that ended between its two renames. The successor was complete before the first of them.
    /// All of these directories are closed.
    fn finish_replacement(path: &Path, successor: &Path) -> KvResult<()> {
        let failed = |error: io::Error| KvError::io("replace tables", &error);
        let removed = path.with_extension(REMOVED);
        let is_there = |path: &Path| path.try_exists().map_err(failed);
        if is_there(path)? || !is_there(&removed)? || !is_there(successor)? {
            return Ok(());
        }
        tracing::warn!(path = %path.display(), "the replacement of these tables was not finished; it is finished now");
        std::fs::rename(successor, path).and_then(|()| sync_parent(path)).map_err(failed)?;
        remove_replaced(&removed);
        Ok(())
    }

    /// Returns the numbers by which databases in this directory are named, ascending; none if there is no directory.
    pub fn numbered(dir: &Path) -> KvResult<Vec<u32>> {
        let mut numbers: Vec<u32> = names_in(dir)?.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Removes what removals of numbered databases have left in this directory, whose processes ended meanwhile.
    pub fn finish_removals(dir: &Path) -> KvResult<()> {
        for name in names_in(dir)? {
            let number = name.strip_suffix(REMOVED).and_then(|number| number.strip_suffix('.'));
            if number.is_some_and(|number| number.parse::<u32>().is_ok()) {
                gone(std::fs::remove_dir_all(dir.join(name)))?;
            }
        }
        Ok(())
    }

    /// Opens the database in this directory, with at least these tables; creates it if there is none. Fails if a table
    /// that the database had is gone.
    pub fn open(path: &Path, tables: &[Table], memory: TableMemory) -> KvResult<Self> {
        Self::open_ordered(path, tables, &[], memory)
    }

    /// Like `open`. Tables `in_order` have large rows whose keys begin with the time at which they were made; a table that
    /// is there already keeps the bounds of its merges.
    pub fn open_ordered(path: &Path, tables: &[Table], in_order: &[Table], memory: TableMemory) -> KvResult<Self> {
        Self::open_noting(path, tables, in_order, memory, Damage::default())
    }

    /// Like `open_ordered`. Notes the damage that the opening and all reads meet.
    fn open_noting(
        path: &Path,
        tables: &[Table],
        in_order: &[Table],
        memory: TableMemory,
        damage: Damage,
    ) -> KvResult<Self> {
        let pool = BufferPool::new(0);
        let disk = SystemDisk::new(pool.clone());
        let made = create_dir_durably(&disk, path);
        made.map_err(|error| KvError::io("make the directory", &error))?;
        wait_until_closed(path)?;
        let listed = listing::read(&disk, path)?;
        match &listed {
            Some(_) => journals::make_durable(&disk, path, &pool)?,
            None => discard_unfinished(&disk, path)?,
        }
        let opening = Opening::begin(path)?;
        let database = open_database(path, memory.cache_bytes).map_err(|error| damage.failed("open", error))?;
        let found: listing::Names = database.list_keyspace_names().iter().map(|name| name.to_string()).collect();
        if let Some(gone) = listed.iter().flatten().find(|name| !found.contains(*name)) {
            let cause = format!("table {gone} in {} is gone", path.display());
            return Err(KvError::new("open a table", cause));
        }
        let mut keyspaces = Keyspaces::new();
        for &table in tables {
            let keyspace = database.keyspace(table.0, || table_options(in_order.contains(&table)));
            let keyspace = keyspace.map_err(|error| damage.failed("open a table", error))?;
            keyspaces.insert(table, keyspace);
        }
        sync_dirs(&disk, path).map_err(|error| KvError::io("sync directories", &error))?;
        let names: listing::Names = found.into_iter().chain(tables.iter().map(|table| table.0.to_owned())).collect();
        if listed.as_ref() != Some(&names) {
            listing::write(&disk, path, &names)?;
        }
        drop(opening);
        let bounds = Bounds { table_bytes: memory.memtable_bytes, unsealed_bytes: UNSEALED_BYTES_MAX };
        let sealing = Sealing::new(bounds, &keyspaces);
        Ok(Self { tables: Arc::new(keyspaces), database, sealing, damage })
    }
}

/// Returns the names in a directory; none if there is no directory.
fn names_in(dir: &Path) -> KvResult<Vec<String>> {
    match SystemDisk::new(BufferPool::new(0)).list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|error| KvError::io("list tables", &error)),
    }
}

fn remove_replaced(removed: &Path) {
    if let Err(error) = std::fs::remove_dir_all(removed) {
        tracing::warn!(path = %removed.display(), %error, "cannot remove tables that were replaced; they take room");
    }
}

/// Converts the outcome of removing or renaming what may be gone already.
fn gone(result: io::Result<()>) -> KvResult<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KvError::io("remove tables", &error)),
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    SystemDisk::new(BufferPool::new(0)).sync_dir(path.parent().unwrap_or(path))
}

/// Removes a database that was never finished, because the process that created it ended.
fn discard_unfinished(disk: &SystemDisk, path: &Path) -> KvResult<()> {
    let names = disk.list(path).map_err(|error| KvError::io("list the directory", &error))?;
    if names.iter().all(|name| name == opening::NOTE || name == ROOM) {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "the creation of this database was never finished; it is removed and created again");
    FjallKv::remove(path)?;
    create_dir_durably(disk, path).map_err(|error| KvError::io("make the directory", &error))
}

/// Makes the names of all tables, and of the files that each consists of, durable.
fn sync_dirs(disk: &SystemDisk, path: &Path) -> io::Result<()> {
    let tables = path.join("keyspaces");
    for name in disk.list(&tables)? {
        disk.sync_dir(&tables.join(name))?;
    }
    disk.sync_dir(&tables)?;
    disk.sync_dir(path)
}

/// An opener of the database in a directory. Its clones share the note of damage.
#[derive(Clone)]
pub struct FjallOpener {
    pub path: PathBuf,
    pub tables: &'static [Table],
    pub memory: TableMemory,
    pub damage: Damage,
}

impl FjallOpener {
    fn successor(&self) -> PathBuf {
        self.path.with_extension(SUCCESSOR)
    }
}

impl Opens for FjallOpener {
    fn tables(&self) -> &[Table] {
        self.tables
    }

    fn check_room(&self) -> KvResult<()> {
        let probe = self.path.join(ROOM);
        let written = std::fs::File::create(&probe).and_then(|mut file| {
            file.write_all(&vec![0; ROOM_BYTES])?;
            file.sync_all()
        });
        let removed = std::fs::remove_file(&probe);
        written.and(removed).map_err(|error| KvError::io("check for room on the drive", &error))
    }

    fn open(&self) -> KvResult<Arc<dyn OwnedRanges>> {
        FjallKv::finish_replacement(&self.path, &self.successor())?;
        Ok(Arc::new(FjallKv::open_noting(&self.path, self.tables, &[], self.memory, self.damage.clone())?))
    }

    fn damage(&self) -> Option<String> {
        self.damage.found()
    }

    fn open_successor(&self) -> KvResult<Arc<dyn Kv>> {
        if !self.path.exists() {
            let cause = format!("{} is gone", self.path.display());
            return Err(KvError::new("make tables anew", cause));
        }
        self.discard_successor()?;
        Ok(Arc::new(FjallKv::open(&self.successor(), self.tables, self.memory)?))
    }

    fn discard_successor(&self) -> KvResult<()> {
        wait_until_closed(&self.successor())?;
        FjallKv::finish_replacement(&self.path, &self.successor())?;
        FjallKv::remove(&self.successor())
    }

    fn put_successor(&self) -> KvResult<()> {
        wait_until_closed(&self.path)?;
        wait_until_closed(&self.successor())?;
        FjallKv::replace(&self.path, &self.successor())?;
        self.damage.forget();
        Ok(())
    }
}

fn table_options(in_order: bool) -> KeyspaceCreateOptions {
    let bloom = BloomConstructionPolicy::BitsPerKey(BLOOM_BITS_PER_KEY);
    let options = KeyspaceCreateOptions::default()
        .max_memtable_size(u64::MAX)
        .manual_journal_persist(true)
        .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(bloom)));
    if !in_order {
        return options;
    }
    let leveled = Leveled::default().with_l0_threshold(MERGED_AT_ONCE).with_table_target_size(MERGED_FILE_BYTES);
    options.compaction_strategy(Arc::new(leveled))
}

fn failed(doing: &'static str, error: fjall::Error) -> KvError {
    let cause = error.to_string();
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) => {
            KvError { cause, ..KvError::io(doing, &error) }
        }
        _ => KvError::new(doing, cause),
    }
}

fn keyspace(tables: &Keyspaces, table: Table) -> KvResult<&Keyspace> {
    tables.get(&table).ok_or_else(|| KvError::new("find a table", format!("no table {}", table.0)))
}

fn pairs<'a>(guards: impl DoubleEndedIterator<Item = Guard> + Send + 'a, damage: &Damage) -> PairIter<'a> {
    let damage = damage.clone();
    Box::new(guards.map(move |guard| {
        let (key, value) = guard.into_inner().map_err(|error| damage.failed("read a range", error))?;
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
        let found = keyspace(&self.tables, table)?.get(key);
        Ok(found.map_err(|error| self.damage.failed("look up a key", error))?.map(Bytes::from))
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        self.owned_range(table, from, to)
    }
}

impl OwnedRanges for FjallKv {
    fn owned_range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'static> {
        let Some((from, to)) = bounds(from, to) else { return Box::new(std::iter::empty()) };
        match keyspace(&self.tables, table) {
            Ok(keyspace) => pairs(keyspace.range::<&[u8], _>((from, to)), &self.damage),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

impl KvRead for FjallSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        let keyspace = keyspace(&self.tables, table)?;
        let found = self.snapshot.get(keyspace, key);
        Ok(found.map_err(|error| self.damage.failed("look up a key", error))?.map(Bytes::from))
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        let Some((from, to)) = bounds(from, to) else { return Box::new(std::iter::empty()) };
        match keyspace(&self.tables, table) {
            Ok(keyspace) => pairs(self.snapshot.range::<&[u8], _>(keyspace, (from, to)), &self.damage),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

impl Kv for FjallKv {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        let (tables, damage) = (self.tables.clone(), self.damage.clone());
        Arc::new(FjallSnapshot { tables, snapshot: self.database.snapshot(), damage })
    }

    fn commit(&self, batch: Batch) -> KvResult<()> {
        // `Buffer` hands the changes to the operating system without a sync. Changes that are buffered in this process
        // only would be lost when a failed database is closed.
        let write = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), batch.changes.len());
        let mut write = write.durability(Some(PersistMode::Buffer));
        let (mut changed, mut bytes) = (BTreeSet::new(), 0);
        for change in batch.changes {
            let keyspace = keyspace(&self.tables, change.table)?;
            changed.insert(change.table);
            bytes += change.key.len() + change.value.as_ref().map_or(0, Bytes::len) + CHANGE_BYTES;
            match change.value {
                Some(value) => write.insert(keyspace, change.key, value),
                None => write.remove(keyspace, change.key),
            }
        }
        self.sealing.commit(&self.database, &self.tables, &changed, write, bytes as u64)
    }

    fn persist(&self) -> KvResult<()> {
        self.sealing.persist(&self.database)
    }

    fn disk_bytes(&self) -> u64 {
        let tables: u64 = self.tables.values().map(Keyspace::disk_space).sum();
        tables + self.database.journal_disk_space().unwrap_or_default()
    }
}
