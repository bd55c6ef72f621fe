//! The file system of the machine. Files opened with direct access accept unaligned ranges too, through an aligned
//! buffer. Such a call costs a copy and, for a write, a read of the blocks that it touches; no request to the store
//! causes one.

use super::{Caching, Disk, DiskFile, OpenMode, Space};
use crate::limits::BLOCK_BYTES;
use crate::storage::buffer::{BufferPool, is_block_aligned};
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of slices that one system call takes (`IOV_MAX`).
const SLICES_MAX: usize = 1024;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// Replaces `NotFound` by another error if `dir` is a dangling symbolic link: a directory cannot be created at that
/// path.
fn named_where_dangling(dir: &Path, error: io::Error) -> io::Error {
    match std::fs::read_link(dir) {
        Ok(target) if error.kind() == io::ErrorKind::NotFound => {
            io::Error::other(format!("it is a symbolic link to {}, which is not there", target.display()))
        }
        _ => error,
    }
}

/// The file system of the machine. `pool` provides buffers for unaligned calls on files with direct access.
#[derive(Clone, Debug)]
pub struct SystemDisk {
    pool: BufferPool,
}

impl SystemDisk {
    pub fn new(pool: BufferPool) -> Self {
        Self { pool }
    }
}

impl Disk for SystemDisk {
    fn open(&self, path: &Path, mode: OpenMode, caching: Caching) -> io::Result<Arc<dyn DiskFile>> {
        let access = match mode {
            OpenMode::Read => OFlags::RDONLY,
            OpenMode::Write => OFlags::RDWR,
            OpenMode::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        } | OFlags::CLOEXEC;
        let permissions = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        let file = |fd, direct| {
            let direct = AtomicBool::new(direct);
            Arc::new(SystemFile {
                fd,
                path: path.to_owned(),
                direct,
                pool: self.pool.clone(),
                unaligned_writes: Mutex::default(),
            })
        };
        if caching == Caching::Direct {
            match rustix::fs::open(path, access | OFlags::DIRECT, permissions) {
                Ok(fd) => return Ok(file(fd, true)),
                // The file system has no direct access. Some file systems create the file before they report that.
                Err(Errno::INVAL) if mode == OpenMode::CreateNew && path.try_exists()? => std::fs::remove_file(path)?,
                Err(Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(file(rustix::fs::open(path, access, permissions)?, false))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|error| named_where_dangling(dir, error))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir)?.sync_all()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(dir)?;
        let used = found.f_blocks.saturating_sub(found.f_bfree);
        Ok(Space {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: used.saturating_add(found.f_bavail).saturating_mul(found.f_frsize),
            file_system: rustix::fs::stat(dir)?.st_dev,
        })
    }
}

#[derive(Debug)]
struct SystemFile {
    fd: OwnedFd,
    path: PathBuf,
    /// Cleared for good when the file system refuses a direct read or write.
    direct: AtomicBool,
    pool: BufferPool,
    /// Held while an unaligned write reads blocks, changes them and writes them back.
    unaligned_writes: Mutex<()>,
}

impl SystemFile {
    fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    /// Runs an aligned call. Some file systems open files with direct access and refuse the first such call; the file
    /// is then switched to cached access, and the call repeated.
    fn attempt<T>(&self, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match call() {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) && self.is_direct() => {
                let flags = rustix::fs::fcntl_getfl(&self.fd)?;
                rustix::fs::fcntl_setfl(&self.fd, flags - OFlags::DIRECT)?;
                self.direct.store(false, Ordering::Relaxed);
                call()
            }
            done => done,
        }
    }

