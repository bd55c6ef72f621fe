//! The routes of the admin API that list, set and remove limits on the rates of accounts and buckets.

use super::documents::{TRIES_MAX, refused, write};
use super::{Admin, Refusal};
use crate::actors::meta::{DocumentKey, DocumentWrite, Expect, IdentityKind, MetaView};
use crate::api::rates::RateLimits;
use serde::{Deserialize, Serialize};

/// The rows that are read from the metadata at a time.
const PAGE_ROWS: usize = 1000;

/// An account or a bucket, and its limits over all hosts together; `null` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimitsJson {
    /// The account's 12-digit id; `null` for a bucket.
    pub account: Option<String>,
    pub bucket: Option<String>,
    pub requests_per_second: Option<u64>,
    pub received_bytes_per_second: Option<u64>,
    pub sent_bytes_per_second: Option<u64>,
    pub requests_active_max: Option<u64>,
}

/// A change of the limits of an account or of a bucket, one of which must be named. An absent limit stays as it is;
/// `null` removes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRateLimits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    #[serde(default, deserialize_with = "super::shapes::given", skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<Option<u64>>,
    #[serde(default, deserialize_with = "super::shapes::given", skip_serializing_if = "Option::is_none")]
    pub received_bytes_per_second: Option<Option<u64>>,
    #[serde(default, deserialize_with = "super::shapes::given", skip_serializing_if = "Option::is_none")]
    pub sent_bytes_per_second: Option<Option<u64>>,
    #[serde(default, deserialize_with = "super::shapes::given", skip_serializing_if = "Option::is_none")]
    pub requests_active_max: Option<Option<u64>>,
}

impl SetRateLimits {
    fn changed(&self, limits: RateLimits) -> RateLimits {
        RateLimits {
            requests_per_second: self.requests_per_second.unwrap_or(limits.requests_per_second),
            received_bytes_per_second: self.received_bytes_per_second.unwrap_or(limits.received_bytes_per_second),
            sent_bytes_per_second: self.sent_bytes_per_second.unwrap_or(limits.sent_bytes_per_second),
            requests_active_max: self.requests_active_max.unwrap_or(limits.requests_active_max),
        }
    }
}

/// Returns all accounts that have limits, then all buckets that have some, each sorted.
pub(super) async fn list(admin: &Admin) -> Result<Vec<RateLimitsJson>, Refusal> {
    let view = admin.gateway.meta().read().await.map_err(Refusal::unavailable)?;
    let mut all = Vec::new();
    let mut after = None::<String>;
    loop {
        let page = view.identity_documents(IdentityKind::RateLimits, "", after.as_deref(), PAGE_ROWS);
        let (page, more) = page.map_err(Refusal::unavailable)?;
        after = page.last().map(|(account, _)| account.clone());
        for (account, row) in page {
            let limits = RateLimits::decode(&row.value).map_err(Refusal::unavailable)?;
            all.push(shown(Some(account), None, limits));
        }
        if !more {
            break;
        }
    }
    let mut after = None::<String>;
    loop {
        let page = view.buckets("", after.as_deref(), PAGE_ROWS);
        let (page, more) = page.map_err(Refusal::unavailable)?;
        after = page.last().map(|row| row.bucket.name.clone());
        for row in page {
            let (limits, _) = current(&view, &RateLimits::key_of_bucket(row.bucket.id))?;
            if !limits.is_unlimited() {
                all.push(shown(None, Some(row.bucket.name), limits));
            }
        }
        if !more {
            return Ok(all);
        }
    }
}

/// Changes limits; returns all limits of the account or bucket as they are afterwards.
pub(super) async fn set(admin: &Admin, asked: SetRateLimits) -> Result<RateLimitsJson, Refusal> {
    for _ in 0..TRIES_MAX {
        let view = admin.gateway.meta().read().await.map_err(Refusal::unavailable)?;
        let key = key(admin, &view, &asked)?;
        let (limits, expect) = current(&view, &key)?;
        let changed = asked.changed(limits);
        changed.check().map_err(refused)?;
        if changed == limits || write(admin, vec![DocumentWrite { key, expect, value: changed.encode() }]).await? {
            tracing::info!(?asked, "an administrator set limits on rates");
            return Ok(shown(asked.account, asked.bucket, changed));
        }
    }
    Err(Refusal::unavailable("the limits were changed by others at the same time; try again"))
}

/// Returns the key of the document with the limits. The account or bucket must exist.
fn key(admin: &Admin, view: &MetaView, asked: &SetRateLimits) -> Result<DocumentKey, Refusal> {
    match (&asked.account, &asked.bucket) {
        (Some(account), None) => match admin.iam.directory(view).account(account)? {
            Some(_) => Ok(RateLimits::key_of_account(account)),
            None => Err(refused(format!("there is no account {account:?}"))),
        },
        (None, Some(bucket)) => match view.bucket(bucket).map_err(Refusal::unavailable)? {
            Some(row) => Ok(RateLimits::key_of_bucket(row.bucket.id)),
            None => Err(refused(format!("there is no bucket {bucket:?}"))),
        },
        _ => Err(Refusal::NoSense("name either an account or a bucket, not both".to_owned())),
    }
}

fn current(view: &MetaView, key: &DocumentKey) -> Result<(RateLimits, Expect), Refusal> {
    let Some(row) = view.document(key).map_err(Refusal::unavailable)? else {
        return Ok((RateLimits::default(), Expect::Absent));
    };
    let limits = RateLimits::decode(&row.value).map_err(Refusal::unavailable)?;
    Ok((limits, Expect::Revision(row.revision)))
}

fn shown(account: Option<String>, bucket: Option<String>, limits: RateLimits) -> RateLimitsJson {
    let RateLimits { requests_per_second, received_bytes_per_second, sent_bytes_per_second, requests_active_max } =
        limits;
    RateLimitsJson {
        account,
        bucket,
        requests_per_second,
        received_bytes_per_second,
        sent_bytes_per_second,
        requests_active_max,
    }
}

#[cfg(test)]
mod tests {
    use super::SetRateLimits;
    use crate::api::rates::RateLimits;

    #[test]
    fn an_absent_limit_stays_and_null_removes_one() {
        let asked = |text: &str| serde_json::from_str::<SetRateLimits>(text).expect("a change");
        let limits = RateLimits { requests_per_second: Some(7), requests_active_max: Some(3), ..RateLimits::default() };
        assert_eq!(asked(r#"{"bucket":"b"}"#).changed(limits), limits);
        let changed =
            asked(r#"{"account":"1","requests_per_second":null,"sent_bytes_per_second":65536}"#).changed(limits);
        let sent_bytes_per_second = Some(65_536);
        assert_eq!(changed, RateLimits { requests_per_second: None, sent_bytes_per_second, ..limits });
        assert!(serde_json::from_str::<SetRateLimits>(r#"{"bucket":"b","requests":1}"#).is_err());
        let removed = SetRateLimits { requests_active_max: Some(None), ..SetRateLimits::default() };
        assert_eq!(serde_json::to_string(&removed).expect("JSON"), r#"{"requests_active_max":null}"#);
    }
}
