//! The store put together over a simulated disk: as `node` does it, in one thread.

use super::ambient::Simulated;
use super::faults::{Nodes, Weather};
use super::stray::SlowMetadata;
use bytes::Bytes;
use futures::TryStreamExt;
use sherd::actors::consensus::{
    self, Forming, GroupId, MetaHandle, Offload, ReplicaDrive, ReplicaOptions, SnapshotPolicy, StateHome,
};
use sherd::actors::drives::fault_channel;
use sherd::actors::drives::health::HealthBoard;
use sherd::actors::drives::{Drive, Inline, LocalNode, NodeContext, UserLoad, open_over};
use sherd::actors::frontend::{AdmissionLimits, S3Frontend};
use sherd::actors::gateway::{ByteRange, Gateway, OpenObject, StoreError};
use sherd::actors::healer::{HealerHandle, Healing, HealingOptions, Scrub, ScrubHandle, ScrubOptions};
use sherd::actors::log::Threads;
use sherd::actors::peers::{ConnectionPool, PipeDialer, ReadLatencies, RingReader, Suspects};
use sherd::actors::request::{ActiveReads, ActiveWrites, InPlace, Metadata, RequestContext, RequestTimes};
use sherd::actors::upkeep::{
    ClusterContext, Compaction, CompactionContext, CompactionOptions, Fencing, FencingOptions, Pace, Probing,
    Reclamation, ReclamationOptions,
};
use sherd::ambient::Ambient;
use sherd::limits::BLOCK_BYTES;
use sherd::net::NoOtherHosts;
use sherd::storage::buffer::BufferPool;
use sherd::storage::disk::Disk;
use sherd::storage::disk::sim::{DriveFault, SimDisk};
use sherd::storage::erasure::Codecs;
use sherd::storage::identity::{HostDrives, NoLocks, WantedGeometry, note_started, open_host};
use sherd::storage::kv::memory::MemoryKv;
use sherd::storage::kv::{Kv, KvResult};
use sherd::storage::meta::command::{Change, CreateBucket, Refusal, Reply};
use sherd::storage::meta::record::{BlobRef, NodeRecord, NodeState, Pick, Version, VersionRow, Versioning};
use sherd::storage::meta::tables;
use sherd::storage::meta::view::{ListQuery, Listed};
use sherd::storage::ring::{Layout, LayoutNode};
use sherd::storage::shard_index;
use sherd::storage::wal::{Durability, LogOptions};
use sherd::types::{BlobId, BucketId, Epoch, Geometry, NodeId, ShardId};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::Actor;

pub const DRIVES: usize = 4;
const GEOMETRY: Geometry = Geometry { data: 2, parity: 2, chunk_size_bytes: 8 << 10 };
const DISK_BYTES: u64 = 1 << 30;
const SHARD_SEGMENT_BYTES: u32 = 512 << 10;
const META_SEGMENT_BYTES: u32 = 128 << 10;
const ROTTEN_BITS: u64 = 40;
/// The most simulated time of a start.
const START_PATIENCE: Duration = Duration::from_secs(300);
const BUCKET: &str = "bucket";
const VERSIONED: &str = "versioned";

/// Derived tables: they outlive the process, and may be lost with any power cut.
#[derive(Debug, Default)]
struct Tables {
    state: Mutex<BTreeMap<(NodeId, u32), Arc<MemoryKv>>>,
    indices: Mutex<BTreeMap<NodeId, Arc<MemoryKv>>>,
}

impl Tables {
    fn index(&self, node: NodeId) -> Arc<MemoryKv> {
        let mut indices = self.indices.lock().expect("one thread");
        Arc::clone(indices.entry(node).or_insert_with(|| Arc::new(MemoryKv::new(shard_index::TABLES))))
    }

    /// Each is as it was some commits ago, or gone.
    fn power_cut(&self, drawn: &Simulated) -> Self {
        let cut = |kv: &Arc<MemoryKv>| (drawn.below(6) > 0).then(|| Arc::new(kv.power_cut(drawn)));
        let state = self.state.lock().expect("one thread");
        let indices = self.indices.lock().expect("one thread");
        let state = state.iter().filter_map(|(place, kv)| Some((*place, cut(kv)?))).collect();
        let indices = indices.iter().filter_map(|(node, kv)| Some((*node, cut(kv)?))).collect();
        Self { state: Mutex::new(state), indices: Mutex::new(indices) }
    }
}

