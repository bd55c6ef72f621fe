//! The state of moving on this host.

use crate::metrics;
use crate::types::Epoch;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts are of this host: of shards that are to be moved to its nodes. Hosts tell each other in this form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveStatus {
    /// The epoch of the layout that is being followed.
    pub epoch: Epoch,
    /// True if all blobs were compared with this layout, and nothing is left to be moved here.
    pub settled: bool,
    /// The shards left to be moved, as far as known.
    pub shards_left: u64,
    pub bytes_left: u64,
    /// The shards, of these, that are put off to the next pass: a node is down or full, or still has an older copy to
    /// drop.
    pub shards_waiting: u64,
    /// The shards moved since the process began.
    pub shards_moved: u64,
}

/// A handle to the mover. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct MoverHandle {
    status: Arc<Mutex<MoveStatus>>,
}

impl MoverHandle {
    pub fn status(&self) -> MoveStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut MoveStatus)) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut status);
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        metrics::SHARDS_TO_MOVE.with_label_values(&["left"]).set(gauge(status.shards_left));
        metrics::SHARDS_TO_MOVE.with_label_values(&["waiting"]).set(gauge(status.shards_waiting));
        metrics::BYTES_TO_MOVE.with_label_values::<&str>(&[]).set(gauge(status.bytes_left));
    }
}
