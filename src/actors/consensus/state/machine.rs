//! openraft's state machine over the metadata tables. Entries are applied in batches; each commit of the tables also
//! stores the position of its last entry. The tables are derived state: if they fail or their drive is lost, they are
//! rebuilt from the snapshot and the log, on another drive if possible, and the entries in hand are applied again.

use super::applying::{ApplyError, Done, apply, inapplicable};
use super::attempts::Attempts;
use super::digest::start_digest;
use super::home::StateHome;
use super::snapshot_files::{SaveError, SnapshotDamaged, WithoutRoom};
use super::snapshots::{SnapshotFile, SnapshotStore, stored_membership};
use crate::actors::consensus::contradiction::check_snapshot;
use crate::actors::consensus::raft_types::{
    Entry, LogId, MetaGroup, Replies, StoredMembership, log_entry_of, log_id_of,
};
use crate::actors::consensus::shared::{DriveRole, LostDrive, Shared, is_damaged_entry, no_longer_here, read_entries};
use crate::storage::kv::{Kv, KvRead, KvResult};
use crate::storage::meta::MetaTables;
use crate::storage::meta::command::Reply;
use crate::storage::raft_log::{AppliedAt, DurableAt, History, LogEntry, Payload, Position, TablesAt};
use crate::storage::wal::Durability;
use crate::types::NodeId;
use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{OptionalSend, RaftSnapshotBuilder, Snapshot};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The approximate maximum of the commands that are applied in one commit, in bytes of the log.
const APPLY_BYTES_MAX: usize = 4 << 20;
/// The pause before a failed rebuild of the tables is tried again.
const REBUILD_PAUSE: Duration = Duration::from_secs(1);

/// The place of the tables: a drive, and the number of their directory on it.
#[derive(Clone, Debug)]
pub struct StatePlace {
    pub node: NodeId,
    pub number: u32,
}

/// The state machine of one replica.
#[derive(Debug)]
pub struct StateMachine {
    shared: Arc<Shared>,
    snapshots: SnapshotStore,
    home: Arc<dyn StateHome>,
    place: StatePlace,
    /// The greatest number that was used for tables.
    number_max: u32,
    tables: MetaTables,
    applied: AppliedAt,
    /// The last applied entry that every copy of this host's log was known to hold on stable storage.
    durable: Option<DurableAt>,
}

impl StateMachine {
    pub fn new(
        shared: Arc<Shared>,
        snapshots: SnapshotStore,
        home: Arc<dyn StateHome>,
        place: StatePlace,
        number_max: u32,
        tables: MetaTables,
        TablesAt { applied, durable }: TablesAt,
    ) -> Self {
        *shared.history() = History::new(&applied);
        shared.note_group(&applied);
        shared.publish(Some(tables.clone()));
        let durable = durable.filter(|durable| durable.host == shared.host);
        Self { shared, snapshots, home, place, number_max, tables, applied, durable }
    }

    /// Notes up to which of these entries, which are about to be applied, the log is known to be on stable storage.
    fn note_durable(&mut self, entries: &[LogEntry]) {
        if self.shared.opener.durability == Durability::Strict
            && let Some(last) = entries.last()
            && let Some(at) = self.shared.index().durable_up_to(last.at.index)
        {
            self.durable = Some(DurableAt { host: self.shared.host, at });
        }
    }

    /// Returns the position to store with tables that have applied `applied`.
    fn at(&self, applied: &AppliedAt) -> TablesAt {
        TablesAt { applied: applied.clone(), durable: self.durable }
    }

    /// Returns the drive that the tables are on.
    pub fn node(&self) -> NodeId {
        self.place.node
    }

    /// Returns what a snapshot of the present tables needs: its head, the tables, and a view of them.
    pub fn snapshot_source(&self) -> (AppliedAt, Arc<dyn Kv>, Arc<dyn KvRead>) {
        let kv = Arc::clone(self.tables.kv());
        let view = kv.snapshot();
        (self.applied.clone(), kv, view)
    }

    fn builder(&self, anew: bool) -> SnapshotBuilder {
        let (applied, _, view) = self.snapshot_source();
        SnapshotBuilder { snapshots: self.snapshots.clone(), anew, applied, view }
    }

    /// Moves the tables away from a drive that is lost.
    pub async fn leave(&mut self, node: NodeId) {
        if self.place.node == node
            && let Err(error) = self.rebuild("its drive is lost").await
        {
            self.shared.set_fault(format!("the metadata tables cannot be rebuilt: {error}"));
        }
    }

