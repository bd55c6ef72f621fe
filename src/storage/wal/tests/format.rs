//! The format of segments and records is that of `FORMAT.md` and of the golden segment.

use super::super::format::{
    BLOCK, EntryKind, RECORD_HEADER_BYTES, RecordHeader, decode_segment_header, encode_segment_header, log_tag,
};
use super::super::{BatchPlan, CheckedRecord, Mark, NewRecord, RecordKind, ReplayRule};
use super::{CAPACITY, SEGMENT_HEADER_BYTES, Writer, assert_genuine, blocks, key, numbers, options, path, record};
use crate::limits::RECORD_PACKED_BYTES_MAX;
use crate::storage::buffer::is_block_aligned;
use crate::storage::disk::sim::SimDisk;
use crate::storage::disk::{Caching, Disk, OpenMode, read_file};
use crate::types::{Lsn, SegmentId};
use proptest::prelude::{ProptestConfig, any, proptest};
use std::io::{IoSlice, Write};

const GOLDEN: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wal/version-1.seg"));

/// Writes the golden segment: each kind, packed and block-aligned bodies, a relocation, several batches, a mark, a
/// seal.
fn golden_log(disk: &SimDisk) -> Writer {
    let (mut log, ..) = Writer::open(disk, &options(blocks(16), ReplayRule::EveryValid));
    log.append(&[record(1, 0), record(2, 61), NewRecord { origin: Some(Lsn(0x5_0000_1000)), ..record(3, 200) }]);
    log.append(&[record(4, RECORD_PACKED_BYTES_MAX + 5), NewRecord { kind: RecordKind::Tombstone, ..record(5, 0) }]);
    log.append(&[
        NewRecord { kind: RecordKind::RaftEntry, ..record(6, 9) },
        NewRecord { kind: RecordKind::RaftState, ..record(7, 3) },
    ]);
    log.mark();
    log.rotate(false);
    log
}

#[test]
fn the_golden_segment_is_written_byte_for_byte() {
    let disk = SimDisk::new(CAPACITY);
    golden_log(&disk);
    let encoded = read_file(&disk, &path(1)).expect("read");
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wal/version-1.seg"), &encoded)
            .expect("written");
        return;
    }
    if encoded != GOLDEN {
        let mut kept = tempfile::NamedTempFile::new().expect("a temporary file");
        kept.write_all(&encoded).expect("kept");
        let (_, kept) = kept.keep().expect("kept");
        panic!("the format has changed: what is written now is in {}", kept.display());
    }
}

#[test]
fn the_golden_segment_is_read() {
    let golden = GOLDEN;
    let disk = SimDisk::new(CAPACITY);
    golden_log(&disk);
    let file = disk.open(&path(1), OpenMode::Write, Caching::Cached).expect("open");
    file.write_all_at(&[IoSlice::new(golden)], 0).expect("written");
    let (_, opened, found) = Writer::open(&disk, &options(blocks(16), ReplayRule::EveryValid));
    assert!(opened.rot.is_empty());
    assert_eq!(numbers(&found), [1, 2, 3, 4, 5, 6, 7]);
    assert_genuine(&found);
    assert_eq!(found[2].origin, Lsn(0x5_0000_1000));
    assert_eq!(found[3].origin, found[3].at.lsn);
    let kinds: Vec<RecordKind> = found[3..].iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [RecordKind::Chunk, RecordKind::Tombstone, RecordKind::RaftEntry, RecordKind::RaftState]);
}

/// W8: the header's checksum covers every bit of it.
#[test]
fn a_record_header_round_trips_and_every_flipped_bit_is_noticed() {
    let header = RecordHeader {
        kind: EntryKind::User(RecordKind::Chunk),
        last_in_batch: true,
        key: key(77),
        body_bytes: 1234,
        body_crc: 5678,
        lsn: Lsn::new(SegmentId(9), 4096),
        origin: Lsn(3),
        durable_through: Lsn(4),
    };
    let bytes = header.encode(42);
    assert_eq!(RecordHeader::decode(&bytes, 42, header.lsn), Ok(header));
    assert!(RecordHeader::decode(&bytes, 43, header.lsn).is_err());
    assert!(RecordHeader::decode(&bytes, 42, Lsn::new(SegmentId(9), 4104)).is_err());
    for len in 0..RECORD_HEADER_BYTES {
        assert!(RecordHeader::decode(&bytes[..len], 42, header.lsn).is_err());
    }
    for bit in 0..RECORD_HEADER_BYTES * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(RecordHeader::decode(&flipped, 42, header.lsn).is_err(), "bit {bit}");
    }
}

