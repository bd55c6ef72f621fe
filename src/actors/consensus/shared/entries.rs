//! Reading of log entries, from memory or from the copies on the drives.

use super::Shared;
use crate::actors::log::LogHandle;
use crate::storage::raft_log::{EntryPlace, LogEntry, LogRecord, Position};
use crate::storage::wal::{Location, RecordKind};
use crate::types::NodeId;
use std::io;
use std::sync::Arc;

/// Returns the entries of `from..to` that the log has, from memory or from the copies.
pub async fn read_entries(shared: &Arc<Shared>, from: u64, to: u64) -> io::Result<Vec<LogEntry>> {
    let places = shared.index().entries(from, to);
    if places.iter().all(|place| matches!(place, EntryPlace::Here(_))) {
        return places.into_iter().map(|place| load(&[], place)).collect();
    }
    let logs: Vec<(NodeId, LogHandle)> = {
        let drives = shared.drives();
        drives.by_node.iter().filter_map(|(node, drive)| Some((*node, drive.log.clone()?))).collect()
    };
    shared.offload.run(move || places.into_iter().map(|place| load(&logs, place)).collect()).await?
}

/// Returns the entry at a place. If it is not in memory, reads the copies in turn until one gives it; blocks then.
fn load(logs: &[(NodeId, LogHandle)], place: EntryPlace) -> io::Result<LogEntry> {
    let (at, copies) = match place {
        EntryPlace::Here(entry) => return Ok(entry),
        EntryPlace::Stored { at, copies } => (at, copies),
    };
    for (node, location) in copies {
        let Some((_, log)) = logs.iter().find(|(held, _)| *held == node) else { continue };
        match load_from(log, at, location) {
            Ok(entry) => return Ok(entry),
            Err(why) => {
                tracing::warn!(%node, index = at.index, %why, "an entry cannot be read from a copy of the metadata log")
            }
        }
    }
    Err(io::Error::other(format!("entry {} can be read from no copy of the metadata log", at.index)))
}

fn load_from(log: &LogHandle, at: Position, location: Location) -> Result<LogEntry, String> {
    let body = log.read(LogRecord::entry_key(at.index), location).map_err(|error| error.to_string())?;
    match LogRecord::decode(RecordKind::RaftEntry, &body).map_err(|fault| fault.to_string())? {
        LogRecord::Entry { entry, .. } if entry.at == at => Ok(entry),
        other => Err(format!("expected the entry at {at:?}, found {other:?}")),
    }
}
