//! The rules of the state machine: the effect of each change on the tables, and its reply. The result is a pure
//! function of the tables and the commands: time, ids and random numbers come with the command, so that every replica
//! that applies the same entries has the same rows. The only effect of a refused change is that the blobs it brought
//! become garbage.
//!
//! A blob has one owner, or several that are counted, from the entry that names it first to the entry that makes it
//! garbage. It is in `blobs` or in `garbage`, never in both, until every node has dropped its shards. A blob that no
//! entry has named yet is fresh (`objects::fresh`).

mod answers;
mod buckets;
mod complete;
mod documents;
mod garbage;
mod layout;
mod moves;
mod objects;
mod overlay;
mod repairs;
mod uploads;

use super::applied::{Applied, applied_in, applied_row};
use super::codec;
use super::command::{Change, Command, Refusal, Reply};
use super::configuration::{ConfigurationMark, ConfigurationVersion};
use super::record::{
    AdvanceClock, AnswersRecord, BucketDocument, ClockRecord, Counts, FenceRecord, HeldRecord, LayoutRecord,
    RegisteredRecord, RemovedRecord,
};
use super::tables::{
    SYSTEM, SYSTEM_ANSWERS, SYSTEM_APPLIED, SYSTEM_CLOCK, SYSTEM_COUNTS, SYSTEM_FORMAT, SYSTEM_HELD, SYSTEM_LAYOUT,
};
use super::view::MetaView;
use crate::defects::{Defect, has};
use crate::limits::DROPPED_ROWS_PER_RECLAIM;
use crate::storage::kv::watched::{ReadFailure, WatchedKv};
use crate::storage::kv::{Kv, KvError, KvRead, KvResult};
use crate::types::{BucketId, Epoch, UnixMs};
use buckets::Usages;
use bytes::Bytes;
use overlay::Overlay;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version of the tables' layout (`tables`). Rows have versions of their own (`codec`).
const LAYOUT_VERSION: u8 = 1;

/// The state machine over its tables. One caller applies entries; any number take views.
#[derive(Clone, Debug)]
pub struct MetaTables {
    kv: Arc<dyn Kv>,
    failure: ReadFailure,
    configuration: Arc<ConfigurationMark>,
}

/// One entry of the log: its index, and its commands in order. Entries of the log's own (blank ones, memberships) have
/// none.
#[derive(Clone, Debug)]
pub struct ApplyEntry {
    pub index: u64,
    pub commands: Vec<Command>,
}

impl MetaTables {
    /// Opens tables, which must be empty or have this version of the layout.
    pub fn open(kv: Arc<dyn Kv>) -> KvResult<Self> {
        match kv.get(SYSTEM, SYSTEM_FORMAT)?.as_deref() {
            None | Some([LAYOUT_VERSION]) => {}
            Some(other) => {
                return Err(KvError::new(
                    "open the metadata tables",
                    format!("layout version {other:?} is not known; this program knows {LAYOUT_VERSION}"),
                ));
            }
        }
        let applied = applied_in(&*kv)?.map(|applied| applied.index);
        let (kv, failure) = WatchedKv::new(kv);
        Ok(Self { kv: Arc::new(kv), failure, configuration: Arc::new(ConfigurationMark::new(applied)) })
    }

    /// Returns the record of failed reads of the tables or any view of them. After a failure the tables must be made
    /// anew.
    pub fn failure(&self) -> &ReadFailure {
        &self.failure
    }

    pub fn applied(&self) -> KvResult<Option<Applied>> {
        applied_in(&*self.kv)
    }

    /// Returns a view of the tables at this moment.
    pub fn view(&self) -> MetaView {
        let (kv, configuration) = self.configuration.observe(|| self.kv.snapshot());
        MetaView { kv, configuration, last: Some(Arc::default()) }
    }

    /// Returns the version of the configuration that a view taken now would have.
    pub fn configuration(&self) -> Option<ConfigurationVersion> {
        self.configuration.present()
    }

    pub fn kv(&self) -> &Arc<dyn Kv> {
        &self.kv
    }

    /// Applies entries in order and commits their effects, with `position`, as one batch in which every key is written
    /// once. Returns the replies of each entry. An error means that the tables are lost, not that a change was refused.
    ///
    /// # Panics
    ///
    /// Panics if an entry's index is not greater than the last one applied: the caller has compared the positions
    /// before.
    pub fn apply(&self, entries: impl IntoIterator<Item = ApplyEntry>, position: Bytes) -> KvResult<Vec<Vec<Reply>>> {
        let before = self.applied()?.map(|applied| applied.index);
        let mut last = before;
        let mut applying = Applying::new(&*self.kv)?;
        let mut replies = Vec::new();
        for entry in entries {
            assert!(last.is_none_or(|last| entry.index > last), "entry {} comes after {last:?}", entry.index);
            last = Some(entry.index);
            applying.index = entry.index;
            if has(Defect::ApplyTwice) {
                entry.commands.iter().try_for_each(|command| applying.command(command.clone()).map(drop))?;
            }
            replies.push(entry.commands.into_iter().map(|command| applying.command(command)).collect::<KvResult<_>>()?);
        }
        if let Some(index) = last.filter(|_| last != before) {
            let batch = applying.finish(before.is_none(), &Applied { index, position }).into_batch();
            self.configuration.commit(batch, index, |batch| self.kv.commit(batch))?;
        }
        Ok(replies)
    }
}

