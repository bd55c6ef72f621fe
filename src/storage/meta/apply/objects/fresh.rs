//! Fresh blobs: they were written to the drives under an id that no entry has named yet, and are adopted by the change
//! that names them. Rows of `blobs` are made only here.
//!
//! No change adopts a blob whose id is below the fence. So an unknown blob below the fence is an orphan for good, in
//! this entry and all later ones: its shards may be dropped, whoever still writes to them, and whatever the clocks.

use super::super::{Applying, Decided};
use crate::defects::{Defect, has};
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{Refusal, Reply};
use crate::storage::meta::record::{BlobRef, FenceRecord, RecoveryRecord, RepairRow};
use crate::storage::meta::tables::{BLOBS, GARBAGE, REPAIRS, SYSTEM, SYSTEM_FENCE, SYSTEM_RECOVERY, repair_key};
use crate::storage::ring::{most_on_a_node, write_quorum};
use crate::types::{BlobId, NodeId, ShardNumber};
use std::collections::BTreeSet;

/// A blob that the present change may adopt. Only `require_fresh` makes one, so that no blob is adopted unchecked.
pub(in super::super) struct FreshBlob {
    blob: BlobRef,
    /// Sorted, without repetitions.
    missing: BTreeSet<ShardNumber>,
}

impl Applying<'_> {
    /// Checks that a blob is well formed, unknown, not below the fence, and still readable. A known blob belongs to
    /// another change. Shards on drives that were removed or replaced since they were written count as missing; too
    /// many of them are refused.
    pub(in super::super) fn require_fresh(&mut self, blob: &BlobRef, missing: &[ShardNumber]) -> Decided<FreshBlob> {
        let shards = blob.geometry.shards();
        let well_formed = blob.placement.len() == shards && missing.iter().all(|shard| usize::from(shard.0) < shards);
        if !well_formed || self.is_known(blob)? {
            return Err(Refusal::InvalidRequest.into());
        }
        if blob.id < self.fence()?.below && !has(Defect::AdoptFencedBlob) {
            return Err(Refusal::Fenced.into());
        }
        let mut missing: BTreeSet<ShardNumber> = missing.iter().copied().collect();
        let named = missing.len();
        for (shard, node) in (0..=u8::MAX).map(ShardNumber).zip(&blob.placement) {
            if self.was_removed(*node)? || self.was_replaced(*node)? {
                missing.insert(shard);
            }
        }
        let quorum = write_quorum(blob.geometry, most_on_a_node(&blob.placement));
        if missing.len() > named && shards - missing.len() < quorum {
            return Err(Refusal::NoSuchNode.into());
        }
        Ok(FreshBlob { blob: blob.clone(), missing })
    }

    /// Returns whether another drive may have had this node id when the blobs of the present change were written.
    fn was_replaced(&mut self, node: NodeId) -> KvResult<bool> {
        let Some(written_by) = self.written_by else { return Ok(false) };
        Ok(self.registered()?.nodes.get(&node).is_some_and(|since| *since > written_by))
    }

    pub(in super::super) fn is_known(&self, blob: &BlobRef) -> KvResult<bool> {
        let key = blob.id.to_be_bytes();
        Ok(self.rows.has(BLOBS, &key)? || self.rows.has(GARBAGE, &key)?)
    }

    /// Adopts a fresh blob, and queues its missing shards for repair. Those on removed drives are later moved to other
    /// drives and repaired there; those on replaced drives are repaired on the new drives.
    pub(in super::super) fn adopt_blob(&mut self, FreshBlob { blob, missing }: FreshBlob) -> KvResult<()> {
        self.rows.put_row(BLOBS, &blob.id.to_be_bytes(), &blob);
        self.counts.blobs += 1;
        for shard in missing {
            let row = RepairRow { blob: blob.clone(), shard, since: self.now };
            self.rows.put_row(REPAIRS, &repair_key(blob.id, shard), &row);
            self.counts.repairs += 1;
            self.counts.repairs_ever += 1;
        }
        self.update_held(blob.placement.iter().copied(), |held| held.placed += 1)
    }

    pub(in super::super) fn raise_fence(&mut self, below: BlobId) -> KvResult<Reply> {
        let fence = self.fence()?;
        if below > fence.below {
            fence.below = below;
            let fence = *fence;
            self.rows.put_row(SYSTEM, SYSTEM_FENCE, &fence);
        }
        Ok(Reply::Done)
    }

    pub(in super::super) fn note_recovery(&mut self, recovery: &RecoveryRecord) -> Reply {
        self.rows.put_row(SYSTEM, SYSTEM_RECOVERY, recovery);
        Reply::Done
    }

    fn fence(&mut self) -> KvResult<&mut FenceRecord> {
        let fence = match self.fence {
            Some(fence) => fence,
            None => self.rows.row(SYSTEM, SYSTEM_FENCE)?.unwrap_or_default(),
        };
        Ok(self.fence.insert(fence))
    }
}
