//! Explains the access decision on a hypothetical request, for administrators. The same `Judge` decides on real
//! requests.

use super::judge::{Judge, LIST, Subject};
use super::memos::JudgedBucket;
use crate::actors::meta::{MetaView, Pick};
use crate::api::iam::{IamService, RequestFacts, request_keys};
use crate::api::identity::Asking;
use crate::api::policy::{
    Context, Decision, Grounds, Ownership, Place, Policy, PublicAccessBlock, Reason, ResourceKind, StatementName,
    action_named, admin_action_named,
};
use s3s::{S3Error, S3Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const S3_ARN: &str = "arn:aws:s3:::";
/// The actions that read an object. If the object is absent, the right to list the bucket decides.
const READS: [&str; 4] =
    ["s3:GetObject", "s3:GetObjectAttributes", "s3:GetObjectVersion", "s3:GetObjectVersionAttributes"];
/// The actions on which the existing object has no influence: those that replace it, and those on multipart uploads,
/// which an explanation does not look up.
const REGARDLESS: [&str; 3] = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"];
/// The condition keys that follow from the resource, in lower case. A key that ends in `/` is a prefix.
const OF_RESOURCE: [&str; 3] = ["aws:resourceaccount", "s3:existingobjecttag/", "s3:resourceaccount"];
const VERSION: &str = "s3:versionid";

/// The hypothetical request: caller, action, resource and further condition keys.
pub struct HypotheticalRequest {
    pub asking: Asking,
    /// The action with its service: `s3:GetObject`.
    pub action: String,
    /// An ARN.
    pub resource: String,
    pub conditions: Vec<(String, String)>,
}

/// The reason why a decision cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// No request can have this action, resource or condition key.
    #[error("{0}")]
    NoSense(String),
    #[error("{0}")]
    Failed(String),
}

/// A decision, and what it is based on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    pub allowed: bool,
    /// An ARN, or `anonymous`.
    pub who: String,
    /// The action that was decided. If the object to be read is absent, it is `s3:ListBucket`.
    pub action: String,
    pub resource: String,
    /// The reason in words.
    pub reason: String,
    /// The statements that decided.
    pub statements: Vec<StatementJson>,
    pub bucket: Option<BucketJson>,
    /// `None` if the object does not exist, or the resource is not an object.
    pub object: Option<ObjectJson>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementJson {
    /// The kind of its policy: `identity`, `group`, `boundary`, `session`, `bucket` or `trust`.
    pub place: String,
    /// The policy's name; empty for a bucket's policy.
    pub policy: String,
    pub sid: Option<String>,
    /// The statement's number in its policy, from 1.
    pub number: usize,
}

/// The settings of a bucket that matter for the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketJson {
    /// The account's number; its canonical id if the account no longer exists.
    pub owner: String,
    pub ownership: Ownership,
    pub public_access_block: PublicAccessBlock,
    pub has_policy: bool,
    pub policy_is_public: bool,
    pub has_acl: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectJson {
    /// A canonical id; empty for the bucket's owner.
    pub owner: String,
    pub has_acl: bool,
    pub tags: Vec<(String, String)>,
}

/// The resource of a hypothetical request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ExplainedResource {
    /// A resource in no existing bucket: of an account, of another service, or a bucket to be created.
    Account,
    Bucket(String),
    Object {
        bucket: String,
        key: String,
    },
}

/// The result of one decision.
struct Decided {
    action: String,
    resource: String,
    decision: Decision,
    object: Option<ObjectJson>,
}

/// Decides on the hypothetical request by this view, and returns the decision with its grounds.
pub fn explain(
    supposed: HypotheticalRequest,
    iam: Arc<IamService>,
    view: MetaView,
    secure: bool,
) -> Result<Explained, Unexplained> {
    let HypotheticalRequest { asking, action, resource, conditions } = supposed;
    let context = context(&asking, &conditions, &iam, secure)?;
    let action = match admin_action_named(&action) {
        None => action,
        Some(Some(action)) if resource == "*" => action,
        Some(Some(action)) => {
            return Err(Unexplained::NoSense(format!("{action} needs the resource *, not {resource}")));
        }
        Some(None) => return Err(Unexplained::NoSense(format!("{action} is not an action of the admin API"))),
    };
    let known = action_named(&action);
    let meant = meant(&action, known.as_ref().map(|(_, kind)| *kind), &resource)?;
    let action = known.map_or(action, |(action, _)| action);
    let (asking, context) = (Arc::new(asking), Arc::new(context));
    let judge = Judge { asking, context, view, iam, memos: Arc::default(), request_id: "".into() };
    let (decided, guarded) = match meant {
        ExplainedResource::Account => {
            let decision = judge.decide_on_account(&action, &resource);
            (Decided { action, resource, decision, object: None }, None)
        }
        ExplainedResource::Bucket(name) => {
            let guarded = guarded(&judge, &name)?;
            (on_bucket(&judge, &guarded, &action), Some(guarded))
        }
        ExplainedResource::Object { bucket, key } => {
            let guarded = guarded(&judge, &bucket)?;
            (on_object(&judge, &guarded, &action, &key).map_err(|error| failed(&error))?, Some(guarded))
        }
    };
    Ok(Explained {
        allowed: decided.decision.allowed,
        who: judge.asking.principal().arn().unwrap_or_else(|| "anonymous".to_owned()),
        action: decided.action,
        resource: decided.resource,
        reason: decided.decision.reason.to_string(),
        statements: statements(&decided.decision.reason),
        bucket: guarded.as_deref().map(BucketJson::of),
        object: decided.object,
    })
}

