//! Forms the group anew with one host as its only voter (`sherd recover`): surveys the host's own copies of the
//! metadata, and makes the new group's log from them, or from an export, for a host id that has never voted.
//!
//! The new log begins with a snapshot of the tables, to which every entry of the former log is applied, decided or not,
//! and one more entry that makes the host the only member. An acknowledged change is lost only if its entry never
//! reached the former log of this host. An entry of that log which was not decided before becomes so.

use super::copies::{SelectedCopies, select_copies};
use super::tables::{FoundTables, newest_snapshot};
use super::{Forming, ReplicaOptions, StartError, start};
use crate::actors::consensus::handle::MetaHandle;
use crate::actors::consensus::mirror::{LogStore, write_mirror_file};
use crate::actors::consensus::raft_types::{raft_id, vote_of};
use crate::actors::consensus::shared::{ReplicaDrive, Shared, mirror_file, read_entries};
use crate::actors::consensus::state::{SnapshotStore, StatePlace, write_snapshot};
use crate::net::NoOtherHosts;
use crate::storage::disk::create_dir_durably;
use crate::storage::kv::KvRead;
use crate::storage::meta::codec::decode_entry;
use crate::storage::meta::record::HostRecord;
use crate::storage::meta::snapshot::{SnapshotInstaller, SnapshotWriter};
use crate::storage::meta::view::MetaView;
use crate::storage::meta::{ApplyEntry, MetaTables};
use crate::storage::raft_log::{
    AppliedAt, Ballot, LogEntry, Members, MirrorSet, Payload, Position, RecordFault, TablesAt,
};
use crate::storage::wal::Durability;
use crate::types::{HostId, NodeId, UnixMs};
use bytes::Bytes;
use openraft::storage::RaftLogStorage;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The number of entries that are read and applied together.
const ENTRIES: u64 = 64;
/// The longest wait for tables that the start of the former replica rebuilds.
const TABLES_PATIENCE: Duration = Duration::from_secs(600);
const TABLES_POLL: Duration = Duration::from_millis(20);

/// The contents of a host's own copies of the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// The reason for which a start would refuse the copies; `None` if it would not.
    pub damage: Option<String>,
    /// The last entry of the log, of a snapshot or of the tables.
    pub last: Option<u64>,
    /// The last entry that this host knows to be decided.
    pub decided: Option<u64>,
    /// The date of the last change in the log.
    pub dated: Option<UnixMs>,
    /// The voters, as far as this host knows.
    pub voters: BTreeSet<HostId>,
    /// True if nothing was acknowledged without this host's log: it is one of two voters, or the only one, and its log
    /// is whole.
    pub has_all_acknowledged: bool,
    pub hosts: Vec<HostRecord>,
}

/// Surveys this host's copies of the metadata. Changes nothing on the drives.
pub async fn survey_recovery(options: &ReplicaOptions) -> Result<Remains, StartError> {
    let tables = FoundTables::open(options)?;
    let mut heads = Vec::new();
    for drive in &options.drives {
        heads.extend(newest_snapshot(drive.node, &drive.clone().into_idle())?.map(|(_, head, _)| head));
    }
    let snapshot = heads.into_iter().max_by_key(|head| head.at.map(|at| at.index));
    let (selected, damage) = select_what_is_left(options, &tables).await?;
    let furthest = tables.furthest();
    let applied = furthest.map(|(_, at)| at.applied.clone());
    let index = |at: Option<Position>| at.map(|at| at.index);
    let known: Vec<&AppliedAt> = applied.iter().chain(&snapshot).collect();
    let decided = known.iter().map(|at| index(at.at)).chain([index(selected.committed())]).max().flatten();
    let newest = known.into_iter().max_by_key(|at| index(at.at));
    let hosts = furthest.and_then(|(tables, _)| tables.view().hosts().ok()).unwrap_or_default();
    let configs = newest.map(|at| at.members.configs.as_slice()).unwrap_or_default();
    let own = raft_id(options.host);
    // While the voters change, the future voters may already have decided without this host.
    let always_decides = matches!(configs, [voters] if voters.len() <= 2 && voters.contains(&own));
    let is_whole = damage.is_none() && options.durability == Durability::Strict;
    let remains = Remains {
        has_all_acknowledged: always_decides && is_whole,
        damage,
        last: decided.max(index(selected.last())),
        decided,
        dated: selected.last_date(),
        voters: configs.iter().flatten().copied().map(HostId).collect(),
        hosts,
    };
    selected.close().await;
    Ok(remains)
}

