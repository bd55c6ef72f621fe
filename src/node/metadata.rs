//! The metadata replica of a host, on a thread of its own; and the drives as the metadata knows them.

use super::Surroundings;
use crate::actors::consensus::{
    self, FjallHome, Forming, GroupId, MetaError, MetaHandle, Offload, ReplicaDrive, ReplicaOptions,
    SNAPSHOT_LOG_BYTES_MIN, SnapshotPolicy, StartError,
};
use crate::actors::drives::ThreadsStopped;
use crate::actors::log::Threads;
use crate::ambient::Ambient;
use crate::limits::META_SEGMENT_BYTES;
use crate::net::NoOtherHosts;
use crate::storage::identity::{Drive, DriveState, HostDrives};
use crate::storage::kv::KvError;
use crate::storage::meta::command::Change;
use crate::storage::meta::record::{NodeRecord, NodeState};
use crate::storage::ring::{Layout, LayoutNode};
use crate::types::{Epoch, NodeId};
use actix::Arbiter;
use std::sync::Arc;
use tokio::sync::oneshot;

const TABLES_CACHE_BYTES: u64 = 32 << 20;
/// There is one group, and no other host reaches this one.
const ADDRESS: &str = "local";
/// Until drives differ in what they take.
const WEIGHT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Change(#[from] MetaError),
    #[error(transparent)]
    Tables(#[from] KvError),
    #[error(transparent)]
    Stopped(#[from] ThreadsStopped),
}

/// A replica and its thread.
pub(super) struct Replica {
    pub handle: MetaHandle,
    pub arbiter: Arbiter,
}

pub(super) async fn start(around: &Surroundings, host: &HostDrives) -> Result<Replica, MetadataError> {
    let usable: Vec<&Drive> =
        host.drives.iter().filter(|drive| !matches!(drive.state, DriveState::Lost { .. })).collect();
    let drives = usable.iter().map(|drive| ReplicaDrive {
        node: drive.node,
        disk: Arc::clone(&around.disk),
        dir: drive.dir.clone(),
    });
    let options = ReplicaOptions {
        group: GroupId::default(),
        cluster: host.cluster,
        host: host.host,
        address: ADDRESS.to_owned(),
        forming: Forming::Alone,
        transport: Arc::new(NoOtherHosts),
        ambient: around.ambient.clone(),
        drives: drives.collect(),
        copies_wanted: usize::from(host.parity) + 1,
        first_start: host.formed_now || !usable.iter().any(|drive| has_run(around, drive)),
        home: Arc::new(FjallHome { cache_bytes: TABLES_CACHE_BYTES }),
        offload: Offload::Threads,
        threads: Threads::Own,
        durability: around.durability,
        segment_bytes: META_SEGMENT_BYTES,
        pool: around.buffers.clone(),
        snapshots: SnapshotPolicy { log_bytes_min: SNAPSHOT_LOG_BYTES_MIN },
    };
    let arbiter = Arbiter::new();
    let (sender, started) = oneshot::channel();
    arbiter.spawn(async move {
        // Who asked waits for nothing else.
        let _ = sender.send(consensus::start(options).await);
    });
    let handle = started.await.map_err(|_| ThreadsStopped)??;
    Ok(Replica { handle, arbiter })
}

/// Whether the drive was ever in use: its log of shards is first made after the metadata's first start. A host whose first
/// start was cut short between its identities and its metadata holds nothing, and begins anew.
fn has_run(around: &Surroundings, drive: &Drive) -> bool {
    around.disk.exists(&super::drives::shards_dir(drive)).unwrap_or(true)
}

/// Tells the metadata of drives that are new or other than it knows them; those of them that were in use before and so lack
/// what was written since.
pub(super) async fn register_drives(
    metadata: &MetaHandle,
    ambient: &Ambient,
    host: &HostDrives,
) -> Result<Vec<NodeId>, MetadataError> {
    let view = metadata.read().await?;
    let known = view.nodes()?;
    let mut returned = Vec::new();
    for drive in &host.drives {
        let record = known.iter().find(|record| record.id == drive.node);
        let lost = matches!(drive.state, DriveState::Lost { .. });
        let same = record.is_some_and(|record| record.incarnation == drive.incarnation);
        if !same && (record.is_none() || !lost) {
            let joined = ambient.clock.unix_ms();
            let (id, incarnation) = (drive.node, drive.incarnation);
            let record =
                NodeRecord { id, host: host.host, incarnation, weight: WEIGHT, state: NodeState::Active, joined };
            metadata.propose(Change::RegisterNode(record)).await?;
        }
        if matches!(drive.state, DriveState::Replaced | DriveState::Returned) || (!same && record.is_some() && !lost) {
            returned.push(drive.node);
        }
    }
    Ok(returned)
}

/// The drives that blobs are placed on.
pub(super) async fn layout(metadata: &MetaHandle) -> Result<Layout, MetadataError> {
    let nodes = metadata.read().await?.nodes()?;
    let node = |record: NodeRecord| LayoutNode { id: record.id, host: record.host, weight: record.weight };
    Ok(Layout::new(Epoch(1), nodes.into_iter().map(node)))
}
