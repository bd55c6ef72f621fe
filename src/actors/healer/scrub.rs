//! `Scrubber`: periodically reads and verifies every chunk of one drive, so that corruption is found while enough other
//! shards are left to rebuild the chunk. Owns the position of the pass, which is kept in the drive's index.
//!
//! A pass goes through the log in order of position, which a drive reads fast. Compaction moves records to the log's
//! end, beyond the end of the pass, and verifies them as it moves them. So every chunk that exists when the pass begins
//! is verified. A corrupt chunk is reported to the healer, as by a read. The pass waits while the healer's channel is
//! full.
//!
//! Invariant: the durable position is behind a corrupt chunk only once the repair of the chunk is queued in the
//! metadata. So a crash before that makes the next start read the chunk again.

use crate::actors::drives::{Drive, ReadFailure, ShardFault, off_thread};
use crate::actors::upkeep::{Background, Chore, CompactionContext, CompactionError, Pace};
use crate::defects::{Defect, has};
use crate::metrics;
use crate::net::{ChunkFault, PeerError};
use crate::storage::shard_index::{ChunkId, Entry, Placed, ScrubRow};
use crate::types::{Lsn, NodeId, SegmentId, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The actor that runs `Scrub` as a chore; one for each drive.
pub type Scrubber = Background<Scrub>;

#[derive(Clone, Copy, Debug)]
pub struct ScrubOptions {
    /// The time from the end of a pass to the beginning of the next.
    pub interval: Duration,
    /// The number of bytes after which a step ends; the last chunk may exceed it.
    pub step_bytes_max: u64,
    pub step_records_max: usize,
    /// The pause between steps while no pass is due or the drive is out of service.
    pub idle: Duration,
    /// The interval at which the position is made durable.
    pub keep_every: Duration,
    pub pace: Pace,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30 * 24 * 3600),
            step_bytes_max: 1 << 20,
            step_records_max: 64,
            idle: Duration::from_secs(10),
            keep_every: Duration::from_secs(60),
            pace: Pace { idle_bytes_per_second: 50 << 20, busy_bytes_per_second: 5 << 20 },
        }
    }
}

/// The outcome of a step of scrub (`Scrub::advance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrubbed {
    /// No pass is due.
    Nothing,
    Checked {
        bytes: u64,
        corrupt: usize,
    },
    /// The healer's channel is full: the same chunks are checked again later.
    Waiting,
    /// The pass is over.
    Finished,
    /// The pass was ended early by an operator.
    Stopped,
}

/// The state of the scrub of one drive. Part of messages between hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// The start of the pass under way; `None` between passes.
    pub began: Option<UnixMs>,
    /// The progress of the pass; 1000 between passes.
    pub done_permille: u64,
    /// The estimated time until the end of the pass, from its speed so far.
    pub eta: Option<Duration>,
    /// The number of corrupt chunks that the pass under way has found; between passes, that of the last one.
    pub corrupt: u64,
    /// The end of the last complete pass.
    pub finished: Option<UnixMs>,
    /// The start of the next automatic pass.
    pub due: UnixMs,
}

/// The handle to all scrubbers of a host, including that of the metadata. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ScrubHandle {
    board: Arc<Mutex<Board>>,
}

#[derive(Debug, Default)]
struct Board {
    /// The drives on which a pass was ordered and has not begun.
    wanted: BTreeSet<NodeId>,
    /// The drives whose pass is to end.
    unwanted: BTreeSet<NodeId>,
    wants_metadata: bool,
    drives: BTreeMap<NodeId, ScrubStatus>,
}

impl ScrubHandle {
    /// Orders a pass over this drive and one over the host's copies of the metadata. A pass under way goes on instead.
    pub fn start(&self, node: NodeId) {
        let mut board = self.lock();
        board.unwanted.remove(&node);
        board.wanted.insert(node);
        board.wants_metadata = true;
    }

