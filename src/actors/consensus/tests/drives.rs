//! Tests of one host whose drives are lost, hang, fill up, or come back stale or empty, and whose tables are lost or
//! fail.

use super::power::Simulated;
use super::{Host, create_bucket, id_of, put, put_ok, start, until};
use crate::actors::consensus::{MetaError, MetaHandle, Offload, ReplicaDrive, ReplicaOptions, StartError, StateHome};
use crate::actors::drives::health::NodeHealth;
use crate::actors::log::Threads;
use crate::metrics::MIRROR_FAILED;
use crate::storage::disk::read_file;
use crate::storage::disk::sim::{Held, HoldGuard, SimDisk};
use crate::storage::raft_log::{ChoiceError, MirrorSet};
use crate::types::{BucketId, NodeId};
use futures::future::join_all;
use std::path::Path;
use std::time::Duration;

pub(super) async fn put_many(meta: &MetaHandle, bucket: BucketId, ids: std::ops::Range<u128>) {
    join_all(ids.map(|id| async move { put_ok(meta, bucket, &format!("key-{id}"), id).await })).await;
}

/// Starts a replica on these disks, and stores ten objects.
pub(super) async fn start_with_objects(host: &Host, disks: &[SimDisk]) -> (MetaHandle, BucketId) {
    let meta = start(on_disks(host, disks)).await.expect("the replica starts");
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..10).await;
    (meta, bucket)
}

pub(super) async fn assert_all(meta: &MetaHandle, bucket: BucketId, ids: std::ops::Range<u128>) {
    for id in ids {
        assert_eq!(id_of(meta, bucket, &format!("key-{id}")).await, Some(id));
    }
}

pub(super) fn members(meta: &MetaHandle) -> Vec<u32> {
    meta.status().mirror_members.iter().map(|node| node.0).collect()
}

#[actix::test]
async fn metadata_survives_the_loss_of_any_two_of_four_drives_while_stopped() {
    for lost in [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]] {
        let mut host = Host::with_drives(4);
        let meta = host.start().await;
        let bucket = create_bucket(&meta, "b").await;
        put_many(&meta, bucket, 0..20).await;
        meta.shutdown().await;
        lost.iter().for_each(|node| host.lose(*node));
        let meta = host.start().await;
        assert_all(&meta, bucket, 0..20).await;
        put_many(&meta, bucket, 20..30).await;
        until("both drives that are left hold a copy", || members(&meta).len() == 2).await;
        meta.shutdown().await;
        let meta = host.start().await;
        assert_all(&meta, bucket, 0..30).await;
        meta.shutdown().await;
    }
}

#[actix::test]
async fn metadata_survives_the_loss_of_two_of_four_drives_while_running() {
    for lost in [[1, 2], [1, 3], [2, 4], [3, 4]] {
        let mut host = Host::with_drives(4);
        let meta = host.start().await;
        let bucket = create_bucket(&meta, "b").await;
        put_many(&meta, bucket, 0..20).await;
        for node in lost {
            meta.drive_lost(NodeId(node));
            host.lose(node);
            put_many(&meta, bucket, u128::from(node) * 100..u128::from(node) * 100 + 20).await;
        }
        until("the drives that are left hold the copies", || members(&meta).len() == 2).await;
        assert!(members(&meta).iter().all(|node| !lost.contains(node)));
        assert!(host.home.nodes().iter().all(|node| !lost.contains(&node.0)), "the tables are on a drive that is left");
        assert_all(&meta, bucket, 0..20).await;
        meta.shutdown().await;
        let meta = host.start().await;
        for node in lost {
            assert_all(&meta, bucket, u128::from(node) * 100..u128::from(node) * 100 + 20).await;
        }
        meta.shutdown().await;
    }
}

