//! CopyObject: the bytes are read and written anew, checked against the source's own digests on their way.

use super::super::conditions::{self, ReadConditions};
use super::super::errors::Fault;
use super::super::headers::{etag_header, object_checksums, stored_headers, timestamp};
use super::super::{Readable, Store, checksums};
use crate::actors::gateway::{BodyChecks, ByteRange, PutObjectRequest, Upload};
use crate::actors::meta::{Body, ChecksumAlgorithm, ChecksumKind, Manifest};
use crate::limits::PUT_BYTES_MAX;
use bytes::Bytes;
use http::HeaderMap;
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective};
use s3s::{S3Request, S3Response, S3Result};

/// The bucket and key of a copy's source; only the version that stands can be one.
fn source_name(source: &CopySource) -> Result<(&str, &str), Fault> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => match version_id.as_deref() {
            None | Some("null") => Ok((bucket, key)),
            Some(_) => Err(Fault::NotImplemented("Versioning is not implemented.".to_owned())),
        },
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(Fault::NotImplemented("Copies from access points are not implemented.".to_owned()))
        }
    }
}

/// The source of a copy, if the request's conditions on it hold.
pub async fn open_source(store: &Store, source: &CopySource, headers: &HeaderMap) -> S3Result<Readable> {
    let (bucket, key) = source_name(source)?;
    let source = store.open(bucket, key).await?;
    ReadConditions::of_copy_source(headers).check_copy_source(&source.object.manifest)?;
    Ok(source)
}

pub async fn copy(store: &Store, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let input = request.input;
    let replaces = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => false,
        Some(MetadataDirective::REPLACE) => true,
        Some(_) => return Err(Fault::InvalidArgument("Unknown metadata directive.".to_owned()).into()),
    };
    let asked = stored_headers(&request.headers, input.metadata)?;
    let conditions = conditions::of_write(&request.headers)?;
    let algorithm = input.checksum_algorithm.as_ref().map(|name| checksums::algorithm_named(name.as_str()));
    let algorithm = algorithm.transpose()?;
    let (source_bucket, source_key) = source_name(&input.copy_source)?;
    let changes = replaces || asked.website_redirect.is_some() || algorithm.is_some();
    if source_bucket == input.bucket && source_key == input.key && !changes {
        return Err(Fault::InvalidRequest(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes."
                .to_owned(),
        )
        .into());
    }
    let Readable { view, object: source } = open_source(store, &input.copy_source, &request.headers).await?;
    if source.manifest.size_bytes > PUT_BYTES_MAX {
        return Err(Fault::InvalidRequest(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {PUT_BYTES_MAX}"
        ))
        .into());
    }
    let bucket = view.bucket(&input.bucket)?.ok_or(Fault::NoSuchBucket)?;
    // The redirect is the one thing that a copy never takes from its source.
    let mut headers = if replaces { asked.clone() } else { source.manifest.headers.clone() };
    headers.website_redirect = asked.website_redirect;
    let whole = ByteRange { start: 0, end: source.manifest.size_bytes };
    let checks = checks(&source.manifest, algorithm);
    let upload = Upload { body: store.gateway.read_object(source, whole).await?, checks, trailer: None };
    let put = PutObjectRequest { bucket: bucket.id, key: input.key, headers, conditions, upload };
    let copied = store.gateway.put_object(put).await?;
    Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result(&copied)), ..Default::default() }))
}

/// What the copied bytes must match: every digest that the source has of its whole content. The copy keeps the source's
/// checksum algorithm unless another was asked for.
fn checks(source: &Manifest, asked: Option<ChecksumAlgorithm>) -> BodyChecks {
    let whole = source.checksum.as_ref().filter(|checksum| checksum.kind == ChecksumKind::FullObject);
    let expected = |algorithm: ChecksumAlgorithm| -> Option<Bytes> {
        whole.filter(|checksum| checksum.algorithm == algorithm).map(|checksum| checksum.value.clone())
    };
    let algorithm = asked.or(source.checksum.as_ref().map(|checksum| checksum.algorithm));
    let one_put = source.etag.parts.is_none() && !matches!(source.body, Body::Parts { .. });
    BodyChecks {
        length_bytes: Some(source.size_bytes),
        md5: one_put.then_some(source.etag.md5),
        checksum: algorithm.map(|algorithm| (algorithm, expected(algorithm))),
    }
}

fn result(copied: &Manifest) -> CopyObjectResult {
    let checksums = object_checksums(copied);
    CopyObjectResult {
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        checksum_type: checksums.kind,
        e_tag: Some(etag_header(&copied.etag)),
        last_modified: Some(timestamp(copied.modified)),
    }
}

#[cfg(test)]
mod tests {
    use super::checks;
    use crate::actors::meta::{Body, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Manifest, ObjectHeaders};
    use crate::types::{ManifestId, UnixMs};
    use bytes::Bytes;

    fn source(parts: Option<u16>, kind: ChecksumKind) -> Manifest {
        Manifest {
            id: ManifestId(1),
            size_bytes: 9,
            etag: ETag { md5: [7; 16], parts },
            modified: UnixMs(0),
            headers: ObjectHeaders::default(),
            checksum: Some(Checksum { algorithm: ChecksumAlgorithm::Crc32, kind, value: Bytes::from_static(b"sum!") }),
            body: parts.map_or(Body::Inline, |count| Body::Parts { count }),
        }
    }

    #[test]
    fn f2_a_copy_is_checked_against_every_digest_of_the_sources_content() {
        let made = checks(&source(None, ChecksumKind::FullObject), None);
        assert_eq!((made.length_bytes, made.md5), (Some(9), Some([7; 16])));
        assert_eq!(made.checksum, Some((ChecksumAlgorithm::Crc32, Some(Bytes::from_static(b"sum!")))));
    }

    #[test]
    fn digests_of_parts_are_not_digests_of_the_content() {
        let made = checks(&source(Some(2), ChecksumKind::Composite), None);
        assert_eq!((made.length_bytes, made.md5), (Some(9), None));
        assert_eq!(made.checksum, Some((ChecksumAlgorithm::Crc32, None)));
        let made = checks(&source(None, ChecksumKind::FullObject), Some(ChecksumAlgorithm::Sha256));
        assert_eq!(made.checksum, Some((ChecksumAlgorithm::Sha256, None)));
    }
}
