//! Tests of late publication: appends that a failed index refused are published later, within a bound.

use super::{LatePublications, append_and_publish};
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::test_host::{SetClock, set_clock, sim_log_options};
use crate::actors::drives::{Drive, Inline, LocalNode, NodeContext, UserLoad, chunk_key, fault_channel, open_over};
use crate::actors::log::Threads;
use crate::net::{AppendChunks, ChunkFault, NodeService, PeerError, ReadChunks};
use crate::storage::disk::sim::{Held, SimDisk};
use crate::storage::kv::memory::{MemoryKv, Writes};
use crate::storage::shard_index::{ChunkId, TABLES};
use crate::storage::wal::{NewRecord, RecordKind};
use crate::types::{BlobId, ChunkIndex, NodeId, SegmentId, ShardId, ShardNumber};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

const NODE: NodeId = NodeId(0);

/// A drive whose index can be made to fail.
struct World {
    disk: SimDisk,
    kv: Arc<MemoryKv>,
    clock: Arc<SetClock>,
    drive: Drive,
    context: NodeContext,
    service: LocalNode,
}

impl World {
    fn new() -> Self {
        Self::with_threads(Threads::Current)
    }

    fn with_threads(threads: Threads) -> Self {
        Self::start(SimDisk::new(64 << 20), Arc::new(MemoryKv::new(TABLES)), set_clock(), threads)
    }

    fn start(disk: SimDisk, kv: Arc<MemoryKv>, clock: Arc<SetClock>, threads: Threads) -> Self {
        let options = sim_log_options(1 << 20, &clock);
        let opened = open_over(NODE, &disk.handle(), &options, kv.clone()).expect("the drive opens");
        let drive = opened.start(threads);
        let context = NodeContext {
            threads: Arc::new(Inline),
            health: HealthBoard::new([NODE]),
            faults: fault_channel().0,
            load: UserLoad::default(),
        };
        let service = LocalNode::new([drive.clone()].into_iter().collect(), context.clone());
        Self { disk, kv, clock, drive, context, service }
    }

    async fn restarted(self) -> Self {
        self.drive.log.close().await.expect("closed");
        Self::start(self.disk, self.kv, self.clock, Threads::Current)
    }

    async fn append(&self, blob: u128) -> Result<(), PeerError> {
        let request = AppendChunks {
            node: NODE,
            shard: shard(blob),
            first: ChunkIndex(0),
            chunks: vec![content(blob)],
            trace: None,
        };
        self.service.append_chunks(request).await
    }

    async fn append_with(&self, late: &LatePublications, blob: u128) -> Result<(), PeerError> {
        let id = ChunkId { shard: shard(blob), chunk: ChunkIndex(0) };
        let record = NewRecord { kind: RecordKind::Chunk, key: chunk_key(id), origin: None, body: content(blob) };
        let (drive, context) = (self.drive.clone(), self.context.clone());
        append_and_publish(drive, context, late.clone(), vec![record], move |index, ticket, places| {
            index.publish_chunks(ticket, &[(id, places[0])])
        })
        .await
    }

    async fn read(&self, blob: u128) -> Result<Bytes, ChunkFault> {
        let request = ReadChunks { node: NODE, shard: shard(blob), first: ChunkIndex(0), count: 1, trace: None };
        self.service.read_chunks(request).await.expect("the drive serves").chunks.remove(0)
    }

    /// Advances the time until no publication waits.
    async fn settle(&self) {
        tokio::time::pause();
        for _ in 0..1000 {
            if !self.drive.index.awaits(SegmentId(u32::MAX)) {
                return tokio::time::resume();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("a publication waits for ever");
    }
}

fn shard(blob: u128) -> ShardId {
    ShardId { blob: BlobId(blob), shard: ShardNumber(0) }
}

fn content(blob: u128) -> Bytes {
    vec![blob as u8; 5000].into()
}

/// Otherwise the index would show the shard whole, a move back would count it as there, and the next start would drop it
/// by the tombstone that is in the log.
#[actix::test]
async fn a_drop_that_the_log_answers_too_late_is_published_once_it_does() {
    let world = World::with_threads(Threads::Own);
    world.append(1).await.expect("appended");
    let hold = world.disk.hold(Held::Sync);
    tokio::time::pause();
    let dropped = world.service.drop_shards(NODE, vec![shard(1)]).await;
    tokio::time::resume();
    assert!(matches!(dropped, Err(PeerError::TimedOut(_))), "{dropped:?}");
    assert_eq!(world.read(1).await, Ok(content(1)), "the drop is not durable yet");
    drop(hold);
    // The log's own threads take real time.
    for _ in 0..3000 {
        if !world.drive.index.awaits(SegmentId(u32::MAX)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.read(1).await, Err(ChunkFault::Missing));
    let world = world.restarted().await;
    assert_eq!(world.read(1).await, Err(ChunkFault::Missing));
    world.append(1).await.expect("appended again");
    let world = world.restarted().await;
    assert_eq!(world.read(1).await, Ok(content(1)));
}

#[actix::test]
async fn appends_refused_by_a_failed_index_are_published_when_it_recovers() {
    for writes in [Writes::Refused, Writes::KeptAndFailed] {
        let world = World::new();
        world.append(1).await.expect("appended");
        world.kv.set_writes(writes);
        assert!(matches!(world.append(2).await, Err(PeerError::Unavailable { .. })));
        let dropped = world.service.drop_shards(NODE, vec![shard(1)]).await;
        assert!(matches!(dropped, Err(PeerError::Unavailable { .. })));
        assert!(world.drive.index.awaits(SegmentId(1)));
        world.kv.set_writes(Writes::Kept);
        world.settle().await;
        assert_eq!(world.read(1).await, Err(ChunkFault::Missing));
        assert_eq!(world.read(2).await, Ok(content(2)));
        assert_eq!(world.drive.index.watermark().expect("read"), world.drive.index.head());
        world.drive.index.check_invariants();
        world.append(3).await.expect("appended");
        world.drive.log.close().await.expect("closed");
    }
}

#[actix::test]
async fn late_publications_beyond_the_bound_are_made_at_the_next_start() {
    let world = World::new();
    let late = LatePublications::at_most(1);
    world.kv.set_writes(Writes::Refused);
    for blob in [1, 2] {
        world.append_with(&late, blob).await.expect_err("the index fails");
    }
    world.kv.set_writes(Writes::Kept);
    world.settle().await;
    assert_eq!(world.read(1).await, Ok(content(1)));
    assert_eq!(world.read(2).await, Err(ChunkFault::Missing));
    world.append_with(&late, 3).await.expect("appended");
    let world = world.restarted().await;
    for blob in [1, 2, 3] {
        assert_eq!(world.read(blob).await, Ok(content(blob)));
    }
    world.drive.log.close().await.expect("closed");
}

#[actix::test]
async fn nothing_is_published_on_a_drive_that_is_out_of_service() {
    let world = World::new();
    world.kv.set_writes(Writes::Refused);
    world.append(1).await.expect_err("the index fails");
    world.context.health.take_out(NODE, "pulled");
    world.kv.set_writes(Writes::Kept);
    world.settle().await;
    assert_eq!(world.drive.index.count(shard(1)).expect("counted"), 0);
    world.drive.log.close().await.expect("closed");
}
