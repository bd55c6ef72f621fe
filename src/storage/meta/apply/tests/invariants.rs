//! Random histories: whatever is applied, no blob is lost or owned twice, the counters are true, and the result does not
//! depend on how the log was cut into batches.

use super::{create_bucket, position};
use crate::storage::kv::memory::MemoryKv;
use crate::storage::kv::{KvRead, Table};
use crate::storage::meta::apply::{ApplyEntry, MetaTables};
use crate::storage::meta::codec::{self, Record};
use crate::storage::meta::command::{
    AppendObject, Change, ChangeTraits, Command, CopyVersion, DeleteConditions, DeleteVersion, ETagCondition,
    MovedShard, PutObject, RenameObject, RenameToken, TraitsChange, WriteConditions,
};
use crate::storage::meta::record::{
    BlobRef, Body, Counts, ETag, GarbageRow, HeldRecord, Manifest, NodeRecord, NullVersionRow, ObjectHeaders,
    ObjectVersion, PartRow, Pick, Retention, RetentionMode, SharedRow, Traits, UploadRow, Usage, Version, VersionRow,
    Versioning,
};
use crate::storage::meta::samples::{
    BUCKET, MIB, blob, complete, create_upload, node, part, put_blob, put_empty, put_inline, put_part,
};
use crate::storage::meta::snapshot::SnapshotWriter;
use crate::storage::meta::tables::{
    BLOBS, BUCKETS, COMPLETED, DOCUMENTS, DROPPED, EVENTS, GARBAGE, INLINE, LEFTOVERS, NULL_VERSIONS, OBJECTS, PARTS,
    REPAIRS, SHARED, Shared, TABLES, UPLOAD_PARTS, UPLOADS, USAGE, VERSIONS, key_of_version, object_key,
};
use crate::types::{BlobId, Epoch, ManifestId, NodeId, ShardId, ShardIndex, UnixMs, UploadId};
use bytes::Bytes;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// A step of a history; ids are drawn when it is laid out, so that every blob is fresh.
#[derive(Clone, Debug)]
enum Step {
    CreateBucket,
    DeleteBucket,
    Put { key: u8, kind: u8, only_if_absent: bool, missing: bool },
    Delete { key: u8 },
    CreateUpload { key: u8, upload: u8 },
    PutPart { key: u8, upload: u8, number: u16, large: bool },
    Complete { key: u8, upload: u8, numbers: Vec<u16> },
    Abort { key: u8, upload: u8 },
    Reclaim { which: Index, shard: u8 },
    Repair { which: Index, shard: u8, done: bool },
    RepairedAt { which: Index, shard: u8, node: u32 },
    Move { which: Index, shard: u8, from: u32, to: u32, whole: bool },
    Forget { which: Index, shard: u8, node: u32 },
    Versioning { to: u8 },
    DeleteVersion { key: u8, seq: u64, hold: bool },
    DeleteNull { key: u8 },
    Copy { from: u8, to: u8, which: Index },
    Tag { key: u8 },
    Retain { key: u8, until: u64 },
    Rename { from: u8, to: u8 },
    Append { key: u8, which: Index, head: bool },
    Fence { ahead: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0u8..3;
    let upload = || 0u8..3;
    let numbers = proptest::collection::btree_set(1u16..5, 0..4).prop_map(|numbers| numbers.into_iter().collect());
    let step = prop_oneof![
        1 => proptest::strategy::Just(Step::CreateBucket),
        1 => proptest::strategy::Just(Step::DeleteBucket),
        6 => (key(), 0u8..3, any::<bool>(), any::<bool>())
            .prop_map(|(key, kind, only_if_absent, missing)| Step::Put { key, kind, only_if_absent, missing }),
        3 => key().prop_map(|key| Step::Delete { key }),
        3 => (key(), upload()).prop_map(|(key, upload)| Step::CreateUpload { key, upload }),
        8 => (key(), upload(), 1u16..5, any::<bool>())
            .prop_map(|(key, upload, number, large)| Step::PutPart { key, upload, number, large }),
        4 => (key(), upload(), numbers).prop_map(|(key, upload, numbers)| Step::Complete { key, upload, numbers }),
        1 => (key(), upload()).prop_map(|(key, upload)| Step::Abort { key, upload }),
        3 => (any::<Index>(), 0u8..5).prop_map(|(which, shard)| Step::Reclaim { which, shard }),
        3 => (any::<Index>(), 0u8..5, any::<bool>()).prop_map(|(which, shard, done)| Step::Repair { which, shard, done }),
        3 => (any::<Index>(), 0u8..5, 0u32..6).prop_map(|(which, shard, node)| Step::RepairedAt { which, shard, node }),
        6 => (any::<Index>(), 0u8..4, 0u32..6, 0u32..6, any::<bool>())
            .prop_map(|(which, shard, from, to, whole)| Step::Move { which, shard, from, to, whole }),
        2 => (any::<Index>(), 0u8..4, 0u32..6).prop_map(|(which, shard, node)| Step::Forget { which, shard, node }),
        2 => (0u8..5).prop_map(|to| Step::Versioning { to }),
        4 => (key(), 1u64..12, any::<bool>()).prop_map(|(key, seq, hold)| Step::DeleteVersion { key, seq, hold }),
        2 => key().prop_map(|key| Step::DeleteNull { key }),
        5 => (key(), key(), any::<Index>()).prop_map(|(from, to, which)| Step::Copy { from, to, which }),
        1 => key().prop_map(|key| Step::Tag { key }),
        1 => (key(), 900u64..1100).prop_map(|(key, until)| Step::Retain { key, until }),
        2 => (key(), key()).prop_map(|(from, to)| Step::Rename { from, to }),
        6 => (key(), any::<Index>(), any::<bool>()).prop_map(|(key, which, head)| Step::Append { key, which, head }),
        1 => (0u8..6).prop_map(|ahead| Step::Fence { ahead }),
    ];
    proptest::collection::vec(step, 0..80)
}

/// Lays a history out as commands. Part `number` of an upload has an MD5 that follows from the blob last put for it.
fn lay_out(steps: Vec<Step>) -> Vec<Command> {
    let mut parts: BTreeMap<(u8, u16), PartRow> = BTreeMap::new();
    let mut commands = Vec::new();
    let name = |key: u8| format!("key {key}");
    for (step, id) in steps.into_iter().zip(1000u128..) {
        let of_earlier = |which: Index| 1000 + which.index(id as usize - 999) as u128;
        let shard = |which: Index, shard| ShardId { blob: BlobId(of_earlier(which)), shard: ShardIndex(shard) };
        let change = match step {
            Step::CreateBucket => create_bucket("photos", "someone"),
            Step::DeleteBucket => Change::DeleteBucket { name: "photos".into() },
            Step::Put { key, kind, only_if_absent, missing } => {
                let put = match kind {
                    0 => put_inline(&name(key), id, b"bytes"),
                    1 => put_empty(&name(key), id),
                    _ => put_blob(&name(key), id),
                };
                let missing = if missing && kind == 2 { vec![ShardIndex(1), ShardIndex(2)] } else { Vec::new() };
                let if_none_match = only_if_absent.then_some(ETagCondition::Any);
                Change::PutObject(Box::new(PutObject {
                    conditions: WriteConditions { if_match: None, if_none_match },
                    missing,
                    ..put
                }))
            }
            Step::Delete { key } => {
                Change::DeleteObject { bucket: BUCKET, key: name(key), conditions: WriteConditions::default() }
            }
            Step::CreateUpload { key, upload } => {
                Change::CreateUpload(Box::new(create_upload(&name(key), upload.into())))
            }
            Step::PutPart { key, upload, number, large } => {
                let row = part(number, id, if large { 5 * MIB } else { 1 });
                parts.insert((upload, number), row.clone());
                Change::PutPart(Box::new(put_part(&name(key), upload.into(), row)))
            }
            Step::Complete { key, upload, numbers } => {
                let listed: Vec<_> = numbers.iter().filter_map(|&number| parts.get(&(upload, number))).collect();
                Change::CompleteUpload(Box::new(complete(&name(key), upload.into(), id, listed)))
            }
            Step::Abort { key, upload } => {
                Change::AbortUpload { bucket: BUCKET, key: name(key), upload: UploadId(upload.into()) }
            }
            Step::Reclaim { which, shard: 4 } => {
                Change::ReclaimGarbage { gone: (0..4).map(|index| shard(which, index)).collect() }
            }
            Step::Reclaim { which, shard: index } => Change::ReclaimGarbage { gone: vec![shard(which, index)] },
            Step::Move { which, shard: index, from, to, whole } => {
                let (shard, incarnation) = (shard(which, index), node().incarnation);
                let step = MovedShard { shard, from: NodeId(from), to: NodeId(to), incarnation, whole };
                Change::MoveShards { epoch: Epoch(6), moves: vec![step] }
            }
            Step::Forget { which, shard: index, node } => {
                Change::ForgetLeftovers { gone: vec![(NodeId(node), shard(which, index))] }
            }
            Step::RepairedAt { which, shard: index, node } => {
                Change::FinishRepairsAt { done: vec![(shard(which, index), NodeId(node))] }
            }
            Step::Versioning { to } => versioning(to),
            Step::DeleteVersion { key, seq, hold } => {
                // A version's salt is of its manifest, or the delete's own.
                let salts = (1000..id).chain([SALT.into()]);
                let deletes =
                    salts.map(|salt| delete(name(key), Pick::Exact { seq, salt: salt as u64 }, hold)).collect();
                Change::DeleteVersions { bucket: BUCKET, deletes }
            }
            Step::DeleteNull { key } => {
                Change::DeleteVersions { bucket: BUCKET, deletes: vec![delete(name(key), Pick::Null, true)] }
            }
            Step::Copy { from, to, which } => copy(name(from), name(to), of_earlier(which), id),
            Step::Tag { key } => traits(name(key), TraitsChange::Tags(vec![("colour".to_owned(), id.to_string())])),
            Step::Retain { key, until } => {
                let retention = Some(Retention { mode: RetentionMode::Governance, until: UnixMs(until) });
                traits(name(key), TraitsChange::Retention { retention, bypass_governance: false })
            }
            Step::Rename { from, to } => Change::RenameObject(Box::new(RenameObject {
                bucket: BUCKET,
                source_key: name(from),
                source: None,
                key: name(to),
                conditions: WriteConditions::default(),
                standing: None,
                token: Some(RenameToken { id: u128::from(from), asked: u128::from(to) }),
                created: None,
                removed: None,
            })),
            Step::Fence { ahead } => Change::RaiseFence { below: BlobId(id + u128::from(ahead)) },
            Step::Append { key, which, head } => append(name(key), of_earlier(which), id, head),
            Step::Repair { which, shard: index, done: true } => {
                Change::FinishRepairs { done: vec![shard(which, index)] }
            }
            Step::Repair { which, shard, done: false } => {
                Change::QueueRepairs { missing: vec![(blob(of_earlier(which), 1), ShardIndex(shard))] }
            }
        };
        commands.push(Command::new(UnixMs(id as u64), change));
    }
    commands
}

const SALT: u64 = 77;

fn versioning(to: u8) -> Change {
    let versioning = match to {
        0 => Some(Versioning::Suspended),
        1..4 => Some(Versioning::Enabled),
        _ => None,
    };
    Change::SetBucket { bucket: BUCKET, versioning, lock: to == 4, quota: None }
}

fn delete(key: String, pick: Pick, bypass_governance: bool) -> DeleteVersion {
    DeleteVersion {
        key,
        pick,
        conditions: DeleteConditions::default(),
        owner: "someone".to_owned(),
        salt: SALT,
        bypass_governance,
        event: None,
    }
}

fn copy(source_key: String, key: String, source: u128, id: u128) -> Change {
    Change::CopyVersion(Box::new(CopyVersion {
        source_bucket: BUCKET,
        source_key,
        source: Pick::Current,
        source_manifest: ManifestId(source),
        source_sealing: None,
        bucket: BUCKET,
        key,
        id: ManifestId(id),
        headers: ObjectHeaders::default(),
        checksum: None,
        traits: Traits::default(),
        conditions: WriteConditions::default(),
        event: None,
    }))
}

fn traits(key: String, to: TraitsChange) -> Change {
    Change::ChangeTraits(Box::new(ChangeTraits {
        bucket: BUCKET,
        key,
        pick: Pick::Current,
        manifest: None,
        to,
        event: None,
    }))
}

/// Blobs of heads have ids of their own.
const HEADS: u128 = 1_000_000;

/// With a head for the bytes that `put_inline` has here.
fn append(key: String, standing: u128, id: u128, head: bool) -> Change {
    Change::AppendObject(Box::new(AppendObject {
        bucket: BUCKET,
        key,
        manifest: ManifestId(standing),
        id: ManifestId(id),
        etag: ETag { md5: [1; 16], parts: None },
        checksum: None,
        head: head.then(|| (blob(HEADS + id, 5), vec![ShardIndex(0)])),
        number: id as u16,
        blob: blob(id, 7),
        size_bytes: 7,
        md5: [2; 16],
        missing: vec![ShardIndex(3)],
        event: None,
    }))
}

/// Applies the commands, this many to an entry and this many entries at once, over a bucket that is there first.
fn apply(commands: &[Command], per_entry: usize, entries_at_once: usize) -> MetaTables {
    let kv = Arc::new(MemoryKv::new(TABLES));
    let tables = MetaTables::open(kv).expect("opens");
    let nodes = (0..6).map(|id| Change::RegisterNode(NodeRecord { id: NodeId(id), ..node() }));
    let first = [create_bucket("photos", "someone")].into_iter().chain(nodes);
    let first = first.map(|change| Command::new(UnixMs(1), change)).collect();
    tables.apply([ApplyEntry { index: 1, commands: first }], Bytes::new()).expect("applies");
    let entries: Vec<_> = commands
        .chunks(per_entry)
        .zip(2..)
        .map(|(some, index)| ApplyEntry { index, commands: some.to_vec() })
        .collect();
    for batch in entries.chunks(entries_at_once) {
        tables.apply(batch.to_vec(), position(0)).expect("applies");
    }
    tables
}

fn rows<R: Record>(kv: &dyn KvRead, table: Table) -> Vec<R> {
    let pairs = kv.range(table, Bound::Unbounded, Bound::Unbounded);
    pairs.map(|pair| codec::decode(&pair.expect("reads").1).expect("decodes")).collect()
}

fn count(kv: &dyn KvRead, table: Table) -> u64 {
    kv.range(table, Bound::Unbounded, Bound::Unbounded).count() as u64
}

fn check(tables: &MetaTables) {
    let kv = tables.kv().snapshot();
    let kv = &*kv;
    let objects = check_versions(kv);
    let parts: Vec<PartRow> = [rows(kv, PARTS), rows(kv, UPLOAD_PARTS)].concat();
    let of_objects = objects.iter().filter_map(|object| match &object.body {
        Body::Blob(blob) => Some(blob.id),
        _ => None,
    });
    let owners: Vec<BlobId> =
        of_objects.chain(parts.iter().filter_map(|part| part.blob.as_ref()).map(|blob| blob.id)).collect();
    let owned: BTreeSet<_> = owners.iter().copied().collect();
    let lists: Vec<ManifestId> = objects.iter().filter_map(Manifest::parts).map(|(list, _)| list).collect();
    let of_blobs = owners.into_iter().map(Shared::Blob);
    let references: Vec<_> = of_blobs.chain(lists.iter().copied().map(Shared::Parts)).map(Shared::key).collect();
    check_shared(kv, &references);
    let (known, next) = tables.view().blobs(None, 1 << 20).expect("reads");
    assert_eq!(
        (known.iter().map(|blob| blob.id).collect::<BTreeSet<_>>(), next),
        (owned.clone(), None),
        "blobs are not those referred to"
    );
    let garbage: Vec<GarbageRow> = rows(kv, GARBAGE);
    assert!(garbage.iter().all(|row| !owned.contains(&row.blob.id)), "garbage is referred to");
    let repairs = tables.view().repairs(None, usize::MAX).expect("reads");
    assert!(repairs.iter().all(|row| owned.contains(&row.blob.id)), "a repair of what nothing refers to");
    for row in &repairs {
        assert_eq!(Some(&row.blob), known.iter().find(|blob| blob.id == row.blob.id), "a repair names other places");
    }
    for blob in &known {
        for (shard, node) in blob.placement.iter().enumerate() {
            let shard = ShardId { blob: blob.id, shard: ShardIndex(shard as u8) };
            assert!(!tables.view().is_leftover(*node, shard).expect("reads"), "what counts would be dropped");
        }
    }
    let inline = objects.iter().filter(|object| object.body == Body::Inline).count() as u64;
    assert_eq!(count(kv, INLINE), inline, "inline rows without objects, or the reverse");
    let lists: BTreeSet<ManifestId> = lists.into_iter().collect();
    for pair in kv.range(COMPLETED, Bound::Unbounded, Bound::Unbounded) {
        let key = pair.expect("reads").0;
        let list = ManifestId::from_be_bytes(key[..].try_into().expect("an id"));
        assert!(lists.contains(&list), "a completed upload is remembered beyond its object");
    }
    for object in &objects {
        let Some((list, count)) = object.parts() else { continue };
        let parts = tables.view().parts_from(list, 0, 100).expect("reads");
        let bytes = parts.iter().map(|part| part.size_bytes).sum::<u64>();
        assert_eq!((parts.len(), bytes), (count.into(), object.size_bytes), "parts do not make up the object");
    }
    let uploads: BTreeSet<UploadId> = rows::<UploadRow>(kv, UPLOADS).into_iter().map(|row| row.upload.id).collect();
    for pair in kv.range(UPLOAD_PARTS, Bound::Unbounded, Bound::Unbounded) {
        let (id, _) =
            pair.expect("reads").0.split_first_chunk().map(|(id, rest)| (*id, rest.len())).expect("has an id");
        assert!(uploads.contains(&UploadId::from_be_bytes(id)), "a part of no upload");
    }
    let counts = tables.view().counts().expect("reads");
    let expected = Counts {
        buckets: count(kv, BUCKETS),
        objects: count(kv, OBJECTS),
        uploads: count(kv, UPLOADS),
        blobs: count(kv, BLOBS),
        garbage: count(kv, GARBAGE),
        repairs: count(kv, REPAIRS),
        dropped_lists: count(kv, DROPPED),
        buckets_ever: counts.buckets_ever,
        versions: count(kv, VERSIONS),
        versions_ever: counts.versions_ever,
        shared: count(kv, SHARED),
        documents: count(kv, DOCUMENTS),
        documents_ever: counts.documents_ever,
        events: count(kv, EVENTS),
        events_ever: counts.events_ever,
    };
    assert_eq!(counts, expected, "counters differ from the rows");
    assert_eq!(tables.view().held().expect("reads"), held_by_rows(&known, &garbage, kv), "what nodes hold differs");
}

/// That versions are where they belong and are counted; all object versions' manifests.
fn check_versions(kv: &dyn KvRead) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    let mut usages: BTreeMap<[u8; 8], Usage> = BTreeMap::new();
    let mut nulls: BTreeMap<Vec<u8>, Version> = BTreeMap::new();
    for pair in kv.range(OBJECTS, Bound::Unbounded, Bound::Unbounded) {
        let (key, row) = pair.expect("reads");
        let object: ObjectVersion = codec::decode(&row).expect("decodes");
        let usage = usages.entry(key[..8].try_into().expect("a bucket")).or_default();
        usage.objects += 1;
        usage.bytes += object.manifest.size_bytes;
        manifests.push(object.manifest);
    }
    let mut last: Option<(String, u64)> = None;
    for pair in kv.range(VERSIONS, Bound::Unbounded, Bound::Unbounded) {
        let (row_key, row) = pair.expect("reads");
        let row: VersionRow = codec::decode(&row).expect("decodes");
        let key = key_of_version(&row_key).expect("a key");
        let usage = usages.entry(row_key[..8].try_into().expect("a bucket")).or_default();
        usage.versions += 1;
        let current = kv.get(OBJECTS, &object_key(BUCKET, &key)).expect("reads");
        let current: Option<ObjectVersion> = current.map(|row| codec::decode(&row).expect("decodes"));
        let first = last.as_ref().is_none_or(|(last, _)| *last != key);
        match (&current, first) {
            (Some(current), true) => assert!(current.version.seq > row.version().seq, "the current one is not newest"),
            (None, true) => assert!(matches!(row, VersionRow::DeleteMarker(_)), "an object that none hides is hidden"),
            (_, false) => assert!(last.is_some_and(|(_, seq)| seq > row.version().seq), "versions are out of order"),
        }
        last = Some((key.clone(), row.version().seq));
        if row.version().null {
            assert!(!current.is_some_and(|current| current.version.null), "a key has two null versions");
            assert_eq!(nulls.insert(object_key(BUCKET, &key), row.version()), None, "a key has two null versions");
        }
        if let VersionRow::Object(object) = row {
            usage.bytes += object.manifest.size_bytes;
            manifests.push(object.manifest);
        }
    }
    let named = kv.range(NULL_VERSIONS, Bound::Unbounded, Bound::Unbounded).map(|pair| {
        let (key, row) = pair.expect("reads");
        (key.to_vec(), codec::decode::<NullVersionRow>(&row).expect("decodes").version)
    });
    assert_eq!(named.collect::<BTreeMap<_, _>>(), nulls, "null versions are not where they are said to be");
    for pair in kv.range(USAGE, Bound::Unbounded, Bound::Unbounded) {
        let (bucket, row) = pair.expect("reads");
        let bucket: [u8; 8] = bucket[..].try_into().expect("a bucket");
        let counted = usages.remove(&bucket).unwrap_or_default();
        assert_eq!(codec::decode::<Usage>(&row), Ok(counted), "a bucket's usage is not what is in it");
    }
    assert!(usages.is_empty(), "buckets without usage: {usages:?}");
    manifests
}

