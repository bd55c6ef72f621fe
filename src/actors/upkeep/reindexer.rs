//! `Reindexer`: the chore that makes the shard index of a drive anew from the drive's log, once damage was met in it.
//! Owns the list of the segments still to be read. The drive serves meanwhile: what the damaged index still finds is
//! read, and what is written goes into both.
//!
//! Invariants are those of `storage::shard_index`: all that was published before the remake began is in the segments
//! that are read, since the log begins another one for what comes later.
//!
//! A remake that fails (the drive has no room for a second index, or fails itself) is given up and begun again later.
//! So is one that ended well, if damage is met again, but much later: it reads the whole log. A segment of which much
//! cannot be read makes every remake fail: without their rows its records would count as dead, and the compactor would
//! remove the segment before they were repaired.
//!
//! Records that have rotted in the log are not in the new index, so the drive is compared with the metadata afterwards.
//! It counts as not compared from the moment the damage is known: some of its shards cannot be read.

use super::background::{Background, Chore};
use super::compactor::{CompactionContext, CompactionError};
use super::pace::Pace;
use crate::actors::drives::health::Contents;
use crate::actors::drives::{Drive, log_error, off_thread};
use crate::net::PeerError;
use crate::storage::shard_index::IndexError;
use crate::storage::wal::{ScannedRecord, WalError};
use crate::types::{NodeId, SegmentId};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

pub type Reindexer = Background<Reindexing>;

/// The number of records in one commit of the new index.
const RECORDS_AT_ONCE: usize = 1024;

/// A requester of comparisons of this host's drives with the metadata.
pub trait Compares: Send + Sync + Debug + 'static {
    /// Requests a comparison that begins after this call.
    fn compare(&self, node: NodeId);
}

#[derive(Clone, Copy, Debug)]
pub struct ReindexingOptions {
    /// The pause when there is nothing to do.
    pub idle: Duration,
    /// The least time from a remake that failed to the next one. It doubles with each further failure.
    pub again_after_failure: Duration,
    pub again_after_failure_max: Duration,
    /// The least time from a remake that ended well to the next one.
    pub again_after_success: Duration,
    pub pace: Pace,
}

impl Default for ReindexingOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5),
            again_after_failure: Duration::from_secs(600),
            again_after_failure_max: Duration::from_secs(4 * 3600),
            again_after_success: Duration::from_secs(6 * 3600),
            pace: Pace { idle_bytes_per_second: 200 << 20, busy_bytes_per_second: 40 << 20 },
        }
    }
}

/// The outcome of a step (`Reindexing::advance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reindexed {
    /// The index is whole, as far as anybody has met, or the next remake is not due yet.
    Nothing,
    Begun {
        segments: usize,
    },
    /// A segment was read.
    Read {
        bytes: u64,
    },
    /// The new index is in use.
    Finished,
}

#[derive(Debug)]
pub struct Reindexing {
    drive: Drive,
    context: CompactionContext,
    comparer: Arc<dyn Compares>,
    options: ReindexingOptions,
    /// The segments still to be read; `None` while the index is not made anew.
    left: Option<VecDeque<SegmentId>>,
    /// The earliest time of the next remake, by the monotonic clock.
    not_before: Duration,
    /// The number of remakes that failed since the last one that ended well.
    failures: u32,
}

impl Reindexing {
    pub fn new(
        drive: Drive,
        context: CompactionContext,
        comparer: Arc<dyn Compares>,
        options: ReindexingOptions,
    ) -> Self {
        Self { drive, context, comparer, options, left: None, not_before: Duration::ZERO, failures: 0 }
    }

    /// Does the next bounded piece of work. After an error the remake is given up.
    pub async fn advance(&mut self) -> Result<Reindexed, CompactionError> {
        let advanced = match self.left.as_ref().map(|left| left.front().copied()) {
            None => self.begin().await,
            Some(Some(segment)) => self.read(segment).await,
            Some(None) => self.finish().await,
        };
        if let Err(error) = &advanced {
            self.show(Some(format!("its index is damaged; making it anew failed and is tried again later: {error}")));
            self.failures = self.failures.saturating_add(1);
            self.give_up().await;
        }
        advanced
    }

    async fn begin(&mut self) -> Result<Reindexed, CompactionError> {
        let Some(damage) = self.drive.index.damage() else {
            self.withdraw();
            return Ok(Reindexed::Nothing);
        };
        self.note_damage(&damage);
        let is_due = self.context.ambient.clock.monotonic() >= self.not_before;
        // A remake begins with a write to the log.
        if !is_due || !self.context.health.current().accepts_upkeep(self.drive.node) {
            return Ok(Reindexed::Nothing);
        }
        tracing::error!(
            node = %self.drive.node, damage,
            "the shard index of a drive is damaged: it is made anew from the log; until then some shards are not read"
        );
        self.show(Some(format!("its index is damaged and is being made anew: {damage}")));
        let index = self.drive.index.clone();
        off_thread(&self.context.threads, move || index.begin_remake()).await??;
        let rotated = self.drive.log.rotate().await;
        rotated.map_err(|error| log_error(&self.drive, &self.context.health, error))?;
        let written = self.drive.log.status().written.segment();
        let all = self.drive.log.segments().into_iter();
        let left: VecDeque<SegmentId> =
            all.filter(|segment| segment.sealed && segment.id <= written).map(|segment| segment.id).collect();
        let segments = left.len();
        self.left = Some(left);
        Ok(Reindexed::Begun { segments })
    }

