//! Sample values for the tests of the metadata.

use super::command::{
    AnswerRow, AppendObject, Change, CompleteUpload, CompletedPart, CopyVersion, CreateBucket, CreateUpload,
    DeleteConditions, DeleteVersion, Deletion, PutObject, PutPart, RenameObject, RenameSource, RenameToken, Reply,
    WriteConditions,
};
use super::record::{
    Acl, AdvanceClock, AnswersRecord, BlobRef, Body, BucketDocument, BucketRecord, BucketRow, BucketSettings, Checksum,
    ChecksumAlgorithm, ChecksumKind, ClockRecord, ClockSetting, ClockSource, CompletedRecord, Counts, DefaultRetention,
    DeleteMarker, ETag, EventDraft, EventRow, GarbageRow, Grant, Grantee, Held, HeldRecord, HostRecord, LayoutRecord,
    LeftoverRow, Manifest, NodeRecord, NodeState, ObjectHeaders, ObjectLock, ObjectVersion, PartRow, Permission, Quota,
    RemovedRecord, RepairRow, Retention, RetentionMode, RetentionPeriod, RolesRecord, Traits, UploadRecord, UploadRow,
    Version, Versioning,
};
use crate::types::{
    BlobId, BucketId, Epoch, Geometry, HostId, Incarnation, ManifestId, NodeId, Roles, ShardNumber, UnixMs, UploadId,
};
use bytes::Bytes;

pub(crate) const BUCKET: BucketId = BucketId(1);
pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn blob(id: u128, size_bytes: u64) -> BlobRef {
    let geometry = Geometry { data: 2, parity: 2, chunk_size_bytes: 256 << 10 };
    BlobRef { id: BlobId(id), size_bytes, geometry, placement: vec![NodeId(3), NodeId(1), NodeId(0), NodeId(2)] }
}

pub(crate) fn md5_of(seed: u128) -> [u8; 16] {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()
}

fn manifest(id: u128, size_bytes: u64, body: Body) -> Manifest {
    Manifest {
        id: ManifestId(id),
        size_bytes,
        etag: ETag { md5: md5_of(id), parts: None },
        modified: UnixMs(0),
        headers: ObjectHeaders::default(),
        checksum: None,
        body,
    }
}

/// The only version of an object without traits.
impl From<Manifest> for ObjectVersion {
    fn from(manifest: Manifest) -> Self {
        Self { version: Version::ONLY, manifest, traits: Traits::default() }
    }
}

/// A put of an object with one blob, whose id is the manifest's too.
pub(crate) fn put_blob(key: &str, id: u128) -> PutObject {
    PutObject {
        bucket: BUCKET,
        key: key.to_owned(),
        manifest: manifest(id, MIB, Body::Blob(blob(id, MIB))),
        inline: None,
        conditions: WriteConditions::default(),
        missing: Vec::new(),
        traits: Traits::default(),
        event: None,
    }
}

pub(crate) fn put_inline(key: &str, id: u128, bytes: &'static [u8]) -> PutObject {
    let manifest = manifest(id, bytes.len() as u64, Body::Inline);
    PutObject { manifest, inline: Some(Bytes::from_static(bytes)), ..put_blob(key, id) }
}

pub(crate) fn put_empty(key: &str, id: u128) -> PutObject {
    PutObject { manifest: manifest(id, 0, Body::Empty), ..put_blob(key, id) }
}

pub(crate) fn create_upload(key: &str, id: u128) -> CreateUpload {
    CreateUpload {
        bucket: BUCKET,
        key: key.to_owned(),
        id: UploadId(id),
        owner: "someone".to_owned(),
        headers: ObjectHeaders::default(),
        checksum: None,
        traits: Traits::default(),
    }
}

/// An unconditional delete of a current version.
pub(crate) fn delete(bucket: BucketId, key: &str) -> Change {
    delete_if(bucket, key, WriteConditions::default())
}

