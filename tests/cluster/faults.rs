//! One fault at a time on each host in turn, under load: nothing acknowledged is lost, nothing wrong is read, nothing deleted
//! comes back, every request succeeds within three tries, and redundancy comes back by itself.

use crate::harness::cluster::{Cluster, Shape};
use crate::harness::network::{Counts, Network, Wire};
use crate::harness::or_skipped;
use crate::harness::small_drives::SmallDrives;
use crate::trial::{Trial, alone, fault_time, hosts_in_turn, pass, rounds, seed};
use std::path::Path;
use std::time::Duration;

/// The faults of one kind: each host, as often as asked for. One that is silent is waited for by half of the clients only.
pub fn each_host(name: &str, trial: &mut Trial, silent: bool, trouble: impl Fn(&Cluster, usize)) {
    for round in 0..rounds() {
        for host in hosts_in_turn(&trial.cluster) {
            let words = format!("{name}, round {round}, host {}", trial.cluster.hosts[host].name);
            if silent {
                trial.spare(host);
            }
            trial.fault(&words, silent.then_some(host), |cluster| trouble(cluster, host));
        }
    }
}

pub fn kill(cluster: &Cluster, host: usize) {
    cluster.kill(host);
    pass(Duration::from_secs(2));
    cluster.start(host);
    cluster.wait_until_ready(host);
}

pub fn pause(cluster: &Cluster, host: usize) {
    cluster.pause(host);
    pass(fault_time());
    cluster.resume(host);
    cluster.wait_until_ready(host);
}

/// From the other hosts; clients reach it.
pub fn cut_off(cluster: &Cluster, host: usize) {
    on_bad_wires(cluster, |network| network.cut(host));
    cluster.wait_until_ready(host);
}

/// The others hear it, and it does not hear them.
pub fn deafen(cluster: &Cluster, host: usize) {
    let ways: Vec<_> = (0..3).filter(|other| *other != host).map(|other| (other, host, Wire::CUT)).collect();
    on_bad_wires(cluster, |network| network.set(&ways));
    cluster.wait_until_ready(host);
}

/// For as long as a fault lasts; what passed and was dropped meanwhile.
pub fn on_bad_wires(cluster: &Cluster, spoil: impl FnOnce(&dyn Network)) -> Counts {
    let before = cluster.network.counts();
    spoil(&*cluster.network);
    pass(fault_time());
    cluster.network.heal();
    let after = cluster.network.counts();
    let during = Counts { passed: after.passed - before.passed, dropped: after.dropped - before.dropped };
    eprintln!("{during:?}");
    assert!(during.dropped > 0, "nothing was sent that way, or it arrived");
    during
}

/// The same for a fault that takes one packet of twenty on some of the ways: of all ways it is to be one of two hundred.
pub fn on_lossy_wires(cluster: &Cluster, spoil: impl FnOnce(&dyn Network)) {
    let Counts { passed, dropped } = on_bad_wires(cluster, spoil);
    assert!(dropped > passed / 200, "{dropped} packets were dropped, {passed} passed");
}

/// P7, C7, N5: a third of the hosts may die at any time.
#[test]
fn a_killed_host_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("a_killed_host", &Shape::three(2, seed()));
    each_host("killed", &mut trial, false, kill);
    trial.end("a_killed_host");
}

/// Returns the hosts' log lines about stalled streams: stalled for three seconds.
fn quiet_streams(cluster: &Cluster) -> Vec<String> {
    let logs = cluster.hosts.iter().map(|host| host.log()).collect::<String>();
    logs.lines().filter(|line| line.contains("a stream makes no progress")).map(str::to_owned).collect()
}

/// N7: a peer that is silent is not waited for. N9: a stream that waits for it is logged, with its shard, stage and age.
#[test]
fn a_paused_host_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("a_paused_host", &Shape::three(2, seed()));
    each_host("paused", &mut trial, true, pause);
    let quiet = quiet_streams(&trial.cluster);
    assert!(!quiet.is_empty() || fault_time() < Duration::from_secs(4), "no stream was said to make no progress");
    for line in &quiet {
        let is_whole = line.contains(" shard=") || !line.contains("request=\"append\"");
        assert!(is_whole && line.contains(" stage=") && line.contains(" age_ms="), "{line}");
    }
    trial.end("a_paused_host");
}

