//! A simulated cluster: several hosts in one thread and in simulated time, over a network that fails by a seed, on
//! disks whose power is cut.

mod clock;
mod drawn;
mod history;
mod leading;
mod linearizable;
mod losses;
mod membership;
mod network;
mod received;
mod restored;
mod tables;

use super::home::MemoryHome;
use super::power::Simulated;
use super::{create_bucket, put};
use crate::actors::consensus::{
    Forming, GroupId, MetaError, MetaHandle, Offload, ReplicaDrive, ReplicaOptions, SnapshotPolicy, StartError, start,
};
use crate::actors::log::Threads;
use crate::ambient::Ambient;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::sim::SimDisk;
use crate::storage::meta::command::Reply;
use crate::storage::meta::snapshot::{TablesDigest, TablesHasher};
use crate::storage::wal::Durability;
use crate::types::{BucketId, ClusterId, HostId, NodeId};
use network::Network;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const DRIVES: u32 = 2;
const DRIVE: &str = "/drive";
const DISK_BYTES: u64 = 512 << 20;
/// The time within which a cluster with a majority must make progress.
const SOON: Duration = Duration::from_secs(30);

/// Runs a test in one thread, in simulated time.
fn simulate(world: impl Future<Output = ()>) {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().expect("a runtime")
    };
    actix::System::with_tokio_rt(runtime).block_on(world);
}

/// One host, running or not.
struct Host {
    disks: Vec<SimDisk>,
    home: Arc<MemoryHome>,
    forming: Forming,
    started: bool,
    running: Option<MetaHandle>,
    wall_ahead_ms: Arc<AtomicI64>,
    asleep_ms: Arc<AtomicU64>,
}

/// A copy of a host's drives as they were at some moment.
struct OlderCopy {
    disks: Vec<SimDisk>,
    home: Arc<MemoryHome>,
}

struct Cluster {
    seed: u64,
    ambient: Ambient,
    network: Arc<Network>,
    pool: BufferPool,
    hosts: BTreeMap<HostId, Host>,
    snapshot_log_bytes_min: u64,
    durability: Durability,
}

impl Cluster {
    /// Creates a cluster of founders 1 to `count`, none of them started.
    fn of(count: u64, seed: u64) -> Self {
        let ambient = Simulated::ambient(seed);
        let network = Network::new(ambient.clone());
        let founders: BTreeMap<HostId, String> = (1..=count).map(|id| (HostId(id), address(HostId(id)))).collect();
        let mut cluster = Self {
            seed,
            ambient,
            network,
            pool: BufferPool::new(1 << 20),
            hosts: BTreeMap::new(),
            snapshot_log_bytes_min: 64 << 20,
            durability: Durability::Strict,
        };
        for id in founders.keys() {
            cluster.add_host(*id, Forming::Founders(founders.clone()));
        }
        cluster
    }

    async fn started(count: u64, seed: u64) -> Self {
        let mut cluster = Self::of(count, seed);
        for id in cluster.ids() {
            cluster.start(id).await;
        }
        cluster
    }

    fn add_host(&mut self, id: HostId, forming: Forming) {
        let disks: Vec<SimDisk> = (0..DRIVES).map(|_| SimDisk::new(DISK_BYTES)).collect();
        for disk in disks.iter().map(SimDisk::handle) {
            disk.create_dir_all(Path::new(DRIVE)).expect("a fresh disk takes a directory");
            disk.sync_dir(Path::new("/")).expect("a fresh disk syncs");
        }
        self.hosts.insert(
            id,
            Host {
                disks,
                home: Arc::default(),
                forming,
                started: false,
                running: None,
                wall_ahead_ms: Arc::default(),
                asleep_ms: Arc::default(),
            },
        );
    }

    fn ids(&self) -> Vec<HostId> {
        self.hosts.keys().copied().collect()
    }

    fn running(&self) -> Vec<(HostId, MetaHandle)> {
        self.hosts.iter().filter_map(|(id, host)| Some((*id, host.running.clone()?))).collect()
    }

    fn at(&self, id: HostId) -> MetaHandle {
        self.hosts[&id].running.clone().expect("the host runs")
    }

    fn draw(&self, below: u64) -> u64 {
        self.network.draw(below)
    }

    async fn start(&mut self, id: HostId) {
        let started = self.try_start(id).await;
        started.unwrap_or_else(|error| panic!("seed {}: {id:?}: {error}", self.seed));
    }

