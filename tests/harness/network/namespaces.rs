//! Hosts in network namespaces, with addresses on a bridge in another namespace, the hub, in which the clients run. The
//! machine's own network is not touched. Needs root, ip(8) and nft(8).
//!
//! The bridge drops frames and counts them, by nftables rules on the port that a frame comes from and the port that it
//! goes to. Pulling a cable sets its link down. Delays are not supported, since not every kernel can make them.

use super::{Counts, Network, Place, Wire, around};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

const PREFIX: &str = "sherd-test-";
/// The directory of ip(8) for namespaces.
const FOLDER: &str = "/run/netns";

/// The nftables table with its counters and chains, before any rule.
const TABLE: &str = "
add table bridge faults
add counter bridge faults passed
add counter bridge faults dropped
add chain bridge faults forward { type filter hook forward priority 0; }
add chain bridge faults input { type filter hook input priority 0; }
add chain bridge faults output { type filter hook output priority 0; }
";

/// The namespaces, which are deleted with everything in them when dropped.
pub struct Namespaces {
    prefix: String,
    ip: String,
    nft: String,
    places: Vec<Place>,
    /// The faults, `[from][to]`. The last index is that of the clients.
    wires: Mutex<Vec<Vec<Wire>>>,
}

impl Namespaces {
    /// Makes namespaces of so many hosts; returns the reason if they cannot be made here.
    pub fn make(hosts: usize) -> Result<Self, String> {
        let prefix = format!("{PREFIX}{}", std::process::id());
        let wires = Mutex::new(vec![vec![Wire::default(); hosts + 1]; hosts + 1]);
        let mut made = Self { prefix, ip: program("ip")?, nft: program("nft")?, places: Vec::new(), wires };
        made.delete_abandoned();
        made.places = (0..hosts).map(|host| made.place(host)).collect();
        for command in made.commands() {
            made.ip(&command)?;
        }
        made.change_rules(TABLE)?;
        made.apply()?;
        Ok(made)
    }

    /// Deletes the namespaces of processes that are gone.
    fn delete_abandoned(&self) {
        for entry in std::fs::read_dir(FOLDER).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
            if owner.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
                let _ = self.ip(&format!("netns del {name}"));
            }
        }
    }

    /// Returns the `ip` commands that make the namespaces. Segmentation offload is off, so that a lost frame is one
    /// datagram, as on a cable.
    fn commands(&self) -> Vec<String> {
        let hub = self.hub();
        let mut commands = vec![
            format!("netns add {hub}"),
            format!("-n {hub} link set lo up"),
            format!("-n {hub} link add bridge type bridge"),
            format!("-n {hub} addr add 10.77.0.1/24 dev bridge"),
            format!("-n {hub} link set bridge up"),
        ];
        for (host, place) in self.places.iter().enumerate() {
            let name = self.name(host);
            commands.extend([
                format!("netns add {name}"),
                format!("-n {name} link set lo up"),
                format!("-n {hub} link add port{host} type veth peer name eth0 netns {name}"),
                format!("-n {hub} link set port{host} master bridge up"),
                format!("-n {name} addr add {}/24 dev eth0", place.sought.ip()),
                format!("-n {name} link set eth0 gso_max_segs 1 up"),
            ]);
        }
        commands.push(format!("-n {hub} link set bridge gso_max_segs 1"));
        commands
    }

    fn place(&self, host: usize) -> Place {
        let last = 2 + u8::try_from(host).expect("hosts are few");
        let [cluster, s3, admin] = [9100, 9000, 9001].map(|port| SocketAddr::from(([10, 77, 0, last], port)));
        let wrapper = [&self.ip, "netns", "exec", &self.name(host)].map(str::to_owned).to_vec();
        Place { sought: cluster, listens: cluster, s3, admin, wrapper }
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn name(&self, host: usize) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// Runs a closure in the hub's namespace, in a thread of its own; threads and processes that it starts are in it,
    /// too.
    pub fn within_hub(&self, run: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let hub = std::fs::File::open(format!("{FOLDER}/{}", self.hub())).expect("it was made");
                move_into_link_name_space(hub.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
                run();
            });
            if let Err(panic) = inside.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    /// Pulls a host's cable, so that neither other hosts nor clients reach it.
    pub fn unplug(&self, host: usize) {
        self.ip(&format!("-n {} link set port{host} down", self.hub())).expect("the port is there");
    }

    pub fn plug_in(&self, host: usize) {
        self.ip(&format!("-n {} link set port{host} up", self.hub())).expect("the port is there");
    }

    /// Sets the faults of all traffic to and from a host, including the clients'.
    pub fn set_cable(&self, host: usize, wire: Wire) {
        self.set(&around(host, self.places.len() + 1, wire));
    }

    fn ip(&self, arguments: &str) -> Result<(), String> {
        run(Command::new(&self.ip).args(arguments.split_whitespace()), "").map(drop)
    }

    /// Runs nft(8) in the hub's namespace.
    fn nft(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        run(Command::new(&self.ip).args(["netns", "exec", &self.hub(), &self.nft]).args(arguments), input)
    }

    fn change_rules(&self, rules: &str) -> Result<(), String> {
        self.nft(&["-f", "-"], rules).map(drop)
    }

    /// Replaces all rules; the counts go on.
    fn apply(&self) -> Result<(), String> {
        let wires = self.wires.lock().expect("no one panics with it");
        let mut rules = String::new();
        for chain in ["forward", "input", "output"] {
            let _ = writeln!(rules, "flush chain bridge faults {chain}");
        }
        for (from, row) in wires.iter().enumerate() {
            for (to, wire) in row.iter().enumerate() {
                rules.push_str(&rule(from, to, self.places.len(), *wire));
            }
        }
        for chain in ["forward", "input", "output"] {
            let _ = writeln!(rules, "add rule bridge faults {chain} counter name passed");
        }
        self.change_rules(&rules)
    }

    fn count(&self, counter: &str) -> u64 {
        let shown = self.nft(&["list", "counter", "bridge", "faults", counter], "").expect("the counter is there");
        let mut words = shown.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).and_then(|number| number.parse().ok()).expect("a counter counts packets")
    }
}

