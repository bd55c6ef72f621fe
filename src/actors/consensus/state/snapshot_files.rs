//! The files of snapshots: writes, copies, reads and removes them. Everything here blocks.
//!
//! File: magic "SHRDSNP1" · length u32 and crc32c u32 of the head, little-endian · head (`AppliedAt`) · the tables, in
//! the frames of `storage::meta::snapshot`, each with its own checksum.

use crate::actors::consensus::raft_types::{LogId, log_id_of};
use crate::actors::consensus::shared::Drive;
use crate::defects::{Defect, has};
use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode, create_dir_durably, host_lacks_resources};
use crate::storage::kv::{Kv, KvError, KvRead};
use crate::storage::meta::snapshot::{
    FRAME_HEADER_BYTES, SnapshotCheck, SnapshotError, SnapshotInstaller, SnapshotWriter, frame_bytes, is_whole_frame,
};
use crate::storage::raft_log::{AppliedAt, Position};
use crate::types::NodeId;
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const MAGIC: &[u8; 8] = b"SHRDSNP1";
const FIXED_BYTES: usize = 16;
const HEAD_BYTES_MAX: u32 = 1 << 20;
/// The size of the pieces in which snapshots are read and copied.
const PIECE_BYTES: usize = 1 << 20;

/// The reason for which a snapshot was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("the tables cannot be read: {0}")]
    Tables(#[from] KvError),
    #[error(transparent)]
    Drives(#[from] io::Error),
}

impl From<SaveError> for io::Error {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Tables(error) => Self::other(error),
            SaveError::Drives(error) => error,
        }
    }
}

/// Tells whether a drive keeps its copy of the log if it has no room for a snapshot, or the host lacks resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutRoom {
    /// It stays, and the snapshot is given up: the log grows until there is room, or until it has none itself.
    Stay,
    /// It leaves the mirror, as the snapshot must be made.
    Leave,
}

/// The snapshot is whole on no drive, and its copies on several drives do not complement each other.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the metadata snapshot is damaged on every drive that has it: {0}")]
pub struct SnapshotDamaged(pub(super) String);

impl From<SnapshotDamaged> for io::Error {
    fn from(damaged: SnapshotDamaged) -> Self {
        Self::new(io::ErrorKind::InvalidData, damaged)
    }
}

/// Returns whether an error says that a snapshot cannot be read on any drive.
pub fn is_damage(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|why| why.is::<SnapshotDamaged>())
}

/// Writes the first snapshot of a log to each of these drives. Blocking.
pub fn write_snapshot(targets: &[(NodeId, Drive)], head: &AppliedAt, tables: Arc<dyn KvRead>) -> Result<(), SaveError> {
    let Some(at) = head.at else { return Err(io::Error::other("nothing is applied yet").into()) };
    let attempt = Attempt::new(0);
    let written = write_all(targets, log_id_of(at), head, tables, WithoutRoom::Leave, &attempt)?;
    match written.failed.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}

pub(super) struct Written {
    pub holders: BTreeSet<NodeId>,
    pub failed: Vec<(NodeId, io::Error)>,
    pub bytes: u64,
}

impl Written {
    fn check_room(&self, without_room: WithoutRoom) -> io::Result<()> {
        let stays =
            self.failed.iter().find(|(_, error)| is_passing(error)).filter(|_| without_room == WithoutRoom::Stay);
        stays.map_or(Ok(()), |(node, error)| Err(io::Error::new(error.kind(), format!("drive {node}: {error}"))))
    }
}

/// Returns whether the drive may take a snapshot later: it is full, or the host lacks resources.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) || host_lacks_resources(error)
}

fn snapshot_name(at: LogId) -> String {
    format!("{:020}-{:020}.snap", at.index, at.leader_id.term)
}

pub(super) fn snapshot_path(drive: &Drive, at: LogId) -> PathBuf {
    drive.snapshot_dir().join(snapshot_name(at))
}

/// One attempt to write or copy a snapshot. Clones belong to the same attempt.
#[derive(Clone)]
pub(super) struct Attempt {
    /// The number in the names of the attempt's drafts, by which they differ from drafts of an abandoned attempt.
    number: u64,
    is_given_up: Arc<AtomicBool>,
}

