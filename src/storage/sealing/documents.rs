//! The source of the documents of named keys and aliases: a view of the metadata.

use super::store::KeyDocuments;
use crate::storage::kv::KvResult;
use crate::storage::meta::record::{DocumentKey, IdentityKind};
use crate::storage::meta::view::MetaView;
use bytes::Bytes;

impl KeyDocuments for MetaView {
    fn key_document(&self, path: &str) -> KvResult<Option<Bytes>> {
        let key = DocumentKey::Identity(IdentityKind::SealingKey, path.to_owned());
        Ok(self.document(&key)?.map(|row| row.value))
    }
}
