//! GetBucketLifecycleConfiguration, PutBucketLifecycleConfiguration and DeleteBucketLifecycle, and the expiry dates in
//! answers about objects and uploads. These dates count calendar days, even if a setting for trials shortens the day.

pub(super) mod wire;

use super::access::Memos;
use super::object_headers::{http_date, timestamp};
use super::{Store, documents};
use crate::actors::lifecycle::rules::{
    DAY, Expiry, ObjectFacts, Objection, RuleError, Rules, UploadFacts, object_expiry, upload_expiry,
};
use crate::actors::meta::{BucketDocument, BucketRow, DocumentKey, MetaView, ObjectVersion};
use crate::api::errors::Fault;
use crate::api::text::percent::encode;
use crate::types::{BucketId, UnixMs};
use s3s::S3Result;
use s3s::dto::{
    DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, GetBucketLifecycleConfigurationInput,
    GetBucketLifecycleConfigurationOutput, PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
    Timestamp, TransitionDefaultMinimumObjectSize,
};
use std::sync::Arc;

/// The latest time that a date in a header can name: the end of the year 9999.
const DATE_MS_MAX: u64 = 253_402_300_799_000;

/// The fault of a bucket without lifecycle rules.
const NONE: Fault =
    Fault::NoConfiguration("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist");

/// Returns a bucket's lifecycle rules, if it has any.
pub fn rules_of(view: &MetaView, bucket: BucketId) -> S3Result<Option<Rules>> {
    documents::load(view, &document(bucket))
}

/// Returns a bucket's lifecycle rules, if it has any. They are cached between requests.
fn kept_rules(memos: &Memos, view: &MetaView, bucket: &BucketRow) -> S3Result<Arc<Option<Rules>>> {
    let read = || documents::load_sized(view, &document(bucket.bucket.id)).map(Some);
    Ok(memos.lifecycles.get(view, &bucket.bucket.id, read)?.unwrap_or_default())
}

pub async fn get(
    store: &Store,
    input: GetBucketLifecycleConfigurationInput,
) -> S3Result<GetBucketLifecycleConfigurationOutput> {
    let (row, view) = store.bucket(&input.bucket).await?;
    let found = rules_of(&view, row.bucket.id)?.ok_or(NONE)?;
    let minimum = TransitionDefaultMinimumObjectSize::from_static(found.transition_minimum.text());
    Ok(GetBucketLifecycleConfigurationOutput {
        rules: Some(found.rules.into_iter().map(wire::to_dto).collect()),
        transition_default_minimum_object_size: Some(minimum),
    })
}

pub async fn put(
    store: &Store,
    input: PutBucketLifecycleConfigurationInput,
) -> S3Result<PutBucketLifecycleConfigurationOutput> {
    let (row, _) = store.bucket(&input.bucket).await?;
    let given = input.lifecycle_configuration.ok_or(Fault::MalformedXml)?;
    let fresh_id = || wire::rule_id(store.ambient.random_u128());
    let rules = wire::from_dto(given, input.transition_default_minimum_object_size, fresh_id).map_err(fault_of)?;
    documents::save(store, document(row.bucket.id), &rules).await?;
    let minimum = TransitionDefaultMinimumObjectSize::from_static(rules.transition_minimum.text());
    Ok(PutBucketLifecycleConfigurationOutput { transition_default_minimum_object_size: Some(minimum) })
}

pub async fn delete(store: &Store, input: DeleteBucketLifecycleInput) -> S3Result<DeleteBucketLifecycleOutput> {
    let (row, _) = store.bucket(&input.bucket).await?;
    documents::remove(store, document(row.bucket.id)).await?;
    Ok(DeleteBucketLifecycleOutput::default())
}

/// Returns the header `x-amz-expiration` for an answer about the current version of a key. As in S3, requests for a
/// version by its id are answered without it.
pub fn expiration_of(
    memos: &Memos,
    view: &MetaView,
    bucket: &BucketRow,
    key: &str,
    object: &ObjectVersion,
) -> S3Result<Option<String>> {
    Ok(Expirations::of(memos, view, bucket)?.header(key, object))
}

/// The rules by which the objects of a bucket expire, as they are when a write begins. So a write needs no view of the
/// metadata while it receives its body.
pub struct Expirations(Arc<Option<Rules>>);

impl Expirations {
    pub fn of(memos: &Memos, view: &MetaView, bucket: &BucketRow) -> S3Result<Self> {
        Ok(Self(kept_rules(memos, view, bucket)?))
    }

    /// Returns the header `x-amz-expiration` of an object.
    pub fn header(&self, key: &str, object: &ObjectVersion) -> Option<String> {
        let (size_bytes, tags) = (object.manifest.size_bytes, object.traits.tags.as_slice());
        let facts = ObjectFacts { key, size_bytes, tags, modified: object.manifest.modified };
        expiration_header(self.0.as_ref().as_ref()?, &facts)
    }
}

/// Returns the headers `x-amz-abort-date` and `x-amz-abort-rule-id` for an answer about an upload.
pub fn abort_of(
    memos: &Memos,
    view: &MetaView,
    bucket: &BucketRow,
    key: &str,
    initiated: UnixMs,
) -> S3Result<Option<(Timestamp, String)>> {
    let kept = kept_rules(memos, view, bucket)?;
    let Some(rules) = kept.as_ref() else { return Ok(None) };
    Ok(abort_headers(rules, &UploadFacts { key, initiated }))
}

fn expiration_header(rules: &Rules, facts: &ObjectFacts<'_>) -> Option<String> {
    let Expiry { at, rule_id } = object_expiry(rules, facts, DAY)?;
    let date = http_date(UnixMs(at.0.min(DATE_MS_MAX)))?;
    // `encode` keeps slashes, as in a path. In this header they are escaped.
    let rule_id = encode(rule_id).replace('/', "%2F");
    Some(format!("expiry-date=\"{date}\", rule-id=\"{rule_id}\""))
}

fn abort_headers(rules: &Rules, facts: &UploadFacts<'_>) -> Option<(Timestamp, String)> {
    let Expiry { at, rule_id } = upload_expiry(rules, facts, DAY)?;
    Some((timestamp(UnixMs(at.0.min(DATE_MS_MAX))), encode(rule_id).replace('/', "%2F")))
}

fn document(bucket: BucketId) -> DocumentKey {
    DocumentKey::Bucket(bucket, BucketDocument::Lifecycle, String::new())
}

fn fault_of(error: RuleError) -> Fault {
    match error.objection() {
        Objection::Schema => Fault::MalformedXml,
        Objection::Argument => Fault::InvalidArgument(error.to_string()),
        Objection::Request => Fault::InvalidRequest(error.to_string()),
        Objection::StorageClass => Fault::InvalidStorageClass,
    }
}

#[cfg(test)]
mod tests;