    async fn try_start(&mut self, id: HostId) -> Result<(), StartError> {
        let way = self.network.join(id);
        let host = self.hosts.get_mut(&id).expect("a host of this cluster");
        let drive = |(node, disk): (u32, &SimDisk)| ReplicaDrive {
            node: NodeId(node),
            disk: disk.handle(),
            dir: PathBuf::from(DRIVE),
        };
        let options = ReplicaOptions {
            group: GroupId::default(),
            cluster: ClusterId(1),
            host: id,
            address: address(id),
            forming: host.forming.clone(),
            transport: Arc::clone(&way) as _,
            ambient: clock::skewed(&self.ambient, &host.wall_ahead_ms, &host.asleep_ms),
            drives: (1..).zip(&host.disks).map(drive).collect(),
            copies_wanted: DRIVES as usize,
            salvages: false,
            first_start: !host.started,
            home: Arc::clone(&host.home) as _,
            offload: Offload::InPlace,
            threads: Threads::Current,
            durability: self.durability,
            segment_bytes: 2 << 20,
            pool: self.pool.clone(),
            snapshots: SnapshotPolicy { log_bytes_min: self.snapshot_log_bytes_min },
        };
        let handle = start(options).await.inspect_err(|_| self.network.leave(id))?;
        host.started = true;
        host.running = Some(handle.clone());
        self.network.present(&way, handle);
        Ok(())
    }

    /// Kills a host, and cuts the power of its drives.
    fn kill(&mut self, id: HostId) {
        self.kill_with(id, SimDisk::power_cut);
    }

    /// Kills a host, and cuts the power of its drives, which lose all that was not synced.
    fn kill_to_what_was_synced(&mut self, id: HostId) {
        self.kill_with(id, SimDisk::power_cut_to_what_was_synced);
    }

    fn kill_with(&mut self, id: HostId, cut: impl Fn(&SimDisk, u64) -> SimDisk) {
        let seed = self.draw(u64::MAX);
        self.network.leave(id);
        let host = self.hosts.get_mut(&id).expect("a host of this cluster");
        host.disks = (0..).zip(&host.disks).map(|(nth, disk)| cut(disk, seed.wrapping_add(nth))).collect();
        host.home = Arc::new(host.home.power_cut(&*self.ambient.entropy));
        if let Some(handle) = host.running.take() {
            // The network and the disks are gone for the old process; its tasks only have to end.
            tokio::spawn(async move { handle.shutdown().await });
        }
    }

    /// Stops a host in order.
    async fn stop(&mut self, id: HostId) {
        let handle = self.hosts.get_mut(&id).expect("a host of this cluster").running.take().expect("the host runs");
        handle.shutdown().await;
        self.network.leave(id);
    }

    /// Copies the drives of a stopped host.
    fn copy_of(&mut self, id: HostId) -> OlderCopy {
        let ambient = self.ambient.clone();
        let host = self.hosts.get_mut(&id).expect("a host of this cluster");
        assert!(host.running.is_none(), "a host is copied while it is stopped");
        let disks = || host.disks.iter().map(|disk| disk.power_cut(0)).collect();
        let copy = OlderCopy { disks: disks(), home: Arc::new(host.home.power_cut(&*ambient.entropy)) };
        host.disks = disks();
        copy
    }

    /// Puts the drives of a stopped host back to this copy.
    fn restore(&mut self, id: HostId, copy: OlderCopy) {
        let host = self.hosts.get_mut(&id).expect("a host of this cluster");
        assert!(host.running.is_none(), "a host is restored while it is stopped");
        (host.disks, host.home) = (copy.disks, copy.home);
    }

    /// Waits until a majority follows one leader, and returns that leader.
    async fn leader(&self) -> HostId {
        let found = self.until("there is a leader", |cluster| cluster.leader_now().is_some());
        found.await;
        self.leader_now().expect("there was a leader just now")
    }

    fn leader_now(&self) -> Option<HostId> {
        let running = self.running();
        let leading = running.iter().filter(|(_, handle)| handle.status().is_leader);
        let (leader, handle) = leading.max_by_key(|(_, handle)| handle.status().term)?;
        let term = handle.status().term;
        let follows = |handle: &MetaHandle| handle.status().leader == Some(*leader) && handle.status().term == term;
        let followers = running.iter().filter(|(_, handle)| follows(handle)).count();
        (followers * 2 > handle.membership().voters.len()).then_some(*leader)
    }

