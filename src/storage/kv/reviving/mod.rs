//! Tables that are reopened while the process runs. A store that has failed to write (on a full drive, for example)
//! takes no commit any more, even if the drive has room again. Such tables are closed and opened again, in a thread of
//! their own.
//!
//! Commits are numbered in a row of the tables. So reopened tables that lack a successful commit are recognised, and
//! not used; the last failed commit may be in them. As long as the drive has no room, failed tables stay open and can
//! be read. While they are reopened, and if that fails, reads fail too. A failed commit or `persist`, and any use of
//! closed tables, begins an attempt to reopen them. No attempt is made before `arm`: until then the code that opens the
//! tables handles their failures.
//!
//! Damaged tables are not mended by that. Their owner makes others and puts these in their place (`replace_by`). Tables
//! may fail because their own threads met damage, which tell nobody: so reopened tables are read through now and then.

use super::{Batch, Hold, Kv, KvError, KvRead, KvResult, Pair, PairIter, Table};
use crate::ambient::Clock;
use bytes::Bytes;
use std::fmt::Debug;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The pause between attempts. It doubles with each attempt, until a write succeeds.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// How often, and at which interval, it is checked whether reads under way have ended. Then the tables stay open until
/// the next attempt.
const READS_LOOKS_MAX: u32 = 100;
const READS_POLL: Duration = Duration::from_millis(5);
/// How often this, and whether an attempt has ended, is checked before damaged tables are replaced: for 30 s. Further
/// reads wait meanwhile.
const REPLACED_READS_LOOKS_MAX: u32 = 6000;
/// The least time from one reading of reopened tables to the next, the rows that are read at once, and the pause after
/// them.
const READ_THROUGH_EVERY: Duration = Duration::from_secs(600);
const ROWS_AT_ONCE: usize = 4096;
const ROWS_PAUSE: Duration = Duration::from_millis(1);

/// Tables whose ranges own what they read, so that a range does not borrow the tables.
pub trait OwnedRanges: Kv {
    fn owned_range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'static>;
}

/// An opener of tables, which can open them repeatedly. Its methods block.
pub trait Opens: Send + Sync + Debug + 'static {
    /// Returns an error if the tables could not be written again. Called before tables that can still be read are
    /// closed.
    fn check_room(&self) -> KvResult<()>;
    /// Opens the tables. The caller guarantees that nothing of a former opening is in use any more.
    fn open(&self) -> KvResult<Arc<dyn OwnedRanges>>;

    /// Returns the tables that are read through after they were reopened.
    fn tables(&self) -> &[Table] {
        &[]
    }
    /// Returns the damage that openings and reads have met.
    fn damage(&self) -> Option<String> {
        None
    }
    /// Creates empty tables beside these, in the place of earlier ones.
    fn open_successor(&self) -> KvResult<Arc<dyn Kv>> {
        Err(KvError::new("make tables anew", "these tables are never replaced"))
    }
    /// Removes the tables beside these. The caller guarantees that they are closed.
    fn discard_successor(&self) -> KvResult<()> {
        Ok(())
    }
    /// Puts the tables beside these in their place, for good. The caller guarantees that both are closed.
    fn put_successor(&self) -> KvResult<()> {
        Ok(())
    }
}

/// The row that holds the number of the last commit. No caller lists its table.
#[derive(Clone, Copy, Debug)]
pub struct CommitRow {
    pub table: Table,
    pub key: &'static [u8],
}

/// Tables that are reopened when they fail.
#[derive(Debug)]
pub struct RevivingKv {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    opens: Box<dyn Opens>,
    row: CommitRow,
    clock: Arc<dyn Clock>,
    /// `None` while the tables are closed.
    tables: RwLock<Option<Arc<dyn OwnedRanges>>>,
    /// The number of the last successful commit. The lock is held during a commit.
    committed: Mutex<u64>,
    failing: AtomicBool,
    attempts: Mutex<Attempts>,
}

