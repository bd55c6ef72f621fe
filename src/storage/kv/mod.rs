//! Ordered tables of bytes: what derived state (the shard index, the metadata tables) is kept in. Two kinds behind one
//! trait: `fjall` on a drive, and `memory` for simulation and tests, whose "power cut" keeps a prefix of the commits.
//! `reviving` opens tables again that failed while the process lives; `watched` remembers that they could not be read.
//!
//! A commit is atomic and ordered: after a crash, what is found is the state after some prefix of the commits that
//! includes every commit before the last `persist`.

pub mod fjall;
pub mod memory;
pub mod reviving;
pub mod watched;

#[cfg(test)]
mod conformance;

use bytes::Bytes;
use std::fmt::Debug;
use std::ops::Bound;
use std::sync::Arc;

/// One table, by its fixed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

/// A failure of the store beneath the tables. After one of a commit or a `persist` no other succeeds, unless whoever holds
/// the tables opens them again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("table store failed while {doing}: {cause}")]
pub struct KvError {
    pub doing: &'static str,
    pub cause: String,
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

/// Reading, of the present or of one moment.
pub trait KvRead: Send + Sync + Debug + 'static {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>>;
    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_>;
}

/// A set of tables.
pub trait Kv: KvRead {
    /// Returns a snapshot of all tables, in which later commits do not show.
    fn snapshot(&self) -> Arc<dyn KvRead>;
    /// Visible at once, durable after `persist`. One that fails is not visible, and may yet be found where the tables are
    /// opened again.
    fn commit(&self, batch: Batch) -> KvResult<()>;
    /// Makes every commit so far durable. Slow: never on the path of a request.
    fn persist(&self) -> KvResult<()>;
    /// Holds the present opening of the tables: everything read and committed while the answer lives is of it, or
    /// fails. For a commit that depends on an earlier read.
    fn hold(&self) -> KvResult<Hold> {
        Ok(Hold::default())
    }
    /// Approximate bytes on disk.
    fn disk_bytes(&self) -> u64;
    /// Closes the tables for good: nothing of them touches their place on disk afterwards, and every later use fails.
    /// Blocking; an error while somebody still uses them. Does nothing where the tables have no place that another store
    /// may be given.
    fn close(&self) -> KvResult<()> {
        Ok(())
    }
}

/// See `Kv::hold`.
#[derive(Debug, Default)]
pub struct Hold {
    _tables: Option<Arc<dyn Kv>>,
}

/// The least byte string that is greater than every string with this prefix; `None` where there is none.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Bounds in a form that every store beneath takes: `None` where no key can lie between them, and no bound that is the
/// empty key, which no row has.
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
