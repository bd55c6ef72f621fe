//! The test cases in `tests/fixtures/policy`, each written from a page of AWS's documentation or from a public
//! conformance suite. A file has groups; a group has cases, and the properties that all its cases share.

use super::world::{Asked, MAIN, acl_of, document, parse, principal};
use crate::api::policy::{
    Budget, Context, Identity, Policy, PolicyKind, PolicyRef, Question, Target, evaluate, is_public,
};
use serde_json::{Map, Value, json};

const BUCKET: &str = "photos";
/// The least number of cases. Fewer mean that some were lost.
const CASES_MIN: usize = 700;

const FILES: [(&str, &str); 12] = [
    ("acls", include_str!("../../../../tests/fixtures/policy/acls.json")),
    ("bucket_policies", include_str!("../../../../tests/fixtures/policy/bucket_policies.json")),
    ("conditions", include_str!("../../../../tests/fixtures/policy/conditions.json")),
    ("cross_account", include_str!("../../../../tests/fixtures/policy/cross_account.json")),
    ("documents", include_str!("../../../../tests/fixtures/policy/documents.json")),
    ("identity", include_str!("../../../../tests/fixtures/policy/identity.json")),
    ("matching", include_str!("../../../../tests/fixtures/policy/matching.json")),
    ("ownership", include_str!("../../../../tests/fixtures/policy/ownership.json")),
    ("public_access", include_str!("../../../../tests/fixtures/policy/public_access.json")),
    ("status", include_str!("../../../../tests/fixtures/policy/status.json")),
    ("suites", include_str!("../../../../tests/fixtures/policy/suites.json")),
    ("trust", include_str!("../../../../tests/fixtures/policy/trust.json")),
];

#[test]
fn every_case_of_the_corpus_is_decided_as_expected() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for (file, text) in FILES {
        let theme: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        for group in theme["groups"].as_array().expect("a file has groups") {
            for case in group["cases"].as_array().expect("a group has cases") {
                count += 1;
                let given = group.get("given").and_then(Value::as_object).cloned().unwrap_or_default();
                let case = laid_over(given, case.as_object().expect("a case is an object"));
                if let Err(found) = check(&case) {
                    wrong.push(format!("{file}: {}: {}: {found}", group["about"], case["name"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= CASES_MIN, "there are only {count} cases");
}

/// Merges a case over the properties of its group. Within `bucket`, `statement` and `with`, members are merged one by
/// one; other properties are replaced.
fn laid_over(mut given: Map<String, Value>, case: &Map<String, Value>) -> Map<String, Value> {
    for (name, value) in case {
        match (given.get_mut(name), value) {
            (Some(Value::Object(under)), Value::Object(over))
                if ["bucket", "statement", "with"].contains(&name.as_str()) =>
            {
                under.extend(over.clone());
            }
            _ => {
                given.insert(name.clone(), value.clone());
            }
        }
    }
    given
}

fn check(case: &Map<String, Value>) -> Result<(), String> {
    if case.contains_key("holds") {
        return check_condition(case);
    }
    if case.contains_key("error") {
        return check_document(case);
    }
    if case.contains_key("public") {
        return check_public(case);
    }
    let decision = Asked::of(case).decide();
    let because = case.get("because").and_then(Value::as_str).unwrap_or_default();
    let expected = case["allowed"].as_bool().expect("a decision") == decision.allowed;
    if expected && decision.to_string().contains(because) { Ok(()) } else { Err(decision.to_string()) }
}

/// Checks whether a statement that allows everything under the condition allows a request with these condition keys.
fn check_condition(case: &Map<String, Value>) -> Result<(), String> {
    let statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": case["condition"]});
    let document = match case.get("version") {
        None => json!({"Version": "2012-10-17", "Statement": statement}),
        Some(Value::Null) => json!({"Statement": statement}),
        Some(version) => json!({"Version": version, "Statement": statement}),
    };
    let policy = parse(PolicyKind::Session, &document);
    let mut context = Context::default();
    for (key, values) in case.get("with").and_then(Value::as_object).into_iter().flatten() {
        for value in values.as_array().unwrap_or(&vec![values.clone()]) {
            context.add(key, value.as_str().expect("a text"));
        }
    }
    let question = Question {
        principal: &principal("alice"),
        identity: Identity { own: vec![PolicyRef { name: "p", policy: &policy }], ..Identity::default() },
        action: "s3:GetObject",
        resource: "arn:aws:s3:::photos/a",
        target: Target::Account,
        context: &context,
    };
    let decision = evaluate(question, &Budget::default());
    let expected = case["holds"].as_bool().expect("whether it holds") == decision.allowed;
    if expected { Ok(()) } else { Err(decision.to_string()) }
}

fn check_document(case: &Map<String, Value>) -> Result<(), String> {
    let kind = match case["kind"].as_str().expect("a kind") {
        "bucket" => PolicyKind::Bucket(BUCKET),
        "identity" => PolicyKind::Identity,
        "session" => PolicyKind::Session,
        "trust" => PolicyKind::Trust,
        other => panic!("no kind is called {other}"),
    };
    let text = match case.get("text").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => document_text(case),
    };
    let found = Policy::parse(kind, &text).map(|policy| assert_eq!(policy.text(), text));
    match (found, case["error"].as_str()) {
        (Ok(()), None) => Ok(()),
        (Err(error), Some(expected)) if error.to_string() == expected => Ok(()),
        (Ok(()), Some(_)) => Err("it is valid".to_owned()),
        (Err(error), _) => Err(error.to_string()),
    }
}

fn document_text(case: &Map<String, Value>) -> String {
    let mut value = case.get("policy").unwrap_or(&case.get("statement").cloned().unwrap_or_default()).clone();
    if let Some(statement) = value.as_object_mut() {
        for name in case.get("drop").and_then(Value::as_array).into_iter().flatten() {
            statement.remove(name.as_str().expect("a name"));
        }
    }
    let statements = !case.contains_key("policy") || value.is_array();
    let mut whole = if statements { json!({"Version": "2012-10-17", "Statement": value}) } else { value };
    repeat(&mut whole);
    whole.to_string()
}

/// Replaces each `{"repeat": …, "times": …}` by the repeated text.
fn repeat(value: &mut Value) {
    let long = |object: &Map<String, Value>| {
        let times = usize::try_from(object.get("times")?.as_u64()?).ok()?;
        Some(object.get("repeat")?.as_str()?.repeat(times))
    };
    match value {
        Value::Array(items) => items.iter_mut().for_each(repeat),
        Value::Object(object) => match long(object) {
            Some(text) => *value = Value::String(text),
            None => object.values_mut().for_each(repeat),
        },
        _ => {}
    }
}

fn check_public(case: &Map<String, Value>) -> Result<(), String> {
    let found = match (case.get("acl"), case.get("policy")) {
        (Some(acl), _) => is_public(&acl_of(acl, MAIN.1).expect("an ACL")),
        (None, Some(policy)) => parse(PolicyKind::Bucket(BUCKET), &document(policy)).is_public(),
        (None, None) => {
            let statement = json!({
                "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*",
                "Condition": case["condition"],
            });
            parse(PolicyKind::Bucket(BUCKET), &statement).is_public()
        }
    };
    if case["public"].as_bool() == Some(found) { Ok(()) } else { Err(format!("public: {found}")) }
}
