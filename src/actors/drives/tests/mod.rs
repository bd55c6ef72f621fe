//! Tests of `LocalNode` over real logs and indexes, and of `DriveMonitor` over real directories.

mod shortage;

use super::test_host::{Seeded, TestHost, blob_of, drive_options, flip_byte_of, open_drives, open_host, set_clock};
use super::{Drive, DriveList, DriveMonitor, LocalNode, WatchedDrive, drive_of_test, open_drive};
use crate::actors::drives::health::{Contents, SpaceLevel};
use crate::actors::log::Threads;
use crate::net::{AppendChunks, ChunkFault, NodeService, PeerError, ReadChunks};
use crate::storage::disk::sim::{Held, SimDisk};
use crate::storage::disk::{Disk, read_file, replace_file};
use crate::storage::identity::TRIAL_FILE;
use crate::types::{BlobId, ChunkIndex, Incarnation, NodeId, ShardId, ShardNumber};
use bytes::Bytes;
use futures::FutureExt;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NODE: NodeId = NodeId(0);

fn shard(blob: u128, number: u8) -> ShardId {
    ShardId { blob: BlobId(blob), shard: ShardNumber(number) }
}

fn append(of: ShardId, first: u32, chunks: &[Bytes]) -> AppendChunks {
    AppendChunks { node: NODE, shard: of, first: ChunkIndex(first), chunks: chunks.to_vec(), trace: None }
}

fn read(of: ShardId, first: u32, count: u32) -> ReadChunks {
    ReadChunks { node: NODE, shard: of, first: ChunkIndex(first), count, trace: None }
}

async fn chunks(service: &LocalNode, request: ReadChunks) -> Vec<Result<Bytes, ChunkFault>> {
    service.read_chunks(request).await.expect("read").chunks
}

/// Returns chunk bodies: small ones, which are packed into shared blocks, and large ones, which are not.
fn bodies(seed: u64) -> Vec<Bytes> {
    let seeded = Seeded::new(seed);
    [10, 5000, 40_000, 262_144, 64].map(|length| seeded.bytes(length)).to_vec()
}

fn files_below(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        }
        found.insert(path);
    }
    found
}

#[actix::test]
async fn p1_p2_shards_of_one_blob_on_one_node_never_collide() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    for number in 0..6 {
        let request = append(shard(1, number), 0, &bodies(u64::from(number)));
        host.service.append_chunks(request).await.expect("appended");
    }
    for number in 0..6 {
        let expected: Vec<_> = bodies(u64::from(number)).into_iter().map(Ok).collect();
        assert_eq!(chunks(&host.service, read(shard(1, number), 0, 5)).await, expected);
    }
    host.close().await;
}

#[actix::test]
async fn p1_a_4_plus_2_object_on_one_node_survives_losing_any_two_shards() {
    let root = tempfile::tempdir().expect("a directory");
    let clock = set_clock();
    let host = TestHost::new(open_drives(root.path(), 1, &clock), 4, 2, clock, None).await;
    let content = Seeded::new(3).bytes(500_000);
    for (lost, other) in (0..6).flat_map(|lost| (0..lost).map(move |other| (lost, other))) {
        let manifest = host.put("key", &content).await.expect("stored");
        let id = blob_of(&manifest).id;
        let shards = [lost, other].map(|shard| ShardId { blob: id, shard: ShardNumber(shard) });
        host.service.drop_shards(NODE, shards.to_vec()).await.expect("dropped");
        assert_eq!(host.get("key").await.expect("read").as_ref(), Some(&content), "without {lost} and {other}");
    }
    host.close().await;
}

#[actix::test]
async fn w8_a_corrupt_chunk_is_reported_and_does_not_affect_its_neighbours() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 1, 0).await;
    let of = shard(1, 0);
    host.service.append_chunks(append(of, 0, &bodies(1))).await.expect("appended");
    for (bad, chunk) in [(1, ChunkIndex(1)), (3, ChunkIndex(3))] {
        flip_byte_of(&host, root.path(), NODE, of, chunk);
        let read = chunks(&host.service, read(of, bad, 1)).await;
        assert_eq!(read, [Err(ChunkFault::Corrupt)]);
    }
    let read = chunks(&host.service, read(of, 0, 6)).await;
    let good: Vec<bool> = read.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, true, false, true, false]);
    assert_eq!(read[5], Err(ChunkFault::Missing));
    let report = host.faults.as_mut().expect("no healer").take().expect("a report");
    assert_eq!((report.node, report.shard, report.fault), (NODE, of, ChunkFault::Corrupt));
    host.close().await;
}

