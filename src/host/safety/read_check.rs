//! A periodic check that this host can read the metadata behind a barrier, as requests do; and the log index that the
//! host had applied a few seconds ago. That a leader is known proves nothing: a dead leader stays known until another
//! is elected.

use crate::actors::consensus::MetaHandle;
use crate::ambient::Clock;
use crate::limits::HOST_PROBE_EVERY;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The outcomes of the last reads. Cheap to clone; clones share their state.
#[derive(Clone, Debug, Default)]
pub(in crate::host) struct ReadCheck {
    failure: Arc<Mutex<Option<String>>>,
    /// The applied index at each of the last `LOOKS_TO_FOLLOW` reads, the oldest first.
    applied: Arc<Mutex<VecDeque<u64>>>,
    last: Arc<Mutex<LastRead>>,
    /// True if shards of blobs that the metadata does not know are kept since a recovery.
    keeps_unknown: Arc<AtomicBool>,
}

/// The last successful read.
#[derive(Debug, Default)]
struct LastRead {
    at: Option<Duration>,
    /// The index applied at the first read after this host was held up; 0 if it never was.
    applied_at_first: u64,
}

/// The age of the last successful read from which this host counts as held up: its process was stopped, or it was cut
/// off.
const HELD_UP_AFTER: Duration = Duration::from_secs(3);

/// The number of reads, at least a second apart, within which another replica must have applied what this one had
/// applied.
const LOOKS_TO_FOLLOW: usize = 5;

impl ReadCheck {
    /// Returns the reason why the last read failed; `None` if it succeeded, or none has ended yet.
    pub fn failure(&self) -> Option<String> {
        self.lock().clone()
    }

    pub fn keeps_unknown(&self) -> bool {
        self.keeps_unknown.load(Ordering::Relaxed)
    }

    /// Reads again and again, for as long as it is polled.
    pub async fn run(&self, metadata: &MetaHandle, clock: &dyn Clock) {
        loop {
            let read = metadata.read().await;
            if let Ok(Ok(recovery)) = read.as_ref().map(|view| view.recovery()) {
                self.keeps_unknown.store(recovery.is_some_and(|recovery| recovery.keeps_unknown), Ordering::Relaxed);
            }
            let failure = read.err().map(|error| error.to_string());
            let (is_read, applied) = (failure.is_none(), metadata.status().applied_index);
            *self.lock() = failure;
            self.note_applied(applied);
            if is_read {
                self.note_read(clock.monotonic(), applied);
            }
            tokio::time::sleep(HOST_PROBE_EVERY).await;
        }
    }

    /// Returns an index that every replica which follows the log has applied by now; 0 if this host has just started.
    pub fn applied_before(&self) -> u64 {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        if applied.len() < LOOKS_TO_FOLLOW { 0 } else { applied.front().copied().unwrap_or(0) }
    }

    /// Returns true if this host is not held up, and counts as of entry `as_of` were made after it was last held up.
    pub fn is_current(&self, as_of: u64, now: Duration) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_held_up = last.at.is_some_and(|at| now.saturating_sub(at) > HELD_UP_AFTER);
        !is_held_up && as_of >= last.applied_at_first
    }

    fn note_read(&self, now: Duration, applied: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.at.replace(now).is_some_and(|at| now.saturating_sub(at) > HELD_UP_AFTER) {
            last.applied_at_first = applied;
        }
    }

    fn note_applied(&self, index: u64) {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.push_back(index);
        while applied.len() > LOOKS_TO_FOLLOW {
            applied.pop_front();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::ReadCheck;
    use std::time::Duration;

    #[test]
    fn counts_made_before_the_host_was_held_up_are_not_current() {
        let (reads, second) = (ReadCheck::default(), Duration::from_secs);
        reads.note_read(second(1), 7);
        reads.note_read(second(2), 9);
        assert!(reads.is_current(7, second(3)));
        assert!(!reads.is_current(9, second(6)), "it was held up");
        reads.note_read(second(6), 20);
        assert!(!reads.is_current(9, second(6)) && reads.is_current(20, second(6)));
    }
}
