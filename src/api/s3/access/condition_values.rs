//! The condition keys whose values are in a request's head (Service Authorization Reference, "Condition keys for Amazon
//! S3"), and the facts of the head that decide which actions an operation needs.

use super::source::Source;
use crate::api::call::SignatureFacts;
use crate::api::iam::RequestFacts;
use crate::api::policy::{Asks, Context};
use crate::api::text::Query;
use crate::api::text::percent;
use crate::types::UnixMs;
use http::{HeaderMap, Uri};
use s3s::dto::{Timestamp, TimestampFormat};
use std::borrow::Cow;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Headers and their condition keys.
const HEADERS: [(&str, &str); 20] = [
    ("if-match", "s3:if-match"),
    ("if-none-match", "s3:if-none-match"),
    ("referer", "aws:referer"),
    ("x-amz-acl", "s3:x-amz-acl"),
    ("x-amz-content-sha256", "s3:x-amz-content-sha256"),
    ("x-amz-copy-source", "s3:x-amz-copy-source"),
    ("x-amz-grant-full-control", "s3:x-amz-grant-full-control"),
    ("x-amz-grant-read", "s3:x-amz-grant-read"),
    ("x-amz-grant-read-acp", "s3:x-amz-grant-read-acp"),
    ("x-amz-grant-write", "s3:x-amz-grant-write"),
    ("x-amz-grant-write-acp", "s3:x-amz-grant-write-acp"),
    ("x-amz-metadata-directive", "s3:x-amz-metadata-directive"),
    ("x-amz-object-lock-legal-hold", "s3:object-lock-legal-hold"),
    ("x-amz-object-lock-mode", "s3:object-lock-mode"),
    ("x-amz-object-ownership", "s3:x-amz-object-ownership"),
    ("x-amz-server-side-encryption", "s3:x-amz-server-side-encryption"),
    ("x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-server-side-encryption-aws-kms-key-id"),
    ("x-amz-server-side-encryption-customer-algorithm", "s3:x-amz-server-side-encryption-customer-algorithm"),
    ("x-amz-storage-class", "s3:x-amz-storage-class"),
    ("x-amz-website-redirect-location", "s3:x-amz-website-redirect-location"),
];
/// Parameters of listings and their condition keys.
const PARAMETERS: [(&str, &str); 4] = [
    ("prefix", "s3:prefix"),
    ("delimiter", "s3:delimiter"),
    ("max-keys", "s3:max-keys"),
    ("versionId", "s3:VersionId"),
];
const RETAIN_UNTIL: &str = "x-amz-object-lock-retain-until-date";

pub fn facts(headers: &HeaderMap, source_ip: Option<String>, secure: bool, region: &str) -> RequestFacts {
    RequestFacts {
        source_ip,
        user_agent: text(headers, "user-agent").map(str::to_owned),
        secure,
        region: region.to_owned(),
        seat: None,
        trace: None,
    }
}

/// Returns the decoded value of a query parameter; empty if the parameter has no value. A repeated parameter counts as
/// absent, as it does for the operation.
pub fn parameter(uri: &Uri, name: &str) -> Option<String> {
    Query::read(Some(uri.query()?)).ok()?.only(name).map(str::to_owned)
}

/// Returns the first value of a header. A head has few headers: a linear search costs less than making a `HeaderName`.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(known, _)| known.as_str() == name)?;
    value.to_str().ok()
}

/// Adds the condition keys whose values are in the head.
pub fn add_from_head(context: &mut Context, headers: &HeaderMap, uri: &Uri, now: UnixMs) {
    for name in headers.keys() {
        let Some((name, key)) = HEADERS.iter().find(|(known, _)| *known == name.as_str()) else { continue };
        if let Some(value) = header_value(headers, name) {
            context.add_lower(key, value);
        }
    }
    for (name, key) in PARAMETERS.into_iter().filter(|_| uri.query().is_some()) {
        if let Some(value) = parameter(uri, name) {
            context.add(key, value);
        }
    }
    add_retention(context, headers, now);
}