pub(crate) fn delete_if(bucket: BucketId, key: &str, write: WriteConditions) -> Change {
    let conditions = DeleteConditions { write, ..DeleteConditions::default() };
    let delete = DeleteVersion { key: key.to_owned(), conditions, ..DeleteVersion::default() };
    Change::DeleteVersions { bucket, deletes: vec![delete] }
}

/// The reply to an unconditional delete in a bucket without versions.
pub(crate) fn deleted(existed: bool) -> Reply {
    Reply::VersionsDeleted(vec![Ok(Deletion { existed, ..Deletion::default() })])
}

pub(crate) fn part(number: u16, blob_id: u128, size_bytes: u64) -> PartRow {
    PartRow {
        number,
        offset_bytes: 0,
        size_bytes,
        md5: md5_of(blob_id),
        modified: UnixMs(0),
        checksum: None,
        blob: (size_bytes > 0).then(|| blob(blob_id, size_bytes)),
    }
}

pub(crate) fn put_part(key: &str, upload: u128, part: PartRow) -> PutPart {
    PutPart { bucket: BUCKET, key: key.to_owned(), upload: UploadId(upload), part, missing: Vec::new() }
}

pub(crate) fn complete<'a>(
    key: &str,
    upload: u128,
    manifest: u128,
    parts: impl IntoIterator<Item = &'a PartRow>,
) -> CompleteUpload {
    let listed = |part: &PartRow| CompletedPart { number: part.number, md5: part.md5, checksum: None };
    CompleteUpload {
        bucket: BUCKET,
        key: key.to_owned(),
        upload: UploadId(upload),
        manifest: ManifestId(manifest),
        parts: parts.into_iter().map(listed).collect(),
        expected_checksum: None,
        expected_size_bytes: None,
        conditions: WriteConditions::default(),
        event: None,
    }
}

pub(crate) fn checksum() -> Checksum {
    let value = Bytes::from_static(&[0xcb, 0xf4, 0x39, 0x26]);
    Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::FullObject, value }
}

pub(crate) fn headers() -> ObjectHeaders {
    ObjectHeaders {
        content_type: Some("text/plain; charset=utf-8".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        content_language: Some("en".to_owned()),
        content_disposition: Some("attachment".to_owned()),
        cache_control: Some("no-cache".to_owned()),
        expires: Some("Thu, 01 Dec 2033 16:00:00 GMT".to_owned()),
        storage_class: Some("STANDARD".to_owned()),
        website_redirect: Some("/elsewhere".to_owned()),
        user: vec![("colour".to_owned(), "grün".to_owned()), ("empty".to_owned(), String::new())],
    }
}

pub(crate) fn full_manifest() -> Manifest {
    Manifest {
        headers: headers(),
        checksum: Some(checksum()),
        modified: UnixMs(1_700_000_000_000),
        ..manifest(0x018b_cfe5_6800_0102_0304_0506_0708_090a, MIB, Body::Blob(blob(7, MIB)))
    }
}

pub(crate) fn full_part() -> PartRow {
    PartRow { offset_bytes: 5 * MIB, modified: UnixMs(12), checksum: Some(checksum()), ..part(10_000, 77, 6 * MIB) }
}

pub(crate) fn bucket() -> BucketRecord {
    BucketRecord {
        id: BUCKET,
        name: "photos".to_owned(),
        region: "us-east-1".to_owned(),
        owner: "someone".to_owned(),
        created: UnixMs(1_700_000_000_000),
    }
}

pub(crate) fn upload() -> UploadRecord {
    UploadRecord {
        id: UploadId(9),
        bucket: BUCKET,
        key: "a/b\0c".to_owned(),
        owner: "someone".to_owned(),
        initiated: UnixMs(1_700_000_000_000),
        headers: headers(),
        checksum: Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject)),
    }
}

pub(crate) fn completed() -> CompletedRecord {
    CompletedRecord { upload: UploadId(9), list_md5: md5_of(3) }
}

pub(crate) fn garbage() -> GarbageRow {
    GarbageRow { blob: blob(7, MIB), entry: 5, pending: vec![ShardNumber(0), ShardNumber(3)] }
}

