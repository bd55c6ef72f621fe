//! The drives of a host: opened all at once, watched, and kept in order.

use super::Surroundings;
use crate::actors::consensus::MetaHandle;
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{
    Drive, DriveMonitor, DriveOptions, FaultSink, FaultSource, OnLost, WatchedDrive, off_thread, open_drive,
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
    FencingOptions, Prober, Probing, Reclaimer, Reclamation, ReclamationOptions,
};
use crate::metrics;
use crate::storage::identity::{self, DriveState, HostDrives, read_incarnation};
use crate::storage::kv::fjall::TableMemory;
use crate::storage::wal::LogOptions;
use actix::{Actor, Addr};
use futures::future::join_all;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A drive that is still being opened is named so often.
const SLOW_NAMED_EVERY: Duration = Duration::from_secs(10);
/// The cache of all indices of a host together.
const INDEX_CACHE_BYTES: u64 = 32 << 20;

pub(super) fn shards_dir(drive: &identity::Drive) -> PathBuf {
    drive.dir.join("shards")
}

/// Returns the size of new segments. A drive whose size cannot be queried counts as a small one.
fn segment_bytes(around: &Surroundings, drive: &identity::Drive) -> u32 {
    let space = around.disk.space(&drive.dir);
    around.scale.shard_segment_bytes_of(space.map_or(0, |space| space.total_bytes))
}

/// Warns of drives that share a file system, since they are lost together: intended on a laptop, a mistake in
/// production.
fn tell_of_shared_file_systems(around: &Surroundings, host: &HostDrives) {
    let mut dirs: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for drive in host.drives.iter().filter(|drive| !matches!(drive.state, DriveState::Lost { .. })) {
        let file_system = around.disk.space(&drive.dir).map_or(0, |space| space.file_system);
        dirs.entry(file_system).or_default().push(drive.dir.display().to_string());
    }
    for (_, dirs) in dirs.iter().filter(|(file_system, dirs)| **file_system != 0 && dirs.len() > 1) {
        let dirs = dirs.join(", ");
        tracing::warn!(dirs, "these drives are directories of one file system: what loses it loses them all");
    }
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

/// Opens every drive that is there; the others, and those that cannot be opened, are out of service with the reason.
pub(super) async fn open(around: &Surroundings, host: &HostDrives, health: &HealthBoard) -> Vec<Drive> {
    tell_of_shared_file_systems(around, host);
    let cache_bytes = INDEX_CACHE_BYTES / host.drives.len().max(1) as u64;
    let index_memory = TableMemory { cache_bytes, memtable_bytes: around.scale.memtable_bytes };
    let openings = host.drives.iter().map(|drive| async move {
        if let DriveState::Lost { why } = &drive.state {
            return Err((drive, why.clone()));
        }
        let log = LogOptions {
            durability: around.durability,
            segment_bytes: segment_bytes(around, drive),
            ..LogOptions::shards(
                shards_dir(drive),
                host.cluster,
                drive.node,
                around.ambient.clone(),
                around.buffers.clone(),
            )
        };
        let options = DriveOptions {
            node: drive.node,
            disk: Arc::clone(&around.disk),
            log,
            index_dir: drive.dir.join("index"),
            index_memory,
        };
        let opening = off_thread(&around.threads, move || open_drive(&options));
        match named_while_slow(drive, opening).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => Err((drive, error.to_string())),
            Err(stopped) => Err((drive, stopped.to_string())),
        }
    });
    let mut drives = Vec::new();
    for opened in join_all(openings).await {
        match opened {
            Ok(opened) => drives.push(opened.start(Threads::Own)),
            Err((drive, why)) => {
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
    around: &Surroundings,
    host: &HostDrives,
    drives: &[Drive],
    health: &HealthBoard,
    metadata: &MetaHandle,
) -> DriveMonitor {
    let watched = drives.iter().filter_map(|drive| {
        let known = host.drives.iter().find(|known| known.node == drive.node)?;
        Some(WatchedDrive {
            node: drive.node,
            dir: known.dir.clone(),
            disk: Arc::clone(&around.disk),
            incarnation: known.incarnation,
            log: drive.log.clone(),
            index: drive.index.clone(),
        })
    });
    let metadata = metadata.clone();
    let on_lost: OnLost = Arc::new(move |node, _| metadata.drive_lost(node));
    DriveMonitor::new(watched, Arc::new(read_incarnation), health.clone(), around.ambient.clone(), on_lost)
}

/// Work in the background, under way.
pub(super) struct Chores {
    pub compactors: Vec<Addr<Compactor>>,
    pub reclaimer: Addr<Reclaimer>,
    pub fencer: Addr<Fencer>,
    pub healer: Addr<Healer>,
    pub prober: Addr<Prober>,
    pub scrubbers: Vec<Addr<Scrubber>>,
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
    around: &Surroundings,
    drives: &[Drive],
    cluster: &ClusterContext,
    faults: FaultSink,
    fault_source: FaultSource,
    scrub_options: ScrubOptions,
    metadata: &MetaHandle,
) -> (Chores, ChoreHandles) {
    let context = || CompactionContext {
        threads: Arc::clone(&around.threads),
        health: cluster.health.clone(),
        faults: faults.clone(),
        load: cluster.load.clone(),
        ambient: around.ambient.clone(),
    };
    let compactors = drives.iter().map(|drive| {
        let options = CompactionOptions {
            idle: around.scale.upkeep_idle,
            persist_every: around.scale.index_persist_every,
            ..CompactionOptions::for_segments_of(drive.log.segment_bytes().into())
        };
        Background::new(Compaction::new(drive.clone(), context(), options)).start()
    });
    let compactors = compactors.collect();
    let scrub = ScrubHandle::default();
    let scrubbers = drives
        .iter()
        .map(|drive| Background::new(Scrub::new(drive.clone(), context(), scrub_options, scrub.clone())).start());
    let scrubbers = scrubbers.collect();
    let metadata_scrub = MetadataScrubOptions::every(scrub_options.interval);
    let metadata_scrub = MetadataScrub::new(metadata.clone(), context(), metadata_scrub, scrub.clone());
    let metadata_scrubber = Background::new(metadata_scrub).start();
    let reclamation = ReclamationOptions {
        grace: around.scale.reclaim_grace,
        idle: around.scale.upkeep_idle,
        ..ReclamationOptions::default()
    };
    let reclaimer = Background::new(Reclamation::new(cluster.clone(), reclamation)).start();
    let fencer = Background::new(Fencing::new(cluster.clone(), FencingOptions::default())).start();
    let (healing, handle) = Healing::new(cluster.clone(), fault_source, HealingOptions::default());
    let prober = Background::new(Probing::new(cluster.clone())).start();
    let healer = Background::new(healing).start();
    let (moving, move_handle) = Moving::new(cluster.clone(), cluster.host, MovingOptions::default());
    let mover = Background::new(moving).start();
    let (census, census_handle) = Census::new(cluster.clone());
    let census = Background::new(census).start();
    let (sampling, growth) = Sampling::new(cluster.clone(), SamplingOptions::default());
    let sampler = Background::new(sampling).start();
    let handles = ChoreHandles { healing: handle, scrub, moving: move_handle, census: census_handle, growth };
    let chores =
        Chores { compactors, reclaimer, fencer, healer, prober, scrubbers, mover, metadata_scrubber, census, sampler };
    (chores, handles)
}
