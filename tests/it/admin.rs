//! Tests of `sherd admin` and the admin API: permissions, the output of each command, and the inventory of a stopped
//! host, which must agree with the metadata shard by shard.

use crate::harness::admin::{self, Shards, inventory, json, shards, text};
use crate::harness::server::{Server, Setup};
use crate::harness::sigv4::Keys;
use crate::harness::{data, eventually, lose_drive};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

/// Runs `sherd admin` with these arguments on this server, with its keys.
fn admin(server: &Server, arguments: &[&str]) -> Output {
    admin_as(server, &server.keys, arguments)
}

fn admin_as(server: &Server, keys: &Keys, arguments: &[&str]) -> Output {
    admin::run(server.admin, keys, arguments)
}

fn expected(server: &Server) -> Shards {
    shards(&text(&admin(server, &["shards", "--json"])))
}

/// Returns every file below a directory, with its length and modification time.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let about = entry.metadata().unwrap();
            if about.is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path(), (about.len(), about.modified().unwrap()));
        }
    }
    found
}

fn fill(server: &Server) {
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    for (number, len) in [100, 20_000, 300_000, (2 << 20) + 7].into_iter().enumerate() {
        s3.put("box", &format!("k{number}"), &data::bytes(number as u64, len)).unwrap().expect(200);
    }
    let parts = [data::bytes(1, 5 << 20), data::bytes(2, 77_777)];
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    s3.put_multipart("box", "parts", &parts).unwrap().expect(200);
}

