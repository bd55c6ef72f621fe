//! A host for tests: real logs and indexes over any disk, the state machine without Raft, and the real request tasks.

use super::blocking::Inline;
use super::health::HealthBoard;
use super::{Drive, DriveOptions, LocalNode, NodeContext, OpenDrives, UserLoad, open_drive};
use crate::actors::consensus::{ClusterClock, MetaError};
use crate::actors::drives::{FaultSource, fault_channel};
use crate::actors::frontend::Permit;
use crate::actors::get_task;
use crate::actors::log::Threads;
use crate::actors::peers::{ConnectionPool, ReadLatencies, RingReader, Suspects};
use crate::actors::put_task::{self, PutObjectRequest};
use crate::actors::request::test_hosts::Hosts;
use crate::actors::request::{
    ActiveReads, ActiveWrites, BodyChecks, BodyStream, ByteRange, InPlace, Metadata, RequestContext, RequestTimes,
    StoreError, Upload,
};
use crate::actors::upkeep::{ClusterContext, UnderWayService};
use crate::ambient::{Ambient, Clock, Entropy};
use crate::limits::{BLOCK_BYTES, RECORD_PACKED_BYTES_MAX};
use crate::net::NoGroups;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::SystemDisk;
use crate::storage::erasure::Codecs;
use crate::storage::kv::fjall::TableMemory;
use crate::storage::kv::memory::MemoryKv;
use crate::storage::meta::command::{Change, Command, CreateBucket, LogTime, Reply, WriteConditions};
use crate::storage::meta::record::{
    AdvanceClock, BlobRef, Body, ClockRecord, ClockSource, Manifest, ObjectHeaders, Pick, Traits,
};
use crate::storage::meta::samples;
use crate::storage::meta::tables;
use crate::storage::meta::view::MetaView;
use crate::storage::meta::{ApplyEntry, MetaTables};
use crate::storage::ring::{Layout, LayoutNode};
use crate::storage::wal::{LogOptions, RECORD_HEADER_BYTES};
use crate::traces::Spans;
use crate::types::{BucketId, ChunkIndex, ClusterId, Epoch, Geometry, HostId, NodeId, ShardId, UnixMs};
use bytes::Bytes;
use futures::TryStreamExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The size of chunks; small, so that few bytes make many stripes.
pub(crate) const CHUNK_BYTES: u32 = 8 << 10;
pub(crate) const SEGMENT_BYTES: u32 = 2 << 20;
const HOST: HostId = HostId(1);

/// A clock that advances only when a test sets it forward. Its wall clock can be set ahead of its monotonic clock.
#[derive(Debug)]
pub(crate) struct SetClock {
    ms: AtomicU64,
    wall_ahead_ms: AtomicU64,
}

