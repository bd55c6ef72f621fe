//! Replays of logs after torn writes, rot, power cuts and restarts.

use super::super::{LogIdentity, LogKind, ReplayRule, WalError, open_log, read_record, retire_segment, scan_segment};
use super::{BLOCK, CAPACITY, Writer, assert_genuine, blocks, key, numbers, options, path, record};
use crate::storage::disk::Disk;
use crate::storage::disk::sim::SimDisk;
use crate::types::{Lsn, NodeId, SegmentId};
use std::path::Path;

const RULES: [ReplayRule; 2] = [ReplayRule::Prefix, ReplayRule::EveryValid];

/// W9: a torn tail is cut at the last whole record, and recovering twice gives the same state.
#[test]
fn a_torn_tail_is_cut_at_the_last_whole_record_and_stays_cut() {
    for rule in RULES {
        let disk = SimDisk::new(CAPACITY);
        let options = options(blocks(32), rule);
        let (mut log, ..) = Writer::open(&disk, &options);
        log.append(&[record(1, 100), record(2, 200)]);
        let torn = log.write(&[record(3, 100), record(4, 100), record(5, 100)]);
        // The second record of the batch is damaged, the third survives.
        disk.corrupt(&path(1), u64::from(torn[1].lsn.offset()) + 3, 0xff).expect("a stored file");

        let expected = match rule {
            ReplayRule::Prefix | ReplayRule::Salvage | ReplayRule::PastRot => vec![1, 2, 3],
            ReplayRule::EveryValid => vec![1, 2, 3, 5],
        };
        for _ in 0..2 {
            let (_, opened, found) = Writer::open(&disk, &options);
            assert_eq!((numbers(&found), &opened.rot), (expected.clone(), &Vec::new()));
            assert_eq!(opened.end(), torn[1].lsn);
            assert_eq!(opened.resumption.cut, Some(torn[1].lsn));
            assert_genuine(&found);
        }
        // Later appends neither turn the torn spot into rot nor bring back records that were cut.
        let (mut log, ..) = Writer::open(&disk, &options);
        log.append(&[record(6, 10)]);
        log.append(&[record(7, 10)]);
        let (_, opened, found) = Writer::open(&disk, &options);
        assert_eq!((numbers(&found), &opened.rot), ([expected, vec![6, 7]].concat(), &Vec::new()));
        assert_eq!(opened.resumption.cut, None);
    }
}

/// W9: the log ends within a block. The next append is in the following block, and a replay must find it there.
#[test]
fn later_appends_are_found_after_a_batch_torn_between_two_records() {
    for rule in RULES {
        let disk = SimDisk::new(CAPACITY);
        let options = options(blocks(32), rule);
        let (mut log, ..) = Writer::open(&disk, &options);
        log.append(&[record(1, 100)]);
        let torn = log.write(&[record(2, 33), record(3, 8)]);
        disk.corrupt(&path(1), u64::from(torn[1].lsn.offset()), 0xff).expect("a stored file");
        let (mut log, opened, _) = Writer::open(&disk, &options);
        assert_eq!(opened.resumption.cut, Some(torn[1].lsn));
        log.append(&[record(4, 10)]);
        for appended in [5, 6] {
            let (mut log, opened, found) = Writer::open(&disk, &options);
            let expected: Vec<u32> = [1, 2].into_iter().chain(4..appended).collect();
            assert_eq!((numbers(&found), &opened.rot), (expected, &Vec::new()));
            log.append(&[record(appended, 10)]);
        }
    }
}

