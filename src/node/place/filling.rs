//! Remembers over restarts which drives of this host are new and were not compared with the metadata yet.

use crate::actors::drives::health::{Contents, HealthBoard};
use crate::actors::drives::off_thread;
use crate::node::Surroundings;
use crate::storage::identity::{Drive, is_unfilled, note_filled, note_unfilled};
use std::sync::Arc;

/// To be called before the metadata knows the drive as the one that has the place.
pub(in crate::node) fn remember(around: &Surroundings, drive: &Drive) {
    if let Err(error) = note_unfilled(&*around.disk, &drive.dir) {
        let (node, dir) = (drive.node, drive.dir.display());
        tracing::warn!(%node, %dir, %error, "that this drive is still to be filled is forgotten at a restart");
    }
}

/// Forgets them as they are compared, for as long as it is polled.
pub(super) async fn forget_compared(around: &Surroundings, health: &HealthBoard, drives: &[Drive]) {
    let mut changes = health.subscribe();
    let mut unfilled: Vec<Drive> =
        drives.iter().filter(|drive| is_unfilled(&*around.disk, &drive.dir)).cloned().collect();
    while !unfilled.is_empty() {
        let current = health.current();
        let is_compared =
            |drive: &Drive| current.state(drive.node).is_some_and(|state| state.contents == Contents::Compared);
        let (compared, rest): (Vec<Drive>, Vec<Drive>) = unfilled.into_iter().partition(is_compared);
        for drive in compared {
            let (disk, dir) = (Arc::clone(&around.disk), drive.dir.clone());
            let done = off_thread(&around.threads, move || note_filled(&*disk, &dir)).await;
            if let Ok(Err(error)) = done {
                tracing::warn!(node = %drive.node, %error, "this drive is compared again after the next start");
            }
        }
        unfilled = rest;
        if changes.changed().await.is_err() {
            break;
        }
    }
    std::future::pending::<()>().await;
}
