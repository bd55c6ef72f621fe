//! Blobs that are being written on this host, so that the fence of fresh blobs is not raised above one whose write may still
//! end well; and the place where their ids are drawn.
//!
//! The rule: an answer to `settle` holds for good. Every id that is drawn after it is at or above the floor that came with the
//! question, and every id that was drawn before and whose write goes on is at or above the answer. So ids never fall behind a
//! fence that this host agreed to, whatever its wall clock says. That the registry is lost in a restart does no harm: the
//! writes are lost with it, and before it draws its first id the host looks the fence up (`RequestContext::begin_write`).

use crate::ambient::Ambient;
use crate::defects::{Defect, has};
use crate::types::{BlobId, UnixMs};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The registry. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct ActiveWrites {
    ids: Arc<Mutex<Ids>>,
}

#[derive(Debug, Default)]
struct Ids {
    /// No id with an earlier time is drawn.
    floor: UnixMs,
    under_way: BTreeSet<BlobId>,
    /// True if the floor was above the fence when the fence was last looked up, and no write was refused since.
    is_above_fence: bool,
}

/// A guard of a write under way.
#[derive(Debug)]
pub struct ActiveWrite {
    blob: BlobId,
    ids: Arc<Mutex<Ids>>,
}

impl ActiveWrites {
    /// Draws the id of a blob that is written from now on. Its guard is to be held until the change that adopts it is decided.
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

    /// Returns whether ids can be drawn without looking the fence up first.
    pub fn is_above_fence(&self) -> bool {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).is_above_fence
    }

    /// Draws no id at or below the fence from now on.
    pub fn rise_above(&self, fence: BlobId) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.floor = ids.floor.max(fence.next_time());
        ids.is_above_fence = true;
    }

    /// Notes that a write was refused as fenced off: the fence has risen without this host, and must be looked up.
    pub fn was_fenced_off(&self) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).is_above_fence = false;
    }

    /// The id of the oldest write under way, or the least that may still be drawn: from now on none is drawn below `floor`.
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
    fn the_oldest_write_under_way_holds_the_answer() {
        let writes = ActiveWrites::default();
        let (first, second) = (writes.begin(&ambient()), writes.begin(&ambient()));
        let (low, high) = (first.blob().min(second.blob()), first.blob().max(second.blob()));
        let later = UnixMs(NOW.0 + 60_000);
        assert_eq!(writes.settle(later), low);
        drop(if first.blob() == low { first } else { second });
        assert_eq!((writes.settle(later), writes.count()), (high, 1));
    }

    #[test]
    fn no_id_is_drawn_below_a_floor_that_was_agreed_to_whatever_the_clock_says() {
        let writes = ActiveWrites::default();
        let ahead = UnixMs(NOW.0 + 25 * 3_600_000);
        let settled = writes.settle(ahead);
        assert_eq!(settled, BlobId::first_of(ahead));
        assert!(writes.begin(&ambient()).blob() >= settled);
        assert_eq!(writes.settle(NOW), settled, "a later question does not lower it");
        assert!(writes.begin(&ambient()).blob() >= settled);
    }

    #[test]
    fn a_floor_beyond_all_ids_is_the_greatest_time_of_an_id() {
        let writes = ActiveWrites::default();
        let settled = writes.settle(UnixMs(u64::MAX));
        assert_eq!(settled, BlobId::first_of(BlobId::TIME_MAX));
        assert!(writes.begin(&ambient()).blob() >= settled);
    }
}
