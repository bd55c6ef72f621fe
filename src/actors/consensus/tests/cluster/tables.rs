//! Tests of replicas that have applied the same entries and have different rows, cannot apply an entry, lack file
//! descriptors or memory for their tables, or need an entry that is damaged on all their drives.

use super::{Cluster, bucket_of, id_at, put_until_done, simulate};
use crate::actors::consensus::shared::locked;
use crate::actors::consensus::{CopyScrub, CopyScrubbed, MetaHandle};
use crate::storage::disk::read_file;
use crate::storage::disk::sim::Shortage;
use crate::storage::kv::Batch;
use crate::storage::meta::tables::OBJECTS;
use crate::types::{BucketId, HostId};
use futures::future::FutureExt;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

async fn cluster_with_objects(seed: u64) -> (Cluster, BucketId, HostId) {
    let cluster = Cluster::started(3, seed).await;
    let bucket = bucket_of(&cluster).await;
    let leader = cluster.leader().await;
    for id in 0..5 {
        put_until_done(&cluster.at(leader), bucket, &format!("key-{id}"), id).await;
    }
    cluster.until_even().await;
    (cluster, bucket, leader)
}

async fn scrub(meta: &MetaHandle) {
    let mut pass = CopyScrub::begin(meta, 1 << 20).await.expect("a pass begins");
    while !matches!(pass.advance().await.expect("readable"), CopyScrubbed::Finished { .. }) {}
}

/// Removes the row of the nth object from a host's tables.
fn lose_row(cluster: &Cluster, host: HostId, nth: usize) {
    let meta = cluster.at(host);
    let tables = meta.inner.shared.tables.load_full().expect("the host has tables");
    let rows: Vec<_> = tables.kv().range(OBJECTS, Bound::Unbounded, Bound::Unbounded).collect();
    let (key, _) = rows[nth].clone().expect("readable");
    let mut batch = Batch::default();
    batch.remove(OBJECTS, key);
    tables.kv().commit(batch).expect("in memory");
}

fn tables_differ(cluster: &Cluster, at: HostId, other: HostId) -> bool {
    cluster.at(at).status().replicas.get(&other).is_some_and(|how| how.tables_differ_at.is_some())
}

#[test]
fn a_scrub_of_the_leader_computes_the_same_digest_on_every_host() {
    simulate(async {
        let (cluster, bucket, leader) = cluster_with_objects(1).await;
        for id in cluster.ids() {
            scrub(&cluster.at(id)).await;
        }
        put_until_done(&cluster.at(leader), bucket, "later", 9).await;
        let digests = |cluster: &Cluster| -> Vec<_> {
            cluster.running().iter().filter_map(|(_, meta)| locked(&meta.inner.shared.digests).last).collect()
        };
        cluster.until("each host has a digest", |cluster| digests(cluster).len() == 3).await;
        let found = digests(&cluster);
        assert!(found.iter().all(|digest| digest == &found[0]), "{found:?}");
        cluster.until_even().await;
        cluster.end().await;
    });
}

#[test]
fn a_host_whose_tables_differ_from_a_majority_stops_and_rejoins() {
    for seed in 0..4 {
        simulate(async {
            let (cluster, bucket, leader) = cluster_with_objects(seed).await;
            let damaged = if seed % 2 == 0 { leader } else { cluster.follower().await };
            let others: Vec<HostId> = cluster.ids().into_iter().filter(|id| *id != damaged).collect();
            lose_row(&cluster, damaged, 2);
            scrub(&cluster.at(leader)).await;
            let stopped = |cluster: &Cluster| cluster.at(damaged).status().out_of_service;
            cluster.until("it is out of service", |cluster| stopped(cluster).is_some()).await;
            let why = stopped(&cluster).expect("it was just there");
            assert!(why.contains("the metadata tables of this host were not those of hosts"), "{why}");
            assert_eq!(cluster.at(damaged).wait_until_superseded().now_or_never(), Some(why), "the host has to rejoin");
            put_until_done(&cluster.at(others[0]), bucket, "later", 9).await;
            for other in &others {
                assert!(tables_differ(&cluster, *other, damaged), "{other:?} was told");
                assert_eq!(cluster.at(*other).status().out_of_service, None);
            }
            cluster.end().await;
        });
    }
}

