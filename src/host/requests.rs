//! Assembly of the request path: admission, ring, connection pool, and the service of this host's own drives.

use super::environment::{Environment, cores};
use crate::actors::drives::FaultSink;
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{LocalNode, NodeContext, OpenDrives, UserLoad};
use crate::actors::frontend::{AdmissionLimits, Admissions};
use crate::actors::gateway::Gateway;
use crate::actors::membership::LateNodeService;
use crate::actors::peers::{HashRing, Peers, ReadLatencies, Suspects};
use crate::actors::request::{ActiveReads, ActiveWrites, ComputeThreads, Metadata, RequestContext, RequestTimes};
use crate::actors::upkeep::ClusterContext;
use crate::limits::{ADMISSION_WAIT_MAX, ADMISSION_WAITING_MAX, REQUESTS_IN_PROGRESS_MAX};
use crate::storage::erasure::Codecs;
use crate::storage::ring::Layout;
use crate::traces::Spans;
use crate::types::{Geometry, HostId};
use actix::{Actor, Addr};
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The dependencies of the request path.
pub(super) struct Parts {
    pub metadata: Arc<dyn Metadata>,
    pub host: HostId,
    pub peers: Peers,
    pub nodes: LateNodeService,
    pub reads: ActiveReads,
    pub writes: ActiveWrites,
    pub layout: Layout,
    pub geometry: Geometry,
    pub memory_max_bytes: u64,
    pub drives: OpenDrives,
    pub health: HealthBoard,
    pub faults: FaultSink,
    pub load: UserLoad,
}

/// The request path, assembled.
pub(super) struct Requests {
    pub gateway: Gateway,
    pub context: Arc<RequestContext>,
    /// The context that chores share with requests.
    pub cluster: ClusterContext,
    pub ring: Addr<HashRing>,
}

pub(super) fn join(env: &Environment, parts: Parts) -> io::Result<Requests> {
    let Parts {
        metadata,
        host,
        peers,
        nodes,
        reads,
        writes,
        layout,
        geometry,
        memory_max_bytes,
        drives,
        health,
        faults,
        load,
    } = parts;
    let node = NodeContext {
        threads: Arc::clone(&env.threads),
        health: health.clone(),
        faults: faults.clone(),
        load: load.clone(),
    };
    nodes.serve(Arc::new(LocalNode::new(drives.clone(), node)));
    let (ring, reader) = HashRing::new(layout);
    let cluster = ClusterContext {
        host,
        metadata,
        ring: reader,
        peers,
        health,
        drives,
        suspects: Suspects::default(),
        threads: Arc::clone(&env.threads),
        ambient: env.ambient.clone(),
        load,
        reads,
        writes,
    };
    let context = Arc::new(RequestContext {
        host,
        metadata: Arc::clone(&cluster.metadata),
        ring: cluster.ring.clone(),
        peers: cluster.peers.clone(),
        health: cluster.health.clone(),
        suspects: cluster.suspects.clone(),
        latencies: ReadLatencies::default(),
        buffers: env.buffers.clone(),
        codecs: Codecs::default(),
        executor: Arc::new(ComputeThreads::start(cores(), Handle::current())?),
        ambient: env.ambient.clone(),
        faults,
        reads: cluster.reads.clone(),
        writes: cluster.writes.clone(),
        load: cluster.load.clone(),
        geometry,
        times: RequestTimes {
            placement_age_max: env.scale.placement_age_max,
            leftover_grace: env.scale.leftover_grace,
            ..RequestTimes::default()
        },
        spans: Spans::default(),
    });
    let limits =
        AdmissionLimits { bytes: memory_max_bytes, requests: REQUESTS_IN_PROGRESS_MAX, waiting: ADMISSION_WAITING_MAX };
    let admissions = Admissions::start(limits, ADMISSION_WAIT_MAX);
    let gateway = Gateway::new(admissions, Arc::clone(&context));
    Ok(Requests { gateway, context, cluster, ring: ring.start() })
}
