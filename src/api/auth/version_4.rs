//! Verification of version 4 signatures of a request's head, in a header or a URL. The signatures of chunks are
//! verified by `sigv4::ChunkVerifier`.

use super::claim::Version4;
use crate::api::call::Head;
use crate::sigv4::{HASH_HEADER, SigningKey, ToSign, canonical_request, path_to_sign, string_to_sign};
use http::{HeaderMap, HeaderValue, Uri};
use std::borrow::Cow;
use std::collections::HashSet;

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// The texts that the server signed for a request whose signature does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub canonical_request: String,
    pub string_to_sign: String,
}

/// Verifies a signature with the key of its scope.
///
/// Accepts a signature of the path as sent, and of the path with the canonical escapes of S3. A presigned URL may sign
/// `UNSIGNED-PAYLOAD`, or the value of `x-amz-content-sha256`.
pub fn verify(claim: &Version4<'_>, head: Head<'_>, uri: &Uri, key: &SigningKey) -> Result<(), Mismatch> {
    check_text(claim, head.headers)?;
    let stated = head.headers.get(HASH_HEADER).and_then(|hash| hash.to_str().ok()).unwrap_or(UNSIGNED);
    let payloads =
        if claim.is_in_url() && stated != UNSIGNED { [Some(UNSIGNED), Some(stated)] } else { [Some(stated), None] };
    let escaped = path_to_sign(uri.path());
    let paths = [Some(&*escaped), Some(uri.path()).filter(|raw| *raw != escaped)];
    let names = signed_names(claim);
    let values: Vec<(&str, Cow<'_, str>)> =
        names.into_iter().filter_map(|name| Some((name, signed_value(head.headers, name)?))).collect();
    let headers: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_ref())).collect();
    let query = signed_query(uri);
    let mut first = None;
    for payload in payloads.into_iter().flatten() {
        for path in paths.into_iter().flatten() {
            let method = head.method.as_str();
            let to_sign = ToSign { method, path, query: &query, headers: &headers, body_sha256: payload };
            let canonical_request = canonical_request(&to_sign);
            let string_to_sign = string_to_sign(&claim.stamp, claim.scope(), &canonical_request);
            if key.verify(&string_to_sign, claim.signature) {
                return Ok(());
            }
            first.get_or_insert(Mismatch { canonical_request, string_to_sign });
        }
    }
    Err(first.unwrap_or(Mismatch { canonical_request: String::new(), string_to_sign: String::new() }))
}

/// Refuses values that are not UTF-8 in signed headers and `x-amz-` headers. Such a value cannot be signed, and would
/// be left out of the canonical request.
fn check_text(claim: &Version4<'_>, headers: &HeaderMap) -> Result<(), Mismatch> {
    let signed: HashSet<&str> = claim.signed_headers.split(';').collect();
    let matters = |name: &str| name.starts_with("x-amz-") || signed.contains(name);
    let is_text = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).is_ok();
    if headers.iter().all(|(name, value)| is_text(value) || !matters(name.as_str())) {
        return Ok(());
    }
    Err(Mismatch { canonical_request: String::new(), string_to_sign: String::new() })
}

/// Returns the names of the signed headers, sorted and without repetitions. A name with a capital letter names no
/// header and is left out.
fn signed_names<'a>(claim: &Version4<'a>) -> Vec<&'a str> {
    let is_name = |name: &&str| *name != "authorization" && !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let mut names: Vec<&str> = claim.signed_headers.split(';').filter(is_name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Returns the values of a header, joined by commas; `None` if the request does not have it.
fn signed_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    match (values.next(), values.next()) {
        (None, _) => None,
        (Some(value), None) => Some(Cow::Borrowed(value)),
        (Some(first), Some(second)) => {
            let all: Vec<&str> =
                [first, second].into_iter().chain(values).map(|value| value.trim_matches([' ', '\t'])).collect();
            Some(Cow::Owned(all.join(",")))
        }
    }
}