impl Attempt {
    pub fn new(number: u64) -> Self {
        Self { number, is_given_up: Arc::default() }
    }

    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Release);
    }

    fn check(&self) -> io::Result<()> {
        let is_given_up = self.is_given_up.load(Ordering::Acquire);
        if is_given_up { Err(io::Error::other("the snapshot was given up")) } else { Ok(()) }
    }
}

/// A snapshot file that is being written under a temporary name.
struct Draft {
    node: NodeId,
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    draft: PathBuf,
    path: PathBuf,
    offset: u64,
}

impl Draft {
    fn begin(node: NodeId, drive: &Drive, at: LogId, attempt: &Attempt) -> io::Result<Self> {
        let path = snapshot_path(drive, at);
        let draft = path.with_extension(format!("{}.draft", attempt.number));
        create_dir_durably(&*drive.disk, &drive.snapshot_dir())?;
        if drive.disk.exists(&draft)? {
            drive.disk.remove(&draft)?;
        }
        let file = drive.disk.open(&draft, OpenMode::CreateNew, Caching::Cached)?;
        Ok(Self { node, disk: Arc::clone(&drive.disk), file, draft, path, offset: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(&[IoSlice::new(bytes)], self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if has(Defect::SkipSnapshotSync) { Ok(()) } else { self.file.sync_data() }
    }

    /// Gives the synced draft its final name.
    fn publish(&self) -> io::Result<()> {
        self.disk.rename(&self.draft, &self.path)?;
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new("/")))
    }

    /// Removes the draft to free its space, as the drive may be full.
    fn discard(&self) {
        if let Err(error) = self.disk.remove(&self.draft) {
            tracing::debug!(%error, "an unfinished metadata snapshot stays on the drive until the next one is written");
        }
    }
}

/// Writes a snapshot to all these drives at once. Fails only if the tables cannot be read, the attempt was given up, no
/// drive takes the file, or one has no room for it that is to stay. Blocking.
pub(super) fn write_all(
    targets: &[(NodeId, Drive)],
    at: LogId,
    head: &AppliedAt,
    tables: Arc<dyn KvRead>,
    without_room: WithoutRoom,
    attempt: &Attempt,
) -> Result<Written, SaveError> {
    let mut written = Written { holders: BTreeSet::new(), failed: Vec::new(), bytes: 0 };
    let mut drafts = Vec::new();
    for (node, drive) in targets {
        match Draft::begin(*node, drive, at, attempt) {
            Ok(draft) => drafts.push(draft),
            Err(error) => written.failed.push((*node, error)),
        }
    }
    for piece in std::iter::once(Ok(encode_head(head).into())).chain(SnapshotWriter::new(tables)) {
        let checked = piece.map_err(SaveError::from).and_then(|piece| Ok(attempt.check().map(|()| piece)?));
        let piece = checked.inspect_err(|_| drafts.iter().for_each(Draft::discard))?;
        written.bytes += piece.len() as u64;
        drafts.retain_mut(|draft| {
            let result = draft.write(&piece);
            keep(draft, result, &mut written.failed)
        });
    }
    // All are synced before the first gets its name, so that a drive without room leaves no trace on the others.
    drafts.retain(|draft| keep(draft, draft.sync(), &mut written.failed));
    let is_stopped = attempt.check().and_then(|()| written.check_room(without_room));
    if let Err(stopped) = is_stopped {
        drafts.iter().for_each(Draft::discard);
        return Err(stopped.into());
    }
    for draft in drafts {
        if let Err(given_up) = attempt.check() {
            draft.discard();
            return Err(given_up.into());
        }
        if keep(&draft, draft.publish(), &mut written.failed) {
            written.holders.insert(draft.node);
        }
    }
    if written.holders.is_empty() {
        return Err(io::Error::other(format!("no drive takes the metadata snapshot: {:?}", written.failed)).into());
    }
    Ok(written)
}

fn keep(draft: &Draft, result: io::Result<()>, failed: &mut Vec<(NodeId, io::Error)>) -> bool {
    let Err(error) = result else { return true };
    failed.push((draft.node, error));
    draft.discard();
    false
}

fn encode_head(head: &AppliedAt) -> Vec<u8> {
    let content = head.encode();
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    assert!(length <= HEAD_BYTES_MAX, "a membership is small");
    [&MAGIC[..], &length.to_le_bytes(), &crc32c::crc32c(&content).to_le_bytes(), &content].concat()
}

fn corrupt(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot {}: {why}", path.display()))
}

/// Returns the head of a snapshot file, and the offset at which the tables begin. Blocking.
pub fn read_head(disk: &dyn Disk, path: &Path) -> io::Result<(AppliedAt, u64)> {
    read_whole_head(disk, path).map(|(head, bytes)| (head, bytes.len() as u64))
}

/// Returns the head of a snapshot file, and all bytes before the tables.
fn read_whole_head(disk: &dyn Disk, path: &Path) -> io::Result<(AppliedAt, Vec<u8>)> {
    let file = disk.open(path, OpenMode::Read, Caching::Cached)?;
    let mut fixed = [0; FIXED_BYTES];
    file.read_exact_at(&mut fixed, 0)?;
    let [magic @ .., l0, l1, l2, l3, c0, c1, c2, c3] = fixed;
    if magic != *MAGIC {
        return Err(corrupt(path, "not a snapshot of a version known to this program"));
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if length > HEAD_BYTES_MAX {
        return Err(corrupt(path, &format!("a head of {length} bytes, more than the {HEAD_BYTES_MAX} allowed")));
    }
    let mut content = vec![0; length as usize];
    file.read_exact_at(&mut content, FIXED_BYTES as u64)?;
    if crc32c::crc32c(&content) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(corrupt(path, "the checksum of its head does not match"));
    }
    let head = AppliedAt::decode(&content).map_err(|fault| corrupt(path, &fault.to_string()))?;
    Ok((head, [&fixed[..], &content].concat()))
}

/// Reads a whole snapshot and verifies every checksum in it. Returns its head. Blocking.
pub fn verify_snapshot(disk: &dyn Disk, path: &Path) -> io::Result<AppliedAt> {
    let (head, start) = read_head(disk, path)?;
    let mut check = SnapshotCheck::new().map_err(io::Error::other)?;
    read_pieces(disk, path, start, |piece| check.push(piece).map_err(io::Error::other))?;
    check.finish().map_err(io::Error::other)?;
    Ok(head)
}

/// Returns whether an installation failed because of the tables, not because of the snapshot.
pub(super) fn is_of_tables(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(SnapshotError::Kv(_) | SnapshotError::NotEmpty { .. }))
}

