//! `World`: a store for tests of the request tasks, with nodes and metadata tables in memory, without drives and Raft.

use super::test_hosts::{Hosts, RuntimeClock};
use super::test_nodes::MemoryNodes;
use super::{ActiveReads, ActiveWrites, Executor, InPlace, Metadata, RequestContext, RequestTimes};
use crate::actors::consensus::MetaError;
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{FaultSource, Inline, OpenDrives, UserLoad, fault_channel};
use crate::actors::peers::{ConnectionPool, Dial, HashRing, PipeDialer, ReadLatencies, Suspects};
use crate::actors::put_task::PutObjectRequest;
use crate::actors::request::{BodyChecks, BodyStream, StoreError, Upload};
use crate::actors::upkeep::ClusterContext;
use crate::ambient::Ambient;
use crate::net::NodeService;
use crate::storage::buffer::BufferPool;
use crate::storage::erasure::Codecs;
use crate::storage::kv::Batch;
use crate::storage::kv::memory::MemoryKv;
use crate::storage::meta::command::{Change, Command, CreateBucket, LogTime, Reply, WriteConditions};
use crate::storage::meta::configuration::ConfigurationVersion;
use crate::storage::meta::record::{Manifest, ObjectHeaders, ObjectVersion, Traits};
use crate::storage::meta::tables::TABLES;
use crate::storage::meta::view::MetaView;
use crate::storage::meta::{ApplyEntry, MetaTables};
use crate::storage::ring::{Layout, LayoutNode};
use crate::storage::sealing::{self, DataKey, Sealing, SealingMode, WrappedKey};
use crate::traces::Spans;
use crate::types::{BucketId, Epoch, Geometry, HostId, NodeId, UnixMs};
use actix::{Actor, Addr};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// The key of every object in these tests.
pub(crate) const KEY: &str = "key";
/// A small chunk size, so that few bytes make many stripes.
pub(crate) const CHUNK: u32 = 16 << 10;

/// The outcome of the next proposals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Decides {
    #[default]
    Applies,
    TimesOut,
    IsUnavailable,
}

/// The metadata state machine over tables in memory. Each proposal is one entry, and accepted changes are recorded.
#[derive(Debug)]
pub(crate) struct Tables {
    tables: MetaTables,
    applied: Mutex<u64>,
    changes: Mutex<Vec<Change>>,
    decides: Mutex<Decides>,
}

impl Tables {
    /// Makes tables with one bucket.
    fn new() -> (Self, BucketId) {
        let tables = MetaTables::open(Arc::new(MemoryKv::new(TABLES))).expect("empty tables");
        let this = Self { tables, applied: Mutex::default(), changes: Mutex::default(), decides: Mutex::default() };
        let [name, region, owner] = ["bucket", "region", "root"].map(str::to_owned);
        match this.apply(Change::CreateBucket(Box::new(CreateBucket {
            name,
            region,
            owner,
            ..CreateBucket::default()
        }))) {
            Reply::BucketCreated { id } => (this, id),
            other => panic!("a bucket, not {other:?}"),
        }
    }

    pub(crate) fn apply(&self, change: Change) -> Reply {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        *applied += 1;
        let entry = ApplyEntry { index: *applied, commands: vec![Command::new(UnixMs(1000 + *applied), change)] };
        let replies = self.tables.apply([entry], Bytes::new()).expect("tables in memory");
        replies.into_iter().flatten().next().expect("one reply a command")
    }

    pub(crate) fn view(&self) -> MetaView {
        self.tables.view()
    }

    /// Writes rows directly, without the state machine.
    pub(crate) fn commit(&self, batch: Batch) {
        self.tables.kv().commit(batch).expect("tables in memory");
    }
}