#[actix::test]
async fn a_stale_log_copy_that_is_put_back_is_recognised_and_refilled() {
    let mut host = Host::with_drives(2);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..10).await;
    meta.shutdown().await;
    host.present = vec![2];
    let meta = host.start().await;
    put_many(&meta, bucket, 10..30).await;
    assert_eq!(members(&meta), [2]);
    meta.shutdown().await;
    host.home.forget_all();
    // A drive with a later generation shows that the copy on drive 1 is stale.
    host.present = vec![1, 2];
    let meta = host.start().await;
    assert_all(&meta, bucket, 0..30).await;
    until("the stale copy is filled", || members(&meta) == [1, 2]).await;
    meta.shutdown().await;
    host.lose(2);
    let meta = host.start().await;
    assert_all(&meta, bucket, 0..30).await;
    meta.shutdown().await;
}

#[actix::test]
async fn a_start_with_only_a_stale_log_copy_is_refused() {
    let mut host = Host::with_drives(4);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..5).await;
    meta.shutdown().await;
    // Drive 1 is away, and drive 4 takes its place. Then the logs of all current copies are lost, but not their mirror
    // files.
    host.present = vec![2, 3, 4];
    let meta = host.start().await;
    until("the fourth drive takes its place", || members(&meta) == [2, 3, 4]).await;
    put_many(&meta, bucket, 5..10).await;
    meta.shutdown().await;
    host.copies_wanted = 1;
    host.present = vec![1, 2, 3, 4];
    for node in [2, 3, 4] {
        std::fs::remove_dir_all(host.dir(node).join("meta").join("log")).expect("it had a copy");
    }
    host.home.forget_all();
    let refused = host.try_start().await.expect_err("no copy can be selected");
    assert!(matches!(refused, StartError::Copies(ChoiceError::AllDamaged(_))), "{refused}");
}

#[actix::test]
async fn an_old_log_copy_is_refused_without_the_current_ones_or_after_separate_use() {
    let mut host = Host::with_drives(4);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..5).await;
    meta.shutdown().await;
    let (old, current) = (host.root.path().join("old"), host.root.path().join("current"));
    copy_dir(&host.dir(1), &old);
    let meta = host.start().await;
    put_many(&meta, bucket, 5..10).await;
    meta.shutdown().await;
    std::fs::rename(host.dir(1), &current).expect("it is there");
    std::fs::rename(&old, host.dir(1)).expect("it is there");
    // Drive 4 has no copy, but its mirror file names the drives with the current ones.
    host.home.forget_all();
    host.present = vec![1, 4];
    let refused = host.try_start().await.expect_err("the current copies are away");
    assert!(matches!(refused, StartError::Copies(ChoiceError::AllMissing { .. })), "{refused}");
    // No present drive shows that there are later copies.
    host.present = vec![1];
    let meta = host.start().await;
    put_many(&meta, bucket, 20..25).await;
    meta.shutdown().await;
    host.home.forget_all();
    host.present = vec![1, 2, 3, 4];
    let refused = host.try_start().await.expect_err("the copies were used apart from each other");
    assert!(matches!(refused, StartError::Copies(ChoiceError::Forked { .. })), "{refused}");
    std::fs::remove_dir_all(host.dir(1)).expect("it is there");
    std::fs::rename(&current, host.dir(1)).expect("it is there");
    host.home.forget_all();
    let meta = host.start().await;
    assert_all(&meta, bucket, 0..10).await;
    meta.shutdown().await;
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy_dir(&from, &to) } else { std::fs::copy(&from, &to).map(drop).expect("copied") }
    }
}

