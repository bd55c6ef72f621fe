//! A drive that took the place of another, until it was compared with the metadata: it may lack all that it is named for, and a
//! restart in between must not make that forgotten. An empty file in its directory remembers it.

use super::UNFILLED_FILE;
use crate::storage::disk::{Disk, replace_file};
use std::io;
use std::path::Path;

pub fn note_unfilled(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    replace_file(disk, &dir.join(UNFILLED_FILE), b"")
}

/// One that cannot be asked is taken for filled: it is no drive that serves.
pub fn is_unfilled(disk: &dyn Disk, dir: &Path) -> bool {
    disk.exists(&dir.join(UNFILLED_FILE)).unwrap_or(false)
}

/// What the drive lacks is in the repair queue by now.
pub fn note_filled(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.remove(&dir.join(UNFILLED_FILE))?;
    disk.sync_dir(dir)
}