#[test]
fn strangers_are_refused_and_health_and_metrics_stay_open() {
    let (_root, server) = Server::fresh();
    for (keys, code) in [
        (Keys::new("stranger", &server.keys.secret), "InvalidAccessKeyId"),
        (Keys::new(&server.keys.access, "some-other-secret"), "SignatureDoesNotMatch"),
    ] {
        let refused = admin_as(&server, &keys, &["info"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8(refused.stderr).unwrap().contains(code));
    }
    for path in ["/admin/v1/info", "/admin/v1/shards", "/admin/v1/nothing"] {
        let answer = server.admin(path).unwrap().expect(403);
        let fault: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(fault["code"], "AccessDenied", "{path}");
    }
    for path in ["/health/live", "/health/ready", "/metrics"] {
        server.admin(path).unwrap().expect(200);
    }
}

/// The policy of docs/how-to/users.md.
#[test]
fn a_user_with_the_watch_policy_sees_everything_and_changes_nothing() {
    let (root, server) = Server::fresh();
    let policy = root.path().join("watch.json");
    let document = r#"{ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": ["admin:Get*", "admin:List*"], "Resource": "*" } ] }"#;
    fs::write(&policy, document).unwrap();
    for command in [
        &["policy", "create", "watch", policy.to_str().unwrap()][..],
        &["user", "create", "monitoring"],
        &["user", "attach", "monitoring", "watch"],
    ] {
        text(&admin(&server, command));
    }
    let key = json(&admin(&server, &["key", "create", "--user", "monitoring", "--json"]));
    let field = |name: &str| key[name].as_str().unwrap().to_owned();
    let keys = Keys::new(&field("AccessKeyId"), &field("SecretAccessKey"));
    for command in [
        &["info"][..],
        &["drives"],
        &["layout", "show"],
        &["heal", "status"],
        &["scrub", "status"],
        &["clock", "show"],
        &["bucket", "list"],
        &["encryption-key", "list"],
        &["shards", "--json"],
    ] {
        let output = admin_as(&server, &keys, command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for command in [
        &["heal", "start"][..],
        &["scrub", "start"],
        &["layout", "drain", "0"],
        &["user", "create", "mallory"],
        &["user", "attach", "monitoring", "AdministratorAccess"],
        &["encryption-key", "rotate", "sse-s3"],
    ] {
        let output = admin_as(&server, &keys, command);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && told.contains("AccessDenied"), "{command:?}: {told}");
    }
}

#[test]
fn info_drives_and_layout_describe_the_store() {
    let (_root, server) = Server::fresh_four();
    fill(&server);
    let info = json(&admin(&server, &["info", "--json"]));
    assert_eq!(info["geometry"], serde_json::json!({"data": 2, "parity": 2}));
    let guarantee = &info["guarantee"];
    assert_eq!((guarantee["hosts"].as_u64(), guarantee["drives"].as_u64()), (Some(0), Some(2)), "{guarantee}");
    assert_eq!((info["counts"]["buckets"].as_u64(), info["counts"]["objects"].as_u64()), (Some(1), Some(5)));
    let host = &info["hosts"][0];
    assert_eq!((&host["id"], &host["metadata"], &info["leader"]), (&info["host"], &"leader".into(), &info["host"]));
    assert_eq!(host["roles"], serde_json::json!(["gateway", "meta", "storage"]));
    assert_eq!((&host["state"], &host["version"]), (&"up".into(), &info["version"]));
    let capacity = |of: &str| info["capacity"][of].as_u64().unwrap();
    assert!(0 < capacity("usable_bytes") && capacity("usable_bytes") < capacity("free_bytes"), "{info}");
    assert!(capacity("free_bytes") < capacity("total_bytes"), "{info}");
    let drives = json(&admin(&server, &["drives", "--json"]));
    assert_eq!(drives.as_array().unwrap().len(), 4);
    assert!(drives.as_array().unwrap().iter().all(|drive| drive["in_service"] == true), "{drives}");
    let layout = json(&admin(&server, &["--json", "layout", "show"]));
    assert_eq!(layout["nodes"].as_array().unwrap().len(), 4);
    assert_eq!((&layout["nodes"][3]["out_of_service"], &layout["nodes"][3]["shards"]), (&Value::Null, &5.into()));
    let words = text(&admin(&server, &["info"]));
    assert!(
        words.contains("drives 0, 1, 2, 3 of host") && words.contains("are directories of one file system"),
        "{words}"
    );
    assert!(words.contains("survives 2 drives") && words.contains("5 objects in 1 buckets"), "{words}");
    assert!(text(&admin(&server, &["layout", "show"])).contains("in service"));
    assert_eq!(text(&admin(&server, &["drives"])).lines().count(), 5);
    let buckets = json(&admin(&server, &["bucket", "list", "--json"]));
    let bucket = &buckets[0];
    assert_eq!((buckets.as_array().unwrap().len(), &bucket["objects"], &bucket["versions"]), (1, &5.into(), &0.into()));
    assert!(bucket["bytes"].as_u64().unwrap() > 0 && bucket["objects_max"].is_null(), "{bucket}");
    assert_eq!((&bucket["account"], &bucket["parts_bytes"]), (&"000000000000".into(), &0.into()));
    assert!(text(&admin(&server, &["bucket", "list"])).lines().nth(1).unwrap().contains(" 5 "), "{bucket}");
}

#[test]
fn admin_health_fails_with_reasons_when_a_drive_is_lost() {
    let (_root, server) = Server::fresh_four();
    eventually(Duration::from_secs(60), "all drives to be compared", || {
        let output = admin(&server, &["health"]);
        (output.status.success() && output.stdout.starts_with(b"ok\n")).then_some(())
    });
    lose_drive(&server.setup().dirs[1]);
    let failing = eventually(Duration::from_secs(60), "a lost drive to be noticed", || {
        Some(admin(&server, &["health"])).filter(|output| output.status.code() == Some(1))
    });
    let words = String::from_utf8(failing.stdout).unwrap();
    assert!(words.starts_with("degraded\n") && words.contains("1 of 4 drives"), "{words}");
    let told = admin(&server, &["health", "--json"]);
    assert_eq!(told.status.code(), Some(1));
    assert_eq!(serde_json::from_slice::<Value>(&told.stdout).unwrap()["status"], "degraded");
}

#[test]
fn the_clock_is_shown_and_confirmed_only_with_yes() {
    let (_root, server) = Server::fresh();
    let show = || json(&admin(&server, &["clock", "show", "--json"]));
    let shown = eventually(Duration::from_secs(60), "a confirmed time", || {
        Some(show()).filter(|shown| shown["confirmed_ms"].is_u64())
    });
    assert!(shown["ahead_ms"].as_i64().unwrap().abs() < 60_000, "{shown}");
    assert_eq!((&shown["set"]["by"], &shown["troubles"]), (&"hosts".into(), &serde_json::json!([])));
    let unsure = admin(&server, &["clock", "accept"]);
    assert_eq!(unsure.status.code(), Some(1));
    assert!(String::from_utf8(unsure.stdout).unwrap().contains("Nothing was changed"));
    assert_eq!(show()["set"]["by"], "hosts");
    let accepted = json(&admin(&server, &["clock", "accept", "--yes", "--json"]));
    assert_eq!(accepted["set"]["by"], "operator");
    assert!(text(&admin(&server, &["clock", "show"])).contains("by operator"));
}

#[test]
fn heal_start_compares_every_drive_with_the_metadata() {
    let (_root, server) = Server::fresh_four();
    fill(&server);
    let settled = || {
        let status = json(&admin(&server, &["heal", "status", "--json"]));
        (status["comparisons_due"] == serde_json::json!([]) && status["missing_shards"] == 0).then_some(())
    };
    eventually(Duration::from_secs(60), "the comparisons of the start to end", settled);
    let compared = server.metric("sherd_shards_compared_total", &[]);
    let started = json(&admin(&server, &["heal", "start", "--json"]));
    assert_eq!(started["nodes"], serde_json::json!([0, 1, 2, 3]));
    eventually(Duration::from_secs(60), "the comparisons asked for to end", settled);
    let shards = expected(&server).len() as f64;
    assert!(server.metric("sherd_shards_compared_total", &[]) >= compared + shards);
    assert!(text(&admin(&server, &["heal", "status"])).starts_with("0 missing shards\n"));
}

#[test]
fn scrub_start_finds_a_corrupt_chunk_which_is_repaired() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::drives(root.path(), 4).start();
    server.client().create_bucket("box").unwrap().expect(200);
    for key in ["first", "second", "third"] {
        server.client().put("box", key, &data::bytes(1, 2 << 20)).unwrap().expect(200);
    }
    let (setup, ..) = server.stop();
    corrupt(&setup.dirs[2].join("shards").join("00000001.seg"));
    let server = setup.start();
    let drive = |at: usize| json(&admin(&server, &["scrub", "status", "--json"]))["hosts"][0]["drives"][at].clone();
    let stranger = admin(&server, &["scrub", "start", "9"]);
    assert!(String::from_utf8(stranger.stderr).unwrap().contains("there is no drive 9"));
    for (node, corrupt) in [("2", 1), ("2", 0)] {
        let before = drive(2)["finished"].clone();
        assert_eq!(json(&admin(&server, &["scrub", "start", node, "--json"]))["nodes"], serde_json::json!([2]));
        let ended = || Some(drive(2)).filter(|drive| drive["finished"] != before && drive["wanted"] == false);
        let drive = eventually(Duration::from_secs(60), "a pass over the drive", ended);
        assert_eq!((drive["node"].as_u64(), drive["corrupt"].as_u64()), (Some(2), Some(corrupt)), "{drive}");
        let healed = || {
            let heal = json(&admin(&server, &["heal", "status", "--json"]));
            let counts = ["missing_shards", "under_replicated_objects", "corrupt_chunks", "to_repair_shards"];
            (counts.iter().all(|count| heal[*count] == 0) && heal["repaired_shards"] == 1).then_some(heal)
        };
        let heal = eventually(Duration::from_secs(60), "the chunk to be rewritten", healed);
        assert_eq!(heal["eta_seconds"], 0, "{heal}");
    }
    assert_eq!(json(&admin(&server, &["scrub", "start", "--json"]))["nodes"], serde_json::json!([0, 1, 2, 3]));
    assert_eq!(text(&admin(&server, &["scrub", "status"])).lines().count(), 9, "a host, all of them, and four drives");
}

#[test]
fn a_drive_is_drained_and_restored_and_removed_only_when_empty() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::drives(root.path(), 4).with("SHERD_SCALE", "small").start();
    fill(&server);
    let node = |node: usize| json(&admin(&server, &["layout", "show", "--json"]))["nodes"][node].clone();
    let refused = |arguments: &[&str], why: &str| {
        let output = admin(&server, arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && told.contains(why), "{arguments:?}: {told}");
    };
    let epoch = json(&admin(&server, &["layout", "show", "--json"]))["epoch"].as_u64().unwrap();
    let weighed = json(&admin(&server, &["layout", "weight", "1", "4321", "--json"]));
    assert_eq!(weighed, serde_json::json!({"epoch": epoch + 1, "nodes": [1]}));
    assert_eq!(node(1)["weight"], 4321);
    refused(&["layout", "remove", "3"], "holds 5: drain it first");
    assert!(text(&admin(&server, &["layout", "drain", "3"])).ends_with(": drive 3\n"));
    refused(&["layout", "remove", "3"], "drive 3 still holds 5 shards");
    assert_eq!((&node(3)["draining"], &node(2)["draining"]), (&true.into(), &false.into()));
    let host = json(&admin(&server, &["info", "--json"]))["hosts"][0]["name"].as_str().unwrap().to_owned();
    refused(&["layout", "drain", &host], "no drive would be left to take shards");
    refused(&["layout", "drain", "nobody"], "there is no drive and no host \"nobody\"");
    let moved_off = || (node(3)["shards"] == 0).then_some(());
    eventually(Duration::from_secs(60), "the shards to be moved off", moved_off);
    refused(&["layout", "remove", "3"], "drive 3 still has 5 shards to drop");
    let settled = || {
        let layout = json(&admin(&server, &["layout", "show", "--json"]));
        (layout["moving"]["settled"] == true).then_some(layout)
    };
    let layout = eventually(Duration::from_secs(60), "nothing to be left to be moved", settled);
    assert_eq!(layout["nodes"][3]["shards"], 0);
    assert_eq!((&layout["moving"]["shards_left"], &layout["moving"]["epoch"]), (&0.into(), &layout["epoch"]));
    assert!(text(&admin(&server, &["layout", "show"])).ends_with("nothing is left to be moved\n"));
    refused(&["layout", "remove", "3", "--lost"], "drive 3 is in service");
    let restored = json(&admin(&server, &["layout", "restore", &host, "--json"]));
    assert_eq!(restored["nodes"], serde_json::json!([0, 1, 2, 3]));
    assert_eq!(node(3)["draining"], false);
}