    /// Rebuilds these tables, which cannot be trusted, unless they were replaced meanwhile.
    pub async fn renew(&mut self, tables: &Arc<dyn Kv>, why: &str) {
        if !Arc::ptr_eq(self.tables.kv(), tables) {
            return;
        }
        if let Err(error) = self.rebuild(why).await {
            self.shared.set_fault(format!("the metadata tables cannot be rebuilt: {error}"));
        }
    }

    /// Rebuilds the present tables, if damage was found in them.
    pub async fn renew_damaged(&mut self) {
        if let Some(error) = self.tables.failure().get().cloned() {
            let tables = Arc::clone(self.tables.kv());
            self.renew(&tables, &error.to_string()).await;
        }
    }

    async fn apply_batch(&mut self, entries: Vec<LogEntry>) -> io::Result<Vec<Vec<Reply>>> {
        let (mut replies, mut attempts) = (Vec::with_capacity(entries.len()), Attempts::default());
        let mut left = entries.as_slice();
        while let Some(first) = left.first().map(|entry| entry.at.index) {
            let (now, later) = left.split_at(attempts.together(left.len()));
            match self.apply_once(now).await? {
                Ok(mut done) => {
                    replies.append(&mut done);
                    left = later;
                }
                Err(ApplyError::Entry(why)) => return Err(self.stop(why)),
                Err(ApplyError::Tables { error, of_store: false }) if attempts.is_enough(first, now.len()) => {
                    return Err(self.stop(inapplicable(first, &error)));
                }
                Err(ApplyError::Tables { error, .. }) => {
                    if attempts.is_repeated() {
                        tokio::time::sleep(REBUILD_PAUSE).await;
                    }
                    self.rebuild(&error.to_string()).await?;
                }
            }
        }
        Ok(replies)
    }

    /// Applies entries to the present tables.
    async fn apply_once(&mut self, entries: &[LogEntry]) -> io::Result<Result<Vec<Vec<Reply>>, ApplyError>> {
        self.note_durable(entries);
        let (tables, before, batch) = (self.tables.clone(), self.at(&self.applied), entries.to_vec());
        let applying = self.shared.offload.run(move || apply(&tables, before, &batch));
        let done = self.shared.unless_lost(&[self.place.node], applying).await;
        let lost = |lost: LostDrive| Ok(Err(ApplyError::Tables { error: lost.into(), of_store: true }));
        Ok(done.unwrap_or_else(lost)?.map(|Done { applied, points, replies, digest_of }| {
            let mut history = self.shared.history();
            points.into_iter().for_each(|point| history.push(point));
            self.shared.note_group(&applied);
            self.applied = applied;
            if let Some((point, view)) = digest_of {
                start_digest(&self.shared, point, view);
            }
            replies
        }))
    }

    /// Stops the replica for this reason. Returns the error that stops openraft.
    fn stop(&self, why: String) -> io::Error {
        self.shared.set_fault(why.clone());
        io::Error::new(io::ErrorKind::InvalidData, why)
    }

    /// Rebuilds the tables up to the last applied entry, on any drive that can take them. Tries until it succeeds, as
    /// drives may be full; meanwhile readers wait, and the lead moves to another host. Fails only if no drive is left,
    /// or if the snapshot or the log cannot be used.
    async fn rebuild(&mut self, why: &str) -> io::Result<()> {
        tracing::warn!(node = %self.place.node, %why, "rebuilding the metadata tables");
        self.shared.publish(None);
        let mut was_of_no_use = false;
        loop {
            let error = match self.rebuild_once().await {
                Ok(()) => return Ok(()),
                Err(error) if self.candidates().is_empty() => return Err(error),
                Err(error) => error,
            };
            let is_of_no_use =
                if is_damaged_source(&error) { self.has_others() } else { error.kind() == io::ErrorKind::InvalidData };
            if is_of_no_use && was_of_no_use {
                return Err(self.give_up(&error));
            }
            was_of_no_use = is_of_no_use;
            self.shared.set_trouble(format!("the metadata tables cannot be rebuilt: {error}"));
            tokio::time::sleep(REBUILD_PAUSE).await;
        }
    }

    /// Stops the replica, since neither its tables nor their sources, the snapshot and the log, can be used. If those
    /// are damaged, the host rejoins as another member: other hosts have what they had.
    fn give_up(&self, error: &io::Error) -> io::Error {
        let stopped = self.stop(format!("the metadata tables are lost, and cannot be rebuilt: {error}"));
        if is_damaged_source(error) {
            self.shared.superseded.send_replace(Some(stopped.to_string()));
        }
        stopped
    }

