//! Tests of PUTs against nodes in memory: placement, digests, and clients that fail.

use super::{put_object, put_part};
use crate::actors::frontend::Permit;
use crate::actors::request::test_nodes::Behaviour;
use crate::actors::request::test_world::{CHUNK, Decides, KEY, World, body, content, upload};
use crate::actors::request::{BodyChecks, BodyFault, Kept, PutPartRequest, StoreError, Upload};
use crate::limits::{INLINE_BYTES_MAX, PUT_BYTES_MAX};
use crate::storage::checksum::BodyHasher;
use crate::storage::meta::command::{Change, CreateUpload, ETagCondition};
use crate::storage::meta::record::{BlobRef, Body, Checksum, ChecksumAlgorithm, ChecksumKind, Manifest, PartRow};
use crate::storage::meta::samples;
use crate::storage::stripe::BlobLayout;
use crate::types::{ChunkIndex, NodeId, ShardId, ShardNumber, UploadId};
use bytes::Bytes;
use futures::StreamExt;
use std::time::Duration;

mod events;
mod extend;
mod faults;
mod memory;
mod sealed;

fn blob(manifest: &Manifest) -> &BlobRef {
    match &manifest.body {
        Body::Blob(blob) => blob,
        other => panic!("a blob, not {other:?}"),
    }
}

fn md5(content: &[u8]) -> [u8; 16] {
    let mut hasher = BodyHasher::new(None);
    hasher.update(content);
    hasher.finish().md5
}

fn checked(content: &Bytes, checks: BodyChecks) -> Upload {
    Upload { body: body(content, 5000), checks, trailer: None }
}

/// Checks that the nodes have the blob's shards, except the missing ones, with the expected numbers and lengths of
/// chunks.
fn check_shards(world: &World, blob: &BlobRef, missing: &[ShardNumber]) {
    let layout = BlobLayout::new(blob.geometry, blob.size_bytes).expect("a layout");
    let lengths: Vec<usize> = (0..layout.stripes()).map(|stripe| layout.chunk_bytes(ChunkIndex(stripe))).collect();
    for (shard, &node) in blob.placement.iter().enumerate() {
        let id = ShardId { blob: blob.id, shard: ShardNumber(shard as u8) };
        if !missing.contains(&id.shard) {
            assert_eq!(world.nodes.chunk_lengths(node, id), lengths, "shard {shard}");
        }
    }
}

#[actix::test]
async fn an_empty_body_has_no_blob() {
    let world = World::new(2, 2);
    let manifest = world.put_bytes(&Bytes::new()).await.expect("stored");
    assert_eq!((manifest.body, manifest.size_bytes), (Body::Empty, 0));
    assert_eq!(manifest.etag.md5, md5(b""));
    assert!(world.nodes.held_shards().is_empty());
}

#[actix::test]
async fn a_small_body_is_stored_inline_in_the_proposal() {
    let world = World::new(2, 2);
    let bytes = content(INLINE_BYTES_MAX);
    let manifest = world.put(upload(&bytes, 1000)).await.expect("stored");
    assert_eq!(manifest.body, Body::Inline);
    let changes = world.take_changes();
    let [Change::PutObject(put)] = changes.as_slice() else { panic!("one entry a PUT, not {changes:?}") };
    assert_eq!(put.inline.as_ref(), Some(&bytes));
    assert!(world.nodes.held_shards().is_empty());
}

/// F1: the ETag is the content's MD5.
#[actix::test]
async fn f1_a_large_body_becomes_shards_and_its_etag_is_its_md5() {
    for (data, parity) in [(1, 0), (1, 1), (2, 1), (2, 2), (3, 0), (4, 2)] {
        for length in [INLINE_BYTES_MAX + 1, CHUNK as usize * 4, CHUNK as usize * 13 + 777, 1_000_000] {
            let world = World::new(data, parity);
            let bytes = content(length);
            let manifest = world.put_bytes(&bytes).await.expect("stored");
            assert_eq!((manifest.size_bytes, manifest.etag.md5), (length as u64, md5(&bytes)));
            check_shards(&world, blob(&manifest), &[]);
            assert_eq!(world.nodes.held_shards().len(), usize::from(data + parity));
        }
    }
}

#[actix::test]
async fn shards_of_one_blob_share_a_node_where_there_is_only_one() {
    let world = World::with(4, 2, 1, Default::default(), std::sync::Arc::new(crate::actors::request::InPlace));
    let manifest = world.put_bytes(&content(300_000)).await.expect("stored");
    check_shards(&world, blob(&manifest), &[]);
    assert_eq!(world.nodes.held_shards().len(), 6, "P1: told apart by index");
}

