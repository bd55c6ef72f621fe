//! Faults that a test can order of a simulated disk, and its counters.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// An operation that can be held until the test lets it go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    Sync,
    Allocate,
    SyncDir,
    Write,
}

/// A fault of one of the drives that a simulated disk stands for; affects everything in its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveFault {
    /// Every call fails.
    Dead,
    /// No file can grow.
    Full,
    /// Reads fail.
    Unreadable,
}

/// Calls since the disk was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// The number of changes of the disk: writes, syncs, allocations, creations, renames, removals.
    pub changes: u64,
    pub writes: u64,
    pub written_bytes: u64,
    pub syncs: u64,
    pub dir_syncs: u64,
    pub reads: u64,
    pub read_bytes: u64,
    pub opens: u64,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The change from which on everything fails.
    pub(super) halt_at: Option<u64>,
    pub(super) halted: bool,
    pub(super) sync_failures: u64,
    pub(super) write_failures: u64,
    pub(super) holds: BTreeMap<Held, Hold>,
    pub(super) drives: BTreeMap<PathBuf, DriveFault>,
}

#[derive(Debug, Default)]
pub(super) struct Hold {
    pub(super) holders: u64,
    pub(super) waiting: u64,
}

impl Faults {
    pub(super) fn check_alive(&self) -> io::Result<()> {
        if self.halted { Err(io::Error::other("simulated drive is gone")) } else { Ok(()) }
    }

    /// Returns the fault of the drive of this path.
    pub(super) fn of(&self, path: &Path) -> Option<DriveFault> {
        self.drives.iter().find(|(dir, _)| path.starts_with(dir)).map(|(_, fault)| *fault)
    }

    pub(super) fn check_drive(&self, path: &Path) -> io::Result<()> {
        match self.of(path) {
            Some(DriveFault::Dead) => Err(io::Error::other("simulated drive is dead")),
            _ => Ok(()),
        }
    }

    pub(super) fn is_held(&self, operation: Held) -> bool {
        self.holds.get(&operation).is_some_and(|hold| hold.holders > 0)
    }

    /// Takes one of the ordered failures, if any is left.
    pub(super) fn take(counter: &mut u64) -> bool {
        let due = *counter > 0;
        *counter = counter.saturating_sub(1);
        due
    }
}
