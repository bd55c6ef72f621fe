//! Adding drives to a store of one host, and removing drives from it.

use crate::harness::client::S3;
use crate::harness::server::{ACCESS_KEY, SECRET_KEY, Server, Setup};
use crate::harness::sigv4::Keys;
use crate::harness::{admin, data, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const BUCKET: &str = "box";
const OBJECT_BYTES: usize = 200_000;

fn store(s3: &S3, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let put = s3.put(BUCKET, &number.to_string(), &data::bytes(number, OBJECT_BYTES));
        put.expect("it answers").expect(200);
    }
}

#[track_caller]
fn check(s3: &S3, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let found = s3.get(BUCKET, &number.to_string()).expect("it answers").expect(200);
        assert!(found.body == data::bytes(number, OBJECT_BYTES), "object {number}");
    }
}

#[track_caller]
fn ask(server: &Server, arguments: &[&str]) -> Value {
    admin::json(&try_to_ask(server, arguments))
}

fn try_to_ask(server: &Server, arguments: &[&str]) -> std::process::Output {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    admin::run(server.admin, &Keys::new(ACCESS_KEY, SECRET_KEY), &arguments)
}

/// Waits until the number of shards of each node is as wanted, and returns these numbers.
fn shards_when(server: &Server, what: &str, wanted: impl Fn(&BTreeMap<u64, u64>) -> bool) -> BTreeMap<u64, u64> {
    eventually(PATIENCE, what, || {
        std::thread::sleep(Duration::from_millis(200));
        let layout = ask(server, &["layout", "show"]);
        let number = |node: &Value, name: &str| node[name].as_u64().expect("a number");
        let nodes = layout["nodes"].as_array().expect("it lists the nodes").iter();
        let shards = nodes.map(|node| (number(node, "node"), number(node, "shards"))).collect();
        wanted(&shards).then_some(shards)
    })
}

/// Returns true if the metrics show only the drives that stay. The removed first drive must be neither up nor down, so
/// that no alert fires.
fn shows_those_that_stay(server: &Server) -> bool {
    let copies = |state| server.metric("sherd_raft_mirror_copies", &[("state", state)]);
    let up = |node: &str| server.series("sherd_drive_up").iter().filter(|(labels, _)| labels.contains(node)).count();
    let own = ["node=\"0\"", "node=\"1\"", "node=\"2\""].map(up);
    let alerts = copies("live") < copies("wanted") || server.series("sherd_drive_up").iter().any(|(_, up)| *up < 1.0);
    own == [0, 1, 1] && !alerts
}

/// The store grows from one drive to three; then the first drive, which had the only copy of the metadata, is removed.
#[test]
fn drives_are_added_and_removed_and_no_object_is_lost() {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    let mut setup = Setup::drives(root.path(), 1).with("SHERD_SCALE", "small");
    let first = setup.dirs[0].clone();
    let server = setup.start();
    server.client().create_bucket(BUCKET).expect("it answers").expect(200);
    store(&server.client(), 0..40);
    server.stop();

    let added = ["second", "third"].map(|name| root.path().join(name));
    setup.dirs.extend(added.clone());
    let refused = setup.fail_to_start();
    assert!(refused.stderr.contains("this host has 1 drives, but 3 data directories"), "{}", refused.stderr);
    added.iter().for_each(|dir| fs::create_dir(dir).expect("it is the test's own"));
    let server = setup.start();
    check(&server.client(), 0..40);
    let all_hold = |shards: &BTreeMap<u64, u64>| shards.len() == 3 && shards.values().all(|held| *held > 0);
    let shards = shards_when(&server, "the new drives to take shards", all_hold);
    assert_eq!(shards.values().sum::<u64>(), 40, "{shards:?}");
    store(&server.client(), 40..50);

    ask(&server, &["layout", "drain", "0"]);
    shards_when(&server, "the first drive's shards to be moved off", |shards| shards[&0] == 0);
    // Old copies of moved shards stay for reads that began before the move.
    eventually(PATIENCE, "the first drive to be empty", || {
        std::thread::sleep(Duration::from_secs(1));
        try_to_ask(&server, &["layout", "remove", "0"]).status.success().then_some(())
    });
    eventually(PATIENCE, "the metadata to leave the first drive", || {
        server.log().contains("this drive is out of the store").then_some(())
    });
    eventually(PATIENCE, "what is shown to be of the drives that stay", || {
        shows_those_that_stay(&server).then_some(())
    });
    check(&server.client(), 0..50);
    server.kill();

    // The start must succeed whether the removed drive's directory is still configured or not.
    let server = setup.start();
    assert!(server.log().contains("this drive was removed from the store"), "{}", server.log());
    shards_when(&server, "the drives that are left", |shards| shards.keys().eq(&[1, 2]));
    check(&server.client(), 0..50);
    server.stop();
    fs::remove_dir_all(&first).expect("it is there");
    setup.dirs.retain(|dir| *dir != first);
    let server = setup.start();
    check(&server.client(), 0..50);
    store(&server.client(), 50..60);
    server.stop();

    // An emptied directory may come back, as a new drive.
    fs::create_dir(&first).expect("it is gone");
    setup.dirs.insert(0, first);
    let server = setup.start();
    check(&server.client(), 0..60);
    let is_back = |shards: &BTreeMap<u64, u64>| shards.iter().any(|(node, held)| *node > 2 && *held > 0);
    shards_when(&server, "the emptied drive to take shards", is_back);
    let (setup, ended, _) = server.stop();
    assert!(ended.status.success());
    let shards = admin::shards(&admin::text(&admin::inventory(&setup.dirs, true)));
    assert!(shards.len() >= 60, "{} shards", shards.len());
}
