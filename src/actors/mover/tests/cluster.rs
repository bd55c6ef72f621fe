//! `Cluster`: several hosts with real drives in one process, which share one set of metadata tables.

use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::test_host::{
    CHUNK_BYTES, Seeded, SetClock, TableMetadata, drive_options, flip_byte_on, set_clock,
};
use crate::actors::drives::{
    Drive, DriveOptions, FaultSource, Inline, LocalNode, NodeContext, OpenDrives, UserLoad, fault_channel, open_drive,
};
use crate::actors::frontend::Permit;
use crate::actors::log::Threads;
use crate::actors::mover::{Moved, MoverHandle, Moving, MovingOptions};
use crate::actors::peers::{ConnectionPool, HashRing, LayoutChanged, ReadLatencies, RingReader, Suspects};
use crate::actors::put_task::PutObjectRequest;
use crate::actors::request::test_hosts::Hosts;
use crate::actors::request::{
    ActiveReads, ActiveWrites, BodyChecks, BodyStream, ByteRange, InPlace, Metadata, RequestContext, RequestTimes,
    Upload,
};
use crate::actors::upkeep::{ClusterContext, Pace, UnderWayService};
use crate::actors::{get_task, put_task};
use crate::ambient::{Ambient, Clock};
use crate::net::NoGroups;
use crate::storage::buffer::BufferPool;
use crate::storage::erasure::Codecs;
use crate::storage::meta::command::{Change, Reply, WriteConditions};
use crate::storage::meta::record::{BlobRef, HostRecord, Manifest, NodeRecord, NodeState, ObjectHeaders, Pick, Traits};
use crate::storage::meta::samples;
use crate::storage::meta::view::MetaView;
use crate::storage::ring::Layout;
use crate::storage::stripe::BlobLayout;
use crate::storage::wal::{Durability, LogOptions};
use crate::traces::Spans;
use crate::types::{BucketId, ChunkIndex, Geometry, HostId, Incarnation, NodeId, ShardId, ShardNumber, UnixMs};
use actix::{Actor, Addr};
use bytes::Bytes;
use futures::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const STEPS_MAX: usize = 100_000;
pub(super) const DRIVES: u32 = 2;

pub(super) struct Cluster {
    root: tempfile::TempDir,
    pub(super) clock: Arc<SetClock>,
    pub(super) metadata: Arc<TableMetadata>,
    ways: Arc<Hosts>,
    hash_ring: Addr<HashRing>,
    pub(super) drives: BTreeMap<NodeId, Drive>,
    /// The durability of the drives of hosts that join.
    pub(super) durability: Durability,
    pub(super) services: BTreeMap<HostId, Arc<LocalNode>>,
    pub(super) context: ClusterContext,
    requests: Arc<RequestContext>,
    pub(super) faults: Option<FaultSource>,
    bucket: BucketId,
    pub(super) random: Seeded,
}

pub(super) fn node_of(host: u64, drive: u32) -> NodeId {
    NodeId(host as u32 * 64 + drive)
}

impl Cluster {
    pub(super) async fn new(hosts: u64, data: u8, parity: u8) -> Self {
        let clock = set_clock();
        let ambient = Ambient { clock: clock.clone(), entropy: Arc::new(Seeded::new(7)) };
        let metadata = Arc::new(TableMetadata::new(clock.clone()));
        let bucket = metadata.bucket().await;
        let (hash_ring, ring) = HashRing::new(Layout::default());
        let ways: Arc<Hosts> = Arc::default();
        let (faults, source) = fault_channel();
        let context = ClusterContext {
            host: HostId(1),
            suspects: Suspects::default(),
            metadata: metadata.clone(),
            ring: ring.clone(),
            peers: ConnectionPool::start_with(ways.clone(), &ambient),
            health: HealthBoard::new([]),
            drives: OpenDrives::default(),
            threads: Arc::new(Inline),
            ambient: ambient.clone(),
            load: UserLoad::default(),
            reads: ActiveReads::new(clock.clone()),
            writes: ActiveWrites::default(),
        };
        let requests = Arc::new(RequestContext {
            host: HostId(1),
            suspects: context.suspects.clone(),
            latencies: ReadLatencies::default(),
            metadata: metadata.clone(),
            ring,
            peers: context.peers.clone(),
            health: context.health.clone(),
            buffers: BufferPool::new(16 << 20),
            codecs: Codecs::default(),
            executor: Arc::new(InPlace),
            ambient,
            faults,
            reads: context.reads.clone(),
            writes: context.writes.clone(),
            load: context.load.clone(),
            geometry: Geometry { data, parity, chunk_size_bytes: CHUNK_BYTES },
            times: RequestTimes::default(),
            spans: Spans::default(),
        });
        let mut cluster = Self {
            root: tempfile::tempdir().expect("a directory"),
            clock,
            metadata,
            ways,
            hash_ring: hash_ring.start(),
            drives: BTreeMap::new(),
            durability: Durability::Strict,
            services: BTreeMap::new(),
            context,
            requests,
            faults: Some(source),
            bucket,
            random: Seeded::new(99),
        };
        for host in 1..=hosts {
            cluster.join(host).await;
        }
        cluster.publish().await;
        cluster
    }

