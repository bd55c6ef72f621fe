//! The fence of fresh blobs: what lies below it is adopted by no change.

use super::{Machine, put, shards_of};
use crate::storage::meta::command::{AppendObject, Change, PutVersion, Refusal, Reply};
use crate::storage::meta::record::{ETag, Traits};
use crate::storage::meta::samples::{
    BUCKET, append_object, blob, create_upload, md5_of, part, put_blob, put_inline, put_part,
};
use crate::types::{BlobId, ManifestId};

const FENCE: u128 = 100;

/// With an object to append to, one whose bytes ride in the metadata, and an upload; and with the fence.
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

/// Every change that adopts a blob, with this id for one that it brings.
fn adopting(id: u128) -> Vec<Change> {
    let version = PutVersion { put: put_blob("version", id), traits: Traits::default(), event: None };
    vec![
        put(put_blob("key", id)),
        Change::PutVersion(Box::new(version)),
        Change::PutPart(Box::new(put_part("upload", 12, part(1, id, 7)))),
        append("standing", 10, id, None),
        append("small", 11, id, Some(FENCE)),
        append("small", 11, FENCE, Some(id)),
    ]
}

#[test]
fn no_change_adopts_a_blob_below_the_fence() {
    for (at, change) in adopting(FENCE - 1).into_iter().enumerate() {
        let mut machine = fenced();
        let before = machine.blobs();
        let mut brought: Vec<u128> = change.fresh_blobs().into_iter().flatten().map(|blob| blob.id.0).collect();
        brought.sort_unstable();
        assert!(brought.contains(&(FENCE - 1)), "change {at} brings no blob");
        assert_eq!(machine.refusal(change.clone()), Refusal::Fenced, "change {at}");
        assert_eq!(machine.blobs(), before);
        assert_eq!(machine.garbage(), brought, "what was brought is reclaimed");
        let gone = brought.iter().flat_map(|&id| shards_of(id)).collect();
        machine.apply(Change::ReclaimGarbage { gone });
        assert_eq!(machine.refusal(change), Refusal::Fenced, "nor later, when it is unknown again");
    }
    for (at, change) in adopting(FENCE + 1).into_iter().enumerate() {
        let mut machine = fenced();
        let reply = machine.apply(change);
        assert!(
            matches!(reply, Reply::ObjectPut { .. } | Reply::VersionPut { .. } | Reply::PartPut { .. }),
            "{at}: {reply:?}"
        );
    }
}

/// The samples stand for every change: what brings a blob is tried above.
#[test]
fn an_append_brings_its_head_too() {
    let sample = append_object();
    let brought = Change::AppendObject(Box::new(sample.clone()));
    let head = sample.head.as_ref().map(|(head, _)| head);
    assert_eq!(brought.fresh_blobs(), [head, Some(&sample.blob)]);
}

#[test]
fn the_fence_only_rises_and_leaves_what_is_known_alone() {
    let mut machine = fenced();
    assert_eq!(machine.view().fence().expect("reads"), BlobId(FENCE));
    machine.apply(raise(FENCE - 50));
    assert_eq!(machine.view().fence().expect("reads"), BlobId(FENCE));
    machine.apply(raise(FENCE + 50));
    assert_eq!(machine.view().fence().expect("reads"), BlobId(FENCE + 50));
    assert_eq!(machine.blobs(), [10]);
    let stands = machine.apply(put(put_blob("standing", 10)));
    assert!(matches!(stands, Reply::ObjectPut { .. }), "a put that is sent again is answered again: {stands:?}");
    assert_eq!(machine.refusal(put(put_blob("other", 10))), Refusal::InvalidRequest, "it is somebody's");
}
