//! The hourly history of the stored bytes, one document of the metadata, and the growth computed from it. Pure.

use crate::actors::documents::{self, DocumentError};
use crate::limits::{GROWTH_KNOWN_AFTER, GROWTH_SAMPLES_MAX};
use crate::storage::meta::record::{DocumentKey, DocumentRow, DocumentWrite, Expect};
use crate::types::UnixMs;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const NAME: &str = "growth";
const DAY_MS: i128 = 24 * 3600 * 1000;
const WEEK_MS: u64 = 7 * 24 * 3600 * 1000;

/// The samples of the last week.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The samples in order of time; at most `GROWTH_SAMPLES_MAX`.
    samples: Vec<Sample>,
}

/// The size of the store at one time: the bytes of all versions of all objects, without parity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sample {
    at: UnixMs,
    bytes: u64,
}

/// The growth of the stored bytes per day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// The time from the first sample to the last.
    pub measured: Duration,
    /// The stored bytes as last measured; `None` before the first measurement.
    pub stored_bytes: Option<u64>,
    /// `None` while `measured` is less than a day; negative if the store shrinks.
    pub bytes_per_day: Option<i64>,
}

impl History {
    pub fn key() -> DocumentKey {
        DocumentKey::System(NAME.to_owned())
    }

    /// Decodes the history from its document. Empty if there is none or it cannot be decoded.
    pub fn of(row: Option<&DocumentRow>) -> Self {
        let Some(row) = row else { return Self::default() };
        let read = documents::decode(&row.value);
        read.inspect_err(
            |error| tracing::warn!(%error, "cannot read the history of the store's size; a new one is begun"),
        )
        .unwrap_or_default()
    }

    /// Returns the write of the history, conditional on the revision of `row`: it fails if another host wrote in
    /// between.
    pub fn write(&self, row: Option<&DocumentRow>) -> Result<DocumentWrite, DocumentError> {
        let expect = row.map_or(Expect::Absent, |row| Expect::Revision(row.revision));
        Ok(DocumentWrite { key: Self::key(), expect, value: Some(documents::encode(self)?) })
    }

    /// Adds a sample. Earlier samples with a later date, by a clock that was ahead, are dropped, so that the dates stay
    /// in order.
    pub fn add(&mut self, at: UnixMs, bytes: u64) {
        self.samples.retain(|sample| sample.at < at);
        self.samples.push(Sample { at, bytes });
        let excess = self.samples.len().saturating_sub(GROWTH_SAMPLES_MAX);
        self.samples.drain(..excess);
    }

    /// Returns the age of the last sample; `None` if there is none, or it is dated in the future.
    pub fn age(&self, now: UnixMs) -> Option<Duration> {
        now.0.checked_sub(self.samples.last()?.at.0).map(Duration::from_millis)
    }

    pub fn growth(&self) -> Growth {
        let Some(last) = self.samples.last() else { return Growth::default() };
        // Of a store that was off for long, the samples before do not show how it grows.
        let first = self.samples.iter().find(|sample| last.at.0 - sample.at.0 <= WEEK_MS).unwrap_or(last);
        let measured = Duration::from_millis(last.at.0.saturating_sub(first.at.0));
        let a_day = || {
            let grown = i128::from(last.bytes) - i128::from(first.bytes);
            let per_day = grown * DAY_MS / i128::try_from(measured.as_millis()).ok()?.max(1);
            i64::try_from(per_day.clamp(i64::MIN.into(), i64::MAX.into())).ok()
        };
        let bytes_per_day = if measured >= GROWTH_KNOWN_AFTER { a_day() } else { None };
        Growth { measured, stored_bytes: Some(last.bytes), bytes_per_day }
    }
}

