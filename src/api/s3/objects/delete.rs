//! DeleteObject and DeleteObjects. The deletion of an absent object succeeds; only conditions and locks make one fail.

use super::super::access::{Authority, ObjectKeys, OnEach};
use super::super::caller::Caller;
use super::super::checksums::of_headers;
use super::super::event_drafts::EventDrafts;
use super::super::preconditions::tag_condition;
use super::super::{Store, unexpected};
use crate::actors::meta::{
    Change, DeleteConditions, DeleteVersion, Deletion, ETagCondition, Pick, Reply, WriteConditions,
};
use crate::api::errors::{Fault, entry_of_many};
use crate::api::policy::Context;
use crate::api::s3::version::pick;
use crate::limits::{DELETE_KEYS_MAX, KEY_BYTES_MAX};
use http::{HeaderMap, header};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ObjectIdentifier,
    Timestamp,
};
use s3s::{S3Request, S3Response, S3Result};
use time::OffsetDateTime;

pub async fn delete(store: &Store, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let caller = store.caller();
    let input = request.input;
    let conditions = DeleteConditions {
        write: conditions(&request.headers)?,
        size_bytes: input.if_match_size.map(size_condition),
        modified_seconds: input.if_match_last_modified_time.as_ref().map(seconds),
        ..DeleteConditions::default()
    };
    store.check_changeable()?;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let drafts = EventDrafts::of(store, &view, &bucket)?;
    let entry = Entry { key: input.key, pick: pick(input.version_id.as_deref())?, conditions };
    let deletes = vec![entry.into_delete(store, caller, &drafts)];
    let outcomes = match store.propose(Change::DeleteVersions { bucket: bucket.bucket.id, deletes }).await? {
        Reply::VersionsDeleted(outcomes) => outcomes,
        reply => return Err(unexpected(&reply)),
    };
    let deletion = outcomes.into_iter().next().ok_or_else(|| unexpected(&Reply::Done))??;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: deletion.marker.then_some(true),
        version_id: deletion.version.map(|version| version.to_string()).or(input.version_id),
        request_charged: None,
    }))
}

fn conditions(headers: &HeaderMap) -> Result<WriteConditions, Fault> {
    let if_match = match headers.get(header::IF_MATCH).map(|value| value.to_str()) {
        None => None,
        Some(Ok(text)) => Some(tag_condition(text)),
        Some(Err(_)) => return Err(Fault::InvalidArgument("The header If-Match is not text.".to_owned())),
    };
    Ok(WriteConditions { if_match, if_none_match: None })
}

/// Returns the size that a condition compares. A negative one, which no object has, becomes one that matches none.
fn size_condition(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn seconds(at: &Timestamp) -> u64 {
    u64::try_from(OffsetDateTime::from(at.clone()).unix_timestamp()).unwrap_or_default()
}

/// One deletion: of a version, which is removed, or of a key, which in a bucket with versions gets a delete marker.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    key: String,
    pick: Pick,
    conditions: DeleteConditions,
}

impl Entry {
    fn into_delete(self, store: &Store, caller: &Caller, drafts: &EventDrafts<'_>) -> DeleteVersion {
        let event = drafts.deletion(&self.key);
        DeleteVersion {
            key: self.key,
            pick: self.pick,
            conditions: self.conditions,
            owner: caller.owner(),
            salt: store.ambient.random_u128() as u64,
            bypass_governance: caller.bypass_governance,
            event,
        }
    }
}

