//! The changes that metadata can undergo, each decided by one entry of the log, and what each answers. A command carries
//! all that its effect depends on: time, ids and random numbers come from the proposer.

mod bounds;
mod object;

pub use bounds::{TooLarge, check_command};
pub use object::{
    AppendObject, ChangeTraits, CopyVersion, DeleteConditions, DeleteEvents, DeleteVersion, Deletion, PutObject,
    RenameObject, RenameSource, RenameToken, TraitsChange,
};

use super::record::{
    AdvanceClock, BlobRef, BucketDocument, BucketSettings, Checksum, ChecksumAlgorithm, ChecksumKind, DocumentWrite,
    ETag, EventDraft, HostRecord, NodeRecord, NodeState, ObjectHeaders, ObjectVersion, PartRow, Quota, RecoveryRecord,
    Traits, Versioning,
};
use crate::types::{
    BlobId, BucketId, Epoch, HostId, Incarnation, ManifestId, NodeId, Roles, ShardId, ShardIndex, UnixMs, UploadId,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The leader's times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTime {
    /// The date, as far as clocks say: what is made is dated by it, and nothing is destroyed by it. Never before `confirmed`.
    pub now: UnixMs,
    /// A moment that has certainly passed; 0 while none is known.
    pub confirmed: UnixMs,
}

/// One change, with the leader's times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub now: UnixMs,
    pub change: Change,
    /// Travels before the change, where it is not `now` (`codec`).
    #[serde(skip)]
    pub confirmed: UnixMs,
    /// Origin of a command that another host forwarded: travels before the encoded command, not in it (`codec`).
    #[serde(skip)]
    pub origin: Option<Origin>,
}

/// The identity of a change that was sent to the leader, so that a change sent twice is made once. The state machine
/// remembers the answers to the changes with the greatest `since`, up to a bound, and refuses any that is older than
/// those it has forgotten. So a change is never made twice, whatever clocks say and however late a copy of it arrives;
/// and no records about the hosts themselves are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// An index of the log that its proposer knew to be applied when it sent the change first.
    pub since: u64,
    /// Random.
    pub id: u128,
}

impl Command {
    /// Makes a command at a time that is confirmed itself.
    pub fn new(now: UnixMs, change: Change) -> Self {
        Self::at(LogTime { now, confirmed: now }, change)
    }

    pub fn at(LogTime { now, confirmed }: LogTime, change: Change) -> Self {
        Self { now, change, confirmed, origin: None }
    }

