//! Tests of the parser and of patterns with random and malformed input.

use crate::api::policy::context::Facts;
use crate::api::policy::pattern::{ArnPattern, Pattern, Variables};
use crate::api::policy::{Context, Policy, PolicyError, PolicyKind};
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::{collection, prop_assert, prop_assert_eq, proptest, sample};
use serde_json::{Map, Value};

const KINDS: [PolicyKind<'static>; 4] =
    [PolicyKind::Identity, PolicyKind::Session, PolicyKind::Bucket("photos"), PolicyKind::Trust];
/// Words of the policy language, so that random objects resemble policies.
const WORDS: [&str; 38] = [
    "Version",
    "Id",
    "Statement",
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
    "AWS",
    "Service",
    "Federated",
    "CanonicalUser",
    "Allow",
    "Deny",
    "*",
    "2012-10-17",
    "s3:GetObject",
    "s3:*",
    "sts:AssumeRole",
    "arn:aws:s3:::photos/*",
    "arn:aws:s3:::photos",
    "111122223333",
    "StringLike",
    "ForAllValues:StringEquals",
    "NumericEquals",
    "DateLessThan",
    "IpAddress",
    "Null",
    "ArnLike",
    "aws:SourceIp",
    "s3:prefix",
    "10.0.0.0/8",
    "${aws:username, 'x'}",
    "arn:aws:iam::111122223333:user/a",
];

fn word() -> BoxedStrategy<String> {
    prop_oneof![4 => sample::select(&WORDS[..]).prop_map(str::to_owned), 1 => ".{0,8}"].boxed()
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        6 => word().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        let object = collection::vec((word(), inner.clone()), 0..8);
        prop_oneof![
            collection::vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,200}", at in 0..4usize) {
        let _ = Policy::parse(KINDS[at], &text);
        let _ = Policy::parse(KINDS[at], &format!("{{{text}"));
    }

    #[test]
    fn no_json_makes_the_parser_panic(value in json(), at in 0..4usize) {
        let _ = Policy::parse(KINDS[at], &value.to_string());
        let inside = serde_json::json!({"Version": "2012-10-17", "Statement": value});
        let _ = Policy::parse(KINDS[at], &inside.to_string());
    }

    #[test]
    fn no_condition_makes_a_valid_policy_panic(
        values in collection::vec(word(), 0..4),
        found in word(),
        operator in word(),
    ) {
        let condition = serde_json::json!({operator: {"aws:UserAgent": values}});
        let statement = serde_json::json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition});
        let text = serde_json::json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        if let Ok(policy) = Policy::parse(PolicyKind::Identity, &text) {
            let context = Context::from_iter([("aws:UserAgent", found)]);
            let statement = &policy.statements()[0];
            let _ = Facts::alone(&context, |facts| statement.covers("s3:getobject", "arn:aws:s3:::photos/a", facts));
        }
    }

    #[test]
    fn a_pattern_without_wildcards_matches_only_itself(text in "[a-zé/:]{0,12}", other in "[a-zé/:]{0,12}") {
        let pattern = Pattern::parse(&text, Variables::Replaced).expect("nothing is special in it");
        let matches = |text: &str| Facts::alone(&Context::default(), |facts| pattern.matches(text, facts));
        prop_assert!(matches(&text));
        prop_assert_eq!(matches(&other), text == other);
    }

    #[test]
    fn pattern_matching_agrees_with_a_naive_recursion(pattern in "[abé*?]{0,8}", text in "[abéà]{0,8}") {
        fn slow(pattern: &[char], text: &[char]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some(('*', rest)) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
                Some(('?', rest)) => !text.is_empty() && slow(rest, &text[1..]),
                Some((one, rest)) => text.first() == Some(one) && slow(rest, &text[1..]),
            }
        }
        let parsed = Pattern::parse(&pattern, Variables::Literal).expect("nothing else is special");
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let matches = Facts::alone(&Context::default(), |facts| parsed.matches(&text, facts));
        prop_assert_eq!(matches, slow(&chars(&pattern), &chars(&text)));
    }

    #[test]
    fn no_arn_makes_a_pattern_panic(pattern in ".{0,40}", arn in ".{0,40}") {
        if let Ok(pattern) = ArnPattern::parse(&pattern, Variables::Replaced) {
            let _ = Facts::alone(&Context::default(), |facts| pattern.matches(&arn, facts));
        }
    }
}

#[test]
fn a_deeply_nested_policy_is_refused() {
    for text in [format!("{{\"Statement\":{}", "[".repeat(100_000)), "{\"a\":".repeat(20_000)] {
        let refused = Policy::parse(PolicyKind::Bucket("photos"), &text);
        assert!(matches!(refused, Err(PolicyError::InvalidJson(_))), "{refused:?}");
    }
}

#[test]
fn an_oversized_policy_text_is_refused() {
    let text = format!("{{{}}}", " ".repeat(200_000));
    let expected = PolicyError::TooLarge { bytes_max: 20_480 };
    assert_eq!(Policy::parse(PolicyKind::Bucket("photos"), &text), Err(expected));
}

#[test]
fn malformed_json_is_refused_with_the_position_of_the_error() {
    let text = "{\n  \"Version\": \"2012-10-17\"\n  \"Statement\": []\n}";
    let words = |kind| Policy::parse(kind, text).expect_err("a comma is missing").to_string();
    let at = "expected `,` or `}` at line 3 column 3";
    assert_eq!(words(PolicyKind::Bucket("photos")), format!("This policy contains invalid Json: {at}"));
    assert_eq!(words(PolicyKind::Identity), format!("Syntax errors in policy: {at}"));
}
