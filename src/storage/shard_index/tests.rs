//! The shard index against a model log: the index must agree with the log after power cuts, after the loss of the
//! index, and after compaction.

use super::rows::{CHUNKS, SCRUB, STATE, WATERMARK, get_watermark};
use super::{ChunkId, Entry, IndexError, LogExtent, Placed, ScrubRow, SegmentUse, ShardIndex, TABLES, recover};
use crate::ambient::Entropy;
use crate::storage::kv::memory::{MemoryKv, Writes};
use crate::storage::kv::reviving::OwnedRanges;
use crate::storage::kv::{Batch, Kv, KvRead, KvResult, PairIter, Table};
use crate::storage::wal::{Location, RecordKey, RecordKind, ScannedRecord, WalError};
use crate::types::{BlobId, ChunkIndex, Lsn, SegmentId, ShardId, ShardNumber, UnixMs};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Deterministic random numbers for tests (SplitMix64).
#[derive(Debug)]
struct Seeded(AtomicU64);

impl Seeded {
    fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.next().to_be_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

const SEGMENT_RECORDS: u32 = 6;
const RECORD_BYTES: u32 = 4096;

/// A log in which everything appended is durable at once.
#[derive(Debug)]
struct ModelLog {
    records: BTreeMap<Lsn, ScannedRecord>,
    segments: BTreeSet<SegmentId>,
    next: Lsn,
}

impl ModelLog {
    fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            segments: BTreeSet::from([SegmentId(1)]),
            next: Lsn::new(SegmentId(1), RECORD_BYTES),
        }
    }

    fn append(&mut self, kind: RecordKind, key: RecordKey, origin: Option<Lsn>) -> Location {
        if self.next.offset() > SEGMENT_RECORDS * RECORD_BYTES {
            self.next = Lsn::new(SegmentId(self.next.segment().0 + 1), RECORD_BYTES);
            self.segments.insert(self.next.segment());
        }
        let at = Location { lsn: self.next, body_bytes: if kind == RecordKind::Chunk { 100 } else { 0 } };
        let origin = origin.unwrap_or(at.lsn);
        let durable_through = Lsn::default();
        let footprint_bytes = RECORD_BYTES;
        let record = ScannedRecord { kind, key, origin, at, footprint_bytes, durable_through, body: Bytes::new() };
        self.records.insert(at.lsn, record);
        self.next = Lsn::new(at.lsn.segment(), at.lsn.offset() + RECORD_BYTES);
        at
    }

    fn rotate(&mut self) {
        self.next = Lsn::new(SegmentId(self.next.segment().0 + 1), RECORD_BYTES);
        self.segments.insert(self.next.segment());
    }

    fn release(&mut self, segment: SegmentId) {
        self.records.retain(|lsn, _| lsn.segment() != segment);
        self.segments.remove(&segment);
    }

    fn others(&self, segment: SegmentId) -> Vec<SegmentId> {
        self.segments.iter().copied().filter(|&id| id != segment).collect()
    }

    fn open(&self, kv: Arc<dyn Kv>) -> ShardIndex {
        let scan = |from: Lsn, visit: &mut dyn FnMut(ScannedRecord)| -> Result<((), LogExtent), WalError> {
            self.records.range(from..).for_each(|(_, record)| visit(record.clone()));
            Ok(((), LogExtent { segments: self.segments.iter().copied().collect(), end: self.next }))
        };
        recover(kv, scan).expect("the index opens").0
    }
}

fn key(id: ChunkId) -> RecordKey {
    RecordKey { id: id.shard.blob.0, shard: id.shard.shard.0, part: id.chunk.0 }
}

fn shard(blob: u128, number: u8) -> ShardId {
    ShardId { blob: BlobId(blob), shard: ShardNumber(number) }
}

fn chunk(of: ShardId, number: u32) -> ChunkId {
    ChunkId { shard: of, chunk: ChunkIndex(number) }
}

/// A table store of which a test can stall one commit, or one read of a range at its end.
#[derive(Debug)]
struct Stalling {
    inner: MemoryKv,
    /// Set by the test, taken by the next commit: that commit sends a message when it begins, and then waits for one.
    stall: Stall,
    /// The same for the next range, of the tables or of a snapshot, which sends when it was read.
    stall_range: Arc<Stall>,
}

type Stall = Mutex<Option<(Sender<()>, Receiver<()>)>>;

#[derive(Debug)]
struct StallingSnapshot {
    inner: Arc<dyn KvRead>,
    stall_range: Arc<Stall>,
}

