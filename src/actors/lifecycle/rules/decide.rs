//! Decides which versions and uploads of a bucket expire, and when. Only enabled rules count. If several rules match,
//! the one with the earliest expiry applies; of equal ones, the first in the configuration.

use super::{Expiration, Rule, Rules, Subject};
use crate::types::UnixMs;
use std::time::Duration;

/// A calendar day. Expiry times are rounded up to midnight only if the day has this length, and not if
/// `SHERD_LIFECYCLE_DAY` sets another.
pub const DAY: Duration = Duration::from_secs(86_400);

/// A current version that is not a delete marker.
#[derive(Clone, Copy, Debug)]
pub struct ObjectFacts<'a> {
    pub key: &'a str,
    pub size_bytes: u64,
    pub tags: &'a [(String, String)],
    pub modified: UnixMs,
}

/// A noncurrent version. A delete marker has zero bytes and no tags.
#[derive(Clone, Copy, Debug)]
pub struct NoncurrentFacts<'a> {
    pub key: &'a str,
    pub size_bytes: u64,
    pub tags: &'a [(String, String)],
    /// The creation time of the version that replaced it.
    pub noncurrent_since: UnixMs,
    /// The number of noncurrent versions of the key that are newer than this one.
    pub newer_noncurrent: u32,
}

/// A delete marker that is the current version.
#[derive(Clone, Copy, Debug)]
pub struct MarkerFacts<'a> {
    pub key: &'a str,
    pub modified: UnixMs,
    /// True if it is the only version of its key.
    pub sole: bool,
}

/// A multipart upload in progress.
#[derive(Clone, Copy, Debug)]
pub struct UploadFacts<'a> {
    pub key: &'a str,
    pub initiated: UnixMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'r> {
    Keep,
    /// A current version is deleted as by a client's DELETE without a version id: permanently in a bucket that never
    /// had versioning, else hidden by a delete marker. All other items are deleted permanently.
    Expire {
        rule_id: &'r str,
    },
}

/// The time at which an item expires, and the rule that expires it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry<'r> {
    pub at: UnixMs,
    pub rule_id: &'r str,
}

pub fn current_object<'r>(rules: &'r Rules, facts: &ObjectFacts<'_>, now: UnixMs, day: Duration) -> Action<'r> {
    when_due(object_expiry(rules, facts, day), now)
}

/// Returns the expiration of an object, as in S3's responses (`x-amz-expiration`).
pub fn object_expiry<'r>(rules: &'r Rules, facts: &ObjectFacts<'_>, day: Duration) -> Option<Expiry<'r>> {
    let subject = Subject { key: facts.key, size_bytes: facts.size_bytes, tags: facts.tags };
    earliest(rules, subject, |rule| match rule.expiration? {
        Expiration::Days(days) => Some(due(facts.modified, days, day)),
        Expiration::Date(seconds) => Some(date(seconds)),
        Expiration::DeleteMarkers(_) => None,
    })
}

/// Decides on a noncurrent version. Ignores retention and legal holds, which the caller checks.
pub fn noncurrent_version<'r>(rules: &'r Rules, facts: &NoncurrentFacts<'_>, now: UnixMs, day: Duration) -> Action<'r> {
    let subject = Subject { key: facts.key, size_bytes: facts.size_bytes, tags: facts.tags };
    let expiry = earliest(rules, subject, |rule| {
        let noncurrent = rule.noncurrent?;
        let spared = noncurrent.newer_versions_kept.is_some_and(|kept| facts.newer_noncurrent < kept);
        (!spared).then(|| due(facts.noncurrent_since, noncurrent.days, day))
    });
    when_due(expiry, now)
}

/// Decides on a delete marker that is the current version. It stays while its key has other versions. Then a rule with
/// `ExpiredObjectDeleteMarker` removes it at once, and a rule that expires objects when the marker has the rule's age.
pub fn delete_marker<'r>(rules: &'r Rules, facts: &MarkerFacts<'_>, now: UnixMs, day: Duration) -> Action<'r> {
    if !facts.sole {
        return Action::Keep;
    }
    let expiry = earliest(rules, bare(facts.key), |rule| match rule.expiration? {
        Expiration::Days(days) => Some(due(facts.modified, days, day)),
        Expiration::Date(seconds) => Some(date(seconds)),
        Expiration::DeleteMarkers(remove) => remove.then_some(facts.modified),
    });
    when_due(expiry, now)
}

pub fn upload<'r>(rules: &'r Rules, facts: &UploadFacts<'_>, now: UnixMs, day: Duration) -> Action<'r> {
    when_due(upload_expiry(rules, facts, day), now)
}

/// Returns the expiration of an upload, as in S3's responses (`x-amz-abort-date`, `x-amz-abort-rule-id`).
pub fn upload_expiry<'r>(rules: &'r Rules, facts: &UploadFacts<'_>, day: Duration) -> Option<Expiry<'r>> {
    earliest(rules, bare(facts.key), |rule| Some(due(facts.initiated, rule.abort_uploads_after_days?, day)))
}

/// Returns the attributes of an item that has neither a size nor tags.
fn bare(key: &str) -> Subject<'_> {
    Subject { key, size_bytes: 0, tags: &[] }
}

fn earliest<'r>(rules: &'r Rules, subject: Subject<'_>, at: impl Fn(&Rule) -> Option<UnixMs>) -> Option<Expiry<'r>> {
    let matching = rules.rules.iter().filter(|rule| rule.enabled && rule.scope.holds(subject));
    // `min_by_key` returns the first of equal elements.
    matching.filter_map(|rule| Some(Expiry { at: at(rule)?, rule_id: &rule.id })).min_by_key(|expiry| expiry.at)
}

fn when_due(expiry: Option<Expiry<'_>>, now: UnixMs) -> Action<'_> {
    match expiry {
        Some(expiry) if expiry.at <= now => Action::Expire { rule_id: expiry.rule_id },
        _ => Action::Keep,
    }
}

/// Adds days to a time and, as S3 does, rounds up to the next midnight UTC.
fn due(from: UnixMs, days: u32, day: Duration) -> UnixMs {
    let day_ms = u64::try_from(day.as_millis()).unwrap_or(u64::MAX);
    let at = from.0.saturating_add(day_ms.saturating_mul(u64::from(days)));
    UnixMs(if day == DAY { at.checked_next_multiple_of(day_ms).unwrap_or(u64::MAX) } else { at })
}

/// Converts seconds since the Unix epoch; a negative number becomes 0.
fn date(seconds: i64) -> UnixMs {
    UnixMs(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}
