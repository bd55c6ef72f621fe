//! File operations that are durable on return: creating a directory, replacing a small file, and rewriting bytes that
//! no sync is known to have covered. And a write that is repeated while the host lacks memory.

use super::{Caching, Disk, DiskFile, OpenMode, host_lacks_resources};
use crate::limits::{BLOCK_BYTES, LOG_SCAN_BYTES};
use crate::storage::buffer::BufferPool;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// The number of repetitions of a write, and the pause before the first one. It doubles before each further one.
const WRITES_AGAIN_MAX: u32 = 5;
const WRITE_PAUSE: Duration = Duration::from_millis(10);

/// Creates a directory and its missing ancestors one by one, and syncs the name of each before it creates the next. The
/// lowest that exists is synced, too: a process that created it may have been killed before it synced it. So are the
/// names of the directory and of its parent if both exist, which something else may have created.
pub fn create_dir_durably(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let named: Vec<&Path> = dir.ancestors().filter(|path| path.file_name().is_some()).collect();
    let mut missing = 0;
    while missing < named.len() && !disk.exists(named[missing])? {
        missing += 1;
    }
    for (depth, path) in named.iter().enumerate().take((missing + 1).max(2)).rev() {
        if depth < missing {
            disk.create_dir_all(path)?;
        }
        match disk.sync_dir(path.parent().unwrap_or(path)) {
            Err(error) if depth >= missing && cannot_change(&error) => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Returns whether the error says that this process may not open or change a directory. An earlier process with the
/// same rights cannot have created anything there, so there is nothing to sync.
fn cannot_change(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported)
}

/// Replaces a small file atomically: a reader sees the old content or the new, and the new is durable on return. The
/// content is written to a draft file first, which is renamed only after it was synced.
pub fn replace_file(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = draft_path(path);
    if disk.exists(&draft)? {
        disk.remove(&draft)?;
    }
    if let Err(error) = write_draft(disk, &draft, content) {
        // If the removal fails too, the next call removes the draft.
        let _ = disk.remove(&draft);
        return Err(error);
    }
    disk.rename(&draft, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("/")))
}

fn write_draft(disk: &dyn Disk, draft: &Path, content: &[u8]) -> io::Result<()> {
    let file = disk.open(draft, OpenMode::CreateNew, Caching::Cached)?;
    file.write_all_at(&[IoSlice::new(content)], 0)?;
    file.sync_data()
}

fn draft_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".draft");
    path.with_file_name(name)
}

/// Returns the whole content of a small file.
pub fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read, Caching::Cached)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut content = vec![0; len];
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

/// Writes all slices one after the other from `offset` on. If the host lacks resources, repeats the whole write a few
/// times, and blocks meanwhile: that overwrites whatever a failed attempt has written.
pub fn write_repeatedly(file: &dyn DiskFile, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
    let mut written = file.write_all_at(slices, offset);
    for again in 0..WRITES_AGAIN_MAX {
        match &written {
            Err(error) if host_lacks_resources(error) => thread::sleep(WRITE_PAUSE * (1 << again)),
            _ => break,
        }
        written = file.write_all_at(slices, offset);
    }
    written
}

/// Rewrites a range of a file with its own content and syncs it. After a failed sync, the kernel may mark pages as
/// clean that the drive never received; a further sync skips them, so only a new write makes them durable. A power cut
/// is harmless, as each sector is overwritten with the same bytes. Blocks that the drive cannot read are skipped.
pub fn rewrite_and_sync(file: &dyn DiskFile, range: Range<u64>, pool: &BufferPool) -> io::Result<()> {
    let end = range.end.next_multiple_of(BLOCK).min(file.len()?);
    let mut at = range.start - range.start % BLOCK;
    while at < end {
        let len = (end - at).min(LOG_SCAN_BYTES as u64);
        let mut buffer = pool.take(usize::try_from(len).map_err(io::Error::other)?);
        if file.read_exact_at(&mut buffer, at).is_ok() {
            file.write_all_at(&[IoSlice::new(&buffer)], at)?;
        } else {
            for (block, place) in buffer.chunks_mut(BLOCK_BYTES).zip((at..).step_by(BLOCK_BYTES)) {
                match file.read_exact_at(block, place) {
                    Ok(()) => file.write_all_at(&[IoSlice::new(block)], place)?,
                    Err(error) if host_lacks_resources(&error) => return Err(error),
                    Err(_) => {}
                }
            }
        }
        at += len;
    }
    file.sync_data()
}
