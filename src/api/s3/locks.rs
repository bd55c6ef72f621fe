//! Object lock: a bucket's configuration with its default retention, and the retention and legal hold of versions.

use super::object_headers::timestamp;
use super::version::{manifest_of, pick};
use super::{Store, unexpected};
use crate::actors::meta::{
    BucketRow, Change, ChangeTraits, DefaultRetention, ObjectLock, QuotaChange, Reply, Retention, RetentionMode,
    RetentionPeriod, Traits, TraitsChange, Versioning,
};
use crate::api::errors::{ArgumentFault, Fault, RequestFault};
use crate::types::UnixMs;
use http::HeaderMap;
use s3s::S3Result;
use s3s::dto::{
    self as dto, GetObjectLegalHoldInput, GetObjectLegalHoldOutput, GetObjectLockConfigurationInput,
    GetObjectLockConfigurationOutput, GetObjectRetentionInput, GetObjectRetentionOutput, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention,
    ObjectLockRetentionMode, ObjectLockRule, PutObjectLegalHoldInput, PutObjectLegalHoldOutput,
    PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput, PutObjectRetentionInput,
    PutObjectRetentionOutput, Timestamp, TimestampFormat,
};
use time::{OffsetDateTime, UtcOffset};

/// AWS's limit on a default retention in days: a century.
const DAYS_MAX: u32 = 36_500;
const YEARS_MAX: u32 = 100;

/// Parses the default retention of a bucket.
fn parsed(rule: &dto::DefaultRetention) -> Result<DefaultRetention, Fault> {
    let mode = rule.mode.as_ref().ok_or(Fault::MalformedXml)?;
    let mode = mode_named(mode.as_str()).ok_or(Fault::MalformedXml)?;
    let number = |value: Option<i32>, max: u32, what: &str| match value.map(u32::try_from) {
        Some(Err(_) | Ok(0)) => {
            Err(Fault::InvalidArgument("Default retention period must be a positive integer value.".to_owned()))
        }
        Some(Ok(value)) if value > max => Err(Fault::InvalidArgument(format!(
            "Default retention period too large for '{what}' value: the maximum is {max}"
        ))),
        value => Ok(value.and_then(Result::ok)),
    };
    let period = match (number(rule.days, DAYS_MAX, "Days")?, number(rule.years, YEARS_MAX, "Years")?) {
        (Some(days), None) => RetentionPeriod::Days(days),
        (None, Some(years)) => RetentionPeriod::Years(years),
        _ => return Err(Fault::MalformedXml),
    };
    Ok(DefaultRetention { mode, period })
}

fn rule_of(default: DefaultRetention) -> ObjectLockRule {
    let (days, years) = match default.period {
        RetentionPeriod::Days(days) => (i32::try_from(days).ok(), None),
        RetentionPeriod::Years(years) => (None, i32::try_from(years).ok()),
    };
    let mode = Some(ObjectLockRetentionMode::from_static(mode_name(default.mode)));
    ObjectLockRule { default_retention: Some(dto::DefaultRetention { days, mode, years }) }
}

pub fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => ObjectLockMode::GOVERNANCE,
        RetentionMode::Compliance => ObjectLockMode::COMPLIANCE,
    }
}

fn mode_named(name: &str) -> Option<RetentionMode> {
    [RetentionMode::Governance, RetentionMode::Compliance].into_iter().find(|mode| mode_name(*mode) == name)
}

fn hold_name(held: bool) -> &'static str {
    if held { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF }
}

fn hold_named(name: &str) -> Option<bool> {
    [true, false].into_iter().find(|held| hold_name(*held) == name)
}

/// The locks of a version, as answers to GET and HEAD show them.
pub struct ShownLocks {
    pub mode: Option<ObjectLockMode>,
    pub until: Option<Timestamp>,
    pub legal_hold: Option<ObjectLockLegalHoldStatus>,
}

pub fn shown(bucket: &BucketRow, traits: &Traits) -> ShownLocks {
    let held = traits.legal_hold.map(|held| ObjectLockLegalHoldStatus::from_static(hold_name(held)));
    ShownLocks {
        mode: traits.retention.map(|retention| ObjectLockMode::from_static(mode_name(retention.mode))),
        until: traits.retention.map(|retention| timestamp(retention.until)),
        legal_hold: held.filter(|_| bucket.settings.lock.is_some()),
    }
}

