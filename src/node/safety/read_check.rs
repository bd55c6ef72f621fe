//! Whether this host can read the metadata as it is now, and what it had applied a few seconds ago. Who leads, as a host knows
//! it, is no answer: a leader that is gone stays known for as long as no other is elected. So the host reads, once a second, as
//! a request would.

use crate::actors::consensus::MetaHandle;
use crate::limits::PROBE_EVERY;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(in crate::node) struct ReadCheck {
    failure: Arc<Mutex<Option<String>>>,
    /// The last entry that was applied at each of the last looks, the oldest first.
    applied: Arc<Mutex<VecDeque<u64>>>,
}

/// Looks, a second apart or more, within which another host must have applied what this one had.
const LOOKS_TO_FOLLOW: usize = 5;

impl ReadCheck {
    /// Why the last read failed; `None` where it did not, or where none has ended yet.
    pub fn failure(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Reads for as long as it is polled.
    pub async fn run(&self, metadata: &MetaHandle) {
        loop {
            let failure = metadata.read().await.err().map(|error| error.to_string());
            *self.lock() = failure;
            self.note_applied(metadata.status().applied_index);
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }

    /// What every host that follows has applied by now; 0 where this one has just started.
    pub fn applied_before(&self) -> u64 {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        if applied.len() < LOOKS_TO_FOLLOW { 0 } else { applied.front().copied().unwrap_or(0) }
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
