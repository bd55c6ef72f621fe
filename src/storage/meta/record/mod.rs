//! The rows of the metadata tables: buckets, object versions (manifests), parts, uploads, garbage, repairs. Only their
//! shapes are here; `codec` has their encodings, and `apply` their rules.

mod bucket;
mod clock;
mod document;
mod event;
mod object;

pub use bucket::{
    BucketRow, BucketSettings, DefaultRetention, ObjectLock, OwnerRow, Quota, QuotaChange, RetentionPeriod, Usage,
    Versioning,
};
pub use clock::{AdvanceClock, ClockRecord, ClockSetting, ClockSource};
pub use document::{BucketDocument, DocumentKey, DocumentRow, DocumentWrite, Expect, IdentityKind};
pub use event::{EventDraft, EventRow};
pub use object::{
    Acl, DeleteMarker, Grant, Grantee, NullVersionRow, ObjectVersion, Permission, Pick, Retention, RetentionMode,
    SharedRow, Traits, UploadRow, Version, VersionRow,
};

pub use crate::storage::checksum::{ChecksumAlgorithm, ChecksumKind};

use crate::storage::ring::{Layout, LayoutNode};
use crate::types::{
    BlobId, BucketId, Epoch, Geometry, HostId, Incarnation, ManifestId, NodeId, RecoveryEpoch, Roles, ShardNumber,
    UnixMs, UploadId,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    pub id: BucketId,
    pub name: String,
    pub region: String,
    /// The canonical id of the account that created the bucket; `root` for the store's own account.
    pub owner: String,
    pub created: UnixMs,
}

/// The record of an object version: size, ETag, checksum, headers, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub id: ManifestId,
    pub size_bytes: u64,
    pub etag: ETag,
    /// Set by the state machine from the command's time.
    pub modified: UnixMs,
    pub headers: ObjectHeaders,
    pub checksum: Option<Checksum>,
    pub body: Body,
}

impl Manifest {
    /// Returns the id under which the rows of the parts are stored, and their number; `None` if the version is not made
    /// of parts.
    pub fn parts(&self) -> Option<(ManifestId, u16)> {
        match self.body {
            Body::Parts { count } => Some((self.id, count)),
            Body::PartsOf { list, count } | Body::Appended { list, count } => Some((list, count)),
            Body::Empty | Body::Inline | Body::Blob(_) => None,
        }
    }

    /// Returns whether the version was made by an append, so that more appends are to be expected.
    pub fn is_appended(&self) -> bool {
        matches!(self.body, Body::Appended { .. })
    }
}

/// The place of an object version's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// No bytes at all.
    Empty,
    /// Bytes in the inline table, under the manifest's id.
    Inline,
    /// One blob: a single PUT.
    Blob(BlobRef),
    /// Part rows under the manifest's id, by their offset; `count` of them.
    Parts { count: u16 },
    /// Part rows under another manifest's id: the version is a copy.
    PartsOf { list: ManifestId, count: u16 },
    /// Like `PartsOf`, of a version that was made by an append, or of a copy of such a version.
    Appended { list: ManifestId, count: u16 },
}

impl Body {
    /// Returns the blob, if the bytes are in a single one.
    pub fn blob(&self) -> Option<&BlobRef> {
        match self {
            Self::Blob(blob) => Some(blob),
            Self::Empty | Self::Inline | Self::Parts { .. } | Self::PartsOf { .. } | Self::Appended { .. } => None,
        }
    }
}

/// A stored blob, with all that is needed to read it, whatever the ring is today. `placement[i]` is the node of shard
/// `i`. The placement changes when shards are moved, and is therefore kept in one place, the table `blobs`; it is empty
/// in a stored manifest or part (see `MetaView::placement`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    pub id: BlobId,
    pub size_bytes: u64,
    pub geometry: Geometry,
    pub placement: Vec<NodeId>,
}

impl BlobRef {
    /// Returns the reference as a manifest or a part stores it.
    pub fn without_placement(self) -> Self {
        Self { placement: Vec::new(), ..self }
    }

    /// Returns whether the blob, once this shard is on that node, could not be read without one of its nodes or hosts,
    /// while it could be read without any one of them before. `host_of` gives the host of a node; a node without one
    /// counts as a host.
    pub fn is_endangered_by(
        &self,
        (shard, to): (ShardNumber, NodeId),
        is_missing: impl Fn(ShardNumber) -> bool,
        host_of: impl Fn(NodeId) -> Option<HostId>,
    ) -> bool {
        let mut moved = self.clone();
        if let Some(place) = moved.placement.get_mut(usize::from(shard.0)) {
            *place = to;
        }
        let (node, host) = (|node: NodeId| node, |node: NodeId| host_of(node).ok_or(node));
        (self.can_lose_one(node, &is_missing) && !moved.can_lose_one(node, &is_missing))
            || (self.can_lose_one(host, &is_missing) && !moved.can_lose_one(host, &is_missing))
    }

