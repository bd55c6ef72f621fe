//! The judge of one request: passes the caller, the request's context, and its buckets and objects to the policy
//! evaluator.

use super::memos::{JudgedBucket, Memos};
use crate::actors::meta::{Acl, MetaView, Pick, Traits, VersionRow};
use crate::api::cache::Made;
use crate::api::errors::Fault;
use crate::api::iam::IamService;
use crate::api::identity::{Asking, ROOT_ACCOUNT};
use crate::api::policy::{
    Account, Bucket, Context, Decision, Object, Policy, PolicyKind, Prepared, Reason, ResourcePolicy, Target,
};
use crate::api::rates::RateLimits;
use crate::api::s3::caller::ANONYMOUS;
use crate::api::s3::documents::load_sized;
use crate::api::s3::grants::{lookup_failed, sized_access_of};
use crate::types::UploadId;
use s3s::S3Result;
use std::sync::Arc;

/// The action that reveals which objects exist.
pub(super) const LIST: &str = "s3:ListBucket";

/// The actions on a written object that are decided with its writer as its owner.
const OF_WRITER: [&str; 2] = ["s3:PutObjectAcl", "s3:PutObjectTagging"];

/// Decides on the actions of one request, by one view of the metadata.
pub struct Judge {
    pub asking: Arc<Asking>,
    pub context: Arc<Context>,
    pub view: MetaView,
    pub iam: Arc<IamService>,
    pub memos: Arc<Memos>,
    pub request_id: Arc<str>,
}

/// The object of an action: what decisions need of it.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub owner: String,
    pub acl: Option<Acl>,
    pub tags: Vec<(String, String)>,
}

impl Subject {
    pub fn of(traits: Traits) -> Self {
        Self { owner: traits.owner, acl: traits.acl, tags: traits.tags }
    }

    fn object(&self) -> Object<'_> {
        Object { owner: &self.owner, acl: self.acl.as_ref() }
    }
}

impl Judge {
    /// Returns a judge of the same request that decides by another view.
    pub fn by(&self, view: MetaView) -> Self {
        Self {
            asking: Arc::clone(&self.asking),
            context: Arc::clone(&self.context),
            view,
            iam: Arc::clone(&self.iam),
            memos: Arc::clone(&self.memos),
            request_id: Arc::clone(&self.request_id),
        }
    }

    /// Returns a judge of the same request with the condition keys of its body, which replace those of its head.
    pub fn with_body_keys(&self, keys: &Context) -> Self {
        let mut context = Context::clone(&self.context);
        context.replace(keys);
        Self { context: Arc::new(context), ..self.by(self.view.clone()) }
    }

    /// Returns the bucket; `None` if it does not exist.
    pub fn guarded(&self, name: &str) -> S3Result<Option<Arc<JudgedBucket>>> {
        self.memos.buckets.get(&self.view, name, || self.read_guarded(name))
    }

    fn read_guarded(&self, name: &str) -> S3Result<Option<Made<JudgedBucket>>> {
        let Some(row) = self.view.bucket(name)? else { return Ok(None) };
        let Made { value: access, bytes } = sized_access_of(&self.view, &row)?;
        let parse = |text: &String| {
            self.iam.parsed.parse(PolicyKind::Bucket(name), text).map_err(|error| {
                tracing::error!(%error, bucket = name, "a bucket's policy cannot be read: every request is denied");
                Fault::AccessDenied("The policy of the bucket cannot be read.")
            })
        };
        let policy = access.policy.as_ref().map(parse).transpose()?;
        let owner = self.owner(&row.bucket.owner)?;
        let limits: Made<Option<RateLimits>> = load_sized(&self.view, &RateLimits::key_of_bucket(row.bucket.id))?;
        let (rates, bytes) = (limits.value.unwrap_or_default(), bytes + limits.bytes);
        Ok(Some(Made { value: JudgedBucket { row, access, owner, rates, policy }, bytes }))
    }

    /// Returns the account of a canonical id. If it no longer exists, its number is empty, so that no caller is of it.
    fn owner(&self, canonical_id: &str) -> S3Result<Account> {
        let root = &self.iam.root.canonical_id;
        let canonical_id = if canonical_id == super::super::ACCOUNT { root } else { canonical_id };
        let directory = self.iam.directory(&self.view);
        let known = directory.account_by_canonical_id(canonical_id).map_err(lookup_failed)?;
        let id = known.map(|account| account.id).unwrap_or_default();
        Ok(Account { id, canonical_id: canonical_id.to_owned() })
    }

    /// Returns the version that an operation is on; `None` if it does not exist or is a delete marker.
    pub fn subject(&self, guarded: &JudgedBucket, key: &str, pick: Pick) -> S3Result<Option<Subject>> {
        Ok(match self.view.version(guarded.row.bucket.id, key, pick)? {
            Some(VersionRow::Object(object)) => Some(Subject::of(object.traits)),
            Some(VersionRow::DeleteMarker(_)) | None => None,
        })
    }

