//! A read-only survey of a log that is not in use: visits the records that a replay from its start would deliver, and
//! reports its bad spots.

use super::format::log_tag;
use super::open::{check_headers, find_segments};
use super::recovery::CorruptSpot;
use super::recovery::Replay;
use super::{LogOptions, ScannedRecord, WalError};
use crate::storage::disk::Disk;
use crate::types::Lsn;
use std::sync::Arc;

/// The positions of a log at which a record is expected and none is valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadSpots {
    /// Spots that were synced once, or may have been.
    pub rot: Vec<CorruptSpot>,
    /// Spots that are not known to have been synced: records that were being written when the process or the power
    /// failed, or damage at the log's very end. At most one of them is the log's end itself.
    pub torn: Vec<CorruptSpot>,
}

/// Visits the records of a log as `open_log` would, but writes nothing and does not create a missing directory. Blocks
/// on the disk.
pub fn survey_log(
    disk: &Arc<dyn Disk>,
    options: &LogOptions,
    visit: &mut dyn FnMut(ScannedRecord),
) -> Result<BadSpots, WalError> {
    let segments = find_segments(disk, options)?;
    let mut rot = check_headers(disk, options, &segments, Lsn(0))?;
    let replayed = Replay::new(&segments, log_tag(&options.identity), options, Lsn(0)).run(visit)?;
    rot.extend(replayed.rot);
    rot.sort_by_key(|spot| spot.at);
    Ok(BadSpots { rot, torn: replayed.torn })
}
