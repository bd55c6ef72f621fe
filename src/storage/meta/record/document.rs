//! Documents: small rows, mostly of configuration, written by compare-and-swap, several in one change. A document is
//! encoded by its owner; the state machine stores it without reading it, except `Renames`.

use crate::limits::CONFIGURATIONS_OF_A_KIND_MAX;
use crate::types::BucketId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The key of a document. A bucket's documents are removed with the bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DocumentKey {
    /// A document of a bucket, with a name if a bucket can have several of the kind, else an empty one.
    Bucket(BucketId, BucketDocument, String),
    /// A document of an identity, with the path within the kind.
    Identity(IdentityKind, String),
    System(String),
}

/// The kinds of documents of a bucket. Keys contain the number of a kind, so that new kinds are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum BucketDocument {
    /// Access settings: policy, grants, ownership, public access block.
    Access,
    Cors,
    Lifecycle,
    Website,
    Tagging,
    Encryption,
    Notification,
    Logging,
    Inventory,
    Accelerate,
    RequestPayment,
    Analytics,
    Metrics,
    IntelligentTiering,
    /// Recent RenameObject calls by client token, so that a retry is recognised. Written only when entries are applied,
    /// never by compare-and-swap.
    Renames,
    /// Limits on the rates of requests and bytes.
    RateLimits,
}

impl BucketDocument {
    /// Returns the most documents of the kind that a bucket may have; `None` for the kinds that have no ids.
    pub fn count_max(self) -> Option<usize> {
        let is_named = matches!(self, Self::Inventory | Self::Analytics | Self::Metrics | Self::IntelligentTiering);
        is_named.then_some(CONFIGURATIONS_OF_A_KIND_MAX)
    }
}

/// The kinds of documents about identities and accounts. Keys contain the number of a kind, so that new kinds are
/// appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum IdentityKind {
    Account,
    User,
    Group,
    AccessKey,
    Policy,
    Role,
    Provider,
    Session,
    /// Named keys that wrap the data keys of objects.
    SealingKey,
    /// Limits on the rates of requests and bytes of accounts.
    RateLimits,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRow {
    /// Changes with each write.
    pub revision: u64,
    pub value: Bytes,
}

/// The precondition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expect {
    Any,
    Absent,
    Present,
    Revision(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentWrite {
    pub key: DocumentKey,
    pub expect: Expect,
    /// `None` removes the document.
    pub value: Option<Bytes>,
}
