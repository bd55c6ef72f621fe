//! Drives that are added to a running host, without a restart.

use super::{BUCKET, EndOfLoad, PATIENCE, WRITERS, check, load, until_out, until_well};
use crate::harness::server::{Server, Setup};
use crate::harness::{admin, eventually, lose_drive};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn ask(server: &Server, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    admin::json(&admin::run(server.admin, &server.keys, &arguments))
}

fn shown(dir: &Path) -> &str {
    dir.to_str().expect("paths of tests are text")
}

/// Returns the reason for which a directory is not added.
#[track_caller]
fn refusal(server: &Server, dir: &str) -> String {
    let output = admin::run(server.admin, &server.keys, &["drive", "add", dir]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Shards that are placed on each drive.
fn placed(server: &Server) -> BTreeMap<u64, u64> {
    let layout = ask(server, &["layout", "show"]);
    let number = |node: &Value, name: &str| node[name].as_u64().expect("a number");
    let nodes = layout["nodes"].as_array().expect("it lists the nodes").iter();
    nodes.map(|node| (number(node, "node"), number(node, "shards"))).collect()
}

#[track_caller]
fn check_refusals(server: &Server, dir: &Path) {
    let told = refusal(server, shown(dir));
    assert!(told.contains("there is no directory"), "{told}");
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("photo.jpg"), b"mine").unwrap();
    let told = refusal(server, shown(dir));
    assert!(told.contains("is not empty (it holds \"photo.jpg\")"), "{told}");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "a refusal leaves nothing behind");
    fs::remove_file(dir.join("photo.jpg")).unwrap();
    for (dir, why) in [("d5", "whole path"), ("/a,/b", "whole path")] {
        let told = refusal(server, dir);
        assert!(told.contains(why), "{dir}: {told}");
    }
    let own = server.setup().dirs[0].clone();
    let told = refusal(server, shown(&own));
    assert!(told.contains("is drive 0 of this host already"), "{told}");
    let within = own.join("new");
    let told = refusal(server, shown(&within));
    assert!(told.contains("is within"), "{told}");
}

/// What is about all drives of the host is about the new one, too.
#[track_caller]
fn check_is_a_drive_like_the_others(server: &Server, dir: &Path) {
    let drives = ask(server, &["drives"]);
    let row = drives.as_array().expect("a list").iter().find(|drive| drive["node"] == 4).expect("a row");
    assert_eq!((&row["path"], &row["in_service"]), (&shown(dir).into(), &true.into()), "{row}");
    let health: Value = serde_json::from_str(&server.admin("/health/ready").unwrap().text()).expect("JSON");
    assert_eq!(health["drives"].as_array().map(Vec::len), Some(5), "{health}");
    eventually(PATIENCE, "the drive to be watched", || {
        (server.metric("sherd_drive_up", &[("node", "4")]) == 1.0
            && server.metric("sherd_drive_total_bytes", &[("node", "4")]) > 0.0)
            .then_some(())
    });
    let order = |what: &[&str]| ask(server, what)["nodes"].clone();
    assert_eq!(order(&["heal", "start"]), serde_json::json!([0, 1, 2, 3, 4]));
    assert_eq!(order(&["scrub", "start", "4"]), serde_json::json!([4]));
    eventually(PATIENCE, "the drive to be scrubbed", || {
        let status = ask(server, &["scrub", "status"]);
        let drives = status["hosts"][0]["drives"].as_array().expect("a list").clone();
        let own = drives.into_iter().find(|drive| drive["node"] == 4)?;
        (!own["finished"].is_null() && own["began"].is_null()).then_some(())
    });
    eventually(PATIENCE, "the drive to be compared with the metadata", || {
        let healing = ask(server, &["heal", "status"]);
        let due = healing["hosts"][0]["comparisons_due"].as_array().expect("a list").is_empty();
        due.then_some(())
    });
    for file in ["identity.json", "lock", "shards", "index"] {
        assert!(dir.join(file).exists(), "{file}");
    }
}

#[test]
fn a_drive_is_added_while_the_host_runs_and_no_request_fails() {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    let server = Setup::drives(root.path(), 4).with("SHERD_SCALE", "small").start();
    server.client().create_bucket(BUCKET).unwrap().expect(200);
    let added = root.path().join("d5");
    let is_over = AtomicBool::new(false);
    let written: Vec<u64> = std::thread::scope(|scope| {
        let load = |writer| {
            let (s3, is_over) = (server.client(), &is_over);
            scope.spawn(move || load(&s3, writer, is_over))
        };
        let writers: Vec<_> = (0..WRITERS).map(load).collect();
        let end_of_load = EndOfLoad(&is_over);
        check_refusals(&server, &added);
        let told = ask(&server, &["drive", "add", shown(&added)]);
        let mut dirs: Vec<&str> = server.setup().dirs.iter().map(|dir| shown(dir)).collect();
        dirs.push(shown(&added));
        assert_eq!((&told["node"], &told["path"]), (&4.into(), &shown(&added).into()), "{told}");
        assert_eq!(told["directories"], serde_json::json!(dirs), "the next start must be given them");
        assert_eq!(told["shares_file_system_with"].as_array().map(Vec::len), Some(4), "{told}");
        let again = refusal(&server, shown(&added));
        assert!(again.contains("is drive 4 of this host already"), "{again}");
        eventually(PATIENCE, "shards to be placed on the drive", || {
            (placed(&server).get(&4).copied().unwrap_or_default() > 3).then_some(())
        });
        drop(end_of_load);
        writers.into_iter().map(|writer| writer.join().unwrap().expect("no request fails")).collect()
    });
    assert!(written.iter().all(|count| *count > 3), "{written:?}");
    check_is_a_drive_like_the_others(&server, &added);
    let waited = admin::run(server.admin, &server.keys, &["layout", "show", "--wait", "--timeout", "120"]);
    assert_eq!(waited.status.code(), Some(0), "{waited:?}");
    until_well(&server);
    let held = placed(&server);
    check(&server.client(), &written);
    check_restarts(server, &added, &held, &written);
}

