//! Blocks of IP addresses, in CIDR notation (RFC 4632 for IPv4, RFC 4291 section 2.3 for IPv6).

use std::net::IpAddr;

const IPV4_BITS: u8 = 32;
const IPV6_BITS: u8 = 128;
/// The broadest blocks that limit access to a known network ("Blocking public access", "The meaning of public").
const IPV4_PREFIX_FIXED: u8 = 8;
const IPV6_PREFIX_FIXED: u8 = 32;

/// An address with how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    address: IpAddr,
    prefix_bits: u8,
}

impl Block {
    /// Parses a block; an address alone is a block of one.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { IPV4_BITS } else { IPV6_BITS };
        let digits = |prefix: &&str| !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_bits = match prefix {
            None => bits,
            Some(prefix) => Some(prefix).filter(digits)?.parse().ok().filter(|prefix| *prefix <= bits)?,
        };
        Some(Self { address, prefix_bits })
    }

    /// An IPv4 address that is written as an IPv6 one is an IPv4 address.
    pub fn holds(&self, address: &str) -> bool {
        let Ok(address) = address.parse::<IpAddr>() else { return false };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                same_start(block.to_bits().into(), address.to_bits().into(), IPV4_BITS - self.prefix_bits)
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                same_start(block.to_bits(), address.to_bits(), IPV6_BITS - self.prefix_bits)
            }
            _ => false,
        }
    }

    /// Narrow enough that it is not half the internet.
    pub fn is_fixed(&self) -> bool {
        match self.address {
            IpAddr::V4(_) => self.prefix_bits >= IPV4_PREFIX_FIXED,
            IpAddr::V6(_) => self.prefix_bits >= IPV6_PREFIX_FIXED,
        }
    }
}

fn same_start(one: u128, other: u128, ignored_bits: u8) -> bool {
    (one ^ other).checked_shr(ignored_bits.into()).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::Block;

    fn holds(block: &str, address: &str) -> bool {
        Block::parse(block).expect("a block").holds(address)
    }

    #[test]
    fn a_block_holds_the_addresses_that_begin_alike() {
        assert!(holds("203.0.113.0/24", "203.0.113.255") && !holds("203.0.113.0/24", "203.0.114.0"));
        assert!(holds("203.0.113.77/24", "203.0.113.1") && holds("0.0.0.0/0", "1.2.3.4"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("2001:db8:1234:5678::/64", "2001:db8:1234:5678::1") && holds("::/0", "2001:db8::"));
        assert!(!holds("::/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1") && !holds("0.0.0.0/0", "localhost"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.7"));
    }

    #[test]
    fn a_malformed_address_block_is_none() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/+8", "a/8"] {
            assert_eq!(Block::parse(text), None, "{text}");
        }
    }

    #[test]
    fn broad_blocks_are_not_fixed() {
        let fixed = |text| Block::parse(text).expect("a block").is_fixed();
        assert!(fixed("10.0.0.0/8") && !fixed("10.0.0.0/7") && fixed("2001:db8::/32") && !fixed("2001::/31"));
    }
}
