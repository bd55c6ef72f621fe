//! What work in the background reaches: the metadata, the nodes, and where waiting for a drive is done.

use crate::actors::consensus::MetaError;
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{Blocking, ThreadsStopped, UserLoad, off_thread};
use crate::actors::peers::{Peers, RingReader};
use crate::actors::request::{ActiveReads, Metadata};
use crate::ambient::Ambient;
use crate::net::{Peer, PeerError};
use crate::storage::erasure::ErasureError;
use crate::storage::kv::{KvError, KvResult};
use crate::storage::meta::view::MetaView;
use crate::storage::stripe::LayoutError;
use crate::types::NodeId;
use std::sync::Arc;

/// Shared by the chores of a host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClusterContext {
    pub metadata: Arc<dyn Metadata>,
    pub ring: RingReader,
    pub peers: Peers,
    pub health: HealthBoard,
    pub threads: Arc<dyn Blocking>,
    pub ambient: Ambient,
    pub load: UserLoad,
    pub reads: ActiveReads,
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
    /// The way to the host of a node.
    pub async fn peer(&self, node: NodeId) -> Result<Peer, PeerError> {
        let host = self.ring.current().host_of(node).ok_or(PeerError::NoSuchNode(node))?;
        self.peers.peer_for(host).await.map_err(|error| PeerError::Unavailable { node, why: error.to_string() })
    }

    /// Looks something up in the metadata as it is now.
    pub async fn look_up<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&MetaView) -> KvResult<T> + Send + 'static,
    ) -> Result<T, UpkeepError> {
        let view = self.metadata.read().await?;
        Ok(off_thread(&self.threads, move || ask(&view)).await??)
    }
}
