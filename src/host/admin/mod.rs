//! The implementation of the admin API on this host: the state of the cluster as this host knows it, and orders for
//! healing, layout, leadership and more.

mod clock;
mod drives;
mod jobs;
mod layout;
mod metadata;
mod quota;
mod top;

use super::drives::BayDoor;
use super::safety::StopJudgement;
use super::status::HostStatus;
use crate::actors::consensus::{Agreement, Membership, MetaError};
use crate::actors::drives::health::HostState;
use crate::actors::growth::History;
use crate::actors::jobs::AllJobs;
use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::api::admin::{
    AdminError, AdminSource, BucketUsageJson, ChangeLayout, ChooseScrub, ClockJson, CountsJson, DriveAdded,
    DriveReplaced, GeometryJson, Guarantee, HealStatus, HostJson, HostRolesJson, HostStateJson, Info, LayoutChanged,
    LayoutJson, LeaderMoved, MetadataCopy, MetadataRole, NodeJson, Ordered, QuotaJson, ReplicaJson, ScrubStatus,
    SetQuota, ShardJson, ShardsPage, TopJson, UnknownDropped,
};
use crate::api::{DriveHealth, Health, HealthSource, StopSafety};
use crate::storage::kv::KvResult;
use crate::storage::meta::record::{BlobRef, HostRecord, NodeRecord, NodeState, RolesRecord};
use crate::storage::meta::view::MetaView;
use crate::storage::ring;
use crate::storage::stripe::BlobLayout;
use crate::types::{ClusterId, HostId, NodeId, RecoveryEpoch, Roles};
use std::collections::BTreeMap;

/// The number of blobs in one page of the list of shards.
const PAGE: usize = 512;

fn replica_shown((host, how): (HostId, Agreement)) -> ReplicaJson {
    let Agreement { same_through, differs_at, tables_differ_at } = how;
    ReplicaJson { host: shown(host), same_through, differs_at, tables_differ_at }
}

/// The source of the admin API's answers: this host, and its access to the others.
#[derive(Debug)]
pub(super) struct HostAdmin {
    pub status: HostStatus,
    pub cluster: ClusterId,
    pub recovery: RecoveryEpoch,
    pub host: HostId,
    pub context: ClusterContext,
    pub jobs: AllJobs,
    /// Sends orders to the task that replaces and adds drives of this host.
    pub door: BayDoor,
}

impl HealthSource for HostAdmin {
    fn health(&self) -> Health {
        self.status.health()
    }

    fn observe(&self) {
        self.status.observe();
    }
}

