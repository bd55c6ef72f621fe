//! Fair sharing of the worker threads' processor time between holders (an account, or the address of a request without
//! one). A worker polls its requests one after the other and does not interrupt a poll, so requests that compute for
//! long would make all others wait.
//!
//! - If the requests of a holder lately held a worker for long, they run in the slow lanes: threads that the operating
//!   system preempts for the workers. A request that becomes slow on a worker continues in a lane.
//! - Requests of holders that lately used much time, in polls of any length, take turns. On each thread one of them is
//!   polled at a time, that of the holder that has used the least; all other ready tasks are polled before the next
//!   one.
//! - A request of a holder that has used little lately is polled at once.
//!
//! A request's first poll may be the longest, so before its signature is verified it is scheduled as a request of the
//! account whose key it names, if some request with that key was verified before. Processor time is charged to the
//! account of a verified signature, else to the request's address; so nobody uses up another account's time by naming
//! its key.

use super::bodies::Seat;
use super::shares::locked;
use super::slow_lanes::SlowLanes;
use crate::actors::frontend::Holder;
use crate::ambient::Clock;
use crate::limits::{
    TURN_FREE, TURN_HALF_LIFE, TURN_HOLDERS_MAX, TURN_KEYS_MAX, TURN_READING_AGE, TURN_SLOW_FREE, TURN_SLOW_HALF_LIFE,
};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;
use std::time::Duration;
use tokio::task::yield_now;
use tokio_util::task::AbortOnDropHandle;

/// Number of requests between clean-ups, which remove holders that used little time and have no request under way.
const FORGET_EVERY: u64 = 256;

/// The connection's side of a request. It stays on the worker, also while the request runs in a slow lane.
pub trait Connection {
    /// Hands bytes of the body over to a request in a slow lane, if it has asked for some and they have arrived.
    /// Returns whether bytes were handed over.
    fn hand_over(&mut self, cx: &mut Context<'_>) -> bool;
}

impl<C: Connection> Connection for Option<C> {
    fn hand_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.as_mut().is_some_and(|connection| connection.hand_over(cx))
    }
}

/// The scheduler of requests on all workers of a host, and its slow lanes.
#[derive(Debug)]
pub struct Turns {
    clock: Arc<dyn Clock>,
    lanes: SlowLanes,
    requests: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Holders with requests under way, and those that used much lately.
    usage: HashMap<Holder, Usage>,
    /// The worker threads and the slow lanes.
    workers: HashMap<ThreadId, Worker>,
    /// The accounts of access keys with which a request was verified.
    accounts: HashMap<Arc<str>, Holder>,
    /// The number of holders with requests under way.
    active: usize,
}

/// A sum of processor time that decays exponentially.
#[derive(Debug, Default)]
struct Faded {
    spent: Duration,
    at: Duration,
}

impl Faded {
    fn lately(&self, now: Duration, half_life: Duration) -> Duration {
        let half_lives = now.saturating_sub(self.at).as_secs_f64() / half_life.as_secs_f64();
        self.spent.mul_f64((-half_lives).exp2())
    }

    fn add(&mut self, spent: Duration, now: Duration, half_life: Duration) {
        (self.spent, self.at) = (self.lately(now, half_life) + spent, now);
    }
}

/// The processor time of one holder, on all threads.
#[derive(Debug, Default)]
struct Usage {
    under_way: usize,
    all: Faded,
    /// The part of `all` that was charged as slow, by [`Seat::worked`].
    slow: Faded,
}

impl Usage {
    fn lately(&self, now: Duration) -> Duration {
        self.all.lately(now, TURN_HALF_LIFE)
    }

    fn is_much(&self, now: Duration) -> bool {
        self.all.spent > TURN_FREE && self.lately(now) > TURN_FREE
    }

    fn is_slow(&self, now: Duration) -> bool {
        self.slow.spent > TURN_SLOW_FREE && self.slow.lately(now, TURN_SLOW_HALF_LIFE) > TURN_SLOW_FREE
    }

    fn is_forgettable(&self, now: Duration) -> bool {
        self.under_way == 0 && !self.is_much(now) && !self.is_slow(now)
    }
}

#[derive(Debug, Default)]
struct Worker {
    read: Reading,
    waiting: HashMap<Holder, VecDeque<(u64, Waker)>>,
    /// The number of the request whose turn it is: it is being polled, or was woken to be polled. `Some` while any
    /// request waits.
    turn: Option<u64>,
}

/// The processor time of a thread as read at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at: Duration,
    processor: Duration,
}

