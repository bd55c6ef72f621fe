//! Selects the copies of the log at start, and brings them to the same end.

use super::merging::MergedCopies;
use super::tables::FoundTables;
use super::{ReplicaOptions, StartError};
use crate::actors::consensus::mirror::{FoundCopy, write_mirror_file};
use crate::actors::consensus::raft_types::raft_id;
use crate::actors::consensus::shared::{
    Absence, CopyOpener, Drive, DriveRole, Drives, ReplicaDrive, Shared, SoleVoter, mirror_file, no_longer_here,
    read_entries,
};
use crate::actors::log::LogHandle;
use crate::storage::disk::{host_lacks_resources, read_file};
use crate::storage::meta::codec::decode_entry;
use crate::storage::raft_log::{
    ChoiceError, CopyFound, DriveFound, LogIndex, LogRecord, MirrorChoice, MirrorSet, Payload, Position, RecoveredCopy,
    choose, current_members,
};
use crate::storage::wal::{RecordKind, ReplayRule, WalError};
use crate::types::{NodeId, SegmentId, UnixMs};
use arc_swap::ArcSwapOption;
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, watch};

/// The maximum bytes of entries cached in memory.
const CACHED_BYTES_MAX: u64 = 16 << 20;
/// The maximum bytes of entries appended at once while a copy catches up.
const CATCH_UP_BYTES_MAX: u64 = 1 << 20;

/// The number of the last entries that are searched for the date of the last change: only entries with commands have
/// one.
const DATED_ENTRIES_MAX: usize = 1000;

/// The log copies selected at start, best first, or the merge of damaged ones.
pub(super) struct SelectedCopies {
    set: MirrorSet,
    copies: Vec<(NodeId, FoundCopy)>,
    merged: Option<MergedCopies>,
}

impl SelectedCopies {
    /// Returns the selected log, and the file and offset of its end.
    fn log(&self) -> Option<(&RecoveredCopy, &str)> {
        let (_, first) = self.copies.first()?;
        let log = self.merged.as_ref().map(|merged| &merged.log).or(first.recovered.as_ref().ok())?;
        Some((log, &first.end))
    }

    /// Returns the last entry of the log.
    pub(super) fn last(&self) -> Option<Position> {
        self.log().and_then(|(log, _)| log.last())
    }

    /// Returns the last entry that the log knows to be decided.
    pub(super) fn committed(&self) -> Option<Position> {
        self.log()?.0.standing.committed
    }

    /// Returns the date of the last change in the log. Blocking.
    pub(super) fn last_date(&self) -> Option<UnixMs> {
        let (_, first) = self.copies.first()?;
        let copy = first.recovered.as_ref().ok()?;
        copy.entries.iter().rev().take(DATED_ENTRIES_MAX).find_map(|entry| {
            let body = first.log.read(LogRecord::entry_key(entry.at.index), entry.location).ok()?;
            let Ok(LogRecord::Entry { entry, .. }) = LogRecord::decode(RecordKind::RaftEntry, &body) else {
                return None;
            };
            let Payload::Commands(bytes) = entry.payload else { return None };
            Some(decode_entry(&bytes).ok()?.last()?.now)
        })
    }

    pub(super) async fn close(self) {
        close_all(self.copies.into_iter().map(|(_, copy)| copy)).await;
    }

    /// Refuses copies that lack an entry which they once held on stable storage. Nothing was written to them yet.
    pub(super) async fn check_tail(self, options: &ReplicaOptions, tables: &FoundTables) -> Result<Self, StartError> {
        let checked = self.log().map_or(Ok(()), |(log, end)| tables.check_tail(options, log, end));
        if let Err(lost) = checked {
            self.close().await;
            return Err(lost);
        }
        Ok(self)
    }
}

