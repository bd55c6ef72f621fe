//! Tests of the files of segments: how many stay open, and how a log fares while the host lacks file descriptors or
//! memory.

use super::{CAPACITY, DIR, LogHandle, in_system, key, open, options, record, segment_ahead, until};
use crate::metrics;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::sim::{Shortage, SimDisk};
use crate::storage::disk::{Disk, OpenFiles, SystemDisk};
use crate::storage::wal::progress::Ack;
use crate::storage::wal::{Location, LogIdentity, LogOptions, WalError};
use crate::types::{NodeId, SegmentId};
use std::path::Path;
use std::sync::Arc;

/// The segments that the logs of these tests keep open, and the most that their writers hold besides: the open one, the
/// next one, and one for a moment.
const KEPT: usize = 3;
const WRITTEN: usize = 3;

/// Returns the number of files below a directory that this process has open.
fn open_below(dir: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").expect("listed").flatten();
    links.filter(|link| std::fs::read_link(link.path()).is_ok_and(|target| target.starts_with(dir))).count()
}

/// Writes a record into each of `count` segments, and returns their places.
async fn fill(log: &LogHandle, count: u32) -> Vec<Location> {
    let mut places = Vec::new();
    for number in 0..count {
        places.push(log.append(vec![record(number, 5000)]).await.expect("appended")[0]);
        log.rotate().await.expect("rotated");
    }
    places
}

fn assert_whole(log: &LogHandle, places: &[Location]) {
    for (number, place) in (0..).zip(places) {
        assert_eq!(log.read(key(number), *place).expect("read"), record(number, 5000).body);
    }
}

/// Returns the calls of this node that failed for want of the host's resources.
fn shortages(node: NodeId) -> u64 {
    metrics::RESOURCE_SHORTAGES.with_label_values(&[&node.to_string()]).get()
}

#[test]
fn segments_that_were_read_stay_open_only_up_to_the_bound() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let dir = root.path().canonicalize().expect("an absolute path");
    in_system(async {
        let pool = BufferPool::new(8 << 20);
        let disk: Arc<dyn Disk> = Arc::new(SystemDisk::new(pool.clone()));
        let bounded = || LogOptions {
            dir: dir.join("shards"),
            pool: pool.clone(),
            open_files: OpenFiles::new(KEPT),
            space_refuse_percent: 0,
            ..options()
        };
        let (log, _) = open(Arc::clone(&disk), bounded());
        let places = fill(&log, 12).await;
        // The writer opens files for a moment besides, so the bound is waited for: files kept beyond it stay open.
        let bounded_again = async || until("files are closed", || open_below(&dir) <= KEPT + WRITTEN).await;
        bounded_again().await;
        for _ in 0..2 {
            assert_whole(&log, &places);
            bounded_again().await;
        }
        assert!(log.read_many(&[(key(0), places[0]), (key(11), places[11])]).iter().all(Result::is_ok));
        log.close().await.expect("closed");
        until("all files are closed", || open_below(&dir) == 0).await;

        let (log, found) = open(disk, bounded());
        assert_eq!(found.len(), 12);
        assert_whole(&log, &places);
        bounded_again().await;
        log.close().await.expect("closed");
        until("all files are closed", || open_below(&dir) == 0).await;
    });
}

#[test]
fn a_segment_that_was_deleted_below_the_log_cannot_be_read_once_it_was_closed() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let (log, _) = open(disk.handle(), LogOptions { open_files: OpenFiles::new(1), ..options() });
        let places = fill(&log, 3).await;
        disk.remove(&Path::new(DIR).join("00000001.seg")).expect("removed");
        log.read(key(1), places[1]).expect("read, and the first segment is closed");
        let gone = log.read(key(0), places[0]).expect_err("its file is gone");
        assert!(matches!(gone, WalError::Io { operation: "open", .. }), "{gone}");
        log.close().await.expect("closed");
    });
}

#[test]
fn a_log_that_finds_no_descriptor_for_a_segment_refuses_appends_and_goes_on_later() {
    in_system(async {
        for shortage in [Shortage::Descriptors, Shortage::Memory] {
            let disk = SimDisk::new(CAPACITY);
            let (log, _) = open(disk.handle(), options());
            log.append(vec![record(0, 10)]).await.expect("appended");
            segment_ahead(&disk).await;
            disk.set_shortage(Some(shortage));
            let mut stored = 1;
            let refused = loop {
                match log.append(vec![record(stored, 100_000)]).await {
                    Ok(_) => stored += 1,
                    Err(error) => break error,
                }
                assert!(stored < 100, "more was stored than two segments take");
            };
            assert!(matches!(refused, WalError::NoResources { .. }), "{refused}");
            let status = log.status();
            assert_eq!((status.out_of_service, status.has_room), (None, true));

            let patient = tokio::spawn(log.submit_unbounded(vec![record(200, 100_000)], Ack::Synced));
            let again = log.append(vec![record(201, 100_000)]).await;
            assert!(matches!(again, Err(WalError::NoResources { .. })), "{again:?}");
            assert!(!patient.is_finished(), "a patient append waits");
            disk.set_shortage(None);
            patient.await.expect("ran").expect("appended");
            log.append(vec![record(202, 100_000)]).await.expect("appended");
            log.close().await.expect("closed");
            let (log, found) = open(disk.handle(), options());
            assert_eq!(found.len(), stored as usize + 2);
            log.close().await.expect("closed");
        }
    });
}

#[test]
fn a_retired_file_is_used_again_although_the_host_lacked_descriptors_for_it() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let node = NodeId(7001);
        let identity = LogIdentity { node, ..options().identity };
        let (log, _) = open(disk.handle(), LogOptions { identity, ..options() });
        fill(&log, 1).await;
        let list = || disk.list(Path::new(DIR)).expect("listed");
        until("the segment ahead is ready", || list().iter().any(|name| name == "00000003.seg")).await;
        log.release_segment(SegmentId(1)).await.expect("released");
        assert!(list().iter().any(|name| name.ends_with(".free")), "{:?}", list());
        log.append(vec![record(1, 100)]).await.expect("appended");
        disk.set_shortage(Some(Shortage::Descriptors));
        log.rotate().await.expect("rotated into the segment that was ready");
        until("no further segment can be made", || shortages(node) > 0).await;
        disk.set_shortage(None);
        let is_used = || list().len() == 3 && list().iter().all(|name| name.ends_with(".seg"));
        until("the next segment is made of the retired file", is_used).await;
        assert_eq!(log.status().out_of_service, None);
        log.close().await.expect("closed");
    });
}

#[test]
fn a_write_that_lacks_memory_is_repeated_before_the_log_fails() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let (log, _) = open(disk.handle(), options());
        log.append(vec![record(0, 5000)]).await.expect("appended");
        segment_ahead(&disk).await;
        disk.fail_next_writes_for_memory(3);
        let places = log.append(vec![record(1, 5000)]).await.expect("appended");
        assert_eq!(log.read(key(1), places[0]).expect("read"), record(1, 5000).body);
        assert_eq!(log.status().out_of_service, None);
        log.close().await.expect("closed");
        let (log, found) = open(disk.handle(), options());
        assert_eq!(found.len(), 2);
        disk.fail_next_writes_for_memory(u64::MAX);
        log.append(vec![record(2, 5000)]).await.expect_err("memory is wanting for long");
        assert!(log.status().out_of_service.is_some_and(|why| why.contains("lacks resources")));
        drop(log.close().await);
    });
}
