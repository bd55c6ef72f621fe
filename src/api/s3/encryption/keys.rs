//! The keys that requests ask for, by way of the store's keys.

use super::super::{Store, unexpected};
use super::asked::EncryptionAsked;
use super::internal;
use super::kms::{KmsNames, failed, resolve};
use crate::actors::meta::{Change, DocumentKey, DocumentWrite, Expect, IdentityKind, MetaView, Refusal, Reply};
use crate::actors::sealing::{
    CustomerKey, DataKey, KMS_DEFAULT_KEY, KeyPath, KeyStore, KmsWanted, NamedKey, Place, RootKeys, SSE_S3_KEY,
    Sealing, SealingError, Wanted,
};
use crate::ambient::Entropy;
use s3s::S3Result;

/// The keys that the store made for itself, and what they are for.
const OWN_KEYS: [(&str, &str); 2] = [
    (SSE_S3_KEY, "Default key of the store: wraps the keys of objects that are encrypted without a key being named"),
    (KMS_DEFAULT_KEY, "Default key that protects objects when no other key is named"),
];

/// The store's keys, and how they are named.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    pub store: KeyStore<'a>,
    pub names: KmsNames<'a>,
}

/// Makes the data key before bytes are written; returns the record for the metadata, and the key.
pub fn prepare(
    asked: &EncryptionAsked,
    keys: Keys<'_>,
    place: Place<'_>,
    entropy: &dyn Entropy,
) -> S3Result<(Sealing, DataKey)> {
    let wanted = wanted(asked, keys)?;
    keys.store.prepare(&wanted, place, entropy).map_err(|error| failed(error, keys.names))
}

/// Wraps the data key for a copy that shares its source's bytes. `None` if it cannot share, since it needs another
/// number of layers.
pub fn seal_key(
    key: &DataKey,
    asked: &EncryptionAsked,
    keys: Keys<'_>,
    place: Place<'_>,
    entropy: &dyn Entropy,
) -> S3Result<Option<Sealing>> {
    let wanted = wanted(asked, keys)?;
    match keys.store.seal_key(key, &wanted, place, entropy) {
        Ok(sealing) => Ok(Some(sealing)),
        Err(SealingError::LayersDiffer) => Ok(None),
        Err(error) => Err(failed(error, keys.names)),
    }
}

/// Unwraps the data key before bytes are read, or a part is written.
pub fn open(sealing: &Sealing, keys: Keys<'_>, place: Place<'_>, customer: Option<&CustomerKey>) -> S3Result<DataKey> {
    keys.store.open(sealing, place, customer).map_err(|error| failed(error, keys.names))
}

/// Wraps the data key for an object's new name: the first place is the present one, the second the new one.
pub fn rewrap(
    sealing: &Sealing,
    keys: Keys<'_>,
    places: (Place<'_>, Place<'_>),
    customer: Option<&CustomerKey>,
    entropy: &dyn Entropy,
) -> S3Result<Sealing> {
    keys.store.rewrap(sealing, places, customer, entropy).map_err(|error| failed(error, keys.names))
}

fn wanted(asked: &EncryptionAsked, keys: Keys<'_>) -> S3Result<Wanted> {
    Ok(match asked {
        EncryptionAsked::SseS3 => Wanted::SseS3,
        EncryptionAsked::SseC(customer) => Wanted::SseC(customer.clone()),
        EncryptionAsked::SseKms(kms) => {
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

/// The view, or a later one in which the store has the keys that it makes for itself. To be called before `prepare`.
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
        match store.gateway.meta().propose(Change::WriteDocuments(vec![write])).await? {
            // Or another host was first: the keys that it made are as good.
            Reply::Done | Reply::Refused(Refusal::DocumentChanged) => made = true,
            Reply::Refused(refusal) => return Err(refusal.into()),
            reply => return Err(unexpected(&reply)),
        }
    }
    if made { Ok(store.gateway.meta().read().await?) } else { Ok(view) }
}
