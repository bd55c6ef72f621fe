//! `AuditLogger`: writes the lines of the audit log to one destination, in their order. Each destination has its own
//! logger, which owns the lines that are not written yet. `api::audit` composes the lines.
//!
//! Receives lines (through an `AuditSender`, which never waits), `Reopen` (the file was moved away) and `Stop` (write
//! the queued lines, and stop). Sends no messages; it passes lines to an `AuditSink`, a batch at a time.
//!
//! Invariants: lines are written in the order in which they came, each once (after a failed attempt perhaps twice); the
//! queue is within its bounds. A sink that fails is tried again every `RETRY_AFTER`, and the lines wait. Refusals: a
//! line that finds the queue full is lost. So is a line that the sink refuses, and one that cannot be written when the
//! process stops. Lost lines are counted. The first loss is logged with WARN, and the next one not before lines are
//! written again.

mod queue;
#[cfg(test)]
mod tests;
mod webhook;

pub use queue::LineKind;
pub use webhook::WebhookSink;

use crate::limits::AUDIT_BATCH_LINES;
use crate::metrics;
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, SpawnHandle,
    WrapFuture,
};
use async_trait::async_trait;
use bytes::Bytes;
use queue::LineQueue;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// The capacity of the actor's mailbox, in lines.
const MAILBOX_LINES: usize = 4096;
/// The pause between attempts to write to a failing sink.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// An attempt counts as failing once it has taken this many pauses.
const OVERDUE_PAUSES: u32 = 15;

/// The outcome of a batch of lines: of its first `written + refused` lines some were written and others refused for
/// good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub written: usize,
    pub refused: usize,
    /// The reason why the remaining lines were not written; they may be tried again.
    pub fault: Option<String>,
}

/// A destination of the audit log.
#[async_trait]
pub trait AuditSink: Debug + Send + Sync + 'static {
    /// Writes lines, each with its line end, in their order.
    async fn write(&self, lines: &[Bytes]) -> Settled;

    /// Opens the file by its name again. If that fails, the file that was open stays in use.
    async fn reopen(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Open the file again. Answered when it is open, or with `Err` if it cannot be opened.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), String>")]
pub struct Reopen;

/// Write the queued lines, and stop. Answered when each line is written or lost.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Append {
    line: Bytes,
    kind: LineKind,
}

/// The number of lines lost since the last one was written, counted by the senders and the actor together.
#[derive(Debug)]
struct Losses {
    destination: &'static str,
    since_written: AtomicU64,
}

impl Losses {
    fn add(&self, count: usize, why: &str) {
        if count == 0 {
            return;
        }
        metrics::AUDIT_LINES.with_label_values(&[self.destination, "lost"]).inc_by(count as u64);
        if self.since_written.fetch_add(count as u64, Ordering::Relaxed) == 0 {
            tracing::warn!(destination = self.destination, why, "lines of the audit log are lost");
        }
    }

    /// Ends the loss: logs the number of lost lines, now that lines are written again.
    fn end(&self) {
        let lost = self.since_written.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(
                destination = self.destination,
                lost,
                "lines of the audit log were lost; later lines are written"
            );
        }
    }
}

/// The handle of an `AuditLogger`, through which lines are sent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AuditSender {
    logger: Addr<AuditLogger>,
    losses: Arc<Losses>,
}

impl AuditSender {
    /// Starts the actor. `destination` becomes a label of its metrics.
    pub fn start(destination: &'static str, sink: Arc<dyn AuditSink>) -> Self {
        Self::start_with(destination, sink, RETRY_AFTER)
    }

    fn start_with(destination: &'static str, sink: Arc<dyn AuditSink>, retry_after: Duration) -> Self {
        let losses = Arc::new(Losses { destination, since_written: AtomicU64::new(0) });
        let logger = AuditLogger {
            destination,
            sink,
            retry_after,
            losses: Arc::clone(&losses),
            queue: LineQueue::default(),
            writing: false,
            is_failing: false,
            overdue: None,
            retry: None,
            stopping: None,
        };
        // Set before the first line is sent: a mailbox holds 16 messages by default.
        let logger = AuditLogger::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX_LINES);
            logger
        });
        Self { logger, losses }
    }

    /// Sends a line, which includes its line end, to the actor. Never waits: the line is lost if the mailbox is full.
    pub fn append(&self, line: Bytes, kind: LineKind) {
        if self.logger.try_send(Append { line, kind }).is_err() {
            self.losses.add(1, "too many lines come at once");
        }
    }

    pub async fn reopen(&self) -> Result<(), String> {
        self.logger.send(Reopen).await.map_err(|error| error.to_string())?
    }

    pub async fn stop(&self) {
        // A logger that has already stopped does not answer.
        let _ = self.logger.send(Stop).await;
    }
}

