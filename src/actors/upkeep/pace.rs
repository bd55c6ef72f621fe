//! `Pace`: the rate of background work, by which it pauses after each step. Pure.

use crate::actors::drives::UserLoad;
use std::time::Duration;

/// The rates of background work while no users are served (idle) and while they are (busy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub idle_bytes_per_second: u64,
    pub busy_bytes_per_second: u64,
}

impl Pace {
    /// No pauses: for tests, and for compaction while the drive's space is exhausted.
    pub const UNLIMITED: Self = Self { idle_bytes_per_second: u64::MAX, busy_bytes_per_second: u64::MAX };

    /// Returns the pause after work on this many bytes.
    pub fn pause_after(self, bytes: u64, load: &UserLoad) -> Duration {
        let rate = if load.is_busy() { self.busy_bytes_per_second } else { self.idle_bytes_per_second };
        Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1))
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { idle_bytes_per_second: 200 << 20, busy_bytes_per_second: 20 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::actors::drives::UserLoad;
    use std::time::Duration;

    #[test]
    fn background_work_slows_down_while_users_are_served() {
        let pace = Pace { idle_bytes_per_second: 1000, busy_bytes_per_second: 100 };
        let load = UserLoad::default();
        assert_eq!(pace.pause_after(500, &load), Duration::from_millis(500));
        let request = load.enter();
        assert_eq!(pace.pause_after(500, &load), Duration::from_secs(5));
        drop(request);
        assert_eq!(pace.pause_after(500, &load), Duration::from_millis(500));
        assert_eq!(Pace::UNLIMITED.pause_after(u64::MAX, &load), Duration::from_micros(1));
    }
}