    /// Returns a multipart upload, whose owner is its initiator; `None` if it does not exist, which the operation
    /// reports.
    pub fn begun(&self, guarded: &JudgedBucket, key: &str, id: UploadId) -> S3Result<Option<Subject>> {
        let row = self.view.upload(guarded.row.bucket.id, key, id)?;
        Ok(row.map(|row| Subject { owner: row.upload.owner, ..Subject::default() }))
    }

    /// Decides on an action whose resource belongs to no bucket.
    pub fn of_account(&self, action: &str, resource: &str) -> Result<(), Fault> {
        self.enforce(action, resource, &self.decide_on_account(action, resource))
    }

    /// Decides on the use of an encryption key. All keys belong to the root account: callers of that account may use
    /// them unless a policy denies it, callers of other accounts only if a policy of theirs allows it.
    pub fn of_key(&self, action: &str, arn: &str) -> Result<(), Fault> {
        let decision = self.decide_on_account(action, arn);
        let owns = self.asking.principal().account().is_some_and(|account| account.id == ROOT_ACCOUNT);
        let undecided = matches!(decision.reason, Reason::NotAllowedBy(_));
        if owns && undecided { Ok(()) } else { self.enforce(action, arn, &decision) }
    }

    pub(super) fn decide_on_account(&self, action: &str, resource: &str) -> Decision {
        self.asking.decide(action, resource, Target::Account, &self.context)
    }

    /// Refuses a request before its body is read, if no body could make it allowed.
    pub fn may_yet(
        &self,
        action: &str,
        guarded: &JudgedBucket,
        arn: &str,
        subject: Option<&Subject>,
    ) -> Result<(), Fault> {
        let context = self.context_of(guarded);
        let target = Target::Bucket(guarded.target(subject.map(Subject::object)));
        let decision = self.asking.prepare(action, arn, target, &context).may_become_allowed();
        self.enforce(action, arn, &decision)
    }

    pub fn of_bucket(&self, action: &str, guarded: &JudgedBucket) -> Result<(), Fault> {
        self.enforce(action, &guarded.arn(), &self.decide_on_bucket(action, guarded))
    }

    pub(super) fn decide_on_bucket(&self, action: &str, guarded: &JudgedBucket) -> Decision {
        let target = Target::Bucket(guarded.target(None));
        self.asking.decide(action, &guarded.arn(), target, &self.context_of(guarded))
    }

    /// Decides whether the caller may learn that an object is absent: only if it may list the bucket with the object's
    /// whole key as the prefix.
    pub fn of_absent(&self, guarded: &JudgedBucket, key: &str) -> Result<(), Fault> {
        self.enforce(LIST, &guarded.arn(), &self.decide_on_absent(guarded, key))
    }

    pub(super) fn decide_on_absent(&self, guarded: &JudgedBucket, key: &str) -> Decision {
        let mut context = self.context_of(guarded);
        context.set("s3:prefix", Some(key.to_owned()));
        self.asking.decide(LIST, &guarded.arn(), Target::Bucket(guarded.target(None)), &context)
    }

    fn context_of(&self, guarded: &JudgedBucket) -> Context {
        let mut context = Context::over(&self.context);
        context.add_lower("s3:resourceaccount", guarded.owner.id.as_str());
        context.add_lower("aws:resourceaccount", guarded.owner.id.as_str());
        context
    }

    /// Decides on an action of a write. For the ACL and the tags that the write sets, the writer counts as the object's
    /// owner. The write itself and its retention are for the bucket's owner to grant.
    pub fn of_written(&self, action: &str, guarded: &JudgedBucket, key: &str) -> Result<(), Fault> {
        if !OF_WRITER.contains(&action) {
            return self.of_object(action, guarded, key, None);
        }
        let account = self.asking.principal().account();
        let owner = account.map_or_else(|| ANONYMOUS.to_owned(), |account| account.canonical_id.clone());
        let subject = Subject { owner, ..Subject::default() };
        let arn = guarded.arn_of(key);
        let decision = self.decide_on_object(action, guarded, &arn, Some(&subject));
        // An anonymous writer owns what it wrote, unless a policy denies this action.
        let owned = account.is_none() && matches!(decision.reason, Reason::NotAllowedBy(_));
        if owned { Ok(()) } else { self.enforce(action, &arn, &decision) }
    }

    pub fn of_object(
        &self,
        action: &str,
        guarded: &JudgedBucket,
        key: &str,
        subject: Option<&Subject>,
    ) -> Result<(), Fault> {
        let arn = guarded.arn_of(key);
        let decision = self.decide_on_object(action, guarded, &arn, subject);
        self.enforce(action, &arn, &decision)
    }

