//! Conversion between headers and the metadata of an object: entity tags, dates, the content headers, user metadata,
//! storage class.

use super::checksums::ShownChecksum;
use crate::actors::meta::{ETag, Manifest, ObjectHeaders};
use crate::api::errors::Fault;
use crate::limits::{CONTENT_HEADERS_BYTES_MAX, USER_METADATA_BYTES_MAX};
use crate::types::UnixMs;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::dto;
use s3s::dto::{Timestamp, TimestampFormat};
use time::OffsetDateTime;

/// The content type in responses for an object stored without one.
const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";
const STANDARD: &str = "STANDARD";
/// Storage classes that are accepted and shown again; how an object is stored does not depend on them. Classes whose
/// objects must be restored before they can be read are not accepted.
const OTHER_CLASSES: &[&str] =
    &["GLACIER_IR", "INTELLIGENT_TIERING", "ONEZONE_IA", "REDUCED_REDUNDANCY", "STANDARD_IA"];
/// S3's limit on the length of a redirect's location.
const REDIRECT_BYTES_MAX: usize = 2048;

/// Returns an ETag without quotes: 32 hexadecimal digits, and `-N` for an object of N parts.
pub fn etag_text(etag: &ETag) -> String {
    let md5 = hex_simd::encode_to_string(etag.md5, hex_simd::AsciiCase::Lower);
    match etag.parts {
        None => md5,
        Some(parts) => format!("{md5}-{parts}"),
    }
}

/// Parses an ETag without quotes. Returns `None` if no object here can have it.
pub fn parse_etag(text: &str) -> Option<ETag> {
    let (md5, parts) = match text.split_once('-') {
        None => (text, None),
        Some((md5, parts)) => (md5, Some(parts.parse::<u16>().ok()?)),
    };
    Some(ETag { md5: parse_md5(md5)?, parts })
}

/// Parses an MD5 of 32 hexadecimal digits.
pub fn parse_md5(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 {
        return None;
    }
    hex_simd::decode_to_vec(text).ok()?.try_into().ok()
}

pub fn etag_header(etag: &ETag) -> dto::ETag {
    dto::ETag::Strong(etag_text(etag))
}

pub fn timestamp(at: UnixMs) -> Timestamp {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000);
    Timestamp::from(at.unwrap_or(OffsetDateTime::UNIX_EPOCH))
}

/// Returns a time as an HTTP date (RFC 9110, section 5.6.7).
pub fn http_date(at: UnixMs) -> Option<String> {
    let mut text = Vec::with_capacity(32);
    timestamp(at).format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// Parses an HTTP date. Returns seconds since the Unix epoch.
pub fn http_time(text: &str) -> Option<i64> {
    let parsed = Timestamp::parse(TimestampFormat::HttpDate, text.trim()).ok()?;
    Some(OffsetDateTime::from(parsed).unix_timestamp())
}

/// Returns the headers that a PUT, a CreateMultipartUpload or a replacing copy stores with the object. `user` is the
/// user metadata as s3s decoded it (RFC 2047).
pub fn stored_headers(headers: &HeaderMap, user: Option<dto::Metadata>) -> Result<ObjectHeaders, Fault> {
    let text = |name: HeaderName| match headers.get(&name) {
        Some(value) if !value.is_empty() => match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Fault::InvalidArgument(format!("The header {name} is not UTF-8."))),
        },
        _ => Ok(None),
    };
    let storage_class = text(s3s::header::X_AMZ_STORAGE_CLASS)?.filter(|class| class != STANDARD);
    if storage_class.as_deref().is_some_and(|class| !OTHER_CLASSES.contains(&class)) {
        return Err(Fault::InvalidStorageClass);
    }
    let website_redirect = text(s3s::header::X_AMZ_WEBSITE_REDIRECT_LOCATION)?;
    if let Some(to) = &website_redirect {
        let leads_somewhere = ["/", "http://", "https://"].iter().any(|prefix| to.starts_with(prefix));
        if !leads_somewhere || to.len() > REDIRECT_BYTES_MAX {
            return Err(Fault::InvalidRedirect);
        }
    }
    let stored = ObjectHeaders {
        content_type: text(header::CONTENT_TYPE)?,
        content_encoding: text(header::CONTENT_ENCODING)?.and_then(|coding| content_coding(&coding)),
        content_language: text(header::CONTENT_LANGUAGE)?,
        content_disposition: text(header::CONTENT_DISPOSITION)?,
        cache_control: text(header::CACHE_CONTROL)?,
        expires: text(header::EXPIRES)?,
        storage_class,
        website_redirect,
        user: user_metadata(user)?,
    };
    if content_header_bytes(&stored) > CONTENT_HEADERS_BYTES_MAX {
        return Err(Fault::RequestHeadersTooLarge);
    }
    Ok(stored)
}

