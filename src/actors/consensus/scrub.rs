//! `CopyScrub`: one pass over this host's copies of the metadata log and snapshots, in bounded steps. It verifies every record
//! of each log up to where it was synced when the pass began, and every frame of each snapshot. On the host that leads, it
//! has all replicas compare their tables.
//!
//! Damage of a log counts where the copy could not be selected by itself at a start. All damage is repaired alike, with one
//! copy or several: a snapshot of the tables is written anew, and the log below it goes, its damage with it.

use super::handle::MetaHandle;
use super::shared::{CopyPart, Drive, DriveRole, Shared, locked};
use super::state::{SnapshotVerification, read_part};
use crate::actors::log::LogHandle;
use crate::storage::meta::command::Change;
use crate::storage::raft_log::merge;
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
        /// Damaged places that were found.
        corrupt: u64,
    },
    /// The pass is over; `whole`: without damage.
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

/// A pass under way.
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
        // What is no longer there is not damaged any more.
        let there: Vec<CopyPart> = parts.iter().map(Part::name).collect();
        locked(&shared.damage).retain(|part, _| there.contains(part));
        Ok(Self { meta: meta.clone(), parts, step_bytes_max, damaged_logs: Vec::new(), is_whole: true })
    }

    /// Does the next bounded piece of work, off this thread.
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
            // A segment may have been given back while it was read.
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
            // Another has come in its place.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
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
        tracing::error!(%why, "scrub has found damage");
        locked(&self.meta.inner.shared.damage).insert(part, why);
        self.is_whole = false;
    }

    /// Starts a repair; the next pass shows whether it succeeded.
    async fn repair(&self) {
        for node in &self.damaged_logs {
            let log = self.meta.inner.shared.drives().by_node.get(node).and_then(|drive| drive.log.clone());
            // Only whole segments are given back, and never the open one.
            if let Some(log) = log
                && let Err(error) = log.rotate().await
            {
                tracing::warn!(%node, %error, "a damaged segment of the metadata log cannot be closed");
            }
        }
        if self.meta.snapshot_now().await {
            tracing::info!("a metadata snapshot was written in place of the damaged one");
        }
    }
}

/// Has all replicas compute a digest of their tables, if this one leads others.
async fn compare_tables(meta: &MetaHandle) {
    if meta.status().is_leader
        && meta.membership().addresses.len() > 1
        && let Err(error) = meta.propose(Change::ComputeDigest).await
    {
        tracing::warn!(%error, "the metadata tables of the hosts are not compared now");
    }
}

/// Damaged places of a copy that matter, and what they are.
async fn judge(shared: &Arc<Shared>, node: NodeId, until: Lsn) -> io::Result<Option<(u64, String)>> {
    let Some(drive): Option<Drive> = shared.drives().by_node.get(&node).cloned() else { return Ok(None) };
    let opener = shared.opener.clone();
    let read = move || match opener.read_tape(node, &drive.disk, drive.log_dir(), until) {
        Err(error) => Some((1, error.to_string())),
        Ok(tape) if tape.gaps() == 0 => None,
        Ok(tape) => {
            let places = tape.gaps();
            merge(&[tape]).err().map(|why| (places as u64, why.to_string()))
        }
    };
    shared.offload.run(read).await
}