impl KvRead for StallingSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.inner.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        let pairs: Vec<_> = self.inner.range(table, from, to).collect();
        stall_at(&self.stall_range);
        Box::new(pairs.into_iter())
    }
}

impl Stalling {
    fn empty() -> Arc<Self> {
        Arc::new(Self { inner: MemoryKv::new(TABLES), stall: Mutex::default(), stall_range: Arc::default() })
    }
}

fn stall_at(stall: &Stall) {
    let stall = stall.lock().expect("held by no one").take();
    if let Some((begun, release)) = stall {
        begun.send(()).expect("waited for");
        release.recv().expect("released");
    }
}

impl KvRead for Stalling {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.inner.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        let pairs: Vec<_> = self.inner.range(table, from, to).collect();
        stall_at(&self.stall_range);
        Box::new(pairs.into_iter())
    }
}

impl Kv for Stalling {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        Arc::new(StallingSnapshot { inner: self.inner.snapshot(), stall_range: Arc::clone(&self.stall_range) })
    }

    fn commit(&self, batch: Batch) -> KvResult<()> {
        stall_at(&self.stall);
        self.inner.commit(batch)
    }

    fn persist(&self) -> KvResult<()> {
        self.inner.persist()
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }
}

fn empty_kv() -> Arc<MemoryKv> {
    Arc::new(MemoryKv::new(TABLES))
}

/// A log, its index, and the expected content of the index: each live chunk with the position of its last write.
struct World {
    log: ModelLog,
    kv: Arc<MemoryKv>,
    index: ShardIndex,
    truth: BTreeMap<ChunkId, Lsn>,
}

impl World {
    fn new() -> Self {
        let (log, kv) = (ModelLog::new(), empty_kv());
        let index = log.open(kv.clone());
        Self { log, kv, index, truth: BTreeMap::new() }
    }

    fn write(&mut self, ids: &[ChunkId]) {
        let ticket = self.index.begin();
        let places = self.append_chunks(ids);
        self.index.publish_chunks(&ticket, &places).expect("published");
    }

    fn append_chunks(&mut self, ids: &[ChunkId]) -> Vec<(ChunkId, Location)> {
        let place = |&id: &ChunkId| {
            let at = self.log.append(RecordKind::Chunk, key(id), None);
            self.truth.insert(id, at.lsn);
            (id, at)
        };
        ids.iter().map(place).collect()
    }

    fn append_drop(&mut self, of: ShardId) -> Location {
        let key = RecordKey { id: of.blob.0, shard: of.shard.0, part: 0 };
        self.truth.retain(|id, _| id.shard != of);
        self.log.append(RecordKind::Tombstone, key, None)
    }

    fn drop_shard(&mut self, of: ShardId) {
        let ticket = self.index.begin();
        let at = self.append_drop(of);
        self.index.publish_drops(&ticket, &[(of, at)]).expect("published");
    }

    /// Copies the live records of a segment, except tombstones that are no longer needed. `race` runs after the copies
    /// were appended and before they are published.
    fn copy_segment(&mut self, segment: SegmentId, race: impl FnOnce(&mut Self)) {
        let others = self.log.others(segment);
        let mut placed = self.index.placed_in(segment, None, usize::MAX).expect("placed");
        placed.retain(|place| match place {
            Placed::Chunk { .. } => true,
            Placed::Tombstone { tombstone, .. } => tombstone.is_needed_beside(&others),
        });
        let ticket = self.index.begin();
        let copy = |place: Placed| {
            let at = match place {
                Placed::Chunk { id, entry } => self.log.append(RecordKind::Chunk, key(id), Some(entry.origin)),
                Placed::Tombstone { shard, tombstone } => {
                    let key = RecordKey { id: shard.blob.0, shard: shard.shard.0, part: 0 };
                    self.log.append(RecordKind::Tombstone, key, Some(tombstone.origin))
                }
            };
            (place, at)
        };
        let moves: Vec<_> = placed.into_iter().map(copy).collect();
        race(self);
        self.index.publish_moves(&ticket, &moves).expect("published");
    }

    /// Releases a segment if it has no live record that is still needed. Returns whether it did.
    fn release_if_empty(&mut self, segment: SegmentId) -> bool {
        let others = self.log.others(segment);
        let left = self.index.placed_in(segment, None, usize::MAX).expect("placed");
        let counts = |place: &Placed| match place {
            Placed::Chunk { .. } => true,
            Placed::Tombstone { tombstone, .. } => tombstone.is_needed_beside(&others),
        };
        if left.iter().any(counts) {
            return false;
        }
        self.index.persist().expect("persisted");
        self.log.release(segment);
        self.index.forget_segment(segment).expect("forgotten");
        true
    }

