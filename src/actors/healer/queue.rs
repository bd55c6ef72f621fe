//! This host's view of the repair queue: it goes through all of it, picks the repairs on its own nodes, and counts.
//! Each host does so for itself, so that every shard has one host that repairs it, and none waits for another.

use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::storage::meta::record::{BlobRef, RepairRow};
use crate::storage::stripe::BlobLayout;
use crate::types::{BlobId, NodeId, ShardId, ShardIndex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Rows looked up together.
const PAGE: usize = 256;
/// A pass is followed by a pause of so many times what it took, so that a long queue of others' does not keep this host busy.
const REST_FACTOR: u32 = 10;
/// The longest rest: repairs that became possible are found by the next pass.
const REST_MAX: Duration = Duration::from_secs(5);

/// The result of a pass over the queue.
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

/// Returns the approximate size of a shard of this blob.
pub(super) fn shard_bytes(blob: &BlobRef) -> u64 {
    match BlobLayout::new(blob.geometry, blob.size_bytes) {
        Ok(_) => blob.size_bytes.div_ceil(u64::from(blob.geometry.data.max(1))),
        Err(_) => 0,
    }
}

/// The outcome of looking further.
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
    /// Time spent on the pass under way: in the tables only, not on repairs in between, nor waiting for whoever leads.
    looking: Duration,
    rest_until: Duration,
    /// The next pass need not wait.
    hurried: bool,
}

impl RepairQueue {
    /// The next row of this host's nodes that was looked up.
    pub(super) fn take(&mut self) -> Option<RepairRow> {
        self.local.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.local.is_empty()
    }

    /// Subtracts repaired shards that the pass may have counted.
    pub(super) fn repaired(&mut self, bytes: u64, shards: u64) {
        self.tally.local_shards = self.tally.local_shards.saturating_sub(shards);
        self.tally.local_bytes = self.tally.local_bytes.saturating_sub(bytes);
    }

    /// Something was queued, or can be repaired again that was passed over: the next pass need not wait.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Looks one page further. Rows are in order of blob, so that a node that is filled again is filled in order.
    pub(super) async fn look(&mut self, context: &ClusterContext, idle: Duration) -> Result<Looked, UpkeepError> {
        let clock = Arc::clone(&context.ambient.clock);
        let after = self.cursor;
        if after.is_none() && !self.hurried && clock.monotonic() < self.rest_until {
            return Ok(Looked::Resting);
        }
        let look_up = context.look_up(move |view| {
            let began = clock.monotonic();
            let rows = view.repairs(after, PAGE)?;
            Ok((rows, clock.monotonic().saturating_sub(began)))
        });
        let (rows, took) = look_up.await?;
        if after.is_none() {
            (self.looking, self.tally, self.hurried) = (Duration::ZERO, Tally::default(), false);
        }
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
        self.looking += took;
        self.local.extend(local.iter().cloned());
        if more {
            return Ok(Looked::Page { rows: local, tally: self.tally });
        }
        self.rest_until = context.ambient.clock.monotonic() + rest_after(self.looking, idle);
        Ok(Looked::End { rows: local, tally: self.tally })
    }
}

fn rest_after(looking: Duration, idle: Duration) -> Duration {
    looking.saturating_mul(REST_FACTOR).min(REST_MAX).max(idle)
}

pub(super) fn shard_of(row: &RepairRow) -> ShardId {
    ShardId { blob: row.blob.id, shard: row.shard }
}

/// Returns the node on which the shard is to be repaired.
pub(super) fn node_of(row: &RepairRow) -> Option<NodeId> {
    row.blob.placement.get(usize::from(row.shard.0)).copied()
}

#[cfg(test)]
mod tests {
    use super::{REST_MAX, rest_after};
    use std::time::Duration;

    #[test]
    fn a_long_pass_is_followed_by_a_longer_rest_within_bounds() {
        let idle = Duration::from_secs(1);
        let ms = Duration::from_millis;
        assert_eq!(rest_after(ms(1), idle), idle);
        assert_eq!(rest_after(ms(300), idle), ms(3000));
        assert_eq!(rest_after(ms(4000), idle), REST_MAX);
        assert_eq!(rest_after(Duration::MAX, 2 * REST_MAX), 2 * REST_MAX);
    }
}