/// Returns the value of a header's condition key; `None` if it has none. An empty header has none: operations take it
/// for absent, or refuse it.
///
/// `If-None-Match` counts only as `*`, the one value that AWS accepts: a policy that asks for it means that nothing is
/// overwritten, and an entity tag does not keep that promise. The source of a copy has one spelling, whatever the
/// header's, and is without its version (which is `s3:VersionId` of the source); a malformed one, which is refused, has
/// none.
fn header_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let value = text(headers, name).filter(|value| !value.is_empty())?;
    match name {
        "if-none-match" if value.trim() != "*" => None,
        "x-amz-copy-source" => Some(Source::of(headers).ok()?.text().into()),
        _ => Some(value.into()),
    }
}

/// Adds `s3:ObjectCreationOperation` for an operation that needs PutObject: whether it creates an object by itself, or
/// only a part of one (User Guide, "Enforce conditional writes on Amazon S3 buckets").
pub fn add_creation(context: &mut Context, operation: &str) {
    let makes = match operation {
        "CompleteMultipartUpload" | "CopyObject" | "PostObject" | "PutObject" | "RenameObject" => "true",
        "CreateMultipartUpload" | "UploadPart" | "UploadPartCopy" => "false",
        _ => return,
    };
    context.add("s3:ObjectCreationOperation", makes);
}

/// Adds the condition keys of the retain-until date. A date that the operation cannot parse, such as one without an
/// offset, adds none.
fn add_retention(context: &mut Context, headers: &HeaderMap, now: UnixMs) {
    let until = text(headers, RETAIN_UNTIL);
    let Some(Ok(until)) = until.map(|until| Timestamp::parse(TimestampFormat::DateTime, until)) else { return };
    context.set("s3:object-lock-retain-until-date", utc_text(&until));
    context.add("s3:object-lock-remaining-retention-days", remaining_days(&until, now));
}

/// Returns the date in UTC, in the format (RFC 3339) that date conditions compare; `None` if it is after the year 9999
/// there.
pub fn utc_text(at: &Timestamp) -> Option<String> {
    let at = OffsetDateTime::from(at.clone()).checked_to_offset(UtcOffset::UTC)?;
    at.format(&Rfc3339).ok()
}

pub fn remaining_days(until: &Timestamp, now: UnixMs) -> String {
    let until = OffsetDateTime::from(until.clone()).unix_timestamp();
    let seconds = until - i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
    (seconds.max(0) / 86_400).to_string()
}

/// Adds the condition keys of the tags that the operation stores. A copy that keeps its source's tags ignores the header.
pub fn add_tags(context: &mut Context, operation: &str, headers: &HeaderMap) {
    let Some(tags) = text(headers, "x-amz-tagging") else { return };
    if operation == "CopyObject" && text(headers, "x-amz-tagging-directive") != Some("REPLACE") {
        return;
    }
    for pair in tags.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(key), Some(value)) = (percent::decode_query(key), percent::decode_query(value)) {
            context.add(&format!("s3:RequestObjectTag/{key}"), value);
            context.add("s3:RequestObjectTagKeys", key);
        }
    }
}

/// Adds the condition keys of the signature: its kind and version, its age, and its region.
pub fn add_signature(context: &mut Context, signature: &SignatureFacts, now: UnixMs) {
    context.add_lower("s3:authtype", signature.auth_type);
    context.add_lower("s3:signatureversion", signature.version);
    if let Some(signed_at) = signature.signed_at {
        context.add_lower("s3:signatureage", now.0.saturating_sub(signed_at.saturating_mul(1000)).to_string());
    }
    if let Some(region) = &signature.region {
        context.set("aws:RequestedRegion", Some(region.clone()));
    }
}

/// Operations that write only if the existing object has, or has not, the ETag or another property that a header names.
const COMPARING: [&str; 5] = ["CompleteMultipartUpload", "CopyObject", "DeleteObject", "PutObject", "RenameObject"];

/// Returns the facts of the head that decide which actions its operation needs.
pub fn asks(operation: &str, headers: &HeaderMap, uri: &Uri) -> Asks {
    let has = |name: &str| headers.keys().any(|known| known.as_str() == name);
    let source = text(headers, "x-amz-copy-source").unwrap_or_default();
    let copies_tags = operation == "CopyObject" && text(headers, "x-amz-tagging-directive") != Some("REPLACE");
    let retention = has("x-amz-object-lock-mode") || has("x-amz-object-lock-retain-until-date");
    Asks {
        version: parameter(uri, "versionId").is_some(),
        source_version: source.contains("?versionId="),
        acl: has("x-amz-acl") || headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-")),
        tags: has("x-amz-tagging"),
        // The caller of this function checks whether the source has any tags.
        source_tags: copies_tags,
        retention,
        legal_hold: has("x-amz-object-lock-legal-hold"),
        bypass: bypasses(headers),
        object_lock: has("x-amz-bucket-object-lock-enabled"),
        ownership: has("x-amz-object-ownership"),
        reads_etag: COMPARING.contains(&operation) && compares(headers),
    }
}

