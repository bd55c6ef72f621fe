//! Tests of damaged copies of the log and of snapshots, at start and while the store runs, of snapshots for which a
//! drive has no room, and of the generations of mirror sets.

use super::drives::{assert_all, members, on_disks, put_many, simulated, start_with_objects, wait_for_both};
use super::home::{MemoryHome, lacks_descriptors};
use super::power::World;
use super::tail::{BLOCK, simulate};
use super::{Host, create_bucket, id_of, put_ok, until};
use crate::actors::consensus::state::verify_snapshot;
use crate::actors::consensus::{CopyScrub, CopyScrubbed, MetaHandle, ReplicaOptions, StartError, StateHome, start};
use crate::storage::disk::sim::{DriveFault, Shortage, SimDisk};
use crate::storage::disk::{Disk, host_lacks_resources, read_file};
use crate::storage::kv::KvError;
use crate::storage::meta::snapshot::FRAME_HEADER_BYTES;
use crate::storage::raft_log::{ChoiceError, MirrorSet};
use crate::storage::wal::{CorruptSpot, LogOptions, survey_log};
use crate::types::{BucketId, ClusterId, NodeId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const LOG: &str = "/drive/meta/log";

/// A stopped store of one or two drives, each of which has a copy of the log.
struct Image {
    disks: Vec<SimDisk>,
    bucket: BucketId,
    objects: u128,
}

async fn image(drives: u32, purged: bool) -> Image {
    let world = World::new(1, drives);
    let meta = start(world.options(true)).await.expect("the replica starts");
    let bucket = create_bucket(&meta, "b").await;
    for id in 0..4 {
        put_ok(&meta, bucket, &format!("key-{id}"), id).await;
    }
    if purged {
        meta.snapshot_now().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    meta.shutdown().await;
    let meta = start(world.options(false)).await.expect("the replica starts again");
    put_ok(&meta, bucket, "key-4", 4).await;
    meta.shutdown().await;
    let disks = world.disks.iter().map(|disk| disk.power_cut(1)).collect();
    Image { disks, bucket, objects: 5 }
}

/// Returns the blocks of a copy that have records, as file and offset.
fn blocks(disk: &SimDisk) -> Vec<(PathBuf, usize)> {
    let mut names = disk.list(LOG.as_ref()).expect("listed");
    names.retain(|name| name.ends_with(".seg"));
    names.sort();
    let held = |name: &String| {
        let path = PathBuf::from(LOG).join(name);
        let bytes = read_file(disk, &path).expect("read");
        let is_held = |block: &usize| bytes[block * BLOCK..][..BLOCK].iter().any(|byte| *byte != 0);
        let held: Vec<usize> = (1..bytes.len() / BLOCK).filter(is_held).collect();
        held.into_iter().map(move |block| (path.clone(), block * BLOCK)).collect::<Vec<_>>()
    };
    names.iter().flat_map(held).collect()
}

/// Returns the damaged places of the first drive's copy.
fn rot(world: &World) -> Vec<CorruptSpot> {
    let options = LogOptions::meta(LOG.into(), ClusterId(1), NodeId(1), world.ambient.clone(), world.pool.clone());
    let options = LogOptions { segment_bytes: 128 << 10, ..options };
    survey_log(&world.disks[0].handle(), &options, &mut |_| ()).expect("surveyed").rot
}

enum Outcome {
    Whole(World),
    Refused,
}

/// Starts on these disks: checks that every object is there, or that the start is refused for the damage.
async fn outcome(image: &Image, disks: Vec<SimDisk>, home: Arc<MemoryHome>) -> Outcome {
    let world = World { disks, home, ..World::new(2, 1) };
    match start(world.options(false)).await {
        Ok(meta) => {
            for id in 0..image.objects {
                let found = id_of(&meta, image.bucket, &format!("key-{id}")).await;
                assert_eq!(found, Some(id), "it was acknowledged");
            }
            meta.shutdown().await;
            Outcome::Whole(world)
        }
        Err(StartError::Copies(ChoiceError::AllDamaged(_)) | StartError::TailLost { .. }) => Outcome::Refused,
        Err(error) => panic!("refused for another reason: {error}"),
    }
}

/// Damages a block of a copy. `kind`: the header of its first record, the record's body, or the whole block.
fn spoil(disk: &SimDisk, (path, at): &(PathBuf, usize), kind: usize) {
    let at = *at as u64;
    match kind {
        0 => disk.corrupt(path, at + 16, 1).expect("a stored file"),
        1 => disk.corrupt(path, at + 80, 1).expect("a stored file"),
        _ => disk.make_unreadable(path, at..at + 1).expect("a stored file"),
    }
}

#[test]
fn two_damaged_log_copies_start_if_they_complement_each_other() {
    const KINDS: [(usize, usize); 3] = [(0, 2), (1, 1), (2, 0)];
    simulate(async {
        let image = image(2, false).await;
        let (first, second) = (blocks(&image.disks[0]), blocks(&image.disks[1]));
        assert!(first.len() > 6 && second.len() > 6, "{} {}", first.len(), second.len());
        let mut refused = 0;
        for (nth, one) in first.iter().enumerate() {
            for (mth, other) in second.iter().enumerate() {
                // Blocks far from each other share no record: each such pair is tried with one pair of kinds, in turn.
                let far = KINDS[(nth + mth) % KINDS.len()];
                let tried = if nth.abs_diff(mth) <= 2 { &KINDS[..] } else { std::slice::from_ref(&far) };
                for kinds in tried {
                    let disks: Vec<SimDisk> = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
                    spoil(&disks[0], one, kinds.0);
                    spoil(&disks[1], other, kinds.1);
                    match outcome(&image, disks, Arc::default()).await {
                        Outcome::Whole(_) => {}
                        Outcome::Refused => {
                            refused += 1;
                            assert!(nth.abs_diff(mth) <= 1, "{one:?} {other:?} {kinds:?}");
                        }
                    }
                }
            }
        }
        assert!(refused > 3, "starts that were refused since both copies lost a record: {refused}");
    });
}

#[test]
fn each_log_copy_is_whole_by_itself_after_a_merge() {
    simulate(async {
        let image = image(2, false).await;
        let disks: Vec<SimDisk> = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
        spoil(&disks[0], &blocks(&disks[0])[3], 1);
        spoil(&disks[1], &blocks(&disks[1])[6], 2);
        let Outcome::Whole(world) = outcome(&image, disks, Arc::default()).await else { panic!("refused") };
        for alone in 0..2 {
            let disks = vec![world.disks[alone].power_cut(3)];
            let mut options = World { disks, home: Arc::default(), ..World::new(4, 1) }.options(false);
            options.drives[0].node = NodeId(alone as u32 + 1);
            let meta = start(options).await.expect("the copy is whole");
            assert_eq!(id_of(&meta, image.bucket, "key-0").await, Some(0));
            meta.shutdown().await;
        }
    });
}

/// Tests a power cut at every change of the disks while the merged log is written.
#[test]
fn a_power_cut_while_log_copies_are_merged_loses_nothing() {
    simulate(async {
        let image = image(2, false).await;
        let mut cuts = 0;
        for cut in 1..400 {
            let disks: Vec<SimDisk> = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
            spoil(&disks[0], &blocks(&disks[0])[3], 1);
            spoil(&disks[1], &blocks(&disks[1])[6], 0);
            disks.iter().for_each(|disk| disk.halt_at(disk.operations().changes + cut));
            let world = World { disks, home: Arc::default(), ..World::new(2, 2) };
            if let Ok(meta) = start(world.options(false)).await {
                meta.shutdown().await;
                if !world.disks.iter().any(SimDisk::is_halted) {
                    break;
                }
            }
            cuts += 1;
            let disks = world.disks.iter().map(|disk| disk.power_cut(cut)).collect();
            let after = outcome(&image, disks, Arc::default()).await;
            assert!(matches!(after, Outcome::Whole(_)), "cut at change {cut}");
        }
        assert!(cuts > 10, "{cuts}");
    });
}

#[test]
fn damage_to_log_records_below_the_snapshot_does_not_prevent_a_start() {
    simulate(async {
        let image = image(1, true).await;
        let blocks = blocks(&image.disks[0]);
        let mut started = 0;
        for block in &blocks {
            for kind in 0..3 {
                let disks = vec![image.disks[0].power_cut(1)];
                spoil(&disks[0], block, kind);
                let Outcome::Whole(world) = outcome(&image, disks, Arc::default()).await else { continue };
                started += 1;
                assert_eq!(rot(&world), [], "the damaged records are dropped");
            }
        }
        assert!(started > 9, "{started} of {}", 3 * blocks.len());
    });
}

/// Tests a power cut at every change of the disks during a start: nothing is lost, and the next start writes a later
/// generation to every drive.
#[test]
fn the_start_after_a_power_cut_during_a_start_raises_the_generation() {
    simulate(async {
        let image = image(2, false).await;
        let generation = |disk: &SimDisk| {
            let content = read_file(&*disk.handle(), "/drive/meta/mirror".as_ref()).expect("a mirror file");
            MirrorSet::decode(&content).expect("a whole one").generation
        };
        let mut cuts = 0;
        for cut in 1..400 {
            let disks: Vec<SimDisk> = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
            disks.iter().for_each(|disk| disk.halt_at(disk.operations().changes + cut));
            let world = World { disks, home: Arc::default(), ..World::new(2, 2) };
            if let Ok(meta) = start(world.options(false)).await {
                meta.shutdown().await;
                if !world.disks.iter().any(SimDisk::is_halted) {
                    break;
                }
            }
            cuts += 1;
            let disks: Vec<SimDisk> = world.disks.iter().map(|disk| disk.power_cut(cut)).collect();
            let before = disks.iter().map(generation).max();
            let Outcome::Whole(world) = outcome(&image, disks, Arc::default()).await else {
                panic!("refused after a cut at change {cut}")
            };
            let after: Vec<u64> = world.disks.iter().map(generation).collect();
            assert!(after[0] == after[1] && Some(after[0]) > before, "cut at change {cut}: {before:?}, {after:?}");
        }
        assert!(cuts > 5, "{cuts}");
    });
}

/// Runs one scrub pass. Returns the number of damaged places, and whether there was no damage.
async fn scrub(meta: &MetaHandle) -> (u64, bool) {
    let mut pass = CopyScrub::begin(meta, 8192).await.expect("a pass begins");
    let mut found = 0;
    loop {
        match pass.advance().await.expect("a step") {
            CopyScrubbed::Checked { corrupt, .. } => found += corrupt,
            CopyScrubbed::Finished { whole } => return (found, whole),
        }
    }
}

/// Runs scrub passes until one finds no damage.
async fn scrub_until_whole(meta: &MetaHandle) {
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if scrub(meta).await.1 {
            assert_eq!(meta.status().damage, Vec::<String>::new());
            return;
        }
    }
    panic!("not repaired: {:?}", meta.status().damage);
}

async fn running(image: &Image) -> (World, MetaHandle) {
    let disks = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
    let world = World { disks, home: Arc::default(), ..World::new(2, 1) };
    let meta = start(world.options(false)).await.expect("the replica starts");
    put_ok(&meta, image.bucket, "key-4", 4).await;
    (world, meta)
}

#[test]
fn scrub_finds_reports_and_repairs_damage_of_the_metadata_log() {
    simulate(async {
        for drives in 1..=2 {
            let image = image(drives, false).await;
            let count = blocks(&image.disks[0]).len();
            let mut repaired = 0;
            for (nth, kind) in (0..count).flat_map(|nth| (0..3).map(move |kind| (nth, kind))) {
                let (world, meta) = running(&image).await;
                // All copies are damaged at the same place, so that only the tables have the lost entries.
                let spot = blocks(&world.disks[0])[nth].clone();
                world.disks.iter().for_each(|disk| spoil(disk, &spot, kind));
                let (found, whole) = scrub(&meta).await;
                assert_eq!(whole, found == 0);
                if found > 0 {
                    assert!(meta.status().damage.iter().any(|why| why.contains("log on node")), "it is reported");
                    scrub_until_whole(&meta).await;
                    repaired += 1;
                }
                meta.shutdown().await;
                let disks = world.disks.iter().map(|disk| disk.power_cut(1)).collect();
                let after = outcome(&image, disks, Arc::default()).await;
                assert!(matches!(after, Outcome::Whole(_)), "{drives} drives, {spot:?}, {kind}");
            }
            assert!(repaired > 9, "{drives} drives: {repaired} of {}", 3 * count);
        }
    });
}

#[test]
fn scrub_finds_a_damaged_snapshot_and_replaces_it() {
    simulate(async {
        let image = image(2, true).await;
        for both in [false, true] {
            for (at, unreadable) in [(0, false), (9, false), (40, false), (400, false), (400, true)] {
                let (world, meta) = running(&image).await;
                assert_eq!(scrub(&meta).await, (0, true));
                for disk in &world.disks[..1 + usize::from(both)] {
                    let dir = PathBuf::from("/drive/meta/snapshot");
                    let names = disk.list(&dir).expect("listed");
                    let path = dir.join(names.iter().find(|name| name.ends_with(".snap")).expect("a snapshot"));
                    if unreadable {
                        disk.make_unreadable(&path, at..at + 1).expect("a stored file");
                    } else {
                        disk.corrupt(&path, at, 4).expect("a stored file");
                    }
                }
                assert_eq!(scrub(&meta).await, (1 + u64::from(both), false), "{at}");
                assert_eq!(meta.status().damage.len(), 1 + usize::from(both));
                scrub_until_whole(&meta).await;
                meta.shutdown().await;
                let disks = world.disks.iter().map(|disk| disk.power_cut(1)).collect();
                assert!(matches!(outcome(&image, disks, Arc::default()).await, Outcome::Whole(_)));
            }
        }
    });
}

/// The file on the first drive rots. The second drive leaves the mirror and comes back, with its file or without it.
#[test]
fn a_drive_that_is_filled_keeps_its_whole_snapshot_and_gets_no_damaged_one() {
    simulate(async {
        let image = image(2, true).await;
        for has_file in [true, false] {
            let (world, meta) = running(&image).await;
            let path = some_snapshot(&world.disks[0]);
            let len = read_file(&*world.disks[0].handle(), &path).expect("read").len() as u64;
            let before = meta.status().snapshot_index;
            meta.drive_lost(NodeId(2));
            until("the drive leaves", || members(&meta) == [1]).await;
            world.disks[0].corrupt(&path, len - 3, 1).expect("a stored file");
            if !has_file {
                world.disks[1].handle().remove(&path).expect("removed");
            }
            meta.drive_back(world.options(false).drives[1].clone());
            until("the drive is filled", || members(&meta) == [1, 2]).await;
            assert_eq!(meta.status().snapshot_index > before, !has_file, "a new one is made only if none is whole");
            let path = some_snapshot(&world.disks[1]);
            verify_snapshot(&*world.disks[1].handle(), &path).expect("it is whole");
            meta.shutdown().await;
            let disks = vec![world.disks[1].power_cut(1)];
            let mut options = World { disks, home: Arc::default(), ..World::new(4, 1) }.options(false);
            options.drives[0].node = NodeId(2);
            let meta = start(options).await.expect("the copy is whole");
            assert_eq!(id_of(&meta, image.bucket, "key-0").await, Some(0));
            meta.shutdown().await;
        }
    });
}

#[test]
fn a_scrub_of_the_metadata_without_descriptors_or_memory_fails_and_reports_no_damage() {
    simulate(async {
        let image = image(1, true).await;
        for shortage in [Shortage::Descriptors, Shortage::Memory] {
            let (world, meta) = running(&image).await;
            world.disks[0].set_shortage(Some(shortage));
            let mut pass = CopyScrub::begin(&meta, 8192).await.expect("a pass begins");
            let mut failed = 0;
            loop {
                match pass.advance().await {
                    Ok(CopyScrubbed::Checked { corrupt, .. }) => assert_eq!(corrupt, 0),
                    Ok(CopyScrubbed::Finished { whole }) => break assert!(whole),
                    Err(_) => failed += 1,
                }
            }
            assert!(failed > 0, "something was opened or read");
            assert_eq!(meta.status().damage, Vec::<String>::new());
            world.disks[0].set_shortage(None);
            assert_eq!(scrub(&meta).await, (0, true));
            meta.shutdown().await;
        }
    });
}

#[test]
fn scrub_reports_no_damage_while_the_metadata_is_being_written() {
    simulate(async {
        let image = image(2, false).await;
        let (_world, meta) = running(&image).await;
        for round in 0..20 {
            let mut pass = CopyScrub::begin(&meta, 4096).await.expect("a pass begins");
            let mut id = 100 * (round + 1);
            loop {
                put_ok(&meta, image.bucket, &format!("new-{id}"), id).await;
                id += 1;
                match pass.advance().await.expect("a step") {
                    CopyScrubbed::Checked { corrupt, .. } => assert_eq!(corrupt, 0),
                    CopyScrubbed::Finished { whole } => break assert!(whole),
                }
            }
            if round % 7 == 3 {
                meta.snapshot_now().await;
            }
        }
        meta.shutdown().await;
    });
}

/// Returns places in the parts of a snapshot: its head, its first frame, two frames side by side in the middle, and its
/// last frame. Of each part these are the low and the high byte of the length, a byte of the checksum, and one of the
/// content.
fn places_in_snapshot(bytes: &[u8]) -> Vec<[usize; 4]> {
    let length = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk::<4>().expect("a length")) as usize;
    let mut parts = Vec::new();
    // After the magic, the head has a header like those of frames.
    let mut at = 8;
    while at < bytes.len() {
        let content = at + FRAME_HEADER_BYTES;
        parts.push([at, at + 3, at + 4, content + length(at) / 2]);
        at = content + length(at);
    }
    let (middle, last) = (parts.len() / 2, parts.len() - 1);
    assert!(at == bytes.len() && middle > 2 && middle + 1 < last, "{} parts", parts.len());
    vec![parts[0], parts[1], parts[middle], parts[middle + 1], parts[last]]
}

