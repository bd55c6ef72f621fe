//! A reference evaluator, as simple as possible: it reads documents as JSON every time, matches texts by recursion, and
//! collects all allowing and denying statements before it decides. It covers the part of the policy language that
//! `random` generates.

use serde_json::Value;
use std::collections::BTreeMap;

pub type Keys = BTreeMap<String, Vec<String>>;

/// The caller, as texts.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Empty for an anonymous caller.
    pub account: String,
    pub canonical: String,
    /// `nobody`, `root`, `user` or `session`.
    pub kind: &'static str,
    /// The ARN of the user, or of the role.
    pub arn: String,
    pub session_arn: String,
}

/// A question, as texts and JSON.
#[derive(Clone, Debug)]
pub struct Plain {
    pub asker: Asker,
    pub action: String,
    pub resource: String,
    pub keys: Keys,
    pub own: Vec<Value>,
    pub boundary: Option<Value>,
    /// `None` is no limit.
    pub session: Option<Vec<Value>>,
    pub owner_account: String,
    pub owner_canonical: String,
    pub bucket_policy: Option<Value>,
    pub acls_disabled: bool,
    /// Pairs of a grantee and a permission.
    pub bucket_acl: Vec<(String, String)>,
    pub object_owner: String,
    pub object_acl: Vec<(String, String)>,
    pub ignore_public_acls: bool,
}

fn glob(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|skipped| glob(rest, &text[skipped..])),
        Some(('?', rest)) => !text.is_empty() && glob(rest, &text[1..]),
        Some((c, rest)) => text.first() == Some(c) && glob(rest, &text[1..]),
    }
}

fn like(pattern: &str, text: &str) -> bool {
    glob(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(list).collect(),
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}

fn element(statement: &Value, name: &str, matches: impl Fn(&str) -> bool) -> bool {
    if let Some(value) = statement.get(name) {
        return list(value).iter().any(|item| matches(item));
    }
    let negation = statement.get(format!("Not{name}")).expect("one of the two is there");
    !list(negation).iter().any(|item| matches(item))
}

fn condition_holds(operator: &str, key: &str, wanted: &[String], keys: &Keys) -> bool {
    let found = keys.get(&key.to_lowercase()).cloned().unwrap_or_default();
    let (set, operator) = operator.split_once(':').unwrap_or(("", operator));
    let (operator, if_exists) = operator.strip_suffix("IfExists").map_or((operator, false), |base| (base, true));
    if operator == "Null" {
        return wanted.iter().any(|wanted| wanted == if found.is_empty() { "true" } else { "false" });
    }
    let one = |value: &String| match operator {
        "StringEquals" => wanted.contains(value),
        "StringNotEquals" => !wanted.contains(value),
        "StringLike" => wanted.iter().any(|pattern| like(pattern, value)),
        "StringNotLike" => !wanted.iter().any(|pattern| like(pattern, value)),
        "NumericLessThan" => wanted.iter().any(|limit| value.parse::<i64>().unwrap() < limit.parse::<i64>().unwrap()),
        "Bool" => wanted.contains(value),
        other => panic!("{other} is not in the reference"),
    };
    match (set, found.is_empty()) {
        ("ForAllValues", _) => found.iter().all(one),
        ("ForAnyValue", _) => found.iter().any(one),
        (_, true) => operator.contains("Not") || if_exists,
        (_, false) if operator.contains("Not") => found.iter().all(one),
        (_, false) => found.iter().any(one),
    }
}

fn covers(statement: &Value, plain: &Plain) -> bool {
    let action = element(statement, "Action", |item| like(&item.to_lowercase(), &plain.action.to_lowercase()));
    let resource = element(statement, "Resource", |item| like(item, &plain.resource));
    let conditions = statement.get("Condition").and_then(Value::as_object).into_iter().flatten();
    let holds = conditions.into_iter().all(|(operator, keys)| {
        let mut keys = keys.as_object().expect("keys").iter();
        keys.all(|(key, wanted)| condition_holds(operator, key, &list(wanted), &plain.keys))
    });
    action && resource && holds
}

fn statements(document: &Value) -> Vec<Value> {
    document["Statement"].as_array().expect("statements").clone()
}

fn effects(documents: &[Value], effect: &str, plain: &Plain) -> bool {
    documents.iter().flat_map(statements).any(|statement| statement["Effect"] == effect && covers(&statement, plain))
}

/// Returns how the listed principals name the caller: `everybody`, `root`, `account`, `user`, `role` or `session`.
fn named(value: &Value, asker: &Asker) -> Vec<&'static str> {
    let mut found = Vec::new();
    let names = if value.is_object() { list(&value["AWS"]) } else { list(value) };
    for name in names {
        let account = name == asker.account || name == format!("arn:aws:iam::{}:root", asker.account);
        if name == "*" {
            found.push("everybody");
        } else if asker.kind != "nobody" && account {
            found.push(if asker.kind == "root" { "root" } else { "account" });
        } else if asker.kind == "user" && name == asker.arn {
            found.push("user");
        } else if asker.kind == "session" && name == asker.arn {
            found.push("role");
        } else if asker.kind == "session" && name == asker.session_arn {
            found.push("session");
        }
    }
    found
}

