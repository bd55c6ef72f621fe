//! The metadata replica of a host, on a thread of its own, and the registration of the host, its roles and its drives
//! in the metadata.

use super::cluster::Member;
use super::directories::{remember_unfilled, shards_dir};
use super::environment::Environment;
use crate::actors::consensus::{
    self, FjallHome, GroupId, MetaError, MetaHandle, Offload, ReplicaDrive, ReplicaOptions, Salvage, SalvageError,
    SnapshotPolicy, StartError,
};
use crate::actors::drives::ThreadsStopped;
use crate::actors::drives::health::Contents;
use crate::actors::log::Threads;
use crate::storage::identity::{Drive, DriveState};
use crate::storage::kv::fjall::TableMemory;
use crate::storage::kv::{KvError, KvResult};
use crate::storage::meta::command::{Change, Refusal, Reply};
use crate::storage::meta::record::{HostRecord, NodeRecord, NodeState};
use crate::storage::meta::view::MetaView;
use crate::storage::ring::{Layout, weight_of_capacity};
use crate::types::{HostId, NodeId, Roles, UnixMs};
use actix::Arbiter;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;

const TABLES_CACHE_BYTES: u64 = 32 << 20;
/// The most copies of the metadata log on a host that is not alone. With two, the host can lose a drive and need not
/// fetch the metadata from other hosts again.
const COPIES_BESIDE_OTHERS: usize = 2;

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
    #[error(
        "another host with the name {name:?}, at {address}, has taken the place of this one, whose data may be outdated; empty its directories to let it join anew"
    )]
    Replaced { name: String, by: HostId, address: String },
    #[error(
        "these directories are those of the host {own:?}, and {name:?} (SHERD_HOST) is another host, at {address}; start this one with SHERD_HOST={own}"
    )]
    NamedAsAnother { own: String, name: String, address: String },
    #[error("the host {name:?} was removed from its cluster; empty its directories to let it join anew")]
    Removed { name: String },
    #[error(
        "the host {name:?} is started without the role storage (SHERD_ROLES), but its drives are nodes {nodes} of the store; start it with that role, or drain and remove them first (sherd admin layout)"
    )]
    StillStores { name: String, nodes: String },
    #[error(
        "the drive in {dir} was removed from its cluster as node {node}, and that number belongs to another drive now; put that drive's directory in its place, or empty this one"
    )]
    NumberTaken { node: NodeId, dir: PathBuf },
    #[error(
        "the data directories (SHERD_DATA) are the store of a single host, which does not become a host of a cluster; start it without SHERD_HOSTS, SHERD_JOIN and SHERD_CLUSTER_SECRET, or give this host empty directories and copy the objects to the cluster through S3"
    )]
    WholeStore,
}

impl MetadataError {
    /// Returns true if a retry cannot succeed.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Replaced { .. }
            | Self::NamedAsAnother { .. }
            | Self::Removed { .. }
            | Self::StillStores { .. }
            | Self::NumberTaken { .. }
            | Self::WholeStore => true,
            Self::Start(_) | Self::Change(_) | Self::Tables(_) | Self::Stopped(_) => false,
        }
    }
}

/// A replica and its thread.
pub(super) struct Replica {
    pub handle: MetaHandle,
    pub arbiter: Arbiter,
}

/// Surveys metadata that does not start: what a salvage would keep, and what it would lose.
pub(super) async fn survey_salvage(env: &Environment, member: &Member) -> Result<Salvage, SalvageError> {
    consensus::survey_salvage(&replica_options(env, member)).await
}

pub(super) async fn start(env: &Environment, member: &Member) -> Result<Replica, MetadataError> {
    let replica = start_replica(replica_options(env, member)).await?;
    // Before any other host is taken in. The tables may be behind, so the registration looks again.
    if let Some(Ok(hosts)) = replica.handle.local_view().map(|view| view.hosts()) {
        check_founding(member, hosts.iter().find(|known| known.id == member.host.host))?;
    }
    Ok(replica)
}

/// Refuses to run the store of a single host as a host of a cluster: its geometry is for one host, and its root key may
/// be on its drives alone. `own`: the record of this host.
fn check_founding(member: &Member, own: Option<&HostRecord>) -> Result<(), MetadataError> {
    match own {
        Some(own) if member.net.is_some() && own.is_whole_store() => Err(MetadataError::WholeStore),
        _ => Ok(()),
    }
}

