//! The versions of a key: which one is current, which are kept, which are removed; and the events of their changes.

use super::super::{Applying, Decided};
use crate::defects::{Defect, has};
use crate::storage::kv::{KvError, KvResult, Pair};
use crate::storage::meta::codec;
use crate::storage::meta::command::Refusal;
use crate::storage::meta::record::{
    BlobRef, Body, BucketRow, EventDraft, EventRow, Manifest, NullVersionRow, ObjectVersion, Pick, Traits, Usage,
    Version, VersionRow, Versioning,
};
use crate::storage::meta::tables::{
    EVENTS, NULL_VERSIONS, OBJECTS, VERSIONS, event_key, object_key, version_key, versions_of_key,
};
use crate::types::{BucketId, UnixMs};

/// The number of positions of events in a millisecond: more than can be committed in it.
const EVENTS_A_MS: u64 = 1 << 20;

impl Applying<'_> {
    /// Makes an object the current one of its key, with the bucket's default retention if it comes with none. `old`,
    /// the current one so far, is kept or removed according to the bucket's versioning.
    pub(in super::super) fn make_current(
        &mut self,
        bucket: &BucketRow,
        key: &str,
        manifest: Manifest,
        mut traits: Traits,
        old: Option<ObjectVersion>,
    ) -> KvResult<ObjectVersion> {
        let default_retention = bucket.settings.lock.and_then(|lock| lock.default_retention);
        traits.retention =
            traits.retention.or(default_retention.map(|default| default.starting(self.now.max(self.confirmed))));
        let version = self.next_version(bucket, Version::salt_of(manifest.id));
        self.make_room(bucket, key, version, old)?;
        let object = ObjectVersion { version, manifest, traits };
        self.set_current(bucket.bucket.id, key, &object)?;
        self.count_usage(bucket.bucket.id, |usage| usage.bytes += object.manifest.size_bytes)?;
        Ok(object)
    }

    /// Returns the place of a version that is made now.
    pub(super) fn next_version(&mut self, bucket: &BucketRow, salt: u64) -> Version {
        if bucket.settings.versioning == Versioning::Never {
            return Version::ONLY;
        }
        self.counts.versions_ever += 1;
        Version { seq: self.counts.versions_ever, salt, null: bucket.settings.versioning == Versioning::Suspended }
    }

    /// Makes room for a new current version or delete marker: removes the null version if the new one is null, too, and
    /// keeps the current object as another version or removes it.
    pub(super) fn make_room(
        &mut self,
        bucket: &BucketRow,
        key: &str,
        comes: Version,
        old: Option<ObjectVersion>,
    ) -> KvResult<()> {
        let id = bucket.bucket.id;
        if comes.null && bucket.settings.versioning != Versioning::Never {
            self.remove_null_version(id, key)?;
        }
        let Some(old) = old else { return Ok(()) };
        self.clear_current(id, key)?;
        if (comes.null && old.version.null) || has(Defect::ForgetOldVersion) {
            return self.discard_object(id, &old);
        }
        self.keep_version(id, key, &VersionRow::Object(old))
    }

    /// Removes the null version, unless it is the current object.
    fn remove_null_version(&mut self, bucket: BucketId, key: &str) -> KvResult<()> {
        let Some(row) = self.rows.row::<NullVersionRow>(NULL_VERSIONS, &object_key(bucket, key))? else {
            return Ok(());
        };
        let stored = self.version_row(bucket, key, row.version)?.ok_or_else(|| {
            KvError::new("replace a null version", format!("version {:?} of {key:?} is missing", row.version))
        })?;
        self.forget_version(bucket, key, &stored)?;
        match stored {
            VersionRow::Object(object) => self.discard_object(bucket, &object),
            VersionRow::DeleteMarker(_) => Ok(()),
        }
    }

    /// Writes the current object of a key. It is not counted among the other versions.
    pub(super) fn set_current(&mut self, bucket: BucketId, key: &str, object: &ObjectVersion) -> KvResult<()> {
        self.counts.objects += 1;
        self.rows.put_row(OBJECTS, &object_key(bucket, key), &stored(object.clone()));
        self.count_usage(bucket, |usage| usage.objects += 1)
    }

    pub(super) fn clear_current(&mut self, bucket: BucketId, key: &str) -> KvResult<()> {
        self.counts.objects -= 1;
        self.rows.remove(OBJECTS, &object_key(bucket, key));
        self.count_usage(bucket, |usage| usage.objects -= 1)
    }

    pub(super) fn keep_version(&mut self, bucket: BucketId, key: &str, row: &VersionRow) -> KvResult<()> {
        let version = row.version();
        let row_key = version_key(bucket, key, version);
        self.rows.put_row(VERSIONS, &row_key, row);
        self.forget_rank(bucket, key, &row_key);
        if let Some(newest) = self.newest_rows.get_mut(&versions_of_key(bucket, key))
            && newest.as_ref().is_none_or(|known| row_key < *known)
        {
            *newest = Some(row_key);
        }
        if version.null {
            self.rows.put_row(NULL_VERSIONS, &object_key(bucket, key), &NullVersionRow { version });
        }
        self.counts.versions += 1;
        self.count_usage(bucket, |usage| usage.versions += 1)
    }

    pub(super) fn forget_version(&mut self, bucket: BucketId, key: &str, row: &VersionRow) -> KvResult<()> {
        let version = row.version();
        let row_key = version_key(bucket, key, version);
        self.rows.remove(VERSIONS, &row_key);
        self.forget_rank(bucket, key, &row_key);
        if version.null {
            self.rows.remove(NULL_VERSIONS, &object_key(bucket, key));
        }
        self.counts.versions -= 1;
        self.count_usage(bucket, |usage| usage.versions -= 1)
    }

    /// Makes the newest of the other versions the current object, unless it is a delete marker. For a key without a
    /// current object.
    pub(super) fn promote(&mut self, bucket: BucketId, key: &str) -> KvResult<()> {
        let newest = self.newest_kept(bucket, key, 1)?;
        let Some((_, row)) = newest.first() else { return Ok(()) };
        let row: VersionRow = codec::decode(row)?;
        let VersionRow::Object(object) = &row else { return Ok(()) };
        self.forget_version(bucket, key, &row)?;
        self.set_current(bucket, key, object)
    }

    /// Returns the rows of the newest of a key's other versions, at most `limit`. Rows that this batch has removed are
    /// passed over once, and not again by each lookup: who deletes the versions of a key from the newest on would make
    /// each delete read all rows that were removed before it.
    pub(super) fn newest_kept(&mut self, bucket: BucketId, key: &str, limit: usize) -> KvResult<Vec<Pair>> {
        let prefix = versions_of_key(bucket, key);
        let from = match self.newest_rows.get(&prefix) {
            Some(None) => return Ok(Vec::new()),
            Some(Some(newest)) => newest,
            None => &prefix,
        };
        let found = self.rows.first_from(VERSIONS, &prefix, from, limit)?;
        if limit > 0 {
            let newest = found.first().map(|(row_key, _)| row_key.to_vec());
            self.newest_rows.insert(prefix, newest);
        }
        Ok(found)
    }

    /// Returns whether at least `before` of a key's other versions are newer than this one of them. Who deletes the
    /// versions of a key beyond a number that is kept would make each delete read as many rows: the last of those is
    /// looked up once.
    pub(super) fn comes_after(&mut self, bucket: BucketId, key: &str, own: Version, before: usize) -> KvResult<bool> {
        if before == 0 {
            return Ok(true);
        }
        let (prefix, own) = (versions_of_key(bucket, key), version_key(bucket, key, own));
        if let Some((rank, last)) = self.ranked_rows.get(&prefix)
            && *rank == before
        {
            return Ok(own > *last);
        }
        let newest = self.newest_kept(bucket, key, before)?;
        let Some((last, _)) = newest.get(before - 1) else { return Ok(false) };
        let last = last.to_vec();
        let comes_after = own > last;
        self.ranked_rows.insert(prefix, (before, last));
        Ok(comes_after)
    }

    /// Forgets the last of the newest versions of a key, if this row is added to them or removed from them.
    fn forget_rank(&mut self, bucket: BucketId, key: &str, row_key: &[u8]) {
        if self.ranked_rows.is_empty() {
            return;
        }
        let prefix = versions_of_key(bucket, key);
        if self.ranked_rows.get(&prefix).is_some_and(|(_, last)| row_key <= last.as_slice()) {
            self.ranked_rows.remove(&prefix);
        }
    }

    /// Removes one reference to an object version's bytes, and its counts.
    pub(super) fn discard_object(&mut self, bucket: BucketId, object: &ObjectVersion) -> KvResult<()> {
        self.count_usage(bucket, |usage| usage.bytes -= object.manifest.size_bytes)?;
        self.discard_version(&object.manifest)
    }

    fn version_row(&self, bucket: BucketId, key: &str, version: Version) -> KvResult<Option<VersionRow>> {
        self.rows.row(VERSIONS, &version_key(bucket, key, version))
    }

    /// Returns the picked version, and whether it is the current object.
    pub(super) fn picked(&self, bucket: BucketId, key: &str, pick: Pick) -> KvResult<Option<(VersionRow, bool)>> {
        let current = self.object(bucket, key)?;
        if let Some(current) = current.filter(|current| pick == Pick::Current || pick.is(current.version)) {
            return Ok(Some((VersionRow::Object(current), true)));
        }
        let row = match pick {
            Pick::Current => None,
            Pick::Exact { seq, salt } => self.version_row(bucket, key, Version { seq, salt, null: false })?,
            Pick::Null => match self.rows.row::<NullVersionRow>(NULL_VERSIONS, &object_key(bucket, key))? {
                Some(null) => self.version_row(bucket, key, null.version)?,
                None => None,
            },
        };
        Ok(row.filter(|row| pick.is(row.version())).map(|row| (row, false)))
    }

    /// Returns the picked version for a change of it. Refuses an absent version and a delete marker.
    pub(super) fn picked_object(&self, bucket: BucketId, key: &str, pick: Pick) -> Decided<(ObjectVersion, bool)> {
        let absent = if pick == Pick::Current { Refusal::NoSuchKey } else { Refusal::NoSuchVersion };
        match self.picked(bucket, key, pick)?.ok_or(absent)? {
            (VersionRow::Object(object), current) => Ok((object, current)),
            (VersionRow::DeleteMarker(_), _) => Err(Refusal::IsDeleteMarker.into()),
        }
    }

    /// Writes a version again, with its changes.
    pub(super) fn rewrite(&mut self, bucket: BucketId, key: &str, object: &ObjectVersion, current: bool) {
        let object = stored(object.clone());
        if current {
            self.rows.put_row(OBJECTS, &object_key(bucket, key), &object);
        } else {
            let row_key = version_key(bucket, key, object.version);
            self.rows.put_row(VERSIONS, &row_key, &VersionRow::Object(object));
        }
    }

    /// Checks that a bucket's quota allows an object of this size, which may replace `old`. If it completes an upload,
    /// this ends parts of `parts_bytes`.
    pub(in super::super) fn require_room(
        &self,
        bucket: &BucketRow,
        (size_bytes, parts_bytes): (u64, u64),
        old: Option<&ObjectVersion>,
    ) -> Decided<()> {
        let quota = bucket.settings.quota;
        if quota.bytes_max.is_none() && quota.objects_max.is_none() {
            return Ok(());
        }
        let usage = self.usage(bucket.bucket.id)?;
        let goes = old.filter(|old| match bucket.settings.versioning {
            Versioning::Never => true,
            Versioning::Suspended => old.version.null,
            Versioning::Enabled => false,
        });
        let held = usage.bytes.saturating_add(usage.parts_bytes);
        let freed = goes.map_or(0, |old| old.manifest.size_bytes).saturating_add(parts_bytes);
        let bytes = held.saturating_sub(freed).saturating_add(size_bytes);
        let objects = usage.objects + u64::from(old.is_none());
        let full = quota.bytes_max.is_some_and(|max| bytes > max)
            || (old.is_none() && quota.objects_max.is_some_and(|max| objects > max));
        if full { Err(Refusal::QuotaExceeded.into()) } else { Ok(()) }
    }

    /// Checks that a bucket's quota allows a part of this size, in the place of one of `replaced_bytes`.
    pub(in super::super) fn require_room_for_part(
        &self,
        bucket: &BucketRow,
        size_bytes: u64,
        replaced_bytes: u64,
    ) -> Decided<()> {
        let Some(most) = bucket.settings.quota.bytes_max else { return Ok(()) };
        let usage = self.usage(bucket.bucket.id)?;
        let held = usage.bytes.saturating_add(usage.parts_bytes).saturating_sub(replaced_bytes);
        if held.saturating_add(size_bytes) > most { Err(Refusal::QuotaExceeded.into()) } else { Ok(()) }
    }

    pub(super) fn usage(&self, bucket: BucketId) -> KvResult<Usage> {
        self.usages.of(&self.rows, bucket)
    }

    pub(in super::super) fn count_usage(&mut self, bucket: BucketId, change: impl FnOnce(&mut Usage)) -> KvResult<()> {
        let mut usage = self.usage(bucket)?;
        change(&mut usage);
        self.usages.set(bucket, usage);
        Ok(())
    }

    pub(in super::super) fn queue_put(
        &mut self,
        bucket: &BucketRow,
        key: &str,
        object: &ObjectVersion,
        draft: Option<EventDraft>,
    ) -> KvResult<()> {
        let Some(draft) = draft else { return Ok(()) };
        self.queue_event(EventRow {
            seq: 0,
            at: self.now,
            draft,
            bucket: bucket.bucket.id,
            key: key.to_owned(),
            version: (bucket.settings.versioning != Versioning::Never).then_some(object.version),
            size_bytes: object.manifest.size_bytes,
            etag: Some(object.manifest.etag),
        })
    }

    /// Queues an event: one row for each target. Its position is made of the time, so that it is greater than all those
    /// before, those among them that the metadata does not know any more because it was restored.
    pub(super) fn queue_event(&mut self, mut event: EventRow) -> KvResult<()> {
        let targets = std::mem::take(&mut event.draft.targets);
        event.seq = event_position(self.counts.last_event, self.now);
        self.counts.last_event = event.seq;
        for target in targets {
            self.rows.put_row(EVENTS, &event_key(&target, event.seq), &event);
            self.counts.events += 1;
        }
        Ok(())
    }
}

/// Returns the position of the next event, at this time.
fn event_position(last: u64, now: UnixMs) -> u64 {
    (last + 1).max(now.0.saturating_mul(EVENTS_A_MS).min(u64::MAX / 2))
}

/// Returns a version as it is stored: without the placement, which is in one place only.
fn stored(mut object: ObjectVersion) -> ObjectVersion {
    if let Body::Blob(blob) = object.manifest.body {
        object.manifest.body = Body::Blob(BlobRef::without_placement(blob));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::event_position;
    use crate::types::UnixMs;

    #[test]
    fn events_after_a_restore_have_greater_positions_than_those_that_it_lost() {
        let (mut last, start) = (0, 1_700_000_000_000);
        for ms in 0..1000 {
            let next = event_position(last, UnixMs(start + ms));
            assert!(next > last);
            last = event_position(next, UnixMs(start + ms));
            assert_eq!(last, next + 1);
        }
        let restored = event_position(0, UnixMs(start));
        assert!(event_position(restored, UnixMs(start + 1000)) > last, "the clock went on");
        assert_eq!(event_position(last, UnixMs(start)), last + 1, "a clock that is set back");
        assert_eq!(event_position(7, UnixMs(u64::MAX)), u64::MAX / 2);
    }
}
