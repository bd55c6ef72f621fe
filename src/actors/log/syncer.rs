//! `Syncer`: the actor that syncs the segments of one log, on its own thread, so that the writer works during a sync.
//!
//! Receives `SyncThrough` from the `WalWriter`, one at a time, and `StopSyncer`; answers with `Synced`. Syncs the
//! segments in the order of the message. Refuses nothing. A failed sync is final for the log and is not repeated.

use super::messages::Synced;
use super::state::LogState;
use crate::defects::{Defect, has};
use crate::storage::wal::{Segment, WalError};
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient, WrapFuture};
use std::sync::Arc;

/// Sync these segments. The sync covers all that was written to them before this message.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SyncThrough {
    pub(super) segments: Vec<Arc<Segment>>,
}

/// Stop: the log is being closed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopSyncer;

pub(super) struct Syncer {
    writer: Recipient<Synced>,
    state: Arc<LogState>,
}

impl Syncer {
    pub(super) fn new(writer: Recipient<Synced>, state: Arc<LogState>) -> Self {
        Self { writer, state }
    }

    fn sync(segment: &Segment) -> Result<(), WalError> {
        let file = segment.writable()?;
        if has(Defect::SkipSync) {
            return Ok(());
        }
        file.sync_data().map_err(|cause| WalError::io("sync", segment.path(), &cause))
    }
}

impl Actor for Syncer {
    type Context = Context<Self>;
}

impl Handler<SyncThrough> for Syncer {
    type Result = ();

    fn handle(&mut self, message: SyncThrough, ctx: &mut Context<Self>) {
        if self.state.hangs() {
            return ctx.wait(std::future::pending().into_actor(self));
        }
        let clock = &self.state.options.ambient.clock;
        let started = clock.monotonic();
        let outcome = message.segments.iter().try_for_each(|segment| Self::sync(segment));
        self.state.metrics.sync_seconds.observe(clock.monotonic().saturating_sub(started).as_secs_f64());
        drop(message.segments);
        self.writer.do_send(Synced { outcome });
    }
}

impl Handler<StopSyncer> for Syncer {
    type Result = ();

    fn handle(&mut self, _: StopSyncer, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
