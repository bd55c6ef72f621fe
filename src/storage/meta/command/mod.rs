//! The changes of the metadata and their replies. Each change is decided when its entry of the log is applied. A
//! command carries all that its effect depends on: time, ids and random numbers come from the proposer.

mod bounds;
mod object;

pub use bounds::{TooLarge, check_command};
pub use object::{
    AppendObject, ChangeTraits, CopyVersion, DeleteConditions, DeleteEvents, DeleteVersion, Deletion, PutObject,
    RenameObject, RenameSource, RenameToken, TraitsChange, VersionRank,
};

use super::record::{
    AdvanceClock, BlobRef, BucketDocument, BucketSettings, Checksum, ChecksumAlgorithm, ChecksumKind, DocumentWrite,
    ETag, EventDraft, HostRecord, NodeRecord, NodeState, ObjectHeaders, ObjectLock, ObjectVersion, PartRow,
    QuotaChange, RecoveryRecord, Traits, Versioning,
};
use crate::types::{
    BlobId, BucketId, Epoch, HostId, Incarnation, ManifestId, NodeId, Roles, ShardId, ShardNumber, UnixMs, UploadId,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The leader's times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTime {
    /// The agreed wall time: new things are dated by it, and nothing is destroyed by it. Never before `confirmed`.
    pub now: UnixMs,
    /// A moment that has certainly passed; 0 while none is known.
    pub confirmed: UnixMs,
}

/// One change, with the leader's times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub now: UnixMs,
    pub change: Change,
    /// Encoded before the command, not in it (`codec`).
    #[serde(skip)]
    pub confirmed: UnixMs,
    /// The origin of a command that another host forwarded. Encoded before the command, not in it (`codec`).
    #[serde(skip)]
    pub origin: Option<Origin>,
}

/// The identity of a change that was forwarded to the leader, by which a change that was sent twice is made once. The
/// state machine remembers the answers to the changes with the greatest `since`, up to a bound, and refuses every
/// change with a lesser `since` that is not among them. So a change is never made twice, whatever the clocks, and
/// however late a copy of it arrives; and no records about the hosts themselves are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The index of an entry that the proposer knew to be applied when it first sent the change.
    pub since: u64,
    /// Random.
    pub id: u128,
}

impl Command {
    /// Creates a command whose date is the confirmed time, too.
    pub fn new(now: UnixMs, change: Change) -> Self {
        Self::at(LogTime { now, confirmed: now }, change)
    }

    pub fn at(LogTime { now, confirmed }: LogTime, change: Change) -> Self {
        Self { now, change, confirmed, origin: None }
    }