    /// Cancels the pass over this drive that is ordered or under way. Returns whether there is one. Its position is not
    /// kept: the next pass starts at the beginning.
    pub fn stop(&self, node: NodeId) -> bool {
        let mut board = self.lock();
        let was_wanted = board.wanted.remove(&node);
        let is_under_way = board.drives.get(&node).is_some_and(|status| status.began.is_some());
        if is_under_way {
            board.unwanted.insert(node);
        }
        was_wanted || is_under_way
    }

    pub(super) fn take_metadata_wish(&self) -> bool {
        std::mem::take(&mut self.lock().wants_metadata)
    }

    /// Returns the state of each drive of this host.
    pub fn status(&self) -> BTreeMap<NodeId, ScrubStatus> {
        self.lock().drives.clone()
    }

    /// Returns the drives on which a pass was ordered and has not begun.
    pub fn wanted(&self) -> BTreeSet<NodeId> {
        self.lock().wanted.clone()
    }

    fn take_wish(&self, node: NodeId) -> bool {
        self.lock().wanted.remove(&node)
    }

    fn take_end(&self, node: NodeId) -> bool {
        self.lock().unwanted.remove(&node)
    }

    fn show(&self, node: NodeId, status: ScrubStatus) {
        let label = node.to_string();
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics::SCRUB_PERMILLE.with_label_values(&[&label]).set(gauge(status.done_permille));
        let finished = status.finished.map_or(0, |finished| finished.0 / 1000);
        metrics::SCRUBBED_AT.with_label_values(&[&label]).set(gauge(finished));
        self.lock().drives.insert(node, status);
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pass under way.
#[derive(Debug)]
struct Pass {
    /// The segments still to check, the current one first.
    segments: VecDeque<SegmentId>,
    /// The number of all segments of the pass.
    all: usize,
    /// The size of the largest segment's file.
    segment_bytes: u64,
}

impl Pass {
    fn done_permille(&self, position: Lsn) -> u64 {
        let behind = (self.all - self.segments.len().min(self.all)) as u64 * 1000;
        let within = match self.segments.front() {
            Some(&at) if at == position.segment() => {
                (u64::from(position.offset()) * 1000 / self.segment_bytes).min(999)
            }
            _ => 0,
        };
        (behind + within) / (self.all as u64).max(1)
    }
}

#[derive(Debug)]
pub struct Scrub {
    drive: Drive,
    context: CompactionContext,
    options: ScrubOptions,
    handle: ScrubHandle,
    /// The state that the index keeps, or is to keep; `None` before it was read.
    row: Option<ScrubRow>,
    /// True if the index has the row on stable storage.
    is_kept: bool,
    /// The number of reports to the healer up to the last corrupt chunk of the pass (`FaultSink::reported`).
    findings: u64,
    pass: Option<Pass>,
    /// The time at which the row was last made durable, by the monotonic clock.
    kept: Duration,
}

/// The chunks read in one step.
#[derive(Debug, Default)]
struct Checked {
    /// The position of the last record that was read; `None` at the end of the segment.
    last: Option<Lsn>,
    bytes: u64,
    corrupt: Vec<ChunkId>,
}

impl Scrub {
    pub fn new(drive: Drive, context: CompactionContext, options: ScrubOptions, handle: ScrubHandle) -> Self {
        let kept = context.ambient.clock.monotonic();
        Self { drive, context, options, handle, row: None, is_kept: false, findings: 0, pass: None, kept }
    }

    /// Does the next bounded piece of work.
    pub async fn advance(&mut self) -> Result<Scrubbed, CompactionError> {
        let mut row = match self.row {
            Some(row) => row,
            None => self.look_up().await?,
        };
        let now = self.context.ambient.clock.unix_ms();
        if self.handle.take_end(self.drive.node) && row.began > UnixMs(0) {
            return self.give_up(row).await;
        }
        let wanted = self.handle.take_wish(self.drive.node);
        if row.began == UnixMs(0) {
            if now < row.due && !wanted {
                self.store().await?;
                return Ok(Scrubbed::Nothing);
            }
            // A pass from the beginning finds again what the last one found and no repair was queued for.
            self.findings = 0;
            row = ScrubRow { began: now, position: Lsn(0), until: self.drive.index.head(), corrupt: 0, ..row };
            self.keep(row).await?;
        }
        if self.pass.is_none() {
            let uses = self.drive.index.uses();
            let ahead = uses.range(row.position.segment()..=row.until.segment());
            let segments: VecDeque<SegmentId> = ahead.map(|(&id, _)| id).collect();
            let all = uses.range(..=row.until.segment()).count();
            let files = self.drive.log.segments().into_iter().map(|segment| u64::from(segment.file_bytes));
            self.pass = Some(Pass { segments, all, segment_bytes: files.max().unwrap_or(1).max(1) });
        }
        self.continue_pass(row).await
    }

    async fn look_up(&mut self) -> Result<ScrubRow, CompactionError> {
        let index = self.drive.index.clone();
        let found = off_thread(&self.context.threads, move || index.scrub()).await??;
        let due = self.next_due();
        let row = match found {
            // The configured interval may have been shortened.
            Some(row) => ScrubRow { due: row.due.min(due), ..row },
            None => ScrubRow { due, ..ScrubRow::default() },
        };
        self.keep(row).await?;
        Ok(row)
    }

    async fn continue_pass(&mut self, row: ScrubRow) -> Result<Scrubbed, CompactionError> {
        let Some(segment) = self.pass.as_ref().and_then(|pass| pass.segments.front().copied()) else {
            return self.finish(row).await;
        };
        let (drive, options) = (self.drive.clone(), self.options);
        let work = move || check(&drive, segment, row, options);
        let checked = off_thread(&self.context.threads, work).await??;
        let node = self.drive.node;
        for id in &checked.corrupt {
            let fault = ShardFault { node, shard: id.shard, chunk: id.chunk, fault: ChunkFault::Corrupt };
            if !self.context.faults.report(fault) {
                return Ok(Scrubbed::Waiting);
            }
        }
        if !checked.corrupt.is_empty() {
            self.findings = self.context.faults.reported();
        }
        let label = node.to_string();
        metrics::SCRUBBED_BYTES.with_label_values(&[&label]).inc_by(checked.bytes);
        metrics::CHUNK_FAULTS.with_label_values(&[&label, "corrupt"]).inc_by(checked.corrupt.len() as u64);
        let mut row = ScrubRow { corrupt: row.corrupt.saturating_add(checked.corrupt.len() as u64), ..row };
        match checked.last {
            Some(last) => row.position = last,
            None => {
                row.position = Lsn::new(segment, u32::MAX);
                self.pass.as_mut().map(|pass| pass.segments.pop_front());
            }
        }
        self.set(row);
        if self.context.ambient.clock.monotonic().saturating_sub(self.kept) >= self.options.keep_every {
            self.store().await?;
        }
        Ok(Scrubbed::Checked { bytes: checked.bytes, corrupt: checked.corrupt.len() })
    }

    /// Ends the pass early. The next one is due after the usual interval, since the operator does not want one now.
    async fn give_up(&mut self, row: ScrubRow) -> Result<Scrubbed, CompactionError> {
        self.pass = None;
        self.keep(ScrubRow { began: UnixMs(0), due: self.next_due(), ..row }).await?;
        tracing::info!(node = %self.drive.node, "an administrator stopped the scrub of the drive");
        Ok(Scrubbed::Stopped)
    }

    /// Returns the start of the next automatic pass after one that ends now.
    fn next_due(&self) -> UnixMs {
        let interval_ms = u64::try_from(self.options.interval.as_millis()).unwrap_or(u64::MAX);
        UnixMs(self.context.ambient.clock.unix_ms().0.saturating_add(interval_ms))
    }

    async fn finish(&mut self, row: ScrubRow) -> Result<Scrubbed, CompactionError> {
        let (now, due) = (self.context.ambient.clock.unix_ms(), self.next_due());
        let ended = ScrubRow { began: UnixMs(0), finished: now, due, ..row };
        self.pass = None;
        self.keep(ended).await?;
        tracing::info!(node = %self.drive.node, corrupt = row.corrupt, "every chunk of the drive was verified");
        Ok(Scrubbed::Finished)
    }

    /// Sets the row, and makes it durable now or in a later step.
    async fn keep(&mut self, row: ScrubRow) -> Result<(), CompactionError> {
        self.set(row);
        self.store().await
    }

    fn set(&mut self, row: ScrubRow) {
        (self.row, self.is_kept) = (Some(row), false);
        self.show(row);
    }

    /// Makes the row durable, so that a restart continues from it. Does nothing while the healer has not queued the
    /// repairs of what was found up to the row's position.
    async fn store(&mut self) -> Result<(), CompactionError> {
        let Some(row) = self.row.filter(|_| !self.is_kept) else { return Ok(()) };
        if !self.context.faults.is_settled(self.findings) {
            return Ok(());
        }
        let index = self.drive.index.clone();
        let work = move || index.keep_scrub(row).and_then(|()| index.persist());
        off_thread(&self.context.threads, work).await??;
        (self.is_kept, self.kept) = (true, self.context.ambient.clock.monotonic());
        Ok(())
    }

    fn show(&self, row: ScrubRow) {
        let began = (row.began > UnixMs(0)).then_some(row.began);
        let done_permille = match (&self.pass, began) {
            (Some(pass), Some(_)) => pass.done_permille(row.position),
            (None, Some(_)) => 0,
            (_, None) => 1000,
        };
        let elapsed_ms = self.context.ambient.clock.unix_ms().0.saturating_sub(row.began.0);
        let eta_ms = |done: u64| elapsed_ms.saturating_mul(1000 - done) / done;
        let eta = (began.is_some() && done_permille > 0).then(|| Duration::from_millis(eta_ms(done_permille)));
        let finished = (row.finished > UnixMs(0)).then_some(row.finished);
        let (corrupt, due) = (row.corrupt, row.due);
        self.handle.show(self.drive.node, ScrubStatus { began, done_permille, eta, corrupt, finished, due });
    }
}

/// Reads and verifies the next chunks of a segment. Blocking.
fn check(drive: &Drive, segment: SegmentId, row: ScrubRow, options: ScrubOptions) -> Result<Checked, CompactionError> {
    let after = (row.position.segment() == segment).then_some(row.position);
    let mut checked = Checked::default();
    let mut wanted: Vec<(ChunkId, Entry)> = Vec::new();
    for placed in drive.index.placed_in(segment, after, options.step_records_max)? {
        if placed.at().lsn > row.until || checked.bytes >= options.step_bytes_max {
            break;
        }
        checked.last = Some(placed.at().lsn);
        if let Placed::Chunk { id, entry } = placed {
            checked.bytes += u64::from(entry.at.body_bytes);
            wanted.push((id, entry));
        }
    }
    let read = drive.read_entries(&wanted).map_err(|failure| match failure {
        ReadFailure::Index(error) => CompactionError::Index(error),
        ReadFailure::Unavailable(why) => PeerError::Unavailable { node: drive.node, why }.into(),
    })?;
    // Missing chunks are no fault: they were dropped after the index was read.
    let is_corrupt =
        |read: &Result<_, ChunkFault>| matches!(read, Err(ChunkFault::Corrupt)) && !has(Defect::OverlookRot);
    let corrupt = wanted.iter().zip(&read).filter(|(_, read)| is_corrupt(read)).map(|((id, _), _)| *id);
    checked.corrupt = corrupt.collect();
    Ok(checked)
}

impl Chore for Scrub {
    async fn step(&mut self) -> Duration {
        if !self.context.health.current().in_service(self.drive.node) {
            return self.options.idle;
        }
        match self.advance().await {
            Ok(Scrubbed::Nothing) => self.options.idle,
            Ok(Scrubbed::Checked { bytes, .. }) => self.options.pace.pause_after(bytes, &self.context.load),
            Ok(Scrubbed::Waiting) => Duration::from_secs(1),
            Ok(Scrubbed::Finished | Scrubbed::Stopped) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(node = %self.drive.node, %error, "the scrub of a drive failed; trying again");
                self.options.idle
            }
        }
    }
}
