//! openraft's state machine, over the metadata tables. Entries are applied in batches, each one commit of the tables with
//! the position in it. The tables are derived: where they fail or their drive goes, they are rebuilt on another drive from
//! the snapshot and the log, and the entry in hand is applied there.

use super::digest::start_digest;
use super::home::StateHome;
use super::snapshots::{SaveError, SnapshotFile, SnapshotStore, stored_membership};
use crate::actors::consensus::contradiction::check_snapshot;
use crate::actors::consensus::mirror::read_entries;
use crate::actors::consensus::raft_types::{
    Entry, LogId, MetaGroup, Replies, StoredMembership, log_entry_of, log_id_of,
};
use crate::actors::consensus::shared::{DriveRole, Shared};
use crate::storage::kv::{Kv, KvError, KvRead, KvResult};
use crate::storage::meta::codec::decode_entry;
use crate::storage::meta::command::{Change, Reply};
use crate::storage::meta::{ApplyEntry, MetaTables};
use crate::storage::raft_log::{AppliedAt, DurableAt, History, LogEntry, Payload, Point, Position, TablesAt};
use crate::storage::wal::Durability;
use crate::types::NodeId;
use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{OptionalSend, RaftSnapshotBuilder, Snapshot};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Commands applied in one commit, in bytes of the log, about.
const APPLY_BYTES_MAX: usize = 4 << 20;
/// The pause before the tables are rebuilt again.
const REBUILD_PAUSE: Duration = Duration::from_secs(1);

/// The place of the tables.
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
    /// The greatest number that was given to tables.
    number_max: u32,
    tables: MetaTables,
    applied: AppliedAt,
    /// The last entry that this host's log was known to hold for good when it was applied.
    durable: Option<DurableAt>,
}

/// The reason for which a batch was not applied.
enum ApplyError {
    /// The tables failed: they are rebuilt.
    Tables(KvError),
    /// The entry is not what this program can apply: going on would make this replica differ from the others.
    Entry(String),
}

impl StateMachine {
    pub fn new(
        shared: Arc<Shared>,
        snapshots: SnapshotStore,
        home: Arc<dyn StateHome>,
        place: StatePlace,
        tables: MetaTables,
        TablesAt { applied, durable }: TablesAt,
    ) -> Self {
        *shared.history() = History::new(&applied);
        shared.publish(Some(tables.clone()));
        let number_max = place.number;
        let durable = durable.filter(|durable| durable.host == shared.host);
        Self { shared, snapshots, home, place, number_max, tables, applied, durable }
    }

    /// Looks how much of these entries, which are about to be applied, the log holds for good.
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

    /// The drive that the tables are on.
    pub fn node(&self) -> NodeId {
        self.place.node
    }

    /// Returns the inputs of a snapshot of this moment.
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

    /// Rebuilds tables that cannot be trusted, unless others have come in their place since.
    pub async fn renew(&mut self, tables: &Arc<dyn Kv>, why: &str) {
        if !Arc::ptr_eq(self.tables.kv(), tables) {
            return;
        }
        if let Err(error) = self.rebuild(why).await {
            self.shared.set_fault(format!("the metadata tables cannot be rebuilt: {error}"));
        }
    }

    /// As `renew`, if something in the present tables could not be read.
    pub async fn renew_damaged(&mut self) {
        if let Some(error) = self.tables.failure().get().cloned() {
            let tables = Arc::clone(self.tables.kv());
            self.renew(&tables, &error.to_string()).await;
        }
    }

