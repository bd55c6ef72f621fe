//! `WalWriter`: the actor that appends to one log, on its own thread. Owns the append position. It collects the appends
//! in its mailbox and writes them as one batch, without a timer: the busier the log, the larger the batch.
//!
//! Receives `AppendRecords`, `SyncWritten`, `RotateSegment`, `ReleaseSegment`, `CloseLog` and `SpaceWanted` from
//! handles, `Synced` from the `Syncer`, `SegmentPrepared` and `SpaceFreed` from the `SegmentAllocator`, and
//! `FlushBatch`, `FlushDue`, `MarkDue` and `RoomDue` from itself. Sends `SyncThrough` (one at a time),
//! `PrepareSegment`, `RetireSegment` and `CheckSpace`.
//!
//! Invariants: those of `storage::wal::progress`. Only this actor writes to segments and changes the set of segments in
//! use. It never opens, makes, removes or syncs a file.
//!
//! Refusals: `OutOfService` after a failed write or sync and after closing; `OutOfSpace` or `NoResources` if no segment
//! can be made, except for patient appends, which wait; `SegmentOpen` and `NotFound` for a release. A write that fails
//! for want of memory is repeated a few times first.

use super::CLOSED;
use super::append_queue::{AppendQueue, Placed, Reply};
use super::messages::{
    AppendRecords, CloseLog, FlushBatch, FlushDue, MarkDue, ReleaseSegment, RoomDue, RotateSegment, SegmentPrepared,
    SpaceFreed, SpaceWanted, SyncFailed, SyncWritten, Synced,
};
use super::segment_allocator::{CheckSpace, PrepareSegment, RetireSegment, SegmentAllocator, StopAllocator};
use super::state::LogState;
use super::syncer::{StopSyncer, SyncThrough, Syncer};
use crate::limits::{BLOCK_BYTES, LOG_IDLE_FLUSH_MS_MAX, LOG_MARK_DELAY_MS, LOG_SPACE_CHECK_MS_MIN};
use crate::storage::disk::write_repeatedly;
use crate::storage::wal::progress::{Effect, Event, Progress};
use crate::storage::wal::{
    Batch, BatchPlan, Durability, Mark, Resumption, SEGMENT_HEADER_BYTES, WalError, WritableSegment,
};
use crate::types::{Lsn, SegmentId};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// The interval between attempts to make a segment on a drive without space, or while the host lacks resources. New
/// chunks are refused meanwhile.
const ROOM_RETRY: Duration = Duration::from_millis(500);
const MARK_DELAY: Duration = Duration::from_millis(LOG_MARK_DELAY_MS);

struct OpenSegment {
    segment: WritableSegment,
    /// The offset of the first free block.
    position: u32,
}

impl OpenSegment {
    fn lsn(&self) -> Lsn {
        Lsn::new(self.segment.id(), self.position)
    }

    fn is_empty(&self) -> bool {
        self.position as usize <= SEGMENT_HEADER_BYTES
    }
}

pub(super) struct WalWriter {
    state: Arc<LogState>,
    syncer: Addr<Syncer>,
    allocator: Addr<SegmentAllocator>,
    progress: Progress<Placed>,
    queue: AppendQueue,
    open: Option<OpenSegment>,
    /// Empty segments in order of their ids. There is at most one, except after a restart.
    ready: VecDeque<WritableSegment>,
    preparing: bool,
    next_id: SegmentId,
    /// The position at which recovery cut the log, until a mark records it.
    cut: Option<Lsn>,
    /// The segments that were written to since the last sync began, in order.
    unsynced: Vec<WritableSegment>,
    rotations: Vec<Reply<()>>,
    closing: Option<Reply<()>>,
    /// True while queued appends wait for a segment to be made.
    stalled: bool,
    flush_scheduled: bool,
    /// True while a `RoomDue` is scheduled.
    room_awaited: bool,
    space_checked: Duration,
}

impl WalWriter {
    pub(super) fn new(
        state: Arc<LogState>,
        from: Resumption,
        syncer: Addr<Syncer>,
        allocator: Addr<SegmentAllocator>,
    ) -> Self {
        let marks_end = state.options.marks_its_end();
        let end = from.content_end;
        let progress = if marks_end { Progress::with_end_marks(end) } else { Progress::new(end) };
        Self {
            space_checked: state.options.ambient.clock.monotonic(),
            state,
            syncer,
            allocator,
            progress,
            queue: AppendQueue::default(),
            open: from.open.map(|(segment, position)| OpenSegment { segment, position }),
            ready: from.ready.into(),
            preparing: false,
            next_id: from.next_id,
            cut: from.cut,
            unsynced: Vec::new(),
            rotations: Vec::new(),
            closing: None,
            stalled: false,
            flush_scheduled: false,
            room_awaited: false,
        }
    }

