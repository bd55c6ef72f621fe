//! Writes the mirror files of the drives while the process runs. Writes to one drive are done one after the other, and
//! none replaces a newer set: a write that hangs may end long after it was given up, and must not undo a later one.

use super::away::MissingDirs;
use crate::actors::consensus::shared::{Absence, Drive, Offload};
use crate::storage::disk::{Disk, create_dir_durably, replace_file};
use crate::storage::raft_log::MirrorSet;
use crate::types::NodeId;
use futures::future::{BoxFuture, FutureExt};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

pub struct MirrorFiles {
    offload: Offload,
    /// For each drive, the generation of the set last written to it and the generation that was in force then. The lock
    /// is held while a set is being written.
    written: BTreeMap<NodeId, Arc<Mutex<(u64, u64)>>>,
}

impl MirrorFiles {
    pub fn new(offload: Offload) -> Self {
        Self { offload, written: BTreeMap::new() }
    }

    /// Forgets what was written to the drive, since another drive or an emptied one takes its place.
    pub fn forget(&mut self, node: NodeId) {
        self.written.remove(&node);
    }

    /// Writes the set to the drive's file. Nothing happens until the future is polled; dropping it does not end a write
    /// that has begun.
    pub fn write(
        &mut self,
        node: NodeId,
        drive: &Drive,
        set: &MirrorSet,
        missing_dirs: MissingDirs,
    ) -> BoxFuture<'static, io::Result<()>> {
        let written = Arc::clone(self.written.entry(node).or_default());
        let (disk, path, set, offload) = (Arc::clone(&drive.disk), drive.mirror_file(), set.clone(), self.offload);
        let write = async move {
            let mut written = written.lock_owned().await;
            let work = move || -> io::Result<()> {
                let age = (set.generation, set.in_force);
                if *written >= age {
                    return Ok(());
                }
                match missing_dirs {
                    MissingDirs::Refuse => replace_file(&*disk, &path, &set.encode())?,
                    MissingDirs::Create => write_mirror_file(&*disk, &path, &set)?,
                }
                *written = age;
                Ok(())
            };
            offload.run(work).await?
        };
        write.boxed()
    }
}

/// Makes the directories that the file needs durable, then the file.
pub fn write_mirror_file(disk: &dyn Disk, path: &Path, set: &MirrorSet) -> io::Result<()> {
    let meta = path.parent().unwrap_or(Path::new("/"));
    create_dir_durably(disk, meta)?;
    replace_file(disk, path, &set.encode())
}

/// A drive to which the mirror file could not be written.
pub struct FileFault {
    pub node: NodeId,
    pub why: String,
    pub absence: Absence,
}

/// Waits at most `patience` for the write of a drive's mirror file. Returns the fault if the write failed or is late.
pub async fn bounded(node: NodeId, patience: Duration, write: BoxFuture<'static, io::Result<()>>) -> Option<FileFault> {
    let (why, absence) = match tokio::time::timeout(patience, write).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => (error.to_string(), Absence::after(&error)),
        Err(_) => (format!("the drive did not answer in {patience:?}"), Absence::Temporary),
    };
    Some(FileFault { node, why: format!("the mirror file was not written: {why}"), absence })
}

#[cfg(test)]
mod tests {
    use super::MirrorFiles;
    use crate::actors::consensus::mirror::away::MissingDirs;
    use crate::actors::consensus::shared::{Drive, DriveRole, Offload};
    use crate::storage::disk::read_file;
    use crate::storage::disk::sim::SimDisk;
    use crate::storage::raft_log::MirrorSet;
    use crate::types::{HostId, NodeId};
    use std::path::PathBuf;

    fn set(generation: u64) -> MirrorSet {
        MirrorSet {
            host: HostId(1),
            generation,
            members: [NodeId(1)].into(),
            formed: true,
            start: 0,
            history: Vec::new(),
            in_force: 0,
        }
    }

    #[tokio::test]
    async fn a_late_write_of_a_mirror_set_does_not_replace_a_newer_set() {
        let disk = SimDisk::new(1 << 20).handle();
        let drive = Drive { disk, dir: PathBuf::from("/drive"), log: None, role: DriveRole::Lost, is_out: false };
        let mut files = MirrorFiles::new(Offload::InPlace);
        let older = files.write(NodeId(1), &drive, &set(2), MissingDirs::Refuse);
        files.write(NodeId(1), &drive, &set(3), MissingDirs::Create).await.expect("written");
        older.await.expect("passed over");
        let content = read_file(&*drive.disk, &drive.mirror_file()).expect("read");
        assert_eq!(MirrorSet::decode(&content), Ok(set(3)));
    }
}
