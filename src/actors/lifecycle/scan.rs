//! The versions of a bucket as they are listed, by key and newest first, and which of them are due. Pure.

use super::rules::{
    Action, MarkerFacts, NoncurrentFacts, ObjectFacts, Rules, UploadFacts, current_object, delete_marker,
    noncurrent_version, upload,
};
use crate::storage::meta::command::{DeleteConditions, ETagCondition, WriteConditions};
use crate::storage::meta::record::{DeleteMarker, ObjectVersion, Pick, Traits, UploadRecord, VersionRow, Versioning};
use crate::types::UnixMs;
use std::time::Duration;

/// The kind of item that can be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The current version of a key.
    Object,
    /// A noncurrent one, delete markers among them.
    Version,
    /// A delete marker that hides nothing.
    Marker,
    Upload,
}

impl What {
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

/// A version that is to go, if it still is what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub what: What,
    pub key: String,
    pub pick: Pick,
    pub conditions: DeleteConditions,
}

/// Decides by the rules of a bucket, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    pub rules: &'a Rules,
    pub versioning: Versioning,
    pub now: UnixMs,
    pub day: Duration,
}

impl Judge<'_> {
    fn current(&self, key: &str, object: &ObjectVersion) -> Option<Due> {
        let facts = ObjectFacts {
            key,
            size_bytes: object.manifest.size_bytes,
            tags: &object.traits.tags,
            modified: object.manifest.modified,
        };
        is_due(current_object(self.rules, &facts, self.now, self.day)).then(|| Due {
            what: What::Object,
            key: key.to_owned(),
            pick: Pick::Current,
            conditions: exactly(object),
        })
    }

    fn noncurrent(&self, key: &str, row: &VersionRow, since: UnixMs, newer_noncurrent: u32) -> Option<Due> {
        let (size_bytes, tags) = match row {
            VersionRow::Object(object) => (object.manifest.size_bytes, object.traits.tags.as_slice()),
            VersionRow::DeleteMarker(_) => (0, &[] as &[_]),
        };
        let facts = NoncurrentFacts { key, size_bytes, tags, noncurrent_since: since, newer_noncurrent };
        if !is_due(noncurrent_version(self.rules, &facts, self.now, self.day)) {
            return None;
        }
        let conditions = match row {
            VersionRow::Object(object) if is_locked(&object.traits, self.now) => return None,
            VersionRow::Object(object) => exactly(object),
            // While versioning is suspended every delete makes another null version, and by its name that one would go.
            VersionRow::DeleteMarker(marker) if marker.version.null && self.versioning != Versioning::Enabled => {
                return None;
            }
            VersionRow::DeleteMarker(_) => no_object(),
        };
        Some(Due { what: What::Version, key: key.to_owned(), pick: row.version().pick(), conditions })
    }

    /// Returns what is due of a marker that is the only version of its key.
    fn marker(&self, key: &str, marker: &DeleteMarker) -> Option<Due> {
        let facts = MarkerFacts { key, modified: marker.modified, sole: true };
        is_due(delete_marker(self.rules, &facts, self.now, self.day)).then(|| Due {
            what: What::Marker,
            key: key.to_owned(),
            pick: marker.version.pick(),
            conditions: DeleteConditions { sole: true, ..no_object() },
        })
    }

    pub fn upload(&self, record: &UploadRecord) -> bool {
        let facts = UploadFacts { key: &record.key, initiated: record.initiated };
        is_due(upload(self.rules, &facts, self.now, self.day))
    }
}

fn is_due(action: Action<'_>) -> bool {
    action != Action::Keep
}

fn exactly(object: &ObjectVersion) -> DeleteConditions {
    DeleteConditions { manifest: Some(object.manifest.id), ..DeleteConditions::default() }
}

/// A name that was a marker's is no object's: a null version can become one.
fn no_object() -> DeleteConditions {
    let write = WriteConditions { if_match: None, if_none_match: Some(ETagCondition::Any) };
    DeleteConditions { write, ..DeleteConditions::default() }
}

/// The change would be refused, and again with each sweep.
fn is_locked(traits: &Traits, now: UnixMs) -> bool {
    traits.legal_hold == Some(true) || traits.retention.is_some_and(|retention| retention.until > now)
}

/// The state of the scan within the current key.
#[derive(Clone, Debug, Default)]
pub struct VersionScan {
    key: Option<String>,
    /// The key through which all versions were seen.
    through: Option<String>,
    /// The creation time of the version before this one in the listing: since then this one is noncurrent.
    newer_made: UnixMs,
    noncurrent: u32,
    /// The newest version, as long as it is the only one that was seen and a delete marker.
    lone_marker: Option<DeleteMarker>,
}

impl VersionScan {
    /// Makes a scan that continues after this key.
    pub fn after(key: Option<String>) -> Self {
        Self { key, ..Self::default() }
    }

    /// The next version of the listing.
    pub fn see(&mut self, judge: Judge<'_>, key: &str, row: &VersionRow, due: &mut Vec<Due>) {
        if self.key.as_deref() == Some(key) {
            self.lone_marker = None;
            due.extend(judge.noncurrent(key, row, self.newer_made, self.noncurrent));
            self.noncurrent += 1;
        } else {
            self.end_key(judge, due);
            self.through = self.key.replace(key.to_owned());
            self.noncurrent = 0;
            match row {
                VersionRow::Object(object) => due.extend(judge.current(key, object)),
                VersionRow::DeleteMarker(marker) => self.lone_marker = Some(marker.clone()),
            }
        }
        self.newer_made = row.modified();
    }

    /// Ends the scan: no version follows.
    pub fn end(&mut self, judge: Judge<'_>, due: &mut Vec<Due>) {
        self.end_key(judge, due);
    }

    /// Keys through this one need not be seen again.
    pub fn through(&self) -> Option<&str> {
        self.through.as_deref()
    }

    fn end_key(&mut self, judge: Judge<'_>, due: &mut Vec<Due>) {
        if let (Some(marker), Some(key)) = (self.lone_marker.take(), &self.key) {
            due.extend(judge.marker(key, &marker));
        }
    }
}