/// Tests two drives that are each started without the other, in turn: acknowledged changes of either are never dropped
/// silently.
#[actix::test]
async fn drives_that_were_used_separately_are_refused_together() {
    let mut host = Host::with_drives(2);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..5).await;
    meta.shutdown().await;
    for (round, node) in [1, 2, 1].into_iter().enumerate() {
        host.home.forget_all();
        host.present = vec![node];
        let meta = host.start().await;
        assert_all(&meta, bucket, 0..5).await;
        let first = 10 * (round as u128 + 1);
        put_many(&meta, bucket, first..first + 3).await;
        meta.shutdown().await;
    }
    host.home.forget_all();
    host.present = vec![1, 2];
    let refused = host.try_start().await.expect_err("each drive has changes that the other lacks");
    assert!(matches!(refused, StartError::Copies(ChoiceError::Forked { .. })), "{refused}");
    for (node, rounds) in [(2, [20_u128].as_slice()), (1, &[10, 30])] {
        host.home.forget_all();
        host.present = vec![node];
        let meta = host.start().await;
        for first in rounds {
            assert_all(&meta, bucket, *first..*first + 3).await;
        }
        meta.shutdown().await;
    }
}

#[actix::test]
async fn an_emptied_drive_is_filled_while_writes_go_on() {
    let mut host = Host::with_drives(3);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..50).await;
    meta.snapshot_now().await;
    put_many(&meta, bucket, 50..100).await;
    let lost = members(&meta)[0];
    meta.drive_lost(NodeId(lost));
    host.lose(lost);
    put_many(&meta, bucket, 100..120).await;
    until("another drive takes its place", || members(&meta).len() == 2 && !members(&meta).contains(&lost)).await;
    // Another drive is lost, and the first comes back empty: it is the only one that can be filled.
    let second = members(&meta)[0];
    meta.drive_lost(NodeId(second));
    host.lose(second);
    std::fs::create_dir_all(host.dir(lost)).expect("an empty drive");
    host.present.push(lost);
    meta.drive_back(host.drive(lost));
    let writes = put_many(&meta, bucket, 120..400);
    let filled = until("the drive that came back is filled", || members(&meta).contains(&lost));
    futures::join!(writes, filled);
    meta.shutdown().await;
    let only = host.present.iter().copied().find(|node| *node != lost).expect("one of three is left");
    host.lose(only);
    let meta = host.start().await;
    assert_all(&meta, bucket, 0..400).await;
    meta.shutdown().await;
}

#[actix::test]
async fn a_drive_that_is_added_gets_a_copy_where_the_host_is_to_keep_more_of_them() {
    let mut host = Host::with_drives(1);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..50).await;
    meta.snapshot_now().await;
    for (added, copies) in [(2, 2), (3, 2)] {
        std::fs::create_dir_all(host.dir(added)).expect("an empty drive");
        host.present.push(added);
        meta.want_copies(copies);
        meta.drive_back(host.drive(added));
        let next = u128::from(added) * 100;
        let writes = put_many(&meta, bucket, next..next + 100);
        futures::join!(writes, until("the copies that are wanted", || members(&meta) == [1, 2]));
        assert_eq!(meta.replica(&NodeHealth::default()).copies_wanted, copies);
    }
    // The drive without a copy takes the place of one that is lost.
    meta.drive_lost(NodeId(1));
    host.lose(1);
    until("the third drive has a copy", || members(&meta) == [2, 3]).await;
    meta.shutdown().await;
    host.lose(2);
    let meta = host.start().await;
    assert_all(&meta, bucket, 0..50).await;
    assert_all(&meta, bucket, 200..400).await;
    meta.shutdown().await;
}

/// Starts a host with three drives, one of which has the only copy of 80 puts, most of them in a snapshot.
async fn with_one_copy() -> (Host, MetaHandle, BucketId, u32) {
    let mut host = Host::with_drives(3);
    host.copies_wanted = 1;
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..50).await;
    meta.snapshot_now().await;
    put_many(&meta, bucket, 50..80).await;
    let [only] = members(&meta)[..] else { panic!("one copy is wanted") };
    (host, meta, bucket, only)
}

#[actix::test]
async fn a_leaving_drive_keeps_its_log_copy_until_another_drive_has_one() {
    let (mut host, meta, bucket, only) = with_one_copy().await;
    meta.drive_leaves(NodeId(only));
    let writes = put_many(&meta, bucket, 80..300);
    let handed = until("another drive has the copy", || members(&meta).len() == 1 && !members(&meta).contains(&only));
    futures::join!(writes, handed);
    meta.drive_lost(NodeId(only));
    put_many(&meta, bucket, 300..310).await;
    meta.shutdown().await;
    host.lose(only);
    let meta = host.start().await;
    assert_all(&meta, bucket, 0..310).await;
    meta.shutdown().await;
}

