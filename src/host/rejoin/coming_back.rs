//! Return of a host to its cluster under another id.

use crate::actors::membership::{FoundingBoard, JoinAskOf, join};
use crate::api::StartupProgress;
use crate::config::Config;
use crate::host::cluster::{ClusterError, Member, connect, member};
use crate::host::directories::{KEPT_BY_REJOIN, set_aside_all};
use crate::host::environment::Environment;
use crate::host::error::{HostError, RejoinError};
use crate::limits::NODES_OF_HOST_MAX;
use crate::net::HostIdentity;
use crate::storage::identity::{Founder, HostDrives, Rejoining, forget_records, keep_rejoining};
use crate::types::{HostId, NodeId};
use std::iter;

/// Rejoins the cluster: waits until the cluster has accepted the host under the id in `rejoining`, then gives the
/// drives that id. The host keeps the shards on its drives; its former metadata is set aside.
pub(in crate::host) async fn come_back_as_another(
    env: &Environment,
    config: &Config,
    host: HostDrives,
    rejoining: &Rejoining,
    progress: &StartupProgress,
) -> Result<Member, HostError> {
    let Some(cluster) = &config.cluster else { return Err(RejoinError::Alone.into()) };
    let Rejoining { from, to, why, .. } = rejoining;
    // A record that this start has found may not be durable yet: its writer may have been killed before it had synced it.
    keep_rejoining(&*env.disk, &host.usable_dirs(), rejoining)?;
    let (was, is) = (format!("{:016x}", from.0), format!("{:016x}", to.0));
    tracing::warn!(
        why,
        was,
        is,
        "this host comes back to its cluster as another member, with the shards of its drives, as soon as a majority of the voters without it has decided it; in a cluster of two hosts there is no such majority, and the other host has to be recovered first (sherd recover, docs/how-to/recovery.md)"
    );
    // The identity names no cluster yet: the metadata group may have been formed anew since this host was part of it.
    let identity = HostIdentity::new(*to, None, cluster.secret.as_bytes()).map_err(ClusterError::from)?;
    let connected = connect(env, cluster, &identity, FoundingBoard::formed(host.cluster))?;
    let own = Founder {
        name: cluster.name.clone(),
        host: *to,
        address: cluster.address.clone(),
        drives: u16::try_from(host.drives.len()).unwrap_or(u16::MAX),
        geometry: None,
        root_key: None,
    };
    let ids: Vec<HostId> = [*from].into_iter().chain(host.earlier.iter().rev().copied()).collect();
    let ask = JoinAskOf { own: &own, domain: cluster.domain.as_deref(), roles: config.roles, was: Some(&ids) };
    let comes_back = format!("this host comes back to its cluster as another member: {why}");
    let tell = |waits_for: Vec<String>| progress.set(iter::once(comes_back.clone()).chain(waits_for).collect());
    let welcomed = join(&connected.net.client, &ask, &connected.net.doors, tell).await;
    let welcomed = welcomed.map_err(ClusterError::from)?;
    let is_of_place = |node: NodeId| node.0 / NODES_OF_HOST_MAX == welcomed.first_node.0 / NODES_OF_HOST_MAX;
    if welcomed.cluster != host.cluster || !host.drives.iter().all(|drive| is_of_place(drive.node)) {
        return Err(ClusterError::AnotherCluster.into());
    }
    connected.net.book.learn(welcomed.hosts);
    let mut host = host.renamed(&*env.disk, *to, welcomed.recovery)?;
    identity.enter(host.cluster, host.recovery).map_err(ClusterError::from)?;
    set_aside_all(env, &mut host, KEPT_BY_REJOIN);
    let (disk, dirs) = (&*env.disk, host.usable_dirs());
    // A record that stays, and is whole, is harmless: it names an id that this host does not have any more.
    if let Err(error) = forget_records(disk, &dirs) {
        tracing::warn!(%error, "the record of the rejoining was not removed");
    }
    tracing::info!(was, is, "this host is taken into its cluster as another member");
    Ok(Member { rejoined: true, ..member(cluster, host, None, connected) })
}
