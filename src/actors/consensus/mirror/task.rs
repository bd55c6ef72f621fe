//! The mirror task: hands each operation on the log to every live copy, and answers it when all copies of the set in
//! force hold it. A failed copy is taken out of the set, and another drive is filled in its place. `MirrorProgress`
//! decides, this task performs. To a drive that left, every later set is written, however long that takes, so that its
//! outdated copy is not selected at a later start. A drive that was only late or full is filled anew after a pause.
//!
//! Receives `ToMirror`, in the order of the operations' sequence numbers. Invariant: an operation is answered only if
//! the set that is written on every live drive names only copies that hold the operation. A copy that does not answer
//! is given up only if another copy holds all that was answered; the last such copy is waited for. Refuses everything
//! once no copy is left.

use super::away::MissingDirs;
use super::away::{AbsenceNumber, AwayDrives};
use super::files::{FileFault, MirrorFiles, bounded};
use super::fill::{Fill, Filled, fill};
use super::leaving::LeavingDrives;
use crate::actors::consensus::shared::{Absence, Drive, DriveRole, ReplicaDrive, Shared};
use crate::actors::consensus::state::SnapshotStore;
use crate::actors::consensus::to_mirror::{Done, ToMirror, all_lost, answer};
use crate::actors::log::LogHandle;
use crate::limits::PROPOSAL_WAIT_MAX;
use crate::metrics::MIRROR_COPIES;
use crate::storage::raft_log::{Effect, EntryPlace, Event, LogRecord, MirrorProgress, MirrorSet};
use crate::storage::wal::progress::Ack;
use crate::storage::wal::{Location, NewRecord, WalError};
use crate::types::NodeId;
use futures::future::{BoxFuture, FutureExt, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The time that a copy may take for an operation, or a drive for its mirror file, before it is given up if it can be
/// spared.
const COPY_PATIENCE: Duration = Duration::from_secs(4);
/// The pause before a drive whose filling failed is tried again.
const FILL_PAUSE: Duration = Duration::from_secs(10);
/// The pause before a set is written again to a drive that left and did not take it.
const TELL_PAUSE: Duration = Duration::from_secs(10);
/// The pause before a set is written again to the last copy's drive.
const SET_PAUSE: Duration = Duration::from_secs(1);
/// The maximum of entries that are handed to a filled copy at once when it joins the mirror.
const JOIN_ENTRIES_MAX: u64 = 256;
const JOIN_BYTES_MAX: u64 = 4 << 20;

const _: () = assert!(COPY_PATIENCE.as_millis() + 1000 < PROPOSAL_WAIT_MAX.as_millis());

/// The append of an operation to one copy.
pub(super) struct Writing {
    node: NodeId,
    sequence: u64,
    indexes: Arc<Vec<Option<u64>>>,
    append: BoxFuture<'static, Result<Vec<Location>, WalError>>,
}

pub(super) enum Step {
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
        failed: Vec<FileFault>,
        /// The drives to which the set is still to be written as the set in force. Empty if no member failed to take
        /// it.
        left: Vec<(NodeId, Drive)>,
    },
    Filled {
        node: NodeId,
        result: Result<Filled, String>,
    },
    FillPauseOver,
    Released,
    /// A drive's former copy is closed.
    Closed {
        node: NodeId,
        temporary: Option<AbsenceNumber>,
    },
    /// The pause after a late drive's former copy was closed is over.
    Rested {
        node: NodeId,
        number: AbsenceNumber,
    },
    /// The write of the mirror set to a drive that left the mirror is over. `generation` is the set's; `None` if it
    /// failed, after `TELL_PAUSE`.
    Told {
        node: NodeId,
        number: AbsenceNumber,
        generation: Option<u64>,
    },
}

pub struct Mirror {
    pub(super) shared: Arc<Shared>,
    snapshots: SnapshotStore,
    inbox: mpsc::UnboundedReceiver<ToMirror>,
    progress: MirrorProgress,
    waiting: BTreeMap<u64, Done>,
    pub(super) running: FuturesUnordered<BoxFuture<'static, Step>>,
    closing: Option<oneshot::Sender<()>>,
    lost: bool,
    pub(super) files: MirrorFiles,
    pub(super) away: AwayDrives,
    pub(super) leaving: LeavingDrives,
    /// Drives with an unfinished fill, whatever their role is by now.
    pub(super) fills: BTreeSet<NodeId>,
    /// Drives whose former copy is not closed yet.
    pub(super) retiring: BTreeSet<NodeId>,
    /// Drives that the host has brought back, and that are taken back once their former copy is closed.
    pub(super) back: BTreeMap<NodeId, ReplicaDrive>,
    /// True while a set is being written. No drive returns meanwhile, as it would not have that set.
    pub(super) deciding: bool,
}

