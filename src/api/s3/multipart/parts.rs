//! UploadPart and UploadPartCopy.

use super::super::checksums::{DEFAULT, ShownChecksum, add_headers, carried, carrying, gives_any};
use super::super::encryption::{EncryptionFields, key_of_part, shown};
use super::super::object_headers::{etag_header, timestamp};
use super::super::objects::sealed::data_key;
use super::super::objects::{open_source, upload};
use super::super::version;
use super::super::{Readable, Store};
use super::{Open, open, parse_part_number};
use crate::actors::gateway::{BodyChecks, ByteRange, CopyTarget, Kept, PutPartRequest, StoredPart, Upload};
use crate::actors::meta::{Checksum, ChecksumAlgorithm, ChecksumKind, ETag, UploadRecord};
use crate::actors::sealing::{DataKey, SealedObject, Sealing};
use crate::api::errors::Fault;
use crate::limits::PUT_BYTES_MAX;
use http::HeaderMap;
use s3s::dto::{CopyPartResult, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput};
use s3s::{S3Request, S3Response, S3Result};

pub async fn upload_part(store: &Store, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
    let input = request.input;
    let number = parse_part_number(input.part_number)?;
    let open = open(store, &input.bucket, &input.key, &input.upload_id).await?;
    let asked = algorithm_of(&open.upload);
    let mut upload = upload(store, &request.headers, input.body, asked.or(Some(DEFAULT)))?;
    check_algorithm(open.upload.checksum, gives_any(&request.headers), &upload)?;
    let PartSeal { data_key, hides_tag, shown } = seal(store, &request.headers, &open, &input.key)?;
    // The object's checksum is combined from those of its parts. If the upload was begun without a checksum, it is the
    // default one, so each part needs it besides any that the client gives.
    let given = upload.checks.checksum.as_ref().map(|(algorithm, _)| *algorithm);
    let checksum = Some(DEFAULT).filter(|_| asked.is_none() && given != Some(DEFAULT));
    upload.checks.kept = Kept { checksum, hides_tag };
    let (bucket, id) = (open.bucket.bucket.id, open.upload.id);
    // The client may send the body slowly, and a view keeps the tables from being compacted.
    drop(open);
    let put = PutPartRequest { bucket, key: input.key, id, number, data_key, upload };
    let StoredPart { row, checksum } = store.gateway().held_by(store.call.holder()).put_part(put).await?;
    let checksum = shown_checksum(checksum.as_ref(), asked.is_some() || gives_any(&request.headers));
    let mut response = S3Response::new(UploadPartOutput {
        bucket_key_enabled: shown.bucket_key_enabled,
        e_tag: Some(etag_header(&ETag { md5: row.md5, parts: None })),
        server_side_encryption: shown.server_side_encryption,
        sse_customer_algorithm: shown.sse_customer_algorithm,
        sse_customer_key_md5: shown.sse_customer_key_md5,
        ssekms_key_id: shown.ssekms_key_id,
        ..Default::default()
    });
    add_headers(checksum.as_ref(), &mut response.headers);
    Ok(response)
}

/// The encryption of a part, and its fields in the answer.
struct PartSeal {
    data_key: Option<DataKey>,
    hides_tag: bool,
    shown: EncryptionFields,
}

/// Returns the encryption of a part, which is that of its upload. A customer-provided key is in the request for each
/// part.
fn seal(store: &Store, headers: &HeaderMap, open: &Open, key: &str) -> S3Result<PartSeal> {
    let sealing = open.sealing.as_ref();
    let customer = key_of_part(headers, sealing)?;
    let sealed_object = SealedObject { bucket: open.bucket.bucket.id, key };
    let data_key = data_key(store, &open.view, sealed_object, sealing, customer.as_ref())?;
    Ok(PartSeal {
        data_key,
        hides_tag: sealing.is_some_and(Sealing::hides_tag),
        shown: shown(sealing, customer.as_ref()),
    })
}

fn algorithm_of(upload: &UploadRecord) -> Option<ChecksumAlgorithm> {
    upload.checksum.map(|(algorithm, _)| algorithm)
}