    /// Returns whether the blob could be read without any one unit (a node, or a host), while these shards are missing.
    fn can_lose_one<U: Ord>(&self, unit_of: impl Fn(NodeId) -> U, is_missing: impl Fn(ShardNumber) -> bool) -> bool {
        let placed = self.placement.iter().zip((0..=u8::MAX).map(ShardNumber));
        let mut held: BTreeMap<U, usize> = BTreeMap::new();
        for (node, _) in placed.filter(|(_, shard)| !is_missing(*shard)) {
            *held.entry(unit_of(*node)).or_default() += 1;
        }
        let most = held.values().copied().max().unwrap_or(0);
        held.values().sum::<usize>() >= usize::from(self.geometry.data) + most
    }
}

/// S3's entity tag: the content's MD5, or for a multipart object the MD5 of the parts' MD5s and their count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ETag {
    pub md5: [u8; 16],
    pub parts: Option<u16>,
}

/// The headers that a client stored with an object and gets back with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectHeaders {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub content_disposition: Option<String>,
    pub cache_control: Option<String>,
    /// The `Expires` header as the client sent it.
    pub expires: Option<String>,
    pub storage_class: Option<String>,
    pub website_redirect: Option<String>,
    /// `x-amz-meta-` names in lower case without the prefix, in the client's order.
    pub user: Vec<(String, String)>,
}

/// A checksum of an object or a part. `value` is the raw digest (a CRC is big-endian), which S3 shows in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: ChecksumAlgorithm,
    pub kind: ChecksumKind,
    pub value: Bytes,
}

/// A part of an upload, and, after completion, of an object version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    pub number: u16,
    /// The offset of the part's first byte in the object; 0 until completion.
    pub offset_bytes: u64,
    pub size_bytes: u64,
    pub md5: [u8; 16],
    pub modified: UnixMs,
    pub checksum: Option<Checksum>,
    /// `None` if the part has no bytes.
    pub blob: Option<BlobRef>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    pub id: UploadId,
    pub bucket: BucketId,
    pub key: String,
    pub owner: String,
    pub initiated: UnixMs,
    pub headers: ObjectHeaders,
    /// The checksum algorithm that the client chose for the parts, and how their checksums combine.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// The upload that an object version was made of, kept while the version exists, so that a repeated completion is
/// recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedRecord {
    pub upload: UploadId,
    /// MD5 of the list of parts (numbers and MD5s) that it was completed with.
    pub list_md5: [u8; 16],
}

/// A blob that nothing refers to any more, until every node of `pending` has dropped its shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarbageRow {
    pub blob: BlobRef,
    /// The index of the log entry that made the blob garbage. Readers that began before may still read it.
    pub entry: u64,
    /// The shards that are not yet known to be dropped.
    pub pending: Vec<ShardNumber>,
}

/// A shard that is missing or damaged on its node, and queued for repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairRow {
    pub blob: BlobRef,
    pub shard: ShardNumber,
    pub since: UnixMs,
}

/// A copy of a shard on a node that the shard was moved off, until the node has dropped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftoverRow {
    /// The index of the log entry that moved the shard. Readers that began before may still need the copy.
    pub entry: u64,
}

/// A drive that belongs to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    pub id: NodeId,
    /// May be a host that is no longer known: it was replaced under its name, and the replacement has not registered
    /// this drive yet.
    pub host: HostId,
    pub incarnation: Incarnation,
    /// The drive's share of the ring, relative to the others.
    pub weight: u32,
    pub state: NodeState,
    pub joined: UnixMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeState {
    /// Takes new shards.
    Active,
    /// The drive is read, takes no new shards, and its shards are moved off.
    Draining,
}

/// A host that belongs to the cluster. Its id is lost with its drives; its name stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    pub id: HostId,
    /// No two hosts have the same.
    pub name: String,
    /// The address at which other hosts reach the host.
    pub address: String,
    /// The failure domain that the host shares with others (a rack, for example); a host without one is a domain of its
    /// own.
    pub domain: Option<String>,
    pub joined: UnixMs,
    /// The first of the `NODES_OF_HOST_MAX` node ids that are reserved for the host's name. A registration takes over
    /// those of an earlier host of the same name, or else uses this value, or else, if it is `None`, free ids. Never
    /// `None` in the table.
    pub first_node: Option<NodeId>,
}

impl HostRecord {
    /// The placeholder for the name and the address of a host that is alone, which nobody uses. No address of a host is
    /// like this one: those have a port.
    pub const ALONE: &'static str = "local";

    /// Returns whether the host was registered by a start without other hosts, as the whole store.
    pub fn is_whole_store(&self) -> bool {
        self.address == Self::ALONE
    }
}

