//! Hosts that join and leave under load: shards move to where the layout wants them, and no request fails.

use crate::harness::admin::text;
use crate::harness::client::{Body, get_plain};
use crate::harness::cluster::{Cluster, Shape};
use crate::harness::{data, eventually};
use crate::trial::{Trial, beside_others, pass, seed};
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(240);
const BUCKET: &str = "still";
const OBJECTS: u64 = 48;
const OBJECT_BYTES: usize = 1 << 20;
/// The bytes of all shards per byte of an object, at three data and three parity shards.
const SHARD_BYTES_PER_BYTE: f64 = 6.0 / 3.0;
const HOSTS: f64 = 4.0;
/// The pause between two requests of a client.
const PAUSE: Duration = Duration::from_millis(50);

/// Writes objects that do not change, so that the amount to be moved is known.
fn fill(cluster: &Cluster) {
    let s3 = cluster.client(0);
    s3.create_bucket(BUCKET).expect("it answers").expect(200);
    for object in 0..OBJECTS {
        let put = s3.put(BUCKET, &object.to_string(), &data::bytes(object, OBJECT_BYTES));
        put.expect("it answers").expect(200);
    }
}

fn check(cluster: &Cluster, host: usize) {
    let s3 = cluster.client(host);
    for object in 0..OBJECTS {
        let found = s3.get(BUCKET, &object.to_string()).expect("it answers").expect(200);
        assert!(found.body == data::bytes(object, OBJECT_BYTES), "object {object} at host {host}");
    }
    let listed = s3.call("GET", &format!("/{BUCKET}"), &[("list-type", "2")], &[], Body::None);
    let listed = listed.expect("it answers").expect(200).text();
    assert_eq!(crate::harness::xml::texts(&listed, "Key").len() as u64, OBJECTS);
}

fn bytes_moved(cluster: &Cluster) -> f64 {
    cluster.hosts.iter().filter_map(|host| host.metric("sherd_moved_bytes_total")).sum()
}

/// Returns the number of shards that the metadata places on a host's drives.
fn shards_of(layout: &Value, name: &str) -> u64 {
    let nodes = layout["nodes"].as_array().expect("it lists the nodes").iter();
    nodes.filter(|node| node["host_name"] == name).map(|node| node["shards"].as_u64().expect("a number")).sum()
}

/// Waits until every running host has nothing left to move by the newest layout; returns the layout.
fn wait_until_moved(cluster: &Cluster) -> Value {
    eventually(PATIENCE, "the shards to be moved", || {
        let running = cluster.hosts.iter().filter(|host| host.is_running());
        let shown: Vec<Value> = running.map(|host| cluster.admin(host.number(), &["layout", "show"])).collect();
        let settled =
            |layout: &Value| layout["moving"]["settled"] == true && layout["moving"]["epoch"] == layout["epoch"];
        let is_one = shown.iter().all(|layout| layout["epoch"] == shown[0]["epoch"] && settled(layout));
        pass(Duration::from_millis(300));
        is_one.then(|| shown[0].clone())
    })
}

/// P4: three hosts become four and three again. About a quarter of the bytes moves each time, no request fails, and the
/// host that leaves ends empty.
#[test]
fn three_hosts_become_four_and_three_again_and_fail_no_request() {
    let _turn = beside_others();
    let name = "three_hosts_become_four_and_three_again";
    let shape = Shape::three(2, seed()).with("SHERD_SCALE", "small");
    let mut trial = Trial::begin(name, &Shape { joiners: 1, ..shape });
    trial.slow_down(PAUSE);
    fill(&trial.cluster);
    let still = (OBJECTS * OBJECT_BYTES as u64) as f64 * SHARD_BYTES_PER_BYTE / HOSTS;

    let report = trial.under_load(|cluster| {
        cluster.start(3);
        cluster.wait_until_ready(3);
        let layout = eventually(PATIENCE, "the new host to be in the layout", || {
            let layout = wait_until_moved(cluster);
            (shards_of(&layout, "d") > 0).then_some(layout)
        });
        assert!(shards_of(&layout, "d") >= OBJECTS, "{layout}");
    });
    let came = bytes_moved(&trial.cluster);
    // The objects of the load change during the move, but they are few.
    let most = still + trial.object_bytes() as f64 * SHARD_BYTES_PER_BYTE / HOSTS;
    eprintln!("{name}: to the new host {came} bytes, ideal {still} to {most}: {}", report.words());
    report.check(None);
    assert!((0.8 * still..1.2 * most).contains(&came), "{came} bytes were moved; ideal are {still} to {most}");
    trial.wait_until_whole();
    trial.verify();
    (0..4).for_each(|host| check(&trial.cluster, host));
    trial.compare_inventories();

    // The counters begin at zero again, since all hosts were restarted.
    let report = trial.under_load(|cluster| {
        cluster.admin(0, &["layout", "drain", "d"]);
        let layout = wait_until_moved(cluster);
        assert_eq!(shards_of(&layout, "d"), 0, "{layout}");
    });
    let went = bytes_moved(&trial.cluster);
    let most = still + trial.object_bytes() as f64 * SHARD_BYTES_PER_BYTE / HOSTS;
    eprintln!("{name}: from the host that goes {went} bytes, ideal {still} to {most}: {}", report.words());
    report.check(None);
    assert!((0.8 * still..1.2 * most).contains(&went), "{went} bytes were moved; ideal are {still} to {most}");

    let report = trial.under_load(|cluster| {
        // Old copies of moved shards stay for reads that began before the move.
        eventually(PATIENCE, "the host to be empty", || {
            pass(Duration::from_secs(2));
            cluster.try_admin(1, &["layout", "remove", "d"]).status.success().then_some(())
        });
        let words =
            text(&crate::harness::admin::run(cluster.hosts[2].admin, &crate::harness::cluster::keys(), &["info"]));
        assert!(!words.contains("\nd "), "{words}");
        let info = cluster.admin(1, &["info"]);
        let hosts = info["hosts"].as_array().expect("a list").len();
        assert_eq!(hosts, 3, "it has given up its part in the metadata before the answer: {info}");
        // The removed host reports its removal for as long as it runs.
        eventually(PATIENCE, "the host that was removed to know it", || {
            let health = get_plain(cluster.hosts[3].admin, "/health/ready").ok()?;
            (health.status == 503 && health.text().contains("was removed from its cluster")).then_some(())
        });
        cluster.stop(3);
        pass(Duration::from_secs(1));
    });
    eprintln!("{name}: removed: {}", report.words());
    report.check(None);
    let left = trial.cluster.shards_held(3);
    assert_eq!(left.len(), 0, "the host that went ends empty: {left:?}");
    // The removed host must not join again by itself.
    trial.cluster.start(3);
    let ended = eventually(PATIENCE, "the host that went to end", || trial.cluster.hosts[3].ended());
    assert!(ended.stderr.contains("was removed from its cluster"), "{}", ended.stderr);
    trial.cluster.forget(3);
    trial.wait_until_whole();
    trial.verify();
    (0..3).for_each(|host| check(&trial.cluster, host));
    trial.compare_inventories();
    trial.end(name);
}
