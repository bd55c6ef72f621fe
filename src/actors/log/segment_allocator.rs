//! `SegmentAllocator`: the actor that does the slow operations on the segment files of one log, on its own thread. It
//! makes, recycles and removes files, syncs their directory and checks the free space, so that the writer does not.
//!
//! Receives `PrepareSegment`, `RetireSegment`, `CheckSpace`, `StopAllocator`; sends `SegmentPrepared` and `SpaceFreed`
//! to the `WalWriter`.
//!
//! Invariants: a prepared segment is durable, its directory entry included. A file is reused or removed only when
//! nobody holds its segment. At most `LOG_FREE_SEGMENTS_MAX` retired files are kept, and none while the drive is short
//! of space.
//!
//! Refuses with `OutOfSpace` if the drive has no space for a segment.

use super::messages::{SegmentPrepared, SpaceFreed};
use super::state::LogState;
use crate::limits::LOG_FREE_SEGMENTS_MAX;
use crate::storage::disk::Space;
use crate::storage::wal::{Segment, WalError, prepare_segment, retire_segment};
use crate::types::SegmentId;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient, WrapFuture};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The interval between attempts to retire a segment that a reader holds.
const HELD_RETRY: Duration = Duration::from_millis(5);

/// Make this segment ready for appends.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct PrepareSegment {
    pub(super) id: SegmentId,
    /// True if appends wait for the segment. It is then made even from the space that is reserved for the metadata.
    pub(super) urgent: bool,
}

/// Retire this segment's file as soon as nobody holds the segment. Answered when the file is retired.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct RetireSegment {
    pub(super) segment: Arc<Segment>,
    pub(super) reply: oneshot::Sender<Result<(), WalError>>,
}

/// Check how much space is free.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct CheckSpace;

/// Stop: the log is being closed. Answered when no operation is under way any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopAllocator {
    pub(super) reply: oneshot::Sender<()>,
}

/// The addresses of the writer, to which the allocator reports.
pub(super) struct Reports {
    pub(super) prepared: Recipient<SegmentPrepared>,
    pub(super) freed: Recipient<SpaceFreed>,
}

pub(super) struct SegmentAllocator {
    reports: Reports,
    state: Arc<LogState>,
    free: Vec<PathBuf>,
}

impl SegmentAllocator {
    pub(super) fn new(reports: Reports, state: Arc<LogState>, free: Vec<PathBuf>) -> Self {
        Self { reports, state, free }
    }

    /// Returns the free space, or `None` if it cannot be read. Removes retired files if the drive is short of space.
    fn check_space(&mut self) -> Option<Space> {
        let space = match self.state.disk.space(&self.state.options.dir) {
            Ok(space) => space,
            Err(error) => {
                tracing::warn!(%error, dir = %self.state.options.dir.display(), "cannot read the free space of the drive");
                return None;
            }
        };
        // Retired files count as free space, because new segments reuse them.
        let kept = self.free.len() as u64 * u64::from(self.state.options.segment_bytes);
        let space = Space { free_bytes: space.free_bytes.saturating_add(kept), ..space };
        self.state.publish_space(space);
        if self.state.is_short_of_space() {
            self.give_back();
        }
        Some(space)
    }

    fn give_back(&mut self) {
        for path in self.free.drain(..) {
            if let Err(error) = self.state.disk.remove(&path) {
                tracing::warn!(%error, path = %path.display(), "cannot remove the file of a retired segment");
            }
        }
    }

    /// Makes a segment from a retired file or, if there is none, from a new file.
    fn prepare(&mut self, PrepareSegment { id, urgent }: PrepareSegment) -> Result<Segment, WalError> {
        let recycled = self.free.pop();
        let space = self.check_space();
        let refused = !urgent && space.is_some_and(|space| !self.state.has_room_for_segment(space));
        if recycled.is_none() && refused {
            return Err(WalError::OutOfSpace);
        }
        prepare_segment(&self.state.disk, &self.state.options, id, recycled.as_deref())
    }

    /// Retires the file of a segment, or returns the segment if somebody still holds it.
    fn retire(&mut self, segment: Arc<Segment>) -> Result<Result<(), WalError>, Arc<Segment>> {
        let segment = Arc::try_unwrap(segment)?;
        let keep = self.free.len() < LOG_FREE_SEGMENTS_MAX && !self.state.is_short_of_space();
        let retired = retire_segment(self.state.disk.as_ref(), &self.state.options, segment, keep);
        Ok(retired.map(|kept| self.free.extend(kept)))
    }

    fn check_invariants(&self) {
        assert!(self.free.len() <= LOG_FREE_SEGMENTS_MAX, "retired files are bounded");
        self.state.metrics.segments_free.set(self.free.len() as i64);
    }
}

impl Actor for SegmentAllocator {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.check_space();
    }
}

impl Handler<PrepareSegment> for SegmentAllocator {
    type Result = ();

    fn handle(&mut self, message: PrepareSegment, ctx: &mut Context<Self>) {
        if self.state.hangs() {
            return ctx.wait(std::future::pending().into_actor(self));
        }
        let outcome = self.prepare(message);
        self.reports.prepared.do_send(SegmentPrepared { outcome: outcome.map(Arc::new) });
        self.check_invariants();
    }
}

impl Handler<RetireSegment> for SegmentAllocator {
    type Result = ();

    fn handle(&mut self, message: RetireSegment, ctx: &mut Context<Self>) {
        if self.state.hangs() {
            let held = async move {
                let _held = message;
                std::future::pending().await
            };
            return ctx.wait(held.into_actor(self));
        }
        match self.retire(message.segment) {
            // The caller may have stopped waiting.
            Ok(outcome) => {
                drop(message.reply.send(outcome));
                self.reports.freed.do_send(SpaceFreed);
            }
            Err(segment) => drop(ctx.notify_later(RetireSegment { segment, reply: message.reply }, HELD_RETRY)),
        }
        self.check_invariants();
    }
}

impl Handler<CheckSpace> for SegmentAllocator {
    type Result = ();

    fn handle(&mut self, _: CheckSpace, _: &mut Context<Self>) {
        self.check_space();
    }
}

impl Handler<StopAllocator> for SegmentAllocator {
    type Result = ();

    fn handle(&mut self, message: StopAllocator, ctx: &mut Context<Self>) {
        ctx.stop();
        let _ = message.reply.send(());
    }
}
