//! Drives that still work but are to be removed from the host: each keeps its copy of the log until enough other drives
//! have one.

use crate::actors::consensus::shared::{DriveRole, Drives};
use crate::types::NodeId;
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub struct LeavingDrives(BTreeSet<NodeId>);

impl LeavingDrives {
    pub fn add(&mut self, node: NodeId) {
        self.0.insert(node);
    }

    /// Lets the drive stay: the host has brought it back, or another drive under its number.
    pub fn forget(&mut self, node: NodeId) {
        self.0.remove(&node);
    }

    pub fn has(&self, node: NodeId) -> bool {
        self.0.contains(&node)
    }

    /// Returns whether the drives that stay hold the wanted number of copies.
    pub fn has_enough(&self, drives: &Drives, wanted: usize) -> bool {
        self.staying(drives, |role| role == DriveRole::Live) >= wanted
    }

    /// Returns a leaving drive whose copy is no longer needed: the drives that stay hold the wanted number of copies,
    /// or as many as they can.
    pub fn may_go(&self, drives: &Drives, wanted: usize) -> Option<NodeId> {
        let usable = self.staying(drives, |role| role != DriveRole::Lost);
        if usable == 0 || !self.has_enough(drives, wanted.min(usable)) {
            return None;
        }
        let role = |node: &NodeId| drives.by_node.get(node).map(|drive| drive.role);
        self.0.iter().copied().find(|node| role(node).is_some_and(|role| role != DriveRole::Lost))
    }

    fn staying(&self, drives: &Drives, counts: impl Fn(DriveRole) -> bool) -> usize {
        drives.by_node.iter().filter(|(node, drive)| !self.has(**node) && counts(drive.role)).count()
    }
}
