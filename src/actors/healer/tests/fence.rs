//! Tests of writes under way while orphans are dropped, with clocks that jump and clocks that are wrong: a write is
//! either acknowledged and readable, or refused.

use super::{heal, healing};
use crate::actors::drives::test_host::{CHUNK_BYTES, Seeded, TestCluster, TestHost, blob_of, open_cluster, open_host};
use crate::actors::healer::{HealerHandle, Healing};
use crate::actors::request::{ActiveWrites, StoreError};
use crate::actors::upkeep::{Fenced, Fencing, FencingOptions, Reclaimed, Reclamation, ReclamationOptions};
use crate::net::{AppendChunks, NoGroups, NodeService};
use crate::storage::meta::command::{Change, Refusal};
use crate::storage::meta::record::RecoveryRecord;
use crate::types::{BlobId, ChunkIndex, HostId, NodeId, RecoveryEpoch, ShardId, ShardNumber, UnixMs};
use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const DAY_MS: i64 = 24 * 3600 * 1000;
/// The number of attempts in which the tests wait for shards on the drives; each takes a millisecond at least.
const LOOKS_MAX: usize = 60_000;

fn fencing(host: &TestHost) -> Fencing {
    Fencing::new(host.upkeep.clone(), FencingOptions::default())
}

async fn fence(fencing: &mut Fencing) -> Fenced {
    fencing.advance().await.expect("a round")
}

/// Counts the shards of unknown blobs on all drives of a host.
async fn unknown(host: &TestHost) -> usize {
    let view = host.view().await;
    let mut unknown = 0;
    for drive in &host.drives {
        let page = host.service.inventory(drive.node, None, 1000).await.expect("an inventory");
        unknown += page.shards.iter().filter(|(shard, _)| !view.blob_is_known(shard.blob).expect("reads")).count();
    }
    unknown
}

/// Waits until each drive of this host has a shard of the body that is being sent.
async fn begun(host: &TestHost) {
    for _ in 0..LOOKS_MAX {
        if unknown(host).await == host.drives.len() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("nothing comes to the drives");
}

/// Puts a body whose second half is sent when `meanwhile` is over.
async fn put_around<F: Future<Output = ()>>(
    host: &TestHost,
    key: &str,
    meanwhile: impl FnOnce() -> F,
) -> (Bytes, Result<BlobId, StoreError>) {
    let content = Seeded::new(77).bytes(400 * CHUNK_BYTES as usize + 77);
    let (sender, body) = unbounded();
    let send = |sender: &UnboundedSender<_>, bytes: Bytes| sender.unbounded_send(Ok(bytes)).expect("it is read");
    let half = content.len() / 2;
    let script = async {
        send(&sender, content.slice(..half));
        begun(host).await;
        meanwhile().await;
        send(&sender, content.slice(half..));
        drop(sender);
    };
    let (stored, ()) = tokio::join!(host.put_body(key, Box::pin(body)), script);
    (content, stored.map(|manifest| blob_of(&manifest).id))
}

/// With 2+2 drives, the clock jumps a day ahead in the middle of a PUT, and orphans are searched for.
#[actix::test]
async fn a_put_under_way_survives_a_clock_that_jumps_a_day_ahead() {
    let root = tempfile::tempdir().expect("a directory");
    let mut host = open_host(root.path(), 2, 2).await;
    let (mut healing, handle) = healing(&mut host);
    let mut fencing = fencing(&host);
    heal(&mut healing).await;
    let (content, stored) = put_around(&host, "key", || async {
        host.clock.forward(25 * HOUR);
        fence(&mut fencing).await;
        host.drives.iter().for_each(|drive| handle.reconcile(drive.node));
        heal(&mut healing).await;
    })
    .await;
    let blob = stored.expect("its host was asked");
    assert_eq!(host.get("key").await.expect("read"), Some(content));
    assert!(
        matches!(fence(&mut fencing).await, Fenced::Below(fence) if fence > blob),
        "the fence rises once the PUT has ended"
    );
    heal(&mut healing).await;
    assert_eq!(host.get("key").await.expect("read").map(|bytes| bytes.len()), Some(400 * CHUNK_BYTES as usize + 77));
    host.close().await;
}

/// Opens three hosts of two drives at 3+3: each drive holds one shard of each blob.
async fn cluster(root: &Path) -> TestCluster {
    open_cluster(root, (3, 3), 3, 2).await
}

fn healers(cluster: &mut TestCluster) -> Vec<(Healing, HealerHandle)> {
    cluster.hosts.iter_mut().map(healing).collect()
}

async fn close(cluster: TestCluster) {
    for host in cluster.hosts {
        host.close().await;
    }
}

/// Compares all drives of all hosts with the metadata.
async fn compare(cluster: &TestCluster, healers: &mut [(Healing, HealerHandle)]) {
    for (host, (healing, handle)) in cluster.hosts.iter().zip(healers) {
        host.drives.iter().for_each(|drive| handle.reconcile(drive.node));
        heal(healing).await;
    }
}

/// The index of the host whose clock is wrong or that does not answer.
const THIRD: usize = 2;

#[actix::test]
async fn the_fence_waits_for_a_put_of_a_host_whose_clock_is_behind() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    cluster.hosts[THIRD].set_wrong(-3 * DAY_MS);
    let (mut healers, mut fencing) = (healers(&mut cluster), fencing(&cluster.hosts[0]));
    let (content, stored) = put_around(&cluster.hosts[THIRD], "key", || async {
        cluster.hosts[0].clock.forward(2 * HOUR);
        fence(&mut fencing).await;
        compare(&cluster, &mut healers).await;
    })
    .await;
    let blob = stored.expect("its host was asked");
    assert_eq!(cluster.hosts[0].get("key").await.expect("read"), Some(content));
    let Fenced::Below(fence) = fence(&mut fencing).await else { panic!("all hosts answer") };
    assert!(fence > blob, "the fence does not stay where that clock is");
    let next = cluster.hosts[THIRD].put("next", &Seeded::new(1).bytes(50_000)).await.expect("stored");
    assert!(blob_of(&next).id >= fence);
    compare(&cluster, &mut healers).await;
    assert!(cluster.hosts[0].get("next").await.expect("read").is_some());
    close(cluster).await;
}

