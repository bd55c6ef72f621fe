//! The file system behind a trait: that of the machine (`system`), or a simulated one that drops, tears and reorders
//! unsynced writes (`sim`), which a release does not have. Every durable byte of the program goes through it.
//!
//! The contract of all implementations: written bytes are durable after `sync_data` of the file *and*, if the file is
//! newly created or renamed, after `sync_dir` of its directory. A new directory is an entry of its parent like any
//! file. After a failed sync, a later sync of the same bytes does not make them durable. Nothing else is promised.

mod durable;
mod open_files;
#[cfg(any(test, feature = "fuzzing", debug_assertions))]
pub mod sim;
mod system;

pub use durable::{create_dir_durably, read_file, replace_file, rewrite_and_sync, write_repeatedly};
pub use open_files::{FilePlace, OpenFiles, OpenFilesBudget};
pub use system::SystemDisk;

use rustix::io::Errno;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The access mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Opens an existing file for reading only.
    Read,
    /// Opens an existing file for reading and writing in place.
    Write,
    /// Creates a file for reading and writing; fails if it exists.
    CreateNew,
}

/// Use of the page cache. `Direct` bypasses it, and is fast only with block-aligned buffers, offsets and lengths. If
/// the file system has no direct access, the file is opened cached and behaves the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    Cached,
    Direct,
}

/// The space of a file system: the bytes that an unprivileged process can still write, and these with what is used. What
/// is kept for root alone is in neither, as in the percentage that `df` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// A number that is equal for directories of one file system on one host; 0 if unknown.
    pub file_system: u64,
}

/// The kind of a disk call, for `Disk::hangs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Read,
    Change,
}

/// A file system.
pub trait Disk: Send + Sync + Debug + 'static {
    fn open(&self, path: &Path, mode: OpenMode, caching: Caching) -> io::Result<Arc<dyn DiskFile>>;
    /// Returns the names in a directory, sorted. Fails with `NotFound` if the directory does not exist.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory and its missing ancestors, without syncing their names; `create_dir_durably` does that.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn space(&self, dir: &Path) -> io::Result<Space>;
    /// Returns whether a call of this kind below this path would never return. Only a simulated disk returns true: a
    /// hanging call would block the single thread of the simulation. A caller that must survive a hanging drive asks
    /// before the call, and then waits for ever without blocking the thread.
    fn hangs(&self, _path: &Path, _call: CallKind) -> bool {
        false
    }
}

/// One open file. All methods may be called from several threads at once.
pub trait DiskFile: Send + Sync + Debug + 'static {
    /// The path by which the file was opened.
    fn path(&self) -> &Path;
    /// The use of the page cache in effect; with `Cached`, buffers need no alignment.
    fn caching(&self) -> Caching;
    /// Writes all slices one after the other from `offset` on, with as few system calls as possible.
    fn write_all_at(&self, slices: &[io::IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Fills `into`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves space so that writes below `len` do not fail for lack of it, and extends the file to `len`.
    fn allocate(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Returns whether a call failed because the process or its host lacks file descriptors or memory. Such an error says
/// nothing of the drive or its files, and the call may succeed when it is repeated.
pub fn host_lacks_resources(error: &io::Error) -> bool {
    let lacks_descriptors =
        [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    lacks_descriptors || error.kind() == io::ErrorKind::OutOfMemory
}

#[cfg(test)]
mod tests {
    use super::host_lacks_resources;
    use rustix::io::Errno;
    use std::io;

    #[test]
    fn only_a_want_of_descriptors_or_memory_is_the_hosts() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(host_lacks_resources(&errno.into()), "{errno}");
        }
        for errno in [Errno::IO, Errno::NOSPC, Errno::NOENT, Errno::ROFS, Errno::ACCESS] {
            assert!(!host_lacks_resources(&errno.into()), "{errno}");
        }
        assert!(!host_lacks_resources(&io::ErrorKind::UnexpectedEof.into()));
    }
}
