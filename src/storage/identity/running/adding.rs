//! A drive is added to a running host: an empty directory becomes a further drive, under a number of its own. Accepted is what
//! a start accepts: an empty directory, while every other drive of the host is there.

use super::lock_anew;
use crate::ambient::Ambient;
use crate::storage::disk::Disk;
use crate::storage::identity::document::Member;
use crate::storage::identity::examine::{Claim, Host, MemberDir, Plan, examine_without};
use crate::storage::identity::lock::{DirLocks, LockFault};
use crate::storage::identity::open::{HeldLocks, bring_up, check_size, write_identity};
use crate::storage::identity::scan::{Content, Found, scan};
use crate::storage::identity::{Drive, DriveState, IDENTITY_FILE, IdentityError, WantedGeometry};
use crate::types::{Incarnation, NodeId};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The directory to add, and the drives of its host.
#[derive(Clone, Debug)]
pub struct Addition {
    /// The directories of all drives of the host, in the order of its members.
    pub dirs: Vec<PathBuf>,
    /// The numbers of these drives, and of those that were removed while the host runs: what is late of one of these must not
    /// be taken for the new drive.
    pub taken: BTreeSet<NodeId>,
    pub dir: PathBuf,
    pub wanted: WantedGeometry,
}

/// The reason for which a directory is not added. Nothing was written, but by `Identity` and `Unusable`.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "the drive in {dir} is not there as this host knows it ({why}): a drive is added only while all others of its host are there; replace that one first"
    )]
    OtherAway { dir: PathBuf, why: String },
    #[error("there is no directory {dir}: make an empty one (a new file system), and see that it is mounted")]
    Absent { dir: PathBuf },
    #[error(
        "{dir} is on the file system of / as no other drive of this host is: is its drive mounted? To use the directory as it is, name it in SHERD_DATA and restart the host"
    )]
    NotMounted { dir: PathBuf },
    #[error("{dir} cannot be used: {why}")]
    Unusable { dir: PathBuf, why: String },
    #[error("{dir} is drive {node} of this host already")]
    OwnDrive { dir: PathBuf, node: NodeId },
    #[error(
        "the addition of drive {node} was begun in another directory: go on with that one first, or restart this host with it"
    )]
    OtherBegun { node: NodeId },
    #[error("{dir} holds a drive that was removed from this host: empty it to add it anew")]
    Removed { dir: PathBuf },
}

/// What an acceptable directory holds.
enum DirectoryState {
    Empty,
    /// The identity that an earlier attempt wrote, which came no further.
    Begun,
}

/// Checks whether the directory may become a drive; changes nothing. Blocking.
pub fn check_addition(disk: &dyn Disk, asked: &Addition) -> Result<(), AddError> {
    examined(disk, asked).map(drop)
}

fn scan_all(disk: &dyn Disk, asked: &Addition) -> Result<Vec<Found>, IdentityError> {
    let dirs: Vec<PathBuf> = asked.dirs.iter().chain([&asked.dir]).cloned().collect();
    scan(disk, &dirs)
}

fn examined(disk: &dyn Disk, asked: &Addition) -> Result<(Host, MemberDir, DirectoryState), AddError> {
    let found = scan_all(disk, asked)?;
    check_contents(&found, asked)?;
    let away = |dir: &PathBuf, why: &str| AddError::OtherAway { dir: dir.clone(), why: why.to_owned() };
    let Plan::Open(host, member_dirs, retired) = examine_without(&found, asked.wanted, &asked.taken)? else {
        return Err(away(&asked.dir, "the host is not formed yet"));
    };
    if retired.iter().any(|retired| retired.dir == asked.dir) {
        return Err(AddError::Removed { dir: asked.dir.clone() });
    }
    if let Some(retired) = retired.first() {
        return Err(away(&retired.dir, "it was removed"));
    }
    let is_asked = |member_dir: &MemberDir| member_dir.dir == asked.dir;
    let is_there = |member_dir: &&MemberDir| matches!(member_dir.claim, Claim::Kept { .. }) || is_asked(member_dir);
    if let Some(member_dir) = member_dirs.iter().find(|member_dir| !is_there(member_dir)) {
        return Err(away(&member_dir.dir, "another drive has its place"));
    }
    let member_dir = member_dirs.into_iter().find(is_asked).expect("each directory has a member, or is retired");
    let state = match &member_dir.claim {
        Claim::Added => DirectoryState::Empty,
        Claim::Kept { .. } if !asked.taken.contains(&member_dir.member.node) => DirectoryState::Begun,
        Claim::Vacant => return Err(AddError::OtherBegun { node: member_dir.member.node }),
        _ => return Err(AddError::OwnDrive { dir: asked.dir.clone(), node: member_dir.member.node }),
    };
    check_size(disk, &asked.dir)?;
    check_mounted(disk, asked)?;
    Ok((host, member_dir, state))
}

