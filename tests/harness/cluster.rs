//! Several hosts of the real binary, each with directories, ports and environment of its own; the network between them is
//! the test's. The test's threads share it: one makes trouble while others send requests.

use super::admin::{self, Shards};
use super::client::{S3, get_plain};
use super::eventually;
use super::network::Network;
use super::network::wires::Wires;
use super::process::Process;
use super::server::{ACCESS_KEY, BINARY, Ended, SECRET_KEY, Server, Setup, series_in, tail};
use super::sigv4::Keys;
use rustix::process::Signal;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const CLUSTER_SECRET: &str = "a-secret-of-tests-0123456789abcdef";
/// Three debug builds on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// The shape of a cluster.
#[derive(Clone, Debug)]
pub struct Shape {
    pub founders: usize,
    /// Hosts that are not founders; they are started by the test, by `SHERD_JOIN`.
    pub joiners: usize,
    pub drives: usize,
    pub environment: Vec<(String, String)>,
    pub seed: u64,
    /// The hosts reach each other without the test's fronts between them.
    pub is_direct: bool,
    /// The parent of its directory.
    pub parent: PathBuf,
    /// The binary that its hosts run at first.
    pub binary: PathBuf,
}

impl Shape {
    pub fn three(drives: usize, seed: u64) -> Self {
        let parent = std::env::temp_dir();
        let binary = PathBuf::from(BINARY);
        Self { founders: 3, joiners: 0, drives, environment: Vec::new(), seed, is_direct: false, parent, binary }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

pub struct Cluster {
    // In this order they go.
    pub hosts: Vec<Host>,
    pub network: Arc<dyn Network>,
    pub root: TempDir,
}

/// One host; its process comes and goes.
pub struct Host {
    pub name: &'static str,
    pub s3: SocketAddr,
    pub admin: SocketAddr,
    pub setup: Mutex<Setup>,
    number: usize,
    server: Mutex<Option<Server>>,
    /// The log of earlier processes.
    log: Mutex<String>,
}

impl Cluster {
    /// On loopback: everything but the processes.
    pub fn laid_out(shape: &Shape) -> Self {
        let count = shape.founders + shape.joiners;
        Self::laid_out_in(shape, Arc::new(Wires::on_loopback(count, shape.is_direct, shape.seed)))
    }

    /// The same where the network says.
    pub fn laid_out_in(shape: &Shape, network: Arc<dyn Network>) -> Self {
        let root = tempfile::tempdir_in(&shape.parent).expect("a temporary directory can be made");
        let sought = |host: usize| format!("{}={}", NAMES[host], network.places()[host].sought);
        let founders: Vec<String> = (0..shape.founders).map(sought).collect();
        let mut hosts = Vec::new();
        for (number, place) in network.places().iter().enumerate().take(shape.founders + shape.joiners) {
            let mut setup = Setup::drives(&root.path().join(NAMES[number]), shape.drives)
                .with("SHERD_HOST", NAMES[number])
                .with("SHERD_CLUSTER_LISTEN", &place.bound(place.listens).to_string())
                .with("SHERD_CLUSTER_SECRET", CLUSTER_SECRET)
                // Without a line for each request.
                .with("SHERD_LOG", "warn,sherd=info")
                .with("SHERD_S3_LISTEN", &place.bound(place.s3).to_string())
                .with("SHERD_ADMIN_LISTEN", &place.bound(place.admin).to_string());
            setup = match number < shape.founders {
                true => setup.with("SHERD_HOSTS", &founders.join(",")),
                false => {
                    let first = network.places()[0].sought.to_string();
                    setup.with("SHERD_JOIN", &first).with("SHERD_HOSTS", &sought(number))
                }
            };
            setup.environment.extend(shape.environment.iter().cloned());
            setup.wrapper.clone_from(&place.wrapper);
            setup.binary.clone_from(&shape.binary);
            std::fs::create_dir_all(root.path().join(NAMES[number])).expect("the directory can be made");
            hosts.push(Host::new(number, place.s3, place.admin, setup));
        }
        Self { hosts, network, root }
    }

    /// Starts all founders at once, and waits until they are ready.
    pub fn formed(shape: &Shape) -> Self {
        let cluster = Self::laid_out(shape);
        cluster.form(shape.founders);
        cluster
    }

    pub fn form(&self, founders: usize) {
        (0..founders).for_each(|host| self.start(host));
        (0..founders).for_each(|host| self.wait_until_ready(host));
    }

    pub fn start(&self, host: usize) {
        let own = &self.hosts[host];
        let server = own.setup.lock().expect("no one panics with it").spawn_bound(own.s3, own.admin);
        self.network.set_process(host, Some(server.process().0));
        assert!(own.server().replace(server).is_none(), "host {} runs already", own.name);
    }

    /// Has a host run the binary under test from its next start on.
    pub fn upgrade(&self, host: usize) {
        self.hosts[host].setup.lock().expect("no one panics with it").binary = PathBuf::from(BINARY);
    }

    #[track_caller]
    pub fn wait_until_ready(&self, host: usize) {
        self.hosts[host].wait_until_ready(READY_TIMEOUT);
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&self, host: usize) {
        let mut server = self.hosts[host].server().take().expect("it runs");
        server.end();
        self.hosts[host].keep_log(&server.log());
        self.network.set_process(host, None);
    }

    /// SIGTERM, by which it must end well; how it ended, and after how long.
    #[track_caller]
    pub fn stop(&self, host: usize) -> (Ended, Duration) {
        let server = self.hosts[host].server().take().expect("it runs");
        let (_, ended, took) = server.stop();
        self.hosts[host].keep_log(&ended.stderr);
        self.network.set_process(host, None);
        (ended, took)
    }

    /// Its process ended by itself.
    pub fn forget(&self, host: usize) {
        drop(self.hosts[host].server().take().expect("it was started"));
        self.network.set_process(host, None);
    }

    pub fn pause(&self, host: usize) {
        self.hosts[host].process().signal(Signal::STOP);
    }

    pub fn resume(&self, host: usize) {
        self.hosts[host].process().signal(Signal::CONT);
    }

    /// A new client of one host.
    pub fn client(&self, host: usize) -> S3 {
        S3::new(self.hosts[host].s3, keys())
    }

    /// A client of each host that runs, which gives up after this long.
    pub fn clients(&self, timeout: Duration) -> Vec<S3> {
        let running = self.hosts.iter().filter(|host| host.is_running());
        running.map(|host| S3::giving_up_after(host.s3, keys(), timeout)).collect()
    }

    /// Returns the answer of `sherd admin` as JSON, asking this host.
    #[track_caller]
    pub fn admin(&self, host: usize, arguments: &[&str]) -> Value {
        admin::json(&self.try_admin(host, arguments))
    }

    pub fn try_admin(&self, host: usize, arguments: &[&str]) -> Output {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        admin::run(self.hosts[host].admin, &keys(), &arguments)
    }

    /// Every shard that must exist, by the metadata.
    #[track_caller]
    pub fn shards_expected(&self, host: usize) -> Shards {
        admin::shards(&admin::text(&self.try_admin(host, &["shards"])))
    }

    /// Every shard that the directories of a stopped host hold.
    #[track_caller]
    pub fn shards_held(&self, host: usize) -> Shards {
        let dirs = self.hosts[host].setup.lock().expect("no one panics with it").dirs.clone();
        admin::shards(&admin::text(&admin::inventory(&dirs, true)))
    }

    /// The logs' last lines, for a failed test.
    pub fn logs(&self, lines: usize) -> String {
        self.hosts.iter().map(|host| format!("--- {}\n{}\n", host.name, tail(&host.log(), lines))).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(folder) = std::env::var_os("SHERD_FAULT_LOGS") {
            let folder = std::path::PathBuf::from(folder).join(std::process::id().to_string());
            let _ = std::fs::create_dir_all(&folder);
            for host in &self.hosts {
                let name = format!("{}-{}.log", host.s3.port(), host.name);
                let _ = std::fs::write(folder.join(name), host.log());
            }
        }
    }
}

impl Host {
    fn new(number: usize, s3: SocketAddr, admin: SocketAddr, setup: Setup) -> Self {
        let (server, log) = (Mutex::new(None), Mutex::new(String::new()));
        Self { name: NAMES[number], number, s3, admin, setup: Mutex::new(setup), server, log }
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        // A test that failed with it still wants the logs.
        self.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn number(&self) -> usize {
        self.number
    }

    pub fn is_running(&self) -> bool {
        self.server().is_some()
    }

    pub fn process(&self) -> Process {
        self.server().as_ref().expect("it runs").process()
    }

    pub fn is_ready(&self) -> bool {
        get_plain(self.admin, "/health/ready").is_ok_and(|answer| answer.status == 200)
    }

    #[track_caller]
    pub fn wait_until_ready(&self, bound: Duration) {
        let end = Instant::now() + bound;
        while !self.is_ready() {
            if let Some(ended) = self.ended() {
                panic!("host {} ended with {:?}:\n{}", self.name, ended.status, tail(&ended.stderr, 30));
            }
            let why = || get_plain(self.admin, "/health/ready").map_or_else(|error| error.to_string(), |a| a.text());
            assert!(
                Instant::now() < end,
                "host {} was not ready within {bound:?}: {}\n{}",
                self.name,
                why(),
                tail(&self.log(), 40)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns how its process ended, if it did so by itself.
    pub fn ended(&self) -> Option<Ended> {
        self.server().as_mut()?.ended()
    }

    /// Returns the log of all its processes.
    pub fn log(&self) -> String {
        let mut log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some(server) = self.server().as_ref() {
            log.push_str(&server.log());
        }
        log
    }

    fn keep_log(&self, text: &str) {
        let mut log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        log.push_str(text);
        log.push_str("--- the process ended\n");
    }

    #[track_caller]
    pub fn wait_for_log(&self, bound: Duration, what: &str) {
        eventually(bound, &format!("{what:?} in the log of host {}", self.name), || {
            self.log().contains(what).then_some(())
        });
    }

    /// The sum over a metric's series; none where it has no series or the host does not answer.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let values = series_in(&get_plain(self.admin, "/metrics").ok()?.text(), name);
        (!values.is_empty()).then(|| values.values().sum())
    }
}

pub fn keys() -> Keys {
    Keys::new(ACCESS_KEY, SECRET_KEY)
}
