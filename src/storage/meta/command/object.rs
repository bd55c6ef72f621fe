//! Changes of object versions: puts, copies, deletes, changes of traits, renames and appends.

use super::WriteConditions;
use crate::storage::meta::record::{
    Acl, BlobRef, Checksum, ETag, EventDraft, Manifest, ObjectHeaders, Pick, Retention, Traits, Version,
};
use crate::types::{BucketId, ManifestId, ShardNumber};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An object version that becomes the current one of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutObject {
    pub bucket: BucketId,
    pub key: String,
    /// `modified` is set by the state machine.
    pub manifest: Manifest,
    /// The object's bytes, if `manifest.body` is `Inline`. They are encoded after the command, not in it (`codec`).
    #[serde(skip)]
    pub inline: Option<Bytes>,
    pub conditions: WriteConditions,
    /// Shards of the manifest's blob that were not written.
    pub missing: Vec<ShardNumber>,
    pub traits: Traits,
    pub event: Option<EventDraft>,
}

/// A copy by reference: another object version with the bytes of its source. No blob is copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyVersion {
    pub source_bucket: BucketId,
    pub source_key: String,
    pub source: Pick,
    /// The source's manifest. The copy is refused with `SourceChanged` if the source has another one by now.
    pub source_manifest: ManifestId,
    /// The source's sealing as the proposer found it; the copy's traits have the same data key, wrapped for the copy.
    pub source_sealing: Option<Bytes>,
    pub bucket: BucketId,
    pub key: String,
    /// The id of the copy.
    pub id: ManifestId,
    pub headers: ObjectHeaders,
    /// The copy's checksum of the whole content. `None` keeps the source's.
    pub checksum: Option<Checksum>,
    pub traits: Traits,
    pub conditions: WriteConditions,
    pub event: Option<EventDraft>,
}

/// A delete. With `Pick::Current` it removes the current object in a bucket without versions, and otherwise hides it
/// behind a delete marker. With any other `pick` it removes that version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteVersion {
    pub key: String,
    pub pick: Pick,
    pub conditions: DeleteConditions,
    /// The owner of a delete marker: the caller of the delete.
    pub owner: String,
    /// Random bits for a delete marker's version id.
    pub salt: u64,
    /// True if retention in governance mode does not prevent the delete.
    pub bypass_governance: bool,
    /// The events of a delete, for a delete marker made and for a version deleted.
    pub event: Option<DeleteEvents>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteEvents {
    pub deleted: Option<EventDraft>,
    pub marked: Option<EventDraft>,
}

/// The conditions on the version that is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteConditions {
    pub write: WriteConditions,
    pub size_bytes: Option<u64>,
    /// The time of the last change in whole seconds, as clients see it.
    pub modified_seconds: Option<u64>,
    /// The version must have this manifest.
    pub manifest: Option<ManifestId>,
    pub rank: VersionRank,
    /// The version must have these tags; it may have others besides.
    pub tags: Vec<(String, String)>,
}

/// Where the version that is deleted must be among those of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionRank {
    #[default]
    Any,
    /// It must be the only one.
    Sole,
    /// It must be noncurrent, and at least `newer` noncurrent versions must be newer. Checking reads as many rows.
    Noncurrent { newer: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeTraits {
    pub bucket: BucketId,
    pub key: String,
    pub pick: Pick,
    /// The manifest of the version. Refused with `SourceChanged` if the version has another one: whoever may change one
    /// object may not therefore change its successor.
    pub manifest: Option<ManifestId>,
    pub to: TraitsChange,
    pub event: Option<EventDraft>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraitsChange {
    Tags(Vec<(String, String)>),
    Acl(Option<Acl>),
    /// Sets the retention. A weaker one is refused with `Locked`, unless the present one is in governance mode and is
    /// bypassed.
    Retention {
        retention: Option<Retention>,
        bypass_governance: bool,
    },
    LegalHold(bool),
    /// Replaces the sealing by one with the same data key, wrapped anew. Refused unless the version's sealing is still
    /// `from`.
    Sealing {
        from: Bytes,
        to: Bytes,
    },
}

/// A rename of an object to another key, in a bucket without versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameObject {
    pub bucket: BucketId,
    pub source_key: String,
    /// The source as the proposer found it. Refused with `SourceChanged` if another one is there. `None` renames any
    /// source.
    pub source: Option<RenameSource>,
    pub key: String,
    pub conditions: WriteConditions,
    /// The object that the proposer found under `key`. Refused with `SourceChanged` if it is not there any more. `None`
    /// accepts any object.
    pub standing: Option<ManifestId>,
    pub token: Option<RenameToken>,
    /// The event of the object under its new name.
    pub created: Option<EventDraft>,
    /// The event of the object under its old name.
    pub removed: Option<EventDraft>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameSource {
    pub manifest: ManifestId,
    /// The present sealing, and the one for the new name, which has the same data key, wrapped for that name.
    pub sealing: Option<(Bytes, Bytes)>,
}

/// The token by which a repeated rename is recognised, so that it is made once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameToken {
    /// A hash of the account and the token that the client sent.
    pub id: u128,
    /// A hash of the request's parameters.
    pub asked: u128,
}

/// An append of bytes to the end of an object, in a bucket without versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendObject {
    pub bucket: BucketId,
    pub key: String,
    /// The manifest of the object. Refused if the object has another one by now.
    pub manifest: ManifestId,
    /// The id of the version that the append makes.
    pub id: ManifestId,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    /// A blob with the object's present bytes, and its missing shards, if these bytes are inline. The blob becomes the
    /// first part.
    pub head: Option<(BlobRef, Vec<ShardNumber>)>,
    /// The number of the part that is added: greater than those of all existing parts.
    pub number: u16,
    pub blob: BlobRef,
    /// The client's size of the appended bytes; the blob's size if it is not sealed.
    pub size_bytes: u64,
    pub md5: [u8; 16],
    pub missing: Vec<ShardNumber>,
    pub event: Option<EventDraft>,
}

/// The outcome of a delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// True if there was anything to delete; its absence is not an error.
    pub existed: bool,
    /// The delete marker that was made, or the version or delete marker that was removed.
    pub version: Option<Version>,
    /// True if `version` is a delete marker.
    pub marker: bool,
}
