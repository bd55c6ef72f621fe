//! The events that one webhook is being told of: which of them may be sent now, and through which all are done. Pure.
//!
//! A window holds the oldest events that are not done, so its memory is bounded. Events of one key form a chain: one is
//! sent when those before it are done. Chains do not wait for each other, until the window is full of those that wait.

use super::queue::QueuePage;
use super::record::QueuedEvent;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Events that a window holds.
pub const WINDOW_EVENTS_MAX: usize = 256;
/// A message that is refused is sent so often before it is given up; one that does not reach anybody is never.
pub const REFUSALS_MAX: u32 = 10;

#[derive(Debug)]
pub struct Window {
    name: String,
    /// The events that are not done, by position.
    waiting: BTreeMap<u64, Waiting>,
    /// The last position that was looked at.
    fetched: u64,
    newest: u64,
}

#[derive(Debug)]
struct Waiting {
    event: QueuedEvent,
    refusals: u32,
    /// The earliest time of the next try, on the monotonic clock.
    not_before: Duration,
}

/// The outcome of taking in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub rows: usize,
    /// Events that are missed because they lie too far behind the newest; of earlier rows, too.
    pub missed: usize,
    /// Rows that are not understood.
    pub unreadable: usize,
}

impl Window {
    /// Makes the window of the webhook of this name, at the beginning of its queue.
    pub fn new(name: String) -> Self {
        Self { name, waiting: BTreeMap::new(), fetched: 0, newest: 0 }
    }

    /// Returns the number of events for which there is still room.
    pub fn room(&self) -> usize {
        WINDOW_EVENTS_MAX.saturating_sub(self.waiting.len())
    }

    /// Returns the position after which to read on.
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Returns the position through which no event is left.
    pub fn through(&self) -> u64 {
        self.waiting.first_key_value().map_or(self.fetched, |(first, _)| first - 1)
    }

    /// Returns the number of events, for any target, since the oldest that waits.
    pub fn behind(&self) -> u64 {
        self.waiting.first_key_value().map_or(0, |(first, _)| self.newest.saturating_sub(first - 1))
    }

    /// Takes in the rows that follow.
    pub fn take(&mut self, page: QueuePage, queue_limit: u64) -> Taken {
        let mut taken = Taken { rows: page.rows.len(), ..Taken::default() };
        for row in page.rows {
            let position = row.seq;
            self.fetched = self.fetched.max(position);
            match QueuedEvent::of(row, &self.name) {
                None => taken.unreadable += 1,
                Some(event) => {
                    self.waiting.insert(position, Waiting { event, refusals: 0, not_before: Duration::ZERO });
                }
            }
        }
        self.newest = page.newest.max(self.fetched);
        let kept = self.waiting.split_off(&(self.newest.saturating_sub(queue_limit) + 1));
        taken.missed = std::mem::replace(&mut self.waiting, kept).len();
        taken
    }

    /// Returns the events that may be sent now: the first of each chain whose time has come, oldest first.
    pub fn ready(&self, count_max: usize, now: Duration) -> Vec<u64> {
        let mut chains = BTreeSet::new();
        let mut is_first =
            |waiting: &&Waiting| chains.insert((waiting.event.context.bucket.clone(), waiting.event.key.clone()));
        let first = self.waiting.values().filter(|waiting| is_first(waiting));
        first.filter(|first| first.not_before <= now).map(|first| first.event.position).take(count_max).collect()
    }

    pub fn get(&self, position: u64) -> Option<&QueuedEvent> {
        self.waiting.get(&position).map(|waiting| &waiting.event)
    }

    /// Removes an event that was delivered, or need not be any more.
    pub fn done(&mut self, position: u64) {
        self.waiting.remove(&position);
    }

    /// Puts a refused event off, or gives it up. Returns the number of its refusals; `None` if it is given up.
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
    fn events_of_one_key_are_sent_one_after_another_and_others_at_once() {
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
    fn rows_that_are_not_understood_are_passed_over() {
        let mut window = window();
        let mut rows = vec![row(1, "k", &["A"]), row(2, "l", &["A"])];
        rows[0].draft.name = "Object:Sung".to_owned();
        let taken = window.take(QueuePage { rows, newest: 2 }, 100);
        assert_eq!(taken, Taken { rows: 2, missed: 0, unreadable: 1 });
        assert_eq!((window.ready(8, NOW), window.through()), (vec![2], 1));
    }

    #[test]
    fn a_window_that_lies_too_far_behind_misses_the_oldest() {
        let mut window = window();
        assert_eq!(window.take(page(&[(11, "k"), (12, "l")], 12), 5).missed, 0);
        assert_eq!(window.take(page(&[(13, "m"), (15, "o")], 18), 5).missed, 3);
        assert_eq!(window.ready(8, NOW), [15]);
        assert_eq!(window.through(), 14);
    }

    #[test]
    fn a_refused_event_holds_up_its_own_key_only_and_is_given_up_in_the_end() {
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
    fn a_window_has_room_for_so_many_events_and_no_more() {
        let mut window = window();
        assert_eq!(window.room(), WINDOW_EVENTS_MAX);
        let keys: Vec<String> = (0..WINDOW_EVENTS_MAX).map(|i| format!("k{i}")).collect();
        let rows: Vec<_> = keys.iter().zip(11..).map(|(key, at)| (at, key.as_str())).collect();
        window.take(page(&rows, 1000), u64::MAX);
        assert_eq!(window.room(), 0);
    }
}
