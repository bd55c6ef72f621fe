//! The placement of one blob: which node gets which shard, given which nodes are up.
//!
//! The bounds, in this order: a node holds two shards only if there are fewer nodes than shards; a host holds no more
//! than the most even spread over hosts needs (`ceil(n/h)` if all have enough drives); a failure domain holds no more
//! than the most even spread over domains then needs. If nodes are down, hosts and domains that are up may take up to
//! `m` shards each. Nodes that are up get the first shards. The remaining shards are placed on nodes that are down, and
//! written by repair. As they are the last shards, mostly parity is missing, and reads seldom need decoding.

use super::{Partition, Ring, write_quorum};
use crate::types::{BlobId, Epoch, Geometry, NodeId, ShardNumber};

/// The current availability of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    Live,
    /// The node has no room: it serves only reads and deletes.
    Full,
    Down,
}

/// The nodes of a new blob's shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The wanted geometry, or one with fewer data shards and the same parity.
    pub geometry: Geometry,
    /// `nodes[i]` takes shard `i`.
    pub nodes: Vec<NodeId>,
    /// The number of shards on writable nodes. Shards from this index on are on nodes that cannot be written now.
    pub writable: usize,
    /// The number of durable shards that the write needs.
    pub quorum: usize,
    /// The epoch of the layout by which the blob was placed.
    pub layout: Epoch,
}

impl Placement {
    /// The shards on nodes that cannot be written now, which repair has to write.
    pub fn missing(&self) -> impl Iterator<Item = ShardNumber> {
        (self.writable..self.nodes.len()).map(|shard| ShardNumber(shard as u8))
    }
}

/// The reason for which no blob can be placed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceRefusal {
    /// Too few drives are up. `full` of the `live` drives have no room. With the absent drives back there would be
    /// enough.
    #[error("{live} of {configured} drives are in service{}; writes at {geometry} need {needed}", words_of_full(*full))]
    TooFewLive { live: usize, full: usize, configured: usize, needed: usize, geometry: Geometry },
    /// The layout has no drive that takes shards: not all founding hosts are registered yet.
    #[error("no drive takes shards yet: not all founding hosts are registered in the cluster; wait until they are")]
    NoDrives,
    /// Enough drives are up, but on too few hosts, or in too few failure domains, to survive the loss of one.
    #[error("{live} of {configured} drives are in service, on too few hosts for writes at {geometry}")]
    TooFewHosts { live: usize, configured: usize, geometry: Geometry },
    /// Some drives are full, and the others would be too few even with every absent drive back.
    #[error("{full} of {configured} drives are full; writes at {geometry} need {needed} with room")]
    TooFewWithRoom { full: usize, configured: usize, needed: usize, geometry: Geometry },
}

fn words_of_full(full: usize) -> String {
    match full {
        0 => String::new(),
        full => format!(", {full} of them full"),
    }
}

/// The most shards of one blob that a node, a host and a failure domain may hold, for one geometry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) node: usize,
    pub(super) host: usize,
    pub(super) domain: usize,
}

