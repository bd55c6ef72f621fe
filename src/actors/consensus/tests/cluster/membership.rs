//! Tests of hosts that join a group, leave it, and come back as another member.

use super::{Cluster, bucket_of, id_at, put_until_done, simulate};
use crate::actors::consensus::network::Kind;
use crate::actors::consensus::{Forming, MetaError, MetaHandle};
use crate::storage::meta::command::{Change, CreateBucket};
use crate::types::HostId;
use openraft::{BasicNode, EntryPayload};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::sleep;

async fn voters_become(cluster: &Cluster, at: HostId, voters: &[HostId]) {
    let wanted: BTreeSet<HostId> = voters.iter().copied().collect();
    cluster
        .until("the voters have changed", |cluster| {
            let known = cluster.at(at).membership();
            known.voters == wanted && known.settled
        })
        .await;
}

/// Adds a host as a learner, and makes it a voter when it has caught up; all through a host that does not lead.
async fn admit(cluster: &mut Cluster, id: HostId) {
    cluster.add_host(id, Forming::Joining);
    cluster.start(id).await;
    let through = cluster.follower_of(id).await;
    let meta = cluster.at(through);
    let mut voters = meta.membership().voters;
    assert!(!voters.contains(&id));
    let early = meta.change_voters(voters.iter().copied().chain([id]).collect()).await;
    assert!(matches!(early, Err(MetaError::Refused { .. })), "the host is not a member yet: {early:?}");
    meta.add_learner(id, &super::address(id)).await.expect("a learner is added");
    meta.add_learner(id, &super::address(id)).await.expect("a learner may be added again");
    cluster.until_even().await;
    voters.insert(id);
    meta.change_voters(voters.clone()).await.expect("a learner that has caught up becomes a voter");
    voters_become(cluster, through, &voters.into_iter().collect::<Vec<_>>()).await;
}

impl Cluster {
    /// Returns a running host that does not lead and is not `other`.
    async fn follower_of(&self, other: HostId) -> HostId {
        let leader = self.leader().await;
        let found = self.running().into_iter().map(|(id, _)| id).find(|id| *id != leader && *id != other);
        found.expect("there are several hosts")
    }
}

#[test]
fn a_host_is_added_and_one_removed_while_changes_go_on() {
    for seed in 0..5 {
        simulate(async {
            let mut cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            let writer = cluster.follower().await;
            let meta = cluster.at(writer);
            let writing = tokio::task::spawn_local(async move {
                for id in 1..=400 {
                    put_until_done(&meta, bucket, &format!("key-{id}"), id).await;
                    sleep(Duration::from_millis(5)).await;
                }
            });
            admit(&mut cluster, HostId(4)).await;
            assert_eq!(cluster.at(HostId(4)).membership().addresses[&HostId(4)], "host-4:9100");
            let removed = if seed % 2 == 0 { cluster.leader().await } else { cluster.follower_of(writer).await };
            let removed = if removed == writer { HostId(4) } else { removed };
            cluster.at(writer).remove(removed).await.expect("a host is removed");
            let left: Vec<HostId> = cluster.ids().into_iter().filter(|id| *id != removed).collect();
            voters_become(&cluster, writer, &left).await;
            cluster.stop(removed).await;
            cluster.hosts.remove(&removed);
            writing.await.expect("every change is made");
            for id in left {
                let meta = cluster.at(id);
                assert_eq!(meta.membership().voters.len(), 3);
                assert!(!meta.membership().addresses.contains_key(&removed));
                assert_eq!(id_at(&meta, bucket, "key-400").await, Some(400), "seed {seed}");
            }
            cluster.end().await;
        });
    }
}

#[test]
fn a_host_that_lost_its_drives_returns_as_another_member() {
    for seed in 0..5 {
        simulate(async {
            let mut cluster = Cluster::started(3, seed).await;
            let bucket = bucket_of(&cluster).await;
            for id in 0..50 {
                put_until_done(&cluster.at(HostId(1)), bucket, &format!("key-{id}"), id).await;
            }
            let wiped = if seed % 2 == 0 { cluster.leader().await } else { cluster.follower().await };
            cluster.kill(wiped);
            cluster.hosts.remove(&wiped);
            put_until_done(&cluster.running()[0].1, bucket, "key-0", 1000).await;
            admit(&mut cluster, HostId(9)).await;
            let through = cluster.running()[0].0;
            cluster.at(through).remove(wiped).await.expect("the lost one is removed");
            voters_become(&cluster, through, &cluster.ids()).await;
            // The new voter counts: with one of the others gone, a majority needs it.
            let gone = cluster.running().into_iter().map(|(id, _)| id).find(|id| *id != HostId(9));
            cluster.kill(gone.expect("there are others"));
            let meta = cluster.at(HostId(9));
            put_until_done(&meta, bucket, "after", 2000).await;
            assert_eq!(id_at(&meta, bucket, "key-0").await, Some(1000), "seed {seed}");
            assert_eq!(id_at(&meta, bucket, "key-49").await, Some(49), "seed {seed}");
            cluster.end().await;
        });
    }
}

