//! DeleteObject and DeleteObjects. What is not there is deleted already; only conditions can fail.

use super::super::conditions::tag_condition;
use super::super::errors::{Fault, entry_of_many};
use super::super::{Store, unexpected};
use crate::actors::meta::{Change, Reply, WriteConditions};
use crate::limits::{DELETE_KEYS_MAX, KEY_BYTES_MAX};
use http::{HeaderMap, header};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ObjectIdentifier,
};
use s3s::{S3Request, S3Response, S3Result};

pub async fn delete(store: &Store, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let conditions = conditions(&request.headers)?;
    store.check_changeable()?;
    let (bucket, _) = store.bucket(&request.input.bucket).await?;
    let change = Change::DeleteObject { bucket: bucket.id, key: request.input.key, conditions };
    match store.propose(change).await? {
        Reply::Deleted { .. } => Ok(S3Response::new(DeleteObjectOutput::default())),
        reply => Err(unexpected(&reply)),
    }
}

fn conditions(headers: &HeaderMap) -> Result<WriteConditions, Fault> {
    let if_match = match headers.get(header::IF_MATCH).map(|value| value.to_str()) {
        None => None,
        Some(Ok(text)) => Some(tag_condition(text)),
        Some(Err(_)) => return Err(Fault::InvalidArgument("If-Match is not text.".to_owned())),
    };
    Ok(WriteConditions { if_match, if_none_match: None })
}

pub async fn delete_many(
    store: &Store,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let input = request.input;
    let quiet = input.delete.quiet.unwrap_or(false);
    let keys = input.delete.objects.into_iter().map(entry).collect::<Result<Vec<_>, Fault>>()?;
    if keys.is_empty() || keys.len() > DELETE_KEYS_MAX {
        return Err(Fault::MalformedXml.into());
    }
    store.check_changeable()?;
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let names: Vec<String> = keys.iter().map(|(key, _)| key.clone()).collect();
    let outcomes = match store.propose(Change::DeleteObjects { bucket: bucket.id, keys }).await? {
        Reply::DeletedMany(outcomes) if outcomes.len() == names.len() => outcomes,
        reply => return Err(unexpected(&reply)),
    };
    let mut deleted = Vec::new();
    let mut errors = Vec::new();
    for (key, outcome) in names.into_iter().zip(outcomes) {
        match outcome {
            Ok(_) if quiet => {}
            Ok(_) => deleted.push(DeletedObject { key: Some(key), ..Default::default() }),
            Err(refusal) => errors.push(entry_of_many(&key, refusal)),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None }))
}

fn entry(object: ObjectIdentifier) -> Result<(String, WriteConditions), Fault> {
    if object.key.is_empty() || object.key.len() > KEY_BYTES_MAX {
        return Err(Fault::MalformedXml);
    }
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(Fault::NotImplemented("Conditions on size and time of deletes are not implemented.".to_owned()));
    }
    if object.version_id.is_some_and(|version| !version.is_empty() && version != "null") {
        return Err(Fault::NotImplemented("Versioning is not implemented.".to_owned()));
    }
    let if_match = object.e_tag.map(|tag| tag_condition(tag.value()));
    Ok((object.key, WriteConditions { if_match, if_none_match: None }))
}

#[cfg(test)]
mod tests {
    use super::entry;
    use crate::actors::meta::{ETag, ETagCondition};
    use crate::api::s3::errors::Fault;
    use s3s::dto::{self, ObjectIdentifier};

    fn object(key: &str) -> ObjectIdentifier {
        ObjectIdentifier { key: key.to_owned(), ..Default::default() }
    }

    #[test]
    fn an_entry_of_a_multi_delete_may_name_the_tag_it_expects() {
        let tagged = ObjectIdentifier {
            e_tag: Some(dto::ETag::Strong("00000000000000000000000000000000".to_owned())),
            ..object("k")
        };
        let (key, conditions) = entry(tagged).expect("an entry");
        assert_eq!(key, "k");
        assert_eq!(conditions.if_match, Some(ETagCondition::Is(ETag { md5: [0; 16], parts: None })));
        assert_eq!(entry(object("k")).expect("an entry").1.if_match, None);
    }

    #[test]
    fn an_entry_that_no_key_can_have_or_that_names_a_version_is_refused() {
        assert_eq!(entry(object("")), Err(Fault::MalformedXml));
        assert_eq!(entry(object(&"k".repeat(1025))), Err(Fault::MalformedXml));
        let versioned = ObjectIdentifier { version_id: Some("v1".to_owned()), ..object("k") };
        assert!(matches!(entry(versioned), Err(Fault::NotImplemented(_))));
        let null = ObjectIdentifier { version_id: Some("null".to_owned()), ..object("k") };
        assert!(entry(null).is_ok());
    }
}