/// The hanging drive still answers reads, and so do the tables on it.
#[actix::test]
async fn tables_on_a_hanging_drive_are_rebuilt_on_another_once_it_is_lost() {
    let mut host = Host::with_drives(3);
    let meta = start(ReplicaOptions { offload: Offload::Threads, ..host.options() }).await.expect("it starts");
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..5).await;
    let [node] = host.home.nodes().into_iter().collect::<Vec<_>>()[..] else { panic!("the tables are on one drive") };
    host.home.hang(Some(node));
    assert!(meta.propose(put(bucket, "undecided", 5, &[])).await.is_err(), "it waits for the drive");
    meta.drive_lost(node);
    until("the tables to be on another drive", || host.home.nodes().len() == 2).await;
    put_many(&meta, bucket, 6..20).await;
    assert_all(&meta, bucket, 0..5).await;
    assert_all(&meta, bucket, 6..20).await;
    host.home.hang(None);
    meta.shutdown().await;
    host.started = true;
    let meta = host.start().await;
    assert_all(&meta, bucket, 6..20).await;
    meta.shutdown().await;
}

#[actix::test]
async fn the_tables_stay_on_a_retired_drive_until_the_next_start_without_it() {
    let (mut host, meta, bucket, only) = with_one_copy().await;
    meta.drive_leaves(NodeId(only));
    until("another drive has the copy", || members(&meta).len() == 1 && !members(&meta).contains(&only)).await;
    meta.drive_retired(NodeId(only));
    put_many(&meta, bucket, 80..90).await;
    assert_eq!(host.home.nodes(), [NodeId(only)].into(), "no tables are rebuilt while the host runs");
    assert_all(&meta, bucket, 0..90).await;
    meta.shutdown().await;
    host.lose(only);
    let meta = host.start().await;
    assert_all(&meta, bucket, 0..90).await;
    meta.shutdown().await;
}

#[actix::test]
async fn the_last_log_copy_stays_even_on_a_leaving_drive() {
    let mut host = Host::with_drives(2);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    [1, 2].into_iter().for_each(|node| meta.drive_leaves(NodeId(node)));
    until("the first has gone", || members(&meta) == [2]).await;
    put_many(&meta, bucket, 0..20).await;
    meta.drive_leaves(NodeId(2));
    put_many(&meta, bucket, 20..40).await;
    assert_eq!(members(&meta), [2]);
    meta.shutdown().await;
    host.lose(1);
    let meta = host.start().await;
    assert_all(&meta, bucket, 0..40).await;
    meta.shutdown().await;
}

#[actix::test]
async fn tables_lost_while_stopped_are_rebuilt_from_the_log() {
    let mut host = Host::with_drives(2);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..30).await;
    meta.shutdown().await;
    host.home.forget_all();
    let meta = host.start().await;
    assert_all(&meta, bucket, 0..30).await;
    meta.shutdown().await;
    host.home.break_all();
    let meta = host.start().await;
    assert_all(&meta, bucket, 0..30).await;
    meta.shutdown().await;
}

#[actix::test]
async fn tables_that_fail_while_running_are_rebuilt_without_loss() {
    let mut host = Host::with_drives(3);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..30).await;
    meta.snapshot_now().await;
    put_many(&meta, bucket, 30..60).await;
    host.home.break_all();
    put_many(&meta, bucket, 60..90).await;
    assert_all(&meta, bucket, 0..90).await;
    meta.shutdown().await;
}

