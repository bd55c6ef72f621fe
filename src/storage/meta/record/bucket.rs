//! What a bucket has besides its name: settings that decide changes, and how much is in it.

use super::BucketRecord;
use serde::{Deserialize, Serialize};

/// A bucket, with the settings that the state machine itself goes by; all others are documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRow {
    pub bucket: BucketRecord,
    pub settings: BucketSettings,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSettings {
    pub versioning: Versioning,
    /// Whether versions can be locked; then versioning stays enabled.
    pub lock: bool,
    pub quota: Quota,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Versioning {
    #[default]
    Never,
    Enabled,
    /// Versions that are there stay; new ones replace the null version.
    Suspended,
}

/// What may be in a bucket; without limit where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Of all versions, as clients count them.
    pub bytes_max: Option<u64>,
    /// Current objects.
    pub objects_max: Option<u64>,
}

/// What is in a bucket, kept with every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Current objects.
    pub objects: u64,
    /// Other versions, delete markers among them.
    pub versions: u64,
    /// Of all versions, as clients count them.
    pub bytes: u64,
}
