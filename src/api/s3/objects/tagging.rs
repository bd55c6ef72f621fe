//! GetObjectTagging, GetBucketTagging and the operations that set and remove tags.

use crate::actors::events::EventName;
use crate::actors::meta::{BucketDocument, Change, ChangeTraits, Reply, TraitsChange};
use crate::api::errors::Fault;
use crate::api::s3::documents;
use crate::api::s3::documents::bucket_document;
use crate::api::s3::event_drafts::EventDrafts;
use crate::api::s3::tags::{BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, Tags, of_set, to_set};
use crate::api::s3::version::{manifest_of, pick, shown};
use crate::api::s3::{Store, unexpected};
use http::StatusCode;
use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput, DeleteObjectTaggingOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutObjectTaggingInput, PutObjectTaggingOutput,
};
use s3s::{HttpResponse, S3Request, S3Response, S3Result};

pub async fn get_object(store: &Store, input: GetObjectTaggingInput) -> S3Result<GetObjectTaggingOutput> {
    let found = store.object(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    let version_id = shown(&found.bucket, found.version.version);
    Ok(GetObjectTaggingOutput { tag_set: to_set(&found.version.traits.tags), version_id })
}

pub async fn put_object(store: &Store, input: PutObjectTaggingInput) -> S3Result<PutObjectTaggingOutput> {
    let tags = of_set(input.tagging.tag_set, OBJECT_TAGS_MAX)?;
    let place = (input.bucket.as_str(), input.key, input.version_id.as_deref());
    let version_id = set(store, place, tags, EventName::ObjectTaggingPut).await?;
    Ok(PutObjectTaggingOutput { version_id })
}

pub async fn delete_object(
    store: &Store,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = request.input;
    let place = (input.bucket.as_str(), input.key, input.version_id.as_deref());
    let version_id = set(store, place, Vec::new(), EventName::ObjectTaggingDelete).await?;
    let mut response = S3Response::new(DeleteObjectTaggingOutput { version_id });
    response.status = Some(StatusCode::NO_CONTENT);
    Ok(response)
}

async fn set(
    store: &Store,
    (bucket, key, version): (&str, String, Option<&str>),
    tags: Tags,
    event: EventName,
) -> S3Result<Option<String>> {
    let pick = pick(version)?;
    store.check_changeable()?;
    let (bucket, view) = store.bucket(bucket).await?;
    let event = EventDrafts::of(store, &view, &bucket)?.draft(event, &key);
    let to = TraitsChange::Tags(tags);
    let manifest = Some(manifest_of(&view, &bucket, &key, pick)?);
    let change = ChangeTraits { bucket: bucket.bucket.id, key, pick, manifest, to, event };
    match store.propose(Change::ChangeTraits(Box::new(change))).await? {
        Reply::ObjectPut { object } => Ok(shown(&bucket, object.version)),
        reply => Err(unexpected(&reply)),
    }
}

pub async fn get_bucket(store: &Store, input: GetBucketTaggingInput) -> S3Result<GetBucketTaggingOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let tags: Option<Tags> = documents::load(&view, &bucket_document(&bucket, BucketDocument::Tagging))?;
    let tag_set = to_set(&tags.ok_or(Fault::NoTags)?);
    Ok(GetBucketTaggingOutput { tag_set })
}

/// Marks an answer that needs the status 204, where s3s sets 200 (API Reference, "PutBucketTagging").
#[derive(Clone, Copy)]
struct NoContent;

/// Sets the status 204 of a marked answer.
pub fn without_content(mut response: HttpResponse) -> HttpResponse {
    if response.extensions_mut().remove::<NoContent>().is_some() {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}

/// PutBucketTagging. An empty set removes the bucket's tags: as in S3, GetBucketTagging then fails with NoSuchTagSet.
/// For an object, an empty set stays one.
pub async fn put_bucket(
    store: &Store,
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let tags = of_set(request.input.tagging.tag_set, BUCKET_TAGS_MAX)?;
    let (bucket, _) = store.bucket(&request.input.bucket).await?;
    let document = bucket_document(&bucket, BucketDocument::Tagging);
    if tags.is_empty() {
        documents::remove(store, document).await?;
    } else {
        documents::save(store, document, &tags).await?;
    }
    let mut response = S3Response::new(PutBucketTaggingOutput::default());
    response.extensions.insert(NoContent);
    Ok(response)
}

pub async fn delete_bucket(store: &Store, input: DeleteBucketTaggingInput) -> S3Result<DeleteBucketTaggingOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    documents::remove(store, bucket_document(&bucket, BucketDocument::Tagging)).await?;
    Ok(DeleteBucketTaggingOutput::default())
}

#[cfg(test)]
mod tests {
    use super::{NoContent, without_content};
    use s3s::{Body, HttpResponse};

    #[test]
    fn a_marked_answer_gets_the_status_no_content() {
        let status = |marked: bool| {
            let mut response = HttpResponse::new(Body::empty());
            if marked {
                response.extensions_mut().insert(NoContent);
            }
            without_content(response).status().as_u16()
        };
        assert_eq!((status(true), status(false)), (204, 200));
    }
}
