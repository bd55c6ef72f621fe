//! What the two request tasks share: the parts that they reach (metadata, peers, buffers, codes), and the bounds of time that
//! they keep. Built once, by the composition root or by a simulation.

mod active_reads;
mod offload;
#[cfg(test)]
pub(crate) mod test_nodes;
#[cfg(test)]
pub(crate) mod test_world;

pub use active_reads::{ActiveRead, ActiveReads, ReadMark};
pub use offload::{ComputeThreads, Executor, InPlace, Job, offload};

use super::consensus::{MetaError, MetaHandle};
use super::drives::UserLoad;
use super::drives::health::HealthBoard;
use super::gateway::StoreError;
use super::healer::FaultSink;
use super::peers::{LateNodes, Peers, RingReader};
use crate::ambient::Ambient;
use crate::limits::{APPEND_LATE_AFTER, APPEND_WAIT_MAX, BODY_IDLE_MAX, READ_HEDGE_AFTER, READ_WAIT_MAX};
use crate::net::{Peer, PeerError};
use crate::storage::buffer::BufferPool;
use crate::storage::erasure::Codecs;
use crate::storage::meta::command::{Change, Reply};
use crate::storage::meta::view::MetaView;
use crate::storage::ring::{PlaceRefusal, Placement, Ring, Standing};
use crate::types::{BlobId, Geometry, NodeId};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// What a request asks of the metadata.
#[async_trait::async_trait]
pub trait Metadata: Send + Sync + Debug + 'static {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError>;
    /// A view that shows every change acknowledged before the call.
    async fn read(&self) -> Result<MetaView, MetaError>;
    /// Whether this host is the one that does what only one should: the upkeep of the cluster.
    fn is_leader(&self) -> bool {
        true
    }
}

#[async_trait::async_trait]
impl Metadata for MetaHandle {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        MetaHandle::propose(self, change).await
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        MetaHandle::read(self).await
    }

    fn is_leader(&self) -> bool {
        self.status().is_leader
    }
}

/// How long a request waits for others.
#[derive(Clone, Copy, Debug)]
pub struct RequestTimes {
    /// For a node that has not answered an append, once a quorum has.
    pub append_late_after: Duration,
    /// For an append, in all.
    pub append_wait_max: Duration,
    /// For a chunk, before parity is asked as well.
    pub read_hedge_after: Duration,
    /// For a chunk, in all.
    pub read_wait_max: Duration,
    /// For the next bytes of a client's body.
    pub body_idle_max: Duration,
}

impl Default for RequestTimes {
    fn default() -> Self {
        Self {
            append_late_after: APPEND_LATE_AFTER,
            append_wait_max: APPEND_WAIT_MAX,
            read_hedge_after: READ_HEDGE_AFTER,
            read_wait_max: READ_WAIT_MAX,
            body_idle_max: BODY_IDLE_MAX,
        }
    }
}

/// All that a request reaches.
#[derive(Debug)]
pub struct RequestContext {
    pub metadata: Arc<dyn Metadata>,
    pub ring: RingReader,
    pub peers: Peers,
    pub health: HealthBoard,
    pub late: LateNodes,
    pub buffers: BufferPool,
    pub codecs: Codecs,
    pub executor: Arc<dyn Executor>,
    pub ambient: Ambient,
    pub faults: FaultSink,
    pub reads: ActiveReads,
    pub load: UserLoad,
    /// Of new blobs, while all drives are up.
    pub geometry: Geometry,
    pub times: RequestTimes,
}

impl RequestContext {
    /// The way to the host of a node.
    pub async fn peer(&self, node: NodeId) -> Result<Peer, PeerError> {
        let host = self.ring.current().host_of(node).ok_or(PeerError::NoSuchNode(node))?;
        self.peers.peer_for(host).await.map_err(|error| PeerError::Unavailable { node, why: error.to_string() })
    }

    /// Places a new blob on nodes that can take it. Nodes that were late not long ago are used only where a quorum
    /// needs them.
    pub fn place(&self, blob: BlobId) -> Result<Placement, StoreError> {
        let ring = self.ring.current();
        self.with_standing(|standing| ring.place(blob, self.geometry, standing))
    }

    /// Whether a new blob could be placed now, and why not.
    pub fn check_writable(&self) -> Result<(), StoreError> {
        let ring = self.ring.current();
        self.with_standing(|standing| ring.check_writable(self.geometry, standing))
    }

    /// As `check_writable`, for changes that need no room: a full drive does not stop a delete.
    pub fn check_changeable(&self) -> Result<(), StoreError> {
        let (ring, health) = (self.ring.current(), self.health.current());
        let standing = |node| if health.in_service(node) { Standing::Live } else { Standing::Down };
        ring.check_writable(self.geometry, standing).map_err(StoreError::from)
    }

    fn with_standing<T>(
        &self,
        decide: impl Fn(&dyn Fn(NodeId) -> Standing) -> Result<T, PlaceRefusal>,
    ) -> Result<T, StoreError> {
        let health = self.health.current();
        let standing = |node: NodeId| match (health.accepts_writes(node), health.in_service(node)) {
            (true, _) => Standing::Live,
            (false, true) => Standing::Full,
            (false, false) => Standing::Down,
        };
        let late = self.late.current(self.ambient.clock.monotonic());
        if !late.is_empty() {
            let cautious = |node: NodeId| if late.contains(&node) { Standing::Down } else { standing(node) };
            if let Ok(decided) = decide(&cautious) {
                return Ok(decided);
            }
        }
        decide(&standing).map_err(StoreError::from)
    }

    /// The ring in force.
    pub fn ring(&self) -> Arc<Ring> {
        self.ring.current()
    }
}

impl From<PlaceRefusal> for StoreError {
    fn from(refusal: PlaceRefusal) -> Self {
        match refusal {
            PlaceRefusal::TooFewWithRoom { .. } => Self::OutOfSpace,
            PlaceRefusal::TooFewLive { .. } | PlaceRefusal::TooFewHosts { .. } => {
                Self::Unavailable { why: refusal.to_string() }
            }
        }
    }
}
