//! Documents: small rows of configuration, written by comparing and swapping, several in one change. What is in one is its
//! owner's affair; the state machine only keeps them.

use crate::types::BucketId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A document's name. A bucket's documents go with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DocumentKey {
    /// A document of a bucket, with a name if a bucket can have several of the kind, else an empty one.
    Bucket(BucketId, BucketDocument, String),
    /// A document of an identity, with the path within the kind.
    Identity(IdentityKind, String),
    System(String),
}

/// Kinds of documents that buckets have. Their order is that of their keys: new ones are appended.
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
    Quota,
    Replication,
    Accelerate,
    RequestPayment,
    Analytics,
    Metrics,
    IntelligentTiering,
    ObjectLock,
    Ownership,
    /// Recent renames by their tokens: the state machine's own document.
    Renames,
    /// Limits on the rates of requests and bytes.
    RateLimits,
}

/// Kinds of documents about who there is. New ones are appended.
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
    /// Keys that objects' keys are sealed with.
    SealingKey,
    /// Limits on the rates of requests and bytes of accounts.
    RateLimits,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRow {
    /// Another after each write.
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
    /// `None` removes it.
    pub value: Option<Bytes>,
}
