//! The assembly of a simulated host from its open drives and its metadata replica.

use super::host::Host;
use super::{GEOMETRY, SHARD_SEGMENT_BYTES, World, dir, layout_of};
use crate::faults::{DriveThreads, Nodes, Weather};
use crate::stray::SlowMetadata;
use actix::Actor;
use sherd::actors::consensus::MetaHandle;
use sherd::actors::drives::health::HealthBoard;
use sherd::actors::drives::{
    Blocking, Drive, DriveMonitor, Inline, LocalNode, NodeContext, OnLost, UserLoad, WatchedDrive, fault_channel,
};
use sherd::actors::frontend::{AdmissionLimits, Admissions};
use sherd::actors::gateway::Gateway;
use sherd::actors::healer::{Healing, HealingOptions, Scrub, ScrubHandle, ScrubOptions};
use sherd::actors::mover::{Moving, MovingOptions};
use sherd::actors::peers::{ConnectionPool, HashRing, PipeDialer, ReadLatencies, Suspects};
use sherd::actors::request::{ActiveReads, ActiveWrites, InPlace, Metadata, RequestContext, RequestTimes};
use sherd::actors::upkeep::{
    ClusterContext, Compaction, CompactionContext, CompactionOptions, Fencing, FencingOptions, Pace, Probing,
    Reclamation, ReclamationOptions,
};
use sherd::net::NodeService;
use sherd::storage::buffer::BufferPool;
use sherd::storage::erasure::Codecs;
use sherd::storage::identity::{HostDrives, read_incarnation};
use sherd::storage::meta::view::MetaView;
use sherd::traces::Spans;
use sherd::types::{BucketId, NodeId};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The open drives and the metadata replica of a host.
pub(super) struct Opened {
    pub(super) host: HostDrives,
    pub(super) metadata: MetaHandle,
    pub(super) drives: Vec<Drive>,
    pub(super) health: HealthBoard,
    pub(super) bucket: BucketId,
    pub(super) versioned: BucketId,
    pub(super) view: MetaView,
}

