//! Who may do what, and what is refused before an operation begins: the secrets for s3s to verify signatures with; who
//! asks, and whether the policies and grants let it (`judge`, over `policy`); operations and features that do not exist
//! here.

pub mod caller;
mod conditions;
mod explain;
mod judge;
pub mod judged;
pub mod moment;
mod request;
mod said;
mod unsupported;

pub use explain::{BucketShown, Explained, ObjectShown, StatementShown, Supposed, Unexplained, explain};
pub use judge::{Authority, Guarded, Judge, OnEach, Said, Subject};

use super::errors::Fault;
use super::objects::tags::{OfNewBucket, of_new_bucket};
use super::settings::told::{Origin, TlsVersion};
use crate::actors::gateway::{Gateway, StoreError};
use crate::actors::meta::{MetaView, Pick};
use crate::api::iam::{IamService, request_keys};
use crate::api::identity::{
    Asking, IdentityError, PrincipalKind, ResolveError, Resolved, TokenFault, resolve, secret_key,
};
use crate::api::policy::Context;
use crate::api::request_log::RequestTrace;
use crate::api::room::Seat;
use crate::api::wire::{Renaming, Verified, signer};
use caller::Caller;
use http::{HeaderMap, Uri, header};
use judged::Judged;
use request::Request;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{
    CreateBucketInput, PutBucketInventoryConfigurationInput, PutBucketTaggingInput, PutObjectLegalHoldInput,
    PutObjectRetentionInput, PutObjectTaggingInput,
};
use s3s::{S3Error, S3Request, S3Result};
use std::fmt;
use std::sync::Arc;

/// The store's one key.
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

/// Operations that exist here; s3s knows more.
const OPERATIONS: [&str; 89] = [
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucket",
    "DeleteBucketAnalyticsConfiguration",
    "DeleteBucketCors",
    "DeleteBucketEncryption",
    "DeleteBucketIntelligentTieringConfiguration",
    "DeleteBucketInventoryConfiguration",
    "DeleteBucketLifecycle",
    "DeleteBucketMetricsConfiguration",
    "DeleteBucketOwnershipControls",
    "DeleteBucketPolicy",
    "DeleteBucketReplication",
    "DeleteBucketTagging",
    "DeleteBucketWebsite",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjects",
    "DeletePublicAccessBlock",
    "GetBucketAccelerateConfiguration",
    "GetBucketAcl",
    "GetBucketAnalyticsConfiguration",
    "GetBucketCors",
    "GetBucketEncryption",
    "GetBucketIntelligentTieringConfiguration",
    "GetBucketInventoryConfiguration",
    "GetBucketLifecycleConfiguration",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketMetricsConfiguration",
    "GetBucketNotificationConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketReplication",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectLockConfiguration",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetPublicAccessBlock",
    "HeadBucket",
    "HeadObject",
    "ListBucketAnalyticsConfigurations",
    "ListBucketIntelligentTieringConfigurations",
    "ListBucketInventoryConfigurations",
    "ListBucketMetricsConfigurations",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PutBucketAccelerateConfiguration",
    "PutBucketAcl",
    "PutBucketAnalyticsConfiguration",
    "PutBucketCors",
    "PutBucketEncryption",
    "PutBucketIntelligentTieringConfiguration",
    "PutBucketInventoryConfiguration",
    "PutBucketLifecycleConfiguration",
    "PutBucketLogging",
    "PutBucketMetricsConfiguration",
    "PutBucketNotificationConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutBucketWebsite",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectLockConfiguration",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutPublicAccessBlock",
    "RenameObject",
    "UploadPart",
    "UploadPartCopy",
];

/// Who asks, and whether it may: what s3s verifies signatures with, and what every request passes after its signature was
/// verified.
#[derive(Clone)]
pub struct Gate {
    gateway: Gateway,
    iam: Arc<IamService>,
    secure: bool,
}

impl Gate {
    pub fn new(gateway: Gateway, iam: Arc<IamService>, secure: bool) -> Self {
        Self { gateway, iam, secure }
    }

    async fn view(&self) -> S3Result<MetaView> {
        Ok(moment::judged(&self.gateway, self.iam.ambient.clock.monotonic()).await?)
    }

