//! Changes of object versions: put, copied, deleted, retagged, renamed, appended to.

use super::WriteConditions;
use crate::storage::meta::record::{
    Acl, BlobRef, Checksum, ETag, EventDraft, Manifest, ObjectHeaders, Pick, Retention, Traits, Version,
};
use crate::types::{BucketId, ManifestId, ShardIndex};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An object version that becomes the current one of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutObject {
    pub bucket: BucketId,
    pub key: String,
    /// `modified` is set by the state machine.
    pub manifest: Manifest,
    /// The object's bytes, where `manifest.body` is `Inline`. They travel beside the encoded command, not in it (`codec`).
    #[serde(skip)]
    pub inline: Option<Bytes>,
    pub conditions: WriteConditions,
    /// Shards of the manifest's blob that were not written.
    pub missing: Vec<ShardIndex>,
    pub traits: Traits,
    pub event: Option<EventDraft>,
}

/// An object version is referred to once more, as another's bytes; none of them are moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyVersion {
    pub source_bucket: BucketId,
    pub source_key: String,
    pub source: Pick,
    /// Refused with `SourceChanged` if another stands there.
    pub source_manifest: ManifestId,
    /// The source's sealing as the proposer found it; the copy's traits have the same data key, wrapped for the copy.
    pub source_sealing: Option<Bytes>,
    pub bucket: BucketId,
    pub key: String,
    /// The id of the copy.
    pub id: ManifestId,
    pub headers: ObjectHeaders,
    /// The checksum of the whole content, if the copy is to have another than its source.
    pub checksum: Option<Checksum>,
    pub traits: Traits,
    pub conditions: WriteConditions,
    pub event: Option<EventDraft>,
}

/// A deletion. Without a version: hides the current version, or removes it in a bucket without versions. With one:
/// removes that version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteVersion {
    pub key: String,
    pub pick: Pick,
    pub conditions: DeleteConditions,
    /// The owner of a delete marker: the caller of the delete.
    pub owner: String,
    /// Random, for a delete marker's name.
    pub salt: u64,
    /// Retention in governance mode does not hold.
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
    /// Exactly this one.
    pub manifest: Option<ManifestId>,
    /// No other version of the key is there.
    pub sole: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeTraits {
    pub bucket: BucketId,
    pub key: String,
    pub pick: Pick,
    /// Refused with `SourceChanged` if the version is another: who may change one may not therefore change what came
    /// in its place.
    pub manifest: Option<ManifestId>,
    pub to: TraitsChange,
    pub event: Option<EventDraft>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraitsChange {
    Tags(Vec<(String, String)>),
    Acl(Option<Acl>),
    /// Sets the retention. A weaker one is refused with `Locked`, unless it is in governance mode and bypassed.
    Retention {
        retention: Option<Retention>,
        bypass_governance: bool,
    },
    LegalHold(bool),
    /// The same data key, wrapped anew; applied only if the version's sealing is still `from`.
    Sealing {
        from: Bytes,
        to: Bytes,
    },
}

/// A key's object is from now on another key's; in a bucket without versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameObject {
    pub bucket: BucketId,
    pub source_key: String,
    /// The source as the proposer found it: refused with `SourceChanged` if another is there. Without it any source is
    /// renamed.
    pub source: Option<RenameSource>,
    pub key: String,
    pub conditions: WriteConditions,
    /// Refused with `SourceChanged` if another stands under `key`; without one nobody looked.
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
    /// The sealing as it is, and for the new name: the same data key, wrapped for it.
    pub sealing: Option<(Bytes, Bytes)>,
}

/// The token with which a client repeats a rename without its being done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameToken {
    /// The hash of the client and its name for the request.
    pub id: u128,
    /// The hash of the request's parameters.
    pub asked: u128,
}

/// Bytes are added to the end of the object that stands; in a bucket without versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendObject {
    pub bucket: BucketId,
    pub key: String,
    /// Exactly this one stands.
    pub manifest: ManifestId,
    /// The id of the version that the append makes.
    pub id: ManifestId,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    /// The bytes that stand, where they ride in the metadata: in a blob from now on, as the first part.
    pub head: Option<(BlobRef, Vec<ShardIndex>)>,
    /// The number of the part that is added: greater than those of all existing parts.
    pub number: u16,
    pub blob: BlobRef,
    /// The client's size of the appended bytes; the blob's size if it is not sealed.
    pub size_bytes: u64,
    pub md5: [u8; 16],
    pub missing: Vec<ShardIndex>,
    pub event: Option<EventDraft>,
}

/// The outcome of a delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// True if there was anything to delete; its absence is not an error.
    pub existed: bool,
    /// The delete marker that was made or taken away, or the version that was taken away by name.
    pub version: Option<Version>,
    /// True if `version` is a delete marker.
    pub marker: bool,
}
