//! Tests of reads over nodes in memory: whole objects and ranges, and chunks that are missing, late or corrupt.

use super::{OpenObject, held_bytes_max, open_object, read_object};
use crate::actors::frontend::Permit;
use crate::actors::request::test_nodes::Behaviour;
use crate::actors::request::test_world::{CHUNK, KEY, World, content};
use crate::actors::request::{BodyChecks, BodyStream, ByteRange, StoreError, Upload};
use crate::metrics::{CHUNK_FAULTS, STRIPES_DECODED};
use crate::net::ChunkFault;
use crate::storage::kv::Batch;
use crate::storage::meta::codec;
use crate::storage::meta::record::{BlobRef, Body, Manifest, Pick};
use crate::storage::meta::tables::BLOBS;
use crate::types::{NodeId, ShardId, ShardNumber};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::join_all;
use std::sync::Arc;

mod gathering;
mod opening;
mod sealed;

fn blob(manifest: &Manifest) -> &BlobRef {
    match &manifest.body {
        Body::Blob(blob) => blob,
        other => panic!("a blob, not {other:?}"),
    }
}

fn opened(world: &World, manifest: &Manifest) -> OpenObject {
    let read = Some(world.context.reads.begin());
    OpenObject { version: manifest.clone().into(), inline: None, view: world.meta.view(), read, data_key: None }
}

async fn open(world: &World, manifest: &Manifest, start: u64, end: u64) -> Result<BodyStream, StoreError> {
    read_object(&world.context, Permit::unmetered(), opened(world, manifest), ByteRange { start, end }).await
}

async fn collect(mut body: BodyStream) -> Result<Bytes, StoreError> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.freeze())
}

async fn read(world: &World, manifest: &Manifest, start: u64, end: u64) -> Result<Bytes, StoreError> {
    collect(open(world, manifest, start, end).await?).await
}

/// Replaces the record of the manifest's blob in the metadata by a changed one.
fn record(world: &World, manifest: &Manifest, change: impl FnOnce(&mut BlobRef)) {
    let mut changed = blob(manifest).clone();
    change(&mut changed);
    let mut rows = Batch::default();
    rows.put(BLOBS, changed.id.to_be_bytes().to_vec(), codec::encode(&changed));
    world.meta.commit(rows);
}

fn node_of(manifest: &Manifest, shard: usize) -> NodeId {
    blob(manifest).placement[shard]
}

fn shard_of(manifest: &Manifest, shard: u8) -> ShardId {
    ShardId { blob: blob(manifest).id, shard: ShardNumber(shard) }
}

#[actix::test]
async fn an_object_reads_back_in_whole_and_in_ranges() {
    for (data, parity) in [(1, 0), (1, 1), (2, 1), (3, 0), (2, 2), (4, 2)] {
        let world = World::new(data, parity);
        for length in [20_000usize, CHUNK as usize * 8, CHUNK as usize * 9 + 5, 700_001] {
            let bytes = content(length);
            let manifest = world.put_bytes(&bytes).await.expect("stored");
            let cut = length / 3;
            for (start, end) in
                [(0, length), (0, 1), (length - 1, length), (cut, 2 * cut), (cut, cut), (5, length + 99)]
            {
                let got = read(&world, &manifest, start as u64, end as u64).await.expect("readable");
                assert_eq!(got, bytes.slice(start..end.min(length)), "{start}..{end} of {length} at {data}+{parity}");
            }
        }
    }
}

/// P1: one node can hold all shards of a blob without mixing them up.
#[actix::test]
async fn p1_an_object_whose_4_plus_2_shards_share_a_node_reads_back() {
    let world = World::with(4, 2, 1, Arc::default(), Arc::new(crate::actors::request::InPlace));
    let bytes = content(600_000);
    let manifest = world.put_bytes(&bytes).await.expect("stored");
    assert_eq!(read(&world, &manifest, 0, 600_000).await.expect("readable"), bytes);
}

/// P3: shards are read where the blob's record places them, whatever the ring says.
#[actix::test]
async fn p3_reads_follow_the_recorded_placement() {
    let world = World::with(2, 2, 9, Arc::default(), Arc::new(crate::actors::request::InPlace));
    let bytes = content(200_000);
    for _ in 0..5 {
        let manifest = world.put_bytes(&bytes).await.expect("stored");
        assert_eq!(read(&world, &manifest, 0, 200_000).await.expect("readable"), bytes);
        record(&world, &manifest, |blob| blob.placement.rotate_left(1));
        assert!(read(&world, &manifest, 0, 200_000).await.is_err(), "shards are where the record says, nowhere else");
    }
}

