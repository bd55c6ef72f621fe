//! Caches of buckets' and access keys' configuration, parsed, valid while the configuration is the same.

use super::access::{Guarded, Holder};
use super::cors::CorsRules;
use super::settings::logging::LoggedBucket;
use crate::actors::lifecycle::rules::Rules;
use crate::api::identity::KeySecret;
use crate::api::memo::Memo;
use crate::types::BucketId;

/// The caches, by the name or the number of the bucket, or the id of the access key.
#[derive(Default)]
pub struct Memos {
    pub buckets: Memo<String, Guarded>,
    /// `None` within where a bucket has no such document.
    pub lifecycles: Memo<BucketId, Option<Rules>>,
    pub cors: Memo<String, Option<CorsRules>>,
    pub logged: Memo<String, Option<LoggedBucket>>,
    pub secrets: Memo<String, KeySecret>,
    pub holders: Memo<String, Holder>,
}
