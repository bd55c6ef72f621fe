//! Tests of damage at the end of the log: a start distinguishes it from a torn write, and never loses acknowledged
//! changes silently.

use super::home::MemoryHome;
use super::power::World;
use super::{create_bucket, id_of, put_ok};
use crate::actors::consensus::{MetaHandle, ReplicaOptions, SalvageError, StartError, start, survey_salvage};
use crate::storage::disk::sim::SimDisk;
use crate::storage::disk::{Disk, read_file};
use crate::storage::wal::Durability;
use crate::types::{BucketId, HostId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) const BLOCK: usize = 4096;
const OBJECTS: u128 = 5;
/// The number of objects whose changes fill several segments.
const OF_MANY: u128 = 150;
const LOG: &str = "/drive/meta/log";

pub(super) fn simulate(test: impl Future<Output = ()>) {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().expect("a runtime")
    };
    actix::System::with_tokio_rt(runtime).block_on(test);
}

/// A store of one drive, and its tables.
struct Image {
    disk: SimDisk,
    home: Arc<MemoryHome>,
    bucket: BucketId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Stopped,
    /// The process was killed after it had been idle for a second.
    Idle,
    /// The process was killed right after the last answer.
    Busy,
}

async fn image(ending: Ending) -> Image {
    let world = World::new(1, 1);
    let meta = start(world.options(true)).await.expect("the replica starts");
    let bucket = create_bucket(&meta, "b").await;
    for id in 0..OBJECTS {
        put_ok(&meta, bucket, &format!("key-{id}"), id).await;
    }
    match ending {
        Ending::Stopped => meta.shutdown().await,
        Ending::Idle => tokio::time::sleep(Duration::from_secs(1)).await,
        Ending::Busy => {}
    }
    // All writes were synced, so the power cut changes nothing and serves as a copy.
    let disk = world.disks[0].power_cut(1);
    if ending != Ending::Stopped {
        tokio::spawn(async move { meta.shutdown().await });
    }
    Image { disk, home: Arc::clone(&world.home), bucket }
}

/// Returns the file in which the log ends, its content, and the number of its last block that is not all zeros.
pub(super) fn last_block(disk: &SimDisk) -> (PathBuf, Vec<u8>, usize) {
    let mut names = disk.list(LOG.as_ref()).expect("listed");
    names.retain(|name| name.ends_with(".seg"));
    names.sort();
    let files = names.iter().rev().map(|name| PathBuf::from(LOG).join(name));
    let mut written = files.filter_map(|path| {
        let bytes = read_file(disk, &path).expect("read");
        let last = bytes.chunks(BLOCK).rposition(|block| block.iter().any(|byte| *byte != 0))?;
        (last > 0).then_some((path, bytes, last))
    });
    written.next().expect("a segment with records")
}

/// Starts on a damaged copy of the image, and returns whether it started. If so, checks that every object is there.
async fn starts_whole(image: &Image, with_tables: bool, spoil: impl FnOnce(&SimDisk)) -> bool {
    let disk = image.disk.power_cut(1);
    spoil(&disk);
    let world = World::new(2, 1);
    let home = if with_tables { Arc::new(image.home.copied()) } else { Arc::default() };
    let world = World { disks: vec![disk], home, ..world };
    match start(world.options(false)).await {
        Ok(meta) => {
            check(&meta, image.bucket).await;
            meta.shutdown().await;
            true
        }
        Err(StartError::Copies(_) | StartError::TailLost { .. }) => false,
        Err(error) => panic!("refused for another reason: {error}"),
    }
}

async fn check(meta: &MetaHandle, bucket: BucketId) {
    for id in 0..OBJECTS {
        assert_eq!(id_of(meta, bucket, &format!("key-{id}")).await, Some(id), "it was acknowledged");
    }
}

/// Returns offsets of some bytes of the last blocks that are not zero, several in each record.
fn tail_bytes(image: &Image) -> (PathBuf, Vec<usize>) {
    let (path, bytes, last) = last_block(&image.disk);
    let from = (last.saturating_sub(5)).max(1) * BLOCK;
    let held = (from..(last + 1) * BLOCK).filter(|at| bytes[*at] != 0);
    (path, held.step_by(9).collect())
}

#[test]
fn a_flipped_bit_at_the_end_of_a_log_never_loses_entries_silently() {
    for ending in [Ending::Stopped, Ending::Idle] {
        simulate(async {
            let image = image(ending).await;
            let (path, bytes) = tail_bytes(&image);
            assert!(starts_whole(&image, false, |_| {}).await && starts_whole(&image, true, |_| {}).await);
            assert!(bytes.len() > 30, "{}", bytes.len());
            let mut refused = 0;
            for at in bytes {
                let flip = |disk: &SimDisk| disk.corrupt(&path, at as u64, 1 << (at % 8)).expect("a stored file");
                refused += u32::from(!starts_whole(&image, at % 2 == 0, flip).await);
            }
            assert!(refused > 10, "{ending:?}: {refused}");
        });
    }
}

