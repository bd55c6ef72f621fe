//! Encryption of objects at rest (SSE-S3, SSE-KMS, SSE-C). To *seal* is to encrypt with authentication (AES-256-GCM);
//! to *open* is to verify and decrypt. `FORMAT.md` describes the formats byte by byte.
//!
//! Each object or upload has a random data key. Each run of bytes written for it (a body or a part) is sealed in
//! chunks, under a key derived from the data key: `Layout` computes the positions of chunks, `Sealer` and `Opener` seal
//! and open them incrementally. The data key is stored in the object's metadata (`Sealing`), wrapped by a named key of
//! the store (`NamedKey`, whose versions are wrapped by the root key) or by the key that the client sends with each
//! request. `KeyStore` makes a data key before a write (`prepare`), unwraps it before a read (`open`), and wraps it
//! again (`seal_key`).
//!
//! Everything here is a pure function of bytes. Secrets are overwritten when they are dropped, and `Debug` never shows
//! them.

mod documents;
mod error;
mod keys;
mod layout;
mod record;
mod root;
mod run;
mod secret;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod wrap;

pub use error::SealingError;
pub use keys::{KeyDescription, KeyPath, NamedKey, alias_document, alias_target, is_key_name};
pub use layout::{CHUNK_BYTES, Layout, Span, TAG_BYTES};
pub use record::{KeyCheck, Sealing, SealingMode, WrappedKey};
pub use root::{RootKey, RootKeyError, RootKeyId, RootKeys};
pub use run::{DataKey, RunId, RunKey};
pub use secret::{CustomerKey, Secret};
pub use store::{KMS_DEFAULT_KEY, KeyDocuments, KeyStore, KmsWanted, SSE_S3_KEY, SealedObject, Wanted};
pub use stream::{OpenError, Opener, Sealer};