    /// Returns whether a simulated drive hangs. If so, the writer handles no further message, as if a write had not
    /// returned.
    fn hangs(&self, ctx: &mut Context<Self>) -> bool {
        let hangs = self.state.hangs();
        if hangs {
            ctx.wait(std::future::pending().into_actor(self));
        }
        hangs
    }

    fn schedule_flush(&mut self, ctx: &mut Context<Self>) {
        if !self.flush_scheduled {
            self.flush_scheduled = true;
            ctx.notify(FlushBatch);
        }
    }

    fn prepare_next(&mut self) {
        if self.preparing || !self.ready.is_empty() || self.progress.has_failed() {
            return;
        }
        self.preparing = true;
        // Each attempt uses up an id, so that a file left by a failed attempt is never mistaken for a later segment.
        self.allocator.do_send(PrepareSegment { id: self.next_id, urgent: self.stalled });
        self.next_id = SegmentId(self.next_id.0 + 1);
    }

    /// Writes one batch of queued records.
    fn flush(&mut self, ctx: &mut Context<Self>) {
        if self.queue.is_empty() || self.progress.has_failed() {
            return;
        }
        let Some(mut plan) = self.plan_batch() else {
            self.rotate_or_wait(ctx);
            return;
        };
        if let Some(cut) = self.cut
            && plan.push_mark(Mark::Resume { cut }).is_some()
        {
            self.cut = None;
        }
        let marks = plan.records();
        let waiters = self.queue.fill(&mut plan);
        let records = plan.records() - marks;
        if plan.is_empty() {
            assert!(!self.open.as_ref().is_some_and(OpenSegment::is_empty), "a record fits in an empty segment");
            self.rotate_or_wait(ctx);
            return;
        }
        let batch = plan.encode(self.state.tag, self.progress.synced(), &self.state.options.pool);
        self.perform(Event::Accepted { through: batch.end(), waiters }, ctx);
        self.count_appends(records);
        self.write(&batch, ctx);
        if !self.queue.is_empty() {
            self.schedule_flush(ctx);
        }
    }

    fn plan_batch(&self) -> Option<BatchPlan> {
        let open = self.open.as_ref()?;
        // The last block is kept for the seal.
        let limit = open.segment.file_bytes().saturating_sub(BLOCK_BYTES as u32);
        Some(BatchPlan::new(open.lsn(), limit, open.segment.file().caching()))
    }

    /// Plans the seal that ends the open segment. `None` if no segment is open or no room is left for a seal.
    fn plan_seal(&mut self) -> Option<BatchPlan> {
        let open = self.open.as_ref()?;
        let mut plan = BatchPlan::new(open.lsn(), open.segment.file_bytes(), open.segment.file().caching());
        plan.push_mark(Mark::Seal { cut: self.cut })?;
        self.cut = None;
        Some(plan)
    }

    fn count_appends(&self, records: usize) {
        self.state.counts.appends.fetch_add(records as u64, Ordering::Relaxed);
        self.state.metrics.appends.inc_by(records as u64);
    }

    /// Writes a mark, which proves that everything before it is synced. A seal serves as the mark if nothing else fits.
    fn write_mark(&mut self, ctx: &mut Context<Self>) {
        let through = self.progress.written();
        let marked = self.plan_batch().and_then(|mut plan| plan.push_mark(Mark::Synced).map(|_| plan));
        let Some(plan) = marked.or_else(|| self.plan_seal()) else {
            return self.perform(Event::Marked { through }, ctx);
        };
        let batch = plan.encode(self.state.tag, through, &self.state.options.pool);
        let through = batch.end();
        if self.write_batch(&batch, ctx) {
            self.perform(Event::Marked { through }, ctx);
        }
    }

    /// Writes a batch at the append position and advances it. A failure is final, because the content of the file at
    /// that position is then unknown.
    fn write(&mut self, batch: &Batch, ctx: &mut Context<Self>) {
        if self.write_batch(batch, ctx) {
            self.perform(Event::Written { through: batch.end() }, ctx);
        }
    }

