//! Blocks of IP addresses, in CIDR notation (RFC 4632 for IPv4, RFC 4291 section 2.3 for IPv6).

use std::net::IpAddr;

const IPV4_BITS: u8 = 32;
const IPV6_BITS: u8 = 128;
/// The shortest prefixes for which a block counts as a known network ("Blocking public access", "The meaning of
/// public").
const IPV4_PREFIX_FIXED: u8 = 8;
const IPV6_PREFIX_FIXED: u8 = 32;

/// An address and the number of its leading bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    address: IpAddr,
    prefix_bits: u8,
}

impl Block {
    /// Parses a block in CIDR notation, or a single address.
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

    /// Returns whether the block contains the address. An IPv4-mapped IPv6 address counts as the IPv4 address.
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

    /// Returns whether the block is narrow enough to count as a fixed value in a public access check.
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
    fn an_address_block_contains_the_addresses_with_its_prefix() {
        assert!(holds("203.0.113.0/24", "203.0.113.255") && !holds("203.0.113.0/24", "203.0.114.0"));
        assert!(holds("203.0.113.77/24", "203.0.113.1") && holds("0.0.0.0/0", "1.2.3.4"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("2001:db8:1234:5678::/64", "2001:db8:1234:5678::1") && holds("::/0", "2001:db8::"));
        assert!(!holds("::/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1") && !holds("0.0.0.0/0", "localhost"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.7"));
    }

    #[test]
    fn a_malformed_address_block_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/+8", "a/8"] {
            assert_eq!(Block::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_block_is_fixed_if_it_is_narrow_enough() {
        let fixed = |text| Block::parse(text).expect("a block").is_fixed();
        assert!(fixed("10.0.0.0/8") && !fixed("10.0.0.0/7") && fixed("2001:db8::/32") && !fixed("2001::/31"));
    }
}
