//! Fills a drive with a copy of the log, while the other copies go on: first the current snapshot, then the retained
//! entries, in rounds until few are missing. The mirror appends those when the copy joins it.

use crate::actors::consensus::shared::{Shared, no_longer_here, read_entries};
use crate::actors::consensus::state::{SnapshotStore, is_damage};
use crate::actors::log::LogHandle;
use crate::storage::raft_log::{LogIndex, LogRecord, Position};
use crate::storage::wal::Location;
use crate::types::NodeId;
use std::sync::Arc;

/// The maximum bytes of entries in one append.
const CHUNK_BYTES_MAX: u64 = 1 << 20;
/// How often a fill may start over because the log was purged or truncated meanwhile.
const RESTARTS_MAX: u32 = 5;

/// A fill between two rounds.
pub struct Fill {
    shared: Arc<Shared>,
    snapshots: SnapshotStore,
    node: NodeId,
    copy: Option<Filled>,
    restarts: u32,
}

/// A copy that has the entries before `next`.
pub struct Filled {
    pub log: LogHandle,
    /// The index of the first entry that it lacks.
    pub next: u64,
    /// The location of each record in the copy, with its entry's index if it is an entry.
    pub places: Vec<(Option<u64>, Location)>,
    purged: Option<Position>,
    truncations: u64,
    fill: Box<Fill>,
}

impl Fill {
    pub fn new(shared: Arc<Shared>, snapshots: SnapshotStore, node: NodeId) -> Self {
        Self { shared, snapshots, node, copy: None, restarts: 0 }
    }
}

impl Filled {
    /// Returns whether the log still begins where this copy does, and nothing in it was truncated.
    pub fn is_base_current(&self, index: &LogIndex) -> bool {
        index.standing().purged == self.purged && index.truncations() == self.truncations
    }

    /// Returns the fill, to go on with another round.
    pub fn into_fill(mut self) -> Fill {
        let emptied = Fill::new(Arc::clone(&self.fill.shared), self.fill.snapshots.clone(), self.fill.node);
        let mut fill = *std::mem::replace(&mut self.fill, Box::new(emptied));
        fill.copy = Some(self);
        fill
    }
}

/// Fills one round: the entries that were in the log when the round began. Starts over if the log was purged or
/// truncated, or another snapshot was written, since the last round.
pub async fn fill(mut state: Fill) -> Result<Filled, String> {
    let mut copy = match state.copy.take() {
        Some(copy) if stands(&copy) => copy,
        Some(copy) => {
            let _ = copy.log.close_unbounded().await;
            state.restarts += 1;
            if state.restarts > RESTARTS_MAX {
                return Err("the log changes faster than it is copied".to_owned());
            }
            begin(state).await?
        }
        None => begin(state).await?,
    };
    match round(&mut copy).await {
        Ok(()) => Ok(copy),
        Err(why) => {
            let _ = copy.log.close_unbounded().await;
            Err(why)
        }
    }
}

fn stands(copy: &Filled) -> bool {
    let shared = &copy.fill.shared;
    copy.is_base_current(&shared.index()) && shared.drives().holds_snapshot(copy.fill.node)
}

/// Appends the missing entries. Ends early if entries were purged or truncated meanwhile; the next round then starts
/// over.
async fn round(copy: &mut Filled) -> Result<(), String> {
    let shared = Arc::clone(&copy.fill.shared);
    let end = shared.index().next_index();
    if copy.next >= end {
        return Ok(());
    }
    let resume = shared.index().resume(copy.next.checked_sub(1));
    let sequence = resume.sequence();
    append(copy, vec![resume]).await?;
    while copy.next < end {
        let to = shared.index().run_end(copy.next, end, CHUNK_BYTES_MAX);
        let entries = read_entries(&shared, copy.next, to).await.map_err(|error| error.to_string())?;
        if entries.first().map(|entry| entry.at.index) != Some(copy.next) {
            return Ok(());
        }
        let committed = shared.index().standing().committed;
        let records: Vec<LogRecord> =
            entries.into_iter().map(|entry| LogRecord::Entry { sequence, committed, entry }).collect();
        copy.next += records.len() as u64;
        append(copy, records).await?;
    }
    tracing::debug!(node = %copy.fill.node, next = copy.next, "a copy of the metadata log was filled further");
    Ok(())
}

/// Begins a copy: an empty log on the drive, and the current snapshot beside it.
async fn begin(state: Fill) -> Result<Filled, String> {
    let (shared, node) = (Arc::clone(&state.shared), state.node);
    let drive = shared.drives().by_node.get(&node).cloned().ok_or_else(|| no_longer_here(node))?;
    let (purged, truncations, first) = {
        let index = shared.index();
        (index.standing().purged, index.truncations(), index.first_index())
    };
    let opener = shared.opener.clone();
    let log = opener.open_fresh(shared.offload, node, drive).await.map_err(|error| error.to_string())?;
    let copied = state.snapshots.copy_to(node).await;
    let copied = copied.map_err(|error| {
        if is_damage(&error) {
            shared.want_snapshot();
        }
        format!("the metadata snapshot cannot be copied: {error}")
    });
    let mut copy = Filled { log, next: first, places: Vec::new(), purged, truncations, fill: Box::new(state) };
    let resume = shared.index().resume(None);
    let begun = match copied {
        Ok(()) => append(&mut copy, vec![resume]).await,
        Err(why) => Err(why),
    };
    if let Err(why) = begun {
        let _ = copy.log.close_unbounded().await;
        return Err(why);
    }
    Ok(copy)
}

async fn append(copy: &mut Filled, records: Vec<LogRecord>) -> Result<(), String> {
    let wal = records.iter().map(LogRecord::to_wal).collect();
    let locations = copy.log.append_synced(wal).await.map_err(|error| error.to_string())?;
    copy.places.extend(records.iter().map(LogRecord::index).zip(locations));
    Ok(())
}