/// Starts a `sherd admin` that waits for a job; returns it with the lines of its standard error, which a thread reads.
fn waiting(server: &Server, arguments: &[&str]) -> (Child, mpsc::Receiver<String>) {
    let mut command = admin::command(server.admin, &server.keys, arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (said, lines) = mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
    (child, lines)
}

#[test]
fn waiting_for_a_job_ends_with_the_job_the_timeout_or_ctrl_c() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::drives(root.path(), 4).with("SHERD_SCALE", "small").start();
    fill(&server);
    let ended = |arguments: &[&str], code: i32, said: &str| {
        let output = admin(&server, arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && stderr.contains(said), "{arguments:?}: {code} {stderr}");
    };
    ended(&["heal", "start", "--wait"], 0, "repair: done\n");
    ended(&["scrub", "start", "2", "--wait"], 0, "scrub: done\n");
    let drives = || json(&admin(&server, &["scrub", "status", "--json"]))["hosts"][0]["drives"].clone();
    assert!(drives()[2]["finished"].is_u64() && drives()[1]["finished"].is_null(), "{}", drives());
    ended(&["layout", "drain", "3", "--wait", "--json"], 0, "move: done\n");
    assert_eq!(json(&admin(&server, &["layout", "show", "--json"]))["nodes"][3]["shards"], 0);
    ended(&["layout", "restore", "3", "--wait"], 0, "move: done\n");
    let layout = json(&admin(&server, &["layout", "show", "--json"]));
    assert_eq!((&layout["moving"]["settled"], &layout["moving"]["epoch"]), (&true.into(), &layout["epoch"]));
    // The shards on a lost drive are missing until it is back.
    lose_drive(&server.setup().dirs[1]);
    eventually(Duration::from_secs(60), "a lost drive to be noticed", || {
        (json(&admin(&server, &["heal", "status", "--json"]))["missing_shards"] != 0).then_some(())
    });
    ended(
        &["heal", "status", "--wait", "--timeout", "2"],
        3,
        "not done in time: it goes on, and `sherd admin heal status` shows it\n",
    );
    let (mut child, lines) = waiting(&server, &["heal", "status", "--wait"]);
    let first = lines.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(first.starts_with("repair: 0 of "), "{first}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    let last = lines.iter().last().unwrap_or_default();
    assert!(code == Some(130) && last.contains("the repair was interrupted: it goes on"), "{code:?} {last}");
    // Some shards of the drained drive belong on the lost one, which takes none.
    let host = json(&admin(&server, &["info", "--json"]))["hosts"][0]["name"].as_str().unwrap().to_owned();
    let waits = format!("bring back drive 1 of host {host}, or drain them too\n");
    ended(&["layout", "drain", "3", "--wait", "--timeout", "2"], 3, &waits);
    assert!(text(&admin(&server, &["layout", "show"])).ends_with(&waits));
}

#[test]
fn the_most_traffic_is_shown_by_account_and_by_bucket() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    for bucket in ["often", "much"] {
        s3.create_bucket(bucket).unwrap().expect(200);
    }
    s3.put("much", "k", &data::bytes(1, 1 << 20)).unwrap().expect(200);
    for _ in 0..9 {
        s3.put("often", "k", b"x").unwrap().expect(200);
        assert_eq!(s3.get("made-up", "k").unwrap().status, 404);
    }
    // A request is counted once its answer was written to the connection.
    let of = |top: &Value, list: &str| top["buckets"]["minute"][list].as_array().unwrap().clone();
    let top = eventually(Duration::from_secs(60), "all requests to be counted", || {
        let top = json(&admin(&server, &["top", "--json"]));
        (of(&top, "by_requests").first()?["requests"] == 10).then_some(top)
    });
    let names = |list: &str| of(&top, list).iter().map(|heavy| heavy["name"].clone()).collect::<Vec<_>>();
    assert_eq!(
        (names("by_requests"), names("by_bytes")),
        (vec!["often".into(), "much".into()], vec!["much".into(), "often".into()])
    );
    assert!(of(&top, "by_bytes")[0]["bytes"].as_u64().unwrap() >= 1 << 20, "{top}");
    let account = &top["accounts"]["five_minutes"]["by_requests"][0];
    assert!(account["name"].as_str().unwrap().len() == 12 && account["requests"].as_u64().unwrap() >= 21, "{top}");
    let words = text(&admin(&server, &["top", "--by", "bucket", "--minutes", "5"]));
    assert!(words.contains("often") && !words.contains("made-up") && !words.contains("ACCOUNT"), "{words}");
    assert_eq!(server.metric("sherd_top_requests", &[("by", "bucket"), ("name", "often")]), 10.0);
    assert!(server.metric("sherd_top_bytes", &[("by", "bucket"), ("name", "much")]) > 1e6);
}

