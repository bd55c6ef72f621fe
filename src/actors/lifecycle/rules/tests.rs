//! Lifecycle rules as S3 documents them: which configurations are refused, with which messages, and when items expire.
//! The dates are those of the examples in S3's user guide.

use super::{
    Action, DAY, Expiration, Expiry, Filter, MarkerFacts, NoncurrentExpiration, NoncurrentFacts, ObjectFacts,
    Objection, Predicates, Rule, RuleError, Rules, Scope, Tag, TransitionMinimum, UploadFacts, current_object,
    delete_marker, noncurrent_version, object_expiry, upload, upload_expiry,
};
use crate::types::UnixMs;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

fn at(text: &str) -> UnixMs {
    UnixMs(u64::try_from(moment(text).unix_timestamp_nanos() / 1_000_000).expect("after the epoch"))
}

fn moment(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).expect("a date")
}

fn rule(id: &str, scope: Scope) -> Rule {
    Rule { id: id.to_owned(), enabled: true, scope, expiration: None, noncurrent: None, abort_uploads_after_days: None }
}

fn expiring(id: &str, scope: Scope, expiration: Expiration) -> Rule {
    Rule { expiration: Some(expiration), ..rule(id, scope) }
}

fn days(days: i32) -> Expiration {
    Expiration::new(Some(days), None, None).expect("days")
}

fn noncurrent(id: &str, days: i32, kept: Option<i32>) -> Rule {
    let expiration = NoncurrentExpiration::new(Some(days), kept).expect("days");
    Rule { noncurrent: Some(expiration), ..rule(id, everything()) }
}

fn everything() -> Scope {
    Scope::Filter(Filter::default())
}

fn prefix(prefix: &str) -> Scope {
    filter(Predicates { prefix: Some(prefix.to_owned()), ..Default::default() })
}

fn filter(own: Predicates) -> Scope {
    Scope::Filter(Filter { own, and: None })
}

fn and(and: Predicates) -> Scope {
    Scope::Filter(Filter { own: Predicates::default(), and: Some(and) })
}

fn tags(tags: &[(&str, &str)]) -> Predicates {
    let tags = tags.iter().map(|(key, value)| Tag { key: (*key).to_owned(), value: (*value).to_owned() }).collect();
    Predicates { tags, ..Default::default() }
}

fn sizes(larger_than_bytes: Option<u64>, smaller_than_bytes: Option<u64>) -> Predicates {
    Predicates { larger_than_bytes, smaller_than_bytes, ..Default::default() }
}

fn checked(rules: Vec<Rule>) -> Result<Rules, RuleError> {
    let mut fresh = 0;
    Rules::new(rules, TransitionMinimum::default(), || {
        fresh += 1;
        format!("fresh-{fresh}")
    })
}

fn rules(rules: Vec<Rule>) -> Rules {
    checked(rules).expect("rules that S3 takes")
}

fn object(key: &str) -> ObjectFacts<'_> {
    ObjectFacts { key, size_bytes: 1000, tags: &[], modified: at("2014-01-15T10:30:00Z") }
}

fn expiry_of<'r>(rules: &'r Rules, facts: &ObjectFacts<'_>) -> Option<&'r str> {
    object_expiry(rules, facts, DAY).map(|expiry| expiry.rule_id)
}

const EXPIRE: fn(&str) -> Action<'_> = |rule_id| Action::Expire { rule_id };

mod validation {
    use super::{
        Expiration, Filter, NoncurrentExpiration, Objection, Predicates, Rule, RuleError, Scope, TransitionMinimum,
        and, checked, days, everything, expiring, filter, moment, noncurrent, prefix, rule, sizes, tags,
    };

    fn refused(rule: Rule) -> (Objection, String) {
        let error = checked(vec![rule]).expect_err("S3 does not take it");
        (error.objection(), error.to_string())
    }

