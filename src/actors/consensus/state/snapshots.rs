//! Snapshots as files on the mirror drives: `meta/snapshot/<index>-<term>.snap`. A snapshot becomes the current one
//! when the drive of every live copy of the log holds it, synced and under its final name. Then older snapshots are
//! removed, and the log below it may be dropped.

use super::snapshot_files::{
    Attempt, SaveError, SnapshotDamaged, WithoutRoom, copy_file, first_head, install_from, install_merged, is_damage,
    is_of_tables, remove_earlier, snapshot_path, write_all,
};
use crate::actors::consensus::raft_types::{MetaGroup, StoredMembership, log_id_of, membership_of};
use crate::actors::consensus::shared::{Absence, CurrentSnapshot, Drive, LostDrive, Shared, no_longer_here};
use crate::actors::consensus::to_mirror::ToMirror;
use crate::storage::disk::{Disk, host_lacks_resources};
use crate::storage::kv::{Kv, KvRead};
use crate::storage::raft_log::AppliedAt;
use crate::types::NodeId;
use openraft::type_config::alias::SnapshotMetaOf;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The pause before a snapshot is read again for which the host lacked resources.
const RESOURCES_PAUSE: Duration = Duration::from_secs(1);

/// A snapshot that can be read from any of several drives.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    pub head: AppliedAt,
    pub sources: Vec<(NodeId, Arc<dyn Disk>, PathBuf)>,
}

impl SnapshotFile {
    pub fn meta(&self) -> io::Result<SnapshotMetaOf<MetaGroup>> {
        Ok(SnapshotMetaOf::<MetaGroup> {
            last_log_id: self.head.at.map(log_id_of),
            last_membership: stored_membership(&self.head)?,
        })
    }
}

pub fn stored_membership(applied: &AppliedAt) -> io::Result<StoredMembership> {
    if applied.members_at.is_none() && applied.members.configs.is_empty() {
        return Ok(StoredMembership::default());
    }
    Ok(StoredMembership::new(applied.members_at.map(log_id_of), membership_of(&applied.members)?))
}

/// The snapshots of one replica.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    shared: Arc<Shared>,
    mirror: mpsc::UnboundedSender<ToMirror>,
    /// Held while a snapshot is saved, so that an earlier one does not take the place of a later one.
    saving: Arc<tokio::sync::Mutex<()>>,
}

impl SnapshotStore {
    pub fn new(shared: Arc<Shared>, mirror: mpsc::UnboundedSender<ToMirror>) -> Self {
        Self { shared, mirror, saving: Arc::default() }
    }

    pub fn standing(&self) -> Option<CurrentSnapshot> {
        self.shared.drives().snapshot.clone()
    }

    /// Returns the drives and paths of the current snapshot's copies.
    pub fn places(&self) -> Vec<(NodeId, Arc<dyn Disk>, PathBuf)> {
        let drives = self.shared.drives();
        let Some(standing) = &drives.snapshot else { return Vec::new() };
        let held = standing.holders.iter().filter_map(|node| Some((*node, drives.by_node.get(node)?)));
        held.map(|(node, drive)| (node, Arc::clone(&drive.disk), snapshot_path(drive, standing.at))).collect()
    }

    /// Returns the current snapshot, if there is one. Fails with `SnapshotDamaged` if no copy of its head can be read,
    /// but with the error of the call if the host lacks the resources to read it.
    pub async fn current(&self) -> io::Result<Option<SnapshotFile>> {
        let sources = self.places();
        if self.standing().is_none() {
            return Ok(None);
        }
        let read = move || -> io::Result<Option<SnapshotFile>> {
            let head = first_head(&sources)?;
            Ok(head.map(|(head, _)| SnapshotFile { head, sources }))
        };
        let found = self.shared.offload.run(read).await??;
        found.map(Some).ok_or_else(|| SnapshotDamaged("its head can be read on none of them".to_owned()).into())
    }

    /// Returns the current snapshot, as `current` does. If no copy of its head can be read, first saves one of these
    /// tables in its place. Waits while the host lacks the resources to read it: openraft would stop the replica for an
    /// error.
    pub async fn current_or_anew(&self, head: AppliedAt, tables: Arc<dyn KvRead>) -> io::Result<Option<SnapshotFile>> {
        match self.current_once_readable().await {
            Err(error) if is_damage(&error) => {
                tracing::warn!(%error, "a new metadata snapshot is made");
                self.save(head, tables, WithoutRoom::Leave).await?;
                self.current_once_readable().await
            }
            current => current,
        }
    }

