//! A drive of a running host is replaced: an empty directory under the path of a drive becomes that drive, as another
//! incarnation. What the directories mean is decided as at a start.

use super::lock_anew;
use crate::ambient::Ambient;
use crate::storage::disk::Disk;
use crate::storage::identity::examine::{Claim, Host, Plan, Seat, examine};
use crate::storage::identity::lock::{DirLocks, LockFault};
use crate::storage::identity::open::{HeldLocks, bring_up, check_size, write_identity};
use crate::storage::identity::scan::scan;
use crate::storage::identity::{Drive, DriveState, IDENTITY_FILE, IdentityError, WantedGeometry};
use crate::types::{Incarnation, NodeId};
use std::path::PathBuf;

/// The drive to replace, as its host knows it.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// The directories of all drives of the host, in the order of its members.
    pub dirs: Vec<PathBuf>,
    pub node: NodeId,
    pub dir: PathBuf,
    /// The drive that is to be given up.
    pub former: Incarnation,
    pub wanted: WantedGeometry,
}

/// The reason for which a drive is not replaced. Nothing was written, but by `Identity` and `Write`.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "no other drive of this host can be read, so that nothing says which store this one is of; restart the host"
    )]
    NoOther,
    #[error(
        "{dir} holds the drive itself, not an empty directory: put an empty one (a new file system) in its place; to take the drive back as it is, restart the host"
    )]
    StillThere { dir: PathBuf },
    #[error(
        "{dir} holds this drive as it was before it was replaced; empty the directory, or restart the host to take the drive back"
    )]
    Former { dir: PathBuf },
    #[error("there is no directory {dir}: make an empty one (a new file system)")]
    Absent { dir: PathBuf },
    #[error("{dir} cannot be used: {why}")]
    Unusable { dir: PathBuf, why: String },
    #[error("{dir} stands for another drive of this host")]
    OtherSeat { dir: PathBuf },
}

/// What an acceptable directory holds.
enum Standing {
    Empty,
    /// The identity that an earlier attempt wrote, which came no further.
    Begun,
}

/// Checks whether the directory may become the drive; changes nothing. Blocking.
pub fn check_replacement(disk: &dyn Disk, asked: &Replacement) -> Result<(), ReplaceError> {
    examined(disk, asked).map(drop)
}

fn examined(disk: &dyn Disk, asked: &Replacement) -> Result<(Host, Seat, Standing), ReplaceError> {
    let Plan::Open(host, seats, _) = examine(&scan(disk, &asked.dirs)?, asked.wanted)? else {
        return Err(ReplaceError::NoOther);
    };
    let dir = || asked.dir.clone();
    let seat = seats.into_iter().find(|seat| seat.dir == asked.dir && seat.member.node == asked.node);
    let seat = seat.ok_or_else(|| ReplaceError::OtherSeat { dir: dir() })?;
    let standing = match &seat.claim {
        Claim::Vacant => Standing::Empty,
        Claim::Kept { .. } if seat.member.incarnation != asked.former => Standing::Begun,
        Claim::Kept { .. } => return Err(ReplaceError::StillThere { dir: dir() }),
        Claim::Returned { .. } => return Err(ReplaceError::Former { dir: dir() }),
        Claim::Absent => return Err(ReplaceError::Absent { dir: dir() }),
        Claim::Lost { why } => return Err(ReplaceError::Unusable { dir: dir(), why: why.clone() }),
        Claim::Added => return Err(ReplaceError::OtherSeat { dir: dir() }),
    };
    check_size(disk, &asked.dir)?;
    Ok((host, seat, standing))
}

/// Makes the directory the drive, under a new incarnation, and lets the other drives of the host know. Nothing of the former
/// drive may be open. Blocking.
pub fn replace_drive(
    disk: &dyn Disk,
    asked: &Replacement,
    ambient: &Ambient,
    locks: &dyn DirLocks,
    held: &mut HeldLocks,
) -> Result<Drive, ReplaceError> {
    examined(disk, asked)?;
    lock_anew(&asked.dir, locks, held).map_err(|fault| match fault {
        LockFault::InUse => IdentityError::Locked { dir: asked.dir.clone() }.into(),
        LockFault::Failed(error) => {
            ReplaceError::Unusable { dir: asked.dir.clone(), why: format!("it cannot be locked: {error}") }
        }
    })?;
    // What was seen before the lock may have been another process's.
    let (mut host, mut seat, standing) = examined(disk, asked)?;
    if matches!(standing, Standing::Empty) {
        seat.member.incarnation = Incarnation(ambient.random_u128());
        host.generation += 1;
        let own = host.members.iter_mut().find(|member| member.node == asked.node);
        *own.expect("the seat is a member's") = seat.member;
        // First: a crash before the others know of it changes nothing.
        write_identity(disk, &host, seat.member, &asked.dir).map_err(|error| IdentityError::Io {
            operation: "write",
            path: asked.dir.join(IDENTITY_FILE),
            cause: error.to_string(),
        })?;
    }
    for (dir, written) in bring_up(disk, &scan(disk, &asked.dirs)?, &host) {
        if let Err(error) = written {
            tracing::warn!(dir = %dir.display(), %error, "a drive's identity could not be brought up to date");
        }
    }
    let (node, incarnation) = (asked.node, seat.member.incarnation);
    Ok(Drive { node, incarnation, dir: asked.dir.clone(), state: DriveState::Replaced })
}