impl SetClock {
    pub(crate) fn forward(&self, by: Duration) {
        self.ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    /// Sets the wall clock alone ahead by this much, instead of an earlier amount.
    pub(crate) fn set_wall_ahead(&self, by: Duration) {
        self.wall_ahead_ms.store(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(self.ms.load(Ordering::Relaxed) + self.wall_ahead_ms.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.ms.load(Ordering::Relaxed))
    }
}

/// A clock with the monotonic time of another clock, and a wall time that differs from its wall time by a fixed amount.
#[derive(Debug)]
struct Wrong {
    clock: Arc<SetClock>,
    ahead_ms: i64,
}

impl Clock for Wrong {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(self.clock.unix_ms().0.saturating_add_signed(self.ahead_ms))
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

/// Deterministic random numbers for tests (SplitMix64).
#[derive(Debug)]
pub(crate) struct Seeded(AtomicU64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&self, length: usize) -> Bytes {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes.into()
    }
}

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.next().to_be_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

/// Returns a clock at a fixed time.
pub(crate) fn set_clock() -> Arc<SetClock> {
    Arc::new(SetClock { ms: AtomicU64::new(1_700_000_000_000), wall_ahead_ms: AtomicU64::new(0) })
}

/// The metadata's state machine without Raft: each proposal is applied at once as an entry.
#[derive(Debug)]
pub(crate) struct TableMetadata {
    tables: MetaTables,
    index: Mutex<u64>,
    clock: ClusterClock,
}

impl TableMetadata {
    pub(crate) fn new(clock: Arc<SetClock>) -> Self {
        let tables = MetaTables::open(Arc::new(MemoryKv::new(tables::TABLES))).expect("empty tables open");
        let first = AdvanceClock { to: clock.unix_ms(), era: 0, by: ClockSource::Hosts };
        let clock = ClusterClock::new(&Ambient { clock, entropy: Arc::new(Seeded::new(0)) });
        clock.watch([]);
        clock.learn(&ClockRecord::first(first));
        Self { tables, index: Mutex::default(), clock }
    }

    /// Returns the only bucket; creates it if there is none.
    pub(crate) async fn bucket(&self) -> BucketId {
        if let Some(bucket) = self.tables.view().bucket("bucket").expect("looked up") {
            return bucket.bucket.id;
        }
        let (name, owner) = ("bucket".to_owned(), "me".to_owned());
        let create = CreateBucket { name, owner, ..CreateBucket::default() };
        match self.propose(Change::CreateBucket(Box::new(create))).await.expect("decided") {
            Reply::BucketCreated { id } => id,
            other => panic!("a bucket is created in empty tables, not {other:?}"),
        }
    }
}

#[async_trait::async_trait]
impl Metadata for TableMetadata {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        *index += 1;
        let entry = ApplyEntry { index: *index, commands: vec![Command::at(self.clock.time(), change)] };
        let mut replies = self.tables.apply([entry], Bytes::new()).expect("tables in memory");
        Ok(replies.remove(0).remove(0))
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        Ok(self.tables.view())
    }

    fn time(&self) -> LogTime {
        self.clock.time()
    }
}

/// The parts that all hosts of a test cluster share.
#[derive(Clone)]
struct Environment {
    ways: Arc<Hosts>,
    metadata: Arc<TableMetadata>,
    clock: Arc<SetClock>,
}

/// Several hosts that share one metadata state machine.
pub(crate) struct TestCluster {
    pub(crate) hosts: Vec<TestHost>,
    /// The simulated connections between the hosts.
    pub(crate) ways: Arc<Hosts>,
}

/// Opens hosts with the ids from 1 and `drives` drives each. The node id of a drive is `64 * (host - 1) + drive`.
pub(crate) async fn open_cluster(root: &Path, geometry: (u8, u8), hosts: u64, drives: u32) -> TestCluster {
    let clock = set_clock();
    let metadata = Arc::new(TableMetadata::new(clock.clone()));
    let environment = Environment { ways: Arc::default(), metadata, clock: clock.clone() };
    let geometry = Geometry { data: geometry.0, parity: geometry.1, chunk_size_bytes: CHUNK_BYTES };
    let id = |host: u64, drive: u32| NodeId((host as u32 - 1) * 64 + drive);
    let nodes =
        |host: u64| (0..drives).map(move |drive| LayoutNode { id: id(host, drive), host: HostId(host), weight: 1 });
    let layout = Layout::new(Epoch(1), (1..=hosts).flat_map(nodes));
    let mut opened = Vec::new();
    for host in 1..=hosts {
        let drives = (0..drives).map(|drive| open_node(root, id(host, drive), &clock)).collect();
        opened.push(TestHost::join(HostId(host), drives, &layout, geometry, environment.clone()).await);
    }
    TestCluster { hosts: opened, ways: environment.ways }
}

/// A host with open drives, the service over them, and the contexts of requests and chores, in the current actix
/// system.
pub(crate) struct TestHost {
    pub(crate) drives: Vec<Drive>,
    pub(crate) service: Arc<LocalNode>,
    pub(crate) requests: Arc<RequestContext>,
    pub(crate) upkeep: ClusterContext,
    pub(crate) node_context: NodeContext,
    /// The reported faults; a test of the healer takes it.
    pub(crate) faults: Option<FaultSource>,
    pub(crate) metadata: Arc<TableMetadata>,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) bucket: BucketId,
}

