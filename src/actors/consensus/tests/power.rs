//! Power cuts of a single host at random changes of its disks: every acknowledged change is there afterwards.

use super::home::MemoryHome;
use super::{create_bucket, id_of, put};
use crate::actors::consensus::{
    Forming, GroupId, MetaHandle, Offload, ReplicaDrive, ReplicaOptions, SnapshotPolicy, start,
};
use crate::actors::log::Threads;
use crate::ambient::{Ambient, Clock, Entropy};
use crate::net::NoOtherHosts;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::sim::SimDisk;
use crate::storage::meta::command::Reply;
use crate::storage::wal::Durability;
use crate::types::{BucketId, ClusterId, HostId, NodeId, UnixMs};
use futures::future::join_all;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DRIVES: u32 = 3;
const COPIES: usize = 2;
const DRIVE: &str = "/drive";
const DISK_BYTES: u64 = 512 << 20;

/// The time of the paused runtime, and randomness from a seed.
#[derive(Debug)]
pub(super) struct Simulated {
    start: tokio::time::Instant,
    state: AtomicU64,
}

impl Simulated {
    pub(super) fn ambient(seed: u64) -> Ambient {
        let made = Arc::new(Self { start: tokio::time::Instant::now(), state: AtomicU64::new(seed) });
        Ambient { clock: Arc::clone(&made) as _, entropy: made }
    }

    /// Returns the next number of splitmix64.
    fn next(&self) -> u64 {
        let state = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Clock for Simulated {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(1_700_000_000_000 + self.monotonic().as_millis() as u64)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Entropy for Simulated {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

pub(super) struct World {
    pub(super) disks: Vec<SimDisk>,
    pub(super) home: Arc<MemoryHome>,
    pub(super) pool: BufferPool,
    pub(super) ambient: Ambient,
    pub(super) durability: Durability,
}

impl World {
    pub(super) fn new(seed: u64, drives: u32) -> Self {
        let disks: Vec<SimDisk> = (0..drives).map(|_| SimDisk::new(DISK_BYTES)).collect();
        for disk in disks.iter().map(SimDisk::handle) {
            disk.create_dir_all(Path::new(DRIVE)).expect("a fresh disk takes a directory");
            disk.sync_dir(Path::new("/")).expect("a fresh disk syncs");
        }
        let pool = BufferPool::new(1 << 20);
        Self { disks, home: Arc::default(), pool, ambient: Simulated::ambient(seed), durability: Durability::Strict }
    }

    pub(super) fn options(&self, first_start: bool) -> ReplicaOptions {
        let drive = |(node, disk): (u32, &SimDisk)| ReplicaDrive {
            node: NodeId(node),
            disk: disk.handle(),
            dir: PathBuf::from(DRIVE),
        };
        ReplicaOptions {
            group: GroupId::default(),
            cluster: ClusterId(1),
            host: HostId(1),
            address: String::new(),
            forming: Forming::Alone,
            transport: Arc::new(NoOtherHosts),
            ambient: self.ambient.clone(),
            drives: (1..).zip(&self.disks).map(drive).collect(),
            copies_wanted: COPIES.min(self.disks.len()),
            salvages: false,
            first_start,
            home: Arc::clone(&self.home) as _,
            offload: Offload::InPlace,
            threads: Threads::Current,
            durability: self.durability,
            segment_bytes: 128 << 10,
            pool: self.pool.clone(),
            snapshots: SnapshotPolicy { log_bytes_min: 32 << 10 },
        }
    }

    fn draw(&self, below: u64) -> u64 {
        (self.ambient.random_u128() as u64) % below
    }

    /// Returns the world after a power cut of all disks at once.
    pub(super) fn power_cut(self) -> Self {
        let seed = self.draw(u64::MAX);
        let disks = (0..).zip(&self.disks).map(|(nth, disk)| disk.power_cut(seed.wrapping_add(nth))).collect();
        let home = Arc::new(self.home.power_cut(&*self.ambient.entropy));
        Self { disks, home, ..self }
    }
}

/// The last acknowledged and the last attempted id of each key; after a power cut the key must have one from the former
/// to the latter.
#[derive(Clone, Debug, Default)]
struct Ledger {
    acknowledged: BTreeMap<String, u128>,
    attempted: BTreeMap<String, u128>,
}

async fn write_until_the_power_goes(
    meta: &MetaHandle,
    bucket: BucketId,
    ledger: &Rc<RefCell<Ledger>>,
    ids: std::ops::Range<u128>,
) {
    let writer = |key: u128| {
        let (meta, ledger, ids) = (meta.clone(), Rc::clone(ledger), ids.clone());
        async move {
            let key = format!("key-{key}");
            for id in ids {
                ledger.borrow_mut().attempted.insert(key.clone(), id);
                match meta.propose(put(bucket, &key, id, &id.to_be_bytes())).await {
                    Ok(Reply::ObjectPut { .. }) => ledger.borrow_mut().acknowledged.insert(key.clone(), id),
                    Ok(other) => panic!("a put is never answered {other:?}"),
                    Err(_) => break,
                };
            }
        }
    };
    let writers = join_all((0..4).map(writer));
    // Writers that still wait when the disks have halted are given up.
    let _ = tokio::time::timeout(Duration::from_secs(30), writers).await;
}

async fn check(meta: &MetaHandle, bucket: BucketId, ledger: &Ledger) {
    for (key, attempted) in &ledger.attempted {
        let found = id_of(meta, bucket, key).await;
        let acknowledged = ledger.acknowledged.get(key).copied();
        assert!(found >= acknowledged && found <= Some(*attempted), "{key}: {acknowledged:?}, {found:?}, {attempted}");
    }
}

async fn survive(seed: u64) {
    let mut world = World::new(seed, DRIVES);
    let meta = start(world.options(true)).await.expect("the replica starts");
    let bucket = create_bucket(&meta, "b").await;
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let mut running = meta;
    for round in 0..3_u128 {
        let cut = world.draw(300);
        let halted = world.draw(2) == 0;
        for disk in &world.disks {
            let now = disk.operations().changes;
            disk.halt_at(now + 1 + if halted { cut } else { world.draw(300) });
        }
        let first = round * 1000;
        write_until_the_power_goes(&running, bucket, &ledger, first..first + 40).await;
        world = world.power_cut();
        running = start(world.options(false)).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let written = ledger.borrow().clone();
        check(&running, bucket, &written).await;
    }
    running.shutdown().await;
}

/// A failure names its seed.
#[test]
fn no_acknowledged_change_is_lost_in_a_power_cut() {
    for seed in 0..200 {
        actix::System::with_tokio_rt(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().start_paused(true).build().expect("a runtime")
        })
        .block_on(survive(seed));
    }
}
