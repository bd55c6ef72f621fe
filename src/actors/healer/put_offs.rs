//! `PutOffs`: the repairs that are put off, and until when. A repair that was tried and failed is put off for twice as
//! long each time, so that what cannot be repaired is not read over and over. Pure.

use crate::types::ShardId;
use std::collections::BTreeMap;
use std::time::Duration;

/// The number of repairs of each kind (tried and failed, not tried) that are remembered; further ones are tried again
/// sooner.
const PUT_OFFS_MAX: usize = 16_384;

/// A repair that was tried and failed.
#[derive(Debug, Default)]
struct Failed {
    /// The time until which the repair is put off, by the monotonic clock.
    until: Duration,
    /// The time for which the repair was put off when it last failed.
    failed_for: Duration,
}

#[derive(Debug, Default)]
pub(super) struct PutOffs {
    /// A full table keeps the repairs that failed most often.
    failed: BTreeMap<ShardId, Failed>,
    /// The repairs that were not tried, and until when they are put off. None of them is in `failed`.
    untried: BTreeMap<ShardId, Duration>,
}

impl PutOffs {
    /// Returns whether the repair of a shard is put off now.
    pub(super) fn is_put_off(&self, shard: ShardId, now: Duration) -> bool {
        let failed = self.failed.get(&shard).map(|failed| failed.until);
        failed.or_else(|| self.untried.get(&shard).copied()).is_some_and(|until| until > now)
    }

    /// Returns the number of repairs that are put off now.
    pub(super) fn count(&self, now: Duration) -> usize {
        let failed = self.failed.values().filter(|failed| failed.until > now).count();
        failed + self.untried.values().filter(|until| **until > now).count()
    }

    /// Puts off a repair that was not tried this time.
    pub(super) fn put_off(&mut self, shard: ShardId, until: Duration) {
        if let Some(failed) = self.failed.get_mut(&shard) {
            failed.until = until;
        } else if self.untried.len() < PUT_OFFS_MAX || self.untried.contains_key(&shard) {
            self.untried.insert(shard, until);
        }
    }

    /// Puts off a repair that failed: for `least` at first, and for twice as long each time, up to `most`.
    pub(super) fn failed(&mut self, shard: ShardId, now: Duration, least: Duration, most: Duration) {
        self.untried.remove(&shard);
        if !self.failed.contains_key(&shard) && !self.make_room(now, least) {
            return;
        }
        let failed = self.failed.entry(shard).or_default();
        failed.failed_for = failed.failed_for.saturating_mul(2).min(most).max(least);
        failed.until = now + failed.failed_for;
    }

    /// Forgets the failures of a repair that has ended.
    pub(super) fn ended(&mut self, shard: ShardId) {
        self.failed.remove(&shard);
        self.untried.remove(&shard);
    }

    /// Ends all put-offs. Repairs that fail again are put off for longer, all the same.
    pub(super) fn end_all(&mut self, now: Duration) {
        self.failed.values_mut().for_each(|failed| failed.until = failed.until.min(now));
        self.untried.clear();
    }

    /// Forgets the failed repairs whose put-off ended more than `kept` ago, and the others whose put-off has ended.
    pub(super) fn forget_old(&mut self, now: Duration, kept: Duration) {
        self.failed.retain(|_, failed| failed.until + kept > now);
        self.untried.retain(|_, until| *until > now);
    }

