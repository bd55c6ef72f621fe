//! PutObject with an offset, which appends its bytes to the existing object.

use super::super::sealed::{names_its_key, sealing_of, unsealed};
use super::super::upload_body::upload;
use super::refuse_options_of_new_objects;
use crate::actors::events::EventName;
use crate::actors::gateway::{AppendObjectRequest, OpenObject, StoreError};
use crate::actors::meta::{
    ChecksumAlgorithm, ETagCondition, Manifest, MetaView, ObjectVersion, Pick, Refusal, Versioning, WriteConditions,
};
use crate::actors::sealing::{CustomerKey, SealedObject, Sealing, SealingMode};
use crate::api::errors::Fault;
use crate::api::s3::Store;
use crate::api::s3::checksums::{DEFAULT, add_headers};
use crate::api::s3::encryption::{RequestedEncryption, requested_encryption, shown};
use crate::api::s3::event_drafts::pending_event;
use crate::api::s3::lifecycle::Expirations;
use crate::api::s3::object_headers::{etag_header, object_checksum};
use crate::api::s3::preconditions::{only_one, write_conditions};
use crate::limits::{PARTS_MAX, SHARED_PARTS_COPIED_MAX};
use http::HeaderMap;
use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Error, S3Request, S3Response, S3Result};

const WRITE_OFFSET: &str = "x-amz-write-offset-bytes";
/// The outcome of an append.
pub enum Appended {
    Done(Box<S3Response<PutObjectOutput>>),
    /// There is no object to append to; the bytes become a new one.
    Absent(Box<S3Request<PutObjectInput>>),
}

/// Returns the write offset of a PutObject, if it has one.
pub fn write_offset(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let Some(value) = headers.get(WRITE_OFFSET) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let offset = digits.and_then(|digits| digits.parse().ok());
    offset
        .map(Some)
        .ok_or_else(|| Fault::InvalidArgument(format!("The header '{WRITE_OFFSET}' must be a number of bytes.")))
}

pub async fn append(store: &Store, request: S3Request<PutObjectInput>, offset: u64) -> S3Result<Appended> {
    let (bucket, view) = store.bucket(&request.input.bucket).await?;
    if bucket.settings.versioning != Versioning::Never {
        return Err(Refusal::Versioned.into());
    }
    let id = bucket.bucket.id;
    let opened = store.gateway().open_object(view.clone(), id, &request.input.key, Pick::Current).await?;
    let Some(standing) = opened.object() else {
        return if offset == 0 {
            Ok(Appended::Absent(Box::new(request)))
        } else {
            Err(Fault::InvalidWriteOffset.into())
        };
    };
    let S3Request { input, headers, .. } = request;
    check(&headers, &standing.version.manifest, offset)?;
    check_shared(&view, &standing.version.manifest)?;
    let sealing = sealing_of(&standing.version.traits)?;
    let asked = requested_encryption(&headers, None)?;
    let names_its_key = names_its_key(store, &view, asked.as_ref(), sealing.as_ref())?;
    let customer = key_of_append(asked, sealing.as_ref(), names_its_key)?;
    let sealed_object = SealedObject { bucket: id, key: &input.key };
    let standing = unsealed(store, sealed_object, standing, sealing.as_ref(), customer.as_ref())?;
    let mut upload = upload(store, &headers, input.body, Some(algorithm_of(&standing)))?;
    upload.checks.kept.hides_tag = sealing.as_ref().is_some_and(Sealing::hides_tag);
    let event = pending_event(store, &bucket, EventName::ObjectCreatedPut);
    let expirations = Expirations::of(&store.memos, &view, &bucket)?;
    // The client may send the body slowly, and a view keeps the tables from being compacted.
    drop(view);
    let append = AppendObjectRequest { bucket: id, key: input.key.clone(), standing, event, upload };
    let object = store.gateway().held_by(store.call.holder()).append_object(append).await.map_err(of_append)?;
    let expiration = expirations.header(&input.key, &object);
    let output = output(&object, sealing.as_ref(), customer.as_ref());
    let mut response = S3Response::new(PutObjectOutput { expiration, ..output });
    add_headers(object_checksum(&object.manifest).as_ref(), &mut response.headers);
    Ok(Appended::Done(Box::new(response)))
}