impl Network for Namespaces {
    fn places(&self) -> &[Place] {
        &self.places
    }

    /// Does nothing: a host is identified by its port on the bridge.
    fn set_process(&self, _: usize, _: Option<u32>) {}

    fn set(&self, changes: &[(usize, usize, Wire)]) {
        {
            let mut wires = self.wires.lock().expect("no one panics with it");
            for &(from, to, wire) in changes {
                assert!(wire.delay.is_zero(), "nothing is delayed here");
                wires[from][to] = wire;
            }
        }
        self.apply().expect("the rules are right");
    }

    fn counts(&self) -> Counts {
        Counts { passed: self.count("passed"), dropped: self.count("dropped") }
    }

    /// Removes all faults, including those of the clients' traffic.
    fn heal(&self) {
        let hosts = 0..self.places.len();
        let ways = hosts.flat_map(|host| around(host, self.places.len() + 1, Wire::default()));
        self.set(&ways.collect::<Vec<_>>());
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in (0..self.places.len()).map(|host| self.name(host)).chain([self.hub()]) {
            // A namespace that could not be made does not exist.
            let _ = self.ip(&format!("netns del {name}"));
        }
    }
}

/// Returns the rule that drops frames from one to another; the number after the last host is that of the clients.
fn rule(from: usize, to: usize, clients: usize, wire: Wire) -> String {
    let ways = if to == clients {
        format!("input iifname port{from}")
    } else if from == clients {
        format!("output oifname port{to}")
    } else {
        format!("forward iifname port{from} oifname port{to}")
    };
    let which = match wire {
        Wire { is_cut: true, .. } => String::new(),
        Wire { loss_per_mille: 0, .. } => return String::new(),
        Wire { loss_per_mille, .. } => format!("numgen random mod 1000 < {loss_per_mille} "),
    };
    format!("add rule bridge faults {ways} {which}counter name dropped drop\n")
}

fn program(name: &str) -> Result<String, String> {
    let candidates = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|folder| format!("{folder}/{name}"));
    candidates.into_iter().find(|path| Path::new(path).exists()).ok_or_else(|| format!("there is no {name}"))
}

/// Runs a program; returns its output if it succeeds, else its complaint.
fn run(command: &mut Command, input: &str) -> Result<String, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    // A program that ends without reading its input reports the reason itself.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
