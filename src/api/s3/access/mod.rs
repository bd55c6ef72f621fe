//! Access control of S3 requests, before an operation begins: the secrets that verify signatures; the caller; whether
//! policies and grants allow the request (`judge`, which calls `policy`); the refusal of operations and features that
//! are not implemented.

mod body_values;
mod condition_values;
mod explain;
mod holders;
mod judge;
mod judged;
mod memos;
mod parameters;
mod request;
mod source;
mod unsupported;

pub use explain::{BucketJson, Explained, HypotheticalRequest, ObjectJson, StatementJson, Unexplained, explain};
pub use judge::{Authority, Judge, ObjectKeys, OnEach, Subject};
pub use memos::{JudgedBucket, KeyHolder, Memos};

use super::caller::Caller;
use super::tags::of_new_bucket;
use super::{OPERATIONS, refuse};
use crate::actors::gateway::{Gateway, StoreError};
use crate::actors::meta::MetaView;
use crate::api::auth::Secrets;
use crate::api::call::{Call, Origin, RequestTrace, RequestView, TlsVersion};
use crate::api::errors::Fault;
use crate::api::iam::{IamService, request_keys};
use crate::api::identity::{Asking, IdentityError, ResolveError, Resolved, TokenFault, is_session_key};
use crate::api::policy::Context;
use crate::api::rates::{Admitted, Limited, OverLimit, RateLimiter, RateLimits, Rates};
use crate::types::UnixMs;
use holders::{HolderError, Holders};
use http::{HeaderMap, HeaderName, Uri, header};
pub use judged::Access;
use judged::{ArrivalTime, Judged};
use request::{Request, version_of};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SecretKey;
use s3s::dto::{
    CreateBucketInput, PutBucketInventoryConfigurationInput, PutBucketTaggingInput, PutObjectLegalHoldInput,
    PutObjectRetentionInput, PutObjectTaggingInput,
};
use s3s::{S3Error, S3Request, S3Result};
use source::Source;
use std::fmt;
use std::sync::Arc;

/// The root user's access key.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The access check, which every request passes after its signature was verified. It also looks up the secrets that
/// verify signatures.
#[derive(Clone)]
pub struct Gate {
    gateway: Gateway,
    iam: Arc<IamService>,
    memos: Arc<Memos>,
    secure: bool,
    limiter: Arc<RateLimiter>,
}

impl Gate {
    pub fn new(gateway: Gateway, iam: Arc<IamService>, memos: Arc<Memos>, secure: bool) -> Self {
        let limiter = Arc::new(RateLimiter::new(Arc::clone(&iam.ambient.clock)));
        Self { gateway, iam, memos, secure, limiter }
    }

    /// Admits a request by the rate limits of its account or its bucket. Returns `None` if there are no limits, and
    /// SlowDown if the request exceeds one.
    fn admit(
        &self,
        view: &MetaView,
        limits: RateLimits,
        limited: impl FnOnce() -> Limited,
    ) -> S3Result<Option<Admitted>> {
        if limits.is_unlimited() {
            return Ok(None);
        }
        let shares = self.limiter.shares(|| self.gateway.serving_hosts(view))?;
        let admitted = self.limiter.admit(limited(), limits, shares);
        Ok(Some(admitted.map_err(|OverLimit| Fault::SlowDown("The account or the bucket is over a limit of its requests or bytes: try again later, with fewer requests at a time.".to_owned()))?))
    }

    /// Admits an anonymous request by the rate limits of its bucket, once.
    pub fn admit_anonymous(&self, view: &MetaView, guarded: &JudgedBucket, trace: &RequestTrace) -> S3Result<()> {
        if trace.rates().is_some() {
            return Ok(());
        }
        let admitted = self.admit(view, guarded.rates, || Limited::Bucket(guarded.row.bucket.id))?;
        if let Some(admitted) = admitted {
            trace.set_rates(Rates::new(vec![admitted], true));
        }
        Ok(())
    }

    fn holders<'a>(&'a self, view: &'a MetaView, now: UnixMs) -> Holders<'a> {
        Holders { iam: &self.iam, memos: &self.memos, view, now }
    }

