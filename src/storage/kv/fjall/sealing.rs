//! The sealing of tables, which decides when their rows are written out. fjall syncs its journal and then writes out
//! the memtables of a table that are *sealed*. Rows sealed in between would reach the table's file before the journal
//! is durable. After a power cut that table alone would have them: half a commit. Therefore fjall must not seal any
//! table by itself. The thread that commits seals a table here, after it has synced the journal, and while no other
//! thread commits.

use super::{Keyspaces, failed};
use crate::storage::kv::{KvResult, Table};
use fjall::{AbstractTree, Database, Keyspace, OwnedWriteBatch, PersistMode};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A table takes no commit while so many of its memtables wait to be written out.
const WAITING_MEMTABLES_MAX: usize = 2;
const WAITING_MEMTABLES_POLL: Duration = Duration::from_millis(5);

/// The bounds beyond which tables are sealed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The bytes of one table's rows in memory.
    pub table_bytes: u64,
    /// The bytes of rows committed since all tables were sealed. A journal is kept while it alone has rows of some
    /// table.
    pub unsealed_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Sealing {
    bounds: Bounds,
    state: Mutex<State>,
}

/// Commits are counted since the database was opened. All earlier ones are durable.
#[derive(Debug)]
struct State {
    commits: u64,
    /// The number of these commits that are durable in the journal.
    synced: u64,
    unsealed_bytes: u64,
}

impl Sealing {
    pub(super) fn new(bounds: Bounds, tables: &Keyspaces) -> Self {
        let unsealed_bytes = tables.values().map(memtable_bytes).sum();
        Self { bounds, state: Mutex::new(State { commits: 0, synced: 0, unsealed_bytes }) }
    }

    /// Commits a batch of changes to the tables `changed`, then seals tables that have become too large.
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
        // The commit has succeeded. If the sync failed, no later commit succeeds.
        if !due.is_empty()
            && let Err(error) = state.seal(database, &due)
        {
            tracing::warn!(%error, "cannot seal tables: they are not written out");
        }
        Ok(())
    }

    /// Waits until the changed tables take a commit. fjall blocks a commit for ever if four memtables wait to be
    /// written out and its threads have failed. A commit that waits here, before there are so many, fails instead.
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

    /// Returns the number of commits since the database was opened that are durable.
    #[cfg(test)]
    pub(super) fn synced(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).synced
    }
}

impl State {
    fn sync(&mut self, database: &Database) -> KvResult<()> {
        // Even if there is nothing to sync, this fails if the database has failed.
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
