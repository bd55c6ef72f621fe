//! `Background`: the actor that runs one chore, step by step. It owns the chore and the timer of its next step.
//!
//! Receives `Wake` (do the next step now) and `Stop` (finish the step under way, then stop). Sends nothing. Invariants:
//! at most one step is under way, and no step begins after `Stop`. Refuses nothing.

use crate::limits::{DOCUMENTS_PAGE_BYTES, ROWS_LOOKED_AT};
use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, SpawnHandle,
    WrapFuture,
};
use std::any::type_name;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;
use tokio::sync::oneshot;

/// The time after which a step under way is reported.
const STEP_LATE_AFTER: Duration = Duration::from_secs(300);

/// Work made of bounded steps.
pub trait Chore: Unpin + 'static {
    /// Does one step and returns the pause before the next.
    fn step(&mut self) -> impl Future<Output = Duration>;
}

/// The amount that a step has looked at and had nothing to do for. A step goes on past such things without a pause,
/// because a tenant with very many of them would hold up the work for all others. It ends when that is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookedAt {
    /// The number of buckets, configurations, versions or the like.
    pub rows: usize,
    /// The bytes of the documents among them.
    pub bytes: usize,
}

impl LookedAt {
    pub const ONE: Self = Self { rows: 1, bytes: 0 };

    pub fn add(&mut self, more: Self) {
        self.rows += more.rows;
        self.bytes += more.bytes;
    }

    pub fn is_enough(self) -> bool {
        self.rows >= ROWS_LOOKED_AT || self.bytes >= DOCUMENTS_PAGE_BYTES
    }
}

/// The last failure of a chore, so that a failure that repeats is logged only once.
#[derive(Debug, Default)]
pub struct LastFailure(Option<String>);

impl LastFailure {
    /// Records a failure, and returns whether it differs from the last one.
    pub fn is_news(&mut self, error: &impl Display) -> bool {
        let text = error.to_string();
        self.0.replace(text.clone()).is_none_or(|last| last != text)
    }

    /// Records a success: the same failure counts as new after it.
    pub fn is_over(&mut self) {
        self.0 = None;
    }
}

/// Do the next step now instead of at the end of the pause.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Wake;

/// Stop the chore. Answered when no step is under way and none will begin.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

#[derive(Debug)]
pub struct Background<C> {
    /// `None` while a step is under way, which has the chore.
    chore: Option<C>,
    /// The timer of the next step.
    next: Option<SpawnHandle>,
    /// The timer of the report that the step under way takes long.
    late: Option<SpawnHandle>,
    /// True if `Wake` arrived during a step; the next step then begins at once.
    woken: bool,
    stopping: Vec<oneshot::Sender<()>>,
}

impl<C: Chore> Background<C> {
    pub fn new(chore: C) -> Self {
        Self { chore: Some(chore), next: None, late: None, woken: false, stopping: Vec::new() }
    }

    fn begin_step(&mut self, ctx: &mut Context<Self>) {
        let Some(mut chore) = self.chore.take() else {
            self.woken = true;
            return;
        };
        if let Some(timer) = self.next.take() {
            ctx.cancel_future(timer);
        }
        self.late = Some(ctx.run_later(STEP_LATE_AFTER, |_, _| report_late(type_name::<C>())));
        let step = async move {
            let pause = chore.step().await;
            (chore, pause)
        };
        ctx.spawn(step.into_actor(self).map(|(chore, pause), this, ctx| this.end_step(chore, pause, ctx)));
        self.check_invariants();
    }

    fn end_step(&mut self, chore: C, pause: Duration, ctx: &mut Context<Self>) {
        self.chore = Some(chore);
        if let Some(timer) = self.late.take() {
            ctx.cancel_future(timer);
        }
        if !self.stopping.is_empty() {
            self.stop_now(ctx);
            return;
        }
        let pause = if std::mem::take(&mut self.woken) { Duration::ZERO } else { pause };
        self.next = Some(ctx.run_later(pause, |this, ctx| {
            this.next = None;
            this.begin_step(ctx);
        }));
        self.check_invariants();
    }

    fn stop_now(&mut self, ctx: &mut Context<Self>) {
        for waiter in self.stopping.drain(..) {
            // The sender of `Stop` may have given up.
            let _ = waiter.send(());
        }
        ctx.stop();
    }

    fn check_invariants(&self) {
        debug_assert!(self.chore.is_some() || self.next.is_none(), "a step under way has no timer");
    }
}

fn report_late(chore: &str) {
    tracing::warn!(
        chore,
        "a step of a background job has not ended for {} seconds; the job does nothing else until it does",
        STEP_LATE_AFTER.as_secs()
    );
}

impl<C: Chore> Actor for Background<C> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin_step(ctx);
    }
}

impl<C: Chore> Handler<Wake> for Background<C> {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        if self.stopping.is_empty() {
            self.begin_step(ctx);
        }
    }
}

impl<C: Chore> Handler<Stop> for Background<C> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) -> Self::Result {
        let (sender, stopped) = oneshot::channel();
        self.stopping.push(sender);
        if self.chore.is_some() {
            self.stop_now(ctx);
        }
        Box::pin(async move {
            // An actor that has stopped has no step under way either.
            let _ = stopped.await;
        })
    }
}