#[test]
fn a_second_crash_before_the_cut_is_recorded_changes_nothing() {
    for rule in RULES {
        let disk = SimDisk::new(CAPACITY);
        let options = options(blocks(32), rule);
        let (mut log, ..) = Writer::open(&disk, &options);
        log.append(&[record(1, 100)]);
        let torn = log.write(&[record(2, 100)]);
        disk.corrupt(&path(1), u64::from(torn[0].lsn.offset()), 0xff).expect("a stored file");
        log.write(&[record(3, 100)]);

        let (mut log, opened, _) = Writer::open(&disk, &options);
        assert_eq!(opened.resumption.cut, Some(torn[0].lsn));
        let again = log.write(&[record(4, 100), record(5, 100)]);
        // The mark at the beginning of the batch is lost; the records after it survive.
        disk.corrupt(&path(1), u64::from(again[0].lsn.offset() - 72), 0xff).expect("a stored file");
        let (mut log, opened, found) = Writer::open(&disk, &options);
        assert_eq!((opened.rot.len(), opened.resumption.cut), (0, Some(torn[0].lsn)));
        let survivors = if rule == ReplayRule::Prefix { vec![1] } else { vec![1, 3, 4, 5] };
        assert_eq!(numbers(&found), survivors);
        log.append(&[record(6, 100)]);
        log.append(&[record(7, 100)]);
        let (_, opened, found) = Writer::open(&disk, &options);
        assert_eq!((numbers(&found), opened.rot.len()), ([survivors, vec![6, 7]].concat(), 0));
    }
}

/// W9: the cut spans two segments.
#[test]
fn a_torn_segment_before_a_used_one_is_cut_and_stays_cut() {
    for rule in RULES {
        let disk = SimDisk::new(CAPACITY);
        let options = options(blocks(8), rule);
        let (mut log, ..) = Writer::open(&disk, &options);
        log.append(&[record(1, 100)]);
        log.rotate(true);
        log.write(&[record(2, 100)]);
        let survivors = if rule == ReplayRule::Prefix { vec![1] } else { vec![1, 2] };
        let (mut log, opened, found) = Writer::open(&disk, &options);
        assert_eq!((numbers(&found), opened.rot.len()), (survivors.clone(), 0));
        assert_eq!(opened.end(), Lsn::new(SegmentId(1), blocks(2)));
        log.append(&[record(3, 100)]);
        log.append(&[record(4, 100)]);
        log.rotate(false);
        log.append(&[record(5, 100)]);
        let (_, opened, found) = Writer::open(&disk, &options);
        assert_eq!((numbers(&found), opened.rot.len()), ([survivors, vec![3, 4, 5]].concat(), 0));
    }
}

/// The segments after a cut are removed, as nothing would show the cut once the segment with its mark is released.
#[test]
fn records_after_a_cut_stay_lost_when_earlier_segments_are_released() {
    let disk = SimDisk::new(CAPACITY);
    let options = options(blocks(8), ReplayRule::Prefix);
    let (mut log, ..) = Writer::open(&disk, &options);
    log.append(&[record(1, 100)]);
    let lost = log.write(&[record(2, 100)]);
    log.rotate(true);
    log.write(&[record(3, 100)]);
    log.write(&[record(4, 100)]);
    disk.corrupt(&path(1), u64::from(lost[0].lsn.offset()), 0xff).expect("a stored file");
    let (mut log, _, found) = Writer::open(&disk, &options);
    assert_eq!(numbers(&found), [1]);
    log.append(&[record(5, 100)]);
    log.rotate(false);
    log.append(&[record(6, 100)]);
    let (_, opened, found) = Writer::open(&disk, &options);
    assert_eq!((numbers(&found), opened.rot.len()), (vec![1, 5, 6], 0));
    let disk_of = disk.handle();
    for first in opened.segments.iter().map(|segment| segment.id()).take(opened.segments.len() - 1) {
        disk_of.remove(&path(first.0)).expect("the file is there");
        let (_, opened, found) = Writer::open(&disk, &options);
        let found = numbers(&found);
        assert!([1, 5, 6].ends_with(&found) && opened.rot.is_empty(), "{found:?} once segment {first:?} is released");
    }
}