/// The state of the layout besides the tables of hosts and nodes, with which it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutRecord {
    /// Grows by one with each change of the hosts and nodes.
    pub epoch: Epoch,
    /// No node with this id or a greater one was ever registered.
    pub nodes_ever: u32,
    /// Founders that have not registered their drives yet. No blob is placed while there are any, because a layout with
    /// the drives of some founders survives fewer failures than one with those of all.
    pub awaited: BTreeSet<HostId>,
}

impl LayoutRecord {
    /// Returns the layout by which shards are placed.
    pub fn ring_layout(&self, hosts: &[HostRecord], nodes: &[NodeRecord]) -> Layout {
        // Until every founder's drives are known, blobs would be placed on fewer hosts than the cluster is founded
        // with.
        let nodes = if self.awaited.is_empty() { nodes } else { &[] };
        let node = |record: &NodeRecord| LayoutNode { id: record.id, host: record.host, weight: record.weight };
        let draining = nodes.iter().filter(|record| record.state == NodeState::Draining).map(|record| record.id);
        let domains = hosts.iter().filter_map(|host| Some((host.id, host.domain.clone()?)));
        Layout::new(self.epoch, nodes.iter().map(node)).with_draining(draining).with_domains(domains)
    }
}

/// Drives and hosts that were removed from the layout for good, so that a start with old directories does not register
/// them again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedRecord {
    /// The removed nodes, each with its incarnation. Another drive may have the same id since then, and may have been
    /// removed, too.
    pub nodes: BTreeSet<(NodeId, Incarnation)>,
    /// Hosts that were removed, replaced by another host of the same name, or that rejoined under another id.
    pub hosts: BTreeSet<HostId>,
}

/// The fence of fresh blobs. It only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRecord {
    /// No change adopts a blob with a lesser id any more: such a blob that is unknown now stays unknown.
    pub below: BlobId,
}

impl Default for FenceRecord {
    fn default() -> Self {
        Self { below: BlobId(0) }
    }
}

/// The last time that an operator formed the metadata group anew (`sherd recover`): drives may hold shards of blobs
/// that the metadata has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRecord {
    pub epoch: RecoveryEpoch,
    /// The time of the recovery.
    pub at: UnixMs,
    /// The host that formed the group, by its id from then on.
    pub host: HostId,
    /// The time at which the copy was exported that replaced the host's own metadata, if one did.
    pub exported: Option<UnixMs>,
    /// True if every drive keeps shards of unknown blobs, and copies of shards that the metadata places elsewhere, until
    /// an operator gives them up.
    pub keeps_unknown: bool,
}

/// The layout's epoch at which each node id was given to its drive. It distinguishes a replaced drive from its
/// successor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredRecord {
    /// The epoch since which a node id belongs to the drive that has it now, or had it last.
    pub nodes: BTreeMap<NodeId, Epoch>,
}

/// The number of shards on each node, updated with every change, so that no scan is needed to decide whether a node may
/// be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRecord {
    /// Nodes with nothing have no entry.
    pub nodes: BTreeMap<NodeId, Held>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Shards of blobs that are referred to, or are in dropped lists.
    pub placed: u64,
    /// Shards of garbage that are not yet known to be dropped.
    pub garbage: u64,
    /// Old copies of moved shards that are not yet known to be dropped.
    pub leftovers: u64,
}

impl Held {
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// The number of rows of each kind, updated with every change. The fields `_ever` are the last number given out of a
/// kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub buckets: u64,
    pub objects: u64,
    pub uploads: u64,
    /// Blobs that something refers to, those in dropped lists included.
    pub blobs: u64,
    pub garbage: u64,
    pub repairs: u64,
    /// The number of rows ever added to the repair queue.
    pub repairs_ever: u64,
    /// The number of shards ever moved.
    pub moves_ever: u64,
    /// Lists of parts or uploads still to be taken apart into garbage.
    pub dropped_lists: u64,
    pub buckets_ever: u64,
    /// Versions that are not current objects, delete markers among them.
    pub versions: u64,
    pub versions_ever: u64,
    /// Blobs and lists of parts that several versions refer to.
    pub shared: u64,
    pub documents: u64,
    pub documents_ever: u64,
    /// Events that are still to be delivered, counted once for each target.
    pub events: u64,
    /// The position of the newest event.
    pub last_event: u64,
}

/// The number of remembered answers, and the log index from which on none was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswersRecord {
    pub count: u64,
    /// Answers to changes with a lesser `since` may be forgotten.
    pub complete_from: u64,
}

/// The roles that hosts reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolesRecord {
    /// A host that does everything has no entry.
    pub hosts: BTreeMap<HostId, Roles>,
}

impl RolesRecord {
    pub fn of(&self, host: HostId) -> Roles {
        self.hosts.get(&host).copied().unwrap_or(Roles::ALL)
    }
}
