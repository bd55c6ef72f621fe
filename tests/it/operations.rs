//! Operation of the store: first start, health, metrics, stop, restart.

use crate::harness::cluster::{Cluster, Shape};
use crate::harness::network::Network;
use crate::harness::network::wires::Wires;
use crate::harness::server::{START_TIMEOUT, STOP_TIMEOUT, Server, Setup};
use crate::harness::{admin, data, eventually, lose_drive, or_skipped};
use serde_json::{Value, json};
use sherd::metrics::CATALOGUE;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

/// Metrics that have no series in a healthy store of one host just after its first writes, since their events did not
/// happen.
const SILENT: &[&str] = &[
    // No fault, and no drive that is late.
    "sherd_chunk_faults_total",
    "sherd_hedged_reads_total",
    "sherd_nodes_in_trouble",
    "sherd_raft_mirror_failed",
    "sherd_repairs_done_total",
    "sherd_repaired_bytes_total",
    // No certificate.
    "sherd_tls_certificate_end_seconds",
    "sherd_acme_failed_orders",
    // No other host.
    "sherd_pool_connections_active",
    "sherd_pool_streams_active",
    "sherd_net_sent_bytes_total",
    "sherd_net_received_bytes_total",
    "sherd_net_round_trip_seconds",
    // Nothing that is old enough, and nothing to move.
    "sherd_compacted_segments_total",
    "sherd_compacted_bytes_total",
    "sherd_scrubbed_bytes_total",
    "sherd_orphan_shards_dropped_total",
    "sherd_shards_moved_total",
    "sherd_moved_bytes_total",
    // Too short a time to say how fast it fills.
    "sherd_growth_bytes_per_day",
    // No limit on rates.
    "sherd_rate_refused_requests_total",
    "sherd_rate_delayed_bytes_total",
    // No webhook.
    "sherd_events_delivered_total",
    "sherd_event_deliveries_failed_total",
    "sherd_events_dropped_total",
    "sherd_events_behind",
    "sherd_event_delivery_seconds",
    // No audit log.
    "sherd_audit_lines_total",
    "sherd_audit_failures_total",
    "sherd_audit_waiting_lines",
    // No traces.
    "sherd_trace_spans_total",
];

