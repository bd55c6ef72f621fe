//! Tables in memory, for simulation and tests. They remember the commits since the last `persist`, so that a power cut
//! can be simulated. Snapshots share the rows until the next commit changes them.

use super::reviving::OwnedRanges;
use super::{Batch, Kv, KvError, KvRead, KvResult, Pair, PairIter, Table, bounds};
use crate::ambient::Entropy;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

type Rows = BTreeMap<Bytes, Bytes>;
type Tables = BTreeMap<Table, Arc<Rows>>;

/// A set of tables in memory.
#[derive(Debug)]
pub struct MemoryKv {
    state: RwLock<State>,
}

/// The outcome of later commits and `persist` calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    #[default]
    Kept,
    /// Commits and `persist` fail.
    Refused,
    /// Commits fail although their changes are made; `persist` fails.
    KeptAndFailed,
}

#[derive(Debug, Default)]
struct State {
    tables: Tables,
    /// The tables at the last persist.
    durable: Tables,
    /// Commits since the last persist, oldest first.
    unsynced: Vec<Batch>,
    writes: Writes,
}

/// A snapshot of all tables.
#[derive(Debug)]
struct MemorySnapshot {
    tables: Tables,
}

impl MemoryKv {
    pub fn new(tables: &[Table]) -> Self {
        let tables: Tables = tables.iter().map(|&table| (table, Arc::default())).collect();
        Self::of(State { durable: tables.clone(), tables, ..State::default() })
    }

    fn of(state: State) -> Self {
        Self { state: RwLock::new(state) }
    }

    /// Returns an image as a power cut would leave it now: every commit before the last persist, and a prefix, of a
    /// length drawn from `entropy`, of those after it.
    pub fn power_cut(&self, entropy: &dyn Entropy) -> Self {
        let mut drawn = [0u8; 8];
        entropy.fill(&mut drawn);
        let choices = self.unsynced_commits() as u64 + 1;
        self.power_cut_after((u64::from_be_bytes(drawn) % choices) as usize)
    }

    /// Like `power_cut`, but keeps exactly this many of the commits after the last persist.
    pub fn power_cut_after(&self, kept: usize) -> Self {
        let state = self.read();
        let mut tables = state.durable.clone();
        for batch in state.unsynced.iter().take(kept) {
            change(&mut tables, batch);
        }
        Self::of(State { durable: tables.clone(), tables, ..State::default() })
    }

    /// Sets the outcome of writes from now on.
    pub fn set_writes(&self, writes: Writes) {
        self.write().writes = writes;
    }

    /// Returns the number of commits that a power cut could lose.
    pub fn unsynced_commits(&self) -> usize {
        self.read().unsynced.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no panic while the tables are held")
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("no panic while the tables are held")
    }
}

fn answer(writes: Writes, doing: &'static str) -> KvResult<()> {
    match writes {
        Writes::Kept => Ok(()),
        Writes::Refused | Writes::KeptAndFailed => Err(KvError::new(doing, "writes are made to fail")),
    }
}

fn change(tables: &mut Tables, batch: &Batch) {
    for change in &batch.changes {
        let Some(rows) = tables.get_mut(&change.table) else { continue };
        let rows = Arc::make_mut(rows);
        match &change.value {
            Some(value) => rows.insert(change.key.clone(), value.clone()),
            None => rows.remove(&change.key),
        };
    }
}

fn rows_of(tables: &Tables, table: Table) -> KvResult<&Arc<Rows>> {
    tables.get(&table).ok_or_else(|| KvError::new("find a table", format!("no table {}", table.0)))
}

fn range_of(tables: &Tables, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'static> {
    let Some((from, to)) = bounds(from, to) else { return Box::new(std::iter::empty()) };
    match rows_of(tables, table) {
        Ok(rows) => Box::new(RowIter {
            rows: rows.clone(),
            from: from.map(Bytes::copy_from_slice),
            to: to.map(Bytes::copy_from_slice),
        }),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

/// An iterator that seeks to each row. It owns what it reads, and borrows nothing.
struct RowIter {
    rows: Arc<Rows>,
    from: Bound<Bytes>,
    to: Bound<Bytes>,
}

impl RowIter {
    fn take(&mut self, last: bool) -> Option<Pair> {
        let between = bounds(self.from.as_ref().map(Bytes::as_ref), self.to.as_ref().map(Bytes::as_ref))?;
        let mut left = self.rows.range::<[u8], _>(between);
        let (key, value) = if last { left.next_back() } else { left.next() }?;
        Some((key.clone(), value.clone()))
    }
}

impl Iterator for RowIter {
    type Item = KvResult<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.take(false)?;
        self.from = Bound::Excluded(pair.0.clone());
        Some(Ok(pair))
    }
}

impl DoubleEndedIterator for RowIter {
    fn next_back(&mut self) -> Option<Self::Item> {
        let pair = self.take(true)?;
        self.to = Bound::Excluded(pair.0.clone());
        Some(Ok(pair))
    }
}

impl KvRead for MemoryKv {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        Ok(rows_of(&self.read().tables, table)?.get(key).cloned())
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        range_of(&self.read().tables, table, from, to)
    }
}

impl OwnedRanges for MemoryKv {
    fn owned_range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'static> {
        range_of(&self.read().tables, table, from, to)
    }
}

impl KvRead for MemorySnapshot {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        Ok(rows_of(&self.tables, table)?.get(key).cloned())
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        range_of(&self.tables, table, from, to)
    }
}

impl Kv for MemoryKv {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        Arc::new(MemorySnapshot { tables: self.read().tables.clone() })
    }

    fn commit(&self, batch: Batch) -> KvResult<()> {
        let mut state = self.write();
        for change in &batch.changes {
            rows_of(&state.tables, change.table)?;
        }
        if !batch.is_empty() && state.writes != Writes::Refused {
            change(&mut state.tables, &batch);
            state.unsynced.push(batch);
        }
        answer(state.writes, "commit")
    }

    fn persist(&self) -> KvResult<()> {
        let mut state = self.write();
        answer(state.writes, "persist")?;
        state.durable = state.tables.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        let state = self.read();
        let pairs = state.tables.values().flat_map(|rows| rows.iter());
        pairs.map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}