#[actix::test]
async fn tables_are_rebuilt_on_a_full_drive_once_it_has_space() {
    let mut host = Host::with_drives(1);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    put_many(&meta, bucket, 0..10).await;
    host.home.set_full(true);
    host.home.break_all();
    let waiting = meta.clone();
    actix::spawn(async move { drop(waiting.propose(put(bucket, "waiting", 999, b"x")).await) });
    until("there are no tables", || meta.status().out_of_service.is_some()).await;
    let tables = || host.home.list(NodeId(1), Path::new("")).expect("listed").len();
    until("what was begun is removed", || tables() == 1).await;
    host.home.set_full(false);
    until("there are tables", || meta.status().out_of_service.is_none() && meta.status().is_leader).await;
    put_many(&meta, bucket, 10..20).await;
    assert_all(&meta, bucket, 0..20).await;
    assert_eq!(tables(), 1);
    meta.shutdown().await;
}

#[actix::test]
async fn without_any_log_copy_changes_are_refused_and_do_not_hang_c7() {
    let mut host = Host::with_drives(2);
    let meta = host.start().await;
    let bucket = create_bucket(&meta, "b").await;
    meta.drive_lost(NodeId(1));
    meta.drive_lost(NodeId(2));
    until("the replica is out of service", || meta.status().out_of_service.is_some()).await;
    let refused = meta.propose(put(bucket, "key", 1, b"x")).await;
    assert!(matches!(refused, Err(MetaError::Unavailable { .. } | MetaError::TimedOut)), "{refused:?}");
    meta.shutdown().await;
}

#[actix::test]
async fn a_host_that_had_metadata_refuses_to_start_on_blank_drives() {
    let mut host = Host::with_drives(2);
    host.start().await.shutdown().await;
    host.lose(1);
    host.lose(2);
    host.present = vec![1, 2];
    assert!(matches!(host.try_start().await, Err(StartError::NothingFound)));
}

/// Creates a simulated disk for each drive of the host. A simulated disk can stall without stalling the test.
pub(super) fn simulated(host: &Host) -> Vec<SimDisk> {
    let disk = |node: &u32| {
        let disk = SimDisk::new(256 << 20);
        let dir = host.dir(*node);
        disk.handle().create_dir_all(&dir).expect("a fresh disk takes a directory");
        dir.ancestors().skip(1).for_each(|parent| disk.handle().sync_dir(parent).expect("a fresh disk syncs"));
        disk
    };
    host.present.iter().map(disk).collect()
}

pub(super) fn on_disks(host: &Host, disks: &[SimDisk]) -> ReplicaOptions {
    let mut options = host.options();
    for (drive, disk) in options.drives.iter_mut().zip(disks) {
        drive.disk = disk.handle();
    }
    ReplicaOptions { threads: Threads::Own, offload: Offload::Threads, ..options }
}

/// Begins a write that stalls at the disk whose syncs are held, and advances the time.
async fn stall(meta: &MetaHandle, bucket: BucketId, hold: HoldGuard, seconds: u64) -> HoldGuard {
    let meta = meta.clone();
    // The proposal may time out; its object is not checked.
    actix::spawn(async move { drop(meta.propose(put(bucket, "stalled", 999, b"x")).await) });
    let arrival = tokio::task::spawn_blocking(move || {
        hold.wait_for_arrivals(1);
        hold
    });
    let hold = arrival.await.expect("a sync arrived");
    pass(seconds).await;
    hold
}

/// Advances the time for everything that waits in this thread.
async fn pass(seconds: u64) {
    tokio::time::pause();
    for _ in 0..seconds {
        tokio::time::advance(Duration::from_secs(1)).await;
        // Gives the disks' threads time to do their work.
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(20))).await.expect("slept");
    }
    tokio::time::resume();
}

