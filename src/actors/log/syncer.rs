//! `Syncer`: the actor that syncs the segments of one log, on its own thread, so that the writer works during a sync.
//!
//! Receives `SyncThrough` from the `WalWriter`, one at a time, and `StopSyncer`. Syncs the segments in the order of the
//! message, answers the appends that waited for that, and sends `Synced`. Refuses nothing: the appends that waited for a
//! failed sync go back to the writer. A failed sync is final for the log and is not repeated.

use super::append_queue::Placed;
use super::messages::{SyncFailed, Synced};
use super::state::LogState;
use crate::defects::{Defect, has};
use crate::storage::wal::{WalError, WritableSegment};
use crate::types::Lsn;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient, WrapFuture};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Sync these segments. The sync covers all that was written to them before this message, of which `waiters` are the
/// appends to answer.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SyncThrough {
    pub(super) segments: Vec<WritableSegment>,
    /// The position through which everything is durable after the sync.
    pub(super) through: Lsn,
    pub(super) waiters: Vec<Placed>,
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

    fn sync(segment: &WritableSegment) -> Result<(), WalError> {
        if has(Defect::SkipSync) {
            return Ok(());
        }
        segment.file().sync_data().map_err(|cause| WalError::io("sync", segment.path(), &cause))
    }
}

impl Actor for Syncer {
    type Context = Context<Self>;
}

impl Handler<SyncThrough> for Syncer {
    type Result = ();

    fn handle(&mut self, message: SyncThrough, ctx: &mut Context<Self>) {
        if self.state.hangs() {
            // Whoever waits for this sync waits on, as it would for a drive that hangs.
            let hanging = async move {
                let _kept = message;
                std::future::pending::<()>().await;
            };
            return ctx.wait(hanging.into_actor(self));
        }
        let clock = &self.state.options.ambient.clock;
        let started = clock.monotonic();
        let SyncThrough { segments, through, waiters } = message;
        let outcome = segments.iter().try_for_each(Self::sync);
        self.state.metrics.sync_seconds.observe(clock.monotonic().saturating_sub(started).as_secs_f64());
        drop(segments);
        let outcome = match outcome {
            Ok(()) => {
                self.state.publish_synced(through);
                self.state.counts.syncs.fetch_add(1, Ordering::Relaxed);
                self.state.metrics.syncs.inc();
                if !waiters.is_empty() {
                    self.state.metrics.sync_waiters.observe(waiters.len() as f64);
                }
                waiters.into_iter().for_each(Placed::answer);
                Ok(())
            }
            Err(error) => Err(SyncFailed { error, waiters }),
        };
        self.writer.do_send(Synced { outcome });
    }
}

impl Handler<StopSyncer> for Syncer {
    type Result = ();

    fn handle(&mut self, _: StopSyncer, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
