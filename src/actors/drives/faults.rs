//! The channel from readers to the healer for missing and corrupt chunks. It is bounded and drops reports that do not
//! fit, so that a reader never waits for it. The next read or the next comparison of inventories finds a dropped fault
//! again. The reports are counted, so that whoever reads a chunk only once a month (scrub) can tell when the healer has
//! dealt with what was reported.

use crate::net::ChunkFault;
use crate::types::{ChunkIndex, NodeId, ShardId};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// The number of reports that may wait for the healer.
const FAULTS_WAITING_MAX: usize = 1024;

/// A chunk that a read found missing or corrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardFault {
    pub node: NodeId,
    pub shard: ShardId,
    pub chunk: ChunkIndex,
    pub fault: ChunkFault,
}

/// The sink to which readers report faults. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FaultSink {
    sender: mpsc::Sender<ShardFault>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// The number of reports in the channel so far. Locked while one is put into the channel, so that the count follows
    /// the order of the channel.
    reported: Mutex<u64>,
    /// The number of reports, from the first on, that the healer has dealt with.
    settled: AtomicU64,
}

/// The source from which the healer takes faults.
#[derive(Debug)]
pub struct FaultSource {
    receiver: mpsc::Receiver<ShardFault>,
    counts: Arc<Counts>,
}

/// Returns a channel's sink and source.
pub fn fault_channel() -> (FaultSink, FaultSource) {
    let (sender, receiver) = mpsc::channel(FAULTS_WAITING_MAX);
    let counts = Arc::<Counts>::default();
    (FaultSink { sender, counts: Arc::clone(&counts) }, FaultSource { receiver, counts })
}

impl FaultSink {
    /// Reports a fault without waiting. Returns false if the channel was full and the report dropped.
    pub fn report(&self, fault: ShardFault) -> bool {
        let mut reported = self.lock_reported();
        let is_reported = self.sender.try_send(fault).is_ok();
        *reported += u64::from(is_reported);
        is_reported
    }

    /// Returns the number of reports so far.
    pub fn reported(&self) -> u64 {
        *self.lock_reported()
    }

    /// Returns whether the healer has dealt with the first `count` reports: each is queued as a repair in the metadata,
    /// or needs none.
    pub fn is_settled(&self, count: u64) -> bool {
        self.counts.settled.load(Ordering::Acquire) >= count
    }

    fn lock_reported(&self) -> MutexGuard<'_, u64> {
        self.counts.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultSource {
    /// Returns the next report, if one waits.
    pub fn take(&mut self) -> Option<ShardFault> {
        self.receiver.try_recv().ok()
    }

    /// Notes that the next `count` reports were dealt with, in the order in which they were taken.
    pub fn settle(&self, count: usize) {
        self.counts.settled.fetch_add(count as u64, Ordering::Release);
    }
}
