//! The execution of the plan that `examine` made at start: forming a host, finishing a formation, or taking drives into
//! service; and later changes of the membership. Each identity file is replaced atomically, so that `examine`
//! understands the state after a crash between any two writes.

use super::document::{FORMAT, Identity, Member, Stage, encode, with_earlier};
use super::examine::{Claim, Host, MemberDir, Plan, Retired, examine, host_of};
use super::lock::{DirLocks, HeldLock, LockFault};
use super::scan::{Content, Found, scan};
use super::{IDENTITY_FILE, IdentityError, WantedGeometry};
use crate::ambient::Ambient;
use crate::limits::DRIVE_BYTES_MIN;
use crate::storage::disk::{Disk, Space, create_dir_durably, replace_file};
use crate::types::{ClusterId, HostId, Incarnation, NodeId, RecoveryEpoch};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A host and its drives, which stay locked while this value lives.
#[derive(Debug)]
pub struct HostDrives {
    pub cluster: ClusterId,
    /// The recovery epoch of the host's metadata group.
    pub recovery: RecoveryEpoch,
    pub host: HostId,
    /// The ids that the host had before it rejoined its cluster, the oldest first.
    pub earlier: Vec<HostId>,
    pub data: u8,
    pub parity: u8,
    /// Every drive of the host, lost ones included, in the order in which they became members.
    pub drives: Vec<Drive>,
    /// True if this start formed the host.
    pub formed_now: bool,
    /// True if the host has had metadata.
    pub has_started: bool,
    /// The locks on the directories. No other process opens a directory while its lock is held.
    pub locks: HeldLocks,
}

/// Locks by directory.
pub type HeldLocks = BTreeMap<PathBuf, HeldLock>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub dir: PathBuf,
    pub state: DriveState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveState {
    /// The drive has the content that the store left on it, or is new and no shards are expected on it.
    Present,
    /// The drive is empty and replaces a lost one: all shards of the node must be rebuilt.
    Replaced,
    /// The drive is back after another drive had replaced it: its content may be outdated.
    Returned,
    /// The drive is unusable.
    Lost { why: String },
}

impl HostDrives {
    /// Returns the directories of the drives that are not lost.
    pub fn usable_dirs(&self) -> Vec<PathBuf> {
        let usable = |drive: &&Drive| !matches!(drive.state, DriveState::Lost { .. });
        self.drives.iter().filter(usable).map(|drive| drive.dir.clone()).collect()
    }
}

/// The outcome of `prepare_host`.
#[derive(Debug)]
pub enum Prepared {
    /// The drives of an existing host, in service.
    Known(HostDrives),
    /// Empty directories, which do not belong to a host yet.
    Blank(BlankDrives),
}

/// Empty directories, which stay locked while this value lives.
#[derive(Debug)]
pub struct BlankDrives {
    found: Vec<Found>,
    locks: HeldLocks,
}

/// The identity of a new host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewHost {
    pub cluster: ClusterId,
    pub recovery: RecoveryEpoch,
    pub host: HostId,
    /// The node number of the host's first drive; the other drives get the next numbers.
    pub first_node: NodeId,
    pub data: u8,
    pub parity: u8,
}

impl NewHost {
    /// Makes the identity of a host that forms a new cluster by itself.
    pub fn alone(wanted: WantedGeometry, ambient: &Ambient) -> Self {
        let cluster = ClusterId(ambient.random_u128());
        let (host, recovery) = (new_host_id(ambient), RecoveryEpoch::default());
        Self { cluster, recovery, host, first_node: NodeId(0), data: wanted.data, parity: wanted.parity }
    }
}

pub fn new_host_id(ambient: &Ambient) -> HostId {
    let mut bytes = [0; 8];
    ambient.entropy.fill(&mut bytes);
    HostId(u64::from_be_bytes(bytes).max(1))
}

/// Takes the directories into service as the drives of one host. Forms a new store if they are all empty.
pub fn open_host(
    disk: &dyn Disk,
    dirs: &[PathBuf],
    wanted: WantedGeometry,
    ambient: &Ambient,
    locks: &dyn DirLocks,
) -> Result<HostDrives, IdentityError> {
    match prepare_host(disk, dirs, wanted, ambient, locks)? {
        Prepared::Known(host) => Ok(host),
        Prepared::Blank(blank) => blank.form(disk, NewHost::alone(wanted, ambient), ambient),
    }
}