#[derive(Debug)]
pub struct AuditLogger {
    destination: &'static str,
    sink: Arc<dyn AuditSink>,
    retry_after: Duration,
    losses: Arc<Losses>,
    queue: LineQueue,
    /// True while a batch is being written or waits to be tried again.
    writing: bool,
    /// True if the last attempt failed.
    is_failing: bool,
    /// The timer of an attempt that is under way: it counts as failing while it takes too long.
    overdue: Option<SpawnHandle>,
    /// The timer of the next attempt, after a failed one.
    retry: Option<SpawnHandle>,
    /// The channel to notify when the queue is empty; set by `Stop`.
    stopping: Option<oneshot::Sender<()>>,
}

impl AuditLogger {
    fn write_next(&mut self, ctx: &mut Context<Self>) {
        if self.writing {
            return;
        }
        if self.queue.is_empty() {
            if let Some(stopped) = self.stopping.take() {
                // The sender of `Stop` may have given up waiting.
                let _ = stopped.send(());
                ctx.stop();
            }
            return;
        }
        self.writing = true;
        let (sink, batch) = (Arc::clone(&self.sink), self.queue.first(AUDIT_BATCH_LINES));
        let write = async move { sink.write(&batch).await };
        ctx.spawn(write.into_actor(self).map(|settled, this, ctx| this.settle(settled, ctx)));
        self.overdue = Some(ctx.run_interval(self.retry_after * OVERDUE_PAUSES, |this, _| {
            this.note_failure("it does not answer");
        }));
    }

    fn settle(&mut self, settled: Settled, ctx: &mut Context<Self>) {
        let Settled { written, refused, fault } = settled;
        if let Some(timer) = self.overdue.take() {
            ctx.cancel_future(timer);
        }
        self.queue.remove(written + refused);
        self.losses.add(refused, "the destination refuses them");
        if written > 0 {
            metrics::AUDIT_LINES.with_label_values(&[self.destination, "written"]).inc_by(written as u64);
            self.losses.end();
        }
        self.show();
        match fault {
            None => {
                if self.is_failing {
                    tracing::info!(destination = self.destination, "the audit log is written again");
                }
                self.is_failing = false;
                self.writing = false;
                self.write_next(ctx);
            }
            Some(why) => self.failed(&why, ctx),
        }
        self.check_invariants();
    }

    fn note_failure(&mut self, why: &str) {
        metrics::AUDIT_FAILURES.with_label_values(&[self.destination]).inc();
        if !self.is_failing {
            tracing::warn!(destination = self.destination, why, "the audit log is not written; its lines wait");
        }
        self.is_failing = true;
    }

    fn failed(&mut self, why: &str, ctx: &mut Context<Self>) {
        self.note_failure(why);
        if self.stopping.is_some() {
            self.losses.add(self.queue.len(), "the process stops and they cannot be written");
            self.queue.remove(self.queue.len());
            self.writing = false;
            self.write_next(ctx);
            return;
        }
        self.retry = Some(ctx.run_later(self.retry_after, |this, ctx| {
            this.retry = None;
            this.writing = false;
            this.write_next(ctx);
        }));
    }

    fn show(&self) {
        metrics::AUDIT_WAITING.with_label_values(&[self.destination]).set(self.queue.len() as i64);
    }

    fn check_invariants(&self) {
        self.queue.check_invariants();
    }
}

impl Actor for AuditLogger {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        // Each series begins at 0: Prometheus shows an increase only of a series that existed before.
        for result in ["written", "lost"] {
            metrics::AUDIT_LINES.with_label_values(&[self.destination, result]).inc_by(0);
        }
        metrics::AUDIT_FAILURES.with_label_values(&[self.destination]).inc_by(0);
        self.show();
    }
}

impl Handler<Append> for AuditLogger {
    type Result = ();

    fn handle(&mut self, Append { line, kind }: Append, ctx: &mut Self::Context) {
        if !self.queue.push(line, kind) {
            self.losses.add(1, "too many lines wait");
        }
        self.show();
        self.write_next(ctx);
        self.check_invariants();
    }
}

impl Handler<Reopen> for AuditLogger {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(&mut self, _: Reopen, _: &mut Self::Context) -> Self::Result {
        let sink = Arc::clone(&self.sink);
        Box::pin(async move { sink.reopen().await })
    }
}

impl Handler<Stop> for AuditLogger {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) -> Self::Result {
        let (sender, stopped) = oneshot::channel();
        self.stopping = Some(sender);
        // A scheduled retry is made now; an attempt under way ends first.
        if let Some(retry) = self.retry.take() {
            ctx.cancel_future(retry);
            self.writing = false;
        }
        self.write_next(ctx);
        Box::pin(async move {
            // The channel also closes when the actor is gone; then it holds no lines.
            let _ = stopped.await;
        })
    }
}