/// The tables are lost, so that the start needs the snapshot.
#[test]
fn snapshot_copies_damaged_at_different_frames_complement_each_other() {
    simulate(async {
        let image = image(2, true).await;
        let path = some_snapshot(&image.disks[0]);
        let parts = places_in_snapshot(&read_file(&*image.disks[0].handle(), &path).expect("read"));
        for (one, other) in (0..parts.len()).flat_map(|one| (0..parts.len()).map(move |other| (one, other))) {
            for (nth, first) in parts[one].into_iter().enumerate() {
                // Over the pairs of parts each place within a part meets each.
                let second = parts[other][(nth + one + 2 * other) % 4];
                let disks: Vec<SimDisk> = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
                for (disk, at) in disks.iter().zip([first, second]) {
                    disk.corrupt(&path, at as u64, 1).expect("a stored file");
                }
                let world = World { disks, home: Arc::default(), ..World::new(2, 2) };
                let ended = start(world.options(false)).await;
                assert_eq!(ended.is_ok(), one != other, "{first} {second}");
                let Ok(meta) = ended else { continue };
                for id in 0..image.objects {
                    let found = id_of(&meta, image.bucket, &format!("key-{id}")).await;
                    assert_eq!(found, Some(id), "{first} {second}");
                }
                scrub_until_whole(&meta).await;
                meta.shutdown().await;
            }
        }
    });
}

