//! The measured store: one server, or all hosts of a cluster together.

use crate::harness::client::{S3, get_plain};
use crate::harness::cluster::{self, Cluster};
use crate::harness::process::Process;
use crate::harness::server::{Server, series_in};
use crate::harness::sigv4::Keys;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The hosts of the measured store: process, S3 address, admin address.
#[derive(Debug)]
pub struct Target {
    hosts: Vec<(Process, SocketAddr, SocketAddr)>,
    keys: Keys,
}

impl From<&Server> for Target {
    fn from(server: &Server) -> Self {
        Self { hosts: vec![(server.process(), server.s3, server.admin)], keys: server.keys.clone() }
    }
}

impl From<&Cluster> for Target {
    fn from(cluster: &Cluster) -> Self {
        let hosts = cluster.hosts.iter().map(|host| (host.process(), host.s3, host.admin)).collect();
        Self { hosts, keys: cluster::keys() }
    }
}

impl Target {
    /// Returns a client for a worker. Workers are spread over the hosts.
    pub fn client(&self, worker: usize) -> S3 {
        S3::new(self.hosts[worker % self.hosts.len()].1, self.keys.clone())
    }

    fn processes(&self) -> impl Iterator<Item = Process> + '_ {
        self.hosts.iter().map(|(process, ..)| *process)
    }

    pub fn reset_resident_peak(&self) {
        self.processes().for_each(Process::reset_resident_peak);
    }

    /// Returns the peak memory of the host that used most.
    pub fn resident_bytes_peak(&self) -> u64 {
        self.processes().map(Process::resident_bytes_peak).max().unwrap_or_default()
    }

    pub fn cpu(&self) -> Duration {
        self.processes().map(Process::cpu).sum()
    }

    pub fn cpu_by_thread(&self) -> BTreeMap<String, Duration> {
        let mut found: BTreeMap<String, Duration> = BTreeMap::new();
        for (name, cpu) in self.processes().flat_map(Process::cpu_by_thread) {
            *found.entry(name).or_default() += cpu;
        }
        found
    }

    pub fn written_bytes(&self) -> u64 {
        self.processes().map(|process| process.disk_bytes().written).sum()
    }

    /// Returns the syncs of each log of each drive.
    pub fn syncs(&self) -> BTreeMap<String, f64> {
        let mut found = BTreeMap::new();
        for (_, _, admin) in &self.hosts {
            let text = get_plain(*admin, "/metrics").expect("metrics are served").text();
            let series = series_in(&text, "sherd_wal_syncs_total");
            found.extend(series.into_iter().map(|(labels, count)| (format!("{admin}{labels}"), count)));
        }
        found
    }
}
