//! Decides which versions and uploads of a bucket are due, from their listing: by key, and newest version first. Pure.

use super::rules::{
    Action, MarkerFacts, NoncurrentFacts, ObjectFacts, Rules, UploadFacts, current_object, delete_marker,
    noncurrent_version, upload,
};
use crate::storage::meta::command::{DeleteConditions, ETagCondition, VersionRank, WriteConditions};
use crate::storage::meta::record::{
    DeleteMarker, ObjectHeaders, ObjectVersion, Pick, Traits, UploadRecord, UploadRow, VersionRow, Versioning,
};
use crate::types::UnixMs;
use std::time::Duration;

/// The kind of an expired item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// The current version of a key.
    Object,
    /// A noncurrent version, which may be a delete marker.
    Version,
    /// A delete marker that is the only version of its key.
    Marker,
    Upload,
}

impl ItemKind {
    pub const ALL: [Self; 4] = [Self::Object, Self::Version, Self::Marker, Self::Upload];

    /// Returns the label in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Version => "version",
            Self::Marker => "marker",
            Self::Upload => "upload",
        }
    }
}

/// A version to delete, on condition that it is still the version that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub kind: ItemKind,
    pub key: String,
    pub pick: Pick,
    pub conditions: DeleteConditions,
}

/// The greatest number of newer noncurrent versions of which a deletion checks that they are still there: as many as S3
/// lets a rule keep.
const NEWER_CHECKED_MAX: u32 = 100;

/// Returns what the rules judge of a version: its headers, ACL and encryption may have many KiB, and a page has very
/// many versions.
pub fn judged_version(row: VersionRow) -> VersionRow {
    match row {
        VersionRow::Object(mut object) => {
            object.manifest.headers = ObjectHeaders::default();
            (object.traits.acl, object.traits.sealing) = (None, None);
            VersionRow::Object(object)
        }
        VersionRow::DeleteMarker(marker) => VersionRow::DeleteMarker(marker),
    }
}

/// Returns what the rules judge of an upload.
pub fn judged_upload(row: UploadRow) -> UploadRecord {
    UploadRecord { headers: ObjectHeaders::default(), ..row.upload }
}

/// The rules of a bucket and the time, by which each item is judged.
#[derive(Clone, Copy, Debug)]
pub struct Criteria<'a> {
    pub rules: &'a Rules,
    pub versioning: Versioning,
    pub confirmed: UnixMs,
    pub day: Duration,
}

impl Criteria<'_> {
    fn current(&self, key: &str, object: &ObjectVersion) -> Option<Due> {
        let facts = ObjectFacts {
            key,
            size_bytes: object.manifest.size_bytes,
            tags: &object.traits.tags,
            modified: object.manifest.modified,
        };
        let Action::Expire { rule_id } = current_object(self.rules, &facts, self.confirmed, self.day) else {
            return None;
        };
        let conditions = self.exactly(object, rule_id);
        Some(Due { kind: ItemKind::Object, key: key.to_owned(), pick: Pick::Current, conditions })
    }

    fn noncurrent(&self, key: &str, row: &VersionRow, since: UnixMs, newer_noncurrent: u32) -> Option<Due> {
        let (size_bytes, tags) = match row {
            VersionRow::Object(object) => (object.manifest.size_bytes, object.traits.tags.as_slice()),
            VersionRow::DeleteMarker(_) => (0, &[] as &[_]),
        };
        let facts = NoncurrentFacts { key, size_bytes, tags, noncurrent_since: since, newer_noncurrent };
        let Action::Expire { rule_id } = noncurrent_version(self.rules, &facts, self.confirmed, self.day) else {
            return None;
        };
        let kept = self.rules.newer_versions_kept(rule_id).min(NEWER_CHECKED_MAX);
        let still_noncurrent =
            |conditions| DeleteConditions { rank: VersionRank::Noncurrent { newer: kept }, ..conditions };
        // If newer versions were deleted since this one was listed, it may be one to keep, the current one, or the delete
        // marker that hides the key.
        let conditions = match row {
            VersionRow::Object(object) if deletion_would_be_refused(&object.traits, self.confirmed) => return None,
            VersionRow::Object(object) => still_noncurrent(self.exactly(object, rule_id)),
            // While versioning is not enabled, a client's delete may replace this null marker by a new one. A deletion
            // of the version `null` would then remove the new marker, and with it the client's delete.
            VersionRow::DeleteMarker(marker) if marker.version.null && self.versioning != Versioning::Enabled => {
                return None;
            }
            VersionRow::DeleteMarker(_) => still_noncurrent(no_object()),
        };
        Some(Due { kind: ItemKind::Version, key: key.to_owned(), pick: row.version().pick(), conditions })
    }

    /// Returns the condition that the version is the one that was listed, and still in the scope of the rule: its tags
    /// may have changed since.
    fn exactly(&self, object: &ObjectVersion, rule_id: &str) -> DeleteConditions {
        let tags = self.rules.tags_wanted(rule_id);
        DeleteConditions { manifest: Some(object.manifest.id), tags, ..DeleteConditions::default() }
    }

    /// Judges a delete marker that is the only version of its key.
    fn marker(&self, key: &str, marker: &DeleteMarker) -> Option<Due> {
        let facts = MarkerFacts { key, modified: marker.modified, sole: true };
        is_due(delete_marker(self.rules, &facts, self.confirmed, self.day)).then(|| Due {
            kind: ItemKind::Marker,
            key: key.to_owned(),
            pick: marker.version.pick(),
            conditions: DeleteConditions { rank: VersionRank::Sole, ..no_object() },
        })
    }

    pub fn upload(&self, record: &UploadRecord) -> bool {
        let facts = UploadFacts { key: &record.key, initiated: record.initiated };
        is_due(upload(self.rules, &facts, self.confirmed, self.day))
    }
}