    fn power_cut(&mut self, entropy: &Seeded) {
        self.kv = Arc::new(self.kv.power_cut(entropy));
        self.index = self.log.open(self.kv.clone());
    }

    fn check(&self, context: &str) {
        self.index.check_invariants();
        assert_eq!(found(&self.index), self.truth, "{context}: the index says what was written last");
        let rebuilt = self.log.open(empty_kv());
        rebuilt.check_invariants();
        assert_eq!(found(&rebuilt), self.truth, "{context}: a rebuilt index says the same");
    }
}

/// Returns every chunk of the index with its origin, by inventory and lookup.
fn found(index: &ShardIndex) -> BTreeMap<ChunkId, Lsn> {
    let (shards, more) = index.inventory(None, u32::MAX).expect("inventory");
    assert!(!more);
    let mut all = BTreeMap::new();
    for (of, count) in shards {
        assert_eq!(index.count(of).expect("count"), count);
        let entries = index.lookup(of, ChunkIndex(0), 16).expect("lookup");
        let here = (0..).zip(entries).filter_map(|(at, entry)| Some((chunk(of, at), entry?.origin)));
        all.extend(here);
    }
    all
}

fn random_chunk(entropy: &Seeded) -> ChunkId {
    chunk(shard(1 + u128::from(entropy.below(4)), entropy.below(2) as u8), entropy.below(3) as u32)
}

fn random_step(world: &mut World, entropy: &Seeded) {
    match entropy.below(11) {
        0..4 => {
            let ids: BTreeSet<ChunkId> = (0..=entropy.below(2)).map(|_| random_chunk(entropy)).collect();
            world.write(&ids.into_iter().collect::<Vec<_>>());
        }
        4 | 5 => world.drop_shard(random_chunk(entropy).shard),
        6 => publish_out_of_order(world, entropy),
        7 | 8 => {
            let sealed: Vec<_> =
                world.log.segments.iter().copied().filter(|&id| id < world.log.next.segment()).collect();
            if let Some(&segment) = sealed.get(entropy.below(sealed.len().max(1) as u64) as usize) {
                world.copy_segment(segment, |world| {
                    for _ in 0..entropy.below(3) {
                        match entropy.below(2) {
                            0 => world.drop_shard(random_chunk(entropy).shard),
                            _ => world.write(&[random_chunk(entropy)]),
                        }
                    }
                });
                world.release_if_empty(segment);
            }
        }
        9 => publish_late(world, entropy),
        _ => {
            // The power is cut, sometimes after appends that were synced but not published.
            if entropy.below(2) == 0 {
                drop(world.index.begin());
                world.append_chunks(&[random_chunk(entropy)]);
                world.append_drop(random_chunk(entropy).shard);
            }
            world.power_cut(entropy);
        }
    }
}

fn publish_out_of_order(world: &mut World, entropy: &Seeded) {
    let (early, late) = (world.index.begin(), world.index.begin());
    let first = world.append_chunks(&[random_chunk(entropy)]);
    let of = random_chunk(entropy).shard;
    let second = world.append_drop(of);
    world.index.publish_drops(&late, &[(of, second)]).expect("published");
    if entropy.below(4) == 0 {
        world.power_cut(entropy);
    } else {
        world.index.publish_chunks(&early, &first).expect("published");
    }
}

/// Publishes two appends while the tables fail, with or without the commit, and again later.
fn publish_late(world: &mut World, entropy: &Seeded) {
    let (early, late) = (world.index.begin(), world.index.begin());
    let first = world.append_chunks(&[random_chunk(entropy)]);
    let of = random_chunk(entropy).shard;
    let second = [(of, world.append_drop(of))];
    world.kv.set_writes([Writes::Refused, Writes::KeptAndFailed][entropy.below(2) as usize]);
    world.index.publish_drops(&late, &second).expect_err("the tables fail");
    world.index.publish_chunks(&early, &first).expect_err("the tables fail");
    world.kv.set_writes(Writes::Kept);
    if entropy.below(4) == 0 {
        return world.power_cut(entropy);
    }
    world.write(&[random_chunk(entropy)]);
    world.index.publish_chunks(&early, &first).expect("published");
    world.index.publish_drops(&late, &second).expect("published");
}

