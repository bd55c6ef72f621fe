//! The remake of an index whose tables are damaged, while its drive serves: other tables are filled from the log beside
//! those in use, and then take their place.
//!
//! 1. `begin_remake` makes empty tables. From then on records are published in both.
//! 2. The caller has the log begin another segment, and enters the records of all earlier ones (`remake_from`). What
//!    was published before the first step is in these. Records may be entered twice, and older ones after newer ones:
//!    which are live does not depend on the order.
//! 3. `finish_remake` replaces the tables.
//!
//! Meanwhile no record is moved and no segment forgotten: copies of records that are not entered yet would be missed.
//! If the process ends before the third step, the damaged tables are still there, and the next remake begins anew.

use super::edit::Edit;
use super::rows::{self, SegmentUse};
use super::{IndexError, IndexResult, ShardIndex, Writer};
use crate::storage::kv::{Batch, Kv, KvError};
use crate::storage::wal::ScannedRecord;
use crate::types::{Lsn, SegmentId};
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

/// The tables that will replace those in use.
#[derive(Debug)]
pub(super) struct Remake {
    kv: Arc<dyn Kv>,
    uses: BTreeMap<SegmentId, SegmentUse>,
    /// The last position of a record that was published or entered.
    head: Lsn,
    failed: Option<IndexError>,
}

impl Remake {
    fn over(kv: Arc<dyn Kv>) -> Self {
        Self { kv, uses: BTreeMap::new(), head: Lsn::default(), failed: None }
    }

    /// Applies a change. After an error the remake is of no use, which its next step reports.
    pub(super) fn apply(&mut self, apply: impl FnOnce(&mut Edit<'_>) -> IndexResult<()>) {
        if self.failed.is_none() {
            self.failed = self.try_apply(apply).err();
        }
    }

    fn try_apply(&mut self, apply: impl FnOnce(&mut Edit<'_>) -> IndexResult<()>) -> IndexResult<()> {
        let mut edit = Edit::new(&*self.kv, &self.uses, self.head);
        apply(&mut edit)?;
        self.head = edit.head();
        let touched = edit.commit(&*self.kv, None)?;
        self.uses.extend(touched);
        Ok(())
    }

    fn outcome(&self) -> IndexResult<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

fn given_up() -> IndexError {
    KvError::new("make the shard index anew", "this was given up").into()
}

impl ShardIndex {
    /// Returns the damage that was met in the tables, or a row of them that cannot be right; `None` once they are made
    /// anew.
    pub fn damage(&self) -> Option<String> {
        self.kv.damage().or_else(|| self.lock().corrupt.clone())
    }

    pub fn is_being_remade(&self) -> bool {
        self.lock().is_being_remade
    }

    /// Begins a remake; one under way begins anew.
    pub fn begin_remake(&self) -> IndexResult<()> {
        self.give_up_remake();
        let kv = self.kv.successor()?;
        let mut writer = self.writer();
        writer.remake = Some(Remake::over(kv));
        self.lock().is_being_remade = true;
        Ok(())
    }

    /// Enters records that were read from the log, in commits of the size of this list.
    pub fn remake_from(&self, records: &[ScannedRecord]) -> IndexResult<()> {
        let mut writer = self.writer();
        let remake = writer.remake.as_mut().ok_or_else(given_up)?;
        remake.apply(|edit| records.iter().try_for_each(|record| edit.apply_scanned(record)));
        remake.outcome()
    }

    /// Replaces the tables, once all records were entered. After an error the remake is given up.
    pub fn finish_remake(&self) -> IndexResult<()> {
        let mut writer = self.writer();
        let finished = match writer.remake.take() {
            Some(remake) => self.replace_by(&mut writer, remake),
            None => Err(given_up()),
        };
        self.lock().is_being_remade = false;
        finished
    }

    fn replace_by(&self, writer: &mut Writer, remake: Remake) -> IndexResult<()> {
        remake.outcome()?;
        let mut last = Batch::default();
        let watermark = self.lock().in_flight.watermark();
        last.put(rows::STATE, rows::WATERMARK.to_vec(), rows::encode_watermark(watermark));
        // The row is lost if it cannot be read: the scrub then begins a new pass.
        if let Ok(Some(scrub)) = rows::get_scrub(&*self.kv) {
            last.put(rows::STATE, rows::SCRUB.to_vec(), rows::encode_scrub(scrub));
        }
        let Remake { kv, uses, .. } = remake;
        kv.commit(last)?;
        // If the replacement fails, either tables may be found later.
        writer.doubtful = true;
        self.kv.replace_by(kv)?;
        (writer.doubtful, writer.failed) = (false, 0);
        let mut state = self.lock();
        (state.uses, state.corrupt) = (Arc::new(uses), None);
        Ok(())
    }

    /// Gives a remake up, if one is under way, and removes what it made, or what an earlier one left that failed.
    pub fn give_up_remake(&self) {
        self.drop_remake();
        if let Err(error) = self.kv.discard_successor() {
            tracing::warn!(%error, "cannot remove tables that were being made anew; they take room until they are");
        }
    }

    /// Closes the tables of a remake, if there are any.
    pub(super) fn drop_remake(&self) {
        let mut writer = self.writer();
        let remake = writer.remake.take();
        self.lock().is_being_remade = false;
        drop(writer);
        drop(remake);
    }

    /// Locks the writer for a change that no remake must miss.
    pub(super) fn writer_of_moves(&self) -> IndexResult<MutexGuard<'_, Writer>> {
        let writer = self.writer();
        if writer.remake.is_some() { Err(IndexError::BeingRemade) } else { Ok(writer) }
    }
}