#[actix::test]
async fn even_a_small_part_is_stored_as_shards() {
    let world = World::new(2, 1);
    let create = CreateUpload { bucket: world.bucket, ..samples::create_upload(KEY, 9) };
    world.meta.apply(Change::CreateUpload(Box::new(create)));
    for (number, length) in [(1, 100), (2, 100_000), (3, 0)] {
        let bytes = content(length);
        let request = PutPartRequest {
            bucket: world.bucket,
            key: KEY.to_owned(),
            id: UploadId(9),
            number,
            data_key: None,
            upload: upload(&bytes, 999),
        };
        let part = put_part(&world.context, Permit::unmetered(), request).await.expect("stored").row;
        assert_eq!((part.number, part.size_bytes, part.md5), (number, length as u64, md5(&bytes)));
        let (listed, _) = world.meta.view().upload_parts(UploadId(9), number - 1, 1).expect("tables in memory");
        let stored = PartRow { blob: part.blob.clone().map(BlobRef::without_placement), ..part.clone() };
        assert_eq!(listed, vec![stored], "as it stands");
        assert_eq!(part.blob.is_some(), length > 0);
        if let Some(blob) = &part.blob {
            check_shards(&world, blob, &[]);
        }
    }
    assert_eq!(world.take_changes().len(), 3);
}

#[actix::test]
async fn the_declared_size_and_digests_are_compared_with_the_body() {
    let bytes = content(100_000);
    let crc = {
        let mut hasher = BodyHasher::new(Some(ChecksumAlgorithm::Crc32c));
        hasher.update(&bytes);
        hasher.finish().checksum.expect("asked for").1
    };
    let right = BodyChecks {
        length_bytes: Some(100_000),
        md5: Some(md5(&bytes)),
        checksum: Some((ChecksumAlgorithm::Crc32c, Some(crc.clone()))),
        kept: Kept::default(),
    };
    let world = World::new(2, 2);
    let manifest = world.put(checked(&bytes, right.clone())).await.expect("stored");
    let stored = Checksum { algorithm: ChecksumAlgorithm::Crc32c, kind: ChecksumKind::FullObject, value: crc };
    assert_eq!(manifest.checksum, Some(stored));
    let wrong_md5 = BodyChecks { md5: Some([0; 16]), ..right.clone() };
    let wrong_sum =
        BodyChecks { checksum: Some((ChecksumAlgorithm::Sha1, Some(Bytes::from_static(b"no")))), ..right.clone() };
    for (checks, expected) in [
        (wrong_md5, "the content's MD5 differs from the one given"),
        (wrong_sum, "the content's Sha1 checksum differs from the one given"),
        (
            BodyChecks { length_bytes: Some(100_001), ..right.clone() },
            "the request's body could not be received: 100000 of the declared 100001 bytes arrived",
        ),
        (
            BodyChecks { length_bytes: Some(99_999), ..right },
            "the request's body could not be received: more than the declared 99999 bytes arrived",
        ),
    ] {
        let world = World::new(2, 2);
        let error = world.put(checked(&bytes, checks)).await.expect_err("a false claim");
        assert_eq!(error.to_string(), expected);
        assert!(world.take_changes().is_empty(), "nothing is proposed");
        settle(&world).await;
    }
}