#[derive(Debug)]
struct Attempts {
    armed: bool,
    under_way: bool,
    /// The earliest time of the next attempt.
    not_before: Duration,
    pause: Duration,
    /// The earliest time at which reopened tables are read through.
    read_not_before: Duration,
}

impl RevivingKv {
    /// Opens the tables. Blocking.
    pub fn open(opens: Box<dyn Opens>, row: CommitRow, clock: Arc<dyn Clock>) -> KvResult<Self> {
        let tables = opens.open()?;
        let committed = number_in(&*tables, row)?;
        let attempts = Attempts {
            armed: false,
            under_way: false,
            not_before: Duration::ZERO,
            pause: PAUSE_MIN,
            read_not_before: Duration::ZERO,
        };
        let shared = Shared {
            opens,
            row,
            clock,
            tables: RwLock::new(Some(tables)),
            committed: Mutex::new(committed),
            failing: AtomicBool::new(false),
            attempts: Mutex::new(attempts),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Enables the reopening of failed tables.
    pub fn arm(&self) {
        locked(&self.shared.attempts).armed = true;
    }

    fn tables(&self) -> KvResult<Arc<dyn OwnedRanges>> {
        let open = self.shared.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        open.ok_or_else(|| {
            self.revive();
            KvError::new("use tables", "they failed and have not been reopened yet")
        })
    }

    fn judge(&self, done: KvResult<()>) -> KvResult<()> {
        match &done {
            Ok(()) => self.shared.note_success(),
            Err(_) => {
                self.shared.failing.store(true, Ordering::Relaxed);
                self.revive();
            }
        }
        done
    }

    /// Begins an attempt, if one is due.
    fn revive(&self) {
        if !self.shared.begin() {
            return;
        }
        let attempt = Attempt { shared: Arc::clone(&self.shared) };
        let work = move || {
            let shared = Arc::downgrade(&attempt.shared);
            if attempt.run() {
                read_through(&shared);
            }
        };
        let spawned = thread::Builder::new().name("tables-open".to_owned()).spawn(work);
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot reopen tables that failed: no thread can be started");
        }
    }

    #[cfg(test)]
    fn is_being_opened(&self) -> bool {
        locked(&self.shared.attempts).under_way
    }
}

/// An attempt to reopen the tables, which is under way until it is dropped.
struct Attempt {
    shared: Arc<Shared>,
}

impl Attempt {
    /// Reopens the tables. Returns whether they are to be read through now.
    fn run(self) -> bool {
        match self.shared.open_again() {
            Ok(()) => {
                tracing::info!(tables = ?self.shared.opens, "tables that failed have been reopened");
                self.shared.is_reading_due()
            }
            Err(error) => {
                tracing::warn!(tables = ?self.shared.opens, %error, "cannot reopen tables that failed; their next use tries again");
                false
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        locked(&self.shared.attempts).under_way = false;
    }
}

/// Reads all rows of tables that were reopened: the opener notes the damage that is met. Nothing is held between some
/// rows and the next, so that the tables can be closed.
fn read_through(shared: &Weak<Shared>) {
    let tables = shared.upgrade().map(|shared| shared.opens.tables().to_vec());
    for table in tables.into_iter().flatten() {
        let mut from = Bound::Unbounded;
        loop {
            match read_some(shared, table, &from) {
                Ok(Some(last)) => from = Bound::Excluded(last),
                Ok(None) => break,
                Err(_) => return,
            }
            thread::sleep(ROWS_PAUSE);
        }
    }
}

/// Reads some rows of a table. Returns the key of the last one; `None` at the end, or once the tables are closed.
fn read_some(shared: &Weak<Shared>, table: Table, from: &Bound<Bytes>) -> KvResult<Option<Bytes>> {
    let Some(shared) = shared.upgrade() else { return Ok(None) };
    let open = shared.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(open) = open else { return Ok(None) };
    let mut last = None;
    for pair in open.owned_range(table, from.as_ref().map(Bytes::as_ref), Bound::Unbounded).take(ROWS_AT_ONCE) {
        last = Some(pair?.0);
    }
    Ok(last)
}

impl Shared {
    /// Claims the tables for a replacement: no attempt to reopen them begins until what is returned is dropped. Waits
    /// for the attempt under way.
    fn claim(self: &Arc<Self>) -> KvResult<Attempt> {
        let refused = |cause: &str| KvError::new("replace tables", cause);
        for _ in 0..REPLACED_READS_LOOKS_MAX {
            {
                let mut attempts = locked(&self.attempts);
                if !attempts.armed {
                    return Err(refused("they were closed for good"));
                }
                if !attempts.under_way {
                    attempts.under_way = true;
                    return Ok(Attempt { shared: Arc::clone(self) });
                }
            }
            thread::sleep(READS_POLL);
        }
        Err(refused("they are still being reopened"))
    }

    /// Returns whether the tables, which were reopened, are to be read through.
    fn is_reading_due(&self) -> bool {
        let now = self.clock.monotonic();
        let mut attempts = locked(&self.attempts);
        let is_due = now >= attempts.read_not_before;
        if is_due {
            attempts.read_not_before = now + READ_THROUGH_EVERY;
        }
        is_due
    }

    /// Puts other tables, which nobody else uses, in the place of these, and opens them there. Reads wait meanwhile.
    fn replace_by(&self, successor: Arc<dyn Kv>) -> KvResult<()> {
        let mut open = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(tables) = open.take()
            && !is_unused(&tables, REPLACED_READS_LOOKS_MAX)
        {
            *open = Some(tables);
            return Err(in_use());
        }
        drop(successor);
        self.opens.put_successor()?;
        *open = Some(self.opens.open()?);
        Ok(())
    }

    /// Begins an attempt, and returns true, if one is due.
    fn begin(&self) -> bool {
        let now = self.clock.monotonic();
        let mut attempts = locked(&self.attempts);
        if !attempts.armed || attempts.under_way || now < attempts.not_before {
            return false;
        }
        attempts.under_way = true;
        attempts.not_before = now + attempts.pause;
        attempts.pause = (attempts.pause * 2).min(PAUSE_MAX);
        true
    }

    fn note_success(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            locked(&self.attempts).pause = PAUSE_MIN;
        }
    }

    /// Closes the tables and opens them again. Blocks for long: closing waits for the threads of the tables, and
    /// opening reads their journal.
    fn open_again(&self) -> KvResult<()> {
        self.opens.check_room()?;
        self.close()?;
        let tables = self.opens.open()?;
        let mut committed = locked(&self.committed);
        let found = number_in(&*tables, self.row)?;
        if found < *committed {
            let first = found + 1;
            let cause = format!("commits {first} to {committed} are lost; restart the process, which replays them");
            return Err(KvError::new("reopen tables", cause));
        }
        *committed = found;
        self.put(Some(tables));
        Ok(())
    }

    fn put(&self, tables: Option<Arc<dyn OwnedRanges>>) -> Option<Arc<dyn OwnedRanges>> {
        std::mem::replace(&mut *self.tables.write().unwrap_or_else(PoisonError::into_inner), tables)
    }

    /// Closes the tables and waits until nobody uses them. If that takes too long, they stay open and this fails.
    fn close(&self) -> KvResult<()> {
        let Some(tables) = self.put(None) else { return Ok(()) };
        if is_unused(&tables, READS_LOOKS_MAX) {
            return Ok(());
        }
        self.put(Some(tables));
        Err(in_use())
    }
}

/// Waits until nobody else uses these tables, which are not to be had any more. Returns false if that takes too long.
fn is_unused(tables: &Arc<dyn OwnedRanges>, looks_max: u32) -> bool {
    for _ in 0..looks_max {
        // New references are made only by those who hold one.
        if Arc::strong_count(tables) == 1 {
            return true;
        }
        thread::sleep(READS_POLL);
    }
    false
}

fn in_use() -> KvError {
    KvError::new("close tables", "they are in use")
}

/// Locks a mutex, even if another thread panicked while it held the lock: each protected value is changed in one step,
/// so that it is never inconsistent.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number_in(tables: &dyn OwnedRanges, row: CommitRow) -> KvResult<u64> {
    let Some(found) = tables.get(row.table, row.key)? else { return Ok(0) };
    let number = <[u8; 8]>::try_from(&found[..]).map(u64::from_be_bytes);
    number.map_err(|_| KvError::new("read the number of the last commit", format!("it is {found:?}")))
}

impl KvRead for RevivingKv {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.tables()?.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        match self.tables() {
            Ok(tables) => Box::new(HeldRange { pairs: tables.owned_range(table, from, to), _tables: tables }),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

impl Kv for RevivingKv {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        match self.tables() {
            Ok(tables) => Arc::new(HeldSnapshot { view: tables.snapshot(), _tables: tables }),
            Err(error) => Arc::new(ClosedSnapshot { error }),
        }
    }