    #[test]
    fn rule_ids_are_unique_and_short_and_generated_if_missing() {
        let named = |id: &str| expiring(id, everything(), days(1));
        assert!(checked(vec![named(&"é".repeat(255))]).is_ok(), "characters are counted, not bytes");
        assert_eq!(
            refused(named(&"a".repeat(256))),
            (Objection::Argument, "ID length should not exceed allowed limit of 255".to_owned())
        );
        let twice = checked(vec![named("a"), named("b"), named("a")]).expect_err("an id is there twice");
        assert_eq!(twice.objection(), Objection::Argument);
        assert_eq!(twice.to_string(), "Rule ID must be unique. Found same ID for more than one rule");
        let filled = checked(vec![named(""), named("b"), named("")]).expect("ids are made");
        let ids: Vec<&str> = filled.rules.iter().map(|rule| rule.id.as_str()).collect();
        assert_eq!(ids, ["fresh-1", "b", "fresh-2"]);
    }

    #[test]
    fn a_configuration_must_have_one_to_a_thousand_rules() {
        let many = |count: usize| checked((0..count).map(|_| expiring("", everything(), days(1))).collect());
        assert_eq!(many(0).map_err(|error| error.objection()), Err(Objection::Schema));
        assert!(many(1000).is_ok());
        let error = many(1001).expect_err("too many");
        assert_eq!(error.objection(), Objection::Request);
        assert_eq!(error.to_string(), "The number of lifecycle rules must not exceed the allowed limit of 1000 rules.");
    }

    #[test]
    fn a_status_other_than_enabled_or_disabled_is_malformed() {
        assert_eq!(Rule::enabled("Enabled"), Ok(true));
        assert_eq!(Rule::enabled("Disabled"), Ok(false));
        for status in ["enabled", "disabled", "invalid", ""] {
            assert_eq!(Rule::enabled(status).map_err(|error| error.objection()), Err(Objection::Schema), "{status}");
        }
    }

    #[test]
    fn days_and_version_counts_that_are_not_positive_are_refused() {
        for days in [0, -1, i32::MIN] {
            let cases = [
                (Expiration::new(Some(days), None, None).err(), "'Days' for Expiration action"),
                (
                    NoncurrentExpiration::new(Some(days), None).err(),
                    "'NoncurrentDays' for NoncurrentVersionExpiration action",
                ),
                (
                    NoncurrentExpiration::new(Some(1), Some(days)).err(),
                    "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action",
                ),
                (Rule::abort_days(Some(days)).err(), "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action"),
            ];
            for (error, what) in cases {
                let error = error.expect("it is refused");
                assert_eq!(error.objection(), Objection::Argument);
                assert_eq!(error.to_string(), format!("{what} must be a positive integer"));
            }
        }
    }

    #[test]
    fn a_date_that_is_not_midnight_utc_is_refused() {
        let date = |text: &str| Expiration::new(None, Some(moment(text)), None);
        assert_eq!(date("2017-09-27T00:00:00Z"), Ok(Expiration::Date(1_506_470_400)));
        assert_eq!(date("2017-09-27T02:00:00+02:00"), Ok(Expiration::Date(1_506_470_400)));
        assert_eq!(date("1969-12-31T00:00:00Z"), Ok(Expiration::Date(-86_400)));
        for text in ["2017-09-27T00:00:01Z", "2017-09-27T00:00:00.001Z", "2017-09-27T00:00:00+02:00"] {
            let error = date(text).expect_err(text);
            assert_eq!((error.objection(), error.to_string().as_str()), (Objection::Argument, DATE), "{text}");
        }
    }

    const DATE: &str = "'Date' must be at midnight GMT";

    #[test]
    fn an_expiration_must_have_exactly_one_element() {
        let day = Some(moment("2017-09-27T00:00:00Z"));
        for (days, date, markers) in [
            (None, None, None),
            (Some(1), day, None),
            (Some(1), None, Some(true)),
            (Some(1), None, Some(false)),
            (None, day, Some(true)),
            (Some(1), day, Some(true)),
        ] {
            let refused = Expiration::new(days, date, markers).map_err(|error| error.objection());
            assert_eq!(refused, Err(Objection::Schema), "{days:?} {date:?} {markers:?}");
        }
        assert_eq!(Expiration::new(None, None, Some(true)), Ok(Expiration::DeleteMarkers(true)));
    }

    #[test]
    fn an_action_without_its_days_is_malformed() {
        for error in [
            NoncurrentExpiration::new(None, None).err(),
            NoncurrentExpiration::new(None, Some(3)).err(),
            Rule::abort_days(None).err(),
        ] {
            assert_eq!(error.map(|error| error.objection()), Some(Objection::Schema));
        }
    }