#[actix::test]
async fn a_log_copy_given_up_for_lateness_is_not_selected_at_a_start() {
    let mut host = Host::with_drives(2);
    let disks = simulated(&host);
    let meta = start(on_disks(&host, &disks)).await.expect("the replica starts");
    let bucket = create_bucket(&meta, "b").await;
    let hold = stall(&meta, bucket, disks[1].hold(Held::Sync), 6).await;
    until("the copy that stalls leaves", || members(&meta) == [1]).await;
    drop(hold);
    put_many(&meta, bucket, 0..10).await;
    let generation = meta.status().mirror_generation;
    let file = host.dir(2).join("meta").join("mirror");
    let is_written = || {
        let content = read_file(&*disks[1].handle(), &file).unwrap_or_default();
        MirrorSet::decode(&content).is_ok_and(|set| set.generation == generation)
    };
    until("the present set is written to the drive that left", is_written).await;
    meta.shutdown().await;
    host.present = vec![2];
    host.started = true;
    host.home.forget_all();
    let refused = start(on_disks(&host, &disks[1..])).await.expect_err("an old copy is not selected");
    assert!(matches!(refused, StartError::Copies(ChoiceError::AllMissing { .. })), "{refused}");
}

#[actix::test]
async fn a_log_copy_given_up_for_lateness_is_refilled_after_a_pause() {
    let host = Host::with_drives(2);
    let disks = simulated(&host);
    let meta = start(on_disks(&host, &disks)).await.expect("the replica starts");
    let bucket = create_bucket(&meta, "b").await;
    let hold = stall(&meta, bucket, disks[1].hold(Held::Sync), 6).await;
    until("the copy that stalls leaves", || members(&meta) == [1]).await;
    drop(hold);
    put_many(&meta, bucket, 0..10).await;
    wait_for_both(&meta).await;
    put_many(&meta, bucket, 10..20).await;
    assert_all(&meta, bucket, 0..20).await;
    meta.shutdown().await;
}

#[actix::test]
async fn a_drive_that_is_full_at_the_start_gets_a_log_copy_once_it_has_space() {
    let mut host = Host::with_drives(2);
    let disks = simulated(&host);
    let (meta, bucket) = start_with_objects(&host, &disks).await;
    wait_for_both(&meta).await;
    meta.shutdown().await;
    host.started = true;
    disks[1].set_capacity(0);
    let meta = start(on_disks(&host, &disks)).await.expect("the replica starts");
    assert_eq!((members(&meta), meta.status().failed_copies.len()), (vec![1], 1));
    put_many(&meta, bucket, 10..20).await;
    disks[1].set_capacity(256 << 20);
    wait_for_both(&meta).await;
    assert_eq!(meta.status().failed_copies, [""; 0]);
    put_many(&meta, bucket, 20..30).await;
    assert_all(&meta, bucket, 0..30).await;
    meta.shutdown().await;
}

/// Wherever the drive fails on the way: as its copy is opened, at the first append to it, or at its mirror file.
#[actix::test]
async fn a_start_goes_on_with_either_copy_if_the_drive_of_the_other_fails() {
    for (failing, change) in [0, 1].into_iter().flat_map(|failing| (0..12).map(move |change| (failing, change))) {
        let mut host = Host::with_drives(2);
        let disks = simulated(&host);
        let (meta, bucket) = start_with_objects(&host, &disks).await;
        wait_for_both(&meta).await;
        meta.shutdown().await;
        host.started = true;
        disks[failing].halt_at(disks[failing].operations().changes + change);
        let started = start(on_disks(&host, &disks)).await;
        let meta = started.unwrap_or_else(|error| panic!("drive {failing}, change {change}: {error}"));
        assert_all(&meta, bucket, 0..10).await;
        meta.shutdown().await;
    }
}

