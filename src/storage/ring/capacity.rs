//! The capacity for new objects, from the free space of the drives and the redundancy. Pure.

use super::Ring;
use super::place::Caps;
use crate::types::{Geometry, NodeId};

impl Ring {
    /// Returns the bytes of objects that still fit if each node has `free` bytes: the stripes of which all shards find
    /// room within the bounds of nodes, hosts and domains. The space for chunk headers and metadata is not subtracted.
    pub fn usable_bytes(&self, geometry: Geometry, free: impl Fn(NodeId) -> u64) -> u64 {
        let active = (0..self.nodes.len()).filter(|&at| self.active[at]);
        let free: Vec<(usize, u64)> = active.map(|at| (self.host_of[at], free(self.nodes[at].id))).collect();
        let (caps, shards) = (self.least_caps(geometry), geometry.shards() as u128);
        // A binary search for the longest shard length such that all shards of one stripe find room.
        let (mut fits, mut too_much) = (0u128, free.iter().map(|(_, free)| u128::from(*free)).sum::<u128>() + 1);
        while too_much - fits > 1 {
            let length = fits + (too_much - fits) / 2;
            if self.room_for(caps, &free, length) >= shards * length {
                fits = length;
            } else {
                too_much = length;
            }
        }
        u64::try_from(fits * u128::from(geometry.data)).unwrap_or(u64::MAX)
    }

    /// Returns the bytes that the nodes can take of a stripe with shards of this length. `free` has the host and the
    /// free bytes of each node.
    fn room_for(&self, caps: Caps, free: &[(usize, u64)], length: u128) -> u128 {
        let at_most = |bytes: u128, cap: usize| bytes.min(cap as u128 * length);
        let mut by_host = vec![0u128; self.hosts.len()];
        free.iter().for_each(|&(host, free)| by_host[host] += at_most(u128::from(free), caps.node));
        let mut by_domain = vec![0u128; self.domains];
        for (host, bytes) in by_host.into_iter().enumerate() {
            by_domain[self.domain_of[host]] += at_most(bytes, caps.host);
        }
        by_domain.into_iter().map(|bytes| at_most(bytes, caps.domain)).sum()
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::ring::{Layout, LayoutNode, Ring};
    use crate::types::{Epoch, Geometry, HostId, NodeId};

    fn ring(hosts: &[u32]) -> Ring {
        let drives = |(host, drives): (u64, &u32)| {
            (0..*drives).map(move |drive| LayoutNode {
                id: NodeId(host as u32 * 64 + drive),
                host: HostId(host),
                weight: 1,
            })
        };
        Ring::new(&Layout::new(Epoch(1), (0..).zip(hosts).flat_map(drives).collect::<Vec<_>>()))
    }

    fn usable(hosts: &[u32], data: u8, parity: u8, free: impl Fn(NodeId) -> u64) -> u64 {
        ring(hosts).usable_bytes(Geometry { data, parity, chunk_size_bytes: 4096 }, free)
    }

    #[test]
    fn capacity_is_free_space_after_redundancy() {
        assert_eq!(usable(&[1], 1, 0, |_| 100), 100);
        assert_eq!(usable(&[4], 2, 2, |_| 100), 200);
        assert_eq!(usable(&[6], 4, 2, |_| 100), 400);
        assert_eq!(usable(&[1, 1, 1], 1, 2, |_| 100), 100);
        assert_eq!(usable(&[8], 2, 2, |_| 100), 400, "stripes take turns on eight");
        assert_eq!(usable(&[], 1, 0, |_| 100), 0);
        assert_eq!(usable(&[4], 2, 2, |_| 0), 0);
    }

    #[test]
    fn free_space_on_one_drive_alone_adds_no_capacity() {
        let first = |node: NodeId| if node == NodeId(0) { 1000 } else { 100 };
        assert_eq!(usable(&[4], 2, 2, first), 200, "each stripe has one shard there");
        assert_eq!(usable(&[5], 2, 2, first), 266, "the other four take turns for the other three shards");
        let host = |node: NodeId| if node.0 < 64 { 1000 } else { 100 };
        assert_eq!(usable(&[2, 1, 1], 1, 2, host), 100, "a host has one shard of three");
    }

    #[test]
    fn the_capacity_of_the_largest_drives_does_not_overflow() {
        assert_eq!(usable(&[4], 2, 2, |_| u64::MAX / 4), u64::MAX / 4 * 2);
        assert_eq!(usable(&[8], 4, 2, |_| u64::MAX), u64::MAX);
    }
}
