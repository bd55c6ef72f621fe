//! Tests of the mover between several hosts with real logs and indexes, under reads and writes by the real request
//! tasks.

mod cluster;
mod recovered;
mod relaxed;
mod troubles;

use super::{Moved, Moving, MovingOptions};
use crate::actors::request::Metadata;
use crate::actors::upkeep::{Chore, Pace};
use crate::storage::meta::command::{Change, Refusal, Reply};
use crate::storage::meta::record::NodeState;
use crate::types::HostId;
use bytes::Bytes;
use cluster::{Cluster, DRIVES, node_of};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// P4: 3 hosts become 4 and then 3 again. About 1/N of the bytes moves each time, and the removed host ends empty.
#[actix::test]
async fn p4_a_joining_or_leaving_host_moves_about_its_share_of_bytes() {
    let mut cluster = Cluster::new(3, 3, 3).await;
    let contents = cluster.fill(60).await;
    cluster.join(4).await;
    cluster.publish().await;
    let ideal = cluster.held_bytes().await as f64 / 4.0;
    let mut moving = cluster.all_moving();
    let (bytes, shards) = cluster.settle(&mut moving).await;
    assert!((0.8..1.2).contains(&(bytes as f64 / ideal)), "{bytes} bytes moved, {ideal} is ideal");
    assert!(shards > 0);
    cluster.check_places().await;
    cluster.check_contents(&contents).await;
    cluster.clock.forward(Duration::from_secs(300));
    assert_eq!(cluster.settle(&mut moving).await, (0, 0));
    cluster.check_inventories().await;

    cluster.set_state(4, NodeState::Draining).await;
    cluster.publish().await;
    let new = cluster.put("new", &Bytes::from(vec![7; 40_000])).await;
    assert_eq!(new.size_bytes, 40_000);
    let (bytes, _) = cluster.settle(&mut moving).await;
    assert!((0.8..1.2).contains(&(bytes as f64 / ideal)), "{bytes} bytes moved back, {ideal} is ideal");
    let remove = |drive| Change::RemoveNode { node: node_of(4, drive), lost: false };
    let early = cluster.metadata.propose(remove(0)).await.expect("decided");
    assert!(matches!(early, Reply::Refused(Refusal::NodeHoldsShards) | Reply::Done), "{early:?}");
    cluster.clock.forward(Duration::from_secs(300));
    cluster.settle(&mut moving).await;
    cluster.check_inventories().await;
    for drive in 0..DRIVES {
        let (held, _) = cluster.drives[&node_of(4, drive)].index.inventory(None, 10).expect("an inventory");
        assert_eq!(held, [], "the removed host ends empty");
        cluster.change(remove(drive)).await;
    }
    cluster.change(Change::RemoveHost { host: HostId(4) }).await;
    cluster.publish().await;
    cluster.check_places().await;
    cluster.check_contents(&contents).await;
    cluster.close().await;
}

/// P3: a slow read succeeds while its shards are moved and the old copies are dropped.
#[actix::test]
async fn p3_a_slow_read_follows_shards_that_move() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let content = cluster.random.bytes(3_000_000);
    cluster.put("key", &content).await;
    let mut body = cluster.open("key").await;
    let mut got = vec![body.next().await.expect("a piece").expect("read")];
    let mut moving = cluster.all_moving();
    for (joins, leaves) in [(4, 1), (5, 2), (6, 3)] {
        cluster.join(joins).await;
        cluster.set_state(leaves, NodeState::Draining).await;
        cluster.publish().await;
        moving.push(cluster.moving(joins).0);
        cluster.settle(&mut moving).await;
        cluster.clock.forward(Duration::from_secs(300));
        cluster.settle(&mut moving).await;
        cluster.check_inventories().await;
        for _ in 0..20 {
            got.push(body.next().await.expect("a piece").expect("read"));
        }
    }
    while let Some(piece) = body.next().await {
        got.push(piece.expect("read"));
    }
    assert_eq!(Bytes::from(got.concat()), content);
    assert!(cluster.faults.as_mut().expect("no healer").take().is_none(), "no read met a missing shard");
    cluster.check_inventories().await;
    cluster.close().await;
}

