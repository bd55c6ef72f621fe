//! GetBucketEncryption, PutBucketEncryption, DeleteBucketEncryption: the encryption of a bucket's new objects whose
//! requests ask for none.

use super::super::documents::bucket_document;
use super::super::{Store, documents};
use super::algorithm::{SSE_KMS, SSE_KMS_DUAL, SSE_S3};
use crate::actors::meta::{BucketDocument, BucketRow, DocumentKey, MetaView};
use crate::api::errors::Fault;
use s3s::S3Result;
use s3s::dto::{
    DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput,
    PutBucketEncryptionInput, PutBucketEncryptionOutput, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use serde::{Deserialize, Serialize};

const KEY_NOT_APPLICABLE: &str =
    "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse";

/// The fault of a bucket without default encryption. It tells the owner that new objects are stored unencrypted.
const NOT_SET: Fault = Fault::NoConfiguration(
    "ServerSideEncryptionConfigurationNotFoundError",
    "The server side encryption configuration was not found",
);

/// The default encryption of a bucket, stored as a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultEncryption {
    pub algorithm: DefaultAlgorithm,
    /// The key's id, ARN or alias, as it was given. As in S3, the key need not exist.
    pub key: Option<String>,
    pub bucket_key: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefaultAlgorithm {
    SseS3,
    SseKms,
    SseKmsDual,
}

impl DefaultEncryption {
    fn parse(configuration: ServerSideEncryptionConfiguration) -> Result<Self, Fault> {
        let [rule]: [ServerSideEncryptionRule; 1] = configuration.rules.try_into().map_err(|_| Fault::MalformedXml)?;
        let applied = rule.apply_server_side_encryption_by_default.ok_or(Fault::MalformedXml)?;
        let algorithm = match applied.sse_algorithm.as_str() {
            SSE_S3 => DefaultAlgorithm::SseS3,
            SSE_KMS => DefaultAlgorithm::SseKms,
            SSE_KMS_DUAL => DefaultAlgorithm::SseKmsDual,
            _ => return Err(Fault::MalformedXml),
        };
        if algorithm == DefaultAlgorithm::SseS3 && applied.kms_master_key_id.is_some() {
            return Err(Fault::InvalidArgument(KEY_NOT_APPLICABLE.to_owned()));
        }
        let key = applied.kms_master_key_id.filter(|key| !key.is_empty());
        Ok(Self { algorithm, key, bucket_key: rule.bucket_key_enabled.unwrap_or(false) })
    }

    fn shown(self) -> ServerSideEncryptionConfiguration {
        let algorithm = match self.algorithm {
            DefaultAlgorithm::SseS3 => SSE_S3,
            DefaultAlgorithm::SseKms => SSE_KMS,
            DefaultAlgorithm::SseKmsDual => SSE_KMS_DUAL,
        };
        let applied = ServerSideEncryptionByDefault {
            kms_master_key_id: self.key,
            sse_algorithm: ServerSideEncryption::from_static(algorithm),
        };
        ServerSideEncryptionConfiguration {
            rules: vec![ServerSideEncryptionRule {
                apply_server_side_encryption_by_default: Some(applied),
                bucket_key_enabled: Some(self.bucket_key),
            }],
        }
    }
}

/// Returns the default encryption of a bucket; `None` if none was set.
pub fn of_bucket(view: &MetaView, bucket: &BucketRow) -> S3Result<Option<DefaultEncryption>> {
    documents::load(view, &document_of(bucket))
}

fn document_of(bucket: &BucketRow) -> DocumentKey {
    bucket_document(bucket, BucketDocument::Encryption)
}

pub async fn get(store: &Store, input: GetBucketEncryptionInput) -> S3Result<GetBucketEncryptionOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let default = of_bucket(&view, &bucket)?.ok_or(NOT_SET)?;
    Ok(GetBucketEncryptionOutput { server_side_encryption_configuration: Some(default.shown()) })
}

/// PutBucketEncryption. As in S3, an absent bucket is reported before a fault of the configuration.
pub async fn put(store: &Store, input: PutBucketEncryptionInput) -> S3Result<PutBucketEncryptionOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let default = DefaultEncryption::parse(input.server_side_encryption_configuration)?;
    documents::save(store, document_of(&bucket), &default).await?;
    Ok(PutBucketEncryptionOutput::default())
}

pub async fn delete(store: &Store, input: DeleteBucketEncryptionInput) -> S3Result<DeleteBucketEncryptionOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    documents::remove(store, document_of(&bucket)).await?;
    Ok(DeleteBucketEncryptionOutput::default())
}
