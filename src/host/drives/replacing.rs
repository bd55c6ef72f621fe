//! Replaces a drive of this host while it runs: gives the former drive up, makes the empty directory in its place a new
//! incarnation, and puts that into service, to be filled by the healer.
//!
//! Refuses a drive that is still there. An attempt that fails half-way leaves the drive out of service.

use super::bay::DriveBay;
use super::orders::{refused, unavailable};
use crate::actors::drives::health::Contents;
use crate::actors::drives::{Drive as OpenDrive, off_thread};
use crate::api::admin::{AdminError, DriveReplaced};
use crate::host::directories::remember_unfilled;
use crate::host::metadata;
use crate::storage::identity::{Drive, Replacement, SystemLocks, check_replacement, replace_drive};
use crate::types::NodeId;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// The longest wait for the steps of the background work on the former drive.
const CHORES_PATIENCE: Duration = Duration::from_secs(10);
/// The longest wait until a former drive is closed.
const RETIRE_PATIENCE: Duration = Duration::from_secs(20);
/// The advice at the end of a message about a drive that does not close.
const TRY_AGAIN: &str = "try again, and restart the host if that does not help";

impl DriveBay {
    pub(super) async fn replace(&self, node: NodeId) -> Result<DriveReplaced, AdminError> {
        let former = self.acceptable(node)?;
        let asked = self.asked(&former);
        self.check(asked.clone()).await?;
        self.give_up(&former).await?;
        let drive = self.take_directory(asked).await?;
        self.keep_secrets(&drive).await;
        if self.registration.roles.storage {
            // Before the metadata has the drive as the one in its place.
            remember_unfilled(&self.env, &drive).await;
            let registered =
                metadata::register_replaced(&self.env, &self.registration.metadata, &self.registration.member, &drive);
            // From then on writes that used the former drive count as incomplete, and no later one can have reached it.
            registered.await.map_err(unavailable)?;
        }
        if self.registration.roles.storage {
            self.registration.healing.reconcile(node);
        }
        self.put_in(&drive, Contents::Empty).await?;
        self.watch(&drive)?;
        let (path, incarnation) = (drive.dir.display().to_string(), drive.incarnation.to_string());
        tracing::warn!(node = node.0, dir = path, "an empty drive takes the place of a lost one; it will be rebuilt");
        Ok(DriveReplaced { node: node.0, path, incarnation })
    }

    /// Returns the drive of this number, if it may be replaced as far as the host knows without looking at it.
    fn acceptable(&self, node: NodeId) -> Result<Drive, AdminError> {
        let drive = self.registration.drives.get(node);
        let drive =
            drive.ok_or_else(|| refused(format!("drive {node} is not on this host; ask the host that it is on")))?;
        if self.registration.health.current().is_dismissed(node) {
            return Err(refused(format!("drive {node} was removed from the store")));
        }
        if !self.registration.is_registered.load(Ordering::Acquire) {
            return Err(unavailable("this host is not registered in its cluster yet"));
        }
        Ok(drive)
    }

    fn asked(&self, former: &Drive) -> Replacement {
        let kept = self.registration.drives.kept(&self.registration.health.current());
        Replacement {
            dirs: kept.into_iter().map(|drive| drive.dir).collect(),
            node: former.node,
            dir: former.dir.clone(),
            former: former.incarnation,
            wanted: self.wanted,
        }
    }

    async fn check(&self, asked: Replacement) -> Result<(), AdminError> {
        let disk = Arc::clone(&self.env.disk);
        let checked = off_thread(&self.env.threads, move || check_replacement(&*disk, &asked)).await;
        checked.map_err(unavailable)?.map_err(refused)
    }

    /// Takes the former drive out of service, and closes everything that is open of it.
    async fn give_up(&self, former: &Drive) -> Result<(), AdminError> {
        let node = former.node;
        self.registration.health.take_out(node, "it is being replaced");
        self.registration.metadata.drive_lost(node);
        let chores = self.chores.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
        if let Some(chores) = chores
            && timeout(CHORES_PATIENCE, chores.stop()).await.is_err()
        {
            self.chores.lock().unwrap_or_else(PoisonError::into_inner).insert(node, chores);
            return Err(unavailable(takes_too_long("ending the compaction or scrub")));
        }
        if let Some(drive) = self.open.get(node) {
            self.retire(drive).await.map_err(unavailable)?;
            self.open.remove(node);
        }
        Ok(())
    }

    /// Closes what is open of a drive. What does not come to its end in time goes on, and is waited for by the next attempt.
    async fn retire(&self, drive: OpenDrive) -> Result<(), String> {
        let (node, threads) = (drive.node, Arc::clone(&self.env.threads));
        let begun = self.retiring.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
        let mut retiring = begun.unwrap_or_else(|| actix::spawn(async move { drive.retire(&threads).await }));
        match timeout(RETIRE_PATIENCE, &mut retiring).await {
            Ok(ended) => closed(Some(ended.map_err(|error| error.to_string()).flatten())),
            Err(_) => {
                self.retiring.lock().unwrap_or_else(PoisonError::into_inner).insert(node, retiring);
                closed(None)
            }
        }
    }

    async fn take_directory(&self, asked: Replacement) -> Result<Drive, AdminError> {
        let (disk, ambient, locks) = (Arc::clone(&self.env.disk), self.env.ambient.clone(), Arc::clone(&self.locks));
        let work = move || {
            let mut locks = locks.lock().unwrap_or_else(PoisonError::into_inner);
            replace_drive(&*disk, &asked, &ambient, &SystemLocks, &mut locks)
        };
        off_thread(&self.env.threads, work).await.map_err(unavailable)?.map_err(refused)
    }
}

/// Describes the outcome of closing a drive; `None` if it did not come to its end in time.
fn closed(outcome: Option<Result<(), String>>) -> Result<(), String> {
    match outcome {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(format!("the drive that is to be replaced could not be closed: {error}; {TRY_AGAIN}")),
        None => Err(takes_too_long("closing the log or index")),
    }
}

fn takes_too_long(what: &str) -> String {
    format!("{what} of the drive that is to be replaced takes too long; {TRY_AGAIN}")
}

#[cfg(test)]
mod tests {
    use super::closed;

    #[test]
    fn a_drive_that_cannot_be_closed_differs_from_one_that_closes_slowly() {
        let failed = closed(Some(Err("its shard index: it is in use".to_owned()))).unwrap_err();
        let start = "the drive that is to be replaced could not be closed: its shard index: it is in use; try again";
        assert!(failed.starts_with(start), "{failed}");
        let slow = closed(None).unwrap_err();
        assert!(slow.starts_with("closing the log or index of the drive") && slow.contains("too long"), "{slow}");
        assert_eq!(closed(Some(Ok(()))), Ok(()));
    }
}
