//! A bucket's configuration documents as operations read and write them: from one view, and by one entry of the
//! metadata log. Who writes last wins, as in S3; of a document that holds several of S3's configurations each is changed
//! on its own.

use super::{Store, unexpected};
use crate::actors::documents::{DocumentError, decode, encode};
use crate::actors::gateway::StoreError;
use crate::actors::meta::{Change, DocumentKey, DocumentWrite, Expect, MetaView, Refusal, Reply};
use crate::api::errors::Fault;
use crate::api::memo::Made;
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

/// `None` where there is no such document.
pub fn load<T: DeserializeOwned>(view: &MetaView, key: &DocumentKey) -> S3Result<Option<T>> {
    Ok(load_sized(view, key)?.value)
}

/// Loads a document, with its size.
pub fn load_sized<T: DeserializeOwned>(view: &MetaView, key: &DocumentKey) -> S3Result<Made<Option<T>>> {
    let row = view.document(key)?;
    let bytes = row.as_ref().map_or(0, |row| row.value.len());
    Ok(Made { value: row.map(|row| decode(&row.value)).transpose()?, bytes })
}

/// Replaces whatever is there.
pub async fn save<T: Serialize>(store: &Store, key: DocumentKey, value: &T) -> S3Result<()> {
    store.check_writable()?;
    let value = encode(value)?;
    write(store, DocumentWrite { key, expect: Expect::Any, value: Some(value) }).await
}

/// Removes the document; its absence is not an error.
pub async fn remove(store: &Store, key: DocumentKey) -> S3Result<()> {
    store.check_changeable()?;
    write(store, DocumentWrite { key, expect: Expect::Any, value: None }).await
}

/// Changes a part of what is there, or of what stands for no document; decided anew where somebody else was faster. A
/// full store takes it, so that what is open can be closed.
pub async fn update<T, F>(store: &Store, key: DocumentKey, change: F) -> S3Result<()>
where
    T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
    F: Fn(T) -> Result<T, Fault>,
{
    store.check_changeable()?;
    for _ in 0..TRIES_MAX {
        let Some(write) = changed(&store.view().await?, &key, &change)? else { return Ok(()) };
        match store.gateway.meta().propose(Change::WriteDocuments(vec![write])).await? {
            Reply::Done => return Ok(()),
            Reply::Refused(Refusal::DocumentChanged) => {}
            Reply::Refused(refusal) => return Err(refusal.into()),
            reply => return Err(unexpected(&reply)),
        }
    }
    Err(Fault::OperationAborted.into())
}

/// `None` where the change changes nothing.
fn changed<T, F>(view: &MetaView, key: &DocumentKey, change: &F) -> S3Result<Option<DocumentWrite>>
where
    T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
    F: Fn(T) -> Result<T, Fault>,
{
    let (expect, stands) = match view.document(key)? {
        Some(row) => (Expect::Revision(row.revision), decode(&row.value)?),
        None => (Expect::Absent, T::default()),
    };
    let becomes = change(stands.clone())?;
    if becomes == stands {
        return Ok(None);
    }
    Ok(Some(DocumentWrite { key: key.clone(), expect, value: Some(encode(&becomes)?) }))
}

async fn write(store: &Store, write: DocumentWrite) -> S3Result<()> {
    match store.propose(Change::WriteDocuments(vec![write])).await? {
        Reply::Done => Ok(()),
        reply => Err(unexpected(&reply)),
    }
}
