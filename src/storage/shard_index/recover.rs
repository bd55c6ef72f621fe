//! Recovery of the shard index at start: a replay of the log from the watermark. The index is rebuilt from the log's
//! start if it is new, corrupt, or does not match the log, or if an earlier rebuild was interrupted.

use super::edit::Edit;
use super::inflight::InFlight;
use super::rows::{self, SegmentUse};
use super::{IndexError, IndexResult, ShardIndex, State, TABLES};
use crate::defects::{Defect, has};
use crate::storage::kv::{Batch, Kv, Table};
use crate::storage::wal::{ScannedRecord, WalError};
use crate::types::{Lsn, SegmentId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex};

/// The most records or rows in one commit of a replay or a rebuild.
const REPLAY_RECORDS_MAX: usize = 1024;

/// The extent of the log that a scan found.
#[derive(Clone, Debug, Default)]
pub struct LogExtent {
    /// The existing segments.
    pub segments: Vec<SegmentId>,
    /// The end of the log's content. Valid records after it were also passed to the visitor.
    pub end: Lsn,
}

/// Opens the index of a log. `scan` opens the log: it passes every record at or after the given position to the
/// visitor, in order, and returns the log with its extent. It is called a second time, from the log's start, if the
/// index must be rebuilt.
pub fn recover<L>(
    kv: Arc<dyn Kv>,
    mut scan: impl FnMut(Lsn, &mut dyn FnMut(ScannedRecord)) -> Result<(L, LogExtent), WalError>,
) -> IndexResult<(ShardIndex, L)> {
    match attempt(&kv, &mut scan) {
        Ok(Some(opened)) => return Ok(opened),
        Ok(None) => tracing::warn!("shard index does not match its log; rebuilding it"),
        Err(IndexError::Corrupt { table, key, found }) => {
            tracing::warn!(table, key, found, "shard index is corrupt; rebuilding it");
        }
        Err(error) => return Err(error),
    }
    wipe(&*kv)?;
    match attempt(&kv, &mut scan)? {
        Some(opened) => Ok(opened),
        None => Err(rows::corrupt(rows::STATE, rows::WATERMARK, "a rebuilt index that does not match its log")),
    }
}

/// Tries to open the index without a rebuild; `None` if it does not match this log, or a rebuild was interrupted.
fn attempt<L>(
    kv: &Arc<dyn Kv>,
    scan: &mut impl FnMut(Lsn, &mut dyn FnMut(ScannedRecord)) -> Result<(L, LogExtent), WalError>,
) -> IndexResult<Option<(ShardIndex, L)>> {
    if kv.get(rows::STATE, rows::REBUILDING)?.is_some() {
        return Ok(None);
    }
    let Some(watermark) = rows::get_watermark(&**kv)? else {
        // The index is new or has lost its watermark: remove all rows.
        wipe(&**kv)?;
        return attempt(kv, scan);
    };
    let mut replay = Replay::new(Arc::clone(kv), watermark)?;
    let (log, extent) = scan(watermark, &mut |record| replay.visit(record))?;
    replay.finish();
    if let Some(error) = replay.failed {
        return Err(error);
    }
    let index = ShardIndex {
        kv: Arc::clone(kv),
        state: Arc::new(Mutex::new(State {
            in_flight: InFlight::new(replay.head),
            uses: Arc::new(replay.uses),
            ..State::default()
        })),
        writer: Arc::default(),
    };
    let last_visited = replay.visited.last().copied().unwrap_or_default();
    let matches =
        watermark <= extent.end.max(last_visited) && (replay.rebuilds || all_visited(kv, watermark, &replay.visited)?);
    Ok((matches && settle(&index, &extent)?).then_some((index, log)))
}

