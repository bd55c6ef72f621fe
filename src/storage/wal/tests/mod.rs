//! Tests of the log's format and recovery on the simulated disk, with a writer that has no threads.

mod damage;
mod format;
mod progress;
mod recovery;
mod survey;
mod tail;

use super::format::{BLOCK, SEGMENT_HEADER_BYTES};
use super::{
    Batch, BatchPlan, CheckedRecord, Location, LogOptions, Mark, NewRecord, OpenedLog, RecordKey, RecordKind,
    ReplayRule, ScannedRecord, WritableSegment, open_log, prepare_segment,
};
use crate::ambient::Ambient;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::sim::SimDisk;
use crate::types::{ClusterId, Lsn, NodeId, SegmentId};
use bytes::Bytes;
use std::path::{Path, PathBuf};

const DIR: &str = "/drive/shards";
const CAPACITY: u64 = 64 << 20;

fn options(segment_bytes: u32, replay: ReplayRule) -> LogOptions {
    let shards =
        LogOptions::shards(PathBuf::from(DIR), ClusterId(7), NodeId(3), Ambient::system(), BufferPool::new(8 << 20));
    LogOptions { segment_bytes, replay, ..shards }
}

fn key(number: u32) -> RecordKey {
    RecordKey { id: 0xabcd_0000_0000 + u128::from(number), shard: (number % 6) as u8, part: number }
}

/// A record whose body is determined by its number and length.
fn record(number: u32, len: usize) -> NewRecord {
    let body: Vec<u8> =
        (0..len).map(|at| (at as u32).wrapping_mul(31).wrapping_add(number.wrapping_mul(97)) as u8).collect();
    NewRecord { kind: RecordKind::Chunk, key: key(number), origin: None, body: Bytes::from(body) }
}

/// The path of a segment's file.
fn path(id: u32) -> PathBuf {
    Path::new(DIR).join(format!("{id:08}.seg"))
}

/// A log that is written from the test's own thread.
struct Writer {
    disk: SimDisk,
    options: LogOptions,
    tag: u64,
    open: Option<(WritableSegment, u32)>,
    synced: Lsn,
    written: Lsn,
    cut: Option<Lsn>,
    next_id: SegmentId,
}

impl Writer {
    /// Opens the log. Returns a writer, the opened log, and the replayed records.
    fn open(disk: &SimDisk, options: &LogOptions) -> (Self, OpenedLog, Vec<ScannedRecord>) {
        Self::open_from(disk, options, Lsn(0))
    }

    fn open_from(disk: &SimDisk, options: &LogOptions, from: Lsn) -> (Self, OpenedLog, Vec<ScannedRecord>) {
        let mut found = Vec::new();
        let opened = open_log(disk.handle(), options.clone(), from, &mut |record| found.push(record)).expect("opened");
        let resumption = &opened.resumption;
        let writer = Self {
            disk: disk.clone(),
            options: options.clone(),
            tag: opened.tag,
            open: resumption.open.clone(),
            synced: resumption.content_end,
            written: resumption.content_end,
            cut: resumption.cut,
            next_id: resumption.next_id,
        };
        (writer, opened, found)
    }

    /// Writes one batch, without a sync.
    fn write(&mut self, records: &[NewRecord]) -> Vec<Location> {
        let mut plan = self.plan();
        if let Some(cut) = self.cut.take() {
            plan.push_mark(Mark::Resume { cut }).expect("room for a mark");
        }
        let places = records
            .iter()
            .map(|record| plan.push(&CheckedRecord::new(record.clone())).expect("room for the batch"))
            .collect();
        self.perform(plan);
        places
    }

    fn append(&mut self, records: &[NewRecord]) -> Vec<Location> {
        let places = self.write(records);
        self.sync();
        places
    }

    /// Writes and syncs an end mark. Everything before it must be synced.
    fn mark(&mut self) {
        let mut plan = self.plan();
        plan.push_mark(Mark::Synced).expect("room for a mark");
        self.perform(plan);
        self.sync();
    }

    fn sync(&mut self) {
        if let Some((segment, _)) = &self.open {
            segment.file().sync_data().expect("synced");
        }
        self.synced = self.written;
    }

    /// Seals the open segment (unless `unsealed`) and opens the next.
    fn rotate(&mut self, unsealed: bool) {
        if self.open.is_some() && !unsealed {
            let mut plan = self.plan();
            plan.push_mark(Mark::Seal { cut: self.cut.take() }).expect("room for a seal");
            self.perform(plan);
        }
        self.open_next();
    }

    fn open_next(&mut self) {
        let segment = prepare_segment(&self.disk.handle(), &self.options, self.next_id, None).expect("prepared");
        self.next_id = SegmentId(self.next_id.0 + 1);
        self.open = Some((segment, SEGMENT_HEADER_BYTES as u32));
    }

    fn plan(&mut self) -> BatchPlan {
        if self.open.is_none() {
            self.open_next();
        }
        let (segment, position) = self.open.as_ref().expect("an open segment");
        BatchPlan::new(Lsn::new(segment.id(), *position), segment.file_bytes(), segment.file().caching())
    }

    fn perform(&mut self, plan: BatchPlan) {
        let batch: Batch = plan.encode(self.tag, self.synced, &self.options.pool);
        let (segment, position) = self.open.as_mut().expect("an open segment");
        segment.file().write_all_at(&batch.slices(), u64::from(batch.start().offset())).expect("written");
        *position = batch.end().offset();
        self.written = batch.end();
    }
}

fn numbers(found: &[ScannedRecord]) -> Vec<u32> {
    found.iter().map(|record| record.key.part).collect()
}

/// Asserts that every record is exactly the one that `record` makes.
fn assert_genuine(found: &[ScannedRecord]) {
    for scanned in found {
        let genuine = record(scanned.key.part, scanned.body.len());
        assert_eq!((scanned.key, &scanned.body), (genuine.key, &genuine.body));
        assert_eq!(scanned.at.body_bytes as usize, scanned.body.len());
    }
}

const fn blocks(count: u32) -> u32 {
    count * BLOCK
}
