//! The end of a host: what runs, and in which order it stops.

use super::NodeError;
use super::audit::AuditLogs;
use super::background::BucketChores;
use super::drives::{Chores, DriveBay, DriveChores};
use super::metadata::Replica;
use super::place::{Keeping, Place};
use crate::actors::drives::{Blocking, UserLoad};
use crate::actors::upkeep::Stop;
use crate::api::ApiHandle;
use crate::types::NodeId;
use futures::future::join_all;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The longest wait for closing, after the requests under way have had their time; anything not closed by then is
/// recovered by the next start.
const CLOSE_PATIENCE: Duration = Duration::from_millis(2500);

/// Ends when the process is asked to stop: by SIGTERM or SIGINT, or by SIGHUP when the terminal that it was started in has
/// been closed.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let had_terminal = has_terminal();
    Ok(async move {
        let terminal_gone = async { while hangup.recv().await.is_some() && (!had_terminal || has_terminal()) {} };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = terminal_gone => {}
        }
    })
}

fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

/// A host at work.
pub(super) struct Running {
    pub api: ApiHandle,
    /// The task that orders certificates.
    pub acme: Option<JoinHandle<()>>,
    pub chores: Chores,
    pub buckets: BucketChores,
    pub audit: AuditLogs,
    pub bay: DriveBay,
    /// The task that replaces drives.
    pub replacing: JoinHandle<()>,
    pub replica: Replica,
    pub load: UserLoad,
    /// Keeps the directories locked, among other things.
    pub place: Arc<Place>,
    pub keeping: Keeping,
}

impl Running {
    /// Returns where the host must stop by itself.
    pub async fn cannot_go_on(&mut self) -> NodeError {
        let own: Vec<NodeId> = self.place.member.host.drives.iter().map(|drive| drive.node).collect();
        tokio::select! {
            why = self.replica.handle.superseded() => NodeError::Superseded { why },
            why = self.place.member.given_up() => NodeError::GivenUp { why },
            () = self.place.health.all_out_and_one_answers(&own) => {
                NodeError::StartsAgain { why: "its drives did not answer, and one does again" }
            }
            ended = &mut self.keeping => match ended {
                Ok(error) => error,
                Err(error) => NodeError::System { doing: "keep the host's place", cause: io::Error::other(error) },
            },
        }
    }

    /// Gives the lead away first, so that no request of any host has to wait for it; lets requests under way end; then makes
    /// everything durable and closes it.
    pub async fn stop(self, threads: &Arc<dyn Blocking>) {
        let Self { api, acme, chores, buckets, audit, bay, replacing, replica, load: _, place, keeping } = self;
        place.stopping.store(true, Ordering::Release);
        acme.iter().for_each(JoinHandle::abort);
        replica.handle.leave_the_lead().await;
        api.stop().await;
        keeping.abort();
        replacing.abort();
        bay.end_watching();
        let (drives, of_drives) = (bay.open.all(), bay.take_chores());
        let close = async {
            tokio::join!(stop_chores(&chores, &of_drives), buckets.stop(), audit.stop());
            // What other hosts ask of its drives from here on finds them closed, which is no fault of theirs.
            drives.iter().for_each(|drive| {
                place.health.take_out(drive.node, "its host is stopping");
            });
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
        // Whoever keeps the place ends with it.
        // One that has ended said so already, and must not be asked twice.
        if !keeping.is_finished() {
            let _ = keeping.await;
        }
        // It has the place, too.
        drop(bay);
        let _ = replacing.await;
        if let Some(place) = Arc::into_inner(place)
            && let Some(net) = place.member.net
        {
            net.stop().await;
        }
    }
}

async fn stop_chores(chores: &Chores, of_drives: &[DriveChores]) {
    // One that has stopped already does not answer.
    let _ = tokio::join!(
        join_all(of_drives.iter().map(DriveChores::stop)),
        chores.reclaimer.send(Stop),
        chores.fencer.send(Stop),
        chores.healer.send(Stop),
        chores.prober.send(Stop),
        chores.mover.send(Stop),
        chores.metadata_scrubber.send(Stop),
        chores.census.send(Stop),
        chores.sampler.send(Stop)
    );
}
