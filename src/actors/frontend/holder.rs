//! `Holder`: the party whose share of a limited resource (memory, requests) is counted.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// The network part of an IPv6 address: a provider assigns each customer a /64.
const PREFIX_OF_ONE: u128 = u128::MAX << 64;

/// The party whose share is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    Address(IpAddr),
    /// An account, by its canonical id.
    Account(Arc<str>),
    /// The store, for work of its own.
    Store,
}

impl Holder {
    /// The holder for a client's address; IPv6 addresses of one /64 are one holder.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & PREFIX_OF_ONE)),
            address => address,
        })
    }
}
