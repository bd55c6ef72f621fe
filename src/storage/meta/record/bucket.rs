//! Buckets: the settings by which the state machine decides changes, and the usage.

use super::BucketRecord;
use serde::{Deserialize, Serialize};

/// A bucket, with the settings that the state machine itself uses. All other settings are documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRow {
    pub bucket: BucketRecord,
    pub settings: BucketSettings,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSettings {
    pub versioning: Versioning,
    /// True if versions can be locked; then versioning stays enabled.
    pub lock: bool,
    pub quota: Quota,
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
    /// The bytes of all versions, as clients count them.
    pub bytes_max: Option<u64>,
    /// The number of current objects.
    pub objects_max: Option<u64>,
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
}
