//! The network between hosts, in the hands of a test: where each host is, and what becomes of what one sends to another. There
//! are two: hosts on loopback with the test's own fronts before them, and hosts in network namespaces of the kernel.

pub mod namespaces;
pub mod wires;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The addresses of a host.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address at which other hosts seek it.
    pub sought: SocketAddr,
    /// The address on which it listens.
    pub listens: SocketAddr,
    pub s3: SocketAddr,
    pub admin: SocketAddr,
    /// A program, with its arguments, that runs another one there; none where it is the test's own place.
    pub wrapper: Vec<String>,
}

impl Place {
    /// Returns the address for a listener to bind so that it is found at this one: hosts that have their machine for
    /// themselves bind all its addresses.
    pub fn bound(&self, address: SocketAddr) -> SocketAddr {
        match self.wrapper.is_empty() {
            true => address,
            false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
        }
    }
}

/// The faults of one host's traffic to another.
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

    /// A host's process has begun, or ended.
    fn set_process(&self, host: usize, process: Option<u32>);

    /// From a host, to a host: what that way is like from now on, all at once. Other ways stay as they are.
    fn set(&self, changes: &[(usize, usize, Wire)]);

    fn counts(&self) -> Counts;

    /// To and from a host.
    fn set_around(&self, host: usize, wire: Wire) {
        self.set(&around(host, self.places().len(), wire));
    }

    fn set_all(&self, wire: Wire) {
        let count = self.places().len();
        self.set(&(0..count).flat_map(|host| around(host, count, wire)).collect::<Vec<_>>());
    }

    /// Cut off from all others.
    fn cut(&self, host: usize) {
        self.set_around(host, Wire::CUT);
    }

    /// Everything arrives again.
    fn heal(&self) {
        self.set_all(Wire::default());
    }
}

/// The ways between one of so many and the others.
fn around(one: usize, count: usize, wire: Wire) -> Vec<(usize, usize, Wire)> {
    let others = (0..count).filter(|other| *other != one);
    others.flat_map(|other| [(one, other, wire), (other, one, wire)]).collect()
}
