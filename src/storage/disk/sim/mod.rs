//! A disk in memory whose power can be cut, for simulation and tests; the program itself never makes one.
//!
//! After a cut (`power_cut`), synced bytes are intact. Each unsynced sector of 512 bytes holds, independently of
//! others, its synced content or that of any write since. A write that the cut interrupted may be torn inside a sector.
//! Each creation, renaming and removal that no `sync_dir` covered is kept or lost. The bytes that a failed sync covered
//! may be lost even if a later sync succeeds. All randomness comes from the seed of the cut.

mod faults;
mod image;

pub use faults::{Chances, DriveFault, Held, Operations, Shortage};

use self::faults::Faults;
use self::image::{Entry, FileId, FileImage, Image};
use super::{Caching, CallKind, Disk, DiskFile, OpenMode, Space};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest time that a test waits for an operation to reach the point where it is held.
const ARRIVAL_WAIT_MAX: Duration = Duration::from_secs(20);

/// A disk in memory. Clones share the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when a hold ends and when an operation arrives at one.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    image: Image,
    faults: Faults,
    operations: Operations,
    capacity_bytes: u64,
    caching: Option<Caching>,
}

impl SimDisk {
    pub fn new(capacity_bytes: u64) -> Self {
        Self::with_image(Image::default(), capacity_bytes)
    }

    fn with_image(image: Image, capacity_bytes: u64) -> Self {
        let state = State {
            image,
            faults: Faults::default(),
            operations: Operations::default(),
            capacity_bytes,
            caching: None,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// Returns this disk as a trait object, for the code under test.
    pub fn handle(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Cuts the power: this disk fails from now on. Returns a disk with a content that could be found when the power is
    /// back.
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut state = self.state();
        state.faults.halted = true;
        state.faults.holds.clear();
        self.shared.changed.notify_all();
        let mut random = StdRng::seed_from_u64(seed);
        Self::with_image(state.image.after_power_cut(&mut random, None), state.capacity_bytes)
    }

    /// Like `power_cut`, with every unsynced change lost.
    pub fn power_cut_to_what_was_synced(&self, seed: u64) -> Self {
        let mut state = self.state();
        state.faults.halted = true;
        let mut random = StdRng::seed_from_u64(seed);
        Self::with_image(state.image.after_power_cut(&mut random, Some(0.0)), state.capacity_bytes)
    }

    /// Sets the fault of the drive in this directory.
    pub fn fail_drive(&self, dir: &Path, fault: DriveFault) {
        self.state().faults.fail_drive(dir, fault);
    }

    /// Ends the fault of the drive in this directory.
    pub fn mend_drive(&self, dir: &Path) {
        self.state().faults.drives.remove(dir);
    }

    /// Begins or ends a want of the host's resources.
    pub fn set_shortage(&self, shortage: Option<Shortage>) {
        self.state().faults.shortage = shortage;
    }

    /// Limits what a shortage keeps from being opened to this directory.
    pub fn limit_shortage(&self, dir: &Path) {
        self.state().faults.shortage_below = dir.to_owned();
    }

    /// Makes everything fail from the `number`th change on, counted from 1 over the disk's life. If that change is a
    /// write, it is torn.
    pub fn halt_at(&self, number: u64) {
        self.state().faults.halt_at = Some(number);
    }

    /// Returns whether the disk was halted, so that every operation fails.
    pub fn is_halted(&self) -> bool {
        self.state().faults.halted
    }

    pub fn fail_next_syncs(&self, count: u64) {
        self.state().faults.sync_failures = count;
    }

    pub fn fail_next_writes(&self, count: u64) {
        self.state().faults.write_failures = count;
    }

    /// Makes the next writes fail for want of memory, in part done.
    pub fn fail_next_writes_for_memory(&self, count: u64) {
        self.state().faults.write_shortages = count;
    }

    /// Makes every renaming and removal of this file fail, until `unpin`.
    pub fn pin(&self, path: &Path) {
        self.state().faults.pinned.insert(path.to_owned());
    }

    pub fn unpin(&self, path: &Path) {
        self.state().faults.pinned.remove(path);
    }

    /// Makes the disk larger or smaller, and keeps its content.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity_bytes = bytes;
    }

    /// Opens all files cached from now on, even if direct access is requested.
    pub fn refuse_direct(&self) {
        self.state().caching = Some(Caching::Cached);
    }

    /// Removes everything in a directory, as if an empty drive replaced the drive that was mounted there.
    pub fn empty(&self, dir: &Path) {
        self.state().image.empty(dir);
    }

    /// Flips the bits of `mask` in one stored byte.
    pub fn corrupt(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        self.state().image.file_at(path)?.corrupt(offset, mask);
        Ok(())
    }

    /// Truncates a stored file.
    pub fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.state().image.file_at(path)?.truncate(len);
        Ok(())
    }