/// Returns whether the outcome of a write with these headers tells of the object that is there: of its entity tag, size
/// or time, or, for an append, of the whole content.
fn compares(headers: &HeaderMap) -> bool {
    let mut tags = ["if-match", "if-none-match"].into_iter().filter_map(|name| text(headers, name));
    let others = [
        "if-modified-since",
        "if-unmodified-since",
        "x-amz-if-match-size",
        "x-amz-if-match-last-modified-time",
        "x-amz-write-offset-bytes",
    ];
    tags.any(|tag| tag.trim() != "*") || others.into_iter().any(|name| headers.contains_key(name))
}

pub fn bypasses(headers: &HeaderMap) -> bool {
    text(headers, "x-amz-bypass-governance-retention").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::{HEADERS, add_creation, add_from_head, add_signature, add_tags, asks, facts};
    use crate::api::call::SignatureFacts;
    use crate::api::iam::request_keys;
    use crate::api::policy::{Context, condition_keys};
    use crate::types::UnixMs;
    use http::{HeaderMap, HeaderName, HeaderValue, Uri};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(header).collect()
    }

    /// Returns a signature made one second before the Unix time 1,440,938,161.
    fn signature() -> SignatureFacts {
        SignatureFacts {
            auth_type: "REST-HEADER",
            version: "AWS4-HMAC-SHA256",
            signed_at: Some(1_440_938_160),
            region: Some("eu-west-1".to_owned()),
        }
    }

    #[test]
    fn the_head_of_a_request_gives_its_condition_keys() {
        let mut context = Context::default();
        let head = headers(&[("x-amz-acl", "public-read"), ("x-amz-tagging", "a=1&b=x%20y")]);
        let uri = Uri::from_static("/b?prefix=home%2F&max-keys=2");
        add_from_head(&mut context, &head, &uri, UnixMs(1_440_938_161_000));
        add_tags(&mut context, "PutObject", &head);
        add_signature(&mut context, &signature(), UnixMs(1_440_938_161_000));
        let values = |key: &str| context.values(key).map(<[String]>::to_vec).unwrap_or_default();
        assert_eq!(values("s3:x-amz-acl"), ["public-read"]);
        assert_eq!((values("s3:prefix"), values("s3:max-keys")), (vec!["home/".to_owned()], vec!["2".to_owned()]));
        assert_eq!(values("s3:requestobjecttag/b"), ["x y"]);
        assert_eq!(values("s3:requestobjecttagkeys"), ["a", "b"]);
        assert_eq!(
            (values("s3:authtype"), values("s3:signatureage")),
            (vec!["REST-HEADER".to_owned()], vec!["1000".to_owned()])
        );
        assert!(values("s3:delimiter").is_empty());
    }

    #[test]
    fn only_a_star_gives_the_condition_key_of_if_none_match() {
        for (value, is_given) in [("*", true), (" * ", true), ("\"a\"", false), ("W/\"a\"", false), ("", false)] {
            let mut context = Context::default();
            add_from_head(&mut context, &headers(&[("if-none-match", value)]), &Uri::from_static("/b/k"), UnixMs(0));
            assert_eq!(context.values("s3:if-none-match").is_some(), is_given, "{value}");
        }
    }

    #[test]
    fn an_empty_header_gives_no_condition_key() {
        let given = |value: &'static str| {
            let mut context = Context::default();
            let head = HEADERS.map(|(name, _)| (name, value));
            add_from_head(&mut context, &headers(&head), &Uri::from_static("/b/k"), UnixMs(0));
            context.keys().count()
        };
        assert_eq!((given(""), given("bucket/k")), (0, HEADERS.len() - 1), "If-None-Match counts as a star only");
    }

    #[test]
    fn the_source_of_a_copy_is_the_same_condition_value_however_it_is_spelled() {
        let source = |text: &'static str| {
            let mut context = Context::default();
            let head = headers(&[("x-amz-copy-source", text)]);
            add_from_head(&mut context, &head, &Uri::from_static("/b/k"), UnixMs(0));
            context.single("s3:x-amz-copy-source").map(str::to_owned)
        };
        for text in ["secret/a%20b/k", "/secret/a%20b/k", "%73ecret%2Fa b/%6B", "secret/a%20b/k?versionId=null"] {
            assert_eq!(source(text).as_deref(), Some("secret/a%20b/k"), "{text}");
        }
        assert_eq!((source("secret"), source("secret/%zz")), (None, None), "they are refused");
    }

    /// Whatever else is in the head: a header that the operation ignores must not hide the tags that it stores.
    #[test]
    fn tags_are_condition_keys_of_every_operation_but_copies_that_keep_their_sources() {
        let (tags, source) = (("x-amz-tagging", "a=1"), ("x-amz-copy-source", "b/s"));
        let directive = |value| ("x-amz-tagging-directive", value);
        let is_given = |operation: &str, pairs: &[(&'static str, &'static str)]| {
            let mut context = Context::default();
            add_tags(&mut context, operation, &headers(pairs));
            context.values("s3:requestobjecttag/a").is_some()
        };
        for operation in ["PutObject", "CreateMultipartUpload", "PostObject"] {
            assert!(is_given(operation, &[tags, source, directive("COPY")]), "{operation}");
        }
        assert!(is_given("CopyObject", &[tags, source, directive("REPLACE")]));
        assert!(
            !is_given("CopyObject", &[tags, source]) && !is_given("CopyObject", &[tags, source, directive("COPY")])
        );
    }

    /// Keys whose values are not in the head, but follow from the caller (`identity`), the resource (`judge`), the body
    /// (`body_values`) or the connection.
    const ELSEWHERE: [&str; 18] = [
        "aws:federatedprovider",
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalisawsservice",
        "aws:principaltag/",
        "aws:principaltype",
        "aws:sourceidentity",
        "aws:tokenissuetime",
        "aws:userid",
        "aws:username",
        "aws:resourceaccount",
        "s3:existingobjecttag/",
        "s3:resourceaccount",
        "aws:requesttag/",
        "aws:tagkeys",
        "s3:inventoryaccessibleoptionalfields",
        "s3:locationconstraint",
        "s3:tlsversion",
    ];

    #[test]
    fn every_condition_key_has_a_source_or_is_listed_as_absent_or_unsupported() {
        let mut head = headers(&[
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-object-lock-retain-until-date", "2030-01-01T00:00:00Z"),
            ("x-amz-object-lock-legal-hold", "ON"),
            ("x-amz-tagging", "a=1"),
            ("if-none-match", "*"),
            ("referer", "r"),
            ("user-agent", "u"),
            ("x-amz-copy-source", "bucket/k"),
        ]);
        for (name, _) in HEADERS {
            head.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static("v"));
        }
        let uri = Uri::from_static("/b?prefix=a&delimiter=b&max-keys=1&versionId=v");
        let now = UnixMs(1_440_938_161_000);
        let facts = facts(&head, Some("::1".to_owned()), true, "us-east-1");
        let mut context: Context = request_keys(facts, now).into_iter().collect();
        add_from_head(&mut context, &head, &uri, now);
        add_tags(&mut context, "PutObject", &head);
        add_creation(&mut context, "PutObject");
        add_signature(&mut context, &signature(), now);
        for known in condition_keys::all() {
            let is_given = |key: &str| if known.ends_with('/') { key.starts_with(known) } else { key == known };
            let ways = [
                ELSEWHERE.contains(&known),
                context.keys().any(is_given),
                condition_keys::is_absent(known),
                !condition_keys::is_evaluated(&format!("{known}a")),
            ];
            assert_eq!(ways.into_iter().filter(|way| *way).count(), 1, "{known}");
        }
    }

    #[test]
    fn the_requested_region_is_that_of_the_signature() {
        let requested = |region: Option<&str>| {
            let mut context = Context::default();
            context.add("aws:RequestedRegion", "here");
            let region = region.map(str::to_owned);
            add_signature(&mut context, &SignatureFacts { region, ..signature() }, UnixMs(0));
            context.single("aws:requestedregion").map(str::to_owned)
        };
        assert_eq!(requested(Some("eu-west-1")).as_deref(), Some("eu-west-1"));
        assert_eq!(requested(None).as_deref(), Some("here"));
    }

    #[test]
    fn a_copy_takes_the_sources_tags_unless_it_replaces_them() {
        let uri = Uri::from_static("/b/k");
        assert!(asks("CopyObject", &headers(&[("x-amz-copy-source", "/a/k?versionId=1")]), &uri).source_version);
        assert!(asks("CopyObject", &headers(&[]), &uri).source_tags);
        assert!(!asks("CopyObject", &headers(&[("x-amz-tagging-directive", "REPLACE")]), &uri).source_tags);
        assert!(!asks("PutObject", &headers(&[]), &uri).source_tags);
        assert!(asks("GetObject", &headers(&[]), &Uri::from_static("/b/k?versionId=null")).version);
    }

    #[test]
    fn a_retain_until_date_is_converted_to_utc_and_needs_an_offset() {
        let until = |text: &'static str| {
            let mut context = Context::default();
            let head = headers(&[("x-amz-object-lock-retain-until-date", text)]);
            add_from_head(&mut context, &head, &Uri::from_static("/b/k"), UnixMs(0));
            context.single("s3:object-lock-retain-until-date").map(str::to_owned)
        };
        assert_eq!(until("2030-01-01T05:30:00+05:30"), until("2030-01-01T00:00:00Z"));
        assert!(until("2030-01-01T00:00:00Z").is_some());
        assert_eq!((until("2030-01-01T00:00:00"), until("2030-01-01")), (None, None), "without an offset");
        assert_eq!(until("9999-12-31T23:59:59-00:01"), None, "in the year 10000");
    }

    #[test]
    fn uploading_a_part_is_no_object_creation_operation() {
        for (operation, makes) in [("PutObject", Some("true")), ("UploadPart", Some("false")), ("GetObject", None)] {
            let mut context = Context::default();
            add_creation(&mut context, operation);
            assert_eq!(context.single("s3:objectcreationoperation"), makes, "{operation}");
        }
    }

    #[test]
    fn if_match_with_an_etag_is_a_comparing_write_and_with_a_star_is_not() {
        let reads_etag =
            |operation, tag| asks(operation, &headers(&[("if-match", tag)]), &Uri::from_static("/b/k")).reads_etag;
        assert!(reads_etag("PutObject", "\"a\"") && reads_etag("DeleteObject", "a"));
        assert!(!reads_etag("DeleteObject", "*") && !reads_etag("GetObject", "\"a\""));
        let other_than =
            |tag| asks("PutObject", &headers(&[("if-none-match", tag)]), &Uri::from_static("/b/k")).reads_etag;
        assert!(other_than("\"a\"") && !other_than("*"));
        let by = |operation, name, value| asks(operation, &headers(&[(name, value)]), &Uri::from_static("/b/k"));
        assert!(by("PutObject", "x-amz-write-offset-bytes", "7").reads_etag, "an append answers the whole's checksum");
        assert!(by("DeleteObject", "x-amz-if-match-size", "7").reads_etag);
        assert!(by("DeleteObject", "x-amz-if-match-last-modified-time", "Thu, 01 Dec 2033 16:00:00 GMT").reads_etag);
    }

    #[test]
    fn a_rename_under_a_date_is_a_comparing_write_also_with_a_star() {
        let date = "Thu, 01 Dec 2033 16:00:00 GMT";
        let reads_etag = |pairs: &[(&'static str, &'static str)]| {
            asks("RenameObject", &headers(pairs), &Uri::from_static("/b/k?renameObject")).reads_etag
        };
        for name in ["if-modified-since", "if-unmodified-since"] {
            assert!(reads_etag(&[(name, date)]) && reads_etag(&[("if-none-match", "*"), (name, date)]), "{name}");
        }
        assert!(!reads_etag(&[("if-none-match", "*")]) && !reads_etag(&[("if-match", "*")]));
        assert!(!reads_etag(&[("x-amz-rename-source-if-unmodified-since", date)]), "the source is read anyway");
    }
}
