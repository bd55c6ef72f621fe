//! `Reserve`: the share of the memory that small requests take without a message to `S3Frontend`, which would cost
//! them more than the rest of their admission. A request that finds the reserve used up asks the actor like any other,
//! so that no holder can keep others out by holding the reserve.

use super::Permit;
use crate::limits::INLINE_BYTES_MAX;
use crate::metrics::PERMIT_BYTES;
use prometheus::IntGauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that a request may hold to be admitted from the reserve: those of an object that is stored inline.
const SMALL_BYTES_MAX: u64 = 2 * INLINE_BYTES_MAX as u64;
/// The reserve is `1 / SHARE` of the memory.
const SHARE: u64 = 16;

#[derive(Debug)]
pub(super) struct Reserve {
    free: AtomicU64,
    in_use: IntGauge,
}

impl Reserve {
    /// Makes the reserve of this memory. Returns it with the bytes that are left for the actor.
    pub(super) fn of(memory_bytes: u64) -> (Arc<Self>, u64) {
        let bytes = memory_bytes / SHARE;
        let in_use = PERMIT_BYTES.with_label_values(&["in use"]);
        (Arc::new(Self { free: AtomicU64::new(bytes), in_use }), memory_bytes - bytes)
    }

    /// Takes the permit of a small request. `None` if the request is not small, or the reserve is used up.
    pub(super) fn admit(self: &Arc<Self>, bytes: u64) -> Option<Permit> {
        if bytes > SMALL_BYTES_MAX {
            return None;
        }
        let take = |free: u64| free.checked_sub(bytes);
        self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok()?;
        self.in_use.add(bytes as i64);
        Some(Permit::from_reserve(bytes, Arc::clone(self)))
    }

    pub(super) fn release(&self, bytes: u64) {
        self.free.fetch_add(bytes, Ordering::AcqRel);
        self.in_use.sub(bytes as i64);
    }
}
