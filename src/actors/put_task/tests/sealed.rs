//! Tests of PUTs of sealed objects: stored bytes, digests, entity tags and memory.

use super::{BodyChecks, CHUNK, KEY, Upload, World, blob, check_shards, checked, content, md5, settle, upload};
use crate::actors::frontend::Permit;
use crate::actors::put_task::{held_bytes_max, put_object, put_part};
use crate::actors::request::test_nodes::Behaviour;
use crate::actors::request::test_world::{data_key, sealing_record};
use crate::actors::request::{Kept, PutPartRequest, StoreError};
use crate::limits::INLINE_BYTES_MAX;
use crate::storage::meta::command::{Change, CreateUpload};
use crate::storage::meta::record::{Body, Traits};
use crate::storage::meta::samples;
use crate::storage::sealing::Layout;
use crate::types::{NodeId, UploadId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const LAYOUTS: [Layout; 2] = [Layout::Single, Layout::Dual];

#[actix::test]
async fn the_digests_of_a_sealed_object_are_of_its_plain_bytes() {
    for layout in LAYOUTS {
        let inline_max = INLINE_BYTES_MAX - layout.overhead_bytes();
        for length in [0, 1, inline_max, inline_max + 1, INLINE_BYTES_MAX, 65_536, 65_537, 1_000_000] {
            let world = World::new(2, 2);
            let bytes = content(length);
            let object = world.put_sealed(upload(&bytes, 10_007), &data_key(layout)).await.expect("stored");
            assert_eq!((object.manifest.size_bytes, object.manifest.etag.md5), (length as u64, md5(&bytes)));
            assert_eq!(object.traits.sealing, Some(sealing_record(layout)));
            match &object.manifest.body {
                Body::Empty => assert_eq!(length, 0),
                Body::Inline => {
                    assert!((1..=inline_max).contains(&length), "{length}");
                    let kept = world.meta.view().inline_bytes(object.manifest.id).expect("tables in memory");
                    let kept = kept.expect("they are there");
                    assert_eq!(kept.len() as u64, layout.sealed_bytes(length as u64));
                    assert!(length < 16 || !kept.starts_with(&bytes));
                }
                _ => {
                    assert!(length > inline_max, "{length}");
                    assert_eq!(blob(&object.manifest).size_bytes, layout.sealed_bytes(length as u64));
                    check_shards(&world, blob(&object.manifest), &[]);
                }
            }
        }
    }
}

#[actix::test]
async fn even_a_small_part_is_sealed() {
    let world = World::new(2, 1);
    let traits = Traits { sealing: Some(sealing_record(Layout::Single)), ..Traits::default() };
    let create = CreateUpload { bucket: world.bucket, traits, ..samples::create_upload(KEY, 9) };
    world.meta.apply(Change::CreateUpload(Box::new(create)));
    let key = data_key(Layout::Single);
    for (number, length) in [(1, 100), (2, 100_000), (3, 0)] {
        let bytes = content(length);
        let request = PutPartRequest {
            bucket: world.bucket,
            key: KEY.to_owned(),
            id: UploadId(9),
            number,
            data_key: Some(key.clone()),
            upload: upload(&bytes, 999),
        };
        let part = put_part(&world.context, Permit::unmetered(), request).await.expect("stored").row;
        assert_eq!((part.size_bytes, part.md5), (length as u64, md5(&bytes)));
        let stored = part.blob.as_ref().map_or(0, |blob| blob.size_bytes);
        assert_eq!(stored, Layout::Single.sealed_bytes(length as u64));
    }
}

#[actix::test]
async fn the_entity_tag_of_a_sealed_object_can_hide_its_md5() {
    for length in [0, 5000, 100_000] {
        let (bytes, key) = (content(length), data_key(Layout::Single));
        for hides_tag in [false, true] {
            let kept = Kept { hides_tag, ..Kept::default() };
            let checks = BodyChecks { md5: Some(md5(&bytes)), kept, ..BodyChecks::default() };
            let world = World::new(2, 2);
            let object = world.put_sealed(checked(&bytes, checks), &key).await.expect("stored");
            let tag = if hides_tag { key.entity_tag(md5(&bytes)) } else { md5(&bytes) };
            assert_eq!(object.manifest.etag.md5, tag, "{length} {hides_tag}");
        }
    }
}

#[actix::test]
async fn the_declared_size_of_a_sealed_body_is_its_plain_size() {
    for length in [5000, 100_000] {
        let world = World::new(2, 2);
        let (bytes, key) = (content(length), data_key(Layout::Dual));
        let right = BodyChecks { length_bytes: Some(length as u64), md5: Some(md5(&bytes)), ..BodyChecks::default() };
        world.put_sealed(checked(&bytes, right.clone()), &key).await.expect("stored");
        world.take_changes();
        let world = World::new(2, 2);
        let longer = BodyChecks { length_bytes: Some(length as u64 + 1), ..right.clone() };
        let refused = world.put_sealed(checked(&bytes, longer), &key).await;
        assert!(matches!(refused, Err(StoreError::BodyIncomplete { .. })), "{refused:?}");
        let other = BodyChecks { md5: Some([0; 16]), ..right };
        let refused = world.put_sealed(checked(&bytes, other), &key).await;
        assert!(matches!(refused, Err(StoreError::Md5Mismatch)), "{refused:?}");
        assert!(world.take_changes().is_empty());
        settle(&world).await;
    }
}

#[actix::test]
async fn a_sealing_record_without_a_key_or_a_key_without_a_record_is_refused() {
    let world = World::new(2, 2);
    let mut without_key = world.put_request(upload(&content(100), 50));
    without_key.traits.sealing = Some(sealing_record(Layout::Single));
    let mut without_record = world.put_request(upload(&content(100), 50));
    without_record.data_key = Some(data_key(Layout::Single));
    for request in [without_key, without_record] {
        let refused = put_object(&world.context, Permit::unmetered(), request).await;
        assert!(matches!(refused, Err(StoreError::Internal { .. })), "{refused:?}");
    }
    assert!(world.take_changes().is_empty());
}

/// P8: the memory that sealing adds to a PUT is bounded.
#[actix::test]
async fn p8_a_sealed_body_is_received_no_faster_than_the_drives_take_it() {
    let world = World::new(2, 2);
    (0..4).for_each(|node| world.nodes.behave(NodeId(node), Behaviour::Silent));
    let received = Arc::new(AtomicUsize::new(0));
    let (count, piece) = (Arc::clone(&received), content(8 << 10));
    let body = futures::stream::repeat_with(move || {
        count.fetch_add(8 << 10, Ordering::Relaxed);
        Ok(piece.clone())
    });
    let upload = Upload { body: Box::pin(body), checks: BodyChecks::default(), trailer: None };
    let key = data_key(Layout::Single);
    let mut put = Box::pin(world.put_sealed(upload, &key));
    for _ in 0..1000 {
        assert!(futures::poll!(&mut put).is_pending());
        tokio::task::yield_now().await;
    }
    let sealing = held_bytes_max(Some(&key), None, |_| 0) as usize;
    let received = received.load(Ordering::Relaxed);
    assert!(received <= 12 * CHUNK as usize + sealing, "{received} bytes were received");
}

#[test]
fn the_permit_of_a_sealed_body_covers_stored_bytes_and_sealing_memory() {
    let key = data_key(Layout::Dual);
    let bytes_of = |declared| {
        let stored = std::cell::Cell::new(None);
        let held = held_bytes_max(Some(&key), declared, |of| {
            stored.set(of);
            1000
        });
        (held, stored.get())
    };
    assert_eq!(held_bytes_max(None, Some(7), |stored| stored.unwrap_or_default()), 7);
    assert_eq!(bytes_of(Some(0)), (1000, Some(0)));
    assert_eq!(bytes_of(Some(100)), (1000 + 3 * 132, Some(132)));
    let (most, stored) = bytes_of(None);
    assert_eq!((bytes_of(Some(u64::MAX)).0, stored), (most, None));
    assert!(most < 1 << 20);
}
