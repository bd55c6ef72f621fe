//! The directories and marks beside the store's own that a host keeps on each of its drives.

mod recovering;
mod set_aside;
mod unfilled;

pub(super) use recovering::{beside, clear, take_up};
pub(super) use set_aside::{KEPT_BY_RECOVERY, KEPT_BY_REJOIN, set_aside_all, set_aside_of_others, what_is_set_aside};
pub(super) use unfilled::{forget_compared, remember as remember_unfilled};

use crate::storage::identity::Drive;
use std::path::PathBuf;

/// Returns the directory of a drive's log of shards and their index.
pub(super) fn shards_dir(drive: &Drive) -> PathBuf {
    drive.dir.join("shards")
}
