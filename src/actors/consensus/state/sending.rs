//! Reading a snapshot's file to send it to another host.

use super::snapshot_files::read_head;
use super::snapshots::SnapshotFile;
use crate::actors::consensus::shared::Offload;
use crate::storage::disk::{Caching, DiskFile, OpenMode};
use std::io;
use std::sync::Arc;

/// The open file of a snapshot. It stays readable when a newer snapshot replaces it.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Arc<dyn DiskFile>,
    total_bytes: u64,
    offload: Offload,
}

impl SnapshotReader {
    /// Opens the snapshot on the first drive where its head can be read. The search begins with another drive for each
    /// `skip`, so that a sender which tries again after a failure uses another drive.
    pub async fn open(snapshot: SnapshotFile, skip: usize, offload: Offload) -> io::Result<Self> {
        let open = move || {
            let count = snapshot.sources.len();
            let mut last = io::Error::other("the metadata snapshot is on no drive");
            for (_, disk, path) in snapshot.sources.iter().cycle().skip(skip % count.max(1)).take(count) {
                let opened = read_head(&**disk, path).and_then(|_| disk.open(path, OpenMode::Read, Caching::Cached));
                match opened.and_then(|file| Ok((file.len()?, file))) {
                    Ok(found) => return Ok(found),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        let (total_bytes, file) = offload.run(open).await??;
        Ok(Self { file, total_bytes, offload })
    }

    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Reads at most `bytes_max` bytes.
    pub async fn read(&self, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        let left = self.total_bytes.saturating_sub(offset);
        let length = usize::try_from(left).map_or(bytes_max, |left| left.min(bytes_max));
        let file = Arc::clone(&self.file);
        let read = move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset).map(|()| bytes)
        };
        self.offload.run(read).await?
    }
}