#[test]
fn a_start_without_tables_is_refused_if_every_snapshot_copy_is_damaged() {
    simulate(async {
        for drives in [1, 2] {
            let image = image(drives, true).await;
            let dir = PathBuf::from("/drive/meta/snapshot");
            let names = image.disks[0].list(&dir).expect("listed");
            let path = dir.join(names.iter().find(|name| name.ends_with(".snap")).expect("a snapshot"));
            let len = read_file(&*image.disks[0].handle(), &path).expect("read").len() as u64;
            let disks: Vec<SimDisk> = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
            disks.iter().for_each(|disk| disk.corrupt(&path, len - 3, 1).expect("a stored file"));
            let world = World { disks, home: Arc::default(), ..World::new(2, drives) };
            let started = tokio::time::timeout(Duration::from_secs(60), start(world.options(false))).await;
            let error = started.expect("the start ends").expect_err("neither tables nor a whole snapshot are left");
            assert!(matches!(error, StartError::SnapshotDamaged(_)), "{error}");
            assert!(error.has_lost_the_log(), "a host of several would rejoin as another member");
            let words = error.to_string();
            assert!(words.contains("damaged on every drive") && words.contains("sherd recover --from"), "{words}");
            // With one whole snapshot it starts again: the refused start has changed nothing.
            world.disks[0].corrupt(&path, len - 3, 1).expect("the bit is flipped back");
            let meta = start(world.options(false)).await.expect("it starts");
            for id in 0..image.objects {
                assert_eq!(id_of(&meta, image.bucket, &format!("key-{id}")).await, Some(id));
            }
            meta.shutdown().await;
        }
    });
}

