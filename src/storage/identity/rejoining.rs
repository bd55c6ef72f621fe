//! The state of a host that rejoins its cluster under another id: `rejoin.json`, on each of its drives. The new id must
//! survive a crash, as the cluster may already have registered the host under it; so the file is written before the id
//! is sent.

use super::document::{encode, hex64};
use super::founding::{forget_founding, remove_everywhere};
use super::scan::{RecordCopy, read_record};
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
/// one is preferred, then one that is given up; of equal ones that differ always the same, whatever the order of the
/// drives. Fails if there are damaged copies only: they may say that the host must not go on.
pub fn read_rejoining(disk: &dyn Disk, dirs: &[PathBuf], host: HostId) -> Result<Option<Rejoining>, IdentityError> {
    let weight = |kept: &Rejoining| (kept.decided, kept.given_up, kept.to);
    let mut found: Option<Rejoining> = None;
    let mut damaged = None;
    for dir in dirs {
        match read_record::<Rejoining>(disk, dir, REJOIN_FILE, FORMAT)? {
            RecordCopy::Whole(kept) if kept.from == host => {
                found = found.into_iter().chain([kept]).max_by_key(weight);
            }
            RecordCopy::Whole(_) | RecordCopy::None => {}
            RecordCopy::Damaged { path, why } => damaged = Some(IdentityError::RejoiningDamaged { path, why }),
        }
    }
    match (found, damaged) {
        (None, Some(damaged)) => Err(damaged),
        (found, _) => Ok(found),
    }
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

/// Removes the records of a founding and of a rejoin. Tries both, and returns the first failure.
pub fn forget_records(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<(), IdentityError> {
    let founding = forget_founding(disk, dirs);
    let rejoining = forget_rejoining(disk, dirs);
    founding.and(rejoining)
}

pub fn forget_rejoining(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<(), IdentityError> {
    remove_everywhere(disk, dirs, REJOIN_FILE)
}

fn failure(operation: &'static str, path: &Path, error: &io::Error) -> IdentityError {
    IdentityError::Io { operation, path: path.to_owned(), cause: error.to_string() }
}