    fn write_slices(&self, slices: &[io::IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut left: Vec<io::IoSlice<'_>> =
            slices.iter().filter(|slice| !slice.is_empty()).map(|slice| io::IoSlice::new(slice)).collect();
        let mut left = left.as_mut_slice();
        let mut at = offset;
        while !left.is_empty() {
            match rustix::io::pwritev(&self.fd, &left[..left.len().min(SLICES_MAX)], at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    io::IoSlice::advance_slices(&mut left, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads into `into` until it is full or the file ends. Returns the number of bytes read.
    fn read_up_to(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match rustix::io::pread(&self.fd, &mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => {
                    filled += read;
                    // A direct read ends between block boundaries only at the end of the file, and cannot go on there.
                    if self.is_direct() && !filled.is_multiple_of(BLOCK_BYTES) {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    fn read_through_buffer(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let lead = (offset % BLOCK) as usize;
        let mut buffer = self.pool.take((lead + into.len()).next_multiple_of(BLOCK_BYTES));
        let read = self.attempt(|| self.read_up_to(&mut buffer, offset - lead as u64))?;
        let got = read.saturating_sub(lead).min(into.len());
        into[..got].copy_from_slice(&buffer[lead..lead + got]);
        Ok(got)
    }

    fn write_through_buffer(&self, slices: &[io::IoSlice<'_>], offset: u64) -> io::Result<()> {
        let _alone = self.unaligned_writes.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let lead = (offset % BLOCK) as usize;
        let file_len = self.len()?;
        let mut buffer = self.pool.take_zeroed((lead + bytes).next_multiple_of(BLOCK_BYTES));
        self.attempt(|| self.read_up_to(&mut buffer, offset - lead as u64))?;
        let mut at = lead;
        for slice in slices {
            buffer[at..at + slice.len()].copy_from_slice(slice);
            at += slice.len();
        }
        self.attempt(|| self.write_slices(&[io::IoSlice::new(&buffer)], offset - lead as u64))?;
        let end = offset + bytes as u64;
        let written_end = offset - lead as u64 + buffer.len() as u64;
        if written_end > file_len.max(end) {
            rustix::fs::ftruncate(&self.fd, file_len.max(end))?;
        }
        Ok(())
    }
}

impl DiskFile for SystemFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn caching(&self) -> Caching {
        if self.is_direct() { Caching::Direct } else { Caching::Cached }
    }

    fn write_all_at(&self, slices: &[io::IoSlice<'_>], offset: u64) -> io::Result<()> {
        let aligned = |slice: &io::IoSlice<'_>| is_block_aligned(slice) && slice.len().is_multiple_of(BLOCK_BYTES);
        if self.is_direct() && !(offset.is_multiple_of(BLOCK) && slices.iter().all(aligned)) {
            return self.write_through_buffer(slices, offset);
        }
        self.attempt(|| self.write_slices(slices, offset))
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let aligned = offset.is_multiple_of(BLOCK) && is_block_aligned(into) && into.len().is_multiple_of(BLOCK_BYTES);
        let got = if self.is_direct() && !aligned {
            self.read_through_buffer(into, offset)?
        } else {
            self.attempt(|| self.read_up_to(into, offset))?
        };
        if got == into.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        // Never retried: after an error the kernel may have dropped the dirty pages, and would then report success.
        Ok(rustix::fs::fdatasync(&self.fd)?)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // The file system cannot reserve space, so only the length is set.
            Err(Errno::OPNOTSUPP) if self.len()? < len => Ok(rustix::fs::ftruncate(&self.fd, len)?),
            Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(rustix::fs::fstat(&self.fd)?.st_size).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::SystemDisk;
    use crate::limits::BLOCK_BYTES;
    use crate::storage::buffer::BufferPool;
    use crate::storage::disk::{Caching, Disk, OpenMode, read_file, replace_file};
    use std::io::{ErrorKind, IoSlice};

    #[test]
    fn a_dangling_symbolic_link_does_not_count_as_a_missing_directory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = SystemDisk::new(BufferPool::new(1 << 20));
        let (target, link) = (dir.path().join("gone"), dir.path().join("link"));
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        assert_eq!(disk.list(&target).expect_err("it is not there").kind(), ErrorKind::NotFound);
        let error = disk.list(&link).expect_err("it leads nowhere");
        assert!(error.kind() != ErrorKind::NotFound && error.to_string().contains("symbolic link to"), "{error}");
        std::fs::create_dir(&target).expect("made");
        assert_eq!(disk.list(&link).expect("it leads there"), Vec::<String>::new());
    }

    #[test]
    fn a_direct_file_takes_aligned_and_unaligned_ranges_alike() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let pool = BufferPool::new(1 << 20);
        let disk = SystemDisk::new(pool.clone());
        let path = dir.path().join("file");
        let file = disk.open(&path, OpenMode::CreateNew, Caching::Direct).expect("created");
        let mut aligned = pool.take(2 * BLOCK_BYTES);
        aligned.fill(1);
        file.write_all_at(&[IoSlice::new(&aligned)], 0).expect("aligned write");
        file.write_all_at(&[IoSlice::new(b"hello"), IoSlice::new(b", world")], 4090).expect("unaligned write");
        file.write_all_at(&[IoSlice::new(b"tail")], 10_000).expect("unaligned write past the end");
        file.sync_data().expect("synced");
        assert_eq!(file.len().expect("length"), 10_004);

        let mut content = vec![9; 10_004];
        file.read_exact_at(&mut content, 0).expect("unaligned read");
        assert!(content[..4090].iter().all(|&byte| byte == 1));
        assert_eq!(&content[4090..4102], b"hello, world");
        assert!(content[4102..8192].iter().all(|&byte| byte == 1));
        assert!(content[8192..10_000].iter().all(|&byte| byte == 0));
        assert_eq!(&content[10_000..], b"tail");
        let past = file.read_exact_at(&mut content[..8], 10_000).expect_err("past the end");
        assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_small_file_is_replaced_whole() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = SystemDisk::new(BufferPool::new(0));
        let path = dir.path().join("small");
        replace_file(&disk, &path, b"one").expect("written");
        replace_file(&disk, &path, b"second").expect("replaced");
        assert_eq!(read_file(&disk, &path).expect("read"), b"second");
        assert_eq!(disk.list(dir.path()).expect("listed"), ["small"]);
    }

    /// W13: opening an absent file for reading, and listing, create nothing.
    #[test]
    fn opening_an_absent_file_creates_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = SystemDisk::new(BufferPool::new(0));
        let absent = dir.path().join("absent");
        for caching in [Caching::Cached, Caching::Direct] {
            let error = disk.open(&absent, OpenMode::Read, caching).expect_err("absent");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(disk.open(&absent, OpenMode::Write, caching).is_err());
        }
        assert!(disk.list(&absent).is_err());
        assert!(disk.list(dir.path()).expect("listed").is_empty());
        let space = disk.space(dir.path()).expect("space");
        assert!(space.free_bytes <= space.total_bytes && space.total_bytes > 0);
    }

    #[test]
    fn allocation_reserves_the_whole_length() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = SystemDisk::new(BufferPool::new(0));
        let file = disk.open(&dir.path().join("file"), OpenMode::CreateNew, Caching::Direct).expect("created");
        file.allocate(1 << 20).expect("allocated");
        assert_eq!(file.len().expect("length"), 1 << 20);
        assert!(!file.is_empty().expect("length"));
    }
}
