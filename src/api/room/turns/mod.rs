//! The processor time of the worker threads, shared by accounts. A worker polls its requests one after the other, so an account
//! with many requests that are long to compute would make all others wait for all of them. A request of a holder (an account, or
//! an address) that has used little lately is polled at once. The requests of one that has used more take turns: on each worker
//! one of them is polled at a time, that of the holder that has used the least, and everything else that is ready is polled
//! before the next. While requests of other accounts are polled, a worker is given to turns that are long for half of its time at most.
//!
//! Until its signature is verified, a request counts as that of the account whose key it names, if that key was verified
//! before: its first poll may be the longest. Processor time is charged to the account whose signature was verified, and to the
//! address of a request that was not; so nobody uses up another account's time by naming its key.

use super::bodies::Seat;
use super::shares::{Holder, locked};
use crate::ambient::Clock;
use crate::limits::{TURN_FREE, TURN_HALF_LIFE, TURN_KEYS_MAX, TURN_PAUSE_MAX, TURN_PAUSE_MIN};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep};

/// Requests after which holders that used little and have none under way are forgotten.
const FORGET_EVERY: u64 = 256;

/// The turns of all workers of a host.
#[derive(Debug)]
pub struct Turns {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Holders with requests under way, and those that used much lately.
    usage: HashMap<Holder, Usage>,
    workers: HashMap<ThreadId, Worker>,
    /// Accounts by access keys that were verified.
    accounts: HashMap<Arc<str>, Holder>,
    requests: u64,
}

/// The processor time of one holder, on all workers: it is forgotten by half with each half-life.
#[derive(Debug, Default)]
struct Usage {
    under_way: usize,
    spent: Duration,
    at: Duration,
}

impl Usage {
    fn lately(&self, now: Duration) -> Duration {
        let half_lives = now.saturating_sub(self.at).as_secs_f64() / TURN_HALF_LIFE.as_secs_f64();
        self.spent.mul_f64((-half_lives).exp2())
    }

    fn add(&mut self, spent: Duration, now: Duration) {
        (self.spent, self.at) = (self.lately(now) + spent, now);
    }

    fn is_much(&self, now: Duration) -> bool {
        self.lately(now) > TURN_FREE
    }
}

#[derive(Debug, Default)]
struct Worker {
    waiting: HashMap<Holder, VecDeque<(u64, Waker)>>,
    /// The request whose turn it is: it is being polled, or is to be woken for it. While any waits there is one.
    turn: Option<u64>,
    /// No turn begins sooner.
    paused_until: Duration,
    /// The last poll of a request whose account has used little.
    light_at: Option<Duration>,
}

/// The decision whether a request may be polled now.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Now,
    After(Duration),
    /// The request is woken when its turn comes.
    Later,
}

impl Turns {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Runs a request to its end, polled when its holder may be. `named` is the access key that it names.
    pub async fn share<F: Future>(&self, seat: &Seat, named: Option<&str>, request: F) -> F::Output {
        let mut request = pin!(request);
        let mut ticket = self.ticket();
        let mut pause = pin!(None::<Sleep>);
        poll_fn(|cx| {
            loop {
                if let Some(paused) = pause.as_mut().as_pin_mut()
                    && paused.poll(cx).is_pending()
                {
                    return Poll::Pending;
                }
                match ticket.enter(seat, named, cx.waker()) {
                    Entry::Now => break pause.set(None),
                    Entry::After(wait) => pause.set(Some(sleep(wait))),
                    Entry::Later => return Poll::Pending,
                }
            }
            let polled = request.as_mut().poll(cx);
            ticket.leave(seat);
            polled
        })
        .await
    }

    fn ticket(&self) -> Ticket<'_> {
        let mut state = locked(&self.state);
        state.requests += 1;
        let (number, worker) = (state.requests, std::thread::current().id());
        Ticket { turns: self, number, worker, holder: None, waits_as: None, begun: Duration::ZERO }
    }
}

/// The place of a request in the queue.
#[derive(Debug)]
struct Ticket<'a> {
    turns: &'a Turns,
    number: u64,
    worker: ThreadId,
    /// The holder that the request counts for.
    holder: Option<Holder>,
    /// The holder as whose request it waits.
    waits_as: Option<Holder>,
    /// The processor time at which the poll began.
    begun: Duration,
}