#[test]
fn rot_is_reported_and_ends_a_prefix_replay_but_not_an_every_valid_one() {
    for rule in RULES {
        let disk = SimDisk::new(CAPACITY);
        let options = options(blocks(64), rule);
        let (mut log, ..) = Writer::open(&disk, &options);
        log.append(&[record(1, 100)]);
        let places = log.append(&[record(2, 40_000), record(3, 100)]);
        log.append(&[record(4, 100)]);
        disk.corrupt(&path(1), u64::from(places[0].lsn.offset() + 2 * BLOCK + 77), 1).expect("a stored file");
        let (_, opened, found) = Writer::open(&disk, &options);
        let spots: Vec<Lsn> = opened.rot.iter().map(|spot| spot.at).collect();
        assert_eq!(spots, [places[0].lsn]);
        let expected = if rule == ReplayRule::Prefix { vec![1] } else { vec![1, 3, 4] };
        assert_eq!(numbers(&found), expected);
        assert_eq!(opened.end(), Lsn::new(SegmentId(1), log.written.offset()));
    }
}

/// W8, W12: a bad spot costs only its own record; a scan continues after it.
#[test]
fn a_read_of_a_rotten_record_is_an_error_and_its_neighbours_are_read() {
    let disk = SimDisk::new(CAPACITY);
    let options = options(blocks(64), ReplayRule::EveryValid);
    let (mut log, ..) = Writer::open(&disk, &options);
    let places = log.append(&[record(1, 100), record(2, 50_000), record(3, 100)]);
    disk.corrupt(&path(1), u64::from(places[1].lsn.offset() + 2 * BLOCK), 4).expect("a stored file");
    let (segment, _) = log.open.clone().expect("open");
    assert_eq!(read_record(&segment, &options, key(1), places[0]).expect("whole"), record(1, 100).body);
    assert!(matches!(read_record(&segment, &options, key(2), places[1]), Err(WalError::Corrupt { .. })));
    assert!(matches!(read_record(&segment, &options, key(9), places[2]), Err(WalError::Corrupt { .. })));
    let mut found = Vec::new();
    let scan = scan_segment(&segment, &options, &mut |record| found.push(record)).expect("scanned");
    assert_eq!((numbers(&found), scan.records, scan.bad_spots), (vec![1, 3], 2, 2));

    disk.make_unreadable(&path(1), u64::from(blocks(1))..u64::from(blocks(1)) + 1).expect("a stored file");
    let mut found = Vec::new();
    scan_segment(&segment, &options, &mut |record| found.push(record)).expect("scanned past what cannot be read");
    assert_eq!(numbers(&found), [3]);
}

#[test]
fn a_replay_begins_at_the_requested_position() {
    let disk = SimDisk::new(CAPACITY);
    let options = options(blocks(8), ReplayRule::EveryValid);
    let (mut log, ..) = Writer::open(&disk, &options);
    let mut places = Vec::new();
    for number in 0..6 {
        places.extend(log.append(&[record(number, 100), record(number + 100, 100)]));
        if number == 2 {
            log.rotate(false);
        }
    }
    for from in [Lsn(0), places[2].lsn, places[3].lsn, places[5].lsn, places[6].lsn, places[9].lsn, log.written] {
        let expected: Vec<Lsn> = places.iter().map(|place| place.lsn).filter(|lsn| *lsn >= from).collect();
        let (_, opened, found) = Writer::open_from(&disk, &options, from);
        let found: Vec<Lsn> = found.iter().map(|record| record.at.lsn).collect();
        assert_eq!((found, opened.rot.len(), opened.end()), (expected, 0, log.written), "from {from}");
        assert_eq!(opened.segments.len(), 2);
    }
}

/// W15: the directory is created on demand, and its entry in the parent is durable with it.
#[test]
fn a_log_directory_is_created_on_demand_and_survives_a_power_cut() {
    for seed in 0..30 {
        let disk = SimDisk::new(CAPACITY);
        let options = options(blocks(8), ReplayRule::EveryValid);
        let (mut log, ..) = Writer::open(&disk, &options);
        log.append(&[record(1, 100)]);
        let (_, _, found) = Writer::open(&disk.power_cut(seed), &options);
        assert_eq!(numbers(&found), [1]);
    }
}

