//! The formation of clusters: once, in any order of starts; joins of later hosts; refusal of hosts of other clusters.

use crate::harness::admin;
use crate::harness::client::{Answered, S3};
use crate::harness::cluster::{Cluster, Shape};
use crate::harness::data::{self, Random};
use crate::harness::{eventually, lose_drive};
use crate::retries::with_retries;
use crate::trial::{beside_others, leader, pass, rounds, seed};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the cluster's id on a host's drive.
fn cluster_id(cluster: &Cluster, host: usize) -> String {
    let dir = cluster.hosts[host].setup.lock().expect("no one panics with it").dirs[0].clone();
    let file = std::fs::read(dir.join("identity.json")).expect("a formed host has its identity");
    let document: serde_json::Value = serde_json::from_slice(&file).expect("it is JSON");
    document["body"]["cluster"].to_string()
}

fn put_and_get_everywhere(cluster: &Cluster, hosts: &[usize]) {
    let bucket = "everywhere";
    let first = cluster.client(hosts[0]);
    eventually(PATIENCE, "a bucket to be made", || {
        matches!(first.create_bucket(bucket).ok()?.status, 200 | 409).then_some(())
    });
    let mut random = Random::new(seed());
    let mut one = |host: usize, request: &dyn Fn(&S3) -> Answered| {
        let tried = with_retries(&[cluster.client(host)], &mut random, request);
        assert_eq!(tried.status(), 200, "{}", tried.words());
        tried.answer.expect("it has a status").body
    };
    for &at in hosts {
        let bytes = data::bytes(at as u64, 200_000);
        one(at, &|s3| s3.put(bucket, &format!("of-{at}"), &bytes));
        for &other in hosts {
            let found = one(other, &|s3| s3.get(bucket, &format!("of-{at}")));
            assert!(found == bytes, "put at {at}, got at {other}");
        }
    }
}

#[test]
fn three_hosts_started_in_any_order_form_one_cluster_once() {
    let _turn = beside_others();
    let mut random = Random::new(seed());
    let orders = [[2, 0, 1], [0, 1, 2], [1, 2, 0]];
    for order in orders.into_iter().take(usize::try_from(rounds()).unwrap_or(usize::MAX)) {
        let cluster = Cluster::laid_out(&Shape::three(1, random.next()));
        for (at, host) in order.into_iter().enumerate() {
            cluster.start(host);
            pass(Duration::from_millis(random.below(1500)));
            if at == 1 {
                // A host that is killed while it waits for the last founder must come back under its id.
                cluster.kill(host);
                cluster.start(host);
            }
        }
        (0..3).for_each(|host| cluster.wait_until_ready(host));
        let ids: Vec<String> = (0..3).map(|host| cluster_id(&cluster, host)).collect();
        assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[0].len() > 4, "{ids:?}");
        put_and_get_everywhere(&cluster, &[0, 1, 2]);
        // After all hosts were down, they must find their cluster again, not found another one.
        (0..3).for_each(|host| cluster.kill(host));
        (0..3).rev().for_each(|host| cluster.start(host));
        (0..3).for_each(|host| cluster.wait_until_ready(host));
        put_and_get_everywhere(&cluster, &[2, 1, 0]);
        assert_eq!(cluster_id(&cluster, 1), ids[0]);
    }
}

#[test]
fn a_fourth_host_joins_and_serves_what_the_others_hold() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape { joiners: 1, ..Shape::three(1, seed()) });
    put_and_get_everywhere(&cluster, &[0, 1, 2]);
    cluster.start(3);
    cluster.wait_until_ready(3);
    put_and_get_everywhere(&cluster, &[3, 0, 1, 2]);
    assert_eq!(cluster_id(&cluster, 3), cluster_id(&cluster, 0));
    // With the fourth host, one of the founders may be lost.
    cluster.kill(1);
    put_and_get_everywhere(&cluster, &[3, 2, 0]);
}

#[test]
fn a_gateway_forwards_changes_to_whichever_host_leads() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape { joiners: 1, ..Shape::three(1, seed()) });
    set(&cluster, 3, "SHERD_ROLES", "gateway");
    cluster.start(3);
    cluster.wait_until_ready(3);
    put_and_get_everywhere(&cluster, &[3, 0, 1, 2]);
    let leader = leader(&cluster);
    cluster.kill(leader);
    let left: Vec<usize> = [3, 0, 1, 2].into_iter().filter(|host| *host != leader).collect();
    put_and_get_everywhere(&cluster, &left);
    cluster.kill(3);
    put_and_get_everywhere(&cluster, &left[1..]);
}

/// Changes a setting of a host.
fn set(cluster: &Cluster, host: usize, name: &str, value: &str) {
    let mut setup = cluster.hosts[host].setup.lock().expect("no one panics with it");
    setup.environment.retain(|(known, _)| known != name);
    setup.environment.push((name.to_owned(), value.to_owned()));
}