    async fn view(&self, view: &RequestView) -> S3Result<MetaView> {
        Ok(view.get(&self.gateway).await?)
    }

    /// Identifies the caller of a request from its access key, by the present metadata, and makes the request's judge.
    /// `now` is the arrival time of the request. A request without a signature is anonymous.
    async fn identify(&self, head: Head<'_>, call: &Call, now: UnixMs) -> S3Result<Identified> {
        let Head { operation, source, headers, uri } = head;
        let access_key = call.authentication.access_key.as_deref();
        let view = self.view(&call.view).await?;
        let holder = match access_key {
            None => None,
            Some(access_key) => {
                let token = token(headers, uri);
                let holder = self.holders(&view, now).holder(access_key, token.as_deref());
                self.iam.last_used.note(access_key, "s3", self.iam.ambient.clock.unix_ms());
                Some(holder.map_err(unknown)?)
            }
        };
        let asking = match &holder {
            Some(holder) => Arc::clone(&holder.identity).into(),
            None => Asking::anonymous(),
        };
        let mut judge = self.judge_of_request((asking, now), view, headers, uri, &call.origin);
        let context = Arc::make_mut(&mut judge.context);
        condition_values::add_creation(context, operation);
        condition_values::add_tags(context, operation, headers);
        if let Some(source) = source {
            context.add_lower("s3:x-amz-copy-source", source.text());
        }
        if let Some(signature) = &call.authentication.signature {
            condition_values::add_signature(context, signature, now);
        }
        if let Some(TlsVersion(version)) = call.origin.tls {
            context.add("s3:TlsVersion", version);
        }
        Ok(Identified { judge: Arc::new(judge), holder })
    }

    /// Judges the head of a request: identifies the caller, and checks that the operation is implemented and allowed.
    pub async fn decide(&self, asked: Asked<'_>, call: &Call) -> S3Result<Access> {
        let span = call.trace.spans().begin("authorize");
        let decided = self.decide_on(asked, call).await;
        if let (Err(error), true) = (&decided, span.is_on()) {
            span.set("error.type", error.code().as_str().to_owned());
        }
        decided
    }

    async fn decide_on(&self, asked: Asked<'_>, call: &Call) -> S3Result<Access> {
        let Asked { name, bucket, key, renamed, headers, uri } = asked;
        let operation = OPERATIONS.iter().copied().find(|known| *known == name);
        let refused = || Fault::NotImplemented(format!("The operation {name} is not implemented."));
        let (bucket, key) = (bucket.map(str::to_owned), key.map(str::to_owned));
        let access_key = call.authentication.access_key.clone();
        call.trace.set_operation(operation.unwrap_or("Other"), bucket.clone(), key.clone(), access_key);
        let came = ArrivalTime::now(&*self.iam.ambient.clock);
        let source = renamed.map(|source| Source::renamed(bucket.as_deref().unwrap_or_default(), source));
        let known =
            self.identify(Head { operation: name, source: source.as_ref(), headers, uri }, call, came.wall).await?;
        if let Some(resolved) = known.resolved() {
            call.trace.set_principal(&resolved.principal);
            call.seat.of_account(&resolved.access_key, &resolved.principal.canonical_id).await;
        }
        // An account's requests count against its limits even if they are refused. A bucket's limits count only
        // requests that policies allow, or anybody could exhaust them.
        let of_account = match &known.holder {
            Some(holder) => self.admit(&known.judge.view, holder.rates, || {
                Limited::Account(holder.resolved.principal.account.as_str().into())
            })?,
            None => None,
        };
        let Some(operation) = operation else {
            let anonymous = known.resolved().is_none();
            return Err(if anonymous { Fault::AccessDenied("Access Denied") } else { refused() }.into());
        };
        if known.resolved().is_none() && !call.overrides.is_empty() {
            let why = "Request specific response headers cannot be used for anonymous GET requests.";
            return Err(Fault::InvalidRequest(why.to_owned()).into());
        }
        unsupported::check(operation, headers)?;
        let asks = condition_values::asks(operation, headers, uri);
        let (of_bucket, of_key) = (bucket.as_deref(), key.as_deref());
        let question = Request { operation, bucket: of_bucket, key: of_key, source: source.as_ref(), asks };
        let guarded = question.check(&known.judge, headers, uri)?;
        parameters::check(operation, headers, uri)?;
        let is_streamed = matches!(operation, "PutObject" | "UploadPart");
        let of_bucket = match &guarded {
            Some(guarded) => self.admit(&known.judge.view, guarded.rates, || Limited::Bucket(guarded.row.bucket.id))?,
            None => None,
        };
        if of_account.is_some() || of_bucket.is_some() {
            call.trace.set_rates(Rates::new(of_account.into_iter().chain(of_bucket).collect(), is_streamed));
        }
        let authority = guarded.map(|guarded| Authority { judge: Arc::clone(&known.judge), guarded });
        let caller = caller(&known, asks.bypass);
        let head_of_stream = is_streamed.then(|| Arc::new((headers.clone(), uri.clone())));
        let (gate, judge) = (self.clone(), known.judge);
        let judged = Judged { gate, came, operation, bucket, key, source, asks, judge, head_of_stream };
        Ok(Access::new(caller, authority, judged))
    }

