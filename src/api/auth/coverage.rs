//! The headers that a version 4 signature must cover: `host` and every `x-amz-` header. This is AWS's rule. It keeps
//! anybody from adding a header to a signed request that changes what the request does.

use super::claim::Version4;
use super::hoisted::Hoisted;
use crate::api::errors::Fault;
use crate::api::text::Query;
use http::{HeaderMap, HeaderValue};
use std::collections::HashSet;

/// Refuses a request whose signature does not cover all of these headers.
pub fn check(claim: &Version4<'_>, headers: &HeaderMap, query: &Query) -> Result<(), Fault> {
    // The comparison is case-sensitive: a name with capital letters in the list covers no header.
    let names: HashSet<&str> = claim.signed_headers.split(';').collect();
    let signed = |name: &str| names.contains(name);
    if !signed("host") {
        return Err(Fault::AccessDenied("The Host header must be signed."));
    }
    let hoisted = if claim.is_in_url() { Hoisted::of(query) } else { Hoisted::default() };
    let is_unsigned = |name: &str, value: &HeaderValue| {
        // The payload of a presigned URL is verified against this header even if the header is not signed.
        let verified = claim.is_in_url() && name == "x-amz-content-sha256";
        // The string to sign contains the time, which may come from a signed `Date` header.
        let dated = name == "x-amz-date" && signed("date");
        name.starts_with("x-amz-") && !verified && !dated && !signed(name) && !hoisted.stands_for(name, value)
    };
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value));
    let mut unsigned: Vec<&str> =
        pairs.filter(|(name, value)| is_unsigned(name, value)).map(|(name, _)| name).collect();
    if unsigned.is_empty() {
        return Ok(());
    }
    unsigned.sort_unstable();
    unsigned.dedup();
    Err(Fault::HeadersNotSigned(unsigned.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::api::auth::claim::Version4;
    use crate::api::errors::Fault;
    use crate::api::text::Query;
    use crate::sigv4::Credential;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn judge(signed_headers: &str, query: Option<&str>, pairs: &[(&'static str, &'static str)]) -> Result<(), Fault> {
        let headers = HeaderMap::from_iter(
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        );
        let claim = Version4 {
            credential: Credential::read("K/20260101/us-east-1/s3/aws4_request").expect("a credential"),
            stamp: String::new(),
            signed_at: 0,
            signed_headers,
            signature: "",
            expires_seconds: query.map(|_| 60),
        };
        check(&claim, &headers, &Query::read(query).expect("a query"))
    }

    fn is_denied(judged: Result<(), Fault>) -> bool {
        matches!(judged, Err(Fault::AccessDenied(_) | Fault::HeadersNotSigned(_)))
    }

    #[test]
    fn every_x_amz_header_must_be_signed() {
        let base = [("x-amz-date", "d"), ("x-amz-content-sha256", "s"), ("range", "bytes=0-")];
        let signed = "host;x-amz-content-sha256;x-amz-date";
        assert_eq!(judge(signed, None, &base), Ok(()));
        let added = [&base[..], &[("x-amz-copy-source", "/other/secret")]].concat();
        assert!(is_denied(judge(signed, None, &added)));
        assert!(is_denied(judge(&format!("{signed};X-Amz-Copy-Source"), None, &added)));
        assert_eq!(judge(&format!("{signed};x-amz-copy-source"), None, &added), Ok(()));
        let more = [&[("x-amz-tagging", "a=b")], &added[..], &[("x-amz-acl", "private")]].concat();
        let names = "x-amz-acl, x-amz-copy-source, x-amz-tagging".to_owned();
        assert_eq!(judge(signed, None, &more), Err(Fault::HeadersNotSigned(names)));
    }

    #[test]
    fn the_host_must_be_signed() {
        assert!(is_denied(judge("date", None, &[])) && is_denied(judge("Host", None, &[])));
    }

    #[test]
    fn x_amz_headers_beside_a_presigned_url_must_be_signed_or_hoisted() {
        assert_eq!(judge("host", Some(""), &[("x-amz-content-sha256", "s")]), Ok(()));
        let tagged = [("x-amz-storage-class", "STANDARD")];
        assert!(is_denied(judge("host", Some(""), &tagged)));
        let hoisted = Some("x-amz-storage-class=STANDARD");
        assert_eq!(judge("host", hoisted, &tagged), Ok(()));
        assert!(is_denied(judge("host", hoisted, &[("x-amz-storage-class", "GLACIER")])));
    }

    #[test]
    fn a_signed_date_header_replaces_a_signed_x_amz_date() {
        assert_eq!(judge("date;host", None, &[("date", "d"), ("x-amz-date", "d")]), Ok(()));
    }
}
