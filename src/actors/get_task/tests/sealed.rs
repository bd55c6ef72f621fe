//! Tests of encrypted objects: readable with their key in whole and in ranges, and not at all without it.

use super::{Permit, World, collect, content, node_of, shard_of};
use crate::actors::get_task::{OpenObject, held_by_object, open_object, read_object};
use crate::actors::put_task::put_part;
use crate::actors::request::test_nodes::Behaviour;
use crate::actors::request::test_world::{CHUNK, KEY, data_key, sealing_record, upload};
use crate::actors::request::{ByteRange, PutPartRequest, StoreError};
use crate::limits::PART_BYTES_MIN;
use crate::storage::meta::command::{
    Change, CompleteUpload, CompletedPart, CopyVersion, CreateUpload, Reply, WriteConditions,
};
use crate::storage::meta::record::{ObjectHeaders, Pick, Traits};
use crate::storage::meta::samples;
use crate::storage::sealing::{CHUNK_BYTES, DataKey, Layout, Sealing};
use crate::types::{ManifestId, UploadId};
use bytes::Bytes;

const LAYOUTS: [Layout; 2] = [Layout::Single, Layout::Dual];

async fn open(world: &World) -> OpenObject {
    let opened = open_object(&world.context, world.meta.view(), world.bucket, KEY, Pick::Current).await;
    opened.expect("tables in memory").object().expect("it stands")
}

async fn read(world: &World, key: &DataKey, start: u64, end: u64) -> Result<Bytes, StoreError> {
    let object = open(world).await.with_key(key.clone());
    collect(read_object(&world.context, Permit::unmetered(), object, ByteRange { start, end }).await?).await
}

async fn check(world: &World, key: &DataKey, bytes: &Bytes, ranges: &[(usize, usize)]) {
    for &(start, end) in ranges {
        let got = read(world, key, start as u64, end as u64).await.expect("readable");
        let length = bytes.len();
        assert_eq!(got, bytes.slice(start.min(length)..end.min(length)), "{start}..{end} of {length}");
    }
}

#[actix::test]
async fn a_sealed_object_reads_back_in_whole_and_in_ranges() {
    for layout in LAYOUTS {
        for (data, parity) in [(1, 0), (2, 2), (4, 2)] {
            let world = World::new(data, parity);
            for length in [0, 1, 5000, 20_000, CHUNK_BYTES, CHUNK_BYTES + 1, 700_001] {
                let (bytes, key) = (content(length), data_key(layout));
                world.put_sealed(upload(&bytes, 10_007), &key).await.expect("stored");
                let (cut, last) = (length / 3, length.saturating_sub(1));
                let ends = [(0, length), (0, 1), (last, length), (cut, 2 * cut), (cut, cut), (5, length + 99)];
                check(&world, &key, &bytes, &ends).await;
            }
        }
    }
}

#[actix::test]
async fn ranges_at_the_edges_of_sealed_chunks_are_exact() {
    let world = World::new(2, 1);
    let (bytes, key) = (content(3 * CHUNK_BYTES + 1), data_key(Layout::Single));
    world.put_sealed(upload(&bytes, 70_001), &key).await.expect("stored");
    let places = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES, bytes.len()];
    for (number, &start) in places.iter().enumerate() {
        let ranges: Vec<_> = places[number..].iter().map(|&end| (start, end)).collect();
        check(&world, &key, &bytes, &ranges).await;
    }
}

#[actix::test]
async fn a_sealed_object_is_unreadable_with_another_key_or_none() {
    for length in [5000, 300_000] {
        let world = World::new(2, 2);
        let key = data_key(Layout::Single);
        world.put_sealed(upload(&content(length), 9999), &key).await.expect("stored");
        for other in LAYOUTS.map(data_key) {
            let refused = read(&world, &other, 0, length as u64).await;
            assert!(matches!(refused, Err(StoreError::Internal { .. })), "{refused:?}");
        }
        let range = ByteRange { start: 0, end: length as u64 };
        let refused = read_object(&world.context, Permit::unmetered(), open(&world).await, range).await.err();
        assert!(matches!(refused, Some(StoreError::Internal { .. })), "{refused:?}");
    }
}

#[actix::test]
async fn lost_shards_of_a_sealed_object_are_decoded_from_parity() {
    let world = World::new(2, 2);
    let (bytes, key) = (content(500_000), data_key(Layout::Dual));
    let manifest = world.put_sealed(upload(&bytes, 10_007), &key).await.expect("stored").manifest;
    world.nodes.behave(node_of(&manifest, 0), Behaviour::Corrupt);
    world.nodes.remove_chunk(node_of(&manifest, 1), shard_of(&manifest, 1), 2);
    check(&world, &key, &bytes, &[(0, 500_000), (123_456, 234_567)]).await;
}

