//! The rate limiter of this host: the usage of each account and bucket that has limits.

use super::limits::RateLimits;
use super::schedule::{Rate, Schedule};
use crate::ambient::Clock;
use crate::limits::{RATE_PIECE_BYTES, RATE_SHARES_KNOWN_FOR, RATE_WAIT_MAX};
use crate::metrics::{RATE_DELAYED_BYTES, RATE_REFUSED_REQUESTS};
use crate::types::BucketId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The number of calls of `admit` after which the usage of idle accounts and buckets is forgotten.
const FORGET_EVERY: u64 = 256;

/// An account or a bucket with limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Limited {
    /// The id of an account.
    Account(Arc<str>),
    Bucket(BucketId),
}

impl Limited {
    /// Returns the name of the kind in metrics.
    fn kind(&self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Bucket(_) => "bucket",
        }
    }
}

/// The refusal of a request that is over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit;

/// The usage of accounts and buckets with limits. Usage is forgotten soon after the last request.
#[derive(Debug)]
pub struct RateLimiter {
    clock: Arc<dyn Clock>,
    usage: Mutex<AllUsage>,
    /// The number of hosts that share the limits, and when it was counted.
    shares: Mutex<Option<(Duration, u32)>>,
}

#[derive(Debug, Default)]
struct AllUsage {
    by_limited: HashMap<Limited, Arc<Mutex<Usage>>>,
    admitted: u64,
}

#[derive(Debug, Default)]
struct Usage {
    active: u64,
    requests: Schedule,
    received: Schedule,
    sent: Schedule,
}

impl Usage {
    fn schedule(&mut self, direction: Direction) -> &mut Schedule {
        match direction {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        }
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.active == 0 && [&self.requests, &self.received, &self.sent].iter().all(|schedule| schedule.is_full(now))
    }
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic can only leave a number slightly wrong.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RateLimiter {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        // Each series begins at 0: Prometheus shows an increase only of a series that existed before.
        for (kind, limit) in
            [("account", "active"), ("account", "requests"), ("bucket", "active"), ("bucket", "requests")]
        {
            RATE_REFUSED_REQUESTS.with_label_values(&[kind, limit]).inc_by(0);
        }
        Self { clock, usage: Mutex::default(), shares: Mutex::default() }
    }

    /// Returns the number of hosts that share the limits. It is counted again if the last count is too old.
    pub fn shares<E>(&self, count: impl FnOnce() -> Result<u32, E>) -> Result<u32, E> {
        let now = self.clock.monotonic();
        if let Some((at, shares)) = *locked(&self.shares)
            && now.saturating_sub(at) < RATE_SHARES_KNOWN_FOR
        {
            return Ok(shares);
        }
        let shares = count()?.max(1);
        *locked(&self.shares) = Some((now, shares));
        Ok(shares)
    }

    /// Admits a request, which counts as active until the returned value is dropped, or refuses it.
    pub fn admit(&self, limited: Limited, limits: RateLimits, shares: u32) -> Result<Admitted, OverLimit> {
        let (now, kind) = (self.clock.monotonic(), limited.kind());
        let usage = locked(&self.usage).of(limited, now);
        let refused = {
            let mut usage = locked(&usage);
            let shared = |most: u64| (most / u64::from(shares.max(1))).max(1);
            let active_max = limits.requests_active_max.into_iter().chain(paced_max(limits)).min().map(shared);
            let rate = limits.requests_per_second.map(|per_second| Rate { per_second, shares });
            let backlog = usage.received.backlog(now).max(usage.sent.backlog(now));
            if active_max.is_some_and(|most| usage.active >= most) || backlog > RATE_WAIT_MAX {
                Some("active")
            } else if rate.is_some_and(|rate| !usage.requests.try_pass(now, 1, rate)) {
                Some("requests")
            } else {
                usage.active += 1;
                None
            }
        };
        if let Some(limit) = refused {
            RATE_REFUSED_REQUESTS.with_label_values(&[kind, limit]).inc();
            return Err(OverLimit);
        }
        Ok(Admitted { usage, limits, shares, kind, clock: Arc::clone(&self.clock) })
    }
}

