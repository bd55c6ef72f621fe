//! The content of a simulated disk, in two images: the live one that programs see, and the durable one that was synced.
//! Unsynced writes and directory changes are kept beside them, so that a power cut can keep or lose each of them.

use rand::Rng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// The unit that a drive writes atomically, except for the write that a power cut interrupts.
const SECTOR: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Dir,
    File(FileId),
}

/// A change of a directory that no sync of the directory has covered.
#[derive(Clone, Debug)]
enum NameChange {
    Insert { path: PathBuf, entry: Entry },
    Rename { from: PathBuf, to: PathBuf, entry: Entry },
    Remove { path: PathBuf, entry: Entry },
}

type Names = BTreeMap<PathBuf, Entry>;

impl NameChange {
    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Insert { path, .. } | Self::Remove { path, .. } => path.parent() == Some(dir),
            Self::Rename { from, to, .. } => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }

    fn apply(&self, names: &mut Names) {
        let drop_name = |names: &mut Names, path: &PathBuf, entry: &Entry| {
            if names.get(path) == Some(entry) {
                names.remove(path);
            }
        };
        match self {
            Self::Insert { path, entry } => drop(names.insert(path.clone(), *entry)),
            Self::Remove { path, entry } => drop_name(names, path, entry),
            Self::Rename { from, to, entry } => {
                drop_name(names, from, entry);
                names.insert(to.clone(), *entry);
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Image {
    names: Names,
    durable_names: Names,
    name_changes: Vec<NameChange>,
    files: BTreeMap<FileId, FileImage>,
    next_file: u64,
}

impl Image {
    pub(super) fn entry(&self, path: &Path) -> Option<Entry> {
        if path.parent().is_none_or(|parent| parent.as_os_str().is_empty()) {
            return Some(self.names.get(path).copied().unwrap_or(Entry::Dir));
        }
        self.names.get(path).copied()
    }

    pub(super) fn file(&mut self, id: FileId) -> io::Result<&mut FileImage> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn file_at(&mut self, path: &Path) -> io::Result<&mut FileImage> {
        match self.entry(path) {
            Some(Entry::File(id)) => self.file(id),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<FileId> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.require_parent(path)?;
        let id = FileId(self.next_file);
        self.next_file += 1;
        self.files.insert(id, FileImage::default());
        self.change(NameChange::Insert { path: path.to_owned(), entry: Entry::File(id) });
        Ok(id)
    }

    /// Removes everything in a directory, durably.
    pub(super) fn empty(&mut self, dir: &Path) {
        let inside = |path: &PathBuf| path != dir && path.starts_with(dir);
        self.names.retain(|path, _| !inside(path));
        self.durable_names.retain(|path, _| !inside(path));
        self.name_changes.retain(|change| match change {
            NameChange::Insert { path, .. } | NameChange::Remove { path, .. } => !inside(path),
            NameChange::Rename { from, to, .. } => !inside(from) && !inside(to),
        });
    }

    fn require_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().map(|parent| self.entry(parent)) {
            None | Some(Some(Entry::Dir)) => Ok(()),
            Some(Some(Entry::File(_))) => Err(io::ErrorKind::NotADirectory.into()),
            Some(None) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn create_dir_all(&mut self, dir: &Path) -> io::Result<()> {
        match self.entry(dir) {
            Some(Entry::Dir) => return Ok(()),
            Some(Entry::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => {}
        }
        if let Some(parent) = dir.parent() {
            self.create_dir_all(parent)?;
        }
        self.change(NameChange::Insert { path: dir.to_owned(), entry: Entry::Dir });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let entry = self.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        self.require_parent(to)?;
        self.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), entry });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let entry = self.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        if entry == Entry::Dir {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.change(NameChange::Remove { path: path.to_owned(), entry });
        Ok(())
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if self.entry(dir) != Some(Entry::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        if self.entry(dir) != Some(Entry::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (covered, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.name_changes).into_iter().partition(|change| change.touches(dir));
        covered.iter().for_each(|change| change.apply(&mut self.durable_names));
        self.name_changes = left;
        Ok(())
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let named: BTreeSet<FileId> = self
            .names
            .values()
            .filter_map(|entry| if let Entry::File(id) = entry { Some(*id) } else { None })
            .collect();
        named.iter().filter_map(|id| self.files.get(id)).map(|file| file.live.len() as u64).sum()
    }

    /// Returns a possible image after a power cut now. `keep` is the chance that an unsynced change survives; if
    /// `None`, the chance is drawn.
    pub(super) fn after_power_cut(&self, random: &mut StdRng, keep: Option<f64>) -> Self {
        let mut names = self.durable_names.clone();
        let fixed = keep;
        let keep = fixed.unwrap_or_else(|| keep_chance(random));
        for change in &self.name_changes {
            if random.random_bool(keep) {
                change.apply(&mut names);
            }
        }
        // In path order, a directory comes before its entries.
        let mut reachable = Names::new();
        for (path, entry) in names {
            let root = |parent: &Path| {
                parent.as_os_str().is_empty() || parent.parent().is_none_or(|above| above.as_os_str().is_empty())
            };
            if path.parent().is_none_or(|parent| root(parent) || reachable.get(parent) == Some(&Entry::Dir)) {
                reachable.insert(path, entry);
            }
        }
        let mut files = BTreeMap::new();
        for entry in reachable.values() {
            if let Entry::File(id) = entry
                && let Some(file) = self.files.get(id)
            {
                files.insert(*id, file.after_power_cut(random, fixed));
            }
        }
        Self {
            names: reachable.clone(),
            durable_names: reachable,
            name_changes: Vec::new(),
            files,
            next_file: self.next_file,
        }
    }
}

/// Draws the chance that an unsynced change survives: sometimes 1, sometimes 0, mostly between.
fn keep_chance(random: &mut StdRng) -> f64 {
    [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)]
}

#[derive(Debug)]
struct UnsyncedWrite {
    number: u64,
    offset: usize,
    bytes: Vec<u8>,
    /// The write was interrupted by a fault or a halt of the disk, and may be torn inside a sector.
    torn: bool,
    /// A sync that covered the write failed: no later sync makes it durable.
    doomed: bool,
}

impl UnsyncedWrite {
    fn covers(&self, other: &Self) -> bool {
        self.offset <= other.offset && other.offset + other.bytes.len() <= self.offset + self.bytes.len()
    }
}

#[derive(Debug, Default)]
pub(super) struct FileImage {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<UnsyncedWrite>,
    writes: u64,
    pub(super) unreadable: Vec<std::ops::Range<u64>>,
}

/// The writes that a running sync covers, and the file's length at its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct SyncCover {
    writes: u64,
    len: usize,
}

impl FileImage {
    pub(super) fn len(&self) -> u64 {
        self.live.len() as u64
    }

    pub(super) fn grow_to(&mut self, len: u64) {
        let len = (len as usize).max(self.live.len());
        self.live.resize(len, 0);
    }

    pub(super) fn write(&mut self, offset: u64, bytes: Vec<u8>, torn: bool) {
        let offset = offset as usize;
        self.grow_to((offset + bytes.len()) as u64);
        self.live[offset..offset + bytes.len()].copy_from_slice(&bytes);
        self.writes += 1;
        self.unsynced.push(UnsyncedWrite { number: self.writes, offset, bytes, torn, doomed: false });
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let end = offset + into.len() as u64;
        if self.unreadable.iter().any(|range| range.start < end && offset < range.end) {
            return Err(io::Error::other("simulated unreadable sector"));
        }
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let content = self.live.get(from..from + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(content);
        Ok(())
    }

    pub(super) fn begin_sync(&self) -> SyncCover {
        SyncCover { writes: self.writes, len: self.live.len() }
    }

    pub(super) fn finish_sync(&mut self, cover: SyncCover) {
        let len = self.durable.len().max(cover.len);
        self.durable.resize(len, 0);
        let covered: Vec<UnsyncedWrite> =
            self.unsynced.extract_if(.., |write| write.number <= cover.writes && !write.doomed).collect();
        for write in covered {
            self.durable[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
            self.unsynced.retain(|doomed| doomed.number > write.number || !write.covers(doomed));
        }
    }

    pub(super) fn fail_sync(&mut self, cover: SyncCover) {
        for write in self.unsynced.iter_mut().filter(|write| write.number <= cover.writes) {
            write.doomed = true;
        }
    }

    /// Flips the bits of `mask` in one stored byte, in both images.
    pub(super) fn corrupt(&mut self, offset: u64, mask: u8) {
        for image in [&mut self.live, &mut self.durable] {
            if let Some(byte) = image.get_mut(offset as usize) {
                *byte ^= mask;
            }
        }
    }

    /// Truncates the file, in both images.
    pub(super) fn truncate(&mut self, len: u64) {
        self.live.truncate(len as usize);
        self.durable.truncate(len as usize);
        self.unsynced.clear();
    }

    fn after_power_cut(&self, random: &mut StdRng, keep: Option<f64>) -> Self {
        let keep = keep.unwrap_or_else(|| keep_chance(random));
        let len = if random.random_bool(keep) { self.live.len() } else { self.durable.len() };
        let mut image = self.durable.clone();
        image.resize(self.live.len().max(self.durable.len()), 0);
        for (sector, versions) in self.unsynced_sectors(random) {
            if random.random_bool(keep) {
                let chosen = &versions[random.random_range(0..versions.len())];
                let start = sector * SECTOR;
                image[start..start + chosen.len()].copy_from_slice(chosen);
            }
        }
        image.truncate(len);
        Self {
            live: image.clone(),
            durable: image,
            unsynced: Vec::new(),
            writes: 0,
            unreadable: self.unreadable.clone(),
        }
    }

    /// Returns, for each sector with unsynced writes, its content after each of these writes.
    fn unsynced_sectors(&self, random: &mut StdRng) -> BTreeMap<usize, Vec<Vec<u8>>> {
        let mut sectors: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
        for write in &self.unsynced {
            let end = write.offset + write.bytes.len();
            for sector in write.offset / SECTOR..end.div_ceil(SECTOR) {
                let start = sector * SECTOR;
                let sector_end = (start + SECTOR).min(self.live.len());
                let versions = sectors.entry(sector).or_default();
                let mut content = versions.last().cloned().unwrap_or_else(|| {
                    let mut before =
                        self.durable.get(start..sector_end.min(self.durable.len())).unwrap_or_default().to_vec();
                    before.resize(sector_end - start, 0);
                    before
                });
                content.resize(sector_end - start, 0);
                let (from, to) = (write.offset.max(start), end.min(sector_end));
                let written = if write.torn { random.random_range(from..=to) } else { to };
                content[from - start..written - start]
                    .copy_from_slice(&write.bytes[from - write.offset..written - write.offset]);
                versions.push(content);
            }
        }
        sectors
    }
}
