//! Hosts on loopback: every datagram to a host passes a UDP proxy, its front, which finds out which host sent it, and
//! drops, delays or forwards it. Needs no root.
//!
//! All hosts know each other by the addresses of the fronts. A front identifies a sender by the process that owns the
//! sending socket (proc(5)), since a host sends from any port; it drops datagrams of unknown processes.

use super::{Counts, Network, Place, Wire};
use crate::harness::data::Random;
use socket2::SockRef;
use std::collections::{BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The interval at which a thread that waits for datagrams checks whether it should end.
const POLL: Duration = Duration::from_millis(200);
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// The most datagrams that wait for their delay; more are dropped, as by a router.
const DELAYED_MAX: usize = 20_000;

/// The fronts of some hosts, by their number.
pub struct Wires {
    shared: Arc<Shared>,
    places: Vec<Place>,
    threads: Vec<JoinHandle<()>>,
    /// The ports in `places` stay reserved for as long as this lives.
    _ports: Ports,
}

struct Shared {
    /// `[from][to]`.
    wires: Mutex<Vec<Vec<Wire>>>,
    /// The process of each host, while it has one.
    processes: Mutex<Vec<Option<u32>>>,
    /// Grows when a process starts or ends; then the fronts forget the senders that they have identified.
    processes_epoch: AtomicU64,
    random: Mutex<Random>,
    delayed: Delayed,
    passed: AtomicU64,
    dropped: AtomicU64,
    is_ending: AtomicBool,
}

impl Wires {
    /// Makes places on loopback, reached through their fronts, or (`is_direct`) without fronts and so without faults.
    pub fn on_loopback(count: usize, is_direct: bool, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            wires: Mutex::new(vec![vec![Wire::default(); count]; count]),
            processes: Mutex::new(vec![None; count]),
            processes_epoch: AtomicU64::new(0),
            random: Mutex::new(Random::new(seed)),
            delayed: Delayed::default(),
            passed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
        });
        let mut ports = Ports::new(seed);
        let mut places = Vec::new();
        let mut threads = Vec::new();
        for to in 0..count {
            let (listens, s3, admin) = (ports.udp(), ports.tcp(), ports.tcp());
            let socket = Arc::new(socket());
            let front = socket.local_addr().expect("it is bound");
            let sought = if is_direct { listens } else { front };
            places.push(Place { sought, listens, s3, admin, wrapper: Vec::new() });
            let front =
                Front { to, listener: listens, socket, shared: shared.clone(), senders: HashMap::new(), epoch: 0 };
            threads.push(std::thread::spawn(move || front.run()));
        }
        let delaying = shared.clone();
        threads.push(std::thread::spawn(move || delaying.delayed.run(&delaying.is_ending)));
        Self { shared, places, threads, _ports: ports }
    }
}

impl Network for Wires {
    fn places(&self) -> &[Place] {
        &self.places
    }

    fn set_process(&self, host: usize, process: Option<u32>) {
        self.shared.processes.lock().expect("no one panics with it")[host] = process;
        self.shared.processes_epoch.fetch_add(1, Ordering::SeqCst);
    }

    fn set(&self, changes: &[(usize, usize, Wire)]) {
        let mut wires = self.shared.wires.lock().expect("no one panics with it");
        for &(from, to, wire) in changes {
            wires[from][to] = wire;
        }
    }

    fn counts(&self) -> Counts {
        let [passed, dropped] = [&self.shared.passed, &self.shared.dropped].map(|count| count.load(Ordering::Relaxed));
        Counts { passed, dropped }
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        self.shared.delayed.more.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Forwards, delays or drops a datagram.
    fn carry(&self, from: usize, to: usize, parcel: Parcel) {
        let wire = self.wires.lock().expect("no one panics with it")[from][to];
        let is_lost =
            wire.loss_per_mille > 0 && self.random.lock().expect("no one panics").below(1000) < wire.loss_per_mille;
        if wire.is_cut || is_lost {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.passed.fetch_add(1, Ordering::Relaxed);
        match wire.delay.is_zero() {
            true => parcel.send(),
            false => self.delayed.push(Instant::now() + wire.delay, parcel),
        }
    }

    /// Returns the host whose process owns the socket at this address.
    fn owner(&self, of: SocketAddr) -> Option<usize> {
        let inodes = inodes_of_port(of.port());
        let processes = self.processes.lock().expect("no one panics with it").clone();
        processes.iter().position(|process| process.is_some_and(|process| owns(process, &inodes)))
    }

    fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }
}

/// One host's front.
struct Front {
    to: usize,
    listener: SocketAddr,
    socket: Arc<UdpSocket>,
    shared: Arc<Shared>,
    senders: HashMap<SocketAddr, Sender>,
    /// The epoch of the processes when the senders were last looked up.
    epoch: u64,
}

/// A sender to the host. The host's answers to it come back on a socket of its own.
struct Sender {
    from: usize,
    towards: Arc<UdpSocket>,
    is_over: Arc<AtomicBool>,
}

impl Front {
    fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while !self.shared.is_ending() {
            let Ok((len, source)) = self.socket.recv_from(&mut buffer) else { continue };
            self.forget_after_a_change();
            if let Some((from, towards)) = self.sender(source) {
                let parcel = Parcel { socket: towards, to: None, bytes: buffer[..len].to_vec() };
                self.shared.carry(from, self.to, parcel);
            }
        }
        self.senders.clear();
    }

