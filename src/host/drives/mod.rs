//! The drives of a host: opened all at once, watched, and kept in order.

mod adding;
mod bay;
mod orders;
mod replacing;

pub(super) use bay::DriveBay;
pub(super) use orders::BayDoor;

use super::directories::shards_dir;
use super::environment::Environment;
use crate::actors::consensus::MetaHandle;
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{
    Drive, DriveMonitor, DriveOptions, FaultSink, FaultSource, OnLost, OpenDrives, OpenedDrive, UserLoad, WatchedDrive,
    off_thread, open_drive,
};
use crate::actors::growth::{GrowthHandle, Sampler, Sampling, SamplingOptions};
use crate::actors::healer::{
    Census, CensusHandle, Healer, HealerHandle, Healing, HealingOptions, MetadataScrub, MetadataScrubOptions,
    MetadataScrubber, RedundancyScanner, Scrub, ScrubHandle, ScrubOptions, Scrubber,
};
use crate::actors::log::Threads;
use crate::actors::mover::{Mover, MoverHandle, Moving, MovingOptions};
use crate::actors::upkeep::{
    Background, ClusterContext, Compaction, CompactionContext, CompactionOptions, Compactor, Fencer, Fencing,
    FencingOptions, Prober, Probing, Reclaimer, Reclamation, ReclamationOptions, Reindexer, Reindexing,
    ReindexingOptions, Stop,
};
use crate::metrics;
use crate::storage::identity::{self, DriveState, HostDrives, read_incarnation};
use crate::storage::kv::fjall::TableMemory;
use crate::storage::wal::LogOptions;
use crate::types::NodeId;
use actix::{Actor, Addr};
use futures::future::join_all;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A drive that is still being opened is named so often.
const SLOW_NAMED_EVERY: Duration = Duration::from_secs(10);
/// The cache of all indices of a host together.
const INDEX_CACHE_BYTES: u64 = 32 << 20;

/// Returns the size of new segments. A drive whose size cannot be queried counts as a small one.
fn segment_bytes(env: &Environment, drive: &identity::Drive) -> u32 {
    let space = env.disk.space(&drive.dir);
    env.scale.shard_segment_bytes_of(space.map_or(0, |space| space.total_bytes))
}

/// Warns of drives that share a file system, since they are lost together: intended on a laptop, a mistake in
/// production.
fn tell_of_shared_file_systems(env: &Environment, drives: &[identity::Drive]) {
    let mut dirs: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for drive in drives.iter().filter(|drive| !matches!(drive.state, DriveState::Lost { .. })) {
        let file_system = env.disk.space(&drive.dir).map_or(0, |space| space.file_system);
        dirs.entry(file_system).or_default().push(drive.dir.display().to_string());
    }
    for (_, dirs) in dirs.iter().filter(|(file_system, dirs)| **file_system != 0 && dirs.len() > 1) {
        let dirs = dirs.join(", ");
        tracing::warn!(dirs, "these drives are directories of one file system: what loses it loses them all");
    }
}

/// Returns the directories of other drives that are on the file system of this one.
fn shares_file_system(env: &Environment, drives: &[identity::Drive], of: &identity::Drive) -> Vec<String> {
    let file_system = |drive: &identity::Drive| env.disk.space(&drive.dir).map_or(0, |space| space.file_system);
    let own = file_system(of);
    let others = drives.iter().filter(|drive| own != 0 && drive.node != of.node && file_system(drive) == own);
    others.map(|drive| drive.dir.display().to_string()).collect()
}

/// Names a drive that is not open after some time, for as long as that takes: it is large, slow, or hangs.
async fn named_while_slow<T>(drive: &identity::Drive, opening: impl Future<Output = T>) -> T {
    tokio::pin!(opening);
    loop {
        match timeout(SLOW_NAMED_EVERY, &mut opening).await {
            Ok(opened) => return opened,
            Err(_) => {
                let (node, dir) = (drive.node, drive.dir.display());
                tracing::warn!(%node, %dir, "this drive is still being opened: its log is read, and its index made anew where it is lost; if this does not end, see the kernel log: the drive may hang");
            }
        }
    }
}