#[actix::test]
async fn w13_reads_of_absent_shards_create_no_files_or_records() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    host.service.append_chunks(append(shard(1, 0), 0, &bodies(1))).await.expect("appended");
    // The log creates its next segment in advance: wait for it, so that the list of files is stable.
    let next = root.path().join("0").join("shards").join("00000002.seg");
    let made = async {
        while !next.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), made).await.expect("the next segment is made");
    let before = files_below(root.path());
    let appends = host.drives[0].log.status().appends;
    assert_eq!(chunks(&host.service, read(shard(9, 9), 4, 3)).await, vec![Err(ChunkFault::Missing); 3]);
    assert_eq!(host.service.count_chunks(NODE, vec![shard(9, 9)]).await.expect("counted"), [0]);
    assert_eq!(host.service.inventory(NODE, Some(shard(1, 0)), 100).await.expect("listed").shards, []);
    host.service.drop_shards(NODE, vec![shard(9, 9)]).await.expect("never there");
    assert_eq!(files_below(root.path()), before);
    assert_eq!(host.drives[0].log.status().appends, appends);
    host.close().await;
}

#[actix::test]
async fn dropped_shards_are_gone_and_the_others_stay() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    for number in 0..3 {
        host.service.append_chunks(append(shard(1, number), 0, &bodies(1))).await.expect("appended");
    }
    host.service.drop_shards(NODE, vec![shard(1, 0), shard(1, 2)]).await.expect("dropped");
    host.service.drop_shards(NODE, vec![shard(1, 0)]).await.expect("dropped again");
    let shards = vec![shard(1, 0), shard(1, 1), shard(1, 2)];
    assert_eq!(host.service.count_chunks(NODE, shards).await.expect("counted"), [0, 5, 0]);
    let page = host.service.inventory(NODE, None, 10).await.expect("listed");
    assert_eq!(page.shards, [(shard(1, 1), 5)]);
    host.close().await;
}

#[actix::test]
async fn a_node_refuses_foreign_malformed_and_unservable_requests() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    let of = shard(1, 0);
    let body = [Bytes::from_static(b"body")];
    let other = AppendChunks { node: NodeId(7), ..append(of, 0, &body) };
    assert!(matches!(host.service.append_chunks(other).await, Err(PeerError::NoSuchNode(NodeId(7)))));
    for bad in
        [append(of, u32::MAX, &body), append(of, 0, &[Bytes::new()]), append(of, 0, &[Bytes::from(vec![0; 1 << 20])])]
    {
        assert!(matches!(host.service.append_chunks(bad).await, Err(PeerError::Unavailable { .. })));
    }
    assert!(host.service.read_chunks(read(of, 0, u32::MAX)).await.is_err());
    host.upkeep.health.update(NODE, |state| state.level = SpaceLevel::Exhausted);
    assert!(matches!(host.service.append_chunks(append(of, 0, &body)).await, Err(PeerError::OutOfSpace(NODE))));
    assert!(host.service.read_chunks(read(of, 0, 1)).await.is_ok(), "a full drive still serves reads");
    host.upkeep.health.take_out(NODE, "pulled");
    let refused = host.service.read_chunks(read(of, 0, 1)).await;
    assert!(matches!(refused, Err(PeerError::Unavailable { why, .. }) if why == "pulled"));
    host.close().await;
}

#[actix::test]
async fn w10_w14_a_drive_opens_again_with_and_without_its_index() {
    let root = tempfile::tempdir().expect("a directory");
    let clock = set_clock();
    let mut host = open_host(root.path(), 1, 0).await;
    for blob in 1..=20 {
        host.service.append_chunks(append(shard(blob, 0), 0, &bodies(blob as u64))).await.expect("appended");
    }
    host.service.drop_shards(NODE, vec![shard(3, 0), shard(20, 0)]).await.expect("dropped");
    let index_dir = root.path().join("0").join("index");
    for damage in [None, Some(true), Some(false)] {
        let uses = host.drives[0].index.uses();
        host.close().await;
        match damage {
            None => {}
            Some(true) => std::fs::remove_dir_all(&index_dir).expect("removed"),
            Some(false) => garble_files(&index_dir),
        }
        let drives = open_drives(root.path(), 1, &clock);
        host = TestHost::new(drives, 1, 0, clock.clone(), None).await;
        host.drives[0].index.check_invariants();
        assert_eq!(host.drives[0].index.uses(), uses, "damage {damage:?}");
        for blob in 1..=20 {
            let expected: Vec<_> = match blob {
                3 | 20 => vec![Err(ChunkFault::Missing); 5],
                _ => bodies(blob as u64).into_iter().map(Ok).collect(),
            };
            assert_eq!(chunks(&host.service, read(shard(blob, 0), 0, 5)).await, expected);
        }
    }
    host.close().await;
}

