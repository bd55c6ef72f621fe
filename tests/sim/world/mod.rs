//! The store on a simulated disk, assembled as `host` does it, but in one thread.

mod assembly;
mod host;
mod tables;

pub use self::host::{Host, close};

use self::assembly::Opened;
use self::tables::Tables;
use super::ambient::Simulated;
use super::damage::Variant;
use bytes::Bytes;
use sherd::actors::consensus::{
    self, Forming, GroupId, MetaHandle, Offload, ReplicaDrive, ReplicaOptions, SnapshotPolicy,
};
use sherd::actors::drives::health::HealthBoard;
use sherd::actors::drives::{Drive, open_over};
use sherd::actors::log::Threads;
use sherd::ambient::Ambient;
use sherd::limits::BLOCK_BYTES;
use sherd::net::NoOtherHosts;
use sherd::storage::buffer::BufferPool;
use sherd::storage::disk::sim::{DriveFault, SimDisk};
use sherd::storage::disk::{Disk, OpenFiles};
use sherd::storage::identity::{DriveState, HostDrives, NoLocks, WantedGeometry, note_started, open_host};
use sherd::storage::kv::Kv;
use sherd::storage::meta::command::{Change, CreateBucket, Refusal, Reply};
use sherd::storage::meta::record::{NodeRecord, NodeState, QuotaChange, Versioning};
use sherd::storage::meta::tables as rows;
use sherd::storage::meta::view::MetaView;
use sherd::storage::ring::Layout;
use sherd::storage::wal::LogOptions;
use sherd::types::{BucketId, Geometry, NodeId};
use std::cell::Cell;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub const DRIVES: usize = 4;
const GEOMETRY: Geometry = Geometry { data: 2, parity: 2, chunk_size_bytes: 8 << 10 };
const DISK_BYTES: u64 = 1 << 30;
const SHARD_SEGMENT_BYTES: u32 = 512 << 10;
const META_SEGMENT_BYTES: u32 = 128 << 10;
/// The segments of shards that a drive keeps open: so few that they are opened again all the time.
const OPEN_SEGMENTS: usize = 2;
const ROTTEN_BITS: u64 = 40;
/// The most simulated time of a start.
const START_PATIENCE: Duration = Duration::from_secs(300);
const BUCKET: &str = "bucket";
const VERSIONED: &str = "versioned";

/// The parts that outlive a process: the disk, the tables, the clock.
pub struct World {
    pub disk: SimDisk,
    tables: Arc<Tables>,
    ambient: Ambient,
    drawn: Arc<Simulated>,
    /// The size of the metadata log at which a snapshot is due.
    snapshot_log_bytes_min: u64,
    variant: Variant,
    /// True once a start has succeeded; only then may a drive be absent at a start.
    formed: Cell<bool>,
}

