//! A small alphabet from which the tests compose questions, and the conversion of such a question for the evaluator.

use super::reference::{Asker, Plain};
use super::world::{Asked, AskedBucket, AskedOf, MAIN, account, acl_of, parse, principal};
use crate::api::policy::{Context, Ownership, PolicyKind, Principal, PrincipalIds, PublicAccessBlock};
use serde_json::{Value, json};

pub const ACTIONS: [&str; 7] = [
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:ListBucket",
    "s3:GetObjectAcl",
    "s3:PutObjectAcl",
    "s3:GetBucketPolicy",
];
pub const ACTION_PATTERNS: [&str; 8] =
    ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:Get*", "s3:*Object", "s3:???Object", "S3:*OBJECT*", "*"];
pub const RESOURCE_PATTERNS: [&str; 5] =
    ["arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::b/a*", "arn:aws:s3:::*", "arn:aws:s3:::b/?"];
pub const PRINCIPALS: [&str; 9] = [
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
pub const GRANTEES: [&str; 4] = ["AllUsers", "AuthenticatedUsers", MAIN.1, super::world::OTHER.1];
pub const PERMISSIONS: [&str; 5] = ["READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"];
pub const ASKERS: [&str; 8] = ["anonymous", "root", "other root", "alice", "bob", "carol", "session", "other session"];
/// Values of the condition key `aws:UserAgent`.
pub const AGENTS: [&str; 3] = ["a", "ab", "b"];

pub fn asker(name: &str) -> Asker {
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

/// Returns the resource of an action.
pub fn resource_of(action: &str, key: &str) -> String {
    match action {
        "s3:ListBucket" | "s3:GetBucketPolicy" => "arn:aws:s3:::b".to_owned(),
        _ => format!("arn:aws:s3:::b/{key}"),
    }
}

/// Converts a question of the reference evaluator to one for the evaluator.
pub fn asked(name: &str, plain: &Plain) -> Asked {
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
        session: plain.session.as_deref().map(identity),
        is_service_key: false,
        to: AskedOf::Bucket(Box::new(AskedBucket {
            owner: account(MAIN),
            policy: plain.bucket_policy.as_ref().map(|value| parse(PolicyKind::Bucket("b"), value)),
            policy_ids: PrincipalIds::new(),
            policy_binds_root: false,
            acl: acl(&plain.bucket_acl),
            ownership: if disabled { Ownership::BucketOwnerEnforced } else { Ownership::ObjectWriter },
            block: PublicAccessBlock { ignore_public_acls: plain.ignore_public_acls, ..PublicAccessBlock::default() },
            object: Some((plain.object_owner.clone(), acl(&plain.object_acl))),
        })),
    }
}