impl StateHome for Tables {
    fn list(&self, node: NodeId, _: &Path) -> Vec<u32> {
        let state = self.state.lock().expect("one thread");
        state.keys().filter(|(held, _)| *held == node).map(|(_, number)| *number).collect()
    }

    fn open(&self, node: NodeId, _: &Path, number: u32) -> KvResult<Arc<dyn Kv>> {
        let mut state = self.state.lock().expect("one thread");
        let kv = state.entry((node, number)).or_insert_with(|| Arc::new(MemoryKv::new(tables::TABLES)));
        Ok(Arc::clone(kv) as _)
    }

    fn discard(&self, node: NodeId, _: &Path, number: u32) -> KvResult<()> {
        self.state.lock().expect("one thread").remove(&(node, number));
        Ok(())
    }
}

/// The parts that outlive the process.
pub struct World {
    pub disk: SimDisk,
    tables: Arc<Tables>,
    ambient: Ambient,
    drawn: Arc<Simulated>,
    /// The log of metadata that makes a snapshot due.
    snapshot_log_bytes_min: u64,
}

/// A running host.
pub struct Host {
    pub gateway: Gateway,
    /// The gateway of a host that is not asked about its writes before the fence is raised, and whose changes are long
    /// under way.
    pub stray: Gateway,
    pub weather: Arc<Weather>,
    /// Puts of the stray host that are under way.
    pub strays: Cell<u64>,
    /// The number of times that the fence was raised and all drives were compared with the metadata.
    pub comparisons: Arc<AtomicU64>,
    pub metadata: MetaHandle,
    pub bucket: BucketId,
    /// The bucket of which every version is kept.
    pub versioned: BucketId,
    pub compactions: Mutex<Vec<Compaction>>,
    pub reclamation: Mutex<Option<Reclamation>>,
    pub healing: Mutex<Option<Healing>>,
    pub healer: HealerHandle,
    pub fencing: Mutex<Option<Fencing>>,
    pub probing: Mutex<Option<Probing>>,
    pub scrubs: Mutex<Vec<Scrub>>,
    pub cluster: ClusterContext,
    pub disk: SimDisk,
    drives: Vec<Drive>,
}

impl World {
    pub fn new(drawn: &Arc<Simulated>) -> Self {
        let snapshot_log_bytes_min = [24 << 10, 96 << 10][drawn.below(2) as usize];
        Self {
            disk: SimDisk::new(DISK_BYTES),
            tables: Arc::default(),
            ambient: drawn.ambient(),
            drawn: Arc::clone(drawn),
            snapshot_log_bytes_min,
        }
    }

    /// Returns the world as the power cut leaves it.
    pub fn power_cut(self, drawn: &Simulated) -> Self {
        let seed = drawn.next();
        let disk = match drawn.below(4) {
            0 => self.disk.power_cut_to_what_was_synced(seed),
            _ => self.disk.power_cut(seed),
        };
        Self { disk, tables: Arc::new(self.tables.power_cut(drawn)), ..self }
    }

    /// An empty drive is in the place of this one.
    pub fn replace_drive(&self, number: usize) {
        self.disk.empty(&dir(number));
        let node = NodeId(number as u32);
        self.tables.state.lock().expect("one thread").retain(|(held, _), _| *held != node);
        self.tables.indices.lock().expect("one thread").remove(&node);
    }

    /// The tables of the metadata are lost, on all drives.
    pub fn forget_state(&self) {
        self.tables.state.lock().expect("one thread").clear();
    }

    /// Returns all rows of the metadata tables but those with their position and time.
    pub fn state_rows(&self) -> Vec<(&'static str, Bytes, Bytes)> {
        let state = self.tables.state.lock().expect("one thread");
        assert_eq!(state.len(), 1, "a host has its tables once");
        let kv = state.values().next().expect("there is one").snapshot();
        let volatile = [tables::SYSTEM_APPLIED, tables::SYSTEM_CLOCK];
        let mut rows = Vec::new();
        for table in tables::TABLES {
            for pair in kv.range(*table, Bound::Unbounded, Bound::Unbounded) {
                let (key, row) = pair.expect("the tables are in memory");
                if *table != tables::SYSTEM || !volatile.contains(&&key[..]) {
                    rows.push((table.0, key, row));
                }
            }
        }
        rows
    }

    /// From now on this drive has this fault.
    pub fn fail_drive(&self, number: usize, fault: DriveFault) {
        self.disk.fail_drive(&dir(number), fault);
    }