    async fn current_once_readable(&self) -> io::Result<Option<SnapshotFile>> {
        loop {
            match self.current().await {
                Err(error) if host_lacks_resources(&error) => {
                    tracing::warn!(%error, "the metadata snapshot cannot be read now; it is tried again");
                    tokio::time::sleep(RESOURCES_PAUSE).await;
                }
                current => return current,
            }
        }
    }

    /// Writes a view of the tables to the drive of every live copy of the log, and makes it the current snapshot,
    /// unless a later one is. A drive that fails leaves the mirror, if its copy can be spared; otherwise the snapshot is
    /// given up. If a drive hangs, the snapshot is given up once the drive is out of service.
    pub async fn save(
        &self,
        head: AppliedAt,
        tables: Arc<dyn KvRead>,
        without_room: WithoutRoom,
    ) -> Result<(), SaveError> {
        let Some(at) = head.at else { return Err(io::Error::other("nothing is applied yet").into()) };
        let _saving = self.saving.lock().await;
        let id = log_id_of(at);
        let standing = self.standing();
        if standing.as_ref().is_some_and(|standing| standing.at.index > id.index) {
            return Ok(());
        }
        let targets: Vec<(NodeId, Drive)> = {
            let drives = self.shared.drives();
            drives.live().into_iter().filter_map(|node| Some((node, drives.by_node.get(&node)?.clone()))).collect()
        };
        let nodes: Vec<NodeId> = targets.iter().map(|(node, _)| *node).collect();
        let attempt = self.attempt();
        let write = {
            let attempt = attempt.clone();
            move || write_all(&targets, id, &head, tables, without_room, &attempt)
        };
        let written = self.shared.unless_lost(&nodes, self.shared.offload.run(write)).await;
        let written = written.inspect_err(|_| attempt.give_up()).map_err(io::Error::from)???;
        for (node, error) in &written.failed {
            self.give_up_drive(*node, error).await?;
        }
        let mut snapshot = CurrentSnapshot { at: id, bytes: written.bytes, holders: written.holders };
        while let Some(joined) = self.settle(&snapshot)? {
            // A copy joined the mirror while the snapshot was written: its drive must hold the snapshot before the log
            // is purged.
            match self.copy(&snapshot, joined).await {
                Ok(()) => {
                    snapshot.holders.insert(joined);
                }
                Err(error) => {
                    let is_source = is_damage(&error)
                        || error.get_ref().is_some_and(|why| why.is::<LostDrive>()) && !self.is_out(joined);
                    if !is_source {
                        self.give_up_drive(joined, &error).await?;
                    }
                    return Err(error.into());
                }
            }
        }
        if let Err(error) = self.remove_older(snapshot).await {
            tracing::warn!(%error, "older metadata snapshots cannot be removed");
        }
        Ok(())
    }

    fn is_out(&self, node: NodeId) -> bool {
        self.shared.drives().by_node.get(&node).is_none_or(|drive| drive.is_out)
    }

    fn attempt(&self) -> Attempt {
        let number = self.shared.snapshot_attempts.fetch_add(1, Ordering::Relaxed);
        Attempt::new(number)
    }

    /// Makes this snapshot the current one, unless the drive of a live copy lacks it: then returns that drive. Fails if
    /// no live copy has it.
    fn settle(&self, snapshot: &CurrentSnapshot) -> io::Result<Option<NodeId>> {
        let mut drives = self.shared.drives();
        let live = drives.live();
        if live.is_disjoint(&snapshot.holders) {
            return Err(io::Error::other("the drives that took the metadata snapshot have left"));
        }
        let lacking = live.into_iter().find(|node| !snapshot.holders.contains(node));
        if lacking.is_none() {
            drives.snapshot = Some(snapshot.clone());
        }
        Ok(lacking)
    }