pub(crate) fn repair() -> RepairRow {
    RepairRow { blob: blob(7, MIB), shard: ShardNumber(2), since: UnixMs(5) }
}

pub(crate) fn node() -> NodeRecord {
    NodeRecord {
        id: NodeId(2),
        host: HostId(1),
        incarnation: Incarnation(u128::MAX),
        weight: 100,
        state: NodeState::Active,
        joined: UnixMs(5),
    }
}

pub(crate) fn host() -> HostRecord {
    HostRecord {
        id: HostId(1),
        name: "a".to_owned(),
        address: "10.0.0.1:9100".to_owned(),
        domain: Some("rack 1".to_owned()),
        joined: UnixMs(5),
        first_node: Some(NodeId(64)),
    }
}

/// The registration of a host with this drive alone.
pub(crate) fn register(node: NodeRecord) -> Change {
    Change::RegisterNodes { host: node.host, nodes: vec![node] }
}

pub(crate) fn layout() -> LayoutRecord {
    LayoutRecord { epoch: Epoch(70_000), nodes_ever: 65, awaited: [HostId(300), HostId(1 << 40)].into() }
}

pub(crate) fn roles() -> RolesRecord {
    let learner = Roles { meta: false, ..Roles::ALL };
    RolesRecord { hosts: [(HostId(1), Roles { gateway: true, ..Roles::NONE }), (HostId(300), learner)].into() }
}

pub(crate) fn removed() -> RemovedRecord {
    RemovedRecord { nodes: [(NodeId(3), Incarnation(1 << 100))].into(), hosts: [HostId(300)].into() }
}

pub(crate) fn leftover() -> LeftoverRow {
    LeftoverRow { entry: 5 }
}

pub(crate) fn held() -> HeldRecord {
    let held = |placed| Held { placed, garbage: 3, leftovers: 2 };
    HeldRecord { nodes: [(NodeId(0), held(1 << 40)), (NodeId(64), held(0))].into() }
}

pub(crate) fn answer() -> AnswerRow {
    AnswerRow { reply: Reply::ObjectPut { object: Box::new(object_version()) } }
}

pub(crate) fn answers() -> AnswersRecord {
    AnswersRecord { count: 300, complete_from: 70_000 }
}

pub(crate) fn counts() -> Counts {
    Counts {
        buckets: 1,
        objects: 2,
        uploads: 3,
        blobs: 4,
        garbage: 5,
        repairs: 6,
        repairs_ever: 15,
        moves_ever: 16,
        dropped_lists: 7,
        buckets_ever: 300,
        versions: 8,
        versions_ever: 9,
        shared: 14,
        documents: 10,
        documents_ever: 11,
        events: 12,
        last_event: 13,
    }
}

pub(crate) fn version() -> Version {
    Version { seq: 300, salt: u64::MAX, null: false }
}

pub(crate) fn traits() -> Traits {
    let grant = |grantee, permission| Grant { grantee, permission };
    Traits {
        owner: "someone".to_owned(),
        acl: Some(Acl {
            grants: vec![
                grant(Grantee::Account("another".to_owned()), Permission::FullControl),
                grant(Grantee::AllUsers, Permission::Read),
                grant(Grantee::AuthenticatedUsers, Permission::Write),
                grant(Grantee::LogDelivery, Permission::WriteAcp),
            ],
        }),
        tags: vec![("colour".to_owned(), "grün".to_owned())],
        retention: Some(Retention { mode: RetentionMode::Compliance, until: UnixMs(1_800_000_000_000) }),
        legal_hold: Some(true),
        sealing: Some(Bytes::from_static(b"sealing")),
    }
}

pub(crate) fn object_version() -> ObjectVersion {
    ObjectVersion { version: version(), manifest: full_manifest(), traits: traits() }
}

pub(crate) fn delete_marker() -> DeleteMarker {
    DeleteMarker { version: Version { null: true, ..version() }, modified: UnixMs(5), owner: "someone".to_owned() }
}

