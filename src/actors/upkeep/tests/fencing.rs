//! Tests of the fencer while the lead changes.

use super::Leader;
use crate::actors::drives::test_host::open_cluster;
use crate::actors::upkeep::{Chore, ClusterContext, Fenced, Fencing, FencingOptions};
use crate::net::NoGroups;
use crate::types::HostId;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// The third host does not answer in the last round of one lead and in the first round of the next, a day later.
#[actix::test]
async fn the_silence_of_a_host_does_not_count_while_another_host_leads() {
    let root = tempfile::tempdir().expect("a directory");
    let cluster = open_cluster(root.path(), (1, 0), 3, 1).await;
    cluster.ways.add(HostId(3), cluster.hosts[2].service.clone(), Arc::new(NoGroups));
    let host = &cluster.hosts[0];
    let metadata = Arc::new(Leader::of(host.metadata.clone()));
    let context = ClusterContext { metadata: metadata.clone(), ..host.upkeep.clone() };
    let mut fencing = Fencing::new(context, FencingOptions::default());
    host.clock.forward(2 * HOUR);
    fencing.step().await;
    metadata.leads.store(false, Ordering::Relaxed);
    fencing.step().await;
    host.clock.forward(25 * HOUR);
    metadata.leads.store(true, Ordering::Relaxed);
    metadata.term.store(2, Ordering::Relaxed);
    fencing.step().await;
    assert_eq!(fencing.advance().await.expect("a round"), Fenced::Waiting);
    // Without a majority for a while, but in the same term.
    metadata.leads.store(false, Ordering::Relaxed);
    fencing.step().await;
    metadata.leads.store(true, Ordering::Relaxed);
    host.clock.forward(25 * HOUR);
    fencing.step().await;
    assert!(matches!(fencing.advance().await.expect("a round"), Fenced::Below(_)), "it was silent for a day");
    for host in cluster.hosts {
        host.close().await;
    }
}