    /// Who asks with this key. Nobody in particular where nobody signed.
    async fn judge(&self, cx: &mut S3AccessContext<'_>, access_key: Option<&str>) -> S3Result<Known> {
        let view = self.view().await?;
        let now = self.iam.ambient.clock.unix_ms();
        let resolved = match access_key {
            None => None,
            Some(access_key) => {
                let token = token(cx.headers(), cx.uri());
                let directory = self.iam.directory(&view);
                let resolved = resolve(&directory, self.iam.locksmith(), access_key, token.as_deref(), now);
                self.iam.last_used.note(access_key, "s3", now);
                Some(resolved.map_err(refusal)?)
            }
        };
        let asking = match &resolved {
            Some(resolved) => Asking::of(resolved, &self.iam.parsed).map_err(|error| internal(&error))?,
            None => Asking::anonymous(),
        };
        let origin = Origin::of(cx.extensions_mut());
        // What went around s3s has its signature no more.
        let signed = cx.extensions_mut().get::<Verified>().and_then(|verified| verified.signed.clone());
        let mut judge = self.before(asking, view, cx.headers(), cx.uri(), origin);
        conditions::add_creation(&mut judge.context, cx.s3_op().name());
        let (headers, uri) = signed.as_ref().map_or((cx.headers(), cx.uri()), |head| (&head.headers, &head.uri));
        conditions::add_signature(&mut judge.context, headers, uri, now);
        if let Some(region) = access_key.and_then(|_| conditions::signed_region(headers, uri)) {
            judge.context.set("aws:RequestedRegion", Some(region));
        }
        if let Some(TlsVersion(version)) = cx.extensions_mut().get::<TlsVersion>() {
            judge.context.add("s3:TlsVersion", *version);
        }
        Ok(Known { judge: Arc::new(judge), resolved })
    }

    /// Whether the body's part of a request is allowed, by the present if it came slowly.
    async fn authority<T>(&self, request: &mut S3Request<T>) -> S3Result<Authority> {
        judged::of_now(&self.gateway, &*self.iam.ambient.clock, request).await?;
        let authority = request.extensions.get::<Authority>().cloned();
        Ok(authority.ok_or(Fault::AccessDenied("Access Denied"))?)
    }

    async fn ask_of_object<T>(
        &self,
        request: &mut S3Request<T>,
        action: &str,
        key: &str,
        said: &Context,
    ) -> S3Result<()> {
        let authority = self.authority(request).await?;
        // A name that no version has is for the operation to say.
        let version = conditions::parameter(&request.uri, "versionId");
        let pick = version.map_or(Some(Pick::Current), |name| Pick::parse(&name)).unwrap_or(Pick::Null);
        authority.may_to_object(action, key, pick, said)
    }

    /// Nobody in particular, who asks for something outside s3s. Of the head only what any browser says counts:
    /// parameters mean nothing there, and a signature that nobody looks at can meet no condition.
    pub async fn anonymous(&self, headers: &HeaderMap, origin: Origin) -> S3Result<Arc<Judge>> {
        let view = self.gateway.meta().read().await?;
        let told = [header::REFERER, header::USER_AGENT].into_iter().filter_map(|name| {
            let value = headers.get(&name)?.clone();
            Some((name, value))
        });
        let told = HeaderMap::from_iter(told);
        Ok(Arc::new(self.before(Asking::anonymous(), view, &told, &Uri::default(), origin)))
    }

    /// Who asks, with all that the request says.
    fn before(&self, asking: Asking, view: MetaView, headers: &HeaderMap, uri: &Uri, origin: Origin) -> Judge {
        let now = self.iam.ambient.clock.unix_ms();
        let source_ip = Some(origin.source_ip).filter(|address| !address.is_empty());
        let facts = conditions::facts(headers, source_ip, self.secure, &self.iam.region);
        let mut context = asking.context();
        context.extend(request_keys(&facts, now));
        conditions::add(&mut context, headers, uri, now);
        let request_id = origin.request_id;
        Judge { asking: Arc::new(asking), context, view, iam: Arc::clone(&self.iam), request_id }
    }
}

/// A request whose sender is known, or known to be nobody.
struct Known {
    judge: Arc<Judge>,
    resolved: Option<Resolved>,
}