/// Starts the replica as `start` does, but cuts the metadata log at irreparable damage instead of refusing to start.
pub(super) async fn start_salvaging(env: &Environment, member: &Member) -> Result<Replica, MetadataError> {
    start_replica(ReplicaOptions { salvages: true, ..replica_options(env, member) }).await
}

pub(super) fn replica_options(env: &Environment, member: &Member) -> ReplicaOptions {
    let host = &member.host;
    let usable: Vec<&Drive> =
        host.drives.iter().filter(|drive| !matches!(drive.state, DriveState::Lost { .. })).collect();
    let drives = usable.iter().map(|drive| ReplicaDrive {
        node: drive.node,
        disk: Arc::clone(&env.disk),
        dir: drive.dir.clone(),
    });
    ReplicaOptions {
        group: GroupId::default(),
        cluster: host.cluster,
        host: host.host,
        address: member.address.clone(),
        forming: member.forming.clone(),
        transport: member.transport(),
        ambient: env.ambient.clone(),
        drives: drives.collect(),
        copies_wanted: copies_wanted(member),
        salvages: false,
        first_start: member.rejoined || !(host.has_started || usable.iter().any(|drive| has_shards(env, drive))),
        home: Arc::new(FjallHome {
            memory: TableMemory { cache_bytes: TABLES_CACHE_BYTES, memtable_bytes: env.scale.memtable_bytes },
        }),
        offload: Offload::Threads,
        threads: Threads::Own,
        durability: env.durability,
        segment_bytes: env.scale.meta_segment_bytes,
        pool: env.buffers.clone(),
        snapshots: SnapshotPolicy { log_bytes_min: env.scale.snapshot_log_bytes_min },
    }
}

async fn start_replica(options: ReplicaOptions) -> Result<Replica, MetadataError> {
    let arbiter = Arbiter::new();
    let (sender, started) = oneshot::channel();
    arbiter.spawn(async move {
        // The receiver is dropped only if the start of the host is abandoned.
        let _ = sender.send(consensus::start(options).await);
    });
    let handle = started.await.map_err(|_| ThreadsStopped)??;
    Ok(Replica { handle, arbiter })
}

/// The number of copies that a host keeps on the drives that it starts with.
pub(super) fn copies_wanted(member: &Member) -> usize {
    copies_max(member).min(member.host.drives.len())
}

/// The number of copies that a host keeps where it has drives for them.
pub(super) fn copies_max(member: &Member) -> usize {
    let alone = usize::from(member.host.parity) + 1;
    if member.net.is_some() { alone.min(COPIES_BESIDE_OTHERS) } else { alone }
}

/// Returns the number of copies of the metadata log that a host of a cluster keeps, whether it is on the network or
/// not.
pub(super) fn copies_beside_others(member: &Member) -> usize {
    copies_wanted(member).min(COPIES_BESIDE_OTHERS)
}

/// Returns whether the drive has a log of shards, which shows that the metadata was started on this host before.
fn has_shards(env: &Environment, drive: &Drive) -> bool {
    env.disk.exists(&shards_dir(drive)).unwrap_or(true)
}

/// Returns the registered hosts. If there are none, a founder first registers all founders in one change: if each
/// founder registered only itself, the `VoterKeeper` would take a late founder for a host that was removed.
async fn hosts_once_founded(metadata: &MetaHandle, founders: &[HostRecord]) -> Result<Vec<HostRecord>, MetadataError> {
    let hosts = metadata.read().await?.hosts()?;
    if !hosts.is_empty() || founders.is_empty() {
        return Ok(hosts);
    }
    match metadata.propose(Change::FoundHosts(founders.to_vec())).await? {
        Reply::Done => Ok(metadata.read().await?.hosts()?),
        other => Err(MetaError::Unavailable { why: format!("the founders are not registered: {other:?}") }.into()),
    }
}

/// Returns the error for a host whose record is refused because it was removed.
fn removed(member: &Member) -> MetadataError {
    MetadataError::Removed { name: member.name.clone() }
}

