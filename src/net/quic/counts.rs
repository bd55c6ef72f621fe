//! Counts of what each peer did in the present window of time, to bound what one of them can cause.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The most peers that are counted apart in a window; all others share one count.
const PEERS_MAX: usize = 4096;
/// The most lines about a peer in the log within `LINES_WINDOW`.
const LINES_MAX: usize = 10;
/// The most lines about all peers together within `LINES_WINDOW`.
const LINES_OF_ALL_MAX: usize = 100;
const LINES_WINDOW: Duration = Duration::from_secs(60);

/// The counts of one window.
#[derive(Debug)]
pub(super) struct Counts<K> {
    window: Duration,
    since: Option<Instant>,
    /// By peer; `None` are those beyond `PEERS_MAX`.
    counts: HashMap<Option<K>, usize>,
}

impl<K: Eq + Hash> Counts<K> {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, since: None, counts: HashMap::new() }
    }

    /// Counts once more for a peer, and returns its count in this window.
    pub(super) fn add(&mut self, peer: K, now: Instant) -> usize {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= self.window) {
            self.since = Some(now);
            self.counts.clear();
        }
        let peer = Some(peer);
        let has_room = self.counts.len() < PEERS_MAX || self.counts.contains_key(&peer);
        let count = self.counts.entry(if has_room { peer } else { None }).or_default();
        *count += 1;
        *count
    }
}

/// Returns what is counted as one peer: an address of version 4, or a /64 network of version 6, of which one caller may
/// have all addresses.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => first_bits(address, 64),
    }
}

/// Returns the site of an address of version 6: the /48 network, of which one caller may have all /64 networks.
pub(super) fn site_of(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(first_bits(address, 48)),
    }
}

fn first_bits(address: Ipv6Addr, bits: u32) -> IpAddr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits))).into()
}

/// A bound of the lines in the log: of those about each peer, and of those about all peers together.
#[derive(Debug)]
pub(super) struct LogLines<K>(Mutex<Lines<K>>);

#[derive(Debug)]
struct Lines<K> {
    /// The lines about each peer, left out or not.
    of_peers: Counts<K>,
    /// The lines about all peers, except those that are left out for their peer's sake.
    of_all: Counts<()>,
    /// The lines that were left out and are not reported yet.
    left_out: usize,
}

impl<K: Eq + Hash> Default for LogLines<K> {
    fn default() -> Self {
        let (of_peers, of_all) = (Counts::new(LINES_WINDOW), Counts::new(LINES_WINDOW));
        Self(Mutex::new(Lines { of_peers, of_all, left_out: 0 }))
    }
}

impl<K: Eq + Hash> LogLines<K> {
    /// Returns how to write another line about a peer; `None` if it is to be left out.
    pub(super) fn another(&self, peer: K) -> Option<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).another(peer, Instant::now())
    }
}

impl<K: Eq + Hash> Lines<K> {
    fn another(&mut self, peer: K, now: Instant) -> Option<Line> {
        let of_peer = self.of_peers.add(peer, now);
        let of_all = if of_peer > LINES_MAX { None } else { Some(self.of_all.add((), now)) };
        let Some(of_all) = of_all.filter(|count| *count <= LINES_OF_ALL_MAX) else {
            self.left_out += 1;
            return None;
        };
        let note = if of_all == 1 && self.left_out > 0 {
            Some(format!("{} lines like it were left out before", std::mem::take(&mut self.left_out)))
        } else if of_peer == LINES_MAX || of_all == LINES_OF_ALL_MAX {
            Some("further lines like it are left out for up to a minute".to_owned())
        } else {
            None
        };
        Some(Line { note })
    }
}

/// A line of the log that may be written, with a note that belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) note: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::{
        Counts, LINES_MAX, LINES_OF_ALL_MAX, LINES_WINDOW, LogLines, PEERS_MAX, PoisonError, network_of, site_of,
    };
    use std::net::IpAddr;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn peers_are_counted_apart_until_there_are_too_many() {
        let (mut counts, now) = (Counts::new(Duration::from_secs(1)), Instant::now());
        assert_eq!([counts.add(1, now), counts.add(1, now), counts.add(2, now)], [1, 2, 1]);
        (3..=PEERS_MAX).for_each(|peer| assert_eq!(counts.add(peer, now), 1));
        assert_eq!([counts.add(PEERS_MAX + 1, now), counts.add(PEERS_MAX + 2, now)], [1, 2], "they share a count");
        assert_eq!(counts.add(1, now), 3);
        assert_eq!(counts.counts.len(), PEERS_MAX + 1);
        assert_eq!(counts.add(1, now + Duration::from_secs(1)), 1, "the next window");
    }

    #[test]
    fn addresses_of_one_network_of_version_6_are_one_peer() {
        let of = |text: &str| network_of(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn networks_of_one_site_of_version_6_are_one_site() {
        let of = |text: &str| site_of(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(of("2001:db8:7:1::1"), of("2001:db8:7:ffff::2"));
        assert_ne!(of("2001:db8:7::1"), of("2001:db8:8::1"));
        assert_eq!(of("::ffff:10.0.0.1"), None);
    }

    #[test]
    fn lines_about_one_peer_end_with_a_note_and_leave_those_about_others() {
        let lines = LogLines::default();
        let notes: Vec<_> = (0..100).filter_map(|_| lines.another(1)).map(|line| line.note.is_some()).collect();
        assert_eq!(notes.len(), LINES_MAX);
        assert_eq!(notes.iter().filter(|noted| **noted).count(), 1);
        assert_eq!(notes.last(), Some(&true));
        assert!(lines.another(2).is_some_and(|line| line.note.is_none()));
    }

    #[test]
    fn lines_about_many_peers_are_bounded_and_those_left_out_are_counted_once() {
        let lines = LogLines::default();
        let mut lines = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let written: Vec<_> = (0..PEERS_MAX * 2).filter_map(|peer| lines.another(peer, now)).collect();
        assert_eq!(written.len(), LINES_OF_ALL_MAX);
        assert_eq!(written.iter().filter(|line| line.note.is_some()).count(), 1);
        assert!(written.last().is_some_and(|line| line.note.is_some()));
        let later = now + LINES_WINDOW;
        let note = lines.another(1, later).and_then(|line| line.note);
        let left_out = PEERS_MAX * 2 - LINES_OF_ALL_MAX;
        assert_eq!(note, Some(format!("{left_out} lines like it were left out before")));
        assert!(lines.another(1, later).is_some_and(|line| line.note.is_none()));
    }
}
