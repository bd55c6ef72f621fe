//! Checks of encryption headers by operation: which requests must have a customer-provided key, which must not, and
//! which must have no encryption headers at all.

use super::customer::{CustomerHeaders, NO_ALGORITHM, customer_key};
use crate::actors::sealing::{CustomerKey, Sealing, SealingMode};
use crate::api::errors::Fault;
use http::HeaderMap;
use s3s::header::{
    X_AMZ_SERVER_SIDE_ENCRYPTION, X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID, X_AMZ_SERVER_SIDE_ENCRYPTION_CONTEXT,
};

pub(super) const KEY_NEEDED: &str = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.";
pub(super) const NOT_APPLICABLE: &str = "The encryption parameters are not applicable to this object.";
const PART_NEEDS_KEY: &str = "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.";
const PART_KEY_DIFFERS: &str = "The provided encryption parameters did not match the ones used originally.";

/// Refuses GET, HEAD and GetObjectAttributes with headers that choose an encryption, as S3 does.
pub fn check_read(headers: &HeaderMap) -> Result<(), Fault> {
    let chosen = [
        X_AMZ_SERVER_SIDE_ENCRYPTION,
        X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID,
        X_AMZ_SERVER_SIDE_ENCRYPTION_CONTEXT,
    ];
    match chosen.into_iter().find(|name| headers.contains_key(name)) {
        None => Ok(()),
        Some(name) => Err(Fault::InvalidArgument(format!("{name} header is not supported for this operation."))),
    }
}

/// Returns the customer-provided key of a GET, a HEAD or GetObjectAttributes. Whether it is the object's key is checked
/// when the object is opened.
pub fn key_of_read(headers: &HeaderMap, sealing: Option<&Sealing>) -> Result<Option<CustomerKey>, Fault> {
    key_of(headers, CustomerHeaders::Object, sealing)
}

/// Returns the customer-provided key of a copy's source.
pub fn key_of_source(headers: &HeaderMap, sealing: Option<&Sealing>) -> Result<Option<CustomerKey>, Fault> {
    key_of(headers, CustomerHeaders::CopySource, sealing)
}

fn key_of(
    headers: &HeaderMap,
    which: CustomerHeaders,
    sealing: Option<&Sealing>,
) -> Result<Option<CustomerKey>, Fault> {
    let key = customer_key(headers, which)?;
    match (&key, sealing.is_some_and(Sealing::needs_customer_key)) {
        (None, true) => Err(Fault::InvalidRequest(KEY_NEEDED.to_owned())),
        (Some(_), false) => Err(Fault::InvalidRequest(NOT_APPLICABLE.to_owned())),
        (None, false) | (Some(_), true) => Ok(key),
    }
}

/// Returns the customer-provided key of UploadPart or UploadPartCopy; `sealing` is the upload's. Other encryption
/// headers are ignored.
pub fn key_of_part(headers: &HeaderMap, sealing: Option<&Sealing>) -> Result<Option<CustomerKey>, Fault> {
    let key = customer_key(headers, CustomerHeaders::Object)?;
    check_uploads_key(key.as_ref(), sealing)?;
    match (key, sealing.is_some_and(Sealing::needs_customer_key)) {
        (None, true) => Err(Fault::InvalidRequest(PART_NEEDS_KEY.to_owned())),
        (key, _) => Ok(key),
    }
}

/// Returns the customer-provided key of CompleteMultipartUpload. It is needed only if the upload was begun with a
/// checksum, since S3 encrypts checksums. If it is given, it must be the upload's key.
pub fn key_of_completion(
    headers: &HeaderMap,
    sealing: Option<&Sealing>,
    has_checksum: bool,
) -> Result<Option<CustomerKey>, Fault> {
    let key = customer_key(headers, CustomerHeaders::Object)?;
    check_uploads_key(key.as_ref(), sealing)?;
    if key.is_none() && has_checksum && sealing.is_some_and(Sealing::needs_customer_key) {
        return Err(Fault::InvalidArgument(NO_ALGORITHM.to_owned()));
    }
    Ok(key)
}

fn check_uploads_key(key: Option<&CustomerKey>, sealing: Option<&Sealing>) -> Result<(), Fault> {
    match (key, sealing.map(|sealing| &sealing.mode)) {
        (None, _) => Ok(()),
        (Some(key), Some(SealingMode::SseC { check })) if check.is_of(key) => Ok(()),
        (Some(_), Some(SealingMode::SseC { .. })) => Err(Fault::InvalidRequest(PART_KEY_DIFFERS.to_owned())),
        (Some(_), _) => Err(Fault::InvalidRequest(PART_NEEDS_KEY.to_owned())),
    }
}