pub(super) fn install_from(disk: &dyn Disk, path: &Path, kv: &Arc<dyn Kv>) -> io::Result<()> {
    let (_, start) = read_head(disk, path)?;
    let mut installer = SnapshotInstaller::new(Arc::clone(kv)).map_err(io::Error::other)?;
    read_pieces(disk, path, start, |piece| installer.push(piece).map_err(io::Error::other))?;
    installer.finish().map_err(io::Error::other)
}

/// Returns what was read; `None` if it cannot be read. Fails if the host lacks the resources to read it, which says
/// nothing of what is there.
fn readable<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if host_lacks_resources(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Returns the head of a snapshot, and the offset at which the tables begin, from the first copy in which it can be
/// read; `None` if there is none. Fails if the host lacks the resources to read it.
pub(super) fn first_head(sources: &[(NodeId, Arc<dyn Disk>, PathBuf)]) -> io::Result<Option<(AppliedAt, u64)>> {
    for (_, disk, path) in sources {
        if let Some(head) = readable(read_head(&**disk, path))? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Installs a snapshot from several damaged copies, each frame from one in which it is whole.
pub(super) fn install_merged(sources: &[(NodeId, Arc<dyn Disk>, PathBuf)], kv: &Arc<dyn Kv>) -> io::Result<()> {
    let (_, start) = first_head(sources)?.ok_or_else(|| io::Error::other("no copy has a whole head"))?;
    let mut installer = SnapshotInstaller::new(Arc::clone(kv)).map_err(io::Error::other)?;
    let opened = sources.iter().map(|(_, disk, path)| disk.open(path, OpenMode::Read, Caching::Cached));
    let files: Vec<Arc<dyn DiskFile>> = opened.collect::<io::Result<_>>()?;
    let lengths = files.iter().map(|file| file.len()).collect::<io::Result<Vec<u64>>>()?;
    let end = lengths.into_iter().max().unwrap_or(0);
    let mut offset = start;
    while offset < end {
        let frame = files.iter().find_map(|file| read_frame(&**file, offset).transpose());
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("no copy has a whole frame at {offset}"));
        let frame = frame.ok_or_else(damaged)??;
        installer.push(&frame).map_err(io::Error::other)?;
        offset += frame.len() as u64;
    }
    installer.finish().map_err(io::Error::other)
}

/// Returns the frame that begins at `offset`, if it is whole. Fails if the host lacks the resources to read it.
fn read_frame(file: &dyn DiskFile, offset: u64) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; FRAME_HEADER_BYTES];
    let read = readable(file.read_exact_at(&mut header, offset))?;
    let Some(bytes) = read.and_then(|()| frame_bytes(&header)) else { return Ok(None) };
    let mut frame = vec![0; bytes];
    let read = readable(file.read_exact_at(&mut frame, offset))?;
    Ok(read.filter(|_| is_whole_frame(&frame)).map(|()| frame))
}

