//! Configurations of a single value, transfer acceleration and request payment, which are only stored for the tools
//! that set them; and replication, which no bucket here has.

use crate::actors::meta::BucketDocument;
use crate::api::errors::Fault;
use crate::api::s3::documents::bucket_document;
use crate::api::s3::{Store, documents};
use s3s::S3Result;
use s3s::dto::{
    BucketAccelerateStatus, DeleteBucketReplicationInput, DeleteBucketReplicationOutput,
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput, GetBucketReplicationInput,
    GetBucketReplicationOutput, GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput, Payer,
    PutBucketAccelerateConfigurationInput, PutBucketAccelerateConfigurationOutput, PutBucketRequestPaymentInput,
    PutBucketRequestPaymentOutput,
};
use serde::{Deserialize, Serialize};

/// The stored acceleration configuration.
#[derive(Serialize, Deserialize)]
struct Accelerate {
    status: String,
}

/// The stored request payment configuration.
#[derive(Serialize, Deserialize)]
struct RequestPayment {
    payer: String,
}

/// GetBucketAccelerateConfiguration; no `Status` if it was never set.
pub async fn get_accelerate(
    store: &Store,
    input: GetBucketAccelerateConfigurationInput,
) -> S3Result<GetBucketAccelerateConfigurationOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let found: Option<Accelerate> = documents::load(&view, &bucket_document(&bucket, BucketDocument::Accelerate))?;
    let status = found.map(|found| BucketAccelerateStatus::from(found.status));
    Ok(GetBucketAccelerateConfigurationOutput { status, request_charged: None })
}

pub async fn put_accelerate(
    store: &Store,
    input: PutBucketAccelerateConfigurationInput,
) -> S3Result<PutBucketAccelerateConfigurationOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let status = input.accelerate_configuration.status.ok_or(Fault::MalformedXml)?;
    if !matches!(status.as_str(), BucketAccelerateStatus::ENABLED | BucketAccelerateStatus::SUSPENDED) {
        return Err(Fault::MalformedXml.into());
    }
    if input.bucket.contains('.') {
        let why = "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names";
        return Err(Fault::InvalidRequest(why.to_owned()).into());
    }
    let value = Accelerate { status: status.as_str().to_owned() };
    documents::save(store, bucket_document(&bucket, BucketDocument::Accelerate), &value).await?;
    Ok(PutBucketAccelerateConfigurationOutput::default())
}

pub async fn get_payment(
    store: &Store,
    input: GetBucketRequestPaymentInput,
) -> S3Result<GetBucketRequestPaymentOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let found: Option<RequestPayment> =
        documents::load(&view, &bucket_document(&bucket, BucketDocument::RequestPayment))?;
    let payer = found.map_or(Payer::from_static(Payer::BUCKET_OWNER), |found| Payer::from(found.payer));
    Ok(GetBucketRequestPaymentOutput { payer: Some(payer) })
}

pub async fn put_payment(
    store: &Store,
    input: PutBucketRequestPaymentInput,
) -> S3Result<PutBucketRequestPaymentOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let payer = input.request_payment_configuration.payer;
    if !matches!(payer.as_str(), Payer::BUCKET_OWNER | Payer::REQUESTER) {
        return Err(Fault::MalformedXml.into());
    }
    let value = RequestPayment { payer: payer.as_str().to_owned() };
    documents::save(store, bucket_document(&bucket, BucketDocument::RequestPayment), &value).await?;
    Ok(PutBucketRequestPaymentOutput::default())
}

pub async fn get_replication(store: &Store, input: GetBucketReplicationInput) -> S3Result<GetBucketReplicationOutput> {
    store.bucket(&input.bucket).await?;
    let (code, why) = ("ReplicationConfigurationNotFoundError", "The replication configuration was not found");
    Err(Fault::NoConfiguration(code, why).into())
}

pub async fn delete_replication(
    store: &Store,
    input: DeleteBucketReplicationInput,
) -> S3Result<DeleteBucketReplicationOutput> {
    store.bucket(&input.bucket).await?;
    Ok(DeleteBucketReplicationOutput::default())
}
