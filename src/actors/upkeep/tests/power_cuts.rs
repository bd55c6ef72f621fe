//! Power cuts at random changes of the disk, while chunks are appended and dropped and segments are compacted.
//! Acknowledged chunks are found again, and dropped ones are not.

use super::super::{Compaction, CompactionContext, CompactionOptions, Pace};
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::test_host::{Seeded, SetClock, set_clock, sim_log_options};
use crate::actors::drives::{Drive, Inline, LocalNode, NodeContext, UserLoad, fault_channel, open_over};
use crate::actors::log::Threads;
use crate::ambient::Ambient;
use crate::net::{AppendChunks, ChunkFault, NodeService, ReadChunks};
use crate::storage::disk::sim::SimDisk;
use crate::storage::kv::memory::MemoryKv;
use crate::storage::shard_index::TABLES;
use crate::types::{BlobId, ChunkIndex, NodeId, ShardId, ShardNumber};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const NODE: NodeId = NodeId(0);
const SEEDS: u64 = 300;
const CUTS: u64 = 2;
const STEPS: u64 = 60;
const SEGMENT_BYTES: u32 = 128 << 10;
const CHUNKS: u32 = 3;

/// For each chunk, the numbers of the writes whose content it may have; 0 stands for a missing chunk.
type Allowed = BTreeMap<(ShardId, u32), BTreeSet<u64>>;

/// Returns the content of a write; each write has another content and length.
fn content(write: u64) -> Bytes {
    let seeded = Seeded::new(write);
    let length = [100, 5_000, 33_000][seeded.below(3) as usize] + seeded.below(500) as usize;
    seeded.bytes(length)
}

/// A running drive on a simulated disk.
struct Running {
    drive: Drive,
    service: LocalNode,
    compaction: Compaction,
}

fn start(disk: &SimDisk, kv: Arc<MemoryKv>, clock: &Arc<SetClock>) -> Running {
    let options = sim_log_options(SEGMENT_BYTES, clock);
    let drive = open_over(NODE, &disk.handle(), &options, kv).expect("the drive opens").start(Threads::Current);
    let (faults, _) = fault_channel();
    let health = HealthBoard::new([NODE]);
    let load = UserLoad::default();
    let context =
        NodeContext { threads: Arc::new(Inline), health: health.clone(), faults: faults.clone(), load: load.clone() };
    let service = LocalNode::new([drive.clone()].into_iter().collect(), context);
    let ambient = Ambient { clock: clock.clone(), entropy: Arc::new(Seeded::new(0)) };
    let context = CompactionContext { threads: Arc::new(Inline), health, faults, load, ambient };
    let options = CompactionOptions {
        seal_dead_bytes_min: 16 << 10,
        step_records_max: 3,
        pace: Pace::UNLIMITED,
        ..CompactionOptions::for_segments_of(SEGMENT_BYTES.into())
    };
    let compaction = Compaction::new(drive.clone(), context, options);
    Running { drive, service, compaction }
}

fn random_shard(seeded: &Seeded) -> ShardId {
    ShardId { blob: BlobId(1 + u128::from(seeded.below(5))), shard: ShardNumber(seeded.below(2) as u8) }
}

/// Appends, drops or compacts at random, and updates the allowed contents.
async fn step(running: &mut Running, allowed: &mut Allowed, seeded: &Seeded, writes: &mut u64) {
    let shard = random_shard(seeded);
    match seeded.below(8) {
        0..4 => {
            *writes += 1;
            let chunk = seeded.below(CHUNKS.into()) as u32;
            let request = AppendChunks {
                node: NODE,
                shard,
                first: ChunkIndex(chunk),
                chunks: vec![content(*writes)],
                trace: None,
            };
            let may_be = allowed.entry((shard, chunk)).or_insert_with(|| BTreeSet::from([0]));
            if running.service.append_chunks(request).await.is_ok() {
                may_be.clear();
            }
            may_be.insert(*writes);
        }
        4 => {
            let dropped = running.service.drop_shards(NODE, vec![shard]).await.is_ok();
            for (_, may_be) in allowed.range_mut((shard, 0)..=(shard, CHUNKS)) {
                if dropped {
                    may_be.clear();
                }
                may_be.insert(0);
            }
        }
        // A compaction step that fails at the cut promises nothing.
        _ => drop(running.compaction.advance().await),
    }
}

/// Reads all chunks, checks that their contents are allowed, and returns them.
async fn check(service: &LocalNode, allowed: &Allowed, context: &str) -> Allowed {
    let mut found = Allowed::new();
    for ((shard, chunk), may_be) in allowed {
        let request = ReadChunks { node: NODE, shard: *shard, first: ChunkIndex(*chunk), count: 1, trace: None };
        let read = service.read_chunks(request).await.expect("the drive serves").chunks.remove(0);
        let is = |write: &u64| match &read {
            Ok(body) => *write > 0 && *body == content(*write),
            Err(ChunkFault::Missing) => *write == 0,
            Err(ChunkFault::Corrupt) => false,
        };
        let which = may_be.iter().copied().find(is);
        let length = read.as_ref().map(Bytes::len);
        let which =
            which.unwrap_or_else(|| panic!("{context}: {shard:?} chunk {chunk} is none of {may_be:?}: {length:?}"));
        found.insert((*shard, *chunk), BTreeSet::from([which]));
    }
    found
}

#[actix::test]
async fn w12_power_cuts_lose_no_live_chunk_and_revive_no_dropped_shard() {
    let mut released = 0;
    for seed in 0..SEEDS {
        let (seeded, clock) = (Seeded::new(seed), set_clock());
        let (mut disk, mut kv) = (SimDisk::new(64 << 20), Arc::new(MemoryKv::new(TABLES)));
        let (mut allowed, mut writes) = (Allowed::new(), 0);
        for cut in 0..CUTS {
            let mut running = start(&disk, kv.clone(), &clock);
            disk.halt_at(disk.operations().changes + 20 + seeded.below(200));
            for _ in 0..STEPS {
                step(&mut running, &mut allowed, &seeded, &mut writes).await;
                if disk.is_halted() {
                    break;
                }
            }
            released += u64::from(running.drive.log.segments().first().is_some_and(|first| first.id.0 > 1));
            let after = disk.power_cut(seeded.next());
            kv = Arc::new(kv.power_cut(&seeded));
            drop(running.drive.log.close().await);
            disk = after;

            let context = format!("seed {seed}, cut {cut}");
            let rebuilt = start(&disk, Arc::new(MemoryKv::new(TABLES)), &clock);
            let found = check(&rebuilt.service, &allowed, &format!("{context}, rebuilt")).await;
            rebuilt.drive.index.check_invariants();
            drop(rebuilt.drive.log.close().await);
            let replayed = start(&disk, kv.clone(), &clock);
            allowed = check(&replayed.service, &found, &format!("{context}, replayed")).await;
            replayed.drive.index.check_invariants();
            drop(replayed.drive.log.close().await);
        }
    }
    assert!(released > SEEDS / 2, "segments were emptied and released before {released} of the cuts");
}