/// Returns whether a drive has a file of this snapshot, of this size, whole or not. Blocking.
pub fn has_file(drive: &Drive, at: Position, bytes: u64) -> bool {
    let path = snapshot_path(drive, log_id_of(at));
    drive.disk.open(&path, OpenMode::Read, Caching::Cached).and_then(|file| file.len()).is_ok_and(|len| len == bytes)
}

fn read_pieces(
    disk: &dyn Disk,
    path: &Path,
    start: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Read, Caching::Cached)?;
    let end = file.len()?;
    let mut buffer = vec![0; PIECE_BYTES];
    let mut offset = start;
    while offset < end {
        let length = usize::try_from(end - offset).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        file.read_exact_at(&mut buffer[..length], offset)?;
        take(&buffer[..length])?;
        offset += length as u64;
    }
    Ok(())
}

/// The side that is at fault if a snapshot was not copied.
enum NotCopied {
    Source(io::Error),
    Target(io::Error),
}

/// Copies a snapshot's file to `target`, from the first source in which every checksum is right. Keeps the file that
/// `target` has, if that one is whole. Fails with `SnapshotDamaged` if no file is whole, and otherwise because of the
/// target or of a want of the host's resources.
pub(super) fn copy_file(sources: &[Drive], target: &Drive, at: LogId, attempt: &Attempt) -> io::Result<()> {
    if has_whole_file(sources, target, at)? {
        return remove_earlier(target, at);
    }
    let mut last = io::Error::other("it is on no drive");
    for source in sources {
        match copy_from(source, target, at, attempt) {
            Ok(()) => return remove_earlier(target, at),
            Err(NotCopied::Target(error)) => return Err(error),
            Err(NotCopied::Source(error)) => {
                tracing::warn!(dir = %source.dir.display(), %error, "a metadata snapshot cannot be copied");
                // Damage of another source would not show that no file is whole.
                last = if host_lacks_resources(&last) { last } else { error };
            }
        }
    }
    if host_lacks_resources(&last) { Err(last) } else { Err(SnapshotDamaged(last.to_string()).into()) }
}

/// Returns whether `target` has a whole file of this snapshot, with the head that the sources have.
fn has_whole_file(sources: &[Drive], target: &Drive, at: LogId) -> io::Result<bool> {
    let path = snapshot_path(target, at);
    let Some(head) = readable(verify_snapshot(&*target.disk, &path))? else { return Ok(false) };
    for source in sources {
        if let Some((other, _)) = readable(read_head(&*source.disk, &snapshot_path(source, at)))? {
            return Ok(head == other);
        }
    }
    Ok(head.at.map(log_id_of) == Some(at))
}

fn copy_from(source: &Drive, target: &Drive, at: LogId, attempt: &Attempt) -> Result<(), NotCopied> {
    let path = snapshot_path(source, at);
    let (_, head) = read_whole_head(&*source.disk, &path).map_err(NotCopied::Source)?;
    let mut draft = Draft::begin(NodeId(0), target, at, attempt).map_err(NotCopied::Target)?;
    let written = write_verified(&mut draft, &head, &*source.disk, &path, attempt);
    let finished = written.and_then(|()| {
        let finish = attempt.check().and_then(|()| draft.sync()).and_then(|()| draft.publish());
        finish.map_err(NotCopied::Target)
    });
    finished.inspect_err(|_| draft.discard())
}

