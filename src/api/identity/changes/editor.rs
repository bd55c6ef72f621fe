//! The input of a change (`Editor`) and its result (`Decided`): an answer, and the documents to write, each with its
//! precondition. Nothing is written here; after a conflict the caller decides again.

use crate::actors::meta::{DocumentKey, DocumentRow, DocumentWrite, Expect, IdentityKind, KvError};
use crate::ambient::Ambient;
use crate::api::identity::directory::{Directory, Documents, DocumentsPage};
use crate::api::identity::error::IdentityError;
use crate::api::identity::records::{self, Record, encode};
use crate::api::identity::secrets::SecretSeal;
use crate::types::UnixMs;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The input of every change: stored documents, time, randomness, and the seal of secrets.
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

/// A decided change. An empty list of writes means that there is nothing to change.
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

/// A view of the documents with the writes of earlier decisions applied, so that several decisions can form one change.
pub struct Draft<'a> {
    base: &'a dyn Documents,
    /// The written documents: each with its precondition on the base, and its new value.
    written: BTreeMap<DocumentKey, (Expect, Option<Bytes>)>,
}

impl<'a> Draft<'a> {
    pub fn new(base: &'a dyn Documents) -> Self {
        Self { base, written: BTreeMap::new() }
    }

    /// Adds the writes of a decision. A second write of a document replaces the value of the first and keeps its
    /// precondition.
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
            // The revision is not used: `add` keeps the precondition of the first write.
            Some((_, value)) => Ok(value.clone().map(|value| DocumentRow { revision: 0, value })),
            None => self.base.document(key),
        }
    }

    /// Lists the base without the draft: the decisions that are combined read single documents only.
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