/// Takes the directories into service as the drives of one host, or only locks them if they are all empty.
pub fn prepare_host(
    disk: &dyn Disk,
    dirs: &[PathBuf],
    wanted: WantedGeometry,
    ambient: &Ambient,
    locks: &dyn DirLocks,
) -> Result<Prepared, IdentityError> {
    let first_look = scan(disk, dirs)?;
    let plan = examine(&first_look, wanted)?;
    let forming = !matches!(plan, Plan::Open(..));
    if matches!(plan, Plan::Form) {
        first_look.iter().try_for_each(|found| check_size(disk, &found.dir))?;
    }
    if forming {
        create_missing(disk, &first_look)?;
    }
    let (held, found) = lock_all(disk, &first_look, forming, locks)?;
    let mut opened = match examine(&found, wanted)? {
        Plan::Form => return Ok(Prepared::Blank(BlankDrives { found, locks: held })),
        Plan::Finish(host, member_dirs) => finish(disk, host, member_dirs)?,
        Plan::Open(host, member_dirs, retired) => {
            report_retired(&retired);
            take_into_service(disk, host, member_dirs, ambient)
        }
    };
    opened.locks = held;
    report(&opened);
    Ok(Prepared::Known(opened))
}

/// Refuses a new drive that is too small. A drive whose size is unknown is accepted.
pub(super) fn check_size(disk: &dyn Disk, dir: &Path) -> Result<(), IdentityError> {
    match dir.ancestors().find_map(|ancestor| disk.space(ancestor).ok()) {
        Some(Space { total_bytes: total @ 1..DRIVE_BYTES_MIN, .. }) => {
            Err(IdentityError::TooSmall { dir: dir.to_owned(), mib: total >> 20 })
        }
        _ => Ok(()),
    }
}

fn create_missing(disk: &dyn Disk, found: &[Found]) -> Result<(), IdentityError> {
    let unmade = |found: &&Found| matches!(found.content, Content::Absent | Content::Blank);
    for Found { dir, content } in found.iter().filter(unmade) {
        if *content == Content::Absent {
            tracing::info!(dir = %dir.display(), "a data directory (SHERD_DATA) does not exist: it is created");
        }
        create_dir_durably(disk, dir)
            .map_err(|error| IdentityError::Unusable { dir: dir.clone(), why: error.to_string() })?;
    }
    Ok(())
}

/// Locks the directories and scans them again, as the first scan may have seen another process's work half done.
/// Returns the locks and the second scan. A directory that cannot be locked counts as unreadable.
fn lock_all(
    disk: &dyn Disk,
    first_look: &[Found],
    forming: bool,
    locks: &dyn DirLocks,
) -> Result<(HeldLocks, Vec<Found>), IdentityError> {
    let mut held = HeldLocks::new();
    let mut unlockable = Vec::new();
    for Found { dir, content } in first_look {
        let in_use = matches!(content, Content::Ours(_) | Content::Blank) || (forming && *content == Content::Absent);
        if !in_use {
            continue;
        }
        match locks.lock(dir) {
            Ok(lock) => drop(held.insert(dir.clone(), lock)),
            Err(LockFault::InUse) => return Err(IdentityError::Locked { dir: dir.clone() }),
            Err(LockFault::Failed(error)) => unlockable.push((dir, format!("it cannot be locked: {error}"))),
        }
    }
    let dirs: Vec<PathBuf> = first_look.iter().map(|found| found.dir.clone()).collect();
    let mut found = scan(disk, &dirs)?;
    for (now, before) in found.iter_mut().zip(first_look) {
        if let Some((_, why)) = unlockable.iter().find(|(dir, _)| **dir == now.dir) {
            now.content = Content::Unreadable { why: why.clone() };
        } else if !held.contains_key(&now.dir) && matches!(now.content, Content::Ours(_) | Content::Blank) {
            // The directory appeared, or could be read, after the first scan only: it is not locked.
            now.content = before.content.clone();
        }
    }
    Ok((held, found))
}

impl BlankDrives {
    pub fn dirs(&self) -> Vec<PathBuf> {
        self.found.iter().map(|found| found.dir.clone()).collect()
    }

