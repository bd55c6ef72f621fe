//! Rejoining: hosts whose copy of the metadata is unusable return as other members, with the shards on their drives.

mod drives;
mod recovery;
mod two;
mod wiped;

use crate::harness::client::{S3, get_plain};
use crate::harness::cluster::{Cluster, Shape};
use crate::harness::server::series_in;
use crate::harness::{admin, data, eventually, lose_drive};
use crate::retries::with_retries;
use crate::trial::{beside_others, leader, pass, seed};
use drives::{copies_of, dirs, has_a_copy, id_on, lose, rot, shards_on, spoil, spoil_snapshots, swap};
use serde_json::Value;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const BUCKET: &str = "kept";
const OBJECTS: u64 = 16;
const COMES_BACK: &str = "this host comes back to its cluster as another member, with the shards";

/// Returns the bytes of an object. Every fourth object is small enough to be stored in the metadata.
fn bytes_of(object: u64) -> Vec<u8> {
    data::bytes(object, if object % 4 == 3 { 900 } else { 300_000 })
}

fn put(cluster: &Cluster, at: usize, objects: Range<u64>) {
    let s3 = cluster.client(at);
    eventually(PATIENCE, "a bucket to be made", || {
        matches!(s3.create_bucket(BUCKET).ok()?.status, 200 | 409).then_some(())
    });
    let mut random = data::Random::new(seed());
    for object in objects {
        let put = |s3: &S3| s3.put(BUCKET, &object.to_string(), &bytes_of(object));
        let tried = with_retries(&[cluster.client(at)], &mut random, put);
        assert_eq!(tried.status(), 200, "{}", tried.words());
    }
}

fn check(cluster: &Cluster, hosts: &[usize], objects: Range<u64>) {
    let mut random = data::Random::new(seed());
    for &host in hosts {
        for object in objects.clone() {
            let get = |s3: &S3| s3.get(BUCKET, &object.to_string());
            let tried = with_retries(&[cluster.client(host)], &mut random, get);
            assert_eq!(tried.status(), 200, "object {object} at host {host}: {}", tried.words());
            let found = tried.answer.expect("it has a status").body;
            assert!(found == bytes_of(object), "object {object} at host {host}");
        }
    }
}

/// Waits until all running hosts report that no shard is missing and no comparison is due.
fn wait_until_whole(cluster: &Cluster) {
    eventually(PATIENCE, "nothing to be missing", || {
        let running = || cluster.hosts.iter().filter(|host| host.is_running());
        let is_zero = |name: &str| {
            let counts: Vec<f64> = running().filter_map(|host| host.metric(name)).collect();
            !counts.is_empty() && counts.iter().all(|count| *count == 0.0)
        };
        let is_whole = running().all(|host| host.is_ready())
            && is_zero("sherd_missing_shards")
            && is_zero("sherd_comparisons_due");
        is_whole.then_some(())
    });
}

/// Sums a metric over every host that runs.
fn sum(cluster: &Cluster, name: &str) -> f64 {
    cluster.hosts.iter().filter(|host| host.is_running()).filter_map(|host| host.metric(name)).sum()
}

/// Waits until the cluster has three hosts, which all vote, and all replicas are known to be the same.
fn wait_until_one(cluster: &Cluster) {
    wait_until_one_of(cluster, 3);
}

/// The same with this many hosts.
fn wait_until_one_of(cluster: &Cluster, count: usize) {
    eventually(PATIENCE, "all hosts to vote and to have applied the same", || {
        pass(Duration::from_millis(300));
        let mut shown = Vec::new();
        for host in 0..count {
            let output = cluster.try_admin(host, &["info"]);
            shown.push(output.status.success().then(|| admin::json(&output))?);
        }
        let applied = shown.iter().map(|info| info["applied"].as_u64()).min()?;
        let is_one = |info: &Value| {
            let hosts = info["hosts"].as_array()?;
            let voters =
                hosts.iter().filter(|host| host["metadata"] == "leader" || host["metadata"] == "voter").count();
            let replicas = info["replicas"].as_array()?;
            assert!(replicas.iter().all(|other| other["differs_at"].is_null()), "{info}");
            let same = replicas.iter().filter(|other| other["same_through"].as_u64() >= applied).count();
            (hosts.len() == count && voters == count && same + 1 == count).then_some(())
        };
        shown.iter().all(|info| is_one(info).is_some()).then_some(())
    });
}