impl World {
    pub fn new(drawn: &Arc<Simulated>, variant: Variant) -> Self {
        let snapshot_log_bytes_min = [24 << 10, 96 << 10][drawn.below(2) as usize];
        Self {
            disk: SimDisk::new(DISK_BYTES),
            tables: Arc::default(),
            ambient: drawn.ambient(),
            drawn: Arc::clone(drawn),
            snapshot_log_bytes_min,
            variant,
            formed: Cell::new(false),
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

    /// Replaces a drive by an empty one.
    pub fn replace_drive(&self, number: usize) {
        self.disk.empty(&dir(number));
        let node = NodeId(number as u32);
        self.tables.state.lock().expect("one thread").retain(|(held, _), _| *held != node);
        self.tables.indices.lock().expect("one thread").remove(&node);
    }

    /// Drops the metadata tables on all drives.
    pub fn forget_state(&self) {
        self.tables.state.lock().expect("one thread").clear();
    }

    /// Returns all rows of the metadata tables but those with their position and time.
    pub fn state_rows(&self) -> Vec<(&'static str, Bytes, Bytes)> {
        let state = self.tables.state.lock().expect("one thread");
        assert_eq!(state.len(), 1, "a host has its tables once");
        let kv = state.values().next().expect("there is one").snapshot();
        let volatile = [rows::SYSTEM_APPLIED, rows::SYSTEM_CLOCK];
        let mut rows = Vec::new();
        for table in rows::TABLES {
            for pair in kv.range(*table, Bound::Unbounded, Bound::Unbounded) {
                let (key, row) = pair.expect("the tables are in memory");
                if *table != rows::SYSTEM || !volatile.contains(&&key[..]) {
                    rows.push((table.0, key, row));
                }
            }
        }
        rows
    }

    /// Gives a drive a fault.
    pub fn fail_drive(&self, number: usize, fault: DriveFault) {
        self.disk.fail_drive(&dir(number), fault);
    }

    pub fn has_formed(&self) -> bool {
        self.formed.get()
    }

    /// Removes the faults of all drives.
    pub fn mend_all(&self) {
        (0..DRIVES).for_each(|number| self.disk.mend_drive(&dir(number)));
    }

    /// Flips a bit in this drive's copy of the metadata log or of a snapshot; returns whether there was one.
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

    /// Flips bits in the shard segments of this drive; returns whether there were any.
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

    /// Starts a host; a start that hangs is an error, too.
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
        note_started(&*disk, &host.usable_dirs()).map_err(told)?;
        let health = HealthBoard::new(host.drives.iter().map(|drive| drive.node));
        let drives = self.open_drives(&host, &disk, &pool, &health)?;
        register(&metadata, &host).await?;
        let (bucket, versioned) = (bucket(&metadata, BUCKET).await?, bucket(&metadata, VERSIONED).await?);
        let (versioning, quota) = (Some(Versioning::Enabled), QuotaChange::default());
        let keep = Change::SetBucket { bucket: versioned, versioning, lock: None, quota };
        metadata.propose(keep).await.map_err(told)?;
        let view = metadata.read().await.map_err(told)?;
        self.formed.set(true);
        Ok(self.assemble(Opened { host, metadata, drives, health, bucket, versioned, view }, pool))
    }

    /// Opens the usable drives. An unusable drive is taken out of service, and must be explained by the seed's damage.
    fn open_drives(
        &self,
        host: &HostDrives,
        disk: &Arc<dyn Disk>,
        pool: &BufferPool,
        health: &HealthBoard,
    ) -> Result<Vec<Drive>, String> {
        let mut drives = Vec::new();
        for drive in &host.drives {
            let options = LogOptions {
                segment_bytes: SHARD_SEGMENT_BYTES,
                space_refuse_percent: 0,
                open_files: OpenFiles::new(OPEN_SEGMENTS),
                durability: self.variant.durability(),
                ..LogOptions::shards(
                    drive.dir.join("shards"),
                    host.cluster,
                    drive.node,
                    self.ambient.clone(),
                    pool.clone(),
                )
            };
            let opened = match &drive.state {
                DriveState::Lost { why } => Err(why.clone()),
                _ => open_over(drive.node, disk, &options, self.tables.index(drive.node)).map_err(told),
            };
            match opened {
                Ok(opened) => drives.push(opened.start(Threads::Current)),
                Err(why) if self.variant.loses_drives() && !self.disk.is_halted() => {
                    health.take_out(drive.node, &why);
                }
                Err(why) => return Err(why),
            }
        }
        Ok(drives)
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
            drives: host.drives.iter().filter(|drive| is_usable(drive)).map(drive).collect(),
            copies_wanted: usize::from(GEOMETRY.parity) + 1,
            salvages: false,
            first_start: !host.has_started,
            home: Arc::clone(&self.tables) as _,
            offload: Offload::InPlace,
            threads: Threads::Current,
            durability: self.variant.durability(),
            segment_bytes: META_SEGMENT_BYTES,
            pool: pool.clone(),
            snapshots: SnapshotPolicy { log_bytes_min: self.snapshot_log_bytes_min },
        })
    }
}

/// Returns the directory of a drive; nodes are numbered in the order of their directories.
fn dir(number: usize) -> PathBuf {
    PathBuf::from(format!("/d{number}"))
}

fn is_usable(drive: &sherd::storage::identity::Drive) -> bool {
    !matches!(drive.state, DriveState::Lost { .. })
}

fn layout_of(view: &MetaView) -> Layout {
    let read = "the tables are in memory";
    view.layout().expect(read).ring_layout(&view.hosts().expect(read), &view.nodes().expect(read))
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
    let new = host.drives.iter().filter(|drive| is_usable(drive) && !is_known(drive));
    let nodes: Vec<NodeRecord> = new.map(record).collect();
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