/// P5: a range reads whole sealed chunks, and only the chunks of stripes that hold these.
#[actix::test]
async fn p5_a_range_of_a_sealed_object_reads_only_its_sealed_chunks() {
    let world = World::new(2, 2);
    let (bytes, key) = (content(4_000_000), data_key(Layout::Single));
    world.put_sealed(upload(&bytes, 1 << 20), &key).await.expect("stored");
    world.nodes.take_reads();
    check(&world, &key, &bytes, &[(1_000_000, 1_000_010)]).await;
    let (read_bytes, _) = world.nodes.take_reads();
    assert!(read_bytes <= CHUNK_BYTES + 16 + 2 * CHUNK as usize, "{read_bytes} bytes were read");
    let object = open(&world).await.with_key(key);
    let held = held_by_object(world.context.geometry, &object, ByteRange { start: 1_000_000, end: 1_000_010 });
    assert!(held >= read_bytes as u64, "{held}");
}

async fn put(world: &World, key: &DataKey, id: UploadId, number: u16, content: &Bytes) -> CompletedPart {
    let request = PutPartRequest {
        bucket: world.bucket,
        key: KEY.to_owned(),
        id,
        number,
        data_key: Some(key.clone()),
        upload: upload(content, 1 << 20),
    };
    let row = put_part(&world.context, Permit::unmetered(), request).await.expect("stored").row;
    CompletedPart { number, md5: row.md5, checksum: None }
}

async fn upload_parts(world: &World, key: &DataKey, parts: &[(u16, Bytes)]) {
    let id = UploadId(5);
    let traits = Traits { sealing: Some(sealing_record(key.layout())), ..Traits::default() };
    let create = CreateUpload { bucket: world.bucket, id, traits, ..samples::create_upload(KEY, 0) };
    world.meta.apply(Change::CreateUpload(Box::new(create)));
    let mut listed = Vec::new();
    for (number, part) in parts {
        // Each part is uploaded twice: the second upload replaces the first and is encrypted as another run.
        put(world, key, id, *number, &content(777)).await;
        listed.push(put(world, key, id, *number, part).await);
    }
    let complete = CompleteUpload {
        bucket: world.bucket,
        key: KEY.to_owned(),
        upload: id,
        manifest: ManifestId(77),
        parts: listed,
        expected_checksum: None,
        expected_size_bytes: None,
        conditions: WriteConditions::default(),
        event: None,
    };
    let reply = world.meta.apply(Change::CompleteUpload(Box::new(complete)));
    assert!(matches!(reply, Reply::ObjectPut { .. }), "{reply:?}");
}

#[actix::test]
async fn sealed_parts_read_back_as_one_object() {
    for layout in LAYOUTS {
        let world = World::new(2, 2);
        let size = PART_BYTES_MIN as usize;
        let parts = [(1, content(size + 1)), (4, content(size + 77_777)), (9, content(12_345))];
        let key = data_key(layout);
        upload_parts(&world, &key, &parts).await;
        let bytes = Bytes::from(parts.map(|(_, part)| part).concat());
        let (second, third) = (size + 1, 2 * size + 77_778);
        let across = [(second - 5, third + 7), (second - 1, second + 1), (second, third), (third, bytes.len())];
        check(&world, &key, &bytes, &[(0, bytes.len()), (0, 1), (size / 2, size / 2 + 1)]).await;
        check(&world, &key, &bytes, &across).await;
    }
}

#[actix::test]
async fn a_copy_by_reference_opens_with_its_rewrapped_data_key() {
    for length in [5000, 300_000] {
        let world = World::new(2, 2);
        let (bytes, key) = (content(length), data_key(Layout::Single));
        let source = world.put_sealed(upload(&bytes, 9999), &key).await.expect("stored");
        let standing = source.traits.sealing.clone().expect("it is sealed");
        let rewrapped = Sealing { id: 2, ..Sealing::decode(&standing).expect("a record") }.encode();
        let copy = |source_sealing: Option<&Bytes>, sealing: Option<&Bytes>| {
            let traits = Traits { sealing: sealing.cloned(), ..Traits::default() };
            let copy = CopyVersion {
                source_bucket: world.bucket,
                source_key: KEY.to_owned(),
                source: Pick::Current,
                source_manifest: source.manifest.id,
                source_sealing: source_sealing.cloned(),
                bucket: world.bucket,
                key: "copy".to_owned(),
                id: ManifestId(99),
                headers: ObjectHeaders::default(),
                checksum: None,
                traits,
                conditions: WriteConditions::default(),
                event: None,
            };
            world.meta.apply(Change::CopyVersion(Box::new(copy)))
        };
        for (expected, own) in [(None, Some(&rewrapped)), (Some(&rewrapped), Some(&standing)), (Some(&standing), None)]
        {
            let refused = copy(expected, own);
            assert!(matches!(refused, Reply::Refused(_)), "{refused:?}");
        }
        let reply = copy(Some(&standing), Some(&rewrapped));
        assert!(matches!(reply, Reply::ObjectPut { .. }), "{reply:?}");
        let opened = open_object(&world.context, world.meta.view(), world.bucket, "copy", Pick::Current).await;
        let object = opened.expect("tables in memory").object().expect("it stands").with_key(key);
        let range = ByteRange { start: 10, end: length as u64 };
        let body = read_object(&world.context, Permit::unmetered(), object, range).await.expect("readable");
        assert_eq!(collect(body).await.expect("readable"), bytes.slice(10..));
    }
}