/// Starts a host that must rejoin, and waits until it is one of three voters again. Checks that no shard was repaired
/// or moved meanwhile.
fn rejoins(cluster: &Cluster, host: usize) {
    let written = || ["sherd_repaired_bytes_total", "sherd_moved_bytes_total"].map(|name| sum(cluster, name));
    let before = written();
    cluster.start(host);
    cluster.hosts[host].wait_for_log(PATIENCE, COMES_BACK);
    cluster.wait_until_ready(host);
    wait_until_one(cluster);
    wait_until_whole(cluster);
    assert_eq!(written(), before, "its shards are whole, and where they belong");
}

#[test]
fn a_host_that_lost_its_metadata_log_rejoins_with_its_shards() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(2, seed()));
    put(&cluster, 0, 0..OBJECTS);
    wait_until_whole(&cluster);
    let first = leader(&cluster);
    for (host, damage) in [(first, rot as fn(&mut [u8])), ((first + 1) % 3, lose)] {
        let dirs = dirs(&cluster, host);
        cluster.stop(host);
        let (held, before) = (shards_on(&dirs), id_on(&dirs[0]));
        spoil(&dirs, damage);
        let copies = copies_of(&dirs);
        rejoins(&cluster, host);
        let after = id_on(&dirs[0]);
        assert!(after != before && id_on(&dirs[1]) == after, "{before}, {after}");
        check(&cluster, &[0, 1, 2], 0..OBJECTS);
        let shown = cluster.hosts[host].log();
        let aside = dirs[0].join("set-aside/1");
        let words = aside.display().to_string();
        assert!(aside.join("meta/log").is_dir() && shown.contains(&words));
        let health = get_plain(cluster.hosts[host].admin, "/health/ready").expect("it answers").text();
        assert!(health.contains(&words), "{health}");
        // The former member must never take part again, with a damaged log or a whole one.
        cluster.stop(host);
        assert_eq!(shards_on(&dirs), held, "each shard is the one that it was");
        swap(&dirs, &copies);
        cluster.start(host);
        let ended = eventually(PATIENCE, "the former member to end", || cluster.hosts[host].ended());
        assert!(!ended.status.success() && ended.stderr.contains("these directories are of host"), "{}", ended.stderr);
        cluster.forget(host);
        swap(&dirs, &copies);
        cluster.start(host);
        cluster.wait_until_ready(host);
        wait_until_one(&cluster);
    }
    put(&cluster, first, OBJECTS..OBJECTS + 4);
    check(&cluster, &[0, 1, 2], 0..OBJECTS + 4);
}

#[test]
fn a_host_with_only_identity_files_left_rejoins_and_is_filled() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(2, seed()));
    put(&cluster, 0, 0..OBJECTS);
    wait_until_whole(&cluster);
    let host = leader(&cluster);
    let dirs = dirs(&cluster, host);
    cluster.stop(host);
    let before = id_on(&dirs[0]);
    for dir in &dirs {
        ["meta", "state", "shards", "index"].iter().for_each(|part| lose_drive(&dir.join(part)));
    }
    cluster.start(host);
    cluster.hosts[host].wait_for_log(PATIENCE, COMES_BACK);
    cluster.wait_until_ready(host);
    wait_until_one(&cluster);
    wait_until_whole(&cluster);
    assert_ne!(id_on(&dirs[0]), before);
    check(&cluster, &[0, 1, 2], 0..OBJECTS);
}

