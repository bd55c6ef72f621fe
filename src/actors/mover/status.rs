//! The progress of the mover on this host, for the admin API and metrics.

use crate::metrics;
use crate::types::Epoch;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// The progress of one host's mover. The counts are of shards that are to be moved to this host's nodes. Hosts send it
/// to each other in this form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveStatus {
    /// The epoch of the layout that is being followed.
    pub epoch: Epoch,
    /// True if all blobs were compared with this layout and no shard is left to move here.
    pub settled: bool,
    /// The number of shards left to move, as counted by the last pass.
    pub shards_left: u64,
    pub bytes_left: u64,
    /// The number of these shards that wait for the next pass, because a node is down or full or still has an outdated
    /// copy.
    pub shards_waiting: u64,
    /// The number of shards moved since the process started.
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