/// Returns the path of a snapshot that the drive has.
fn some_snapshot(disk: &SimDisk) -> PathBuf {
    let dir = PathBuf::from("/drive/meta/snapshot");
    let names = disk.list(&dir).expect("listed");
    dir.join(names.iter().find(|name| name.ends_with(".snap")).expect("a snapshot"))
}

/// A start that finds neither tables nor a whole snapshot removes nothing: the tables may be whole.
#[test]
fn tables_that_cannot_be_opened_are_kept_until_others_are_complete() {
    simulate(async {
        for error in [lacks_descriptors(), KvError::new("open", "an unreadable sector")] {
            let world = World::new(1, 1);
            let meta = start(world.options(true)).await.expect("the replica starts");
            let bucket = create_bucket(&meta, "b").await;
            for id in 0..5 {
                put_ok(&meta, bucket, &format!("key-{id}"), id).await;
            }
            assert!(meta.snapshot_now().await);
            tokio::time::sleep(Duration::from_secs(1)).await;
            meta.shutdown().await;
            let (disk, snapshot) = (&world.disks[0], some_snapshot(&world.disks[0]));
            let len = read_file(disk, &snapshot).expect("read").len() as u64;
            disk.corrupt(&snapshot, len - 3, 1).expect("a stored file");
            let lacks = error.lacks_resources;
            world.home.fail_next_opening(error);
            let refused = start(world.options(false)).await.expect_err("there are no tables");
            assert_eq!(matches!(refused, StartError::LacksResources(_)), lacks, "{refused}");
            assert_eq!(refused.has_lost_the_log(), !lacks, "{refused}");
            let meta = start(world.options(false)).await.expect("the tables can be opened");
            for id in 0..5 {
                assert_eq!(id_of(&meta, bucket, &format!("key-{id}")).await, Some(id));
            }
            meta.shutdown().await;
            let tables = world.home.list(NodeId(1), Path::new("")).expect("listed");
            assert_eq!(tables.len(), 1, "those of the refused start are removed: {tables:?}");
        }
    });
}

