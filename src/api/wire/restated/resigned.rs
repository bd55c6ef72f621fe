//! Signatures over a payload's hash as S3 reads it and s3s does not: in capital letters, or of a presigned URL, whose
//! signature s3s expects to be of no payload at all. Such a signature is verified here, and the request is signed anew as
//! s3s reads it; one that is wrong stays, for s3s to refuse. Whether the content has the hash is checked as it is read.

use crate::api::wire::authorization::Scheme;
use crate::api::wire::query::Query;
use crate::sigv4::{Credential, DATE_HEADER, HASH_HEADER, Signer, ToSign, component, path_to_sign, read_stamp};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Uri, header};

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const SERVICE: &str = "s3";
const SIGNATURE: &str = "X-Amz-Signature";

/// A request that s3s is to see under another signature.
pub struct Resigning {
    in_url: bool,
    access_key: String,
    region: String,
    stamp: String,
    signed_names: Vec<String>,
    signature: String,
    /// The header, as it came and as s3s is to see it.
    stated: String,
    restated: String,
}

impl Resigning {
    /// `None` for most: s3s reads them as they are. Of a request whose form was checked.
    pub fn of<B>(scheme: Scheme, request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let mut values = headers.get_all(HASH_HEADER).iter();
        let (Some(stated), None) = (values.next(), values.next()) else { return None };
        let stated = stated.to_str().ok()?;
        let is_hash = stated.len() == 64 && stated.bytes().all(|byte| byte.is_ascii_hexdigit());
        let has_capitals = || stated.bytes().any(|byte| byte.is_ascii_uppercase());
        let in_url = match scheme {
            Scheme::Header if is_hash && has_capitals() => false,
            Scheme::Url if stated != UNSIGNED => true,
            _ => return None,
        };
        let restated = if is_hash { stated.to_ascii_lowercase() } else { UNSIGNED.to_owned() };
        let stated = stated.to_owned();
        let [credential, signed_names, signature, stamp] =
            if in_url { claims_of_url(request.uri())? } else { claims_of_header(headers)? };
        let Credential { access_key, region, .. } = Credential::read(&credential)?;
        let (access_key, region) = (access_key.to_owned(), region.to_owned());
        read_stamp(&stamp)?;
        let mut signed_names: Vec<String> = signed_names.split(';').map(str::to_ascii_lowercase).collect();
        if !in_url {
            signed_names.sort_unstable();
        }
        Some(Self { in_url, access_key, region, stamp, signed_names, signature, stated, restated })
    }

    /// Whose key it says it is signed with.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Where it was signed with this key.
    pub fn apply<B>(self, request: &mut Request<B>, secret_key: &str) {
        let path = path_to_sign(request.uri().path());
        let raw = request.uri().path();
        let is_right = [path.as_str(), raw].into_iter().any(|path| {
            let expected = self.sign(request, path, &self.stated, secret_key);
            verify_slices_are_equal(expected.as_bytes(), self.signature.as_bytes()).is_ok()
        });
        let Ok(restated) = HeaderValue::try_from(self.restated.as_str()) else { return };
        if !is_right {
            return;
        }
        request.headers_mut().insert(HASH_HEADER, restated);
        let payload = if self.in_url { UNSIGNED } else { self.restated.as_str() };
        let signature = self.sign(request, &path, payload, secret_key);
        if self.in_url {
            *request.uri_mut() = with_signature(request.uri(), &signature);
        } else if let Some(said) = request.headers().get(header::AUTHORIZATION).and_then(|said| said.to_str().ok()) {
            let (old, new) = (format!("Signature={}", self.signature), format!("Signature={signature}"));
            if let Ok(value) = HeaderValue::try_from(said.replace(&old, &new)) {
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
        }
    }

    fn sign<B>(&self, request: &Request<B>, path: &str, payload: &str, secret_key: &str) -> String {
        let (headers, uri) = (request.headers(), request.uri());
        let signed: Vec<(&str, String)> = self
            .signed_names
            .iter()
            .filter_map(|name| Some((name.as_str(), signed_value(headers, uri, name)?)))
            .collect();
        let signed: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !is_signature(pair));
        let query = pairs.collect::<Vec<_>>().join("&").replace('+', "%20");
        let method = request.method().as_str();
        let to_sign = ToSign { method, path, query: &query, headers: &signed, body_sha256: payload };
        let signer = Signer { access_key: &self.access_key, secret_key, region: &self.region, service: SERVICE };
        signer.signature_hex(&self.stamp, &to_sign)
    }
}

/// Credential, signed headers, signature and time.
fn claims_of_url(uri: &Uri) -> Option<[String; 4]> {
    let query = Query::read(uri.query()).ok()?;
    let of = |name: &str| query.get(name).map(str::to_owned);
    Some([of("X-Amz-Credential")?, of("X-Amz-SignedHeaders")?, of(SIGNATURE)?, of("X-Amz-Date")?])
}

fn claims_of_header(headers: &HeaderMap) -> Option<[String; 4]> {
    let said = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let of = |name: &str| component(said, name).map(str::to_owned);
    let stamp = headers.get(DATE_HEADER)?.to_str().ok()?.to_owned();
    Some([of("Credential")?, of("SignedHeaders")?, of("Signature")?, stamp])
}

