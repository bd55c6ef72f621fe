//! Signature version 2, which AWS has retired but many clients still use for URLs (S3 API Reference, "Signing and
//! authenticating REST requests"). It signs the method, the path, the `x-amz-` headers and some parameters, but not the
//! payload and not the other parameters. So a request is accepted only if what it signs determines what it does.

use super::SKEW_SECONDS_MAX;
use super::hoisted::unhoist;
use super::unframed::check_unframed;
use crate::api::call::{Head, Level};
use crate::api::errors::{Fault, RequestFault};
use crate::api::text::Query;
use crate::sigv4::read_stamp;
use crate::types::LegacySignatures;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use http::{HeaderMap, Method, Uri};
use std::fmt::Write;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The longest validity of a URL: a week, AWS's limit for version 4.
const URL_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
/// Parameters that version 2 does not sign although they select another operation. Anybody could add them to a signed
/// URL, so a request with one is refused.
const UNSIGNED_STEERING: [&str; 12] = [
    "attributes",
    "encryption",
    "id",
    "intelligent-tiering",
    "legal-hold",
    "metadataTable",
    "ownershipControls",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "retention",
    "session",
];
/// Parameters that select an operation on an object other than reading or writing it. With `LegacySignatures::Urls`, a
/// URL must not have them.
const SUBRESOURCES: [&str; 13] = [
    "acl",
    "attributes",
    "legal-hold",
    "partNumber",
    "renameObject",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "encryption",
];

/// Parameters that are part of the string to sign, in the order in which it lists them.
const SIGNED_PARAMETERS: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// A signature of version 2, in a header or in the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version2<'a> {
    pub access_key: &'a str,
    /// The signature in base64.
    pub signature: &'a str,
    /// The end of a presigned URL, in seconds since the Unix epoch; `None` for a signature in a header.
    pub expires: Option<u64>,
}

/// Parses the header `Authorization: AWS key:signature`.
pub fn read_header<'a>(head: Head<'a>, legacy: LegacySignatures, now: Duration) -> Result<Version2<'a>, Fault> {
    let value = head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parts = value.strip_prefix("AWS ").and_then(|rest| rest.split_once(':'));
    let parts = parts.map(|(access_key, signature)| (access_key.trim(), signature.trim()));
    let Some((access_key, signature)) = parts.filter(|(key, signature)| !key.is_empty() && !signature.is_empty())
    else {
        return Err(Fault::InvalidArgument(
            "AWS authorization header is invalid. Expected AwsAccessKeyId:signature".to_owned(),
        ));
    };
    if legacy != LegacySignatures::On {
        return Err(not_supported());
    }
    check_age(head.headers, now)?;
    check_steering(head.query)?;
    check_unframed(head)?;
    Ok(Version2 { access_key, signature, expires: None })
}

/// Parses a presigned URL. With `LegacySignatures::Urls`, it must read or write one object; with `On`, it may be for
/// any operation.
pub fn read_url<'a>(head: Head<'a>, legacy: LegacySignatures, now: Duration) -> Result<Version2<'a>, Fault> {
    let (Some(access_key), Some(expires), Some(signature)) =
        (head.query.only("AWSAccessKeyId"), head.query.only("Expires"), head.query.only("Signature"))
    else {
        return Err(Fault::AccessDenied(
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
        ));
    };
    let Ok(expires) = expires.parse::<u64>() else {
        return Err(Fault::AccessDenied("Invalid date (should be seconds since epoch)"));
    };
    if expires > now.as_secs().saturating_add(URL_SECONDS_MAX) {
        return Err(Fault::AccessDenied(
            "A presigned URL can be valid for at most a week: Expires is later than that.",
        ));
    }
    match legacy {
        LegacySignatures::Off => return Err(not_supported()),
        LegacySignatures::Urls if !is_of_one_object(head) => {
            return Err(Fault::AccessDenied(
                "A URL presigned with signature version 2 can only read or write an object.",
            ));
        }
        LegacySignatures::Urls | LegacySignatures::On => check_steering(head.query)?,
    }
    check_unframed(head)?;
    Ok(Version2 { access_key, signature, expires: Some(expires) })
}