#[test]
fn w10_w12_the_index_equals_the_log_after_power_cuts_and_compaction_in_400_seeds() {
    for seed in 0..400 {
        let entropy = Seeded(AtomicU64::new(seed));
        let mut world = World::new();
        for step in 0..60 {
            random_step(&mut world, &entropy);
            if step % 6 == 5 {
                world.check(&format!("seed {seed}, step {step}"));
            }
        }
        world.power_cut(&entropy);
        world.check(&format!("seed {seed}, end"));
    }
}

#[test]
fn w10_a_deleted_or_garbled_index_is_rebuilt_with_the_same_answers() {
    let mut world = World::new();
    world.write(&[chunk(shard(1, 0), 0), chunk(shard(1, 0), 1), chunk(shard(2, 3), 0)]);
    world.drop_shard(shard(2, 3));
    world.write(&[chunk(shard(2, 3), 0)]);
    let expected = found(&world.index);
    let garbled = world.kv.clone();
    let mut batch = Batch::default();
    batch.put(CHUNKS, chunk(shard(9, 9), 9).key().to_vec(), b"not a row".to_vec());
    batch.put(STATE, WATERMARK.to_vec(), b"nor this".to_vec());
    garbled.commit(batch).expect("committed");
    let index = world.log.open(garbled);
    index.check_invariants();
    assert_eq!(found(&index), expected);
    assert_eq!(index.uses(), world.log.open(empty_kv()).uses());
}

#[test]
fn w10_a_start_replays_only_from_the_watermark() {
    let mut world = World::new();
    world.write(&[chunk(shard(1, 0), 0)]);
    world.write(&[chunk(shard(1, 0), 1)]);
    let mut visited = Vec::new();
    let scan = |from: Lsn, visit: &mut dyn FnMut(ScannedRecord)| -> Result<((), LogExtent), WalError> {
        world.log.records.range(from..).for_each(|(lsn, record)| {
            visited.push(*lsn);
            visit(record.clone());
        });
        Ok(((), LogExtent { segments: world.log.segments.iter().copied().collect(), end: world.log.next }))
    };
    let (index, ()) = recover(world.kv.clone(), scan).expect("opens");
    assert_eq!(visited, [world.truth[&chunk(shard(1, 0), 1)]], "the last published record, and nothing before it");
    assert_eq!(found(&index), world.truth);
}

#[test]
fn an_index_ahead_of_its_log_is_rebuilt() {
    let mut world = World::new();
    world.write(&[chunk(shard(1, 0), 0)]);
    world.write(&[chunk(shard(1, 0), 1)]);
    // With relaxed durability, a record may be acknowledged and published, and then lost in a power cut.
    let lost = world.truth.remove(&chunk(shard(1, 0), 1)).expect("written");
    world.log.records.remove(&lost);
    world.log.next = lost;
    world.index = world.log.open(world.kv.clone());
    world.check("after the loss");
}

#[test]
fn a_failed_publication_can_be_repeated_whether_or_not_it_was_committed() {
    for writes in [Writes::Refused, Writes::KeptAndFailed] {
        let mut world = World::new();
        let rewritten = chunk(shard(1, 0), 0);
        world.write(&[rewritten]);
        let before = world.index.head();
        let ticket = world.index.begin();
        let places = world.append_chunks(&[chunk(shard(2, 0), 0), rewritten]);
        world.kv.set_writes(writes);
        world.index.publish_chunks(&ticket, &places).expect_err("the tables fail");
        world.kv.set_writes(Writes::Kept);
        world.write(&[chunk(shard(3, 0), 0)]);
        assert_eq!(world.index.watermark().expect("read"), before, "a start publishes what is not published yet");
        assert!(world.index.awaits(SegmentId(1)));
        world.index.publish_chunks(&ticket, &places).expect("published");
        assert!(!world.index.awaits(SegmentId(1)));
        assert_eq!(world.index.watermark().expect("read"), world.index.head());
        world.check("published late");
    }
}

#[test]
fn w12_a_lost_relocation_race_leaves_the_copy_dead() {
    let mut world = World::new();
    let (kept, dropped, rewritten) = (chunk(shard(1, 0), 0), chunk(shard(2, 0), 0), chunk(shard(3, 0), 0));
    world.write(&[kept, dropped, rewritten]);
    let segment = SegmentId(1);
    while world.log.next.segment() == segment {
        world.write(&[chunk(shard(7, 0), 0)]);
    }
    world.copy_segment(segment, |world| {
        world.drop_shard(dropped.shard);
        world.write(&[rewritten]);
    });
    world.check("after the race");
    assert!(world.release_if_empty(segment));
    world.check("after the release");
}

