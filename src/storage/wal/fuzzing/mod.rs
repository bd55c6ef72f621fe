//! The fuzz target of log recovery: a log of a few records is written, damaged, and opened again.

use super::format::{BLOCK, RecordHeader, decode_segment_header, log_tag};
use super::{
    BatchPlan, CheckedRecord, LogOptions, NewRecord, RECORD_HEADER_BYTES, RecordKey, RecordKind, ReplayRule,
    SEGMENT_HEADER_BYTES, open_log, prepare_segment,
};
use crate::ambient::Ambient;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::sim::SimDisk;
use crate::storage::disk::{Caching, Disk, OpenMode};
use crate::types::{ClusterId, Lsn, NodeId, SegmentId};
use bytes::Bytes;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

const CAPACITY_BYTES: u64 = 1 << 20;
const SEGMENT_BYTES: u32 = 4 * BLOCK;
const RECORDS_MAX: usize = 8;

/// Builds, damages and opens a log. `data` has the number of records, a length for each, and then the damage: triples
/// of an offset in two bytes and a new value. The first record header gets a valid checksum afterwards, so that the
/// checks of its fields are reached. Recovery must deliver no body that was not written.
pub fn logs(data: &[u8]) {
    let _ = decode_segment_header(data);
    let Some((&count, rest)) = data.split_first() else { return };
    let count = usize::from(count) % (RECORDS_MAX + 1);
    let Some((lengths, damage)) = rest.split_at_checked(count) else { return };
    let bodies: Vec<Vec<u8>> = lengths.iter().map(|length| vec![*length; usize::from(*length) * 4]).collect();
    for replay in [ReplayRule::Prefix, ReplayRule::EveryValid] {
        let disk = SimDisk::new(CAPACITY_BYTES);
        let options = options(replay);
        write(&disk, &options, &bodies);
        spoil(disk.handle().as_ref(), &options, damage);
        let genuine = |body: &[u8]| bodies.iter().any(|written| written == body);
        let mut found = 0;
        let opened = open_log(disk.handle(), options.clone(), Lsn(0), &mut |record| {
            found += 1;
            assert!(damage.len() > 2 || genuine(&record.body));
        });
        assert!(opened.is_err() || !damage.is_empty() || found == bodies.len());
    }
}

fn options(replay: ReplayRule) -> LogOptions {
    let (dir, pool) = (PathBuf::from("/drive/shards"), BufferPool::new(1 << 20));
    let shards = LogOptions::shards(dir, ClusterId(7), NodeId(3), Ambient::system(), pool);
    LogOptions { segment_bytes: SEGMENT_BYTES, replay, ..shards }
}

fn write(disk: &SimDisk, options: &LogOptions, bodies: &[Vec<u8>]) {
    // The log is empty; this creates its directory.
    open_log(disk.handle(), options.clone(), Lsn(0), &mut |_| {}).expect("an empty drive");
    let segment = prepare_segment(&disk.handle(), options, SegmentId(1), None).expect("there is room");
    let file = segment.file();
    let start = Lsn::new(SegmentId(1), SEGMENT_HEADER_BYTES as u32);
    let mut plan = BatchPlan::new(start, segment.file_bytes(), file.caching());
    for (number, body) in bodies.iter().enumerate() {
        let key = RecordKey { id: 7, shard: 1, part: number as u32 };
        let record = NewRecord { kind: RecordKind::Chunk, key, origin: None, body: Bytes::from(body.clone()) };
        plan.push(&CheckedRecord::new(record)).expect("a segment has room for that many");
    }
    if plan.is_empty() {
        return;
    }
    let batch = plan.encode(log_tag(&options.identity), Lsn(0), &options.pool);
    file.write_all_at(&batch.slices(), u64::from(batch.start().offset())).expect("there is room");
    file.sync_data().expect("it was written");
}

fn spoil(disk: &dyn Disk, options: &LogOptions, damage: &[u8]) {
    let path = Path::new(&options.dir).join("00000001.seg");
    let file = disk.open(&path, OpenMode::Write, Caching::Cached).expect("it was made");
    for change in damage.chunks_exact(3) {
        let at = u64::from(u16::from_le_bytes([change[0], change[1]])) % u64::from(SEGMENT_BYTES);
        file.write_all_at(&[IoSlice::new(&change[2..])], at).expect("there is room");
    }
    make_good(file.as_ref(), options);
}

/// Writes a valid checksum into the first record header, whatever its fields are.
fn make_good(file: &dyn crate::storage::disk::DiskFile, options: &LogOptions) {
    let at = SEGMENT_HEADER_BYTES as u64;
    let mut header = [0; RECORD_HEADER_BYTES];
    file.read_exact_at(&mut header, at).expect("within the file");
    header[8..12].fill(0);
    let crc = crc32c::crc32c(&header);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    let start = Lsn::new(SegmentId(1), SEGMENT_HEADER_BYTES as u32);
    let _ = RecordHeader::decode(&header, log_tag(&options.identity), start);
    file.write_all_at(&[IoSlice::new(&header[8..12])], at + 8).expect("within the file");
}