#[async_trait::async_trait]
impl AdminSource for HostAdmin {
    async fn info(&self) -> Result<Info, AdminError> {
        let look_up = self.look_up(|view| {
            let growth = History::of(view.document(&History::key())?.as_ref()).growth();
            Ok((known(view)?, view.counts()?, growth))
        });
        let (known, counts, growth) = look_up.await?;
        let metadata = self.status.metadata.status();
        let (geometry, health) = (self.status.context.geometry, self.health());
        let hosts = self.hosts(&known);
        Ok(Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: self.cluster.to_string(),
            host: shown(self.host),
            leader: metadata.leader.map(shown),
            term: metadata.term,
            geometry: GeometryJson { data: geometry.data, parity: geometry.parity },
            guarantee: guarantee(&self.status.guarantee()),
            health: health.verdict(),
            safety: health.safety,
            hosts,
            drives: self.status.all_drives(),
            capacity: self.status.capacity(),
            forecast: self.status.forecast(growth),
            counts: CountsJson {
                buckets: counts.buckets,
                objects: counts.objects,
                uploads: counts.uploads,
                blobs: counts.blobs,
            },
            applied: metadata.applied_index,
            replicas: metadata.replicas.into_iter().map(replica_shown).collect(),
        })
    }

    async fn layout(&self) -> Result<LayoutJson, AdminError> {
        let (known, layout, held) = self.look_up(|view| Ok((known(view)?, view.layout()?, view.held()?))).await?;
        let names = self.names(&known);
        let health = self.context.health.current();
        let node = |record: &NodeRecord| NodeJson {
            node: record.id.0,
            host: shown(record.host),
            host_name: names.get(&record.host).cloned().unwrap_or_else(|| shown(record.host)),
            domain: known.host(record.host).and_then(|host| host.domain.clone()),
            weight: record.weight,
            draining: record.state == NodeState::Draining,
            out_of_service: health.why_not(record.id).map(str::to_owned),
            incarnation: record.incarnation.to_string(),
            shards: held.nodes.get(&record.id).map_or(0, |held| held.placed),
            garbage: held.nodes.get(&record.id).map_or(0, |held| held.garbage),
            leftovers: held.nodes.get(&record.id).map_or(0, |held| held.leftovers),
        };
        let nodes = known.nodes.iter().map(node).collect();
        let (moving, moves) = self.all_moves(&known, layout.epoch.0).await;
        Ok(LayoutJson { epoch: layout.epoch.0, nodes, hosts: known.hosts_and_roles(), moving, moves })
    }

    async fn change_layout(&self, change: ChangeLayout) -> Result<LayoutChanged, AdminError> {
        self.change_the_layout(change).await
    }

    async fn heal_status(&self, host: Option<&str>) -> Result<HealStatus, AdminError> {
        self.all_healing(host).await
    }

    async fn start_heal(&self, host: Option<&str>) -> Result<Ordered, AdminError> {
        self.order_heal(host).await
    }

    async fn safe_to_stop(&self, host: &str) -> Result<StopSafety, AdminError> {
        let names = self.names(&self.look_up(known).await?);
        let named = names.iter().find(|(id, name)| *name == host || shown(**id) == host).map(|(id, _)| *id);
        let id = named.ok_or_else(|| AdminError::Refused(format!("there is no host {host:?}")))?;
        let StopJudgement { safe, why } = self.status.ask_and_judge_stop(id).await;
        Ok(StopSafety { host: names.get(&id).cloned().unwrap_or_else(|| shown(id)), safe, why })
    }

    async fn add_drive(&self, directory: &str) -> Result<DriveAdded, AdminError> {
        self.door.add(directory.to_owned()).await
    }

    async fn replace_drive(&self, node: u32) -> Result<DriveReplaced, AdminError> {
        self.replace_own_drive(NodeId(node)).await
    }

    async fn scrub_status(&self, host: Option<&str>) -> Result<ScrubStatus, AdminError> {
        self.all_scrub(host).await
    }

    async fn start_scrub(&self, chosen: ChooseScrub) -> Result<Ordered, AdminError> {
        self.order_scrub(chosen, true).await
    }

    async fn stop_scrub(&self, chosen: ChooseScrub) -> Result<Ordered, AdminError> {
        self.order_scrub(chosen, false).await
    }

    async fn top(&self, host: Option<&str>) -> Result<TopJson, AdminError> {
        self.all_traffic(host).await
    }

    async fn move_leader(&self, to: Option<String>) -> Result<LeaderMoved, AdminError> {
        let names = self.names(&self.look_up(known).await?);
        let membership = self.status.metadata.membership();
        self.status.ask_all().await;
        let to = next_leader(&membership, &names, to.as_deref(), |host| self.answers(host))?;
        tracing::info!(host = shown(to), "an administrator moves the lead");
        self.status.metadata.transfer_leadership(to).await.map_err(unavailable)?;
        Ok(LeaderMoved { leader: shown(to), name: names.get(&to).cloned().unwrap_or_else(|| shown(to)) })
    }

    async fn clock(&self) -> Result<ClockJson, AdminError> {
        self.clock_shown().await
    }

    async fn accept_clock(&self, time_ms: u64) -> Result<ClockJson, AdminError> {
        self.accept(time_ms).await
    }

    fn drives(&self) -> Vec<DriveHealth> {
        self.status.all_drives()
    }

    async fn buckets(&self) -> Result<Vec<BucketUsageJson>, AdminError> {
        self.all_buckets().await
    }

    async fn quota(&self, bucket: &str) -> Result<QuotaJson, AdminError> {
        self.quota_of(bucket).await
    }

    async fn set_quota(&self, bucket: &str, asked: SetQuota) -> Result<QuotaJson, AdminError> {
        self.set_quota_of(bucket, asked).await
    }

    async fn export_metadata(&self) -> Result<Box<dyn MetadataCopy>, AdminError> {
        self.copy_metadata().await
    }

    async fn drop_unknown_shards(&self) -> Result<UnknownDropped, AdminError> {
        self.give_up_unknown().await
    }

    async fn shards(&self, cursor: Option<Vec<u8>>) -> Result<ShardsPage, AdminError> {
        let (blobs, next) = self.look_up(move |view| view.blobs(cursor, PAGE)).await?;
        let mut shards = Vec::new();
        for blob in &blobs {
            shards.extend(shards_of(blob)?);
        }
        Ok(ShardsPage { shards, next })
    }
}

