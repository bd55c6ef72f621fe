//! Tests of a cluster in which the leader's and other hosts' wall clocks are wrong, or its machine was suspended.

use super::{Cluster, bucket_of, id_at, put_until_done, simulate};
use crate::ambient::{Ambient, Clock};
use crate::types::{HostId, UnixMs};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[derive(Debug)]
struct Skewed {
    right: Arc<dyn Clock>,
    ahead_ms: Arc<AtomicI64>,
    asleep_ms: Arc<AtomicU64>,
}

impl Clock for Skewed {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(self.right.unix_ms().0.saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Duration {
        self.right.monotonic()
    }

    fn asleep(&self) -> Duration {
        Duration::from_millis(self.asleep_ms.load(Ordering::Relaxed))
    }
}

/// Returns an ambient whose wall clock is ahead by `ahead_ms`, and whose machine was suspended for `asleep_ms`; both
/// may change.
pub(super) fn skewed(right: &Ambient, ahead_ms: &Arc<AtomicI64>, asleep_ms: &Arc<AtomicU64>) -> Ambient {
    let right_clock = Arc::clone(&right.clock);
    let clock = Skewed { right: right_clock, ahead_ms: Arc::clone(ahead_ms), asleep_ms: Arc::clone(asleep_ms) };
    Ambient { clock: Arc::new(clock), ..right.clone() }
}

impl Cluster {
    pub(super) fn set_wall(&self, id: HostId, ahead_ms: i64) {
        self.hosts[&id].wall_ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// Has the hosts exchange reports of their clocks every second for so many seconds, as `HostWatch` does.
    async fn tell_clocks(&self, seconds: u64) {
        for _ in 0..seconds {
            for (id, handle) in self.running() {
                handle.clock().watch(self.ids().into_iter().filter(|other| *other != id));
                for (_, other) in self.running().into_iter().filter(|(other, _)| *other != id) {
                    other.clock().hear(id, handle.clock().report());
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Returns the leads of the confirmed time over the true time: as each host counts it, and as each host's tables
    /// have it recorded.
    fn confirmed_ahead_ms(&self) -> Vec<i64> {
        let now_ms = self.ambient.clock.unix_ms().0 as i64;
        let recorded = |handle: &super::MetaHandle| handle.local_view()?.clock().expect("readable");
        let of_host = |(_, handle): (HostId, super::MetaHandle)| {
            let counted = handle.clock().time().confirmed.0 as i64;
            [Some(counted), recorded(&handle).map(|record| record.confirmed.0 as i64)]
        };
        let all = self.running().into_iter().flat_map(of_host).flatten();
        all.map(|confirmed_ms| confirmed_ms - now_ms).collect()
    }
}

#[test]
fn a_leaders_wrong_wall_clock_does_not_move_the_confirmed_time() {
    for seed in 0..2 {
        simulate(async {
            let mut cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let began = cluster.ambient.clock.monotonic();
            cluster.tell_clocks(20).await;
            assert_eq!(cluster.confirmed_ahead_ms().len(), 6, "the time is confirmed, and every host has the record");
            for round in 0..4 {
                let leader = cluster.leader().await;
                let ahead_ms = if cluster.draw(3) == 0 { -60 * DAY_MS } else { 60 * DAY_MS };
                cluster.set_wall(leader, ahead_ms);
                if cluster.draw(2) == 0 {
                    cluster.kill(leader);
                    cluster.start(leader).await;
                }
                for id in cluster.ids() {
                    put_until_done(&cluster.at(id), bucket, "key", round).await;
                }
                cluster.tell_clocks(30).await;
                let slewed_ms = (cluster.ambient.clock.monotonic() - began).as_millis() as i64 / 24;
                for ahead_ms in cluster.confirmed_ahead_ms() {
                    let low = -slewed_ms - 10 * 60 * 1000 - 60_000;
                    assert!((low..=slewed_ms + 1).contains(&ahead_ms), "seed {seed}, round {round}: {ahead_ms} ms");
                }
            }
            cluster.end().await;
        });
    }
}

/// Returns whether a host answers a read within this time.
async fn answers_a_read(cluster: &Cluster, id: HostId, within: Duration) -> bool {
    timeout(within, cluster.at(id).read()).await.is_ok_and(|view| view.is_ok())
}

#[test]
fn a_leader_whose_machine_was_suspended_asks_a_majority_before_it_answers_a_read_c8() {
    simulate(async {
        let cluster = Cluster::started(3, 1).await;
        let bucket = bucket_of(&cluster).await;
        let leader = cluster.leader().await;
        put_until_done(&cluster.at(leader), bucket, "key", 1).await;
        cluster.network.cut_off(&[leader], &cluster.ids());
        let within = Duration::from_millis(200);
        assert!(answers_a_read(&cluster, leader, within).await, "the lease is not over");
        cluster.hosts[&leader].asleep_ms.store(3_600_000, Ordering::Relaxed);
        assert!(!answers_a_read(&cluster, leader, within).await, "another host may lead by now");
        cluster.network.heal();
        assert_eq!(id_at(&cluster.at(leader), bucket, "key").await, Some(1));
        cluster.end().await;
    });
}
