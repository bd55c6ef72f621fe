//! Tests of PUTs while nodes fail, hang or are full.

use super::{Behaviour, Change, Duration, NodeId, ShardNumber, StoreError, World, blob, check_shards, content, settle};
use crate::actors::request::{BodyChecks, Upload};
use crate::storage::meta::command::Reply;
use crate::storage::meta::record::{NodeRecord, NodeState};
use crate::storage::meta::samples;
use crate::types::{HostId, Incarnation, UnixMs};
use std::sync::Arc;

fn missing(world: &World) -> Vec<ShardNumber> {
    match world.take_changes().as_slice() {
        [Change::PutObject(put)] => put.missing.clone(),
        other => panic!("one entry a PUT, not {other:?}"),
    }
}

/// P7: with m ≥ 1, a write succeeds with one node down, and its entry lists the missing shard.
#[actix::test]
async fn p7_a_shard_on_a_node_that_is_down_is_queued_for_repair() {
    let world = World::new(2, 2);
    world.context.health.take_out(NodeId(1), "gone");
    let manifest = world.put_bytes(&content(300_000)).await.expect("three are a quorum");
    assert_eq!(missing(&world), vec![ShardNumber(3)]);
    assert_eq!(blob(&manifest).placement[3], NodeId(1));
    check_shards(&world, blob(&manifest), &[ShardNumber(3)]);
}

#[actix::test]
async fn p7_a_shard_whose_node_fails_during_a_write_is_queued_for_repair() {
    for behaviour in [Behaviour::Down, Behaviour::FailsAfter(2), Behaviour::Full] {
        let world = World::new(2, 2);
        world.nodes.behave(NodeId(2), behaviour);
        let manifest = world.put_bytes(&content(500_000)).await.expect("three are a quorum");
        let failed = blob(&manifest).placement.iter().position(|&node| node == NodeId(2)).expect("placed there");
        let failed = vec![ShardNumber(failed as u8)];
        assert_eq!(missing(&world), failed);
        check_shards(&world, blob(&manifest), &failed);
    }
}

/// P7, C7: one write waits for a silent node for a bounded time, and the next write avoids it.
#[actix::test]
async fn p7_a_write_waits_briefly_for_a_silent_node_and_the_next_avoids_it() {
    tokio::time::pause();
    let world = World::new(2, 2);
    world.nodes.behave(NodeId(0), Behaviour::Silent);
    let start = tokio::time::Instant::now();
    let bytes = content(500_000);
    world.put_bytes(&bytes).await.expect("three are a quorum");
    assert!(start.elapsed() < 4 * world.context.times.append_late_after, "{:?}", start.elapsed());
    assert_eq!(missing(&world).len(), 1);
    let start = tokio::time::Instant::now();
    let manifest = world.put_bytes(&bytes).await.expect("three are a quorum");
    assert_eq!(start.elapsed(), Duration::ZERO, "the late node is not asked");
    assert_eq!((missing(&world), blob(&manifest).placement[3]), (vec![ShardNumber(3)], NodeId(0)));
}

/// A node that is slow but within the bound is waited for and not counted as late.
#[actix::test]
async fn a_slow_node_within_the_bound_is_waited_for() {
    tokio::time::pause();
    let world = World::new(2, 2);
    world.nodes.behave(NodeId(0), Behaviour::Slow(world.context.times.append_late_after / 2));
    let manifest = world.put_bytes(&content(100_000)).await.expect("all four answer");
    assert!(missing(&world).is_empty());
    check_shards(&world, blob(&manifest), &[]);
}

#[actix::test]
async fn a_write_at_2_2_with_two_failed_nodes_fails_and_leaves_no_shards() {
    let world = World::new(2, 2);
    world.nodes.behave(NodeId(0), Behaviour::FailsAfter(1));
    world.nodes.behave(NodeId(3), Behaviour::FailsAfter(2));
    let result = world.put_bytes(&content(700_000)).await;
    assert!(matches!(result, Err(StoreError::Unavailable { .. })), "{result:?}");
    assert!(world.take_changes().is_empty());
    settle(&world).await;
}

