//! How the host is, for those who probe it.

use crate::actors::consensus::{Agreement, MetaHandle};
use crate::actors::drives::health::{NodeHealth, NodeState, SpaceLevel};
use crate::actors::gateway::StoreError;
use crate::actors::request::RequestContext;
use crate::api::{DriveHealth, Health, HealthSource};
use crate::types::{Geometry, HostId, NodeId};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug)]
pub(super) struct HostStatus {
    pub context: Arc<RequestContext>,
    pub metadata: MetaHandle,
    pub dirs: BTreeMap<NodeId, PathBuf>,
    /// Whether this host and its drives are known to the metadata.
    pub is_known: Arc<AtomicBool>,
}

impl HealthSource for HostStatus {
    fn health(&self) -> Health {
        let nodes = self.context.health.current();
        let metadata = self.why_no_metadata();
        let writable = self.context.check_writable();
        let ring = self.context.ring.current();
        let all = ring.nodes().len();
        let down = ring.nodes().iter().filter(|node| !nodes.in_service(node.id)).count();
        let reach = Reach::of(self.context.geometry, all, down);
        let mut reasons = Vec::new();
        reasons.extend(metadata.as_ref().map(|why| format!("metadata: {why}")));
        reasons.extend(self.replicas_that_differ());
        reasons.extend(reach.words(down, all));
        reasons.extend(writable.as_ref().err().map(why_not_writable));
        reasons.extend(self.metadata.clock().status().troubles());
        Health {
            reads: metadata.is_none() && reach != Reach::Nothing,
            writes: metadata.is_none() && writable.is_ok(),
            reasons,
            guarantee: ring.guarantee(self.context.geometry).to_string(),
            drives: self.drives(&nodes),
        }
    }
}

impl HostStatus {
    /// Those that are this host's still.
    fn drives(&self, nodes: &NodeHealth) -> Vec<DriveHealth> {
        let own = self.dirs.iter().filter(|(node, _)| !nodes.is_dismissed(**node));
        own.map(|(&node, dir)| drive_health(node, dir, nodes)).collect()
    }

    fn replicas_that_differ(&self) -> Vec<String> {
        let differing = |(host, how): (HostId, Agreement)| {
            let index = how.differs_at?;
            Some(format!(
                "metadata: host {:016x} has applied other entries than this one, at entry {index} or before",
                host.0
            ))
        };
        self.metadata.status().replicas.into_iter().filter_map(differing).collect()
    }

    fn why_no_metadata(&self) -> Option<String> {
        let status = self.metadata.status();
        let leaderless = || status.leader.is_none().then(|| "no host leads, as far as this one knows".to_owned());
        let unknown =
            || (!self.is_known.load(Ordering::Acquire)).then(|| "this host is not known to its cluster yet".to_owned());
        status.out_of_service.clone().or_else(leaderless).or_else(unknown)
    }
}

fn why_not_writable(error: &StoreError) -> String {
    format!("writes are refused: {error}")
}

/// What can still be read with some drives out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Everything,
    /// Objects that have too many shards on the drives that are down cannot be read.
    Some,
    Nothing,
}

impl Reach {
    fn of(geometry: Geometry, drives: usize, down: usize) -> Self {
        // More shards than drives: a drive holds several of them.
        let a_drive = geometry.shards().div_ceil(drives.max(1));
        if down * a_drive <= usize::from(geometry.parity) {
            Self::Everything
        } else if (drives - down) * a_drive >= usize::from(geometry.data) {
            Self::Some
        } else {
            Self::Nothing
        }
    }

    fn words(self, down: usize, drives: usize) -> Option<String> {
        let what = match self {
            Self::Everything if down == 0 => return None,
            Self::Everything => "every object can be read",
            Self::Some => "some objects cannot be read",
            Self::Nothing => "no object of more than a few KiB can be read",
        };
        Some(format!("{down} of {drives} drives are out of service; {what}"))
    }
}

fn drive_health(node: NodeId, dir: &std::path::Path, nodes: &NodeHealth) -> DriveHealth {
    let state = nodes.state(node).cloned().unwrap_or_default();
    let space = state.space;
    DriveHealth {
        node: node.0,
        path: dir.display().to_string(),
        in_service: nodes.in_service(node),
        free_bytes: space.map_or(0, |space| space.free_bytes),
        total_bytes: space.map_or(0, |space| space.total_bytes),
        why: state.out_of_service.clone().or_else(|| shortage(&state)),
    }
}

fn shortage(state: &NodeState) -> Option<String> {
    match state.level {
        SpaceLevel::Ample => None,
        SpaceLevel::Low => Some("short of space".to_owned()),
        SpaceLevel::Exhausted => Some("out of space: no new data is written to it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::Reach;
    use crate::types::Geometry;

    #[test]
    fn what_can_be_read_follows_from_the_drives_that_are_down() {
        let two_and_two = Geometry { data: 2, parity: 2, chunk_size_bytes: 4096 };
        assert_eq!(
            [0, 2, 3].map(|down| Reach::of(two_and_two, 4, down)),
            [Reach::Everything, Reach::Everything, Reach::Nothing]
        );
        assert_eq!(Reach::of(two_and_two, 8, 3), Reach::Some, "three of eight may hold three shards of an object");
        assert_eq!(Reach::of(two_and_two, 2, 1), Reach::Everything, "each of two drives has two shards");
        assert_eq!(Reach::of(Geometry { data: 1, parity: 0, chunk_size_bytes: 4096 }, 1, 1), Reach::Nothing);
    }
}