/// P5: a small range reads only the data chunks that hold it, and no parity.
#[actix::test]
async fn p5_a_range_reads_only_the_data_chunks_that_hold_it() {
    let world = World::new(2, 2);
    let bytes = content(4_000_000);
    let manifest = world.put_bytes(&bytes).await.expect("stored");
    world.nodes.take_reads();
    let got = read(&world, &manifest, 1_000_000, 1_100_000).await.expect("readable");
    assert_eq!(got, bytes.slice(1_000_000..1_100_000));
    let (read_bytes, _) = world.nodes.take_reads();
    assert!(read_bytes <= 100_000 + 2 * CHUNK as usize, "{read_bytes} bytes were read");
    let got = read(&world, &manifest, 10, 20).await.expect("readable");
    assert_eq!((got, world.nodes.take_reads()), (bytes.slice(10..20), (CHUNK as usize, 1)));
}

#[actix::test]
async fn consecutive_chunks_of_a_shard_are_read_in_one_request() {
    let world = World::new(2, 2);
    let manifest = world.put_bytes(&content(CHUNK as usize * 16)).await.expect("stored");
    world.nodes.take_reads();
    read(&world, &manifest, 0, u64::from(CHUNK) * 16).await.expect("readable");
    assert_eq!(
        world.nodes.take_reads(),
        (CHUNK as usize * 16, 8),
        "eight stripes of two shards, two stripes in each request"
    );
}

/// P6: two lost shards, one corrupt or unreachable, the other missing.
#[actix::test]
async fn p6_a_2_plus_2_object_reads_back_with_two_shards_lost() {
    let bytes = content(500_000);
    for first in [Behaviour::Corrupt, Behaviour::Short, Behaviour::Down] {
        for (one, other) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
            let mut world = World::new(2, 2);
            let manifest = world.put_bytes(&bytes).await.expect("stored");
            world.nodes.behave(node_of(&manifest, one), first.clone());
            world.nodes.behave(node_of(&manifest, other), Behaviour::Empty);
            assert_eq!(read(&world, &manifest, 0, 500_000).await.expect("two are left"), bytes);
            let mut faults = Vec::new();
            while let Some(fault) = world.faults.take() {
                faults.push((fault.shard.shard, fault.fault));
            }
            if one < 2 && first != Behaviour::Down {
                assert!(faults.contains(&(ShardNumber(one as u8), ChunkFault::Corrupt)), "{faults:?}");
            }
            if other < 2 {
                assert!(faults.contains(&(ShardNumber(other as u8), ChunkFault::Missing)), "{faults:?}");
            }
        }
    }
}

#[actix::test]
async fn a_chunk_fault_counted_by_its_host_is_not_counted_again_by_the_reader() {
    let world = World::with(2, 2, 300, Arc::default(), Arc::new(crate::actors::request::InPlace));
    let bytes = content(200_000);
    // The metrics are shared with other tests of this process, which use the first drives.
    let manifest = loop {
        let manifest = world.put_bytes(&bytes).await.expect("stored");
        if blob(&manifest).placement.iter().all(|node| node.0 > 100) {
            break manifest;
        }
    };
    let [reported, malformed] = [0, 1].map(|shard| node_of(&manifest, shard));
    world.nodes.behave(reported, Behaviour::Corrupt);
    world.nodes.behave(malformed, Behaviour::Short);
    assert_eq!(read(&world, &manifest, 0, 200_000).await.expect("two are left"), bytes);
    let counted = |node: NodeId| CHUNK_FAULTS.with_label_values(&[&node.to_string(), "corrupt"]).get();
    assert_eq!(counted(reported), 0, "its host verifies chunks and counts the fault itself");
    assert!(counted(malformed) > 0, "its host answered without a fault");
}

/// P6: several degraded reads run concurrently.
#[actix::test]
async fn p6_degraded_reads_run_concurrently() {
    let world = World::new(4, 2);
    let bytes = content(900_000);
    let manifest = world.put_bytes(&bytes).await.expect("stored");
    world.nodes.behave(node_of(&manifest, 1), Behaviour::Corrupt);
    world.nodes.behave(node_of(&manifest, 3), Behaviour::Empty);
    let reads = (0..8u64).map(|number| read(&world, &manifest, number * 100_000, number * 100_000 + 99_999));
    for (number, got) in join_all(reads).await.into_iter().enumerate() {
        assert_eq!(got.expect("four are left"), bytes.slice(number * 100_000..number * 100_000 + 99_999));
    }
}

