//! Moves of shards. A move changes the placement in `blobs`; the old copy is remembered until its node has dropped it.
//!
//! The moves that a layout wants may be made in any order (`Ring::moves`). Only while shards of a blob are missing are
//! those of its other shards put off that would make it depend on one node or host. Their wait ends with the repairs,
//! and no repair waits for them: the move of a missing shard is not put off.

use super::Applying;
use crate::limits::SHARDS_MAX;
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{MovedShard, Reply};
use crate::storage::meta::record::{BlobRef, LeftoverRow, NodeRecord, NodeState, RepairRow};
use crate::storage::meta::tables::{BLOBS, LEFTOVERS, NODES, REPAIRS, leftover_key, node_key, repair_key};
use crate::types::{Epoch, NodeId, ShardId};
use std::collections::BTreeMap;

impl Applying<'_> {
    pub(super) fn move_shards(&mut self, epoch: Epoch, moves: &[MovedShard]) -> KvResult<Reply> {
        let current = self.layout()?.epoch == epoch;
        let mut moved = Vec::with_capacity(moves.len());
        for step in moves {
            moved.push(current && self.move_shard(step)?);
        }
        Ok(Reply::Moved(moved))
    }

    fn move_shard(&mut self, step: &MovedShard) -> KvResult<bool> {
        let MovedShard { shard, from, to, .. } = *step;
        let (key, at) = (shard.blob.to_be_bytes(), usize::from(shard.shard.0));
        let Some(mut blob) = self.rows.row::<BlobRef>(BLOBS, &key)? else { return Ok(false) };
        let Some(&place) = blob.placement.get(at) else { return Ok(false) };
        if place != from || from == to || !self.may_take(step)? {
            return Ok(place == to);
        }
        if step.whole && self.endangers(&blob, step)? {
            return Ok(false);
        }
        blob.placement[at] = to;
        self.rows.put_row(BLOBS, &key, &blob);
        self.counts.moves_ever += 1;
        self.update_held([from], |held| held.placed -= 1)?;
        self.update_held([to], |held| held.placed += 1)?;
        self.move_repairs(&blob, step)?;
        self.forget_leftover(to, shard)?;
        self.leave_behind(from, shard)?;
        Ok(true)
    }

    /// Returns whether shards of the blob are missing, but not this one, and after the move the loss of one node or
    /// host would lose the blob, and would not now.
    fn endangers(&self, blob: &BlobRef, step: &MovedShard) -> KvResult<bool> {
        if self.counts.repairs == 0 {
            return Ok(false);
        }
        let missing = self.rows.first(REPAIRS, &blob.id.to_be_bytes(), SHARDS_MAX)?;
        let is_missing = |shard| {
            let key = repair_key(blob.id, shard);
            missing.iter().any(|(queued, _)| queued[..] == key)
        };
        if missing.is_empty() || is_missing(step.shard.shard) {
            return Ok(false);
        }
        let mut hosts = BTreeMap::new();
        for &node in blob.placement.iter().chain([&step.to]) {
            if let Some(record) = self.rows.row::<NodeRecord>(NODES, &node_key(node))? {
                hosts.insert(node, record.host);
            }
        }
        Ok(blob.is_endangered_by((step.shard.shard, step.to), is_missing, |node| hosts.get(&node).copied()))
    }

    /// Returns whether the drive that has the copy may take the shard: it is active and was not replaced.
    fn may_take(&self, step: &MovedShard) -> KvResult<bool> {
        let node = self.rows.row::<NodeRecord>(NODES, &node_key(step.to))?;
        Ok(node.is_some_and(|node| node.state == NodeState::Active && node.incarnation == step.incarnation))
    }

    /// Updates the placement in the queued repairs of the blob. A whole copy ends the repair of the moved shard; a copy
    /// with gaps queues one.
    fn move_repairs(&mut self, blob: &BlobRef, step: &MovedShard) -> KvResult<()> {
        let key = repair_key(blob.id, step.shard.shard);
        if self.counts.repairs > 0 {
            for (other, row) in self.rows.first(REPAIRS, &blob.id.to_be_bytes(), SHARDS_MAX)? {
                if step.whole && other[..] == key {
                    self.rows.remove(REPAIRS, &key);
                    self.counts.repairs -= 1;
                } else {
                    let row: RepairRow = crate::storage::meta::codec::decode(&row)?;
                    self.rows.put_row(REPAIRS, &other, &RepairRow { blob: blob.clone(), ..row });
                }
            }
        }
        if !step.whole && !self.rows.has(REPAIRS, &key)? {
            let row = RepairRow { blob: blob.clone(), shard: step.shard.shard, since: self.now };
            self.rows.put_row(REPAIRS, &key, &row);
            self.counts.repairs += 1;
            self.counts.repairs_ever += 1;
        }
        Ok(())
    }

    /// Remembers a shard's old copy, to be dropped, unless its node was removed.
    fn leave_behind(&mut self, node: NodeId, shard: ShardId) -> KvResult<()> {
        let removed = node.0 < self.layout()?.nodes_ever && !self.rows.has(NODES, &node_key(node))?;
        if !removed {
            self.rows.put_row(LEFTOVERS, &leftover_key(node, shard), &LeftoverRow { entry: self.index });
            self.update_held([node], |held| held.leftovers += 1)?;
        }
        Ok(())
    }

    fn forget_leftover(&mut self, node: NodeId, shard: ShardId) -> KvResult<()> {
        let key = leftover_key(node, shard);
        if self.rows.has(LEFTOVERS, &key)? {
            self.rows.remove(LEFTOVERS, &key);
            self.update_held([node], |held| held.leftovers -= 1)?;
        }
        Ok(())
    }

    pub(super) fn forget_leftovers(&mut self, gone: &[(NodeId, ShardId)]) -> KvResult<Reply> {
        gone.iter().try_for_each(|(node, shard)| self.forget_leftover(*node, *shard))?;
        Ok(Reply::Done)
    }
}
