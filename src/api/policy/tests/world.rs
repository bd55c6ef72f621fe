//! A fixed set of principals for the tests of decisions (two accounts with root, users and roles, and a third account),
//! and questions parsed from the case files.

use crate::actors::meta::{Acl, Grant, Grantee, Permission};
use crate::api::policy::acl;
use crate::api::policy::{
    Account, Bucket, Budget, Context, Decision, Identity, Issuer, Object, Ownership, Policy, PolicyKind, PolicyRef,
    Principal, PrincipalIds, PublicAccessBlock, Question, ResourcePolicy, Target, evaluate,
};
use serde_json::{Map, Value, json};

pub const MAIN: (&str, &str) = ("111122223333", "main-canonical");
pub const OTHER: (&str, &str) = ("444455556666", "other-canonical");
pub const THIRD: (&str, &str) = ("777788889999", "third-canonical");

pub fn account((id, canonical_id): (&str, &str)) -> Account {
    Account { id: id.to_owned(), canonical_id: canonical_id.to_owned() }
}

fn user(of: (&str, &str), name: &str) -> Principal {
    Principal::User {
        account: account(of),
        arn: format!("arn:aws:iam::{}:user/{name}", of.0),
        name: name.to_owned(),
        id: format!("AIDA{}", name.to_uppercase()),
        issuer: None,
    }
}

fn session(of: (&str, &str), path: &str, role: &str, session_name: &str) -> Principal {
    Principal::RoleSession {
        account: account(of),
        role_arn: format!("arn:aws:iam::{}:role{path}{role}", of.0),
        role_id: format!("AROA{}", role.to_uppercase()),
        session_name: session_name.to_owned(),
    }
}

pub fn principal(name: &str) -> Principal {
    match name {
        "anonymous" => Principal::Anonymous,
        "root" => Principal::Root(account(MAIN)),
        "other root" => Principal::Root(account(OTHER)),
        "third root" => Principal::Root(account(THIRD)),
        "alice" | "bob" => user(MAIN, name),
        "carol" => user(OTHER, name),
        "fred" => Principal::User {
            account: account(MAIN),
            arn: format!("arn:aws:sts::{}:federated-user/fred", MAIN.0),
            name: String::new(),
            id: format!("{}:fred", MAIN.0),
            issuer: Some(Issuer { arn: format!("arn:aws:iam::{}:user/alice", MAIN.0), id: "AIDAALICE".to_owned() }),
        },
        "session" => session(MAIN, "/readers/", "reader", "s1"),
        "other session" => session(OTHER, "/", "writer", "w1"),
        other => match other.split_once(':') {
            Some(("service", service)) => Principal::Service(service.to_owned()),
            Some(("federated", provider)) => Principal::Federated(provider.to_owned()),
            _ => panic!("nobody is called {other}"),
        },
    }
}

/// Completes a policy document of which the case may give only the statements, or only one of them.
pub fn document(value: &Value) -> Value {
    let whole = value.get("Statement").is_some() || value.get("Version").is_some() || value.get("Id").is_some();
    if whole { value.clone() } else { json!({"Version": "2012-10-17", "Statement": value}) }
}

pub fn parse(kind: PolicyKind<'_>, value: &Value) -> Policy {
    let text = document(value).to_string();
    Policy::parse(kind, &text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    value.as_array().map_or_else(|| vec![text(value)], |items| items.iter().map(text).collect())
}

/// Parses the name of a canned ACL, or a list of pairs of grantee and permission.
pub fn acl_of(value: &Value, owner: &str) -> Option<Acl> {
    if let Some(name) = value.as_str() {
        return Some(acl::canned(name, owner, MAIN.1).unwrap_or_else(|| panic!("no canned ACL is called {name}")));
    }
    let grant = |pair: &Value| {
        let grantee = match pair[0].as_str().expect("a grantee") {
            "AllUsers" => Grantee::AllUsers,
            "AuthenticatedUsers" => Grantee::AuthenticatedUsers,
            "LogDelivery" => Grantee::LogDelivery,
            id => Grantee::Account(id.to_owned()),
        };
        let permission = match pair[1].as_str().expect("a permission") {
            "READ" => Permission::Read,
            "WRITE" => Permission::Write,
            "READ_ACP" => Permission::ReadAcp,
            "WRITE_ACP" => Permission::WriteAcp,
            "FULL_CONTROL" => Permission::FullControl,
            other => panic!("no permission is called {other}"),
        };
        Grant { grantee, permission }
    };
    Some(Acl { grants: value.as_array()?.iter().map(grant).collect() })
}

/// A question that owns everything that `Question` borrows.
pub struct Asked {
    pub principal: Principal,
    pub action: String,
    pub resource: String,
    pub context: Context,
    pub own: Vec<Policy>,
    pub groups: Vec<Policy>,
    pub boundary: Option<Policy>,
    pub session: Option<Vec<Policy>>,
    pub is_service_key: bool,
    pub to: AskedOf,
}

pub enum AskedOf {
    Account,
    Role { account: String, trust: Policy },
    Bucket(Box<AskedBucket>),
}

pub struct AskedBucket {
    pub owner: Account,
    pub policy: Option<Policy>,
    pub policy_ids: PrincipalIds,
    pub policy_binds_root: bool,
    pub acl: Option<Acl>,
    pub ownership: Ownership,
    pub block: PublicAccessBlock,
    pub object: Option<(String, Option<Acl>)>,
}

impl Asked {
    pub fn of(case: &Map<String, Value>) -> Self {
        let text = |name: &str| case.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no {name}: {case:?}"));
        let principal = principal(text("who"));
        let resource = match text("to") {
            arn if arn.starts_with("arn:") => arn.to_owned(),
            path => format!("arn:aws:s3:::{path}"),
        };
        let mut context = Context::from_iter(principal.keys());
        for (key, values) in case.get("with").and_then(Value::as_object).into_iter().flatten() {
            context.extend(texts(values).into_iter().map(|value| (key, value)));
        }
        let policies = |name: &str, kind| {
            let listed = case.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            listed.iter().map(|value| parse(kind, value)).collect()
        };
        Self {
            action: text("does").to_owned(),
            own: policies("own", PolicyKind::Identity),
            groups: policies("groups", PolicyKind::Identity),
            boundary: case.get("boundary").map(|value| parse(PolicyKind::Identity, value)),
            session: case.contains_key("session").then(|| policies("session", PolicyKind::Session)),
            is_service_key: case.contains_key("service_key"),
            to: AskedOf::of(case, &resource),
            principal,
            resource,
            context,
        }
    }

    pub fn decide(&self) -> Decision {
        let named = |place: &str, policies: &[Policy]| -> Vec<String> {
            (1..=policies.len()).map(|number| format!("{place}-{number}")).collect()
        };
        let budget = Budget::default();
        let session = self.session.as_deref().unwrap_or_default();
        let names = [named("own", &self.own), named("groups", &self.groups), named("session", session)];
        let policies = [self.own.as_slice(), &self.groups, session];
        let mut joined: Vec<Vec<PolicyRef<'_>>> = names
            .iter()
            .zip(policies)
            .map(|(names, policies)| {
                names.iter().zip(policies).map(|(name, policy)| PolicyRef { name, policy }).collect()
            })
            .collect();
        let boundary = self.boundary.as_ref().map(|policy| PolicyRef { name: "boundary", policy });
        let mut next = || joined.remove(0);
        let (own, groups, session) = (next(), next(), next());
        let session = self.session.is_some().then_some(session);
        let identity = Identity { own, groups, boundary, session, is_service_key: self.is_service_key };
        let question = Question {
            principal: &self.principal,
            identity,
            action: &self.action,
            resource: &self.resource,
            target: self.to.target(),
            context: &self.context,
        };
        evaluate(question, &budget)
    }
}

static NO_IDS: PrincipalIds = PrincipalIds::new();

pub fn without_ids(policy: &Policy) -> ResourcePolicy<'_> {
    ResourcePolicy { policy, ids: &NO_IDS }
}