/// Opens one of so many drives, whose log does not run yet; an error says why it cannot be opened.
async fn open_one(
    env: &Environment,
    (host, drives): (&HostDrives, usize),
    drive: &identity::Drive,
) -> Result<OpenedDrive, String> {
    if let DriveState::Lost { why } = &drive.state {
        return Err(why.clone());
    }
    let cache_bytes = INDEX_CACHE_BYTES / drives.max(1) as u64;
    let log = LogOptions {
        durability: env.durability,
        segment_bytes: segment_bytes(env, drive),
        open_files: env.open_segments.share(),
        ..LogOptions::shards(shards_dir(drive), host.cluster, drive.node, env.ambient.clone(), env.buffers.clone())
    };
    let options = DriveOptions {
        node: drive.node,
        disk: Arc::clone(&env.disk),
        log,
        index_dir: drive.dir.join("index"),
        index_memory: TableMemory { cache_bytes, memtable_bytes: env.scale.memtable_bytes },
    };
    let opening = off_thread(&env.threads, move || open_drive(&options));
    match named_while_slow(drive, opening).await {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(stopped) => Err(stopped.to_string()),
    }
}

/// Opens every drive that is there; the others, and those that cannot be opened, are out of service with the reason.
pub(super) async fn open(env: &Environment, host: &HostDrives, health: &HealthBoard) -> OpenDrives {
    tell_of_shared_file_systems(env, &host.drives);
    let drives = OpenDrives::default();
    let opened = join_all(host.drives.iter().map(|drive| open_one(env, (host, host.drives.len()), drive))).await;
    for (drive, opened) in host.drives.iter().zip(opened) {
        match opened {
            Ok(opened) => drives.put(opened.start(Threads::Own)),
            Err(why) => {
                if !matches!(drive.state, DriveState::Lost { .. }) {
                    let (node, dir) = (drive.node, drive.dir.display());
                    tracing::error!(%node, %dir, why, "drive cannot be opened; going on without it");
                }
                health.take_out(drive.node, &why);
                // Nobody watches it, and an alert can only see a series that is there.
                metrics::DRIVE_UP.with_label_values(&[&drive.node.to_string()]).set(0);
            }
        }
    }
    drives
}

/// Makes the monitor, which does not run yet.
pub(super) fn watch(
    env: &Environment,
    host: &HostDrives,
    drives: &OpenDrives,
    health: &HealthBoard,
    metadata: &MetaHandle,
) -> DriveMonitor {
    let watched = host.drives.iter().filter_map(|known| Some(watched(env, known, &drives.get(known.node)?)));
    let metadata = metadata.clone();
    let on_lost: OnLost = Arc::new(move |node, _| metadata.drive_lost(node));
    DriveMonitor::new(watched, Arc::new(read_incarnation), health.clone(), env.ambient.clone(), on_lost)
}

fn watched(env: &Environment, known: &identity::Drive, drive: &Drive) -> WatchedDrive {
    WatchedDrive {
        node: drive.node,
        dir: known.dir.clone(),
        disk: Arc::clone(&env.disk),
        incarnation: known.incarnation,
        log: drive.log.clone(),
        index: drive.index.clone(),
    }
}

/// The background work on one drive, under way.
pub(super) struct DriveChores {
    compactor: Addr<Compactor>,
    scrubber: Addr<Scrubber>,
    reindexer: Addr<Reindexer>,
}

impl DriveChores {
    /// Stops the work, once its steps under way have ended.
    pub async fn stop(&self) {
        // One that has stopped already does not answer.
        let _ = tokio::join!(self.compactor.send(Stop), self.scrubber.send(Stop), self.reindexer.send(Stop));
    }
}

/// Starts the background work on drives.
#[derive(Clone)]
pub(super) struct DriveWork {
    env: Environment,
    health: HealthBoard,
    faults: FaultSink,
    load: UserLoad,
    scrub: ScrubHandle,
    scrub_options: ScrubOptions,
    healing: HealerHandle,
}

impl DriveWork {
    fn context(&self) -> CompactionContext {
        CompactionContext {
            threads: Arc::clone(&self.env.threads),
            health: self.health.clone(),
            faults: self.faults.clone(),
            load: self.load.clone(),
            ambient: self.env.ambient.clone(),
        }
    }

