//! Placing one blob: which node gets which shard, given which nodes are up.
//!
//! Bounds, in this order: no node holds two shards unless there are fewer nodes than shards; no host holds more than an even
//! spread over hosts with drives enough needs (`ceil(n/h)`); no failure domain holds more than an even spread over domains
//! needs then. Where nodes are down, hosts and domains that are up may take up to `m`. Nodes that are up come first, and
//! shards for which there is no such node are placed on one that is down, to be written by repair: these are the last shards,
//! so that reads of what is missing less often need decoding.

use super::{Partition, Ring, write_quorum};
use crate::types::{BlobId, Epoch, Geometry, NodeId, ShardIndex};

/// The current availability of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Live,
    /// Reads and deletes only.
    Full,
    Down,
}

/// The nodes of a new blob's shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The wanted geometry, or a narrower one of the same redundancy.
    pub geometry: Geometry,
    /// `nodes[i]` takes shard `i`.
    pub nodes: Vec<NodeId>,
    /// Shards from this one on are on nodes that cannot be written now.
    pub writable: usize,
    /// Durable shards that make the write.
    pub quorum: usize,
    /// The epoch of the layout that it was placed by.
    pub layout: Epoch,
}

impl Placement {
    /// Shards that are left to repair from the start.
    pub fn missing(&self) -> impl Iterator<Item = ShardIndex> {
        (self.writable..self.nodes.len()).map(|shard| ShardIndex(shard as u8))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceRefusal {
    /// `full` of the `live` ones have no room; with those that are absent back there would be enough.
    #[error("{live} of {configured} drives are in service{}; writes at {geometry} need {needed}", words_of_full(*full))]
    TooFewLive { live: usize, full: usize, configured: usize, needed: usize, geometry: Geometry },
    /// The layout has no drive that takes shards: not all founding hosts are registered yet.
    #[error(
        "no drive takes shards yet; those of the founding hosts do as soon as all of them are known to the cluster"
    )]
    NoDrives,
    /// Enough drives are up, on too few hosts (or in too few failure domains) to survive the loss of one.
    #[error("{live} of {configured} drives are in service, on too few hosts for writes at {geometry}")]
    TooFewHosts { live: usize, configured: usize, geometry: Geometry },
    /// Some drives are full, and the others would be too few even with every absent one back.
    #[error("{full} of {configured} drives are full; writes at {geometry} need {needed} with room")]
    TooFewWithRoom { full: usize, configured: usize, needed: usize, geometry: Geometry },
}

fn words_of_full(full: usize) -> String {
    match full {
        0 => String::new(),
        full => format!(", {full} of them full"),
    }
}

/// The number of shards that each node, each host and each failure domain may hold, for one geometry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) node: usize,
    pub(super) host: usize,
    pub(super) domain: usize,
}

impl Ring {
    /// Places a blob. With one parity shard and too few live nodes for the quorum, but at least two, the blob is placed
    /// narrower (`live-1` + 1), so that one drive down stops nothing and any one loss is still survived.
    pub fn place(
        &self,
        blob: BlobId,
        wanted: Geometry,
        standing: impl Fn(NodeId) -> Standing,
    ) -> Result<Placement, PlaceRefusal> {
        let order = self.order_of(self.partition_of(blob));
        let standings: Vec<Standing> = self.nodes.iter().map(|node| standing(node.id)).collect();
        let geometry = self.writable_geometry(wanted, &standings)?;
        let least = self.least_caps(geometry);
        let caps = least.raised(geometry);
        let live = |at: usize| standings[at] == Standing::Live;
        let mut choice = Choice::new(self, geometry.shards());
        choice.take(order, &live, least);
        choice.take(order, &live, caps);
        let writable = choice.chosen.len();
        choice.take(order, &|at| !live(at), caps);
        let nodes = choice.nodes();
        assert!(nodes.len() == geometry.shards(), "caps are made so that all shards find a place");
        let quorum = write_quorum(geometry, most_on_a_node(&nodes));
        Ok(Placement { geometry, nodes, writable, quorum, layout: self.epoch() })
    }

    /// The nodes that the shards of a partition's blobs belong on, while all nodes are up; `None` where no node takes shards.
    pub fn wanted(&self, partition: Partition, geometry: Geometry) -> Option<Vec<NodeId>> {
        if self.active_count() == 0 {
            return None;
        }
        let mut choice = Choice::new(self, geometry.shards());
        choice.take(self.order_of(partition), &|_| true, self.least_caps(geometry));
        Some(choice.nodes())
    }

    /// Returns the reason if no blob could be placed now.
    pub fn check_writable(&self, wanted: Geometry, standing: impl Fn(NodeId) -> Standing) -> Result<(), PlaceRefusal> {
        let standings: Vec<Standing> = self.nodes.iter().map(|node| standing(node.id)).collect();
        self.writable_geometry(wanted, &standings).map(|_| ())
    }

    /// The geometry in which enough shards can be written now.
    fn writable_geometry(&self, wanted: Geometry, standings: &[Standing]) -> Result<Geometry, PlaceRefusal> {
        let fitting = self.geometry_on(wanted, &|at| standings[at] == Standing::Live);
        fitting.ok_or_else(|| self.refusal(wanted, standings))
    }

