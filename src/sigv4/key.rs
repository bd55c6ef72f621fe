//! Signing keys, each of which is valid for one day, region and service, and their cache.

use super::{TERMINATOR, hex, keyed};
use aws_lc_rs::hmac;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The most cached signing keys: there is one for each access key, day, region and service in use.
const CACHED_KEYS_MAX: usize = 1024;
/// The longest region name for which a key is cached.
const REGION_BYTES_MAX: usize = 64;

/// The scope of a signing key: the part of a credential after the access key.
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

    /// Returns the signature of a text, in hexadecimal.
    pub fn sign(&self, text: &str) -> String {
        hex(hmac::sign(&self.key, text.as_bytes()).as_ref())
    }

    /// Returns whether a hexadecimal signature is that of a text; compares in constant time.
    pub fn verify(&self, text: &str, signature: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.sign(text).as_bytes(), signature.as_bytes()).is_ok()
    }
}

/// A cache of derived keys. A hit saves a request four of its five HMACs.
#[derive(Default)]
pub struct SigningKeys {
    keys: Mutex<Kept>,
}

/// Cached keys by access key. Each access key has few: for a day or two, and mostly for one region.
#[derive(Default)]
struct Kept {
    by_access_key: HashMap<String, Vec<Cached>>,
    count: usize,
}

struct Cached {
    date: String,
    region: String,
    service: String,
    /// The secret that the key was derived from. It is compared, as the secret of an access key may change.
    secret_key: String,
    key: Arc<SigningKey>,
}

impl SigningKeys {
    /// Returns the signing key for this access key, secret and scope, cached or derived. A derived key is not cached
    /// here, as anybody can name any scope: `keep` caches it once a signature was verified with it.
    pub fn get(&self, access_key: &str, secret_key: &str, scope: Scope<'_>) -> Arc<SigningKey> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = keys.by_access_key.get(access_key).and_then(|kept| kept.iter().find(|cached| cached.is_of(scope)));
        let cached = cached.filter(|cached| cached.secret_key == secret_key);
        let cached = cached.map(|cached| Arc::clone(&cached.key));
        drop(keys);
        cached.unwrap_or_else(|| Arc::new(SigningKey::derive(secret_key, scope)))
    }

    /// Caches a key with which a signature was verified.
    pub fn keep(&self, access_key: &str, secret_key: &str, scope: Scope<'_>, key: &Arc<SigningKey>) {
        // A key with other references came from the cache.
        if Arc::strong_count(key) > 1 {
            return;
        }
        if scope.region.len() > REGION_BYTES_MAX {
            return;
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.count >= CACHED_KEYS_MAX {
            *keys = Kept::default();
        }
        let Kept { by_access_key, count } = &mut *keys;
        let kept = by_access_key.entry(access_key.to_owned()).or_default();
        let before = kept.len();
        kept.retain(|cached| !cached.is_of(scope));
        kept.push(Cached::of(scope, secret_key, key));
        *count += kept.len() - before;
    }
}

impl Cached {
    fn of(scope: Scope<'_>, secret_key: &str, key: &Arc<SigningKey>) -> Self {
        let [date, region, service, secret_key] =
            [scope.date, scope.region, scope.service, secret_key].map(str::to_owned);
        Self { date, region, service, secret_key, key: Arc::clone(key) }
    }

    fn is_of(&self, scope: Scope<'_>) -> bool {
        self.date == scope.date && self.region == scope.region && self.service == scope.service
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{CACHED_KEYS_MAX, Scope, SigningKey, SigningKeys};

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const SCOPE: Scope<'static> = Scope { date: "20130524", region: "us-east-1", service: "s3" };

    #[test]
    fn a_cached_signing_key_is_used_only_for_its_secret_and_scope() {
        let keys = SigningKeys::default();
        let text = "text";
        let expected = SigningKey::derive(SECRET, SCOPE).sign(text);
        let kept = |secret_key, scope| {
            let key = keys.get("k", secret_key, scope);
            keys.keep("k", secret_key, scope, &key);
            key.sign(text)
        };
        assert_eq!(keys.get("k", SECRET, SCOPE).sign(text), expected);
        assert_eq!(keys.keys.lock().expect("not poisoned").count, 0, "nothing was verified with it");
        assert_eq!((kept(SECRET, SCOPE), kept(SECRET, SCOPE)), (expected.clone(), expected.clone()));
        assert_eq!(keys.keys.lock().expect("not poisoned").count, 1);
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
        assert!(keys.keys.lock().expect("not poisoned").count <= CACHED_KEYS_MAX);
    }
}