#[test]
fn a_tombstone_is_kept_until_no_record_it_kills_can_come_back() {
    let mut world = World::new();
    let dropped = chunk(shard(2, 0), 0);
    world.write(&[dropped]);
    let filler = chunk(shard(7, 0), 0);
    while world.log.next.segment() == SegmentId(1) {
        world.write(&[filler]);
    }
    // The tombstone is published while its victim is being copied, so the dead copy lies in a later segment.
    world.copy_segment(SegmentId(1), |world| world.drop_shard(dropped.shard));
    assert!(world.release_if_empty(SegmentId(1)));
    while world.log.next.segment() == SegmentId(2) {
        world.write(&[filler]);
    }
    world.copy_segment(SegmentId(2), |_| {});
    world.release_if_empty(SegmentId(2));
    world.check("the dead copy does not come back");
    for _ in 0..40 {
        world.write(&[filler]);
        let oldest = *world.log.segments.first().expect("one is open");
        if oldest < world.log.next.segment() {
            world.copy_segment(oldest, |_| {});
            world.release_if_empty(oldest);
        }
    }
    assert_eq!(world.index.total().tombstones, 0, "in the end it goes");
    world.check("in the end");
}

#[test]
fn lookup_finds_consecutive_chunks_and_the_gaps_between() {
    let mut world = World::new();
    let of = shard(5, 1);
    world.write(&[chunk(of, 0), chunk(of, 2), chunk(of, u32::MAX - 1)]);
    world.write(&[chunk(shard(5, 2), 1), chunk(shard(6, 0), 0)]);
    let here = |entries: Vec<Option<Entry>>| entries.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(here(world.index.lookup(of, ChunkIndex(0), 4).expect("lookup")), [true, false, true, false]);
    assert_eq!(here(world.index.lookup(of, ChunkIndex(u32::MAX - 2), 2).expect("lookup")), [false, true]);
    assert!(world.index.lookup(of, ChunkIndex(0), 0).expect("lookup").is_empty());
}

#[test]
fn the_inventory_is_paged_in_order() {
    let mut world = World::new();
    for blob in 1..=5 {
        world.write(&[chunk(shard(blob, 0), 0), chunk(shard(blob, 0), 1), chunk(shard(blob, 4), 0)]);
    }
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (page, more) = world.index.inventory(after, 3).expect("inventory");
        after = page.last().map(|(of, _)| *of);
        all.extend(page);
        if !more {
            break;
        }
    }
    let expected: Vec<_> = (1..=5).flat_map(|blob| [(shard(blob, 0), 2), (shard(blob, 4), 1)]).collect();
    assert_eq!(all, expected);
}

#[test]
fn dropping_an_absent_shard_needs_no_tombstone() {
    let mut world = World::new();
    world.write(&[chunk(shard(1, 0), 0)]);
    assert!(world.index.drop_matters(shard(1, 0)).expect("asked"));
    assert!(!world.index.drop_matters(shard(1, 1)).expect("asked"));
    let ticket = world.index.begin();
    assert!(world.index.drop_matters(shard(1, 1)).expect("asked"), "an append under way may be of this shard");
    world.index.end(ticket);
}

#[test]
fn the_index_forgets_released_segments_at_the_next_start() {
    let mut world = World::new();
    world.write(&[chunk(shard(1, 0), 0)]);
    world.drop_shard(shard(1, 0));
    while world.log.next.segment() == SegmentId(1) {
        world.write(&[chunk(shard(7, 0), 0)]);
    }
    world.write(&[chunk(shard(7, 0), 0)]);
    world.index.persist().expect("persisted");
    // The segment was released, but the power was cut before the index removed its rows.
    world.log.release(SegmentId(1));
    world.index = world.log.open(world.kv.clone());
    assert!(!world.index.uses().contains_key(&SegmentId(1)));
    world.check("after the start");
    assert!(world.kv.get(STATE, WATERMARK).expect("read").is_some());
}

