//! The state of a host that is founding or joining a cluster: `founding.json`, on each of its drives. The host's id
//! must survive a crash once other hosts know it, so the file is written before the id is sent. The file is removed
//! when the drives have their identities and the host's metadata group has started.

use super::document::{encode, hex64};
use super::scan::{RecordCopy, read_record};
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
/// only. Fails if there are damaged copies only: other hosts may rely on the id in them.
pub fn read_founding(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<Option<Founding>, IdentityError> {
    let mut found: Option<Founding> = None;
    let mut damaged = None;
    for dir in dirs {
        match read_record::<Founding>(disk, dir, FOUNDING_FILE, FORMAT)? {
            RecordCopy::Whole(kept) => {
                if found.as_ref().is_none_or(|found| found.agreed.is_none() && kept.agreed.is_some()) {
                    found = Some(kept);
                }
            }
            RecordCopy::None => {}
            RecordCopy::Damaged { path, why } => damaged = Some(IdentityError::FoundingDamaged { path, why }),
        }
    }
    match (found, damaged) {
        (None, Some(damaged)) => Err(damaged),
        (found, _) => Ok(found),
    }
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
