//! Snapshots as files on the mirror drives: `meta/snapshot/<index>-<term>.snap`. A snapshot becomes the current one
//! when the drive of every live copy of the log holds it, synced and under its final name. Then older snapshots are
//! removed, and the log below it may be dropped.
//!
//! File: magic "SHRDSNP1" · length u32 and crc32c u32 of the head, little-endian · head (`AppliedAt`) · the tables, in
//! the frames of `storage::meta::snapshot`, each with its own checksum.

use crate::actors::consensus::raft_types::{LogId, MetaGroup, StoredMembership, log_id_of, membership_of};
use crate::actors::consensus::shared::{CurrentSnapshot, Drive, LostDrive, Shared, no_longer_here};
use crate::actors::consensus::to_mirror::ToMirror;
use crate::defects::{Defect, has};
use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode, create_dir_durably};
use crate::storage::kv::{Kv, KvError, KvRead};
use crate::storage::meta::snapshot::{
    FRAME_HEADER_BYTES, SnapshotError, SnapshotInstaller, SnapshotWriter, frame_bytes, is_whole_frame,
};
use crate::storage::raft_log::{AppliedAt, Position};
use crate::types::NodeId;
use openraft::type_config::alias::SnapshotMetaOf;
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};

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

/// What becomes of a drive's copy of the log if the drive has no room for a snapshot.
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
pub struct SnapshotDamaged(String);

impl From<SnapshotDamaged> for io::Error {
    fn from(damaged: SnapshotDamaged) -> Self {
        Self::new(io::ErrorKind::InvalidData, damaged)
    }
}

/// A snapshot that can be read from any of several drives.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    pub head: AppliedAt,
    pub sources: Vec<(NodeId, Arc<dyn Disk>, PathBuf)>,
}

impl SnapshotFile {
    pub fn meta(&self) -> io::Result<SnapshotMetaOf<MetaGroup>> {
        Ok(SnapshotMetaOf::<MetaGroup> {
            last_log_id: self.head.at.map(log_id_of),
            last_membership: stored_membership(&self.head)?,
        })
    }
}

pub fn stored_membership(applied: &AppliedAt) -> io::Result<StoredMembership> {
    if applied.members_at.is_none() && applied.members.configs.is_empty() {
        return Ok(StoredMembership::default());
    }
    Ok(StoredMembership::new(applied.members_at.map(log_id_of), membership_of(&applied.members)?))
}

/// The snapshots of one replica.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    shared: Arc<Shared>,
    mirror: mpsc::UnboundedSender<ToMirror>,
    /// Held while a snapshot is saved, so that an earlier one does not take the place of a later one.
    saving: Arc<tokio::sync::Mutex<()>>,
}

impl SnapshotStore {
    pub fn new(shared: Arc<Shared>, mirror: mpsc::UnboundedSender<ToMirror>) -> Self {
        Self { shared, mirror, saving: Arc::default() }
    }

    pub fn standing(&self) -> Option<CurrentSnapshot> {
        self.shared.drives().snapshot.clone()
    }

    /// Returns the drives and paths of the current snapshot's copies.
    pub fn places(&self) -> Vec<(NodeId, Arc<dyn Disk>, PathBuf)> {
        let drives = self.shared.drives();
        let Some(standing) = &drives.snapshot else { return Vec::new() };
        let held = standing.holders.iter().filter_map(|node| Some((*node, drives.by_node.get(node)?)));
        held.map(|(node, drive)| (node, Arc::clone(&drive.disk), snapshot_path(drive, standing.at))).collect()
    }

    /// Returns the current snapshot, if there is one. Fails with `SnapshotDamaged` if no copy of its head can be read.
    pub async fn current(&self) -> io::Result<Option<SnapshotFile>> {
        let sources = self.places();
        if self.standing().is_none() {
            return Ok(None);
        }
        let read = move || {
            let head = sources.iter().find_map(|(_, disk, path)| read_head(&**disk, path).ok());
            head.map(|(head, _)| SnapshotFile { head, sources })
        };
        let found = self.shared.offload.run(read).await?;
        found.map(Some).ok_or_else(|| SnapshotDamaged("its head can be read on none of them".to_owned()).into())
    }

