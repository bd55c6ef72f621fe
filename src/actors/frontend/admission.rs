//! The decisions of admission: who may start, who waits, who is turned away. Pure: events in, effects out.
//!
//! Requests are admitted in the order in which they came: a large one at the head is not overtaken for ever by small ones. While
//! a quarter of everything is free, any holder may take more; beyond that, one with an eighth waits until some of its own
//! requests are over, and others go past it. So nobody who holds on to what it has keeps all others out.

use super::holder::Holder;
use std::collections::{HashMap, VecDeque};

/// Parts of the whole: what is kept for those who have little, and how much that is.
const KEPT: u64 = 4;
const LITTLE: u64 = 8;

/// The limits of work in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Bytes that all requests may hold in buffers.
    pub bytes: u64,
    pub requests: usize,
    /// Requests that may wait; one more is turned away at once.
    pub waiting: usize,
}

/// Names a request that asks to be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Asked {
        ticket: Ticket,
        bytes: u64,
        holder: Holder,
    },
    /// A request that was granted so many bytes is over.
    Released {
        bytes: u64,
        holder: Holder,
    },
    /// A request has waited as long as it may, or its caller is gone.
    Expired {
        ticket: Ticket,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `bytes` are to be released in the end.
    Grant {
        ticket: Ticket,
        bytes: u64,
        holder: Holder,
    },
    Refuse {
        ticket: Ticket,
        why: Refused,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("too many requests wait already")]
    QueueFull,
    #[error("no room for the request came free in time")]
    WaitedTooLong,
}

#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    used: Use,
    by_holder: HashMap<Holder, Use>,
    queue: VecDeque<Waiting>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    bytes: u64,
    requests: usize,
}

#[derive(Clone, Debug)]
struct Waiting {
    ticket: Ticket,
    bytes: u64,
    holder: Holder,
}

impl Admission {
    pub fn new(limits: AdmissionLimits) -> Self {
        Self { limits, used: Use::default(), by_holder: HashMap::new(), queue: VecDeque::new() }
    }

    pub fn used_bytes(&self) -> u64 {
        self.used.bytes
    }

    pub fn used_requests(&self) -> usize {
        self.used.requests
    }

    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        let effects = match event {
            Event::Asked { ticket, bytes, holder } => self.asked(ticket, bytes, holder),
            Event::Released { bytes, holder } => {
                self.release(bytes, &holder);
                self.admit_waiting()
            }
            Event::Expired { ticket } => self.expired(ticket),
        };
        self.check_invariants();
        effects
    }

    fn asked(&mut self, ticket: Ticket, bytes: u64, holder: Holder) -> Vec<Effect> {
        let (waiting, limit) = (self.queue.len() as u64, self.limits.waiting as u64);
        let of_holder = || self.queue.iter().filter(|waiting| waiting.holder == holder).count() as u64;
        let is_full = waiting >= limit || (waiting >= limit - limit / KEPT && of_holder() >= (limit / LITTLE).max(1));
        // One request alone may always run, whatever it holds.
        let bytes = bytes.min(self.limits.bytes);
        self.queue.push_back(Waiting { ticket, bytes, holder });
        let granted = self.admit_waiting();
        if granted.is_empty() && is_full {
            self.queue.pop_back();
            return vec![Effect::Refuse { ticket, why: Refused::QueueFull }];
        }
        granted
    }

    fn expired(&mut self, ticket: Ticket) -> Vec<Effect> {
        let Some(at) = self.queue.iter().position(|waiting| waiting.ticket == ticket) else { return Vec::new() };
        self.queue.remove(at);
        let mut effects = vec![Effect::Refuse { ticket, why: Refused::WaitedTooLong }];
        effects.extend(self.admit_waiting());
        effects
    }

    fn admit_waiting(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(at) = self.next() {
            let Some(Waiting { ticket, bytes, holder }) = self.queue.remove(at) else { break };
            self.used.add(bytes);
            self.by_holder.entry(holder.clone()).or_default().add(bytes);
            effects.push(Effect::Grant { ticket, bytes, holder });
        }
        effects
    }

    /// The first in the queue whose holder may have more, if there is room for it.
    fn next(&self) -> Option<usize> {
        let at = self.queue.iter().position(|waiting| self.is_within_share(waiting))?;
        self.queue.get(at).filter(|waiting| self.fits(waiting.bytes)).map(|_| at)
    }

    fn fits(&self, bytes: u64) -> bool {
        self.used.requests < self.limits.requests && self.used.bytes + bytes <= self.limits.bytes
    }

    /// Returns whether the holder would not have more than its share. One that has nothing may have something.
    fn is_within_share(&self, waiting: &Waiting) -> bool {
        let Some(held) = self.by_holder.get(&waiting.holder) else { return true };
        let (bytes, requests) = (self.limits.bytes, self.limits.requests as u64);
        let within = |used: u64, held: u64, more: u64, limit: u64| {
            used + more <= limit - limit / KEPT || held + more <= (limit / LITTLE).max(1)
        };
        within(self.used.bytes, held.bytes, waiting.bytes, bytes)
            && within(self.used.requests as u64, held.requests as u64, 1, requests)
    }

    fn release(&mut self, bytes: u64, holder: &Holder) {
        self.used.take(bytes);
        if let Some(held) = self.by_holder.get_mut(holder) {
            held.take(bytes);
            if held.requests == 0 {
                self.by_holder.remove(holder);
            }
        }
    }

    fn check_invariants(&self) {
        debug_assert!(self.used.bytes <= self.limits.bytes && self.used.requests <= self.limits.requests);
        debug_assert!(self.queue.len() <= self.limits.waiting);
        debug_assert!(self.next().is_none(), "none waits who could run");
        debug_assert_eq!(self.by_holder.values().map(|held| held.requests).sum::<usize>(), self.used.requests);
    }
}

impl Use {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.requests += 1;
    }

    fn take(&mut self, bytes: u64) {
        assert!(self.bytes >= bytes && self.requests > 0, "only what was granted is released");
        self.bytes -= bytes;
        self.requests -= 1;
    }
}