/// The begin of a poll, and the last reading of its thread's processor time before.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    at: Duration,
    read: Reading,
}

impl Begun {
    /// Returns the processor time of a poll that ends now. The result is too large by at most `TURN_READING_AGE`:
    /// reading the thread's processor time at the begin and end of every poll would cost more than the rest of the
    /// scheduling.
    fn spent(&self, now: Duration, clock: &dyn Clock) -> Duration {
        let passed = now.saturating_sub(self.at);
        if passed < TURN_READING_AGE {
            return passed;
        }
        passed.min(clock.processor().saturating_sub(self.read.processor))
    }
}

/// The decision whether a request may be polled now.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Now,
    /// The request is woken when its turn comes.
    Later,
    /// The request continues in a slow lane.
    Elsewhere,
}

impl Turns {
    pub fn new(clock: Arc<dyn Clock>, lanes: SlowLanes) -> Arc<Self> {
        Arc::new(Self { clock, lanes, requests: AtomicU64::new(0), state: Mutex::default() })
    }

    /// Runs a request to its end, on this worker or in a slow lane. `named` is the access key that the request names.
    /// Returns `None` if the lanes have stopped, or the request panicked in one.
    pub async fn share<F>(
        self: &Arc<Self>,
        seat: &Arc<Seat>,
        named: Option<&str>,
        mut connection: impl Connection,
        request: Pin<Box<F>>,
    ) -> Option<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut ticket = self.ticket(true);
        let mut here = Some(request);
        let mut elsewhere: Option<AbortOnDropHandle<F::Output>> = None;
        poll_fn(|cx| {
            if let Some(request) = &mut here {
                match ticket.enter(seat, named, cx.waker()) {
                    Entry::Now => {
                        let polled = request.as_mut().poll(cx);
                        ticket.leave(seat, polled.is_ready());
                        return polled.map(Some);
                    }
                    Entry::Later => return Poll::Pending,
                    Entry::Elsewhere => {
                        elsewhere = here.take().map(|request| self.in_lane(seat, named.map(Arc::from), request));
                    }
                }
            }
            let Some(done) = &mut elsewhere else { return Poll::Ready(None) };
            if let Poll::Ready(output) = Pin::new(done).poll(cx) {
                return Poll::Ready(output.ok());
            }
            while connection.hand_over(cx) {}
            Poll::Pending
        })
        .await
    }

    /// Continues a request, or the body of its response, in a slow lane. Dropping the handle cancels it.
    pub fn in_lane<F>(
        self: &Arc<Self>,
        seat: &Arc<Seat>,
        named: Option<Arc<str>>,
        mut work: Pin<Box<F>>,
    ) -> AbortOnDropHandle<F::Output>
    where
        F: Future<Output: Send> + Send + ?Sized + 'static,
    {
        let (turns, seat) = (Arc::clone(self), Arc::clone(seat));
        self.lanes.run(async move { turns.in_turn(&seat, named.as_deref(), work.as_mut()).await })
    }

    /// Runs a future to its end on this thread; polls it only when its holder may be polled.
    async fn in_turn<F>(&self, seat: &Seat, named: Option<&str>, mut work: Pin<&mut F>) -> F::Output
    where
        F: Future + ?Sized,
    {
        let mut ticket = self.ticket(false);
        poll_fn(|cx| {
            if ticket.enter(seat, named, cx.waker()) == Entry::Later {
                return Poll::Pending;
            }
            let polled = work.as_mut().poll(cx);
            ticket.leave(seat, polled.is_ready());
            polled
        })
        .await
    }

    /// Polls a part of a request at once, without a turn, and charges the processor time to its holder.
    pub fn charged<T>(&self, seat: &Seat, poll: impl FnOnce() -> T) -> T {
        let worker = std::thread::current().id();
        let begun = locked(&self.state).begin(worker, self.clock.monotonic(), &*self.clock);
        let polled = poll();
        let now = self.clock.monotonic();
        let spent = begun.spent(now, &*self.clock);
        let holder = seat.account().map(|(_, account)| account).or_else(|| seat.address());
        if let Some(holder) = holder {
            locked(&self.state).charge(holder, spent, seat.worked(spent), now);
        }
        polled
    }

    /// Returns whether the request's holder (its account, else its address) is slow, so that its requests run in the
    /// slow lanes.
    pub fn is_slow(&self, seat: &Seat) -> bool {
        let holder = seat.account().map(|(_, account)| account).or_else(|| seat.address());
        let now = self.clock.monotonic();
        holder.is_some_and(|holder| locked(&self.state).is_slow(&holder, now))
    }

    fn ticket(&self, is_on_worker: bool) -> Ticket<'_> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let (worker, begun) = (std::thread::current().id(), Begun::default());
        Ticket { turns: self, number, worker, is_on_worker, is_over: false, holder: None, waits_as: None, begun }
    }
}