    /// Returns the current snapshot, as `current` does. If no copy of its head can be read, first saves one of these
    /// tables in its place.
    pub async fn current_or_anew(&self, head: AppliedAt, tables: Arc<dyn KvRead>) -> io::Result<Option<SnapshotFile>> {
        match self.current().await {
            Err(error) if is_damage(&error) => {
                tracing::warn!(%error, "a new metadata snapshot is made");
                self.save(head, tables, WithoutRoom::Leave).await?;
                self.current().await
            }
            current => current,
        }
    }

    /// Writes a view of the tables to the drive of every live copy of the log, and makes it the current snapshot,
    /// unless a later one is. A drive that fails leaves the mirror, if its copy can be spared; otherwise the snapshot is
    /// given up. If a drive hangs, the snapshot is given up once the drive is out of service.
    pub async fn save(
        &self,
        head: AppliedAt,
        tables: Arc<dyn KvRead>,
        without_room: WithoutRoom,
    ) -> Result<(), SaveError> {
        let Some(at) = head.at else { return Err(io::Error::other("nothing is applied yet").into()) };
        let _saving = self.saving.lock().await;
        let id = log_id_of(at);
        let standing = self.standing();
        if standing.as_ref().is_some_and(|standing| standing.at.index > id.index) {
            return Ok(());
        }
        let targets: Vec<(NodeId, Drive)> = {
            let drives = self.shared.drives();
            drives.live().into_iter().filter_map(|node| Some((node, drives.by_node.get(&node)?.clone()))).collect()
        };
        let nodes: Vec<NodeId> = targets.iter().map(|(node, _)| *node).collect();
        let attempt = self.attempt();
        let write = {
            let attempt = attempt.clone();
            move || write_all(&targets, id, &head, tables, without_room, &attempt)
        };
        let written = self.shared.unless_lost(&nodes, self.shared.offload.run(write)).await;
        let written = written.inspect_err(|_| attempt.give_up()).map_err(io::Error::from)???;
        for (node, error) in &written.failed {
            self.give_up_drive(*node, error).await?;
        }
        let mut snapshot = CurrentSnapshot { at: id, bytes: written.bytes, holders: written.holders };
        while let Some(joined) = self.settle(&snapshot)? {
            // A copy joined the mirror while the snapshot was written: its drive must hold the snapshot before the log
            // is purged.
            match self.copy(&snapshot, joined).await {
                Ok(()) => {
                    snapshot.holders.insert(joined);
                }
                Err(error) => {
                    let is_source = is_damage(&error)
                        || error.get_ref().is_some_and(|why| why.is::<LostDrive>()) && !self.is_out(joined);
                    if !is_source {
                        self.give_up_drive(joined, &error).await?;
                    }
                    return Err(error.into());
                }
            }
        }
        if let Err(error) = self.remove_older(snapshot).await {
            tracing::warn!(%error, "older metadata snapshots cannot be removed");
        }
        Ok(())
    }

    fn is_out(&self, node: NodeId) -> bool {
        self.shared.drives().by_node.get(&node).is_none_or(|drive| drive.is_out)
    }

    fn attempt(&self) -> Attempt {
        let number = self.shared.snapshot_attempts.fetch_add(1, Ordering::Relaxed);
        Attempt { number, is_given_up: Arc::default() }
    }

    /// Makes this snapshot the current one, unless the drive of a live copy lacks it: then returns that drive. Fails if
    /// no live copy has it.
    fn settle(&self, snapshot: &CurrentSnapshot) -> io::Result<Option<NodeId>> {
        let mut drives = self.shared.drives();
        let live = drives.live();
        if live.is_disjoint(&snapshot.holders) {
            return Err(io::Error::other("the drives that took the metadata snapshot have left"));
        }
        let lacking = live.into_iter().find(|node| !snapshot.holders.contains(node));
        if lacking.is_none() {
            drives.snapshot = Some(snapshot.clone());
        }
        Ok(lacking)
    }

