//! A disk in memory for these tests, whose power can be cut before any operation that changes something.

use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Vec<u8>>,
    dirs: BTreeSet<PathBuf>,
    broken: BTreeSet<PathBuf>,
    changes_left: Option<u32>,
    sizes: BTreeMap<PathBuf, u64>,
    file_systems: BTreeMap<PathBuf, u64>,
}

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Makes every change fail after this many more changes; `None` means never.
    pub fn cut_power_after(&self, changes: Option<u32>) {
        self.state().changes_left = changes;
    }

    /// Makes every access at or below this path fail.
    pub fn break_path(&self, path: &str) {
        self.state().broken.insert(path.into());
    }

    /// Ends the failures of this path.
    pub fn mend_path(&self, path: &str) {
        self.state().broken.remove(Path::new(path));
    }

    /// Makes this path the root of a file system of this size.
    pub fn set_size(&self, path: &str, total_bytes: u64) {
        self.state().sizes.insert(path.into(), total_bytes);
    }

    /// Makes this path the root of the file system of this number; without any, none is told.
    pub fn mount(&self, path: &str, file_system: u64) {
        self.state().file_systems.insert(path.into(), file_system);
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        let path = PathBuf::from(path);
        let mut state = self.state();
        state.dirs.extend(path.ancestors().skip(1).map(Path::to_owned));
        state.files.insert(path, bytes.to_vec());
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        self.state().files.get(Path::new(path)).cloned().unwrap_or_default()
    }

    pub fn make_dir(&self, path: &str) {
        self.state().dirs.extend(Path::new(path).ancestors().map(Path::to_owned));
    }

    /// Removes a directory and all in it.
    pub fn remove_dir(&self, path: &str) {
        let mut state = self.state();
        state.files.retain(|file, _| !file.starts_with(path));
        state.dirs.retain(|dir| !dir.starts_with(path));
    }

    /// Returns the files below a directory, by relative path.
    pub fn copy_of(&self, path: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let within =
            |(file, bytes): (&PathBuf, &Vec<u8>)| Some((file.strip_prefix(path).ok()?.to_owned(), bytes.clone()));
        self.state().files.iter().filter_map(within).collect()
    }

    pub fn restore(&self, path: &str, files: &BTreeMap<PathBuf, Vec<u8>>) {
        self.make_dir(path);
        for (name, bytes) in files {
            self.state().files.insert(Path::new(path).join(name), bytes.clone());
        }
    }

    pub fn file_count(&self) -> usize {
        self.state().files.len()
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        if path.ancestors().any(|ancestor| self.state().broken.contains(ancestor)) {
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }

    fn change(&self, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        self.check(path)?;
        let mut state = self.state();
        if let Some(left) = &mut state.changes_left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("the power is off"))?;
        }
        Ok(state)
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode, _caching: Caching) -> io::Result<Arc<dyn DiskFile>> {
        self.check(path)?;
        let there = self.state().files.contains_key(path);
        match (mode, there) {
            (OpenMode::CreateNew, true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, false) => {
                if !self.exists(path.parent().unwrap())? {
                    return Err(io::ErrorKind::NotFound.into());
                }
                self.change(path)?.files.insert(path.to_owned(), Vec::new());
            }
            (_, false) => return Err(io::ErrorKind::NotFound.into()),
            (_, true) => {}
        }
        Ok(Arc::new(MemoryFile { disk: self.clone(), path: path.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.check(dir)?;
        let state = self.state();
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = state.files.keys().chain(&state.dirs).filter(|path| path.parent() == Some(dir));
        Ok(entries.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.change(dir)?.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change(to)?;
        let bytes = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(path)?.files.remove(path).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.check(path)?;
        let state = self.state();
        Ok(state.files.contains_key(path) || state.dirs.contains(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change(dir).map(|_| ())
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let state = self.state();
        let total_bytes = dir.ancestors().find_map(|path| state.sizes.get(path)).copied().unwrap_or(1 << 40);
        let file_system = dir.ancestors().find_map(|path| state.file_systems.get(path)).copied().unwrap_or(0);
        Ok(Space { free_bytes: total_bytes, total_bytes, file_system })
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    path: PathBuf,
}

impl MemoryFile {
    fn bytes(&self) -> Vec<u8> {
        self.disk.state().files.get(&self.path).cloned().unwrap_or_default()
    }
}

impl DiskFile for MemoryFile {
    fn caching(&self) -> Caching {
        Caching::Cached
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn write_all_at(&self, slices: &[io::IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut state = self.disk.change(&self.path)?;
        let bytes = state.files.get_mut(&self.path).ok_or(io::ErrorKind::NotFound)?;
        let mut at = usize::try_from(offset).unwrap();
        for slice in slices {
            bytes.resize(bytes.len().max(at + slice.len()), 0);
            bytes[at..at + slice.len()].copy_from_slice(slice);
            at += slice.len();
        }
        Ok(())
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let (bytes, at) = (self.bytes(), usize::try_from(offset).unwrap());
        into.copy_from_slice(bytes.get(at..at + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.change(&self.path).map(|_| ())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.change(&self.path)?;
        state.files.entry(self.path.clone()).or_default().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }
}