/// Selects the copies as a start would. If a start would refuse them, selects what a salvage would keep, and returns
/// the reason of the refusal.
async fn select_what_is_left(
    options: &ReplicaOptions,
    tables: &FoundTables,
) -> Result<(SelectedCopies, Option<String>), StartError> {
    let error = match select_copies(options).await {
        Ok(selected) => match selected.check_tail(options, tables).await {
            Ok(selected) => return Ok((selected, None)),
            Err(error) => error,
        },
        Err(error) => error,
    };
    if !error.has_lost_the_log() {
        return Err(error);
    }
    let cut = ReplicaOptions { salvages: true, ..options.clone() };
    Ok((select_copies(&cut).await?, Some(error.to_string())))
}

/// Starts a group whose only member is the host of `new`, with the metadata of the replica `old`. For that, `old` is
/// started without a connection to other hosts, read, and stopped; its copies are kept.
pub async fn recover_own(old: ReplicaOptions, new: ReplicaOptions) -> Result<MetaHandle, StartError> {
    let old = ReplicaOptions { forming: Forming::Joining, transport: Arc::new(NoOtherHosts), ..old };
    let handle = start(old).await?;
    let made = copy(&handle, &new).await;
    handle.shutdown().await;
    begin(made?, new).await
}

/// Starts a group whose only member is the host of `new`, with the tables of an exported snapshot. `frames` are its
/// tables after the entries up to `applied`.
pub async fn recover_frames(
    applied: AppliedAt,
    frames: impl Iterator<Item = io::Result<Bytes>>,
    new: ReplicaOptions,
) -> Result<MetaHandle, StartError> {
    let made = Made::filled(&new, applied, frames)?;
    begin(made, new).await
}

/// The tables of the new group while they are being made.
struct Made {
    place: StatePlace,
    tables: MetaTables,
    at: TablesAt,
}

impl Made {
    fn filled(
        new: &ReplicaOptions,
        applied: AppliedAt,
        frames: impl Iterator<Item = io::Result<Bytes>>,
    ) -> Result<Self, StartError> {
        let ReplicaDrive { node, disk, dir } = new.drives.first().ok_or(StartError::NoDrives)?;
        let (state, place) = (dir.join("state"), StatePlace { node: *node, number: 1 });
        create_dir_durably(&**disk, &state)?;
        let kv = new.home.open(*node, &state, place.number).map_err(|error| StartError::Tables(error.to_string()))?;
        let mut installer = SnapshotInstaller::new(Arc::clone(&kv)).map_err(io::Error::other)?;
        for frame in frames {
            installer.push(&frame?).map_err(io::Error::other)?;
        }
        installer.finish().map_err(io::Error::other)?;
        let tables = MetaTables::open(kv).map_err(io::Error::other)?;
        Ok(Self { place, tables, at: TablesAt { applied, durable: None } })
    }

    fn apply(&mut self, entries: &[LogEntry]) -> io::Result<()> {
        let mut batch = Vec::with_capacity(entries.len());
        for entry in entries {
            let commands = match &entry.payload {
                Payload::Commands(bytes) => decode_entry(bytes).map_err(io::Error::other)?,
                Payload::Blank | Payload::Members(_) => Vec::new(),
            };
            self.at.applied.follow(entry).map_err(io::Error::other)?;
            batch.push(ApplyEntry { index: entry.at.index, commands });
        }
        self.tables.apply(batch, self.at.encode().into()).map_err(io::Error::other)?;
        Ok(())
    }

