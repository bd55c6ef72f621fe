//! The daily samples of the largest buckets' sizes, one document of the metadata for each day, and the growth computed
//! from them. Pure.

use crate::actors::documents::{self, DocumentError};
use crate::limits::{GROWTH_BUCKETS_MAX, GROWTH_DAYS, GROWTH_KNOWN_AFTER};
use crate::storage::kv::KvResult;
use crate::storage::meta::record::{DocumentKey, DocumentWrite, Expect, Usage};
use crate::storage::meta::view::MetaView;
use crate::types::{BucketId, UnixMs};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const NAME: &str = "growth-of-buckets/";
const DAY_MS: u64 = 24 * 3600 * 1000;

/// The sizes of the largest buckets on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSample {
    at: UnixMs,
    /// For each bucket its number, the bytes of all versions, and the count of current objects; in order of the number.
    /// At most `GROWTH_BUCKETS_MAX`.
    buckets: Vec<(BucketId, u64, u64)>,
}

/// Collects a sample: it keeps the largest `GROWTH_BUCKETS_MAX` of the buckets that are added.
#[derive(Debug, Default)]
pub struct LargestBuckets(BinaryHeap<Reverse<(u64, u64, BucketId)>>);

/// The growth of one bucket per day; negative if the bucket shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketGrowth {
    pub bytes_per_day: i64,
    pub objects_per_day: i64,
}

/// The samples of the last days, oldest first.
#[derive(Clone, Debug, Default)]
pub struct BucketHistory(Vec<BucketSample>);

impl LargestBuckets {
    pub fn add(&mut self, bucket: BucketId, usage: Usage) {
        self.0.push(Reverse((usage.bytes, usage.objects, bucket)));
        if self.0.len() > GROWTH_BUCKETS_MAX {
            self.0.pop();
        }
    }

    pub fn sample(self, at: UnixMs) -> BucketSample {
        let of_heap = |Reverse((bytes, objects, bucket))| (bucket, bytes, objects);
        let mut buckets: Vec<_> = self.0.into_iter().map(of_heap).collect();
        buckets.sort_unstable();
        BucketSample { at, buckets }
    }
}

impl BucketSample {
    /// Returns the key of the document for the day of `at`. A document is overwritten `GROWTH_DAYS` days later.
    pub fn key(at: UnixMs) -> DocumentKey {
        key_of(at.0 / DAY_MS % GROWTH_DAYS)
    }

    /// Returns whether a sample was taken on the day of `now`.
    pub fn is_taken(view: &MetaView, now: UnixMs) -> KvResult<bool> {
        let sample = read(view, &Self::key(now))?;
        Ok(sample.is_some_and(|sample| sample.at.0 / DAY_MS == now.0 / DAY_MS))
    }

    /// Returns the write of the sample. It is unconditional: it may replace another leader's sample of the same day,
    /// which is as good.
    pub fn write(&self) -> Result<DocumentWrite, DocumentError> {
        Ok(DocumentWrite { key: Self::key(self.at), expect: Expect::Any, value: Some(documents::encode(self)?) })
    }

    fn of(&self, bucket: BucketId) -> Option<(u64, u64)> {
        let found = self.buckets.binary_search_by_key(&bucket, |(id, ..)| *id).ok()?;
        let (_, bytes, objects) = self.buckets[found];
        Some((bytes, objects))
    }
}

fn key_of(slot: u64) -> DocumentKey {
    DocumentKey::System(format!("{NAME}{slot}"))
}

/// Reads the sample of a day. `None` if there is none, or if it cannot be decoded.
fn read(view: &MetaView, key: &DocumentKey) -> KvResult<Option<BucketSample>> {
    let Some(row) = view.document(key)? else { return Ok(None) };
    let read = documents::decode(&row.value);
    Ok(read
        .inspect_err(|error| tracing::warn!(%error, "cannot read a daily sample of bucket sizes; it is ignored"))
        .ok())
}

impl BucketHistory {
    /// Reads the samples of the last days. Samples dated in the future, by a clock that was ahead, are ignored.
    pub fn read(view: &MetaView, now: UnixMs) -> KvResult<Self> {
        let mut samples = Vec::new();
        for slot in 0..GROWTH_DAYS {
            samples.extend(read(view, &key_of(slot))?);
        }
        Ok(Self::of_samples(samples, now))
    }

    fn of_samples(mut samples: Vec<BucketSample>, now: UnixMs) -> Self {
        samples.retain(|sample| sample.at <= now && now.0 - sample.at.0 <= GROWTH_DAYS * DAY_MS);
        samples.sort_unstable_by_key(|sample| sample.at);
        Self(samples)
    }

