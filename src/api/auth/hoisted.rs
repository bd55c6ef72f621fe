//! Hoisted headers: headers that SDKs put into the query of a presigned URL, so that the user of the URL need not send
//! them. S3 treats them as headers. Version 4 signs them as part of the query, version 2 as headers.

use crate::api::errors::Fault;
use crate::api::text::Query;
use crate::api::text::query::OF_SIGNATURES;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::HashMap;

/// The headers that may be hoisted. They describe an object, set conditions, or choose how the request is carried out;
/// none makes another operation of it or describes its body.
const NAMES: [&str; 26] = [
    "x-amz-acl",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-bypass-governance-retention",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-mode",
    "x-amz-checksum-type",
    "x-amz-confirm-remove-self-bucket-access",
    "x-amz-expected-bucket-owner",
    "x-amz-if-match-initiated-time",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
    "x-amz-max-parts",
    "x-amz-metadata-directive",
    "x-amz-mfa",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-object-ownership",
    "x-amz-optional-object-attributes",
    "x-amz-part-number-marker",
    "x-amz-request-payer",
    "x-amz-security-token",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-tagging-directive",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
];
const PREFIXES: [&str; 4] = [USER_METADATA, "x-amz-grant-", "x-amz-object-lock-", "x-amz-server-side-encryption"];
pub const USER_METADATA: &str = "x-amz-meta-";
/// The headers that may be hoisted with version 2 only, which signs them.
const OF_VERSION_2: [&str; 2] = ["content-md5", "content-type"];

/// Headers of the body or of the client that SDKs hoist when they sign a URL for a body that is not there yet. They are
/// ignored.
const IGNORED: [&str; 5] = [
    "x-amz-content-sha256",
    "x-amz-decoded-content-length",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-trailer",
    "x-amz-user-agent",
];
const CHECKSUMS: &str = "x-amz-checksum-";

/// Refuses a presigned URL with a header in its query that has no effect there: without it, the request would do
/// something else than its signer meant.
pub fn check_hoisted(query: &Query) -> Result<(), Fault> {
    for (name, _) in query.pairs() {
        let name = name.to_ascii_lowercase();
        let is_known = is_hoisted(&name)
            || OF_SIGNATURES.iter().any(|known| known.eq_ignore_ascii_case(&name))
            || IGNORED.contains(&name.as_str())
            || name.starts_with(CHECKSUMS);
        if name.starts_with("x-amz-") && !is_known {
            let why = format!("A presigned URL cannot have {name} in its query. Send it as a header.");
            return Err(Fault::NotImplemented(why));
        }
    }
    Ok(())
}

/// Adds the hoisted headers to the headers of the request, unless it has them itself.
pub fn unhoist(headers: &mut HeaderMap, query: &Query, by_version_2: bool) {
    for (name, value) in query.pairs() {
        let name = name.to_ascii_lowercase();
        let is_header = is_hoisted(&name) || (by_version_2 && OF_VERSION_2.contains(&name.as_str()));
        if !is_header {
            continue;
        }
        let Ok(found) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        if !headers.contains_key(&found)
            && let Some(value) = header_value(&name, value)
        {
            headers.insert(found, value);
        }
    }
}

/// The hoisted headers of a query, by their names in lower case. The first value of each counts.
#[derive(Debug, Default)]
pub struct Hoisted<'a>(HashMap<String, &'a str>);

impl<'a> Hoisted<'a> {
    pub fn of(query: &'a Query) -> Self {
        let mut found = HashMap::new();
        for (name, value) in query.pairs() {
            let name = name.to_ascii_lowercase();
            if is_hoisted(&name) {
                found.entry(name).or_insert(value);
            }
        }
        Self(found)
    }

    /// Returns whether the query holds this header with the same value, so that the query's signature covers it.
    pub fn stands_for(&self, name: &str, value: &HeaderValue) -> bool {
        self.0.get(name).and_then(|text| header_value(name, text)).as_ref() == Some(value)
    }
}

