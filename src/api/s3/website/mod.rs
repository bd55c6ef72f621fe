//! GetBucketWebsite, PutBucketWebsite and DeleteBucketWebsite, and the website of a bucket: its routing, its pages, and
//! its error pages. `serve` answers the requests of visitors.

mod page;
mod pages;
mod problem;
mod routing;
mod serve;
mod site;
pub(super) mod wire;

pub use page::{Failure, error_headers, error_page};
pub use pages::SiteRequest;
pub use routing::{ErrorResponse, Redirection, Step, WebsiteRequest};
pub use serve::serve;
#[cfg(test)]
use site::Site;
pub use site::{SiteError, Website};

use super::checksums::content_length;
use super::{Store, documents};
use crate::actors::meta::{BucketDocument, DocumentKey, MetaView};
use crate::api::errors::{ArgumentFault, Fault, Text};
use crate::types::BucketId;
use s3s::dto::{
    DeleteBucketWebsiteInput, DeleteBucketWebsiteOutput, GetBucketWebsiteInput, GetBucketWebsiteOutput,
    PutBucketWebsiteInput, PutBucketWebsiteOutput,
};
use s3s::{S3Request, S3Response, S3Result};

/// S3's limit on the body of PutBucketWebsite, in bytes.
const CONFIGURATION_BYTES_MAX: u64 = 128 << 10;
/// The fault of a bucket that is not a website.
const NONE: Fault =
    Fault::NoConfiguration("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration");

/// Returns the website of a bucket, if it has one.
pub fn website_of(view: &MetaView, bucket: BucketId) -> S3Result<Option<Website>> {
    documents::load(view, &document(bucket))
}

pub async fn get(store: &Store, input: GetBucketWebsiteInput) -> S3Result<GetBucketWebsiteOutput> {
    let (row, view) = store.bucket(&input.bucket).await?;
    let found = website_of(&view, row.bucket.id)?.ok_or(NONE)?;
    Ok(wire::to_dto(found))
}

pub async fn put(
    store: &Store,
    request: S3Request<PutBucketWebsiteInput>,
) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
    let length = content_length(&request.headers).unwrap_or_default();
    let input = request.input;
    let (row, _) = store.bucket(&input.bucket).await?;
    if length > CONFIGURATION_BYTES_MAX {
        return Err(Fault::MessageTooLong.into());
    }
    let website = wire::from_dto(input.website_configuration).map_err(fault_of)?;
    documents::save(store, document(row.bucket.id), &website).await?;
    Ok(S3Response::new(PutBucketWebsiteOutput::default()))
}

pub async fn delete(store: &Store, input: DeleteBucketWebsiteInput) -> S3Result<DeleteBucketWebsiteOutput> {
    let (row, _) = store.bucket(&input.bucket).await?;
    documents::remove(store, document(row.bucket.id)).await?;
    Ok(DeleteBucketWebsiteOutput::default())
}

fn document(bucket: BucketId) -> DocumentKey {
    DocumentKey::Bucket(bucket, BucketDocument::Website, String::new())
}

fn fault_of(error: SiteError) -> Fault {
    match error {
        SiteError::Malformed(_) => Fault::MalformedXml,
        SiteError::NoIndex => {
            let value = Some(Text::Own("null".to_owned()));
            ArgumentFault { value, ..ArgumentFault::bare("IndexDocument", error.to_string()) }.into()
        }
        SiteError::IndexSuffix => ArgumentFault::bare("IndexDocument", error.to_string()).into(),
        SiteError::ErrorKey => ArgumentFault::bare("ErrorDocument", error.to_string()).into(),
        SiteError::NoHost
        | SiteError::Scheme
        | SiteError::TooManyRules(_)
        | SiteError::TwoKeys
        | SiteError::RedirectStatus(_)
        | SiteError::ErrorStatus(_) => Fault::InvalidRequest(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