    /// Applies one more entry, of a later term than all others, that makes this host the only member.
    fn make_only_member(&mut self, host: HostId, address: &str) -> io::Result<()> {
        let last = self.at.applied.at.unwrap_or(Position { term: 0, node: 0, index: 0 });
        let at = Position { term: last.term + 1, node: raft_id(host), index: last.index + 1 };
        let nodes = BTreeMap::from([(raft_id(host), address.to_owned())]);
        let members = Members { configs: vec![BTreeSet::from([raft_id(host)])], nodes };
        self.apply(&[LogEntry { at, payload: Payload::Members(members) }])
    }
}

/// Copies the tables of a started replica, and applies the later entries of its log to the copy.
async fn copy(handle: &MetaHandle, new: &ReplicaOptions) -> Result<Made, StartError> {
    let shared = &handle.inner.shared;
    let tables = async {
        loop {
            match shared.tables.load_full() {
                Some(tables) => return tables,
                None => tokio::time::sleep(TABLES_POLL).await,
            }
        }
    };
    let tables = tokio::time::timeout(TABLES_PATIENCE, tables).await;
    let late = || format!("they were not rebuilt within {TABLES_PATIENCE:?}; try again");
    let tables = tables.map_err(|_| StartError::Tables(late()))?;
    let view = tables.view();
    let frames = SnapshotWriter::new(Arc::clone(&view.kv)).map(|frame| frame.map_err(io::Error::other));
    let mut made = Made::filled(new, position_in(&view)?, frames)?;
    let mut next = made.at.applied.at.map_or(0, |at| at.index + 1);
    let end = shared.index().next_index();
    while next < end {
        let entries = read_entries(shared, next, end.min(next + ENTRIES)).await?;
        let last = entries.last().ok_or_else(|| io::Error::other(format!("entry {next} cannot be read")))?;
        next = last.at.index + 1;
        made.apply(&entries)?;
    }
    Ok(made)
}

fn position_in(view: &MetaView) -> io::Result<AppliedAt> {
    let Some(applied) = view.applied().map_err(io::Error::other)? else { return Ok(AppliedAt::default()) };
    let at = TablesAt::decode(&applied.position).map_err(|fault: RecordFault| io::Error::other(fault))?;
    Ok(at.applied)
}

/// Makes the snapshot that the new log begins with, and starts the replica from it.
async fn begin(mut made: Made, new: ReplicaOptions) -> Result<MetaHandle, StartError> {
    made.make_only_member(new.host, &new.address)?;
    let Made { place, tables, at } = made;
    let members: BTreeSet<NodeId> = new.drives.iter().map(|drive| drive.node).take(new.copies_wanted.max(1)).collect();
    let targets = new.drives.iter().filter(|drive| members.contains(&drive.node));
    let targets: Vec<_> = targets.map(|drive| (drive.node, drive.clone().into_idle())).collect();
    let view: Arc<dyn KvRead> = tables.kv().snapshot();
    write_snapshot(&targets, &at.applied, Arc::clone(&view)).map_err(io::Error::from)?;
    drop((view, tables));
    let set = MirrorSet::first(new.host, members);
    for ReplicaDrive { node, disk, dir } in &new.drives {
        if *node == place.node {
            new.home.discard(*node, &dir.join("state"), place.number).map_err(io::Error::other)?;
        }
        write_mirror_file(&**disk, &mirror_file(dir), &set)?;
    }
    // The new log is empty and the snapshot is ahead of it. A start refuses that unless it salvages.
    let new = ReplicaOptions { salvages: true, ..new };
    start(new).await
}

/// Saves a vote in the term of the snapshot's last entry, if the log has none or an earlier one: a leader of an earlier
/// term would give its entries earlier positions. The log of a group that was formed anew begins with a snapshot, and a
/// log that was salvaged may have lost its last votes. Does nothing on other hosts: one that has received a snapshot has
/// a vote, for the leader that sent it.
pub(super) async fn vote_as_of_the_snapshot(
    shared: &Shared,
    snapshots: &SnapshotStore,
    log: &mut LogStore,
) -> Result<(), StartError> {
    let voted = shared.index().standing().ballot.map(|ballot| ballot.term);
    if let Some(term) =
        snapshots.standing().map(|standing| standing.at.leader_id.term).filter(|term| voted < Some(*term))
    {
        log.save_vote(&vote_of(Ballot { term, node: shared.host, committed: false })).await?;
    }
    Ok(())
}