/// Checks that the existing object has the size and meets the conditions of the request, and that the request can be an
/// append.
fn check(headers: &HeaderMap, standing: &Manifest, offset: u64) -> Result<(), Fault> {
    refuse_options_of_new_objects(headers, &[], "bytes are appended to an existing object")?;
    if !hold(&write_conditions(headers)?, standing) {
        return Err(Fault::PreconditionFailed(only_one(headers)));
    }
    if standing.size_bytes != offset {
        return Err(Fault::InvalidWriteOffset);
    }
    match standing.parts() {
        Some((_, count)) if count >= PARTS_MAX => Err(Fault::TooManyParts),
        _ => Ok(()),
    }
}

/// Refuses a long list of parts to which copies refer before the body is read. The change itself decides again.
fn check_shared(view: &MetaView, standing: &Manifest) -> S3Result<()> {
    match standing.parts() {
        Some((list, count)) if count > SHARED_PARTS_COPIED_MAX && view.are_parts_shared(list)? => {
            Err(Refusal::PartsShared.into())
        }
        _ => Ok(()),
    }
}

/// Returns whether the conditions hold for an existing object.
fn hold(conditions: &WriteConditions, standing: &Manifest) -> bool {
    let matches = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::Is(wanted) => *wanted == standing.etag,
        ETagCondition::Unknown => false,
    };
    conditions.if_match.as_ref().is_none_or(matches) && !conditions.if_none_match.as_ref().is_some_and(matches)
}

/// Returns the customer-provided key of an append. Appended bytes are encrypted as the existing ones. The request may
/// name that encryption, and for an SSE-C object it must have the key. `names_its_key`: whether the KMS key that the
/// request names is the object's.
fn key_of_append(
    asked: Option<RequestedEncryption>,
    sealing: Option<&Sealing>,
    names_its_key: bool,
) -> Result<Option<CustomerKey>, Fault> {
    let mode = sealing.map(|sealing| &sealing.mode);
    let dual_layer = sealing.is_some_and(|sealing| sealing.outer.is_some());
    match (asked, mode) {
        (Some(RequestedEncryption::SseC(key)), Some(SealingMode::SseC { .. })) => Ok(Some(key)),
        (_, Some(SealingMode::SseC { .. })) => Err(Fault::EncryptionTypeMismatch),
        (None, _) | (Some(RequestedEncryption::SseS3), Some(SealingMode::SseS3)) => Ok(None),
        (Some(RequestedEncryption::SseKms(kms)), Some(SealingMode::SseKms { .. }))
            if kms.dual_layer == dual_layer && names_its_key =>
        {
            Ok(None)
        }
        _ => Err(Fault::EncryptionTypeMismatch),
    }
}

/// Returns the checksum algorithm for the appended bytes: that of the existing object, so that both checksums combine.
fn algorithm_of(standing: &OpenObject) -> ChecksumAlgorithm {
    standing.version.manifest.checksum.as_ref().map_or(DEFAULT, |checksum| checksum.algorithm)
}

/// Converts the error of an append. After a conflicting write, the offset is no longer the end of the object.
fn of_append(error: StoreError) -> S3Error {
    match error {
        StoreError::Refused(Refusal::PreconditionFailed | Refusal::NoSuchKey) => Fault::InvalidWriteOffset.into(),
        error => error.into(),
    }
}

