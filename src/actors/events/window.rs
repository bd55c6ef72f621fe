//! `Window`: the oldest undelivered events of one webhook. It decides which of them may be sent now, and up to which
//! position all are done. Pure.
//!
//! A window holds at most `WINDOW_EVENTS_MAX` events. Events of one key form a chain: an event is sent when those
//! before it are done. Chains do not wait for each other, unless chains that are held up fill the window.

use super::queue::QueuePage;
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
    /// The position of the last row that was taken in.
    fetched: u64,
    newest: u64,
}

#[derive(Debug)]
struct Waiting {
    event: QueuedEvent,
    refusals: u32,
    /// The number of attempts in which the webhook was not reached.
    unreached: u32,
    /// The earliest time of the next attempt, by the monotonic clock.
    not_before: Duration,
}

/// The result of `Window::take`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub rows: usize,
    /// The number of events dropped because they are too far behind the newest, including events of earlier pages.
    pub missed: usize,
    /// The number of rows that could not be decoded.
    pub unreadable: usize,
}

impl Window {
    /// Returns an empty window for the webhook of this name, at the beginning of its queue.
    pub fn new(name: String) -> Self {
        Self { name, waiting: BTreeMap::new(), fetched: 0, newest: 0 }
    }

    /// Returns the number of events that the window can still take in.
    pub fn room(&self) -> usize {
        WINDOW_EVENTS_MAX.saturating_sub(self.waiting.len())
    }

    /// Returns the position after which to read on.
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Returns the position up to and including which all events are done.
    pub fn through(&self) -> u64 {
        self.waiting.first_key_value().map_or(self.fetched, |(first, _)| first - 1)
    }

    /// Returns the number of events of the whole store from the oldest in the window on; 0 if the window is empty.
    pub fn behind(&self) -> u64 {
        self.waiting.first_key_value().map_or(0, |(first, _)| self.newest.saturating_sub(first - 1))
    }

    /// Takes in the next page of the queue. Drops events that are more than `queue_limit` behind the newest.
    pub fn take(&mut self, page: QueuePage, queue_limit: u64) -> Taken {
        let mut taken = Taken { rows: page.rows.len(), ..Taken::default() };
        for row in page.rows {
            let position = row.seq;
            self.fetched = self.fetched.max(position);
            match QueuedEvent::of(row, &self.name) {
                None => taken.unreadable += 1,
                Some(event) => {
                    self.waiting
                        .insert(position, Waiting { event, refusals: 0, unreached: 0, not_before: Duration::ZERO });
                }
            }
        }
        self.newest = page.newest.max(self.fetched);
        let kept = self.waiting.split_off(&(self.newest.saturating_sub(queue_limit) + 1));
        taken.missed = std::mem::replace(&mut self.waiting, kept).len();
        taken
    }

    /// Returns the positions of events that may be sent now, at most `count_max`: the first event of each chain, unless
    /// it is put off. Those that were tried least come first, and of these the oldest, so that events for which the
    /// webhook fails do not keep others from it.
    pub fn ready(&self, count_max: usize, now: Duration) -> Vec<u64> {
        let mut chains = BTreeSet::new();
        let mut is_first =
            |waiting: &&Waiting| chains.insert((waiting.event.context.bucket.clone(), waiting.event.key.clone()));
        let first = self.waiting.values().filter(|waiting| is_first(waiting));
        let mut ready: Vec<(u32, u64)> = first
            .filter(|first| first.not_before <= now)
            .map(|first| (first.unreached, first.event.position))
            .collect();
        ready.sort_unstable();
        ready.into_iter().map(|(_, position)| position).take(count_max).collect()
    }

    pub fn get(&self, position: u64) -> Option<&QueuedEvent> {
        self.waiting.get(&position).map(|waiting| &waiting.event)
    }

    /// Removes an event that was delivered.
    pub fn done(&mut self, position: u64) {
        self.waiting.remove(&position);
    }