    /// Forms a host: makes the directories its drives.
    pub fn form(self, disk: &dyn Disk, new: NewHost, ambient: &Ambient) -> Result<HostDrives, IdentityError> {
        let member = |number: usize| {
            let node = NodeId(new.first_node.0 + u32::try_from(number).expect("directories are few"));
            Member { node, incarnation: Incarnation(ambient.random_u128()) }
        };
        let members: Vec<Member> = (0..self.found.len()).map(member).collect();
        let NewHost { cluster, recovery, host, data, parity, .. } = new;
        let members_of_host = members.clone();
        let host = Host {
            cluster,
            host,
            data,
            parity,
            stage: Stage::Forming,
            generation: 1,
            members: members_of_host,
            earlier: Vec::new(),
            recovery,
        };
        let vacant = |(member, found): (&Member, &Found)| MemberDir {
            member: *member,
            dir: found.dir.clone(),
            claim: Claim::Vacant,
            moved: false,
        };
        let member_dirs = members.iter().zip(&self.found).map(vacant).collect();
        let mut formed = finish(disk, host, member_dirs)?;
        formed.locks = self.locks;
        report(&formed);
        Ok(formed)
    }
}

/// Writes the identities of a formation: to every drive as `Forming`, before to any as `Formed`.
fn finish(disk: &dyn Disk, mut host: Host, member_dirs: Vec<MemberDir>) -> Result<HostDrives, IdentityError> {
    for stage in [Stage::Forming, Stage::Formed] {
        host.stage = stage;
        for member_dir in &member_dirs {
            let written = stage == Stage::Forming && matches!(member_dir.claim, Claim::Kept { .. });
            if !written {
                let path = member_dir.dir.join(IDENTITY_FILE);
                write_identity(disk, &host, member_dir.member, &member_dir.dir).map_err(|error| IdentityError::Io {
                    operation: "write",
                    path,
                    cause: error.to_string(),
                })?;
            }
        }
    }
    let drives = member_dirs
        .into_iter()
        .map(|member_dir| drive(member_dir.member, member_dir.dir, DriveState::Present))
        .collect();
    Ok(HostDrives::new(&host, drives, true))
}

/// Takes the drives into service, and writes the identities that are missing or outdated. The identity of a replaced,
/// returned or added drive is written first: as it has the youngest membership, the next start continues from it after
/// a crash.
fn take_into_service(disk: &dyn Disk, mut host: Host, member_dirs: Vec<MemberDir>, ambient: &Ambient) -> HostDrives {
    let (added, member_dirs): (Vec<MemberDir>, Vec<MemberDir>) =
        member_dirs.into_iter().partition(|member_dir| member_dir.claim == Claim::Added);
    let mut drives = Vec::with_capacity(member_dirs.len() + added.len());
    for (place, member_dir) in member_dirs.iter().enumerate() {
        let (incarnation, mut state) = match &member_dir.claim {
            Claim::Kept { .. } => (member_dir.member.incarnation, DriveState::Present),
            Claim::Vacant => {
                let state = match check_size(disk, &member_dir.dir) {
                    Ok(()) => DriveState::Replaced,
                    Err(error) => DriveState::Lost { why: error.to_string() },
                };
                (Incarnation(ambient.random_u128()), state)
            }
            Claim::Added => unreachable!("added drives were split off above"),
            Claim::Returned { identity } => (identity.incarnation, DriveState::Returned),
            Claim::Absent => {
                (member_dir.member.incarnation, DriveState::Lost { why: "the directory does not exist".to_owned() })
            }
            Claim::Lost { why } => (member_dir.member.incarnation, DriveState::Lost { why: why.clone() }),
        };
        if matches!(state, DriveState::Replaced | DriveState::Returned) {
            let mut next = host.clone();
            next.generation += 1;
            next.members[place].incarnation = incarnation;
            match write_identity(disk, &next, next.members[place], &member_dir.dir) {
                Ok(()) => host = next,
                Err(error) => state = DriveState::Lost { why: format!("its identity cannot be written: {error}") },
            }
        }
        if member_dir.moved && !matches!(state, DriveState::Lost { .. }) {
            let (node, dir) = (member_dir.member.node.0, member_dir.dir.display());
            tracing::info!(node, %dir, "the directories are in another order than at formation; each drive keeps its node number");
        }
        drives.push(drive(host.members[place], member_dir.dir.clone(), state));
    }
    drives.extend(added.iter().filter_map(|member_dir| add(disk, &mut host, member_dir, ambient)));
    for drive in &mut drives {
        if let Some(member_dir) = member_dirs.iter().chain(&added).find(|member_dir| member_dir.dir == drive.dir) {
            settle(disk, &host, drive, &member_dir.claim);
        }
    }
    HostDrives::new(&host, drives, false)
}

