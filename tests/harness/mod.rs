//! What drives the real binary: starts and stops it, speaks S3 to it with a small client of its own, makes data, waits for
//! conditions with a bound. Shared by the integration tests, the crash test and the benchmark.

// Each binary that includes this uses a part of it.
#![allow(dead_code)]

pub mod admin;
pub mod client;
pub mod cluster;
pub mod content;
pub mod data;
pub mod network;
pub mod process;
pub mod server;
pub mod sigv4;
pub mod xml;

use std::time::{Duration, Instant};

/// Asks until there is an answer; fails after `bound`, saying what was waited for.
pub fn eventually<T>(bound: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + bound;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {bound:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
