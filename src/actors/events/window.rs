//! `Window`: the oldest undelivered events of one webhook. It decides which of them may be sent now, and up to which
//! position all are done. Pure.
//!
//! A window holds at most `WINDOW_EVENTS_MAX` events. Events of one key form a chain: an event is sent when those
//! before it are done. Chains do not wait for each other, unless chains that are held up fill the window.

use super::queue::{COUNTED_MAX, QueuePage, QueueRange};
use super::record::QueuedEvent;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The greatest number of events in a window.
pub const WINDOW_EVENTS_MAX: usize = 256;
/// The number of refusals after which a message is dropped. A message for an unreachable webhook is never dropped for
/// that.
pub const REFUSALS_MAX: u32 = 10;

#[derive(Debug)]
pub struct Window {
    name: String,
    /// The events that are not done, by position.
    waiting: BTreeMap<u64, Waiting>,
    /// The number of rows taken in.
    taken: u64,
    /// The position of the last of them.
    fetched: u64,
    /// The number of rows after `fetched`, up to and including `counted`.
    later: u64,
    /// The position of the last row of the queue that was counted. Not before `fetched`.
    counted: u64,
}

#[derive(Debug)]
struct Waiting {
    /// The number of rows that were taken in up to and including this one.
    number: u64,
    event: QueuedEvent,
    refusals: u32,
    /// True if the webhook was not reached in the last attempt, and has taken no other event since.
    failed: bool,
    /// The number of times that the webhook took other events after such an attempt.
    put_off: u32,
    /// The earliest time of the next attempt, by the monotonic clock.
    not_before: Duration,
}

impl Waiting {
    fn new(number: u64, event: QueuedEvent) -> Self {
        Self { number, event, refusals: 0, failed: false, put_off: 0, not_before: Duration::ZERO }
    }
}

/// The result of `Window::take`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub rows: usize,
    /// The number of events dropped because the window was too far behind, including events of earlier pages.
    pub missed: usize,
    /// The number of rows that could not be decoded.
    pub unreadable: usize,
    /// True if the queue has rows that are not counted yet.
    pub is_partial: bool,
}

impl Window {
    /// Returns an empty window for the webhook of this name, at the beginning of its queue.
    pub fn new(name: String) -> Self {
        Self { name, waiting: BTreeMap::new(), taken: 0, fetched: 0, later: 0, counted: 0 }
    }

    /// Returns the part of the queue to look at next, for at most this number of rows.
    pub fn next(&self, rows_max: usize) -> QueueRange {
        let room = WINDOW_EVENTS_MAX.saturating_sub(self.waiting.len());
        QueueRange { after: self.fetched, limit: rows_max.min(room), count_after: self.counted }
    }

    /// Returns the position up to and including which all events are done.
    pub fn through(&self) -> u64 {
        self.waiting.first_key_value().map_or(self.fetched, |(first, _)| first - 1)
    }

    /// Returns the number of rows of the queue from the oldest event that is not done on, as far as they are counted.
    pub fn behind(&self) -> u64 {
        let done = self.waiting.first_key_value().map_or(self.taken, |(_, first)| first.number - 1);
        self.taken - done + self.later
    }

    /// Takes in a look at the part of the queue that `next` named. Drops the oldest events of the window while it is
    /// more than `queue_limit` rows behind.
    pub fn take(&mut self, page: QueuePage, queue_limit: u64) -> Taken {
        let is_partial = page.counted == COUNTED_MAX;
        let mut taken = Taken { rows: page.rows.len(), is_partial, ..Taken::default() };
        self.later += page.counted as u64;
        self.counted = page.counted_through;
        for row in page.rows {
            let position = row.seq;
            self.taken += 1;
            self.fetched = position;
            self.later = self.later.saturating_sub(1);
            match QueuedEvent::of(row, &self.name) {
                None => taken.unreadable += 1,
                Some(event) => {
                    self.waiting.insert(position, Waiting::new(self.taken, event));
                }
            }
        }
        if page.is_last {
            // A former leader may have removed rows after they were counted.
            self.later = 0;
        }
        while self.behind() > queue_limit && self.waiting.pop_first().is_some() {
            taken.missed += 1;
        }
        taken
    }