    /// Has a drive that cannot store a snapshot leave the mirror. Fails if its copy of the log cannot be spared.
    pub async fn give_up_drive(&self, node: NodeId, error: &io::Error) -> io::Result<()> {
        tracing::warn!(%node, %error, "the metadata snapshot cannot be written to a drive");
        let (left, has_left) = oneshot::channel();
        let _ = self.mirror.send(ToMirror::DriveRefuses { node, error: error.kind(), left });
        if has_left.await.unwrap_or(false) {
            return Ok(());
        }
        Err(io::Error::new(error.kind(), format!("drive {node}, which cannot be spared, takes no snapshot: {error}")))
    }

    /// Copies the current snapshot, if there is one, to another drive.
    pub async fn copy_to(&self, node: NodeId) -> io::Result<()> {
        let Some(standing) = self.standing() else { return Ok(()) };
        self.copy(&standing, node).await?;
        let mut drives = self.shared.drives();
        if let Some(current) = &mut drives.snapshot
            && current.at == standing.at
        {
            current.holders.insert(node);
        }
        Ok(())
    }

    async fn copy(&self, standing: &CurrentSnapshot, node: NodeId) -> io::Result<()> {
        let (nodes, sources, target) = {
            let drives = self.shared.drives();
            let held = standing.holders.iter().filter(|holder| **holder != node);
            let held = held.filter_map(|held| Some((*held, drives.by_node.get(held)?.clone())));
            let (mut nodes, sources): (Vec<NodeId>, Vec<Drive>) = held.unzip();
            let target = drives.by_node.get(&node).cloned().ok_or_else(|| io::Error::other(no_longer_here(node)))?;
            nodes.push(node);
            (nodes, sources, target)
        };
        let (at, attempt) = (standing.at, self.attempt());
        let given_up = attempt.clone();
        let copy = self.shared.offload.run(move || copy_file(&sources, &target, at, &attempt));
        self.shared.unless_lost(&nodes, copy).await.inspect_err(|_| given_up.give_up())??
    }

    /// Removes older snapshots from the drives that have this one.
    async fn remove_older(&self, snapshot: CurrentSnapshot) -> io::Result<()> {
        let at = snapshot.at;
        let (nodes, drives): (Vec<NodeId>, Vec<Drive>) = {
            let drives = self.shared.drives();
            let holders = snapshot.holders.into_iter();
            holders.filter_map(|node| Some((node, drives.by_node.get(&node)?.clone()))).unzip()
        };
        let remove = move || {
            for drive in drives {
                if let Err(error) = remove_earlier(&drive, at) {
                    tracing::warn!(%error, "older metadata snapshots cannot be removed");
                }
            }
        };
        self.shared.unless_lost(&nodes, self.shared.offload.run(remove)).await?
    }

    /// Installs a snapshot into empty tables, which `fresh` makes: from the first drive whose file is whole, or from
    /// the whole parts of several files. Fails with `SnapshotDamaged` if the files are at fault, and not the tables.
    pub async fn install(
        &self,
        file: SnapshotFile,
        mut fresh: impl FnMut() -> io::Result<Arc<dyn Kv>> + Send + 'static,
    ) -> io::Result<Arc<dyn Kv>> {
        let install = move || {
            let mut last = io::Error::other("the metadata snapshot is on no drive");
            for (node, disk, path) in &file.sources {
                let kv = fresh()?;
                match install_from(&**disk, path, &kv) {
                    Ok(()) => return Ok(kv),
                    Err(error) => {
                        tracing::warn!(%node, path = %path.display(), %error, "a metadata snapshot cannot be installed");
                        last = error;
                    }
                }
            }
            if file.sources.len() > 1 {
                let kv = fresh()?;
                match install_merged(&file.sources, &kv) {
                    Ok(()) => {
                        tracing::warn!("a damaged metadata snapshot was installed from the whole parts of its copies");
                        return Ok(kv);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the damaged copies of a metadata snapshot do not complement each other");
                        last = error;
                    }
                }
            }
            if is_of_tables(&last) { Err(last) } else { Err(SnapshotDamaged(last.to_string()).into()) }
        };
        self.shared.offload.run(install).await?
    }
}