/// W9: records that were written but not synced when the process was killed are made durable by the replay.
#[test]
fn records_that_a_restart_found_unsynced_survive_the_next_power_cut() {
    for seed in 0..50 {
        let disk = SimDisk::new(CAPACITY);
        let options = options(blocks(8), ReplayRule::Prefix);
        let (mut log, ..) = Writer::open(&disk, &options);
        log.append(&[record(1, 100)]);
        log.write(&[record(2, 3000)]);
        log.rotate(false);
        log.write(&[record(3, 100)]);
        let (_, opened, found) = Writer::open(&disk, &options);
        assert_eq!(numbers(&found), [1, 2, 3]);
        let (_, again, found) = Writer::open(&disk.power_cut(seed), &options);
        assert_eq!((numbers(&found), again.end()), (vec![1, 2, 3], opened.end()));
    }
}

#[test]
fn a_log_of_another_drive_is_refused() {
    let disk = SimDisk::new(CAPACITY);
    let ours = options(blocks(8), ReplayRule::EveryValid);
    let (mut log, ..) = Writer::open(&disk, &ours);
    log.append(&[record(1, 100)]);
    for identity in [
        LogIdentity { node: NodeId(4), ..ours.identity },
        LogIdentity { kind: LogKind::Meta, ..ours.identity },
        LogIdentity { cluster: crate::types::ClusterId(8), ..ours.identity },
    ] {
        let theirs = super::LogOptions { identity, ..ours.clone() };
        let refused = open_log(disk.handle(), theirs, Lsn(0), &mut |_| ()).expect_err("another log");
        assert!(matches!(refused, WalError::Corrupt { .. }), "{refused}");
    }
}

#[test]
fn records_after_a_damaged_segment_header_are_found_and_the_damage_is_reported() {
    let disk = SimDisk::new(CAPACITY);
    let options = options(blocks(8), ReplayRule::EveryValid);
    let (mut log, ..) = Writer::open(&disk, &options);
    log.append(&[record(1, 100)]);
    disk.corrupt(&path(1), 20, 1).expect("a stored file");
    let (_, opened, found) = Writer::open(&disk, &options);
    assert_eq!((numbers(&found), opened.rot.len(), opened.rot[0].at), (vec![1], 1, Lsn::new(SegmentId(1), 0)));
}

/// W12, W13: a recycled file reveals no record of the segment that it was before.
#[test]
fn records_of_a_recycled_file_are_not_found_again() {
    let disk = SimDisk::new(CAPACITY);
    let options = options(blocks(8), ReplayRule::EveryValid);
    let (mut log, ..) = Writer::open(&disk, &options);
    log.append(&[record(1, 100)]);
    log.append(&[record(2, 100)]);
    let old = log.open.take().expect("open").0;
    let place = super::Location { lsn: Lsn::new(SegmentId(1), blocks(1)), body_bytes: 100 };
    assert!(read_record(&old, &options, key(1), place).is_ok());
    let kept = retire_segment(&disk, &options, &old, true).expect("retired").expect("kept");
    let again = retire_segment(&disk, &options, &old, true).expect("retired, as if the directory had not been synced");
    assert_eq!(again.as_ref(), Some(&kept));
    drop(old);
    let recycled = super::prepare_segment(&disk.handle(), &options, SegmentId(2), Some(&kept)).expect("recycled");
    assert!(read_record(&recycled, &options, key(1), place).is_err());
    let (mut log, opened, found) = Writer::open(&disk, &options);
    assert_eq!((found.len(), opened.rot.len()), (0, 0));
    log.append(&[record(3, 100)]);
    let (_, opened, found) = Writer::open(&disk, &options);
    assert_eq!((numbers(&found), opened.rot.len()), (vec![3], 0));
    assert_eq!(disk.list(Path::new(super::DIR)).expect("listed"), ["00000002.seg"]);
}

