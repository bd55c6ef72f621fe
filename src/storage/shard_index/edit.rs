//! An atomic change of the shard index. Records are applied one after the other, each on top of the effects of those
//! before; then all changes are committed at once, with the counters of segments and the watermark.

use super::rows::{self, ChunkId, ChunkKey, Entry, Place, SegmentUse, ShardKey, Tombstone};
use super::{IndexResult, Placed};
use crate::defects::{Defect, has};
use crate::storage::kv::{Batch, Kv, KvRead};
use crate::storage::wal::{Location, RecordKind, ScannedRecord};
use crate::types::{BlobId, ChunkIndex, Lsn, SegmentId, ShardId, ShardNumber};
use std::collections::{BTreeMap, HashMap};

/// The outcome of publishing relocated copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Copies that the index now refers to.
    pub records: u64,
    pub bytes: u64,
    /// Copies that are dead because their record was dropped, overwritten or moved meanwhile.
    pub lost: u64,
}

pub(super) struct Edit<'a> {
    kv: &'a dyn KvRead,
    uses: &'a BTreeMap<SegmentId, SegmentUse>,
    /// The last published position, including the records of this edit.
    head: Lsn,
    batch: Batch,
    chunks: BTreeMap<ChunkKey, Option<Entry>>,
    tombstones: HashMap<ShardKey, Option<Tombstone>>,
    touched: BTreeMap<SegmentId, SegmentUse>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(kv: &'a dyn KvRead, uses: &'a BTreeMap<SegmentId, SegmentUse>, head: Lsn) -> Self {
        Self {
            kv,
            uses,
            head,
            batch: Batch::default(),
            chunks: BTreeMap::new(),
            tombstones: HashMap::new(),
            touched: BTreeMap::new(),
        }
    }

    /// Applies a record that recovery read from the log. Ignores records that are neither chunks nor tombstones.
    pub(super) fn apply_scanned(&mut self, record: &ScannedRecord) -> IndexResult<()> {
        self.head = self.head.max(record.at.lsn);
        let shard = ShardId { blob: BlobId(record.key.id), shard: ShardNumber(record.key.shard) };
        match record.kind {
            RecordKind::Chunk => {
                let id = ChunkId { shard, chunk: ChunkIndex(record.key.part) };
                self.apply_chunk(id, Entry { at: record.at, origin: record.origin }).map(drop)
            }
            RecordKind::Tombstone if has(Defect::ForgetTombstones) => Ok(()),
            RecordKind::Tombstone => self.apply_tombstone(shard, record.at, record.origin),
            RecordKind::RaftEntry | RecordKind::RaftState => Ok(()),
        }
    }

    /// Applies the record of a chunk. Returns whether the index now has the chunk at the record's location.
    pub(super) fn apply_chunk(&mut self, id: ChunkId, entry: Entry) -> IndexResult<bool> {
        if let Some(mut tombstone) = self.tombstone(id.shard)?
            && tombstone.origin > entry.origin
        {
            tombstone.covers = tombstone.covers.max(entry.at.lsn);
            self.put_tombstone(id.shard, tombstone);
            return Ok(false);
        }
        if let Some(old) = self.chunk(id)? {
            if (old.origin, old.at.lsn) >= (entry.origin, entry.at.lsn) {
                return Ok(old == entry);
            }
            self.unplace(old.at.lsn, SegmentUse::of_chunk(old.at));
        }
        self.batch.put(rows::CHUNKS, id.key().to_vec(), rows::encode_chunk(entry));
        self.chunks.insert(id.key(), Some(entry));
        self.place(entry.at.lsn, Place::Chunk(id), SegmentUse::of_chunk(entry.at));
        Ok(true)
    }

    pub(super) fn apply_tombstone(&mut self, shard: ShardId, at: Location, origin: Lsn) -> IndexResult<()> {
        // The tombstone may kill any record published before it, including dead copies that have no row any more.
        let mut covers = self.head.max(at.lsn);
        if let Some(old) = self.tombstone(shard)? {
            if (old.origin, old.at.lsn) >= (origin, at.lsn) {
                return Ok(());
            }
            covers = if old.origin == origin { old.covers } else { covers.max(old.covers) };
            self.unplace(old.at.lsn, SegmentUse::of_tombstone(old.at));
        }
        self.put_tombstone(shard, Tombstone { at, origin, covers });
        self.place(at.lsn, Place::Tombstone(shard), SegmentUse::of_tombstone(at));
        for (id, entry) in self.chunks_of(shard)? {
            if entry.origin < origin {
                self.batch.remove(rows::CHUNKS, id.key().to_vec());
                self.chunks.insert(id.key(), None);
                self.unplace(entry.at.lsn, SegmentUse::of_chunk(entry.at));
            }
        }
        Ok(())
    }

    /// Makes the index refer to a copy, if it still refers to the record that was copied.
    pub(super) fn apply_move(&mut self, from: &Placed, to: Location, moved: &mut Moved) -> IndexResult<()> {
        let won = match from {
            Placed::Chunk { id, entry } => {
                // Applied even if a tombstone killed the original: `apply_chunk` then makes the tombstone cover this
                // copy.
                let same = self.chunk(*id)?.is_some_and(|now| now == *entry);
                let killed = self.tombstone(id.shard)?.is_some_and(|tombstone| tombstone.origin > entry.origin);
                (same || killed) && self.apply_chunk(*id, Entry { at: to, origin: entry.origin })?
            }
            Placed::Tombstone { shard, tombstone } => {
                let same = self.tombstone(*shard)?.is_some_and(|now| now.at == tombstone.at);
                if same {
                    self.apply_tombstone(*shard, to, tombstone.origin)?;
                }
                same
            }
        };
        if won {
            moved.records += 1;
            moved.bytes += u64::from(to.body_bytes);
        } else {
            moved.lost += 1;
        }
        Ok(())
    }

    /// Removes the rows of a segment that the log no longer has. Fails if a live chunk is recorded in it.
    pub(super) fn forget_segment(&mut self, segment: SegmentId) -> IndexResult<()> {
        let places: Vec<_> = rows::places_range(self.kv, segment, None).collect::<Result<_, _>>()?;
        for pair in places {
            let (lsn, place) = rows::decode_place(&pair)?;
            let Place::Tombstone(shard) = place else {
                return Err(rows::corrupt(
                    rows::PLACES,
                    &pair.0,
                    "a live chunk in a segment that the log has released",
                ));
            };
            if let Some(tombstone) = self.tombstone(shard)?
                && tombstone.at.lsn == lsn
            {
                self.batch.remove(rows::TOMBSTONES, rows::shard_key(shard).to_vec());
                self.tombstones.insert(rows::shard_key(shard), None);
                self.unplace(lsn, SegmentUse::of_tombstone(tombstone.at));
            }
        }
        Ok(())
    }

    /// Commits the edit. Returns the new counters of the segments that changed.
    pub(super) fn commit(
        mut self,
        kv: &dyn Kv,
        watermark: Option<Lsn>,
    ) -> IndexResult<BTreeMap<SegmentId, SegmentUse>> {
        for (segment, used) in &self.touched {
            let key = segment.0.to_be_bytes().to_vec();
            if *used == SegmentUse::default() {
                self.batch.remove(rows::SEGMENTS, key);
            } else {
                self.batch.put(rows::SEGMENTS, key, rows::encode_use(*used));
            }
        }
        if let Some(watermark) = watermark {
            self.batch.put(rows::STATE, rows::WATERMARK.to_vec(), rows::encode_watermark(watermark));
        }
        if !self.batch.is_empty() {
            kv.commit(self.batch)?;
        }
        Ok(self.touched)
    }

    /// Returns the last log position that the index has published, including the records of this edit.
    pub(super) fn head(&self) -> Lsn {
        self.head
    }

    fn chunk(&self, id: ChunkId) -> IndexResult<Option<Entry>> {
        match self.chunks.get(&id.key()) {
            Some(known) => Ok(*known),
            None => rows::get_chunk(self.kv, id),
        }
    }

    fn chunks_of(&self, shard: ShardId) -> IndexResult<BTreeMap<ChunkId, Entry>> {
        let mut found = BTreeMap::new();
        for pair in rows::shard_range(self.kv, shard) {
            let (id, entry) = rows::decode_chunk(&pair?)?;
            found.insert(id, entry);
        }
        let from = ChunkId { shard, chunk: ChunkIndex(0) }.key();
        let to = ChunkId { shard, chunk: ChunkIndex(u32::MAX) }.key();
        for (key, changed) in self.chunks.range(from..=to) {
            let chunk = ChunkIndex(u32::from_be_bytes([key[17], key[18], key[19], key[20]]));
            match changed {
                Some(entry) => found.insert(ChunkId { shard, chunk }, *entry),
                None => found.remove(&ChunkId { shard, chunk }),
            };
        }
        Ok(found)
    }

    fn tombstone(&self, shard: ShardId) -> IndexResult<Option<Tombstone>> {
        match self.tombstones.get(&rows::shard_key(shard)) {
            Some(known) => Ok(*known),
            None => rows::get_tombstone(self.kv, shard),
        }
    }

    fn put_tombstone(&mut self, shard: ShardId, tombstone: Tombstone) {
        let key = rows::shard_key(shard);
        self.batch.put(rows::TOMBSTONES, key.to_vec(), rows::encode_tombstone(tombstone));
        self.tombstones.insert(key, Some(tombstone));
    }

    fn place(&mut self, lsn: Lsn, place: Place, used: SegmentUse) {
        self.batch.put(rows::PLACES, lsn.0.to_be_bytes().to_vec(), rows::encode_place(place));
        let now = self.used(lsn.segment()).plus(used);
        self.touched.insert(lsn.segment(), now);
    }

    fn unplace(&mut self, lsn: Lsn, used: SegmentUse) {
        self.batch.remove(rows::PLACES, lsn.0.to_be_bytes().to_vec());
        let now = self.used(lsn.segment()).minus(used);
        self.touched.insert(lsn.segment(), now);
    }

    fn used(&self, segment: SegmentId) -> SegmentUse {
        self.touched.get(&segment).or_else(|| self.uses.get(&segment)).copied().unwrap_or_default()
    }
}
