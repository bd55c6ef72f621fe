//! The repair queue.

use super::Applying;
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{FinishedRepair, Reply};
use crate::storage::meta::record::{BlobRef, NodeRecord, RepairRow};
use crate::storage::meta::tables::{BLOBS, NODES, REPAIRS, node_key, repair_key};
use crate::types::{ShardId, ShardNumber};

impl Applying<'_> {
    /// Queues repairs of shards whose blobs something still refers to. A queued repair has the blob as the tables have
    /// it, not as the proposer saw it.
    pub(super) fn queue_repairs(&mut self, missing: &[(BlobRef, ShardNumber)]) -> KvResult<Reply> {
        for (blob, shard) in missing {
            let Some(blob) = self.rows.row::<BlobRef>(BLOBS, &blob.id.to_be_bytes())? else { continue };
            let key = repair_key(blob.id, *shard);
            if usize::from(shard.0) < blob.placement.len() && !self.rows.has(REPAIRS, &key)? {
                self.rows.put_row(REPAIRS, &key, &RepairRow { blob, shard: *shard, since: self.now });
                self.counts.repairs += 1;
                self.counts.repairs_ever += 1;
            }
        }
        Ok(Reply::Done)
    }

    /// Ends repairs of shards that are still on the drive on which they were repaired: a moved shard may have gaps at
    /// its new place. A blob that is gone has no repairs any more.
    pub(super) fn finish_repairs(&mut self, done: &[FinishedRepair]) -> KvResult<Reply> {
        for FinishedRepair { shard, node, incarnation } in done {
            let known: Option<NodeRecord> = self.rows.row(NODES, &node_key(*node))?;
            if known.map(|known| known.incarnation) != *incarnation {
                continue;
            }
            let Some(blob) = self.rows.row::<BlobRef>(BLOBS, &shard.blob.to_be_bytes())? else { continue };
            if blob.placement.get(usize::from(shard.shard.0)) == Some(node) {
                self.finish_repair(*shard)?;
            }
        }
        Ok(Reply::Done)
    }

    fn finish_repair(&mut self, shard: ShardId) -> KvResult<()> {
        let key = repair_key(shard.blob, shard.shard);
        if self.rows.has(REPAIRS, &key)? {
            self.rows.remove(REPAIRS, &key);
            self.counts.repairs -= 1;
        }
        Ok(())
    }
}