pub(super) async fn select_copies(options: &ReplicaOptions) -> Result<SelectedCopies, StartError> {
    let opener = opener(options);
    let read = options.drives.iter().map(|drive| read_mirror_file(drive).map(|set| (drive.node, set)));
    let mut sets: BTreeMap<NodeId, Option<MirrorSet>> = read.collect::<Result<_, _>>()?;
    if options.salvages && sets.values().all(Option::is_none) {
        let with_copy: BTreeSet<NodeId> =
            options.drives.iter().filter(|drive| has_copy(drive)).map(|drive| drive.node).collect();
        let set = MirrorSet::salvaged(options.host, with_copy.clone(), options.ambient.clock.unix_ms());
        sets.extend(with_copy.into_iter().map(|node| (node, Some(set.clone()))));
    }
    let mut members = sets.iter().filter_map(|(node, set)| Some((*node, set.as_ref()?.host)));
    if let Some((node, member)) = members.find(|(_, member)| *member != options.host) {
        return Err(StartError::OfAnotherMember { node, member });
    }
    let newest = MirrorSet::newest(sets.values().flatten()).cloned();
    let mut copies = BTreeMap::new();
    let (mut found, mut lacking, mut lacks_unlisted) = (Vec::new(), None, false);
    for drive in &options.drives {
        let set = sets.get(&drive.node).cloned().flatten();
        // A copy without a set may hold more than those of the newest set that can be read.
        let is_opened = set.is_none() || newest.as_ref().is_none_or(|newest| newest.members.contains(&drive.node));
        let copy = if is_opened { open_found(&opener, drive) } else { None };
        if let Some(Err(why @ WalError::NoResources { .. })) = &copy {
            lacking = Some(why.to_string());
            lacks_unlisted |= set.is_none();
        }
        let (copy_found, continues) = (state_of(copy.as_ref()), BTreeSet::new());
        found.push(DriveFound { node: drive.node, set, copy: copy_found, continues });
        copies.extend(copy.and_then(Result::ok).map(|copy| (drive.node, copy)));
    }
    note_continued(&mut found, &copies);
    let choice = match (choose(&found), newest) {
        // A copy without a set may be the only current one, whatever the others are.
        (chosen, _) if lacking.is_some() && (lacks_unlisted || chosen.is_err()) => {
            close_all(copies.into_values()).await;
            return Err(StartError::LacksResources(lacking.unwrap_or_default()));
        }
        (Ok(choice), _) => choice,
        (Err(refused @ ChoiceError::AllDamaged(_)), Some(set)) => {
            let current = current_members(&found, &set);
            return merge_copies(options, set, &current, copies, refused).await;
        }
        (Err(refused), _) => {
            close_all(copies.into_values()).await;
            return Err(refused.into());
        }
    };
    match choice {
        MirrorChoice::Fresh if !options.first_start => Err(StartError::NothingFound),
        MirrorChoice::Fresh => {
            let members = options.drives.iter().map(|drive| drive.node).take(options.copies_wanted.max(1)).collect();
            begin(options, MirrorSet::first(options.host, members)).await
        }
        MirrorChoice::Unformed { set } => {
            let present = |node: &NodeId| options.drives.iter().any(|drive| drive.node == *node);
            let members = set.members.iter().copied().filter(present).collect();
            close_all(copies.into_values()).await;
            begin(options, set.next(members, false)).await
        }
        MirrorChoice::Existing { set, best, others } => {
            let selected: Vec<NodeId> = std::iter::once(best).chain(others).collect();
            let selected = selected.into_iter().filter_map(|node| Some((node, copies.remove(&node)?))).collect();
            close_all(copies.into_values()).await;
            Ok(SelectedCopies { set, copies: selected, merged: None })
        }
    }
}

