//! `ActiveReads`: the registry of reads under way on this host, so that the reclaimer does not drop a shard during a
//! read.
//!
//! The rule: a blob that is garbage at some moment is needed only by reads that began before that moment. So the
//! reclaimer takes a `mark` after it has looked the garbage up, and drops the shards once every read that began before
//! the mark has ended. A read that stalls cannot hold space for ever: after `READ_HOLD_MAX` it is no longer waited for.
//!
//! A read may be registered some time after the view was taken in which its manifest is found. The reclaimer therefore
//! counts a mark only for blobs that had been garbage for `RECLAIM_GRACE` when it took the mark.

use crate::ambient::Clock;
use crate::limits::READ_HOLD_MAX;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The registry of reads under way. Cheap to clone; clones share the registry.
#[derive(Clone, Debug)]
pub struct ActiveReads {
    reads: Arc<Mutex<Reads>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Reads {
    next: u64,
    /// The start of each read under way, by its number.
    began: BTreeMap<u64, Duration>,
}

/// A guard of a read under way.
#[derive(Debug)]
pub struct ActiveRead {
    number: u64,
    reads: Arc<Mutex<Reads>>,
}

/// A moment in the order in which reads began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadMark(u64);

impl ActiveReads {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { reads: Arc::default(), clock }
    }

    /// Registers a read until the guard is dropped. Call it before the object is looked up.
    pub fn begin(&self) -> ActiveRead {
        let now = self.clock.monotonic();
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let number = reads.next;
        reads.next += 1;
        reads.began.insert(number, now);
        ActiveRead { number, reads: Arc::clone(&self.reads) }
    }

    /// Returns a mark of the current moment.
    pub fn mark(&self) -> ReadMark {
        ReadMark(self.reads.lock().unwrap_or_else(PoisonError::into_inner).next)
    }

    /// Returns whether every read that began before `mark` has ended or is older than `READ_HOLD_MAX`.
    pub fn is_past(&self, mark: ReadMark) -> bool {
        let now = self.clock.monotonic();
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads.began.range(..mark.0).all(|(_, &began)| now.saturating_sub(began) >= READ_HOLD_MAX)
    }

    /// Returns the age of the oldest read that is not older than `READ_HOLD_MAX`.
    pub fn oldest_age(&self) -> Option<Duration> {
        let now = self.clock.monotonic();
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let ages = reads.began.values().map(|&began| now.saturating_sub(began));
        ages.filter(|&age| age < READ_HOLD_MAX).max()
    }

    pub fn count(&self) -> usize {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).began.len()
    }
}

impl Drop for ActiveRead {
    fn drop(&mut self) {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).began.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::ActiveReads;
    use crate::ambient::Clock;
    use crate::limits::READ_HOLD_MAX;
    use crate::types::UnixMs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[derive(Debug, Default)]
    struct SetClock(AtomicU64);

    impl Clock for SetClock {
        fn unix_ms(&self) -> UnixMs {
            UnixMs(0)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_mark_is_past_when_the_reads_before_it_have_ended() {
        let reads = ActiveReads::new(Arc::new(SetClock::default()));
        let early = reads.begin();
        let mark = reads.mark();
        let late = reads.begin();
        assert!(!reads.is_past(mark));
        drop(early);
        assert!(reads.is_past(mark), "a read that began after the mark does not need what was garbage then");
        drop(late);
        assert_eq!(reads.count(), 0);
    }

    #[test]
    fn a_stalled_read_is_waited_for_only_for_a_bounded_time() {
        let clock = Arc::new(SetClock::default());
        let reads = ActiveReads::new(clock.clone());
        let _stalled = reads.begin();
        let mark = reads.mark();
        assert!(!reads.is_past(mark));
        clock.0.store(READ_HOLD_MAX.as_secs(), Ordering::Relaxed);
        assert!(reads.is_past(mark));
    }
}
