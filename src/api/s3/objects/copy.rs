//! CopyObject: if possible, the copy shares its source's bytes, which costs one entry of the metadata log. Otherwise
//! the bytes are read and written again.

use super::super::encryption::{EncryptionFields, key_of_source, of_bucket};
use super::super::event_drafts::pending_event;
use super::super::lifecycle::Expirations;
use super::super::object_headers::{etag_header, object_checksum, stored_headers, timestamp};
use super::super::preconditions::{self, ReadConditions};
use super::super::tags::{self, Tags};
use super::super::{Readable, Store, checksums, unexpected};
use super::requested_traits;
use super::sealed::{NewSeal, RequestedSealing, sealing_of, unsealed};
use crate::actors::events::{EventName, PendingEvent, draft_now};
use crate::actors::gateway::{BodyChecks, ByteRange, CopyTarget, Kept, PutObjectRequest, StoreError, Upload};
use crate::actors::meta::{
    Change, ChecksumAlgorithm, ChecksumKind, CopyVersion, ETagCondition, KvError, Manifest, MetaView, ObjectHeaders,
    ObjectVersion, Refusal, Reply, Traits, Versioning, WriteConditions,
};
use crate::actors::sealing::{DataKey, SealedObject};
use crate::api::errors::{Fault, with_details};
use crate::api::s3::version;
use crate::limits::{PARTS_MAX, PUT_BYTES_MAX, SHARED_PARTS_COPIED_MAX};
use crate::types::{BucketId, ManifestId};
use bytes::Bytes;
use http::HeaderMap;
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective, TaggingDirective};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

/// Returns the bucket, the key and, if given, the version id of a copy's source.
fn source_name(source: &CopySource) -> Result<(&str, &str, Option<&str>), Fault> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => Ok((bucket, key, version_id.as_deref())),
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(Fault::NotImplemented("Copies from access points are not implemented.".to_owned()))
        }
    }
}

/// Opens the source of a copy, with its data key if it is encrypted. `view` is the one by which the request was judged.
/// Fails if a condition of the request on the source does not hold.
pub async fn open_source(
    store: &Store,
    view: MetaView,
    source: &CopySource,
    headers: &HeaderMap,
) -> S3Result<Readable> {
    let (bucket, key, version) = source_name(source)?;
    check_parameters(headers)?;
    let opened = store.open_in(view, bucket, key, version).await;
    let mut source = opened.map_err(|error| of_source(error, key))?;
    let sealing = sealing_of(&source.object.version.traits)?;
    let customer = key_of_source(headers, sealing.as_ref())?;
    let sealed_object = SealedObject { bucket: source.bucket.bucket.id, key };
    source.object = unsealed(store, sealed_object, source.object, sealing.as_ref(), customer.as_ref())?;
    ReadConditions::of_copy_source(headers).check_copy_source(&source.object.version.manifest)?;
    Ok(source)
}

