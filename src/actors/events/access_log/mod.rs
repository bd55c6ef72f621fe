//! `AccessLogger`: collects the access log lines of buckets with logging, and writes them as objects into the target
//! buckets. Owns the lines that are not written yet.
//!
//! Receives `LogRequest` (add a line), `Flush` (write all lines) and `Stop` (the same, then stop). Sends no messages;
//! it passes objects to the `ReportStore`, one at a time. Its memory is bounded, and so is that of the lines on their
//! way to it (`LineSender`): lines beyond the bounds are dropped and counted. An object that cannot be written is
//! dropped after `ATTEMPTS_MAX` attempts. Access logs are best effort, as S3's own are: lines in memory are lost when
//! the process is killed.

mod collector;
mod line;
mod sender;
#[cfg(test)]
mod tests;

pub use collector::{
    Gathered, LogCollector, LogDestination, LogGrant, LogGrantee, LogKeyFormat, LogLimits, LogPermission, LoggingRules,
};
pub use line::{AccessLine, operation_word};
pub use sender::LineSender;

use super::{Report, ReportStore};
use crate::ambient::Ambient;
use crate::metrics;
use crate::types::UnixMs;
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture,
};
use sender::LineRoom;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The capacity of the actor's mailbox, in lines. A sender drops its line when the mailbox is full (`try_send`).
const MAILBOX_LINES: usize = 4096;
/// The number of attempts to write an object before it is dropped.
const ATTEMPTS_MAX: u32 = 5;
/// The longest interval between checks for batches that are due.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(5);

/// Add the line of a request that was answered.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LogRequest {
    destination: Arc<LogDestination>,
    /// The arrival time of the request.
    at: UnixMs,
    line: String,
    /// The room that the message takes until it is handled.
    room: LineRoom,
}

/// Write all collected lines. Answered when they are written or dropped.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Flush;

/// Write all collected lines like `Flush`, then stop the actor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

#[derive(Debug)]
pub struct AccessLogger {
    collector: LogCollector,
    store: Arc<dyn ReportStore>,
    ambient: Ambient,
    retry_after: Duration,
    /// The objects to write, each with the number of attempts so far.
    pending: VecDeque<(Report, u32)>,
    /// True while an object is being written.
    writing: bool,
    /// The number of objects that failed and come back to `pending` later. They hold up no others.
    put_off: usize,
    /// The channels to notify when nothing is pending or put off.
    waiting: Vec<oneshot::Sender<()>>,
    stopping: bool,
}

impl AccessLogger {
    pub fn new(store: Arc<dyn ReportStore>, ambient: Ambient, limits: LogLimits) -> Self {
        Self {
            collector: LogCollector::new(limits),
            store,
            ambient,
            retry_after: Duration::from_secs(2),
            pending: VecDeque::new(),
            writing: false,
            put_off: 0,
            waiting: Vec::new(),
            stopping: false,
        }
    }

    /// Starts the actor with its mailbox as large as it is to be: messages may come before `started` runs.
    pub fn start(self) -> Addr<Self> {
        Self::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX_LINES);
            self
        })
    }

    /// Turns the batches that are due (all, if `all` is set) into objects, and starts to write them.
    fn look(&mut self, all: bool, ctx: &mut Context<Self>) {
        let clock = &self.ambient.clock;
        let (now, at) = (clock.monotonic(), clock.unix_ms());
        let entropy = &self.ambient;
        let due = self.collector.take_due(now, at, all, || format!("{:016X}", entropy.random_u128() as u64));
        self.pending.extend(due.into_iter().map(|report| (report, 0)));
        self.write_next(ctx);
    }

    fn write_next(&mut self, ctx: &mut Context<Self>) {
        if self.writing {
            return;
        }
        let Some((report, attempts)) = self.pending.pop_front() else {
            if self.put_off > 0 {
                return;
            }
            for waiter in self.waiting.drain(..) {
                // The sender of the message may have given up waiting.
                let _ = waiter.send(());
            }
            if self.stopping {
                ctx.stop();
            }
            return;
        };
        self.writing = true;
        let store = Arc::clone(&self.store);
        let write = async move {
            let written = store.put(&report).await;
            (report, attempts + 1, written.map_err(|error| error.why))
        };
        ctx.spawn(write.into_actor(self).map(|(report, attempts, written), this, ctx| match written {
            Ok(()) => this.settle(report, "written", ctx),
            Err(why) if attempts >= ATTEMPTS_MAX => {
                tracing::warn!(
                    bucket = %report.bucket, key = %report.key, %why,
                    "an access log object is dropped after its last attempt"
                );
                this.settle(report, "dropped", ctx);
            }
            Err(why) => {
                tracing::debug!(
                    bucket = %report.bucket, key = %report.key, %why,
                    "cannot write an access log object; trying again"
                );
                this.put_off += 1;
                ctx.run_later(this.retry_after, move |this, ctx| {
                    this.put_off -= 1;
                    this.pending.push_back((report, attempts));
                    this.write_next(ctx);
                });
                this.writing = false;
                this.write_next(ctx);
            }
        }));
    }

    fn settle(&mut self, report: Report, result: &str, ctx: &mut Context<Self>) {
        metrics::ACCESS_LOGS.with_label_values(&[result]).inc();
        self.collector.release(&report);
        self.writing = false;
        self.write_next(ctx);
        self.check_invariants();
    }

    fn written(&mut self, ctx: &mut Context<Self>) -> ResponseFuture<()> {
        let (sender, written) = oneshot::channel();
        self.waiting.push(sender);
        self.look(true, ctx);
        Box::pin(async move {
            // The channel also closes when the actor is gone; then it holds no lines.
            let _ = written.await;
        })
    }

    fn check_invariants(&self) {
        let pending: usize = self.pending.iter().map(|(report, _)| report.body.len()).sum();
        debug_assert!(pending <= self.collector.held_bytes(), "pending objects count as held");
    }
}

impl Actor for AccessLogger {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Each series begins at 0: Prometheus shows an increase only of a series that existed before.
        for (counter, good) in [(&metrics::ACCESS_LOG_LINES, "kept"), (&metrics::ACCESS_LOGS, "written")] {
            counter.with_label_values(&[good]).inc_by(0);
            counter.with_label_values(&["dropped"]).inc_by(0);
        }
        let every = (self.collector.limits().age_max / 4).clamp(Duration::from_millis(100), LOOK_EVERY_MAX);
        ctx.run_interval(every, |this, ctx| this.look(false, ctx));
    }
}

impl Handler<LogRequest> for AccessLogger {
    type Result = ();

    fn handle(&mut self, request: LogRequest, ctx: &mut Self::Context) {
        let LogRequest { destination, at, line, room: _room } = request;
        let gathered = self.collector.gather(destination, at, &line, self.ambient.clock.monotonic());
        let result = if gathered == Gathered::Dropped { "dropped" } else { "kept" };
        metrics::ACCESS_LOG_LINES.with_label_values(&[result]).inc();
        if gathered == Gathered::Full {
            self.look(false, ctx);
        }
        self.check_invariants();
    }
}

impl Handler<Flush> for AccessLogger {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Flush, ctx: &mut Self::Context) -> Self::Result {
        self.written(ctx)
    }
}

impl Handler<Stop> for AccessLogger {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        self.written(ctx)
    }
}