#[async_trait::async_trait]
impl Metadata for Tables {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        change.check_documents()?;
        match *self.decides.lock().unwrap_or_else(PoisonError::into_inner) {
            Decides::Applies => {}
            Decides::TimesOut => return Err(MetaError::TimedOut),
            Decides::IsUnavailable => return Err(MetaError::Unavailable { why: "no leader".to_owned() }),
        }
        let reply = self.apply(change.clone());
        if !matches!(reply, Reply::Refused(_)) {
            let change = match change {
                Change::Adopt(adoption) => adoption.change.into(),
                other => other,
            };
            self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        }
        Ok(reply)
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        Ok(self.view())
    }

    fn time(&self) -> LogTime {
        let confirmed = UnixMs(1000 + *self.applied.lock().unwrap_or_else(PoisonError::into_inner));
        LogTime { now: Ambient::system().clock.unix_ms(), confirmed }
    }

    fn local(&self) -> Option<MetaView> {
        Some(self.view())
    }

    fn local_configuration(&self) -> Option<ConfigurationVersion> {
        self.tables.configuration()
    }
}

/// The host that carries out the requests.
const HOST: HostId = HostId(1);

/// A store as one of its hosts sees it.
pub(crate) struct World {
    pub(crate) nodes: Arc<MemoryNodes>,
    pub(crate) meta: Arc<Tables>,
    pub(crate) bucket: BucketId,
    pub(crate) context: Arc<RequestContext>,
    pub(crate) faults: FaultSource,
    pub(crate) ring: Addr<HashRing>,
}

impl World {
    /// Makes a store on one host, with one drive for each shard.
    pub(crate) fn new(data: u8, parity: u8) -> Self {
        Self::with(data, parity, u32::from(data + parity), Arc::default(), Arc::new(InPlace))
    }

    pub(crate) fn with(
        data: u8,
        parity: u8,
        drives: u32,
        nodes: Arc<MemoryNodes>,
        executor: Arc<dyn Executor>,
    ) -> Self {
        let geometry = Geometry { data, parity, chunk_size_bytes: CHUNK };
        Self::build(geometry, drives, nodes, executor, BufferPool::new(64 << 20))
    }

    pub(crate) fn build(
        geometry: Geometry,
        drives: u32,
        nodes: Arc<MemoryNodes>,
        executor: Arc<dyn Executor>,
        buffers: BufferPool,
    ) -> Self {
        let service: Arc<MemoryNodes> = Arc::clone(&nodes);
        Self::over(geometry, drives, nodes, service, executor, buffers)
    }

    /// Makes a store over any service; the test inspects `nodes`.
    pub(crate) fn over(
        geometry: Geometry,
        drives: u32,
        nodes: Arc<MemoryNodes>,
        service: Arc<dyn NodeService>,
        executor: Arc<dyn Executor>,
        buffers: BufferPool,
    ) -> Self {
        let node = |id| LayoutNode { id: NodeId(id), host: HOST, weight: 1 };
        let layout = Layout::new(Epoch(1), (0..drives).map(node));
        let dialer = Arc::new(PipeDialer { host: HOST, service });
        let health = HealthBoard::new((0..drives).map(NodeId));
        Self::join(geometry, &layout, nodes, dialer, health, (executor, buffers))
    }

    /// Makes a store of several hosts with some drives each, as the first host sees it. Node ids are `64 * (host - 1) +
    /// drive`.
    pub(crate) fn of_hosts(data: u8, parity: u8, hosts: u64, drives: u32) -> (Self, Arc<Hosts>) {
        let geometry = Geometry { data, parity, chunk_size_bytes: CHUNK };
        let node = |host: u64, drive: u32| LayoutNode {
            id: NodeId((host as u32 - 1) * 64 + drive),
            host: HostId(host),
            weight: 1,
        };
        let layout =
            Layout::new(Epoch(1), (1..=hosts).flat_map(|host| (0..drives).map(move |drive| node(host, drive))));
        let nodes: Arc<MemoryNodes> = Arc::default();
        let dialer = Hosts::in_memory(hosts, &nodes);
        let health = HealthBoard::new((0..drives).map(NodeId));
        let compute = (Arc::new(InPlace) as _, BufferPool::new(64 << 20));
        (Self::join(geometry, &layout, nodes, dialer.clone(), health, compute), dialer)
    }

