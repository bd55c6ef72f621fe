//! A trial: a cluster under the load of several clients while a fault is made, and the checks afterwards.

use crate::harness::admin::Shards;
use crate::harness::client::Body;
use crate::harness::cluster::{Cluster, Host, Shape};
use crate::harness::eventually;
use crate::harness::settings::number;
use crate::load::{BUCKET, Client};
use crate::report::Report;
use crate::retries::CLIENT_TIMEOUT;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

const CLIENTS: usize = 4;
/// The time until redundancy is restored.
const HEAL_TIMEOUT: Duration = Duration::from_secs(120);
/// The metrics that show missing redundancy.
const LACKING: [&str; 2] = ["sherd_missing_shards", "sherd_comparisons_due"];

static CLUSTERS: RwLock<()> = RwLock::new(());

/// Waits until no other test runs a cluster: those whose load takes all of a small machine would miss their timeouts
/// beside others.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    CLUSTERS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no test runs that must be alone: this one mostly waits for its hosts.
pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    CLUSTERS.read().unwrap_or_else(PoisonError::into_inner)
}

pub fn seed() -> u64 {
    number("SHERD_FAULT_SEED").unwrap_or(1)
}

/// Returns the duration of a fault.
pub fn fault_time() -> Duration {
    Duration::from_secs(number("SHERD_FAULT_SECONDS").unwrap_or(4))
}

/// Returns the number of times that each host gets each fault.
pub fn rounds() -> u64 {
    number("SHERD_FAULT_ROUNDS").unwrap_or(1)
}

/// Returns the hosts that get each fault, the leader first.
pub fn hosts_in_turn(cluster: &Cluster) -> Vec<usize> {
    let wanted = number("SHERD_FAULT_HOSTS").unwrap_or(1);
    let count = usize::try_from(wanted).unwrap_or(usize::MAX).clamp(1, cluster.hosts.len());
    let first = leader(cluster);
    (0..count).map(|step| (first + step) % cluster.hosts.len()).collect()
}

pub fn leader(cluster: &Cluster) -> usize {
    eventually(Duration::from_secs(30), "one host to lead", || {
        let leads = |host: &&Host| host.metric("sherd_raft_is_leader") == Some(1.0);
        cluster.hosts.iter().find(leads).map(Host::number)
    })
}

pub struct Trial {
    pub cluster: Cluster,
    clients: Vec<Client>,
    pub total: Report,
}

impl Trial {
    pub fn begin(name: &str, shape: &Shape) -> Self {
        eprintln!("{name}: to repeat: SHERD_FAULT_SEED={} cargo test --test cluster {name}", shape.seed);
        let begun = Instant::now();
        let trial = Self::on(Cluster::formed(shape), shape.seed);
        eprintln!("{name}: formed and written to after {:?}", begun.elapsed());
        trial
    }

    pub fn on(cluster: Cluster, seed: u64) -> Self {
        let s3 = cluster.client(0);
        eventually(Duration::from_secs(60), "the cluster to take a bucket", || {
            (s3.create_bucket(BUCKET).ok()?.status == 200).then_some(())
        });
        let client = |number| Client::new(cluster.clients(CLIENT_TIMEOUT), number, seed);
        let clients = (0..CLIENTS).map(client).collect();
        Self { cluster, clients, total: Report::default() }
    }