    /// The object's bytes, where the command carries them.
    pub fn inline(&self) -> Option<&Bytes> {
        match &self.change {
            Change::PutObject(put) => put.inline.as_ref(),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    CreateBucket(Box<CreateBucket>),
    /// Refused while the bucket has objects. Ongoing uploads do not hold it up: they are aborted with it. A bucket that was
    /// made again under the same name has another number.
    DeleteBucket {
        bucket: BucketId,
    },
    /// Changes settings of a bucket; a field that is `None` keeps its value.
    SetBucket {
        bucket: BucketId,
        versioning: Option<Versioning>,
        /// Locks can be allowed and never forbidden again.
        lock: bool,
        quota: Option<Quota>,
    },
    PutObject(Box<PutObject>),
    CopyVersion(Box<CopyVersion>),
    AppendObject(Box<AppendObject>),
    RenameObject(Box<RenameObject>),
    ChangeTraits(Box<ChangeTraits>),
    /// Several in one entry, each decided by itself; the reply has one outcome for each, in order.
    DeleteVersions {
        bucket: BucketId,
        deletes: Vec<DeleteVersion>,
    },
    CreateUpload(Box<CreateUpload>),
    PutPart(Box<PutPart>),
    CompleteUpload(Box<CompleteUpload>),
    AbortUpload {
        bucket: BucketId,
        key: String,
        upload: UploadId,
    },
    /// Nodes have durably dropped these shards of garbage blobs. Also turns the next rows of dropped lists into garbage; with
    /// nothing `gone` it does only that.
    ReclaimGarbage {
        gone: Vec<ShardId>,
    },
    /// Shards found missing, of blobs that are still referred to.
    QueueRepairs {
        missing: Vec<(BlobRef, ShardIndex)>,
    },
    /// Marks shards as durable again, each on the drive that it was repaired on: one that was moved meanwhile, or whose
    /// drive was replaced, is repaired where it is now.
    FinishRepairs {
        done: Vec<FinishedRepair>,
    },
    /// Drives of a host join, come back with another incarnation, or with another host. One that is known keeps its state, and
    /// under the same incarnation its weight and the time at which it joined. None is registered where one of them, or the
    /// host, was removed. A founder that stores nothing registers none, and is not waited for from then on.
    RegisterNodes {
        host: HostId,
        nodes: Vec<NodeRecord>,
    },
    /// A host joins, or has another name, address or domain. Another host of the same name is forgotten; its nodes go on naming
    /// it until they are registered with this one. One that was removed is refused.
    RegisterHost(HostRecord),
    /// Refused while a node is on it.
    RemoveHost {
        host: HostId,
    },
    /// Changes settings of a drive; a field that is `None` keeps its value.
    SetNode {
        node: NodeId,
        weight: Option<u32>,
        state: Option<NodeState>,
    },
    /// Refused while a blob that is referred to has a shard on it; and while shards of garbage are left on it, unless the node
    /// is `lost`.
    RemoveNode {
        node: NodeId,
        lost: bool,
    },
    /// Shards have copies elsewhere, which count from now on; answered with `Reply::Moved`. None is made if the layout is no longer
    /// of this epoch, and none twice.
    MoveShards {
        epoch: Epoch,
        moves: Vec<MovedShard>,
    },
    /// Nodes have durably dropped copies that moves left behind.
    ForgetLeftovers {
        gone: Vec<(NodeId, ShardId)>,
    },
    /// The hosts that founded the cluster, all in one, each with its `first_node`. Without effect where any host is known: they
    /// are made known once, and any of them may say so first. Thus no host is ever known before all founders are.
    FoundHosts(Vec<HostRecord>),
    /// Writes all of the documents, or none if the expectation of one does not hold.
    WriteDocuments(Vec<DocumentWrite>),
    /// A target has been told of its events up to this one.
    FinishEvents {
        target: String,
        through: u64,
    },
    /// Sets the roles of a host. May come before the host is registered, so that the host never appears with more
    /// roles.
    SetHostRoles {
        host: HostId,
        roles: Roles,
    },
    /// No fresh blob with a lesser id is adopted from now on. A fence that is lower than the one that stands does nothing.
    RaiseFence {
        below: BlobId,
    },
    AdvanceClock(AdvanceClock),
    /// A change that brings blobs, with the layout that they were written by.
    Adopt(Adoption),
    /// A host comes back as another member, with the drives that it has: they are that one's from now on, as they are. The host
    /// that it was is removed for good. Refused where that one is not registered under this name.
    RejoinHost {
        was: HostId,
        host: HostRecord,
    },
    /// The metadata group was formed anew; or what that left is given up.
    NoteRecovery(RecoveryRecord),
    /// Changes nothing: every replica computes a digest of its tables as they are after this entry, and replicas compare theirs.
    ComputeDigest,
}

impl Change {
    /// The blobs that the change adopts, if it is made. Every variant is listed, so that a new one is thought of here.
    pub fn fresh_blobs(&self) -> [Option<&BlobRef>; 2] {
        match self {
            Self::PutObject(put) => put.fresh_blobs(),
            Self::PutPart(put) => put.fresh_blobs(),
            Self::AppendObject(append) => append.fresh_blobs(),
            Self::Adopt(adoption) => adoption.change.fresh_blobs(),
            Self::CreateBucket(_)
            | Self::SetBucket { .. }
            | Self::DeleteBucket { .. }
            | Self::DeleteVersions { .. }
            | Self::CreateUpload(_)
            | Self::CompleteUpload(_)
            | Self::AbortUpload { .. }
            | Self::CopyVersion(_)
            | Self::ChangeTraits(_)
            | Self::RenameObject(_)
            | Self::WriteDocuments(_)
            | Self::FinishEvents { .. }
            | Self::ReclaimGarbage { .. }
            | Self::QueueRepairs { .. }
            | Self::FinishRepairs { .. }
            | Self::RegisterNodes { .. }
            | Self::RegisterHost(_)
            | Self::RemoveHost { .. }
            | Self::SetNode { .. }
            | Self::RemoveNode { .. }
            | Self::MoveShards { .. }
            | Self::ForgetLeftovers { .. }
            | Self::FoundHosts(_)
            | Self::SetHostRoles { .. }
            | Self::RejoinHost { .. }
            | Self::NoteRecovery(_)
            | Self::ComputeDigest
            | Self::RaiseFence { .. }
            | Self::AdvanceClock(_) => [None, None],
        }
    }

    /// Adds the layout that the change's blobs were placed by, if it brings any.
    pub fn written_by(self, layout: Epoch) -> Self {
        let change = match self {
            Self::PutObject(put) if put.manifest.body.blob().is_some() => Adopting::PutObject(put),
            Self::PutPart(put) if put.part.blob.is_some() => Adopting::PutPart(put),
            Self::AppendObject(append) => Adopting::AppendObject(append),
            other => return other,
        };
        Self::Adopt(Adoption { layout, change })
    }
}

/// A change that brings blobs, and the layout that they were written by: a shard that went to a drive which has its number since a
/// later epoch went to the one before it, and is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// The writer's ring was of this epoch before the first shard was sent.
    pub layout: Epoch,
    pub change: Adopting,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Adopting {
    PutObject(Box<PutObject>),
    PutPart(Box<PutPart>),
    AppendObject(Box<AppendObject>),
}

impl Adopting {
    fn fresh_blobs(&self) -> [Option<&BlobRef>; 2] {
        match self {
            Self::PutObject(put) => put.fresh_blobs(),
            Self::PutPart(put) => put.fresh_blobs(),
            Self::AppendObject(append) => append.fresh_blobs(),
        }
    }
}

impl PutObject {
    fn fresh_blobs(&self) -> [Option<&BlobRef>; 2] {
        [self.manifest.body.blob(), None]
    }
}

impl PutPart {
    fn fresh_blobs(&self) -> [Option<&BlobRef>; 2] {
        [self.part.blob.as_ref(), None]
    }
}

impl AppendObject {
    fn fresh_blobs(&self) -> [Option<&BlobRef>; 2] {
        [self.head.as_ref().map(|(head, _)| head), Some(&self.blob)]
    }
}

impl From<Adopting> for Change {
    fn from(adopting: Adopting) -> Self {
        match adopting {
            Adopting::PutObject(put) => Self::PutObject(put),
            Adopting::PutPart(put) => Self::PutPart(put),
            Adopting::AppendObject(append) => Self::AppendObject(append),
        }
    }
}

/// A shard that is whole again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedRepair {
    pub shard: ShardId,
    pub node: NodeId,
    /// The incarnation of `node` before the repair looked at its content; `None` if none was registered.
    pub incarnation: Option<Incarnation>,
}

/// One shard's new place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedShard {
    pub shard: ShardId,
    pub from: NodeId,
    pub to: NodeId,
    /// The incarnation of `to` when the copy was made: a replacement drive under its number does not have the copy.
    pub incarnation: Incarnation,
    /// True if the copy has all chunks; otherwise the shard is queued for repair.
    pub whole: bool,
}