#[test]
fn a_start_without_descriptors_or_memory_is_refused_and_loses_nothing() {
    simulate(async {
        for shortage in [Shortage::Descriptors, Shortage::Memory] {
            let image = image(2, true).await;
            let disks: Vec<SimDisk> = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
            let world = World { disks, home: Arc::default(), ..World::new(2, 2) };
            world.disks[0].set_shortage(Some(shortage));
            let refused = start(world.options(false)).await.expect_err("a mirror file cannot be read");
            assert!(matches!(refused, StartError::LacksResources(_)), "{refused}");
            assert!(!refused.has_lost_the_log());
            world.disks[0].set_shortage(None);
            let meta = start(world.options(false)).await.expect("the replica starts");
            for id in 0..image.objects {
                assert_eq!(id_of(&meta, image.bucket, &format!("key-{id}")).await, Some(id));
            }
            meta.shutdown().await;
        }
    });
}

/// Returns a store of two drives, of which only the first has the object `alone`, and cannot read its mirror file: that
/// rotted after the other drive was away. Also returns the bucket.
async fn with_unlisted_copy() -> (World, BucketId) {
    let image = image(2, false).await;
    let disks: Vec<SimDisk> = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
    let world = World { disks, home: Arc::default(), ..World::new(2, 2) };
    let both = world.options(false);
    let alone = ReplicaOptions { drives: vec![both.drives[0].clone()], ..world.options(false) };
    let meta = start(alone).await.expect("the replica starts with one drive");
    put_ok(&meta, image.bucket, "alone", 9).await;
    meta.shutdown().await;
    world.home.forget_all();
    world.disks[0].corrupt("/drive/meta/mirror".as_ref(), 20, 1).expect("a stored file");
    (world, image.bucket)
}

