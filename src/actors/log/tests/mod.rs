//! Tests of a running log through its handle: with its own threads, on a disk on which the test holds and fails
//! operations.

mod open_files;
mod power_cut;
mod retirement;

use super::{LogHandle, Threads};
use crate::ambient::Ambient;
use crate::limits::RECORD_BODY_BYTES_MAX;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::sim::{Held, SimDisk};
use crate::storage::disk::{Disk, SystemDisk};
use crate::storage::wal::progress::Ack;
use crate::storage::wal::{
    Durability, Location, LogOptions, NewRecord, RecordKey, RecordKind, ScannedRecord, WalError, open_log,
};
use crate::types::{ClusterId, Lsn, NodeId, SegmentId};
use bytes::Bytes;
use futures::future::join_all;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DIR: &str = "/drive/shards";
const CAPACITY: u64 = 256 << 20;
/// The longest wait of a test for a condition.
const PATIENCE: Duration = Duration::from_secs(20);

fn options() -> LogOptions {
    let shards =
        LogOptions::shards(PathBuf::from(DIR), ClusterId(7), NodeId(3), Ambient::system(), BufferPool::new(32 << 20));
    LogOptions { segment_bytes: 1 << 20, ..shards }
}

fn key(number: u32) -> RecordKey {
    RecordKey { id: u128::from(number), shard: 1, part: number }
}

fn record(number: u32, len: usize) -> NewRecord {
    let body: Vec<u8> = (0..len).map(|at| (at as u32).wrapping_mul(13).wrapping_add(number) as u8).collect();
    NewRecord { kind: RecordKind::Chunk, key: key(number), origin: None, body: Bytes::from(body) }
}

fn in_system<T>(test: impl Future<Output = T>) -> T {
    actix::System::new().block_on(test)
}

fn open(disk: Arc<dyn Disk>, options: LogOptions) -> (LogHandle, Vec<ScannedRecord>) {
    let mut found = Vec::new();
    let opened = open_log(disk, options, Lsn(0), &mut |record| found.push(record)).expect("opened");
    assert_eq!(opened.rot, []);
    (opened.start(Threads::Own), found)
}

fn started(disk: &SimDisk) -> LogHandle {
    open(disk.handle(), options()).0
}

/// Waits until a condition holds, with a bound.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "timed out: waited until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the second segment is ready, so that an injected fault hits an append and not the making of a segment.
/// The directory of the log is made with three syncs, and each of the two segments with one.
async fn segment_ahead(disk: &SimDisk) {
    let ready = || disk.list(Path::new(DIR)).expect("listed") == ["00000001.seg", "00000002.seg"];
    until("the segment ahead is ready", || ready() && disk.operations().dir_syncs >= 5).await;
}

/// W1, W2: while one sync is in flight, appends are accepted and written; the next sync answers them all.
#[test]
fn a_sync_in_flight_does_not_hold_up_ten_writers() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        log.append(vec![record(0, 10)]).await.expect("appended");
        let syncs_before = log.status().syncs;

        let hold = disk.hold(Held::Sync);
        let first = tokio::spawn(log.submit(vec![record(1, 100)]));
        let arrival = tokio::task::spawn_blocking(move || {
            hold.wait_for_arrivals(1);
            hold
        });
        let hold = arrival.await.expect("arrived");
        let others: Vec<_> = (2..=10).map(|number| tokio::spawn(log.submit(vec![record(number, 100)]))).collect();
        until("all ten are written", || log.status().appends == 11).await;
        assert!(
            !first.is_finished() && others.iter().all(|other| !other.is_finished()),
            "nobody is answered before the sync"
        );
        assert!(log.status().synced < log.status().written);
        drop(hold);
        first.await.expect("ran").expect("appended");
        for other in others {
            other.await.expect("ran").expect("appended");
        }
        assert_eq!(log.status().syncs - syncs_before, 2, "one sync for the first, one for the other nine");
        log.close().await.expect("closed");
    });
}