#[test]
fn an_unreadable_block_at_the_end_of_a_log_never_loses_entries_silently() {
    for ending in [Ending::Stopped, Ending::Idle, Ending::Busy] {
        simulate(async {
            let image = image(ending).await;
            let (path, _, last) = last_block(&image.disk);
            for block in 1..=last + 3 {
                let start = (block * BLOCK) as u64;
                let spoil = |disk: &SimDisk| disk.make_unreadable(&path, start..start + 1).expect("a stored file");
                let started = starts_whole(&image, false, spoil).await;
                // Block `last + 1` is where the next record would be, so damage there may hide a record. The records
                // in block 1, with which a log begins, are repeated by later ones.
                assert_eq!(started, block == 1 || block > last + 1, "{ending:?}: block {block} of {last}");
            }
        });
    }
}

/// Tests that the tables prove the end of a log whose process was killed before it wrote its end mark.
#[test]
fn a_log_that_lacks_an_entry_proven_by_the_tables_is_refused() {
    simulate(async {
        let image = image(Ending::Busy).await;
        let (path, bytes, last) = last_block(&image.disk);
        let at = (last * BLOCK..).find(|at| bytes[*at] != 0).expect("a record");
        let flip = |disk: &SimDisk| disk.corrupt(&path, at as u64 + 20, 1).expect("a stored file");
        assert!(!starts_whole(&image, true, flip).await);
        let disk = image.disk.power_cut(1);
        flip(&disk);
        let world = World { disks: vec![disk], home: Arc::clone(&image.home), ..World::new(2, 1) };
        for _ in 0..2 {
            let refused = start(world.options(false)).await.map(|_| ()).expect_err("the log lost its last entry");
            let message = refused.to_string();
            let file = path.display().to_string();
            assert!(message.contains(&file) && message.contains("at offset"), "{message}");
            assert!(refused.has_lost_the_log(), "a host of several would rejoin as another member");
        }
    });
}

/// A host that rejoined has another id. Its former log would take it back behind entries that the others decided since.
#[test]
fn a_start_refuses_the_log_of_another_member() {
    simulate(async {
        let image = image(Ending::Stopped).await;
        for first_start in [false, true] {
            let disks = vec![image.disk.power_cut(1)];
            let world = World { disks, home: Arc::new(image.home.copied()), ..World::new(2, 1) };
            let before = world.options(false).host;
            let options = ReplicaOptions { host: HostId(before.0 + 1), ..world.options(first_start) };
            let refused = start(options).await.map(|_| ()).expect_err("the log is another member's");
            assert!(matches!(refused, StartError::OfAnotherMember { member, .. } if member == before), "{refused}");
            let meta = start(world.options(false)).await.expect("nothing was changed");
            check(&meta, image.bucket).await;
            meta.shutdown().await;
        }
    });
}

/// Tests that the files of a new store are synced whatever the durability of changes.
#[test]
fn a_relaxed_store_starts_again_after_a_power_cut_during_its_first_start() {
    for seed in 0..60 {
        simulate(async {
            let relaxed = Durability::Relaxed { flush_delay_max: Duration::from_secs(1) };
            let world = World { durability: relaxed, ..World::new(seed, 1) };
            if seed % 2 == 0 {
                let now = world.disks[0].operations().changes;
                world.disks[0].halt_at(now + 1 + seed);
            }
            let started = start(world.options(true)).await.is_ok();
            let world = world.power_cut();
            let meta = start(world.options(!started)).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            create_bucket(&meta, "b").await;
            meta.shutdown().await;
        });
    }
}

#[test]
fn a_relaxed_store_keeps_its_vote_over_a_power_cut() {
    for seed in 0..10 {
        simulate(async {
            let relaxed = Durability::Relaxed { flush_delay_max: Duration::from_secs(10) };
            let world = World { durability: relaxed, ..World::new(seed, 1) };
            let meta = start(world.options(true)).await.expect("the replica starts");
            create_bucket(&meta, "b").await;
            let voted_in = meta.status().term;
            let world = world.power_cut();
            let meta = start(world.options(false)).await.expect("the replica starts again");
            create_bucket(&meta, "c").await;
            assert!(meta.status().term > voted_in, "seed {seed}: it voted for itself in term {voted_in}");
            meta.shutdown().await;
        });
    }
}

/// Tests that a salvage keeps entries of the tables that the log lost.
#[test]
fn a_salvage_keeps_the_entries_that_the_tables_have_applied() {
    simulate(async {
        let image = image(Ending::Busy).await;
        let (path, bytes, last) = last_block(&image.disk);
        let at = (last * BLOCK..).find(|at| bytes[*at] != 0).expect("a record");
        let disk = image.disk.power_cut(1);
        disk.corrupt(&path, at as u64 + 20, 1).expect("a stored file");
        let world = World { disks: vec![disk], home: Arc::clone(&image.home), ..World::new(2, 1) };
        let found = survey_salvage(&world.options(false)).await.expect("there is something to salvage");
        assert!(found.known <= found.kept && found.to_string().contains("lost: nothing"), "{found}");
        assert!(start(world.options(false)).await.is_err(), "a survey changes nothing");
        let salvaging = ReplicaOptions { salvages: true, ..world.options(false) };
        for options in [salvaging, world.options(false), world.options(false)] {
            let meta = start(options).await.expect("it starts");
            check(&meta, image.bucket).await;
            meta.shutdown().await;
        }
        let whole = survey_salvage(&world.options(false)).await.expect_err("there is no damage any more");
        assert!(matches!(whole, SalvageError::Whole), "{whole}");
    });
}

