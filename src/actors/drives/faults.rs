//! Faults that reads meet, on their way to the healer. The way is short and lossy on purpose: a reader never waits for it,
//! and what does not fit is found again by the next read or the next comparison of inventories.

use crate::net::ChunkFault;
use crate::types::{ChunkIndex, NodeId, ShardId};
use tokio::sync::mpsc;

/// Faults that may wait for the healer.
const FAULTS_WAITING_MAX: usize = 1024;

/// A chunk of a shard could not be had.
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
}

/// The source from which the healer takes faults.
#[derive(Debug)]
pub struct FaultSource {
    receiver: mpsc::Receiver<ShardFault>,
}

/// A sink and its source.
pub fn fault_channel() -> (FaultSink, FaultSource) {
    let (sender, receiver) = mpsc::channel(FAULTS_WAITING_MAX);
    (FaultSink { sender }, FaultSource { receiver })
}

impl FaultSink {
    /// Reports a fault without waiting; returns whether the report was taken.
    pub fn report(&self, fault: ShardFault) -> bool {
        self.sender.try_send(fault).is_ok()
    }
}

impl FaultSource {
    /// The next report, if one waits.
    pub fn take(&mut self) -> Option<ShardFault> {
        self.receiver.try_recv().ok()
    }
}