#[test]
fn a_record_above_the_size_limit_is_refused_and_the_log_continues() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        let bytes = RECORD_BODY_BYTES_MAX + 1;
        let refused = log.append(vec![record(0, 10), record(1, bytes)]).await;
        assert_eq!(refused.expect_err("it is too large"), WalError::TooLarge { bytes });
        log.append(vec![record(2, 10)]).await.expect("appended");
        log.close().await.expect("closed");
    });
}

/// W3, W4: all appends of up to 64 writers complete, no two records overlap, and each record can be read.
#[test]
fn concurrent_appends_complete_and_do_not_overlap() {
    in_system(async {
        for writers in [1, 2, 4, 8, 64] {
            let disk = SimDisk::new(CAPACITY);
            let log = started(&disk);
            let write = |writer: u32| {
                let log = log.clone();
                async move {
                    let mut places = Vec::new();
                    for round in 0..20 {
                        let number = writer * 1000 + round;
                        let place =
                            log.append(vec![record(number, 50 + number as usize % 900)]).await.expect("appended");
                        places.push((number, place[0]));
                    }
                    places
                }
            };
            let places: Vec<(u32, Location)> = join_all((0..writers).map(|writer| tokio::spawn(write(writer))))
                .await
                .into_iter()
                .flat_map(|places| places.expect("ran"))
                .collect();
            let mut ranges: Vec<(Lsn, u32)> = places.iter().map(|(_, place)| (place.lsn, place.body_bytes)).collect();
            ranges.sort();
            assert!(
                ranges.windows(2).all(|pair| pair[1].0.0 >= pair[0].0.0 + 72 + u64::from(pair[0].1)),
                "records overlap"
            );
            for (number, place) in &places {
                assert_eq!(
                    log.read(key(*number), *place).expect("read"),
                    record(*number, 50 + *number as usize % 900).body
                );
            }
            let wanted: Vec<_> = places.iter().map(|(number, place)| (key(*number), *place)).collect();
            let reads_before = disk.operations().reads;
            assert!(
                log.read_many(&wanted).iter().zip(&places).all(|(body, (number, _))| *body.as_ref().expect("read")
                    == record(*number, 50 + *number as usize % 900).body)
            );
            assert!(
                disk.operations().reads - reads_before < 1 + places.len() as u64 / 4,
                "neighbours are read together"
            );
            let status = log.status();
            assert_eq!(
                (status.appends, status.synced, status.out_of_service),
                (u64::from(writers) * 20, status.written, None)
            );
            assert!(status.syncs <= status.appends, "never more than a sync an append");
            log.close().await.expect("closed");
        }
    });
}

/// W3: an append to a hanging drive ends with an error.
#[test]
fn an_append_to_a_hanging_drive_times_out() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    actix::System::with_tokio_rt(runtime).block_on(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        let hold = disk.hold(Held::Sync);
        assert_eq!(log.append(vec![record(1, 100)]).await, Err(WalError::TimedOut));
        drop(hold);
        log.close().await.ok();
    });
}

/// W5: 4 MiB in chunks of 256 KiB cost at most 8 writes.
#[test]
fn an_append_of_four_mebibytes_takes_at_most_eight_writes() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let (log, _) = open(disk.handle(), LogOptions { segment_bytes: 16 << 20, ..options() });
        log.append(vec![record(0, 1)]).await.expect("appended");
        let before = (disk.operations().writes, log.status().writes);
        let records: Vec<NewRecord> = (1..=16).map(|number| record(number, 256 << 10)).collect();
        let places = log.append(records.clone()).await.expect("appended");
        assert!(disk.operations().writes - before.0 <= 8, "{} writes", disk.operations().writes - before.0);
        assert_eq!(log.status().writes - before.1, 1);
        for (record, place) in records.iter().zip(&places) {
            assert_eq!(log.read(record.key, *place).expect("read"), record.body);
        }
        log.close().await.expect("closed");
    });
}

