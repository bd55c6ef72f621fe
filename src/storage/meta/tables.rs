//! The metadata tables: their names, keys and rows. Numbers in keys are big-endian, so that the order of the bytes is
//! the order of the numbers. Each kind of key has a table of its own, so that no two kinds can collide.
//!
//! | table | key | row |
//! |---|---|---|
//! | `buckets` | name | `BucketRow` |
//! | `bucket_ids` | bucket u64 | the bucket's name, raw |
//! | `objects` | bucket u64, key | `ObjectVersion`: the current object of the key; the order of listings |
//! | `inline` | manifest u128 | the object's bytes, raw |
//! | `parts` | manifest u128, offset u64 | `PartRow` of an object version |
//! | `completed` | manifest u128 | `CompletedRecord`: the upload that an object version was made of |
//! | `uploads` | bucket u64, escaped key, 0x00 0x00, upload u128 | `UploadRow` |
//! | `upload_parts` | upload u128, number u16 | `PartRow` of an ongoing upload |
//! | `blobs` | blob u128 | `BlobRef` of every blob that is referred to, or is in a dropped list of parts |
//! | `garbage` | blob u128 | `GarbageRow` |
//! | `dropped` | kind u8, manifest, upload or bucket | empty: a dropped list whose rows are still to become garbage |
//! | `repairs` | blob u128, shard u8 | `RepairRow` |
//! | `leftovers` | node u32, blob u128, shard u8 | `LeftoverRow`: a copy that a move left behind on this node |
//! | `nodes` | node u32 | `NodeRecord` |
//! | `hosts` | host u64 | `HostRecord` |
//! | `versions` | bucket u64, escaped key, 0x00 0x00, inverted seq u64, salt u64 | `VersionRow`; newest first |
//! | `null_versions` | bucket u64, key | `NullVersionRow`: the place of the null version in `versions` |
//! | `shared` | kind u8, blob or manifest u128 | `SharedRow` |
//! | `usage` | bucket u64 | `Usage` |
//! | `documents` | 1 u8, bucket u64, kind u8, name; or 2 u8, kind u8, path; or 3 u8, name | `DocumentRow` |
//! | `events` | target, 0x00, seq u64 | `EventRow` |
//! | `owners` | account, 0x00 | `OwnerRow` of an account that owns buckets |
//! | `owner_buckets` | account, 0x00, name | empty: a bucket of the account |
//! | `answers` | since u64, id u128 | `AnswerRow` of a change that another host forwarded |
//! | `system` | fixed names | format, last applied position, counters, the remembered answers, the layout's epoch, the number of shards on each node, the roles of hosts, removed drives and hosts, the fence of fresh blobs, the confirmed time, the epoch at which each drive was registered, the last recovery |
//!
//! In `objects` and `null_versions` the rest of the row's key is the object's key, unescaped. In `uploads` and
//! `versions` more follows: there each 0x00 of the object's key is written as 0x00 0xff, and 0x00 0x00 ends it. So rows
//! are in the order of the objects' keys, and no escaped key is a prefix of another.

use super::command::Origin;
use super::record::{BucketDocument, DocumentKey, IdentityKind, Version};
use crate::storage::kv::Table;
use crate::types::{BlobId, BucketId, HostId, ManifestId, NodeId, ShardId, ShardNumber, UploadId};

pub const BUCKETS: Table = Table("buckets");
pub const BUCKET_IDS: Table = Table("bucket_ids");
pub const OBJECTS: Table = Table("objects");
pub const INLINE: Table = Table("inline");
pub const PARTS: Table = Table("parts");
pub const COMPLETED: Table = Table("completed");
pub const UPLOADS: Table = Table("uploads");
pub const UPLOAD_PARTS: Table = Table("upload_parts");
pub const BLOBS: Table = Table("blobs");
pub const GARBAGE: Table = Table("garbage");
pub const DROPPED: Table = Table("dropped");
pub const REPAIRS: Table = Table("repairs");
pub const LEFTOVERS: Table = Table("leftovers");
pub const NODES: Table = Table("nodes");
pub const HOSTS: Table = Table("hosts");
pub const ANSWERS: Table = Table("answers");
pub const VERSIONS: Table = Table("versions");
pub const NULL_VERSIONS: Table = Table("null_versions");
pub const SHARED: Table = Table("shared");
pub const USAGE: Table = Table("usage");
pub const DOCUMENTS: Table = Table("documents");
pub const EVENTS: Table = Table("events");
pub const OWNERS: Table = Table("owners");
pub const OWNER_BUCKETS: Table = Table("owner_buckets");
pub const SYSTEM: Table = Table("system");

