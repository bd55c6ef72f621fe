//! Operations on data keys: a data key is made and wrapped before a write, unwrapped before a read, and wrapped again
//! when an object is copied without its bytes, when a key is rotated, or when another key is chosen.

use super::error::SealingError;
use super::keys::{KeyPath, NamedKey, alias_target};
use super::layout::Layout;
use super::record::{KeyCheck, Sealing, SealingMode, WrappedKey};
use super::root::RootKeys;
use super::run::DataKey;
use super::secret::{CustomerKey, Secret};
use super::wrap::{Context, Purpose, unwrap, wrap};
use crate::ambient::Entropy;
use crate::storage::kv::KvResult;
use crate::types::BucketId;
use bytes::Bytes;

/// The name of the key that wraps data keys of SSE-S3, and the outer layer of two.
pub const SSE_S3_KEY: &str = "sse-s3";
/// The name of the key that wraps data keys of SSE-KMS if the client names no key.
pub const KMS_DEFAULT_KEY: &str = "aws-s3";

/// A source of the documents of keys and aliases.
pub trait KeyDocuments: Sync {
    fn key_document(&self, path: &str) -> KvResult<Option<Bytes>>;
}

/// The store's root keys and named keys.
#[derive(Clone, Copy)]
pub struct KeyStore<'a> {
    pub roots: &'a RootKeys,
    pub documents: &'a dyn KeyDocuments,
}

/// The encryption that is wanted for an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    SseS3,
    SseKms(KmsWanted),
    SseC(CustomerKey),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsWanted {
    /// The name of a key of the store; the caller resolves aliases.
    pub key_id: String,
    /// The name or ARN of the key for responses.
    pub shown: String,
    pub context: Vec<(String, String)>,
    pub bucket_key: bool,
    /// True for DSSE-KMS: the bytes are encrypted twice, and the outer layer's data key is wrapped by `SSE_S3_KEY`.
    pub dual_layer: bool,
}

/// The bucket and key of the encrypted object. They are authenticated with the wrapped key, so that it does not open if
/// it is copied to another object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedObject<'a> {
    pub bucket: BucketId,
    pub key: &'a str,
}

impl Wanted {
    pub fn layout(&self) -> Layout {
        match self {
            Self::SseKms(kms) if kms.dual_layer => Layout::Dual,
            Self::SseS3 | Self::SseKms(_) | Self::SseC(_) => Layout::Single,
        }
    }
}

