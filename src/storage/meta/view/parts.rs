//! Lookups of parts: of an object version, and of an upload.

use super::super::codec;
use super::super::listing::{self, ListPage, ListQuery, Uploads};
use super::super::record::{PartRow, UploadRow};
use super::super::tables::{PARTS, SHARED, Shared, UPLOAD_PARTS, UPLOADS, part_key, upload_key, upload_part_key};
use super::MetaView;
use crate::storage::kv::{KvError, KvResult};
use crate::types::{BucketId, ManifestId, UploadId};
use std::ops::Bound;

impl MetaView {
    /// Returns the part of an object version that contains the byte at this offset.
    pub fn part_at(&self, id: ManifestId, offset_bytes: u64) -> KvResult<Option<PartRow>> {
        let part = self.part_from_before(id, offset_bytes)?;
        Ok(part.filter(|part| offset_bytes - part.offset_bytes < part.size_bytes))
    }

    /// Returns the part with this number, in an object version of `size_bytes`. Numbers ascend with offsets, but may
    /// have gaps, so that the part is found by a binary search over the offsets.
    pub fn part_numbered(&self, id: ManifestId, size_bytes: u64, number: u16) -> KvResult<Option<PartRow>> {
        let (mut low, mut high) = (0, size_bytes);
        while low <= high {
            let middle = u64::midpoint(low, high);
            let Some(part) = self.part_from_before(id, middle)? else { return Ok(None) };
            let end = part.offset_bytes.saturating_add(part.size_bytes);
            match part.number.cmp(&number) {
                std::cmp::Ordering::Equal => return Ok(Some(part)),
                std::cmp::Ordering::Less => low = end.max(middle + 1),
                std::cmp::Ordering::Greater if part.offset_bytes == 0 => return Ok(None),
                std::cmp::Ordering::Greater => high = part.offset_bytes - 1,
            }
        }
        Ok(None)
    }

    /// Returns the parts with greater numbers than this one, which need not be there, of an object version of
    /// `size_bytes`.
    pub fn parts_after(&self, id: ManifestId, size_bytes: u64, number: u16, limit: usize) -> KvResult<Vec<PartRow>> {
        let (mut low, mut high, mut from) = (0, size_bytes, 0);
        while low <= high {
            let middle = u64::midpoint(low, high);
            let Some(part) = self.part_from_before(id, middle)? else { break };
            if part.number <= number {
                from = part.offset_bytes.saturating_add(part.size_bytes);
                low = from.max(middle + 1);
            } else if part.offset_bytes == 0 {
                break;
            } else {
                high = part.offset_bytes - 1;
            }
        }
        let mut parts = self.parts_from(id, from, limit)?;
        // An empty part ends where it begins.
        parts.retain(|part| part.number > number);
        Ok(parts)
    }

    /// Returns the parts of an object version, from the one that contains the byte at this offset.
    pub fn parts_from(&self, id: ManifestId, offset_bytes: u64, limit: usize) -> KvResult<Vec<PartRow>> {
        let Some(first) = self.part_from_before(id, offset_bytes)? else { return Ok(Vec::new()) };
        let within = offset_bytes - first.offset_bytes < first.size_bytes;
        let from = part_key(id, if within { first.offset_bytes } else { offset_bytes });
        self.rows(PARTS, Bound::Included(&from), Bound::Included(&part_key(id, u64::MAX)), limit)
    }

    /// Returns the last part that begins at this offset or before it.
    fn part_from_before(&self, id: ManifestId, offset_bytes: u64) -> KvResult<Option<PartRow>> {
        let (from, to) = (part_key(id, 0), part_key(id, offset_bytes));
        let last = self.kv.range(PARTS, Bound::Included(&from), Bound::Included(&to)).next_back().transpose()?;
        let part: Option<PartRow> = last.map(|(_, row)| codec::decode(&row)).transpose()?;
        match part {
            Some(part) if part.offset_bytes > offset_bytes => Err(KvError::new(
                "read a part",
                format!("the part found for offset {offset_bytes} begins at {}", part.offset_bytes),
            )),
            part => Ok(part),
        }
    }

    pub fn upload(&self, bucket: BucketId, key: &str, id: UploadId) -> KvResult<Option<UploadRow>> {
        self.row(UPLOADS, &upload_key(bucket, key, id))
    }

    /// Returns uploads in order of key and id. `after` of the query and `after_upload` are S3's key-marker and
    /// upload-id-marker. The markers of the next page are `next_after` and, if the last entry is an upload, its id.
    pub fn list_uploads(
        &self,
        bucket: BucketId,
        query: &ListQuery,
        after_upload: Option<UploadId>,
    ) -> KvResult<ListPage<UploadRow>> {
        self.list_uploads_as(bucket, query, after_upload, |upload| upload)
    }

    /// Lists uploads, and holds of each what `kept` returns.
    pub fn list_uploads_as<T>(
        &self,
        bucket: BucketId,
        query: &ListQuery,
        after_upload: Option<UploadId>,
        kept: impl FnMut(UploadRow) -> T,
    ) -> KvResult<ListPage<T>> {
        let start = query.after.as_deref().map(|after| listing::after_upload(bucket, after, after_upload));
        listing::page::<Uploads, T>(&*self.kv, bucket, query, start, kept)
    }

    /// Returns the parts of an upload with numbers greater than `after`, and whether more follow.
    pub fn upload_parts(&self, id: UploadId, after: u16, limit: usize) -> KvResult<(Vec<PartRow>, bool)> {
        let (from, to) = (upload_part_key(id, after), upload_part_key(id, u16::MAX));
        self.rows_and_more(UPLOAD_PARTS, Bound::Excluded(&from), Bound::Included(&to), limit)
    }

    /// Returns those parts of an upload that have one of these numbers, which ascend. It reads at most twice as many
    /// rows as there are numbers, however many parts the upload has.
    pub fn upload_parts_numbered(&self, id: UploadId, numbers: &[u16]) -> KvResult<Vec<PartRow>> {
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return Ok(Vec::new()) };
        let (from, to) = (upload_part_key(id, *first), upload_part_key(id, *last));
        let mut parts: Vec<PartRow> =
            self.rows(UPLOAD_PARTS, Bound::Included(&from), Bound::Included(&to), numbers.len())?;
        let reached = parts.last().filter(|_| parts.len() == numbers.len()).map(|part| part.number);
        parts.retain(|part| numbers.binary_search(&part.number).is_ok());
        for number in numbers.iter().filter(|number| reached.is_some_and(|reached| **number > reached)) {
            parts.extend(self.row::<PartRow>(UPLOAD_PARTS, &upload_part_key(id, *number))?);
        }
        Ok(parts)
    }

    /// Returns whether several object versions refer to this list of parts.
    pub fn are_parts_shared(&self, list: ManifestId) -> KvResult<bool> {
        Ok(self.kv.get(SHARED, &Shared::Parts(list).key())?.is_some())
    }
}