    fn has_others(&self) -> bool {
        self.applied.members.has_other_voter(self.shared.host)
    }

    /// Installs the current snapshot at the start, if it covers more entries than the tables have applied. A damaged
    /// snapshot is an error only if the log lacks entries that the tables need.
    pub async fn restore(&mut self) -> io::Result<()> {
        let own = self.applied.at.map(|at| at.index);
        if self.snapshots.standing().is_none_or(|standing| Some(standing.at.index) <= own) {
            return Ok(());
        }
        let restored = match self.snapshots.current().await {
            Ok(Some(snapshot)) => {
                check_snapshot(&self.shared, &self.applied, &snapshot.head)?;
                self.shared.sole_voter.note_members();
                self.install(&snapshot).await
            }
            found => found.map(drop),
        };
        let is_spare = lies_on_log(&self.shared.index(), self.applied.at);
        match restored {
            Err(error) if is_damaged_snapshot(&error) && is_spare => {
                tracing::warn!(%error, "the metadata snapshot is not used: the log has all entries that the tables lack");
                self.shared.drives().snapshot = None;
                self.shared.publish(Some(self.tables.clone()));
                Ok(())
            }
            restored => restored,
        }
    }

    /// Rebuilds the tables on the best drive that can take them.
    async fn rebuild_once(&mut self) -> io::Result<()> {
        let mut last = io::Error::other("no drive is left for the metadata tables");
        for node in self.candidates() {
            let place = self.fresh_place(node);
            let shared = Arc::clone(&self.shared);
            let built = shared.unless_lost(&[node], self.build_on(place.clone())).await;
            match built.unwrap_or_else(|lost| Err(lost.into())) {
                Ok(()) => {
                    self.shared.publish(Some(self.tables.clone()));
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%node, %error, "the metadata tables cannot be built on a drive");
                    last = error;
                }
            }
            // The unfinished tables take space, and the drive may be full.
            self.discard(place).await;
        }
        Err(last)
    }

    fn fresh_place(&mut self, node: NodeId) -> StatePlace {
        self.number_max += 1;
        StatePlace { node, number: self.number_max }
    }

    /// Returns the drives that the tables may be built on, best first. The drive that they were on is the last resort;
    /// of the others, those with a live copy of the log come first.
    fn candidates(&self) -> Vec<NodeId> {
        let drives = self.shared.drives();
        let present = drives.by_node.iter().filter(|(_, drive)| drive.role != DriveRole::Lost);
        let mut nodes: Vec<(bool, bool, NodeId)> =
            present.map(|(node, drive)| (*node == self.place.node, drive.role != DriveRole::Live, *node)).collect();
        nodes.sort();
        nodes.into_iter().map(|(_, _, node)| node).collect()
    }

    async fn build_on(&mut self, place: StatePlace) -> io::Result<()> {
        let through = self.applied.at;
        let snapshot = self.snapshots.current().await?;
        let (tables, mut applied) = self.fresh_tables(&place, snapshot).await?;
        let mut history = History::new(&applied);
        let mut next = applied.at.map_or(0, |at| at.index + 1);
        let end = through.map_or(0, |at| at.index + 1);
        while next < end {
            let to = self.shared.index().run_end(next, end, APPLY_BYTES_MAX as u64);
            let entries = read_entries(&self.shared, next, to).await?;
            if entries.first().map(|entry| entry.at.index) != Some(next) {
                return Err(io::Error::other(format!("entry {next} is in neither the snapshot nor the log")));
            }
            let count = entries.len() as u64;
            next += count;
            self.note_durable(&entries);
            let (tables, before) = (tables.clone(), self.at(&applied));
            let done = self.shared.offload.run(move || apply(&tables, before, &entries)).await?;
            let done = done.map_err(|error| match error {
                ApplyError::Tables { error, of_store: true } => io::Error::other(error),
                ApplyError::Tables { error, of_store: false } => {
                    io::Error::new(io::ErrorKind::InvalidData, inapplicable(next - count, &error))
                }
                ApplyError::Entry(why) => io::Error::new(io::ErrorKind::InvalidData, why),
            })?;
            done.points.into_iter().for_each(|point| history.push(point));
            applied = done.applied;
        }
        self.take(place, tables, applied, history).await;
        Ok(())
    }

    async fn take(&mut self, place: StatePlace, tables: MetaTables, applied: AppliedAt, history: History) {
        *self.shared.history() = history;
        self.shared.note_group(&applied);
        let old = std::mem::replace(&mut self.place, place);
        self.tables = tables;
        self.applied = applied;
        self.discard(old).await;
    }

    /// Removes tables that are no longer used. A failure is only logged.
    async fn discard(&self, place: StatePlace) {
        if self.is_lost(place.node) {
            return;
        }
        let Some(drive) = self.shared.drives().by_node.get(&place.node).cloned() else { return };
        let (home, node) = (Arc::clone(&self.home), place.node);
        let discard = move || home.discard(place.node, &drive.state_dir(), place.number).map_err(io::Error::other);
        let discarded = self.shared.unless_lost(&[node], self.shared.offload.run(discard)).await;
        if let Err(error) = discarded.unwrap_or_else(|lost| Ok(Err(lost.into()))).and_then(|done| done) {
            tracing::warn!(%node, %error, "former metadata tables cannot be removed");
        }
    }

    fn is_lost(&self, node: NodeId) -> bool {
        self.shared.drives().is_lost(node)
    }

    /// Installs a snapshot into new tables. Tries until it succeeds, as drives may be full. Fails only if the snapshot
    /// cannot be used, or no drive is left that has it or that can take the tables.
    async fn install(&mut self, snapshot: &SnapshotFile) -> io::Result<()> {
        self.shared.publish(None);
        while let Err(error) = self.install_once(snapshot).await {
            let is_there = snapshot.sources.iter().any(|(node, _, _)| !self.is_lost(*node));
            if !is_there || error.kind() == io::ErrorKind::InvalidData || self.candidates().is_empty() {
                return Err(error);
            }
            self.shared.set_trouble(format!("a metadata snapshot cannot be installed: {error}"));
            tokio::time::sleep(REBUILD_PAUSE).await;
        }
        self.shared.publish(Some(self.tables.clone()));
        Ok(())
    }

    async fn install_once(&mut self, snapshot: &SnapshotFile) -> io::Result<()> {
        let other = self.candidates().first().copied().filter(|_| self.is_lost(self.place.node));
        let place = self.fresh_place(other.unwrap_or(self.place.node));
        let fresh = self.shared.unless_lost(&[place.node], self.fresh_tables(&place, Some(snapshot.clone()))).await;
        match fresh.unwrap_or_else(|lost| Err(lost.into())) {
            Ok((tables, applied)) => {
                let history = History::new(&applied);
                self.take(place, tables, applied, history).await;
                Ok(())
            }
            Err(error) => {
                self.discard(place).await;
                Err(error)
            }
        }
    }

    /// Writes a snapshot of the present tables to this host's drives. Tries until it succeeds, as drives may be full.
    async fn save(&self) -> io::Result<()> {
        loop {
            let (applied, _, view) = self.snapshot_source();
            match self.snapshots.save(applied, view, WithoutRoom::Leave).await {
                Ok(()) => return Ok(()),
                Err(SaveError::Drives(error)) if !self.candidates().is_empty() => {
                    tracing::warn!(%error, "an installed metadata snapshot cannot be written to the drives; it is tried again");
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(REBUILD_PAUSE).await;
        }
    }

    async fn fresh_tables(
        &self,
        place: &StatePlace,
        snapshot: Option<SnapshotFile>,
    ) -> io::Result<(MetaTables, AppliedAt)> {
        let drive = self.shared.drives().by_node.get(&place.node).cloned();
        let drive = drive.ok_or_else(|| io::Error::other(no_longer_here(place.node)))?;
        let (home, place) = (Arc::clone(&self.home), place.clone());
        let fresh = move || {
            // If the drive is not mounted, nothing must be created in its place.
            let file = drive.mirror_file();
            if !drive.disk.exists(&file)? {
                let why = format!("drive {} is not mounted: {} is missing", place.node, file.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, why));
            }
            fresh_kv(&*home, &drive.state_dir(), &place).map_err(io::Error::other)
        };
        let (kv, applied) = match snapshot {
            Some(file) => {
                let applied = file.head.clone();
                (self.snapshots.install(file, fresh).await?, applied)
            }
            None => (self.shared.offload.run(fresh).await??, AppliedAt::default()),
        };
        Ok((MetaTables::open(kv).map_err(io::Error::other)?, applied))
    }
}