/// All tables. A table's index here is its number in snapshots: after the first release, a new table needs a new
/// snapshot version. `system` is last: its rows are installed after all others, and show that those are complete.
pub const TABLES: &[Table] = &[
    BUCKETS,
    BUCKET_IDS,
    OBJECTS,
    INLINE,
    PARTS,
    COMPLETED,
    UPLOADS,
    UPLOAD_PARTS,
    BLOBS,
    GARBAGE,
    DROPPED,
    REPAIRS,
    LEFTOVERS,
    NODES,
    HOSTS,
    ANSWERS,
    VERSIONS,
    NULL_VERSIONS,
    SHARED,
    USAGE,
    DOCUMENTS,
    EVENTS,
    OWNERS,
    OWNER_BUCKETS,
    SYSTEM,
];

/// The tables of large rows whose keys begin with the time at which they were made.
pub const IN_ORDER_OF_TIME: &[Table] = &[INLINE];

/// Rows of `system`.
pub const SYSTEM_FORMAT: &[u8] = b"format";
pub const SYSTEM_APPLIED: &[u8] = b"applied";
pub const SYSTEM_COUNTS: &[u8] = b"counts";
pub const SYSTEM_ANSWERS: &[u8] = b"answers";
pub const SYSTEM_LAYOUT: &[u8] = b"layout";
pub const SYSTEM_HELD: &[u8] = b"held";
pub const SYSTEM_ROLES: &[u8] = b"roles";
pub const SYSTEM_REMOVED: &[u8] = b"removed";
pub const SYSTEM_FENCE: &[u8] = b"fence";
pub const SYSTEM_CLOCK: &[u8] = b"clock";
pub const SYSTEM_REGISTERED: &[u8] = b"registered";
pub const SYSTEM_RECOVERY: &[u8] = b"recovery";

pub fn bucket_prefix(bucket: BucketId) -> [u8; 8] {
    bucket.0.to_be_bytes()
}

pub fn object_key(bucket: BucketId, key: &str) -> Vec<u8> {
    [&bucket_prefix(bucket), key.as_bytes()].concat()
}

pub fn part_key(id: ManifestId, offset_bytes: u64) -> [u8; 24] {
    let mut row = [0; 24];
    row[..16].copy_from_slice(&id.to_be_bytes());
    row[16..].copy_from_slice(&offset_bytes.to_be_bytes());
    row
}

pub fn upload_part_key(id: UploadId, number: u16) -> [u8; 18] {
    let mut row = [0; 18];
    row[..16].copy_from_slice(&id.to_be_bytes());
    row[16..].copy_from_slice(&number.to_be_bytes());
    row
}

pub fn repair_key(blob: BlobId, shard: ShardNumber) -> [u8; 17] {
    let mut row = [0; 17];
    row[..16].copy_from_slice(&blob.to_be_bytes());
    row[16] = shard.0;
    row
}

pub fn leftover_key(node: NodeId, shard: ShardId) -> [u8; 21] {
    let mut row = [0; 21];
    row[..4].copy_from_slice(&node_key(node));
    row[4..].copy_from_slice(&repair_key(shard.blob, shard.shard));
    row
}

/// Returns the shard in a row's key of `leftovers`; `None` if the key is malformed.
pub fn shard_of_leftover_key(row: &[u8]) -> Option<ShardId> {
    let (_, rest) = row.split_first_chunk::<4>()?;
    let (blob, shard) = rest.split_first_chunk::<16>()?;
    match shard {
        [shard] => Some(ShardId { blob: BlobId::from_be_bytes(*blob), shard: ShardNumber(*shard) }),
        _ => None,
    }
}

pub fn answer_key(origin: Origin) -> [u8; 24] {
    let mut row = [0; 24];
    row[..8].copy_from_slice(&origin.since.to_be_bytes());
    row[8..].copy_from_slice(&origin.id.to_be_bytes());
    row
}

pub fn node_key(id: NodeId) -> [u8; 4] {
    id.0.to_be_bytes()
}

pub fn host_key(id: HostId) -> [u8; 8] {
    id.0.to_be_bytes()
}

const ESCAPED: u8 = 0x00;
const ESCAPE_ZERO: u8 = 0xff;
const ESCAPE_END: u8 = 0x00;

/// Returns the prefix of the rows of all uploads whose keys begin with `key_prefix`.
pub fn upload_prefix(bucket: BucketId, key_prefix: &str) -> Vec<u8> {
    let mut row = Vec::with_capacity(8 + key_prefix.len() + 18);
    row.extend(bucket_prefix(bucket));
    for &byte in key_prefix.as_bytes() {
        row.push(byte);
        if byte == ESCAPED {
            row.push(ESCAPE_ZERO);
        }
    }
    row
}