/// Sets the retention and the legal hold of a new version in its traits: those in the write's headers. The bucket's
/// default retention is added when the version is made.
pub fn set_locks(headers: &HeaderMap, bucket: &BucketRow, now: UnixMs, traits: &mut Traits) -> S3Result<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (mode, until) = (text("x-amz-object-lock-mode"), text("x-amz-object-lock-retain-until-date"));
    let hold = text("x-amz-object-lock-legal-hold");
    let asks = mode.is_some() || until.is_some() || hold.is_some();
    if let Some(hold) = hold {
        let unknown = || Fault::InvalidArgument("Legal Hold must be either of 'ON' or 'OFF'".to_owned());
        traits.legal_hold = Some(hold_named(hold).ok_or_else(unknown)?);
    }
    traits.retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let unknown =
                || Fault::from(ArgumentFault::parameter("x-amz-object-lock-mode", "Unknown wormMode directive."));
            let mode = mode_named(mode).ok_or_else(unknown)?;
            let until = Timestamp::parse(TimestampFormat::DateTime, until).map_err(|_| {
                Fault::InvalidArgument("The retain until date must be provided in ISO 8601 format".to_owned())
            })?;
            Some(Retention { mode, until: future(&until, now)? })
        }
        _ => {
            let why = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
            return Err(Fault::InvalidArgument(why.to_owned()).into());
        }
    };
    // As in S3, faults of the headers take precedence over this one.
    if asks && bucket.settings.lock.is_none() {
        return Err(Fault::InvalidRequest("Bucket is missing ObjectLockConfiguration".to_owned()).into());
    }
    Ok(())
}

fn future(at: &Timestamp, now: UnixMs) -> Result<UnixMs, Fault> {
    let too_far = || Fault::InvalidArgument("The retain until date is after the year 9999".to_owned());
    let at = OffsetDateTime::from(at.clone()).checked_to_offset(UtcOffset::UTC).ok_or_else(too_far)?;
    let nanoseconds = at.unix_timestamp_nanos();
    let at = UnixMs(u64::try_from(nanoseconds / 1_000_000).unwrap_or_default());
    let past = || Fault::InvalidArgument("The retain until date must be in the future!".to_owned());
    if at > now { Ok(at) } else { Err(past()) }
}

pub async fn get_configuration(
    store: &Store,
    input: GetObjectLockConfigurationInput,
) -> S3Result<GetObjectLockConfigurationOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let lock = bucket.settings.lock.ok_or(Fault::NoObjectLockConfiguration)?;
    let object_lock_configuration = Some(ObjectLockConfiguration {
        object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
        rule: lock.default_retention.map(rule_of),
    });
    Ok(GetObjectLockConfigurationOutput { object_lock_configuration })
}

pub async fn put_configuration(
    store: &Store,
    input: PutObjectLockConfigurationInput,
) -> S3Result<PutObjectLockConfigurationOutput> {
    let asked = input.object_lock_configuration.ok_or(RequestFault::NoBody).map_err(Fault::from)?;
    if asked.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(Fault::MalformedXml.into());
    }
    let default_retention = match asked.rule {
        None => None,
        Some(rule) => Some(parsed(&rule.default_retention.ok_or(Fault::MalformedXml)?)?),
    };
    let (bucket, _) = store.bucket(&input.bucket).await?;
    if bucket.settings.versioning != Versioning::Enabled {
        let why = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";
        return Err(Fault::InvalidBucketState(why).into());
    }
    store.check_changeable()?;
    let (bucket, lock) = (bucket.bucket.id, Some(ObjectLock { default_retention }));
    store.propose(Change::SetBucket { bucket, versioning: None, lock, quota: QuotaChange::default() }).await?;
    Ok(PutObjectLockConfigurationOutput::default())
}