    pub(super) fn decide_on_object(
        &self,
        action: &str,
        guarded: &JudgedBucket,
        arn: &str,
        subject: Option<&Subject>,
    ) -> Decision {
        let mut context = self.context_of(guarded);
        add_existing_tags(&mut context, action, subject);
        let target = Target::Bucket(guarded.target(subject.map(Subject::object)));
        self.asking.decide(action, arn, target, &context)
    }

    /// Logs and returns the refusal of an anonymous caller whose operation needs an account.
    pub fn needs_account(&self, operation: &str) -> Fault {
        tracing::info!(
            target: "access",
            request_id = %self.request_id,
            who = "anonymous",
            action = operation,
            reason = %Reason::NeedsAccount,
            "access denied"
        );
        Fault::AccessDenied("Access Denied")
    }

    /// Converts a decision to a result, and logs a denial's reason under the request's id.
    fn enforce(&self, action: &str, resource: &str, decision: &Decision) -> Result<(), Fault> {
        if decision.allowed {
            return Ok(());
        }
        tracing::info!(
            target: "access",
            request_id = %self.request_id,
            who = self.asking.principal().arn().unwrap_or_else(|| "anonymous".to_owned()),
            action,
            resource,
            reason = %decision.reason,
            "access denied"
        );
        Err(Fault::AccessDenied("Access Denied"))
    }
}

/// Adds the tags of the existing object as condition keys. For GetObjectAttributes S3 does not evaluate them.
fn add_existing_tags(context: &mut Context, action: &str, subject: Option<&Subject>) {
    let tagged = subject.filter(|_| !action.starts_with("s3:GetObjectAttributes"));
    for (name, value) in tagged.map(|subject| subject.tags.as_slice()).unwrap_or_default() {
        context.add(&format!("s3:ExistingObjectTag/{name}"), value.as_str());
    }
}

impl JudgedBucket {
    pub(super) fn arn(&self) -> String {
        format!("arn:aws:s3:::{}", self.row.bucket.name)
    }

    pub(super) fn arn_of(&self, key: &str) -> String {
        format!("arn:aws:s3:::{}/{key}", self.row.bucket.name)
    }

    pub(super) fn policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }

    fn target<'a>(&'a self, object: Option<Object<'a>>) -> Bucket<'a> {
        Bucket {
            owner: &self.owner,
            policy: self.policy.as_deref().map(|policy| ResourcePolicy { policy, ids: &self.access.policy_ids }),
            policy_binds_root: self.access.policy_binds_root,
            acl: self.access.acl.as_ref(),
            ownership: self.access.ownership(),
            block: self.access.block(),
            object,
        }
    }
}

/// A request's judge and bucket, by which an operation decides on what its body names.
#[derive(Clone)]
pub struct Authority {
    pub judge: Arc<Judge>,
    pub guarded: Arc<JudgedBucket>,
}

/// The condition keys of one of the many objects of a request. They replace those of its head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectKeys {
    pub version: Option<String>,
    pub if_match: Option<String>,
}

impl Authority {
    /// Returns the context that is the same for all objects of the request.
    pub fn context(&self) -> Context {
        self.judge.context_of(&self.guarded)
    }

    /// Prepares the decision on one action for many objects.
    pub fn on_each<'a>(&'a self, action: &'static str, context: &'a Context) -> OnEach<'a> {
        let target = Target::Bucket(self.guarded.target(None));
        OnEach { authority: self, action, prepared: self.judge.asking.prepare(action, "", target, context) }
    }

    pub fn subject(&self, key: &str, pick: Pick) -> S3Result<Option<Subject>> {
        self.judge.subject(&self.guarded, key, pick)
    }

    /// Decides on an action on an object, with the condition keys of the request's body.
    pub fn may_to_object(&self, action: &str, key: &str, pick: Pick, keys: &Context) -> S3Result<()> {
        let subject = self.judge.subject(&self.guarded, key, pick)?;
        Ok(self.judge.with_body_keys(keys).of_object(action, &self.guarded, key, subject.as_ref())?)
    }

    /// Decides on an action on the bucket, with the condition keys of the request's body.
    pub fn may_to_bucket(&self, action: &str, keys: &Context) -> S3Result<()> {
        Ok(self.judge.with_body_keys(keys).of_bucket(action, &self.guarded)?)
    }
}

/// A prepared decision on one action, made for each of many objects.
pub struct OnEach<'a> {
    authority: &'a Authority,
    action: &'static str,
    prepared: Prepared<'a>,
}

impl OnEach<'_> {
    pub fn may(&self, key: &str, subject: Option<&Subject>, keys: &ObjectKeys) -> Result<(), Fault> {
        let Authority { judge, guarded } = self.authority;
        let mut context = Context::default();
        context.set("s3:VersionId", keys.version.clone());
        context.set("s3:if-match", keys.if_match.clone());
        add_existing_tags(&mut context, self.action, subject);
        let resource = guarded.arn_of(key);
        let decision = self.prepared.decide_on(&resource, subject.map(Subject::object), &context);
        judge.enforce(self.action, &resource, &decision)
    }
}
