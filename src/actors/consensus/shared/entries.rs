//! Reading of log entries, from memory or from the copies on the drives.

use super::Shared;
use crate::actors::log::LogHandle;
use crate::storage::raft_log::{EntryPlace, LogEntry, LogRecord, Position};
use crate::storage::wal::{Location, RecordKind, WalError};
use crate::types::NodeId;
use std::io;
use std::sync::Arc;

/// An entry of the log is damaged on every copy.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("entry {index} is damaged on every copy of the metadata log")]
struct EntryDamaged {
    index: u64,
}

impl From<EntryDamaged> for io::Error {
    fn from(damaged: EntryDamaged) -> Self {
        Self::new(io::ErrorKind::InvalidData, damaged)
    }
}

/// Returns whether an error says that an entry of the log is damaged on every copy.
pub fn is_damaged_entry(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|why| why.is::<EntryDamaged>())
}

/// The reason for which an entry was not read from a copy.
#[derive(Debug, thiserror::Error)]
enum NotRead {
    #[error(transparent)]
    Log(#[from] WalError),
    #[error("{0}")]
    Content(String),
}

impl NotRead {
    fn is_damage(&self) -> bool {
        matches!(self, Self::Log(WalError::Corrupt { .. }) | Self::Content(_))
    }
}

/// Returns the entries of `from..to` that the log has, from memory or from the copies.
pub async fn read_entries(shared: &Arc<Shared>, from: u64, to: u64) -> io::Result<Vec<LogEntry>> {
    match read_once(shared, from, to).await {
        // A segment may have been released while it was read: only damage that is found twice counts.
        Err(error) if is_damaged_entry(&error) => read_once(shared, from, to).await,
        read => read,
    }
}

async fn read_once(shared: &Arc<Shared>, from: u64, to: u64) -> io::Result<Vec<LogEntry>> {
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
    let (mut damaged, all) = (0, copies.len());
    for (node, location) in copies {
        let Some((_, log)) = logs.iter().find(|(held, _)| *held == node) else { continue };
        match load_from(log, at, location) {
            Ok(entry) => return Ok(entry),
            Err(why) => {
                damaged += usize::from(why.is_damage());
                tracing::warn!(%node, index = at.index, %why, "an entry of the metadata log cannot be read from a copy");
            }
        }
    }
    if damaged > 0 && damaged == all {
        return Err(EntryDamaged { index: at.index }.into());
    }
    Err(io::Error::other(format!("entry {} can be read from no copy of the metadata log", at.index)))
}

fn load_from(log: &LogHandle, at: Position, location: Location) -> Result<LogEntry, NotRead> {
    let body = log.read(LogRecord::entry_key(at.index), location)?;
    match LogRecord::decode(RecordKind::RaftEntry, &body).map_err(|fault| NotRead::Content(fault.to_string()))? {
        LogRecord::Entry { entry, .. } if entry.at == at => Ok(entry),
        other => Err(NotRead::Content(format!("expected the entry at {at:?}, found {other:?}"))),
    }
}