impl TestHost {
    /// Makes a host over these drives, and over the metadata of an earlier host if one is given.
    pub(crate) async fn new(
        drives: Vec<Drive>,
        data: u8,
        parity: u8,
        clock: Arc<SetClock>,
        metadata: Option<Arc<TableMetadata>>,
    ) -> Self {
        let node = |drive: &Drive| LayoutNode { id: drive.node, host: HOST, weight: 1 };
        let layout = Layout::new(Epoch(1), drives.iter().map(node));
        let metadata = metadata.unwrap_or_else(|| Arc::new(TableMetadata::new(clock.clone())));
        let geometry = Geometry { data, parity, chunk_size_bytes: CHUNK_BYTES };
        Self::join(HOST, drives, &layout, geometry, Environment { ways: Arc::default(), metadata, clock }).await
    }

    /// Makes a host of this layout.
    async fn join(
        host: HostId,
        drives: Vec<Drive>,
        layout: &Layout,
        geometry: Geometry,
        environment: Environment,
    ) -> Self {
        let Environment { ways, metadata, clock } = environment;
        let ambient = Ambient { clock: clock.clone(), entropy: Arc::new(Seeded::new(clock.unix_ms().0 + host.0)) };
        let health = HealthBoard::new(drives.iter().map(|drive| drive.node));
        let (sink, faults) = fault_channel();
        let load = UserLoad::default();
        let threads = Arc::new(Inline);
        let node_context =
            NodeContext { threads: threads.clone(), health: health.clone(), faults: sink.clone(), load: load.clone() };
        let open: OpenDrives = drives.iter().cloned().collect();
        let service = Arc::new(LocalNode::new(open.clone(), node_context.clone()));
        let (reads, writes) = (ActiveReads::new(clock.clone()), ActiveWrites::default());
        let under_way = UnderWayService { reads: reads.clone(), writes: writes.clone(), groups: Arc::new(NoGroups) };
        ways.add(host, service.clone(), Arc::new(under_way));
        let ring = RingReader::fixed(layout);
        let peers = ConnectionPool::start_with(ways, &ambient);
        let upkeep = ClusterContext {
            host,
            metadata: metadata.clone(),
            ring: ring.clone(),
            peers: peers.clone(),
            health: health.clone(),
            drives: open,
            suspects: Suspects::default(),
            threads,
            ambient: ambient.clone(),
            load: load.clone(),
            reads: reads.clone(),
            writes: writes.clone(),
        };
        let requests = Arc::new(RequestContext {
            host,
            metadata: metadata.clone(),
            ring,
            peers,
            health,
            suspects: upkeep.suspects.clone(),
            latencies: ReadLatencies::default(),
            buffers: BufferPool::new(16 << 20),
            codecs: Codecs::default(),
            executor: Arc::new(InPlace),
            ambient,
            faults: sink,
            reads,
            writes,
            load,
            geometry,
            times: RequestTimes::default(),
            spans: Spans::default(),
        });
        let bucket = metadata.bucket().await;
        Self { drives, service, requests, upkeep, node_context, faults: Some(faults), metadata, clock, bucket }
    }

    /// Sets this host's wall clock ahead of the cluster's (behind, if negative).
    pub(crate) fn set_wrong(&mut self, ahead_ms: i64) {
        let clock = Arc::new(Wrong { clock: self.clock.clone(), ahead_ms });
        self.upkeep.ambient.clock = clock.clone();
        Arc::get_mut(&mut self.requests).expect("no request is under way").ambient.clock = clock;
    }

    pub(crate) async fn put(&self, key: &str, content: &Bytes) -> Result<Manifest, StoreError> {
        self.put_body(key, Box::pin(futures::stream::iter([Ok(content.clone())]))).await
    }

    pub(crate) async fn put_body(&self, key: &str, body: BodyStream) -> Result<Manifest, StoreError> {
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
        Ok(put_task::put_object(&self.requests, Permit::unmetered(), request).await?.manifest)
    }

    /// Returns the content of an object; `None` if there is no such key.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let view = self.metadata.read().await?;
        let opened = get_task::open_object(&self.requests, view, self.bucket, key, Pick::Current).await?;
        let Some(object) = opened.object() else { return Ok(None) };
        let range = ByteRange { start: 0, end: object.version.manifest.size_bytes };
        let stream = get_task::read_object(&self.requests, Permit::unmetered(), object, range).await?;
        let chunks: Vec<Bytes> = stream.try_collect().await?;
        Ok(Some(chunks.concat().into()))
    }

    pub(crate) async fn delete(&self, key: &str) {
        let reply = self.metadata.propose(samples::delete(self.bucket, key)).await.expect("decided");
        assert_eq!(reply, samples::deleted(true));
    }

    pub(crate) async fn view(&self) -> MetaView {
        self.metadata.read().await.expect("tables in memory")
    }

    pub(crate) async fn close(self) {
        for drive in &self.drives {
            drive.close(&self.upkeep.threads).await.expect("closed");
        }
    }
}

