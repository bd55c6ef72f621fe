//! Tags of objects and buckets: their limits, and their forms in XML and in a header.

use crate::api::call::{Call, WholeBody};
use crate::api::errors::Fault;
use crate::api::text::percent;
use http::HeaderMap;
use s3s::dto::{BucketInfo, LocationInfo, Tag};
use s3s::xml::{DeError, DeResult, Deserializer};
use std::collections::{BTreeMap, BTreeSet};

/// AWS's limits on the tags of an object and of a bucket, and on the characters of a key and a value.
pub const OBJECT_TAGS_MAX: usize = 10;
pub const BUCKET_TAGS_MAX: usize = 50;
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
        let decode = |text: &str| percent::decode_query(text).ok_or_else(malformed);
        tags.push((decode(key)?, decode(value)?));
    }
    let keys: BTreeSet<_> = tags.iter().map(|(key, _)| key.as_str()).collect();
    if keys.len() < tags.len() || keys.contains("") {
        return Err(malformed());
    }
    check(&tags, OBJECT_TAGS_MAX)?;
    Ok(tags)
}

/// Parses a set of tags in XML. A tag must have both elements; the value may be empty (API Reference, "Tag").
pub fn of_set(set: Vec<Tag>, tags_max: usize) -> Result<Tags, Fault> {
    let pair = |tag: Tag| Some((tag.key?, tag.value?));
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
pub fn to_set(tags: &Tags) -> Vec<Tag> {
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

#[cfg(test)]
mod tests {
    use super::{BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, Tag, WholeBody, check, of_header, of_new_bucket, of_set};
    use crate::api::call::Call;
    use crate::api::errors::Fault;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

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
        let no_key = "<C><Tags><Tag><Value>1</Value></Tag></Tags></C>";
        let no_value = "<C><Tags><Tag><Key>a</Key></Tag></Tags></C>";
        for malformed in [no_key, no_value, "<C><Tags/><Tags/></C>", "<C><Other/></C>", "<C>"] {
            assert_eq!(of(malformed), Err(Fault::MalformedXml), "{malformed}");
        }
        let twice = "<C><Tags><Tag><Key>a</Key><Value/></Tag><Tag><Key>a</Key><Value/></Tag></Tags></C>";
        assert!(matches!(of(twice), Err(Fault::InvalidTag(_))));
    }

    #[test]
    fn a_tag_in_xml_has_a_key_and_a_value_which_may_be_empty() {
        let of = |key: Option<&str>, value: Option<&str>| {
            let tag = Tag { key: key.map(str::to_owned), value: value.map(str::to_owned) };
            of_set(vec![tag], OBJECT_TAGS_MAX)
        };
        assert_eq!(of(Some("a"), Some("1")), Ok(vec![pair("a", "1")]));
        assert_eq!(of(Some("a"), Some("")), Ok(vec![pair("a", "")]));
        assert_eq!(of(Some("a"), None), Err(Fault::MalformedXml));
        assert_eq!(of(None, Some("1")), Err(Fault::MalformedXml));
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
}
