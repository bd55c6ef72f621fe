//! Steps after which something is durable: a directory with its name, a small file replaced whole, and bytes that no sync is
//! known to have covered.

use super::{Caching, Disk, DiskFile, OpenMode};
use crate::limits::{BLOCK_BYTES, LOG_SCAN_BYTES};
use crate::storage::buffer::BufferPool;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Makes a directory and those above it that are missing, and syncs the parent of each. The names of the directory itself and
/// of its parent are synced in any case: a process that made them may have been killed before it came to that.
pub fn create_dir_durably(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let named: Vec<&Path> = dir.ancestors().filter(|path| path.file_name().is_some()).collect();
    let mut missing = 0;
    while missing < named.len() && !disk.exists(named[missing])? {
        missing += 1;
    }
    if missing > 0 {
        disk.create_dir_all(dir)?;
    }
    for (depth, path) in named.iter().enumerate().take(missing.max(2)).rev() {
        match disk.sync_dir(path.parent().unwrap_or(path)) {
            Err(error) if depth >= missing && cannot_change(&error) => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Returns whether the error says that this process may not open or change a directory, so that no process like it made
/// anything there.
fn cannot_change(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported)
}

/// Replaces a small file so that a reader sees the old content or the new, and the new is durable on return. A draft that
/// cannot be synced never gets the file's name.
pub fn replace_file(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = draft_path(path);
    if disk.exists(&draft)? {
        disk.remove(&draft)?;
    }
    if let Err(error) = write_draft(disk, &draft, content) {
        // One that stays is replaced by the next.
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

/// The whole content of a small file.
pub fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read, Caching::Cached)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut content = vec![0; len];
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

/// Writes a range of a file over itself and syncs it. After a sync that failed, the system may hold pages that it takes for
/// written and the drive never got: a further sync passes them over, and only what is written again is covered by it. A
/// power cut in between leaves each sector as it was or with the same bytes. Blocks that cannot be read are left as they are.
pub fn write_anew(file: &dyn DiskFile, range: Range<u64>, pool: &BufferPool) -> io::Result<()> {
    let end = range.end.next_multiple_of(BLOCK).min(file.len()?);
    let mut at = range.start - range.start % BLOCK;
    while at < end {
        let len = (end - at).min(LOG_SCAN_BYTES as u64);
        let mut buffer = pool.take(usize::try_from(len).map_err(io::Error::other)?);
        if file.read_exact_at(&mut buffer, at).is_ok() {
            file.write_all_at(&[IoSlice::new(&buffer)], at)?;
        } else {
            for (block, place) in buffer.chunks_mut(BLOCK_BYTES).zip((at..).step_by(BLOCK_BYTES)) {
                if file.read_exact_at(block, place).is_ok() {
                    file.write_all_at(&[IoSlice::new(block)], place)?;
                }
            }
        }
        at += len;
    }
    file.sync_data()
}