/// W7: while the next segment is made, appends to the open one continue.
#[test]
fn making_a_segment_does_not_hold_up_appends() {
    in_system(async {
        for operation in [Held::Allocate, Held::SyncDir] {
            let disk = SimDisk::new(CAPACITY);
            let log = started(&disk);
            log.append(vec![record(0, 100)]).await.expect("appended");
            segment_ahead(&disk).await;
            let hold = disk.hold(operation);
            log.rotate().await.expect("rotated into the segment that was ready");
            for number in 1..20 {
                log.append(vec![record(number, 100)]).await.expect("appended while a segment is made");
            }
            // Appends that do not fit in the open segment wait for the next one.
            let waiting: Vec<_> =
                (20..40).map(|number| tokio::spawn(log.submit(vec![record(number, 100_000)]))).collect();
            until("the open segment is full", || log.status().appends > 25).await;
            assert!(!waiting.iter().all(tokio::task::JoinHandle::is_finished));
            drop(hold);
            for append in waiting {
                append.await.expect("ran").expect("appended");
            }
            log.close().await.expect("closed");
        }
    });
}

/// W11: a failed sync takes the log out of service; nothing is acknowledged after it.
#[test]
fn a_failed_sync_poisons_the_log() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        log.append(vec![record(1, 100)]).await.expect("appended");
        segment_ahead(&disk).await;
        disk.fail_next_syncs(1);
        assert!(matches!(log.append(vec![record(2, 100)]).await, Err(WalError::OutOfService { .. })));
        assert!(matches!(log.append(vec![record(3, 100)]).await, Err(WalError::OutOfService { .. })));
        assert!(matches!(log.submit_relaxed(vec![record(4, 100)]).await, Err(WalError::OutOfService { .. })));
        let why = log.status().out_of_service.expect("out of service");
        assert!(why.contains("sync"), "{why}");
        assert!(log.close().await.is_err());
    });
}

#[test]
fn a_failed_write_poisons_the_log() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        log.append(vec![record(1, 100)]).await.expect("appended");
        segment_ahead(&disk).await;
        disk.fail_next_writes(1);
        assert!(matches!(log.append(vec![record(2, 100)]).await, Err(WalError::OutOfService { .. })));
        assert!(matches!(log.append(vec![record(3, 100)]).await, Err(WalError::OutOfService { .. })));
        assert!(log.close().await.is_err());
    });
}

/// W12: a released segment leaves the log and is recycled. Locations in it are refused, and its file stays until no
/// reader holds it.
#[test]
fn a_released_segment_is_recycled_when_nobody_reads_it() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        let place = log.append(vec![record(1, 5000)]).await.expect("appended")[0];
        assert_eq!(log.release_segment(SegmentId(1)).await, Err(WalError::SegmentOpen { segment: SegmentId(1) }));
        log.rotate().await.expect("rotated");
        let sealed: Vec<_> = log.segments().iter().map(|segment| (segment.id, segment.sealed)).collect();
        assert_eq!(sealed, [(SegmentId(1), true), (SegmentId(2), false)]);
        let mut scanned = Vec::new();
        let scan = log.scan_segment(SegmentId(1), &mut |record| scanned.push(record.key)).expect("scanned");
        assert_eq!((scanned, scan.bad_spots), (vec![key(1)], 0));
        assert!(log.scan_segment(SegmentId(2), &mut |_| ()).is_err());

        let reader = log.segment(place.lsn).expect("in use");
        let releasing = tokio::spawn({
            let log = log.clone();
            async move { log.release_segment(SegmentId(1)).await }
        });
        until("it is out of the log", || log.status().segments == [SegmentId(2)]).await;
        assert_eq!(log.read(key(1), place), Err(WalError::NotFound { at: place.lsn }));
        assert!(disk.exists(&Path::new(DIR).join("00000001.seg")).expect("looked for"), "a reader holds it");
        drop(reader);
        releasing.await.expect("ran").expect("released");
        assert!(!disk.exists(&Path::new(DIR).join("00000001.seg")).expect("looked for"));

        // Enough rotations to reuse the retired file.
        for number in 2..6 {
            log.append(vec![record(number, 100)]).await.expect("appended");
            log.rotate().await.expect("rotated");
        }
        assert_eq!(log.read(key(1), place), Err(WalError::NotFound { at: place.lsn }));
        assert_eq!(log.release_segment(SegmentId(1)).await, Err(WalError::NotFound { at: Lsn::new(SegmentId(1), 0) }));
        log.close().await.expect("closed");
        let (log, found) = open(disk.handle(), options());
        assert_eq!(found.iter().map(|record| record.key).collect::<Vec<_>>(), [key(2), key(3), key(4), key(5)]);
        log.close().await.expect("closed");
    });
}

