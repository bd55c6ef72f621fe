//! Buckets: the settings by which the state machine decides changes, and the usage.

use super::{BucketRecord, Retention, RetentionMode};
use crate::types::UnixMs;
use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A bucket, with the settings that the state machine itself uses. All other settings are documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRow {
    pub bucket: BucketRecord,
    pub settings: BucketSettings,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSettings {
    pub versioning: Versioning,
    /// `Some` if versions can be locked; then versioning stays enabled.
    pub lock: Option<ObjectLock>,
    pub quota: Quota,
}

/// The object lock of a bucket, which cannot be taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectLock {
    pub default_retention: Option<DefaultRetention>,
}

/// The retention of new versions that come with none. It is decided when a version is made, however long the request
/// took, so that no write escapes it that began before it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DefaultRetention {
    pub mode: RetentionMode,
    pub period: RetentionPeriod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RetentionPeriod {
    Days(u32),
    /// Years of 365 days.
    Years(u32),
}

impl DefaultRetention {
    /// Returns the retention of a version that is made at this time.
    pub fn starting(self, made: UnixMs) -> Retention {
        let days = match self.period {
            RetentionPeriod::Days(days) => u64::from(days),
            RetentionPeriod::Years(years) => 365 * u64::from(years),
        };
        Retention { mode: self.mode, until: UnixMs(made.0.saturating_add(days * DAY_MS)) }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Versioning {
    #[default]
    Never,
    Enabled,
    /// Existing versions stay. A new version replaces the null version.
    Suspended,
}

/// The limits of a bucket's usage; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The bytes of all versions and of the parts of unfinished uploads, as clients count them.
    pub bytes_max: Option<u64>,
    /// The number of current objects.
    pub objects_max: Option<u64>,
}

/// A change of a `Quota`; a limit that is `None` keeps its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaChange {
    pub bytes_max: Option<Option<u64>>,
    pub objects_max: Option<Option<u64>>,
}

impl QuotaChange {
    pub fn apply(self, quota: Quota) -> Quota {
        Quota {
            bytes_max: self.bytes_max.unwrap_or(quota.bytes_max),
            objects_max: self.objects_max.unwrap_or(quota.objects_max),
        }
    }
}

impl From<Quota> for QuotaChange {
    fn from(quota: Quota) -> Self {
        Self { bytes_max: Some(quota.bytes_max), objects_max: Some(quota.objects_max) }
    }
}

/// An account that owns buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRow {
    /// The number of its buckets.
    pub buckets: u64,
}

/// The usage of a bucket, updated with every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The number of current objects.
    pub objects: u64,
    /// The number of other versions, delete markers included.
    pub versions: u64,
    /// The bytes of all versions, as clients count them.
    pub bytes: u64,
    /// The bytes of the parts of unfinished uploads.
    pub parts_bytes: u64,
}

impl Usage {
    /// Returns whether the bucket has an object, another version or a delete marker, so that it cannot be deleted.
    pub fn has_versions(self) -> bool {
        self.objects > 0 || self.versions > 0
    }
}
