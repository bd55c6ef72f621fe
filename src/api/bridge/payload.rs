//! The hash of its payload that a PUT names, compared where s3s does not do that: of requests that are signed by
//! version 2 or not at all, and where what is named is no hash. Small payloads are hashed here in any case, because an
//! answer says what their hash is, and s3s does not tell; of large ones it would cost too much to do it twice.

use http::{HeaderMap, Method, Uri, header};
use sha2::{Digest, Sha256};

/// Up to this size a payload is hashed twice.
const SMALL_BYTES_MAX: u64 = 16 << 10;
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is in the body is not what the request says of it.
#[derive(Debug, thiserror::Error)]
#[error("Sha256Mismatch")]
pub struct Sha256Mismatch;

/// A hash that a request names, and that of what has come of its body.
pub struct PayloadHash {
    named: String,
    hasher: Sha256,
}

impl PayloadHash {
    /// `None` where the request names none, or s3s compares it. `length`: of the body, where declared.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap, length: Option<u64>) -> Option<Self> {
        let named = named_hash(uri, headers).filter(|_| *method == Method::PUT)?;
        let small = length.is_some_and(|length| length <= SMALL_BYTES_MAX);
        let is_hash = named.len() == 64 && named.bytes().all(|byte| byte.is_ascii_hexdigit());
        let wanted = small || !is_hash || !is_version_4(uri, headers);
        wanted.then(|| Self { named: named.to_owned(), hasher: Sha256::new() })
    }

    /// Whether it is that of an empty body.
    pub fn is_of_nothing(&self) -> bool {
        self.named.eq_ignore_ascii_case(OF_NOTHING)
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Of the whole body; its hash, where that is another.
    pub fn compare(self) -> Result<(), String> {
        let made = hex_simd::encode_to_string(self.hasher.finalize(), hex_simd::AsciiCase::Lower);
        if made.eq_ignore_ascii_case(&self.named) { Ok(()) } else { Err(made) }
    }
}

/// What a request says that the hash of its payload is: nothing where it is framed.
pub fn named_hash<'a>(uri: &Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let named = headers.get(s3s::header::X_AMZ_CONTENT_SHA256)?.to_str().ok()?;
    let is_framed = named.starts_with("STREAMING-") && may_be_framed(uri, headers);
    (named != "UNSIGNED-PAYLOAD" && !is_framed).then_some(named)
}

/// Version 4 signs a framing in a header, and of what nobody signed it is taken off. Of anything else it would be content.
pub fn may_be_framed(uri: &Uri, headers: &HeaderMap) -> bool {
    let signs = |pair: &str| pair.starts_with("X-Amz-Signature=") || pair.starts_with("Signature=");
    match headers.get(header::AUTHORIZATION) {
        Some(said) => said.as_bytes().starts_with(b"AWS4-"),
        None => !uri.query().unwrap_or_default().split('&').any(signs),
    }
}

fn is_version_4(uri: &Uri, headers: &HeaderMap) -> bool {
    let in_header = headers.get(header::AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"));
    in_header || uri.query().unwrap_or_default().split('&').any(|pair| pair.starts_with("X-Amz-Signature="))
}

#[cfg(test)]
mod tests {
    use super::{OF_NOTHING, PayloadHash};
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn hash(method: Method, uri: &'static str, signed: &'static str, named: &str, length: u64) -> Option<PayloadHash> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static(signed));
        let name = HeaderName::from_static("x-amz-content-sha256");
        headers.insert(name, HeaderValue::try_from(named).expect("a value"));
        PayloadHash::of(&method, &Uri::from_static(uri), &headers, Some(length))
    }

    #[test]
    fn a_hash_is_compared_in_any_case_and_told_where_it_differs() {
        let compare = |named: &str| {
            let mut hash = hash(Method::PUT, "/b/k", "AWS k:s", named, 5).expect("to compare");
            hash.update(b"hel");
            hash.update(b"lo");
            hash.compare()
        };
        assert_eq!(compare(HELLO), Ok(()));
        assert_eq!(compare(&HELLO.to_uppercase()), Ok(()));
        assert_eq!(compare("unsigned-payload"), Err(HELLO.to_owned()));
        let of_none = |named: &str| hash(Method::PUT, "/b/k", "AWS k:s", named, 0).expect("one");
        assert_eq!(of_none(OF_NOTHING).compare(), Ok(()));
        assert!(of_none(&OF_NOTHING.to_uppercase()).is_of_nothing() && !of_none(HELLO).is_of_nothing());
    }

    #[test]
    fn what_s3s_compares_is_hashed_again_only_where_it_is_small() {
        let (v4, large) = ("AWS4-HMAC-SHA256 Credential=k", 1 << 20);
        assert!(hash(Method::PUT, "/b/k", v4, HELLO, 5).is_some());
        assert!(hash(Method::PUT, "/b/k", v4, HELLO, large).is_none());
        assert!(hash(Method::PUT, "/b/k?X-Amz-Signature=0", "", HELLO, large).is_none());
        assert!(hash(Method::PUT, "/b/k?X-Amz-Signature=0", "", "no hash", large).is_some());
        assert!(hash(Method::PUT, "/b/k", "AWS k:s", HELLO, large).is_some());
        assert!(hash(Method::GET, "/b/k", "AWS k:s", HELLO, 5).is_none());
        assert!(hash(Method::PUT, "/b/k", "AWS k:s", "UNSIGNED-PAYLOAD", 5).is_none());
        let framing = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
        assert!(hash(Method::PUT, "/b/k", v4, framing, 5).is_none());
        assert!(hash(Method::PUT, "/b/k", "AWS k:s", framing, 5).is_some());
    }
}
