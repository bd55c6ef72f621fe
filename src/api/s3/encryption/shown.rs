//! The encryption of an object in answers.

use super::algorithm::{SSE_KMS, SSE_KMS_DUAL, SSE_S3};
use super::customer::CUSTOMER_ALGORITHM;
use super::kms::context_text;
use crate::actors::sealing::{CustomerKey, Layout, Sealing, SealingMode};
use http::{HeaderMap, HeaderValue};
use s3s::dto::ServerSideEncryption;
use s3s::header::{X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_ALGORITHM, X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY_MD5};

/// The encryption fields of answers, named as in the outputs of s3s. PutObject, CopyObject and CreateMultipartUpload
/// show all of them; GET, HEAD, UploadPart and UploadPartCopy all but the context; CompleteMultipartUpload the first,
/// the key's id and `bucket_key_enabled`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptionFields {
    pub server_side_encryption: Option<ServerSideEncryption>,
    pub ssekms_key_id: Option<String>,
    pub ssekms_encryption_context: Option<String>,
    /// The bucket key setting, shown only if it is enabled.
    pub bucket_key_enabled: Option<bool>,
    pub sse_customer_algorithm: Option<String>,
    /// The MD5 of the request's key, by which the client sees which key was used.
    pub sse_customer_key_md5: Option<String>,
}

/// Returns the fields for an object's encryption; all empty for an unencrypted object. `customer` is the request's key.
pub fn shown(sealing: Option<&Sealing>, customer: Option<&CustomerKey>) -> EncryptionFields {
    let Some(sealing) = sealing else { return EncryptionFields::default() };
    match &sealing.mode {
        SealingMode::SseS3 => EncryptionFields {
            server_side_encryption: Some(ServerSideEncryption::from_static(SSE_S3)),
            ..EncryptionFields::default()
        },
        SealingMode::SseKms { shown, context, bucket_key, key_id: _ } => {
            let method = match sealing.layout() {
                Layout::Single => SSE_KMS,
                Layout::Dual => SSE_KMS_DUAL,
            };
            EncryptionFields {
                server_side_encryption: Some(ServerSideEncryption::from_static(method)),
                ssekms_key_id: Some(shown.clone()),
                ssekms_encryption_context: (!context.is_empty()).then(|| context_text(context)),
                bucket_key_enabled: bucket_key.then_some(true),
                ..EncryptionFields::default()
            }
        }
        SealingMode::SseC { .. } => EncryptionFields {
            sse_customer_algorithm: Some(CUSTOMER_ALGORITHM.to_owned()),
            sse_customer_key_md5: customer.map(|key| base64_simd::STANDARD.encode_to_string(key.md5())),
            ..EncryptionFields::default()
        },
    }
}

/// Adds the headers of a customer-provided key to the answer of CompleteMultipartUpload. The output of s3s has no
/// fields for them.
pub fn add_customer_headers(shown: &EncryptionFields, headers: &mut HeaderMap) {
    let fields = [
        (X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_ALGORITHM, &shown.sse_customer_algorithm),
        (X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY_MD5, &shown.sse_customer_key_md5),
    ];
    for (name, value) in fields {
        if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
}