/// Notes which other copies each copy without a set continues.
fn note_continued(found: &mut [DriveFound], copies: &BTreeMap<NodeId, FoundCopy>) {
    let whole = |node: NodeId| copies.get(&node).and_then(|copy| copy.recovered.as_ref().ok());
    for drive in found.iter_mut().filter(|drive| drive.set.is_none()) {
        let Some(own) = whole(drive.node) else { continue };
        let others = copies.keys().copied().filter(|node| *node != drive.node);
        drive.continues = others.filter(|node| whole(*node).is_some_and(|other| own.continues(other))).collect();
    }
}

fn state_of(copy: Option<&Result<FoundCopy, WalError>>) -> CopyFound {
    match copy {
        None => CopyFound::Empty,
        Some(Ok(copy)) => CopyFound::from(&copy.recovered),
        Some(Err(why @ WalError::Corrupt { .. })) => CopyFound::Damaged { why: why.to_string() },
        Some(Err(why)) => CopyFound::Failed { why: why.to_string() },
    }
}

async fn close_all(copies: impl Iterator<Item = FoundCopy>) {
    for copy in copies {
        let _ = copy.log.close().await;
    }
}

fn opener(options: &ReplicaOptions) -> CopyOpener {
    CopyOpener {
        cluster: options.cluster,
        ambient: options.ambient.clone(),
        pool: options.pool.clone(),
        durability: options.durability,
        segment_bytes: options.segment_bytes,
        threads: options.threads,
        replay: if options.salvages { ReplayRule::Salvage } else { ReplayRule::Prefix },
    }
}

/// Returns the set in a drive's mirror file; `None` if it has none that can be read. Fails if the host lacks the
/// resources to read it.
fn read_mirror_file(drive: &ReplicaDrive) -> Result<Option<MirrorSet>, StartError> {
    let path = mirror_file(&drive.dir);
    let content = match read_file(&*drive.disk, &path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if host_lacks_resources(&error) => {
            return Err(StartError::LacksResources(format!("{}: {error}", path.display())));
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the mirror file cannot be read and is ignored");
            return Ok(None);
        }
    };
    match MirrorSet::decode(&content) {
        Ok(set) => Ok(Some(set)),
        Err(fault) => {
            tracing::warn!(path = %path.display(), %fault, "the mirror file is malformed and is ignored");
            Ok(None)
        }
    }
}

fn has_copy(drive: &ReplicaDrive) -> bool {
    let found = drive.disk.list(&drive.clone().into_idle().log_dir());
    found.is_ok_and(|names| !names.is_empty())
}

/// Opens the copy on a drive; `None` if the drive has none.
fn open_found(opener: &CopyOpener, drive: &ReplicaDrive) -> Option<Result<FoundCopy, WalError>> {
    let dir = drive.clone().into_idle().log_dir();
    match drive.disk.list(&dir) {
        Ok(names) if names.is_empty() => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(WalError::io("list", &dir, &error))),
        Ok(_) => Some(opener.open(drive.node, &drive.disk, dir)),
    }
}

/// Creates empty copies of the log of a host whose copies are all gone.
pub(super) async fn begin_anew(options: &ReplicaOptions) -> Result<SelectedCopies, StartError> {
    let members = options.drives.iter().map(|drive| drive.node).take(options.copies_wanted.max(1)).collect();
    begin(options, MirrorSet::salvaged(options.host, members, options.ambient.clock.unix_ms())).await
}

/// Creates the first copies of a host's log.
async fn begin(options: &ReplicaOptions, set: MirrorSet) -> Result<SelectedCopies, StartError> {
    let mut failed = Vec::new();
    let mut copies = Vec::new();
    for drive in &options.drives {
        if let Err(error) = write_mirror_file(&*drive.disk, &mirror_file(&drive.dir), &set) {
            failed.push((drive.node, error.to_string()));
            continue;
        }
        if !set.members.contains(&drive.node) {
            continue;
        }
        match opener(options).open_fresh(options.offload, drive.node, drive.clone().into_idle()).await {
            Ok(log) => {
                let end = mirror_file(&drive.dir).with_file_name("log").display().to_string();
                copies.push((drive.node, FoundCopy { log, recovered: Ok(RecoveredCopy::default()), end }));
            }
            Err(error) => failed.push((drive.node, error.to_string())),
        }
    }
    if copies.is_empty() {
        return Err(StartError::NoDriveTakesTheLog(failed));
    }
    Ok(SelectedCopies { set, copies, merged: None })
}

