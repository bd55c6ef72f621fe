//! Tests of a drive whose host lacks file descriptors or memory: nothing of that is held against the drive or its chunks.

use super::{NODE, append, bodies, chunks, identity_of, read, shard};
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::test_host::{Seeded, SetClock, set_clock, sim_log_options};
use crate::actors::drives::{
    Drive, DriveMonitor, FaultSource, Inline, LocalNode, NodeContext, UserLoad, WatchedDrive, fault_channel, open_over,
};
use crate::actors::log::Threads;
use crate::ambient::Ambient;
use crate::net::{NodeService, PeerError};
use crate::storage::disk::sim::{Shortage, SimDisk};
use crate::storage::disk::{Disk, OpenFiles, replace_file};
use crate::storage::kv::memory::MemoryKv;
use crate::storage::shard_index::TABLES;
use crate::storage::wal::LogOptions;
use crate::types::Incarnation;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SHORTAGES: [Shortage; 2] = [Shortage::Descriptors, Shortage::Memory];

/// A drive on a simulated disk that keeps one segment open.
struct World {
    disk: SimDisk,
    clock: Arc<SetClock>,
    drive: Drive,
    health: HealthBoard,
    faults: FaultSource,
    service: LocalNode,
}

impl World {
    fn new() -> Self {
        let (disk, clock) = (SimDisk::new(64 << 20), set_clock());
        let options = LogOptions { open_files: OpenFiles::new(1), ..sim_log_options(1 << 20, &clock) };
        let opened = open_over(NODE, &disk.handle(), &options, Arc::new(MemoryKv::new(TABLES))).expect("opened");
        let drive = opened.start(Threads::Current);
        let (sink, faults) = fault_channel();
        let health = HealthBoard::new([NODE]);
        let context =
            NodeContext { threads: Arc::new(Inline), health: health.clone(), faults: sink, load: UserLoad::default() };
        let service = LocalNode::new([drive.clone()].into_iter().collect(), context);
        Self { disk, clock, drive, health, faults, service }
    }

    fn assert_in_service(&self) {
        let health = self.health.current();
        assert_eq!(health.why_not(NODE), None);
        assert!(health.accepts_writes(NODE), "{:?}", health.state(NODE));
    }
}

fn is_shortage<T>(answer: &Result<T, PeerError>) -> bool {
    matches!(answer, Err(PeerError::Unavailable { why, .. }) if why.contains("the host lacks resources"))
}

#[actix::test]
async fn a_read_that_lacks_descriptors_or_memory_is_refused_and_counts_no_chunk_as_corrupt() {
    for shortage in SHORTAGES {
        let mut world = World::new();
        for blob in 1..=2 {
            world.service.append_chunks(append(shard(blob, 0), 0, &bodies(1))).await.expect("appended");
            world.drive.log.rotate().await.expect("rotated");
        }
        let expected: Vec<_> = bodies(1).into_iter().map(Ok).collect();
        for blob in 1..=2 {
            assert_eq!(chunks(&world.service, read(shard(blob, 0), 0, 5)).await, expected);
        }
        world.disk.set_shortage(Some(shortage));
        let refused = world.service.read_chunks(read(shard(1, 0), 0, 5)).await;
        assert!(is_shortage(&refused), "{refused:?}");
        assert!(world.faults.take().is_none(), "no chunk is reported");
        world.assert_in_service();
        world.disk.set_shortage(None);
        assert_eq!(chunks(&world.service, read(shard(1, 0), 0, 5)).await, expected);
        world.drive.log.close().await.expect("closed");
    }
}

#[actix::test]
async fn an_append_that_lacks_descriptors_or_memory_is_refused_and_the_drive_goes_on() {
    for shortage in SHORTAGES {
        let world = World::new();
        let body = [Bytes::from(vec![7; 200_000])];
        world.service.append_chunks(append(shard(0, 0), 0, &body)).await.expect("appended");
        world.disk.set_shortage(Some(shortage));
        let mut stored = 1;
        let refused = loop {
            match world.service.append_chunks(append(shard(stored, 0), 0, &body)).await {
                Ok(()) => stored += 1,
                refused => break refused,
            }
            assert!(stored < 100, "more was stored than there are segments for");
        };
        assert!(is_shortage(&refused), "{refused:?}");
        world.assert_in_service();
        let tickets = 0..world.drive.index.tickets_begun();
        assert!(!world.drive.index.awaits_any_of(tickets), "nothing was appended, so nothing is to be published");
        world.disk.set_shortage(None);
        world.service.append_chunks(append(shard(stored, 0), 0, &body)).await.expect("appended");
        for blob in 0..=stored {
            assert_eq!(chunks(&world.service, read(shard(blob, 0), 0, 1)).await, [Ok(body[0].clone())]);
        }
        world.drive.log.close().await.expect("closed");
    }
}

#[actix::test]
async fn looks_that_lack_descriptors_or_memory_leave_the_drive_in_service_and_writable() {
    let world = World::new();
    let dir = PathBuf::from("/drive");
    replace_file(&world.disk, &dir.join("identity"), b"42").expect("written");
    let watched = WatchedDrive {
        node: NODE,
        dir,
        disk: world.disk.handle(),
        incarnation: Incarnation(42),
        log: world.drive.log.clone(),
        index: world.drive.index.clone(),
    };
    let ambient = Ambient { clock: world.clock.clone(), entropy: Arc::new(Seeded::new(0)) };
    let on_lost = Arc::new(|_, _: &str| {});
    let monitor = DriveMonitor::new([watched], Arc::new(identity_of), world.health.clone(), ambient, on_lost);
    for shortage in SHORTAGES {
        monitor.look_at_all();
        world.disk.set_shortage(Some(shortage));
        (0..30).for_each(|_| monitor.look_at_all());
        world.assert_in_service();
        world.disk.set_shortage(None);
    }
    world.disk.remove(Path::new("/drive/identity")).expect("removed");
    monitor.look_at_all();
    assert!(!world.health.current().in_service(NODE), "a drive that is gone is noticed");
    world.drive.log.close().await.expect("closed");
}
