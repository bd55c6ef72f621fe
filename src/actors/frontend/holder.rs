//! The holder of a share of something of which there is only so much.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// The prefix of an IPv6 address that one customer of a provider has.
const PREFIX_OF_ONE: u128 = u128::MAX << 64;

/// The holder of a share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    Address(IpAddr),
    /// An account, by its canonical id.
    Account(Arc<str>),
    /// The store, for work of its own.
    Store,
}

impl Holder {
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & PREFIX_OF_ONE)),
            address => address,
        })
    }
}