    #[test]
    fn a_rule_without_an_action_is_refused() {
        let (objection, text) = refused(rule("idle", everything()));
        assert_eq!(
            (objection, text.as_str()),
            (Objection::Request, "At least one action needs to be specified in a rule")
        );
    }

    #[test]
    fn a_rule_must_have_exactly_one_of_prefix_and_filter() {
        let scope = |prefix: Option<&str>, filter: Option<Filter>| {
            Scope::new(prefix.map(str::to_owned), filter).map_err(|error| error.objection())
        };
        assert_eq!(scope(Some("a"), None), Ok(Scope::Prefix("a".to_owned())));
        assert_eq!(scope(None, Some(Filter::default())), Ok(everything()));
        assert_eq!(scope(None, None), Err(Objection::Schema));
        assert_eq!(scope(Some(""), Some(Filter::default())), Err(Objection::Schema));
    }

    #[test]
    fn rules_with_prefix_and_rules_with_filter_must_not_be_mixed() {
        let older = || expiring("", Scope::Prefix("a/".to_owned()), days(1));
        let newer = || expiring("", prefix("b/"), days(1));
        assert!(checked(vec![older(), older()]).is_ok());
        assert_eq!(checked(vec![older(), newer()]), Err(RuleError::FilterAfterPrefix));
        assert_eq!(checked(vec![newer(), older()]), Err(RuleError::PrefixAfterFilter));
        assert_eq!(RuleError::PrefixAfterFilter.objection(), Objection::Request);
        let keeps = Rule { scope: Scope::Prefix(String::new()), ..noncurrent("", 1, Some(5)) };
        assert_eq!(checked(vec![keeps]), Err(RuleError::NewerVersionsWithPrefix));
        assert!(checked(vec![noncurrent("", 1, Some(5))]).is_ok());
    }

    #[test]
    fn upload_and_delete_marker_rules_must_not_filter_by_tag_or_size() {
        let scopes = [
            (filter(tags(&[("k", "v")])), "Tags."),
            (and(tags(&[("k", "v"), ("l", "w")])), "Tags."),
            (filter(sizes(Some(1000), None)), "Object Size."),
            (and(sizes(Some(1), Some(2000))), "Object Size."),
        ];
        for (scope, what) in scopes {
            let aborting = Rule { abort_uploads_after_days: Some(7), ..expiring("", scope.clone(), days(14)) };
            let text = format!("AbortIncompleteMultipartUpload cannot be specified with {what}");
            assert_eq!(refused(aborting), (Objection::Request, text));
            for remove in [true, false] {
                let text = format!("ExpiredObjectDeleteMarker cannot be specified with {what}");
                let clearing = expiring("", scope.clone(), Expiration::DeleteMarkers(remove));
                assert_eq!(refused(clearing), (Objection::Request, text));
            }
        }
        let aborting = Rule { abort_uploads_after_days: Some(7), ..rule("", prefix("a/")) };
        assert!(checked(vec![aborting]).is_ok());
    }

    #[test]
    fn an_and_with_fewer_than_two_predicates_is_malformed() {
        let alone = Predicates { prefix: Some("a".to_owned()), ..Default::default() };
        for part in [Predicates::default(), alone, tags(&[("k", "v")]), sizes(Some(1), None)] {
            let (objection, _) = refused(expiring("", and(part), days(1)));
            assert_eq!(objection, Objection::Schema);
        }
        let pair = Predicates { prefix: Some(String::new()), ..tags(&[("k", "v")]) };
        assert!(checked(vec![expiring("", and(pair), days(1))]).is_ok());
        assert!(checked(vec![expiring("", and(sizes(Some(1), Some(2))), days(1))]).is_ok());
    }

    #[test]
    fn filter_tags_with_an_empty_or_duplicate_key_are_refused() {
        let (objection, text) = refused(expiring("", and(tags(&[("k", "v"), ("k", "w")])), days(1)));
        assert_eq!((objection, text.as_str()), (Objection::Request, "Duplicate Tag Keys are not allowed."));
        assert_eq!(refused(expiring("", filter(tags(&[("", "v")])), days(1))).0, Objection::Schema);
    }