impl KeyStore<'_> {
    pub fn key(&self, id: &str) -> Result<NamedKey, SealingError> {
        let document = self.documents.key_document(&KeyPath::Key(id).to_string())?;
        let document = document.ok_or_else(|| SealingError::NoSuchKey { id: id.to_owned() })?;
        NamedKey::decode(&document)
    }

    /// Returns the name of the key with this alias, which is given without the prefix `alias/`.
    pub fn key_of_alias(&self, alias: &str) -> Result<Option<String>, SealingError> {
        let document = self.documents.key_document(&KeyPath::Alias(alias).to_string())?;
        document.map(|document| alias_target(&document)).transpose()
    }

    /// Makes a data key before bytes are written, and the record of the encryption for the object's metadata.
    pub fn prepare(
        &self,
        wanted: &Wanted,
        sealed_object: SealedObject<'_>,
        entropy: &dyn Entropy,
    ) -> Result<(Sealing, DataKey), SealingError> {
        let key = DataKey::random(wanted.layout(), entropy);
        Ok((self.seal_key(&key, wanted, sealed_object, entropy)?, key))
    }

    /// Wraps the data key of stored bytes, which stay as they are. Fails if another number of layers is wanted.
    pub fn seal_key(
        &self,
        key: &DataKey,
        wanted: &Wanted,
        sealed_object: SealedObject<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Sealing, SealingError> {
        if key.layout() != wanted.layout() {
            return Err(SealingError::LayersDiffer);
        }
        let mut id = [0; 16];
        entropy.fill(&mut id);
        let id = u128::from_be_bytes(id);
        let mode = match wanted {
            Wanted::SseS3 => SealingMode::SseS3,
            Wanted::SseKms(kms) => SealingMode::SseKms {
                key_id: kms.key_id.clone(),
                shown: kms.shown.clone(),
                context: kms.context.clone(),
                bucket_key: kms.bucket_key,
            },
            Wanted::SseC(customer) => SealingMode::SseC { check: KeyCheck::of(customer, entropy) },
        };
        let binding = Binding { id, mode: &mode, sealed_object };
        let wrapped = match wanted {
            Wanted::SseS3 => self.wrap(SSE_S3_KEY, &key.first, &binding, Purpose::ObjectData, entropy)?,
            Wanted::SseKms(kms) => self.wrap(&kms.key_id, &key.first, &binding, Purpose::ObjectData, entropy)?,
            Wanted::SseC(customer) => {
                let context = binding.context(Purpose::CustomerData, "", 0);
                WrappedKey { key_version: 0, bytes: wrap(customer.secret(), &key.first, &context, entropy) }
            }
        };
        let outer = |outer: &Secret| self.wrap(SSE_S3_KEY, outer, &binding, Purpose::OuterLayer, entropy);
        let outer = key.second.as_ref().map(outer).transpose()?;
        Ok(Sealing { id, mode, wrapped, outer })
    }

    /// Wraps the data key for another bucket and key of the object, by the same wrapping key.
    pub fn rewrap(
        &self,
        sealing: &Sealing,
        (from, to): (SealedObject<'_>, SealedObject<'_>),
        customer: Option<&CustomerKey>,
        entropy: &dyn Entropy,
    ) -> Result<Sealing, SealingError> {
        let key = self.open(sealing, from, customer)?;
        let wanted = match (&sealing.mode, customer) {
            (SealingMode::SseS3, _) => Wanted::SseS3,
            (SealingMode::SseKms { key_id, shown, context, bucket_key }, _) => Wanted::SseKms(KmsWanted {
                key_id: key_id.clone(),
                shown: shown.clone(),
                context: context.clone(),
                bucket_key: *bucket_key,
                dual_layer: sealing.outer.is_some(),
            }),
            (SealingMode::SseC { .. }, Some(customer)) => Wanted::SseC(customer.clone()),
            (SealingMode::SseC { .. }, None) => return Err(SealingError::CustomerKeyMissing),
        };
        self.seal_key(&key, &wanted, to, entropy)
    }

    /// Unwraps the data key before bytes are read, or before further parts of an upload are written.
    pub fn open(
        &self,
        sealing: &Sealing,
        sealed_object: SealedObject<'_>,
        customer: Option<&CustomerKey>,
    ) -> Result<DataKey, SealingError> {
        let binding = Binding { id: sealing.id, mode: &sealing.mode, sealed_object };
        let first = match (&sealing.mode, customer) {
            (SealingMode::SseC { .. }, None) => return Err(SealingError::CustomerKeyMissing),
            (SealingMode::SseC { check }, Some(customer)) => {
                if !check.is_of(customer) {
                    return Err(SealingError::CustomerKeyDiffers);
                }
                let context = binding.context(Purpose::CustomerData, "", 0);
                unwrap(customer.secret(), &sealing.wrapped.bytes, &context).ok_or(SealingError::CustomerKeyDiffers)?
            }
            (_, Some(_)) => return Err(SealingError::CustomerKeyNotApplicable),
            (SealingMode::SseS3, None) => self.unwrap(SSE_S3_KEY, &sealing.wrapped, &binding, Purpose::ObjectData)?,
            (SealingMode::SseKms { key_id, .. }, None) => {
                self.unwrap(key_id, &sealing.wrapped, &binding, Purpose::ObjectData)?
            }
        };
        let outer = |outer: &WrappedKey| self.unwrap(SSE_S3_KEY, outer, &binding, Purpose::OuterLayer);
        let second = sealing.outer.as_ref().map(outer).transpose()?;
        Ok(DataKey { first, second })
    }

    /// Wraps the data key by the newest versions of its wrapping keys; `None` if it already is, or if a client's key
    /// wraps it. The stored bytes stay as they are.
    pub fn rewrapped(
        &self,
        sealing: &Sealing,
        sealed_object: SealedObject<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Option<Sealing>, SealingError> {
        if !self.is_outdated(sealing)? {
            return Ok(None);
        }
        let wanted = match &sealing.mode {
            SealingMode::SseC { .. } => return Ok(None),
            SealingMode::SseS3 => Wanted::SseS3,
            SealingMode::SseKms { key_id, shown, context, bucket_key } => Wanted::SseKms(KmsWanted {
                key_id: key_id.clone(),
                shown: shown.clone(),
                context: context.clone(),
                bucket_key: *bucket_key,
                dual_layer: sealing.outer.is_some(),
            }),
        };
        let key = self.open(sealing, sealed_object, None)?;
        self.seal_key(&key, &wanted, sealed_object, entropy).map(Some)
    }

    /// Returns whether a wrapping key of the record has a newer version than the one that was used.
    pub fn is_outdated(&self, sealing: &Sealing) -> Result<bool, SealingError> {
        let inner = match &sealing.mode {
            SealingMode::SseC { .. } => None,
            SealingMode::SseS3 => Some((SSE_S3_KEY, &sealing.wrapped)),
            SealingMode::SseKms { key_id, .. } => Some((key_id.as_str(), &sealing.wrapped)),
        };
        for (id, wrapped) in inner.into_iter().chain(sealing.outer.iter().map(|outer| (SSE_S3_KEY, outer))) {
            if self.key(id)?.current_version() > wrapped.key_version {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn wrap(
        &self,
        id: &str,
        secret: &Secret,
        binding: &Binding<'_>,
        purpose: Purpose,
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey, SealingError> {
        let key = self.key(id)?;
        let key_version = key.current_version();
        let under = key.secret(key_version, self.roots)?;
        let bytes = wrap(&under, secret, &binding.context(purpose, id, key_version), entropy);
        Ok(WrappedKey { key_version, bytes })
    }

    fn unwrap(
        &self,
        id: &str,
        wrapped: &WrappedKey,
        binding: &Binding<'_>,
        purpose: Purpose,
    ) -> Result<Secret, SealingError> {
        let under = self.key(id)?.secret(wrapped.key_version, self.roots)?;
        unwrap(&under, &wrapped.bytes, &binding.context(purpose, id, wrapped.key_version)).ok_or_else(|| {
            SealingError::Corrupt {
                what: "a wrapped data key",
                why: format!("version {} of the key {id:?} does not unwrap it for this object", wrapped.key_version),
            }
        })
    }
}

/// The data that is authenticated with a wrapped data key.
struct Binding<'a> {
    id: u128,
    mode: &'a SealingMode,
    sealed_object: SealedObject<'a>,
}

impl Binding<'_> {
    fn context(&self, purpose: Purpose, key_id: &str, key_version: u32) -> Context {
        let context = Context::new(purpose)
            .with(&self.id.to_be_bytes())
            .with(&self.sealed_object.bucket.0.to_be_bytes())
            .with(self.sealed_object.key.as_bytes())
            .with(key_id.as_bytes())
            .with(&key_version.to_be_bytes());
        match self.mode {
            SealingMode::SseS3 => context,
            SealingMode::SseKms { context: pairs, .. } => {
                pairs.iter().fold(context, |all, (name, value)| all.with(name.as_bytes()).with(value.as_bytes()))
            }
            SealingMode::SseC { check } => context.with(check.digest()),
        }
    }
}
