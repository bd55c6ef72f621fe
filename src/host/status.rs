//! The status of this host and of what it knows of the others: the source of health, metrics and the admin API's
//! answers.

use super::safety::{self, Facts, ReadCheck, StopJudgement, assess, judge_stop};
use crate::actors::consensus::{Agreement, MetaHandle};
use crate::actors::drives::DriveList;
use crate::actors::drives::health::{HostState, NodeHealth, NodeState, ReplicaState, SpaceLevel};
use crate::actors::gateway::StoreError;
use crate::actors::growth::{Growth, GrowthHandle};
use crate::actors::healer::{CensusHandle, absent};
use crate::actors::membership::{HostWatch, RejoinAsks};
use crate::actors::mover::MoverHandle;
use crate::actors::request::RequestContext;
use crate::actors::traffic::{Heavy, Traffic};
use crate::api::admin::{CapacityJson, ForecastJson};
use crate::api::{DriveHealth, Health, HealthSource, LossesJson, Problems};
use crate::limits::{HEAVY_SHOWN, SPACE_REFUSE_PERCENT};
use crate::metrics;
use crate::storage::disk::Space;
use crate::storage::ring::Guarantee;
use crate::types::{Geometry, HostId, NodeId, UnixMs};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug)]
pub(super) struct HostStatus {
    pub context: Arc<RequestContext>,
    pub metadata: MetaHandle,
    /// The drives of this host.
    pub own: DriveList,
    /// Directories with metadata that this host had under a former id, before it rejoined or was recovered.
    pub set_aside: Vec<PathBuf>,
    /// True once host and drives are registered.
    pub is_registered: Arc<AtomicBool>,
    pub census: CensusHandle,
    pub growth: GrowthHandle,
    /// Accounts and buckets with the most traffic.
    pub traffic: Traffic,
    pub moving: MoverHandle,
    /// The start of the process.
    pub started: UnixMs,
    pub reads: ReadCheck,
    pub problems: Problems,
    pub watch: HostWatch,
    /// Hosts that want to rejoin and cannot, because no majority of voters decides it.
    pub asks: RejoinAsks,
}

const REMOVED: &str = "this host was removed from its cluster (sherd admin layout remove): stop it; to let it join anew, empty its directories";

/// The end of the message about a drive whose copy of the metadata log failed.
const FAILED_COPY: &str = "; other drives hold the metadata. Look at this one (its space, the kernel log, SMART) and replace it if it is \
failing; a drive that was late or full is tried again after a minute, any other once it is replaced or this host is restarted";

/// The same, if it is the only drive of this host.
const FAILED_ONLY_COPY: &str = "; it is the only drive of this host. Put it right (its space, its mount, the kernel log, SMART), and restart the host";

const KEPT_UNKNOWN: &str = "the metadata was recovered (sherd recover), and shards that it does not know, or places on other drives, are kept \
on all drives; once you do not want to restore any lost object, give them up with sherd admin metadata drop-unknown";

