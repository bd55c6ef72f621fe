//! Surveys of logs, which change nothing.

use super::{CAPACITY, DIR, Writer, assert_genuine, blocks, numbers, options, path, record};
use crate::storage::disk::sim::SimDisk;
use crate::storage::disk::{Caching, Disk, OpenMode};
use crate::storage::wal::{BadSpots, RecordKind, ReplayRule, survey_log};
use std::io::IoSlice;
use std::path::Path;

/// W13: a survey does not create a missing log.
#[test]
fn a_survey_of_a_missing_log_creates_nothing() {
    let disk = SimDisk::new(CAPACITY);
    let rot = survey_log(&disk.handle(), &options(blocks(64), ReplayRule::EveryValid), &mut |_| panic!("a record"));
    assert_eq!(rot, Ok(BadSpots::default()));
    assert!(!disk.exists(Path::new(DIR)).expect("looked for"));
}

#[test]
fn a_survey_finds_the_same_records_as_opening_and_names_lost_ones() {
    let disk = SimDisk::new(CAPACITY);
    let options = options(blocks(64), ReplayRule::EveryValid);
    let (mut writer, ..) = Writer::open(&disk, &options);
    let first = writer.append(&[record(1, 5000), record(2, 100)]);
    writer.rotate(false);
    writer.append(&[record(3, 40_000)]);
    writer.append(&[record(4, 10)]);
    let file = disk.open(&path(1), OpenMode::Write, Caching::Cached).expect("opened");
    file.write_all_at(&[IoSlice::new(b"rot")], u64::from(first[0].lsn.offset()) + 200).expect("written");
    let before = disk.list(Path::new(DIR)).expect("listed");
    let mut found = Vec::new();
    let BadSpots { rot, .. } = survey_log(&disk.handle(), &options, &mut |record| found.push(record)).expect("read");
    assert_eq!(numbers(&found), [2, 3, 4]);
    assert_genuine(&found);
    let lost = rot[0].record.expect("its header is whole");
    assert_eq!((rot.len(), rot[0].at, lost.kind, lost.key.part), (1, first[0].lsn, RecordKind::Chunk, 1));
    assert_eq!(disk.list(Path::new(DIR)).expect("listed"), before);
    let (_, opened, reopened) = Writer::open(&disk, &options);
    assert_eq!((opened.rot, numbers(&reopened)), (rot, numbers(&found)));
}

#[test]
fn a_bad_body_not_known_to_be_synced_is_torn_and_not_rot() {
    let disk = SimDisk::new(CAPACITY);
    let options = options(blocks(64), ReplayRule::EveryValid);
    let (mut writer, ..) = Writer::open(&disk, &options);
    writer.append(&[record(1, 5000)]);
    let last = writer.append(&[record(2, 5000)]);
    let file = disk.open(&path(1), OpenMode::Write, Caching::Cached).expect("opened");
    file.write_all_at(&[IoSlice::new(b"torn")], u64::from(last[0].lsn.offset()) + 200).expect("written");
    let mut found = Vec::new();
    let spots = survey_log(&disk.handle(), &options, &mut |record| found.push(record)).expect("read");
    let lost: Vec<_> = spots.torn.iter().filter_map(|spot| Some((spot.at, spot.record?.key.part))).collect();
    assert_eq!((numbers(&found), spots.rot, lost), (vec![1], Vec::new(), vec![(last[0].lsn, 2)]));
}
