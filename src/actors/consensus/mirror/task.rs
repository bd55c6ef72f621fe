//! The mirrored log: a task that hands each operation to every live copy, answers it when the set of copies that counts
//! holds it, takes a failed copy out of the set, and fills another drive in its place. `MirrorProgress` decides; this
//! performs.
//!
//! Receives `ToMirror`, in the order of the operations' sequence numbers. Invariant: nothing is answered unless the set
//! that is written on every live drive names only copies that hold it. Refuses everything once no copy is left.

use super::fill::{Fill, Filled, fill};
use crate::actors::consensus::raft_types::MetaGroup;
use crate::actors::consensus::shared::{DriveRole, Shared};
use crate::actors::consensus::start::{ReplicaDrive, write_mirror_file};
use crate::actors::consensus::state::SnapshotStore;
use crate::actors::log::LogHandle;
use crate::metrics::MIRROR_COPIES;
use crate::storage::disk::replace_file;
use crate::storage::raft_log::{Effect, EntryPlace, Event, LogRecord, MirrorProgress, MirrorSet};
use crate::storage::wal::{Location, NewRecord, WalError};
use crate::types::NodeId;
use futures::future::{BoxFuture, FutureExt, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use openraft::storage::IOFlushed;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long one copy may take for an operation, or a drive for a small file, while others can do without it.
const COPY_PATIENCE: Duration = Duration::from_secs(5);
/// Before a drive whose filling failed is tried again.
const FILL_PAUSE: Duration = Duration::from_secs(10);
/// Entries that may be handed to a filled copy in one go when it joins.
const JOIN_ENTRIES_MAX: u64 = 256;
const JOIN_BYTES_MAX: u64 = 4 << 20;

/// Who is told when an operation may be answered.
pub enum Done {
    Flushed(IOFlushed<MetaGroup>),
    Reply(oneshot::Sender<io::Result<()>>),
    /// Nobody; segments that hold nothing any more are given back then.
    Release,
}

pub enum ToMirror {
    Write {
        sequence: u64,
        indexes: Vec<Option<u64>>,
        records: Vec<NewRecord>,
        done: Done,
    },
    DriveLost(NodeId),
    DriveBack(Box<ReplicaDrive>),
    /// Answered when everything handed in before is answered.
    Close(oneshot::Sender<()>),
}

/// An operation on its way to one copy.
struct Writing {
    node: NodeId,
    sequence: u64,
    indexes: Arc<Vec<Option<u64>>>,
    append: BoxFuture<'static, Result<Vec<Location>, WalError>>,
}

enum Step {
    Written {
        node: NodeId,
        sequence: u64,
        indexes: Arc<Vec<Option<u64>>>,
        result: Result<Vec<Location>, WalError>,
    },
    /// A copy did not answer in time.
    Late(Writing),
    SetWritten {
        set: MirrorSet,
        failed: Vec<(NodeId, String)>,
    },
    Filled {
        node: NodeId,
        result: Result<Filled, String>,
    },
    FillPauseOver,
    Released,
}

pub struct Mirror {
    shared: Arc<Shared>,
    snapshots: SnapshotStore,
    inbox: mpsc::UnboundedReceiver<ToMirror>,
    progress: MirrorProgress,
    waiting: BTreeMap<u64, Done>,
    running: FuturesUnordered<BoxFuture<'static, Step>>,
    closing: Option<oneshot::Sender<()>>,
    lost: bool,
}

impl Mirror {
    pub fn new(
        shared: Arc<Shared>,
        snapshots: SnapshotStore,
        inbox: mpsc::UnboundedReceiver<ToMirror>,
        progress: MirrorProgress,
    ) -> Self {
        let running = FuturesUnordered::new();
        Self { shared, snapshots, inbox, progress, waiting: BTreeMap::new(), running, closing: None, lost: false }
    }

    pub async fn run(mut self) {
        self.refill();
        while !self.is_over() {
            tokio::select! {
                biased;
                message = self.inbox.recv() => match message {
                    Some(message) => self.receive(message),
                    None => break,
                },
                Some(step) = self.running.next() => self.step(step),
            }
        }
        if let Some(closing) = self.closing.take() {
            let _ = closing.send(());
        }
    }

    fn is_over(&self) -> bool {
        self.closing.is_some() && (self.waiting.is_empty() || self.lost)
    }

    fn receive(&mut self, message: ToMirror) {
        match message {
            ToMirror::Write { sequence, indexes, records, done } => self.write(sequence, indexes, records, done),
            ToMirror::DriveLost(node) => self.lose(node, "the drive was taken out of service"),
            ToMirror::DriveBack(drive) => self.take_back(*drive),
            ToMirror::Close(done) => self.closing = Some(done),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Written { node, sequence, indexes, result } => self.note_written(node, sequence, &indexes, result),
            Step::Late(writing) => self.note_late(writing),
            Step::SetWritten { set, failed } => {
                for (node, why) in failed {
                    self.lose(node, &why);
                }
                self.shared.drives().set = set.clone();
                self.decide(Event::SetDurable { generation: set.generation });
                self.refill();
            }
            Step::Filled { node, result } => self.note_filled(node, result),
            Step::FillPauseOver => self.refill(),
            Step::Released => {}
        }
    }

    fn write(&mut self, sequence: u64, indexes: Vec<Option<u64>>, records: Vec<NewRecord>, done: Done) {
        if self.lost {
            return answer(done, Err(all_lost()));
        }
        self.waiting.insert(sequence, done);
        let indexes = Arc::new(indexes);
        for (node, log) in self.live_logs() {
            if !self.progress.was_handed(node, sequence) {
                self.hand(node, &log, sequence, Arc::clone(&indexes), records.clone());
            }
        }
        self.decide(Event::Asked { sequence });
    }

    fn live_logs(&self) -> Vec<(NodeId, LogHandle)> {
        let drives = self.shared.drives();
        drives.with_role(DriveRole::Live).filter_map(|(node, drive)| Some((node, drive.log.clone()?))).collect()
    }

    /// Begins an append; appends reach the log in the order of these calls.
    fn hand(
        &mut self,
        node: NodeId,
        log: &LogHandle,
        sequence: u64,
        indexes: Arc<Vec<Option<u64>>>,
        records: Vec<NewRecord>,
    ) {
        self.watch(Writing { node, sequence, indexes, append: log.submit(records).boxed() });
    }

    fn watch(&mut self, mut writing: Writing) {
        let step = async move {
            match tokio::time::timeout(COPY_PATIENCE, &mut writing.append).await {
                Err(_) => Step::Late(writing),
                Ok(result) => {
                    let Writing { node, sequence, indexes, .. } = writing;
                    Step::Written { node, sequence, indexes, result }
                }
            }
        };
        self.running.push(step.boxed());
    }

    fn note_written(
        &mut self,
        node: NodeId,
        sequence: u64,
        indexes: &[Option<u64>],
        result: Result<Vec<Location>, WalError>,
    ) {
        if !self.progress.is_live(node) {
            return;
        }
        match result {
            Err(error) => self.lose(node, &error.to_string()),
            Ok(locations) => {
                let mut index = self.shared.index();
                for (entry, location) in indexes.iter().zip(locations) {
                    index.place(node, sequence, *entry, location);
                }
                drop(index);
                self.decide(Event::Held { node, sequence });
            }
        }
    }

    /// The last copy is waited for without end; its proposals time out meanwhile.
    fn note_late(&mut self, writing: Writing) {
        if self.progress.live().count() > 1 {
            self.lose(writing.node, "its copy of the metadata log does not answer");
        } else {
            self.watch(writing);
        }
    }

    /// A drive takes no further part.
    fn lose(&mut self, node: NodeId, why: &str) {
        let (was, log) = match self.shared.drives().by_node.get(&node) {
            Some(drive) => (drive.role, drive.log.clone()),
            None => return,
        };
        if was == DriveRole::Lost {
            return;
        }
        tracing::warn!(%node, %why, "a drive leaves the mirror of the metadata log");
        self.shared.drives().set_role(node, DriveRole::Lost);
        self.shared.index().forget_copy(node);
        if self.progress.is_live(node) {
            self.decide(Event::Failed { node });
        }
        if let Some(log) = log {
            self.close(log);
        }
        self.refill();
    }

    fn close(&mut self, log: LogHandle) {
        let step = async move {
            let _ = log.close().await;
            Step::Released
        };
        self.running.push(step.boxed());
    }

    fn decide(&mut self, event: Event) {
        for effect in self.progress.on(event) {
            match effect {
                Effect::WriteSet(set) => self.write_set(set),
                Effect::Answer { through } => self.answer_through(through),
                Effect::AllLost => self.lose_all(),
            }
        }
        let live = i64::try_from(self.progress.live().count()).unwrap_or(i64::MAX);
        MIRROR_COPIES.with_label_values(&["live"]).set(live);
    }

    fn answer_through(&mut self, through: u64) {
        self.shared.index().note_durable(through);
        let later = self.waiting.split_off(&(through + 1));
        for done in std::mem::replace(&mut self.waiting, later).into_values() {
            if matches!(done, Done::Release) {
                self.release();
            }
            answer(done, Ok(()));
        }
    }

    fn lose_all(&mut self) {
        self.lost = true;
        self.shared.set_fault("no copy of the metadata log is left on this host".to_owned());
        for done in std::mem::take(&mut self.waiting).into_values() {
            answer(done, Err(all_lost()));
        }
    }

    fn release(&mut self) {
        for (node, log) in self.live_logs() {
            let segments = self.shared.index().take_releasable(node);
            let step = async move {
                for segment in segments {
                    if let Err(error) = log.release_segment(segment).await {
                        tracing::warn!(%node, ?segment, %error, "a segment of the metadata log cannot be released");
                    }
                }
                Step::Released
            };
            self.running.push(step.boxed());
        }
    }

    /// Writes the set to every drive that is not lost, each bounded in time.
    fn write_set(&mut self, set: MirrorSet) {
        let writes: Vec<_> = {
            let drives = self.shared.drives();
            let present = drives.by_node.iter().filter(|(_, drive)| drive.role != DriveRole::Lost);
            present.map(|(node, drive)| (*node, Arc::clone(&drive.disk), drive.mirror_file())).collect()
        };
        let offload = self.shared.offload;
        let step = async move {
            let content = Arc::new(set.encode());
            let writes = writes.into_iter().map(|(node, disk, path)| {
                let content = Arc::clone(&content);
                async move {
                    let write = offload.run(move || replace_file(&*disk, &path, &content));
                    match tokio::time::timeout(COPY_PATIENCE, write).await {
                        Ok(Ok(Ok(()))) => None,
                        Ok(Ok(Err(error)) | Err(error)) => Some((node, format!("write the mirror file: {error}"))),
                        Err(_) => Some((node, "write the mirror file: no answer".to_owned())),
                    }
                }
            });
            let failed = join_all(writes).await.into_iter().flatten().collect();
            Step::SetWritten { set, failed }
        };
        self.running.push(step.boxed());
    }

    /// Fills an idle drive, where copies are missing and none is being filled.
    fn refill(&mut self) {
        let chosen = {
            let mut drives = self.shared.drives();
            let busy = drives.with_role(DriveRole::Filling).next().is_some();
            let enough = drives.live().len() >= self.shared.copies_wanted;
            let idle = drives.with_role(DriveRole::Idle).map(|(node, _)| node).next();
            let chosen = idle.filter(|_| !busy && !enough && !self.lost && self.closing.is_none());
            if let Some(node) = chosen {
                drives.set_role(node, DriveRole::Filling);
            }
            chosen
        };
        if let Some(node) = chosen {
            tracing::info!(%node, "filling a copy of the metadata log");
            self.go_on_filling(node, Fill::new(Arc::clone(&self.shared), self.snapshots.clone(), node));
        }
    }

    fn go_on_filling(&mut self, node: NodeId, state: Fill) {
        self.running.push(async move { Step::Filled { node, result: fill(state).await } }.boxed());
    }

    fn note_filled(&mut self, node: NodeId, result: Result<Filled, String>) {
        let filling = self.shared.drives().by_node.get(&node).map(|drive| drive.role) == Some(DriveRole::Filling);
        if !filling || self.closing.is_some() {
            if let Ok(filled) = result {
                self.close(filled.log);
            }
            return;
        }
        match result {
            Ok(filled) => self.join(node, filled),
            Err(why) => {
                tracing::warn!(%node, %why, "a copy of the metadata log cannot be filled");
                self.shared.drives().set_role(node, DriveRole::Idle);
                self.running.push(
                    async {
                        tokio::time::sleep(FILL_PAUSE).await;
                        Step::FillPauseOver
                    }
                    .boxed(),
                );
            }
        }
    }

    /// Hands a filled copy what came since, and every operation from here on; or lets it be filled further.
    fn join(&mut self, node: NodeId, filled: Filled) {
        let Some((sequence, records)) = self.rest_for(node, &filled) else {
            return self.go_on_filling(node, filled.into_fill());
        };
        {
            let mut drives = self.shared.drives();
            drives.set_role(node, DriveRole::Live);
            if let Some(drive) = drives.by_node.get_mut(&node) {
                drive.log = Some(filled.log.clone());
            }
        }
        {
            let mut index = self.shared.index();
            for (entry, location) in filled.places {
                index.place(node, sequence, entry, location);
            }
        }
        let indexes = Arc::new(records.iter().map(LogRecord::index).collect());
        let records = records.iter().map(LogRecord::to_wal).collect();
        self.hand(node, &filled.log, sequence, indexes, records);
        self.decide(Event::Joined { node, through: sequence });
    }

    /// The records that a filled copy lacks, where they are few and at hand and what it was filled with still stands.
    fn rest_for(&self, node: NodeId, filled: &Filled) -> Option<(u64, Vec<LogRecord>)> {
        let index = self.shared.index();
        let next = index.next_index();
        let stands = filled.base_stands(&index) && self.shared.drives().holds_snapshot(node);
        if !stands || next - filled.next > JOIN_ENTRIES_MAX || index.run_end(filled.next, next, JOIN_BYTES_MAX) < next {
            return None;
        }
        let sequence = index.sequence();
        let committed = index.standing().committed;
        let mut records = vec![index.resume(filled.next.checked_sub(1))];
        for place in index.entries(filled.next, next) {
            let EntryPlace::Here(entry) = place else { return None };
            records.push(LogRecord::Entry { sequence, committed, entry });
        }
        Some((sequence, records))
    }

    fn take_back(&mut self, drive: ReplicaDrive) {
        let node = drive.node;
        {
            let mut drives = self.shared.drives();
            let role = drives.by_node.get(&node).map(|drive| drive.role);
            if !matches!(role, None | Some(DriveRole::Lost)) {
                return;
            }
            drives.by_node.insert(node, drive.into_idle());
        }
        tracing::info!(%node, "a drive is back for the mirror of the metadata log");
        // The drive learns the present generation before it is filled, as every drive of the host must.
        let set = self.shared.drives().set.clone();
        let (disk, path) = {
            let drives = self.shared.drives();
            match drives.by_node.get(&node) {
                Some(drive) => (Arc::clone(&drive.disk), drive.mirror_file()),
                None => return,
            }
        };
        match write_mirror_file(&*disk, &path, &set) {
            Ok(()) => self.refill(),
            Err(error) => self.lose(node, &format!("write the mirror file: {error}")),
        }
    }
}

fn answer(done: Done, result: io::Result<()>) {
    match done {
        Done::Flushed(callback) => callback.io_completed(result),
        Done::Reply(reply) => {
            let _ = reply.send(result);
        }
        Done::Release => {}
    }
}

fn all_lost() -> io::Error {
    io::Error::other("no copy of the metadata log is left on this host")
}
