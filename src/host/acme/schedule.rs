//! When a failed order is made again: later each time, but often enough while the certificate in use lasts. Pure.

use crate::limits::ACME_RETRY_MAX;
use std::time::Duration;

/// The pause of an order that failed is at most this part of the time that the certificate in use has left.
const LEFT_DIVISOR: u32 = 10;

/// Returns the pause after so many failed orders, the last included. `left`: the time until the certificate in use
/// ends, if there is one. `asked`: the pause that the server wants, which is kept to.
pub(super) fn pause_after(failures: u32, first: Duration, left: Option<Duration>, asked: Option<Duration>) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let most = left.map_or(ACME_RETRY_MAX, |left| (left / LEFT_DIVISOR).max(first));
    doubled.min(most).max(asked.unwrap_or_default()).min(ACME_RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::pause_after;
    use crate::limits::ACME_RETRY_MAX;
    use std::time::Duration;

    const FIRST: Duration = Duration::from_secs(300);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn failures_are_followed_by_longer_pauses_and_at_least_what_the_server_asks_for() {
        let pause = |failures| pause_after(failures, FIRST, None, None);
        assert_eq!((pause(1), pause(2), pause(3)), (FIRST, 2 * FIRST, 4 * FIRST));
        assert_eq!((pause(100), pause(u32::MAX)), (ACME_RETRY_MAX, ACME_RETRY_MAX));
        let asked = |asked| pause_after(1, FIRST, None, Some(asked));
        assert_eq!((asked(HOUR), asked(Duration::from_secs(1)), asked(1000 * HOUR)), (HOUR, FIRST, ACME_RETRY_MAX));
    }

    #[test]
    fn pauses_are_short_enough_for_several_orders_before_the_certificate_ends() {
        let pause = |left| pause_after(100, FIRST, Some(left), None);
        assert_eq!((pause(48 * HOUR), pause(10 * HOUR)), (48 * HOUR / 10, HOUR));
        assert_eq!((pause(HOUR / 2), pause(Duration::ZERO)), (FIRST, FIRST));
        assert_eq!(pause(1000 * HOUR), ACME_RETRY_MAX);
        assert_eq!(pause_after(2, FIRST, Some(48 * HOUR), None), 2 * FIRST);
        assert_eq!(pause_after(100, FIRST, Some(10 * HOUR), Some(3 * HOUR)), 3 * HOUR, "the server's limits go first");
    }
}
