//! Verification of a snapshot's file in bounded steps, for scrub.

use super::snapshot_files::read_head;
use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode};
use crate::storage::meta::snapshot::SnapshotCheck;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A verification of a snapshot's file that is under way.
#[derive(Debug)]
pub struct SnapshotVerification {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    open: Option<OpenSnapshot>,
}

#[derive(Debug)]
struct OpenSnapshot {
    /// The open file. It stays readable when a newer snapshot replaces it.
    file: Arc<dyn DiskFile>,
    check: SnapshotCheck,
    offset: u64,
}

impl SnapshotVerification {
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path, open: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Verifies up to `bytes_max` more bytes; returns the remaining work (`None` after the end) or the error, and the bytes
/// read. Blocking.
pub fn read_part(reading: SnapshotVerification, bytes_max: usize) -> (io::Result<Option<SnapshotVerification>>, u64) {
    let SnapshotVerification { disk, path, open } = reading;
    let opened = match open {
        Some(open) => Ok(open),
        None => begin(&*disk, &path),
    };
    let mut open = match opened {
        Ok(open) => open,
        Err(error) => return (Err(error), 0),
    };
    match open.read(bytes_max) {
        Err(error) => (Err(error), 0),
        Ok(0) => (open.check.finish().map(|()| None).map_err(io::Error::other), 0),
        Ok(bytes) => (Ok(Some(SnapshotVerification { disk, path, open: Some(open) })), bytes as u64),
    }
}

fn begin(disk: &dyn Disk, path: &Path) -> io::Result<OpenSnapshot> {
    let (_, offset) = read_head(disk, path)?;
    let file = disk.open(path, OpenMode::Read, Caching::Cached)?;
    Ok(OpenSnapshot { file, check: SnapshotCheck::new().map_err(io::Error::other)?, offset })
}

impl OpenSnapshot {
    fn read(&mut self, bytes_max: usize) -> io::Result<usize> {
        let left = self.file.len()?.saturating_sub(self.offset);
        let mut bytes = vec![0; usize::try_from(left).map_or(bytes_max, |left| left.min(bytes_max))];
        self.file.read_exact_at(&mut bytes, self.offset)?;
        self.check.push(&bytes).map_err(io::Error::other)?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }
}