    /// Returns a host that does not lead.
    async fn follower(&self) -> HostId {
        let leader = self.leader().await;
        self.running().into_iter().map(|(id, _)| id).find(|id| *id != leader).expect("there are several hosts")
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(SOON * 4, wait).await.is_err() {
            let all: Vec<_> = self.running().into_iter().map(|(id, handle)| (id, handle.status())).collect();
            panic!("seed {}: waited in vain until: {what}: {all:#?}", self.seed);
        }
    }

    /// Waits until all running hosts have applied the same entries.
    async fn until_even(&self) {
        self.until("all have applied the same", |cluster| {
            let applied: Vec<u64> = cluster.running().iter().map(|(_, handle)| handle.status().applied_index).collect();
            applied.iter().all(|index| Some(index) == applied.iter().max())
        })
        .await;
    }

    /// Checks that the replicas in service have applied the same entries up to the least applied index of them.
    fn check_replicas(&self) {
        let last = |handle: &MetaHandle| handle.inner.shared.history().last().map_or(0, |point| point.at.index);
        let taking_part: Vec<_> =
            self.running().into_iter().filter(|(_, handle)| handle.inner.shared.fault().is_none()).collect();
        let Some(common) = taking_part.iter().map(|(_, handle)| last(handle)).min() else { return };
        let point = |handle: &MetaHandle| handle.inner.shared.history().point(common);
        let known: Vec<_> = taking_part.iter().filter_map(|(id, handle)| Some((*id, point(handle)?))).collect();
        for pair in known.windows(2) {
            assert_eq!(pair[0].1, pair[1].1, "seed {}: {:?} and {:?}", self.seed, pair[0].0, pair[1].0);
        }
        self.check_tables(&taking_part);
    }

    /// Checks that replicas with the same applied index have the same tables.
    fn check_tables(&self, taking_part: &[(HostId, MetaHandle)]) {
        let mut by_index = BTreeMap::<u64, (HostId, TablesDigest)>::new();
        for (id, handle) in taking_part {
            let (Some(view), Some(last)) = (handle.local_view(), handle.inner.shared.history().last()) else {
                continue;
            };
            let digest = TablesHasher::new(view.kv).advance(usize::MAX).expect("readable").expect("at once");
            let (first, same) = *by_index.entry(last.at.index).or_insert((*id, digest));
            assert_eq!(digest, same, "seed {}: the tables of {first:?} and {id:?} after {last:?}", self.seed);
        }
    }

    /// Stops all hosts, in order.
    async fn end(mut self) {
        self.check_replicas();
        for id in self.ids() {
            if self.hosts[&id].running.is_some() {
                self.stop(id).await;
            }
        }
    }
}

fn address(id: HostId) -> String {
    format!("host-{}:9100", id.0)
}

/// Proposes a put until it is decided. Only for puts that may be made twice.
async fn put_until_done(meta: &MetaHandle, bucket: BucketId, key: &str, id: u128) {
    let began = Instant::now();
    loop {
        match meta.propose(put(bucket, key, id, &id.to_be_bytes())).await {
            Ok(Reply::ObjectPut { .. }) => return,
            Ok(other) => panic!("a put is never answered {other:?}"),
            Err(error) => assert!(began.elapsed() < SOON * 2, "in vain: {error}"),
        }
    }
}

/// Returns the id of the object under a key, as a host reads it.
async fn try_id_of(meta: &MetaHandle, bucket: BucketId, key: &str) -> Result<Option<u128>, MetaError> {
    let view = meta.read().await?;
    Ok(view.object(bucket, key).expect("the tables are readable").map(|object| object.manifest.id.0))
}

/// Returns the id of the object under a key, once the host can read.
async fn id_at(meta: &MetaHandle, bucket: BucketId, key: &str) -> Option<u128> {
    let began = Instant::now();
    loop {
        match try_id_of(meta, bucket, key).await {
            Ok(id) => return id,
            Err(error) => assert!(began.elapsed() < SOON * 2, "in vain: {error}"),
        }
    }
}

async fn bucket_of(cluster: &Cluster) -> BucketId {
    let leader = cluster.leader().await;
    create_bucket(&cluster.at(leader), "b").await
}