/// That what is referred to several times is counted so, and nothing else is.
fn check_shared(kv: &dyn KvRead, references: &[[u8; 17]]) {
    let mut counted: BTreeMap<[u8; 17], u32> = BTreeMap::new();
    for key in references {
        *counted.entry(*key).or_default() += 1;
    }
    // A list's references are its objects'; its blobs are referred to once, by their rows.
    counted.retain(|_, references| *references > 1);
    let rows = kv.range(SHARED, Bound::Unbounded, Bound::Unbounded).map(|pair| {
        let (key, row) = pair.expect("reads");
        let key: [u8; 17] = key[..].try_into().expect("a kind and an id");
        (key, codec::decode::<SharedRow>(&row).expect("decodes").references)
    });
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), counted, "references are not as many as are counted");
}

fn held_by_rows(known: &[BlobRef], garbage: &[GarbageRow], kv: &dyn KvRead) -> HeldRecord {
    let mut held = HeldRecord::default();
    for node in known.iter().flat_map(|blob| &blob.placement) {
        held.nodes.entry(*node).or_default().placed += 1;
    }
    for pair in kv.range(LEFTOVERS, Bound::Unbounded, Bound::Unbounded) {
        let key = pair.expect("reads").0;
        let (node, _) = key.split_first_chunk().expect("has a node");
        held.nodes.entry(NodeId(u32::from_be_bytes(*node))).or_default().leftovers += 1;
    }
    for row in garbage {
        for shard in &row.pending {
            held.nodes.entry(row.blob.placement[usize::from(shard.0)]).or_default().garbage += 1;
        }
    }
    held
}