#[test]
fn the_forecast_of_a_full_store_is_not_shown_before_a_day_is_measured() {
    let (_root, server) = Server::fresh();
    server.client().create_bucket("box").unwrap().expect(200);
    let measured = eventually(Duration::from_secs(60), "what is stored to be measured", || {
        let info = json(&admin(&server, &["info", "--json"]));
        info["forecast"]["stored_bytes"].is_u64().then(|| info["forecast"].clone())
    });
    let unknown =
        serde_json::json!({"measured_seconds": 0, "stored_bytes": 0, "bytes_per_day": null, "full_in_seconds": null});
    assert_eq!(measured, unknown);
    let words = text(&admin(&server, &["info"]));
    assert!(words.contains("full       not known yet (0 hours measured)\n"), "{words}");
    assert_eq!(server.metric("sherd_full_in_seconds", &[]), -1.0);
}

#[test]
fn moving_the_lead_is_refused_without_another_voter() {
    let (_root, server) = Server::fresh();
    let alone = admin(&server, &["leader", "move"]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(String::from_utf8(alone.stderr).unwrap().contains("no other voter"));
    let unknown = admin(&server, &["leader", "move", "--to", "nobody"]);
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("there is no host \"nobody\" (Refused, 409)"));
    let info = json(&admin(&server, &["info", "--json"]));
    let own = info["host"].as_str().unwrap();
    assert_eq!(json(&admin(&server, &["leader", "move", "--to", own, "--json"]))["leader"], own);
}