#[test]
fn a_current_copy_whose_mirror_file_is_damaged_is_not_replaced_by_an_old_one() {
    simulate(async {
        let (world, bucket) = with_unlisted_copy().await;
        let meta = start(world.options(false)).await.expect("the copy continues the other one");
        assert_eq!(id_of(&meta, bucket, "alone").await, Some(9));
        meta.shutdown().await;
        for disk in &world.disks {
            let content = read_file(disk, "/drive/meta/mirror".as_ref()).expect("a mirror file");
            assert!(MirrorSet::decode(&content).expect("a whole one").members.contains(&NodeId(1)));
        }
    });
}

#[test]
fn a_current_copy_whose_mirror_file_is_damaged_is_not_replaced_for_want_of_descriptors() {
    simulate(async {
        let (world, bucket) = with_unlisted_copy().await;
        let disk = &world.disks[0];
        disk.limit_shortage(LOG.as_ref());
        disk.set_shortage(Some(Shortage::Descriptors));
        let refused = start(world.options(false)).await.expect_err("the other copy is an old one");
        assert!(matches!(refused, StartError::LacksResources(_)), "{refused}");
        disk.set_shortage(None);
        let meta = start(world.options(false)).await.expect("the replica starts");
        assert_eq!(id_of(&meta, bucket, "alone").await, Some(9));
        meta.shutdown().await;
    });
}

