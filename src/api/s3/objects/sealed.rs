//! Encryption of objects in requests: the encryption of bytes that are written, and the data key of existing bytes.

use super::super::Store;
use super::super::encryption::{
    EncryptionFields, Keys, KmsNames, RequestedEncryption, arn_to_judge, key_of_read, names_key, of_bucket, open,
    prepare, requested_encryption, rewrap, seal_key, shown, with_own_keys,
};
use crate::actors::gateway::{OpenObject, StoreError};
use crate::actors::meta::{BucketRow, MetaView, Traits};
use crate::actors::sealing::{CustomerKey, DataKey, KeyStore, SealedObject, Sealing, SealingMode};
use crate::api::identity::ROOT_ACCOUNT;
use bytes::Bytes;
use http::HeaderMap;
use s3s::{S3Error, S3Result};

/// The encryption that a write asks for, and a view of the metadata that has the keys for it.
pub struct RequestedSealing {
    asked: Option<RequestedEncryption>,
    view: MetaView,
}

/// The encryption of an object that is written; by default there is none.
#[derive(Default)]
pub struct NewSeal {
    /// The record for the metadata.
    pub record: Option<Bytes>,
    /// The key for new bytes. `None` if the object is not encrypted, or shares bytes that already are.
    pub data_key: Option<DataKey>,
    /// True if the ETag must not be the MD5 of the content.
    pub hides_tag: bool,
    pub shown: EncryptionFields,
}

impl RequestedSealing {
    /// Returns the encryption that the request asks for, or else the bucket's default. Checks that the caller may use
    /// the KMS key.
    pub async fn of(store: &Store, headers: &HeaderMap, bucket: &BucketRow, view: MetaView) -> S3Result<Self> {
        let asked = requested_encryption(headers, of_bucket(&view, bucket)?.as_ref())?;
        let view = match &asked {
            None | Some(RequestedEncryption::SseC(_)) => view,
            Some(RequestedEncryption::SseS3 | RequestedEncryption::SseKms(_)) => {
                with_own_keys(store, &store.roots, view).await?
            }
        };
        if let Some(RequestedEncryption::SseKms(kms)) = &asked {
            let keys = keys(store, &view);
            if let Some(arn) = arn_to_judge(kms.key.as_deref(), &keys.store, keys.names)? {
                store.access.may_use_key("kms:GenerateDataKey", &arn)?;
            }
        }
        Ok(Self { asked, view })
    }

    /// Makes a data key for bytes that are written.
    pub fn prepare(&self, store: &Store, sealed_object: SealedObject<'_>) -> S3Result<NewSeal> {
        let Some(asked) = &self.asked else { return Ok(NewSeal::default()) };
        let (sealing, key) = prepare(asked, keys(store, &self.view), sealed_object, store.ambient.entropy.as_ref())?;
        Ok(self.seal(&sealing, Some(key)))
    }

    /// Returns whether a copy that shares its source's bytes may keep the source's ETag: yes if both encryptions,
    /// present and new, have the plaintext's MD5 as ETag, or if neither has.
    pub fn keeps_tag_of(&self, present: Option<&Sealing>) -> bool {
        let hides = matches!(self.asked, Some(RequestedEncryption::SseKms(_) | RequestedEncryption::SseC(_)));
        hides == present.is_some_and(Sealing::hides_tag)
    }

    /// Makes the encryption of a copy that shares its source's bytes, which are sealed under `key`, or not encrypted.
    /// Returns `None` if the bytes must be rewritten.
    pub fn share(
        &self,
        store: &Store,
        key: Option<&DataKey>,
        sealed_object: SealedObject<'_>,
    ) -> S3Result<Option<NewSeal>> {
        match (&self.asked, key) {
            (None, None) => Ok(Some(NewSeal::default())),
            (Some(_), None) | (None, Some(_)) => Ok(None),
            (Some(asked), Some(key)) => {
                let keys = keys(store, &self.view);
                let sealing = seal_key(key, asked, keys, sealed_object, store.ambient.entropy.as_ref())?;
                Ok(sealing.map(|sealing| self.seal(&sealing, None)))
            }
        }
    }