impl HostAdmin {
    async fn look_up<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&MetaView) -> KvResult<T> + Send + 'static,
    ) -> Result<T, AdminError> {
        self.context.look_up(ask).await.map_err(|error: UpkeepError| AdminError::Unavailable(error.to_string()))
    }

    /// Returns every host that is registered, has a node, or is a member of the group.
    fn hosts(&self, known: &Registered) -> Vec<HostJson> {
        let membership = self.status.metadata.membership();
        let host = |(id, name): (&HostId, &String)| {
            let (record, metadata) = (known.host(*id), metadata_role(&membership, *id));
            let nodes: Vec<u32> = known.nodes.iter().filter(|node| node.host == *id).map(|node| node.id.0).collect();
            // The roles of an unregistered host are inferred from its nodes and its part in the group.
            let seen = Roles { gateway: false, meta: metadata != MetadataRole::None, storage: !nodes.is_empty() };
            let roles = record.map_or(seen, |host| known.roles.of(host.id));
            HostJson {
                id: shown(*id),
                name: name.clone(),
                address: record.map(|host| host.address.clone()),
                domain: record.and_then(|host| host.domain.clone()),
                roles: names_of(roles),
                metadata,
                nodes,
                state: state_shown(self.status.host(*id).as_ref()),
                version: self.status.host(*id).map(|state| state.version).filter(|version| !version.is_empty()),
                uptime_seconds: self.uptime(*id),
            }
        };
        self.names(known).iter().map(host).collect()
    }

    fn uptime(&self, host: HostId) -> Option<u64> {
        let started = self.status.host(host).filter(|state| state.answers)?.started;
        let now = self.context.ambient.clock.unix_ms();
        Some(now.0.saturating_sub(started.0) / 1000)
    }

    /// Returns the names of the hosts.
    fn names(&self, known: &Registered) -> BTreeMap<HostId, String> {
        let membership = self.status.metadata.membership();
        let registered = known.hosts.iter().map(|host| host.id);
        let hosts = registered.chain(known.nodes.iter().map(|node| node.host)).chain(membership.addresses.into_keys());
        let name = |host| known.host(host).map_or_else(|| shown(host), |record| record.name.clone());
        hosts.map(|host| (host, name(host))).collect()
    }
}

/// The registered hosts and nodes.
struct Registered {
    hosts: Vec<HostRecord>,
    nodes: Vec<NodeRecord>,
    roles: RolesRecord,
}

impl Registered {
    fn host(&self, id: HostId) -> Option<&HostRecord> {
        self.hosts.iter().find(|host| host.id == id)
    }

    fn hosts_and_roles(&self) -> Vec<HostRolesJson> {
        let told = |host: &HostRecord| HostRolesJson {
            host: shown(host.id),
            name: host.name.clone(),
            domain: host.domain.clone(),
            roles: names_of(self.roles.of(host.id)),
        };
        self.hosts.iter().map(told).collect()
    }
}

fn state_shown(state: Option<&HostState>) -> HostStateJson {
    match state {
        None => HostStateJson::Unknown,
        Some(HostState { answers: false, .. }) => HostStateJson::Down,
        Some(HostState { stopping: true, .. }) => HostStateJson::Stopping,
        Some(_) => HostStateJson::Up,
    }
}

fn names_of(roles: Roles) -> Vec<String> {
    roles.names().map(str::to_owned).collect()
}

fn known(view: &MetaView) -> KvResult<Registered> {
    Ok(Registered { hosts: view.hosts()?, nodes: view.nodes()?, roles: view.roles()? })
}

/// Returns the host that is to lead: the one that is named, or a voter that answers and does not lead now. While the
/// lead is handed over nothing is decided, so a host that does not answer is refused.
fn next_leader(
    membership: &Membership,
    names: &BTreeMap<HostId, String>,
    to: Option<&str>,
    answers: impl Fn(HostId) -> bool,
) -> Result<HostId, AdminError> {
    let Some(to) = to else {
        let mut others = membership.voters.iter().copied().filter(|voter| Some(*voter) != membership.leader);
        let up = others.find(|voter| answers(*voter));
        return up.ok_or_else(|| AdminError::Refused("there is no other voter that answers, to lead".to_owned()));
    };
    let named = names.iter().find(|(id, name)| *name == to || shown(**id) == to).map(|(id, _)| *id);
    let host = named.ok_or_else(|| AdminError::Refused(format!("there is no host {to:?}")))?;
    if !membership.voters.contains(&host) {
        return Err(AdminError::Refused(format!("host {to:?} is not a voter, so it cannot lead")));
    }
    if !answers(host) {
        return Err(AdminError::Refused(format!("host {to:?} does not answer, so it cannot lead")));
    }
    Ok(host)
}

