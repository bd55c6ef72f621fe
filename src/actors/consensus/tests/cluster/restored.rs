//! Tests of hosts whose drives are put back to an older state, and of replicas whose chains differ.

use super::{Cluster, bucket_of, id_at, put_until_done, simulate};
use crate::actors::consensus::network::Kind;
use crate::storage::raft_log::{AppliedAt, Chain, History};
use crate::storage::wal::Durability;
use crate::types::{BucketId, HostId};
use futures::future::FutureExt;
use std::time::Duration;
use tokio::time::sleep;

async fn put_all(cluster: &Cluster, at: HostId, bucket: BucketId, ids: std::ops::Range<u128>) {
    for id in ids {
        put_until_done(&cluster.at(at), bucket, &format!("key-{id}"), id).await;
    }
}

#[test]
fn a_host_with_applied_entries_that_its_leader_lacks_stops_and_keeps_them() {
    for seed in 0..4 {
        simulate(async {
            let mut cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let [restored, lagging, complete] = [1, 2, 3].map(HostId);
            cluster.stop(restored).await;
            let copy = cluster.copy_of(restored);
            cluster.start(restored).await;
            cluster.until_even().await;
            // The lagging host must not know what the others have on stable storage.
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
            // This host stops in order, so that its log shows afterwards that all entries were decided.
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
            // Either the leader's entries or the comparison of the replicas has shown the contradiction first.
            let why = stopped(&cluster).expect("it was just there");
            assert!(why.contains("Replicas that contradict each other"), "{why}");
            let rejoins = cluster.at(complete).wait_until_superseded().now_or_never();
            assert_eq!(rejoins, None, "the host alone holds acknowledged changes, and does not give them up by itself");
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

#[test]
fn a_host_put_back_to_an_older_state_stops_and_nothing_is_lost() {
    for seed in 0..6 {
        simulate(async {
            let mut cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let restored = if seed % 2 == 0 { cluster.leader().await } else { cluster.follower().await };
            let others: Vec<HostId> = cluster.ids().into_iter().filter(|id| *id != restored).collect();
            cluster.stop(restored).await;
            let copy = cluster.copy_of(restored);
            cluster.start(restored).await;
            cluster.leader().await;
            put_all(&cluster, restored, bucket, 0..20).await;
            cluster.until_even().await;
            // Each host reports its state to the others within this time.
            sleep(Duration::from_secs(5)).await;
            let away = others.get(seed as usize / 2).copied();
            if let Some(away) = away {
                cluster.kill(away);
            }
            cluster.kill(restored);
            cluster.restore(restored, copy);
            cluster.start(restored).await;
            let stopped = |cluster: &Cluster| cluster.at(restored).status().out_of_service;
            cluster.until("it is out of service", |cluster| stopped(cluster).is_some()).await;
            let why = stopped(&cluster).expect("it was just there");
            assert!(why.contains("put back to an older state"), "{why}");
            let rejoins = cluster.at(restored).wait_until_superseded().now_or_never();
            assert_eq!(rejoins, Some(why), "the host has to rejoin, as it holds nothing that the others lack");
            cluster.stop(restored).await;
            if let Some(away) = away {
                cluster.start(away).await;
            }
            put_all(&cluster, others[0], bucket, 100..102).await;
            cluster.until_even().await;
            for host in others {
                for id in (0..20).chain(100..102) {
                    let found = id_at(&cluster.at(host), bucket, &format!("key-{id}")).await;
                    assert_eq!(found, Some(id), "seed {seed}, {host:?}");
                }
            }
            cluster.end().await;
        });
    }
}

/// Changes the chain of a host's applied entries, as if it had applied other ones.
fn make_differ(cluster: &Cluster, host: HostId) {
    let meta = cluster.at(host);
    let mut history = meta.inner.shared.history();
    let at = history.last().map(|point| point.at);
    *history = History::new(&AppliedAt { at, chain: Chain(1), ..AppliedAt::default() });
}

#[test]
fn a_replica_whose_chain_differs_from_the_majority_stops() {
    simulate(async {
        let cluster = Cluster::started(3, 1).await;
        let bucket = bucket_of(&cluster).await;
        let leader = cluster.leader().await;
        put_all(&cluster, leader, bucket, 0..5).await;
        cluster.until_even().await;
        make_differ(&cluster, leader);
        let stopped = |cluster: &Cluster| cluster.at(leader).status().out_of_service;
        cluster.until("it is out of service", |cluster| stopped(cluster).is_some()).await;
        let why = stopped(&cluster).expect("it was just there");
        assert!(why.contains("a majority of the voters"), "{why}");
        let others: Vec<HostId> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
        put_all(&cluster, others[0], bucket, 10..12).await;
        for other in others {
            let status = cluster.at(other).status();
            assert!(status.replicas[&leader].differs_at.is_some(), "{other:?} was told");
            assert_eq!(status.out_of_service, None);
        }
        cluster.end().await;
    });
}

#[test]
fn two_replicas_whose_chains_differ_report_it_and_go_on() {
    simulate(async {
        let cluster = Cluster::started(2, 1).await;
        let bucket = bucket_of(&cluster).await;
        let leader = cluster.leader().await;
        put_all(&cluster, leader, bucket, 0..5).await;
        cluster.until_even().await;
        let all_same = |cluster: &Cluster| {
            cluster.running().iter().all(|(_, meta)| {
                let replicas = meta.status().replicas;
                replicas.len() == 1 && replicas.values().all(|how| how.same_through.is_some())
            })
        };
        cluster.until("each is known to be the same", all_same).await;
        make_differ(&cluster, leader);
        let all_differ = |cluster: &Cluster| {
            let mut running = cluster.running().into_iter();
            running.all(|(_, meta)| meta.status().replicas.values().all(|how| how.differs_at.is_some()))
        };
        cluster.until("each is known to differ", all_differ).await;
        put_all(&cluster, leader, bucket, 10..12).await;
        for id in cluster.ids() {
            assert_eq!(cluster.at(id).status().out_of_service, None);
        }
    });
}

#[test]
fn a_relaxed_host_that_lost_the_end_of_its_log_catches_up_again() {
    for seed in 0..4 {
        simulate(async {
            let mut cluster = Cluster::of(3, seed);
            cluster.durability = Durability::Relaxed { flush_delay_max: Duration::from_secs(10) };
            for id in cluster.ids() {
                cluster.start(id).await;
            }
            let bucket = bucket_of(&cluster).await;
            let victim = cluster.follower().await;
            // After this time the entries that begin the log are on stable storage.
            sleep(Duration::from_secs(15)).await;
            put_all(&cluster, victim, bucket, 0..40).await;
            cluster.until_even().await;
            sleep(Duration::from_secs(5)).await;
            cluster.kill(victim);
            cluster.start(victim).await;
            cluster.until_even().await;
            assert_eq!(cluster.at(victim).status().out_of_service, None);
            for id in 0..40 {
                assert_eq!(id_at(&cluster.at(victim), bucket, &format!("key-{id}")).await, Some(id));
            }
            // The host takes part again: with another host killed, a majority needs it.
            let other = cluster.ids().into_iter().find(|id| *id != victim).expect("there are three");
            sleep(Duration::from_secs(5)).await;
            cluster.kill(other);
            put_all(&cluster, victim, bucket, 100..102).await;
            cluster.end().await;
        });
    }
}

/// The host that remembers what another one has lost is the leader, and cannot fill it in. At first it answers the
/// comparisons, later it does not. The third host remembers nothing, and would elect the one with the loss.
#[test]
fn a_relaxed_host_that_lost_the_end_of_its_log_is_not_elected_though_its_witness_is_late() {
    for seed in 0..3 {
        simulate(async {
            let mut cluster = Cluster::of(3, seed);
            cluster.durability = Durability::Relaxed { flush_delay_max: Duration::from_secs(30) };
            for id in cluster.ids() {
                cluster.start(id).await;
            }
            let bucket = bucket_of(&cluster).await;
            let witness = cluster.leader().await;
            let mut others = cluster.ids().into_iter().filter(|id| *id != witness);
            let (victim, lagging) = others.next().zip(others.next()).expect("there are three");
            // After this time the entries that begin the log are on stable storage.
            sleep(Duration::from_secs(45)).await;
            cluster.network.cut_off(&[lagging], &cluster.ids());
            put_all(&cluster, witness, bucket, 0..20).await;
            let last = |cluster: &Cluster| cluster.at(victim).inner.shared.index().last();
            let applied = |cluster: &Cluster, id| cluster.at(id).status().applied_index;
            cluster.until("both have all", |cluster| applied(cluster, victim) == applied(cluster, witness)).await;
            let had = last(&cluster);
            // Each host reports its state to the others within this time.
            sleep(Duration::from_secs(5)).await;
            cluster.network.refuse(Kind::Append);
            cluster.kill_to_what_was_synced(victim);
            cluster.network.heal();
            cluster.start(victim).await;
            assert!(last(&cluster) < had, "seed {seed}: nothing was lost");
            for is_late in [false, true] {
                if is_late {
                    cluster.network.cut_off(&[witness], &cluster.ids());
                }
                for _ in 0..100 {
                    sleep(Duration::from_millis(100)).await;
                    let leads = cluster.at(victim).inner.metrics().state.is_leader();
                    assert!(!leads, "seed {seed}: it leads without what it lost; the witness is late: {is_late}");
                }
            }
            cluster.network.heal();
            cluster.network.accept(Kind::Append);
            cluster.until_even().await;
            for host in cluster.ids() {
                for id in 0..20 {
                    assert_eq!(id_at(&cluster.at(host), bucket, &format!("key-{id}")).await, Some(id), "seed {seed}");
                }
            }
            // It takes part again: with the witness killed, a majority needs it.
            sleep(Duration::from_secs(5)).await;
            cluster.kill(witness);
            put_all(&cluster, victim, bucket, 100..102).await;
            cluster.end().await;
        });
    }
}

/// Neither of two hosts can be elected without the other's vote; the one that did not lose the end of its log has it.
#[test]
fn a_relaxed_host_that_lost_the_end_of_its_log_votes_for_the_host_that_has_it() {
    for seed in 0..3 {
        simulate(async {
            let mut cluster = Cluster::of(2, seed);
            cluster.durability = Durability::Relaxed { flush_delay_max: Duration::from_secs(30) };
            for id in cluster.ids() {
                cluster.start(id).await;
            }
            let bucket = bucket_of(&cluster).await;
            // After this time the entries that begin the log are on stable storage.
            sleep(Duration::from_secs(45)).await;
            let victim = cluster.leader().await;
            let witness = cluster.follower().await;
            put_all(&cluster, victim, bucket, 0..20).await;
            cluster.until_even().await;
            let last = |cluster: &Cluster| cluster.at(victim).inner.shared.index().last();
            let had = last(&cluster);
            // Each host reports its state to the other within this time.
            sleep(Duration::from_secs(5)).await;
            cluster.kill_to_what_was_synced(victim);
            cluster.start(victim).await;
            assert!(last(&cluster) < had, "seed {seed}: nothing was lost");
            assert_eq!(cluster.leader().await, witness);
            cluster.until_even().await;
            for host in cluster.ids() {
                for id in 0..20 {
                    assert_eq!(id_at(&cluster.at(host), bucket, &format!("key-{id}")).await, Some(id), "seed {seed}");
                }
            }
            cluster.end().await;
        });
    }
}
