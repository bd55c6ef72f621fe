//! The condition keys whose values are in a request's body. The head is judged before the body has arrived. The actions
//! that depend on these keys are left out then, and decided when the body is complete, before the operation begins.

use super::super::tags::Tags;
use super::condition_values::{remaining_days, utc_text};
use crate::api::policy::Context;
use crate::types::UnixMs;
use s3s::dto::{CreateBucketConfiguration, InventoryConfiguration, ObjectLockLegalHold, ObjectLockRetention, Tagging};

/// Operations, and those of their actions that depend on the body.
const DECIDED: [(&str, &[&str]); 6] = [
    ("CreateBucket", &["s3:CreateBucket"]),
    ("PutBucketInventoryConfiguration", &["s3:PutInventoryConfiguration"]),
    ("PutBucketTagging", &["s3:PutBucketTagging"]),
    ("PutObjectLegalHold", &["s3:PutObjectLegalHold"]),
    ("PutObjectRetention", &["s3:PutObjectRetention"]),
    ("PutObjectTagging", &["s3:PutObjectTagging", "s3:PutObjectVersionTagging"]),
];

/// Returns whether the action is decided only once the body has arrived.
pub fn decides(operation: &str, action: &str) -> bool {
    DECIDED.iter().any(|(name, actions)| *name == operation && actions.contains(&action))
}

pub fn of_new_bucket(given: Option<&CreateBucketConfiguration>, tags: &Tags) -> Context {
    let constraint = given.and_then(|given| given.location_constraint.as_ref());
    let constraint = constraint.map(|constraint| constraint.as_str().to_owned());
    let mut context = Context::default();
    context.set("s3:LocationConstraint", constraint.filter(|constraint| !constraint.is_empty()));
    let tags = tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    context.replace(&of_tags(tags, "aws:RequestTag", "aws:TagKeys"));
    context
}

pub fn of_inventory(given: &InventoryConfiguration) -> Context {
    let mut context = Context::default();
    for field in given.optional_fields.iter().flatten() {
        context.add("s3:InventoryAccessibleOptionalFields", field.as_str());
    }
    context
}

pub fn of_bucket_tags(given: &Tagging) -> Context {
    of_tags(pairs(given), "aws:RequestTag", "aws:TagKeys")
}

pub fn of_object_tags(given: &Tagging) -> Context {
    of_tags(pairs(given), "s3:RequestObjectTag", "s3:RequestObjectTagKeys")
}

/// Returns the pairs of tags. A tag without a key is for the operation to refuse.
fn pairs(given: &Tagging) -> impl Iterator<Item = (&str, &str)> {
    given.tag_set.iter().filter_map(|tag| Some((tag.key.as_deref()?, tag.value.as_deref().unwrap_or_default())))
}

fn of_tags<'a>(tags: impl Iterator<Item = (&'a str, &'a str)>, of_each: &str, of_all: &str) -> Context {
    let mut context = Context::default();
    for (key, value) in tags {
        context.add(&format!("{of_each}/{key}"), value);
        context.add(of_all, key);
    }
    context
}

/// Returns the condition keys of a retention. A key without a value is unset, so that lock headers of the request have
/// no effect.
pub fn of_retention(given: Option<&ObjectLockRetention>, now: UnixMs) -> Context {
    let mode = given.and_then(|given| given.mode.as_ref());
    let until = given.and_then(|given| given.retain_until_date.as_ref());
    let text = until.and_then(utc_text);
    let mut context = Context::default();
    context.set("s3:object-lock-mode", mode.map(|mode| mode.as_str().to_owned()));
    context.set("s3:object-lock-retain-until-date", text);
    context.set("s3:object-lock-remaining-retention-days", until.map(|until| remaining_days(until, now)));
    context
}

pub fn of_legal_hold(given: Option<&ObjectLockLegalHold>) -> Context {
    let status = given.and_then(|given| given.status.as_ref());
    let mut context = Context::default();
    context.set("s3:object-lock-legal-hold", status.map(|status| status.as_str().to_owned()));
    context
}

