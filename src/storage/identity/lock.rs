//! One process a directory: an exclusive `flock` on its `lock` file, held while the process lives. The kernel drops it with
//! the process, so nothing stale can be left.

use super::LOCK_FILE;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Released when dropped.
pub type HeldLock = Box<dyn Debug + Send + Sync>;

#[derive(Debug)]
pub enum LockFault {
    /// Another process, or this one, has it.
    InUse,
    Failed(io::Error),
}

/// How directories are locked.
pub trait DirLocks: Debug {
    fn lock(&self, dir: &Path) -> Result<HeldLock, LockFault>;
}

/// The machine's locks.
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

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::{DirLocks, LockFault, SystemLocks};

    /// W14: closing releases the lock before it returns; no sleeps.
    #[test]
    fn a_directory_is_locked_once_and_free_again_at_once() {
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
}
