//! Finds the snapshot and the tables at start: the newest that match the log. Before that, tables and snapshots serve
//! to prove whether the log has lost acknowledged entries.

use super::{ReplicaOptions, StartError};
use crate::actors::consensus::raft_types::{log_id_of, position_of, raft_id};
use crate::actors::consensus::shared::{CurrentSnapshot, Drive, DriveRole, Shared};
use crate::actors::consensus::state::{
    SnapshotStore, StatePlace, has_file, is_damage, lies_on_log, newest_on, remove_drafts,
};
use crate::storage::kv::KvError;
use crate::storage::meta::MetaTables;
use crate::storage::raft_log::{AppliedAt, DurableAt, Position, RecoveredCopy, TablesAt};
use crate::storage::wal::Durability;
use crate::types::NodeId;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Finds the newest snapshot on the drives with live copies of the log, and copies it to those of them that lack it. A
/// snapshot beyond the end of the log is used, too, since a snapshot covers only committed entries: it came from the
/// leader, or is of entries that the others committed before they were synced here. openraft moves the log up to it. A
/// drive that does not take it leaves the mirror; if the snapshot is whole on none, a new one is made after the start.
pub(super) async fn find_snapshot(shared: &Arc<Shared>, snapshots: &SnapshotStore) -> Result<(), StartError> {
    let live: Vec<(NodeId, Drive)> = {
        let drives = shared.drives();
        drives.with_role(DriveRole::Live).map(|(node, drive)| (node, drive.clone())).collect()
    };
    let mut newest: Option<CurrentSnapshot> = None;
    for (node, drive) in &live {
        if let Err(error) = remove_drafts(drive) {
            tracing::warn!(%node, %error, "unfinished metadata snapshots cannot be removed");
        }
        let Some((at, _, bytes)) = newest_snapshot(*node, drive)? else { continue };
        let (known, end) = {
            let index = shared.index();
            (index.position_of(at.index), index.next_index())
        };
        if known != Some(at) && at.index < end {
            tracing::warn!(%node, ?at, "a metadata snapshot that does not match the log is ignored");
            continue;
        }
        match &mut newest {
            Some(known) if known.at.index > at.index => {}
            Some(known) if known.at.index == at.index => {
                known.holders.insert(*node);
            }
            _ => newest = Some(CurrentSnapshot { at: log_id_of(at), bytes, holders: BTreeSet::from([*node]) }),
        }
    }
    if let Some(newest) = &mut newest {
        // A file with a damaged head may have frames that are damaged in another file.
        let damaged = live.iter().filter(|(_, drive)| has_file(drive, position_of(newest.at), newest.bytes));
        newest.holders.extend(damaged.map(|(node, _)| *node));
    }
    shared.drives().snapshot = newest;
    for (node, _) in live {
        if shared.drives().holds_snapshot(node) {
            continue;
        }
        match snapshots.copy_to(node).await {
            Err(error) if is_damage(&error) => {
                tracing::warn!(%node, %error, "the drive gets a metadata snapshot once a new one is made");
                shared.want_snapshot();
            }
            Err(error) => snapshots.give_up_drive(node, &error).await?,
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Returns the position, head and size of the newest snapshot on a drive. Fails if the host lacks the resources to read
/// its snapshots.
pub(super) fn newest_snapshot(node: NodeId, drive: &Drive) -> Result<Option<(Position, AppliedAt, u64)>, StartError> {
    newest_on(drive)
        .map_err(|error| StartError::LacksResources(format!("the metadata snapshots on drive {node}: {error}")))
}

/// Tables found on a drive.
struct Found {
    place: StatePlace,
    /// The tables and their position; `None` if they cannot be used.
    tables: Option<(MetaTables, TablesAt)>,
    /// True if the tables were never finished, and so hold nothing.
    is_unfinished: bool,
}

/// The tables on all drives.
pub(super) struct FoundTables {
    all: Vec<Found>,
}

impl FoundTables {
    /// Opens all tables on all drives, and removes none. Fails if the host lacks the resources to open some.
    pub(super) fn open(options: &ReplicaOptions) -> Result<Self, StartError> {
        let mut all = Vec::new();
        for drive in &options.drives {
            let dir = drive.clone().into_idle().state_dir();
            let numbers = options.home.list(drive.node, &dir).or_else(|error| {
                tracing::warn!(node = %drive.node, %error, "metadata tables cannot be listed, and are not used");
                check_resources(drive.node, &error).map(|()| Vec::new())
            })?;
            for number in numbers {
                all.push(open_tables(options, &dir, StatePlace { node: drive.node, number })?);
            }
        }
        Ok(Self { all })
    }

    /// Returns the tables that have applied the most entries.
    pub(super) fn furthest(&self) -> Option<(&MetaTables, &TablesAt)> {
        let found = self.all.iter().filter_map(|found| found.tables.as_ref());
        found.max_by_key(|(_, at)| at.applied.at).map(|(tables, at)| (tables, at))
    }

    /// Refuses a log that lacks an entry which it once held on stable storage, as tables or a snapshot of this host
    /// prove. `found_end`: the file and offset at which the log ends.
    pub(super) fn check_tail(
        &self,
        options: &ReplicaOptions,
        copy: &RecoveredCopy,
        found_end: &str,
    ) -> Result<(), StartError> {
        let host = raft_id(options.host);
        let lost = |held: Position, witness: String| StartError::TailLost {
            end: found_end.to_owned(),
            last: copy.last(),
            held,
            witness,
        };
        for Found { place, tables, .. } in &self.all {
            let durable = tables.as_ref().and_then(|(_, at)| at.durable);
            if let Some(durable) = durable.filter(|durable| durable.is_lost(host, copy)) {
                return Err(lost(durable.at, format!("the tables of node {}", place.node)));
            }
        }
        for drive in options.drives.iter().filter(|_| options.durability == Durability::Strict) {
            let newest = newest_snapshot(drive.node, &drive.clone().into_idle())?;
            let Some((at, head, _)) = newest else { continue };
            let configs = &head.members.configs;
            let is_sole_voter = !configs.is_empty() && configs.iter().all(|voters| voters.iter().eq([&host]));
            if is_sole_voter && (DurableAt { host, at }).is_lost(host, copy) {
                return Err(lost(at, format!("the snapshot of node {}", drive.node)));
            }
        }
        Ok(())
    }
}

/// The tables that a replica starts with.
pub(super) struct ChosenTables {
    pub(super) place: StatePlace,
    /// The greatest number of any tables that were found.
    pub(super) number_max: u32,
    pub(super) tables: MetaTables,
    pub(super) at: TablesAt,
    /// Other tables, which are to be removed once those chosen are complete.
    pub(super) rejected: Vec<StatePlace>,
}

/// Chooses, of the tables found on the drives, those furthest along this log; makes empty ones if none match. Removes
/// only what holds nothing: unfinished tables, and what earlier removals have left.
pub(super) async fn choose_tables(
    options: &ReplicaOptions,
    shared: &Arc<Shared>,
    found: FoundTables,
) -> Result<ChosenTables, StartError> {
    finish_removals(options);
    let mut best: Option<(StatePlace, MetaTables, TablesAt)> = None;
    let (mut number_max, mut rejected) = (0, Vec::new());
    for Found { place, tables, is_unfinished } in found.all {
        number_max = number_max.max(place.number);
        if is_unfinished {
            discard(options, &place);
            continue;
        }
        let usable = tables.filter(|(_, at)| {
            let usable = lies_on_log(&shared.index(), at.applied.at);
            if !usable {
                tracing::warn!(node = %place.node, "metadata tables do not match the log; they are rebuilt");
            }
            usable
        });
        let better = usable.filter(|(_, at)| best.as_ref().is_none_or(|(.., known)| known.applied.at < at.applied.at));
        rejected.extend(match better {
            Some((tables, at)) => best.replace((place, tables, at)).map(|(place, ..)| place),
            None => Some(place),
        });
    }
    if let Some((place, tables, at)) = best {
        return Ok(ChosenTables { place, number_max, tables, at, rejected });
    }
    let purged = shared.index().standing().purged;
    if let Some(purged) = purged
        && shared.drives().snapshot.is_none()
    {
        return Err(StartError::SnapshotLost { purged });
    }
    let (place, tables) = empty_tables(options, shared, number_max + 1)?;
    Ok(ChosenTables { number_max: place.number, place, tables, at: TablesAt::default(), rejected })
}

/// Fails if tables could not be opened or read because the host lacks resources: they may be whole.
fn check_resources(node: NodeId, error: &KvError) -> Result<(), StartError> {
    if error.lacks_resources {
        return Err(StartError::LacksResources(format!("the metadata tables on drive {node}: {error}")));
    }
    Ok(())
}

fn open_tables(options: &ReplicaOptions, dir: &Path, place: StatePlace) -> Result<Found, StartError> {
    let opened = options.home.open(place.node, dir, place.number).and_then(MetaTables::open);
    let found = opened.and_then(|tables| Ok((tables.applied()?, tables)));
    let (applied, tables) = match found {
        Ok((Some(applied), tables)) => (applied, tables),
        Ok((None, _)) => return Ok(Found { place, tables: None, is_unfinished: true }),
        Err(error) => {
            tracing::warn!(node = %place.node, %error, "metadata tables cannot be used");
            check_resources(place.node, &error)?;
            return Ok(Found { place, tables: None, is_unfinished: false });
        }
    };
    let at = TablesAt::decode(&applied.position);
    let at = at.inspect_err(|fault| tracing::warn!(node = %place.node, %fault, "the position of the metadata tables cannot be read; they are rebuilt"));
    Ok(Found { place, tables: at.ok().map(|at| (tables, at)), is_unfinished: false })
}

/// Removes what removals of tables have left that an earlier process did not finish.
fn finish_removals(options: &ReplicaOptions) {
    for drive in &options.drives {
        let dir = drive.clone().into_idle().state_dir();
        if let Err(error) = options.home.finish_removals(drive.node, &dir) {
            tracing::warn!(node = %drive.node, %error, "the rest of former metadata tables cannot be removed");
        }
    }
}

pub(super) fn discard(options: &ReplicaOptions, place: &StatePlace) {
    let Some(drive) = options.drives.iter().find(|drive| drive.node == place.node) else { return };
    let dir = drive.clone().into_idle().state_dir();
    if let Err(error) = options.home.discard(place.node, &dir, place.number) {
        tracing::warn!(node = %place.node, %error, "metadata tables cannot be removed");
    }
}

fn empty_tables(
    options: &ReplicaOptions,
    shared: &Shared,
    number: u32,
) -> Result<(StatePlace, MetaTables), StartError> {
    let live: Vec<(NodeId, Drive)> = {
        let drives = shared.drives();
        drives.with_role(DriveRole::Live).map(|(node, drive)| (node, drive.clone())).collect()
    };
    let mut last = "no drive is left".to_owned();
    for (node, drive) in live {
        let dir = drive.state_dir();
        let made = options.home.list(node, &dir).and_then(|numbers| {
            // A drive whose tables could not be listed before may have some with this number.
            let number = numbers.into_iter().fold(number, |free, used| free.max(used.saturating_add(1)));
            let tables = MetaTables::open(options.home.open(node, &dir, number)?)?;
            Ok((StatePlace { node, number }, tables))
        });
        match made {
            Ok(made) => return Ok(made),
            Err(error) => last = error.to_string(),
        }
    }
    Err(StartError::Tables(last))
}
