//! The errors of encryption at rest: of finding, making and using keys.

use super::root::RootKeyId;
use crate::limits::KEY_VERSIONS_MAX;
use crate::storage::kv::KvError;

#[derive(Clone, Debug, thiserror::Error)]
pub enum SealingError {
    /// No named key of the store, and no alias, has this id.
    #[error("there is no key {id:?}")]
    NoSuchKey { id: String },
    #[error("the key {id:?} is disabled")]
    KeyDisabled { id: String },
    #[error("the key {id:?} has no version {version}")]
    NoSuchVersion { id: String, version: u32 },
    #[error("the key {id:?} has {KEY_VERSIONS_MAX} versions, the most that a key may have; use another key")]
    TooManyVersions { id: String },
    #[error("{name:?} is not a name for a key: use 1 to 128 letters, digits, '-', '_' or '.'")]
    InvalidName { name: String },
    /// The object is encrypted under a key that the client has to send (SSE-C).
    #[error("the object is encrypted under a client's key, which the request must bring")]
    CustomerKeyMissing,
    #[error("the key of the request is not the one under which the object was encrypted")]
    CustomerKeyDiffers,
    /// The request brings a key (SSE-C), but the object is not encrypted under a client's key.
    #[error("the object is not encrypted under a client's key; send the request without one")]
    CustomerKeyNotApplicable,
    /// The stored bytes have one layer of encryption and two are wanted, or the reverse: they have to be encrypted
    /// anew.
    #[error("the stored bytes have another number of encryption layers than is wanted; they must be encrypted anew")]
    LayersDiffer,
    #[error("the key {key:?} is wrapped by the root key {root}, which is missing; add it to the root key file")]
    RootKeyMissing { key: String, root: RootKeyId },
    #[error("{what} is damaged: {why}")]
    Corrupt { what: &'static str, why: String },
    #[error(transparent)]
    Tables(#[from] KvError),
}
