//! The guarantee of a layout: how many domains, hosts or drives may be lost while every complete blob stays readable,
//! and how many may be down while writes go on. Pure.

use super::place::{Availability, Caps};
use super::{Ring, write_quorum};
use crate::types::{Geometry, NodeId};
use std::fmt;

/// The numbers of failure domains, hosts or drives that may be lost: any such number of one kind, but not of several
/// kinds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Losses {
    pub domains: usize,
    pub hosts: usize,
    pub drives: usize,
}

impl Losses {
    /// Unlimited losses, for a store without data.
    pub const ANY: Self = Self { domains: usize::MAX, hosts: usize::MAX, drives: usize::MAX };

    pub const NONE: Self = Self { domains: 0, hosts: 0, drives: 0 };

    /// Returns the losses that are left after `lost` of each kind.
    pub fn less(self, lost: usize) -> Self {
        Self {
            domains: self.domains.saturating_sub(lost),
            hosts: self.hosts.saturating_sub(lost),
            drives: self.drives.saturating_sub(lost),
        }
    }

    pub fn min(self, other: Self) -> Self {
        Self {
            domains: self.domains.min(other.domains),
            hosts: self.hosts.min(other.hosts),
            drives: self.drives.min(other.drives),
        }
    }
}

/// The losses that a blob survives if all its shards are intact and placed by the layout. If no domain has several
/// hosts, `domains` equals `hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantee {
    /// Any this many failure domains may be lost.
    pub domains: usize,
    /// Any this many hosts may be lost.
    pub hosts: usize,
    /// Any this many drives may be lost.
    pub drives: usize,
    /// The number of hosts that may be down while new blobs are still written.
    pub hosts_down_for_writes: usize,
    /// True if any domain has several hosts.
    pub has_domains: bool,
}

impl Guarantee {
    pub fn losses(&self) -> Losses {
        Losses { domains: self.domains, hosts: self.hosts, drives: self.drives }
    }

    /// Limits the guarantee by `losses`, kind by kind: the losses that something else than shards survives, such as
    /// metadata.
    pub fn at_most(self, losses: Losses) -> Self {
        let Losses { domains, hosts, drives } = self.losses().min(losses);
        let hosts_down_for_writes = self.hosts_down_for_writes.min(losses.hosts);
        Self { domains, hosts, drives, hosts_down_for_writes, ..self }
    }
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
    /// Returns the guarantee for blobs of this geometry that are placed while all nodes are up. A layout without active
    /// nodes guarantees nothing.
    pub fn guarantee(&self, geometry: Geometry) -> Guarantee {
        let has_domains = self.domains < self.hosts.len();
        let Losses { domains, hosts, drives } = self.losses_with(geometry, usize::from(geometry.parity));
        let caps = self.least_caps(geometry);
        let nodes_of = self.slots_by_host(caps);
        let hosts_down_for_writes =
            if self.active_count() == 0 { 0 } else { self.hosts_down_for_writes(geometry, &nodes_of) };
        Guarantee { domains, hosts, drives, hosts_down_for_writes, has_domains }
    }

    /// Returns the losses that a blob of this geometry, placed by this layout, survives if it can lose `spare` shards.
    pub fn losses_with(&self, geometry: Geometry, spare: usize) -> Losses {
        if self.active_count() == 0 {
            return Losses::NONE;
        }
        let caps = self.least_caps(geometry);
        let nodes_of = self.slots_by_host(caps);
        let by_host: Vec<usize> = nodes_of.iter().map(|slots| (*slots).min(caps.host)).collect();
        let mut by_domain = vec![0usize; self.domains];
        for (host, held) in by_host.iter().enumerate() {
            by_domain[self.domain_of[host]] += held;
        }
        by_domain.iter_mut().for_each(|held| *held = (*held).min(caps.domain));
        Losses {
            domains: losses_within(by_domain, spare),
            hosts: losses_within(by_host, spare),
            drives: spare / caps.node,
        }
    }

    /// Returns the shards of one blob that the drives of each host could take, without regard to the bound of a host.
    fn slots_by_host(&self, caps: Caps) -> Vec<usize> {
        let mut slots = vec![0usize; self.hosts.len()];
        for at in (0..self.nodes.len()).filter(|&at| self.active[at]) {
            slots[self.host_of[at]] += caps.node;
        }
        slots
    }

    /// Returns the most shards of one blob that this layout places on a node.
    pub fn shards_of_node_max(&self, geometry: Geometry) -> usize {
        self.least_caps(geometry).node
    }
}

/// The greatest number of losses that is examined.
const LOSSES_MAX: usize = 32;

