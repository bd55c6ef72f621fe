//! The messages of the `WalWriter`: from handles, from the log's other actors, and to itself.

use super::append_queue::{Patience, Placed, Reply};
use super::state::QueuedBytes;
use crate::storage::wal::progress::Ack;
use crate::storage::wal::{CheckedRecord, Location, WalError, WritableSegment};
use crate::types::{Lsn, SegmentId};
use actix::Message;
use std::collections::VecDeque;

/// Append these records, in this order.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct AppendRecords {
    pub(super) records: VecDeque<CheckedRecord>,
    pub(super) ack: Ack,
    pub(super) patience: Patience,
    pub(super) queued: QueuedBytes,
    pub(super) reply: Reply<Vec<Location>>,
}

/// Answer once everything that is written by now is on stable storage; sync it at once. The reply has no locations.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SyncWritten {
    pub(super) reply: Reply<Vec<Location>>,
}

/// Seal the open segment, unless it is empty.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct RotateSegment {
    pub(super) reply: Reply<()>,
}

/// Take a sealed segment out of use.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ReleaseSegment {
    pub(super) id: SegmentId,
    pub(super) reply: Reply<()>,
}

/// Write and sync what was accepted, then stop.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct CloseLog {
    pub(super) reply: Reply<()>,
}

/// The sync in flight ended. If it succeeded, those who waited for it are answered already.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Synced {
    pub(super) outcome: Result<(), SyncFailed>,
}

/// A failed sync, and the appends that waited for it.
pub(super) struct SyncFailed {
    pub(super) error: WalError,
    pub(super) waiters: Vec<Placed>,
}

/// The requested segment is durable and empty, or could not be made.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SegmentPrepared {
    pub(super) outcome: Result<WritableSegment, WalError>,
}

/// An append was refused for want of space: check the free space again.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SpaceWanted;

/// The file of a released segment was retired.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SpaceFreed;

/// Write what is queued.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct FlushBatch;

/// The flush delay has passed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct FlushDue;

/// The mark delay has passed since everything up to `at` was synced.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct MarkDue {
    pub(super) at: Lsn,
}

/// Try again to make a segment, after the drive had no space for one.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct RoomDue;