#[test]
fn only_the_first_start_prints_credentials_and_they_work() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::drives(root.path(), 2).without_keys();
    let server = setup.start();
    let printed = server.stdout();
    assert!(printed.contains("aws configure set aws_access_key_id "), "{printed}");
    server.client().create_bucket("mine").unwrap().expect(200);
    let keys = server.keys.clone();
    let (setup, ..) = server.stop();
    for dir in &setup.dirs {
        let mode = std::fs::metadata(dir.join("credentials.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let again = setup.start();
    assert!(!again.stdout().contains("aws_secret_access_key"), "{}", again.stdout());
    assert_eq!(again.keys, keys);
    again.client().call("HEAD", "/mine", &[], &[], crate::harness::client::Body::None).unwrap().expect(200);
}

/// Nobody reads the credentials and the line `listening`, as after `sherd | head -1`.
#[test]
fn a_store_whose_standard_output_is_closed_starts_and_serves() {
    let root = tempfile::tempdir().unwrap();
    // It reserves the ports, which no line tells.
    let network = Wires::on_loopback(1, true, 1);
    let (s3, admin) = (network.places()[0].s3, network.places()[0].admin);
    let setup = Setup::drives(root.path(), 2).without_keys().with("SHERD_S3_LISTEN", &s3.to_string());
    let setup = setup.with("SHERD_ADMIN_LISTEN", &admin.to_string());
    let server = setup.clone().with_unread_output().start_bound(s3, admin);
    server.client().create_bucket("box").unwrap().expect(200);
    server.stop();
    let server = setup.with_full_output().start_bound(s3, admin);
    server.client().put("box", "k", b"x").unwrap().expect(200);
    server.stop();
}

#[test]
fn a_command_whose_result_cannot_be_written_ends_with_exit_code_1() {
    let (_root, server) = Server::fresh();
    let url = format!("http://{}", server.admin);
    let setup = server.setup().clone();
    for arguments in [
        &["--version"][..],
        &["--help"],
        &["check"],
        &["credentials"],
        &["admin", "--url", &url, "info"],
        &["admin", "--url", &url, "metadata", "export"],
    ] {
        let unread = setup.clone().with_unread_output().run(arguments);
        let said = String::from_utf8_lossy(&unread.stderr);
        assert!(unread.status.code() == Some(1) && !said.contains("written"), "{arguments:?}: {unread:?}");
        let unwritten = setup.clone().with_full_output().run(arguments);
        let said = String::from_utf8_lossy(&unwritten.stderr);
        let is_said = said.contains("could not be written: No space left on device");
        assert!(unwritten.status.code() == Some(1) && is_said, "{arguments:?}: {unwritten:?}");
    }
}

#[test]
fn a_rejoin_is_decided_even_if_nobody_reads_what_is_printed() {
    let cluster = Cluster::formed(&Shape { founders: 1, ..Shape::three(3, 1) }.with("SHERD_EC", "2+1"));
    cluster.stop(0);
    let setup = cluster.hosts[0].setup.lock().unwrap().clone();
    let unread = |arguments: &[&str]| setup.clone().with_unread_output().run(arguments);
    assert!(!admin::text(&setup.run(&["rejoin"])).contains("decided already"));
    let decided = unread(&["rejoin", "--yes"]);
    assert_eq!(decided.status.code(), Some(0), "{decided:?}");
    assert!(admin::text(&setup.run(&["rejoin"])).contains("this is decided already, since: an operator"));
    let explained = unread(&["rejoin"]);
    assert_eq!(explained.status.code(), Some(1), "what it prints is its result: {explained:?}");
    let cancelled = unread(&["rejoin", "--cancel"]);
    assert_eq!(cancelled.status.code(), Some(0), "{cancelled:?}");
    assert!(!admin::text(&setup.run(&["rejoin"])).contains("decided already"));
}

#[test]
fn a_host_with_a_damaged_record_of_a_rejoin_is_refused_until_an_operator_decides_it_anew() {
    let cluster = Cluster::formed(&Shape { founders: 1, ..Shape::three(3, 1) }.with("SHERD_EC", "2+1"));
    cluster.stop(0);
    let setup = cluster.hosts[0].setup.lock().unwrap().clone();
    for arguments in [&["rejoin", "--cancel"][..], &["rejoin", "--yes"]] {
        setup.dirs.iter().for_each(|dir| std::fs::write(dir.join("rejoin.json"), "{}").unwrap());
        let refused = setup.run(&["rejoin"]);
        let said = [String::from_utf8_lossy(&refused.stderr).into_owned(), setup.fail_to_start().stderr];
        assert!(said.iter().all(|said| said.contains("rejoin.json cannot be used")), "{said:?}");
        assert!(setup.run(arguments).status.success());
    }
    assert!(admin::text(&setup.run(&["rejoin"])).contains("this is decided already, since: an operator"));
}

#[test]
fn health_answers_under_all_of_its_paths() {
    let (_root, server) = Server::fresh();
    for path in ["/health/live", "/health/ready", "/minio/health/live", "/minio/health/ready", "/minio/health/cluster"]
    {
        assert_eq!(server.admin(path).unwrap().status, 200, "{path}");
    }
}

#[test]
fn the_health_command_succeeds_only_while_the_store_runs() {
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

/// T3: every metric of the catalogue is scraped once it has a value, and the stage timings of PUT and GET have samples.
#[test]
fn every_metric_of_the_catalogue_is_scraped_once_it_has_a_value() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    s3.put("box", "large", &data::bytes(1, 1 << 20)).unwrap().expect(200);
    s3.get("box", "large").unwrap().expect(200);
    let names: Vec<&str> = CATALOGUE.iter().map(|(name, _, _)| *name).collect();
    assert!(SILENT.iter().all(|name| names.contains(name)), "what is silent is in the catalogue");
    let unserved = || -> Vec<&str> {
        let text = server.admin("/metrics").unwrap().expect(200).text();
        let is_due = |name: &&str| !SILENT.contains(name) && !text.contains(&format!("# TYPE {name} "));
        names.iter().copied().filter(is_due).collect()
    };
    let mut left = unserved();
    // The metrics of a chore appear once the chore has run.
    for _ in 0..300 {
        if left.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        left = unserved();
    }
    assert!(left.is_empty(), "{left:?} are not served");
    let text = server.admin("/metrics").unwrap().expect(200).text();
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split_whitespace().nth(2).unwrap();
        assert!(names.contains(&name) || name.starts_with("process_"), "{name} is not in the catalogue");
    }
    assert!(server.metric("process_resident_memory_bytes", &[]) > 1e6);
    assert_eq!(server.metric("sherd_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(server.metric("sherd_put_stage_seconds_count", &[]) > 0.0);
    assert!(server.metric("sherd_get_stage_seconds_count", &[]) > 0.0);
}

#[test]
fn objects_survive_a_restart() {
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
    let (setup, _, took) = server.stop();
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
fn a_stop_under_load_exits_with_0_and_loses_no_acknowledged_write() {
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
    assert_eq!(answered.len(), 50, "a thread ends with the first put that is refused");
    let (setup, _, took) = server.stop();
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

/// The process must not wait for a thread that waits for a name server.
#[test]
fn a_stop_does_not_wait_for_a_name_server_that_is_silent() {
    let root = tempfile::tempdir().unwrap();
    let silent = UdpSocket::bind("127.0.0.77:53").map_err(|error| format!("no name server can be played: {error}"));
    let Some(silent) = or_skipped(silent) else { return };
    let resolver = root.path().join("resolv.conf");
    std::fs::write(&resolver, "nameserver 127.0.0.77\noptions timeout:30 attempts:5\n").unwrap();
    let mounted = format!("mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"", resolver.display());
    let mut setup = Setup::single(root.path())
        .with("SHERD_HOSTS", "a=127.0.0.1:29461,b=nobody.sherd.test:9100,c=none.sherd.test:9100")
        .with("SHERD_HOST", "a")
        .with("SHERD_CLUSTER_LISTEN", "127.0.0.1:0")
        .with("SHERD_CLUSTER_SECRET", "0123456789012345678901234567890123456789")
        .with("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    setup.wrapper = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", &mounted].map(str::to_owned).to_vec();
    let server = setup.spawn_bound(nowhere(), nowhere());
    silent.set_read_timeout(Some(STOP_TIMEOUT * 2)).unwrap();
    silent.recv_from(&mut [0; 512]).expect("the name server is asked");
    let (_, _, took) = server.stop();
    assert!(took < STOP_TIMEOUT, "{took:?}");
}

#[test]
fn the_json_log_has_one_object_in_each_line() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::single(root.path()).with("SHERD_LOG_FORMAT", "json").with("SHERD_LOG", "info").start();
    server.client().create_bucket("logged").unwrap().expect(200);
    let (_, ended, _) = server.stop();
    assert!(ended.stderr.lines().count() > 0);
    for line in ended.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

/// Returns a placeholder for the addresses of a host that never gets to listen.
fn nowhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// One host of five drives at 2+2: an object that is not inline has a shard on four of them.
#[test]
fn a_store_that_lost_two_of_five_drives_reports_that_it_is_at_risk() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::drives(root.path(), 5).with("SHERD_EC", "2+2").start();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    for number in 0..20 {
        s3.put("box", &number.to_string(), &data::bytes(number, 200_000)).unwrap().expect(200);
    }
    let ask = |arguments: &[&str]| admin::run(server.admin, &server.keys, arguments);
    let health = || -> Value { serde_json::from_slice(&ask(&["health", "--json"]).stdout).expect("it is JSON") };
    eventually(START_TIMEOUT, "the store to be whole", || (health()["status"] == "ok").then_some(()));
    assert_eq!(health()["safety"]["survives_now"]["drives"], 2);
    let layout = admin::json(&ask(&["layout", "show", "--json"]));
    let held = |node: usize| layout["nodes"][node]["shards"].as_u64().unwrap();
    let lost = held(0) + held(1);
    for dir in &server.setup().dirs[..2] {
        lose_drive(dir);
    }
    let counted = eventually(START_TIMEOUT, "both to be missed and everything to be counted", || {
        let health = health();
        let safety = &health["safety"];
        let both = safety["absent_drives"] == json!([0, 1]) && safety["is_counted"] == true;
        both.then_some(health)
    });
    let safety = &counted["safety"];
    assert_eq!(safety["survives_now"]["drives"], 0, "{counted}");
    assert_eq!(safety["missing_shards"], json!({"at_least": lost, "at_most": lost}), "{counted}");
    assert_eq!(
        safety["reduced"]["blobs"],
        json!({"at_least": 20, "at_most": 20}),
        "each lacks one at least: {counted}"
    );
    assert_eq!(safety["without_spare"]["blobs"]["at_least"], lost - 20, "those on both: {counted}");
    assert_eq!(counted["status"], "at risk", "{counted}");
    assert!(safety["to_do"][0].as_str().unwrap().contains("bring back or replace drives 0, 1"), "{counted}");
    let words = |arguments: &[&str]| String::from_utf8(ask(arguments).stdout).unwrap();
    assert!(words(&["health"]).starts_with("at risk\n"), "{}", words(&["health"]));
    assert!(words(&["info"]).contains("survives   nothing now"), "{}", words(&["info"]));
    assert!(
        words(&["heal", "status"]).starts_with(&format!("{lost} missing shards")),
        "{}",
        words(&["heal", "status"])
    );
    assert_eq!(ask(&["health"]).status.code(), Some(1));
    assert_eq!(server.metric("sherd_health_level", &[]), 2.0);
    assert_eq!(server.metric("sherd_missing_shards", &[]), lost as f64);
    assert_eq!(server.metric("sherd_losses_survived", &[("kind", "drive")]), 0.0);
    assert_eq!(server.admin("/health/ready").unwrap().status, 200);
    // Nobody else would serve.
    let stop = ask(&["health", "--safe-to-stop", "local"]);
    assert!(stop.status.code() == Some(1) && String::from_utf8(stop.stdout).unwrap().contains("no other host"));
    let waited = ask(&["health", "--safe-to-stop", "local", "--wait", "--timeout", "1"]);
    assert!(waited.status.code() == Some(3) && String::from_utf8(waited.stdout).unwrap().contains("no other host"));
    for number in 0..20 {
        let read = s3.get("box", &number.to_string()).unwrap().expect(200);
        assert!(read.body == data::bytes(number, 200_000));
    }
}