/// Creates empty tables at this place, and removes former ones there.
fn fresh_kv(home: &dyn StateHome, dir: &std::path::Path, place: &StatePlace) -> KvResult<Arc<dyn Kv>> {
    if home.list(place.node, dir)?.contains(&place.number) {
        home.discard(place.node, dir, place.number)?;
    }
    home.open(place.node, dir, place.number)
}

fn is_damaged_snapshot(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<SnapshotDamaged>())
}

/// Returns whether tables cannot be rebuilt because the snapshot, or an entry of the log, is damaged on every drive.
fn is_damaged_source(error: &io::Error) -> bool {
    is_damaged_snapshot(error) || is_damaged_entry(error)
}

fn payload_bytes(entry: &LogEntry) -> usize {
    match &entry.payload {
        Payload::Commands(bytes) => bytes.len(),
        Payload::Blank | Payload::Members(_) => 0,
    }
}

fn respond(responders: Vec<Option<ApplyResponder<MetaGroup>>>, replies: Vec<Vec<Reply>>) {
    for (responder, replies) in responders.into_iter().zip(replies) {
        if let Some(responder) = responder {
            responder.send(Replies(replies));
        }
    }
}

impl RaftStateMachine<MetaGroup> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied.at.map(log_id_of), stored_membership(&self.applied)?))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<MetaGroup>, io::Error>> + Unpin + OptionalSend,
    {
        let (mut batch, mut responders, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(item) = entries.next().await {
            let (entry, responder): (Entry, _) = item?;
            let entry = log_entry_of(entry);
            bytes += payload_bytes(&entry);
            batch.push(entry);
            responders.push(responder);
            if bytes >= APPLY_BYTES_MAX {
                let replies = self.apply_batch(std::mem::take(&mut batch)).await?;
                respond(std::mem::take(&mut responders), replies);
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            let replies = self.apply_batch(batch).await?;
            respond(responders, replies);
        }
        Ok(())
    }

    /// Returns a builder if forced, or if there is a snapshot. Otherwise snapshots are not made by openraft but by
    /// `make_snapshot`, so that a failure stops nothing; then openraft is only given the current one.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        if !force && self.snapshots.standing().is_none() {
            return None;
        }
        Some(self.builder(force))
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.builder(true)
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<MetaGroup>,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        if snapshot.head.at.map(log_id_of) != meta.last_log_id {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot is not the one that was announced"));
        }
        check_snapshot(&self.shared, &self.applied, &snapshot.head)?;
        // The snapshot may name other voters.
        self.shared.sole_voter.note_members();
        self.install(&snapshot).await?;
        if self.snapshots.standing().map(|standing| standing.at) != meta.last_log_id {
            // The snapshot came from the leader: this host's drives must hold it before the log below it is dropped.
            self.save().await?;
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<MetaGroup, SnapshotFile>>, io::Error> {
        let (applied, _, view) = self.snapshot_source();
        let Some(snapshot) = self.snapshots.current_or_anew(applied, view).await? else { return Ok(None) };
        Ok(Some(Snapshot { meta: snapshot.meta()?, snapshot }))
    }
}

/// Gives openraft the current snapshot; with `anew`, makes one of the present tables first.
#[derive(Debug)]
pub struct SnapshotBuilder {
    snapshots: SnapshotStore,
    anew: bool,
    applied: AppliedAt,
    view: Arc<dyn KvRead>,
}

impl RaftSnapshotBuilder<MetaGroup> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<MetaGroup, SnapshotFile>, io::Error> {
        let Some(at) = self.applied.at else {
            let snapshot = SnapshotFile { head: self.applied.clone(), sources: Vec::new() };
            return Ok(Snapshot { meta: snapshot.meta()?, snapshot });
        };
        if self.anew && self.snapshots.standing().map(|standing| standing.at) != Some(log_id_of(at)) {
            self.snapshots.save(self.applied.clone(), Arc::clone(&self.view), WithoutRoom::Leave).await?;
        }
        let current = self.snapshots.current_or_anew(self.applied.clone(), Arc::clone(&self.view)).await?;
        let snapshot = current.ok_or_else(|| io::Error::other("there is no snapshot"))?;
        Ok(Snapshot { meta: snapshot.meta()?, snapshot })
    }
}

/// Returns whether this log contains the position of tables, so that the entries that they lack can be applied from it.
pub fn lies_on_log(index: &crate::storage::raft_log::LogIndex, at: Option<Position>) -> bool {
    match at {
        None => index.first_index() == 0,
        Some(at) => index.position_of(at.index) == Some(at),
    }
}
