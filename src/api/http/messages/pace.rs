//! The least speed at which a client must send a body: 16 KiB in each 60 s of waiting for it. Time in which the store
//! itself is busy does not count.

use crate::api::errors::Stalled;
use std::time::Duration;

/// The time of waiting for the client in which it must send at least `WINDOW_BYTES_MIN`.
const WINDOW: Duration = Duration::from_secs(60);
const WINDOW_BYTES_MIN: u64 = 16 << 10;

/// The waits and the bytes of the current window.
#[derive(Debug, Default)]
pub struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Returns the time to wait for the client before calling `judge`.
    pub fn patience(&self) -> Duration {
        WINDOW.saturating_sub(self.waited)
    }

    /// Counts bytes that arrived, and the wait for them.
    pub fn received(&mut self, waited: Duration, bytes: u64) {
        self.waited += waited;
        self.bytes += bytes;
    }

    /// Judges the window if it is over, counting the current wait of `waiting`, and begins the next window. May be
    /// called at any time.
    pub fn judge(&mut self, waiting: Duration) -> Result<(), Stalled> {
        if self.waited + waiting < WINDOW {
            return Ok(());
        }
        if self.bytes < WINDOW_BYTES_MIN {
            return Err(Stalled);
        }
        *self = Self::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::api::errors::Stalled;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_client_that_sends_nothing_for_a_window_has_stalled() {
        let mut pace = Pace::default();
        assert_eq!(pace.judge(59 * SECOND), Ok(()));
        assert_eq!(pace.patience(), 60 * SECOND);
        assert_eq!(pace.judge(60 * SECOND), Err(Stalled));
    }

    #[test]
    fn only_a_client_below_the_least_speed_has_stalled() {
        let mut drip = Pace::default();
        for _ in 0..60 {
            drip.received(SECOND, 1);
        }
        assert_eq!(drip.judge(Duration::ZERO), Err(Stalled));
        let mut slow = Pace::default();
        for _ in 0..600 {
            slow.received(SECOND, 1 << 10);
            assert_eq!(slow.judge(Duration::ZERO), Ok(()));
        }
    }

    #[test]
    fn time_in_which_the_store_is_busy_does_not_count() {
        let mut pace = Pace::default();
        pace.received(Duration::ZERO, 1);
        assert_eq!(pace.patience(), 60 * SECOND);
    }
}