/// Returns the prefix of the rows of all uploads with exactly this key.
pub fn upload_key_prefix(bucket: BucketId, key: &str) -> Vec<u8> {
    let mut row = upload_prefix(bucket, key);
    row.extend([ESCAPED, ESCAPE_END]);
    row
}

pub fn upload_key(bucket: BucketId, key: &str, id: UploadId) -> Vec<u8> {
    let mut row = upload_key_prefix(bucket, key);
    row.extend(id.to_be_bytes());
    row
}

/// Returns the object's key and the upload in a row's key of `uploads`; `None` if the row's key is malformed.
pub fn split_upload_key(row: &[u8]) -> Option<(String, UploadId)> {
    let (rest, id) = row.split_last_chunk::<16>()?;
    let escaped = rest.get(8..)?.strip_suffix(&[ESCAPED, ESCAPE_END])?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        key.push(byte);
        if byte == ESCAPED && bytes.next() != Some(&ESCAPE_ZERO) {
            return None;
        }
    }
    Some((String::from_utf8(key).ok()?, UploadId::from_be_bytes(*id)))
}

/// Returns the prefix of the rows of a key's versions.
pub fn versions_of_key(bucket: BucketId, key: &str) -> Vec<u8> {
    upload_key_prefix(bucket, key)
}

pub fn version_key(bucket: BucketId, key: &str, version: Version) -> Vec<u8> {
    let mut row = upload_key_prefix(bucket, key);
    row.extend((!version.seq).to_be_bytes());
    row.extend(version.salt.to_be_bytes());
    row
}

/// Returns the object's key in a row's key of `versions`; `None` if the row's key is malformed.
pub fn key_of_version(row: &[u8]) -> Option<String> {
    Some(split_upload_key(row)?.0)
}

/// An item that several object versions can refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    Blob(BlobId),
    Parts(ManifestId),
}

impl Shared {
    pub fn key(self) -> [u8; 17] {
        let (kind, id) = match self {
            Self::Blob(id) => (1, id.to_be_bytes()),
            Self::Parts(id) => (2, id.to_be_bytes()),
        };
        let mut row = [kind; 17];
        row[1..].copy_from_slice(&id);
        row
    }
}

const SPACE_BUCKET: u8 = 1;
const SPACE_IDENTITY: u8 = 2;
const SPACE_SYSTEM: u8 = 3;

/// Returns the prefix of the rows of all documents of a bucket.
pub fn bucket_documents(bucket: BucketId) -> Vec<u8> {
    [&[SPACE_BUCKET][..], &bucket_prefix(bucket)].concat()
}

/// Returns the prefix of the rows of a bucket's documents of one kind.
pub fn bucket_documents_of(bucket: BucketId, kind: BucketDocument) -> Vec<u8> {
    [&bucket_documents(bucket)[..], &[kind as u8]].concat()
}

/// Returns the prefix of the rows of one kind of identities.
pub fn identity_documents_of(kind: IdentityKind) -> Vec<u8> {
    vec![SPACE_IDENTITY, kind as u8]
}

/// Returns the prefix of the rows of the store's own documents.
pub fn system_documents() -> Vec<u8> {
    vec![SPACE_SYSTEM]
}

pub fn document_key(key: &DocumentKey) -> Vec<u8> {
    match key {
        DocumentKey::Bucket(bucket, kind, name) => {
            [bucket_documents_of(*bucket, *kind).as_slice(), name.as_bytes()].concat()
        }
        DocumentKey::Identity(kind, path) => [identity_documents_of(*kind).as_slice(), path.as_bytes()].concat(),
        DocumentKey::System(name) => [&[SPACE_SYSTEM], name.as_bytes()].concat(),
    }
}

/// Returns whether a document is part of the configuration: settings of buckets and identities, but not the store's
/// records of its own work.
pub fn is_configuration(row_key: &[u8]) -> bool {
    let kind_of_bucket = |rest: &[u8]| rest.get(bucket_prefix(BucketId(0)).len()).copied();
    match row_key.split_first() {
        Some((&SPACE_BUCKET, rest)) => kind_of_bucket(rest) != Some(BucketDocument::Renames as u8),
        Some((&SPACE_IDENTITY, _)) => true,
        _ => false,
    }
}

/// Returns the prefix of the rows of a target's events. A target's name has no zero byte.
pub fn events_of(target: &str) -> Vec<u8> {
    [target.as_bytes(), &[0]].concat()
}

pub fn event_key(target: &str, seq: u64) -> Vec<u8> {
    [events_of(target).as_slice(), &seq.to_be_bytes()].concat()
}