pub async fn get_retention(store: &Store, input: GetObjectRetentionInput) -> S3Result<GetObjectRetentionOutput> {
    let found = store.object(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    if found.bucket.settings.lock.is_none() {
        return Err(Fault::LockNotEnabled.into());
    }
    let retention = found.version.traits.retention.ok_or(Fault::NoObjectLock)?;
    Ok(GetObjectRetentionOutput {
        retention: Some(ObjectLockRetention {
            mode: Some(ObjectLockRetentionMode::from_static(mode_name(retention.mode))),
            retain_until_date: Some(timestamp(retention.until)),
        }),
    })
}

pub async fn put_retention(store: &Store, input: PutObjectRetentionInput) -> S3Result<PutObjectRetentionOutput> {
    let bypass_governance = store.caller().bypass_governance;
    let now = store.gateway().meta().time().now;
    let asked = input.retention.ok_or(Fault::MalformedXml)?;
    let retention = match (asked.mode, asked.retain_until_date) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = mode_named(mode.as_str()).ok_or(Fault::MalformedXml)?;
            Some(Retention { mode, until: future(&until, now)? })
        }
        _ => return Err(Fault::MalformedXml.into()),
    };
    let to = TraitsChange::Retention { retention, bypass_governance };
    set(store, &input.bucket, input.key, input.version_id.as_deref(), to).await?;
    Ok(PutObjectRetentionOutput::default())
}

pub async fn get_legal_hold(store: &Store, input: GetObjectLegalHoldInput) -> S3Result<GetObjectLegalHoldOutput> {
    let found = store.object(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    if found.bucket.settings.lock.is_none() {
        return Err(Fault::LockNotEnabled.into());
    }
    let held = found.version.traits.legal_hold.ok_or(Fault::NoObjectLock)?;
    let status = ObjectLockLegalHoldStatus::from_static(hold_name(held));
    let legal_hold = Some(ObjectLockLegalHold { status: Some(status) });
    Ok(GetObjectLegalHoldOutput { legal_hold })
}

pub async fn put_legal_hold(store: &Store, input: PutObjectLegalHoldInput) -> S3Result<PutObjectLegalHoldOutput> {
    let status = input.legal_hold.and_then(|hold| hold.status).ok_or(Fault::MalformedXml)?;
    let held = hold_named(status.as_str()).ok_or(Fault::MalformedXml)?;
    set(store, &input.bucket, input.key, input.version_id.as_deref(), TraitsChange::LegalHold(held)).await?;
    Ok(PutObjectLegalHoldOutput::default())
}

async fn set(store: &Store, bucket: &str, key: String, version: Option<&str>, to: TraitsChange) -> S3Result<()> {
    let pick = pick(version)?;
    store.check_changeable()?;
    let (bucket, view) = store.bucket(bucket).await?;
    let manifest = Some(manifest_of(&view, &bucket, &key, pick)?);
    let change = ChangeTraits { bucket: bucket.bucket.id, key, pick, manifest, to, event: None };
    match store.propose(Change::ChangeTraits(Box::new(change))).await? {
        Reply::ObjectPut { .. } => Ok(()),
        reply => Err(unexpected(&reply)),
    }
}

#[cfg(test)]
mod tests {
    use super::{parsed, rule_of};
    use crate::actors::meta::{DefaultRetention, RetentionMode, RetentionPeriod};
    use crate::api::errors::Fault;
    use s3s::dto::{self, ObjectLockRetentionMode};

    fn rule(mode: &'static str, days: Option<i32>, years: Option<i32>) -> dto::DefaultRetention {
        dto::DefaultRetention { days, mode: Some(ObjectLockRetentionMode::from_static(mode)), years }
    }

    #[test]
    fn default_retention_is_in_days_or_in_years() {
        let days = rule("GOVERNANCE", Some(2), None);
        let default = DefaultRetention { mode: RetentionMode::Governance, period: RetentionPeriod::Days(2) };
        assert_eq!(parsed(&days), Ok(default));
        assert_eq!(rule_of(default).default_retention, Some(days));
        let years = rule("COMPLIANCE", None, Some(100));
        let default = DefaultRetention { mode: RetentionMode::Compliance, period: RetentionPeriod::Years(100) };
        assert_eq!(parsed(&years), Ok(default));
        assert_eq!(rule_of(default).default_retention, Some(years));
        for (days, years) in [(None, None), (Some(1), Some(1))] {
            assert_eq!(parsed(&rule("COMPLIANCE", days, years)), Err(Fault::MalformedXml));
        }
        for (days, years) in [(Some(0), None), (None, Some(-1)), (Some(36_501), None), (None, Some(101))] {
            assert!(matches!(parsed(&rule("COMPLIANCE", days, years)), Err(Fault::InvalidArgument(_))));
        }
        assert_eq!(parsed(&rule("governance", Some(1), None)), Err(Fault::MalformedXml));
    }
}
