//! `Compactor`: the chore that moves the live records out of a drive's mostly dead segments and releases these
//! segments. It also makes the drive's index durable from time to time. Owns the segment being emptied.
//!
//! The order makes it safe: copies are synced by the log, then published in the index (if the index still points at the
//! original), then the index is persisted, and only then the segment is released.
//!
//! - A record that cannot be read is reported to the healer, and its segment is held for a while. Once a repair has
//!   written the record elsewhere, the segment can be released.
//! - A tombstone is copied as long as another segment may have records that it deletes. A released segment counts until
//!   its file is retired.
//! - A segment is not released while records in it may still be published.
//! - Copies that the index refused are kept, and nothing else is done until it accepts them. So it is with copies that
//!   the log did not answer for in time, and may write yet, until it answers.
//! - A segment whose rows in the index cannot be read is held for a short while, and others are emptied. While the
//!   index is made anew, none is.
//! - While trial writes to the drive fail, nothing is done: an append that fails would take the drive out of service,
//!   which still serves reads.

use super::background::{Background, Chore};
use super::pace::Pace;
use crate::actors::drives::health::{HealthBoard, SpaceLevel};
use crate::actors::drives::{
    Blocking, Drive, FaultSink, ReadFailure, ShardFault, ThreadsStopped, UserLoad, chunk_key, log_error, off_thread,
    tombstone_key,
};
use crate::actors::log::{FailedAppend, LateAnswer, SegmentInfo};
use crate::ambient::Ambient;
use crate::defects::{Defect, has};
use crate::metrics;
use crate::net::{ChunkFault, PeerError};
use crate::storage::liveness::{Choice, Pressure, SegmentLiveness, choose};
use crate::storage::shard_index::{ChunkId, IndexError, Moved, Placed, ShardIndex, Ticket};
use crate::storage::wal::{Location, NewRecord, RecordKind, WalError};
use crate::types::{Lsn, SegmentId};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub type Compactor = Background<Compaction>;

#[derive(Clone, Copy, Debug)]
pub struct CompactionOptions {
    /// The dead bytes of the open segment at which it is sealed for compaction.
    pub seal_dead_bytes_min: u64,
    /// The bytes of chunks that one step copies at most; its last chunk may exceed them.
    pub step_bytes_max: u64,
    /// The records that one step copies at most.
    pub step_records_max: usize,
    /// The pause when there is nothing to do.
    pub idle: Duration,
    /// The interval at which the index is made durable, so that a start after a power cut replays little.
    pub persist_every: Duration,
    /// The time for which a segment with unreadable records is not compacted.
    pub hold: Duration,
    /// The same for a segment whose rows in the index could not be read.
    pub hold_unread: Duration,
    pub pace: Pace,
}

