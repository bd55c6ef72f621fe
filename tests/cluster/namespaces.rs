//! All faults on hosts with addresses of their own in network namespaces; and faults of a cable: it can be pulled, and
//! it loses packets of clients, too.

use crate::faults::{cut_off, deafen, each_host, kill, on_lossy_wires, pause, wipe_each};
use crate::harness::cluster::{Cluster, Shape};
use crate::harness::network::Wire;
use crate::harness::network::namespaces::Namespaces;
use crate::harness::or_skipped;
use crate::harness::small_drives::SmallDrives;
use crate::trial::{Trial, alone, fault_time, pass, seed};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "hosts_with_addresses_of_their_own";
const LOSSY: Wire = Wire { is_cut: false, loss_per_mille: 50, delay: Duration::ZERO };
/// On a bridge within one machine a connection takes less than a millisecond.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

fn unplug(namespaces: &Namespaces, cluster: &Cluster, host: usize) {
    let is_reached = || TcpStream::connect_timeout(&cluster.hosts[host].s3, CONNECT_TIMEOUT).is_ok();
    assert!(is_reached(), "its cable is in");
    namespaces.unplug(host);
    assert!(!is_reached(), "its cable is out");
    pass(fault_time());
    namespaces.plug_in(host);
    cluster.wait_until_ready(host);
}

/// Makes all faults on one cluster, so that each fault meets the state that the former one has left.
fn every_fault(namespaces: &Arc<Namespaces>) {
    let shape = Shape::three(2, seed());
    let cluster = Cluster::laid_out_in(&shape, namespaces.clone());
    let Some(drives) = or_skipped(SmallDrives::below(&cluster)) else { return };
    cluster.form(shape.founders);
    let mut trial = Trial::on(cluster, shape.seed);
    each_host("killed", &mut trial, false, kill);
    each_host("paused", &mut trial, true, pause);
    each_host("cut off", &mut trial, false, cut_off);
    each_host("hears nothing", &mut trial, false, deafen);
    each_host("lossy cable", &mut trial, false, |cluster, host| {
        on_lossy_wires(cluster, |_| namespaces.set_cable(host, LOSSY));
    });
    each_host("unplugged", &mut trial, true, |cluster, host| unplug(namespaces, cluster, host));
    each_host("full", &mut trial, false, |_, host| drives.fill(host, 0, fault_time()));
    wipe_each(&mut trial, 1);
    trial.end(NAME);
}

#[test]
fn hosts_with_addresses_of_their_own_bear_every_fault() {
    let _alone = alone();
    let made = Namespaces::make(3).map_err(|why| format!("network namespaces cannot be made (it takes root): {why}"));
    let Some(namespaces) = or_skipped(made) else { return };
    let namespaces = Arc::new(namespaces);
    eprintln!("{NAME}: to repeat: SHERD_FAULT_SEED={} cargo test --test cluster {NAME}", seed());
    namespaces.within_hub(|| every_fault(&namespaces));
}
