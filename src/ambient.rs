//! The sources of time and randomness. Nothing else in the crate reads a clock or random bytes of the system, so that a
//! simulation can supply both from one seed. The disk and the transport have traits of their own (`storage::disk`,
//! `net`).

use crate::types::UnixMs;
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The most readings of two clocks one after the other, and the time between readings that is short enough.
const READINGS_MAX: usize = 4;
const READINGS_APART_MAX: Duration = Duration::from_millis(5);

/// The source of time.
pub trait Clock: Send + Sync + Debug + 'static {
    /// Wall time; it may jump, and nothing depends on it for safety.
    fn unix_ms(&self) -> UnixMs;

    /// Wall time in nanoseconds since the Unix epoch, as precise as the clock is.
    fn unix_ns(&self) -> u64 {
        self.unix_ms().0.saturating_mul(1_000_000)
    }

    /// Time since an arbitrary start; it never goes back.
    fn monotonic(&self) -> Duration;

    /// Time for which the machine has been suspended, during which `monotonic` stands still, since an arbitrary start.
    /// Too great by the time between the readings of two clocks.
    fn asleep(&self) -> Duration {
        Duration::ZERO
    }

    /// Processor time of the calling thread.
    fn processor(&self) -> Duration {
        self.monotonic()
    }
}

/// The source of random bytes.
pub trait Entropy: Send + Sync + Debug + 'static {
    fn fill(&self, bytes: &mut [u8]);
}

/// A clock and a source of random bytes, cheap to clone.
#[derive(Clone, Debug)]
pub struct Ambient {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

impl Ambient {
    /// The machine's own clock and the system's random source.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock { start: Instant::now() }), entropy: Arc::new(SystemEntropy) }
    }

    /// A fresh time-ordered id: 48 bits of milliseconds, then 80 random bits.
    pub fn fresh_id(&self) -> u128 {
        self.id_at(self.clock.unix_ms())
    }

    /// Returns a fresh id as `fresh_id` does, but with this time.
    pub fn id_at(&self, time: UnixMs) -> u128 {
        let mut bytes = [0u8; 16];
        self.entropy.fill(&mut bytes[6..]);
        bytes[..6].copy_from_slice(&time.0.to_be_bytes()[2..]);
        u128::from_be_bytes(bytes)
    }

    /// Returns 128 random bits.
    pub fn random_u128(&self) -> u128 {
        let mut bytes = [0u8; 16];
        self.entropy.fill(&mut bytes);
        u128::from_be_bytes(bytes)
    }
}

#[derive(Debug)]
struct SystemClock {
    start: Instant,
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> UnixMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn unix_ns(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn asleep(&self) -> Duration {
        let now = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
        let (mut least, mut awake) = (Duration::MAX, now(ClockId::Monotonic));
        // The thread may have to wait between the readings, but hardly each time.
        for _ in 0..READINGS_MAX {
            let asleep = now(ClockId::Boottime).saturating_sub(awake);
            let before = std::mem::replace(&mut awake, now(ClockId::Monotonic));
            least = least.min(asleep);
            if awake - before < READINGS_APART_MAX {
                break;
            }
        }
        least
    }

    fn processor(&self) -> Duration {
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
    }
}

#[derive(Debug)]
struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}