pub async fn delete_many(
    store: &Store,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let caller = store.caller();
    let authority = store.access.authority.as_ref().ok_or(Fault::AccessDenied("Access Denied"))?;
    check_digest(&request.headers)?;
    let input = request.input;
    let quiet = input.delete.quiet.unwrap_or(false);
    let listed = input.delete.objects;
    if listed.is_empty() || listed.len() > DELETE_KEYS_MAX {
        return Err(Fault::MalformedXml.into());
    }
    store.check_changeable()?;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let drafts = EventDrafts::of(store, &view, &bucket)?;
    let (mut deleted, mut errors, mut names, mut deletes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let context = authority.context();
    let permissions = Permissions::of(authority, &context, caller.bypass_governance);
    for (at, object) in listed.into_iter().enumerate() {
        let name = (object.key.clone(), object.version_id.clone());
        let object_keys = object_keys(&object);
        // The decisions on a long list take time: let other requests run.
        tokio::task::yield_now().await;
        match entry(object) {
            Ok(entry) => {
                if let Err(denied) = permissions.check(&entry, &object_keys) {
                    errors.push((at, entry_of_many(name.0, name.1, denied)));
                    continue;
                }
                deletes.push(entry.into_delete(store, caller, &drafts));
                names.push((at, name));
            }
            // An invalid version id is an error of this object only.
            Err(fault @ (Fault::Argument(_) | Fault::InvalidArgument(_))) => {
                errors.push((at, entry_of_many(name.0, name.1, fault)));
            }
            Err(fault) => return Err(fault.into()),
        }
    }
    let mut outcomes = Vec::with_capacity(names.len());
    for deletes in DeleteVersion::in_commands(deletes) {
        let count = deletes.len();
        match store.propose(Change::DeleteVersions { bucket: bucket.bucket.id, deletes }).await? {
            Reply::VersionsDeleted(some) if some.len() == count => outcomes.extend(some),
            reply => return Err(unexpected(&reply)),
        }
    }
    for ((at, (key, version_id)), outcome) in names.into_iter().zip(outcomes) {
        match outcome {
            Ok(_) if quiet => {}
            Ok(deletion) => deleted.push(deleted_object(key, version_id, deletion)),
            Err(refusal) => errors.push((at, entry_of_many(key, version_id, refusal))),
        }
    }
    // Errors are in the order of the request, as deleted objects are.
    errors.sort_by_key(|(at, _)| *at);
    let errors = Some(errors.into_iter().map(|(_, error)| error).collect());
    Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors, request_charged: None }))
}

/// Refuses a list without a digest, as S3 does: a list that was cut or altered on its way would delete other objects.
/// The digest was compared when the body was read.
fn check_digest(headers: &HeaderMap) -> Result<(), Fault> {
    if headers.contains_key("content-md5") || of_headers(headers)?.is_some() {
        return Ok(());
    }
    let why = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
    Err(Fault::InvalidRequest(why.to_owned()))
}

/// The decisions on the actions that deleting one of many objects may need.
struct Permissions<'a> {
    authority: &'a Authority,
    delete: OnEach<'a>,
    delete_version: OnEach<'a>,
    /// The right to bypass governance mode, if the request asks for it.
    bypass: Option<OnEach<'a>>,
    compare: OnEach<'a>,
}

impl<'a> Permissions<'a> {
    fn of(authority: &'a Authority, context: &'a Context, bypasses: bool) -> Self {
        let on_each = |action| authority.on_each(action, context);
        Self {
            authority,
            delete: on_each("s3:DeleteObject"),
            delete_version: on_each("s3:DeleteObjectVersion"),
            bypass: bypasses.then(|| on_each("s3:BypassGovernanceRetention")),
            compare: on_each("s3:GetObject"),
        }
    }

    /// Checks the rights on one of many objects. Each is allowed or denied by itself.
    fn check(&self, entry: &Entry, object_keys: &ObjectKeys) -> S3Result<()> {
        let subject = self.authority.subject(&entry.key, entry.pick)?;
        let delete = if entry.pick == Pick::Current { &self.delete } else { &self.delete_version };
        let DeleteConditions { write, size_bytes, modified_seconds, .. } = &entry.conditions;
        let by_tag = write.if_match.as_ref().is_some_and(|tag| *tag != ETagCondition::Any);
        let compares = by_tag || size_bytes.is_some() || modified_seconds.is_some();
        let needed = [Some(delete), self.bypass.as_ref(), compares.then_some(&self.compare)];
        for on_each in needed.into_iter().flatten() {
            on_each.may(&entry.key, subject.as_ref(), object_keys)?;
        }
        Ok(())
    }
}