/// Tests indexes that lack a table, as a power cut may leave them if directories were not synced.
#[actix::test]
async fn an_index_that_lost_one_of_its_tables_is_made_again_from_the_log() {
    let root = tempfile::tempdir().expect("a directory");
    let clock = set_clock();
    let host = open_host(root.path(), 1, 0).await;
    for blob in 1..=5 {
        host.service.append_chunks(append(shard(blob, 0), 0, &bodies(blob as u64))).await.expect("appended");
    }
    host.service.drop_shards(NODE, vec![shard(3, 0)]).await.expect("dropped");
    let uses = host.drives[0].index.uses();
    host.close().await;
    let tables = Path::new("0").join("index").join("keyspaces");
    for table in std::fs::read_dir(root.path().join(&tables)).expect("listed").flatten() {
        // A copy, which no thread of the closed database still writes to.
        let copy = tempfile::tempdir().expect("a directory");
        copy_dir(root.path(), copy.path());
        let name = table.file_name();
        std::fs::remove_dir_all(copy.path().join(&tables).join(&name)).expect("removed");
        let host = TestHost::new(open_drives(copy.path(), 1, &clock), 1, 0, clock.clone(), None).await;
        host.drives[0].index.check_invariants();
        assert_eq!(host.drives[0].index.uses(), uses, "without table {name:?}");
        for blob in [1, 2, 4, 5] {
            let expected: Vec<_> = bodies(blob as u64).into_iter().map(Ok).collect();
            assert_eq!(chunks(&host.service, read(shard(blob, 0), 0, 5)).await, expected, "without table {name:?}");
        }
        host.close().await;
    }
}

fn copy_dir(from: &Path, to: &Path) {
    for path in files_below(from) {
        let copy = to.join(path.strip_prefix(from).expect("below"));
        if path.is_dir() {
            std::fs::create_dir_all(&copy).expect("made");
        } else {
            std::fs::create_dir_all(copy.parent().expect("has one")).expect("made");
            std::fs::copy(&path, &copy).expect("copied");
        }
    }
}

/// Overwrites every file with zeros.
fn garble_files(dir: &Path) {
    for path in files_below(dir) {
        if path.is_file() {
            let length = std::fs::metadata(&path).expect("metadata").len() as usize;
            std::fs::write(&path, vec![0; length]).expect("written");
        }
    }
}

fn identity_of(disk: &dyn Disk, dir: &Path) -> io::Result<Incarnation> {
    let content = read_file(disk, &dir.join("identity"))?;
    let number = String::from_utf8_lossy(&content).trim().parse().map_err(io::Error::other)?;
    Ok(Incarnation(number))
}

/// Returns a host of two drives, their monitor, and the list of nodes that the monitor reports as lost.
async fn watched_host(root: &Path) -> (TestHost, DriveMonitor, Arc<Mutex<Vec<NodeId>>>) {
    let host = open_host(root, 1, 1).await;
    let mut watched = Vec::new();
    for drive in &host.drives {
        let dir = root.join(drive.node.to_string());
        std::fs::write(dir.join("identity"), b"42").expect("written");
        let disk = drive_options(root, drive.node, &host.clock).disk;
        watched.push(WatchedDrive {
            node: drive.node,
            dir,
            disk,
            incarnation: Incarnation(42),
            log: drive.log.clone(),
            index: drive.index.clone(),
        });
    }
    let lost = Arc::new(Mutex::new(Vec::new()));
    let told = lost.clone();
    let on_lost = Arc::new(move |node, _: &str| told.lock().expect("unpoisoned").push(node));
    let (health, ambient) = (host.upkeep.health.clone(), host.upkeep.ambient.clone());
    let monitor = DriveMonitor::new(watched, Arc::new(identity_of), health, ambient, on_lost);
    (host, monitor, lost)
}