#[actix::test]
async fn an_interrupted_move_continues_without_copying_a_chunk_twice() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let mut contents = cluster.fill(4).await;
    let large = cluster.random.bytes(2_000_000);
    cluster.put("large", &large).await;
    contents.insert("large".to_owned(), large);
    cluster.join(4).await;
    for host in 1..=3 {
        cluster.set_state(host, NodeState::Draining).await;
    }
    cluster.publish().await;
    let (mut total, mut interruptions) = (0, 0);
    // Each round replaces the mover after a few steps, as a restart would.
    for round in 0..200 {
        let mut moving = cluster.moving(4).0;
        cluster.clock.forward(Duration::from_secs(10));
        let mut done = false;
        for _ in 0..8 + round {
            match moving.advance().await.expect("a step") {
                Moved::Copied { bytes, .. } => total += bytes,
                Moved::Nothing => done = true,
                _ => {}
            }
        }
        interruptions += 1;
        if done {
            break;
        }
    }
    assert!(interruptions > 3, "it was interrupted {interruptions} times");
    cluster.check_places().await;
    let moved: u64 = {
        let mut bytes = 0;
        for blob in cluster.blobs().await {
            let layout = crate::storage::stripe::BlobLayout::new(blob.geometry, blob.size_bytes).expect("a layout");
            bytes += blob.placement.iter().filter(|node| node.0 / 64 == 4).count() as u64 * layout.shard_bytes();
        }
        bytes
    };
    assert_eq!(total, moved, "each byte was copied once");
    let mut moving = cluster.all_moving();
    cluster.settle(&mut moving).await;
    cluster.clock.forward(Duration::from_secs(300));
    cluster.settle(&mut moving).await;
    cluster.check_inventories().await;
    cluster.check_contents(&contents).await;
    cluster.close().await;
}

#[actix::test]
async fn writes_and_deletes_go_on_while_shards_move() {
    let mut cluster = Cluster::new(3, 2, 2).await;
    let mut contents = cluster.fill(30).await;
    cluster.join(4).await;
    cluster.publish().await;
    cluster.clock.forward(Duration::from_secs(10));
    let mut moving = cluster.all_moving();
    cluster.clock.forward(Duration::from_secs(10));
    for round in 0..60 {
        for one in &mut moving {
            one.advance().await.expect("a step");
        }
        let key = format!("key-{}", cluster.random.below(40));
        if round % 3 == 0 {
            cluster.delete(&key).await;
            contents.remove(&key);
        } else {
            let content = cluster.random.bytes(60_000);
            cluster.put(&key, &content).await;
            contents.insert(key, content);
        }
        cluster.clock.forward(Duration::from_millis(3));
    }
    cluster.settle(&mut moving).await;
    cluster.check_contents(&contents).await;
    cluster.check_places().await;
    troubles::reclaim(&cluster).await;
    cluster.clock.forward(Duration::from_secs(300));
    cluster.settle(&mut moving).await;
    troubles::reclaim(&cluster).await;
    cluster.check_inventories().await;
    let held = cluster.view().await.held().expect("held");
    assert!(held.nodes.values().all(|held| held.garbage == 0 && held.leftovers == 0), "{held:?}");
    cluster.close().await;
}

#[actix::test]
async fn the_mover_keeps_its_rate_and_slows_down_for_users() {
    let mut cluster = Cluster::new(3, 2, 1).await;
    let content = cluster.random.bytes(1_000_000);
    cluster.put("key", &content).await;
    cluster.join(4).await;
    cluster.set_state(1, NodeState::Draining).await;
    cluster.publish().await;
    let mut paces = BTreeMap::new();
    for busy in [false, true] {
        let pace = Pace { idle_bytes_per_second: 100_000, busy_bytes_per_second: 10_000 };
        let options = MovingOptions { window_bytes: 20_000, copies_max: 1, pace, ..MovingOptions::default() };
        let mut movers: Vec<Moving> =
            cluster.services.keys().map(|host| Moving::new(cluster.context.clone(), *host, options).0).collect();
        cluster.clock.forward(Duration::from_secs(10));
        let _request = busy.then(|| cluster.context.load.enter());
        let mut longest = Duration::ZERO;
        for _ in 0..12 {
            for mover in &mut movers {
                let pause = mover.step().await;
                if pause != options.idle {
                    longest = longest.max(pause);
                }
            }
        }
        paces.insert(busy, longest);
    }
    // A window of 20,000 bytes holds two chunks of 8 KiB.
    assert_eq!(paces[&false], Duration::from_micros(163_840));
    assert_eq!(paces[&true], Duration::from_micros(1_638_400));
    cluster.close().await;
}
