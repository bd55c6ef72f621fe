//! Tests of fresh blobs: the fence, below which none is adopted, and drives that were replaced since the blobs were
//! written.

use super::{Machine, put, shards_of};
use crate::storage::meta::command::{AppendObject, Change, FinishedRepair, Refusal, Reply};
use crate::storage::meta::record::{ETag, NodeRecord};
use crate::storage::meta::samples::{
    self, BUCKET, append_object, blob, create_upload, md5_of, node, part, put_blob, put_inline, put_part,
};
use crate::types::{BlobId, Epoch, Incarnation, ManifestId, NodeId, ShardNumber};

const FENCE: u128 = 100;

/// Creates a machine with an object to append to, an inline object, an upload, and a fence.
fn fenced() -> Machine {
    let mut machine = Machine::with_bucket();
    machine.put(put_blob("standing", 10));
    machine.put(put_inline("small", 11, b"bytes"));
    machine.apply(Change::CreateUpload(Box::new(create_upload("upload", 12))));
    assert_eq!(machine.apply(raise(FENCE)), Reply::Done);
    machine
}

fn raise(below: u128) -> Change {
    Change::RaiseFence { below: BlobId(below) }
}

fn append(key: &str, standing: u128, fresh: u128, head: Option<u128>) -> Change {
    let size_bytes = 7;
    Change::AppendObject(Box::new(AppendObject {
        bucket: BUCKET,
        key: key.to_owned(),
        manifest: ManifestId(standing),
        id: ManifestId(1000 + fresh),
        etag: ETag { md5: md5_of(fresh), parts: Some(2) },
        checksum: None,
        head: head.map(|head| (blob(head, 5), Vec::new())),
        number: 2,
        blob: blob(fresh, size_bytes),
        size_bytes,
        md5: md5_of(fresh),
        missing: Vec::new(),
        event: None,
    }))
}

/// Returns every change that adopts a blob, each with one blob of this id.
fn adopting(id: u128) -> Vec<Change> {
    vec![
        put(put_blob("key", id)),
        Change::PutPart(Box::new(put_part("upload", 12, part(1, id, 7)))),
        append("standing", 10, id, None),
        append("small", 11, id, Some(FENCE)),
        append("small", 11, FENCE, Some(id)),
    ]
}

#[test]
fn no_change_adopts_a_blob_below_the_fence() {
    let written_by = |change: Change| change.written_by(Epoch(0));
    let changes = adopting(FENCE - 1).into_iter().flat_map(|change| [change.clone(), written_by(change)]);
    for (at, change) in changes.enumerate() {
        let mut machine = fenced();
        let before = machine.blobs();
        let mut brought: Vec<u128> = change.fresh_blobs().into_iter().flatten().map(|blob| blob.id.0).collect();
        brought.sort_unstable();
        assert!(brought.contains(&(FENCE - 1)), "change {at} brings no blob");
        assert_eq!(machine.refusal(change.clone()), Refusal::Fenced, "change {at}");
        assert_eq!(machine.blobs(), before);
        assert_eq!(machine.garbage(), brought, "the refused blobs are garbage");
        let gone = brought.iter().flat_map(|&id| shards_of(id)).collect();
        machine.apply(Change::ReclaimGarbage { gone });
        assert_eq!(machine.refusal(change), Refusal::Fenced, "refused also when the blob is unknown again");
    }
    for (at, change) in adopting(FENCE + 1).into_iter().enumerate() {
        let mut machine = fenced();
        let reply = machine.apply(change);
        assert!(matches!(reply, Reply::ObjectPut { .. } | Reply::PartPut { .. }), "{at}: {reply:?}");
    }
}

/// The other tests rely on `fresh_blobs` to name every blob that a change brings.
#[test]
fn the_fresh_blobs_of_an_append_include_its_head() {
    let sample = append_object();
    let brought = Change::AppendObject(Box::new(sample.clone()));
    let head = sample.head.as_ref().map(|(head, _)| head);
    assert_eq!(brought.fresh_blobs(), [head, Some(&sample.blob)]);
}

#[test]
fn the_fence_only_rises_and_does_not_affect_known_blobs() {
    let mut machine = fenced();
    assert_eq!(machine.view().fence().expect("reads"), BlobId(FENCE));
    machine.apply(raise(FENCE - 50));
    assert_eq!(machine.view().fence().expect("reads"), BlobId(FENCE));
    machine.apply(raise(FENCE + 50));
    assert_eq!(machine.view().fence().expect("reads"), BlobId(FENCE + 50));
    assert_eq!(machine.blobs(), [10]);
    let stands = machine.apply(put(put_blob("standing", 10)));
    assert!(matches!(stands, Reply::ObjectPut { .. }), "a put that is sent again is answered again: {stands:?}");
    assert_eq!(
        machine.refusal(put(put_blob("other", 10))),
        Refusal::InvalidRequest,
        "the blob belongs to another object"
    );
}