fn output(object: &ObjectVersion, sealing: Option<&Sealing>, customer: Option<&CustomerKey>) -> PutObjectOutput {
    let shown = shown(sealing, customer);
    PutObjectOutput {
        bucket_key_enabled: shown.bucket_key_enabled,
        e_tag: Some(etag_header(&object.manifest.etag)),
        server_side_encryption: shown.server_side_encryption,
        size: i64::try_from(object.manifest.size_bytes).ok(),
        sse_customer_algorithm: shown.sse_customer_algorithm,
        sse_customer_key_md5: shown.sse_customer_key_md5,
        ssekms_key_id: shown.ssekms_key_id,
        ssekms_encryption_context: shown.ssekms_encryption_context,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{check, key_of_append, requested_encryption, write_offset};
    use crate::actors::meta::{Body, ETag, Manifest, ObjectHeaders};
    use crate::actors::sealing::{Sealing, SealingMode, WrappedKey};
    use crate::api::errors::Fault;
    use crate::types::{ManifestId, UnixMs};
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

    const OURS: &str = "\"07070707070707070707070707070707\"";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(header).collect()
    }

    fn standing(body: Body) -> Manifest {
        Manifest {
            id: ManifestId(1),
            size_bytes: 9,
            etag: ETag { md5: [7; 16], parts: None },
            modified: UnixMs(0),
            headers: ObjectHeaders::default(),
            checksum: None,
            body,
        }
    }

    #[test]
    fn a_write_offset_must_be_a_number_of_bytes() {
        let of = |value| write_offset(&headers(&[("x-amz-write-offset-bytes", value)]));
        assert_eq!((of("0"), of("1099511627776")), (Ok(Some(0)), Ok(Some(1 << 40))));
        assert_eq!(write_offset(&HeaderMap::new()), Ok(None));
        for value in ["", "-1", "+1", "5.0", "abc", "99999999999999999999"] {
            assert!(matches!(of(value), Err(Fault::InvalidArgument(_))), "{value}");
        }
    }

    #[test]
    fn an_append_needs_the_objects_size_as_offset_and_its_conditions_to_hold() {
        let judge =
            |pairs: &[(&'static str, &'static str)], offset| check(&headers(pairs), &standing(Body::Inline), offset);
        assert_eq!((judge(&[], 9), judge(&[("if-match", OURS)], 9)), (Ok(()), Ok(())));
        assert_eq!((judge(&[], 8), judge(&[], 0)), (Err(Fault::InvalidWriteOffset), Err(Fault::InvalidWriteOffset)));
        for (name, value, condition) in [("if-match", "\"other\"", "If-Match"), ("if-none-match", "*", "If-None-Match")]
        {
            assert_eq!(judge(&[(name, value)], 9), Err(Fault::PreconditionFailed(Some(condition))), "{name}");
        }
        assert!(matches!(judge(&[("x-amz-tagging", "a=b")], 9), Err(Fault::InvalidRequest(_))));
        let full = standing(Body::Parts { count: 10_000 });
        assert_eq!(check(&HeaderMap::new(), &full, 9), Err(Fault::TooManyParts));
    }

    #[test]
    fn an_append_that_asks_for_encryption_of_a_plain_object_is_refused() {
        let plain = |pairs: &[(&'static str, &'static str)]| {
            key_of_append(requested_encryption(&headers(pairs), None).expect("it is allowed"), None, true)
        };
        assert_eq!(plain(&[]), Ok(None));
        for method in ["AES256", "aws:kms"] {
            let asked = plain(&[("x-amz-server-side-encryption", method)]);
            assert_eq!(asked, Err(Fault::EncryptionTypeMismatch), "{method}");
        }
    }

    /// The names of keys are compared by `names_key`: an alias and an ARN name the key as well as its id does.
    #[test]
    fn an_append_may_name_the_key_of_the_object_and_no_other() {
        let (key_id, shown) = ("payroll".to_owned(), "payroll".to_owned());
        let sealing = Sealing {
            id: 1,
            mode: SealingMode::SseKms { key_id, shown, context: Vec::new(), bucket_key: false },
            wrapped: WrappedKey { key_version: 1, bytes: Bytes::from_static(b"key") },
            outer: None,
        };
        let by_alias = headers(&[
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "alias/team/pay"),
        ]);
        let asked = || requested_encryption(&by_alias, None).expect("it is allowed");
        assert_eq!(key_of_append(asked(), Some(&sealing), true), Ok(None));
        assert_eq!(key_of_append(asked(), Some(&sealing), false), Err(Fault::EncryptionTypeMismatch));
    }
}