/// The other drive is put back to its state before the last start.
#[test]
fn a_copy_put_back_to_an_older_state_is_not_chosen_beside_a_current_one_that_cannot_be_opened() {
    simulate(async {
        let image = image(2, false).await;
        let disks: Vec<SimDisk> = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
        let world = World { disks, home: Arc::default(), ..World::new(2, 2) };
        let meta = start(world.options(false)).await.expect("the replica starts");
        put_ok(&meta, image.bucket, "later", 9).await;
        meta.shutdown().await;
        let disks = vec![world.disks[0].power_cut(1), image.disks[1].power_cut(1)];
        let world = World { disks, home: Arc::default(), ..World::new(3, 2) };
        world.disks[0].fail_drive(LOG.as_ref(), DriveFault::Dead);
        let refused = start(world.options(false)).await.expect_err("the other copy is an old one");
        assert!(matches!(refused, StartError::Copies(ChoiceError::AllFailed(_))), "{refused}");
        world.disks[0].mend_drive(LOG.as_ref());
        let meta = start(world.options(false)).await.expect("the replica starts");
        assert_eq!(id_of(&meta, image.bucket, "later").await, Some(9));
        meta.shutdown().await;
    });
}

/// The other drive is put back to its state before the last start, and has an end.
#[test]
fn a_damaged_copy_put_back_to_an_older_state_is_not_merged_with_a_current_one() {
    simulate(async {
        let image = image(2, false).await;
        let before = blocks(&image.disks[0]);
        let disks: Vec<SimDisk> = image.disks.iter().map(|disk| disk.power_cut(1)).collect();
        let world = World { disks, home: Arc::default(), ..World::new(2, 2) };
        let meta = start(world.options(false)).await.expect("the replica starts");
        put_ok(&meta, image.bucket, "later", 9).await;
        meta.shutdown().await;
        let disks = vec![world.disks[0].power_cut(1), image.disks[1].power_cut(1)];
        let since: Vec<_> = blocks(&disks[0]).into_iter().filter(|block| !before.contains(block)).collect();
        assert!(!since.is_empty(), "the last start and the object are in blocks of their own");
        since.iter().for_each(|block| spoil(&disks[0], block, 2));
        spoil(&disks[1], &before[3], 1);
        assert!(matches!(outcome(&image, disks, Arc::default()).await, Outcome::Refused), "the object would be lost");
    });
}