    /// Makes reads that touch these bytes fail from now on.
    pub fn make_unreadable(&self, path: &Path, bytes: Range<u64>) -> io::Result<()> {
        self.state().image.file_at(path)?.unreadable.push(bytes);
        Ok(())
    }

    /// Suspends every operation of this kind until the guard is dropped.
    pub fn hold(&self, operation: Held) -> HoldGuard {
        self.state().faults.holds.entry(operation).or_default().holders += 1;
        HoldGuard { disk: self.clone(), operation }
    }

    pub fn operations(&self) -> Operations {
        self.state().operations
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the operation is not held, then counts the change. Fails if the disk is halted or its drive does not
    /// answer.
    fn begin_change(&self, path: &Path, held: Option<Held>) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.faults.check_alive()?;
        state.faults.check_change(path)?;
        if let Some(operation) = held {
            state = self.wait_while_held(state, operation);
        }
        state.count_change()?;
        Ok(state)
    }

    fn wait_while_held<'a>(&self, mut state: MutexGuard<'a, State>, operation: Held) -> MutexGuard<'a, State> {
        if !state.faults.is_held(operation) {
            return state;
        }
        state.faults.holds.entry(operation).or_default().waiting += 1;
        self.changed.notify_all();
        while state.faults.is_held(operation) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(hold) = state.faults.holds.get_mut(&operation) {
            hold.waiting -= 1;
        }
        state
    }
}

impl State {
    fn count_change(&mut self) -> io::Result<()> {
        self.faults.check_alive()?;
        self.operations.changes += 1;
        if self.faults.halt_at.is_some_and(|at| self.operations.changes >= at) {
            self.faults.halted = true;
        }
        self.faults.check_alive()
    }

    fn free_bytes(&self, path: &Path) -> u64 {
        if self.faults.of(path) == Some(DriveFault::Full) {
            return 0;
        }
        self.capacity_bytes.saturating_sub(self.image.used_bytes())
    }
}

/// A guard that suspends operations of one kind while it lives.
#[derive(Debug)]
pub struct HoldGuard {
    disk: SimDisk,
    operation: Held,
}

impl HoldGuard {
    /// Returns the number of operations that wait at this hold.
    pub fn arrivals(&self) -> u64 {
        self.disk.state().faults.holds.get(&self.operation).map_or(0, |hold| hold.waiting)
    }