fn token(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let in_header = headers.get("x-amz-security-token").and_then(|token| token.to_str().ok());
    let token = in_header.map(str::to_owned).or_else(|| conditions::parameter(uri, "X-Amz-Security-Token"));
    token.filter(|token| !token.is_empty())
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
impl S3Auth for Gate {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.iam.root.access_key {
            return Ok(SecretKey::from(self.iam.root.secret_key.as_str()));
        }
        let view = self.view().await?;
        let now = self.iam.ambient.clock.unix_ms();
        let secret = secret_key(&self.iam.directory(&view), self.iam.locksmith(), access_key, now);
        Ok(SecretKey::from(secret.map_err(refusal)?.as_str()))
    }
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        // To s3s a rename is a copy.
        let renames = cx.extensions_mut().get::<Renaming>().is_some();
        let name = if renames { "RenameObject" } else { cx.s3_op().name() };
        let operation = OPERATIONS.iter().copied().find(|known| *known == name);
        let refused = Fault::NotImplemented(format!("The operation {name} is not implemented."));
        let bucket = cx.s3_path().get_bucket_name().map(str::to_owned);
        let key = cx.s3_path().get_object_key().map(str::to_owned);
        let signer = signer(cx);
        let access_key = signer.as_ref().ok().cloned().flatten();
        if let Some(trace) = cx.extensions_mut().get::<Arc<RequestTrace>>() {
            trace.resolved(operation.unwrap_or("Other"), bucket.clone(), key.clone(), access_key.clone());
        }
        signer?;
        let known = self.judge(cx, access_key.as_deref()).await?;
        if let (Some(resolved), Some(trace)) = (&known.resolved, cx.extensions_mut().get::<Arc<RequestTrace>>()) {
            trace.asked_by(requester(resolved));
        }
        if let (Some(resolved), Some(seat)) = (&known.resolved, cx.extensions_mut().get::<Arc<Seat>>()) {
            seat.of_account(&resolved.principal.canonical_id);
        }
        let Some(operation) = operation else {
            let anonymous = known.resolved.is_none();
            return Err(if anonymous { Fault::AccessDenied("Access Denied") } else { refused }.into());
        };
        if known.resolved.is_none() && conditions::overrides_answer(cx.uri()) {
            let why = "Request specific response headers cannot be used for anonymous GET requests.";
            return Err(Fault::InvalidRequest(why.to_owned()).into());
        }
        unsupported::check(operation, cx.headers())?;
        let asks = conditions::asks(operation, cx.headers(), cx.uri());
        let question = Request { operation, bucket: bucket.as_deref(), key: key.as_deref(), asks };
        let guarded = question.check(&known.judge, cx.headers(), cx.uri())?;
        cx.extensions_mut().insert(caller(&known, asks.bypass));
        if let Some(guarded) = guarded {
            cx.extensions_mut().insert(Authority { judge: Arc::clone(&known.judge), guarded: Arc::new(guarded) });
        }
        cx.extensions_mut().insert(Judged { operation, bucket, key, asks, judge: known.judge });
        Ok(())
    }

    // What of a body policies may ask about: `check` does not see it.

    async fn create_bucket(&self, request: &mut S3Request<CreateBucketInput>) -> S3Result<()> {
        let judged = request.extensions.get::<Judged>().ok_or(Fault::AccessDenied("Access Denied"))?;
        let tags = of_new_bucket(&request.extensions)?;
        let said = said::of_new_bucket(request.input.create_bucket_configuration.as_ref(), &tags);
        let bucket = format!("arn:aws:s3:::{}", request.input.bucket);
        let judge = judged.judge.saying(&said);
        judge.of_account("s3:CreateBucket", &bucket)?;
        if !tags.is_empty() {
            judge.of_account("s3:TagResource", &bucket)?;
        }
        request.extensions.insert(OfNewBucket(tags));
        Ok(())
    }

    async fn put_bucket_inventory_configuration(
        &self,
        request: &mut S3Request<PutBucketInventoryConfigurationInput>,
    ) -> S3Result<()> {
        let said = said::of_inventory(&request.input.inventory_configuration);
        self.authority(request).await?.may_to_bucket("s3:PutInventoryConfiguration", &said)
    }

    async fn put_bucket_tagging(&self, request: &mut S3Request<PutBucketTaggingInput>) -> S3Result<()> {
        let said = said::of_bucket_tags(&request.input.tagging);
        self.authority(request).await?.may_to_bucket("s3:PutBucketTagging", &said)
    }

    async fn put_object_legal_hold(&self, request: &mut S3Request<PutObjectLegalHoldInput>) -> S3Result<()> {
        let (key, said) = (request.input.key.clone(), said::of_legal_hold(request.input.legal_hold.as_ref()));
        self.ask_of_object(request, "s3:PutObjectLegalHold", &key, &said).await
    }

    async fn put_object_retention(&self, request: &mut S3Request<PutObjectRetentionInput>) -> S3Result<()> {
        let now = self.iam.ambient.clock.unix_ms();
        let (key, said) = (request.input.key.clone(), said::of_retention(request.input.retention.as_ref(), now));
        self.ask_of_object(request, "s3:PutObjectRetention", &key, &said).await
    }

    async fn put_object_tagging(&self, request: &mut S3Request<PutObjectTaggingInput>) -> S3Result<()> {
        if request.headers.contains_key(s3s::header::X_AMZ_TAGGING) {
            let why =
                "The tags of an object that is there are given by the body, and not by the header 'x-amz-tagging'.";
            return Err(Fault::InvalidRequest(why.to_owned()).into());
        }
        let has_version = conditions::parameter(&request.uri, "versionId").is_some();
        let action = if has_version { "s3:PutObjectVersionTagging" } else { "s3:PutObjectTagging" };
        let (key, said) = (request.input.key.clone(), said::of_object_tags(&request.input.tagging));
        self.ask_of_object(request, action, &key, &said).await
    }
}

/// As access logs call who asks: an account by its canonical id, anybody within it by name.
fn requester(resolved: &Resolved) -> String {
    let principal = &resolved.principal;
    if principal.kind == PrincipalKind::Root { principal.canonical_id.clone() } else { principal.arn.clone() }
}

fn caller(known: &Known, bypass_governance: bool) -> Caller {
    match &known.resolved {
        Some(resolved) => Caller {
            account: Some(resolved.principal.canonical_id.clone()),
            display_name: resolved.principal.account_name.clone(),
            bypass_governance,
        },
        None => Caller { account: None, display_name: String::new(), bypass_governance: false },
    }
}
