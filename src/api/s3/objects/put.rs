//! PutObject.

use super::super::Store;
use super::super::conditions;
use super::super::headers::{etag_header, object_checksums, stored_headers};
use super::upload_body::upload;
use crate::actors::gateway::PutObjectRequest;
use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response, S3Result};

pub async fn put(store: &Store, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let input = request.input;
    let headers = stored_headers(&request.headers, input.metadata)?;
    let conditions = conditions::of_write(&request.headers)?;
    let upload = upload(&request.headers, input.body, request.trailing_headers, None)?;
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let put = PutObjectRequest { bucket: bucket.id, key: input.key, headers, conditions, upload };
    let manifest = store.gateway.put_object(put).await?;
    let checksums = object_checksums(&manifest);
    Ok(S3Response::new(PutObjectOutput {
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        checksum_type: checksums.kind,
        e_tag: Some(etag_header(&manifest.etag)),
        ..Default::default()
    }))
}