#[test]
fn three_hosts_whose_tables_all_differ_report_it_and_go_on() {
    simulate(async {
        let (cluster, bucket, leader) = cluster_with_objects(1).await;
        let ids = cluster.ids();
        for (nth, id) in ids.iter().enumerate() {
            lose_row(&cluster, *id, nth);
        }
        scrub(&cluster.at(leader)).await;
        let all_differ = |cluster: &Cluster| {
            let differs = |at: &HostId| ids.iter().all(|other| other == at || tables_differ(cluster, *at, *other));
            ids.iter().all(differs)
        };
        cluster.until("each is known to differ", all_differ).await;
        put_until_done(&cluster.at(leader), bucket, "later", 9).await;
        for id in &ids {
            assert_eq!(cluster.at(*id).status().out_of_service, None);
        }
    });
}

#[test]
fn an_entry_that_fails_twice_on_one_host_stops_only_that_host() {
    for seed in 0..2 {
        simulate(async {
            let (mut cluster, bucket, leader) = cluster_with_objects(seed).await;
            let ill = if seed == 0 { leader } else { cluster.follower().await };
            let others: Vec<HostId> = cluster.ids().into_iter().filter(|id| *id != ill).collect();
            let home = Arc::clone(&cluster.hosts[&ill].home);
            home.garble(Some("poison"));
            put_until_done(&cluster.at(others[0]), bucket, "poison", 9).await;
            let stopped = |cluster: &Cluster| cluster.at(ill).status().out_of_service;
            cluster.until("it is out of service", |cluster| stopped(cluster).is_some()).await;
            let why = stopped(&cluster).expect("it was just there");
            assert!(why.contains("on cannot be applied, not even to rebuilt tables"), "{why}");
            assert_eq!(cluster.at(ill).wait_until_superseded().now_or_never(), None, "an operator decides");
            for other in &others {
                put_until_done(&cluster.at(*other), bucket, "later", 10).await;
                assert_eq!(cluster.at(*other).status().out_of_service, None);
            }
            // With a version in which the defect is fixed, the host goes on where it stopped.
            cluster.stop(ill).await;
            home.garble(None);
            cluster.start(ill).await;
            cluster.until_even().await;
            cluster.end().await;
        });
    }
}

/// The rebuild of the tables needs the snapshot, which cannot be read meanwhile.
#[test]
fn a_member_that_cannot_read_its_snapshot_for_want_of_descriptors_or_memory_gives_nothing_up() {
    for shortage in [Shortage::Descriptors, Shortage::Memory] {
        simulate(async {
            let (cluster, bucket, _) = cluster_with_objects(1).await;
            let short = cluster.follower().await;
            let meta = cluster.at(short);
            assert!(meta.snapshot_now().await);
            sleep(Duration::from_secs(1)).await;
            let host = &cluster.hosts[&short];
            let tables = meta.inner.shared.tables.load_full().expect("the host has tables");
            host.disks.iter().for_each(|disk| disk.set_shortage(Some(shortage)));
            host.home.break_all();
            assert!(tables.kv().get(OBJECTS, b"key").is_err(), "a read fails");
            drop(tables);
            assert!(meta.read().await.is_err(), "they are rebuilt");
            sleep(Duration::from_secs(10)).await;
            assert!(meta.status().out_of_service.is_some(), "there are no tables yet");
            assert_eq!(meta.wait_until_superseded().now_or_never(), None);
            host.disks.iter().for_each(|disk| disk.set_shortage(None));
            for id in 0..5 {
                assert_eq!(id_at(&meta, bucket, &format!("key-{id}")).await, Some(id));
            }
            assert_eq!(meta.status().out_of_service, None);
            cluster.until_even().await;
            cluster.end().await;
        });
    }
}