#[actix::test]
async fn orphans_dated_in_the_future_are_dropped_when_the_fence_gets_there() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    cluster.hosts[THIRD].set_wrong(3 * DAY_MS);
    let (mut healers, mut fencing) = (healers(&mut cluster), fencing(&cluster.hosts[0]));
    let (content, stored) = put_around(&cluster.hosts[THIRD], "key", || async {
        cluster.hosts[0].clock.forward(2 * HOUR);
        fence(&mut fencing).await;
        compare(&cluster, &mut healers).await;
    })
    .await;
    stored.expect("its host was asked");
    assert_eq!(cluster.hosts[0].get("key").await.expect("read"), Some(content));

    let host = &cluster.hosts[THIRD];
    let write = host.upkeep.writes.begin(&host.upkeep.ambient);
    let shard = ShardId { blob: write.blob(), shard: ShardNumber(0) };
    let chunks = vec![Bytes::from_static(b"orphan")];
    let append = AppendChunks { node: NodeId(128), shard, first: ChunkIndex(0), chunks, trace: None };
    host.service.append_chunks(append).await.expect("appended");
    drop(write);
    for (passed, left) in [(2 * HOUR, 1), (DAY, 1), (3 * DAY, 0)] {
        cluster.hosts[0].clock.forward(passed);
        fence(&mut fencing).await;
        compare(&cluster, &mut healers).await;
        assert_eq!((unknown(host).await, healers[THIRD].1.status().orphaned_shards), (left, left as u64));
    }
    close(cluster).await;
}

#[actix::test]
async fn a_host_that_restarts_with_its_clock_behind_the_fence_writes_at_once() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    let mut fencing = fencing(&cluster.hosts[0]);
    cluster.hosts[0].clock.forward(2 * HOUR);
    let Fenced::Below(fence) = fence(&mut fencing).await else { panic!("all hosts answer") };
    // The restarted process no longer knows the floor for blob ids to which the former one had agreed.
    cluster.hosts[THIRD].set_wrong(-3 * DAY_MS);
    let requests = Arc::get_mut(&mut cluster.hosts[THIRD].requests).expect("no request is under way");
    requests.writes = ActiveWrites::default();
    let put = cluster.hosts[THIRD].put("key", &Seeded::new(1).bytes(50_000)).await.expect("stored at once");
    assert!(blob_of(&put).id >= fence);
    close(cluster).await;
}

