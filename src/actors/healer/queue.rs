//! `RepairQueue`: reads the repair queue of the metadata, picks the repairs on this host's nodes, and counts all of
//! them. Each host reads the whole queue for itself: so every shard has one host that repairs it, and no host waits for
//! another.

use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::storage::meta::record::{BlobRef, RepairRow};
use crate::storage::stripe::BlobLayout;
use crate::types::{BlobId, NodeId, ShardId, ShardNumber};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The number of rows in a page.
const PAGE: usize = 256;
/// The rest after a pass, as a multiple of its duration: a long queue of other hosts' repairs must not keep this host
/// busy.
const REST_FACTOR: u32 = 10;
/// The longest rest after a pass, if `idle` is not longer: the next pass finds repairs that have become possible.
const REST_MAX: Duration = Duration::from_secs(5);

/// The result of a pass over the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The queued shards of all nodes, and the number of their blobs.
    pub(super) shards: u64,
    pub(super) blobs: u64,
    /// The queued shards of this host's nodes, and an upper bound of the bytes to write for them.
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

/// The result of `RepairQueue::look`.
#[derive(Debug)]
pub(super) enum Looked {
    /// A page was read and more follow. `rows` are those of this host's nodes; `tally` has the counts of the pass so
    /// far.
    Page { rows: Vec<RepairRow>, tally: Tally },
    /// The last page was read. `tally` has the counts of the whole pass.
    End { rows: Vec<RepairRow>, tally: Tally },
    /// No pass is due yet.
    Resting,
}

#[derive(Debug, Default)]
pub(super) struct RepairQueue {
    local: VecDeque<RepairRow>,
    cursor: Option<(BlobId, ShardNumber)>,
    tally: Tally,
    /// The time that the pass under way has spent reading the tables, without repairs in between and without waiting
    /// for the leader.
    looking: Duration,
    rest_until: Duration,
    /// True if the next pass does not wait for the end of the rest.
    hurried: bool,
}

impl RepairQueue {
    /// Takes the next row of this host's nodes out of those that were read.
    pub(super) fn take(&mut self) -> Option<RepairRow> {
        self.local.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.local.is_empty()
    }

    /// Subtracts repaired shards from the counts of the pass, which may include them.
    pub(super) fn repaired(&mut self, bytes: u64, shards: u64) {
        self.tally.local_shards = self.tally.local_shards.saturating_sub(shards);
        self.tally.local_bytes = self.tally.local_bytes.saturating_sub(bytes);
    }

    /// Makes the next pass start without a rest: repairs were queued or finished, or have become possible.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Reads the next page. Rows are in order of blob, so that an empty node is refilled in that order.
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
    fn the_rest_after_a_queue_pass_grows_with_its_length_within_bounds() {
        let idle = Duration::from_secs(1);
        let ms = Duration::from_millis;
        assert_eq!(rest_after(ms(1), idle), idle);
        assert_eq!(rest_after(ms(300), idle), ms(3000));
        assert_eq!(rest_after(ms(4000), idle), REST_MAX);
        assert_eq!(rest_after(Duration::MAX, 2 * REST_MAX), 2 * REST_MAX);
    }
}