/// Makes an empty directory a new drive of the host. If its identity cannot be written, the host goes on without it.
fn add(disk: &dyn Disk, host: &mut Host, member_dir: &MemberDir, ambient: &Ambient) -> Option<Drive> {
    let member = Member { incarnation: Incarnation(ambient.random_u128()), ..member_dir.member };
    let mut next = host.clone();
    next.generation += 1;
    next.members.push(member);
    let (node, dir) = (member.node.0, member_dir.dir.display());
    let written = check_size(disk, &member_dir.dir).map_err(|error| error.to_string());
    let written =
        written.and_then(|()| write_identity(disk, &next, member, &member_dir.dir).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::error!(node, %dir, error, "a directory cannot be added to the store; going on without it");
        return None;
    }
    tracing::info!(node, %dir, "a drive is added to this host");
    *host = next;
    Some(drive(member, member_dir.dir.clone(), DriveState::Present))
}

/// Records on the drives that the host has metadata now. Nothing may be acknowledged before this. Fails only if no
/// drive has the record afterwards.
pub fn note_started(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<(), IdentityError> {
    let found = scan(disk, dirs)?;
    let (mut is_known, mut failed) = (false, None);
    for Found { dir, content } in &found {
        let Content::Ours(identity) = content else { continue };
        let started = Identity { stage: Stage::Started, ..(**identity).clone() };
        let path = dir.join(IDENTITY_FILE);
        let written =
            if identity.stage == Stage::Started { Ok(()) } else { replace_file(disk, &path, &encode(&started)) };
        match written {
            Ok(()) => is_known = true,
            Err(error) => failed = Some(IdentityError::Io { operation: "write", path, cause: error.to_string() }),
        }
    }
    failed.filter(|_| !is_known).map_or(Ok(()), Err)
}

/// Removes drives from the host's membership; later starts ignore their directories. Writes the new membership to the
/// remaining drives, and nothing to the removed ones, whose membership is then older. Returns whether anything had to
/// be written, which after a failed attempt is the rest of it. A failure on one drive does not stop the writes to
/// others; the first error is returned.
pub fn retire_drives(disk: &dyn Disk, dirs: &[PathBuf], nodes: &[NodeId]) -> Result<bool, IdentityError> {
    let found = scan(disk, dirs)?;
    let Some(mut host) = host_of(&found) else { return Ok(false) };
    let before = host.members.len();
    host.members.retain(|member| !nodes.contains(&member.node));
    if host.members.is_empty() {
        return Ok(false);
    }
    host.generation += u64::from(host.members.len() < before);
    let written = bring_up(disk, &found, &host);
    let any = written.iter().any(|(_, written)| written.is_ok());
    match written.into_iter().find_map(|(dir, written)| Some((dir.join(IDENTITY_FILE), written.err()?))) {
        Some((path, error)) => Err(IdentityError::Io { operation: "write", path, cause: error.to_string() }),
        None => Ok(any),
    }
}

/// Rewrites the identity of each member that names its host by another id or has an older generation. Returns the
/// outcome of each write with its directory.
pub(super) fn bring_up<'a>(disk: &dyn Disk, found: &'a [Found], host: &Host) -> Vec<(&'a Path, io::Result<()>)> {
    let mut written = Vec::new();
    for Found { dir, content } in found {
        let Content::Ours(identity) = content else { continue };
        let member = Member { node: identity.node, incarnation: identity.incarnation };
        let is_older = identity.host != host.host || identity.generation < host.generation;
        // An earlier incarnation of a replaced drive is not a member.
        if is_older && host.members.contains(&member) {
            written.push((dir.as_path(), write_identity(disk, host, member, dir)));
        }
    }
    written
}

/// Rewrites a drive's identity if its stage or generation is outdated.
fn settle(disk: &dyn Disk, host: &Host, drive: &mut Drive, claim: &Claim) {
    if matches!(drive.state, DriveState::Lost { .. }) {
        return;
    }
    if let Claim::Kept { stage, generation } = claim
        && (*stage, *generation) == (host.stage, host.generation)
    {
        return;
    }
    let member = Member { node: drive.node, incarnation: drive.incarnation };
    if let Err(error) = write_identity(disk, host, member, &drive.dir) {
        let dir = drive.dir.display();
        if matches!(claim, Claim::Kept { stage: Stage::Forming, .. }) {
            drive.state = DriveState::Lost { why: format!("its identity cannot be written: {error}") };
        } else {
            tracing::warn!(%dir, %error, "the identity of a drive could not be updated");
        }
    }
}

