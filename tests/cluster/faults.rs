//! One fault at a time on each host in turn, under load: nothing acknowledged is lost, nothing wrong is read, nothing deleted
//! comes back, every request succeeds within three tries, and redundancy comes back by itself.

use crate::harness::cluster::{Cluster, Shape};
use crate::harness::network::{Counts, Network, Wire};
use crate::trial::{Trial, alone, fault_time, hosts_in_turn, or_skipped, pass, rounds, seed};
use std::path::{Path, PathBuf};
use std::process::Command;
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

/// N7: a peer that is silent is not waited for.
#[test]
fn a_paused_host_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("a_paused_host", &Shape::three(2, seed()));
    each_host("paused", &mut trial, true, pause);
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

/// File systems of a fixed size over the drives, by host; unmounted when dropped.
pub struct SmallDrives(Vec<Vec<PathBuf>>);

impl SmallDrives {
    const MEBIBYTES: u64 = 1536;

    /// Or why the process may not mount.
    pub fn below(cluster: &Cluster) -> Result<Self, String> {
        let mut mounted = Self(Vec::new());
        for host in &cluster.hosts {
            mounted.0.push(Vec::new());
            for dir in &host.setup.lock().expect("no one panics with it").dirs {
                std::fs::create_dir_all(dir).expect("it is within the test's own directory");
                mount(dir).map_err(|why| format!("small file systems cannot be mounted (it takes root): {why}"))?;
                mounted.0.last_mut().expect("one was pushed").push(dir.clone());
            }
        }
        Ok(mounted)
    }

    /// Takes the room of a host's drives until so much is left on each, for as long as a fault lasts.
    pub fn fill(&self, host: usize, left_bytes: u64) {
        let fillers: Vec<PathBuf> = self.0[host].iter().map(|drive| take_room(drive, left_bytes)).collect();
        pass(fault_time());
        fillers.iter().for_each(|filler| std::fs::remove_file(filler).expect("it is there"));
    }
}

fn mount(dir: &Path) -> Result<(), String> {
    let size = format!("size={}m", SmallDrives::MEBIBYTES);
    let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir).output();
    let output = output.map_err(|error| error.to_string())?;
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or(complaint)
}

impl Drop for SmallDrives {
    /// With the directories of the drives and their hosts, which the cluster could not remove with its own.
    fn drop(&mut self) {
        for dir in self.0.iter().flatten() {
            let _ = Command::new("umount").arg("-l").arg(dir).status();
            for emptied in dir.ancestors().take(3) {
                let _ = std::fs::remove_dir(emptied);
            }
        }
    }
}

/// The file that took it.
fn take_room(drive: &Path, left_bytes: u64) -> PathBuf {
    let filler = drive.join("filler");
    let file = std::fs::File::create(&filler).expect("there is room for a name");
    let free = || rustix::fs::fstatvfs(&file).map_or(0, |space| space.f_bavail * space.f_frsize);
    let mut at = 0;
    while free() > left_bytes && at < SmallDrives::MEBIBYTES << 20 {
        let piece = (free() - left_bytes).min(64 << 20);
        if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), at, piece).is_err() {
            break;
        }
        at += piece;
    }
    assert!(at > 0, "no room was taken from {}", drive.display());
    filler
}

fn full_drives(name: &str, left_bytes: u64) {
    let shape = Shape::three(1, seed());
    let cluster = Cluster::laid_out(&shape);
    let Some(drives) = or_skipped(SmallDrives::below(&cluster)) else { return };
    cluster.form(shape.founders);
    let mut trial = Trial::on(cluster, shape.seed);
    each_host(name, &mut trial, false, |_, host| drives.fill(host, left_bytes));
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
