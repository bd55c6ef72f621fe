//! Random policies composed from a small alphabet, on which the evaluator and the reference evaluator must agree.

use super::reference::{Keys, Plain, allowed};
use super::spelled::{
    ACTION_PATTERNS, ACTIONS, AGENTS, ASKERS, GRANTEES, PERMISSIONS, PRINCIPALS, RESOURCE_PATTERNS, asked, asker,
    resource_of,
};
use super::world::{MAIN, OTHER};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, option, prop_assert_eq, proptest, sample};
use serde_json::{Value, json};

fn one_of(from: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    sample::select(from).prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = Value> {
    let texts = ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"];
    let sets = ["", "ForAllValues:", "ForAnyValue:"];
    let ends = ["", "IfExists"];
    let values = || collection::vec(sample::select(vec!["a", "ab", "a*", "?"]), 1..3);
    let text = (sample::select(sets.to_vec()), sample::select(texts.to_vec()), sample::select(ends.to_vec()), values())
        .prop_map(|(set, operator, end, values)| json!({format!("{set}{operator}{end}"): {"aws:UserAgent": values}}));
    let number = (0..4i64).prop_map(|limit| json!({"NumericLessThan": {"s3:TlsVersion": limit.to_string()}}));
    let null = any::<bool>().prop_map(|wanted| json!({"Null": {"aws:UserAgent": wanted.to_string()}}));
    let truth = any::<bool>().prop_map(|wanted| json!({"BoolIfExists": {"aws:SecureTransport": wanted}}));
    prop_oneof![4 => Just(json!({})), 4 => text, 1 => number, 1 => null, 1 => truth]
}

/// Generates a statement without principals.
fn statement() -> impl Strategy<Value = Value> {
    let actions = collection::vec(one_of(&ACTION_PATTERNS), 1..3);
    let resources = collection::vec(one_of(&RESOURCE_PATTERNS), 1..3);
    let negations =
        (any::<bool>(), sample::select(vec![false, false, false, true]), sample::select(vec![false, false, true]));
    (negations, actions, resources, condition()).prop_map(
        |((deny, not_action, not_resource), actions, resources, condition)| {
            let action = if not_action { "NotAction" } else { "Action" };
            let resource = if not_resource { "NotResource" } else { "Resource" };
            let effect = if deny { "Deny" } else { "Allow" };
            json!({"Effect": effect, action: actions, resource: resources, "Condition": condition})
        },
    )
}

fn identity_policy() -> impl Strategy<Value = Value> {
    let document = |statements: Vec<Value>| json!({"Version": "2012-10-17", "Statement": statements});
    collection::vec(statement(), 1..3).prop_map(document)
}

fn bucket_policy() -> impl Strategy<Value = Value> {
    let principals = collection::vec(one_of(&PRINCIPALS), 1..4);
    let named = (statement(), principals, any::<bool>()).prop_map(|(mut statement, principals, negated)| {
        // The policy names the bucket and its objects, so that every action applies to a resource.
        if statement.get("Resource").is_some() {
            statement["Resource"].as_array_mut().expect("a list").push(json!("arn:aws:s3:::b*"));
        }
        let name = if negated && statement["Effect"] == "Deny" { "NotPrincipal" } else { "Principal" };
        statement[name] = json!({"AWS": principals});
        statement
    });
    collection::vec(named, 1..4).prop_map(|statements| json!({"Version": "2012-10-17", "Statement": statements}))
}

fn grants() -> impl Strategy<Value = Vec<(String, String)>> {
    collection::vec((one_of(&GRANTEES), one_of(&PERMISSIONS)), 0..3)
}

fn keys() -> impl Strategy<Value = Keys> {
    let agents = collection::vec(sample::select(AGENTS.to_vec()), 0..3);
    let version = option::of(0..4i64);
    let secure = option::of(any::<bool>());
    (agents, version, secure).prop_map(|(agents, version, secure)| {
        let mut keys = Keys::new();
        if !agents.is_empty() {
            keys.insert("aws:useragent".to_owned(), agents.into_iter().map(str::to_owned).collect());
        }
        keys.extend(version.map(|version| ("s3:tlsversion".to_owned(), vec![version.to_string()])));
        keys.extend(secure.map(|secure| ("aws:securetransport".to_owned(), vec![secure.to_string()])));
        keys
    })
}

fn question() -> impl Strategy<Value = (String, Plain)> {
    let who = (one_of(&ASKERS), one_of(&ACTIONS), one_of(&["a", "b", "ab"]), keys());
    let identity = (
        collection::vec(identity_policy(), 0..3),
        option::weighted(0.3, identity_policy()),
        option::weighted(0.3, collection::vec(identity_policy(), 0..3)),
    );
    let bucket = (option::of(bucket_policy()), any::<bool>(), any::<bool>(), any::<bool>(), grants(), grants());
    (who, identity, bucket).prop_map(|((name, action, key, keys), (own, boundary, session), bucket)| {
        let (bucket_policy, acls_disabled, ignore_public_acls, foreign, bucket_acl, object_acl) = bucket;
        let resource = resource_of(&action, &key);
        let object_owner = if foreign && !acls_disabled { OTHER.1 } else { MAIN.1 }.to_owned();
        let plain = Plain {
            asker: asker(&name),
            action,
            resource,
            keys,
            own,
            boundary,
            session,
            owner_account: MAIN.0.to_owned(),
            owner_canonical: MAIN.1.to_owned(),
            bucket_policy,
            acls_disabled,
            bucket_acl,
            object_owner,
            object_acl,
            ignore_public_acls,
        };
        (name, plain)
    })
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(3000))]
    #[test]
    fn the_evaluator_agrees_with_the_reference_on_random_policies((name, plain) in question()) {
        let decision = asked(&name, &plain).decide();
        prop_assert_eq!(decision.allowed, allowed(&plain), "{}", decision);
    }
}