    /// Returns the positions of events that may be sent now, at most `count_max`, oldest first: the first event of each
    /// chain, unless it is put off. Those that failed since the webhook last took an event come last, so that it is
    /// tried with others.
    pub fn ready(&self, count_max: usize, now: Duration) -> Vec<u64> {
        let mut chains = BTreeSet::new();
        let mut is_first =
            |waiting: &&Waiting| chains.insert((waiting.event.context.bucket.clone(), waiting.event.key.clone()));
        let first = self.waiting.values().filter(|waiting| is_first(waiting));
        let due = first.filter(|first| first.not_before <= now);
        let (failed, others): (Vec<_>, Vec<_>) = due.partition(|first| first.failed);
        others.into_iter().chain(failed).map(|first| first.event.position).take(count_max).collect()
    }

    pub fn get(&self, position: u64) -> Option<&QueuedEvent> {
        self.waiting.get(&position).map(|waiting| &waiting.event)
    }

    /// Removes an event that was delivered.
    pub fn done(&mut self, position: u64) {
        self.waiting.remove(&position);
    }

    /// Notes an attempt in which the webhook was not reached.
    pub fn unreached(&mut self, position: u64) {
        if let Some(waiting) = self.waiting.get_mut(&position) {
            waiting.failed = true;
        }
    }

    /// Notes that the webhook took an event: it failed for those that were tried in vain before, not as a whole. They
    /// are put off until the time that `again_at` gives for the number of times that this happened to them.
    pub fn reached(&mut self, again_at: impl Fn(u32) -> Duration) {
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.failed) {
            waiting.failed = false;
            waiting.put_off = waiting.put_off.saturating_add(1);
            waiting.not_before = again_at(waiting.put_off);
        }
    }

    /// Puts a refused event off until the time that `again_at` gives for its number of refusals. Drops it after
    /// `REFUSALS_MAX` refusals. Returns the number of refusals; `None` if the event is dropped.
    pub fn refused(&mut self, position: u64, again_at: impl FnOnce(u32) -> Duration) -> Option<u32> {
        let waiting = self.waiting.get_mut(&position)?;
        waiting.refusals += 1;
        if waiting.refusals >= REFUSALS_MAX {
            self.waiting.remove(&position);
            return None;
        }
        waiting.not_before = again_at(waiting.refusals);
        Some(waiting.refusals)
    }
}

#[cfg(test)]
mod tests {
    use super::{REFUSALS_MAX, Taken, WINDOW_EVENTS_MAX, Window};
    use crate::actors::events::queue::QueuePage;
    use crate::actors::events::tests::row;
    use crate::storage::meta::record::EventRow;
    use std::time::Duration;

    const NOW: Duration = Duration::from_secs(5);

    /// A page of the queue that `later` rows follow.
    fn page(events: &[(u64, &str)], later: usize) -> QueuePage {
        let rows: Vec<EventRow> = events.iter().map(|(at, key)| row(*at, key, &["A"])).collect();
        QueuePage { counted: rows.len() + later, counted_through: 99, is_last: later == 0, rows }
    }

    fn window() -> Window {
        Window::new("A".to_owned())
    }

    #[test]
    fn events_of_one_key_are_sent_in_order_and_other_keys_in_parallel() {
        let mut window = window();
        assert_eq!((window.through(), window.behind()), (0, 0));
        window.take(page(&[(11, "k"), (12, "k"), (15, "l"), (16, "m")], 4), 100);
        assert_eq!(window.ready(8, NOW), [11, 15, 16]);
        assert_eq!(window.ready(2, NOW), [11, 15]);
        window.done(15);
        assert_eq!((window.through(), window.behind()), (10, 8));
        window.done(11);
        assert_eq!(window.ready(8, NOW), [12, 16]);
        assert_eq!(window.through(), 11);
        window.done(16);
        window.done(12);
        assert_eq!((window.through(), window.behind()), (16, 4));
    }