impl HealthSource for HostStatus {
    fn health(&self) -> Health {
        let nodes = self.context.health.current();
        let metadata = self.why_no_metadata();
        let writable = self.context.check_writable();
        let ring = self.context.ring.current();
        let all = ring.nodes().len();
        let down = ring.nodes().iter().filter(|node| !nodes.in_service(node.id)).count();
        let (mut safety, words, guarantee, decides) = self.with_facts(|facts| {
            let safety = assess(facts);
            let words = safety::reasons(facts, &safety);
            (safety, words, safety::guarantee(facts), facts.stuck_leader().is_none())
        });
        if metadata.is_some() {
            let domains = safety.serves_without.domains.map(|_| 0);
            safety.serves_without = LossesJson { domains, ..LossesJson::default() };
        }
        let mut reasons = Vec::new();
        reasons.extend(metadata.as_ref().map(|why| format!("metadata: {why}")));
        reasons.extend(self.replicas_that_differ());
        let status = self.metadata.status();
        reasons.extend(status.damage);
        let advice = if self.own.kept(&nodes).len() > 1 { FAILED_COPY } else { FAILED_ONLY_COPY };
        reasons.extend(status.failed_copies.into_iter().map(|failed| format!("{failed}{advice}")));
        reasons.extend(words);
        reasons.extend(self.founders_awaited());
        reasons.extend(writable.as_ref().err().map(why_not_writable));
        reasons.extend(self.metadata.clock().status().troubles());
        reasons.extend(self.problems.all());
        reasons.extend(self.reads.keeps_unknown().then(|| KEPT_UNKNOWN.to_owned()));
        Health {
            reads: metadata.is_none() && all > 0 && reads_something(self.context.geometry, all, down),
            writes: metadata.is_none() && decides && writable.is_ok(),
            reasons,
            guarantee: guarantee.to_string(),
            safety,
            drives: self.own_drives(&nodes),
            set_aside: self.set_aside.iter().map(|path| path.display().to_string()).collect(),
        }
    }

    fn observe(&self) {
        let health = self.health();
        let safety = &health.safety;
        for (metric, value) in [
            (&metrics::HEALTH_LEVEL, u64::from(health.verdict().level())),
            (&metrics::ABSENT_DRIVES, safety.absent_drives.len() as u64),
            (&metrics::MISSING_SHARDS, safety.missing_shards.at_most),
            (&metrics::UNDER_REPLICATED_OBJECTS, safety.reduced.blobs.at_most),
            (&metrics::BLOBS_WITHOUT_SPARE, safety.without_spare.blobs.at_least),
            (&metrics::BLOBS_UNREADABLE, safety.unreadable.blobs.at_least),
            (&metrics::UNCOMPARED_SHARDS, safety.uncompared_shards),
        ] {
            metric.with_label_values::<&str>(&[]).set(as_gauge(value));
        }
        for (kind, survived, served) in [
            ("host", safety.survives_now.hosts, safety.serves_without.hosts),
            ("drive", safety.survives_now.drives, safety.serves_without.drives),
        ] {
            metrics::LOSSES_SURVIVED.with_label_values(&[kind]).set(as_gauge(survived as u64));
            metrics::LOSSES_SERVED.with_label_values(&[kind]).set(as_gauge(served as u64));
        }
        self.observe_growth();
        self.observe_traffic();
    }
}

impl HostStatus {
    fn observe_growth(&self) {
        let forecast = self.forecast(self.growth.growth());
        if let Some(bytes) = forecast.stored_bytes {
            metrics::STORED_BYTES.with_label_values::<&str>(&[]).set(as_gauge(bytes));
        }
        if let Some(per_day) = forecast.bytes_per_day {
            metrics::GROWTH.with_label_values::<&str>(&[]).set(per_day);
        }
        metrics::USABLE_BYTES.with_label_values::<&str>(&[]).set(as_gauge(self.capacity().usable_bytes));
        let full_in = forecast.full_in_seconds.map_or(-1, as_gauge);
        metrics::FULL_IN_SECONDS.with_label_values::<&str>(&[]).set(full_in);
    }

    /// Publishes the traffic of the accounts and buckets with the most traffic, and removes the series of all others.
    fn observe_traffic(&self) {
        let top = self.traffic.top();
        metrics::TOP_REQUESTS.reset();
        metrics::TOP_BYTES.reset();
        for (by, mut heavy) in [("account", top.accounts.five_minutes), ("bucket", top.buckets.five_minutes)] {
            let first = |heavy: &[Heavy]| heavy.iter().take(HEAVY_SHOWN).cloned().collect::<Vec<_>>();
            for Heavy { name, load } in first(&heavy) {
                metrics::TOP_REQUESTS.with_label_values(&[by, name.as_str()]).set(as_gauge(load.requests));
            }
            heavy.sort_by_key(|heavy| std::cmp::Reverse(heavy.load.bytes));
            for Heavy { name, load } in first(&heavy) {
                metrics::TOP_BYTES.with_label_values(&[by, name.as_str()]).set(as_gauge(load.bytes));
            }
        }
    }