impl Ring {
    /// Returns the further losses, from the current state of the nodes, after which new blobs can still be written.
    pub fn losses_for_writes(&self, geometry: Geometry, availability: impl Fn(NodeId) -> Availability) -> Losses {
        let live: Vec<usize> = (0..self.nodes.len())
            .filter(|&at| self.active[at] && availability(self.nodes[at].id) == Availability::Live)
            .collect();
        let count = |lost: Lost| {
            let least = |geometry: Geometry| {
                let caps = self.least_caps(geometry).raised(geometry);
                (self.least_slots(caps, &live, lost), write_quorum(geometry, caps.node))
            };
            let (wanted, quorum) = least(geometry);
            let goes_on = |lost: usize| {
                let left = wanted[lost].min(geometry.shards());
                if left >= quorum {
                    return true;
                }
                let (narrow, quorum) = least(Geometry { data: left.saturating_sub(1) as u8, ..geometry });
                geometry.parity == 1 && left >= 2 && narrow[lost] >= quorum
            };
            (0..=LOSSES_MAX).take_while(|&lost| goes_on(lost)).count().saturating_sub(1)
        };
        Losses { domains: count(Lost::Domains), hosts: count(Lost::Hosts), drives: count(Lost::Drives) }
    }

    /// Returns, for each number of losses up to `LOSSES_MAX`, the shards that the remaining nodes can take in the worst
    /// case.
    fn least_slots(&self, caps: Caps, live: &[usize], lost: Lost) -> Vec<usize> {
        let mut drives = vec![0usize; self.hosts.len()];
        live.iter().for_each(|&at| drives[self.host_of[at]] += 1);
        let mut by_domain: Vec<Vec<usize>> = vec![vec![0; LOSSES_MAX + 1]; self.domains];
        for (host, &drives) in drives.iter().enumerate() {
            let left = |gone: usize| (drives.saturating_sub(gone) * caps.node).min(caps.host);
            let of_host: Vec<usize> = match lost {
                Lost::Drives => (0..=LOSSES_MAX).map(left).collect(),
                Lost::Hosts => (0..=LOSSES_MAX).map(|gone| if gone == 0 { left(0) } else { 0 }).collect(),
                Lost::Domains => vec![left(0); LOSSES_MAX + 1],
            };
            let domain = &mut by_domain[self.domain_of[host]];
            *domain = fewest(domain, &of_host);
        }
        let mut all = vec![0; LOSSES_MAX + 1];
        for domain in by_domain {
            let mut domain: Vec<usize> = domain.into_iter().map(|slots| slots.min(caps.domain)).collect();
            if lost == Lost::Domains {
                domain[1..].fill(0);
            }
            all = fewest(&all, &domain);
        }
        all
    }
}

/// The kind of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Domains,
    Hosts,
    Drives,
}

/// Combines two parts of the layout. Each input has, for each number of losses within that part, the shards that remain
/// there; the result has the fewest that remain in both, over all ways to divide the losses.
fn fewest(one: &[usize], other: &[usize]) -> Vec<usize> {
    let least = |lost: usize| (0..=lost).map(|of_one| one[of_one] + other[lost - of_one]).min().unwrap_or(0);
    (0..one.len()).map(least).collect()
}

impl Ring {
    /// Returns a lower bound of the hosts that may be down while writes go on. It disregards that other hosts of a
    /// domain may take the shards of one that is down.
    fn hosts_down_for_writes(&self, geometry: Geometry, nodes_of: &[usize]) -> usize {
        let caps = self.least_caps(geometry).raised(geometry);
        let mut takes: Vec<usize> = nodes_of.iter().map(|slots| (*slots).min(caps.host)).collect();
        takes.retain(|takes| *takes > 0);
        takes.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = self.slots(caps, &|_| true);
        let mut writes_go_on = |takes: &&usize| {
            left = left.saturating_sub(**takes);
            left >= write_quorum(geometry, caps.node)
        };
        takes.iter().take_while(|takes| writes_go_on(takes)).count()
    }
}

/// Returns the number of losses that take at most `shards` shards in the worst case, but never all: losing everything
/// is no guarantee.
fn losses_within(mut held: Vec<usize>, shards: usize) -> usize {
    held.retain(|held| *held > 0);
    let all = held.len();
    most_within(held, shards).min(all.saturating_sub(1))
}

/// Returns how many of the items, the largest first, may be lost until their sum exceeds `spare`.
pub fn most_within(mut held: Vec<usize>, spare: usize) -> usize {
    held.sort_unstable_by(|a, b| b.cmp(a));
    let mut lost = 0;
    let within = |held: &&usize| {
        lost += **held;
        lost <= spare
    };
    held.iter().take_while(within).count()
}