impl Ticket<'_> {
    fn enter(&mut self, seat: &Seat, named: Option<&str>, waker: &Waker) -> Entry {
        let now = self.turns.clock.monotonic();
        let (address, account) = (seat.address(), seat.account().map(|(_, account)| account));
        let mut state = locked(&self.turns.state);
        let is_verified = account.is_some();
        let known = || named.and_then(|key| state.accounts.get(key).cloned());
        let holder = account.or_else(known).or_else(|| address.clone());
        state.hold(&mut self.holder, holder);
        let address = address.filter(|_| !is_verified);
        let used_much = self.holder.iter().chain(&address).any(|holder| state.used_much(holder, now));
        let entry = match &self.holder {
            Some(holder) if used_much => state.take_turn(self.worker, self.number, holder, now, waker),
            Some(Holder::Account(_)) => state.pass(self.worker, now),
            Some(Holder::Address(_)) | None => Entry::Now,
        };
        if entry == Entry::Later {
            self.waits_as.clone_from(&self.holder);
        } else {
            state.forget(self.worker, self.number, self.waits_as.take());
        }
        self.begun = self.turns.clock.processor();
        entry
    }

    /// Ends a poll, by which the account may have become known.
    fn leave(&mut self, seat: &Seat) {
        let (now, spent) = (self.turns.clock.monotonic(), self.turns.clock.processor().saturating_sub(self.begun));
        let mut state = locked(&self.turns.state);
        match (seat.account(), seat.address()) {
            (Some((key, account)), address) => {
                if let Some(address) = address.filter(|address| self.holder.as_ref() == Some(address)) {
                    state.charge(address, spent, now);
                }
                state.charge(account.clone(), spent, now);
                state.learn(key, &account);
                state.hold(&mut self.holder, Some(account));
            }
            (None, Some(address)) => state.charge(address, spent, now),
            (None, None) => {}
        }
        state.end_turn(self.worker, self.number, spent, now);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let now = self.turns.clock.monotonic();
        let mut state = locked(&self.turns.state);
        state.forget(self.worker, self.number, self.waits_as.take());
        state.end_turn(self.worker, self.number, Duration::ZERO, now);
        state.hold(&mut self.holder, None);
        if self.number.is_multiple_of(FORGET_EVERY) {
            state.usage.retain(|_, usage| usage.under_way > 0 || usage.is_much(now));
        }
    }
}

impl State {
    fn charge(&mut self, holder: Holder, spent: Duration, now: Duration) {
        self.usage.entry(holder).or_default().add(spent, now);
    }

    fn used_much(&self, holder: &Holder, now: Duration) -> bool {
        self.usage.get(holder).is_some_and(|usage| usage.is_much(now))
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
        }
        if let Some(holder) = holder {
            self.usage.entry(holder.clone()).or_default().under_way += 1;
            *held = Some(holder);
        }
    }

    /// A request of an account that used little.
    fn pass(&mut self, worker: ThreadId, now: Duration) -> Entry {
        self.workers.entry(worker).or_default().light_at = Some(now);
        Entry::Now
    }

    fn take_turn(&mut self, worker: ThreadId, number: u64, holder: &Holder, now: Duration, waker: &Waker) -> Entry {
        let is_alone = self.usage.iter().all(|(other, usage)| other == holder || usage.under_way == 0);
        let worker = self.workers.entry(worker).or_default();
        if is_alone {
            return Entry::Now;
        }
        if worker.turn != Some(number) {
            match worker.turn {
                Some(_) => worker.wait(number, holder, waker),
                None => {
                    worker.turn = Some(number);
                    wake_after_others(waker);
                }
            }
            return Entry::Later;
        }
        if worker.paused_until > now { Entry::After(worker.paused_until.saturating_sub(now)) } else { Entry::Now }
    }

    /// Removes a request that waits no more.
    fn forget(&mut self, worker: ThreadId, number: u64, waits_as: Option<Holder>) {
        if let (Some(worker), Some(holder)) = (self.workers.get_mut(&worker), waits_as) {
            worker.forget(number, &holder);
        }
    }

    /// Ends the turn of a request, whether it was polled or is gone, and gives it to the next.
    fn end_turn(&mut self, worker: ThreadId, number: u64, spent: Duration, now: Duration) {
        let Some(worker) = self.workers.get_mut(&worker) else { return };
        if worker.turn != Some(number) {
            return;
        }
        let others_come = worker.light_at.is_some_and(|at| now.saturating_sub(at) <= spent + TURN_PAUSE_MAX);
        if others_come && spent >= TURN_PAUSE_MIN {
            worker.paused_until = now + spent.min(TURN_PAUSE_MAX);
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
mod tests;