#[test]
fn a_host_with_lost_tables_and_damaged_snapshots_rejoins_with_its_shards() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(2, seed()).with("SHERD_SCALE", "small"));
    put(&cluster, 0, 0..OBJECTS);
    let host = (leader(&cluster) + 1) % 3;
    let mut random = data::Random::new(seed());
    // Writes enough inline objects that a snapshot is taken and the log below it is purged.
    for filler in 0..240 {
        let put = |s3: &S3| s3.put(BUCKET, &format!("filler-{filler}"), &data::bytes(filler, 16 << 10));
        assert_eq!(with_retries(&[cluster.client(0)], &mut random, put).status(), 200);
    }
    eventually(PATIENCE, "the log to begin with a snapshot", || {
        let metrics = get_plain(cluster.hosts[host].admin, "/metrics").ok()?.text();
        let purged = series_in(&metrics, "sherd_raft_index").get("{position=\"purged\"}").copied();
        (purged > Some(0.0)).then_some(())
    });
    wait_until_whole(&cluster);
    let dirs = dirs(&cluster, host);
    cluster.stop(host);
    let (held, before) = (shards_on(&dirs), id_on(&dirs[0]));
    spoil_snapshots(&dirs);
    dirs.iter().for_each(|dir| lose_drive(&dir.join("state")));
    cluster.start(host);
    cluster.hosts[host].wait_for_log(PATIENCE, "the metadata snapshot is damaged on every drive that has it");
    cluster.wait_until_ready(host);
    wait_until_one(&cluster);
    let after = id_on(&dirs[0]);
    assert!(after != before && id_on(&dirs[1]) == after, "{before}, {after}");
    check(&cluster, &[0, 1, 2], 0..OBJECTS);
    cluster.stop(host);
    let now = shards_on(&dirs);
    assert!(held.iter().all(|(shard, chunks)| now.get(shard) == Some(chunks)), "each shard is the one that it was");
}

#[test]
fn a_former_member_with_a_whole_log_is_refused_by_its_cluster() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(2, seed()));
    put(&cluster, 0, 0..OBJECTS);
    wait_until_whole(&cluster);
    let host = (leader(&cluster) + 1) % 3;
    let dirs = dirs(&cluster, host);
    cluster.stop(host);
    let copies = copies_of(&dirs);
    let setup = cluster.hosts[host].setup.lock().expect("no one panics with it").clone();
    // An operator may order a rejoin of a host that is whole.
    let explained = setup.run(&["rejoin"]);
    let words = admin::text(&explained);
    assert!(words.contains("are kept as they are") && words.contains("no metadata was changed"), "{words}");
    assert!(admin::text(&setup.run(&["rejoin", "--yes"])).contains("decided; start the host"));
    assert!(admin::text(&setup.run(&["rejoin", "--cancel"])).contains("goes on as host"));
    assert!(admin::text(&setup.run(&["rejoin", "--yes"])).contains("decided; start the host"));
    let held = shards_on(&dirs);
    rejoins(&cluster, host);
    check(&cluster, &[0, 1, 2], 0..OBJECTS);
    cluster.stop(host);
    assert_eq!(shards_on(&dirs), held);
    swap(&dirs, &copies);
    cluster.start(host);
    let ended = eventually(PATIENCE, "the former member to end", || cluster.hosts[host].ended());
    assert!(!ended.status.success() && ended.stderr.contains("has taken the place of this one"), "{}", ended.stderr);
    cluster.forget(host);
    // A single drive of the former member among the present ones is accepted, but its metadata is not used.
    swap(&dirs, &copies);
    swap(&dirs[1..], &copies[1..]);
    cluster.start(host);
    cluster.wait_until_ready(host);
    wait_until_one(&cluster);
    assert_eq!(id_on(&dirs[0]), id_on(&dirs[1]));
    assert!(dirs[1].join("set-aside/1/meta").is_dir());
    check(&cluster, &[0, 1, 2], 0..OBJECTS);
}