#[actix::test]
async fn a_drive_deleted_while_running_goes_out_of_service_and_is_reported_once() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, monitor, lost) = watched_host(root.path()).await;
    monitor.look_at_all();
    assert!(lost.lock().expect("unpoisoned").is_empty());
    assert!(host.upkeep.health.current().state(NODE).expect("known").space.is_some());
    std::fs::remove_dir_all(root.path().join("0")).expect("removed");
    monitor.look_at_all();
    monitor.look_at_all();
    assert_eq!(*lost.lock().expect("unpoisoned"), [NODE]);
    let refused = host.service.append_chunks(append(shard(1, 0), 0, &[Bytes::from_static(b"body")])).await;
    assert!(matches!(refused, Err(PeerError::Unavailable { .. })), "{refused:?}");
    assert!(host.upkeep.health.current().in_service(NodeId(1)));
}

#[actix::test]
async fn nothing_is_dropped_from_a_drive_while_trial_writes_to_it_fail_and_it_serves_reads() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, monitor, lost) = watched_host(root.path()).await;
    let (of, body) = (shard(1, 0), Bytes::from_static(b"body"));
    host.service.append_chunks(append(of, 0, std::slice::from_ref(&body))).await.expect("appended");
    let appends = || host.drives[0].log.status().appends;
    let before = appends();
    let trial = root.path().join("0").join(TRIAL_FILE);
    std::fs::create_dir(&trial).expect("made");
    monitor.look_at_all();
    let refused = host.service.drop_shards(NODE, vec![of]).await;
    assert!(matches!(&refused, Err(PeerError::Unavailable { why, .. }) if why.contains("trial writes")), "{refused:?}");
    host.service.drop_shards(NODE, vec![shard(9, 9)]).await.expect("it was never there");
    assert_eq!((chunks(&host.service, read(of, 0, 1)).await, appends()), (vec![Ok(body)], before));
    std::fs::remove_dir(&trial).expect("removed");
    monitor.look_at_all();
    host.service.drop_shards(NODE, vec![of]).await.expect("dropped");
    assert_eq!(chunks(&host.service, read(of, 0, 1)).await, [Err(ChunkFault::Missing)]);
    assert!(lost.lock().expect("unpoisoned").is_empty());
    host.close().await;
}

#[actix::test]
async fn a_segment_deleted_below_a_running_drive_takes_it_out_of_service() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, monitor, lost) = watched_host(root.path()).await;
    let stored = host.service.append_chunks(append(shard(1, 0), 0, &[Bytes::from_static(b"body")])).await;
    stored.expect("appended");
    (0..20).for_each(|_| monitor.look_at_all());
    assert!(lost.lock().expect("unpoisoned").is_empty());
    let shards = root.path().join("0").join("shards");
    for entry in std::fs::read_dir(&shards).expect("listed") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
    // A segment is missed at every tenth look.
    (0..10).for_each(|_| monitor.look_at_all());
    assert_eq!(*lost.lock().expect("unpoisoned"), [NODE]);
    assert!(host.upkeep.health.current().why_not(NODE).is_some_and(|why| why.contains("shards/00000001.seg is gone")));
    host.close().await;
}

#[actix::test]
async fn a_drive_swapped_for_another_goes_out_of_service() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, monitor, lost) = watched_host(root.path()).await;
    std::fs::write(root.path().join("1").join("identity"), b"43").expect("written");
    monitor.look_at_all();
    assert_eq!(*lost.lock().expect("unpoisoned"), [NodeId(1)]);
    assert!(host.upkeep.health.current().why_not(NodeId(1)).is_some_and(|why| why.contains("another drive")));
    host.close().await;
}

#[actix::test]
async fn the_monitor_reports_drives_that_other_parts_took_out_of_service() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, monitor, lost) = watched_host(root.path()).await;
    host.upkeep.health.take_out(NODE, "a sync failed");
    monitor.look_at_all();
    assert_eq!(*lost.lock().expect("unpoisoned"), [NODE]);
    host.close().await;
}

