//! What a host that belongs to no cluster yet keeps of its taking part in founding or joining one: `founding.json`, on each
//! of its drives. Who it is must outlive a crash, since others count on it once they have heard it; so it is written before
//! it is said. It goes when the host's drives have their identities and its group has begun.

use super::document::{DocumentFault, decode, encode, hex64};
use super::scan::read_bounded;
use super::{FOUNDING_FILE, IdentityError};
use crate::storage::disk::{Disk, replace_file};
use crate::types::HostId;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

const FORMAT: u32 = 1;

/// A host that takes part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founder {
    pub name: String,
    #[serde(with = "hex64")]
    pub host: HostId,
    pub address: String,
    pub drives: u16,
    /// Data and parity shards, where they are asked for.
    pub geometry: Option<(u8, u8)>,
    /// The id of the root key that a file gives it, in hexadecimal. `None`: it derives the key from the cluster's secret.
    pub root_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founding {
    pub format: u32,
    /// This host.
    pub own: Founder,
    /// All of them in order of their names, once every one has said that it sees the same ones.
    pub agreed: Option<Vec<Founder>>,
}

impl Founding {
    pub fn new(own: Founder) -> Self {
        Self { format: FORMAT, own, agreed: None }
    }
}

/// What was kept: of several copies, one with an agreement, which a crash may have left on some drives only.
pub fn read_founding(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<Option<Founding>, IdentityError> {
    let mut found: Option<Founding> = None;
    for dir in dirs {
        let path = dir.join(FOUNDING_FILE);
        let why = match read_bounded(disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => error.to_string(),
            Ok(None) => "it is far too large".to_owned(),
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
        tracing::warn!(path = %path.display(), why, "a copy of what was kept of the founding cannot be used");
    }
    Ok(found)
}

/// Durable on every drive when this returns.
pub fn keep_founding(disk: &dyn Disk, dirs: &[PathBuf], founding: &Founding) -> Result<(), IdentityError> {
    let bytes = encode(founding);
    for dir in dirs {
        let path = dir.join(FOUNDING_FILE);
        replace_file(disk, &path, &bytes).map_err(|error| failed("write", path, &error))?;
    }
    Ok(())
}

/// It is over.
pub fn forget_founding(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<(), IdentityError> {
    for dir in dirs {
        let path = dir.join(FOUNDING_FILE);
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", path, &error)),
            _ => {}
        }
    }
    Ok(())
}

fn failed(operation: &'static str, path: PathBuf, error: &io::Error) -> IdentityError {
    IdentityError::Io { operation, path, cause: error.to_string() }
}