    async fn read(&mut self, segment: SegmentId) -> Result<Reindexed, CompactionError> {
        let drive = self.drive.clone();
        let bytes = off_thread(&self.context.threads, move || read_segment(&drive, segment)).await??;
        if let Some(left) = &mut self.left {
            left.pop_front();
        }
        Ok(Reindexed::Read { bytes })
    }

    async fn finish(&mut self) -> Result<Reindexed, CompactionError> {
        let index = self.drive.index.clone();
        off_thread(&self.context.threads, move || index.finish_remake()).await??;
        self.left = None;
        self.not_before = self.context.ambient.clock.monotonic() + self.options.again_after_success;
        self.failures = 0;
        self.show(None);
        self.compare();
        tracing::info!(node = %self.drive.node, "the shard index of the drive was made anew");
        Ok(Reindexed::Finished)
    }

    async fn give_up(&mut self) {
        self.left = None;
        let doubled = 1u32.checked_shl(self.failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.options.again_after_failure.saturating_mul(doubled).min(self.options.again_after_failure_max);
        self.not_before = self.context.ambient.clock.monotonic() + pause;
        let index = self.drive.index.clone();
        // If the process stops, the next start removes what was made.
        let _ = off_thread(&self.context.threads, move || index.give_up_remake()).await;
    }

    /// Publishes that the index is damaged, whether or not it is made anew now, and that nobody knows which shards of the
    /// drive can be read. The healer leaves the drive uncompared while its index is damaged.
    fn note_damage(&self, damage: &str) {
        let (board, node) = (&self.context.health, self.drive.node);
        if board.current().state(node).is_some_and(|state| state.index_damaged.is_none()) {
            self.show(Some(format!("its index is damaged, and is made anew later: {damage}")));
        }
        // Looked at afterwards, since a comparison may have ended until then.
        if board.current().state(node).is_some_and(|state| state.contents == Contents::Compared) {
            self.compare();
        }
    }

    /// Withdraws what was published of damage that is gone: a remake may fail after the new index took its place.
    fn withdraw(&self) {
        let health = self.context.health.current();
        if health.state(self.drive.node).is_some_and(|state| state.index_damaged.is_some()) {
            self.show(None);
            self.compare();
        }
    }

    /// Has the drive compared with the metadata: the damaged index does not find all of its shards, and the new one
    /// lacks what has rotted in the log.
    fn compare(&self) {
        let node = self.drive.node;
        // Requested first, so that no comparison that began earlier ends the new state of the contents.
        self.comparer.compare(node);
        self.context.health.update(node, |state| {
            if state.contents == Contents::Compared {
                state.contents = Contents::Uncompared;
            }
        });
    }

    /// Publishes the state of the index; `None` if it is whole.
    fn show(&self, damaged: Option<String>) {
        self.context.health.update(self.drive.node, |state| state.index_damaged = damaged);
    }
}

impl Chore for Reindexing {
    async fn step(&mut self) -> Duration {
        if !self.context.health.current().in_service(self.drive.node) {
            if self.left.is_some() {
                self.give_up().await;
            }
            return self.options.idle;
        }
        match self.advance().await {
            Ok(Reindexed::Nothing) => self.options.idle,
            Ok(Reindexed::Read { bytes }) => self.options.pace.pause_after(bytes, &self.context.load),
            Ok(Reindexed::Begun { .. } | Reindexed::Finished) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(node = %self.drive.node, %error, "cannot make the shard index anew; trying again later");
                self.options.idle
            }
        }
    }
}

/// Enters all records of a segment in the new index, except those that have rotted. Returns the bytes read. Fails if
/// much of the segment cannot be read. Blocking.
fn read_segment(drive: &Drive, segment: SegmentId) -> Result<u64, CompactionError> {
    let (mut waiting, mut bytes) = (Vec::new(), 0);
    let mut entered: Result<(), IndexError> = Ok(());
    let mut enter = |record: ScannedRecord| {
        bytes += u64::from(record.footprint_bytes);
        // The index needs no bodies.
        waiting.push(ScannedRecord { body: Bytes::new(), ..record });
        if waiting.len() >= RECORDS_AT_ONCE {
            let some = std::mem::take(&mut waiting);
            if entered.is_ok() {
                entered = drive.index.remake_from(&some);
            }
        }
    };
    match drive.log.scan_segment(segment, &mut enter) {
        // One at the end of a segment without a seal may be no loss.
        Ok(scan) if scan.bad_spots > 0 => {
            let (node, segment, spots) = (drive.node, segment.0, scan.bad_spots);
            tracing::warn!(
                %node, segment, spots,
                "a segment has no valid record where one is expected; the comparison that follows finds lost chunks"
            );
        }
        Ok(_) => {}
        // It was released: all its live records had been moved before the remake began.
        Err(WalError::NotFound { .. }) => return Ok(0),
        Err(error) => return Err(PeerError::Unavailable { node: drive.node, why: error.to_string() }.into()),
    }
    entered?;
    drive.index.remake_from(&waiting)?;
    Ok(bytes)
}
