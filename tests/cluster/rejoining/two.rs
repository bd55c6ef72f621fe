//! A cluster of two hosts, which are both needed for a majority: a host that lost its metadata log cannot rejoin before
//! the other one is recovered.

use super::drives::{dirs, id_on, lose, rot, shards_on, spoil};
use super::recovery::run;
use super::{BUCKET, COMES_BACK, OBJECTS, PATIENCE, bytes_of, check, put, wait_until_one_of, wait_until_whole};
use crate::harness::client::get_plain;
use crate::harness::cluster::{Cluster, Shape};
use crate::harness::{admin, eventually};
use crate::trial::{beside_others, leader, seed};

/// Waits until a host is not ready and its health has all of these words.
fn says(cluster: &Cluster, host: usize, words: &[&str]) {
    eventually(PATIENCE, "health to tell what is to be done", || {
        let health = get_plain(cluster.hosts[host].admin, "/health/ready").ok()?;
        let (status, text) = (health.status, health.text());
        (status == 503 && words.iter().all(|word| text.contains(word))).then_some(())
    });
}

fn the_one_that_lost_its_log_comes_back(damage: fn(&mut [u8])) {
    let cluster = Cluster::formed(&Shape { founders: 2, ..Shape::three(2, seed()) });
    put(&cluster, 0, 0..OBJECTS);
    wait_until_whole(&cluster);
    let lost = leader(&cluster);
    let left = 1 - lost;
    let (lost_dirs, name) = (dirs(&cluster, lost), cluster.hosts[lost].name);
    cluster.stop(lost);
    let (held, before) = (shards_on(&lost_dirs), id_on(&lost_dirs[0]));
    spoil(&lost_dirs, damage);
    cluster.start(lost);
    cluster.hosts[lost].wait_for_log(PATIENCE, COMES_BACK);
    // Both hosts report what the operator has to do, and nothing is changed.
    let named = format!("host \\\"{name}\\\" lost its copies of the metadata log");
    let words = [named.as_str(), "the 1 of 2 voters left cannot decide it", "sherd recover --yes"];
    says(&cluster, left, &words);
    says(&cluster, lost, &[&words[..], &["this host comes back to its cluster as another member"]].concat());
    let logged =
        format!("host \\\"{name}\\\" lost its copies of the metadata log, or was put back to an older state, and asks");
    let plain = logged.replace('\\', "");
    eventually(PATIENCE, "the log of the one that is left to say it", || {
        let log = cluster.hosts[left].log();
        (log.contains(&logged) || log.contains(&plain)).then_some(())
    });
    assert_eq!(id_on(&lost_dirs[0]), before);

    cluster.stop(left);
    let explained = admin::text(&run(&cluster, left, &["recover"]));
    assert!(explained.contains("lost: nothing that was acknowledged"), "{explained}");
    let done = admin::text(&run(&cluster, left, &["recover", "--yes"]));
    assert!(done.contains("the metadata group is formed anew"), "{done}");
    cluster.start(left);
    // The other host needs no further action of the operator.
    cluster.wait_until_ready(left);
    cluster.wait_until_ready(lost);
    wait_until_one_of(&cluster, 2);
    wait_until_whole(&cluster);
    let after = id_on(&lost_dirs[0]);
    assert!(after != before && id_on(&lost_dirs[1]) == after, "{before}, {after}");
    check(&cluster, &[0, 1], 0..OBJECTS);
    put(&cluster, lost, OBJECTS..OBJECTS + 4);
    let found = cluster.client(left).get(BUCKET, &OBJECTS.to_string()).expect("it answers");
    assert!(found.status == 200 && found.body == bytes_of(OBJECTS));
    cluster.stop(lost);
    let now = shards_on(&lost_dirs);
    assert!(!held.is_empty() && held.iter().all(|(shard, chunks)| now.get(shard) == Some(chunks)), "each is as it was");
}

#[test]
fn one_of_two_hosts_with_a_damaged_log_rejoins_once_the_other_is_recovered() {
    let _turn = beside_others();
    the_one_that_lost_its_log_comes_back(rot);
}

#[test]
fn one_of_two_hosts_that_lost_the_end_of_its_log_rejoins_once_the_other_is_recovered() {
    let _turn = beside_others();
    the_one_that_lost_its_log_comes_back(lose);
}

/// A recovery cuts a damaged log before it gives anything up, so the host may not go on with what is left of it.
#[test]
fn a_host_whose_recovery_failed_after_its_damaged_log_was_cut_must_rejoin() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape { founders: 2, ..Shape::three(2, seed()) });
    put(&cluster, 0, 0..OBJECTS);
    wait_until_whole(&cluster);
    let host = leader(&cluster);
    let dirs = dirs(&cluster, host);
    (0..2).for_each(|host| drop(cluster.stop(host)));
    let before = id_on(&dirs[0]);
    spoil(&dirs, rot);
    let explained = admin::text(&run(&cluster, host, &["recover"]));
    let damage = explained.lines().find_map(|line| line.strip_prefix("- its copies are not whole: "));
    let damage = damage.expect("the plan names the damage");
    // That the metadata has no host of this name is found once the log is cut.
    let setup = cluster.hosts[host].setup.lock().expect("no one panics with it").clone();
    let misnamed = setup.with("SHERD_HOST", "z").with("SHERD_JOIN", "127.0.0.1:1");
    let failed = misnamed.run(&["recover", "--yes"]);
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && said.contains("the metadata has no host"), "{said}");
    for dir in &dirs {
        let record = std::fs::read_to_string(dir.join("rejoin.json")).expect("it is recorded on every drive");
        assert!(record.contains("\"decided\": true"), "{record}");
    }

    let again = admin::text(&run(&cluster, host, &["recover"]));
    assert!(again.contains(damage) && !again.contains("lost: nothing that was acknowledged"), "{again}");
    cluster.start(host);
    cluster.hosts[host].wait_for_log(PATIENCE, COMES_BACK);
    assert_eq!(id_on(&dirs[0]), before);
    cluster.stop(host);
    let done = admin::text(&run(&cluster, host, &["recover", "--yes"]));
    assert!(done.contains(damage) && done.contains("the metadata group is formed anew"), "{done}");
    assert_ne!(id_on(&dirs[0]), before);
    assert!(dirs.iter().all(|dir| !dir.join("rejoin.json").exists()));
}
