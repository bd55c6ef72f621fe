//! Admission control: decides which requests start, which wait, and which are refused. Pure: events in, effects out.
//!
//! Requests are admitted in the order in which they came, so that small requests never overtake a large one at the
//! head. While a quarter of the limits stays free, a holder may take any share. Beyond that, a holder gets at most an
//! eighth: its further requests wait until some of its own are over, and requests of other holders pass them. So no
//! holder can keep all others out.

use super::holder::Holder;
use std::collections::{HashMap, VecDeque};

/// `1 / KEPT` of each limit is kept for holders that have at most `1 / LITTLE` of it.
const KEPT: u64 = 4;
const LITTLE: u64 = 8;

/// The limits of requests in progress and waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// The bytes that all requests together may hold in buffers.
    pub bytes: u64,
    pub requests: usize,
    /// The number of requests that may wait; a further one is refused at once.
    pub waiting: usize,
}

/// The id of a request for admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Asked {
        ticket: Ticket,
        bytes: u64,
        holder: Holder,
    },
    /// A request that was granted `bytes` is over.
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
    /// The request is admitted. `bytes`, at most those that it asked for, have to be released when it is over.
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
    #[error("the queue of waiting requests is full")]
    QueueFull,
    #[error("the request waited too long to be admitted")]
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

    #[cfg(test)]
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
        // A request larger than the limit is granted the limit, so that it can run, alone.
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

    /// Returns the position of the first waiting request whose holder is within its share, if that request fits now.
    fn next(&self) -> Option<usize> {
        let at = self.queue.iter().position(|waiting| self.is_within_share(waiting))?;
        self.queue.get(at).filter(|waiting| self.fits(waiting.bytes)).map(|_| at)
    }

    fn fits(&self, bytes: u64) -> bool {
        self.used.requests < self.limits.requests && self.used.bytes + bytes <= self.limits.bytes
    }

    /// Returns whether the request keeps its holder within its share. A holder without requests may always have one.
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
        debug_assert!(self.next().is_none(), "a request that could run does not wait");
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
