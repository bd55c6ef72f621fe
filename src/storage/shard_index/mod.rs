//! The shard index of one drive: the location of each chunk in the drive's log, the dropped shards, and the live bytes
//! of each segment. It is derived from the log: if it is lost, a scan of the log restores it.
//!
//! Two rules decide which records are live, independently of the order in which they are applied. Of two records of one
//! chunk, the one with the later origin is live; with equal origins, the one at the later position. A tombstone kills
//! every chunk of its shard whose origin is before the tombstone's. The origin is the position of a record's first
//! copy, which a relocated copy keeps. So a relocated copy neither revives a dropped shard nor hides a chunk that was
//! written again after a drop.
//!
//! Records are published only after the log has synced them, or has only written them with relaxed durability. Each
//! commit contains the watermark: the index reflects everything that the log holds below it, so a start replays the log
//! from there. After a failed commit, the same records can be published again with the same ticket.
//!
//! Tables that are damaged are made anew while the drive serves (`remake`).

mod edit;
mod inflight;
mod recover;
mod remake;
mod rows;
#[cfg(test)]
mod tests;

use crate::storage::kv::reviving::CommitRow;
use crate::storage::kv::{Batch, Kv, KvError, KvRead, KvResult, Pair, Table};
use crate::storage::wal::{Location, WalError};
use crate::types::{ChunkIndex, Lsn, SegmentId, ShardId};
use edit::Edit;
use inflight::InFlight;
use remake::Remake;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use edit::Moved;
pub use inflight::Ticket;
pub use recover::{LogExtent, recover};
pub use rows::{ChunkId, Entry, ScrubRow, SegmentUse, Tombstone, footprint_bytes};

/// The tables of the index.
pub const TABLES: &[Table] = &[rows::CHUNKS, rows::PLACES, rows::TOMBSTONES, rows::SEGMENTS, rows::STATE];
/// The row that counts commits, for tables that are reopened while the process runs.
pub const COMMITS: CommitRow = CommitRow { table: rows::STATE, key: rows::COMMITS };

#[derive(Clone, Debug, thiserror::Error)]
pub enum IndexError {
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error("corrupt row in table {table} of the shard index, key {key}: {found}")]
    Corrupt { table: &'static str, key: String, found: String },
    #[error(transparent)]
    Log(#[from] WalError),
    /// Refusal: records are not moved until the index is made anew.
    #[error("the shard index is being made anew; no records are moved meanwhile")]
    BeingRemade,
}

pub type IndexResult<T> = Result<T, IndexError>;

/// A live record, with its location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    Chunk { id: ChunkId, entry: Entry },
    Tombstone { shard: ShardId, tombstone: Tombstone },
}

impl Placed {
    pub fn at(&self) -> Location {
        match self {
            Self::Chunk { entry, .. } => entry.at,
            Self::Tombstone { tombstone, .. } => tombstone.at,
        }
    }
}

/// A page of shards in order, each with the number of its chunks, and whether more shards follow.
pub type ShardPage = (Vec<(ShardId, u32)>, bool);

/// Returns the record at a place.
fn resolve(rows: &dyn KvRead, lsn: Lsn, place: rows::Place) -> IndexResult<Placed> {
    let found = match place {
        rows::Place::Chunk(id) => rows::get_chunk(rows, id)?.map(|entry| Placed::Chunk { id, entry }),
        rows::Place::Tombstone(shard) => {
            rows::get_tombstone(rows, shard)?.map(|tombstone| Placed::Tombstone { shard, tombstone })
        }
    };
    found.ok_or_else(|| rows::corrupt(rows::PLACES, &lsn.0.to_be_bytes(), "a place without its chunk or tombstone"))
}

/// The number of consecutive failed commits after which the drive counts as refusing writes.
const FAILED_COMMITS_MAX: u32 = 3;

/// The index of one drive. Cheap to clone. Methods may read or write the drive, so they must not be called on a thread
/// that serves others.
#[derive(Clone, Debug)]
pub struct ShardIndex {
    kv: Arc<dyn Kv>,
    /// Locked briefly, never while the drive is read or written.
    state: Arc<Mutex<State>>,
    /// Locked by the one writer for all of its reads and its commit. Locked before `state`.
    writer: Arc<Mutex<Writer>>,
}

/// The appends in flight, and the content of the table `segments`.
#[derive(Debug, Default)]
struct State {
    in_flight: InFlight,
    /// Shared with a commit under way, which changes only its own copy.
    uses: Arc<BTreeMap<SegmentId, SegmentUse>>,
    /// True while `Writer::remake` is there. Set while both are locked.
    is_being_remade: bool,
    /// The first row that could not be right, since the tables were opened or made anew.
    corrupt: Option<String>,
}

