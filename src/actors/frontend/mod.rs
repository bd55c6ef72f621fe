//! `S3Frontend` owns the admission permits.
//!
//! Receives `Admit` from request tasks, `Released` from dropped permits, and `Expired` from itself.
//! Sends nothing; it answers a request when it grants the permit. Invariants: the granted permits never exceed the
//! limits; no request waits that could run; once three quarters of the limits are used, no holder gets more than an
//! eighth. Refuses with `Busy` when the queue is full or a request has waited too long. A request whose caller is gone
//! leaves the queue. Bytes of bodies never pass through the actor. Small requests take their permits from a reserve
//! beside it, as long as that has room.

mod admission;
mod holder;
mod reserve;

pub use admission::{Admission, AdmissionLimits, Effect, Event, Refused, Ticket};
pub use holder::Holder;

use super::request::StoreError;
use crate::metrics::{ADMISSION_WAITING, PERMIT_BYTES};
use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, WeakAddr};
use reserve::Reserve;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

#[cfg(test)]
mod tests;

/// Asks for the permit of a request to hold `bytes` in memory.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Permit, StoreError>")]
pub struct Admit {
    pub bytes: u64,
    pub holder: Holder,
}

#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
struct Released {
    bytes: u64,
    holder: Holder,
}

#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Expired(Ticket);

/// The right to hold `bytes` in memory, returned when it is dropped. It travels with the buffers, so that it is
/// returned when they are freed.
#[derive(Debug)]
pub struct Permit {
    bytes: u64,
    of: Source,
}

/// The source of a permit, to which it is returned.
#[derive(Debug)]
enum Source {
    Unmetered,
    Frontend(Addr<S3Frontend>, Holder),
    Reserve(Arc<Reserve>),
}

impl Permit {
    /// A permit for no bytes, for callers whose memory is bounded by other means.
    pub fn unmetered() -> Self {
        Self { bytes: 0, of: Source::Unmetered }
    }

    fn from_reserve(bytes: u64, reserve: Arc<Reserve>) -> Self {
        Self { bytes, of: Source::Reserve(reserve) }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.of, Source::Unmetered) {
            Source::Unmetered => {}
            Source::Frontend(frontend, holder) => frontend.do_send(Released { bytes: self.bytes, holder }),
            Source::Reserve(reserve) => reserve.release(self.bytes),
        }
    }
}

/// The handle that admits requests: from the reserve if they are small and it has room, otherwise by `S3Frontend`.
#[derive(Clone, Debug)]
pub struct Admissions {
    frontend: Addr<S3Frontend>,
    reserve: Arc<Reserve>,
}

impl Admissions {
    /// Starts the actor in the current arbiter, with the memory that the reserve leaves it.
    pub fn start(limits: AdmissionLimits, wait_max: Duration) -> Self {
        let (reserve, bytes) = Reserve::of(limits.bytes);
        let frontend = S3Frontend::new(AdmissionLimits { bytes, ..limits }, wait_max).start();
        PERMIT_BYTES.with_label_values(&["limit"]).set(i64::try_from(limits.bytes).unwrap_or(i64::MAX));
        Self { frontend, reserve }
    }

    /// Returns the permit of a request to hold `bytes` in memory, once it is admitted.
    pub async fn admit(&self, bytes: u64, holder: &Holder) -> Result<Permit, StoreError> {
        match self.reserve.admit(bytes) {
            Some(permit) => Ok(permit),
            None => self.frontend.send(Admit { bytes, holder: holder.clone() }).await.map_err(|_| stopping())?,
        }
    }
}

fn stopping() -> StoreError {
    StoreError::Unavailable { why: "the server is shutting down".to_owned() }
}

type Answer = oneshot::Sender<Result<Permit, StoreError>>;

/// A pending answer to a request for a permit. If the caller goes away, the request leaves the queue.
#[derive(Debug)]
pub struct Asking {
    ticket: Ticket,
    answered: oneshot::Receiver<Result<Permit, StoreError>>,
    frontend: WeakAddr<S3Frontend>,
}

impl MessageResponse<S3Frontend, Admit> for Asking {
    fn handle(self, _: &mut Context<S3Frontend>, caller: Option<OneshotSender<<Admit as Message>::Result>>) {
        let Some(mut caller) = caller else { return };
        actix::spawn(async move {
            let Self { ticket, answered, frontend } = self;
            tokio::select! {
                biased;
                answer = answered => {
                    let stopped = |_| Err(stopping());
                    // If the caller is gone, the permit is dropped here and thereby released.
                    let _ = caller.send(answer.unwrap_or_else(stopped));
                }
                () = caller.closed() => {
                    if let Some(frontend) = frontend.upgrade() {
                        frontend.do_send(Expired(ticket));
                    }
                }
            }
        });
    }
}

pub struct S3Frontend {
    admission: Admission,
    wait_max: Duration,
    next_ticket: u64,
    answers: HashMap<Ticket, Answer>,
}

impl S3Frontend {
    pub fn new(limits: AdmissionLimits, wait_max: Duration) -> Self {
        let admission = Admission::new(limits);
        Self { admission, wait_max, next_ticket: 0, answers: HashMap::new() }
    }

    fn apply(&mut self, event: Event, ctx: &mut Context<Self>) {
        let before = self.admission.used_bytes();
        for effect in self.admission.apply(event) {
            match effect {
                Effect::Grant { ticket, bytes, holder } => {
                    let permit = Permit { bytes, of: Source::Frontend(ctx.address(), holder) };
                    self.answer(ticket, Ok(permit));
                }
                Effect::Refuse { ticket, why } => self.answer(ticket, Err(StoreError::Busy { why: why.to_string() })),
            }
        }
        // The reserve counts on the same gauge.
        let added = self.admission.used_bytes() as i64 - before as i64;
        PERMIT_BYTES.with_label_values(&["in use"]).add(added);
        ADMISSION_WAITING
            .with_label_values::<&str>(&[])
            .set(i64::try_from(self.admission.waiting()).unwrap_or(i64::MAX));
        self.check_invariants();
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Permit, StoreError>) {
        if let Some(answer) = self.answers.remove(&ticket) {
            // If the caller is gone, the permit is dropped here and thereby released.
            let _ = answer.send(result);
        }
    }

    fn check_invariants(&self) {
        debug_assert_eq!(self.answers.len(), self.admission.waiting());
    }
}

impl Actor for S3Frontend {
    type Context = Context<Self>;
}

impl Handler<Admit> for S3Frontend {
    type Result = Asking;

    fn handle(&mut self, message: Admit, ctx: &mut Self::Context) -> Self::Result {
        let Admit { bytes, holder } = message;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let (answer, answered) = oneshot::channel();
        self.answers.insert(ticket, answer);
        self.apply(Event::Asked { ticket, bytes, holder }, ctx);
        if self.answers.contains_key(&ticket) {
            ctx.notify_later(Expired(ticket), self.wait_max);
        }
        Asking { ticket, answered, frontend: ctx.address().downgrade() }
    }
}

impl Handler<Released> for S3Frontend {
    type Result = ();

    fn handle(&mut self, message: Released, ctx: &mut Self::Context) {
        self.apply(Event::Released { bytes: message.bytes, holder: message.holder }, ctx);
    }
}

impl Handler<Expired> for S3Frontend {
    type Result = ();

    fn handle(&mut self, message: Expired, ctx: &mut Self::Context) {
        self.apply(Event::Expired { ticket: message.0 }, ctx);
    }
}
