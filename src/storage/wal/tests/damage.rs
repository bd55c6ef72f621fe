//! Damage to segment files: no bytes on the drive make recovery panic or deliver wrong data.

use super::super::format::RECORD_HEADER_BYTES;
use super::super::{Location, ReplayRule};
use super::{CAPACITY, SEGMENT_HEADER_BYTES, Writer, assert_genuine, blocks, numbers, options, path, record};
use crate::storage::disk::sim::SimDisk;
use crate::storage::disk::{Caching, Disk, OpenMode, read_file};
use crate::types::Lsn;
use proptest::prelude::{ProptestConfig, any, proptest};
use std::io::IoSlice;

const SEGMENT: u32 = 4;

/// Writes a log of one segment with two batches of small records.
fn small_log(rule: ReplayRule) -> (SimDisk, super::LogOptions, Vec<Location>) {
    let disk = SimDisk::new(CAPACITY);
    let options = options(blocks(SEGMENT), rule);
    let (mut log, ..) = Writer::open(&disk, &options);
    let mut places = log.append(&[record(1, 0), record(2, 61), record(3, 200)]);
    places.extend(log.append(&[record(4, 33), record(5, 8)]));
    (disk, options, places)
}

fn overwrite(disk: &SimDisk, content: &[u8]) {
    let file = disk.open(&path(1), OpenMode::Write, Caching::Direct).expect("open");
    file.write_all_at(&[IoSlice::new(content)], 0).expect("written");
    file.sync_data().expect("synced");
}

/// W9: of any prefix of a segment that reached the drive, a replay delivers the records that are whole in it.
#[test]
fn every_prefix_of_a_segment_gives_the_records_that_are_whole_in_it() {
    let (disk, options, places) = small_log(ReplayRule::Prefix);
    let whole = read_file(&disk, &path(1)).expect("read");
    for len in SEGMENT_HEADER_BYTES..whole.len() {
        let mut prefix = whole[..len].to_vec();
        prefix.resize(whole.len(), 0);
        overwrite(&disk, &prefix);
        let (_, opened, found) = Writer::open(&disk, &options);
        let end = |place: &Location| place.lsn.offset() as usize + RECORD_HEADER_BYTES + place.body_bytes as usize;
        // The bytes cut off may be zeros anyway; then nothing is missing.
        let expected = places.iter().take_while(|place| whole[..end(place)] == prefix[..end(place)]).count();
        assert_eq!(found.len(), expected, "prefix of {len}");
        assert!(opened.rot.is_empty(), "prefix of {len}: {:?}", opened.rot);
        assert_genuine(&found);
    }
}

#[test]
fn a_file_that_was_cut_short_gives_the_records_that_are_whole_in_it() {
    for len in (0..=blocks(SEGMENT)).step_by(512) {
        let (disk, options, places) = small_log(ReplayRule::EveryValid);
        disk.truncate(&path(1), u64::from(len)).expect("a stored file");
        let (mut log, _, found) = Writer::open(&disk, &options);
        let whole_blocks = len - len % blocks(1);
        assert_eq!(found.len(), places.iter().filter(|place| place.lsn.offset() < whole_blocks).count());
        if whole_blocks < blocks(3) {
            log.rotate(true);
        }
        log.append(&[record(9, 10)]);
        let (_, _, again) = Writer::open(&disk, &options);
        assert_eq!(numbers(&again), [numbers(&found), vec![9]].concat());
    }
}

/// W8: after any flipped bit, every delivered record has the bytes that were appended, and at most one is missing.
#[test]
fn every_flipped_bit_is_noticed_and_costs_one_record_at_most() {
    let (disk, options, places) = small_log(ReplayRule::EveryValid);
    let last = places[4].lsn.offset() + RECORD_HEADER_BYTES as u32 + places[4].body_bytes;
    let record_at = |offset: u32| {
        places.iter().position(|place| {
            (place.lsn.offset()..place.lsn.offset() + RECORD_HEADER_BYTES as u32 + place.body_bytes).contains(&offset)
        })
    };
    for offset in blocks(1)..last + 64 {
        let hit = record_at(offset);
        let padding = hit.is_none();
        for bit in 0..8 {
            if padding && bit != offset % 8 {
                continue;
            }
            disk.corrupt(&path(1), u64::from(offset), 1 << bit).expect("a stored file");
            let (_, opened, found) = Writer::open(&disk, &options);
            assert_genuine(&found);
            let missing = if padding { 0 } else { 1 };
            assert!(found.len() >= 5 - missing, "bit {bit} of byte {offset}: {:?}", numbers(&found));
            if hit.is_some_and(|record| record < 3) {
                assert_eq!(
                    (found.len(), opened.rot.len()),
                    (4, 1),
                    "bit {bit} of byte {offset} of a synced record is reported"
                );
            }
            disk.corrupt(&path(1), u64::from(offset), 1 << bit).expect("a stored file");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_segment_header_is_noticed_and_loses_no_record() {
    let (disk, options, _) = small_log(ReplayRule::EveryValid);
    for offset in 0..48 {
        for bit in 0..8 {
            disk.corrupt(&path(1), offset, 1 << bit).expect("a stored file");
            let (_, opened, found) = Writer::open(&disk, &options);
            assert_eq!((found.len(), opened.rot.len(), opened.rot[0].at.offset()), (5, 1, 0));
            disk.corrupt(&path(1), offset, 1 << bit).expect("a stored file");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// W9: no damage of a segment makes recovery panic, and the recovered log takes appends.
    #[test]
    fn random_damage_never_gives_wrong_data(damage in proptest::collection::vec((0..blocks(SEGMENT), any::<u8>()), 1..40), strict in any::<bool>()) {
        let rule = if strict { ReplayRule::Prefix } else { ReplayRule::EveryValid };
        let (disk, options, _) = small_log(rule);
        for (offset, mask) in damage {
            disk.corrupt(&path(1), u64::from(offset), mask).expect("a stored file");
        }
        let (mut log, opened, found) = Writer::open(&disk, &options);
        assert_genuine(&found);
        let rotten = !opened.rot.is_empty();
        let (_, again, found_again) = Writer::open(&disk, &options);
        assert_eq!((opened.end(), &opened.rot, numbers(&found)), (again.end(), &again.rot, numbers(&found_again)));
        log.append(&[record(9, 10)]);
        let (_, _, found) = Writer::open(&disk, &options);
        assert_genuine(&found);
        assert!((rotten && strict) || numbers(&found).last() == Some(&9));
        assert!(log.written > Lsn(0));
    }
}