/// Returns the blob of an object that is stored as exactly one.
pub(crate) fn blob_of(manifest: &Manifest) -> &BlobRef {
    match &manifest.body {
        Body::Blob(blob) => blob,
        other => panic!("one blob was expected, not {other:?}"),
    }
}

fn log_options(dir: PathBuf, node: NodeId, segment_bytes: u32, clock: &Arc<SetClock>) -> LogOptions {
    let ambient = Ambient { clock: clock.clone(), entropy: Arc::new(Seeded::new(u64::from(node.0))) };
    let options = LogOptions::shards(dir, ClusterId(1), node, ambient, BufferPool::new(4 << 20));
    // No refusal for lack of space: the machine that runs the tests may be nearly full.
    LogOptions { segment_bytes, space_refuse_percent: 0, ..options }
}

/// Returns the options of a log on a simulated disk.
pub(crate) fn sim_log_options(segment_bytes: u32, clock: &Arc<SetClock>) -> LogOptions {
    log_options(PathBuf::from("/drive/shards"), NodeId(0), segment_bytes, clock)
}

/// Returns the options for opening a drive below `root`.
pub(crate) fn drive_options(root: &Path, node: NodeId, clock: &Arc<SetClock>) -> DriveOptions {
    DriveOptions {
        node,
        disk: Arc::new(SystemDisk::new(BufferPool::new(4 << 20))),
        log: log_options(root.join(node.to_string()).join("shards"), node, SEGMENT_BYTES, clock),
        index_dir: root.join(node.to_string()).join("index"),
        index_memory: TableMemory { cache_bytes: 1 << 20, memtable_bytes: 4 << 20 },
    }
}

/// Opens drives in directories below `root`; their logs run in the current arbiter.
pub(crate) fn open_drives(root: &Path, count: u32, clock: &Arc<SetClock>) -> Vec<Drive> {
    (0..count).map(|node| open_node(root, NodeId(node), clock)).collect()
}

fn open_node(root: &Path, node: NodeId, clock: &Arc<SetClock>) -> Drive {
    open_drive(&drive_options(root, node, clock)).expect("a drive").start(Threads::Current)
}

/// Opens a host with one drive for each shard of a stripe.
pub(crate) async fn open_host(root: &Path, data: u8, parity: u8) -> TestHost {
    let clock = set_clock();
    let drives = open_drives(root, u32::from(data + parity), &clock);
    TestHost::new(drives, data, parity, clock, None).await
}

/// Corrupts one byte of a chunk's body in its segment file.
pub(crate) fn flip_byte_of(host: &TestHost, root: &Path, node: NodeId, shard: ShardId, chunk: ChunkIndex) {
    let drive = host.drives.iter().find(|drive| drive.node == node).expect("a drive");
    flip_byte_on(drive, root, shard, chunk);
}

/// Corrupts one byte of a chunk's body in its segment file on a drive below `root`.
pub(crate) fn flip_byte_on(drive: &Drive, root: &Path, shard: ShardId, chunk: ChunkIndex) {
    let entry = drive.index.lookup(shard, chunk, 1).expect("lookup")[0].expect("a chunk");
    let path = root.join(drive.node.to_string()).join("shards").join(format!("{:08}.seg", entry.at.lsn.segment().0));
    let file = std::fs::File::options().read(true).write(true).open(path).expect("a segment");
    let body_start = match entry.at.body_bytes as usize >= RECORD_PACKED_BYTES_MAX {
        true => BLOCK_BYTES as u64,
        false => RECORD_HEADER_BYTES as u64,
    };
    let at = u64::from(entry.at.lsn.offset()) + body_start + u64::from(entry.at.body_bytes) / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
    file.sync_all().expect("synced");
}