/// Waits until no shard is left on any node.
async fn settle(world: &World) {
    for _ in 0..10_000 {
        if world.nodes.held_shards().is_empty() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("shards were left behind: {:?}", world.nodes.held_shards());
}

/// The stored checksum may be of another algorithm than the compared one: uploads store a default checksum.
#[actix::test]
async fn the_stored_checksum_can_differ_from_the_compared_one() {
    let bytes = content(100_000);
    let mut hasher = BodyHasher::new(Some(ChecksumAlgorithm::Sha256)).and(Some(ChecksumAlgorithm::Crc64Nvme));
    hasher.update(&bytes);
    let digests = hasher.finish();
    let (given, kept) = (digests.checksum.expect("asked for").1, digests.second.expect("asked for").1);
    let checks = |given: Bytes| BodyChecks {
        md5: Some(md5(&bytes)),
        checksum: Some((ChecksumAlgorithm::Sha256, Some(given))),
        kept: Kept { checksum: Some(ChecksumAlgorithm::Crc64Nvme), hides_tag: false },
        ..BodyChecks::default()
    };
    let world = World::new(2, 2);
    let manifest = world.put(checked(&bytes, checks(given))).await.expect("stored");
    let whole = Checksum { algorithm: ChecksumAlgorithm::Crc64Nvme, kind: ChecksumKind::FullObject, value: kept };
    assert_eq!((manifest.checksum, manifest.etag.md5), (Some(whole), md5(&bytes)));
    let wrong = World::new(2, 2).put(checked(&bytes, checks(Bytes::from_static(&[0; 32])))).await;
    assert!(matches!(wrong, Err(StoreError::ChecksumMismatch(ChecksumAlgorithm::Sha256))), "{wrong:?}");
}

#[actix::test]
async fn a_checksum_in_the_trailer_is_verified() {
    let bytes = content(50_000);
    let sum = |value: Bytes| Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::FullObject, value };
    let mut hasher = BodyHasher::new(Some(ChecksumAlgorithm::Crc32));
    hasher.update(&bytes);
    let right = sum(hasher.finish().checksum.expect("asked for").1);
    let with_trailer = |checksum: Option<Result<Checksum, StoreError>>| Upload {
        body: body(&bytes, 4096),
        checks: BodyChecks { checksum: Some((ChecksumAlgorithm::Crc32, None)), ..BodyChecks::default() },
        trailer: Some(Box::new(move || checksum)),
    };
    let world = World::new(2, 1);
    let manifest = world.put(with_trailer(Some(Ok(right.clone())))).await.expect("stored");
    assert_eq!(manifest.checksum, Some(right));
    let wrong = world.put(with_trailer(Some(Ok(sum(Bytes::from_static(b"nope")))))).await;
    assert!(matches!(wrong, Err(StoreError::ChecksumMismatch(ChecksumAlgorithm::Crc32))), "{wrong:?}");
    let malformed = StoreError::BodyRefused(BodyFault::new(std::fmt::Error));
    let wrong = world.put(with_trailer(Some(Err(malformed)))).await;
    assert!(matches!(wrong, Err(StoreError::BodyRefused(_))), "{wrong:?}");
    let other = Checksum { algorithm: ChecksumAlgorithm::Sha1, ..sum(Bytes::from_static(b"x")) };
    let wrong = world.put(with_trailer(Some(Ok(other)))).await;
    assert!(matches!(wrong, Err(StoreError::TrailerUnannounced(ChecksumAlgorithm::Sha1))), "{wrong:?}");
    assert_eq!(world.take_changes().len(), 1);
}

#[actix::test]
async fn an_upload_whose_body_breaks_off_leaves_no_shards() {
    let world = World::new(2, 2);
    let broken = StoreError::BodyIncomplete { why: "connection closed".to_owned() };
    let pieces = body(&content(400_000), 9999).chain(futures::stream::iter([Err(broken)]));
    let result = world.put(Upload { body: Box::pin(pieces), checks: BodyChecks::default(), trailer: None }).await;
    assert!(matches!(result, Err(StoreError::BodyIncomplete { .. })), "{result:?}");
    assert!(world.take_changes().is_empty());
    settle(&world).await;
}

#[actix::test]
async fn an_upload_whose_client_disconnects_leaves_no_shards() {
    let world = World::new(2, 2);
    let pieces = body(&content(400_000), 9999).chain(futures::stream::pending());
    let upload = Upload { body: Box::pin(pieces), checks: BodyChecks::default(), trailer: None };
    let mut put = Box::pin(world.put(upload));
    while world.nodes.held_shards().is_empty() {
        assert!(futures::poll!(&mut put).is_pending());
        tokio::task::yield_now().await;
    }
    drop(put);
    settle(&world).await;
}

#[actix::test]
async fn an_upload_whose_client_sends_nothing_times_out() {
    tokio::time::pause();
    let world = World::new(2, 2);
    let pieces = body(&content(100_000), 9999).chain(futures::stream::pending());
    let result = world.put(Upload { body: Box::pin(pieces), checks: BodyChecks::default(), trailer: None }).await;
    assert!(matches!(result, Err(StoreError::BodyIncomplete { .. })), "{result:?}");
}

#[actix::test]
async fn shards_are_dropped_on_refusal_and_kept_on_an_unknown_outcome() {
    let bytes = content(200_000);
    let world = World::new(2, 2);
    let mut request = world.put_request(upload(&bytes, 5000));
    request.conditions.if_match = Some(ETagCondition::Any);
    let refused = put_object(&world.context, Permit::unmetered(), request).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    settle(&world).await;
    world.decide(Decides::IsUnavailable);
    let unavailable = world.put_bytes(&bytes).await;
    assert!(matches!(unavailable, Err(StoreError::Unavailable { .. })), "{unavailable:?}");
    settle(&world).await;
    world.decide(Decides::TimesOut);
    let unknown = world.put_bytes(&bytes).await;
    assert!(matches!(unknown, Err(StoreError::OutcomeUnknown)), "{unknown:?}");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.nodes.held_shards().len(), 4, "the entry may yet be applied");
}
