//! `LineSender`: hands lines to the host's `AccessLogger`, as long as there is room for those that are on their way.

use super::{AccessLogger, LogDestination, LogRequest};
use crate::types::UnixMs;
use actix::Addr;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most bytes of lines on their way to the logger, and of their destinations, each counted once. Those that it has
/// taken are bounded by `LogLimits`.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// Sends lines to the logger. Clones share their room.
#[derive(Clone, Debug)]
pub struct LineSender {
    logger: Addr<AccessLogger>,
    waiting: Arc<Mutex<Waiting>>,
}

/// The lines on their way.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: usize,
    /// The number of lines for each destination, by its address: a line keeps its destination alive.
    lines: HashMap<usize, usize>,
}

/// The room of a line on its way. It is free again once this is dropped.
#[derive(Debug)]
pub struct LineRoom {
    bytes: usize,
    destination: Arc<LogDestination>,
    waiting: Arc<Mutex<Waiting>>,
}

impl LineSender {
    pub fn new(logger: Addr<AccessLogger>) -> Self {
        Self { logger, waiting: Arc::default() }
    }

    /// Sends a line. Returns false if it is dropped: the lines on their way leave no room for it, or the logger has
    /// stopped.
    pub fn send(&self, destination: &Arc<LogDestination>, at: UnixMs, line: String) -> bool {
        let Some(room) = LineRoom::take(&self.waiting, destination, line.len()) else { return false };
        self.logger.try_send(LogRequest { destination: Arc::clone(destination), at, line, room }).is_ok()
    }
}

impl LineRoom {
    pub(super) fn take(waiting: &Arc<Mutex<Waiting>>, destination: &Arc<LogDestination>, bytes: usize) -> Option<Self> {
        let mut held = locked(waiting);
        let key = Arc::as_ptr(destination).addr();
        let is_counted = held.lines.contains_key(&key);
        let added = bytes + if is_counted { 0 } else { destination.bytes() };
        if held.bytes + added > WAITING_BYTES_MAX {
            return None;
        }
        held.bytes += added;
        *held.lines.entry(key).or_default() += 1;
        Some(Self { bytes, destination: Arc::clone(destination), waiting: Arc::clone(waiting) })
    }
}

impl Drop for LineRoom {
    fn drop(&mut self) {
        let mut waiting = locked(&self.waiting);
        waiting.bytes -= self.bytes;
        let key = Arc::as_ptr(&self.destination).addr();
        let left = waiting.lines.get(&key).copied().unwrap_or_default().saturating_sub(1);
        if left > 0 {
            waiting.lines.insert(key, left);
        } else {
            waiting.lines.remove(&key);
            waiting.bytes -= self.destination.bytes();
        }
    }
}

fn locked(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
