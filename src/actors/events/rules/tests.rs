//! Tests of notification rules against the examples of S3's user guide.

use super::{KeyFilter, Match, NotificationRule, NotificationRules, RULES_MAX, RulesFault};
use crate::actors::events::names::{EventName, EventPattern};
use crate::actors::events::target::{TargetArn, TargetKind};

fn rule(id: &str, events: &[&str], prefix: &str, suffix: &str) -> NotificationRule {
    let mut filters = Vec::new();
    if !prefix.is_empty() {
        filters.push(KeyFilter::Prefix(prefix.to_owned()));
    }
    if !suffix.is_empty() {
        filters.push(KeyFilter::Suffix(suffix.to_owned()));
    }
    let arn = format!("arn:aws:sqs:us-west-2:444455556666:{id}");
    NotificationRule {
        id: id.to_owned(),
        kind: TargetKind::Queue,
        target: TargetArn::parse(TargetKind::Queue, &arn).expect("an ARN"),
        events: events.iter().map(|event| EventPattern::parse(event).expect("an event")).collect(),
        filters,
    }
}

fn rules(rules: Vec<NotificationRule>) -> NotificationRules {
    NotificationRules { rules, event_bridge: false }
}

fn judge(one: (&str, &str, &str), two: (&str, &str, &str)) -> Result<(), RulesFault> {
    let make = |id, (event, prefix, suffix)| rule(id, &[event], prefix, suffix);
    rules(vec![make("one", one), make("two", two)]).validate()
}

const PUT: &str = "s3:ObjectCreated:Put";
const CREATED: &str = "s3:ObjectCreated:*";

#[test]
fn notification_rules_match_by_event_type_prefix_and_suffix() {
    let rules = rules(vec![
        rule("images", &[PUT], "images/", "jpg"),
        rule("other", &["s3:ObjectRemoved:*", "s3:ObjectTagging:*"], "", ""),
    ]);
    let matching = |event, key: &str| {
        let matches = rules.matching(event, key);
        matches.into_iter().filter_map(|found| found.configuration).collect::<Vec<_>>()
    };
    assert_eq!(matching(EventName::ObjectCreatedPut, "images/a.jpg"), ["images"]);
    assert!(matching(EventName::ObjectCreatedPut, "images/a.JPG").is_empty());
    assert!(matching(EventName::ObjectCreatedPut, "logs/a.jpg").is_empty());
    assert!(matching(EventName::ObjectCreatedCopy, "images/a.jpg").is_empty());
    assert_eq!(matching(EventName::ObjectRemovedDeleteMarkerCreated, "x"), ["other"]);
    assert_eq!(matching(EventName::ObjectTaggingDelete, "x"), ["other"]);
    assert!(matching(EventName::LifecycleExpirationDelete, "x").is_empty());
}

#[test]
fn event_bridge_gets_every_event_of_the_bucket() {
    let mut rules = rules(vec![rule("q", &[PUT], "a", "")]);
    rules.event_bridge = true;
    let bridge = Match { target: "EVENTBRIDGE".to_owned(), configuration: None };
    assert_eq!(rules.matching(EventName::ObjectAclPut, "z"), std::slice::from_ref(&bridge));
    let both = rules.matching(EventName::ObjectCreatedPut, "a");
    assert_eq!(both, [Match { target: "Q".to_owned(), configuration: Some("q".to_owned()) }, bridge]);
    assert_eq!(rules.webhooks().into_iter().collect::<Vec<_>>(), ["EVENTBRIDGE", "Q"]);
}