/// Merges the damaged copies of the `current` members, if they are one whole log together; otherwise fails with
/// `refused`. An old copy may end earlier, and so does not count.
async fn merge_copies(
    options: &ReplicaOptions,
    set: MirrorSet,
    current: &BTreeSet<NodeId>,
    mut copies: BTreeMap<NodeId, FoundCopy>,
    refused: ChoiceError,
) -> Result<SelectedCopies, StartError> {
    let spare = copies.extract_if(.., |node, copy| copy.recovered.is_ok() || !current.contains(node));
    let spare: Vec<FoundCopy> = spare.map(|(_, copy)| copy).collect();
    close_all(spare.into_iter()).await;
    match MergedCopies::read(options, &opener(options), copies.keys().copied().collect()) {
        Ok(merged) => {
            tracing::warn!(why = %refused, "the copies of the metadata log are damaged and complement each other; they are rewritten");
            Ok(SelectedCopies { set, copies: copies.into_iter().collect(), merged: Some(merged) })
        }
        Err(why) => {
            tracing::warn!(%why, "the damaged copies of the metadata log do not complement each other");
            close_all(copies.into_values()).await;
            Err(refused.into())
        }
    }
}

/// Brings every selected copy to the same end, drops those that fail, and makes the resulting set durable.
pub(super) async fn settle(options: &ReplicaOptions, selected: SelectedCopies) -> Result<Arc<Shared>, StartError> {
    let SelectedCopies { set, copies, merged } = selected;
    if let Some(merged) = merged {
        let shared = Arc::new(share(options, set.clone(), merged.index(CACHED_BYTES_MAX)));
        restate_all(&shared, copies).await?;
        record_set(&shared, &set)?;
        return Ok(shared);
    }
    let (shared, copies) = resume(options, &set, copies).await?;
    for (node, copy) in copies {
        let Ok(recovered) = copy.recovered else { continue };
        go_live(&shared, node, copy.log);
        if let Err(fault) = catch_up(&shared, node, &recovered).await {
            lose(&shared, node, "it cannot catch up with the best copy", &fault);
        }
    }
    record_set(&shared, &set)?;
    Ok(shared)
}

/// Goes on with the best copy that takes an append; of the others only those that equal the best one may stand in for
/// it. Returns the copies that are left.
async fn resume(
    options: &ReplicaOptions,
    set: &MirrorSet,
    copies: Vec<(NodeId, FoundCopy)>,
) -> Result<(Arc<Shared>, Vec<(NodeId, FoundCopy)>), StartError> {
    let end_of = |copy: &FoundCopy| copy.recovered.as_ref().ok().map(|log| (log.sequence, log.standing, log.last()));
    let best = copies.first().and_then(|(_, copy)| end_of(copy));
    let (equal, mut left): (Vec<_>, Vec<_>) = copies.into_iter().partition(|(_, copy)| end_of(copy) == best);
    let mut equal = equal.into_iter();
    let mut failed: Vec<(NodeId, CopyFault, LogHandle)> = Vec::new();
    while let Some((node, copy)) = equal.next() {
        let refuse = |why| StartError::NoDriveTakesTheLog(vec![(node, why)]);
        let recovered = copy.recovered.map_err(refuse)?;
        let shared = Arc::new(share(options, set.clone(), LogIndex::new(node, &recovered, CACHED_BYTES_MAX)));
        go_live(&shared, node, copy.log.clone());
        shared.index().begin();
        let resumed = shared.index().resume(recovered.entries.back().map(|entry| entry.at.index));
        match append(&shared, node, vec![resumed]).await {
            Ok(()) => {
                for (node, fault, log) in failed {
                    go_live(&shared, node, log);
                    lose(&shared, node, "nothing can be written to it", &fault);
                }
                left.extend(equal);
                return Ok((shared, left));
            }
            Err(fault) => failed.push((node, fault, copy.log)),
        }
    }
    Err(StartError::NoDriveTakesTheLog(failed.into_iter().map(|(node, fault, _)| (node, fault.why)).collect()))
}

