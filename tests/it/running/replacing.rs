//! Replacing a drive of a running host, without a restart.

use super::{BUCKET, EndOfLoad, PATIENCE, WRITERS, check, load, object, until_out, until_well};
use crate::harness::server::Server;
use crate::harness::{admin, eventually, lose_drive};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Returns the reason why the replacement of a drive is refused.
#[track_caller]
fn refusal(server: &Server, drive: &str) -> String {
    let output = admin::run(server.admin, &server.keys, &["drive", "replace", drive]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[track_caller]
fn replace(server: &Server, drive: &str) -> Value {
    admin::json(&admin::run(server.admin, &server.keys, &["drive", "replace", drive, "--json"]))
}

fn incarnation_of(server: &Server, node: usize) -> Value {
    let layout = admin::json(&admin::run(server.admin, &server.keys, &["layout", "show", "--json"]));
    layout["nodes"][node]["incarnation"].clone()
}

#[track_caller]
fn check_refusals(server: &Server, lost: &Path) {
    let told = refusal(server, "0");
    assert!(told.contains("there is no directory") && told.contains(lost.to_str().unwrap()), "{told}");
    let told = refusal(server, "1");
    assert!(told.contains("holds the drive itself"), "{told}");
    let told = refusal(server, "9");
    assert!(told.contains("there is no drive 9"), "{told}");
    fs::create_dir(lost).unwrap();
    fs::write(lost.join("photo.jpg"), b"mine").unwrap();
    let told = refusal(server, "0");
    assert!(told.contains("is not empty (it holds \"photo.jpg\")"), "{told}");
    assert_eq!(fs::read_dir(lost).unwrap().count(), 1, "a refusal leaves nothing behind");
    fs::remove_file(lost.join("photo.jpg")).unwrap();
}

/// The replaced drive is the first one, which also has the metadata tables and a copy of the metadata log.
#[test]
fn a_lost_drive_is_replaced_while_the_host_runs_and_no_request_fails() {
    let (_root, server) = Server::fresh_four();
    server.client().create_bucket(BUCKET).unwrap().expect(200);
    let dirs = server.setup().dirs.clone();
    let is_over = AtomicBool::new(false);
    let written: Vec<u64> = std::thread::scope(|scope| {
        let load = |writer| {
            let (s3, is_over) = (server.client(), &is_over);
            scope.spawn(move || load(&s3, writer, is_over))
        };
        let writers: Vec<_> = (0..WRITERS).map(load).collect();
        let end_of_load = EndOfLoad(&is_over);
        let former = incarnation_of(&server, 0);
        lose_drive(&dirs[0]);
        until_out(&server, "0");
        check_refusals(&server, &dirs[0]);
        let replaced = replace(&server, "0");
        assert_eq!(replaced["path"], dirs[0].to_str().unwrap());
        assert_ne!(former, replaced["incarnation"]);
        assert_eq!(incarnation_of(&server, 0), replaced["incarnation"]);
        until_well(&server);
        drop(end_of_load);
        writers.into_iter().map(|writer| writer.join().unwrap().expect("no request fails")).collect()
    });
    assert!(written.iter().all(|count| *count > 3), "{written:?}");
    assert_eq!(server.metric("sherd_drive_up", &[("node", "0")]), 1.0);
    eventually(PATIENCE, "the copy of the metadata log to be made again", || {
        let copies = |state| server.metric("sherd_raft_mirror_copies", &[("state", state)]);
        (copies("live") == copies("wanted")).then_some(())
    });
    // A restart finds the drive as one of its own.
    let (setup, ..) = server.stop();
    let server = setup.start();
    assert!(!server.log().contains("takes the place of a lost one"), "{}", server.log());
    until_well(&server);
    // That the drive was filled is proven by losing two of the others.
    lose_drive(&dirs[1]);
    lose_drive(&dirs[2]);
    check(&server.client(), &written);
}

/// The directory stays and its content is deleted, as at a mount point; the lock file of the former drive is in it
/// still.
#[test]
fn a_drive_can_be_replaced_several_times() {
    let (_root, server) = Server::fresh_four();
    let s3 = server.client();
    s3.create_bucket(BUCKET).unwrap().expect(200);
    let dir = server.setup().dirs[2].clone();
    let mut incarnations = vec![incarnation_of(&server, 2)];
    for round in 0..3 {
        let (key, bytes) = object(round, 1);
        s3.put(BUCKET, &key, &bytes).unwrap().expect(200);
        fs::remove_file(dir.join("identity.json")).unwrap();
        until_out(&server, "2");
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => lose_drive(&path),
                false if path.ends_with("lock") => {}
                false => fs::remove_file(path).unwrap(),
            }
        }
        replace(&server, "2");
        until_well(&server);
        let now = incarnation_of(&server, 2);
        assert!(!incarnations.contains(&now), "{now} is in {incarnations:?}");
        incarnations.push(now);
    }
    for lost in [0, 1] {
        lose_drive(&server.setup().dirs[lost]);
    }
    for round in 0..3 {
        let (key, bytes) = object(round, 1);
        assert!(s3.get(BUCKET, &key).unwrap().expect(200).body == bytes, "{key}");
    }
}