pub(crate) fn object_lock() -> ObjectLock {
    let default_retention = DefaultRetention { mode: RetentionMode::Compliance, period: RetentionPeriod::Years(300) };
    ObjectLock { default_retention: Some(default_retention) }
}

pub(crate) fn bucket_row() -> BucketRow {
    let quota = Quota { bytes_max: Some(1 << 40), objects_max: Some(300) };
    BucketRow {
        bucket: bucket(),
        settings: BucketSettings { versioning: Versioning::Enabled, lock: Some(object_lock()), quota },
    }
}

pub(crate) fn upload_row() -> UploadRow {
    UploadRow { upload: upload(), traits: traits(), parts_bytes: 5 << 20 }
}

pub(crate) fn event() -> EventRow {
    let draft = EventDraft {
        name: "ObjectCreated:Put".to_owned(),
        targets: vec!["hook".to_owned()],
        context: Bytes::from_static(b"{}"),
    };
    EventRow {
        seq: 300,
        at: UnixMs(5),
        draft,
        bucket: BUCKET,
        key: "key".to_owned(),
        version: Some(version()),
        size_bytes: MIB,
        etag: Some(ETag { md5: md5_of(1), parts: Some(3) }),
    }
}

pub(crate) fn copy_version() -> CopyVersion {
    CopyVersion {
        source_bucket: BucketId(2),
        source_key: "source".to_owned(),
        source: version().pick(),
        source_manifest: ManifestId(7),
        source_sealing: Some(Bytes::from_static(b"sealing")),
        bucket: BUCKET,
        key: "key".to_owned(),
        id: ManifestId(8),
        headers: headers(),
        checksum: Some(checksum()),
        traits: traits(),
        conditions: WriteConditions::default(),
        event: Some(event().draft),
    }
}

pub(crate) fn rename_object() -> RenameObject {
    RenameObject {
        bucket: BUCKET,
        source_key: "source".to_owned(),
        source: Some(RenameSource {
            manifest: ManifestId(7),
            sealing: Some((Bytes::from_static(b"a"), Bytes::from_static(b"b"))),
        }),
        key: "key".to_owned(),
        conditions: WriteConditions::default(),
        standing: Some(ManifestId(8)),
        token: Some(RenameToken { id: 1, asked: u128::MAX }),
        created: Some(event().draft),
        removed: None,
    }
}

pub(crate) fn append_object() -> AppendObject {
    AppendObject {
        bucket: BUCKET,
        key: "key".to_owned(),
        manifest: ManifestId(7),
        id: ManifestId(8),
        etag: ETag { md5: md5_of(1), parts: None },
        checksum: Some(checksum()),
        head: Some((blob(10, 300), vec![ShardNumber(1)])),
        number: 300,
        blob: blob(9, MIB),
        size_bytes: MIB,
        md5: md5_of(2),
        missing: vec![ShardNumber(2)],
        event: Some(event().draft),
    }
}

pub(crate) fn full_put() -> PutObject {
    let event = Some(event().draft);
    PutObject { missing: vec![ShardNumber(1), ShardNumber(3)], traits: traits(), event, ..put_blob("key", 5) }
}

pub(crate) fn create_bucket() -> CreateBucket {
    CreateBucket {
        name: "photos".to_owned(),
        region: "us-east-1".to_owned(),
        owner: "someone".to_owned(),
        settings: bucket_row().settings,
        documents: vec![(BucketDocument::Access, String::new(), Bytes::from_static(b"{}"))],
    }
}

pub(crate) fn clock() -> ClockRecord {
    let set = ClockSetting { from: UnixMs(300), to: UnixMs(1_700_000_000_000), by: ClockSource::Operator };
    ClockRecord { confirmed: UnixMs(1_700_000_000_001), era: 300, set }
}

pub(crate) fn advance_clock() -> AdvanceClock {
    AdvanceClock { to: UnixMs(1_700_000_000_000), era: 300, by: ClockSource::Hosts }
}
