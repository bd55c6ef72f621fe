//! Conversion of lifecycle rules between the stored form and XML. A response gives back the configuration in the form
//! in which it was set.

use crate::actors::lifecycle::rules::{
    Expiration, Filter, NoncurrentExpiration, Predicates, Rule, RuleError, Rules, Scope, Tag, TransitionMinimum,
};
use s3s::dto;
use time::OffsetDateTime;

/// Converts a configuration from XML. A rule without an id gets one from `fresh_id`.
pub fn from_dto(
    given: dto::BucketLifecycleConfiguration,
    minimum: Option<dto::TransitionDefaultMinimumObjectSize>,
    fresh_id: impl FnMut() -> String,
) -> Result<Rules, RuleError> {
    let minimum = minimum.map(|minimum| TransitionMinimum::parse(minimum.as_str())).transpose()?.unwrap_or_default();
    let rules = given.rules.into_iter().map(rule_from_dto).collect::<Result<_, _>>()?;
    Rules::new(rules, minimum, fresh_id)
}

/// Returns a rule id in the form of S3's: the text of a random UUID in base64.
pub fn rule_id(random: u128) -> String {
    const VERSION: u128 = 0x4 << 76;
    const VARIANT: u128 = 0x2 << 62;
    let bits = random & !(0xf << 76) & !(0x3 << 62) | VERSION | VARIANT;
    let text = format!("{bits:032x}");
    let groups = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    base64_simd::STANDARD.encode_to_string(groups.join("-"))
}

fn rule_from_dto(given: dto::LifecycleRule) -> Result<Rule, RuleError> {
    let transitions = given.transitions.is_some_and(|list| !list.is_empty())
        || given.noncurrent_version_transitions.is_some_and(|list| !list.is_empty());
    if transitions {
        return Err(RuleError::StorageClass);
    }
    let expiration = given.expiration.map(|given| {
        let date = given.date.map(OffsetDateTime::from);
        Expiration::new(given.days, date, given.expired_object_delete_marker)
    });
    let noncurrent = given
        .noncurrent_version_expiration
        .map(|given| NoncurrentExpiration::new(given.noncurrent_days, given.newer_noncurrent_versions));
    let abort = given.abort_incomplete_multipart_upload.map(|given| Rule::abort_days(given.days_after_initiation));
    Ok(Rule {
        id: given.id.unwrap_or_default(),
        enabled: Rule::enabled(given.status.as_str())?,
        scope: Scope::new(given.prefix, given.filter.map(filter_from_dto).transpose()?)?,
        expiration: expiration.transpose()?,
        noncurrent: noncurrent.transpose()?,
        abort_uploads_after_days: abort.transpose()?,
    })
}

fn filter_from_dto(given: dto::LifecycleRuleFilter) -> Result<Filter, RuleError> {
    let own = Predicates {
        prefix: given.prefix,
        tags: given.tag.map(tag_from_dto).into_iter().collect(),
        larger_than_bytes: given.object_size_greater_than.map(Predicates::larger_than).transpose()?,
        smaller_than_bytes: given.object_size_less_than.map(Predicates::smaller_than).transpose()?,
    };
    let and = given.and.map(|given| {
        Ok(Predicates {
            prefix: given.prefix,
            tags: given.tags.unwrap_or_default().into_iter().map(tag_from_dto).collect(),
            larger_than_bytes: given.object_size_greater_than.map(Predicates::larger_than).transpose()?,
            smaller_than_bytes: given.object_size_less_than.map(Predicates::smaller_than).transpose()?,
        })
    });
    Ok(Filter { own, and: and.transpose()? })
}

/// Converts a tag; one without a value has an empty value.
fn tag_from_dto(given: dto::Tag) -> Tag {
    Tag { key: given.key.unwrap_or_default(), value: given.value.unwrap_or_default() }
}

pub fn to_dto(rule: Rule) -> dto::LifecycleRule {
    let status = if rule.enabled { dto::ExpirationStatus::ENABLED } else { dto::ExpirationStatus::DISABLED };
    let (prefix, filter) = match rule.scope {
        Scope::Prefix(prefix) => (Some(prefix), None),
        Scope::Filter(filter) => (None, Some(filter_to_dto(filter))),
    };
    dto::LifecycleRule {
        abort_incomplete_multipart_upload: rule
            .abort_uploads_after_days
            .map(|days| dto::AbortIncompleteMultipartUpload { days_after_initiation: Some(number(days)) }),
        expiration: rule.expiration.map(expiration_to_dto),
        filter,
        id: Some(rule.id),
        noncurrent_version_expiration: rule.noncurrent.map(|noncurrent| dto::NoncurrentVersionExpiration {
            newer_noncurrent_versions: noncurrent.newer_versions_kept.map(number),
            noncurrent_days: Some(number(noncurrent.days)),
        }),
        noncurrent_version_transitions: None,
        prefix,
        status: dto::ExpirationStatus::from_static(status),
        transitions: None,
    }
}

fn expiration_to_dto(expiration: Expiration) -> dto::LifecycleExpiration {
    let mut answer = dto::LifecycleExpiration::default();
    match expiration {
        Expiration::Days(days) => answer.days = Some(number(days)),
        Expiration::Date(seconds) => answer.date = OffsetDateTime::from_unix_timestamp(seconds).ok().map(Into::into),
        Expiration::DeleteMarkers(remove) => answer.expired_object_delete_marker = Some(remove),
    }
    answer
}

fn filter_to_dto(filter: Filter) -> dto::LifecycleRuleFilter {
    let own = filter.own;
    dto::LifecycleRuleFilter {
        and: filter.and.map(|and| dto::LifecycleRuleAndOperator {
            object_size_greater_than: and.larger_than_bytes.map(bytes),
            object_size_less_than: and.smaller_than_bytes.map(bytes),
            prefix: and.prefix,
            tags: (!and.tags.is_empty()).then(|| and.tags.into_iter().map(tag_to_dto).collect()),
        }),
        object_size_greater_than: own.larger_than_bytes.map(bytes),
        object_size_less_than: own.smaller_than_bytes.map(bytes),
        prefix: own.prefix,
        tag: own.tags.into_iter().next().map(tag_to_dto),
    }
}

fn tag_to_dto(tag: Tag) -> dto::Tag {
    dto::Tag { key: Some(tag.key), value: Some(tag.value) }
}

fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
