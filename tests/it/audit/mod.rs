//! The audit log: its file under SIGHUP, a stop and a full disk; and its lines on standard error.

use crate::harness::eventually;
use crate::harness::server::{Server, Setup};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn with_log(root: &Path, value: &str) -> Server {
    Setup::single(root).with("SHERD_AUDIT_LOG", value).start()
}

/// The bucket of each line of a file, in order.
fn buckets(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let bucket = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("each line is JSON");
        line["resource"]["Bucket"].as_str().expect("a bucket").to_owned()
    };
    text.lines().map(bucket).collect()
}

#[test]
fn sighup_reopens_the_audit_file_and_a_stop_writes_all_lines() {
    let root = tempfile::tempdir().unwrap();
    let (path, moved) = (root.path().join("audit.log"), root.path().join("audit.log.1"));
    let server = with_log(root.path(), path.to_str().unwrap());
    let s3 = server.client();
    s3.create_bucket("first").unwrap().expect(200);
    eventually(SOON, "a line", || (buckets(&path) == ["first"]).then_some(()));
    fs::rename(&path, &moved).unwrap();
    s3.create_bucket("second").unwrap().expect(200);
    eventually(SOON, "a line in the file that is open", || (buckets(&moved).len() == 2).then_some(()));
    server.process().signal(Signal::HUP);
    eventually(SOON, "SIGHUP to be answered", || server.log().contains("the audit log (opened again)").then_some(()));
    for number in 0..5 {
        s3.create_bucket(&format!("last-{number}")).unwrap().expect(200);
    }
    server.stop();
    assert_eq!(buckets(&path), ["last-0", "last-1", "last-2", "last-3", "last-4"]);
}

/// `/dev/full` is a file system without room.
#[test]
fn a_failing_audit_log_blocks_no_request_and_its_lost_lines_are_logged() {
    let root = tempfile::tempdir().unwrap();
    let server = with_log(root.path(), "/dev/full");
    server.client().create_bucket("box").unwrap().expect(200);
    let of_file = |name: &str| server.metric(name, &[("destination", "file")]);
    eventually(SOON, "two attempts", || (of_file("sherd_audit_failures_total") >= 2.0).then_some(()));
    assert_eq!((of_file("sherd_audit_waiting_lines"), of_file("sherd_audit_lines_total")), (1.0, 0.0));
    server.client().create_bucket("another").unwrap().expect(200);
    let (_, ended, _) = server.stop();
    for told in ["the audit log is not written; its lines wait", "lines of the audit log are lost"] {
        assert_eq!(ended.stderr.matches(told).count(), 1, "{told}: {}", ended.stderr);
    }
}

#[test]
fn audit_lines_on_standard_error_are_json_even_if_the_log_is_text() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::single(root.path()).with("SHERD_AUDIT_LOG", "-").with("SHERD_LOG", "off").start();
    server.client().create_bucket("box").unwrap().expect(200);
    let (_, ended, _) = server.stop();
    let line: Value = serde_json::from_str(ended.stderr.trim()).expect("there is that one line");
    assert_eq!((&line["operation"], &line["outcome"]), (&"CreateBucket".into(), &"ok".into()));
}

#[test]
fn an_audit_file_that_cannot_be_opened_fails_the_start() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("nowhere/audit.log");
    let output = Setup::single(root.path()).with("SHERD_AUDIT_LOG", path.to_str().unwrap()).run(&["check"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("SHERD_AUDIT_LOG: ") && told.contains("cannot be written"), "{told}");
}
