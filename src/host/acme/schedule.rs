//! When a certificate is ordered: when a third of its life is left, and after a failure later each time. Pure.

use crate::api::Validity;
use crate::limits::ACME_RETRY_MAX;
use std::time::Duration;

/// Returns the time of the renewal, in Unix seconds.
pub(super) fn renewal_at(validity: Validity) -> i64 {
    let life = validity.ends_at.saturating_sub(validity.begins_at).max(0);
    validity.ends_at.saturating_sub(life / 3)
}

/// Returns the pause after so many failed orders, the last included. `asked`: the pause that the server wants.
pub(super) fn pause_after(failures: u32, first: Duration, asked: Option<Duration>) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.max(asked.unwrap_or_default()).min(ACME_RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::{pause_after, renewal_at};
    use crate::api::Validity;
    use crate::limits::ACME_RETRY_MAX;
    use std::time::Duration;

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        let day = 86_400;
        assert_eq!(renewal_at(Validity { begins_at: 100 * day, ends_at: 190 * day }), 160 * day);
        assert_eq!(renewal_at(Validity { begins_at: 0, ends_at: 6 * day }), 4 * day);
        // One that makes no sense is renewed at its end at the latest.
        assert_eq!(renewal_at(Validity { begins_at: 9, ends_at: 3 }), 3);
        assert_eq!(renewal_at(Validity { begins_at: i64::MIN, ends_at: i64::MIN }), i64::MIN);
    }

    #[test]
    fn failures_are_followed_by_longer_pauses_and_at_least_what_the_server_asks_for() {
        let first = Duration::from_secs(300);
        let pause = |failures| pause_after(failures, first, None);
        assert_eq!((pause(1), pause(2), pause(3)), (first, 2 * first, 4 * first));
        assert_eq!((pause(100), pause(u32::MAX)), (ACME_RETRY_MAX, ACME_RETRY_MAX));
        let hour = Duration::from_secs(3600);
        assert_eq!(pause_after(1, first, Some(hour)), hour);
        assert_eq!(pause_after(1, first, Some(Duration::from_secs(1))), first);
        assert_eq!(pause_after(1, first, Some(1000 * hour)), ACME_RETRY_MAX);
    }
}
