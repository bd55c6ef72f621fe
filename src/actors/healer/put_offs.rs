//! `PutOffs`: the repairs that are put off, and until when. A repair that was tried and failed is put off for twice as
//! long each time, so that what cannot be repaired is not read over and over. Pure.

use crate::types::ShardId;
use std::collections::BTreeMap;
use std::time::Duration;

/// The number of repairs that are remembered; further ones are tried again sooner.
const PUT_OFFS_MAX: usize = 16_384;

#[derive(Debug, Default)]
struct PutOff {
    /// The time until which the repair is put off, by the monotonic clock.
    until: Duration,
    /// The time for which the repair was put off when it last failed; zero if it was not tried.
    failed_for: Duration,
}

#[derive(Debug, Default)]
pub(super) struct PutOffs {
    shards: BTreeMap<ShardId, PutOff>,
}

impl PutOffs {
    /// Returns whether the repair of a shard is put off now.
    pub(super) fn is_put_off(&self, shard: ShardId, now: Duration) -> bool {
        self.shards.get(&shard).is_some_and(|put_off| put_off.until > now)
    }

    /// Returns the number of repairs that are put off now.
    pub(super) fn count(&self, now: Duration) -> usize {
        self.shards.values().filter(|put_off| put_off.until > now).count()
    }

    /// Puts off a repair that was not tried.
    pub(super) fn put_off(&mut self, shard: ShardId, until: Duration) {
        if let Some(put_off) = self.entry(shard) {
            put_off.until = until;
        }
    }

    /// Puts off a repair that failed: for `least` at first, and for twice as long each time, up to `most`.
    pub(super) fn failed(&mut self, shard: ShardId, now: Duration, least: Duration, most: Duration) {
        if let Some(put_off) = self.entry(shard) {
            put_off.failed_for = put_off.failed_for.saturating_mul(2).min(most).max(least);
            put_off.until = now + put_off.failed_for;
        }
    }

    /// Forgets the failures of a repair that has ended.
    pub(super) fn ended(&mut self, shard: ShardId) {
        self.shards.remove(&shard);
    }

    /// Ends all put-offs. Repairs that fail again are put off for longer, all the same.
    pub(super) fn end_all(&mut self, now: Duration) {
        self.shards.values_mut().for_each(|put_off| put_off.until = put_off.until.min(now));
    }

    /// Forgets the repairs whose put-off ended more than `kept` ago; if there is no room for others, all whose put-off
    /// has ended.
    pub(super) fn forget_old(&mut self, now: Duration, kept: Duration) {
        let kept = if self.shards.len() < PUT_OFFS_MAX { kept } else { Duration::ZERO };
        self.shards.retain(|_, put_off| put_off.until + kept > now);
    }

    /// Returns the entry of a shard; `None` if there is no room for another one.
    fn entry(&mut self, shard: ShardId) -> Option<&mut PutOff> {
        if self.shards.len() >= PUT_OFFS_MAX && !self.shards.contains_key(&shard) {
            return None;
        }
        Some(self.shards.entry(shard).or_default())
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
        assert!(put_offs.shards.is_empty());
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
}
