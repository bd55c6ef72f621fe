//! The clock of the paused runtime, and randomness from one seed.

use sherd::ambient::{Ambient, Clock, Entropy};
use sherd::types::UnixMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

const DAY_MS: i64 = 24 * 3600 * 1000;

#[derive(Debug)]
pub struct Simulated {
    start: tokio::time::Instant,
    state: AtomicU64,
    /// The sum of all steps of the wall clock.
    stepped_ms: AtomicI64,
}

impl Simulated {
    pub fn new(seed: u64) -> Arc<Self> {
        let start = tokio::time::Instant::now();
        Arc::new(Self {
            start,
            state: AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            stepped_ms: AtomicI64::new(0),
        })
    }

    pub fn ambient(self: &Arc<Self>) -> Ambient {
        Ambient { clock: Arc::clone(self) as _, entropy: Arc::clone(self) as _ }
    }

    /// The state of the random numbers (SplitMix64).
    pub fn next(&self) -> u64 {
        let state = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Steps the wall clock by up to a day, ahead or back.
    pub fn step_wall_clock(&self) {
        let step_ms = self.below(2 * DAY_MS as u64) as i64 - DAY_MS;
        self.stepped_ms.fetch_add(step_ms, Ordering::Relaxed);
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl Clock for Simulated {
    fn unix_ms(&self) -> UnixMs {
        let unstepped_ms = 1_700_000_000_000 + self.monotonic().as_millis() as u64;
        UnixMs(unstepped_ms.saturating_add_signed(self.stepped_ms.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Entropy for Simulated {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
    }
}