#[actix::test]
async fn one_missing_chunk_decodes_only_its_own_stripe() {
    let world = World::new(2, 2);
    let bytes = content(CHUNK as usize * 12);
    let manifest = world.put_bytes(&bytes).await.expect("stored");
    world.nodes.remove_chunk(node_of(&manifest, 0), shard_of(&manifest, 0), 3);
    world.nodes.take_reads();
    let before = STRIPES_DECODED.with_label_values::<&str>(&[]).get();
    assert_eq!(read(&world, &manifest, 0, bytes.len() as u64).await.expect("readable"), bytes);
    assert!(STRIPES_DECODED.with_label_values::<&str>(&[]).get() > before);
    let (read_bytes, _) = world.nodes.take_reads();
    assert_eq!(read_bytes, bytes.len(), "eleven data chunks, and one of parity for the twelfth");
}

#[actix::test]
async fn losing_more_shards_than_parity_fails_before_the_body_begins() {
    let world = World::new(2, 2);
    let manifest = world.put_bytes(&content(300_000)).await.expect("stored");
    for shard in [0, 1, 3] {
        world.nodes.behave(node_of(&manifest, shard), Behaviour::Empty);
    }
    let refused = open(&world, &manifest, 0, 300_000).await.err();
    assert!(matches!(refused, Some(StoreError::DataUnavailable { .. })), "{refused:?}");
}

#[actix::test]
async fn a_loss_amid_the_body_ends_it_with_an_error_not_wrong_bytes() {
    let world = World::new(2, 1);
    let bytes = content(CHUNK as usize * 40);
    let manifest = world.put_bytes(&bytes).await.expect("stored");
    for shard in 0..2u8 {
        world.nodes.remove_chunk(node_of(&manifest, shard.into()), shard_of(&manifest, shard), 15);
    }
    let mut body = open(&world, &manifest, 0, bytes.len() as u64).await.expect("it begins well");
    let mut got = BytesMut::new();
    let error = loop {
        match body.next().await.expect("it does not end in silence") {
            Ok(piece) => got.extend_from_slice(&piece),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::DataUnavailable { .. }), "{error}");
    assert!(bytes.starts_with(&got) && got.len() <= 15 * 2 * CHUNK as usize);
    assert!(body.next().await.is_none(), "an error is the end");
}

#[actix::test]
async fn a_late_node_is_hedged_with_parity() {
    tokio::time::pause();
    for behaviour in [Behaviour::Silent, Behaviour::Slow(std::time::Duration::from_secs(20))] {
        let world = World::new(2, 2);
        let bytes = content(CHUNK as usize * 2);
        let manifest = world.put_bytes(&bytes).await.expect("stored");
        world.nodes.behave(node_of(&manifest, 1), behaviour);
        let start = tokio::time::Instant::now();
        assert_eq!(read(&world, &manifest, 0, bytes.len() as u64).await.expect("parity answers"), bytes);
        assert!(start.elapsed() < 2 * crate::limits::READ_HEDGE_MAX, "{:?}", start.elapsed());
    }
}

#[actix::test]
async fn a_late_node_is_waited_for_if_no_other_can_answer() {
    tokio::time::pause();
    let world = World::new(2, 1);
    let bytes = content(CHUNK as usize * 2);
    let manifest = world.put_bytes(&bytes).await.expect("stored");
    world.nodes.behave(node_of(&manifest, 1), Behaviour::Slow(std::time::Duration::from_secs(3)));
    world.nodes.behave(node_of(&manifest, 2), Behaviour::Empty);
    assert_eq!(read(&world, &manifest, 0, bytes.len() as u64).await.expect("late, and there"), bytes);
    world.nodes.behave(node_of(&manifest, 1), Behaviour::Silent);
    let start = tokio::time::Instant::now();
    assert!(read(&world, &manifest, 0, bytes.len() as u64).await.is_err());
    let bound = world.context.times.read_wait_max;
    assert!((bound..bound * 2).contains(&start.elapsed()), "the wait is bounded");
}

#[actix::test]
async fn nodes_out_of_service_are_not_asked_while_others_can_answer() {
    let world = World::new(2, 2);
    let bytes = content(CHUNK as usize * 2);
    let manifest = world.put_bytes(&bytes).await.expect("stored");
    world.context.health.take_out(node_of(&manifest, 0), "gone");
    world.nodes.behave(node_of(&manifest, 0), Behaviour::Silent);
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    assert_eq!(read(&world, &manifest, 0, bytes.len() as u64).await.expect("three are left"), bytes);
    assert_eq!(start.elapsed(), std::time::Duration::ZERO);
}