#[test]
fn hosts_with_different_cluster_secrets_refuse_each_other() {
    let _turn = beside_others();
    let cluster = Cluster::laid_out(&Shape { joiners: 1, ..Shape::three(1, seed()) });
    set(&cluster, 3, "SHERD_CLUSTER_SECRET", "another-secret-0123456789abcdefgh");
    (0..3).for_each(|host| cluster.start(host));
    (0..3).for_each(|host| cluster.wait_until_ready(host));
    cluster.start(3);
    cluster.hosts[3].wait_for_log(PATIENCE, "secret differs");
    cluster.hosts[0].wait_for_log(PATIENCE, "secret differs");
    assert!(!cluster.hosts[3].is_ready());
    assert_eq!(cluster.hosts[3].metric("sherd_health_level"), Some(3.0), "it waits to join");
    put_and_get_everywhere(&cluster, &[0, 1, 2]);
}

/// The foreign host has a founder's name and address, but the drives of another cluster.
#[test]
fn a_host_with_drives_of_another_cluster_and_the_others_refuse_each_other() {
    let _turn = beside_others();
    let ours = Cluster::formed(&Shape::three(1, seed()));
    let theirs = Cluster::formed(&Shape::three(1, seed() + 1));
    (0..3).for_each(|host| {
        theirs.stop(host);
    });
    put_and_get_everywhere(&ours, &[0, 1, 2]);
    ours.stop(2);
    let mut swapped = ours.hosts[2].setup.lock().expect("no one panics with it").clone();
    swapped.dirs.clone_from(&theirs.hosts[2].setup.lock().expect("no one panics with it").dirs);
    std::mem::swap(&mut *ours.hosts[2].setup.lock().expect("no one panics with it"), &mut swapped);
    ours.start(2);
    let words = "is of cluster";
    ours.hosts[2].wait_for_log(PATIENCE, words);
    eventually(PATIENCE, "another host to say so too", || {
        ours.hosts[..2].iter().any(|host| host.log().contains(words)).then_some(())
    });
    put_and_get_everywhere(&ours, &[0, 1]);
    // With its own drives the host is accepted again.
    ours.kill(2);
    std::mem::swap(&mut *ours.hosts[2].setup.lock().expect("no one panics with it"), &mut swapped);
    ours.start(2);
    ours.wait_until_ready(2);
    put_and_get_everywhere(&ours, &[2, 0, 1]);
}

/// Returns a host's view of all hosts; `None` if it does not answer now.
fn hosts_shown(cluster: &Cluster, asked: usize) -> Option<Vec<Value>> {
    let output = cluster.try_admin(asked, &["info"]);
    output.status.success().then(|| admin::json(&output)["hosts"].as_array().cloned().unwrap_or_default())
}

fn voters(hosts: &[Value]) -> Vec<&str> {
    let votes = |host: &&Value| host["metadata"] == "leader" || host["metadata"] == "voter";
    let mut names: Vec<&str> = hosts.iter().filter(votes).filter_map(|host| host["name"].as_str()).collect();
    names.sort_unstable();
    names
}

fn named<'a>(hosts: &'a [Value], name: &str) -> &'a Value {
    hosts.iter().find(|host| host["name"] == name).expect("it is part of the cluster")
}

/// Two hosts found the cluster. A host that only serves S3 joins them, then one that does everything else; this one
/// becomes the third voter.
#[test]
fn a_gateway_neither_votes_nor_stores_and_a_host_without_one_does_not_listen_for_s3() {
    let _turn = beside_others();
    let cluster = Cluster::laid_out(&Shape { founders: 2, joiners: 2, ..Shape::three(1, seed()) });
    let (gateway, store) = (2, 3);
    set(&cluster, gateway, "SHERD_ROLES", "gateway");
    set(&cluster, store, "SHERD_ROLES", "meta,storage");
    (0..2).for_each(|host| cluster.start(host));
    (0..2).for_each(|host| cluster.wait_until_ready(host));
    for host in [gateway, store] {
        cluster.start(host);
        cluster.wait_until_ready(host);
    }
    let hosts = eventually(PATIENCE, "the hosts that may vote to do so", || {
        hosts_shown(&cluster, gateway).filter(|hosts| voters(hosts) == ["a", "b", "d"])
    });
    put_and_get_everywhere(&cluster, &[gateway, 0, 1]);
    let shown = named(&hosts, "c");
    assert_eq!((&shown["roles"], &shown["metadata"]), (&json!(["gateway"]), &json!("learner")));
    assert_eq!(shown["nodes"], json!([]));
    let shown = named(&hosts, "d");
    assert_eq!((&shown["roles"], &shown["nodes"]), (&json!(["meta", "storage"]), &json!([192])));
    let layout = cluster.admin(0, &["layout", "show"]);
    let hosts = layout["hosts"].as_array().expect("it lists the hosts");
    assert_eq!((hosts.len(), &named(hosts, "c")["roles"]), (4, &json!(["gateway"])));
    assert!(TcpStream::connect(cluster.hosts[store].s3).is_err(), "nobody listens there");

    // Roles may change with a restart, but a host must keep the role storage until its drives are removed.
    cluster.stop(gateway);
    set(&cluster, gateway, "SHERD_ROLES", "gateway,storage");
    cluster.start(gateway);
    cluster.wait_until_ready(gateway);
    let hosts = hosts_shown(&cluster, 0).expect("it answers");
    let shown = named(&hosts, "c");
    assert_eq!((&shown["roles"], &shown["nodes"]), (&json!(["gateway", "storage"]), &json!([128])));
    put_and_get_everywhere(&cluster, &[gateway, 0, 1]);
    assert_eq!(voters(&hosts), ["a", "b", "d"]);
    cluster.stop(gateway);
    set(&cluster, gateway, "SHERD_ROLES", "gateway");
    cluster.start(gateway);
    let ended = eventually(PATIENCE, "the host to end", || cluster.hosts[gateway].ended());
    assert!(!ended.status.success() && ended.stderr.contains("drain and remove them first"), "{}", ended.stderr);
}