/// Returns the most active requests under a limit of bytes: each of them gets a piece of its body within
/// `RATE_WAIT_MAX`. A waiting request holds its resources, so there must not be more.
fn paced_max(limits: RateLimits) -> Option<u64> {
    let per_second = [limits.received_bytes_per_second, limits.sent_bytes_per_second].into_iter().flatten().min()?;
    Some(per_second.saturating_mul(RATE_WAIT_MAX.as_secs()) / RATE_PIECE_BYTES as u64)
}

impl AllUsage {
    fn of(&mut self, limited: Limited, now: Duration) -> Arc<Mutex<Usage>> {
        self.admitted += 1;
        if self.admitted.is_multiple_of(FORGET_EVERY) {
            // Usage that a request is about to use has further references, and is kept.
            self.by_limited.retain(|_, usage| Arc::strong_count(usage) > 1 || !locked(usage).is_idle(now));
        }
        Arc::clone(self.by_limited.entry(limited).or_default())
    }
}

/// The direction of a body: received from the client, or sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Received,
    Sent,
}

impl Direction {
    /// Returns the name of the direction in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
        }
    }
}

/// An active request, under the limits of one account or bucket.
#[derive(Debug)]
pub struct Admitted {
    usage: Arc<Mutex<Usage>>,
    limits: RateLimits,
    shares: u32,
    kind: &'static str,
    clock: Arc<dyn Clock>,
}

impl Admitted {
    pub fn limits(&self, direction: Direction) -> bool {
        self.per_second(direction).is_some()
    }

    fn per_second(&self, direction: Direction) -> Option<u64> {
        match direction {
            Direction::Received => self.limits.received_bytes_per_second,
            Direction::Sent => self.limits.sent_bytes_per_second,
        }
    }

    /// Counts bytes against the limit; returns how long they must wait.
    pub fn queue(&self, direction: Direction, bytes: usize) -> Duration {
        let Some(per_second) = self.per_second(direction) else { return Duration::ZERO };
        let (now, rate) = (self.clock.monotonic(), Rate { per_second, shares: self.shares });
        locked(&self.usage).schedule(direction).queue(now, bytes as u64, rate)
    }

    /// Gives back the tokens of bytes that were counted and will not be transferred.
    pub fn give_back(&self, direction: Direction, bytes: usize) {
        let Some(per_second) = self.per_second(direction) else { return };
        locked(&self.usage).schedule(direction).give_back(bytes as u64, Rate { per_second, shares: self.shares });
    }