/// The reason why a change is not made: a refusal, or a failure of the tables.
enum Stop {
    Refused(Refusal),
    Lost(KvError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<KvError> for Stop {
    fn from(error: KvError) -> Self {
        Self::Lost(error)
    }
}

/// The decision on a change. A refusal must come before the first effect.
type Decided<T> = Result<T, Stop>;

fn answered(decided: Decided<Reply>) -> KvResult<Reply> {
    match decided {
        Ok(reply) => Ok(reply),
        Err(Stop::Refused(refusal)) => Ok(Reply::Refused(refusal)),
        Err(Stop::Lost(error)) => Err(error),
    }
}

/// A batch of entries being applied.
struct Applying<'a> {
    rows: Overlay<'a>,
    counts: Counts,
    counts_before: Counts,
    /// The record of remembered answers, read with the first forwarded change, and written if read.
    answers: Option<AnswersRecord>,
    /// The layout, read with the first change that changes it, and written if read.
    layout: Option<LayoutRecord>,
    /// The shard counts of the nodes, likewise.
    held: Option<HeldRecord>,
    /// The removed hosts and drives, read with the first change that needs them, and written with each change of them.
    removed: Option<RemovedRecord>,
    /// The fence, likewise.
    fence: Option<FenceRecord>,
    /// The registrations of drives, likewise.
    registered: Option<RegisteredRecord>,
    /// The epoch of the layout by which the blobs of the present change were written, if the change has it.
    written_by: Option<Epoch>,
    usages: Usages,
    /// For each object key whose newest row in `versions` was looked up in this batch, by the prefix of its rows: a row
    /// key before which there is none, or `None` if there is no row at all.
    newest_rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// For each object key one of whose versions had to have a number of newer ones in this batch, by the prefix of its
    /// rows in `versions`: that number, and the key of the row that is the last of so many.
    ranked_rows: BTreeMap<Vec<u8>, (usize, Vec<u8>)>,
    /// The number of documents of a kind that a bucket has, if they were counted in this batch.
    document_counts: BTreeMap<(BucketId, BucketDocument), usize>,
    /// The rows of dropped lists that the present command may still take apart.
    droppable_rows: usize,
    /// The index of the entry being applied.
    index: u64,
    /// The agreed wall time of the command being applied, by which new things are dated.
    now: UnixMs,
    /// The confirmed time at the command being applied. What ended before it may be destroyed.
    confirmed: UnixMs,
    /// `None` until hosts have agreed on the time once. Written if it has changed.
    clock: Option<ClockRecord>,
    clock_changed: bool,
}

impl<'a> Applying<'a> {
    fn new(kv: &'a dyn KvRead) -> KvResult<Self> {
        let rows = Overlay::new(kv);
        let counts = rows.row(SYSTEM, SYSTEM_COUNTS)?.unwrap_or_default();
        let clock = rows.row(SYSTEM, SYSTEM_CLOCK)?;
        Ok(Self {
            rows,
            counts,
            counts_before: counts,
            answers: None,
            layout: None,
            held: None,
            removed: None,
            fence: None,
            registered: None,
            written_by: None,
            usages: Usages::default(),
            newest_rows: BTreeMap::new(),
            ranked_rows: BTreeMap::new(),
            document_counts: BTreeMap::new(),
            droppable_rows: 0,
            index: 0,
            now: UnixMs(0),
            confirmed: UnixMs(0),
            clock,
            clock_changed: false,
        })
    }

    fn finish(mut self, first: bool, applied: &Applied) -> Overlay<'a> {
        if first {
            self.rows.put(SYSTEM, SYSTEM_FORMAT, vec![LAYOUT_VERSION]);
        }
        if self.counts != self.counts_before {
            self.rows.put(SYSTEM, SYSTEM_COUNTS, codec::encode(&self.counts));
        }
        if let Some(answers) = self.answers {
            self.rows.put(SYSTEM, SYSTEM_ANSWERS, codec::encode(&answers));
        }
        if let Some(layout) = self.layout {
            self.rows.put(SYSTEM, SYSTEM_LAYOUT, codec::encode(&layout));
        }
        self.usages.write(&mut self.rows);
        if let Some(clock) = self.clock.filter(|_| self.clock_changed) {
            self.rows.put(SYSTEM, SYSTEM_CLOCK, codec::encode(&clock));
        }
        if let Some(held) = &self.held {
            self.rows.put(SYSTEM, SYSTEM_HELD, codec::encode(held));
        }
        self.rows.put(SYSTEM, SYSTEM_APPLIED, applied_row(applied));
        self.rows
    }