impl Ring {
    /// Places a blob. If the geometry has one parity shard and the live nodes are too few for its quorum, but at least
    /// two, the blob is placed with fewer data shards (`live-1` + 1): a drive that is down does not stop writes, and
    /// the blob still survives any one loss.
    pub fn place(
        &self,
        blob: BlobId,
        wanted: Geometry,
        availability: impl Fn(NodeId) -> Availability,
    ) -> Result<Placement, PlaceRefusal> {
        let order = self.order_of(self.partition_of(blob));
        let availabilities: Vec<Availability> = self.nodes.iter().map(|node| availability(node.id)).collect();
        let geometry = self.writable_geometry(wanted, &availabilities)?;
        let least = self.least_caps(geometry);
        let caps = least.raised(geometry);
        let live = |at: usize| availabilities[at] == Availability::Live;
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

    /// Returns the nodes on which the shards of a partition's blobs belong while all nodes are up; `None` if no node
    /// takes shards.
    pub fn wanted(&self, partition: Partition, geometry: Geometry) -> Option<Vec<NodeId>> {
        if self.active_count() == 0 {
            return None;
        }
        let mut choice = Choice::new(self, geometry.shards());
        choice.take(self.order_of(partition), &|_| true, self.least_caps(geometry));
        Some(choice.nodes())
    }

    /// Fails with the reason if no blob could be placed now.
    pub fn check_writable(
        &self,
        wanted: Geometry,
        availability: impl Fn(NodeId) -> Availability,
    ) -> Result<(), PlaceRefusal> {
        let availabilities: Vec<Availability> = self.nodes.iter().map(|node| availability(node.id)).collect();
        self.writable_geometry(wanted, &availabilities).map(|_| ())
    }

    /// Returns the geometry in which enough shards can be written now.
    fn writable_geometry(&self, wanted: Geometry, availabilities: &[Availability]) -> Result<Geometry, PlaceRefusal> {
        let fitting = self.geometry_on(wanted, &|at| availabilities[at] == Availability::Live);
        fitting.ok_or_else(|| self.refusal(wanted, availabilities))
    }

    /// Returns the geometry in which the usable nodes take enough shards: the wanted one, else one with fewer data
    /// shards.
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

    /// Returns the reason for which the live nodes do not take enough shards. It is a lack of space only if there would
    /// be too few nodes with room even after all absent nodes came back.
    fn refusal(&self, wanted: Geometry, availabilities: &[Availability]) -> PlaceRefusal {
        let configured = self.active_count();
        if configured == 0 {
            return PlaceRefusal::NoDrives;
        }
        let needed = write_quorum(wanted, 1).min(configured);
        let active = availabilities.iter().zip(&self.active).filter(|(_, active)| **active);
        let count = |which: Availability| active.clone().filter(|(availability, _)| **availability == which).count();
        let (live, full) = (count(Availability::Live), count(Availability::Full));
        let geometry = wanted;
        if full > 0 && self.geometry_on(wanted, &|at| availabilities[at] != Availability::Full).is_none() {
            PlaceRefusal::TooFewWithRoom { full, configured, needed, geometry }
        } else if live >= needed {
            PlaceRefusal::TooFewHosts { live, configured, geometry }
        } else {
            PlaceRefusal::TooFewLive { live: live + full, full, configured, needed, geometry }
        }
    }

    /// Returns the shards of one blob that the usable active nodes can take within the caps.
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

    /// Returns the least caps under which the whole layout takes all shards: the node's is minimised first, then the
    /// host's, then the domain's.
    pub(super) fn least_caps(&self, geometry: Geometry) -> Caps {
        let shards = geometry.shards();
        let least = |fits: &dyn Fn(usize) -> bool| (1..=shards).find(|&cap| fits(cap)).unwrap_or(shards);
        let mut caps = Caps { node: shards.div_ceil(self.active_count().max(1)), host: shards, domain: shards };
        caps.host = least(&|host| self.slots(Caps { host, ..caps }, &|_| true) >= shards);
        caps.domain = least(&|domain| self.slots(Caps { domain, ..caps }, &|_| true) >= shards);
        caps
    }
}

/// Returns the most shards that any one node has; `nodes[i]` is the node of shard `i`.
pub fn most_on_a_node(nodes: &[NodeId]) -> usize {
    nodes.iter().map(|node| nodes.iter().filter(|other| *other == node).count()).max().unwrap_or(0)
}

impl Caps {
    /// Raises the caps of hosts and domains to `m`, for placement while others are down: the blob can spare `m` shards,
    /// so it survives the loss of a host or domain that has as many.
    pub(super) fn raised(self, geometry: Geometry) -> Self {
        let parity = usize::from(geometry.parity);
        Self { host: self.host.max(parity), domain: self.domain.max(parity), ..self }
    }
}

/// The nodes chosen so far for the shards of a blob.
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

    /// Chooses nodes up to the caps. Goes through the order in rounds with rising bounds, first of hosts, then of
    /// domains, then of nodes, so that shards spread as widely as possible before a host, domain or node gets another
    /// one.
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
