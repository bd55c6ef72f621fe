//! `LineSender`: hands lines to the host's `AccessLogger`, as long as there is room for those that are on their way.

use super::{AccessLogger, LogDestination, LogRequest};
use crate::types::UnixMs;
use actix::Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes of lines on their way to the logger, each with its destination. Those that it has taken are bounded
/// by `LogLimits`.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// Sends lines to the logger. Clones share their room.
#[derive(Clone, Debug)]
pub struct LineSender {
    logger: Addr<AccessLogger>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// The room of a line on its way. It is free again once this is dropped.
#[derive(Debug, Default)]
pub struct LineRoom {
    bytes: usize,
    waiting_bytes: Arc<AtomicUsize>,
}

impl LineSender {
    pub fn new(logger: Addr<AccessLogger>) -> Self {
        Self { logger, waiting_bytes: Arc::default() }
    }

    /// Sends a line. Returns false if it is dropped: the lines on their way leave no room for it, or the logger has
    /// stopped.
    pub fn send(&self, destination: &Arc<LogDestination>, at: UnixMs, line: String) -> bool {
        let Some(room) = self.room(line.len() + destination.bytes()) else { return false };
        self.logger.try_send(LogRequest { destination: Arc::clone(destination), at, line, room }).is_ok()
    }

    fn room(&self, bytes: usize) -> Option<LineRoom> {
        let held = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = LineRoom { bytes, waiting_bytes: Arc::clone(&self.waiting_bytes) };
        (held + bytes <= WAITING_BYTES_MAX).then_some(room)
    }
}

impl Drop for LineRoom {
    fn drop(&mut self) {
        self.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
