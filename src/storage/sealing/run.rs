//! The keys that bytes are sealed under: an object's data key, and those of its runs, derived of it. A run is what is
//! sealed from its first byte to its last at once: a body, or a part. No two runs have the same key, so their chunks
//! are counted from 0 in each, and a part that is uploaded again shares no nonce with what it replaces.

use super::layout::Layout;
use super::secret::Secret;
use crate::ambient::Entropy;
use crate::types::BlobId;
use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use bytes::BytesMut;

const RUN_LABEL: &[u8] = b"sherd run, version 1";
const ENTITY_TAG_LABEL: &[u8] = b"sherd entity tag, version 1";

/// The data key of an object or upload: 256 random bits for each layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataKey {
    pub(super) first: Secret,
    /// The key of the outer layer.
    pub(super) second: Option<Secret>,
}

/// The number of a run under a data key. No two runs with different bytes may have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    part: u16,
    salt: [u8; 16],
}

impl RunId {
    /// The only run of a data key: an object that is small enough to be kept with the metadata.
    pub const INLINE: Self = Self { part: 0, salt: [0; 16] };

    /// Makes the id from the blob that the run is written to: each write has one of its own. An object of one PUT is
    /// its own part 1.
    pub fn of_blob(part: u16, blob: BlobId) -> Self {
        Self { part, salt: blob.to_be_bytes() }
    }
}

impl DataKey {
    pub fn random(layout: Layout, entropy: &dyn Entropy) -> Self {
        let second = || Secret::random(entropy);
        Self { first: Secret::random(entropy), second: matches!(layout, Layout::Dual).then(second) }
    }

    pub fn layout(&self) -> Layout {
        if self.second.is_some() { Layout::Dual } else { Layout::Single }
    }

    pub fn run(&self, id: RunId) -> RunKey {
        let part = id.part.to_be_bytes();
        let derived = |secret: &Secret| Secret::derived(secret.bytes(), &id.salt, &[RUN_LABEL, &part]).cipher();
        RunKey { inner: derived(&self.first), outer: self.second.as_ref().map(derived) }
    }

    /// An entity tag that says nothing of the content to who has not the key: S3's is not the MD5 either where KMS or
    /// the client has the key.
    pub fn entity_tag(&self, md5: [u8; 16]) -> [u8; 16] {
        let key = Secret::derived(self.first.bytes(), &[], &[ENTITY_TAG_LABEL]);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.bytes()), &md5);
        let mut cut = [0; 16];
        cut.copy_from_slice(&tag.as_ref()[..16]);
        cut
    }
}

/// Seals and opens the chunks of one run.
#[derive(Debug)]
pub struct RunKey {
    inner: LessSafeKey,
    outer: Option<LessSafeKey>,
}

impl RunKey {
    pub fn layout(&self) -> Layout {
        if self.outer.is_some() { Layout::Dual } else { Layout::Single }
    }

    /// Seals the chunk in place; it grows by the tag of each layer.
    pub(super) fn seal(&self, index: u64, is_final: bool, chunk: &mut BytesMut) {
        for layer in [Some(&self.inner), self.outer.as_ref()].into_iter().flatten() {
            let tag = layer.seal_in_place_separate_tag(nonce(index, is_final), Aad::empty(), chunk);
            chunk.extend_from_slice(tag.expect("a chunk is far below the cipher's limit").as_ref());
        }
    }

    /// Opens the chunk in place; the plain bytes are those at its front.
    pub(super) fn open<'a>(
        &self,
        index: u64,
        is_final: bool,
        mut chunk: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unspecified> {
        for layer in [self.outer.as_ref(), Some(&self.inner)].into_iter().flatten() {
            chunk = layer.open_in_place(nonce(index, is_final), Aad::empty(), chunk)?;
        }
        Ok(chunk)
    }
}

/// Returns the nonce of a chunk: its index in the run, and whether it is the last. A chunk moved to another place does
/// not open, nor does one that is made the last, or no longer the last.
fn nonce(index: u64, is_final: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3..11].copy_from_slice(&index.to_be_bytes());
    bytes[11] = u8::from(is_final);
    Nonce::assume_unique_for_key(bytes)
}