    /// Forgets the identified senders after a process started or ended: a port may belong to another process by now.
    fn forget_after_a_change(&mut self) {
        let epoch = self.shared.processes_epoch.load(Ordering::SeqCst);
        if epoch != self.epoch {
            self.epoch = epoch;
            let shared = self.shared.clone();
            self.senders.retain(|address, sender| shared.owner(*address) == Some(sender.from));
        }
    }

    fn sender(&mut self, source: SocketAddr) -> Option<(usize, Arc<UdpSocket>)> {
        if !self.senders.contains_key(&source) {
            let from = self.shared.owner(source)?;
            let towards = Arc::new(socket());
            towards.connect(self.listener).ok()?;
            let is_over = Arc::new(AtomicBool::new(false));
            self.bring_answers(from, source, towards.clone(), is_over.clone());
            self.senders.insert(source, Sender { from, towards, is_over });
        }
        self.senders.get(&source).map(|sender| (sender.from, sender.towards.clone()))
    }

    fn bring_answers(&self, from: usize, source: SocketAddr, answers: Arc<UdpSocket>, is_over: Arc<AtomicBool>) {
        let (to, front, shared) = (self.to, self.socket.clone(), self.shared.clone());
        std::thread::spawn(move || {
            let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
            while !shared.is_ending() && !is_over.load(Ordering::SeqCst) {
                // The receive fails while the host is down, which may come up later.
                let Ok(len) = answers.recv(&mut buffer) else { continue };
                let parcel = Parcel { socket: front.clone(), to: Some(source), bytes: buffer[..len].to_vec() };
                shared.carry(to, from, parcel);
            }
        });
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

struct Parcel {
    socket: Arc<UdpSocket>,
    to: Option<SocketAddr>,
    bytes: Vec<u8>,
}

impl Parcel {
    /// Sends the parcel. A failed send is a loss, as on any wire.
    fn send(self) {
        let _ = match self.to {
            Some(to) => self.socket.send_to(&self.bytes, to),
            None => self.socket.send(&self.bytes),
        };
    }
}

#[derive(Default)]
struct Delayed {
    parcels: Mutex<BinaryHeap<Due>>,
    /// The number of the next parcel, by which parcels with the same due time keep their order.
    number: AtomicU64,
    more: Condvar,
}

/// A delayed parcel. The one that is due first is the greatest, so that a max-heap yields it first.
struct Due {
    at: Instant,
    number: u64,
    parcel: Parcel,
}

impl Delayed {
    fn push(&self, at: Instant, parcel: Parcel) {
        let mut parcels = self.parcels.lock().expect("no one panics with it");
        if parcels.len() < DELAYED_MAX {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            parcels.push(Due { at, number, parcel });
            self.more.notify_one();
        }
    }

    fn run(&self, is_ending: &AtomicBool) {
        let mut parcels = self.parcels.lock().expect("no one panics with it");
        while !is_ending.load(Ordering::SeqCst) {
            let wait = parcels.peek().map_or(POLL, |due| due.at.saturating_duration_since(Instant::now()));
            if wait.is_zero() {
                let due = parcels.pop().expect("one was seen");
                drop(parcels);
                due.parcel.send();
                parcels = self.parcels.lock().expect("no one panics with it");
            } else {
                parcels = self.more.wait_timeout(parcels, wait.min(POLL)).expect("no one panics with it").0;
            }
        }
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    socket.set_read_timeout(Some(POLL)).expect("it is not zero");
    let options = SockRef::from(&socket);
    // The kernel may grant less. Then more datagrams are lost under load, which hosts must tolerate anyway.
    let _ = options.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = options.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket
}

/// Returns the inodes of the UDP sockets that are bound to a port (proc_net(5)).
fn inodes_of_port(port: u16) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/net/udp").unwrap_or_default();
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_port = rows.filter(|fields| fields.get(1).is_some_and(|local| local.ends_with(&suffix)));
    of_port.filter_map(|fields| fields.get(9).map(|inode| format!("socket:[{inode}]"))).collect()
}

fn owns(process: u32, inodes: &[String]) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    let targets = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.into_iter().any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
}

/// A source of free ports below the kernel's ephemeral range, so that no other socket takes a port while its host is
/// down.
struct Ports {
    random: Random,
    /// One socket for each port drawn, at another loopback address: two tests, even of two processes, that draw the same
    /// port while neither's host listens would otherwise have hosts that reach each other.
    reserved: Vec<UdpSocket>,
}

impl Ports {
    const FIRST: u64 = 10_000;
    const COUNT: u64 = 20_000;
    const RESERVED_AT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    fn new(seed: u64) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seed = seed ^ u64::from(std::process::id()) << 32 ^ u64::from(now.subsec_nanos());
        Self { random: Random::new(seed), reserved: Vec::new() }
    }

    fn udp(&mut self) -> SocketAddr {
        self.draw(|address| UdpSocket::bind(address).is_ok())
    }

    fn tcp(&mut self) -> SocketAddr {
        self.draw(|address| TcpListener::bind(address).is_ok())
    }

    /// Draws a port that no other test has drawn and that is free, and reserves it.
    fn draw(&mut self, is_free: impl Fn(SocketAddr) -> bool) -> SocketAddr {
        for _ in 0..1000 {
            let port = u16::try_from(Self::FIRST + self.random.below(Self::COUNT)).expect("it is below 30,000");
            let Ok(reservation) = UdpSocket::bind((Self::RESERVED_AT, port)) else { continue };
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if is_free(address) {
                self.reserved.push(reservation);
                return address;
            }
        }
        panic!("none of a thousand ports is free");
    }
}
