//! Tables that record the first failure of a read. Only the reader of a damaged block notices it; the record makes the
//! damage known to the code that can rebuild the tables. A read for which the host lacks resources says nothing of the
//! tables, and is not recorded.

use super::{Batch, Hold, Kv, KvError, KvRead, KvResult, PairIter, Table};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// The first failure of a read of the tables, or of any snapshot of them.
#[derive(Clone, Debug, Default)]
pub struct ReadFailure {
    noted: Arc<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    first: OnceLock<KvError>,
    claimed: AtomicBool,
    /// True once a commit has failed.
    commit: AtomicBool,
}

impl ReadFailure {
    pub fn get(&self) -> Option<&KvError> {
        self.noted.first.get()
    }

    /// Returns whether the store beneath failed, in a read or a commit. If it did not, an error comes from the content
    /// of the rows, or from code that used them.
    pub fn is_of_store(&self) -> bool {
        self.get().is_some() || self.noted.commit.load(Ordering::Relaxed)
    }

    /// Returns true once after a failure: to the caller that will handle it.
    pub fn claim(&self) -> bool {
        self.get().is_some() && !self.noted.claimed.swap(true, Ordering::Relaxed)
    }

    fn watch<T>(&self, read: KvResult<T>) -> KvResult<T> {
        if let Err(error) = &read {
            self.note(error);
        }
        read
    }

    fn note(&self, error: &KvError) {
        if !error.lacks_resources {
            let _ = self.noted.first.set(error.clone());
        }
    }
}

#[derive(Debug)]
pub struct WatchedKv {
    kv: Arc<dyn Kv>,
    failure: ReadFailure,
}

#[derive(Debug)]
struct WatchedView {
    view: Arc<dyn KvRead>,
    failure: ReadFailure,
}

impl WatchedKv {
    pub fn new(kv: Arc<dyn Kv>) -> (Self, ReadFailure) {
        let failure = ReadFailure::default();
        (Self { kv, failure: failure.clone() }, failure)
    }
}

fn watched<'a>(pairs: PairIter<'a>, failure: &ReadFailure) -> PairIter<'a> {
    let failure = failure.clone();
    Box::new(pairs.inspect(move |pair| {
        if let Err(error) = pair {
            failure.note(error);
        }
    }))
}

impl KvRead for WatchedKv {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.failure.watch(self.kv.get(table, key))
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        watched(self.kv.range(table, from, to), &self.failure)
    }
}

impl KvRead for WatchedView {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.failure.watch(self.view.get(table, key))
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        watched(self.view.range(table, from, to), &self.failure)
    }
}

impl Kv for WatchedKv {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        Arc::new(WatchedView { view: self.kv.snapshot(), failure: self.failure.clone() })
    }

    fn commit(&self, batch: Batch) -> KvResult<()> {
        self.kv.commit(batch).inspect_err(|_| self.failure.noted.commit.store(true, Ordering::Relaxed))
    }

    fn persist(&self) -> KvResult<()> {
        self.kv.persist()
    }

    fn hold(&self) -> KvResult<Hold> {
        self.kv.hold()
    }

    fn disk_bytes(&self) -> u64 {
        self.kv.disk_bytes()
    }

    fn close(&self) -> KvResult<()> {
        self.kv.close()
    }
}

#[cfg(test)]
mod tests {
    use super::WatchedKv;
    use crate::storage::kv::{Batch, Kv, KvError, KvRead, KvResult, PairIter, Table};
    use bytes::Bytes;
    use std::ops::Bound;
    use std::sync::Arc;

    /// A store that cannot read two keys, one of them for want of descriptors, and takes no commit.
    #[derive(Debug)]
    struct Damaged;

    fn damage() -> KvError {
        KvError::new("look up a key", "a block's checksum differs")
    }

    impl KvRead for Damaged {
        fn get(&self, _: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
            match key {
                b"damaged" => Err(damage()),
                b"lacking" => Err(KvError { lacks_resources: true, ..damage() }),
                _ => Ok(None),
            }
        }

        fn range(&self, _: Table, _: Bound<&[u8]>, _: Bound<&[u8]>) -> PairIter<'_> {
            Box::new([Ok((Bytes::from("a"), Bytes::new())), Err(damage())].into_iter())
        }
    }

    impl Kv for Damaged {
        fn snapshot(&self) -> Arc<dyn KvRead> {
            Arc::new(Self)
        }

        fn commit(&self, _: Batch) -> KvResult<()> {
            Err(KvError::new("commit", "no space left"))
        }

        fn persist(&self) -> KvResult<()> {
            Ok(())
        }

        fn disk_bytes(&self) -> u64 {
            0
        }
    }

    const TABLE: Table = Table("table");

    #[test]
    fn a_failed_lookup_in_a_snapshot_is_noted_and_claimed_once() {
        let (kv, failure) = WatchedKv::new(Arc::new(Damaged));
        assert!(kv.snapshot().get(TABLE, b"whole").is_ok());
        assert!(failure.get().is_none() && !failure.claim());
        assert!(kv.snapshot().get(TABLE, b"damaged").is_err());
        assert!(failure.get().is_some());
        assert_eq!((failure.claim(), failure.claim()), (true, false));
    }

    #[test]
    fn a_read_that_fails_for_want_of_descriptors_or_memory_is_not_noted() {
        let (kv, failure) = WatchedKv::new(Arc::new(Damaged));
        assert!(kv.get(TABLE, b"lacking").is_err() && kv.snapshot().get(TABLE, b"lacking").is_err());
        assert!(failure.get().is_none() && !failure.is_of_store());
        assert!(kv.get(TABLE, b"damaged").is_err());
        assert!(failure.is_of_store());
    }

    #[test]
    fn a_commit_that_fails_is_a_failure_of_the_store_and_not_of_a_read() {
        let (kv, failure) = WatchedKv::new(Arc::new(Damaged));
        assert!(!failure.is_of_store());
        assert!(kv.commit(Batch::default()).is_err());
        assert!(failure.is_of_store() && failure.get().is_none());
    }

    #[test]
    fn damage_in_a_range_is_noted_when_the_reader_reaches_it() {
        let (kv, failure) = WatchedKv::new(Arc::new(Damaged));
        let mut pairs = kv.range(TABLE, Bound::Unbounded, Bound::Unbounded);
        assert!(pairs.next().is_some_and(|pair| pair.is_ok()));
        assert!(failure.get().is_none());
        assert!(pairs.next().is_some_and(|pair| pair.is_err()));
        assert!(failure.get().is_some());
    }
}
