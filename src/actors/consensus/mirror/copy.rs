//! One drive's copy of the log: opening it with its records replayed, and beginning it anew.

use crate::actors::consensus::shared::{Drive, Offload};
use crate::actors::log::{LogHandle, Threads};
use crate::ambient::Ambient;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::{Disk, create_dir_durably};
use crate::storage::raft_log::{RecoveredCopy, Recovery};
use crate::storage::wal::{Durability, LogOptions, OpenedLog, WalError, open_log};
use crate::types::{ClusterId, Lsn, NodeId};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// How copies are opened.
#[derive(Clone, Debug)]
pub struct CopyOpener {
    pub cluster: ClusterId,
    pub ambient: Ambient,
    pub pool: BufferPool,
    pub durability: Durability,
    pub segment_bytes: u32,
    pub threads: Threads,
}

/// A copy as it was found.
pub struct FoundCopy {
    pub log: LogHandle,
    pub recovered: Result<RecoveredCopy, String>,
}

impl CopyOpener {
    /// Blocking: reads the whole copy.
    pub fn open(&self, node: NodeId, disk: &Arc<dyn Disk>, dir: PathBuf) -> Result<FoundCopy, WalError> {
        let (opened, recovered) = self.scan(node, disk, dir)?;
        Ok(FoundCopy { log: opened.start(self.threads), recovered })
    }

    fn scan(
        &self,
        node: NodeId,
        disk: &Arc<dyn Disk>,
        dir: PathBuf,
    ) -> Result<(OpenedLog, Result<RecoveredCopy, String>), WalError> {
        let mut options = LogOptions::meta(dir, self.cluster, node, self.ambient.clone(), self.pool.clone());
        options.durability = self.durability;
        options.segment_bytes = self.segment_bytes;
        let mut recovery = Recovery::default();
        let opened = open_log(Arc::clone(disk), options, Lsn::default(), &mut |record| recovery.push(&record))?;
        for spot in &opened.rot {
            recovery.note_damage(format!("{spot:?}"));
        }
        Ok((opened, recovery.finish()))
    }

    /// Removes what there is and begins an empty copy.
    pub async fn open_fresh(&self, offload: Offload, node: NodeId, drive: Drive) -> io::Result<LogHandle> {
        let dir = drive.log_dir();
        let opener = self.clone();
        let begin = move || -> io::Result<OpenedLog> {
            create_dir_durably(&*drive.disk, &dir)?;
            for name in drive.disk.list(&dir)? {
                drive.disk.remove(&dir.join(name))?;
            }
            drive.disk.sync_dir(&dir)?;
            Ok(opener.scan(node, &drive.disk, dir).map_err(io::Error::other)?.0)
        };
        Ok(offload.run(begin).await??.start(self.threads))
    }
}