    /// Notes an attempt in which the webhook was not reached. `again_at`: the time that it gives for the number of such
    /// attempts, if the event is to be put off.
    pub fn unreached(&mut self, position: u64, again_at: Option<impl FnOnce(u32) -> Duration>) {
        let Some(waiting) = self.waiting.get_mut(&position) else { return };
        waiting.unreached = waiting.unreached.saturating_add(1);
        if let Some(again_at) = again_at {
            waiting.not_before = again_at(waiting.unreached);
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
    use std::time::Duration;

    const NOW: Duration = Duration::from_secs(5);

    fn page(events: &[(u64, &str)], newest: u64) -> QueuePage {
        QueuePage { rows: events.iter().map(|(at, key)| row(*at, key, &["A"])).collect(), newest }
    }

    fn window() -> Window {
        Window::new("A".to_owned())
    }

    #[test]
    fn events_of_one_key_are_sent_in_order_and_other_keys_in_parallel() {
        let mut window = window();
        assert_eq!((window.through(), window.behind()), (0, 0));
        window.take(page(&[(11, "k"), (12, "k"), (15, "l"), (16, "m")], 20), 100);
        assert_eq!(window.ready(8, NOW), [11, 15, 16]);
        assert_eq!(window.ready(2, NOW), [11, 15]);
        window.done(15);
        assert_eq!((window.through(), window.behind()), (10, 10));
        window.done(11);
        assert_eq!(window.ready(8, NOW), [12, 16]);
        assert_eq!(window.through(), 11);
        window.done(16);
        window.done(12);
        assert_eq!((window.through(), window.behind()), (16, 0));
    }

    #[test]
    fn event_rows_that_cannot_be_decoded_are_skipped() {
        let mut window = window();
        let mut rows = vec![row(1, "k", &["A"]), row(2, "l", &["A"])];
        rows[0].draft.name = "Object:Sung".to_owned();
        let taken = window.take(QueuePage { rows, newest: 2 }, 100);
        assert_eq!(taken, Taken { rows: 2, missed: 0, unreadable: 1 });
        assert_eq!((window.ready(8, NOW), window.through()), (vec![2], 1));
    }

    #[test]
    fn the_oldest_events_beyond_the_queue_limit_are_dropped() {
        let mut window = window();
        assert_eq!(window.take(page(&[(11, "k"), (12, "l")], 12), 5).missed, 0);
        assert_eq!(window.take(page(&[(13, "m"), (15, "o")], 18), 5).missed, 3);
        assert_eq!(window.ready(8, NOW), [15]);
        assert_eq!(window.through(), 14);
    }

    #[test]
    fn a_refused_event_delays_only_its_key_and_is_dropped_at_last() {
        let mut window = window();
        window.take(page(&[(11, "k"), (12, "k"), (13, "l")], 13), 100);
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
        window.take(page(&[(11, "k"), (12, "l"), (13, "m"), (14, "n")], 14), 100);
        let later = NOW + Duration::from_secs(1);
        for position in window.ready(2, NOW) {
            window.unreached(position, None::<fn(u32) -> Duration>);
        }
        assert_eq!(window.ready(2, NOW), [13, 14]);
        window.done(13);
        window.done(14);
        assert_eq!(window.ready(2, NOW), [11, 12]);
        window.unreached(11, Some(|_| later));
        assert_eq!((window.ready(2, NOW), window.ready(2, later)), (vec![12], vec![12, 11]));
        assert_eq!(window.through(), 10, "none is dropped");
    }

    #[test]
    fn a_delivery_window_holds_a_bounded_number_of_events() {
        let mut window = window();
        assert_eq!(window.room(), WINDOW_EVENTS_MAX);
        let keys: Vec<String> = (0..WINDOW_EVENTS_MAX).map(|i| format!("k{i}")).collect();
        let rows: Vec<_> = keys.iter().zip(11..).map(|(key, at)| (at, key.as_str())).collect();
        window.take(page(&rows, 1000), u64::MAX);
        assert_eq!(window.room(), 0);
    }
}