    /// Makes room for a repair that failed once, in place of another one that failed once and is not put off any more.
    /// Returns whether there is room.
    fn make_room(&mut self, now: Duration, least: Duration) -> bool {
        if self.failed.len() < PUT_OFFS_MAX {
            return true;
        }
        let shortest = self.failed.iter().min_by_key(|(_, failed)| (failed.failed_for, failed.until));
        let replaced = shortest.filter(|(_, failed)| failed.failed_for <= least && failed.until <= now);
        let Some(shard) = replaced.map(|(shard, _)| *shard) else { return false };
        self.failed.remove(&shard);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{PUT_OFFS_MAX, PutOffs};
    use crate::types::{BlobId, ShardId, ShardNumber};
    use std::time::Duration;

    const LEAST: Duration = Duration::from_secs(10);
    const MOST: Duration = Duration::from_secs(300);

    fn shard(blob: u128) -> ShardId {
        ShardId { blob: BlobId(blob), shard: ShardNumber(0) }
    }

    #[test]
    fn a_repair_that_fails_again_is_put_off_for_twice_as_long_up_to_a_bound() {
        let (mut put_offs, mut now) = (PutOffs::default(), Duration::from_secs(1000));
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            put_offs.failed(shard(1), now, LEAST, MOST);
            let until = now + Duration::from_secs(seconds);
            assert!(put_offs.is_put_off(shard(1), until - Duration::from_millis(1)), "{seconds} s");
            assert!(!put_offs.is_put_off(shard(1), until), "{seconds} s");
            now = until;
            put_offs.forget_old(now, MOST);
        }
        put_offs.put_off(shard(1), now + LEAST);
        assert_eq!((put_offs.count(now), put_offs.count(now + LEAST)), (1, 0), "it was not tried");
        put_offs.end_all(now);
        assert!(!put_offs.is_put_off(shard(1), now));
        put_offs.failed(shard(1), now, LEAST, MOST);
        assert!(put_offs.is_put_off(shard(1), now + MOST - LEAST), "its failures are remembered");
        put_offs.ended(shard(1));
        put_offs.failed(shard(1), now, LEAST, MOST);
        assert!(!put_offs.is_put_off(shard(1), now + LEAST), "it begins anew once the shard was whole");
        put_offs.forget_old(now + LEAST + MOST, MOST);
        assert!(put_offs.failed.is_empty());
    }

    #[test]
    fn the_number_of_remembered_repairs_is_bounded_and_old_ones_make_room() {
        let (mut put_offs, now) = (PutOffs::default(), Duration::from_secs(1000));
        let last = PUT_OFFS_MAX as u128;
        (0..=last).for_each(|blob| put_offs.failed(shard(blob), now, LEAST, MOST));
        assert_eq!(put_offs.count(now), PUT_OFFS_MAX);
        assert!(!put_offs.is_put_off(shard(last), now));
        put_offs.forget_old(now, MOST);
        assert_eq!(put_offs.count(now), PUT_OFFS_MAX);
        put_offs.forget_old(now + LEAST, MOST);
        put_offs.failed(shard(last), now + LEAST, LEAST, MOST);
        assert!(put_offs.is_put_off(shard(last), now + LEAST));
    }

    #[test]
    fn a_full_table_of_put_offs_keeps_the_repairs_that_failed_most() {
        let (mut put_offs, now) = (PutOffs::default(), Duration::from_secs(1000));
        let last = PUT_OFFS_MAX as u128;
        (0..=last).for_each(|blob| put_offs.put_off(shard(blob), now + LEAST));
        assert_eq!(put_offs.count(now), PUT_OFFS_MAX);
        (0..last).for_each(|blob| put_offs.failed(shard(last + blob), now, LEAST, MOST));
        assert_eq!(put_offs.count(now), 2 * PUT_OFFS_MAX, "repairs that were not tried take no room of others");
        let later = now + LEAST;
        (1..last).for_each(|blob| put_offs.failed(shard(last + blob), later, LEAST, MOST));
        for (blob, is_put_off) in [(2 * last, true), (2 * last + 1, false)] {
            put_offs.failed(shard(blob), later, LEAST, MOST);
            assert_eq!(put_offs.is_put_off(shard(blob), later), is_put_off, "there is room for one");
        }
        assert!(!put_offs.is_put_off(shard(last), later), "it failed least");
        let again = later + 2 * LEAST;
        put_offs.forget_old(again, MOST);
        put_offs.failed(shard(last + 1), again, LEAST, MOST);
        assert!(put_offs.is_put_off(shard(last + 1), again + 3 * LEAST), "its failures are remembered");
    }
}
