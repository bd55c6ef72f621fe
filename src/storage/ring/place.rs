//! Placing one blob: which node gets which shard, given which nodes are up.
//!
//! Bounds, in this order: no node holds two shards unless there are fewer nodes than shards; no host holds more than `m`
//! shards where the configured hosts suffice for that, else as few as an even spread allows. Within them nodes that are up
//! come first, and shards for which there is no such node are placed on one that is down, to be written by repair: these are
//! the last shards, so that reads of what is missing less often need decoding.

use super::{Ring, write_quorum};
use crate::types::{BlobId, Geometry, NodeId, ShardIndex};

/// What a node is good for just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Live,
    /// Reads and deletes only.
    Full,
    Down,
}

/// Where the shards of a new blob go.
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
}

impl Placement {
    /// Shards that are left to repair from the start.
    pub fn missing(&self) -> impl Iterator<Item = ShardIndex> {
        (self.writable..self.nodes.len()).map(|shard| ShardIndex(shard as u8))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceRefusal {
    #[error("{live} of {configured} drives are in service; writes at {geometry} need {needed}")]
    TooFewLive { live: usize, configured: usize, needed: usize, geometry: Geometry },
    /// Enough drives are up, on too few hosts to survive the loss of one.
    #[error("{live} of {configured} drives are in service, on too few hosts for writes at {geometry}")]
    TooFewHosts { live: usize, configured: usize, geometry: Geometry },
    /// Enough drives are up, and too few of them have room.
    #[error("{full} of {configured} drives are full; writes at {geometry} need {needed} with room")]
    TooFewWithRoom { full: usize, configured: usize, needed: usize, geometry: Geometry },
}

/// How many shards each node and each host may hold, for one geometry.
#[derive(Clone, Copy)]
struct Caps {
    node: usize,
    host: usize,
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
        let order = self.order_of(blob);
        let standings: Vec<Standing> = self.nodes.iter().map(|node| standing(node.id)).collect();
        let geometry = self.writable_geometry(wanted, &standings)?;
        let caps = self.caps(geometry);
        let mut taken = Taken { nodes: vec![0; self.nodes.len()], hosts: vec![0; self.hosts.len()] };
        let mut chosen = Vec::with_capacity(geometry.shards());
        self.choose(order, &|at| standings[at] == Standing::Live, geometry.shards(), caps, &mut taken, &mut chosen);
        let writable = chosen.len();
        self.choose(order, &|at| standings[at] != Standing::Live, geometry.shards(), caps, &mut taken, &mut chosen);
        let nodes: Vec<NodeId> = chosen.into_iter().map(|at| self.nodes[at].id).collect();
        assert!(nodes.len() == geometry.shards(), "caps are made so that all shards find a place");
        Ok(Placement { geometry, nodes, writable, quorum: write_quorum(geometry) })
    }

    /// Whether a blob could be placed now, and why not.
    pub fn check_writable(&self, wanted: Geometry, standing: impl Fn(NodeId) -> Standing) -> Result<(), PlaceRefusal> {
        let standings: Vec<Standing> = self.nodes.iter().map(|node| standing(node.id)).collect();
        self.writable_geometry(wanted, &standings).map(|_| ())
    }

    /// The geometry in which enough shards can be written now.
    fn writable_geometry(&self, wanted: Geometry, standings: &[Standing]) -> Result<Geometry, PlaceRefusal> {
        let slots = |geometry: Geometry| {
            self.slots(self.caps(geometry), &|at| standings[at] == Standing::Live).min(geometry.shards())
        };
        let writable = slots(wanted);
        if writable >= write_quorum(wanted) {
            return Ok(wanted);
        }
        if wanted.parity == 1 && writable >= 2 {
            let narrow = Geometry { data: (writable - 1) as u8, ..wanted };
            if slots(narrow) >= write_quorum(narrow) {
                return Ok(narrow);
            }
        }
        let configured = self.nodes.len();
        let needed = write_quorum(wanted).min(configured.max(1));
        let count = |which: Standing| standings.iter().filter(|&&standing| standing == which).count();
        let (live, full) = (count(Standing::Live), count(Standing::Full));
        let geometry = wanted;
        Err(match (live >= needed, live + full >= needed) {
            (true, _) => PlaceRefusal::TooFewHosts { live, configured, geometry },
            (false, true) => PlaceRefusal::TooFewWithRoom { full, configured, needed, geometry },
            (false, false) => PlaceRefusal::TooFewLive { live: live + full, configured, needed, geometry },
        })
    }

    /// Shards that some nodes can take within the caps.
    fn slots(&self, caps: Caps, usable: &dyn Fn(usize) -> bool) -> usize {
        let mut by_host = vec![0usize; self.hosts.len()];
        for at in (0..self.nodes.len()).filter(|&at| usable(at)) {
            by_host[self.host_of[at]] += caps.node;
        }
        by_host.into_iter().map(|slots| slots.min(caps.host)).sum()
    }

    /// The least caps under which the whole layout takes all shards; a host's is raised to `m`, which loses nothing.
    fn caps(&self, geometry: Geometry) -> Caps {
        let shards = geometry.shards();
        let node = shards.div_ceil(self.nodes.len().max(1));
        let fits = |&host: &usize| self.slots(Caps { node, host }, &|_| true) >= shards;
        let least = (1..=shards).find(fits).unwrap_or(shards);
        Caps { node, host: least.max(usize::from(geometry.parity)) }
    }

    /// Goes through the order in rounds, each with one more shard allowed a host, then a node, so that shards spread as
    /// widely as they can before a domain gets its second.
    fn choose(
        &self,
        order: &[u16],
        usable: &dyn Fn(usize) -> bool,
        shards: usize,
        caps: Caps,
        taken: &mut Taken,
        chosen: &mut Vec<usize>,
    ) {
        for per_node in 1..=caps.node {
            for per_host in 1..=caps.host {
                for at in order.iter().map(|&at| usize::from(at)).filter(|&at| usable(at)) {
                    if chosen.len() == shards {
                        return;
                    }
                    let host = self.host_of[at];
                    if taken.nodes[at] < per_node && taken.hosts[host] < per_host {
                        taken.nodes[at] += 1;
                        taken.hosts[host] += 1;
                        chosen.push(at);
                    }
                }
            }
        }
    }
}

/// Shards placed so far.
struct Taken {
    nodes: Vec<usize>,
    hosts: Vec<usize>,
}