    /// Returns the object's bytes, if the command carries them.
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
    /// Deletes a bucket. Refused while it has objects or other versions. Ongoing uploads do not prevent it: they are
    /// aborted. A bucket that is created again under the same name has another number.
    DeleteBucket {
        bucket: BucketId,
    },
    /// Changes settings of a bucket; a field that is `None` keeps its value.
    SetBucket {
        bucket: BucketId,
        versioning: Option<Versioning>,
        /// Allows locks, which cannot be forbidden again, or replaces the default retention.
        lock: Option<ObjectLock>,
        quota: QuotaChange,
    },
    PutObject(Box<PutObject>),
    CopyVersion(Box<CopyVersion>),
    AppendObject(Box<AppendObject>),
    RenameObject(Box<RenameObject>),
    ChangeTraits(Box<ChangeTraits>),
    /// Deletes several versions in one entry, each decided by itself. The reply has one outcome for each, in order.
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
    /// Records that nodes have durably dropped these shards of garbage blobs. Also turns the next rows of dropped lists
    /// into garbage; if `gone` is empty, it does only that.
    ReclaimGarbage {
        gone: Vec<ShardId>,
    },
    /// Queues repairs of shards that were found missing, if something still refers to their blobs.
    QueueRepairs {
        missing: Vec<(BlobRef, ShardNumber)>,
    },
    /// Ends the repairs of shards, each on the drive where it was repaired. If a shard was moved meanwhile, or its
    /// drive was replaced, it stays queued.
    FinishRepairs {
        done: Vec<FinishedRepair>,
    },
    /// Registers drives of a host: new ones, or known ones with another incarnation or host. A known drive keeps its
    /// state, and under the same incarnation its weight and joining time. No drive is registered if one of them, or the
    /// host, was removed. A founder that stores nothing registers none, and is not awaited any more.
    RegisterNodes {
        host: HostId,
        nodes: Vec<NodeRecord>,
    },
    /// Registers a host, or a change of its name, address or domain. Another host of the same name is removed for good;
    /// its drives name it until they are registered with this one. A host that was removed is refused.
    RegisterHost(HostRecord),
    /// Removes a host. Refused while it has a node.
    RemoveHost {
        host: HostId,
    },
    /// Changes settings of a drive; a field that is `None` keeps its value.
    SetNode {
        node: NodeId,
        weight: Option<u32>,
        state: Option<NodeState>,
    },
    /// Removes a drive. Refused while a shard of a blob that something refers to is placed on it. Unless the drive is
    /// `lost`, also refused while shards of garbage or leftovers of moves are on it.
    RemoveNode {
        node: NodeId,
        lost: bool,
    },
    /// Moves shards to nodes that already have copies, which count from now on. Answered with `Reply::Moved`. No shard
    /// is moved if the layout has another epoch by now, and none twice.
    MoveShards {
        epoch: Epoch,
        moves: Vec<MovedShard>,
    },
    /// Records that nodes have durably dropped copies that moves left behind.
    ForgetLeftovers {
        gone: Vec<(NodeId, ShardId)>,
    },
    /// Registers the hosts that founded the cluster, all in one change, each with its `first_node`. Has no effect if
    /// any host is known: every founder may propose this, and only the first proposal counts. So no host is ever known
    /// before all founders are.
    FoundHosts(Vec<HostRecord>),
    /// Writes all of the documents, or none if the expectation of one does not hold.
    WriteDocuments(Vec<DocumentWrite>),
    /// Removes the events of a target up to this one, because they were delivered; a bounded number at once.
    FinishEvents {
        target: String,
        through: u64,
    },
    /// Sets the roles of a host. It may precede the registration of the host, so that the host never appears with more
    /// roles than it has.
    SetHostRoles {
        host: HostId,
        roles: Roles,
    },
    /// Raises the fence: from now on, no fresh blob with a lesser id is adopted. A fence that is lower than the present
    /// one has no effect.
    RaiseFence {
        below: BlobId,
    },
    AdvanceClock(AdvanceClock),
    /// Makes a change that brings fresh blobs, with the layout by which they were written.
    Adopt(Adoption),
    /// Registers a host that comes back as another member. The drives of its former member belong to the new one from
    /// now on, unchanged. The former member is removed for good. Refused if the former member is not registered under
    /// this name.
    RejoinHost {
        was: HostId,
        host: HostRecord,
    },
    /// Records that the metadata group was formed anew, or that an operator gave up the shards of unknown blobs that
    /// were kept since.
    NoteRecovery(RecoveryRecord),
    /// Changes nothing. Every replica computes a digest of its tables as they are after this entry, and replicas
    /// compare their digests.
    ComputeDigest,
}

impl Change {
    /// Returns the blobs that the change adopts if it is made. The match lists every variant, so that a new one cannot
    /// be forgotten here.
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

    /// Adds the epoch of the layout by which the change's blobs were placed, if it brings any.
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

/// A change that brings fresh blobs, and the layout by which they were written. If a node id was given to its present
/// drive in a later epoch, the shard was sent to the former drive, and is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// The epoch of the writer's ring before the first shard was sent.
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
    /// The incarnation of `node` before the repair read the drive's content; `None` if none was registered.
    pub incarnation: Option<Incarnation>,
}

/// A move of one shard to another node.
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

/// The creation of a bucket, with its first settings and documents.
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
    /// An ETag that no object of this store can have.
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
    pub missing: Vec<ShardNumber>,
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
    /// The object version as it is after the change.
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

/// The answer to a change that another host forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRow {
    pub reply: Reply,
}

/// The reason why a change was refused. This is an expected outcome, decided deterministically.
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
    #[error("a part other than the last is smaller than the minimum")]
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
    #[error("Object Lock is not enabled for this bucket")]
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
    #[error("bytes cannot be appended to this object in place")]
    NotAppendable,
    #[error("the same token was given with another rename")]
    RepeatedOtherwise,
    #[error("the host or drive was removed from the cluster")]
    Removed,
    /// The fence has passed the blob's id. Answers only a change that brings a fresh blob; sent again with another one,
    /// it may be made.
    #[error("the write was under way for so long that its shards may have been dropped")]
    Fenced,
    #[error("copies refer to the object's parts, which are too many to be copied for an append")]
    PartsShared,
    #[error("the account has as many buckets as an account may have")]
    TooManyBuckets,
}
