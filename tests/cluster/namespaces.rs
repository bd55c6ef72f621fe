//! Three hosts in network namespaces of their own, with their own addresses on a bridge in a fourth, where the clients are.
//! Nothing of it is in the machine's own network. It takes root and ip(8).

use crate::harness::client::{Answered, S3, get_plain};
use crate::harness::cluster::{CLUSTER_SECRET, keys};
use crate::harness::data::{self, Random};
use crate::harness::eventually;
use crate::harness::server::{Server, Setup};
use crate::retries::{CLIENT_TIMEOUT, with_retries};
use crate::trial::{alone, fault_time, number, seed};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

const HOSTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether `ip` did what it was told.
fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    output.is_ok_and(|output| output.status.success())
}

/// The namespaces; gone when dropped, and with them all that is in them.
struct Namespaces {
    prefix: String,
    program: String,
}

impl Namespaces {
    /// None where they cannot be made.
    fn make() -> Option<Self> {
        let candidates = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"];
        let program = candidates.into_iter().find(|path| std::path::Path::new(path).exists())?.to_owned();
        let made = Self { prefix: format!("sherd-test-{}", std::process::id()), program };
        let hub = made.hub();
        let mut commands = vec![
            format!("netns add {hub}"),
            format!("-n {hub} link set lo up"),
            format!("-n {hub} link add bridge type bridge"),
            format!("-n {hub} addr add 10.77.0.1/24 dev bridge"),
            format!("-n {hub} link set bridge up"),
        ];
        for host in 0..HOSTS {
            let name = made.name(host);
            commands.extend([
                format!("netns add {name}"),
                format!("-n {name} link set lo up"),
                format!("-n {hub} link add port{host} type veth peer name eth0 netns {name}"),
                format!("-n {hub} link set port{host} master bridge up"),
                format!("-n {name} addr add 10.77.0.{}/24 dev eth0", host + 2),
                format!("-n {name} link set eth0 up"),
            ]);
        }
        commands.iter().all(|command| ip(command)).then_some(made)
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn name(&self, host: usize) -> String {
        format!("{}-{host}", self.prefix)
    }

    fn set_link(&self, host: usize, state: &str) {
        assert!(ip(&format!("-n {} link set port{host} {state}", self.hub())));
    }

    /// The calling thread, and those that it starts, are in the hub from now on.
    fn enter_hub(&self) {
        let file = std::fs::File::open(format!("/run/netns/{}", self.hub())).expect("it was made");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in (0..HOSTS).map(|host| self.name(host)).chain([self.hub()]) {
            ip(&format!("netns del {name}"));
        }
    }
}

fn address(host: usize, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, 2 + u8::try_from(host).expect("hosts are few")], port))
}

fn start(namespaces: &Namespaces, root: &std::path::Path, host: usize) -> Server {
    let names = ["a", "b", "c"];
    let hosts: Vec<String> = (0..HOSTS).map(|host| format!("{}={}", names[host], address(host, 9100))).collect();
    let mut setup = Setup::drives(&root.join(names[host]), 2)
        .with("SHERD_HOST", names[host])
        .with("SHERD_HOSTS", &hosts.join(","))
        .with("SHERD_CLUSTER_LISTEN", "0.0.0.0:9100")
        .with("SHERD_CLUSTER_SECRET", CLUSTER_SECRET)
        .with("SHERD_LOG", "warn,sherd=info")
        .with("SHERD_S3_LISTEN", "0.0.0.0:9000")
        .with("SHERD_ADMIN_LISTEN", "0.0.0.0:9001");
    setup.wrapper = [&namespaces.program, "netns", "exec", &namespaces.name(host)].map(str::to_owned).to_vec();
    std::fs::create_dir_all(root.join(names[host])).expect("the directory can be made");
    setup.spawn_bound(address(host, 9000), address(host, 9001))
}

fn is_ready(server: &Server) -> bool {
    get_plain(server.admin, "/health/ready").is_ok_and(|answer| answer.status == 200)
}