/// Every blob that a command brought is owned, garbage, or was reclaimed.
fn check_nothing_leaks(tables: &MetaTables, commands: &[Command]) {
    let view = tables.view();
    let mut reclaimed: BTreeMap<BlobId, BTreeSet<ShardIndex>> = BTreeMap::new();
    for command in commands {
        if let Change::ReclaimGarbage { gone } = &command.change {
            for shard in gone {
                reclaimed.entry(shard.blob).or_default().insert(shard.shard);
            }
        }
    }
    for command in commands {
        for id in command.change.fresh_blobs().into_iter().flatten().map(|blob| blob.id) {
            let may_be_gone = reclaimed.get(&id).is_some_and(|shards| shards.len() == 4);
            assert!(may_be_gone || view.blob_is_known(id).expect("reads"), "blob {id} leaked");
        }
    }
}

fn image(tables: &MetaTables) -> Vec<Bytes> {
    SnapshotWriter::new(tables.kv().snapshot()).collect::<Result<_, _>>().expect("reads")
}

proptest! {
    #[test]
    fn no_history_loses_a_blob_or_makes_a_counter_untrue(steps in steps()) {
        let commands = lay_out(steps);
        let tables = apply(&commands, 1, 1);
        check(&tables);
        check_nothing_leaks(&tables, &commands);
    }

    #[test]
    fn the_tables_do_not_depend_on_how_entries_were_batched_c6(steps in steps(), per_entry in 1usize..9, at_once in 1usize..5) {
        let commands = lay_out(steps);
        let one_by_one = apply(&commands, per_entry, 1);
        let batched = apply(&commands, per_entry, at_once);
        check(&batched);
        prop_assert_eq!(image(&one_by_one), image(&batched));
    }
}
