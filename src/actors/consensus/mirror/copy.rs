//! Opens the copy of the log on one drive, replaying its records, or begins an empty one.

use crate::actors::consensus::shared::{CopyOpener, Drive, Offload};
use crate::actors::log::LogHandle;
use crate::storage::disk::{Disk, create_dir_durably};
use crate::storage::raft_log::{RecoveredCopy, Recovery, Tape, TapeReader};
use crate::storage::wal::{CorruptSpot, LogOptions, OpenedLog, ReplayRule, WalError, open_log, survey_log};
use crate::types::{Lsn, NodeId};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

fn end_of(opened: &OpenedLog) -> String {
    let end = opened.end();
    let segment = opened.segments.iter().find(|segment| segment.id() == end.segment());
    let file = segment.map_or_else(|| opened.options.dir.display(), |segment| segment.path().display());
    format!("{file} at offset {}", end.offset())
}

/// A log copy opened from a drive, with its recovery result.
pub struct FoundCopy {
    pub log: LogHandle,
    pub recovered: Result<RecoveredCopy, String>,
    /// The file in which the copy ends, and the offset.
    pub end: String,
}

impl CopyOpener {
    /// Opens a copy. Blocking: reads the whole copy.
    pub fn open(&self, node: NodeId, disk: &Arc<dyn Disk>, dir: PathBuf) -> Result<FoundCopy, WalError> {
        let (opened, recovered) = self.scan(node, disk, dir)?;
        let end = end_of(&opened);
        Ok(FoundCopy { log: opened.start(self.threads), recovered, end })
    }

    fn scan(
        &self,
        node: NodeId,
        disk: &Arc<dyn Disk>,
        dir: PathBuf,
    ) -> Result<(OpenedLog, Result<RecoveredCopy, String>), WalError> {
        let options = self.options(node, dir, self.replay);
        let mut recovery = Recovery::default();
        let opened = open_log(Arc::clone(disk), options, Lsn::default(), &mut |record| recovery.push(&record))?;
        for spot in &opened.rot {
            let CorruptSpot { file, at, expected, found, .. } = spot;
            if at.offset() == 0 {
                // The records of a segment hold all that its header holds.
                tracing::warn!(%node, file, expected, found, "the header of a segment of the metadata log is damaged");
                continue;
            }
            recovery.note_damage(format!("{file} at offset {}: expected {expected}, found {found}", at.offset()));
        }
        let mut recovered = recovery.finish();
        if let Ok(copy) = &mut recovered {
            copy.note_segments(opened.segments.iter().map(|segment| segment.id()));
        }
        Ok((opened, recovered))
    }

    /// Reads all whole records of a copy before `until`, whether they are still in use or not. Blocking; writes
    /// nothing.
    pub fn read_tape(&self, node: NodeId, disk: &Arc<dyn Disk>, dir: PathBuf, until: Lsn) -> Result<Tape, WalError> {
        let mut reader = TapeReader::default();
        let options = self.options(node, dir, ReplayRule::PastRot);
        let spots = survey_log(disk, &options, &mut |record| {
            if record.at.lsn < until {
                reader.push(&record);
            }
        })?;
        // The records of a segment hold all that its header holds.
        let lost = spots.rot.into_iter().filter(|spot| spot.at.offset() != 0 && spot.at < until);
        Ok(reader.finish(lost.map(|spot| (spot.at, spot.record))))
    }

    fn options(&self, node: NodeId, dir: PathBuf, replay: ReplayRule) -> LogOptions {
        let (durability, segment_bytes) = (self.durability, self.segment_bytes);
        let options = LogOptions::meta(dir, self.cluster, node, self.ambient.clone(), self.pool.clone());
        LogOptions { durability, segment_bytes, replay, ..options }
    }

    /// Removes the drive's copy, if it has one, and begins an empty one.
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
