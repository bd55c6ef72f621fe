//! Tests of requests that the metadata shows to be in vain, which take no entry of its log, and of appends to objects
//! that have copies.

use super::permissions::Client;
use super::{Answer, start};
use crate::actors::meta::{Change, CopyVersion, ObjectHeaders, Pick, Reply, Traits, WriteConditions};
use crate::actors::request::test_world::World;
use crate::limits::SHARED_PARTS_COPIED_MAX;
use crate::types::ManifestId;

/// Returns the number of entries of the log, whether their changes were made or refused.
fn entries(world: &World) -> u64 {
    world.meta.view().applied().expect("tables in memory").map_or(0, |applied| applied.index)
}

/// Returns a list of parts, each with its number and entity tag.
fn listed(parts: &[(u16, &str)]) -> Vec<u8> {
    let part =
        |(number, tag): &(u16, &str)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    let parts: String = parts.iter().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").into_bytes()
}

#[actix::test]
async fn a_completion_of_parts_that_are_not_there_takes_no_entry_of_the_log() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    let begun = String::from_utf8(root.done("POST", "/bucket/k?uploads", &[], b"").await.body).expect("text");
    let id = begun.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).expect("an upload's id");
    let mut tags = Vec::new();
    for number in 1..=2 {
        let part = format!("/bucket/k?partNumber={number}&uploadId={id}");
        let put = root.done("PUT", &part, &[], b"a small part").await;
        tags.push(put.header("etag").expect("a tag").to_owned());
    }
    let (one, two, other) = (tags[0].as_str(), tags[1].as_str(), format!("\"{}\"", "0".repeat(32)));
    let complete = format!("/bucket/k?uploadId={id}");
    let before = entries(&world);
    for (parts, code, named) in [
        (vec![(1, other.as_str())], "InvalidPart", Some(1)),
        (vec![(2, two), (3, one)], "InvalidPart", Some(3)),
        (vec![(2, two), (1, one)], "InvalidPartOrder", None),
        (vec![(1, one), (2, two)], "EntityTooSmall", Some(1)),
    ] {
        let refused = root.ask("POST", &complete, &[], &listed(&parts)).await;
        let text = String::from_utf8(refused.body).expect("text");
        assert!(refused.status == 400 && text.contains(&format!("<Code>{code}</Code>")), "{parts:?}: {text}");
        let number = |number| format!("<PartNumber>{number}</PartNumber>");
        assert!(named.is_none_or(|named: u16| text.contains(&number(named))), "{parts:?}: {text}");
    }
    assert_eq!(entries(&world), before);
    root.done("POST", &complete, &[], &listed(&[(2, two)])).await;
    assert_eq!(entries(&world), before + 1);
    api.stop().await;
}

#[actix::test]
async fn the_deletion_of_a_bucket_that_is_not_empty_takes_no_entry_of_the_log() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    root.done("PUT", "/bucket/k", &[], b"x").await;
    let before = entries(&world);
    let refused = root.ask("DELETE", "/bucket", &[], b"").await;
    let text = String::from_utf8(refused.body).expect("text");
    assert!(refused.status == 409 && text.contains("<Code>BucketNotEmpty</Code>"), "{text}");
    assert_eq!(entries(&world), before);
    root.done("DELETE", "/bucket/k", &[], b"").await;
    root.done("DELETE", "/bucket", &[], b"").await;
    assert_eq!(entries(&world), before + 2);
    api.stop().await;
}

/// Appends a byte to an object of the bucket.
async fn append(root: &Client<'_>, key: &str, at: usize) -> Answer {
    let offset = at.to_string();
    root.ask("PUT", &format!("/bucket/{key}"), &[("x-amz-write-offset-bytes", &offset)], b"x").await
}

/// Makes an object that grew to one part more than an append copies, and returns its size.
async fn grow(root: &Client<'_>, key: &str) -> usize {
    let size = usize::from(SHARED_PARTS_COPIED_MAX) + 1;
    for at in 0..size {
        assert_eq!(append(root, key, at).await.status, 200, "{at}");
    }
    size
}

#[actix::test]
async fn a_copy_does_not_end_the_appends_to_its_source() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    let size = grow(&root, "log").await;
    root.done("PUT", "/bucket/copy", &[("x-amz-copy-source", "/bucket/log")], b"").await;
    for key in ["log", "copy"] {
        assert_eq!(append(&root, key, size).await.status, 200, "{key}");
        let read = root.done("GET", &format!("/bucket/{key}"), &[], b"").await;
        assert_eq!(read.body, vec![b'x'; size + 1], "{key}");
    }
    api.stop().await;
}

/// Makes `copy`, which shares the parts of `log`.
fn share(world: &World) {
    let source = world.meta.view().object(world.bucket, "log").expect("tables in memory").expect("an object");
    let copied = world.meta.apply(Change::CopyVersion(Box::new(CopyVersion {
        source_bucket: world.bucket,
        source_key: "log".to_owned(),
        source: Pick::Current,
        source_manifest: source.manifest.id,
        source_sealing: None,
        bucket: world.bucket,
        key: "copy".to_owned(),
        id: ManifestId(1),
        headers: ObjectHeaders::default(),
        checksum: None,
        traits: Traits::default(),
        conditions: WriteConditions::default(),
        event: None,
    })));
    assert!(matches!(copied, Reply::ObjectPut { .. }), "{copied:?}");
}

#[actix::test]
async fn an_append_to_many_parts_that_are_shared_takes_no_entry_of_the_log() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    let size = grow(&root, "log").await;
    share(&world);
    let before = entries(&world);
    let refused = append(&root, "log", size).await;
    let text = String::from_utf8(refused.body).expect("text");
    assert!(refused.status == 400 && text.contains("<Code>TooManyParts</Code>"), "{text}");
    assert_eq!(entries(&world), before);
    root.done("DELETE", "/bucket/copy", &[], b"").await;
    assert_eq!(append(&root, "log", size).await.status, 200);
    api.stop().await;
}

#[actix::test]
async fn a_copy_onto_itself_frees_an_object_from_copies_that_share_its_parts() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    let size = grow(&root, "log").await;
    share(&world);
    assert_eq!(append(&root, "log", size).await.status, 400);
    let onto_itself = [("x-amz-copy-source", "/bucket/log"), ("x-amz-metadata-directive", "REPLACE")];
    root.done("PUT", "/bucket/log", &onto_itself, b"").await;
    assert_eq!(append(&root, "log", size).await.status, 200);
    api.stop().await;
}

#[actix::test]
async fn what_is_appended_while_an_object_is_copied_onto_itself_is_not_lost() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    let mut size = grow(&root, "log").await;
    for _ in 0..8 {
        let onto_itself = [
            ("x-amz-copy-source", "/bucket/log"),
            ("x-amz-metadata-directive", "REPLACE"),
            ("x-amz-checksum-algorithm", "SHA256"),
        ];
        let copy = root.ask("PUT", "/bucket/log", &onto_itself, b"");
        let (copied, appended) = tokio::join!(copy, append(&root, "log", size));
        assert!([200, 409].contains(&copied.status), "{}", copied.status);
        size += usize::from(appended.status == 200);
        assert_eq!(root.done("GET", "/bucket/log", &[], b"").await.body.len(), size);
    }
    api.stop().await;
}