/// Checks that the only parameter of a source is a version id. A question mark that belongs to the key is encoded.
fn check_parameters(headers: &HeaderMap) -> Result<(), Fault> {
    let source = headers.get(s3s::header::X_AMZ_COPY_SOURCE).map(|source| source.as_bytes()).unwrap_or_default();
    let mut parts = source.splitn(2, |byte| *byte == b'?');
    match parts.nth(1) {
        Some(parameters) if !parameters.starts_with(b"versionId=") || parameters.contains(&b'&') => {
            Err(Fault::InvalidArgument("Unsupported copy source parameter.".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Converts an error about the source. For a delete marker named by its version id S3 has a message of its own; the
/// error of an absent source has its key.
fn of_source(error: S3Error, key: &str) -> S3Error {
    if *error.code() == S3ErrorCode::MethodNotAllowed {
        return Fault::InvalidRequest(
            "The source of a copy request may not specifically refer to a delete marker by version id.".to_owned(),
        )
        .into();
    }
    if *error.code() == S3ErrorCode::NoSuchKey {
        return with_details(error, vec![("Key", key.to_owned())]);
    }
    error
}

/// The properties of the copy that the request sets itself, instead of those of the source.
struct RequestedTraits {
    headers: Option<ObjectHeaders>,
    redirect: Option<String>,
    class: Option<String>,
    tags: Option<Tags>,
    algorithm: Option<ChecksumAlgorithm>,
}

impl RequestedTraits {
    fn of(request: &S3Request<CopyObjectInput>) -> S3Result<Self> {
        let input = &request.input;
        let replaces = |what: &str, directive: Option<&str>| match directive {
            None | Some("COPY") => Ok(false),
            Some("REPLACE") => Ok(true),
            Some(_) => Err(Fault::InvalidArgument(format!("Unknown {what} directive."))),
        };
        let headers = stored_headers(&request.headers, input.metadata.clone())?;
        let (redirect, class) = (headers.website_redirect.clone(), headers.storage_class.clone());
        let replaces_headers = replaces("metadata", input.metadata_directive.as_ref().map(MetadataDirective::as_str))?;
        let replaces_tags = replaces("tagging", input.tagging_directive.as_ref().map(TaggingDirective::as_str))?;
        let algorithm = input.checksum_algorithm.as_ref().map(|name| checksums::algorithm_named(name.as_str()));
        Ok(Self {
            headers: replaces_headers.then_some(headers),
            redirect,
            class,
            tags: if replaces_tags { Some(tags::of_header(&request.headers)?) } else { None },
            algorithm: algorithm.transpose()?,
        })
    }

    /// Returns whether the request asks for a change, without which an object may not be copied onto itself.
    fn changes(&self, headers: &HeaderMap) -> bool {
        // A copy of an SSE-C object counts as a change: it gets another customer-provided key, the store's, or none.
        let encrypts = headers.keys().any(|name| {
            let name = name.as_str();
            name.starts_with("x-amz-server-side-encryption")
                || name.starts_with("x-amz-copy-source-server-side-encryption")
        });
        self.headers.is_some()
            || self.redirect.is_some()
            || self.algorithm.is_some()
            || encrypts
            || headers.contains_key(s3s::header::X_AMZ_STORAGE_CLASS)
    }
}

/// Returns whether the bucket has a default encryption, which an object gets if it is copied onto itself.
fn encrypts(view: &MetaView, bucket: &str) -> S3Result<bool> {
    let Some(bucket) = view.bucket(bucket)? else { return Ok(false) };
    Ok(of_bucket(view, &bucket)?.is_some())
}

pub async fn copy(store: &Store, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let asked = RequestedTraits::of(&request)?;
    let conditions = preconditions::write_conditions(&request.headers)?;
    let input = &request.input;
    let (source_bucket, source_key, source_version) = source_name(&input.copy_source)?;
    let onto_itself = source_bucket == input.bucket && source_key == input.key && source_version.is_none();
    let view = store.view().await?;
    if onto_itself && !asked.changes(&request.headers) && !encrypts(&view, &input.bucket)? {
        return Err(Fault::InvalidRequest(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes."
                .to_owned(),
        )
        .into());
    }
    let readable = open_source(store, view, &input.copy_source, &request.headers).await?;
    if readable.object.version.manifest.size_bytes > PUT_BYTES_MAX {
        return Err(Fault::InvalidRequest(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {PUT_BYTES_MAX}"
        ))
        .into());
    }
    let bucket = readable.view.bucket(&input.bucket)?.ok_or(Fault::NoSuchBucket)?;
    let mut traits = requested_traits(store, &request.headers, &bucket, &readable.view)?;
    let event = pending_event(store, &bucket, EventName::ObjectCreatedCopy);
    let seal = RequestedSealing::of(store, &request.headers, &bucket, readable.view.clone()).await?;
    let source = &readable.object.version;
    traits.tags = asked.tags.clone().unwrap_or_else(|| source.traits.tags.clone());
    // A copy never takes these two from its source.
    let mut headers = asked.headers.clone().unwrap_or_else(|| source.manifest.headers.clone());
    headers.website_redirect = asked.redirect.clone();
    headers.storage_class = asked.class.clone();
    let copy_source_version_id = version::shown(&readable.bucket, source.version);
    let target = Target { bucket: bucket.bucket.id, key: input.key.clone(), headers, traits, conditions, event };
    let expirations = Expirations::of(&store.memos, &readable.view, &bucket)?;
    let (copied, shown) = write(store, readable, source_key, asked.algorithm, seal, target).await?;
    Ok(checksums::carrying(CopyObjectOutput {
        bucket_key_enabled: shown.bucket_key_enabled,
        copy_object_result: Some(result(&copied.manifest)),
        copy_source_version_id,
        expiration: expirations.header(&input.key, &copied),
        server_side_encryption: shown.server_side_encryption,
        sse_customer_algorithm: shown.sse_customer_algorithm,
        sse_customer_key_md5: shown.sse_customer_key_md5,
        ssekms_key_id: shown.ssekms_key_id,
        ssekms_encryption_context: shown.ssekms_encryption_context,
        version_id: version::made(copied.version),
        ..Default::default()
    }))
}

/// The target of a copy, and its traits.
#[derive(Clone)]
struct Target {
    bucket: BucketId,
    key: String,
    headers: ObjectHeaders,
    traits: Traits,
    conditions: WriteConditions,
    event: Option<PendingEvent>,
}

impl Target {
    fn sealed_object(&self) -> SealedObject<'_> {
        SealedObject { bucket: self.bucket, key: &self.key }
    }
}

/// Makes the copy: it shares the source's bytes if it can, or they are written again. Also returns the encryption
/// fields of the answer.
async fn write(
    store: &Store,
    readable: Readable,
    source_key: &str,
    algorithm: Option<ChecksumAlgorithm>,
    seal: RequestedSealing,
    mut target: Target,
) -> S3Result<(ObjectVersion, EncryptionFields)> {
    let sealing_of_source = sealing_of(&readable.object.version.traits)?;
    let onto_itself = readable.bucket.bucket.id == target.bucket && source_key == target.key;
    let refers = may_refer(&readable.object.version.manifest, algorithm)
        && !ends_appends(&readable, onto_itself)?
        && seal.keeps_tag_of(sealing_of_source.as_ref());
    let shared = if refers { seal.share(store, readable.object.data_key(), target.sealed_object())? } else { None };
    if let Some(NewSeal { record, shown, .. }) = shared {
        let referring = Target { traits: Traits { sealing: record, ..target.traits.clone() }, ..target.clone() };
        if let Some(copied) = refer(store, &readable, source_key, referring).await? {
            return Ok((copied, shown));
        }
    }
    let NewSeal { record, data_key, hides_tag, shown } = seal.prepare(store, target.sealed_object())?;
    target.traits.sealing = record;
    // What is appended while the bytes are written anew would be lost.
    let may_grow = onto_itself && readable.bucket.settings.versioning == Versioning::Never;
    let is_guarded = may_grow && target.conditions == WriteConditions::default();
    if is_guarded {
        target.conditions.if_match = Some(ETagCondition::Is(readable.object.version.manifest.etag));
    }
    let is_md5 = !sealing_of_source.is_some_and(|sealing| sealing.hides_tag());
    let mut checks = checks(&readable.object.version.manifest, algorithm, is_md5);
    checks.kept.hides_tag = hides_tag;
    drop(seal);
    match rewrite(store, readable, checks, data_key, target).await {
        Err(StoreError::Refused(Refusal::PreconditionFailed | Refusal::NoSuchKey)) if is_guarded => {
            Err(Refusal::SourceChanged.into())
        }
        written => Ok((written?, shown)),
    }
}

/// Returns whether the copy can share the source's bytes. It must need no checksum that the source does not have. The
/// source must have fewer parts than the maximum, so that the copy can be appended to.
fn may_refer(source: &Manifest, algorithm: Option<ChecksumAlgorithm>) -> bool {
    let has = source.checksum.as_ref().map(|checksum| checksum.algorithm);
    let count = source.parts().map_or(0, |(_, count)| count);
    algorithm.is_none_or(|asked| has == Some(asked)) && count < PARTS_MAX
}

/// Returns whether an object that can be appended to could not be any more if a copy shared its bytes: a long list of
/// parts cannot grow while it is shared. Whoever may read an object must not end the appends to it, so one that grew by
/// appends is not shared. A copy `onto_itself` takes the place of its source and leaves the list to it, unless others
/// share the list: then the copy is what frees the object from them.
fn ends_appends(source: &Readable, onto_itself: bool) -> Result<bool, KvError> {
    let manifest = &source.object.version.manifest;
    let long = manifest.parts().filter(|(_, count)| *count > SHARED_PARTS_COPIED_MAX);
    match long {
        Some((list, _)) if source.bucket.settings.versioning == Versioning::Never => match onto_itself {
            true => source.view.are_parts_shared(list),
            false => Ok(manifest.is_appended()),
        },
        _ => Ok(false),
    }
}

/// Copies by reference: the copy shares the source's bytes. This is one change of metadata, whatever the size. Returns
/// `None` if the source was replaced since it was opened; its bytes can still be read.
async fn refer(
    store: &Store,
    readable: &Readable,
    source_key: &str,
    target: Target,
) -> S3Result<Option<ObjectVersion>> {
    store.check_writable()?;
    let meta = store.gateway().meta();
    let event = draft_now(target.event, meta, target.bucket, &target.key).await?;
    let source = &readable.object.version;
    let copy = CopyVersion {
        source_bucket: readable.bucket.bucket.id,
        source_key: source_key.to_owned(),
        source: source.version.pick(),
        source_manifest: source.manifest.id,
        source_sealing: source.traits.sealing.clone(),
        bucket: target.bucket,
        key: target.key,
        id: ManifestId(store.ambient.fresh_id()),
        headers: target.headers,
        checksum: None,
        traits: target.traits,
        conditions: target.conditions,
        event,
    };
    match meta.propose(Change::CopyVersion(Box::new(copy))).await? {
        Reply::ObjectPut { object } => Ok(Some(*object)),
        Reply::Refused(Refusal::SourceChanged) => Ok(None),
        Reply::Refused(refusal) => Err(refusal.into()),
        reply => Err(unexpected(&reply)),
    }
}

/// Copies by rewriting: the bytes are read, checked, and written again.
async fn rewrite(
    store: &Store,
    readable: Readable,
    checks: BodyChecks,
    data_key: Option<DataKey>,
    target: Target,
) -> Result<ObjectVersion, StoreError> {
    // The copy may take long, and a view keeps the tables from being compacted.
    drop(readable.view);
    let source = readable.object;
    let whole = ByteRange { start: 0, end: source.version.manifest.size_bytes };
    let gateway = store.gateway().held_by(store.call.holder());
    let (body, permit) = gateway.read_for_put(source, whole, data_key.as_ref(), CopyTarget::Object).await?;
    let upload = Upload { body, checks, trailer: None };
    let Target { bucket, key, headers, traits, conditions, event } = target;
    let put = PutObjectRequest { bucket, key, headers, conditions, traits, data_key, event, upload };
    gateway.put_object_within(permit, put).await
}

/// Returns the checks of the copied bytes: every digest that the source has of its whole content. The copy has the
/// source's checksum algorithm unless the request asks for another. `is_md5` is false if the source's encryption hides
/// the MD5 of the content in its ETag.
fn checks(source: &Manifest, asked: Option<ChecksumAlgorithm>, is_md5: bool) -> BodyChecks {
    let whole = source.checksum.as_ref().filter(|checksum| checksum.kind == ChecksumKind::FullObject);
    let expected = |algorithm: ChecksumAlgorithm| -> Option<Bytes> {
        whole.filter(|checksum| checksum.algorithm == algorithm).map(|checksum| checksum.value.clone())
    };
    let algorithm = asked.or(source.checksum.as_ref().map(|checksum| checksum.algorithm));
    let one_put = source.etag.parts.is_none() && source.parts().is_none();
    BodyChecks {
        length_bytes: Some(source.size_bytes),
        md5: (one_put && is_md5).then_some(source.etag.md5),
        checksum: algorithm.map(|algorithm| (algorithm, expected(algorithm))),
        kept: Kept::default(),
    }
}

fn result(copied: &Manifest) -> CopyObjectResult {
    let checksum = object_checksum(copied);
    CopyObjectResult {
        checksum_crc32: checksums::carried(checksum.as_ref()),
        checksum_type: checksums::shown_kind(checksum.as_ref()),
        e_tag: Some(etag_header(&copied.etag)),
        last_modified: Some(timestamp(copied.modified)),
        ..CopyObjectResult::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{check_parameters, checks, may_refer, of_source};
    use crate::actors::meta::{Body, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Manifest, ObjectHeaders};
    use crate::api::errors::{Fault, Text, details_of};
    use crate::limits::PARTS_MAX;
    use crate::types::{ManifestId, UnixMs};
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn a_copy_source_has_no_parameter_but_one_version_id() {
        let checked = |source: &'static str| {
            let value = HeaderValue::from_static(source);
            check_parameters(&HeaderMap::from_iter([(s3s::header::X_AMZ_COPY_SOURCE, value)]))
        };
        for source in ["b/k", "b/k?versionId=v", "b/k%3Fversion?versionId=v"] {
            assert_eq!(checked(source), Ok(()), "{source}");
        }
        for source in ["b/k?x=y", "b/k?versionId=v&x=y", "b/k?x=y&versionId=v"] {
            assert!(matches!(checked(source), Err(Fault::InvalidArgument(_))), "{source}");
        }
    }

    #[test]
    fn an_absent_copy_source_is_named_in_the_error() {
        let absent = of_source(Fault::NoSuchKey.into(), "k");
        assert_eq!(absent.code().as_str(), "NoSuchKey");
        assert_eq!(details_of(&absent), [("Key", Text::Own("k".to_owned()))]);
        assert!(details_of(&of_source(Fault::NoSuchBucket.into(), "k")).is_empty());
    }

    fn source(parts: Option<u16>, kind: ChecksumKind) -> Manifest {
        Manifest {
            id: ManifestId(1),
            size_bytes: 9,
            etag: ETag { md5: [7; 16], parts },
            modified: UnixMs(0),
            headers: ObjectHeaders::default(),
            checksum: Some(Checksum { algorithm: ChecksumAlgorithm::Crc32, kind, value: Bytes::from_static(b"sum!") }),
            body: parts.map_or(Body::Inline, |count| Body::Parts { count }),
        }
    }

    #[test]
    fn a_copy_shares_bytes_of_a_source_with_its_checksum_and_room_for_a_part() {
        let of = |body| Manifest { body, ..source(None, ChecksumKind::FullObject) };
        let list = ManifestId(2);
        for (count, expected) in [(PARTS_MAX - 1, true), (PARTS_MAX, false)] {
            for body in [Body::Parts { count }, Body::PartsOf { list, count }, Body::Appended { list, count }] {
                assert_eq!(may_refer(&of(body), None), expected, "{count}");
            }
        }
        assert!(!may_refer(&of(Body::Inline), Some(ChecksumAlgorithm::Sha256)));
    }

    #[test]
    fn f2_a_copy_is_checked_against_every_digest_of_the_sources_content() {
        let made = checks(&source(None, ChecksumKind::FullObject), None, true);
        assert_eq!((made.length_bytes, made.md5), (Some(9), Some([7; 16])));
        assert_eq!(made.checksum, Some((ChecksumAlgorithm::Crc32, Some(Bytes::from_static(b"sum!")))));
    }

    #[test]
    fn a_copy_is_not_checked_against_composite_or_hidden_digests() {
        let made = checks(&source(Some(2), ChecksumKind::Composite), None, true);
        assert_eq!((made.length_bytes, made.md5), (Some(9), None));
        assert_eq!(made.checksum, Some((ChecksumAlgorithm::Crc32, None)));
        let made = checks(&source(None, ChecksumKind::FullObject), Some(ChecksumAlgorithm::Sha256), false);
        assert_eq!(made.md5, None, "an entity tag that hides the content is not compared");
        assert_eq!(made.checksum, Some((ChecksumAlgorithm::Sha256, None)));
    }
}