/// Checks the row of version 1 byte by byte.
#[test]
fn the_scrub_row_has_the_format_of_version_1_and_any_other_is_ignored() {
    let [began, finished, due] = [1, 5, 6].map(UnixMs);
    let row = ScrubRow { began, position: Lsn(2), until: Lsn(3), corrupt: 4, finished, due };
    let field = |value: u8| [0, 0, 0, 0, 0, 0, 0, value];
    let mut bytes: Vec<u8> = vec![1];
    (1..=6).for_each(|value| bytes.extend_from_slice(&field(value)));
    let World { kv, index, .. } = World::new();
    assert_eq!(index.scrub().expect("looked up"), None);
    index.keep_scrub(row).expect("kept");
    assert_eq!(kv.get(STATE, SCRUB).expect("read").as_deref(), Some(&bytes[..]));
    assert_eq!(index.scrub().expect("looked up"), Some(row));
    let put = |value: Vec<u8>| {
        let mut batch = Batch::default();
        batch.put(STATE, SCRUB, value);
        kv.commit(batch).expect("in memory");
        index.scrub().expect("looked up")
    };
    for length in 0..bytes.len() {
        assert_eq!(put(bytes[..length].to_vec()), None);
    }
    assert_eq!(put([&bytes[..], &[0]].concat()), None);
    bytes[0] = 2;
    assert_eq!(put(bytes), None);
}

/// The records that a failed opening replayed may be lost, so the next opening must replay them again.
#[test]
fn a_failed_opening_leaves_the_watermark_where_the_log_is_durable() {
    let mut log = ModelLog::new();
    let ids: Vec<ChunkId> = (0..3000).map(|number| chunk(shard(1, 0), number)).collect();
    let places: Vec<Location> = ids.iter().map(|id| log.append(RecordKind::Chunk, key(*id), None)).collect();
    let durable_through = places[1000].lsn;
    log.records.values_mut().last().expect("a record").durable_through = durable_through;
    let kv = empty_kv();
    let failing = |from: Lsn, visit: &mut dyn FnMut(ScannedRecord)| -> Result<((), LogExtent), WalError> {
        log.records.range(from..).for_each(|(_, record)| visit(record.clone()));
        Err(WalError::TimedOut)
    };
    assert!(recover(kv.clone() as Arc<dyn Kv>, failing).is_err());
    assert!(get_watermark(&*kv).expect("read").is_some_and(|watermark| watermark <= durable_through));
    let index = log.open(kv.clone());
    assert_eq!(index.count(shard(1, 0)).expect("read"), 3000);
    assert_eq!(index.watermark().expect("read"), places[2999].lsn);
    index.check_invariants();
}

/// A compaction that took the new position for one of the segment would count the rest of the segment as copied.
#[test]
fn a_page_of_a_segments_records_has_none_that_are_written_again_meanwhile() {
    let kv = Stalling::empty();
    let mut log = ModelLog::new();
    let index = log.open(Arc::<Stalling>::clone(&kv) as _);
    let ids: Vec<ChunkId> = (0..SEGMENT_RECORDS).map(|number| chunk(shard(1, 0), number)).collect();
    let mut write = |id: ChunkId| (id, log.append(RecordKind::Chunk, key(id), None));
    let ticket = index.begin();
    index.publish_chunks(&ticket, &ids.iter().map(|id| write(*id)).collect::<Vec<_>>()).expect("published");
    let ((begun, reads), (go_on, released)) = (channel(), channel());
    *kv.stall_range.lock().expect("held by no one") = Some((begun, released));
    let page = std::thread::spawn({
        let index = index.clone();
        move || index.placed_in(SegmentId(1), None, 3).expect("read")
    });
    reads.recv().expect("the places are read");
    let ticket = index.begin();
    index.publish_chunks(&ticket, &[write(ids[2])]).expect("published");
    go_on.send(()).expect("it waits");
    let page = page.join().expect("a page");
    assert_eq!(page.len(), 3);
    assert!(page.iter().all(|placed| placed.at().lsn.segment() == SegmentId(1)), "{page:?}");
}

#[test]
fn a_slow_commit_of_the_index_blocks_neither_appends_nor_queries() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let kv = Stalling::empty();
    let mut log = ModelLog::new();
    let index = log.open(Arc::<Stalling>::clone(&kv) as _);
    let id = chunk(shard(1, 0), 0);
    let ticket = index.begin();
    let at = log.append(RecordKind::Chunk, key(id), None);
    let ((begun, has_begun), (release, released)) = (channel(), channel());
    *kv.stall.lock().expect("held by no one") = Some((begun, released));
    let publishing = {
        let index = index.clone();
        std::thread::spawn(move || index.publish_chunks(&ticket, &[(id, at)]))
    };
    has_begun.recv_timeout(PATIENCE).expect("the commit begins");
    let (looked, has_looked) = channel();
    let looking = {
        let index = index.clone();
        std::thread::spawn(move || {
            let meanwhile = index.begin();
            let seen = (index.awaits(at.lsn.segment()), index.head(), index.total().chunks);
            index.end(meanwhile);
            looked.send(seen).expect("waited for");
        })
    };
    let seen = has_looked.recv_timeout(PATIENCE);
    release.send(()).expect("the commit waits");
    publishing.join().expect("no panic").expect("published");
    looking.join().expect("no panic");
    assert_eq!(seen, Ok((true, Lsn::default(), 0)), "as before the commit");
    assert_eq!((index.head(), index.total().chunks), (at.lsn, 1));
    assert_eq!(index.watermark().expect("reads"), at.lsn);
    index.check_invariants();
}