    async fn apply_batch(&mut self, entries: Vec<LogEntry>) -> io::Result<Vec<Vec<Reply>>> {
        loop {
            self.note_durable(&entries);
            let (tables, before, batch) = (self.tables.clone(), self.at(&self.applied), entries.clone());
            let applying = self.shared.offload.run(move || apply(&tables, before, &batch));
            let done = self.shared.unless_lost(&[self.place.node], applying).await;
            match done.unwrap_or_else(|lost| Ok(Err(ApplyError::Tables(lost.into()))))? {
                Ok(Done { applied, points, replies, digest_of }) => {
                    let mut history = self.shared.history();
                    points.into_iter().for_each(|point| history.push(point));
                    self.applied = applied;
                    if let Some((point, view)) = digest_of {
                        start_digest(&self.shared, point, view);
                    }
                    return Ok(replies);
                }
                Err(ApplyError::Entry(why)) => {
                    self.shared.set_fault(why.clone());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                Err(ApplyError::Tables(error)) => self.rebuild(&error.to_string()).await?,
            }
        }
    }

    /// Makes the tables anew, as they were, wherever that can be done, as soon as it can: drives may be full. Readers wait
    /// meanwhile, and the lead goes elsewhere. Fails only where no drive is left.
    async fn rebuild(&mut self, why: &str) -> io::Result<()> {
        tracing::warn!(node = %self.place.node, %why, "the metadata tables are rebuilt");
        self.shared.publish(None);
        loop {
            let error = match self.rebuild_once().await {
                Ok(()) => return Ok(()),
                Err(error) if self.candidates().is_empty() => return Err(error),
                Err(error) => error,
            };
            self.shared.set_trouble(format!("the metadata tables cannot be rebuilt: {error}"));
            tokio::time::sleep(REBUILD_PAUSE).await;
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
            // What was built of them takes room that a full drive lacks.
            self.discard(place).await;
        }
        Err(last)
    }

    fn fresh_place(&mut self, node: NodeId) -> StatePlace {
        self.number_max += 1;
        StatePlace { node, number: self.number_max }
    }

    /// Drives for the tables, best first: not the one that they were on, if it can be helped.
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
            next += entries.len() as u64;
            self.note_durable(&entries);
            let (tables, before) = (tables.clone(), self.at(&applied));
            let done = self.shared.offload.run(move || apply(&tables, before, &entries)).await?;
            let done = done.map_err(|error| match error {
                ApplyError::Tables(error) => io::Error::other(error),
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
        let old = std::mem::replace(&mut self.place, place);
        self.tables = tables;
        self.applied = applied;
        self.discard(old).await;
    }

    /// Removes tables that are of no more use, as far as that can be done.
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

    /// Installs a snapshot into new tables, as `rebuild`: waits for space on a full drive.
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

    /// Puts a snapshot of the present on this host's drives. A drive that is full is waited for.
    async fn save(&self) -> io::Result<()> {
        loop {
            let (applied, _, view) = self.snapshot_source();
            match self.snapshots.save(applied, view).await {
                Ok(()) => return Ok(()),
                Err(SaveError::Drives(error)) if !self.candidates().is_empty() => {
                    tracing::warn!(%error, "a metadata snapshot that was installed cannot be saved");
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
        let drive = drive.ok_or_else(|| io::Error::other("the drive is gone"))?;
        let (home, place) = (Arc::clone(&self.home), place.clone());
        let fresh = move || {
            // Where its directory is gone, nothing is to be made in its place.
            if !drive.disk.exists(&drive.mirror_file())? {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the drive is gone"));
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

/// Tables with nothing in them: whatever stood there under this number is removed.
fn fresh_kv(home: &dyn StateHome, dir: &std::path::Path, place: &StatePlace) -> KvResult<Arc<dyn Kv>> {
    if home.list(place.node, dir).contains(&place.number) {
        home.discard(place.node, dir, place.number)?;
    }
    home.open(place.node, dir, place.number)
}

/// Entries that were applied in one commit.
struct Done {
    applied: AppliedAt,
    /// The points, one for each entry.
    points: Vec<Point>,
    replies: Vec<Vec<Reply>>,
    /// The last entry that asked for a digest of the tables, and the tables after it.
    digest_of: Option<(Point, Arc<dyn KvRead>)>,
}

/// Applies the entries in one commit, or in several where a digest is asked for: it is of the tables after that entry.
/// Blocking.
fn apply(tables: &MetaTables, mut at: TablesAt, entries: &[LogEntry]) -> Result<Done, ApplyError> {
    let (mut batch, mut points) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
    let (mut replies, mut digest_of) = (Vec::with_capacity(entries.len()), None);
    for entry in entries {
        let commands = match &entry.payload {
            Payload::Commands(bytes) => {
                decode_entry(bytes).map_err(|error| ApplyError::Entry(format!("entry {}: {error}", entry.at.index)))?
            }
            Payload::Blank | Payload::Members(_) => Vec::new(),
        };
        at.applied.follow(entry).map_err(|error| ApplyError::Entry(error.to_string()))?;
        points.extend(at.applied.point());
        let wants_digest = commands.iter().any(|command| command.change == Change::ComputeDigest);
        batch.push(ApplyEntry { index: entry.at.index, commands });
        if wants_digest {
            let applied = tables.apply(std::mem::take(&mut batch), at.encode().into());
            replies.append(&mut applied.map_err(ApplyError::Tables)?);
            digest_of = at.applied.point().map(|point| (point, tables.kv().snapshot()));
        }
    }
    if !batch.is_empty() {
        replies.append(&mut tables.apply(batch, at.encode().into()).map_err(ApplyError::Tables)?);
    }
    Ok(Done { applied: at.applied, points, replies, digest_of })
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

    /// Returns a builder if forced, or if there is a snapshot. Snapshots are made apart, when the log has grown enough, so that a failure of
    /// one stops nothing; openraft then only learns of the current one.
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
        // It may name other voters.
        self.shared.sole_voter.note_members();
        self.install(&snapshot).await?;
        if self.snapshots.standing().map(|standing| standing.at) != meta.last_log_id {
            // It came from elsewhere: it must be on this host's drives before the log begins after it.
            self.save().await?;
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<MetaGroup, SnapshotFile>>, io::Error> {
        let Some(snapshot) = self.snapshots.current().await? else { return Ok(None) };
        Ok(Some(Snapshot { meta: snapshot.meta()?, snapshot }))
    }
}

/// Gives openraft the snapshot that stands, or, where it asked for one of the present, makes that.
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
            self.snapshots.save(self.applied.clone(), Arc::clone(&self.view)).await?;
        }
        let snapshot = self.snapshots.current().await?.ok_or_else(|| io::Error::other("there is no snapshot"))?;
        Ok(Snapshot { meta: snapshot.meta()?, snapshot })
    }
}

/// Returns whether tables at this position are on this log, so that the entries they lack can be replayed.
pub fn lies_on_log(index: &crate::storage::raft_log::LogIndex, at: Option<Position>) -> bool {
    match at {
        None => index.first_index() == 0,
        Some(at) => index.position_of(at.index) == Some(at),
    }
}

#[cfg(test)]
mod tests {
    use super::apply;
    use crate::storage::kv::memory::MemoryKv;
    use crate::storage::meta::codec::{encode_command, encode_entry};
    use crate::storage::meta::command::{Change, Command, CreateBucket};
    use crate::storage::meta::snapshot::TablesHasher;
    use crate::storage::meta::tables::TABLES;
    use crate::storage::meta::{MetaTables, samples};
    use crate::storage::raft_log::{LogEntry, Payload, Position, TablesAt};
    use crate::types::UnixMs;
    use std::sync::Arc;

    fn bucket(name: &str) -> Change {
        Change::CreateBucket(Box::new(CreateBucket { name: name.to_owned(), ..samples::create_bucket() }))
    }

    fn entries(changes: &[Change]) -> Vec<LogEntry> {
        let command = |change: &Change| encode_command(&Command::new(UnixMs(7), change.clone()));
        let entry = |(index, change)| LogEntry {
            at: Position { term: 1, node: 1, index },
            payload: Payload::Commands(encode_entry(&[command(change)])),
        };
        (0..).zip(changes).map(entry).collect()
    }

    #[test]
    fn a_digest_is_of_the_tables_after_the_entry_that_asks_for_it() {
        let all = entries(&[bucket("before"), Change::ComputeDigest, bucket("after")]);
        let digest_of = |entries: &[LogEntry], replies: usize| {
            let tables = MetaTables::open(Arc::new(MemoryKv::new(TABLES))).expect("empty tables");
            let done = apply(&tables, TablesAt::default(), entries).unwrap_or_else(|_| panic!("applied"));
            assert_eq!((done.replies.len(), done.points.len()), (replies, replies));
            let (point, view) = done.digest_of.expect("one was asked for");
            assert_eq!(point, done.points[1]);
            TablesHasher::new(view).advance(usize::MAX).expect("readable").expect("at once")
        };
        assert_eq!(digest_of(&all, 3), digest_of(&all[..2], 2));
        let other = entries(&[bucket("other"), Change::ComputeDigest]);
        assert_ne!(digest_of(&all, 3), digest_of(&other, 2));
    }
}
