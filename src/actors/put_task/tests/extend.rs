//! Tests of appends to plain and sealed objects: an append takes effect in one entry of the log, or leaves nothing.

use super::{Permit, World, content, md5, upload};
use crate::actors::get_task::{OpenObject, open_object, read_object};
use crate::actors::put_task::AppendObjectRequest;
use crate::actors::put_task::append_object;
use crate::actors::request::test_world::{KEY, data_key};
use crate::actors::request::{BodyChecks, ByteRange, StoreError, Upload};
use crate::storage::checksum::BodyHasher;
use crate::storage::meta::command::{Change, Refusal};
use crate::storage::meta::record::{Body, ChecksumAlgorithm, ObjectVersion, Pick};
use crate::storage::sealing::{DataKey, Layout};
use bytes::Bytes;
use futures::TryStreamExt;

async fn open(world: &World, key: Option<&DataKey>) -> OpenObject {
    let opened = open_object(&world.context, world.meta.view(), world.bucket, KEY, Pick::Current).await;
    let object = opened.expect("tables in memory").object().expect("it stands");
    match key {
        Some(key) => object.with_key(key.clone()),
        None => object,
    }
}

async fn append(world: &World, standing: OpenObject, upload: Upload) -> Result<ObjectVersion, StoreError> {
    let (bucket, key) = (world.bucket, KEY.to_owned());
    append_object(
        &world.context,
        Permit::unmetered(),
        AppendObjectRequest { bucket, key, standing, event: None, upload },
    )
    .await
}

async fn read(world: &World, key: Option<&DataKey>) -> Vec<u8> {
    let object = open(world, key).await;
    let whole = ByteRange { start: 0, end: object.version.manifest.size_bytes };
    let body = read_object(&world.context, Permit::unmetered(), object, whole).await.expect("readable");
    body.try_collect::<Vec<Bytes>>().await.expect("readable").concat()
}

fn crc(content: &[u8]) -> Option<Bytes> {
    let mut hasher = BodyHasher::new(Some(ChecksumAlgorithm::Crc64Nvme));
    hasher.update(content);
    hasher.finish().checksum.map(|(_, value)| value)
}

fn summed(bytes: &Bytes) -> Upload {
    let checksum = Some((ChecksumAlgorithm::Crc64Nvme, None));
    let checks = BodyChecks { checksum, md5: Some(md5(bytes)), ..BodyChecks::default() };
    Upload { checks, ..upload(bytes, 5000) }
}

#[actix::test]
async fn an_append_extends_plain_and_sealed_objects_in_one_entry() {
    for layout in [None, Some(Layout::Single), Some(Layout::Dual)] {
        for first in [0, 5000, 100_000] {
            let (world, key) = (World::new(2, 1), layout.map(data_key));
            let mut whole = content(first).to_vec();
            match &key {
                Some(key) => drop(world.put_sealed(summed(&content(first)), key).await.expect("stored")),
                None => drop(world.put(summed(&content(first))).await.expect("stored")),
            }
            world.take_changes();
            let mut tags = Vec::new();
            for (length, count) in [(1, 1), (20_000, 2), (300_000, 3), (0, 3), (7, 4)] {
                let piece = content(length);
                whole.extend_from_slice(&piece);
                let standing = open(&world, key.as_ref()).await;
                let object = append(&world, standing, summed(&piece)).await.expect("appended");
                let count = count + u16::from(first > 0);
                assert_eq!(object.manifest.size_bytes, whole.len() as u64);
                assert_eq!(object.manifest.parts().map(|(_, count)| count), Some(count));
                assert_eq!(object.manifest.checksum.map(|checksum| checksum.value), crc(&whole));
                assert_eq!(read(&world, key.as_ref()).await, whole, "{layout:?} {first} {length}");
                tags.push(object.manifest.etag);
            }
            tags.dedup();
            assert_eq!(tags.len(), 4, "a tag for each append that added something");
            let changes = world.take_changes();
            assert!(changes.iter().all(|change| matches!(change, Change::AppendObject(_))) && changes.len() == 4);
        }
    }
}

#[actix::test]
async fn an_append_to_an_inline_object_writes_its_bytes_as_the_first_part() {
    let world = World::new(2, 2);
    world.put_bytes(&content(100)).await.expect("stored");
    let standing = open(&world, None).await;
    assert_eq!(standing.version.manifest.body, Body::Inline);
    let object = append(&world, standing, upload(&content(10), 3)).await.expect("appended");
    let (list, _) = object.manifest.parts().expect("parts");
    let parts = world.meta.view().parts_from(list, 0, 10).expect("tables in memory");
    let found: Vec<_> = parts.iter().map(|part| (part.number, part.offset_bytes, part.size_bytes)).collect();
    assert_eq!(found, [(1, 0, 100), (2, 100, 10)]);
    assert_eq!((parts[0].md5, parts[1].md5), (md5(&content(100)), md5(&content(10))));
    assert_eq!(world.nodes.held_shards().len(), 8);
}

#[actix::test]
async fn of_two_concurrent_appends_one_is_refused_and_leaves_no_shards() {
    for length in [100, 100_000] {
        let world = World::new(2, 2);
        world.put_bytes(&content(length)).await.expect("stored");
        let (one, other) = (open(&world, None).await, open(&world, None).await);
        append(&world, one, upload(&content(10), 10)).await.expect("appended");
        let held = world.nodes.held_shards().len();
        let refused = append(&world, other, upload(&content(20), 10)).await;
        assert!(matches!(refused, Err(StoreError::Refused(Refusal::PreconditionFailed))), "{refused:?}");
        for _ in 0..10_000 {
            if world.nodes.held_shards().len() == held {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(world.nodes.held_shards().len(), held);
        assert_eq!(read(&world, None).await, [content(length), content(10)].concat());
    }
}

#[actix::test]
async fn appended_bytes_are_compared_with_their_declared_digests() {
    let world = World::new(2, 2);
    world.put_bytes(&content(100)).await.expect("stored");
    let wrong = BodyChecks { md5: Some([0; 16]), ..BodyChecks::default() };
    let upload = Upload { checks: wrong, ..upload(&content(10), 10) };
    let refused = append(&world, open(&world, None).await, upload).await;
    assert!(matches!(refused, Err(StoreError::Md5Mismatch)), "{refused:?}");
    assert_eq!(read(&world, None).await, content(100));
}