#[actix::test]
async fn a_start_passes_over_a_shorter_copy_if_the_drive_of_the_best_fails() {
    for (shorter, change) in (0..3).flat_map(|shorter| (0..12).map(move |change| (shorter, change))) {
        let mut host = Host { copies_wanted: 3, ..Host::with_drives(3) };
        let disks = simulated(&host);
        let (meta, bucket) = start_with_objects(&host, &disks).await;
        until("each drive has a copy", || members(&meta) == [1, 2, 3]).await;
        let longer = (0..3).filter(|drive| *drive != shorter);
        let synced: Vec<(usize, u64)> = longer.map(|drive| (drive, disks[drive].operations().syncs)).collect();
        let hold = stall(&meta, bucket, disks[shorter].hold(Held::Sync), 0).await;
        let is_longer = || synced.iter().all(|(drive, before)| disks[*drive].operations().syncs > *before);
        until("the other two have one entry more", is_longer).await;
        let disks: Vec<SimDisk> = disks.iter().map(|disk| disk.power_cut_to_what_was_synced(1)).collect();
        drop(hold);
        meta.shutdown().await;
        host.started = true;
        // Of equal copies the one on the last drive counts as the best.
        let best = if shorter == 2 { 1 } else { 2 };
        disks[best].halt_at(disks[best].operations().changes + change);
        let started = start(on_disks(&host, &disks)).await;
        let meta = started.unwrap_or_else(|error| panic!("shorter: {shorter}, change {change}: {error}"));
        assert_all(&meta, bucket, 0..10).await;
        meta.shutdown().await;
    }
}

#[actix::test]
async fn a_drive_whose_log_copy_failed_is_reported_even_after_its_replacement() {
    // No other test uses these node ids: the metric is global to the process.
    let mut host = Host { present: vec![71, 72, 73], ..Host::with_drives(3) };
    let disks = simulated(&host);
    let meta = start(on_disks(&host, &disks)).await.expect("the replica starts");
    let bucket = create_bucket(&meta, "b").await;
    assert_eq!((members(&meta), meta.status().failed_copies.len()), (vec![71, 72], 0));
    disks[1].fail_next_syncs(1);
    put_many(&meta, bucket, 0..10).await;
    until("another drive takes its place", || members(&meta) == [71, 73]).await;
    let [named] = &meta.status().failed_copies[..] else { panic!("one drive is named") };
    let words = format!("the copy of the metadata log on drive 72 ({}) failed: ", host.dir(72).display());
    assert!(named.starts_with(&words), "{named}");
    assert_eq!(MIRROR_FAILED.with_label_values(&["72"]).get(), 1);
    assert_all(&meta, bucket, 0..10).await;
    meta.shutdown().await;
    host.started = true;
    let meta = start(on_disks(&host, &disks)).await.expect("the replica starts");
    assert_eq!(meta.status().failed_copies, [""; 0], "the next start forgets the failure");
    meta.shutdown().await;
}

#[actix::test]
async fn a_failed_log_copy_is_reported_only_until_its_drive_is_retired() {
    // No other test uses these node ids: the metric is global to the process.
    let host = Host { present: vec![74, 75, 76], ..Host::with_drives(3) };
    let disks = simulated(&host);
    let meta = start(on_disks(&host, &disks)).await.expect("the replica starts");
    let bucket = create_bucket(&meta, "b").await;
    disks[1].fail_next_syncs(1);
    put_many(&meta, bucket, 0..10).await;
    until("another drive takes its place", || members(&meta) == [74, 76]).await;
    assert_eq!((meta.status().failed_copies.len(), MIRROR_FAILED.with_label_values(&["75"]).get()), (1, 1));
    meta.drive_leaves(NodeId(75));
    meta.drive_retired(NodeId(75));
    let is_reported = || MIRROR_FAILED.with_label_values(&["75"]).get() == 1;
    until("the failure is forgotten", || meta.status().failed_copies.is_empty() && !is_reported()).await;
    meta.shutdown().await;
}