#[test]
fn a_host_that_lost_all_log_copies_rejoins_with_the_shards_of_its_other_drives() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(3, seed()));
    put(&cluster, 0, 0..OBJECTS);
    wait_until_whole(&cluster);
    let host = leader(&cluster);
    let dirs = dirs(&cluster, host);
    cluster.stop(host);
    let (lost, left): (Vec<PathBuf>, Vec<PathBuf>) = dirs.iter().cloned().partition(|dir| has_a_copy(dir));
    assert_eq!((lost.len(), left.len()), (2, 1));
    let (held, held_there) = (shards_on(&left), shards_on(&lost).len());
    assert!(!held.is_empty() && held_there > 0);
    for dir in &lost {
        lose_drive(dir);
    }
    cluster.start(host);
    cluster.hosts[host].wait_for_log(PATIENCE, COMES_BACK);
    cluster.wait_until_ready(host);
    wait_until_one(&cluster);
    check(&cluster, &[0, 1, 2], 0..OBJECTS);
    cluster.stop(host);
    assert_eq!(shards_on(&left), held, "each shard is the one that it was");
    // Empty drives take the places of those that are lost.
    lost.iter().for_each(|dir| std::fs::create_dir_all(dir).expect("a directory can be made"));
    cluster.start(host);
    cluster.wait_until_ready(host);
    wait_until_whole(&cluster);
    wait_until_one(&cluster);
    check(&cluster, &[0, 1, 2], 0..OBJECTS);
    cluster.stop(host);
    assert_eq!((shards_on(&left), shards_on(&lost).len()), (held, held_there));
}

#[test]
fn two_of_three_hosts_that_lost_their_logs_cannot_rejoin_by_themselves() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(2, seed()));
    put(&cluster, 0, 0..OBJECTS);
    wait_until_whole(&cluster);
    let first = leader(&cluster);
    let lost = [first, (first + 1) % 3];
    let ids = lost.map(|host| id_on(&dirs(&cluster, host)[0]));
    let before = lost.map(|host| {
        cluster.stop(host);
        spoil(&dirs(&cluster, host), rot)
    });
    for host in lost {
        cluster.start(host);
    }
    for host in lost {
        cluster.hosts[host].wait_for_log(PATIENCE, COMES_BACK);
        cluster.hosts[host].wait_for_log(PATIENCE, "this host has not been taken into the cluster yet");
    }
    pass(Duration::from_secs(5));
    for (host, id) in lost.into_iter().zip(&ids) {
        assert!(cluster.hosts[host].ended().is_none() && !cluster.hosts[host].is_ready());
        for dir in dirs(&cluster, host) {
            assert_eq!(&id_on(&dir), id);
            assert!(dir.join("meta").is_dir() && !dir.join("set-aside").exists(), "nothing was changed");
        }
        cluster.stop(host);
    }
    // With its log put back, one host goes on under its id, so that there is a majority that the other one can rejoin.
    for (path, bytes) in &before[0] {
        std::fs::write(path, bytes).expect("it can be put back");
    }
    cluster.start(lost[0]);
    cluster.wait_until_ready(lost[0]);
    assert_eq!(id_on(&dirs(&cluster, lost[0])[0]), ids[0]);
    rejoins(&cluster, lost[1]);
    assert_ne!(id_on(&dirs(&cluster, lost[1])[0]), ids[1]);
    check(&cluster, &[0, 1, 2], 0..OBJECTS);
}

#[test]
fn a_host_restored_to_an_older_state_rejoins_with_its_shards() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(2, seed()));
    put(&cluster, 0, 0..OBJECTS);
    wait_until_whole(&cluster);
    let host = (leader(&cluster) + 1) % 3;
    let dirs = dirs(&cluster, host);
    cluster.stop(host);
    let (held, before) = (shards_on(&dirs), id_on(&dirs[0]));
    let copies = copies_of(&dirs);
    cluster.start(host);
    cluster.wait_until_ready(host);
    put(&cluster, host, OBJECTS..2 * OBJECTS);
    wait_until_one(&cluster);
    cluster.kill(host);
    swap(&dirs, &copies);
    cluster.start(host);
    // The host starts under its id, learns from another host that it lost entries, and starts again.
    cluster.hosts[host].wait_for_log(PATIENCE, "its process starts again");
    cluster.hosts[host].wait_for_log(PATIENCE, COMES_BACK);
    cluster.wait_until_ready(host);
    wait_until_one(&cluster);
    assert_ne!(id_on(&dirs[0]), before);
    wait_until_whole(&cluster);
    check(&cluster, &[0, 1, 2], 0..2 * OBJECTS);
    cluster.stop(host);
    let after = shards_on(&dirs);
    assert!(held.iter().all(|(shard, chunks)| after.get(shard) == Some(chunks)), "what it had is kept");
}
