//! CompleteMultipartUpload: the list of parts becomes an object version in one change; no byte is read (M1).

use super::super::checksums::{ChecksumFields, kind_name, of_fields, of_headers, parse_kind, parse_whole};
use super::super::encryption::{add_customer_headers, key_of_completion, shown};
use super::super::errors::Fault;
use super::super::headers::{etag_header, object_checksums, parse_md5};
use super::super::lifecycle::expiration_of;
use super::super::objects::sealed::sealing_of;
use super::super::objects::version;
use super::super::settings::told::Telling;
use super::super::{Store, conditions, unexpected};
use super::{parse_part_number, parse_upload_id};
use crate::actors::events::EventName;
use crate::actors::meta::{
    Change, Checksum, ChecksumAlgorithm, ChecksumKind, CompleteUpload, CompleteVersion, CompletedPart, Reply,
};
use crate::types::ManifestId;
use http::{HeaderMap, header};
use s3s::dto::{self, CompleteMultipartUploadInput, CompleteMultipartUploadOutput};
use s3s::{S3Request, S3Response, S3Result};

pub async fn complete(
    store: &Store,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = request.input;
    let upload = parse_upload_id(&input.upload_id)?;
    let conditions = conditions::of_write(&request.headers)?;
    let parts = input.multipart_upload.and_then(|list| list.parts).unwrap_or_default();
    if parts.is_empty() {
        return Err(Fault::MalformedXml.into());
    }
    let parts = parts.into_iter().map(completed_part).collect::<Result<Vec<_>, Fault>>()?;
    store.check_writable()?;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    // Where there is no such upload the change itself answers: it may be a repeated completion.
    let row = view.upload(bucket.bucket.id, &input.key, upload)?;
    let begun_with = row.as_ref().and_then(|row| row.upload.checksum);
    let expected_checksum = expected_checksum(&request.headers, input.checksum_type.as_ref(), begun_with)?;
    let customer = match &row {
        Some(row) => key_of_completion(&request.headers, sealing_of(&row.traits)?.as_ref(), begun_with.is_some())?,
        None => None,
    };
    let expected_size_bytes = input.mpu_object_size.map(parse_size).transpose()?;
    let complete = CompleteUpload {
        bucket: bucket.bucket.id,
        key: input.key.clone(),
        upload,
        manifest: ManifestId(store.ambient.fresh_id()),
        parts,
        expected_checksum,
        expected_size_bytes,
        conditions,
    };
    let telling = Telling::of(store, &view, &bucket, &request.extensions)?;
    let event = telling.draft(EventName::ObjectCreatedCompleteMultipartUpload, &input.key);
    let version = CompleteVersion { complete, event };
    let object = match store.propose(Change::CompleteVersion(Box::new(version))).await? {
        Reply::VersionPut { object } => object,
        reply => return Err(unexpected(&reply)),
    };
    let manifest = &object.manifest;
    let checksums = object_checksums(manifest);
    let expiration = expiration_of(store, &view, &bucket, &input.key, &object)?;
    let location = location(store, &request.headers, &input.bucket, &input.key);
    let shown = shown(sealing_of(&object.traits)?.as_ref(), customer.as_ref());
    let mut headers = HeaderMap::new();
    add_customer_headers(&shown, &mut headers);
    let mut response = S3Response::new(CompleteMultipartUploadOutput {
        bucket: Some(input.bucket),
        bucket_key_enabled: shown.bucket_key_enabled,
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        checksum_type: checksums.kind,
        e_tag: Some(etag_header(&manifest.etag)),
        expiration,
        key: Some(input.key),
        location: Some(location),
        server_side_encryption: shown.server_side_encryption,
        ssekms_key_id: shown.ssekms_key_id,
        version_id: version::shown(&bucket, object.version),
        ..Default::default()
    });
    response.headers = headers;
    Ok(response)
}

fn parse_size(size: i64) -> Result<u64, Fault> {
    let refused = |_| Fault::InvalidArgument("The header x-amz-mp-object-size is not a size.".to_owned());
    u64::try_from(size).map_err(refused)
}

