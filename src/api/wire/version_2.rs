//! Signature version 2, which AWS has retired and many clients still make URLs with. It signs the method, the path, the
//! `x-amz-` headers and some parameters, and says nothing of the payload, so it is good only for requests whose meaning
//! those determine. s3s verifies it, but for how old it is.

use super::authorization::check_unframed;
use super::query::Query;
use super::target::{Head, Level};
use crate::api::s3::{Fault, WireFault};
use crate::sigv4::read_stamp;
use crate::types::LegacySignatures;
use http::{HeaderMap, Method};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// As AWS has it: how far the clocks of client and server may be apart.
const SKEW_SECONDS_MAX: u64 = 15 * 60;
/// How much longer a URL may be good for, as AWS has it of version 4.
const URL_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
/// Parameters that make a request another one and that version 2 does not sign: anybody could add them.
const UNSIGNED_STEERING: [&str; 11] = [
    "attributes",
    "encryption",
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
/// Parameters that a URL for one object may have; all others that have a meaning are signed or have it elsewhere.
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

/// `Authorization: AWS key:signature`
pub fn check_header(head: Head<'_>, legacy: LegacySignatures, now: Duration) -> Result<(), Fault> {
    let value = head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let well_formed = value.strip_prefix("AWS ").and_then(|rest| rest.split_once(':'));
    if !well_formed.is_some_and(|(key, signature)| !key.trim().is_empty() && !signature.trim().is_empty()) {
        return Err(Fault::InvalidArgument(
            "AWS authorization header is invalid. Expected AwsAccessKeyId:signature".to_owned(),
        ));
    }
    if legacy != LegacySignatures::On {
        return Err(not_supported());
    }
    check_age(head.headers, now)?;
    check_steering(head.query)?;
    check_unframed(head)
}

/// A presigned URL: the three operations on one object, or where all of version 2 is taken, any.
pub fn check_url(head: Head<'_>, legacy: LegacySignatures, now: Duration) -> Result<(), Fault> {
    let (Some(_), Some(expires), Some(_)) =
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
        return Err(Fault::AccessDenied("A URL may be good for a week at most: Expires is later than that."));
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
    check_unframed(head)
}

/// GetObject, HeadObject or PutObject.
fn is_of_one_object(head: Head<'_>) -> bool {
    let method = [Method::GET, Method::HEAD, Method::PUT].contains(head.method);
    let another =
        SUBRESOURCES.iter().any(|name| head.query.has(name)) || head.headers.contains_key("x-amz-copy-source");
    method && head.target.level == Level::Object && !another
}

/// A parameter that comes twice has no one value to sign, and yet is there.
fn check_steering(query: &Query) -> Result<(), Fault> {
    let unsigned = UNSIGNED_STEERING.iter().any(|name| query.has(name));
    if unsigned || query.names().any(|name| query.only(name).is_none()) {
        return Err(Fault::AccessDenied("Signature version 2 does not cover what this request asks for."));
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
    if skew > SKEW_SECONDS_MAX { Err(Fault::Wire(WireFault::Skewed)) } else { Ok(()) }
}

/// In seconds since the Unix epoch: `Tue, 27 Mar 2007 19:36:42 +0000`, or with `GMT`, or as version 4 writes it. S3
/// knows no earlier dates.
pub fn moment(text: &str) -> Option<u64> {
    let text = text.trim();
    let mail = || OffsetDateTime::parse(text, &Rfc2822).ok().map(OffsetDateTime::unix_timestamp);
    u64::try_from(read_stamp(text).or_else(mail)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{check_header, check_url, moment};
    use crate::api::s3::{Fault, WireFault};
    use crate::api::wire::query::Query;
    use crate::api::wire::target::{Head, Target};
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
        if in_header { check_header(head, legacy, NOW) } else { check_url(head, legacy, NOW) }
    }

    #[test]
    fn a_url_reads_or_writes_one_object_unless_all_is_allowed() {
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
    fn a_url_is_good_for_a_week_at_most() {
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
    fn a_framing_is_taken_for_content() {
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
        assert_eq!(other, Err(WireFault::other_length(5, 4).into()));
    }

    #[test]
    fn a_url_has_its_three_parameters() {
        for uri in
            ["/b/k?Signature=s", "/b/k?AWSAccessKeyId=K&Signature=s", "/b/k?AWSAccessKeyId=K&Expires=soon&Signature=s"]
        {
            assert!(matches!(judge(Method::GET, uri, &[], LegacySignatures::On), Err(Fault::AccessDenied(_))), "{uri}");
        }
    }

    #[test]
    fn a_header_is_taken_only_where_it_is_allowed_and_not_for_long() {
        let header = |date: &'static str, legacy| {
            judge(Method::GET, "/b", &[("authorization", "AWS K:s"), ("date", date)], legacy)
        };
        assert_eq!(header(DATE, LegacySignatures::On), Ok(()));
        for legacy in [LegacySignatures::Off, LegacySignatures::Urls] {
            assert!(matches!(header(DATE, legacy), Err(Fault::InvalidRequest(_))));
        }
        assert_eq!(header("Tue, 27 Mar 2007 19:51:43 GMT", LegacySignatures::On), Err(Fault::Wire(WireFault::Skewed)));
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
    fn a_parameter_that_comes_twice_is_refused() {
        for uri in [
            "/b/k?acl&acl&AWSAccessKeyId=K&Expires=1&Signature=s",
            "/b?policy&Signature=s&AWSAccessKeyId=K&policy=&Expires=1",
        ] {
            let judged = judge(Method::GET, uri, &[], LegacySignatures::On);
            assert!(matches!(judged, Err(Fault::AccessDenied(_))), "{uri}");
        }
    }

    #[test]
    fn dates_are_of_mail_or_of_version_4() {
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
}
