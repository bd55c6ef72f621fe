//! When the rows of a table are written out. fjall writes out what is *sealed* of a table, and syncs its journal before it
//! looks what that is. Rows sealed in between would reach the table's file without the journal's being durable, and after a
//! power cut that table alone would have them: half a commit. So fjall is left to seal nothing by itself. A table is sealed
//! here, by the thread that commits, while no other commits, and after the journal was synced.

use super::{Keyspaces, failed};
use crate::storage::kv::{KvResult, Table};
use fjall::{AbstractTree, Database, Keyspace, OwnedWriteBatch, PersistMode};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A table with so many memtables that wait to be written out takes no commit until there are fewer.
const WAITING_MEMTABLES_MAX: usize = 2;
const WAITING_MEMTABLES_POLL: Duration = Duration::from_millis(5);

/// When tables are sealed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Rows of one table kept in memory.
    pub table_bytes: u64,
    /// Rows committed since all tables were sealed: journals are kept as long as one table's rows are only there.
    pub unsealed_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Sealing {
    bounds: Bounds,
    state: Mutex<State>,
}

/// Commits are counted since the database was opened; all that came before is durable.
#[derive(Debug)]
struct State {
    commits: u64,
    /// How many of them the journal holds durably.
    synced: u64,
    unsealed_bytes: u64,
}

impl Sealing {
    pub(super) fn new(bounds: Bounds, tables: &Keyspaces) -> Self {
        let unsealed_bytes = tables.values().map(memtable_bytes).sum();
        Self { bounds, state: Mutex::new(State { commits: 0, synced: 0, unsealed_bytes }) }
    }

    /// Commits a batch of changes to these tables; seals those that are large by then.
    pub(super) fn commit(
        &self,
        database: &Database,
        tables: &Keyspaces,
        changed: &BTreeSet<Table>,
        batch: OwnedWriteBatch,
        bytes: u64,
    ) -> KvResult<()> {
        let is_changed = |(table, keyspace)| changed.contains(table).then_some(keyspace);
        let changed: Vec<&Keyspace> = tables.iter().filter_map(is_changed).collect();
        let mut state = self.turn(database, &changed)?;
        batch.commit().map_err(|error| failed("commit", error))?;
        state.commits += 1;
        state.unsealed_bytes += bytes;
        let due: Vec<&Keyspace> = if state.unsealed_bytes >= self.bounds.unsealed_bytes {
            state.unsealed_bytes = 0;
            tables.values().filter(|table| memtable_bytes(table) > 0).collect()
        } else {
            changed.into_iter().filter(|table| memtable_bytes(table) > self.bounds.table_bytes).collect()
        };
        // The commit stands. Where the sync failed, no other succeeds.
        if !due.is_empty()
            && let Err(error) = state.seal(database, &due)
        {
            tracing::warn!(%error, "tables are not written out");
        }
        Ok(())
    }

    /// fjall holds a commit back for ever where four memtables wait to be written out and its threads have given up on that.
    /// Held back here before it comes to so many, it fails instead.
    fn turn(&self, database: &Database, changed: &[&Keyspace]) -> KvResult<MutexGuard<'_, State>> {
        loop {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if changed.iter().all(|table| table.sealed_memtable_count() < WAITING_MEMTABLES_MAX) {
                return Ok(state);
            }
            drop(state);
            database.persist(PersistMode::Buffer).map_err(|error| failed("commit", error))?;
            std::thread::sleep(WAITING_MEMTABLES_POLL);
        }
    }

    /// Makes every commit so far durable.
    pub(super) fn persist(&self, database: &Database) -> KvResult<()> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sync(database)
    }

    /// The commits that are durable, of those since the database was opened.
    #[cfg(test)]
    pub(super) fn synced(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).synced
    }
}

impl State {
    fn sync(&mut self, database: &Database) -> KvResult<()> {
        // Where there is nothing to sync, it still says whether the database has failed.
        let mode = if self.synced < self.commits { PersistMode::SyncData } else { PersistMode::Buffer };
        database.persist(mode).map_err(|error| failed("persist", error))?;
        self.synced = self.commits;
        Ok(())
    }

    fn seal(&mut self, database: &Database, due: &[&Keyspace]) -> KvResult<()> {
        self.sync(database)?;
        assert_eq!(self.synced, self.commits, "what is sealed is durable in the journal");
        due.iter()
            .try_for_each(|table| table.rotate_memtable().map(drop))
            .map_err(|error| failed("seal a table", error))
    }
}

fn memtable_bytes(table: &Keyspace) -> u64 {
    table.tree.active_memtable().size()
}
