//! `SegmentAllocator`: the actor that does the slow operations on the segment files of one log, on its own thread. It
//! makes, recycles and removes files, syncs their directory and checks the free space, so that the writer does not.
//!
//! Receives `PrepareSegment`, `RetireSegment`, `CheckSpace`, `StopAllocator`, and `RetireHeld` from itself; sends
//! `SegmentPrepared` and `SpaceFreed` to the `WalWriter`.
//!
//! Invariants: a prepared segment is durable, its directory entry included. A file is reused or removed only when
//! nobody holds its segment and, in a log that is replayed in order, after the files that were to be retired before it.
//! At most `LOG_FREE_SEGMENTS_MAX` retired files are kept, and none while the drive is short of space.
//!
//! Refuses with `OutOfSpace` if the drive has no space for a segment, and with `NoResources` if the host lacks file
//! descriptors or memory.

use super::messages::{SegmentPrepared, SpaceFreed};
use super::state::LogState;
use crate::limits::LOG_FREE_SEGMENTS_MAX;
use crate::storage::disk::Space;
use crate::storage::wal::{Segment, WalError, WritableSegment, prepare_segment, retire_segment};
use crate::types::SegmentId;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient, WrapFuture};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The interval between attempts to retire segments that readers hold.
const HELD_RETRY: Duration = Duration::from_millis(5);

/// Make this segment ready for appends.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct PrepareSegment {
    pub(super) id: SegmentId,
    /// True if appends wait for the segment. It is then made even from the space that is reserved for the metadata.
    pub(super) urgent: bool,
}

/// Retire this segment's file as soon as nobody holds the segment. Answered when the file is retired, or when that
/// fails. A failed attempt is repeated with the next `RetireSegment`.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct RetireSegment {
    pub(super) segment: Arc<Segment>,
    pub(super) reply: oneshot::Sender<Result<(), WalError>>,
}

/// Try again to retire the segments that readers held.
#[derive(Message)]
#[rtype(result = "()")]
struct RetireHeld;

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

/// A segment whose file is to be retired.
struct Retirement {
    segment: Arc<Segment>,
    /// `None` once answered.
    reply: Option<oneshot::Sender<Result<(), WalError>>>,
    /// The reason why the last attempt failed.
    failure: Option<WalError>,
}

impl Retirement {
    fn answer(&mut self, outcome: Result<(), WalError>) {
        if let Some(reply) = self.reply.take() {
            // The caller may have stopped waiting.
            let _ = reply.send(outcome);
        }
    }
}

pub(super) struct SegmentAllocator {
    reports: Reports,
    state: Arc<LogState>,
    free: Vec<PathBuf>,
    /// In the order in which they were released.
    retiring: VecDeque<Retirement>,
    /// True while a `RetireHeld` is scheduled.
    retry_scheduled: bool,
}

impl SegmentAllocator {
    pub(super) fn new(reports: Reports, state: Arc<LogState>, free: Vec<PathBuf>) -> Self {
        Self { reports, state, free, retiring: VecDeque::new(), retry_scheduled: false }
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
    fn prepare(&mut self, PrepareSegment { id, urgent }: PrepareSegment) -> Result<WritableSegment, WalError> {
        let recycled = self.free.pop();
        let space = self.check_space();
        let refused = !urgent && space.is_some_and(|space| !self.state.has_room_for_segment(space));
        if recycled.is_none() && refused {
            return Err(WalError::OutOfSpace);
        }
        let made = prepare_segment(&self.state.disk, &self.state.options, id, recycled.as_deref());
        // The file is as good as before, unless it was renamed already.
        if let (Err(WalError::NoResources { .. }), Some(path)) = (&made, recycled)
            && self.state.disk.exists(&path).unwrap_or(false)
        {
            self.free.push(path);
        }
        made
    }

    /// Retires the file of a segment. Returns the retirement if it failed, or if somebody still holds the segment.
    fn retire(&mut self, retirement: Retirement) -> Option<Retirement> {
        let Retirement { segment, reply, failure } = retirement;
        let segment = match Arc::try_unwrap(segment) {
            Ok(segment) => segment,
            Err(segment) => return Some(Retirement { segment, reply, failure }),
        };
        let keep = self.free.len() < LOG_FREE_SEGMENTS_MAX && !self.state.is_short_of_space();
        let retired = retire_segment(self.state.disk.as_ref(), &self.state.options, &segment, keep);
        if retired.is_ok() {
            self.state.retiring().remove(&segment.id());
        }
        let mut ended = Retirement { segment: Arc::new(segment), reply, failure: retired.as_ref().err().cloned() };
        ended.answer(retired.map(|kept| self.free.extend(kept)));
        ended.failure.is_some().then_some(ended)
    }

    /// Tries to retire each file that waits for it, oldest first. Those that failed are tried again only `with_failed`.
    /// In a log that is replayed in order, the first that stays keeps those behind it, and its failure is their answer.
    fn retire_waiting(&mut self, with_failed: bool) {
        let in_order = self.state.options.retires_in_order();
        for mut retirement in std::mem::take(&mut self.retiring) {
            if let Some(oldest) = self.retiring.front().filter(|_| in_order) {
                if let Some(failure) = oldest.failure.clone() {
                    retirement.answer(Err(failure));
                }
                self.retiring.push_back(retirement);
                continue;
            }
            let is_put_off = retirement.failure.is_some() && !with_failed;
            let left = if is_put_off { Some(retirement) } else { self.retire(retirement) };
            self.retiring.extend(left);
        }
    }

    /// Returns whether a file could be retired but for a reader.
    fn awaits_reader(&self) -> bool {
        let candidates = if self.state.options.retires_in_order() { 1 } else { self.retiring.len() };
        self.retiring.iter().take(candidates).any(|retirement| retirement.failure.is_none())
    }

    fn go_on_retiring(&mut self, with_failed: bool, ctx: &mut Context<Self>) {
        let waiting = self.retiring.len();
        self.retire_waiting(with_failed);
        if self.retiring.len() < waiting {
            self.reports.freed.do_send(SpaceFreed);
        }
        if self.awaits_reader() && !self.retry_scheduled {
            self.retry_scheduled = true;
            ctx.notify_later(RetireHeld, HELD_RETRY);
        }
        self.check_invariants();
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
        self.reports.prepared.do_send(SegmentPrepared { outcome });
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
        let RetireSegment { segment, reply } = message;
        self.retiring.push_back(Retirement { segment, reply: Some(reply), failure: None });
        self.go_on_retiring(true, ctx);
    }
}

impl Handler<RetireHeld> for SegmentAllocator {
    type Result = ();

    fn handle(&mut self, _: RetireHeld, ctx: &mut Context<Self>) {
        if self.state.hangs() {
            return ctx.wait(std::future::pending().into_actor(self));
        }
        self.retry_scheduled = false;
        self.go_on_retiring(false, ctx);
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
        self.retiring.clear();
        let _ = message.reply.send(());
    }
}
