//! The harness of the real binary: starts and stops it, talks S3 to it with a small client, makes data, and waits for
//! conditions with a bound. Shared by the integration tests, the crash and cluster tests, and the benchmark.

// Each test binary that includes this module uses a part of it.
#![allow(dead_code)]

pub mod admin;
pub mod client;
pub mod cluster;
pub mod collector;
pub mod content;
pub mod data;
pub mod network;
pub mod process;
pub mod server;
pub mod settings;
pub mod sigv4;
pub mod small_drives;
pub mod xml;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Removes a drive's directory while a server may still write into it, again and again until it is gone.
#[track_caller]
pub fn lose_drive(dir: &Path) {
    eventually(Duration::from_secs(10), "a drive's directory to be gone", || {
        let _ = std::fs::remove_dir_all(dir);
        (!dir.exists()).then_some(())
    });
}

/// Calls `ask` until it returns a value; fails after `bound` with the description `what`.
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

/// Returns what a test needs of the machine. If it is not available the test reports that and is skipped, unless
/// `SHERD_NAMESPACES` requires it.
pub fn or_skipped<T>(had: Result<T, String>) -> Option<T> {
    let is_required = std::env::var("SHERD_NAMESPACES").is_ok_and(|value| value == "required");
    match had {
        Ok(had) => return Some(had),
        Err(why) if is_required => panic!("SHERD_NAMESPACES=required: {why}"),
        Err(why) => {
            let thread = std::thread::current();
            let words = format!("skipped: {}: {why}\n", thread.name().unwrap_or("a test"));
            // Written past the test runner, which shows the output of failed tests only.
            let _ = std::io::stderr().write_all(words.as_bytes());
        }
    }
    None
}
