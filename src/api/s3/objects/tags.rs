//! Tags of objects and buckets: their limits, their forms in XML and in a header, and their operations.

use crate::actors::events::EventName;
use crate::actors::meta::{BucketDocument, Change, ChangeTraits, Reply, TraitsChange};
use crate::api::call::Call;
use crate::api::call::WholeBody;
use crate::api::errors::Fault;
use crate::api::s3::buckets::bucket_document;
use crate::api::s3::documents;
use crate::api::s3::objects::version::{manifest_of, pick, shown};
use crate::api::s3::settings::event_drafts::EventDrafts;
use crate::api::s3::{Store, unexpected};
use http::{HeaderMap, StatusCode};
use s3s::dto::{
    BucketInfo, DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput,
    DeleteObjectTaggingOutput, GetBucketTaggingInput, GetBucketTaggingOutput, GetObjectTaggingInput,
    GetObjectTaggingOutput, LocationInfo, PutBucketTaggingInput, PutBucketTaggingOutput, PutObjectTaggingInput,
    PutObjectTaggingOutput, Tag,
};
use s3s::xml::{DeError, DeResult, Deserializer};
use s3s::{HttpResponse, S3Request, S3Response, S3Result};
use std::collections::{BTreeMap, BTreeSet};

/// AWS's limits on the tags of an object and of a bucket, and on the characters of a key and a value.
const OBJECT_TAGS_MAX: usize = 10;
const BUCKET_TAGS_MAX: usize = 50;
const KEY_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 256;

pub type Tags = Vec<(String, String)>;

/// Parses the header `x-amz-tagging`: `key=value` pairs as in a query.
pub fn of_header(headers: &HeaderMap) -> Result<Tags, Fault> {
    let Some(value) = headers.get(s3s::header::X_AMZ_TAGGING) else { return Ok(Vec::new()) };
    let malformed = || {
        Fault::InvalidArgument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded \
                                               URL query parameters without tag name duplicates."
                .to_owned(),
        )
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let mut tags = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| crate::api::text::percent::decode_query(text).ok_or_else(malformed);
        tags.push((decode(key)?, decode(value)?));
    }
    let keys: BTreeSet<_> = tags.iter().map(|(key, _)| key.as_str()).collect();
    if keys.len() < tags.len() || keys.contains("") {
        return Err(malformed());
    }
    check(&tags, OBJECT_TAGS_MAX)?;
    Ok(tags)
}

pub(in crate::api::s3) fn of_set(set: Vec<Tag>, tags_max: usize) -> Result<Tags, Fault> {
    let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    let tags = set.into_iter().map(pair).collect::<Option<Tags>>().ok_or(Fault::MalformedXml)?;
    check(&tags, tags_max)?;
    Ok(tags)
}

/// Returns the tags in the body of CreateBucket, which s3s does not parse.
pub fn of_new_bucket(call: &Call) -> Result<Tags, Fault> {
    let body = call.whole_body.as_ref().map(WholeBody::bytes).unwrap_or_default();
    if body.is_empty() {
        return Ok(Vec::new());
    }
    of_set(in_configuration(body).map_err(|_| Fault::MalformedXml)?, BUCKET_TAGS_MAX)
}

fn in_configuration(xml: &[u8]) -> DeResult<Vec<Tag>> {
    let mut tags = None;
    let mut deserializer = Deserializer::new(xml);
    deserializer.element(|deserializer, _| {
        deserializer.for_each_element(|element, name| match name {
            b"Tags" if tags.is_none() => element.list_content("Tag").map(|list| tags = Some(list)),
            b"LocationConstraint" => element.content::<String>().map(drop),
            b"Location" => element.content::<LocationInfo>().map(drop),
            b"Bucket" => element.content::<BucketInfo>().map(drop),
            _ => Err(DeError::UnexpectedTagName),
        })
    })?;
    Ok(tags.unwrap_or_default())
}

/// Returns the tags sorted by key, as S3 answers with them.
fn to_set(tags: &Tags) -> Vec<Tag> {
    let sorted: BTreeMap<&String, &String> = tags.iter().map(|(key, value)| (key, value)).collect();
    sorted.into_iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

fn check(tags: &Tags, tags_max: usize) -> Result<(), Fault> {
    if tags.len() > tags_max {
        let what = if tags_max == OBJECT_TAGS_MAX { "Object tags" } else { "Bucket tag count" };
        return Err(Fault::BadRequest(format!("{what} cannot be greater than {tags_max}")));
    }
    let mut seen = BTreeSet::new();
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX || !allowed(key) {
            return Err(Fault::InvalidTag("The TagKey you have provided is invalid".to_owned()));
        }
        if value.chars().count() > VALUE_CHARS_MAX || !allowed(value) {
            return Err(Fault::InvalidTag("The TagValue you have provided is invalid".to_owned()));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            let of_objects = "Your TagKey cannot be prefixed with aws:";
            let of_buckets = "System tags cannot be added/updated by requester";
            let why = if tags_max == OBJECT_TAGS_MAX { of_objects } else { of_buckets };
            return Err(Fault::InvalidTag(why.to_owned()));
        }
        if !seen.insert(key) {
            return Err(Fault::InvalidTag("Cannot provide multiple Tags with the same key".to_owned()));
        }
    }
    Ok(())
}