#[actix::test]
async fn a_snapshot_on_a_hanging_drive_is_given_up_once_the_drive_is_lost() {
    let host = Host::with_drives(2);
    let disks = simulated(&host);
    let (meta, bucket) = start_with_objects(&host, &disks).await;
    // Directories are synced for the snapshot alone, once the segment ahead is made.
    let (mut synced, mut looks) = (0, 0);
    until("the drive's directories are synced", || {
        let now = disks[1].operations().dir_syncs;
        looks = if now == synced { looks + 1 } else { 0 };
        synced = now;
        looks > 50
    })
    .await;
    let hold = disks[1].hold(Held::SyncDir);
    let held_up = tokio::spawn({
        let meta = meta.clone();
        async move { meta.snapshot_now().await }
    });
    let arrival = tokio::task::spawn_blocking(move || {
        hold.wait_for_arrivals(1);
        hold
    });
    let hold = arrival.await.expect("a sync arrived");
    meta.drive_lost(NodeId(2));
    until("the copy on the lost drive leaves", || members(&meta) == [1]).await;
    for _ in 0..30 {
        pass(1).await;
        if held_up.is_finished() {
            break;
        }
    }
    assert!(held_up.is_finished(), "it is given up");
    assert_eq!(meta.status().snapshot_index, 0);
    put_many(&meta, bucket, 10..20).await;
    meta.snapshot_now().await;
    let index = meta.status().snapshot_index;
    assert!(index > 0);
    drop(hold);
    let (first, dir) = (disks[0].handle(), host.dir(1).join("meta").join("snapshot"));
    let files = || first.list(&dir).expect("the drive answers");
    until("what was given up is removed", || files().len() == 1).await;
    assert!(files().iter().all(|name| name.ends_with(".snap")), "{:?}", files());
    assert_all(&meta, bucket, 0..20).await;
    meta.shutdown().await;
}

/// Waits until the second drive has a copy again. The pause before that begins when the former copy is closed, which a
/// test cannot see: so the time is advanced several times.
pub(super) async fn wait_for_both(meta: &MetaHandle) {
    for _ in 0..30 {
        if members(meta) == [1, 2] {
            break;
        }
        pass(4).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until("the copy is filled again", || members(meta) == [1, 2]).await;
}

#[actix::test]
async fn the_last_log_copy_is_waited_for_however_long_it_stalls() {
    let host = Host::with_drives(1);
    let disks = simulated(&host);
    let options = ReplicaOptions { ambient: Simulated::ambient(1), ..on_disks(&host, &disks) };
    let meta = start(options).await.expect("the replica starts");
    let bucket = create_bucket(&meta, "b").await;
    assert!(!meta.replica(&NodeHealth::default()).is_stuck);
    let hold = stall(&meta, bucket, disks[0].hold(Held::Sync), 90).await;
    assert_eq!(meta.status().out_of_service, None);
    assert!(meta.replica(&NodeHealth::default()).is_stuck, "the waiting change is not decided");
    drop(hold);
    until("it leads", || meta.status().is_leader && !meta.replica(&NodeHealth::default()).is_stuck).await;
    put_many(&meta, bucket, 0..10).await;
    assert_all(&meta, bucket, 0..10).await;
    meta.shutdown().await;
}

/// Unfinished writes of the former copy would get mixed with the copy that is begun in its place.
#[actix::test]
async fn a_returning_drive_is_refilled_only_after_its_former_copy_is_closed() {
    let host = Host::with_drives(2);
    let disks = simulated(&host);
    let meta = start(on_disks(&host, &disks)).await.expect("the replica starts");
    let bucket = create_bucket(&meta, "b").await;
    let hold = stall(&meta, bucket, disks[1].hold(Held::Sync), 0).await;
    meta.drive_lost(NodeId(2));
    until("the copy on the lost drive leaves", || members(&meta) == [1]).await;
    let emptied = simulated(&host).remove(1);
    meta.drive_back(ReplicaDrive { node: NodeId(2), disk: emptied.handle(), dir: host.dir(2) });
    put_many(&meta, bucket, 0..100).await;
    pass(10).await;
    assert_eq!(emptied.handle().exists(&host.dir(2).join("meta")).ok(), Some(false), "its former copy hangs");
    drop(hold);
    until("the drive is filled", || members(&meta) == [1, 2]).await;
    assert_all(&meta, bucket, 0..100).await;
    meta.shutdown().await;
}
