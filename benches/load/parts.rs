//! Parts of the store alone, in this process: one log, and the metadata of one host.

use crate::harness::data;
use actix::{Arbiter, System};
use bytes::Bytes;
use sherd::actors::consensus::{
    FjallHome, Forming, GroupId, MetaHandle, Offload, ReplicaDrive, ReplicaOptions, SnapshotPolicy, start,
};
use sherd::actors::log::Threads;
use sherd::ambient::Ambient;
use sherd::limits::Scale;
use sherd::net::NoOtherHosts;
use sherd::storage::buffer::BufferPool;
use sherd::storage::disk::{Disk, SystemDisk};
use sherd::storage::kv::fjall::TableMemory;
use sherd::storage::meta::command::{Change, CreateBucket, PutObject, Reply, WriteConditions};
use sherd::storage::meta::record::{Body, ETag, Manifest, ObjectHeaders, Traits};
use sherd::storage::wal::{Durability, LogOptions, NewRecord, RecordKey, RecordKind, open_log};
use sherd::types::{BucketId, ClusterId, HostId, Lsn, ManifestId, NodeId, UnixMs};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const APPEND_BYTES: usize = 4 << 10;
const POOL_BYTES: usize = 64 << 20;
/// The memory for the blocks of tables that were read.
const CACHE_BYTES: u64 = 8 << 20;

/// Returns the appends a second to a new log, by writers that each wait for their own.
pub fn appends(parent: &Path, writers: usize, durability: Durability, each: Duration) -> f64 {
    let root = tempfile::tempdir_in(parent).expect("the directory can be written");
    let pool = BufferPool::new(POOL_BYTES);
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk::new(pool.clone()));
    let options = LogOptions::meta(root.path().join("log"), ClusterId(1), NodeId(1), Ambient::system(), pool);
    let opened = open_log(disk, LogOptions { durability, ..options }, Lsn::default(), &mut |_| ());
    let opened = opened.expect("a new log opens");
    let body = Bytes::from(data::bytes(4, APPEND_BYTES));
    System::new().block_on(async {
        let log = opened.start(Threads::Own);
        let append = |writer: usize, turn: u32| {
            let (log, body) = (log.clone(), body.clone());
            async move {
                let key = RecordKey { id: writer as u128, shard: 0, part: turn };
                let record = NewRecord { kind: RecordKind::RaftEntry, key, origin: None, body };
                log.append(vec![record]).await.expect("the log takes it");
            }
        };
        let rate = rate(writers, each, append).await;
        log.close().await.expect("the log is closed");
        rate
    })
}

/// Returns the synced changes a second of the metadata of one host with one drive, by writers that each wait for their
/// own. A change stores an object of one byte.
pub fn changes(parent: &Path, writers: usize, each: Duration) -> f64 {
    let root = tempfile::tempdir_in(parent).expect("the directory can be written");
    let options = replica(root.path());
    System::new().block_on(async {
        let arbiter = Arbiter::new();
        let (sender, started) = oneshot::channel();
        arbiter.spawn(async move { drop(sender.send(start(options).await.expect("a new replica starts"))) });
        let meta: MetaHandle = started.await.expect("it has started");
        let create = CreateBucket { name: "bench".to_owned(), ..CreateBucket::default() };
        let Ok(Reply::BucketCreated { id }) = meta.propose(Change::CreateBucket(Box::new(create))).await else {
            panic!("a bucket is created");
        };
        let change = |writer: usize, turn: u32| {
            let meta = meta.clone();
            async move {
                let reply = meta.propose(put(id, writer, turn)).await;
                assert!(matches!(reply, Ok(Reply::ObjectPut { .. })), "{reply:?}");
            }
        };
        let rate = rate(writers, each, change).await;
        meta.shutdown().await;
        rate
    })
}

/// Runs the operation of each writer again and again; returns how many there were a second.
async fn rate<F: Future<Output = ()>>(writers: usize, each: Duration, operation: impl Fn(usize, u32) -> F) -> f64 {
    let begun = Instant::now();
    let writer = |number: usize| {
        let operation = &operation;
        async move {
            let mut done: u32 = 0;
            while done == 0 || begun.elapsed() < each {
                operation(number, done).await;
                done += 1;
            }
            done
        }
    };
    let done = futures::future::join_all((0..writers).map(writer)).await;
    done.into_iter().map(f64::from).sum::<f64>() / begun.elapsed().as_secs_f64()
}

fn replica(root: &Path) -> ReplicaOptions {
    let pool = BufferPool::new(POOL_BYTES);
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk::new(pool.clone()));
    ReplicaOptions {
        group: GroupId::default(),
        cluster: ClusterId(1),
        host: HostId(1),
        address: "127.0.0.1:1".to_owned(),
        forming: Forming::Alone,
        transport: Arc::new(NoOtherHosts),
        ambient: Ambient::system(),
        drives: vec![ReplicaDrive { node: NodeId(1), disk, dir: root.to_owned() }],
        copies_wanted: 1,
        salvages: false,
        first_start: true,
        home: Arc::new(FjallHome {
            memory: TableMemory { cache_bytes: CACHE_BYTES, memtable_bytes: Scale::PRODUCTION.memtable_bytes },
        }),
        offload: Offload::Threads,
        threads: Threads::Own,
        durability: Durability::Strict,
        segment_bytes: Scale::PRODUCTION.meta_segment_bytes,
        pool,
        snapshots: SnapshotPolicy { log_bytes_min: Scale::PRODUCTION.snapshot_log_bytes_min },
    }
}

fn put(bucket: BucketId, writer: usize, turn: u32) -> Change {
    let id = (writer as u128) << 32 | u128::from(turn);
    let manifest = Manifest {
        id: ManifestId(id),
        size_bytes: 1,
        etag: ETag { md5: id.to_be_bytes(), parts: None },
        modified: UnixMs(0),
        headers: ObjectHeaders::default(),
        checksum: None,
        body: Body::Inline,
    };
    Change::PutObject(Box::new(PutObject {
        bucket,
        key: format!("{writer}/{turn}"),
        manifest,
        inline: Some(Bytes::from_static(b"x")),
        conditions: WriteConditions::default(),
        missing: Vec::new(),
        traits: Traits::default(),
        event: None,
    }))
}
