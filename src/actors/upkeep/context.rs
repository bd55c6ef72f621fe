//! `ClusterContext`: what the chores of a host share: the metadata, the nodes, and the threads for blocking work.

use crate::actors::consensus::MetaError;
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{Blocking, ThreadsStopped, UserLoad, off_thread};
use crate::actors::peers::{Peers, RingReader, Suspects, Trust, nodes_beside};
use crate::actors::request::{ActiveReads, ActiveWrites, Metadata};
use crate::ambient::Ambient;
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

    /// Evaluates `ask` on a current view of the metadata, on a thread for blocking work.
    pub async fn look_up<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&MetaView) -> KvResult<T> + Send + 'static,
    ) -> Result<T, UpkeepError> {
        look_up(&*self.metadata, &self.threads, ask).await
    }
}

/// Evaluates `ask` on a current view of the metadata, on a thread for blocking work.
pub async fn look_up<T: Send + 'static>(
    metadata: &dyn Metadata,
    threads: &Arc<dyn Blocking>,
    ask: impl FnOnce(&MetaView) -> KvResult<T> + Send + 'static,
) -> Result<T, UpkeepError> {
    let view = metadata.read().await?;
    Ok(off_thread(threads, move || ask(&view)).await??)
}
