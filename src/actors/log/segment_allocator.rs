//! Everything slow about the segments of one log, on a thread of its own: making, recycling and removing their files,
//! syncing their directory, asking for free space. None of it happens while the writer waits.
//!
//! Receives `PrepareSegment`, `ReclaimSegment`, `CheckSpace`, `StopAllocator`; sends `SegmentPrepared` and `SpaceFreed` to the
//! `WalWriter`.
//! Invariants: a segment that is handed over is durable, its directory entry included; a file is reused or removed only
//! when nobody holds its segment; at most `LOG_FREE_SEGMENTS_MAX` retired files are kept, and none while the drive is short of space.
//! Refuses when the drive has no room for a segment.

use super::messages::{SegmentPrepared, SpaceFreed};
use super::state::LogState;
use super::wal_writer::WalWriter;
use crate::limits::LOG_FREE_SEGMENTS_MAX;
use crate::storage::disk::Space;
use crate::storage::wal::{Segment, WalError, prepare_segment, retire_segment};
use crate::types::SegmentId;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The pause until a segment that is still held is tried again.
const HELD_RETRY: Duration = Duration::from_millis(5);

/// Make this segment ready for appends.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct PrepareSegment {
    pub(super) id: SegmentId,
    /// Something waits for it that must not be refused while there is any room at all.
    pub(super) urgent: bool,
}

/// Take this segment's file back as soon as nobody holds it; answered when it is out of the log for good.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ReclaimSegment {
    pub(super) segment: Arc<Segment>,
    pub(super) reply: oneshot::Sender<Result<(), WalError>>,
}

/// Find out how much space is free.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct CheckSpace;

/// The log ends; answered when nothing is under way any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopAllocator {
    pub(super) reply: oneshot::Sender<()>,
}

pub(super) struct SegmentAllocator {
    writer: Addr<WalWriter>,
    state: Arc<LogState>,
    free: Vec<PathBuf>,
}

impl SegmentAllocator {
    pub(super) fn new(writer: Addr<WalWriter>, state: Arc<LogState>, free: Vec<PathBuf>) -> Self {
        Self { writer, state, free }
    }

    /// Returns the free space, if it can be known. Releases kept files if the drive is short of it.
    fn check_space(&mut self) -> Option<Space> {
        let space = match self.state.disk.space(&self.state.options.dir) {
            Ok(space) => space,
            Err(error) => {
                tracing::warn!(%error, dir = %self.state.options.dir.display(), "free space is not known");
                return None;
            }
        };
        // Retired files are room for records, though the file system counts them as used.
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
                tracing::warn!(%error, path = %path.display(), "a retired segment stays");
            }
        }
    }

    /// A retired file, or the room for a new one.
    fn prepare(&mut self, PrepareSegment { id, urgent }: PrepareSegment) -> Result<Segment, WalError> {
        let recycled = self.free.pop();
        let space = self.check_space();
        let refused = !urgent && space.is_some_and(|space| !self.state.has_room_for_segment(space));
        if recycled.is_none() && refused {
            return Err(WalError::OutOfSpace);
        }
        prepare_segment(&self.state.disk, &self.state.options, id, recycled.as_deref())
    }

    /// Retires the segment if nobody holds it; else gives it back.
    fn reclaim(&mut self, segment: Arc<Segment>) -> Result<Result<(), WalError>, Arc<Segment>> {
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
        self.writer.do_send(SegmentPrepared { outcome: outcome.map(Arc::new) });
        self.check_invariants();
    }
}

impl Handler<ReclaimSegment> for SegmentAllocator {
    type Result = ();

    fn handle(&mut self, message: ReclaimSegment, ctx: &mut Context<Self>) {
        if self.state.hangs() {
            let held = async move {
                let _held = message;
                std::future::pending().await
            };
            return ctx.wait(held.into_actor(self));
        }
        match self.reclaim(message.segment) {
            // The caller may have stopped waiting.
            Ok(outcome) => {
                drop(message.reply.send(outcome));
                self.writer.do_send(SpaceFreed);
            }
            Err(segment) => drop(ctx.notify_later(ReclaimSegment { segment, reply: message.reply }, HELD_RETRY)),
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