    /// Returns the growth of a bucket whose size is `usage` now: since its creation if the bucket is younger than the
    /// history, else since the oldest sample that lists it. `None` if that is less than a day ago, or no sample lists
    /// the bucket.
    pub fn growth(&self, bucket: BucketId, created: UnixMs, usage: Usage, now: UnixMs) -> Option<BucketGrowth> {
        let oldest = || self.0.iter().find_map(|sample| Some((sample.at, sample.of(bucket)?)));
        let is_young = now.0.saturating_sub(created.0) <= GROWTH_DAYS * DAY_MS;
        let (at, (bytes, objects)) = if is_young { (created, (0, 0)) } else { oldest()? };
        let measured_ms = now.0.checked_sub(at.0).filter(|ms| u128::from(*ms) >= GROWTH_KNOWN_AFTER.as_millis())?;
        let per_day = |now: u64, then: u64| {
            let grown = (i128::from(now) - i128::from(then)) * i128::from(DAY_MS) / i128::from(measured_ms.max(1));
            i64::try_from(grown.clamp(i64::MIN.into(), i64::MAX.into())).unwrap_or_default()
        };
        Some(BucketGrowth {
            bytes_per_day: per_day(usage.bytes, bytes),
            objects_per_day: per_day(usage.objects, objects),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BucketGrowth, BucketHistory, BucketSample, DAY_MS, LargestBuckets};
    use crate::limits::{GROWTH_BUCKETS_MAX, GROWTH_DAYS, LARGE_DOCUMENT_BYTES_MAX};
    use crate::storage::meta::record::Usage;
    use crate::types::{BucketId, UnixMs};

    const OLD: UnixMs = UnixMs(1);
    const NOW: u64 = 1000 * DAY_MS;

    fn usage(bytes: u64, objects: u64) -> Usage {
        Usage { bytes, objects, versions: 0, parts_bytes: 0 }
    }

    fn sample(days_ago: u64, buckets: &[(u64, u64, u64)]) -> BucketSample {
        let mut largest = LargestBuckets::default();
        buckets.iter().for_each(|(id, bytes, objects)| largest.add(BucketId(*id), usage(*bytes, *objects)));
        largest.sample(UnixMs(NOW - days_ago * DAY_MS))
    }

    #[test]
    fn bucket_growth_is_measured_from_the_oldest_sample_with_the_bucket() {
        let samples = vec![sample(1, &[(1, 500, 5), (2, 9, 9)]), sample(4, &[(1, 100, 9)]), sample(0, &[(3, 1, 1)])];
        let history = BucketHistory::of_samples(samples, UnixMs(NOW));
        let growth = |id, held| history.growth(BucketId(id), OLD, held, UnixMs(NOW));
        assert_eq!(growth(1, usage(900, 5)), Some(BucketGrowth { bytes_per_day: 200, objects_per_day: -1 }));
        assert_eq!(growth(2, usage(0, 0)), Some(BucketGrowth { bytes_per_day: -9, objects_per_day: -9 }));
        assert_eq!(growth(3, usage(2, 2)), None, "it was measured less than a day ago");
        assert_eq!(growth(4, usage(2, 2)), None, "it was never among the largest");
    }

    #[test]
    fn a_bucket_younger_than_the_history_has_grown_from_zero() {
        let history = BucketHistory::of_samples(vec![sample(6, &[(1, 500, 5)])], UnixMs(NOW));
        let made = |days_ago: u64| UnixMs(NOW - days_ago * DAY_MS);
        let growth = |created| history.growth(BucketId(2), created, usage(600, 6), UnixMs(NOW));
        assert_eq!(growth(made(2)), Some(BucketGrowth { bytes_per_day: 300, objects_per_day: 3 }));
        assert_eq!(growth(UnixMs(made(1).0 + 1)), None, "a millisecond less than a day");
        assert_eq!(growth(made(GROWTH_DAYS + 1)), None);
        assert_eq!(growth(UnixMs(NOW + 1)), None, "by a clock that was ahead");
    }

    #[test]
    fn bucket_samples_that_are_too_old_or_in_the_future_are_ignored() {
        let old = sample(GROWTH_DAYS + 1, &[(1, 1, 1)]);
        let ahead = BucketSample { at: UnixMs(NOW + 1), ..old.clone() };
        assert!(BucketHistory::of_samples(vec![old, ahead], UnixMs(NOW)).0.is_empty());
    }

    #[test]
    fn a_bucket_sample_keeps_the_largest_buckets_and_fits_a_document() {
        let mut largest = LargestBuckets::default();
        for id in 0..2 * GROWTH_BUCKETS_MAX as u64 {
            largest.add(BucketId(u64::MAX - id), usage(u64::MAX - id, u64::MAX));
            assert!(largest.0.len() <= GROWTH_BUCKETS_MAX);
        }
        let sample = largest.sample(UnixMs(u64::MAX));
        assert_eq!(sample.buckets.len(), GROWTH_BUCKETS_MAX);
        assert!(sample.of(BucketId(u64::MAX)).is_some() && sample.buckets.is_sorted());
        let bytes = sample.write().expect("numbers").value.expect("it is written").len();
        assert!(bytes <= LARGE_DOCUMENT_BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn the_encoding_of_a_bucket_sample_is_stable() {
        let value = sample(1000, &[(7, 9, 1)]).write().expect("numbers").value.expect("it is written");
        assert_eq!(&value[..], b"\x01{\"at\":0,\"buckets\":[[7,9,1]]}");
    }
}
