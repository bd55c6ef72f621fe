//! The network between hosts, which a test controls: the addresses of the hosts, and the faults of the traffic between
//! them. There are two kinds: hosts on loopback behind UDP proxies of the test, and hosts in network namespaces of the
//! kernel.

pub mod namespaces;
pub mod wires;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The addresses of a host.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address at which other hosts reach it.
    pub sought: SocketAddr,
    /// The address on which it listens.
    pub listens: SocketAddr,
    pub s3: SocketAddr,
    pub admin: SocketAddr,
    /// A command that runs another one in the host's namespace; empty on loopback.
    pub wrapper: Vec<String>,
}

impl Place {
    /// Returns the address that a listener binds so that it is reached at this one: a host in a namespace of its own
    /// binds all addresses.
    pub fn bound(&self, address: SocketAddr) -> SocketAddr {
        match self.wrapper.is_empty() {
            true => address,
            false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
        }
    }
}

/// The faults of the traffic from one host to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    pub is_cut: bool,
    pub loss_per_mille: u64,
    pub delay: Duration,
}

impl Wire {
    pub const CUT: Self = Self { is_cut: true, loss_per_mille: 0, delay: Duration::ZERO };
}

/// The counts of what was delivered and what was lost.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub passed: u64,
    pub dropped: u64,
}

pub trait Network: Send + Sync {
    /// Returns the place of every host, by its number.
    fn places(&self) -> &[Place];

    /// Notes that a host's process has started, or ended.
    fn set_process(&self, host: usize, process: Option<u32>);

    /// Sets the faults of some directions (from a host, to a host) at once. Other directions stay as they are.
    fn set(&self, changes: &[(usize, usize, Wire)]);

    fn counts(&self) -> Counts;

    /// Sets the faults of all traffic to and from a host.
    fn set_around(&self, host: usize, wire: Wire) {
        self.set(&around(host, self.places().len(), wire));
    }

    fn set_all(&self, wire: Wire) {
        let count = self.places().len();
        self.set(&(0..count).flat_map(|host| around(host, count, wire)).collect::<Vec<_>>());
    }

    /// Cuts a host off from all others.
    fn cut(&self, host: usize) {
        self.set_around(host, Wire::CUT);
    }

    /// Removes all faults.
    fn heal(&self) {
        self.set_all(Wire::default());
    }
}

/// Returns this fault for both directions between one host and each of the others.
fn around(one: usize, count: usize, wire: Wire) -> Vec<(usize, usize, Wire)> {
    let others = (0..count).filter(|other| *other != one);
    others.flat_map(|other| [(one, other, wire), (other, one, wire)]).collect()
}
