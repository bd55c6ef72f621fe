//! `UserLoad`: the number of user requests under way on this host, so that background work can give way to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts user requests under way. Cheap to clone; all clones are one counter.
#[derive(Clone, Debug, Default)]
pub struct UserLoad {
    under_way: Arc<AtomicUsize>,
}

/// A guard of a user request under way.
#[derive(Debug)]
pub struct UnderWay {
    counter: Arc<AtomicUsize>,
}

impl UserLoad {
    /// Counts a request until the guard is dropped.
    pub fn enter(&self) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay { counter: Arc::clone(&self.under_way) }
    }

    pub fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}