    #[test]
    fn filter_sizes_out_of_order_or_out_of_range_are_refused() {
        assert_eq!(Predicates::larger_than(0), Ok(0));
        assert_eq!(Predicates::smaller_than(1), Ok(1));
        for error in [Predicates::larger_than(-1).err(), Predicates::larger_than(i64::MAX).err()] {
            let text = "'ObjectSizeGreaterThan' should be between 0 and 1099511627776000.";
            assert_eq!(error.expect("out of range").to_string(), text);
        }
        let error = Predicates::smaller_than(0).expect_err("nothing is smaller than nothing");
        assert_eq!(error.objection(), Objection::Request);
        assert_eq!(error.to_string(), "'ObjectSizeLessThan' should be between 1 and 1099511627776000.");
        for (larger, smaller) in [(10, 10), (11, 10)] {
            let (objection, text) = refused(expiring("", and(sizes(Some(larger), Some(smaller))), days(1)));
            assert_eq!(objection, Objection::Request);
            assert_eq!(text, "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.");
        }
    }

    #[test]
    fn an_unknown_transition_minimum_is_refused() {
        for minimum in [TransitionMinimum::AllStorageClasses128K, TransitionMinimum::VariesByStorageClass] {
            assert_eq!(TransitionMinimum::parse(minimum.text()), Ok(minimum));
        }
        let error = TransitionMinimum::parse("value").expect_err("no such word");
        assert_eq!(error.objection(), Objection::Request);
        assert_eq!(error.to_string(), "Invalid TransitionDefaultMinimumObjectSize found: value");
        assert_eq!(RuleError::StorageClass.objection(), Objection::StorageClass);
    }
}

#[test]
fn expiry_is_rounded_up_to_the_next_midnight_utc() {
    let rules = rules(vec![expiring("three days", everything(), days(3))]);
    let expiry = object_expiry(&rules, &object("k"), DAY).expect("it expires");
    assert_eq!(expiry, Expiry { at: at("2014-01-19T00:00:00Z"), rule_id: "three days" });
    assert_eq!(current_object(&rules, &object("k"), at("2014-01-18T23:59:59.999Z"), DAY), Action::Keep);
    assert_eq!(current_object(&rules, &object("k"), at("2014-01-19T00:00:00Z"), DAY), EXPIRE("three days"));
}

#[test]
fn an_object_one_day_old_after_midnight_expires_at_the_next_midnight() {
    let rules = rules(vec![expiring("r", everything(), days(1))]);
    let facts = ObjectFacts { modified: at("2026-01-02T00:05:00Z"), ..object("k") };
    assert_eq!(object_expiry(&rules, &facts, DAY).map(|expiry| expiry.at), Some(at("2026-01-04T00:00:00Z")));
    let exact = ObjectFacts { modified: at("2026-01-02T00:00:00Z"), ..object("k") };
    assert_eq!(object_expiry(&rules, &exact, DAY).map(|expiry| expiry.at), Some(at("2026-01-03T00:00:00Z")));
}

#[test]
fn expiry_times_are_not_rounded_with_a_shortened_day() {
    let rules = rules(vec![expiring("r", everything(), days(3))]);
    let day = Duration::from_secs(10);
    let expiry = object_expiry(&rules, &object("k"), day).expect("it expires");
    assert_eq!(expiry.at, at("2014-01-15T10:30:30Z"));
    assert_eq!(current_object(&rules, &object("k"), at("2014-01-15T10:30:29.999Z"), day), Action::Keep);
    assert_eq!(current_object(&rules, &object("k"), at("2014-01-15T10:30:30Z"), day), EXPIRE("r"));
}

#[test]
fn an_expiry_time_that_overflows_saturates() {
    let rules = rules(vec![expiring("r", everything(), days(i32::MAX))]);
    let facts = ObjectFacts { modified: UnixMs(u64::MAX - 1), ..object("k") };
    assert_eq!(object_expiry(&rules, &facts, DAY).map(|expiry| expiry.at), Some(UnixMs(u64::MAX)));
    assert_eq!(object_expiry(&rules, &facts, Duration::MAX).map(|expiry| expiry.at), Some(UnixMs(u64::MAX)));
}