#[test]
fn entries_that_cannot_be_applied_for_want_of_descriptors_are_applied_later() {
    simulate(async {
        let (cluster, bucket, leader) = cluster_with_objects(1).await;
        let short = cluster.follower().await;
        let home = &cluster.hosts[&short].home;
        home.set_lacking(true);
        put_until_done(&cluster.at(leader), bucket, "meanwhile", 9).await;
        cluster.until("it has no tables", |cluster| cluster.at(short).status().out_of_service.is_some()).await;
        sleep(Duration::from_secs(10)).await;
        home.set_lacking(false);
        cluster.until_even().await;
        assert_eq!(id_at(&cluster.at(short), bucket, "meanwhile").await, Some(9));
        assert_eq!(cluster.at(short).status().out_of_service, None);
        assert_eq!(cluster.at(short).wait_until_superseded().now_or_never(), None);
        cluster.end().await;
    });
}

/// Flips a bit in every place of a running host's log, on all its drives, that has these bytes.
fn rot_in_log(cluster: &Cluster, host: HostId, bytes: &[u8]) {
    let dir = Path::new("/drive/meta/log");
    for disk in &cluster.hosts[&host].disks {
        let names = disk.handle().list(dir).expect("listed");
        let mut found = 0;
        for path in names.iter().filter(|name| name.ends_with(".seg")).map(|name| dir.join(name)) {
            let content = read_file(&*disk.handle(), &path).expect("read");
            for (at, _) in content.windows(bytes.len()).enumerate().filter(|(_, window)| *window == bytes) {
                disk.corrupt(&path, at as u64, 1).expect("a stored file");
                found += 1;
            }
        }
        assert!(found > 0, "the log has these bytes");
    }
}

/// After a restart no entry of the log is in memory.
#[test]
fn a_leader_whose_followers_need_an_entry_that_rotted_on_its_drives_rejoins() {
    simulate(async {
        let (mut cluster, bucket, _) = cluster_with_objects(1).await;
        let behind = cluster.follower().await;
        cluster.stop(behind).await;
        let others: Vec<HostId> = cluster.ids().into_iter().filter(|id| *id != behind).collect();
        put_until_done(&cluster.at(others[0]), bucket, "rotting", 9).await;
        cluster.until_even().await;
        for id in &others {
            cluster.stop(*id).await;
        }
        for id in &others {
            cluster.start(*id).await;
        }
        let leader = cluster.leader().await;
        put_until_done(&cluster.at(leader), bucket, "later", 10).await;
        cluster.until_even().await;
        rot_in_log(&cluster, leader, b"rotting");
        cluster.start(behind).await;
        let stopped = |cluster: &Cluster| cluster.at(leader).status().out_of_service;
        cluster.until("it is out of service", |cluster| stopped(cluster).is_some()).await;
        let why = stopped(&cluster).expect("it was just there");
        assert!(why.contains("damaged on every copy"), "{why}");
        assert!(cluster.at(leader).wait_until_superseded().now_or_never().is_some(), "the host has to rejoin");
        assert_eq!(id_at(&cluster.at(behind), bucket, "rotting").await, Some(9), "from the other host");
        cluster.end().await;
    });
}

#[test]
fn a_member_whose_tables_and_an_entry_on_all_its_drives_are_lost_rejoins() {
    simulate(async {
        let (mut cluster, bucket, _) = cluster_with_objects(1).await;
        let ill = cluster.follower().await;
        cluster.stop(ill).await;
        cluster.start(ill).await;
        cluster.until_even().await;
        rot_in_log(&cluster, ill, b"key-2");
        cluster.hosts[&ill].home.break_all();
        let leader = cluster.leader().await;
        put_until_done(&cluster.at(leader), bucket, "later", 9).await;
        let rejoins = |cluster: &Cluster| cluster.at(ill).wait_until_superseded().now_or_never();
        cluster.until("it has to rejoin", |cluster| rejoins(cluster).is_some()).await;
        let why = rejoins(&cluster).expect("it was just there");
        assert!(why.contains("damaged on every copy"), "{why}");
        assert_eq!(id_at(&cluster.at(leader), bucket, "key-2").await, Some(2));
        cluster.end().await;
    });
}