#[test]
fn a_segment_header_round_trips() {
    let identity = options(blocks(4), ReplayRule::Prefix).identity;
    let mut block = vec![9; SEGMENT_HEADER_BYTES];
    encode_segment_header(&identity, SegmentId(5), &mut block);
    let header = decode_segment_header(&block).expect("whole");
    assert_eq!((header.identity, header.id), (identity, SegmentId(5)));
    assert!(decode_segment_header(&block[..SEGMENT_HEADER_BYTES - 1]).is_err());
}

/// W5: a large body is written directly from the caller's buffer if that is aligned; everything else is copied once.
#[test]
fn a_large_aligned_body_is_written_without_a_copy() {
    let options = options(blocks(1024), ReplayRule::EveryValid);
    let len = 256 << 10;
    let mut aligned = options.pool.take(len);
    aligned.fill(5);
    let body = aligned.freeze();
    let unaligned = bytes::Bytes::from(vec![1; len + 1]).slice(1..);
    assert!(!is_block_aligned(&unaligned) || !is_block_aligned(&unaligned.slice(1..)));
    for (caching, body, direct) in [
        (Caching::Direct, body.clone(), true),
        (Caching::Direct, unaligned.slice(usize::from(is_block_aligned(&unaligned))..), false),
        (Caching::Cached, unaligned, true),
    ] {
        let start = Lsn::new(SegmentId(1), BLOCK);
        let mut plan = BatchPlan::new(start, blocks(1024), caching);
        let place = plan.push(&CheckedRecord::new(NewRecord { body: body.clone(), ..record(1, 0) })).expect("room");
        assert_eq!(place.lsn, start);
        let batch = plan.encode(log_tag(&options.identity), Lsn(0), &options.pool);
        let without_copy = batch.slices().iter().any(|slice| slice.as_ptr() == body.as_ptr());
        assert_eq!(without_copy, direct);
        let total: usize = batch.slices().iter().map(|slice| slice.len()).sum();
        assert_eq!(
            (total as u64, total),
            (batch.bytes(), BLOCK as usize + body.len().next_multiple_of(BLOCK as usize))
        );
        assert!(batch.slices().iter().all(|slice| caching == Caching::Cached || is_block_aligned(slice)));
    }
}

#[test]
fn a_batch_with_only_a_mark_is_one_block() {
    let options = options(blocks(4), ReplayRule::EveryValid);
    let mut plan = BatchPlan::new(Lsn::new(SegmentId(1), BLOCK), blocks(4), Caching::Direct);
    assert!(plan.is_empty());
    plan.push_mark(Mark::Resume { cut: Lsn(1) }).expect("room");
    assert_eq!((plan.records(), plan.encode(1, Lsn(0), &options.pool).bytes()), (1, u64::from(BLOCK)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// W4: records do not overlap, and each reads back as it was appended.
    #[test]
    fn appended_records_read_back(batches in proptest::collection::vec(proptest::collection::vec((0..70_000usize, any::<bool>()), 1..6), 1..8)) {
        let disk = SimDisk::new(CAPACITY);
        let options = options(blocks(600), ReplayRule::EveryValid);
        let (mut log, ..) = Writer::open(&disk, &options);
        let mut expected = Vec::new();
        let mut places = Vec::new();
        for batch in &batches {
            let records: Vec<NewRecord> = batch
                .iter()
                .enumerate()
                .map(|(index, (len, small))| record((expected.len() + index) as u32, if *small { len % 300 } else { *len }))
                .collect();
            places.extend(log.append(&records));
            expected.extend(records);
        }
        let (_, opened, found) = Writer::open(&disk, &options);
        assert_eq!((opened.rot.len(), found.len(), opened.end()), (0, expected.len(), log.written));
        let mut free_from = BLOCK;
        for ((record, place), scanned) in expected.iter().zip(&places).zip(&found) {
            assert_eq!((&scanned.body, scanned.key, scanned.at), (&record.body, record.key, *place));
            assert!(place.lsn.offset() >= free_from, "records do not overlap");
            free_from = place.lsn.offset() + RECORD_HEADER_BYTES as u32 + place.body_bytes;
            assert!(scanned.footprint_bytes as usize >= RECORD_HEADER_BYTES + record.body.len());
        }
    }
}