    fn command(&mut self, command: Command) -> KvResult<Reply> {
        self.droppable_rows = DROPPED_ROWS_PER_RECLAIM;
        self.take_time(&command);
        match command.origin {
            None => self.change(command.change),
            Some(origin) => self.change_once(origin, command.change),
        }
    }

    /// Sets the times by which this command is decided.
    fn take_time(&mut self, command: &Command) {
        (self.now, self.confirmed) = (command.now, command.confirmed);
        if let Some(clock) = &mut self.clock {
            self.clock_changed |= clock.take(command.confirmed);
            self.confirmed = clock.confirmed;
        }
    }

    fn advance_clock(&mut self, advance: AdvanceClock) -> Reply {
        self.clock_changed |= match &mut self.clock {
            Some(clock) => clock.advance(advance),
            None => self.clock.replace(ClockRecord::first(advance)).is_none(),
        };
        Reply::Done
    }

    fn change(&mut self, change: Change) -> KvResult<Reply> {
        let fresh = change.fresh_blobs().map(|blob| blob.cloned());
        let reply = self.decide(change)?;
        if let Reply::Refused(_) = reply {
            fresh.into_iter().flatten().try_for_each(|blob| self.discard_fresh(&blob))?;
        }
        Ok(reply)
    }

    fn decide(&mut self, change: Change) -> KvResult<Reply> {
        match change {
            Change::ReclaimGarbage { gone } => self.reclaim_garbage(&gone),
            Change::QueueRepairs { missing } => self.queue_repairs(&missing),
            Change::FinishRepairs { done } => self.finish_repairs(&done),
            Change::RegisterNodes { host, nodes } => answered(self.register_nodes(host, nodes)),
            Change::RegisterHost(host) => answered(self.register_host(host)),
            Change::RejoinHost { was, host } => answered(self.rejoin_host(was, host)),
            Change::FoundHosts(founders) => answered(self.found_hosts(founders)),
            Change::RemoveHost { host } => answered(self.remove_host(host)),
            Change::SetNode { node, weight, state } => answered(self.set_node(node, weight, state)),
            Change::MoveShards { epoch, moves } => self.move_shards(epoch, &moves),
            Change::ForgetLeftovers { gone } => self.forget_leftovers(&gone),
            Change::RemoveNode { node, lost } => answered(self.remove_node(node, lost)),
            Change::SetHostRoles { host, roles } => answered(self.set_host_roles(host, roles)),
            Change::RaiseFence { below } => self.raise_fence(below),
            Change::NoteRecovery(recovery) => Ok(self.note_recovery(&recovery)),
            Change::AdvanceClock(advance) => Ok(self.advance_clock(advance)),
            Change::ComputeDigest => Ok(Reply::Done),
            Change::Adopt(adoption) => {
                self.written_by = Some(adoption.layout);
                let reply = self.decide(adoption.change.into());
                self.written_by = None;
                reply
            }
            change => self.change_of_buckets(change),
        }
    }

    /// Decides changes of buckets, objects, uploads and documents.
    fn change_of_buckets(&mut self, change: Change) -> KvResult<Reply> {
        match change {
            Change::PutObject(put) => self.put_object(*put),
            Change::CreateUpload(create) => answered(self.create_upload(*create)),
            Change::PutPart(put) => answered(self.put_part(*put)),
            Change::CompleteUpload(complete) => answered(self.complete_upload(*complete)),
            Change::AbortUpload { bucket, key, upload } => answered(self.abort_upload(bucket, &key, upload)),
            Change::CopyVersion(copy) => answered(self.copy_version(*copy)),
            Change::DeleteVersions { bucket, deletes } => self.delete_versions(bucket, deletes),
            Change::ChangeTraits(change) => answered(self.change_traits(*change)),
            Change::RenameObject(rename) => answered(self.rename_object(*rename)),
            Change::AppendObject(append) => answered(self.append_object(*append)),
            Change::CreateBucket(create) => answered(self.create_bucket(*create)),
            Change::DeleteBucket { bucket } => answered(self.delete_bucket(bucket)),
            Change::SetBucket { bucket, versioning, lock, quota } => {
                answered(self.set_bucket(bucket, versioning, lock, quota))
            }
            Change::WriteDocuments(writes) => answered(self.write_documents(writes)),
            Change::FinishEvents { target, through } => self.finish_events(&target, through),
            other => unreachable!("{other:?} is decided elsewhere"),
        }
    }
}

#[cfg(test)]
mod tests;
