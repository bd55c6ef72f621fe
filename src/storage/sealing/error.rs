//! Errors of finding, making and using sealing keys.

use super::root::RootKeyId;
use crate::storage::kv::KvError;

#[derive(Clone, Debug, thiserror::Error)]
pub enum SealingError {
    /// No key of the store, or alias of one, has this id.
    #[error("there is no key {id:?}")]
    NoSuchKey { id: String },
    #[error("the key {id:?} is disabled")]
    KeyDisabled { id: String },
    #[error("the key {id:?} has no version {version}")]
    NoSuchVersion { id: String, version: u32 },
    #[error("{name:?} cannot be a key's name")]
    InvalidName { name: String },
    /// The object is sealed under a key that its client has.
    #[error("the client's key is needed")]
    CustomerKeyMissing,
    #[error("the client's key is not the one that the object was sealed under")]
    CustomerKeyDiffers,
    /// The object is not sealed under a key that its client has.
    #[error("the object was not sealed under a client's key")]
    CustomerKeyNotApplicable,
    /// The bytes are encrypted once and not twice, or the other way round: they have to be written anew.
    #[error("bytes that are sealed in another number of layers cannot be taken over")]
    LayersDiffer,
    #[error("the key {key:?} is sealed by the root key {root}, which was not given")]
    RootKeyMissing { key: String, root: RootKeyId },
    #[error("{what} is damaged: {why}")]
    Corrupt { what: &'static str, why: String },
    #[error(transparent)]
    Tables(#[from] KvError),
}