fn object_keys(object: &ObjectIdentifier) -> ObjectKeys {
    let version = object.version_id.clone().filter(|version| !version.is_empty());
    ObjectKeys { version, if_match: object.e_tag.as_ref().map(|tag| tag.value().to_owned()) }
}

/// Returns the entry of a deleted object. `VersionId` is the one in the request; the id of a delete marker that was
/// made or removed has a field of its own.
fn deleted_object(key: String, version_id: Option<String>, deletion: Deletion) -> DeletedObject {
    let marker = deletion.version.filter(|_| deletion.marker).map(|version| version.to_string());
    DeletedObject {
        delete_marker: deletion.marker.then_some(true),
        delete_marker_version_id: marker,
        key: Some(key),
        version_id,
    }
}

fn entry(object: ObjectIdentifier) -> Result<Entry, Fault> {
    if object.key.is_empty() || object.key.len() > KEY_BYTES_MAX {
        return Err(Fault::MalformedXml);
    }
    let version = object.version_id.as_deref().filter(|version| !version.is_empty());
    let if_match = object.e_tag.map(|tag| tag_condition(tag.value()));
    let conditions = DeleteConditions {
        write: WriteConditions { if_match, if_none_match: None },
        size_bytes: object.size.map(size_condition),
        modified_seconds: object.last_modified_time.as_ref().map(seconds),
        ..DeleteConditions::default()
    };
    Ok(Entry { pick: pick(version)?, key: object.key, conditions })
}

#[cfg(test)]
mod tests {
    use super::{Entry, check_digest, entry};
    use crate::actors::meta::{ETag, ETagCondition};
    use crate::api::errors::Fault;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use s3s::dto::{self, ObjectIdentifier};

    #[test]
    fn delete_objects_needs_a_digest_of_its_list() {
        let check = |name: &'static str, value: &'static str| {
            check_digest(&HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]))
        };
        assert_eq!(check("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="), Ok(()));
        assert_eq!(check("x-amz-checksum-crc32", "NhCmhg=="), Ok(()));
        // A checksum that is only announced for the trailer is not compared.
        assert!(matches!(check("x-amz-trailer", "x-amz-checksum-crc32"), Err(Fault::InvalidRequest(_))));
        assert!(matches!(check("x-amz-sdk-checksum-algorithm", "CRC32"), Err(Fault::InvalidRequest(_))));
        assert!(matches!(check("content-type", "text/xml"), Err(Fault::InvalidRequest(_))));
    }

    fn object(key: &str) -> ObjectIdentifier {
        ObjectIdentifier { key: key.to_owned(), ..Default::default() }
    }

    #[test]
    fn an_entry_of_delete_objects_may_have_an_etag_condition() {
        let tagged = ObjectIdentifier {
            e_tag: Some(dto::ETag::Strong("00000000000000000000000000000000".to_owned())),
            ..object("k")
        };
        let Entry { key, conditions, .. } = entry(tagged).expect("an entry");
        assert_eq!(key, "k");
        assert_eq!(conditions.write.if_match, Some(ETagCondition::Is(ETag { md5: [0; 16], parts: None })));
        assert_eq!(entry(object("k")).expect("an entry").conditions.write.if_match, None);
    }

    #[test]
    fn an_entry_of_delete_objects_with_an_invalid_key_or_version_is_refused() {
        assert_eq!(entry(object("")), Err(Fault::MalformedXml));
        assert_eq!(entry(object(&"k".repeat(1025))), Err(Fault::MalformedXml));
        let versioned = ObjectIdentifier { version_id: Some("v1".to_owned()), ..object("k") };
        assert!(matches!(entry(versioned), Err(Fault::Argument(_))));
        let null = ObjectIdentifier { version_id: Some("null".to_owned()), ..object("k") };
        assert!(entry(null).is_ok());
    }
}
