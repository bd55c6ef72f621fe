//! The state of a host that is founding or joining a cluster: `founding.json`, on each of its drives. The host's id
//! must survive a crash once other hosts know it, so the file is written before the id is sent. The file is removed
//! when the drives have their identities and the host's metadata group has started.

use super::document::{DOCUMENT_BYTES_MAX, DocumentFault, decode, encode, hex64};
use super::scan::read_bounded;
use super::{FOUNDING_FILE, IdentityError};
use crate::storage::disk::{Disk, replace_file};
use crate::types::HostId;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

const FORMAT: u32 = 1;

/// A host that takes part in founding or joining a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founder {
    pub name: String,
    #[serde(with = "hex64")]
    pub host: HostId,
    pub address: String,
    pub drives: u16,
    /// Data and parity shards, if the configuration asks for a geometry.
    pub geometry: Option<(u8, u8)>,
    /// The id, in hexadecimal, of the root key in the host's key file. `None` if the host derives the root key from the
    /// cluster's secret.
    pub root_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founding {
    pub format: u32,
    /// This host.
    pub own: Founder,
    /// All founders, in order of their names, once every one has confirmed that it sees the same founders.
    pub agreed: Option<Vec<Founder>>,
}

impl Founding {
    pub fn new(own: Founder) -> Self {
        Self { format: FORMAT, own, agreed: None }
    }
}

/// Reads the state from the drives. A copy with an agreement is preferred, as a crash may have left it on some drives
/// only.
pub fn read_founding(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<Option<Founding>, IdentityError> {
    let mut found: Option<Founding> = None;
    for dir in dirs {
        let path = dir.join(FOUNDING_FILE);
        let why = match read_bounded(disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => error.to_string(),
            Ok(None) => format!("it is larger than {DOCUMENT_BYTES_MAX} bytes"),
            Ok(Some(bytes)) => match decode::<Founding>(&bytes, FORMAT) {
                Ok(kept) => {
                    if found.as_ref().is_none_or(|found| found.agreed.is_none() && kept.agreed.is_some()) {
                        found = Some(kept);
                    }
                    continue;
                }
                Err(DocumentFault::Corrupt(why)) => why,
                Err(DocumentFault::LaterFormat(found)) => {
                    return Err(IdentityError::LaterFormat { dir: dir.clone(), found, known: FORMAT });
                }
            },
        };
        tracing::warn!(path = %path.display(), why, "a copy of the state of the founding is unusable and is ignored");
    }
    Ok(found)
}

/// Writes the state to every drive, durably.
pub fn keep_founding(disk: &dyn Disk, dirs: &[PathBuf], founding: &Founding) -> Result<(), IdentityError> {
    let bytes = encode(founding);
    for dir in dirs {
        let path = dir.join(FOUNDING_FILE);
        replace_file(disk, &path, &bytes).map_err(|error| failed("write", path, &error))?;
    }
    Ok(())
}

/// Removes the state from every drive: the founding or joining has ended.
pub fn forget_founding(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<(), IdentityError> {
    remove_everywhere(disk, dirs, FOUNDING_FILE)
}

/// Removes a file from every drive, durably. Goes on after a failure, and returns the first one.
pub(super) fn remove_everywhere(disk: &dyn Disk, dirs: &[PathBuf], name: &str) -> Result<(), IdentityError> {
    let mut outcome = Ok(());
    for dir in dirs {
        let removed = match disk.remove(&dir.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => disk.sync_dir(dir),
        };
        outcome = outcome.and(removed.map_err(|error| failed("remove", dir.join(name), &error)));
    }
    outcome
}

fn failed(operation: &'static str, path: PathBuf, error: &io::Error) -> IdentityError {
    IdentityError::Io { operation, path, cause: error.to_string() }
}