/// The valid examples of S3's user guide.
#[test]
fn notification_rules_that_no_event_matches_twice_are_accepted() {
    let allowed = [
        ((CREATED, "images/", "jpg"), (CREATED, "images/", "png")),
        ((CREATED, "images", ""), (CREATED, "logs", "")),
        ((CREATED, "", "jpg"), (CREATED, "", "png")),
        ((PUT, "images", ""), ("s3:ObjectRemoved:*", "images", "")),
        ((PUT, "", ""), ("s3:ObjectCreated:Copy", "", "")),
        (("s3:ObjectRemoved:*", "", ""), ("s3:LifecycleExpiration:*", "", "")),
    ];
    for (one, two) in allowed {
        assert_eq!(judge(one, two), Ok(()), "{one:?} {two:?}");
    }
}

/// The invalid examples of S3's user guide.
#[test]
fn notification_rules_that_an_event_could_match_twice_are_refused() {
    let ambiguous = [
        ((CREATED, "images", ""), (CREATED, "", "")),
        ((CREATED, "", "jpg"), (CREATED, "", "pg")),
        ((PUT, "images", "jpg"), (CREATED, "images", "")),
        ((CREATED, "images", ""), (CREATED, "images/vacation", "")),
        ((CREATED, "a", "jpg"), (CREATED, "a", "jpg")),
    ];
    let (first, second) = ("one".to_owned(), "two".to_owned());
    for (one, two) in ambiguous {
        assert_eq!(judge(one, two), Err(RulesFault::Ambiguous(first.clone(), second.clone())), "{one:?} {two:?}");
    }
    assert_eq!(judge((CREATED, "", ""), (PUT, "", "")), Err(RulesFault::SharedEvent(first, second)));
}

#[test]
fn duplicate_ids_and_too_many_notification_rules_are_refused() {
    let same = rules(vec![rule("a", &[PUT], "x", ""), rule("a", &[PUT], "y", "")]);
    assert_eq!(same.validate(), Err(RulesFault::SameId("a".to_owned())));
    let many =
        |count: usize| rules((0..count).map(|i| rule(&format!("r{i}"), &[PUT], &format!("{i:03}/"), "")).collect());
    assert_eq!(many(RULES_MAX).validate(), Ok(()));
    assert_eq!(many(RULES_MAX + 1).validate(), Err(RulesFault::TooMany { count: RULES_MAX + 1 }));
}

#[test]
fn repeated_events_of_a_stored_rule_are_read_once() {
    let (once, repeated) = (rule("q", &[CREATED, PUT], "", ""), rule("q", &[CREATED, PUT, CREATED, PUT], "", ""));
    let stored = serde_json::to_string(&rules(vec![repeated])).expect("JSON");
    assert_eq!(serde_json::from_str::<NotificationRules>(&stored).expect("rules"), rules(vec![once]));
}

#[test]
fn a_webhook_named_by_two_matching_rules_is_notified_once() {
    let mut twice = rule("b", &[PUT], "", "");
    twice.target = TargetArn::parse(TargetKind::Queue, "arn:sherd:sqs:::A:webhook").expect("an ARN");
    let rules = rules(vec![rule("a", &[PUT], "", ""), twice]);
    let ids: Vec<_> = rules.matching(EventName::ObjectCreatedPut, "k").into_iter().map(|m| m.configuration).collect();
    assert_eq!(ids, [Some("a".to_owned())]);
}

/// Tests the exact bytes of stored rules: every later version must be able to read them.
#[test]
fn the_encoding_of_notification_rules_is_stable() {
    let mut rules = rules(vec![rule("q", &[CREATED, PUT], "a", "z")]);
    rules.event_bridge = true;
    let stored = concat!(
        r#"{"rules":[{"id":"q","kind":"Queue","target":"arn:aws:sqs:us-west-2:444455556666:q","#,
        r#""events":["s3:ObjectCreated:*","s3:ObjectCreated:Put"],"filters":[{"Prefix":"a"},{"Suffix":"z"}]}],"#,
        r#""event_bridge":true}"#
    );
    assert_eq!(serde_json::to_string(&rules).expect("JSON"), stored);
    assert_eq!(serde_json::from_str::<NotificationRules>(stored).expect("rules"), rules);
}