/// Writes a snapshot's head, and then its tables as they are read and verified.
fn write_verified(
    draft: &mut Draft,
    head: &[u8],
    source: &dyn Disk,
    path: &Path,
    attempt: &Attempt,
) -> Result<(), NotCopied> {
    let of_source = |error: SnapshotError| NotCopied::Source(io::Error::other(error));
    let mut check = SnapshotCheck::new().map_err(of_source)?;
    draft.write(head).map_err(NotCopied::Target)?;
    let mut is_refused = false;
    let read = read_pieces(source, path, head.len() as u64, |piece| {
        check.push(piece).map_err(io::Error::other)?;
        attempt.check().and_then(|()| draft.write(piece)).inspect_err(|_| is_refused = true)
    });
    read.map_err(|error| if is_refused { NotCopied::Target(error) } else { NotCopied::Source(error) })?;
    check.finish().map_err(of_source)
}

/// Removes the drafts that a process before this one has left. Blocking.
pub fn remove_drafts(drive: &Drive) -> io::Result<()> {
    let dir = drive.snapshot_dir();
    if !drive.disk.exists(&dir)? {
        return Ok(());
    }
    for name in drive.disk.list(&dir)?.into_iter().filter(|name| name.ends_with(".draft")) {
        drive.disk.remove(&dir.join(name))?;
    }
    Ok(())
}