/// W6: a segment takes exactly as many bytes as it has room for, including headers.
#[test]
fn a_segment_is_filled_to_its_last_block_and_not_beyond() {
    let disk = SimDisk::new(CAPACITY);
    let options = options(blocks(12), ReplayRule::EveryValid);
    let (mut log, ..) = Writer::open(&disk, &options);
    // Segment header, record header and body: exactly the whole file.
    let exact = record(1, blocks(10) as usize);
    assert!(log.plan().push(&super::CheckedRecord::new(record(2, blocks(10) as usize + 1))).is_none());
    log.append(std::slice::from_ref(&exact));
    assert_eq!(log.written.offset(), blocks(12));
    assert!(log.plan().push_mark(super::Mark::Seal { cut: None }).is_none());
    let (_, opened, found) = Writer::open(&disk, &options);
    assert_eq!((numbers(&found), opened.resumption.open.is_none()), (vec![1], true));
    assert_eq!(found[0].body, exact.body);
}

/// A sync fails and the process ends. The next start reads the records from the page cache and makes them durable.
#[test]
fn records_replayed_after_a_failed_sync_survive_the_next_power_cut() {
    for rule in RULES {
        for seed in 0..40 {
            let disk = SimDisk::new(CAPACITY);
            let options = options(blocks(32), rule);
            let (mut log, ..) = Writer::open(&disk, &options);
            log.append(&[record(1, 100)]);
            log.write(&[record(2, 9000), record(3, 40)]);
            disk.fail_next_syncs(1);
            let (segment, _) = log.open.as_ref().expect("an open segment");
            assert!(segment.file().sync_data().is_err());

            let (mut log, _, found) = Writer::open(&disk, &options);
            assert_eq!(numbers(&found), [1, 2, 3]);
            log.append(&[record(4, 10)]);
            let (_, opened, found) = Writer::open(&disk.power_cut(seed), &options);
            assert_eq!((numbers(&found), &opened.rot), (vec![1, 2, 3, 4], &Vec::new()), "{rule:?}, seed {seed}");
        }
    }
}

#[test]
fn a_segment_whose_name_was_not_synced_keeps_later_appends() {
    for seed in 0..40 {
        let disk = SimDisk::new(CAPACITY);
        let options = options(blocks(32), ReplayRule::Prefix);
        let (mut log, ..) = Writer::open(&disk, &options);
        log.open_next();
        disk.rename(&path(1), Path::new("/drive/shards/other")).expect("renamed");
        disk.sync_dir(Path::new("/drive/shards")).expect("synced");
        disk.rename(Path::new("/drive/shards/other"), &path(1)).expect("renamed");

        let (mut log, opened, _) = Writer::open(&disk, &options);
        assert!(log.open.is_some() || !opened.resumption.ready.is_empty());
        log.open = log.open.or_else(|| Some((opened.resumption.ready[0].clone(), BLOCK)));
        log.append(&[record(1, 100)]);
        let (_, _, found) = Writer::open(&disk.power_cut(seed), &options);
        assert_eq!(numbers(&found), [1], "seed {seed}");
    }
}

/// A repair of the file system may leave the empty segments of a log shorter than they were made.
#[test]
fn empty_segments_that_were_cut_short_are_not_used() {
    for (bytes, usable) in [(blocks(32), 1), (blocks(2), 0)] {
        let disk = SimDisk::new(CAPACITY);
        let whole = options(blocks(32), ReplayRule::Prefix);
        let (mut log, ..) = Writer::open(&disk, &whole);
        log.append(&[record(1, 100)]);
        let short = options(bytes, ReplayRule::Prefix);
        drop(super::prepare_segment(&disk.handle(), &short, SegmentId(2), None).expect("an empty segment"));
        let (_, opened, found) = Writer::open(&disk, &whole);
        assert_eq!((numbers(&found), opened.resumption.ready.len()), (vec![1], usable));
        assert_eq!(disk.exists(&path(2)).expect("asked"), usable == 1);
    }
}