#[test]
fn a_rule_with_a_past_date_still_expires_new_objects() {
    let date = |text| Expiration::new(None, Some(moment(text)), None).expect("a date");
    let past = rules(vec![expiring("past", prefix("past/"), date("2015-01-01T00:00:00Z"))]);
    let later = ObjectFacts { modified: at("2020-06-01T12:00:00Z"), ..object("past/foo") };
    assert_eq!(current_object(&past, &later, at("2020-06-01T12:00:01Z"), DAY), EXPIRE("past"));
    assert_eq!(current_object(&past, &object("future/bar"), at("2020-06-01T12:00:01Z"), DAY), Action::Keep);
    let ancient = rules(vec![expiring("ancient", everything(), date("1960-01-01T00:00:00Z"))]);
    assert_eq!(current_object(&ancient, &object("k"), UnixMs(0), DAY), EXPIRE("ancient"));
}

#[test]
fn a_prefix_filter_matches_from_the_start_of_the_key() {
    for scope in [prefix("logs/"), Scope::Prefix("logs/".to_owned())] {
        let rules = rules(vec![expiring("r", scope, days(1))]);
        for key in ["logs/mylog.txt", "logs/temp1.txt", "logs/"] {
            assert!(expiry_of(&rules, &object(key)).is_some(), "{key}");
        }
        for key in ["example.jpg", "log", "a/logs/x", "Logs/x"] {
            assert!(expiry_of(&rules, &object(key)).is_none(), "{key}");
        }
    }
}

#[test]
fn an_empty_filter_or_prefix_matches_every_key() {
    for scope in [everything(), prefix(""), Scope::Prefix(String::new())] {
        assert!(expiry_of(&rules(vec![expiring("r", scope, days(1))]), &object("any/key")).is_some());
    }
}

#[test]
fn a_tag_filter_matches_objects_that_have_all_its_tags() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let two = rules(vec![expiring("r", and(tags(&[("tag1", "value1"), ("tag2", "value2")])), days(1))]);
    let exact = [pair("tag1", "value1"), pair("tag2", "value2")];
    let more = [pair("tag3", "x"), pair("tag2", "value2"), pair("tag1", "value1")];
    let other = [pair("tag1", "value1"), pair("tag2", "value3")];
    let empty = [pair("tag1", "")];
    let of = |tags| ObjectFacts { tags, ..object("k") };
    assert!(expiry_of(&two, &of(&exact)).is_some());
    assert!(expiry_of(&two, &of(&more)).is_some());
    assert!(expiry_of(&two, &of(&other)).is_none());
    assert!(expiry_of(&two, &of(&exact[..1])).is_none());
    let valueless = rules(vec![expiring("r", filter(tags(&[("tag1", "")])), days(1))]);
    assert!(expiry_of(&valueless, &of(&empty)).is_some());
    assert!(expiry_of(&valueless, &of(&exact)).is_none());
}

#[test]
fn size_bounds_of_a_filter_are_exclusive() {
    let rules = rules(vec![expiring("r", and(sizes(Some(131_072), Some(1_048_576))), days(1))]);
    let of = |size_bytes| expiry_of(&rules, &ObjectFacts { size_bytes, ..object("k") }).is_some();
    let sizes = [131_072, 131_073, 1_048_575, 1_048_576];
    assert_eq!(sizes.map(of), [false, true, true, false]);
}

#[test]
fn predicates_outside_an_and_must_all_match() {
    let own = Predicates { prefix: Some("days1/".to_owned()), ..tags(&[("tom", "sawyer")]) };
    let inner = Predicates { prefix: Some("days1".to_owned()), ..tags(&[("huck", "finn")]) };
    let rules = rules(vec![expiring("r", Scope::Filter(Filter { own, and: Some(inner) }), days(1))]);
    let tom = [("tom".to_owned(), "sawyer".to_owned())];
    let both = [tom[0].clone(), ("huck".to_owned(), "finn".to_owned())];
    assert!(expiry_of(&rules, &ObjectFacts { tags: &both, ..object("days1/huck") }).is_some());
    assert!(expiry_of(&rules, &ObjectFacts { tags: &tom, ..object("days1/tom") }).is_none());
    assert!(expiry_of(&rules, &ObjectFacts { tags: &both, ..object("days10") }).is_none());
}

#[test]
fn disabled_rules_are_ignored() {
    let off = Rule { enabled: false, ..expiring("off", everything(), days(1)) };
    let on = expiring("on", everything(), days(5));
    assert_eq!(expiry_of(&rules(vec![off, on]), &object("k")), Some("on"));
}