/// Tests that a salvage leaves a log that starts again and again, where whole segments were behind the damage, and where
/// nothing is left of the log.
#[test]
fn a_salvaged_store_starts_again_after_damage_before_whole_segments_or_without_a_log() {
    simulate(async {
        for is_gone in [false, true] {
            let world = World::new(1, 1);
            let meta = start(world.options(true)).await.expect("the replica starts");
            let bucket = create_bucket(&meta, "b").await;
            for id in 0..OF_MANY {
                put_ok(&meta, bucket, &format!("key-{id}"), id).await;
            }
            meta.shutdown().await;
            let disk = world.disks[0].power_cut(1);
            let mut names = disk.list(LOG.as_ref()).expect("listed");
            names.sort();
            assert!(names.len() > 3, "{names:?}");
            match is_gone {
                true => names.iter().for_each(|name| disk.remove(&PathBuf::from(LOG).join(name)).expect("a file")),
                false => disk.corrupt(&PathBuf::from(LOG).join(&names[1]), 64 << 10, 1).expect("a stored file"),
            }
            let world = World { disks: vec![disk], home: Arc::clone(&world.home), ..World::new(2, 1) };
            let refused = start(world.options(false)).await.expect_err("the log is damaged");
            assert!(refused.to_string().contains("run sherd salvage"), "{refused}");
            let found = survey_salvage(&world.options(false)).await.expect("there is something to salvage");
            assert!(found.to_string().contains("lost: nothing"), "{found}");
            assert!(start(world.options(false)).await.is_err(), "a survey changes nothing");
            for round in 0..4 {
                let salvages = round == 0;
                let meta = start(ReplicaOptions { salvages, ..world.options(false) }).await.expect("it starts");
                for id in (0..OF_MANY).chain(1000..1000 + round) {
                    assert_eq!(id_of(&meta, bucket, &format!("key-{id}")).await, Some(id), "round {round}");
                }
                put_ok(&meta, bucket, &format!("key-{}", 1000 + round), 1000 + round).await;
                assert!(meta.snapshot_now().await, "entries are purged, and segments released");
                meta.shutdown().await;
            }
        }
    });
}

/// Tests that a salvage goes on from the copies where no drive has a list of them that can be read.
#[test]
fn a_salvage_without_a_mirror_file_keeps_all_changes() {
    simulate(async {
        for removed in [false, true] {
            let image = image(Ending::Stopped).await;
            let disk = image.disk.power_cut(1);
            let mirror = PathBuf::from("/drive/meta/mirror");
            match removed {
                true => disk.remove(&mirror).expect("a stored file"),
                false => disk.corrupt(&mirror, 20, 1).expect("a stored file"),
            }
            let world = World { disks: vec![disk], home: Arc::clone(&image.home), ..World::new(2, 1) };
            let refused = start(world.options(false)).await.expect_err("no list of the copies");
            assert!(refused.to_string().contains("run sherd salvage"), "{refused}");
            let found = survey_salvage(&world.options(false)).await.expect("there is something to salvage");
            assert!(found.known <= found.kept && found.to_string().contains("lost: nothing"), "{found}");
            let salvaging = ReplicaOptions { salvages: true, ..world.options(false) };
            for options in [salvaging, world.options(false), world.options(false)] {
                let meta = start(options).await.expect("it starts");
                check(&meta, image.bucket).await;
                meta.shutdown().await;
            }
        }
    });
}

#[test]
fn a_salvage_without_tables_keeps_the_entries_before_the_damage() {
    simulate(async {
        let image = image(Ending::Stopped).await;
        let (path, _, last) = last_block(&image.disk);
        let disk = image.disk.power_cut(1);
        // Damages the block of the last change but one: the last change and the end mark come behind it.
        disk.corrupt(&path, ((last - 2) * BLOCK + 80) as u64, 1).expect("a stored file");
        let world = World { disks: vec![disk], home: Arc::default(), ..World::new(2, 1) };
        let found = survey_salvage(&world.options(false)).await.expect("there is something to salvage");
        assert!(found.known > found.kept && found.to_string().contains("lost: the changes"), "{found}");
        let salvaging = ReplicaOptions { salvages: true, ..world.options(false) };
        for options in [salvaging, world.options(false), world.options(false)] {
            let meta = start(options).await.expect("it starts");
            assert_eq!(id_of(&meta, image.bucket, "key-0").await, Some(0));
            meta.shutdown().await;
        }
    });
}