/// Returns whether the log has every record that the index has from the watermark on. A record may be missing if it was
/// acknowledged with relaxed durability and lost in a power cut.
fn all_visited(kv: &Arc<dyn Kv>, watermark: Lsn, visited: &BTreeSet<Lsn>) -> IndexResult<bool> {
    let from = watermark.0.to_be_bytes();
    for pair in kv.range(rows::PLACES, Bound::Included(&from), Bound::Unbounded) {
        if !visited.contains(&rows::decode_place(&pair?)?.0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the rows of segments that the log no longer has. Returns false if one of them should have live chunks: then
/// the index does not match the log.
fn settle(index: &ShardIndex, extent: &LogExtent) -> IndexResult<bool> {
    for (segment, used) in index.uses() {
        if extent.segments.contains(&segment) {
            continue;
        }
        if used.chunks > 0 {
            return Ok(false);
        }
        index.forget_segment(segment)?;
    }
    Ok(true)
}

/// Empties the tables and sets the watermark to the log's start. After a crash in between, the next start empties them
/// again.
fn wipe(kv: &dyn Kv) -> IndexResult<()> {
    let mut mark = Batch::default();
    mark.put(rows::STATE, rows::REBUILDING.to_vec(), vec![1]);
    mark.remove(rows::STATE, rows::WATERMARK.to_vec());
    kv.commit(mark)?;
    for &table in TABLES.iter().filter(|&&table| table != rows::STATE) {
        while wipe_some(kv, table)? {}
    }
    let mut done = Batch::default();
    done.remove(rows::STATE, rows::REBUILDING.to_vec());
    done.put(rows::STATE, rows::WATERMARK.to_vec(), rows::encode_watermark(Lsn::default()));
    Ok(kv.commit(done)?)
}

/// Removes some rows of a table. Returns whether there were any.
fn wipe_some(kv: &dyn Kv, table: Table) -> IndexResult<bool> {
    let mut batch = Batch::default();
    for pair in kv.range(table, Bound::Unbounded, Bound::Unbounded).take(REPLAY_RECORDS_MAX) {
        batch.remove(table, pair?.0);
    }
    let any = !batch.is_empty();
    if any {
        kv.commit(batch)?;
    }
    Ok(any)
}

/// Reads the live bytes and records of each segment from the tables.
pub(super) fn uses_in(kv: &dyn Kv) -> IndexResult<BTreeMap<SegmentId, SegmentUse>> {
    let rows = kv.range(rows::SEGMENTS, Bound::Unbounded, Bound::Unbounded);
    rows.map(|pair| rows::decode_use(&pair?)).collect()
}

/// Applies scanned records in commits of bounded size; keeps the first error.
struct Replay {
    kv: Arc<dyn Kv>,
    uses: BTreeMap<SegmentId, SegmentUse>,
    head: Lsn,
    /// The last committed watermark. While the log is being opened, the watermark does not exceed the position through
    /// which the log is known to be durable: later records may still be lost, so an interrupted replay must read them
    /// again.
    watermark: Lsn,
    durable_through: Lsn,
    /// True if the index is empty before the replay, so that it cannot have a record that the log lacks.
    rebuilds: bool,
    /// The positions of the replayed records; not collected if `rebuilds`.
    visited: BTreeSet<Lsn>,
    waiting: Vec<ScannedRecord>,
    failed: Option<IndexError>,
}

impl Replay {
    fn new(kv: Arc<dyn Kv>, head: Lsn) -> IndexResult<Self> {
        let uses = uses_in(&*kv)?;
        let rebuilds = kv.range(rows::PLACES, Bound::Unbounded, Bound::Unbounded).next().is_none();
        Ok(Self {
            kv,
            uses,
            head,
            watermark: head,
            durable_through: head,
            visited: BTreeSet::new(),
            rebuilds,
            waiting: Vec::new(),
            failed: None,
        })
    }

    fn visit(&mut self, record: ScannedRecord) {
        if !self.rebuilds {
            self.visited.insert(record.at.lsn);
        }
        self.durable_through = self.durable_through.max(record.durable_through);
        // The index needs no bodies, and a thousand of them would take a quarter of a gigabyte.
        self.waiting.push(ScannedRecord { body: bytes::Bytes::new(), ..record });
        if self.waiting.len() >= REPLAY_RECORDS_MAX {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.apply(&waiting) {
            self.failed = Some(error);
        }
    }

    /// Ends the replay after the log was opened, which made all of it durable.
    fn finish(&mut self) {
        self.durable_through = Lsn(u64::MAX);
        if !self.waiting.is_empty() || self.watermark < self.head {
            self.flush();
        }
    }

    fn apply(&mut self, records: &[ScannedRecord]) -> IndexResult<()> {
        let mut edit = Edit::new(&*self.kv, &self.uses, self.head);
        let records = if has(Defect::TrustStaleIndex) { &[] } else { records };
        records.iter().try_for_each(|record| edit.apply_scanned(record))?;
        self.head = edit.head();
        let watermark = self.head.min(self.durable_through).max(self.watermark);
        let touched = edit.commit(&*self.kv, Some(watermark))?;
        self.watermark = watermark;
        self.uses.extend(touched);
        Ok(())
    }
}