/// W13: reads create nothing.
#[test]
fn a_read_of_an_absent_record_creates_no_file() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        let place = log.append(vec![record(1, 10)]).await.expect("appended")[0];
        until("the segment ahead is ready", || disk.list(Path::new(DIR)).expect("listed").len() == 2).await;
        let absent = Location { lsn: Lsn::new(SegmentId(77), 4096), body_bytes: 10 };
        assert_eq!(log.read(key(1), absent), Err(WalError::NotFound { at: absent.lsn }));
        assert!(log.read(key(2), place).is_err());
        let beyond = Location { lsn: Lsn::new(SegmentId(1), u32::MAX - 7), body_bytes: 8 << 20 };
        assert!(matches!(log.read(key(1), beyond), Err(WalError::Corrupt { .. })));
        assert_eq!(disk.list(Path::new(DIR)).expect("listed").len(), 2);
        log.close().await.expect("closed");
    });
}

/// W14: a closed log can be opened again at once, also on a real disk, and has all records.
#[test]
fn a_closed_log_is_opened_again_at_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    in_system(async {
        let pool = BufferPool::new(8 << 20);
        let disk: Arc<dyn Disk> = Arc::new(SystemDisk::new(pool.clone()));
        let shards = LogOptions { dir: dir.path().join("a/b/shards"), pool, ..options() };
        let mut appended = Vec::new();
        for round in 0..4u32 {
            let (log, found) = open(Arc::clone(&disk), shards.clone());
            assert_eq!(found.iter().map(|record| record.key.part).collect::<Vec<_>>(), appended);
            let records: Vec<NewRecord> =
                (0..4).map(|index| record(round * 10 + index, 1 + 40_000 * index as usize)).collect();
            appended.extend(records.iter().map(|record| record.key.part));
            let places = log.append(records.clone()).await.expect("appended");
            let mut batch: Vec<_> = records.iter().zip(&places).map(|(record, place)| (record.key, *place)).collect();
            batch.reverse();
            let bodies: Vec<Bytes> = log.read_many(&batch).into_iter().map(|body| body.expect("read")).collect();
            assert!(bodies.iter().rev().eq(records.iter().map(|record| &record.body)));
            // An append that was accepted before the log is closed is written and synced.
            let unanswered = log.submit(vec![record(round * 10 + 9, 77)]);
            appended.push(round * 10 + 9);
            log.close().await.expect("closed");
            unanswered.await.expect("answered");
            assert!(matches!(log.append(vec![record(99, 1)]).await, Err(WalError::OutOfService { .. })));
            log.close().await.expect("closed twice");
        }
    });
}

