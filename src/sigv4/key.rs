//! Signing keys, which are good for a day, a region and a service, and the chain of signatures over the chunks of a body
//! (S3 API Reference, "Signature calculations for the Authorization header: Transferring payload in multiple chunks").

use super::{ALGORITHM, TERMINATOR, hex, keyed};
use aws_lc_rs::hmac;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Cached signing keys: one for each access key, day, region and service in use.
const CACHED_KEYS_MAX: usize = 1024;
/// The longest name of a region whose keys are kept.
const REGION_BYTES_MAX: usize = 64;
/// SHA-256 of nothing, in hexadecimal.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The part of a credential that names what a signing key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// `20150830`
    pub date: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }
}

/// A key derived from a secret for one scope.
#[derive(Clone)]
pub struct SigningKey {
    key: hmac::Key,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

impl SigningKey {
    pub fn derive(secret_key: &str, scope: Scope<'_>) -> Self {
        let first = keyed(format!("AWS4{secret_key}").as_bytes(), scope.date);
        let last = [scope.region, scope.service, TERMINATOR].iter().fold(first, |key, part| keyed(key.as_ref(), part));
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, last.as_ref()) }
    }

    /// The signature of a text, in hexadecimal.
    pub fn sign(&self, text: &str) -> String {
        hex(hmac::sign(&self.key, text.as_bytes()).as_ref())
    }

    /// Whether a signature in hexadecimal is that of a text; compares in constant time.
    pub fn verify(&self, text: &str, signature: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.sign(text).as_bytes(), signature.as_bytes()).is_ok()
    }
}

fn name_of(access_key: &str, scope: Scope<'_>) -> [String; 4] {
    [access_key, scope.date, scope.region, scope.service].map(str::to_owned)
}

/// Derived keys, so that a request need not derive its own: five HMACs become one.
#[derive(Default)]
pub struct SigningKeys {
    keys: Mutex<HashMap<[String; 4], Cached>>,
}

struct Cached {
    /// The secret that the key was derived from: an access key may get another one.
    secret_key: String,
    key: Arc<SigningKey>,
}

impl SigningKeys {
    /// The key of an access key whose secret is this one. Anybody can name any scope, so a key is kept only by `keep`.
    pub fn get(&self, access_key: &str, secret_key: &str, scope: Scope<'_>) -> Arc<SigningKey> {
        let name = name_of(access_key, scope);
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = keys.get(&name).filter(|cached| cached.secret_key == secret_key);
        let cached = cached.map(|cached| Arc::clone(&cached.key));
        drop(keys);
        cached.unwrap_or_else(|| Arc::new(SigningKey::derive(secret_key, scope)))
    }

    /// Keeps a key with which a signature was found right.
    pub fn keep(&self, access_key: &str, secret_key: &str, scope: Scope<'_>, key: &Arc<SigningKey>) {
        // Mostly it is one that is kept: nobody else has it.
        if Arc::strong_count(key) > 1 {
            return;
        }
        let name = name_of(access_key, scope);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if scope.region.len() > REGION_BYTES_MAX {
            return;
        }
        if keys.len() >= CACHED_KEYS_MAX {
            keys.clear();
        }
        keys.insert(name, Cached { secret_key: secret_key.to_owned(), key: Arc::clone(key) });
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").finish_non_exhaustive()
    }
}

/// Verifies the signatures of the chunks of a body, each of which covers the one before it; the first covers the
/// signature of the request.
#[derive(Clone, Debug)]
pub struct ChunkVerifier {
    key: Arc<SigningKey>,
    /// Time and scope, as every text to sign has them.
    head: String,
    previous: String,
}

impl ChunkVerifier {
    /// `stamp`: the request's time, as `x-amz-date` has it. `signature`: the request's, in hexadecimal.
    pub fn new(key: Arc<SigningKey>, stamp: &str, scope: Scope<'_>, signature: &str) -> Self {
        Self { key, head: format!("{stamp}\n{scope}"), previous: signature.to_owned() }
    }

    /// Takes the next chunk: the hash of its data, and the signature that came with it, both in hexadecimal.
    pub fn chunk(&mut self, sha256: &str, signature: &str) -> bool {
        let text = format!("{ALGORITHM}-PAYLOAD\n{}\n{}\n{EMPTY_SHA256}\n{sha256}", self.head, self.previous);
        self.next(&text, signature)
    }

    /// Takes the trailer, after the last chunk: the hash of its canonical lines (`name:value\n` each).
    pub fn trailer(&mut self, sha256: &str, signature: &str) -> bool {
        let text = format!("{ALGORITHM}-TRAILER\n{}\n{}\n{sha256}", self.head, self.previous);
        self.next(&text, signature)
    }

    fn next(&mut self, text: &str, signature: &str) -> bool {
        let is_right = self.key.verify(text, signature);
        if is_right {
            signature.clone_into(&mut self.previous);
        }
        is_right
    }
}

#[cfg(test)]
mod tests {
    use super::{CACHED_KEYS_MAX, ChunkVerifier, Scope, SigningKey, SigningKeys};
    use crate::sigv4::sha256_hex;
    use std::sync::Arc;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const SCOPE: Scope<'static> = Scope { date: "20130524", region: "us-east-1", service: "s3" };

    /// The example of the S3 API Reference: 66,560 bytes in three chunks.
    #[test]
    fn the_chunk_signatures_of_awss_example_are_verified() {
        let key = Arc::new(SigningKey::derive(SECRET, SCOPE));
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let signatures = [
            (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ];
        let mut verifier = ChunkVerifier::new(key, "20130524T000000Z", SCOPE, seed);
        for (length, signature) in signatures {
            let hash = sha256_hex(&vec![b'a'; length]);
            assert!(!verifier.clone().chunk(&sha256_hex(b"other"), signature));
            assert!(verifier.chunk(&hash, signature), "{length}");
        }
    }

    #[test]
    fn a_cached_key_is_that_of_the_secret_it_is_asked_for() {
        let keys = SigningKeys::default();
        let text = "text";
        let expected = SigningKey::derive(SECRET, SCOPE).sign(text);
        let kept = |secret_key, scope| {
            let key = keys.get("k", secret_key, scope);
            keys.keep("k", secret_key, scope, &key);
            key.sign(text)
        };
        assert_eq!(keys.get("k", SECRET, SCOPE).sign(text), expected);
        assert!(keys.keys.lock().expect("not poisoned").is_empty(), "nothing was verified with it");
        assert_eq!((kept(SECRET, SCOPE), kept(SECRET, SCOPE)), (expected.clone(), expected.clone()));
        assert_eq!(keys.keys.lock().expect("not poisoned").len(), 1);
        assert_ne!(kept("another", SCOPE), expected);
        assert_ne!(keys.get("k", "another", SCOPE).sign(text), expected);
        assert_eq!(keys.get("k", SECRET, SCOPE).sign(text), expected);
        for other in
            [Scope { date: "20130525", ..SCOPE }, Scope { region: "", ..SCOPE }, Scope { service: "sts", ..SCOPE }]
        {
            assert_ne!(keys.get("k", SECRET, other).sign(text), expected);
        }
        for number in 0..2 * CACHED_KEYS_MAX {
            let name = number.to_string();
            keys.keep(&name, SECRET, SCOPE, &keys.get(&name, SECRET, SCOPE));
        }
        assert!(keys.keys.lock().expect("not poisoned").len() <= CACHED_KEYS_MAX);
    }
}
