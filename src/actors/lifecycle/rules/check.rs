//! Validation of a lifecycle configuration, with S3's error messages. The constructors check the parts, and
//! `Rules::new` the whole.

use super::{Expiration, Filter, NoncurrentExpiration, Predicates, Rule, Rules, Scope, TransitionMinimum};
use std::collections::HashSet;
use time::OffsetDateTime;

/// S3's limit on the rules of a bucket.
const RULES_MAX: usize = 1000;
/// S3's limit on the characters of a rule's id.
const ID_CHARS_MAX: usize = 255;
/// S3's limit on the object sizes in a filter.
const FILTER_BYTES_MAX: i64 = 1_099_511_627_776_000;
const NANOS_OF_DAY: i128 = 86_400_000_000_000;

const ABORT: &str = "AbortIncompleteMultipartUpload";
const MARKERS: &str = "ExpiredObjectDeleteMarker";
const NONCURRENT: &str = "NoncurrentVersionExpiration";

/// The reason why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The configuration violates the schema.
    #[error("the configuration is malformed: {0}")]
    Malformed(&'static str),
    #[error("The number of lifecycle rules must not exceed the allowed limit of {RULES_MAX} rules.")]
    TooManyRules,
    #[error("ID length should not exceed allowed limit of {ID_CHARS_MAX}")]
    IdTooLong,
    #[error("Rule ID must be unique. Found same ID for more than one rule")]
    IdTwice,
    #[error("At least one action needs to be specified in a rule")]
    NoAction,
    #[error("'{element}' for {action} action must be a positive integer")]
    NotPositive { element: &'static str, action: &'static str },
    #[error("'Date' must be at midnight GMT")]
    DateNotMidnight,
    #[error("{0} cannot be specified with Tags.")]
    WithTags(&'static str),
    #[error("{0} cannot be specified with Object Size.")]
    WithSize(&'static str),
    #[error("Duplicate Tag Keys are not allowed.")]
    TagTwice,
    #[error("'{element}' should be between {min} and {FILTER_BYTES_MAX}.")]
    SizeOutOfRange { element: &'static str, min: i64 },
    #[error("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")]
    SizesCross,
    #[error("Filter element can only be used in Lifecycle V2.")]
    FilterAfterPrefix,
    #[error("Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.")]
    PrefixAfterFilter,
    #[error("NewerNoncurrentVersions element can only be used in Lifecycle V2.")]
    NewerVersionsWithPrefix,
    #[error("Invalid TransitionDefaultMinimumObjectSize found: {0}")]
    TransitionMinimum(String),
    /// The rule has a transition; this store has no other storage class.
    #[error("transitions are not supported: there is only one storage class")]
    StorageClass,
}

/// The kind of S3 error that a `RuleError` is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    Schema,
    Argument,
    Request,
    StorageClass,
}

impl RuleError {
    pub fn objection(&self) -> Objection {
        match self {
            Self::Malformed(_) => Objection::Schema,
            Self::IdTooLong | Self::IdTwice | Self::NotPositive { .. } | Self::DateNotMidnight => Objection::Argument,
            Self::StorageClass => Objection::StorageClass,
            Self::TooManyRules
            | Self::NoAction
            | Self::WithTags(_)
            | Self::WithSize(_)
            | Self::TagTwice
            | Self::SizeOutOfRange { .. }
            | Self::SizesCross
            | Self::FilterAfterPrefix
            | Self::PrefixAfterFilter
            | Self::NewerVersionsWithPrefix
            | Self::TransitionMinimum(_) => Objection::Request,
        }
    }
}

impl Rules {
    /// Checks the rules as a whole and gives an id to each rule without one.
    pub fn new(
        mut rules: Vec<Rule>,
        transition_minimum: TransitionMinimum,
        mut fresh_id: impl FnMut() -> String,
    ) -> Result<Self, RuleError> {
        if rules.is_empty() {
            return Err(RuleError::Malformed("there is no rule"));
        }
        if rules.len() > RULES_MAX {
            return Err(RuleError::TooManyRules);
        }
        rules.iter().try_for_each(check_rule)?;
        check_forms(&rules)?;
        for rule in rules.iter_mut().filter(|rule| rule.id.is_empty()) {
            rule.id = fresh_id();
        }
        let mut ids = HashSet::new();
        if rules.iter().any(|rule| !ids.insert(rule.id.as_str())) {
            return Err(RuleError::IdTwice);
        }
        Ok(Self { rules, transition_minimum })
    }
}

impl Rule {
    /// Parses a `Status` element, which is case-sensitive.
    pub fn enabled(status: &str) -> Result<bool, RuleError> {
        match status {
            "Enabled" => Ok(true),
            "Disabled" => Ok(false),
            _ => Err(RuleError::Malformed("a Status is neither Enabled nor Disabled")),
        }
    }

    /// Checks the days of an `AbortIncompleteMultipartUpload` element.
    pub fn abort_days(days: Option<i32>) -> Result<u32, RuleError> {
        let days = days.ok_or(RuleError::Malformed("an AbortIncompleteMultipartUpload has no DaysAfterInitiation"))?;
        positive(days, "DaysAfterInitiation", ABORT)
    }
}

impl Scope {
    /// Makes the scope of a rule, which must have exactly one of `Prefix` and `Filter`; either may be empty.
    pub fn new(prefix: Option<String>, filter: Option<Filter>) -> Result<Self, RuleError> {
        match (prefix, filter) {
            (Some(prefix), None) => Ok(Self::Prefix(prefix)),
            (None, Some(filter)) => Ok(Self::Filter(filter)),
            (Some(_), Some(_)) => Err(RuleError::Malformed("a rule has both a Prefix and a Filter")),
            (None, None) => Err(RuleError::Malformed("a rule has neither a Filter nor a Prefix")),
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Predicates> {
        let filter = match self {
            Self::Prefix(_) => None,
            Self::Filter(filter) => Some(filter),
        };
        filter.into_iter().flat_map(Filter::parts)
    }
}

impl Predicates {
    pub fn larger_than(bytes: i64) -> Result<u64, RuleError> {
        size(bytes, "ObjectSizeGreaterThan", 0)
    }

    pub fn smaller_than(bytes: i64) -> Result<u64, RuleError> {
        size(bytes, "ObjectSizeLessThan", 1)
    }

    fn check(&self) -> Result<(), RuleError> {
        if self.tags.iter().any(|tag| tag.key.is_empty()) {
            return Err(RuleError::Malformed("a Tag has no Key"));
        }
        let mut keys = HashSet::new();
        if self.tags.iter().any(|tag| !keys.insert(tag.key.as_str())) {
            return Err(RuleError::TagTwice);
        }
        match (self.larger_than_bytes, self.smaller_than_bytes) {
            (Some(larger), Some(smaller)) if larger >= smaller => Err(RuleError::SizesCross),
            _ => Ok(()),
        }
    }

    fn have_size(&self) -> bool {
        self.larger_than_bytes.is_some() || self.smaller_than_bytes.is_some()
    }
}

impl Expiration {
    /// Makes an expiration from exactly one of its three elements.
    pub fn new(
        days: Option<i32>,
        date: Option<OffsetDateTime>,
        delete_markers: Option<bool>,
    ) -> Result<Self, RuleError> {
        match (days, date, delete_markers) {
            (Some(days), None, None) => Ok(Self::Days(positive(days, "Days", "Expiration")?)),
            (None, Some(date), None) if date.unix_timestamp_nanos().rem_euclid(NANOS_OF_DAY) != 0 => {
                Err(RuleError::DateNotMidnight)
            }
            (None, Some(date), None) => Ok(Self::Date(date.unix_timestamp())),
            (None, None, Some(remove)) => Ok(Self::DeleteMarkers(remove)),
            (None, None, None) => {
                Err(RuleError::Malformed("an Expiration has none of Days, Date and ExpiredObjectDeleteMarker"))
            }
            _ => {
                Err(RuleError::Malformed("an Expiration has more than one of Days, Date and ExpiredObjectDeleteMarker"))
            }
        }
    }
}

impl NoncurrentExpiration {
    /// Makes a noncurrent expiration, which must have days: S3 has no default for them.
    pub fn new(days: Option<i32>, newer_versions_kept: Option<i32>) -> Result<Self, RuleError> {
        let days = days.ok_or(RuleError::Malformed("a NoncurrentVersionExpiration has no NoncurrentDays"))?;
        let kept = newer_versions_kept.map(|kept| positive(kept, "NewerNoncurrentVersions", NONCURRENT)).transpose()?;
        Ok(Self { days: positive(days, "NoncurrentDays", NONCURRENT)?, newer_versions_kept: kept })
    }
}

impl TransitionMinimum {
    /// Parses the value of the header `x-amz-transition-default-minimum-object-size`.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        match text {
            "all_storage_classes_128K" => Ok(Self::AllStorageClasses128K),
            "varies_by_storage_class" => Ok(Self::VariesByStorageClass),
            _ => Err(RuleError::TransitionMinimum(text.to_owned())),
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::AllStorageClasses128K => "all_storage_classes_128K",
            Self::VariesByStorageClass => "varies_by_storage_class",
        }
    }
}

fn positive(number: i32, element: &'static str, action: &'static str) -> Result<u32, RuleError> {
    match u32::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(RuleError::NotPositive { element, action }),
    }
}

fn size(bytes: i64, element: &'static str, min: i64) -> Result<u64, RuleError> {
    let allowed = (min..=FILTER_BYTES_MAX).contains(&bytes);
    u64::try_from(bytes).ok().filter(|_| allowed).ok_or(RuleError::SizeOutOfRange { element, min })
}

fn check_rule(rule: &Rule) -> Result<(), RuleError> {
    if rule.id.chars().count() > ID_CHARS_MAX {
        return Err(RuleError::IdTooLong);
    }
    if let Scope::Filter(filter) = &rule.scope {
        check_filter(filter)?;
    }
    let aborts = rule.abort_uploads_after_days.is_some();
    if rule.expiration.is_none() && rule.noncurrent.is_none() && !aborts {
        return Err(RuleError::NoAction);
    }
    // Neither uploads nor delete markers have tags or a size. S3 refuses an `ExpiredObjectDeleteMarker` with such a
    // filter even if its value is false.
    let markers = matches!(rule.expiration, Some(Expiration::DeleteMarkers(_)));
    for action in [(aborts, ABORT), (markers, MARKERS)].into_iter().filter_map(|(given, name)| given.then_some(name)) {
        if rule.scope.parts().any(|part| !part.tags.is_empty()) {
            return Err(RuleError::WithTags(action));
        }
        if rule.scope.parts().any(Predicates::have_size) {
            return Err(RuleError::WithSize(action));
        }
    }
    Ok(())
}

/// Checks a filter. Unlike S3, it accepts several predicates outside an `And`: their meaning is clear, and other
/// S3-compatible stores accept them.
fn check_filter(filter: &Filter) -> Result<(), RuleError> {
    if filter.and.as_ref().is_some_and(|and| and.count() < 2) {
        return Err(RuleError::Malformed("an And has fewer than two predicates"));
    }
    filter.parts().try_for_each(Predicates::check)
}

/// Checks that all rules have the same form: the older one with `Prefix`, or the newer one with `Filter`.
fn check_forms(rules: &[Rule]) -> Result<(), RuleError> {
    let is_older = |rule: &Rule| matches!(rule.scope, Scope::Prefix(_));
    let older = rules.first().is_some_and(is_older);
    if rules.iter().any(|rule| is_older(rule) != older) {
        return Err(if older { RuleError::FilterAfterPrefix } else { RuleError::PrefixAfterFilter });
    }
    let keeps = |rule: &Rule| rule.noncurrent.is_some_and(|noncurrent| noncurrent.newer_versions_kept.is_some());
    if older && rules.iter().any(keeps) {
        return Err(RuleError::NewerVersionsWithPrefix);
    }
    Ok(())
}
