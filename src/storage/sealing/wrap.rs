//! Wrapping of keys by keys: AES-256-GCM under a key that is derived from the wrapping key and a fresh salt for each
//! wrapping, so that no nonce is reused, however many keys one key wraps. The purpose of the wrapped key is
//! authenticated with it, so that it cannot be unwrapped for another purpose.

use super::layout::TAG_BYTES;
use super::secret::{KEY_BYTES, Secret};
use crate::ambient::Entropy;
use aws_lc_rs::aead::{Aad, Nonce};
use bytes::{BufMut, Bytes, BytesMut};

const SALT_BYTES: usize = 32;
const LABEL: &[u8] = b"sherd key wrap, version 1";

/// The purpose of a wrapped key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Purpose {
    /// A data key under a named key.
    ObjectData = 1,
    /// A data key of the outer layer under a named key.
    OuterLayer = 2,
    /// A data key under a client's key.
    CustomerData = 3,
    /// A named key under the root key.
    NamedKey = 4,
}

/// The authenticated data of a wrapped key: the purpose, then fields, each preceded by its length.
#[derive(Clone, Debug)]
pub(super) struct Context(BytesMut);

impl Context {
    pub fn new(purpose: Purpose) -> Self {
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_u8(purpose as u8);
        Self(bytes)
    }

    pub fn with(mut self, field: &[u8]) -> Self {
        self.0.put_u32(u32::try_from(field.len()).expect("fields are names and numbers"));
        self.0.put_slice(field);
        self
    }
}

/// Wraps `key` by `under`. Returns the salt, the encrypted key and the tag.
pub(super) fn wrap(under: &Secret, key: &Secret, context: &Context, entropy: &dyn Entropy) -> Bytes {
    let mut wrapped = BytesMut::zeroed(SALT_BYTES);
    wrapped.reserve(KEY_BYTES + TAG_BYTES);
    entropy.fill(&mut wrapped);
    let cipher = Secret::derived(under.bytes(), &wrapped, &[LABEL]).cipher();
    wrapped.extend_from_slice(key.bytes());
    let tag = cipher
        .seal_in_place_separate_tag(only_nonce(), Aad::from(&context.0), &mut wrapped[SALT_BYTES..])
        .expect("a key is far below the cipher's limit");
    wrapped.extend_from_slice(tag.as_ref());
    wrapped.freeze()
}

/// Unwraps a key; `None` if it was wrapped by another key, or with another context, or is damaged.
pub(super) fn unwrap(under: &Secret, wrapped: &[u8], context: &Context) -> Option<Secret> {
    let (salt, sealed) = wrapped.split_at_checked(SALT_BYTES)?;
    let mut sealed: [u8; KEY_BYTES + TAG_BYTES] = sealed.try_into().ok()?;
    let cipher = Secret::derived(under.bytes(), salt, &[LABEL]).cipher();
    let opened = cipher.open_in_place(only_nonce(), Aad::from(&context.0), &mut sealed).ok();
    let key = opened.and_then(|key| Secret::of(key));
    sealed.fill(0);
    std::hint::black_box(&sealed);
    key
}

/// Returns the nonce, which is always zero: each derived key is used once.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