impl AskedOf {
    fn of(case: &Map<String, Value>, resource: &str) -> Self {
        if case.get("target").is_some() {
            return Self::Account;
        }
        if let Some(role) = case.get("role") {
            let account = role["account"].as_str().expect("an account").to_owned();
            return Self::Role { account, trust: parse(PolicyKind::Trust, &role["trust"]) };
        }
        let path = resource.trim_start_matches("arn:aws:s3:::");
        let name = path.split('/').next().expect("a bucket");
        let empty = json!({});
        Self::Bucket(Box::new(AskedBucket::of(name, case.get("bucket").unwrap_or(&empty))))
    }

    fn target(&self) -> Target<'_> {
        match self {
            Self::Account => Target::Account,
            Self::Role { account, trust } => Target::Role { account, trust: without_ids(trust) },
            Self::Bucket(bucket) => Target::Bucket(Bucket {
                owner: &bucket.owner,
                policy: bucket.policy.as_ref().map(|policy| ResourcePolicy { policy, ids: &bucket.policy_ids }),
                policy_binds_root: bucket.policy_binds_root,
                acl: bucket.acl.as_ref(),
                ownership: bucket.ownership,
                block: bucket.block,
                object: bucket.object.as_ref().map(|(owner, acl)| Object { owner, acl: acl.as_ref() }),
            }),
        }
    }
}

fn ids_of(value: &Value) -> PrincipalIds {
    let ids = value.as_object().into_iter().flatten();
    ids.map(|(arn, id)| (arn.clone(), id.as_str().expect("an id").to_owned())).collect()
}

impl AskedBucket {
    fn of(name: &str, value: &Value) -> Self {
        let object = value.get("object");
        let with_acl = value.get("acl").is_some() || object.is_some_and(|object| object.get("acl").is_some());
        let ownership = match value.get("ownership").and_then(Value::as_str) {
            Some("BucketOwnerPreferred") => Ownership::BucketOwnerPreferred,
            Some("ObjectWriter") => Ownership::ObjectWriter,
            Some(_) => Ownership::BucketOwnerEnforced,
            None if with_acl => Ownership::ObjectWriter,
            None => Ownership::BucketOwnerEnforced,
        };
        let blocks = value.get("block").map(texts).unwrap_or_default();
        let blocked = |name: &str| blocks.iter().any(|block| block == name);
        Self {
            owner: account(MAIN),
            policy: value.get("policy").map(|policy| parse(PolicyKind::Bucket(name), policy)),
            policy_ids: value.get("ids").map(ids_of).unwrap_or_default(),
            policy_binds_root: value.get("policy_binds_root").is_some(),
            acl: value.get("acl").and_then(|acl| acl_of(acl, MAIN.1)),
            ownership,
            block: PublicAccessBlock {
                block_public_acls: blocked("block_public_acls"),
                ignore_public_acls: blocked("ignore_public_acls"),
                block_public_policy: blocked("block_public_policy"),
                restrict_public_buckets: blocked("restrict_public_buckets"),
            },
            object: object.map(|object| {
                let owner = object.get("owner").and_then(Value::as_str).unwrap_or_default();
                let acl_owner = if owner.is_empty() { MAIN.1 } else { owner };
                (owner.to_owned(), object.get("acl").and_then(|acl| acl_of(acl, acl_owner)))
            }),
        }
    }
}
