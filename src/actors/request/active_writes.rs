//! `ActiveWrites`: the registry of blobs that are being written on this host. It draws their ids, and keeps the fence
//! from being raised above a write that may still succeed.
//!
//! The rule: an answer of `settle` holds for good. Every id drawn after it is at or above the floor in the question.
//! Every id drawn before it, whose write is still under way, is at or above the answer. So no write of this host falls
//! below a fence that the host agreed to, whatever its wall clock says. A restart loses the registry, but also the
//! writes in it, and before the host draws its first id it looks the fence up (`RequestContext::begin_write`).

use crate::ambient::Ambient;
use crate::defects::{Defect, has};
use crate::types::{BlobId, UnixMs};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The registry of writes under way. Cheap to clone; clones share the registry.
#[derive(Clone, Debug, Default)]
pub struct ActiveWrites {
    ids: Arc<Mutex<Ids>>,
}

#[derive(Debug, Default)]
struct Ids {
    /// The least time of an id that may still be drawn.
    floor: UnixMs,
    under_way: BTreeSet<BlobId>,
    /// True if the floor was set above the fence, and no write was refused since because of the fence.
    is_above_fence: bool,
}

/// A guard of a write under way.
#[derive(Debug)]
pub struct ActiveWrite {
    blob: BlobId,
    ids: Arc<Mutex<Ids>>,
}

impl ActiveWrites {
    /// Draws the id of a new blob and registers its write. Hold the guard until the change that adopts the blob is
    /// decided. If it is dropped earlier, the change is refused as `Fenced` at worst (`require_fresh`).
    pub fn begin(&self, ambient: &Ambient) -> ActiveWrite {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let time = ambient.clock.unix_ms().max(ids.floor).min(BlobId::TIME_MAX);
        let mut blob = BlobId(ambient.id_at(time));
        if has(Defect::ReuseBlobId) {
            blob = BlobId(u128::from(time.0) << 80);
        }
        ids.under_way.insert(blob);
        ActiveWrite { blob, ids: Arc::clone(&self.ids) }
    }

    /// Returns whether an id can be drawn without looking the fence up first.
    pub fn is_above_fence(&self) -> bool {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).is_above_fence
    }

    /// Raises the floor above the fence, so that no id at or below the fence is drawn from now on.
    pub fn rise_above(&self, fence: BlobId) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.floor = ids.floor.max(fence.next_time());
        ids.is_above_fence = true;
    }

    /// Records that a write was refused because of the fence. The fence has risen without this host and must be looked
    /// up.
    pub fn was_fenced_off(&self) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).is_above_fence = false;
    }

    /// Agrees to draw no id below `floor` from now on. Returns the id of the oldest write under way, or the least id
    /// that may still be drawn, whichever is less.
    pub fn settle(&self, floor: UnixMs) -> BlobId {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.floor = ids.floor.max(floor);
        let next = BlobId::first_of(ids.floor.min(BlobId::TIME_MAX));
        ids.under_way.first().map_or(next, |oldest| next.min(*oldest))
    }

    pub fn count(&self) -> usize {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).under_way.len()
    }
}

impl ActiveWrite {
    pub fn blob(&self) -> BlobId {
        self.blob
    }
}

impl Drop for ActiveWrite {
    fn drop(&mut self) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).under_way.remove(&self.blob);
    }
}

#[cfg(test)]
mod tests {
    use super::ActiveWrites;
    use crate::ambient::{Ambient, Clock};
    use crate::types::{BlobId, UnixMs};
    use std::sync::Arc;
    use std::time::Duration;

    const NOW: UnixMs = UnixMs(1_000_000);

    #[derive(Debug)]
    struct Stopped;

    impl Clock for Stopped {
        fn unix_ms(&self) -> UnixMs {
            NOW
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn ambient() -> Ambient {
        Ambient { clock: Arc::new(Stopped), ..Ambient::system() }
    }

    #[test]
    fn settle_returns_the_oldest_write_under_way() {
        let writes = ActiveWrites::default();
        let (first, second) = (writes.begin(&ambient()), writes.begin(&ambient()));
        let (low, high) = (first.blob().min(second.blob()), first.blob().max(second.blob()));
        let later = UnixMs(NOW.0 + 60_000);
        assert_eq!(writes.settle(later), low);
        drop(if first.blob() == low { first } else { second });
        assert_eq!((writes.settle(later), writes.count()), (high, 1));
    }

    #[test]
    fn no_id_is_drawn_below_an_agreed_floor_even_if_the_clock_is_behind() {
        let writes = ActiveWrites::default();
        let ahead = UnixMs(NOW.0 + 25 * 3_600_000);
        let settled = writes.settle(ahead);
        assert_eq!(settled, BlobId::first_of(ahead));
        assert!(writes.begin(&ambient()).blob() >= settled);
        assert_eq!(writes.settle(NOW), settled, "a lower floor does not lower the agreed one");
        assert!(writes.begin(&ambient()).blob() >= settled);
    }

    #[test]
    fn a_floor_beyond_the_greatest_id_is_clamped() {
        let writes = ActiveWrites::default();
        let settled = writes.settle(UnixMs(u64::MAX));
        assert_eq!(settled, BlobId::first_of(BlobId::TIME_MAX));
        assert!(writes.begin(&ambient()).blob() >= settled);
    }
}