/// Tables in memory that can be replaced.
#[derive(Debug)]
struct Replaceable {
    tables: Mutex<Arc<MemoryKv>>,
    successor: Mutex<Option<Arc<MemoryKv>>>,
}

impl Replaceable {
    fn tables(&self) -> Arc<MemoryKv> {
        Arc::clone(&self.tables.lock().expect("held by no one"))
    }
}

impl KvRead for Replaceable {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.tables().get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        self.tables().owned_range(table, from, to)
    }
}

impl Kv for Replaceable {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        self.tables().snapshot()
    }

    fn commit(&self, batch: Batch) -> KvResult<()> {
        self.tables().commit(batch)
    }

    fn persist(&self) -> KvResult<()> {
        self.tables().persist()
    }

    fn disk_bytes(&self) -> u64 {
        self.tables().disk_bytes()
    }

    fn successor(&self) -> KvResult<Arc<dyn Kv>> {
        let successor = empty_kv();
        *self.successor.lock().expect("held by no one") = Some(successor.clone());
        Ok(successor)
    }

    fn discard_successor(&self) -> KvResult<()> {
        *self.successor.lock().expect("held by no one") = None;
        Ok(())
    }

    fn replace_by(&self, successor: Arc<dyn Kv>) -> KvResult<()> {
        successor.persist()?;
        let successor = self.successor.lock().expect("held by no one").take().expect("it was made");
        *self.tables.lock().expect("held by no one") = successor;
        Ok(())
    }
}

/// Returns a world whose index can be made anew, and the tables of that index.
fn replaceable_world() -> (World, Arc<Replaceable>) {
    let (log, kv) = (ModelLog::new(), empty_kv());
    let tables = Arc::new(Replaceable { tables: Mutex::new(kv.clone()), successor: Mutex::default() });
    let index = log.open(tables.clone());
    (World { log, kv, index, truth: BTreeMap::new() }, tables)
}

/// Writes, drops, or empties the oldest segment.
fn calm_step(world: &mut World, entropy: &Seeded) {
    match entropy.below(6) {
        0..3 => world.write(&[random_chunk(entropy)]),
        3 | 4 => world.drop_shard(random_chunk(entropy).shard),
        _ => {
            let oldest = *world.log.segments.first().expect("one is open");
            if oldest < world.log.next.segment() {
                world.copy_segment(oldest, |_| {});
                world.release_if_empty(oldest);
            }
        }
    }
}

/// Writes or drops, and publishes in order, out of order, or only after the tables in use have failed.
fn live_step(world: &mut World, entropy: &Seeded) {
    match entropy.below(4) {
        0 => world.write(&[random_chunk(entropy)]),
        1 => world.drop_shard(random_chunk(entropy).shard),
        2 => {
            let (early, late) = (world.index.begin(), world.index.begin());
            let first = world.append_chunks(&[random_chunk(entropy)]);
            let of = random_chunk(entropy).shard;
            let second = world.append_drop(of);
            world.index.publish_drops(&late, &[(of, second)]).expect("published");
            world.index.publish_chunks(&early, &first).expect("published");
        }
        _ => {
            let ticket = world.index.begin();
            let of = random_chunk(entropy).shard;
            let at = world.append_drop(of);
            world.kv.set_writes(Writes::Refused);
            world.index.publish_drops(&ticket, &[(of, at)]).expect_err("the tables fail");
            world.kv.set_writes(Writes::Kept);
            world.write(&[random_chunk(entropy)]);
            world.index.publish_drops(&ticket, &[(of, at)]).expect("published");
        }
    }
}

