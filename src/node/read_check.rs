//! Whether this host can read the metadata as it is now. Who leads, as a host knows it, is no answer: a leader that is gone
//! stays known for as long as no other is elected. So the host reads, once a second, as a request would.

use crate::actors::consensus::MetaHandle;
use crate::limits::PROBE_EVERY;
use std::sync::{Arc, Mutex, PoisonError};

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadCheck {
    failure: Arc<Mutex<Option<String>>>,
}

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
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