/// W13. The inventory changes nothing on the drives.
#[test]
fn the_inventory_of_a_stopped_host_agrees_with_the_metadata_shard_by_shard() {
    let (root, server) = Server::fresh_four();
    fill(&server);
    server.client().put("box", "gone", &data::bytes(9, 100_000)).unwrap().expect(200);
    server.client().delete("box", "gone").unwrap().expect(204);
    let refused = inventory(&server.setup().dirs, true);
    assert_eq!(refused.status.code(), Some(1), "the store runs");
    assert!(String::from_utf8(refused.stderr).unwrap().contains("in use by another process"));
    let expected = expected(&server);
    assert_eq!(expected.len(), 5 * 4, "five blobs of four shards; what is small is no blob");
    let (setup, ..) = server.stop();
    let before = tree(root.path());
    let output = inventory(&setup.dirs, true);
    let mut found = shards(&text(&output));
    // The deleted object is reclaimed a minute after the delete, so its shards are still there.
    found.retain(|key, _| expected.contains_key(key));
    assert_eq!(found, expected);
    let words = text(&inventory(&setup.dirs, false));
    assert_eq!(words.matches("0 corrupt chunks").count(), 4, "{words}");
    assert_eq!(tree(root.path()), before);
    setup.start();
}

/// Flips a bit in the body of the segment's first record, which must be large.
fn corrupt(segment: &Path) {
    let file = fs::OpenOptions::new().read(true).write(true).open(segment).unwrap();
    let mut byte = [0];
    // The first record's header is in the second block, a large body begins with the third.
    file.read_exact_at(&mut byte, 3 * 4096 + 100).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 3 * 4096 + 100).unwrap();
}