/// As s3s takes it: what is not there is not signed, and HTTP/2 has the host beside the headers.
fn signed_value(headers: &HeaderMap, uri: &Uri, name: &str) -> Option<String> {
    let values = headers.get_all(name).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    let values: Vec<&str> = values.map(str::trim).collect();
    if !values.is_empty() {
        return Some(values.join(","));
    }
    uri.authority().filter(|_| name == "host").map(|authority| authority.as_str().to_owned())
}

fn is_signature(pair: &str) -> bool {
    pair.split_once('=').unwrap_or((pair, "")).0 == SIGNATURE
}

fn with_signature(uri: &Uri, signature: &str) -> Uri {
    let ours = format!("{SIGNATURE}={signature}");
    let pairs = uri.query().unwrap_or_default().split('&');
    let query: Vec<&str> = pairs.map(|pair| if is_signature(pair) { ours.as_str() } else { pair }).collect();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{}?{}", uri.path(), query.join("&"))).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::{HASH_HEADER, Resigning, Signer, ToSign, UNSIGNED};
    use crate::api::wire::authorization::Scheme;
    use http::{Method, Request};

    const STAMP: &str = "20260101T000000Z";
    const HASH: &str = "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824";
    const SIGNED: &str = "host;x-amz-content-sha256";

    fn signature(path: &str, query: &str, headers: &[(&str, &str)], payload: &str) -> String {
        let signer = Signer { access_key: "K", secret_key: "secret", region: "us-east-1", service: "s3" };
        let to_sign = ToSign { method: "PUT", path, query, headers, body_sha256: payload };
        signer.signature_hex(STAMP, &to_sign)
    }

    fn request(uri: &str, payload: &str) -> Request<()> {
        let request = Request::builder().method(Method::PUT).uri(uri).header("host", "h");
        request.header(HASH_HEADER, payload).body(()).expect("a request")
    }

    /// A presigned URL with this hash, and what s3s would find right.
    fn of_url(stated: &str, restated: &str) -> (Request<()>, String) {
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K%2F20260101%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date={STAMP}&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-amz-content-sha256"
        );
        let given = signature("/b/a%20b", &query, &[("host", "h"), (HASH_HEADER, stated)], stated);
        let expected = signature("/b/a%20b", &query, &[("host", "h"), (HASH_HEADER, restated)], UNSIGNED);
        (request(&format!("/b/a%20b?{query}&X-Amz-Signature={given}"), stated), expected)
    }

    #[test]
    fn a_url_that_signs_its_payload_is_signed_anew_without_it() {
        for (stated, restated) in
            [(HASH, HASH.to_ascii_lowercase()), ("invalid", UNSIGNED.to_owned()), ("STREAMING-X", UNSIGNED.to_owned())]
        {
            let (mut request, expected) = of_url(stated, &restated);
            let resigning = Resigning::of(Scheme::Url, &request).expect("to be signed anew");
            assert_eq!(resigning.access_key(), "K");
            resigning.apply(&mut request, "secret");
            assert!(request.uri().to_string().ends_with(&format!("&X-Amz-Signature={expected}")), "{stated}");
            assert_eq!(request.headers().get(HASH_HEADER).map(|hash| hash.as_bytes()), Some(restated.as_bytes()));
        }
    }

    #[test]
    fn what_another_key_signed_stays_as_it_is() {
        let (mut request, _) = of_url(HASH, HASH);
        let before = request.uri().clone();
        Resigning::of(Scheme::Url, &request).expect("to be signed anew").apply(&mut request, "other");
        assert_eq!(*request.uri(), before);
        assert_eq!(request.headers().get(HASH_HEADER).map(|hash| hash.as_bytes()), Some(HASH.as_bytes()));
    }

    #[test]
    fn a_hash_in_capital_letters_is_signed_anew_in_small_ones() {
        let small = HASH.to_ascii_lowercase();
        let signed =
            |hash: &str| signature("/b/k", "", &[("host", "h"), (HASH_HEADER, hash), ("x-amz-date", STAMP)], hash);
        let said = |signature: &str| {
            let scope = "K/20260101/us-east-1/s3/aws4_request";
            format!("AWS4-HMAC-SHA256 Credential={scope},SignedHeaders={SIGNED};x-amz-date,Signature={signature}")
        };
        let mut request = request("/b/k", HASH);
        let headers = request.headers_mut();
        headers.insert("x-amz-date", STAMP.parse().expect("a value"));
        headers.insert("authorization", said(&signed(HASH)).parse().expect("a value"));
        Resigning::of(Scheme::Header, &request).expect("to be signed anew").apply(&mut request, "secret");
        let found = request.headers().get("authorization").map(|value| value.as_bytes().to_vec());
        assert_eq!(found, Some(said(&signed(&small)).into_bytes()));
    }

    #[test]
    fn most_requests_stay_as_they_are() {
        let small = HASH.to_ascii_lowercase();
        for (scheme, payload) in [
            (Scheme::Header, small.as_str()),
            (Scheme::Header, UNSIGNED),
            (Scheme::Url, UNSIGNED),
            (Scheme::LegacyUrl, HASH),
            (Scheme::Unsigned, HASH),
        ] {
            assert!(Resigning::of(scheme, &request("/b/k", payload)).is_none(), "{scheme:?} {payload}");
        }
    }
}