/// Returns the query without `X-Amz-Signature`. S3 reads a plus sign in a query as a space.
fn signed_query(uri: &Uri) -> Cow<'_, str> {
    let query = uri.query().unwrap_or_default();
    let is_signature = |pair: &str| pair.split_once('=').unwrap_or((pair, "")).0 == "X-Amz-Signature";
    if !query.contains('+') && !query.split('&').any(is_signature) {
        return Cow::Borrowed(query);
    }
    let pairs: Vec<&str> = query.split('&').filter(|pair| !is_signature(pair)).collect();
    Cow::Owned(pairs.join("&").replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use super::verify;
    use crate::api::auth::claim::{Claim, read};
    use crate::api::call::{Head, Target};
    use crate::api::text::Query;
    use crate::sigv4::{Signer, SigningKey, ToSign};
    use crate::types::LegacySignatures;
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
    use std::time::Duration;

    const STAMP: &str = "20260101T000000Z";
    const NOW: Duration = Duration::from_secs(1_767_225_600);
    const SCOPE: &str = "K/20260101/us-east-1/s3/aws4_request";
    const HASH: &str = "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824";

    fn signature(path: &str, query: &str, headers: &[(&str, &str)], payload: &str) -> String {
        let signer = Signer { access_key: "K", secret_key: "secret", region: "us-east-1", service: "s3" };
        signer.signature(STAMP, &ToSign { method: "PUT", path, query, headers, body_sha256: payload })
    }

    fn is_right(target: &str, pairs: &[(&'static str, &str)], secret_key: &str) -> bool {
        let uri: Uri = target.parse().expect("a URI");
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        let query = Query::read(uri.query()).expect("a query");
        let target = Target::of(uri.path(), None).expect("a target");
        let head = Head { method: &Method::PUT, headers: &headers, query: &query, target: &target };
        let Ok(Claim::Version4(claim)) = read(head, LegacySignatures::Off, NOW) else { panic!("no claim") };
        verify(&claim, head, &uri, &SigningKey::derive(secret_key, claim.scope())).is_ok()
    }

    fn authorization(names: &str, signature: &str) -> String {
        format!("AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders={names}, Signature={signature}")
    }

    #[test]
    fn a_signature_in_a_header_covers_the_stated_payload_hash() {
        for payload in [HASH, "UNSIGNED-PAYLOAD", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"] {
            let headers = [("host", "h"), ("x-amz-content-sha256", payload), ("x-amz-date", STAMP)];
            let names = "host;x-amz-content-sha256;x-amz-date";
            let authorization = authorization(names, &signature("/b/k", "a=b%20c&d=", &headers, payload));
            let sent = [&headers[..], &[("authorization", &authorization)]].concat();
            assert!(is_right("/b/k?d&a=b+c", &sent, "secret"), "{payload}");
            assert!(!is_right("/b/k?d&a=b+c", &sent, "other"), "{payload}");
            assert!(!is_right("/b/k?d=1&a=b+c", &sent, "secret") && !is_right("/b/l?d&a=b+c", &sent, "secret"));
            let moved = [&[("host", "other")], &sent[1..]].concat();
            assert!(!is_right("/b/k?d&a=b+c", &moved, "secret"));
        }
    }

    #[test]
    fn a_path_may_be_signed_as_sent_or_with_canonical_escapes() {
        let headers = [("host", "h"), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("x-amz-date", STAMP)];
        for signed in ["/b/a%2Ab", "/b/a*b"] {
            let signature = signature(signed, "", &headers, "UNSIGNED-PAYLOAD");
            let authorization = authorization("host;x-amz-content-sha256;x-amz-date", &signature);
            let sent = [&headers[..], &[("authorization", &authorization)]].concat();
            assert!(is_right("/b/a*b", &sent, "secret"), "{signed}");
        }
    }

    #[test]
    fn whitespace_and_repeated_headers_are_canonicalized() {
        let headers = [
            ("host", "h"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-date", STAMP),
            ("x-amz-meta-a", "1 2,3"),
        ];
        let names = "host;x-amz-content-sha256;x-amz-date;x-amz-meta-a";
        let authorization = authorization(names, &signature("/b/k", "", &headers, "UNSIGNED-PAYLOAD"));
        let sent =
            [&headers[..3], &[("x-amz-meta-a", " 1   2 "), ("x-amz-meta-a", "3"), ("authorization", &authorization)]];
        assert!(is_right("/b/k", &sent.concat(), "secret"));
    }

    #[test]
    fn a_signed_header_that_is_not_text_is_not_skipped() {
        let headers = [("host", "h"), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("x-amz-date", STAMP)];
        let names = "host;x-amz-content-sha256;x-amz-date";
        let signature = signature("/b/k", "", &headers, "UNSIGNED-PAYLOAD");
        let check = |named: &str, added: &'static str, value: &[u8]| {
            let uri = Uri::from_static("/b/k");
            let authorization = authorization(named, &signature);
            let mut sent = HeaderMap::new();
            sent.append(HeaderName::from_static(added), HeaderValue::from_bytes(value).expect("a value"));
            for (name, value) in headers.iter().chain(&[("authorization", authorization.as_str())]) {
                sent.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
            }
            let (query, target) = (Query::default(), Target::of("/b/k", None).expect("a target"));
            let head = Head { method: &Method::PUT, headers: &sent, query: &query, target: &target };
            let Ok(Claim::Version4(claim)) = read(head, LegacySignatures::Off, NOW) else { return false };
            verify(&claim, head, &uri, &SigningKey::derive("secret", claim.scope())).is_ok()
        };
        assert!(check(names, "content-disposition", b"\xff"), "it is not signed");
        for added in ["x-amz-trailer", "x-amz-acl", "x-amz-date", "host", "x-amz-content-sha256"] {
            assert!(!check(names, added, b"\xff"), "{added}");
        }
        assert!(!check("host;x-amz-acl;x-amz-content-sha256;x-amz-date", "x-amz-acl", b"\xff"));
        assert!(!check("content-type;host;x-amz-content-sha256;x-amz-date", "content-type", b"\xff"));
        for once in ["x-amz-content-sha256", "x-amz-decoded-content-length"] {
            assert!(!check(&format!("{names};{once}"), once, b"1"), "{once}");
        }
        assert!(!check(names, "x-amz-content-sha256", b"UNSIGNED-PAYLOAD"), "it comes twice");
    }

    #[test]
    fn only_spaces_and_tabs_are_folded_in_header_values() {
        let headers = [
            ("host", "h"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-date", STAMP),
            ("x-amz-meta-a", "a b"),
        ];
        let names = "host;x-amz-content-sha256;x-amz-date;x-amz-meta-a";
        let authorization = authorization(names, &signature("/b/k", "", &headers, "UNSIGNED-PAYLOAD"));
        for (value, right) in [("a \t b", true), (" a b", true), ("a\u{3000}b", false), ("\u{a0}a b", false)] {
            let uri = Uri::from_static("/b/k");
            let mut sent = HeaderMap::new();
            for (name, value) in
                headers[..3].iter().chain(&[("x-amz-meta-a", value), ("authorization", &authorization)])
            {
                sent.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
            }
            let (query, target) = (Query::default(), Target::of("/b/k", None).expect("a target"));
            let head = Head { method: &Method::PUT, headers: &sent, query: &query, target: &target };
            let Ok(Claim::Version4(claim)) = read(head, LegacySignatures::Off, NOW) else { panic!("no claim") };
            let verified = verify(&claim, head, &uri, &SigningKey::derive("secret", claim.scope()));
            assert_eq!(verified.is_ok(), right, "{value:?}");
        }
    }

    #[test]
    fn a_presigned_url_signs_an_unsigned_payload_or_the_stated_hash() {
        for signed_payload in [HASH, "UNSIGNED-PAYLOAD"] {
            let query = format!(
                "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={STAMP}&X-Amz-Expires=60\
                 &X-Amz-SignedHeaders=host%3Bx-amz-content-sha256",
                SCOPE.replace('/', "%2F")
            );
            let headers = [("host", "h"), ("x-amz-content-sha256", HASH)];
            let signature = signature("/b/a%20b", &query, &headers, signed_payload);
            let target = format!("/b/a%20b?{query}&X-Amz-Signature={signature}");
            assert!(is_right(&target, &headers, "secret"), "{signed_payload}");
            assert!(!is_right(&target, &[headers[0], ("x-amz-content-sha256", "other")], "secret"));
            assert!(!is_right(&target.replace("=60", "=600"), &headers, "secret"));
        }
    }
}