#[test]
fn the_inventory_reports_a_corrupt_chunk_and_refuses_a_missing_directory() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::drives(root.path(), 4).start();
    server.client().create_bucket("box").unwrap().expect(200);
    // Later records prove that the earlier ones were synced, so that damage there is not taken for a torn end.
    for key in ["first", "second", "third"] {
        server.client().put("box", key, &data::bytes(1, 2 << 20)).unwrap().expect(200);
    }
    let expected = expected(&server);
    let (setup, ..) = server.stop();
    corrupt(&setup.dirs[2].join("shards").join("00000001.seg"));
    let output = inventory(&setup.dirs, true);
    assert_eq!(output.status.code(), Some(1));
    let lines = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bad: Vec<&Value> = rows.iter().filter(|row| row["corrupt"].as_u64().unwrap_or(0) > 0).collect();
    assert_eq!((bad.len(), bad[0]["node"].as_u64(), bad[0]["corrupt"].as_u64()), (1, Some(2), Some(1)), "{lines}");
    let shard = (bad[0]["blob"].as_str().unwrap().to_owned(), bad[0]["shard"].as_u64().unwrap(), 2);
    assert_eq!(bad[0]["chunks"].as_u64(), Some(expected[&shard] - 1));
    let nothing = inventory(&[root.path().join("none")], true);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8(nothing.stderr).unwrap().contains("there is no such directory"));
    assert!(!root.path().join("none").exists());
}

