//! The faults that a test can inject into a simulated disk, and the disk's counters.

use crate::storage::disk::CallKind;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// An operation that a test can suspend until it releases it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    Sync,
    Allocate,
    SyncDir,
    Write,
    Remove,
}

/// A fault of one drive, which is a directory of the simulated disk; affects everything in that directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveFault {
    /// Every call fails.
    Dead,
    /// No file can grow.
    Full,
    /// Reads fail.
    Unreadable,
    /// Calls hang. A call by a caller that does not check `Disk::hangs` first fails with `TimedOut` instead.
    Silent,
    /// Like `Silent`, but only for calls that change the drive.
    SilentChanges,
    /// Calls fail now and then.
    Flaky(Chances),
}

/// A want of the host's resources. The drives are well meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// No file and no directory can be opened.
    Descriptors,
    /// Neither can be opened, and no file can be read.
    Memory,
}

/// The probabilities of faults of a call: a field `n` means one call in `n`; 0 means never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chances {
    /// Seed of the choice of calls that fail.
    pub seed: u64,
    pub reads_failed: u64,
    pub writes_failed: u64,
    pub syncs_failed: u64,
    /// Writes and allocations that fail with `StorageFull`.
    pub found_full: u64,
    /// Writes to log segments that report success and change nothing.
    pub writes_lost: u64,
}

/// Counts of calls since the disk was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// All changes of the disk: writes, syncs, allocations, creations, renames and removals.
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
    /// The number of the change from which on everything fails.
    pub(super) halt_at: Option<u64>,
    pub(super) halted: bool,
    pub(super) sync_failures: u64,
    pub(super) write_failures: u64,
    pub(super) write_shortages: u64,
    /// Files that cannot be renamed or removed.
    pub(super) pinned: BTreeSet<PathBuf>,
    pub(super) holds: BTreeMap<Held, Hold>,
    pub(super) drives: BTreeMap<PathBuf, DriveFault>,
    pub(super) shortage: Option<Shortage>,
    /// The directory below which nothing can be opened in a shortage; empty for all.
    pub(super) shortage_below: PathBuf,
    /// Draws which calls of a flaky drive fail.
    random: Option<StdRng>,
}

#[derive(Debug, Default)]
pub(super) struct Hold {
    pub(super) holders: u64,
    pub(super) waiting: u64,
}

impl Faults {
    pub(super) fn check_alive(&self) -> io::Result<()> {
        if self.halted { Err(io::Error::other("the simulated disk is halted")) } else { Ok(()) }
    }

    /// Fails if this file or directory cannot be opened.
    pub(super) fn check_opening(&self, path: &Path) -> io::Result<()> {
        match self.shortage.filter(|_| path.starts_with(&self.shortage_below)) {
            Some(Shortage::Descriptors) => Err(Errno::MFILE.into()),
            Some(Shortage::Memory) => Err(Errno::NOMEM.into()),
            None => Ok(()),
        }
    }

    /// Fails if no file can be read.
    pub(super) fn check_reading(&self) -> io::Result<()> {
        if self.shortage == Some(Shortage::Memory) { Err(Errno::NOMEM.into()) } else { Ok(()) }
    }

    /// Returns the fault of the drive that contains this path.
    pub(super) fn of(&self, path: &Path) -> Option<DriveFault> {
        self.drives.iter().find(|(dir, _)| path.starts_with(dir)).map(|(_, fault)| *fault)
    }

    pub(super) fn check_drive(&self, path: &Path) -> io::Result<()> {
        match self.of(path) {
            Some(DriveFault::Dead) => Err(io::Error::other("simulated drive is dead")),
            Some(DriveFault::Silent) => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// Fails if the drive that contains this path is dead or does not answer changes.
    pub(super) fn check_change(&self, path: &Path) -> io::Result<()> {
        if self.hangs(path, CallKind::Change) { Err(io::ErrorKind::TimedOut.into()) } else { self.check_drive(path) }
    }

    /// Fails if this file cannot be renamed or removed.
    pub(super) fn check_pinned(&self, path: &Path) -> io::Result<()> {
        if self.pinned.contains(path) { Err(io::Error::other("simulated removal failure")) } else { Ok(()) }
    }

    pub(super) fn hangs(&self, path: &Path, call: CallKind) -> bool {
        match self.of(path) {
            Some(DriveFault::Silent) => true,
            Some(DriveFault::SilentChanges) => call == CallKind::Change,
            _ => false,
        }
    }

    pub(super) fn fail_drive(&mut self, dir: &Path, fault: DriveFault) {
        if let DriveFault::Flaky(chances) = fault {
            self.random = Some(StdRng::seed_from_u64(chances.seed));
        }
        self.drives.insert(dir.to_owned(), fault);
    }

    /// Draws whether a call on this path fails, by the given chance of its flaky drive.
    pub(super) fn strikes(&mut self, path: &Path, chance: impl Fn(&Chances) -> u64) -> bool {
        let Some(DriveFault::Flaky(chances)) = self.of(path) else { return false };
        let one_in = chance(&chances);
        one_in > 0 && self.random.as_mut().is_some_and(|random| random.random_range(0..one_in) == 0)
    }

    pub(super) fn is_held(&self, operation: Held) -> bool {
        self.holds.get(&operation).is_some_and(|hold| hold.holders > 0)
    }

    /// Uses up one of the injected failures. Returns whether one was left.
    pub(super) fn take(counter: &mut u64) -> bool {
        let due = *counter > 0;
        *counter = counter.saturating_sub(1);
        due
    }
}
