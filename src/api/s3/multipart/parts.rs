//! UploadPart and UploadPartCopy.

use super::super::Store;
use super::super::checksums::{ChecksumFields, algorithm_name, fields_of};
use super::super::errors::Fault;
use super::super::headers::{etag_header, timestamp};
use super::super::objects::{open_source, upload};
use super::{open, parse_part_number};
use crate::actors::gateway::{BodyChecks, ByteRange, PutPartRequest, Upload};
use crate::actors::meta::{ChecksumAlgorithm, ETag, PartRow, UploadRecord};
use crate::limits::PUT_BYTES_MAX;
use s3s::dto::{CopyPartResult, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput};
use s3s::{S3Request, S3Response, S3Result};

pub async fn upload_part(store: &Store, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
    let input = request.input;
    let number = parse_part_number(input.part_number)?;
    let open = open(store, &input.bucket, &input.key, &input.upload_id).await?;
    let asked = algorithm_of(&open.upload);
    let upload = upload(&request.headers, input.body, request.trailing_headers, asked)?;
    check_algorithm(asked, &upload)?;
    let put = PutPartRequest { bucket: open.bucket.id, key: input.key, id: open.upload.id, number, upload };
    let row = store.gateway.put_part(put).await?;
    let checksums = checksums(&row);
    Ok(S3Response::new(UploadPartOutput {
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        e_tag: Some(etag_header(&ETag { md5: row.md5, parts: None })),
        ..Default::default()
    }))
}

fn algorithm_of(upload: &UploadRecord) -> Option<ChecksumAlgorithm> {
    upload.checksum.map(|(algorithm, _)| algorithm)
}

/// A part's checksum must be of the kind that the upload was begun with, or the whole's could not be made of them.
fn check_algorithm(asked: Option<ChecksumAlgorithm>, upload: &Upload) -> Result<(), Fault> {
    match (asked, &upload.checks.checksum) {
        (Some(asked), Some((given, _))) if asked != *given => Err(Fault::InvalidRequest(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            algorithm_name(asked).to_ascii_lowercase(),
            algorithm_name(*given).to_ascii_lowercase()
        ))),
        _ => Ok(()),
    }
}

fn checksums(row: &PartRow) -> ChecksumFields {
    row.checksum.as_ref().map(|checksum| fields_of(checksum, None)).unwrap_or_default()
}

pub async fn upload_part_copy(
    store: &Store,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    let number = parse_part_number(input.part_number)?;
    let open = open(store, &input.bucket, &input.key, &input.upload_id).await?;
    let source = open_source(store, &input.copy_source, &request.headers).await?.object;
    let range = match input.copy_source_range.as_deref() {
        None => ByteRange { start: 0, end: source.manifest.size_bytes },
        Some(text) => parse_copy_range(text, source.manifest.size_bytes)?,
    };
    if range.end - range.start > PUT_BYTES_MAX {
        return Err(Fault::InvalidRequest(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {PUT_BYTES_MAX}"
        ))
        .into());
    }
    let checks = BodyChecks {
        length_bytes: Some(range.end - range.start),
        md5: None,
        checksum: algorithm_of(&open.upload).map(|algorithm| (algorithm, None)),
    };
    let body = store.gateway.read_object(source, range).await?;
    let upload = Upload { body, checks, trailer: None };
    let put = PutPartRequest { bucket: open.bucket.id, key: input.key, id: open.upload.id, number, upload };
    let row = store.gateway.put_part(put).await?;
    let checksums = checksums(&row);
    let result = CopyPartResult {
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        e_tag: Some(etag_header(&ETag { md5: row.md5, parts: None })),
        last_modified: Some(timestamp(row.modified)),
    };
    Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() }))
}

/// `bytes=first-last`, both given and within the source.
fn parse_copy_range(text: &str, size_bytes: u64) -> Result<ByteRange, Fault> {
    let parsed = || {
        let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    };
    let (first, last) = parsed().ok_or_else(|| {
        Fault::InvalidArgument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy."
                .to_owned(),
        )
    })?;
    if first > last || last >= size_bytes {
        return Err(Fault::InvalidArgument(format!(
            "Range specified is not valid for source object of size: {size_bytes}"
        )));
    }
    Ok(ByteRange { start: first, end: last + 1 })
}

#[cfg(test)]
mod tests {
    use super::parse_copy_range;
    use crate::actors::gateway::ByteRange;
    use crate::api::s3::errors::Fault;

    #[test]
    fn the_range_of_a_copied_part_has_both_ends_within_the_source() {
        assert_eq!(parse_copy_range("bytes=0-9", 10), Ok(ByteRange { start: 0, end: 10 }));
        assert_eq!(parse_copy_range("bytes=4-4", 10), Ok(ByteRange { start: 4, end: 5 }));
        for text in
            ["bytes=0-10", "bytes=5-4", "bytes=5-", "bytes=-5", "0-4", "bytes=a-b", "bytes=0-18446744073709551615"]
        {
            assert!(matches!(parse_copy_range(text, 10), Err(Fault::InvalidArgument(_))), "{text}");
        }
    }
}