/// Founds a cluster of three hosts, of which the third is killed after the agreement and before its drives are
/// registered.
fn founded_without_the_third() -> Cluster {
    for seed in seed()..seed() + 8 {
        let cluster = Cluster::laid_out(&Shape::three(2, seed));
        (0..3).for_each(|host| cluster.start(host));
        let has_agreed = |host: usize| {
            let dirs = cluster.hosts[host].setup.lock().expect("no one panics with it").dirs.clone();
            dirs[0].join("identity.json").exists()
        };
        eventually(PATIENCE, "the others to have agreed", || (has_agreed(0) && has_agreed(1)).then_some(()));
        cluster.kill(2);
        let layout = eventually(PATIENCE, "the founders to be registered", || {
            let output = cluster.try_admin(0, &["layout", "show"]);
            let layout = output.status.success().then(|| admin::json(&output))?;
            let of = |name: &str| {
                layout["nodes"]
                    .as_array()
                    .map_or(0, |nodes| nodes.iter().filter(|node| node["host_name"] == name).count())
            };
            (of("a") == 2 && of("b") == 2).then(|| of("c"))
        });
        // Otherwise the third host had registered its drives before it was killed.
        if layout == 0 {
            return cluster;
        }
    }
    panic!("the third host had registered its drives each time before it could be killed");
}

#[test]
fn a_missing_founder_is_named_and_can_be_removed_and_joins_empty_later() {
    let _turn = beside_others();
    let cluster = founded_without_the_third();
    for host in 0..2 {
        eventually(PATIENCE, "health to name the host that is awaited", || {
            let health = String::from_utf8_lossy(&cluster.try_admin(host, &["health"]).stdout).into_owned();
            let words = "the drives of all founding hosts are known, and those of c are not";
            (health.contains(words) && health.contains("sherd admin layout remove NAME")).then_some(())
        });
    }
    let refused = cluster.client(0).create_bucket("everywhere").expect("it answers").status;
    assert!(refused == 200 || refused == 503, "{refused}");
    let removed = cluster.try_admin(0, &["layout", "remove", "c"]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    put_and_get_everywhere(&cluster, &[0, 1]);
    let hosts = hosts_shown(&cluster, 0).expect("it answers");
    assert_eq!((hosts.len(), voters(&hosts)), (2, vec!["a", "b"]));

    // When the removed host comes after all, it ends with the reason; once it is empty, it joins.
    let dirs = cluster.hosts[2].setup.lock().expect("no one panics with it").dirs.clone();
    for knows_its_cluster in [true, false] {
        if !knows_its_cluster {
            // As if it had been killed before it kept what was agreed.
            for dir in &dirs {
                let founding =
                    std::fs::read(dir.join("founding.json")).expect("it is kept until the host has its place");
                lose_drive(dir);
                std::fs::create_dir(dir).expect("it is gone");
                std::fs::write(dir.join("founding.json"), founding).expect("there is room");
            }
        }
        cluster.start(2);
        let ended = eventually(PATIENCE, "the host that was given up to end", || cluster.hosts[2].ended());
        assert!(!ended.status.success() && ended.stderr.contains("was removed from its cluster"), "{}", ended.stderr);
        assert!(ended.stderr.contains("empty its directories to let it join anew"), "{}", ended.stderr);
        cluster.forget(2);
    }
    dirs.iter().for_each(|dir| lose_drive(dir));
    cluster.start(2);
    cluster.wait_until_ready(2);
    put_and_get_everywhere(&cluster, &[2, 0, 1]);
}