    fn commit(&self, mut batch: Batch) -> KvResult<()> {
        let mut committed = locked(&self.shared.committed);
        let (tables, number) = (self.tables()?, *committed + 1);
        batch.put(self.shared.row.table, self.shared.row.key, number.to_be_bytes().to_vec());
        let done = tables.commit(batch);
        if done.is_ok() {
            *committed = number;
        }
        drop((committed, tables));
        self.judge(done)
    }

    fn persist(&self) -> KvResult<()> {
        let done = self.tables()?.persist();
        self.judge(done)
    }

    fn hold(&self) -> KvResult<Hold> {
        Ok(Hold { _tables: Some(self.tables()?) })
    }

    fn disk_bytes(&self) -> u64 {
        self.tables().map_or(0, |tables| tables.disk_bytes())
    }

    fn close(&self) -> KvResult<()> {
        {
            let mut attempts = locked(&self.shared.attempts);
            attempts.armed = false;
            if attempts.under_way {
                return Err(KvError::new("close tables", "they are being reopened"));
            }
        }
        self.shared.close()
    }

    fn damage(&self) -> Option<String> {
        self.shared.opens.damage()
    }

    fn successor(&self) -> KvResult<Arc<dyn Kv>> {
        self.shared.opens.open_successor()
    }

    fn discard_successor(&self) -> KvResult<()> {
        self.shared.opens.discard_successor()
    }