#[test]
fn an_interrupted_change_of_voters_is_finished_by_requesting_it_again() {
    simulate(async {
        let cluster = Cluster::started(3, 1).await;
        bucket_of(&cluster).await;
        let leader = cluster.leader().await;
        let target = BTreeSet::from([leader, cluster.follower().await]);
        let meta = cluster.at(leader);
        let addresses = meta.membership().addresses;
        let all: BTreeSet<u64> = cluster.ids().iter().map(|host| host.0).collect();
        let sides = vec![all, target.iter().map(|host| host.0).collect()];
        let nodes: BTreeMap<u64, BasicNode> =
            addresses.into_iter().map(|(host, addr)| (host.0, BasicNode { addr })).collect();
        let both = openraft::Membership::new(sides, nodes).expect("each voter has an address");
        // Appends the first of the two entries of a change of voters, as a leader does that stops before the second.
        let half = meta.inner.raft.append_membership(both, EntryPayload::Blank, []).await;
        half.expect("both sides are decided");
        cluster
            .until("every host knows what is to come", |cluster| {
                cluster.running().iter().all(|(_, host)| host.membership().unfinished.as_ref() == Some(&target))
            })
            .await;
        assert!(!meta.membership().settled);
        meta.change_voters(target.clone()).await.expect("the change is finished");
        voters_become(&cluster, leader, &target.into_iter().collect::<Vec<_>>()).await;
        assert_eq!(meta.membership().unfinished, None);
        cluster.end().await;
    });
}

#[test]
fn a_host_serves_reads_and_changes_once_it_is_a_learner() {
    simulate(async {
        let mut cluster = Cluster::started(3, 1).await;
        let bucket = bucket_of(&cluster).await;
        cluster.add_host(HostId(4), Forming::Joining);
        cluster.start(HostId(4)).await;
        let meta = cluster.at(HostId(4));
        assert!(matches!(meta.read().await, Err(MetaError::Unavailable { .. })));
        assert!(!meta.status().is_leader);
        cluster.at(HostId(1)).add_learner(HostId(4), "host-4:9100").await.expect("a learner is added");
        put_until_done(&meta, bucket, "key", 1).await;
        assert_eq!(id_at(&meta, bucket, "key").await, Some(1));
        // A learner does not become a voter when a voter is killed.
        let leader = cluster.leader().await;
        cluster.kill(leader);
        put_until_done(&meta, bucket, "key", 2).await;
        assert!(!meta.status().is_leader);
        assert_eq!(meta.membership().learners, BTreeSet::from([HostId(4)]));
        cluster.start(leader).await;
        cluster.end().await;
    });
}

/// Returns a host that does not lead, in a group that refuses calls of this kind.
async fn refused(cluster: &Cluster, kind: Kind) -> (MetaHandle, String) {
    bucket_of(cluster).await;
    let meta = cluster.at(cluster.follower().await);
    cluster.network.refuse(kind);
    (meta, format!("call kind {} is not known", kind as u8))
}

#[test]
fn a_change_of_members_that_the_leader_refuses_reports_the_refusal() {
    simulate(async {
        let cluster = Cluster::started(3, 1).await;
        let (meta, why) = refused(&cluster, Kind::Steer).await;
        let steered = meta.remove(HostId(9)).await;
        assert!(matches!(&steered, Err(MetaError::Refused { why: by }) if by.ends_with(&why)), "{steered:?}");
    });
}

#[test]
fn a_change_that_the_leader_refuses_reports_the_refusal() {
    simulate(async {
        let cluster = Cluster::started(3, 1).await;
        let (meta, why) = refused(&cluster, Kind::Forward).await;
        let create = CreateBucket { name: "other".to_owned(), ..CreateBucket::default() };
        let proposed = meta.propose(Change::CreateBucket(Box::new(create))).await;
        assert!(matches!(&proposed, Err(MetaError::Unavailable { why: by }) if by.ends_with(&why)), "{proposed:?}");
    });
}
