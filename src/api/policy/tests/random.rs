//! Random policies of a small alphabet, decided by the evaluator and by the reference, which must agree.

use super::reference::{Asker, Keys, Plain, allowed};
use super::world::{Asked, AskedBucket, AskedOf, MAIN, OTHER, account, acl_of, parse, principal};
use crate::api::policy::{Context, Ownership, PolicyKind, Principal, PublicAccessBlock};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, option, prop_assert_eq, proptest, sample};
use serde_json::{Value, json};

const ACTIONS: [&str; 7] = [
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:ListBucket",
    "s3:GetObjectAcl",
    "s3:PutObjectAcl",
    "s3:GetBucketPolicy",
];
const ACTION_PATTERNS: [&str; 8] =
    ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:Get*", "s3:*Object", "s3:???Object", "S3:*OBJECT*", "*"];
const RESOURCE_PATTERNS: [&str; 5] =
    ["arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::b/a*", "arn:aws:s3:::*", "arn:aws:s3:::b/?"];
const PRINCIPALS: [&str; 9] = [
    "*",
    "111122223333",
    "arn:aws:iam::111122223333:root",
    "arn:aws:iam::111122223333:user/alice",
    "arn:aws:iam::111122223333:role/readers/reader",
    "arn:aws:sts::111122223333:assumed-role/reader/s1",
    "444455556666",
    "arn:aws:iam::444455556666:user/carol",
    "arn:aws:iam::444455556666:role/writer",
];
const GRANTEES: [&str; 4] = ["AllUsers", "AuthenticatedUsers", MAIN.1, OTHER.1];
const PERMISSIONS: [&str; 5] = ["READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"];
const ASKERS: [&str; 8] = ["anonymous", "root", "other root", "alice", "bob", "carol", "session", "other session"];

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

/// A statement without principals.
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
        // Both kinds of resources, so that every action applies to some.
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
    let agents = collection::vec(sample::select(vec!["a", "ab", "b"]), 0..3);
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

fn asker(name: &str) -> Asker {
    let asking = principal(name);
    let (account, canonical) =
        asking.account().map(|account| (account.id.clone(), account.canonical_id.clone())).unwrap_or_default();
    let kind = match asking {
        Principal::Root(_) => "root",
        Principal::User { .. } => "user",
        Principal::RoleSession { .. } => "session",
        _ => "nobody",
    };
    Asker { account, canonical, kind, arn: asking.arn().unwrap_or_default(), session_arn: asking.to_string() }
}

fn question() -> impl Strategy<Value = (String, Plain)> {
    let who = (one_of(&ASKERS), one_of(&ACTIONS), one_of(&["a", "b", "ab"]), keys());
    let identity = (
        collection::vec(identity_policy(), 0..3),
        option::weighted(0.3, identity_policy()),
        option::weighted(0.3, identity_policy()),
    );
    let bucket = (option::of(bucket_policy()), any::<bool>(), any::<bool>(), any::<bool>(), grants(), grants());
    (who, identity, bucket).prop_map(|((name, action, key, keys), (own, boundary, session), bucket)| {
        let (bucket_policy, acls_disabled, ignore_public_acls, foreign, bucket_acl, object_acl) = bucket;
        let resource = match action.as_str() {
            "s3:ListBucket" | "s3:GetBucketPolicy" => "arn:aws:s3:::b".to_owned(),
            _ => format!("arn:aws:s3:::b/{key}"),
        };
        let object_owner = if foreign && !acls_disabled { OTHER.1 } else { MAIN.1 }.to_owned();
        let plain = Plain {
            asker: asker(&name),
            action,
            resource,
            keys,
            own,
            boundary,
            session: session.into_iter().collect(),
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

/// The same question as the evaluator takes it.
fn asked(name: &str, plain: &Plain) -> Asked {
    let identity = |documents: &[Value]| documents.iter().map(|value| parse(PolicyKind::Identity, value)).collect();
    let acl = |grants: &[(String, String)]| acl_of(&json!(grants), MAIN.1);
    let disabled = plain.acls_disabled;
    Asked {
        principal: principal(name),
        action: plain.action.clone(),
        resource: plain.resource.clone(),
        context: plain
            .keys
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |value| (key, value)))
            .collect::<Context>(),
        own: identity(&plain.own),
        groups: vec![],
        boundary: plain.boundary.as_ref().map(|value| parse(PolicyKind::Identity, value)),
        session: identity(&plain.session),
        to: AskedOf::Bucket(Box::new(AskedBucket {
            owner: account(MAIN),
            policy: plain.bucket_policy.as_ref().map(|value| parse(PolicyKind::Bucket("b"), value)),
            policy_binds_root: false,
            acl: acl(&plain.bucket_acl),
            ownership: if disabled { Ownership::BucketOwnerEnforced } else { Ownership::ObjectWriter },
            block: PublicAccessBlock { ignore_public_acls: plain.ignore_public_acls, ..PublicAccessBlock::default() },
            object: Some((plain.object_owner.clone(), acl(&plain.object_acl))),
        })),
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(3000))]
    #[test]
    fn two_evaluators_agree_on_random_policies((name, plain) in question()) {
        let decision = asked(&name, &plain).decide();
        prop_assert_eq!(decision.allowed, allowed(&plain), "{}", decision);
    }
}