/// The state of the one writer. Whoever locks it may commit.
#[derive(Debug, Default)]
struct Writer {
    /// True after a failed commit: it is unknown whether the tables contain it, so `State::uses` must be read again.
    doubtful: bool,
    /// The number of consecutive failed commits; `why` is the error of the last one.
    failed: u32,
    why: String,
    /// The tables that are being filled to replace those in use.
    remake: Option<Remake>,
}

impl Writer {
    /// Commits an edit. Returns the new counters of the segments that changed.
    fn commit(
        &mut self,
        kv: &dyn Kv,
        edit: Edit<'_>,
        watermark: Option<Lsn>,
    ) -> IndexResult<BTreeMap<SegmentId, SegmentUse>> {
        let committed = edit.commit(kv, watermark);
        self.doubtful |= committed.is_err();
        match &committed {
            Ok(_) => self.failed = 0,
            Err(error) => (self.failed, self.why) = (self.failed.saturating_add(1), error.to_string()),
        }
        committed
    }
}

impl ShardIndex {
    /// Returns the error of the last commit if too many consecutive commits have failed.
    pub fn failure(&self) -> Option<String> {
        // A writer that has the lock may be waiting for the drive.
        let writer = self.writer.try_lock().ok()?;
        (writer.failed >= FAILED_COMMITS_MAX).then(|| format!("its index takes no writes: {}", writer.why))
    }

    /// Takes a ticket for an append to the log whose records will be published. Until the ticket is published or ended,
    /// the watermark stays below these records. A lost ticket holds the watermark back until the next start.
    pub fn begin(&self) -> Ticket {
        self.lock().in_flight.begin()
    }

    /// Ends a ticket whose append wrote nothing.
    pub fn end(&self, ticket: Ticket) {
        self.lock().in_flight.finish(&ticket, None);
    }

    /// Ends a ticket whose append failed. After a refusal nothing was written. After any other error a record may have
    /// been written, so the ticket is abandoned: the next start must replay that record, so that a tombstone which
    /// kills it is kept as long as the record exists.
    pub fn append_failed(&self, ticket: Ticket, error: &WalError) {
        match error {
            WalError::OutOfSpace | WalError::NoResources { .. } | WalError::Busy => self.end(ticket),
            _ => self.abandon(ticket),
        }
    }

    /// Gives up publishing the records of a ticket. The watermark stays below them, so that the next start publishes
    /// them.
    pub fn abandon(&self, ticket: Ticket) {
        self.lock().in_flight.abandon(ticket);
    }

    /// Returns whether records in this segment may still be published; if so, the segment must not be released yet.
    pub fn awaits(&self, segment: SegmentId) -> bool {
        self.lock().in_flight.awaits(segment)
    }

    /// Returns the number of tickets taken so far.
    pub fn tickets_begun(&self) -> u64 {
        self.lock().in_flight.begun()
    }

    /// Returns whether records of one of these tickets may still be published, by now or by the next start.
    pub fn awaits_any_of(&self, tickets: Range<u64>) -> bool {
        self.lock().in_flight.awaits_any_of(tickets)
    }

    /// Publishes synced chunks, except those that a later record has dropped or overwritten. After an error the ticket
    /// is still valid, and the same chunks can be published again.
    pub fn publish_chunks(&self, ticket: &Ticket, chunks: &[(ChunkId, Location)]) -> IndexResult<()> {
        let last = chunks.iter().map(|(_, at)| at.lsn).max();
        self.publish(self.writer(), ticket, last, |edit| {
            chunks.iter().try_for_each(|&(id, at)| edit.apply_chunk(id, Entry { at, origin: at.lsn }).map(drop))
        })
    }

    /// Publishes synced tombstones: older chunks of these shards are no longer found.
    pub fn publish_drops(&self, ticket: &Ticket, drops: &[(ShardId, Location)]) -> IndexResult<()> {
        let last = drops.iter().map(|(_, at)| at.lsn).max();
        self.publish(self.writer(), ticket, last, |edit| {
            drops.iter().try_for_each(|&(shard, at)| edit.apply_tombstone(shard, at, at.lsn))
        })
    }

    /// Publishes synced copies of live records, each only if the index still refers to the record that was copied.
    pub fn publish_moves(&self, ticket: &Ticket, moves: &[(Placed, Location)]) -> IndexResult<Moved> {
        let last = moves.iter().map(|(_, to)| to.lsn).max();
        let mut moved = Moved::default();
        self.publish(self.writer_of_moves()?, ticket, last, |edit| {
            moves.iter().try_for_each(|(from, to)| edit.apply_move(from, *to, &mut moved))
        })?;
        Ok(moved)
    }

