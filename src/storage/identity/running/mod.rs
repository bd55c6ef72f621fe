//! Changes of the drives of a running host: one is replaced, one is added. What the directories mean is decided as at a start.

mod adding;
mod replacing;

pub use adding::{AddError, Addition, add_drive, check_addition};
pub use replacing::{ReplaceError, Replacement, check_replacement, replace_drive};

use super::lock::{DirLocks, LockFault};
use super::open::HeldLocks;
use std::path::Path;

/// Locks a directory anew: where the lock file itself was left in place, the former lock would be in the way.
fn lock_anew(dir: &Path, locks: &dyn DirLocks, held: &mut HeldLocks) -> Result<(), LockFault> {
    held.remove(dir);
    held.insert(dir.to_owned(), locks.lock(dir)?);
    Ok(())
}
