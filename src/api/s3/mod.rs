//! The S3 operations, one file or folder for each group. s3s parses requests to typed inputs, and writes typed outputs
//! as HTTP; here the operations are carried out. Every lookup goes through the linearizable barrier, and every change
//! is an entry of the metadata log.

mod access;
mod buckets;
mod caller;
mod checksums;
mod cors;
mod documents;
mod encryption;
mod event_drafts;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod grants;
mod host;
mod lifecycle;
mod list;
mod locks;
mod multipart;
mod object_headers;
mod objects;
mod preconditions;
mod settings;
mod tags;
mod upload_id;
mod version;
mod website;

pub use access::{
    BucketJson, Credentials, Explained, HypotheticalRequest, ObjectJson, StatementJson, Unexplained, explain,
};
pub use checksums::{of_headers as checksum_of_headers, parse_digest, parse_md5};
pub use grants::allows_acl;
pub use host::{Domains, WebsiteHosts};
pub use settings::logging::LoggedBucket;
pub use website::SiteRequest;

use crate::actors::events::Targets;
use crate::actors::gateway::{Gateway, OpenObject, Opened, StoreError};
use crate::actors::meta::{BucketRow, Change, MetaView, ObjectVersion, Reply, VersionRow};
use crate::actors::sealing::RootKeys;
use crate::ambient::Ambient;
use crate::api::auth::Secrets;
use crate::api::call::Call;
use crate::api::call::{RequestTrace, Target};
use crate::api::errors::{self, Fault};
use crate::api::iam::IamService;
use crate::api::identity::RootIdentity;
use crate::api::policy::Ownership;
use crate::limits::LIST_BODY_BYTES_MAX;
use access::{Access, Asked, Memos};
use caller::Caller;
use http::request::Parts;
use http::{HeaderMap, Method};
use objects::tagging;
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{HttpRequest, HttpResponse, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use sha2::{Digest, Sha256};
use std::ops::Deref;
use std::sync::Arc;

/// The stored owner that stands for the store's own account, whatever its canonical id is.
pub const ACCOUNT: &str = "root";

/// The context of one operation: its dependencies, the request's `Call`, and the result of the access check.
pub(crate) struct Store {
    shared: Arc<Shared>,
    /// The gateway of a request whose spans are recorded.
    traced: Option<Gateway>,
    call: Call,
    access: Access,
}

impl Deref for Store {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// Dependencies of the operations.
pub(crate) struct Shared {
    gateway: Gateway,
    ambient: Ambient,
    region: String,
    owner_id: String,
    /// The webhooks that bucket notifications can be sent to.
    targets: Targets,
    iam: Arc<IamService>,
    memos: Arc<Memos>,
    directory_root: RootIdentity,
    /// The object ownership of a new bucket whose request names none.
    new_bucket_ownership: Ownership,
    /// The root keys, which wrap the keys of objects.
    roots: Arc<RootKeys>,
    /// `https` or `http`, for the locations in answers.
    scheme: &'static str,
}

/// The settings of the S3 front.
#[derive(Clone)]
pub struct S3Settings {
    pub region: String,
    /// Domains for virtual-host addressing; may be empty.
    pub domains: Vec<String>,
    pub targets: Targets,
    pub roots: Arc<RootKeys>,
    pub iam: Arc<IamService>,
    pub new_bucket_ownership: Ownership,
    pub tls: bool,
}

/// The S3 front above its transport: the operations that s3s routes, and renames, websites and CORS, which it does not.
pub struct Service {
    s3s: S3Service,
    gate: access::Gate,
    shared: Arc<Shared>,
}

impl Service {
    /// Returns the secrets of access keys, which verify signatures.
    pub fn secrets(&self) -> Arc<dyn Secrets> {
        Arc::new(self.gate.clone())
    }

    /// Answers an authenticated request. An error is the one that the gate or the operation noted in the trace. Only an
    /// error that s3s found by itself is parsed from its answer.
    pub async fn call(&self, request: HttpRequest, call: Call) -> S3Result<HttpResponse> {
        let trace = Arc::clone(&call.trace);
        let mut request = request;
        request.extensions_mut().insert(call);
        let answered = self.s3s.call(request).await;
        match (trace.take_error(), answered) {
            (Some(error), _) => Err(error),
            (None, Ok(answer)) if answer.status().is_client_error() || answer.status().is_server_error() => {
                Err(errors::of_s3s(&answer))
            }
            (None, Ok(answer)) => Ok(tagging::without_content(list::in_order(objects::unquoted(checksums::named(
                objects::partial(answer),
            ))))),
            (None, Err(_)) => Err(Fault::Internal("The answer could not be written.".to_owned()).into()),
        }
    }

    /// Answers RenameObject, an operation that s3s does not know, for an authenticated request.
    pub async fn rename(
        &self,
        target: &Target,
        source: String,
        request: HttpRequest,
        mut call: Call,
    ) -> S3Result<HttpResponse> {
        let (Parts { uri, mut headers, .. }, _) = request.into_parts();
        let (bucket, key) = target.object(&uri)?;
        let access = self.gate.decide(Asked::of_rename((&bucket, &key), &source, &headers, &uri), &call).await?;
        headers.extend(std::mem::take(&mut call.headers_aside));
        let condition = preconditions::only_one(&headers);
        let store = Store::new(&self.shared, call, access);
        let renamed = objects::rename(&store, &objects::Renaming { bucket, source, key, headers }).await;
        renamed.map_err(|error| with_condition(condition, error))?;
        Ok(HttpResponse::new(s3s::Body::empty()))
    }

    /// Returns the context of a request that does not pass the gate: an anonymous caller without any rights.
    fn store(&self) -> Store {
        Store::new(&self.shared, Call::default(), Access::default())
    }

    /// Answers a request to the website of a bucket.
    pub async fn visit(&self, request: &SiteRequest<'_>) -> HttpResponse {
        let store = Store { traced: self.shared.gateway.traced(request.trace.spans()), ..self.store() };
        website::serve(&store, &self.gate, request).await
    }

    /// Returns the destination of a bucket's access log, if it has one.
    pub fn logged(&self, bucket: &str) -> Option<Arc<Option<LoggedBucket>>> {
        settings::logging::logged(&self.shared, bucket)
    }

    /// Returns the headers of the answer to an OPTIONS request, whose status is 200.
    pub async fn preflight(&self, bucket: &str, request: &HeaderMap) -> S3Result<HeaderMap> {
        cors::answer_preflight(&self.store(), bucket, request).await
    }

    /// Returns the CORS headers of the answer to a cross-origin request, whatever its status.
    pub async fn cross_origin(&self, bucket: &str, method: &Method, request: &HeaderMap) -> HeaderMap {
        match cors::kept_rules(&self.store(), bucket).await.as_deref() {
            Ok(Some(rules)) => cors::answer_headers(rules, method, request),
            Ok(None) | Err(_) => HeaderMap::new(),
        }
    }
}

/// The operations, by their names in s3s.
struct Operations(Arc<Shared>);

pub fn service(settings: &S3Settings, gateway: Gateway, ambient: Ambient) -> Service {
    let memos = Arc::<Memos>::default();
    let gate = access::Gate::new(gateway.clone(), Arc::clone(&settings.iam), Arc::clone(&memos), settings.tls);
    let shared = Arc::new(Shared {
        gateway,
        ambient,
        region: settings.region.clone(),
        targets: settings.targets.clone(),
        roots: Arc::clone(&settings.roots),
        owner_id: settings.iam.root.canonical_id.clone(),
        directory_root: settings.iam.root.clone(),
        new_bucket_ownership: settings.new_bucket_ownership,
        iam: Arc::clone(&settings.iam),
        memos,
        scheme: if settings.tls { "https" } else { "http" },
    });
    let mut config = S3Config::default();
    config.xml_max_body_size = LIST_BODY_BYTES_MAX;
    // Form uploads are passed to s3s as PUTs. If it ever gets a form, it must not buffer it.
    config.post_object_max_file_size = 0;
    let mut builder = S3ServiceBuilder::new(Operations(Arc::clone(&shared)));
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    // Requests reach s3s without signatures, so it needs no keys. But it checks access only if it has a source of keys.
    builder.set_auth(SimpleAuth::new());
    builder.set_access(gate.clone());
    if !settings.domains.is_empty() {
        builder.set_host(Domains::new(&settings.domains));
    }
    Service { s3s: builder.build(), gate, shared }
}

/// Returns the canonical user id of an account, in S3's form of 64 hexadecimal digits.
pub fn canonical_id(account: &str) -> String {
    let digest = Sha256::new().chain_update(b"sherd account ").chain_update(account).finalize();
    hex_simd::encode_to_string(digest, hex_simd::AsciiCase::Lower)
}

/// An object version with its bucket, and the view in which both were found.
struct Found {
    bucket: BucketRow,
    version: ObjectVersion,
    view: MetaView,
}

/// An object version that is open for reading, with its bucket, and the view in which both were found.
struct Readable {
    bucket: BucketRow,
    view: MetaView,
    object: OpenObject,
}

impl Store {
    fn new(shared: &Arc<Shared>, call: Call, access: Access) -> Self {
        let traced = shared.gateway.traced(call.trace.spans());
        Self { shared: Arc::clone(shared), traced, call, access }
    }

    fn gateway(&self) -> &Gateway {
        self.traced.as_ref().unwrap_or(&self.shared.gateway)
    }

    /// Returns the caller of the request.
    fn caller(&self) -> &Caller {
        &self.access.caller
    }

    async fn view(&self) -> S3Result<MetaView> {
        if let Some(judged) = self.call.view.take() {
            return Ok(judged);
        }
        Ok(self.gateway().meta().read().await?)
    }

    async fn bucket(&self, name: &str) -> S3Result<(BucketRow, MetaView)> {
        let view = self.view().await?;
        Ok((self.row(&view, name)?, view))
    }

    fn row(&self, view: &MetaView, name: &str) -> S3Result<BucketRow> {
        if let Some(guarded) = self.memos.buckets.kept_of(view, name) {
            return Ok(guarded.row.clone());
        }
        Ok(view.bucket(name)?.ok_or(Fault::NoSuchBucket)?)
    }

    async fn object(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Found> {
        let pick = version::pick(version)?;
        let (bucket, view) = self.bucket(bucket).await?;
        match view.version(bucket.bucket.id, key, pick)?.ok_or(version::absent(pick))? {
            VersionRow::Object(version) => Ok(Found { bucket, version, view }),
            VersionRow::DeleteMarker(marker) => Err(version::marker(pick, &marker).into()),
        }
    }

    async fn open(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Readable> {
        let view = self.view().await?;
        self.open_in(view, bucket, key, version).await
    }

    async fn open_in(&self, view: MetaView, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Readable> {
        let pick = version::pick(version)?;
        let bucket = self.row(&view, bucket)?;
        match self.gateway().open_object(view.clone(), bucket.bucket.id, key, pick).await? {
            Opened::Object(object) => Ok(Readable { bucket, view, object: *object }),
            Opened::DeleteMarker(marker) => Err(version::marker(pick, &marker).into()),
            Opened::Absent => Err(version::absent(pick).into()),
        }
    }

    /// Proposes a change of metadata. A refusal is an error.
    async fn propose(&self, change: Change) -> S3Result<Reply> {
        match self.gateway().meta().propose(change).await? {
            Reply::Refused(refusal) => Err(refusal.into()),
            reply => Ok(reply),
        }
    }

    /// Checks that writes are possible, before a change that takes space.
    fn check_writable(&self) -> S3Result<()> {
        Ok(self.gateway().check_writable()?)
    }

    /// Checks that changes are possible, before a change that takes no space or frees some: a full store accepts it,
    /// but not a store that lost too many drives.
    fn check_changeable(&self) -> S3Result<()> {
        Ok(self.gateway().check_changeable()?)
    }
}

/// Adds the name of the condition that failed to an error. The metadata does not say which condition of a write failed,
/// so the name is known only if the request has a single one, `condition`.
fn with_condition(condition: Option<&'static str>, error: S3Error) -> S3Error {
    let is_unnamed = *error.code() == S3ErrorCode::PreconditionFailed && errors::details_of(&error).is_empty();
    match condition.filter(|_| is_unnamed) {
        Some(name) => errors::with_details(error, [("Condition", name.to_owned())]),
        None => error,
    }
}

/// Notes in the trace the error with which the request is answered. Returns an error with the same code for s3s, whose
/// answer is not used.
fn refuse(trace: &RequestTrace, error: S3Error) -> S3Error {
    let for_s3s = S3Error::new(error.code().clone());
    trace.set_error(error);
    for_s3s
}

/// Returns an internal error for a reply that the change cannot have, which is a bug of ours.
fn unexpected(reply: &Reply) -> S3Error {
    StoreError::Internal { why: format!("a change had an unexpected reply: {reply:?}") }.into()
}

/// Returns the name of an operation, given that of its input type.
const fn operation_of(input: &'static str) -> &'static str {
    input.split_at(input.len() - "Input".len()).0
}

impl Operations {
    /// Takes the context of an operation out of its request, and the name of the request's condition if it has only one.
    async fn begin<T>(&self, request: &mut S3Request<T>) -> S3Result<(Store, Option<&'static str>)> {
        let mut call = request.extensions.remove::<Call>().unwrap_or_default();
        let mut access = request.extensions.remove::<Access>().unwrap_or_default();
        let renewed = access.renew(&call, &request.headers, &request.uri).await;
        renewed.map_err(|error| refuse(&call.trace, error))?;
        request.headers.extend(std::mem::take(&mut call.headers_aside));
        Ok((Store::new(&self.0, call, access), preconditions::only_one(&request.headers)))
    }
}

/// Implements the operations: of `whole`, the function takes the whole request and returns the whole response; of
/// `inputs`, only the input and the output.
macro_rules! operations {
    (
        whole { $($name:ident($input:ident) -> $output:ident = $function:path;)* }
        inputs { $($name_of_input:ident($only_input:ident) -> $only_output:ident = $function_of_input:path;)* }
    ) => {
        /// The implemented operations. s3s knows more, but not RenameObject.
        pub const OPERATIONS: &[&str] = &[
            $(operation_of(stringify!($input)),)*
            $(operation_of(stringify!($only_input)),)*
            "RenameObject",
        ];

        #[async_trait::async_trait]
        impl S3 for Operations {
            $(async fn $name(&self, mut request: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                let (store, condition) = self.begin(&mut request).await?;
                let answered = $function(&store, request).await;
                answered.map_err(|error| refuse(&store.call.trace, with_condition(condition, error)))
            })*

            $(async fn $name_of_input(
                &self,
                mut request: S3Request<dto::$only_input>,
            ) -> S3Result<S3Response<dto::$only_output>> {
                let (store, condition) = self.begin(&mut request).await?;
                let answered = $function_of_input(&store, request.input).await.map(S3Response::new);
                answered.map_err(|error| refuse(&store.call.trace, with_condition(condition, error)))
            })*
        }
    };
}

operations! {
    whole {
        create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create;
        head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head;
        list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = list::list_versions;
        put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = tagging::put_bucket;
        delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = tagging::delete_object;
        put_bucket_website(PutBucketWebsiteInput) -> PutBucketWebsiteOutput = website::put;
        get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput = settings::logging::get;
        put_bucket_logging(PutBucketLoggingInput) -> PutBucketLoggingOutput = settings::logging::put;
        put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput = grants::bucket_acl::put;
        put_object_acl(PutObjectAclInput) -> PutObjectAclOutput = grants::object_acl::put;
        get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = grants::bucket_policy::get;
        get_object(GetObjectInput) -> GetObjectOutput = objects::get;
        head_object(HeadObjectInput) -> HeadObjectOutput = objects::head;
        get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = objects::attributes;
        put_object(PutObjectInput) -> PutObjectOutput = objects::put;
        copy_object(CopyObjectInput) -> CopyObjectOutput = objects::copy;
        delete_object(DeleteObjectInput) -> DeleteObjectOutput = objects::delete;
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = objects::delete_many;
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
        upload_part(UploadPartInput) -> UploadPartOutput = multipart::upload_part;
        upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = multipart::upload_part_copy;
        complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
        list_parts(ListPartsInput) -> ListPartsOutput = multipart::list_parts;
    }
    inputs {
        list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list;
        delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::location;
        get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = buckets::versioning;
        put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = buckets::set_versioning;
        get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = tagging::get_bucket;
        delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = tagging::delete_bucket;
        get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tagging::get_object;
        put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tagging::put_object;
        get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = locks::get_configuration;
        put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput = locks::put_configuration;
        get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput = locks::get_retention;
        put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput = locks::put_retention;
        get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput = locks::get_legal_hold;
        put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput = locks::put_legal_hold;
        get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = lifecycle::get;
        put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput = lifecycle::put;
        delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = lifecycle::delete;
        get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = cors::get;
        put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = cors::put;
        delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = cors::delete;
        get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput = website::get;
        delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput = website::delete;
        get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput = settings::notification::get;
        get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput = settings::simple::get_accelerate;
        get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = settings::simple::get_payment;
        put_bucket_notification_configuration(PutBucketNotificationConfigurationInput) -> PutBucketNotificationConfigurationOutput = settings::notification::put;
        put_bucket_accelerate_configuration(PutBucketAccelerateConfigurationInput) -> PutBucketAccelerateConfigurationOutput = settings::simple::put_accelerate;
        put_bucket_request_payment(PutBucketRequestPaymentInput) -> PutBucketRequestPaymentOutput = settings::simple::put_payment;
        get_bucket_inventory_configuration(GetBucketInventoryConfigurationInput) -> GetBucketInventoryConfigurationOutput = settings::inventory::get;
        put_bucket_inventory_configuration(PutBucketInventoryConfigurationInput) -> PutBucketInventoryConfigurationOutput = settings::inventory::put;
        delete_bucket_inventory_configuration(DeleteBucketInventoryConfigurationInput) -> DeleteBucketInventoryConfigurationOutput = settings::inventory::delete;
        list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput) -> ListBucketInventoryConfigurationsOutput = settings::inventory::list;
        get_bucket_analytics_configuration(GetBucketAnalyticsConfigurationInput) -> GetBucketAnalyticsConfigurationOutput = settings::analytics::get;
        put_bucket_analytics_configuration(PutBucketAnalyticsConfigurationInput) -> PutBucketAnalyticsConfigurationOutput = settings::analytics::put;
        delete_bucket_analytics_configuration(DeleteBucketAnalyticsConfigurationInput) -> DeleteBucketAnalyticsConfigurationOutput = settings::analytics::delete;
        list_bucket_analytics_configurations(ListBucketAnalyticsConfigurationsInput) -> ListBucketAnalyticsConfigurationsOutput = settings::analytics::list;
        get_bucket_metrics_configuration(GetBucketMetricsConfigurationInput) -> GetBucketMetricsConfigurationOutput = settings::metrics::get;
        put_bucket_metrics_configuration(PutBucketMetricsConfigurationInput) -> PutBucketMetricsConfigurationOutput = settings::metrics::put;
        delete_bucket_metrics_configuration(DeleteBucketMetricsConfigurationInput) -> DeleteBucketMetricsConfigurationOutput = settings::metrics::delete;
        list_bucket_metrics_configurations(ListBucketMetricsConfigurationsInput) -> ListBucketMetricsConfigurationsOutput = settings::metrics::list;
        get_bucket_intelligent_tiering_configuration(GetBucketIntelligentTieringConfigurationInput) -> GetBucketIntelligentTieringConfigurationOutput = settings::tiering::get;
        put_bucket_intelligent_tiering_configuration(PutBucketIntelligentTieringConfigurationInput) -> PutBucketIntelligentTieringConfigurationOutput = settings::tiering::put;
        delete_bucket_intelligent_tiering_configuration(DeleteBucketIntelligentTieringConfigurationInput) -> DeleteBucketIntelligentTieringConfigurationOutput = settings::tiering::delete;
        list_bucket_intelligent_tiering_configurations(ListBucketIntelligentTieringConfigurationsInput) -> ListBucketIntelligentTieringConfigurationsOutput = settings::tiering::list;
        get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput = settings::simple::get_replication;
        delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput = settings::simple::delete_replication;
        get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = encryption::get;
        put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput = encryption::put;
        delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput = encryption::delete;
        get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = grants::bucket_acl::get;
        get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = grants::object_acl::get;
        put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = grants::bucket_policy::put;
        delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = grants::bucket_policy::delete;
        get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = grants::bucket_policy::status;
        get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = grants::public_access::get;
        put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput = grants::public_access::put;
        delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput = grants::public_access::delete;
        get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = grants::ownership::get;
        put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput = grants::ownership::put;
        delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput = grants::ownership::delete;
        list_objects(ListObjectsInput) -> ListObjectsOutput = list::list_v1;
        list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list::list_v2;
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
        list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = multipart::list_uploads;
    }
}

#[cfg(test)]
mod tests {
    use super::{RequestTrace, canonical_id, refuse, with_condition};
    use crate::actors::meta::Refusal;
    use crate::api::errors::{Fault, Text, details_of};
    use s3s::S3Error;

    #[test]
    fn an_account_always_has_the_same_canonical_id() {
        let id = canonical_id("root");
        assert_eq!(id.len(), 64);
        assert_eq!(id, canonical_id("root"));
        assert_ne!(id, canonical_id("other"));
    }

    #[test]
    fn a_failed_condition_is_named_if_it_is_the_only_one() {
        let details = |error: S3Error, only: Option<&'static str>| details_of(&with_condition(only, error)).to_vec();
        let condition = |name: &str| vec![("Condition", Text::Own(name.to_owned()))];
        assert_eq!(details(Refusal::PreconditionFailed.into(), Some("If-Match")), condition("If-Match"));
        assert!(details(Refusal::PreconditionFailed.into(), None).is_empty());
        let source = Fault::PreconditionFailed(Some("x-amz-copy-source-If-Match"));
        assert_eq!(details(source.into(), Some("If-Match")), condition("x-amz-copy-source-If-Match"));
        assert!(details(Fault::NoSuchKey.into(), Some("If-Match")).is_empty());
    }

    #[test]
    fn a_request_is_answered_with_its_last_noted_error_which_is_taken_out() {
        let trace = RequestTrace::default();
        let for_s3s = refuse(&trace, Fault::NoSuchKey.into());
        assert_eq!(for_s3s.code().as_str(), "NoSuchKey");
        refuse(&trace, Fault::InvalidRange { size_bytes: 7 }.into());
        let refused = trace.take_error().expect("it was refused");
        assert_eq!((refused.code().as_str(), details_of(&refused).len()), ("InvalidRange", 1));
        assert!(trace.take_error().is_none());
    }
}
