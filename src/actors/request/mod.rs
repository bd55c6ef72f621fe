//! `RequestContext`: what the PUT and GET tasks share (metadata, peers, buffers, codecs) and their time limits. It is
//! built once, by the composition root or by a simulation.

mod active_reads;
mod active_writes;
mod calls;
mod error;
mod offload;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod test_hosts;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod test_nodes;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod test_world;
#[cfg(test)]
mod tests;
mod upload;

pub use active_reads::{ActiveRead, ActiveReads, ReadMark};
pub use active_writes::{ActiveWrite, ActiveWrites};
pub use calls::CallSpan;
pub use error::{BodyFault, StoreError};
#[cfg(any(test, feature = "fuzzing", debug_assertions))]
pub use offload::InPlace;
pub use offload::{ComputeThreads, Executor, Job, Md5Update, Work, offload};
pub use upload::{BodyChecks, BodyStream, ByteRange, Kept, PutPartRequest, StoredPart, TrailerChecksum, Upload};

use super::consensus::{MetaError, MetaHandle};
use super::drives::health::HealthBoard;
use super::drives::{FaultSink, UserLoad};
use super::peers::{Peers, ReadLatencies, RingReader, Suspects, Trust, nodes_beside};
use crate::ambient::Ambient;
use crate::limits::{
    APPEND_LATE_AFTER, APPEND_SUSPECT_WAIT, APPEND_WAIT_MAX, BODY_IDLE_MAX, LEFTOVER_GRACE, PLACEMENT_AGE_MAX,
    READ_GONE_WAIT, READ_WAIT_MAX, RING_LAG_MAX,
};
use crate::net::{Peer, PeerError};
use crate::storage::buffer::BufferPool;
use crate::storage::erasure::Codecs;
use crate::storage::meta::command::{Change, LogTime, Reply};
use crate::storage::meta::configuration::ConfigurationVersion;
use crate::storage::meta::view::MetaView;
use crate::storage::ring::{Availability, PlaceRefusal, Placement, Ring};
use crate::traces::Spans;
use crate::types::{BlobId, Geometry, HostId, NodeId};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// The metadata, as requests and chores use it.
#[async_trait::async_trait]
pub trait Metadata: Send + Sync + Debug + 'static {
    /// Proposes a change and waits until it is decided.
    async fn propose(&self, change: Change) -> Result<Reply, MetaError>;
    /// Returns the agreed wall time and the confirmed time, as this host knows them.
    fn time(&self) -> LogTime;
    /// Returns a view that shows every change acknowledged before the call.
    async fn read(&self) -> Result<MetaView, MetaError>;
    /// Returns a view of this host's own tables, without a barrier, so it may lag; `None` if there are no tables now.
    fn local(&self) -> Option<MetaView> {
        None
    }
    /// Returns the version of the buckets' and identities' configuration (not of Raft's membership), that is the log
    /// entry that last changed it, by this host's own tables. `None` if it is unknown.
    fn local_configuration(&self) -> Option<ConfigurationVersion> {
        None
    }
    /// Returns whether this host leads, and thereby does the chores that only one host may do.
    fn is_leader(&self) -> bool {
        true
    }
    /// Returns the term in which this host leads; `None` if it does not. Another host may have led between two terms.
    fn lead(&self) -> Option<u64> {
        self.is_leader().then_some(0)
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

    fn time(&self) -> LogTime {
        self.clock().time()
    }

    fn local(&self) -> Option<MetaView> {
        self.local_view()
    }

    fn local_configuration(&self) -> Option<ConfigurationVersion> {
        MetaHandle::local_configuration(self)
    }

    fn is_leader(&self) -> bool {
        self.status().is_leader
    }

    fn lead(&self) -> Option<u64> {
        let status = self.status();
        status.is_leader.then_some(status.term)
    }
}

/// The time limits of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestTimes {
    /// The further wait for the remaining appends once a quorum has succeeded.
    pub append_late_after: Duration,
    /// The same wait if all remaining nodes are suspect.
    pub append_suspect_wait: Duration,
    /// The longest wait for an append.
    pub append_wait_max: Duration,
    /// The wait for a chunk from a node that is gone, which is read only if too few other nodes are left.
    pub read_gone_wait: Duration,
    /// The longest wait for a chunk. `ReadLatencies` determines when parity is requested as well.
    pub read_wait_max: Duration,
    /// The longest time for which a read uses one lookup of a placement.
    pub placement_age_max: Duration,
    /// The time for which the old copy of a moved shard stays.
    pub leftover_grace: Duration,
    /// The longest wait for the next bytes of a client's body.
    pub body_idle_max: Duration,
}

impl Default for RequestTimes {
    fn default() -> Self {
        Self {
            append_late_after: APPEND_LATE_AFTER,
            append_suspect_wait: APPEND_SUSPECT_WAIT,
            append_wait_max: APPEND_WAIT_MAX,
            read_gone_wait: READ_GONE_WAIT,
            read_wait_max: READ_WAIT_MAX,
            placement_age_max: PLACEMENT_AGE_MAX,
            leftover_grace: LEFTOVER_GRACE,
            body_idle_max: BODY_IDLE_MAX,
        }
    }
}

/// The dependencies of a request.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The id of this host.
    pub host: HostId,
    pub metadata: Arc<dyn Metadata>,
    pub ring: RingReader,
    pub peers: Peers,
    pub health: HealthBoard,
    pub suspects: Suspects,
    pub latencies: ReadLatencies,
    pub buffers: BufferPool,
    pub codecs: Codecs,
    pub executor: Arc<dyn Executor>,
    pub ambient: Ambient,
    pub faults: FaultSink,
    pub reads: ActiveReads,
    pub writes: ActiveWrites,
    pub load: UserLoad,
    /// The geometry of new blobs while all drives are in service.
    pub geometry: Geometry,
    pub times: RequestTimes,
    /// The spans of the one request that this context is of, if it is traced.
    pub spans: Spans,
}