#[test]
fn of_several_matching_rules_the_earliest_expiry_wins() {
    let overlapping = rules(vec![
        expiring("all", everything(), days(365)),
        expiring("logs", prefix("logs/"), days(10)),
        expiring("logs again", prefix("logs/a"), days(10)),
    ]);
    assert_eq!(expiry_of(&overlapping, &object("logs/a")), Some("logs"));
    assert_eq!(expiry_of(&overlapping, &object("data/a")), Some("all"));
}

#[test]
fn noncurrent_days_count_from_the_creation_of_the_next_version() {
    let rules = rules(vec![noncurrent("five days", 5, None)]);
    let photo = NoncurrentFacts {
        key: "photo.gif",
        size_bytes: 10,
        tags: &[],
        noncurrent_since: at("2014-01-02T11:30:00Z"),
        newer_noncurrent: 0,
    };
    assert_eq!(noncurrent_version(&rules, &photo, at("2014-01-07T23:59:59Z"), DAY), Action::Keep);
    assert_eq!(noncurrent_version(&rules, &photo, at("2014-01-08T00:00:00Z"), DAY), EXPIRE("five days"));
    assert_eq!(current_object(&rules, &object("photo.gif"), at("2024-01-08T00:00:00Z"), DAY), Action::Keep);
}

#[test]
fn the_newest_noncurrent_versions_stay_up_to_the_rules_number() {
    let rules = rules(vec![noncurrent("r", 1, Some(5))]);
    let since = at("2014-01-02T11:30:00Z");
    let of = |newer_noncurrent, now| {
        let facts = NoncurrentFacts { key: "k", size_bytes: 1, tags: &[], noncurrent_since: since, newer_noncurrent };
        noncurrent_version(&rules, &facts, at(now), DAY) != Action::Keep
    };
    // Of ten versions, one is current and nine are not: the newest five of those stay.
    let gone = (0..9).filter(|newer| of(*newer, "2015-01-01T00:00:00Z")).count();
    assert_eq!(gone, 4);
    assert!(!of(5, "2014-01-03T12:00:00Z"), "its days are not over");
}

#[test]
fn a_noncurrent_delete_marker_is_filtered_as_zero_bytes_without_tags() {
    let rule_for = |scope| Rule { scope, ..noncurrent("r", 1, None) };
    let marker = NoncurrentFacts {
        key: "k",
        size_bytes: 0,
        tags: &[],
        noncurrent_since: at("2014-01-02T11:30:00Z"),
        newer_noncurrent: 0,
    };
    let late = at("2015-01-01T00:00:00Z");
    let of = |scope| noncurrent_version(&rules(vec![rule_for(scope)]), &marker, late, DAY) != Action::Keep;
    assert!(of(everything()));
    assert!(of(filter(sizes(None, Some(1)))));
    assert!(!of(filter(sizes(Some(0), None))));
    assert!(!of(filter(tags(&[("k", "v")]))));
}

#[test]
fn a_delete_marker_expires_once_it_is_the_only_version() {
    let clearing = rules(vec![expiring("clear", prefix("a/"), Expiration::DeleteMarkers(true))]);
    let marker = |key, sole| MarkerFacts { key, modified: at("2014-01-02T11:30:00Z"), sole };
    let now = at("2014-01-02T11:30:01Z");
    assert_eq!(delete_marker(&clearing, &marker("a/k", true), now, DAY), EXPIRE("clear"));
    assert_eq!(delete_marker(&clearing, &marker("a/k", false), now, DAY), Action::Keep);
    assert_eq!(delete_marker(&clearing, &marker("b/k", true), now, DAY), Action::Keep);
    assert_eq!(object_expiry(&clearing, &object("a/k"), DAY), None, "the rule expires no objects");
    let sparing = rules(vec![expiring("spare", everything(), Expiration::DeleteMarkers(false))]);
    assert_eq!(delete_marker(&sparing, &marker("a/k", true), now, DAY), Action::Keep);
}