/// N3, P8: a body that is dropped half-read releases everything that it held.
#[actix::test]
async fn a_dropped_body_ends_its_read() {
    let world = World::new(2, 2);
    let manifest = world.put_bytes(&content(2_000_000)).await.expect("stored");
    let mark = {
        let mut body = open(&world, &manifest, 0, 2_000_000).await.expect("readable");
        body.next().await.expect("more").expect("readable");
        let mark = world.context.reads.mark();
        assert!(!world.context.reads.is_past(mark), "garbage found now waits for this read");
        assert!(world.context.load.is_busy());
        mark
    };
    assert!(world.context.reads.is_past(mark));
    assert!(!world.context.load.is_busy());
}

/// P8: the memory of a read does not grow with the object.
#[actix::test]
async fn p8_a_read_fetches_at_most_a_few_stripes_ahead() {
    let world = World::new(2, 2);
    let manifest = world.put_bytes(&content(4_000_000)).await.expect("stored");
    world.nodes.take_reads();
    let mut body = open(&world, &manifest, 0, 4_000_000).await.expect("readable");
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    body.next().await.expect("more").expect("readable");
    let (read_bytes, _) = world.nodes.take_reads();
    let held = held_bytes_max(world.context.geometry, &manifest, ByteRange { start: 0, end: 4_000_000 });
    assert!(read_bytes as u64 <= held, "{read_bytes} of {held}");
    assert_eq!(held, 16 * u64::from(CHUNK));
}

/// F2: the body of a read can be the body of a PUT.
#[actix::test]
async fn f2_a_copy_has_the_bytes_and_the_etag_of_its_source() {
    let world = World::new(2, 2);
    let bytes = content(800_000);
    let source = world.put_bytes(&bytes).await.expect("stored");
    let body = open(&world, &source, 0, 800_000).await.expect("readable");
    let checks = BodyChecks { length_bytes: Some(800_000), ..BodyChecks::default() };
    let copy = world.put(Upload { body, checks, trailer: None }).await.expect("copied");
    assert_eq!(copy.etag, source.etag);
    assert_ne!(blob(&copy).id, blob(&source).id);
    assert_eq!(read(&world, &copy, 0, 800_000).await.expect("readable"), bytes);
}

#[actix::test]
async fn a_read_by_a_malformed_blob_record_is_refused() {
    let world = World::new(2, 2);
    let manifest = world.put_bytes(&content(100_000)).await.expect("stored");
    let broken = |change: &dyn Fn(&mut BlobRef)| {
        let mut manifest = manifest.clone();
        if let Body::Blob(blob) = &mut manifest.body {
            change(blob);
        }
        manifest
    };
    let no_data = broken(&|blob| blob.geometry.data = 0);
    let other_size = broken(&|blob| blob.size_bytes += 1);
    let no_chunk = broken(&|blob| blob.geometry.chunk_size_bytes = 0);
    for manifest in [no_data, other_size, no_chunk] {
        let refused = open(&world, &manifest, 0, 100_000).await.err();
        assert!(matches!(refused, Some(StoreError::Internal { .. })), "{refused:?}");
    }
    record(&world, &manifest, |blob| blob.placement.truncate(2));
    let refused = open(&world, &manifest, 0, 100_000).await.err();
    assert!(matches!(refused, Some(StoreError::Internal { .. })), "{refused:?}");
}

/// T3: each stage of a PUT and of a GET is measured.
#[actix::test]
async fn t3_stage_timings_of_put_and_get_are_exported() {
    let world = World::new(2, 2);
    world.put_bytes(&content(100_000)).await.expect("stored");
    let found = open_object(&world.context, world.meta.view(), world.bucket, KEY, Pick::Current).await;
    let object = found.expect("tables in memory").object().expect("it is stored");
    let range = ByteRange { start: 0, end: 100_000 };
    let body = read_object(&world.context, Permit::unmetered(), object, range).await.expect("it opens");
    collect(body).await.expect("readable");
    let scraped = String::from_utf8(crate::metrics::render()).expect("text");
    for stage in ["receive", "hash_encode", "append", "propose"] {
        assert!(scraped.contains(&format!("sherd_put_stage_seconds_count{{stage=\"{stage}\"}}")), "{stage}");
    }
    for stage in ["lookup", "first_chunk"] {
        assert!(scraped.contains(&format!("sherd_get_stage_seconds_count{{stage=\"{stage}\"}}")), "{stage}");
    }
}