    /// Flips a bit in the copy of the log of metadata, or of a snapshot, of this drive; whether there was one.
    pub fn rot_metadata(&self, number: usize, drawn: &Simulated) -> bool {
        let disk = self.disk.handle();
        let mut files: Vec<PathBuf> = Vec::new();
        for dir in ["log", "snapshot"].map(|name| dir(number).join("meta").join(name)) {
            files.extend(disk.list(&dir).unwrap_or_default().into_iter().map(|name| dir.join(name)));
        }
        files.sort();
        if files.is_empty() {
            return false;
        }
        let path = &files[drawn.below(files.len() as u64) as usize];
        let offset = drawn.below(24 << 10);
        self.disk.corrupt(path, offset, 1 << drawn.below(8)).is_ok()
    }

    /// Flips bits in segments of shards of this drive; whether there were any.
    pub fn rot(&self, number: usize, drawn: &Simulated) -> bool {
        let dir = dir(number).join("shards");
        let disk = self.disk.handle();
        let mut segments: Vec<PathBuf> =
            disk.list(&dir).unwrap_or_default().into_iter().map(|name| dir.join(name)).collect();
        segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        segments.sort();
        if segments.is_empty() {
            return false;
        }
        for _ in 0..ROTTEN_BITS {
            let path = &segments[drawn.below(segments.len() as u64) as usize];
            let offset = BLOCK_BYTES as u64 + drawn.below(u64::from(SHARD_SEGMENT_BYTES) / 4);
            self.disk.corrupt(path, offset, 1 << drawn.below(8)).expect("the file is there");
        }
        true
    }

    /// A host that neither starts nor says why is as bad as one that lies.
    pub async fn start(&self) -> Result<Host, String> {
        tokio::time::timeout(START_PATIENCE, self.try_start()).await.unwrap_or_else(|_| Err("it hangs".to_owned()))
    }

    async fn try_start(&self) -> Result<Host, String> {
        let disk = self.disk.handle();
        let dirs: Vec<PathBuf> = (0..DRIVES).map(dir).collect();
        let wanted = WantedGeometry { data: GEOMETRY.data, parity: GEOMETRY.parity, explicit: true, alone: true };
        let host = open_host(&*disk, &dirs, wanted, &self.ambient, &NoLocks).map_err(told)?;
        let pool = BufferPool::new(1 << 20);
        let metadata = consensus::start(self.replica_options(&host, &disk, &pool)?).await.map_err(told)?;
        note_started(&*disk, &dirs).map_err(told)?;
        let mut drives = Vec::new();
        for drive in &host.drives {
            let dir = drive.dir.join("shards");
            let options = LogOptions {
                segment_bytes: SHARD_SEGMENT_BYTES,
                space_refuse_percent: 0,
                ..LogOptions::shards(dir, host.cluster, drive.node, self.ambient.clone(), pool.clone())
            };
            let opened = open_over(drive.node, &disk, &options, self.tables.index(drive.node)).map_err(told)?;
            drives.push(opened.start(Threads::Current));
        }
        register(&metadata, &host).await?;
        let buckets = (bucket(&metadata, BUCKET).await?, bucket(&metadata, VERSIONED).await?);
        let keep =
            Change::SetBucket { bucket: buckets.1, versioning: Some(Versioning::Enabled), lock: false, quota: None };
        metadata.propose(keep).await.map_err(told)?;
        let epoch = metadata.read().await.map_err(told)?.layout().map_err(told)?.epoch;
        Ok(self.join(&host, metadata, drives, (buckets, epoch), pool))
    }

    fn replica_options(
        &self,
        host: &HostDrives,
        disk: &Arc<dyn Disk>,
        pool: &BufferPool,
    ) -> Result<ReplicaOptions, String> {
        let drive = |drive: &sherd::storage::identity::Drive| ReplicaDrive {
            node: drive.node,
            disk: Arc::clone(disk),
            dir: drive.dir.clone(),
        };
        Ok(ReplicaOptions {
            group: GroupId::default(),
            cluster: host.cluster,
            host: host.host,
            address: String::new(),
            forming: Forming::Alone,
            transport: Arc::new(NoOtherHosts),
            ambient: self.ambient.clone(),
            drives: host.drives.iter().map(drive).collect(),
            copies_wanted: usize::from(GEOMETRY.parity) + 1,
            salvages: false,
            first_start: !host.has_started,
            home: Arc::clone(&self.tables) as _,
            offload: Offload::InPlace,
            threads: Threads::Current,
            durability: Durability::Strict,
            segment_bytes: META_SEGMENT_BYTES,
            pool: pool.clone(),
            snapshots: SnapshotPolicy { log_bytes_min: self.snapshot_log_bytes_min },
        })
    }