/// Writes the first snapshot of a log to each of these drives. Blocking.
pub fn write_snapshot(targets: &[(NodeId, Drive)], head: &AppliedAt, tables: Arc<dyn KvRead>) -> Result<(), SaveError> {
    let Some(at) = head.at else { return Err(io::Error::other("nothing is applied yet").into()) };
    let attempt = Attempt { number: 0, is_given_up: Arc::default() };
    let written = write_all(targets, log_id_of(at), head, tables, WithoutRoom::Leave, &attempt)?;
    match written.failed.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}

struct Written {
    holders: BTreeSet<NodeId>,
    failed: Vec<(NodeId, io::Error)>,
    bytes: u64,
}

impl Written {
    fn check_room(&self, without_room: WithoutRoom) -> io::Result<()> {
        let full = self.failed.iter().find(|(_, error)| is_full(error)).filter(|_| without_room == WithoutRoom::Stay);
        full.map_or(Ok(()), |(node, error)| Err(io::Error::new(error.kind(), format!("drive {node}: {error}"))))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns whether an error says that a snapshot cannot be read on any drive.
pub fn is_damage(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|why| why.is::<SnapshotDamaged>())
}

fn snapshot_name(at: LogId) -> String {
    format!("{:020}-{:020}.snap", at.index, at.leader_id.term)
}

fn snapshot_path(drive: &Drive, at: LogId) -> PathBuf {
    drive.snapshot_dir().join(snapshot_name(at))
}

/// One attempt to write or copy a snapshot. Clones belong to the same attempt.
#[derive(Clone)]
struct Attempt {
    /// The number in the names of the attempt's drafts, by which they differ from drafts of an abandoned attempt.
    number: u64,
    is_given_up: Arc<AtomicBool>,
}

impl Attempt {
    fn give_up(&self) {
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
fn write_all(
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
    Ok((head, FIXED_BYTES as u64 + u64::from(length)))
}

/// Returns whether an installation failed because of the tables, not because of the snapshot.
fn is_of_tables(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(SnapshotError::Kv(_) | SnapshotError::NotEmpty { .. }))
}

fn install_from(disk: &dyn Disk, path: &Path, kv: &Arc<dyn Kv>) -> io::Result<()> {
    let (_, start) = read_head(disk, path)?;
    let mut installer = SnapshotInstaller::new(Arc::clone(kv)).map_err(io::Error::other)?;
    read_pieces(disk, path, start, |piece| installer.push(piece).map_err(io::Error::other))?;
    installer.finish().map_err(io::Error::other)
}

/// Installs a snapshot from several damaged copies, each frame from one in which it is whole.
fn install_merged(sources: &[(NodeId, Arc<dyn Disk>, PathBuf)], kv: &Arc<dyn Kv>) -> io::Result<()> {
    let heads = sources.iter().map(|(_, disk, path)| read_head(&**disk, path));
    let (_, start) = heads.reduce(Result::or).unwrap_or_else(|| Err(io::Error::other("it is on no drive")))?;
    let mut installer = SnapshotInstaller::new(Arc::clone(kv)).map_err(io::Error::other)?;
    let opened = sources.iter().map(|(_, disk, path)| disk.open(path, OpenMode::Read, Caching::Cached));
    let files: Vec<Arc<dyn DiskFile>> = opened.collect::<io::Result<_>>()?;
    let lengths = files.iter().map(|file| file.len()).collect::<io::Result<Vec<u64>>>()?;
    let end = lengths.into_iter().max().unwrap_or(0);
    let mut offset = start;
    while offset < end {
        let frame = files.iter().find_map(|file| read_frame(&**file, offset));
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("no copy has a whole frame at {offset}"));
        let frame = frame.ok_or_else(damaged)?;
        installer.push(&frame).map_err(io::Error::other)?;
        offset += frame.len() as u64;
    }
    installer.finish().map_err(io::Error::other)
}

/// Returns the frame that begins at `offset`, if it is whole.
fn read_frame(file: &dyn DiskFile, offset: u64) -> Option<Vec<u8>> {
    let mut header = [0; FRAME_HEADER_BYTES];
    file.read_exact_at(&mut header, offset).ok()?;
    let mut frame = vec![0; frame_bytes(&header)?];
    file.read_exact_at(&mut frame, offset).ok()?;
    is_whole_frame(&frame).then_some(frame)
}

/// Returns whether a drive has a file of this snapshot, of this size, whole or not. Blocking.
pub fn has_file(drive: &Drive, at: Position, bytes: u64) -> bool {
    let path = snapshot_path(drive, log_id_of(at));
    drive.disk.open(&path, OpenMode::Read, Caching::Cached).and_then(|file| file.len()).is_ok_and(|len| len == bytes)
}

pub fn read_pieces(
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

/// Copies a snapshot's file to `target`, from the first source that can be read to its end. Fails with
/// `SnapshotDamaged` if there is none, and otherwise because of the target.
fn copy_file(sources: &[Drive], target: &Drive, at: LogId, attempt: &Attempt) -> io::Result<()> {
    let mut last = "it is on no drive".to_owned();
    for source in sources {
        let path = snapshot_path(source, at);
        if let Err(error) = read_head(&*source.disk, &path) {
            last = error.to_string();
            continue;
        }
        let mut draft = Draft::begin(NodeId(0), target, at, attempt)?;
        let mut is_refused = false;
        let write = |piece: &[u8]| attempt.check().and_then(|()| draft.write(piece)).inspect_err(|_| is_refused = true);
        match read_pieces(&*source.disk, &path, 0, write) {
            Ok(()) => {
                let finished = attempt.check().and_then(|()| draft.sync()).and_then(|()| draft.publish());
                finished.inspect_err(|_| draft.discard())?;
                return remove_earlier(target, at);
            }
            Err(error) => {
                draft.discard();
                if is_refused {
                    return Err(error);
                }
                last = error.to_string();
            }
        }
    }
    Err(SnapshotDamaged(last).into())
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
fn remove_earlier(drive: &Drive, at: LogId) -> io::Result<()> {
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

/// Returns the position, head and size of the newest snapshot on a drive that has a whole head. Blocking.
pub fn newest_on(drive: &Drive) -> Option<(Position, AppliedAt, u64)> {
    let dir = drive.snapshot_dir();
    let names = drive.disk.list(&dir).unwrap_or_default();
    let found = names.into_iter().filter(|name| name.ends_with(".snap")).filter_map(|name| {
        let path = dir.join(&name);
        let (head, _) = read_head(&*drive.disk, &path)
            .inspect_err(|error| tracing::warn!(%error, "a metadata snapshot cannot be read and is ignored"))
            .ok()?;
        let at = head.at.filter(|at| snapshot_name(log_id_of(*at)) == name)?;
        let bytes = drive.disk.open(&path, OpenMode::Read, Caching::Cached).and_then(|file| file.len()).ok()?;
        Some((at, head, bytes))
    });
    found.max_by_key(|(at, ..)| *at)
}

#[cfg(test)]
mod tests {
    use super::{log_id_of, remove_earlier, snapshot_path};
    use crate::actors::consensus::shared::{Drive, DriveRole};
    use crate::storage::disk::replace_file;
    use crate::storage::disk::sim::SimDisk;
    use crate::storage::raft_log::Position;

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
