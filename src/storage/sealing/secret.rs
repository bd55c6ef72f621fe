//! Secret keys in memory, which are overwritten when they are dropped.

use crate::ambient::Entropy;
use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use md5::{Digest, Md5};
use std::fmt;
use std::hint::black_box;

pub const KEY_BYTES: usize = 32;

/// A secret key of 256 bits. It is boxed, so that a move leaves no copy behind, and is overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Box<[u8; KEY_BYTES]>);

impl Secret {
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut secret = Self(Box::new([0; KEY_BYTES]));
        entropy.fill(secret.0.as_mut_slice());
        secret
    }

    /// Makes a secret from its bytes; `None` unless there are exactly 32.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self(Box::new([0; KEY_BYTES]));
        if bytes.len() != KEY_BYTES {
            return None;
        }
        secret.0.copy_from_slice(bytes);
        Some(secret)
    }

    /// Derives a secret by HKDF-SHA256 (RFC 5869). The parts of `info` are concatenated, so callers must use parts that
    /// are unambiguous when joined.
    pub(super) fn derived(from: &[u8], salt: &[u8], info: &[&[u8]]) -> Self {
        let mut secret = Self(Box::new([0; KEY_BYTES]));
        Salt::new(HKDF_SHA256, salt)
            .extract(from)
            .expand(info, KeyBytes)
            .and_then(|expanded| expanded.fill(secret.0.as_mut_slice()))
            .expect("32 bytes can be expanded with SHA-256");
        secret
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    pub(super) fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.bytes()).expect("32 bytes are a key of AES-256"))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.bytes(), other.bytes()).is_ok()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without this the compiler might remove the writes, as nothing reads the bytes again.
        black_box(self.0.as_slice());
    }
}

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

/// A key that a client sends with its request (SSE-C). It is never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerKey {
    secret: Secret,
    /// The MD5 of the key, which clients send beside it as a check of the transfer.
    md5: [u8; 16],
}

impl CustomerKey {
    pub fn new(secret: Secret) -> Self {
        let md5 = Md5::digest(secret.bytes()).into();
        Self { secret, md5 }
    }

    pub fn md5(&self) -> [u8; 16] {
        self.md5
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey")
    }
}