impl Mirror {
    pub fn new(
        shared: Arc<Shared>,
        snapshots: SnapshotStore,
        inbox: mpsc::UnboundedReceiver<ToMirror>,
        progress: MirrorProgress,
    ) -> Self {
        let files = MirrorFiles::new(shared.offload);
        Self {
            shared,
            snapshots,
            inbox,
            progress,
            waiting: BTreeMap::new(),
            running: FuturesUnordered::new(),
            closing: None,
            lost: false,
            files,
            away: AwayDrives::default(),
            leaving: LeavingDrives::default(),
            fills: BTreeSet::new(),
            retiring: BTreeSet::new(),
            back: BTreeMap::new(),
            deciding: false,
        }
    }

    pub async fn run(mut self) {
        self.tell_those_lost_at_start();
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
            ToMirror::Write { sequence, indexes, records, ack, done } => {
                self.write(sequence, indexes, records, ack, done);
            }
            ToMirror::DriveLost(node) => {
                self.lose(node, "the drive was taken out of service", Absence::Permanent);
                // The host reports the drive itself as lost, or as removed.
                self.shared.forget_failed_copy(node);
            }
            ToMirror::DriveRefuses { node, absence, left } => {
                let is_spared = !self.progress.is_live(node) || self.progress.can_spare(node);
                if is_spared {
                    self.fail(node, "it does not take the metadata snapshot", absence);
                }
                let _ = left.send(is_spared);
            }
            ToMirror::DriveLeaves(node) => {
                self.leaving.add(node);
                self.refill();
                self.let_go();
            }
            ToMirror::DriveBack(drive) => self.take_back(*drive),
            ToMirror::WantCopies(copies) => {
                self.shared.want_copies(copies);
                self.refill();
            }
            ToMirror::Close(done) => self.closing = Some(done),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Written { node, sequence, indexes, result } => self.note_written(node, sequence, &indexes, result),
            Step::Late(writing) => self.note_late(writing),
            Step::SetWritten { set, failed, left } => self.note_set_written(set, failed, left),
            Step::Filled { node, result } => self.note_filled(node, result),
            Step::FillPauseOver => self.refill(),
            Step::Released => {}
            Step::Closed { node, temporary } => self.note_closed(node, temporary),
            Step::Rested { node, number } => {
                self.away.note_rested(node, number);
                self.bring_back(node);
            }
            Step::Told { node, number, generation } => {
                self.away.note_told(node, number, generation);
                self.tell(node);
                self.bring_back(node);
            }
        }
        self.let_go();
    }

    /// Takes a leaving drive out of the mirror once its copy can be spared.
    fn let_go(&mut self) {
        let may_go = self.leaving.may_go(&self.shared.drives(), self.shared.copies_wanted());
        if let Some(node) = may_go
            && (!self.progress.is_live(node) || self.progress.can_spare(node))
        {
            self.lose(node, "it is taken out of the host", Absence::Permanent);
        }
    }

    fn write(&mut self, sequence: u64, indexes: Vec<Option<u64>>, records: Vec<NewRecord>, ack: Ack, done: Done) {
        if self.lost {
            return answer(done, Err(all_lost()));
        }
        self.waiting.insert(sequence, done);
        let indexes = Arc::new(indexes);
        for (node, log) in self.live_logs() {
            if !self.progress.was_handed(node, sequence) {
                self.hand(node, &log, sequence, Arc::clone(&indexes), records.clone(), ack);
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
        ack: Ack,
    ) {
        self.watch(Writing { node, sequence, indexes, append: log.submit_unbounded(records, ack).boxed() });
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
            Err(error) => self.fail(node, &error.to_string(), Absence::of(&error)),
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

    /// Gives up a late copy if it can be spared. Otherwise waits for it without end; proposals time out meanwhile.
    fn note_late(&mut self, writing: Writing) {
        if !self.progress.is_live(writing.node) {
            return;
        }
        if self.progress.can_spare(writing.node) {
            self.fail(writing.node, "it does not answer", Absence::Temporary);
        } else {
            self.watch(writing);
        }
    }

    /// Takes a failed drive out of the mirror, and reports it.
    fn fail(&mut self, node: NodeId, why: &str, absence: Absence) {
        if !self.shared.drives().is_lost(node) {
            self.shared.note_failed_copy(node, why);
        }
        self.lose(node, why, absence);
    }

    /// Takes a drive out of the mirror, until it returns by itself or the host brings it back.
    fn lose(&mut self, node: NodeId, why: &str, absence: Absence) {
        let (was, log) = match self.shared.drives().by_node.get(&node) {
            Some(drive) => (drive.role, drive.log.clone()),
            None => return,
        };
        if was == DriveRole::Lost {
            if absence == Absence::Permanent {
                self.away.stay_away(node);
            }
            return;
        }
        tracing::warn!(%node, %why, "a drive leaves the mirror of the metadata log");
        self.shared.drives().set_role(node, DriveRole::Lost);
        self.shared.index().forget_copy(node);
        self.away.leave(node, absence, MissingDirs::Refuse);
        if self.progress.is_live(node) {
            self.decide(Event::Failed { node });
        }
        // If a fill is under way, its copy is closed when the fill ends.
        if !self.fills.contains(&node) {
            self.retire(node, log);
        }
        self.tell(node);
        self.refill();
    }

    fn tell_those_lost_at_start(&mut self) {
        let lost = std::mem::take(&mut self.shared.drives().lost_at_start);
        for (node, (absence, log)) in lost {
            self.away.leave(node, absence, MissingDirs::Refuse);
            self.retire(node, log);
            self.tell(node);
        }
    }

    /// Writes the present set to a drive that left, unless the drive has it; nothing waits for that. Does nothing once
    /// no copy is left: a set of which all members failed must not keep a start from using the copies on other drives.
    pub(super) fn tell(&mut self, node: NodeId) {
        if self.lost {
            return;
        }
        let (set, drive) = {
            let drives = self.shared.drives();
            let Some(drive) = drives.by_node.get(&node) else { return };
            (drives.set.clone(), drive.clone())
        };
        let Some((number, missing_dirs)) = self.away.begin_telling(node, &set) else { return };
        let write = self.files.write(node, &drive, &set, missing_dirs);
        let step = async move {
            let generation = match write.await {
                Ok(()) => Some(set.generation),
                Err(error) => {
                    tracing::debug!(%node, %error, "the mirror file cannot be written to a drive that left the mirror");
                    tokio::time::sleep(TELL_PAUSE).await;
                    None
                }
            };
            Step::Told { node, number, generation }
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
        self.shared.set_fault(all_lost().to_string());
        for done in std::mem::take(&mut self.waiting).into_values() {
            answer(done, Err(all_lost()));
        }
    }

    /// Hands the segments that are not needed any more to their logs, all at once and oldest first. From then on the
    /// log retires them in that order: if one fails, it and those behind it stay, and are tried again at a later purge.
    fn release(&mut self) {
        for (node, log) in self.live_logs() {
            let segments = self.shared.index().take_releasable(node);
            let releases: Vec<_> =
                segments.into_iter().map(|segment| (segment, log.release_segment(segment))).collect();
            let step = async move {
                for (segment, release) in releases {
                    if let Err(error) = release.await {
                        tracing::warn!(%node, ?segment, %error, "a segment of the metadata log cannot be released yet");
                        break;
                    }
                }
                Step::Released
            };
            self.running.push(step.boxed());
        }
    }

    /// Begins to write the set to every drive that is not lost.
    fn write_set(&mut self, set: MirrorSet) {
        self.deciding = true;
        let present = {
            let drives = self.shared.drives();
            let present = drives.by_node.iter().filter(|(_, drive)| drive.role != DriveRole::Lost);
            present.map(|(node, drive)| (*node, drive.clone())).collect()
        };
        self.write_set_to(set, present, None);
    }

    /// Writes a set to its members, and then to all drives as the set in force. So every set that any drive has is on
    /// all members of that set.
    fn write_set_to(&mut self, set: MirrorSet, drives: Vec<(NodeId, Drive)>, pause: Option<Duration>) {
        let in_force = set.clone().put_in_force();
        let mut write = |(node, drive): &(NodeId, Drive), set: &MirrorSet| {
            bounded(*node, COPY_PATIENCE, self.files.write(*node, drive, set, MissingDirs::Refuse))
        };
        let is_member = |(node, _): &&(NodeId, Drive)| set.members.contains(node);
        let to_members: Vec<_> = drives.iter().filter(is_member).map(|drive| write(drive, &set)).collect();
        let to_all: Vec<_> = drives.iter().map(|drive| write(drive, &in_force)).collect();
        let step = async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let mut failed: Vec<FileFault> = join_all(to_members).await.into_iter().flatten().collect();
            let is_with_members = failed.is_empty();
            if is_with_members {
                failed.extend(join_all(to_all).await.into_iter().flatten());
            }
            Step::SetWritten { set, failed, left: if is_with_members { Vec::new() } else { drives } }
        };
        self.running.push(step.boxed());
    }

    /// Handles the end of writing a set. A drive that did not take it leaves the mirror; if the drive was only slow or
    /// full and cannot be spared, the write is tried again.
    fn note_set_written(&mut self, set: MirrorSet, failed: Vec<FileFault>, left: Vec<(NodeId, Drive)>) {
        let mut again = Vec::new();
        for FileFault { node, why, absence } in failed {
            if absence == Absence::Permanent || !self.progress.is_live(node) || self.progress.can_spare(node) {
                self.fail(node, &why, absence);
            } else if let Some(drive) = self.shared.drives().by_node.get(&node) {
                again.push((node, drive.clone()));
            }
        }
        if !again.is_empty() && !self.lost {
            again.extend(left);
            return self.write_set_to(set, again, Some(SET_PAUSE));
        }
        self.deciding = false;
        let is_in_force = left.is_empty() && set.members.iter().all(|node| self.progress.is_live(*node));
        let set = if is_in_force { set.put_in_force() } else { set };
        self.shared.drives().set = set.clone();
        self.decide(Event::SetDurable { generation: set.generation, is_in_force });
        self.away.nodes().into_iter().for_each(|node| self.tell(node));
        self.refill();
    }

    /// Begins to fill an idle drive, if copies are missing and none is being filled.
    pub(super) fn refill(&mut self) {
        let chosen = {
            let mut drives = self.shared.drives();
            let busy = drives.with_role(DriveRole::Filling).next().is_some();
            let enough = self.leaving.has_enough(&drives, self.shared.copies_wanted());
            let is_free = |node: &NodeId| !self.fills.contains(node) && !self.leaving.has(*node);
            let idle = drives.with_role(DriveRole::Idle).map(|(node, _)| node).find(is_free);
            let chosen = idle.filter(|_| !busy && !enough && !self.lost && self.closing.is_none());
            if let Some(node) = chosen {
                drives.set_role(node, DriveRole::Filling);
            }
            chosen
        };
        if let Some(node) = chosen {
            tracing::info!(%node, "filling a drive with a copy of the metadata log");
            self.go_on_filling(node, Fill::new(Arc::clone(&self.shared), self.snapshots.clone(), node));
        }
    }

    fn go_on_filling(&mut self, node: NodeId, state: Fill) {
        self.fills.insert(node);
        self.running.push(async move { Step::Filled { node, result: fill(state).await } }.boxed());
    }

    fn note_filled(&mut self, node: NodeId, result: Result<Filled, String>) {
        self.fills.remove(&node);
        let filling = self.shared.drives().by_node.get(&node).map(|drive| drive.role) == Some(DriveRole::Filling);
        if !filling || self.closing.is_some() {
            self.retire(node, result.ok().map(|filled| filled.log));
            return self.refill();
        }
        match result {
            Ok(filled) => self.join(node, filled),
            Err(why) => {
                self.shared.note_failed_copy(node, &format!("the metadata log cannot be copied to it: {why}"));
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

    /// Lets a filled copy join the mirror: hands it the entries that it lacks, and every operation from here on. If it
    /// lacks too much, another round of filling begins.
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
        self.shared.forget_failed_copy(node);
        let indexes = Arc::new(records.iter().map(LogRecord::index).collect());
        let records = records.iter().map(LogRecord::to_wal).collect();
        self.hand(node, &filled.log, sequence, indexes, records, Ack::Synced);
        self.decide(Event::Joined { node, through: sequence });
    }

    /// Returns the records that a filled copy lacks. `None` if they are too many or not in memory, or if the log was
    /// purged or truncated, or another snapshot was written, since the copy was begun.
    fn rest_for(&self, node: NodeId, filled: &Filled) -> Option<(u64, Vec<LogRecord>)> {
        let index = self.shared.index();
        let next = index.next_index();
        let stands = filled.is_base_current(&index) && self.shared.drives().holds_snapshot(node);
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
}
