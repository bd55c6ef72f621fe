//! `sherd admin top` over all hosts of a cluster.

use crate::harness::cluster::{Cluster, Shape};
use crate::harness::eventually;
use crate::trial::{beside_others, seed};
use serde_json::Value;
use std::time::Duration;

#[test]
fn any_host_merges_the_traffic_of_all_hosts() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(1, seed()));
    cluster.client(0).create_bucket("box").expect("it answers").expect(200);
    for (host, puts) in [(0, 4), (1, 5)] {
        let s3 = cluster.client(host);
        for number in 0..puts {
            s3.put("box", &format!("{host}-{number}"), b"content").expect("it answers").expect(200);
        }
    }
    let requests = |top: &Value| top["buckets"]["five_minutes"]["by_requests"][0]["requests"].as_u64();
    let top = eventually(Duration::from_secs(60), "all requests to be counted", || {
        let top = cluster.admin(2, &["top"]);
        (requests(&top) == Some(10)).then_some(top)
    });
    let heavy = &top["buckets"]["five_minutes"]["by_bytes"][0];
    assert_eq!((&heavy["name"], top["hosts"].as_array().map(Vec::len)), (&"box".into(), Some(3)), "{top}");
    assert_eq!(requests(&cluster.admin(2, &["top", "--host", "b"])), Some(5));
    cluster.kill(0);
    let output = cluster.try_admin(2, &["top"]);
    let top: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), requests(&top)), (Some(1), Some(5)), "what is left: {top}");
}
