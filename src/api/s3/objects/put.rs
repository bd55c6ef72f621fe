//! PutObject.

use super::super::Store;
use super::super::checksums::{DEFAULT, add_headers};
use super::super::event_drafts::pending_event;
use super::super::lifecycle::Expirations;
use super::super::object_headers::{etag_header, object_checksum, stored_headers};
use super::super::preconditions;
use super::in_place::{Appended, append, write_offset};
use super::sealed::RequestedSealing;
use super::traits::requested_traits;
use super::upload_body::upload;
use crate::actors::events::EventName;
use crate::actors::gateway::PutObjectRequest;
use crate::actors::meta::{ETagCondition, WriteConditions};
use crate::actors::sealing::SealedObject;
use crate::api::errors::Fault;
use crate::api::s3::version::made;
use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

/// PutObject. With an offset, appends the bytes to the existing object, or creates the object if there is none.
pub async fn put(store: &Store, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let asked = preconditions::write_conditions(&request.headers)?;
    let Some(offset) = write_offset(&request.headers)? else {
        let (response, _) = create(store, request, asked).await?;
        return Ok(response);
    };
    let request = match append(store, request, offset).await? {
        Appended::Done(response) => return Ok(*response),
        Appended::Absent(request) => *request,
    };
    let conditions = WriteConditions { if_none_match: Some(ETagCondition::Any), ..asked.clone() };
    let created = create(store, request, conditions).await;
    let came_between = |error: &S3Error| *error.code() == S3ErrorCode::PreconditionFailed;
    match created {
        Ok((mut response, size_bytes)) => {
            response.output.size = i64::try_from(size_bytes).ok();
            Ok(response)
        }
        Err(error) if came_between(&error) && asked.if_none_match != Some(ETagCondition::Any) => {
            Err(Fault::InvalidWriteOffset.into())
        }
        Err(error) => Err(error),
    }
}

/// Creates the object. Returns the answer and the object's size.
async fn create(
    store: &Store,
    request: S3Request<PutObjectInput>,
    conditions: WriteConditions,
) -> S3Result<(S3Response<PutObjectOutput>, u64)> {
    let input = request.input;
    let headers = stored_headers(&request.headers, input.metadata)?;
    let mut upload = upload(store, &request.headers, input.body, Some(DEFAULT))?;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let mut traits = requested_traits(store, &request.headers, &bucket, &view)?;
    let id = bucket.bucket.id;
    let event = if store.call.is_form { EventName::ObjectCreatedPost } else { EventName::ObjectCreatedPut };
    let event = pending_event(store, &bucket, event);
    let asked = RequestedSealing::of(store, &request.headers, &bucket, view.clone()).await?;
    let seal = asked.prepare(store, SealedObject { bucket: id, key: &input.key })?;
    let expirations = Expirations::of(&store.memos, &view, &bucket)?;
    // The client may send the body slowly, and a view keeps the tables from being compacted.
    drop((asked, view));
    traits.sealing = seal.record;
    upload.checks.kept.hides_tag = seal.hides_tag;
    let data_key = seal.data_key;
    let key = input.key.clone();
    let put = PutObjectRequest { bucket: id, key: input.key, headers, conditions, traits, data_key, event, upload };
    let object = store.gateway().held_by(store.call.holder()).put_object(put).await?;
    let mut response = S3Response::new(PutObjectOutput {
        bucket_key_enabled: seal.shown.bucket_key_enabled,
        e_tag: Some(etag_header(&object.manifest.etag)),
        expiration: expirations.header(&key, &object),
        server_side_encryption: seal.shown.server_side_encryption,
        sse_customer_algorithm: seal.shown.sse_customer_algorithm,
        sse_customer_key_md5: seal.shown.sse_customer_key_md5,
        ssekms_key_id: seal.shown.ssekms_key_id,
        ssekms_encryption_context: seal.shown.ssekms_encryption_context,
        version_id: made(object.version),
        ..Default::default()
    });
    add_headers(object_checksum(&object.manifest).as_ref(), &mut response.headers);
    Ok((response, object.manifest.size_bytes))
}
