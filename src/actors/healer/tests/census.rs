//! Tests of the census, while drives fail, are replaced and are compared.

use super::cluster::put;
use super::{heal, healing};
use crate::actors::drives::health::Contents;
use crate::actors::drives::test_host::{TestHost, open_cluster};
use crate::actors::healer::{Census, CensusHandle, Tally};
use crate::actors::request::Metadata;
use crate::storage::meta::command::Change;
use crate::storage::meta::record::BlobRef;
use crate::types::{NodeId, ShardNumber};
use std::sync::Arc;
use std::time::Duration;

/// Lets a second pass and runs the census until its pass is complete.
async fn count(host: &TestHost, census: &mut Census, handle: &CensusHandle) -> Arc<Tally> {
    host.clock.forward(Duration::from_secs(1));
    for _ in 0..100 {
        if !census.advance().await.expect("a step") {
            return handle.snapshot().tally.expect("something was counted");
        }
    }
    panic!("it does not come to an end");
}

fn on(blobs: &[BlobRef], node: NodeId) -> u64 {
    blobs.iter().flat_map(|blob| &blob.placement).filter(|at| **at == node).count() as u64
}

#[actix::test]
async fn the_census_counts_queued_and_unreachable_shards_and_empty_drives_as_missing() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = open_cluster(root.path(), (3, 3), 3, 2).await;
    let mut blobs = Vec::new();
    for seed in 1..=8 {
        blobs.push(put(&cluster, seed, 2).await.0);
    }
    let (census, handle) = Census::new(cluster.hosts[0].upkeep.clone());
    let mut census = census;
    let host = &cluster.hosts[0];
    let whole = count(host, &mut census, &handle).await;
    assert_eq!((whole.all.blobs, whole.missing_shards, whole.is_complete), (8, 0, true));
    assert_eq!((whole.losses.drives, whole.losses.hosts), (3, 1), "each of six drives has one of 3+3");

    host.upkeep.health.update(NodeId(1), |state| state.contents = Contents::Empty);
    host.upkeep.health.take_out(NodeId(64), "its directory is gone");
    let two = count(host, &mut census, &handle).await;
    let lost = on(&blobs, NodeId(1)) + on(&blobs, NodeId(64));
    assert_eq!((two.missing_shards, two.reduced.blobs), (lost, 8));
    assert_eq!((two.without_spare.blobs, two.losses.drives, two.losses.hosts), (0, 1, 0));

    // A third shard of the first blob is missing, since it is queued.
    let shard = blobs[0].placement.iter().position(|node| *node == NodeId(65)).expect("it has one on each");
    let missing = vec![(blobs[0].clone(), ShardNumber(shard as u8))];
    host.metadata.propose(Change::QueueRepairs { missing }).await.expect("queued");
    let three = count(host, &mut census, &handle).await;
    assert_eq!((three.missing_shards, three.without_spare.blobs, three.losses.drives), (lost + 1, 1, 0));
    assert_eq!(three.without_spare.bytes, blobs[0].size_bytes);

    // A queued shard on a drive that is gone counts once.
    host.upkeep.health.take_out(NodeId(65), "its directory is gone");
    let gone = count(host, &mut census, &handle).await;
    assert_eq!((gone.missing_shards, gone.without_spare.blobs), (lost + on(&blobs, NodeId(65)), 8));
    host.upkeep.health.take_out(NodeId(0), "its directory is gone");
    assert_eq!(count(host, &mut census, &handle).await.unreadable.blobs, 8);
    for host in cluster.hosts.drain(..) {
        host.close().await;
    }
}

#[actix::test]
async fn a_node_counts_as_compared_once_its_missing_shards_are_queued() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = open_cluster(root.path(), (3, 3), 3, 2).await;
    let blob = put(&cluster, 1, 2).await.0;
    super::lose(&cluster.hosts[0], &blob, blob.placement.iter().position(|node| *node == NodeId(1)).expect("one"))
        .await;
    let (mut healing, _handle) = healing(&mut cluster.hosts[0]);
    let host = &cluster.hosts[0];
    let contents = |node| host.upkeep.health.current().state(NodeId(node)).expect("its own").contents;
    for node in [0, 1] {
        host.upkeep.health.update(NodeId(node), |state| state.contents = Contents::Empty);
    }
    for _ in 0..1000 {
        let queued = host.metadata.read().await.expect("read").counts().expect("counted").repairs;
        assert!(queued == 1 || contents(1) == Contents::Empty, "it counts as compared before what it lacks is queued");
        if contents(1) == Contents::Compared {
            break;
        }
        healing.advance().await.expect("a step");
    }
    assert_eq!(contents(1), Contents::Compared);
    heal(&mut healing).await;
    assert_eq!(contents(0), Contents::Compared);
    for host in cluster.hosts.drain(..) {
        host.close().await;
    }
}
