//! Ordered tables of byte keys and values, which hold derived state: the shard index and the metadata tables. One trait
//! has two implementations: `fjall` on a drive, and `memory` for simulation and tests, whose power cut keeps a prefix
//! of the commits; a release has only the first. `reviving` reopens tables that failed while the process runs, and
//! replaces damaged ones by others that their owner made anew; `watched` records that a read failed.
//!
//! A commit is atomic, and commits are ordered: after a crash the tables are in the state after some prefix of the
//! commits, which includes every commit before the last `persist`.

pub mod fjall;
#[cfg(any(test, feature = "fuzzing", debug_assertions))]
pub mod memory;
pub mod reviving;
pub mod watched;

#[cfg(test)]
mod conformance;

use crate::storage::disk::host_lacks_resources;
use bytes::Bytes;
use std::fmt::Debug;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

/// One table, by its fixed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

/// A failure of the store beneath the tables. After a failed commit or `persist` every later one fails, until the
/// tables are reopened.
#[derive(Clone, Debug, thiserror::Error)]
#[error("table store: cannot {doing}: {cause}")]
pub struct KvError {
    /// The operation that failed, as an infinitive: "open a table".
    pub doing: &'static str,
    pub cause: String,
    /// True if the process or its host lacks file descriptors or memory, which says nothing of the tables.
    pub lacks_resources: bool,
}

impl KvError {
    pub fn new(doing: &'static str, cause: impl Into<String>) -> Self {
        Self { doing, cause: cause.into(), lacks_resources: false }
    }

    /// Returns the error of a failed call of the operating system.
    pub fn io(doing: &'static str, error: &io::Error) -> Self {
        Self { lacks_resources: host_lacks_resources(error), ..Self::new(doing, error.to_string()) }
    }
}

pub type KvResult<T> = Result<T, KvError>;
/// One key with its value.
pub type Pair = (Bytes, Bytes);
/// Pairs in ascending order of their keys; reversed by `rev()`.
pub type PairIter<'a> = Box<dyn DoubleEndedIterator<Item = KvResult<Pair>> + Send + 'a>;

/// Changes committed together. A later change of the same key in one batch wins. A key has 1 to 65,535 bytes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug)]
pub struct Change {
    pub table: Table,
    pub key: Bytes,
    /// `None` removes the key.
    pub value: Option<Bytes>,
}

impl Batch {
    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push(Change { table, key: key.into(), value: Some(value.into()) });
    }

    pub fn remove(&mut self, table: Table, key: impl Into<Bytes>) {
        self.changes.push(Change { table, key: key.into(), value: None });
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Read access to tables: to their present state, or to a snapshot.
pub trait KvRead: Send + Sync + Debug + 'static {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>>;
    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_>;
}

/// A set of tables.
pub trait Kv: KvRead {
    /// Returns a snapshot of all tables, in which later commits do not show.
    fn snapshot(&self) -> Arc<dyn KvRead>;
    /// Commits a batch, which is visible at once and durable after `persist`. A batch whose commit failed is not
    /// visible, but may be there after the tables are reopened.
    fn commit(&self, batch: Batch) -> KvResult<()>;
    /// Makes every commit so far durable. Slow: never on the path of a request.
    fn persist(&self) -> KvResult<()>;
    /// Keeps the tables from being reopened while the returned `Hold` lives: every read and commit meanwhile uses the
    /// present opening, or fails. For a commit that depends on an earlier read.
    fn hold(&self) -> KvResult<Hold> {
        Ok(Hold::default())
    }
    /// Returns the approximate bytes on disk.
    fn disk_bytes(&self) -> u64;
    /// Closes the tables for good: afterwards nothing touches their place on disk, and every use fails. Blocks. Returns
    /// an error while somebody uses the tables. The default does nothing; tables that can be reopened implement it.
    fn close(&self) -> KvResult<()> {
        Ok(())
    }
    /// Returns the damage that reads have met: a block or a file with other content than was written. It stays until
    /// the tables are replaced. The default knows of none; tables that can be replaced implement this and the rest.
    fn damage(&self) -> Option<String> {
        None
    }
    /// Creates empty tables beside these, from which they can be replaced. Those of an earlier call, which the caller
    /// has dropped, are removed. Blocks.
    fn successor(&self) -> KvResult<Arc<dyn Kv>> {
        Err(KvError::new("make tables anew", "these tables are never replaced"))
    }
    /// Removes what a dropped successor left. Blocks.
    fn discard_successor(&self) -> KvResult<()> {
        Ok(())
    }
    /// Puts a successor, of which the caller has the only reference, in the place of these tables for good, durably.
    /// All reads wait meanwhile, and those under way are waited for, so the caller must hold nothing of these tables.
    /// After an error the successor is lost, and it is not known which of the two will be open. Blocks.
    fn replace_by(&self, successor: Arc<dyn Kv>) -> KvResult<()> {
        drop(successor);
        Err(KvError::new("replace tables", "these tables are never replaced"))
    }
}

/// A lock on the present opening of tables (`Kv::hold`).
#[derive(Debug, Default)]
pub struct Hold {
    _tables: Option<Arc<dyn Kv>>,
}

/// Returns the least byte string that is greater than every string with this prefix; `None` if there is none.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Returns the bounds in a form that every store accepts: no bound is the empty key, which no row has. Returns `None`
/// if no key can lie between them.
fn bounds<'a>(from: Bound<&'a [u8]>, to: Bound<&'a [u8]>) -> Option<KeyBounds<'a>> {
    let from = match from {
        Bound::Included([]) | Bound::Excluded([]) => Bound::Unbounded,
        from => from,
    };
    let possible = match (from, to) {
        (_, Bound::Included([]) | Bound::Excluded([])) => false,
        (Bound::Included(from), Bound::Included(to)) => from <= to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from < to,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
    };
    possible.then_some((from, to))
}