fn share(options: &ReplicaOptions, set: MirrorSet, index: LogIndex) -> Shared {
    let by_node = options.drives.iter().map(|drive| (drive.node, drive.clone().into_idle())).collect();
    Shared {
        host: raft_id(options.host),
        durable_ballot: Mutex::new(index.standing().ballot),
        index: Mutex::new(index),
        history: Mutex::default(),
        drives: Mutex::new(Drives { by_node, set, snapshot: None, lost_at_start: BTreeMap::new() }),
        tables: ArcSwapOption::empty(),
        tables_changed: Notify::new(),
        sole_voter: SoleVoter::default(),
        fault: Mutex::new(None),
        superseded: watch::Sender::new(None),
        has_others: AtomicBool::new(false),
        trouble: Mutex::new(None),
        is_stuck: AtomicBool::new(false),
        wants_snapshot: AtomicBool::new(false),
        snapshot_attempts: AtomicU64::new(0),
        damage: Mutex::default(),
        digests: Mutex::default(),
        failed_copies: Mutex::default(),
        opener: opener(options),
        offload: options.offload,
        copies_wanted: AtomicUsize::new(1),
    }
}

fn go_live(shared: &Shared, node: NodeId, log: LogHandle) {
    if let Some(drive) = shared.drives().by_node.get_mut(&node) {
        drive.role = DriveRole::Live;
        drive.log = Some(log);
    }
}

/// Why a copy cannot be used at this start.
struct CopyFault {
    why: String,
    absence: Absence,
}

impl From<WalError> for CopyFault {
    fn from(error: WalError) -> Self {
        Self { why: error.to_string(), absence: Absence::of(&error) }
    }
}

impl From<io::Error> for CopyFault {
    fn from(error: io::Error) -> Self {
        Self { why: error.to_string(), absence: Absence::after(&error) }
    }
}

impl From<String> for CopyFault {
    fn from(why: String) -> Self {
        Self { why, absence: Absence::Permanent }
    }
}

/// Leaves out a drive whose copy cannot be used.
fn lose(shared: &Shared, node: NodeId, what: &str, fault: &CopyFault) {
    shared.note_failed_copy(node, &format!("{what}: {}", fault.why));
    shared.index().forget_copy(node);
    let mut drives = shared.drives();
    let log = drives.by_node.get(&node).and_then(|drive| drive.log.clone());
    drives.set_role(node, DriveRole::Lost);
    drives.lost_at_start.insert(node, (fault.absence, log));
}

fn log_of(shared: &Shared, node: NodeId) -> Result<LogHandle, String> {
    let drives = shared.drives();
    let drive = drives.by_node.get(&node).ok_or_else(|| no_longer_here(node))?;
    drive.log.clone().ok_or_else(|| format!("the metadata log on drive {node} is closed"))
}

async fn append(shared: &Shared, node: NodeId, records: Vec<LogRecord>) -> Result<(), CopyFault> {
    let log = log_of(shared, node)?;
    let wal = records.iter().map(LogRecord::to_wal).collect();
    let locations = log.append_synced(wal).await?;
    let mut index = shared.index();
    for (record, location) in records.iter().zip(locations) {
        index.place(node, record.sequence(), record.index(), location);
    }
    Ok(())
}