fn is_denied_by_bucket(statement: &Value, plain: &Plain) -> bool {
    let spared = ["everybody", "root", "user", "session"];
    let applies = match statement.get("Principal") {
        Some(principal) => !named(principal, &plain.asker).is_empty(),
        None => {
            let bounded = plain.boundary.is_some() && matches!(plain.asker.kind, "user" | "session");
            let named = named(&statement["NotPrincipal"], &plain.asker);
            bounded || !named.iter().any(|name| spared.contains(name))
        }
    };
    statement["Effect"] == "Deny" && applies && covers(statement, plain)
}

/// Returns how the grants of ACLs that allow the action name the caller: `everybody` or `account`.
fn granted_by_acl(plain: &Plain) -> Vec<&'static str> {
    let (acl, permission) = match plain.action.as_str() {
        "s3:GetObject" => (&plain.object_acl, "READ"),
        "s3:GetObjectAcl" => (&plain.object_acl, "READ_ACP"),
        "s3:PutObjectAcl" => (&plain.object_acl, "WRITE_ACP"),
        "s3:ListBucket" => (&plain.bucket_acl, "READ"),
        "s3:PutObject" => (&plain.bucket_acl, "WRITE"),
        "s3:DeleteObject" => (&plain.bucket_acl, "WRITE"),
        _ => return vec![],
    };
    let owns_something = [&plain.owner_canonical, &plain.object_owner].contains(&&plain.asker.canonical);
    let mut found = Vec::new();
    for (grantee, granted) in acl {
        let is_public = ["AllUsers", "AuthenticatedUsers"].contains(&grantee.as_str());
        let covered = granted == permission || granted == "FULL_CONTROL";
        let useless = plain.acls_disabled
            || !covered
            || is_public && plain.ignore_public_acls
            || plain.action == "s3:DeleteObject" && !owns_something;
        if useless {
            continue;
        }
        if grantee == "AllUsers" || grantee == "AuthenticatedUsers" && plain.asker.kind != "nobody" {
            found.push("everybody");
        }
        if plain.asker.kind != "nobody" && *grantee == plain.asker.canonical {
            found.push("account");
        }
    }
    found
}

fn owner_needs_no_grant(plain: &Plain, decider: &str) -> bool {
    let asker = &plain.asker.canonical;
    let own_acl = (plain.action == "s3:GetObjectAcl" || plain.action == "s3:PutObjectAcl") && asker == decider;
    let never_granted = plain.action == "s3:GetBucketPolicy" || plain.action == "s3:DeleteObject";
    plain.asker.kind != "nobody" && (own_acl || asker == decider && (never_granted || plain.acls_disabled))
}

pub fn allowed(plain: &Plain) -> bool {
    let has_policies = matches!(plain.asker.kind, "user" | "session");
    let boundary: Vec<Value> = plain.boundary.clone().into_iter().collect();
    let bucket: Vec<Value> = plain.bucket_policy.iter().flat_map(statements).collect();
    let session = plain.session.as_deref().unwrap_or_default();
    let every_own = [plain.own.as_slice(), &boundary, session].concat();
    let always = plain.asker.kind == "root"
        && plain.asker.account == plain.owner_account
        && plain.action == "s3:GetBucketPolicy";
    let denied = has_policies && effects(&every_own, "Deny", plain)
        || !always && bucket.iter().any(|statement| is_denied_by_bucket(statement, plain));
    if denied {
        return false;
    }
    let of_object = ["s3:GetObject", "s3:GetObjectAcl", "s3:PutObjectAcl"].contains(&plain.action.as_str());
    let decider = if of_object { &plain.object_owner } else { &plain.owner_canonical };
    let mut grants = granted_by_acl(plain);
    if *decider == plain.owner_canonical {
        for statement in bucket.iter().filter(|statement| statement["Effect"] == "Allow" && covers(statement, plain)) {
            grants.extend(named(&statement["Principal"], &plain.asker));
        }
    }
    if owner_needs_no_grant(plain, decider) {
        grants.push("account");
    }
    let in_boundary = boundary.is_empty() || effects(&boundary, "Allow", plain);
    let in_session = plain.session.is_none() || effects(session, "Allow", plain);
    let own = effects(&plain.own, "Allow", plain) && in_boundary && in_session;
    let same = plain.asker.canonical == *decider;
    match (has_policies, same) {
        (false, _) => !grants.is_empty(),
        (true, false) => own && !grants.is_empty(),
        (true, true) => {
            let direct = grants.iter().any(|grant| match *grant {
                "everybody" | "session" => true,
                "user" => in_session,
                "role" => in_boundary && in_session,
                _ => false,
            });
            own || direct
        }
    }
}
