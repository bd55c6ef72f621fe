//! Merges damaged copies of the log that are whole together.

use super::ReplicaOptions;
use crate::actors::consensus::shared::CopyOpener;
use crate::storage::raft_log::{LogIndex, RecoveredCopy, merge};
use crate::types::{Lsn, NodeId};
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct MergedCopies {
    pub(super) log: RecoveredCopy,
    /// The readable part of each copy.
    readable: BTreeMap<NodeId, RecoveredCopy>,
}

impl MergedCopies {
    /// Reads the copies of these drives again, past their damage, and merges them. Fails with the reason if they are
    /// not whole together. Blocking.
    pub(super) fn read(options: &ReplicaOptions, opener: &CopyOpener, nodes: BTreeSet<NodeId>) -> Result<Self, String> {
        let mut tapes = Vec::new();
        let mut readable = BTreeMap::new();
        for drive in options.drives.iter().filter(|drive| nodes.contains(&drive.node)) {
            let dir = drive.clone().into_idle().log_dir();
            let tape =
                opener.read_tape(drive.node, &drive.disk, dir, Lsn(u64::MAX)).map_err(|error| error.to_string())?;
            readable.insert(drive.node, tape.readable());
            tapes.push(tape);
        }
        let log = merge(&tapes).map_err(|error| error.to_string())?;
        Ok(Self { log, readable })
    }

    pub(super) fn index(&self, cached_bytes_max: u64) -> LogIndex {
        LogIndex::merged(&self.log, &self.readable, cached_bytes_max)
    }
}