    /// The geometry in which these nodes take enough shards: the wanted one, else a narrow one.
    fn geometry_on(&self, wanted: Geometry, usable: &dyn Fn(usize) -> bool) -> Option<Geometry> {
        let slots = |geometry: Geometry| {
            let caps = self.least_caps(geometry).raised(geometry);
            (self.slots(caps, usable).min(geometry.shards()), write_quorum(geometry, caps.node))
        };
        let (writable, quorum) = slots(wanted);
        if writable >= quorum {
            return Some(wanted);
        }
        if wanted.parity == 1 && writable >= 2 {
            let narrow = Geometry { data: (writable - 1) as u8, ..wanted };
            let (writable, quorum) = slots(narrow);
            return (writable >= quorum).then_some(narrow);
        }
        None
    }

    /// Returns the reason for which the live nodes do not take enough shards: lack of space only if no node that may
    /// come back would help.
    fn refusal(&self, wanted: Geometry, standings: &[Standing]) -> PlaceRefusal {
        let configured = self.active_count();
        if configured == 0 {
            return PlaceRefusal::NoDrives;
        }
        let needed = write_quorum(wanted, 1).min(configured);
        let active = standings.iter().zip(&self.active).filter(|(_, active)| **active);
        let count = |which: Standing| active.clone().filter(|(standing, _)| **standing == which).count();
        let (live, full) = (count(Standing::Live), count(Standing::Full));
        let geometry = wanted;
        if full > 0 && self.geometry_on(wanted, &|at| standings[at] != Standing::Full).is_none() {
            PlaceRefusal::TooFewWithRoom { full, configured, needed, geometry }
        } else if live >= needed {
            PlaceRefusal::TooFewHosts { live, configured, geometry }
        } else {
            PlaceRefusal::TooFewLive { live: live + full, full, configured, needed, geometry }
        }
    }

    /// Shards that some of the active nodes can take within the caps.
    pub(super) fn slots(&self, caps: Caps, usable: &dyn Fn(usize) -> bool) -> usize {
        let mut by_host = vec![0usize; self.hosts.len()];
        for at in (0..self.nodes.len()).filter(|&at| self.active[at] && usable(at)) {
            by_host[self.host_of[at]] += caps.node;
        }
        let mut by_domain = vec![0usize; self.domains];
        for (host, slots) in by_host.into_iter().enumerate() {
            by_domain[self.domain_of[host]] += slots.min(caps.host);
        }
        by_domain.into_iter().map(|slots| slots.min(caps.domain)).sum()
    }

    /// The least caps under which the whole layout takes all shards: a node's first, then a host's, then a domain's.
    pub(super) fn least_caps(&self, geometry: Geometry) -> Caps {
        let shards = geometry.shards();
        let least = |fits: &dyn Fn(usize) -> bool| (1..=shards).find(|&cap| fits(cap)).unwrap_or(shards);
        let mut caps = Caps { node: shards.div_ceil(self.active_count().max(1)), host: shards, domain: shards };
        caps.host = least(&|host| self.slots(Caps { host, ..caps }, &|_| true) >= shards);
        caps.domain = least(&|domain| self.slots(Caps { domain, ..caps }, &|_| true) >= shards);
        caps
    }
}

/// The most shards that one of the nodes of a blob has.
pub fn most_on_a_node(nodes: &[NodeId]) -> usize {
    nodes.iter().map(|node| nodes.iter().filter(|other| *other == node).count()).max().unwrap_or(0)
}

impl Caps {
    /// A host or domain with `m` shards loses no more with all of them than the blob can spare: where others are down, it may
    /// take as many.
    pub(super) fn raised(self, geometry: Geometry) -> Self {
        let parity = usize::from(geometry.parity);
        Self { host: self.host.max(parity), domain: self.domain.max(parity), ..self }
    }
}

/// Shards placed so far.
struct Choice<'a> {
    ring: &'a Ring,
    shards: usize,
    /// Indices of nodes.
    chosen: Vec<usize>,
    by_node: Vec<usize>,
    by_host: Vec<usize>,
    by_domain: Vec<usize>,
}

impl<'a> Choice<'a> {
    fn new(ring: &'a Ring, shards: usize) -> Self {
        Self {
            ring,
            shards,
            chosen: Vec::with_capacity(shards),
            by_node: vec![0; ring.nodes.len()],
            by_host: vec![0; ring.hosts.len()],
            by_domain: vec![0; ring.domains],
        }
    }

    /// Goes through the order in rounds, each with one more shard allowed a host, then a domain, then a node, so that shards
    /// spread as widely as they can before anything gets its second.
    fn take(&mut self, order: &[u16], usable: &dyn Fn(usize) -> bool, caps: Caps) {
        for node in 1..=caps.node {
            for domain in 1..=caps.domain {
                for host in 1..=caps.host.min(domain) {
                    for at in order.iter().map(|&at| usize::from(at)).filter(|&at| usable(at)) {
                        if self.chosen.len() == self.shards {
                            return;
                        }
                        self.take_one(at, Caps { node, host, domain });
                    }
                }
            }
        }
    }

    fn take_one(&mut self, at: usize, caps: Caps) {
        let host = self.ring.host_of[at];
        let domain = self.ring.domain_of[host];
        if self.by_node[at] < caps.node && self.by_host[host] < caps.host && self.by_domain[domain] < caps.domain {
            self.by_node[at] += 1;
            self.by_host[host] += 1;
            self.by_domain[domain] += 1;
            self.chosen.push(at);
        }
    }

    fn nodes(self) -> Vec<NodeId> {
        self.chosen.into_iter().map(|at| self.ring.nodes[at].id).collect()
    }
}
