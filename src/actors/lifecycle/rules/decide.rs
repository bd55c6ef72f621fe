//! Decides which versions and uploads of a bucket are due, and when. Only enabled rules count. If several hold, the
//! earliest wins, and of those the one listed first.

use super::{Expiration, Rule, Rules, Subject};
use crate::types::UnixMs;
use std::time::Duration;

/// A day as users count it. Where the day given is shorter, for tests, moments are not rounded.
pub const DAY: Duration = Duration::from_secs(86_400);

/// A current version that is not a delete marker.
#[derive(Clone, Copy, Debug)]
pub struct ObjectFacts<'a> {
    pub key: &'a str,
    pub size_bytes: u64,
    pub tags: &'a [(String, String)],
    pub modified: UnixMs,
}

/// A version that is not the current one; a delete marker has no bytes and no tags.
#[derive(Clone, Copy, Debug)]
pub struct NoncurrentFacts<'a> {
    pub key: &'a str,
    pub size_bytes: u64,
    pub tags: &'a [(String, String)],
    /// The creation time of the version that replaced it.
    pub noncurrent_since: UnixMs,
    /// Noncurrent versions of the key that are newer than this one.
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
    /// A current version is deleted as a client's DELETE without a version does it: for good where the bucket never had
    /// versions, under a delete marker where it has. Anything else goes for good.
    Expire {
        rule_id: &'r str,
    },
}

/// The time of an expiration, and its rule.
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

/// Retention and legal holds are not looked at: whoever deletes a version heeds them.
pub fn noncurrent_version<'r>(rules: &'r Rules, facts: &NoncurrentFacts<'_>, now: UnixMs, day: Duration) -> Action<'r> {
    let subject = Subject { key: facts.key, size_bytes: facts.size_bytes, tags: facts.tags };
    let expiry = earliest(rules, subject, |rule| {
        let noncurrent = rule.noncurrent?;
        let spared = noncurrent.newer_versions_kept.is_some_and(|kept| facts.newer_noncurrent < kept);
        (!spared).then(|| due(facts.noncurrent_since, noncurrent.days, day))
    });
    when_due(expiry, now)
}

/// Returns when a marker goes: only once nothing is left for it to hide, by the rule that says so, or by one that
/// expires objects, when the marker is old enough for it.
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

/// Returns a subject that has neither bytes nor tags.
fn bare(key: &str) -> Subject<'_> {
    Subject { key, size_bytes: 0, tags: &[] }
}

fn earliest<'r>(rules: &'r Rules, subject: Subject<'_>, at: impl Fn(&Rule) -> Option<UnixMs>) -> Option<Expiry<'r>> {
    let standing = rules.rules.iter().filter(|rule| rule.enabled && rule.scope.holds(subject));
    // Of equals the first one is kept.
    standing.filter_map(|rule| Some(Expiry { at: at(rule)?, rule_id: &rule.id })).min_by_key(|expiry| expiry.at)
}

fn when_due(expiry: Option<Expiry<'_>>, now: UnixMs) -> Action<'_> {
    match expiry {
        Some(expiry) if expiry.at <= now => Action::Expire { rule_id: expiry.rule_id },
        _ => Action::Keep,
    }
}

/// S3 counts whole days and then waits for midnight UTC.
fn due(from: UnixMs, days: u32, day: Duration) -> UnixMs {
    let day_ms = u64::try_from(day.as_millis()).unwrap_or(u64::MAX);
    let at = from.0.saturating_add(day_ms.saturating_mul(u64::from(days)));
    UnixMs(if day == DAY { at.checked_next_multiple_of(day_ms).unwrap_or(u64::MAX) } else { at })
}

/// Converts a time; times before 1970 count as 1970.
fn date(seconds: i64) -> UnixMs {
    UnixMs(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}
