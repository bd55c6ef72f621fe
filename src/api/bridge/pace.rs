//! The least speed of a client. Only time that is spent waiting for the client counts, not time in which the store is
//! busy.

use crate::api::errors::Stalled;
use std::time::Duration;

/// The period of waiting in which a least number of bytes must come.
const WINDOW: Duration = Duration::from_secs(60);
const WINDOW_BYTES_MIN: u64 = 16 << 10;

/// Waits and bytes in, a verdict out.
#[derive(Debug, Default)]
pub struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Returns the time to wait before asking again.
    pub fn patience(&self) -> Duration {
        WINDOW.saturating_sub(self.waited)
    }

    /// Bytes came after a wait.
    pub fn received(&mut self, waited: Duration, bytes: u64) {
        self.waited += waited;
        self.bytes += bytes;
    }

    /// Called when the patience is over, and whenever else is convenient.
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
    fn a_drip_is_a_stall_and_a_slow_stream_is_not() {
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
    fn time_without_waiting_does_not_count() {
        let mut pace = Pace::default();
        pace.received(Duration::ZERO, 1);
        assert_eq!(pace.patience(), 60 * SECOND);
    }
}
