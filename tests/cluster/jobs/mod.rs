//! Jobs of all hosts, shown and ordered through any host.

mod top;

use crate::harness::cluster::{Cluster, Shape, keys};
use crate::harness::{admin, data, eventually, lose_drive};
use crate::trial::{beside_others, seed};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `sherd admin`; returns the answer, and whether every selected host answered.
fn ask(cluster: &Cluster, host: usize, arguments: &[&str]) -> (Value, bool) {
    let output = cluster.try_admin(host, arguments);
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (answer, output.status.success())
}

/// Returns the names of the hosts in an answer, and whether each answered.
fn hosts(answer: &Value) -> Vec<(String, bool)> {
    let hosts = answer["hosts"].as_array().expect("a list").iter();
    hosts.map(|host| (host["name"].as_str().expect("a name").to_owned(), host["why"].is_null())).collect()
}

fn rows(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    names.iter().map(|(name, answered)| ((*name).to_owned(), *answered)).collect()
}

fn sorted(mut rows: Vec<(String, bool)>) -> Vec<(String, bool)> {
    rows.sort();
    rows
}

fn put_some(cluster: &Cluster) {
    let s3 = cluster.client(0);
    s3.create_bucket("box").expect("it answers").expect(200);
    for number in 0..4 {
        s3.put("box", &number.to_string(), &data::bytes(number, 300_000)).expect("it answers").expect(200);
    }
}

/// Returns the number of drives of the answering hosts whose last scrub has ended.
fn verified(status: &Value) -> usize {
    let hosts = status["hosts"].as_array().expect("a list").iter();
    let drives = hosts.flat_map(|host| host["drives"].as_array().expect("a list").iter());
    drives.filter(|drive| !drive["finished"].is_null() && drive["began"].is_null()).count()
}

#[test]
fn any_host_orders_and_shows_the_jobs_of_all_and_names_a_silent_host() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(2, seed()));
    put_some(&cluster);
    let all = rows(&[("a", true), ("b", true), ("c", true)]);
    let layout = cluster.admin(1, &["layout", "show"]);
    let nodes: Vec<&Value> = layout["nodes"].as_array().expect("a list").iter().collect();
    assert_eq!(nodes.len(), 6, "{layout}");
    let of = |name: &str| nodes.iter().find(|node| node["host_name"] == name).expect("a drive")["node"].to_string();

    let (started, _) = ask(&cluster, 0, &["heal", "start"]);
    assert_eq!(
        (sorted(hosts(&started)), started["nodes"].as_array().map(Vec::len)),
        (all.clone(), Some(6)),
        "{started}"
    );
    let (healing, answered) = ask(&cluster, 1, &["heal", "status"]);
    assert!(answered && sorted(hosts(&healing)) == all, "{healing}");
    let (one, answered) = ask(&cluster, 2, &["heal", "status", "--host", "b"]);
    assert!(answered && hosts(&one) == rows(&[("b", true)]), "{one}");
    let names = |status: &Value| status.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&healing), "the shape is the same");

    // First the scrub of one drive of another host, then of all drives.
    let drive = of("c");
    let (started, _) = ask(&cluster, 0, &["scrub", "start", &drive]);
    assert_eq!((hosts(&started), started["nodes"][0].to_string()), (rows(&[("c", true)]), drive.clone()), "{started}");
    ask(&cluster, 0, &["scrub", "start"]);
    eventually(PATIENCE, "every drive of every host to be verified", || {
        (verified(&ask(&cluster, 1, &["scrub", "status"]).0) == 6).then_some(())
    });
    let (stopped, answered) = ask(&cluster, 1, &["scrub", "stop"]);
    assert!(answered && stopped["nodes"] == json!([]) && sorted(hosts(&stopped)) == all, "{stopped}");

    cluster.kill(2);
    let some = rows(&[("a", true), ("b", true), ("c", false)]);
    for arguments in [&["heal", "status"][..], &["heal", "start"], &["scrub", "status"], &["scrub", "start"]] {
        let (answer, answered) = ask(&cluster, 0, arguments);
        assert!(!answered && sorted(hosts(&answer)) == some, "{arguments:?}: {answer}");
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--host", "b"]).collect();
        let (answer, answered) = ask(&cluster, 0, &arguments);
        assert!(answered && hosts(&answer) == rows(&[("b", true)]), "{arguments:?}: {answer}");
    }
    let (answer, answered) = ask(&cluster, 0, &["scrub", "start", &drive]);
    assert!(!answered && hosts(&answer) == rows(&[("c", false)]), "{answer}");
    let layout = cluster.admin(1, &["layout", "show"]);
    assert_eq!(layout["moving"]["settled"], false, "one host does not say so: {layout}");
    let silent = layout["moves"].as_array().expect("a list").iter().find(|row| row["name"] == "c").expect("a row");
    assert!(silent["why"].is_string() && silent["settled"].is_null(), "{silent}");
}

