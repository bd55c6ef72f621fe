//! The record of an object's encryption in its metadata: a byte with the format's version, then postcard. The version
//! is that of all of `FORMAT.md`: of the record and of the bytes that it describes. Enums only ever get variants at
//! their ends.

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
    /// Random; what is wrapped is bound to it.
    pub id: u128,
    pub mode: SealingMode,
    /// The data key.
    pub wrapped: WrappedKey,
    /// The data key of the outer layer, where there are two; always under the store's own key.
    pub outer: Option<WrappedKey>,
}

/// The key that wraps the data key: the store's, a named one, or the client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealingMode {
    /// The store's.
    SseS3,
    /// A key that was named, or the store's default one.
    SseKms {
        /// The key's name among the store's.
        key_id: String,
        /// The name or ARN for answers, as the client gave it.
        shown: String,
        /// The encryption context, sorted by name. Authenticated with the data key.
        context: Vec<(String, String)>,
        /// Shown as it was asked for; nothing else depends on it.
        bucket_key: bool,
    },
    /// The client's, which it must bring with each request.
    SseC { check: KeyCheck },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// The version of the key that wraps it; 0 for a client's key.
    pub key_version: u32,
    pub bytes: Bytes,
}

/// The check that recognises a client's key: the MD5 that clients send of it, salted. Reveals nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCheck {
    salt: [u8; 16],
    digest: [u8; 32],
}

impl Sealing {
    pub fn layout(&self) -> Layout {
        if self.outer.is_some() { Layout::Dual } else { Layout::Single }
    }

    /// Returns whether a client has to send its key.
    pub fn needs_customer_key(&self) -> bool {
        matches!(self.mode, SealingMode::SseC { .. })
    }

    /// Returns whether the entity tag is independent of the content. Under the store's own key it is an MD5, as for
    /// plain objects.
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
            Ok((_, rest)) => Err(corrupt(format!("{} bytes too many", rest.len()))),
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

    /// Returns the digest that the wrapped key is bound to.
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