/// Checks each directory by itself: the one that is asked for may be empty or one of ours, the others must be drives.
fn check_contents(found: &[Found], asked: &Addition) -> Result<(), AddError> {
    for Found { dir, content } in found {
        let is_asked = *dir == asked.dir;
        let why = match content {
            Content::Ours(_) => continue,
            Content::Blank if is_asked => continue,
            // The message of a start.
            Content::NotOurs { .. } if is_asked => continue,
            Content::Absent if is_asked => return Err(AddError::Absent { dir: dir.clone() }),
            Content::Absent => "the directory does not exist".to_owned(),
            Content::Blank => "the directory is empty".to_owned(),
            Content::NotOurs { example } => format!("it holds {example:?}"),
            Content::Unreadable { why } | Content::Damaged { why } => why.clone(),
        };
        let dir = dir.clone();
        return Err(if is_asked { AddError::Unusable { dir, why } } else { AddError::OtherAway { dir, why } });
    }
    Ok(())
}

/// Refuses a directory that is not a file system of its own, where the other drives are: a mount point whose drive is not
/// mounted is an empty directory, too. A file system that is not told is taken for another one.
fn check_mounted(disk: &dyn Disk, asked: &Addition) -> Result<(), AddError> {
    let file_system = |dir: &Path| disk.space(dir).map_or(0, |space| space.file_system);
    let root = file_system(Path::new("/"));
    if root != 0 && file_system(&asked.dir) == root && asked.dirs.iter().all(|dir| file_system(dir) != root) {
        return Err(AddError::NotMounted { dir: asked.dir.clone() });
    }
    Ok(())
}

/// Makes the directory a drive of the host, and lets the other drives know. Blocking.
pub fn add_drive(
    disk: &dyn Disk,
    asked: &Addition,
    ambient: &Ambient,
    locks: &dyn DirLocks,
    held: &mut HeldLocks,
) -> Result<Drive, AddError> {
    // Before the lock, which leaves a file.
    examined(disk, asked)?;
    lock_anew(&asked.dir, locks, held).map_err(|fault| match fault {
        LockFault::InUse => IdentityError::Locked { dir: asked.dir.clone() }.into(),
        LockFault::Failed(error) => {
            AddError::Unusable { dir: asked.dir.clone(), why: format!("it cannot be locked: {error}") }
        }
    })?;
    let added = join(disk, asked, ambient);
    if added.is_err() {
        held.remove(&asked.dir);
    }
    added
}

fn join(disk: &dyn Disk, asked: &Addition, ambient: &Ambient) -> Result<Drive, AddError> {
    // What was seen before the lock may have been another process's.
    let (mut host, member_dir, state) = examined(disk, asked)?;
    let mut member = member_dir.member;
    if matches!(state, DirectoryState::Empty) {
        member = Member { incarnation: Incarnation(ambient.random_u128()), ..member };
        host.generation += 1;
        host.members.push(member);
        // First: a crash before the others know of it changes nothing.
        write_identity(disk, &host, member, &asked.dir).map_err(|error| IdentityError::Io {
            operation: "write",
            path: asked.dir.join(IDENTITY_FILE),
            cause: error.to_string(),
        })?;
    }
    for (dir, written) in bring_up(disk, &scan_all(disk, asked)?, &host) {
        if let Err(error) = written {
            tracing::warn!(dir = %dir.display(), %error, "a drive's identity could not be brought up to date");
        }
    }
    Ok(Drive { node: member.node, incarnation: member.incarnation, dir: asked.dir.clone(), state: DriveState::Present })
}