impl Growth {
    /// Returns the time until `usable_bytes` more are stored. `None` if the growth is unknown, zero or negative.
    pub fn until(&self, usable_bytes: u64) -> Option<Duration> {
        let per_day = u64::try_from(self.bytes_per_day?).ok().filter(|per_day| *per_day > 0)?;
        let seconds = u128::from(usable_bytes) * (DAY_MS as u128 / 1000) / u128::from(per_day);
        Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Growth, History};
    use crate::limits::GROWTH_SAMPLES_MAX;
    use crate::storage::meta::record::{DocumentRow, Expect};
    use crate::types::UnixMs;
    use std::time::Duration;

    const HOUR_MS: u64 = 3_600_000;

    fn history(hours: u64, bytes_an_hour: u64) -> History {
        let mut history = History::default();
        (0..=hours).for_each(|hour| history.add(UnixMs(1 + hour * HOUR_MS), 5000 + hour * bytes_an_hour));
        history
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(3600 * hours)
    }

    #[test]
    fn growth_is_known_after_a_day_of_measurements_and_not_before() {
        assert_eq!(History::default().growth(), Growth::default());
        let early = history(23, 10).growth();
        assert_eq!(early, Growth { measured: hours(23), stored_bytes: Some(5230), bytes_per_day: None });
        assert_eq!(early.until(1), None);
        let growth = history(24, 10).growth();
        assert_eq!(growth, Growth { measured: hours(24), stored_bytes: Some(5240), bytes_per_day: Some(240) });
        assert_eq!(growth.until(2400), Some(hours(240)));
        assert!(growth.until(u64::MAX) > Some(hours(1 << 40)), "it does not overflow");
    }

    #[test]
    fn a_store_that_does_not_grow_has_no_time_until_full() {
        assert_eq!(history(30, 0).growth().until(5), None);
        let mut shrinking = history(24, 10);
        shrinking.add(UnixMs(1 + 48 * HOUR_MS), 0);
        assert_eq!(shrinking.growth().bytes_per_day, Some(-2500));
        assert_eq!(shrinking.growth().until(5), None);
    }

    #[test]
    fn the_growth_history_keeps_only_the_last_week() {
        let mut history = history(1000, 7);
        assert_eq!(history.samples.len(), GROWTH_SAMPLES_MAX);
        assert_eq!(history.growth().measured, hours(GROWTH_SAMPLES_MAX as u64 - 1));
        assert_eq!(history.growth().bytes_per_day, Some(7 * 24));
        // The store is off for a month.
        history.add(UnixMs(1 + 1720 * HOUR_MS), 10_000);
        assert_eq!(history.growth(), Growth { measured: hours(0), stored_bytes: Some(10_000), bytes_per_day: None });
    }

    #[test]
    fn a_growth_sample_dated_in_the_future_is_dropped_by_the_next() {
        let mut history = history(2, 10);
        history.add(UnixMs(u64::MAX), 1);
        assert_eq!(history.age(UnixMs(4 * HOUR_MS)), None, "a new sample is due");
        history.add(UnixMs(1 + 3 * HOUR_MS), 9);
        assert_eq!((history.samples.len(), history.growth().stored_bytes), (4, Some(9)));
        assert_eq!(history.age(UnixMs(1 + 4 * HOUR_MS)), Some(hours(1)));
    }

    #[test]
    fn the_encoding_of_the_growth_history_is_stable() {
        let mut history = History::default();
        history.add(UnixMs(7), 9);
        let write = history.write(None).expect("numbers");
        let value = write.value.expect("it is written");
        assert_eq!((&value[..], write.expect), (&b"\x01{\"samples\":[{\"at\":7,\"bytes\":9}]}"[..], Expect::Absent));
        let row = DocumentRow { revision: 3, value };
        assert_eq!(History::of(Some(&row)), history);
        assert_eq!(history.write(Some(&row)).expect("numbers").expect, Expect::Revision(3));
        assert_eq!(
            History::of(Some(&DocumentRow { revision: 3, value: b"\x02{}".as_slice().into() })),
            History::default()
        );
    }
}