/// W16: a relaxed log answers after the write and syncs within its delay, and on close.
#[test]
fn a_relaxed_log_answers_before_the_sync_and_syncs_soon() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let relaxed = |flush_delay_max| LogOptions { durability: Durability::Relaxed { flush_delay_max }, ..options() };
        let (log, _) = open(disk.handle(), relaxed(Duration::from_millis(5)));
        log.append(vec![record(1, 10)]).await.expect("appended");
        let hold = disk.hold(Held::Sync);
        log.append(vec![record(2, 10)]).await.expect("answered although no sync can end");
        drop(hold);
        until("all is synced", || log.status().synced == log.status().written).await;
        log.close().await.expect("closed");

        let (log, _) = open(disk.handle(), relaxed(Duration::from_secs(3600)));
        log.append(vec![record(3, 10)]).await.expect("appended");
        assert_ne!(log.status().synced, log.status().written);
        log.close().await.expect("closed");
        let (log, found) = open(disk.power_cut(1).handle(), relaxed(Duration::ZERO));
        assert_eq!(found.len(), 3, "closing syncs");
        log.close().await.expect("closed");
    });
}

#[test]
fn a_wanted_sync_makes_all_that_a_relaxed_log_has_answered_survive_a_power_cut() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let durability = Durability::Relaxed { flush_delay_max: Duration::from_secs(3600) };
        let (log, _) = open(disk.handle(), LogOptions { durability, ..options() });
        for number in 0..3 {
            log.append(vec![record(number, 100)]).await.expect("appended");
        }
        assert_ne!(log.status().synced, log.status().written);
        log.sync().await.expect("synced");
        let syncs = log.status().syncs;
        log.sync().await.expect("synced already");
        assert_eq!(log.status().syncs, syncs);
        let cut = disk.power_cut_to_what_was_synced(1);
        drop(log.close().await);
        assert!(matches!(log.sync().await, Err(WalError::OutOfService { .. })));
        let (log, found) = open(cut.handle(), options());
        assert_eq!(found.len(), 3);
        log.close().await.expect("closed");
    });
}

#[test]
fn a_relaxed_append_to_a_strict_log_is_synced_without_a_further_append() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        let place = log.submit_relaxed(vec![record(1, 10)]).await.expect("appended")[0];
        until("it is synced", || log.status().synced > place.lsn).await;
        log.close().await.expect("closed");
    });
}

/// F3, W12: the last segment that a drive has space for is kept for deletes and compaction, so that a full drive can be
/// emptied again.
#[test]
fn a_full_drive_accepts_deletes_and_then_chunks_again() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        log.append(vec![record(0, 100_000)]).await.expect("appended");
        until("the segment ahead is ready", || disk.list(Path::new(DIR)).expect("listed").len() == 2).await;
        // More than the watermark, and less than another segment.
        disk.set_capacity((2 << 20) + (300 << 10));
        let mut stored = 1;
        let refused = loop {
            match log.append(vec![record(stored, 100_000)]).await {
                Ok(_) => stored += 1,
                Err(error) => break error,
            }
            assert!(stored < 100, "more was stored than there is room for");
        };
        assert_eq!(refused, WalError::OutOfSpace);
        let first = log.segments()[0].id;
        until("the first segment is sealed", || log.segments()[0].sealed).await;
        let tombstone = |number| NewRecord { kind: RecordKind::Tombstone, ..record(number, 0) };
        for number in 0..stored {
            log.append(vec![tombstone(number)]).await.expect("a delete finds room");
        }
        log.release_segment(first).await.expect("released");
        until("there is room again", || !log.state.refuses_for_space(&record(0, 1))).await;
        log.append(vec![record(1, 100_000)]).await.expect("a chunk finds room");
        log.close().await.expect("closed");
    });
}

