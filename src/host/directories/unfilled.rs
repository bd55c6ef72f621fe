//! The mark on a replaced drive that it was not compared with the metadata yet, which survives restarts.

use crate::actors::drives::health::{Contents, HealthBoard};
use crate::actors::drives::{DriveList, off_thread};
use crate::host::environment::Environment;
use crate::storage::identity::{Drive, is_unfilled, note_filled, note_unfilled};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// Marks the drive as not filled yet. Called before the drive's new incarnation is registered in the metadata.
pub(in crate::host) async fn remember(env: &Environment, drive: &Drive) {
    let (disk, dir) = (Arc::clone(&env.disk), drive.dir.clone());
    let noted = off_thread(&env.threads, move || note_unfilled(&*disk, &dir)).await;
    if let Ok(Err(error)) = noted {
        let (node, dir) = (drive.node, drive.dir.display());
        tracing::warn!(%node, %dir, %error, "the mark that this drive must be filled was not written; a restart forgets it");
    }
}

/// Removes the mark of each drive once the drive is compared. Runs for as long as it is polled.
pub(in crate::host) async fn forget_compared(env: &Environment, health: &HealthBoard, drives: &DriveList) {
    let mut changes = health.subscribe();
    let mut compared = BTreeSet::new();
    loop {
        let current = health.current();
        for drive in drives.all().iter() {
            let contents = current.state(drive.node).map(|state| state.contents);
            if contents != Some(Contents::Compared) {
                compared.remove(&drive.node);
            } else if compared.insert(drive.node) {
                forget(env, drive).await;
            }
        }
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn forget(env: &Environment, drive: &Drive) {
    let (disk, dir) = (Arc::clone(&env.disk), drive.dir.clone());
    let forget =
        move || -> io::Result<()> { if is_unfilled(&*disk, &dir) { note_filled(&*disk, &dir) } else { Ok(()) } };
    if let Ok(Err(error)) = off_thread(&env.threads, forget).await {
        tracing::warn!(node = %drive.node, %error, "this drive is compared again after the next start");
    }
}