impl RequestContext {
    /// Returns the connection to the host of a node.
    pub async fn peer(&self, node: NodeId) -> Result<Peer, PeerError> {
        if self.ring.current().host_of(node).is_none() {
            // The metadata may name a new node a moment before the ring has it.
            tokio::time::sleep(RING_LAG_MAX).await;
        }
        self.peers.of_node(&self.ring.current(), node).await
    }

    /// Registers the write of a new blob and draws its id. The id is above the fence, even if this host's clock was set
    /// back while the host was down.
    pub async fn begin_write(&self) -> Result<ActiveWrite, StoreError> {
        if !self.writes.is_above_fence() {
            self.writes.rise_above(self.metadata.read().await?.fence()?);
        }
        Ok(self.writes.begin(&self.ambient))
    }

    /// Places a new blob on nodes that accept writes. Suspect nodes are used only if the quorum needs them; nodes that
    /// are gone, never.
    pub fn place(&self, blob: BlobId) -> Result<Placement, StoreError> {
        let ring = self.ring.current();
        self.with_availability(|availability| ring.place(blob, self.geometry, availability))
    }

    /// Returns an error with the reason if no blob could be placed now.
    pub fn check_writable(&self) -> Result<(), StoreError> {
        let ring = self.ring.current();
        self.with_availability(|availability| ring.check_writable(self.geometry, availability))
    }

    /// Like `check_writable`, for changes that need no space, such as deletes: full drives do not refuse them.
    pub fn check_changeable(&self) -> Result<(), StoreError> {
        let (ring, health) = (self.ring.current(), self.health.current());
        let availability = |node| if health.in_service(node) { Availability::Live } else { Availability::Down };
        ring.check_writable(self.geometry, availability).map_err(StoreError::from)
    }

    /// Returns the current availability of each node.
    pub fn availability(&self) -> impl Fn(NodeId) -> Availability + use<> {
        let (health, doubts) = (self.health.current(), self.suspects.current());
        let now = self.ambient.clock.monotonic();
        move |node: NodeId| match (health.in_service(node), doubts.trust(node)) {
            (false, _) | (_, Trust::Gone) => Availability::Down,
            _ if doubts.is_full(node, now) || !health.accepts_writes(node) => Availability::Full,
            _ => Availability::Live,
        }
    }

    fn with_availability<T>(
        &self,
        decide: impl Fn(&dyn Fn(NodeId) -> Availability) -> Result<T, PlaceRefusal>,
    ) -> Result<T, StoreError> {
        let (doubts, availability) = (self.suspects.current(), self.availability());
        let cautious = |node: NodeId| match doubts.trust(node) {
            Trust::Suspect => Availability::Down,
            Trust::Trusted | Trust::Gone => availability(node),
        };
        decide(&cautious).or_else(|_| decide(&availability)).map_err(StoreError::from)
    }

    /// Returns the current trust in a node; a node out of service is gone.
    pub fn trust(&self, node: NodeId) -> Trust {
        match self.health.current().in_service(node) {
            true => self.suspects.current().trust(node),
            false => Trust::Gone,
        }
    }

    /// Returns whether reads should go to other nodes first.
    pub fn is_avoided(&self, node: NodeId) -> bool {
        let now = self.ambient.clock.monotonic();
        self.trust(node) != Trust::Trusted || self.suspects.current().is_slow(node, now)
    }

    /// Records that reads waited too long for a node.
    pub fn note_slow(&self, node: NodeId, why: &str) {
        let nodes = nodes_beside(&self.ring.current(), self.host, node);
        self.suspects.slow(node, &nodes, why, self.ambient.clock.monotonic());
    }

    /// Records that a write waited too long for a node. If the node is on another host, all nodes of that host become
    /// suspect, since the whole host may hang; probes find out which of them answer.
    pub fn note_late(&self, node: NodeId, why: &str) {
        let nodes = nodes_beside(&self.ring.current(), self.host, node);
        self.suspects.late(node, &nodes, why, self.ambient.clock.monotonic());
    }

    /// Records a node's failure, so that later requests avoid the node as its error suggests.
    pub fn note_failure(&self, node: NodeId, error: &PeerError) {
        let (now, why) = (self.ambient.clock.monotonic(), error.to_string());
        match error {
            PeerError::OutOfSpace(_) => self.suspects.full(node, now),
            PeerError::TimedOut(_) | PeerError::Garbled { .. } => self.suspects.late(node, &[], &why, now),
            PeerError::Unreachable { .. } => {
                self.suspects.gone(&nodes_beside(&self.ring.current(), self.host, node), &why, now);
            }
            // The health board already lists a node that is out of service.
            PeerError::Unavailable { .. } if !self.health.current().in_service(node) => {}
            PeerError::NoSuchNode(_) | PeerError::Unavailable { .. } | PeerError::Refused { .. } => {
                self.suspects.doubt(node, &why, now);
            }
        }
    }

    /// Returns the current ring.
    pub fn ring(&self) -> Arc<Ring> {
        self.ring.current()
    }
}

impl From<PlaceRefusal> for StoreError {
    fn from(refusal: PlaceRefusal) -> Self {
        match refusal {
            PlaceRefusal::TooFewWithRoom { .. } => Self::OutOfSpace,
            PlaceRefusal::NoDrives | PlaceRefusal::TooFewLive { .. } | PlaceRefusal::TooFewHosts { .. } => {
                Self::Unavailable { why: refusal.to_string() }
            }
        }
    }
}
