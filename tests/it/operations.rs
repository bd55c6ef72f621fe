//! Running the store: first start, health, metrics, stop, restart.

use crate::harness::data;
use crate::harness::server::{STOP_TIMEOUT, Server, Setup};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn the_first_start_prints_credentials_that_work_and_later_ones_do_not() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::drives(root.path(), 2).without_keys();
    let server = setup.start();
    let printed = server.stdout();
    assert!(printed.contains("aws configure set aws_access_key_id "), "{printed}");
    server.client().create_bucket("mine").unwrap().expect(200);
    let keys = server.keys.clone();
    let (setup, ended, _) = server.stop();
    assert!(ended.status.success());
    for dir in &setup.dirs {
        let mode = std::fs::metadata(dir.join("credentials.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let again = setup.start();
    assert!(!again.stdout().contains("aws_secret_access_key"), "{}", again.stdout());
    assert_eq!(again.keys, keys);
    again.client().call("HEAD", "/mine", &[], &[], crate::harness::client::Body::None).unwrap().expect(200);
}

#[test]
fn health_answers_under_every_name() {
    let (_root, server) = Server::fresh();
    for path in ["/health/live", "/health/ready", "/minio/health/live", "/minio/health/ready", "/minio/health/cluster"]
    {
        assert_eq!(server.admin(path).unwrap().status, 200, "{path}");
    }
}

#[test]
fn the_health_command_tells_a_running_store_from_none() {
    let (_root, server) = Server::fresh();
    let health = |addr: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sherd"));
        command.env_clear().args(["health", "--admin-listen", addr]).output().unwrap()
    };
    let admin = server.admin.to_string();
    assert!(health(&admin).status.success());
    server.kill();
    let output = health(&admin);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("does not answer"));
}

/// T3: every metric of the catalogue is there, the stage timings of PUT and GET with values.
#[test]
fn every_metric_of_the_catalogue_is_scraped() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    s3.put("box", "large", &data::bytes(1, 1 << 20)).unwrap().expect(200);
    s3.get("box", "large").unwrap().expect(200);
    let text = server.admin("/metrics").unwrap().expect(200).text();
    // A metric without series yet has nothing to scrape; these have series after one PUT and one GET.
    for name in [
        "sherd_s3_requests_total",
        "sherd_s3_request_seconds",
        "sherd_s3_received_bytes_total",
        "sherd_s3_sent_bytes_total",
        "sherd_admission_permit_bytes",
        "sherd_put_stage_seconds",
        "sherd_get_stage_seconds",
        "sherd_wal_appends_total",
        "sherd_wal_syncs_total",
        "sherd_wal_sync_seconds",
        "sherd_wal_segments",
        "sherd_drive_free_bytes",
        "sherd_drive_up",
        "sherd_raft_term",
        "sherd_raft_index",
        "sherd_raft_proposal_seconds",
    ] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is not served");
    }
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split_whitespace().nth(2).unwrap();
        assert!(sherd::metrics::CATALOGUE.iter().any(|(known, _, _)| *known == name), "{name} is not in the catalogue");
    }
    assert!(server.metric("sherd_put_stage_seconds_count", &[]) > 0.0);
    assert!(server.metric("sherd_get_stage_seconds_count", &[]) > 0.0);
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let (_root, server) = Server::fresh_four();
    let s3 = server.client();
    s3.create_bucket("kept").unwrap().expect(200);
    let objects: Vec<(String, Vec<u8>)> = [0, 1, 100, 20_000, 300_000, 5 << 20]
        .iter()
        .map(|len| (format!("of-{len}"), data::bytes(*len as u64, *len)))
        .collect();
    for (key, bytes) in &objects {
        s3.put_with("kept", key, bytes, &[("x-amz-meta-color", "blue"), ("content-type", "text/x-test")])
            .unwrap()
            .expect(200);
    }
    let listed = s3.list_all("kept").unwrap();
    let (setup, ended, took) = server.stop();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(took < STOP_TIMEOUT, "{took:?}");
    for server in [setup.start().kill().start()] {
        let s3 = server.client();
        assert_eq!(s3.list_all("kept").unwrap(), listed);
        for (key, bytes) in &objects {
            let answer = s3.get("kept", key).unwrap().expect(200);
            assert!(answer.body == *bytes, "{key}");
            assert_eq!((answer.header("x-amz-meta-color"), answer.header("content-type")), ("blue", "text/x-test"));
        }
    }
}

#[test]
fn a_stop_under_load_ends_with_0_and_loses_nothing_that_was_answered() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("busy").unwrap().expect(200);
    let (told, threads): (std::sync::mpsc::Receiver<String>, Vec<_>) = {
        let (tell, told) = std::sync::mpsc::channel();
        let put = |thread: u64| {
            let (s3, tell) = (s3.clone(), tell.clone());
            std::thread::spawn(move || {
                for number in 0.. {
                    let key = format!("{thread}/{number}");
                    match s3.put("busy", &key, &data::bytes(number, 3000)) {
                        Ok(answer) if answer.status == 200 => tell.send(key).unwrap(),
                        _ => return,
                    }
                }
            })
        };
        (told, (0..4).map(put).collect())
    };
    let mut answered: Vec<String> = told.iter().take(50).collect();
    let (setup, ended, took) = server.stop();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(took < STOP_TIMEOUT, "{took:?}");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    answered.extend(told.try_iter());
    let server = setup.start();
    let listed: std::collections::BTreeSet<String> =
        server.client().list_all("busy").unwrap().into_iter().map(|(key, _)| key).collect();
    for key in answered {
        assert!(listed.contains(&key), "{key} was answered and is gone");
    }
}

#[test]
fn the_log_in_json_has_one_object_a_line() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::single(root.path()).with("SHERD_LOG_FORMAT", "json").with("SHERD_LOG", "info").start();
    server.client().create_bucket("logged").unwrap().expect(200);
    let (_, ended, _) = server.stop();
    assert!(ended.stderr.lines().count() > 0);
    for line in ended.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}