#[cfg(test)]
mod tests {
    use super::{DECIDED, of_inventory, of_legal_hold, of_new_bucket, of_object_tags, of_retention};
    use crate::api::policy::{Asks, Context, needs};
    use crate::types::UnixMs;
    use s3s::dto::{
        BucketLocationConstraint, CreateBucketConfiguration, InventoryConfiguration, InventoryOptionalField,
        ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode, Tag, Tagging,
        Timestamp, TimestampFormat,
    };

    #[test]
    fn every_action_decided_by_the_body_is_needed_by_its_operation() {
        for (operation, actions) in DECIDED {
            let needed = |version| needs(operation, Asks { version, ..Asks::default() }).expect("an operation");
            let all = [needed(false), needed(true)].concat();
            assert!(actions.iter().all(|action| all.iter().any(|need| need.action == *action)), "{operation}");
        }
    }

    #[test]
    fn location_constraint_and_tags_of_a_new_bucket_are_condition_keys() {
        let given = |at: &'static str| CreateBucketConfiguration {
            location_constraint: Some(BucketLocationConstraint::from_static(at)),
            ..Default::default()
        };
        let place = |given: Option<CreateBucketConfiguration>| {
            of_new_bucket(given.as_ref(), &Vec::new()).single("s3:locationconstraint").map(str::to_owned)
        };
        assert_eq!(place(Some(given("eu-west-1"))).as_deref(), Some("eu-west-1"));
        assert_eq!((place(Some(given(""))), place(None)), (None, None));
        let tagged = of_new_bucket(None, &vec![("team".to_owned(), "blue".to_owned())]);
        assert_eq!(tagged.single("aws:requesttag/team"), Some("blue"));
        assert_eq!(tagged.single("aws:tagkeys"), Some("team"));
    }

    #[test]
    fn retention_keys_of_the_body_replace_those_of_the_headers() {
        let until = Timestamp::parse(TimestampFormat::DateTime, "1970-01-12T00:00:00Z").expect("a date");
        let mode = ObjectLockRetentionMode::from_static(ObjectLockRetentionMode::GOVERNANCE);
        let given = ObjectLockRetention { mode: Some(mode), retain_until_date: Some(until) };
        let mut context = Context::default();
        context.add("s3:object-lock-mode", "COMPLIANCE");
        context.replace(&of_retention(Some(&given), UnixMs(1000)));
        assert_eq!(context.single("s3:object-lock-mode"), Some("GOVERNANCE"));
        assert_eq!(context.single("s3:object-lock-remaining-retention-days"), Some("10"));
        let text = context.single("s3:object-lock-retain-until-date").expect("a date").to_owned();
        assert!(text.starts_with("1970-01-12T00:00:00"), "{text}");
        let elsewhere = Timestamp::parse(TimestampFormat::DateTime, "1970-01-12T05:30:00+05:30").expect("a date");
        let given = ObjectLockRetention { retain_until_date: Some(elsewhere), ..Default::default() };
        let there = of_retention(Some(&given), UnixMs(1000));
        assert_eq!(there.values("s3:object-lock-retain-until-date"), Some(&[text.to_owned()][..]), "the same moment");
        context.replace(&of_retention(None, UnixMs(1000)));
        assert_eq!(context.values("s3:object-lock-mode"), None);
    }

    #[test]
    fn legal_holds_tags_and_inventory_fields_are_condition_keys() {
        let status = ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::OFF);
        let held = of_legal_hold(Some(&ObjectLockLegalHold { status: Some(status) }));
        assert_eq!(held.single("s3:object-lock-legal-hold"), Some("OFF"));
        let tag = Tag { key: Some("a".to_owned()), value: Some("1".to_owned()) };
        let tags = of_object_tags(&Tagging { tag_set: vec![tag] });
        assert_eq!(tags.single("s3:requestobjecttag/a"), Some("1"));
        assert_eq!(tags.single("s3:requestobjecttagkeys"), Some("a"));
        let size = InventoryOptionalField::from_static(InventoryOptionalField::SIZE);
        let asked = InventoryConfiguration { optional_fields: Some(vec![size]), ..Default::default() };
        assert_eq!(of_inventory(&asked).single("s3:inventoryaccessibleoptionalfields"), Some("Size"));
    }
}