    fn write_batch(&mut self, batch: &Batch, ctx: &mut Context<Self>) -> bool {
        let Some(open) = self.open.as_mut() else {
            return false;
        };
        assert_eq!(open.lsn(), batch.start(), "a batch is written where it was planned");
        let written = write_repeatedly(&**open.segment.file(), &batch.slices(), u64::from(batch.start().offset()));
        let outcome = written.map_err(|cause| WalError::io("write", open.segment.path(), &cause));
        open.position = batch.end().offset();
        if self.unsynced.last().is_none_or(|last| last.id() != open.segment.id()) {
            self.unsynced.push(open.segment.clone());
        }
        self.state.counts.writes.fetch_add(1, Ordering::Relaxed);
        self.state.metrics.writes.inc();
        self.state.metrics.appended_bytes.inc_by(batch.bytes());
        outcome.inspect_err(|error| self.fail(error, ctx)).is_ok()
    }

    fn fail(&mut self, error: &WalError, ctx: &mut Context<Self>) {
        tracing::error!(%error, dir = %self.state.options.dir.display(), "a log failed: its drive is out of service until the host is restarted or the drive replaced");
        self.state.take_out_of_service(&error.to_string());
        self.perform(Event::Failed, ctx);
        self.refuse_queued(error);
        self.schedule_flush(ctx);
    }

    fn refuse_queued(&mut self, error: &WalError) {
        let refusal = match error {
            WalError::OutOfSpace if !self.progress.has_failed() => WalError::OutOfSpace,
            _ => self.state.check_in_service().err().unwrap_or_else(|| error.clone()),
        };
        self.queue.refuse(&refusal);
        refuse_all(&mut self.rotations, &refusal);
    }

    /// Refuses the queued appends after no segment could be made for them. Patient appends stay queued if only space or
    /// resources of the host are wanting, unless the log is being closed.
    fn refuse_stalled(&mut self, error: &WalError) {
        if !error.is_shortage() || self.closing.is_some() {
            return self.refuse_queued(error);
        }
        self.queue.refuse_impatient(error);
    }

    /// Schedules another attempt to make a segment. It needs no further append: callers that were refused write to
    /// other drives and do not ask again.
    fn await_room(&mut self, ctx: &mut Context<Self>) {
        if !self.room_awaited && self.closing.is_none() {
            self.room_awaited = true;
            ctx.notify_later(RoomDue, ROOM_RETRY);
        }
    }

    /// Moves on to the next segment, or waits until one is prepared.
    fn rotate_or_wait(&mut self, ctx: &mut Context<Self>) {
        self.stalled = !self.rotate(ctx);
        if self.stalled {
            self.prepare_next();
        } else {
            self.schedule_flush(ctx);
        }
    }

    /// Seals the open segment and opens the next one. Returns false, and does nothing, if none is prepared.
    fn rotate(&mut self, ctx: &mut Context<Self>) -> bool {
        let Some(next) = self.ready.pop_front() else {
            return false;
        };
        if let Some(plan) = self.plan_seal() {
            let batch = plan.encode(self.state.tag, self.progress.synced(), &self.state.options.pool);
            self.perform(Event::Accepted { through: batch.end(), waiters: Vec::new() }, ctx);
            self.write(&batch, ctx);
        }
        self.state.add_segment(next.segment());
        self.open = Some(OpenSegment { segment: next, position: SEGMENT_HEADER_BYTES as u32 });
        self.prepare_next();
        true
    }

    fn perform(&mut self, event: Event<Placed>, ctx: &mut Context<Self>) {
        let effects = self.progress.on(event);
        self.state.publish_written(self.progress.written());
        for effect in effects {
            match effect {
                Effect::StartSync { through, waiters } => {
                    let segments = std::mem::take(&mut self.unsynced);
                    self.syncer.do_send(SyncThrough { segments, through, waiters });
                }
                Effect::Answer { tokens } => tokens.into_iter().for_each(Placed::answer),
                Effect::Refuse { tokens } => self.refuse_placed(tokens),
                Effect::ArmFlushDelay => drop(ctx.notify_later(FlushDue, self.flush_delay())),
                Effect::ArmMarkDelay { at } => drop(ctx.notify_later(MarkDue { at }, MARK_DELAY)),
                Effect::WriteMark => self.write_mark(ctx),
                Effect::Drained => self.finish(ctx),
            }
        }
        self.check_invariants();
    }

    /// Refuses appends that are placed. The log is out of service.
    fn refuse_placed(&self, appends: Vec<Placed>) {
        let why = self.state.status().out_of_service.unwrap_or_default();
        for append in appends {
            append.refuse(WalError::OutOfService { why: why.clone() });
        }
    }