impl CompactionOptions {
    /// Returns the options for a log with segments of this size.
    pub fn for_segments_of(segment_bytes: u64) -> Self {
        Self {
            seal_dead_bytes_min: segment_bytes / 8,
            step_bytes_max: 4 << 20,
            step_records_max: 64,
            idle: Duration::from_secs(5),
            persist_every: Duration::from_secs(30),
            hold: Duration::from_secs(600),
            hold_unread: Duration::from_secs(30),
            pace: Pace::default(),
        }
    }
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// The open segment was sealed, so that it can be compacted.
    Sealed,
    /// Live records were copied out of the segment.
    Moved(Moved),
    /// The segment cannot be released yet: copies are not synced (with relaxed durability), records in it may still be
    /// published in the index, or the log has not answered for copies.
    Waiting,
    Released(SegmentId),
    /// Records of the segment cannot be read; it is not compacted for a while.
    Held(SegmentId),
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum CompactionError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Node(#[from] PeerError),
    #[error(transparent)]
    Stopped(#[from] ThreadsStopped),
}

/// The segment being emptied.
#[derive(Clone, Copy, Debug)]
struct Current {
    segment: SegmentId,
    /// All live records up to this position were copied or skipped.
    cursor: Option<Lsn>,
}

/// Copies that are in the log and not yet published in the index.
#[derive(Debug)]
struct Copied {
    ticket: Ticket,
    moves: Vec<(Placed, Location)>,
}

/// Copies that the log may not have written yet: it did not answer in time.
#[derive(Debug)]
struct Unanswered {
    ticket: Ticket,
    placed: Vec<Placed>,
    answer: LateAnswer,
}

/// Live records of a segment that were read for copying.
#[derive(Debug, Default)]
struct Gathered {
    copies: Vec<(Placed, NewRecord)>,
    unreadable: Vec<ChunkId>,
    last: Option<Lsn>,
}

#[derive(Debug)]
pub struct Compaction {
    drive: Drive,
    threads: Arc<dyn Blocking>,
    health: HealthBoard,
    faults: FaultSink,
    load: UserLoad,
    ambient: Ambient,
    options: CompactionOptions,
    current: Option<Current>,
    /// The copies of an append that the log did not answer in time.
    unanswered: Option<Unanswered>,
    /// The copies that the index failed to publish.
    unpublished: Option<Copied>,
    /// The segment that the log has taken out, or may have, and that is to be removed from the index.
    unforgotten: Option<SegmentId>,
    /// The segments with records or rows that could not be read, with the time until which they are not compacted.
    held: BTreeMap<SegmentId, Duration>,
    /// The head of the index when it was last made durable, and the time of that.
    persisted: (Lsn, Duration),
}

/// The context that a compaction shares with the rest of its host.
#[derive(Clone, Debug)]
pub struct CompactionContext {
    pub threads: Arc<dyn Blocking>,
    pub health: HealthBoard,
    pub faults: FaultSink,
    pub load: UserLoad,
    pub ambient: Ambient,
}

impl Compaction {
    pub fn new(drive: Drive, context: CompactionContext, options: CompactionOptions) -> Self {
        let CompactionContext { threads, health, faults, load, ambient } = context;
        let persisted = (drive.index.head(), ambient.clock.monotonic());
        Self {
            drive,
            threads,
            health,
            faults,
            load,
            ambient,
            options,
            current: None,
            unanswered: None,
            unpublished: None,
            unforgotten: None,
            held: BTreeMap::new(),
            persisted,
        }
    }

    /// Does the next bounded piece of work.
    pub async fn advance(&mut self) -> Result<Step, CompactionError> {
        if let Some(unanswered) = self.unanswered.take() {
            return self.take_up_answer(unanswered).await;
        }
        if let Some(copied) = self.unpublished.take() {
            return Ok(Step::Moved(self.publish(copied).await?));
        }
        if let Some(segment) = self.unforgotten {
            self.forget(segment).await?;
        }
        let step = match self.current {
            Some(current) => self.continue_emptying(current).await,
            None => self.begin().await,
        };
        if step.is_err() {
            // Copies are published or kept, in `unanswered` or `unpublished`; the next segment is chosen again.
            self.current = None;
        }
        step
    }

    async fn begin(&mut self) -> Result<Step, CompactionError> {
        match self.choose() {
            Choice::Nothing => Ok(Step::Nothing),
            Choice::SealOpen => {
                self.drive.log.rotate().await.map_err(|error| log_error(&self.drive, &self.health, error))?;
                Ok(Step::Sealed)
            }
            Choice::Empty(segment) => {
                let current = Current { segment, cursor: None };
                self.current = Some(current);
                self.continue_emptying(current).await
            }
        }
    }

    fn pressure(&self) -> Pressure {
        match self.health.current().state(self.drive.node).map(|state| state.level) {
            None | Some(SpaceLevel::Ample) => Pressure::None,
            Some(SpaceLevel::Low) => Pressure::Low,
            Some(SpaceLevel::Exhausted) => Pressure::Exhausted,
        }
    }

    fn choose(&mut self) -> Choice {
        let now = self.ambient.clock.monotonic();
        self.held.retain(|_, until| *until > now);
        let held: BTreeSet<SegmentId> = self.held.keys().copied().collect();
        let uses = self.drive.index.uses();
        let written = self.drive.log.status().written;
        let liveness = |segment: &SegmentInfo| SegmentLiveness {
            id: segment.id,
            // A sealed segment counts with its whole file, which its release frees.
            written_bytes: if segment.sealed { segment.file_bytes.into() } else { written_to(segment.id, written) },
            used: uses.get(&segment.id).copied().unwrap_or_default(),
        };
        let segments = self.drive.log.segments();
        // Segments after the last written position are empty.
        let begun = segments.iter().filter(|segment| segment.id <= written.segment());
        let (sealed, open): (Vec<_>, Vec<_>) = begun.partition(|segment| segment.sealed);
        let sealed: Vec<_> = sealed.into_iter().map(liveness).collect();
        let open = open.into_iter().map(liveness).next();
        choose(&sealed, open.as_ref(), self.pressure(), &held, self.options.seal_dead_bytes_min)
    }

    async fn continue_emptying(&mut self, current: Current) -> Result<Step, CompactionError> {
        let gathered = self.gather(current).await;
        let gathered = self.hold_if_unread(current.segment, gathered)?;
        let Some(last) = gathered.last.filter(|_| !has(Defect::ReleaseLiveSegment)) else {
            return self.finish(current).await;
        };
        for &id in &gathered.unreadable {
            let node = self.drive.node;
            metrics::CHUNK_FAULTS.with_label_values(&[&node.to_string(), "corrupt"]).inc();
            self.faults.report(ShardFault { node, shard: id.shard, chunk: id.chunk, fault: ChunkFault::Corrupt });
        }
        let moved = self.copy(gathered.copies).await?;
        self.current = Some(Current { cursor: Some(last), ..current });
        Ok(Step::Moved(moved))
    }

    /// Holds a segment whose rows in the index could not be read: it would be chosen again at once.
    fn hold_if_unread<T>(
        &mut self,
        segment: SegmentId,
        read: Result<T, CompactionError>,
    ) -> Result<T, CompactionError> {
        if let Err(CompactionError::Index(_)) = &read {
            self.held.insert(segment, self.ambient.clock.monotonic() + self.options.hold_unread);
        }
        read
    }

    /// Reads the next live records of the segment.
    async fn gather(&self, current: Current) -> Result<Gathered, CompactionError> {
        let (drive, options) = (self.drive.clone(), self.options);
        let others = self.others(current.segment);
        off_thread(&self.threads, move || gather(&drive, current, &others, options)).await?
    }

    /// Returns all segments of the log except this one, with those whose files are still to be retired.
    fn others(&self, segment: SegmentId) -> Vec<SegmentId> {
        let in_use = self.drive.log.segments().into_iter().map(|info| info.id);
        in_use.chain(self.drive.log.retiring()).filter(|&id| id != segment).collect()
    }

    /// Appends the copies, and publishes those whose originals are still live.
    async fn copy(&mut self, copies: Vec<(Placed, NewRecord)>) -> Result<Moved, CompactionError> {
        if copies.is_empty() {
            return Ok(Moved::default());
        }
        let (placed, records): (Vec<Placed>, Vec<NewRecord>) = copies.into_iter().unzip();
        let ticket = self.drive.index.begin();
        let places = match self.drive.log.append_or_answer_late(records).await {
            Ok(places) => places,
            Err(FailedAppend { error, answer }) => {
                match answer {
                    Some(answer) => self.unanswered = Some(Unanswered { ticket, placed, answer }),
                    None => self.drive.index.append_failed(ticket, &error),
                }
                return Err(log_error(&self.drive, &self.health, error).into());
            }
        };
        self.publish(Copied { ticket, moves: placed.into_iter().zip(places).collect() }).await
    }

    /// Publishes the copies of a late append if the log has answered by now. Otherwise their ticket would hold back the
    /// watermark of the index until the next start.
    async fn take_up_answer(&mut self, mut unanswered: Unanswered) -> Result<Step, CompactionError> {
        let Some(answer) = unanswered.answer.try_locations() else {
            self.unanswered = Some(unanswered);
            return Ok(Step::Waiting);
        };
        let Unanswered { ticket, placed, .. } = unanswered;
        match answer {
            Ok(places) => {
                let copied = Copied { ticket, moves: placed.into_iter().zip(places).collect() };
                Ok(Step::Moved(self.publish(copied).await?))
            }
            Err(error) => {
                self.drive.index.append_failed(ticket, &error);
                Err(log_error(&self.drive, &self.health, error).into())
            }
        }
    }

    async fn publish(&mut self, copied: Copied) -> Result<Moved, CompactionError> {
        let index = self.drive.index.clone();
        let publish = move || {
            let moved = index.publish_moves(&copied.ticket, &copied.moves);
            (copied, moved)
        };
        let (copied, moved) = off_thread(&self.threads, publish).await?;
        match &moved {
            Ok(moved) => {
                metrics::COMPACTED_BYTES.with_label_values(&[&self.drive.node.to_string()]).inc_by(moved.bytes);
            }
            Err(_) => self.unpublished = Some(copied),
        }
        Ok(moved?)
    }

    /// Removes a released segment from the index.
    async fn forget(&mut self, segment: SegmentId) -> Result<(), CompactionError> {
        let index = self.drive.index.clone();
        off_thread(&self.threads, move || index.forget_segment(segment)).await??;
        self.unforgotten = None;
        Ok(())
    }

    /// Releases the segment, after all its records were copied or skipped, if no live record is left in it.
    async fn finish(&mut self, current: Current) -> Result<Step, CompactionError> {
        let segment = current.segment;
        // Checked first, so that records published in the meantime are found by the check below.
        if self.drive.index.awaits(segment) {
            return Ok(Step::Waiting);
        }
        let (index, others) = (self.drive.index.clone(), self.others(segment));
        let rest = off_thread(&self.threads, move || what_is_left(&index, segment, &others)).await?;
        let rest = self.hold_if_unread(segment, rest.map_err(CompactionError::from))?;
        if rest.chunks > 0 && !has(Defect::ReleaseLiveSegment) {
            self.held.insert(segment, self.ambient.clock.monotonic() + self.options.hold);
            self.current = None;
            return Ok(Step::Held(segment));
        }
        if rest.tombstones_needed > 0 {
            // A skipped tombstone is needed after all: go through the segment once more.
            self.current = Some(Current { cursor: None, ..current });
            return Ok(Step::Moved(Moved::default()));
        }
        if self.drive.log.status().synced <= self.drive.index.head() {
            return Ok(Step::Waiting);
        }
        let index = self.drive.index.clone();
        off_thread(&self.threads, move || index.persist()).await??;
        // Also after an error the log may have taken the segment out: then the next step removes it from the index. All
        // rows in it are of tombstones that nothing needs, so that it does no harm if the log still has the segment.
        self.unforgotten = Some(segment);
        let released = self.drive.log.release_segment(segment).await;
        if let Err(WalError::SegmentOpen { .. }) = released {
            self.unforgotten = None;
        }
        released.map_err(|error| log_error(&self.drive, &self.health, error))?;
        self.forget(segment).await?;
        self.current = None;
        metrics::COMPACTED_SEGMENTS.with_label_values(&[&self.drive.node.to_string()]).inc();
        Ok(Step::Released(segment))
    }

    /// Makes the index durable if that is due.
    async fn persist_if_due(&mut self) -> Result<(), CompactionError> {
        let (head, now) = (self.drive.index.head(), self.ambient.clock.monotonic());
        if head == self.persisted.0 || now.saturating_sub(self.persisted.1) < self.options.persist_every {
            return Ok(());
        }
        let index = self.drive.index.clone();
        off_thread(&self.threads, move || index.persist()).await??;
        self.persisted = (head, now);
        Ok(())
    }

    fn show_gauges(&self) {
        let (node, total) = (self.drive.node.to_string(), self.drive.index.total());
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics::INDEX_CHUNKS.with_label_values(&[&node]).set(gauge(total.chunks));
        metrics::LIVE_BYTES.with_label_values(&[&node]).set(gauge(total.live_bytes));
        let segments = self.drive.log.segments();
        let file_bytes = segments.iter().map(|segment| u64::from(segment.file_bytes)).sum();
        metrics::SEGMENT_BYTES.with_label_values(&[&node]).set(gauge(file_bytes));
    }
}

impl Chore for Compaction {
    async fn step(&mut self) -> Duration {
        self.show_gauges();
        if !self.health.current().accepts_upkeep(self.drive.node) {
            return self.options.idle;
        }
        if let Err(error) = self.persist_if_due().await {
            tracing::warn!(node = %self.drive.node, %error, "cannot make the shard index durable");
        }
        if self.drive.index.is_being_remade() {
            return self.options.idle;
        }
        let pace = if self.pressure() == Pressure::Exhausted { Pace::UNLIMITED } else { self.options.pace };
        match self.advance().await {
            Ok(Step::Nothing) => self.options.idle,
            Ok(Step::Moved(moved)) => pace.pause_after(moved.bytes, &self.load),
            Ok(Step::Waiting) => Duration::from_millis(50),
            Ok(Step::Sealed | Step::Held(_)) => Duration::ZERO,
            Ok(Step::Released(segment)) => {
                tracing::debug!(node = %self.drive.node, segment = segment.0, "segment emptied and released");
                Duration::ZERO
            }
            Err(CompactionError::Node(PeerError::OutOfSpace(_))) => self.options.idle,
            Err(error) => {
                tracing::warn!(node = %self.drive.node, %error, "a step of the compactor failed");
                self.options.idle
            }
        }
    }
}

/// Returns the bytes of the open segment before the last written position.
fn written_to(segment: SegmentId, written: Lsn) -> u64 {
    if segment == written.segment() { written.offset().into() } else { 0 }
}

/// Reads the next live records of a segment. Blocking.
fn gather(
    drive: &Drive,
    current: Current,
    others: &[SegmentId],
    options: CompactionOptions,
) -> Result<Gathered, CompactionError> {
    let mut gathered = Gathered::default();
    let (mut wanted, mut bytes) = (Vec::new(), 0);
    for placed in drive.index.placed_in(current.segment, current.cursor, options.step_records_max)? {
        gathered.last = Some(placed.at().lsn);
        match placed {
            Placed::Chunk { id, entry } => {
                bytes += u64::from(entry.at.body_bytes);
                wanted.push((id, entry));
            }
            Placed::Tombstone { shard, tombstone } if tombstone.is_needed_beside(others) => {
                let (kind, key) = (RecordKind::Tombstone, tombstone_key(shard));
                let record = NewRecord { kind, key, origin: Some(tombstone.origin), body: Bytes::new() };
                gathered.copies.push((placed, record));
            }
            Placed::Tombstone { .. } => {}
        }
        if bytes >= options.step_bytes_max {
            break;
        }
    }
    let read = drive.read_entries(&wanted).map_err(|failure| match failure {
        ReadFailure::Index(error) => CompactionError::Index(error),
        ReadFailure::Unavailable(why) => PeerError::Unavailable { node: drive.node, why }.into(),
    })?;
    for ((id, entry), read) in wanted.into_iter().zip(read) {
        match read {
            Ok(body) => {
                let record =
                    NewRecord { kind: RecordKind::Chunk, key: chunk_key(id), origin: Some(entry.origin), body };
                gathered.copies.push((Placed::Chunk { id, entry }, record));
            }
            // The chunk was dropped in the meantime.
            Err(ChunkFault::Missing) => {}
            Err(ChunkFault::Corrupt) => gathered.unreadable.push(id),
        }
    }
    Ok(gathered)
}

#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    chunks: u64,
    tombstones_needed: u64,
}

/// Counts the live records of a segment. Blocking.
fn what_is_left(index: &ShardIndex, segment: SegmentId, others: &[SegmentId]) -> Result<Rest, IndexError> {
    const PAGE: usize = 1024;
    let mut rest = Rest::default();
    let mut after = None;
    loop {
        let page = index.placed_in(segment, after, PAGE)?;
        for placed in &page {
            match placed {
                Placed::Chunk { .. } => rest.chunks += 1,
                Placed::Tombstone { tombstone, .. } => {
                    rest.tombstones_needed += u64::from(tombstone.is_needed_beside(others))
                }
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.at().lsn),
            _ => return Ok(rest),
        }
    }
}