/// The next start needs the directory, and keeps everything with it.
#[track_caller]
fn check_restarts(server: Server, added: &Path, held: &BTreeMap<u64, u64>, written: &[u64]) {
    let (mut setup, ..) = server.stop();
    let refused = setup.fail_to_start();
    let told = &refused.stderr;
    assert!(told.contains("this host has 5 drives, but 4 data directories are given"), "{told}");
    assert!(told.contains("node 4 is not among them"), "{told}");
    setup.dirs.push(added.to_owned());
    let server = setup.start();
    for news in ["a drive is added", "takes the place of a lost one", "cannot be opened"] {
        assert!(!server.log().contains(news), "{news}: {}", server.log());
    }
    until_well(&server);
    assert_eq!(&placed(&server), held);
    // The proof that it took over what it was given: two others may go.
    for lost in [0, 1] {
        lose_drive(&server.setup().dirs[lost]);
    }
    check(&server.client(), written);
}

/// As at a start: a new drive could not be told from one that takes the place of the lost one.
#[test]
fn a_drive_is_not_added_while_another_of_the_host_is_lost_or_half_replaced() {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    let audit_log = root.path().join("audit.log");
    let server = Setup::drives(root.path(), 4).with("SHERD_AUDIT_LOG", shown(&audit_log)).start();
    let (added, lost) = (root.path().join("d5"), server.setup().dirs[2].clone());
    fs::create_dir(&added).unwrap();
    lose_drive(&lost);
    until_out(&server, "2");
    let told = refusal(&server, shown(&added));
    assert!(told.contains("drive 2") && told.contains("is out of service"), "{told}");
    assert_eq!(fs::read_dir(&added).unwrap().count(), 0);
    fs::create_dir(&lost).unwrap();
    ask(&server, &["drive", "replace", "2"]);
    ask(&server, &["drive", "add", shown(&added)]);
    until_well(&server);
    assert_eq!(placed(&server).len(), 5);
    let outcomes = eventually(PATIENCE, "both orders to be in the audit log", || {
        let lines = fs::read_to_string(&audit_log).ok()?;
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
        let orders: Vec<Value> = lines.filter(|line| line["operation"] == "AddDrive").collect();
        assert!(orders.iter().all(|line| line["resource"]["directory"] == shown(&added)), "{orders:?}");
        (orders.len() == 2).then(|| orders.into_iter().map(|line| line["outcome"].clone()).collect::<Vec<_>>())
    });
    assert_eq!(outcomes, ["Refused", "ok"]);
}

/// The host leads alone with one copy of the metadata log on its only drive; with more drives it keeps no more copies, since
/// its geometry stays; but what the first drive held goes to another where it fails.
#[test]
fn a_store_on_one_drive_grows_while_it_runs_and_the_first_drive_may_leave() {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    let mut setup = Setup::drives(root.path(), 1).with("SHERD_SCALE", "small");
    let server = setup.start();
    let s3 = server.client();
    s3.create_bucket(BUCKET).unwrap().expect(200);
    for number in 0..20 {
        s3.put(BUCKET, &number.to_string(), &[7; 100_000]).unwrap().expect(200);
    }
    let added = ["second", "third"].map(|name| root.path().join(name));
    for (node, dir) in (1..).zip(&added) {
        fs::create_dir(dir).unwrap();
        assert_eq!(ask(&server, &["drive", "add", shown(dir)])["node"], node);
    }
    ask(&server, &["layout", "drain", "0"]);
    eventually(PATIENCE, "the first drive's shards to be moved off", || (placed(&server)[&0] == 0).then_some(()));
    // What was moved off stays for reads that began before.
    eventually(PATIENCE, "the first drive to be removed", || {
        std::thread::sleep(Duration::from_secs(1));
        admin::run(server.admin, &server.keys, &["layout", "remove", "0"]).status.success().then_some(())
    });
    eventually(PATIENCE, "the metadata to leave the first drive", || {
        server.log().contains("this drive is out of the store").then_some(())
    });
    // Its number and directory are this process's until it ends.
    let told = refusal(&server, shown(&setup.dirs[0]));
    assert!(told.contains("was removed from the store"), "{told}");
    let fourth = root.path().join("fourth");
    fs::create_dir(&fourth).unwrap();
    let told = admin::text(&admin::run(server.admin, &server.keys, &["drive", "add", shown(&fourth)]));
    assert!(told.contains("drive 3") && told.contains("SHERD_DATA must name"), "{told}");
    let list: Vec<&str> = added.iter().chain([&fourth]).map(|dir| shown(dir)).collect();
    assert!(told.lines().any(|line| line == list.join(",")), "without the removed one: {told}");
    for number in 0..20 {
        assert_eq!(s3.get(BUCKET, &number.to_string()).unwrap().expect(200).body, [7; 100_000]);
    }
    server.stop();
    setup.dirs = [&added[..], &[fourth]].concat();
    let server = setup.start();
    assert_eq!(placed(&server).keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    for number in 0..20 {
        assert_eq!(server.client().get(BUCKET, &number.to_string()).unwrap().expect(200).body, [7; 100_000]);
    }
}
