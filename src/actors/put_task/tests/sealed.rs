//! Bodies that are sealed: what is stored of them, what is said of them, what they hold.

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
async fn digests_are_of_what_the_client_sent_and_what_is_stored_is_longer() {
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
async fn a_part_is_sealed_however_small() {
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
async fn an_entity_tag_may_hide_what_is_sealed() {
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
async fn a_declared_size_is_that_of_the_plain_bytes() {
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
async fn an_object_with_a_sealing_record_is_not_stored_without_a_key_nor_the_other_way_round() {
    let world = World::new(2, 2);
    let mut said = world.put_request(upload(&content(100), 50));
    said.traits.sealing = Some(sealing_record(Layout::Single));
    let mut unsaid = world.put_request(upload(&content(100), 50));
    unsaid.data_key = Some(data_key(Layout::Single));
    for request in [said, unsaid] {
        let refused = put_object(&world.context, Permit::unmetered(), request).await;
        assert!(matches!(refused, Err(StoreError::Internal { .. })), "{refused:?}");
    }
    assert!(world.take_changes().is_empty());
}

/// P8: what is held while a body is sealed is bounded, and counted.
#[actix::test]
async fn p8_a_body_is_sealed_no_faster_than_the_drives_take_it() {
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
fn a_permit_is_for_what_is_stored_and_for_what_is_sealed() {
    let key = data_key(Layout::Dual);
    let asked = |declared| {
        let stored = std::cell::Cell::new(None);
        let held = held_bytes_max(Some(&key), declared, |of| {
            stored.set(of);
            1000
        });
        (held, stored.get())
    };
    assert_eq!(held_bytes_max(None, Some(7), |stored| stored.unwrap_or_default()), 7);
    assert_eq!(asked(Some(0)), (1000, Some(0)));
    assert_eq!(asked(Some(100)), (1000 + 3 * 132, Some(132)));
    let (most, stored) = asked(None);
    assert_eq!((asked(Some(u64::MAX)).0, stored), (most, None));
    assert!(most < 1 << 20);
}
