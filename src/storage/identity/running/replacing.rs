//! The replacement of a drive while its host runs: an empty directory at the drive's path becomes the drive, under a
//! new incarnation. The directories are examined as at a start.

use super::lock_anew;
use crate::ambient::Ambient;
use crate::storage::disk::Disk;
use crate::storage::identity::examine::{Claim, Host, MemberDir, Plan, examine};
use crate::storage::identity::lock::{DirLocks, LockFault};
use crate::storage::identity::open::{HeldLocks, bring_up, check_size, write_identity};
use crate::storage::identity::scan::scan;
use crate::storage::identity::{Drive, DriveState, IDENTITY_FILE, IdentityError, WantedGeometry};
use crate::types::{Incarnation, NodeId};
use std::path::PathBuf;

/// The request to replace a drive.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// The directories of all drives of the host, in the order of its members.
    pub dirs: Vec<PathBuf>,
    pub node: NodeId,
    pub dir: PathBuf,
    /// The incarnation of the drive that is given up.
    pub former: Incarnation,
    pub wanted: WantedGeometry,
}

/// The reason for which a drive is not replaced. Nothing was written, except possibly with
/// `Identity(IdentityError::Io)`.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "no other drive of this host can be read, so the store of the new drive cannot be determined; restart the host"
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
    #[error("{dir} is the directory of another drive of this host; give the directory of the drive to replace")]
    OtherMember { dir: PathBuf },
}

/// The state of an acceptable directory.
enum Attempt {
    /// The directory is empty.
    First,
    /// An earlier attempt, which did not complete, wrote the identity of the new drive.
    Resumed,
}

/// Checks whether the directory may become the drive, and changes nothing. Blocks on the disk.
pub fn check_replacement(disk: &dyn Disk, request: &Replacement) -> Result<(), ReplaceError> {
    examined(disk, request).map(drop)
}

fn examined(disk: &dyn Disk, request: &Replacement) -> Result<(Host, MemberDir, Attempt), ReplaceError> {
    let Plan::Open(host, member_dirs, _) = examine(&scan(disk, &request.dirs)?, request.wanted)? else {
        return Err(ReplaceError::NoOther);
    };
    let dir = || request.dir.clone();
    let member_dir = member_dirs
        .into_iter()
        .find(|member_dir| member_dir.dir == request.dir && member_dir.member.node == request.node);
    let member_dir = member_dir.ok_or_else(|| ReplaceError::OtherMember { dir: dir() })?;
    let attempt = match &member_dir.claim {
        Claim::Vacant => Attempt::First,
        Claim::Kept { .. } if member_dir.member.incarnation != request.former => Attempt::Resumed,
        Claim::Kept { .. } => return Err(ReplaceError::StillThere { dir: dir() }),
        Claim::Returned { .. } => return Err(ReplaceError::Former { dir: dir() }),
        Claim::Absent => return Err(ReplaceError::Absent { dir: dir() }),
        Claim::Lost { why } => return Err(ReplaceError::Unusable { dir: dir(), why: why.clone() }),
        Claim::Added => return Err(ReplaceError::OtherMember { dir: dir() }),
    };
    check_size(disk, &request.dir)?;
    Ok((host, member_dir, attempt))
}

/// Makes the directory the drive, under a new incarnation, and writes the new membership to the other drives of the
/// host. No file of the former drive may be open. Blocks on the disk.
pub fn replace_drive(
    disk: &dyn Disk,
    request: &Replacement,
    ambient: &Ambient,
    locks: &dyn DirLocks,
    held: &mut HeldLocks,
) -> Result<Drive, ReplaceError> {
    examined(disk, request)?;
    lock_anew(&request.dir, locks, held).map_err(|fault| match fault {
        LockFault::InUse => IdentityError::Locked { dir: request.dir.clone() }.into(),
        LockFault::Failed(error) => {
            ReplaceError::Unusable { dir: request.dir.clone(), why: format!("it cannot be locked: {error}") }
        }
    })?;
    // Examined again, as another process may have used the directory before it was locked.
    let (mut host, mut member_dir, attempt) = examined(disk, request)?;
    if matches!(attempt, Attempt::First) {
        member_dir.member.incarnation = Incarnation(ambient.random_u128());
        host.generation += 1;
        let own = host.members.iter_mut().find(|member| member.node == request.node);
        *own.expect("the directory is a member's") = member_dir.member;
        // The new drive is written first: it has the youngest membership, so after a crash the next start continues
        // from it.
        write_identity(disk, &host, member_dir.member, &request.dir).map_err(|error| IdentityError::Io {
            operation: "write",
            path: request.dir.join(IDENTITY_FILE),
            cause: error.to_string(),
        })?;
    }
    for (dir, written) in bring_up(disk, &scan(disk, &request.dirs)?, &host) {
        if let Err(error) = written {
            tracing::warn!(dir = %dir.display(), %error, "the identity of a drive could not be updated");
        }
    }
    let (node, incarnation) = (request.node, member_dir.member.incarnation);
    Ok(Drive { node, incarnation, dir: request.dir.clone(), state: DriveState::Replaced })
}
