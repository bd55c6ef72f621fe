//! A token bucket, represented by the time at which it will be full (the generic cell rate algorithm, ITU-T I.371,
//! appendix A). Pure: the caller passes the time.

use std::time::Duration;

/// The burst that unused capacity allows: a bucket holds the tokens of one second.
const BURST: Duration = Duration::from_secs(1);
const NANOS: u128 = 1_000_000_000;

/// This host's share of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u64,
    /// The number of hosts that share the limit equally.
    pub shares: u32,
}

impl Rate {
    /// Returns the time in which this amount passes at the rate.
    fn lasts(self, amount: u64) -> Duration {
        let nanos = u128::from(amount) * u128::from(self.shares) * NANOS / u128::from(self.per_second.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The usage of one limit. The rate is passed with each call, so a changed limit applies at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The time at which the bucket will be full again.
    full_at: Duration,
}

impl Schedule {
    /// Takes the whole amount now, or nothing. A full bucket allows any amount.
    pub fn try_pass(&mut self, now: Duration, amount: u64, rate: Rate) -> bool {
        let full_at = self.full_at.max(now).saturating_add(rate.lasts(amount));
        let passes = self.full_at <= now || full_at.saturating_sub(now) <= BURST;
        if passes {
            self.full_at = full_at;
        }
        passes
    }

    /// Queues an amount behind all earlier ones; returns the time until it may pass.
    pub fn queue(&mut self, now: Duration, amount: u64, rate: Rate) -> Duration {
        self.full_at = self.full_at.max(now).saturating_add(rate.lasts(amount));
        self.backlog(now)
    }

    /// Returns how long bytes that arrive now would wait.
    pub fn backlog(&self, now: Duration) -> Duration {
        self.full_at.saturating_sub(now).saturating_sub(BURST)
    }

    /// Gives back an amount that was queued and will not be used.
    pub fn give_back(&mut self, amount: u64, rate: Rate) {
        self.full_at = self.full_at.saturating_sub(rate.lasts(amount));
    }

    /// Returns whether the bucket is full, like a new one.
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, Schedule};
    use std::time::Duration;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn rate(per_second: u64, shares: u32) -> Rate {
        Rate { per_second, shares }
    }

    /// Counts the requests that pass at this time.
    fn passing(schedule: &mut Schedule, now: Duration, rate: Rate) -> usize {
        (0..100).filter(|_| schedule.try_pass(now, 1, rate)).count()
    }

    #[test]
    fn a_burst_of_one_second_passes_then_the_steady_rate() {
        let mut schedule = Schedule::default();
        assert_eq!(passing(&mut schedule, ms(5000), rate(10, 1)), 10);
        assert_eq!([5099, 5100, 5500, 60_000].map(|now| passing(&mut schedule, ms(now), rate(10, 1))), [0, 1, 4, 10]);
        assert!(!schedule.is_full(ms(60_999)) && schedule.is_full(ms(61_000)));
    }

    #[test]
    fn refused_requests_take_no_tokens() {
        let mut schedule = Schedule::default();
        let mut passed = 0;
        for at in 0..10_000 {
            passed += usize::from(schedule.try_pass(ms(at), 1, rate(5, 1)));
        }
        assert_eq!(passed, 5 + 49, "five at first, then one every 200 ms");
    }

    #[test]
    fn a_host_enforces_its_share_even_below_one_per_second() {
        let mut schedule = Schedule::default();
        assert_eq!(passing(&mut schedule, ms(0), rate(9, 3)), 3);
        let mut schedule = Schedule::default();
        let passed = [0, 1000, 2999, 3000, 5999, 6000].map(|now| passing(&mut schedule, ms(now), rate(1, 3)));
        assert_eq!(passed, [1, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn bytes_wait_behind_earlier_bytes() {
        let mut schedule = Schedule::default();
        let waits = [500, 500, 500, 1000].map(|bytes| schedule.queue(ms(0), bytes, rate(1000, 1)));
        assert_eq!(waits, [ms(0), ms(0), ms(500), ms(1500)]);
        assert_eq!(schedule.queue(ms(1500), 100, rate(1000, 1)), ms(100));
        assert_eq!(
            schedule.queue(ms(9000), 1000, rate(1000, 1)),
            ms(0),
            "what was not used for long is a second's worth"
        );
        assert_eq!(schedule.queue(ms(9000), 1000, rate(2000, 1)), ms(500), "at twice the rate");
    }

    #[test]
    fn tokens_given_back_shorten_the_wait_of_later_bytes() {
        let mut schedule = Schedule::default();
        assert_eq!([(); 3].map(|()| schedule.queue(ms(0), 1000, rate(1000, 1))), [ms(0), ms(1000), ms(2000)]);
        schedule.give_back(1000, rate(1000, 1));
        assert_eq!(schedule.queue(ms(0), 1000, rate(1000, 1)), ms(2000));
        schedule.give_back(u64::MAX, rate(1, 1));
        assert_eq!(schedule, Schedule::default());
    }

    #[test]
    fn the_arithmetic_of_rates_does_not_overflow() {
        let mut schedule = Schedule::default();
        assert!(schedule.try_pass(ms(1), u64::MAX, rate(1, u32::MAX)), "a full bucket lets anything pass");
        assert!(schedule.queue(ms(1), u64::MAX, rate(0, u32::MAX)) > Duration::from_secs(1 << 30));
        assert_eq!(Schedule::default().queue(ms(1), 1, rate(u64::MAX, 1)), ms(0));
    }
}
