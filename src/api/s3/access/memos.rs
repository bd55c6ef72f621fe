//! Caches of the parsed configuration of buckets and access keys. An entry is valid until the configuration changes.

use crate::actors::lifecycle::rules::Rules;
use crate::actors::meta::BucketRow;
use crate::api::cache::Memo;
use crate::api::identity::{KeySecret, ParsedIdentity, Resolved};
use crate::api::policy::{Account, Policy};
use crate::api::rates::RateLimits;
use crate::api::s3::cors::ParsedRules;
use crate::api::s3::grants::BucketAccess;
use crate::api::s3::settings::logging::LoggedBucket;
use crate::types::BucketId;
use std::sync::Arc;

/// A bucket, with everything of it that decisions need.
pub struct JudgedBucket {
    pub row: BucketRow,
    pub access: BucketAccess,
    pub owner: Account,
    pub rates: RateLimits,
    pub(super) policy: Option<Arc<Policy>>,
}

/// The principal that an access key identifies, with the session token that was sent with it.
pub struct KeyHolder {
    pub resolved: Resolved,
    pub identity: Arc<ParsedIdentity>,
    /// The limits of its account.
    pub rates: RateLimits,
}

/// The caches, keyed by the bucket's name or number, or by the access key's id.
#[derive(Default)]
pub struct Memos {
    pub buckets: Memo<String, JudgedBucket>,
    /// The inner value, as in the next two fields, is `None` for a bucket without such a document.
    pub lifecycles: Memo<BucketId, Option<Rules>>,
    pub cors: Memo<String, Option<ParsedRules>>,
    pub logged: Memo<String, Option<LoggedBucket>>,
    pub secrets: Memo<String, KeySecret>,
    pub holders: Memo<String, KeyHolder>,
}
