//! The record of an object's encryption in its metadata: a byte with the format's version, then postcard. The version
//! is that of everything in `FORMAT.md`: the record and the sealed bytes that it describes. New enum variants go to the
//! end.

use super::error::SealingError;
use super::layout::Layout;
use super::secret::CustomerKey;
use crate::ambient::Entropy;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const FORMAT_VERSION: u8 = 1;
const WHAT: &str = "the record of an object's sealing";

/// The encryption of an object version or an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealing {
    /// A random id, authenticated with each wrapped key of this record.
    pub id: u128,
    pub mode: SealingMode,
    /// The wrapped data key.
    pub wrapped: WrappedKey,
    /// The wrapped data key of the outer layer, if there are two layers; always wrapped by the key `SSE_S3_KEY`.
    pub outer: Option<WrappedKey>,
}

/// The key that wraps the data key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealingMode {
    /// The store's key `SSE_S3_KEY`.
    SseS3,
    /// A named key that the client chose, or the default key `KMS_DEFAULT_KEY`.
    SseKms {
        /// The name of the key in the store.
        key_id: String,
        /// The name or ARN of the key for responses, as the client gave it.
        shown: String,
        /// The encryption context, sorted by name. Authenticated with the data key.
        context: Vec<(String, String)>,
        /// Whether the client asked for a bucket key. Only shown in responses.
        bucket_key: bool,
    },
    /// The client's key, which each request must bring.
    SseC { check: KeyCheck },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// The version of the wrapping key; 0 for a client's key.
    pub key_version: u32,
    pub bytes: Bytes,
}

/// A salted hash by which a client's key is recognised: HMAC-SHA256 of the key's MD5. It reveals nothing about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCheck {
    salt: [u8; 16],
    digest: [u8; 32],
}

impl Sealing {
    pub fn layout(&self) -> Layout {
        if self.outer.is_some() { Layout::Dual } else { Layout::Single }
    }

    /// Returns whether requests must bring the client's key (SSE-C).
    pub fn needs_customer_key(&self) -> bool {
        matches!(self.mode, SealingMode::SseC { .. })
    }

    /// Returns whether the ETag must not be the MD5 of the content. With SSE-S3 it is the MD5, as without encryption.
    pub fn hides_tag(&self) -> bool {
        !matches!(self.mode, SealingMode::SseS3)
    }

    pub fn encode(&self) -> Bytes {
        let bytes = postcard::to_extend(self, vec![FORMAT_VERSION]).expect("plain data has a postcard form");
        bytes.into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, SealingError> {
        let corrupt = |why: String| SealingError::Corrupt { what: WHAT, why };
        let body = match bytes.split_first() {
            None => return Err(corrupt("it is empty".to_owned())),
            Some((&FORMAT_VERSION, body)) => body,
            Some((found, _)) => {
                return Err(corrupt(format!(
                    "format version {found} is not known; this program knows {FORMAT_VERSION}"
                )));
            }
        };
        match postcard::take_from_bytes(body) {
            Ok((sealing, [])) => Ok(sealing),
            Ok((_, rest)) => Err(corrupt(format!("{} excess bytes at its end", rest.len()))),
            Err(error) => Err(corrupt(error.to_string())),
        }
    }
}

impl KeyCheck {
    pub fn of(key: &CustomerKey, entropy: &dyn Entropy) -> Self {
        let mut salt = [0; 16];
        entropy.fill(&mut salt);
        Self { salt, digest: salted(&salt, key) }
    }

    pub fn is_of(&self, key: &CustomerKey) -> bool {
        verify_slices_are_equal(&self.digest, &salted(&self.salt, key)).is_ok()
    }

    /// Returns the digest, which is authenticated with the wrapped key.
    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

fn salted(salt: &[u8; 16], key: &CustomerKey) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), &key.md5());
    let mut digest = [0; 32];
    digest.copy_from_slice(tag.as_ref());
    digest
}