/// openraft would stop the replica for an error.
#[test]
fn a_snapshot_that_cannot_be_read_for_want_of_descriptors_or_memory_is_waited_for() {
    simulate(async {
        let image = image(1, true).await;
        for shortage in [Shortage::Descriptors, Shortage::Memory] {
            let (world, meta) = running(&image).await;
            world.disks[0].set_shortage(Some(shortage));
            let snapshots = &meta.inner.snapshots;
            let error = snapshots.current().await.expect_err("it cannot be read");
            assert!(host_lacks_resources(&error), "{error}");
            let raft = meta.inner.raft.clone();
            let waiting = actix::spawn(async move { raft.get_snapshot().await });
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert!(!waiting.is_finished());
            world.disks[0].set_shortage(None);
            let snapshot = waiting.await.expect("it does not panic").expect("the replica goes on");
            let index = snapshot.and_then(|snapshot| snapshot.meta.last_log_id).map(|at| at.index);
            assert_eq!(index, Some(meta.status().snapshot_index));
            put_ok(&meta, image.bucket, "later", 9).await;
            meta.shutdown().await;
        }
    });
}

/// Returns the only snapshot on a drive.
fn snapshot_on(host: &Host, disks: &[SimDisk], drive: usize) -> PathBuf {
    let dir = host.dir(u32::try_from(drive).expect("small") + 1).join("meta").join("snapshot");
    let names = disks[drive].handle().list(&dir).expect("listed");
    assert_eq!(names.len(), 1, "{names:?}");
    dir.join(&names[0])
}

#[actix::test]
async fn a_drive_too_full_for_a_snapshot_keeps_its_copy_of_the_log() {
    let mut host = Host::with_drives(2);
    let disks = simulated(&host);
    let (meta, bucket) = start_with_objects(&host, &disks).await;
    wait_for_both(&meta).await;
    assert!(meta.snapshot_now().await);
    let before = [0, 1].map(|drive| snapshot_on(&host, &disks, drive));
    put_many(&meta, bucket, 10..20).await;
    disks[1].set_capacity(0);
    assert!(!meta.snapshot_now().await);
    assert_eq!(members(&meta), [1, 2]);
    assert_eq!(meta.status().failed_copies, [""; 0]);
    assert_eq!([0, 1].map(|drive| snapshot_on(&host, &disks, drive)), before);
    meta.shutdown().await;
    host.started = true;
    disks[1].set_capacity(256 << 20);
    disks[0].halt_at(disks[0].operations().changes);
    let meta = start(on_disks(&host, &disks)).await.expect("the replica starts from the drive that was full");
    assert_all(&meta, bucket, 0..20).await;
    assert!(meta.snapshot_now().await);
    meta.shutdown().await;
}

/// Wherever the drive fails on the way.
#[actix::test]
async fn a_start_goes_on_without_a_drive_that_does_not_take_the_snapshot() {
    let mut lost = 0;
    for change in 0..24 {
        let mut host = Host::with_drives(2);
        let disks = simulated(&host);
        let (meta, bucket) = start_with_objects(&host, &disks).await;
        wait_for_both(&meta).await;
        assert!(meta.snapshot_now().await);
        meta.shutdown().await;
        host.started = true;
        disks[1].handle().remove(&snapshot_on(&host, &disks, 1)).expect("removed");
        disks[1].halt_at(disks[1].operations().changes + change);
        let meta = start(on_disks(&host, &disks)).await.unwrap_or_else(|error| panic!("change {change}: {error}"));
        if disks[1].is_halted() {
            until("the drive leaves", || members(&meta) == [1]).await;
            lost += 1;
        }
        assert_all(&meta, bucket, 0..10).await;
        put_many(&meta, bucket, 10..20).await;
        meta.shutdown().await;
    }
    assert!(lost > 0);
}

#[actix::test]
async fn a_damaged_snapshot_is_made_anew_when_one_is_needed() {
    let host = Host::with_drives(1);
    let disks = simulated(&host);
    let (meta, bucket) = start_with_objects(&host, &disks).await;
    assert!(meta.snapshot_now().await);
    put_many(&meta, bucket, 10..20).await;
    disks[0].corrupt(&snapshot_on(&host, &disks, 0), 0, 4).expect("a stored file");
    let snapshot = meta.inner.raft.get_snapshot().await.expect("the replica goes on").expect("a snapshot");
    assert_eq!(snapshot.meta.last_log_id.map(|at| at.index), Some(meta.status().snapshot_index));
    put_many(&meta, bucket, 20..30).await;
    assert_all(&meta, bucket, 0..30).await;
    meta.shutdown().await;
}
