//! The traffic of one connection: the bytes sent and received, the time of the last arrival, and the number of open
//! streams.

use crate::metrics::{NET_RECEIVED_BYTES, NET_SENT_BYTES};
use crate::types::HostId;
use prometheus::IntCounter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Traffic {
    peer: String,
    began: Instant,
    /// The time of the last arrival, in milliseconds since `began`.
    heard_ms: AtomicU64,
    streams: AtomicU64,
    streams_warned_at: u64,
    sent_bytes: IntCounter,
    received_bytes: IntCounter,
}

impl Traffic {
    pub(super) fn of(peer: HostId, streams_max: u64) -> Arc<Self> {
        Self::named(format!("{:016x}", peer.0), (streams_max / 5 * 4).max(1))
    }

    /// Makes the record of a connection whose peer has not greeted yet.
    pub(super) fn of_stranger() -> Arc<Self> {
        Self::named("unknown".to_owned(), u64::MAX)
    }

    fn named(peer: String, streams_warned_at: u64) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            heard_ms: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            streams_warned_at,
            sent_bytes: NET_SENT_BYTES.with_label_values(&[&peer]),
            received_bytes: NET_RECEIVED_BYTES.with_label_values(&[&peer]),
            peer,
        })
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent_bytes.inc_by(bytes as u64);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received_bytes.inc_by(bytes as u64);
        self.heard_ms.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns the time since the last arrival on any stream.
    pub(super) fn silent_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed)))
    }
}

/// A guard that counts an open stream until it is dropped.
#[derive(Debug)]
pub(super) struct Activity(Arc<Traffic>);

impl Activity {
    /// N9: counts a stream. Logs a warning each time that the number of open streams rises to the warning level.
    pub(super) fn begin(traffic: &Arc<Traffic>) -> Self {
        let before = traffic.streams.fetch_add(1, Ordering::Relaxed);
        if before + 1 == traffic.streams_warned_at {
            tracing::warn!(peer = traffic.peer, streams = before + 1, "one connection has many open streams");
        }
        Self(Arc::clone(traffic))
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
