//! S3's operations over the store: one file a group. s3s turns HTTP into the typed inputs and the outputs into HTTP; what
//! the operations mean is here. Every lookup goes through the linearizable barrier, and every change is one entry of the
//! metadata log.

mod access;
mod buckets;
mod checksums;
mod conditions;
mod errors;
mod headers;
mod host;
mod list;
mod multipart;
mod objects;
mod percent;
mod unsupported;

pub use access::{Credentials, refuse_early};
pub use errors::{Fault, body_fault, identify, response};

use crate::actors::gateway::{Gateway, OpenObject, StoreError};
use crate::actors::meta::{BucketRecord, Change, Manifest, MetaView, Reply};
use crate::ambient::Ambient;
use crate::api::request_log::RequestTrace;
use crate::limits::XML_BODY_BYTES_MAX;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Whom everything belongs to: one account so far.
const ACCOUNT: &str = "root";

/// What the operations work on.
pub(crate) struct Store {
    gateway: Gateway,
    ambient: Ambient,
    region: String,
    owner_id: String,
    /// `https` or `http`: of the locations in answers.
    scheme: &'static str,
}

/// What the S3 front is told.
#[derive(Clone, Debug)]
pub struct S3Settings {
    pub region: String,
    /// Domains for virtual-host addressing; may be empty.
    pub domains: Vec<String>,
    pub credentials: Credentials,
    pub tls: bool,
}

/// The whole S3 front but its transport.
pub fn service(settings: &S3Settings, gateway: Gateway, ambient: Ambient) -> S3Service {
    let owner_id = canonical_id(ACCOUNT);
    let store = Store {
        gateway,
        ambient,
        region: settings.region.clone(),
        owner_id: owner_id.clone(),
        scheme: if settings.tls { "https" } else { "http" },
    };
    let mut config = S3Config::default();
    config.xml_max_body_size = XML_BODY_BYTES_MAX;
    // Forms are refused before s3s; it must not hold one even so.
    config.post_object_max_file_size = 0;
    let mut builder = S3ServiceBuilder::new(store);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(settings.credentials.clone());
    builder.set_access(access::Gate::new(owner_id));
    if !settings.domains.is_empty() {
        builder.set_host(host::Domains::new(&settings.domains));
    }
    builder.build()
}

/// S3's canonical user id: 64 hexadecimal digits that stand for the account.
fn canonical_id(account: &str) -> String {
    let digest = Sha256::new().chain_update(b"sherd account ").chain_update(account).finalize();
    hex_simd::encode_to_string(digest, hex_simd::AsciiCase::Lower)
}

/// An object that stands, and the view in which it was found.
struct Found {
    manifest: Manifest,
    view: MetaView,
}

/// An object that can be read, its bytes held.
struct Readable {
    view: MetaView,
    object: OpenObject,
}

impl Store {
    async fn view(&self) -> S3Result<MetaView> {
        Ok(self.gateway.meta().read().await?)
    }

    async fn bucket(&self, name: &str) -> S3Result<(BucketRecord, MetaView)> {
        let view = self.view().await?;
        let bucket = view.bucket(name)?.ok_or(Fault::NoSuchBucket)?;
        Ok((bucket, view))
    }

    async fn object(&self, bucket: &str, key: &str) -> S3Result<Found> {
        let (bucket, view) = self.bucket(bucket).await?;
        let manifest = view.object(bucket.id, key)?.ok_or(Fault::NoSuchKey)?;
        Ok(Found { manifest, view })
    }

    async fn open(&self, bucket: &str, key: &str) -> S3Result<Readable> {
        let (bucket, view) = self.bucket(bucket).await?;
        let object = self.gateway.open_object(view.clone(), bucket.id, key).await?.ok_or(Fault::NoSuchKey)?;
        Ok(Readable { view, object })
    }

    /// A change of metadata alone.
    async fn propose(&self, change: Change) -> S3Result<Reply> {
        match self.gateway.meta().propose(change).await? {
            Reply::Refused(refusal) => Err(refusal.into()),
            reply => Ok(reply),
        }
    }

    /// Before a change that takes space.
    fn check_writable(&self) -> S3Result<()> {
        Ok(self.gateway.check_writable()?)
    }

    /// Before a change that gives space back: a full store takes it, one that lost too many drives does not.
    fn check_changeable(&self) -> S3Result<()> {
        Ok(self.gateway.check_changeable()?)
    }

    fn owner(&self) -> dto::Owner {
        dto::Owner { display_name: Some(ACCOUNT.to_owned()), id: Some(self.owner_id.clone()) }
    }

    fn initiator(&self) -> dto::Initiator {
        dto::Initiator { display_name: Some(ACCOUNT.to_owned()), id: Some(self.owner_id.clone()) }
    }
}

/// An answer that no change gives: our own bug, told as such.
fn unexpected(reply: &Reply) -> s3s::S3Error {
    StoreError::Internal { why: format!("a change was answered with {reply:?}") }.into()
}

macro_rules! operations {
    ($($name:ident($input:ident) -> $output:ident = $module:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Store {
            $(async fn $name(&self, request: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                if let Some(trace) = request.extensions.get::<Arc<RequestTrace>>() {
                    trace.entered();
                }
                $module(self, request).await
            })*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = buckets::versioning;
    list_objects(ListObjectsInput) -> ListObjectsOutput = list::list_v1;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list::list_v2;
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
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    list_parts(ListPartsInput) -> ListPartsOutput = multipart::list_parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = multipart::list_uploads;
}

#[cfg(test)]
mod tests {
    use super::canonical_id;

    #[test]
    fn an_account_has_one_canonical_id() {
        let id = canonical_id("root");
        assert_eq!(id.len(), 64);
        assert_eq!(id, canonical_id("root"));
        assert_ne!(id, canonical_id("other"));
    }
}
