//! The processor time of the worker threads, shared by accounts. A worker polls its requests one after the other, and does not
//! interrupt a poll, so an account with requests that are long to compute would make all others wait for them.
//!
//! - A holder (an account, or an address) whose requests held a worker long lately has them carried out in the slow lanes, threads
//!   that the operating system interrupts for the workers. A request that becomes long goes on there.
//! - Of holders that have used much, in however short polls, requests take turns: on each thread one of them is polled at a
//!   time, that of the holder that has used the least, and everything else that is ready is polled before the next.
//! - A request of a holder that has used little lately is polled at once.
//!
//! Until its signature is verified, a request counts as that of the account whose key it names, if that key was verified
//! before: its first poll may be the longest. Processor time is charged to the account whose signature was verified, and to the
//! address of a request that was not; so nobody uses up another account's time by naming its key.

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

/// Requests after which holders that used little and have none under way are forgotten.
const FORGET_EVERY: u64 = 256;

/// The connection's side of a request, which stays on the worker wherever the request is carried out.
pub trait Connection {
    /// Hands over the bytes that the request, which is carried out elsewhere, has asked for, if they have come; returns
    /// whether it did.
    fn hand_over(&mut self, cx: &mut Context<'_>) -> bool;
}

impl<C: Connection> Connection for Option<C> {
    fn hand_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.as_mut().is_some_and(|connection| connection.hand_over(cx))
    }
}

/// The turns of all workers of a host, and its slow lanes.
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
    /// Workers and slow lanes.
    workers: HashMap<ThreadId, Worker>,
    /// Accounts by access keys that were verified.
    accounts: HashMap<Arc<str>, Holder>,
    /// Holders with requests under way.
    active: usize,
}

/// An amount of processor time that is forgotten by half with each half-life.
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
    /// The part of it for which a worker was, or would have been, held long.
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
    /// The request whose turn it is: it is being polled, or is to be woken for it. While any waits there is one.
    turn: Option<u64>,
}

/// The processor time of a thread, as it was read then.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at: Duration,
    processor: Duration,
}

/// The begin of a poll, and what was read of its thread not long before.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    at: Duration,
    read: Reading,
}

impl Begun {
    /// Returns the processor time of a poll that ends now: too much by `TURN_READING_AGE` at most, as to read it at the
    /// begin and the end of every poll takes longer than all else of the turns.
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
    /// The request is to go on in a slow lane.
    Elsewhere,
}

impl Turns {
    pub fn new(clock: Arc<dyn Clock>, lanes: SlowLanes) -> Arc<Self> {
        Arc::new(Self { clock, lanes, requests: AtomicU64::new(0), state: Mutex::default() })
    }

    /// Runs a request to its end, on this worker or in a slow lane. `named` is the access key that it names. `None` where the
    /// lanes have stopped, or the request panicked in one.
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

    /// Goes on with a request, or with the body of its answer, in a slow lane. It ends when the handle is dropped.
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

    /// Runs something to its end on this thread, polled when its holder may be.
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

    /// Polls something of a request that takes no turn, and charges its holder.
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

    /// Returns whether the requests of this holder belong in the slow lanes.
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

/// The place of a request in the queue.
#[derive(Debug)]
struct Ticket<'a> {
    turns: &'a Turns,
    number: u64,
    /// The thread that polls it.
    worker: ThreadId,
    /// False in a slow lane.
    is_on_worker: bool,
    /// True once its last poll has ended, and it counts for nobody any more.
    is_over: bool,
    /// The holder that the request counts for.
    holder: Option<Holder>,
    /// The holder as whose request it waits.
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

    /// Ends a poll, by which the account may have become known, and with the last poll the request.
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
    /// Begins a poll on this thread.
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

    /// Forgets holders that used little and have no request under way; where there are very many, all without one.
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

    /// A key that was verified to be this account's. All are forgotten when there are very many.
    fn learn(&mut self, key: Arc<str>, account: &Holder) {
        if self.accounts.get(&key) == Some(account) {
            return;
        }
        if self.accounts.len() >= TURN_KEYS_MAX {
            self.accounts.clear();
        }
        self.accounts.insert(key, account.clone());
    }

    /// Counts a request as this holder's, and no more as the one's that it was.
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
        // The holder is one of them.
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

    /// Removes a request that waits no more.
    fn forget(&mut self, worker: ThreadId, number: u64, waits_as: Option<Holder>) {
        if let (Some(worker), Some(holder)) = (self.workers.get_mut(&worker), waits_as) {
            worker.forget(number, &holder);
        }
    }

    /// Ends the turn of a request, whether it was polled or is gone, and gives it to the next.
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

/// Wakes a request when all that is ready was polled, and the runtime has looked for what came meanwhile: that is how it
/// treats who yields.
fn wake_after_others(waker: &Waker) {
    let yielded = pin!(yield_now()).as_mut().poll(&mut Context::from_waker(waker));
    debug_assert!(yielded.is_pending(), "a yield is never over at once");
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
