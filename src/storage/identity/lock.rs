//! Locks on data directories, so that only one process uses each: an exclusive `flock` on the file `lock`, held while
//! the process lives. The kernel releases it with the process, so no stale lock can remain.

use super::LOCK_FILE;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// A held lock; released when dropped.
pub type HeldLock = Box<dyn Debug + Send + Sync>;

#[derive(Debug)]
pub enum LockFault {
    /// The lock is already held, by another process or by this one.
    InUse,
    Failed(io::Error),
}

/// A way to lock directories: that of the machine, or none in a simulation.
pub trait DirLocks: Debug {
    fn lock(&self, dir: &Path) -> Result<HeldLock, LockFault>;
}

/// Locks of the operating system.
#[derive(Debug)]
pub struct SystemLocks;

/// No locks, for a simulated disk, which no other process can see.
#[derive(Debug)]
pub struct NoLocks;

impl DirLocks for SystemLocks {
    fn lock(&self, dir: &Path) -> Result<HeldLock, LockFault> {
        let file = open(&dir.join(LOCK_FILE)).map_err(LockFault::Failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Box::new(file)),
            Err(Errno::WOULDBLOCK) => Err(LockFault::InUse),
            Err(errno) => Err(LockFault::Failed(errno.into())),
        }
    }
}

impl DirLocks for NoLocks {
    fn lock(&self, _dir: &Path) -> Result<HeldLock, LockFault> {
        Ok(Box::new(()))
    }
}

/// Locks the directory for reading, so that no store takes it into service meanwhile. Creates nothing in it. Returns
/// `None` if there is no lock file, as then no store ever used the directory.
pub fn lock_for_reading(dir: &Path) -> Result<Option<HeldLock>, LockFault> {
    let file = match File::open(dir.join(LOCK_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LockFault::Failed(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(Box::new(file))),
        Err(Errno::WOULDBLOCK) => Err(LockFault::InUse),
        Err(errno) => Err(LockFault::Failed(errno.into())),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::{DirLocks, LockFault, SystemLocks, lock_for_reading};

    /// W14: dropping the lock releases it before the drop returns.
    #[test]
    fn a_directory_is_locked_only_once_and_free_when_the_lock_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let held = SystemLocks.lock(dir.path()).unwrap();
            assert!(matches!(SystemLocks.lock(dir.path()), Err(LockFault::InUse)));
            drop(held);
        }
    }

    #[test]
    fn a_directory_that_is_not_there_cannot_be_locked() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(SystemLocks.lock(&dir.path().join("none")), Err(LockFault::Failed(_))));
    }

    /// W13: locking for reading creates no lock file. If there is one, readers and a store exclude each other.
    #[test]
    fn readers_share_a_directory_that_no_store_uses() {
        let dir = tempfile::tempdir().unwrap();
        assert!(lock_for_reading(dir.path()).unwrap().is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let store = SystemLocks.lock(dir.path()).unwrap();
        assert!(matches!(lock_for_reading(dir.path()), Err(LockFault::InUse)));
        drop(store);
        let (one, other) = (lock_for_reading(dir.path()).unwrap(), lock_for_reading(dir.path()).unwrap());
        assert!(one.is_some() && other.is_some());
        assert!(matches!(SystemLocks.lock(dir.path()), Err(LockFault::InUse)));
    }
}
