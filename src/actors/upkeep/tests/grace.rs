//! Tests of the grace period of garbage, with wall clocks that jump and reads that begin at critical moments.

use crate::actors::consensus::MetaError;
use crate::actors::drives::test_host::{Seeded, TableMetadata, TestHost, open_host};
use crate::actors::request::{ActiveRead, ActiveReads, Metadata};
use crate::actors::upkeep::{ClusterContext, Reclaimed, Reclamation, ReclamationOptions};
use crate::storage::meta::command::{Change, LogTime, Reply};
use crate::storage::meta::samples;
use crate::storage::meta::view::MetaView;
use crate::types::BucketId;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn advance(reclamation: &mut Reclamation) -> usize {
    match reclamation.advance().await.expect("a step") {
        Reclaimed::End { shards } => shards,
        other => panic!("one page without readers, not {other:?}"),
    }
}

/// A host with a deleted object.
async fn host_with_garbage(root: &std::path::Path) -> TestHost {
    let host = open_host(root, 2, 1).await;
    host.put("key", &Seeded::new(1).bytes(100_000)).await.expect("stored");
    host.delete("key").await;
    host
}

#[actix::test]
async fn garbage_stays_for_its_grace_period_though_the_wall_clock_jumps_a_day_ahead() {
    let root = tempfile::tempdir().expect("a directory");
    let host = host_with_garbage(root.path()).await;
    let mut reclamation = Reclamation::new(host.upkeep.clone(), ReclamationOptions::default());
    assert_eq!(advance(&mut reclamation).await, 0);
    host.clock.set_wall_ahead(DAY);
    assert_eq!(advance(&mut reclamation).await, 0);
    host.clock.forward(Duration::from_secs(59));
    assert_eq!(advance(&mut reclamation).await, 0);
    // The wall clock jumps back, and the garbage is dropped on time.
    host.clock.set_wall_ahead(Duration::ZERO);
    host.clock.forward(Duration::from_secs(1));
    assert_eq!(advance(&mut reclamation).await, 3);
    host.close().await;
}

#[actix::test]
async fn garbage_stays_for_a_whole_grace_period_after_a_start() {
    let root = tempfile::tempdir().expect("a directory");
    let host = host_with_garbage(root.path()).await;
    host.clock.forward(DAY);
    let mut reclamation = Reclamation::new(host.upkeep.clone(), ReclamationOptions::default());
    assert_eq!(advance(&mut reclamation).await, 0);
    host.clock.forward(Duration::from_secs(60));
    assert_eq!(advance(&mut reclamation).await, 3);
    host.close().await;
}

/// Metadata in which a read begins and its object is deleted just before the lookup of garbage.
#[derive(Debug)]
struct DeletesAtLookup {
    inner: Arc<TableMetadata>,
    reads: ActiveReads,
    bucket: BucketId,
    read: Mutex<Option<ActiveRead>>,
}

#[async_trait::async_trait]
impl Metadata for DeletesAtLookup {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        self.inner.propose(change).await
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        if self.read.lock().expect("one thread").is_none() {
            *self.read.lock().expect("one thread") = Some(self.reads.begin());
            self.inner.propose(samples::delete(self.bucket, "key")).await?;
        }
        self.inner.read().await
    }

    fn time(&self) -> LogTime {
        self.inner.time()
    }
}

#[actix::test]
async fn reclaiming_waits_for_a_read_that_begins_during_the_garbage_lookup() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 2, 1).await;
    host.put("key", &Seeded::new(1).bytes(100_000)).await.expect("stored");
    let metadata = Arc::new(DeletesAtLookup {
        inner: host.metadata.clone(),
        reads: host.upkeep.reads.clone(),
        bucket: host.bucket,
        read: Mutex::new(None),
    });
    let context = ClusterContext { metadata: metadata.clone(), ..host.upkeep.clone() };
    let options = ReclamationOptions { grace: Duration::ZERO, ..ReclamationOptions::default() };
    let mut reclamation = Reclamation::new(context, options);
    for _ in 0..3 {
        assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    }
    // The next lookup begins another read, for which this page does not wait any more.
    let read = metadata.read.lock().expect("one thread").take();
    drop(read);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 3 });
    host.close().await;
}

#[actix::test]
async fn garbage_is_kept_for_a_read_that_registers_within_the_grace_period() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 2, 1).await;
    host.put("key", &Seeded::new(1).bytes(100_000)).await.expect("stored");
    let early = host.upkeep.reads.begin();
    host.delete("key").await;
    let mut reclamation = Reclamation::new(host.upkeep.clone(), ReclamationOptions::default());
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    host.clock.forward(Duration::from_secs(30));
    // This read looked the object up before the delete, and registers only now.
    let late = host.upkeep.reads.begin();
    host.clock.forward(Duration::from_secs(90));
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    drop(early);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::Waiting);
    drop(late);
    assert_eq!(reclamation.advance().await.expect("a step"), Reclaimed::End { shards: 3 });
    host.close().await;
}
