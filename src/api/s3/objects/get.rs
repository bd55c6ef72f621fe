//! GetObject and HeadObject: the same answer, with and without the bytes.

use super::super::checksums::{ShownChecksum, add_headers};
use super::super::encryption::{self, check_read, key_of_read};
use super::super::lifecycle::expiration_of;
use super::super::object_headers::{Description, describe, object_checksum};
use super::super::preconditions::{ReadConditions, allows_range};
use super::super::{Found, Readable, Store, locks};
use super::sealed::{check_customer, sealing_of, unsealed};
use super::slice::{self, Slice, select};
use crate::actors::gateway::BodyStream;
use crate::actors::meta::{Manifest, ObjectVersion};
use crate::actors::sealing::SealedObject;
use crate::api::s3::version;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use s3s::dto::{ChecksumMode, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, StreamingBlob};
use s3s::{HttpResponse, S3Request, S3Response, S3Result, StdError};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Answers GetObject. `head` repeats the list of response headers, with few differences: change both.
pub async fn get(store: &Store, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let input = request.input;
    check_read(&request.headers)?;
    slice::check(input.range.as_ref(), input.part_number)?;
    let Readable { bucket, view, object } = store.open(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    let sealing = sealing_of(&object.version.traits)?;
    let customer = key_of_read(&request.headers, sealing.as_ref())?;
    let sealed_object = SealedObject { bucket: bucket.bucket.id, key: &input.key };
    let object = unsealed(store, sealed_object, object, sealing.as_ref(), customer.as_ref())?;
    let encryption = encryption::shown(sealing.as_ref(), customer.as_ref());
    let size_bytes = object.version.manifest.size_bytes;
    ReadConditions::of_read(&request.headers).check_read(&object.version.manifest)?;
    let range = input.range.filter(|_| allows_range(&request.headers, &object.version.manifest));
    let slice = select(&view, &object.version.manifest, range, input.part_number)?;
    let shown = shown(&object.version.manifest, &slice, input.checksum_mode.as_ref());
    let expiration = match input.version_id {
        None => expiration_of(&store.memos, &view, &bucket, &input.key, &object.version)?,
        Some(_) => None,
    };
    let version_id = version::shown(&bucket, object.version.version);
    let locks = locks::shown(&bucket, &object.version.traits);
    let tag_count = i32::try_from(object.version.traits.tags.len()).ok().filter(|count| *count > 0);
    let body = match slice.length() {
        0 => None,
        length => {
            Some(blob(store.gateway().held_by(store.call.holder()).read_object(object, slice.range).await?, length))
        }
    };
    let mut response = S3Response::new(GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body,
        bucket_key_enabled: encryption.bucket_key_enabled,
        cache_control: shown.cache_control,
        content_disposition: shown.content_disposition,
        content_encoding: shown.content_encoding,
        content_language: shown.content_language,
        content_length: i64::try_from(slice.length()).ok(),
        content_range: slice.content_range(size_bytes),
        content_type: shown.content_type,
        e_tag: shown.e_tag,
        expiration,
        last_modified: shown.last_modified,
        metadata: shown.metadata,
        object_lock_legal_hold_status: locks.legal_hold,
        object_lock_mode: locks.mode,
        object_lock_retain_until_date: locks.until,
        parts_count: slice.parts_count.map(i32::from),
        server_side_encryption: encryption.server_side_encryption,
        sse_customer_algorithm: encryption.sse_customer_algorithm,
        sse_customer_key_md5: encryption.sse_customer_key_md5,
        ssekms_key_id: encryption.ssekms_key_id,
        storage_class: shown.storage_class,
        tag_count,
        version_id,
        website_redirect_location: shown.website_redirect_location,
        ..Default::default()
    });
    add_headers(shown.checksum.as_ref(), &mut response.headers);
    add_stored_and_overridden_headers(&mut response.headers, shown.expires, &store.call.overrides);
    Ok(response)
}

/// Adds the stored `Expires` header to the answer, and the headers that the request overrides, which replace stored
/// ones.
fn add_stored_and_overridden_headers(headers: &mut HeaderMap, expires: Option<HeaderValue>, overrides: &HeaderMap) {
    let own = expires.as_ref().map(|at| (&header::EXPIRES, at));
    let asked = overrides.iter().filter(|(_, value)| !value.is_empty());
    for (name, value) in own.into_iter().chain(asked) {
        headers.insert(name, value.clone());
    }
}

