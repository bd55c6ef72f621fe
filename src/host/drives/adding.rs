//! Adds a drive to this host while it runs: makes an empty directory a further drive, puts it into service, and then lets the
//! cluster know of it, so that shards are placed on it.
//!
//! Refuses what a start refuses. From when the directory has its identity it is a drive of the host, also for the next start; an
//! attempt that comes no further is gone on with by the next one.

use super::bay::DriveBay;
use super::orders::{refused, unavailable};
use super::shares_file_system;
use crate::actors::drives::health::Contents;
use crate::actors::drives::off_thread;
use crate::api::admin::{AdminError, DriveAdded};
use crate::config::{check_data_dirs, data_dir};
use crate::host::metadata;
use crate::storage::identity::{Addition, Drive, SystemLocks, add_drive, check_addition};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

impl DriveBay {
    pub(super) async fn add(&self, directory: &str) -> Result<DriveAdded, AdminError> {
        if !self.registration.is_registered.load(Ordering::Acquire) {
            return Err(unavailable("this host is not registered in its cluster yet"));
        }
        let dir = data_dir(directory).map_err(|allowed| refused(format!("{directory:?}: expected {allowed}")))?;
        let drive = match self.drive_in(&dir) {
            Some(known) => self.unregistered(known).await?,
            None => self.join(dir).await?,
        };
        self.enter_service(&drive).await.map_err(|error| not_in_service_yet(&drive, &error))?;
        let (node, path) = (drive.node, drive.dir.display().to_string());
        tracing::info!(node = node.0, dir = path, "a drive is added to this host");
        let kept = self.registration.drives.kept(&self.registration.health.current());
        Ok(DriveAdded {
            node: node.0,
            path,
            incarnation: drive.incarnation.to_string(),
            directories: kept.iter().map(|drive| drive.dir.display().to_string()).collect(),
            shares_file_system_with: shares_file_system(&self.env, &kept, &drive),
        })
    }

    /// Checks that the next start can be given all directories with this one.
    fn check_list(&self, dir: &Path) -> Result<(), AdminError> {
        let mut dirs: Vec<PathBuf> = self.registration.drives.all().iter().map(|drive| whole(&drive.dir)).collect();
        dirs.push(dir.to_owned());
        check_data_dirs(&dirs).map_err(|allowed| refused(format!("SHERD_DATA takes {allowed}")))
    }

    fn drive_in(&self, dir: &Path) -> Option<Drive> {
        self.registration.drives.all().iter().find(|drive| whole(&drive.dir) == dir).cloned()
    }

    /// Returns a drive of this host that an earlier attempt put into service, and the cluster does not know.
    async fn unregistered(&self, drive: Drive) -> Result<Drive, AdminError> {
        let (dir, node) = (drive.dir.display(), drive.node);
        if self.registration.health.current().is_dismissed(node) {
            return Err(refused(format!(
                "{dir} holds drive {node}, which was removed from the store and is open until the next start of this host; name another directory"
            )));
        }
        let known = self.registration.metadata.read().await.map_err(unavailable)?.nodes().map_err(unavailable)?;
        if !self.registration.roles.storage || known.iter().any(|record| record.id == node) {
            return Err(refused(format!("{dir} is drive {node} of this host already")));
        }
        Ok(drive)
    }

    /// Makes the directory a drive of this host, and opens it.
    async fn join(&self, dir: PathBuf) -> Result<Drive, AdminError> {
        self.check_list(&dir)?;
        self.check_others()?;
        let asked = self.addition(dir);
        let (disk, checked) = (Arc::clone(&self.env.disk), asked.clone());
        let check = off_thread(&self.env.threads, move || check_addition(&*disk, &checked)).await;
        check.map_err(unavailable)?.map_err(refused)?;
        // Without the metadata the drive would be this host's, and of no use.
        self.registration.metadata.read().await.map_err(unavailable)?;
        let drive = self.take_added(asked).await?;
        self.keep_secrets(&drive).await;
        let put_in = self.put_in(&drive, Contents::Uncompared).await;
        put_in.map_err(|error| not_in_service_yet(&drive, &error))?;
        Ok(drive)
    }

    /// Checks that the host goes without none of its drives: one that does not answer would hold this up, and one that is
    /// being replaced may not have its place back yet.
    fn check_others(&self) -> Result<(), AdminError> {
        let health = self.registration.health.current();
        let kept = self.registration.drives.kept(&health);
        let out = kept.iter().find_map(|drive| Some((drive, health.why_not(drive.node)?)));
        out.map_or(Ok(()), |(Drive { node, dir, .. }, why)| {
            let dir = dir.display();
            Err(refused(format!(
                "drive {node} ({dir}) is out of service: {why}; a drive is added only while all others of its host are there, so replace that one first"
            )))
        })
    }

    fn addition(&self, dir: PathBuf) -> Addition {
        let all = self.registration.drives.all();
        let kept = self.registration.drives.kept(&self.registration.health.current());
        Addition {
            dirs: kept.into_iter().map(|drive| drive.dir).collect(),
            taken: all.iter().map(|drive| drive.node).collect(),
            dir,
            wanted: self.wanted,
        }
    }

    async fn take_added(&self, asked: Addition) -> Result<Drive, AdminError> {
        let (disk, ambient, locks) = (Arc::clone(&self.env.disk), self.env.ambient.clone(), Arc::clone(&self.locks));
        let work = move || {
            let mut locks = locks.lock().unwrap_or_else(PoisonError::into_inner);
            add_drive(&*disk, &asked, &ambient, &SystemLocks, &mut locks)
        };
        off_thread(&self.env.threads, work).await.map_err(unavailable)?.map_err(refused)
    }

    /// Lets the cluster know of the drive, which is open, and has it compared with the metadata.
    async fn enter_service(&self, drive: &Drive) -> Result<(), AdminError> {
        self.watch(drive)?;
        if self.registration.roles.storage {
            let place = &self.registration;
            // Waits until the ring has the drive, which may be without an answer to this host.
            place.healing.reconcile(drive.node);
            let registered = metadata::register_added(&self.env, &place.metadata, &place.member, drive);
            registered.await.map_err(unavailable)?;
            // Under the number of a drive that was removed it was taken for that one until now.
            place.healing.reconcile(drive.node);
        }
        Ok(())
    }
}

/// The error of an attempt after which the directory is a drive of this host.
fn not_in_service_yet(drive: &Drive, error: &AdminError) -> AdminError {
    let (Drive { node, dir, .. }, error) = (drive, error.to_string());
    let dir = dir.display();
    unavailable(format!(
        "{dir} is drive {node} of this host from now on, and SHERD_DATA must name it at the next start, but it is not in service yet: {error}; give the command again to go on"
    ))
}

/// Returns a directory by its path from the root, whether it was configured so or not.
fn whole(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}
