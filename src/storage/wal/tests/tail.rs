//! The end mark of a log: with it, damage to synced bytes is never taken for a torn write.

use super::super::format::RECORD_HEADER_BYTES;
use super::super::{Location, LogOptions, ReplayRule};
use super::{CAPACITY, Writer, blocks, numbers, options, path, record};
use crate::storage::disk::sim::SimDisk;

const SEGMENT: u32 = 12;

/// Writes three batches and an end mark; returns the mark's offset.
fn log_with_end_mark() -> (SimDisk, LogOptions, Vec<Location>, u32) {
    let disk = SimDisk::new(CAPACITY);
    let options = options(blocks(SEGMENT), ReplayRule::Prefix);
    let (mut log, ..) = Writer::open(&disk, &options);
    let mut places = log.append(&[record(1, 0), record(2, 61)]);
    places.extend(log.append(&[record(3, 200)]));
    places.extend(log.append(&[record(4, 33), record(5, 5000)]));
    let mark = log.written.offset();
    log.mark();
    (disk, options, places, mark)
}

#[test]
fn appends_continue_after_an_end_mark() {
    let (disk, options, ..) = log_with_end_mark();
    for number in 6..9 {
        let (mut log, opened, found) = Writer::open(&disk, &options);
        assert_eq!((numbers(&found), opened.rot.len()), ((1..number).collect(), 0));
        assert_eq!((opened.end(), opened.resumption.cut), (log.written, None));
        log.append(&[record(number, 10)]);
        log.mark();
    }
}

#[test]
fn with_an_end_mark_every_flipped_bit_is_rot_except_in_the_mark() {
    let (disk, options, places, mark) = log_with_end_mark();
    let spots = places.iter().flat_map(|place| {
        let start = place.lsn.offset();
        start..start + RECORD_HEADER_BYTES as u32 + place.body_bytes.min(64)
    });
    for offset in spots {
        let flip = || disk.corrupt(&path(1), u64::from(offset), 1 << (offset % 8)).expect("a stored file");
        flip();
        let (_, opened, found) = Writer::open(&disk, &options);
        assert!(found.len() == 5 || opened.rot.len() == 1, "byte {offset}: {:?}", numbers(&found));
        flip();
    }
    for offset in mark..mark + RECORD_HEADER_BYTES as u32 {
        disk.corrupt(&path(1), u64::from(offset), 1).expect("a stored file");
        let (_, opened, found) = Writer::open(&disk, &options);
        assert_eq!((found.len(), opened.rot.len()), (5, 0), "byte {offset} of the mark");
        disk.corrupt(&path(1), u64::from(offset), 1).expect("a stored file");
    }
}

#[test]
fn a_block_that_cannot_be_read_is_never_taken_for_a_torn_write() {
    for marking in [true, false] {
        for block in 1..SEGMENT {
            let (disk, options, _, mark) = log_with_end_mark();
            if !marking {
                // The mark is torn, as if the power was cut while it was written.
                disk.corrupt(&path(1), u64::from(mark), 0xff).expect("a stored file");
            }
            let start = u64::from(blocks(block));
            disk.make_unreadable(&path(1), start..start + 1).expect("a stored file");
            let (_, opened, found) = Writer::open(&disk, &options);
            // The next record would be in the block after the mark.
            let behind = blocks(block) > mark + blocks(1);
            // A later block, after a torn mark, may have held the record that proves the mark synced.
            let doubtful = !behind || !marking;
            assert_eq!(opened.rot.len(), usize::from(doubtful), "block {block}: {:?}", numbers(&found));
            assert!(blocks(block) < mark || found.len() == 5);
        }
    }
}

/// A record that proves the batch synced may be in the unreadable block.
#[test]
fn a_bad_record_before_a_block_that_cannot_be_read_is_rot() {
    let (disk, options, places, mark) = log_with_end_mark();
    disk.corrupt(&path(1), u64::from(places[3].lsn.offset()) + 80, 1).expect("a stored file");
    disk.make_unreadable(&path(1), u64::from(mark)..u64::from(mark) + 1).expect("a stored file");
    let (_, opened, found) = Writer::open(&disk, &options);
    assert_eq!((numbers(&found), opened.rot.is_empty()), (vec![1, 2, 3], false));
}
