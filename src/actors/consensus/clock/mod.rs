//! The cluster's clock on this host: a `LogClock` together with the host's own clocks, shared by all parts that ask for
//! the time or exchange clock reports with other hosts.

mod log_clock;

pub use log_clock::{ClockReport, ClockStatus, LogClock, Reading};

use super::shared::locked;
use crate::ambient::{Ambient, Clock};
use crate::storage::meta::command::LogTime;
use crate::storage::meta::record::{AdvanceClock, ClockRecord};
use crate::types::HostId;
use std::sync::{Arc, Mutex};

/// A handle to the cluster's clock. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct ClusterClock {
    clock: Arc<dyn Clock>,
    log: Arc<Mutex<LogClock>>,
}

impl ClusterClock {
    pub fn new(ambient: &Ambient) -> Self {
        let clock = Arc::clone(&ambient.clock);
        let log = LogClock::new(read(&*clock));
        Self { clock, log: Arc::new(Mutex::new(log)) }
    }

    /// Sets the other hosts of the cluster.
    pub fn watch(&self, others: impl IntoIterator<Item = HostId>) {
        locked(&self.log).watch(others);
    }

    pub fn time(&self) -> LogTime {
        self.with(LogClock::time)
    }

    pub fn hear(&self, host: HostId, report: ClockReport) {
        self.with(|log, now| log.hear(now, host, report));
    }

    pub fn report(&self) -> ClockReport {
        self.with(LogClock::report)
    }

    pub fn status(&self) -> ClockStatus {
        self.with(LogClock::status)
    }

    /// Takes over the confirmed time that the log has recorded.
    pub fn learn(&self, record: &ClockRecord) {
        self.with(|log, now| log.learn(now, record));
    }

    /// Returns the advance of the clock that the leader should propose, given the record in the log.
    pub(super) fn advance_to_propose(&self, record: Option<&ClockRecord>) -> Option<AdvanceClock> {
        self.with(|log, now| log.advance_to_propose(now, record))
    }

    fn with<T>(&self, ask: impl FnOnce(&mut LogClock, Reading) -> T) -> T {
        // The clocks are read under the lock, so that readings reach the `LogClock` in order.
        let mut log = locked(&self.log);
        ask(&mut log, read(&*self.clock))
    }
}

fn read(clock: &dyn Clock) -> Reading {
    Reading { wall: clock.unix_ms(), monotonic: clock.monotonic() }
}

#[cfg(test)]
mod tests;