pub(super) fn write_identity(disk: &dyn Disk, host: &Host, member: Member, dir: &Path) -> io::Result<()> {
    let identity = Identity {
        format: FORMAT,
        cluster: host.cluster,
        host: host.host,
        node: member.node,
        incarnation: member.incarnation,
        data: host.data,
        parity: host.parity,
        stage: host.stage,
        generation: host.generation,
        members: host.members.clone(),
        earlier: host.earlier.clone(),
        recovery: host.recovery,
    };
    replace_file(disk, &dir.join(IDENTITY_FILE), &encode(&identity))
}

fn drive(member: Member, dir: PathBuf, state: DriveState) -> Drive {
    Drive { node: member.node, incarnation: member.incarnation, dir, state }
}

impl HostDrives {
    /// Gives the host another id within its cluster, which is in this recovery epoch, and rewrites the identities of
    /// its drives. A drive whose identity cannot be read or written is lost for now; the others record the host's former
    /// id in `earlier`, so that it is recognised later. Fails if no drive can be written.
    pub fn renamed(mut self, disk: &dyn Disk, to: HostId, recovery: RecoveryEpoch) -> Result<Self, IdentityError> {
        let found = scan(disk, &self.usable_dirs())?;
        let mut failed = None;
        for Found { dir, content } in &found {
            let why = match content {
                Content::Ours(_) => continue,
                Content::Unreadable { why } | Content::Damaged { why } => why.clone(),
                Content::Absent | Content::Blank | Content::NotOurs { .. } => format!("{IDENTITY_FILE} is gone"),
            };
            failed = Some(self.lose(dir, why));
        }
        let Some(mut host) = host_of(&found) else {
            let dir = self.drives.first().map(|drive| drive.dir.clone()).unwrap_or_default();
            let why = "no drive of this host can be used".to_owned();
            return Err(failed.unwrap_or(IdentityError::Unusable { dir, why }));
        };
        host.earlier = with_earlier(std::mem::take(&mut host.earlier), host.host);
        (host.host, host.recovery, host.generation) = (to, recovery, host.generation + 1);
        for (dir, written) in bring_up(disk, &found, &host) {
            let Err(error) = written else { continue };
            failed = Some(self.lose(dir, format!("its identity cannot be written: {error}")));
        }
        match failed.filter(|_| self.usable_dirs().is_empty()) {
            Some(error) => Err(error),
            None => Ok(Self { host: to, recovery, earlier: host.earlier, ..self }),
        }
    }

    /// Marks the drive in this directory as lost. Returns the error for the case that no other is left.
    fn lose(&mut self, dir: &Path, why: String) -> IdentityError {
        for drive in self.drives.iter_mut().filter(|drive| drive.dir == dir) {
            tracing::error!(node = drive.node.0, dir = %dir.display(), why, "a drive is lost; going on without it");
            drive.state = DriveState::Lost { why: why.clone() };
        }
        IdentityError::Unusable { dir: dir.to_owned(), why }
    }

    fn new(host: &Host, drives: Vec<Drive>, formed_now: bool) -> Self {
        let Host { cluster, host: id, data, parity, stage, recovery, .. } = *host;
        Self {
            cluster,
            recovery,
            host: id,
            earlier: host.earlier.clone(),
            data,
            parity,
            drives,
            formed_now,
            has_started: stage == Stage::Started,
            locks: HeldLocks::new(),
        }
    }
}

fn report_retired(retired: &[Retired]) {
    for Retired { dir, node } in retired {
        let (node, dir) = (node.0, dir.display());
        tracing::warn!(node, %dir, "this drive was removed from the store and is left alone; take it out of the list of data directories, or empty it to add it anew");
    }
}

fn report(opened: &HostDrives) {
    let (cluster, geometry) = (opened.cluster, format!("{}+{}", opened.data, opened.parity));
    tracing::info!(%cluster, geometry, drives = opened.drives.len(), formed_now = opened.formed_now, "store identified");
    for Drive { node, dir, state, .. } in &opened.drives {
        let (node, dir) = (node.0, dir.display());
        match state {
            DriveState::Present => {}
            DriveState::Replaced => {
                tracing::warn!(node, %dir, "an empty drive takes the place of a lost one; it will be rebuilt")
            }
            DriveState::Returned => {
                tracing::warn!(node, %dir, "a drive that had been replaced is back; its missing shards will be rebuilt")
            }
            DriveState::Lost { why } => tracing::error!(node, %dir, why, "a drive is lost; going on without it"),
        }
    }
}