impl World {
    pub(super) fn assemble(&self, opened: Opened, pool: BufferPool) -> Host {
        let Opened { host, metadata, drives, health, bucket, versioned, view } = opened;
        let ambient = self.ambient.clone();
        let (faults, source) = fault_channel();
        let load = UserLoad::default();
        let threads =
            |node: NodeId| -> Arc<dyn Blocking> { Arc::new(DriveThreads::new(&self.disk, dir(node.0 as usize))) };
        let context =
            |threads| NodeContext { threads, health: health.clone(), faults: faults.clone(), load: load.clone() };
        let weather = Weather::fair(&self.drawn, super::DRIVES);
        let of_drive = |drive: &Drive| {
            let service: Arc<dyn NodeService> =
                Arc::new(LocalNode::new([drive.clone()].into_iter().collect(), context(threads(drive.node))));
            (drive.node, service)
        };
        let inner: BTreeMap<NodeId, Arc<dyn NodeService>> = drives.iter().map(of_drive).collect();
        let service = Arc::new(Nodes { inner, weather: Arc::clone(&weather) });
        let (hash_ring, ring) = HashRing::new(layout_of(&view));
        let cluster = ClusterContext {
            host: host.host,
            metadata: Arc::new(metadata.clone()),
            ring,
            peers: ConnectionPool::start_with(Arc::new(PipeDialer { host: host.host, service }), &ambient),
            health: health.clone(),
            drives: drives.iter().cloned().collect(),
            suspects: Suspects::default(),
            threads: Arc::new(Inline),
            ambient: ambient.clone(),
            load: load.clone(),
            reads: ActiveReads::new(Arc::clone(&ambient.clock)),
            writes: ActiveWrites::default(),
        };
        let requests = |metadata: Arc<dyn Metadata>, writes| RequestContext {
            host: host.host,
            metadata,
            ring: cluster.ring.clone(),
            peers: cluster.peers.clone(),
            health: health.clone(),
            suspects: cluster.suspects.clone(),
            latencies: ReadLatencies::default(),
            buffers: pool.clone(),
            codecs: Codecs::default(),
            executor: Arc::new(InPlace),
            ambient: ambient.clone(),
            faults: faults.clone(),
            reads: cluster.reads.clone(),
            writes,
            load: load.clone(),
            geometry: GEOMETRY,
            times: RequestTimes::default(),
            spans: Spans::default(),
        };
        let comparisons = Arc::new(AtomicU64::new(0));
        let slow = Arc::new(SlowMetadata {
            inner: metadata.clone(),
            drawn: Arc::clone(&self.drawn),
            comparisons: Arc::clone(&comparisons),
        });
        let stray = Arc::new(requests(slow, ActiveWrites::default()));
        let requests = Arc::new(requests(Arc::clone(&cluster.metadata), cluster.writes.clone()));
        let limits = AdmissionLimits { bytes: 64 << 20, requests: 100, waiting: 100 };
        let admissions = Admissions::start(limits, Duration::from_secs(20));
        let upkeep = |node| CompactionContext {
            threads: threads(node),
            health: health.clone(),
            faults: faults.clone(),
            load: load.clone(),
            ambient: ambient.clone(),
        };
        let compaction = |drive: &Drive| {
            let options = CompactionOptions {
                seal_dead_bytes_min: 64 << 10,
                pace: Pace::UNLIMITED,
                ..CompactionOptions::for_segments_of(SHARD_SEGMENT_BYTES.into())
            };
            Compaction::new(drive.clone(), upkeep(drive.node), options)
        };
        let reclaim = ReclamationOptions {
            grace: self.variant.garbage_grace(),
            page: 8,
            lookups_apart: Duration::ZERO,
            ..ReclamationOptions::default()
        };
        let healing = HealingOptions { pace: Pace::UNLIMITED, ..HealingOptions::default() };
        let (healing, healer) = Healing::new(cluster.clone(), source, healing);
        // The fence rises at once, up to the oldest write under way on this host.
        let fencing = FencingOptions { behind: Duration::ZERO, ..FencingOptions::default() };
        let scrub = |drive: &Drive| {
            let options = ScrubOptions { pace: Pace::UNLIMITED, interval: Duration::ZERO, ..ScrubOptions::default() };
            Scrub::new(drive.clone(), upkeep(drive.node), options, ScrubHandle::default())
        };
        let moving = MovingOptions {
            page: 8,
            copies_max: 3,
            window_bytes: 20_000,
            settle: Duration::ZERO,
            recheck: Duration::ZERO,
            pass_every: Duration::ZERO,
            grace: self.variant.leftover_grace(),
            leftovers_every: Duration::ZERO,
            pace: Pace::UNLIMITED,
            ..MovingOptions::default()
        };
        let (moving, mover) = Moving::new(cluster.clone(), host.host, moving);
        Host {
            gateway: Gateway::new(admissions.clone(), requests),
            stray: Gateway::new(admissions, stray),
            weather,
            strays: Cell::new(0),
            silenced: Cell::new(None),
            comparisons,
            bucket,
            versioned,
            compactions: Mutex::new(drives.iter().map(compaction).collect()),
            reclamation: Mutex::new(Some(Reclamation::new(cluster.clone(), reclaim))),
            healing: Mutex::new(Some(healing)),
            healer,
            fencing: Mutex::new(Some(Fencing::new(cluster.clone(), fencing))),
            probing: Mutex::new(Some(Probing::new(cluster.clone()))),
            scrubs: Mutex::new(drives.iter().map(scrub).collect()),
            moving: Mutex::new(Some(moving)),
            mover,
            monitor: self.monitor(&host, &drives, &health, &metadata),
            hash_ring: hash_ring.start(),
            metadata,
            cluster,
            disk: self.disk.clone(),
            drives,
        }
    }

    fn monitor(
        &self,
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
                disk: self.disk.handle(),
                incarnation: known.incarnation,
                log: drive.log.clone(),
                index: drive.index.clone(),
            })
        });
        let metadata = metadata.clone();
        let on_lost: OnLost = Arc::new(move |node, _| metadata.drive_lost(node));
        DriveMonitor::new(watched, Arc::new(read_incarnation), health.clone(), self.ambient.clone(), on_lost)
    }
}
