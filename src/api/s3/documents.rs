//! Reads and writes of configuration documents. A read uses one view of the metadata, a write is one entry of its log.
//! As in S3, the last writer wins. A document that holds several of S3's configurations is changed by compare-and-swap,
//! so that concurrent changes of different configurations are all kept.

use super::{Store, unexpected};
use crate::actors::documents::{DocumentError, decode, encode};
use crate::actors::gateway::StoreError;
use crate::actors::meta::{
    BucketDocument, BucketRow, Change, DocumentKey, DocumentWrite, Expect, MetaView, Refusal, Reply,
};
use crate::api::cache::Made;
use crate::api::errors::Fault;
use s3s::{S3Error, S3Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The number of attempts of a change that conflicts with other changes of the document.
const TRIES_MAX: usize = 8;

impl From<DocumentError> for S3Error {
    fn from(error: DocumentError) -> Self {
        StoreError::Internal { why: error.to_string() }.into()
    }
}

/// Returns the key of a document of which a bucket has at most one.
pub fn bucket_document(bucket: &BucketRow, kind: BucketDocument) -> DocumentKey {
    DocumentKey::Bucket(bucket.bucket.id, kind, String::new())
}

/// Returns a document; `None` if it does not exist.
pub fn load<T: DeserializeOwned>(view: &MetaView, key: &DocumentKey) -> S3Result<Option<T>> {
    Ok(load_sized(view, key)?.value)
}

/// Returns a document, with its stored size in bytes.
pub fn load_sized<T: DeserializeOwned>(view: &MetaView, key: &DocumentKey) -> S3Result<Made<Option<T>>> {
    let row = view.document(key)?;
    let bytes = row.as_ref().map_or(0, |row| row.value.len());
    Ok(Made { value: row.map(|row| decode(&row.value)).transpose()?, bytes })
}

/// Writes a document, and replaces the existing one.
pub async fn save<T: Serialize>(store: &Store, key: DocumentKey, value: &T) -> S3Result<()> {
    store.check_writable()?;
    let value = encode(value)?;
    write(store, DocumentWrite { key, expect: Expect::Any, value: Some(value) }).await
}

/// Writes a document like `save`, one of several of its kind. Returns the fault `full` if the bucket has as many as it
/// may have: documents are counted where a write is applied.
pub async fn save_one_of<T: Serialize>(store: &Store, key: DocumentKey, value: &T, full: Fault) -> S3Result<()> {
    store.check_writable()?;
    let write = DocumentWrite { key, expect: Expect::Any, value: Some(encode(value)?) };
    match store.gateway.meta().propose(Change::WriteDocuments(vec![write])).await? {
        Reply::Done => Ok(()),
        // It expects no document, so it was refused for their number.
        Reply::Refused(Refusal::DocumentChanged) => Err(full.into()),
        Reply::Refused(refusal) => Err(refusal.into()),
        reply => Err(unexpected(&reply)),
    }
}

/// Removes the document; its absence is not an error.
pub async fn remove(store: &Store, key: DocumentKey) -> S3Result<()> {
    store.check_changeable()?;
    write(store, DocumentWrite { key, expect: Expect::Any, value: None }).await
}

/// Changes a part of a document, or of the default value if it does not exist. If another change comes first, `change`
/// is applied to the new value. A full store accepts the change, so that access can still be restricted.
pub async fn update<T, F>(store: &Store, key: DocumentKey, change: F) -> S3Result<()>
where
    T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
    F: Fn(T) -> Result<T, Fault>,
{
    store.check_changeable()?;
    for _ in 0..TRIES_MAX {
        let Some(write) = changed(&store.view().await?, &key, &change)? else { return Ok(()) };
        match store.gateway().meta().propose(Change::WriteDocuments(vec![write])).await? {
            Reply::Done => return Ok(()),
            Reply::Refused(Refusal::DocumentChanged) => {}
            Reply::Refused(refusal) => return Err(refusal.into()),
            reply => return Err(unexpected(&reply)),
        }
    }
    Err(Fault::OperationAborted.into())
}

/// Returns the write that a change makes; `None` if the value stays the same.
fn changed<T, F>(view: &MetaView, key: &DocumentKey, change: &F) -> S3Result<Option<DocumentWrite>>
where
    T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
    F: Fn(T) -> Result<T, Fault>,
{
    let (expect, present) = match view.document(key)? {
        Some(row) => (Expect::Revision(row.revision), decode(&row.value)?),
        None => (Expect::Absent, T::default()),
    };
    let next = change(present.clone())?;
    if next == present {
        return Ok(None);
    }
    Ok(Some(DocumentWrite { key: key.clone(), expect, value: Some(encode(&next)?) }))
}

async fn write(store: &Store, write: DocumentWrite) -> S3Result<()> {
    match store.propose(Change::WriteDocuments(vec![write])).await? {
        Reply::Done => Ok(()),
        reply => Err(unexpected(&reply)),
    }
}
