//! The context of a change and its decision: an answer, and the documents to write, each with its precondition. Nothing
//! is written here; after a conflict the caller decides again.

use crate::actors::meta::{DocumentKey, DocumentRow, DocumentWrite, Expect, IdentityKind, KvError};
use crate::ambient::Ambient;
use crate::api::identity::directory::{Directory, Documents, DocumentsPage};
use crate::api::identity::error::IdentityError;
use crate::api::identity::records::{self, Record, encode};
use crate::api::identity::secrets::SecretSeal;
use crate::types::UnixMs;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The context of a change: stored documents, time, randomness, and the seal of secrets.
#[derive(Clone, Copy)]
pub struct Editor<'a> {
    pub directory: Directory<'a>,
    pub ambient: &'a Ambient,
    pub seal: &'a dyn SecretSeal,
}

impl Editor<'_> {
    pub fn now(&self) -> UnixMs {
        self.ambient.clock.unix_ms()
    }
}

/// A change, decided. Without writes there is nothing to change.
#[derive(Clone, Debug)]
pub struct Decided<T> {
    pub writes: Vec<DocumentWrite>,
    pub answer: T,
}

pub type Decision<T> = Result<Decided<T>, IdentityError>;

impl<T> Decided<T> {
    pub fn new(writes: Vec<DocumentWrite>, answer: T) -> Self {
        Self { writes, answer }
    }
}

pub fn write<R: Record>(record: &R, expect: Expect) -> DocumentWrite {
    DocumentWrite { key: records::key_of::<R>(&record.path()), expect, value: Some(encode(record)) }
}

pub fn remove<R: Record>(record: &R, expect: Expect) -> DocumentWrite {
    DocumentWrite { key: records::key_of::<R>(&record.path()), expect, value: None }
}

/// The documents as they would be after some writes: so that several decisions make one change.
pub struct Draft<'a> {
    base: &'a dyn Documents,
    /// The preconditions on the documents below the draft, and their new values.
    written: BTreeMap<DocumentKey, (Expect, Option<Bytes>)>,
}

impl<'a> Draft<'a> {
    pub fn new(base: &'a dyn Documents) -> Self {
        Self { base, written: BTreeMap::new() }
    }

    /// Adds a decision's writes. One of a document that is written already stands in the earlier one's place.
    pub fn add(&mut self, writes: Vec<DocumentWrite>) {
        for DocumentWrite { key, expect, value } in writes {
            self.written.entry(key).and_modify(|(_, written)| *written = value.clone()).or_insert((expect, value));
        }
    }

    pub fn into_writes(self) -> Vec<DocumentWrite> {
        self.written.into_iter().map(|(key, (expect, value))| DocumentWrite { key, expect, value }).collect()
    }
}

impl Documents for Draft<'_> {
    fn document(&self, key: &DocumentKey) -> Result<Option<DocumentRow>, KvError> {
        match self.written.get(key) {
            // The revision is of no account: the expectation of the earlier write is what counts.
            Some((_, value)) => Ok(value.clone().map(|value| DocumentRow { revision: 0, value })),
            None => self.base.document(key),
        }
    }

    /// Beneath the draft: decisions on single identities list nothing.
    fn identity_documents(
        &self,
        kind: IdentityKind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<DocumentsPage, KvError> {
        self.base.identity_documents(kind, prefix, after, limit)
    }
}
