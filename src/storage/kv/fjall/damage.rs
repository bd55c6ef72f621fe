//! Damage of a database: a block or a file of it with other content than was written. Only its reader meets it; the
//! note makes it known to the owner of the tables, who can make them anew.
//!
//! A drive that fails to read and a lack of memory, descriptors or room are no damage: the content may be whole.

use super::failed;
use crate::storage::kv::KvError;
use fjall::{Error, LsmError};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A note of the first damage that was met. Cheap to clone; all clones are one note.
#[derive(Clone, Debug, Default)]
pub struct Damage(Arc<Mutex<Option<String>>>);

impl Damage {
    pub fn found(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Forgets the damage, once other tables are in the place of the damaged ones.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    /// Notes an error if it shows damage, and converts it.
    pub(super) fn failed(&self, doing: &'static str, error: Error) -> KvError {
        let is_damage = is_damage(&error);
        let error = failed(doing, error);
        if is_damage {
            self.lock().get_or_insert_with(|| error.to_string());
        }
        error
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_damage(error: &Error) -> bool {
    match error {
        Error::Storage(error) => is_damage_of_table(error),
        Error::Io(error) => has_other_content(error),
        Error::JournalRecovery(_)
        | Error::InvalidVersion(_)
        | Error::Decompress(_)
        | Error::InvalidTrailer
        | Error::InvalidTag(_)
        | Error::Unrecoverable => true,
        _ => false,
    }
}

fn is_damage_of_table(error: &LsmError) -> bool {
    match error {
        LsmError::Io(error) => has_other_content(error),
        LsmError::Decompress(_)
        | LsmError::InvalidVersion(_)
        | LsmError::Unrecoverable
        | LsmError::ChecksumMismatch { .. }
        | LsmError::InvalidTag(_)
        | LsmError::InvalidTrailer
        | LsmError::InvalidHeader(_)
        | LsmError::Utf8(_) => true,
        _ => false,
    }
}

/// Returns whether the drive could read, and what it read is too short or not what was expected.
fn has_other_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use super::Damage;
    use fjall::{Error, LsmError};
    use rustix::io::Errno;
    use std::io;

    #[test]
    fn a_want_of_descriptors_or_memory_is_told_from_other_errors_and_is_no_damage() {
        let lacks = |errno: Errno| {
            let errors = [Error::Io(errno.into()), Error::Storage(LsmError::Io(errno.into()))];
            errors.map(|error| {
                let damage = Damage::default();
                let lacks = damage.failed("open", error).lacks_resources;
                assert_eq!(damage.found(), None);
                lacks
            })
        };
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert_eq!(lacks(errno), [true; 2], "{errno}");
        }
        for errno in [Errno::IO, Errno::NOSPC, Errno::NOENT] {
            assert_eq!(lacks(errno), [false; 2], "{errno}");
        }
    }

    #[test]
    fn wrong_content_is_damage_and_a_drive_that_fails_or_is_full_is_not() {
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let notes = |error: Error| {
            let damage = Damage::default();
            damage.failed("look up a key", error);
            damage.found().is_some()
        };
        assert!(notes(Error::Storage(LsmError::InvalidTrailer)));
        assert!(notes(Error::Storage(LsmError::Io(io(io::ErrorKind::UnexpectedEof)))));
        assert!(notes(Error::InvalidTrailer));
        assert!(!notes(Error::Storage(LsmError::Io(io::Error::other("an unreadable sector")))));
        assert!(!notes(Error::Io(io(io::ErrorKind::StorageFull))));
        assert!(!notes(Error::Storage(LsmError::Io(io(io::ErrorKind::NotFound)))));
        assert!(!notes(Error::Poisoned) && !notes(Error::Locked));
    }
}