    /// Publishes records. If the index is being made anew, they are in the new tables even if those in use fail: the
    /// log has them for good.
    fn publish(
        &self,
        mut writer: MutexGuard<'_, Writer>,
        ticket: &Ticket,
        last: Option<Lsn>,
        mut apply: impl FnMut(&mut Edit<'_>) -> IndexResult<()>,
    ) -> IndexResult<()> {
        if let Some(remake) = &mut writer.remake {
            remake.apply(&mut apply);
        }
        let _hold = self.kv.hold()?;
        self.settle(&mut writer)?;
        let (uses, head, watermark) = {
            let mut state = self.lock();
            let in_flight = &mut state.in_flight;
            let (head, watermark) = (in_flight.publish_through(last), in_flight.watermark_after(ticket, last));
            (Arc::clone(&state.uses), head, watermark)
        };
        let mut edit = Edit::new(&*self.kv, &uses, head);
        self.judged(apply(&mut edit))?;
        let touched = writer.commit(&*self.kv, edit, Some(watermark))?;
        drop(uses);
        let mut state = self.lock();
        Arc::make_mut(&mut state.uses).extend(touched);
        state.in_flight.finish(ticket, last);
        Ok(())
    }

    /// Notes a row that cannot be right.
    fn judged<T>(&self, result: IndexResult<T>) -> IndexResult<T> {
        if let Err(error @ IndexError::Corrupt { .. }) = &result {
            self.lock().corrupt.get_or_insert_with(|| error.to_string());
        }
        result
    }

    /// Reads the counters of segments from the tables again if a commit has failed.
    fn settle(&self, writer: &mut Writer) -> IndexResult<()> {
        if writer.doubtful {
            let uses = recover::uses_in(&*self.kv)?;
            self.lock().uses = Arc::new(uses);
            writer.doubtful = false;
        }
        Ok(())
    }

    /// Returns the entries of `count` consecutive chunks of a shard, `None` for each missing chunk, by one scan.
    pub fn lookup(&self, shard: ShardId, first: ChunkIndex, count: u32) -> IndexResult<Vec<Option<Entry>>> {
        let mut found = vec![None; count as usize];
        let from = ChunkId { shard, chunk: first }.key();
        let to = match first.0.checked_add(count) {
            Some(end) => ChunkId { shard, chunk: ChunkIndex(end) }.key().to_vec(),
            None => rows::chunk_key_after_shard(shard),
        };
        for pair in self.kv.range(rows::CHUNKS, Bound::Included(&from), Bound::Excluded(&to)) {
            let (id, entry) = self.judged(rows::decode_chunk(&pair?))?;
            if let Some(slot) = found.get_mut((id.chunk.0 - first.0) as usize) {
                *slot = Some(entry);
            }
        }
        Ok(found)
    }

    /// Returns the number of a shard's chunks on this drive.
    pub fn count(&self, shard: ShardId) -> IndexResult<u32> {
        let mut count = 0;
        for pair in rows::shard_range(&*self.kv, shard) {
            pair?;
            count += 1;
        }
        Ok(count)
    }

    /// Returns whether a drop of this shard needs a tombstone: a chunk of it exists, or may belong to an append under
    /// way.
    pub fn drop_matters(&self, shard: ShardId) -> IndexResult<bool> {
        if !self.lock().in_flight.is_empty() {
            return Ok(true);
        }
        match rows::shard_range(&*self.kv, shard).next() {
            Some(pair) => pair.map(|_| true).map_err(IndexError::from),
            None => Ok(false),
        }
    }

    /// Returns at most `limit` shards after `after`, in order.
    pub fn inventory(&self, after: Option<ShardId>, limit: u32) -> IndexResult<ShardPage> {
        let from = after.map_or_else(Vec::new, |shard| rows::chunk_key_after_shard(shard).to_vec());
        let mut page: Vec<(ShardId, u32)> = Vec::new();
        for pair in self.kv.range(rows::CHUNKS, Bound::Included(&from), Bound::Unbounded) {
            let (id, _) = self.judged(rows::decode_chunk(&pair?))?;
            if let Some((_, count)) = page.last_mut().filter(|(shard, _)| *shard == id.shard) {
                *count += 1;
            } else if page.len() >= limit as usize {
                return Ok((page, true));
            } else {
                page.push((id.shard, 1));
            }
        }
        Ok((page, false))
    }

    /// Returns at most `limit` live records of a segment at positions after `after`, in order of position. They are of
    /// one state of the index: a record that is written again meanwhile would have its new position, in a later segment.
    pub fn placed_in(&self, segment: SegmentId, after: Option<Lsn>, limit: usize) -> IndexResult<Vec<Placed>> {
        let rows = self.kv.snapshot();
        let places = rows::places_range(&*rows, segment, after).take(limit);
        let resolved = |pair: KvResult<Pair>| {
            let (lsn, place) = rows::decode_place(&pair?)?;
            resolve(&*rows, lsn, place)
        };
        self.judged(places.map(resolved).collect())
    }

    /// Removes the rows of a segment that the log has released. Only tombstones may still be recorded there.
    pub fn forget_segment(&self, segment: SegmentId) -> IndexResult<()> {
        let mut writer = self.writer_of_moves()?;
        let _hold = self.kv.hold()?;
        self.settle(&mut writer)?;
        let (uses, head) = {
            let state = self.lock();
            (Arc::clone(&state.uses), state.in_flight.head())
        };
        let mut edit = Edit::new(&*self.kv, &uses, head);
        self.judged(edit.forget_segment(segment))?;
        let touched = writer.commit(&*self.kv, edit, None)?;
        drop(uses);
        let mut state = self.lock();
        let uses = Arc::make_mut(&mut state.uses);
        uses.extend(touched);
        uses.remove(&segment);
        Ok(())
    }

    /// Returns the live bytes and records of each segment; a segment without live records may be absent.
    pub fn uses(&self) -> BTreeMap<SegmentId, SegmentUse> {
        BTreeMap::clone(&self.lock().uses)
    }

    /// Returns the live bytes and records of all segments together.
    pub fn total(&self) -> SegmentUse {
        self.lock().uses.values().fold(SegmentUse::default(), |sum, used| sum.plus(*used))
    }

    /// The last published position.
    pub fn head(&self) -> Lsn {
        self.lock().in_flight.head()
    }

    /// The position from which a start would replay the log.
    pub fn watermark(&self) -> IndexResult<Lsn> {
        Ok(rows::get_watermark(&*self.kv)?.unwrap_or_default())
    }

    /// Returns the state of the scrub on this drive; `None` before the first pass, or if the row is corrupt.
    pub fn scrub(&self) -> IndexResult<Option<ScrubRow>> {
        match rows::get_scrub(&*self.kv) {
            Err(IndexError::Corrupt { .. }) => Ok(None),
            found => found,
        }
    }

    pub fn keep_scrub(&self, row: ScrubRow) -> IndexResult<()> {
        let mut batch = Batch::default();
        batch.put(rows::STATE, rows::SCRUB, rows::encode_scrub(row));
        Ok(self.kv.commit(batch)?)
    }

    /// Makes everything published durable. Syncs the drive, so it is slow.
    pub fn persist(&self) -> IndexResult<()> {
        Ok(self.kv.persist()?)
    }

    /// Closes the index for good (see `Kv::close`). Blocks.
    pub fn close(&self) -> IndexResult<()> {
        self.drop_remake();
        Ok(self.kv.close()?)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Panics if the tables contradict each other; for tests.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        let mut sums: BTreeMap<SegmentId, SegmentUse> = BTreeMap::new();
        for pair in self.kv.range(rows::CHUNKS, Bound::Unbounded, Bound::Unbounded) {
            let (id, entry) = rows::decode_chunk(&pair.unwrap()).unwrap();
            let place = rows::get_place(&*self.kv, entry.at.lsn).unwrap();
            assert_eq!(place, Some(rows::Place::Chunk(id)), "each chunk has its place");
            if let Some(tombstone) = rows::get_tombstone(&*self.kv, id.shard).unwrap() {
                assert!(tombstone.origin < entry.origin, "no chunk lives under a later tombstone");
            }
            let used = sums.entry(entry.at.lsn.segment()).or_default();
            *used = used.plus(SegmentUse::of_chunk(entry.at));
        }
        for pair in self.kv.range(rows::TOMBSTONES, Bound::Unbounded, Bound::Unbounded) {
            let (shard, tombstone) = rows::decode_tombstone(&pair.unwrap()).unwrap();
            let place = rows::get_place(&*self.kv, tombstone.at.lsn).unwrap();
            assert_eq!(place, Some(rows::Place::Tombstone(shard)), "each tombstone has its place");
            let used = sums.entry(tombstone.at.lsn.segment()).or_default();
            *used = used.plus(SegmentUse::of_tombstone(tombstone.at));
        }
        let placed = self.kv.range(rows::PLACES, Bound::Unbounded, Bound::Unbounded).count() as u64;
        let total = self.total();
        assert_eq!(placed, total.chunks + total.tombstones, "nothing is placed twice");
        let mut uses = self.uses();
        uses.retain(|_, used| *used != SegmentUse::default());
        assert_eq!(uses, sums, "segment use is the sum of what lives there");
    }
}
