//! Why a drive is not in the mirror of the metadata log, and whether it may return by itself.

use crate::storage::wal::WalError;
use std::io;

/// The reason for which a drive leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The drive did not answer in time, or has no space: it is filled anew later.
    Temporary,
    /// The drive failed or was taken out of service: only the host brings it back.
    Permanent,
}

impl Absence {
    /// Returns the absence of a drive to which a file could not be written.
    pub fn after(error: io::ErrorKind) -> Self {
        match error {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Temporary,
            _ => Self::Permanent,
        }
    }

    /// Returns the absence of a drive to whose log nothing could be appended.
    pub fn of(error: &WalError) -> Self {
        if matches!(error, WalError::OutOfSpace | WalError::TimedOut) { Self::Temporary } else { Self::Permanent }
    }
}
