//! Hosts whose drives are put back to an older state.

use super::{Cluster, bucket_of, id_at, put_until_done, simulate};
use crate::types::{BucketId, HostId};
use std::time::Duration;
use tokio::time::sleep;

async fn put_all(cluster: &Cluster, at: HostId, bucket: BucketId, ids: std::ops::Range<u128>) {
    for id in ids {
        put_until_done(&cluster.at(at), bucket, &format!("key-{id}"), id).await;
    }
}

#[test]
fn a_host_that_applied_what_the_leader_never_had_stops_and_keeps_it() {
    for seed in 0..4 {
        simulate(async {
            let mut cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let [restored, lagging, complete] = [1, 2, 3].map(HostId);
            cluster.stop(restored).await;
            let copy = cluster.copy_of(restored);
            cluster.start(restored).await;
            cluster.until_even().await;
            // It is to have heard nothing of what the others hold.
            cluster.kill(lagging);
            cluster.network.cut_off(&[lagging], &cluster.ids());
            cluster.start(lagging).await;
            cluster.leader().await;
            put_all(&cluster, complete, bucket, 0..8).await;
            cluster
                .until("both have all", |cluster| {
                    let applied = |id| cluster.at(id).status().applied_index;
                    applied(restored) == applied(complete)
                })
                .await;
            // In order, so that it knows afterwards that all of them were decided.
            cluster.stop(complete).await;
            cluster.kill(restored);
            cluster.restore(restored, copy);
            cluster.network.heal();
            cluster.start(restored).await;
            put_all(&cluster, lagging, bucket, 100..120).await;
            assert_eq!(id_at(&cluster.at(lagging), bucket, "key-7").await, None, "lost with the older state");
            cluster.start(complete).await;
            let stopped = |cluster: &Cluster| cluster.at(complete).status().out_of_service;
            cluster.until("it is out of service", |cluster| stopped(cluster).is_some()).await;
            let why = stopped(&cluster).expect("it was just there");
            assert!(why.contains("put back to an older state"), "{why}");
            let view = cluster.at(complete).local_view().expect("its tables stay");
            for id in 0..8 {
                assert!(view.object(bucket, &format!("key-{id}")).expect("readable").is_some(), "{id}");
            }
            sleep(Duration::from_secs(5)).await;
            put_all(&cluster, lagging, bucket, 200..202).await;
            cluster.end().await;
        });
    }
}