fn completed_part(part: dto::CompletedPart) -> Result<CompletedPart, Fault> {
    let number = parse_part_number(part.part_number.ok_or(Fault::MalformedXml)?)?;
    let tag = part.e_tag.ok_or(Fault::MalformedXml)?;
    let md5 = parse_md5(tag.value()).ok_or(Fault::InvalidPart)?;
    let given = of_fields(ChecksumFields {
        crc32: part.checksum_crc32,
        crc32c: part.checksum_crc32c,
        crc64nvme: part.checksum_crc64nvme,
        sha1: part.checksum_sha1,
        sha256: part.checksum_sha256,
        kind: None,
    })?;
    let checksum = given.map(|(algorithm, value)| Checksum { algorithm, kind: ChecksumKind::FullObject, value });
    Ok(CompletedPart { number, md5, checksum })
}

/// What the client says that the whole's checksum is. It can only be of the kind that the upload was begun with.
fn expected_checksum(
    headers: &HeaderMap,
    kind: Option<&dto::ChecksumType>,
    begun_with: Option<(ChecksumAlgorithm, ChecksumKind)>,
) -> Result<Option<Checksum>, Fault> {
    let asked = kind.map(parse_kind).transpose()?;
    if let (Some(asked), Some((_, kind))) = (asked, begun_with)
        && asked != kind
    {
        return Err(Fault::InvalidRequest(format!(
            "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
            kind_name(kind).as_str()
        )));
    }
    let Some((algorithm, text)) = of_headers(headers)? else { return Ok(None) };
    let kind = asked.or(begun_with.map(|(_, kind)| kind)).unwrap_or(ChecksumKind::FullObject);
    parse_whole(algorithm, kind, &text).map(Some)
}

fn location(store: &Store, headers: &HeaderMap, bucket: &str, key: &str) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("{}://{host}/{bucket}/{}", store.scheme, super::super::percent::encode(key))
}

#[cfg(test)]
mod tests {
    use super::{completed_part, expected_checksum};
    use crate::actors::meta::{ChecksumAlgorithm, ChecksumKind};
    use crate::api::s3::errors::Fault;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use s3s::dto;

    fn part(number: Option<i32>, tag: Option<&str>) -> dto::CompletedPart {
        dto::CompletedPart {
            part_number: number,
            e_tag: tag.map(|tag| dto::ETag::Strong(tag.to_owned())),
            ..Default::default()
        }
    }

    #[test]
    fn a_listed_part_has_a_number_and_a_tag_that_parts_have() {
        let tag = "0123456789abcdef0123456789abcdef";
        assert_eq!(completed_part(part(Some(3), Some(tag))).expect("a part").number, 3);
        assert_eq!(completed_part(part(None, Some(tag))), Err(Fault::MalformedXml));
        assert_eq!(completed_part(part(Some(3), None)), Err(Fault::MalformedXml));
        assert_eq!(completed_part(part(Some(3), Some("x"))), Err(Fault::InvalidPart));
        assert_eq!(completed_part(part(Some(3), Some(&format!("{tag}-2")))), Err(Fault::InvalidPart));
        assert!(matches!(completed_part(part(Some(10_001), Some(tag))), Err(Fault::InvalidArgument(_))));
    }

    #[test]
    fn the_wholes_checksum_is_of_the_kind_that_the_upload_was_begun_with() {
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-amz-checksum-crc32"),
            HeaderValue::from_static("AAAAAQ==-2"),
        )]);
        let begun = Some((ChecksumAlgorithm::Crc32, ChecksumKind::Composite));
        let made = expected_checksum(&headers, None, begun).expect("a checksum").expect("given");
        assert_eq!((made.kind, made.value.as_ref()), (ChecksumKind::Composite, &[0, 0, 0, 1][..]));
        let full = dto::ChecksumType::from_static(dto::ChecksumType::FULL_OBJECT);
        assert!(matches!(expected_checksum(&headers, Some(&full), begun), Err(Fault::InvalidRequest(_))));
        assert_eq!(expected_checksum(&HeaderMap::new(), None, begun), Ok(None));
    }
}