/// Removes the files of earlier snapshots, finished or not. Later ones stay: this removal may have hung while they were
/// written.
pub(super) fn remove_earlier(drive: &Drive, at: LogId) -> io::Result<()> {
    let dir = drive.snapshot_dir();
    let keep = snapshot_name(at);
    // Names begin with the index and the term, so they sort by them; a draft sorts before the snapshot that it becomes.
    for name in drive.disk.list(&dir)?.into_iter().filter(|name| *name < keep) {
        match drive.disk.remove(&dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    drive.disk.sync_dir(&dir)
}

/// Returns the position, head and size of the newest snapshot on a drive that has a whole head. Fails only if the host
/// lacks the resources to read them. Blocking.
pub fn newest_on(drive: &Drive) -> io::Result<Option<(Position, AppliedAt, u64)>> {
    let dir = drive.snapshot_dir();
    let mut newest: Option<(Position, AppliedAt, u64)> = None;
    let names = readable(drive.disk.list(&dir))?.unwrap_or_default();
    for name in names.into_iter().filter(|name| name.ends_with(".snap")) {
        let path = dir.join(&name);
        let read = read_head(&*drive.disk, &path)
            .inspect_err(|error| tracing::warn!(%error, "a metadata snapshot cannot be read and is ignored"));
        let Some((head, _)) = readable(read)? else { continue };
        let Some(at) = head.at.filter(|at| snapshot_name(log_id_of(*at)) == name) else { continue };
        let length = drive.disk.open(&path, OpenMode::Read, Caching::Cached).and_then(|file| file.len());
        let Some(bytes) = readable(length)? else { continue };
        if newest.as_ref().is_none_or(|(known, ..)| *known < at) {
            newest = Some((at, head, bytes));
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::{
        Attempt, copy_file, first_head, install_merged, is_damage, log_id_of, newest_on, remove_earlier, snapshot_path,
        verify_snapshot, write_snapshot,
    };
    use crate::actors::consensus::shared::{Drive, DriveRole};
    use crate::storage::disk::sim::{Shortage, SimDisk};
    use crate::storage::disk::{Caching, OpenMode, host_lacks_resources, replace_file};
    use crate::storage::kv::Kv;
    use crate::storage::kv::memory::MemoryKv;
    use crate::storage::meta::tables::TABLES;
    use crate::storage::raft_log::{AppliedAt, Position};
    use crate::types::NodeId;
    use std::io;
    use std::path::PathBuf;
    use std::sync::Arc;

    fn lacks<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| host_lacks_resources(&error))
    }

    #[test]
    fn a_snapshot_that_cannot_be_read_for_want_of_descriptors_or_memory_is_not_taken_for_lost() {
        let disk = SimDisk::new(1 << 20);
        let dir = PathBuf::from("/drive");
        let drive = Drive { disk: disk.handle(), dir, log: None, role: DriveRole::Live, is_out: false };
        let at = Position { term: 3, node: 1, index: 8 };
        let head = AppliedAt { at: Some(at), ..AppliedAt::default() };
        let fresh = || -> Arc<dyn Kv> { Arc::new(MemoryKv::new(TABLES)) };
        write_snapshot(&[(NodeId(1), drive.clone())], &head, fresh().snapshot()).expect("written");
        let sources = [(NodeId(1), disk.handle(), snapshot_path(&drive, log_id_of(at)))];
        for shortage in [Shortage::Descriptors, Shortage::Memory] {
            disk.set_shortage(Some(shortage));
            assert!(lacks(newest_on(&drive)) && lacks(first_head(&sources)), "{shortage:?}");
            assert!(lacks(install_merged(&sources, &fresh())), "{shortage:?}");
            disk.set_shortage(None);
            assert_eq!(newest_on(&drive).expect("readable").map(|(at, ..)| at), Some(at));
            assert_eq!(first_head(&sources).expect("readable").map(|(head, _)| head), Some(head.clone()));
            install_merged(&sources, &fresh()).expect("installed");
        }
    }

    #[test]
    fn a_snapshot_is_copied_only_from_a_whole_file_and_never_over_one() {
        let disks = [1, 2, 3].map(|_| SimDisk::new(1 << 20));
        let drives = disks.clone().map(|disk| {
            let (disk, dir) = (disk.handle(), PathBuf::from("/drive"));
            Drive { disk, dir, log: None, role: DriveRole::Live, is_out: false }
        });
        let at = Position { term: 3, node: 1, index: 8 };
        let head = AppliedAt { at: Some(at), ..AppliedAt::default() };
        let write = |drive: &Drive| {
            let tables: Arc<dyn Kv> = Arc::new(MemoryKv::new(TABLES));
            write_snapshot(&[(NodeId(1), drive.clone())], &head, tables.snapshot()).expect("written");
        };
        let [rotten, other, target] = &drives;
        let path = snapshot_path(target, log_id_of(at));
        let copy = |sources: &[Drive]| copy_file(sources, target, log_id_of(at), &Attempt::new(1));
        let verified = |drive: &Drive| verify_snapshot(&*drive.disk, &path);
        write(rotten);
        let end = rotten.disk.open(&path, OpenMode::Read, Caching::Cached).and_then(|file| file.len()).expect("opened");
        disks[0].corrupt(&path, end - 3, 1).expect("a stored file");
        assert!(verified(rotten).is_err());
        let error = copy(std::slice::from_ref(rotten)).expect_err("its last frame is damaged");
        assert!(is_damage(&error), "{error}");
        let left = target.disk.list(&target.snapshot_dir()).expect("listed");
        assert_eq!(left, [""; 0], "neither a copy nor a draft is left");
        write(target);
        copy(std::slice::from_ref(rotten)).expect("the file that is there is whole");
        assert_eq!(verified(target).expect("it was kept"), head);
        disks[2].corrupt(&path, end - 3, 1).expect("a stored file");
        write(other);
        copy(&[rotten.clone(), other.clone()]).expect("the second source is whole");
        assert_eq!(verified(target).expect("it was replaced"), head);
    }

    #[test]
    fn a_late_removal_of_earlier_snapshots_leaves_later_ones() {
        let disk = SimDisk::new(1 << 20).handle();
        let drive = Drive { disk, dir: "/drive".into(), log: None, role: DriveRole::Live, is_out: false };
        let at = |index| log_id_of(Position { term: 3, node: 1, index });
        drive.disk.create_dir_all(&drive.snapshot_dir()).expect("made");
        for index in [8, 9, 10, 11] {
            let whole = snapshot_path(&drive, at(index));
            for path in [whole.with_extension("7.draft"), whole] {
                replace_file(&*drive.disk, &path, b"snapshot").expect("written");
            }
        }
        remove_earlier(&drive, at(10)).expect("removed");
        let left = drive.disk.list(&drive.snapshot_dir()).expect("listed");
        let name = |index| snapshot_path(&drive, at(index)).file_name().map(|name| name.to_string_lossy().into_owned());
        let expected = [name(10), name(11).map(|name| name.replace(".snap", ".7.draft")), name(11)];
        assert_eq!(left, expected.into_iter().flatten().collect::<Vec<_>>());
    }
}