/// Verifies a signature with the secret key of its access key. If it does not match, returns the string to sign.
pub fn verify(claim: &Version2<'_>, head: Head<'_>, uri: &Uri, secret_key: &str) -> Result<(), String> {
    let text = string_to_sign(claim, head, uri);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret_key.as_bytes());
    let expected = base64_simd::STANDARD.encode_to_string(hmac::sign(&key, text.as_bytes()));
    verify_slices_are_equal(expected.as_bytes(), claim.signature.as_bytes()).map_err(|_| text)
}

fn string_to_sign(claim: &Version2<'_>, head: Head<'_>, uri: &Uri) -> String {
    let mut headers = head.headers.clone();
    if claim.expires.is_some() {
        unhoist(&mut headers, head.query, true);
    }
    // A repeated header is signed as empty, except for `x-amz-` headers, whose values are joined.
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let (value, None) = (values.next(), values.next()) else { return "" };
        value.and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).unwrap_or_default()
    };
    let date = match claim.expires {
        Some(_) => head.query.only("Expires").unwrap_or_default(),
        None if headers.contains_key("x-amz-date") => "",
        None => only("date"),
    };
    let (method, md5, kind) = (head.method.as_str(), only("content-md5"), only("content-type"));
    let mut text = format!("{method}\n{md5}\n{kind}\n{date}\n");
    let mut names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
    names.retain(|name| name.starts_with("x-amz-"));
    names.sort_unstable();
    for name in names {
        let values = headers.get_all(name).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
        let values: Vec<&str> = values.map(|value| value.trim_matches([' ', '\t'])).collect();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}:{}", values.join(","));
    }
    text.push_str(&resource(head, uri));
    text
}

/// Returns the canonicalized resource: the bucket in the host name, the path, and the signed parameters.
fn resource(head: Head<'_>, uri: &Uri) -> String {
    let target = head.target;
    let bucket = target.bucket.as_deref().filter(|_| target.by_host);
    let mut text = bucket.map(|bucket| format!("/{bucket}")).unwrap_or_default();
    text.push_str(uri.path());
    // The path of a bucket is signed with a slash at its end, whether it has one or not.
    if target.level == Level::Bucket && !target.by_host && !uri.path().ends_with('/') {
        text.push('/');
    }
    let signed = SIGNED_PARAMETERS.iter().filter_map(|name| Some((name, head.query.only(name)?)));
    for (number, (name, value)) in signed.enumerate() {
        text.push(if number == 0 { '?' } else { '&' });
        text.push_str(name);
        if !value.is_empty() {
            text.push('=');
            text.push_str(value);
        }
    }
    text
}

/// Returns whether the request is GetObject, HeadObject or PutObject.
fn is_of_one_object(head: Head<'_>) -> bool {
    let method = [Method::GET, Method::HEAD, Method::PUT].contains(head.method);
    let another =
        SUBRESOURCES.iter().any(|name| head.query.has(name)) || head.headers.contains_key("x-amz-copy-source");
    method && head.target.level == Level::Object && !another
}

/// Refuses a request that the signature does not determine: with an unsigned parameter that selects an operation, a
/// repeated parameter, or a signed value with an ampersand. The string to sign does not escape values, so such a value
/// is signed like several parameters.
fn check_steering(query: &Query) -> Result<(), Fault> {
    let unsigned = UNSIGNED_STEERING.iter().any(|name| query.has(name));
    let is_ambiguous = |name: &&str| query.only(name).is_some_and(|value| value.contains('&'));
    if unsigned || SIGNED_PARAMETERS.iter().any(is_ambiguous) || query.has_repeated() {
        return Err(Fault::AccessDenied("Signature version 2 does not sign all parameters of this request."));
    }
    Ok(())
}

fn not_supported() -> Fault {
    Fault::InvalidRequest(
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.".to_owned(),
    )
}

fn check_age(headers: &HeaderMap, now: Duration) -> Result<(), Fault> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signed_at = text("x-amz-date").or(text("date")).and_then(moment);
    let signed_at =
        signed_at.ok_or(Fault::AccessDenied("AWS authentication requires a valid Date or x-amz-date header"))?;
    let skew = now.as_secs().abs_diff(signed_at);
    if skew > SKEW_SECONDS_MAX { Err(RequestFault::Skewed { now_s: now.as_secs() }.into()) } else { Ok(()) }
}

