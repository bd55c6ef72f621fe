//! Publishing in a drive's index what its log holds for good. Where the index fails (its drive may be full), the request is
//! answered with the error, and what is synced is published later, in the background: else it would hold the index's
//! watermark, and its segments, until the next start.
//!
//! What is beyond `LATE_PUBLICATIONS_MAX` of a host, or of a drive out of service, is left to the next start.

use super::blocking::{Blocking, ThreadsStopped, off_thread};
use super::drive::{Drive, log_error};
use super::health::Retired;
use super::local_node::{NodeContext, index_error, stopped_error};
use crate::limits::LATE_PUBLICATIONS_MAX;
use crate::net::PeerError;
use crate::storage::shard_index::{IndexError, IndexResult, ShardIndex, Ticket};
use crate::storage::wal::{Location, NewRecord};
use crate::types::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

#[cfg(test)]
mod tests;

/// The pause before failed publications are tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The number of appends that may still be published later. Cheap to clone; one for a host.
#[derive(Clone, Debug)]
pub(super) struct LatePublications {
    room: Arc<Semaphore>,
}

impl Default for LatePublications {
    fn default() -> Self {
        Self::at_most(LATE_PUBLICATIONS_MAX)
    }
}

/// Synced records on their way into the index.
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
    /// Itself again, and why, where that fails.
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

/// Appends, waits for the sync, and publishes. `Ok` means durable and found by the index.
pub(super) async fn append_and_publish(
    drive: Drive,
    context: NodeContext,
    late: LatePublications,
    records: Vec<NewRecord>,
    publish: impl Fn(&ShardIndex, &Ticket, &[Location]) -> IndexResult<()> + Send + 'static,
) -> Result<(), PeerError> {
    let node = drive.node;
    let ticket = drive.index.begin();
    let places = match drive.log.append(records).await {
        Ok(places) => places,
        Err(error) => {
            drive.index.append_failed(ticket, &error);
            return Err(log_error(&drive, &context.health, error));
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

    fn take<P>(&self, node: NodeId, publication: Publication<P>, context: NodeContext)
    where
        P: Fn(&ShardIndex, &Ticket, &[Location]) -> IndexResult<()> + Send + 'static,
    {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::warn!(%node, "too many appends wait for the shard index; further ones are published at the next start");
            return publication.abandon();
        };
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
                tracing::debug!(%node, %error, "shard index fails still");
                publication = again;
            }
            Err(ThreadsStopped) => return,
        }
    }
}