    #[test]
    fn event_rows_that_cannot_be_decoded_are_skipped() {
        let mut window = window();
        let mut rows = vec![row(1, "k", &["A"]), row(2, "l", &["A"])];
        rows[0].draft.name = "Object:Sung".to_owned();
        let taken = window.take(QueuePage { rows, counted: 2, counted_through: 2, is_last: true }, 100);
        assert_eq!(taken, Taken { rows: 2, unreadable: 1, ..Taken::default() });
        assert_eq!((window.ready(8, NOW), window.through()), (vec![2], 1));
    }

    #[test]
    fn the_oldest_events_beyond_the_queue_limit_are_dropped() {
        let mut window = window();
        assert_eq!(window.take(page(&[(11, "k"), (52, "l")], 2), 4).missed, 0);
        let two_more = QueuePage { counted: 2, counted_through: 120, ..QueuePage::default() };
        assert_eq!(window.take(two_more, 4).missed, 2);
        assert_eq!((window.ready(8, NOW), window.through(), window.behind()), (vec![], 52, 4));
        let rows = page(&[(61, "m"), (62, "o")], 0).rows;
        assert_eq!(window.take(QueuePage { rows, counted_through: 120, ..QueuePage::default() }, 3).missed, 1);
        assert_eq!((window.ready(8, NOW), window.through(), window.behind()), (vec![62], 61, 3));
        // A former leader removed the others.
        window.take(QueuePage { is_last: true, counted_through: 120, ..QueuePage::default() }, 3);
        assert_eq!(window.behind(), 1);
    }

    #[test]
    fn a_refused_event_delays_only_its_key_and_is_dropped_at_last() {
        let mut window = window();
        window.take(page(&[(11, "k"), (12, "k"), (13, "l")], 0), 100);
        let later = NOW + Duration::from_secs(1);
        assert_eq!(window.refused(11, |_| later), Some(1));
        assert_eq!((window.ready(8, NOW), window.ready(8, later)), (vec![13], vec![11, 13]));
        for again in 2..REFUSALS_MAX {
            assert_eq!(window.refused(11, |_| later), Some(again));
        }
        assert_eq!(window.refused(11, |_| later), None);
        assert_eq!((window.ready(8, NOW), window.through()), (vec![12, 13], 11));
    }

    #[test]
    fn events_for_which_the_webhook_fails_do_not_keep_others_from_it() {
        let mut window = window();
        window.take(page(&[(11, "k"), (12, "l"), (13, "m"), (14, "n")], 0), 100);
        let after = |seconds| NOW + Duration::from_secs(seconds);
        let fail = |window: &mut Window, count, now| {
            let tried = window.ready(count, now);
            tried.iter().for_each(|position| window.unreached(*position));
            tried
        };
        assert_eq!(fail(&mut window, 2, NOW), [11, 12]);
        assert_eq!(window.ready(2, NOW), [13, 14], "others are tried first");
        window.done(13);
        window.reached(|times| after(times.into()));
        assert_eq!((window.ready(4, NOW), window.ready(4, after(1))), (vec![14], vec![11, 12, 14]), "oldest first");
        assert_eq!(fail(&mut window, 2, after(1)), [11, 12]);
        window.reached(|times| after(times.into()));
        assert_eq!((window.ready(4, after(1)), window.ready(4, after(2))), (vec![14], vec![11, 12, 14]));
        assert_eq!(window.through(), 10, "none is dropped");
    }

    #[test]
    fn a_delivery_window_holds_a_bounded_number_of_events() {
        let mut window = window();
        assert_eq!(window.next(9999).limit, WINDOW_EVENTS_MAX);
        let keys: Vec<String> = (0..WINDOW_EVENTS_MAX).map(|i| format!("k{i}")).collect();
        let rows: Vec<_> = keys.iter().zip(11..).map(|(key, at)| (at, key.as_str())).collect();
        window.take(page(&rows, 1000), u64::MAX);
        assert_eq!(window.next(9999).limit, 0);
    }
}
