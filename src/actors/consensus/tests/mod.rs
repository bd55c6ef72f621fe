//! Tests of a replica on one actix arbiter, with real files in a temporary directory and tables in memory.

mod bounds;
mod clock;
mod cluster;
mod contradictions;
mod copies;
mod drives;
mod home;
mod power;
mod recovery;
mod suite;
mod tail;
mod writes;

use super::{Forming, GroupId, MetaHandle, Offload, ReplicaDrive, ReplicaOptions, SnapshotPolicy, StartError, start};
use crate::actors::log::Threads;
use crate::ambient::Ambient;
use crate::net::NoOtherHosts;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::Disk;
use crate::storage::disk::SystemDisk;
use crate::storage::meta::command::{Change, CreateBucket, ETagCondition, PutObject, Reply, WriteConditions};
use crate::storage::meta::record::{Body, ETag, Manifest, ObjectHeaders, Traits};
use crate::storage::wal::Durability;
use crate::types::{BucketId, ClusterId, HostId, ManifestId, NodeId, UnixMs};
use bytes::Bytes;
use home::MemoryHome;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// The size of a log's segments: small, so that a test uses several.
const SEGMENT_BYTES: u32 = 2 << 20;

/// A host with some drives, which can be started and stopped.
struct Host {
    root: TempDir,
    disk: Arc<dyn Disk>,
    pool: BufferPool,
    home: Arc<MemoryHome>,
    present: Vec<u32>,
    copies_wanted: usize,
    started: bool,
    ambient: Ambient,
}

impl Host {
    /// Makes a host with as many copies of the log as survive the loss of half of the drives.
    fn with_drives(count: u32) -> Self {
        let pool = BufferPool::new(1 << 20);
        Self {
            root: TempDir::new().expect("a directory for a test"),
            disk: Arc::new(SystemDisk::new(pool.clone())),
            pool,
            home: Arc::new(MemoryHome::default()),
            present: (1..=count).collect(),
            copies_wanted: count as usize / 2 + 1,
            started: false,
            ambient: Ambient::system(),
        }
    }

    fn dir(&self, node: u32) -> PathBuf {
        self.root.path().join(format!("drive-{node}"))
    }

    fn drive(&self, node: u32) -> ReplicaDrive {
        ReplicaDrive { node: NodeId(node), disk: Arc::clone(&self.disk), dir: self.dir(node) }
    }

    fn options(&self) -> ReplicaOptions {
        for node in &self.present {
            std::fs::create_dir_all(self.dir(*node)).expect("a drive's directory");
        }
        ReplicaOptions {
            group: GroupId::default(),
            cluster: ClusterId(1),
            host: HostId(1),
            address: "127.0.0.1:9000".to_owned(),
            forming: Forming::Alone,
            transport: Arc::new(NoOtherHosts),
            ambient: self.ambient.clone(),
            drives: self.present.iter().map(|node| self.drive(*node)).collect(),
            copies_wanted: self.copies_wanted,
            salvages: false,
            first_start: !self.started,
            home: Arc::clone(&self.home) as _,
            offload: Offload::InPlace,
            threads: Threads::Current,
            durability: Durability::Strict,
            segment_bytes: SEGMENT_BYTES,
            pool: self.pool.clone(),
            snapshots: SnapshotPolicy { log_bytes_min: 64 << 20 },
        }
    }

    async fn try_start(&mut self) -> Result<MetaHandle, StartError> {
        let started = start(self.options()).await;
        self.started |= started.is_ok();
        started
    }

    async fn start(&mut self) -> MetaHandle {
        self.try_start().await.expect("the replica starts")
    }

    /// Removes a drive's directory, and the tables on it.
    fn lose(&mut self, node: u32) {
        std::fs::remove_dir_all(self.dir(node)).expect("the drive's directory was there");
        self.home.lose(NodeId(node));
        self.present.retain(|present| *present != node);
    }
}

async fn create_bucket(meta: &MetaHandle, name: &str) -> BucketId {
    let create = CreateBucket { name: name.to_owned(), ..CreateBucket::default() };
    match meta.propose(Change::CreateBucket(Box::new(create))).await {
        Ok(Reply::BucketCreated { id }) => id,
        other => panic!("a bucket is created, not {other:?}"),
    }
}

fn put(bucket: BucketId, key: &str, id: u128, bytes: &[u8]) -> Change {
    let manifest = Manifest {
        id: ManifestId(id),
        size_bytes: bytes.len() as u64,
        etag: ETag { md5: id.to_be_bytes(), parts: None },
        modified: UnixMs(0),
        headers: ObjectHeaders::default(),
        checksum: None,
        body: Body::Inline,
    };
    Change::PutObject(Box::new(PutObject {
        bucket,
        key: key.to_owned(),
        manifest,
        inline: Some(Bytes::copy_from_slice(bytes)),
        conditions: WriteConditions::default(),
        missing: Vec::new(),
        traits: Traits::default(),
        event: None,
    }))
}

fn put_if_absent(bucket: BucketId, key: &str, id: u128) -> Change {
    let Change::PutObject(mut change) = put(bucket, key, id, b"x") else { unreachable!("a put is made by put") };
    change.conditions.if_none_match = Some(ETagCondition::Any);
    Change::PutObject(change)
}

async fn put_ok(meta: &MetaHandle, bucket: BucketId, key: &str, id: u128) {
    match meta.propose(put(bucket, key, id, &id.to_be_bytes())).await {
        Ok(Reply::ObjectPut { .. }) => {}
        other => panic!("an object is put, not {other:?}"),
    }
}

/// Returns the id of the object version under a key. Checks that its bytes are the id.
async fn id_of(meta: &MetaHandle, bucket: BucketId, key: &str) -> Option<u128> {
    let view = meta.read().await.expect("metadata is readable");
    let manifest = view.object(bucket, key).expect("the tables are readable")?.manifest;
    let bytes = view.inline_bytes(manifest.id).expect("the tables are readable").expect("the object has bytes");
    assert_eq!(bytes, manifest.id.to_be_bytes().as_slice());
    Some(manifest.id.0)
}

/// Waits until the condition holds; fails after 20 seconds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "waited in vain until: {what}");
}
