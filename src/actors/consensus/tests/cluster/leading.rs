//! Tests of leadership: elections, partitions, and transfers of the lead.

use super::{Cluster, SOON, bucket_of, id_at, put_until_done, simulate, try_id_of};
use crate::actors::consensus::MetaHandle;
use crate::actors::consensus::network::Kind;
use crate::actors::consensus::tests::{create_bucket, put};
use crate::storage::meta::command::Reply;
use crate::types::BucketId;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

#[test]
fn founders_that_start_in_any_order_form_one_group() {
    for seed in 0..8 {
        simulate(async {
            let mut cluster = Cluster::of(3, seed);
            let mut order = cluster.ids();
            order.rotate_left(cluster.draw(3) as usize);
            for id in order.clone() {
                cluster.start(id).await;
                sleep(Duration::from_millis(cluster.draw(4000))).await;
                if cluster.draw(2) == 0 {
                    cluster.kill(id);
                    sleep(Duration::from_millis(cluster.draw(1000))).await;
                    cluster.start(id).await;
                }
            }
            let bucket = bucket_of(&cluster).await;
            for id in cluster.ids() {
                put_until_done(&cluster.at(id), bucket, &format!("of-{}", id.0), u128::from(id.0)).await;
            }
            for id in cluster.ids() {
                assert_eq!(cluster.at(id).membership().voters.into_iter().collect::<Vec<_>>(), cluster.ids());
                for of in cluster.ids() {
                    let found = id_at(&cluster.at(id), bucket, &format!("of-{}", of.0)).await;
                    assert_eq!(found, Some(u128::from(of.0)), "seed {seed}");
                }
            }
            cluster.end().await;
        });
    }
}

#[test]
fn one_of_three_founders_cannot_decide_alone() {
    simulate(async {
        let mut cluster = Cluster::of(3, 1);
        let first = cluster.ids()[0];
        cluster.start(first).await;
        let began = Instant::now();
        let refused = cluster.at(first).propose(put(BucketId(1), "key", 1, b"x")).await;
        assert!(refused.is_err(), "{refused:?}");
        assert!(cluster.at(first).read().await.is_err());
        assert!(began.elapsed() < SOON, "c7");
        cluster.end().await;
    });
}

#[test]
fn a_killed_leader_is_succeeded_within_five_seconds() {
    simulate(async {
        let mut cluster = Cluster::started(3, 2).await;
        let bucket = bucket_of(&cluster).await;
        for round in 0..5 {
            let leader = cluster.leader().await;
            let witness = cluster.follower().await;
            cluster.kill(leader);
            let began = Instant::now();
            put_until_done(&cluster.at(witness), bucket, "key", round).await;
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            cluster.start(leader).await;
            cluster.until_even().await;
        }
        cluster.end().await;
    });
}

/// Writes ever greater ids through one host, and notes the last one acknowledged.
fn write_on(meta: MetaHandle, bucket: BucketId, first: u128, acknowledged: Rc<Cell<u128>>) -> JoinHandle<()> {
    tokio::task::spawn_local(async move {
        for id in first.. {
            if let Ok(Reply::ObjectPut { .. }) = meta.propose(put(bucket, "key", id, &id.to_be_bytes())).await {
                acknowledged.set(acknowledged.get().max(id));
            }
            sleep(Duration::from_millis(15)).await;
        }
    })
}

/// Returns whether something happened, and longer ago than this.
fn is_past(at: Option<Instant>, than: Duration) -> bool {
    at.is_some_and(|at| at.elapsed() > than)
}