#[test]
fn a_rule_that_expires_objects_also_expires_sole_delete_markers() {
    let expiring_all = rules(vec![expiring("r", everything(), days(1))]);
    let marker = |sole| MarkerFacts { key: "k", modified: at("2014-01-02T11:30:00Z"), sole };
    assert_eq!(delete_marker(&expiring_all, &marker(true), at("2014-01-03T23:59:59Z"), DAY), Action::Keep);
    assert_eq!(delete_marker(&expiring_all, &marker(true), at("2014-01-04T00:00:00Z"), DAY), EXPIRE("r"));
    assert_eq!(delete_marker(&expiring_all, &marker(false), at("2024-01-04T00:00:00Z"), DAY), Action::Keep);
    let tagged = rules(vec![expiring("r", filter(tags(&[("k", "v")])), days(1))]);
    assert_eq!(delete_marker(&tagged, &marker(true), at("2024-01-04T00:00:00Z"), DAY), Action::Keep);
}

#[test]
fn an_upload_expires_days_after_its_initiation() {
    let aborting = Rule { abort_uploads_after_days: Some(7), ..rule("abort", prefix("SomeKeyPrefix/")) };
    let rules = rules(vec![aborting, expiring("objects", everything(), days(1))]);
    let of = |key| UploadFacts { key, initiated: at("2014-01-15T10:30:00Z") };
    let expiry = upload_expiry(&rules, &of("SomeKeyPrefix/a"), DAY).expect("it is aborted");
    assert_eq!(expiry, Expiry { at: at("2014-01-23T00:00:00Z"), rule_id: "abort" });
    assert_eq!(upload(&rules, &of("SomeKeyPrefix/a"), at("2014-01-22T23:59:59Z"), DAY), Action::Keep);
    assert_eq!(upload(&rules, &of("SomeKeyPrefix/a"), at("2014-01-23T00:00:00Z"), DAY), EXPIRE("abort"));
    assert_eq!(upload(&rules, &of("other/a"), at("2024-01-23T00:00:00Z"), DAY), Action::Keep);
}

#[test]
fn stored_rules_round_trip_and_an_unknown_field_is_refused() {
    let written = rules(vec![
        Rule { enabled: false, abort_uploads_after_days: Some(3), ..expiring("a", prefix("x/"), days(2)) },
        expiring("b", and(Predicates { larger_than_bytes: Some(1), ..tags(&[("k", "v")]) }), Expiration::Date(86_400)),
        noncurrent("c", 4, Some(2)),
    ]);
    let text = serde_json::to_string(&written).expect("JSON");
    assert_eq!(serde_json::from_str::<Rules>(&text).expect("it reads back"), written);
    let unknown = text.replacen("\"prefix\":\"x/\"", "\"prefix\":\"x/\",\"owner\":\"me\"", 1);
    assert_ne!(unknown, text);
    assert!(serde_json::from_str::<Rules>(&unknown).is_err(), "an unknown predicate must not be ignored");
}

#[test]
fn a_rule_error_maps_to_one_kind_of_s3_error() {
    assert_eq!(RuleError::Malformed("x").objection(), Objection::Schema);
    assert_eq!(RuleError::TagTwice.objection(), Objection::Request);
}

#[test]
fn the_key_prefix_is_common_to_all_enabled_rules() {
    let rules_of = |all: Vec<Rule>| Rules { rules: all, transition_minimum: TransitionMinimum::default() };
    let about = |scopes: Vec<Scope>| {
        let rules = scopes.into_iter().zip(["1", "2", "3"]).map(|(scope, id)| expiring(id, scope, days(1)));
        rules_of(rules.collect()).key_prefix().to_owned()
    };
    assert_eq!(about(vec![prefix("logs/a"), prefix("logs/b")]), "logs/");
    assert_eq!(about(vec![prefix("logs/é"), prefix("logs/è")]), "logs/");
    assert_eq!(about(vec![prefix("logs/"), everything()]), "");
    let inner = Predicates { prefix: Some("logs/x".to_owned()), ..Predicates::default() };
    assert_eq!(about(vec![and(inner), Scope::Prefix("logs/xy".to_owned())]), "logs/x");
    let disabled = Rule { enabled: false, ..noncurrent("r", 1, None) };
    assert_eq!(rules_of(vec![disabled.clone(), expiring("e", prefix("a"), days(1))]).key_prefix(), "a");
    assert!(!rules_of(vec![disabled]).concern_versions() && !rules_of(vec![]).concern_uploads());
    let aborting = Rule { abort_uploads_after_days: Some(1), ..rule("u", everything()) };
    assert!(rules_of(vec![aborting.clone()]).concern_uploads() && !rules_of(vec![aborting]).concern_versions());
}
