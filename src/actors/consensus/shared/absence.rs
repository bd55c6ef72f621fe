//! Why a drive is not in the mirror of the metadata log, and whether it may return by itself.

use crate::storage::disk::host_lacks_resources;
use crate::storage::wal::WalError;
use std::io;

/// The reason for which a drive leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The drive did not answer in time or has no space, or the host lacks resources: it is filled anew later.
    Temporary,
    /// The drive failed or was taken out of service: only the host brings it back.
    Permanent,
}

impl Absence {
    /// Returns the absence of a drive to which a file could not be written.
    pub fn after(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Temporary,
            _ if host_lacks_resources(error) => Self::Temporary,
            _ => Self::Permanent,
        }
    }

    /// Returns the absence of a drive to whose log nothing could be appended.
    pub fn of(error: &WalError) -> Self {
        if error.is_shortage() || *error == WalError::TimedOut { Self::Temporary } else { Self::Permanent }
    }
}

#[cfg(test)]
mod tests {
    use super::Absence;
    use crate::storage::wal::WalError;
    use rustix::io::Errno;
    use std::io;
    use std::path::Path;

    #[test]
    fn a_copy_that_fails_for_want_of_descriptors_memory_or_space_returns_by_itself() {
        let absences = |errno: Errno| {
            let error = io::Error::from(errno);
            [Absence::after(&error), Absence::of(&WalError::io("open", Path::new("/drive"), &error))]
        };
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSPC] {
            assert_eq!(absences(errno), [Absence::Temporary; 2], "{errno}");
        }
        assert_eq!(absences(Errno::IO), [Absence::Permanent; 2]);
    }
}