#[test]
fn admin_finds_generated_keys_in_the_data_directories() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::drives(root.path(), 2).without_keys().start();
    let admin = |data: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sherd"));
        command.env_clear().args(["admin", "health", "--url", &format!("http://{}", server.admin), "--data"]);
        command.arg(data).output().unwrap()
    };
    assert!(text(&admin(&server.setup().dirs[1])).starts_with("ok\n"));
    let without = admin(&root.path().join("elsewhere"));
    assert_eq!(without.status.code(), Some(1));
    assert!(String::from_utf8(without.stderr).unwrap().contains("SHERD_ACCESS_KEY"));
}

#[test]
fn admin_fails_if_the_host_does_not_answer() {
    let (_root, server) = Server::fresh();
    let (addr, keys) = (server.admin, server.keys.clone());
    server.kill();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sherd"));
    command.env_clear().env("SHERD_ACCESS_KEY", &keys.access).env("SHERD_SECRET_KEY", &keys.secret);
    let output = command.args(["admin", "--url", &format!("http://{addr}"), "info"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("does not answer"));
}

#[test]
fn rate_limits_are_set_listed_and_removed() {
    let (_root, server) = Server::fresh();
    server.client().create_bucket("box").unwrap().expect(200);
    let account = "000000000000";
    let set = json(&admin(&server, &["rate-limit", "set", "--bucket", "box", "--active", "2", "--json"]));
    assert_eq!((&set["bucket"], &set["requests_active_max"]), (&"box".into(), &2.into()), "{set}");
    text(&admin(&server, &["rate-limit", "set", "--account", account, "--requests", "1000", "--sent", "1GiB"]));
    let refused = admin(&server, &["rate-limit", "set", "--bucket", "box", "--sent", "1KiB"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("a limit is at least 65536"));
    let (setup, ..) = server.stop();
    let server = setup.start();
    let listed = text(&admin(&server, &["rate-limit", "list"]));
    let expected = "\
KIND     NAME          REQUESTS/S  RECEIVED/S  SENT/S   UNDER WAY
account  000000000000  1000        -           1.0 GiB  -
bucket   box           -           -           -        2
";
    assert_eq!(listed, expected);
    assert_eq!(server.client().announce_until_refused("box").unwrap(), 2);
    let refused = [("holder", "bucket"), ("limit", "active")];
    assert_eq!(server.metric("sherd_rate_refused_requests_total", &refused), 1.0);
    text(&admin(&server, &["rate-limit", "set", "--bucket", "box", "--active", "none"]));
    server.client().put("box", "k", b"x").unwrap().expect(200);
    let left = json(&admin(&server, &["rate-limit", "list", "--json"]));
    assert_eq!((left.as_array().map(Vec::len), &left[0]["account"]), (Some(1), &account.into()), "{left}");
}

#[test]
fn the_growth_of_a_bucket_is_not_known_before_a_day() {
    let (_root, server) = Server::fresh();
    fill(&server);
    let listed = json(&admin(&server, &["bucket", "list", "--json"]));
    let bucket = &listed[0];
    assert_eq!((&bucket["bytes_per_day"], &bucket["objects_per_day"]), (&Value::Null, &Value::Null), "{bucket}");
    let shown = text(&admin(&server, &["bucket", "list"]));
    assert!(shown.lines().nth(1).is_some_and(|line| line.matches("not known yet").count() == 2), "{shown}");
}