#[actix::test]
async fn a_put_of_a_host_silent_for_a_day_is_refused_and_leaves_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    cluster.ways.add(HostId(3), cluster.hosts[THIRD].service.clone(), Arc::new(NoGroups));
    let (mut healers, mut fencing) = (healers(&mut cluster), fencing(&cluster.hosts[0]));
    let host = &cluster.hosts[THIRD];
    let (_, stored) = put_around(host, "key", || async {
        host.clock.forward(2 * HOUR);
        assert_eq!(fence(&mut fencing).await, Fenced::Waiting);
        compare(&cluster, &mut healers).await;
        assert_eq!(unknown(host).await, 2, "a silent host is waited for at first");
        host.clock.forward(DAY);
        assert!(matches!(fence(&mut fencing).await, Fenced::Below(_)));
        drop_all(&cluster, &mut healers).await;
    })
    .await;
    assert!(matches!(stored, Err(StoreError::Refused(Refusal::Fenced))), "{stored:?}");
    assert_eq!(cluster.hosts[0].get("key").await.expect("looked up"), None);
    let reclaimed = reclaim(&cluster).await;
    drop_all(&cluster, &mut healers).await;
    assert_eq!((reclaimed, cluster.hosts[0].view().await.counts().expect("counts").garbage), (6, 0));
    // The host's clock is behind the fence now. The refusal made the host look the fence up.
    cluster.hosts[THIRD].set_wrong(-3 * DAY_MS);
    let again = cluster.hosts[THIRD].put("key", &Seeded::new(1).bytes(50_000)).await;
    again.expect("a try that is not a day long is made");
    close(cluster).await;
}

/// Compares all drives until no shard of an unknown blob is left. Chunks still on their way to the drives arrive
/// meanwhile.
async fn drop_all(cluster: &TestCluster, healers: &mut [(Healing, HealerHandle)]) {
    for _ in 0..LOOKS_MAX {
        compare(cluster, healers).await;
        let mut left = 0;
        for host in &cluster.hosts {
            left += unknown(host).await;
        }
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("shards of unknown blobs are left");
}

/// Reclaims all garbage; returns the number of shards that were dropped.
async fn reclaim(cluster: &TestCluster) -> usize {
    let options = ReclamationOptions { silence_max: Duration::ZERO, ..ReclamationOptions::default() };
    let mut reclamation = Reclamation::new(cluster.hosts[0].upkeep.clone(), options);
    let young = reclamation.advance().await.expect("a step");
    assert_eq!(young, Reclaimed::End { shards: 0 }, "a start begins a grace period");
    cluster.hosts[0].clock.forward(HOUR);
    match reclamation.advance().await.expect("a step") {
        Reclaimed::End { shards } => shards,
        other => panic!("one page without readers, not {other:?}"),
    }
}

#[actix::test]
async fn unknown_shards_are_kept_after_a_recovery_until_given_up() {
    let root = tempfile::tempdir().expect("a directory");
    let mut cluster = cluster(root.path()).await;
    let (mut healers, mut fencing) = (healers(&mut cluster), fencing(&cluster.hosts[0]));
    let host = &cluster.hosts[THIRD];
    let mut recovery = RecoveryRecord {
        epoch: RecoveryEpoch { number: 1, id: 7, former: [0; 8] },
        at: UnixMs(0),
        host: HostId(1),
        exported: None,
        keeps_unknown: true,
    };
    let note = |recovery| host.upkeep.metadata.propose(Change::NoteRecovery(recovery));
    note(recovery).await.expect("noted");
    let write = host.upkeep.writes.begin(&host.upkeep.ambient);
    let shard = ShardId { blob: write.blob(), shard: ShardNumber(0) };
    let chunks = vec![Bytes::from_static(b"of an object that the metadata has lost")];
    host.service
        .append_chunks(AppendChunks { node: NodeId(128), shard, first: ChunkIndex(0), chunks, trace: None })
        .await
        .expect("appended");
    drop(write);
    for (keeps_unknown, left) in [(true, 1), (false, 0)] {
        recovery.keeps_unknown = keeps_unknown;
        note(recovery).await.expect("noted");
        cluster.hosts[0].clock.forward(3 * DAY);
        fence(&mut fencing).await;
        compare(&cluster, &mut healers).await;
        assert_eq!((unknown(host).await, healers[THIRD].1.status().orphaned_shards), (left, left as u64));
    }
    close(cluster).await;
}