#[test]
fn an_isolated_leader_acknowledges_nothing_and_serves_no_stale_read_c8() {
    for seed in 0..8 {
        simulate(async {
            let cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let old = cluster.leader().await;
            let other = cluster.follower().await;
            put_until_done(&cluster.at(old), bucket, "key", 1).await;
            let acknowledged = Rc::new(Cell::new(1));
            let writer = write_on(cluster.at(other), bucket, 1000, Rc::clone(&acknowledged));
            sleep(Duration::from_millis(cluster.draw(400))).await;
            if seed % 2 == 0 {
                cluster.network.cut_off(&[old], &cluster.ids());
            } else {
                // The old leader can still send, but receives no answers.
                cluster.ids().into_iter().filter(|id| *id != old).for_each(|id| cluster.network.cut_one_way(id, old));
            }
            let meta = cluster.at(old);
            let (cut, acknowledged_before) = (Instant::now(), acknowledged.get());
            let mut read_after_succession = 0;
            let mut succeeded: Option<Instant> = None;
            while cut.elapsed() < Duration::from_secs(8) && !is_past(succeeded, Duration::from_secs(4)) {
                if succeeded.is_none() && cluster.leader_now().is_some_and(|leader| leader != old) {
                    succeeded = Some(Instant::now());
                }
                let before = acknowledged.get();
                let read = timeout(Duration::from_millis(300), try_id_of(&meta, bucket, "key")).await;
                if let Ok(Ok(found)) = read {
                    assert!(found >= Some(before), "seed {seed}: read {found:?} after {before} was acknowledged");
                    read_after_succession += usize::from(cut.elapsed() > Duration::from_secs(3));
                }
                sleep(Duration::from_millis(7)).await;
            }
            let went_on = acknowledged.get().saturating_sub(acknowledged_before);
            assert!(went_on > 0, "seed {seed}: the other hosts acknowledge changes");
            assert_eq!(read_after_succession, 0, "seed {seed}: the old leader serves no reads");
            let status = meta.status();
            assert!(!status.is_leader && status.leader != Some(old), "seed {seed}: it reports no lead: {status:?}");
            let late = meta.propose(put(bucket, "key", 5, b"from the old leader")).await;
            assert!(late.is_err(), "seed {seed}: {late:?}");
            cluster.network.heal();
            cluster.until_even().await;
            writer.abort();
            let last = acknowledged.get();
            assert!(id_at(&meta, bucket, "key").await >= Some(last), "seed {seed}");
            cluster.end().await;
        });
    }
}

#[test]
fn a_follower_that_returns_from_a_partition_calls_no_election() {
    simulate(async {
        let cluster = Cluster::started(3, 3).await;
        bucket_of(&cluster).await;
        let leader = cluster.leader().await;
        let follower = cluster.follower().await;
        let term = cluster.at(leader).status().term;
        cluster.network.cut_off(&[follower], &cluster.ids());
        sleep(Duration::from_secs(30)).await;
        cluster.network.heal();
        sleep(Duration::from_secs(10)).await;
        assert_eq!(cluster.leader().await, leader);
        assert_eq!(cluster.at(leader).status().term, term, "nobody called an election");
        assert_eq!(cluster.at(follower).status().term, term);
        cluster.end().await;
    });
}

#[test]
fn a_restarted_host_grants_no_vote_before_its_leaders_lease_ends() {
    for seed in 0..8 {
        simulate(async {
            let mut cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let leader = cluster.leader().await;
            let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
            put_until_done(&cluster.at(leader), bucket, "key", 1).await;
            // The first follower has heard nothing for long and stands for election; the second one restarts, and does
            // not remember that it heard the leader just now.
            cluster.network.cut_off(&[others[0]], &cluster.ids());
            sleep(Duration::from_secs(10)).await;
            cluster.network.heal();
            cluster.network.cut_off(&[leader], &cluster.ids());
            cluster.kill(others[1]);
            cluster.start(others[1]).await;
            let acknowledged = Rc::new(Cell::new(1));
            let writer = write_on(cluster.at(others[1]), bucket, 1000, Rc::clone(&acknowledged));
            let cut = Instant::now();
            let mut went_on: Option<Instant> = None;
            while cut.elapsed() < Duration::from_secs(6) && !is_past(went_on, Duration::from_secs(2)) {
                if went_on.is_none() && acknowledged.get() > 1000 {
                    went_on = Some(Instant::now());
                }
                let before = acknowledged.get();
                let meta = cluster.at(leader);
                if let Ok(Ok(found)) = timeout(Duration::from_millis(50), try_id_of(&meta, bucket, "key")).await {
                    assert!(found >= Some(before), "seed {seed}: {found:?} was read after {before}");
                }
                sleep(Duration::from_millis(1)).await;
            }
            assert!(acknowledged.get() > 1000, "seed {seed}");
            writer.abort();
            cluster.network.heal();
            cluster.end().await;
        });
    }
}