    fn join(
        geometry: Geometry,
        layout: &Layout,
        nodes: Arc<MemoryNodes>,
        dialer: Arc<dyn Dial>,
        health: HealthBoard,
        (executor, buffers): (Arc<dyn Executor>, BufferPool),
    ) -> Self {
        let (meta, bucket) = Tables::new();
        let meta = Arc::new(meta);
        let (ring, reader) = HashRing::new(layout.clone());
        let ambient = Ambient { clock: Arc::new(RuntimeClock::default()), ..Ambient::system() };
        let (sink, faults) = fault_channel();
        let context = Arc::new(RequestContext {
            host: HOST,
            metadata: Arc::<Tables>::clone(&meta),
            ring: reader,
            peers: ConnectionPool::start_with(dialer, &ambient),
            health,
            suspects: Suspects::default(),
            latencies: ReadLatencies::default(),
            buffers,
            codecs: Codecs::default(),
            executor,
            reads: ActiveReads::new(Arc::clone(&ambient.clock)),
            writes: ActiveWrites::default(),
            ambient,
            faults: sink,
            load: UserLoad::default(),
            geometry,
            times: RequestTimes::default(),
            spans: Spans::default(),
        });
        Self { nodes, meta, bucket, context, faults, ring: ring.start() }
    }

    /// Returns the context of the same host's probes and chores.
    pub(crate) fn cluster(&self) -> ClusterContext {
        let context = &self.context;
        ClusterContext {
            host: HOST,
            metadata: Arc::clone(&context.metadata),
            ring: context.ring.clone(),
            peers: context.peers.clone(),
            health: context.health.clone(),
            drives: OpenDrives::default(),
            suspects: context.suspects.clone(),
            threads: Arc::new(Inline),
            ambient: context.ambient.clone(),
            load: context.load.clone(),
            reads: context.reads.clone(),
            writes: context.writes.clone(),
        }
    }

    pub(crate) fn decide(&self, decides: Decides) {
        *self.meta.decides.lock().unwrap_or_else(PoisonError::into_inner) = decides;
    }

    /// Takes the changes accepted so far.
    pub(crate) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.meta.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn put(&self, upload: Upload) -> Result<Manifest, StoreError> {
        let permit = crate::actors::frontend::Permit::unmetered();
        Ok(crate::actors::put_task::put_object(&self.context, permit, self.put_request(upload)).await?.manifest)
    }

    pub(crate) fn put_request(&self, upload: Upload) -> PutObjectRequest {
        PutObjectRequest {
            bucket: self.bucket,
            key: KEY.to_owned(),
            headers: ObjectHeaders::default(),
            conditions: WriteConditions::default(),
            traits: Traits::default(),
            data_key: None,
            event: None,
            upload,
        }
    }

    /// Stores an object that is sealed under this key.
    pub(crate) async fn put_sealed(&self, upload: Upload, key: &DataKey) -> Result<ObjectVersion, StoreError> {
        let mut request = self.put_request(upload);
        request.traits.sealing = Some(sealing_record(key.layout()));
        request.data_key = Some(key.clone());
        let permit = crate::actors::frontend::Permit::unmetered();
        crate::actors::put_task::put_object(&self.context, permit, request).await
    }

    /// Stores bytes that arrive in pieces of an odd size.
    pub(crate) async fn put_bytes(&self, content: &Bytes) -> Result<Manifest, StoreError> {
        self.put(upload(content, 10_007)).await
    }
}

/// Returns a random data key of this layout.
pub(crate) fn data_key(layout: sealing::Layout) -> DataKey {
    DataKey::random(layout, Ambient::system().entropy.as_ref())
}

/// Returns a sealing record with dummy keys.
pub(crate) fn sealing_record(layout: sealing::Layout) -> Bytes {
    let wrapped = WrappedKey { key_version: 1, bytes: Bytes::from_static(b"wrapped") };
    let outer = (layout == sealing::Layout::Dual).then(|| wrapped.clone());
    Sealing { id: 1, mode: SealingMode::SseS3, wrapped, outer }.encode()
}

/// Returns `length` pseudo-random bytes.
pub(crate) fn content(length: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

pub(crate) fn body(content: &Bytes, piece: usize) -> BodyStream {
    let pieces: Vec<_> =
        (0..content.len()).step_by(piece).map(|at| content.slice(at..content.len().min(at + piece))).collect();
    Box::pin(futures::stream::iter(pieces.into_iter().map(Ok)))
}

pub(crate) fn upload(content: &Bytes, piece: usize) -> Upload {
    Upload { body: body(content, piece), checks: BodyChecks::default(), trailer: None }
}
