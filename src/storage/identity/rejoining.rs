//! The state of a host that rejoins its cluster under another id: `rejoin.json`, on each of its drives. The new id must
//! survive a crash, as the cluster may already have registered the host under it; so the file is written before the id
//! is sent.

use super::document::{DOCUMENT_BYTES_MAX, DocumentFault, decode, encode, hex64};
use super::founding::remove_everywhere;
use super::scan::read_bounded;
use super::{IdentityError, REJOIN_FILE};
use crate::storage::disk::{Disk, replace_file};
use crate::types::HostId;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejoining {
    pub format: u32,
    /// The id that the host has until the cluster registers it again.
    #[serde(with = "hex64")]
    pub from: HostId,
    /// The id that the host has from then on.
    #[serde(with = "hex64")]
    pub to: HostId,
    /// True if the host must not take part under its present id any more, even if its metadata is readable.
    pub decided: bool,
    /// True if the cluster goes on without the host, which then waits for an operator.
    #[serde(default, skip_serializing_if = "is_false")]
    pub given_up: bool,
    pub why: String,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Rejoining {
    pub fn new(from: HostId, to: HostId, decided: bool, why: String) -> Self {
        Self { format: FORMAT, from, to, decided, given_up: false, why }
    }
}

/// Reads the state of a host with the present id `host`; `None` if it is not rejoining. Of several copies, a decided
/// one is preferred, then one that is given up.
pub fn read_rejoining(disk: &dyn Disk, dirs: &[PathBuf], host: HostId) -> Result<Option<Rejoining>, IdentityError> {
    let mut found: Option<Rejoining> = None;
    for dir in dirs {
        let path = dir.join(REJOIN_FILE);
        let why = match read_bounded(disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => error.to_string(),
            Ok(None) => format!("it is larger than {DOCUMENT_BYTES_MAX} bytes"),
            Ok(Some(bytes)) => match decode::<Rejoining>(&bytes, FORMAT) {
                Ok(kept) => {
                    let weight = |kept: &Rejoining| (kept.decided, kept.given_up);
                    let is_better = found.as_ref().is_none_or(|found| weight(&kept) > weight(found));
                    found = if kept.from == host && is_better { Some(kept) } else { found };
                    continue;
                }
                Err(DocumentFault::Corrupt(why)) => why,
                Err(DocumentFault::LaterFormat(found)) => {
                    return Err(IdentityError::LaterFormat { dir: dir.clone(), found, known: FORMAT });
                }
            },
        };
        tracing::warn!(path = %path.display(), why, "a copy of the state of the rejoining is unusable and is ignored");
    }
    Ok(found)
}

/// Writes the state to the drives, durably. Fails only if no drive could be written.
pub fn keep_rejoining(disk: &dyn Disk, dirs: &[PathBuf], rejoining: &Rejoining) -> Result<(), IdentityError> {
    let bytes = encode(rejoining);
    let (mut kept, mut failed) = (false, None);
    for path in dirs.iter().map(|dir| dir.join(REJOIN_FILE)) {
        match replace_file(disk, &path, &bytes) {
            Ok(()) => kept = true,
            Err(error) => failed = Some(failure("write", &path, &error)),
        }
    }
    failed.filter(|_| !kept).map_or(Ok(()), Err)
}

pub fn forget_rejoining(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<(), IdentityError> {
    remove_everywhere(disk, dirs, REJOIN_FILE)
}

fn failure(operation: &'static str, path: &Path, error: &io::Error) -> IdentityError {
    IdentityError::Io { operation, path: path.to_owned(), cause: error.to_string() }
}