/// Registers the roles of this host. Called before the host itself is registered, so that a host without the role
/// `meta` is never made a voter.
async fn register_roles(metadata: &MetaHandle, member: &Member, roles: Roles) -> Result<(), MetadataError> {
    let (view, host) = (metadata.read().await?, member.host.host);
    if !roles.storage {
        check_stores_nothing(&view, member)?;
    }
    if view.roles()?.of(host) != roles {
        if !register(metadata, member, Change::SetHostRoles { host, roles }).await? {
            return Err(removed(member));
        }
        tracing::info!(%roles, "this host's roles are registered");
    }
    Ok(())
}

/// Refuses if a drive of this host is a registered node, under the host's present id or a former one.
fn check_stores_nothing(view: &MetaView, member: &Member) -> Result<(), MetadataError> {
    let own: Vec<NodeId> = member.host.drives.iter().map(|drive| drive.node).collect();
    let is_own = |node: &NodeRecord| node.host == member.host.host || own.contains(&node.id);
    let nodes: Vec<String> = view.nodes()?.into_iter().filter(is_own).map(|node| node.id.to_string()).collect();
    if nodes.is_empty() {
        return Ok(());
    }
    Err(MetadataError::StillStores { name: member.name.clone(), nodes: nodes.join(", ") })
}

/// Refuses if this host was removed from the cluster, with or without a successor of the same name.
fn check_stays(view: &MetaView, member: &Member) -> Result<(), MetadataError> {
    if !view.removed()?.hosts.contains(&member.host.host) {
        return Ok(());
    }
    let name = member.name.clone();
    Err(match view.hosts()?.into_iter().find(|other| other.name == name) {
        Some(HostRecord { id: by, address, .. }) => MetadataError::Replaced { name, by, address },
        None => MetadataError::Removed { name },
    })
}

/// Proposes a change of this host's records. Returns false if it was refused because one of its drives was just
/// removed.
async fn register(metadata: &MetaHandle, member: &Member, change: Change) -> Result<bool, MetadataError> {
    match metadata.propose(change).await? {
        Reply::Done => Ok(true),
        Reply::Refused(Refusal::Removed) => {
            check_stays(&metadata.read().await?, member)?;
            Ok(false)
        }
        other => Err(MetaError::Unavailable { why: format!("this host is not registered: {other:?}") }.into()),
    }
}

/// Returns the record of this host. `own`: the registered one.
fn record(member: &Member, own: Option<&HostRecord>) -> HostRecord {
    // The last host of a cluster that is started without the others' addresses stays a host of that cluster.
    if let Some(own) = own.filter(|own| member.net.is_none() && !own.is_whole_store()) {
        return own.clone();
    }
    HostRecord {
        id: member.host.host,
        name: member.name.clone(),
        address: member.address.clone(),
        domain: member.domain.clone(),
        joined: own.map_or(UnixMs(0), |own| own.joined),
        first_node: own.and_then(|own| own.first_node).or(member.first_node),
    }
}

/// Registers this host in the metadata with its name, address and roles.
pub(super) async fn register_host(metadata: &MetaHandle, member: &Member, roles: Roles) -> Result<(), MetadataError> {
    // No leader sends a removed host anything, but its own tables may already show the removal.
    if let Some(view) = metadata.local_view() {
        check_stays(&view, member)?;
    }
    let hosts = hosts_once_founded(metadata, &member.founders).await?;
    let own = hosts.iter().find(|known| known.id == member.host.host);
    check_founding(member, own)?;
    if let Some(other) = hosts.iter().find(|known| known.name == member.name && known.id != member.host.host) {
        let (name, by, address) = (member.name.clone(), other.id, other.address.clone());
        return Err(match own {
            Some(own) => MetadataError::NamedAsAnother { own: own.name.clone(), name, address },
            None => MetadataError::Replaced { name, by, address },
        });
    }
    check_stays(&metadata.read().await?, member)?;
    register_roles(metadata, member, roles).await?;
    let record = record(member, own);
    if own != Some(&record) && !register(metadata, member, Change::RegisterHost(record)).await? {
        return Err(removed(member));
    }
    Ok(())
}

