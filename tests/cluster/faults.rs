//! One fault at a time on each host in turn, under load: no acknowledged write is lost, no wrong bytes are read, no
//! deleted object comes back, every request succeeds within three tries, and redundancy is restored without an
//! operator.

use crate::harness::cluster::{Cluster, Shape};
use crate::harness::network::{Counts, Network, Wire};
use crate::harness::or_skipped;
use crate::harness::small_drives::SmallDrives;
use crate::trial::{Trial, alone, fault_time, hosts_in_turn, pass, rounds, seed};
use std::path::Path;
use std::time::Duration;

/// Makes a fault on each host in turn, in each round. If the faulty host is `silent`, half of the clients avoid it.
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

/// Cuts a host off from the other hosts; clients still reach it.
pub fn cut_off(cluster: &Cluster, host: usize) {
    on_bad_wires(cluster, |network| network.cut(host));
    cluster.wait_until_ready(host);
}

/// Cuts one direction: the other hosts receive what this host sends, but it receives nothing from them.
pub fn deafen(cluster: &Cluster, host: usize) {
    let ways: Vec<_> = (0..3).filter(|other| *other != host).map(|other| (other, host, Wire::CUT)).collect();
    on_bad_wires(cluster, |network| network.set(&ways));
    cluster.wait_until_ready(host);
}

/// Makes network faults for the duration of a fault; returns the counts of packets passed and dropped meanwhile.
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

/// The same for a loss of one packet in twenty in some directions; checks that more than one in two hundred of all is
/// lost.
pub fn on_lossy_wires(cluster: &Cluster, spoil: impl FnOnce(&dyn Network)) {
    let Counts { passed, dropped } = on_bad_wires(cluster, spoil);
    assert!(dropped > passed / 200, "{dropped} packets were dropped, {passed} passed");
}

/// P7, C7, N5: one of three hosts may die at any time.
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

/// N7: requests do not wait for a silent peer. N9: a stream that waits for it is logged, with its shard, stage and age.
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

/// F3: a host that is cut off refuses in time what it cannot do, so that clients succeed at another host.
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

/// Wipes hosts one after another, at least `at_least` of them, each while nothing is missing elsewhere, since no more
/// than m shards of a blob may be lost. The second host can only be refilled if the first one was.
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

/// Removes the content of a drive's directory, and the directory itself unless a file system is mounted there.
fn wipe(dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
    let left = std::fs::read_dir(dir).map_or(0, Iterator::count);
    assert_eq!(left, 0, "entries of {}", dir.display());
}

/// Wipes at least two hosts: only the second loss proves that the first host was filled again.
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

/// F3: a host whose drive has less free space than the store reserves refuses its own writes, not the cluster's.
#[test]
fn a_host_with_a_full_drive_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    full_drives("a_host_with_a_full_drive", 32 << 20);
}

/// A foreign file takes the last byte of the drive, including the store's reserve.
#[test]
fn a_host_without_a_byte_left_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    full_drives("a_host_without_a_byte_left", 0);
}
