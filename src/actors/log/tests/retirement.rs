//! Tests of releases while a file cannot be retired.

use super::{CAPACITY, DIR, LogHandle, in_system, key, open, options, record, until};
use crate::storage::disk::Disk;
use crate::storage::disk::sim::SimDisk;
use crate::storage::wal::{LogOptions, ReplayRule};
use crate::types::{Lsn, SegmentId};
use std::path::{Path, PathBuf};

fn file(id: u32) -> PathBuf {
    Path::new(DIR).join(format!("{id:08}.seg"))
}

/// Returns those of the segments 1 to 5 whose files are there.
fn left(disk: &SimDisk) -> Vec<u32> {
    (1..=5).filter(|id| disk.exists(&file(*id)).expect("looked for")).collect()
}

/// Starts a log with one record in each of the segments 1 to 5, all of them sealed.
async fn with_five_segments(disk: &SimDisk, replay: ReplayRule) -> LogHandle {
    let (log, _) = open(disk.handle(), LogOptions { replay, ..options() });
    for number in 1..=5 {
        log.append(vec![record(number, 100)]).await.expect("appended");
        log.rotate().await.expect("rotated");
    }
    log
}

#[test]
fn a_log_that_is_replayed_in_order_retires_no_segment_before_an_older_one() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = with_five_segments(&disk, ReplayRule::Prefix).await;
        disk.pin(&file(1));
        for id in [1, 2] {
            assert!(log.release_segment(SegmentId(id)).await.is_err());
        }
        assert_eq!(left(&disk), [1, 2, 3, 4, 5]);
        disk.unpin(&file(1));
        log.release_segment(SegmentId(3)).await.expect("released");
        assert_eq!(left(&disk), [4, 5]);
        log.close().await.expect("closed");
        let (log, found) = open(disk.handle(), LogOptions { replay: ReplayRule::Prefix, ..options() });
        assert_eq!(found.iter().map(|record| record.key).collect::<Vec<_>>(), [key(4), key(5)]);
        log.close().await.expect("closed");
    });
}

#[test]
fn a_log_that_is_replayed_in_order_retires_no_segment_before_one_that_is_read() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = with_five_segments(&disk, ReplayRule::Prefix).await;
        let reader = log.segment(Lsn::new(SegmentId(1), 0)).expect("in use");
        let releases = [1, 2].map(|id| tokio::spawn(log.release_segment(SegmentId(id))));
        until("both are out of the log", || log.status().segments.first() == Some(&SegmentId(3))).await;
        // The next segment is made after both were tried.
        log.append(vec![record(6, 100)]).await.expect("appended");
        log.rotate().await.expect("rotated");
        until("the segment ahead is ready", || disk.exists(&file(8)).expect("looked for")).await;
        assert_eq!(left(&disk), [1, 2, 3, 4, 5]);
        drop(reader);
        for release in releases {
            release.await.expect("ran").expect("released");
        }
        assert_eq!(left(&disk), [3, 4, 5]);
        log.close().await.expect("closed");
    });
}

#[test]
fn a_segment_of_independent_records_that_cannot_be_retired_holds_up_no_other() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = with_five_segments(&disk, ReplayRule::EveryValid).await;
        disk.pin(&file(1));
        assert!(log.release_segment(SegmentId(1)).await.is_err());
        log.release_segment(SegmentId(2)).await.expect("released");
        assert_eq!((left(&disk), log.retiring()), (vec![1, 3, 4, 5], vec![SegmentId(1)]));
        disk.unpin(&file(1));
        log.release_segment(SegmentId(3)).await.expect("released");
        assert_eq!((left(&disk), log.retiring()), (vec![4, 5], vec![]));
        log.close().await.expect("closed");
    });
}