fn is_due(action: Action<'_>) -> bool {
    action != Action::Keep
}

/// The condition that the version is not an object: a null delete marker may have become a null object since it was
/// listed.
fn no_object() -> DeleteConditions {
    let write = WriteConditions { if_match: None, if_none_match: Some(ETagCondition::Any) };
    DeleteConditions { write, ..DeleteConditions::default() }
}

/// Returns whether a legal hold or retention protects the version at this confirmed time.
fn deletion_would_be_refused(traits: &Traits, confirmed: UnixMs) -> bool {
    traits.legal_hold == Some(true) || traits.retention.is_some_and(|retention| retention.until > confirmed)
}

/// The state of the scan within the current key.
#[derive(Clone, Debug, Default)]
pub struct VersionScan {
    key: Option<String>,
    /// The last key of which all versions were seen.
    through: Option<String>,
    /// The creation time of the previous version in the listing. Of the same key, it is the time at which the next
    /// version became noncurrent.
    newer_made: UnixMs,
    /// The number of noncurrent versions of this key that were seen.
    noncurrent: u32,
    /// The newest version of the key, if it is a delete marker and no other version was seen yet.
    lone_marker: Option<DeleteMarker>,
}

impl VersionScan {
    /// Makes a scan that continues after this key.
    pub fn after(key: Option<String>) -> Self {
        Self { key, ..Self::default() }
    }

    /// Judges the next version of the listing. A delete marker is judged only when the next key begins.
    pub fn see(&mut self, criteria: Criteria<'_>, key: &str, row: &VersionRow, due: &mut Vec<Due>) {
        if self.key.as_deref() == Some(key) {
            self.lone_marker = None;
            due.extend(criteria.noncurrent(key, row, self.newer_made, self.noncurrent));
            self.noncurrent += 1;
        } else {
            self.end_key(criteria, due);
            self.through = self.key.replace(key.to_owned());
            self.noncurrent = 0;
            match row {
                VersionRow::Object(object) => due.extend(criteria.current(key, object)),
                VersionRow::DeleteMarker(marker) => self.lone_marker = Some(marker.clone()),
            }
        }
        self.newer_made = row.modified();
    }

    /// Judges the last key; call it after the last version of the listing.
    pub fn end(&mut self, criteria: Criteria<'_>, due: &mut Vec<Due>) {
        self.end_key(criteria, due);
    }

    /// Returns the last key of which all versions were seen.
    pub fn through(&self) -> Option<&str> {
        self.through.as_deref()
    }

    fn end_key(&mut self, criteria: Criteria<'_>, due: &mut Vec<Due>) {
        if let (Some(marker), Some(key)) = (self.lone_marker.take(), &self.key) {
            due.extend(criteria.marker(key, &marker));
        }
    }
}