/// A request's registration with the scheduler, from its first poll to its last.
#[derive(Debug)]
struct Ticket<'a> {
    turns: &'a Turns,
    number: u64,
    /// The thread that polls the request.
    worker: ThreadId,
    /// True on a worker, false in a slow lane.
    is_on_worker: bool,
    /// True once the last poll has ended and the ticket was given back.
    is_over: bool,
    /// The holder that the request counts for.
    holder: Option<Holder>,
    /// The holder in whose queue the request waits, if it does.
    waits_as: Option<Holder>,
    begun: Begun,
}

impl Ticket<'_> {
    fn enter(&mut self, seat: &Seat, named: Option<&str>, waker: &Waker) -> Entry {
        let now = self.turns.clock.monotonic();
        let (address, account) = (seat.address(), seat.account().map(|(_, account)| account));
        let mut state = locked(&self.turns.state);
        let is_verified = account.is_some();
        let known = || named.and_then(|key| state.accounts.get(key).cloned());
        let holder = account.or_else(known).or_else(|| address.clone());
        if holder != self.holder {
            seat.polled_as(holder.clone());
            state.hold(&mut self.holder, holder);
        }
        if self.is_on_worker && self.holder.as_ref().is_some_and(|holder| state.is_slow(holder, now)) {
            state.forget(self.worker, self.number, self.waits_as.take());
            state.end_turn(self.worker, self.number, now);
            return Entry::Elsewhere;
        }
        let address = address.filter(|_| !is_verified);
        let used_much = self.holder.iter().chain(&address).any(|holder| state.used_much(holder, now));
        let entry = match &self.holder {
            Some(holder) if used_much => state.take_turn(self.worker, self.number, holder, waker),
            _ => Entry::Now,
        };
        if entry == Entry::Later {
            self.waits_as.clone_from(&self.holder);
        } else {
            state.forget(self.worker, self.number, self.waits_as.take());
        }
        self.begun = state.begin(self.worker, now, &*self.turns.clock);
        entry
    }

    /// Ends a poll and charges its processor time: to the account, if its signature was verified by now, else to the
    /// address. The last poll gives the ticket back.
    fn leave(&mut self, seat: &Seat, is_over: bool) {
        let now = self.turns.clock.monotonic();
        let spent = self.begun.spent(now, &*self.turns.clock);
        let slow = seat.worked(spent);
        let mut state = locked(&self.turns.state);
        match (seat.account(), seat.address()) {
            (Some((key, account)), address) => {
                if let Some(address) = address.filter(|address| self.holder.as_ref() == Some(address)) {
                    state.charge(address, spent, Duration::ZERO, now);
                }
                state.charge(account.clone(), spent, slow, now);
                state.learn(key, &account);
                state.hold(&mut self.holder, Some(account));
            }
            (None, Some(address)) => state.charge(address, spent, slow, now),
            (None, None) => {}
        }
        if is_over {
            self.give_back(&mut state, now);
        } else {
            state.end_turn(self.worker, self.number, now);
        }
    }

    fn give_back(&mut self, state: &mut State, now: Duration) {
        self.is_over = true;
        state.forget(self.worker, self.number, self.waits_as.take());
        state.end_turn(self.worker, self.number, now);
        state.hold(&mut self.holder, None);
        if self.number.is_multiple_of(FORGET_EVERY) {
            state.forget_holders(now);
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let now = self.turns.clock.monotonic();
            self.give_back(&mut locked(&self.turns.state), now);
        }
    }
}

impl State {
    /// Begins a poll on this thread, and reads the thread's processor time if the last reading is too old.
    fn begin(&mut self, worker: ThreadId, now: Duration, clock: &dyn Clock) -> Begun {
        let read = &mut self.workers.entry(worker).or_default().read;
        if now.saturating_sub(read.at) >= TURN_READING_AGE {
            *read = Reading { at: now, processor: clock.processor() };
        }
        Begun { at: now, read: *read }
    }

    fn charge(&mut self, holder: Holder, spent: Duration, slow: Duration, now: Duration) {
        let usage = self.usage.entry(holder).or_default();
        usage.all.add(spent, now, TURN_HALF_LIFE);
        if !slow.is_zero() {
            usage.slow.add(slow, now, TURN_SLOW_HALF_LIFE);
        }
    }