/// Registers the drives that the metadata does not know, or knows with another incarnation or host; none without the
/// role `storage`. Returns the drives that may lack shards and must be compared with the metadata.
pub(super) async fn register_drives(
    env: &Environment,
    metadata: &MetaHandle,
    member: &Member,
    roles: Roles,
) -> Result<Vec<(NodeId, Contents)>, MetadataError> {
    let (view, host) = (metadata.read().await?, &member.host);
    let (known, removed) = (view.nodes()?, view.removed()?.nodes);
    let (mut returned, mut nodes) = (Vec::new(), Vec::new());
    for drive in host.drives.iter().filter(|_| roles.storage) {
        let record = known.iter().find(|record| record.id == drive.node);
        if removed.contains(&(drive.node, drive.incarnation)) {
            if record.is_some() {
                return Err(MetadataError::NumberTaken { node: drive.node, dir: drive.dir.clone() });
            }
            continue;
        }
        let lost = matches!(drive.state, DriveState::Lost { .. });
        let same = record.is_some_and(|record| record.incarnation == drive.incarnation && record.host == host.host);
        if !same && (record.is_none() || !lost) {
            let (id, incarnation, joined) = (drive.node, drive.incarnation, env.ambient.clock.unix_ms());
            let (weight, state) = (weight(env, drive), NodeState::Active);
            nodes.push(NodeRecord { id, host: host.host, incarnation, weight, state, joined });
        }
        if matches!(drive.state, DriveState::Replaced | DriveState::Returned) || (!same && record.is_some() && !lost) {
            let is_other = record.is_some_and(|record| record.incarnation != drive.incarnation);
            let is_empty = is_other || drive.state == DriveState::Replaced;
            if is_empty {
                remember_unfilled(env, drive).await;
            }
            returned.push((drive.node, if is_empty { Contents::Empty } else { Contents::Uncompared }));
        }
    }
    let is_awaited = view.layout()?.awaited.contains(&host.host);
    if (is_awaited || !nodes.is_empty())
        && !register(metadata, member, Change::RegisterNodes { host: host.host, nodes }).await?
    {
        return Err(MetaError::Unavailable { why: "a drive of this host was removed just now".to_owned() }.into());
    }
    Ok(returned)
}

/// Registers the new incarnation of a node of this host whose drive was replaced while the host runs.
pub(super) async fn register_replaced(
    env: &Environment,
    metadata: &MetaHandle,
    member: &Member,
    drive: &Drive,
) -> Result<(), MetadataError> {
    let host = member.host.host;
    let known = metadata.read().await?.nodes()?.into_iter().find(|record| record.id == drive.node);
    let removed = || MetaError::Unavailable { why: format!("drive {} was removed from the layout", drive.node) };
    let known = known.filter(|record| record.host == host).ok_or_else(removed)?;
    if known.incarnation == drive.incarnation {
        return Ok(());
    }
    let (incarnation, joined) = (drive.incarnation, env.ambient.clock.unix_ms());
    let node = NodeRecord { incarnation, weight: weight(env, drive), joined, ..known };
    match register(metadata, member, Change::RegisterNodes { host, nodes: vec![node] }).await? {
        true => Ok(()),
        false => Err(removed().into()),
    }
}

/// Tells the metadata of a further drive of this host.
pub(super) async fn register_added(
    env: &Environment,
    metadata: &MetaHandle,
    member: &Member,
    drive: &Drive,
) -> Result<(), MetadataError> {
    let host = member.host.host;
    let node = NodeRecord {
        id: drive.node,
        host,
        incarnation: drive.incarnation,
        weight: weight(env, drive),
        state: NodeState::Active,
        joined: env.ambient.clock.unix_ms(),
    };
    match register(metadata, member, Change::RegisterNodes { host, nodes: vec![node] }).await? {
        true => Ok(()),
        false => Err(MetaError::Unavailable { why: format!("drive {} was removed just now", drive.node) }.into()),
    }
}

fn weight(env: &Environment, drive: &Drive) -> u32 {
    weight_of_capacity(env.disk.space(&drive.dir).map_or(0, |space| space.total_bytes))
}

/// Returns the layout in a view of this host's tables.
pub(super) fn layout(view: &MetaView) -> KvResult<Layout> {
    Ok(view.layout()?.ring_layout(&view.hosts()?, &view.nodes()?))
}
