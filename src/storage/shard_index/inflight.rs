//! How far the index is complete. Appends are published in any order by those who made them, so the watermark may only rise
//! to where no earlier append can still be unpublished. Pure.

use crate::types::Lsn;
use std::collections::BTreeMap;

/// An append that is to be published: begun before the log was asked, so that its records lie after all that was
/// published by then.
#[derive(Debug)]
#[must_use = "a lost ticket holds the watermark until the next start"]
pub struct Ticket {
    number: u64,
}

/// Appends under way, each with a position that is before all its records.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    next: u64,
    floors: BTreeMap<u64, Lsn>,
    /// The last position published.
    head: Lsn,
}

impl InFlight {
    pub(super) fn new(head: Lsn) -> Self {
        Self { head, ..Self::default() }
    }

    pub(super) fn begin(&mut self) -> Ticket {
        let number = self.next;
        self.next += 1;
        self.floors.insert(number, self.head);
        Ticket { number }
    }

    /// The watermark once this ticket is published with `last` as its last position. Replay begins *at* it.
    pub(super) fn watermark_after(&self, ticket: &Ticket, last: Option<Lsn>) -> Lsn {
        let head = self.head.max(last.unwrap_or_default());
        let others = self.floors.iter().filter(|(number, _)| **number != ticket.number);
        others.map(|(_, &floor)| floor).min().map_or(head, |floor| floor.min(head))
    }

    pub(super) fn finish(&mut self, ticket: Ticket, last: Option<Lsn>) {
        let known = self.floors.remove(&ticket.number);
        assert!(known.is_some(), "a ticket is of the index that began it");
        self.head = self.head.max(last.unwrap_or_default());
    }

    pub(super) fn head(&self) -> Lsn {
        self.head
    }

    pub(super) fn is_empty(&self) -> bool {
        self.floors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::InFlight;
    use crate::types::Lsn;

    #[test]
    fn the_watermark_waits_for_the_slowest_append() {
        let mut in_flight = InFlight::new(Lsn(10));
        let slow = in_flight.begin();
        let quick = in_flight.begin();
        assert_eq!(in_flight.watermark_after(&quick, Some(Lsn(90))), Lsn(10), "the slow one may lie anywhere after 10");
        in_flight.finish(quick, Some(Lsn(90)));
        let later = in_flight.begin();
        assert_eq!(in_flight.watermark_after(&slow, Some(Lsn(50))), Lsn(90), "the later one lies after 90");
        in_flight.finish(slow, Some(Lsn(50)));
        assert_eq!(in_flight.watermark_after(&later, Some(Lsn(95))), Lsn(95));
        in_flight.finish(later, Some(Lsn(95)));
        assert!(in_flight.is_empty());
        assert_eq!(in_flight.head(), Lsn(95));
    }

    #[test]
    fn a_lost_ticket_holds_the_watermark() {
        let mut in_flight = InFlight::new(Lsn(10));
        drop(in_flight.begin());
        let other = in_flight.begin();
        assert_eq!(in_flight.watermark_after(&other, Some(Lsn(90))), Lsn(10));
        in_flight.finish(other, Some(Lsn(90)));
        assert!(!in_flight.is_empty());
    }
}
