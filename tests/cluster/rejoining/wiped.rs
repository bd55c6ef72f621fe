//! A host that comes back with empty drives: the health of the store until they are filled.

use super::drives::dirs;
use super::{PATIENCE, check, put, wait_until_whole};
use crate::harness::cluster::{Cluster, Shape};
use crate::harness::{eventually, lose_drive};
use crate::trial::{beside_others, seed};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const OBJECTS: u64 = 60;
const WIPED: usize = 2;

fn health(cluster: &Cluster, host: usize) -> Value {
    let output = cluster.try_admin(host, &["health"]);
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// Four of six shards are needed, and each host has two, so that the loss of one host leaves no shard to spare.
#[test]
fn a_wiped_host_leaves_the_store_at_risk_until_every_shard_is_back() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(2, seed()).with("SHERD_EC", "4+2"));
    put(&cluster, 0, 0..OBJECTS);
    wait_until_whole(&cluster);
    eventually(PATIENCE, "the store to be whole", || (health(&cluster, 0)["status"] == "ok").then_some(()));
    let expected = cluster.shards_expected(0);
    let blobs: BTreeSet<&String> = expected.keys().map(|(blob, ..)| blob).collect();
    let lost = 2 * blobs.len() as u64;

    cluster.kill(WIPED);
    let counted = eventually(PATIENCE, "its shards to be missed", || {
        let health = health(&cluster, 0);
        let is_counted = health["safety"]["is_counted"] == true && health["safety"]["absent_drives"] != json!([]);
        is_counted.then_some(health)
    });
    assert_eq!(counted["safety"]["missing_shards"], json!({"at_least": lost, "at_most": lost}), "{counted}");
    assert_eq!(counted["safety"]["without_spare"]["blobs"]["at_least"], blobs.len(), "{counted}");
    assert_eq!(counted["status"], "unavailable", "writes at 4+2 need a drive of the third host: {counted}");
    assert_eq!(counted["safety"]["survives_now"], json!({"domains": null, "hosts": 0, "drives": 0}), "{counted}");

    for dir in dirs(&cluster, WIPED) {
        lose_drive(&dir);
    }
    cluster.start(WIPED);
    // Health must not be `ok` before every shard is back.
    eventually(PATIENCE, "the store to call itself whole", || (health(&cluster, 0)["status"] == "ok").then_some(()));
    cluster.kill(WIPED);
    let held = cluster.shards_held(WIPED);
    let lacking: Vec<_> = expected.iter().filter(|((_, _, node), _)| is_on(*node, WIPED, &cluster)).collect();
    assert_eq!(lacking.len() as u64, lost);
    let lacking: Vec<_> = lacking.into_iter().filter(|(shard, chunks)| held.get(shard) != Some(chunks)).collect();
    assert!(lacking.is_empty(), "{} of {lost} shards were not there when the store called itself whole", lacking.len());
    cluster.start(WIPED);
    cluster.wait_until_ready(WIPED);
    check(&cluster, &[0, 1], 0..OBJECTS);
}

/// Returns true if the layout has this drive on this host.
fn is_on(node: u64, host: usize, cluster: &Cluster) -> bool {
    let layout = cluster.admin(0, &["layout", "show"]);
    let nodes = layout["nodes"].as_array().expect("a list").clone();
    nodes.iter().any(|shown| shown["node"] == node && shown["host_name"] == cluster.hosts[host].name)
}