    /// Returns the forecast of when the store will be full if it goes on growing at the present rate.
    pub(super) fn forecast(&self, growth: Growth) -> ForecastJson {
        ForecastJson {
            measured_seconds: growth.measured.as_secs(),
            stored_bytes: growth.stored_bytes,
            bytes_per_day: growth.bytes_per_day,
            full_in_seconds: growth.until(self.capacity().usable_bytes).map(|until| until.as_secs()),
        }
    }

    /// Collects the present facts for the safety assessment, and passes them to `judge`.
    fn with_facts<T>(&self, judge: impl FnOnce(&Facts<'_>) -> T) -> T {
        let (ring, health) = (self.context.ring.current(), self.context.health.current());
        let absent = absent(ring.nodes().iter().map(|node| node.id), &health, &self.context.suspects.current());
        let snapshot = self.census.snapshot();
        judge(&Facts {
            own: self.context.host,
            ring: &ring,
            geometry: self.context.geometry,
            health: &health,
            absent,
            availability: &self.context.availability(),
            voters: self.voters(&health),
            voters_change: !self.metadata.membership().settled,
            applied_before: self.reads.applied_before(),
            is_current: self.reads.is_current(snapshot.as_of, self.context.ambient.clock.monotonic()),
            snapshot,
            to_move: self.moving.status().shards_left,
        })
    }

    /// Returns the state of each voter's replica. A host that has not reported yet counts as having no copy of the log.
    fn voters(&self, health: &NodeHealth) -> BTreeMap<HostId, ReplicaState> {
        let own = self.context.host;
        let state = |host: HostId| match health.host(host) {
            _ if host == own => self.replica(health),
            Some(state) => state.replica.clone(),
            None => ReplicaState::default(),
        };
        self.metadata.membership().voters.into_iter().map(|host| (host, state(host))).collect()
    }

    fn replica(&self, health: &NodeHealth) -> ReplicaState {
        self.metadata.replica(health).on(self.own.kept(health).len())
    }

    /// Returns the losses that this cluster survives while nothing is missing.
    pub(super) fn guarantee(&self) -> Guarantee {
        self.with_facts(safety::guarantee)
    }

    /// Asks all other hosts for their state.
    pub(super) async fn ask_all(&self) {
        self.watch.ask_all().await;
    }

    /// Asks all other hosts for their state, and returns whether the host may be stopped. Anything unknown is a reason
    /// against it.
    pub(super) async fn ask_and_judge_stop(&self, host: HostId) -> StopJudgement {
        self.watch.ask_all().await;
        match self.why_no_metadata() {
            Some(why) => StopJudgement { safe: false, why: format!("this host cannot judge that: {why}") },
            None => self.with_facts(|facts| judge_stop(facts, host)),
        }
    }

    /// Returns the drives of this host, which health shows to anonymous callers.
    fn own_drives(&self, nodes: &NodeHealth) -> Vec<DriveHealth> {
        self.drives(nodes).into_iter().filter(|drive| self.own.has(NodeId(drive.node))).collect()
    }

    pub(super) fn all_drives(&self) -> Vec<DriveHealth> {
        self.drives(&self.context.health.current())
    }

    /// Returns the drives of this host, registered or not, and those of the others.
    fn drives(&self, nodes: &NodeHealth) -> Vec<DriveHealth> {
        let (ring, hosts) = (self.context.ring.current(), self.census.snapshot().hosts);
        let mut drives: BTreeMap<NodeId, HostId> = ring.nodes().iter().map(|node| (node.id, node.host)).collect();
        drives.extend(self.own.kept(nodes).iter().map(|drive| (drive.node, self.context.host)));
        let name = |host: HostId| hosts.get(&host).cloned().unwrap_or_else(|| format!("{:016x}", host.0));
        let dir = |node: NodeId, state: &NodeState| match self.own.get(node) {
            Some(drive) if drives[&node] == self.context.host => drive.dir.display().to_string(),
            _ => state.dir.clone(),
        };
        let shown = |(&node, &host): (&NodeId, &HostId)| {
            let state = nodes.state(node).cloned().unwrap_or_default();
            drive_health(node, name(host), dir(node, &state), &state)
        };
        drives.iter().map(shown).collect()
    }

    /// Returns the state of a host; for this one, the present state.
    pub(super) fn host(&self, host: HostId) -> Option<HostState> {
        if host != self.context.host {
            return self.context.health.current().host(host).cloned();
        }
        Some(HostState {
            answers: true,
            stopping: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            replica: self.replica(&self.context.health.current()),
            hears: self.context.health.current().hosts_up(),
        })
    }

    /// Returns the capacity of the drives that are in service. Drives of one file system share its space.
    pub(super) fn capacity(&self) -> CapacityJson {
        let (ring, health) = (self.context.ring.current(), self.context.health.current());
        let mut spaces: BTreeMap<NodeId, (Option<(HostId, u64)>, Space)> = BTreeMap::new();
        for node in ring.nodes() {
            if let Some(NodeState { out_of_service: None, space: Some(space), .. }) = health.state(node.id) {
                let shared = (space.file_system != 0).then_some((node.host, space.file_system));
                spaces.insert(node.id, (shared, *space));
            }
        }
        let mut shares: BTreeMap<(HostId, u64), u64> = BTreeMap::new();
        spaces.values().filter_map(|(shared, _)| *shared).for_each(|shared| *shares.entry(shared).or_default() += 1);
        let part = |(shared, space): &(Option<(HostId, u64)>, Space)| {
            let of = shared.map_or(1, |shared| shares[&shared]);
            Space { free_bytes: space.free_bytes / of, total_bytes: space.total_bytes / of, ..*space }
        };
        // A drive may lack room for a segment of its log, and be full, while more than the reserve is free.
        let takes_shards =
            |node| health.state(node).is_some_and(|it| it.level < SpaceLevel::Exhausted && it.unwritable.is_none());
        let usable = |node: NodeId| {
            let space = spaces.get(&node).map(part).filter(|_| takes_shards(node));
            space.map_or(0, |space| space.free_bytes.saturating_sub(space.total_bytes / 100 * SPACE_REFUSE_PERCENT))
        };
        CapacityJson {
            total_bytes: spaces.values().map(|space| part(space).total_bytes).sum(),
            free_bytes: spaces.values().map(|space| part(space).free_bytes).sum(),
            usable_bytes: ring.usable_bytes(self.context.geometry, usable),
        }
    }

    fn replicas_that_differ(&self) -> Vec<String> {
        let differing = |(host, how): (HostId, Agreement)| {
            let entries = how
                .differs_at
                .map(|index| format!("has applied other entries than this one, at entry {index} or before"));
            let tables =
                how.tables_differ_at.map(|index| format!("has other tables than this one after entry {index}"));
            Some(format!("metadata: host {:016x} {}", host.0, entries.or(tables)?))
        };
        self.metadata.status().replicas.into_iter().filter_map(differing).collect()
    }

    fn why_no_metadata(&self) -> Option<String> {
        let status = self.metadata.status();
        let stuck = || self.asks.without_majority(&self.metadata.membership());
        let leaderless = || status.leader.is_none().then(|| "no host leads, as far as this one knows".to_owned());
        let unknown = || {
            (!self.is_registered.load(Ordering::Acquire))
                .then(|| "this host is not registered in its cluster yet".to_owned())
        };
        let removed = self.census.snapshot().is_removed.then(|| REMOVED.to_owned());
        let broken = removed.or(status.out_of_service.clone()).or_else(stuck);
        let undecided = || leaderless().or_else(unknown).or_else(|| self.reads.failure());
        broken.or_else(|| undecided().map(|why| why + &self.why_no_majority().unwrap_or_default()))
    }

    /// Returns the founding hosts for whose drives all writes wait, and what to do.
    fn founders_awaited(&self) -> Option<String> {
        let view = self.metadata.local_view()?;
        let awaited = view.layout().ok()?.awaited;
        if awaited.is_empty() {
            return None;
        }
        let hosts = view.hosts().ok()?;
        let names: Vec<&str> =
            hosts.iter().filter(|host| awaited.contains(&host.id)).map(|host| host.name.as_str()).collect();
        let names = names.join(", ");
        Some(format!(
            "no object is stored before the drives of all founding hosts are known, and those of {names} are not: start each, or give one up that never comes (sherd admin layout remove NAME)"
        ))
    }

    /// Returns the end of a message about unavailable metadata, if too few voters answer.
    fn why_no_majority(&self) -> Option<String> {
        let (voters, health) = (self.metadata.membership().voters, self.context.health.current());
        let is_up = |host: HostId| host == self.context.host || health.host(host).is_some_and(HostState::is_up);
        let (all, up) = (voters.len(), voters.into_iter().filter(|host| is_up(*host)).count());
        let needed = all / 2 + 1;
        (up < needed).then(|| {
            format!(
                "; {up} of {all} hosts that vote on the metadata are there, and {needed} are needed: start the others, or, where they are lost for good, see sherd recover (docs/how-to/recovery.md)"
            )
        })
    }
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn why_not_writable(error: &StoreError) -> String {
    format!("writes are refused: {error}")
}

/// Returns whether some object whose bytes are on the drives (and not in the metadata) may be readable with `down` of
/// them down.
fn reads_something(geometry: Geometry, drives: usize, down: usize) -> bool {
    // With more shards than drives, a drive holds several shards of a blob.
    let a_drive = geometry.shards().div_ceil(drives.max(1));
    (drives - down) * a_drive >= usize::from(geometry.data)
}

fn drive_health(node: NodeId, host: String, path: String, state: &NodeState) -> DriveHealth {
    let space = state.space;
    DriveHealth {
        node: node.0,
        host,
        path,
        in_service: state.out_of_service.is_none(),
        free_bytes: space.map_or(0, |space| space.free_bytes),
        total_bytes: space.map_or(0, |space| space.total_bytes),
        file_system: space.map_or(0, |space| space.file_system),
        why: why(state),
    }
}

/// Returns the gravest trouble of a drive.
fn why(state: &NodeState) -> Option<String> {
    let other = || state.index_damaged.clone().or_else(|| shortage(state));
    state.out_of_service.clone().or_else(|| unwritable(state)).or_else(other)
}

fn unwritable(state: &NodeState) -> Option<String> {
    state.unwritable.as_ref().map(|why| format!("no data is written to it: {why}"))
}

fn shortage(state: &NodeState) -> Option<String> {
    match state.level {
        SpaceLevel::Ample => None,
        SpaceLevel::Low => Some("short of space".to_owned()),
        SpaceLevel::Exhausted => Some("out of space: no new data is written to it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::reads_something;
    use crate::types::Geometry;

    #[test]
    fn some_object_is_readable_while_enough_drives_for_its_shards_serve() {
        let two_and_two = Geometry { data: 2, parity: 2, chunk_size_bytes: 4096 };
        assert_eq!([0, 2, 3].map(|down| reads_something(two_and_two, 4, down)), [true, true, false]);
        assert!(reads_something(two_and_two, 8, 6), "two of eight may hold two shards of an object");
        assert!(reads_something(two_and_two, 2, 1), "each of two drives has two shards");
        assert!(!reads_something(Geometry { data: 1, parity: 0, chunk_size_bytes: 4096 }, 1, 1));
    }
}