#[test]
fn waiting_for_a_job_goes_on_while_a_host_is_briefly_away() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(1, seed()));
    put_some(&cluster);
    cluster.kill(2);
    let mut command = admin::command(cluster.hosts[0].admin, &keys(), &["heal", "status", "--wait"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("it says something");
    assert!(line.starts_with("repair: host c does not answer: "), "{line}");
    cluster.start(2);
    // The output is read to its end, so that the process does not block.
    let last = stderr.lines().map_while(Result::ok).last();
    assert_eq!((child.wait().expect("it ends").code(), last.as_deref()), (Some(0), Some("repair: done")));
}

/// Returns the number of the drive in this directory, and whether it is in service, as a host sees it.
fn drive_in(cluster: &Cluster, host: usize, dir: &Path) -> Option<(u64, bool)> {
    let drives = cluster.admin(host, &["drives"]);
    let drive = drives.as_array()?.iter().find(|drive| drive["path"].as_str().map(Path::new) == Some(dir))?.clone();
    Some((drive["node"].as_u64()?, drive["in_service"] == true))
}

#[test]
fn a_drive_replaced_on_its_own_host_is_used_by_all_hosts() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(2, seed()));
    put_some(&cluster);
    let dir = cluster.hosts[1].setup.lock().expect("unpoisoned").dirs[0].clone();
    let (node, _) = eventually(PATIENCE, "the drive to be shown", || drive_in(&cluster, 0, &dir));
    let drive = node.to_string();
    let incarnation = |host: usize| {
        let layout = cluster.admin(host, &["layout", "show"]);
        let nodes = layout["nodes"].as_array().expect("a list").clone();
        nodes.into_iter().find(|found| found["node"] == node).map(|found| found["incarnation"].clone())
    };
    let former = incarnation(0);
    lose_drive(&dir);
    eventually(PATIENCE, "another host to know of the loss", || {
        drive_in(&cluster, 0, &dir).is_some_and(|(_, serves)| !serves).then_some(())
    });
    std::fs::create_dir(&dir).expect("it is the test's own");
    let told = cluster.try_admin(0, &["drive", "replace", &drive]);
    let words = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.status.success() && words.contains("is on the host b"), "{words}");

    let replaced = cluster.admin(1, &["drive", "replace", &drive]);
    eventually(PATIENCE, "the store to be whole, as every host sees it", || {
        let is_well = |host| {
            let told = cluster.try_admin(host, &["health"]);
            let health: Value = serde_json::from_slice(&told.stdout).unwrap_or_default();
            health["status"] == "ok" && drive_in(&cluster, host, &dir).is_some_and(|(_, serves)| serves)
        };
        (0..3).all(is_well).then_some(())
    });
    for host in 0..3 {
        assert_eq!(incarnation(host).as_ref(), Some(&replaced["incarnation"]));
        assert_ne!(incarnation(host), former);
    }
    for number in 0..4 {
        let found = cluster.client(2).get("box", &number.to_string()).expect("it answers").expect(200);
        assert!(found.body == data::bytes(number, 300_000), "object {number}");
    }
}

/// Whether every host has all that belongs on it by the newest layout.
fn is_settled(cluster: &Cluster, host: usize) -> bool {
    let (layout, answered) = ask(cluster, host, &["layout", "show"]);
    answered && layout["moving"]["settled"] == true
}

/// The host has one drive, and then a copy of the metadata log on each of two.
#[test]
fn a_drive_that_is_added_to_a_host_of_several_is_known_to_all_of_them() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(1, seed()).with("SHERD_SCALE", "small"));
    put_some(&cluster);
    let dir = cluster.root.path().join("added");
    std::fs::create_dir(&dir).expect("it is the test's own");
    let added = cluster.admin(1, &["drive", "add", dir.to_str().expect("text")]);
    let (node, drive) = (added["node"].as_u64().expect("a number"), added["node"].to_string());
    eventually(PATIENCE, "every host to know the drive, and to find all well", || {
        let is_well = |host| {
            let told = cluster.try_admin(host, &["health"]);
            let health: Value = serde_json::from_slice(&told.stdout).unwrap_or_default();
            health["status"] == "ok" && drive_in(&cluster, host, &dir) == Some((node, true))
        };
        (0..3).all(is_well).then_some(())
    });
    // Live and wanted copies together.
    eventually(PATIENCE, "the host to have another copy of the metadata log", || {
        (cluster.hosts[1].metric("sherd_raft_mirror_copies") == Some(4.0)).then_some(())
    });
    let (started, answered) = ask(&cluster, 2, &["scrub", "start", &drive]);
    assert!(answered && started["nodes"] == json!([node]), "{started}");
    let (started, answered) = ask(&cluster, 0, &["heal", "start", "--host", "b"]);
    assert!(answered && started["nodes"].as_array().map(Vec::len) == Some(2), "{started}");
    for number in 4..40 {
        let put = cluster.client(0).put("box", &number.to_string(), &data::bytes(number, 300_000));
        put.expect("it answers").expect(200);
    }
    eventually(PATIENCE, "shards to be on the drive, and no more to be moved", || {
        let layout = cluster.admin(0, &["layout", "show"]);
        let nodes = layout["nodes"].as_array().expect("a list").clone();
        let holds = nodes.iter().any(|found| found["node"] == node && found["shards"].as_u64() > Some(0));
        (holds && is_settled(&cluster, 0)).then_some(())
    });
    cluster.stop(1);
    cluster.hosts[1].setup.lock().expect("unpoisoned").dirs.push(dir.clone());
    cluster.start(1);
    cluster.wait_until_ready(1);
    // What is on the host's drives is needed where another host is away.
    cluster.kill(2);
    for number in 0..40 {
        let found = cluster.client(1).get("box", &number.to_string()).expect("it answers").expect(200);
        assert!(found.body == data::bytes(number, 300_000), "object {number}");
    }
}