    /// Call it inside the main actix system.
    fn start(&self, drive: &Drive) -> DriveChores {
        let options = CompactionOptions {
            idle: self.env.scale.upkeep_idle,
            persist_every: self.env.scale.index_persist_every,
            ..CompactionOptions::for_segments_of(drive.log.segment_bytes().into())
        };
        let compaction = Compaction::new(drive.clone(), self.context(), options);
        let scrub = Scrub::new(drive.clone(), self.context(), self.scrub_options, self.scrub.clone());
        let reindexing = ReindexingOptions { idle: self.env.scale.upkeep_idle, ..ReindexingOptions::default() };
        let comparer = Arc::new(self.healing.clone());
        let reindexing = Reindexing::new(drive.clone(), self.context(), comparer, reindexing);
        DriveChores {
            compactor: Background::new(compaction).start(),
            scrubber: Background::new(scrub).start(),
            reindexer: Background::new(reindexing).start(),
        }
    }
}

/// Work in the background, under way.
pub(super) struct Chores {
    pub drives: BTreeMap<NodeId, DriveChores>,
    pub reclaimer: Addr<Reclaimer>,
    pub fencer: Addr<Fencer>,
    pub healer: Addr<Healer>,
    pub prober: Addr<Prober>,
    pub mover: Addr<Mover>,
    pub metadata_scrubber: Addr<MetadataScrubber>,
    pub census: Addr<RedundancyScanner>,
    pub sampler: Addr<Sampler>,
}

/// The handles of the chores.
pub(super) struct ChoreHandles {
    pub healing: HealerHandle,
    pub scrub: ScrubHandle,
    pub moving: MoverHandle,
    pub census: CensusHandle,
    pub growth: GrowthHandle,
}

/// Starts the chores.
pub(super) fn start_chores(
    env: &Environment,
    drives: &OpenDrives,
    cluster: &ClusterContext,
    faults: FaultSink,
    fault_source: FaultSource,
    scrub_options: ScrubOptions,
    metadata: &MetaHandle,
) -> (Chores, ChoreHandles, DriveWork) {
    let scrub = ScrubHandle::default();
    let (healing, handle) = Healing::new(cluster.clone(), fault_source, HealingOptions::default());
    let work = DriveWork {
        env: env.clone(),
        health: cluster.health.clone(),
        faults,
        load: cluster.load.clone(),
        scrub: scrub.clone(),
        scrub_options,
        healing: handle.clone(),
    };
    let of_drives = drives.all().iter().map(|drive| (drive.node, work.start(drive))).collect();
    let metadata_scrub = MetadataScrubOptions::every(scrub_options.interval);
    let metadata_scrub = MetadataScrub::new(metadata.clone(), work.context(), metadata_scrub, scrub.clone());
    let metadata_scrubber = Background::new(metadata_scrub).start();
    let reclamation = ReclamationOptions {
        grace: env.scale.reclaim_grace,
        idle: env.scale.upkeep_idle,
        ..ReclamationOptions::default()
    };
    let reclaimer = Background::new(Reclamation::new(cluster.clone(), reclamation)).start();
    let fencer = Background::new(Fencing::new(cluster.clone(), FencingOptions::default())).start();
    let prober = Background::new(Probing::new(cluster.clone())).start();
    let healer = Background::new(healing).start();
    let moving = MovingOptions {
        recheck: env.scale.move_recheck,
        grace: env.scale.leftover_grace,
        leftovers_every: env.scale.leftover_grace / 8,
        ..MovingOptions::default()
    };
    let (moving, move_handle) = Moving::new(cluster.clone(), cluster.host, moving);
    let mover = Background::new(moving).start();
    let (census, census_handle) = Census::new(cluster.clone());
    let census = Background::new(census).start();
    let (sampling, growth) = Sampling::new(cluster.clone(), SamplingOptions::default());
    let sampler = Background::new(sampling).start();
    let handles = ChoreHandles { healing: handle, scrub, moving: move_handle, census: census_handle, growth };
    let drives = of_drives;
    let chores = Chores { drives, reclaimer, fencer, healer, prober, mover, metadata_scrubber, census, sampler };
    (chores, handles, work)
}