/// Makes the index anew, with other steps in between. `last` runs before the tables are replaced.
fn remake(world: &mut World, entropy: &Seeded, last: impl FnOnce(&mut World)) {
    world.index.begin_remake().expect("begun");
    assert!(world.index.is_being_remade());
    (0..entropy.below(2)).for_each(|_| live_step(world, entropy));
    world.log.rotate();
    let next = world.log.next.segment();
    let segments: Vec<SegmentId> = world.log.segments.iter().copied().filter(|&id| id < next).collect();
    for segment in segments {
        (0..entropy.below(3)).for_each(|_| live_step(world, entropy));
        let of_segment = |record: &&ScannedRecord| record.at.lsn.segment() == segment;
        let records: Vec<ScannedRecord> = world.log.records.values().filter(of_segment).cloned().collect();
        world.index.remake_from(&records).expect("entered");
        assert!(matches!(world.index.forget_segment(segment), Err(IndexError::BeingRemade)));
    }
    (0..entropy.below(3)).for_each(|_| live_step(world, entropy));
    last(world);
    world.index.finish_remake().expect("finished");
    assert!(!world.index.is_being_remade());
}

fn used(index: &ShardIndex) -> BTreeMap<SegmentId, SegmentUse> {
    let mut uses = index.uses();
    uses.retain(|_, used| *used != SegmentUse::default());
    uses
}

#[test]
fn an_index_made_anew_while_it_is_used_equals_the_log_in_400_seeds() {
    for seed in 0..400 {
        let entropy = Seeded(AtomicU64::new(seed));
        let (mut world, tables) = replaceable_world();
        (0..30).for_each(|_| calm_step(&mut world, &entropy));
        let oldest = *world.log.segments.first().expect("one is open");
        if oldest < world.log.next.segment() && entropy.below(2) == 0 {
            // Copies that were appended before are published after it.
            world.copy_segment(oldest, |world| {
                remake(world, &entropy, |_| {});
                world.kv = tables.tables();
            });
        } else {
            remake(&mut world, &entropy, |_| {});
            world.kv = tables.tables();
        }
        world.check(&format!("seed {seed}, made anew"));
        assert_eq!(used(&world.index), used(&world.log.open(empty_kv())), "seed {seed}");
        (0..20).for_each(|_| calm_step(&mut world, &entropy));
        world.check(&format!("seed {seed}, later"));
        remake(&mut world, &entropy, |world| {
            // It is not published before the power is cut, and what comes after it is.
            drop(world.index.begin());
            world.append_chunks(&[random_chunk(&entropy)]);
            world.write(&[random_chunk(&entropy)]);
        });
        world.kv = tables.tables();
        world.power_cut(&entropy);
        world.check(&format!("seed {seed}, after a power cut"));
    }
}

#[test]
fn a_remake_that_fails_or_is_given_up_leaves_the_index_as_it_was() {
    let (mut world, tables) = replaceable_world();
    world.write(&[chunk(shard(1, 0), 0), chunk(shard(1, 0), 1)]);
    assert!(World::new().index.begin_remake().is_err(), "tables that cannot be replaced");
    world.index.begin_remake().expect("begun");
    let successor = tables.successor.lock().expect("held by no one").clone().expect("it was made");
    successor.set_writes(Writes::Refused);
    world.write(&[chunk(shard(2, 0), 0)]);
    assert!(world.index.remake_from(&[]).is_err(), "the new tables lack a record");
    assert!(world.index.finish_remake().is_err());
    world.index.give_up_remake();
    assert!(tables.successor.lock().expect("held by no one").is_none(), "what is left of it is removed");
    world.index.begin_remake().expect("begun");
    world.index.give_up_remake();
    assert!(!world.index.is_being_remade());
    assert!(world.index.remake_from(&[]).is_err() && world.index.finish_remake().is_err());
    world.drop_shard(shard(1, 0));
    world.check("given up");
}

#[test]
fn a_row_that_cannot_be_right_is_damage_until_the_index_is_made_anew() {
    let (mut world, tables) = replaceable_world();
    world.write(&[chunk(shard(1, 0), 0)]);
    assert_eq!(world.index.damage(), None);
    let mut batch = Batch::default();
    batch.put(CHUNKS, chunk(shard(1, 0), 0).key().to_vec(), b"not a row".to_vec());
    world.kv.commit(batch).expect("committed");
    assert!(world.index.lookup(shard(1, 0), ChunkIndex(0), 1).is_err());
    assert!(world.index.damage().is_some_and(|damage| damage.contains("corrupt row")));
    world.index.begin_remake().expect("begun");
    world.log.rotate();
    let records: Vec<ScannedRecord> = world.log.records.values().cloned().collect();
    world.index.remake_from(&records).expect("entered");
    world.index.finish_remake().expect("finished");
    world.kv = tables.tables();
    assert_eq!(world.index.damage(), None);
    world.check("made anew");
}
