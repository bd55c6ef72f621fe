//! Tests of changes on a single host: batched, answered once, and kept over restarts and snapshots.

use super::power::World;
use super::tail::simulate;
use super::{Host, create_bucket, id_of, put, put_if_absent, put_ok};
use crate::actors::consensus::{FjallHome, MetaError, Offload, ReplicaOptions, SnapshotPolicy, start};
use crate::actors::log::Threads;
use crate::storage::disk::Disk;
use crate::storage::disk::sim::SimDisk;
use crate::storage::kv::fjall::TableMemory;
use crate::storage::meta::command::{Refusal, Reply};
use crate::storage::meta::listing::ListQuery;
use crate::storage::meta::samples;
use crate::storage::wal::{LogOptions, open_log, survey_log};
use crate::types::{ClusterId, Lsn, NodeId};
use futures::future::join_all;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[actix::test]
async fn acknowledged_writes_are_there_after_a_restart_c4() {
    let mut host = Host::with_drives(1);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    for id in 0..20 {
        put_ok(&meta, bucket, &format!("key-{id}"), id).await;
    }
    meta.shutdown().await;
    assert!(matches!(meta.propose(put(bucket, "late", 1, b"x")).await, Err(MetaError::Unavailable { .. })));
    let meta = host.start().await;
    for id in 0..20 {
        assert_eq!(id_of(&meta, bucket, &format!("key-{id}")).await, Some(id));
    }
    put_ok(&meta, bucket, "key-20", 20).await;
    meta.shutdown().await;
}

#[actix::test]
async fn a_threaded_replica_with_tables_on_a_drive_keeps_acknowledged_writes_c4() {
    let mut host = Host::with_drives(2);
    let start_threaded = |host: &Host| {
        let home = Arc::new(FjallHome { memory: TableMemory { cache_bytes: 1 << 20, memtable_bytes: 4 << 20 } });
        start(ReplicaOptions { home, offload: Offload::Threads, threads: Threads::Own, ..host.options() })
    };
    let meta = start_threaded(&host).await.expect("the replica starts");
    host.started = true;
    let bucket = create_bucket(&meta, "b").await;
    join_all((0..64).map(|id| {
        let meta = meta.clone();
        async move { put_ok(&meta, bucket, &format!("key-{id}"), id).await }
    }))
    .await;
    meta.snapshot_now().await;
    put_ok(&meta, bucket, "key-64", 64).await;
    meta.shutdown().await;
    drop(meta);
    std::fs::remove_dir_all(host.dir(1).join("state")).expect("the tables were on the first drive");
    let meta = start_threaded(&host).await.expect("the replica starts again");
    for id in 0..65 {
        assert_eq!(id_of(&meta, bucket, &format!("key-{id}")).await, Some(id));
    }
    meta.shutdown().await;
}

#[actix::test]
async fn fifty_concurrent_writers_never_stall_c7() {
    let mut host = Host::with_drives(2);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    let began = Instant::now();
    let writer = |writer: u128| {
        let meta = meta.clone();
        async move {
            for round in 0..20 {
                put_ok(&meta, bucket, &format!("{writer}/{round}"), writer * 1000 + round).await;
            }
        }
    };
    join_all((0..50).map(writer)).await;
    assert!(began.elapsed() < Duration::from_secs(60));
    let view = meta.read().await.expect("metadata is readable");
    let query = ListQuery { limit: 2000, ..ListQuery::default() };
    assert_eq!(view.list_objects(bucket, &query).expect("the tables are readable").entries.len(), 1000);
    let status = meta.status();
    assert!(status.last_log_index < 600, "1,000 puts of 50 writers share entries: {status:?} c2");
    meta.shutdown().await;
}

#[actix::test]
async fn one_of_a_hundred_racing_conditional_puts_wins() {
    let mut host = Host::with_drives(2);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    let outcomes = join_all((0..100).map(|id| meta.propose(put_if_absent(bucket, "the key", id)))).await;
    let won = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Reply::ObjectPut { .. }))).count();
    let lost =
        outcomes.iter().filter(|outcome| matches!(outcome, Ok(Reply::Refused(Refusal::PreconditionFailed)))).count();
    assert_eq!((won, lost), (1, 99));
    meta.shutdown().await;
}

#[actix::test]
async fn a_deleted_key_is_never_read_again_c8() {
    let mut host = Host::with_drives(1);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    for id in 0..50 {
        put_ok(&meta, bucket, "key", id).await;
        assert!(meta.read().await.expect("metadata is readable").object(bucket, "key").expect("readable").is_some());
        assert_eq!(meta.propose(samples::delete(bucket, "key")).await, Ok(samples::deleted(true)));
        assert!(meta.read().await.expect("metadata is readable").object(bucket, "key").expect("readable").is_none());
    }
    meta.shutdown().await;
}

