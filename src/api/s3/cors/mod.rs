//! GetBucketCors, PutBucketCors and DeleteBucketCors, and the CORS headers that a bucket's rules give browsers: in the
//! answer to a preflight request (OPTIONS), and in answers to cross-origin requests, including errors.

mod answer;
mod rules;

pub use answer::{Preflight, PreflightRefusal, answer_headers};
pub use rules::{CorsError, CorsRule, CorsRules, ParsedRules};

use super::{Store, documents};
use crate::actors::meta::{BucketDocument, DocumentKey, MetaView};
use crate::api::cache::Made;
use crate::api::errors::Fault;
use crate::types::BucketId;
use http::HeaderMap;
use s3s::S3Result;
use s3s::dto;
use s3s::dto::{
    DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput, GetBucketCorsOutput, PutBucketCorsInput,
    PutBucketCorsOutput,
};
use std::sync::Arc;

/// The fault of a bucket without CORS rules.
const NONE: Fault = Fault::NoConfiguration("NoSuchCORSConfiguration", "The CORS configuration does not exist");

/// Returns a bucket's CORS rules, if it has any.
pub fn rules_of(view: &MetaView, bucket: BucketId) -> S3Result<Option<CorsRules>> {
    documents::load(view, &document(bucket))
}

/// Returns the parsed CORS rules of the bucket with this name, if it has any. They are cached between requests.
pub async fn kept_rules(store: &Store, bucket: &str) -> S3Result<Arc<Option<ParsedRules>>> {
    kept_rules_of(store, &store.view().await?, bucket)
}

fn kept_rules_of(store: &Store, view: &MetaView, bucket: &str) -> S3Result<Arc<Option<ParsedRules>>> {
    let parsed =
        |read: Made<Option<CorsRules>>| Some(Made { value: read.value.map(ParsedRules::from), bytes: read.bytes });
    let read = || {
        let row = store.row(view, bucket)?;
        documents::load_sized(view, &document(row.bucket.id)).map(parsed)
    };
    Ok(store.memos.cors.get(view, bucket, read)?.unwrap_or_default())
}

/// Returns the headers of the answer to an OPTIONS request, whose status is 200. The request is not signed, and the
/// answer reveals nothing else about the bucket.
pub async fn answer_preflight(store: &Store, bucket: &str, request: &HeaderMap) -> S3Result<HeaderMap> {
    let asked = Preflight::read(request).map_err(fault_of_preflight)?;
    let view = store.view().await?;
    if view.bucket(bucket)?.is_none() {
        return Err(fault_of_preflight(PreflightRefusal::NoSuchBucket).into());
    }
    let rules = kept_rules_of(store, &view, bucket)?;
    Ok(asked.answer((*rules).as_ref()).map_err(fault_of_preflight)?)
}

pub async fn get(store: &Store, input: GetBucketCorsInput) -> S3Result<GetBucketCorsOutput> {
    let (row, view) = store.bucket(&input.bucket).await?;
    let found = rules_of(&view, row.bucket.id)?.ok_or(NONE)?;
    let rules = found.rules.into_iter().map(to_dto).collect();
    Ok(GetBucketCorsOutput { cors_rules: Some(rules) })
}

pub async fn put(store: &Store, input: PutBucketCorsInput) -> S3Result<PutBucketCorsOutput> {
    let (row, _) = store.bucket(&input.bucket).await?;
    let rules = from_dto(input.cors_configuration).map_err(fault_of)?;
    documents::save(store, document(row.bucket.id), &rules).await?;
    Ok(PutBucketCorsOutput::default())
}

pub async fn delete(store: &Store, input: DeleteBucketCorsInput) -> S3Result<DeleteBucketCorsOutput> {
    let (row, _) = store.bucket(&input.bucket).await?;
    documents::remove(store, document(row.bucket.id)).await?;
    Ok(DeleteBucketCorsOutput::default())
}

fn document(bucket: BucketId) -> DocumentKey {
    DocumentKey::Bucket(bucket, BucketDocument::Cors, String::new())
}

pub(super) fn from_dto(given: dto::CORSConfiguration) -> Result<CorsRules, CorsError> {
    let rules = given.cors_rules.into_iter().map(|given| CorsRule {
        id: given.id.filter(|id| !id.is_empty()),
        methods: given.allowed_methods,
        origins: given.allowed_origins,
        headers: given.allowed_headers.unwrap_or_default(),
        exposed_headers: given.expose_headers.unwrap_or_default(),
        max_age_seconds: given.max_age_seconds,
    });
    CorsRules::new(rules.collect())
}

pub(super) fn to_dto(rule: CorsRule) -> dto::CORSRule {
    let given = |list: Vec<String>| (!list.is_empty()).then_some(list);
    dto::CORSRule {
        allowed_headers: given(rule.headers),
        allowed_methods: rule.methods,
        allowed_origins: rule.origins,
        expose_headers: given(rule.exposed_headers),
        id: rule.id,
        max_age_seconds: rule.max_age_seconds,
    }
}

fn fault_of(error: CorsError) -> Fault {
    match error {
        CorsError::Malformed => Fault::MalformedXml,
        CorsError::IdTooLong => Fault::InvalidArgument(error.to_string()),
        error => Fault::InvalidRequest(error.to_string()),
    }
}

fn fault_of_preflight(refusal: PreflightRefusal) -> Fault {
    match refusal {
        PreflightRefusal::NoOrigin | PreflightRefusal::Method(_) | PreflightRefusal::Header(_) => {
            Fault::BadRequest(refusal.to_string())
        }
        PreflightRefusal::NoSuchBucket | PreflightRefusal::NotEnabled | PreflightRefusal::NotAllowed => {
            Fault::AccessForbidden(refusal.to_string())
        }
    }
}

#[cfg(test)]
mod tests;