    fn replace_by(&self, successor: Arc<dyn Kv>) -> KvResult<()> {
        let _claim = self.shared.claim()?;
        let committed = locked(&self.shared.committed);
        // Whichever tables are found later have this number, and so lack no commit.
        let mut number = Batch::default();
        number.put(self.shared.row.table, self.shared.row.key, committed.to_be_bytes().to_vec());
        successor.commit(number)?;
        successor.persist()?;
        self.shared.replace_by(successor)
    }
}

/// A range being read: the tables stay open until it is dropped.
struct HeldRange {
    pairs: PairIter<'static>,
    _tables: Arc<dyn OwnedRanges>,
}

impl Iterator for HeldRange {
    type Item = KvResult<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pairs.next()
    }
}

impl DoubleEndedIterator for HeldRange {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.pairs.next_back()
    }
}

/// A snapshot of all tables, which stay open until it is dropped.
#[derive(Debug)]
struct HeldSnapshot {
    view: Arc<dyn KvRead>,
    _tables: Arc<dyn OwnedRanges>,
}

impl KvRead for HeldSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.view.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        self.view.range(table, from, to)
    }
}

/// A snapshot that was taken while the tables were closed: every read fails.
#[derive(Debug)]
struct ClosedSnapshot {
    error: KvError,
}

impl KvRead for ClosedSnapshot {
    fn get(&self, _table: Table, _key: &[u8]) -> KvResult<Option<Bytes>> {
        Err(self.error.clone())
    }

    fn range(&self, _table: Table, _from: Bound<&[u8]>, _to: Bound<&[u8]>) -> PairIter<'_> {
        Box::new(std::iter::once(Err(self.error.clone())))
    }
}