pub async fn head(store: &Store, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = request.input;
    check_read(&request.headers)?;
    slice::check(input.range.as_ref(), input.part_number)?;
    let found = store.object(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    let expiration = match input.version_id {
        None => expiration_of(&store.memos, &found.view, &found.bucket, &input.key, &found.version)?,
        Some(_) => None,
    };
    let Found { bucket, version: ObjectVersion { version, manifest, traits }, view } = found;
    let sealing = sealing_of(&traits)?;
    let customer = key_of_read(&request.headers, sealing.as_ref())?;
    let sealed_object = SealedObject { bucket: bucket.bucket.id, key: &input.key };
    check_customer(store, &view, sealed_object, sealing.as_ref(), customer.as_ref())?;
    let encryption = encryption::shown(sealing.as_ref(), customer.as_ref());
    ReadConditions::of_read(&request.headers).check_read(&manifest)?;
    let range = input.range.filter(|_| allows_range(&request.headers, &manifest));
    let slice = select(&view, &manifest, range, input.part_number)?;
    let shown = shown(&manifest, &slice, input.checksum_mode.as_ref());
    let content_range = slice.content_range(manifest.size_bytes);
    let is_partial = content_range.is_some();
    let locks = locks::shown(&bucket, &traits);
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        bucket_key_enabled: encryption.bucket_key_enabled,
        cache_control: shown.cache_control,
        content_disposition: shown.content_disposition,
        content_encoding: shown.content_encoding,
        content_language: shown.content_language,
        content_length: i64::try_from(slice.length()).ok(),
        content_range,
        content_type: shown.content_type,
        e_tag: shown.e_tag,
        expiration,
        last_modified: shown.last_modified,
        metadata: shown.metadata,
        object_lock_legal_hold_status: locks.legal_hold,
        object_lock_mode: locks.mode,
        object_lock_retain_until_date: locks.until,
        parts_count: slice.parts_count.map(i32::from),
        server_side_encryption: encryption.server_side_encryption,
        sse_customer_algorithm: encryption.sse_customer_algorithm,
        sse_customer_key_md5: encryption.sse_customer_key_md5,
        ssekms_key_id: encryption.ssekms_key_id,
        storage_class: shown.storage_class,
        version_id: version::shown(&bucket, version),
        website_redirect_location: shown.website_redirect_location,
        ..Default::default()
    };
    let mut response = S3Response::new(output);
    add_headers(shown.checksum.as_ref(), &mut response.headers);
    add_stored_and_overridden_headers(&mut response.headers, shown.expires, &store.call.overrides);
    if is_partial {
        response.extensions.insert(Partial);
    }
    if !traits.tags.is_empty() {
        response.headers.insert(s3s::header::X_AMZ_TAGGING_COUNT, HeaderValue::from(traits.tags.len()));
    }
    Ok(response)
}

/// Marks the answer to a HEAD of a range or a part of an object.
#[derive(Clone, Copy)]
struct Partial;

/// Sets the status 206 of a marked answer, where s3s has set 200 as for every HEAD of an object.
pub fn partial(mut response: HttpResponse) -> HttpResponse {
    if response.extensions_mut().remove::<Partial>().is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

fn shown(manifest: &Manifest, slice: &Slice, mode: Option<&ChecksumMode>) -> Description {
    let mut shown = describe(manifest);
    if mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) {
        shown.checksum = checksum(manifest, slice);
    }
    shown
}

/// Returns the checksum of exactly the bytes of the answer, by which clients verify them. A range has none. The
/// checksum of a part is shown with the type of the object's checksum.
fn checksum(manifest: &Manifest, slice: &Slice) -> Option<ShownChecksum> {
    match &slice.part_checksum {
        Some(checksum) => {
            let whole = manifest.checksum.as_ref().map_or(checksum.kind, |whole| whole.kind);
            Some(ShownChecksum { kind: Some(whole), ..ShownChecksum::of_part(checksum) })
        }
        None if !slice.partial => object_checksum(manifest),
        None => None,
    }
}

/// Returns a stream of an object's bytes as a body for s3s.
pub fn blob(stream: BodyStream, length: u64) -> StreamingBlob {
    StreamingBlob::from(s3s::Body::http_body_unsync(ObjectBody { stream, left: length }))
}

struct ObjectBody {
    stream: BodyStream,
    left: u64,
}

impl Body for ObjectBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        self.stream.as_mut().poll_next(cx).map(|next| {
            next.map(|chunk| {
                let chunk = chunk?;
                self.left = self.left.saturating_sub(chunk.len() as u64);
                Ok(Frame::data(chunk))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
