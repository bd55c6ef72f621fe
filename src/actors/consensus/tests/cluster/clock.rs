//! Tests of a cluster in which the leader's and other hosts' wall clocks are wrong.

use super::{Cluster, bucket_of, put_until_done, simulate};
use crate::ambient::{Ambient, Clock};
use crate::types::{HostId, UnixMs};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::sleep;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[derive(Debug)]
struct Skewed {
    right: Arc<dyn Clock>,
    ahead_ms: Arc<AtomicI64>,
}

impl Clock for Skewed {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(self.right.unix_ms().0.saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Duration {
        self.right.monotonic()
    }
}

/// Returns an ambient whose wall clock is ahead by `ahead_ms`, which may change.
pub(super) fn skewed(right: &Ambient, ahead_ms: &Arc<AtomicI64>) -> Ambient {
    let clock = Skewed { right: Arc::clone(&right.clock), ahead_ms: Arc::clone(ahead_ms) };
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