    pub(super) fn ring(&self) -> RingReader {
        self.context.ring.clone()
    }

    pub(super) async fn change(&self, change: Change) {
        assert_eq!(self.metadata.propose(change).await.expect("decided"), Reply::Done);
    }

    /// Registers a host and its drives in the metadata and starts them. The layout is not published.
    pub(super) async fn join(&mut self, host: u64) {
        let id = HostId(host);
        let record = HostRecord {
            id,
            name: format!("host-{host}"),
            address: format!("10.0.0.{host}:9100"),
            domain: None,
            joined: UnixMs(0),
            first_node: None,
        };
        self.change(Change::RegisterHost(record)).await;
        let mut own = Vec::new();
        for node in (0..DRIVES).map(|drive| node_of(host, drive)) {
            let options = drive_options(self.root.path(), node, &self.clock);
            let log = LogOptions { durability: self.durability, ..options.log };
            let opened = open_drive(&DriveOptions { log, ..options }).expect("a drive");
            let drive = opened.start(Threads::Current);
            own.push(drive.clone());
            self.context.drives.put(drive.clone());
            self.drives.insert(node, drive);
            self.context.health.update(node, |_| {});
            let (incarnation, state) = (Incarnation(u128::from(node.0) + 1), NodeState::Active);
            let record = NodeRecord { id: node, host: id, incarnation, weight: 1, state, joined: UnixMs(0) };
            self.change(samples::register(record)).await;
        }
        let context = NodeContext {
            threads: self.context.threads.clone(),
            health: self.context.health.clone(),
            faults: self.requests.faults.clone(),
            load: self.context.load.clone(),
        };
        let service = Arc::new(LocalNode::new(own.into_iter().collect(), context));
        self.services.insert(id, service.clone());
        // All requests of the test belong to one host.
        let (reads, writes) = (self.context.reads.clone(), self.context.writes.clone());
        let under_way = UnderWayService { reads, writes, groups: Arc::new(NoGroups) };
        self.ways.add(id, service, Arc::new(under_way));
    }

    /// Publishes the layout of the metadata as the current ring.
    pub(super) async fn publish(&self) {
        let view = self.view().await;
        let layout =
            view.layout().expect("a layout").ring_layout(&view.hosts().expect("hosts"), &view.nodes().expect("nodes"));
        self.hash_ring.send(LayoutChanged(layout)).await.expect("running").expect("newer");
    }

    pub(super) async fn set_state(&self, host: u64, state: NodeState) {
        for drive in 0..DRIVES {
            let node = node_of(host, drive);
            self.change(Change::SetNode { node, weight: None, state: Some(state) }).await;
        }
    }

    pub(super) async fn view(&self) -> MetaView {
        self.metadata.read().await.expect("tables in memory")
    }

    pub(super) async fn put(&self, key: &str, content: &Bytes) -> Manifest {
        let body = Box::pin(futures::stream::iter([Ok(content.clone())]));
        let upload = Upload { body, checks: BodyChecks::default(), trailer: None };
        let request = PutObjectRequest {
            bucket: self.bucket,
            key: key.to_owned(),
            headers: ObjectHeaders::default(),
            conditions: WriteConditions::default(),
            traits: Traits::default(),
            data_key: None,
            event: None,
            upload,
        };
        put_task::put_object(&self.requests, Permit::unmetered(), request).await.expect("stored").manifest
    }

    /// Writes this number of objects of about 100 KB.
    pub(super) async fn fill(&self, count: usize) -> BTreeMap<String, Bytes> {
        let mut contents = BTreeMap::new();
        for number in 0..count {
            let content = self.random.bytes(50_000 + self.random.below(100_000) as usize);
            let key = format!("key-{number}");
            self.put(&key, &content).await;
            // The next blob's id has another millisecond and thereby another partition.
            self.clock.forward(Duration::from_millis(1));
            contents.insert(key, content);
        }
        contents
    }

    pub(super) async fn open(&self, key: &str) -> BodyStream {
        let object = get_task::open_object(&self.requests, self.view().await, self.bucket, key, Pick::Current).await;
        let object = object.expect("looked up").object().expect("an object");
        let range = ByteRange { start: 0, end: object.version.manifest.size_bytes };
        get_task::read_object(&self.requests, Permit::unmetered(), object, range).await.expect("readable")
    }