    /// Counts delayed bytes in the metrics.
    pub fn delayed(&self, direction: Direction, bytes: usize) {
        RATE_DELAYED_BYTES.with_label_values(&[self.kind, direction.name()]).inc_by(bytes as u64);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        locked(&self.usage).active -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{FORGET_EVERY, Limited, OverLimit, RateLimiter, locked};
    use crate::ambient::Clock;
    use crate::api::rates::{Direction, RateLimits};
    use crate::limits::{RATE_PIECE_BYTES, RATE_WAIT_MAX};
    use crate::types::{BucketId, UnixMs};
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[derive(Debug, Default)]
    struct ManualClock(AtomicU64);

    impl Clock for ManualClock {
        fn unix_ms(&self) -> UnixMs {
            UnixMs(0)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    fn account(id: &str) -> Limited {
        Limited::Account(id.into())
    }

    #[test]
    fn requests_over_a_rate_are_refused_for_that_account_only() {
        let clock = Arc::new(ManualClock::default());
        let limiter = RateLimiter::new(clock.clone());
        let limits = RateLimits { requests_per_second: Some(2), ..RateLimits::default() };
        let admits = |limited| limiter.admit(limited, limits, 1).is_ok();
        assert_eq!([(); 3].map(|()| admits(account("1"))), [true, true, false]);
        assert!(admits(account("2")) && admits(Limited::Bucket(BucketId(1))));
        clock.0.store(500, Ordering::Relaxed);
        assert_eq!([(); 2].map(|()| admits(account("1"))), [true, false]);
    }

    #[test]
    fn active_requests_are_limited_until_they_end() {
        let limiter = RateLimiter::new(Arc::new(ManualClock::default()));
        let limits = RateLimits { requests_active_max: Some(2), ..RateLimits::default() };
        let first = limiter.admit(account("1"), limits, 1).expect("the first");
        let _second = limiter.admit(account("1"), limits, 1).expect("the second");
        assert_eq!(limiter.admit(account("1"), limits, 1).err(), Some(OverLimit));
        drop(first);
        let _third = limiter.admit(account("1"), limits, 1).expect("there is room again");
        assert_eq!(limiter.admit(account("1"), limits, 3).err(), Some(OverLimit));
        let _one = limiter.admit(account("2"), limits, 3).expect("one always may");
    }

    #[test]
    fn a_limit_of_bytes_also_limits_active_requests() {
        let limiter = RateLimiter::new(Arc::new(ManualClock::default()));
        let limits = RateLimits { received_bytes_per_second: Some(RATE_PIECE_BYTES as u64), ..RateLimits::default() };
        let admitted: Vec<_> = (0..100).map_while(|_| limiter.admit(account("1"), limits, 1).ok()).collect();
        assert_eq!(admitted.len() as u64, RATE_WAIT_MAX.as_secs());
        drop(admitted);
        let on_one_of_five = (0..100).map_while(|_| limiter.admit(account("1"), limits, 5).ok()).collect::<Vec<_>>();
        assert_eq!(on_one_of_five.len() as u64, RATE_WAIT_MAX.as_secs() / 5);
    }

    #[test]
    fn transfers_of_one_account_share_its_limit_of_bytes() {
        let limiter = RateLimiter::new(Arc::new(ManualClock::default()));
        let limits = RateLimits { sent_bytes_per_second: Some(100_000), ..RateLimits::default() };
        let streams = [(); 2].map(|()| limiter.admit(account("1"), limits, 1).expect("no limit of requests"));
        let waits = streams.each_ref().map(|stream| stream.queue(Direction::Sent, 100_000));
        assert_eq!(waits, [Duration::ZERO, Duration::from_secs(1)]);
        assert_eq!(streams[0].queue(Direction::Received, 1 << 40), Duration::ZERO, "it has no limit of these");
        assert!(streams[0].limits(Direction::Sent) && !streams[0].limits(Direction::Received));
    }

    #[test]
    fn usage_of_idle_accounts_is_forgotten() {
        let clock = Arc::new(ManualClock::default());
        let limiter = RateLimiter::new(clock.clone());
        let limits = RateLimits { requests_per_second: Some(1), ..RateLimits::default() };
        let held = limiter.admit(account("held"), limits, 1).expect("the first");
        for number in 0..10 * FORGET_EVERY {
            clock.0.fetch_add(100, Ordering::Relaxed);
            limiter.admit(account(&number.to_string()), limits, 1).expect("the first of each");
            assert!(locked(&limiter.usage).by_limited.len() as u64 <= FORGET_EVERY + 20);
        }
        assert!(locked(&limiter.usage).by_limited.contains_key(&account("held")), "it is under way");
        drop(held);
    }

    #[test]
    fn the_hosts_sharing_a_limit_are_counted_at_most_once_a_second() {
        let clock = Arc::new(ManualClock::default());
        let limiter = RateLimiter::new(clock.clone());
        let shares = |count| limiter.shares(|| Ok::<_, Infallible>(count)).expect("it does not fail");
        assert_eq!([shares(3), shares(2)], [3, 3]);
        clock.0.store(1000, Ordering::Relaxed);
        assert_eq!([shares(0), shares(2)], [1, 1], "this host is one");
        assert_eq!(limiter.shares(|| Err(())), Ok(1));
    }
}