/// Writes the merged log to each copy, behind the records that the copy has.
async fn restate_all(shared: &Arc<Shared>, copies: Vec<(NodeId, FoundCopy)>) -> Result<(), StartError> {
    let nodes: Vec<NodeId> = copies.iter().map(|(node, _)| *node).collect();
    // All are made live first: while one is written, entries are read from the others.
    copies.into_iter().for_each(|(node, copy)| go_live(shared, node, copy.log));
    shared.index().begin();
    let mut failed = Vec::new();
    for node in nodes {
        if let Err(fault) = restate(shared, node).await {
            failed.push((node, fault));
        }
    }
    for (node, fault) in &failed {
        lose(shared, *node, "it cannot be written anew", fault);
    }
    if !shared.drives().live().is_empty() {
        return Ok(());
    }
    Err(StartError::NoDriveTakesTheLog(failed.into_iter().map(|(node, fault)| (node, fault.why)).collect()))
}

/// Writes the whole log to a copy in new segments, behind the records that it has, and then releases its former
/// segments.
async fn restate(shared: &Arc<Shared>, node: NodeId) -> Result<(), CopyFault> {
    let log = log_of(shared, node)?;
    log.rotate().await?;
    let (first, end, begin) = {
        let index = shared.index();
        (index.first_index(), index.next_index(), index.restating())
    };
    let sequence = begin.sequence();
    let begun = log.append_synced(vec![begin.to_wal()]).await?.first().copied();
    if let Some(begun) = begun {
        shared.index().place(node, sequence, None, begun);
    }
    append_entries(shared, node, sequence, first, end).await?;
    let ended = shared.index().restated();
    append(shared, node, vec![ended]).await?;
    let Some(begun) = begun.map(|begun| begun.lsn.segment()) else { return Ok(()) };
    shared.index().forget_segments_before(node, begun);
    release_before(&log, begun).await.map_err(CopyFault::from)
}

/// Releases all segments of a log before this one, oldest first. One that cannot be released keeps none of the others:
/// its error is returned once each was tried.
async fn release_before(log: &LogHandle, segment: SegmentId) -> Result<(), WalError> {
    let former = log.segments().into_iter().map(|former| former.id).filter(|id| *id < segment);
    let releases: Vec<_> = former.map(|id| log.release_segment(id)).collect();
    join_all(releases).await.into_iter().collect()
}

async fn append_entries(
    shared: &Arc<Shared>,
    node: NodeId,
    sequence: u64,
    from: u64,
    end: u64,
) -> Result<(), CopyFault> {
    let mut next = from;
    while next < end {
        let to = shared.index().run_end(next, end, CATCH_UP_BYTES_MAX);
        let entries = read_entries(shared, next, to).await.map_err(|error| error.to_string())?;
        if entries.is_empty() {
            return Err(format!("entry {next} cannot be read").into());
        }
        next += entries.len() as u64;
        let committed = shared.index().standing().committed;
        let records = entries.into_iter().map(|entry| LogRecord::Entry { sequence, committed, entry }).collect();
        append(shared, node, records).await?;
    }
    Ok(())
}

/// Appends the entries that a copy lacks: those after the last one that it has in common with the best copy.
async fn catch_up(shared: &Arc<Shared>, node: NodeId, recovered: &RecoveredCopy) -> Result<(), CopyFault> {
    let (keep_through, next, end, resume) = {
        let mut index = shared.index();
        index.adopt_copy(node, recovered);
        let agreed = recovered.entries.iter().rev().map(|entry| entry.at);
        let agreed =
            agreed.into_iter().find(|at| index.position_of(at.index) == Some(*at) && at.index >= index.first_index());
        let keep_through = agreed.map(|at| at.index);
        let next = keep_through.map_or(index.first_index(), |kept| kept + 1);
        (keep_through, next, index.next_index(), index.resume(keep_through))
    };
    let sequence = resume.sequence();
    tracing::debug!(%node, ?keep_through, end, "a copy of the metadata log catches up with the best one");
    append(shared, node, vec![resume]).await?;
    append_entries(shared, node, sequence, next, end).await
}

