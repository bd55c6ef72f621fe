//! The decisions of admission: who may start, who waits, who is turned away. Pure: events in, effects out.
//!
//! Requests are admitted in the order in which they came: a large one at the head is not overtaken for ever by small ones.

use std::collections::VecDeque;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Asked {
        ticket: Ticket,
        bytes: u64,
    },
    /// A request that was granted so many bytes is over.
    Released {
        bytes: u64,
    },
    /// A request has waited as long as it may, or its caller is gone.
    Expired {
        ticket: Ticket,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `bytes` are to be released in the end.
    Grant {
        ticket: Ticket,
        bytes: u64,
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
    used_bytes: u64,
    used_requests: usize,
    queue: VecDeque<(Ticket, u64)>,
}

impl Admission {
    pub fn new(limits: AdmissionLimits) -> Self {
        Self { limits, used_bytes: 0, used_requests: 0, queue: VecDeque::new() }
    }

    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub fn used_requests(&self) -> usize {
        self.used_requests
    }

    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        let effects = match event {
            Event::Asked { ticket, bytes } => self.asked(ticket, bytes),
            Event::Released { bytes } => {
                assert!(self.used_bytes >= bytes && self.used_requests > 0, "only what was granted is released");
                self.used_bytes -= bytes;
                self.used_requests -= 1;
                self.admit_waiting()
            }
            Event::Expired { ticket } => self.expired(ticket),
        };
        self.check_invariants();
        effects
    }

    fn asked(&mut self, ticket: Ticket, bytes: u64) -> Vec<Effect> {
        // One request alone may always run, whatever it holds.
        let bytes = bytes.min(self.limits.bytes);
        if self.queue.is_empty() && self.fits(bytes) {
            return vec![self.grant(ticket, bytes)];
        }
        if self.queue.len() >= self.limits.waiting {
            return vec![Effect::Refuse { ticket, why: Refused::QueueFull }];
        }
        self.queue.push_back((ticket, bytes));
        Vec::new()
    }

    fn expired(&mut self, ticket: Ticket) -> Vec<Effect> {
        let Some(at) = self.queue.iter().position(|&(waiting, _)| waiting == ticket) else { return Vec::new() };
        self.queue.remove(at);
        let mut effects = vec![Effect::Refuse { ticket, why: Refused::WaitedTooLong }];
        effects.extend(self.admit_waiting());
        effects
    }

    fn admit_waiting(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(&(ticket, bytes)) = self.queue.front() {
            if !self.fits(bytes) {
                break;
            }
            self.queue.pop_front();
            effects.push(self.grant(ticket, bytes));
        }
        effects
    }

    fn fits(&self, bytes: u64) -> bool {
        self.used_requests < self.limits.requests && self.used_bytes + bytes <= self.limits.bytes
    }

    fn grant(&mut self, ticket: Ticket, bytes: u64) -> Effect {
        self.used_bytes += bytes;
        self.used_requests += 1;
        Effect::Grant { ticket, bytes }
    }

    fn check_invariants(&self) {
        debug_assert!(self.used_bytes <= self.limits.bytes && self.used_requests <= self.limits.requests);
        debug_assert!(self.queue.len() <= self.limits.waiting);
        debug_assert!(self.queue.front().is_none_or(|&(_, bytes)| !self.fits(bytes)), "none waits who could run");
    }
}
