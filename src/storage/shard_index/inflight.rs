//! The computation of the index's watermark. Appends are published in any order, so the watermark may rise only to a
//! position before which no append can still be unpublished. Pure.

use crate::types::{Lsn, SegmentId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A ticket for an append that will be published. It is taken before the append is sent to the log, so the append's
/// records lie after everything that was published by then.
#[derive(Debug)]
#[must_use = "a lost ticket holds the watermark and the segments after it until the next start"]
pub struct Ticket {
    number: u64,
}

/// The appends under way, each with a position before all of its records (its floor).
#[derive(Debug, Default)]
pub(super) struct InFlight {
    next: u64,
    floors: BTreeMap<u64, Lsn>,
    /// Those of the appends that will not be published before the next start.
    abandoned: BTreeSet<u64>,
    /// The last published position.
    head: Lsn,
    /// The last position that is published or being published. It is in the log, so an append that begins now comes
    /// after it.
    appended: Lsn,
}

impl InFlight {
    pub(super) fn new(head: Lsn) -> Self {
        Self { head, appended: head, ..Self::default() }
    }

    pub(super) fn begin(&mut self) -> Ticket {
        let number = self.next;
        self.next += 1;
        self.floors.insert(number, self.appended);
        Ticket { number }
    }

    /// Marks the synced records up to `last` as being published. Returns the last published position after that.
    pub(super) fn publish_through(&mut self, last: Option<Lsn>) -> Lsn {
        let last = last.unwrap_or_default();
        self.appended = self.appended.max(last);
        self.head.max(last)
    }

    /// Returns the watermark after this ticket was published with `last` as its last position. A replay begins *at* the
    /// watermark.
    pub(super) fn watermark_after(&self, ticket: &Ticket, last: Option<Lsn>) -> Lsn {
        let head = self.head.max(last.unwrap_or_default());
        let others = self.floors.iter().filter(|(number, _)| **number != ticket.number);
        others.map(|(_, &floor)| floor).min().map_or(head, |floor| floor.min(head))
    }

    /// Returns the watermark as it is now: every record below it is published.
    pub(super) fn watermark(&self) -> Lsn {
        self.floors.values().min().map_or(self.head, |&floor| floor.min(self.head))
    }

    /// Ends a ticket: its records are published up to `last`, or it has none.
    pub(super) fn finish(&mut self, ticket: &Ticket, last: Option<Lsn>) {
        let known = self.floors.remove(&ticket.number);
        assert!(known.is_some(), "a ticket is of the index that began it, and is finished once");
        self.head = self.publish_through(last);
    }

    /// Abandons a ticket: the watermark stays below its records until the next start.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        self.abandoned.insert(ticket.number);
    }

    /// Returns whether records of this segment may still be published.
    pub(super) fn awaits(&self, segment: SegmentId) -> bool {
        let mut awaited = self.floors.iter().filter(|(number, _)| !self.abandoned.contains(number));
        awaited.any(|(_, floor)| floor.segment() <= segment)
    }

    /// Returns the number of tickets taken so far.
    pub(super) fn begun(&self) -> u64 {
        self.next
    }

    /// Returns whether one of these tickets is not finished. Those that were abandoned are not.
    pub(super) fn awaits_any_of(&self, tickets: Range<u64>) -> bool {
        self.floors.range(tickets).next().is_some()
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
    use crate::types::{Lsn, SegmentId};

    #[test]
    fn the_watermark_waits_for_the_slowest_append() {
        let mut in_flight = InFlight::new(Lsn(10));
        let slow = in_flight.begin();
        let quick = in_flight.begin();
        assert_eq!(in_flight.watermark_after(&quick, Some(Lsn(90))), Lsn(10), "the slow one may lie anywhere after 10");
        in_flight.finish(&quick, Some(Lsn(90)));
        let later = in_flight.begin();
        assert_eq!(in_flight.watermark_after(&slow, Some(Lsn(50))), Lsn(90), "the later one lies after 90");
        in_flight.finish(&slow, Some(Lsn(50)));
        assert_eq!(in_flight.watermark_after(&later, Some(Lsn(95))), Lsn(95));
        in_flight.finish(&later, Some(Lsn(95)));
        assert!(in_flight.is_empty());
        assert_eq!(in_flight.head(), Lsn(95));
    }

    #[test]
    fn an_append_begun_during_a_publication_does_not_lower_the_watermark() {
        let mut in_flight = InFlight::new(Lsn(10));
        let (published, other) = (in_flight.begin(), in_flight.begin());
        in_flight.finish(&other, None);
        assert_eq!(in_flight.publish_through(Some(Lsn(90))), Lsn(90));
        let committed = in_flight.watermark_after(&published, Some(Lsn(90)));
        let meanwhile = in_flight.begin();
        assert_eq!(in_flight.head(), Lsn(10), "not published yet");
        in_flight.finish(&published, Some(Lsn(90)));
        let later = in_flight.begin();
        assert_eq!((committed, in_flight.watermark_after(&later, Some(Lsn(99)))), (Lsn(90), Lsn(90)));
        in_flight.finish(&later, Some(Lsn(99)));
        in_flight.finish(&meanwhile, None);
    }

    #[test]
    fn an_abandoned_append_holds_back_the_watermark_but_no_segment() {
        let at = |segment| Lsn::new(SegmentId(segment), 4096);
        let mut in_flight = InFlight::new(at(2));
        let (lost, other) = (in_flight.begin(), in_flight.begin());
        assert!(in_flight.awaits(SegmentId(2)) && in_flight.awaits(SegmentId(3)), "its records may lie there");
        assert!(!in_flight.awaits(SegmentId(1)), "they lie after what was published");
        in_flight.abandon(lost);
        assert!(in_flight.awaits(SegmentId(2)), "the other's, too");
        assert_eq!(in_flight.watermark_after(&other, Some(at(4))), at(2));
        in_flight.finish(&other, Some(at(4)));
        assert!(!in_flight.is_empty() && !in_flight.awaits(SegmentId(5)));
    }
}
