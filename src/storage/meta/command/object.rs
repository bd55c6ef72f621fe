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
    /// As its proposer found it; the copy's traits have the same data key, wrapped for the copy.
    pub source_sealing: Option<Bytes>,
    pub bucket: BucketId,
    pub key: String,
    /// Of the copy.
    pub id: ManifestId,
    pub headers: ObjectHeaders,
    /// Of the whole content, where the copy is to have another than its source has.
    pub checksum: Option<Checksum>,
    pub traits: Traits,
    pub conditions: WriteConditions,
    pub event: Option<EventDraft>,
}

/// Without a version: what is current is hidden, or is gone where there are no versions. With one: that one is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteVersion {
    pub key: String,
    pub pick: Pick,
    pub conditions: DeleteConditions,
    /// Of who deletes, for a delete marker.
    pub owner: String,
    /// Random, for a delete marker's name.
    pub salt: u64,
    /// Retention in governance mode does not hold.
    pub bypass_governance: bool,
    /// Where this makes a delete marker, and where it takes a version away.
    pub event: Option<DeleteEvents>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteEvents {
    pub deleted: Option<EventDraft>,
    pub marked: Option<EventDraft>,
}

/// What must hold of the version that is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteConditions {
    pub write: WriteConditions,
    pub size_bytes: Option<u64>,
    /// In whole seconds, as clients are shown it.
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
    /// One that gives less than what holds is refused with `Locked`, unless it is in governance mode and bypassed.
    Retention {
        retention: Option<Retention>,
        bypass_governance: bool,
    },
    LegalHold(bool),
    /// Of the same data key, wrapped anew: only where the version's sealing is still `from`.
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
    /// As its proposer found it: refused with `SourceChanged` if another stands there. Without it whatever does is
    /// renamed.
    pub source: Option<RenameSource>,
    pub key: String,
    pub conditions: WriteConditions,
    /// Refused with `SourceChanged` if another stands under `key`; without one nobody looked.
    pub standing: Option<ManifestId>,
    pub token: Option<RenameToken>,
    /// Of the object under its name from now on.
    pub created: Option<EventDraft>,
    /// Of the object under the name that it had.
    pub removed: Option<EventDraft>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameSource {
    pub manifest: ManifestId,
    /// As it is, and as it is to be under the other name: the same data key, wrapped for it.
    pub sealing: Option<(Bytes, Bytes)>,
}

/// By which a client asks for a rename again without its being done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameToken {
    /// Of the client and what it calls the request.
    pub id: u128,
    /// Of all that it asks for.
    pub asked: u128,
}

/// Bytes are added to the end of the object that stands; in a bucket without versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendObject {
    pub bucket: BucketId,
    pub key: String,
    /// Exactly this one stands.
    pub manifest: ManifestId,
    /// Of the version that it becomes.
    pub id: ManifestId,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    /// The bytes that stand, where they ride in the metadata: in a blob from now on, as the first part.
    pub head: Option<(BlobRef, Vec<ShardIndex>)>,
    /// Of the part that is added: greater than those of all parts that stand.
    pub number: u16,
    pub blob: BlobRef,
    /// Of what is added, as the client counts it; the blob's where it is not sealed.
    pub size_bytes: u64,
    pub md5: [u8; 16],
    pub missing: Vec<ShardIndex>,
    pub event: Option<EventDraft>,
}

/// The outcome of a delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Whether there was anything to delete; not an error where there was not.
    pub existed: bool,
    /// The delete marker that was made or taken away, or the version that was taken away by name.
    pub version: Option<Version>,
    /// Whether `version` is a delete marker.
    pub marker: bool,
}
