//! `CopyScrub`: one pass over this host's copies of the metadata log and of the snapshot, in bounded steps. It verifies
//! every record of each log, up to where that log was synced when the pass began, and every frame of each snapshot. On
//! the leader's host it also has all replicas compare their tables.
//!
//! Damage in a log counts only if it would keep a start from using that copy by itself. Damage is repaired in one way,
//! whether there is one copy or several: a new snapshot of the tables is written, and the log below it is dropped
//! together with the damage.

use super::handle::MetaHandle;
use super::shared::{CopyPart, Drive, DriveRole, Shared, locked};
use super::state::{SnapshotVerification, read_part};
use crate::actors::log::LogHandle;
use crate::storage::disk::host_lacks_resources;
use crate::storage::meta::command::Change;
use crate::storage::raft_log::merge;
use crate::storage::wal::WalError;
use crate::types::{Lsn, NodeId};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyScrubbed {
    Checked {
        node: NodeId,
        bytes: u64,
        /// The number of damaged places that were found.
        corrupt: u64,
    },
    /// The pass is over; `whole`: it has found no damage.
    Finished { whole: bool },
}

enum Part {
    Log { node: NodeId, log: LogHandle, next: Lsn, until: Lsn, is_suspect: bool },
    Snapshot { node: NodeId, reading: SnapshotVerification },
}

impl Part {
    fn name(&self) -> CopyPart {
        match self {
            Self::Log { node, .. } => CopyPart::Log(*node),
            Self::Snapshot { node, .. } => CopyPart::Snapshot(*node),
        }
    }
}

/// A scrub pass that has begun.
pub struct CopyScrub {
    meta: MetaHandle,
    parts: VecDeque<Part>,
    step_bytes_max: u32,
    /// Drives whose log is damaged.
    damaged_logs: Vec<NodeId>,
    is_whole: bool,
}

impl CopyScrub {
    pub async fn begin(meta: &MetaHandle, step_bytes_max: u32) -> io::Result<Self> {
        let shared = &meta.inner.shared;
        let live: Vec<(NodeId, LogHandle)> = {
            let drives = shared.drives();
            drives.with_role(DriveRole::Live).filter_map(|(node, drive)| Some((node, drive.log.clone()?))).collect()
        };
        let mut parts: VecDeque<Part> = live
            .into_iter()
            .map(|(node, log)| {
                let until = log.status().synced;
                Part::Log { node, log, next: Lsn(0), until, is_suspect: false }
            })
            .collect();
        compare_tables(meta).await;
        for (node, disk, path) in meta.inner.snapshots.places() {
            parts.push_back(Part::Snapshot { node, reading: SnapshotVerification::new(disk, path) });
        }
        // Damage of a copy that no longer exists is not reported any more.
        let there: Vec<CopyPart> = parts.iter().map(Part::name).collect();
        locked(&shared.damage).retain(|part, _| there.contains(part));
        Ok(Self { meta: meta.clone(), parts, step_bytes_max, damaged_logs: Vec::new(), is_whole: true })
    }

    /// Verifies the next `step_bytes_max` bytes, on another thread. Where nothing is left, ends the pass: it starts a
    /// repair if damage was found.
    pub async fn advance(&mut self) -> io::Result<CopyScrubbed> {
        let Some(part) = self.parts.pop_front() else {
            if !self.is_whole {
                self.repair().await;
            }
            return Ok(CopyScrubbed::Finished { whole: self.is_whole });
        };
        match part {
            Part::Log { node, log, next, until, is_suspect } => {
                self.check_log(node, log, next, until, is_suspect).await
            }
            Part::Snapshot { node, reading } => self.check_snapshot(node, reading).await,
        }
    }