    pub(super) async fn check_contents(&self, contents: &BTreeMap<String, Bytes>) {
        for (key, content) in contents {
            let chunks: Vec<Bytes> = self.open(key).await.try_collect().await.expect("read");
            assert_eq!(&Bytes::from(chunks.concat()), content, "{key}");
        }
    }

    pub(super) async fn delete(&self, key: &str) {
        self.metadata.propose(samples::delete(self.bucket, key)).await.expect("decided");
    }

    pub(super) fn flip_byte_of(&self, node: NodeId, shard: ShardId, chunk: ChunkIndex) {
        flip_byte_on(&self.drives[&node], self.root.path(), shard, chunk);
    }

    pub(super) async fn blobs(&self) -> Vec<BlobRef> {
        self.view().await.blobs(None, 1 << 20).expect("blobs").0
    }

    pub(super) fn moving(&self, host: u64) -> (Moving, MoverHandle) {
        let options = MovingOptions {
            page: 7,
            copies_max: 3,
            window_bytes: 20_000,
            pace: Pace::UNLIMITED,
            ..MovingOptions::default()
        };
        Moving::new(self.context.clone(), HostId(host), options)
    }

    pub(super) fn all_moving(&self) -> Vec<Moving> {
        self.services.keys().map(|host| self.moving(host.0).0).collect()
    }

    /// Steps all movers in turn until nothing was moved or dropped for the time of several passes. Returns the numbers
    /// of bytes and shards moved.
    pub(super) async fn settle(&self, moving: &mut [Moving]) -> (u64, usize) {
        let (mut bytes_moved, mut shards_moved, mut last) = (0, 0, self.clock.monotonic());
        for _ in 0..STEPS_MAX {
            let mut busy = false;
            for one in moving.iter_mut() {
                let step = one.advance().await.expect("a step");
                busy |= step != Moved::Nothing;
                match step {
                    Moved::Nothing | Moved::Compared | Moved::Dropped { shards: 0 } => continue,
                    Moved::Dropped { .. } => {}
                    Moved::Copied { bytes, shards, .. } => {
                        bytes_moved += bytes;
                        shards_moved += shards;
                    }
                }
                last = self.clock.monotonic();
            }
            if self.clock.monotonic() > last + Duration::from_secs(100) {
                return (bytes_moved, shards_moved);
            }
            if !busy {
                self.clock.forward(Duration::from_secs(10));
            }
        }
        panic!("the movers did not settle in {STEPS_MAX} steps");
    }

    /// Checks that every drive holds exactly the shards that the metadata places on it, whole.
    pub(super) async fn check_inventories(&self) {
        let mut expected: BTreeMap<NodeId, BTreeSet<(ShardId, u32)>> = BTreeMap::new();
        for blob in self.blobs().await {
            let chunks = BlobLayout::new(blob.geometry, blob.size_bytes).expect("a layout").stripes();
            for (shard, &node) in blob.placement.iter().enumerate() {
                let shard = ShardId { blob: blob.id, shard: ShardNumber(shard as u8) };
                expected.entry(node).or_default().insert((shard, chunks));
            }
        }
        for (&node, drive) in &self.drives {
            let (held, more) = drive.index.inventory(None, 1 << 20).expect("an inventory");
            assert!(!more);
            let expected = expected.remove(&node).unwrap_or_default();
            let held: BTreeSet<(ShardId, u32)> = held.into_iter().collect();
            assert_eq!(held.difference(&expected).collect::<Vec<_>>(), Vec::<&_>::new(), "strays on node {node}");
            assert_eq!(expected.difference(&held).collect::<Vec<_>>(), Vec::<&_>::new(), "missing on node {node}");
        }
        assert!(expected.is_empty(), "{expected:?}");
    }

    /// Checks that the shards of every blob are placed where the ring wants them.
    pub(super) async fn check_places(&self) {
        let ring = self.ring().current();
        for blob in self.blobs().await {
            let mut wanted = ring.wanted(ring.partition_of(blob.id), blob.geometry).expect("nodes");
            let mut placed = blob.placement.clone();
            wanted.sort();
            placed.sort();
            assert_eq!(placed, wanted);
        }
    }

    pub(super) async fn held_bytes(&self) -> u64 {
        let of = |blob: &BlobRef| {
            let layout = BlobLayout::new(blob.geometry, blob.size_bytes).expect("a layout");
            layout.shard_bytes() * blob.geometry.shards() as u64
        };
        self.blobs().await.iter().map(of).sum()
    }

    pub(super) async fn close(self) {
        for drive in self.drives.values() {
            drive.close(&self.context.threads).await.expect("closed");
        }
    }
}
