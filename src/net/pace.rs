//! The minimum rate of an incoming body: `NET_PROGRESS_BYTES` in each period of `NET_PROGRESS_WAIT_MAX`. A slow body
//! that keeps this rate is never cut off; one that stalls or only drips is. Pure.

use crate::limits::{NET_PROGRESS_BYTES, NET_PROGRESS_WAIT_MAX};
use std::time::Duration;

/// The pace of one body. Times are durations since any fixed moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    stretch_from: Duration,
    bytes: usize,
}

impl Pace {
    pub(super) fn from(now: Duration) -> Self {
        Self { stretch_from: now, bytes: 0 }
    }

    /// Returns the end of the current period, by which enough bytes must have come.
    pub(super) fn until(&self) -> Duration {
        self.stretch_from + NET_PROGRESS_WAIT_MAX
    }

    /// Counts bytes that came. Begins a new period once the current one has enough.
    pub(super) fn came(&mut self, now: Duration, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= NET_PROGRESS_BYTES {
            *self = Self::from(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::limits::{NET_PROGRESS_BYTES, NET_PROGRESS_WAIT_MAX};
    use std::time::Duration;

    /// N7: the whole body may take any time, as long as each period has enough bytes.
    #[test]
    fn a_slow_body_that_goes_on_is_not_cut_off() {
        let mut pace = Pace::from(Duration::ZERO);
        let mut now = Duration::ZERO;
        for _ in 0..1000 {
            now += NET_PROGRESS_WAIT_MAX / 2;
            assert!(now < pace.until());
            pace.came(now, NET_PROGRESS_BYTES);
        }
    }

    /// N7: a byte now and then does not extend the period.
    #[test]
    fn a_body_that_drips_is_cut_off() {
        let mut pace = Pace::from(Duration::ZERO);
        let mut now = Duration::ZERO;
        while now < pace.until() {
            now += Duration::from_millis(100);
            pace.came(now, 1);
        }
        assert!(now <= NET_PROGRESS_WAIT_MAX + Duration::from_millis(100));
    }
}
