//! Garbage: blobs that nothing refers to any more, kept until every node has dropped its shards. A long list of parts
//! is not taken apart by the change that drops it, so that the cost of a change does not depend on the number of parts.
//! Later `ReclaimGarbage` changes take it apart; they are proposed as long as dropped lists are left
//! (`Counts::dropped_lists`).

use super::Applying;
use crate::defects::{Defect, has};
use crate::limits::{DROPPED_ROWS_AT_ONCE, DROPPED_ROWS_PER_RECLAIM, SHARDS_MAX};
use crate::storage::kv::{KvError, KvResult, Table};
use crate::storage::meta::codec;
use crate::storage::meta::command::Reply;
use crate::storage::meta::record::{BlobRef, Body, GarbageRow, Manifest, PartRow};
use crate::storage::meta::tables::{
    BLOBS, COMPLETED, DROPPED, DroppedList, GARBAGE, INLINE, PARTS, REPAIRS, Shared, UPLOAD_PARTS, UPLOADS,
    bucket_prefix, split_upload_key,
};
use crate::types::{BucketId, ManifestId, ShardId, ShardNumber};

/// The result of taking entries off a dropped list.
struct Taken {
    rows: usize,
    /// True if entries are left in the list.
    more: bool,
}

impl Applying<'_> {
    /// Discards an object version that is no longer referred to.
    pub(super) fn discard_version(&mut self, old: &Manifest) -> KvResult<()> {
        match &old.body {
            Body::Empty => Ok(()),
            Body::Inline => {
                self.rows.remove(INLINE, &old.id.to_be_bytes());
                Ok(())
            }
            Body::Blob(blob) => self.discard_blob(blob),
            Body::Parts { .. } => self.discard_parts(old.id),
            Body::PartsOf { list, .. } | Body::Appended { list, .. } => self.discard_parts(*list),
        }
    }

    fn discard_parts(&mut self, list: ManifestId) -> KvResult<()> {
        if !self.release(Shared::Parts(list))? {
            return Ok(());
        }
        self.rows.remove(COMPLETED, &list.to_be_bytes());
        self.drop_list(DroppedList::ObjectParts(list))
    }

    /// Removes one reference to a blob. With the last reference the blob becomes garbage, and its repairs are removed.
    pub(super) fn discard_blob(&mut self, blob: &BlobRef) -> KvResult<()> {
        if !self.release(Shared::Blob(blob.id))? {
            return Ok(());
        }
        let key = blob.id.to_be_bytes();
        let unknown = || KvError::new("discard a blob", format!("blob {} is referred to but unknown", blob.id));
        let blob: BlobRef = self.rows.row(BLOBS, &key)?.ok_or_else(unknown)?;
        self.rows.remove(BLOBS, &key);
        self.counts.blobs -= 1;
        if self.counts.repairs > 0 {
            for (repair, _) in self.rows.first(REPAIRS, &key, SHARDS_MAX)? {
                self.rows.remove(REPAIRS, &repair);
                self.counts.repairs -= 1;
            }
        }
        self.update_held(blob.placement.iter().copied(), |held| held.placed -= 1)?;
        self.add_garbage(&blob)
    }

    /// Makes the blob of a refused change garbage, since nothing will ever refer to it. A blob that something refers to
    /// already is left alone.
    pub(super) fn discard_fresh(&mut self, blob: &BlobRef) -> KvResult<()> {
        if self.is_known(blob)? { Ok(()) } else { self.add_garbage(blob) }
    }

    fn add_garbage(&mut self, blob: &BlobRef) -> KvResult<()> {
        if has(Defect::ForgetGarbage) {
            return Ok(());
        }
        let shards = u8::try_from(blob.placement.len()).unwrap_or(u8::MAX);
        let row = GarbageRow { blob: blob.clone(), entry: self.index, pending: (0..shards).map(ShardNumber).collect() };
        self.rows.put_row(GARBAGE, &blob.id.to_be_bytes(), &row);
        self.counts.garbage += 1;
        self.update_held(blob.placement.iter().copied(), |held| held.garbage += 1)
    }

    /// Drops a list that nothing refers to any more. Its first rows become garbage now, as far as the lists that the
    /// command dropped before have left it any; the rest later.
    pub(super) fn drop_list(&mut self, list: DroppedList) -> KvResult<()> {
        let taken = self.take_apart(list, DROPPED_ROWS_AT_ONCE.min(self.droppable_rows))?;
        self.droppable_rows = self.droppable_rows.saturating_sub(taken.rows);
        if taken.more {
            self.rows.put(DROPPED, &list.key(), Vec::new());
            self.counts.dropped_lists += 1;
        }
        Ok(())
    }

    fn take_apart(&mut self, list: DroppedList, rows_max: usize) -> KvResult<Taken> {
        match list {
            DroppedList::ObjectParts(id) => self.take_parts(PARTS, &id.to_be_bytes(), rows_max),
            DroppedList::UploadParts(id) => self.take_parts(UPLOAD_PARTS, &id.to_be_bytes(), rows_max),
            DroppedList::BucketUploads(id) => self.take_uploads(id, rows_max),
        }
    }

    fn take_parts(&mut self, table: Table, prefix: &[u8], rows_max: usize) -> KvResult<Taken> {
        let mut rows = self.rows.first(table, prefix, rows_max + 1)?;
        let more = rows.len() > rows_max;
        rows.truncate(rows_max);
        for (key, row) in &rows {
            self.rows.remove(table, key);
            if let Some(blob) = codec::decode::<PartRow>(row)?.blob {
                self.discard_blob(&blob)?;
            }
        }
        Ok(Taken { rows: rows.len(), more })
    }

    fn take_uploads(&mut self, bucket: BucketId, rows_max: usize) -> KvResult<Taken> {
        let uploads = self.rows.first(UPLOADS, &bucket_prefix(bucket), rows_max + 1)?;
        let (total, mut seen, mut rows) = (uploads.len(), 0, 0);
        for (key, _) in uploads {
            if rows >= rows_max {
                break;
            }
            let malformed = || KvError::new("read an upload's key", format!("malformed: {key:02x?}"));
            let (_, id) = split_upload_key(&key).ok_or_else(malformed)?;
            self.rows.remove(UPLOADS, &key);
            self.counts.uploads -= 1;
            let list = DroppedList::UploadParts(id);
            let taken = self.take_apart(list, rows_max - rows)?;
            if taken.more {
                self.rows.put(DROPPED, &list.key(), Vec::new());
                self.counts.dropped_lists += 1;
            }
            rows += 1 + taken.rows;
            seen += 1;
        }
        Ok(Taken { rows, more: seen < total })
    }

    pub(super) fn reclaim_garbage(&mut self, gone: &[ShardId]) -> KvResult<Reply> {
        for shard in gone {
            let key = shard.blob.to_be_bytes();
            let Some(mut row) = self.rows.row::<GarbageRow>(GARBAGE, &key)? else { continue };
            if !row.pending.contains(&shard.shard) {
                continue;
            }
            row.pending.retain(|pending| *pending != shard.shard);
            let node = row.blob.placement.get(usize::from(shard.shard.0)).copied();
            self.update_held(node, |held| held.garbage -= 1)?;
            if row.pending.is_empty() {
                self.rows.remove(GARBAGE, &key);
                self.counts.garbage -= 1;
            } else {
                self.rows.put_row(GARBAGE, &key, &row);
            }
        }
        if self.counts.dropped_lists > 0 {
            self.take_dropped_lists()?;
        }
        Ok(Reply::Done)
    }

    fn take_dropped_lists(&mut self) -> KvResult<()> {
        let mut left = DROPPED_ROWS_PER_RECLAIM;
        for (key, _) in self.rows.first(DROPPED, &[], DROPPED_ROWS_PER_RECLAIM)? {
            if left == 0 {
                break;
            }
            let malformed = || KvError::new("read a dropped list's key", format!("malformed: {key:02x?}"));
            let taken = self.take_apart(DroppedList::from_key(&key).ok_or_else(malformed)?, left)?;
            left = left.saturating_sub(taken.rows.max(1));
            if !taken.more {
                self.rows.remove(DROPPED, &key);
                self.counts.dropped_lists -= 1;
            }
        }
        Ok(())
    }

    /// Removes the reference of a part that is no longer listed to its blob, if it has one.
    pub(super) fn discard_part(&mut self, part: &PartRow) -> KvResult<()> {
        part.blob.as_ref().map_or(Ok(()), |blob| self.discard_blob(blob))
    }
}
