//! The keys of object bytes: an object's data key, and the keys of its runs, which are derived from it. A run is a
//! sequence of bytes sealed in one write: a body or a part. Each run has another key, so the chunk indices in nonces
//! begin at 0 in each run, and a part that is uploaded again reuses no nonce under the same key.

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

/// The data key of an object or upload: 256 random bits, and 256 more for the outer layer of a body that is encrypted
/// twice (`Layout::Dual`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataKey {
    pub(super) first: Secret,
    /// The key of the outer layer.
    pub(super) second: Option<Secret>,
}

/// The id of a run under a data key. Two runs with different bytes must have different ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    part: u16,
    salt: [u8; 16],
}

impl RunId {
    /// The id of the only run of an object that is small enough to be stored in the metadata.
    pub const INLINE: Self = Self { part: 0, salt: [0; 16] };

    /// Makes the id from the part number and from the blob of the run, which is different for each write. A body of one
    /// PUT is part 1.
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

    /// Returns an ETag that reveals nothing about the content without the key. With SSE-KMS and SSE-C, the ETag of S3
    /// is not the MD5 either.
    pub fn entity_tag(&self, md5: [u8; 16]) -> [u8; 16] {
        let key = Secret::derived(self.first.bytes(), &[], &[ENTITY_TAG_LABEL]);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.bytes()), &md5);
        let mut cut = [0; 16];
        cut.copy_from_slice(&tag.as_ref()[..16]);
        cut
    }
}

/// The key of one run, which seals and opens its chunks.
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

    /// Opens the chunk in place. Returns the plain bytes, which are at its front.
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

/// Returns the nonce of a chunk, made of its index in the run and whether it is the last. Therefore a chunk does not
/// open at another place, nor after the run was cut or extended so that another chunk is the last.
fn nonce(index: u64, is_final: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3..11].copy_from_slice(&index.to_be_bytes());
    bytes[11] = u8::from(is_final);
    Nonce::assume_unique_for_key(bytes)
}