    fn flush_delay(&self) -> Duration {
        match self.state.options.durability {
            Durability::Strict => Duration::from_millis(LOG_IDLE_FLUSH_MS_MAX),
            Durability::Relaxed { flush_delay_max } => flush_delay_max,
        }
    }

    /// Ends the log, once everything is on stable storage or the log has failed: stops the other actors, closes every
    /// file, answers the `CloseLog`, and stops this actor.
    fn finish(&mut self, ctx: &mut Context<Self>) {
        let outcome = if self.progress.has_failed() { self.state.check_in_service() } else { Ok(()) };
        self.state.take_out_of_service(CLOSED);
        self.refuse_queued(&WalError::OutOfService { why: CLOSED.to_owned() });
        self.syncer.do_send(StopSyncer);
        let (reply, stopped) = oneshot::channel();
        self.allocator.do_send(StopAllocator { reply });
        let stopping = stopped.into_actor(self).map(move |_, writer, ctx| {
            writer.open = None;
            writer.ready.clear();
            writer.unsynced.clear();
            writer.state.publish_table(Default::default(), None);
            if let Some(reply) = writer.closing.take() {
                drop(reply.send(outcome));
            }
            ctx.stop();
        });
        ctx.spawn(stopping);
    }

    fn check_open(&self) -> Result<(), WalError> {
        self.state.check_in_service()?;
        if self.closing.is_some() { Err(WalError::OutOfService { why: CLOSED.to_owned() }) } else { Ok(()) }
    }

    fn check_space_at_times(&mut self) {
        let now = self.state.options.ambient.clock.monotonic();
        if now.saturating_sub(self.space_checked) >= Duration::from_millis(LOG_SPACE_CHECK_MS_MIN) {
            self.space_checked = now;
            self.allocator.do_send(CheckSpace);
            if self.state.lacks_reserve() {
                self.prepare_next();
            }
        }
    }

    fn check_invariants(&self) {
        self.progress.check_invariants();
        if let Some(open) = &self.open {
            assert!(open.position <= open.segment.file_bytes(), "the append position is inside its segment");
        }
        let settled = self.progress.has_failed()
            || self.progress.sync_in_flight()
            || self.progress.written() == self.progress.synced();
        assert!(settled || !self.unsynced.is_empty(), "unsynced segments are listed while no sync is in flight");
    }
}

fn refuse_all(replies: &mut Vec<Reply<()>>, refusal: &WalError) {
    for reply in replies.drain(..) {
        drop(reply.send(Err(refusal.clone())));
    }
}

impl Actor for WalWriter {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.prepare_next();
    }
}

impl Handler<AppendRecords> for WalWriter {
    type Result = ();

    fn handle(&mut self, message: AppendRecords, ctx: &mut Context<Self>) {
        let AppendRecords { records, ack, patience, queued, reply } = message;
        if let Err(refusal) = self.check_open() {
            drop(reply.send(Err(refusal)));
            return;
        }
        self.check_space_at_times();
        self.queue.push(records, ack, patience, queued, reply);
        self.schedule_flush(ctx);
    }
}

impl Handler<SyncWritten> for WalWriter {
    type Result = ();

    fn handle(&mut self, message: SyncWritten, ctx: &mut Context<Self>) {
        match self.check_open() {
            Ok(()) => self.perform(Event::SyncWanted { token: Placed::without_records(message.reply) }, ctx),
            Err(refusal) => drop(message.reply.send(Err(refusal))),
        }
    }
}

impl Handler<FlushBatch> for WalWriter {
    type Result = ();

    fn handle(&mut self, _: FlushBatch, ctx: &mut Context<Self>) {
        if self.hangs(ctx) {
            return;
        }
        self.flush_scheduled = false;
        self.flush(ctx);
        // All appends that were accepted before the `CloseLog` are written first.
        if self.closing.is_some() && self.queue.is_empty() {
            self.perform(Event::Closing, ctx);
        }
    }
}

impl Handler<Synced> for WalWriter {
    type Result = ();

    fn handle(&mut self, message: Synced, ctx: &mut Context<Self>) {
        match message.outcome {
            Ok(()) => self.perform(Event::SyncDone, ctx),
            Err(SyncFailed { error, waiters }) => {
                self.fail(&error, ctx);
                self.refuse_placed(waiters);
            }
        }
    }
}

impl Handler<SegmentPrepared> for WalWriter {
    type Result = ();