    fn join(
        &self,
        host: &HostDrives,
        metadata: MetaHandle,
        drives: Vec<Drive>,
        ((bucket, versioned), epoch): ((BucketId, BucketId), Epoch),
        pool: BufferPool,
    ) -> Host {
        let ambient = self.ambient.clone();
        let health = HealthBoard::new(drives.iter().map(|drive| drive.node));
        let (faults, source) = fault_channel();
        let load = UserLoad::default();
        let context = NodeContext {
            threads: Arc::new(Inline),
            health: health.clone(),
            faults: faults.clone(),
            load: load.clone(),
        };
        let weather = Weather::fair(&self.drawn, DRIVES);
        let inner = Arc::new(LocalNode::new(drives.clone(), context));
        let service = Arc::new(Nodes { inner, weather: Arc::clone(&weather) });
        let node = |drive: &Drive| LayoutNode { id: drive.node, host: host.host, weight: 1 };
        let cluster = ClusterContext {
            host: host.host,
            metadata: Arc::new(metadata.clone()),
            ring: RingReader::fixed(&Layout::new(epoch, drives.iter().map(node))),
            peers: ConnectionPool::start_with(Arc::new(PipeDialer { host: host.host, service }), &ambient),
            health: health.clone(),
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
        let frontend = S3Frontend::new(limits, Duration::from_secs(20)).start();
        let upkeep = || CompactionContext {
            threads: Arc::new(Inline),
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
            Compaction::new(drive.clone(), upkeep(), options)
        };
        let reclaim = ReclamationOptions { grace: Duration::ZERO, page: 8, ..ReclamationOptions::default() };
        let healing = HealingOptions { pace: Pace::UNLIMITED, ..HealingOptions::default() };
        let (healing, healer) = Healing::new(cluster.clone(), source, healing);
        // All that no write of this host holds is fenced off at once.
        let fencing = FencingOptions { behind: Duration::ZERO, ..FencingOptions::default() };
        let scrub = |drive: &Drive| {
            let options = ScrubOptions { pace: Pace::UNLIMITED, interval: Duration::ZERO, ..ScrubOptions::default() };
            Scrub::new(drive.clone(), upkeep(), options, ScrubHandle::default())
        };
        Host {
            gateway: Gateway::new(frontend.clone(), requests),
            stray: Gateway::new(frontend, stray),
            weather,
            strays: Cell::new(0),
            comparisons,
            metadata,
            bucket,
            versioned,
            compactions: Mutex::new(drives.iter().map(compaction).collect()),
            reclamation: Mutex::new(Some(Reclamation::new(cluster.clone(), reclaim))),
            healing: Mutex::new(Some(healing)),
            healer,
            fencing: Mutex::new(Some(Fencing::new(cluster.clone(), fencing))),
            probing: Mutex::new(Some(Probing::new(cluster.clone()))),
            scrubs: Mutex::new(drives.iter().map(scrub).collect()),
            cluster,
            disk: self.disk.clone(),
            drives,
        }
    }
}

/// Returns the directory of a drive; nodes are numbered in the order of their directories.
fn dir(number: usize) -> PathBuf {
    PathBuf::from(format!("/d{number}"))
}

async fn register(metadata: &MetaHandle, host: &HostDrives) -> Result<(), String> {
    let known = metadata.read().await.map_err(told)?.nodes().map_err(told)?;
    let is_known = |drive: &sherd::storage::identity::Drive| {
        known.iter().any(|known| known.id == drive.node && known.incarnation == drive.incarnation)
    };
    let record = |drive: &sherd::storage::identity::Drive| NodeRecord {
        state: NodeState::Active,
        id: drive.node,
        host: host.host,
        incarnation: drive.incarnation,
        weight: 1,
        joined: Default::default(),
    };
    let nodes: Vec<NodeRecord> = host.drives.iter().filter(|drive| !is_known(drive)).map(record).collect();
    if !nodes.is_empty() {
        metadata.propose(Change::RegisterNodes { host: host.host, nodes }).await.map_err(told)?;
    }
    Ok(())
}

async fn bucket(metadata: &MetaHandle, name: &str) -> Result<BucketId, String> {
    let create = CreateBucket { name: name.to_owned(), ..CreateBucket::default() };
    match metadata.propose(Change::CreateBucket(Box::new(create))).await.map_err(told)? {
        Reply::BucketCreated { id } => Ok(id),
        Reply::Refused(Refusal::BucketOwnedByCaller) => {
            let found = metadata.read().await.map_err(told)?.bucket(name).map_err(told)?;
            found.map(|row| row.bucket.id).ok_or_else(|| "the bucket is there and is not".to_owned())
        }
        other => Err(format!("{other:?}")),
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Host {
    /// The object's content; `None` where there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.open(self.bucket, key, Pick::Current).await? {
            Some(object) => Ok(Some(self.read(object).await?)),
            None => Ok(None),
        }
    }

    pub async fn open(&self, bucket: BucketId, key: &str, pick: Pick) -> Result<Option<OpenObject>, StoreError> {
        let view = self.metadata.read().await?;
        Ok(self.gateway.open_object(view, bucket, key, pick).await?.object())
    }

    pub async fn read(&self, object: OpenObject) -> Result<Bytes, StoreError> {
        let range = ByteRange { start: 0, end: object.version.manifest.size_bytes };
        let chunks: Vec<Bytes> = self.gateway.read_object(object, range).await?.try_collect().await?;
        Ok(chunks.concat().into())
    }

    /// Every version with its content (`None`: a delete marker) by key, oldest first.
    pub async fn list_versions(&self, context: &str) -> BTreeMap<String, Vec<(Version, Option<Bytes>)>> {
        let mut found: BTreeMap<String, Vec<(Version, Option<Bytes>)>> = BTreeMap::new();
        let view = self.metadata.read().await.expect("the metadata is there");
        let (mut after, mut after_version) = (None, None);
        loop {
            let query = ListQuery { prefix: String::new(), delimiter: None, after, limit: 3 };
            let page = view.list_versions(self.versioned, &query, after_version).expect("the tables are in memory");
            for entry in &page.entries {
                let Listed::Item { key, record } = entry else { panic!("{context}: a prefix nobody asked for") };
                let version = record.row.version();
                let content = match &record.row {
                    VersionRow::DeleteMarker(_) => None,
                    VersionRow::Object(_) => {
                        let pick = Pick::Exact { seq: version.seq, salt: version.salt };
                        let object = self.open(self.versioned, key, pick).await;
                        let object = object.unwrap_or_else(|error| panic!("{context}: {key}: {error}"));
                        let object = object.unwrap_or_else(|| panic!("{context}: {key} is listed and not there"));
                        Some(self.read(object).await.unwrap_or_else(|error| panic!("{context}: {key}: {error}")))
                    }
                };
                found.entry(key.clone()).or_default().insert(0, (version, content));
            }
            if !page.more {
                return found;
            }
            (after, after_version) = (page.next_after, page.next_version);
        }
    }

    /// Every blob that something refers to.
    pub async fn blobs(&self) -> BTreeMap<BlobId, BlobRef> {
        let view = self.metadata.read().await.expect("the metadata is there");
        let (mut found, mut cursor) = (BTreeMap::new(), None);
        loop {
            let (blobs, next) = view.blobs(cursor, 50).expect("the tables are in memory");
            found.extend(blobs.into_iter().map(|blob| (blob.id, blob)));
            cursor = next;
            if cursor.is_none() {
                return found;
            }
        }
    }

    pub async fn garbage(&self) -> BTreeSet<BlobId> {
        let view = self.metadata.read().await.expect("the metadata is there");
        let rows = view.garbage(None, usize::MAX).expect("the tables are in memory");
        rows.into_iter().map(|row| row.blob.id).collect()
    }

    /// Shards that the indexes of all drives have.
    pub fn shards(&self) -> Vec<ShardId> {
        let of_drive = |drive: &Drive| {
            let (page, more) = drive.index.inventory(None, u32::MAX).expect("the tables are in memory");
            assert!(!more, "one page has them all");
            page.into_iter().map(|(shard, _)| shard)
        };
        self.drives.iter().flat_map(of_drive).collect()
    }

    /// Every key, a small page at a time.
    pub async fn list(&self) -> Vec<String> {
        let view = self.metadata.read().await.expect("the metadata is there");
        let mut keys: Vec<String> = Vec::new();
        loop {
            let query = ListQuery { prefix: String::new(), delimiter: None, after: keys.last().cloned(), limit: 3 };
            let page = view.list_objects(self.bucket, &query).expect("the tables are in memory");
            keys.extend(page.entries.iter().map(|entry| entry.key().to_owned()));
            if !page.more {
                return keys;
            }
        }
    }
}

/// Stops a host in order.
pub async fn close(host: Host) {
    for drive in &host.drives {
        // The power may be gone already.
        let _ = drive.close(&host.cluster.threads).await;
    }
    host.metadata.shutdown().await;
}