    /// Has a drive that cannot store a snapshot leave the mirror. Fails if its copy of the log cannot be spared.
    pub async fn give_up_drive(&self, node: NodeId, error: &io::Error) -> io::Result<()> {
        tracing::warn!(%node, %error, "the metadata snapshot cannot be written to a drive");
        let (left, has_left) = oneshot::channel();
        let _ = self.mirror.send(ToMirror::DriveRefuses { node, absence: Absence::after(error), left });
        if has_left.await.unwrap_or(false) {
            return Ok(());
        }
        Err(io::Error::new(error.kind(), format!("drive {node}, which cannot be spared, takes no snapshot: {error}")))
    }

    /// Copies the current snapshot, if there is one, to another drive.
    pub async fn copy_to(&self, node: NodeId) -> io::Result<()> {
        let Some(standing) = self.standing() else { return Ok(()) };
        self.copy(&standing, node).await?;
        let mut drives = self.shared.drives();
        if let Some(current) = &mut drives.snapshot
            && current.at == standing.at
        {
            current.holders.insert(node);
        }
        Ok(())
    }

    async fn copy(&self, standing: &CurrentSnapshot, node: NodeId) -> io::Result<()> {
        let (nodes, sources, target) = {
            let drives = self.shared.drives();
            let held = standing.holders.iter().filter(|holder| **holder != node);
            let held = held.filter_map(|held| Some((*held, drives.by_node.get(held)?.clone())));
            let (mut nodes, sources): (Vec<NodeId>, Vec<Drive>) = held.unzip();
            let target = drives.by_node.get(&node).cloned().ok_or_else(|| io::Error::other(no_longer_here(node)))?;
            nodes.push(node);
            (nodes, sources, target)
        };
        let (at, attempt) = (standing.at, self.attempt());
        let given_up = attempt.clone();
        let copy = self.shared.offload.run(move || copy_file(&sources, &target, at, &attempt));
        self.shared.unless_lost(&nodes, copy).await.inspect_err(|_| given_up.give_up())??
    }

    /// Removes older snapshots from the drives that have this one.
    async fn remove_older(&self, snapshot: CurrentSnapshot) -> io::Result<()> {
        let at = snapshot.at;
        let (nodes, drives): (Vec<NodeId>, Vec<Drive>) = {
            let drives = self.shared.drives();
            let holders = snapshot.holders.into_iter();
            holders.filter_map(|node| Some((node, drives.by_node.get(&node)?.clone()))).unzip()
        };
        let remove = move || {
            for drive in drives {
                if let Err(error) = remove_earlier(&drive, at) {
                    tracing::warn!(%error, "older metadata snapshots cannot be removed");
                }
            }
        };
        self.shared.unless_lost(&nodes, self.shared.offload.run(remove)).await?
    }

    /// Installs a snapshot into empty tables, which `fresh` makes: from the first drive whose file is whole, or from
    /// the whole parts of several files. Fails with `SnapshotDamaged` if the files are at fault, and not the tables or
    /// a want of the host's resources.
    pub async fn install(
        &self,
        file: SnapshotFile,
        mut fresh: impl FnMut() -> io::Result<Arc<dyn Kv>> + Send + 'static,
    ) -> io::Result<Arc<dyn Kv>> {
        let install = move || -> io::Result<Arc<dyn Kv>> {
            let mut last = io::Error::other("the metadata snapshot is on no drive");
            for (node, disk, path) in &file.sources {
                let kv = fresh()?;
                match install_from(&**disk, path, &kv) {
                    Ok(()) => return Ok(kv),
                    Err(error) if is_of_tables(&error) || host_lacks_resources(&error) => return Err(error),
                    Err(error) => {
                        tracing::warn!(%node, path = %path.display(), %error, "a metadata snapshot cannot be installed");
                        last = error;
                    }
                }
            }
            if file.sources.len() > 1 {
                let kv = fresh()?;
                match install_merged(&file.sources, &kv) {
                    Ok(()) => {
                        tracing::warn!("a damaged metadata snapshot was installed from the whole parts of its copies");
                        return Ok(kv);
                    }
                    Err(error) if is_of_tables(&error) || host_lacks_resources(&error) => return Err(error),
                    Err(error) => {
                        tracing::warn!(%error, "the damaged copies of a metadata snapshot do not complement each other");
                        last = error;
                    }
                }
            }
            Err(SnapshotDamaged(last.to_string()).into())
        };
        self.shared.offload.run(install).await?
    }
}
