//! The channel from readers to the healer for missing and corrupt chunks. It is bounded and drops reports that do not
//! fit, so that a reader never waits for it. The next read or the next comparison of inventories finds a dropped fault
//! again.

use crate::net::ChunkFault;
use crate::types::{ChunkIndex, NodeId, ShardId};
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
}

/// The source from which the healer takes faults.
#[derive(Debug)]
pub struct FaultSource {
    receiver: mpsc::Receiver<ShardFault>,
}

/// Returns a channel's sink and source.
pub fn fault_channel() -> (FaultSink, FaultSource) {
    let (sender, receiver) = mpsc::channel(FAULTS_WAITING_MAX);
    (FaultSink { sender }, FaultSource { receiver })
}

impl FaultSink {
    /// Reports a fault without waiting. Returns false if the channel was full and the report dropped.
    pub fn report(&self, fault: ShardFault) -> bool {
        self.sender.try_send(fault).is_ok()
    }
}

impl FaultSource {
    /// Returns the next report, if one waits.
    pub fn take(&mut self) -> Option<ShardFault> {
        self.receiver.try_recv().ok()
    }
}