fn context(
    asking: &Asking,
    conditions: &[(String, String)],
    iam: &IamService,
    secure: bool,
) -> Result<Context, Unexplained> {
    let mut context = asking.context();
    for (key, _) in conditions {
        let lower = key.to_lowercase();
        if context.values(&lower).is_some() || OF_RESOURCE.iter().any(|of| lower.starts_with(of)) {
            return Err(Unexplained::NoSense(format!("{key} follows from the caller and the resource: leave it out")));
        }
    }
    let facts = RequestFacts { region: iam.region.clone(), secure, ..RequestFacts::default() };
    let is_given = |name: &str| conditions.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    let implied = request_keys(facts, iam.ambient.clock.unix_ms());
    context.extend(implied.into_iter().filter(|(key, _)| !is_given(key)));
    context.extend(conditions.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    Ok(context)
}

/// Returns the resource that an action is decided on. `kind` is that of a known S3 action's resource, else `None`.
fn meant(action: &str, kind: Option<ResourceKind>, resource: &str) -> Result<ExplainedResource, Unexplained> {
    let lower = action.to_lowercase();
    let no_sense = |why: &str| Err(Unexplained::NoSense(format!("{action} {why}")));
    let within = resource.strip_prefix(S3_ARN).filter(|name| !name.is_empty());
    match kind {
        None if lower.starts_with("s3:") || !lower.contains(':') => no_sense("is not a known action"),
        None if lower.starts_with("sts:assumerole") => {
            no_sense("cannot be explained: it also depends on the role's trust policy")
        }
        None | Some(ResourceKind::Account) => Ok(ExplainedResource::Account),
        Some(ResourceKind::Bucket) if lower == "s3:createbucket" => Ok(ExplainedResource::Account),
        Some(ResourceKind::Bucket) => match within {
            Some(name) if !name.contains(['/', '*']) => Ok(ExplainedResource::Bucket(name.to_owned())),
            _ => no_sense("needs the ARN of a bucket, arn:aws:s3:::BUCKET"),
        },
        Some(ResourceKind::Object) => match within.and_then(|within| within.split_once('/')) {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
                Ok(ExplainedResource::Object { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            _ => no_sense("needs the ARN of an object, arn:aws:s3:::BUCKET/KEY"),
        },
    }
}

fn guarded(judge: &Judge, name: &str) -> Result<Arc<JudgedBucket>, Unexplained> {
    let found = judge.guarded(name).map_err(|error| failed(&error))?;
    found.ok_or_else(|| Unexplained::NoSense(format!("there is no bucket {name:?}")))
}

fn failed(error: &S3Error) -> Unexplained {
    let why = error.message().map_or_else(|| error.code().as_str().to_owned(), str::to_owned);
    Unexplained::Failed(why)
}

fn on_bucket(judge: &Judge, guarded: &JudgedBucket, action: &str) -> Decided {
    let decision = judge.decide_on_bucket(action, guarded);
    Decided { action: action.to_owned(), resource: guarded.arn(), decision, object: None }
}

/// Decides as for a real request: the existing object has no influence on a put, and reading an absent one needs the
/// right to list the bucket.
fn on_object(judge: &Judge, guarded: &JudgedBucket, action: &str, key: &str) -> S3Result<Decided> {
    let version = judge.context.single(VERSION);
    let pick = version.map_or(Some(Pick::Current), Pick::parse).unwrap_or(Pick::Null);
    let subject = judge.subject(guarded, key, pick)?;
    if subject.is_none() && READS.contains(&action) {
        let decision = judge.decide_on_absent(guarded, key);
        return Ok(Decided { action: LIST.to_owned(), resource: guarded.arn(), decision, object: None });
    }
    let has_say = subject.as_ref().filter(|_| !REGARDLESS.contains(&action));
    let resource = guarded.arn_of(key);
    let decision = judge.decide_on_object(action, guarded, &resource, has_say);
    Ok(Decided { action: action.to_owned(), resource, decision, object: subject.map(ObjectJson::of) })
}

impl BucketJson {
    fn of(guarded: &JudgedBucket) -> Self {
        let owner = &guarded.owner;
        Self {
            owner: if owner.id.is_empty() { owner.canonical_id.clone() } else { owner.id.clone() },
            ownership: guarded.access.ownership(),
            public_access_block: guarded.access.block(),
            has_policy: guarded.policy().is_some(),
            policy_is_public: guarded.policy().is_some_and(Policy::is_public),
            has_acl: guarded.access.acl.is_some(),
        }
    }
}

impl ObjectJson {
    fn of(subject: Subject) -> Self {
        Self { owner: subject.owner, has_acl: subject.acl.is_some(), tags: subject.tags }
    }
}

fn statements(reason: &Reason) -> Vec<StatementJson> {
    let grounds = match reason {
        Reason::DeniedBy(statement) => return vec![StatementJson::of(statement)],
        Reason::AllowedBy(grounds) => vec![grounds],
        Reason::AllowedByBoth { identity, resource } => vec![identity, resource],
        Reason::RestrictedPublicBucket | Reason::NeedsAccount | Reason::TooCostly | Reason::NotAllowedBy(_) => {
            return Vec::new();
        }
    };
    let statement = |grounds: &Grounds| match grounds {
        Grounds::Statement(statement) => Some(StatementJson::of(statement)),
        Grounds::Acl { .. } | Grounds::Ownership | Grounds::Root => None,
    };
    grounds.into_iter().filter_map(statement).collect()
}

impl StatementJson {
    fn of(statement: &StatementName) -> Self {
        let place = match statement.place {
            Place::Identity => "identity",
            Place::Group => "group",
            Place::Boundary => "boundary",
            Place::Session => "session",
            Place::Bucket => "bucket",
            Place::Trust => "trust",
        };
        let (policy, sid) = (statement.policy.clone(), statement.sid.clone());
        Self { place: place.to_owned(), policy, sid, number: statement.index + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::{ExplainedResource, Unexplained, meant, statements};
    use crate::api::policy::{Grounds, Place, Reason, StatementName, action_named};

    fn asked(action: &str, resource: &str) -> Result<ExplainedResource, String> {
        let kind = action_named(action).map(|(_, kind)| kind);
        meant(action, kind, resource).map_err(|error| match error {
            Unexplained::NoSense(why) => why,
            Unexplained::Failed(why) => panic!("{why}"),
        })
    }

    #[test]
    fn an_action_determines_the_kind_of_its_resource() {
        let object = ExplainedResource::Object { bucket: "b".to_owned(), key: "a/k".to_owned() };
        assert_eq!(asked("s3:GetObject", "arn:aws:s3:::b/a/k"), Ok(object.clone()));
        assert_eq!(asked("S3:getobject", "arn:aws:s3:::b/a/k"), Ok(object));
        assert_eq!(asked("s3:ListBucket", "arn:aws:s3:::b"), Ok(ExplainedResource::Bucket("b".to_owned())));
        for (action, resource) in [
            ("s3:ListAllMyBuckets", "arn:aws:s3:::*"),
            ("s3:CreateBucket", "arn:aws:s3:::b"),
            ("iam:CreateUser", "arn:aws:iam::000000000000:user/a"),
        ] {
            assert_eq!(asked(action, resource), Ok(ExplainedResource::Account), "{action}");
        }
    }

    #[test]
    fn unknown_actions_and_resources_of_the_wrong_kind_are_not_explained() {
        for (action, resource) in [
            ("s3:GetObject", "arn:aws:s3:::b"),
            ("s3:GetObject", "arn:aws:s3:::b/"),
            ("s3:GetObject", "b/k"),
            ("s3:ListBucket", "arn:aws:s3:::b/k"),
            ("s3:ListBucket", "arn:aws:s3:::*"),
            ("s3:ReadObject", "arn:aws:s3:::b/k"),
            ("GetObject", "arn:aws:s3:::b/k"),
            ("sts:AssumeRole", "arn:aws:iam::000000000000:role/a"),
        ] {
            assert!(asked(action, resource).is_err(), "{action} {resource}");
        }
    }

    #[test]
    fn deciding_statements_are_shown_by_place_and_number() {
        let statement = |place, index| StatementName { place, policy: "p".to_owned(), sid: None, index };
        let reason = Reason::AllowedByBoth {
            identity: Grounds::Statement(statement(Place::Group, 0)),
            resource: Grounds::Statement(statement(Place::Bucket, 2)),
        };
        let shown: Vec<_> = statements(&reason).into_iter().map(|shown| (shown.place, shown.number)).collect();
        assert_eq!(shown, [("group".to_owned(), 1), ("bucket".to_owned(), 3)]);
        assert!(statements(&Reason::AllowedBy(Grounds::Ownership)).is_empty());
    }
}
