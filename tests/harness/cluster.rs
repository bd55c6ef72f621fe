//! Several hosts of the real binary, each with directories, ports and environment of its own; the network between them is
//! the test's. The test's threads share it: one makes trouble while others send requests.

use super::admin::{self, Shards};
use super::client::{S3, get_plain};
use super::process::Process;
use super::server::{ACCESS_KEY, Ended, SECRET_KEY, Server, Setup, series_in};
use super::sigv4::Keys;
use super::wires::Wires;
use super::{data, eventually};
use rustix::process::Signal;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const CLUSTER_SECRET: &str = "a-secret-of-tests-0123456789abcdef";
/// Three debug builds on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// What a cluster is made of.
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
    /// Where its directory is made.
    pub parent: PathBuf,
}

impl Shape {
    pub fn three(drives: usize, seed: u64) -> Self {
        let parent = std::env::temp_dir();
        Self { founders: 3, joiners: 0, drives, environment: Vec::new(), seed, is_direct: false, parent }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

pub struct Cluster {
    // In this order they go.
    pub hosts: Vec<Host>,
    pub wires: Wires,
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
    /// Of the processes that were.
    log: Mutex<String>,
}

impl Cluster {
    /// Everything but the processes.
    pub fn laid_out(shape: &Shape) -> Self {
        let root = tempfile::tempdir_in(&shape.parent).expect("a temporary directory can be made");
        let count = shape.founders + shape.joiners;
        let mut ports = Ports::new(shape.seed);
        let listeners: Vec<SocketAddr> = (0..count).map(|_| ports.udp()).collect();
        let wires = Wires::before(&listeners, shape.seed);
        let address = |host: usize| if shape.is_direct { listeners[host] } else { wires.address(host) };
        let founders: Vec<String> =
            (0..shape.founders).map(|host| format!("{}={}", NAMES[host], address(host))).collect();
        let mut hosts = Vec::new();
        for (number, listener) in listeners.iter().enumerate() {
            let (s3, admin) = (ports.tcp(), ports.tcp());
            let mut setup = Setup::drives(&root.path().join(NAMES[number]), shape.drives)
                .with("SHERD_HOST", NAMES[number])
                .with("SHERD_CLUSTER_LISTEN", &listener.to_string())
                .with("SHERD_CLUSTER_SECRET", CLUSTER_SECRET)
                // Without a line for each request.
                .with("SHERD_LOG", "warn,sherd=info")
                .with("SHERD_S3_LISTEN", &s3.to_string())
                .with("SHERD_ADMIN_LISTEN", &admin.to_string());
            setup = match number < shape.founders {
                true => setup.with("SHERD_HOSTS", &founders.join(",")),
                false => {
                    let own = format!("{}={}", NAMES[number], address(number));
                    setup.with("SHERD_JOIN", &address(0).to_string()).with("SHERD_HOSTS", &own)
                }
            };
            setup.environment.extend(shape.environment.iter().cloned());
            std::fs::create_dir_all(root.path().join(NAMES[number])).expect("the directory can be made");
            hosts.push(Host::new(number, s3, admin, setup));
        }
        Self { hosts, wires, root }
    }

    /// All founders started at once, and ready.
    pub fn formed(shape: &Shape) -> Self {
        let cluster = Self::laid_out(shape);
        for host in 0..shape.founders {
            cluster.start(host);
        }
        for host in 0..shape.founders {
            cluster.wait_until_ready(host);
        }
        cluster
    }

    pub fn start(&self, host: usize) {
        let own = &self.hosts[host];
        let server = own.setup.lock().expect("no one panics with it").spawn_bound(own.s3, own.admin);
        self.wires.set_process(host, Some(server.process().0));
        assert!(own.server().replace(server).is_none(), "host {} runs already", own.name);
    }

    #[track_caller]
    pub fn wait_until_ready(&self, host: usize) {
        self.hosts[host].wait_until_ready(READY_TIMEOUT);
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&self, host: usize) {
        let server = self.hosts[host].server().take().expect("it runs");
        self.hosts[host].keep_log(&server.log());
        server.kill();
        self.wires.set_process(host, None);
    }

    /// SIGTERM; how it ended, and after how long.
    pub fn stop(&self, host: usize) -> (Ended, Duration) {
        let server = self.hosts[host].server().take().expect("it runs");
        let (_, ended, took) = server.stop();
        self.hosts[host].keep_log(&ended.stderr);
        self.wires.set_process(host, None);
        (ended, took)
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

    /// What `sherd admin` answers, as JSON, asking this host.
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

    /// How its process ended, where it did so by itself.
    pub fn ended(&self) -> Option<Ended> {
        self.server().as_mut()?.ended()
    }

    /// All that it logged, of all its processes.
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

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Free ports that the kernel gives to nobody else while a host is down: below those that it draws from by itself.
pub struct Ports(data::Random);

impl Ports {
    const FIRST: u64 = 10_000;
    const COUNT: u64 = 20_000;

    pub fn new(seed: u64) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(data::Random::new(seed ^ u64::from(std::process::id()) << 32 ^ u64::from(now.subsec_nanos())))
    }

    fn draw(&mut self) -> SocketAddr {
        let port = Self::FIRST + self.0.below(Self::COUNT);
        SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("it is below 30,000")))
    }

    pub fn udp(&mut self) -> SocketAddr {
        let free = (0..1000).map(|_| self.draw()).find(|address| UdpSocket::bind(address).is_ok());
        free.expect("one of a thousand ports is free")
    }

    pub fn tcp(&mut self) -> SocketAddr {
        let free = (0..1000).map(|_| self.draw()).find(|address| TcpListener::bind(address).is_ok());
        free.expect("one of a thousand ports is free")
    }
}
