//! Starting a replica: which copies to believe, bringing them to the same end, the snapshot, the tables, openraft.

mod copies;
mod tables;

use super::apply::{ConsensusApply, MetaRaft, SnapshotPolicy};
use super::handle::{GroupId, Inner, MetaHandle, confirm_sole_voter, proposal_permits};
use super::mirror::{LogStore, Mirror, ToMirror};
use super::network::NoPeers;
use super::raft_types::{MetaGroup, raft_id};
use super::shared::{Drive, DriveRole, Offload, Shared};
use super::state::{SnapshotStore, StateHome, StateMachine};
use crate::actors::log::Threads;
use crate::ambient::Ambient;
use crate::metrics::MIRROR_COPIES;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::Disk;
use crate::storage::raft_log::{ChoiceError, MirrorProgress, Position};
use crate::storage::wal::Durability;
use crate::types::{ClusterId, HostId, NodeId};
use actix::Actor;
use copies::{believe, settle};
use openraft::{BasicNode, Config, Raft};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tables::{find_snapshot, find_tables};
use tokio::sync::mpsc;

pub use copies::write_mirror_file;

const HEARTBEAT_MS: u64 = 200;
const ELECTION_MS_MIN: u64 = 600;
const ELECTION_MS_MAX: u64 = 1200;
/// Until this host, where it is alone, leads its group.
const LEAD_PATIENCE: Duration = Duration::from_secs(10);
const LEAD_POLL: Duration = Duration::from_millis(2);
/// Log between snapshots, at least.
pub const SNAPSHOT_LOG_BYTES_MIN: u64 = 64 << 20;

/// A drive of this host that is present.
#[derive(Clone, Debug)]
pub struct ReplicaDrive {
    pub node: NodeId,
    pub disk: Arc<dyn Disk>,
    /// The drive's own directory; the replica uses `meta/` and `state/` in it.
    pub dir: PathBuf,
}

impl ReplicaDrive {
    pub fn into_idle(self) -> Drive {
        Drive { disk: self.disk, dir: self.dir, log: None, role: DriveRole::Idle }
    }
}

/// What a replica is made of.
#[derive(Debug)]
pub struct ReplicaOptions {
    pub group: GroupId,
    pub cluster: ClusterId,
    pub host: HostId,
    /// Where the other hosts of the group reach this one.
    pub address: String,
    pub ambient: Ambient,
    /// Every drive that is present.
    pub drives: Vec<ReplicaDrive>,
    /// Copies of the log to keep: as many as the drives that may be lost, and one.
    pub copies_wanted: usize,
    /// Whether this host has never been started: otherwise, finding nothing is an error.
    pub first_start: bool,
    pub home: Arc<dyn StateHome>,
    pub offload: Offload,
    /// Where the actors of each copy's log run.
    pub threads: Threads,
    pub durability: Durability,
    /// Size of a file of the log; `limits::META_SEGMENT_BYTES` but in simulations.
    pub segment_bytes: u32,
    pub pool: BufferPool,
    pub snapshots: SnapshotPolicy,
}

/// Why a replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no drive is given for the metadata")]
    NoDrives,
    #[error(transparent)]
    Copies(#[from] ChoiceError),
    #[error("no drive holds any metadata, though this host was started before; every copy of it is missing")]
    NothingFound,
    #[error("no drive takes the metadata log: {0:?}")]
    NoDriveTakesTheLog(Vec<(NodeId, String)>),
    #[error("entries of the metadata log up to {purged:?} are gone, and no snapshot that covers them is left")]
    SnapshotLost { purged: Position },
    #[error("no drive takes the metadata tables: {0}")]
    Tables(String),
    #[error("consensus does not start: {0}")]
    Consensus(String),
    #[error("the metadata log cannot be read: {0}")]
    Log(#[from] io::Error),
}

/// What openraft works on, and what the rest holds of it.
pub(super) struct Stores {
    pub shared: Arc<Shared>,
    pub snapshots: SnapshotStore,
    pub mirror: mpsc::UnboundedSender<ToMirror>,
    pub log: LogStore,
    pub machine: StateMachine,
}

/// Starts a replica on the current actix arbiter: all its tasks run there.
pub async fn start(options: ReplicaOptions) -> Result<MetaHandle, StartError> {
    let Stores { shared, snapshots, mirror, log, machine } = open_stores(&options).await?;
    let raft = start_raft(&options, log, machine).await?;
    lead_if_alone(&raft, &shared).await;
    let ambient = options.ambient;
    let actor =
        ConsensusApply::new(raft.clone(), Arc::clone(&shared), snapshots.clone(), options.snapshots, ambient.clone())
            .start();
    let permits = proposal_permits();
    Ok(MetaHandle::new(Inner { group: options.group, actor, raft, shared, snapshots, mirror, permits, ambient }))
}

pub(super) async fn open_stores(options: &ReplicaOptions) -> Result<Stores, StartError> {
    let believed = believe(options).await?;
    let shared = settle(options, believed).await?;
    let (mirror, inbox) = mpsc::unbounded_channel();
    let snapshots = SnapshotStore::new(Arc::clone(&shared), mirror.clone());
    find_snapshot(&shared, &snapshots).await?;
    let (place, tables, applied) = find_tables(options, &shared).await?;
    let home = Arc::clone(&options.home);
    let machine = StateMachine::new(Arc::clone(&shared), snapshots.clone(), home, place, tables, applied);
    let progress = MirrorProgress::new(shared.drives().set.clone(), shared.index().sequence());
    let wanted = i64::try_from(options.copies_wanted).unwrap_or(i64::MAX);
    MIRROR_COPIES.with_label_values(&["wanted"]).set(wanted);
    tokio::spawn(Mirror::new(Arc::clone(&shared), snapshots.clone(), inbox, progress).run());
    let log = LogStore::new(Arc::clone(&shared), mirror.clone());
    Ok(Stores { shared, snapshots, mirror, log, machine })
}

async fn start_raft(options: &ReplicaOptions, store: LogStore, machine: StateMachine) -> Result<MetaRaft, StartError> {
    let failed = |error: String| StartError::Consensus(error);
    let config = Config {
        cluster_name: format!("meta-{}", options.group.0),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS_MIN,
        election_timeout_max: ELECTION_MS_MAX,
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        max_payload_entries: 64,
        ..Config::default()
    };
    let config = Arc::new(config.validate().map_err(|error| failed(error.to_string()))?);
    let own = raft_id(options.host);
    let raft: MetaRaft = Raft::<MetaGroup, StateMachine>::new(own, config, NoPeers, store, machine)
        .await
        .map_err(|error| failed(error.to_string()))?;
    if !raft.is_initialized().await.map_err(|error| failed(error.to_string()))? {
        let members = BTreeMap::from([(own, BasicNode { addr: options.address.clone() })]);
        raft.initialize(members).await.map_err(|error| failed(error.to_string()))?;
    }
    Ok(raft)
}

/// A host that is its group's only voter leads at once; with others, an election decides in its own time.
async fn lead_if_alone(raft: &MetaRaft, shared: &Arc<Shared>) {
    if raft.voter_ids().any(|voter| voter != *raft.node_id()) {
        return;
    }
    let lead = async {
        if !raft.is_leader() {
            let _ = raft.trigger().elect(false).await;
        }
        loop {
            confirm_sole_voter(raft, shared).await;
            if shared.sole_voter.is_confirmed() {
                break;
            }
            tokio::time::sleep(LEAD_POLL).await;
        }
    };
    if tokio::time::timeout(LEAD_PATIENCE, lead).await.is_err() {
        tracing::warn!("this host does not lead its metadata group yet");
    }
}