    /// Removes holders that used little time and have no request under way; if more than `TURN_HOLDERS_MAX` remain, all
    /// holders without a request under way.
    fn forget_holders(&mut self, now: Duration) {
        self.usage.retain(|_, usage| !usage.is_forgettable(now));
        if self.usage.len() > TURN_HOLDERS_MAX {
            self.usage.retain(|_, usage| usage.under_way > 0);
        }
    }

    fn used_much(&self, holder: &Holder, now: Duration) -> bool {
        self.usage.get(holder).is_some_and(|usage| usage.is_much(now))
    }

    fn is_slow(&self, holder: &Holder, now: Duration) -> bool {
        self.usage.get(holder).is_some_and(|usage| usage.is_slow(now))
    }

    /// Remembers the account of a verified access key. At `TURN_KEYS_MAX` keys all are forgotten first.
    fn learn(&mut self, key: Arc<str>, account: &Holder) {
        if self.accounts.get(&key) == Some(account) {
            return;
        }
        if self.accounts.len() >= TURN_KEYS_MAX {
            self.accounts.clear();
        }
        self.accounts.insert(key, account.clone());
    }

    /// Counts a request under way for `holder` instead of for `held`, and sets `held`.
    fn hold(&mut self, held: &mut Option<Holder>, holder: Option<Holder>) {
        if *held == holder {
            return;
        }
        if let Some(usage) = held.take().and_then(|before| self.usage.get_mut(&before)) {
            usage.under_way -= 1;
            self.active -= usize::from(usage.under_way == 0);
        }
        if let Some(holder) = holder {
            let usage = self.usage.entry(holder.clone()).or_default();
            self.active += usize::from(usage.under_way == 0);
            usage.under_way += 1;
            *held = Some(holder);
        }
    }

    fn take_turn(&mut self, worker: ThreadId, number: u64, holder: &Holder, waker: &Waker) -> Entry {
        // The request's own holder is the only active one.
        if self.active <= 1 {
            return Entry::Now;
        }
        let worker = self.workers.entry(worker).or_default();
        match worker.turn {
            Some(turn) if turn == number => return Entry::Now,
            Some(_) => worker.wait(number, holder, waker),
            None => {
                worker.turn = Some(number);
                wake_after_others(waker);
            }
        }
        Entry::Later
    }

    /// Removes a request from the queue in which it waits.
    fn forget(&mut self, worker: ThreadId, number: u64, waits_as: Option<Holder>) {
        if let (Some(worker), Some(holder)) = (self.workers.get_mut(&worker), waits_as) {
            worker.forget(number, &holder);
        }
    }

    /// Ends the turn of a request that was polled or dropped, and gives the turn to a request of the waiting holder
    /// that used the least time lately.
    fn end_turn(&mut self, worker: ThreadId, number: u64, now: Duration) {
        let Some(worker) = self.workers.get_mut(&worker) else { return };
        if worker.turn != Some(number) {
            return;
        }
        let least = worker.waiting.keys().min_by_key(|holder| self.usage.get(holder).map(|usage| usage.lately(now)));
        let next = least.cloned().and_then(|holder| worker.next_of(&holder));
        worker.turn = next.as_ref().map(|(number, _)| *number);
        if let Some((_, waker)) = next {
            wake_after_others(&waker);
        }
    }
}

/// Wakes a request after all ready tasks were polled and the runtime has looked for new events: tokio treats a task
/// that yields in this way.
pub fn wake_after_others(waker: &Waker) {
    let yielded = pin!(yield_now()).as_mut().poll(&mut Context::from_waker(waker));
    debug_assert!(yielded.is_pending(), "yield_now is pending at its first poll");
}

impl Worker {
    fn wait(&mut self, number: u64, holder: &Holder, waker: &Waker) {
        let waiting = self.waiting.entry(holder.clone()).or_default();
        match waiting.iter_mut().find(|(waits, _)| *waits == number) {
            Some((_, before)) => before.clone_from(waker),
            None => waiting.push_back((number, waker.clone())),
        }
    }

    fn next_of(&mut self, holder: &Holder) -> Option<(u64, Waker)> {
        let waiting = self.waiting.get_mut(holder)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(holder);
        }
        next
    }

    fn forget(&mut self, number: u64, holder: &Holder) {
        let Some(waiting) = self.waiting.get_mut(holder) else { return };
        waiting.retain(|(waits, _)| *waits != number);
        if waiting.is_empty() {
            self.waiting.remove(holder);
        }
    }
}

#[cfg(test)]
mod lane_tests;
#[cfg(test)]
mod tests;