    /// Blocks until `count` operations wait at this hold.
    pub fn wait_for_arrivals(&self, count: u64) {
        let arrived =
            |state: &mut State| state.faults.holds.get(&self.operation).is_some_and(|hold| hold.waiting >= count);
        let state = self.disk.state();
        let waited = self.disk.shared.changed.wait_timeout_while(state, ARRIVAL_WAIT_MAX, |state| !arrived(state));
        let (_state, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!outcome.timed_out(), "no {:?} arrived where it is held", self.operation);
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        if let Some(hold) = self.disk.state().faults.holds.get_mut(&self.operation) {
            hold.holders -= 1;
        }
        self.disk.shared.changed.notify_all();
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode, caching: Caching) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.faults.check_alive()?;
        state.faults.check_drive(path)?;
        state.faults.check_opening(path)?;
        state.operations.opens += 1;
        let id = if mode == OpenMode::CreateNew {
            state.faults.check_change(path)?;
            state.count_change()?;
            state.image.create(path)?
        } else {
            match state.image.entry(path) {
                Some(Entry::File(id)) => id,
                Some(Entry::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        };
        let caching = state.caching.unwrap_or(caching);
        Ok(Arc::new(SimFile {
            shared: Arc::clone(&self.shared),
            id,
            path: path.to_owned(),
            caching,
            writable: mode != OpenMode::Read,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.faults.check_alive()?;
        state.faults.check_drive(dir)?;
        state.faults.check_opening(dir)?;
        state.image.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.shared.begin_change(dir, None)?.image.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.shared.begin_change(from, None)?;
        state.faults.check_pinned(from)?;
        state.image.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.shared.begin_change(path, Some(Held::Remove))?;
        state.faults.check_pinned(path)?;
        state.image.remove(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        state.faults.check_alive()?;
        state.faults.check_drive(path)?;
        Ok(state.image.entry(path).is_some())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state().faults.check_opening(dir)?;
        let mut state = self.shared.begin_change(dir, Some(Held::SyncDir))?;
        state.operations.dir_syncs += 1;
        state.image.sync_dir(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let state = self.state();
        state.faults.check_alive()?;
        state.faults.check_drive(dir)?;
        Ok(Space { free_bytes: state.free_bytes(dir), total_bytes: state.capacity_bytes, file_system: 0 })
    }

    fn hangs(&self, path: &Path, call: CallKind) -> bool {
        let state = self.state();
        !state.faults.halted && state.faults.hangs(path, call)
    }
}

#[derive(Debug)]
struct SimFile {
    shared: Arc<Shared>,
    id: FileId,
    path: PathBuf,
    caching: Caching,
    writable: bool,
}

impl SimFile {
    fn with_file<T>(&self, act: impl FnOnce(&mut FileImage) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.shared.state();
        state.faults.check_alive()?;
        act(state.image.file(self.id)?)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl DiskFile for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn write_all_at(&self, slices: &[io::IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut bytes = Vec::with_capacity(slices.iter().map(|slice| slice.len()).sum());
        slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        let was_alive = self.shared.state().faults.check_alive().is_ok();
        let mut state = match self.shared.begin_change(&self.path, Some(Held::Write)) {
            Ok(state) => state,
            Err(error) => {
                let mut state = self.shared.state();
                // A write that is the change at which the disk halts was in progress at that moment, and is torn.
                if was_alive && state.faults.halt_at == Some(state.operations.changes) {
                    state.image.file(self.id)?.write(offset, bytes, true);
                }
                return Err(error);
            }
        };
        state.operations.writes += 1;
        state.operations.written_bytes += bytes.len() as u64;
        if Faults::take(&mut state.faults.write_failures) {
            state.image.file(self.id)?.write(offset, bytes, true);
            return Err(io::Error::other("simulated write failure"));
        }
        if Faults::take(&mut state.faults.write_shortages) {
            state.image.file(self.id)?.write(offset, bytes, true);
            return Err(Errno::NOMEM.into());
        }
        if state.faults.strikes(&self.path, |chances| chances.writes_failed) {
            state.image.file(self.id)?.write(offset, bytes, true);
            return Err(io::Error::other("simulated write failure"));
        }
        let grown = (offset + bytes.len() as u64).saturating_sub(state.image.file(self.id)?.len());
        if grown > state.free_bytes(&self.path) || state.faults.strikes(&self.path, |chances| chances.found_full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let is_segment = self.path.extension().is_some_and(|extension| extension == "seg");
        if is_segment && state.faults.strikes(&self.path, |chances| chances.writes_lost) {
            return Ok(());
        }
        state.image.file(self.id)?.write(offset, bytes, false);
        Ok(())
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.shared.state();
        state.faults.check_alive()?;
        state.faults.check_drive(&self.path)?;
        state.faults.check_reading()?;
        if state.faults.of(&self.path) == Some(DriveFault::Unreadable) {
            return Err(io::Error::other("simulated read failure"));
        }
        if state.faults.strikes(&self.path, |chances| chances.reads_failed) {
            return Err(io::Error::other("simulated read failure"));
        }
        state.operations.reads += 1;
        state.operations.read_bytes += into.len() as u64;
        state.image.file(self.id)?.read(offset, into)
    }

    fn sync_data(&self) -> io::Result<()> {
        let cover = self.with_file(|file| Ok(file.begin_sync()))?;
        let mut state = self.shared.begin_change(&self.path, Some(Held::Sync))?;
        state.operations.syncs += 1;
        let fails = Faults::take(&mut state.faults.sync_failures)
            || state.faults.strikes(&self.path, |chances| chances.syncs_failed);
        if fails {
            state.image.file(self.id)?.fail_sync(cover);
            return Err(io::Error::other("simulated sync failure"));
        }
        state.image.file(self.id)?.finish_sync(cover);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.shared.begin_change(&self.path, Some(Held::Allocate))?;
        let grown = len.saturating_sub(state.image.file(self.id)?.len());
        if grown > state.free_bytes(&self.path) || state.faults.strikes(&self.path, |chances| chances.found_full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.image.file(self.id)?.grow_to(len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.with_file(|file| Ok(file.len()))
    }
}

#[cfg(test)]
mod tests;
