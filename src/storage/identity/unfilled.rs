//! The mark on a drive that replaced another and was not yet compared with the metadata. Such a drive may lack every
//! shard that is recorded on it. The mark is an empty file in its directory, so that it survives a restart.

use super::UNFILLED_FILE;
use crate::storage::disk::{Disk, replace_file};
use std::io;
use std::path::Path;

pub fn note_unfilled(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    replace_file(disk, &dir.join(UNFILLED_FILE), b"")
}

/// Returns whether the drive has the mark. A drive that cannot be read counts as filled, as it does not serve anyway.
pub fn is_unfilled(disk: &dyn Disk, dir: &Path) -> bool {
    disk.exists(&dir.join(UNFILLED_FILE)).unwrap_or(false)
}

/// Removes the mark. All missing shards of the drive must be in the repair queue by now.
pub fn note_filled(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.remove(&dir.join(UNFILLED_FILE))?;
    disk.sync_dir(dir)
}