/// A bucket with settings and documents from its first moment on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateBucket {
    pub name: String,
    pub region: String,
    pub owner: String,
    pub settings: BucketSettings,
    pub documents: Vec<(BucketDocument, String, Bytes)>,
}

/// Conditions on the object that a write replaces, decided when the entry is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ETagCondition {
    Any,
    Is(ETag),
    /// A tag that no object of ours can have.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateUpload {
    pub bucket: BucketId,
    pub key: String,
    pub id: UploadId,
    pub owner: String,
    pub headers: ObjectHeaders,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// The traits of the object version that the upload becomes.
    pub traits: Traits,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutPart {
    pub bucket: BucketId,
    pub key: String,
    pub upload: UploadId,
    /// `offset_bytes` and `modified` are set by the state machine.
    pub part: PartRow,
    pub missing: Vec<ShardIndex>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteUpload {
    pub bucket: BucketId,
    pub key: String,
    pub upload: UploadId,
    /// The id of the object version that the upload becomes.
    pub manifest: ManifestId,
    pub parts: Vec<CompletedPart>,
    /// The checksum of the whole object that the client gave (`FullObject` kind, or composite).
    pub expected_checksum: Option<Checksum>,
    /// The size of the whole object that the client gave.
    pub expected_size_bytes: Option<u64>,
    pub conditions: WriteConditions,
    pub event: Option<EventDraft>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedPart {
    pub number: u16,
    pub md5: [u8; 16],
    pub checksum: Option<Checksum>,
}

/// The reply to a change, made when it is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    BucketCreated {
        id: BucketId,
    },
    /// The object version that now stands.
    ObjectPut {
        object: Box<ObjectVersion>,
    },
    PartPut {
        modified: UnixMs,
    },
    Refused(Refusal),
    /// For each move, true if the shard is now where the move put it.
    Moved(Vec<bool>),
    VersionsDeleted(Vec<Result<Deletion, Refusal>>),
}