/// Checks the checksum algorithm of a part. It must be that of the upload, or the object's checksum could not be
/// combined from those of the parts. If the object's is composite, the client must give the checksum of each part.
fn check_algorithm(
    begun_with: Option<(ChecksumAlgorithm, ChecksumKind)>,
    gives_any: bool,
    upload: &Upload,
) -> Result<(), Fault> {
    let Some((asked, kind)) = begun_with else { return Ok(()) };
    let name = |algorithm: ChecksumAlgorithm| algorithm.name().to_ascii_lowercase();
    let given = match upload.checks.checksum {
        Some((given, _)) if given != asked => name(given),
        _ if kind == ChecksumKind::Composite && !gives_any => "null".to_owned(),
        _ => return Ok(()),
    };
    Err(Fault::InvalidRequest(format!(
        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {given}",
        name(asked)
    )))
}

/// Returns the checksum of a part for the answer, if the client gave it or began the upload with one (`asked`).
/// Otherwise it is the default one, which only serves to compute the object's.
fn shown_checksum(own: Option<&Checksum>, asked: bool) -> Option<ShownChecksum> {
    own.filter(|_| asked).map(ShownChecksum::of_part)
}

pub async fn upload_part_copy(
    store: &Store,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    let number = parse_part_number(input.part_number)?;
    let open = open(store, &input.bucket, &input.key, &input.upload_id).await?;
    let PartSeal { data_key, hides_tag, shown } = seal(store, &request.headers, &open, &input.key)?;
    let Readable { bucket: source_bucket, object: source, .. } =
        open_source(store, open.view.clone(), &input.copy_source, &request.headers).await?;
    let copy_source_version_id = version::shown(&source_bucket, source.version.version);
    let size_bytes = source.version.manifest.size_bytes;
    let range = match input.copy_source_range.as_deref() {
        None => ByteRange { start: 0, end: size_bytes },
        Some(text) => parse_copy_range(text, size_bytes)?,
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
        checksum: Some((algorithm_of(&open.upload).unwrap_or(DEFAULT), None)),
        kept: Kept { checksum: None, hides_tag },
    };
    let gateway = store.gateway().held_by(store.call.holder());
    let (body, permit) = gateway.read_for_put(source, range, data_key.as_ref(), CopyTarget::Part).await?;
    let upload = Upload { body, checks, trailer: None };
    let (bucket, id, has_checksum) = (open.bucket.bucket.id, open.upload.id, open.upload.checksum.is_some());
    // The copy may take long, and a view keeps the tables from being compacted.
    drop(open);
    let put = PutPartRequest { bucket, key: input.key, id, number, data_key, upload };
    let StoredPart { row, checksum } = gateway.put_part_within(permit, put).await?;
    let checksum = shown_checksum(checksum.as_ref(), has_checksum);
    let result = CopyPartResult {
        checksum_crc32: carried(checksum.as_ref()),
        e_tag: Some(etag_header(&ETag { md5: row.md5, parts: None })),
        last_modified: Some(timestamp(row.modified)),
        ..CopyPartResult::default()
    };
    Ok(carrying(UploadPartCopyOutput {
        bucket_key_enabled: shown.bucket_key_enabled,
        copy_part_result: Some(result),
        copy_source_version_id,
        server_side_encryption: shown.server_side_encryption,
        sse_customer_algorithm: shown.sse_customer_algorithm,
        sse_customer_key_md5: shown.sse_customer_key_md5,
        ssekms_key_id: shown.ssekms_key_id,
        ..Default::default()
    }))
}

/// Parses `bytes=first-last`. Both ends are required, and must be within the source.
fn parse_copy_range(text: &str, size_bytes: u64) -> Result<ByteRange, Fault> {
    let parsed = || {
        let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    };
    let (first, last) = parsed().filter(|(first, last)| first <= last).ok_or_else(|| {
        Fault::InvalidArgument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy"
                .to_owned(),
        )
    })?;
    if first >= size_bytes {
        let why = "The specified copy range is invalid for the source object size";
        return Err(Fault::InvalidRequest(why.to_owned()));
    }
    if last >= size_bytes {
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
    use crate::api::errors::Fault;

    #[test]
    fn the_range_of_a_copied_part_has_both_ends_within_the_source() {
        assert_eq!(parse_copy_range("bytes=0-9", 10), Ok(ByteRange { start: 0, end: 10 }));
        assert_eq!(parse_copy_range("bytes=4-4", 10), Ok(ByteRange { start: 4, end: 5 }));
        for text in
            ["bytes=0-10", "bytes=5-4", "bytes=5-", "bytes=-5", "0-4", "bytes=a-b", "bytes=0-18446744073709551615"]
        {
            assert!(matches!(parse_copy_range(text, 10), Err(Fault::InvalidArgument(_))), "{text}");
        }
        assert!(matches!(parse_copy_range("bytes=10-11", 10), Err(Fault::InvalidRequest(_))));
    }
}