    /// Returns the rights by which the body of a request is decided on. If the body came slowly, the head is decided on
    /// again first.
    async fn authority<T>(&self, request: &mut S3Request<T>) -> S3Result<Authority> {
        let (_, access) = self.renewed(request).await?;
        let authority = access.authority.clone();
        request.extensions.insert(access);
        Ok(authority.ok_or(Fault::AccessDenied("Access Denied"))?)
    }

    /// Takes the decision out of a request whose body has arrived, and renews it if it is too old.
    async fn renewed<T>(&self, request: &mut S3Request<T>) -> S3Result<(Call, Access)> {
        let call = Call::of(&request.extensions);
        let mut access = request.extensions.remove::<Access>().unwrap_or_default();
        access.renew(&call, &request.headers, &request.uri).await?;
        Ok((call, access))
    }

    async fn may_create(&self, request: &mut S3Request<CreateBucketInput>) -> S3Result<()> {
        let (call, access) = self.renewed(request).await?;
        let judged = access.judged.as_ref().ok_or(Fault::AccessDenied("Access Denied"))?;
        let tags = of_new_bucket(&call)?;
        let body_keys = body_values::of_new_bucket(request.input.create_bucket_configuration.as_ref(), &tags);
        let bucket = format!("arn:aws:s3:::{}", request.input.bucket);
        let judge = judged.judge.with_body_keys(&body_keys);
        request.extensions.insert(access);
        judge.of_account("s3:CreateBucket", &bucket)?;
        if !tags.is_empty() {
            judge.of_account("s3:TagResource", &bucket)?;
        }
        Ok(())
    }

    async fn ask_of_bucket<T>(&self, request: &mut S3Request<T>, action: &str, body_keys: &Context) -> S3Result<()> {
        let decided = self.authority(request).await.and_then(|authority| authority.may_to_bucket(action, body_keys));
        decided.map_err(|error| refused(request, error))
    }

    async fn ask_of_object<T>(
        &self,
        request: &mut S3Request<T>,
        action: &str,
        key: &str,
        body_keys: &Context,
    ) -> S3Result<()> {
        let pick = version_of(&request.uri);
        let authority = self.authority(request).await;
        let decided = authority.and_then(|authority| authority.may_to_object(action, key, pick, body_keys));
        decided.map_err(|error| refused(request, error))
    }

    /// Returns the judge of an anonymous request outside s3s. Of its head only the referrer and the user agent become
    /// condition keys: parameters have no meaning there, and an unverified signature must not satisfy a condition.
    pub async fn anonymous(&self, headers: &HeaderMap, origin: &Origin) -> S3Result<Arc<Judge>> {
        let view = self.gateway.meta().read().await?;
        let counted = [header::REFERER, header::USER_AGENT].into_iter().filter_map(|name| {
            let value = headers.get(&name)?.clone();
            Some((name, value))
        });
        let counted = HeaderMap::from_iter(counted);
        let now = self.iam.ambient.clock.unix_ms();
        Ok(Arc::new(self.judge_of_request((Asking::anonymous(), now), view, &counted, &Uri::default(), origin)))
    }

