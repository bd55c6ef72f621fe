//! The end of a host: what runs, and in which order it stops.

use super::drives::Chores;
use super::metadata::Replica;
use crate::actors::drives::{Blocking, Drive, MonitorThreads, UserLoad};
use crate::actors::peers::HashRing;
use crate::actors::upkeep::Stop;
use crate::api::ApiHandle;
use crate::storage::identity::HostDrives;
use actix::Addr;
use futures::future::join_all;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// After the requests under way have had their time; what is not closed by then is recovered by the next start.
const CLOSE_PATIENCE: Duration = Duration::from_millis(2500);

/// Ends when the process is asked to stop.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// A host at work.
pub(super) struct Running {
    pub api: ApiHandle,
    pub monitor: MonitorThreads,
    pub chores: Chores,
    pub drives: Vec<Drive>,
    pub replica: Replica,
    /// Keeps the directories locked.
    pub host: HostDrives,
    pub load: UserLoad,
    pub _ring: Addr<HashRing>,
}

impl Running {
    /// Lets requests under way end, then makes everything durable and closes it.
    pub async fn stop(self, threads: &Arc<dyn Blocking>) {
        let Self { api, monitor, chores, drives, replica, host, load: _, _ring } = self;
        api.stop().await;
        drop(monitor);
        let close = async {
            stop_chores(&chores).await;
            let closing = drives.iter().map(|drive| async move {
                if let Err(error) = drive.close(threads).await {
                    tracing::warn!(node = %drive.node, %error, "drive did not close in order");
                }
            });
            join_all(closing).await;
            replica.handle.shutdown().await;
        };
        if timeout(CLOSE_PATIENCE, close).await.is_err() {
            tracing::warn!("not everything closed in time; the next start recovers the rest");
        }
        replica.arbiter.stop();
        drop(host);
    }
}

async fn stop_chores(chores: &Chores) {
    let compactors = join_all(chores.compactors.iter().map(|compactor| compactor.send(Stop)));
    // One that has stopped already does not answer.
    let _ = tokio::join!(compactors, chores.reclaimer.send(Stop), chores.healer.send(Stop));
}
