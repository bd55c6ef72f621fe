//! `Background`: the actor that runs one chore, step by step. It owns the chore and the timer of its next step.
//!
//! Receives `Wake` (do the next step now) and `Stop` (finish the step under way, then stop). Sends nothing. At most one step
//! is under way, and no step begins after `Stop`. It refuses nothing.

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, SpawnHandle,
    WrapFuture,
};
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;
use tokio::sync::oneshot;

/// Work made of bounded steps.
pub trait Chore: Unpin + 'static {
    /// Does a step; how long to pause before the next.
    fn step(&mut self) -> impl Future<Output = Duration>;
}

/// The last failure of a chore: the same failure in a row is logged once.
#[derive(Debug, Default)]
pub struct LastFailure(Option<String>);

impl LastFailure {
    /// Returns whether it is another failure than the last one.
    pub fn is_news(&mut self, error: &impl Display) -> bool {
        let text = error.to_string();
        self.0.replace(text.clone()).is_none_or(|last| last != text)
    }

    pub fn is_over(&mut self) {
        self.0 = None;
    }
}

/// Something may have come up: do the next step without waiting for its time.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Wake;

/// Answered when no step is under way and none will begin.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

#[derive(Debug)]
pub struct Background<C> {
    /// Away while its step is under way.
    chore: Option<C>,
    next: Option<SpawnHandle>,
    woken: bool,
    stopping: Vec<oneshot::Sender<()>>,
}

impl<C: Chore> Background<C> {
    pub fn new(chore: C) -> Self {
        Self { chore: Some(chore), next: None, woken: false, stopping: Vec::new() }
    }

    fn begin_step(&mut self, ctx: &mut Context<Self>) {
        let Some(mut chore) = self.chore.take() else {
            self.woken = true;
            return;
        };
        if let Some(timer) = self.next.take() {
            ctx.cancel_future(timer);
        }
        let step = async move {
            let pause = chore.step().await;
            (chore, pause)
        };
        ctx.spawn(step.into_actor(self).map(|(chore, pause), this, ctx| this.end_step(chore, pause, ctx)));
        self.check_invariants();
    }

    fn end_step(&mut self, chore: C, pause: Duration, ctx: &mut Context<Self>) {
        self.chore = Some(chore);
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
            // Who asked may have given up waiting.
            let _ = waiter.send(());
        }
        ctx.stop();
    }

    fn check_invariants(&self) {
        debug_assert!(self.chore.is_some() || self.next.is_none(), "a step under way has no timer");
    }
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
            // An actor that is gone has no step under way either.
            let _ = stopped.await;
        })
    }
}
