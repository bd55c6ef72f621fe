//! The data keys of objects: made, unwrapped and wrapped again with the store's keys or customer-provided ones.

use super::super::{Store, unexpected};
use super::internal;
use super::kms::{KmsNames, failed, resolve};
use super::requested::RequestedEncryption;
use crate::actors::meta::{Change, DocumentKey, DocumentWrite, Expect, IdentityKind, MetaView, Refusal, Reply};
use crate::actors::sealing::{
    CustomerKey, DataKey, KMS_DEFAULT_KEY, KeyPath, KeyStore, KmsWanted, NamedKey, RootKeys, SSE_S3_KEY, SealedObject,
    Sealing, SealingError, Wanted,
};
use crate::ambient::Entropy;
use s3s::S3Result;

/// The keys that the store makes for itself, with their descriptions.
const OWN_KEYS: [(&str, &str); 2] = [
    (SSE_S3_KEY, "Default key of the store: wraps the keys of objects that are encrypted without a key being named"),
    (KMS_DEFAULT_KEY, "Default key that protects objects when no other key is named"),
];

/// The store's keys, and what their ARNs are made of.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    pub store: KeyStore<'a>,
    pub names: KmsNames<'a>,
}

/// Makes the data key of an object before its bytes are written. Returns the record for the metadata, and the key.
pub fn prepare(
    asked: &RequestedEncryption,
    keys: Keys<'_>,
    sealed_object: SealedObject<'_>,
    entropy: &dyn Entropy,
) -> S3Result<(Sealing, DataKey)> {
    let wanted = wanted(asked, keys)?;
    keys.store.prepare(&wanted, sealed_object, entropy).map_err(|error| failed(error, keys.names))
}

/// Wraps the data key of a source for a copy that shares its bytes. Returns `None` if the copy cannot share them,
/// because the encryption that it asks for has another number of layers.
pub fn seal_key(
    key: &DataKey,
    asked: &RequestedEncryption,
    keys: Keys<'_>,
    sealed_object: SealedObject<'_>,
    entropy: &dyn Entropy,
) -> S3Result<Option<Sealing>> {
    let wanted = wanted(asked, keys)?;
    match keys.store.seal_key(key, &wanted, sealed_object, entropy) {
        Ok(sealing) => Ok(Some(sealing)),
        Err(SealingError::LayersDiffer) => Ok(None),
        Err(error) => Err(failed(error, keys.names)),
    }
}

/// Unwraps the data key of an object before its bytes are read, or of an upload before a part is written.
pub fn open(
    sealing: &Sealing,
    keys: Keys<'_>,
    sealed_object: SealedObject<'_>,
    customer: Option<&CustomerKey>,
) -> S3Result<DataKey> {
    keys.store.open(sealing, sealed_object, customer).map_err(|error| failed(error, keys.names))
}

/// Wraps the data key of an object that is renamed. `sealed_objects`: under its present name, and under the new one.
pub fn rewrap(
    sealing: &Sealing,
    keys: Keys<'_>,
    sealed_objects: (SealedObject<'_>, SealedObject<'_>),
    customer: Option<&CustomerKey>,
    entropy: &dyn Entropy,
) -> S3Result<Sealing> {
    keys.store.rewrap(sealing, sealed_objects, customer, entropy).map_err(|error| failed(error, keys.names))
}

fn wanted(asked: &RequestedEncryption, keys: Keys<'_>) -> S3Result<Wanted> {
    Ok(match asked {
        RequestedEncryption::SseS3 => Wanted::SseS3,
        RequestedEncryption::SseC(customer) => Wanted::SseC(customer.clone()),
        RequestedEncryption::SseKms(kms) => {
            let resolved = resolve(kms.key.as_deref(), &keys.store, keys.names)?;
            Wanted::SseKms(KmsWanted {
                key_id: resolved.key_id,
                shown: resolved.shown,
                context: kms.context.clone(),
                bucket_key: kms.bucket_key,
                dual_layer: kms.dual_layer,
            })
        }
    })
}

/// Makes the store's own keys if they do not exist. Returns the view, or a later one that has them. Must be called
/// before `prepare`.
pub async fn with_own_keys(store: &Store, roots: &RootKeys, view: MetaView) -> S3Result<MetaView> {
    let mut made = false;
    for (id, description) in OWN_KEYS {
        let key = DocumentKey::Identity(IdentityKind::SealingKey, KeyPath::Key(id).to_string());
        if view.document(&key)?.is_some() {
            continue;
        }
        let now = store.ambient.clock.unix_ms();
        let named = NamedKey::create(id, description, now, roots, store.ambient.entropy.as_ref());
        let named = named.map_err(|error| internal(&error))?;
        let write = DocumentWrite { key, expect: Expect::Absent, value: Some(named.encode()) };
        match store.gateway().meta().propose(Change::WriteDocuments(vec![write])).await? {
            // `DocumentChanged`: another host made the key first, and that one is used.
            Reply::Done | Reply::Refused(Refusal::DocumentChanged) => made = true,
            Reply::Refused(refusal) => return Err(refusal.into()),
            reply => return Err(unexpected(&reply)),
        }
    }
    if made { Ok(store.gateway().meta().read().await?) } else { Ok(view) }
}
