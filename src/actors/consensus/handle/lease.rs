//! How far a leader trusts its lease. The lease is measured by the monotonic clock, which stands still while the
//! machine is suspended; meanwhile the others may have elected another leader.

use std::time::Duration;

/// The greatest age of a leader's last contact with a majority at which the leader answers reads without asking a
/// majority again. Followers elect no other leader for `start::LEASE` after that contact; the difference between the
/// two allows for clocks that run at different speeds, and for `SLEEP_UNNOTICED`.
const LEASE_TRUSTED: Duration = Duration::from_millis(900);
/// The greatest time for which the machine may be suspended unnoticed: the two clocks are read one after the other.
const SLEEP_UNNOTICED: Duration = Duration::from_millis(50);

/// The trust in the lease.
#[derive(Debug)]
pub struct LeaseTrust {
    /// The least time of suspension that was seen since the last one was noticed.
    asleep: Duration,
    /// The end, by the monotonic clock, of the time in which contacts may be older than they seem.
    distrusted_until: Duration,
}

impl LeaseTrust {
    /// `asleep`: the time for which the machine has been suspended (`Clock::asleep`).
    pub fn new(asleep: Duration) -> Self {
        Self { asleep, distrusted_until: Duration::ZERO }
    }

    /// Returns the greatest age of a contact with a majority that suffices for a read; zero after the machine was
    /// suspended, until every contact from before that is too old. A suspension after this call does no harm: a read
    /// may show what was there when it began.
    pub fn age_max(&mut self, asleep: Duration, now: Duration) -> Duration {
        if asleep > self.asleep + SLEEP_UNNOTICED {
            tracing::warn!("this machine was suspended; a majority is asked before the metadata is read");
            self.asleep = asleep;
            self.distrusted_until = now + LEASE_TRUSTED;
        }
        self.asleep = self.asleep.min(asleep);
        if now < self.distrusted_until { Duration::ZERO } else { LEASE_TRUSTED }
    }
}

#[cfg(test)]
mod tests {
    use super::{LEASE_TRUSTED, LeaseTrust, SLEEP_UNNOTICED};
    use std::time::Duration;

    #[test]
    fn a_lease_from_before_a_suspension_is_not_trusted() {
        let ms = Duration::from_millis;
        let mut trust = LeaseTrust::new(ms(7_000));
        assert_eq!(trust.age_max(ms(7_000), ms(10)), LEASE_TRUSTED);
        assert_eq!(trust.age_max(ms(9_000), ms(20)), Duration::ZERO);
        assert_eq!(trust.age_max(ms(9_000), ms(919)), Duration::ZERO);
        assert_eq!(trust.age_max(ms(9_000), ms(920)), LEASE_TRUSTED);
        assert_eq!(trust.age_max(ms(9_100), ms(930)), Duration::ZERO, "suspended again");
    }

    #[test]
    fn short_suspensions_add_up_and_late_measurements_do_not_hide_one() {
        let (mut trust, end) = (LeaseTrust::new(Duration::ZERO), Duration::from_secs(1));
        let late = SLEEP_UNNOTICED;
        assert_eq!(trust.age_max(late, end), LEASE_TRUSTED);
        assert_eq!(trust.age_max(late + Duration::from_millis(1), end), Duration::ZERO);
        assert_eq!(trust.age_max(Duration::ZERO, end * 2), LEASE_TRUSTED, "it was only measured late");
        assert_eq!(trust.age_max(late + Duration::from_millis(1), end * 2), Duration::ZERO);
    }
}