    /// Runs the load of all clients while `trouble` is made; returns their report.
    pub fn under_load(&mut self, trouble: impl FnOnce(&Cluster)) -> Report {
        let is_over = AtomicBool::new(false);
        let cluster = &self.cluster;
        std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .clients
                .iter_mut()
                .map(|client| scope.spawn(|| client.run(&|| is_over.load(Ordering::SeqCst))))
                .collect();
            // Is set even if the trouble panics, so that the clients end.
            let ending = SetWhenDropped(&is_over);
            trouble(cluster);
            drop(ending);
            for thread in threads {
                thread.join().expect("a client only records");
            }
        });
        self.take_reports()
    }

    /// Each client waits for so long after each request: the load is there, and leaves the machine to what is tested.
    pub fn slow_down(&mut self, pause: Duration) {
        self.clients.iter_mut().for_each(|client| client.pause = pause);
    }

    /// Half of the clients send nothing to this host until everything was verified, so that the other hosts have load
    /// while the other half of the clients waits for this host.
    pub fn spare(&mut self, host: usize) {
        self.clients.iter_mut().step_by(2).for_each(|client| client.spare(host));
    }

    fn take_reports(&mut self) -> Report {
        let mut report = Report::default();
        for client in &mut self.clients {
            report.add(std::mem::take(&mut client.report));
        }
        self.total.add(report.clone());
        report
    }

    /// Makes a fault with load before, during and after it. Then redundancy must be restored, and all objects be as
    /// acknowledged.
    pub fn fault(&mut self, words: &str, silent: Option<usize>, trouble: impl FnOnce(&Cluster)) {
        self.fault_at_rest(words, silent, |cluster| {
            pass(Duration::from_millis(500));
            trouble(cluster);
        });
    }

    /// The same without load before the fault, so that no shard is missing when the fault begins.
    pub fn fault_at_rest(&mut self, words: &str, silent: Option<usize>, trouble: impl FnOnce(&Cluster)) {
        let begun = Instant::now();
        let report = self.under_load(|cluster| {
            trouble(cluster);
            pass(Duration::from_secs(1));
        });
        eprintln!("{words}: {}", report.words());
        report.check(silent);
        assert!(report.requests >= 20, "only {} requests", report.requests);
        let healing = Instant::now();
        self.wait_until_whole();
        let healed = healing.elapsed();
        self.verify();
        let shards = self.compare_inventories();
        eprintln!("{words}: whole again after {healed:?}, {shards} shards compared, all in {:?}", begun.elapsed());
    }

    /// Compares the inventories of the stopped hosts' drives with the metadata, shard by shard. The last host is
    /// killed, since it would wait for the others in vain. Drives may hold more shards: of objects just deleted, or
    /// never acknowledged.
    pub fn compare_inventories(&self) -> usize {
        let cluster = &self.cluster;
        let hosts: Vec<usize> = cluster.hosts.iter().filter(|host| host.is_running()).map(Host::number).collect();
        let expected = cluster.shards_expected(hosts[0]);
        let (last, others) = hosts.split_last().expect("a host runs");
        for &host in others {
            cluster.stop(host);
        }
        cluster.kill(*last);
        let mut held = Shards::new();
        for &host in &hosts {
            held.extend(cluster.shards_held(host));
        }
        for &host in &hosts {
            cluster.start(host);
        }
        for (shard, chunks) in &expected {
            let found = held.get(shard);
            assert_eq!(found, Some(chunks), "{shard:?} is to have {chunks} chunks; {found:?} were found");
        }
        hosts.iter().for_each(|&host| cluster.wait_until_ready(host));
        expected.len()
    }

    /// Returns the bytes of all objects that exist.
    pub fn object_bytes(&self) -> u64 {
        let objects = self.clients.iter().flat_map(|client| client.ledger.existing());
        objects.map(|(_, made)| made.content.lens.iter().sum::<usize>() as u64).sum()
    }

    /// Waits until no running host lacks shards, and none is busy with a request.
    #[track_caller]
    pub fn wait_until_whole(&self) {
        let end = Instant::now() + HEAL_TIMEOUT;
        loop {
            let lacking = self.lacking();
            if lacking.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "not whole after {HEAL_TIMEOUT:?}: {}", lacking.join(", "));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn lacking(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut is_told = false;
        for host in self.cluster.hosts.iter().filter(|host| host.is_running()) {
            if !host.is_ready() {
                found.push(format!("{} is not ready", host.name));
            }
            // A host without drives may not publish this metric.
            is_told |= host.metric(LACKING[0]).is_some();
            for name in LACKING {
                if let Some(count) = host.metric(name).filter(|count| *count != 0.0) {
                    found.push(format!("{}: {name} is {count}", host.name));
                }
            }
            if host.metric("sherd_s3_requests_active").is_some_and(|active| active > 0.0) {
                found.push(format!("{} is busy", host.name));
            }
        }
        if !is_told {
            found.push(format!("no host tells {}", LACKING[0]));
        }
        if found.is_empty() {
            // Metrics may be a second old; the admin API is up to date.
            let first = self.cluster.hosts.iter().find(|host| host.is_running()).expect("a host runs").number();
            match self.cluster.try_admin(first, &["heal", "status"]) {
                output if !output.status.success() => found.push("heal status is not answered".to_owned()),
                output => {
                    let missing = &crate::harness::admin::json(&output)["missing_shards"];
                    found.extend((*missing != 0).then(|| format!("{missing} shards are missing")));
                }
            }
        }
        found
    }

    /// Verifies every key on every host, with nothing else under way.
    pub fn verify(&mut self) {
        std::thread::scope(|scope| {
            for client in &mut self.clients {
                scope.spawn(|| client.verify());
            }
        });
        let report = self.take_reports();
        report.check(None);
        self.nothing_unknown_is_listed();
        self.replicas_are_the_same();
    }

    /// Checks that each running host has compared its replica with all others and found them equal, up to the entries
    /// that any host had applied before.
    fn replicas_are_the_same(&self) {
        let running = || self.cluster.hosts.iter().filter(|host| host.is_running());
        let info = |number| {
            let output = self.cluster.try_admin(number, &["info"]);
            output.status.success().then(|| crate::harness::admin::json(&output))
        };
        let applied = running().filter_map(|host| info(host.number())?["applied"].as_u64()).max();
        let applied = applied.expect("a host that runs says what it has applied");
        let lacking = || {
            let mut found = Vec::new();
            for host in running() {
                let replicas = info(host.number()).and_then(|info| info["replicas"].as_array().cloned());
                let replicas = replicas.unwrap_or_default();
                assert!(replicas.iter().all(|other| other["differs_at"].is_null()), "{}: {replicas:?}", host.name);
                let same = replicas.iter().filter(|other| other["same_through"].as_u64() >= Some(applied)).count();
                if same + 1 < running().count() {
                    found.push(format!("{}: the same as {same} others through {applied}: {replicas:?}", host.name));
                }
            }
            found
        };
        let began = Instant::now();
        loop {
            let found = lacking();
            if found.is_empty() {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{found:?}");
            pass(Duration::from_millis(500));
        }
    }

    /// Checks that no listing has an object that no client wrote.
    fn nothing_unknown_is_listed(&self) {
        let listed = self.cluster.client(1).call("GET", &format!("/{BUCKET}"), &[("list-type", "2")], &[], Body::None);
        let listed = crate::harness::xml::texts(&listed.expect("it answers").expect(200).text(), "Key");
        let known: Vec<&String> = self.clients.iter().flat_map(|client| client.ledger.keys()).collect();
        for key in &listed {
            assert!(known.contains(&key), "{key} is listed and was never written");
        }
        let existing: usize = self.clients.iter().map(|client| client.ledger.existing().count()).sum();
        assert_eq!(listed.len(), existing, "listed and existing objects");
    }

    pub fn end(self, name: &str) {
        let late: u64 = self.clients.iter().map(|client| client.ledger.late_seen).sum();
        eprintln!("{name}: {}; {late} unknown operations were seen to have taken effect", self.total.words());
    }
}

/// Sets a flag when dropped, also in a panic, so that threads that wait for it end.
pub struct SetWhenDropped<'a>(pub &'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Waits for a duration that is part of a fault, not for a condition.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}
