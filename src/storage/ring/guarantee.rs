//! What a layout guarantees: how much of it may be lost while every blob that is whole stays readable. Pure.

use super::Ring;
use crate::types::Geometry;
use std::fmt;

/// How many of each kind may be lost at once, of blobs that are whole and placed by this layout. A kind that is not there
/// apart from the next (no domains of several hosts) has the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantee {
    /// Any so many failure domains.
    pub domains: usize,
    /// Any so many hosts.
    pub hosts: usize,
    /// Any so many drives.
    pub drives: usize,
    /// Any so many hosts may be down while new blobs are still written.
    pub hosts_down_for_writes: usize,
    /// Whether any domain has several hosts.
    pub has_domains: bool,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let domains = if self.has_domains { Some(count(self.domains, "domain")) } else { None };
        let kinds = domains.into_iter().chain([count(self.hosts, "host"), count(self.drives, "drive")]);
        let survived: Vec<String> = kinds.filter(|kind| !kind.starts_with("0 ")).collect();
        match survived.is_empty() {
            true => f.write_str("survives no loss"),
            false => write!(f, "survives {}", survived.join(" or ")),
        }
    }
}

impl Ring {
    /// For blobs of this geometry, with all nodes up when they are placed. No layout without active nodes guarantees anything.
    pub fn guarantee(&self, geometry: Geometry) -> Guarantee {
        let has_domains = self.domains < self.hosts.len();
        if self.active_count() == 0 {
            return Guarantee { domains: 0, hosts: 0, drives: 0, hosts_down_for_writes: 0, has_domains };
        }
        let caps = self.least_caps(geometry);
        let mut nodes_of = vec![0usize; self.hosts.len()];
        for at in (0..self.nodes.len()).filter(|&at| self.active[at]) {
            nodes_of[self.host_of[at]] += caps.node;
        }
        let by_host: Vec<usize> = nodes_of.iter().map(|slots| (*slots).min(caps.host)).collect();
        let mut by_domain = vec![0usize; self.domains];
        for (host, held) in by_host.iter().enumerate() {
            by_domain[self.domain_of[host]] += held;
        }
        by_domain.iter_mut().for_each(|held| *held = (*held).min(caps.domain));
        let parity = usize::from(geometry.parity);
        Guarantee {
            domains: losses_within(by_domain, parity),
            hosts_down_for_writes: self.hosts_down_for_writes(geometry, &nodes_of),
            hosts: losses_within(by_host, parity),
            drives: parity / caps.node,
            has_domains,
        }
    }
}

impl Ring {
    /// Never too many: that the shards of hosts that are down may find room elsewhere in their domain is not counted on.
    fn hosts_down_for_writes(&self, geometry: Geometry, nodes_of: &[usize]) -> usize {
        let caps = self.least_caps(geometry).raised(geometry);
        let mut takes: Vec<usize> = nodes_of.iter().map(|slots| (*slots).min(caps.host)).collect();
        takes.retain(|takes| *takes > 0);
        takes.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = self.slots(caps, &|_| true);
        let mut writes_go_on = |takes: &&usize| {
            left = left.saturating_sub(**takes);
            left >= super::write_quorum(geometry)
        };
        takes.iter().take_while(|takes| writes_go_on(takes)).count()
    }
}

/// How many of these, the largest first, may go while no more than so many shards go with them. Losing all of them is no
/// guarantee.
fn losses_within(mut held: Vec<usize>, shards: usize) -> usize {
    held.retain(|held| *held > 0);
    held.sort_unstable_by(|a, b| b.cmp(a));
    let mut lost = 0;
    held.iter()
        .take_while(|held| {
            lost += **held;
            lost <= shards
        })
        .count()
        .min(held.len().saturating_sub(1))
}