/// F3: what a host that is cut off cannot do is refused in time, and is done elsewhere.
#[test]
fn a_host_that_is_cut_off_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("a_host_that_is_cut_off", &Shape::three(2, seed()));
    each_host("cut off", &mut trial, false, cut_off);
    trial.end("a_host_that_is_cut_off");
}

#[test]
fn hosts_that_hear_only_one_way_fail_no_request_and_lose_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("hosts_that_hear_only_one_way", &Shape::three(1, seed()));
    each_host("hears nothing", &mut trial, false, deafen);
    trial.end("hosts_that_hear_only_one_way");
}

#[test]
fn a_lossy_and_slow_network_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("a_lossy_and_slow_network", &Shape::three(2, seed()));
    for (loss_per_mille, delay_ms) in [(50, 10), (50, 0)].into_iter().take(hosts_in_turn(&trial.cluster).len()) {
        let wire = Wire { loss_per_mille, delay: Duration::from_millis(delay_ms), ..Wire::default() };
        trial.fault(&format!("{wire:?}"), None, |cluster| on_lossy_wires(cluster, |network| network.set_all(wire)));
    }
    trial.end("a_lossy_and_slow_network");
}

/// A host is lost while nothing is missing elsewhere, which is what any m shards of a blob may be lost from. At least so many
/// hosts, one after another: what the first has left is what the second is refilled from.
pub fn wipe_each(trial: &mut Trial, at_least: usize) {
    trial.under_load(|_| pass(Duration::from_secs(1))).check(None);
    trial.wait_until_whole();
    for round in 0..rounds() {
        let mut hosts = hosts_in_turn(&trial.cluster);
        while hosts.len() < at_least {
            hosts.push((hosts[0] + hosts.len()) % 3);
        }
        for host in hosts {
            trial.cluster.kill(host);
            trial.cluster.hosts[host]
                .setup
                .lock()
                .expect("no one panics with it")
                .dirs
                .iter()
                .for_each(|dir| wipe(dir));
            let words = format!("wiped, round {round}, host {}", trial.cluster.hosts[host].name);
            trial.fault_at_rest(&words, None, |cluster| {
                pass(Duration::from_secs(1));
                cluster.start(host);
                cluster.wait_until_ready(host);
            });
        }
    }
}

/// With the directory itself, unless a file system is mounted there.
fn wipe(dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
    let left = std::fs::read_dir(dir).map_or(0, Iterator::count);
    assert_eq!(left, 0, "entries of {}", dir.display());
}

/// Two at least, or nothing shows that the first was filled again.
#[test]
fn a_wiped_host_comes_back_and_is_filled_again() {
    let _alone = alone();
    let mut trial = Trial::begin("a_wiped_host", &Shape::three(2, seed()));
    wipe_each(&mut trial, 2);
    trial.end("a_wiped_host");
}

fn full_drives(name: &str, left_bytes: u64) {
    let shape = Shape::three(1, seed());
    let cluster = Cluster::laid_out(&shape);
    let Some(drives) = or_skipped(SmallDrives::below(&cluster)) else { return };
    cluster.form(shape.founders);
    let mut trial = Trial::on(cluster, shape.seed);
    each_host(name, &mut trial, false, |_, host| drives.fill(host, left_bytes, fault_time()));
    trial.end(name);
}

/// F3: a host whose drive has less free than the store keeps for itself stops its own writes, not the cluster's.
#[test]
fn a_host_with_a_full_drive_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    full_drives("a_host_with_a_full_drive", 32 << 20);
}

/// Somebody else's file takes the last byte, the store's own reserve included.
#[test]
fn a_host_without_a_byte_left_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    full_drives("a_host_without_a_byte_left", 0);
}