#[test]
fn a_transfer_of_leadership_from_any_host_fails_no_change_c10() {
    simulate(async {
        let cluster = Cluster::started(3, 4).await;
        let bucket = bucket_of(&cluster).await;
        let acknowledged = Rc::new(Cell::new(0));
        let failed = Rc::new(Cell::new(0));
        let writers: Vec<_> = cluster
            .running()
            .into_iter()
            .map(|(id, meta)| {
                let (acknowledged, failed) = (Rc::clone(&acknowledged), Rc::clone(&failed));
                tokio::task::spawn_local(async move {
                    for number in 0.. {
                        let key = format!("{}/{number}", id.0);
                        let began = Instant::now();
                        let done = meta.propose(put(bucket, &key, number, &number.to_be_bytes())).await;
                        let in_time = began.elapsed() < Duration::from_secs(2);
                        let counter = if matches!(done, Ok(Reply::ObjectPut { .. })) && in_time {
                            &acknowledged
                        } else {
                            &failed
                        };
                        counter.set(counter.get() + 1);
                        sleep(Duration::from_millis(5)).await;
                    }
                })
            })
            .collect();
        for round in 0..6 {
            let (leader, to) = (cluster.leader().await, cluster.follower().await);
            let asked = cluster.ids()[round % 3];
            let began = Instant::now();
            cluster.at(asked).transfer_leadership(to).await.expect("the lead is handed over");
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            assert_ne!(leader, to);
            assert_eq!(cluster.leader().await, to);
            sleep(Duration::from_millis(300)).await;
        }
        writers.iter().for_each(JoinHandle::abort);
        assert_eq!(failed.get(), 0, "of {}", acknowledged.get());
        assert!(acknowledged.get() > 300);
        cluster.end().await;
    });
}

#[test]
fn a_leader_that_stops_in_order_hands_over_the_lead_first_c10() {
    simulate(async {
        let mut cluster = Cluster::started(3, 5).await;
        let bucket = bucket_of(&cluster).await;
        for round in 0..3_u128 {
            let leader = cluster.leader().await;
            let witness = cluster.follower().await;
            cluster.stop(leader).await;
            let began = Instant::now();
            put_until_done(&cluster.at(witness), bucket, "key", round).await;
            assert!(began.elapsed() < Duration::from_millis(500), "no election was waited for: {:?}", began.elapsed());
            cluster.start(leader).await;
            cluster.until_even().await;
        }
        cluster.end().await;
    });
}

#[test]
fn a_single_host_leads_at_once_without_calls_to_others() {
    simulate(async {
        let mut cluster = Cluster::of(1, 6);
        let only = cluster.ids()[0];
        let began = Instant::now();
        cluster.start(only).await;
        let bucket = create_bucket(&cluster.at(only), "b").await;
        put_until_done(&cluster.at(only), bucket, "key", 1).await;
        assert_eq!(id_at(&cluster.at(only), bucket, "key").await, Some(1));
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        cluster.kill(only);
        let began = Instant::now();
        cluster.start(only).await;
        assert_eq!(id_at(&cluster.at(only), bucket, "key").await, Some(1));
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        let kinds = [Kind::Append, Kind::Vote, Kind::PreVote, Kind::Forward, Kind::ReadIndex];
        assert!(kinds.into_iter().all(|kind| cluster.network.calls(kind) == 0));
        cluster.end().await;
    });
}
