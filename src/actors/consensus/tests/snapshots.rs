//! Tests of snapshots for which a drive has no room, that a drive lacks at the start, or that are damaged.

use super::drives::{assert_all, members, on_disks, put_many, simulated, start_with_objects, wait_for_both};
use super::{Host, start, until};
use crate::storage::disk::sim::SimDisk;
use std::path::PathBuf;

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