fn metadata_role(membership: &Membership, host: HostId) -> MetadataRole {
    if membership.leader == Some(host) {
        MetadataRole::Leader
    } else if membership.voters.contains(&host) {
        MetadataRole::Voter
    } else if membership.learners.contains(&host) {
        MetadataRole::Learner
    } else {
        MetadataRole::None
    }
}

fn shards_of(blob: &BlobRef) -> Result<Vec<ShardJson>, AdminError> {
    let layout = BlobLayout::new(blob.geometry, blob.size_bytes).map_err(|error| {
        AdminError::Unavailable(format!("the metadata row of blob {} is invalid: {error}", blob.id))
    })?;
    let (id, chunks) = (blob.id.to_string(), layout.stripes());
    let placed = blob.placement.iter().zip(0u8..);
    Ok(placed.map(|(node, shard)| ShardJson { blob: id.clone(), shard, node: node.0, chunks }).collect())
}

fn guarantee(ring: &ring::Guarantee) -> Guarantee {
    Guarantee {
        domains: ring.has_domains.then_some(ring.domains),
        hosts: ring.hosts,
        drives: ring.drives,
        hosts_down_for_writes: ring.hosts_down_for_writes,
        words: ring.to_string(),
    }
}

fn shown(host: HostId) -> String {
    format!("{:016x}", host.0)
}

fn unavailable(error: MetaError) -> AdminError {
    AdminError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{metadata_role, next_leader, shards_of};
    use crate::actors::consensus::Membership;
    use crate::api::admin::MetadataRole;
    use crate::storage::meta::record::BlobRef;
    use crate::types::{BlobId, Geometry, HostId, NodeId};
    use std::collections::{BTreeMap, BTreeSet};

    fn group() -> (Membership, BTreeMap<HostId, String>) {
        let membership = Membership {
            voters: BTreeSet::from([HostId(1), HostId(2)]),
            learners: BTreeSet::from([HostId(3)]),
            leader: Some(HostId(1)),
            ..Membership::default()
        };
        let names = [(1, "a"), (2, "b"), (3, "c"), (4, "d")].map(|(id, name)| (HostId(id), name.to_owned()));
        (membership, names.into())
    }

    #[test]
    fn the_lead_goes_to_the_named_voter_or_to_any_other_voter() {
        let (membership, names) = group();
        assert_eq!(next_leader(&membership, &names, None, |_| true), Ok(HostId(2)));
        assert_eq!(next_leader(&membership, &names, Some("b"), |_| true), Ok(HostId(2)));
        assert_eq!(next_leader(&membership, &names, Some("0000000000000001"), |_| true), Ok(HostId(1)));
        assert!(next_leader(&membership, &names, Some("c"), |_| true).is_err(), "a learner");
        assert!(next_leader(&membership, &names, Some("x"), |_| true).is_err(), "unknown");
        assert!(next_leader(&membership, &names, None, |_| false).is_err(), "nobody else answers");
        assert!(next_leader(&membership, &names, Some("b"), |_| false).is_err(), "it does not answer");
        let alone = Membership { voters: BTreeSet::from([HostId(1)]), ..membership };
        assert!(next_leader(&alone, &names, None, |_| true).is_err(), "nobody else votes");
    }

    #[test]
    fn the_metadata_role_of_a_host_follows_from_the_membership() {
        let (membership, _) = group();
        let roles = [1, 2, 3, 4].map(|host| metadata_role(&membership, HostId(host)));
        assert_eq!(roles, [MetadataRole::Leader, MetadataRole::Voter, MetadataRole::Learner, MetadataRole::None]);
    }

    #[test]
    fn a_blob_has_a_line_for_each_shard_with_a_chunk_for_each_stripe() {
        let blob = BlobRef {
            id: BlobId(7),
            size_bytes: 3 * 2 * 4096,
            geometry: Geometry { data: 2, parity: 1, chunk_size_bytes: 4096 },
            placement: vec![NodeId(5), NodeId(0), NodeId(5)],
        };
        let shards = shards_of(&blob).expect("a sensible row");
        let lines: Vec<_> = shards.iter().map(|shard| (shard.shard, shard.node, shard.chunks)).collect();
        assert_eq!(lines, [(0, 5, 3), (1, 0, 3), (2, 5, 3)]);
        assert_eq!(shards[0].blob, format!("{:032x}", 7));
    }
}
