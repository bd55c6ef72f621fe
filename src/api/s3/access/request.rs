//! The actions that a request needs, and the decision on each.

use super::body_values;
use super::condition_values::parameter;
use super::judge::Judge;
use super::memos::JudgedBucket;
use super::source::Source;
use crate::actors::meta::Pick;
use crate::api::errors::Fault;
use crate::api::policy::{Asks, Context, On, needs};
use crate::api::s3::upload_id::parse_upload_id;
use http::{HeaderMap, Uri};
use s3s::S3Result;
use std::sync::Arc;

/// Operations that overwrite a key. The existing object has no influence on whether they are allowed.
const OVERWRITES: [&str; 7] = [
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "PutObject",
    "RenameObject",
    "UploadPart",
    "UploadPartCopy",
];
/// Operations on a multipart upload. They are decided with the upload's initiator as the owner; the owner of an object
/// under the same key has no influence.
const ON_UPLOADS: [&str; 2] = ["AbortMultipartUpload", "ListParts"];

/// Operations that need an account, even if they are granted to everybody: they create what an account is charged for,
/// or change what others may do.
const NEED_ACCOUNT: [&str; 13] = [
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucketOwnershipControls",
    "DeleteBucketPolicy",
    "DeletePublicAccessBlock",
    "PutBucketAcl",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectLockConfiguration",
    "PutObjectRetention",
    "PutPublicAccessBlock",
];

/// An operation and its resources, to be decided on.
pub struct Request<'a> {
    pub operation: &'static str,
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    /// The source of a rename; that of a copy is in the head.
    pub source: Option<&'a Source>,
    pub asks: Asks,
}

impl Request<'_> {
    /// Decides on every action that the operation needs, and returns its bucket, if it has one. An absent bucket is
    /// refused here: it could be created before the operation looks it up, which would then run without a decision.
    pub fn check(&self, judge: &Judge, headers: &HeaderMap, uri: &Uri) -> S3Result<Option<Arc<JudgedBucket>>> {
        let unknown = || Fault::AccessDenied("Access Denied");
        if judge.asking.principal().account().is_none() && NEED_ACCOUNT.contains(&self.operation) {
            return Err(judge.needs_account(self.operation).into());
        }
        let source_tags = self.asks.source_tags && self.source_has_tags(judge, headers)?;
        let needed = needs(self.operation, Asks { source_tags, ..self.asks }).ok_or_else(unknown)?;
        let Some(name) = self.bucket else {
            for need in needed {
                judge.of_account(need.action, "arn:aws:s3:::*")?;
            }
            return Ok(None);
        };
        let waits_for_body = |action: &str| body_values::decides(self.operation, action);
        if self.operation == "CreateBucket" {
            for need in needed.into_iter().filter(|need| !waits_for_body(need.action)) {
                judge.of_account(need.action, &format!("arn:aws:s3:::{name}"))?;
            }
            return Ok(None);
        }
        let guarded = judge.guarded(name)?.ok_or(Fault::NoSuchBucket)?;
        self.check_owner(judge, &guarded, headers, "x-amz-expected-bucket-owner")?;
        for need in needed {
            match need.on {
                On::Object if waits_for_body(need.action) => {
                    let key = self.key.unwrap_or_default();
                    let subject = judge.subject(&guarded, key, version_of(uri))?;
                    judge.may_yet(need.action, &guarded, &guarded.arn_of(key), subject.as_ref())?;
                }
                _ if waits_for_body(need.action) => judge.may_yet(need.action, &guarded, &guarded.arn(), None)?,
                On::Account | On::Bucket => judge.of_bucket(need.action, &guarded)?,
                // The operation decides on each object. Here only a request that can delete none is refused.
                On::Object if self.operation == "DeleteObjects" => {
                    let may = |action| judge.may_yet(action, &guarded, &guarded.arn_of("*"), None);
                    may("s3:DeleteObject").or_else(|_| may("s3:DeleteObjectVersion"))?;
                }
                On::Object => self.check_object(judge, &guarded, need.action, uri)?,
                On::Source => self.check_source(judge, need.action, headers)?,
            }
        }
        Ok(Some(guarded))
    }

    fn check_owner(&self, judge: &Judge, guarded: &JudgedBucket, headers: &HeaderMap, header: &str) -> S3Result<()> {
        let expected = headers.get(header).and_then(|value| value.to_str().ok());
        let owner = &guarded.owner;
        let root = judge.iam.root.canonical_id == owner.canonical_id;
        let is = |expected: &str| expected == owner.id || (root && expected == owner.canonical_id);
        if expected.is_some_and(|expected| !is(expected)) { Err(Fault::BucketOwnerDiffers.into()) } else { Ok(()) }
    }

    fn check_object(&self, judge: &Judge, guarded: &JudgedBucket, action: &str, uri: &Uri) -> S3Result<()> {
        let key = self.key.unwrap_or_default();
        // A conditional write needs GetObject on the existing object, even if it overwrites that.
        if OVERWRITES.contains(&self.operation) && action != "s3:GetObject" {
            return Ok(judge.of_written(action, guarded, key)?);
        }
        if ON_UPLOADS.contains(&self.operation) {
            let upload = parameter(uri, "uploadId").and_then(|id| parse_upload_id(&id).ok());
            let begun = upload.map(|id| judge.begun(guarded, key, id)).transpose()?.flatten();
            return Ok(judge.of_object(action, guarded, key, begun.as_ref())?);
        }
        let subject = judge.subject(guarded, key, version_of(uri))?;
        if subject.is_none() && matches!(self.operation, "GetObject" | "HeadObject" | "GetObjectAttributes") {
            return Ok(judge.of_absent(guarded, key)?);
        }
        Ok(judge.of_object(action, guarded, key, subject.as_ref())?)
    }

    /// Returns whether the source has tags to copy.
    fn source_has_tags(&self, judge: &Judge, headers: &HeaderMap) -> S3Result<bool> {
        let source = Source::of(headers)?;
        let Some(guarded) = judge.guarded(&source.bucket)? else { return Ok(false) };
        let subject = judge.subject(&guarded, &source.key, source.pick())?;
        Ok(subject.is_some_and(|subject| !subject.tags.is_empty()))
    }

    fn check_source(&self, judge: &Judge, action: &str, headers: &HeaderMap) -> S3Result<()> {
        let source = match self.source {
            Some(source) => source.clone(),
            None => Source::of(headers)?,
        };
        let guarded = judge.guarded(&source.bucket)?.ok_or(Fault::NoSuchBucket)?;
        self.check_owner(judge, &guarded, headers, "x-amz-source-expected-bucket-owner")?;
        let subject = judge.subject(&guarded, &source.key, source.pick())?;
        let mut keys = Context::default();
        keys.set("s3:VersionId", source.version.clone());
        let judge = &judge.with_body_keys(&keys);
        let of_tags = action.ends_with("Tagging");
        judge.of_object(action, &guarded, &source.key, subject.as_ref())?;
        if subject.is_none() && !of_tags {
            judge.of_absent(&guarded, &source.key)?;
        }
        Ok(())
    }
}

/// Returns the version that a request names. The operation refuses a malformed version id; until then it counts as the
/// null version.
pub fn version_of(uri: &Uri) -> Pick {
    parameter(uri, "versionId").map_or(Some(Pick::Current), |name| Pick::parse(&name)).unwrap_or(Pick::Null)
}