    async fn check_log(
        &mut self,
        node: NodeId,
        log: LogHandle,
        from: Lsn,
        until: Lsn,
        mut is_suspect: bool,
    ) -> io::Result<CopyScrubbed> {
        let shared = Arc::clone(&self.meta.inner.shared);
        let (reader, bytes_max) = (log.clone(), self.step_bytes_max);
        let checked = shared.offload.run(move || reader.check(from, until, bytes_max)).await?;
        let (next, bytes) = match checked {
            Ok(checked) => {
                is_suspect |= checked.bad_spots > 0;
                (checked.next, checked.bytes)
            }
            Err(error @ WalError::NoResources { .. }) => return Err(io::Error::other(error)),
            Err(error) => {
                tracing::warn!(%node, %error, "a copy of the metadata log cannot be read");
                is_suspect = true;
                (None, 0)
            }
        };
        if let Some(next) = next {
            self.parts.push_front(Part::Log { node, log, next, until, is_suspect });
            return Ok(CopyScrubbed::Checked { node, bytes, corrupt: 0 });
        }
        let mut found = if is_suspect { judge(&shared, node, until).await? } else { None };
        if found.is_some() {
            // The damage may be a segment that was released while it was read: only what is found twice counts.
            found = judge(&shared, node, until).await?;
        }
        let corrupt = found.as_ref().map_or(0, |(places, _)| *places);
        locked(&shared.damage).remove(&CopyPart::Log(node));
        if let Some((_, why)) = found {
            self.damaged_logs.push(node);
            self.note_damage(
                CopyPart::Log(node),
                format!("metadata: the copy of the log on node {node} is damaged: {why}"),
            );
        }
        Ok(CopyScrubbed::Checked { node, bytes, corrupt })
    }

    async fn check_snapshot(&mut self, node: NodeId, reading: SnapshotVerification) -> io::Result<CopyScrubbed> {
        let bytes_max = self.step_bytes_max as usize;
        let path = reading.path().display().to_string();
        let (step, bytes) = self.meta.inner.shared.offload.run(move || read_part(reading, bytes_max)).await?;
        let corrupt = match step {
            Ok(Some(reading)) => {
                self.parts.push_front(Part::Snapshot { node, reading });
                0
            }
            Ok(None) => {
                locked(&self.meta.inner.shared.damage).remove(&CopyPart::Snapshot(node));
                0
            }
            // A newer snapshot has replaced this one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) if host_lacks_resources(&error) => return Err(error),
            Err(error) => {
                self.note_damage(
                    CopyPart::Snapshot(node),
                    format!("metadata: {path} on node {node} is damaged: {error}"),
                );
                1
            }
        };
        Ok(CopyScrubbed::Checked { node, bytes, corrupt })
    }

    fn note_damage(&mut self, part: CopyPart, why: String) {
        tracing::error!(%why, "scrub has found damage in a copy of the metadata; it is repaired by a new snapshot");
        locked(&self.meta.inner.shared.damage).insert(part, why);
        self.is_whole = false;
    }

    /// Repairs the damage that this pass found: closes the damaged segments and writes a snapshot, below which the log
    /// is dropped. The next pass shows whether the damage is gone.
    async fn repair(&self) {
        for node in &self.damaged_logs {
            let log = self.meta.inner.shared.drives().by_node.get(node).and_then(|drive| drive.log.clone());
            // Only closed segments are released.
            if let Some(log) = log
                && let Err(error) = log.rotate().await
            {
                tracing::warn!(%node, %error, "a damaged segment of the metadata log cannot be closed");
            }
        }
        if self.meta.snapshot_now().await {
            tracing::info!("a metadata snapshot was written, and the log below it is dropped with its damage");
        }
    }
}

/// Has all replicas compute a digest of their tables, if this one leads others.
async fn compare_tables(meta: &MetaHandle) {
    if meta.status().is_leader
        && meta.membership().addresses.len() > 1
        && let Err(error) = meta.propose(Change::ComputeDigest).await
    {
        tracing::warn!(%error, "this scrub pass does not compare the metadata tables of the hosts");
    }
}

/// Returns the number of damaged places of a log copy, and why the copy cannot be used by itself; `None` if it can. Fails
/// if the host lacks the resources to find out.
async fn judge(shared: &Arc<Shared>, node: NodeId, until: Lsn) -> io::Result<Option<(u64, String)>> {
    let Some(drive): Option<Drive> = shared.drives().by_node.get(&node).cloned() else { return Ok(None) };
    let opener = shared.opener.clone();
    let read = move || match opener.read_tape(node, &drive.disk, drive.log_dir(), until) {
        Err(error @ WalError::NoResources { .. }) => Err(io::Error::other(error)),
        Err(error) => Ok(Some((1, error.to_string()))),
        Ok(tape) if tape.gaps() == 0 => Ok(None),
        Ok(tape) => {
            let places = tape.gaps();
            Ok(merge(&[tape]).err().map(|why| (places as u64, why.to_string())))
        }
    };
    shared.offload.run(read).await?
}
