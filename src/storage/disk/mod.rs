//! The file system as this crate uses it, behind a trait: the machine's own (`system`) or a simulated one that
//! drops, tears and reorders what was not synced (`sim`). Every durable byte of ours goes through it.
//!
//! Rules that every implementation keeps: bytes written are durable after `sync_data` of the file *and*, where the
//! file is newly created or renamed, after `sync_dir` of its directory; a new directory is an entry of its parent like any
//! file. A sync that failed is not made good by a later one of the same bytes. Nothing else is promised.

mod durable;
pub mod sim;
mod system;

pub use durable::{create_dir_durably, read_file, replace_file, write_anew};
pub use system::SystemDisk;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The access mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing in place.
    Write,
    /// A file that must not exist yet.
    CreateNew,
}

/// Use of the page cache. `Direct` bypasses it and needs block-aligned buffers, offsets and lengths; where the file
/// system cannot do it, the file is opened cached and works the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    Cached,
    Direct,
}

/// Bytes of a file system: what an unprivileged process can still write, and the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// Equal for directories of one file system on one host; 0 where that is not known.
    pub file_system: u64,
}

/// The kinds of calls that a drive may not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Read,
    Change,
}

/// One file system location.
pub trait Disk: Send + Sync + Debug + 'static {
    fn open(&self, path: &Path, mode: OpenMode, caching: Caching) -> io::Result<Arc<dyn DiskFile>>;
    /// The names in a directory, sorted; an error of kind `NotFound` where there is none.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates directories without making their names durable: for `create_dir_durably`.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn space(&self, dir: &Path) -> io::Result<Space>;
    /// Returns whether calls below this path never come back: of a simulated disk, on which a call that hangs would
    /// hang the one thread of the simulation. Who would be blocked by the call asks first, and waits for ever.
    fn hangs(&self, _path: &Path, _call: CallKind) -> bool {
        false
    }
}

/// One open file. All methods may be called from several threads at once.
pub trait DiskFile: Send + Sync + Debug + 'static {
    /// The path that it was opened by.
    fn path(&self) -> &Path;
    /// Returns whether the page cache is bypassed; if not, buffers need no alignment.
    fn caching(&self) -> Caching;
    /// Writes all slices one after the other from `offset` on, with as few system calls as the system allows.
    fn write_all_at(&self, slices: &[io::IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Fills `into`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves space so that writes below `len` do not fail for want of it; extends the file to `len`.
    fn allocate(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
