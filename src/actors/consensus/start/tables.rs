//! The snapshot and the tables at start: the newest that lie on the log.

use super::{ReplicaOptions, StartError};
use crate::actors::consensus::raft_types::log_id_of;
use crate::actors::consensus::shared::{Drive, DriveRole, Shared, StandingSnapshot};
use crate::actors::consensus::state::{SnapshotStore, StatePlace, lies_on_log, newest_on};
use crate::storage::meta::MetaTables;
use crate::storage::raft_log::AppliedAt;
use crate::types::NodeId;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The newest snapshot that any live copy has, given to those that lack it. Every snapshot is of what was committed, so
/// one beyond the log's end stands: a follower's that came from the leader, or of entries that others had committed
/// before they were synced here. openraft takes the log to it.
pub(super) async fn find_snapshot(shared: &Arc<Shared>, snapshots: &SnapshotStore) -> Result<(), StartError> {
    let live: Vec<(NodeId, Drive)> = {
        let drives = shared.drives();
        drives.with_role(DriveRole::Live).map(|(node, drive)| (node, drive.clone())).collect()
    };
    let mut newest: Option<StandingSnapshot> = None;
    for (node, drive) in &live {
        let Some((at, bytes)) = newest_on(drive) else { continue };
        let (known, end) = {
            let index = shared.index();
            (index.position_of(at.index), index.next_index())
        };
        if known != Some(at) && at.index < end {
            tracing::warn!(%node, ?at, "a metadata snapshot that is not on the log is passed over");
            continue;
        }
        match &mut newest {
            Some(known) if known.at.index > at.index => {}
            Some(known) if known.at.index == at.index => {
                known.holders.insert(*node);
            }
            _ => newest = Some(StandingSnapshot { at: log_id_of(at), bytes, holders: BTreeSet::from([*node]) }),
        }
    }
    shared.drives().snapshot = newest;
    for (node, _) in live {
        if !shared.drives().holds_snapshot(node) {
            snapshots.copy_to(node).await?;
        }
    }
    Ok(())
}

/// The tables that have come furthest, of those that lie on the log; empty ones where there are none.
pub(super) async fn find_tables(
    options: &ReplicaOptions,
    shared: &Arc<Shared>,
) -> Result<(StatePlace, MetaTables, AppliedAt), StartError> {
    let mut best: Option<(StatePlace, MetaTables, AppliedAt)> = None;
    let mut number_max = 0;
    for drive in &options.drives {
        let dir = drive.clone().into_idle().state_dir();
        for number in options.home.list(drive.node, &dir) {
            number_max = number_max.max(number);
            let place = StatePlace { node: drive.node, number };
            let found = open_tables(options, shared, &dir, &place);
            let better = found.filter(|(_, applied)| best.as_ref().is_none_or(|(_, _, known)| known.at < applied.at));
            let rejected = match better {
                Some((tables, applied)) => best.replace((place, tables, applied)).map(|(place, _, _)| place),
                None => Some(place),
            };
            if let Some(place) = rejected {
                discard(options, &place);
            }
        }
    }
    if let Some(best) = best {
        return Ok(best);
    }
    let purged = shared.index().standing().purged;
    if let Some(purged) = purged
        && shared.drives().snapshot.is_none()
    {
        return Err(StartError::SnapshotLost { purged });
    }
    empty_tables(options, shared, number_max + 1)
}

fn open_tables(
    options: &ReplicaOptions,
    shared: &Shared,
    dir: &Path,
    place: &StatePlace,
) -> Option<(MetaTables, AppliedAt)> {
    let opened = options.home.open(place.node, dir, place.number).and_then(MetaTables::open);
    let found = opened.and_then(|tables| Ok((tables.applied()?, tables)));
    let (applied, tables) = match found {
        Ok((Some(applied), tables)) => (applied, tables),
        Ok((None, _)) => return None,
        Err(error) => {
            tracing::warn!(node = %place.node, %error, "metadata tables cannot be used; they are made anew");
            return None;
        }
    };
    let applied = AppliedAt::decode(&applied.position).ok().filter(|applied| lies_on_log(&shared.index(), applied.at));
    if applied.is_none() {
        tracing::warn!(node = %place.node, "metadata tables are not on the log; they are made anew");
    }
    Some((tables, applied?))
}

fn discard(options: &ReplicaOptions, place: &StatePlace) {
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
) -> Result<(StatePlace, MetaTables, AppliedAt), StartError> {
    let live: Vec<(NodeId, Drive)> = {
        let drives = shared.drives();
        drives.with_role(DriveRole::Live).map(|(node, drive)| (node, drive.clone())).collect()
    };
    let mut last = "no drive is left".to_owned();
    for (node, drive) in live {
        let place = StatePlace { node, number };
        match options.home.open(node, &drive.state_dir(), number).and_then(MetaTables::open) {
            Ok(tables) => return Ok((place, tables, AppliedAt::default())),
            Err(error) => last = error.to_string(),
        }
    }
    Err(StartError::Tables(last))
}
