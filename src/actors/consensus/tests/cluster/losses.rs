//! Tests of hosts that are killed, lag, or lose their power together, and of answers that are lost.

use super::network::Weather;
use super::{Cluster, bucket_of, id_at, put_until_done, simulate};
use crate::actors::consensus::network::Kind;
use crate::actors::consensus::tests::tail::{BLOCK, last_block};
use crate::actors::consensus::tests::{put, put_if_absent};
use crate::actors::consensus::{MetaError, MetaHandle, StartError};
use crate::storage::meta::command::{Change, Refusal, Reply};
use crate::storage::meta::samples;
use crate::storage::raft_log::ChoiceError;
use crate::types::{BucketId, HostId};
use futures::future::join_all;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The last acknowledged and the last attempted id of each key; the key must have one from the former to the latter.
#[derive(Debug, Default)]
struct Ledger {
    acknowledged: BTreeMap<String, u128>,
    attempted: BTreeMap<String, u128>,
}

/// The pauses of writers between their changes, in milliseconds.
const BRISK: u64 = 25;
const CALM: u64 = 150;

/// Starts three writers on every running host, each with a key of its own.
fn write_everywhere(
    cluster: &Cluster,
    bucket: BucketId,
    ledger: &Rc<RefCell<Ledger>>,
    first: u128,
    pause: &Rc<Cell<u64>>,
) -> Vec<JoinHandle<()>> {
    let writer = |host: HostId, meta: MetaHandle, nth: u32| {
        let (ledger, pause) = (Rc::clone(ledger), Rc::clone(pause));
        tokio::task::spawn_local(async move {
            let key = format!("{}/{nth}", host.0);
            for id in first.. {
                ledger.borrow_mut().attempted.insert(key.clone(), id);
                match meta.propose(put(bucket, &key, id, &id.to_be_bytes())).await {
                    Ok(Reply::ObjectPut { .. }) => {
                        ledger.borrow_mut().acknowledged.insert(key.clone(), id);
                        sleep(Duration::from_millis(pause.get())).await;
                    }
                    Ok(other) => panic!("a put is never answered {other:?}"),
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
        })
    };
    let running = cluster.running();
    running.iter().flat_map(|(id, meta)| (0..3).map(|nth| writer(*id, meta.clone(), nth))).collect()
}

async fn check_everywhere(cluster: &Cluster, bucket: BucketId, ledger: &Rc<RefCell<Ledger>>) {
    for (host, meta) in cluster.running() {
        let (attempted, acknowledged) = {
            let ledger = ledger.borrow();
            (ledger.attempted.clone(), ledger.acknowledged.clone())
        };
        for (key, attempted) in &attempted {
            let found = id_at(&meta, bucket, key).await;
            let acknowledged = acknowledged.get(key).copied();
            assert!(
                found >= acknowledged && found <= Some(*attempted),
                "seed {}: {key} on {host:?}: {acknowledged:?}, {found:?}, {attempted}",
                cluster.seed
            );
        }
    }
}

#[test]
fn killing_any_host_under_load_loses_no_acknowledged_change() {
    for seed in 0..8 {
        simulate(async {
            let mut cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let ledger = Rc::new(RefCell::new(Ledger::default()));
            let pause = Rc::new(Cell::new(BRISK));
            for round in 0..4_u128 {
                let writers = write_everywhere(&cluster, bucket, &ledger, round * 100_000, &pause);
                sleep(Duration::from_millis(50 + cluster.draw(300))).await;
                let victim = cluster.ids()[cluster.draw(3) as usize];
                cluster.kill(victim);
                let down_ms = cluster.draw(5000);
                sleep(Duration::from_millis(down_ms.min(500))).await;
                // The load matters when the host goes and when it comes back.
                pause.set(CALM);
                sleep(Duration::from_millis(down_ms.saturating_sub(500 + CALM))).await;
                pause.set(BRISK);
                sleep(Duration::from_millis(down_ms.saturating_sub(500).min(CALM))).await;
                cluster.start(victim).await;
                sleep(Duration::from_millis(cluster.draw(300))).await;
                writers.iter().for_each(JoinHandle::abort);
                let before = ledger.borrow().acknowledged.len();
                assert!(before > 0, "seed {seed}");
                check_everywhere(&cluster, bucket, &ledger).await;
            }
            cluster.until_even().await;
            cluster.end().await;
        });
    }
}

#[test]
fn a_power_cut_of_all_hosts_loses_no_acknowledged_change() {
    for seed in 0..8 {
        simulate(async {
            let mut cluster = Cluster::of(3, seed);
            cluster.snapshot_log_bytes_min = 32 << 10;
            for id in cluster.ids() {
                cluster.start(id).await;
            }
            let bucket = bucket_of(&cluster).await;
            let ledger = Rc::new(RefCell::new(Ledger::default()));
            let pause = Rc::new(Cell::new(BRISK));
            for round in 0..4_u128 {
                let writers = write_everywhere(&cluster, bucket, &ledger, round * 100_000, &pause);
                sleep(Duration::from_millis(20 + cluster.draw(500))).await;
                for id in cluster.ids() {
                    cluster.kill(id);
                }
                writers.iter().for_each(JoinHandle::abort);
                sleep(Duration::from_millis(cluster.draw(2000))).await;
                for id in cluster.ids() {
                    cluster.start(id).await;
                    sleep(Duration::from_millis(cluster.draw(1500))).await;
                }
                check_everywhere(&cluster, bucket, &ledger).await;
            }
            cluster.end().await;
        });
    }
}

#[test]
fn a_follower_behind_the_purged_log_catches_up_by_a_large_snapshot_c9() {
    for seed in 0..3 {
        simulate(async {
            let mut cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let lagging = cluster.follower().await;
            put_until_done(&cluster.at(lagging), bucket, "gone", 1).await;
            cluster.until_even().await;
            cluster.network.cut_off(&[lagging], &cluster.ids());
            let leader = cluster.leader().await;
            let meta = cluster.at(leader);
            assert_eq!(meta.propose(samples::delete(bucket, "gone")).await, Ok(samples::deleted(true)));
            let large = vec![7; 300 << 10];
            for id in 100..140 {
                let done = meta.propose(put(bucket, &format!("large-{id}"), id, &large)).await;
                assert!(matches!(done, Ok(Reply::ObjectPut { .. })), "{done:?}");
            }
            let odd_keys = ["\0", "a\0b", "..", "/", "//x", "ÿ", "\u{10ffff}"];
            for (id, key) in (1000..).zip(odd_keys) {
                put_until_done(&meta, bucket, key, id).await;
            }
            let decided = meta.status().applied_index;
            for (id, meta) in cluster.running().into_iter().filter(|(id, _)| *id != lagging) {
                cluster.until("it has all", |cluster| cluster.at(id).status().applied_index >= decided).await;
                meta.snapshot_now().await;
                cluster.until("the log is purged", |cluster| cluster.at(id).status().purged_index > 40).await;
            }
            if seed > 0 {
                cluster.network.set_weather(Weather::FOUL);
            }
            cluster.network.heal();
            if seed == 2 {
                // The follower is killed while it receives the snapshot.
                cluster.until("pieces come", |cluster| cluster.network.calls(Kind::SnapshotPiece) > 4).await;
                cluster.kill(lagging);
                sleep(Duration::from_millis(100)).await;
                cluster.start(lagging).await;
            }
            cluster.until_even().await;
            cluster.network.set_weather(Weather::FAIR);
            let pieces = cluster.network.calls(Kind::SnapshotPiece);
            assert!(pieces >= 12, "seed {seed}: 40 objects of 300 KiB took {pieces} pieces of 1 MiB");
            let status = cluster.at(lagging).status();
            assert!(status.snapshot_index > 40 && status.purged_index == status.snapshot_index, "{status:?}");
            // The follower has everything after a restart, too.
            cluster.kill(lagging);
            cluster.start(lagging).await;
            let meta = cluster.at(lagging);
            assert_eq!(id_at(&meta, bucket, "gone").await, None, "c8");
            for (id, key) in (1000..).zip(odd_keys) {
                assert_eq!(id_at(&meta, bucket, key).await, Some(id));
            }
            let view = meta.read().await.expect("readable");
            let manifest = view.object(bucket, "large-139").expect("readable").expect("it was put").manifest;
            assert_eq!(view.inline_bytes(manifest.id).expect("readable").expect("it has bytes"), large);
            cluster.end().await;
        });
    }
}

#[test]
fn a_full_follower_installs_a_snapshot_once_it_has_space() {
    simulate(async {
        let cluster = Cluster::started(3, 4).await;
        let bucket = bucket_of(&cluster).await;
        let lagging = cluster.follower().await;
        cluster.until_even().await;
        cluster.network.cut_off(&[lagging], &cluster.ids());
        let meta = cluster.at(cluster.leader().await);
        for id in 0..60 {
            put_until_done(&meta, bucket, &format!("key-{id}"), id).await;
        }
        let decided = meta.status().applied_index;
        for (id, meta) in cluster.running().into_iter().filter(|(id, _)| *id != lagging) {
            cluster.until("it has all", |cluster| cluster.at(id).status().applied_index >= decided).await;
            meta.snapshot_now().await;
            cluster.until("the log is purged", |cluster| cluster.at(id).status().purged_index > 40).await;
        }
        let home = &cluster.hosts[&lagging].home;
        home.set_full(true);
        cluster.network.heal();
        let has_no_tables = |cluster: &Cluster| cluster.at(lagging).status().out_of_service.is_some();
        cluster.until("it has no tables", has_no_tables).await;
        sleep(Duration::from_secs(20)).await;
        assert!(has_no_tables(&cluster));
        home.set_full(false);
        cluster.until_even().await;
        assert_eq!(id_at(&cluster.at(lagging), bucket, "key-59").await, Some(59));
        cluster.end().await;
    });
}

/// Proposes a change, and checks that the reply is that of a change made once.
async fn once(meta: &MetaHandle, change: impl Fn() -> Change, expected: impl Fn(&Reply) -> bool) {
    match meta.propose(change()).await {
        Ok(reply) => assert!(expected(&reply), "{reply:?}"),
        Err(error) => panic!("a majority is there: {error}"),
    }
}

#[test]
fn a_forwarded_change_is_made_once_even_if_its_answers_are_lost() {
    for seed in 0..6 {
        simulate(async {
            let cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let weather = Weather { forwards_unanswered: 500, repeated: 300, ..Weather::FAIR };
            cluster.network.set_weather(weather);
            let meta = cluster.at(cluster.follower().await);
            let client = |nth: u128| {
                let meta = meta.clone();
                async move {
                    for round in 0..5_u128 {
                        let (key, id) = (format!("key-{nth}"), nth * 1000 + round);
                        // Each client has a key of its own, so only its own earlier put can make the condition fail.
                        let put = || put_if_absent(bucket, &key, id);
                        once(&meta, put, |reply| matches!(reply, Reply::ObjectPut { .. })).await;
                        let put = || put_if_absent(bucket, &key, id + 500);
                        once(&meta, put, |reply| *reply == Reply::Refused(Refusal::PreconditionFailed)).await;
                        once(&meta, || samples::delete(bucket, &key), |reply| *reply == samples::deleted(true)).await;
                    }
                }
            };
            join_all((0..8).map(client)).await;
            cluster.network.set_weather(Weather::FAIR);
            assert!(cluster.network.calls(Kind::Forward) > 8 * 15 * 3 / 2, "many were sent again");
            cluster.end().await;
        });
    }
}

#[test]
fn forwarded_changes_are_decided_after_their_leader_was_killed() {
    for seed in 0..10 {
        simulate(async {
            let mut cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let leader = cluster.leader().await;
            let metas: Vec<_> = cluster.running().into_iter().filter(|(id, _)| *id != leader).collect();
            let clients: Vec<_> = (0..40_u128)
                .map(|nth| {
                    let meta = metas[nth as usize % 2].1.clone();
                    tokio::task::spawn_local(async move {
                        sleep(Duration::from_millis(nth as u64)).await;
                        let put = || put_if_absent(bucket, &format!("key-{nth}"), nth);
                        once(&meta, put, |reply| matches!(reply, Reply::ObjectPut { .. })).await;
                    })
                })
                .collect();
            sleep(Duration::from_millis(cluster.draw(40))).await;
            cluster.kill(leader);
            for client in clients {
                client.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            }
            cluster.start(leader).await;
            cluster.until_even().await;
            cluster.end().await;
        });
    }
}

/// Under its old id the host could, together with a host that was away, elect a leader that lacks acknowledged changes.
#[test]
fn a_voter_whose_log_lost_its_end_refuses_to_start() {
    simulate(async {
        let mut cluster = Cluster::started(3, 9).await;
        let bucket = bucket_of(&cluster).await;
        cluster.until_even().await;
        let away = cluster.follower().await;
        cluster.stop(away).await;
        let leader = cluster.leader().await;
        put_until_done(&cluster.at(leader), bucket, "key", 1).await;
        cluster.until_even().await;
        let voter = cluster.follower().await;
        cluster.stop(voter).await;
        for disk in &cluster.hosts[&voter].disks {
            let (path, _, last) = last_block(disk);
            // Damages the record before the mark with which the log ends.
            disk.corrupt(&path, ((last - 1) * BLOCK + 80) as u64, 1).expect("a stored file");
        }
        let refused = cluster.try_start(voter).await.expect_err("its log is damaged");
        assert!(matches!(refused, StartError::Copies(ChoiceError::AllDamaged(_))), "{refused}");
        cluster.start(away).await;
        assert_eq!(id_at(&cluster.at(away), bucket, "key").await, Some(1));
        cluster.end().await;
    });
}

#[test]
fn without_a_majority_changes_and_reads_fail_in_time_c7() {
    simulate(async {
        let mut cluster = Cluster::started(3, 8).await;
        let bucket = bucket_of(&cluster).await;
        let left = cluster.follower().await;
        for id in cluster.ids().into_iter().filter(|id| *id != left) {
            cluster.kill(id);
        }
        let meta = cluster.at(left);
        let changes = join_all((0..50).map(|id| {
            let meta = meta.clone();
            async move { timeout(Duration::from_secs(15), meta.propose(put(bucket, "key", id, b"x"))).await }
        }));
        let (changed, read) = tokio::join!(changes, timeout(Duration::from_secs(15), meta.read()));
        for change in changed {
            assert!(matches!(change, Ok(Err(MetaError::Unavailable { .. } | MetaError::TimedOut))), "{change:?}");
        }
        assert!(matches!(read, Ok(Err(MetaError::Unavailable { .. }))));
        cluster.end().await;
    });
}
