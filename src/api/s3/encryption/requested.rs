//! The encryption that a request asks for: by its headers, or else by its bucket's default.

use super::algorithm::{SSE_KMS, SSE_KMS_DUAL, SSE_S3};
use super::bucket_default::{DefaultAlgorithm, DefaultEncryption};
use super::customer::{CustomerHeaders, customer_key};
use super::kms::parse_context;
use crate::actors::sealing::CustomerKey;
use crate::api::errors::Fault;
use http::{HeaderMap, HeaderName};
use s3s::header::{
    X_AMZ_SERVER_SIDE_ENCRYPTION, X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID,
    X_AMZ_SERVER_SIDE_ENCRYPTION_BUCKET_KEY_ENABLED, X_AMZ_SERVER_SIDE_ENCRYPTION_CONTEXT,
};

const NOT_SUPPORTED: &str = "The encryption method specified is not supported";
const INCOMPATIBLE: &str =
    "Server Side Encryption with Customer provided key is incompatible with the encryption method specified";
const NEEDS_KMS: &str =
    "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedEncryption {
    SseS3,
    SseKms(RequestedKms),
    SseC(CustomerKey),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedKms {
    /// True for two layers of encryption (DSSE-KMS).
    pub dual_layer: bool,
    /// The key's id, ARN or alias; `None` for the store's default key.
    pub key: Option<String>,
    /// The context, sorted by name.
    pub context: Vec<(String, String)>,
    pub bucket_key: bool,
}

/// Returns the encryption that PutObject, CopyObject, CreateMultipartUpload or POST asks for, or its bucket's default;
/// `None` if there is neither. A part has the encryption of its upload (`key_of_part`).
pub fn requested_encryption(
    headers: &HeaderMap,
    default: Option<&DefaultEncryption>,
) -> Result<Option<RequestedEncryption>, Fault> {
    let invalid = |why: &str| Fault::InvalidArgument(why.to_owned());
    let method = text(headers, &X_AMZ_SERVER_SIDE_ENCRYPTION)?;
    if method.is_some() && CustomerHeaders::Object.any(headers) {
        return Err(invalid(INCOMPATIBLE));
    }
    let for_kms = [X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID, X_AMZ_SERVER_SIDE_ENCRYPTION_CONTEXT];
    let names_a_key = for_kms.iter().any(|name| headers.contains_key(name));
    match method {
        Some(SSE_KMS) => kms(headers, false, default).map(Some),
        Some(SSE_KMS_DUAL) => kms(headers, true, default).map(Some),
        Some(SSE_S3) | None if names_a_key => Err(invalid(NEEDS_KMS)),
        Some(SSE_S3) => Ok(Some(RequestedEncryption::SseS3)),
        Some(_) => Err(invalid(NOT_SUPPORTED)),
        None => match customer_key(headers, CustomerHeaders::Object)? {
            Some(key) => Ok(Some(RequestedEncryption::SseC(key))),
            None => default.map(|default| by_default(headers, default)).transpose(),
        },
    }
}

fn kms(
    headers: &HeaderMap,
    dual_layer: bool,
    default: Option<&DefaultEncryption>,
) -> Result<RequestedEncryption, Fault> {
    let key = text(headers, &X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID)?;
    let context = text(headers, &X_AMZ_SERVER_SIDE_ENCRYPTION_CONTEXT)?;
    Ok(RequestedEncryption::SseKms(RequestedKms {
        dual_layer,
        key: key.filter(|key| !key.is_empty()).map(str::to_owned),
        context: context.map(parse_context).transpose()?.unwrap_or_default(),
        bucket_key: !dual_layer && bucket_key(headers, default)?,
    }))
}

fn by_default(headers: &HeaderMap, default: &DefaultEncryption) -> Result<RequestedEncryption, Fault> {
    let dual_layer = match default.algorithm {
        DefaultAlgorithm::SseS3 => return Ok(RequestedEncryption::SseS3),
        DefaultAlgorithm::SseKms => false,
        DefaultAlgorithm::SseKmsDual => true,
    };
    Ok(RequestedEncryption::SseKms(RequestedKms {
        dual_layer,
        key: default.key.clone(),
        context: Vec::new(),
        bucket_key: !dual_layer && bucket_key(headers, Some(default))?,
    }))
}

/// Returns whether the request enables the bucket key; if it has no such header, the setting of its bucket.
fn bucket_key(headers: &HeaderMap, default: Option<&DefaultEncryption>) -> Result<bool, Fault> {
    match text(headers, &X_AMZ_SERVER_SIDE_ENCRYPTION_BUCKET_KEY_ENABLED)? {
        None => Ok(default.is_some_and(|default| default.bucket_key)),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(Fault::InvalidArgument(format!(
            "The header {X_AMZ_SERVER_SIDE_ENCRYPTION_BUCKET_KEY_ENABLED} must be either true or false."
        ))),
    }
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let value = headers.get(name).map(|value| std::str::from_utf8(value.as_bytes()));
    value.transpose().map_err(|_| Fault::InvalidArgument(format!("The header {name} is not UTF-8.")))
}