fn register(machine: &mut Machine, id: u32, incarnation: u128) -> Epoch {
    let record = NodeRecord { id: NodeId(id), incarnation: Incarnation(incarnation), ..node() };
    assert_eq!(machine.apply(samples::register(record)), Reply::Done);
    machine.view().layout().expect("reads").epoch
}

/// Returns a machine with the drives of the samples' blobs, and the layout's epoch.
fn with_drives() -> (Machine, Epoch) {
    let mut machine = fenced();
    let epochs: Vec<Epoch> = (0..4).map(|id| register(&mut machine, id, 1)).collect();
    (machine, epochs[3])
}

/// Shards 0 to 3 of the samples are on nodes 3, 1, 0, 2.
#[test]
fn shards_written_to_drives_replaced_meanwhile_are_missing() {
    let adoptions: Vec<Change> = adopting(FENCE + 1).into_iter().map(|change| change.written_by(Epoch(0))).collect();
    let adoptions = adoptions.into_iter().filter(|change| matches!(change, Change::Adopt(_)));
    let mut tried = 0;
    for change in adoptions {
        let Change::Adopt(adoption) = change else { continue };
        let by = |layout| Change::from(adoption.change.clone()).written_by(layout);
        let mut brought: Vec<u128> = by(Epoch(0)).fresh_blobs().into_iter().flatten().map(|blob| blob.id.0).collect();

        let (mut machine, before) = with_drives();
        let replaced = register(&mut machine, 1, 2);
        assert!(replaced > before);
        assert!(!matches!(machine.apply(by(before)), Reply::Refused(_)), "three of four are a quorum");
        brought.sort_unstable();
        let missing: Vec<_> = brought.iter().map(|&id| (id, 1)).collect();
        assert_eq!(machine.repairs(), missing);

        let (mut machine, before) = with_drives();
        register(&mut machine, 1, 2);
        register(&mut machine, 3, 2);
        assert_eq!(machine.refusal(by(before)), Refusal::NoSuchNode, "fewer are left than a write needs");
        assert_eq!(machine.garbage(), brought);

        let (mut machine, before) = with_drives();
        assert_eq!(register(&mut machine, 1, 1), before, "the same drive is back");
        assert!(!matches!(machine.apply(by(before)), Reply::Refused(_)));
        assert_eq!(machine.repairs(), []);

        let (mut machine, _) = with_drives();
        let replaced = register(&mut machine, 1, 2);
        assert!(!matches!(machine.apply(by(replaced)), Reply::Refused(_)));
        assert_eq!(machine.repairs(), [], "the writer knew of the drive that is there now");
        tried += 1;
    }
    assert_eq!(tried, 5, "one of each change, and an append with each of its blobs");
}

#[test]
fn a_node_id_that_was_removed_and_reused_belongs_to_another_drive() {
    let (mut machine, before) = with_drives();
    machine.apply(samples::delete(BUCKET, "standing"));
    machine.apply(Change::ReclaimGarbage { gone: shards_of(10) });
    assert_eq!(machine.apply(Change::RemoveNode { node: NodeId(1), lost: false }), Reply::Done);
    register(&mut machine, 1, 2);
    machine.apply(put(put_blob("key", FENCE + 1)).written_by(before));
    assert_eq!(machine.repairs(), [(FENCE + 1, 1)]);
}

#[test]
fn a_repair_on_a_drive_replaced_meanwhile_stays_queued() {
    let (mut machine, _) = with_drives();
    machine.apply(Change::QueueRepairs { missing: vec![(blob(10, 1), ShardNumber(1))] });
    register(&mut machine, 1, 2);
    let done = |incarnation: Option<u128>| {
        let incarnation = incarnation.map(Incarnation);
        Change::FinishRepairs { done: vec![FinishedRepair { shard: shards_of(10)[1], node: NodeId(1), incarnation }] }
    };
    for before in [Some(1), None] {
        machine.apply(done(before));
        assert_eq!(machine.repairs(), [(10, 1)]);
    }
    machine.apply(done(Some(2)));
    assert_eq!(machine.repairs(), []);
}
