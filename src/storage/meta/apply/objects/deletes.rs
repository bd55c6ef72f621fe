//! Deletes of current objects, which a delete marker hides in a bucket with versions; and of single versions, unless
//! they are locked.

use super::super::{Applying, Decided, Stop};
use super::require_conditions;
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{DeleteConditions, DeleteVersion, Deletion, Refusal, Reply, VersionRank};
use crate::storage::meta::record::{
    BucketRow, DeleteMarker, EventDraft, EventRow, ObjectVersion, Pick, RetentionMode, Traits, Version, VersionRow,
    Versioning,
};
use crate::types::{BucketId, UnixMs};

impl Applying<'_> {
    pub(in super::super) fn delete_versions(
        &mut self,
        bucket: BucketId,
        deletes: Vec<DeleteVersion>,
    ) -> KvResult<Reply> {
        let mut outcomes = Vec::with_capacity(deletes.len());
        for delete in deletes {
            outcomes.push(outcome(self.delete(bucket, delete))?);
        }
        Ok(Reply::VersionsDeleted(outcomes))
    }

    fn delete(&mut self, bucket: BucketId, delete: DeleteVersion) -> Decided<Deletion> {
        let bucket = self.bucket(bucket)?;
        match delete.pick {
            Pick::Current => self.delete_current(&bucket, delete),
            pick => self.delete_picked(&bucket, pick, delete),
        }
    }

    /// Deletes the current object, or hides it behind a delete marker. It needs no lock check: a lock needs
    /// `Versioning::Enabled` (`set_bucket`), and then nothing is removed.
    fn delete_current(&mut self, bucket: &BucketRow, delete: DeleteVersion) -> Decided<Deletion> {
        let DeleteVersion { key, conditions, owner, salt, event, .. } = delete;
        let id = bucket.bucket.id;
        let old = self.object(id, &key)?;
        require(&conditions, old.as_ref())?;
        let existed = old.is_some();
        let (deleted, marked) = event.map_or((None, None), |event| (event.deleted, event.marked));
        if bucket.settings.versioning == Versioning::Never {
            if let Some(old) = old {
                self.clear_current(id, &key)?;
                self.discard_object(id, &old)?;
                self.queue_delete(bucket, &key, None, deleted)?;
            }
            return Ok(Deletion { existed, version: None, marker: false });
        }
        let version = self.next_version(bucket, salt);
        self.make_room(bucket, &key, version, old)?;
        let marker = DeleteMarker { version, modified: self.now, owner };
        self.keep_version(id, &key, &VersionRow::DeleteMarker(marker))?;
        self.queue_delete(bucket, &key, Some(version), marked)?;
        Ok(Deletion { existed, version: Some(version), marker: true })
    }

    fn delete_picked(&mut self, bucket: &BucketRow, pick: Pick, delete: DeleteVersion) -> Decided<Deletion> {
        let DeleteVersion { key, conditions, bypass_governance, event, .. } = delete;
        let id = bucket.bucket.id;
        let Some((row, current)) = self.picked(id, &key, pick)? else {
            require(&conditions, None)?;
            return Ok(Deletion { existed: false, version: None, marker: false });
        };
        if !self.has_rank(id, &key, &row, current, conditions.rank)? {
            return Err(Refusal::PreconditionFailed.into());
        }
        let marker = match &row {
            VersionRow::Object(object) => {
                require(&conditions, Some(object))?;
                if is_locked(&object.traits, self.confirmed, bypass_governance) {
                    return Err(Refusal::Locked.into());
                }
                false
            }
            VersionRow::DeleteMarker(_) => {
                require(&conditions, None)?;
                true
            }
        };
        if current {
            self.clear_current(id, &key)?;
        } else {
            self.forget_version(id, &key, &row)?;
        }
        if let VersionRow::Object(object) = &row {
            self.discard_object(id, object)?;
        }
        if self.object(id, &key)?.is_none() {
            self.promote(id, &key)?;
        }
        let version = (bucket.settings.versioning != Versioning::Never).then_some(row.version());
        self.queue_delete(bucket, &key, version, event.and_then(|event| event.deleted))?;
        Ok(Deletion { existed: true, version, marker })
    }

    /// Returns whether a version, `current` or in `VERSIONS`, is where it must be among those of its key.
    fn has_rank(
        &mut self,
        bucket: BucketId,
        key: &str,
        row: &VersionRow,
        current: bool,
        rank: VersionRank,
    ) -> KvResult<bool> {
        if rank == VersionRank::Any {
            return Ok(true);
        }
        let has_current = self.object(bucket, key)?.is_some();
        Ok(match rank {
            VersionRank::Any => true,
            VersionRank::Sole => !has_current && self.newest_kept(bucket, key, 2)?.len() <= 1,
            VersionRank::Noncurrent { .. } if current => false,
            VersionRank::Noncurrent { newer } => {
                // Without a current object, the newest version is a delete marker that stands in its place.
                let before = newer as usize + usize::from(!has_current);
                self.comes_after(bucket, key, row.version(), before)?
            }
        })
    }

    pub(super) fn queue_delete(
        &mut self,
        bucket: &BucketRow,
        key: &str,
        version: Option<Version>,
        draft: Option<EventDraft>,
    ) -> KvResult<()> {
        let Some(draft) = draft else { return Ok(()) };
        let (at, bucket, key) = (self.now, bucket.bucket.id, key.to_owned());
        self.queue_event(EventRow { seq: 0, at, draft, bucket, key, version, size_bytes: 0, etag: None })
    }
}

fn outcome<T>(decided: Decided<T>) -> KvResult<Result<T, Refusal>> {
    match decided {
        Ok(done) => Ok(Ok(done)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Lost(error)) => Err(error),
    }
}

fn require(conditions: &DeleteConditions, found: Option<&ObjectVersion>) -> Result<(), Refusal> {
    require_conditions(&conditions.write, found)?;
    let manifest = found.map(|found| &found.manifest);
    let has_tag = |tag: &(String, String)| found.is_some_and(|found| found.traits.tags.contains(tag));
    let holds = |wanted: Option<u64>, is: Option<u64>| wanted.is_none() || wanted == is;
    if !holds(conditions.size_bytes, manifest.map(|manifest| manifest.size_bytes))
        || !holds(conditions.modified_seconds, manifest.map(|manifest| manifest.modified.0 / 1000))
        || conditions.manifest.is_some_and(|wanted| manifest.map(|manifest| manifest.id) != Some(wanted))
        || !conditions.tags.iter().all(has_tag)
    {
        return Err(Refusal::PreconditionFailed);
    }
    Ok(())
}

/// Returns whether a version may not be deleted at this confirmed time.
pub(super) fn is_locked(traits: &Traits, confirmed: UnixMs, bypass_governance: bool) -> bool {
    let retained = traits.retention.is_some_and(|retention| {
        let bypassed = bypass_governance && retention.mode == RetentionMode::Governance;
        retention.until > confirmed && !bypassed
    });
    traits.legal_hold == Some(true) || retained
}
