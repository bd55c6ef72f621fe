//! One fault at a time on each host in turn, under load: nothing acknowledged is lost, nothing wrong is read, nothing deleted
//! comes back, every request succeeds within three tries, and redundancy comes back by itself.

use crate::harness::cluster::{Cluster, Shape};
use crate::harness::wires::Wire;
use crate::trial::{Trial, alone, fault_time, hosts_in_turn, pass, rounds, seed};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The faults of one kind: each host, as often as asked for.
fn each_host(name: &str, trial: &mut Trial, silent: bool, trouble: impl Fn(&Cluster, usize)) {
    for round in 0..rounds() {
        for host in hosts_in_turn(&trial.cluster) {
            let words = format!("{name}, round {round}, host {}", trial.cluster.hosts[host].name);
            trial.fault(&words, silent.then_some(host), |cluster| trouble(cluster, host));
        }
    }
}

/// P7, C7, N5: a third of the hosts may die at any time.
#[test]
fn a_killed_host_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("a_killed_host", &Shape::three(2, seed()));
    each_host("killed", &mut trial, false, |cluster, host| {
        cluster.kill(host);
        pass(Duration::from_secs(2));
        cluster.start(host);
        cluster.wait_until_ready(host);
    });
    trial.end("a_killed_host");
}

/// N7: a peer that is silent is not waited for.
#[test]
fn a_paused_host_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("a_paused_host", &Shape::three(2, seed()));
    each_host("paused", &mut trial, true, |cluster, host| {
        cluster.pause(host);
        pass(fault_time());
        cluster.resume(host);
        cluster.wait_until_ready(host);
    });
    trial.end("a_paused_host");
}

/// F3: what a host that is cut off cannot do is refused in time, and is done elsewhere.
#[test]
fn a_host_that_is_cut_off_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("a_host_that_is_cut_off", &Shape::three(2, seed()));
    each_host("cut off", &mut trial, false, |cluster, host| {
        cluster.wires.cut(host);
        pass(fault_time());
        cluster.wires.set_all(Wire::default());
        cluster.wait_until_ready(host);
    });
    trial.end("a_host_that_is_cut_off");
}

#[test]
fn hosts_that_hear_only_one_way_fail_no_request_and_lose_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("hosts_that_hear_only_one_way", &Shape::three(1, seed()));
    each_host("hears nothing", &mut trial, false, |cluster, host| {
        for other in (0..3).filter(|other| *other != host) {
            cluster.wires.set(other, host, Wire { is_cut: true, ..Wire::default() });
        }
        pass(fault_time());
        cluster.wires.set_all(Wire::default());
        cluster.wait_until_ready(host);
    });
    trial.end("hosts_that_hear_only_one_way");
}

#[test]
fn a_lossy_and_slow_network_fails_no_request_and_loses_nothing() {
    let _alone = alone();
    let mut trial = Trial::begin("a_lossy_and_slow_network", &Shape::three(2, seed()));
    for (loss_per_mille, delay_ms) in [(50, 10), (50, 0)].into_iter().take(hosts_in_turn(&trial.cluster).len()) {
        let wire = Wire { loss_per_mille, delay: Duration::from_millis(delay_ms), ..Wire::default() };
        trial.fault(&format!("{wire:?}"), None, |cluster| {
            cluster.wires.set_all(wire);
            pass(fault_time());
            cluster.wires.set_all(Wire::default());
        });
    }
    let (passed, dropped) = trial.cluster.wires.counts();
    assert!(dropped > passed / 200, "{dropped} of {passed} datagrams were dropped");
    trial.end("a_lossy_and_slow_network");
}

/// One after another: what the first has left is what the second was refilled from. A host is lost while nothing is missing
/// elsewhere, which is what any m shards of a blob may be lost from.
#[test]
fn a_wiped_host_comes_back_and_is_filled_again() {
    let _alone = alone();
    let mut trial = Trial::begin("a_wiped_host", &Shape::three(2, seed()));
    trial.under_load(|_| pass(Duration::from_secs(1))).check(None);
    trial.wait_until_whole();
    for round in 0..rounds() {
        // Two at least, or nothing shows that the first was filled again.
        let mut hosts = hosts_in_turn(&trial.cluster);
        if hosts.len() == 1 {
            hosts.push((hosts[0] + 1) % 3);
        }
        for host in hosts {
            trial.cluster.kill(host);
            for dir in &trial.cluster.hosts[host].setup.lock().expect("no one panics with it").dirs {
                std::fs::remove_dir_all(dir).expect("it was there");
            }
            let words = format!("wiped, round {round}, host {}", trial.cluster.hosts[host].name);
            trial.fault_at_rest(&words, None, |cluster| {
                pass(Duration::from_secs(1));
                cluster.start(host);
                cluster.wait_until_ready(host);
            });
        }
    }
    trial.end("a_wiped_host");
}

/// File systems of a fixed size over a host's drives; unmounted when dropped.
struct SmallDrives(Vec<PathBuf>);

impl SmallDrives {
    const MEBIBYTES: u64 = 1536;

    /// `None` where the process may not mount.
    fn below(cluster: &Cluster) -> Option<Self> {
        let mut mounted = Self(Vec::new());
        for host in &cluster.hosts {
            for dir in &host.setup.lock().expect("no one panics with it").dirs {
                std::fs::create_dir_all(dir).expect("it is within the test's own directory");
                let size = format!("size={}m", Self::MEBIBYTES);
                let output =
                    Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir).output().ok()?;
                if !output.status.success() {
                    return None;
                }
                mounted.0.push(dir.clone());
            }
        }
        Some(mounted)
    }
}

impl Drop for SmallDrives {
    fn drop(&mut self) {
        for dir in &self.0 {
            let _ = Command::new("umount").arg("-l").arg(dir).status();
        }
    }
}

/// Takes the room of a drive until so much is left, for as long as a fault lasts.
fn fill(drive: &Path, left_bytes: u64) {
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
    pass(fault_time());
    drop(file);
    std::fs::remove_file(&filler).expect("it is there");
}

fn full_drives(name: &str, left_bytes: u64) {
    let shape = Shape::three(1, seed());
    let cluster = Cluster::laid_out(&shape);
    let Some(drives) = SmallDrives::below(&cluster) else {
        eprintln!("skipped: small file systems cannot be mounted here (it takes root)");
        return;
    };
    (0..3).for_each(|host| cluster.start(host));
    (0..3).for_each(|host| cluster.wait_until_ready(host));
    let mut trial = Trial::on(cluster, shape.seed);
    each_host(name, &mut trial, false, |_, host| fill(&drives.0[host], left_bytes));
    trial.end(name);
    drop(drives);
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
