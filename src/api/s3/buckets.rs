//! ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation, GetBucketVersioning.

use super::errors::Fault;
use super::headers::timestamp;
use super::list::{decode_token, encode_token};
use super::{ACCOUNT, Store, unexpected};
use crate::actors::meta::{Change, Reply};
use crate::limits::LIST_BUCKETS_MAX;
use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
    HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput,
};
use s3s::{S3Request, S3Response, S3Result};

/// The region whose name S3 leaves out of locations.
const REGION_UNNAMED: &str = "us-east-1";
/// Buckets looked up at a time.
const PAGE: usize = 1000;

pub async fn list(store: &Store, request: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
    let input = request.input;
    let wanted = match input.max_buckets {
        None => LIST_BUCKETS_MAX,
        Some(wanted) => usize::try_from(wanted)
            .ok()
            .filter(|wanted| (1..=LIST_BUCKETS_MAX).contains(wanted))
            .ok_or_else(|| Fault::InvalidArgument(format!("max-buckets must be between 1 and {LIST_BUCKETS_MAX}.")))?,
    };
    let mut after = input.continuation_token.as_deref().map(decode_token).transpose()?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let view = store.view().await?;
    let mut buckets = Vec::new();
    let mut more = true;
    while more && buckets.len() < wanted {
        let (page, follow) = view.buckets(&prefix, after.as_deref(), PAGE.min(wanted - buckets.len()))?;
        more = follow && !page.is_empty();
        if let Some(last) = page.last() {
            after = Some(last.name.clone());
        }
        let here = |region: &str| input.bucket_region.as_deref().is_none_or(|asked| asked == region);
        buckets.extend(page.into_iter().filter(|bucket| here(&bucket.region)).map(|bucket| Bucket {
            bucket_region: Some(bucket.region),
            creation_date: Some(timestamp(bucket.created)),
            name: Some(bucket.name),
        }));
    }
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets),
        continuation_token: after.filter(|_| more).map(|after| encode_token(&after)),
        owner: Some(store.owner()),
        prefix: input.prefix,
    }))
}

pub async fn create(store: &Store, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
    let input = request.input;
    if let Some(wanted) = input.create_bucket_configuration {
        if wanted.bucket.is_some() || wanted.location.is_some() {
            return Err(Fault::NotImplemented("Directory buckets are not implemented.".to_owned()).into());
        }
        let elsewhere = |place: &str| !place.is_empty() && place != store.region;
        if wanted.location_constraint.is_some_and(|place| elsewhere(place.as_str())) {
            return Err(Fault::InvalidLocationConstraint.into());
        }
    }
    store.check_writable()?;
    let location = format!("/{}", input.bucket);
    let change = Change::CreateBucket { name: input.bucket, region: store.region.clone(), owner: ACCOUNT.to_owned() };
    match store.propose(change).await? {
        Reply::BucketCreated { .. } => Ok(S3Response::new(CreateBucketOutput { location: Some(location) })),
        reply => Err(unexpected(&reply)),
    }
}

pub async fn head(store: &Store, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    let (bucket, _) = store.bucket(&request.input.bucket).await?;
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(bucket.region), ..Default::default() }))
}

pub async fn delete(store: &Store, request: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
    store.check_changeable()?;
    store.propose(Change::DeleteBucket { name: request.input.bucket }).await?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub async fn location(
    store: &Store,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let (bucket, _) = store.bucket(&request.input.bucket).await?;
    let named = (bucket.region != REGION_UNNAMED).then(|| BucketLocationConstraint::from(bucket.region));
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint: named }))
}

/// Versioning was never enabled: S3 says so by saying nothing.
pub async fn versioning(
    store: &Store,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    store.bucket(&request.input.bucket).await?;
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}