    /// Makes the judge of a request from the caller, the arrival time, and the condition keys of the head.
    fn judge_of_request(
        &self,
        (asking, now): (Asking, UnixMs),
        view: MetaView,
        headers: &HeaderMap,
        uri: &Uri,
        origin: &Origin,
    ) -> Judge {
        let source_ip = origin.source_ip.map(|address| address.to_string());
        let facts = condition_values::facts(headers, source_ip, self.secure, &self.iam.region);
        let mut context = asking.context();
        for (key, value) in request_keys(facts, now) {
            context.add_lower(key, value);
        }
        condition_values::add_from_head(&mut context, headers, uri, now);
        let request_id = Arc::clone(&origin.request_id);
        let (asking, context) = (Arc::new(asking), Arc::new(context));
        Judge { asking, context, view, iam: Arc::clone(&self.iam), memos: Arc::clone(&self.memos), request_id }
    }
}

/// A routed request: the operation's name, its resource, and the head.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    name: &'a str,
    bucket: Option<&'a str>,
    key: Option<&'a str>,
    /// The source key of a rename.
    renamed: Option<&'a str>,
    headers: &'a HeaderMap,
    uri: &'a Uri,
}

impl<'a> Asked<'a> {
    /// Returns a rename of the key `source` to another key of the same bucket.
    pub fn of_rename((bucket, key): (&'a str, &'a str), source: &'a str, headers: &'a HeaderMap, uri: &'a Uri) -> Self {
        Self { name: "RenameObject", bucket: Some(bucket), key: Some(key), renamed: Some(source), headers, uri }
    }
}

/// The part of a request's head that a judge reads.
#[derive(Clone, Copy)]
struct Head<'a> {
    operation: &'a str,
    /// The source of a rename. Only that of a copy is in `x-amz-copy-source`.
    source: Option<&'a Source>,
    headers: &'a HeaderMap,
    uri: &'a Uri,
}

/// A request with its caller identified. An anonymous one has no holder.
struct Identified {
    judge: Arc<Judge>,
    holder: Option<Arc<KeyHolder>>,
}

impl Identified {
    fn resolved(&self) -> Option<&Resolved> {
        self.holder.as_ref().map(|holder| &holder.resolved)
    }
}

fn token(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let in_header = headers.get(SECURITY_TOKEN).and_then(|token| token.to_str().ok());
    let token = in_header.map(str::to_owned).or_else(|| condition_values::parameter(uri, "X-Amz-Security-Token"));
    token.filter(|token| !token.is_empty())
}

fn unknown(error: HolderError) -> S3Error {
    match error {
        HolderError::Unknown(error) => refusal(error),
        HolderError::Unreadable(error) => internal(&error),
    }
}

fn refusal(error: ResolveError) -> S3Error {
    match error {
        ResolveError::UnknownKey => Fault::InvalidAccessKey.into(),
        ResolveError::Token(TokenFault::Invalid) => Fault::InvalidToken.into(),
        ResolveError::Token(TokenFault::Expired) => Fault::ExpiredToken.into(),
        ResolveError::Directory(error) => internal(&error),
    }
}

fn internal(error: &IdentityError) -> S3Error {
    match error {
        IdentityError::Unavailable(why) => StoreError::Unavailable { why: why.clone() }.into(),
        other => StoreError::Internal { why: other.to_string() }.into(),
    }
}

