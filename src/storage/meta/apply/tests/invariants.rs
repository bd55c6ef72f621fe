//! Tests with random histories: no blob is lost or owned twice, the counters are exact, and the result does not depend
//! on how the log was cut into batches.

use super::{create_bucket, position};
use crate::storage::kv::memory::MemoryKv;
use crate::storage::meta::apply::{ApplyEntry, MetaTables};
use crate::storage::meta::command::{
    AppendObject, Change, ChangeTraits, Command, CopyVersion, DeleteConditions, DeleteVersion, ETagCondition,
    FinishedRepair, MovedShard, PutObject, RenameObject, RenameToken, TraitsChange, WriteConditions,
};
use crate::storage::meta::record::{
    ETag, NodeRecord, ObjectHeaders, ObjectLock, PartRow, Pick, QuotaChange, Retention, RetentionMode, Traits,
    Versioning,
};
use crate::storage::meta::samples::{
    self, BUCKET, MIB, blob, complete, create_upload, node, part, put_blob, put_empty, put_inline, put_part, register,
};
use crate::storage::meta::snapshot::SnapshotWriter;
use crate::storage::meta::tables::TABLES;
use crate::types::{BlobId, Epoch, ManifestId, NodeId, ShardId, ShardNumber, UnixMs, UploadId};
use bytes::Bytes;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A step of a history. `lay_out` draws the ids, so that every blob is fresh.
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

/// Turns a history into commands. A completion lists its parts with the MD5s of their last puts.
fn lay_out(steps: Vec<Step>) -> Vec<Command> {
    let mut parts: BTreeMap<(u8, u8, u16), PartRow> = BTreeMap::new();
    let mut commands = Vec::new();
    let name = |key: u8| format!("key {key}");
    // Ids of uploads are random, so no two keys have the same.
    let upload_id = |key: u8, upload: u8| u128::from(key) << 8 | u128::from(upload);
    for (step, id) in steps.into_iter().zip(1000u128..) {
        let of_earlier = |which: Index| 1000 + which.index(id as usize - 999) as u128;
        let shard = |which: Index, shard| ShardId { blob: BlobId(of_earlier(which)), shard: ShardNumber(shard) };
        let change = match step {
            Step::CreateBucket => create_bucket("photos", "someone"),
            Step::DeleteBucket => Change::DeleteBucket { bucket: BUCKET },
            Step::Put { key, kind, only_if_absent, missing } => {
                let put = match kind {
                    0 => put_inline(&name(key), id, b"bytes"),
                    1 => put_empty(&name(key), id),
                    _ => put_blob(&name(key), id),
                };
                let missing = if missing && kind == 2 { vec![ShardNumber(1), ShardNumber(2)] } else { Vec::new() };
                let if_none_match = only_if_absent.then_some(ETagCondition::Any);
                Change::PutObject(Box::new(PutObject {
                    conditions: WriteConditions { if_match: None, if_none_match },
                    missing,
                    ..put
                }))
            }
            Step::Delete { key } => samples::delete(BUCKET, &name(key)),
            Step::CreateUpload { key, upload } => {
                Change::CreateUpload(Box::new(create_upload(&name(key), upload_id(key, upload))))
            }
            Step::PutPart { key, upload, number, large } => {
                let row = part(number, id, if large { 5 * MIB } else { 1 });
                parts.insert((key, upload, number), row.clone());
                Change::PutPart(Box::new(put_part(&name(key), upload_id(key, upload), row)))
            }
            Step::Complete { key, upload, numbers } => {
                let listed: Vec<_> = numbers.iter().filter_map(|&number| parts.get(&(key, upload, number))).collect();
                Change::CompleteUpload(Box::new(complete(&name(key), upload_id(key, upload), id, listed)))
            }
            Step::Abort { key, upload } => {
                Change::AbortUpload { bucket: BUCKET, key: name(key), upload: UploadId(upload_id(key, upload)) }
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
            Step::RepairedAt { which, shard: index, node } => finish_repairs(shard(which, index), [node]),
            Step::Versioning { to } => versioning(to),
            Step::DeleteVersion { key, seq, hold } => {
                // The salt of a version comes from its manifest, or from the delete.
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
            Step::Repair { which, shard: index, done: true } => finish_repairs(shard(which, index), 0..6),
            Step::Repair { which, shard, done: false } => {
                Change::QueueRepairs { missing: vec![(blob(of_earlier(which), 1), ShardNumber(shard))] }
            }
        };
        commands.push(Command::new(UnixMs(id as u64), change));
    }
    commands
}

const SALT: u64 = 77;

fn finish_repairs(shard: ShardId, nodes: impl IntoIterator<Item = u32>) -> Change {
    let incarnation = Some(node().incarnation);
    let finished = |node| FinishedRepair { shard, node: NodeId(node), incarnation };
    Change::FinishRepairs { done: nodes.into_iter().map(finished).collect() }
}

fn versioning(to: u8) -> Change {
    let versioning = match to {
        0 => Some(Versioning::Suspended),
        1..4 => Some(Versioning::Enabled),
        _ => None,
    };
    Change::SetBucket {
        bucket: BUCKET,
        versioning,
        lock: (to == 4).then(ObjectLock::default),
        quota: QuotaChange::default(),
    }
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

/// The ids of the blobs of appends' heads begin here.
const HEADS: u128 = 1_000_000;

/// Returns an append. Its head, if any, has the size of the bytes that `put_inline` stores here.
fn append(key: String, standing: u128, id: u128, head: bool) -> Change {
    Change::AppendObject(Box::new(AppendObject {
        bucket: BUCKET,
        key,
        manifest: ManifestId(standing),
        id: ManifestId(id),
        etag: ETag { md5: [1; 16], parts: None },
        checksum: None,
        head: head.then(|| (blob(HEADS + id, 5), vec![ShardNumber(0)])),
        number: id as u16,
        blob: blob(id, 7),
        size_bytes: 7,
        md5: [2; 16],
        missing: vec![ShardNumber(3)],
        event: None,
    }))
}

/// Applies the commands, `per_entry` to an entry and `entries_at_once` in a batch, to tables with a bucket and nodes.
fn apply(commands: &[Command], per_entry: usize, entries_at_once: usize) -> MetaTables {
    let kv = Arc::new(MemoryKv::new(TABLES));
    let tables = MetaTables::open(kv).expect("opens");
    let nodes = (0..6).map(|id| register(NodeRecord { id: NodeId(id), ..node() }));
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

fn check(tables: &MetaTables) {
    tables.view().check_invariants();
}

/// Checks that every blob that a command brought is owned, garbage, or reclaimed.
fn check_nothing_leaks(tables: &MetaTables, commands: &[Command]) {
    let view = tables.view();
    let mut reclaimed: BTreeMap<BlobId, BTreeSet<ShardNumber>> = BTreeMap::new();
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
    fn no_history_leaks_a_blob_or_breaks_a_counter(steps in steps()) {
        let commands = lay_out(steps);
        let tables = apply(&commands, 1, 1);
        check(&tables);
        check_nothing_leaks(&tables, &commands);
    }

    #[test]
    fn the_tables_do_not_depend_on_how_entries_are_batched_c6(steps in steps(), per_entry in 1usize..9, at_once in 1usize..5) {
        let commands = lay_out(steps);
        let one_by_one = apply(&commands, per_entry, 1);
        let batched = apply(&commands, per_entry, at_once);
        check(&batched);
        prop_assert_eq!(image(&one_by_one), image(&batched));
    }
}
