//! The changes that a power cut may undo with relaxed durability: those acknowledged in the last window, from the
//! latest on.

use super::ambient::Simulated;
use super::damage::FLUSH_DELAY;
use super::ledger::{Row, Version};
use sherd::ambient::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// An acknowledged change of a key.
#[derive(Clone, Debug)]
struct Recent {
    key: String,
    /// The turns at which the change began and was acknowledged.
    began: u64,
    ended: u64,
    at: Duration,
    before: BTreeSet<Version>,
}

/// The changes that are recent enough to be undone; always empty with strict durability.
#[derive(Clone, Debug, Default)]
pub struct Undoable {
    clock: Option<Arc<Simulated>>,
    turn: u64,
    began: BTreeMap<String, u64>,
    recent: Vec<Recent>,
    /// The versions of a key of the versioned bucket, as they were before a change.
    rows: Vec<(String, Duration, Vec<Row>)>,
}

/// The states of a key that may be found, from the one before the oldest change that may be undone.
type States = Vec<BTreeSet<Version>>;

impl Undoable {
    pub fn relaxed(clock: &Arc<Simulated>) -> Self {
        Self { clock: Some(Arc::clone(clock)), ..Self::default() }
    }

    pub fn is_relaxed(&self) -> bool {
        self.clock.is_some()
    }

    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// Notes that a change of a key begins.
    pub fn begin(&mut self, key: &str) {
        let turn = self.next_turn();
        self.began.insert(key.to_owned(), turn);
    }

    /// Notes that the change of a key is acknowledged; `before` are the versions that were possible before it.
    pub fn note(&mut self, key: &str, before: BTreeSet<Version>) {
        let Some(clock) = &self.clock else { return };
        let at = clock.monotonic();
        let began = self.began.get(key).copied().unwrap_or_default();
        let ended = self.next_turn();
        self.recent.push(Recent { key: key.to_owned(), began, ended, at, before });
    }

    /// Notes that a change of a key of the versioned bucket is acknowledged.
    pub fn note_rows(&mut self, key: &str, before: &[Row]) {
        let Some(clock) = &self.clock else { return };
        let at = clock.monotonic();
        self.rows.push((key.to_owned(), at, before.to_vec()));
    }

    /// Notes a stop in order, after which nothing can be undone.
    pub fn stop(&mut self) {
        self.recent.clear();
        self.rows.clear();
    }

    /// Notes a power cut. The window is counted back from the last acknowledged change.
    pub fn cut(&mut self) {
        let last = |at: Option<Duration>| at.unwrap_or_default();
        let of_keys = last(self.recent.last().map(|change| change.at));
        let now = of_keys.max(last(self.rows.last().map(|change| change.1)));
        self.recent.retain(|change| change.at + FLUSH_DELAY >= now);
        self.rows.retain(|change| change.1 + FLUSH_DELAY >= now);
    }

    /// Returns the earlier states that a cut may have brought back, oldest first.
    pub fn states(&self, key: &str) -> States {
        self.recent.iter().filter(|change| change.key == key).map(|change| change.before.clone()).collect()
    }

    pub fn rows(&self, key: &str) -> Vec<Vec<Row>> {
        self.rows.iter().filter(|change| change.0 == key).map(|change| change.2.clone()).collect()
    }

    /// Fails if a change survives that began after the acknowledgement of a change that is lost: a log is lost from its
    /// end only. `found` has, for each key, whether each of its states matches what was found; the last state is the
    /// one without a loss.
    pub fn check_order(&self, found: &BTreeMap<String, Vec<bool>>, context: &str) {
        let (mut gone, mut stands): (Vec<&Recent>, Vec<&Recent>) = Default::default();
        for (key, states) in found {
            let (first, last) = (states.iter().position(|is_so| *is_so), states.iter().rposition(|is_so| *is_so));
            let changes: Vec<&Recent> = self.recent.iter().filter(|change| change.key == *key).collect();
            gone.extend(changes.iter().skip(last.unwrap_or(changes.len())));
            stands.extend(changes.iter().take(first.unwrap_or(0)));
        }
        for lost in &gone {
            let later = stands.iter().find(|change| change.began > lost.ended);
            assert!(later.is_none(), "{context}: {lost:?} is lost, and {later:?} is not, which came later");
        }
    }
}
