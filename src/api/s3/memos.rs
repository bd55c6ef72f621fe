//! Caches of the parsed configuration of buckets and access keys. An entry is valid until the configuration changes.

use super::access::{JudgedBucket, KeyHolder};
use super::cors::CorsRules;
use super::settings::logging::LoggedBucket;
use crate::actors::lifecycle::rules::Rules;
use crate::api::identity::KeySecret;
use crate::api::memo::Memo;
use crate::types::BucketId;

/// The caches, keyed by the bucket's name or number, or by the access key's id.
#[derive(Default)]
pub struct Memos {
    pub buckets: Memo<String, JudgedBucket>,
    /// The inner value, as in the next two fields, is `None` for a bucket without such a document.
    pub lifecycles: Memo<BucketId, Option<Rules>>,
    pub cors: Memo<String, Option<CorsRules>>,
    pub logged: Memo<String, Option<LoggedBucket>>,
    pub secrets: Memo<String, KeySecret>,
    pub holders: Memo<String, KeyHolder>,
}