#[actix::test]
async fn a_snapshot_purges_the_log_and_a_restart_begins_from_it_c9() {
    let mut host = Host::with_drives(3);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    let odd_keys = ["\0", "a\0b", "..", "/", "//x", "ÿ", "\u{10ffff}"];
    for (id, key) in (0..).zip(odd_keys) {
        put_ok(&meta, bucket, key, id).await;
    }
    // More than one frame, batch or piece of a snapshot holds.
    let large = vec![7; 300 << 10];
    for id in 100..120 {
        assert!(matches!(
            meta.propose(put(bucket, &format!("large-{id}"), id, &large)).await,
            Ok(Reply::ObjectPut { .. })
        ));
    }
    meta.snapshot_now().await;
    super::until("the log is purged", || meta.status().purged_index > 0).await;
    let status = meta.status();
    assert_eq!(status.purged_index, status.snapshot_index);
    put_ok(&meta, bucket, "after", 99).await;
    meta.shutdown().await;
    host.home.forget_all();
    let meta = host.start().await;
    for (id, key) in (0..).zip(odd_keys) {
        assert_eq!(id_of(&meta, bucket, key).await, Some(id));
    }
    assert_eq!(id_of(&meta, bucket, "after").await, Some(99));
    let view = meta.read().await.expect("metadata is readable");
    let manifest = view.object(bucket, "large-119").expect("readable").expect("it was put").manifest;
    assert_eq!(view.inline_bytes(manifest.id).expect("readable").expect("it has bytes"), large);
    meta.shutdown().await;
}

const LOG: &str = "/drive/meta/log";
/// The number of objects whose changes fill several segments.
const OF_MANY: u128 = 150;

/// Returns the numbers of the metadata log's segments, in order.
fn segments(disk: &SimDisk) -> Vec<u32> {
    let names = disk.list(Path::new(LOG)).expect("listed");
    let number = |name: &String| name.strip_suffix(".seg").map(|digits| digits.parse::<u32>().expect("a number"));
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort();
    numbers
}

#[test]
fn a_log_segment_that_cannot_be_removed_when_the_log_is_purged_does_not_prevent_a_start() {
    simulate(async {
        let world = World::new(1, 1);
        let snapshots = SnapshotPolicy { log_bytes_min: 64 << 20 };
        let options = |first_start| ReplicaOptions { snapshots, ..world.options(first_start) };
        let disk = &world.disks[0];
        let mut meta = start(options(true)).await.expect("the replica starts");
        let bucket = create_bucket(&meta, "b").await;
        let oldest = segments(disk)[0];
        let path = PathBuf::from(LOG).join(format!("{oldest:08}.seg"));
        disk.pin(&path);
        for round in 0..3 {
            for id in round * OF_MANY..(round + 1) * OF_MANY {
                put_ok(&meta, bucket, &format!("key-{id}"), id).await;
            }
            let before = segments(disk);
            assert!(before.len() > 3, "{before:?}");
            if round == 2 {
                disk.unpin(&path);
            }
            assert!(meta.snapshot_now().await);
            // The clock moves on once nothing else is left to do.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let after = segments(disk);
            match round {
                2 => assert!(after[0] > oldest && after.len() < before.len(), "{before:?}, {after:?}"),
                _ => assert!(after.starts_with(&before), "none is removed: {before:?}, {after:?}"),
            }
            if round > 0 {
                meta.shutdown().await;
                meta = start(options(false)).await.expect("the replica starts again");
                for id in 0..(round + 1) * OF_MANY {
                    assert_eq!(id_of(&meta, bucket, &format!("key-{id}")).await, Some(id), "round {round}");
                }
            }
        }
        meta.shutdown().await;
    });
}

/// The second segment has nothing but the log's own marks, like one that was torn from its first record to its end.
#[test]
fn a_log_segment_without_entries_is_released_when_the_log_is_purged() {
    simulate(async {
        let world = World::new(1, 1);
        let snapshots = SnapshotPolicy { log_bytes_min: 64 << 20 };
        let options = |first_start| ReplicaOptions { snapshots, ..world.options(first_start) };
        let disk = &world.disks[0];
        let meta = start(options(true)).await.expect("the replica starts");
        let bucket = create_bucket(&meta, "b").await;
        meta.shutdown().await;
        let wal = LogOptions::meta(LOG.into(), ClusterId(1), NodeId(1), world.ambient.clone(), world.pool.clone());
        let wal = LogOptions { segment_bytes: 128 << 10, ..wal };
        let opened = open_log(disk.handle(), wal.clone(), Lsn::default(), &mut |_| ()).expect("opened");
        let log = opened.start(Threads::Current);
        for _ in 0..2 {
            log.rotate().await.expect("rotated");
            // The clock moves on until the mark at the log's end is written.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        log.close().await.expect("closed");
        let mut with_entries = BTreeSet::new();
        let surveyed = survey_log(&disk.handle(), &wal, &mut |record| {
            with_entries.insert(record.at.lsn.segment().0);
        });
        assert_eq!(surveyed.expect("surveyed").rot, []);
        assert_eq!(with_entries, BTreeSet::from([1]));
        assert!(segments(disk).len() > 2, "{:?}", segments(disk));
        let meta = start(options(false)).await.expect("the replica starts again");
        for id in 0..OF_MANY {
            put_ok(&meta, bucket, &format!("key-{id}"), id).await;
        }
        assert!(meta.snapshot_now().await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let left = segments(disk);
        assert!(!left.contains(&1) && !left.contains(&2), "{left:?}");
        meta.shutdown().await;
    });
}