fn is_hoisted(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn header_value(name: &str, text: &str) -> Option<HeaderValue> {
    let written = name.starts_with(USER_METADATA).then(|| as_metadata(text));
    HeaderValue::try_from(written.as_deref().unwrap_or(text)).ok()
}

/// Encodes user metadata for a header. A value that is not plain ASCII, begins or ends with a space, or looks like an
/// encoded value is encoded by RFC 2047.
pub fn as_metadata(value: &str) -> String {
    let plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if plain && !value.starts_with("=?") && value.trim() == value {
        return value.to_owned();
    }
    format!("=?UTF-8?B?{}?=", base64_simd::STANDARD.encode_to_string(value))
}

#[cfg(test)]
mod tests {
    use super::{Hoisted, check_hoisted, unhoist};
    use crate::api::text::Query;
    use http::{HeaderMap, HeaderValue};

    fn query(text: &str) -> Query {
        Query::read(Some(text)).expect("a query")
    }

    fn unhoisted(text: &str, by_version_2: bool) -> HeaderMap {
        let mut headers =
            HeaderMap::from_iter([("x-amz-acl".parse().expect("a name"), HeaderValue::from_static("own"))]);
        unhoist(&mut headers, &query(text), by_version_2);
        headers
    }

    #[test]
    fn hoisted_headers_apply_unless_the_request_has_its_own() {
        let headers =
            unhoisted("X-Amz-Meta-A=b+c&x-amz-meta-u=%C3%BC&x-amz-tagging=a%3Db&x-amz-acl=public-read", false);
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!((value("x-amz-meta-a"), value("x-amz-tagging")), (Some("b c"), Some("a=b")));
        assert_eq!((value("x-amz-meta-u"), value("x-amz-acl")), (Some("=?UTF-8?B?w7w=?="), Some("own")));
    }

    #[test]
    fn headers_that_change_a_request_or_describe_its_body_are_not_hoisted() {
        let text = "x-amz-copy-source=b/k&x-amz-content-sha256=STREAMING-X&x-amz-date=d&x-amz-trailer=t&X-Amz-Date=d\
                    &x-amz-decoded-content-length=1&x-amz-checksum-crc32=AAAAAA==&content-type=a/b&range=bytes%3D0-";
        assert_eq!(unhoisted(text, false).len(), 1);
        let headers = unhoisted(text, true);
        assert_eq!((headers.len(), headers.contains_key("content-type")), (2, true));
    }

    #[test]
    fn a_presigned_url_with_a_header_that_would_be_ignored_is_refused() {
        let is_taken = |text: &str| check_hoisted(&query(text)).is_ok();
        let signed = "X-Amz-Algorithm=a&X-Amz-Credential=c&X-Amz-Date=d&X-Amz-Expires=1&X-Amz-SignedHeaders=host\
                      &X-Amz-Signature=s&X-Amz-Security-Token=t&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&x-id=PutObject";
        assert!(is_taken(signed));
        assert!(is_taken("x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32&x-amz-meta-a=b"));
        assert!(is_taken("x-amz-write-offset-bytes=3&versionId=1&prefix=x-amz-copy-source"));
        for name in ["x-amz-copy-source", "X-Amz-Copy-Source-If-Match", "x-amz-rename-source", "x-amz-unheard-of"] {
            assert!(!is_taken(&format!("{signed}&{name}=1")), "{name}");
        }
    }

    #[test]
    fn headers_of_appends_and_conditions_apply_in_the_query() {
        let headers = unhoisted("x-amz-write-offset-bytes=20000&x-amz-if-match-size=5", false);
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!((value("x-amz-write-offset-bytes"), value("x-amz-if-match-size")), (Some("20000"), Some("5")));
    }

    #[test]
    fn the_query_covers_a_header_only_with_the_same_value() {
        let query = query("x-amz-acl=private&X-Amz-Meta-A=1&x-amz-copy-source=b/k&X-Amz-Acl=public-read");
        let (hoisted, value) = (Hoisted::of(&query), HeaderValue::from_static);
        assert!(hoisted.stands_for("x-amz-acl", &value("private")) && hoisted.stands_for("x-amz-meta-a", &value("1")));
        assert!(!hoisted.stands_for("x-amz-acl", &value("public-read")));
        assert!(!hoisted.stands_for("x-amz-copy-source", &value("b/k")));
        assert!(!hoisted.stands_for("x-amz-tagging", &value("")));
    }
}