    fn seal(&self, sealing: &Sealing, data_key: Option<DataKey>) -> NewSeal {
        let customer = match &self.asked {
            Some(RequestedEncryption::SseC(key)) => Some(key),
            _ => None,
        };
        let shown = shown(Some(sealing), customer);
        NewSeal { record: Some(sealing.encode()), data_key, hides_tag: sealing.hides_tag(), shown }
    }
}

/// Returns the store's keys by a view of the metadata.
fn keys<'a>(store: &'a Store, view: &'a MetaView) -> Keys<'a> {
    let names = KmsNames { region: &store.region, account: ROOT_ACCOUNT };
    Keys { store: KeyStore { roots: &store.roots, documents: view }, names }
}

/// Returns whether the KMS key that a request names is the one that an object is encrypted with. True if the request
/// names none or the object has none.
pub fn names_its_key(
    store: &Store,
    view: &MetaView,
    asked: Option<&RequestedEncryption>,
    sealing: Option<&Sealing>,
) -> S3Result<bool> {
    let (Some(RequestedEncryption::SseKms(asked)), Some(sealing)) = (asked, sealing) else { return Ok(true) };
    let (Some(reference), SealingMode::SseKms { key_id, .. }) = (&asked.key, &sealing.mode) else { return Ok(true) };
    let keys = keys(store, view);
    names_key(reference, key_id, &keys.store, keys.names)
}

/// Returns the encryption of an object version or of an upload, from its traits.
pub fn sealing_of(traits: &Traits) -> S3Result<Option<Sealing>> {
    let sealing = traits.sealing.as_deref().map(Sealing::decode).transpose();
    sealing.map_err(|error| S3Error::from(StoreError::Internal { why: error.to_string() }))
}

/// Returns the data key of stored bytes. `customer` is the customer-provided key of the request. Checks that the caller
/// may use the KMS key.
pub fn data_key(
    store: &Store,
    view: &MetaView,
    sealed_object: SealedObject<'_>,
    sealing: Option<&Sealing>,
    customer: Option<&CustomerKey>,
) -> S3Result<Option<DataKey>> {
    let Some(sealing) = sealing else { return Ok(None) };
    let keys = keys(store, view);
    if let SealingMode::SseKms { key_id, .. } = &sealing.mode
        && let Some(arn) = keys.names.arn_to_judge(key_id)
    {
        store.access.may_use_key("kms:Decrypt", &arn)?;
    }
    open(sealing, keys, sealed_object, customer).map(Some)
}

/// Checks the customer-provided key, if there is one, of a request that reads no bytes.
pub fn check_customer(
    store: &Store,
    view: &MetaView,
    sealed_object: SealedObject<'_>,
    sealing: Option<&Sealing>,
    customer: Option<&CustomerKey>,
) -> S3Result<()> {
    data_key(store, view, sealed_object, sealing.filter(|_| customer.is_some()), customer).map(drop)
}

/// Returns the object with its data key, if it is encrypted.
pub fn unsealed(
    store: &Store,
    sealed_object: SealedObject<'_>,
    object: OpenObject,
    sealing: Option<&Sealing>,
    customer: Option<&CustomerKey>,
) -> S3Result<OpenObject> {
    Ok(match data_key(store, object.view(), sealed_object, sealing, customer)? {
        Some(key) => object.with_key(key),
        None => object,
    })
}

/// Returns the encryption records of an object that is renamed, the present one and the one with the data key wrapped
/// for the new key. For an SSE-C object the request must have the customer-provided key.
pub fn rewrapped(
    store: &Store,
    view: &MetaView,
    sealed_objects: (SealedObject<'_>, SealedObject<'_>),
    traits: &Traits,
    headers: &HeaderMap,
) -> S3Result<Option<(Bytes, Bytes)>> {
    let sealing = sealing_of(traits)?;
    let customer = key_of_read(headers, sealing.as_ref())?;
    let (Some(record), Some(sealing)) = (&traits.sealing, sealing) else { return Ok(None) };
    let entropy = store.ambient.entropy.as_ref();
    let moved = rewrap(&sealing, keys(store, view), sealed_objects, customer.as_ref(), entropy)?;
    Ok(Some((record.clone(), moved.encode())))
}