/// The reason for which a change was refused: an expected outcome, decided deterministically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("no such bucket")]
    NoSuchBucket,
    #[error("bucket exists and belongs to the caller")]
    BucketOwnedByCaller,
    #[error("bucket exists and belongs to someone else")]
    BucketOwnedByOther,
    #[error("bucket is not empty")]
    BucketNotEmpty,
    #[error("a condition of the request does not hold")]
    PreconditionFailed,
    #[error("no such key")]
    NoSuchKey,
    #[error("no such upload")]
    NoSuchUpload,
    #[error("a listed part was not uploaded, or its tag or checksum differs")]
    InvalidPart,
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    #[error("a part but the last is smaller than the minimum")]
    EntityTooSmall,
    #[error("the object is larger than the maximum")]
    EntityTooLarge,
    #[error("the checksum of the whole differs from the one given")]
    ChecksumMismatch,
    #[error("the size of the whole differs from the one given")]
    SizeMismatch,
    #[error("the request is malformed")]
    InvalidRequest,
    #[error("no such node")]
    NoSuchNode,
    #[error("the host still has nodes")]
    HostHasNodes,
    #[error("the node still holds shards")]
    NodeHoldsShards,
    /// The change may have been made before. Answers only a change with an origin.
    #[error("the change was sent too long ago to know whether it was made")]
    Forgotten,
    #[error("no such version")]
    NoSuchVersion,
    #[error("the version named is a delete marker")]
    IsDeleteMarker,
    #[error("the version is locked")]
    Locked,
    #[error("the bucket's versions cannot be locked")]
    LockNotEnabled,
    #[error("versioning cannot be suspended while versions can be locked")]
    LockNeedsVersioning,
    #[error("the bucket is full: its quota is reached")]
    QuotaExceeded,
    #[error("the source of the copy was changed")]
    SourceChanged,
    #[error("a document was changed meanwhile")]
    DocumentChanged,
    #[error("the operation needs a bucket without versions")]
    Versioned,
    #[error("the object cannot have more parts")]
    TooManyParts,
    #[error("the object's bytes cannot be added to in place")]
    NotAppendable,
    #[error("the same token was given with another rename")]
    RepeatedOtherwise,
    #[error("it was removed from the cluster")]
    Removed,
    /// The fence has passed the blob's id. Answers only a change that brings a fresh blob; sent again with another one,
    /// it may be made.
    #[error("the write was under way for so long that its shards may have been dropped")]
    Fenced,
}

/// A garbage blob, for those who ask for some.
pub type GarbageKey = BlobId;