#[async_trait::async_trait]
impl Secrets for Gate {
    async fn secret_key(&self, access_key: &str, view: &RequestView) -> Result<SecretKey, S3Error> {
        if access_key == self.iam.root.access_key {
            return Ok(SecretKey::from(self.iam.root.secret_key.as_str()));
        }
        let view = self.view(view).await?;
        let now = self.iam.ambient.clock.unix_ms();
        if is_session_key(access_key) {
            return Ok(SecretKey::from(self.iam.sessions.secret_of(access_key)));
        }
        let secret = self.holders(&view, now).secret(access_key).map_err(refusal)?;
        Ok(SecretKey::from(secret.secret_key.as_str()))
    }
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let call = cx.extensions_mut().remove::<Call>().unwrap_or_default();
        let path = cx.s3_path();
        let (bucket, key) = (path.get_bucket_name(), path.get_object_key());
        let (headers, uri) = (cx.headers(), cx.uri());
        let asked = Asked { name: cx.s3_op().name(), bucket, key, renamed: None, headers, uri };
        match self.decide(asked, &call).await {
            Ok(access) => {
                cx.extensions_mut().insert(access);
                cx.extensions_mut().insert(call);
                Ok(())
            }
            Err(error) => Err(refuse(&call.trace, error)),
        }
    }

    // Operations whose bodies have condition keys. `check` does not see the body.

    async fn create_bucket(&self, request: &mut S3Request<CreateBucketInput>) -> S3Result<()> {
        let decided = self.may_create(request).await;
        decided.map_err(|error| refused(request, error))
    }

    async fn put_bucket_inventory_configuration(
        &self,
        request: &mut S3Request<PutBucketInventoryConfigurationInput>,
    ) -> S3Result<()> {
        let body_keys = body_values::of_inventory(&request.input.inventory_configuration);
        self.ask_of_bucket(request, "s3:PutInventoryConfiguration", &body_keys).await
    }

    async fn put_bucket_tagging(&self, request: &mut S3Request<PutBucketTaggingInput>) -> S3Result<()> {
        let body_keys = body_values::of_bucket_tags(&request.input.tagging);
        self.ask_of_bucket(request, "s3:PutBucketTagging", &body_keys).await
    }

    async fn put_object_legal_hold(&self, request: &mut S3Request<PutObjectLegalHoldInput>) -> S3Result<()> {
        let (key, body_keys) =
            (request.input.key.clone(), body_values::of_legal_hold(request.input.legal_hold.as_ref()));
        self.ask_of_object(request, "s3:PutObjectLegalHold", &key, &body_keys).await
    }

    async fn put_object_retention(&self, request: &mut S3Request<PutObjectRetentionInput>) -> S3Result<()> {
        let now = self.iam.ambient.clock.unix_ms();
        let (key, body_keys) =
            (request.input.key.clone(), body_values::of_retention(request.input.retention.as_ref(), now));
        self.ask_of_object(request, "s3:PutObjectRetention", &key, &body_keys).await
    }

    async fn put_object_tagging(&self, request: &mut S3Request<PutObjectTaggingInput>) -> S3Result<()> {
        if request.headers.contains_key(s3s::header::X_AMZ_TAGGING) {
            let why = "Give the tags of an existing object in the body, not in the header 'x-amz-tagging'.";
            return Err(refused(request, Fault::InvalidRequest(why.to_owned()).into()));
        }
        let has_version = condition_values::parameter(&request.uri, "versionId").is_some();
        let action = if has_version { "s3:PutObjectVersionTagging" } else { "s3:PutObjectTagging" };
        let (key, body_keys) = (request.input.key.clone(), body_values::of_object_tags(&request.input.tagging));
        self.ask_of_object(request, action, &key, &body_keys).await
    }
}

/// Refuses a request because of its body, and notes the error for its answer.
fn refused<T>(request: &S3Request<T>, error: S3Error) -> S3Error {
    match request.extensions.get::<Call>() {
        Some(call) => refuse(&call.trace, error),
        None => error,
    }
}

fn caller(known: &Identified, bypass_governance: bool) -> Caller {
    match known.resolved() {
        Some(resolved) => Caller {
            account: Some(resolved.principal.canonical_id.clone()),
            display_name: resolved.principal.account_name.clone(),
            bypass_governance,
        },
        None => Caller { account: None, display_name: String::new(), bypass_governance: false },
    }
}
