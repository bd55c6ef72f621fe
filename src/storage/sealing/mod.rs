//! Bytes of objects at rest, sealed: what stands on drives is of use only to who has the keys. `FORMAT.md` has it byte
//! by byte.
//!
//! Each object (or upload) has a random data key, and each run of bytes that is written for it (a body, a part) a key
//! derived of that one, under which it is sealed in chunks: `Layout` says where they are, `Sealer` and `Opener` make
//! and open them, incrementally. The data key stands in the object's metadata (`Sealing`), wrapped by a named key of
//! the store's (`NamedKey`, in versions, wrapped by the root key) or by the key that a client brings with each request.
//! `KeyStore` does what these are for: `prepare` before a write, `open` before a read, `seal_key` to wrap anew.
//!
//! Everything here is a pure function of bytes. Secrets are overwritten when they are dropped and shown by no `Debug`.

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
pub use store::{KMS_DEFAULT_KEY, KeyDocuments, KeyStore, KmsWanted, Place, SSE_S3_KEY, Wanted};
pub use stream::{OpenError, Opener, Sealer};