/// Writes the set of live copies to its members, and then to every drive as the set in force. A drive that does not
/// take it is lost, and a set without it is written.
fn record_set(shared: &Shared, found: &MirrorSet) -> Result<(), StartError> {
    let start = shared.opener.ambient.random_u128() as u64;
    let mut last = found.clone();
    let mut failed = Vec::new();
    loop {
        let members: BTreeSet<NodeId> = shared.drives().live();
        if members.is_empty() {
            return Err(StartError::NoDriveTakesTheLog(failed));
        }
        // `start` is random for each start, so that drives which were used apart from each other are recognised.
        let set = MirrorSet { start, ..last.next(members, true) };
        last = set.clone();
        let drives: Vec<(NodeId, Drive)> = {
            let drives = shared.drives();
            let present = drives.by_node.iter().filter(|(_, drive)| drive.role != DriveRole::Lost);
            present.map(|(node, drive)| (*node, drive.clone())).collect()
        };
        let (members, others): (Vec<_>, Vec<_>) = drives.iter().partition(|(node, _)| set.members.contains(node));
        let in_force = set.clone().put_in_force();
        let first = members.iter().filter(|_| members.len() > 1).map(|drive| (*drive, &set));
        let then = members.iter().chain(&others).map(|drive| (*drive, &in_force));
        let refused = first.chain(then).find_map(|((node, drive), set)| {
            let written = write_mirror_file(&*drive.disk, &drive.mirror_file(), set);
            written.err().map(|error| (*node, CopyFault::from(error)))
        });
        let Some((node, fault)) = refused else {
            shared.drives().set = in_force;
            return Ok(());
        };
        lose(shared, node, "the drive does not take the file meta/mirror", &fault);
        failed.push((node, fault.why));
    }
}

#[cfg(test)]
mod tests {
    use super::release_before;
    use crate::actors::log::Threads;
    use crate::ambient::Ambient;
    use crate::storage::buffer::BufferPool;
    use crate::storage::disk::Disk;
    use crate::storage::disk::sim::SimDisk;
    use crate::storage::wal::{LogOptions, NewRecord, RecordKey, RecordKind, open_log};
    use crate::types::{ClusterId, Lsn, NodeId, SegmentId};
    use bytes::Bytes;
    use std::path::PathBuf;

    /// The log retires segments in any order, like one of shards, so that each of them shows whether it was tried.
    #[actix::test]
    async fn a_segment_that_cannot_be_released_keeps_none_of_the_others() {
        let (disk, dir, pool) = (SimDisk::new(64 << 20), PathBuf::from("/drive/log"), BufferPool::new(1 << 20));
        let options = LogOptions::shards(dir.clone(), ClusterId(1), NodeId(1), Ambient::system(), pool);
        let options = LogOptions { segment_bytes: 128 << 10, ..options };
        let opened = open_log(disk.handle(), options, Lsn::default(), &mut |_| ()).expect("opened");
        let log = opened.start(Threads::Current);
        for id in 1..=4 {
            let key = RecordKey { id, shard: 0, part: 0 };
            let record = NewRecord { kind: RecordKind::Chunk, key, origin: None, body: Bytes::from_static(b"chunk") };
            log.append(vec![record]).await.expect("appended");
            log.rotate().await.expect("rotated");
        }
        disk.pin(&dir.join("00000001.seg"));
        release_before(&log, SegmentId(4)).await.expect_err("one file cannot be retired");
        let names = disk.list(&dir).expect("listed");
        let left = ["00000001.seg", "00000002.seg", "00000003.seg", "00000004.seg"];
        let left = left.map(|file| names.iter().any(|name| name == file));
        assert_eq!(left, [true, false, false, true], "{names:?}");
        release_before(&log, SegmentId(2)).await.expect("the log has no segment before it any more");
        log.close().await.expect("closed");
    }
}