/// Returns whether a text has only the characters that AWS allows: letters and digits of any script, spaces, and a few
/// signs.
fn allowed(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "+-=._:/@".contains(c))
}

pub async fn get_object(
    store: &Store,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = request.input;
    let found = store.object(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    let version_id = shown(&found.bucket, found.version.version);
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: to_set(&found.version.traits.tags), version_id }))
}

pub async fn put_object(
    store: &Store,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let input = request.input;
    let tags = of_set(input.tagging.tag_set, OBJECT_TAGS_MAX)?;
    let place = (input.bucket.as_str(), input.key, input.version_id.as_deref());
    let version_id = set(store, place, tags, EventName::ObjectTaggingPut).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
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

pub async fn get_bucket(
    store: &Store,
    request: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let (bucket, view) = store.bucket(&request.input.bucket).await?;
    let tags: Option<Tags> = documents::load(&view, &bucket_document(&bucket, BucketDocument::Tagging))?;
    let tag_set = to_set(&tags.ok_or(Fault::NoTags)?);
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set }))
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

pub async fn delete_bucket(
    store: &Store,
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    let (bucket, _) = store.bucket(&request.input.bucket).await?;
    documents::remove(store, bucket_document(&bucket, BucketDocument::Tagging)).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::{
        BUCKET_TAGS_MAX, NoContent, OBJECT_TAGS_MAX, WholeBody, check, of_header, of_new_bucket, without_content,
    };
    use crate::api::call::Call;
    use crate::api::errors::Fault;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use s3s::{Body, HttpResponse};

    fn header(text: &'static str) -> Result<Vec<(String, String)>, Fault> {
        let name = HeaderName::from_static("x-amz-tagging");
        of_header(&HeaderMap::from_iter([(name, HeaderValue::from_static(text))]))
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn tags_of_a_new_bucket_are_parsed_from_its_configuration() {
        let of = |xml: &'static str| {
            let body = WholeBody::default();
            body.put(Bytes::from_static(xml.as_bytes()));
            of_new_bucket(&Call { whole_body: Some(body), ..Call::default() })
        };
        let tagged = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <LocationConstraint>eu-west-1</LocationConstraint>\
            <Tags><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>b</Key><Value/></Tag></Tags>\
            </CreateBucketConfiguration>";
        assert_eq!(of(tagged), Ok(vec![pair("a", "1"), pair("b", "")]));
        for none in
            ["", "<CreateBucketConfiguration/>", "<C><LocationConstraint>x</LocationConstraint></C>", "<C><Tags/></C>"]
        {
            assert_eq!(of(none), Ok(Vec::new()), "{none}");
        }
        assert_eq!(of_new_bucket(&Call::default()), Ok(Vec::new()));
        for malformed in
            ["<C><Tags><Tag><Value>1</Value></Tag></Tags></C>", "<C><Tags/><Tags/></C>", "<C><Other/></C>", "<C>"]
        {
            assert_eq!(of(malformed), Err(Fault::MalformedXml), "{malformed}");
        }
        let twice = "<C><Tags><Tag><Key>a</Key><Value/></Tag><Tag><Key>a</Key><Value/></Tag></Tags></C>";
        assert!(matches!(of(twice), Err(Fault::InvalidTag(_))));
    }

    #[test]
    fn the_tagging_header_is_parsed_as_a_query() {
        assert_eq!(header("a=1&b+c=%2Fx%20y&d"), Ok(vec![pair("a", "1"), pair("b c", "/x y"), pair("d", "")]));
        assert_eq!(of_header(&HeaderMap::new()), Ok(vec![]));
        assert!(matches!(header("a=1&a=2"), Err(Fault::InvalidArgument(_))));
        assert!(matches!(header("a=%zz"), Err(Fault::InvalidArgument(_))));
    }

    #[test]
    fn tags_have_limits_of_number_length_and_characters() {
        let many: Vec<_> = (0..11).map(|number| pair(&number.to_string(), "")).collect();
        assert!(matches!(check(&many, OBJECT_TAGS_MAX), Err(Fault::BadRequest(_))));
        assert_eq!(check(&many[..10].to_vec(), OBJECT_TAGS_MAX), Ok(()));
        let ok = |key: &str, value: &str| check(&vec![pair(key, value)], OBJECT_TAGS_MAX).is_ok();
        assert!(ok(&"k".repeat(128), &"v".repeat(256)) && ok("grün", "a b+-=._:/@"));
        assert!(
            !ok(&"k".repeat(129), "")
                && !ok("k", &"v".repeat(257))
                && !ok("", "v")
                && !ok("a*", "")
                && !ok("aws:x", "")
        );
        assert!(check(&vec![pair("a", "1"), pair("a", "2")], OBJECT_TAGS_MAX).is_err());
    }

    #[test]
    fn reserved_tag_keys_are_refused_with_s3s_message_for_objects_or_buckets() {
        let refused = |tags_max: usize| check(&vec![pair("AWS:x", "")], tags_max);
        let words = |words: &str| Err(Fault::InvalidTag(words.to_owned()));
        assert_eq!(refused(OBJECT_TAGS_MAX), words("Your TagKey cannot be prefixed with aws:"));
        assert_eq!(refused(BUCKET_TAGS_MAX), words("System tags cannot be added/updated by requester"));
    }

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
