//! `ClusterContext`: what the chores of a host share: the metadata, the nodes, and the threads for blocking work.

use crate::actors::consensus::MetaError;
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{Blocking, OpenDrives, ThreadsStopped, UserLoad, log_error, off_thread};
use crate::actors::peers::{Peers, RingReader, Suspects, Trust, nodes_beside};
use crate::actors::request::{ActiveReads, ActiveWrites, Metadata};
use crate::ambient::Ambient;
use crate::limits::UPKEEP_WAIT_MAX;
use crate::net::{Peer, PeerError};
use crate::storage::erasure::ErasureError;
use crate::storage::kv::{KvError, KvResult};
use crate::storage::meta::view::MetaView;
use crate::storage::stripe::LayoutError;
use crate::types::{HostId, NodeId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The dependencies of a host's chores. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClusterContext {
    /// The id of this host.
    pub host: HostId,
    pub metadata: Arc<dyn Metadata>,
    pub ring: RingReader,
    pub peers: Peers,
    pub health: HealthBoard,
    /// The open drives of this host.
    pub drives: OpenDrives,
    pub suspects: Suspects,
    pub threads: Arc<dyn Blocking>,
    pub ambient: Ambient,
    pub load: UserLoad,
    pub reads: ActiveReads,
    pub writes: ActiveWrites,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum UpkeepError {
    #[error(transparent)]
    Metadata(#[from] MetaError),
    #[error(transparent)]
    Tables(#[from] KvError),
    #[error(transparent)]
    Node(#[from] PeerError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Erasure(#[from] ErasureError),
    #[error(transparent)]
    Stopped(#[from] ThreadsStopped),
    /// Work on a thread for blocking work did not end in time. It may be tried again.
    #[error("a call to a drive did not return within {} seconds", UPKEEP_WAIT_MAX.as_secs())]
    TimedOut,
}

impl ClusterContext {
    /// Returns the connection to the host of a node.
    pub async fn peer(&self, node: NodeId) -> Result<Peer, PeerError> {
        self.peers.of_node(&self.ring.current(), node).await
    }

    /// Sends a request to a node, and waits for `patience` at most. A node that does not answer becomes suspect; one
    /// that cannot be reached is gone.
    pub async fn ask<T, F: Future<Output = Result<T, PeerError>>>(
        &self,
        node: NodeId,
        patience: Duration,
        ask: impl FnOnce(Peer) -> F,
    ) -> Result<T, PeerError> {
        let answer = timeout(patience, async { ask(self.peer(node).await?).await }).await;
        let answer = answer.unwrap_or(Err(PeerError::TimedOut(node)));
        let now = self.ambient.clock.monotonic();
        let beside = || nodes_beside(&self.ring.current(), self.host, node);
        match &answer {
            Err(error @ PeerError::TimedOut(_)) => self.suspects.late(node, &beside(), &error.to_string(), now),
            Err(error @ PeerError::Unreachable { .. }) => self.suspects.gone(&beside(), &error.to_string(), now),
            Err(_) | Ok(_) => {}
        }
        answer
    }

    /// Waits until all chunks that a drive of this host holds are on stable storage. With relaxed durability, an append
    /// is answered before that.
    pub async fn sync(&self, node: NodeId) -> Result<(), PeerError> {
        let drive = self.drives.get(node).ok_or(PeerError::NoSuchNode(node))?;
        drive.log.sync().await.map_err(|error| log_error(&drive, &self.health, error))
    }

    /// Returns whether a node is on this host.
    pub fn is_local(&self, node: NodeId) -> bool {
        self.ring.current().host_of(node) == Some(self.host)
    }

    /// Returns the nodes of this host.
    pub fn local_nodes(&self) -> Vec<NodeId> {
        let ring = self.ring.current();
        ring.nodes().iter().filter(|node| node.host == self.host).map(|node| node.id).collect()
    }

    /// Returns whether a node is in service and trusted.
    pub fn serves(&self, node: NodeId) -> bool {
        self.health.current().in_service(node) && self.suspects.current().trust(node) == Trust::Trusted
    }

    /// Evaluates `ask` on a current view of the metadata, on a thread for blocking work, and waits for
    /// `UPKEEP_WAIT_MAX` at most.
    pub async fn look_up<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&MetaView) -> KvResult<T> + Send + 'static,
    ) -> Result<T, UpkeepError> {
        look_up(&*self.metadata, &self.threads, ask).await
    }

    /// Runs a job on a thread for blocking work, and waits for `UPKEEP_WAIT_MAX` at most. The job runs to its end all
    /// the same, so it must only read.
    pub async fn off_thread<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, UpkeepError> {
        off_thread_in_time(&self.threads, job).await
    }
}

/// Evaluates `ask` on a current view of the metadata, on a thread for blocking work, and waits for `UPKEEP_WAIT_MAX` at
/// most.
pub async fn look_up<T: Send + 'static>(
    metadata: &dyn Metadata,
    threads: &Arc<dyn Blocking>,
    ask: impl FnOnce(&MetaView) -> KvResult<T> + Send + 'static,
) -> Result<T, UpkeepError> {
    let view = metadata.read().await?;
    Ok(off_thread_in_time(threads, move || ask(&view)).await??)
}

async fn off_thread_in_time<T: Send + 'static>(
    threads: &Arc<dyn Blocking>,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, UpkeepError> {
    let ended = timeout(UPKEEP_WAIT_MAX, off_thread(threads, job)).await;
    Ok(ended.map_err(|_| UpkeepError::TimedOut)??)
}