    fn handle(&mut self, message: SegmentPrepared, ctx: &mut Context<Self>) {
        if self.hangs(ctx) {
            return;
        }
        self.preparing = false;
        match message.outcome {
            Ok(segment) => {
                self.state.set_reserve(true);
                self.ready.push_back(segment);
                if !self.rotations.is_empty() {
                    self.rotate(ctx);
                    for reply in self.rotations.drain(..) {
                        drop(reply.send(Ok(())));
                    }
                }
                self.schedule_flush(ctx);
            }
            // The failure is not final: the next append that needs a segment requests one again.
            Err(error) => {
                if matches!(error, WalError::NoResources { .. }) {
                    // It says nothing of the drive's space.
                    self.state.note_shortage(&error);
                } else {
                    if !self.state.lacks_reserve() {
                        tracing::warn!(%error, dir = %self.state.options.dir.display(), "cannot make another segment");
                    }
                    self.state.set_reserve(error != WalError::OutOfSpace);
                }
                self.queue.refuse_unplaced(&WalError::OutOfSpace, |record| self.state.refuses_for_space(record));
                let stalled = std::mem::take(&mut self.stalled);
                if stalled {
                    self.refuse_stalled(&error);
                }
                refuse_all(&mut self.rotations, &error);
                if error.is_shortage() {
                    self.await_room(ctx);
                }
                // Appends that are still queued otherwise are patient ones, which wait for `RoomDue`.
                if self.closing.is_some() || !stalled {
                    self.schedule_flush(ctx);
                }
            }
        }
    }
}

impl Handler<RoomDue> for WalWriter {
    type Result = ();

    fn handle(&mut self, _: RoomDue, ctx: &mut Context<Self>) {
        self.room_awaited = false;
        // `flush` comes first: if appends wait, it requests the segment as urgent.
        self.flush(ctx);
        self.prepare_next();
        if self.closing.is_some() {
            self.schedule_flush(ctx);
        }
    }
}

impl Handler<RotateSegment> for WalWriter {
    type Result = ();

    fn handle(&mut self, message: RotateSegment, ctx: &mut Context<Self>) {
        if let Err(refusal) = self.check_open() {
            drop(message.reply.send(Err(refusal)));
        } else if self.open.as_ref().is_none_or(OpenSegment::is_empty) || self.rotate(ctx) {
            drop(message.reply.send(Ok(())));
        } else {
            self.rotations.push(message.reply);
            self.prepare_next();
        }
    }
}

impl Handler<ReleaseSegment> for WalWriter {
    type Result = ();

    fn handle(&mut self, message: ReleaseSegment, _: &mut Context<Self>) {
        let ReleaseSegment { id, reply } = message;
        let table = self.state.table();
        let open = self.open.as_ref().map(|open| open.segment.id());
        let refusal = match table.get(id) {
            _ if open == Some(id) => WalError::SegmentOpen { segment: id },
            None => WalError::NotFound { at: Lsn::new(id, 0) },
            Some(segment) => {
                self.state.release(id, open);
                self.allocator.do_send(RetireSegment { segment, reply });
                return;
            }
        };
        drop(reply.send(Err(refusal)));
    }
}

impl Handler<SpaceWanted> for WalWriter {
    type Result = ();

    fn handle(&mut self, _: SpaceWanted, _: &mut Context<Self>) {
        self.check_space_at_times();
    }
}

impl Handler<SpaceFreed> for WalWriter {
    type Result = ();

    fn handle(&mut self, _: SpaceFreed, _: &mut Context<Self>) {
        if self.state.lacks_reserve() {
            self.prepare_next();
        }
    }
}

impl Handler<CloseLog> for WalWriter {
    type Result = ();

    fn handle(&mut self, message: CloseLog, ctx: &mut Context<Self>) {
        if self.closing.is_some() {
            drop(message.reply.send(Err(WalError::OutOfService { why: CLOSED.to_owned() })));
            return;
        }
        self.closing = Some(message.reply);
        self.schedule_flush(ctx);
    }
}

impl Handler<FlushDue> for WalWriter {
    type Result = ();

    fn handle(&mut self, _: FlushDue, ctx: &mut Context<Self>) {
        self.perform(Event::FlushDue, ctx);
    }
}

impl Handler<MarkDue> for WalWriter {
    type Result = ();

    fn handle(&mut self, MarkDue { at }: MarkDue, ctx: &mut Context<Self>) {
        if self.hangs(ctx) {
            return;
        }
        self.perform(Event::MarkDue { at }, ctx);
    }
}
