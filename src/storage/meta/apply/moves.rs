//! Moves of shards. A move changes the placement in `blobs`; the old copy is remembered until its node has dropped it.

use super::Applying;
use crate::limits::SHARDS_MAX;
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{MovedShard, Reply};
use crate::storage::meta::record::{BlobRef, LeftoverRow, NodeRecord, NodeState, RepairRow};
use crate::storage::meta::tables::{BLOBS, LEFTOVERS, NODES, REPAIRS, leftover_key, node_key, repair_key};
use crate::types::{Epoch, NodeId, ShardId};

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
        let key = shard.blob.to_be_bytes();
        let Some(mut blob) = self.rows.row::<BlobRef>(BLOBS, &key)? else { return Ok(false) };
        let Some(place) = blob.placement.get_mut(usize::from(shard.shard.0)) else { return Ok(false) };
        if *place != from || from == to || !self.may_take(step)? {
            return Ok(*place == to);
        }
        *place = to;
        if step.whole && self.endangers(&blob, step)? {
            return Ok(false);
        }
        self.rows.put_row(BLOBS, &key, &blob);
        self.update_held([from], |held| held.placed -= 1)?;
        self.update_held([to], |held| held.placed += 1)?;
        self.move_repairs(&blob, step)?;
        self.forget_leftover(to, shard)?;
        self.leave_behind(from, shard)?;
        Ok(true)
    }

    /// Returns whether, after the move, the loss of one drive would lose the blob, and would not now. That is so if
    /// other shards are missing and the drive already has a shard of the blob.
    fn endangers(&self, blob: &BlobRef, step: &MovedShard) -> KvResult<bool> {
        if self.counts.repairs == 0 {
            return Ok(false);
        }
        let missing = self.rows.first(REPAIRS, &blob.id.to_be_bytes(), SHARDS_MAX)?;
        let is_missing = |shard| {
            let key = repair_key(blob.id, shard);
            shard != step.shard.shard && missing.iter().any(|(queued, _)| queued[..] == key)
        };
        let mut before = blob.clone();
        before.placement[usize::from(step.shard.shard.0)] = step.from;
        Ok(before.can_lose_a_node(is_missing) && !blob.can_lose_a_node(is_missing))
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
