//! The SHA-256 that a request states for its payload (`x-amz-content-sha256`), and its comparison with the received
//! bytes.

use http::{HeaderMap, Method};
use sha2::{Digest, Sha256};

const OF_NOTHING: &str = crate::sigv4::EMPTY_SHA256;

/// The hash that a request states, and the hash of the bytes received so far.
pub struct PayloadHash {
    named: String,
    hasher: Sha256,
}

impl PayloadHash {
    /// Returns `None` unless the request is a PUT that states a hash. `framed`: the header announces a framing instead.
    pub fn of(method: &Method, framed: bool, headers: &HeaderMap) -> Option<Self> {
        let named = named_hash(framed, headers).filter(|_| *method == Method::PUT)?;
        Some(Self { named: named.to_owned(), hasher: Sha256::new() })
    }

    /// Returns whether the stated hash is that of an empty body.
    pub fn is_of_nothing(&self) -> bool {
        self.named.eq_ignore_ascii_case(OF_NOTHING)
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Compares the stated hash with that of the received bytes; returns the latter as the error if they differ.
    pub fn compare(self) -> Result<(), String> {
        let computed = hex_simd::encode_to_string(self.hasher.finalize(), hex_simd::AsciiCase::Lower);
        if computed.eq_ignore_ascii_case(&self.named) { Ok(()) } else { Err(computed) }
    }
}

/// Returns the value of `x-amz-content-sha256`, well-formed or not; `None` for an unsigned payload or a framing.
pub fn named_hash(framed: bool, headers: &HeaderMap) -> Option<&str> {
    let named = headers.get(s3s::header::X_AMZ_CONTENT_SHA256)?.to_str().ok()?;
    (named != "UNSIGNED-PAYLOAD" && !framed).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::{OF_NOTHING, PayloadHash};
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn hash(method: Method, framed: bool, named: &str) -> Option<PayloadHash> {
        let name = HeaderName::from_static("x-amz-content-sha256");
        let headers = HeaderMap::from_iter([(name, HeaderValue::try_from(named).expect("a value"))]);
        PayloadHash::of(&method, framed, &headers)
    }

    #[test]
    fn a_hash_is_compared_case_insensitively_and_returned_if_it_differs() {
        let compare = |named: &str| {
            let mut hash = hash(Method::PUT, false, named).expect("to compare");
            hash.update(b"hel");
            hash.update(b"lo");
            hash.compare()
        };
        assert_eq!(compare(HELLO), Ok(()));
        assert_eq!(compare(&HELLO.to_uppercase()), Ok(()));
        assert_eq!(compare("unsigned-payload"), Err(HELLO.to_owned()));
        let of_none = |named: &str| hash(Method::PUT, false, named).expect("one");
        assert_eq!(of_none(OF_NOTHING).compare(), Ok(()));
        assert!(of_none(&OF_NOTHING.to_uppercase()).is_of_nothing() && !of_none(HELLO).is_of_nothing());
    }

    #[test]
    fn only_an_unframed_put_with_a_signed_payload_has_a_hash() {
        assert!(hash(Method::GET, false, HELLO).is_none());
        assert!(hash(Method::PUT, false, "UNSIGNED-PAYLOAD").is_none());
        let framing = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
        assert!(hash(Method::PUT, true, framing).is_none() && hash(Method::PUT, false, framing).is_some());
    }
}
