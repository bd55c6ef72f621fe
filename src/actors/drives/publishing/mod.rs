//! Publishing: entering synced log records into the drive's index. If the index fails (the drive may be full), or the
//! log answers too late, the request is answered with the error and the records are published later, in the background.
//! Otherwise they would hold back the index's watermark, and with it the release of segments, until the next start;
//! and the index would show shards whole that a tombstone in the log kills at that start. What a hanging drive has not
//! answered waits until it does, or until its log is closed.
//!
//! Late publications beyond `LATE_PUBLICATIONS_MAX` on a host, and those of a drive out of service, are abandoned: the
//! next start replays them from the log.

use super::blocking::{Blocking, ThreadsStopped, off_thread};
use super::context::NodeContext;
use super::drive::{Drive, index_error, log_error, stopped_error};
use super::health::Retired;
use crate::actors::log::{FailedAppend, LateAnswer};
use crate::limits::LATE_PUBLICATIONS_MAX;
use crate::net::PeerError;
use crate::storage::shard_index::{IndexError, IndexResult, ShardIndex, Ticket};
use crate::storage::wal::{Location, NewRecord};
use crate::types::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[cfg(test)]
mod tests;

/// The pause before failed publications are tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The bound of late publications on a host. Cheap to clone; all clones share one bound.
#[derive(Clone, Debug)]
pub(super) struct LatePublications {
    room: Arc<Semaphore>,
}

impl Default for LatePublications {
    fn default() -> Self {
        Self::at_most(LATE_PUBLICATIONS_MAX)
    }
}

/// Synced records that are to be published in the index.
struct Publication<P> {
    index: ShardIndex,
    retired: Retired,
    ticket: Ticket,
    places: Vec<Location>,
    publish: P,
}

impl<P> Publication<P>
where
    P: Fn(&ShardIndex, &Ticket, &[Location]) -> IndexResult<()> + Send + 'static,
{
    /// Tries to publish once. If the index fails, returns the publication, for another attempt, and the error.
    async fn attempt(self, threads: &Arc<dyn Blocking>) -> Result<Result<(), Box<(Self, IndexError)>>, ThreadsStopped> {
        let attempt = move || {
            let published = (self.publish)(&self.index, &self.ticket, &self.places);
            published.map_err(|error| Box::new((self, error)))
        };
        off_thread(threads, attempt).await
    }

    fn abandon(self) {
        self.index.abandon(self.ticket);
    }
}

/// Appends records, waits for their sync, and publishes them. `Ok` means that they are durable and in the index.
pub(super) async fn append_and_publish(
    drive: Drive,
    context: NodeContext,
    late: LatePublications,
    records: Vec<NewRecord>,
    publish: impl Fn(&ShardIndex, &Ticket, &[Location]) -> IndexResult<()> + Send + 'static,
) -> Result<(), PeerError> {
    let node = drive.node;
    let ticket = drive.index.begin();
    let places = match drive.log.append_or_answer_late(records).await {
        Ok(places) => places,
        Err(FailedAppend { error, answer }) => {
            let failure = log_error(&drive, &context.health, error.clone());
            match answer {
                Some(answer) => late.wait(drive, ticket, answer, publish, context),
                None => drive.index.append_failed(ticket, &error),
            }
            return Err(failure);
        }
    };
    let publication = Publication { index: drive.index, retired: drive.retired, ticket, places, publish };
    let published = publication.attempt(&context.threads).await.map_err(|stopped| stopped_error(node, stopped))?;
    published.map_err(|failed| {
        let (publication, error) = *failed;
        late.take(node, publication, context);
        index_error(node, &error)
    })
}

impl LatePublications {
    fn at_most(count: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(count)) }
    }

    /// Returns the place of another late publication, if there is one.
    fn place(&self, node: NodeId) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok();
        if place.is_none() {
            tracing::warn!(
                %node,
                "too many appends wait to be published in the shard index; this one is published at the next start"
            );
        }
        place
    }

    /// Publishes the records of an append once the log answers.
    fn wait<P>(&self, drive: Drive, ticket: Ticket, answer: LateAnswer, publish: P, context: NodeContext)
    where
        P: Fn(&ShardIndex, &Ticket, &[Location]) -> IndexResult<()> + Send + 'static,
    {
        let Drive { node, index, retired, .. } = drive;
        let Some(place) = self.place(node) else { return index.abandon(ticket) };
        tokio::spawn(async move {
            match answer.locations().await {
                Ok(places) => {
                    publish_late(node, Publication { index, retired, ticket, places, publish }, context).await;
                }
                Err(error) => index.append_failed(ticket, &error),
            }
            drop(place);
        });
    }

    fn take<P>(&self, node: NodeId, publication: Publication<P>, context: NodeContext)
    where
        P: Fn(&ShardIndex, &Ticket, &[Location]) -> IndexResult<()> + Send + 'static,
    {
        let Some(place) = self.place(node) else { return publication.abandon() };
        tokio::spawn(async move {
            publish_late(node, publication, context).await;
            drop(place);
        });
    }
}

async fn publish_late<P>(node: NodeId, mut publication: Publication<P>, context: NodeContext)
where
    P: Fn(&ShardIndex, &Ticket, &[Location]) -> IndexResult<()> + Send + 'static,
{
    loop {
        tokio::time::sleep(RETRY_PAUSE).await;
        if publication.retired.is_set() || !context.health.current().in_service(node) {
            return publication.abandon();
        }
        match publication.attempt(&context.threads).await {
            Ok(Ok(())) => return,
            Ok(Err(failed)) => {
                let (again, error) = *failed;
                tracing::debug!(%node, %error, "the shard index still fails");
                publication = again;
            }
            Err(ThreadsStopped) => return,
        }
    }
}