/// Returns the row's key of an account in `owners`, which is also the prefix of its rows in `owner_buckets`. An
/// account's id has no zero byte.
pub fn owner_key(owner: &str) -> Vec<u8> {
    [owner.as_bytes(), &[0]].concat()
}

pub fn owner_bucket_key(owner: &str, bucket: &str) -> Vec<u8> {
    [owner_key(owner).as_slice(), bucket.as_bytes()].concat()
}

/// A list that nothing refers to any more and that is too long to become garbage at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DroppedList {
    /// The parts of an object version.
    ObjectParts(ManifestId),
    /// The parts of an upload.
    UploadParts(UploadId),
    /// The uploads of a bucket, each with its parts.
    BucketUploads(BucketId),
}

impl DroppedList {
    pub fn key(self) -> Vec<u8> {
        match self {
            Self::ObjectParts(id) => [&[1][..], &id.to_be_bytes()].concat(),
            Self::UploadParts(id) => [&[2][..], &id.to_be_bytes()].concat(),
            Self::BucketUploads(id) => [&[3][..], &bucket_prefix(id)].concat(),
        }
    }

    pub fn from_key(row: &[u8]) -> Option<Self> {
        let (kind, id) = row.split_first()?;
        match kind {
            1 => Some(Self::ObjectParts(ManifestId::from_be_bytes(id.try_into().ok()?))),
            2 => Some(Self::UploadParts(UploadId::from_be_bytes(id.try_into().ok()?))),
            3 => Some(Self::BucketUploads(BucketId(u64::from_be_bytes(id.try_into().ok()?)))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DroppedList, TABLES, split_upload_key, upload_key, upload_key_prefix, upload_prefix};
    use crate::types::{BucketId, ManifestId, UploadId};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use std::collections::BTreeSet;

    const BUCKET: BucketId = BucketId(7);

    #[test]
    fn tables_have_distinct_names_and_system_is_the_last_c9() {
        let names: BTreeSet<_> = TABLES.iter().map(|table| table.0).collect();
        assert_eq!(names.len(), TABLES.len());
        assert_eq!(TABLES.last().map(|table| table.0), Some("system"));
    }

    #[test]
    fn keys_with_zero_bytes_sort_alike_among_uploads_and_objects_c9() {
        let keys = ["", "\0", "\0\0", "\0\u{1}", "a", "a\0", "a\0\0", "a\0b", "a\u{1}", "a\u{7f}", "a\u{ff}", "b"];
        let rows: Vec<_> = keys.iter().map(|key| upload_key(BUCKET, key, UploadId(u128::MAX))).collect();
        assert!(rows.is_sorted());
        for (key, row) in keys.iter().zip(&rows) {
            assert_eq!(split_upload_key(row), Some((key.to_string(), UploadId(u128::MAX))));
        }
    }

    #[test]
    fn keys_of_dropped_lists_of_all_kinds_round_trip() {
        for list in [
            DroppedList::ObjectParts(ManifestId(5)),
            DroppedList::UploadParts(UploadId(5)),
            DroppedList::BucketUploads(BucketId(5)),
        ] {
            assert_eq!(DroppedList::from_key(&list.key()), Some(list));
        }
        assert_eq!(DroppedList::from_key(&[9, 0]), None);
        assert_eq!(DroppedList::from_key(&[]), None);
    }

    proptest! {
        #[test]
        fn upload_keys_round_trip_and_keep_the_order_of_keys_then_ids_c9(
            a in "[\\x00\\x01a\u{ff}\u{10ffff}]{0,6}", b in "[\\x00\\x01a\u{ff}\u{10ffff}]{0,6}", ids in any::<(u128, u128)>(),
        ) {
            let (first, second) = (upload_key(BUCKET, &a, UploadId(ids.0)), upload_key(BUCKET, &b, UploadId(ids.1)));
            prop_assert_eq!(first.cmp(&second), (a.as_bytes(), ids.0).cmp(&(b.as_bytes(), ids.1)));
            prop_assert_eq!(split_upload_key(&first), Some((a.clone(), UploadId(ids.0))));
            prop_assert_eq!(first.starts_with(&upload_prefix(BUCKET, &b)), a.starts_with(&b));
            prop_assert_eq!(first.starts_with(&upload_key_prefix(BUCKET, &b)), a == b);
        }

        #[test]
        fn splitting_any_bytes_never_panics(row in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = split_upload_key(&row);
            let _ = DroppedList::from_key(&row);
            let _ = super::shard_of_leftover_key(&row);
            prop_assert!(true);
        }
    }
}