/// Parses a time into seconds since the Unix epoch: `Tue, 27 Mar 2007 19:36:42 +0000`, the same with `GMT`, or
/// `20070327T193642Z`. A time before 1970 is `None`.
pub fn moment(text: &str) -> Option<u64> {
    let text = text.trim();
    let mail = || OffsetDateTime::parse(text, &Rfc2822).ok().map(OffsetDateTime::unix_timestamp);
    u64::try_from(read_stamp(text).or_else(mail)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{Version2, moment, read_header, read_url, verify};
    use crate::api::call::{Head, Target};
    use crate::api::errors::{Fault, RequestFault};
    use crate::api::text::Query;
    use crate::types::LegacySignatures;
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
    use std::time::Duration;

    const NOW: Duration = Duration::from_secs(1_175_024_202);
    const DATE: &str = "Tue, 27 Mar 2007 19:36:42 +0000";

    fn judge(
        method: Method,
        uri: &'static str,
        pairs: &[(&'static str, &'static str)],
        legacy: LegacySignatures,
    ) -> Result<(), Fault> {
        let uri = Uri::from_static(uri);
        let headers = HeaderMap::from_iter(
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        );
        let query = Query::read(uri.query()).expect("a query");
        let target = Target::of(uri.path(), None).expect("a target");
        let head = Head { method: &method, headers: &headers, query: &query, target: &target };
        let in_header = headers.contains_key("authorization");
        let read = if in_header { read_header(head, legacy, NOW) } else { read_url(head, legacy, NOW) };
        read.map(|_| ())
    }

    #[test]
    fn a_version_2_url_is_for_one_object_unless_version_2_is_on() {
        let url = |method, uri| judge(method, uri, &[], LegacySignatures::Urls);
        let parameters = "AWSAccessKeyId=K&Expires=1&Signature=s";
        for method in [Method::GET, Method::HEAD, Method::PUT] {
            assert_eq!(url(method, "/b/k?AWSAccessKeyId=K&Expires=1&Signature=s&versionId=v"), Ok(()));
        }
        for (method, uri) in [
            (Method::GET, "/b?AWSAccessKeyId=K&Expires=1&Signature=s"),
            (Method::DELETE, "/b/k?AWSAccessKeyId=K&Expires=1&Signature=s"),
            (Method::PUT, "/b/k?partNumber=1&uploadId=u&AWSAccessKeyId=K&Expires=1&Signature=s"),
            (Method::GET, "/b/k?acl&AWSAccessKeyId=K&Expires=1&Signature=s"),
        ] {
            assert!(matches!(url(method.clone(), uri), Err(Fault::AccessDenied(_))), "{method} {uri}");
            assert_eq!(judge(method, uri, &[], LegacySignatures::On), Ok(()), "{uri} {parameters}");
        }
        let get = "/b/k?AWSAccessKeyId=K&Expires=1&Signature=s";
        assert!(matches!(judge(Method::GET, get, &[], LegacySignatures::Off), Err(Fault::InvalidRequest(_))));
        let copy = [("x-amz-copy-source", "/other/secret")];
        assert!(matches!(judge(Method::PUT, get, &copy, LegacySignatures::Urls), Err(Fault::AccessDenied(_))));
    }

    #[test]
    fn a_version_2_url_is_valid_for_at_most_a_week() {
        let last = "/b/k?AWSAccessKeyId=K&Expires=1175629002&Signature=s";
        let later = "/b/k?AWSAccessKeyId=K&Expires=1175629003&Signature=s";
        let endless = "/b/k?AWSAccessKeyId=K&Expires=18446744073709551615&Signature=s";
        for legacy in [LegacySignatures::Urls, LegacySignatures::On] {
            assert_eq!(judge(Method::GET, last, &[], legacy), Ok(()));
            for uri in [later, endless] {
                assert!(matches!(judge(Method::GET, uri, &[], legacy), Err(Fault::AccessDenied(_))), "{uri}");
            }
        }
    }

    #[test]
    fn a_framed_body_without_a_version_4_signature_counts_as_content() {
        let get = "/b/k?AWSAccessKeyId=K&Expires=1&Signature=s";
        let framed = |method, lengths: &[(&'static str, &'static str)]| {
            let payload = [("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")];
            judge(method, get, &[&payload[..], lengths].concat(), LegacySignatures::Urls)
        };
        let (length, decoded) = (("content-length", "5"), ("x-amz-decoded-content-length", "5"));
        assert_eq!(framed(Method::GET, &[]), Ok(()));
        assert_eq!(framed(Method::PUT, &[length, decoded]), Ok(()));
        assert_eq!(framed(Method::PUT, &[length]), Err(Fault::MissingContentLength));
        assert_eq!(framed(Method::PUT, &[decoded]), Err(Fault::MissingContentLength));
        let other = framed(Method::PUT, &[length, ("x-amz-decoded-content-length", "4")]);
        assert_eq!(other, Err(RequestFault::OtherLength { provided: 5, expected: 4 }.into()));
    }

    #[test]
    fn a_version_2_url_needs_all_three_parameters() {
        for uri in
            ["/b/k?Signature=s", "/b/k?AWSAccessKeyId=K&Signature=s", "/b/k?AWSAccessKeyId=K&Expires=soon&Signature=s"]
        {
            assert!(matches!(judge(Method::GET, uri, &[], LegacySignatures::On), Err(Fault::AccessDenied(_))), "{uri}");
        }
    }

    #[test]
    fn a_version_2_header_is_accepted_only_if_enabled_and_recent() {
        let header = |date: &'static str, legacy| {
            judge(Method::GET, "/b", &[("authorization", "AWS K:s"), ("date", date)], legacy)
        };
        assert_eq!(header(DATE, LegacySignatures::On), Ok(()));
        for legacy in [LegacySignatures::Off, LegacySignatures::Urls] {
            assert!(matches!(header(DATE, legacy), Err(Fault::InvalidRequest(_))));
        }
        let late = header("Tue, 27 Mar 2007 19:51:43 GMT", LegacySignatures::On);
        assert!(matches!(late, Err(Fault::Request(RequestFault::Skewed { .. }))));
        assert_eq!(header("Tue, 27 Mar 2007 19:51:42 GMT", LegacySignatures::On), Ok(()));
        assert!(matches!(header("soon", LegacySignatures::On), Err(Fault::AccessDenied(_))));
        let dateless = judge(Method::GET, "/b", &[("authorization", "AWS K:s")], LegacySignatures::On);
        assert!(matches!(dateless, Err(Fault::AccessDenied(_))));
        for value in ["AWS HAHAHA", "AWS :s", "AWS K:"] {
            let refused = judge(Method::GET, "/b", &[("authorization", value), ("date", DATE)], LegacySignatures::On);
            assert!(matches!(refused, Err(Fault::InvalidArgument(_))), "{value}");
        }
        let steered =
            judge(Method::PUT, "/b?encryption", &[("authorization", "AWS K:s"), ("date", DATE)], LegacySignatures::On);
        assert!(matches!(steered, Err(Fault::AccessDenied(_))));
    }

    #[test]
    fn a_version_2_request_with_ambiguous_parameters_is_refused() {
        for uri in [
            "/b/k?response-content-type=text%2Fplain%26versionId%3Dv&Signature=s&AWSAccessKeyId=K&Expires=1",
            "/b?metrics&id=a&Signature=s&AWSAccessKeyId=K&Expires=1",
            "/b/k?acl&acl&AWSAccessKeyId=K&Expires=1&Signature=s",
            "/b?policy&Signature=s&AWSAccessKeyId=K&policy=&Expires=1",
        ] {
            let judged = judge(Method::GET, uri, &[], LegacySignatures::On);
            assert!(matches!(judged, Err(Fault::AccessDenied(_))), "{uri}");
        }
    }

    #[test]
    fn dates_are_parsed_in_rfc_2822_and_version_4_form() {
        for text in [
            DATE,
            "Tue, 27 Mar 2007 19:36:42 GMT",
            "Tue, 27 Mar 2007 19:36:42 -0000",
            "20070327T193642Z",
            " Tue, 27 Mar 2007 12:36:42 -0700 ",
        ] {
            assert_eq!(moment(text), Some(NOW.as_secs()), "{text}");
        }
        for text in ["Bad Date", "", "Tue, 07 Jul 1950 21:53:04 GMT"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn is_right(
        method: Method,
        uri: &'static str,
        bucket: Option<&str>,
        pairs: &[(&'static str, &str)],
        claim: &Version2<'_>,
    ) -> bool {
        let uri = Uri::from_static(uri);
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        let query = Query::read(uri.query()).expect("a query");
        let target = Target::of(uri.path(), bucket.map(str::to_owned)).expect("a target");
        let head = Head { method: &method, headers: &headers, query: &query, target: &target };
        assert!(verify(claim, head, &uri, "another").is_err());
        verify(claim, head, &uri, SECRET).is_ok()
    }

    fn header(signature: &str) -> Version2<'_> {
        Version2 { access_key: "K", signature, expires: None }
    }

    /// The examples of the S3 developer guide, "Signing and authenticating REST requests".
    #[test]
    fn the_example_requests_of_aws_are_verified() {
        let bucket = Some("awsexamplebucket1");
        let upload = [
            ("date", "Tue, 27 Mar 2007 21:06:08 +0000"),
            ("x-amz-acl", "public-read"),
            ("content-type", "application/x-download"),
            ("content-md5", "4gJE4saaMU4BqNR0kLY+lw=="),
            ("x-amz-meta-reviewedby", "joe@example.com"),
            ("x-amz-meta-reviewedby", "jane@example.com"),
            ("x-amz-meta-filechecksum", "0x02661779"),
            ("x-amz-meta-checksumalgorithm", "crc32"),
        ];
        let list = [("date", "Wed, 28 Mar 2007 01:29:59 +0000")];
        let of = |text: &str| {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
            base64_simd::STANDARD.encode_to_string(aws_lc_rs::hmac::sign(&key, text.as_bytes()))
        };
        let claim = |text: &str| of(text);
        let text = "PUT\n4gJE4saaMU4BqNR0kLY+lw==\napplication/x-download\nTue, 27 Mar 2007 21:06:08 +0000\n\
                    x-amz-acl:public-read\nx-amz-meta-checksumalgorithm:crc32\nx-amz-meta-filechecksum:0x02661779\n\
                    x-amz-meta-reviewedby:joe@example.com,jane@example.com\n/static.example.com/db-backup.dat.gz";
        let signature = claim(text);
        let host = Some("static.example.com");
        assert!(is_right(Method::PUT, "/db-backup.dat.gz", host, &upload, &header(&signature)));
        assert!(!is_right(Method::PUT, "/db-backup.dat", host, &upload, &header(&signature)));
        let signature = claim("GET\n\n\nWed, 28 Mar 2007 01:29:59 +0000\n/");
        assert!(is_right(Method::GET, "/", None, &list, &header(&signature)));
        let text = "GET\n\n\nWed, 28 Mar 2007 01:29:59 +0000\n/awsexamplebucket1/?acl";
        for (uri, bucket) in [("/?acl", bucket), ("/awsexamplebucket1/?acl=", None), ("/awsexamplebucket1?acl", None)] {
            let signature = claim(text);
            assert!(is_right(Method::GET, uri, bucket, &list, &header(&signature)), "{uri}");
        }
        let url = "/photos/puppy.jpg?AWSAccessKeyId=K&Signature=s&Expires=1175139620&x-amz-acl=private";
        let signature = claim("GET\n\n\n1175139620\nx-amz-acl:private\n/awsexamplebucket1/photos/puppy.jpg");
        let claim = Version2 { access_key: "K", signature: &signature, expires: Some(1_175_139_620) };
        assert!(is_right(Method::GET, url, bucket, &[], &claim));
    }

    #[test]
    fn the_signature_published_by_aws_is_verified() {
        let claim =
            Version2 { access_key: "AKIAIOSFODNN7EXAMPLE", signature: "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=", expires: None };
        let date = [("date", "Tue, 27 Mar 2007 19:36:42 +0000")];
        assert!(is_right(Method::GET, "/photos/puppy.jpg", Some("awsexamplebucket1"), &date, &claim));
    }
}
