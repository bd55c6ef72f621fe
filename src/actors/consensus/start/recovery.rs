//! Forming the group anew with one host as its only voter (`sherd recover`): what the host's own copies hold, and copies of
//! another log made of them or of an export, for a host id that has never voted.
//!
//! The other log begins with a snapshot: the tables with every entry of the log applied, decided or not, and after them one
//! more entry, which makes the host the only member. What was acknowledged is decided, and what is decided and was never in
//! this log is lost; what is in the log and was not decided becomes so.

use super::copies::{SelectedCopies, select_copies, write_mirror_file};
use super::tables::FoundTables;
use super::{Forming, ReplicaDrive, ReplicaOptions, StartError, start};
use crate::actors::consensus::handle::MetaHandle;
use crate::actors::consensus::mirror::{LogStore, read_entries};
use crate::actors::consensus::raft_types::{raft_id, vote_of};
use crate::actors::consensus::shared::{Shared, mirror_file};
use crate::actors::consensus::state::{SnapshotStore, StatePlace, newest_on, write_snapshot};
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

/// Entries read and applied together.
const ENTRIES: u64 = 64;
/// For tables that a start makes anew.
const TABLES_PATIENCE: Duration = Duration::from_secs(600);
const TABLES_POLL: Duration = Duration::from_millis(20);

/// The contents of a host's own copies of the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Why the copies are not whole, where they are not.
    pub damage: Option<String>,
    /// The last entry of the log, of a snapshot or of the tables.
    pub last: Option<u64>,
    /// The last entry that is known to be decided.
    pub decided: Option<u64>,
    /// The date of the last change in the log.
    pub dated: Option<UnixMs>,
    /// The voters, as far as this host knows.
    pub voters: BTreeSet<HostId>,
    /// True if nothing was acknowledged without this host's log: it is one of two voters, or the only one, and its log is whole.
    pub has_all_acknowledged: bool,
    pub hosts: Vec<HostRecord>,
}

/// Looks what there is. Changes nothing of it.
pub async fn survey_recovery(options: &ReplicaOptions) -> Result<Remains, StartError> {
    let tables = FoundTables::open(options);
    let (believed, damage) = believe_what_is_left(options, &tables).await?;
    let heads = options.drives.iter().filter_map(|drive| newest_on(&drive.clone().into_idle()));
    let snapshot = heads.map(|(_, head, _)| head).max_by_key(|head| head.at.map(|at| at.index));
    let furthest = tables.furthest();
    let applied = furthest.map(|(_, at)| at.applied.clone());
    let index = |at: Option<Position>| at.map(|at| at.index);
    let known: Vec<&AppliedAt> = applied.iter().chain(&snapshot).collect();
    let decided = known.iter().map(|at| index(at.at)).chain([index(believed.committed())]).max().flatten();
    let newest = known.into_iter().max_by_key(|at| index(at.at));
    let hosts = furthest.and_then(|(tables, _)| tables.view().hosts().ok()).unwrap_or_default();
    let configs = newest.map(|at| at.members.configs.as_slice()).unwrap_or_default();
    let own = raft_id(options.host);
    // While the voters change, those to be may have decided alone.
    let always_decides = matches!(configs, [voters] if voters.len() <= 2 && voters.contains(&own));
    let is_whole = damage.is_none() && options.durability == Durability::Strict;
    let remains = Remains {
        has_all_acknowledged: always_decides && is_whole,
        damage,
        last: decided.max(index(believed.last())),
        decided,
        dated: believed.last_date(),
        voters: configs.iter().flatten().copied().map(HostId).collect(),
        hosts,
    };
    believed.close().await;
    Ok(remains)
}

/// The copies as a start would believe them; where it would not go on, what a salvage would keep of them, and why.
async fn believe_what_is_left(
    options: &ReplicaOptions,
    tables: &FoundTables,
) -> Result<(SelectedCopies, Option<String>), StartError> {
    let error = match select_copies(options).await {
        Ok(believed) => match believed.check_tail(options, tables).await {
            Ok(believed) => return Ok((believed, None)),
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

/// Starts a group of the host of `new` alone, on the drives of `new`, with what the copies of `old` hold. `old` is started for
/// that, hears nobody, and is left as after any start and stop.
pub async fn recover_own(old: ReplicaOptions, new: ReplicaOptions) -> Result<MetaHandle, StartError> {
    let old = ReplicaOptions { forming: Forming::Joining, transport: Arc::new(NoOtherHosts), ..old };
    let handle = start(old).await?;
    let made = copy(&handle, &new).await;
    handle.shutdown().await;
    begin(made?, new).await
}

/// The same of a snapshot's frames, which are of this moment.
pub async fn recover_frames(
    applied: AppliedAt,
    frames: impl Iterator<Item = io::Result<Bytes>>,
    new: ReplicaOptions,
) -> Result<MetaHandle, StartError> {
    let made = Made::filled(&new, applied, frames)?;
    begin(made, new).await
}

/// Tables in the making.
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

    /// The entry after all others, of a term after all others.
    fn make_only_member(&mut self, host: HostId, address: &str) -> io::Result<()> {
        let last = self.at.applied.at.unwrap_or(Position { term: 0, node: 0, index: 0 });
        let at = Position { term: last.term + 1, node: raft_id(host), index: last.index + 1 };
        let nodes = BTreeMap::from([(raft_id(host), address.to_owned())]);
        let members = Members { configs: vec![BTreeSet::from([raft_id(host)])], nodes };
        self.apply(&[LogEntry { at, payload: Payload::Members(members) }])
    }
}

/// The contents of a replica that was started: its tables, and the entries of its log after them.
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
    let tables = tables.map_err(|_| StartError::Tables("they are not made in time".to_owned()))?;
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

/// Makes the snapshot that the log begins with, and starts the replica from it.
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
    // Its log lacks what the snapshot holds, as no other log may.
    let new = ReplicaOptions { salvages: true, ..new };
    start(new).await
}

/// A log that begins with a snapshot and has no vote votes in the term of its end: a leader of an earlier term would give its
/// entries earlier positions. Without effect on any other: whoever sends a snapshot was voted for before.
pub(super) async fn vote_where_none_was(
    shared: &Shared,
    snapshots: &SnapshotStore,
    log: &mut LogStore,
) -> Result<(), StartError> {
    let has_voted = shared.index().standing().ballot.is_some();
    if let Some(standing) = snapshots.standing().filter(|_| !has_voted) {
        let term = standing.at.leader_id.term;
        log.save_vote(&vote_of(Ballot { term, node: shared.host, committed: false })).await?;
    }
    Ok(())
}