#[actix::test]
async fn too_few_drives_refuse_a_write_with_the_reason() {
    let world = World::new(2, 2);
    world.context.health.take_out(NodeId(1), "gone");
    world.context.health.take_out(NodeId(2), "gone");
    let error = world.put_bytes(&content(100_000)).await.expect_err("two of four");
    assert_eq!(error.to_string(), "unavailable: 2 of 4 drives are in service; writes at 2+2 need 3");
    assert!(matches!(world.context.check_writable(), Err(StoreError::Unavailable { .. })));
}

/// F3: writes to full drives fail with `OutOfSpace`, and deletes are still allowed.
#[actix::test]
async fn f3_a_write_to_full_drives_is_out_of_space() {
    let world = World::new(2, 2);
    for node in 0..4 {
        world.nodes.behave(NodeId(node), Behaviour::Full);
    }
    let error = world.put_bytes(&content(100_000)).await.expect_err("no room");
    assert!(matches!(error, StoreError::OutOfSpace), "{error}");
    for node in 0..4 {
        world.context.health.update(NodeId(node), |state| state.level = crate::actors::health::SpaceLevel::Exhausted);
    }
    assert!(matches!(world.context.check_writable(), Err(StoreError::OutOfSpace)));
    assert!(world.context.check_changeable().is_ok());
}

/// F3: with one drive out of service and another full the error is `Unavailable`: there is space once the drive is
/// back.
#[actix::test]
async fn f3_a_full_drive_beside_one_out_of_service_is_unavailable() {
    let world = World::new(2, 2);
    world.context.health.take_out(NodeId(1), "gone");
    world.nodes.behave(NodeId(2), Behaviour::Full);
    for attempt in ["it runs full", "it is known to be full"] {
        let error = world.put_bytes(&content(100_000)).await.expect_err("two of four have room");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{attempt}: {error}");
    }
}

#[actix::test]
async fn a_write_at_2_1_without_one_of_three_drives_is_placed_at_1_1() {
    let world = World::new(2, 1);
    world.context.health.take_out(NodeId(1), "gone");
    let manifest = world.put_bytes(&content(200_000)).await.expect("two live drives take 1+1");
    assert_eq!((blob(&manifest).geometry.data, blob(&manifest).geometry.parity), (1, 1));
    assert!(missing(&world).is_empty());
    check_shards(&world, blob(&manifest), &[]);
}

#[actix::test]
async fn a_shard_on_a_drive_replaced_during_a_put_is_queued_for_repair() {
    let world = World::new(2, 2);
    let bytes = content(300_000);
    let meta = Arc::clone(&world.meta);
    let replaced = NodeId(1);
    let pieces = [bytes.slice(..150_000), bytes.slice(150_000..)].into_iter().enumerate().map(move |(at, piece)| {
        if at == 1 {
            // The writer's ring is of epoch 1.
            for incarnation in [1, 2].map(Incarnation) {
                let (host, state, joined) = (HostId(1), NodeState::Active, UnixMs(0));
                let record = NodeRecord { id: replaced, host, incarnation, weight: 1, state, joined };
                assert_eq!(meta.apply(samples::register(record)), Reply::Done);
            }
        }
        Ok::<_, StoreError>(piece)
    });
    let body = Box::pin(futures::stream::iter(pieces));
    let upload = Upload { body, checks: BodyChecks::default(), trailer: None };
    let manifest = world.put(upload).await.expect("three of four are a quorum");
    let blob = blob(&manifest);
    let lacking = blob.placement.iter().position(|&node| node == replaced).expect("placed there");
    let repairs = world.meta.view().repairs(None, 9).expect("reads");
    let repairs: Vec<_> = repairs.iter().map(|row| (row.blob.id, row.shard)).collect();
    assert_eq!(repairs, [(blob.id, ShardNumber(lacking as u8))]);
}
