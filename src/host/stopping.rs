//! The running parts of a host, and the order in which they are stopped.

use super::audit::AuditLogs;
use super::background::BucketChores;
use super::drives::{Chores, DriveBay, DriveChores};
use super::error::HostError;
use super::metadata::Replica;
use super::registration::{Keeping, Registration};
use super::traces;
use crate::actors::drives::{Blocking, UserLoad};
use crate::actors::traces::TraceExporter;
use crate::actors::upkeep::Stop;
use crate::api::ApiHandle;
use crate::config::Config;
use futures::future::join_all;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The longest wait for chores, logs and metadata to close, once the listeners have stopped. The next start recovers
/// whatever is not closed by then.
const CLOSE_PATIENCE: Duration = Duration::from_millis(2500);

/// Returns a future that ends when the process is asked to stop: by SIGTERM or SIGINT, or by SIGHUP if the terminal
/// that the process was started in has been closed.
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
    pub traces: Option<TraceExporter>,
    pub bay: DriveBay,
    /// The task that replaces drives.
    pub replacing: JoinHandle<()>,
    pub replica: Replica,
    pub load: UserLoad,
    /// The host's place in its cluster.
    pub registration: Arc<Registration>,
    pub keeping: Keeping,
}

impl Running {
    /// Waits until the host must stop by itself, and returns the reason.
    pub async fn cannot_go_on(&mut self) -> HostError {
        tokio::select! {
            why = self.replica.handle.wait_until_superseded() => HostError::Superseded { why },
            why = self.registration.member.given_up() => HostError::GivenUp { why },
            () = self.registration.drives.wait_for_one_to_answer_again(&self.registration.health) => {
                HostError::StartsAgain { why: "this host's drives did not answer, and one does again", data: None }
            }
            ended = &mut self.keeping => match ended {
                Ok(error) => error,
                Err(error) => HostError::System { doing: "keep the host's place", cause: io::Error::other(error) },
            },
        }
    }

    /// Returns the data directories for a start by itself, if drives were added since the last one.
    pub fn data_with_added(&self, config: &Config) -> Option<String> {
        let kept = self.registration.drives.kept(&self.registration.health.current());
        let added: Vec<&PathBuf> =
            kept.iter().map(|drive| &drive.dir).filter(|dir| !config.data.contains(dir)).collect();
        let all = config.data.iter().chain(added.iter().copied()).map(|dir| dir.display().to_string());
        (!added.is_empty()).then(|| all.collect::<Vec<_>>().join(","))
    }

    /// Hands over the Raft leadership first, so that no host's requests wait for an election; lets requests under way
    /// end; then makes everything durable and closes it.
    pub async fn stop(self, threads: &Arc<dyn Blocking>) {
        let Self { api, acme, chores, buckets, audit, traces, bay, replacing, replica, load: _, registration, keeping } =
            self;
        registration.stopping.store(true, Ordering::Release);
        acme.iter().for_each(JoinHandle::abort);
        replica.handle.leave_the_lead().await;
        api.stop().await;
        keeping.abort();
        replacing.abort();
        bay.end_watching();
        let (drives, of_drives) = (bay.open.all(), bay.take_chores());
        let close = async {
            tokio::join!(stop_chores(&chores, &of_drives), buckets.stop(), audit.stop());
            // Other hosts' requests to these drives fail from here on: that must not count as a fault of the drives.
            drives.iter().for_each(|drive| {
                registration.health.take_out(drive.node, "its host is stopping");
            });
            let closing = drives.iter().map(|drive| async move {
                if let Err(error) = drive.close(threads).await {
                    tracing::warn!(node = %drive.node, %error, "this drive could not be closed cleanly");
                }
            });
            join_all(closing).await;
            replica.handle.shutdown().await;
        };
        // No request is left that would be traced. A collector that hangs must not hold up the drives.
        let (closed, ()) = tokio::join!(timeout(CLOSE_PATIENCE, close), traces::stop(traces));
        if closed.is_err() {
            tracing::warn!("not everything closed in time; the next start recovers the rest");
        }
        replica.arbiter.stop();
        // The tasks hold references to `place`, so they must end first. A task that has finished must not be polled
        // again.
        if !keeping.is_finished() {
            let _ = keeping.await;
        }
        // The bay and its task hold references to `place`, too.
        drop(bay);
        let _ = replacing.await;
        if let Some(registration) = Arc::into_inner(registration)
            && let Some(net) = registration.member.net
        {
            net.stop().await;
        }
    }
}

async fn stop_chores(chores: &Chores, of_drives: &[DriveChores]) {
    // A chore that has stopped already does not answer.
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
