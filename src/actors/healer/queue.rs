//! What this host sees of the repair queue: it goes through all of it, picks what is to be repaired on its own nodes, and
//! counts. Each host does so for itself, so that every shard has one host that repairs it, and none waits for another.

use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::storage::meta::record::{BlobRef, RepairRow};
use crate::storage::stripe::BlobLayout;
use crate::types::{BlobId, NodeId, ShardId, ShardIndex};
use std::collections::VecDeque;
use std::time::Duration;

/// Rows looked up together.
const PAGE: usize = 256;
/// A pass is followed by a pause of so many times what it took, so that a long queue of others' does not keep this host busy.
const REST_FACTOR: u32 = 10;

/// What a pass over the queue found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Shards of any node, and the blobs that they are of.
    pub(super) shards: u64,
    pub(super) blobs: u64,
    /// Shards of this host's nodes, and how much there is to write for them at most.
    pub(super) local_shards: u64,
    pub(super) local_bytes: u64,
    last: Option<BlobId>,
}

impl Tally {
    fn count(&mut self, row: &RepairRow, is_local: bool) {
        self.shards += 1;
        self.blobs += u64::from(self.last.replace(row.blob.id) != Some(row.blob.id));
        if is_local {
            self.local_shards += 1;
            self.local_bytes += shard_bytes(&row.blob);
        }
    }
}

/// About how many bytes a shard of this blob has.
pub(super) fn shard_bytes(blob: &BlobRef) -> u64 {
    match BlobLayout::new(blob.geometry, blob.size_bytes) {
        Ok(_) => blob.size_bytes.div_ceil(u64::from(blob.geometry.data.max(1))),
        Err(_) => 0,
    }
}

/// What came of looking further.
#[derive(Debug)]
pub(super) enum Looked {
    /// A page; its rows of this host's nodes wait to be taken. What the pass has found so far.
    Page { rows: Vec<RepairRow>, tally: Tally },
    /// The end was reached with the last page: what the whole pass found.
    End { rows: Vec<RepairRow>, tally: Tally },
    /// It is not yet time for another pass.
    Resting,
}

#[derive(Debug, Default)]
pub(super) struct RepairQueue {
    local: VecDeque<RepairRow>,
    cursor: Option<(BlobId, ShardIndex)>,
    tally: Tally,
    /// Time spent on the pass under way, repairs in between not counted.
    looking: Duration,
    rest_until: Duration,
}

impl RepairQueue {
    /// The next row of this host's nodes that was looked up.
    pub(super) fn take(&mut self) -> Option<RepairRow> {
        self.local.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.local.is_empty()
    }

    /// So much of what the pass may have counted is repaired.
    pub(super) fn repaired(&mut self, bytes: u64, shards: u64) {
        self.tally.local_shards = self.tally.local_shards.saturating_sub(shards);
        self.tally.local_bytes = self.tally.local_bytes.saturating_sub(bytes);
    }

    /// Something was queued: the next pass need not wait.
    pub(super) fn hurry(&mut self) {
        self.rest_until = Duration::ZERO;
    }

    /// Looks one page further. Rows are in order of blob, so that a node that is filled again is filled in order.
    pub(super) async fn look(&mut self, context: &ClusterContext, idle: Duration) -> Result<Looked, UpkeepError> {
        let now = context.ambient.clock.monotonic();
        if self.cursor.is_none() {
            if now < self.rest_until {
                return Ok(Looked::Resting);
            }
            (self.looking, self.tally) = (Duration::ZERO, Tally::default());
        }
        let after = self.cursor;
        let rows = context.look_up(move |view| view.repairs(after, PAGE)).await?;
        let more = rows.len() >= PAGE;
        let next = rows.last().map(|row| (row.blob.id, row.shard)).filter(|_| more);
        let mut local = Vec::new();
        for row in rows {
            let is_local = node_of(&row).is_some_and(|node| context.is_local(node));
            self.tally.count(&row, is_local);
            if is_local {
                local.push(row);
            }
        }
        self.cursor = next;
        self.looking += context.ambient.clock.monotonic().saturating_sub(now);
        self.local.extend(local.iter().cloned());
        if more {
            return Ok(Looked::Page { rows: local, tally: self.tally });
        }
        self.rest_until = now + idle.max(self.looking * REST_FACTOR);
        Ok(Looked::End { rows: local, tally: self.tally })
    }
}

pub(super) fn shard_of(row: &RepairRow) -> ShardId {
    ShardId { blob: row.blob.id, shard: row.shard }
}

/// Where the shard is to be made whole.
pub(super) fn node_of(row: &RepairRow) -> Option<NodeId> {
    row.blob.placement.get(usize::from(row.shard.0)).copied()
}