/// A nearly full drive refuses new chunks; it accepts tombstones, metadata and relocated chunks.
#[test]
fn a_nearly_full_drive_refuses_new_chunks_only() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        log.append(vec![record(1, 10)]).await.expect("appended");
        until("the segment ahead is ready", || disk.list(Path::new(DIR)).expect("listed").len() == 2).await;
        disk.set_capacity((2 << 20) + 1000);
        log.rotate().await.expect("rotated into the segment that was ready");
        until("the log has noticed", || log.state.refuses_for_space(&record(1, 1))).await;
        assert_eq!(log.append(vec![record(2, 10)]).await, Err(WalError::OutOfSpace));
        for kind in [RecordKind::Tombstone, RecordKind::RaftEntry, RecordKind::RaftState] {
            log.append(vec![NewRecord { kind, ..record(3, 10) }]).await.expect("goes on");
        }
        log.append(vec![NewRecord { origin: Some(Lsn(1)), ..record(4, 10) }]).await.expect("a relocation goes on");
        // Once no segment can be made at all, every append is refused with an error.
        let mut refused = None;
        for number in 5..100 {
            let tombstone = NewRecord { kind: RecordKind::Tombstone, ..record(number, 100_000) };
            if let Err(error) = log.append(vec![tombstone]).await {
                refused = Some(error);
                break;
            }
        }
        assert_eq!(refused, Some(WalError::OutOfSpace));
        disk.set_capacity(CAPACITY);
        log.append(vec![NewRecord { kind: RecordKind::Tombstone, ..record(200, 100_000) }])
            .await
            .expect("there is room again");
        assert_eq!(log.status().out_of_service, None);
        log.close().await.expect("closed");
    });
}

/// A patient append waits for space, and later ones keep their order. Closing the log does not wait for it.
#[test]
fn patient_appends_wait_for_space_and_keep_their_order() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        log.append(vec![record(0, 10)]).await.expect("appended");
        segment_ahead(&disk).await;
        disk.set_capacity(2 << 20);
        let tombstone = |number| NewRecord { kind: RecordKind::Tombstone, ..record(number, 100_000) };
        let patient: Vec<_> =
            (1..40).map(|number| tokio::spawn(log.submit_unbounded(vec![tombstone(number)], Ack::Synced))).collect();
        until("an impatient one is refused", || log.state.lacks_reserve()).await;
        assert_eq!(log.append(vec![tombstone(90)]).await, Err(WalError::OutOfSpace));
        assert!(!patient.iter().all(tokio::task::JoinHandle::is_finished), "there is no room for all of them");
        disk.set_capacity(CAPACITY);
        let mut last = Lsn(0);
        for append in patient {
            let place = append.await.expect("ran").expect("appended")[0];
            assert!(place.lsn > last, "in the order of the calls");
            last = place.lsn;
        }
        disk.set_capacity(0);
        let unanswered: Vec<_> =
            (40..80).map(|number| log.submit_unbounded(vec![tombstone(number)], Ack::Synced)).collect();
        log.close().await.expect("closed");
        assert!(join_all(unanswered).await.iter().any(Result::is_err), "there was no room for all of them");
    });
}

/// The time limit of appends does not apply to a patient append, nor to `close_unbounded`.
#[test]
fn a_patient_append_outlasts_a_hanging_drive() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        log.append(vec![record(0, 10)]).await.expect("appended");
        let hold = disk.hold(Held::Sync);
        let append = tokio::spawn(log.submit_unbounded(vec![record(1, 100)], Ack::Synced));
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(100)).await;
        tokio::task::yield_now().await;
        tokio::time::resume();
        assert!(!append.is_finished());
        drop(hold);
        append.await.expect("ran").expect("appended");
        log.close_unbounded().await.expect("closed");
    });
}

/// The log looks for space by itself, because callers that were refused write to other drives and do not ask again.
#[test]
fn a_full_log_accepts_chunks_again_once_there_is_space() {
    in_system(async {
        let disk = SimDisk::new(CAPACITY);
        let log = started(&disk);
        log.append(vec![record(0, 10)]).await.expect("appended");
        segment_ahead(&disk).await;
        disk.set_capacity(2 << 20);
        log.rotate().await.expect("rotated into the segment that was ready");
        until("no further segment can be made", || log.state.lacks_reserve()).await;
        disk.set_capacity(CAPACITY);
        until("there is one", || !log.state.lacks_reserve()).await;
        log.append(vec![record(1, 10)]).await.expect("appended");
        log.close().await.expect("closed");
    });
}