/// Returns the size of the content headers, names and values. User metadata and the redirect have bounds of their own.
fn content_header_bytes(stored: &ObjectHeaders) -> usize {
    let content = [
        (header::CONTENT_TYPE, &stored.content_type),
        (header::CONTENT_ENCODING, &stored.content_encoding),
        (header::CONTENT_LANGUAGE, &stored.content_language),
        (header::CONTENT_DISPOSITION, &stored.content_disposition),
        (header::CACHE_CONTROL, &stored.cache_control),
        (header::EXPIRES, &stored.expires),
    ];
    let sizes = content.iter().filter_map(|(name, value)| Some(name.as_str().len() + value.as_deref()?.len()));
    sizes.sum()
}

/// Returns the content coding without `aws-chunked`, which names the framing of a transfer: no reader could decode it.
fn content_coding(coding: &str) -> Option<String> {
    let names_framing = |token: &str| token.eq_ignore_ascii_case("aws-chunked");
    let tokens = || coding.split(',').map(str::trim);
    if !tokens().any(names_framing) {
        return Some(coding.to_owned());
    }
    let kept: Vec<&str> = tokens().filter(|token| !token.is_empty() && !names_framing(token)).collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

/// Returns the user metadata, sorted by name, since HTTP libraries do not keep the order of headers.
fn user_metadata(user: Option<dto::Metadata>) -> Result<Vec<(String, String)>, Fault> {
    let mut user: Vec<(String, String)> = user.unwrap_or_default().into_iter().collect();
    user.sort_unstable();
    let bytes: usize = user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > USER_METADATA_BYTES_MAX {
        return Err(Fault::MetadataTooLarge { size_bytes: bytes });
    }
    Ok(user)
}

/// The headers of an object in answers to GET and HEAD, which are the same for the whole object and for a range.
pub struct Description {
    pub cache_control: Option<String>,
    pub checksum: Option<ShownChecksum>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub content_type: Option<String>,
    pub e_tag: Option<dto::ETag>,
    /// The `Expires` header as it was given, a valid date or not.
    pub expires: Option<HeaderValue>,
    pub last_modified: Option<Timestamp>,
    pub metadata: Option<dto::Metadata>,
    /// `None` for STANDARD, which S3 does not show.
    pub storage_class: Option<dto::StorageClass>,
    pub website_redirect_location: Option<String>,
}

pub fn describe(manifest: &Manifest) -> Description {
    let stored = &manifest.headers;
    let content_type = stored.content_type.clone().unwrap_or_else(|| CONTENT_TYPE_DEFAULT.to_owned());
    Description {
        cache_control: stored.cache_control.clone(),
        checksum: None,
        content_disposition: stored.content_disposition.clone(),
        content_encoding: stored.content_encoding.clone(),
        content_language: stored.content_language.clone(),
        content_type: Some(content_type),
        e_tag: Some(etag_header(&manifest.etag)),
        expires: stored.expires.as_deref().and_then(|at| HeaderValue::from_bytes(at.as_bytes()).ok()),
        last_modified: Some(timestamp(manifest.modified)),
        metadata: (!stored.user.is_empty()).then(|| stored.user.iter().cloned().collect()),
        storage_class: stored.storage_class.clone().map(dto::StorageClass::from),
        website_redirect_location: stored.website_redirect.clone(),
    }
}

/// Returns the storage class for listings, which show it for every object.
pub fn storage_class(headers: &ObjectHeaders) -> String {
    headers.storage_class.clone().unwrap_or_else(|| STANDARD.to_owned())
}

/// Returns the number of parts of an object made by multipart upload.
pub fn parts_count(manifest: &Manifest) -> Option<u16> {
    manifest.parts().map(|(_, count)| count).or(manifest.etag.parts)
}

/// Returns the checksum of the whole object.
pub fn object_checksum(manifest: &Manifest) -> Option<ShownChecksum> {
    manifest.checksum.as_ref().map(|checksum| ShownChecksum::of_object(checksum, parts_count(manifest)))
}

#[cfg(test)]
mod tests {
    use super::{etag_text, http_date, http_time, parse_etag, stored_headers};
    use crate::actors::meta::ETag;
    use crate::api::errors::Fault;
    use crate::limits::CONTENT_HEADERS_BYTES_MAX;
    use crate::types::UnixMs;
    use http::{HeaderMap, HeaderName, HeaderValue, header};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        HeaderMap::from_iter(
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        )
    }

    #[test]
    fn m3_an_etag_reads_back_as_it_was_written() {
        for etag in [ETag { md5: [0xab; 16], parts: None }, ETag { md5: [1; 16], parts: Some(10_000) }] {
            assert_eq!(parse_etag(&etag_text(&etag)), Some(etag));
        }
        assert_eq!(etag_text(&ETag { md5: [0xab; 16], parts: Some(75) }), "abababababababababababababababab-75");
        for text in ["", "abc", "zzababababababababababababababab", "abababababababababababababababab-x", "-1"] {
            assert_eq!(parse_etag(text), None, "{text}");
        }
    }

    #[test]
    fn http_dates_are_written_and_read_in_whole_seconds() {
        assert_eq!(http_date(UnixMs(784_111_777_900)).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(http_time("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_time("soon"), None);
    }

    #[test]
    fn aws_chunked_is_removed_from_the_stored_content_encoding() {
        let coding = |text: &'static str| {
            stored_headers(&headers(&[("content-encoding", text)]), None).expect("headers").content_encoding
        };
        assert_eq!(coding("aws-chunked"), None);
        assert_eq!(coding("AWS-Chunked, aws-chunked"), None);
        assert_eq!(coding("gzip, aws-chunked").as_deref(), Some("gzip"));
        assert_eq!(coding("aws-chunked,gzip").as_deref(), Some("gzip"));
        assert_eq!(coding("gzip, br").as_deref(), Some("gzip, br"));
    }

    #[test]
    fn user_metadata_has_a_limit_that_counts_names_and_values() {
        let with = |bytes: usize| {
            let user = [("n".to_owned(), "v".repeat(bytes - 1))].into_iter().collect();
            stored_headers(&HeaderMap::new(), Some(user))
        };
        assert!(with(2048).is_ok());
        assert_eq!(with(2049), Err(Fault::MetadataTooLarge { size_bytes: 2049 }));
    }

    #[test]
    fn the_content_headers_of_an_object_are_bounded_together() {
        let with = |bytes: usize| {
            let half = bytes / 2 - "content-disposition".len();
            let rest = bytes - bytes / 2 - "expires".len();
            let value = |bytes| HeaderValue::try_from("v".repeat(bytes)).expect("a value");
            let headers = [(header::CONTENT_DISPOSITION, value(half)), (header::EXPIRES, value(rest))];
            stored_headers(&HeaderMap::from_iter(headers), None)
        };
        assert!(with(CONTENT_HEADERS_BYTES_MAX).is_ok());
        assert_eq!(with(CONTENT_HEADERS_BYTES_MAX + 1), Err(Fault::RequestHeadersTooLarge));
        let many = [
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::CONTENT_LANGUAGE,
            header::CONTENT_DISPOSITION,
            header::CACHE_CONTROL,
            header::EXPIRES,
        ];
        let value = || HeaderValue::try_from("v".repeat(1500)).expect("a value");
        let headers = HeaderMap::from_iter(many.map(|name| (name, value())));
        assert_eq!(stored_headers(&headers, None), Err(Fault::RequestHeadersTooLarge));
    }

    #[test]
    fn unsupported_storage_classes_and_invalid_redirects_are_refused() {
        let class = |name| stored_headers(&headers(&[("x-amz-storage-class", name)]), None).map(|of| of.storage_class);
        assert_eq!(class("STANDARD"), Ok(None));
        assert_eq!(class("STANDARD_IA"), Ok(Some("STANDARD_IA".to_owned())));
        for name in ["GLACIER", "DEEP_ARCHIVE", "standard", "none"] {
            assert_eq!(class(name), Err(Fault::InvalidStorageClass), "{name}");
        }
        assert_eq!(
            stored_headers(&headers(&[("x-amz-website-redirect-location", "elsewhere")]), None),
            Err(Fault::InvalidRedirect)
        );
    }
}