fn wait_until_ready(server: &Server) {
    eventually(PATIENCE, "a host to be ready", || is_ready(server).then_some(()));
}

/// The body that comes back within three tries on these hosts.
fn done_on(hosts: &[S3], random: &mut Random, request: impl Fn(&S3) -> Answered) -> Vec<u8> {
    let tried = with_retries(hosts, random, request);
    assert!(matches!(tried.status(), 200 | 204), "{}", tried.words());
    tried.answer.expect("it has a status").body
}

/// Nothing is to be repaired as far as any host knows.
fn wait_until_whole(servers: &[Server]) {
    eventually(PATIENCE * 2, "repairs to end", || {
        let names = ["sherd_missing_shards", "sherd_comparisons_due"];
        let left = |server: &Server| names.iter().map(|name| server.metric(name, &[])).sum::<f64>();
        (servers.iter().map(left).sum::<f64>() == 0.0).then_some(())
    });
}

/// Each host in turn is unplugged: from the others and from the clients.
fn unplug_each(namespaces: &Namespaces, root: &std::path::Path) {
    let servers: Vec<Server> = (0..HOSTS).map(|host| start(namespaces, root, host)).collect();
    servers.iter().for_each(wait_until_ready);
    let all: Vec<S3> = servers.iter().map(|server| S3::giving_up_after(server.s3, keys(), CLIENT_TIMEOUT)).collect();
    eventually(PATIENCE, "a bucket", || (all[0].create_bucket("box").ok()?.status == 200).then_some(()));
    let mut stored: Vec<(String, Vec<u8>)> = Vec::new();
    let mut random = Random::new(seed());
    let leads = |server: &Server| server.metric("sherd_raft_is_leader", &[]) == 1.0;
    let leader = eventually(PATIENCE, "one host to lead", || servers.iter().position(leads));
    let count = usize::try_from(number("SHERD_FAULT_HOSTS", 1)).map_or(HOSTS, |count| count.clamp(1, HOSTS));
    for unplugged in (0..count).map(|step| (leader + step) % HOSTS) {
        namespaces.set_link(unplugged, "down");
        let end = Instant::now() + fault_time();
        // As a client without the one that does not answer it.
        let rest: Vec<S3> = [1, 2].map(|step| all[(unplugged + step) % HOSTS].clone()).to_vec();
        while Instant::now() < end {
            let number = stored.len();
            let bytes = data::bytes(number as u64, if number.is_multiple_of(2) { 150_000 } else { 500 });
            let key = format!("{unplugged}/{number}");
            done_on(&rest, &mut random, |s3| s3.put("box", &key, &bytes));
            stored.push((key, bytes));
            let (key, bytes) = &stored[number / 2];
            assert!(done_on(&rest, &mut random, |s3| s3.get("box", key)) == *bytes, "{key} is another");
        }
        namespaces.set_link(unplugged, "up");
        wait_until_ready(&servers[unplugged]);
        eventually(PATIENCE, "the host that was unplugged to serve", || {
            (all[unplugged].put("box", "back", b"x").ok()?.status == 200).then_some(())
        });
        for (key, bytes) in &stored {
            let found = done_on(&all[unplugged..=unplugged], &mut random, |s3| s3.get("box", key));
            assert!(found == *bytes, "{key} on the host that was unplugged");
        }
        wait_until_whole(&servers);
        eprintln!("host {unplugged} was unplugged: {} objects stored so far", stored.len());
    }
}

#[test]
fn hosts_with_addresses_of_their_own_bear_a_pulled_cable() {
    let _alone = alone();
    let Some(namespaces) = Namespaces::make() else {
        eprintln!("skipped: network namespaces cannot be made here (it takes root and ip)");
        return;
    };
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    // In a thread of its own, since it stays in the hub's namespace.
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            namespaces.enter_hub();
            unplug_each(&namespaces, root.path());
        });
        if let Err(panic) = inside.join() {
            std::panic::resume_unwind(panic);
        }
    });
}