#[actix::test]
async fn a_drive_that_answers_reads_and_lets_writes_hang_goes_out_of_service() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    let (disk, dir) = (SimDisk::new(1 << 20), PathBuf::from("/drive"));
    disk.create_dir_all(&dir).expect("a directory");
    replace_file(&disk, &dir.join("identity"), b"42").expect("written");
    let frozen = disk.hold(Held::Write);
    let watched = WatchedDrive {
        node: NODE,
        dir,
        disk: Arc::new(disk.clone()),
        incarnation: Incarnation(42),
        log: host.drives[0].log.clone(),
        index: host.drives[0].index.clone(),
    };
    let (health, ambient) = (host.upkeep.health.clone(), host.upkeep.ambient.clone());
    let monitor = DriveMonitor::new([watched], Arc::new(identity_of), health, ambient, Arc::new(|_, _: &str| {}));
    let looking = monitor.clone();
    let look = std::thread::spawn(move || looking.look_at_all());
    frozen.wait_for_arrivals(1);
    monitor.check_silent();
    let wait = |seconds| {
        for _ in 0..seconds {
            host.clock.forward(Duration::from_secs(1));
            monitor.check_silent();
        }
    };
    wait(20);
    host.clock.forward(Duration::from_secs(3600));
    wait(29);
    assert!(
        host.upkeep.health.current().in_service(NODE),
        "neither 29 s nor an hour in which the process was stopped counts as silence"
    );
    wait(2);
    assert_eq!(host.upkeep.health.current().why_not(NODE), Some("it does not answer"));
    let (own, health) = (DriveList::of_nodes([NODE]), host.upkeep.health.clone());
    assert!(own.wait_for_one_to_answer_again(&health).now_or_never().is_none());
    drop(frozen);
    look.join().expect("the look comes to its end");
    own.wait_for_one_to_answer_again(&health).await;
    own.put(drive_of_test(NodeId(7)));
    assert!(own.wait_for_one_to_answer_again(&health).now_or_never().is_none(), "node 7 is in service");
    host.close().await;
}

/// Tests a look that is under way when its drive is replaced, and that then finds the former drive's log failed.
#[actix::test]
async fn a_late_look_at_a_replaced_drive_does_not_affect_its_successor() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 1).await;
    let watched = |number: usize, incarnation| {
        let (disk, dir) = (SimDisk::new(1 << 20), PathBuf::from("/drive"));
        disk.create_dir_all(&dir).expect("a directory");
        replace_file(&disk, &dir.join("identity"), format!("{incarnation}").as_bytes()).expect("written");
        let Drive { log, index, .. } = host.drives[number].clone();
        let incarnation = Incarnation(incarnation);
        (disk.clone(), WatchedDrive { node: NODE, dir, disk: Arc::new(disk), incarnation, log, index })
    };
    let ((disk, former), (_, next)) = (watched(0, 42), watched(1, 43));
    let (health, ambient) = (host.upkeep.health.clone(), host.upkeep.ambient.clone());
    let lost = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&lost);
    let on_lost = Arc::new(move |_, _: &str| *counted.lock().expect("unpoisoned") += 1);
    let monitor = DriveMonitor::new([former], Arc::new(identity_of), health.clone(), ambient, on_lost);
    let frozen = disk.hold(Held::Write);
    let looking = monitor.clone();
    let look = std::thread::spawn(move || looking.look_at_all());
    frozen.wait_for_arrivals(1);
    host.drives[0].log.close().await.expect("closed");
    health.take_out(NODE, "it is being replaced");
    monitor.begin_watching(next);
    health.put_in(NODE, Contents::Empty);
    drop(frozen);
    look.join().expect("the look comes to its end");
    assert!(health.current().in_service(NODE), "{:?}", health.current().why_not(NODE));
    assert_eq!(*lost.lock().expect("unpoisoned"), 0);
    monitor.look_at_all();
    assert!(health.current().in_service(NODE), "the new drive is healthy");
    host.drives[1].log.close().await.expect("closed");
    monitor.look_at_all();
    assert_eq!(*lost.lock().expect("unpoisoned"), 1, "the new drive is reported when its log fails");
}

#[actix::test]
async fn two_starts_on_one_drive_give_the_same_index() {
    let root = tempfile::tempdir().expect("a directory");
    let clock = set_clock();
    let host = open_host(root.path(), 1, 0).await;
    host.service.append_chunks(append(shard(1, 0), 0, &bodies(1))).await.expect("appended");
    let uses = host.drives[0].index.uses();
    host.close().await;
    for _ in 0..2 {
        let drive = open_drive(&drive_options(root.path(), NODE, &clock)).expect("opened").start(Threads::Current);
        assert_eq!(drive.index.uses(), uses);
        drive.log.close().await.expect("closed");
    }
}
